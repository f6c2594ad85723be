# SPDX-License-Identifier: Apache-2.0
# Fuzz targets.  `make check` replays corpus/ and regress/ through a plain main;
# `make fuzz-targets` builds them with libFuzzer, which is clang's; `make fuzz`
# runs each for FUZZ_SECONDS and leaves what it finds in tests/fuzz/found/.

FUZZ_CC = clang
FUZZ_CFLAGS = -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZ_SECONDS = 600
FUZZ_TARGETS = aws_answers aws_plan tls_hello http_head http_body http_exchange proxy_header egress_request json_stream \
	config_text config_import kms_request
# What the targets are linked from: the pure rooms, compiled again with the sanitizers.
FUZZ_PARTS = src/aws/answers.c src/aws/plan.c src/aws/profiles.c src/aws/secret.c src/aws/xml.c src/aws/kms.c src/aws/kms_answer.c src/conn/http_exchange.c src/config/*.c src/route/*.c src/wire/*.c src/base/*.c
FUZZ_COMPILE = $(FUZZ_CC) -std=gnu17 $(DEFS) -I. $(AM_CPPFLAGS) $(CPPFLAGS) $(JSON_CFLAGS) $(PCRE2_CFLAGS) \
	$(WARN_CFLAGS) $(FUZZ_CFLAGS)

replay_programs = \
	tests/fuzz/replay_aws_answers \
	tests/fuzz/replay_aws_plan \
	tests/fuzz/replay_config_import \
	tests/fuzz/replay_config_text \
	tests/fuzz/replay_egress_request \
	tests/fuzz/replay_http_body \
	tests/fuzz/replay_http_exchange \
	tests/fuzz/replay_http_head \
	tests/fuzz/replay_json_stream \
	tests/fuzz/replay_kms_request \
	tests/fuzz/replay_proxy_header \
	tests/fuzz/replay_tls_hello
check_PROGRAMS += $(replay_programs)
dist_check_SCRIPTS += tests/fuzz/replay.sh tests/fuzz/seeds.sh
TESTS += tests/fuzz/replay.sh

tests_fuzz_replay_aws_answers_SOURCES = tests/fuzz/fuzz_aws_answers.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_aws_answers_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)
tests_fuzz_replay_aws_plan_SOURCES = tests/fuzz/fuzz_aws_plan.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_aws_plan_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)
tests_fuzz_replay_config_import_SOURCES = tests/fuzz/fuzz_config_import.c tests/fuzz/replay.c tests/fuzz/fuzz.h tests/fuzz/fuzz_config.h
tests_fuzz_replay_config_import_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)
tests_fuzz_replay_config_text_SOURCES = tests/fuzz/fuzz_config_text.c tests/fuzz/replay.c tests/fuzz/fuzz.h tests/fuzz/fuzz_config.h
tests_fuzz_replay_config_text_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)
tests_fuzz_replay_egress_request_SOURCES = tests/fuzz/fuzz_egress_request.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_egress_request_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)
tests_fuzz_replay_http_body_SOURCES = tests/fuzz/fuzz_http_body.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_http_body_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)
tests_fuzz_replay_http_exchange_SOURCES = tests/fuzz/fuzz_http_exchange.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_http_exchange_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)
tests_fuzz_replay_http_head_SOURCES = tests/fuzz/fuzz_http_head.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_http_head_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)
tests_fuzz_replay_json_stream_SOURCES = tests/fuzz/fuzz_json_stream.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_json_stream_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)
tests_fuzz_replay_kms_request_SOURCES = tests/fuzz/fuzz_kms_request.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_kms_request_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)
tests_fuzz_replay_proxy_header_SOURCES = tests/fuzz/fuzz_proxy_header.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_proxy_header_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)
tests_fuzz_replay_tls_hello_SOURCES = tests/fuzz/fuzz_tls_hello.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_replay_tls_hello_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)

# The ClientHello parser against OpenSSL's: 50,000 hellos in each `make check`, the million in check-all.
check_PROGRAMS += tests/fuzz/differential_tls_hello
TESTS += tests/fuzz/differential_tls_hello
tests_fuzz_differential_tls_hello_SOURCES = tests/fuzz/differential_tls_hello.c
tests_fuzz_differential_tls_hello_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)

check-differential: tests/fuzz/differential_tls_hello
	tests/fuzz/differential_tls_hello 1000000

# The generated files lie here, or in a tarball's sources.
fuzz-targets: grammar/parser.h
	@mkdir -p tests/fuzz/parts && rm -f tests/fuzz/parts/*
	@parts=`cd $(top_srcdir) && echo $(FUZZ_PARTS)`; \
	for part in $$parts grammar/lexer.c grammar/parser.c; do \
		echo "  FUZZCC   $$part"; \
		test -f $$part && file=$$part || file=$(top_srcdir)/$$part; \
		case $$part in grammar/*) quiet=-w ;; *) quiet= ;; esac; \
		$(FUZZ_COMPILE) $$quiet -c -o tests/fuzz/parts/`echo $$part | tr / _`.o $$file || exit 1; \
	done
	@for t in $(FUZZ_TARGETS); do \
		echo "  FUZZLD   $$t"; \
		$(FUZZ_COMPILE) -o tests/fuzz/fuzz_$$t $(top_srcdir)/tests/fuzz/fuzz_$$t.c tests/fuzz/parts/*.o \
			$(JSON_LIBS) $(PCRE2_LIBS) || exit 1; \
	done

# New inputs go to a folder of the build, so that the corpus in git stays small.
fuzz: fuzz-targets
	@for t in $(FUZZ_TARGETS); do \
		mkdir -p tests/fuzz/work/$$t tests/fuzz/found; \
		seeds=`$(top_srcdir)/tests/fuzz/seeds.sh $$t`; \
		echo "== $$t: $(FUZZ_SECONDS) s"; \
		tests/fuzz/fuzz_$$t -max_total_time=$(FUZZ_SECONDS) -timeout=10 -max_len=4096 -print_final_stats=1 -close_fd_mask=1 \
			-dict=$(top_srcdir)/tests/fuzz/dict/$$t.dict -artifact_prefix=tests/fuzz/found/$$t- \
			tests/fuzz/work/$$t $$seeds \
			2>tests/fuzz/work/$$t.log || { tail -40 tests/fuzz/work/$$t.log; exit 1; }; \
		grep -E '^(stat::number_of_executed_units|stat::average_exec_per_sec)|DONE' tests/fuzz/work/$$t.log; \
	done

.PHONY: check-differential fuzz fuzz-targets
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/regress tests/fuzz/dict

# SPDX-License-Identifier: Apache-2.0
# All code but main.c and teeproxyctl.c is libteeproxy.a, which the tests link.
# One file a line, sorted, so that branches merge.

sbin_PROGRAMS = teeproxy
noinst_LIBRARIES += libteeproxy.a

libteeproxy_a_SOURCES = \
	src/aws/answers.c \
	src/aws/answers.h \
	src/aws/aws.c \
	src/aws/aws.h \
	src/aws/call.c \
	src/aws/call.h \
	src/aws/credentials.c \
	src/aws/credentials.h \
	src/aws/endpoints.c \
	src/aws/endpoints.h \
	src/aws/fetch.c \
	src/aws/fetch.h \
	src/aws/kms.c \
	src/aws/kms.h \
	src/aws/kms_answer.c \
	src/aws/machine.c \
	src/aws/machine.h \
	src/aws/plan.c \
	src/aws/plan.h \
	src/aws/profiles.c \
	src/aws/profiles.h \
	src/aws/queue.c \
	src/aws/queue.h \
	src/aws/retry.c \
	src/aws/retry.h \
	src/aws/secret.c \
	src/aws/secret.h \
	src/aws/xml.c \
	src/aws/xml.h \
	src/base/arena.c \
	src/base/arena.h \
	src/base/buffer.c \
	src/base/buffer.h \
	src/base/hash.c \
	src/base/hash.h \
	src/base/ip.c \
	src/base/ip.h \
	src/base/list.h \
	src/base/map.c \
	src/base/map.h \
	src/base/slice.c \
	src/base/slice.h \
	src/base/xalloc.c \
	src/base/xalloc.h \
	src/config/address.h \
	src/config/ast.c \
	src/config/ast.h \
	src/config/check.c \
	src/config/check_rules.c \
	src/config/check_settings.c \
	src/config/config.h \
	src/config/diagnostics.c \
	src/config/diagnostics.h \
	src/config/dump.c \
	src/config/expand.c \
	src/config/explain.c \
	src/config/explain.h \
	src/config/format.c \
	src/config/import.c \
	src/config/keywords.c \
	src/config/keywords.h \
	src/config/lint.c \
	src/config/load.c \
	src/config/load.h \
	src/config/lower.c \
	src/config/model.h \
	src/config/parse.c \
	src/config/parse.h \
	src/config/quote.c \
	src/config/quote.h \
	src/config/reader.c \
	src/config/span.h \
	src/config/values.c \
	src/config/values.h \
	src/config/values_address.c \
	src/conn/balance.c \
	src/conn/balance.h \
	src/conn/conn.c \
	src/conn/conn.h \
	src/conn/conn_end.def \
	src/conn/conn_states.def \
	src/conn/http_exchange.c \
	src/conn/http_exchange.h \
	src/conn/pump.c \
	src/conn/pump.h \
	src/engine/engine.c \
	src/engine/engine.h \
	src/engine/limits.c \
	src/engine/limits.h \
	src/engine/pool.c \
	src/engine/pool.h \
	src/engine/timers.c \
	src/engine/timers.h \
	src/engine/worker.h \
	src/log/log.c \
	src/log/log.h \
	src/master/master.c \
	src/master/master.h \
	src/master/privileges.c \
	src/master/privileges.h \
	src/master/runnable.c \
	src/master/runnable.h \
	src/master/sandbox.c \
	src/master/sandbox.h \
	src/master/sockets.c \
	src/master/sockets.h \
	src/mode/egress.c \
	src/mode/egress.h \
	src/mode/egress_dial.c \
	src/mode/egress_http.c \
	src/mode/egress_via.c \
	src/mode/http.c \
	src/mode/http_serve.c \
	src/mode/http_serve.h \
	src/mode/https.c \
	src/mode/mode.h \
	src/mode/tcp.c \
	src/net/address.c \
	src/net/address.h \
	src/net/dns.c \
	src/net/dns.h \
	src/net/hosts.c \
	src/net/hosts.h \
	src/net/local.c \
	src/net/local.h \
	src/net/race.c \
	src/net/race.h \
	src/net/resolve.c \
	src/net/resolve.h \
	src/route/address_class.c \
	src/route/address_class.h \
	src/route/cidr_set.c \
	src/route/cidr_set.h \
	src/route/explain.c \
	src/route/explain.h \
	src/route/matchers.c \
	src/route/matchers.h \
	src/route/names.c \
	src/route/names.h \
	src/route/path.c \
	src/route/path.h \
	src/route/policy.c \
	src/route/policy.h \
	src/route/regex.c \
	src/route/regex.h \
	src/route/rules.c \
	src/route/rules.h \
	src/wire/base64.c \
	src/wire/base64.h \
	src/wire/egress_request.c \
	src/wire/egress_request.h \
	src/wire/host_name.c \
	src/wire/host_name.h \
	src/wire/http_answer.c \
	src/wire/http_body.c \
	src/wire/http_body.h \
	src/wire/http_forward.c \
	src/wire/http_forward.h \
	src/wire/http_head.c \
	src/wire/http_head.h \
	src/wire/json_reader.c \
	src/wire/json_reader.h \
	src/wire/json_stream.c \
	src/wire/json_stream.h \
	src/wire/json_writer.c \
	src/wire/json_writer.h \
	src/wire/proxy_header.c \
	src/wire/proxy_header.h \
	src/wire/tls_hello.c \
	src/wire/tls_hello.h

# The order of the archives matters to the linker: who uses comes first, and
# the grammar calls back into config/.
TEEPROXY_LIBS = libteeproxy.a libgrammar.a libteeproxy.a
TEEPROXY_LIBADD = $(EV_LIBS) $(PCRE2_LIBS) $(CRYPTO_LIBS) $(CURL_LIBS) $(CARES_LIBS) \
	$(JSON_LIBS) $(SECCOMP_LIBS) $(SYSTEMD_LIBS) -lm

teeproxy_SOURCES = src/main.c
teeproxy_LDADD = $(TEEPROXY_LIBS) $(TEEPROXY_LIBADD)

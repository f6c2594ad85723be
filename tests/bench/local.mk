# SPDX-License-Identifier: Apache-2.0
# Speed, as ratios against peers in the same run.  Not part of check, but for this: load finds
# every wrong answer.

check_PROGRAMS += tests/bench/load
tests_bench_load_SOURCES = \
	tests/bench/load.c \
	tests/bench/load.h \
	tests/bench/load_bytes.c \
	tests/bench/load_serve.c
EXTRA_DIST += tests/bench/README.md tests/bench/bench.py tests/bench/extras.py tests/bench/goals.py \
	tests/bench/measure.py tests/bench/peers.py
dist_check_SCRIPTS += tests/bench/wrong-answers-fail.py
TESTS += tests/bench/wrong-answers-fail.py

.PHONY: bench bench-quick
bench: all tests/bench/load$(EXEEXT)
	$(AM_TESTS_ENVIRONMENT) /usr/bin/python3 $(top_srcdir)/tests/bench/bench.py --json bench.json
bench-quick: all tests/bench/load$(EXEEXT)
	$(AM_TESTS_ENVIRONMENT) /usr/bin/python3 $(top_srcdir)/tests/bench/bench.py --quick --json bench-quick.json

# --enable-pgo: "make pgo" builds a teeproxy that writes a profile, has bench.py train it with the
# workloads, and builds again by that profile; what is built later in this directory uses it too.
PGO_DIR = $(abs_top_builddir)/pgo
if PGO
PGO_CFLAGS = `test ! -d $(PGO_DIR) || echo -fprofile-use=$(PGO_DIR) -fprofile-partial-training -Wno-missing-profile`
endif
.PHONY: pgo
pgo:
if PGO
	rm -rf $(PGO_DIR)
	$(MAKE) $(AM_MAKEFLAGS) mostlyclean
	$(MAKE) $(AM_MAKEFLAGS) teeproxy tests/bench/load PGO_CFLAGS='-fprofile-generate=$(PGO_DIR) -fprofile-update=atomic -Wl,-u,__gcov_dump'
	$(AM_TESTS_ENVIRONMENT) /usr/bin/python3 $(top_srcdir)/tests/bench/bench.py --train
	$(MAKE) $(AM_MAKEFLAGS) mostlyclean
	$(MAKE) $(AM_MAKEFLAGS) all
else
	@echo "configure with --enable-pgo first"; exit 1
endif
clean-local: clean-pgo
.PHONY: clean-pgo
clean-pgo:
	rm -rf $(PGO_DIR)

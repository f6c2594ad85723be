# SPDX-License-Identifier: Apache-2.0
# Speed, as ratios against peers in the same run.  Not part of check.

EXTRA_PROGRAMS = tests/bench/load
tests_bench_load_SOURCES = tests/bench/load.c
EXTRA_DIST += tests/bench/bench.py
CLEANFILES += tests/bench/load$(EXEEXT)

.PHONY: bench bench-quick
bench: all tests/bench/load$(EXEEXT)
	$(AM_TESTS_ENVIRONMENT) /usr/bin/python3 $(top_srcdir)/tests/bench/bench.py --json bench.json
bench-quick: all tests/bench/load$(EXEEXT)
	$(AM_TESTS_ENVIRONMENT) /usr/bin/python3 $(top_srcdir)/tests/bench/bench.py --quick --json bench-quick.json

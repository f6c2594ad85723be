# SPDX-License-Identifier: Apache-2.0
# The generated scanner and parser: a library of their own, with flags of their own.

noinst_LIBRARIES += libgrammar.a
libgrammar_a_SOURCES = grammar/lexer.l grammar/parser.y
libgrammar_a_CFLAGS = $(AM_CFLAGS) -Wno-shadow -Wno-unused-parameter -Wno-unused-function -Wno-sign-compare \
	-Wno-missing-prototypes -Wno-strict-prototypes
BUILT_SOURCES += grammar/parser.h

MAINTAINERCLEANFILES = grammar/parser.h grammar/parser.c grammar/lexer.c

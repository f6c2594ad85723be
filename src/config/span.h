/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place in the text of a configuration.
 */
#ifndef CONFIG_SPAN_H
#define CONFIG_SPAN_H

#include <stddef.h>

/* One file as it was read; lives in the arena of its tree. */
struct source {
	const char *name;	/* as the user named it, or as an include found it */
	const char *text;	/* NUL-terminated; a byte order mark is not part of it */
	size_t len;
};

/*
 * From the first byte to the one behind the last; lines and columns count from 1, columns in
 * bytes.  Every word has one, so it says no more than is cheap: where it ends is counted when asked.
 */
struct span {
	const struct source *source; /* NULL: no place in a text, such as the command line */
	unsigned first, end;	     /* offsets in the text */
	unsigned line, column;	     /* 0: the whole of the source */
};

/* The span of a to b, which stand in one file in this order. */
static inline struct span span_join(struct span a, struct span b)
{
	a.end = b.end;
	return a;
}

#endif

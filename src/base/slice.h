/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slice is a pointer and a length into bytes that somebody else owns.
 *
 * It borrows: it is valid as long as its owner says, it is not terminated by a
 * NUL, and it may hold any byte.  Names that a stranger sent stay slices until
 * they are checked.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
	const char *ptr;
	size_t len;
};

#define SLICE_LITERAL(s) ((struct slice){ "" s, sizeof(s) - 1 })

static inline struct slice slice_of(const void *ptr, size_t len)
{
	return (struct slice){ ptr, len };
}

static inline struct slice slice_of_string(const char *s)
{
	return (struct slice){ s, strlen(s) };
}

static inline bool slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_starts_with(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline bool slice_ends_with(struct slice s, struct slice suffix)
{
	return s.len >= suffix.len &&
	       (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

/* ASCII only, whatever the locale says. */
static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Compares without regard to the case of ASCII letters. */
bool slice_equal_nocase(struct slice a, struct slice b);

/*
 * Reads a decimal number without sign, blanks or anything after it, at most max.
 * False where it is not one; *ret_value is untouched then.
 */
bool slice_parse_u64(struct slice s, unsigned long long max, unsigned long long *ret_value);

#endif

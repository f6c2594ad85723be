/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns as PCRE2 matches them: caseless, over bytes, not anchored, with limits.
 *
 * Compiled with JIT where the kernel allows it.  A pattern is const and shared by
 * threads; each thread matches with its own scratch.
 */
#ifndef ROUTE_REGEX_H
#define ROUTE_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "route/rules.h"

struct route_regex;

/*
 * A name has at most 255 bytes and a sane pattern takes a few steps for each;
 * these stop one that backtracks without end within about a millisecond.
 */
enum { ROUTE_REGEX_MATCH_LIMIT = 20000, ROUTE_REGEX_DEPTH_LIMIT = 1000 };

enum route_regex_result { ROUTE_REGEX_YES, ROUTE_REGEX_NO, ROUTE_REGEX_LIMIT };

/* NULL where the pattern is faulty or there is no memory. */
struct route_regex *route_regex_new(struct slice pattern);
void route_regex_free(struct route_regex *r);	/* takes NULL */
enum route_regex_result route_regex_match(const struct route_regex *r, struct route_scratch *s,
					  struct slice subject);

/*
 * Many patterns in one: where each begins at the first byte, and means the same beside
 * others, they are one alternation, whose first alternative that matches is told.
 */
bool route_regex_joins(const struct route_regex *re, struct slice pattern);
/* NULL where that cannot be had or would gain nothing. */
struct route_regex *route_regex_join(const struct slice *patterns, size_t n);
/* LIMIT says nothing of the patterns: ask each by itself then. */
enum route_regex_result route_regex_match_joined(const struct route_regex *re, struct route_scratch *s,
						 struct slice subject, size_t *ret_index);

#endif

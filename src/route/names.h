/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to rules, by hash.
 *
 * Two tables.  One is keyed by a whole name or a suffix of labels and serves
 * exact names, "*.example.org" and ".example.org"; the other by a prefix of
 * labels and serves "tee-k.*".  An entry holds the numbers of its rules in
 * ascending order.  A name of n labels is asked for at most n times in the first
 * and n - 1 times in the second, however many names there are.  Labels are whole
 * by construction: a key is only ever compared at a dot or at an end.
 */
#ifndef ROUTE_NAMES_H
#define ROUTE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/slice.h"
#include "route/rules.h"

struct names;

/* room: how many patterns will be added at most.  The texts are borrowed. */
struct names *names_new(const struct hash_key *key, size_t room);
void names_free(struct names *n); /* takes NULL */

/* Adds a pattern of kind EXACT, BELOW, AT_BELOW or LEADING; rules in ascending order. */
void names_add(struct names *n, const struct route_pattern *pattern, uint32_t rule);

/* Does rule take the rest of what is asked?  arg is the caller's. */
typedef bool names_test(const void *arg, uint32_t rule);

/*
 * The lowest rule number below best that has a pattern for this name and passes
 * the test (NULL: all pass); best where there is none.
 */
uint32_t names_find(const struct names *n, struct slice name, uint32_t best, names_test *test,
		    const void *arg);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of addresses given as prefixes: is this address in any of them?
 *
 * A trie would answer which prefix; a rule asks only whether.  So the prefixes
 * are merged into disjoint ranges in ascending order, found by bisection: two
 * words for each, and a list of 100,000 takes 17 steps.
 */
#ifndef ROUTE_CIDR_SET_H
#define ROUTE_CIDR_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/ip.h"

struct cidr_set;

/* The prefixes are copied. */
struct cidr_set *cidr_set_new(const struct ip_cidr *cidrs, size_t n);
void cidr_set_free(struct cidr_set *set); /* takes NULL */
bool cidr_set_contains(const struct cidr_set *set, const struct ip_addr *a);

#endif

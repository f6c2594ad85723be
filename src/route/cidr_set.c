/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prefixes as disjoint ascending ranges.  IPv4 and IPv6 are kept apart: ::/0
 * holds no IPv4 address, though in the 128-bit form it would.
 */
#include <config.h>

#include "route/cidr_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

struct range {
	struct ip_addr first, last;
};

struct cidr_set {
	struct range *v4, *v6;
	size_t n_v4, n_v6;
};

static int addr_compare(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

static int range_compare(const void *a, const void *b)
{
	return addr_compare(&((const struct range *)a)->first, &((const struct range *)b)->first);
}

static struct range range_of(const struct ip_cidr *c)
{
	struct range r = { c->net, c->net };

	for (unsigned i = c->prefix; i < 128; i++)
		r.last.b[i / 8] |= (unsigned char)(0x80 >> i % 8);
	return r;
}

/* Prefixes nest or are apart, so a range that starts inside the last one ends inside it. */
static size_t ranges_merge(struct range *ranges, size_t n)
{
	size_t kept = 0;

	qsort(ranges, n, sizeof(*ranges), range_compare);
	for (size_t i = 0; i < n; i++) {
		if (kept == 0 || addr_compare(&ranges[i].first, &ranges[kept - 1].last) > 0)
			ranges[kept++] = ranges[i];
		else if (addr_compare(&ranges[i].last, &ranges[kept - 1].last) > 0)
			ranges[kept - 1].last = ranges[i].last;
	}
	return kept;
}

struct cidr_set *cidr_set_new(const struct ip_cidr *cidrs, size_t n)
{
	struct cidr_set *set = xcalloc(1, sizeof(*set));
	size_t n_v4 = 0;

	for (size_t i = 0; i < n; i++)
		n_v4 += cidrs[i].v4;
	set->v4 = xcalloc(n_v4 + 1, sizeof(*set->v4));
	set->v6 = xcalloc(n - n_v4 + 1, sizeof(*set->v6));
	for (size_t i = 0; i < n; i++) {
		if (cidrs[i].v4)
			set->v4[set->n_v4++] = range_of(&cidrs[i]);
		else
			set->v6[set->n_v6++] = range_of(&cidrs[i]);
	}
	set->n_v4 = ranges_merge(set->v4, set->n_v4);
	set->n_v6 = ranges_merge(set->v6, set->n_v6);
	return set;
}

void cidr_set_free(struct cidr_set *set)
{
	if (!set)
		return;
	free(set->v4);
	free(set->v6);
	free(set);
}

bool cidr_set_contains(const struct cidr_set *set, const struct ip_addr *a)
{
	const bool v4 = ip_is_v4(a);
	const struct range *ranges = v4 ? set->v4 : set->v6;
	size_t low = 0, high = v4 ? set->n_v4 : set->n_v6;

	/* Invariant: ranges before low start at or below a, those from high on above it. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (addr_compare(&ranges[mid].first, a) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low > 0 && addr_compare(a, &ranges[low - 1].last) <= 0;
}

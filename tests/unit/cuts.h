/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways in which a text may come: whole, byte by byte, and cut at random places.
 * What reads it must say the same of all; the places are the same in each run.
 */
#ifndef UNIT_CUTS_H
#define UNIT_CUTS_H

#include <stddef.h>
#include <stdint.h>

enum { CUTS_WHOLE, CUTS_BYTES, CUTS_RANDOM, CUTS_WAYS = CUTS_RANDOM + 16 };

struct cuts {
	unsigned way;
	uint32_t random;
};

static inline struct cuts cuts_of(unsigned way)
{
	return (struct cuts){ way, way * 2654435761u };
}

/* How much of what is left comes next: from 1 to left, or nothing of nothing. */
static inline size_t cuts_next(struct cuts *c, size_t left)
{
	size_t n;

	if (c->way == CUTS_WHOLE || left <= 1)
		return left;
	if (c->way == CUTS_BYTES)
		return 1;
	c->random = c->random * 1664525 + 1013904223;
	/* Small pieces and large ones, each half of the time. */
	n = 1 + (c->random >> 8) % (c->random >> 31 ? 5 : left);
	return n < left ? n : left;
}

#endif

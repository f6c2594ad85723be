/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of one size in slabs, for one thread.
 *
 * A slab whose objects are all free goes back to the system, but for one, so that
 * the memory of a peak of connections does not stay.
 */
#ifndef ENGINE_POOL_H
#define ENGINE_POOL_H

#include <stddef.h>

#include "base/list.h"

struct pool {
	size_t object_size;	/* rounded up to 64, a cache line */
	struct list partial;	/* slabs with room, the fullest use first */
	struct list full;
	size_t n_empty;		/* slabs in partial that have no object in use */
};

void pool_init(struct pool *p, size_t object_size);
/* Gives every slab back; no object may be in use. */
void pool_fini(struct pool *p);
/* Not zeroed; NULL where there is no memory. */
void *pool_get(struct pool *p);
void pool_put(struct pool *p, void *object);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "engine/pool.h"

#include <assert.h>
#include <stdint.h>
#include <sys/mman.h>

enum { SLAB_SIZE = 65536, LINE = 64 };

/* At the head of each slab; slabs are aligned to their size, so an object finds its own. */
struct slab {
	struct list node;
	void *free;		/* a list through the objects themselves */
	size_t used, made;	/* made: objects ever handed out, the rest is untouched memory */
};

void pool_init(struct pool *p, size_t object_size)
{
	p->object_size = (object_size + LINE - 1) & ~(size_t)(LINE - 1);
	assert(p->object_size <= SLAB_SIZE / 8);
	list_init(&p->partial);
	list_init(&p->full);
	p->n_empty = 0;
}

static size_t slab_room(const struct pool *p)
{
	return (SLAB_SIZE - LINE) / p->object_size;
}

/* Twice the size is mapped and what surrounds the aligned part given back. */
static struct slab *slab_new(void)
{
	char *p = mmap(NULL, 2 * SLAB_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t at;
	size_t before;
	struct slab *s;

	if (p == MAP_FAILED)
		return NULL;
	at = ((uintptr_t)p + SLAB_SIZE - 1) & ~(uintptr_t)(SLAB_SIZE - 1);
	before = at - (uintptr_t)p;
	if (before)
		munmap(p, before);
	munmap((char *)at + SLAB_SIZE, SLAB_SIZE - before);
	s = (struct slab *)at;
	list_init(&s->node);
	return s;
}

void pool_fini(struct pool *p)
{
	assert(list_is_empty(&p->full));
	while (!list_is_empty(&p->partial)) {
		struct slab *s = container_of(p->partial.next, struct slab, node);

		assert(s->used == 0);
		list_del(&s->node);
		munmap(s, SLAB_SIZE);
	}
	p->n_empty = 0;
}

void *pool_get(struct pool *p)
{
	struct slab *s;
	void *object;

	if (list_is_empty(&p->partial)) {
		s = slab_new();
		if (!s)
			return NULL;
		list_append(&p->partial, &s->node);
		p->n_empty++;
	}
	s = container_of(p->partial.next, struct slab, node);
	if (s->free) {
		object = s->free;
		s->free = *(void **)object;
	} else {
		object = (char *)s + LINE + s->made++ * p->object_size;
	}
	if (s->used++ == 0)
		p->n_empty--;
	if (s->used == slab_room(p)) {
		list_del(&s->node);
		list_append(&p->full, &s->node);
	}
	return object;
}

void pool_put(struct pool *p, void *object)
{
	struct slab *s = (struct slab *)((uintptr_t)object & ~(uintptr_t)(SLAB_SIZE - 1));

	*(void **)object = s->free;
	s->free = object;
	if (s->used-- == slab_room(p)) {
		list_del(&s->node);
		list_prepend(&p->partial, &s->node);
	}
	if (s->used > 0)
		return;
	list_del(&s->node);
	if (p->n_empty > 0) {
		munmap(s, SLAB_SIZE);
		return;
	}
	/* The one that is kept stands last, so that the others fill up first. */
	list_append(&p->partial, &s->node);
	p->n_empty++;
}

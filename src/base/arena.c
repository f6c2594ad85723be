/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/heap.h"
#include "base/xalloc.h"

/*
 * A chunk is as large as all before it together, within bounds.  malloc() maps large ones, until
 * it has freed some: from then on they lie between those of other arenas, and only malloc_trim()
 * gives their pages back.
 */
enum { ARENA_ALIGN = 8, ARENA_CHUNK_MIN = 64 * 1024, ARENA_CHUNK_MAX = 1024 * 1024 };

struct chunk {
	struct chunk *next;
	size_t size, len;
	_Alignas(ARENA_ALIGN) char bytes[];
};

struct arena {
	struct chunk *head; /* the one that is being filled */
	size_t used;
};

struct arena *arena_new(void)
{
	return xcalloc(1, sizeof(struct arena));
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	for (struct chunk *c = a->head, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	if (a->used > ARENA_CHUNK_MAX)
		heap_trim();
	free(a);
}

static size_t chunk_room(const struct arena *a, size_t size)
{
	size_t room = a->used < ARENA_CHUNK_MIN ? ARENA_CHUNK_MIN :
		      a->used > ARENA_CHUNK_MAX ? ARENA_CHUNK_MAX : a->used;

	return size > room / 4 ? size : room;
}

void *arena_alloc(struct arena *a, size_t size)
{
	struct chunk *c = a->head;
	void *p;

	if (size > SIZE_MAX - sizeof(struct chunk) - ARENA_ALIGN)
		xalloc_fail();
	size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (!c || c->size - c->len < size) {
		size_t room = chunk_room(a, size);

		c = xcalloc(1, sizeof(*c) + room);
		c->size = room;
		if (a->head && room == size) { /* a large one: keep filling the old chunk */
			c->next = a->head->next;
			a->head->next = c;
		} else {
			c->next = a->head;
			a->head = c;
		}
	}
	p = c->bytes + c->len;
	c->len += size;
	a->used += size;
	return p;
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		xalloc_fail();
	return arena_alloc(a, total);
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_copy_slice(a, slice_of_string(s));
}

char *arena_copy_slice(struct arena *a, struct slice s)
{
	char *p = arena_alloc(a, s.len + 1);

	if (s.len > 0)
		memcpy(p, s.ptr, s.len);
	return p;
}

char *arena_vprintf(struct arena *a, const char *format, va_list ap)
{
	va_list copy;
	char small[128], *p;
	int len;

	va_copy(copy, ap);
	len = vsnprintf(small, sizeof(small), format, copy);
	va_end(copy);
	if (len < 0)
		return arena_strdup(a, "");
	if ((size_t)len < sizeof(small))
		return arena_copy_slice(a, slice_of(small, (size_t)len));
	p = arena_alloc(a, (size_t)len + 1);
	vsnprintf(p, (size_t)len + 1, format, ap);
	return p;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
	va_list ap;
	char *p;

	va_start(ap, format);
	p = arena_vprintf(a, format, ap);
	va_end(ap);
	return p;
}

size_t arena_used(const struct arena *a)
{
	return a->used;
}

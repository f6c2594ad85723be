/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "base/map.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/xalloc.h"

/* The operator's own words: a fixed key will do. */
static size_t map_slot(const struct map *m, struct slice key)
{
	static const struct hash_key fixed = { 1, 2 };
	size_t i = hash_bytes(&fixed, key.ptr, key.len) & (m->size - 1);

	while (m->entries[i].key.ptr && !slice_equal(m->entries[i].key, key))
		i = (i + 1) & (m->size - 1);
	return i;
}

void map_fini(struct map *m)
{
	free(m->entries);
	*m = (struct map){ 0 };
}

void *map_get(const struct map *m, struct slice key)
{
	return m->size ? m->entries[map_slot(m, key)].value : NULL;
}

static void map_grow(struct map *m)
{
	struct map old = *m;

	m->size = old.size ? old.size * 2 : 64;
	m->entries = xcalloc(m->size, sizeof(*m->entries));
	for (size_t i = 0; i < old.size; i++) {
		if (old.entries[i].key.ptr)
			m->entries[map_slot(m, old.entries[i].key)] = old.entries[i];
	}
	free(old.entries);
}

void *map_put(struct map *m, struct slice key, void *value)
{
	struct map_entry *e;

	if (2 * (m->len + 1) > m->size)
		map_grow(m);
	e = &m->entries[map_slot(m, key)];
	if (e->key.ptr)
		return e->value;
	*e = (struct map_entry){ key, value };
	m->len++;
	return NULL;
}

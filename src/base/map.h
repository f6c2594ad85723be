/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table from strings to pointers, for names of things while a configuration is
 * checked.  It borrows its keys.  Growing ends the program when there is no memory.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>

#include "base/slice.h"

struct map_entry {
	struct slice key;	/* ptr NULL: free */
	void *value;
};

struct map {
	struct map_entry *entries;
	size_t size, len;
};

void map_fini(struct map *m);
/* The value, or NULL. */
void *map_get(const struct map *m, struct slice key);
/* Sets it where the key is new and returns NULL; else returns the value that stays. */
void *map_put(struct map *m, struct slice key, void *value);

#endif

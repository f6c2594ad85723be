/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing over small slots that point into a dense array of entries, so
 * that a probe that misses touches one cache line.  At most half of the slots
 * are in use.
 */
#include <config.h>

#include "route/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

enum {
	ON_WHOLE = 1,	/* the key is the whole name */
	ON_PART = 2,	/* the key is less than the name */
};

enum { NIL = 0 };	/* index 0 of entries and nodes is never used */

struct slot {
	uint32_t hash;
	uint32_t entry;	/* NIL: the slot is free */
};

/* One rule of an entry. */
struct node {
	uint32_t rule;
	uint32_t next;
	uint32_t on;	/* ON_ bits */
};

struct entry {
	struct slice text;
	uint32_t head, tail;
};

struct table {
	struct slot *slots;
	uint32_t mask;
	size_t max_len;	/* of the keys that serve parts; longer parts need no probe */
	bool any;
};

struct names {
	struct hash_key key;
	struct table suffixes, prefixes;
	struct entry *entries;
	struct node *nodes;
	uint32_t n_entries, n_nodes;
};

struct names *names_new(const struct hash_key *key, size_t room)
{
	struct names *n = xcalloc(1, sizeof(*n));
	uint32_t size = 8;

	if (room >= UINT32_MAX / 4)
		xalloc_fail();
	while (size < 2 * room)
		size *= 2;
	n->key = *key;
	n->suffixes = (struct table){ .slots = xcalloc(size, sizeof(struct slot)), .mask = size - 1 };
	n->prefixes = (struct table){ .slots = xcalloc(size, sizeof(struct slot)), .mask = size - 1 };
	n->entries = xcalloc(room + 1, sizeof(*n->entries));
	n->nodes = xcalloc(room + 1, sizeof(*n->nodes));
	n->n_entries = n->n_nodes = NIL + 1;
	return n;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	free(n->suffixes.slots);
	free(n->prefixes.slots);
	free(n->entries);
	free(n->nodes);
	free(n);
}

/* The slot that holds text, or the free one where it belongs. */
static inline struct slot *slot_find(const struct names *n, const struct table *t,
				     struct slice text, uint32_t hash)
{
	for (uint32_t i = hash & t->mask;; i = (i + 1) & t->mask) {
		struct slot *slot = &t->slots[i];

		if (slot->entry == NIL ||
		    (slot->hash == hash && slice_equal(n->entries[slot->entry].text, text)))
			return slot;
	}
}

void names_add(struct names *n, const struct route_pattern *pattern, uint32_t rule)
{
	const bool prefix = pattern->kind == ROUTE_PATTERN_LEADING;
	struct table *t = prefix ? &n->prefixes : &n->suffixes;
	uint32_t on = pattern->kind == ROUTE_PATTERN_EXACT ? ON_WHOLE :
		      pattern->kind == ROUTE_PATTERN_AT_BELOW ? ON_WHOLE | ON_PART : ON_PART;
	uint32_t hash = (uint32_t)hash_bytes(&n->key, pattern->text.ptr, pattern->text.len);
	struct slot *slot = slot_find(n, t, pattern->text, hash);
	struct entry *e;

	if (slot->entry == NIL) {
		*slot = (struct slot){ hash, n->n_entries++ };
		n->entries[slot->entry].text = pattern->text;
	}
	e = &n->entries[slot->entry];
	t->any = true;
	if (on & ON_PART && pattern->text.len > t->max_len)
		t->max_len = pattern->text.len;

	if (e->head != NIL && n->nodes[e->tail].rule == rule) {
		n->nodes[e->tail].on |= on;
		return;
	}
	n->nodes[n->n_nodes] = (struct node){ rule, NIL, on };
	if (e->head == NIL)
		e->head = n->n_nodes;
	else
		n->nodes[e->tail].next = n->n_nodes;
	e->tail = n->n_nodes++;
}

static inline uint32_t probe(const struct names *n, const struct table *t, struct slice text,
			     uint32_t on, uint32_t best, names_test *test, const void *arg)
{
	uint32_t hash = (uint32_t)hash_bytes(&n->key, text.ptr, text.len);
	const struct slot *slot = slot_find(n, t, text, hash);

	if (slot->entry == NIL)
		return best;
	for (uint32_t i = n->entries[slot->entry].head; i != NIL; i = n->nodes[i].next) {
		const struct node *node = &n->nodes[i];

		if (node->rule >= best)
			break;
		if (node->on & on && (!test || test(arg, node->rule)))
			return node->rule;
	}
	return best;
}

uint32_t names_find(const struct names *n, struct slice name, uint32_t best, names_test *test,
		    const void *arg)
{
	if (n->suffixes.any)
		best = probe(n, &n->suffixes, name, ON_WHOLE, best, test, arg);
	if (n->suffixes.max_len == 0 && n->prefixes.max_len == 0)
		return best;
	/* A wildcard stands for at least one label, so neither side may be empty. */
	for (size_t i = 1; i + 1 < name.len; i++) {
		if (name.ptr[i] != '.')
			continue;
		if (name.len - i - 1 <= n->suffixes.max_len)
			best = probe(n, &n->suffixes, slice_of(name.ptr + i + 1, name.len - i - 1),
				     ON_PART, best, test, arg);
		if (i <= n->prefixes.max_len)
			best = probe(n, &n->prefixes, slice_of(name.ptr, i), ON_PART, best, test,
				     arg);
	}
	return best;
}

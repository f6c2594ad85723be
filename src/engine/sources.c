/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "engine/sources.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/hash.h"
#include "base/xalloc.h"
#include "config/config.h"
#include "engine/limits.h"

struct sources {
	struct hash_key key;
	size_t n;
	_Atomic uint64_t *slots[];	/* by frontend number; NULL: it has no such rate */
};

struct sources *sources_new(const struct config *c)
{
	struct sources *s = xcalloc(1, sizeof(*s) + c->n_frontends * sizeof(s->slots[0]));

	s->n = c->n_frontends;
	/* Without randomness the hash is a hash still. */
	(void)!getrandom(&s->key, sizeof(s->key), GRND_NONBLOCK);
	for (size_t i = 0; i < c->n_frontends; i++) {
		if (c->frontends[i].rate_per_source.rate)
			s->slots[c->frontends[i].number] = xcalloc(SOURCES_SLOTS, sizeof(*s->slots[0]));
	}
	return s;
}

void sources_free(struct sources *s)
{
	for (size_t i = 0; s && i < s->n; i++)
		free((void *)s->slots[i]);
	free(s);
}

bool sources_connect(struct sources *s, const struct config_frontend *f, const struct ip_addr *from, uint64_t now_ns)
{
	const struct config_rate *r = &f->rate_per_source;
	_Atomic uint64_t *slots = s->slots[f->number];
	uint64_t hash, each;
	bool first, second;

	if (!slots)
		return true;
	hash = hash_bytes(&s->key, from->b, ip_is_v4(from) ? sizeof(from->b) : 8);
	each = (uint64_t)r->period_ms * 1000000 / r->rate;
	first = limits_earn(&slots[hash % SOURCES_SLOTS], now_ns, each, each * r->burst);
	second = limits_earn(&slots[(hash >> 32) % SOURCES_SLOTS], now_ns, each, each * r->burst);
	return first || second;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "conn/balance.h"

#include "base/hash.h"
#include "config/config.h"
#include "engine/worker.h"

/* The server of b that an address belongs to; NULL where the rule names an address itself. */
static const struct config_server *server_of(const struct config_rule *rule, const struct address *target)
{
	const struct config_backend *b = rule ? rule->target.backend : NULL;

	if (!b || !target)
		return NULL;
	return (const struct config_server *)(const void *)((const char *)target -
							     offsetof(struct config_server, address));
}

/* The server at point number n of the weights laid end to end, of backups or the others. */
static size_t by_weight(const struct config_backend *b, bool backup, uint64_t n)
{
	uint64_t total = 0;
	size_t i;

	for (i = 0; i < b->n_servers; i++)
		total += b->servers[i].backup == backup ? b->servers[i].weight : 0;
	n %= total;
	for (i = 0; i < b->n_servers; i++) {
		if (b->servers[i].backup != backup)
			continue;
		if (n < b->servers[i].weight)
			break;
		n -= b->servers[i].weight;
	}
	return i;
}

/* The next one of the same kind, which is the same again where it is alone. */
static size_t next_after(const struct config_backend *b, size_t i)
{
	bool backup = b->servers[i].backup;

	do
		i = (i + 1) % b->n_servers;
	while (b->servers[i].backup != backup);
	return i;
}

static size_t least_connections(const struct worker *w, const struct config_backend *b, bool backup)
{
	size_t best = b->n_servers;

	for (size_t i = 0; i < b->n_servers; i++) {
		const struct config_server *s = &b->servers[i];

		if (s->backup != backup)
			continue;
		if (best == b->n_servers ||
		    (uint64_t)w->servers[s->number].live * b->servers[best].weight <
			    (uint64_t)w->servers[b->servers[best].number].live * s->weight)
			best = i;
	}
	return best;
}

static size_t first_choice(struct worker *w, const struct config_backend *b, bool backup,
			   const struct net_peer *peer)
{
	static const struct hash_key fixed = { 0x7465657072, 0x6f7879 };

	switch (b->balance) {
	case BALANCE_SOURCE:
		/* An address goes to the same server in every process: the key is fixed. */
		return by_weight(b, backup, hash_bytes(&fixed, peer->ip.b, sizeof(peer->ip.b)));
	case BALANCE_LEAST_CONNECTIONS:
		return least_connections(w, b, backup);
	case BALANCE_ROUND_ROBIN:
		break;
	}
	return by_weight(b, backup, w->servers[b->servers[0].number].turn++);
}

/* A place at a server, as far as its max-connections allows. */
static bool take(struct worker *w, const struct config_server *s)
{
	_Atomic uint32_t *all = &w->shared->per_server[s->number];

	if (atomic_fetch_add_explicit(all, 1, memory_order_relaxed) >= s->max_connections && s->max_connections) {
		atomic_fetch_sub_explicit(all, 1, memory_order_relaxed);
		return false;
	}
	w->servers[s->number].live++;
	return true;
}

/* The servers of one kind from i on, once round; NULL where all are full. */
static const struct address *take_from(struct worker *w, const struct config_backend *b, size_t i)
{
	size_t first = i;

	do {
		if (take(w, &b->servers[i]))
			return &b->servers[i].address;
		i = next_after(b, i);
	} while (i != first);
	return NULL;
}

const struct address *balance_choose(struct worker *w, const struct config_rule *rule,
				     const struct net_peer *peer, unsigned n,
				     const struct address *failed)
{
	const struct config_backend *b = rule->target.backend;
	const struct config_server *last = n > 0 ? server_of(rule, failed) : NULL;
	const struct address *taken;
	size_t primaries = 0, i;
	bool backup;

	if (!b)
		return &rule->target.address;
	for (i = 0; i < b->n_servers; i++)
		primaries += !b->servers[i].backup;
	backup = n >= primaries && primaries < b->n_servers;
	if (last && last->backup == backup)
		i = next_after(b, (size_t)(last - b->servers));
	else
		i = first_choice(w, b, backup, peer);
	taken = take_from(w, b, i);
	if (!taken && !backup && primaries < b->n_servers)
		taken = take_from(w, b, first_choice(w, b, true, peer));
	return taken;
}

void balance_release(struct worker *w, const struct config_rule *rule, const struct address *target)
{
	const struct config_server *s = server_of(rule, target);

	if (!s)
		return;
	w->servers[s->number].live--;
	atomic_fetch_sub_explicit(&w->shared->per_server[s->number], 1, memory_order_relaxed);
}

uint32_t balance_connect_ms(const struct config_rule *rule, uint32_t frontends_ms)
{
	const struct config_backend *b = rule ? rule->target.backend : NULL;

	return b && b->connect_ms != UINT32_MAX ? b->connect_ms : frontends_ms;
}

uint32_t balance_idle_ms(const struct config_rule *rule, uint32_t frontends_ms)
{
	const struct config_backend *b = rule ? rule->target.backend : NULL;

	return b && b->idle_ms != UINT32_MAX ? b->idle_ms : frontends_ms;
}

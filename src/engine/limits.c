/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "engine/limits.h"

#include <stdlib.h>
#include <time.h>

#include "base/xalloc.h"
#include "config/config.h"

#define SECOND_NS 1000000000u

/* Bytes at a time: less is not worth a packet. */
enum { SHARE_MIN = 64 };

struct limits_enclave *limits_new(const struct config *c)
{
	return xcalloc(c->n_enclaves + 1, sizeof(struct limits_enclave));
}

void limits_free(struct limits_enclave *l)
{
	free(l);
}

uint64_t limits_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * SECOND_NS + (uint64_t)ts.tv_nsec;
}

static uint64_t load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static bool refuse(struct limits_enclave *l, enum limit_kind kind)
{
	atomic_fetch_add_explicit(&l->refused[kind], 1, memory_order_relaxed);
	return false;
}

/* Counts one in, unless there are max already. */
static bool take(_Atomic uint32_t *count, uint32_t max)
{
	uint32_t n = atomic_fetch_add_explicit(count, 1, memory_order_relaxed);

	if (max == 0 || n < max)
		return true;
	atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
	return false;
}

bool limits_earn(_Atomic uint64_t *word, uint64_t now_ns, uint64_t cost, uint64_t ahead)
{
	uint64_t at = load(word), next;

	do {
		next = (at > now_ns ? at : now_ns) + cost;
		if (next - now_ns > ahead)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(word, &at, next, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

bool limits_connect(struct limits_enclave *l, const struct config_enclave *e, uint64_t now_ns,
		    enum limit_kind *ret_kind)
{
	if (e->rate.rate) {
		uint64_t each = (uint64_t)e->rate.period_ms * 1000000 / e->rate.rate;

		*ret_kind = LIMIT_RATE;
		if (!limits_earn(&l->rate_ns, now_ns, each, each * e->rate.burst))
			return refuse(l, LIMIT_RATE);
	}
	*ret_kind = LIMIT_CONNECTIONS;
	return take(&l->connections, e->max_connections) || refuse(l, LIMIT_CONNECTIONS);
}

void limits_disconnect(struct limits_enclave *l)
{
	atomic_fetch_sub_explicit(&l->connections, 1, memory_order_relaxed);
}

bool limits_over(struct limits_enclave *l)
{
	return take(&l->over, LIMITS_OVER_MAX);
}

void limits_over_ended(struct limits_enclave *l)
{
	atomic_fetch_sub_explicit(&l->over, 1, memory_order_relaxed);
}

bool limits_look_up(struct limits_enclave *l, const struct config_enclave *e)
{
	return take(&l->lookups, e->max_lookups) || refuse(l, LIMIT_LOOKUPS);
}

void limits_looked_up(struct limits_enclave *l)
{
	atomic_fetch_sub_explicit(&l->lookups, 1, memory_order_relaxed);
}

uint64_t limits_bytes(const struct limits_enclave *l, const struct config_enclave *e,
		      enum limit_direction d, bool waits, uint64_t now_ns)
{
	uint64_t at = load(&l->bytes_ns[d]), ahead = at > now_ns ? at - now_ns : 0, all, share;
	uint32_t waiting = atomic_load_explicit(&l->waiting[d], memory_order_relaxed);

	if (e->bandwidth == 0)
		return UINT64_MAX;
	if (ahead >= SECOND_NS)
		return 0;
	all = (uint64_t)((double)e->bandwidth * (double)(SECOND_NS - ahead) / SECOND_NS);
	if (!waits)
		waiting++;
	share = waiting > 1 ? all / waiting : all;
	return share >= SHARE_MIN ? share : all < SHARE_MIN ? all : SHARE_MIN;
}

void limits_wait(struct limits_enclave *l, enum limit_direction d)
{
	atomic_fetch_add_explicit(&l->waiting[d], 1, memory_order_relaxed);
}

void limits_waited(struct limits_enclave *l, enum limit_direction d)
{
	atomic_fetch_sub_explicit(&l->waiting[d], 1, memory_order_relaxed);
}

void limits_bytes_used(struct limits_enclave *l, const struct config_enclave *e,
		       enum limit_direction d, uint64_t now_ns, uint64_t n)
{
	if (e->bandwidth && n)
		limits_earn(&l->bytes_ns[d], now_ns, (uint64_t)((double)n * SECOND_NS / (double)e->bandwidth), UINT64_MAX);
}

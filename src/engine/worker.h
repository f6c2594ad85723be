/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: one thread, one loop, and the connections that it alone touches.
 *
 * Shared between workers are only: the configuration and its tables (const), the
 * counts of connections (relaxed atomics), what enclaves use (limits.h), the log's
 * descriptor, the service of AWS (struct engine_service), and each worker's mailbox, through which the
 * owner of a vsock or Unix listener hands accepted descriptors on, and a service its
 * answers.
 */
#ifndef ENGINE_WORKER_H
#define ENGINE_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <ev.h>

#include "base/list.h"
#include "engine/pool.h"
#include "engine/ready.h"
#include "engine/timers.h"
#include "log/log.h"
#include "net/address.h"

struct engine_listener;
struct engine_setup;
struct limits_enclave;
struct resolver;
struct route_scratch;
struct sources;
struct worker;

/*
 * A word from another thread, embedded in what it is about.  deliver() runs on the
 * worker's loop, in the order of posting; at the end of the engine it runs for what is
 * left after the loop has ended, when no connection is alive any more.
 */
struct mail {
	struct list node;
	void (*deliver)(struct worker *w, struct mail *m);
};

/* From any thread; m is the worker's from here on. */
void worker_post(struct worker *w, struct mail *m);

/* What all workers of an engine share. */
struct engine_shared {
	const struct engine_setup *setup;
	_Atomic uint32_t connections;	/* at this moment, all workers */
	_Atomic uint32_t *per_frontend;	/* the same by frontend number */
	struct sources *sources;	/* rates of their addresses */
	_Atomic uint32_t *per_server;	/* connections to it, by server number */
	struct limits_enclave *limits;	/* by enclave number; behind the last, of peers that are none */
	uint32_t max_connections;
	void *aws;			/* engine_setup.aws's, or NULL */
	_Atomic bool draining, stopping;
};

struct worker {
	struct ev_loop *loop;
	struct engine_shared *shared;
	unsigned number;
	struct timers timers;
	struct ready ready;		/* what connections wait for */
	struct pool conns;		/* of connections: engine_conns */
	void *kit;			/* what all of them share: engine_conns */
	struct list live;		/* connections */
	struct list dead;		/* freed at the end of the turn */
	size_t n_live;
	struct route_scratch *scratch;
	struct resolver *resolver;	/* NULL where the configuration has no names to look up */
	struct log_batch log;
	struct {
		uint32_t live, turn;
	} *servers;			/* what balance.c keeps, by server number */
};

/* A connection is gone: a listener that waits for a descriptor may go on. */
void worker_released(struct worker *w);

#endif

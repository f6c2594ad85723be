/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "conn/reuse.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/conn.h"
#include "conn/kit.h"
#include "engine/engine.h"
#include "engine/worker.h"

/* As many may rest as there are descriptors that no connection can ask for meanwhile. */
static bool has_room(const struct worker *w)
{
	const struct engine_shared *s = w->shared;
	const struct conn_kit *kit = w->kit;
	uint32_t n = atomic_load_explicit(&s->connections, memory_order_relaxed);

	return !kit->ending && kit->n_resting < REUSE_MAX && n < s->max_connections &&
	       (kit->n_resting + 1) * s->setup->n_workers <= s->max_connections - n;
}

/* A tunnel to a server that was dialled to be spoken to, whose last byte was read and passed on. */
static bool is_fit(const struct conn *c)
{
	const struct conn_side *s = &c->server;

	return c->dialled_to_speak && s->fd != -1 && s->listed && !s->writes && !s->muted && c->down.shut &&
	       !c->down.cut && !c->up.cut && !c->down.gathering && c->up.total + c->down.total <= REUSE_BYTES &&
	       ip_is_loopback(&c->target->ip) && has_room(c->worker);
}

bool reuse_keep(struct conn *c)
{
	if (!is_fit(c))
		return false;
	/* The end that close(2) would have passed on: see pump.last. */
	if (c->up.last && shutdown(c->server.fd, SHUT_WR) == -1)
		return false;
	c->kept.fd = c->server.fd;
	c->kept.v4 = ip_is_v4(&c->target->ip);
	c->kept.nagles = c->up.nagles;
	c->server.fd = -1;
	return true;
}

void reuse_drop(struct conn *c)
{
	if (c->kept.fd == -1)
		return;
	close(c->kept.fd);
	c->kept.fd = -1;
	c->server.generation++;
}

static void leave(struct conn *c)
{
	struct conn_kit *kit = c->worker->kit;

	list_del(&c->node);
	deadline_clear(&c->deadline);
	kit->n_resting--;
}

static void let_go(struct conn *c)
{
	leave(c);
	reuse_drop(c);
	pool_put(&c->worker->conns, c);
}

static void rested(struct deadline *d)
{
	let_go(container_of(d, struct conn, deadline));
}

bool reuse_rest(struct conn *c)
{
	struct worker *w = c->worker;
	struct conn_kit *kit = w->kit;

	if (c->kept.fd == -1)
		return false;
	if (!has_room(w)) {
		reuse_drop(c);
		return false;
	}
	list_prepend(&kit->resting, &c->node);
	kit->n_resting++;
	deadline_init(&c->deadline, rested);
	deadline_set(&w->timers, &c->deadline, REUSE_MS);
	return true;
}

struct conn *reuse_wake(struct worker *w)
{
	struct conn_kit *kit = w->kit;
	struct conn_kept kept;
	unsigned char generation;
	struct conn *c;

	if (list_is_empty(&kit->resting))
		return NULL;
	c = container_of(kit->resting.next, struct conn, node);
	leave(c);
	kept = c->kept;
	generation = c->server.generation;
	memset(c, 0, sizeof(*c));
	c->kept = kept;
	c->server.generation = generation;
	return c;
}

int reuse_dial(struct conn *c)
{
	int fd = c->kept.fd, r = -ESTALE;

	if (fd == -1)
		return -ESTALE;
	/* What the socket has learned of loopback, buffers and a sequence number, is for no other network. */
	if (ip_is_loopback(&c->target->ip) && c->kept.v4 == ip_is_v4(&c->target->ip))
		r = net_dial_again(fd, c->target);
	if (r != 0 && r != -EINPROGRESS) {
		reuse_drop(c);
		return r;
	}
	c->server.fd = fd;
	c->server.listed = true;
	c->up.nagles = c->kept.nagles;
	c->reused_at = c->worker->ready.turn;
	c->kept.fd = -1;
	return r;
}

void reuse_end(struct worker *w)
{
	struct conn_kit *kit = w->kit;

	kit->ending = true;
	while (!list_is_empty(&kit->resting))
		let_go(container_of(kit->resting.next, struct conn, node));
}

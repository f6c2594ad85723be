/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state CONNECT: reaching the other side, by a rule or in a mode's own way.
 */
#include <config.h>

#include "conn/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "conn/balance.h"
#include "conn/life.h"
#include "conn/reach.h"
#include "conn/reuse.h"
#include "conn/send_proxy.h"
#include "engine/worker.h"

enum { FULL_QUEUE_MS = 20 };	/* an enclave that is not stuck has accepted some by then */

void dial_over(struct conn *c, enum conn_end why)
{
	if (!conn_mode(c)->dial_failed) {
		conn_end(c, why);
		return;
	}
	deadline_clear(&c->redial);
	server_close(c);
	conn_mode(c)->dial_failed(c, why);
}

static void dial_failed(struct conn *c, int error);

static void conn_connected(struct conn *c)
{
	int r = send_proxy(c);

	if (r < 0) {
		dial_failed(c, -r);
		return;
	}
	c->connected = ev_now(c->worker->loop);
	c->error = 0;
	if (conn_mode(c)->connected) {
		c->state = CONN_EXCHANGE;
		conn_mode(c)->connected(c);
		return;
	}
	conn_relay(c);
}

/* One try is over, for this reason: another, where the backend has connect-retries left. */
static void try_failed(struct conn *c, enum conn_end why, int error)
{
	const struct config_backend *b = c->rule->target.backend;
	unsigned retries = b ? b->connect_retries : 0;

	c->error = error;
	server_close(c);
	/* What it has taken of the first bytes is gone: another must not begin in their middle. */
	if (c->tries <= retries && c->up.total == 0) {
		dial_next(c);
		return;
	}
	/* Nobody listens on this vsock port, or too many wait for it: the kernel does not say which, nor tries again. */
	if (error == ECONNRESET && c->target->kind == ADDRESS_VSOCK && !c->redialled) {
		c->redialled = true;
		deadline_set(&c->worker->timers, &c->redial, FULL_QUEUE_MS);
		return;
	}
	dial_over(c, why);
}

static void dial_failed(struct conn *c, int error)
{
	if (error == EMFILE || error == ENFILE)
		try_failed(c, END_NO_DESCRIPTOR, error);
	else
		try_failed(c, error == ETIMEDOUT ? END_CONNECT_TIMEOUT : END_CONNECT_FAILED, error);
}

static bool is_tunnel(const struct conn *c)
{
	return !conn_mode(c)->connected;
}

/* 1: connected; 0: not yet; -1: never, see errno. */
static int is_connected(int fd)
{
	if (send(fd, "", 0, MSG_NOSIGNAL) == 0)
		return 1;
	return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

/* What can be told of the server's bytes by its address. */
static void server_is(struct conn *c, const struct address *a)
{
	c->server.tcp = a->kind == ADDRESS_TCP_IP;
	c->down.exact = c->server.tcp || a->kind == ADDRESS_VSOCK;
}

/* A descriptor that somebody else has connected. */
static void take_server(struct conn *c, int fd, bool tcp)
{
	c->dialled_to_speak = false;
	c->server.fd = fd;
	ev_io_init(&c->server.io, conn_io, fd, EV_WRITE);
	c->server.io.data = c;
	c->server.tcp = c->down.exact = tcp;
	c->up.nagles = false;
	conn_connected(c);
}

static void reached(void *data, int fd, enum conn_end why, int error)
{
	struct conn *c = data;

	c->looked_up = reach_looked_up(c->reach);
	if (fd >= 0) {
		take_server(c, fd, c->target->kind == ADDRESS_TCP_NAME);
		return;
	}
	balance_release(c->worker, c->rule, c->target);
	if (why == END_CONNECT_FAILED)
		dial_failed(c, error);
	else
		try_failed(c, why, error);
}

/* A name, or a port behind a VMM. */
static void dial_further(struct conn *c)
{
	reuse_drop(c);
	c->reach = reach_new(c->worker, c->target, reached, c);
	if (!c->reach) {
		balance_release(c->worker, c->rule, c->target);
		try_failed(c, END_NO_MEMORY, 0);
	}
}

/* As net_dial(), into c->server. */
static int dial_server(struct conn *c, bool speaks, uint32_t ms)
{
	int r = -ESTALE;

	c->dialled_to_speak = speaks;
	if (speaks)
		r = reuse_dial(c);
	else
		reuse_drop(c);
	if (r == -ESTALE) {
		r = speaks ? net_dial_to_speak(c->target, &c->server.fd) : net_dial(c->target, ms, &c->server.fd);
		c->up.nagles = speaks;
	}
	ev_io_init(&c->server.io, conn_io, c->server.fd, EV_WRITE);
	c->server.io.data = c;
	return r;
}

void dial_next(struct conn *c)
{
	uint32_t ms = balance_connect_ms(c->rule, c->frontend->timeouts.connect_ms);
	const struct address *next = balance_choose(c->worker, c->rule, &c->peer, c->tries++, c->target);
	int sent = 0, r;
	bool speaks;

	if (!next) {
		dial_over(c, c->error ? END_CONNECT_FAILED : END_BACKEND_FULL);
		return;
	}
	c->target = next;
	reach_free(c->reach);
	c->reach = NULL;
	if (reach_is_for(next)) {
		dial_further(c);
		return;
	}
	server_is(c, next);
	speaks = c->server.tcp && (conn_mode(c)->speaks || (is_tunnel(c) && c->up.len > 0)) &&
		 !send_proxy_version(c->rule);
	r = dial_server(c, speaks, ms);
	if (r < 0 && r != -EINPROGRESS) {
		balance_release(c->worker, c->rule, c->target);
		dial_failed(c, -r);
		return;
	}
	/*
	 * A near TCP peer has answered by now: sending asks, and is what comes next anyway,
	 * but for a proxy that must be asked first, and behind a PROXY header.
	 */
	if (r != 0 && c->up.len > 0 && c->server.tcp && c->rule->target.kind != TARGET_VIA &&
	    !send_proxy_version(c->rule))
		sent = pump_flush(&c->up, c->server.fd);
	else if (r != 0 && speaks)
		sent = is_connected(c->server.fd);
	if (sent == -1) {
		dial_failed(c, errno);
		return;
	}
	if (r == 0 || sent == 1)
		conn_connected(c);
	else if (is_tunnel(c) || conn_mode(c)->edges)
		side_list(c, &c->server, true);
	else
		side_watch(c, &c->server, EV_WRITE);
}

void dial_again(struct deadline *d)
{
	struct conn *c = container_of(d, struct conn, redial);

	if (c->state == CONN_CONNECT && c->server.fd == -1)
		dial_next(c);
}

void dial_finish(struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(c->server.fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		error = errno;
	if (error)
		dial_failed(c, error);
	else
		conn_connected(c);
}

/* --- for modes --- */

void conn_server_nodelay(struct conn *c)
{
	int one = 1;

	if (c->up.nagles)
		setsockopt(c->server.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->up.nagles = false;
}

void conn_dial(struct conn *c, const struct config_rule *rule)
{
	server_close(c);
	c->rule = rule;
	c->target = NULL;
	c->tries = 0;
	c->redialled = false;
	c->error = 0;
	c->up.readable = false; /* from here on, see conn_had_edge() */
	side_watch(c, &c->client, 0);
	if (c->state != CONN_CONNECT)
		conn_enter(c, CONN_CONNECT);
	dial_next(c);
}

void conn_connect(struct conn *c)
{
	server_close(c);
	c->rule = NULL;
	c->target = NULL;
	c->error = 0;
	c->up.readable = false;
	side_watch(c, &c->client, 0);
	conn_enter(c, CONN_CONNECT);
}

bool conn_had_edge(const struct conn *c, bool client)
{
	return client ? c->up.readable : c->down.readable;
}

void conn_adopt(struct conn *c, int fd)
{
	take_server(c, fd, true);
}

void conn_handshake(struct conn *c)
{
	c->state = CONN_HANDSHAKE;
}

void conn_dial_failed(struct conn *c, enum conn_end why)
{
	dial_over(c, why);
}

void conn_drop_server(struct conn *c)
{
	server_close(c);
}

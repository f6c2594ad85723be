/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "conn/conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "conn/balance.h"
#include "conn/life.h"
#include "conn/reach.h"
#include "conn/send_proxy.h"
#include "engine/engine.h"
#include "engine/worker.h"

enum {
	LINGER_READ = 16384,
	FULL_QUEUE_MS = 20,	/* an enclave that is not stuck has accepted some by then */
};

const struct mode_ops *conn_mode(const struct conn *c)
{
	return c->worker->shared->setup->modes[c->frontend->mode];
}

static uint32_t state_timeout(const struct conn *c)
{
	const struct config_timeouts *t = &c->frontend->timeouts;

	switch (c->state) {
#define CONN_STATE(id, name, timeout)                                                              \
	case CONN_##id:                                                                            \
		return t->timeout;
#include "conn/conn_states.def"
#undef CONN_STATE
	}
	return 0;
}

void conn_enter(struct conn *c, enum conn_state state)
{
	uint32_t ms;

	c->state = state;
	ms = state_timeout(c);
	if (state == CONN_CONNECT)
		ms = balance_connect_ms(c->rule, ms);
	deadline_set(&c->worker->timers, &c->deadline, ms);
}

/* --- the end --- */

/* close(2) takes a descriptor out of worker.ready by itself. */
static void side_close(struct conn *c, struct conn_side *s)
{
	if (s->fd == -1)
		return;
	ev_io_stop(c->worker->loop, &s->io);
	close(s->fd);
	s->fd = -1;
	s->listed = s->writes = false;
}

static void server_close(struct conn *c)
{
	if (c->server.fd == -1 && !reach_is_under_way(c->reach))
		return;
	balance_release(c->worker, c->rule, c->target);
	reach_cancel(c->reach);
	side_close(c, &c->server);
	c->down.readable = c->down.ending = false;
}

static void close_both(struct conn *c)
{
	struct conn_side *low = c->client.fd < c->server.fd ? &c->client : &c->server;
	struct conn_side *high = low == &c->client ? &c->server : &c->client;

	/* Who was accepted and then dialled for mostly has two descriptors in a row. */
	if (low->fd != -1 && high->fd == low->fd + 1 &&
	    close_range((unsigned)low->fd, (unsigned)high->fd, 0) == 0) {
		balance_release(c->worker, c->rule, c->target);
		ev_io_stop(c->worker->loop, &low->io);
		ev_io_stop(c->worker->loop, &high->io);
		low->fd = high->fd = -1;
		return;
	}
	side_close(c, &c->client);
	server_close(c);
}

void conn_end(struct conn *c, enum conn_end why)
{
	struct worker *w = c->worker;

	if (c->state == CONN_ENDED)
		return;
	if (c->end == END_COUNT)
		c->end = why;
	deadline_clear(&c->deadline);
	deadline_clear(&c->lifetime);
	deadline_clear(&c->throttle);
	deadline_clear(&c->redial);
	if (conn_mode(c)->ended)
		conn_mode(c)->ended(c);
	else
		conn_log(c);
	close_both(c);
	reach_free(c->reach);
	c->reach = NULL;
	pump_fini(&c->up);
	pump_fini(&c->down);
	free(c->scratch);
	c->scratch = NULL;
	free(c->name);
	c->name = NULL;
	c->state = CONN_ENDED;
	list_del(&c->node);
	list_append(&w->dead, &c->node);
	w->n_live--;
	atomic_fetch_sub_explicit(&w->shared->connections, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&w->shared->per_frontend[c->frontend->number], 1, memory_order_relaxed);
	worker_released(w);
}

/* No server could be reached. */
static void dial_over(struct conn *c, enum conn_end why)
{
	if (!conn_mode(c)->dial_failed) {
		conn_end(c, why);
		return;
	}
	deadline_clear(&c->redial);
	server_close(c);
	conn_mode(c)->dial_failed(c, why);
}

static void conn_expired(struct deadline *d)
{
	struct conn *c = container_of(d, struct conn, deadline);

	switch (c->state) {
	case CONN_HELLO:
		conn_end(c, END_HELLO_TIMEOUT);
		break;
	case CONN_CONNECT:
	case CONN_HANDSHAKE:
		c->error = ETIMEDOUT;
		dial_over(c, END_CONNECT_TIMEOUT);
		break;
	case CONN_EXCHANGE:
		conn_mode(c)->expired(c);
		break;
	case CONN_RELAY:
		if (pump_holds(&c->up) || pump_holds(&c->down))
			conn_end(c, END_STALLED_TIMEOUT);
		else
			conn_end(c, c->up.eof || c->down.eof ? END_HALF_CLOSED_TIMEOUT : END_IDLE_TIMEOUT);
		break;
	case CONN_LINGER:
		conn_end(c, END_STALLED_TIMEOUT);
		break;
	case CONN_ENDED:
		break;
	}
}

static void conn_lifetime_over(struct deadline *d)
{
	conn_end(container_of(d, struct conn, lifetime), END_LIFETIME);
}

/* --- answering by ourselves --- */

/* Reads and drops what the client still sends, so that close() makes no RST of it. */
static void linger_read(struct conn *c)
{
	struct pump_kit *kit = c->worker->kit;
	ssize_t n;

	for (int round = 0; round < 4; round++) {
		n = recv(c->client.fd, kit->room, LINGER_READ, 0);
		if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR)) {
			conn_end(c, c->end);
			return;
		}
		if (n == -1)
			return;
	}
	ready_again(&c->worker->ready, c->client.fd, &c->client, c->client.writes);
}

void conn_linger(struct conn *c, enum conn_end why)
{
	c->end = why;
	server_close(c);
	pump_fini(&c->up);
	conn_enter(c, CONN_LINGER);
	deadline_set(&c->worker->timers, &c->deadline, 2000);
	side_watch(c, &c->client, 0);
	if (side_list(c, &c->client, false))
		linger_read(c);
}

void conn_answer(struct conn *c, const void *bytes, size_t len, enum conn_end why)
{
	/* In one packet with the end. */
	ssize_t n = len ? send(c->client.fd, bytes, len, MSG_NOSIGNAL | MSG_MORE) : 0;

	if (n > 0)
		c->down.total += (uint64_t)n;
	c->end = why;
	/* So few bytes fit every send buffer; a client that filled it takes no answer anyway. */
	if (n != (ssize_t)len || shutdown(c->client.fd, SHUT_WR) == -1) {
		conn_end(c, why);
		return;
	}
	conn_linger(c, why);
}

/* --- reaching the other side --- */

static void dial_failed(struct conn *c, int error);
static void dial_next(struct conn *c);

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
	if (c->tries <= retries) {
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

static void conn_io(struct ev_loop *loop, ev_io *io, int events);

static bool is_tunnel(const struct conn *c)
{
	return !conn_mode(c)->connected;
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
	c->reach = reach_new(c->worker, c->target, reached, c);
	if (!c->reach) {
		balance_release(c->worker, c->rule, c->target);
		try_failed(c, END_NO_MEMORY, 0);
	}
}

static void dial_next(struct conn *c)
{
	uint32_t ms = balance_connect_ms(c->rule, c->frontend->timeouts.connect_ms);
	const struct address *next = balance_choose(c->worker, c->rule, &c->peer, c->tries++, c->target);
	int fd = -1, sent = 0, r;
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
	speaks = is_tunnel(c) && c->server.tcp && c->up.len > 0 && !send_proxy_version(c->rule);
	r = speaks ? net_dial_to_speak(c->target, &fd) : net_dial(c->target, ms, &fd);
	if (r < 0 && r != -EINPROGRESS) {
		balance_release(c->worker, c->rule, c->target);
		dial_failed(c, -r);
		return;
	}
	c->server.fd = fd;
	ev_io_init(&c->server.io, conn_io, fd, EV_WRITE);
	c->server.io.data = c;
	c->up.nagles = speaks;
	/*
	 * A near TCP peer has answered by now: sending asks, and is what comes next anyway,
	 * but for a proxy that must be asked first, and behind a PROXY header.
	 */
	if (r != 0 && c->up.len > 0 && c->server.tcp && c->rule->target.kind != TARGET_VIA &&
	    !send_proxy_version(c->rule)) {
		sent = pump_flush(&c->up, fd);
		if (sent == -1) {
			dial_failed(c, errno);
			return;
		}
	}
	if (r == 0 || sent == 1)
		conn_connected(c);
	else if (is_tunnel(c))
		side_list(c, &c->server, true);
	else
		side_watch(c, &c->server, EV_WRITE);
}

static void redial_due(struct deadline *d)
{
	struct conn *c = container_of(d, struct conn, redial);

	if (c->state == CONN_CONNECT && c->server.fd == -1)
		dial_next(c);
}

static void dial_finish(struct conn *c)
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

/* --- the hello --- */

/* One read, and what the mode makes of it: false where there is nothing more to do now. */
static bool hello_step(struct conn *c)
{
	const struct mode_ops *mode = conn_mode(c);
	struct pump *p = &c->up;
	size_t room;
	ssize_t n;

	/* Room for one read more than the mode needs to see; it decides before that. */
	if (p->len >= mode->input_max || (p->len && !pump_reserve(p, p->len))) {
		conn_end(c, END_NO_MEMORY);
		return false;
	}
	if (p->len == 0)
		pump_borrow(p);
	room = p->room ? p->room - p->len : p->size;
	n = net_receive(c->client.fd, p->buf + p->len, room);
	if (n == -1 && errno == EINTR)
		return true;
	if (n == -1 && errno == EAGAIN) {
		p->readable = false;
		return false;
	}
	if (n == -1) {
		c->error = errno;
		conn_end(c, END_CLIENT_ERROR);
		return false;
	}
	p->eof = n == 0;
	p->readable = (size_t)n == room || !p->exact || p->ending;
	p->len += (uint32_t)n;
	mode->input(c, p->buf, p->len, p->eof);
	if (c->state == CONN_HELLO && p->eof)
		conn_end(c, END_NO_HELLO);
	return c->state == CONN_HELLO && p->readable;
}

static void hello_read(struct conn *c)
{
	while (hello_step(c))
		;
	if (c->state == CONN_ENDED)
		return;
	/* Who says nothing costs no buffer, and who was dialled for at once none either. */
	if (!pump_keep(&c->up))
		conn_end(c, END_NO_MEMORY);
	else if (c->state == CONN_HELLO)
		side_list(c, &c->client, false);
}

void conn_set_name(struct conn *c, struct slice name)
{
	free(c->name);
	c->name = strndup(name.ptr, name.len);
}

static void refuse(struct conn *c, enum conn_end why)
{
	size_t len = 0;
	const void *bytes = conn_mode(c)->refusal ? conn_mode(c)->refusal(c, &len) : NULL;

	if (bytes && why != END_DROPPED)
		conn_answer(c, bytes, len, why);
	else
		conn_end(c, why);
}

void conn_route(struct conn *c, struct route_query *q)
{
	const struct config_frontend *f = c->frontend;
	size_t rule;

	q->from = c->peer.has_ip ? &c->peer.ip : NULL;
	q->vouched = c->peer.has_cid;
	q->cid = c->peer.cid;
	c->routed = ev_now(c->worker->loop);
	switch (route_match(f->table, c->worker->scratch, q, &rule)) {
	case ROUTE_FOUND:
		break;
	case ROUTE_MISS:
		refuse(c, END_NO_ROUTE);
		return;
	case ROUTE_LIMIT:
		refuse(c, END_REGEX_LIMIT);
		return;
	}
	c->rule = &f->rules[rule];
	free(c->scratch);
	c->scratch = NULL;
	switch (c->rule->target.kind) {
	case TARGET_ADDRESS:
	case TARGET_BACKEND:
		conn_enter(c, CONN_CONNECT);
		dial_next(c);
		break;
	case TARGET_DROP:
		refuse(c, END_DROPPED);
		break;
	case TARGET_REJECT:
		refuse(c, rule + 1 == f->n_rules ? END_NO_ROUTE : END_REJECTED);
		break;
	case TARGET_DIRECT:
	case TARGET_VIA:
	case TARGET_KEY:
	case TARGET_REDIRECT_HTTPS:
	case TARGET_TEXT:
	case TARGET_CLOUDWATCH:
	case TARGET_FILE:
	case TARGET_PAGES:
		/* No mode that has these comes here: check_rules.c. */
		assert(!"a target that this mode does not have");
	}
}

/* What libev tells: modes that read and write by themselves, and what they dial. */
static void conn_io(struct ev_loop *loop, ev_io *io, int events)
{
	struct conn *c = io->data;
	bool client = io == &c->client.io;

	(void)loop;
	if (c->state == CONN_EXCHANGE || c->state == CONN_HANDSHAKE)
		conn_mode(c)->io(c, client, events);
	else if (c->state == CONN_CONNECT && !client)
		dial_finish(c);
}

/* What worker.ready tells: edges, so that each is noted whatever the state. */
static void conn_event(void *who, int events)
{
	struct conn_side *s = who;
	const bool client = !s->is_server;
	struct conn *c = client ? container_of(s, struct conn, client) : container_of(s, struct conn, server);
	struct pump *in = client ? &c->up : &c->down;

	if (events & READY_URGENT)
		in->exact = false;
	in->readable |= (events & (READY_READ | READY_END)) != 0;
	/* An edge comes once: where a short read says that all is read, the end must be known from it, too. */
	in->ending |= (events & READY_END) && in->exact;
	switch (c->state) {
	case CONN_HELLO:
		hello_read(c);
		break;
	case CONN_CONNECT:
		if (!client && (events & READY_WRITE))
			dial_finish(c);
		break;
	case CONN_RELAY:
		relay_event(c, client, events);
		break;
	case CONN_LINGER:
		if (client)
			linger_read(c);
		break;
	case CONN_EXCHANGE:
	case CONN_HANDSHAKE:
	case CONN_ENDED:
		break;
	}
}

/* --- for modes with an exchange of their own --- */

void conn_exchange(struct conn *c)
{
	c->state = CONN_EXCHANGE;
	deadline_clear(&c->deadline);
}

void conn_watch(struct conn *c, int client_events, int server_events)
{
	side_watch(c, &c->client, client_events);
	side_watch(c, &c->server, server_events);
}

void conn_deadline(struct conn *c, uint32_t ms)
{
	deadline_set(&c->worker->timers, &c->deadline, ms);
}

void conn_dial(struct conn *c, const struct config_rule *rule)
{
	server_close(c);
	c->rule = rule;
	c->target = NULL;
	c->tries = 0;
	c->redialled = false;
	c->error = 0;
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
	side_watch(c, &c->client, 0);
	conn_enter(c, CONN_CONNECT);
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

void conn_finish(struct conn *c, enum conn_end why)
{
	c->end = why;
	if (shutdown(c->client.fd, SHUT_WR) == -1)
		conn_end(c, why);
	else
		conn_linger(c, why);
}

/* --- the beginning --- */

static bool is_allowed(const struct config_frontend *f, const struct net_peer *peer)
{
	bool allowed = f->n_allow_from == 0 || !peer->has_ip;

	for (size_t i = 0; peer->has_ip && i < f->n_deny_from; i++) {
		if (ip_cidr_contains(&f->deny_from[i], &peer->ip))
			return false;
	}
	for (size_t i = 0; !allowed && i < f->n_allow_from; i++)
		allowed = ip_cidr_contains(&f->allow_from[i], &peer->ip);
	return allowed;
}

/* Counts it in; the reason for which it may not stay, or END_COUNT. */
static enum conn_end admit(struct conn *c)
{
	struct engine_shared *s = c->worker->shared;
	const struct config_frontend *f = c->frontend;
	uint32_t all = atomic_fetch_add_explicit(&s->connections, 1, memory_order_relaxed);
	uint32_t here = atomic_fetch_add_explicit(&s->per_frontend[f->number], 1, memory_order_relaxed);

	if (!is_allowed(f, &c->peer))
		return END_DENIED;
	if (all >= s->max_connections)
		return END_PROXY_FULL;
	if (f->max_connections && here >= f->max_connections)
		return END_FRONTEND_FULL;
	return END_COUNT;
}

static void conn_accepted(struct worker *w, const struct engine_listener *l, int fd,
			  const struct net_sockaddr *peer)
{
	struct conn *c = pool_get(&w->conns);
	const struct config_frontend *f = l->frontend;
	const struct mode_ops *mode = w->shared->setup->modes[f->mode];
	enum conn_end refused;

	if (!c) {
		log_error("out of memory for a connection, closing it");
		close(fd);
		return;
	}
	memset(c, 0, sizeof(*c));
	c->worker = w;
	c->frontend = f;
	c->listener = l;
	c->end = END_COUNT;
	c->client.fd = fd;
	c->server.fd = -1;
	c->started = ev_now(w->loop);
	net_peer_from(peer, &c->peer);
	if (l->listen->as) {
		c->peer.cid = l->listen->as->cid;
		c->peer.has_cid = true;
	}
	if (c->peer.has_cid)
		c->enclave = config_find_enclave(w->shared->setup->config, c->peer.cid);
	ev_io_init(&c->client.io, conn_io, fd, EV_READ);
	c->client.io.data = c;
	c->client.tcp = peer->storage.ss_family == AF_INET || peer->storage.ss_family == AF_INET6;
	c->server.is_server = true;
	pump_init(&c->up, w->kit, f->buffer_size);
	pump_init(&c->down, w->kit, f->buffer_size);
	c->up.readable = true;
	c->up.exact = c->client.tcp || peer->storage.ss_family == AF_VSOCK;
	deadline_init(&c->deadline, conn_expired);
	deadline_init(&c->lifetime, conn_lifetime_over);
	deadline_init(&c->throttle, relay_throttle_over);
	deadline_init(&c->redial, redial_due);
	list_append(&w->live, &c->node);
	w->n_live++;
	refused = admit(c);
	if (refused != END_COUNT) {
		conn_end(c, refused);
		return;
	}
	conn_enter(c, CONN_HELLO);
	deadline_set(&w->timers, &c->lifetime, f->timeouts.lifetime_ms);
	if (mode->scratch_size && !(c->scratch = calloc(1, mode->scratch_size))) {
		conn_end(c, END_NO_MEMORY);
		return;
	}
	/* The first bytes are mostly here already: read before asking the loop. */
	if (mode->start(c))
		hello_read(c);
}

/* --- all of a worker's --- */

static void conns_drain_all(struct worker *w)
{
	struct list *node, *next;

	list_for_each_safe(node, next, &w->live) {
		struct conn *c = container_of(node, struct conn, node);

		if (conn_mode(c)->drain && c->state == CONN_EXCHANGE)
			conn_mode(c)->drain(c);
	}
}

static void conns_end_all(struct worker *w)
{
	while (!list_is_empty(&w->live))
		conn_end(container_of(w->live.next, struct conn, node), END_SHUTDOWN);
}

static void conns_free_dead(struct worker *w)
{
	while (!list_is_empty(&w->dead)) {
		struct conn *c = container_of(w->dead.next, struct conn, node);

		list_del(&c->node);
		pool_put(&w->conns, c);
		if (w->n_live == 0)
			pump_kit_trim(w->kit);
	}
}

static void *kit_new(const struct engine_setup *setup)
{
	struct pump_kit *kit = xmalloc(sizeof(*kit));

	(void)setup;
	pump_kit_init(kit);
	return kit;
}

static void kit_free(void *kit)
{
	pump_kit_fini(kit);
	free(kit);
}

const struct engine_conns conn_ops = {
	.size = sizeof(struct conn),
	.kit_new = kit_new,
	.kit_free = kit_free,
	.event = conn_event,
	.accepted = conn_accepted,
	.drain_all = conns_drain_all,
	.end_all = conns_end_all,
	.free_dead = conns_free_dead,
};

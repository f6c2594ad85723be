/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "conn/conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/heap.h"
#include "base/xalloc.h"
#include "conn/accept_proxy.h"
#include "conn/balance.h"
#include "conn/kit.h"
#include "conn/life.h"
#include "conn/reach.h"
#include "conn/reuse.h"
#include "engine/engine.h"
#include "engine/limits.h"
#include "engine/sources.h"
#include "engine/worker.h"

enum {
	LINGER_READ = 16384,
	TRIM_FROM = 512, /* connections: fewer leave too little to be worth a walk through the heap */
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
	s->listed = s->writes = s->muted = s->ended = false;
	s->generation++;
}

void server_close(struct conn *c)
{
	if (c->server.fd == -1 && !reach_is_under_way(c->reach))
		return;
	balance_release(c->worker, c->rule, c->target);
	reach_cancel(c->reach);
	side_close(c, &c->server);
	c->down.readable = c->down.ending = false;
}

static void close_row(struct conn_kit *kit)
{
	int fd = kit->closing, n = kit->n_closing;

	kit->n_closing = 0;
	if (n > 1 && close_range((unsigned)fd, (unsigned)(fd + n - 1), 0) == 0)
		return;
	while (n-- > 0)
		close(fd++);
}

/* Who comes and goes with others mostly has the descriptor next to theirs: one call closes them all. */
static void client_close_later(struct conn *c)
{
	struct conn_kit *kit = c->worker->kit;

	if (kit->n_closing && c->client.fd == kit->closing - 1) {
		kit->closing--;
	} else if (c->client.fd != kit->closing + kit->n_closing) {
		close_row(kit);
		kit->closing = c->client.fd;
	}
	kit->n_closing++;
	ev_io_stop(c->worker->loop, &c->client.io);
	c->client.fd = -1;
}

static void close_both(struct conn *c)
{
	struct conn_side *low = c->client.fd < c->server.fd ? &c->client : &c->server;
	struct conn_side *high = low == &c->client ? &c->server : &c->client;

	if (c->end == END_DONE && reuse_keep(c)) {
		balance_release(c->worker, c->rule, c->target);
		client_close_later(c);
		return;
	}
	reuse_drop(c); /* another's, which was not asked for */
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
	relay_throttle_end(c);
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

static void conn_expired(struct deadline *d)
{
	struct conn *c = container_of(d, struct conn, deadline);

	switch (c->state) {
	case CONN_PROXY:
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
	struct conn_kit *kit = c->worker->kit;
	ssize_t n;

	for (int round = 0; round < 4; round++) {
		n = recv(c->client.fd, kit->pump.room, LINGER_READ, 0);
		if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR)) {
			conn_end(c, c->end);
			return;
		}
		if (n == -1)
			return;
	}
	side_again(c, &c->client);
}

void conn_linger(struct conn *c, enum conn_end why)
{
	c->end = why;
	server_close(c);
	pump_fini(&c->up);
	conn_enter(c, CONN_LINGER);
	deadline_set(&c->worker->timers, &c->deadline, 2000);
	side_watch(c, &c->client, 0);
	if (c->client.muted)
		side_again(c, &c->client);
	/* Only with levels is it not known whether there is something already. */
	if (side_list(c, &c->client, false) && (c->up.readable || (conn_mode(c)->io && !conn_mode(c)->edges)))
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
	/* On a kept connection it mostly is the name of the request before. */
	if (c->name && strlen(c->name) == name.len && memcmp(c->name, name.ptr, name.len) == 0)
		return;
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

void conn_io(struct ev_loop *loop, ev_io *io, int events)
{
	struct conn *c = io->data;
	bool client = io == &c->client.io;

	(void)loop;
	if (c->state == CONN_EXCHANGE || c->state == CONN_HANDSHAKE)
		conn_mode(c)->io(c, client, events);
	else if (c->state == CONN_CONNECT && !client)
		dial_finish(c);
}

static void proxy_read(struct conn *c);

static void client_ended(struct conn *c)
{
	if (conn_mode(c)->client_ended)
		conn_mode(c)->client_ended(c);
}

/* What worker.ready tells: edges, so that each is noted whatever the state. */
static void conn_event(void *who, int events)
{
	struct conn_side *s = side_of_token(who);
	bool client;
	struct conn *c;
	struct pump *in;

	if (!s)
		return;
	client = !s->is_server;
	c = client ? container_of(s, struct conn, client) : container_of(s, struct conn, server);
	/* What is told of a socket that was kept is of its last use, until it has been asked anew. */
	if (!client && (s->fd == -1 || c->reused_at == c->worker->ready.turn))
		return;
	in = client ? &c->up : &c->down;
	s->ended |= (events & READY_END) != 0;
	/* Behind what a short read takes there is more, or an end that was none. */
	if (events & (READY_URGENT | READY_BROKEN))
		in->exact = false;
	in->readable |= (events & (READY_READ | READY_END)) != 0;
	/* An edge comes once: where a short read says that all is read, the end must be known from it, too. */
	in->ending |= (events & READY_END) && in->exact;
	switch (c->state) {
	case CONN_PROXY:
		proxy_read(c);
		break;
	case CONN_HELLO:
		hello_read(c);
		break;
	case CONN_CONNECT:
		if (client && (events & READY_END))
			client_ended(c);
		else if (!client && (events & READY_WRITE))
			dial_finish(c);
		break;
	case CONN_RELAY:
		relay_event(c, client, events);
		break;
	case CONN_LINGER:
		if (client)
			linger_read(c);
		break;
	case CONN_HANDSHAKE:
		if (client && (events & READY_END))
			client_ended(c);
		break;
	case CONN_EXCHANGE:
		if (conn_mode(c)->edges)
			conn_mode(c)->io(c, client, (events & (READY_READ | READY_END) ? EV_READ : 0) |
							    (events & READY_WRITE ? EV_WRITE : 0));
		break;
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
	if (!conn_mode(c)->edges) {
		side_watch(c, &c->client, client_events);
		side_watch(c, &c->server, server_events);
		return;
	}
	if (client_events && !side_list(c, &c->client, client_events & EV_WRITE))
		return;
	if (server_events)
		side_list(c, &c->server, server_events & EV_WRITE);
}

void conn_heed_client(struct conn *c)
{
	if (c->state == CONN_CONNECT || c->state == CONN_HANDSHAKE)
		side_list(c, &c->client, false);
}

bool conn_client_left(const struct conn *c)
{
	/* Who has ended only its own direction takes bytes still. */
	return c->client.ended && send(c->client.fd, "", 0, MSG_NOSIGNAL) == -1 && errno != EAGAIN &&
	       errno != EINTR;
}

bool conn_has_input(const struct conn *c)
{
	char byte;

	return c->up.len > 0 || recv(c->client.fd, &byte, 1, MSG_PEEK) > 0;
}

bool conn_is_drained(const struct conn *c, bool client, size_t n, size_t size)
{
	const struct conn_side *s = client ? &c->client : &c->server;

	return n < size && !s->ended && (client ? &c->up : &c->down)->exact;
}

void conn_again(struct conn *c)
{
	side_again(c, &c->client);
	side_again(c, &c->server);
}

void conn_deadline(struct conn *c, uint32_t ms)
{
	deadline_set(&c->worker->timers, &c->deadline, ms);
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

	if (all >= s->max_connections)
		return END_PROXY_FULL;
	if (f->max_connections && here >= f->max_connections)
		return END_FRONTEND_FULL;
	return END_COUNT;
}

/* The same, for who the client is. */
static enum conn_end admit_source(struct conn *c)
{
	struct engine_shared *s = c->worker->shared;
	const struct config_frontend *f = c->frontend;

	if (!is_allowed(f, &c->peer))
		return END_DENIED;
	if (f->rate_per_source.rate && c->peer.has_ip &&
	    !sources_connect(s->sources, f, &c->peer.ip, limits_now_ns()))
		return END_SOURCE_RATE;
	return END_COUNT;
}

/* Who the client is is known. */
static void conn_begin(struct conn *c)
{
	const struct mode_ops *mode = conn_mode(c);
	enum conn_end refused = admit_source(c);

	if (refused != END_COUNT) {
		conn_end(c, refused);
		return;
	}
	conn_enter(c, CONN_HELLO);
	deadline_set(&c->worker->timers, &c->lifetime, c->frontend->timeouts.lifetime_ms);
	if (mode->scratch_size && !(c->scratch = calloc(1, mode->scratch_size))) {
		conn_end(c, END_NO_MEMORY);
		return;
	}
	/* The first bytes are mostly here already: read before asking the loop. */
	if (mode->start(c))
		hello_read(c);
}

static void proxy_read(struct conn *c)
{
	enum conn_end why;

	if (!accept_proxy_read(c, &why))
		return;
	if (why == END_COUNT)
		conn_begin(c);
	else
		conn_end(c, why);
}

/* Only tunnels leave a socket to be used again, and have use for one. */
static struct conn *conn_new(struct worker *w, bool tunnel)
{
	struct conn *c = tunnel ? reuse_wake(w) : NULL;

	if (c)
		return c;
	c = pool_get(&w->conns);
	if (c) {
		memset(c, 0, sizeof(*c));
		c->kept.fd = -1;
	}
	return c;
}

static void conn_accepted(struct worker *w, const struct engine_listener *l, int fd,
			  const struct net_sockaddr *peer)
{
	struct conn *c = conn_new(w, !w->shared->setup->modes[l->frontend->mode]->connected);
	struct conn_kit *kit = w->kit;
	const struct config_frontend *f = l->frontend;
	enum conn_end refused;

	if (!c) {
		log_error("out of memory for a connection, closing it");
		close(fd);
		return;
	}
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
	pump_init(&c->up, &kit->pump, f->buffer_size);
	pump_init(&c->down, &kit->pump, f->buffer_size);
	c->up.readable = true;
	c->up.exact = c->client.tcp || peer->storage.ss_family == AF_VSOCK;
	deadline_init(&c->deadline, conn_expired);
	deadline_init(&c->lifetime, conn_lifetime_over);
	deadline_init(&c->throttle, relay_throttle_over);
	deadline_init(&c->redial, dial_again);
	list_append(&w->live, &c->node);
	w->n_live++;
	refused = admit(c);
	if (refused != END_COUNT) {
		conn_end(c, refused);
		return;
	}
	if (!accept_proxy_asks(c)) {
		conn_begin(c);
		return;
	}
	conn_enter(c, CONN_PROXY);
	if (side_list(c, &c->client, false))
		proxy_read(c);
}

/* --- all of a worker's --- */

static void conns_drain_all(struct worker *w)
{
	struct list *node, *next;

	reuse_end(w);
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
	reuse_end(w);
}

/* What a peak of connections had from malloc() lies free in the heap: the system gets it back. */
static void give_back(struct worker *w)
{
	struct conn_kit *kit = w->kit;

	if (kit->peak < w->n_live)
		kit->peak = w->n_live;
	if (kit->peak < TRIM_FROM || w->n_live > kit->peak / 8)
		return;
	kit->peak = w->n_live;
	heap_trim();
}

static void conns_free_dead(struct worker *w)
{
	struct conn_kit *kit = w->kit;

	close_row(kit);
	while (!list_is_empty(&w->dead)) {
		struct conn *c = container_of(w->dead.next, struct conn, node);

		list_del(&c->node);
		if (!reuse_rest(c))
			pool_put(&w->conns, c);
		if (w->n_live == 0) {
			pump_kit_trim(&kit->pump);
			http_spares_trim(&kit->spares);
		}
	}
	give_back(w);
}

static void *kit_new(const struct engine_setup *setup)
{
	struct conn_kit *kit = xcalloc(1, sizeof(*kit));

	(void)setup;
	pump_kit_init(&kit->pump);
	list_init(&kit->resting);
	return kit;
}

static void kit_free(void *data)
{
	struct conn_kit *kit = data;

	pump_kit_fini(&kit->pump);
	http_spares_trim(&kit->spares);
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

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "mode/http_serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/balance.h"
#include "conn/kit.h"
#include "engine/engine.h"
#include "engine/worker.h"
#include "log/log.h"

enum {
	ROUNDS = 32,			/* of reads and writes before others have their turn */
	ONE_PIECE = 4096,		/* bytes of a head and what follows it, copied into one piece */
	TUNNEL_IDLE_MS = 60 * 60 * 1000, /* a WebSocket may be silent for longer than a request */
	DRAIN_IDLE_MS = 2000,		/* for the next request of a kept connection, while draining */
};

static const struct engine_shared *shared_of(const struct conn *c)
{
	return c->worker->shared;
}

static struct conn_side *side_of(struct conn *c, enum http_side side)
{
	return side == HTTP_CLIENT ? &c->client : &c->server;
}

/* --- the access line --- */

static void copy_for_log(struct slice s, char *buf, size_t size)
{
	size_t n = s.len < size ? s.len : size - 1;

	memcpy(buf, s.ptr, n);
	buf[n] = '\0';
}

/* The query stays out: it is where people put tokens. */
void http_serve_remember(struct conn *c, const struct http_head *head, const char *buf)
{
	struct http *h = c->exchange;
	struct slice path = http_span_slice(buf, head->path);
	const char *query = memchr(path.ptr, '?', path.len);

	if (query)
		path.len = (size_t)(query - path.ptr);
	copy_for_log(http_span_slice(buf, head->method_text), h->method, sizeof(h->method));
	copy_for_log(path, h->path, sizeof(h->path));
}

static void field_span(struct log_line *l, const char *key, double from, double to)
{
	if (from > 0 && to >= from)
		log_field_number(l, key, (uint64_t)((to - from) * 1000));
}

static void log_request(struct conn *c, enum conn_end why)
{
	struct http *h = c->exchange;
	const char *error = conn_error_text(c, why);
	char peer[NET_PEER_TEXT_SIZE];
	struct log_line l;

	h->open = false;
	if (!c->frontend->log || !log_wants(LEVEL_INFO))
		return;
	log_begin(&l, LEVEL_INFO, "request");
	log_field_string(&l, "frontend", c->frontend->name);
	log_field_string(&l, "source", net_peer_format(&c->peer, peer));
	if (c->enclave)
		log_field_string(&l, "enclave", c->enclave->name);
	if (h->method[0]) {
		log_field_string(&l, "method", h->method);
		if (c->name)
			log_field_string(&l, "name", c->name);
		if (h->path[0])
			log_field_string(&l, "path", h->path);
	}
	if (h->x.status)
		log_field_number(&l, "status", h->x.status);
	if (h->rule)
		log_field_string(&l, "rule", h->rule->place_text);
	if (h->rule && h->rule == c->rule)
		conn_log_target(c, &l);
	field_span(&l, "hello_ms", h->began, h->routed);
	field_span(&l, "lookup_ms", h->routed, c->looked_up);
	field_span(&l, "connect_ms", c->looked_up > 0 ? c->looked_up : h->routed, h->connected);
	field_span(&l, "total_ms", h->began, ev_now(c->worker->loop));
	log_field_number(&l, "bytes_up", h->x.half[HTTP_CLIENT].total);
	log_field_number(&l, "bytes_down", h->x.half[HTTP_SERVER].total);
	log_field_string(&l, "reason", conn_end_label(why));
	if (shared_of(c)->setup->modes[c->frontend->mode]->log)
		shared_of(c)->setup->modes[c->frontend->mode]->log(c, &l);
	if (h->x.why && why != END_CONNECT_FAILED && why != END_CONNECT_TIMEOUT)
		error = h->x.why;
	if (error)
		log_field_string(&l, "error", error);
	log_end_batched(&l, &c->worker->log);
}

/* What a request that we answered ourselves, or broke off, ended for. */
static enum conn_end why_ended(const struct http *h)
{
	const struct http_exchange *x = &h->x;

	if (h->end != END_COUNT)
		return h->end;
	if (x->stage == HTTP_STAGE_ABORTED && x->half[HTTP_CLIENT].eof && !x->request_done)
		return END_CLIENT_ERROR;
	if (x->stage == HTTP_STAGE_ABORTED || x->status == 502)
		return END_ANSWER_MALFORMED;
	return x->status >= 400 && x->why ? END_REQUEST_REFUSED : END_DONE;
}

/* --- deadlines --- */

static void deadline_for(struct conn *c, enum http_waiting waiting, uint32_t ms)
{
	struct http *h = c->exchange;

	h->waiting = waiting;
	h->marked = h->moved;
	conn_deadline(c, ms);
}

static bool is_output_pending(const struct http *h)
{
	return http_exchange_has_output(&h->x, HTTP_CLIENT) || http_exchange_has_output(&h->x, HTTP_SERVER);
}

static void http_deadline(struct conn *c)
{
	struct http *h = c->exchange;
	const struct config_timeouts *t = &c->frontend->timeouts;
	const uint32_t idle_ms = balance_idle_ms(c->rule, t->idle_ms);

	if (is_output_pending(h)) {
		if (h->waiting != WAITING_WRITE || h->moved != h->marked)
			deadline_for(c, WAITING_WRITE, t->stalled_ms);
	} else if (h->x.stage == HTTP_STAGE_REQUEST && (!h->served || http_exchange_in_head(&h->x))) {
		if (h->waiting != WAITING_HEAD)
			deadline_for(c, WAITING_HEAD, h->hello_ms);
	} else if (h->x.stage == HTTP_STAGE_REQUEST) {
		bool draining = shared_of(c)->draining;

		if (h->waiting != WAITING_NEXT)
			deadline_for(c, WAITING_NEXT, draining ? DRAIN_IDLE_MS : t->idle_ms);
	} else if (h->x.stage != HTTP_STAGE_TUNNEL) {
		deadline_for(c, WAITING_PEER, idle_ms);
	} else if (h->shut[HTTP_CLIENT] || h->shut[HTTP_SERVER]) {
		deadline_for(c, WAITING_HALF, t->half_closed_ms);
	} else {
		bool longer = idle_ms == 0 || idle_ms > TUNNEL_IDLE_MS;

		deadline_for(c, WAITING_PEER, longer ? idle_ms : TUNNEL_IDLE_MS);
	}
}

/* --- bytes --- */

/* One send() of little costs less than sendmsg() of two pieces, even with the copy. */
static ssize_t send_pieces(struct conn *c, int fd, struct iovec *iov, size_t n, size_t want, int flags)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	unsigned char *room = ((struct conn_kit *)c->worker->kit)->pump.room;

	if (n == 1)
		return net_send(fd, iov[0].iov_base, iov[0].iov_len, flags);
	if (want > ONE_PIECE)
		return sendmsg(fd, &m, flags | MSG_NOSIGNAL);
	memcpy(room, iov[0].iov_base, iov[0].iov_len);
	memcpy(room + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
	return net_send(fd, room, want, flags);
}

/* True where something was written; false also where the connection is over. */
static bool http_write(struct conn *c, enum http_side to)
{
	struct http *h = c->exchange;
	struct iovec iov[2];
	int flags = 0;
	size_t want = 0, pieces;
	ssize_t n;

	if (!h->may_write[to] || side_of(c, to)->fd == -1)
		return false;
	pieces = (size_t)http_exchange_output(&h->x, to, iov);
	if (pieces == 0)
		return false;
	for (size_t i = 0; i < pieces; i++)
		want += iov[i].iov_len;
	if (to == HTTP_SERVER && h->spoke)
		conn_server_nodelay(c);
	h->spoke |= to == HTTP_SERVER;
	/* Last words wait for the end that follows them at once, and leave in one packet with it. */
	if (to == HTTP_CLIENT && http_exchange_is_last(&h->x))
		flags |= MSG_MORE;
	n = send_pieces(c, side_of(c, to)->fd, iov, pieces, want, flags);
	if (n == -1 && errno == EINTR)
		return true;
	h->may_write[to] = n == (ssize_t)want;
	if (n >= 0) {
		h->moved += (uint64_t)n;
		http_exchange_sent(&h->x, to, (size_t)n);
		return true;
	}
	if (errno == EAGAIN)
		return false;
	c->error = errno;
	/* A server that takes no more may have answered; reading it tells its end. */
	if (to == HTTP_SERVER && h->x.stage != HTTP_STAGE_TUNNEL)
		h->broken = h->may_read[HTTP_SERVER] = true;
	else
		conn_end(c, to == HTTP_CLIENT ? END_CLIENT_ERROR : END_SERVER_ERROR);
	return false;
}

/* The server's connection broke: what it had begun to say is not whole. */
static void server_broke(struct conn *c, int error)
{
	struct http *h = c->exchange;
	static const struct linger at_once = { .l_onoff = 1 };

	if (h->x.stage != HTTP_STAGE_BODY && h->x.stage != HTTP_STAGE_TUNNEL) {
		http_exchange_received(&h->x, HTTP_SERVER, 0);
		return;
	}
	c->error = error;
	/* Where the end is all that says "whole", only a reset says that it is not. */
	if (h->x.response.framing == HTTP_FRAMING_CLOSE)
		setsockopt(c->client.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	conn_end(c, END_SERVER_ERROR);
}

static bool http_read(struct conn *c, enum http_side from)
{
	struct http *h = c->exchange;
	size_t size;
	char *room;
	ssize_t n;

	if (!h->may_read[from] || side_of(c, from)->fd == -1)
		return false;
	room = http_exchange_room(&h->x, from, &size);
	if (!room)
		return false;
	size = conn_allowance(c, from == HTTP_CLIENT ? LIMIT_UP : LIMIT_DOWN, size);
	if (size == 0) {
		http_exchange_unread(&h->x, from);
		return false;
	}
	n = net_receive(side_of(c, from)->fd, room, size);
	if (n == -1 && errno == EINTR)
		return true;
	h->may_read[from] = n > 0 && !conn_is_drained(c, from == HTTP_CLIENT, (size_t)n, size);
	if (n >= 0) {
		conn_used(c, from == HTTP_CLIENT ? LIMIT_UP : LIMIT_DOWN, (size_t)n);
		http_exchange_received(&h->x, from, (size_t)n);
		return true;
	}
	http_exchange_unread(&h->x, from);
	if (errno == EAGAIN)
		return false;
	if (from == HTTP_SERVER) {
		server_broke(c, errno);
	} else {
		c->error = errno;
		conn_end(c, END_CLIENT_ERROR);
	}
	return c->state == CONN_EXCHANGE;
}

static int events_for(struct conn *c, enum http_side side)
{
	const struct http *h = c->exchange;
	const enum limit_direction d = side == HTTP_CLIENT ? LIMIT_UP : LIMIT_DOWN;
	bool reads = http_exchange_reads(&h->x, side) && !c->throttled[d];
	bool takes = side == HTTP_CLIENT || !h->broken;

	return (reads ? EV_READ : 0) |
	       (takes && http_exchange_has_output(&h->x, side) ? EV_WRITE : 0);
}

static void note_beginning(struct conn *c)
{
	struct http *h = c->exchange;

	if (h->open || !http_exchange_in_head(&h->x))
		return;
	h->open = true;
	h->began = ev_now(c->worker->loop);
}

/* --- for the mode --- */

void http_serve_answer(struct conn *c, unsigned status, enum conn_end why)
{
	struct http *h = c->exchange;

	h->end = why;
	http_exchange_answer(&h->x, status);
}

bool http_serve_keeps_server(struct conn *c)
{
	struct http *h = c->exchange;
	char byte;

	if (c->server.fd == -1 || !http_exchange_keeps_server(&h->x))
		return false;
	return http_exchange_is_repeatable(&h->x) ||
	       (recv(c->server.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == -1 && errno == EAGAIN);
}

static bool leads_to_same(const struct config_target *a, const struct config_target *b)
{
	if (a == b)
		return true;
	if (a->kind != b->kind || a->send_proxy != b->send_proxy)
		return false;
	return a->kind == TARGET_BACKEND ? a->backend == b->backend :
					   strcmp(a->address.text, b->address.text) == 0;
}

bool http_serve_may_reuse(struct conn *c, const struct config_rule *rule)
{
	return c->server.fd != -1 && leads_to_same(&c->rule->target, &rule->target) &&
	       http_serve_keeps_server(c);
}

/* --- the turn --- */

static void request_over(struct conn *c)
{
	struct http *h = c->exchange;

	if (!http_exchange_keeps_server(&h->x))
		conn_drop_server(c);
	log_request(c, END_DONE);
	h->served = true;
	h->waiting = WAITING_NOTHING;
	h->end = END_COUNT;
	h->rule = NULL;
	h->method[0] = '\0';
	h->connected = 0;
	c->error = 0;
	http_exchange_next(&h->x);
	note_beginning(c);
}

static void http_close(struct conn *c)
{
	struct http *h = c->exchange;
	enum conn_end why = why_ended(h);

	if (h->open || !h->served) {
		if (h->x.status == 0)
			why = END_NO_HELLO;
		log_request(c, why);
		h->served = true;
	}
	c->up.readable = h->may_read[HTTP_CLIENT];
	conn_finish(c, why);
}

static void http_abort(struct conn *c)
{
	conn_end(c, why_ended(c->exchange));
}

/* Passes an end on once everything before it is written. */
static void tunnel_ends(struct conn *c)
{
	struct http *h = c->exchange;

	for (int from = 0; from < 2; from++) {
		enum http_side to = from == HTTP_CLIENT ? HTTP_SERVER : HTTP_CLIENT;

		if (h->shut[to] || !h->x.half[from].eof || http_exchange_has_output(&h->x, to))
			continue;
		h->shut[to] = true;
		shutdown(side_of(c, to)->fd, SHUT_WR);
	}
	if (h->shut[HTTP_CLIENT] && h->shut[HTTP_SERVER])
		conn_end(c, END_DONE);
}

/* Reads and writes what can be; false where it is time to wait for the loop, or all is over. */
static bool http_move(struct conn *c)
{
	struct http *h = c->exchange;
	bool moved = http_write(c, HTTP_SERVER);

	if (c->state != CONN_EXCHANGE)
		return false;
	moved |= http_write(c, HTTP_CLIENT);
	if (c->state != CONN_EXCHANGE)
		return false;
	if (moved && h->x.stage != HTTP_STAGE_TUNNEL)
		return true; /* what follows may be over by now */
	moved |= http_read(c, HTTP_SERVER);
	if (c->state != CONN_EXCHANGE)
		return false;
	moved |= http_read(c, HTTP_CLIENT);
	if (c->state != CONN_EXCHANGE)
		return false;
	note_beginning(c);
	if (h->x.stage == HTTP_STAGE_REQUEST && !http_exchange_keeps_server(&h->x))
		conn_drop_server(c); /* it ended, or spoke out of turn */
	if (h->x.stage == HTTP_STAGE_TUNNEL)
		tunnel_ends(c);
	return moved && c->state == CONN_EXCHANGE;
}

static void http_wait(struct conn *c)
{
	conn_watch(c, events_for(c, HTTP_CLIENT), events_for(c, HTTP_SERVER));
	if (c->state == CONN_EXCHANGE)
		http_deadline(c);
}

void http_serve_run(struct conn *c)
{
	struct http *h = c->exchange;
	int rounds = 0;

	if (shared_of(c)->draining)
		http_exchange_drain(&h->x);
	h->running = true;
	while (c->state == CONN_EXCHANGE) {
		switch (http_exchange_step(&h->x)) {
		case HTTP_STEP_WAIT:
		case HTTP_STEP_TUNNEL:
			if (rounds++ < ROUNDS && http_move(c))
				break;
			if (c->state != CONN_EXCHANGE)
				return;
			h->running = false;
			if (rounds > ROUNDS)
				conn_again(c);
			http_wait(c);
			return;
		case HTTP_STEP_ROUTE:
			h->ops->route(c);
			break;
		case HTTP_STEP_RETRY:
			h->ops->redial(c);
			break;
		case HTTP_STEP_OVER:
			request_over(c);
			break;
		case HTTP_STEP_CLOSE:
			http_close(c);
			return;
		case HTTP_STEP_ABORT:
			http_abort(c);
			return;
		}
	}
	/* Dialling: connected() or failed() goes on.  Over, or another protocol: h is gone. */
	if (c->exchange)
		h->running = false;
}

/* What another reader has read of the client. */
static bool take_read(struct conn *c)
{
	struct http *h = c->exchange;
	struct pump *p = &c->up;

	while (p->len > 0) {
		size_t n;
		char *room = http_exchange_room(&h->x, HTTP_CLIENT, &n);

		if (!room)
			return false;
		n = n < p->len ? n : p->len;
		memcpy(room, p->buf + p->first, n);
		http_exchange_received(&h->x, HTTP_CLIENT, n);
		p->first += (uint32_t)n;
		p->len -= (uint32_t)n;
	}
	if (p->eof)
		http_exchange_received(&h->x, HTTP_CLIENT, 0);
	pump_fini(p);
	return true;
}

bool http_serve_start(struct conn *c, const struct http_serve_ops *ops)
{
	struct http *h = malloc(sizeof(*h));

	if (!h) {
		conn_end(c, END_NO_MEMORY);
		return false;
	}
	memset((char *)h + sizeof(h->x), 0, sizeof(*h) - sizeof(h->x));
	http_exchange_init(&h->x, c->frontend->buffer_size);
	h->x.spares = &((struct conn_kit *)c->worker->kit)->spares;
	h->ops = ops;
	h->end = END_COUNT;
	h->may_read[HTTP_CLIENT] = h->may_write[HTTP_CLIENT] = true;
	h->began = ev_now(c->worker->loop);
	h->hello_ms = c->frontend->timeouts.hello_ms;
	c->exchange = h;
	conn_exchange(c);
	if (c->up.len > 0 && !take_read(c)) {
		conn_end(c, END_NO_MEMORY);
		return false;
	}
	return true;
}

void http_serve_leave(struct conn *c)
{
	struct http *h = c->exchange;

	http_exchange_fini(&h->x);
	free(h);
	c->exchange = NULL;
}

void http_serve_io(struct conn *c, bool client, int events)
{
	struct http *h = c->exchange;
	enum http_side side = client ? HTTP_CLIENT : HTTP_SERVER;

	h->may_read[side] |= (events & EV_READ) != 0;
	h->may_write[side] |= (events & EV_WRITE) != 0;
	http_serve_run(c);
}

void http_serve_connected(struct conn *c)
{
	struct http *h = c->exchange;

	h->connected = ev_now(c->worker->loop);
	h->may_write[HTTP_SERVER] = true;
	h->may_read[HTTP_CLIENT] |= conn_had_edge(c, true);
	h->may_read[HTTP_SERVER] = conn_had_edge(c, false);
	h->broken = h->spoke = false;
	h->waiting = WAITING_NOTHING;
	if (!h->running)
		http_serve_run(c);
}

void http_serve_refuse(struct conn *c, unsigned status, enum conn_end why, const char *text)
{
	struct http *h = c->exchange;

	h->may_read[HTTP_CLIENT] |= c->state == CONN_CONNECT && conn_had_edge(c, true);
	conn_exchange(c);
	h->waiting = WAITING_NOTHING;
	h->end = why;
	http_exchange_explain(&h->x, status, text);
	if (!h->running)
		http_serve_run(c);
}

void http_serve_dial_failed(struct conn *c, enum conn_end why)
{
	http_serve_refuse(c, why == END_BACKEND_FULL ? 503 : 502, why, NULL);
}

static void request_expired(struct conn *c)
{
	struct http *h = c->exchange;

	if (h->waiting == WAITING_NEXT) {
		conn_end(c, END_IDLE_TIMEOUT);
	} else if (http_exchange_in_head(&h->x)) {
		http_serve_answer(c, 408, END_HELLO_TIMEOUT);
		http_serve_run(c);
	} else {
		conn_end(c, END_HELLO_TIMEOUT);
	}
}

void http_serve_expired(struct conn *c)
{
	struct http *h = c->exchange;

	if (h->waiting == WAITING_WRITE) {
		conn_end(c, END_STALLED_TIMEOUT);
	} else if (h->x.stage == HTTP_STAGE_REQUEST) {
		request_expired(c);
	} else if (h->x.stage == HTTP_STAGE_RESPONSE) {
		/* Who still owed something: the client its body, or the server its answer? */
		if (h->x.request_done)
			http_serve_answer(c, 504, END_ANSWER_TIMEOUT);
		else
			http_serve_answer(c, 408, END_IDLE_TIMEOUT);
		http_serve_run(c);
	} else {
		conn_end(c, h->waiting == WAITING_HALF ? END_HALF_CLOSED_TIMEOUT : END_IDLE_TIMEOUT);
	}
}

/* Requests under way are answered with "Connection: close"; an idle client has a moment for one more. */
void http_serve_drain(struct conn *c)
{
	struct http *h = c->exchange;

	http_exchange_drain(&h->x);
	if (h->waiting == WAITING_NEXT)
		deadline_for(c, WAITING_NEXT, DRAIN_IDLE_MS);
}

void http_serve_ended(struct conn *c)
{
	struct http *h = c->exchange;

	if (!h) { /* refused before it began */
		struct http none = { .end = END_COUNT };

		c->exchange = &none;
		log_request(c, c->end);
		c->exchange = NULL;
		return;
	}
	if (h->open || !h->served)
		log_request(c, c->end);
	http_exchange_fini(&h->x);
	free(h);
	c->exchange = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode egress: enclaves reach the network, each as far as its rules let it.
 *
 * The first bytes say where to, in one of three protocols (wire/egress_request.h).  Who
 * asks in a line hears nothing but the other side; SOCKS5 and HTTP have answers for
 * success and for each failure.  Bytes that came with the request go first.
 *
 * An enclave that is over a limit has a moment to say what it wants, so that its client
 * gets the protocol's answer and no riddle; a few at a time, since they, too, take places.
 */
#include <config.h>

#include "mode/mode.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/worker.h"
#include "log/log.h"
#include "mode/egress.h"
#include "mode/http_serve.h"

/* What each failure is in HTTP and SOCKS5. */
static const struct {
	enum conn_end end;
	uint16_t status;
	uint8_t reply;
} answers[] = {
	{ END_TARGET_MALFORMED, 400, SOCKS5_NOT_ALLOWED },
	{ END_NO_ROUTE, 403, SOCKS5_NOT_ALLOWED },
	{ END_REJECTED, 403, SOCKS5_NOT_ALLOWED },
	{ END_REGEX_LIMIT, 403, SOCKS5_NOT_ALLOWED },
	{ END_ADDRESS_REFUSED, 403, SOCKS5_NOT_ALLOWED },
	{ END_OWN_LISTENER, 403, SOCKS5_NOT_ALLOWED },
	{ END_NAME_UNKNOWN, 502, SOCKS5_HOST_UNREACHABLE },
	{ END_LOOKUP_FAILED, 502, SOCKS5_HOST_UNREACHABLE },
	{ END_LOOKUP_TIMEOUT, 504, SOCKS5_HOST_UNREACHABLE },
	{ END_CONNECT_TIMEOUT, 504, SOCKS5_TTL_EXPIRED },
	{ END_ENCLAVE_CONNECTIONS, 503, SOCKS5_GENERAL_FAILURE },
	{ END_ENCLAVE_RATE, 503, SOCKS5_GENERAL_FAILURE },
	{ END_ENCLAVE_LOOKUPS, 503, SOCKS5_GENERAL_FAILURE },
	{ END_BACKEND_FULL, 503, SOCKS5_GENERAL_FAILURE },
	{ END_NO_MEMORY, 503, SOCKS5_GENERAL_FAILURE },
	{ END_NO_DESCRIPTOR, 503, SOCKS5_GENERAL_FAILURE },
};

static unsigned status_of(enum conn_end why)
{
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++)
		if (answers[i].end == why)
			return answers[i].status;
	return 502;
}

static enum socks5_reply reply_of(enum conn_end why, int error)
{
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++)
		if (answers[i].end == why)
			return answers[i].reply;
	switch (error) {
	case ECONNREFUSED:
		return SOCKS5_CONNECTION_REFUSED;
	case ENETUNREACH:
		return SOCKS5_NETWORK_UNREACHABLE;
	case EHOSTUNREACH:
		return SOCKS5_HOST_UNREACHABLE;
	default:
		return SOCKS5_GENERAL_FAILURE;
	}
}

void egress_explain(struct egress *e, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(e->reason, sizeof(e->reason), format, ap);
	va_end(ap);
}

void egress_set_name(struct conn *c)
{
	const struct host_port *t = &egress_of(c)->target;
	char text[HOST_NAME_SIZE + 16];
	int n = snprintf(text, sizeof(text), t->kind == HOST_IS_IPV6 ? "[%s]:%u" : "%s:%u", t->name,
			 (unsigned)t->port);

	conn_set_name(c, slice_of(text, (size_t)n));
}

/* --- failure --- */

static void say_nothing(struct conn *c, enum conn_end why)
{
	conn_answer(c, NULL, 0, why);
}

static void say_socks(struct conn *c, enum conn_end why)
{
	unsigned char reply[SOCKS5_REPLY_SIZE];
	size_t len = socks5_reply_build(reply_of(why, c->error), NULL, 0, reply);

	conn_answer(c, reply, len, why);
}

void egress_fail(struct conn *c, enum conn_end why)
{
	struct egress *e = egress_of(c);

	egress_stop(c);
	if (why == END_DROPPED)
		conn_end(c, why);
	else if (e->protocol == EGRESS_HTTP)
		http_serve_refuse(c, status_of(why), why, e->reason);
	else if (e->protocol == EGRESS_SOCKS5)
		say_socks(c, why);
	else
		say_nothing(c, why);
}

/*
 * Whoever hears no answer: what came with a line is delivered, and a request in absolute-form.
 * The other two are answered first, and fail with that.
 */
bool egress_left(struct conn *c)
{
	const struct egress *e = egress_of(c);

	if (e->absolute || !conn_client_left(c) || (e->protocol == EGRESS_LINE && conn_has_input(c)))
		return false;
	conn_end(c, END_CLIENT_LEFT);
	return true;
}

/*
 * A look-up goes on: its place is given back when it is over, or an enclave would have as many
 * look-ups under way as it can open connections.
 */
static void egress_client_ended(struct conn *c)
{
	if (!egress_of(c)->looking)
		egress_left(c);
}

/* --- the tunnel --- */

void egress_tunnel(struct conn *c)
{
	static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";
	const struct egress *e = egress_of(c);
	unsigned char reply[SOCKS5_REPLY_SIZE];
	const void *bytes = reply;
	size_t len = 0;

	if (e->protocol == EGRESS_SOCKS5) {
		len = socks5_reply_build(SOCKS5_SUCCEEDED, NULL, 0, reply);
	} else if (e->protocol == EGRESS_HTTP) {
		bytes = established;
		len = sizeof(established) - 1;
	}
	if (len > 0 && !pump_push_front(&c->down, bytes, (uint32_t)len)) {
		conn_end(c, END_NO_MEMORY);
		return;
	}
	if (c->exchange)
		http_serve_leave(c);
	conn_relay(c);
}

static void egress_connected(struct conn *c)
{
	const struct egress *e = egress_of(c);

	/* What is raced has it from race.c. */
	if (c->target->kind == ADDRESS_TCP_IP && c->rule->target.kind != TARGET_DIRECT)
		net_keep_alive(c->server.fd);
	if (e->absolute)
		http_serve_connected(c);
	else if (c->rule->target.kind == TARGET_VIA)
		egress_via_begin(c);
	else
		egress_tunnel(c);
}

/* --- the first bytes --- */

static void drop_request(struct egress *e)
{
	free(e->request);
	e->request = NULL;
}

static void found(struct conn *c)
{
	struct egress *e = egress_of(c);

	c->up.first += (uint32_t)e->request->len;
	c->up.len -= (uint32_t)e->request->len;
	e->target = e->request->target;
	drop_request(e);
	if (c->up.len == 0)
		pump_fini(&c->up);
	egress_set_name(c);
	c->routed = ev_now(c->worker->loop);
	egress_go(c);
}

static void malformed(struct conn *c)
{
	struct egress *e = egress_of(c);
	const struct egress_request *r = e->request;

	egress_explain(e, "%s", r->why);
	conn_answer(c, r->reply, r->reply_len, END_TARGET_MALFORMED);
}

static void egress_input(struct conn *c, const unsigned char *bytes, size_t len, bool eof)
{
	struct egress *e = egress_of(c);
	struct egress_request *r = e->request;
	enum egress_result result;

	(void)eof; /* a client that ends inside its request is told apart by conn.c */
	while ((result = egress_request_parse(r, bytes, len)) == EGRESS_REPLY) {
		/* Two bytes, the first that are sent here. */
		if (send(c->client.fd, r->reply, r->reply_len, MSG_NOSIGNAL) != r->reply_len) {
			c->error = errno;
			conn_end(c, END_CLIENT_ERROR);
			return;
		}
	}
	e->protocol = r->protocol;
	if (e->protocol == EGRESS_HTTP) {
		drop_request(e);
		egress_http_begin(c);
	} else if (result == EGRESS_FOUND) {
		found(c);
	} else if (result == EGRESS_BAD) {
		malformed(c);
	}
}

/* --- the mode's table --- */

static enum egress_protocol protocol_of(const struct config_frontend *f)
{
	switch (f->protocol) {
	case PROTOCOL_AUTO:
		return EGRESS_AUTO;
	case PROTOCOL_LINE:
		return EGRESS_LINE;
	case PROTOCOL_CONNECT:
		return EGRESS_HTTP;
	case PROTOCOL_SOCKS5:
		return EGRESS_SOCKS5;
	}
	return EGRESS_AUTO;
}

enum conn_end egress_over(const struct egress *e)
{
	switch (e->over_kind) {
	case LIMIT_RATE:
		return END_ENCLAVE_RATE;
	case LIMIT_LOOKUPS:
		return END_ENCLAVE_LOOKUPS;
	case LIMIT_CONNECTIONS:
	case LIMIT_KINDS:
		break;
	}
	return END_ENCLAVE_CONNECTIONS;
}

/* Counts it in with its enclave. */
static void admit(struct conn *c)
{
	static const struct config_enclave nobody = { .name = "", .max_lookups = 256 };
	const struct engine_shared *s = c->worker->shared;
	struct egress *e = egress_of(c);

	e->enclave = c->enclave ? c->enclave : &nobody;
	e->limits = &s->limits[c->enclave ? c->enclave->number : s->setup->config->n_enclaves];
	if (c->enclave && c->enclave->bandwidth)
		c->limits = e->limits;
	e->counted = limits_connect(e->limits, e->enclave, limits_now_ns(), &e->over_kind);
	e->over = !e->counted;
	e->told = e->over && limits_over(e->limits);
}

static bool egress_start(struct conn *c)
{
	struct egress *e = egress_of(c);

	e->conn = c;
	e->protocol = protocol_of(c->frontend);
	admit(c);
	if (e->over && !e->told) {
		conn_end(c, egress_over(e));
		return false;
	}
	if (c->peer.has_ip)
		net_keep_alive(c->client.fd);
	if (e->protocol == EGRESS_HTTP) {
		egress_http_begin(c);
		return false;
	}
	e->request = malloc(sizeof(*e->request));
	if (!e->request) {
		conn_end(c, END_NO_MEMORY);
		return false;
	}
	egress_request_init(e->request, e->protocol, HTTP_HEAD_MAX);
	if (e->over)
		conn_deadline(c, EGRESS_OVER_HELLO_MS);
	return true;
}

static void egress_io(struct conn *c, bool client, int events)
{
	if (c->state == CONN_EXCHANGE)
		http_serve_io(c, client, events);
	else if (!client)
		egress_via_io(c);
}

static void egress_dial_failed(struct conn *c, enum conn_end why)
{
	struct egress *e = egress_of(c);

	if (e->looking)
		why = END_LOOKUP_TIMEOUT;
	if (!e->reason[0] && c->target && why == END_CONNECT_FAILED)
		egress_explain(e, "%s: %s", c->target->text, net_dial_error(c->target, c->error));
	else if (!e->reason[0])
		egress_explain(e, "%s", conn_end_sentence(why));
	egress_fail(c, why);
}


static void egress_log(const struct conn *c, struct log_line *l)
{
	static const char *const names[] = { [EGRESS_AUTO] = "", [EGRESS_LINE] = "line",
					     [EGRESS_HTTP] = "http", [EGRESS_SOCKS5] = "socks5" };
	const struct egress *e = egress_of(c);

	if (!e) /* refused before it began */
		return;
	if (e->protocol != EGRESS_AUTO)
		log_field_string(l, "protocol", names[e->protocol]);
	if (e->over || c->end == END_ENCLAVE_LOOKUPS)
		log_field_number(l, "refused",
				 atomic_load(&e->limits->refused[e->over ? e->over_kind : LIMIT_LOOKUPS]));
	if (!c->exchange && e->reason[0] && !c->error)
		log_field_string(l, "error", e->reason);
}

static void egress_ended(struct conn *c)
{
	struct egress *e = egress_of(c);

	if (!e) {
		conn_log(c);
		return;
	}
	egress_stop(c);
	/* It had no place from the beginning, whatever it did with its moment. */
	if (e->over)
		c->end = egress_over(e);
	if (c->exchange)
		http_serve_ended(c);
	else
		conn_log(c);
	if (e->counted)
		limits_disconnect(e->limits);
	if (e->told)
		limits_over_ended(e->limits);
	drop_request(e);
}

const struct mode_ops mode_egress = {
	.name = "egress",
	.start = egress_start,
	.input = egress_input,
	.input_max = 2 * EGRESS_LINE_MAX,
	.scratch_size = sizeof(struct egress),
	.log = egress_log,
	.io = egress_io,
	.connected = egress_connected,
	.dial_failed = egress_dial_failed,
	.expired = http_serve_expired,
	.client_ended = egress_client_ended,
	.drain = http_serve_drain,
	.ended = egress_ended,
};

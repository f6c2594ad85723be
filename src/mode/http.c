/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode http: an HTTP/1.1 intermediary that routes each request on a connection by
 * its own Host.
 *
 * mode/http_serve.c reads and writes; this file asks the table where a request goes.
 */
#include <config.h>

#include "mode/mode.h"

#include <stdlib.h>

#include "engine/worker.h"
#include "mode/http_serve.h"
#include "route/path.h"

static void forward(struct conn *c, const struct config_rule *rule)
{
	struct http *h = c->exchange;
	bool reuse = http_serve_may_reuse(c, rule);
	char client[IP_TEXT_SIZE];
	struct http_forward_request f = { .forwarded = c->frontend->forwarded, .keep_alive = true };

	if (c->peer.has_ip)
		f.client = slice_of_string(ip_format(&c->peer.ip, client));
	if (http_exchange_forward(&h->x, &f, reuse) < 0) {
		conn_end(c, END_NO_MEMORY);
		return;
	}
	if (reuse)
		c->rule = rule;
	else
		conn_dial(c, rule);
}

static void follow(struct conn *c, const struct config_rule *rule, struct slice name)
{
	struct http *h = c->exchange;
	bool known;

	h->rule = rule;
	switch (rule->target.kind) {
	case TARGET_ADDRESS:
	case TARGET_BACKEND:
		forward(c, rule);
		break;
	case TARGET_REDIRECT_HTTPS:
		h->end = END_REDIRECTED;
		if (http_exchange_redirect(&h->x) < 0)
			conn_end(c, END_NO_MEMORY);
		break;
	case TARGET_DROP:
		conn_end(c, END_DROPPED);
		break;
	default: /* TARGET_REJECT: check_rules.c lets this mode have no other */
		known = name.ptr && route_knows_name(c->frontend->table, c->worker->scratch, name);
		http_serve_answer(c, known ? 403 : 421, known ? END_REJECTED : END_NO_ROUTE);
		break;
	}
}

static void route(struct conn *c)
{
	struct http *h = c->exchange;
	const struct config_frontend *f = c->frontend;
	const char *buf;
	const struct http_head *head = http_exchange_request(&h->x, &buf);
	struct slice path = http_span_slice(buf, head->path);
	struct route_query q = { .from = c->peer.has_ip ? &c->peer.ip : NULL,
				 .vouched = c->peer.has_cid, .cid = c->peer.cid };
	char small[1024], *normal = path.len <= sizeof(small) ? small : malloc(path.len);
	enum route_result found;
	size_t rule = 0;

	h->routed = ev_now(c->worker->loop);
	c->looked_up = 0;
	http_serve_remember(c, head, buf);
	if (head->has_host)
		conn_set_name(c, host_port_name(&head->host));
	if (!normal) {
		conn_end(c, END_NO_MEMORY);
		return;
	}
	if (head->has_host)
		q.name = host_port_name(&head->host);
	if (path.len == 0 || path.ptr[0] != '/') { /* absolute-form without path, or "*" */
		q.path = SLICE_LITERAL("/");
	} else if (!route_path_normalize(path, normal, &q.path)) {
		h->x.why = "a malformed escape in the path";
		http_serve_answer(c, 400, END_REQUEST_REFUSED);
		goto out;
	}
	found = route_match(f->table, c->worker->scratch, &q, &rule);
	if (found == ROUTE_LIMIT)
		http_serve_answer(c, 403, END_REGEX_LIMIT);
	else if (found == ROUTE_MISS)
		http_serve_answer(c, 421, END_NO_ROUTE);
	else
		follow(c, &f->rules[rule], q.name);
out:
	if (normal != small)
		free(normal);
}

static void redial(struct conn *c)
{
	conn_dial(c, c->rule);
}

static bool http_start(struct conn *c)
{
	static const struct http_serve_ops ops = { .route = route, .redial = redial };

	if (http_serve_start(c, &ops))
		http_serve_run(c);
	return false;
}

const struct mode_ops mode_http = {
	.name = "http",
	.start = http_start,
	.io = http_serve_io,
	.edges = true,
	.speaks = true,
	.connected = http_serve_connected,
	.dial_failed = http_serve_dial_failed,
	.expired = http_serve_expired,
	.drain = http_serve_drain,
	.ended = http_serve_ended,
};

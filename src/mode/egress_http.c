/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode egress as an HTTP proxy (RFC 9110, 9.3.6; RFC 9112, 3.2.2).
 *
 * Each request on a kept connection is judged by itself.  One in absolute-form goes on in
 * origin-form, or unchanged to a proxy further up; CONNECT makes a tunnel of the connection,
 * and HTTP is over on it.
 */
#include <config.h>

#include "mode/egress.h"

#include <string.h>

#include "engine/worker.h"
#include "mode/http_serve.h"

static bool same_target(const struct host_port *a, const struct host_port *b)
{
	return a->port == b->port && slice_equal(host_port_name(a), host_port_name(b));
}

bool egress_http_forward(struct conn *c, const struct config_rule *rule, bool reuse)
{
	struct http *h = c->exchange;
	const struct http_forward_request f = { .keep_alive = true,
						.to_proxy = rule->target.kind == TARGET_VIA };

	if (http_exchange_forward(&h->x, &f, reuse) < 0) {
		conn_end(c, END_NO_MEMORY);
		return false;
	}
	egress_of(c)->forwarded = true;
	return true;
}

/* What came behind the head is the tunnel's, and waits where all tunnels have it. */
static void begin_connect(struct conn *c)
{
	struct http *h = c->exchange;
	struct slice rest = http_exchange_connect(&h->x);

	egress_of(c)->absolute = false;
	conn_drop_server(c);
	if (rest.len > 0) {
		if (!pump_reserve(&c->up, (uint32_t)rest.len)) {
			conn_end(c, END_NO_MEMORY);
			return;
		}
		memcpy(c->up.buf, rest.ptr, rest.len);
		c->up.len = (uint32_t)rest.len;
	}
	c->up.eof = h->x.half[HTTP_CLIENT].eof;
	c->routed = h->routed;
	egress_go(c);
}

static void route(struct conn *c)
{
	struct egress *e = egress_of(c);
	struct http *h = c->exchange;
	const char *buf, *why;
	const struct http_head *head = http_exchange_request(&h->x, &buf);
	struct host_port target;
	bool same;

	h->routed = ev_now(c->worker->loop);
	c->looked_up = 0;
	e->reason[0] = '\0';
	http_serve_remember(c, head, buf);
	why = egress_http_target(head, &target);
	if (why) {
		http_serve_refuse(c, 400, END_REQUEST_REFUSED, why);
		return;
	}
	same = e->absolute && c->server.fd != -1 && same_target(&e->target, &target);
	e->target = target;
	egress_set_name(c);
	if (head->method == HTTP_METHOD_CONNECT) {
		begin_connect(c);
		return;
	}
	e->absolute = true;
	e->forwarded = false;
	/* The same enclave asks for the same: what was judged when it was dialled holds. */
	if (same && http_serve_keeps_server(c)) {
		h->rule = c->rule;
		egress_http_forward(c, c->rule, true);
		return;
	}
	egress_go(c);
}

static void redial(struct conn *c)
{
	egress_of(c)->reason[0] = '\0';
	egress_go(c);
}

void egress_http_begin(struct conn *c)
{
	static const struct http_serve_ops ops = { .route = route, .redial = redial };
	const struct egress *e = egress_of(c);
	struct http *h;

	if (!http_serve_start(c, &ops))
		return;
	h = c->exchange;
	h->x.takes_connect = true;
	if (e->over)
		h->hello_ms = EGRESS_OVER_HELLO_MS;
	http_serve_run(c);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking an HTTP proxy further up for a tunnel (RFC 9110, 9.3.6).
 *
 * Its answer is read as strictly as any head, up to VIA_ANSWER_MAX bytes, and within the
 * time that `timeout connect` leaves.  Nothing of the client's goes there before it agrees.
 */
#include <config.h>

#include "mode/egress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "wire/http_head.h"

enum {
	VIA_ANSWER_MAX = 16384,
	VIA_READ = 1024,		/* room for one read */
	VIA_REQUEST_MAX = 2 * (HOST_NAME_SIZE + 16) + 64,
};

struct via {
	struct http_head head;
	size_t sent, len;
	char request[VIA_REQUEST_MAX];
};

static void fail(struct conn *c, enum conn_end why)
{
	conn_dial_failed(c, why);
}

static void broke(struct conn *c, int error)
{
	c->error = error;
	fail(c, END_CONNECT_FAILED);
}

static void answered(struct conn *c)
{
	struct egress *e = egress_of(c);
	const struct http_head *h = &e->via->head;
	const unsigned code = h->code;

	c->down.first += h->len;
	c->down.len -= h->len;
	free(e->via);
	e->via = NULL;
	if (code / 100 == 2) {
		egress_tunnel(c);
		return;
	}
	egress_explain(e, "the proxy %s answered %u", c->target->text, code);
	fail(c, END_VIA_REFUSED);
}

static void malformed(struct conn *c, const char *why)
{
	egress_explain(egress_of(c), "the answer of the proxy %s: %s", c->target->text, why);
	fail(c, END_ANSWER_MALFORMED);
}

/* True where it is not whole yet. */
static bool parse(struct conn *c)
{
	struct http_head *h = &egress_of(c)->via->head;
	struct pump *p = &c->down;

	for (;;) {
		switch (http_head_parse(h, (const char *)p->buf + p->first, p->len)) {
		case HTTP_HEAD_MORE:
			return true;
		case HTTP_HEAD_BAD:
			malformed(c, h->why);
			return false;
		case HTTP_HEAD_FOUND:
			break;
		}
		if (h->code >= 200 || h->code == 101) {
			answered(c);
			return false;
		}
		p->first += h->len;
		p->len -= h->len;
		http_head_init_response(h, VIA_ANSWER_MAX, HTTP_METHOD_CONNECT);
	}
}

static void hear(struct conn *c)
{
	struct pump *p = &c->down;
	ssize_t n;

	do {
		if (!pump_reserve(p, VIA_READ)) {
			fail(c, END_NO_MEMORY);
			return;
		}
		n = net_receive(c->server.fd, p->buf + p->first + p->len, VIA_READ);
		if (n == 0) {
			malformed(c, "it closed without one");
			return;
		}
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno == EAGAIN) {
			conn_watch(c, 0, EV_READ);
			return;
		}
		if (n == -1) {
			broke(c, errno);
			return;
		}
		p->len += (uint32_t)n;
	} while (n == -1 || parse(c));
}

static void ask(struct conn *c)
{
	struct via *v = egress_of(c)->via;

	while (v->sent < v->len) {
		ssize_t n = send(c->server.fd, v->request + v->sent, v->len - v->sent, MSG_NOSIGNAL);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno == EAGAIN) {
			conn_watch(c, 0, EV_WRITE);
			return;
		}
		if (n == -1) {
			broke(c, errno);
			return;
		}
		v->sent += (size_t)n;
	}
	hear(c);
}

void egress_via_begin(struct conn *c)
{
	struct egress *e = egress_of(c);
	struct via *v = malloc(sizeof(*v));

	conn_handshake(c);
	if (!v || !c->name) {
		free(v);
		fail(c, END_NO_MEMORY);
		return;
	}
	http_head_init_response(&v->head, VIA_ANSWER_MAX, HTTP_METHOD_CONNECT);
	v->sent = 0;
	v->len = (size_t)snprintf(v->request, sizeof(v->request),
				  "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", c->name, c->name);
	e->via = v;
	ask(c);
}

void egress_via_io(struct conn *c)
{
	const struct via *v = egress_of(c)->via;

	if (v->sent < v->len)
		ask(c);
	else
		hear(c);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptors of an HTTP exchange: reads and writes for it, and keeps its deadlines.
 *
 * conn/http_exchange.c knows HTTP and has no descriptors; a mode knows where a request
 * goes and has neither.  A mode that speaks HTTP has the functions here in its table,
 * calls http_serve_start(), and is asked for each request by route().  A connection to a
 * server is kept for the next request of the same client where that leads to the same
 * place, and is never shared.
 *
 * One access line is written for each request, and one for a connection that ends
 * without any.
 */
#ifndef MODE_HTTP_SERVE_H
#define MODE_HTTP_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "conn/conn.h"
#include "conn/http_exchange.h"

enum {
	HTTP_METHOD_LOG_SIZE = 24,
	HTTP_PATH_LOG_SIZE = 256,
};

/* What the deadline that stands is for. */
enum http_waiting {
	WAITING_NOTHING,
	WAITING_HEAD,		/* all of it has this long: more bytes do not move it */
	WAITING_NEXT,		/* kept, between two requests */
	WAITING_PEER,		/* for a byte from either side */
	WAITING_WRITE,		/* for a side to take its bytes */
	WAITING_HALF,		/* a tunnel with one end */
};

/* A mode's part. */
struct http_serve_ops {
	/*
	 * A request is there: forwards and dials, answers, ends, or goes on by itself in
	 * state CONNECT.
	 */
	void (*route)(struct conn *c);
	/* The kept server had closed: dials again, for the request that was forwarded. */
	void (*redial)(struct conn *c);
};

/* c->exchange, while the connection speaks HTTP. */
struct http {
	struct http_exchange x;
	const struct http_serve_ops *ops;
	bool may_read[2], may_write[2];	/* by side: not yet EAGAIN */
	bool running, open, served;	/* in the turn; a request has begun; one was answered */
	bool broken;			/* the server takes no more: not to be asked again */
	bool spoke;			/* this server was written to */
	bool shut[2];			/* tunnel: the side was told that the other has ended */
	enum http_waiting waiting;
	uint32_t hello_ms;		/* the frontend's, unless the mode knows better */
	enum conn_end end;		/* of this request; END_COUNT: done */
	uint64_t moved, marked;		/* bytes written, and when the deadline was last moved */
	/* for the log */
	const struct config_rule *rule;
	double began, routed, connected;
	char method[HTTP_METHOD_LOG_SIZE], path[HTTP_PATH_LOG_SIZE];
};

/*
 * Enters EXCHANGE, with what was read already in c->up; false: out of memory, and the connection has ended.  http_serve_run()
 * goes on.
 */
bool http_serve_start(struct conn *c, const struct http_serve_ops *ops);
void http_serve_run(struct conn *c);

/* From route(): what the access line says of the request; c->name is the mode's. */
void http_serve_remember(struct conn *c, const struct http_head *head, const char *buf);
/* Our own answer, for this reason. */
void http_serve_answer(struct conn *c, unsigned status, enum conn_end why);
/*
 * The same from any state before the server has answered, and says why in a field; text
 * lives as long as c.
 */
void http_serve_refuse(struct conn *c, unsigned status, enum conn_end why, const char *text);
/* Stops speaking HTTP, without an access line: the connection is the mode's. */
void http_serve_leave(struct conn *c);
/* The connection to the server is kept and, where only one try is allowed, has not ended. */
bool http_serve_keeps_server(struct conn *c);
/* That, and it leads where rule does: an address or a backend. */
bool http_serve_may_reuse(struct conn *c, const struct config_rule *rule);

/* For a mode's table. */
void http_serve_io(struct conn *c, bool client, int events);
void http_serve_connected(struct conn *c);
void http_serve_dial_failed(struct conn *c, enum conn_end why);
void http_serve_expired(struct conn *c);
void http_serve_drain(struct conn *c);
void http_serve_ended(struct conn *c);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of mode egress share.
 *
 *	egress.c	the first bytes, answers in three protocols, the tunnel
 *	egress_http.c	HTTP: requests in absolute-form, and CONNECT
 *	egress_dial.c	policy, names, and which address is dialled
 *	egress_via.c	asking an HTTP proxy further up for a tunnel
 *
 * A target goes from whoever read it to egress_go(); what comes of that is a connection,
 * or egress_fail() with a reason that each protocol says in its own words.
 */
#ifndef MODE_EGRESS_H
#define MODE_EGRESS_H

#include "conn/conn.h"
#include "net/race.h"
#include "net/resolve.h"
#include "wire/egress_request.h"

enum {
	EGRESS_REASON_SIZE = 384,
	EGRESS_OVER_HELLO_MS = 1000,	/* for the request of who is over a limit: it is only answered */
};

struct via;

/* c->scratch, for life. */
struct egress {
	struct conn *conn;
	struct egress_request *request;	/* owned, until it is whole */
	/* Whose limits hold: the peer's enclave, or one that stands for all peers that are none. */
	const struct config_enclave *enclave;
	struct limits_enclave *limits;
	bool counted, looking;		/* taken in there: the connection, a look-up */
	bool over, told;		/* a limit: see over_kind; and has a place to be told so */
	enum limit_kind over_kind;
	enum egress_protocol protocol;
	bool absolute;			/* HTTP's absolute-form: no tunnel, and others may follow */
	bool forwarded;			/* that request is on its way: dial, do not forward again */
	bool fixed;			/* `rule` holds whatever address is dialled */
	size_t rule;
	struct host_port target;	/* always with a port */
	struct resolve_query query;
	struct race *race;		/* under way, or NULL */
	struct via *via;		/* owned, in HANDSHAKE */
	struct address dialled;		/* by `direct`: c->target */
	char dialled_text[IP_TEXT_SIZE + 8];
	char reason[EGRESS_REASON_SIZE]; /* why it failed: a clause for people, or empty */
};

static inline struct egress *egress_of(const struct conn *c)
{
	return c->scratch;
}

/* Judges e->target and dials; then a tunnel, the forwarded request, or egress_fail(). */
void egress_go(struct conn *c);
/* Cancels what is under way. */
void egress_stop(struct conn *c);
/* A client that hung up, and all is said: true, and the connection has ended. */
bool egress_left(struct conn *c);
/* The client hears it, and the connection ends. */
void egress_fail(struct conn *c, enum conn_end why);
void egress_explain(struct egress *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The reason where e->over. */
enum conn_end egress_over(const struct egress *e);
/* The name to log: host:port. */
void egress_set_name(struct conn *c);
/* The server is connected, or the proxy further up has agreed. */
void egress_tunnel(struct conn *c);

/* Speaks HTTP from here on, with what c->up holds. */
void egress_http_begin(struct conn *c);
/* Sends the request on, to what rule leads to; false: out of memory, all is over. */
bool egress_http_forward(struct conn *c, const struct config_rule *rule, bool reuse);

/* From connected(). */
void egress_via_begin(struct conn *c);
void egress_via_io(struct conn *c);

#endif

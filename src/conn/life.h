/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share of a connection's life, and no mode calls.
 */
#ifndef CONN_LIFE_H
#define CONN_LIFE_H

#include <stdbool.h>

#include "conn/conn.h"

const struct mode_ops *conn_mode(const struct conn *c);
/* Sets a state and its deadline. */
void conn_enter(struct conn *c, enum conn_state state);
/* The client has been told everything; its connection goes once it has heard, or after 2 s. */
void conn_linger(struct conn *c, enum conn_end why);

/* Levels, by libev: for modes that read and write by themselves. */
void side_watch(struct conn *c, struct conn_side *s, int events);
bool side_list_anew(struct conn *c, struct conn_side *s, bool writes);
/* Edges, by worker.ready, for all else.  False where the connection is over for it. */
static inline bool side_list(struct conn *c, struct conn_side *s, bool writes)
{
	return (s->listed && (s->writes || !writes)) || side_list_anew(c, s, writes);
}
/* Has worker.ready tell again what is there, to who was muted, too. */
void side_again(struct conn *c, struct conn_side *s);
/* Of what there is to read nothing more is told until side_again(): who may not read would be woken for each packet. */
void side_mute(struct conn *c, struct conn_side *s);
/* Who that is of whom worker.ready tells; NULL: what it tells is of a descriptor that is closed. */
struct conn_side *side_of_token(void *who);

/* What libev tells: modes that wait for levels, and what they dial. */
void conn_io(struct ev_loop *loop, ev_io *io, int events);
void server_close(struct conn *c);

/* Dials what balance.c chooses of c->rule; then the connection is connected, waits, or has failed. */
void dial_next(struct conn *c);
/* In CONNECT: the server's descriptor is ready. */
void dial_finish(struct conn *c);
/* A vsock target whose queue was full is tried again. */
void dial_again(struct deadline *d);
/* No server could be reached. */
void dial_over(struct conn *c, enum conn_end why);

/* In RELAY: one side is ready. */
void relay_event(struct conn *c, bool client, int events);
/* Some bandwidth is there again, or it was waited long enough for much at once. */
void relay_throttle_over(struct deadline *d);
/* It waits for none any more. */
void relay_throttle_end(struct conn *c);

#endif

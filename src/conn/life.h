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
/* Edges, by worker.ready, for all else.  False where the connection is over for it. */
bool side_list(struct conn *c, struct conn_side *s, bool writes);

/* In RELAY: one side is ready. */
void relay_event(struct conn *c, bool client, int events);
/* Some bandwidth is there again. */
void relay_throttle_over(struct deadline *d);

#endif

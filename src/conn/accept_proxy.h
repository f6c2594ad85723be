/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY header that a listener's accept-proxy asks of some peers ahead of everything
 * else, load balancers say: the address in it is the client's from then on.
 */
#ifndef CONN_ACCEPT_PROXY_H
#define CONN_ACCEPT_PROXY_H

#include <stdbool.h>

#include "conn/conn.h"

/* Whether c's peer must begin with one. */
bool accept_proxy_asks(const struct conn *c);
/*
 * Looks at what has come: false where more must.  Else *ret_why is END_COUNT, and the
 * header is taken from the socket and c->peer is the client, or it is why c has to end.
 */
bool accept_proxy_read(struct conn *c, enum conn_end *ret_why);

#endif

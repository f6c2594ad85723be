/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode tcp: connects at once.  It never waits for the client's first byte, so
 * that protocols in which the server speaks first work.
 */
#include <config.h>

#include "mode/mode.h"

static bool tcp_start(struct conn *c)
{
	struct route_query q = { 0 };

	conn_route(c, &q);
	return false;
}

const struct mode_ops mode_tcp = {
	.name = "tcp",
	.start = tcp_start,
};

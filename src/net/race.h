/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy Eyeballs: one connection out of many addresses (RFC 8305, 5).
 *
 * Addresses are tried in the order given, interleaved by family, a new one 250 ms after
 * the last or at once when one fails; the first to connect wins and the others are
 * closed.  Where as many as may be are under way, the one that has been silent for longest
 * (2 s at the least) is given up for the next, so that many silent addresses hide none that
 * would answer.  Without a descriptor for one more, those under way go on and it is tried
 * again later.  Each socket has TCP_NODELAY and SO_KEEPALIVE (60 s, then 6 probes 10 s apart).
 * The whole is bounded by the caller's own deadline, who cancels.
 */
#ifndef NET_RACE_H
#define NET_RACE_H

#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "base/ip.h"

enum {
	RACE_DELAY_MS = 250,		/* RFC 8305, 8: Connection Attempt Delay */
	RACE_UNDER_WAY_MAX = 8,		/* sockets at one time */
};

struct race;

/*
 * fd >= 0: connected to address, and the caller's; else -errno of the last that failed, and
 * address is NULL.  address is valid until it returns.
 */
typedef void race_done(void *data, int fd, const struct ip_addr *address);

/*
 * Begins; addresses are copied.  done() is called once from the loop, never before this
 * returns, and the race is freed after it; NULL: out of memory.
 */
struct race *race_start(struct ev_loop *loop, const struct ip_addr *addresses, size_t n,
			uint16_t port, race_done *done, void *data);
/* Closes all; done() is not called.  Takes NULL, and does nothing from within done(). */
void race_cancel(struct race *r);

#endif

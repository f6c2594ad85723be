/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which descriptors have something to read, or room to write: an epoll set of a
 * worker's own, which its libev loop waits for as for one descriptor.
 *
 * libev asks for levels and shows no EPOLLRDHUP.  Here edges are asked for, once in the
 * life of most descriptors, and an end is told together with the last bytes: it costs
 * no read of its own, and leaves in the packet of those bytes.  The price is that who
 * stops before EAGAIN must remember it, or ask again.  libev stays for all that comes
 * by ones: listeners, mailboxes, timers, resolvers, and modes that wait for levels.
 */
#ifndef ENGINE_READY_H
#define ENGINE_READY_H

#include <stdbool.h>
#include <stdint.h>

#include <ev.h>

enum {
	READY_READ = 1,
	READY_WRITE = 2,
	READY_END = 4,		/* the other end has ended its direction: behind what is there, no more comes */
	READY_URGENT = 8,	/* TCP's urgent byte: a short read may have stopped there */
	READY_BROKEN = 16,	/* an error, with the others: a read tells it, behind what is there */
};

struct ready {
	ev_io io;
	struct ev_loop *loop;
	int fd;
	uint64_t turn;	/* how often it was asked; what it tells is no younger */
	void (*event)(void *who, int events);
};

/* False, with errno, where there is no epoll set to be had. */
bool ready_init(struct ready *r, struct ev_loop *loop, void (*event)(void *who, int events));
void ready_fini(struct ready *r);
/*
 * Asks for fd until it is closed: READY_READ (and READY_URGENT) and READY_WRITE only where
 * wanted says so, an end and an error always; false with errno.  What is there already is
 * told, too.  who must stay valid to the end of the turn in which fd is closed.
 */
bool ready_add(struct ready *r, int fd, void *who, int wanted);
/* Tells again what is there, and from now on asks for what is wanted. */
bool ready_again(struct ready *r, int fd, void *who, int wanted);

#endif

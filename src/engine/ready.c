/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "engine/ready.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "base/list.h"

enum { BATCH = 256 };

static void ready_turn(struct ev_loop *loop, ev_io *io, int events)
{
	struct ready *r = container_of(io, struct ready, io);
	struct epoll_event batch[BATCH];
	int n;

	(void)loop;
	(void)events;
	r->turn++;
	n = epoll_wait(r->fd, batch, BATCH, 0);
	/* What does not fit is told in the next turn: to libev the set is a level. */
	for (int i = 0; i < n; i++) {
		uint32_t e = batch[i].events;
		bool broken = (e & (EPOLLERR | EPOLLHUP)) != 0;

		r->event(batch[i].data.ptr, (e & EPOLLIN || broken ? READY_READ : 0) |
						    (e & EPOLLOUT || broken ? READY_WRITE : 0) |
						    (e & EPOLLRDHUP ? READY_END : 0) |
						    (e & EPOLLPRI ? READY_URGENT : 0) |
						    (e & EPOLLERR ? READY_BROKEN : 0));
	}
}

bool ready_init(struct ready *r, struct ev_loop *loop, void (*event)(void *who, int events))
{
	r->loop = loop;
	r->event = event;
	r->fd = epoll_create1(EPOLL_CLOEXEC);
	if (r->fd == -1)
		return false;
	ev_io_init(&r->io, ready_turn, r->fd, EV_READ);
	ev_io_start(loop, &r->io);
	return true;
}

void ready_fini(struct ready *r)
{
	ev_io_stop(r->loop, &r->io);
	close(r->fd);
}

static bool ready_ask(struct ready *r, int op, int fd, void *who, int wanted)
{
	struct epoll_event e = { .data.ptr = who };

	/* EPOLLPRI goes with EPOLLIN: the kernel wakes for both when it wakes for one. */
	e.events = EPOLLRDHUP | EPOLLET | (wanted & READY_READ ? EPOLLIN | EPOLLPRI : 0) |
		   (wanted & READY_WRITE ? EPOLLOUT : 0);
	return epoll_ctl(r->fd, op, fd, &e) == 0;
}

bool ready_add(struct ready *r, int fd, void *who, int wanted)
{
	return ready_ask(r, EPOLL_CTL_ADD, fd, who, wanted);
}

bool ready_again(struct ready *r, int fd, void *who, int wanted)
{
	return ready_ask(r, EPOLL_CTL_MOD, fd, who, wanted);
}

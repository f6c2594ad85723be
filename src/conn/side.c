/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection waits for at one of its ends.
 */
#include <config.h>

#include "conn/conn.h"

#include <errno.h>

#include "conn/life.h"
#include "engine/worker.h"

enum { SIDE_GENERATIONS = _Alignof(struct conn_side) - 1 };

void side_watch(struct conn *c, struct conn_side *s, int events)
{
	if (s->fd == -1 || (ev_is_active(&s->io) ? s->io.events & (EV_READ | EV_WRITE) : 0) == events)
		return;
	ev_io_stop(c->worker->loop, &s->io);
	if (events == 0)
		return;
	ev_io_set(&s->io, s->fd, events);
	ev_io_start(c->worker->loop, &s->io);
}

/*
 * Whom worker.ready tells of.  A side may have been given another descriptor since: the
 * lowest bits, which an aligned address does not use, say of which one it is.
 */
static void *side_token(const struct conn_side *s)
{
	return (void *)((uintptr_t)s | (s->generation & SIDE_GENERATIONS));
}

struct conn_side *side_of_token(void *who)
{
	struct conn_side *s = (struct conn_side *)((uintptr_t)who & ~(uintptr_t)SIDE_GENERATIONS);

	return ((uintptr_t)who & SIDE_GENERATIONS) == (s->generation & SIDE_GENERATIONS) ? s : NULL;
}

bool side_list_anew(struct conn *c, struct conn_side *s, bool writes)
{
	struct ready *r = &c->worker->ready;
	bool done = true;

	if (s->fd == -1)
		return true;
	if (!s->listed)
		done = ready_add(r, s->fd, side_token(s), READY_READ | (writes ? READY_WRITE : 0));
	else if (writes && !s->writes)
		done = ready_again(r, s->fd, side_token(s), (s->muted ? 0 : READY_READ) | READY_WRITE);
	s->listed = true;
	s->writes |= writes;
	if (done)
		return true;
	c->error = errno;
	conn_end(c, END_NO_MEMORY);
	return false;
}

void side_again(struct conn *c, struct conn_side *s)
{
	s->muted = false;
	if (s->listed)
		ready_again(&c->worker->ready, s->fd, side_token(s), READY_READ | (s->writes ? READY_WRITE : 0));
}

void side_mute(struct conn *c, struct conn_side *s)
{
	if (!s->listed || s->muted)
		return;
	s->muted = true;
	ready_again(&c->worker->ready, s->fd, side_token(s), s->writes ? READY_WRITE : 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection waits for at one of its ends.
 */
#include <config.h>

#include "conn/conn.h"

#include <errno.h>

#include "conn/life.h"
#include "engine/worker.h"

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

bool side_list(struct conn *c, struct conn_side *s, bool writes)
{
	struct ready *r = &c->worker->ready;
	bool done = true;

	if (s->fd == -1)
		return true;
	if (!s->listed)
		done = ready_add(r, s->fd, s, writes);
	else if (writes && !s->writes)
		done = ready_again(r, s->fd, s, writes);
	s->listed = true;
	s->writes |= writes;
	if (done)
		return true;
	c->error = errno;
	conn_end(c, END_NO_MEMORY);
	return false;
}

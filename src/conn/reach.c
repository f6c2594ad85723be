/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "conn/reach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ev.h>

#include "config/address.h"
#include "engine/worker.h"
#include "log/log.h"
#include "net/address.h"
#include "net/race.h"
#include "net/resolve.h"

/* "OK 4294967295\n", with room to spare. */
enum { REPLY_MAX = 32 };

struct reach {
	struct worker *worker;
	const struct address *target;
	reach_done *done;
	void *data;
	struct resolve_query query;
	struct race *race;
	ev_io io;		/* of the VMM's socket; and brings a failure that was there at once */
	int fd;			/* the VMM's, or -1 */
	enum conn_end why;	/* where nothing is under way any more but the telling */
	int error;
	double looked_up;
	bool under_way, has_address;
	struct ip_addr address;
	unsigned char reply_len;
	char reply[REPLY_MAX];
};

bool reach_is_for(const struct address *target)
{
	return target->kind == ADDRESS_TCP_NAME || target->kind == ADDRESS_UDS_VSOCK;
}

/* The last thing that is done with r here: done() may free it. */
static void reach_tell(struct reach *r, int fd, enum conn_end why, int error)
{
	r->under_way = false;
	r->done(r->data, fd, why, error);
}

/* From the loop, as everything else. */
static void reach_tell_soon(struct reach *r, enum conn_end why, int error)
{
	r->why = why;
	r->error = error;
	ev_feed_event(r->worker->loop, &r->io, EV_CUSTOM);
}

/* --- a name --- */

static void race_over(void *data, int fd, const struct ip_addr *address)
{
	struct reach *r = data;

	r->race = NULL;
	if (fd >= 0) {
		r->address = *address;
		r->has_address = true;
		reach_tell(r, fd, END_DONE, 0);
	} else {
		reach_tell(r, -1, END_CONNECT_FAILED, -fd);
	}
}

static void name_answered(struct reach *r, const struct resolve_answer *a)
{
	r->looked_up = ev_now(r->worker->loop);
	switch (a->status) {
	case RESOLVE_OK:
		r->race = race_start(r->worker->loop, a->addresses, a->n, (uint16_t)r->target->port, race_over, r);
		if (!r->race)
			reach_tell_soon(r, END_NO_MEMORY, 0);
		break;
	case RESOLVE_NO_NAME:
		reach_tell_soon(r, END_NAME_UNKNOWN, 0);
		break;
	case RESOLVE_SERVER_FAILED:
		reach_tell_soon(r, END_LOOKUP_FAILED, 0);
		break;
	case RESOLVE_TIMEOUT:
		reach_tell_soon(r, END_LOOKUP_TIMEOUT, 0);
		break;
	case RESOLVE_NO_MEMORY:
		reach_tell_soon(r, END_NO_MEMORY, 0);
		break;
	}
}

static void query_done(struct resolve_query *q, const struct resolve_answer *a)
{
	name_answered(container_of(q, struct reach, query), a);
}

static void name_start(struct reach *r)
{
	struct resolve_answer a;

	if (resolve_start(r->worker->resolver, &r->query, slice_of_string(r->target->name), &a))
		name_answered(r, &a);
}

/* --- a VMM: "CONNECT 8443\n", and back "OK 1073741824\n" --- */

static void vmm_over(struct reach *r, int error)
{
	int fd = r->fd;

	ev_io_stop(r->worker->loop, &r->io);
	r->fd = -1;
	if (error) {
		close(fd);
		reach_tell(r, -1, END_CONNECT_FAILED, error);
	} else {
		reach_tell(r, fd, END_DONE, 0);
	}
}

/*
 * Takes the reply's bytes up to its end and none behind: those are the guest's.  0,
 * EAGAIN where it is not whole, or what is wrong.
 */
static int vmm_reply(struct reach *r)
{
	char *to = r->reply + r->reply_len, *end;
	size_t room = REPLY_MAX - r->reply_len;
	ssize_t n = recv(r->fd, to, room, MSG_PEEK);

	if (n == -1)
		return errno == EINTR ? EAGAIN : errno == ECONNRESET ? ECONNREFUSED : errno;
	if (n == 0)
		return ECONNREFUSED; /* this is how a VMM says that nobody listens */
	end = memchr(to, '\n', (size_t)n);
	if (end)
		n = end + 1 - to;
	if (recv(r->fd, to, (size_t)n, 0) != n)
		return EPROTO;
	r->reply_len = (unsigned char)(r->reply_len + n);
	if (!end)
		return r->reply_len == REPLY_MAX ? EPROTO : EAGAIN;
	return r->reply_len > 3 && memcmp(r->reply, "OK ", 3) == 0 ? 0 : EPROTO;
}

static void io_ready(struct ev_loop *loop, ev_io *io, int events)
{
	struct reach *r = io->data;
	int error;

	(void)loop;
	if (events & EV_CUSTOM) {
		reach_tell(r, -1, r->why, r->error);
		return;
	}
	error = vmm_reply(r);
	if (error != EAGAIN)
		vmm_over(r, error);
}

static int vmm_start(struct reach *r)
{
	char request[32];
	int len = snprintf(request, sizeof(request), "CONNECT %u\n", r->target->port);
	int error = -net_dial(r->target, 0, &r->fd);

	/* A Unix socket connects at once or not at all. */
	if (error)
		return error;
	if (send(r->fd, request, (size_t)len, MSG_NOSIGNAL) != len)
		return EPROTO;
	ev_io_set(&r->io, r->fd, EV_READ);
	ev_io_start(r->worker->loop, &r->io);
	return 0;
}

/* --- both --- */

struct reach *reach_new(struct worker *w, const struct address *target, reach_done *done, void *data)
{
	struct reach *r = calloc(1, sizeof(*r));
	int error;

	if (!r)
		return NULL;
	r->worker = w;
	r->target = target;
	r->done = done;
	r->data = data;
	r->fd = -1;
	r->under_way = true;
	ev_io_init(&r->io, io_ready, -1, 0);
	r->io.data = r;
	resolve_query_init(&r->query, query_done);
	if (target->kind == ADDRESS_TCP_NAME) {
		name_start(r);
	} else {
		error = vmm_start(r);
		if (error)
			reach_tell_soon(r, END_CONNECT_FAILED, error);
	}
	return r;
}

bool reach_is_under_way(const struct reach *r)
{
	return r && r->under_way;
}

void reach_cancel(struct reach *r)
{
	if (!reach_is_under_way(r))
		return;
	r->under_way = false;
	resolve_cancel(&r->query);
	race_cancel(r->race);
	r->race = NULL;
	ev_io_stop(r->worker->loop, &r->io);
	if (r->fd != -1)
		close(r->fd);
	r->fd = -1;
}

void reach_free(struct reach *r)
{
	reach_cancel(r);
	free(r);
}

double reach_looked_up(const struct reach *r)
{
	return r->looked_up;
}

void reach_log(const struct reach *r, struct log_line *l)
{
	char text[NET_PEER_TEXT_SIZE];

	if (r && r->has_address) {
		const struct net_peer p = { .ip = r->address, .port = (uint16_t)r->target->port, .has_ip = true };

		log_field_string(l, "address", net_peer_format(&p, text));
	}
}

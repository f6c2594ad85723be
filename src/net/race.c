/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/race.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/address.h"

/* One socket under way. */
struct attempt {
	ev_io io;
	struct race *race;
	const struct ip_addr *address;	/* NULL: free */
};

struct race {
	struct ev_loop *loop;
	ev_timer timer;		/* the next attempt, or what is known already */
	race_done *done;
	void *data;
	struct attempt attempts[RACE_UNDER_WAY_MAX];
	unsigned under_way;
	int fd;			/* the winner's, or -1 */
	const struct ip_addr *winner;
	int error;		/* errno of the last that failed */
	bool reporting;
	uint16_t port;
	size_t n, next;
	struct ip_addr addresses[];
};

static bool is_over(const struct race *r)
{
	return r->fd != -1 || (r->under_way == 0 && r->next == r->n);
}

static void attempt_end(struct attempt *a)
{
	ev_io_stop(a->race->loop, &a->io);
	a->address = NULL;
	a->race->under_way--;
}

static void race_close(struct race *r)
{
	ev_timer_stop(r->loop, &r->timer);
	for (size_t i = 0; i < RACE_UNDER_WAY_MAX; i++) {
		struct attempt *a = &r->attempts[i];

		if (a->address) {
			attempt_end(a);
			close(a->io.fd);
		}
	}
}

static void race_report(struct race *r)
{
	race_close(r);
	r->reporting = true;
	r->done(r->data, r->fd != -1 ? r->fd : -r->error, r->winner);
	free(r);
}

static void race_win(struct race *r, int fd, const struct ip_addr *address)
{
	r->fd = fd;
	r->winner = address;
	net_keep_alive(fd);
}

static void race_go_on(struct race *r);

static void attempt_ready(struct ev_loop *loop, ev_io *io, int events)
{
	struct attempt *a = io->data;
	struct race *r = a->race;
	const struct ip_addr *address = a->address;
	int error = 0;
	socklen_t len = sizeof(error);

	(void)loop;
	(void)events;
	attempt_end(a);
	if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		error = errno;
	if (error) {
		close(io->fd);
		r->error = error;
		race_go_on(r);
	} else {
		race_win(r, io->fd, address);
	}
	if (is_over(r))
		race_report(r);
}

/* What time may bring again: addresses are not to blame for it. */
static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* False where the next must wait. */
static bool attempt_begin(struct race *r)
{
	const struct ip_addr *address = &r->addresses[r->next++];
	const struct address target = { .kind = ADDRESS_TCP_IP, .ip = *address, .port = r->port };
	struct attempt *a = r->attempts;
	int fd = -1, error = -net_dial(&target, 0, &fd);

	if (error == 0) {
		race_win(r, fd, address);
		return false;
	}
	if (error != EINPROGRESS) {
		r->error = error;
		if (!is_shortage(error))
			return true;
		/* Those under way may end it; without any there is nothing to wait for. */
		r->next = r->under_way ? r->next - 1 : r->n;
		return false;
	}
	while (a->address)
		a++;
	a->race = r;
	a->address = address;
	ev_io_init(&a->io, attempt_ready, fd, EV_WRITE);
	a->io.data = a;
	ev_io_start(r->loop, &a->io);
	r->under_way++;
	return false;
}

/* Begins one more, passing over those that fail at once, and stands the timer for the next. */
static void race_go_on(struct race *r)
{
	while (r->next < r->n && r->under_way < RACE_UNDER_WAY_MAX && attempt_begin(r))
		;
	ev_timer_stop(r->loop, &r->timer);
	if (r->next < r->n && r->fd == -1) {
		ev_timer_set(&r->timer, RACE_DELAY_MS / 1000., 0.);
		ev_timer_start(r->loop, &r->timer);
	}
}

/* The one that has been silent for longest, addresses being tried in order. */
static void give_up_oldest(struct race *r)
{
	struct attempt *oldest = NULL;

	for (size_t i = 0; i < RACE_UNDER_WAY_MAX; i++) {
		struct attempt *a = &r->attempts[i];

		if (a->address && (!oldest || a->address < oldest->address))
			oldest = a;
	}
	attempt_end(oldest);
	close(oldest->io.fd);
	r->error = ETIMEDOUT;
}

static void timer_fired(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct race *r = timer->data;

	(void)loop;
	(void)events;
	if (r->under_way == RACE_UNDER_WAY_MAX && r->next < r->n)
		give_up_oldest(r);
	if (!is_over(r))
		race_go_on(r);
	if (is_over(r))
		race_report(r);
}

/* The family of the first goes first, then they take turns, then what is left of one. */
static void interleave(const struct ip_addr *from, size_t n, struct ip_addr *to)
{
	size_t next[2] = { 0, 0 };	/* of the family of the first, and of the other */
	bool other = false;

	for (size_t filled = 0; filled < n; other = !other) {
		size_t i = next[other];

		while (i < n && (ip_is_v4(&from[i]) != ip_is_v4(&from[0])) != other)
			i++;
		if (i < n)
			to[filled++] = from[i++];
		next[other] = i;
	}
}

struct race *race_start(struct ev_loop *loop, const struct ip_addr *addresses, size_t n,
			uint16_t port, race_done *done, void *data)
{
	struct race *r = calloc(1, sizeof(*r) + n * sizeof(*addresses));

	if (!r)
		return NULL;
	r->loop = loop;
	r->done = done;
	r->data = data;
	r->port = port;
	r->fd = -1;
	r->error = EADDRNOTAVAIL; /* of no address */
	r->n = n;
	interleave(addresses, n, r->addresses);
	ev_timer_init(&r->timer, timer_fired, 0., 0.);
	r->timer.data = r;
	race_go_on(r);
	if (is_over(r)) /* and must not be told before this returns */
		ev_feed_event(loop, &r->timer, EV_TIMER);
	return r;
}

void race_cancel(struct race *r)
{
	if (!r || r->reporting)
		return;
	race_close(r);
	if (r->fd != -1)
		close(r->fd);
	free(r);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state RELAY: two pumps, what they wait for, and when they have waited too long;
 * and the bandwidth that an enclave has left, for modes that read by themselves, too.
 */
#include <config.h>

#include "conn/conn.h"

#include <errno.h>
#include <sys/socket.h>

#include "conn/balance.h"
#include "conn/life.h"
#include "engine/limits.h"
#include "engine/worker.h"

/* Without bandwidth: in this time a tenth of a second's share comes back. */
enum { THROTTLE_MS = 100 };

/* How long bulk is gathered before what is there is passed on. */
enum { GATHER_MS = 1 };

static bool may_read(const struct conn *c, const struct pump *p)
{
	return !p->eof && !pump_holds(p) && !c->throttled[p == &c->down ? LIMIT_DOWN : LIMIT_UP];
}

/* There may be something that p could read, were it its turn. */
static bool has_more(const struct conn *c, const struct pump *p)
{
	return p->readable && may_read(c, p);
}

/* The one place that says which end waits for what: a pump reads only while it holds nothing. */
static void relay_watch(struct conn *c)
{
	if (!side_list(c, &c->client, pump_holds(&c->down)) || !side_list(c, &c->server, pump_holds(&c->up)))
		return;
	/*
	 * Who stopped only to let others have their turn is told again of what is left, and who
	 * could not read of what has come since.
	 */
	if (c->client.muted ? may_read(c, &c->up) : has_more(c, &c->up))
		side_again(c, &c->client);
	if (c->server.muted ? may_read(c, &c->down) : has_more(c, &c->down))
		side_again(c, &c->server);
}

/* Holds bytes, and has written none since the deadline was moved. */
static bool is_stuck(const struct pump *p)
{
	return pump_holds(p) && p->total == p->marked;
}

static void relay_deadline(struct conn *c)
{
	const struct config_timeouts *t = &c->frontend->timeouts;
	bool held = pump_holds(&c->up) || pump_holds(&c->down);
	uint32_t ms = balance_idle_ms(c->rule, t->idle_ms);

	/* What moves the other way does not excuse an end that takes nothing. */
	if (held && c->stalled && (is_stuck(&c->up) || is_stuck(&c->down)))
		return;
	c->stalled = held;
	c->up.marked = c->up.total;
	c->down.marked = c->down.total;
	if (held)
		ms = t->stalled_ms;
	else if (c->up.eof || c->down.eof)
		ms = t->half_closed_ms;
	deadline_set(&c->worker->timers, &c->deadline, ms);
}

/* Whether this direction waits for bandwidth. */
static void set_throttled(struct conn *c, enum limit_direction d, bool throttled)
{
	if (throttled)
		deadline_set(&c->worker->timers, &c->throttle, THROTTLE_MS);
	if (c->throttled[d] == throttled)
		return;
	c->throttled[d] = throttled;
	if (throttled)
		limits_wait(c->limits, d);
	else
		limits_waited(c->limits, d);
}

void relay_throttle_end(struct conn *c)
{
	deadline_clear(&c->throttle);
	set_throttled(c, LIMIT_UP, false);
	set_throttled(c, LIMIT_DOWN, false);
}

/* pump_run() with as many bytes as the enclave may move now. */
static enum pump_result relay_pump(struct conn *c, struct pump *p, int from, int to)
{
	const enum limit_direction d = p == &c->down ? LIMIT_DOWN : LIMIT_UP;
	uint64_t now, allowed;
	enum pump_result r;
	int error;

	if (!c->limits)
		return pump_run(p, from, to);
	now = limits_now_ns();
	allowed = p->allowance = limits_bytes(c->limits, c->enclave, d, c->throttled[d], now);
	r = pump_run(p, from, to);
	error = errno;
	limits_bytes_used(c->limits, c->enclave, d, now, allowed - p->allowance);
	set_throttled(c, d, p->allowance == 0);
	errno = error;
	return r;
}

/*
 * EPIPE from who has said its end is no failure but on TCP, where it takes a reset to come to
 * that: a vsock or a Unix socket says so at once of a peer that has just closed, so of each TLS
 * connection whose last alert crosses the other's.
 */
static bool has_left(const struct pump *says, const struct conn_side *side)
{
	return errno == EPIPE && says->eof && !side->tcp;
}

/*
 * All that it said has been written, and may be on its way to the client for long: a
 * close() now would destroy it as soon as the client says one word more.
 */
static void server_reset(struct conn *c)
{
	c->error = errno;
	pump_cut(&c->up);
	pump_fini(&c->down);
	c->down.eof = c->down.shut = true;
}

static void relay_run(struct conn *c, struct pump *p, struct conn_side *from, struct conn_side *to)
{
	enum pump_result r;

	if (c->state != CONN_RELAY || p->shut)
		return;
	p->last = p == &c->up ? c->down.shut : c->up.shut;
	/* One direction at a time: both have the same deadline, which the other would move on and on. */
	p->gathers = from->tcp && !c->limits && !(p == &c->up ? &c->down : &c->up)->gathering;
	r = relay_pump(c, p, from->fd, to->fd);
	if (p->gathering && may_read(c, p))
		deadline_set(&c->worker->timers, &c->throttle, GATHER_MS);
	if (r == PUMP_WRITE_ERROR && (errno == EPIPE || errno == ECONNRESET)) {
		/* Who takes no more may have said something first, a refusal of an upload say. */
		if (!has_left(p == &c->up ? &c->down : &c->up, to))
			c->error = errno;
		pump_cut(p);
		return;
	}
	if (r == PUMP_READ_ERROR && errno == ECONNRESET && p == &c->down) {
		server_reset(c);
	} else if (r == PUMP_READ_ERROR || r == PUMP_WRITE_ERROR) {
		bool client = (r == PUMP_READ_ERROR) == (from == &c->client);

		c->error = errno;
		conn_end(c, client ? END_CLIENT_ERROR : END_SERVER_ERROR);
	}
}

static void relay_after(struct conn *c)
{
	if (c->state != CONN_RELAY)
		return;
	if (c->up.shut && c->down.shut) {
		if (c->down.cut)
			conn_end(c, c->error ? END_CLIENT_ERROR : END_DONE);
		else if (!c->up.cut)
			conn_end(c, END_DONE);
		else if (shutdown(c->client.fd, SHUT_WR) == -1)
			conn_end(c, END_SERVER_ERROR);
		else /* what the client still sends must not cost it the answer */
			conn_linger(c, c->error ? END_SERVER_ERROR : END_DONE);
		return;
	}
	relay_deadline(c);
	relay_watch(c);
}

size_t conn_allowance(struct conn *c, enum limit_direction d, size_t size)
{
	uint64_t n;

	if (!c->limits)
		return size;
	if (c->throttled[d])
		return 0;
	n = limits_bytes(c->limits, c->enclave, d, false, limits_now_ns());
	/* What is given now is its share: the next is there when others have had theirs. */
	set_throttled(c, d, n < size);
	return n < size ? (size_t)n : size;
}

void conn_used(struct conn *c, enum limit_direction d, size_t n)
{
	if (c->limits)
		limits_bytes_used(c->limits, c->enclave, d, limits_now_ns(), n);
}

/* Who has waited for much has what there is. */
static void relay_gathered(struct conn *c, struct pump *p, const struct conn_side *from)
{
	if (p->gathering && may_read(c, p))
		pump_gathered(p, from->fd);
}

/* Some bandwidth is there again, or it was waited long enough for much at once. */
void relay_throttle_over(struct deadline *d)
{
	struct conn *c = container_of(d, struct conn, throttle);

	if (c->state != CONN_RELAY) {
		relay_throttle_end(c);
		if (c->state == CONN_EXCHANGE)
			conn_mode(c)->io(c, true, 0);
		return;
	}
	relay_gathered(c, &c->up, &c->client);
	relay_gathered(c, &c->down, &c->server);
	/* Until it has asked for its share it is one of those that wait. */
	relay_run(c, &c->up, &c->client, &c->server);
	relay_run(c, &c->down, &c->server, &c->client);
	if (c->up.shut)
		set_throttled(c, LIMIT_UP, false);
	if (c->down.shut)
		set_throttled(c, LIMIT_DOWN, false);
	relay_after(c);
}

void conn_relay(struct conn *c)
{
	conn_enter(c, CONN_RELAY);
	side_watch(c, &c->client, 0);
	side_watch(c, &c->server, 0);
	/* A mode that has read by itself knows no more than that there may be something. */
	if (conn_mode(c)->connected)
		c->up.readable = c->down.readable = true;
	if (pump_flush(&c->down, c->client.fd) == -1) {
		c->error = errno;
		conn_end(c, END_CLIENT_ERROR);
		return;
	}
	if (!c->up.eof && pump_flush(&c->up, c->server.fd) == -1) {
		c->error = errno;
		conn_end(c, END_SERVER_ERROR);
		return;
	}
	if (!pump_keep(&c->up) || !pump_keep(&c->down)) {
		conn_end(c, END_NO_MEMORY);
		return;
	}
	if (c->up.eof || has_more(c, &c->up))
		relay_run(c, &c->up, &c->client, &c->server);
	if (has_more(c, &c->down))
		relay_run(c, &c->down, &c->server, &c->client);
	relay_after(c);
}

void relay_event(struct conn *c, bool client, int events)
{
	struct conn_side *here = client ? &c->client : &c->server, *there = client ? &c->server : &c->client;
	struct pump *in = client ? &c->up : &c->down, *out = client ? &c->down : &c->up;

	/* One useless edge is a chance, and short exchanges have none; it is bulk whose packets keep coming. */
	if ((events & READY_READ) && !may_read(c, in) && !in->eof)
		side_mute(c, here);
	if ((events & READY_WRITE) && pump_holds(out))
		relay_run(c, out, there, here);
	if (has_more(c, in) && (events & (READY_READ | READY_END)))
		relay_run(c, in, here, there);
	relay_after(c);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "conn/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "net/address.h"

enum {
	ROUNDS = 16,			/* reads a turn, so that one tunnel does not keep the others waiting */
	BULK = 64 * 1024,		/* below that a pipe costs more than it saves */
	PIPE_SIZE = 1024 * 1024,	/* what /proc/sys/fs/pipe-max-size lets everyone have */
	PIPE_MIN = 64 * 1024,		/* smaller ones are no better than copying */
	GATHER = 1024 * 1024,		/* of much at once: what a pipe takes */
	GATHER_AFTER = 4 * 1024 * 1024,	/* of bulk: a wait of GATHER_MS (relay.c) is little beside that */
	GATHER_AGAIN = 1024 * 1024,	/* of bulk, after a wait that was in vain */
};

void pump_kit_init(struct pump_kit *k)
{
	k->room = xmalloc(PUMP_ROOM);
	k->n_pipes = 0;
}

void pump_kit_trim(struct pump_kit *k)
{
	while (k->n_pipes > 0) {
		k->n_pipes--;
		close(k->pipes[k->n_pipes][0]);
		close(k->pipes[k->n_pipes][1]);
	}
}

void pump_kit_fini(struct pump_kit *k)
{
	pump_kit_trim(k);
	free(k->room);
	k->room = NULL;
}

void pump_init(struct pump *p, struct pump_kit *kit, uint32_t size)
{
	*p = (struct pump){ .kit = kit, .size = size < PUMP_ROOM ? size : PUMP_ROOM, .allowance = UINT64_MAX };
}

static void pump_drop_buffer(struct pump *p)
{
	if (p->room)
		free(p->buf);
	p->buf = NULL;
	p->room = p->first = p->len = 0;
}

/* A pipe that is empty is as good as new to the next. */
static void pump_drop_pipe(struct pump *p)
{
	struct pump_kit *k = p->kit;

	if (p->pipe[1] == 0)
		return;
	if (p->piped == 0 && k->n_pipes < PUMP_PIPES) {
		memcpy(k->pipes[k->n_pipes++], p->pipe, sizeof(p->pipe));
	} else {
		close(p->pipe[0]);
		close(p->pipe[1]);
	}
	p->pipe[0] = p->pipe[1] = 0;
	p->piped = 0;
}

void pump_fini(struct pump *p)
{
	pump_drop_buffer(p);
	pump_drop_pipe(p);
}

void pump_cut(struct pump *p)
{
	pump_fini(p);
	p->eof = p->shut = p->cut = true;
}

void pump_borrow(struct pump *p)
{
	pump_drop_buffer(p);
	p->buf = p->kit->room;
}

bool pump_keep(struct pump *p)
{
	unsigned char *own;

	if (p->len == 0)
		pump_drop_buffer(p);
	if (p->room || !p->buf)
		return true;
	own = malloc(p->len);
	if (!own) {
		pump_drop_buffer(p);
		return false;
	}
	p->buf = memcpy(own, p->buf + p->first, p->len);
	p->room = p->len;
	p->first = 0;
	return true;
}

bool pump_reserve(struct pump *p, uint32_t size)
{
	unsigned char *buf;
	uint32_t want;

	if (!pump_keep(p))
		return false;
	if (p->buf && p->room - p->first - p->len >= size)
		return true;
	if (p->buf && p->first > 0) {
		memmove(p->buf, p->buf + p->first, p->len);
		p->first = 0;
	}
	if (p->buf && p->room - p->len >= size)
		return true;
	want = p->len + size > p->size ? p->len + size : p->size;
	buf = realloc(p->buf, want);
	if (!buf)
		return false;
	p->buf = buf;
	p->room = want;
	return true;
}

bool pump_push_front(struct pump *p, const void *bytes, uint32_t len)
{
	if (!pump_reserve(p, len))
		return false;
	memmove(p->buf + p->first + len, p->buf + p->first, p->len);
	memcpy(p->buf + p->first, bytes, len);
	p->len += len;
	return true;
}

/*
 * Nagle's algorithm never holds up a first write, whatever its length (tcp_minshall_check),
 * and who only says hello makes no other.
 */
static void pump_nodelay(struct pump *p, int to)
{
	int one = 1;

	if (!p->nagles || p->total == 0)
		return;
	p->nagles = false;
	setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int pump_flush(struct pump *p, int to)
{
	/* With MSG_MORE the bytes wait for the end that follows at once, and leave in one packet with it. */
	const int flags = p->eof && p->piped == 0 ? MSG_MORE : 0;

	if (pump_holds(p))
		pump_nodelay(p, to);
	while (p->len > 0) {
		ssize_t n = net_send(to, p->buf + p->first, p->len, flags);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return errno == EAGAIN ? 0 : -1;
		p->first += (uint32_t)n;
		p->len -= (uint32_t)n;
		p->total += (uint64_t)n;
	}
	while (p->piped > 0) {
		ssize_t n = splice(p->pipe[0], NULL, to, NULL, p->piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == -1 && errno == EAGAIN ? 0 : -1;
		p->piped -= (uint32_t)n;
		p->total += (uint64_t)n;
	}
	p->first = 0;
	return 1;
}

/* A pipe of the kit, or a new one; false where there is none of any use. */
static bool pump_take_pipe(struct pump *p)
{
	struct pump_kit *k = p->kit;

	if (k->n_pipes > 0) {
		memcpy(p->pipe, k->pipes[--k->n_pipes], sizeof(p->pipe));
		return true;
	}
	if (pipe2(p->pipe, O_NONBLOCK | O_CLOEXEC) == -1) {
		p->pipe[0] = p->pipe[1] = 0;
		return false; /* out of descriptors */
	}
	if (fcntl(p->pipe[1], F_SETPIPE_SZ, PIPE_SIZE) >= PIPE_SIZE || fcntl(p->pipe[1], F_GETPIPE_SZ) >= PIPE_MIN)
		return true;
	/* Past the user's share of pipe memory (pipe-user-pages-soft) there are only tiny ones. */
	close(p->pipe[0]);
	close(p->pipe[1]);
	p->pipe[0] = p->pipe[1] = 0;
	return false;
}

/* Bulk: from here on the bytes stay in the kernel. */
static bool pump_open_pipe(struct pump *p)
{
	if (p->pipe[1] != 0)
		return true;
	if (p->no_splice || p->streak < BULK)
		return false;
	if (!pump_take_pipe(p)) {
		p->no_splice = true; /* copying will do */
		return false;
	}
	return true;
}

static size_t allowed(const struct pump *p, size_t size)
{
	return p->allowance < size ? (size_t)p->allowance : size;
}

static void pump_charge(struct pump *p, size_t n)
{
	if (p->allowance != UINT64_MAX)
		p->allowance -= n;
}

/* tcp(7), SO_RCVLOWAT: readable is only who has so many bytes, or is at an end. */
static bool pump_tell_at(int from, int bytes)
{
	return setsockopt(from, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes)) == 0;
}

void pump_gathered(struct pump *p, int from)
{
	pump_tell_at(from, 1);
	p->gathering = false;
	p->streak = GATHER_AFTER - GATHER_AGAIN;
	p->readable = true;
}

static ssize_t pump_splice_in(struct pump *p, int from)
{
	/* With vsock, which is copied here too, it is O_NONBLOCK on the socket that keeps this from blocking. */
	ssize_t n = splice(from, NULL, p->pipe[1], NULL, allowed(p, PIPE_SIZE), SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n == -1 && errno == ENOTCONN) /* as in net_receive() */
		return 0;
	if (n == -1 && errno == EINVAL) { /* a family without splice */
		pump_drop_pipe(p);
		p->no_splice = true;
		errno = EINTR;
	} else if (n > 0) {
		p->piped += (uint32_t)n;
		pump_charge(p, (size_t)n);
		/* A trickle is better copied, from the next turn on. */
		if ((size_t)n < p->size)
			p->streak = 0;
		else if (p->streak < GATHER_AFTER)
			p->streak += (uint32_t)n;
		else if (p->gathers && !p->gathering)
			p->gathering = pump_tell_at(from, GATHER);
		/* Little is left behind so little; much would be told again, and time is kept for the rest. */
		if (p->gathering && (size_t)n < GATHER / 4 && !p->ending)
			p->readable = false;
	}
	return n;
}

static ssize_t pump_read(struct pump *p, int from)
{
	size_t most = allowed(p, p->size);
	ssize_t n;

	if (pump_open_pipe(p))
		return pump_splice_in(p, from);
	pump_borrow(p);
	n = net_receive(from, p->buf, most);
	if (n <= 0)
		return n;
	p->len = (uint32_t)n;
	pump_charge(p, (size_t)n);
	if ((size_t)n < most) {
		p->streak = 0;
		p->eof = p->ending && p->exact;
		p->readable = !p->exact;
	} else if (p->streak < BULK) {
		p->streak += (uint32_t)n;
	}
	return n;
}

static void pump_end(struct pump *p, int to)
{
	pump_fini(p);
	/* ENOTCONN: the other side is gone, which it says in its own direction. */
	if (!p->last)
		shutdown(to, SHUT_WR);
	p->shut = true;
}

/* What is under way and not yet sent is kept, the kit's room is left to the others. */
static enum pump_result pump_wait(struct pump *p)
{
	if (p->piped == 0)
		pump_drop_pipe(p);
	if (pump_keep(p))
		return PUMP_WAIT;
	errno = ENOMEM;
	return PUMP_READ_ERROR;
}

enum pump_result pump_run(struct pump *p, int from, int to)
{
	for (int round = 0;; round++) {
		ssize_t n;

		switch (pump_flush(p, to)) {
		case -1:
			return PUMP_WRITE_ERROR;
		case 0:
			return pump_wait(p);
		default:
			break;
		}
		if (p->eof) {
			pump_end(p, to);
			return PUMP_EOF;
		}
		if (!p->readable || p->allowance == 0 || round == ROUNDS)
			return pump_wait(p);
		n = pump_read(p, from);
		if (n == 0) {
			p->eof = true;
		} else if (n == -1 && errno == EAGAIN) {
			p->readable = false;
		} else if (n == -1 && errno != EINTR) {
			return PUMP_READ_ERROR;
		}
	}
}

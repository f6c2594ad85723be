/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "conn/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/address.h"

enum {
	ROUNDS = 16,			/* reads a turn, so that one tunnel does not keep the others waiting */
	BULK_READS = 2,			/* full buffers in a row */
	PIPE_SIZE = 512 * 1024,		/* small ones are no better than copying */
};

void pump_init(struct pump *p, uint32_t size)
{
	*p = (struct pump){ .size = size, .allowance = UINT64_MAX };
}

static void pump_drop_buffer(struct pump *p)
{
	free(p->buf);
	p->buf = NULL;
	p->first = p->len = 0;
}

static void pump_drop_pipe(struct pump *p)
{
	if (p->pipe[1] == 0)
		return;
	close(p->pipe[0]);
	close(p->pipe[1]);
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

bool pump_reserve(struct pump *p, uint32_t size)
{
	unsigned char *buf;

	if (p->buf && p->size - p->first - p->len >= size)
		return true;
	if (p->buf && p->first > 0) {
		memmove(p->buf, p->buf + p->first, p->len);
		p->first = 0;
	}
	if (!p->buf || p->size - p->len < size) {
		uint32_t want = p->len + size > p->size ? p->len + size : p->size;

		buf = realloc(p->buf, want);
		if (!buf)
			return false;
		p->buf = buf;
		p->size = want;
	}
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

int pump_flush(struct pump *p, int to)
{
	while (p->len > 0) {
		ssize_t n = send(to, p->buf + p->first, p->len, MSG_NOSIGNAL);

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

/* Bulk: from here on the bytes stay in the kernel. */
static bool pump_open_pipe(struct pump *p)
{
	if (p->pipe[1] != 0)
		return true;
	if (p->no_splice || p->full_reads < BULK_READS)
		return false;
	if (pipe2(p->pipe, O_NONBLOCK | O_CLOEXEC) == -1) {
		p->pipe[0] = p->pipe[1] = 0;
		p->no_splice = true; /* out of descriptors or of pipe memory: copying will do */
		return false;
	}
	/* Past the user's share of pipe memory the default size stays; it works as well. */
	(void)fcntl(p->pipe[1], F_SETPIPE_SZ, PIPE_SIZE);
	pump_drop_buffer(p);
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
	}
	return n;
}

static ssize_t pump_read(struct pump *p, int from)
{
	ssize_t n;

	if (pump_open_pipe(p))
		return pump_splice_in(p, from);
	if (!pump_reserve(p, p->size)) {
		errno = ENOMEM;
		return -1;
	}
	n = net_receive(from, p->buf, allowed(p, p->size));
	if (n > 0) {
		p->len = (uint32_t)n;
		pump_charge(p, (size_t)n);
		if ((uint32_t)n < p->size)
			p->full_reads = 0;
		else if (p->full_reads < BULK_READS)
			p->full_reads++;
	}
	return n;
}

static void pump_end(struct pump *p, int to)
{
	pump_drop_buffer(p);
	pump_drop_pipe(p);
	/* ENOTCONN: the other side is gone, which it says in its own direction. */
	if (!p->last)
		shutdown(to, SHUT_WR);
	p->shut = true;
}

enum pump_result pump_run(struct pump *p, int from, int to)
{
	bool drained = false;

	for (int round = 0; round < ROUNDS; round++) {
		ssize_t n;

		switch (pump_flush(p, to)) {
		case -1:
			return PUMP_WRITE_ERROR;
		case 0:
			return PUMP_WAIT;
		default:
			break;
		}
		if (p->eof) {
			pump_end(p, to);
			return PUMP_EOF;
		}
		if (drained || p->allowance == 0) { /* a short read took all there was: the next event tells of more */
			pump_drop_buffer(p);
			return PUMP_WAIT;
		}
		n = pump_read(p, from);
		if (n == 0) {
			p->eof = true;
			pump_end(p, to);
			return PUMP_EOF;
		}
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno != EAGAIN)
			return PUMP_READ_ERROR;
		if (n == -1) {
			/* Idle: nothing is held.  A pipe goes back too, for the next who is bulk. */
			pump_drop_buffer(p);
			if (p->pipe[1] != 0 && ++p->full_reads > BULK_READS + 8) {
				pump_drop_pipe(p);
				p->full_reads = 0;
			}
			return PUMP_WAIT;
		}
		drained = n > 0 && p->buf && (uint32_t)n < p->size;
	}
	return PUMP_WAIT;
}

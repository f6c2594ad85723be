/* SPDX-License-Identifier: Apache-2.0 */
/* What both ends say and hear: bulk, answers, hellos, and the sockets below. */
#include <config.h>

#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Byte i of every bulk stream is block[i % 251]: a prime, so that a shift shows. */
static unsigned char block[BLOCK + 256];

_Noreturn void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("load: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	/* Only epoll knows what the backend has open; a leak checker would call that lost. */
	_exit(1);
}

void block_fill(void)
{
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (unsigned char)(i % 251);
}

const unsigned char *block_at(uint64_t at)
{
	return block + at % 251;
}

bool block_matches(const unsigned char *bytes, size_t len, uint64_t at)
{
	while (len > 0) {
		size_t n = len < BLOCK ? len : BLOCK;

		if (memcmp(bytes, block_at(at), n) != 0)
			return false;
		bytes += n;
		len -= n;
		at += n;
	}
	return true;
}

void answer_fill(char *answer, const char *role)
{
	memset(answer, '.', ANSWER_LEN);
	memcpy(answer, "backend ", 8);
	memcpy(answer + 8, role, strlen(role));
	answer[ANSWER_LEN - 1] = '\n';
}

static size_t put16(unsigned char *p, size_t v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
	return 2;
}

size_t hello_build(unsigned char *p, const char *name, size_t size)
{
	static const unsigned char extensions[] = {
		0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x04,				/* versions */
		0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x1d,			/* groups */
		0x00, 0x0d, 0x00, 0x06, 0x00, 0x04, 0x04, 0x03, 0x08, 0x04,	/* signatures */
		0x00, 0x10, 0x00, 0x0e, 0x00, 0x0c, 0x02, 'h', '2', 0x08,
		'h', 't', 't', 'p', '/', '1', '.', '1',				/* ALPN */
	};
	size_t name_len = strlen(name), n = 9, ext_at, share;

	n += put16(p + n, 0x0303);
	for (int i = 0; i < 32; i++)
		p[n++] = (unsigned char)(i * 7);
	p[n++] = 32;
	memset(p + n, 0x55, 32);
	n += 32;
	n += put16(p + n, 6);
	memcpy(p + n, "\x13\x01\x13\x02\x13\x03\x01", 7);
	n += 7;
	p[n++] = 0;
	ext_at = n;
	n += 2;
	n += put16(p + n, 0);
	n += put16(p + n, name_len + 5);
	n += put16(p + n, name_len + 3);
	p[n++] = 0;
	n += put16(p + n, name_len);
	memcpy(p + n, name, name_len);
	n += name_len;
	memcpy(p + n, extensions, sizeof(extensions));
	n += sizeof(extensions);
	if (n + 10 > size || size > HELLO_MAX)
		die("a hello of %zu bytes does not hold this name", size);
	share = size - n - 10; /* one key share fills the rest */
	n += put16(p + n, 0x33);
	n += put16(p + n, share + 6);
	n += put16(p + n, share + 4);
	n += put16(p + n, 0x001d);
	n += put16(p + n, share);
	memset(p + n, 0xaa, share);
	n += share;
	put16(p + ext_at, n - ext_at - 2);
	p[0] = 22;
	put16(p + 1, 0x0301);
	put16(p + 3, n - 5);
	p[5] = 1;
	p[6] = 0;
	put16(p + 7, n - 9);
	return n;
}

void set_nodelay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void ep_add(int ep, int fd, uint32_t events, void *ptr)
{
	struct epoll_event ev = { .events = events, .data.ptr = ptr };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == -1)
		die("epoll_ctl: %s", strerror(errno));
}

void ep_mod(int ep, int fd, uint32_t events, void *ptr)
{
	struct epoll_event ev = { .events = events, .data.ptr = ptr };

	epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
}

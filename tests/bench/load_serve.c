/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend behind the proxies.
 *
 * What it does is chosen by the port that it was reached on.  It checks what it is sent in bulk,
 * and ends the program, and with it the run, on the first wrong byte.
 */
#include <config.h>

#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SMALL = 48 * 1024 /* what "small" sends: less than makes bulk */ };

/* What a backend port does once it has the hello (or, for http, a head). */
enum role { ROLE_CONN, ROLE_ECHO, ROLE_DOWN, ROLE_UP, ROLE_HTTP, ROLE_SMALL, ROLE_COUNT };
static const char *const role_names[ROLE_COUNT] = { "conn", "echo", "down", "up", "http", "small" };

struct served {
	int fd;
	enum role role;
	bool listening, have_hello, writing;
	uint64_t left, at;	/* bytes still to send; position in the stream */
	unsigned head_len;	/* bytes of the hello or head seen */
	unsigned want;		/* of the hello; 0: not known yet */
	char tail[4];
	char pending[4096];	/* echo that did not fit */
	unsigned pending_len;
};

static uint64_t down_bytes = 64u << 20;

static void served_close(struct served *s)
{
	close(s->fd);
	free(s);
}

/* Sends what a stream still owes; false when the connection is over. */
static bool served_push(int ep, struct served *s)
{
	while (s->left > 0) {
		size_t n = s->left < BLOCK ? s->left : BLOCK;
		ssize_t w = send(s->fd, block_at(s->at), n, MSG_NOSIGNAL);

		if (w == -1 && errno == EAGAIN) {
			if (!s->writing)
				ep_mod(ep, s->fd, EPOLLIN | EPOLLOUT, s);
			s->writing = true;
			return true;
		}
		if (w <= 0)
			return false;
		s->left -= (uint64_t)w;
		s->at += (uint64_t)w;
	}
	return false;
}

/* Takes the ClientHello off the front; the number of its bytes in these. */
static size_t served_hello(struct served *s, const unsigned char *bytes, size_t len)
{
	size_t used = 0;

	while (used < len && (s->want == 0 || s->head_len < s->want)) {
		if (s->head_len < 5) {
			if (s->head_len >= 3)
				s->tail[s->head_len - 3] = (char)bytes[used];
			used++;
			if (++s->head_len == 5)
				s->want = 5 + ((unsigned)(unsigned char)s->tail[0] << 8 |
					       (unsigned char)s->tail[1]);
		} else {
			size_t n = s->want - s->head_len;

			if (n > len - used)
				n = len - used;
			s->head_len += (unsigned)n;
			used += n;
		}
	}
	s->have_hello = s->want != 0 && s->head_len == s->want;
	return used;
}

static bool served_answer(struct served *s, const char *role)
{
	char answer[ANSWER_LEN];

	answer_fill(answer, role);
	return send(s->fd, answer, sizeof(answer), MSG_NOSIGNAL) == ANSWER_LEN;
}

static bool served_http(struct served *s, const unsigned char *bytes, size_t len)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
				   "Content-Length: 512\r\n\r\n";
	char out[sizeof(head) - 1 + ANSWER_LEN];

	for (size_t i = 0; i < len; i++) {
		memmove(s->tail, s->tail + 1, 3);
		s->tail[3] = (char)bytes[i];
		if (memcmp(s->tail, "\r\n\r\n", 4) != 0)
			continue;
		memcpy(out, head, sizeof(head) - 1);
		answer_fill(out + sizeof(head) - 1, "http");
		if (send(s->fd, out, sizeof(out), MSG_NOSIGNAL) != (ssize_t)sizeof(out))
			return false;
	}
	return !memmem(bytes, len, "\r\nConnection: close\r\n", 21);
}

/* The bytes behind the hello; false when the connection is over. */
static bool served_bytes(int ep, struct served *s, unsigned char *bytes, size_t len)
{
	switch (s->role) {
	case ROLE_CONN:
		served_answer(s, "conn");
		return false;
	case ROLE_ECHO:
		if (len == 0)
			return true;
		return send(s->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
	case ROLE_DOWN:
	case ROLE_SMALL:
		if (s->left == 0 && s->at == 0)
			s->left = s->role == ROLE_SMALL ? SMALL : down_bytes;
		return served_push(ep, s);
	case ROLE_UP:
		if (!block_matches(bytes, len, s->at))
			die("backend: wrong bytes on the way up at %" PRIu64, s->at);
		s->at += len;
		if (s->at < down_bytes)
			return true;
		served_answer(s, s->at == down_bytes ? "up" : "long");
		return false;
	case ROLE_HTTP:
	case ROLE_COUNT:
		break;
	}
	return false;
}

static bool served_read(int ep, struct served *s)
{
	static unsigned char buf[BLOCK];

	for (int round = 0; round < 4; round++) {
		ssize_t n = recv(s->fd, buf, sizeof(buf), 0);
		size_t used = 0;

		if (n == -1)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		if (s->role == ROLE_HTTP) {
			if (!served_http(s, buf, (size_t)n))
				return false;
			continue;
		}
		if (!s->have_hello)
			used = served_hello(s, buf, (size_t)n);
		if (s->have_hello && !served_bytes(ep, s, buf + used, (size_t)n - used))
			return false;
		if ((size_t)n < sizeof(buf))
			return true;
	}
	return true;
}

static int listen_on(const char *text)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in.sin_port = htons((uint16_t)atoi(text));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd == -1 || bind(fd, (struct sockaddr *)&in, sizeof(in)) == -1 || listen(fd, 4096) == -1)
		die("cannot listen on port %s: %s", text, strerror(errno));
	return fd;
}

int serve(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	int ep = epoll_create1(0);

	for (int i = 1; i < argc; i++) {
		struct served *s = calloc(1, sizeof(*s));
		char *eq = strchr(argv[i], '=');

		if (!s || !eq)
			die("usage: load serve [bytes=N] conn=PORT echo=PORT ...");
		*eq = '\0';
		if (strcmp(argv[i], "bytes") == 0) {
			down_bytes = strtoull(eq + 1, NULL, 10);
			free(s);
			continue;
		}
		for (s->role = 0; s->role < ROLE_COUNT; s->role++) {
			if (strcmp(argv[i], role_names[s->role]) == 0)
				break;
		}
		if (s->role == ROLE_COUNT)
			die("no role \"%s\"", argv[i]);
		s->listening = true;
		s->fd = listen_on(eq + 1);
		ep_add(ep, s->fd, EPOLLIN, s);
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(ep, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct served *s = events[i].data.ptr;

			if (s->listening) {
				int fd;

				while ((fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK)) != -1) {
					struct served *c = calloc(1, sizeof(*c));

					if (!c)
						die("out of memory");
					c->fd = fd;
					c->role = s->role;
					set_nodelay(fd);
					/* The first bytes are mostly here already. */
					if (served_read(ep, c))
						ep_add(ep, fd, c->writing ? EPOLLIN | EPOLLOUT : EPOLLIN, c);
					else
						served_close(c);
				}
				continue;
			}
			if ((events[i].events & EPOLLOUT) && s->left > 0 && !served_push(ep, s)) {
				served_close(s);
				continue;
			}
			if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !served_read(ep, s))
				served_close(s);
		}
	}
}

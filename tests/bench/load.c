/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of a benchmark: "load serve" is the backend behind the proxies,
 * "load WORKLOAD" the clients before them.
 *
 * What the backend does is chosen by the port that it was reached on, and the
 * port by the name that the client asked the proxy for.  Every answer is checked:
 * the right backend, every byte, a clean end.  One wrong answer fails the run.
 * Results are one line of JSON on standard output, times in microseconds.
 */
#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	ANSWER_LEN = 512,
	BLOCK = 256 * 1024,
	HELLO_MAX = 4096,
	EVENTS = 256,
	SMALL = 48 * 1024,	/* what "small" sends: less than makes bulk */
};

/* What a backend port does once it has the hello (or, for http, a head). */
enum role { ROLE_CONN, ROLE_ECHO, ROLE_DOWN, ROLE_UP, ROLE_HTTP, ROLE_SMALL, ROLE_COUNT };
static const char *const role_names[ROLE_COUNT] = { "conn", "echo", "down", "up", "http", "small" };

static unsigned char block[BLOCK + 256];

static _Noreturn void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("load: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Byte i of every bulk stream is block[i % 251]: a prime, so that a shift shows. */
static void block_fill(void)
{
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (unsigned char)(i % 251);
}

static bool block_matches(const unsigned char *bytes, size_t len, uint64_t at)
{
	while (len > 0) {
		size_t n = len < BLOCK ? len : BLOCK;

		if (memcmp(bytes, block + at % 251, n) != 0)
			return false;
		bytes += n;
		len -= n;
		at += n;
	}
	return true;
}

static void answer_fill(char *answer, const char *role)
{
	memset(answer, '.', ANSWER_LEN);
	memcpy(answer, "backend ", 8);
	memcpy(answer + 8, role, strlen(role));
	answer[ANSWER_LEN - 1] = '\n';
}

/* --- the hello: TLS 1.3 shaped, of the size that is asked for --- */

static size_t put16(unsigned char *p, size_t v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
	return 2;
}

static size_t hello_build(unsigned char *p, const char *name, size_t size)
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

/* --- sockets --- */

static void set_nodelay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
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

static void ep_add(int ep, int fd, uint32_t events, void *ptr)
{
	struct epoll_event ev = { .events = events, .data.ptr = ptr };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == -1)
		die("epoll_ctl: %s", strerror(errno));
}

static void ep_mod(int ep, int fd, uint32_t events, void *ptr)
{
	struct epoll_event ev = { .events = events, .data.ptr = ptr };

	epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
}

/* --- the backend --- */

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
		ssize_t w = send(s->fd, block + s->at % 251, n, MSG_NOSIGNAL);

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

static int serve(int argc, char **argv)
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

/* --- the clients --- */

enum workload { W_CONN, W_RATE, W_RR, W_DOWN, W_UP, W_IDLE, W_HTTP, W_HTTP_KA, W_HTTP_IDLE, W_COUNT };
static const char *const workload_names[W_COUNT] = { "conn", "rate", "rr",	"down",	  "up",
						     "idle", "http", "http-ka", "http-idle" };

struct client {
	int fd;
	uint64_t started;
	uint64_t got, sent;
	bool connected, wants_out;
	bool last;	/* nothing is asked any more: what comes is the answer and the end */
	unsigned sequence;
};

static struct {
	enum workload workload;
	struct sockaddr_in to;
	unsigned clients, names;
	const char *name;	/* format with one %u, or plain */
	const char *line;	/* goes before the hello, with a line end; or NULL */
	size_t hello_size, segment, size;
	double seconds, rate;
	uint64_t bytes;
	/* running */
	int ep;
	uint64_t deadline, begin;
	unsigned sequence, open;
	uint64_t done, errors, bytes_moved;
	uint32_t *samples;
	size_t n_samples, room;
	char first_error[160];
} g = { .clients = 64, .names = 1, .name = "conn.bench.test", .hello_size = 517, .segment = 1400,
	.size = 1, .seconds = 2, .rate = 2000, .bytes = 64u << 20 };

static void failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void failed(const char *format, ...)
{
	va_list ap;

	if (g.errors++ == 0) {
		va_start(ap, format);
		vsnprintf(g.first_error, sizeof(g.first_error), format, ap);
		va_end(ap);
	}
}

static void sample(uint64_t ns)
{
	if (g.n_samples == g.room) {
		g.room = g.room ? g.room * 2 : 65536;
		g.samples = realloc(g.samples, g.room * sizeof(*g.samples));
		if (!g.samples)
			die("out of memory");
	}
	g.samples[g.n_samples++] = (uint32_t)(ns / 100); /* tenths of a microsecond */
}

static void unit_done(struct client *c, uint64_t now)
{
	g.done++;
	sample(now - c->started);
}

static bool is_http(void)
{
	return g.workload == W_HTTP || g.workload == W_HTTP_KA || g.workload == W_HTTP_IDLE;
}

/* Opens what it may and then waits, for memory to be looked at. */
static bool is_idle(void)
{
	return g.workload == W_IDLE || g.workload == W_HTTP_IDLE;
}

static size_t first_bytes(unsigned char *out, const struct client *c)
{
	char name[256];
	size_t line;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(name, sizeof(name), g.name, c->sequence % g.names);
#pragma GCC diagnostic pop
	if (is_http())
		return (size_t)snprintf((char *)out, HELLO_MAX,
					"GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: %s\r\n"
					"User-Agent: load\r\nAccept: */*\r\n%s\r\n",
					name, c->last ? "Connection: close\r\n" : "");
	if (!g.line)
		return hello_build(out, name, g.hello_size);
	line = (size_t)snprintf((char *)out, 256, "%s\n", g.line);
	return line + hello_build(out + line, name, g.hello_size);
}

/* An end of load: the address 127.0.0.1 has some 28,000 ports for one peer, so use more of 127/8. */
static void client_open(struct client *c, uint64_t scheduled)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	int one = 1;

	c->got = c->sent = 0;
	c->connected = c->wants_out = false;
	c->last = g.workload == W_HTTP;
	c->sequence = g.sequence++;
	c->started = scheduled ? scheduled : now_ns();
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd == -1)
		die("socket: %s", strerror(errno));
	set_nodelay(c->fd);
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + c->sequence % 16);
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	bind(c->fd, (struct sockaddr *)&from, sizeof(from));
	if (connect(c->fd, (struct sockaddr *)&g.to, sizeof(g.to)) == -1 && errno != EINPROGRESS)
		die("connect: %s", strerror(errno));
	ep_add(g.ep, c->fd, EPOLLIN | EPOLLOUT, c);
	g.open++;
}

static void client_close(struct client *c)
{
	close(c->fd);
	c->fd = -1;
	g.open--;
}

static void client_want_out(struct client *c, bool want)
{
	if (want != c->wants_out)
		ep_mod(g.ep, c->fd, want ? EPOLLIN | EPOLLOUT : EPOLLIN, c);
	c->wants_out = want;
}

static bool send_all(struct client *c, const void *bytes, size_t len)
{
	if (send(c->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len)
		return true;
	failed("send: %s", strerror(errno));
	return false;
}

/* Sends as many bytes of the stream as fit. */
static void client_push(struct client *c)
{
	while (c->sent < g.bytes) {
		size_t n = g.bytes - c->sent < BLOCK ? (size_t)(g.bytes - c->sent) : BLOCK;
		ssize_t w = send(c->fd, block + c->sent % 251, n, MSG_NOSIGNAL);

		if (w == -1 && errno == EAGAIN) {
			client_want_out(c, true);
			return;
		}
		if (w <= 0) {
			failed("send: %s", strerror(errno));
			return;
		}
		c->sent += (uint64_t)w;
		g.bytes_moved += (uint64_t)w;
	}
	/* No half-close: some peers end both ways on it.  The backend counts. */
	client_want_out(c, false);
}

static bool client_connected(struct client *c)
{
	unsigned char bytes[HELLO_MAX + 256];
	size_t len = first_bytes(bytes, c), head = len;
	int err = 0;
	socklen_t err_len = sizeof(err);

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &err_len);
	if (err) {
		failed("connect: %s", strerror(err));
		return false;
	}
	c->connected = true;
	c->wants_out = true;
	client_want_out(c, false);
	if (len > g.segment)
		head = g.segment;
	if (!send_all(c, bytes, head) || (len > head && !send_all(c, bytes + head, len - head)))
		return false;
	if (g.workload == W_RR || g.workload == W_IDLE) {
		c->started = now_ns();
		return send_all(c, block, g.workload == W_IDLE ? 1 : g.size);
	}
	if (g.workload == W_UP)
		client_push(c);
	return true;
}

/* A whole answer of ANSWER_LEN bytes behind a head of http_head bytes: is it the right one? */
static void check_answer(const unsigned char *bytes, uint64_t at, size_t len, const char *role)
{
	char want[ANSWER_LEN];

	answer_fill(want, role);
	if (at + len > ANSWER_LEN || memcmp(want + at, bytes, len) != 0)
		failed("a wrong answer: %.60s", (const char *)bytes);
}

enum after { AGAIN, STAY, OVER };

static enum after client_http(struct client *c, const unsigned char *bytes, size_t len)
{
	const unsigned char *body = memmem(bytes, len, "\r\n\r\n", 4);
	unsigned char request[HELLO_MAX];

	if (len < 12 || memcmp(bytes, "HTTP/1.1 200", 12) != 0 || !body) {
		failed("not a 200: %.60s", (const char *)bytes);
		return OVER;
	}
	body += 4;
	if ((size_t)(bytes + len - body) < ANSWER_LEN)
		return STAY; /* peeked: the rest comes */
	check_answer(body, 0, (size_t)(bytes + len - body), "http");
	if (c->last)
		return AGAIN;
	recv(c->fd, request, len, 0);
	if (g.workload == W_HTTP_IDLE) {
		g.done++;
		return STAY;
	}
	unit_done(c, now_ns());
	/* The last request of a kept connection asks for the end, which has to be a clean one. */
	c->last = now_ns() > g.deadline;
	c->started = now_ns();
	c->sequence = g.sequence++;
	len = first_bytes(request, c);
	return send_all(c, request, len) ? STAY : OVER;
}

static enum after client_bytes(struct client *c, unsigned char *bytes, size_t len)
{
	switch (g.workload) {
	case W_CONN:
	case W_RATE:
		check_answer(bytes, c->got, len, "conn");
		break;
	case W_UP:
		check_answer(bytes, c->got, len, "up");
		break;
	case W_DOWN:
		if (!block_matches(bytes, len, c->got))
			failed("wrong bytes on the way down");
		g.bytes_moved += len;
		break;
	case W_IDLE:
		g.done++;
		break;
	case W_RR:
		if (c->last) {
			failed("bytes behind the last echo");
			break;
		}
		if (!block_matches(bytes, len, c->got))
			failed("a wrong echo");
		if (c->got + len < g.size)
			break;
		unit_done(c, now_ns());
		c->got = 0;
		c->last = now_ns() > g.deadline;
		if (c->last) /* the echo ends when we do */
			return shutdown(c->fd, SHUT_WR) == 0 ? STAY : OVER;
		c->started = now_ns();
		return send_all(c, block, g.size) ? STAY : OVER;
	case W_HTTP:
	case W_HTTP_KA:
	case W_HTTP_IDLE:
	case W_COUNT:
		break;
	}
	c->got += len;
	return STAY;
}

static enum after client_end(struct client *c)
{
	uint64_t want = g.workload == W_DOWN ? g.bytes : ANSWER_LEN;

	if (is_http() && c->last) /* the answer was whole, which is told by 1 */
		want = 1;
	if (g.workload == W_RR && c->last && c->got == 0)
		return OVER;
	if (c->got != want || g.workload == W_RR || is_idle() || (is_http() && !c->last))
		failed("ended after %" PRIu64 " bytes of %" PRIu64, c->got, want);
	else
		unit_done(c, now_ns());
	return AGAIN;
}

static enum after client_readable(struct client *c)
{
	static unsigned char buf[BLOCK];

	for (;;) {
		bool peek = is_http() && !(c->last && c->got == 1);
		ssize_t n = recv(c->fd, buf, sizeof(buf) - 1, peek ? MSG_PEEK : 0);
		enum after after;

		if (n == -1 && errno == EAGAIN)
			return STAY;
		if (n == -1) {
			failed("recv: %s", strerror(errno));
			return AGAIN;
		}
		if (n == 0)
			return client_end(c);
		buf[n] = '\0';
		after = peek ? client_http(c, buf, (size_t)n) : client_bytes(c, buf, (size_t)n);
		if (peek && after == AGAIN) {
			recv(c->fd, buf, (size_t)n, 0);
			c->got = 1; /* the answer was whole: now its end */
			continue;
		}
		if (after != STAY || peek || (g.workload == W_RR && !c->last))
			return after;
	}
}

static void client_event(struct client *c, uint32_t events)
{
	enum after after = STAY;

	if (!c->connected && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		after = client_connected(c) ? STAY : AGAIN;
	else if (c->wants_out && (events & EPOLLOUT))
		client_push(c);
	if (after == STAY && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		after = client_readable(c);
	if (after == STAY)
		return;
	client_close(c);
	if (after == AGAIN && g.workload != W_RATE && now_ns() < g.deadline && g.errors < 100)
		client_open(c, 0);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double quantile(double q)
{
	if (g.n_samples == 0)
		return 0;
	return g.samples[(size_t)(q * (double)(g.n_samples - 1))] / 10.0;
}

static int report(void)
{
	double elapsed = (double)(now_ns() - g.begin) / 1e9;

	qsort(g.samples, g.n_samples, sizeof(*g.samples), by_value);
	printf("{\"workload\":\"%s\",\"done\":%" PRIu64 ",\"seconds\":%.4f,\"errors\":%" PRIu64
	       ",\"bytes\":%" PRIu64 ",\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"first_error\":\"",
	       workload_names[g.workload], g.done, elapsed, g.errors, g.bytes_moved, quantile(0.5),
	       quantile(0.99), quantile(0.999));
	for (const char *p = g.first_error; *p; p++)
		putchar(*p < ' ' || *p == '"' || *p == '\\' || (unsigned char)*p > 126 ? '?' : *p);
	puts("\"}");
	fflush(stdout);
	return g.errors || !g.done ? 1 : 0;
}

/* Starts what is due at a fixed rate, whatever became of the others. */
static int rate_start(struct client *clients, uint64_t *next, uint64_t now)
{
	uint64_t step = (uint64_t)(1e9 / g.rate);

	while (*next <= now && *next < g.deadline) {
		unsigned i = 0;

		while (i < g.clients && clients[i].fd != -1)
			i++;
		if (i == g.clients) {
			failed("more than %u connections under way", g.clients);
			*next += step;
			continue;
		}
		client_open(&clients[i], *next);
		*next += step;
	}
	return *next >= g.deadline ? 100 : (int)((*next - now) / 1000000);
}

static int idle_wait(void)
{
	char c;

	printf("{\"ready\":%" PRIu64 ",\"errors\":%" PRIu64 "}\n", g.done, g.errors);
	fflush(stdout);
	return read(0, &c, 1) >= 0 && !g.errors ? 0 : 1;
}

static int run(void)
{
	struct client *clients = calloc(g.clients, sizeof(*clients));
	struct epoll_event events[EVENTS];
	uint64_t next;

	if (!clients)
		die("out of memory");
	g.ep = epoll_create1(0);
	g.begin = next = now_ns();
	g.deadline = g.begin + (uint64_t)(g.seconds * 1e9);
	for (unsigned i = 0; i < g.clients; i++) {
		clients[i].fd = -1;
		if (g.workload != W_RATE && !is_idle())
			client_open(&clients[i], 0);
	}
	for (unsigned opened = 0;;) {
		uint64_t now = now_ns();
		int wait = 100, n;

		if (g.workload == W_RATE)
			wait = rate_start(clients, &next, now);
		/* Idle tunnels are opened some at a time, so that no backlog overflows. */
		while (is_idle() && opened < g.clients && opened < g.done + 200)
			client_open(&clients[opened++], 0);
		if (is_idle() && (g.done >= g.clients || g.errors))
			return idle_wait();
		if (now > g.deadline && g.open == 0)
			break;
		if (now > g.deadline + 20000000000u) {
			failed("%u connections never ended", g.open);
			break;
		}
		n = epoll_wait(g.ep, events, EVENTS, wait);
		for (int i = 0; i < n; i++)
			client_event(events[i].data.ptr, events[i].events);
	}
	free(clients);
	return report();
}

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "to", 1, 0, 't' },	  { "clients", 1, 0, 'c' }, { "seconds", 1, 0, 's' },
		{ "rate", 1, 0, 'r' },	  { "size", 1, 0, 'z' },    { "hello", 1, 0, 'h' },
		{ "segment", 1, 0, 'g' }, { "name", 1, 0, 'n' },    { "names", 1, 0, 'k' },
		{ "bytes", 1, 0, 'b' },	  { "line", 1, 0, 'l' },    { 0, 0, 0, 0 },
	};
	int c;

	g.to.sin_family = AF_INET;
	g.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 't':
			g.to.sin_port = htons((uint16_t)atoi(optarg));
			break;
		case 'c':
			g.clients = (unsigned)atoi(optarg);
			break;
		case 's':
			g.seconds = atof(optarg);
			break;
		case 'r':
			g.rate = atof(optarg);
			break;
		case 'z':
			g.size = (size_t)atol(optarg);
			break;
		case 'h':
			g.hello_size = (size_t)atol(optarg);
			break;
		case 'g':
			g.segment = (size_t)atol(optarg);
			break;
		case 'n':
			g.name = optarg;
			break;
		case 'k':
			g.names = (unsigned)atoi(optarg);
			break;
		case 'l':
			g.line = optarg;
			break;
		case 'b':
			g.bytes = strtoull(optarg, NULL, 10);
			break;
		default:
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct rlimit limit;

	block_fill();
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return serve(argc - 1, argv + 1);
	for (g.workload = 0; argc > 1 && g.workload < W_COUNT; g.workload++) {
		if (strcmp(argv[1], workload_names[g.workload]) == 0) {
			parse_options(argc - 1, argv + 1);
			return run();
		}
	}
	fputs("usage: load serve ROLE=PORT... | load WORKLOAD --to PORT [options]\n", stderr);
	return 2;
}

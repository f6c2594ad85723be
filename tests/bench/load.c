/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of a benchmark: "load serve" is the backend behind the proxies (load_serve.c),
 * "load WORKLOAD" the clients before them.
 *
 * What the backend does is chosen by the port that it was reached on, and the
 * port by the name that the client asked the proxy for.  Every answer is checked:
 * the right backend, every byte, a clean end.  One wrong answer fails the run.
 * Results are one line of JSON on standard output, times in microseconds.
 */
#include <config.h>

#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The end of the other side is told with what was read before it. */
enum { EVENTS_IN = EPOLLIN | EPOLLRDHUP };

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

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

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
	ep_add(g.ep, c->fd, EVENTS_IN | EPOLLOUT, c);
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
		ep_mod(g.ep, c->fd, want ? EVENTS_IN | EPOLLOUT : EVENTS_IN, c);
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
		ssize_t w = send(c->fd, block_at(c->sent), n, MSG_NOSIGNAL);

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
		return send_all(c, block_at(0), g.workload == W_IDLE ? 1 : g.size);
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

/* The bytes were peeked at; ended: no more will come. */
static enum after client_http(struct client *c, const unsigned char *bytes, size_t len, bool ended)
{
	const unsigned char *body = memmem(bytes, len, "\r\n\r\n", 4);
	unsigned char request[HELLO_MAX];

	if (len < 12 || memcmp(bytes, "HTTP/1.1 200", 12) != 0 || !body) {
		failed("not a 200: %.60s", (const char *)bytes);
		return OVER;
	}
	body += 4;
	if ((size_t)(bytes + len - body) < ANSWER_LEN) {
		if (!ended)
			return STAY;
		failed("ended after %zu bytes of %d", (size_t)(bytes + len - body), ANSWER_LEN);
		return OVER;
	}
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
		if (c->got + len > 1 || !block_matches(bytes, len, c->got))
			failed("a wrong echo");
		g.done++;
		break;
	case W_RR:
		if (c->last) {
			failed("bytes behind the last echo");
			break;
		}
		if (c->got + len > g.size || !block_matches(bytes, len, c->got))
			failed("a wrong echo");
		if (c->got + len < g.size)
			break;
		unit_done(c, now_ns());
		c->got = 0;
		c->last = now_ns() > g.deadline;
		if (c->last) /* the echo ends when we do */
			return shutdown(c->fd, SHUT_WR) == 0 ? STAY : OVER;
		c->started = now_ns();
		return send_all(c, block_at(0), g.size) ? STAY : OVER;
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

	if (g.workload == W_RR || g.workload == W_IDLE)
		want = g.workload == W_RR ? g.size : 1;
	if (is_http() && c->last) /* the answer was whole, which is told by 1 */
		want = 1;
	if (g.workload == W_RR && c->last && c->got == 0)
		return OVER;
	if (c->got != want || is_idle())
		failed("ended after %" PRIu64 " bytes of %" PRIu64, c->got, want);
	else
		unit_done(c, now_ns());
	return AGAIN;
}

static enum after client_readable(struct client *c, bool ended)
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
		after = peek ? client_http(c, buf, (size_t)n, ended) :
			       client_bytes(c, buf, (size_t)n);
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
		after = client_readable(c, events & EPOLLRDHUP);
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

	if (g.n_samples > 0)
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
	if (*next < g.deadline)
		return (int)((*next - now) / 1000000);
	/* Not longer than to the end, or the time that is told would not be the rate's. */
	return now < g.deadline ? (int)((g.deadline - now) / 1000000) + 1 : 100;
}

/* Says that all are open, and waits for the end of standard input. */
static void idle_wait(void)
{
	struct epoll_event event;
	char c;

	printf("{\"ready\":%" PRIu64 ",\"errors\":%" PRIu64 "}\n", g.done, g.errors);
	fflush(stdout);
	if (g.errors)
		return;
	if (read(0, &c, 1) == -1)
		die("standard input: %s", strerror(errno));
	/* Nothing was asked of them, so whatever is there now is wrong. */
	if (epoll_wait(g.ep, &event, 1, 0) != 0)
		failed("a connection that was idle has spoken or ended");
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
		if (is_idle() && (g.done >= g.clients || g.errors)) {
			idle_wait();
			break;
		}
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

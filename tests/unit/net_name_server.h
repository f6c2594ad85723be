/* SPDX-License-Identifier: Apache-2.0 */
/* A name server on the test's own loop, over UDP and TCP: what the name says is how it behaves. */
#ifndef TESTS_UNIT_NET_NAME_SERVER_H
#define TESTS_UNIT_NET_NAME_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ev.h>

enum { A = 1, CNAME = 5, AAAA = 28 };

struct server {
	ev_io udp, listener, tcp;
	uint16_t port;
	unsigned asked[2];	/* A, AAAA: since the test began */
	unsigned over_tcp;
	char last[256];		/* the name of the last question */
};

static struct ev_loop *loop;
static struct server server;

struct message {
	unsigned char bytes[8192];
	size_t len;
	unsigned n;
};

static void put16(struct message *m, unsigned v)
{
	m->bytes[m->len++] = (unsigned char)(v >> 8);
	m->bytes[m->len++] = (unsigned char)v;
}

static void put_name(struct message *m, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");

		m->bytes[m->len++] = (unsigned char)n;
		memcpy(m->bytes + m->len, name, n);
		m->len += n;
		name += n + (name[n] == '.');
	}
	m->bytes[m->len++] = 0;
}

static void put_head(struct message *m, const char *owner, unsigned type, uint32_t ttl)
{
	put_name(m, owner);
	put16(m, type);
	put16(m, 1);
	put16(m, ttl >> 16);
	put16(m, ttl & 0xffff);
	m->n++;
}

static void put_address(struct message *m, const char *owner, uint32_t ttl, const char *text)
{
	bool v6 = strchr(text, ':');

	put_head(m, owner, v6 ? AAAA : A, ttl);
	put16(m, v6 ? 16 : 4);
	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, text, m->bytes + m->len), 1);
	m->len += v6 ? 16 : 4;
}

static void put_cname(struct message *m, const char *owner, uint32_t ttl, const char *target)
{
	size_t at;

	put_head(m, owner, CNAME, ttl);
	at = m->len;
	m->len += 2;
	put_name(m, target);
	m->bytes[at] = (unsigned char)((m->len - at - 2) >> 8);
	m->bytes[at + 1] = (unsigned char)(m->len - at - 2);
}

static void put_many(struct message *m, const char *owner, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char text[24];

		snprintf(text, sizeof(text), "192.0.2.%u", i + 1);
		put_address(m, owner, 60, text);
	}
}

enum { NOERROR = 0, SERVFAIL = 2, NXDOMAIN = 3, REFUSED = 5, SILENCE = -1, TRUNCATED = -2 };

/* What the name says is how it behaves: the rcode, or silence. */
static int behave(struct message *m, const char *name, unsigned type, bool tcp)
{
	unsigned before = server.asked[type == AAAA] - 1; /* how often this was asked before */

	if (!strcmp(name, "both.test")) {
		if (type == A) {
			put_address(m, name, 300, "192.0.2.1");
			put_address(m, name, 300, "192.0.2.2");
		} else {
			put_address(m, name, 60, "2001:db8::1");
		}
	} else if (!strcmp(name, "chain.test") && type == A) {
		put_cname(m, name, 30, "x.test");
		put_cname(m, "x.test", 5, "y.test");
		put_address(m, "y.test", 100, "192.0.2.3");
	} else if (!strcmp(name, "zero.test") && type == A) {
		put_address(m, name, 0, "192.0.2.4");
	} else if (!strcmp(name, "long.test") && type == A) {
		put_address(m, name, 86400, "192.0.2.4");
	} else if (!strcmp(name, "negative.test") && type == A) {
		put_address(m, name, 0x80000001, "192.0.2.4");
	} else if (!strcmp(name, "forty.test") && type == A) {
		put_many(m, name, 40);
	} else if (!strcmp(name, "hundred.test") && type == A) {
		if (!tcp)
			return TRUNCATED;
		put_many(m, name, 100);
	} else if (!strcmp(name, "rebind.test") && type == A) {
		put_address(m, name, 1, before == 0 ? "203.0.113.1" : "127.0.0.1");
	} else if (!strcmp(name, "fails-later.test") && type == A) {
		if (before > 0)
			return before > 4 ? NXDOMAIN : SERVFAIL;
		put_address(m, name, 1, "192.0.2.5");
	} else if (!strcmp(name, "falls-silent.test") && type == A) {
		if (before > 0)
			return SILENCE;
		put_address(m, name, 1, "192.0.2.6");
	} else if (!strcmp(name, "a-only-in-time.test")) {
		if (type == AAAA)
			return SILENCE;
		put_address(m, name, 60, "192.0.2.7");
	} else if (!strcmp(name, "a-servfail.test")) {
		if (type == A)
			return SERVFAIL;
		put_address(m, name, 60, "2001:db8::2");
	} else if (!strcmp(name, "servfail.test")) {
		return SERVFAIL;
	} else if (!strcmp(name, "refused.test")) {
		return REFUSED;
	} else if (!strcmp(name, "silent.test") || !strncmp(name, "silent-", 7)) {
		return SILENCE;
	} else if (!strcmp(name, "none.test")) {
		return NXDOMAIN;
	} else if (!strncmp(name, "n-", 2) && type == A) {
		put_address(m, name, 3600, "192.0.2.8");
	}
	return NOERROR;
}

/* The answer to one question; of length 0 for silence. */
static void respond(const unsigned char *query, size_t len, bool tcp, struct message *ret)
{
	struct message records = { .len = 0 };
	size_t at = 12, type_at;
	int r;

	server.last[0] = '\0';
	while (at < len && query[at]) {
		snprintf(server.last + strlen(server.last), sizeof(server.last) - strlen(server.last), "%s%.*s",
			 server.last[0] ? "." : "", query[at], (const char *)query + at + 1);
		at += query[at] + 1u;
	}
	type_at = at + 1;
	assert_true(type_at + 4 <= len);
	server.asked[query[type_at + 1] == AAAA]++;
	server.over_tcp += tcp;
	ret->len = 0;
	r = behave(&records, server.last, query[type_at + 1], tcp);
	if (r == SILENCE)
		return;
	memcpy(ret->bytes, query, 2);
	ret->len = 2;
	put16(ret, 0x8180u | (r == TRUNCATED ? 0x200u : (unsigned)r));
	put16(ret, 1);
	put16(ret, r < 0 ? 0 : records.n);
	put16(ret, 0);
	put16(ret, 0);
	memcpy(ret->bytes + ret->len, query + 12, type_at + 4 - 12);
	ret->len += type_at + 4 - 12;
	if (r >= 0) {
		memcpy(ret->bytes + ret->len, records.bytes, records.len);
		ret->len += records.len;
	}
}

static void udp_ready(struct ev_loop *l, ev_io *io, int events)
{
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	unsigned char query[512];
	struct message answer;
	ssize_t n = recvfrom(io->fd, query, sizeof(query), 0, (struct sockaddr *)&from, &from_len);

	(void)l;
	(void)events;
	if (n <= 0)
		return;
	respond(query, (size_t)n, false, &answer);
	if (answer.len)
		sendto(io->fd, answer.bytes, answer.len, 0, (struct sockaddr *)&from, from_len);
}

static void tcp_ready(struct ev_loop *l, ev_io *io, int events)
{
	unsigned char query[514];
	struct message answer, framed = { .len = 0 };
	ssize_t n = recv(io->fd, query, sizeof(query), 0);

	(void)events;
	if (n > 2) {
		respond(query + 2, (size_t)n - 2, true, &answer);
		put16(&framed, (unsigned)answer.len);
		memcpy(framed.bytes + 2, answer.bytes, answer.len);
		assert_int_equal(send(io->fd, framed.bytes, answer.len + 2, MSG_NOSIGNAL), answer.len + 2);
	} else if (n == 0) {
		ev_io_stop(l, io);
		close(io->fd);
	}
}

static void tcp_accept(struct ev_loop *l, ev_io *io, int events)
{
	(void)events;
	ev_io_init(&server.tcp, tcp_ready, accept(io->fd, NULL, NULL), EV_READ);
	ev_io_start(l, &server.tcp);
}

static void server_start(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	/* A port that both have free: the kernel picks one for TCP, which UDP rarely lacks. */
	assert_int_equal(bind(tcp, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(tcp, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(bind(udp, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(tcp, 4), 0);
	memset(&server, 0, sizeof(server));
	server.port = ntohs(sa.sin_port);
	ev_io_init(&server.udp, udp_ready, udp, EV_READ);
	ev_io_init(&server.listener, tcp_accept, tcp, EV_READ);
	ev_io_init(&server.tcp, tcp_ready, -1, EV_READ);
	ev_io_start(loop, &server.udp);
	ev_io_start(loop, &server.listener);
}

static void server_stop(void)
{
	ev_io_stop(loop, &server.udp);
	ev_io_stop(loop, &server.listener);
	if (ev_is_active(&server.tcp)) {
		ev_io_stop(loop, &server.tcp);
		close(server.tcp.fd);
	}
	close(server.udp.fd);
	close(server.listener.fd);
}

#endif

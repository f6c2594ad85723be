/* SPDX-License-Identifier: Apache-2.0 */
/* A socket that was connected is connected again: only when all is over, and then as a new one. */
#include <config.h>

#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 20000 };

struct server {
	struct address address;
	int fd;
};

static struct server listen_here(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	struct server s = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };

	assert_int_equal(bind(s.fd, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(s.fd, 8), 0);
	assert_int_equal(getsockname(s.fd, (struct sockaddr *)&sin, &len), 0);
	s.address.kind = ADDRESS_TCP_IP;
	s.address.ip = ip_from_v4(&sin.sin_addr);
	s.address.port = ntohs(sin.sin_port);
	return s;
}

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
}

/* What the other end hears, to its end. */
static void hears(int fd, const char *words)
{
	char buf[64];
	size_t len = 0;
	ssize_t n;

	do {
		wait_for(fd, POLLIN);
		n = recv(fd, buf + len, sizeof(buf) - len, 0);
		assert_true(n >= 0);
		len += (size_t)n;
	} while (n > 0);
	assert_int_equal(len, strlen(words));
	assert_memory_equal(buf, words, len);
}

static int dial_to_speak(const struct server *s)
{
	int fd = -1, r = net_dial_to_speak(&s->address, &fd);

	assert_true(r == 0 || r == -EINPROGRESS);
	wait_for(fd, POLLOUT);
	return fd;
}

static void say(int fd, const char *words)
{
	wait_for(fd, POLLOUT);
	assert_int_equal(net_send(fd, words, strlen(words), 0), strlen(words));
}

/* An exchange to its end; who ends first? */
static void exchange(const struct server *s, int fd, bool server_first, const char *words)
{
	int other = accept(s->fd, NULL, NULL);

	assert_true(other >= 0);
	say(fd, words);
	if (server_first) {
		assert_int_equal(shutdown(other, SHUT_WR), 0);
		hears(fd, "");
		assert_int_equal(shutdown(fd, SHUT_WR), 0);
		hears(other, words);
	} else {
		assert_int_equal(shutdown(fd, SHUT_WR), 0);
		hears(other, words);
		assert_int_equal(shutdown(other, SHUT_WR), 0);
		hears(fd, "");
	}
	close(other);
}

/* The end is heard before its acknowledgement comes back. */
static int again(int fd, const struct server *s)
{
	int r;

	for (int i = 0; (r = net_dial_again(fd, &s->address)) == -ESTALE && i < WAIT_MS; i++)
		poll(NULL, 0, 1);
	return r;
}

static void dial_again(int fd, const struct server *s)
{
	int r = again(fd, s);

	assert_true(r == 0 || r == -EINPROGRESS);
}

static void what_is_over_is_as_good_as_new(void **state)
{
	static const char *const words[] = { "one", "and another", "a third" };
	const struct server one = listen_here(), other = listen_here();
	int fd = dial_to_speak(&one);

	(void)state;
	exchange(&one, fd, true, "first");
	for (int i = 0; i < 30; i++) {
		const struct server *s = i % 2 ? &one : &other;

		dial_again(fd, s);
		exchange(s, fd, i % 3 != 0, words[i % 3]);
	}
	close(fd);
	close(one.fd);
	close(other.fd);
}

static void what_is_not_over_is_left_alone(void **state)
{
	const struct server one = listen_here(), other = listen_here();
	int fd = dial_to_speak(&one), peer = accept(one.fd, NULL, NULL);

	(void)state;
	assert_int_equal(net_dial_again(fd, &other.address), -ESTALE);
	say(peer, "words");
	assert_int_equal(shutdown(peer, SHUT_WR), 0);
	wait_for(fd, POLLIN);
	assert_int_equal(net_dial_again(fd, &other.address), -ESTALE);
	hears(fd, "words");
	assert_int_equal(net_dial_again(fd, &other.address), -ESTALE);
	say(fd, "an answer");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	hears(peer, "an answer");
	dial_again(fd, &other);
	close(fd);
	close(peer);
	close(one.fd);
	close(other.fd);
}

static void who_refuses_is_told_at_once_or_later(void **state)
{
	const struct server one = listen_here(), gone = listen_here();
	int fd = dial_to_speak(&one), r;

	(void)state;
	close(gone.fd);
	exchange(&one, fd, true, "first");
	r = again(fd, &gone);
	if (r == -EINPROGRESS) {
		wait_for(fd, POLLOUT);
		r = net_send(fd, "", 0, 0) == -1 ? -errno : 0;
	}
	assert_int_equal(r, -ECONNREFUSED);
	close(fd);
	close(one.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_over_is_as_good_as_new),
		cmocka_unit_test(what_is_not_over_is_left_alone),
		cmocka_unit_test(who_refuses_is_told_at_once_or_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

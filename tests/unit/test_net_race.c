/* SPDX-License-Identifier: Apache-2.0 */
/* Races on a real loop, over loopback: what listens, what refuses, and what is silent. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ev.h>

#include "net/race.h"

static struct ev_loop *loop;
static int listener, ghosts[2];	/* ghosts fill the queue of a silent listener */
static uint16_t port;

static struct {
	unsigned times;
	int fd;
	struct ip_addr address;
	struct race *cancel;
} result;

static void done(void *data, int fd, const struct ip_addr *address)
{
	assert_ptr_equal(data, &result);
	result.times++;
	result.fd = fd;
	assert_int_equal(fd >= 0, address != NULL);
	if (address)
		result.address = *address;
	race_cancel(result.cancel);
	ev_break(loop, EVBREAK_ONE);
}

/* 127.0.0.n, and ::1 for 0 */
static struct ip_addr local(unsigned n)
{
	unsigned char v4[4] = { 127, 0, 0, (unsigned char)n };
	struct ip_addr v6 = { { [15] = 1 } };

	return n ? ip_from_v4(v4) : v6;
}

static int listen_at(unsigned n, int backlog)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	sa.sin_addr.s_addr = htonl(0x7f000000 + n);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	port = ntohs(sa.sin_port);
	return fd;
}

static int connect_to(unsigned n)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	sa.sin_addr.s_addr = htonl(0x7f000000 + n);
	connect(fd, (struct sockaddr *)&sa, sizeof(sa));
	return fd;
}

static int setup(void **state)
{
	(void)state;
	loop = ev_loop_new(0);
	port = 0;
	listener = listen_at(1, 16);
	memset(&result, 0, sizeof(result));
	result.fd = -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (result.fd >= 0)
		close(result.fd);
	close(listener);
	ev_loop_destroy(loop);
	return 0;
}

static void run(const struct ip_addr *addresses, size_t n)
{
	assert_non_null(race_start(loop, addresses, n, port, done, &result));
	assert_int_equal(result.times, 0);
	ev_run(loop, 0);
	assert_int_equal(result.times, 1);
	/* Nothing of it is left on the loop. */
	assert_false(ev_run(loop, EVRUN_NOWAIT));
}

static int option(int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(result.fd, level, name, &value, &len), 0);
	return value;
}

static void one_that_listens(void **state)
{
	const struct ip_addr a = local(1);

	(void)state;
	run(&a, 1);
	assert_true(result.fd >= 0);
	assert_true(ip_equal(&result.address, &a));
	assert_int_equal(option(SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(IPPROTO_TCP, TCP_KEEPIDLE), 60);
	assert_int_equal(option(IPPROTO_TCP, TCP_KEEPINTVL), 10);
	assert_int_equal(option(IPPROTO_TCP, TCP_KEEPCNT), 6);
	assert_int_equal(option(IPPROTO_TCP, TCP_NODELAY), 1);
}

static void next_at_once_when_one_refuses(void **state)
{
	const struct ip_addr a[] = { local(2), local(3), local(5), local(1) };

	(void)state;
	run(a, 4);
	assert_true(result.fd >= 0);
	assert_true(ip_equal(&result.address, &a[3]));
}

static void all_refuse(void **state)
{
	const struct ip_addr a[] = { local(2), local(3) };

	(void)state;
	run(a, 2);
	assert_int_equal(result.fd, -ECONNREFUSED);
}

static void no_address(void **state)
{
	(void)state;
	run(NULL, 0);
	assert_int_equal(result.fd, -EADDRNOTAVAIL);
}

/* An address that cannot be dialled at all: a broadcast address without SO_BROADCAST. */
static void all_fail_at_once(void **state)
{
	const struct ip_addr a[] = { ip_from_v4("\xff\xff\xff\xff"), ip_from_v4("\xff\xff\xff\xff") };

	(void)state;
	run(a, 2);
	assert_true(result.fd < 0);
}

/* A listener on 127.0.0.n whose queue is full takes no SYN: silence. */
static int silent_at(unsigned n)
{
	int fd = listen_at(n, 0);

	ghosts[0] = connect_to(n);
	ghosts[1] = connect_to(n);
	return fd;
}

static void silent_end(int fd)
{
	close(ghosts[0]);
	close(ghosts[1]);
	close(fd);
}

static void next_after_a_while_when_one_is_silent(void **state)
{
	const struct ip_addr a[] = { local(4), local(1) };
	int silent = silent_at(4);

	(void)state;
	run(a, 2);
	assert_true(result.fd >= 0);
	assert_true(ip_equal(&result.address, &a[1]));
	silent_end(silent);
}

static void families_take_turns(void **state)
{
	/* ::1 is third as given, second as tried: after the silent 127.0.0.4, before 127.0.0.1. */
	const struct ip_addr a[] = { local(4), local(1), local(0) };
	int silent = silent_at(4), one = 1, v6 = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT,
				   .sin6_port = htons(port) };

	(void)state;
	if (v6 == -1 || setsockopt(v6, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == -1 ||
	    bind(v6, (struct sockaddr *)&sa, sizeof(sa)) == -1) {
		silent_end(silent);
		skip(); /* no IPv6 here */
	}
	assert_int_equal(listen(v6, 4), 0);
	run(a, 3);
	assert_true(result.fd >= 0);
	assert_true(ip_equal(&result.address, &a[2]));
	close(v6);
	silent_end(silent);
}

static int open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void sockets_are_bounded(void **state)
{
	struct ip_addr a[40];
	int silent = silent_at(4), before = open_descriptors();
	struct race *r;

	(void)state;
	for (size_t i = 0; i < 40; i++)
		a[i] = local(4);
	r = race_start(loop, a, 40, port, done, &result);
	for (int i = 0; i < 12; i++) {
		/* Twelve delays pass, but only eight sockets are open. */
		ev_sleep(RACE_DELAY_MS / 1000.);
		ev_run(loop, EVRUN_NOWAIT);
	}
	assert_int_equal(open_descriptors() - before, RACE_UNDER_WAY_MAX);
	race_cancel(r);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(result.times, 0);
	silent_end(silent);
}

static void many_silent_ones_hide_none(void **state)
{
	struct ip_addr a[RACE_UNDER_WAY_MAX + 2];
	int silent = silent_at(4);

	(void)state;
	for (size_t i = 0; i <= RACE_UNDER_WAY_MAX; i++)
		a[i] = local(4);
	a[RACE_UNDER_WAY_MAX + 1] = local(1);
	run(a, RACE_UNDER_WAY_MAX + 2);
	assert_true(result.fd >= 0);
	assert_true(ip_equal(&result.address, &a[RACE_UNDER_WAY_MAX + 1]));
	silent_end(silent);
}

/* The next address waits for a descriptor while the first is silent. */
static void without_descriptors(void **state)
{
	const struct ip_addr a[] = { local(4), local(1) };
	int silent = silent_at(4), highest;
	struct rlimit before, none;

	(void)state;
	race_start(loop, a, 2, port, done, &result);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	highest = dup(0);
	close(highest);
	none = before;
	none.rlim_cur = (rlim_t)highest;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(dup(0), -1);
	ev_sleep(RACE_DELAY_MS / 1000.);
	ev_run(loop, EVRUN_ONCE); /* the timer comes, and finds none */
	assert_int_equal(result.times, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	ev_run(loop, 0);
	assert_int_equal(result.times, 1);
	assert_true(result.fd >= 0);
	silent_end(silent);
}

/* None at all: the error says so. */
static void without_any_descriptor(void **state)
{
	const struct ip_addr a[] = { local(1), local(2) };
	struct rlimit before, none;
	int highest = dup(0);

	(void)state;
	close(highest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = (rlim_t)highest;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	race_start(loop, a, 2, port, done, &result);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	ev_run(loop, 0);
	assert_int_equal(result.fd, -EMFILE);
}

static void cancelled(void **state)
{
	const struct ip_addr a[] = { local(1), local(2) };

	(void)state;
	race_cancel(race_start(loop, a, 2, port, done, &result));
	race_cancel(race_start(loop, a, 0, port, done, &result)); /* over already, and not told */
	race_cancel(NULL);
	ev_run(loop, 0);
	assert_int_equal(result.times, 0);
}

static void cancelled_from_done(void **state)
{
	const struct ip_addr a = local(1);

	(void)state;
	result.cancel = race_start(loop, &a, 1, port, done, &result);
	ev_run(loop, 0);
	assert_int_equal(result.times, 1);
	assert_int_equal(option(SOL_SOCKET, SO_KEEPALIVE), 1); /* the caller's, and open */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f, sentence) { sentence, f, setup, teardown, NULL }
		TEST(one_that_listens, "one address that listens, with keep-alive"),
		TEST(next_at_once_when_one_refuses, "a refusal begins the next at once"),
		TEST(all_refuse, "all refuse: the error of the last"),
		TEST(no_address, "no address is a failure, told from the loop"),
		TEST(all_fail_at_once, "all fail within connect(): told from the loop"),
		TEST(next_after_a_while_when_one_is_silent, "silence begins the next after 250 ms"),
		TEST(families_take_turns, "families take turns, the first one's first"),
		TEST(sockets_are_bounded, "no more sockets at one time than there may be"),
		TEST(many_silent_ones_hide_none, "many silent addresses hide none that answers"),
		TEST(without_descriptors, "without a descriptor for the next it is tried again later"),
		TEST(without_any_descriptor, "without any the error says so"),
		TEST(cancelled, "a cancelled race tells nothing and leaves nothing"),
		TEST(cancelled_from_done, "cancelling from done() does nothing"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

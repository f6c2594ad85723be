/* SPDX-License-Identifier: Apache-2.0 */
/* One direction between two descriptors: cuts, slow readers, the end, and bulk through a pipe. */
#include <config.h>

#include "conn/pump.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/cuts.h"

enum { BUFFER = 16384, BULK = 8 << 20 };

/* sender -> from, pump, to -> reader. */
struct line {
	int sender, from, to, reader;
	bool tcp;
	struct pump_kit kit;
	struct pump pump;
};

static unsigned char *bulk; /* BULK bytes, none like its neighbour */

static void nonblock(int fd)
{
	assert_int_not_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), -1);
}

static void tcp_pair(int fds[2])
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(l, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&in, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&in, sizeof(in)), 0);
	fds[1] = accept(l, NULL, NULL);
	assert_int_not_equal(fds[1], -1);
	close(l);
}

static void line_open_ends(struct line *l, bool tcp)
{
	int in[2], out[2];

	if (tcp) {
		tcp_pair(in);
		tcp_pair(out);
	} else {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, in), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, out), 0);
	}
	l->sender = in[0];
	l->from = in[1];
	l->to = out[0];
	l->reader = out[1];
	l->tcp = tcp;
	nonblock(l->sender);
	nonblock(l->from);
	nonblock(l->to);
	nonblock(l->reader);
	pump_init(&l->pump, &l->kit, BUFFER);
}

static void line_open(struct line *l, bool tcp)
{
	pump_kit_init(&l->kit);
	line_open_ends(l, tcp);
}

static void line_close_ends(struct line *l)
{
	pump_fini(&l->pump);
	close(l->sender);
	close(l->from);
	close(l->to);
	close(l->reader);
}

static void line_close(struct line *l)
{
	line_close_ends(l);
	pump_kit_fini(&l->kit);
}

/* A turn in which the loop has told of something to read. */
static enum pump_result turn(struct pump *p, int from, int to)
{
	p->readable = true;
	return pump_run(p, from, to);
}

static int unix_line(void **state)
{
	*state = calloc(1, sizeof(struct line));
	line_open(*state, false);
	return 0;
}

static int tcp_line(void **state)
{
	*state = calloc(1, sizeof(struct line));
	line_open(*state, true);
	return 0;
}

static int line_fini(void **state)
{
	line_close(*state);
	free(*state);
	return 0;
}

/*
 * Sends len bytes cut in one of the ways, in pieces of at most most, ends, and reads them
 * again, at most take bytes for each turn of the pump.  True where a pipe was seen on the way.
 */
static bool relay_cut(struct line *l, size_t len, unsigned way, size_t most, size_t take)
{
	struct cuts cuts = cuts_of(way);
	static unsigned char got[1 << 20];
	size_t sent = 0, seen = 0;
	bool ended = false, piped = false;

	for (;;) {
		ssize_t n;

		if (sent < len) {
			n = send(l->sender, bulk + sent, cuts_next(&cuts, len - sent < most ? len - sent : most),
				 MSG_NOSIGNAL);
			if (n > 0)
				sent += (size_t)n;
		} else if (!ended) {
			assert_int_equal(shutdown(l->sender, SHUT_WR), 0);
			ended = true;
		}
		if (!l->pump.shut) {
			enum pump_result r = turn(&l->pump, l->from, l->to);

			assert_true(r == PUMP_WAIT || r == PUMP_EOF);
			assert_int_equal(r == PUMP_EOF, l->pump.shut);
			piped = piped || l->pump.pipe[1] != 0;
		}
		n = recv(l->reader, got, take < sizeof(got) ? take : sizeof(got), 0);
		if (n == 0)
			break;
		if (n > 0) {
			assert_true(seen + (size_t)n <= sent);
			assert_memory_equal(got, bulk + seen, (size_t)n);
			seen += (size_t)n;
		}
	}
	assert_int_equal(seen, len);
	assert_int_equal(l->pump.total, len);
	assert_null(l->pump.buf);
	assert_int_equal(l->pump.pipe[1], 0);
	return piped;
}

static bool relay_all(struct line *l, size_t len, size_t most, size_t take)
{
	return relay_cut(l, len, CUTS_WHOLE, most, take);
}

static void what_comes_in_one_piece_arrives_whole_and_then_the_end(void **state)
{
	relay_all(*state, 5000, 5000, 5000);
}

static void what_comes_byte_by_byte_arrives_whole_and_then_the_end(void **state)
{
	relay_all(*state, 3000, 1, 7);
}

static void what_comes_cut_at_random_arrives_whole_and_then_the_end(void **state)
{
	struct line *l = *state;

	for (unsigned way = CUTS_RANDOM; way < CUTS_WAYS; way++) {
		relay_cut(l, 1 << 18, way, way % 2 ? 3000 : 40000, 20011);
		line_close(l);
		line_open(l, l->tcp);
	}
}

static void more_than_a_buffer_arrives_at_a_slow_reader_whole(void **state)
{
	relay_all(*state, 1 << 20, 1 << 20, 999);
}

static void bulk_over_tcp_goes_through_a_pipe_and_arrives_unchanged(void **state)
{
	assert_true(relay_all(*state, BULK, BULK, BULK));
}

static void the_pipe_is_drained_before_the_end_is_passed_on(void **state)
{
	assert_true(relay_all(*state, BULK, BULK, 30011));
}

static void where_pipes_cannot_be_had_bulk_is_copied(void **state)
{
	struct rlimit old, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_false(relay_all(*state, BULK, BULK, BULK));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static void a_pump_that_has_moved_all_owns_no_buffer(void **state)
{
	struct line *l = *state;
	char got[8];

	assert_int_equal(send(l->sender, "hello", 5, 0), 5);
	assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_WAIT);
	assert_int_equal(recv(l->reader, got, sizeof(got), 0), 5);
	assert_false(pump_holds(&l->pump));
	assert_null(l->pump.buf);
	assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_WAIT);
	assert_null(l->pump.buf);
}

static void a_reader_that_takes_nothing_stops_the_sender(void **state)
{
	struct line *l = *state;
	ssize_t n;

	/* Until nothing moves any more, over and over. */
	for (unsigned i = 0; i < 2000; i++) {
		(void)!send(l->sender, bulk, 65536, MSG_NOSIGNAL);
		assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_WAIT);
		assert_true(l->pump.len <= BUFFER);
	}
	assert_true(pump_holds(&l->pump));
	n = send(l->sender, bulk, 1, MSG_NOSIGNAL);
	assert_int_equal(n, -1);
	assert_int_equal(errno, EAGAIN);
}

static void the_end_waits_for_bytes_that_the_reader_has_not_taken(void **state)
{
	struct line *l = *state;

	while (!pump_holds(&l->pump)) {
		(void)!send(l->sender, bulk, 65536, MSG_NOSIGNAL);
		assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_WAIT);
	}
	assert_int_equal(shutdown(l->sender, SHUT_WR), 0);
	assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_WAIT);
	assert_false(l->pump.shut);
}

static void the_end_of_one_direction_leaves_the_other_open(void **state)
{
	struct line *l = *state;
	struct pump back;
	char got[8];

	pump_init(&back, &l->kit, BUFFER);
	assert_int_equal(shutdown(l->sender, SHUT_WR), 0);
	assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_EOF);
	assert_int_equal(recv(l->reader, got, sizeof(got), 0), 0);
	assert_int_equal(send(l->reader, "answer", 6, 0), 6);
	assert_int_equal(turn(&back, l->to, l->from), PUMP_WAIT);
	assert_int_equal(recv(l->sender, got, sizeof(got), 0), 6);
	assert_memory_equal(got, "answer", 6);
	pump_fini(&back);
}

static void a_reader_that_is_gone_is_a_write_error(void **state)
{
	struct line *l = *state;

	shutdown(l->reader, SHUT_RDWR);
	assert_int_equal(send(l->sender, "hello", 5, 0), 5);
	assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_WRITE_ERROR);
	assert_int_equal(errno, EPIPE);
}

static void a_pump_that_is_cut_holds_nothing_and_has_ended(void **state)
{
	struct line *l = *state;

	while (!pump_holds(&l->pump)) {
		(void)!send(l->sender, bulk, 65536, MSG_NOSIGNAL);
		assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_WAIT);
	}
	pump_cut(&l->pump);
	assert_false(pump_holds(&l->pump));
	assert_true(l->pump.eof && l->pump.shut && l->pump.cut);
}

static void reserved_room_keeps_what_is_held(void **state)
{
	struct line *l = *state;
	struct pump *p = &l->pump;
	char got[8];

	assert_true(pump_reserve(p, BUFFER));
	memcpy(p->buf, "early", 5);
	p->len = 5;
	assert_true(pump_reserve(p, 2 * BUFFER));
	assert_true(p->room >= 2 * BUFFER + 5);
	assert_memory_equal(p->buf, "early", 5);
	assert_int_equal(turn(p, l->from, l->to), PUMP_WAIT);
	assert_int_equal(recv(l->reader, got, sizeof(got), 0), 5);
	assert_memory_equal(got, "early", 5);
}

static void an_end_known_to_come_with_the_last_bytes_needs_no_read_of_its_own(void **state)
{
	struct line *l = *state;
	char got[8];

	assert_int_equal(send(l->sender, "hello", 5, 0), 5);
	l->pump.exact = l->pump.ending = true;
	/* The sender's end is still open here: were it asked again, it would say EAGAIN. */
	assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_EOF);
	assert_int_equal(recv(l->reader, got, sizeof(got), MSG_WAITALL), 5);
	assert_int_equal(recv(l->reader, got, sizeof(got), 0), 0);
}

static void a_pipe_serves_the_next_who_is_bulk_and_goes_when_asked_to(void **state)
{
	struct line *l = *state;
	unsigned pipes;

	assert_true(relay_all(l, BULK, BULK, BULK));
	pipes = l->kit.n_pipes;
	assert_true(pipes > 0);
	line_close_ends(l);
	line_open_ends(l, true);
	assert_true(relay_all(l, BULK, BULK, BULK));
	assert_int_equal(l->kit.n_pipes, pipes);
	pump_kit_trim(&l->kit);
	assert_int_equal(l->kit.n_pipes, 0);
}

/* Bulk until the pump gathers, or for 64 MiB; true where it does, and holds nothing. */
static bool gather(struct line *l)
{
	static unsigned char got[1 << 20];
	size_t sent = 0, seen = 0;

	l->pump.gathers = true;
	while (sent < 64u << 20 && !(l->pump.gathering && seen == sent)) {
		ssize_t n;

		/* Much at once, so that no read is a short one. */
		while (!l->pump.gathering && (n = send(l->sender, bulk, 1 << 20, MSG_NOSIGNAL)) > 0)
			sent += (size_t)n;
		assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_WAIT);
		while ((n = recv(l->reader, got, sizeof(got), 0)) > 0)
			seen += (size_t)n;
	}
	assert_false(l->pump.gathering && pump_holds(&l->pump));
	return l->pump.gathering;
}

static short told(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };

	assert_int_not_equal(poll(&p, 1, 0), -1);
	return p.revents;
}

static void long_bulk_is_told_of_only_when_there_is_much_until_its_time_is_up(void **state)
{
	struct line *l = *state;
	char got[2048];

	assert_true(gather(l));
	assert_int_equal(send(l->sender, bulk, 1000, 0), 1000);
	assert_int_equal(told(l->from), 0);
	pump_gathered(&l->pump, l->from);
	assert_int_equal(told(l->from), POLLIN);
	assert_true(l->pump.readable && !l->pump.gathering);
	assert_int_equal(pump_run(&l->pump, l->from, l->to), PUMP_WAIT);
	assert_int_equal(recv(l->reader, got, sizeof(got), 0), 1000);
	assert_int_equal(send(l->sender, bulk, 1, 0), 1);
	assert_int_equal(told(l->from), POLLIN);
}

static void an_end_is_told_at_once_to_who_gathers_and_comes_after_what_was_gathered(void **state)
{
	struct line *l = *state;
	char got[2048];

	assert_true(gather(l));
	assert_int_equal(send(l->sender, bulk, 1000, 0), 1000);
	assert_int_equal(shutdown(l->sender, SHUT_WR), 0);
	assert_int_equal(told(l->from), POLLIN | POLLRDHUP);
	l->pump.ending = true;
	assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_EOF);
	assert_int_equal(recv(l->reader, got, sizeof(got), 0), 1000);
	assert_int_equal(recv(l->reader, got, sizeof(got), 0), 0);
}

static void who_may_not_gather_is_told_of_every_byte(void **state)
{
	struct line *l = *state;

	assert_true(relay_all(l, BULK, BULK, BULK));
	assert_false(l->pump.gathering);
}

static int make_bulk(void **state)
{
	uint32_t random = 7;

	(void)state;
	bulk = malloc(BULK);
	for (size_t i = 0; bulk && i < BULK; i++) {
		random = random * 1664525 + 1013904223;
		bulk[i] = (unsigned char)(random >> 24);
	}
	return bulk ? 0 : -1;
}

static int free_bulk(void **state)
{
	(void)state;
	free(bulk);
	return 0;
}

static void no_more_than_the_allowance_is_read(void **state)
{
	struct line *l = *state;
	unsigned char got[100];

	assert_int_equal(send(l->sender, bulk, 100, 0), 100);
	l->pump.allowance = 30;
	assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_WAIT);
	assert_int_equal(l->pump.allowance, 0);
	assert_false(pump_holds(&l->pump));
	assert_int_equal(recv(l->reader, got, sizeof(got), 0), 30);
	assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_WAIT);
	assert_int_equal(recv(l->reader, got, sizeof(got), 0), -1);
	l->pump.allowance = 1000;
	assert_int_equal(turn(&l->pump, l->from, l->to), PUMP_WAIT);
	assert_int_equal(l->pump.allowance, 930);
	assert_int_equal(recv(l->reader, got, sizeof(got), 0), 70);
	assert_memory_equal(got, bulk + 30, 70);
}

#define UNIX(test) cmocka_unit_test_setup_teardown(test, unix_line, line_fini)
#define TCP(test) cmocka_unit_test_setup_teardown(test, tcp_line, line_fini)

static void what_is_pushed_in_front_goes_first(void **state)
{
	struct line *l = *state;
	char got[32];

	assert_true(pump_push_front(&l->pump, "three", 5));
	assert_true(pump_push_front(&l->pump, "two ", 4));
	l->pump.first += 1; /* as if some had been written */
	l->pump.len -= 1;
	assert_true(pump_push_front(&l->pump, "one t", 5));
	assert_int_equal(pump_flush(&l->pump, l->to), 1);
	assert_int_equal(read(l->reader, got, sizeof(got)), 13);
	assert_memory_equal(got, "one two three", 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIX(what_is_pushed_in_front_goes_first),
		UNIX(what_comes_in_one_piece_arrives_whole_and_then_the_end),
		UNIX(what_comes_byte_by_byte_arrives_whole_and_then_the_end),
		UNIX(what_comes_cut_at_random_arrives_whole_and_then_the_end),
		TCP(what_comes_in_one_piece_arrives_whole_and_then_the_end),
		TCP(what_comes_byte_by_byte_arrives_whole_and_then_the_end),
		TCP(what_comes_cut_at_random_arrives_whole_and_then_the_end),
		UNIX(more_than_a_buffer_arrives_at_a_slow_reader_whole),
		TCP(bulk_over_tcp_goes_through_a_pipe_and_arrives_unchanged),
		TCP(the_pipe_is_drained_before_the_end_is_passed_on),
		TCP(where_pipes_cannot_be_had_bulk_is_copied),
		UNIX(a_pump_that_has_moved_all_owns_no_buffer),
		UNIX(a_reader_that_takes_nothing_stops_the_sender),
		UNIX(the_end_waits_for_bytes_that_the_reader_has_not_taken),
		UNIX(the_end_of_one_direction_leaves_the_other_open),
		UNIX(a_reader_that_is_gone_is_a_write_error),
		UNIX(a_pump_that_is_cut_holds_nothing_and_has_ended),
		TCP(a_pump_that_is_cut_holds_nothing_and_has_ended),
		UNIX(reserved_room_keeps_what_is_held),
		TCP(an_end_known_to_come_with_the_last_bytes_needs_no_read_of_its_own),
		TCP(a_pipe_serves_the_next_who_is_bulk_and_goes_when_asked_to),
		TCP(long_bulk_is_told_of_only_when_there_is_much_until_its_time_is_up),
		TCP(an_end_is_told_at_once_to_who_gathers_and_comes_after_what_was_gathered),
		TCP(who_may_not_gather_is_told_of_every_byte),
		UNIX(no_more_than_the_allowance_is_read),
		TCP(no_more_than_the_allowance_is_read),
	};

	return cmocka_run_group_tests_name("conn/pump", tests, make_bulk, free_bulk);
}

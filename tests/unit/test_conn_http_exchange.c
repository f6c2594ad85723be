/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exchange between a client and a server that are two strings.  Every scene is
 * played with the bytes whole, one by one and cut at random places, which must give the
 * same bytes.
 */
#include <config.h>

#include "conn/http_exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/cuts.h"

enum { OUT_MAX = 65536 };

struct scene {
	struct http_exchange x;
	struct cuts cuts;	/* of what is read and written */
	bool forwarded, keep_server;
	unsigned routed, over, retries;
	enum http_step last;
	char to_client[OUT_MAX], to_server[OUT_MAX];
	size_t client_len, server_len;
};

static const struct http_forward_request plain = { .keep_alive = true };

static bool drain_to(struct scene *s, enum http_side to, char *out, size_t *len)
{
	struct iovec iov[2];
	int n = http_exchange_output(&s->x, to, iov);
	size_t sent = 0, most = 0;

	for (int i = 0; i < n; i++)
		most += iov[i].iov_len;
	if (most == 0)
		return false;
	most = cuts_next(&s->cuts, most);
	for (int i = 0; i < n && sent < most; i++) {
		size_t piece = iov[i].iov_len < most - sent ? iov[i].iov_len : most - sent;

		assert_true(*len + piece < OUT_MAX);
		memcpy(out + *len, iov[i].iov_base, piece);
		*len += piece;
		sent += piece;
	}
	http_exchange_sent(&s->x, to, sent);
	return true;
}

/* Steps and writes until only reading helps. */
static void play(struct scene *s)
{
	for (;;) {
		s->last = http_exchange_step(&s->x);
		switch (s->last) {
		case HTTP_STEP_ROUTE:
			s->routed++;
			assert_int_equal(http_exchange_forward(&s->x, &plain, s->keep_server), 0);
			continue;
		case HTTP_STEP_RETRY:
			s->retries++;
			continue;
		case HTTP_STEP_OVER:
			s->over++;
			s->keep_server = http_exchange_keeps_server(&s->x);
			http_exchange_next(&s->x);
			continue;
		case HTTP_STEP_TUNNEL:
			continue;
		case HTTP_STEP_CLOSE:
		case HTTP_STEP_ABORT:
			return;
		case HTTP_STEP_WAIT:
			break;
		}
		bool moved = drain_to(s, HTTP_CLIENT, s->to_client, &s->client_len);

		moved |= drain_to(s, HTTP_SERVER, s->to_server, &s->server_len);
		if (!moved)
			return;
	}
}

/* Sends text from side as far as it is read; what was not is returned. */
static const char *say(struct scene *s, enum http_side side, const char *text)
{
	size_t size;
	char *room;

	while (*text && (room = http_exchange_room(&s->x, side, &size))) {
		size_t n = cuts_next(&s->cuts, strnlen(text, size));

		memcpy(room, text, n);
		http_exchange_received(&s->x, side, n);
		text += n;
		play(s);
	}
	return text;
}

static void end(struct scene *s, enum http_side side)
{
	size_t size;

	if (http_exchange_room(&s->x, side, &size))
		http_exchange_received(&s->x, side, 0);
	play(s);
}

static struct scene *scene_new(unsigned way)
{
	struct scene *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	http_exchange_init(&s->x, 1024);
	s->cuts = cuts_of(way);
	return s;
}

static void scene_free(struct scene *s)
{
	http_exchange_fini(&s->x);
	free(s);
}

static void assert_client(struct scene *s, const char *want)
{
	s->to_client[s->client_len] = 0;
	assert_string_equal(s->to_client, want);
}

static void assert_server(struct scene *s, const char *want)
{
	s->to_server[s->server_len] = 0;
	assert_string_equal(s->to_server, want);
}

#define FOR_EACH_CUT(s) \
	for (unsigned way = 0; way < CUTS_WAYS; way++) \
		for (struct scene *s = scene_new(way); s; scene_free(s), s = NULL)

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK(n, body) "HTTP/1.1 200 OK\r\nContent-Length: " n "\r\n\r\n" body

static void requests_on_one_connection_are_answered_in_turn(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		const char *rest = say(s, HTTP_CLIENT, GET("/1") GET("/2"));

		say(s, HTTP_SERVER, OK("3", "one"));
		say(s, HTTP_CLIENT, rest);
		say(s, HTTP_SERVER, OK("3", "two"));
		assert_client(s, OK("3", "one") OK("3", "two"));
		assert_server(s, GET("/1") GET("/2"));
		assert_int_equal(s->over, 2);
		assert_true(s->keep_server);
		assert_int_equal(s->last, HTTP_STEP_WAIT);
		end(s, HTTP_CLIENT);
		assert_int_equal(s->last, HTTP_STEP_CLOSE);
	}
}

static void chunks_and_trailers_pass_both_ways(void **state)
{
	const char *post = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
			   "5;x=y\r\nhello\r\n0\r\nX-T: 1\r\n\r\n";
	const char *answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			     "3\r\nabc\r\n0\r\nX-U: 2\r\n\r\n";

	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, post);
		say(s, HTTP_SERVER, answer);
		assert_server(s, post);
		assert_client(s, answer);
		assert_int_equal(s->over, 1);
		assert_true(s->keep_server);
	}
}

static void interim_responses_pass_before_the_final_one(void **state)
{
	const char *post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";

	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, post);
		say(s, HTTP_SERVER, "HTTP/1.1 100 Continue\r\n\r\n");
		assert_client(s, "HTTP/1.1 100 Continue\r\n\r\n");
		say(s, HTTP_CLIENT, "hi");
		say(s, HTTP_SERVER, "HTTP/1.1 103 Early Hints\r\n\r\n" OK("0", ""));
		assert_client(s, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" OK("0", ""));
		assert_int_equal(s->over, 1);
	}
}

static void head_204_and_304_have_no_body(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
		say(s, HTTP_SERVER, OK("99", ""));
		say(s, HTTP_CLIENT, GET("/"));
		say(s, HTTP_SERVER, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
		say(s, HTTP_CLIENT, GET("/"));
		say(s, HTTP_SERVER, "HTTP/1.1 204 No Content\r\n\r\n");
		assert_int_equal(s->over, 3);
		assert_true(s->keep_server);
	}
}

static void an_upgrade_becomes_a_tunnel(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
		say(s, HTTP_SERVER, "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET down");
		say(s, HTTP_CLIENT, "\r\n\r\nup");
		assert_client(s, "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET down");
		assert_server(s, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\r\n\r\nup");
		assert_int_equal(s->x.stage, HTTP_STAGE_TUNNEL);
	}
}

static void a_switch_nobody_asked_for_is_502(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, GET("/"));
		say(s, HTTP_SERVER, "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
		assert_client(s, http_answer(502, false).ptr);
		assert_int_equal(s->last, HTTP_STEP_CLOSE);
	}
}

static void malformed_requests_are_answered_and_closed(void **state)
{
	static const struct {
		const char *text;
		unsigned status;
	} cases[] = {
		{ "GET / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n y\r\n\r\n", 400 },
		{ "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405 },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		FOR_EACH_CUT(s) {
			say(s, HTTP_CLIENT, cases[i].text);
			assert_client(s, http_answer(cases[i].status, false).ptr);
			assert_int_equal(s->last, HTTP_STEP_CLOSE);
			assert_int_equal(s->routed, 0);
			assert_int_equal(s->x.status, cases[i].status);
		}
	}
}

static void a_chunk_that_wraps_is_400(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
				    "10000000000000000\r\n");
		assert_client(s, http_answer(400, false).ptr);
		assert_int_equal(s->last, HTTP_STEP_CLOSE);
	}
}

static void a_head_past_64_kib_is_431(void **state)
{
	static char text[70000];

	(void)state;
	strcpy(text, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
	memset(text + strlen(text), 'x', sizeof(text) - 100);
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, text);
		assert_client(s, http_answer(431, false).ptr);
	}
}

static void a_response_that_breaks_is_never_joined_to_the_next(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, GET("/"));
		say(s, HTTP_SERVER, OK("9", "short"));
		end(s, HTTP_SERVER);
		assert_int_equal(s->last, HTTP_STEP_ABORT);
		assert_client(s, OK("9", "short"));
	}
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, GET("/"));
		say(s, HTTP_SERVER, "garbage\r\n\r\n");
		assert_client(s, http_answer(502, false).ptr);
	}
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, GET("/"));
		say(s, HTTP_SERVER, OK("2", "ok") "HTTP/1.1 200 forged\r\n\r\n");
		say(s, HTTP_CLIENT, GET("/2"));
		assert_client(s, OK("2", "ok"));
		assert_false(http_exchange_keeps_server(&s->x));
	}
}

static void a_response_without_length_ends_with_the_connection(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, GET("/"));
		say(s, HTTP_SERVER, "HTTP/1.0 200 OK\r\n\r\nall of it");
		end(s, HTTP_SERVER);
		assert_client(s, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
		assert_int_equal(s->last, HTTP_STEP_CLOSE);
		assert_false(s->keep_server);
	}
}

static void http_1_0_gets_one_answer_and_no_interim(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
		say(s, HTTP_SERVER, "HTTP/1.1 103 E\r\n\r\n" OK("2", "ok"));
		assert_client(s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
		assert_int_equal(s->last, HTTP_STEP_CLOSE);
	}
}

static void an_answer_before_the_body_ended_closes_behind_it(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
		say(s, HTTP_SERVER, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
		assert_client(s, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
		assert_int_equal(s->last, HTTP_STEP_CLOSE);
		assert_false(s->keep_server);
	}
}

static void an_idle_server_that_closed_is_tried_once_more(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, GET("/1"));
		say(s, HTTP_SERVER, OK("0", ""));
		say(s, HTTP_CLIENT, GET("/2"));
		end(s, HTTP_SERVER);
		assert_int_equal(s->retries, 1);
		assert_server(s, GET("/1") GET("/2") GET("/2"));
		end(s, HTTP_SERVER);
		assert_int_equal(s->retries, 1);
		assert_int_equal(s->last, HTTP_STEP_CLOSE);
		assert_int_equal(s->x.status, 502);
	}
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, GET("/1"));
		say(s, HTTP_SERVER, OK("0", ""));
		say(s, HTTP_CLIENT, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
		end(s, HTTP_SERVER);
		assert_int_equal(s->retries, 0);
		assert_int_equal(s->x.status, 502);
	}
}

static void an_idle_server_that_speaks_is_not_kept(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, GET("/1"));
		say(s, HTTP_SERVER, OK("0", ""));
		assert_true(http_exchange_keeps_server(&s->x));
		say(s, HTTP_SERVER, "H");
		assert_false(http_exchange_keeps_server(&s->x));
	}
}

static void a_client_that_ends_inside_its_body_aborts(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
		end(s, HTTP_CLIENT);
		assert_int_equal(s->last, HTTP_STEP_ABORT);
		assert_client(s, "");
	}
}

static void draining_says_close_with_the_next_answer(void **state)
{
	(void)state;
	FOR_EACH_CUT(s) {
		say(s, HTTP_CLIENT, GET("/"));
		http_exchange_drain(&s->x);
		say(s, HTTP_SERVER, OK("0", ""));
		assert_client(s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
		assert_int_equal(s->last, HTTP_STEP_CLOSE);
	}
}

static void a_slow_reader_bounds_what_is_held(void **state)
{
	struct scene *s = scene_new(OUT_MAX);
	struct iovec iov[2];
	size_t size, held = 0;
	char *room;

	(void)state;
	say(s, HTTP_CLIENT, GET("/"));
	say(s, HTTP_SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
	/* The client takes nothing from here on. */
	while ((room = http_exchange_room(&s->x, HTTP_SERVER, &size))) {
		memset(room, 'x', size);
		http_exchange_received(&s->x, HTTP_SERVER, size);
		http_exchange_step(&s->x);
		held += size;
		assert_true(held <= 4096);
	}
	assert_true(held > 0);
	assert_int_equal(http_exchange_output(&s->x, HTTP_CLIENT, iov), 1);
	scene_free(s);
}

/* Reads requests as a proxy does: CONNECT is the caller's. */
static void read_all_of(struct http_exchange *x, const char *text)
{
	size_t len = strlen(text), size;

	while (len > 0) {
		char *room = http_exchange_room(x, HTTP_CLIENT, &size);

		assert_non_null(room);
		size = size < len ? size : len;
		memcpy(room, text, size);
		http_exchange_received(x, HTTP_CLIENT, size);
		text += size;
		len -= size;
	}
}

static void connect_hands_over_what_is_behind_it(void **state)
{
	const char *const rests[] = { "", "\x16\x03\x01hello", GET("/") };

	(void)state;
	for (size_t i = 0; i < sizeof(rests) / sizeof(rests[0]); i++) {
		struct http_exchange x;
		char text[256];
		struct slice rest;

		http_exchange_init(&x, 4096);
		x.takes_connect = true;
		snprintf(text, sizeof(text), "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n%s", rests[i]);
		read_all_of(&x, text);
		assert_int_equal(http_exchange_step(&x), HTTP_STEP_ROUTE);
		rest = http_exchange_connect(&x);
		assert_true(slice_equal(rest, slice_of_string(rests[i])));
		http_exchange_fini(&x);
	}
}

static void a_refused_connect_is_told_why(void **state)
{
	struct http_exchange x;
	struct iovec iov[2], none[2];

	(void)state;
	http_exchange_init(&x, 4096);
	x.takes_connect = true;
	read_all_of(&x, "CONNECT a:443 HTTP/1.1\r\n\r\n" GET("/"));
	assert_int_equal(http_exchange_step(&x), HTTP_STEP_ROUTE);
	http_exchange_connect(&x);
	http_exchange_explain(&x, 403, "a rule");
	assert_int_equal(http_exchange_output(&x, HTTP_CLIENT, iov), 1);
	assert_int_equal(http_exchange_output(&x, HTTP_SERVER, none), 0);
	assert_non_null(memmem(iov[0].iov_base, iov[0].iov_len, "\r\nX-Teeproxy-Reason: a rule\r\n", 29));
	assert_string_equal(x.why, "a rule");
	http_exchange_sent(&x, HTTP_CLIENT, iov[0].iov_len);
	assert_int_equal(http_exchange_step(&x), HTTP_STEP_CLOSE);
	http_exchange_fini(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_on_one_connection_are_answered_in_turn),
		cmocka_unit_test(connect_hands_over_what_is_behind_it),
		cmocka_unit_test(a_refused_connect_is_told_why),
		cmocka_unit_test(chunks_and_trailers_pass_both_ways),
		cmocka_unit_test(interim_responses_pass_before_the_final_one),
		cmocka_unit_test(head_204_and_304_have_no_body),
		cmocka_unit_test(an_upgrade_becomes_a_tunnel),
		cmocka_unit_test(a_switch_nobody_asked_for_is_502),
		cmocka_unit_test(malformed_requests_are_answered_and_closed),
		cmocka_unit_test(a_chunk_that_wraps_is_400),
		cmocka_unit_test(a_head_past_64_kib_is_431),
		cmocka_unit_test(a_response_that_breaks_is_never_joined_to_the_next),
		cmocka_unit_test(a_response_without_length_ends_with_the_connection),
		cmocka_unit_test(http_1_0_gets_one_answer_and_no_interim),
		cmocka_unit_test(an_answer_before_the_body_ended_closes_behind_it),
		cmocka_unit_test(an_idle_server_that_closed_is_tried_once_more),
		cmocka_unit_test(an_idle_server_that_speaks_is_not_kept),
		cmocka_unit_test(a_client_that_ends_inside_its_body_aborts),
		cmocka_unit_test(draining_says_close_with_the_next_answer),
		cmocka_unit_test(a_slow_reader_bounds_what_is_held),
	};

	return cmocka_run_group_tests_name("conn/http_exchange", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/cuts.h"
#include "wire/http_head.h"

static struct http_head h;

/* Feeds an exact heap copy, which grows in one of the ways. */
static enum http_head_result feed(struct slice text, unsigned way)
{
	struct cuts cuts = cuts_of(way);
	enum http_head_result r;

	for (size_t n = cuts_next(&cuts, text.len);; n += cuts_next(&cuts, text.len - n)) {
		char *exact = malloc(n);

		memcpy(exact, text.ptr, n);
		r = http_head_parse(&h, exact, n);
		free(exact);
		if (r != HTTP_HEAD_MORE || n == text.len)
			return r;
	}
}

static enum http_head_result request_of(struct slice text)
{
	enum http_head_result whole;
	uint16_t status;

	http_head_init_request(&h, HTTP_HEAD_MAX);
	whole = feed(text, CUTS_WHOLE);
	status = h.status;
	for (unsigned way = CUTS_BYTES; way < CUTS_WAYS; way++) {
		http_head_init_request(&h, HTTP_HEAD_MAX);
		assert_int_equal(feed(text, way), whole);
		assert_int_equal(status, h.status);
	}
	return whole;
}

static enum http_head_result request(const char *text)
{
	return request_of(slice_of_string(text));
}

static enum http_head_result response(const char *text, enum http_method method)
{
	enum http_head_result whole;

	http_head_init_response(&h, HTTP_HEAD_MAX, method);
	whole = feed(slice_of_string(text), CUTS_WHOLE);
	for (unsigned way = CUTS_BYTES; way < CUTS_WAYS; way++) {
		http_head_init_response(&h, HTTP_HEAD_MAX, method);
		assert_int_equal(feed(slice_of_string(text), way), whole);
	}
	return whole;
}

static void a_request_is_taken_apart(void **state)
{
	const char *text = "\r\nPOST /a?b HTTP/1.1\r\nHost: Tee-K.Example:80\r\nContent-Length:  12 \t\r\n"
			   "X-Forwarded-For: 1.2.3.4\r\nEmpty:\r\n\r\nbody";

	(void)state;
	assert_int_equal(request(text), HTTP_HEAD_FOUND);
	assert_int_equal(h.len, strlen(text) - 4);
	assert_int_equal(h.method, HTTP_METHOD_POST);
	assert_int_equal(h.form, HTTP_TARGET_ORIGIN);
	assert_true(slice_equal(http_span_slice(text, h.path), SLICE_LITERAL("/a?b")));
	assert_true(slice_equal(http_span_slice(text, h.first_line), SLICE_LITERAL("POST /a?b HTTP/1.1")));
	assert_string_equal(h.host.name, "tee-k.example");
	assert_int_equal(h.framing, HTTP_FRAMING_LENGTH);
	assert_int_equal(h.content_length, 12);
	assert_true(h.keep_alive);
	assert_int_equal(h.n_fields, 4);
	assert_int_equal(h.fields[2].id, HTTP_FIELD_X_FORWARDED_FOR);
	assert_true(slice_equal(http_field_value(text, &h.fields[2]), SLICE_LITERAL("1.2.3.4")));
	assert_int_equal(h.fields[3].value_len, 0);
}

static void the_authority_of_an_absolute_target_wins_over_host(void **state)
{
	(void)state;
	assert_int_equal(request("GET HTTP://a.b:8080?q HTTP/1.1\r\nHost: c.d\r\n\r\n"), HTTP_HEAD_FOUND);
	assert_string_equal(h.host.name, "a.b");
	assert_int_equal(h.host.port, 8080);
	assert_int_equal(h.path.len, 2);
	assert_int_equal(request("GET http://a HTTP/1.1\r\nHost: c d\r\n\r\n"), HTTP_HEAD_BAD);
	assert_int_equal(request("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_HEAD_BAD);
	assert_int_equal(request("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_HEAD_FOUND);
	assert_true(h.is_https_uri);
}

static void the_forms_of_targets_belong_to_their_methods(void **state)
{
	(void)state;
	assert_int_equal(request("CONNECT a:443 HTTP/1.1\r\n\r\n"), HTTP_HEAD_FOUND);
	assert_int_equal(h.form, HTTP_TARGET_AUTHORITY);
	assert_int_equal(h.host.port, 443);
	assert_int_equal(request("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_HEAD_BAD);
	assert_int_equal(request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_HEAD_FOUND);
	assert_int_equal(h.form, HTTP_TARGET_ASTERISK);
	assert_int_equal(request("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_HEAD_BAD);
	assert_int_equal(request("GET a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_HEAD_BAD);
}

static void what_smuggles_is_refused_with_its_status(void **state)
{
	static const struct {
		uint16_t status;
		const char *text;
	} rows[] = {
		{ 400, "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n" },
		{ 400, "Content-Length: 1\r\nContent-Length: 2\r\n" },
		{ 400, "Content-Length: 5\r\nContent-Length: 5\r\n" },
		{ 400, "Content-Length: +5\r\n" },
		{ 400, "Content-Length: 5, 5\r\n" },
		{ 400, "Content-Length: 0x5\r\n" },
		{ 400, "Content-Length: -1\r\n" },
		{ 400, "Content-Length:\r\n" },
		{ 400, "Content-Length: 9223372036854775808\r\n" },
		{ 400, "Content-Length: 99999999999999999999999\r\n" },
		{ 400, "Content-Length : 5\r\n" },
		{ 400, "A: b\r\n c\r\n" },
		{ 400, " A: b\r\n" },
		{ 400, "A: b\rc\r\n" },
		{ 400, "A: b\n" },
		{ 400, "A: b\x01\r\n" },
		{ 400, "A: b\x7f\r\n" },
		{ 400, "A\r\n" },
		{ 400, ": b\r\n" },
		{ 400, "A(: b\r\n" },
		{ 400, "Host: b\r\n" },
		{ 400, "Transfer-Encoding: chunked, gzip\r\n" },
		{ 400, "Transfer-Encoding: chunked, chunked\r\n" },
		{ 400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" },
		{ 400, "Transfer-Encoding:\r\n" },
		{ 501, "Transfer-Encoding: gzip, chunked\r\n" },
		{ 501, "Transfer-Encoding: identity\r\n" },
		{ 501, "Transfer-Encoding: xchunked\r\n" },
		{ 501, "Transfer-Encoding: \"chunked\"\r\n" },
		{ 400, "Transfer-Encoding: \x0b" "chunked\r\n" },
		{ 400, "Connection: close, Content-Length\r\nContent-Length: 1\r\n" },
		{ 400, "Connection: host\r\n" },
	};
	char text[500];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", rows[i].text);
		if (request(text) != HTTP_HEAD_BAD || h.status != rows[i].status || !h.why)
			fail_msg("row %zu: status %u", i, h.status);
	}
	assert_int_equal(request_of(SLICE_LITERAL("GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n")), HTTP_HEAD_BAD);
	assert_string_equal(h.why, "a NUL in the head");
}

static void malformed_request_lines_are_refused(void **state)
{
	static const struct {
		uint16_t status;
		const char *line;
	} rows[] = {
		{ 400, "GET  / HTTP/1.1" }, { 400, "GET / HTTP/1.1 " }, { 400, "GET /a b HTTP/1.1" },
		{ 400, "GET /" }, { 400, "GET\t/ HTTP/1.1" }, { 400, " GET / HTTP/1.1" },
		{ 400, "GET / http/1.1" }, { 400, "GET / HTTP/1.10" }, { 400, "GET / HTTP/11" },
		{ 400, "GET /#a HTTP/1.1" }, { 400, "G(T / HTTP/1.1" }, { 400, "GET /\x7f HTTP/1.1" },
		{ 400, "\x16\x03\x01" }, { 400, "GET ftp://a/ HTTP/1.1" }, { 400, "GET http:/// HTTP/1.1" },
		{ 505, "PRI * HTTP/2.0" }, { 505, "GET / HTTP/2.0" }, { 505, "GET / HTTP/0.9" },
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(text, sizeof(text), "%s\r\nHost: a\r\n\r\n", rows[i].line);
		if (request(text) != HTTP_HEAD_BAD || h.status != rows[i].status)
			fail_msg("row %zu: status %u", i, h.status);
	}
	/* TLS on the wrong port is told at its first byte. */
	assert_int_equal(request("\x16"), HTTP_HEAD_BAD);
}

static void a_host_is_needed_in_1_1_alone(void **state)
{
	(void)state;
	assert_int_equal(request("GET / HTTP/1.1\r\n\r\n"), HTTP_HEAD_BAD);
	assert_int_equal(request("GET / HTTP/1.1\r\nHost:\r\n\r\n"), HTTP_HEAD_BAD);
	assert_int_equal(request("GET / HTTP/1.1\r\nHost: a..b\r\n\r\n"), HTTP_HEAD_BAD);
	assert_int_equal(request("GET / HTTP/1.0\r\n\r\n"), HTTP_HEAD_FOUND);
	assert_false(h.has_host);
	assert_false(h.keep_alive);
	assert_int_equal(request("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), HTTP_HEAD_BAD);
	assert_int_equal(request("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), HTTP_HEAD_FOUND);
	assert_true(h.keep_alive);
}

static void hop_by_hop_fields_are_marked_with_what_connection_lists(void **state)
{
	(void)state;
	assert_int_equal(request("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nConnection: x-a ,, Upgrade\r\n"
				 "Upgrade: websocket\r\nTE: trailers\r\nX-B: 1\r\nExpect: 100-Continue\r\n\r\n"),
			 HTTP_HEAD_FOUND);
	assert_false(h.fields[0].hop_by_hop);
	assert_true(h.fields[1].hop_by_hop);
	assert_true(h.fields[2].hop_by_hop);
	assert_true(h.fields[3].hop_by_hop);
	assert_true(h.fields[4].hop_by_hop);
	assert_false(h.fields[5].hop_by_hop);
	assert_true(h.wants_upgrade);
	assert_true(h.expects_continue);
	assert_true(h.keep_alive);
	assert_int_equal(request("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n"),
			 HTTP_HEAD_FOUND);
	assert_false(h.keep_alive);
}

static void a_head_past_its_limit_or_with_too_many_fields_is_431(void **state)
{
	static char text[80000];
	size_t n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\nA: ");

	(void)state;
	memset(text + n, 'a', 65536 - n - 4);
	memcpy(text + 65532, "\r\n\r\n", 5);
	assert_int_equal(request(text), HTTP_HEAD_FOUND);
	assert_int_equal(h.len, 65536);
	memset(text + n, 'a', 65536 - n);
	memcpy(text + 65533, "\r\n\r\n", 5);
	http_head_init_request(&h, HTTP_HEAD_MAX);
	assert_int_equal(feed(slice_of_string(text), CUTS_WHOLE), HTTP_HEAD_BAD);
	assert_int_equal(h.status, 431);
	n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (int i = 0; i < HTTP_FIELDS_MAX; i++)
		n += (size_t)sprintf(text + n, "A: b\r\n");
	assert_int_equal(request(text), HTTP_HEAD_BAD);
	assert_int_equal(h.status, 431);
}

static void answers_are_framed_by_their_code_and_the_request(void **state)
{
	static const struct {
		const char *text;
		enum http_method method;
		enum http_framing framing;
	} rows[] = {
		{ "200 OK\r\nContent-Length: 3", HTTP_METHOD_GET, HTTP_FRAMING_LENGTH },
		{ "200 OK\r\nContent-Length: 3", HTTP_METHOD_HEAD, HTTP_FRAMING_NONE },
		{ "200\r\nTransfer-Encoding: Chunked", HTTP_METHOD_GET, HTTP_FRAMING_CHUNKED },
		{ "200 \r\nA: b", HTTP_METHOD_GET, HTTP_FRAMING_CLOSE },
		{ "204 No\r\nContent-Length: 0", HTTP_METHOD_GET, HTTP_FRAMING_NONE },
		{ "304 No\r\nContent-Length: 30", HTTP_METHOD_GET, HTTP_FRAMING_NONE },
		{ "103 Early Hints\r\nLink: a", HTTP_METHOD_GET, HTTP_FRAMING_NONE },
		{ "101 Up\r\nUpgrade: websocket\r\nConnection: upgrade", HTTP_METHOD_GET, HTTP_FRAMING_NONE },
		{ "200 OK\r\nA: b", HTTP_METHOD_CONNECT, HTTP_FRAMING_NONE },
		{ "403 No\r\nContent-Length: 1", HTTP_METHOD_CONNECT, HTTP_FRAMING_LENGTH },
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n\r\n", rows[i].text);
		if (response(text, rows[i].method) != HTTP_HEAD_FOUND || h.framing != rows[i].framing)
			fail_msg("row %zu: %s", i, h.why);
	}
}

static void answers_that_break_their_framing_are_502(void **state)
{
	static const char *const rows[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.1 103 No\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 99 No\r\n\r\n", "HTTP/1.1 099 No\r\n\r\n", "HTTP/1.1 2000 No\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\n\n", "220 smtp\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (response(rows[i], HTTP_METHOD_GET) != HTTP_HEAD_BAD || h.status != 502)
			fail_msg("row %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_taken_apart),
		cmocka_unit_test(the_authority_of_an_absolute_target_wins_over_host),
		cmocka_unit_test(the_forms_of_targets_belong_to_their_methods),
		cmocka_unit_test(what_smuggles_is_refused_with_its_status),
		cmocka_unit_test(malformed_request_lines_are_refused),
		cmocka_unit_test(a_host_is_needed_in_1_1_alone),
		cmocka_unit_test(hop_by_hop_fields_are_marked_with_what_connection_lists),
		cmocka_unit_test(a_head_past_its_limit_or_with_too_many_fields_is_431),
		cmocka_unit_test(answers_are_framed_by_their_code_and_the_request),
		cmocka_unit_test(answers_that_break_their_framing_are_502),
	};

	return cmocka_run_group_tests_name("wire/http_head", tests, NULL, NULL);
}

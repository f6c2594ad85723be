/* SPDX-License-Identifier: Apache-2.0 */
/* Heads in, heads out, compared to the byte. */
#include <config.h>

#include "wire/http_forward.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct http_head head;

static void parse_request(const char *text)
{
	http_head_init_request(&head, HTTP_HEAD_MAX);
	assert_int_equal(http_head_parse(&head, text, strlen(text)), HTTP_HEAD_FOUND);
}

static void assert_bytes(const char *got, size_t len, const char *want)
{
	char *text = strndup(got, len);

	assert_string_equal(text, want);
	assert_int_equal(len, strlen(want));
	free(text);
}

static void assert_request(const char *in, const struct http_forward_request *f, const char *want)
{
	char *out;

	parse_request(in);
	out = malloc(http_forward_request_max(&head, f));
	assert_non_null(out);
	assert_bytes(out, http_forward_request(&head, in, f, out), want);
	free(out);
}

static void assert_response(const char *in, bool keep_alive, const char *want)
{
	char *out;

	http_head_init_response(&head, HTTP_HEAD_MAX, HTTP_METHOD_GET);
	assert_int_equal(http_head_parse(&head, in, strlen(in)), HTTP_HEAD_FOUND);
	out = malloc(http_forward_response_max(&head));
	assert_non_null(out);
	assert_bytes(out, http_forward_response(&head, in, keep_alive, out), want);
	free(out);
}

static const struct http_forward_request plain = { .keep_alive = true };
static const struct http_forward_request forwarded = {
	.forwarded = true, .client = SLICE_LITERAL("192.0.2.7"), .keep_alive = true,
};

static void a_plain_request_goes_on_unchanged(void **state)
{
	const char *text = "POST /a/%2e?b=c HTTP/1.1\r\nHost: A.Example:80\r\nX-Odd:  v \r\n"
			   "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n";

	(void)state;
	assert_request(text, &plain, text);
}

static void fields_of_one_hop_stay_behind(void **state)
{
	(void)state;
	assert_request("GET / HTTP/1.1\r\nConnection: x-gone, keep-alive\r\nX-Gone: 1\r\nHost: a\r\n"
		       "Keep-Alive: 5\r\nTE: trailers\r\nX-Kept: 2\r\nProxy-Connection: close\r\n"
		       "Proxy-Authorization: secret\r\nUpgrade: h2c\r\n\r\n",
		       &plain, "GET / HTTP/1.1\r\nHost: a\r\nX-Kept: 2\r\n\r\n");
}

static void an_absolute_target_becomes_host_and_origin_form(void **state)
{
	(void)state;
	assert_request("GET http://B.example:8080/x?y HTTP/1.1\r\nHost: a.example\r\nA: 1\r\n\r\n", &plain,
		       "GET /x?y HTTP/1.1\r\nHost: b.example:8080\r\nA: 1\r\n\r\n");
	assert_request("GET http://b.example?q HTTP/1.1\r\nHost: b.example\r\n\r\n", &plain,
		       "GET /?q HTTP/1.1\r\nHost: b.example\r\n\r\n");
	assert_request("GET http://[2001:db8::1]/ HTTP/1.1\r\nHost: a\r\n\r\n", &plain,
		       "GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n");
	assert_request("OPTIONS http://b.example HTTP/1.1\r\nHost: b.example\r\n\r\n", &plain,
		       "OPTIONS * HTTP/1.1\r\nHost: b.example\r\n\r\n");
}

static void to_a_proxy_the_target_stays_absolute(void **state)
{
	const struct http_forward_request to_proxy = { .keep_alive = true, .to_proxy = true };

	(void)state;
	assert_request("GET http://B.example:8080/x?y HTTP/1.1\r\nHost: evil\r\nProxy-Authorization: s\r\nA: 1\r\n\r\n",
		       &to_proxy,
		       "GET http://b.example:8080/x?y HTTP/1.1\r\nHost: b.example:8080\r\nA: 1\r\n\r\n");
	assert_request("GET http://[2001:db8::1] HTTP/1.1\r\nHost: a\r\n\r\n", &to_proxy,
		       "GET http://[2001:db8::1] HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n");
	assert_request("OPTIONS http://b.example HTTP/1.0\r\n\r\n", &to_proxy,
		       "OPTIONS http://b.example HTTP/1.0\r\nHost: b.example\r\nConnection: close\r\n\r\n");
}

static void an_asterisk_stays(void **state)
{
	(void)state;
	assert_request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &plain,
		       "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void forwarded_for_is_appended_and_the_others_replaced(void **state)
{
	(void)state;
	assert_request("GET / HTTP/1.1\r\nHost: A:81\r\nX-Forwarded-For: 10.0.0.1\r\n"
		       "X-Forwarded-Proto: https\r\nX-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n"
		       "X-Forwarded-Host: evil\r\n\r\n",
		       &forwarded,
		       "GET / HTTP/1.1\r\nHost: A:81\r\n"
		       "X-Forwarded-For: 10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7\r\n"
		       "X-Forwarded-Proto: http\r\nX-Forwarded-Host: a:81\r\n\r\n");
	assert_request("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: \r\n\r\n", &forwarded,
		       "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n"
		       "X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\r\n");
}

static void forwarded_off_leaves_the_clients_fields(void **state)
{
	const char *text = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n";

	(void)state;
	assert_request(text, &plain, text);
}

static void an_upgrade_is_asked_for_anew(void **state)
{
	(void)state;
	assert_request("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
		       "Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
		       &plain,
		       "GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n"
		       "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
}

static void http_1_0_stays_and_closes(void **state)
{
	(void)state;
	assert_request("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n"
		       "Connection: keep-alive\r\n\r\n",
		       &plain, "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\n");
	assert_request("GET / HTTP/1.0\r\n\r\n", &forwarded,
		       "GET / HTTP/1.0\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n"
		       "Connection: close\r\n\r\n");
}

static void the_last_request_of_a_server_says_so(void **state)
{
	const struct http_forward_request last = { .keep_alive = false };

	(void)state;
	assert_request("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &last,
		       "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
}

static void a_response_loses_its_hop_and_keeps_its_frame(void **state)
{
	(void)state;
	assert_response("HTTP/1.1 200 OK\r\nConnection: keep-alive, x\r\nX: 1\r\nKeep-Alive: timeout=5\r\n"
			"Transfer-Encoding: chunked\r\nTrailer: T\r\n\r\n",
			true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n");
	assert_response("HTTP/1.0 404 No such\r\nContent-Length: 3\r\n\r\n", false,
			"HTTP/1.1 404 No such\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
	assert_response("HTTP/1.1 204 \r\n\r\n", true, "HTTP/1.1 204 \r\n\r\n");
}

static void interim_responses_say_nothing_of_the_connection(void **state)
{
	(void)state;
	assert_response("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", false,
			"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
	assert_response("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
			"Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
			true,
			"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"
			"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
}

static void a_redirect_keeps_host_and_target_and_leaves_the_port(void **state)
{
	const char *in = "GET /a?b HTTP/1.1\r\nHost: A.example:80\r\n\r\n";
	char *out;

	(void)state;
	parse_request(in);
	out = malloc(http_redirect_max(&head));
	assert_non_null(out);
	assert_bytes(out, http_redirect(&head, in, out),
		     "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://a.example/a?b\r\n"
		     "Content-Length: 0\r\nConnection: close\r\n\r\n");
	free(out);
}

static void answers_are_framed_as_they_say(void **state)
{
	const unsigned all[] = { 400, 403, 405, 408, 421, 431, 501, 502, 503, 504, 505 };

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct slice whole = http_answer(all[i], false), bare = http_answer(all[i], true);

		http_head_init_response(&head, HTTP_HEAD_MAX, HTTP_METHOD_GET);
		assert_int_equal(http_head_parse(&head, whole.ptr, whole.len), HTTP_HEAD_FOUND);
		assert_int_equal(head.code, all[i]);
		assert_int_equal(head.framing, HTTP_FRAMING_LENGTH);
		assert_int_equal(head.len + head.content_length, whole.len);
		assert_int_equal(head.keep_alive, all[i] == 502);
		assert_int_equal(bare.len, head.len);
	}
}

static void the_502_is_the_seeds_93_bytes(void **state)
{
	struct slice answer = http_answer(502, false);

	(void)state;
	assert_int_equal(answer.len, 93);
	assert_memory_equal(answer.ptr, "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\n"
			    "Content-Length: 19\r\n\r\nService unavailable", 93);
	assert_true(slice_equal(http_answer(599, false), answer));
}

static void assert_answer(unsigned status, bool to_head, const char *reason, const char *want)
{
	struct slice text = slice_of_string(reason);
	char *out = malloc(http_answer_max(text));

	assert_non_null(out);
	assert_bytes(out, http_answer_write(status, to_head, text, out), want);
	free(out);
}

static void an_answer_says_why_in_a_field_that_nothing_breaks(void **state)
{
	(void)state;
	assert_answer(403, false, "", http_answer(403, false).ptr);
	assert_answer(403, false, "a.conf:3: reject",
		      "HTTP/1.1 403 Forbidden\r\nX-Teeproxy-Reason: a.conf:3: reject\r\n"
		      "Content-Type: text/plain\r\nConnection: close\r\nContent-Length: 20\r\n\r\n"
		      "This is not for you\n");
	assert_answer(403, true, "b\r\nX: \x01\x7f\xc3\xa4",
		      "HTTP/1.1 403 Forbidden\r\nX-Teeproxy-Reason: b??X: ????\r\n"
		      "Content-Type: text/plain\r\nConnection: close\r\nContent-Length: 20\r\n\r\n");
	assert_answer(502, false, "gone",
		      "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nX-Teeproxy-Reason: gone\r\n"
		      "Content-Type: text/plain\r\nContent-Length: 19\r\n\r\nService unavailable");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_request_goes_on_unchanged),
		cmocka_unit_test(fields_of_one_hop_stay_behind),
		cmocka_unit_test(an_absolute_target_becomes_host_and_origin_form),
		cmocka_unit_test(to_a_proxy_the_target_stays_absolute),
		cmocka_unit_test(an_asterisk_stays),
		cmocka_unit_test(an_answer_says_why_in_a_field_that_nothing_breaks),
		cmocka_unit_test(forwarded_for_is_appended_and_the_others_replaced),
		cmocka_unit_test(forwarded_off_leaves_the_clients_fields),
		cmocka_unit_test(an_upgrade_is_asked_for_anew),
		cmocka_unit_test(http_1_0_stays_and_closes),
		cmocka_unit_test(the_last_request_of_a_server_says_so),
		cmocka_unit_test(a_response_loses_its_hop_and_keeps_its_frame),
		cmocka_unit_test(interim_responses_say_nothing_of_the_connection),
		cmocka_unit_test(a_redirect_keeps_host_and_target_and_leaves_the_port),
		cmocka_unit_test(answers_are_framed_as_they_say),
		cmocka_unit_test(the_502_is_the_seeds_93_bytes),
	};

	return cmocka_run_group_tests_name("wire/http_forward", tests, NULL, NULL);
}

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
#include "wire/egress_request.h"

static struct egress_request r;

static enum egress_result feed(struct slice text, enum egress_protocol protocol, unsigned way)
{
	enum egress_result result = EGRESS_MORE;
	struct cuts cuts = cuts_of(way);

	egress_request_init(&r, protocol, HTTP_HEAD_MAX);
	for (size_t n = cuts_next(&cuts, text.len);; n += cuts_next(&cuts, text.len - n)) {
		char *exact = malloc(n);

		memcpy(exact, text.ptr, n);
		do {
			result = egress_request_parse(&r, exact, n);
		} while (result == EGRESS_REPLY);
		free(exact);
		if (result != EGRESS_MORE || n == text.len)
			return result;
	}
}

static enum egress_result parse(struct slice text, enum egress_protocol protocol)
{
	enum egress_result whole = feed(text, protocol, CUTS_WHOLE);
	size_t len = r.len;

	for (unsigned way = CUTS_BYTES; way < CUTS_WAYS; way++) {
		assert_int_equal(feed(text, protocol, way), whole);
		assert_int_equal(r.len, len);
	}
	return whole;
}

static void a_line_names_its_target_and_leaves_the_payload(void **state)
{
	static const struct {
		const char *text, *name;
		unsigned port, len;
	} rows[] = {
		{ "Example.org:443\npayload", "example.org", 443, 16 },
		{ " \t a.b:1 \t\r\n\n", "a.b", 1, 12 },
		{ "1.2.3.4:65535\n", "1.2.3.4", 65535, 14 },
		{ "[2001:db8::1]:443\n", "2001:db8::1", 443, 18 },
		{ "127.1:80\n", "127.1", 80, 9 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(parse(slice_of_string(rows[i].text), EGRESS_AUTO), EGRESS_FOUND);
		assert_int_equal(r.protocol, EGRESS_LINE);
		assert_string_equal(r.target.name, rows[i].name);
		assert_int_equal(r.target.port, rows[i].port);
		assert_int_equal(r.len, rows[i].len);
	}
	assert_true(r.is_odd_ipv4);
	/* The dot behind makes a name of it, which is an address to who drops the dot. */
	assert_int_equal(parse(SLICE_LITERAL("127.0.0.1.:80\n"), EGRESS_AUTO), EGRESS_FOUND);
	assert_true(r.is_odd_ipv4);
	assert_int_equal(parse(SLICE_LITERAL("127.0.0.1:80\n"), EGRESS_AUTO), EGRESS_FOUND);
	assert_false(r.is_odd_ipv4);
}

static void a_line_that_is_no_target_is_bad(void **state)
{
	static const char *const texts[] = {
		"\n", "\r\n", "a\n", "a:\n", "a:0\n", "a:65536\n", "a b:1\n", ":1\n", "[::1:443\n", "a..b:1\n",
		"a:1:2\n", "word \n", "a:1x\n",
	};
	static char longest[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		if (parse(slice_of_string(texts[i]), EGRESS_LINE) != EGRESS_BAD)
			fail_msg("row %zu", i);
	}
	memset(longest, ' ', sizeof(longest));
	memcpy(longest + 4096 - 4, "a:1\n", 4);
	assert_int_equal(parse(slice_of(longest, 4096), EGRESS_AUTO), EGRESS_FOUND);
	memcpy(longest + 4096 - 4, " a:1\n", 5);
	assert_int_equal(parse(slice_of(longest, 4097), EGRESS_AUTO), EGRESS_BAD);
	memset(longest, 'a', sizeof(longest));
	assert_int_equal(parse(slice_of(longest, 4095), EGRESS_AUTO), EGRESS_MORE);
	assert_int_equal(parse(slice_of(longest, 4096), EGRESS_AUTO), EGRESS_BAD);
}

static void http_asks_by_connect_or_absolute_target(void **state)
{
	(void)state;
	assert_int_equal(parse(SLICE_LITERAL("CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\n\r\nx"), EGRESS_AUTO),
			 EGRESS_FOUND);
	assert_int_equal(r.protocol, EGRESS_HTTP);
	assert_int_equal(r.http.method, HTTP_METHOD_CONNECT);
	assert_string_equal(r.target.name, "a.b");
	assert_int_equal(r.len, 43);
	assert_int_equal(parse(SLICE_LITERAL("GET http://A/x HTTP/1.1\r\nHost: a\r\n\r\n"), EGRESS_AUTO), EGRESS_FOUND);
	assert_int_equal(r.target.port, 80);
	assert_int_equal(parse(SLICE_LITERAL("CONNECT 0177.0.0.1:80 HTTP/1.0\r\n\r\n"), EGRESS_AUTO), EGRESS_FOUND);
	assert_true(r.is_odd_ipv4);
	assert_int_equal(parse(SLICE_LITERAL("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), EGRESS_AUTO), EGRESS_BAD);
	assert_int_equal(r.status, 400);
	assert_int_equal(parse(SLICE_LITERAL("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), EGRESS_AUTO), EGRESS_BAD);
	assert_int_equal(r.status, 400);
	assert_int_equal(parse(SLICE_LITERAL("a.b:443\n"), EGRESS_HTTP), EGRESS_BAD);
	assert_int_equal(parse(SLICE_LITERAL("CONNECT a:1 HTTP/1.1\r\n\r\n"), EGRESS_LINE), EGRESS_BAD);
}

static void socks5_chooses_no_authentication_then_takes_the_target(void **state)
{
	(void)state;
	egress_request_init(&r, EGRESS_AUTO, HTTP_HEAD_MAX);
	assert_int_equal(egress_request_parse(&r, "\x05\x02\x02\0", 4), EGRESS_REPLY);
	assert_memory_equal(r.reply, "\x05\0", 2);
	assert_int_equal(r.reply_len, 2);
	assert_int_equal(egress_request_parse(&r, "\x05\x02\x02\0", 4), EGRESS_MORE);
	assert_int_equal(r.reply_len, 0);
	assert_int_equal(parse(SLICE_LITERAL("\x05\x01\0\x05\x01\0\x03\x03" "a.B\x01\xbbxyz"), EGRESS_AUTO), EGRESS_FOUND);
	assert_string_equal(r.target.name, "a.b");
	assert_int_equal(r.target.port, 443);
	assert_int_equal(r.len, 13);
	assert_int_equal(parse(SLICE_LITERAL("\x05\x01\0\x05\x01\0\x01\x01\x02\x03\x04\0\x50"), EGRESS_SOCKS5), EGRESS_FOUND);
	assert_string_equal(r.target.name, "1.2.3.4");
	assert_int_equal(parse(SLICE_LITERAL("\x05\x01\0\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50"), EGRESS_AUTO),
			 EGRESS_FOUND);
	assert_string_equal(r.target.name, "::1");
	assert_int_equal(r.target.kind, HOST_IS_IPV6);
}

static void socks5_refusals_carry_their_code(void **state)
{
	static const struct {
		struct slice text;
		unsigned code;
	} rows[] = {
		{ { "\x05\x01\0\x05\x02\0\x01\x01\x02\x03\x04\0\x50", 13 }, SOCKS5_COMMAND_NOT_SUPPORTED },
		{ { "\x05\x01\0\x05\x01\0\x02\x01", 8 }, SOCKS5_ADDRESS_NOT_SUPPORTED },
		{ { "\x05\x01\0\x05\x01\0\x01\x01\x02\x03\x04\0\0", 13 }, SOCKS5_GENERAL_FAILURE },
		{ { "\x05\x01\0\x05\x01\0\x03\0\0\x50", 10 }, SOCKS5_GENERAL_FAILURE },
		{ { "\x05\x01\0\x05\x01\0\x03\x02" "a\0\0\x50", 12 }, SOCKS5_GENERAL_FAILURE },
		{ { "\x05\x01\0\x04", 4 }, SOCKS5_GENERAL_FAILURE },
		{ { "\x05\x01\x02", 3 }, 0xff },
		{ { "\x05\0", 2 }, 0xff },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (parse(rows[i].text, EGRESS_AUTO) != EGRESS_BAD || r.reply_len < 2 ||
		    r.reply[0] != 5 || r.reply[1] != rows[i].code)
			fail_msg("row %zu", i);
	}
	assert_int_equal(parse(SLICE_LITERAL("\x04\x01"), EGRESS_SOCKS5), EGRESS_BAD);
}

static void a_socks5_reply_holds_the_bound_address(void **state)
{
	unsigned char reply[SOCKS5_REPLY_SIZE];
	struct ip_addr addr;

	(void)state;
	assert_int_equal(socks5_reply_build(SOCKS5_NOT_ALLOWED, NULL, 0, reply), 10);
	assert_memory_equal(reply, "\x05\x02\0\x01\0\0\0\0\0\0", 10);
	assert_true(ip_parse(SLICE_LITERAL("2001:db8::1"), &addr));
	assert_int_equal(socks5_reply_build(SOCKS5_SUCCEEDED, &addr, 258, reply), 22);
	assert_memory_equal(reply, "\x05\0\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x02", 22);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_names_its_target_and_leaves_the_payload),
		cmocka_unit_test(a_line_that_is_no_target_is_bad),
		cmocka_unit_test(http_asks_by_connect_or_absolute_target),
		cmocka_unit_test(socks5_chooses_no_authentication_then_takes_the_target),
		cmocka_unit_test(socks5_refusals_carry_their_code),
		cmocka_unit_test(a_socks5_reply_holds_the_bound_address),
	};

	return cmocka_run_group_tests_name("wire/egress_request", tests, NULL, NULL);
}

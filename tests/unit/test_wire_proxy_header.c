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
#include "wire/proxy_header.h"

static enum proxy_header_result feed(struct proxy_header *p, struct slice text, unsigned way)
{
	enum proxy_header_result r = PROXY_HEADER_MORE;
	struct cuts cuts = cuts_of(way);

	proxy_header_init(p);
	for (size_t n = 0; n < text.len && r == PROXY_HEADER_MORE;) {
		n += cuts_next(&cuts, text.len - n);
		r = proxy_header_parse(p, text.ptr, n);
	}
	return r;
}

static enum proxy_header_result parse(struct proxy_header *p, struct slice text)
{
	enum proxy_header_result whole = feed(p, text, CUTS_WHOLE);
	size_t len = p->len;

	for (unsigned way = CUTS_BYTES; way < CUTS_WAYS; way++) {
		assert_int_equal(feed(p, text, way), whole);
		assert_true(whole != PROXY_HEADER_FOUND || p->len == len);
	}
	return whole;
}

static void version_1_gives_addresses_and_ports(void **state)
{
	struct proxy_header p;
	char text[IP_TEXT_SIZE];

	(void)state;
	assert_int_equal(parse(&p, SLICE_LITERAL("PROXY TCP4 1.2.3.4 5.6.7.8 1024 443\r\nx")), PROXY_HEADER_FOUND);
	assert_int_equal(p.len, 37);
	assert_string_equal(ip_format(&p.src, text), "1.2.3.4");
	assert_int_equal(p.src_port, 1024);
	assert_int_equal(p.dst_port, 443);
	assert_int_equal(parse(&p, SLICE_LITERAL("PROXY TCP6 2001:db8::1 ::1 1 2\r\n")), PROXY_HEADER_FOUND);
	assert_string_equal(ip_format(&p.src, text), "2001:db8::1");
	assert_int_equal(parse(&p, SLICE_LITERAL("PROXY UNKNOWN ff and so on\r\n")), PROXY_HEADER_FOUND);
	assert_false(p.has_addresses);
}

static void a_malformed_version_1_is_bad(void **state)
{
	static const char *const texts[] = {
		"PROXY TCP4 1.2.3.4 5.6.7.8 1024 443\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1024\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1024 443 \r\n", "PROXY TCP4 ::1 ::1 1 2\r\n",
		"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n", "PROXY \r\n", "GET / HTTP/1.1\r\n", "proxy ",
	};
	static char longest[200];
	struct proxy_header p;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		if (parse(&p, slice_of_string(texts[i])) != PROXY_HEADER_BAD)
			fail_msg("row %zu", i);
	}
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "PROXY UNKNOWN ", 14);
	assert_int_equal(parse(&p, slice_of(longest, 106)), PROXY_HEADER_MORE);
	assert_int_equal(parse(&p, slice_of(longest, 107)), PROXY_HEADER_BAD);
}

static void what_is_built_reads_back(void **state)
{
	static const char *const addresses[][2] = {
		{ "1.2.3.4", "255.255.255.255" }, { "::1", "2001:db8::1" }, { "1.2.3.4", "::2" },
	};
	char buf[PROXY_HEADER_BUILD_SIZE];
	struct proxy_header p;

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		struct proxy_header_info info = { .has_addresses = true, .src_port = 65535, .dst_port = 1 };
		size_t n;

		assert_true(ip_parse(slice_of_string(addresses[i / 2][0]), &info.src));
		assert_true(ip_parse(slice_of_string(addresses[i / 2][1]), &info.dst));
		info.authority = SLICE_LITERAL("tee-k.example");
		info.alpn = SLICE_LITERAL("h2");
		n = i % 2 ? proxy_header_build_v2(&info, buf) : proxy_header_build_v1(&info, buf);
		assert_int_equal(parse(&p, slice_of(buf, n)), PROXY_HEADER_FOUND);
		assert_int_equal(p.len, n);
		assert_int_equal(p.version, 1 + i % 2);
		assert_true(p.has_addresses && ip_equal(&p.src, &info.src) && ip_equal(&p.dst, &info.dst));
		assert_int_equal(p.src_port, 65535);
		if (i % 2) {
			assert_true(slice_equal(p.authority, info.authority));
			assert_true(slice_equal(p.alpn, info.alpn));
		}
	}
}

static void local_and_foreign_families_have_no_addresses(void **state)
{
	struct proxy_header_info info = { .has_addresses = false };
	char buf[PROXY_HEADER_BUILD_SIZE];
	struct proxy_header p;
	size_t n = proxy_header_build_v2(&info, buf);

	(void)state;
	assert_int_equal(n, 16);
	assert_memory_equal(buf, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16);
	assert_int_equal(parse(&p, slice_of(buf, n)), PROXY_HEADER_FOUND);
	assert_false(p.has_addresses);
	n = proxy_header_build_v1(&info, buf);
	assert_int_equal(parse(&p, slice_of(buf, n)), PROXY_HEADER_FOUND);
	assert_false(p.has_addresses);
	assert_int_equal(parse(&p, SLICE_LITERAL("\r\n\r\n\0\r\nQUIT\n\x21\x31\0\x01x")), PROXY_HEADER_FOUND);
	assert_int_equal(p.len, 17);
}

#define V2 "\r\n\r\n\0\r\nQUIT\n"

static void a_malformed_version_2_is_bad(void **state)
{
	struct proxy_header p;

	(void)state;
	assert_int_equal(parse(&p, SLICE_LITERAL(V2 "\x11\x11\0\x0c")), PROXY_HEADER_BAD);
	assert_int_equal(parse(&p, SLICE_LITERAL(V2 "\x22\x11\0\x0c")), PROXY_HEADER_BAD);
	assert_int_equal(parse(&p, SLICE_LITERAL(V2 "\x21\x11\0\x0b" "aaaabbbbccd")), PROXY_HEADER_BAD);
	assert_int_equal(parse(&p, SLICE_LITERAL(V2 "\x21\x11\xff\xff")), PROXY_HEADER_BAD);
	assert_int_equal(parse(&p, SLICE_LITERAL(V2 "\x21\x11\0\x0e" "aaaabbbbccdd\x02\0")), PROXY_HEADER_BAD);
	assert_int_equal(parse(&p, SLICE_LITERAL(V2 "\x21\x11\0\x0f" "aaaabbbbccdd\x02\0\x01")), PROXY_HEADER_BAD);
	assert_int_equal(parse(&p, SLICE_LITERAL(V2 "\x21\x11\0\x10" "aaaabbbbccdd\x02\0\x01x")), PROXY_HEADER_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_1_gives_addresses_and_ports),
		cmocka_unit_test(a_malformed_version_1_is_bad),
		cmocka_unit_test(what_is_built_reads_back),
		cmocka_unit_test(local_and_foreign_families_have_no_addresses),
		cmocka_unit_test(a_malformed_version_2_is_bad),
	};

	return cmocka_run_group_tests_name("wire/proxy_header", tests, NULL, NULL);
}

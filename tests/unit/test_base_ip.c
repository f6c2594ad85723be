/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/ip.h"

static void only_strict_literals_are_addresses(void **state)
{
	static const char *const bad[] = { "", "127.1", "0x7f000001", "2130706433", "0177.0.0.1",
					   "01.2.3.4", "1.2.3.4.", "1.2.3", "256.0.0.1", "[::1]",
					   "::1%lo", "1::2::3", "a.example", " 1.2.3.4" };
	struct ip_addr a;
	char text[IP_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(ip_parse(slice_of_string(bad[i]), &a));
	assert_true(ip_parse(SLICE_LITERAL("::ffff:127.0.0.1"), &a));
	assert_true(ip_is_v4(&a));
	assert_string_equal(ip_format(&a, text), "127.0.0.1");
	assert_true(ip_parse(SLICE_LITERAL("2001:DB8:0::1"), &a));
	assert_string_equal(ip_format(&a, text), "2001:db8::1");
}

static void loopback_is_a_block_and_an_address(void **state)
{
	static const char *const in[] = { "127.0.0.1", "127.255.255.255", "::ffff:127.1.2.3", "::1" };
	static const char *const out[] = { "126.255.255.255", "128.0.0.1", "::", "::2", "0.0.0.0", "7f00::1", "::127.0.0.1" };
	struct ip_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		assert_true(ip_parse(slice_of_string(in[i]), &a));
		assert_true(ip_is_loopback(&a));
	}
	for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++) {
		assert_true(ip_parse(slice_of_string(out[i]), &a));
		assert_false(ip_is_loopback(&a));
	}
}

static void every_octet_is_written_as_inet_ntop_does(void **state)
{
	char text[IP_TEXT_SIZE], expected[IP_TEXT_SIZE];

	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		unsigned char b[4] = { (unsigned char)i, (unsigned char)(255 - i), (unsigned char)(i * 7), (unsigned char)(i / 2) };
		struct ip_addr a = ip_from_v4((const struct in_addr *)(const void *)b);

		assert_non_null(inet_ntop(AF_INET, b, expected, sizeof(expected)));
		assert_string_equal(ip_format(&a, text), expected);
	}
}

static struct ip_cidr cidr(const char *text)
{
	struct ip_cidr c;

	assert_int_equal(ip_cidr_parse(slice_of_string(text), &c), IP_CIDR_OK);
	return c;
}

static bool in(const char *prefix, const char *addr)
{
	struct ip_cidr c = cidr(prefix);
	struct ip_addr a;

	assert_true(ip_parse(slice_of_string(addr), &a));
	return ip_cidr_contains(&c, &a);
}

static void a_prefix_contains_its_family_only(void **state)
{
	(void)state;
	assert_true(in("127.0.0.0/8", "::ffff:127.9.9.9"));
	assert_true(in("0.0.0.0/0", "203.0.113.9"));
	assert_false(in("0.0.0.0/0", "2001:db8::1"));
	assert_false(in("::/0", "203.0.113.9"));
	assert_true(in("::/0", "2001:db8::1"));
	assert_true(in("10.0.0.1", "10.0.0.1"));
	assert_false(in("10.0.0.1", "10.0.0.2"));
	assert_true(in("192.0.2.128/25", "192.0.2.200"));
	assert_false(in("192.0.2.128/25", "192.0.2.100"));
	assert_true(in("::ffff:10.0.0.0/104", "10.1.2.3"));
}

static void faults_of_a_prefix_are_told_apart(void **state)
{
	struct ip_cidr c;
	char text[IP_TEXT_SIZE + 4];

	(void)state;
	assert_int_equal(ip_cidr_parse(SLICE_LITERAL("10.0.0.0/33"), &c), IP_CIDR_LENGTH);
	assert_int_equal(ip_cidr_parse(SLICE_LITERAL("::/129"), &c), IP_CIDR_LENGTH);
	assert_int_equal(ip_cidr_parse(SLICE_LITERAL("10.0.0.0/"), &c), IP_CIDR_NOT_ONE);
	assert_int_equal(ip_cidr_parse(SLICE_LITERAL("10.0.0/8"), &c), IP_CIDR_NOT_ONE);
	assert_int_equal(ip_cidr_parse(SLICE_LITERAL("10.0.0.0/08"), &c), IP_CIDR_NOT_ONE);
	assert_int_equal(ip_cidr_parse(SLICE_LITERAL("10.0.0.1/8"), &c), IP_CIDR_HOST_BITS);
	assert_string_equal(ip_cidr_format(&c, text), "10.0.0.0/8");
}

static void a_prefix_covers_narrower_ones(void **state)
{
	struct ip_cidr a = cidr("10.0.0.0/8"), b = cidr("10.2.0.0/16"), six = cidr("::/0");

	(void)state;
	assert_true(ip_cidr_covers(&a, &b));
	assert_true(ip_cidr_covers(&a, &a));
	assert_false(ip_cidr_covers(&b, &a));
	assert_false(ip_cidr_covers(&six, &a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_strict_literals_are_addresses),
		cmocka_unit_test(loopback_is_a_block_and_an_address),
		cmocka_unit_test(every_octet_is_written_as_inet_ntop_does),
		cmocka_unit_test(a_prefix_contains_its_family_only),
		cmocka_unit_test(faults_of_a_prefix_are_told_apart),
		cmocka_unit_test(a_prefix_covers_narrower_ones),
	};

	return cmocka_run_group_tests_name("base/ip", tests, NULL, NULL);
}

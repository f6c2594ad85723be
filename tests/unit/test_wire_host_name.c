/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "wire/host_name.h"

static size_t fold(const char *text, char buf[HOST_NAME_SIZE])
{
	return host_name_fold(slice_of_string(text), buf);
}

static void case_and_one_trailing_dot_are_folded(void **state)
{
	char buf[HOST_NAME_SIZE];

	(void)state;
	assert_int_equal(fold("Tee-K.Example_1.ORG.", buf), 19);
	assert_string_equal(buf, "tee-k.example_1.org");
	assert_int_equal(fold("a", buf), 1);
}

static void an_empty_label_or_a_foreign_byte_is_malformed(void **state)
{
	static const char *const names[] = {
		"", ".", "..", ".a", "a..b", "a..", "a b", "a:1", "a/b", "\xc3\xa4", "a*", "a\n", "[a]",
	};
	char buf[HOST_NAME_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_int_equal(fold(names[i], buf), 0);
	assert_int_equal(host_name_fold(slice_of("a\0b", 3), buf), 0);
}

static void a_name_has_at_most_255_bytes(void **state)
{
	char text[300], buf[HOST_NAME_SIZE];

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_int_equal(host_name_fold(slice_of(text, 255), buf), 255);
	assert_int_equal(host_name_fold(slice_of(text, 256), buf), 0);
}

static void odd_spellings_of_an_ipv4_address_are_told(void **state)
{
	static const char *const odd[] = {
		"127.1", "0x7f000001", "2130706433", "0177.0.0.1", "1.2.3.4.5", "a.1", "127.1.",
		"0X7F.1", "1.2.3.0x4", "256.1.1.1", "0x", "0",
	};
	static const char *const plain[] = { "127.0.0.1", "a.b", "1.2.3.4a", "0xg", "1.com", "a" };

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++)
		assert_true(host_name_is_odd_ipv4(slice_of_string(odd[i])));
	for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		assert_false(host_name_is_odd_ipv4(slice_of_string(plain[i])));
}

static void a_host_is_a_name_or_an_address_with_or_without_port(void **state)
{
	static const struct {
		const char *text, *name;
		enum host_kind kind;
		unsigned port;
	} rows[] = {
		{ "A.b", "a.b", HOST_IS_NAME, 0 },
		{ "a.b.:80", "a.b", HOST_IS_NAME, 80 },
		{ "a:", "a", HOST_IS_NAME, 0 },
		{ "a:65535", "a", HOST_IS_NAME, 65535 },
		{ "1.2.3.4:5", "1.2.3.4", HOST_IS_IPV4, 5 },
		{ "[::1]", "::1", HOST_IS_IPV6, 0 },
		{ "[2001:DB8:0::1]:443", "2001:db8::1", HOST_IS_IPV6, 443 },
		{ "[::ffff:1.2.3.4]:1", "1.2.3.4", HOST_IS_IPV4, 1 },
		{ "127.1:80", "127.1", HOST_IS_NAME, 80 },
	};
	struct host_port h;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_true(host_port_parse(slice_of_string(rows[i].text), &h));
		assert_string_equal(h.name, rows[i].name);
		assert_int_equal(h.name_len, strlen(rows[i].name));
		assert_int_equal(h.kind, rows[i].kind);
		assert_int_equal(h.port, rows[i].port);
		assert_int_equal(h.has_port, rows[i].port != 0);
	}
}

static void what_is_not_a_host_is_malformed(void **state)
{
	static const char *const texts[] = {
		"", ":", ":80", "a:0", "a:65536", "a:+1", "a:1x", "a:1:2", "::1", "[::1", "[]", "[a]",
		"[1.2.3.4]", "[::1]x", "[::1]:0", "[fe80::1%25eth0]", "u@a", "a b", "a,b", "[::1]80",
	};
	struct host_port h;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_false(host_port_parse(slice_of_string(texts[i]), &h));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(case_and_one_trailing_dot_are_folded),
		cmocka_unit_test(an_empty_label_or_a_foreign_byte_is_malformed),
		cmocka_unit_test(a_name_has_at_most_255_bytes),
		cmocka_unit_test(odd_spellings_of_an_ipv4_address_are_told),
		cmocka_unit_test(a_host_is_a_name_or_an_address_with_or_without_port),
		cmocka_unit_test(what_is_not_a_host_is_malformed),
	};

	return cmocka_run_group_tests_name("wire/host_name", tests, NULL, NULL);
}

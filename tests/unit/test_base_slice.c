/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slice.h"

static void a_number_is_read_up_to_its_limit(void **state)
{
	unsigned long long v = 7;

	(void)state;
	assert_true(slice_parse_u64(SLICE_LITERAL("65535"), 65535, &v));
	assert_int_equal(v, 65535);
	assert_false(slice_parse_u64(SLICE_LITERAL("65536"), 65535, &v));
	assert_int_equal(v, 65535);
	assert_true(slice_parse_u64(SLICE_LITERAL("18446744073709551615"), ULLONG_MAX, &v));
	assert_true(v == ULLONG_MAX);
	assert_false(slice_parse_u64(SLICE_LITERAL("18446744073709551616"), ULLONG_MAX, &v));
}

static void what_is_not_a_number_is_refused(void **state)
{
	unsigned long long v;

	(void)state;
	assert_false(slice_parse_u64(SLICE_LITERAL(""), 9, &v));
	assert_false(slice_parse_u64(SLICE_LITERAL("-1"), 9, &v));
	assert_false(slice_parse_u64(SLICE_LITERAL("+1"), 9, &v));
	assert_false(slice_parse_u64(SLICE_LITERAL("1 "), 9, &v));
}

static void case_is_ascii_only(void **state)
{
	(void)state;
	assert_true(slice_equal_nocase(SLICE_LITERAL("Tee-K"), SLICE_LITERAL("tEE-k")));
	assert_false(slice_equal_nocase(SLICE_LITERAL("a"), SLICE_LITERAL("ab")));
	assert_false(slice_equal_nocase(SLICE_LITERAL("[" ), SLICE_LITERAL("{")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_is_read_up_to_its_limit),
		cmocka_unit_test(what_is_not_a_number_is_refused),
		cmocka_unit_test(case_is_ascii_only),
	};

	return cmocka_run_group_tests_name("base/slice", tests, NULL, NULL);
}

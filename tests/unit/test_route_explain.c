/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "route/explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define S(text) SLICE_LITERAL(text)
#define PATTERN(k, t) { ROUTE_PATTERN_##k, SLICE_LITERAL(t) }

static const struct route_pattern names[] = {
	PATTERN(EXACT, "tee-k.example.org"), PATTERN(BELOW, "example.org"), PATTERN(LEADING, "tee-t"),
	PATTERN(NONE, ""), PATTERN(EXACT, "far.away.test"),
};
static const struct slice alpn = S("h2"), path = S("/admin");
static const struct route_rule rules[] = {
	{ .names = names, .n_names = 1, .alpns = &alpn, .n_alpns = 1 },
	{ .names = names, .n_names = 1 },
	{ .names = names + 1, .n_names = 1, .paths = &path, .n_paths = 1 },
	{ .names = names + 2, .n_names = 1 },
	{ .names = names + 3, .n_names = 1 },
	{ .names = names + 4, .n_names = 1 },
};
enum { N_RULES = sizeof(rules) / sizeof(rules[0]) };

static struct arena *arena;

static struct route_explanation explain(const struct route_query *q, size_t max)
{
	const struct hash_key key = { 3, 4 };
	struct route_table *t = route_table_new(rules, N_RULES, &key);
	struct route_scratch *s = route_scratch_new();
	struct route_explanation e;

	route_explain(arena, t, rules, N_RULES, s, q, max, &e);
	route_scratch_free(s);
	route_table_free(t);
	return e;
}

static void the_rule_and_the_nearest_others_are_told(void **state)
{
	struct route_explanation e = explain(
		&(struct route_query){ .name = S("tee-k.example.org"), .path = S("/admin") }, 3);

	(void)state;
	assert_int_equal(e.result, ROUTE_FOUND);
	assert_int_equal(e.rule, 1);
	assert_int_equal(e.n_near, 3);
	assert_int_equal(e.near[0].rule, 2);
	assert_int_equal(e.near[0].refused, ROUTE_MATCHER_NONE);
	assert_string_equal(e.near[0].why, "an earlier rule takes it");
	assert_int_equal(e.near[1].rule, 0);
	assert_int_equal(e.near[1].refused, ROUTE_MATCHER_ALPN);
	assert_string_equal(e.near[1].why, "the client offers no protocol");
}

static void a_name_off_by_a_letter_is_near(void **state)
{
	struct route_explanation e = explain(&(struct route_query){ .name = S("tee_k.example.net") }, 1);

	(void)state;
	assert_int_equal(e.result, ROUTE_MISS);
	e = explain(&(struct route_query){ .name = S("far.awey.test") }, 1);
	assert_int_equal(e.result, ROUTE_MISS);
	assert_int_equal(e.near[0].rule, 5);
	assert_int_equal(e.near[0].refused, ROUTE_MATCHER_NAME);
	assert_string_equal(e.near[0].why, "the name is not \"far.away.test\"");
}

static void a_name_that_is_longer_or_bare_is_told_why(void **state)
{
	struct route_explanation e = explain(&(struct route_query){ .name = S("xfar.away.test") }, 1);

	(void)state;
	assert_int_equal(e.near[0].rule, 5);
	assert_string_equal(e.near[0].why,
			    "the name only begins or ends like \"far.away.test\"; whole names match");
	e = explain(&(struct route_query){ .name = S("tee-t") }, 1);
	assert_int_equal(e.near[0].rule, 3);
	assert_string_equal(e.near[0].why, "\"tee-t.*\" asks for at least one label after \"tee-t\"");
}

static void no_more_than_asked_for_and_none_without_a_place(void **state)
{
	struct route_explanation e = explain(&(struct route_query){ .name = { NULL, 0 } }, 0);

	(void)state;
	assert_int_equal(e.result, ROUTE_FOUND);
	assert_int_equal(e.rule, 4);
	assert_int_equal(e.n_near, 0);
	e = explain(&(struct route_query){ .name = { NULL, 0 } }, 99);
	assert_int_equal(e.n_near, N_RULES - 1);
	assert_string_equal(e.near[0].why,
			    "there is no name, and \"tee-k.example.org\" asks for one");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rule_and_the_nearest_others_are_told),
		cmocka_unit_test(a_name_off_by_a_letter_is_near),
		cmocka_unit_test(a_name_that_is_longer_or_bare_is_told_why),
		cmocka_unit_test(no_more_than_asked_for_and_none_without_a_place),
	};
	int failed;

	arena = arena_new();
	failed = cmocka_run_group_tests_name("route/explain", tests, NULL, NULL);
	arena_free(arena);
	return failed;
}

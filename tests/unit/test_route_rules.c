/* SPDX-License-Identifier: Apache-2.0 */
/* Each kind of pattern and matcher at its edges, one table of few rules a case. */
#include <config.h>

#include "route/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "route/cidr_set.h"

#define S(text) SLICE_LITERAL(text)
#define PATTERN(k, t) ((struct route_pattern){ ROUTE_PATTERN_##k, SLICE_LITERAL(t) })
#define LIST(list) (list), sizeof(list) / sizeof((list)[0])
#define RULE_NAME(p) { .names = &(p), .n_names = 1 }

enum { MISS = -1, LIMIT = -2 };

static const struct hash_key key = { 1, 2 };
static struct route_scratch *scratch;

/* The number of the rule, by table; what one rule alone says must agree. */
static int match(const struct route_rule *rules, size_t n, const struct route_query *q)
{
	struct route_table *t = route_table_new(rules, n, &key);
	size_t rule = 0;
	enum route_result result = route_match(t, scratch, q, &rule);

	route_table_free(t);
	if (result == ROUTE_LIMIT)
		return LIMIT;
	for (size_t i = 0; i < n; i++) {
		bool takes = route_rule_takes(&rules[i], scratch, q);

		if (result == ROUTE_FOUND && i == rule)
			assert_true(takes);
		if (result == ROUTE_MISS || i < rule)
			assert_false(takes);
	}
	return result == ROUTE_FOUND ? (int)rule : MISS;
}

static bool takes(struct route_pattern pattern, const char *name)
{
	const struct route_rule rule = RULE_NAME(pattern);
	const struct route_query q = { .name = name ? slice_of_string(name) : slice_of(NULL, 0) };

	return match(&rule, 1, &q) == 0;
}

static void an_exact_name_is_the_whole_name(void **state)
{
	const struct route_pattern p = PATTERN(EXACT, "tee-k.example.org");

	(void)state;
	assert_true(takes(p, "tee-k.example.org"));
	assert_false(takes(p, "xtee-k.example.org"));
	assert_false(takes(p, "x.tee-k.example.org"));
	assert_false(takes(p, "tee-k.example.org.evil.test"));
	assert_false(takes(p, "tee-k.example.orgx"));
	assert_false(takes(p, "tee-k.example.or"));
	assert_false(takes(p, "tee-k"));
	assert_false(takes(p, "example.org"));
	assert_false(takes(p, ""));
	assert_false(takes(p, NULL));
}

static void a_leading_wildcard_is_one_or_more_labels(void **state)
{
	const struct route_pattern p = PATTERN(BELOW, "example.org");

	(void)state;
	assert_true(takes(p, "a.example.org"));
	assert_true(takes(p, "a.b.c.example.org"));
	assert_false(takes(p, "example.org"));
	assert_false(takes(p, ".example.org"));
	assert_false(takes(p, "aexample.org"));
	assert_false(takes(p, "a.example.org.evil.test"));
	assert_false(takes(p, "org"));
	assert_false(takes(p, NULL));
}

static void a_leading_dot_is_the_name_and_all_below(void **state)
{
	const struct route_pattern p = PATTERN(AT_BELOW, "example.org");

	(void)state;
	assert_true(takes(p, "example.org"));
	assert_true(takes(p, "a.example.org"));
	assert_true(takes(p, "a.b.example.org"));
	assert_false(takes(p, "xexample.org"));
	assert_false(takes(p, "example.org.evil.test"));
	assert_false(takes(p, NULL));
}

static void a_trailing_wildcard_is_one_or_more_labels(void **state)
{
	const struct route_pattern p = PATTERN(LEADING, "tee-k");

	(void)state;
	assert_true(takes(p, "tee-k.org"));
	assert_true(takes(p, "tee-k.example.org"));
	assert_false(takes(p, "tee-k"));
	assert_false(takes(p, "tee-k."));
	assert_false(takes(p, "tee-kx.example.org"));
	assert_false(takes(p, "x.tee-k.example.org"));
	assert_false(takes(p, NULL));
}

static void any_takes_every_name_and_none_takes_its_absence(void **state)
{
	(void)state;
	assert_true(takes(PATTERN(ANY, ""), "x"));
	assert_true(takes(PATTERN(ANY, ""), "192.0.2.1"));
	assert_false(takes(PATTERN(ANY, ""), NULL));
	assert_true(takes(PATTERN(NONE, ""), NULL));
	assert_false(takes(PATTERN(NONE, ""), "x"));
}

static void a_regex_is_caseless_and_not_anchored(void **state)
{
	(void)state;
	assert_true(takes(PATTERN(REGEX, "TEE-[kt]\\."), "x.tee-k.example.org"));
	assert_true(takes(PATTERN(REGEX, "^tee-[kt]\\.example\\.org$"), "tee-t.example.org"));
	assert_false(takes(PATTERN(REGEX, "^tee-[kt]\\.example\\.org$"), "xtee-t.example.org"));
	assert_false(takes(PATTERN(REGEX, "^a$"), "a\n"));
	assert_true(takes(PATTERN(REGEX, "^(.)\\1$"), "aa"));
	assert_false(takes(PATTERN(REGEX, ".*"), NULL));
}

static void a_regex_past_its_limit_refuses(void **state)
{
	const struct route_pattern names[] = { PATTERN(REGEX, "^(a+)+$"), PATTERN(REGEX, "a!$") };
	const struct route_rule rules[] = { RULE_NAME(names[0]), RULE_NAME(names[1]) };
	const struct route_query q = { .name = S("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!") };

	(void)state;
	assert_int_equal(match(LIST(rules), &q), LIMIT);
	assert_int_equal(match(rules + 1, 1, &q), 0);
}

static void a_limit_past_the_best_rule_is_never_reached(void **state)
{
	const struct route_pattern names[] = { PATTERN(ANY, ""), PATTERN(REGEX, "^(a+)+$") };
	const struct route_rule rules[] = { RULE_NAME(names[0]), RULE_NAME(names[1]) };
	const struct route_query q = { .name = S("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!") };

	(void)state;
	assert_int_equal(match(LIST(rules), &q), 0);
}

static void a_bad_regex_has_a_message_and_an_offset(void **state)
{
	char message[128] = "";
	size_t offset = 99;

	(void)state;
	assert_true(route_regex_check(S("^a\\.b$"), message, sizeof(message), &offset));
	assert_int_equal(offset, 99);
	assert_false(route_regex_check(S("a(b"), message, sizeof(message), &offset));
	assert_int_equal(offset, 3);
	assert_string_equal(message, "missing closing parenthesis");
	assert_false(route_regex_check(S("(*UTF)a"), message, sizeof(message), &offset));
	assert_false(route_regex_check(S("["), NULL, 0, NULL));
}

static void the_first_rule_wins_whatever_its_kind(void **state)
{
	const struct route_pattern names[] = {
		PATTERN(REGEX, "^a\\."),	PATTERN(BELOW, "example.org"),
		PATTERN(EXACT, "a.example.org"), PATTERN(LEADING, "b"), PATTERN(ANY, ""),
		PATTERN(EXACT, "b.example.net"),
	};
	const struct route_rule rules[] = {
		RULE_NAME(names[0]), RULE_NAME(names[1]), RULE_NAME(names[2]),
		RULE_NAME(names[3]), RULE_NAME(names[4]), RULE_NAME(names[5]),
	};

	(void)state;
	assert_int_equal(match(LIST(rules), &(struct route_query){ .name = S("a.example.org") }), 0);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .name = S("b.example.org") }), 1);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .name = S("b.example.net") }), 3);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .name = S("c") }), 4);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .name = { NULL, 0 } }), MISS);
	assert_int_equal(match(rules + 1, 2, &(struct route_query){ .name = S("a.example.org") }), 0);
}

static void alternatives_are_ored_and_matchers_anded(void **state)
{
	const struct route_pattern names[] = { PATTERN(EXACT, "a"), PATTERN(EXACT, "b") };
	const struct slice alpns[] = { S("h2"), S("http/1.1") };
	const struct route_rule rules[] = {
		{ .names = names, .n_names = 2, .alpns = alpns, .n_alpns = 2 },
		{ .names = names, .n_names = 2 },
	};

	(void)state;
	assert_int_equal(match(LIST(rules), &(struct route_query){ .name = S("b"), .alpn = S("\2h2") }), 0);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .name = S("a"),
				.alpn = S("\1x\10http/1.1") }), 0);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .name = S("a"), .alpn = S("\2h3") }), 1);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .name = S("a"), .alpn = S("\3h2") }), 1);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .name = S("a") }), 1);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .name = S("c"), .alpn = S("\2h2") }), MISS);
}

static void a_path_prefix_ends_at_a_segment(void **state)
{
	const struct slice paths[] = { S("/a"), S("/b/"), S("/") };
	const struct route_rule rules[] = {
		{ .paths = paths, .n_paths = 1 },
		{ .paths = paths + 1, .n_paths = 1 },
		{ .paths = paths + 2, .n_paths = 1 },
	};

	(void)state;
	assert_int_equal(match(LIST(rules), &(struct route_query){ .path = S("/a") }), 0);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .path = S("/a/") }), 0);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .path = S("/a/b") }), 0);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .path = S("/ab") }), 2);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .path = S("/b/c") }), 1);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .path = S("/b") }), 2);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .path = S("*") }), MISS);
}

static struct ip_addr ip(const char *text)
{
	struct ip_addr a;

	assert_true(ip_parse(slice_of_string(text), &a));
	return a;
}

static struct ip_cidr cidr(const char *text)
{
	struct ip_cidr c;

	assert_int_equal(ip_cidr_parse(slice_of_string(text), &c), IP_CIDR_OK);
	return c;
}

static void sources_match_by_prefix_in_lists_short_and_long(void **state)
{
	struct ip_cidr list[64];
	struct route_rule rule = { .from = list };
	struct ip_addr in = ip("10.0.40.9"), out = ip("10.1.0.0"), six = ip("2001:db8::1");
	char text[32];

	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		snprintf(text, sizeof(text), "10.0.%u.0/24", i);
		list[i] = cidr(text);
	}
	list[3] = cidr("2001:db8::/32");
	for (rule.n_from = 4; rule.n_from <= 64; rule.n_from += 60) {
		assert_int_equal(match(&rule, 1, &(struct route_query){ .from = &in }),
				 rule.n_from == 64 ? 0 : MISS);
		assert_int_equal(match(&rule, 1, &(struct route_query){ .from = &out }), MISS);
		assert_int_equal(match(&rule, 1, &(struct route_query){ .from = &six }), 0);
		assert_int_equal(match(&rule, 1, &(struct route_query){ .from = NULL }), MISS);
	}
}

static void a_set_of_prefixes_keeps_families_apart(void **state)
{
	struct ip_cidr all6 = cidr("::/0"), all4 = cidr("0.0.0.0/0");
	struct ip_addr four = ip("192.0.2.1"), six = ip("2001:db8::1");
	struct cidr_set *set = cidr_set_new(&all6, 1);

	(void)state;
	assert_false(cidr_set_contains(set, &four));
	assert_true(cidr_set_contains(set, &six));
	cidr_set_free(set);
	set = cidr_set_new(&all4, 1);
	assert_true(cidr_set_contains(set, &four));
	assert_false(cidr_set_contains(set, &six));
	cidr_set_free(set);
	set = cidr_set_new(NULL, 0);
	assert_false(cidr_set_contains(set, &four));
	cidr_set_free(set);
}

static void who_needs_a_voucher_unless_any(void **state)
{
	const struct route_who k = { .cid = 16 }, zero = { .cid = 0 }, any = { .any = true };
	const struct route_rule rules[] = { { .who = &k, .n_who = 1 }, { .who = &zero, .n_who = 1 },
					    { .who = &any, .n_who = 1 } };

	(void)state;
	assert_int_equal(match(LIST(rules), &(struct route_query){ .vouched = true, .cid = 16 }), 0);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .vouched = false, .cid = 16 }), 2);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .vouched = false }), 2);
	assert_int_equal(match(LIST(rules), &(struct route_query){ .vouched = true, .cid = 17 }), 2);
	assert_int_equal(match(rules, 2, &(struct route_query){ .vouched = true, .cid = 17 }), MISS);
}

static void prefixes_and_peers_are_one_matcher(void **state)
{
	struct ip_cidr list[10];
	const struct route_who k = { .cid = 16 };
	struct route_rule rule = { .from = list, .who = &k, .n_who = 1 };
	struct ip_addr in = ip("10.0.0.1"), out = ip("192.0.2.1");

	(void)state;
	for (size_t i = 0; i < 10; i++)
		list[i] = cidr("10.0.0.0/8");
	for (rule.n_from = 1; rule.n_from <= 10; rule.n_from += 9) {
		assert_int_equal(match(&rule, 1, &(struct route_query){ .from = &in }), 0);
		assert_int_equal(match(&rule, 1, &(struct route_query){ .from = &out }), MISS);
		assert_int_equal(match(&rule, 1, &(struct route_query){ .from = &out, .vouched = true,
					.cid = 16 }), 0);
		assert_int_equal(match(&rule, 1, &(struct route_query){ .vouched = true, .cid = 17 }),
				 MISS);
	}
}

static void a_name_is_known_whatever_else_its_rule_asks(void **state)
{
	const struct route_pattern a = PATTERN(EXACT, "a"), re = PATTERN(REGEX, "^r"),
				   any = PATTERN(ANY, "");
	const struct slice path = S("/x");
	const struct route_rule rules[] = {
		{ .names = &a, .n_names = 1, .paths = &path, .n_paths = 1 },
		{ .names = &re, .n_names = 1, .paths = &path, .n_paths = 1 },
		{ .n_names = 0 },
		{ .names = &any, .n_names = 1, .paths = &path, .n_paths = 1 },
	};
	struct route_table *t = route_table_new(rules, 3, &key);

	(void)state;
	assert_true(route_knows_name(t, scratch, S("a")));
	assert_true(route_knows_name(t, scratch, S("rr")));
	assert_false(route_knows_name(t, scratch, S("b")));
	assert_false(route_knows_name(t, scratch, slice_of(NULL, 0)));
	route_table_free(t);
	t = route_table_new(rules, 4, &key);
	assert_true(route_knows_name(t, scratch, S("b")));
	route_table_free(t);
}

static void a_table_without_rules_takes_nothing(void **state)
{
	(void)state;
	assert_int_equal(match(NULL, 0, &(struct route_query){ .name = S("a") }), MISS);
}

/*
 * Long runs of regexes, which are asked as one where they can be: among them some that
 * cannot (not anchored, references, options, verbs), some that match much and hide others,
 * and a rule now and then that asks for more than a name.
 */
static void a_run_of_regexes_answers_as_one_by_one(void **state)
{
	static const char *const texts[] = {
		"^a", "^ab$", "^a[^b]", "^(?:a|b)c$", "a|^b", "^(a)\\1", "^(?i)B", "^b(?=c)", "c$", "^.b.$", "^[abc]{3}$",
		"^a|b", "^a|^b", "^\\w+$", "^c(?#x)", "^(*FAIL)a", "^$", "^\\x61", "^\\Qa\\Ec", "^ca|^cb", "^(b)(c)?$", "^a{0}c",
	};
	enum { RULES = 40, ROUNDS = 25, COUNT = sizeof(texts) / sizeof(texts[0]) };
	struct route_pattern patterns[RULES];
	struct route_rule rules[RULES];
	struct slice alpn = S("h2");
	uint32_t random = 11, found = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		char name[5];

		for (int i = 0; i < RULES; i++) {
			random = random * 1664525 + 1013904223;
			patterns[i] = (struct route_pattern){ ROUTE_PATTERN_REGEX,
							      slice_of_string(texts[(random >> 16) % COUNT]) };
			rules[i] = (struct route_rule)RULE_NAME(patterns[i]);
			if (random >> 29 == 0) {
				rules[i].alpns = &alpn;
				rules[i].n_alpns = 1;
			}
		}
		for (int n = 0; n < 3 * 3 * 3 + 3 * 3 + 3 + 1; n++) {
			int len = n < 1 ? 0 : n < 4 ? 1 : n < 13 ? 2 : 3, of = n < 1 ? 0 : n < 4 ? n - 1 : n < 13 ? n - 4 : n - 13;
			struct route_query q = { .alpn = round % 2 ? S("\002h2") : S("") };

			for (int i = 0; i < len; i++, of /= 3)
				name[i] = (char)('a' + of % 3);
			q.name = slice_of(name, (size_t)len);
			found += match(rules, RULES, &q) >= 0;
		}
	}
	assert_true(found > ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_exact_name_is_the_whole_name),
		cmocka_unit_test(a_leading_wildcard_is_one_or_more_labels),
		cmocka_unit_test(a_leading_dot_is_the_name_and_all_below),
		cmocka_unit_test(a_trailing_wildcard_is_one_or_more_labels),
		cmocka_unit_test(any_takes_every_name_and_none_takes_its_absence),
		cmocka_unit_test(a_regex_is_caseless_and_not_anchored),
		cmocka_unit_test(a_regex_past_its_limit_refuses),
		cmocka_unit_test(a_limit_past_the_best_rule_is_never_reached),
		cmocka_unit_test(a_bad_regex_has_a_message_and_an_offset),
		cmocka_unit_test(the_first_rule_wins_whatever_its_kind),
		cmocka_unit_test(alternatives_are_ored_and_matchers_anded),
		cmocka_unit_test(a_path_prefix_ends_at_a_segment),
		cmocka_unit_test(sources_match_by_prefix_in_lists_short_and_long),
		cmocka_unit_test(a_set_of_prefixes_keeps_families_apart),
		cmocka_unit_test(who_needs_a_voucher_unless_any),
		cmocka_unit_test(prefixes_and_peers_are_one_matcher),
		cmocka_unit_test(a_name_is_known_whatever_else_its_rule_asks),
		cmocka_unit_test(a_run_of_regexes_answers_as_one_by_one),
		cmocka_unit_test(a_table_without_rules_takes_nothing),
	};
	int failed;

	scratch = route_scratch_new();
	failed = cmocka_run_group_tests_name("route/rules", tests, NULL, NULL);
	route_scratch_free(scratch);
	return failed;
}

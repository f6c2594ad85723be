/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Egress rules: cases by hand, and random rule lists against a scan from the first
 * rule to the last that shares no code with the tables.
 */
#include <config.h>

#include "route/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { RULES_MAX = 24, TO_MAX = 4 };

static const struct hash_key key = { 1, 2 };
static struct route_scratch *scratch;

/* --- rules by hand --- */

/* A list of rules that is made word by word. */
static struct {
	struct route_rule rules[RULES_MAX];
	struct route_where to[RULES_MAX][TO_MAX];
	struct route_ports ports[RULES_MAX][TO_MAX];
	struct route_who who[RULES_MAX];
	size_t n;
} made;

static const struct route_ports any_port = { 1, 65535 };

static void rule(unsigned cid)
{
	struct route_rule *r = &made.rules[made.n];

	memset(r, 0, sizeof(*r));
	made.who[made.n] = (struct route_who){ cid == 0, cid };
	r->who = &made.who[made.n];
	r->n_who = 1;
	r->to = made.to[made.n++];
}

static void to(enum route_pattern_kind kind, const char *text, uint16_t first, uint16_t last)
{
	struct route_rule *r = &made.rules[made.n - 1];
	struct route_where *w = &made.to[made.n - 1][r->n_to];
	struct route_ports *p = &made.ports[made.n - 1][r->n_to++];

	*p = (struct route_ports){ first, last };
	*w = (struct route_where){ .ports = p, .n_ports = 1 };
	w->pattern = (struct route_pattern){ kind, slice_of_string(text) };
}

static void to_cidr(const char *text, uint16_t first, uint16_t last)
{
	struct route_rule *r = &made.rules[made.n - 1];
	struct route_where *w = &made.to[made.n - 1][r->n_to];

	to(ROUTE_PATTERN_ANY, "", first, last);
	w->is_cidr = true;
	assert_int_equal(ip_cidr_parse(slice_of_string(text), &w->cidr), IP_CIDR_OK);
}

/* The rule that takes it, -1 for none, -2 where a look-up comes first. */
static int ask(const struct route_policy *p, unsigned cid, const char *name, const char *address, uint16_t port,
	       bool failed)
{
	struct route_ask a = { .vouched = cid != 0, .cid = cid, .port = port, .lookup_failed = failed };
	struct ip_addr ip;
	size_t found = 0;

	if (name)
		a.name = slice_of_string(name);
	if (address) {
		assert_true(ip_parse(slice_of_string(address), &ip));
		a.address = &ip;
	}
	switch (route_policy_match(p, scratch, &a, &found)) {
	case POLICY_FOUND:
		return (int)found;
	case POLICY_LOOK_UP:
		return -2;
	case POLICY_LIMIT:
		return -3;
	case POLICY_MISS:
		break;
	}
	return -1;
}

static void rules_run_top_down_for_each_name_and_address(void **state)
{
	struct route_policy *p;

	(void)state;
	made.n = 0;
	rule(16);
	to(ROUTE_PATTERN_EXACT, "acme.test", 443, 443);
	rule(0);
	to_cidr("203.0.113.0/24", 443, 443);
	rule(0);
	to(ROUTE_PATTERN_BELOW, "example.org", 1024, 2047);
	to(ROUTE_PATTERN_AT_BELOW, "example.org", 443, 443);
	rule(17);
	to(ROUTE_PATTERN_ANY, "", 1, 65535);
	rule(16);
	to(ROUTE_PATTERN_REGEX, "^r[0-9]+\\.test$", 443, 443);
	p = route_policy_new(made.rules, made.n, NULL, 0, &key);

	assert_int_equal(ask(p, 16, "acme.test", NULL, 443, false), 0);
	assert_int_equal(ask(p, 17, "acme.test", NULL, 443, false), -2);
	assert_int_equal(ask(p, 17, "acme.test", NULL, 80, false), 3);
	assert_int_equal(ask(p, 0, "acme.test", NULL, 80, false), -1);
	/* the look-up decides between the CIDR and what comes behind it */
	assert_int_equal(ask(p, 16, "example.org", NULL, 443, false), -2);
	assert_int_equal(ask(p, 16, "example.org", "203.0.113.7", 443, false), 1);
	assert_int_equal(ask(p, 16, "example.org", "198.51.100.7", 443, false), 2);
	assert_int_equal(ask(p, 16, "example.org", NULL, 443, true), 2);
	assert_int_equal(ask(p, 16, "a.example.org", NULL, 1500, false), 2);
	assert_int_equal(ask(p, 16, "example.org", NULL, 1500, false), -1);
	assert_int_equal(ask(p, 16, "xexample.org", NULL, 443, true), -1);
	/* literal addresses: "*" and CIDRs only */
	assert_int_equal(ask(p, 17, NULL, "8.8.8.8", 53, false), 3);
	assert_int_equal(ask(p, 17, NULL, "203.0.113.1", 443, false), 1);
	assert_int_equal(ask(p, 16, NULL, "8.8.8.8", 53, false), -1);
	assert_int_equal(ask(p, 16, "r12.test", "8.8.8.8", 443, false), 4);
	assert_int_equal(ask(p, 16, "r12.test.evil", "8.8.8.8", 443, false), -1);
	route_policy_free(p);
}

static void a_peer_nobody_vouches_for_is_any(void **state)
{
	struct route_policy *p;

	(void)state;
	made.n = 0;
	rule(16);
	to(ROUTE_PATTERN_ANY, "", 1, 65535);
	rule(0);
	to(ROUTE_PATTERN_ANY, "", 80, 80);
	p = route_policy_new(made.rules, made.n, NULL, 0, &key);
	assert_int_equal(ask(p, 0, "a.test", NULL, 80, false), 1);
	assert_int_equal(ask(p, 0, "a.test", NULL, 443, false), -1);
	assert_int_equal(ask(p, 16, "a.test", NULL, 80, false), 0);
	route_policy_free(p);
}

static void nat64_is_taken_by_rules_for_either_form(void **state)
{
	struct route_policy *p;

	(void)state;
	made.n = 0;
	rule(0);
	to_cidr("10.0.0.0/8", 1, 65535);
	rule(0);
	to_cidr("64:ff9b::/96", 1, 65535);
	rule(0);
	to_cidr("::/0", 1, 65535);
	rule(0);
	to_cidr("0.0.0.0/0", 1, 65535);
	p = route_policy_new(made.rules, made.n, NULL, 0, &key);
	assert_int_equal(ask(p, 0, NULL, "10.1.1.1", 1, false), 0);
	assert_int_equal(ask(p, 0, NULL, "::ffff:10.1.1.1", 1, false), 0);
	assert_int_equal(ask(p, 0, NULL, "64:ff9b::10.1.1.1", 1, false), 0);
	assert_int_equal(ask(p, 0, NULL, "64:ff9b::8.8.8.8", 1, false), 1);
	assert_int_equal(ask(p, 0, NULL, "2001:db8::1", 1, false), 2);
	assert_int_equal(ask(p, 0, NULL, "9.9.9.9", 1, false), 3);
	route_policy_free(p);
}

static bool may_dial(const struct route_policy *p, size_t number, const char *address, uint16_t port)
{
	struct address_verdict v;
	struct ip_addr a;

	assert_true(ip_parse(slice_of_string(address), &a));
	return route_policy_judge(p, number, &a, port, &v);
}

static void direct_reaches_public_addresses_and_what_its_own_rule_opens(void **state)
{
	struct route_policy *p;

	(void)state;
	made.n = 0;
	rule(0);
	to(ROUTE_PATTERN_EXACT, "db.test", 5432, 5432);
	to_cidr("10.1.0.0/16", 5432, 5432);
	rule(0);
	to(ROUTE_PATTERN_ANY, "", 1, 65535);
	rule(0);
	to_cidr("0.0.0.0/0", 1, 65535);
	rule(0);
	to_cidr("169.254.0.0/16", 1, 65535);
	p = route_policy_new(made.rules, made.n, NULL, 0, &key);
	assert_true(may_dial(p, 0, "10.1.2.3", 5432));
	assert_true(may_dial(p, 0, "64:ff9b::10.1.2.3", 5432));
	assert_true(may_dial(p, 0, "8.8.8.8", 5432));
	assert_false(may_dial(p, 0, "10.1.2.3", 80));
	assert_false(may_dial(p, 0, "10.2.2.3", 5432));
	assert_false(may_dial(p, 1, "10.1.2.3", 5432));
	assert_true(may_dial(p, 1, "1.1.1.1", 443));
	assert_false(may_dial(p, 2, "127.0.0.1", 443));
	assert_true(may_dial(p, 3, "169.254.169.253", 53));
	assert_false(may_dial(p, 3, "169.254.169.254", 80));
	route_policy_free(p);
}

static void own_listeners_are_known(void **state)
{
	static struct route_own own[] = {
		{ .any_v4 = true, .any_v6 = true, .port = 443 },
		{ .any_v4 = true, .port = 80 },
		{ .port = 8080 },
		{ .port = 8081 },
		{ .port = 8082 },
		{ .port = 8083 },
	};
	static const struct {
		const char *address;
		uint16_t port;
		enum route_own_result result;
	} asked[] = {
		{ "9.9.9.9", 443, ROUTE_OWN_IF_LOCAL },	  { "2a00::1", 443, ROUTE_OWN_IF_LOCAL },
		{ "127.0.0.7", 443, ROUTE_OWN },	  { "::1", 443, ROUTE_OWN },
		{ "0.0.0.0", 443, ROUTE_OWN },		  { "9.9.9.9", 80, ROUTE_OWN_IF_LOCAL },
		{ "2a00::1", 80, ROUTE_NOT_OWN },	  { "64:ff9b::9.9.9.9", 80, ROUTE_OWN_IF_LOCAL },
		{ "192.0.2.1", 8080, ROUTE_OWN },	  { "::ffff:192.0.2.1", 8080, ROUTE_OWN },
		{ "64:ff9b::192.0.2.1", 8080, ROUTE_OWN }, { "192.0.2.2", 8080, ROUTE_NOT_OWN },
		{ "2001:db8::1", 8081, ROUTE_OWN },	  { "2001:db8::1", 8080, ROUTE_NOT_OWN },
		{ "9.9.9.9", 444, ROUTE_NOT_OWN },
		/* connect(2) takes "any" for the loopback of its family. */
		{ "0.0.0.0", 8082, ROUTE_OWN },		  { "::ffff:0.0.0.0", 8082, ROUTE_OWN },
		{ "64:ff9b::", 8082, ROUTE_OWN },	  { "::", 8082, ROUTE_NOT_OWN },
		{ "::", 8083, ROUTE_OWN },		  { "0.0.0.0", 8083, ROUTE_NOT_OWN },
		{ "0.0.0.1", 8082, ROUTE_NOT_OWN },
	};
	struct route_policy *p;

	(void)state;
	assert_true(ip_parse(SLICE_LITERAL("192.0.2.1"), &own[2].ip));
	assert_true(ip_parse(SLICE_LITERAL("2001:db8::1"), &own[3].ip));
	assert_true(ip_parse(SLICE_LITERAL("127.0.0.1"), &own[4].ip));
	assert_true(ip_parse(SLICE_LITERAL("::1"), &own[5].ip));
	p = route_policy_new(NULL, 0, own, COUNT(own), &key);
	for (size_t i = 0; i < COUNT(asked); i++) {
		struct ip_addr a;

		assert_true(ip_parse(slice_of_string(asked[i].address), &a));
		if (route_policy_is_own(p, &a, asked[i].port) != asked[i].result)
			fail_msg("%s port %u", asked[i].address, asked[i].port);
	}
	route_policy_free(p);
}

/* --- random rules against a scan --- */

static uint64_t seed;

/* xorshift64*, so that a seed is a run on every machine. */
static unsigned below(unsigned n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (unsigned)((seed * 0x2545f4914f6cdd1dull) >> 33) % n;
}

static const char *const names[] = { "a.b", "b", "c.a.b", "x.c.a.b", "a", "b.a", "ab", "a.ab" };
static const uint16_t ports[] = { 1, 80, 443, 8443, 65535 };

static void random_address(char text[IP_TEXT_SIZE])
{
	static const char *const starts[] = { "", "::ffff:", "64:ff9b::" };

	if (below(3) == 0)
		snprintf(text, IP_TEXT_SIZE, "2001:db%u::%u", below(2), below(3));
	else
		snprintf(text, IP_TEXT_SIZE, "%s10.%u.0.%u", starts[below(3)], below(3), below(4));
}

static void random_rule(void)
{
	static const char *const cidrs[] = {
		"10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/31", "10.2.0.2/32", "0.0.0.0/0", "::/0", "2001:db0::/31",
		"2001:db1::/32", "64:ff9b::/96", "64:ff9b::a01:0/112", "2001:db0::1/128",
	};
	unsigned n = below(TO_MAX + 1);

	rule(below(3) + (below(4) ? 15 : 0));
	if (below(5) == 0)
		made.rules[made.n - 1].n_who = 0;
	for (unsigned i = 0; i < n; i++) {
		uint16_t a = ports[below(COUNT(ports))], b = ports[below(COUNT(ports))];

		if (a > b || below(2))
			b = a;
		if (below(3) == 0)
			to_cidr(cidrs[below(COUNT(cidrs))], a, b);
		else
			to((enum route_pattern_kind[]){ ROUTE_PATTERN_EXACT, ROUTE_PATTERN_BELOW, ROUTE_PATTERN_AT_BELOW,
							ROUTE_PATTERN_LEADING, ROUTE_PATTERN_ANY }[below(5)],
			   names[below(COUNT(names))], a, b);
	}
}

static bool plain_bits(const struct ip_cidr *c, const struct ip_addr *a)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (c->v4 != (memcmp(a->b, mapped, 12) == 0))
		return false;
	for (unsigned i = 0; i < c->prefix; i++)
		if ((c->net.b[i / 8] ^ a->b[i / 8]) >> (7 - i % 8) & 1)
			return false;
	return true;
}

static bool plain_cidr(const struct ip_cidr *c, const struct ip_addr *a)
{
	struct ip_addr inside;
	char text[IP_TEXT_SIZE], v4[IP_TEXT_SIZE];

	if (plain_bits(c, a))
		return true;
	if (strncmp(ip_format(a, text), "64:ff9b::", 9) != 0)
		return false;
	snprintf(v4, sizeof(v4), "%u.%u.%u.%u", a->b[12], a->b[13], a->b[14], a->b[15]);
	return ip_parse(slice_of_string(v4), &inside) && plain_bits(c, &inside);
}

static bool plain_pattern(const struct route_pattern *p, const char *name)
{
	char dotted[64], want[64];
	size_t n, m;

	if (p->kind == ROUTE_PATTERN_ANY)
		return true;
	if (!name)
		return false;
	snprintf(want, sizeof(want), p->kind == ROUTE_PATTERN_LEADING ? "%.*s." : ".%.*s", (int)p->text.len, p->text.ptr);
	snprintf(dotted, sizeof(dotted), ".%s", name);
	n = strlen(dotted);
	m = strlen(want);
	switch (p->kind) {
	case ROUTE_PATTERN_EXACT:
		return strcmp(dotted, want) == 0;
	case ROUTE_PATTERN_AT_BELOW:
		return n >= m && strcmp(dotted + n - m, want) == 0;
	case ROUTE_PATTERN_BELOW:
		return n > m && strcmp(dotted + n - m, want) == 0;
	default:
		return strncmp(name, want, m) == 0;
	}
}

/* What each rule says: takes, does not, or (a CIDR without an address) would have to know. */
static bool plain_takes(const struct route_rule *r, const struct route_ask *a, const char *name, bool *unsure)
{
	bool who = r->n_who == 0;

	for (size_t i = 0; i < r->n_who; i++)
		who |= r->who[i].any || (a->vouched && a->cid == r->who[i].cid);
	if (!who || r->n_to == 0)
		return who;
	for (size_t i = 0; i < r->n_to; i++) {
		const struct route_where *w = &r->to[i];

		if (a->port < w->ports[0].first || a->port > w->ports[0].last)
			continue;
		if (!w->is_cidr && plain_pattern(&w->pattern, name))
			return true;
		if (w->is_cidr && a->address && plain_cidr(&w->cidr, a->address))
			return true;
		if (w->is_cidr && !a->address && !a->lookup_failed)
			*unsure = true;
	}
	return false;
}

static int plain_ask(const struct route_ask *a, const char *name)
{
	for (size_t i = 0; i < made.n; i++) {
		bool unsure = false;

		/* Whichever alternative of a rule it is, the rule is the same: no need to know. */
		if (plain_takes(&made.rules[i], a, name, &unsure))
			return (int)i;
		if (unsure)
			return -2;
	}
	return -1;
}

static void one_query(const struct route_policy *p, uint64_t started)
{
	char text[IP_TEXT_SIZE];
	const char *name = below(3) ? names[below(COUNT(names))] : NULL;
	struct route_ask a = { .vouched = below(4) != 0, .cid = 15 + below(3), .port = ports[below(COUNT(ports))] };
	struct ip_addr ip;
	size_t found = 0;
	int want, got;

	if (name)
		a.name = slice_of_string(name);
	if (!name || below(2)) {
		random_address(text);
		assert_true(ip_parse(slice_of_string(text), &ip));
		a.address = &ip;
	} else {
		a.lookup_failed = below(2);
	}
	want = plain_ask(&a, name);
	switch (route_policy_match(p, scratch, &a, &found)) {
	case POLICY_FOUND:
		got = (int)found;
		break;
	case POLICY_LOOK_UP:
		got = -2;
		break;
	default:
		got = -1;
	}
	if (want != got)
		fail_msg("POLICY_SEED=%llu: %s %s port %u: rule %d, not %d", (unsigned long long)started,
			 name ? name : "-", a.address ? text : "-", a.port, got, want);
	for (size_t i = 0; i < made.n; i++) {
		bool unsure = false;

		if (plain_takes(&made.rules[i], &a, name, &unsure) !=
		    route_policy_rule_takes(&made.rules[i], scratch, &a))
			fail_msg("POLICY_SEED=%llu: rule %zu", (unsigned long long)started, i);
	}
}

static void tables_say_what_a_scan_says(void **state)
{
	const char *given = getenv("POLICY_SEED");

	(void)state;
	seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
	for (unsigned list = 0; list < 2000; list++) {
		uint64_t started = seed;
		struct route_policy *p;
		unsigned n = 1 + below(RULES_MAX);

		made.n = 0;
		while (made.n < n)
			random_rule();
		p = route_policy_new(made.rules, made.n, NULL, 0, &key);
		for (unsigned i = 0; i < 50; i++)
			one_query(p, started);
		route_policy_free(p);
	}
}

/* The last of 100,000 is found in no more steps than the last of ten, or this takes minutes. */
static void a_hundred_thousand_names_and_prefixes_are_quick(void **state)
{
	enum { N = 100000 };
	struct route_rule *rules = calloc(N, sizeof(*rules));
	struct route_where *w = calloc(N, sizeof(*w));
	char(*texts)[32] = calloc(N, sizeof(*texts));
	struct route_policy *p;

	(void)state;
	assert_true(rules && w && texts);
	for (unsigned i = 0; i < N; i++) {
		unsigned char ip[4] = { 20, (unsigned char)(i >> 16), (unsigned char)(i >> 8), (unsigned char)i };

		snprintf(texts[i], sizeof(texts[i]), "n%u.example.org", i);
		w[i] = (struct route_where){ .ports = &any_port, .n_ports = 1 };
		w[i].pattern = (struct route_pattern){ ROUTE_PATTERN_EXACT, slice_of_string(texts[i]) };
		w[i].is_cidr = i % 2;
		w[i].cidr = (struct ip_cidr){ ip_from_v4(ip), 128, true };
		rules[i].to = &w[i];
		rules[i].n_to = 1;
	}
	p = route_policy_new(rules, N, NULL, 0, &key);
	for (unsigned i = 0; i < N; i += 2) {
		unsigned char ip[4] = { 20, (unsigned char)((i + 1) >> 16), (unsigned char)((i + 1) >> 8), (unsigned char)(i + 1) };
		struct ip_addr addr = ip_from_v4(ip);
		struct route_ask a = { .name = slice_of_string(texts[i]), .port = 443, .lookup_failed = true };
		size_t found;

		assert_int_equal(route_policy_match(p, scratch, &a, &found), POLICY_FOUND);
		assert_int_equal(found, i);
		a = (struct route_ask){ .address = &addr, .port = 443 };
		assert_int_equal(route_policy_match(p, scratch, &a, &found), POLICY_FOUND);
		assert_int_equal(found, i + 1);
	}
	route_policy_free(p);
	free(rules);
	free(w);
	free(texts);
}

static int set_up(void **state)
{
	(void)state;
	scratch = route_scratch_new();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	route_scratch_free(scratch);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_run_top_down_for_each_name_and_address),
		cmocka_unit_test(a_peer_nobody_vouches_for_is_any),
		cmocka_unit_test(nat64_is_taken_by_rules_for_either_form),
		cmocka_unit_test(direct_reaches_public_addresses_and_what_its_own_rule_opens),
		cmocka_unit_test(own_listeners_are_known),
		cmocka_unit_test(tables_say_what_a_scan_says),
		cmocka_unit_test(a_hundred_thousand_names_and_prefixes_are_quick),
	};

	return cmocka_run_group_tests_name("route/policy", tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random rule lists, and random queries to each: route_match() against a scan
 * from the first rule to the last by a matcher that shares no code with it.
 * That one splits names and paths into pieces, compares bits one by one, and
 * asks POSIX for regular expressions.
 *
 * ROUTE_COMPARISONS is how many look-ups are compared (a million; fewer under
 * sanitizers), ROUTE_SEED repeats a run.
 */
#include <config.h>

#include "route/rules.h"

#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { COMPARISONS = 150000 };
#else
enum { COMPARISONS = 1000000 };
#endif

enum {
	RULES_MAX = 40,
	NAMES_MAX = 3,
	LIST_MAX = 3,
	FROM_MAX = 12,		/* past what is scanned */
	QUERIES = 500,		/* for each rule list */
	LABELS_MAX = 5,
	TEXT_MAX = 64,
};

static const char *const labels[] = { "a", "b", "aa", "ab", "x-1" };
static const char *const segments[] = { "a", "b", "ab", ".well-known" };
static const char *const alpns[] = { "h2", "http/1.1", "acme-tls/1" };
/* The same in PCRE2 and in POSIX, over the bytes of names. */
static const char *const regexes[] = {
	"^a\\.", "b$", "a\\.B", "^(a|b)(\\.[ab]+)*$", "X", "^.{3}$", ".*", "^aa?\\.b", "^$", "-1\\.a$",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What one random rule points to. */
struct store {
	struct route_pattern names[NAMES_MAX];
	char texts[NAMES_MAX][TEXT_MAX];
	size_t regex[NAMES_MAX];
	struct slice alpns[LIST_MAX], paths[LIST_MAX];
	char path_texts[LIST_MAX][TEXT_MAX];
	struct ip_cidr from[FROM_MAX];
	struct route_who who[LIST_MAX];
};

/* A query, beside it what it was made of. */
struct asked {
	struct route_query query;
	char name[TEXT_MAX], path[TEXT_MAX], alpn[TEXT_MAX];
	bool offers[COUNT(alpns)];
	struct ip_addr from;
};

static regex_t posix[COUNT(regexes)];
static uint64_t seed;

/* xorshift64*, so that a seed is a run on every machine. */
static unsigned below(unsigned n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (unsigned)((seed * 0x2545f4914f6cdd1dull) >> 33) % n;
}

static bool one_in(unsigned n)
{
	return below(n) == 0;
}

/* --- the scan --- */

/* Splits at c; pieces borrow from text. */
static size_t split(struct slice text, char c, struct slice pieces[TEXT_MAX])
{
	size_t n = 0, start = 0;

	for (size_t i = 0; i <= text.len; i++) {
		if (i < text.len && text.ptr[i] != c)
			continue;
		pieces[n++] = slice_of(text.ptr + start, i - start);
		start = i + 1;
	}
	return n;
}

static bool same_pieces(const struct slice *a, const struct slice *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i].len != b[i].len || strncmp(a[i].ptr, b[i].ptr, a[i].len) != 0)
			return false;
	return true;
}

static bool plain_name(const struct route_pattern *p, size_t regex, const struct asked *a)
{
	struct slice have[TEXT_MAX], want[TEXT_MAX];
	size_t n, m;

	if (!a->query.name.ptr)
		return p->kind == ROUTE_PATTERN_NONE;
	if (p->kind == ROUTE_PATTERN_NONE || p->kind == ROUTE_PATTERN_ANY)
		return p->kind == ROUTE_PATTERN_ANY;
	if (p->kind == ROUTE_PATTERN_REGEX)
		return regexec(&posix[regex], a->name, 0, NULL, 0) == 0;
	n = split(a->query.name, '.', have);
	m = split(p->text, '.', want);
	if (p->kind == ROUTE_PATTERN_EXACT)
		return n == m && same_pieces(have, want, n);
	if (p->kind == ROUTE_PATTERN_AT_BELOW)
		return n >= m && same_pieces(have + n - m, want, m);
	if (n <= m)
		return false;
	return same_pieces(p->kind == ROUTE_PATTERN_BELOW ? have + n - m : have, want, m);
}

static bool plain_path(struct slice prefix, struct slice path)
{
	struct slice have[TEXT_MAX], want[TEXT_MAX];
	size_t n = split(path, '/', have), m = split(prefix, '/', want);

	/* A prefix with a slash at its end asks for one more segment, which may be empty. */
	if (want[m - 1].len == 0)
		return n >= m && same_pieces(have, want, m - 1);
	return n >= m && same_pieces(have, want, m);
}

static bool bit(const struct ip_addr *a, unsigned i)
{
	return a->b[i / 8] >> (7 - i % 8) & 1;
}

static bool plain_cidr(const struct ip_cidr *c, const struct ip_addr *a)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

	if ((memcmp(a->b, mapped, 12) == 0) != c->v4)
		return false;
	for (unsigned i = 0; i < c->prefix; i++)
		if (bit(&c->net, i) != bit(a, i))
			return false;
	return true;
}

static bool plain_rule(const struct route_rule *r, const struct store *s, const struct asked *a)
{
	bool name = r->n_names == 0, alpn = r->n_alpns == 0, path = r->n_paths == 0,
	     from = r->n_from + r->n_who == 0;

	for (size_t i = 0; i < r->n_names; i++)
		name |= plain_name(&r->names[i], s->regex[i], a);
	for (size_t i = 0; i < r->n_alpns; i++)
		for (size_t k = 0; k < COUNT(alpns); k++)
			alpn |= a->offers[k] && strcmp(alpns[k], r->alpns[i].ptr) == 0;
	for (size_t i = 0; i < r->n_paths; i++)
		path |= plain_path(r->paths[i], a->query.path);
	for (size_t i = 0; i < r->n_from; i++)
		from |= a->query.from && plain_cidr(&r->from[i], a->query.from);
	for (size_t i = 0; i < r->n_who; i++)
		from |= r->who[i].any || (a->query.vouched && a->query.cid == r->who[i].cid);
	return name && alpn && path && from;
}

/* --- what is random --- */

static struct slice random_name(char text[TEXT_MAX])
{
	unsigned n = 1 + below(LABELS_MAX);
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, TEXT_MAX - len, "%s%s", i ? "." : "",
					labels[below(COUNT(labels))]);
	return slice_of(text, len);
}

static struct slice random_path(char text[TEXT_MAX])
{
	unsigned n = below(4);
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, TEXT_MAX - len, "/%s",
					segments[below(COUNT(segments))]);
	if (n == 0 || one_in(3))
		len += (size_t)snprintf(text + len, TEXT_MAX - len, "/");
	return slice_of(text, len);
}

/* Few bits vary, so that prefixes are hit. */
static struct ip_addr random_ip(void)
{
	unsigned char b[16] = { 0x20, 0x01, 0x0d, 0xb8 };

	if (one_in(3)) {
		b[4] = (unsigned char)(below(4) << 6);
		b[15] = (unsigned char)below(4);
		return ip_from_v6(b);
	}
	return ip_from_v4((unsigned char[]){ 10, (unsigned char)(below(4) << 6), 0,
					     (unsigned char)below(4) });
}

static struct ip_cidr random_cidr(void)
{
	struct ip_cidr c = { .net = random_ip() };

	c.v4 = ip_is_v4(&c.net);
	c.prefix = (uint8_t)(c.v4 ? 96 + below(33) : below(129));
	for (unsigned i = c.prefix; i < 128; i++)
		c.net.b[i / 8] &= (unsigned char)~(0x80 >> i % 8);
	return c;
}

static void random_pattern(struct store *s, size_t i)
{
	static const enum route_pattern_kind kinds[] = {
		ROUTE_PATTERN_EXACT, ROUTE_PATTERN_EXACT, ROUTE_PATTERN_BELOW,
		ROUTE_PATTERN_AT_BELOW, ROUTE_PATTERN_LEADING, ROUTE_PATTERN_REGEX,
		ROUTE_PATTERN_NONE, ROUTE_PATTERN_ANY,
	};
	/* "*" ends most lists, so it is kept rare. */
	struct route_pattern p = { .kind = kinds[below(one_in(4) ? COUNT(kinds) : COUNT(kinds) - 1)] };

	if (p.kind == ROUTE_PATTERN_REGEX) {
		s->regex[i] = below(COUNT(regexes));
		p.text = slice_of_string(regexes[s->regex[i]]);
	} else {
		p.text = random_name(s->texts[i]);
	}
	s->names[i] = p;
}

static struct route_rule random_rule(struct store *s)
{
	struct route_rule r = { .names = s->names, .alpns = s->alpns, .paths = s->paths,
				.from = s->from, .who = s->who };

	r.n_names = one_in(8) ? 0 : 1 + below(NAMES_MAX);
	for (size_t i = 0; i < r.n_names; i++)
		random_pattern(s, i);
	r.n_alpns = one_in(3) ? 1 + below(LIST_MAX) : 0;
	for (size_t i = 0; i < r.n_alpns; i++)
		s->alpns[i] = slice_of_string(alpns[below(COUNT(alpns))]);
	r.n_paths = one_in(3) ? 1 + below(LIST_MAX) : 0;
	for (size_t i = 0; i < r.n_paths; i++)
		s->paths[i] = random_path(s->path_texts[i]);
	r.n_from = one_in(3) ? 1 + below(FROM_MAX) : 0;
	for (size_t i = 0; i < r.n_from; i++)
		s->from[i] = random_cidr();
	r.n_who = one_in(5) ? 1 + below(LIST_MAX) : 0;
	for (size_t i = 0; i < r.n_who; i++)
		s->who[i] = (struct route_who){ one_in(6), 16 + below(4) };
	return r;
}

static void random_query(struct asked *a)
{
	size_t len = 0;

	memset(a, 0, sizeof(*a));
	if (!one_in(10))
		a->query.name = random_name(a->name);
	a->query.path = random_path(a->path);
	for (size_t i = 0; i < COUNT(alpns); i++) {
		a->offers[i] = one_in(2);
		if (a->offers[i])
			len += (size_t)snprintf(a->alpn + len, TEXT_MAX - len, "%c%s",
						(int)strlen(alpns[i]), alpns[i]);
	}
	a->query.alpn = slice_of(a->alpn, len);
	a->from = random_ip();
	a->query.from = one_in(8) ? NULL : &a->from;
	a->query.vouched = one_in(2);
	a->query.cid = 16 + below(4);
}

/* --- */

static size_t plain_match(const struct route_rule *rules, const struct store *stores, size_t n,
			  const struct asked *a)
{
	for (size_t i = 0; i < n; i++)
		if (plain_rule(&rules[i], &stores[i], a))
			return i;
	return n;
}

static void the_tables_agree_with_a_plain_scan(void **state)
{
	static struct store stores[RULES_MAX];
	struct route_rule rules[RULES_MAX];
	struct route_scratch *scratch = route_scratch_new();
	const char *count = getenv("ROUTE_COMPARISONS");
	size_t left = count ? strtoul(count, NULL, 10) : COMPARISONS, found = 0, done = 0;

	(void)state;
	while (left > 0) {
		size_t n = below(RULES_MAX + 1);
		struct hash_key key = { below(1000), below(1000) };
		struct route_table *t;

		for (size_t i = 0; i < n; i++)
			rules[i] = random_rule(&stores[i]);
		t = route_table_new(rules, n, &key);
		for (size_t i = 0; i < QUERIES && left > 0; i++, left--, done++) {
			struct asked a;
			size_t got = n, want;
			enum route_result result;

			random_query(&a);
			want = plain_match(rules, stores, n, &a);
			result = route_match(t, scratch, &a.query, &got);
			assert_int_equal(result, want < n ? ROUTE_FOUND : ROUTE_MISS);
			if (got != want)
				fail_msg("%s%s: rule %zu by table, %zu by scan", a.name, a.path, got,
					 want);
			found += want < n;
		}
		route_table_free(t);
	}
	/* Were nearly all found, or nearly none, the comparison would say little. */
	assert_true(done < 1000 || (found > done / 5 && found < done - done / 20));
	print_message("# %zu look-ups compared, %zu found\n", done, found);
	route_scratch_free(scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tables_agree_with_a_plain_scan),
	};
	const char *chosen = getenv("ROUTE_SEED");
	int failed;

	for (size_t i = 0; i < COUNT(regexes); i++)
		if (regcomp(&posix[i], regexes[i], REG_EXTENDED | REG_ICASE | REG_NOSUB))
			return 1;
	seed = chosen ? strtoull(chosen, NULL, 10) : (uint64_t)time(NULL);
	seed += !seed;
	printf("# ROUTE_SEED=%llu\n", (unsigned long long)seed);
	failed = cmocka_run_group_tests_name("route/property", tests, NULL, NULL);
	for (size_t i = 0; i < COUNT(regexes); i++)
		regfree(&posix[i]);
	return failed;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables behind route_match().
 *
 * A rule can be in three places at once: in the name tables, in the list of
 * rules to scan (those without names, and those with "*" or none) and in the
 * list of regexes.  The best number so far bounds each search after it, so the
 * costly ones, which come last, are asked for the least.
 */
#include <config.h>

#include "route/rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "route/cidr_set.h"
#include "route/matchers.h"
#include "route/names.h"
#include "route/regex.h"

enum { NO_RULE = UINT32_MAX };

/* Up to here a scan of the list beats the bisection, and costs no memory. */
enum { CIDR_SCAN_MAX = 8 };

/* Fewer regexes are as fast one by one; more do not compile into one. */
enum { JOIN_MIN = 4, JOIN_MAX = 1024 };

/* A rule that is asked in its turn whatever the name. */
struct scanned {
	uint32_t rule;
	bool named, unnamed;	/* takes a query with a name; one without */
};

struct tried {
	uint32_t rule;
	struct route_regex *regex;
	struct slice pattern;
	bool joins;
	/* At the first of a run: all of it as one. */
	struct route_regex *joined;
	uint32_t n_joined;
};

struct route_table {
	const struct route_rule *rules;
	size_t n_rules;
	struct names *names;
	struct scanned *scanned;
	size_t n_scanned;
	struct tried *tried;
	size_t n_tried;
	struct cidr_set **from;	/* by rule, NULL for short lists; NULL where all are short */
};

static bool has_key(enum route_pattern_kind kind)
{
	switch (kind) {
	case ROUTE_PATTERN_EXACT:
	case ROUTE_PATTERN_BELOW:
	case ROUTE_PATTERN_AT_BELOW:
	case ROUTE_PATTERN_LEADING:
		return true;
	case ROUTE_PATTERN_ANY:
	case ROUTE_PATTERN_REGEX:
	case ROUTE_PATTERN_NONE:
		break;
	}
	return false;
}

static bool has_only_names(const struct route_rule *rule)
{
	return rule->n_alpns + rule->n_paths + rule->n_from + rule->n_who == 0;
}

static void try_add(struct route_table *t, uint32_t number, struct slice pattern)
{
	struct tried *tried = &t->tried[t->n_tried++];

	*tried = (struct tried){ .rule = number, .regex = route_regex_new(pattern) };
	tried->joins = has_only_names(&t->rules[number]) && route_regex_joins(tried->regex, pattern);
	tried->pattern = pattern;
}

/* From first on, as many as join and compile together; the number of them. */
static size_t join_run(struct route_table *t, size_t first)
{
	struct slice *patterns = xcalloc(JOIN_MAX, sizeof(*patterns));
	struct tried *tried = &t->tried[first];
	size_t n = 0;

	while (n < JOIN_MAX && first + n < t->n_tried && tried[n].joins) {
		patterns[n] = tried[n].pattern;
		n++;
	}
	for (; n >= JOIN_MIN && !tried->joined; n = tried->joined ? n : n / 2)
		tried->joined = route_regex_join(patterns, n);
	free(patterns);
	tried->n_joined = tried->joined ? (uint32_t)n : 0;
	return tried->joined ? n : 1;
}

static void rule_add(struct route_table *t, uint32_t number)
{
	const struct route_rule *rule = &t->rules[number];
	struct scanned scanned = { number, rule->n_names == 0, rule->n_names == 0 };

	for (size_t i = 0; i < rule->n_names; i++) {
		const struct route_pattern *p = &rule->names[i];

		if (has_key(p->kind))
			names_add(t->names, p, number);
		else if (p->kind == ROUTE_PATTERN_REGEX)
			try_add(t, number, p->text);
		else if (p->kind == ROUTE_PATTERN_ANY)
			scanned.named = true;
		else
			scanned.unnamed = true;
	}
	if (scanned.named || scanned.unnamed)
		t->scanned[t->n_scanned++] = scanned;
	if (rule->n_from > CIDR_SCAN_MAX) {
		if (!t->from)
			t->from = xcalloc(t->n_rules, sizeof(struct cidr_set *));
		t->from[number] = cidr_set_new(rule->from, rule->n_from);
	}
}

struct route_table *route_table_new(const struct route_rule *rules, size_t n_rules,
				    const struct hash_key *key)
{
	struct route_table *t = xcalloc(1, sizeof(*t));
	size_t keyed = 0, tried = 0, scanned = 0;

	if (n_rules >= NO_RULE)
		xalloc_fail();
	for (size_t i = 0; i < n_rules; i++) {
		bool scan = rules[i].n_names == 0;

		for (size_t j = 0; j < rules[i].n_names; j++) {
			enum route_pattern_kind kind = rules[i].names[j].kind;

			keyed += has_key(kind);
			tried += kind == ROUTE_PATTERN_REGEX;
			scan |= kind == ROUTE_PATTERN_ANY || kind == ROUTE_PATTERN_NONE;
		}
		scanned += scan;
	}
	t->rules = rules;
	t->n_rules = n_rules;
	t->names = names_new(key, keyed);
	t->scanned = xcalloc(scanned + 1, sizeof(*t->scanned));
	t->tried = xcalloc(tried + 1, sizeof(*t->tried));
	for (size_t i = 0; i < n_rules; i++)
		rule_add(t, (uint32_t)i);
	for (size_t i = 0; i < t->n_tried;)
		i += join_run(t, i);
	return t;
}

void route_table_free(struct route_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; t->from && i < t->n_rules; i++)
		cidr_set_free(t->from[i]);
	for (size_t i = 0; i < t->n_tried; i++) {
		route_regex_free(t->tried[i].regex);
		route_regex_free(t->tried[i].joined);
	}
	free(t->from);
	free(t->tried);
	free(t->scanned);
	names_free(t->names);
	free(t);
}

/* All matchers but the name. */
struct rest {
	const struct route_table *table;
	const struct route_query *query;
};

static bool rest_takes(const void *arg, uint32_t number)
{
	const struct rest *rest = arg;
	const struct route_table *t = rest->table;
	const struct route_rule *rule = &t->rules[number];
	const struct route_query *q = rest->query;

	if (t->from && t->from[number]) {
		if (!(q->from && cidr_set_contains(t->from[number], q->from)) &&
		    !from_who_takes(rule, q))
			return false;
	} else if (!matcher_from_takes(rule, q)) {
		return false;
	}
	return matcher_alpn_takes(rule, q) && matcher_path_takes(rule, q);
}

static uint32_t scan(const struct rest *rest, uint32_t best)
{
	const struct route_table *t = rest->table;
	const bool named = rest->query->name.ptr != NULL;

	for (size_t i = 0; i < t->n_scanned && t->scanned[i].rule < best; i++)
		if ((named ? t->scanned[i].named : t->scanned[i].unnamed) &&
		    rest_takes(rest, t->scanned[i].rule))
			return t->scanned[i].rule;
	return best;
}

/*
 * The first rule before best one of whose regexes takes the name.  A run that is joined is
 * asked as one, unless that meets a limit.
 */
static enum route_regex_result try_regexes(const struct rest *rest, struct route_scratch *s, uint32_t *best)
{
	const struct route_table *t = rest->table;
	const struct slice name = rest->query->name;
	size_t i = 0;

	while (i < t->n_tried && t->tried[i].rule < *best) {
		const struct tried *tried = &t->tried[i];
		enum route_regex_result result = ROUTE_REGEX_LIMIT;
		size_t at = 0;

		if (tried->joined)
			result = route_regex_match_joined(tried->joined, s, name, &at);
		if (result == ROUTE_REGEX_YES) {
			if (tried[at].rule < *best)
				*best = tried[at].rule;
			return ROUTE_REGEX_YES;
		}
		if (result == ROUTE_REGEX_NO) {
			i += tried->n_joined;
			continue;
		}
		for (uint32_t n = tried->n_joined ? tried->n_joined : 1; n > 0; n--, i++) {
			tried = &t->tried[i];
			if (tried->rule >= *best || !rest_takes(rest, tried->rule))
				continue;
			/* A pattern that route_regex_check() refused takes nothing, and nothing after it. */
			result = tried->regex ? route_regex_match(tried->regex, s, name) : ROUTE_REGEX_LIMIT;
			if (result == ROUTE_REGEX_YES)
				*best = tried->rule;
			if (result != ROUTE_REGEX_NO)
				return result;
		}
	}
	return ROUTE_REGEX_NO;
}

enum route_result route_match(const struct route_table *t, struct route_scratch *s,
			      const struct route_query *q, size_t *ret_rule)
{
	const struct rest rest = { t, q };
	uint32_t best = NO_RULE;

	if (q->name.ptr)
		best = names_find(t->names, q->name, best, rest_takes, &rest);
	best = scan(&rest, best);
	if (q->name.ptr && try_regexes(&rest, s, &best) == ROUTE_REGEX_LIMIT)
		return ROUTE_LIMIT;
	if (best == NO_RULE)
		return ROUTE_MISS;
	*ret_rule = best;
	return ROUTE_FOUND;
}

bool route_knows_name(const struct route_table *t, struct route_scratch *s, struct slice name)
{
	if (!name.ptr)
		return false;
	if (names_find(t->names, name, NO_RULE, NULL, NULL) != NO_RULE)
		return true;
	/* Rules without names are among the scanned; they know nobody. */
	for (size_t i = 0; i < t->n_scanned; i++)
		if (t->scanned[i].named && t->rules[t->scanned[i].rule].n_names > 0)
			return true;
	for (size_t i = 0; i < t->n_tried; i++)
		if (t->tried[i].regex && route_regex_match(t->tried[i].regex, s, name) == ROUTE_REGEX_YES)
			return true;
	return false;
}

bool route_rule_takes(const struct route_rule *rule, struct route_scratch *s,
		      const struct route_query *q)
{
	return matcher_from_takes(rule, q) && matcher_alpn_takes(rule, q) &&
	       matcher_path_takes(rule, q) && matcher_name_takes(rule, s, q);
}

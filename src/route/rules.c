/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "route/rules.h"

#include <stdlib.h>

#include "base/xalloc.h"
#include "route/regex.h"

/* How a rule's pattern uses the text that it is filed under. */
enum ref_kind { REF_EXACT, REF_BELOW, REF_AT_BELOW, REF_LEADING };

struct ref {
	uint32_t rule;
	uint32_t kind;
};

/* The rules filed under one text, ascending. */
struct entry {
	struct slice text;	/* ptr NULL: free */
	uint32_t first, n;	/* in refs */
};

struct names {
	struct entry *entries;	/* open addressing, a power of two, at most half full */
	size_t size;
	struct ref *refs;
};

struct compiled {
	uint32_t rule;
	struct route_regex *regex;
};

struct route_table {
	const struct route_rule *rules;
	size_t n_rules;
	struct hash_key key;
	struct names suffixes;	/* exact names, *.x and .x by x */
	struct names prefixes;	/* x.* by x */
	uint32_t *scan;		/* rules that need more than a look-up, ascending */
	size_t n_scan;
	struct compiled *regexes; /* ascending by rule */
	size_t n_regexes;
};

/* --- building --- */

/* What is to be filed, before it is sorted into entries. */
struct filing {
	struct slice text;
	struct ref ref;
};

static bool is_filed(enum route_pattern_kind kind, enum ref_kind *ret)
{
	switch (kind) {
	case ROUTE_PATTERN_EXACT:
		*ret = REF_EXACT;
		return true;
	case ROUTE_PATTERN_BELOW:
		*ret = REF_BELOW;
		return true;
	case ROUTE_PATTERN_AT_BELOW:
		*ret = REF_AT_BELOW;
		return true;
	case ROUTE_PATTERN_LEADING:
		*ret = REF_LEADING;
		return true;
	case ROUTE_PATTERN_ANY:
	case ROUTE_PATTERN_REGEX:
	case ROUTE_PATTERN_NONE:
		break;
	}
	return false;
}

static struct entry *names_find(const struct names *n, const struct hash_key *key, struct slice text)
{
	size_t i = hash_bytes(key, text.ptr, text.len) & (n->size - 1);

	while (n->entries[i].text.ptr && !slice_equal(n->entries[i].text, text))
		i = (i + 1) & (n->size - 1);
	return &n->entries[i];
}

/* Files in two passes: count for each text, then place; the order of rules is kept. */
static void names_build(struct names *n, const struct hash_key *key, const struct filing *files, size_t n_files)
{
	uint32_t at = 0;

	if (n_files == 0)
		return;
	for (n->size = 16; n->size < 2 * n_files; n->size *= 2)
		;
	n->entries = xcalloc(n->size, sizeof(*n->entries));
	n->refs = xcalloc(n_files, sizeof(*n->refs));
	for (size_t i = 0; i < n_files; i++) {
		struct entry *e = names_find(n, key, files[i].text);

		e->text = files[i].text;
		e->n++;
	}
	for (size_t i = 0; i < n->size; i++) {
		n->entries[i].first = at;
		at += n->entries[i].n;
		n->entries[i].n = 0;
	}
	for (size_t i = 0; i < n_files; i++) {
		struct entry *e = names_find(n, key, files[i].text);

		n->refs[e->first + e->n++] = files[i].ref;
	}
}

static void table_file(struct route_table *t)
{
	struct filing *suffixes, *prefixes;
	size_t n = 0, n_suffixes = 0, n_prefixes = 0;
	enum ref_kind kind;

	for (size_t i = 0; i < t->n_rules; i++)
		n += t->rules[i].n_names;
	suffixes = xcalloc(n, sizeof(*suffixes));
	prefixes = xcalloc(n, sizeof(*prefixes));
	for (size_t i = 0; i < t->n_rules; i++) {
		for (size_t k = 0; k < t->rules[i].n_names; k++) {
			const struct route_pattern *p = &t->rules[i].names[k];
			struct filing f = { p->text, { (uint32_t)i, 0 } };

			if (!is_filed(p->kind, &kind))
				continue;
			f.ref.kind = kind;
			if (kind == REF_LEADING)
				prefixes[n_prefixes++] = f;
			else
				suffixes[n_suffixes++] = f;
		}
	}
	names_build(&t->suffixes, &t->key, suffixes, n_suffixes);
	names_build(&t->prefixes, &t->key, prefixes, n_prefixes);
	free(suffixes);
	free(prefixes);
}

/* Rules without a name, or with a pattern that no table holds. */
static void table_scan(struct route_table *t)
{
	size_t regexes = 0;
	enum ref_kind kind;

	t->scan = xcalloc(t->n_rules, sizeof(*t->scan));
	for (size_t i = 0; i < t->n_rules; i++) {
		const struct route_rule *r = &t->rules[i];
		bool scanned = r->n_names == 0;

		for (size_t k = 0; k < r->n_names; k++) {
			scanned |= !is_filed(r->names[k].kind, &kind);
			regexes += r->names[k].kind == ROUTE_PATTERN_REGEX;
		}
		if (scanned)
			t->scan[t->n_scan++] = (uint32_t)i;
	}
	t->regexes = xcalloc(regexes, sizeof(*t->regexes));
	for (size_t i = 0; i < t->n_rules; i++) {
		for (size_t k = 0; k < t->rules[i].n_names; k++) {
			const struct route_pattern *p = &t->rules[i].names[k];

			if (p->kind == ROUTE_PATTERN_REGEX)
				t->regexes[t->n_regexes++] =
					(struct compiled){ (uint32_t)i, route_regex_new(p->text) };
		}
	}
}

struct route_table *route_table_new(const struct route_rule *rules, size_t n_rules,
				    const struct hash_key *key)
{
	struct route_table *t = xcalloc(1, sizeof(*t));

	t->rules = rules;
	t->n_rules = n_rules;
	t->key = *key;
	table_file(t);
	table_scan(t);
	return t;
}

void route_table_free(struct route_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_regexes; i++)
		route_regex_free(t->regexes[i].regex);
	free(t->regexes);
	free(t->scan);
	free(t->suffixes.entries);
	free(t->suffixes.refs);
	free(t->prefixes.entries);
	free(t->prefixes.refs);
	free(t);
}

/* --- matching --- */

static bool alpn_matches(const struct route_rule *r, struct slice offered)
{
	if (r->n_alpns == 0)
		return true;
	for (size_t at = 0; at < offered.len;) {
		size_t len = (unsigned char)offered.ptr[at++];

		if (len > offered.len - at)
			return false;
		for (size_t i = 0; i < r->n_alpns; i++) {
			if (slice_equal(r->alpns[i], slice_of(offered.ptr + at, len)))
				return true;
		}
		at += len;
	}
	return false;
}

static bool from_matches(const struct route_rule *r, const struct route_query *q)
{
	if (r->n_from == 0 && r->n_who == 0)
		return true;
	for (size_t i = 0; q->from && i < r->n_from; i++) {
		if (ip_cidr_contains(&r->from[i], q->from))
			return true;
	}
	for (size_t i = 0; i < r->n_who; i++) {
		if (r->who[i].any || (q->vouched && r->who[i].cid == q->cid))
			return true;
	}
	return false;
}

/* /a takes /a and /a/b; /a/ takes what is below only. */
static bool path_matches(const struct route_rule *r, struct slice path)
{
	if (r->n_paths == 0)
		return true;
	for (size_t i = 0; i < r->n_paths; i++) {
		struct slice p = r->paths[i];

		if (slice_starts_with(path, p) &&
		    (path.len == p.len || p.ptr[p.len - 1] == '/' || path.ptr[p.len] == '/'))
			return true;
	}
	return false;
}

/* All but the name. */
static bool rest_matches(const struct route_rule *r, const struct route_query *q)
{
	return alpn_matches(r, q->alpn) && from_matches(r, q) && path_matches(r, q->path);
}

/* The lowest rule under this text that takes q and is below best. */
static size_t names_match(const struct route_table *t, const struct names *n, struct slice text,
			  bool whole, const struct route_query *q, size_t best)
{
	const struct entry *e = names_find(n, &t->key, text);

	for (uint32_t i = 0; i < e->n; i++) {
		const struct ref *ref = &n->refs[e->first + i];

		if (ref->rule >= best)
			break;
		if ((ref->kind == REF_EXACT && !whole) || (ref->kind == REF_BELOW && whole))
			continue;
		if (rest_matches(&t->rules[ref->rule], q))
			return ref->rule;
	}
	return best;
}

static size_t match_filed(const struct route_table *t, const struct route_query *q, size_t best)
{
	struct slice name = q->name;

	if (t->suffixes.size) {
		best = names_match(t, &t->suffixes, name, true, q, best);
		for (size_t i = 0; i < name.len; i++) {
			if (name.ptr[i] == '.')
				best = names_match(t, &t->suffixes,
						   slice_of(name.ptr + i + 1, name.len - i - 1), false, q, best);
		}
	}
	if (t->prefixes.size) {
		for (size_t i = 0; i < name.len; i++) {
			if (name.ptr[i] == '.')
				best = names_match(t, &t->prefixes, slice_of(name.ptr, i), false, q, best);
		}
	}
	return best;
}

/* The first of the rule's compiled patterns. */
static size_t first_regex(const struct route_table *t, size_t rule)
{
	size_t low = 0, high = t->n_regexes;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (t->regexes[mid].rule < rule)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Does a pattern that no table holds take the name?  Cheap ones first. */
static enum route_regex_result scan_name(const struct route_table *t, struct route_scratch *s,
					 size_t rule, struct slice name)
{
	const struct route_rule *r = &t->rules[rule];
	enum route_regex_result result = ROUTE_REGEX_NO;
	bool regex = false;

	if (r->n_names == 0)
		return ROUTE_REGEX_YES;
	for (size_t i = 0; i < r->n_names; i++) {
		if ((r->names[i].kind == ROUTE_PATTERN_ANY && name.ptr) ||
		    (r->names[i].kind == ROUTE_PATTERN_NONE && !name.ptr))
			return ROUTE_REGEX_YES;
		regex |= r->names[i].kind == ROUTE_PATTERN_REGEX;
	}
	if (!regex || !name.ptr)
		return ROUTE_REGEX_NO;
	for (size_t i = first_regex(t, rule); i < t->n_regexes && t->regexes[i].rule == rule; i++) {
		result = route_regex_match(t->regexes[i].regex, s, name);
		if (result != ROUTE_REGEX_NO)
			break;
	}
	return result;
}

enum route_result route_match(const struct route_table *t, struct route_scratch *s,
			      const struct route_query *q, size_t *ret_rule)
{
	size_t best = t->n_rules;

	if (q->name.ptr)
		best = match_filed(t, q, best);
	for (size_t i = 0; i < t->n_scan && t->scan[i] < best; i++) {
		if (!rest_matches(&t->rules[t->scan[i]], q))
			continue;
		switch (scan_name(t, s, t->scan[i], q->name)) {
		case ROUTE_REGEX_YES:
			best = t->scan[i];
			break;
		case ROUTE_REGEX_NO:
			break;
		case ROUTE_REGEX_LIMIT:
			return ROUTE_LIMIT;
		}
	}
	if (best == t->n_rules)
		return ROUTE_MISS;
	*ret_rule = best;
	return ROUTE_FOUND;
}

static bool name_filed(const struct names *n, const struct hash_key *key, struct slice text, bool whole)
{
	const struct entry *e = names_find(n, key, text);

	for (uint32_t i = 0; i < e->n; i++) {
		uint32_t kind = n->refs[e->first + i].kind;

		if (!((kind == REF_EXACT && !whole) || (kind == REF_BELOW && whole)))
			return true;
	}
	return false;
}

bool route_knows_name(const struct route_table *t, struct route_scratch *s, struct slice name)
{
	for (size_t i = 0; i <= name.len; i++) {
		bool dot = i < name.len && name.ptr[i] == '.';

		if (i == 0 && t->suffixes.size && name_filed(&t->suffixes, &t->key, name, true))
			return true;
		if (dot && t->suffixes.size &&
		    name_filed(&t->suffixes, &t->key, slice_of(name.ptr + i + 1, name.len - i - 1), false))
			return true;
		if (dot && t->prefixes.size &&
		    name_filed(&t->prefixes, &t->key, slice_of(name.ptr, i), false))
			return true;
	}
	for (size_t i = 0; i < t->n_scan; i++) {
		if (t->rules[t->scan[i]].n_names > 0 &&
		    scan_name(t, s, t->scan[i], name) == ROUTE_REGEX_YES)
			return true;
	}
	return false;
}

/* --- one rule, the slow way --- */

static bool pattern_takes(const struct route_pattern *p, struct route_scratch *s, struct slice name)
{
	struct route_regex *regex;
	bool yes;

	if (!name.ptr)
		return p->kind == ROUTE_PATTERN_NONE;
	switch (p->kind) {
	case ROUTE_PATTERN_EXACT:
		return slice_equal(name, p->text);
	case ROUTE_PATTERN_AT_BELOW:
		if (slice_equal(name, p->text))
			return true;
		/* fall through */
	case ROUTE_PATTERN_BELOW:
		return name.len > p->text.len && slice_ends_with(name, p->text) &&
		       name.ptr[name.len - p->text.len - 1] == '.';
	case ROUTE_PATTERN_LEADING:
		return name.len > p->text.len && slice_starts_with(name, p->text) &&
		       name.ptr[p->text.len] == '.';
	case ROUTE_PATTERN_ANY:
		return true;
	case ROUTE_PATTERN_NONE:
		return false;
	case ROUTE_PATTERN_REGEX:
		break;
	}
	regex = route_regex_new(p->text);
	yes = regex && route_regex_match(regex, s, name) == ROUTE_REGEX_YES;
	route_regex_free(regex);
	return yes;
}

bool route_rule_takes(const struct route_rule *r, struct route_scratch *s, const struct route_query *q)
{
	bool named = r->n_names == 0;

	for (size_t i = 0; !named && i < r->n_names; i++)
		named = pattern_takes(&r->names[i], s, q->name);
	return named && rest_matches(r, q);
}

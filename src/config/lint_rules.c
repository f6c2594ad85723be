/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that can never match, because an earlier one takes all that they would.
 *
 * A rule covers another where each of its matchers does: it has none of that kind, or
 * takes whatever the other's takes.  Pairs of rules are too many to compare, so a rule
 * is held against few: of those with names, against the ones that have a pattern
 * covering one of its own, found by hash as in route/names.h; of those without, against
 * the first NAMELESS_MAX.  What is found is true; not all that is true is found.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "config/load.h"
#include "config/model.h"
#include "route/matchers.h"
#include "wire/host_name.h"

enum { NAMELESS_MAX = 64 };

struct seen {
	struct model *m;
	struct map open;	/* by pattern: the first rule that has it and asks nothing but names */
	struct map first;	/* by pattern: the first rule that has it, whatever else it asks */
	const struct model_rule *nameless[NAMELESS_MAX];
	size_t n_nameless;
};

static bool only_names(const struct route_rule *r)
{
	return r->n_alpns == 0 && r->n_paths == 0 && r->n_from == 0 && r->n_who == 0 && r->n_to == 0;
}

/* --- one rule against another --- */

static bool below(struct slice name, struct slice suffix)
{
	return name.len > suffix.len && name.ptr[name.len - suffix.len - 1] == '.' &&
	       memcmp(name.ptr + name.len - suffix.len, suffix.ptr, suffix.len) == 0;
}

static bool after(struct slice name, struct slice prefix)
{
	return name.len > prefix.len && name.ptr[prefix.len] == '.' &&
	       memcmp(name.ptr, prefix.ptr, prefix.len) == 0;
}

static bool pattern_covers(const struct route_pattern *p, const struct route_pattern *q)
{
	const bool same = slice_equal(p->text, q->text);
	const bool suffix = q->kind == ROUTE_PATTERN_EXACT || q->kind == ROUTE_PATTERN_BELOW ||
			    q->kind == ROUTE_PATTERN_AT_BELOW;

	switch (p->kind) {
	case ROUTE_PATTERN_EXACT:
	case ROUTE_PATTERN_REGEX:
		return q->kind == p->kind && same;
	case ROUTE_PATTERN_BELOW:
		return (suffix && below(q->text, p->text)) || (q->kind == ROUTE_PATTERN_BELOW && same);
	case ROUTE_PATTERN_AT_BELOW:
		return suffix && (same || below(q->text, p->text));
	case ROUTE_PATTERN_LEADING:
		return (q->kind == ROUTE_PATTERN_LEADING && same) ||
		       ((q->kind == ROUTE_PATTERN_EXACT || q->kind == ROUTE_PATTERN_LEADING) && after(q->text, p->text));
	case ROUTE_PATTERN_ANY:
		return q->kind != ROUTE_PATTERN_NONE;
	case ROUTE_PATTERN_NONE:
		return q->kind == ROUTE_PATTERN_NONE;
	}
	return false;
}

static bool names_cover(const struct route_rule *a, const struct route_rule *b)
{
	for (size_t i = 0; a->n_names > 0 && i < b->n_names; i++) {
		size_t k = 0;

		while (k < a->n_names && !pattern_covers(&a->names[k], &b->names[i]))
			k++;
		if (k == a->n_names)
			return false;
	}
	return a->n_names == 0 || b->n_names > 0;
}

static bool alpns_cover(const struct route_rule *a, const struct route_rule *b)
{
	for (size_t i = 0; a->n_alpns > 0 && i < b->n_alpns; i++) {
		size_t k = 0;

		while (k < a->n_alpns && !slice_equal(a->alpns[k], b->alpns[i]))
			k++;
		if (k == a->n_alpns)
			return false;
	}
	return a->n_alpns == 0 || b->n_alpns > 0;
}

static bool paths_cover(const struct route_rule *a, const struct route_rule *b)
{
	for (size_t i = 0; a->n_paths > 0 && i < b->n_paths; i++) {
		size_t k = 0;

		while (k < a->n_paths && !path_prefix_takes(a->paths[k], b->paths[i]))
			k++;
		if (k == a->n_paths)
			return false;
	}
	return a->n_paths == 0 || b->n_paths > 0;
}

static bool takes_anybody(const struct route_rule *r)
{
	for (size_t i = 0; i < r->n_who; i++)
		if (r->who[i].any)
			return true;
	return r->n_from + r->n_who == 0;
}

static bool sources_cover(const struct route_rule *a, const struct route_rule *b)
{
	if (takes_anybody(a))
		return true;
	for (size_t i = 0; i < b->n_from; i++) {
		size_t k = 0;

		while (k < a->n_from && !ip_cidr_covers(&a->from[k], &b->from[i]))
			k++;
		if (k == a->n_from)
			return false;
	}
	for (size_t i = 0; i < b->n_who; i++) {
		size_t k = 0;

		while (k < a->n_who && (b->who[i].any || a->who[k].cid != b->who[i].cid))
			k++;
		if (k == a->n_who)
			return false;
	}
	return !takes_anybody(b);
}

static bool rule_covers(const struct route_rule *a, const struct route_rule *b)
{
	return names_cover(a, b) && alpns_cover(a, b) && paths_cover(a, b) && sources_cover(a, b);
}

/* --- the patterns before --- */

static const struct model_rule *look_up(const struct map *map, enum route_pattern_kind kind, struct slice text)
{
	char buf[16 + HOST_NAME_SIZE];
	int n = snprintf(buf, sizeof(buf), "%d %.*s", kind, (int)text.len, text.ptr);

	return n > 0 && (size_t)n < sizeof(buf) ? map_get(map, slice_of(buf, (size_t)n)) : NULL;
}

/* An earlier rule that asks nothing but a name, and takes whatever q takes; NULL where there is none. */
static const struct model_rule *taker_of(struct seen *s, const struct route_pattern *q)
{
	const bool suffix = q->kind == ROUTE_PATTERN_EXACT || q->kind == ROUTE_PATTERN_BELOW ||
			    q->kind == ROUTE_PATTERN_AT_BELOW;
	const bool prefix = q->kind == ROUTE_PATTERN_EXACT || q->kind == ROUTE_PATTERN_LEADING;
	const struct model_rule *r = look_up(&s->open, q->kind, q->text);

	if (!r && q->kind != ROUTE_PATTERN_NONE)
		r = look_up(&s->open, ROUTE_PATTERN_ANY, SLICE_LITERAL("*"));
	if (!r && suffix)
		r = look_up(&s->open, ROUTE_PATTERN_AT_BELOW, q->text);
	for (size_t i = 0; !r && i < q->text.len; i++) {
		struct slice rest = slice_of(q->text.ptr + i + 1, q->text.len - i - 1);

		if (q->text.ptr[i] != '.')
			continue;
		if (suffix)
			r = look_up(&s->open, ROUTE_PATTERN_BELOW, rest);
		if (!r && suffix)
			r = look_up(&s->open, ROUTE_PATTERN_AT_BELOW, rest);
		if (!r && prefix)
			r = look_up(&s->open, ROUTE_PATTERN_LEADING, slice_of(q->text.ptr, i));
	}
	return r;
}

/* The last of the rules that together take all its names. */
static const struct model_rule *taker_of_names(struct seen *s, const struct route_rule *r)
{
	const struct model_rule *by = NULL;

	for (size_t i = 0; i < r->n_names; i++) {
		by = taker_of(s, &r->names[i]);
		if (!by)
			break;
	}
	return by;
}

static const struct model_rule *coverer(struct seen *s, const struct model_rule *r)
{
	const struct model_rule *by = taker_of_names(s, &r->match);

	for (size_t i = 0; !by && i < s->n_nameless; i++)
		if (rule_covers(&s->nameless[i]->match, &r->match))
			by = s->nameless[i];
	for (size_t i = 0; !by && i < r->match.n_names; i++) {
		const struct route_pattern *p = &r->match.names[i];
		const struct model_rule *first = look_up(&s->first, p->kind, p->text);

		if (first && rule_covers(&first->match, &r->match))
			by = first;
	}
	return by;
}

static void remember(struct seen *s, struct model_rule *r)
{
	for (size_t i = 0; i < r->match.n_names; i++) {
		const struct route_pattern *p = &r->match.names[i];
		struct slice key = slice_of_string(arena_printf(s->m->arena, "%d %.*s", p->kind, (int)p->text.len, p->text.ptr));

		if (only_names(&r->match))
			map_put(&s->open, key, r);
		if (map_put(&s->first, key, r) == r)
			diag_warning(s->m->diags, "duplicate-name", r->span, "\"%.*s\" stands twice in this list",
				     (int)p->text.len, p->text.ptr);
	}
	if (r->match.n_names == 0 && s->n_nameless < NAMELESS_MAX)
		s->nameless[s->n_nameless++] = r;
}

void config_lint_unreachable(struct model *m, const struct model_frontend *f)
{
	struct seen s = { .m = m };

	if (f->out.mode == MODE_EGRESS)
		return; /* its rules are asked for each address: config/check_rules.c */
	for (struct model_rule *r = f->rules; r; r = r->next) {
		const struct model_rule *by = coverer(&s, r);

		if (by)
			diagnostics_note(m->diags,
					 diag_warning(m->diags, "unreachable-rule", r->span,
						      "this rule never matches: an earlier one takes all it would"),
					 by->span, "this one");
		remember(&s, r);
	}
	map_fini(&s.open);
	map_fini(&s.first);
}

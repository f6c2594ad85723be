/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nearness is a small number: nothing refused, one matcher other than the name
 * refused, a name off by few letters or by a label, and everything else.
 */
#include <config.h>

#include "route/explain.h"

#include "route/matchers.h"

enum {
	NEAR_SHADOWED = 0,
	NEAR_ONE_OFF = 1,	/* the name is right, or none is asked for */
	NEAR_NAME = 2,		/* and more for each letter */
	NEAR_LABEL = 3,		/* right letters, cut at the wrong place */
	NEAR_SECOND = 10,	/* added for each matcher refused beside the first */
	NEAR_FAR = 100,
	EDITS_MAX = 3,
	EDIT_LEN_MAX = 255,
};

struct verdict {
	struct route_near near;
	unsigned distance;
};

/* Levenshtein's distance, EDITS_MAX + 1 where it is larger. */
static unsigned edits(struct slice a, struct slice b)
{
	unsigned short row[EDIT_LEN_MAX + 1];
	size_t gap = a.len > b.len ? a.len - b.len : b.len - a.len;

	if (gap > EDITS_MAX || b.len > EDIT_LEN_MAX)
		return EDITS_MAX + 1;
	for (size_t j = 0; j <= b.len; j++)
		row[j] = (unsigned short)j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned short diagonal = row[0];

		row[0] = (unsigned short)i;
		for (size_t j = 1; j <= b.len; j++) {
			unsigned best = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);

			diagonal = row[j];
			if (row[j] + 1u < best)
				best = row[j] + 1u;
			if (row[j - 1] + 1u < best)
				best = row[j - 1] + 1u;
			row[j] = (unsigned short)best;
		}
	}
	return row[b.len] <= EDITS_MAX ? row[b.len] : EDITS_MAX + 1;
}

/* One is the beginning or the end of the other. */
static bool is_cut_wrong(const struct route_pattern *p, struct slice name)
{
	return slice_ends_with(name, p->text) || slice_starts_with(name, p->text) ||
	       slice_ends_with(p->text, name) || slice_starts_with(p->text, name);
}

static unsigned pattern_distance(const struct route_pattern *p, struct slice name)
{
	unsigned n;

	if (!name.ptr || p->kind == ROUTE_PATTERN_NONE || p->kind == ROUTE_PATTERN_REGEX)
		return NEAR_FAR;
	if (is_cut_wrong(p, name))
		return NEAR_LABEL;
	n = edits(name, p->text);
	return n <= EDITS_MAX ? NEAR_NAME + n : NEAR_FAR;
}

static const char *pattern_text(struct arena *a, const struct route_pattern *p)
{
	const int len = (int)p->text.len;

	switch (p->kind) {
	case ROUTE_PATTERN_EXACT:
		return arena_printf(a, "\"%.*s\"", len, p->text.ptr);
	case ROUTE_PATTERN_BELOW:
		return arena_printf(a, "\"*.%.*s\"", len, p->text.ptr);
	case ROUTE_PATTERN_AT_BELOW:
		return arena_printf(a, "\".%.*s\"", len, p->text.ptr);
	case ROUTE_PATTERN_LEADING:
		return arena_printf(a, "\"%.*s.*\"", len, p->text.ptr);
	case ROUTE_PATTERN_REGEX:
		return arena_printf(a, "~'%.*s'", len, p->text.ptr);
	case ROUTE_PATTERN_ANY:
		return "\"*\"";
	case ROUTE_PATTERN_NONE:
		break;
	}
	return "none";
}

static const char *pattern_why(struct arena *a, const struct route_pattern *p, struct slice name)
{
	const char *text = pattern_text(a, p);

	if (!name.ptr)
		return arena_printf(a, "there is no name, and %s asks for one", text);
	switch (p->kind) {
	case ROUTE_PATTERN_NONE:
		return "it takes only what has no name";
	case ROUTE_PATTERN_REGEX:
		return arena_printf(a, "the name does not match %s", text);
	case ROUTE_PATTERN_BELOW:
		if (slice_equal(name, p->text))
			return arena_printf(a, "%s asks for at least one label before \"%.*s\"", text,
					    (int)name.len, name.ptr);
		break;
	case ROUTE_PATTERN_LEADING:
		if (slice_equal(name, p->text))
			return arena_printf(a, "%s asks for at least one label after \"%.*s\"", text,
					    (int)name.len, name.ptr);
		break;
	case ROUTE_PATTERN_EXACT:
	case ROUTE_PATTERN_AT_BELOW:
	case ROUTE_PATTERN_ANY:
		break;
	}
	if (is_cut_wrong(p, name))
		return arena_printf(a, "the name only begins or ends like %s; whole names match", text);
	return arena_printf(a, "the name is not %s", text);
}

/* The pattern of the rule that is nearest to the name. */
static const struct route_pattern *nearest_pattern(const struct route_rule *rule, struct slice name,
						   unsigned *ret_distance)
{
	const struct route_pattern *nearest = &rule->names[0];

	*ret_distance = pattern_distance(nearest, name);
	for (size_t i = 1; i < rule->n_names; i++) {
		unsigned n = pattern_distance(&rule->names[i], name);

		if (n < *ret_distance) {
			nearest = &rule->names[i];
			*ret_distance = n;
		}
	}
	return nearest;
}

static const char *from_why(struct arena *a, const struct route_query *q)
{
	char text[IP_TEXT_SIZE];

	if (q->vouched)
		return arena_printf(a, "CID %u is not among its sources", (unsigned)q->cid);
	if (!q->from)
		return "nothing is said of the source, and it asks for one";
	return arena_printf(a, "%s is not among its sources", ip_format(q->from, text));
}

static void refuse(struct verdict *v, enum route_matcher matcher, const char *why)
{
	if (v->near.refused == ROUTE_MATCHER_NONE) {
		v->near.refused = matcher;
		v->near.why = why;
		v->distance = NEAR_ONE_OFF;
	} else {
		v->distance += NEAR_SECOND;
	}
}

static struct verdict judge(struct arena *a, const struct route_rule *rule, size_t number,
			    struct route_scratch *s, const struct route_query *q)
{
	struct verdict v = { { number, ROUTE_MATCHER_NONE, "an earlier rule takes it" },
			     NEAR_SHADOWED };
	unsigned distance;

	if (!matcher_name_takes(rule, s, q)) {
		const struct route_pattern *p = nearest_pattern(rule, q->name, &distance);

		refuse(&v, ROUTE_MATCHER_NAME, pattern_why(a, p, q->name));
		v.distance = distance;
	}
	if (!matcher_alpn_takes(rule, q))
		refuse(&v, ROUTE_MATCHER_ALPN, q->alpn.len ? "the client offers other protocols" :
							     "the client offers no protocol");
	if (!matcher_path_takes(rule, q))
		refuse(&v, ROUTE_MATCHER_PATH,
		       arena_printf(a, "the path \"%.*s\" is not below its prefix",
				    (int)q->path.len, q->path.ptr ? q->path.ptr : ""));
	if (!matcher_from_takes(rule, q))
		refuse(&v, ROUTE_MATCHER_FROM, from_why(a, q));
	return v;
}

/* Keeps the best in order of distance, then of number. */
static size_t insert(struct verdict *best, size_t n, size_t max, struct verdict v)
{
	size_t at = n;

	while (at > 0 && best[at - 1].distance > v.distance)
		at--;
	if (at == max)
		return n;
	if (n < max)
		n++;
	for (size_t i = n - 1; i > at; i--)
		best[i] = best[i - 1];
	best[at] = v;
	return n;
}

void route_explain(struct arena *a, const struct route_table *table,
		   const struct route_rule *rules, size_t n_rules, struct route_scratch *s,
		   const struct route_query *q, size_t max_near, struct route_explanation *ret)
{
	struct verdict *best = arena_calloc(a, max_near + 1, sizeof(*best));
	struct route_near *near = arena_calloc(a, max_near + 1, sizeof(*near));
	size_t n = 0, rule = n_rules;

	ret->result = route_match(table, s, q, &rule);
	ret->rule = rule;
	for (size_t i = 0; i < n_rules; i++)
		if (i != rule)
			n = insert(best, n, max_near, judge(a, &rules[i], i, s, q));
	for (size_t i = 0; i < n; i++)
		near[i] = best[i].near;
	ret->near = near;
	ret->n_near = n;
}

/* --- egress --- */

static const char *ports_text(struct arena *a, const struct route_where *w)
{
	const char *text = "";

	for (size_t i = 0; i < w->n_ports; i++) {
		const struct route_ports *p = &w->ports[i];
		const char *comma = i ? " or " : "";

		if (p->first == 1 && p->last == 65535)
			text = "*";
		else if (p->first == p->last)
			text = arena_printf(a, "%s%s%u", text, comma, (unsigned)p->first);
		else
			text = arena_printf(a, "%s%s%u-%u", text, comma, (unsigned)p->first, (unsigned)p->last);
	}
	return text;
}

static bool place_takes(const struct route_where *w, struct route_scratch *s, const struct route_ask *ask)
{
	static const struct route_ports all = { 1, 65535 };
	struct route_where any_port = *w;

	any_port.ports = &all;
	any_port.n_ports = 1;
	return route_where_takes(&any_port, s, ask);
}

/* Why this alternative does not take ask, and how far off it is. */
static const char *where_why(struct arena *a, const struct route_where *w, struct route_scratch *s,
			     const struct route_ask *ask, unsigned *ret_distance)
{
	char cidr[IP_TEXT_SIZE + 4], address[IP_TEXT_SIZE];

	*ret_distance = NEAR_ONE_OFF;
	if (place_takes(w, s, ask))
		return arena_printf(a, "port %u is not %s", (unsigned)ask->port, ports_text(a, w));
	*ret_distance = NEAR_FAR;
	if (w->is_cidr && !ask->address)
		return arena_printf(a, "no address is known, and it is for %s", ip_cidr_format(&w->cidr, cidr));
	if (w->is_cidr)
		return arena_printf(a, "%s is not in %s", ip_format(ask->address, address),
				    ip_cidr_format(&w->cidr, cidr));
	if (!ask->name.ptr)
		return arena_printf(a, "%s takes names, and this is an address", pattern_text(a, &w->pattern));
	*ret_distance = pattern_distance(&w->pattern, ask->name);
	return pattern_why(a, &w->pattern, ask->name);
}

static struct verdict judge_policy(struct arena *a, const struct route_rule *rule, size_t number,
				   struct route_scratch *s, const struct route_ask *ask)
{
	struct verdict v = { { number, ROUTE_MATCHER_NONE, "an earlier rule takes it" }, NEAR_SHADOWED };
	const struct route_query q = { .vouched = ask->vouched, .cid = ask->cid };
	unsigned nearest = NEAR_FAR + 1;
	const char *why = NULL;
	bool takes = rule->n_to == 0;

	for (size_t i = 0; i < rule->n_to && !takes; i++) {
		unsigned distance;
		const char *this_why;

		takes = route_where_takes(&rule->to[i], s, ask);
		this_why = takes ? NULL : where_why(a, &rule->to[i], s, ask, &distance);
		if (this_why && distance < nearest) {
			nearest = distance;
			why = this_why;
		}
	}
	if (!takes) {
		refuse(&v, ROUTE_MATCHER_TO, why);
		v.distance = nearest;
	}
	if (rule->n_who > 0 && !from_who_takes(rule, &q))
		refuse(&v, ROUTE_MATCHER_FROM, from_why(a, &q));
	return v;
}

size_t route_explain_policy(struct arena *a, const struct route_rule *rules, size_t n_rules,
			    struct route_scratch *s, const struct route_ask *ask, size_t taken,
			    size_t max_near, struct route_near *ret_near)
{
	struct verdict *best = arena_calloc(a, max_near + 1, sizeof(*best));
	size_t n = 0;

	for (size_t i = 0; i < n_rules; i++)
		if (i != taken)
			n = insert(best, n, max_near, judge_policy(a, &rules[i], i, s, ask));
	for (size_t i = 0; i < n; i++)
		ret_near[i] = best[i].near;
	return n;
}

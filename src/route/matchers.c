/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One matcher at a time, by the definitions in design.md and no tables.
 */
#include <config.h>

#include "route/matchers.h"

#include "route/regex.h"

/* name is at least one label, a dot, and suffix. */
static bool is_below(struct slice name, struct slice suffix)
{
	return name.len > suffix.len + 1 && slice_ends_with(name, suffix) &&
	       name.ptr[name.len - suffix.len - 1] == '.';
}

bool pattern_takes(const struct route_pattern *p, struct route_scratch *s, struct slice name)
{
	struct route_regex *re;
	bool takes;

	if (!name.ptr)
		return p->kind == ROUTE_PATTERN_NONE;
	switch (p->kind) {
	case ROUTE_PATTERN_EXACT:
		return slice_equal(name, p->text);
	case ROUTE_PATTERN_BELOW:
		return is_below(name, p->text);
	case ROUTE_PATTERN_AT_BELOW:
		return slice_equal(name, p->text) || is_below(name, p->text);
	case ROUTE_PATTERN_LEADING:
		return name.len > p->text.len + 1 && slice_starts_with(name, p->text) &&
		       name.ptr[p->text.len] == '.';
	case ROUTE_PATTERN_ANY:
		return true;
	case ROUTE_PATTERN_REGEX:
		re = route_regex_new(p->text);
		takes = re && route_regex_match(re, s, name) == ROUTE_REGEX_YES;
		route_regex_free(re);
		return takes;
	case ROUTE_PATTERN_NONE:
		break;
	}
	return false;
}

bool matcher_name_takes(const struct route_rule *rule, struct route_scratch *s,
			const struct route_query *q)
{
	for (size_t i = 0; i < rule->n_names; i++)
		if (pattern_takes(&rule->names[i], s, q->name))
			return true;
	return rule->n_names == 0;
}

/* RFC 7301, 3.1: ProtocolName is one byte of length and as many of name. */
static bool alpn_offers(struct slice list, struct slice wanted)
{
	while (list.len > 0) {
		size_t len = (unsigned char)list.ptr[0];

		if (len >= list.len)
			return false;
		if (slice_equal(slice_of(list.ptr + 1, len), wanted))
			return true;
		list = slice_of(list.ptr + 1 + len, list.len - 1 - len);
	}
	return false;
}

bool matcher_alpn_takes(const struct route_rule *rule, const struct route_query *q)
{
	for (size_t i = 0; i < rule->n_alpns; i++)
		if (alpn_offers(q->alpn, rule->alpns[i]))
			return true;
	return rule->n_alpns == 0;
}

bool path_prefix_takes(struct slice prefix, struct slice path)
{
	if (!slice_starts_with(path, prefix))
		return false;
	return path.len == prefix.len || path.ptr[prefix.len] == '/' ||
	       (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/');
}

bool matcher_path_takes(const struct route_rule *rule, const struct route_query *q)
{
	for (size_t i = 0; i < rule->n_paths; i++)
		if (path_prefix_takes(rule->paths[i], q->path))
			return true;
	return rule->n_paths == 0;
}

bool from_who_takes(const struct route_rule *rule, const struct route_query *q)
{
	for (size_t i = 0; i < rule->n_who; i++)
		if (rule->who[i].any || (q->vouched && q->cid == rule->who[i].cid))
			return true;
	return false;
}

bool matcher_from_takes(const struct route_rule *rule, const struct route_query *q)
{
	for (size_t i = 0; q->from && i < rule->n_from; i++)
		if (ip_cidr_contains(&rule->from[i], q->from))
			return true;
	return from_who_takes(rule, q) || (rule->n_from == 0 && rule->n_who == 0);
}

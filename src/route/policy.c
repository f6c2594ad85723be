/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every alternative of every "to" has a number, ascending through the rules, and
 * so has a rule without "to".  Tables know these numbers; the lowest that takes
 * what is asked names the rule.  A prefix is a key of bytes: its length, its
 * family and its masked address.
 */
#include <config.h>

#include "route/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "route/matchers.h"
#include "route/names.h"
#include "route/regex.h"

enum { NOBODY = UINT32_MAX };

enum { CIDR_KEY_LEN = 18, CIDR_LENGTHS = 130 };

/* One alternative. */
struct choice {
	uint32_t rule;
	const struct route_where *where;	/* NULL: the rule has no "to" */
};

struct tried {
	uint32_t choice;
	struct route_regex *regex;
};

struct route_policy {
	const struct route_rule *rules;
	const struct route_own *own;
	size_t n_own;
	struct choice *choices;
	uint32_t n_choices;
	struct names *names, *cidrs;
	char (*cidr_keys)[CIDR_KEY_LEN];
	size_t n_cidrs;
	uint8_t lengths[2][CIDR_LENGTHS];	/* in use, by family: IPv6, IPv4 */
	unsigned n_lengths[2];
	uint32_t *runs;		/* CIDRs; of neighbours with one rule and the same ports the first */
	size_t n_runs;
	uint32_t *scanned;	/* "*" and rules without "to" */
	size_t n_scanned;
	struct tried *tried;
	size_t n_tried;
};

/* --- building --- */

static void cidr_key(const struct ip_addr *a, unsigned prefix, bool v4, char key[CIDR_KEY_LEN])
{
	unsigned whole = prefix / 8;

	memset(key, 0, CIDR_KEY_LEN);
	memcpy(key, a->b, whole);
	if (prefix % 8)
		key[whole] = (char)(a->b[whole] & (0xff00u >> prefix % 8));
	key[CIDR_KEY_LEN - 2] = (char)prefix;
	key[CIDR_KEY_LEN - 1] = v4;
}

static bool same_ports(const struct route_where *a, const struct route_where *b)
{
	return a->n_ports == b->n_ports &&
	       (a->ports == b->ports || memcmp(a->ports, b->ports, a->n_ports * sizeof(*a->ports)) == 0);
}

static void add_cidr(struct route_policy *p, uint32_t number)
{
	const struct choice *c = &p->choices[number];
	const struct ip_cidr *cidr = &c->where->cidr;
	const struct choice *last = p->n_runs ? &p->choices[p->runs[p->n_runs - 1]] : NULL;
	char *key = p->cidr_keys[p->n_cidrs++];
	struct route_pattern pattern = { ROUTE_PATTERN_EXACT, slice_of(key, CIDR_KEY_LEN) };

	cidr_key(&cidr->net, cidr->prefix, cidr->v4, key);
	names_add(p->cidrs, &pattern, number);
	if (!memchr(p->lengths[cidr->v4], cidr->prefix, p->n_lengths[cidr->v4]))
		p->lengths[cidr->v4][p->n_lengths[cidr->v4]++] = cidr->prefix;
	if (!last || last->rule != c->rule || !same_ports(last->where, c->where))
		p->runs[p->n_runs++] = number;
}

static void add_choice(struct route_policy *p, uint32_t rule, const struct route_where *where)
{
	uint32_t number = p->n_choices++;

	p->choices[number] = (struct choice){ rule, where };
	if (!where) {
		p->scanned[p->n_scanned++] = number;
		return;
	}
	if (where->is_cidr) {
		add_cidr(p, number);
		return;
	}
	switch (where->pattern.kind) {
	case ROUTE_PATTERN_EXACT:
	case ROUTE_PATTERN_BELOW:
	case ROUTE_PATTERN_AT_BELOW:
	case ROUTE_PATTERN_LEADING:
		names_add(p->names, &where->pattern, number);
		break;
	case ROUTE_PATTERN_ANY:
		p->scanned[p->n_scanned++] = number;
		break;
	case ROUTE_PATTERN_REGEX:
		p->tried[p->n_tried++] = (struct tried){ number, route_regex_new(where->pattern.text) };
		break;
	case ROUTE_PATTERN_NONE: /* of sni alone */
		break;
	}
}

struct route_policy *route_policy_new(const struct route_rule *rules, size_t n_rules,
				      const struct route_own *own, size_t n_own,
				      const struct hash_key *key)
{
	struct route_policy *p = xcalloc(1, sizeof(*p));
	size_t n = 0;

	for (size_t i = 0; i < n_rules; i++)
		n += rules[i].n_to ? rules[i].n_to : 1;
	if (n >= NOBODY)
		xalloc_fail();
	p->rules = rules;
	p->own = own;
	p->n_own = n_own;
	p->choices = xcalloc(n + 1, sizeof(*p->choices));
	p->names = names_new(key, n);
	p->cidrs = names_new(key, n);
	p->cidr_keys = xcalloc(n + 1, sizeof(*p->cidr_keys));
	p->runs = xcalloc(n + 1, sizeof(*p->runs));
	p->scanned = xcalloc(n + 1, sizeof(*p->scanned));
	p->tried = xcalloc(n + 1, sizeof(*p->tried));
	for (size_t i = 0; i < n_rules; i++) {
		for (size_t j = 0; j < rules[i].n_to; j++)
			add_choice(p, (uint32_t)i, &rules[i].to[j]);
		if (rules[i].n_to == 0)
			add_choice(p, (uint32_t)i, NULL);
	}
	return p;
}

void route_policy_free(struct route_policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_tried; i++)
		route_regex_free(p->tried[i].regex);
	names_free(p->names);
	names_free(p->cidrs);
	free(p->cidr_keys);
	free(p->choices);
	free(p->runs);
	free(p->scanned);
	free(p->tried);
	free(p);
}

/* --- asking --- */

struct rest {
	const struct route_policy *policy;
	const struct route_ask *ask;
};

static bool port_takes(const struct route_where *w, uint16_t port)
{
	for (size_t i = 0; i < w->n_ports; i++)
		if (port >= w->ports[i].first && port <= w->ports[i].last)
			return true;
	return false;
}

static bool who_takes(const struct route_rule *rule, const struct route_ask *ask)
{
	struct route_query q = { .vouched = ask->vouched, .cid = ask->cid };

	return rule->n_who == 0 || from_who_takes(rule, &q);
}

/* All but the place itself: who asks, and the port. */
static bool rest_takes(const void *arg, uint32_t number)
{
	const struct rest *r = arg;
	const struct choice *c = &r->policy->choices[number];

	return (!c->where || port_takes(c->where, r->ask->port)) &&
	       who_takes(&r->policy->rules[c->rule], r->ask);
}

static uint32_t find_cidr(const struct rest *r, const struct ip_addr *a, uint32_t best)
{
	const struct route_policy *p = r->policy;
	const bool v4 = ip_is_v4(a);
	char key[CIDR_KEY_LEN];

	for (unsigned i = 0; i < p->n_lengths[v4]; i++) {
		cidr_key(a, p->lengths[v4][i], v4, key);
		best = names_find(p->cidrs, slice_of(key, CIDR_KEY_LEN), best, rest_takes, r);
	}
	return best;
}

/* A NAT64 address is what it is and the IPv4 address inside: a rule for either takes it. */
static uint32_t find_address(const struct rest *r, uint32_t best)
{
	struct ip_addr canonical;

	if (r->policy->n_cidrs == 0)
		return best;
	canonical = address_canonical(r->ask->address);
	best = find_cidr(r, r->ask->address, best);
	return ip_equal(&canonical, r->ask->address) ? best : find_cidr(r, &canonical, best);
}

/* Would an address make an earlier rule the first?  Not the same: a rule is or-ed. */
static bool address_matters(const struct rest *r, uint32_t best)
{
	const struct route_policy *p = r->policy;
	uint32_t rule = best == NOBODY ? NOBODY : p->choices[best].rule;

	for (size_t i = 0; i < p->n_runs && p->choices[p->runs[i]].rule < rule; i++)
		if (rest_takes(r, p->runs[i]))
			return true;
	return false;
}

enum route_policy_result route_policy_match(const struct route_policy *p, struct route_scratch *s,
					    const struct route_ask *ask, size_t *ret_rule)
{
	const struct rest rest = { p, ask };
	uint32_t best = NOBODY;

	if (ask->name.ptr)
		best = names_find(p->names, ask->name, best, rest_takes, &rest);
	if (ask->address)
		best = find_address(&rest, best);
	for (size_t i = 0; i < p->n_scanned && p->scanned[i] < best; i++)
		if (rest_takes(&rest, p->scanned[i]))
			best = p->scanned[i];
	for (size_t i = 0; ask->name.ptr && i < p->n_tried && p->tried[i].choice < best; i++) {
		const struct tried *t = &p->tried[i];
		enum route_regex_result result;

		if (!rest_takes(&rest, t->choice))
			continue;
		result = t->regex ? route_regex_match(t->regex, s, ask->name) : ROUTE_REGEX_LIMIT;
		if (result == ROUTE_REGEX_LIMIT)
			return POLICY_LIMIT;
		if (result == ROUTE_REGEX_YES)
			best = t->choice;
	}
	if (!ask->address && !ask->lookup_failed && address_matters(&rest, best))
		return POLICY_LOOK_UP;
	if (best == NOBODY)
		return POLICY_MISS;
	*ret_rule = p->choices[best].rule;
	return POLICY_FOUND;
}

/* --- dialling --- */

/* connect(2) takes "any" for the loopback of its family. */
static struct ip_addr connected_to(const struct ip_addr *a)
{
	static const struct ip_addr any_v6, loopback_v6 = { { [15] = 1 } };
	const struct ip_addr canonical = address_canonical(a), any_v4 = ip_from_v4("\0\0\0\0");

	if (ip_equal(&canonical, &any_v4))
		return ip_from_v4("\177\0\0\1");
	return ip_equal(&canonical, &any_v6) ? loopback_v6 : canonical;
}

enum route_own_result route_policy_is_own(const struct route_policy *p, const struct ip_addr *a,
					  uint16_t port)
{
	const struct ip_addr judged = connected_to(a);
	const bool v4 = ip_is_v4(&judged);
	enum route_own_result result = ROUTE_NOT_OWN;

	for (size_t i = 0; i < p->n_own; i++) {
		const struct route_own *o = &p->own[i];

		if (o->port != port)
			continue;
		if (v4 ? o->any_v4 : o->any_v6)
			result = ROUTE_OWN_IF_LOCAL;
		else if (!o->any_v4 && !o->any_v6 && ip_equal(&o->ip, &judged))
			return ROUTE_OWN;
	}
	if (result == ROUTE_OWN_IF_LOCAL) {
		enum address_class class = address_classify(&judged).class;

		/* The kernel takes all of these as its own; no need to ask it. */
		if (class == ADDRESS_LOOPBACK || class == ADDRESS_UNSPECIFIED)
			return ROUTE_OWN;
	}
	return result;
}

static bool where_takes_address(const struct route_where *w, const struct ip_addr *a)
{
	const struct ip_addr canonical = address_canonical(a);

	return ip_cidr_contains(&w->cidr, a) || ip_cidr_contains(&w->cidr, &canonical);
}

bool route_policy_judge(const struct route_policy *p, size_t rule, const struct ip_addr *a,
			uint16_t port, struct address_verdict *ret)
{
	const struct route_rule *r = &p->rules[rule];

	*ret = address_classify(a);
	if (ret->class == ADDRESS_PUBLIC)
		return true;
	for (size_t i = 0; i < r->n_to; i++) {
		const struct route_where *w = &r->to[i];

		if (w->is_cidr && port_takes(w, port) && where_takes_address(w, a) &&
		    address_opened_by(ret, &w->cidr))
			return true;
	}
	return false;
}

bool route_where_takes(const struct route_where *w, struct route_scratch *s, const struct route_ask *ask)
{
	if (!port_takes(w, ask->port))
		return false;
	if (w->is_cidr)
		return ask->address && where_takes_address(w, ask->address);
	if (!ask->name.ptr)
		return w->pattern.kind == ROUTE_PATTERN_ANY;
	return pattern_takes(&w->pattern, s, ask->name);
}

bool route_policy_rule_takes(const struct route_rule *rule, struct route_scratch *s,
			     const struct route_ask *ask)
{
	if (!who_takes(rule, ask))
		return false;
	for (size_t i = 0; i < rule->n_to; i++)
		if (route_where_takes(&rule->to[i], s, ask))
			return true;
	return rule->n_to == 0;
}

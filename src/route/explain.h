/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a query goes where it goes: the rule that takes it, and of the others those
 * that came nearest, each with the matcher that said no and why.
 *
 * For people, so it is the slow way: every rule is asked, one matcher at a time.
 * Rules are named by number; places and texts are the caller's.
 */
#ifndef ROUTE_EXPLAIN_H
#define ROUTE_EXPLAIN_H

#include <stddef.h>

#include "base/arena.h"
#include "route/policy.h"
#include "route/rules.h"

enum route_matcher {
	ROUTE_MATCHER_NONE,	/* nothing refused it: an earlier rule was first */
	ROUTE_MATCHER_NAME,
	ROUTE_MATCHER_ALPN,
	ROUTE_MATCHER_PATH,
	ROUTE_MATCHER_FROM,
	ROUTE_MATCHER_TO,
};

struct route_near {
	size_t rule;
	enum route_matcher refused;	/* the first that did */
	const char *why;		/* a clause: lower case, no full stop */
};

struct route_explanation {
	enum route_result result;	/* of route_match() */
	size_t rule;			/* where found */
	const struct route_near *near;	/* nearest first */
	size_t n_near;
};

/* table is that of the rules.  At most max_near others; the arena owns the answer. */
void route_explain(struct arena *a, const struct route_table *table,
		   const struct route_rule *rules, size_t n_rules, struct route_scratch *s,
		   const struct route_query *q, size_t max_near, struct route_explanation *ret);

/*
 * The same for egress rules: those that come nearest to ask, without the one that is taken
 * (n_rules: none).  The number written to ret_near, which has room for max_near.
 */
size_t route_explain_policy(struct arena *a, const struct route_rule *rules, size_t n_rules,
			    struct route_scratch *s, const struct route_ask *ask, size_t taken,
			    size_t max_near, struct route_near *ret_near);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The egress rules of one frontend as tables: may this enclave go there?
 *
 * Rules run top down for each (who, name, port, address), and the first that
 * takes them wins.  A name pattern of "to" matches the name that was asked, and
 * only "*" a literal address; a CIDR matches the address that would be dialled.
 * What a rule leads to is the caller's, and so is looking names up:
 *
 *	route_policy_match() without an address, then
 *	POLICY_FOUND    no CIDR rule can come before; an address may still be
 *	                needed for the target, but not for the choice
 *	POLICY_LOOK_UP  a CIDR rule that comes first may match: look the name up, and
 *	                ask again for each address, or with `lookup_failed`
 *
 * route_policy_judge() then says whether `direct` may dial an address by a rule.
 *
 * Names sit in the hash tables of names.h, and so do prefixes, one probe for each
 * length in use: 100,000 of either cost what ten do.
 */
#ifndef ROUTE_POLICY_H
#define ROUTE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "route/address_class.h"
#include "route/rules.h"

/* A TCP listener of ours; any: every local address, of the family of ip unless both. */
struct route_own {
	struct ip_addr ip;	/* unless any */
	bool any_v4, any_v6;
	uint16_t port;
};

/* What is asked.  Borrowed. */
struct route_ask {
	bool vouched;		/* cid is valid */
	uint32_t cid;
	struct slice name;	/* lower case, no trailing dot; ptr NULL: a literal address */
	const struct ip_addr *address;	/* NULL: not known (yet) */
	uint16_t port;
	bool lookup_failed;	/* it never will be: CIDRs do not match */
};

enum route_policy_result {
	POLICY_FOUND,
	POLICY_MISS,
	POLICY_LOOK_UP,
	POLICY_LIMIT,	/* a regex ran past its match limit: refuse */
};

struct route_policy;

/* Rules, what they point to, and own must outlive it; rules as for route_table_new(). */
struct route_policy *route_policy_new(const struct route_rule *rules, size_t n_rules,
				      const struct route_own *own, size_t n_own,
				      const struct hash_key *key);
void route_policy_free(struct route_policy *p); /* takes NULL */

enum route_policy_result route_policy_match(const struct route_policy *p, struct route_scratch *s,
					    const struct route_ask *ask, size_t *ret_rule);

/* Is this address and port a listener of ours? */
enum route_own_result {
	ROUTE_NOT_OWN,
	ROUTE_OWN,
	ROUTE_OWN_IF_LOCAL, /* where the address is one of this machine's */
};
enum route_own_result route_policy_is_own(const struct route_policy *p, const struct ip_addr *a,
					  uint16_t port);

/*
 * The address policy for `direct` by this rule: true where the address is public or
 * the rule opens it; else false with the block that refuses.  Own listeners are
 * another question.
 */
bool route_policy_judge(const struct route_policy *p, size_t rule, const struct ip_addr *a,
			uint16_t port, struct address_verdict *ret);

/* Does one alternative of a "to" take ask?  The slow way, as the next. */
bool route_where_takes(const struct route_where *w, struct route_scratch *s, const struct route_ask *ask);
/* For --explain and tests: does this one rule take ask?  The slow way. */
bool route_policy_rule_takes(const struct route_rule *rule, struct route_scratch *s,
			     const struct route_ask *ask);

#endif

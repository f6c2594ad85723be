/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of one frontend as tables: which rule takes this connection?
 *
 * The first rule that matches wins.  A rule is a conjunction of matchers, each a
 * list of alternatives; a list that is empty does not restrict.  A table knows
 * rules by number only; what a rule leads to is the caller's.
 *
 * Exact names and the suffixes and prefixes of wildcards sit in hash tables,
 * each entry with the ascending numbers of its rules, so that a name of n labels
 * costs at most 2n + 1 probes; regexes are tried in order and only while their
 * number is below the best so far; rules without a name are scanned in order.
 *
 * Const after route_table_new(), shared by all workers without a lock.  Each
 * worker brings its own scratch.
 */
#ifndef ROUTE_RULES_H
#define ROUTE_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/ip.h"
#include "base/slice.h"

enum route_pattern_kind {
	ROUTE_PATTERN_EXACT,	/* a.example.org */
	ROUTE_PATTERN_BELOW,	/* *.example.org: one or more labels before it; text "example.org" */
	ROUTE_PATTERN_AT_BELOW,	/* .example.org: it and all below; text "example.org" */
	ROUTE_PATTERN_LEADING,	/* tee-k.*: one or more labels after; text "tee-k" */
	ROUTE_PATTERN_ANY,	/* *: any name (and literal address in egress), not none */
	ROUTE_PATTERN_REGEX,	/* ~'...': caseless, not anchored; text as written */
	ROUTE_PATTERN_NONE,	/* sni none: a well-formed hello without a name */
};

struct route_pattern {
	enum route_pattern_kind kind;
	struct slice text; /* lower case, no trailing dot; a regex unchanged */
};

/* Who a peer is: a CID that the kernel, or a listener's "as", vouches for. */
struct route_who {
	bool any;	/* also peers that nobody vouches for */
	uint32_t cid;	/* unless any */
};

struct route_ports {
	uint16_t first, last; /* inclusive; 1-65535 is "*" */
};

/* Egress: a name pattern or a prefix, and the ports it is good for. */
struct route_where {
	bool is_cidr;
	struct route_pattern pattern; /* unless is_cidr */
	struct ip_cidr cidr;	      /* if is_cidr */
	const struct route_ports *ports;
	size_t n_ports;
};

/* There may be 100,000: counts are small, and stand together. */
struct route_rule {
	const struct route_pattern *names;	/* host or sni */
	const struct slice *alpns;		/* the client offered one of these */
	const struct slice *paths;		/* prefixes by whole segments: /a takes /a and /a/b, not /ab */
	const struct ip_cidr *from;		/* one matcher with who: or-ed */
	const struct route_who *who;
	const struct route_where *to;
	uint32_t n_names, n_alpns, n_paths, n_from, n_who, n_to;
};

/* What is known of a connection or request.  All slices are borrowed. */
struct route_query {
	struct slice name;	/* lower case, no trailing dot; ptr NULL: there is none */
	struct slice alpn;	/* RFC 7301 ProtocolNameList without its outer length; may be empty */
	struct slice path;	/* decoded, dots removed */
	const struct ip_addr *from; /* NULL: no IP source */
	bool vouched;		/* cid is valid */
	uint32_t cid;
};

struct route_table;
struct route_scratch;

enum route_result {
	ROUTE_FOUND,
	ROUTE_MISS,	/* no rule takes it */
	ROUTE_LIMIT,	/* a regex ran past its match limit: refuse the connection */
};

/*
 * Builds the table; rules and all they point to must outlive it.  Every regex
 * must have passed route_regex_check().  The key is random, so that strangers
 * cannot choose colliding names.
 */
struct route_table *route_table_new(const struct route_rule *rules, size_t n_rules,
				    const struct hash_key *key);
void route_table_free(struct route_table *t);	/* takes NULL */

/* What PCRE2 needs to match; one for each thread, for all tables. */
struct route_scratch *route_scratch_new(void);
void route_scratch_free(struct route_scratch *s); /* takes NULL */

/* The number of the first rule that takes q.  Does not look at "to": see route/policy.h. */
enum route_result route_match(const struct route_table *t, struct route_scratch *s,
			      const struct route_query *q, size_t *ret_rule);

/* True where some rule has a name pattern that takes this name, whatever else it asks (421 or 403?). */
bool route_knows_name(const struct route_table *t, struct route_scratch *s, struct slice name);

/* Does this one rule take q?  The slow way: for --explain, lint and tests. */
bool route_rule_takes(const struct route_rule *rule, struct route_scratch *s,
		      const struct route_query *q);

/* Compiles a pattern to see whether it can be: PCRE2's message and offset if not. */
bool route_regex_check(struct slice pattern, char *ret_message, size_t message_size,
		       size_t *ret_offset);

#endif

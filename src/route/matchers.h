/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One matcher of one rule against one query, the plain way.
 *
 * Each is true where its list is empty.  The tables use all but the name's;
 * --explain asks each by itself, so that it can say which one said no.
 */
#ifndef ROUTE_MATCHERS_H
#define ROUTE_MATCHERS_H

#include <stdbool.h>

#include "route/rules.h"

bool matcher_name_takes(const struct route_rule *rule, struct route_scratch *s,
			const struct route_query *q);
bool matcher_alpn_takes(const struct route_rule *rule, const struct route_query *q);
bool matcher_path_takes(const struct route_rule *rule, const struct route_query *q);
/* "from" is one matcher: its CIDRs and its peers are or-ed. */
bool matcher_from_takes(const struct route_rule *rule, const struct route_query *q);

/* The half of "from" that is about peers; false where it names none. */
bool from_who_takes(const struct route_rule *rule, const struct route_query *q);

/* A NONE pattern takes a name whose ptr is NULL, every other only one that is not. */
bool pattern_takes(const struct route_pattern *pattern, struct route_scratch *s,
		   struct slice name);
/* /a takes /a and /a/b, not /ab; /a/ takes /a/ and /a/b, not /a. */
bool path_prefix_takes(struct slice prefix, struct slice path);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address policy: which addresses are of the public internet, and of the others,
 * what they are and which block says so.
 *
 * The blocks are those of the IANA special-purpose registries (RFC 6890, updated to
 * 2025) that are not globally reachable, the metadata services of clouds, and every
 * IPv6 address outside 2000::/3, the only part that is given out.  An address is
 * judged in one canonical form: an IPv4-mapped address is the IPv4 one (struct ip_addr
 * has it so already), and 64:ff9b::/96 (NAT64, RFC 6052) is the IPv4 one inside.  All
 * other forms that carry an IPv4 address (6to4, Teredo, IPv4-compatible, SIIT) are
 * refused whole: nobody honest dials them, and who unwraps them is not known here.
 *
 * Of nested blocks the innermost judges, so that opening 169.254.0.0/16 does not
 * open the metadata address within.
 */
#ifndef ROUTE_ADDRESS_CLASS_H
#define ROUTE_ADDRESS_CLASS_H

#include <stdbool.h>

#include "base/ip.h"

enum address_class {
	ADDRESS_PUBLIC,
	ADDRESS_UNSPECIFIED,
	ADDRESS_LOOPBACK,
	ADDRESS_PRIVATE,
	ADDRESS_SHARED,
	ADDRESS_LINK_LOCAL,
	ADDRESS_METADATA,
	ADDRESS_MULTICAST,
	ADDRESS_BROADCAST,
	ADDRESS_DOCUMENTATION,
	ADDRESS_BENCHMARK,
	ADDRESS_TUNNEL,		/* 6to4, Teredo */
	ADDRESS_TRANSLATED,	/* IPv4-compatible, SIIT, local NAT64 */
	ADDRESS_RESERVED,
};

struct address_verdict {
	enum address_class class;
	const struct ip_cidr *block;	/* static; NULL: public */
	const char *why;		/* static, "private (RFC 1918)"; NULL: public */
};

/* "public", "loopback", ... */
const char *address_class_name(enum address_class class);

/* The form in which an address is judged: of NAT64 the IPv4 address inside, else a itself. */
struct ip_addr address_canonical(const struct ip_addr *a);

struct address_verdict address_classify(const struct ip_addr *a);

/* True where a rule's prefix lies inside the block that refuses: only then it opens it. */
static inline bool address_opened_by(const struct address_verdict *v, const struct ip_cidr *rule)
{
	return v->block && ip_cidr_covers(v->block, rule);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two short tables, innermost blocks first, read from the top.
 */
#include <config.h>

#include "route/address_class.h"

#include <string.h>

struct block {
	struct ip_cidr cidr;
	enum address_class class;
	const char *why;
};

#define V4(a, b, c, d, n)                                                                          \
	{ { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d } }, 96 + (n), true }
#define PAIR(h) (unsigned char)((h) >> 8), (unsigned char)((h) & 0xff)
#define V6(a, b, c, d, e, f, g, h, n)                                                              \
	{ { { PAIR(a), PAIR(b), PAIR(c), PAIR(d), PAIR(e), PAIR(f), PAIR(g), PAIR(h) } }, n, false }

static const struct block v4_blocks[] = {
	{ V4(169, 254, 169, 254, 32), ADDRESS_METADATA, "the metadata service of the instance" },
	{ V4(169, 254, 170, 2, 32), ADDRESS_METADATA, "the credentials of ECS tasks" },
	{ V4(169, 254, 170, 23, 32), ADDRESS_METADATA, "the credentials of EKS pods" },
	{ V4(100, 100, 100, 200, 32), ADDRESS_METADATA, "the metadata service of Alibaba Cloud" },
	{ V4(168, 63, 129, 16, 32), ADDRESS_METADATA, "the metadata service of Azure" },
	{ V4(192, 0, 0, 192, 32), ADDRESS_METADATA, "the metadata service of Oracle Cloud" },
	{ V4(255, 255, 255, 255, 32), ADDRESS_BROADCAST, "broadcast (RFC 919)" },
	{ V4(0, 0, 0, 0, 8), ADDRESS_UNSPECIFIED, "this network (RFC 791)" },
	{ V4(127, 0, 0, 0, 8), ADDRESS_LOOPBACK, "loopback (RFC 1122)" },
	{ V4(10, 0, 0, 0, 8), ADDRESS_PRIVATE, "private (RFC 1918)" },
	{ V4(172, 16, 0, 0, 12), ADDRESS_PRIVATE, "private (RFC 1918)" },
	{ V4(192, 168, 0, 0, 16), ADDRESS_PRIVATE, "private (RFC 1918)" },
	{ V4(100, 64, 0, 0, 10), ADDRESS_SHARED, "shared by carriers (RFC 6598)" },
	{ V4(169, 254, 0, 0, 16), ADDRESS_LINK_LOCAL, "link-local (RFC 3927)" },
	{ V4(192, 0, 0, 0, 24), ADDRESS_RESERVED, "protocol assignments (RFC 6890)" },
	{ V4(192, 0, 2, 0, 24), ADDRESS_DOCUMENTATION, "documentation (RFC 5737)" },
	{ V4(198, 51, 100, 0, 24), ADDRESS_DOCUMENTATION, "documentation (RFC 5737)" },
	{ V4(203, 0, 113, 0, 24), ADDRESS_DOCUMENTATION, "documentation (RFC 5737)" },
	{ V4(192, 88, 99, 0, 24), ADDRESS_TUNNEL, "relays of 6to4 (RFC 7526)" },
	{ V4(198, 18, 0, 0, 15), ADDRESS_BENCHMARK, "benchmarks (RFC 2544)" },
	{ V4(224, 0, 0, 0, 4), ADDRESS_MULTICAST, "multicast (RFC 5771)" },
	{ V4(240, 0, 0, 0, 4), ADDRESS_RESERVED, "reserved (RFC 1112)" },
};

static const struct block v6_blocks[] = {
	{ V6(0, 0, 0, 0, 0, 0, 0, 0, 128), ADDRESS_UNSPECIFIED, "unspecified (RFC 4291)" },
	{ V6(0, 0, 0, 0, 0, 0, 0, 1, 128), ADDRESS_LOOPBACK, "loopback (RFC 4291)" },
	{ V6(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254, 128), ADDRESS_METADATA, "the metadata service of the instance" },
	{ V6(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23, 128), ADDRESS_METADATA, "the credentials of EKS pods" },
	{ V6(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254, 128), ADDRESS_METADATA, "the metadata service of Google Cloud" },
	{ V6(0, 0, 0, 0, 0, 0, 0, 0, 96), ADDRESS_TRANSLATED, "IPv4-compatible (RFC 4291)" },
	{ V6(0, 0, 0, 0, 0xffff, 0, 0, 0, 96), ADDRESS_TRANSLATED, "SIIT (RFC 2765)" },
	{ V6(0x64, 0xff9b, 1, 0, 0, 0, 0, 0, 48), ADDRESS_TRANSLATED, "local NAT64 (RFC 8215)" },
	{ V6(0x100, 0, 0, 0, 0, 0, 0, 0, 64), ADDRESS_RESERVED, "discarded (RFC 6666)" },
	{ V6(0x2001, 0, 0, 0, 0, 0, 0, 0, 32), ADDRESS_TUNNEL, "Teredo (RFC 4380)" },
	{ V6(0x2001, 2, 0, 0, 0, 0, 0, 0, 48), ADDRESS_BENCHMARK, "benchmarks (RFC 5180)" },
	{ V6(0x2001, 0, 0, 0, 0, 0, 0, 0, 23), ADDRESS_RESERVED, "protocol assignments (RFC 2928)" },
	{ V6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0, 32), ADDRESS_DOCUMENTATION, "documentation (RFC 3849)" },
	{ V6(0x3fff, 0, 0, 0, 0, 0, 0, 0, 20), ADDRESS_DOCUMENTATION, "documentation (RFC 9637)" },
	{ V6(0x2002, 0, 0, 0, 0, 0, 0, 0, 16), ADDRESS_TUNNEL, "6to4 (RFC 3056)" },
	{ V6(0xfc00, 0, 0, 0, 0, 0, 0, 0, 7), ADDRESS_PRIVATE, "unique local (RFC 4193)" },
	{ V6(0xfe80, 0, 0, 0, 0, 0, 0, 0, 10), ADDRESS_LINK_LOCAL, "link-local (RFC 4291)" },
	{ V6(0xfec0, 0, 0, 0, 0, 0, 0, 0, 10), ADDRESS_PRIVATE, "site-local (RFC 3879)" },
	{ V6(0xff00, 0, 0, 0, 0, 0, 0, 0, 8), ADDRESS_MULTICAST, "multicast (RFC 4291)" },
	/* All but 2000::/3, as the prefixes that are left of it. */
	{ V6(0, 0, 0, 0, 0, 0, 0, 0, 3), ADDRESS_RESERVED, "outside of 2000::/3 (RFC 4291)" },
	{ V6(0x4000, 0, 0, 0, 0, 0, 0, 0, 2), ADDRESS_RESERVED, "outside of 2000::/3 (RFC 4291)" },
	{ V6(0x8000, 0, 0, 0, 0, 0, 0, 0, 1), ADDRESS_RESERVED, "outside of 2000::/3 (RFC 4291)" },
};

const char *address_class_name(enum address_class class)
{
	switch (class) {
	case ADDRESS_PUBLIC:
		return "public";
	case ADDRESS_UNSPECIFIED:
		return "unspecified";
	case ADDRESS_LOOPBACK:
		return "loopback";
	case ADDRESS_PRIVATE:
		return "private";
	case ADDRESS_SHARED:
		return "shared";
	case ADDRESS_LINK_LOCAL:
		return "link-local";
	case ADDRESS_METADATA:
		return "metadata";
	case ADDRESS_MULTICAST:
		return "multicast";
	case ADDRESS_BROADCAST:
		return "broadcast";
	case ADDRESS_DOCUMENTATION:
		return "documentation";
	case ADDRESS_BENCHMARK:
		return "benchmark";
	case ADDRESS_TUNNEL:
		return "tunnel";
	case ADDRESS_TRANSLATED:
		return "translated";
	case ADDRESS_RESERVED:
		return "reserved";
	}
	return "";
}

struct ip_addr address_canonical(const struct ip_addr *a)
{
	static const unsigned char nat64[12] = { 0, 0x64, 0xff, 0x9b };

	return memcmp(a->b, nat64, sizeof(nat64)) == 0 ? ip_from_v4(a->b + sizeof(nat64)) : *a;
}

struct address_verdict address_classify(const struct ip_addr *a)
{
	const struct ip_addr judged = address_canonical(a);
	const bool v4 = ip_is_v4(&judged);
	const struct block *b = v4 ? v4_blocks : v6_blocks;
	const struct block *end = b + (v4 ? sizeof(v4_blocks) / sizeof(*b) : sizeof(v6_blocks) / sizeof(*b));

	for (; b < end; b++)
		if (ip_cidr_contains(&b->cidr, &judged))
			return (struct address_verdict){ b->class, &b->cidr, b->why };
	return (struct address_verdict){ ADDRESS_PUBLIC, NULL, NULL };
}

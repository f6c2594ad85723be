/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP addresses and prefixes, in one form.
 *
 * An address is 16 bytes in network order; an IPv4 address is kept as its
 * IPv4-mapped form, ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), so that the two
 * spellings of one address are equal.  A prefix keeps its family: 0.0.0.0/0 is
 * all of IPv4, ::/0 all of IPv6 and none of IPv4.
 */
#ifndef BASE_IP_H
#define BASE_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct ip_addr {
	unsigned char b[16];
};

struct ip_cidr {
	struct ip_addr net; /* bits past the prefix are zero */
	uint8_t prefix;     /* of the 128-bit form: 96 + n for IPv4 */
	bool v4;
};

enum { IP_TEXT_SIZE = 46 }; /* room for any address as text, NUL included */

bool ip_is_v4(const struct ip_addr *a);
bool ip_is_loopback(const struct ip_addr *a); /* 127.0.0.0/8 or ::1 */
bool ip_equal(const struct ip_addr *a, const struct ip_addr *b);
struct ip_addr ip_from_v4(const void *four_bytes);
struct ip_addr ip_from_v6(const void *sixteen_bytes);

/*
 * Reads a strict literal: four decimal parts without leading zeros, or RFC 4291
 * text without brackets and zone.  False, with *ret untouched, for anything else:
 * "127.1", "0x7f000001" and "0177.0.0.1" are not addresses.
 */
bool ip_parse(struct slice text, struct ip_addr *ret);

/* Writes RFC 5952 text (IPv4 as dotted quad, no brackets); returns buf. */
char *ip_format(const struct ip_addr *a, char buf[IP_TEXT_SIZE]);

enum ip_cidr_result {
	IP_CIDR_OK,
	IP_CIDR_NOT_ONE,	/* neither address nor address/number */
	IP_CIDR_LENGTH,		/* the prefix length is past 32 or 128 */
	IP_CIDR_HOST_BITS,	/* bits are set behind the prefix; *ret has them cleared */
};

/* A lone address is a prefix of full length.  IPv6 without brackets. */
enum ip_cidr_result ip_cidr_parse(struct slice text, struct ip_cidr *ret);
char *ip_cidr_format(const struct ip_cidr *c, char buf[IP_TEXT_SIZE + 4]);
bool ip_cidr_contains(const struct ip_cidr *c, const struct ip_addr *a);
/* True where every address of inner is in outer. */
bool ip_cidr_covers(const struct ip_cidr *outer, const struct ip_cidr *inner);

#endif

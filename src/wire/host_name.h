/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names as strangers write them: in a ClientHello, in Host, in a target.
 *
 * One rule for all three: letters, digits, `-`, `_` and dots, no empty label,
 * at most 255 bytes as sent; case is folded to lower and one trailing dot goes.
 * Anything else is malformed and reaches no rule.  Labels longer than the 63
 * bytes of RFC 1035, 2.3.4 pass: rules compare whole names and cannot be misled
 * by them, and the resolver refuses them on its own.
 *
 * Pure: no state, no allocation.
 */
#ifndef WIRE_HOST_NAME_H
#define WIRE_HOST_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/slice.h"

enum {
	HOST_NAME_MAX_LEN = 255,
	HOST_NAME_SIZE = 256, /* with the NUL */
};

/*
 * Checks a name and writes it folded, with a NUL behind it.  Returns its length,
 * or 0 where it is malformed; buf is then undefined.  No port, no brackets; an
 * IPv4 address is a name to this function.
 */
size_t host_name_fold(struct slice text, char buf[HOST_NAME_SIZE]);

/*
 * True for a name whose last label is a number, decimal or 0x hex, without being
 * a dotted quad: what inet_aton() would take for an address (127.1, 0x7f000001,
 * 2130706433, 0177.0.0.1) and what no top-level domain looks like (the "ends in
 * a number" check of the WHATWG URL standard).  Egress answers these with 400.
 */
bool host_name_is_odd_ipv4(struct slice name);

enum host_kind {
	HOST_IS_NAME,
	HOST_IS_IPV4,
	HOST_IS_IPV6,
};

struct host_port {
	enum host_kind kind;
	bool has_port;
	uint16_t port;             /* 1 to 65535; 0 where there is none */
	uint16_t name_len;
	struct ip_addr addr;       /* where kind is not HOST_IS_NAME */
	char name[HOST_NAME_SIZE]; /* folded; an address as ip_format() writes it, no brackets */
};

/*
 * Reads `host` or `host:port`, where host is a name, a strict IPv4 address or an
 * IPv6 address in brackets (RFC 3986, 3.2.2; no zone, no IPvFuture, no user).
 * An empty port (`host:`) counts as none.  False, with *ret undefined, for the rest.
 */
bool host_port_parse(struct slice text, struct host_port *ret);

static inline struct slice host_port_name(const struct host_port *h)
{
	return slice_of(h->name, h->name_len);
}

#endif

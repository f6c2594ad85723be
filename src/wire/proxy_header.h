/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt), read and written.
 *
 * Reading is called on a growing prefix, as the other parsers are.  The header must be
 * complete within PROXY_HEADER_MAX bytes and the receiver only asks for it from
 * listeners that say so: a connection whose first bytes are not one is BAD.
 */
#ifndef WIRE_PROXY_HEADER_H
#define WIRE_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/slice.h"

enum {
	PROXY_HEADER_V1_MAX = 107,        /* with CRLF; the specification's 108 counts a NUL */
	PROXY_HEADER_MAX = 4096,          /* of version 2 with its TLVs, when read */
	PROXY_HEADER_BUILD_SIZE = 1024,   /* enough for whatever is built here */
};

enum proxy_header_result {
	PROXY_HEADER_MORE,
	PROXY_HEADER_FOUND, /* `len` bytes; the connection's own bytes follow */
	PROXY_HEADER_BAD,   /* `why` */
};

struct proxy_header {
	size_t scan_at;      /* the parser's own */
	const char *why;     /* static, after BAD */
	size_t len;
	uint8_t version;     /* 1 or 2 */
	/* False for LOCAL, UNKNOWN and families other than TCP over IP: use the socket's own. */
	bool has_addresses;
	uint16_t src_port, dst_port;
	struct ip_addr src, dst;
	struct slice authority; /* PP2_TYPE_AUTHORITY; into the buffer, unchecked; empty if none */
	struct slice alpn;      /* PP2_TYPE_ALPN; likewise */
};

void proxy_header_init(struct proxy_header *p);
enum proxy_header_result proxy_header_parse(struct proxy_header *p, const void *buf, size_t len);

/* What a header that is sent says.  Without addresses: UNKNOWN (v1), LOCAL (v2). */
struct proxy_header_info {
	bool has_addresses;
	uint16_t src_port, dst_port;
	struct ip_addr src, dst; /* of mixed families both are written as IPv6 */
	struct slice authority;  /* v2: SNI, at most 255 bytes; none where empty */
	struct slice alpn;       /* v2: one protocol, at most 255 bytes; none where empty */
};

/* Both return how many bytes they wrote. */
size_t proxy_header_build_v1(const struct proxy_header_info *info,
			     char ret[PROXY_HEADER_BUILD_SIZE]);
size_t proxy_header_build_v2(const struct proxy_header_info *info,
			     char ret[PROXY_HEADER_BUILD_SIZE]);

#endif

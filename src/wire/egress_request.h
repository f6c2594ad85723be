/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an enclave asks of mode egress: the first bytes, in one of three protocols.
 *
 *   line     host:port LF         blanks and CR around it; nothing is answered
 *   HTTP     CONNECT host:port, or absolute-form for http (RFC 9110, 9.3.6; 9112, 3.2)
 *   SOCKS5   RFC 1928: no authentication, CONNECT only; by name, IPv4 or IPv6
 *
 * With `auto` the first bytes tell them: 0x05 is SOCKS5; a first word that a blank and
 * another word follow is HTTP; everything else is a line (a method cannot hold the `:`
 * that a target must).  Called on a growing prefix, O(bytes) in total.
 */
#ifndef WIRE_EGRESS_REQUEST_H
#define WIRE_EGRESS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/host_name.h"
#include "wire/http_head.h"

enum {
	EGRESS_LINE_MAX = 4096,   /* with the line feed */
	EGRESS_REPLY_SIZE = 16,
};

enum egress_protocol {
	EGRESS_AUTO,
	EGRESS_LINE,
	EGRESS_HTTP,   /* `protocol connect`: CONNECT and absolute-form */
	EGRESS_SOCKS5,
};

enum egress_result {
	EGRESS_MORE,
	/*
	 * Send reply_len bytes of `reply`, then call again with the same buffer, at once: SOCKS5's
	 * choice of method, before the request comes.
	 */
	EGRESS_REPLY,
	EGRESS_FOUND, /* `target`; `len` bytes were the request, what follows is payload */
	/*
	 * Send `reply` if it is not empty, or for HTTP the answer `status` with `why`, and close.
	 */
	EGRESS_BAD,
};

/* RFC 1928, 6. */
enum socks5_reply {
	SOCKS5_SUCCEEDED = 0,
	SOCKS5_GENERAL_FAILURE = 1,
	SOCKS5_NOT_ALLOWED = 2,
	SOCKS5_NETWORK_UNREACHABLE = 3,
	SOCKS5_HOST_UNREACHABLE = 4,
	SOCKS5_CONNECTION_REFUSED = 5,
	SOCKS5_TTL_EXPIRED = 6,
	SOCKS5_COMMAND_NOT_SUPPORTED = 7,
	SOCKS5_ADDRESS_NOT_SUPPORTED = 8,
};

/* About 3 KiB; needed until the target is dialled (HTTP: until the head is passed on). */
struct egress_request {
	enum egress_protocol protocol; /* as asked; after the first bytes, as found */
	uint8_t stage;
	size_t scan_at;
	size_t at;          /* SOCKS5: start of the request behind the greeting */

	size_t len;         /* after FOUND: consumed */
	bool is_odd_ipv4;   /* the name is an odd spelling of an IPv4 address: refuse, 400 or SOCKS 2 */
	uint16_t status;    /* after BAD in HTTP */
	const char *why;    /* static, after BAD */
	uint8_t reply_len;
	unsigned char reply[EGRESS_REPLY_SIZE];
	struct host_port target; /* after FOUND: always with a port (http: 80 where none is given) */
	struct http_head http;   /* after FOUND with EGRESS_HTTP; method CONNECT is a tunnel */
};

/* head_limit: of an HTTP head, as in http_head_init_request(). */
void egress_request_init(struct egress_request *r, enum egress_protocol protocol,
			 size_t head_limit);
enum egress_result egress_request_parse(struct egress_request *r, const void *buf, size_t len);

/* The target of a head that was FOUND; NULL, or why it is 400. */
const char *egress_http_target(const struct http_head *h, struct host_port *ret);
/* A name that only looks like an IPv4 address to some: 127.1, 0x7f000001, 127.0.0.1 with a dot behind. */
bool egress_is_odd_ipv4(const struct host_port *target);

/*
 * The answer to a SOCKS5 request; bound may be NULL, then 0.0.0.0:0 is given.
 * Returns the length: 10 or 22.
 */
enum { SOCKS5_REPLY_SIZE = 22 };
size_t socks5_reply_build(enum socks5_reply code, const struct ip_addr *bound, uint16_t port,
			  unsigned char ret[SOCKS5_REPLY_SIZE]);

#endif

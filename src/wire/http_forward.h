/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heads that an intermediary sends on, made from those it has read.
 *
 * Fields go on in their order and spelling, but for those of one hop (RFC 9110,
 * 7.6.1).  The target becomes origin-form, and an absolute-form's authority
 * becomes Host (RFC 9112, 3.2.2).  Bodies are passed on as they are framed, so
 * Content-Length and Transfer-Encoding stay.
 *
 * A request in HTTP/1.0 goes on in HTTP/1.0: the enclave then knows that its
 * client cannot read chunks, and nobody has to take them apart.
 *
 * Pure.  The caller brings room for http_forward_*_max() bytes.
 */
#ifndef WIRE_HTTP_FORWARD_H
#define WIRE_HTTP_FORWARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "wire/http_head.h"

struct http_forward_request {
	bool forwarded;		/* set the X-Forwarded-* fields; else the client's go on */
	struct slice client;	/* for X-Forwarded-For: the peer's address as text, or empty */
	bool keep_alive;	/* we may send another request to this server */
	bool to_proxy;		/* the target stays in absolute-form */
};

/* Bytes that http_forward_request() may write. */
size_t http_forward_request_max(const struct http_head *h, const struct http_forward_request *f);
/*
 * Writes the head of the request and returns its length.  h is FOUND, with no
 * method CONNECT; buf is what it was parsed from.
 */
size_t http_forward_request(const struct http_head *h, const char *buf,
			    const struct http_forward_request *f, char *out);

/*
 * The same for a response, 1xx included.  keep_alive: the client's connection
 * goes on behind it; it must not where the framing is close.
 */
size_t http_forward_response_max(const struct http_head *h);
size_t http_forward_response(const struct http_head *h, const char *buf, bool keep_alive,
			     char *out);

/* Bytes that http_redirect() may write. */
size_t http_redirect_max(const struct http_head *h);
/* 308 to the same host and target under https, with Connection: close (RFC 9110, 15.4.9). */
size_t http_redirect(const struct http_head *h, const char *buf, char *out);

/*
 * The whole answer that we give by ourselves: 400, 403, 405, 408, 421, 431, 501, 502, 503,
 * 504 or 505, each with its end of the connection; any other number is 502.  502 is the 93
 * bytes that the seed system's clients know.  The answer to HEAD has no body.
 */
struct slice http_answer(unsigned status, bool to_head);
/*
 * The same, copied to out; and, unless reason is empty, with X-Teeproxy-Reason, and with
 * Connection: close in a 502 too.  Bytes that a field may not hold become `?`.
 */
size_t http_answer_max(struct slice reason);
size_t http_answer_write(unsigned status, bool to_head, struct slice reason, char *out);

#endif

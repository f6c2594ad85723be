/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode https: routes by the server name and the protocols in the ClientHello, and
 * passes every byte on unchanged.  TLS is never terminated.
 *
 * Who is refused hears why in TLS's own words: unrecognized_name (RFC 6066, 3),
 * decode_error.  Who speaks HTTP here gets a 400 that says so.
 */
#include <config.h>

#include "mode/mode.h"
#include "wire/tls_hello.h"

static const char http_answer[] =
	"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 54\r\n\r\n"
	"This port speaks TLS: use https:// instead of http://\n";

static bool https_start(struct conn *c)
{
	tls_hello_init(c->scratch);
	return true;
}

static void https_found(struct conn *c, const struct tls_hello *h)
{
	struct route_query q = { .alpn = slice_of((const char *)h->alpn, h->alpn_len) };

	if (h->name_len) {
		conn_set_name(c, tls_hello_name(h));
		q.name = tls_hello_name(h);
	}
	conn_route(c, &q);
}

static void https_input(struct conn *c, const unsigned char *bytes, size_t len, bool eof)
{
	struct tls_hello *h = c->scratch;
	unsigned char alert[TLS_ALERT_SIZE];
	enum tls_hello_result result = tls_hello_parse(h, bytes, len);

	(void)eof; /* a client that ends inside its hello is told apart by conn.c */
	if (result == TLS_HELLO_MORE && len >= TLS_HELLO_WIRE_MAX)
		result = TLS_HELLO_BAD;
	switch (result) {
	case TLS_HELLO_MORE:
		break;
	case TLS_HELLO_FOUND:
	case TLS_HELLO_NONE:
		https_found(c, h);
		break;
	case TLS_HELLO_OTHER:
		if (tls_hello_looks_like_http(bytes, len))
			conn_answer(c, http_answer, sizeof(http_answer) - 1, END_NOT_TLS);
		else if (len >= 3 || bytes[0] < 'A' || bytes[0] > 'Z') /* no method is shorter */
			conn_end(c, END_NOT_TLS);
		break;
	case TLS_HELLO_BAD:
		tls_alert_build(TLS_ALERT_DECODE_ERROR, alert);
		conn_answer(c, alert, sizeof(alert), END_HELLO_MALFORMED);
		break;
	}
}

static const void *https_refusal(const struct conn *c, size_t *ret_len)
{
	static const unsigned char alert[TLS_ALERT_SIZE] = { 21, 3, 3, 0, 2, 2, TLS_ALERT_UNRECOGNIZED_NAME };

	(void)c;
	*ret_len = sizeof(alert);
	return alert;
}

const struct mode_ops mode_https = {
	.name = "https",
	.start = https_start,
	.input = https_input,
	.refusal = https_refusal,
	.input_max = TLS_HELLO_WIRE_MAX,
	.scratch_size = sizeof(struct tls_hello),
};

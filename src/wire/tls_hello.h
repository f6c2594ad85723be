/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server name and ALPN from a ClientHello, without terminating TLS.
 *
 * The caller reads into one contiguous buffer and calls tls_hello_parse() with
 * the whole of it after each read; the state remembers what was looked at, so
 * a hello that comes byte by byte costs O(bytes).  Records are only walked
 * until the whole message is there; then it is parsed once.  It may be cut at any
 * byte, over reads and over TLS records, up to TLS_HELLO_MAX bytes of handshake.
 * Nothing of the input is kept: names are copied, checked and folded.
 *
 * Choices:
 *  - record versions 3.x pass (RFC 8446, 5.1: legacy_record_version is ignored);
 *    another major version is OTHER in the first record and BAD later.  The hello's
 *    own version must be 3.x and at least TLS 1.0; SSL 3.0 is BAD.
 *  - an SSLv2-framed hello is OTHER: there is no TLS record to answer it in.
 *  - an empty record, one past 16384 + 256 bytes, or one of another type before the
 *    hello is complete is BAD; so is a message that is not a ClientHello.
 *  - bytes after the hello in the same record are BAD: no client may send
 *    another handshake message before the answer.  Further records are not looked at
 *    (early data of TLS 1.3 follows so).
 *  - two extensions of one type are BAD (RFC 8446, 4.2), known or not; so is
 *    pre_shared_key that is not the last (4.2.11).
 *  - server_name holds exactly one entry, a host_name that host_name_fold() takes
 *    (RFC 6066, 3).  A dotted quad passes as the name that it is spelled.
 */
#ifndef WIRE_TLS_HELLO_H
#define WIRE_TLS_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "wire/host_name.h"

enum {
	TLS_RECORD_HEAD = 5,
	TLS_RECORD_MAX = 16384 + 256, /* bytes after the head */
	TLS_HELLO_MAX = 65536,        /* bytes of handshake message, its own head included */
	TLS_HELLO_ALPN_SIZE = 512,    /* of the ALPN list, what is kept */
	/* A buffer of this size holds every hello that comes in records of 32 bytes or more. */
	TLS_HELLO_WIRE_MAX = TLS_HELLO_MAX + (TLS_HELLO_MAX / 32 + 1) * TLS_RECORD_HEAD,
};

enum tls_hello_result {
	TLS_HELLO_MORE,  /* read on; if the buffer is full, the hello is too large: treat as BAD */
	TLS_HELLO_FOUND, /* a hello with a server name, in `name` */
	TLS_HELLO_NONE,  /* a well-formed hello without one */
	TLS_HELLO_OTHER, /* not TLS; see tls_hello_looks_like_http() */
	TLS_HELLO_BAD,   /* malformed: answer with the alert in `alert` and close; see `why` */
};

/*
 * About 830 bytes; needed only until the route is chosen.  `name` and `alpn` are
 * valid after FOUND or NONE.
 */
struct tls_hello {
	size_t record_at;   /* offset of the first record that is not wholly known */
	size_t have;        /* handshake bytes in the records before it */
	size_t need;        /* length of the message with its head; 0: not known yet */
	size_t examined;    /* bytes looked at in all calls: what tests count */
	unsigned char head[4];
	uint8_t alert;      /* TLS_ALERT_..., after BAD */
	const char *why;    /* static text, after BAD or OTHER */
	uint16_t version;   /* legacy_version: 0x0303 for TLS 1.2 and 1.3 */
	uint16_t name_len;
	uint16_t alpn_len;
	bool has_alpn;
	char name[HOST_NAME_SIZE];             /* folded, NUL behind it */
	unsigned char alpn[TLS_HELLO_ALPN_SIZE]; /* length byte, name, length byte, name ... */
};

void tls_hello_init(struct tls_hello *h);

/* `buf` is all that came so far; a later call has the same bytes and more. */
enum tls_hello_result tls_hello_parse(struct tls_hello *h, const void *buf, size_t len);

static inline struct slice tls_hello_name(const struct tls_hello *h)
{
	return slice_of(h->name, h->name_len);
}

/* True where the client offered this protocol, compared bytewise (RFC 7301, 3.1). */
bool tls_hello_offers(const struct tls_hello *h, struct slice protocol);

/*
 * Walks the offered protocols, best first: start with *pos = 0; false at the end.
 * Names past TLS_HELLO_ALPN_SIZE bytes of list are checked but not kept.
 */
bool tls_hello_next_alpn(const struct tls_hello *h, size_t *pos, struct slice *ret);

/* Whether the bytes that were OTHER begin as an HTTP/1 or HTTP/2 request does. */
bool tls_hello_looks_like_http(const void *buf, size_t len);

enum tls_alert {
	TLS_ALERT_UNEXPECTED_MESSAGE = 10,
	TLS_ALERT_HANDSHAKE_FAILURE = 40,
	TLS_ALERT_DECODE_ERROR = 50,
	TLS_ALERT_INTERNAL_ERROR = 80,
	TLS_ALERT_UNRECOGNIZED_NAME = 112,
};

enum { TLS_ALERT_SIZE = 7 };

/* Writes a fatal alert in a plaintext record of version 3.3. */
void tls_alert_build(enum tls_alert alert, unsigned char ret[TLS_ALERT_SIZE]);

#endif

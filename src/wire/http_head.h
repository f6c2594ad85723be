/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads of HTTP/1 requests and responses (RFC 9112), as an intermediary needs them.
 *
 * The caller reads into one contiguous buffer and calls http_head_parse() with
 * the whole of it, from the head's first byte; whole lines are parsed once and the
 * search for the end of a line goes on where it stopped, so the cost is O(bytes).
 * Nothing is allocated or copied but the host: everything else is a span, offset and
 * length, into the buffer, and stays right when the buffer moves.
 *
 * Strict where leniency is how requests are smuggled: lines end in CRLF and a bare LF
 * is 400 (RFC 9112, 2.2 lets a recipient accept it; the seed system's Go parser did, but two
 * readers that disagree about a line end disagree about what is a header); bare CR,
 * NUL, other controls, obs-fold, white space before the colon, Content-Length with
 * Transfer-Encoding, Content-Lengths that differ or are not plain digits (`5, 5` and
 * two equal fields are refused too, as RFC 9110, 8.6 allows: nobody honest
 * sends them), Transfer-Encoding in HTTP/1.0.  Empty CRLF lines before a request line are
 * skipped (RFC 9112, 2.2).
 */
#ifndef WIRE_HTTP_HEAD_H
#define WIRE_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "wire/host_name.h"

enum {
	HTTP_HEAD_MAX = 65536,      /* the largest limit a caller may give */
	HTTP_FIELDS_MAX = 128,      /* fields in a head; more is 431 */
	HTTP_CONNECTION_OPTIONS_MAX = 32,
};

enum http_head_result {
	HTTP_HEAD_MORE,
	HTTP_HEAD_FOUND, /* the head is complete: `len` bytes of the buffer */
	HTTP_HEAD_BAD,   /* `status` is the answer to give, `why` a short text for it */
};

enum http_method {
	HTTP_METHOD_OTHER,
	HTTP_METHOD_GET,
	HTTP_METHOD_HEAD,
	HTTP_METHOD_POST,
	HTTP_METHOD_PUT,
	HTTP_METHOD_DELETE,
	HTTP_METHOD_CONNECT,
	HTTP_METHOD_OPTIONS,
	HTTP_METHOD_TRACE,
	HTTP_METHOD_PATCH,
};

enum http_target_form {
	HTTP_TARGET_ORIGIN,    /* /path?query */
	HTTP_TARGET_ABSOLUTE,  /* http://host/path?query */
	HTTP_TARGET_AUTHORITY, /* host:port, with CONNECT only */
	HTTP_TARGET_ASTERISK,  /* *, with OPTIONS only */
};

enum http_framing {
	HTTP_FRAMING_NONE,
	HTTP_FRAMING_LENGTH,  /* content_length bytes, which may be 0 */
	HTTP_FRAMING_CHUNKED,
	HTTP_FRAMING_CLOSE,   /* responses: all until the end of the stream */
};

enum http_field_id {
	HTTP_FIELD_OTHER,
	HTTP_FIELD_CONNECTION,
	HTTP_FIELD_CONTENT_LENGTH,
	HTTP_FIELD_EXPECT,
	HTTP_FIELD_HOST,
	HTTP_FIELD_KEEP_ALIVE,
	HTTP_FIELD_PROXY_AUTHENTICATE,
	HTTP_FIELD_PROXY_AUTHORIZATION,
	HTTP_FIELD_PROXY_CONNECTION,
	HTTP_FIELD_TE,
	HTTP_FIELD_TRANSFER_ENCODING,
	HTTP_FIELD_UPGRADE,
	HTTP_FIELD_X_FORWARDED_FOR,
	HTTP_FIELD_X_FORWARDED_HOST,
	HTTP_FIELD_X_FORWARDED_PROTO,
};

/* A piece of the buffer. */
struct http_span {
	uint32_t at;
	uint32_t len;
};

struct http_field {
	uint32_t name_at;   /* the line starts here; it ends with the CRLF behind the value */
	uint32_t value_at;  /* without blanks around it */
	uint16_t name_len;
	uint16_t value_len;
	uint8_t id;         /* enum http_field_id */
	/*
	 * Not to be passed on: Connection and what it lists, Keep-Alive, Proxy-Connection,
	 * TE, Upgrade, Proxy-Authorization, Proxy-Authenticate (RFC 9110, 7.6.1).
	 * Transfer-Encoding is not, since bodies are passed on as they are framed.
	 * Who passes an upgrade on emits Upgrade and Connection himself.
	 */
	bool hop_by_hop;
};

struct http_head {
	/* The parser's own. */
	uint32_t limit;
	uint32_t line_at;    /* start of the line that is being waited for */
	uint32_t scan_at;    /* no line feed before this offset of that line */
	uint8_t stage;
	bool is_response;
	uint8_t request_method; /* of the request that a response answers */
	uint8_t n_host, n_length, n_coding;
	bool chunked;

	/* After BAD. */
	uint16_t status;     /* requests: 400, 431, 501 or 505; responses: 502 */
	const char *why;     /* static, lower case, no full stop */

	/* After FOUND. */
	uint32_t len;        /* of the head, with its last CRLF */
	uint8_t minor;       /* HTTP/1.minor; larger ones count as 1 */
	uint8_t method;      /* enum http_method */
	uint8_t form;        /* enum http_target_form */
	uint8_t framing;     /* enum http_framing */
	uint16_t code;       /* responses: 100 to 999 */
	uint64_t content_length;
	struct http_span method_text;
	struct http_span target;
	/*
	 * Of the target, path and query.  In absolute-form it may be empty or start with
	 * `?`; who writes origin-form puts `/` before it then.
	 */
	struct http_span path;
	struct http_span reason; /* responses */
	struct http_span first_line; /* without its CRLF */
	bool has_host;       /* false only in HTTP/1.0 without Host and in responses */
	bool is_https_uri;   /* absolute-form with https: */
	bool keep_alive;     /* what version and Connection say; see framing too */
	bool wants_upgrade;  /* Connection: upgrade together with Upgrade, 1.1 only */
	bool expects_continue;
	uint16_t n_fields;
	struct http_field fields[HTTP_FIELDS_MAX];
	struct host_port host; /* of the target where that has one, else of Host */
};

/* limit: bytes of head past which it is 431, at most HTTP_HEAD_MAX. */
void http_head_init_request(struct http_head *h, size_t limit);

/*
 * The method of the request it answers decides whether there is a body.  1xx are
 * heads of their own, with framing none: read on, with a new init.  A 101, and a 2xx to
 * CONNECT, end HTTP on the connection.
 */
void http_head_init_response(struct http_head *h, size_t limit, enum http_method request_method);

enum http_head_result http_head_parse(struct http_head *h, const char *buf, size_t len);

static inline struct slice http_span_slice(const char *buf, struct http_span s)
{
	return slice_of(buf + s.at, s.len);
}

static inline struct slice http_field_name(const char *buf, const struct http_field *f)
{
	return slice_of(buf + f->name_at, f->name_len);
}

static inline struct slice http_field_value(const char *buf, const struct http_field *f)
{
	return slice_of(buf + f->value_at, f->value_len);
}

/* The first field with this id at or after index `from`, or -1. */
int http_head_find(const struct http_head *h, enum http_field_id id, int from);

/* RFC 9110, 5.6.2: a byte that a token (method, field name) may hold. */
bool http_is_tchar(unsigned char c);

#endif

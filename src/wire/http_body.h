/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an HTTP/1 message ends (RFC 9112, 6 and 7).
 *
 * The body is passed on as it came, chunks and all; this only counts.  Fed with the
 * bytes behind the head, in any cut, each byte once, it tells how many of them belong to this message.
 * It never copies and keeps no pointer.  Chunked is strict: CRLF only, sizes of hex
 * digits that do not wrap (at most 16 with leading zeros), extensions and trailers
 * bounded, trailers checked as fields are and never one that frames or routes.
 */
#ifndef WIRE_HTTP_BODY_H
#define WIRE_HTTP_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "wire/http_head.h"

enum {
	HTTP_CHUNK_EXTENSION_MAX = 1024, /* bytes of extension in one chunk line */
	HTTP_CHUNK_EXTENSIONS_MAX = 16384, /* bytes of extensions in one body */
	HTTP_TRAILERS_MAX = 8192,        /* bytes of all trailers */
};

enum http_body_result {
	HTTP_BODY_MORE, /* all bytes were taken and the message goes on */
	HTTP_BODY_DONE, /* it ended; what was not taken is the next message's */
	HTTP_BODY_BAD,  /* broken framing: `why`; nothing behind it can be read */
};

struct http_body {
	uint8_t framing;  /* enum http_framing */
	uint8_t state;
	uint8_t digits;   /* of the chunk size */
	uint8_t name_len; /* of the trailer's name, bounded by the size of name */
	uint16_t line_extension;
	uint32_t extensions, trailers;
	uint64_t left;    /* of the body (length) or of the chunk */
	const char *why;  /* static, after BAD */
	char name[20];    /* of a trailer, folded: long enough for those that are refused */
};

void http_body_init(struct http_body *b, enum http_framing framing, uint64_t content_length);

/*
 * *ret_used is how many of the bytes belong to the message; with BAD, how many came before
 * the byte that is wrong.  A body of length 0 or none is DONE at once, also with len 0.
 */
enum http_body_result http_body_feed(struct http_body *b, const char *buf, size_t len,
				     size_t *ret_used);

/* What the end of the stream means: DONE for framing close, none and what was done; else BAD. */
enum http_body_result http_body_end_of_stream(struct http_body *b);

/*
 * So many next bytes are body whatever they hold, and may be spliced without being seen;
 * http_body_skip() then accounts for them.  UINT64_MAX for framing close.
 */
uint64_t http_body_opaque(const struct http_body *b);
void http_body_skip(struct http_body *b, uint64_t n);

#endif

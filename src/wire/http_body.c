/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/http_body.h"

#include <stdbool.h>
#include <string.h>

#include "base/slice.h"

/*
 * RFC 9112, 7.1:
 *
 *   size(hex) [ext] CRLF data CRLF   any number of times, then
 *   0 [ext] CRLF  { field CRLF }  CRLF
 */
enum state {
	STATE_SIZE,
	STATE_EXTENSION,
	STATE_SIZE_LF,
	STATE_DATA,
	STATE_DATA_CR,
	STATE_DATA_LF,
	STATE_TRAILER_START,
	STATE_TRAILER_NAME,
	STATE_TRAILER_VALUE,
	STATE_TRAILER_LF,
	STATE_LAST_LF,
	STATE_DONE,
	STATE_BAD,
	STATE_LENGTH,
	STATE_CLOSE,
};

static int hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_text(unsigned char c)
{
	return (c >= ' ' && c != 0x7f) || c == '\t';
}

static const char *size_byte(struct http_body *b, unsigned char c)
{
	int digit = hex_digit(c);

	if (digit >= 0) {
		if (b->digits == 16 || b->left >> 59 != 0)
			return "a chunk size that is too large";
		b->left = b->left << 4 | (unsigned)digit;
		b->digits++;
		return NULL;
	}
	if (b->digits == 0)
		return "malformed chunk size";
	b->line_extension = 0;
	if (c == '\r') {
		b->state = STATE_SIZE_LF;
		return NULL;
	}
	/* Blanks before `;` are bad white space that RFC 9112, 7.1.1 lets be refused. */
	if (c != ';')
		return "malformed chunk size";
	b->state = STATE_EXTENSION;
	return NULL;
}

static const char *extension_byte(struct http_body *b, unsigned char c)
{
	if (c == '\r') {
		b->state = STATE_SIZE_LF;
		return NULL;
	}
	if (!is_text(c))
		return "a control character in a chunk extension";
	if (++b->line_extension > HTTP_CHUNK_EXTENSION_MAX ||
	    ++b->extensions > HTTP_CHUNK_EXTENSIONS_MAX)
		return "chunk extensions are too large";
	return NULL;
}

static const char *size_ends(struct http_body *b, unsigned char c)
{
	if (c != '\n')
		return "a chunk line that ends in CR without LF";
	b->state = b->left > 0 ? STATE_DATA : STATE_TRAILER_START;
	return NULL;
}

static const char *trailer_name_byte(struct http_body *b, unsigned char c)
{
	static const char *const refused[] = {
		"content-length", "transfer-encoding", "host", "connection",
	};

	if (c != ':') {
		if (!http_is_tchar(c))
			return "malformed trailer name";
		if (b->name_len < sizeof(b->name))
			b->name[b->name_len++] = ascii_lower((char)c);
		return NULL;
	}
	if (b->name_len == 0)
		return "malformed trailer name";
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		if (slice_equal(slice_of(b->name, b->name_len), slice_of_string(refused[i])))
			return "a trailer that frames or routes the message";
	}
	b->state = STATE_TRAILER_VALUE;
	return NULL;
}

static const char *trailer_byte(struct http_body *b, unsigned char c)
{
	if (++b->trailers > HTTP_TRAILERS_MAX)
		return "the trailers are too large";
	switch (b->state) {
	case STATE_TRAILER_START:
		if (c == '\r') {
			b->state = STATE_LAST_LF;
			return NULL;
		}
		b->name_len = 0;
		b->state = STATE_TRAILER_NAME;
		return trailer_name_byte(b, c);
	case STATE_TRAILER_NAME:
		return trailer_name_byte(b, c);
	case STATE_TRAILER_VALUE:
		if (c == '\r')
			b->state = STATE_TRAILER_LF;
		else if (!is_text(c))
			return "a control character in a trailer";
		return NULL;
	case STATE_TRAILER_LF:
		b->state = STATE_TRAILER_START;
		return c == '\n' ? NULL : "a trailer that ends in CR without LF";
	default:
		b->state = STATE_DONE;
		return c == '\n' ? NULL : "a trailer that ends in CR without LF";
	}
}

/* One byte that is not data. */
static const char *framing_byte(struct http_body *b, unsigned char c)
{
	switch (b->state) {
	case STATE_SIZE:
		return size_byte(b, c);
	case STATE_EXTENSION:
		return extension_byte(b, c);
	case STATE_SIZE_LF:
		return size_ends(b, c);
	case STATE_DATA_CR:
		b->state = STATE_DATA_LF;
		return c == '\r' ? NULL : "a chunk that is longer than its size";
	case STATE_DATA_LF:
		b->state = STATE_SIZE;
		b->digits = 0;
		return c == '\n' ? NULL : "a chunk that ends in CR without LF";
	default:
		return trailer_byte(b, c);
	}
}

void http_body_init(struct http_body *b, enum http_framing framing, uint64_t content_length)
{
	memset(b, 0, offsetof(struct http_body, name));
	b->framing = (uint8_t)framing;
	switch (framing) {
	case HTTP_FRAMING_NONE:
		b->state = STATE_DONE;
		break;
	case HTTP_FRAMING_LENGTH:
		b->left = content_length;
		b->state = content_length > 0 ? STATE_LENGTH : STATE_DONE;
		break;
	case HTTP_FRAMING_CHUNKED:
		b->state = STATE_SIZE;
		break;
	case HTTP_FRAMING_CLOSE:
		b->state = STATE_CLOSE;
		break;
	}
}

uint64_t http_body_opaque(const struct http_body *b)
{
	if (b->state == STATE_CLOSE)
		return UINT64_MAX;
	return b->state == STATE_DATA || b->state == STATE_LENGTH ? b->left : 0;
}

void http_body_skip(struct http_body *b, uint64_t n)
{
	if (b->state == STATE_CLOSE)
		return;
	b->left -= n;
	if (b->left == 0 && n > 0)
		b->state = b->state == STATE_DATA ? STATE_DATA_CR : STATE_DONE;
}

enum http_body_result http_body_feed(struct http_body *b, const char *buf, size_t len,
				     size_t *ret_used)
{
	size_t at = 0;

	while (at < len && b->state != STATE_DONE && b->state != STATE_BAD) {
		uint64_t opaque = http_body_opaque(b);
		const char *fault;

		if (opaque > 0) {
			size_t n = opaque < len - at ? (size_t)opaque : len - at;

			http_body_skip(b, n);
			at += n;
			continue;
		}
		fault = framing_byte(b, (unsigned char)buf[at]);
		if (fault) {
			b->state = STATE_BAD;
			b->why = fault;
			break;
		}
		at++;
	}
	*ret_used = at;
	if (b->state == STATE_BAD)
		return HTTP_BODY_BAD;
	return b->state == STATE_DONE ? HTTP_BODY_DONE : HTTP_BODY_MORE;
}

enum http_body_result http_body_end_of_stream(struct http_body *b)
{
	if (b->state == STATE_DONE || b->state == STATE_CLOSE) {
		b->state = STATE_DONE;
		return HTTP_BODY_DONE;
	}
	if (b->state != STATE_BAD)
		b->why = "the stream ended inside the body";
	b->state = STATE_BAD;
	return HTTP_BODY_BAD;
}

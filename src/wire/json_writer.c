/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/json_writer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/base64.h"

static void give_up(char *ptr, size_t size)
{
	if (ptr)
		explicit_bzero(ptr, size);
	free(ptr);
}

void json_writer_fini(struct json_writer *w)
{
	give_up(w->ptr, w->size);
	*w = (struct json_writer)JSON_WRITER_INIT;
}

char *json_writer_take(struct json_writer *w, size_t *ret_len)
{
	char *ptr = w->ptr;

	if (w->failed) {
		json_writer_fini(w);
		return NULL;
	}
	*ret_len = w->len;
	*w = (struct json_writer)JSON_WRITER_INIT;
	return ptr;
}

/* Room for n more and a NUL: realloc() would leave a copy behind that nobody wipes. */
static char *room(struct json_writer *w, size_t n)
{
	size_t size = w->size ? w->size : 256;
	char *ptr;

	if (w->failed || n > SIZE_MAX / 4 - w->len) {
		w->failed = true;
		return NULL;
	}
	while (size <= w->len + n)
		size *= 2;
	if (size == w->size)
		return w->ptr + w->len;
	ptr = malloc(size);
	if (!ptr) {
		w->failed = true;
		return NULL;
	}
	if (w->len > 0)
		memcpy(ptr, w->ptr, w->len);
	give_up(w->ptr, w->size);
	w->ptr = ptr;
	w->size = size;
	return ptr + w->len;
}

static void grown(struct json_writer *w, size_t n)
{
	w->len += n;
	w->ptr[w->len] = '\0';
}

void json_write(struct json_writer *w, struct slice text)
{
	char *at = room(w, text.len);

	if (!at)
		return;
	if (text.len > 0)
		memcpy(at, text.ptr, text.len);
	grown(w, text.len);
}

void json_write_text(struct json_writer *w, const char *text)
{
	json_write(w, slice_of_string(text));
}

/* How many bytes a well-formed UTF-8 sequence has that begins here (RFC 3629), or 0. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	size_t n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 :
		   s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;

	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Too long, a surrogate, or above U+10FFFF. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

/* How Go escapes what begins here: into buf, "" where it stands for itself; *ret_n bytes of input. */
static const char *escape(const unsigned char *s, size_t left, size_t *ret_n, char buf[8])
{
	static const char short_of[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	*ret_n = 1;
	if (s[0] < 0x80) {
		for (const char *p = short_of; *p; p += 2) {
			if ((unsigned char)*p == s[0]) {
				snprintf(buf, 8, "\\%c", p[1]);
				return buf;
			}
		}
		if (s[0] >= 0x20 && s[0] != '<' && s[0] != '>' && s[0] != '&')
			return "";
		snprintf(buf, 8, "\\u%04x", s[0]);
		return buf;
	}
	*ret_n = utf8_len(s, left);
	if (*ret_n == 0) {
		*ret_n = 1;
		return "\\ufffd";
	}
	if (*ret_n == 3 && s[0] == 0xe2 && s[1] == 0x80 && (s[2] & 0xfe) == 0xa8)
		return s[2] == 0xa8 ? "\\u2028" : "\\u2029";
	return "";
}

void json_write_escaped(struct json_writer *w, struct slice piece)
{
	const unsigned char *s = (const unsigned char *)piece.ptr;
	size_t plain = 0;

	if (piece.len == 0)
		return; /* its pointer may be NULL */
	for (size_t at = 0, n; at < piece.len; at += n) {
		char buf[8];
		const char *escaped = escape(s + at, piece.len - at, &n, buf);

		if (!*escaped)
			continue;
		json_write(w, slice_of(s + plain, at - plain));
		json_write_text(w, escaped);
		plain = at + n;
	}
	json_write(w, slice_of(s + plain, piece.len - plain));
}

void json_write_string(struct json_writer *w, struct slice s)
{
	json_write_text(w, "\"");
	json_write_escaped(w, s);
	json_write_text(w, "\"");
}

void json_write_base64(struct json_writer *w, struct slice bytes)
{
	char *at;

	json_write_text(w, "\"");
	at = bytes.len < SIZE_MAX / 8 ? room(w, BASE64_LEN(bytes.len)) : NULL;
	if (at) {
		base64_encode(bytes.ptr, bytes.len, at);
		grown(w, BASE64_LEN(bytes.len));
	}
	json_write_text(w, "\"");
}

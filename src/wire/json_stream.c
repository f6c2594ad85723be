/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/json_stream.h"

#include <json-c/json.h>
#include <json-c/printbuf.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 4096 }; /* bytes given to json-c at one time */

struct json_stream {
	struct json_tokener *tokener;
	size_t size_limit;
	size_t value_len; /* bytes of the open value; 0 between values */
	unsigned containers, elements; /* of the open value, as far as it was read */
	bool in_string, escaped;
	bool is_bad;
	struct json_stream_error error;
};

struct json_stream *json_stream_new(size_t size_limit, int depth_limit)
{
	struct json_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	/* json-c counts what the innermost level holds as one more; an empty one may pass. */
	s->tokener = json_tokener_new_ex(depth_limit + 1);
	if (!s->tokener) {
		free(s);
		return NULL;
	}
	json_tokener_set_flags(s->tokener, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	s->size_limit = size_limit;
	return s;
}

/* As deep as the stream lets values be. */
static void wipe_value(struct json_object *value)
{
	switch (json_object_get_type(value)) {
	case json_type_string:
		/* The bytes are the object's own, on the heap. */
		explicit_bzero((char *)json_object_get_string(value), (size_t)json_object_get_string_len(value));
		break;
	case json_type_int:
		json_object_set_int64(value, 0);
		break;
	case json_type_array:
		for (size_t i = 0; i < json_object_array_length(value); i++)
			wipe_value(json_object_array_get_idx(value, i));
		break;
	case json_type_object: {
		json_object_object_foreach(value, key, member) {
			(void)key;
			wipe_value(member);
		}
		break;
	}
	case json_type_null:
	case json_type_boolean:
	case json_type_double:
		break;
	}
}

/* json-c keeps the last string or number, and frees it as it is. */
static void wipe_tokener(struct json_stream *s)
{
	explicit_bzero(s->tokener->pb->buf, (size_t)s->tokener->pb->size);
}

/*
 * Room for n more bytes of a string where json-c gathers it: growing by itself it would
 * leave a copy behind.  What it gathers is never longer than what it reads.
 */
static bool reserve(struct json_stream *s, size_t n)
{
	struct printbuf *pb = s->tokener->pb;
	size_t want = (size_t)pb->bpos + n + 16, size = (size_t)pb->size;
	char *buf;

	if (want <= size)
		return true;
	while (size < want)
		size *= 2;
	buf = size <= INT_MAX ? malloc(size) : NULL;
	if (!buf)
		return false;
	memcpy(buf, pb->buf, (size_t)pb->bpos + 1);
	wipe_tokener(s);
	free(pb->buf);
	pb->buf = buf;
	pb->size = (int)size;
	return true;
}

void json_stream_free(struct json_stream *s)
{
	if (!s)
		return;
	/* A value that is not whole: each level has what is finished of it. */
	for (int i = 0; i <= s->tokener->depth; i++)
		wipe_value(s->tokener->stack[i].current);
	wipe_tokener(s);
	json_tokener_free(s->tokener);
	free(s);
}

static enum json_stream_result bad(struct json_stream *s, const char *message, size_t offset)
{
	s->is_bad = true;
	s->error.message = message;
	s->error.offset = offset;
	return JSON_STREAM_BAD;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Takes a value's end, where the tokener stopped after `taken` more bytes. */
static enum json_stream_result end_value(struct json_stream *s, struct json_object *value,
					 struct json_object **ret_value)
{
	json_tokener_reset(s->tokener);
	wipe_tokener(s);
	s->value_len = 0;
	s->containers = s->elements = 0;
	s->in_string = s->escaped = false;
	*ret_value = value;
	return JSON_STREAM_FOUND;
}

/* How many of n bytes come before what is one value too many; those behind the value's end count as well. */
static size_t count_values(struct json_stream *s, const char *buf, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (s->escaped) {
			s->escaped = false;
		} else if (s->in_string) {
			s->escaped = buf[i] == '\\';
			s->in_string = buf[i] != '"';
		} else if (buf[i] == '"') {
			s->in_string = true;
		} else if (buf[i] == '{' || buf[i] == '[') {
			if (++s->containers > JSON_STREAM_CONTAINERS)
				return i;
		} else if (buf[i] == ',') {
			if (++s->elements > JSON_STREAM_ELEMENTS)
				return i;
		}
	}
	return n;
}

/* From inside of a value, or its first byte: at most PIECE bytes. */
static enum json_stream_result feed_piece(struct json_stream *s, const char *buf, size_t len,
					  size_t *ret_used, struct json_object **ret_value)
{
	size_t room = s->size_limit - s->value_len, n = len < room ? len : room, allowed, taken;
	/* json-c takes a NUL for the end of its input; JSON has none. */
	const char *nul = memchr(buf, '\0', n);
	struct json_object *value;
	enum json_tokener_error error;

	if (nul)
		n = (size_t)(nul - buf);
	allowed = count_values(s, buf, n);
	if (allowed > 0) {
		if (!reserve(s, allowed))
			return bad(s, "out of memory", s->value_len);
		value = json_tokener_parse_ex(s->tokener, buf, (int)allowed);
		error = json_tokener_get_error(s->tokener);
		taken = json_tokener_get_parse_end(s->tokener);
		*ret_used = taken;
		if (error == json_tokener_success)
			return end_value(s, value, ret_value);
		if (error != json_tokener_continue)
			return bad(s, json_tokener_error_desc(error), s->value_len + taken);
		s->value_len += allowed;
		*ret_used = allowed;
	}
	if (allowed < n)
		return bad(s, "too many objects, arrays or elements", s->value_len);
	if (nul)
		return bad(s, "a NUL byte", s->value_len);
	if (s->value_len == s->size_limit && n < len) {
		s->error.is_too_large = true;
		return bad(s, "the value is too large", s->value_len);
	}
	return JSON_STREAM_MORE;
}

enum json_stream_result json_stream_feed(struct json_stream *s, const char *buf, size_t len,
					 size_t *ret_used, struct json_object **ret_value)
{
	enum json_stream_result r = s->is_bad ? JSON_STREAM_BAD : JSON_STREAM_MORE;
	size_t at = 0, used;

	while (r == JSON_STREAM_MORE && at < len) {
		if (s->value_len == 0 && is_space(buf[at])) {
			at++;
			continue;
		}
		/* In pieces: what lies behind the value is looked at no more than once. */
		used = 0;
		r = feed_piece(s, buf + at, len - at < PIECE ? len - at : PIECE, &used, ret_value);
		at += used;
	}
	*ret_used = at;
	return r;
}

enum json_stream_result json_stream_end(struct json_stream *s, struct json_object **ret_value)
{
	struct json_object *value;

	if (s->is_bad)
		return JSON_STREAM_BAD;
	if (s->value_len == 0)
		return JSON_STREAM_MORE;
	/* A blank ends a number and is nothing to what is cut short. */
	value = json_tokener_parse_ex(s->tokener, "\n", 1);
	if (json_tokener_get_error(s->tokener) == json_tokener_success)
		return end_value(s, value, ret_value);
	return bad(s, "the stream ended inside a value", s->value_len);
}

bool json_stream_is_open(const struct json_stream *s)
{
	return s->value_len > 0;
}

struct json_stream_error json_stream_error(const struct json_stream *s)
{
	return s->error;
}

void json_stream_discard(struct json_object *value)
{
	wipe_value(value);
	json_object_put(value);
}

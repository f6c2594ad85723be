/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/json_stream.h"

#include <json-c/json.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

struct json_stream {
	struct json_tokener *tokener;
	size_t size_limit;
	size_t value_len; /* bytes of the open value; 0 between values */
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

void json_stream_free(struct json_stream *s)
{
	if (!s)
		return;
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
	s->value_len = 0;
	*ret_value = value;
	return JSON_STREAM_FOUND;
}

enum json_stream_result json_stream_feed(struct json_stream *s, const char *buf, size_t len,
					 size_t *ret_used, struct json_object **ret_value)
{
	size_t at = 0, room, n;
	const char *nul;
	struct json_object *value;
	enum json_tokener_error error;

	*ret_used = 0;
	if (s->is_bad)
		return JSON_STREAM_BAD;
	while (s->value_len == 0 && at < len && is_space(buf[at]))
		at++;
	*ret_used = at;
	if (at == len)
		return JSON_STREAM_MORE;
	room = s->size_limit - s->value_len;
	n = len - at < room ? len - at : room;
	n = n < INT_MAX / 2 ? n : INT_MAX / 2;
	/* json-c takes a NUL for the end of its input; JSON has none. */
	nul = n > 0 ? memchr(buf + at, '\0', n) : NULL;
	if (nul)
		n = (size_t)(nul - (buf + at));
	if (n == 0 && nul)
		return bad(s, "a NUL byte", s->value_len);
	if (n > 0) {
		size_t taken;

		value = json_tokener_parse_ex(s->tokener, buf + at, (int)n);
		error = json_tokener_get_error(s->tokener);
		taken = json_tokener_get_parse_end(s->tokener);
		*ret_used = at + taken;
		if (error == json_tokener_success)
			return end_value(s, value, ret_value);
		if (error != json_tokener_continue)
			return bad(s, json_tokener_error_desc(error), s->value_len + taken);
		s->value_len += n;
		*ret_used = at + n;
	}
	if (nul)
		return bad(s, "a NUL byte", s->value_len);
	if (s->value_len == s->size_limit && at + n < len) {
		s->error.is_too_large = true;
		return bad(s, "the value is too large", s->value_len);
	}
	return JSON_STREAM_MORE;
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

bool json_object_find_nocase(struct json_object *object, const char *name,
			     struct json_object **ret_value)
{
	struct slice wanted = slice_of_string(name);
	bool is_found = false;

	if (!json_object_is_type(object, json_type_object))
		return false;
	json_object_object_foreach(object, key, value) {
		if (slice_equal_nocase(slice_of_string(key), wanted)) {
			*ret_value = value;
			is_found = true;
		}
	}
	return is_found;
}

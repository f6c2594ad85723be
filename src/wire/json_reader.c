/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/json_reader.h"

#include <stdint.h>
#include <string.h>

void json_reader_init(struct json_reader *r, char *text, size_t len)
{
	*r = (struct json_reader){ .at = text, .end = text + len };
}

static bool fail(struct json_reader *r)
{
	r->failed = true;
	return false;
}

static void skip_space(struct json_reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

enum json_kind json_peek(struct json_reader *r)
{
	skip_space(r);
	if (r->failed || r->at == r->end)
		return JSON_BAD;
	switch (*r->at) {
	case 'n':
		return JSON_NULL;
	case 'f':
		return JSON_FALSE;
	case 't':
		return JSON_TRUE;
	case '"':
		return JSON_STRING;
	case '[':
		return JSON_ARRAY;
	case '{':
		return JSON_OBJECT;
	default:
		return *r->at == '-' || (*r->at >= '0' && *r->at <= '9') ? JSON_NUMBER : JSON_BAD;
	}
}

/* --- objects and arrays --- */

static bool take(struct json_reader *r, char c)
{
	skip_space(r);
	if (r->failed || r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

bool json_enter(struct json_reader *r, char open)
{
	if (!take(r, open))
		return fail(r);
	r->first = true;
	return true;
}

static bool next(struct json_reader *r, char close)
{
	bool first = r->first;

	r->first = false;
	if (take(r, close))
		return false;
	return first ? !r->failed : take(r, ',') || fail(r);
}

bool json_next_member(struct json_reader *r, struct slice *ret_name)
{
	return next(r, '}') && json_read_string(r, ret_name) && (take(r, ':') || fail(r));
}

bool json_next_element(struct json_reader *r)
{
	return next(r, ']');
}

/* --- strings --- */

static bool read_hex(struct json_reader *r, uint32_t *ret)
{
	uint32_t v = 0;

	if (r->end - r->at < 4)
		return fail(r);
	for (int i = 0; i < 4; i++) {
		char c = ascii_lower(*r->at++);

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint32_t)(c - 'a' + 10);
		else
			return fail(r);
	}
	*ret = v;
	return true;
}

static char *put_utf8(char *to, uint32_t v)
{
	if (v < 0x80) {
		*to++ = (char)v;
	} else if (v < 0x800) {
		*to++ = (char)(0xc0 | v >> 6);
		*to++ = (char)(0x80 | (v & 0x3f));
	} else if (v < 0x10000) {
		*to++ = (char)(0xe0 | v >> 12);
		*to++ = (char)(0x80 | (v >> 6 & 0x3f));
		*to++ = (char)(0x80 | (v & 0x3f));
	} else {
		*to++ = (char)(0xf0 | v >> 18);
		*to++ = (char)(0x80 | (v >> 12 & 0x3f));
		*to++ = (char)(0x80 | (v >> 6 & 0x3f));
		*to++ = (char)(0x80 | (v & 0x3f));
	}
	return to;
}

/* Behind \u; half a pair is U+FFFD, as in Go. */
static bool read_unicode(struct json_reader *r, uint32_t *ret)
{
	uint32_t v, low;
	char *before;

	if (!read_hex(r, &v))
		return false;
	*ret = v >= 0xd800 && v <= 0xdfff ? 0xfffd : v;
	if (v < 0xd800 || v > 0xdbff || r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u')
		return true;
	before = r->at;
	r->at += 2;
	if (!read_hex(r, &low))
		return false;
	if (low >= 0xdc00 && low <= 0xdfff)
		*ret = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
	else
		r->at = before;
	return true;
}

/* Behind the backslash; decodes to *to, or only checks where to is NULL. */
static bool read_escape(struct json_reader *r, char **to)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *at;
	uint32_t v;

	if (r->at == r->end)
		return fail(r);
	if (*r->at == 'u') {
		r->at++;
		if (!read_unicode(r, &v))
			return false;
		if (to)
			*to = put_utf8(*to, v);
		return true;
	}
	at = *r->at ? strchr(names, *r->at) : NULL;
	if (!at)
		return fail(r);
	r->at++;
	if (to)
		*(*to)++ = values[at - names];
	return true;
}

static bool walk_string(struct json_reader *r, char **to)
{
	if (!take(r, '"'))
		return fail(r);
	while (r->at < r->end) {
		char c = *r->at++;

		if (c == '"')
			return true;
		if ((unsigned char)c < 0x20)
			return fail(r);
		if (c == '\\') {
			if (!read_escape(r, to))
				return false;
		} else if (to) {
			*(*to)++ = c;
		}
	}
	return fail(r);
}

bool json_read_string(struct json_reader *r, struct slice *ret)
{
	char *begin, *to;

	if (json_peek(r) != JSON_STRING)
		return fail(r);
	begin = to = r->at + 1;
	if (!walk_string(r, &to))
		return false;
	*ret = slice_of(begin, (size_t)(to - begin));
	return true;
}

/* --- the others --- */

static bool digits(struct json_reader *r)
{
	char *begin = r->at;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	return r->at > begin || fail(r);
}

/* One of these bytes, if it comes next. */
static bool one_of(struct json_reader *r, const char *set)
{
	if (r->at == r->end || !*r->at || !strchr(set, *r->at))
		return false;
	r->at++;
	return true;
}

bool json_read_number(struct json_reader *r, struct slice *ret_digits)
{
	char *begin;

	if (json_peek(r) != JSON_NUMBER)
		return fail(r);
	begin = r->at;
	one_of(r, "-");
	if (!one_of(r, "0") && !digits(r))
		return false;
	if (one_of(r, ".") && !digits(r))
		return false;
	if (one_of(r, "eE")) {
		one_of(r, "+-");
		if (!digits(r))
			return false;
	}
	*ret_digits = slice_of(begin, (size_t)(r->at - begin));
	return true;
}

static bool word(struct json_reader *r, struct slice w)
{
	skip_space(r);
	if (r->failed || !slice_starts_with(slice_of(r->at, (size_t)(r->end - r->at)), w))
		return fail(r);
	r->at += w.len;
	return true;
}

bool json_read_bool(struct json_reader *r, bool *ret)
{
	bool value = json_peek(r) == JSON_TRUE;

	if (!word(r, value ? SLICE_LITERAL("true") : SLICE_LITERAL("false")))
		return false;
	*ret = value;
	return true;
}

bool json_read_null(struct json_reader *r)
{
	return word(r, SLICE_LITERAL("null"));
}

static bool skip_value(struct json_reader *r, unsigned depth)
{
	enum json_kind kind = json_peek(r);
	struct slice ignored;
	bool value;

	switch (kind) {
	case JSON_NULL:
		return json_read_null(r);
	case JSON_FALSE:
	case JSON_TRUE:
		return json_read_bool(r, &value);
	case JSON_NUMBER:
		return json_read_number(r, &ignored);
	case JSON_STRING:
		return walk_string(r, NULL);
	case JSON_ARRAY:
	case JSON_OBJECT:
		break;
	case JSON_BAD:
		return fail(r);
	}
	if (depth == 0)
		return fail(r);
	json_enter(r, kind == JSON_ARRAY ? '[' : '{');
	while (next(r, kind == JSON_ARRAY ? ']' : '}')) {
		if (kind == JSON_OBJECT && !(walk_string(r, NULL) && (take(r, ':') || fail(r))))
			return false;
		if (!skip_value(r, depth - 1))
			return false;
	}
	return !r->failed;
}

bool json_skip(struct json_reader *r, unsigned depth, struct slice *ret_text)
{
	char *begin;

	skip_space(r);
	begin = r->at;
	if (!skip_value(r, depth))
		return false;
	*ret_text = slice_of(begin, (size_t)(r->at - begin));
	return true;
}

bool json_reader_end(struct json_reader *r)
{
	skip_space(r);
	return !r->failed && r->at == r->end;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/answers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <json-c/json.h>

#include "aws/secret.h"
#include "aws/xml.h"
#include "wire/json_stream.h"

enum { JSON_DEPTH = 8 };

/* --- keys --- */

/* Printable ASCII without blanks: nothing that could end a header or a scope. */
static bool is_plain(struct slice s, size_t max)
{
	if (s.len > max)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] <= 0x20 || s.ptr[i] > 0x7e)
			return false;
	}
	return true;
}

static bool is_access_key(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = ascii_lower(s.ptr[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
			return false;
	}
	return s.len > 0 && s.len <= ANSWER_ACCESS_KEY_MAX;
}

bool aws_keys_set(struct aws_keys *ret, struct slice access_key_id, struct slice secret, struct slice token,
		  char why[ANSWER_WHY_SIZE])
{
	const char *bad = !is_access_key(access_key_id) ? "access key id" :
			  secret.len == 0 || !is_plain(secret, ANSWER_SECRET_MAX) ? "secret access key" :
			  !is_plain(token, ANSWER_TOKEN_MAX) ? "session token" : NULL;

	*ret = (struct aws_keys){ 0 };
	if (bad) {
		snprintf(why, ANSWER_WHY_SIZE,
			 "the %s is missing, too long, or has bytes that it cannot have", bad);
		return false;
	}
	ret->access_key_id = secret_copy(access_key_id);
	ret->secret = secret_copy(secret);
	ret->token = token.len ? secret_copy(token) : NULL;
	if (ret->access_key_id && ret->secret && (ret->token || !token.len))
		return true;
	aws_keys_fini(ret);
	snprintf(why, ANSWER_WHY_SIZE, "out of memory");
	return false;
}

bool aws_keys_copy(struct aws_keys *ret, const struct aws_keys *from)
{
	char why[ANSWER_WHY_SIZE];
	bool good = aws_keys_set(ret, slice_of_string(from->access_key_id), slice_of_string(from->secret),
				 slice_of_string(from->token ? from->token : ""), why);

	if (good)
		ret->expires_s = from->expires_s;
	return good;
}

bool aws_keys_equal(const struct aws_keys *a, const struct aws_keys *b)
{
	return a->access_key_id && b->access_key_id &&
	       strcmp(a->access_key_id, b->access_key_id) == 0 &&
	       strcmp(a->secret, b->secret) == 0 &&
	       strcmp(a->token ? a->token : "", b->token ? b->token : "") == 0;
}

void aws_keys_fini(struct aws_keys *k)
{
	secret_free(k->access_key_id);
	secret_free(k->secret);
	secret_free(k->token);
	*k = (struct aws_keys){ 0 };
}

/* --- time --- */

static bool digits(const char *s, size_t n, int *ret)
{
	int value = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		value = value * 10 + (s[i] - '0');
	}
	*ret = value;
	return true;
}

bool answer_read_time(struct slice text, int64_t *ret_s)
{
	static const char shape[] = "0000-00-00T00:00:00";
	struct tm tm = { 0 };
	size_t at = sizeof(shape) - 1;

	if (text.len <= at)
		return false;
	for (size_t i = 0; i < at; i++) {
		if (shape[i] != '0' && text.ptr[i] != shape[i])
			return false;
	}
	if (!digits(text.ptr, 4, &tm.tm_year) || !digits(text.ptr + 5, 2, &tm.tm_mon) ||
	    !digits(text.ptr + 8, 2, &tm.tm_mday) || !digits(text.ptr + 11, 2, &tm.tm_hour) ||
	    !digits(text.ptr + 14, 2, &tm.tm_min) || !digits(text.ptr + 17, 2, &tm.tm_sec))
		return false;
	if (tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
	    tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	if (text.ptr[at] == '.') {
		for (at++; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
			;
	}
	if (text.len - at != 1 || text.ptr[at] != 'Z')
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	*ret_s = (int64_t)timegm(&tm);
	return true;
}

/* --- JSON --- */

/* NULL: not one JSON object and nothing more.  To be freed by json_stream_discard(). */
static struct json_object *parse_object(struct slice text)
{
	struct json_stream *stream = json_stream_new(ANSWER_CREDENTIALS_MAX, JSON_DEPTH);
	struct json_object *o = NULL;
	size_t used = 0;

	if (!stream)
		return NULL;
	if (json_stream_feed(stream, text.ptr, text.len, &used, &o) != JSON_STREAM_FOUND)
		o = NULL;
	json_stream_free(stream);
	while (used < text.len && strchr(" \t\r\n", text.ptr[used]) && text.ptr[used])
		used++;
	if (o && (used != text.len || !json_object_is_type(o, json_type_object))) {
		json_stream_discard(o);
		return NULL;
	}
	return o;
}

/* Empty where it is not there or no string. */
static struct slice string_in(struct json_object *o, const char *name)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, name, &v) || !json_object_is_type(v, json_type_string))
		return slice_of("", 0);
	return slice_of(json_object_get_string(v), (size_t)json_object_get_string_len(v));
}

static bool keys_of_object(struct json_object *o, struct aws_keys *ret, char why[ANSWER_WHY_SIZE])
{
	struct slice code = string_in(o, "Code"), expires = string_in(o, "Expiration");
	int64_t expires_s = 0;

	if (code.len && !slice_equal(code, SLICE_LITERAL("Success"))) {
		snprintf(why, ANSWER_WHY_SIZE, "it says Code %.*s",
			 (int)(code.len < 64 ? code.len : 64), code.ptr);
		return false;
	}
	if (expires.len && !answer_read_time(expires, &expires_s)) {
		snprintf(why, ANSWER_WHY_SIZE, "its Expiration is no time");
		return false;
	}
	if (!aws_keys_set(ret, string_in(o, "AccessKeyId"), string_in(o, "SecretAccessKey"),
			  string_in(o, "Token"), why))
		return false;
	ret->expires_s = expires_s;
	return true;
}

bool answer_read_json_keys(struct slice json, struct aws_keys *ret, char why[ANSWER_WHY_SIZE])
{
	struct json_object *o = parse_object(json);
	bool good;

	*ret = (struct aws_keys){ 0 };
	if (!o) {
		snprintf(why, ANSWER_WHY_SIZE, "the answer is no JSON object");
		return false;
	}
	good = keys_of_object(o, ret, why);
	json_stream_discard(o);
	return good;
}

/* --- XML --- */

bool answer_read_sts_keys(struct slice xml, const char *operation, struct aws_keys *ret,
			  char why[ANSWER_WHY_SIZE])
{
	enum { ID, SECRET, TOKEN, EXPIRES, FIELDS };
	static const char *const names[FIELDS] = { "AccessKeyId", "SecretAccessKey", "SessionToken",
						   "Expiration" };
	static const size_t sizes[FIELDS] = { ANSWER_ACCESS_KEY_MAX + 1, ANSWER_SECRET_MAX + 1,
					      ANSWER_TOKEN_MAX + 1, 64 };
	const size_t total = ANSWER_ACCESS_KEY_MAX + ANSWER_SECRET_MAX + ANSWER_TOKEN_MAX + 3 + 64;
	struct xml_field fields[FIELDS];
	char paths[FIELDS][128], *room = malloc(total), *at = room;
	bool good;

	*ret = (struct aws_keys){ 0 };
	for (size_t i = 0; room && i < FIELDS; at += sizes[i++]) {
		snprintf(paths[i], sizeof(paths[i]), "%sResponse/%sResult/Credentials/%s",
			 operation, operation, names[i]);
		fields[i] = (struct xml_field){ .path = paths[i], .value = at, .size = sizes[i] };
	}
	if (!room || !xml_read(xml, fields, FIELDS)) {
		snprintf(why, ANSWER_WHY_SIZE,
			 room ? "the answer is no XML as STS writes it" : "out of memory");
		secret_free_bytes(room, room ? total : 0);
		return false;
	}
	good = fields[ID].found && fields[SECRET].found && fields[TOKEN].found && fields[EXPIRES].found;
	if (!good)
		snprintf(why, ANSWER_WHY_SIZE, "the answer lacks a part of the credentials");
	good = good && aws_keys_set(ret, slice_of_string(fields[ID].value),
				    slice_of_string(fields[SECRET].value),
				    slice_of_string(fields[TOKEN].value), why);
	if (good && !answer_read_time(slice_of_string(fields[EXPIRES].value), &ret->expires_s)) {
		snprintf(why, ANSWER_WHY_SIZE, "its Expiration is no time");
		aws_keys_fini(ret);
		good = false;
	}
	secret_free_bytes(room, total);
	return good;
}

/* --- errors --- */

/* Cut to size, never inside a UTF-8 sequence; control characters become blanks. */
static void keep_text(struct slice s, char *ret, size_t size)
{
	size_t n = s.len < size - 1 ? s.len : size - 1;

	while (n < s.len && n > 0 && ((unsigned char)s.ptr[n] & 0xc0) == 0x80)
		n--;
	for (size_t i = 0; i < n; i++)
		ret[i] = (unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f ? ' ' : s.ptr[i];
	ret[n] = '\0';
}

/* "com.amazonaws.kms#NotFoundException", "NotFoundException:http://...": the name in it. */
static void keep_code(struct slice s, char ret[ANSWER_CODE_SIZE])
{
	const char *hash = s.len ? memchr(s.ptr, '#', s.len) : NULL;
	size_t n = 0;

	if (hash) {
		s.len -= (size_t)(hash + 1 - s.ptr);
		s.ptr = hash + 1;
	}
	while (n < s.len && n < ANSWER_CODE_SIZE - 1) {
		char c = ascii_lower(s.ptr[n]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
			break;
		ret[n] = s.ptr[n];
		n++;
	}
	ret[n] = '\0';
}

void answer_read_json_error(struct slice body, const char *type, struct answer_error *ret)
{
	struct json_object *o = parse_object(body);
	struct slice message;

	ret->code[0] = ret->message[0] = '\0';
	keep_code(slice_of_string(type), ret->code);
	if (!o)
		return;
	if (!ret->code[0])
		keep_code(string_in(o, "__type"), ret->code);
	if (!ret->code[0])
		keep_code(string_in(o, "code"), ret->code);
	message = string_in(o, "message");
	if (!message.len)
		message = string_in(o, "Message");
	keep_text(message, ret->message, sizeof(ret->message));
	json_stream_discard(o);
}

void answer_read_sts_error(struct slice xml, struct answer_error *ret)
{
	char code[ANSWER_CODE_SIZE * 2], message[4096];
	struct xml_field fields[] = {
		{ .path = "ErrorResponse/Error/Code", .value = code, .size = sizeof(code) },
		{ .path = "ErrorResponse/Error/Message", .value = message, .size = sizeof(message) },
	};

	ret->code[0] = ret->message[0] = '\0';
	if (!xml_read(xml, fields, 2))
		return;
	if (fields[0].found)
		keep_code(slice_of_string(code), ret->code);
	if (fields[1].found)
		keep_text(slice_of_string(message), ret->message, sizeof(ret->message));
}

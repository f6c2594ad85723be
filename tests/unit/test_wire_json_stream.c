/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <json-c/json.h>

#include "base/slice.h"
#include "tests/unit/cuts.h"
#include "wire/json_stream.h"

/* Joins the values found, in json-c's plain form, with `|`; ends with `!` where it was BAD. */
static void frame(struct slice text, unsigned way, size_t limit, char *ret, size_t size)
{
	struct cuts cuts = cuts_of(way);
	struct json_stream *s = json_stream_new(limit, JSON_STREAM_DEPTH);
	enum json_stream_result r = JSON_STREAM_MORE;
	struct json_object *value;
	size_t n = 0;

	ret[0] = '\0';
	for (size_t at = 0; at < text.len && r != JSON_STREAM_BAD;) {
		size_t now = cuts_next(&cuts, text.len - at), used;

		r = json_stream_feed(s, text.ptr + at, now, &used, &value);
		assert_true(used <= now);
		at += used;
		if (r == JSON_STREAM_FOUND) {
			n += (size_t)snprintf(ret + n, size - n, "%s|",
					      json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN));
			json_object_put(value);
		} else if (r == JSON_STREAM_MORE) {
			assert_int_equal(used, now);
		}
	}
	if (r != JSON_STREAM_BAD)
		r = json_stream_end(s, &value);
	if (r == JSON_STREAM_FOUND) {
		n += (size_t)snprintf(ret + n, size - n, "%s|", json_object_get_string(value));
		json_object_put(value);
	} else if (r == JSON_STREAM_BAD) {
		snprintf(ret + n, size - n, "!");
		assert_non_null(json_stream_error(s).message);
	}
	json_stream_free(s);
}

static void check(struct slice text, size_t limit, const char *wanted)
{
	char got[2000];

	for (unsigned way = 0; way < CUTS_WAYS; way++) {
		frame(text, way, limit, got, sizeof(got));
		assert_string_equal(got, wanted);
	}
}

static void values_are_found_however_they_are_cut(void **state)
{
	(void)state;
	check(SLICE_LITERAL("{\"a\":[1,2]}\n"), 1000, "{\"a\":[1,2]}|");
	check(SLICE_LITERAL("{\"a\":1}{\"b\":\"}{\"} \t\r\n []"), 1000, "{\"a\":1}|{\"b\":\"}{\"}|[]|");
	check(SLICE_LITERAL(" \n "), 1000, "");
	check(SLICE_LITERAL("{\"a\":\"\\u00e4\\n\"}"), 1000, "{\"a\":\"\xc3\xa4\\n\"}|");
}

static void what_is_not_json_is_bad_and_stays_so(void **state)
{
	(void)state;
	check(SLICE_LITERAL("GET / HTTP/1.1"), 1000, "!");
	check(SLICE_LITERAL("{\"a\":1}x"), 1000, "{\"a\":1}|!");
	check(SLICE_LITERAL("{\"a\":1"), 1000, "!");
	check(SLICE_LITERAL("{\"a\":1,}"), 1000, "!");
	check(SLICE_LITERAL("{a:1}"), 1000, "!");
	check(SLICE_LITERAL("{\"a\":/* */1}"), 1000, "!");
	check(SLICE_LITERAL("{\"a\"\0:1}"), 1000, "!");
	check(SLICE_LITERAL("\0"), 1000, "!");
}

static void size_and_depth_are_bounded(void **state)
{
	char text[400], got[2000];

	(void)state;
	check(SLICE_LITERAL("   [1,2,3]"), 7, "[1,2,3]|");
	check(SLICE_LITERAL("   [1,2,3]"), 6, "!");
	for (size_t depth = 60; depth < 70; depth++) {
		memset(text, '[', depth);
		text[depth] = '1';
		memset(text + depth + 1, ']', depth);
		frame(slice_of(text, 2 * depth + 1), CUTS_WHOLE, 1000, got, sizeof(got));
		assert_int_equal(got[0] == '!', depth > JSON_STREAM_DEPTH);
	}
}

/* `[` and n times what, parted by commas, and `]`. */
static void check_many(const char *what, size_t n, bool passes)
{
	size_t len = strlen(what), size = n * (len + 1) + 2, at = 1;
	char *text = malloc(size), got[2000];

	assert_non_null(text);
	text[0] = '[';
	for (size_t i = 0; i < n; i++, at += len) {
		if (i > 0)
			text[at++] = ',';
		memcpy(text + at, what, len);
	}
	text[at++] = ']';
	for (unsigned way = 0; way < CUTS_WAYS; way++) {
		frame(slice_of(text, at), way, size, got, sizeof(got));
		assert_int_equal(got[0] != '!', passes);
	}
	free(text);
}

static void what_a_value_holds_is_bounded(void **state)
{
	(void)state;
	check_many("{}", JSON_STREAM_CONTAINERS - 1, true);
	check_many("{}", JSON_STREAM_CONTAINERS, false);
	check_many("[]", JSON_STREAM_CONTAINERS, false);
	check_many("0", JSON_STREAM_ELEMENTS + 1, true);
	check_many("0", JSON_STREAM_ELEMENTS + 2, false);
	/* In strings nothing counts, whatever stands before a quote. */
	check_many("\"{[\\\\\\\",{[\"", 2 * JSON_STREAM_CONTAINERS, true);
}

static void what_stands_behind_a_value_does_not_count(void **state)
{
	char text[3 * 3000 + 1];
	struct json_stream *s = json_stream_new(1000, JSON_STREAM_DEPTH);
	struct json_object *value;
	size_t used;

	(void)state;
	for (size_t i = 0; i < 3000; i++)
		memcpy(text + 3 * i, "[] ", 3);
	for (size_t at = 0, i = 0; i < 3000; i++, at += used) {
		assert_int_equal(json_stream_feed(s, text + at, 9000 - at, &used, &value), JSON_STREAM_FOUND);
		json_object_put(value);
	}
	json_stream_free(s);
}

static void a_value_is_wiped_when_it_is_discarded(void **state)
{
	struct json_object *o = json_tokener_parse("{\"a\":[\"secret\",[7]],\"b\":null,\"c\":1.5}"), *a, *n;
	struct json_object *secret;

	(void)state;
	a = json_object_object_get(o, "a");
	secret = json_object_get(json_object_array_get_idx(a, 0));
	n = json_object_get(json_object_array_get_idx(json_object_array_get_idx(a, 1), 0));
	json_stream_discard(o);
	json_stream_discard(NULL);
	assert_int_equal(json_object_get_string_len(secret), 6);
	assert_memory_equal(json_object_get_string(secret), "\0\0\0\0\0\0", 6);
	assert_int_equal(json_object_get_int(n), 0);
	json_object_put(secret);
	json_object_put(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_found_however_they_are_cut),
		cmocka_unit_test(what_is_not_json_is_bad_and_stays_so),
		cmocka_unit_test(size_and_depth_are_bounded),
		cmocka_unit_test(what_a_value_holds_is_bounded),
		cmocka_unit_test(what_stands_behind_a_value_does_not_count),
		cmocka_unit_test(a_value_is_wiped_when_it_is_discarded),
	};

	return cmocka_run_group_tests_name("wire/json_stream", tests, NULL, NULL);
}

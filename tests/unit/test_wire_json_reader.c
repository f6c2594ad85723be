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

#include "wire/base64.h"
#include "wire/json_reader.h"
#include "wire/json_writer.h"

/* Reads any value and writes it again. */
static bool copy(struct json_reader *r, struct json_writer *w)
{
	struct slice s;
	size_t n = 0;
	bool value;

	switch (json_peek(r)) {
	case JSON_BAD:
		return false;
	case JSON_NULL:
		json_write_text(w, "null");
		return json_read_null(r);
	case JSON_FALSE:
	case JSON_TRUE:
		if (!json_read_bool(r, &value))
			return false;
		json_write_text(w, value ? "true" : "false");
		return true;
	case JSON_NUMBER:
		if (!json_read_number(r, &s))
			return false;
		json_write(w, s);
		return true;
	case JSON_STRING:
		if (!json_read_string(r, &s))
			return false;
		json_write_string(w, s);
		return true;
	case JSON_ARRAY:
		json_enter(r, '[');
		json_write_text(w, "[");
		while (json_next_element(r)) {
			json_write_text(w, n++ ? "," : "");
			if (!copy(r, w))
				return false;
		}
		json_write_text(w, "]");
		return !r->failed;
	case JSON_OBJECT:
		json_enter(r, '{');
		json_write_text(w, "{");
		while (json_next_member(r, &s)) {
			json_write_text(w, n++ ? "," : "");
			json_write_string(w, s);
			json_write_text(w, ":");
			if (!copy(r, w))
				return false;
		}
		json_write_text(w, "}");
		return !r->failed;
	}
	return false;
}

/* What a text becomes, or "!". */
static void check(const char *text, const char *wanted)
{
	struct json_writer w = JSON_WRITER_INIT;
	struct json_reader r;
	struct slice whole;
	size_t len = strlen(text);
	char *bytes = malloc(len ? len : 1);
	bool good, skipped;

	memcpy(bytes, text, len);
	json_reader_init(&r, bytes, len);
	skipped = json_skip(&r, 64, &whole) && json_reader_end(&r);
	assert_memory_equal(bytes, text, len);
	json_reader_init(&r, bytes, len);
	good = copy(&r, &w) && json_reader_end(&r);
	if (strcmp(good ? w.ptr : "!", wanted) != 0)
		fail_msg("%s: expected %s, got %s", text, wanted, good ? w.ptr : "!");
	assert_int_equal(good, skipped);
	json_writer_fini(&w);
	free(bytes);
}

static void values_are_read_and_written(void **state)
{
	(void)state;
	check(" { \"a\" : [ 1 , -2.5e+3 , 0 , true , false , null ] , \"b\" : { } , \"a\" : [ ] } ",
	      "{\"a\":[1,-2.5e+3,0,true,false,null],\"b\":{},\"a\":[]}");
	check("\"x\"", "\"x\"");
	check("-0", "-0");
	check("[[[]],{}]", "[[[]],{}]");
}

static void strings_are_those_of_go(void **state)
{
	(void)state;
	check("\"\\u0041\\n\\/\\u00e4\"", "\"A\\n/\xc3\xa4\"");
	check("\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"");
	check("\"\\ud83d\"", "\"\xef\xbf\xbd\"");
	check("\"\\ud83d\\u0041\"", "\"\xef\xbf\xbd" "A\"");
	check("\"\\ud83d\\ud83d\\ude00\"", "\"\xef\xbf\xbd\xf0\x9f\x98\x80\"");
	check("\"\\ude00x\"", "\"\xef\xbf\xbdx\"");
	check("\"\\u2028\\u2029\\u2027<>&\"", "\"\\u2028\\u2029\xe2\x80\xa7\\u003c\\u003e\\u0026\"");
	check("\"\\b\\f\\r\\t\\u0001\\u001f\\\\\\\"\"", "\"\\b\\f\\r\\t\\u0001\\u001f\\\\\\\"\"");
	/* Bad UTF-8: a lone byte each, too long, a surrogate, too high, cut short. */
	check("\"\x80\xff\"", "\"\\ufffd\\ufffd\"");
	check("\"\xc0\xaf\"", "\"\\ufffd\\ufffd\"");
	check("\"\xed\xa0\x80\"", "\"\\ufffd\\ufffd\\ufffd\"");
	check("\"\xf4\x90\x80\x80\"", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
	check("\"\xe2\x82\"", "\"\\ufffd\\ufffd\"");
	check("\"\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\"", "\"\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\"");
}

static void what_is_not_json_is_bad(void **state)
{
	static const char *const texts[] = {
		"", " ", "{", "[", "\"", "\"\\", "\"\\u", "\"\\u12", "\"\\ud800\\u", "]", "}", ",", ":", "{]", "[}", "[,]",
		"[1,]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{1:2}", "{,\"a\":1}", "nul",
		"nulll", "truefalse", "01", "-", "1.", ".5", "1e", "1e+", "+1", "0x1", "--1", "\"\n\"", "\"\\a\"", "1 2",
		"{}{}", "[1]]", "'a'", "/**/1", "NaN",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check(texts[i], "!");
}

static void depth_is_bounded(void **state)
{
	char text[] = "[[[[]]]]";
	struct json_reader r;
	struct slice s;

	(void)state;
	json_reader_init(&r, text, strlen(text));
	assert_true(json_skip(&r, 4, &s));
	assert_int_equal(s.len, strlen(text));
	json_reader_init(&r, text, strlen(text));
	assert_false(json_skip(&r, 3, &s));
	assert_false(json_reader_end(&r));
}

static void a_long_text_is_whole(void **state)
{
	struct json_writer w = JSON_WRITER_INIT;
	size_t len;
	char *text;

	(void)state;
	for (int i = 0; i < 10000; i++)
		json_write_string(&w, SLICE_LITERAL("0123456789"));
	assert_int_equal(w.len, 120000);
	text = json_writer_take(&w, &len);
	assert_int_equal(len, 120000);
	assert_int_equal(text[len], '\0');
	assert_memory_equal(text + len - 12, "\"0123456789\"", 12);
	free(text);
	assert_null(w.ptr);
}

static void base64_is_that_of_go(void **state)
{
	static const struct {
		const char *text, *wanted;
	} cases[] = {
		{ "", "" }, { "AQID", "AQID" }, { "AQ==", "AQ==" }, { "AQI=", "AQI=" }, { "A\rQ\n=\r\n=", "AQ==" },
		{ "AR==", "AQ==" }, { "AQJ=", "AQI=" }, { "+/+/", "+/+/" }, { "A", NULL }, { "AQ", NULL }, { "AQI", NULL },
		{ "AQ=", NULL }, { "====", NULL }, { "A===", NULL }, { "AQ==AQID", NULL }, { "AQ=I", NULL },
		{ "-_-_", NULL }, { "A QI", NULL }, { "AQID=", NULL }, { "AQID====", NULL }, { "=AQI", NULL },
	};
	char text[32];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(text, 0, sizeof(text));
		strcpy(text, cases[i].text);
		if (base64_normalize(text, strlen(text), &len) != (cases[i].wanted != NULL))
			fail_msg("%s", cases[i].text);
		if (cases[i].wanted) {
			assert_int_equal(len, strlen(cases[i].wanted));
			assert_memory_equal(text, cases[i].wanted, len);
		}
	}
	base64_encode("\x00\xff\x10\x83", 4, text);
	assert_memory_equal(text, "AP8Qgw==", 8);
	base64_encode("\xfb\xef\xbe\xff\xff", 5, text);
	assert_memory_equal(text, "++++//8=", 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_read_and_written),
		cmocka_unit_test(strings_are_those_of_go),
		cmocka_unit_test(what_is_not_json_is_bad),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(a_long_text_is_whole),
		cmocka_unit_test(base64_is_that_of_go),
	};

	return cmocka_run_group_tests_name("wire/json_reader", tests, NULL, NULL);
}

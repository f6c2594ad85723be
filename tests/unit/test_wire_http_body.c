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

#include "tests/unit/cuts.h"
#include "wire/http_body.h"

/* The result and, in *used, how many bytes were taken, cut in one of the ways. */
static enum http_body_result feed(struct http_body *b, struct slice text, unsigned way, size_t *used)
{
	enum http_body_result r = HTTP_BODY_MORE;
	struct cuts cuts = cuts_of(way);

	*used = 0;
	for (size_t at = 0, n; at < text.len && r == HTTP_BODY_MORE; at += n) {
		size_t took;

		n = cuts_next(&cuts, text.len - at);
		r = http_body_feed(b, text.ptr + at, n, &took);
		*used += took;
	}
	return r;
}

static enum http_body_result chunked(struct slice text, size_t *ret_used)
{
	struct http_body b;
	enum http_body_result whole, cut;
	size_t used;

	http_body_init(&b, HTTP_FRAMING_CHUNKED, 0);
	whole = feed(&b, text, CUTS_WHOLE, ret_used);
	for (unsigned way = CUTS_BYTES; way < CUTS_WAYS; way++) {
		http_body_init(&b, HTTP_FRAMING_CHUNKED, 0);
		cut = feed(&b, text, way, &used);
		assert_int_equal(cut, whole);
		assert_int_equal(used, *ret_used);
	}
	return whole;
}

static void a_chunked_body_ends_behind_its_trailers(void **state)
{
	static const char *const texts[] = {
		"0\r\n\r\n",
		"5\r\nhello\r\n0\r\n\r\n",
		"5;a=b;c=\"d\"\r\nhe\r\no\r\nA\r\n0123456789\r\n000;x\r\n\r\n",
		"1\r\n\r\r\n0\r\nX-A: b\r\nC:\r\n\r\n",
	};
	char text[200];
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		int n = snprintf(text, sizeof(text), "%sGET / next", texts[i]);

		assert_int_equal(chunked(slice_of(text, (size_t)n), &used), HTTP_BODY_DONE);
		assert_int_equal(used, strlen(texts[i]));
		assert_int_equal(chunked(slice_of(text, strlen(texts[i]) - 1), &used), HTTP_BODY_MORE);
	}
}

static void a_chunked_body_that_breaks_its_framing_is_bad(void **state)
{
	static const char *const texts[] = {
		"\r\n", "x\r\n", " 5\r\n", "5 \r\n", "5 ;a\r\n", "5\n", "0x5\r\n", "-1\r\n", "+1\r\n", ";a\r\n",
		"5\rx", "5\r\nhelloX", "5\r\nhello\n", "5\r\nhello\rX", "5;\x01\r\n", "5;a\n",
		"8000000000000000\r\n", "FFFFFFFFFFFFFFFFF\r\n", "10000000000000000\r\n",
		"00000000000000005\r\n", "0\r\n\n", "0\r\nA\r\n", "0\r\n: b\r\n", "0\r\n A: b\r\n",
		"0\r\nA : b\r\n", "0\r\nA: b\n", "0\r\nA: \x01\r\n", "0\r\nA: b\r\n\rX",
		"0\r\nContent-Length: 5\r\n", "0\r\nTransfer-Encoding: chunked\r\n", "0\r\nHost: a\r\n",
	};
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		if (chunked(slice_of_string(texts[i]), &used) != HTTP_BODY_BAD)
			fail_msg("row %zu", i);
	}
}

static void extensions_and_trailers_are_bounded(void **state)
{
	static char text[40000];
	size_t used;
	struct http_body b;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[1] = ';';
	assert_int_equal(chunked(slice_of(text, 2 + HTTP_CHUNK_EXTENSION_MAX), &used), HTTP_BODY_MORE);
	assert_int_equal(chunked(slice_of(text, 3 + HTTP_CHUNK_EXTENSION_MAX), &used), HTTP_BODY_BAD);
	memcpy(text, "0\r\nA:", 5);
	assert_int_equal(chunked(slice_of(text, 3 + HTTP_TRAILERS_MAX), &used), HTTP_BODY_MORE);
	assert_int_equal(chunked(slice_of(text, 4 + HTTP_TRAILERS_MAX), &used), HTTP_BODY_BAD);
	http_body_init(&b, HTTP_FRAMING_CHUNKED, 0);
	for (int i = 0; i < 5000; i++) {
		enum http_body_result r = feed(&b, SLICE_LITERAL("1;aaaaaaaa\r\nx\r\n"), CUTS_WHOLE, &used);

		assert_int_equal(r, i * 8 < HTTP_CHUNK_EXTENSIONS_MAX ? HTTP_BODY_MORE : HTTP_BODY_BAD);
		if (r == HTTP_BODY_BAD)
			return;
	}
	fail_msg("extensions without end");
}

static void a_length_is_counted_and_may_be_skipped(void **state)
{
	struct http_body b;
	size_t used;

	(void)state;
	http_body_init(&b, HTTP_FRAMING_LENGTH, 5);
	assert_int_equal(http_body_opaque(&b), 5);
	http_body_skip(&b, 2);
	assert_int_equal(http_body_feed(&b, "ab", 2, &used), HTTP_BODY_MORE);
	assert_int_equal(http_body_feed(&b, "cde", 3, &used), HTTP_BODY_DONE);
	assert_int_equal(used, 1);
	http_body_init(&b, HTTP_FRAMING_LENGTH, 0);
	assert_int_equal(http_body_feed(&b, "", 0, &used), HTTP_BODY_DONE);
	http_body_init(&b, HTTP_FRAMING_NONE, 0);
	assert_int_equal(http_body_feed(&b, "x", 1, &used), HTTP_BODY_DONE);
	assert_int_equal(used, 0);
	http_body_init(&b, HTTP_FRAMING_CHUNKED, 0);
	assert_int_equal(feed(&b, SLICE_LITERAL("4\r\nab"), CUTS_WHOLE, &used), HTTP_BODY_MORE);
	assert_int_equal(http_body_opaque(&b), 2);
	http_body_skip(&b, 2);
	assert_int_equal(feed(&b, SLICE_LITERAL("\r\n0\r\n\r\n"), CUTS_WHOLE, &used), HTTP_BODY_DONE);
}

static void the_end_of_the_stream_ends_only_until_close(void **state)
{
	struct http_body b;
	size_t used;

	(void)state;
	http_body_init(&b, HTTP_FRAMING_CLOSE, 0);
	assert_int_equal(http_body_feed(&b, "abc", 3, &used), HTTP_BODY_MORE);
	assert_int_equal(used, 3);
	assert_int_equal(http_body_end_of_stream(&b), HTTP_BODY_DONE);
	http_body_init(&b, HTTP_FRAMING_LENGTH, 1);
	assert_int_equal(http_body_end_of_stream(&b), HTTP_BODY_BAD);
	http_body_init(&b, HTTP_FRAMING_CHUNKED, 0);
	assert_int_equal(http_body_end_of_stream(&b), HTTP_BODY_BAD);
	http_body_init(&b, HTTP_FRAMING_NONE, 0);
	assert_int_equal(http_body_end_of_stream(&b), HTTP_BODY_DONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chunked_body_ends_behind_its_trailers),
		cmocka_unit_test(a_chunked_body_that_breaks_its_framing_is_bad),
		cmocka_unit_test(extensions_and_trailers_are_bounded),
		cmocka_unit_test(a_length_is_counted_and_may_be_skipped),
		cmocka_unit_test(the_end_of_the_stream_ends_only_until_close),
	};

	return cmocka_run_group_tests_name("wire/http_body", tests, NULL, NULL);
}

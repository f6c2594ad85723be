/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <json-c/json.h>

#include "tests/fuzz/fuzz.h"
#include "wire/json_stream.h"

/* Frames all of it; returns how many values came, and where the stream stood. */
static unsigned frame(const uint8_t *data, size_t size, int is_cut, enum json_stream_result *ret)
{
	struct json_stream *s = json_stream_new(1000, JSON_STREAM_DEPTH);
	enum json_stream_result r = JSON_STREAM_MORE;
	struct json_object *value;
	unsigned n = 0;

	FUZZ_CHECK(s);
	for (size_t at = 0; at < size && r != JSON_STREAM_BAD;) {
		size_t to = is_cut ? fuzz_next(data, size, at) : size, used;
		char *exact = fuzz_copy(data + at, to - at);

		r = json_stream_feed(s, exact, to - at, &used, &value);
		free(exact);
		FUZZ_CHECK(used <= to - at);
		FUZZ_CHECK(r != JSON_STREAM_MORE || used == to - at);
		at += used;
		if (r == JSON_STREAM_FOUND) {
			n++;
			json_stream_discard(value);
		}
	}
	*ret = r == JSON_STREAM_BAD ? r : json_stream_end(s, &value);
	if (*ret == JSON_STREAM_FOUND)
		json_object_put(value);
	json_stream_free(s);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum json_stream_result whole, cut;

	unsigned n_whole = frame(data, size, 0, &whole), n_cut = frame(data, size, 1, &cut);

	/*
	 * json-c reads a number with a sign inside (0-0, malformed) in one way or another
	 * according to where it is cut: refused, or two numbers.  No such input is compared.
	 */
	for (size_t i = 1; i < size; i++) {
		if ((data[i] == '-' || data[i] == '+') && data[i - 1] > ' ')
			return 0;
	}
	FUZZ_CHECK(whole == JSON_STREAM_BAD || cut == JSON_STREAM_BAD ||
		   (whole == cut && n_whole == n_cut));
	return 0;
}

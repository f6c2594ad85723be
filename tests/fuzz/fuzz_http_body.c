/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "tests/fuzz/fuzz.h"
#include "wire/http_body.h"

/* The first byte is the framing, the second a Content-Length. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_body whole, cut;
	enum http_body_result wanted, got = HTTP_BODY_MORE;
	size_t wanted_used, used = 0, took;
	enum http_framing framing;
	char *exact;

	if (size < 3)
		return 0;
	framing = data[0] % 8 < 4 ? HTTP_FRAMING_CHUNKED : (enum http_framing)(data[0] % 4);
	http_body_init(&whole, framing, data[1]);
	http_body_init(&cut, framing, data[1]);
	data += 2;
	size -= 2;
	exact = fuzz_copy(data, size);
	wanted = http_body_feed(&whole, exact, size, &wanted_used);
	FUZZ_CHECK(wanted_used <= size && (wanted != HTTP_BODY_MORE || wanted_used == size));
	for (size_t at = 0, to; at < size && got == HTTP_BODY_MORE; at = to) {
		to = fuzz_next(data, size, at);
		if (http_body_opaque(&cut) >= to - at && at % 2 == 0) {
			http_body_skip(&cut, took = to - at);
			got = http_body_feed(&cut, "", 0, &(size_t){ 0 });
		} else {
			got = http_body_feed(&cut, exact + at, to - at, &took);
		}
		used += took;
	}
	free(exact);
	FUZZ_CHECK(got == wanted && used == wanted_used);
	FUZZ_CHECK(http_body_end_of_stream(&cut) == http_body_end_of_stream(&whole));
	return 0;
}

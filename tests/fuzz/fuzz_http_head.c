/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "tests/fuzz/fuzz.h"
#include "wire/http_head.h"

static void init(struct http_head *h, uint8_t kind)
{
	if (kind & 1)
		http_head_init_response(h, 4096, (enum http_method)(kind >> 1) % 10);
	else
		http_head_init_request(h, 4096);
}

static void check_spans(const struct http_head *h, const char *buf)
{
	for (unsigned i = 0; i < h->n_fields; i++) {
		const struct http_field *f = &h->fields[i];

		FUZZ_CHECK(f->name_len > 0 && f->name_at + f->name_len < f->value_at + 1);
		FUZZ_CHECK(f->value_at + f->value_len + 2 <= h->len);
		FUZZ_CHECK(!memchr(buf + f->value_at, '\n', f->value_len));
		FUZZ_CHECK(!memchr(buf + f->value_at, '\r', f->value_len));
		FUZZ_CHECK(!memchr(buf + f->value_at, '\0', f->value_len));
	}
	FUZZ_CHECK(h->path.at + h->path.len <= h->len);
	FUZZ_CHECK(h->target.at + h->target.len <= h->len);
	FUZZ_CHECK(memcmp(buf + h->len - 4, "\r\n\r\n", 4) == 0);
	FUZZ_CHECK(h->framing != HTTP_FRAMING_CLOSE || h->is_response);
}

/* The first byte says what is read: a request, or the response to a method. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http_head whole, cut;
	enum http_head_result wanted, got = HTTP_HEAD_MORE;
	char *exact;
	uint8_t kind;

	if (size < 2)
		return 0;
	kind = *data++;
	size--;
	exact = fuzz_copy(data, size);
	init(&whole, kind);
	wanted = http_head_parse(&whole, exact, size);
	if (wanted == HTTP_HEAD_FOUND)
		check_spans(&whole, exact);
	free(exact);
	init(&cut, kind);
	for (size_t at = 0; at < size && got == HTTP_HEAD_MORE;) {
		at = fuzz_next(data, size, at);
		exact = fuzz_copy(data, at);
		got = http_head_parse(&cut, exact, at);
		free(exact);
	}
	FUZZ_CHECK(got == wanted);
	/* The words may differ: a first byte that is no HTTP is told before its line is there. */
	FUZZ_CHECK(got != HTTP_HEAD_BAD || cut.status == whole.status);
	FUZZ_CHECK(got != HTTP_HEAD_FOUND ||
		   (cut.len == whole.len && cut.framing == whole.framing &&
		    cut.content_length == whole.content_length && cut.n_fields == whole.n_fields));
	return 0;
}

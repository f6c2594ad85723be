/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exchange under hostile bytes from both sides.  The input is a list of moves:
 * a byte that says who (bit 7), whether it ends (bit 6) and how many of the bytes
 * behind it are said (the rest).  Between moves all that can be written is, in pieces.
 */
#include <config.h>

#include "conn/http_exchange.h"
#include "tests/fuzz/fuzz.h"

static size_t write_some(struct http_exchange *x, enum http_side to, size_t most)
{
	struct iovec iov[2];
	int n = http_exchange_output(x, to, iov);
	volatile unsigned char sum = 0;
	size_t sent = 0;

	for (int i = 0; i < n; i++)
		for (size_t k = 0; k < iov[i].iov_len && sent < most; k++, sent++)
			sum = (unsigned char)(sum + ((unsigned char *)iov[i].iov_base)[k]);
	if (sent > 0)
		http_exchange_sent(x, to, sent);
	return sent;
}

/* False when the exchange is at its end. */
static bool play(struct http_exchange *x, size_t most, bool reused)
{
	const struct http_forward_request f = { .forwarded = most & 1, .keep_alive = most & 2,
						.client = SLICE_LITERAL("192.0.2.1") };

	for (;;) {
		switch (http_exchange_step(x)) {
		case HTTP_STEP_ROUTE:
			if (most % 13 == 12)
				http_exchange_redirect(x);
			else if (most % 13 == 11)
				http_exchange_answer(x, 421);
			else
				http_exchange_forward(x, &f, reused);
			continue;
		case HTTP_STEP_OVER:
			http_exchange_next(x);
			continue;
		case HTTP_STEP_RETRY:
		case HTTP_STEP_TUNNEL:
			continue;
		case HTTP_STEP_CLOSE:
		case HTTP_STEP_ABORT:
			return false;
		case HTTP_STEP_WAIT:
			break;
		}
		if (write_some(x, HTTP_CLIENT, most) + write_some(x, HTTP_SERVER, most) == 0)
			return true;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_exchange *x = malloc(sizeof(*x));
	bool going = x != NULL;

	if (!x)
		return 0;
	http_exchange_init(x, 1024);
	while (going && size > 0) {
		enum http_side side = data[0] & 0x80 ? HTTP_SERVER : HTTP_CLIENT;
		size_t n = data[0] & 0x3f, room;
		bool ends = data[0] & 0x40;
		char *at = http_exchange_room(x, side, &room);

		data++;
		size--;
		n = n < size ? n : size;
		if (at && n > 0) {
			n = n < room ? n : room;
			memcpy(at, data, n);
			http_exchange_received(x, side, n);
		} else if (at && ends) {
			http_exchange_received(x, side, 0);
		}
		data += n;
		size -= n;
		going = play(x, 1 + size % 97, size & 1);
		if (x->half[0].size > 4 * HTTP_HEAD_MAX || x->half[1].size > 4 * HTTP_HEAD_MAX)
			FUZZ_CHECK(false);
	}
	http_exchange_fini(x);
	free(x);
	return 0;
}

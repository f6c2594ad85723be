/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "tests/fuzz/fuzz.h"
#include "wire/proxy_header.h"

/* What was read is written again, and that must read the same. */
static void check_rebuilt(const struct proxy_header *p)
{
	struct proxy_header_info info = {
		.has_addresses = p->has_addresses, .src = p->src, .dst = p->dst,
		.src_port = p->src_port, .dst_port = p->dst_port,
		.authority = p->authority, .alpn = p->alpn,
	};
	char buf[PROXY_HEADER_BUILD_SIZE];
	struct proxy_header again;

	for (int version = 1; version <= 2; version++) {
		size_t n = version == 1 ? proxy_header_build_v1(&info, buf)
					: proxy_header_build_v2(&info, buf);

		FUZZ_CHECK(n <= sizeof(buf));
		proxy_header_init(&again);
		FUZZ_CHECK(proxy_header_parse(&again, buf, n) == PROXY_HEADER_FOUND);
		FUZZ_CHECK(again.len == n && again.has_addresses == p->has_addresses);
		FUZZ_CHECK(!p->has_addresses ||
			   (ip_equal(&again.src, &p->src) && ip_equal(&again.dst, &p->dst) &&
			    again.src_port == p->src_port && again.dst_port == p->dst_port));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header whole, cut;
	enum proxy_header_result wanted, got = PROXY_HEADER_MORE;
	char *exact = fuzz_copy(data, size);

	proxy_header_init(&whole);
	wanted = proxy_header_parse(&whole, exact, size);
	if (wanted == PROXY_HEADER_FOUND) {
		FUZZ_CHECK(whole.len <= size);
		check_rebuilt(&whole);
	}
	free(exact);
	proxy_header_init(&cut);
	for (size_t at = 0; at < size && got == PROXY_HEADER_MORE;) {
		at = fuzz_next(data, size, at);
		exact = fuzz_copy(data, at);
		got = proxy_header_parse(&cut, exact, at);
		free(exact);
	}
	FUZZ_CHECK(got == wanted && (got != PROXY_HEADER_FOUND || cut.len == whole.len));
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "tests/fuzz/fuzz.h"
#include "wire/egress_request.h"

static enum egress_result parse(struct egress_request *r, const char *buf, size_t len)
{
	enum egress_result result;

	do {
		result = egress_request_parse(r, buf, len);
	} while (result == EGRESS_REPLY);
	return result;
}

/* The first byte is the protocol. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct egress_request whole, cut;
	enum egress_result wanted, got = EGRESS_MORE;
	enum egress_protocol protocol;
	char *exact;

	if (size < 2)
		return 0;
	protocol = (enum egress_protocol)(*data++ % 4);
	size--;
	exact = fuzz_copy(data, size);
	egress_request_init(&whole, protocol, 4096);
	wanted = parse(&whole, exact, size);
	free(exact);
	egress_request_init(&cut, protocol, 4096);
	for (size_t at = 0; at < size && got == EGRESS_MORE;) {
		at = fuzz_next(data, size, at);
		exact = fuzz_copy(data, at);
		got = parse(&cut, exact, at);
		free(exact);
	}
	FUZZ_CHECK(got == wanted);
	if (got == EGRESS_FOUND) {
		FUZZ_CHECK(cut.len == whole.len && cut.len <= size);
		FUZZ_CHECK(cut.protocol == whole.protocol && cut.protocol != EGRESS_AUTO);
		FUZZ_CHECK(cut.target.port == whole.target.port && cut.target.port != 0);
		FUZZ_CHECK(slice_equal(host_port_name(&cut.target), host_port_name(&whole.target)));
	}
	return 0;
}

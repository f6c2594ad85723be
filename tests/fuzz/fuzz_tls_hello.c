/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "tests/fuzz/fuzz.h"
#include "wire/tls_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tls_hello whole, cut;
	enum tls_hello_result wanted, got = TLS_HELLO_MORE;
	char *exact = fuzz_copy(data, size);

	tls_hello_init(&whole);
	wanted = tls_hello_parse(&whole, exact, size);
	tls_hello_looks_like_http(exact, size);
	free(exact);
	tls_hello_init(&cut);
	for (size_t at = 0; at < size && got == TLS_HELLO_MORE;) {
		at = fuzz_next(data, size, at);
		exact = fuzz_copy(data, at);
		got = tls_hello_parse(&cut, exact, at);
		free(exact);
	}
	FUZZ_CHECK(got == wanted);
	FUZZ_CHECK(cut.examined <= 11 * size + 16);
	if (got == TLS_HELLO_FOUND || got == TLS_HELLO_NONE) {
		char name[HOST_NAME_SIZE];

		FUZZ_CHECK(cut.name_len == whole.name_len && cut.alpn_len == whole.alpn_len);
		FUZZ_CHECK(memcmp(cut.name, whole.name, cut.name_len) == 0);
		FUZZ_CHECK(memcmp(cut.alpn, whole.alpn, cut.alpn_len) == 0);
		FUZZ_CHECK((got == TLS_HELLO_FOUND) == (cut.name_len > 0));
		FUZZ_CHECK(got == TLS_HELLO_NONE ||
			   host_name_fold(tls_hello_name(&cut), name) == cut.name_len);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text of the language through every pass: lexer, parser, expand, check, lint, lower.
 *
 * Three things must hold of any input: a dump loads again to the same dump; formatting
 * twice is formatting once; and the formatted text means what the text meant.
 */
#include <config.h>

#include "tests/fuzz/fuzz_config.h"

/* Both as one: does the main file, once formatted, load to this dump, or to nothing as before? */
static void check_format(struct fuzz_files files, bool loads, const struct buffer *dump)
{
	struct buffer once = BUFFER_INIT, twice = BUFFER_INIT, meant = BUFFER_INIT;

	if (fuzz_format(files.main, &once)) {
		FUZZ_CHECK(fuzz_format(buffer_slice(&once), &twice));
		FUZZ_CHECK(twice.len == once.len && (once.len == 0 || memcmp(twice.ptr, once.ptr, once.len) == 0));
		files.main = buffer_slice(&once);
		FUZZ_CHECK(fuzz_load(files, &meant) == loads);
		FUZZ_CHECK(!loads || (meant.len == dump->len && memcmp(meant.ptr, dump->ptr, dump->len) == 0));
	} else {
		/* What cannot be parsed cannot be loaded. */
		FUZZ_CHECK(!loads);
	}
	buffer_fini(&meant);
	buffer_fini(&twice);
	buffer_fini(&once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_files files = fuzz_files_of(data, size);
	struct buffer dump = BUFFER_INIT;
	bool loads;

	/* The seed system's JSON: fuzz_config_import.c. */
	if (files.main.len > 0 && files.main.ptr[0] == '{')
		return 0;
	loads = fuzz_load(files, &dump);
	if (loads)
		fuzz_check_dump(files, &dump);
	check_format(files, loads, &dump);
	buffer_fini(&dump);
	return 0;
}

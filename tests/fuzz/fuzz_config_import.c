/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed system's JSON.  What is imported without a fault is text that loads, whatever
 * the names in it were: nobody's name becomes a statement.  Running the JSON itself is
 * running that text.
 */
#include <config.h>

#include "tests/fuzz/fuzz_config.h"

static bool import(struct fuzz_files files, struct buffer *ret)
{
	const struct config_reader reader = { &files, fuzz_read_file, fuzz_glob, fuzz_getenv };
	struct arena *tree = arena_new();
	struct diagnostics diags;
	struct buffer told = BUFFER_INIT;
	bool good;

	diagnostics_init(&diags, tree);
	good = config_import(&reader, FUZZ_MAIN_FILE, files.main, tree, &diags, ret);
	FUZZ_CHECK(good == (diags.n_errors == 0));
	diagnostics_print(&diags, &told);
	diagnostics_print_json(&diags, &told);
	buffer_fini(&told);
	arena_free(tree);
	return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_files files = { slice_of((const char *)data, size), slice_of("", 0) };
	struct buffer text = BUFFER_INIT, dump = BUFFER_INIT, direct = BUFFER_INIT;
	bool good = import(files, &text);

	if (size > 0 && data[0] == '{')
		FUZZ_CHECK(fuzz_load(files, &direct) == good);
	if (good) {
		files.main = buffer_slice(&text);
		FUZZ_CHECK(fuzz_load(files, &dump));
		FUZZ_CHECK(direct.len == 0 || (direct.len == dump.len && memcmp(direct.ptr, dump.ptr, dump.len) == 0));
		fuzz_check_dump(files, &dump);
	}
	buffer_fini(&direct);
	buffer_fini(&dump);
	buffer_fini(&text);
	return 0;
}

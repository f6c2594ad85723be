/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets of the config room share: a machine without a disk.
 *
 * The input up to the first form feed, which the language has no use for, is the
 * file that is loaded; what follows is in every other file.  A glob finds two.
 */
#ifndef FUZZ_FUZZ_CONFIG_H
#define FUZZ_FUZZ_CONFIG_H

#include <errno.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "config/diagnostics.h"
#include "config/explain.h"
#include "config/load.h"
#include "tests/fuzz/fuzz.h"

#define FUZZ_MAIN_FILE "fuzz.conf"

struct fuzz_files {
	struct slice main, other;
};

static int fuzz_read_file(void *data, const char *path, char **ret, size_t *ret_len)
{
	const struct fuzz_files *files = data;
	const struct slice text = strcmp(path, FUZZ_MAIN_FILE) == 0 ? files->main : files->other;

	if (strcmp(path, "absent") == 0)
		return -ENOENT;
	*ret = malloc(text.len + 1);
	FUZZ_CHECK(*ret);
	if (text.len > 0)
		memcpy(*ret, text.ptr, text.len);
	(*ret)[text.len] = '\0';
	*ret_len = text.len;
	return 0;
}

static int fuzz_glob(void *data, const char *pattern, char ***ret, size_t *ret_n)
{
	static const char *const found[] = { "a.conf", "b.conf" };

	(void)data;
	(void)pattern;
	*ret = calloc(2, sizeof(**ret));
	FUZZ_CHECK(*ret);
	for (size_t i = 0; i < 2; i++)
		(*ret)[i] = fuzz_copy(found[i], strlen(found[i]) + 1);
	*ret_n = 2;
	return 0;
}

static const char *fuzz_getenv(void *data, const char *name)
{
	(void)data;
	return strcmp(name, "EMPTY") == 0 ? "" : strcmp(name, "NAME") == 0 ? "a-name.example" : NULL;
}

static inline struct fuzz_files fuzz_files_of(const uint8_t *data, size_t size)
{
	const uint8_t *feed = size > 0 ? memchr(data, '\f', size) : NULL;
	const size_t first = feed ? (size_t)(feed - data) : size;

	return (struct fuzz_files){ slice_of((const char *)data, first),
				    slice_of((const char *)data + first, size - first) };
}

/* Loads the main file; all that was told is printed in both forms.  True with the dump, or false. */
static inline bool fuzz_load(struct fuzz_files files, struct buffer *ret_dump)
{
	const struct config_reader reader = { &files, fuzz_read_file, fuzz_glob, fuzz_getenv };
	static char sni[] = "sni=tee-k.example", from[] = "from=cid:16", path[] = "path=/a/../b";
	char *const questions[] = { sni, from, path };
	struct arena *tree = arena_new();
	struct buffer told = BUFFER_INIT;
	struct diagnostics diags;
	struct config *c;

	diagnostics_init(&diags, tree);
	c = config_load(&reader, FUZZ_MAIN_FILE, tree, &diags);
	FUZZ_CHECK((c != NULL) == (diags.n_errors == 0));
	diagnostics_print(&diags, &told);
	diagnostics_print_json(&diags, &told);
	if (c) {
		config_dump(c, ret_dump);
		for (size_t i = 0; i < c->n_frontends; i++)
			config_explain(c, c->frontends[i].name, questions, 3, &told);
	}
	config_free(c);
	buffer_fini(&told);
	arena_free(tree);
	return c != NULL;
}

/* What loads has a dump that loads, to the same. */
static inline void fuzz_check_dump(struct fuzz_files files, const struct buffer *dump)
{
	struct buffer again = BUFFER_INIT;

	files.main = buffer_slice(dump);
	FUZZ_CHECK(fuzz_load(files, &again));
	FUZZ_CHECK(again.len == dump->len && memcmp(again.ptr, dump->ptr, dump->len) == 0);
	buffer_fini(&again);
}

static inline bool fuzz_format(struct slice text, struct buffer *ret)
{
	struct arena *tree = arena_new();
	struct diagnostics diags;
	bool good;

	diagnostics_init(&diags, tree);
	good = config_format(FUZZ_MAIN_FILE, text, tree, &diags, ret);
	FUZZ_CHECK(good == (diags.n_errors == 0));
	arena_free(tree);
	return good;
}

#endif

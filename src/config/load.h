/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a file to a checked configuration, in one call.
 *
 * Pure: files and the environment come through a reader that is handed down.
 */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include <stddef.h>

#include "config/config.h"
#include "config/diagnostics.h"

struct config_reader {
	/* The whole file, malloc()ed, the caller frees it; 0 or -errno. */
	int (*read_file)(void *data, const char *path, char **ret_text, size_t *ret_len);
	/*
	 * The paths that match, sorted bytewise, array and paths malloc()ed; none is 0 with
	 * *ret_n 0.
	 */
	int (*glob)(void *data, const char *pattern, char ***ret_paths, size_t *ret_n);
	/* Borrowed, or NULL. */
	const char *(*get_env)(void *data, const char *name);
	/* Called where not NULL: random bytes for the keys of hash tables. */
	void (*random)(void *data, void *ret_bytes, size_t len);
	void *data;
};

/*
 * Reads, parses, checks and lowers file, and what it includes; JSON (first byte
 * '{') is the seed system's form.  All mistakes and warnings go to diags, sorted.
 * NULL if there is any error.  The caller owns the result: config_free().
 */
struct config *config_load(const struct config_reader *reader, const char *file,
			   struct diagnostics *diags);

#endif

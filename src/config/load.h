/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a file to a configuration: parse, expand, check, lint, lower.
 *
 * Pure: files, globs and the environment come through a reader that the caller
 * hands down, so that tests and fuzzers need no disk.
 */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

struct buffer;
struct diagnostics;
struct ast_file;

enum { CONFIG_FILE_MAX = 64 << 20, CONFIG_LINE_MAX = 64 << 10 };

struct config_reader {
	void *data;
	/* Reads a whole file into *ret (malloc, NUL behind it); 0 or -errno. */
	int (*read_file)(void *data, const char *path, char **ret, size_t *ret_len);
	/* Paths that match, sorted bytewise, as a malloc'd array of malloc'd strings; 0 or -errno. */
	int (*glob)(void *data, const char *pattern, char ***ret, size_t *ret_n);
	/* NULL where unset. */
	const char *(*getenv)(void *data, const char *name);
};

/*
 * NULL with errors in diags.  Warnings may be there also on success.  diags must
 * have been initialised with tree; texts and spans live in it, so it must outlive
 * diags.  A file whose first byte is "{" is the seed system's JSON.
 */
struct config *config_load(const struct config_reader *reader, const char *path,
			   struct arena *tree, struct diagnostics *diags);

/* The files and directories of the machine, and its environment. */
extern const struct config_reader config_reader_system;

/* --dump: stable text that loads again to the same tables. */
void config_dump(const struct config *c, struct buffer *out);
/* --format: false with errors in diags. */
bool config_format(const char *name, struct slice text, struct arena *tree,
		   struct diagnostics *diags, struct buffer *out);
/* --import: the seed system's JSON as text of this language; false with errors in diags. */
bool config_import(const struct config_reader *reader, const char *name, struct slice json,
		   struct arena *tree, struct diagnostics *diags, struct buffer *out);

/* The passes, for load.c and tests. */
struct expanded {
	struct ast_node *first, **last;	/* sections only, includes resolved, words expanded */
};

/* *ret lives in nodes, which nobody needs once it is checked; its texts and places in tree. */
void config_expand(const struct config_reader *reader, const char *path, struct slice text,
		   struct arena *nodes, struct arena *tree, struct diagnostics *diags, struct expanded *ret);
struct model;
struct model_frontend;
void config_check(struct model *m, const struct expanded *tree);
void config_lint(struct model *m);
void config_lint_unreachable(struct model *m, const struct model_frontend *f);
struct config *config_lower(struct model *m);

#endif

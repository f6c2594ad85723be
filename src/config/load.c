/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "config/load.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "config/diagnostics.h"
#include "config/model.h"

/* JSON becomes text of the language first; its places are lines of that text. */
static void expand_json(const struct config_reader *reader, const char *path, struct slice json,
			struct arena *nodes, struct arena *tree, struct diagnostics *diags,
			struct expanded *ret)
{
	struct buffer text = BUFFER_INIT;

	ret->first = NULL;
	ret->last = &ret->first;
	if (config_import(reader, path, json, tree, diags, &text))
		config_expand(reader, arena_printf(tree, "%s (imported)", path), buffer_slice(&text), nodes, tree,
			      diags, ret);
	buffer_fini(&text);
}

struct config *config_load(const struct config_reader *reader, const char *path,
			   struct arena *tree, struct diagnostics *diags)
{
	struct model m = { .arena = tree, .diags = diags };
	struct arena *nodes;
	struct expanded expanded;
	struct config *c = NULL;
	char *text;
	size_t len;
	int r = reader->read_file(reader->data, path, &text, &len);

	if (r < 0) {
		diag_error(diags, "unreadable", (struct span){ 0 }, "cannot read \"%s\": %s", path, strerror(-r));
		return NULL;
	}
	m.out = arena_new();
	nodes = arena_new();
	if (len > 0 && *text == '{')
		expand_json(reader, path, slice_of(text, len), nodes, tree, diags, &expanded);
	else
		config_expand(reader, path, slice_of(text, len), nodes, tree, diags, &expanded);
	free(text);
	config_check(&m, &expanded);
	arena_free(nodes);
	if (diags->n_errors == 0)
		config_lint(&m);
	if (diags->n_errors == 0)
		c = config_lower(&m);
	else
		arena_free(m.out);
	map_fini(&m.enclave_names);
	map_fini(&m.backend_names);
	map_fini(&m.frontend_names);
	diagnostics_sort(diags);
	return c;
}

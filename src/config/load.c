/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "config/load.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "config/model.h"

struct config *config_load(const struct config_reader *reader, const char *path,
			   struct arena *tree, struct diagnostics *diags)
{
	struct model m = { .arena = tree, .diags = diags };
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
	config_expand(reader, path, slice_of(text, len), tree, diags, &expanded);
	free(text);
	config_check(&m, &expanded);
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

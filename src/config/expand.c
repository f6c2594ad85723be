/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Defines, variables and includes: what words stand for, and the statements of
 * other files where they belong.  A value is never split or read again.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/map.h"
#include "config/diagnostics.h"
#include "config/keywords.h"
#include "config/load.h"
#include "config/parse.h"

/* A directory that is a link to itself gives endless names to one file, and globs multiply them. */
enum { INCLUDE_DEPTH_MAX = 16, INCLUDE_FILES_MAX = 10000 };

/* The files that are being included, innermost first. */
struct including {
	const char *path;
	const struct including *outer;
	unsigned depth;		/* 0: the file that was asked for */
};

struct expander {
	const struct config_reader *reader;
	struct arena *nodes, *arena;	/* of the tree; of texts and diagnostics */
	struct diagnostics *diags;
	struct map defines;	/* name -> struct ast_word */
	unsigned n_files;	/* included so far */
	struct expanded *out;
};

static bool is_name_char(char c, bool first)
{
	return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (!first && c >= '0' && c <= '9');
}

/* The place of offset bytes into the text of a word. */
static struct span span_within(const struct ast_word *w, size_t first, size_t len)
{
	struct span s = w->span;
	unsigned skip = (unsigned)first + (w->quote == QUOTE_DOUBLE ? 1 : 0);

	s.first += skip;
	s.column += skip;
	s.end = s.first + (unsigned)len;
	return s;
}

/* $NAME or ${NAME} or ${NAME:-default} at text[i]; puts its value and returns the offset behind it. */
static size_t expand_variable(struct expander *e, const struct ast_word *w, size_t i,
			      struct buffer *out)
{
	const char *p = w->text + i + 1, *preset = NULL, *value = NULL, *end;
	bool braces = *p == '{';
	const struct ast_word *define;
	size_t name_len = 0, behind, preset_len = 0;
	char *name;

	p += braces;
	while (is_name_char(p[name_len], name_len == 0))
		name_len++;
	end = p + name_len;
	if (braces && end[0] == ':' && end[1] == '-') {
		preset = end + 2;
		end = strchr(preset, '}');
		preset_len = end ? (size_t)(end - preset) : 0;
	}
	if (name_len == 0 || (braces && (!end || *end != '}'))) {
		diag_error(e->diags, "bad-variable", span_within(w, i, 1 + braces + name_len),
			   "expected $NAME, ${NAME} or ${NAME:-default}; a \"$\" itself stands in '...' or as \"\\$\"");
		return i + 1 + braces + name_len;
	}
	behind = (size_t)(end - w->text) + braces;
	name = arena_copy_slice(e->arena, slice_of(p, name_len));
	define = map_get(&e->defines, slice_of(name, name_len));
	value = define ? define->value : e->reader->getenv(e->reader->data, name);
	if (value && *value)
		buffer_add_string(out, value);
	else if (preset && preset_len)
		buffer_add(out, preset, preset_len);
	else
		diag_error(e->diags, "unset-variable", span_within(w, i, behind - i),
			   "\"%s\" is %s: expected a define above, or an environment variable, or ${%s:-default}",
			   name, value ? "empty" : "not set", name);
	return behind;
}

static size_t expand_escape(struct expander *e, const struct ast_word *w, size_t i,
			    struct buffer *out)
{
	static const char from[] = "\"\\nt$", to[] = "\"\\\n\t$";
	const char *at = w->text[i + 1] ? strchr(from, w->text[i + 1]) : NULL;

	if (at)
		buffer_add_char(out, to[at - from]);
	else
		diag_error(e->diags, "bad-escape", span_within(w, i, 2),
			   "unknown escape; expected \\\" \\\\ \\n \\t or \\$");
	return i + 2;
}

static void expand_word(struct expander *e, struct ast_word *w)
{
	struct buffer out = BUFFER_INIT;
	size_t len = strlen(w->text), i = 0;

	if (w->value)
		return;
	w->value = w->text;
	w->value_len = len;
	if (w->quote == QUOTE_SINGLE || w->quote == QUOTE_REGEX)
		return;
	if (!strpbrk(w->text, w->quote == QUOTE_DOUBLE ? "$\\" : "$"))
		return;
	while (i < len) {
		if (w->text[i] == '$')
			i = expand_variable(e, w, i, &out);
		else if (w->quote == QUOTE_DOUBLE && w->text[i] == '\\')
			i = expand_escape(e, w, i, &out);
		else
			buffer_add_char(&out, w->text[i++]);
	}
	w->value = arena_copy_slice(e->arena, buffer_slice(&out));
	w->value_len = out.len;
	buffer_fini(&out);
}

static void expand_define(struct expander *e, const struct ast_node *node)
{
	struct ast_item *name = node->statement->first, *equals = name->next,
			*value = equals ? equals->next : NULL;
	struct ast_word *before;
	struct diagnostic *d;
	size_t len = 0;

	if (!value || value->next || name->kind != ITEM_WORD || value->kind != ITEM_WORD ||
	    equals->kind != ITEM_WORD || strcmp(equals->word.text, "=") != 0) {
		diag_error(e->diags, "bad-define", node->statement->span,
			   "expected define NAME = WORD");
		return;
	}
	while (is_name_char(name->word.text[len], len == 0))
		len++;
	if (len == 0 || name->word.text[len]) {
		diag_error(e->diags, "bad-define", name->word.span,
			   "a variable is named by letters, digits and \"_\", not \"%s\"", name->word.text);
		return;
	}
	expand_word(e, &value->word);
	before = map_put(&e->defines, slice_of(name->word.text, len), &value->word);
	if (before) {
		d = diag_error(e->diags, "duplicate-define", name->word.span, "\"%s\" is defined twice",
			       name->word.text);
		diagnostics_note(e->diags, d, before->span, "the first value stands here");
	}
}

/* Bytes that no text has, before the lexer sees them: lines that are too long. */
static bool text_is_sound(struct expander *e, const struct source *src)
{
	unsigned line = 1;
	size_t begin = 0;

	for (size_t i = 0; i <= src->len; i++) {
		if (i < src->len && src->text[i] != '\n')
			continue;
		if (i - begin > CONFIG_LINE_MAX) {
			struct span at = { src, (unsigned)begin, (unsigned)begin + 1, line, 1 };

			diag_error(e->diags, "line-too-long", at,
				   "a line of %zu bytes; at most %d, and a backslash before the newline joins lines",
				   i - begin, CONFIG_LINE_MAX);
			return false;
		}
		begin = i + 1;
		line++;
	}
	return true;
}

static struct source *source_new(struct expander *e, const char *name, struct slice text)
{
	struct source *src = arena_alloc(e->arena, sizeof(*src));

	if (slice_starts_with(text, SLICE_LITERAL("\xef\xbb\xbf"))) {
		text.ptr += 3;
		text.len -= 3;
	}
	src->name = arena_strdup(e->arena, name);
	src->text = arena_copy_slice(e->arena, text);
	src->len = text.len;
	return src;
}

static void expand_nodes(struct expander *e, struct ast_node *first, const struct including *in);
static void expand_statements(struct expander *e, struct ast_statements *list,
			      const struct including *in);

/* One included file: its sections join the others, its statements go behind *into. */
static void include_file(struct expander *e, const char *path, const struct ast_word *word,
			 const struct including *in, struct ast_statements *into)
{
	struct including here = { path, in, in->depth + 1 };
	struct ast_file file;
	struct source *src;
	char *text;
	size_t len;
	int r;

	for (const struct including *i = in; i; i = i->outer) {
		if (strcmp(i->path, path) == 0) {
			diag_error(e->diags, "include-cycle", word->span,
				   "\"%s\" includes itself%s", path,
				   i == in ? "" : " by way of other files");
			return;
		}
	}
	if (here.depth > INCLUDE_DEPTH_MAX) {
		diag_error(e->diags, "include-limit", word->span, "\"%s\" is included %u files deep; at most %u",
			   path, here.depth, INCLUDE_DEPTH_MAX);
		return;
	}
	/* Told once: what comes after it is more of the same. */
	if (e->n_files >= INCLUDE_FILES_MAX) {
		if (e->n_files++ == INCLUDE_FILES_MAX)
			diag_error(e->diags, "include-limit", word->span, "more than %u files are included",
				   INCLUDE_FILES_MAX);
		return;
	}
	e->n_files++;
	r = e->reader->read_file(e->reader->data, path, &text, &len);
	if (r < 0) {
		diag_error(e->diags, "include-unreadable", word->span, "cannot read \"%s\": %s", path,
			   strerror(-r));
		return;
	}
	src = source_new(e, path, slice_of(text, len));
	free(text);
	if (!text_is_sound(e, src))
		return;
	config_parse(e->nodes, e->arena, e->diags, src, into ? PARSE_BLOCK : PARSE_FILE, &file);
	if (into) {
		expand_statements(e, &file.statements, &here);
		if (file.statements.first) {
			if (into->last)
				into->last->next = file.statements.first;
			else
				into->first = file.statements.first;
			into->last = file.statements.last;
		}
	} else {
		expand_nodes(e, file.first, &here);
	}
}

static void expand_include(struct expander *e, struct ast_item *item, const struct including *in,
			   struct ast_statements *into)
{
	const char *slash = strrchr(in->path, '/');
	struct ast_word *w = &item->word;
	char **paths = NULL, *path;
	size_t n = 0;
	int r;

	if (item->kind != ITEM_WORD || item->next) {
		diag_error(e->diags, "bad-include", w->span, "expected include FILE or include \"GLOB\"");
		return;
	}
	expand_word(e, w);
	if (w->value[0] == '/' || !slash)
		path = arena_strdup(e->arena, w->value);
	else
		path = arena_printf(e->arena, "%.*s/%s", (int)(slash - in->path), in->path, w->value);
	if (!strpbrk(w->value, "*?[")) {
		include_file(e, path, w, in, into);
		return;
	}
	r = e->reader->glob(e->reader->data, path, &paths, &n);
	if (r < 0)
		diag_error(e->diags, "include-unreadable", w->span, "cannot list \"%s\": %s", path,
			   strerror(-r));
	for (size_t i = 0; i < n; i++) {
		include_file(e, arena_strdup(e->arena, paths[i]), w, in, into);
		free(paths[i]);
	}
	free(paths);
}

static void expand_statements(struct expander *e, struct ast_statements *list,
			      const struct including *in)
{
	struct ast_statements out;
	unsigned before;

	ast_statements_init(&out);
	for (struct ast_statement *st = list->first, *next; st; st = next) {
		const struct ast_word *first = &st->first->word;
		bool faulty = false;

		next = st->next;
		st->next = NULL;
		if (st->first->kind == ITEM_WORD && first->quote == QUOTE_NONE &&
		    strcmp(first->text, "include") == 0) {
			if (st->first->next)
				expand_include(e, st->first->next, in, &out);
			else
				diag_error(e->diags, "bad-include", first->span,
					   "expected include FILE or include \"GLOB\"");
			continue;
		}
		before = e->diags->n_errors;
		for (struct ast_item *i = st->first; i; i = i->next) {
			if (i->kind == ITEM_WORD)
				expand_word(e, &i->word);
			faulty |= i->word.quote == QUOTE_FAULT;
		}
		/* One fault is enough: what an unset variable leads to is not looked at. */
		if (e->diags->n_errors == before && !faulty)
			ast_statements_add(&out, st);
	}
	*list = out;
}

static void expand_nodes(struct expander *e, struct ast_node *first, const struct including *in)
{
	for (struct ast_node *node = first, *next; node; node = next) {
		next = node->next;
		node->next = NULL;
		switch (node->kind) {
		case NODE_DEFINE:
			expand_define(e, node);
			break;
		case NODE_INCLUDE:
			expand_include(e, node->statement->first, in, NULL);
			break;
		case NODE_SECTION:
			if (node->name.text)
				expand_word(e, &node->name);
			if (node->mode.text)
				expand_word(e, &node->mode);
			expand_statements(e, &node->body, in);
			*e->out->last = node;
			e->out->last = &node->next;
			break;
		}
	}
}

void config_expand(const struct config_reader *reader, const char *path, struct slice text,
		   struct arena *nodes, struct arena *tree, struct diagnostics *diags, struct expanded *ret)
{
	struct expander e = { .reader = reader, .nodes = nodes, .arena = tree, .diags = diags, .out = ret };
	struct including here = { path, NULL, 0 };
	struct ast_file file;
	struct source *src = source_new(&e, path, text);

	ret->first = NULL;
	ret->last = &ret->first;
	if (!text_is_sound(&e, src))
		return;
	config_parse(nodes, tree, diags, src, PARSE_FILE, &file);
	expand_nodes(&e, file.first, &here);
	map_fini(&e.defines);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file laid out canonically: one statement a line, a tab for each block, single
 * blanks.  Works on tokens, so comments, variables, quotes and includes stay as
 * they are; what it prints it prints again unchanged.
 */
#include <config.h>

#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "config/diagnostics.h"
#include "config/keywords.h"
#include "config/load.h"
#include "config/parse.h"

struct formatter {
	const struct source *source;
	struct buffer *out;
	unsigned depth;		/* of blocks: 0 or 1 */
	unsigned words;		/* of the statement so far */
	unsigned head;		/* words of a section's head; 0: no section */
	unsigned newlines;	/* seen since the last token */
	bool in_list;
	bool ended;		/* the statement, unless a brace follows */
	bool line_open;		/* something stands on this line */
	bool join;		/* a backslash came: the statement's next word goes below */
	bool joined;		/* this line goes on from a backslash */
	bool after_open;	/* no blank line behind a brace */
};

static void break_line(struct formatter *f)
{
	if (f->line_open)
		buffer_add_char(f->out, '\n');
	f->line_open = false;
}

static void emit(struct formatter *f, struct slice text)
{
	if (f->line_open) {
		buffer_add_char(f->out, ' ');
	} else {
		if (f->newlines >= 2 && f->out->len > 0 && !f->after_open && !f->joined)
			buffer_add_char(f->out, '\n');
		for (unsigned i = 0; i < f->depth + f->in_list + f->joined; i++)
			buffer_add_char(f->out, '\t');
	}
	buffer_add_slice(f->out, text);
	f->line_open = true;
	f->newlines = 0;
	f->after_open = false;
}

static struct slice token_text(const struct formatter *f, const struct token *t)
{
	struct slice s = slice_of(f->source->text + t->span.first, t->span.end - t->span.first);

	while (t->kind == TOKEN_COMMENT && s.len > 0 && strchr(" \t\r", s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* How many words stand before the brace of this section. */
static unsigned head_words(struct slice word)
{
	static const char *const plain[] = { "global", "aws", "resolver" };
	static const char *const named[] = { "defaults", "enclave", "backend", "frontend" };

	for (size_t i = 0; i < 3; i++)
		if (slice_equal(word, slice_of_string(plain[i])))
			return 1;
	for (size_t i = 0; i < 4; i++)
		if (slice_equal(word, slice_of_string(named[i])))
			return 2;
	return 0;
}

static void format_word(struct formatter *f, const struct token *t)
{
	struct slice text = token_text(f, t);

	if (f->ended && !f->in_list) {
		break_line(f);
		f->words = 0;
		f->ended = f->join = false;
	}
	if (!f->in_list && !f->line_open && f->words == 0)
		f->head = f->depth == 0 ? head_words(text) : 0;
	if (!f->in_list && f->head == 2 && f->words == 2 && slice_equal(text, SLICE_LITERAL("mode")))
		f->head = 4;
	if (f->join && f->line_open) {
		buffer_add_string(f->out, " \\\n");
		f->line_open = false;
		f->joined = true;
	}
	f->words++;
	emit(f, text);
	f->join = f->joined = false;
}

static void format_open(struct formatter *f)
{
	f->newlines = 0;
	f->ended = f->join = false;
	emit(f, SLICE_LITERAL("{"));
	if (f->head && f->head == f->words) {
		break_line(f);
		f->depth = 1;
		f->words = 0;
		f->after_open = true;
	} else {
		f->in_list = true;
	}
}

static void format_close(struct formatter *f)
{
	f->newlines = 0;
	f->join = false;
	if (f->in_list) {
		f->in_list = false;
		emit(f, SLICE_LITERAL("}"));
		return;
	}
	break_line(f);
	f->depth = 0;
	f->head = 0;
	emit(f, SLICE_LITERAL("}"));
	f->ended = true;
}

static void format_token(struct formatter *f, const struct token *t)
{
	switch (t->kind) {
	case TOKEN_WORD:
	case TOKEN_ARROW:
		format_word(f, t);
		break;
	case TOKEN_OPEN:
		format_open(f);
		break;
	case TOKEN_CLOSE:
		format_close(f);
		break;
	case TOKEN_SEMICOLON:
		f->ended = true;
		f->join = false;
		break;
	case TOKEN_NEWLINE:
		f->newlines++;
		f->join = false;
		if (f->in_list)
			break_line(f);
		else
			f->ended = f->words > 0 || f->ended;
		break;
	case TOKEN_JOIN:
		/* Between statements, and before what ends one, it is a blank. */
		f->join = true;
		break;
	case TOKEN_COMMENT:
		if (f->newlines > 0)
			break_line(f);
		emit(f, token_text(f, t));
		break_line(f);
		break;
	case TOKEN_END:
	case TOKEN_ERROR:
		break;
	}
}

bool config_format(const char *name, struct slice text, struct arena *tree,
		   struct diagnostics *diags, struct buffer *out)
{
	struct source *source = arena_alloc(tree, sizeof(*source));
	struct formatter f = { .source = source, .out = out };
	unsigned before = diags->n_errors;
	struct ast_file file;
	struct lexer *lexer;
	struct token t;

	if (slice_starts_with(text, SLICE_LITERAL("\xef\xbb\xbf")))
		text = slice_of(text.ptr + 3, text.len - 3);
	source->name = arena_strdup(tree, name);
	source->text = arena_copy_slice(tree, text);
	source->len = text.len;
	if (memchr(text.ptr, '\0', text.len)) {
		diag_error(diags, "nul-byte", (struct span){ .source = source }, "a NUL byte; is this a text file?");
		return false;
	}
	config_parse(tree, tree, diags, source, PARSE_FILE, &file);
	if (diags->n_errors != before)
		return false;
	lexer = lexer_new(tree, diags, source);
	do {
		lexer_next(lexer, &t);
		format_token(&f, &t);
	} while (t.kind != TOKEN_END);
	lexer_free(lexer);
	break_line(&f);
	return true;
}

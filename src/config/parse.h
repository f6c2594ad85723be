/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to tree: runs grammar/lexer.l and grammar/parser.y over one source.
 *
 * Between the two stands a filter that knows the layout of the language: where a
 * statement begins and so a keyword may stand, which brace opens a block and
 * which a list, which newline counts, and where a brace is missing.  It makes the
 * grammar small and its faults few.
 */
#ifndef CONFIG_PARSE_H
#define CONFIG_PARSE_H

#include "config/ast.h"

struct diagnostics;

enum parse_as {
	PARSE_FILE,	/* sections, defines, includes */
	PARSE_BLOCK,	/* a file included inside a block: statements */
};

/*
 * Parses src, which must outlive the tree, into *ret: the tree itself in nodes, the
 * texts of its words in texts.  What could be parsed is there also when diagnostics
 * were added, so that one run tells all.
 */
void config_parse(struct arena *nodes, struct arena *texts, struct diagnostics *diags,
		  const struct source *src, enum parse_as as, struct ast_file *ret);

/* What a token is; also what --format works on. */
enum token_kind {
	TOKEN_END,
	TOKEN_WORD,
	TOKEN_ARROW,
	TOKEN_OPEN,	/* { */
	TOKEN_CLOSE,	/* } */
	TOKEN_SEMICOLON,
	TOKEN_NEWLINE,
	TOKEN_JOIN,	/* backslash, newline */
	TOKEN_COMMENT,	/* # to the end of the line */
	TOKEN_ERROR,	/* already told */
};

struct token {
	enum token_kind kind;
	struct ast_word word;	/* WORD */
	struct span span;	/* of all of it, quotes included */
};

/* The tokens of a source, one at a time; lexical faults go to diags. */
struct lexer;

struct lexer *lexer_new(struct arena *arena, struct diagnostics *diags, const struct source *src);
void lexer_next(struct lexer *lexer, struct token *ret);
void lexer_free(struct lexer *lexer);

#endif

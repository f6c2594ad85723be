/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as it was written: sections, statements, words, each with
 * its place.  Nothing is looked up here and nothing decided.
 *
 * Nodes, statements and items live in an arena of their own, which is freed once
 * they are checked; texts and sources outlive them.  config_expand() fills in what
 * words stand for (ast_word.value) and puts included statements where they belong.
 */
#ifndef CONFIG_AST_H
#define CONFIG_AST_H

#include <stdbool.h>
#include <stddef.h>

#include "config/span.h"

struct arena;

enum ast_quote {
	QUOTE_NONE,	/* bare: $NAME and ${...} expand */
	QUOTE_SINGLE,	/* '...': raw */
	QUOTE_DOUBLE,	/* "...": \" \\ \n \t \$ and variables */
	QUOTE_REGEX,	/* ~'...': raw; span and text are without the ~' and ' */
	QUOTE_FAULT,	/* something faulty, already told: its statement is not looked at */
};

struct ast_word {
	struct span span;
	enum ast_quote quote;
	const char *text;	/* without its quotes, escapes and variables as written */
	const char *value;	/* after config_expand() */
	size_t value_len;
};

enum ast_item_kind { ITEM_WORD, ITEM_ARROW, ITEM_LIST_OPEN, ITEM_LIST_CLOSE };

/* Part of a statement.  The words of a { list } stand between OPEN and CLOSE. */
struct ast_item {
	enum ast_item_kind kind;
	struct ast_word word;	/* its span for all kinds, the rest for ITEM_WORD */
	struct ast_item *next;
};

struct ast_statement {
	struct span span;
	struct ast_item *first, **last;
	size_t n_items;
	struct ast_statement *next;
};

struct ast_statements {
	struct ast_statement *first, *last;
};

enum ast_node_kind { NODE_SECTION, NODE_DEFINE, NODE_INCLUDE };

/* What stands at top level. */
struct ast_node {
	enum ast_node_kind kind;
	struct span span;
	struct ast_word keyword;
	struct ast_word name;		/* SECTION that takes one; value NULL otherwise */
	struct ast_word mode;		/* frontend NAME mode MODE; text NULL where absent */
	struct ast_statement *statement; /* DEFINE, INCLUDE: the whole statement */
	struct ast_statements body;	/* SECTION */
	struct ast_node *next;
};

struct ast_file {
	struct ast_node *first, **last;
	struct ast_statements statements; /* a file included inside a block */
};

/* The builders that grammar/parser.y calls; all memory from the arena. */
struct ast_item *ast_item_new(struct arena *a, enum ast_item_kind kind, struct span span,
			      const struct ast_word *word);
/* Puts item behind the others; statement NULL makes one. */
struct ast_statement *ast_statement_add(struct arena *a, struct ast_statement *statement,
					struct ast_item *item);
void ast_statements_init(struct ast_statements *list);
void ast_statements_add(struct ast_statements *list, struct ast_statement *statement);
struct ast_node *ast_node_new(struct arena *a, enum ast_node_kind kind,
			      const struct ast_word *keyword);
void ast_file_add(struct ast_file *file, struct ast_node *node);

#endif

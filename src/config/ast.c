/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "config/ast.h"

#include "base/arena.h"

struct ast_item *ast_item_new(struct arena *a, enum ast_item_kind kind, struct span span,
			      const struct ast_word *word)
{
	struct ast_item *item = arena_alloc(a, sizeof(*item));

	item->kind = kind;
	if (word)
		item->word = *word;
	else
		item->word.span = span;
	return item;
}

struct ast_statement *ast_statement_add(struct arena *a, struct ast_statement *statement,
					struct ast_item *item)
{
	if (!statement) {
		statement = arena_alloc(a, sizeof(*statement));
		statement->span = item->word.span;
		statement->last = &statement->first;
	}
	*statement->last = item;
	statement->last = &item->next;
	statement->n_items++;
	statement->span = span_join(statement->span, item->word.span);
	return statement;
}

void ast_statements_init(struct ast_statements *list)
{
	list->first = list->last = NULL;
}

void ast_statements_add(struct ast_statements *list, struct ast_statement *statement)
{
	if (list->last)
		list->last->next = statement;
	else
		list->first = statement;
	list->last = statement;
}

struct ast_node *ast_node_new(struct arena *a, enum ast_node_kind kind,
			      const struct ast_word *keyword)
{
	struct ast_node *node = arena_alloc(a, sizeof(*node));

	node->kind = kind;
	node->span = keyword->span;
	node->keyword = *keyword;
	ast_statements_init(&node->body);
	return node;
}

void ast_file_add(struct ast_file *file, struct ast_node *node)
{
	*file->last = node;
	file->last = &node->next;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "config/parse.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "config/diagnostics.h"
#include "config/keywords.h"
#include "grammar/parser.h"

/* Where in the layout the next token stands. */
enum where {
	AT_START,	 /* of a statement */
	AT_NAME,	 /* behind a section word that takes a name */
	AT_MODE_OR_BODY, /* behind a frontend's name */
	AT_MODE_NAME,
	AT_BODY,	 /* behind a section's head: "{" or a statement */
	IN_STATEMENT,
	BEHIND_BLOCK,	 /* behind a section's "}" */
};

struct queued {
	int token;
	struct ast_word word;
	struct span span;
};

enum { QUEUE_SIZE = 8 };

struct parser {
	struct arena *nodes;
	struct diagnostics *diags;
	struct lexer *lexer;
	struct ast_file *file;
	enum parse_as as;
	struct queued queue[QUEUE_SIZE]; /* what the filter has made and bison not yet taken */
	unsigned head, n_queued;
	struct token peeked;
	bool has_peeked;
	enum where where;
	bool in_block, in_list;
	unsigned ignored;	/* "{" that were faults, whose "}" mean nothing */
	struct span block;	/* the section word and "{" of the open block */
	struct ast_word section;
	struct span list;
	unsigned word_end;	/* offset behind the last word */
};

struct arena *parser_nodes(struct parser *p)
{
	return p->nodes;
}

struct ast_file *parser_file(struct parser *p)
{
	return p->file;
}

void parser_yyerror(struct span *span, struct parser *p, const char *message)
{
	diag_error(p->diags, "syntax", *span, "%s", message);
}

static void emit(struct parser *p, int token, struct span span, const struct ast_word *word)
{
	struct queued *q = &p->queue[(p->head + p->n_queued++) % QUEUE_SIZE];

	*q = (struct queued){ .token = token, .span = span };
	if (word)
		q->word = *word;
}

static void next_raw(struct parser *p, struct token *t)
{
	if (p->has_peeked) {
		*t = p->peeked;
		p->has_peeked = false;
		return;
	}
	do
		lexer_next(p->lexer, t);
	while (t->kind == TOKEN_COMMENT || t->kind == TOKEN_JOIN);
	if (t->kind == TOKEN_ERROR) {
		t->kind = TOKEN_WORD;
		t->word = (struct ast_word){ .span = t->span, .quote = QUOTE_FAULT, .text = "" };
	}
}

static bool is_bare(const struct token *t, const char *text)
{
	return t->kind == TOKEN_WORD && t->word.quote == QUOTE_NONE && strcmp(t->word.text, text) == 0;
}

/* The head of a section without a body: an empty block stands for it. */
static void end_head(struct parser *p, struct span at)
{
	struct ast_word none = { .span = p->section.span, .text = "" };

	if (p->where == AT_NAME) {
		diag_error(p->diags, "expected-name", p->section.span, "\"%s\" needs a name behind it",
			   p->section.text);
		emit(p, P_WORD, at, &none);
	} else if (p->where == AT_MODE_NAME) {
		diag_error(p->diags, "expected-mode", at, "expected a mode behind \"mode\": %s",
			   keyword_modes());
		emit(p, P_WORD, at, &none);
	} else {
		diag_error(p->diags, "expected-body", p->section.span,
			   "expected a statement or \"{\" behind \"%s\"", p->section.text);
	}
}

static void end_statement(struct parser *p, struct span at)
{
	if (p->where == AT_START)
		return;
	if (p->where != IN_STATEMENT && p->where != BEHIND_BLOCK) {
		end_head(p, at);
		emit(p, P_OPEN, at, NULL);
		emit(p, P_CLOSE, at, NULL);
	}
	emit(p, P_EOL, at, NULL);
	p->where = AT_START;
}

static void close_block(struct parser *p, struct span at)
{
	end_statement(p, at);
	emit(p, P_CLOSE, at, NULL);
	p->in_block = false;
	p->where = BEHIND_BLOCK;
}

/* Passes over a statement that makes no sense, a block that follows it included. */
static void skip_statement(struct parser *p)
{
	unsigned depth = 0;
	struct token t;

	for (;;) {
		next_raw(p, &t);
		if (t.kind == TOKEN_OPEN)
			depth++;
		else if (t.kind == TOKEN_CLOSE && depth > 0)
			depth--;
		else if (t.kind == TOKEN_END ||
			 (depth == 0 && (t.kind == TOKEN_SEMICOLON || t.kind == TOKEN_CLOSE)))
			break;
		else if (depth == 0 && t.kind == TOKEN_NEWLINE) {
			struct token after;

			do
				next_raw(p, &after);
			while (after.kind == TOKEN_NEWLINE);
			p->peeked = after;
			p->has_peeked = true;
			if (after.kind != TOKEN_OPEN)
				return;
		}
	}
	if (t.kind != TOKEN_SEMICOLON) {
		p->peeked = t;
		p->has_peeked = true;
	}
}

static void take_newline(struct parser *p, const struct token *t)
{
	struct token after;

	if (p->in_list || p->where == AT_START)
		return;
	/* Newlines before "{" are ignored. */
	do
		next_raw(p, &after);
	while (after.kind == TOKEN_NEWLINE);
	p->peeked = after;
	p->has_peeked = true;
	if (after.kind != TOKEN_OPEN || p->where == BEHIND_BLOCK)
		end_statement(p, t->span);
}

static void take_open(struct parser *p, const struct token *t)
{
	switch (p->where) {
	case AT_NAME:
	case AT_MODE_NAME:
		end_head(p, t->span);
		/* fall through */
	case AT_BODY:
	case AT_MODE_OR_BODY:
		p->in_block = true;
		p->block = t->span;
		p->where = AT_START;
		emit(p, P_OPEN, t->span, NULL);
		return;
	case IN_STATEMENT:
		if (!p->in_list) {
			p->in_list = true;
			p->list = t->span;
			emit(p, P_LIST_OPEN, t->span, NULL);
			return;
		}
		diag_error(p->diags, "nested-list", t->span, "a list inside a list");
		break;
	case AT_START:
	case BEHIND_BLOCK:
		diag_error(p->diags, "stray-brace", t->span,
			   "\"{\" opens the block of a section or a list of words; none stands before it");
		break;
	}
	p->ignored++;
}

static void take_close(struct parser *p, const struct token *t)
{
	if (p->ignored > 0) {
		p->ignored--;
	} else if (p->in_list) {
		p->in_list = false;
		emit(p, P_LIST_CLOSE, t->span, NULL);
	} else if (p->in_block) {
		close_block(p, t->span);
	} else {
		diag_error(p->diags, "stray-brace", t->span,
			   p->as == PARSE_BLOCK ?
			   "\"}\" without \"{\"; an included file balances its own braces" :
			   "\"}\" without \"{\"");
	}
}

static void missing_brace(struct parser *p, struct span at, const char *before)
{
	struct diagnostic *d = diag_error(p->diags, "missing-brace", at,
					  "expected \"}\" before %s", before);

	diagnostics_note(p->diags, d, p->block, "the block of \"%s\" is opened here",
			 p->section.text);
}

static void unknown_section(struct parser *p, const struct token *t)
{
	struct suggestion near;
	const char *alias = keyword_alias(t->word.text);

	suggest_init(&near, t->word.text);
	for (size_t i = 0; keyword_section_name(i); i++)
		suggest_consider(&near, keyword_section_name(i));
	suggest_consider(&near, "define");
	suggest_consider(&near, "include");
	if (t->word.quote == QUOTE_FAULT)
		;
	else if (t->word.quote != QUOTE_NONE)
		diag_error(p->diags, "unknown-section", t->span, "a quoted string is never a keyword; expected a section");
	else if (alias)
		diag_error(p->diags, "unknown-section", t->span, "unknown section \"%s\"; %s",
			   t->word.text, alias);
	else if (suggest_result(&near))
		diag_error(p->diags, "unknown-section", t->span,
			   "unknown section \"%s\"; did you mean \"%s\"?", t->word.text,
			   suggest_result(&near));
	else
		diag_error(p->diags, "unknown-section", t->span,
			   "unknown section \"%s\"; expected global, defaults, aws, resolver, enclave, backend, frontend, define or include",
			   t->word.text);
	skip_statement(p);
}

static void take_keyword(struct parser *p, const struct token *t)
{
	bool inside = p->in_block || p->as == PARSE_BLOCK;
	enum keyword_section kind = t->word.quote == QUOTE_NONE ? keyword_find_section(t->word.text) :
								  SECTION_NONE;

	if (inside && (kind == SECTION_NONE || kind == SECTION_INCLUDE)) {
		p->where = IN_STATEMENT;
		emit(p, P_WORD, t->span, &t->word);
		return;
	}
	if (inside && p->as == PARSE_BLOCK) {
		diag_error(p->diags, "section-in-block", t->span,
			   "a section inside a block; this file is included inside one");
		skip_statement(p);
		return;
	}
	if (inside) {
		char before[80];

		snprintf(before, sizeof(before), "the section \"%.40s\"", t->word.text);
		missing_brace(p, t->span, before);
		close_block(p, t->span);
		end_statement(p, t->span);
	}
	p->section = t->word;
	switch (kind) {
	case SECTION_NONE:
		unknown_section(p, t);
		return;
	case SECTION_DEFINE:
		p->where = IN_STATEMENT;
		emit(p, P_DEFINE, t->span, &t->word);
		return;
	case SECTION_INCLUDE:
		p->where = IN_STATEMENT;
		emit(p, P_INCLUDE, t->span, &t->word);
		return;
	case SECTION_GLOBAL:
	case SECTION_AWS:
	case SECTION_RESOLVER:
		p->where = AT_BODY;
		emit(p, P_SECTION, t->span, &t->word);
		return;
	case SECTION_DEFAULTS:
	case SECTION_ENCLAVE:
	case SECTION_BACKEND:
	case SECTION_FRONTEND:
		p->where = AT_NAME;
		emit(p, P_NAMED_SECTION, t->span, &t->word);
		return;
	}
}

static void take_word(struct parser *p, struct token *t)
{
	size_t len;

	if (t->span.first == p->word_end && p->word_end > 0 && t->word.quote != QUOTE_FAULT) {
		t->word.quote = QUOTE_FAULT;
		diag_error(p->diags, "glued-string", t->span,
			   "a quoted string is a whole word; expected a blank between it and the word beside it");
	}
	p->word_end = t->span.end;
	switch (p->where) {
	case BEHIND_BLOCK:
		diag_error(p->diags, "expected-newline", t->span,
			   "expected a newline or \";\" behind \"}\"");
		end_statement(p, t->span);
		/* fall through */
	case AT_START:
		take_keyword(p, t);
		return;
	case AT_NAME:
		p->where = strcmp(p->section.text, "frontend") == 0 ? AT_MODE_OR_BODY : AT_BODY;
		break;
	case AT_MODE_OR_BODY:
		if (is_bare(t, "mode")) {
			p->where = AT_MODE_NAME;
			emit(p, P_MODE, t->span, &t->word);
			return;
		}
		p->where = IN_STATEMENT;
		break;
	case AT_MODE_NAME:
		p->where = AT_BODY;
		break;
	case AT_BODY:
		p->where = IN_STATEMENT;
		break;
	case IN_STATEMENT:
		len = strlen(t->word.text);
		if (p->in_list && t->word.quote == QUOTE_NONE && len > 0 && t->word.text[len - 1] == ',') {
			diag_error(p->diags, "comma-in-list", t->span,
				   "the words of a list are separated by blanks, not by commas");
			return;
		}
		break;
	}
	emit(p, P_WORD, t->span, &t->word);
}

static void take_arrow(struct parser *p, const struct token *t)
{
	if (p->in_list) {
		struct diagnostic *d = diag_error(p->diags, "missing-brace", t->span,
						  "expected \"}\" of the list before \"->\"");

		diagnostics_note(p->diags, d, p->list, "the list is opened here");
		p->in_list = false;
		emit(p, P_LIST_CLOSE, t->span, NULL);
	}
	if (p->where == AT_NAME || p->where == AT_MODE_NAME)
		end_head(p, t->span);
	if (p->where == BEHIND_BLOCK)
		end_statement(p, t->span);
	if (p->where == AT_START && !p->in_block && p->as == PARSE_FILE) {
		diag_error(p->diags, "stray-arrow", t->span, "\"->\" outside of a rule");
		skip_statement(p);
		return;
	}
	p->where = IN_STATEMENT;
	emit(p, P_ARROW, t->span, NULL);
}

static void take_end(struct parser *p, const struct token *t)
{
	if (p->in_list) {
		struct diagnostic *d = diag_error(p->diags, "missing-brace", t->span,
						  "expected \"}\" before the end of the file");

		diagnostics_note(p->diags, d, p->list, "the list is opened here");
		emit(p, P_LIST_CLOSE, t->span, NULL);
		p->in_list = false;
	}
	if (p->in_block) {
		missing_brace(p, t->span, "the end of the file");
		close_block(p, t->span);
	}
	end_statement(p, t->span);
	emit(p, P_END, t->span, NULL);
}

/* Makes at least one token for bison, unless what it read meant nothing. */
static void filter(struct parser *p)
{
	struct token t;

	next_raw(p, &t);
	switch (t.kind) {
	case TOKEN_NEWLINE:
		take_newline(p, &t);
		break;
	case TOKEN_SEMICOLON:
		if (p->in_list)
			diag_error(p->diags, "comma-in-list", t.span,
				   "the words of a list are separated by blanks, not by \";\"");
		else
			end_statement(p, t.span);
		break;
	case TOKEN_OPEN:
		take_open(p, &t);
		break;
	case TOKEN_CLOSE:
		take_close(p, &t);
		break;
	case TOKEN_ARROW:
		take_arrow(p, &t);
		break;
	case TOKEN_WORD:
		take_word(p, &t);
		break;
	case TOKEN_END:
		take_end(p, &t);
		break;
	case TOKEN_JOIN:
	case TOKEN_COMMENT:
	case TOKEN_ERROR:
		break;
	}
}

int parser_yylex(PARSER_YYSTYPE *value, struct span *span, struct parser *p)
{
	const struct queued *q;

	while (p->n_queued == 0)
		filter(p);
	q = &p->queue[p->head];
	p->head = (p->head + 1) % QUEUE_SIZE;
	p->n_queued--;
	value->word = q->word;
	*span = q->span;
	return q->token;
}

void config_parse(struct arena *nodes, struct arena *texts, struct diagnostics *diags,
		  const struct source *src, enum parse_as as, struct ast_file *ret)
{
	struct parser p = { .nodes = nodes, .diags = diags, .file = ret, .as = as };
	struct span begin = { src, 0, 0, 1, 1 };

	ret->first = NULL;
	ret->last = &ret->first;
	ast_statements_init(&ret->statements);
	p.lexer = lexer_new(texts, diags, src);
	emit(&p, as == PARSE_FILE ? P_START_FILE : P_START_BLOCK, begin, NULL);
	parser_yyparse(&p);
	lexer_free(p.lexer);
}

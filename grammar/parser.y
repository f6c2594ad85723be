/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens to tree: sections, blocks, statements, lists.  It decides nothing: every
 * setting is a row of src/config/keywords.c and every rule is read there too.
 */
%require "3.8"
%define api.pure full
%define api.prefix {parser_yy}
%define parse.error verbose
%define parse.lac full
%define api.token.prefix {P_}
%locations
%expect 0
%param { struct parser *p }

%code requires {
#include "config/ast.h"
#include "config/span.h"

struct parser;
#define PARSER_YYLTYPE struct span
#define PARSER_YYLTYPE_IS_DECLARED 1
}
%code provides {
/* src/config/parse.c has these. */
int parser_yylex(PARSER_YYSTYPE *value, PARSER_YYLTYPE *span, struct parser *p);
void parser_yyerror(PARSER_YYLTYPE *span, struct parser *p, const char *message);
struct arena *parser_nodes(struct parser *p);
struct ast_file *parser_file(struct parser *p);
}
%code {
#include <config.h>

#define YYLLOC_DEFAULT(now, rhs, n)                                                                \
	((now) = (n) ? span_join(YYRHSLOC(rhs, 1), YYRHSLOC(rhs, n)) : YYRHSLOC(rhs, 0))
}

%union {
	struct ast_word word;
	struct ast_item *item;
	struct ast_statement *statement;
	struct ast_statements statements;
	struct ast_node *node;
}

%token END 0 "end of file"
%token START_FILE START_BLOCK
%token EOL "end of statement"
%token ARROW "->"
%token OPEN "{" CLOSE "}"
%token LIST_OPEN "{ of a list" LIST_CLOSE "} of a list"
%token <word> WORD "word" SECTION "section" NAMED_SECTION "section with a name" MODE "mode"
%token <word> DEFINE "define" INCLUDE "include"

%type <item> item
%type <statement> statement
%type <statements> statements body
%type <node> node

%%

start:
	START_FILE nodes
|	START_BLOCK statements		{ parser_file(p)->statements = $2; }
;

nodes:
	%empty
|	nodes EOL
|	nodes node EOL			{ ast_file_add(parser_file(p), $2); }
|	nodes error EOL
;

node:
	SECTION body			{ $$ = ast_node_new(parser_nodes(p), NODE_SECTION, &$1);
					  $$->body = $2; }
|	NAMED_SECTION WORD body		{ $$ = ast_node_new(parser_nodes(p), NODE_SECTION, &$1);
					  $$->name = $2; $$->body = $3; }
|	NAMED_SECTION WORD MODE WORD body
					{ $$ = ast_node_new(parser_nodes(p), NODE_SECTION, &$1);
					  $$->name = $2; $$->mode = $4; $$->body = $5; }
|	DEFINE statement		{ $$ = ast_node_new(parser_nodes(p), NODE_DEFINE, &$1);
					  $$->statement = $2; }
|	INCLUDE statement		{ $$ = ast_node_new(parser_nodes(p), NODE_INCLUDE, &$1);
					  $$->statement = $2; }
;

body:
	OPEN statements CLOSE		{ $$ = $2; }
|	statement			{ ast_statements_init(&$$); ast_statements_add(&$$, $1); }
;

statements:
	%empty				{ ast_statements_init(&$$); }
|	statements EOL
|	statements statement EOL	{ ast_statements_add(&$$, $2); }
|	statements error EOL
;

statement:
	item				{ $$ = ast_statement_add(parser_nodes(p), NULL, $1); }
|	statement item			{ $$ = ast_statement_add(parser_nodes(p), $1, $2); }
;

item:
	WORD				{ $$ = ast_item_new(parser_nodes(p), ITEM_WORD, @1, &$1); }
|	ARROW				{ $$ = ast_item_new(parser_nodes(p), ITEM_ARROW, @1, NULL); }
|	LIST_OPEN			{ $$ = ast_item_new(parser_nodes(p), ITEM_LIST_OPEN, @1, NULL); }
|	LIST_CLOSE			{ $$ = ast_item_new(parser_nodes(p), ITEM_LIST_CLOSE, @1, NULL); }
;

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk through one JSON value that is there as a whole, in the order of its text.
 *
 * json_stream.h finds where a value ends; json-c's tree of it has merged names that come
 * twice and forgotten their order, by which Go decides.  This walk sees every member as it
 * comes.  Strings are decoded in their place, which always has room for them, so
 * a value is read once, and who wipes the text has wiped all of it.
 *
 *	json_enter(&r, '{');
 *	while (json_next_member(&r, &name))
 *		... read or skip exactly one value
 *
 * What is wrong is sticky, and said once: json_reader_end().  RFC 8259 to the letter, but
 * UTF-8 is not checked: json_writer.h does that.
 */
#ifndef WIRE_JSON_READER_H
#define WIRE_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

enum json_kind { JSON_BAD, JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_reader {
	char *at, *end;
	bool failed;
	bool first;	/* an object or array was entered, nothing of it was read */
};

/* Borrows the text and writes into it. */
void json_reader_init(struct json_reader *r, char *text, size_t len);

/* What comes next; BAD at the end too. */
enum json_kind json_peek(struct json_reader *r);

/* open: `{` or `[`; false where something else stands there. */
bool json_enter(struct json_reader *r, char open);
/* Before each member or element; false at the end of the object or array, or where it is bad. */
bool json_next_member(struct json_reader *r, struct slice *ret_name);
bool json_next_element(struct json_reader *r);

/* Each reads one value; false, and failed, where it is another kind. */
bool json_read_string(struct json_reader *r, struct slice *ret);
bool json_read_number(struct json_reader *r, struct slice *ret_digits);	/* as written */
bool json_read_bool(struct json_reader *r, bool *ret);
bool json_read_null(struct json_reader *r);

/* Any value, at most depth deep; *ret_text is it as it stands, nothing decoded. */
bool json_skip(struct json_reader *r, unsigned depth, struct slice *ret_text);

/* Whether all was well, and nothing but white space is left. */
bool json_reader_end(struct json_reader *r);

#endif

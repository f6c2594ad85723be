/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text as Go's encoding/json writes it, byte for byte: `<`, `>`, `&`, U+2028 and
 * U+2029 escaped, bad UTF-8 as \ufffd.
 *
 * For the data path: out of memory is sticky and asked for once, at the end.  What was
 * written may be secret, so it is wiped wherever it is given up: on growing and at the end.
 */
#ifndef WIRE_JSON_WRITER_H
#define WIRE_JSON_WRITER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct json_writer {
	char *ptr;	/* NULL before the first byte; a NUL stands behind the last */
	size_t len, size;
	bool failed;	/* out of memory: what is there is not whole */
};

#define JSON_WRITER_INIT { NULL, 0, 0, false }

/* Wipes and frees; w is empty then and may be used again. */
void json_writer_fini(struct json_writer *w);
/* The text, which the caller takes, wipes and frees, or NULL where it failed; w is empty then. */
char *json_writer_take(struct json_writer *w, size_t *ret_len);

/* JSON as it stands. */
void json_write(struct json_writer *w, struct slice text);
void json_write_text(struct json_writer *w, const char *text);
/* Inside of a string, which json_write_text() opens and closes: for strings in pieces. */
void json_write_escaped(struct json_writer *w, struct slice piece);
/* The same with quotes around it. */
void json_write_string(struct json_writer *w, struct slice s);
/* These bytes in base64, with quotes. */
void json_write_base64(struct json_writer *w, struct slice bytes);

#endif

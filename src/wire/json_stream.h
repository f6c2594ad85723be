/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON values one after the other on a stream, however they are cut.
 *
 * json-c's incremental tokener finds where a value ends; this bounds it in bytes, in depth
 * and in what it holds, and tells what went wrong where.  json-c makes some 800 bytes of `{}`
 * and 70 of `0`: a value of 1 MiB of them would be a tree of hundreds.  Strict RFC 8259 as far
 * as json-c's strict mode goes.  A stream that was BAD stays so: nothing behind it can be framed.
 *
 * The values are json-c's: json_stream hands them over, and who looks into them
 * includes <json-c/json.h> in his .c.  Free them with json_object_put(), or json_stream_discard()
 * where they may be secret.  They have one value for a name that comes twice, in the place
 * where it came first: who needs the order walks the text with json_reader.h.
 */
#ifndef WIRE_JSON_STREAM_H
#define WIRE_JSON_STREAM_H

#include <stdbool.h>
#include <stddef.h>

struct json_object;
struct json_stream;

enum {
	JSON_STREAM_SIZE_DEFAULT = 1024 * 1024,
	JSON_STREAM_DEPTH = 64,
	JSON_STREAM_CONTAINERS = 1024,	/* objects and arrays in a value */
	JSON_STREAM_ELEMENTS = 65536,	/* commas in it */
};

enum json_stream_result {
	JSON_STREAM_MORE,
	JSON_STREAM_FOUND,
	JSON_STREAM_BAD,
};

struct json_stream_error {
	const char *message; /* static: json-c's words or ours */
	size_t offset;       /* from the first byte of the value */
	bool is_too_large;   /* it was the limit that ended it */
};

/* size_limit: bytes of one value; white space before it does not count.  NULL: out of memory. */
struct json_stream *json_stream_new(size_t size_limit, int depth_limit);
void json_stream_free(struct json_stream *s);

/*
 * Takes bytes, each once.  *ret_used is how many it took: all of them with MORE, up to the
 * value's end with FOUND (call again with the rest).  *ret_value, which the caller takes, is set with FOUND
 * alone; it is NULL for the JSON value null.
 */
enum json_stream_result json_stream_feed(struct json_stream *s, const char *buf, size_t len,
					 size_t *ret_used, struct json_object **ret_value);

/*
 * At the end of the stream: FOUND for a number that only this ends, MORE where nothing is
 * open, BAD for a value cut short.
 */
enum json_stream_result json_stream_end(struct json_stream *s, struct json_object **ret_value);

/* Whether a value has begun that has not ended; white space is not one. */
bool json_stream_is_open(const struct json_stream *s);

struct json_stream_error json_stream_error(const struct json_stream *s);

/*
 * Frees a value and wipes the strings and numbers in it, as the stream does with what it keeps of
 * one itself.  What neither can reach is names of members.  Takes NULL.
 */
void json_stream_discard(struct json_object *value);

#endif

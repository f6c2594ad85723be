/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing string of bytes, for text that is made at start or by a command.
 *
 * Not for the data path: growing ends the program when there is no memory.
 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdarg.h>
#include <stddef.h>

#include "base/slice.h"

struct buffer {
	char *ptr; /* NUL-terminated whenever something was added; NULL before */
	size_t len, size;
};

#define BUFFER_INIT { NULL, 0, 0 }

void buffer_fini(struct buffer *b);
void buffer_add(struct buffer *b, const void *bytes, size_t len);
void buffer_add_string(struct buffer *b, const char *s);
void buffer_add_slice(struct buffer *b, struct slice s);
void buffer_add_char(struct buffer *b, char c);
void buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_vprintf(struct buffer *b, const char *format, va_list ap)
	__attribute__((format(printf, 2, 0)));

static inline struct slice buffer_slice(const struct buffer *b)
{
	return slice_of(b->ptr ? b->ptr : "", b->len);
}

#endif

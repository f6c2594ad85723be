/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "base/buffer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"

void buffer_fini(struct buffer *b)
{
	free(b->ptr);
	*b = (struct buffer)BUFFER_INIT;
}

static void buffer_reserve(struct buffer *b, size_t more)
{
	size_t want, size = b->size ? b->size : 128;

	if (__builtin_add_overflow(b->len, more, &want) || want > SIZE_MAX / 2)
		xalloc_fail();
	want++;
	if (want <= b->size)
		return;
	while (size < want)
		size *= 2;
	b->ptr = xreallocarray(b->ptr, size, 1);
	b->size = size;
}

void buffer_add(struct buffer *b, const void *bytes, size_t len)
{
	buffer_reserve(b, len);
	if (len > 0)
		memcpy(b->ptr + b->len, bytes, len);
	b->len += len;
	b->ptr[b->len] = '\0';
}

void buffer_add_string(struct buffer *b, const char *s)
{
	buffer_add(b, s, strlen(s));
}

void buffer_add_slice(struct buffer *b, struct slice s)
{
	buffer_add(b, s.ptr, s.len);
}

void buffer_add_char(struct buffer *b, char c)
{
	buffer_add(b, &c, 1);
}

void buffer_vprintf(struct buffer *b, const char *format, va_list ap)
{
	va_list copy;
	int len;

	va_copy(copy, ap);
	len = vsnprintf(NULL, 0, format, copy);
	va_end(copy);
	if (len < 0)
		return;
	buffer_reserve(b, (size_t)len);
	vsnprintf(b->ptr + b->len, (size_t)len + 1, format, ap);
	b->len += (size_t)len;
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	buffer_vprintf(b, format, ap);
	va_end(ap);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/secret.h"

#include <stdlib.h>
#include <string.h>

char *secret_copy(struct slice s)
{
	char *copy = malloc(s.len + 1);

	if (!copy)
		return NULL;
	if (s.len)
		memcpy(copy, s.ptr, s.len);
	copy[s.len] = '\0';
	return copy;
}

void secret_free(char *s)
{
	if (s)
		secret_free_bytes(s, strlen(s));
}

void secret_free_bytes(char *bytes, size_t len)
{
	if (bytes)
		explicit_bzero(bytes, len);
	free(bytes);
}

bool secret_add(struct secret_buffer *b, const void *bytes, size_t len)
{
	if (b->size - b->len < len + 1) {
		size_t size = b->size ? b->size : 256;
		char *ptr;

		while (size - b->len < len + 1)
			size *= 2;
		/* realloc() would leave the old bytes where they were. */
		ptr = malloc(size);
		if (!ptr)
			return false;
		if (b->len)
			memcpy(ptr, b->ptr, b->len);
		secret_free_bytes(b->ptr, b->len);
		b->ptr = ptr;
		b->size = size;
	}
	if (len)
		memcpy(b->ptr + b->len, bytes, len);
	b->len += len;
	b->ptr[b->len] = '\0';
	return true;
}

bool secret_add_string(struct secret_buffer *b, const char *s)
{
	return secret_add(b, s, strlen(s));
}

bool secret_add_percent(struct secret_buffer *b, const char *s)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		char escaped[3] = { '%', hex[c >> 4], hex[c & 15] };
		bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			     c == '-' || c == '.' || c == '_' || c == '~';

		if (!secret_add(b, plain ? s : escaped, plain ? 1 : 3))
			return false;
	}
	return true;
}

void secret_fini(struct secret_buffer *b)
{
	secret_free_bytes(b->ptr, b->len);
	*b = (struct secret_buffer){ 0 };
}

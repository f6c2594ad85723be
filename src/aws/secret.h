/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that holds a key, a credential or a token: wiped before it is given back.
 *
 * Strings of this room that are secret are allocated and freed here and nowhere else, so that
 * no copy of them outlives its use on the heap.
 */
#ifndef AWS_SECRET_H
#define AWS_SECRET_H

#include <stddef.h>

#include "base/slice.h"

/* A copy with a NUL behind it; NULL: out of memory. */
char *secret_copy(struct slice s);
/* Wipe up to the NUL, or len bytes and the one behind them, and free.  Both take NULL. */
void secret_free(char *s);
void secret_free_bytes(char *bytes, size_t len);

/* Bytes that grow, in memory that is wiped when it moves; NUL behind them once there are any. */
struct secret_buffer {
	char *ptr;
	size_t len, size;
};

/* False: out of memory; what was there stays. */
bool secret_add(struct secret_buffer *b, const void *bytes, size_t len);
bool secret_add_string(struct secret_buffer *b, const char *s);
/* The same, with all bytes but A-Za-z0-9-._~ as %XX (RFC 3986, 2.3). */
bool secret_add_percent(struct secret_buffer *b, const char *s);
void secret_fini(struct secret_buffer *b);

#endif

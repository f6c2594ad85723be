/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is freed all at once.
 *
 * One generation of configuration lives in one arena: tree and tables are built
 * piece by piece and die together.  Nothing is freed singly.  Out of memory ends
 * the program: arenas are used at start and at reload, never on the data path.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/slice.h"

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *a);	/* takes NULL */

/* Zeroed memory aligned for pointers and 64-bit numbers; never NULL, also for size 0. */
void *arena_alloc(struct arena *a, size_t size);
/* The same for count * size, which may not overflow. */
void *arena_calloc(struct arena *a, size_t count, size_t size);
/* A copy with a NUL behind it. */
char *arena_strdup(struct arena *a, const char *s);
char *arena_copy_slice(struct arena *a, struct slice s);
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *format, va_list ap)
	__attribute__((format(printf, 2, 0)));

/* Bytes handed out so far. */
size_t arena_used(const struct arena *a);

#endif

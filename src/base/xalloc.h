/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation that ends the program where there is no memory.
 *
 * For start, reload and the commands.  On the data path use malloc and end that
 * one connection.
 */
#ifndef BASE_XALLOC_H
#define BASE_XALLOC_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xreallocarray(void *p, size_t count, size_t size);
char *xstrdup(const char *s);
_Noreturn void xalloc_fail(void);

#endif

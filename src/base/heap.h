/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What malloc() keeps of freed memory, given back to the system: malloc_trim(3), which
 * walks the whole heap, so for after a peak and not for each time.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#ifdef HAVE_MALLOC_TRIM
#include <malloc.h>
#endif

static inline void heap_trim(void)
{
#ifdef HAVE_MALLOC_TRIM
	malloc_trim(0);
#endif
}

#endif

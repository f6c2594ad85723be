/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share.  Each holds an oracle: the input is fed whole and in
 * pieces, and the outcomes must be the same.  Pieces are exact heap copies, so
 * that ASan sees a parser that reads too far.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In every build, also with NDEBUG. */
#define FUZZ_CHECK(x) ((x) ? (void)0 : abort())

static inline char *fuzz_copy(const void *data, size_t size)
{
	char *copy = malloc(size + (size == 0));

	FUZZ_CHECK(copy);
	if (size > 0)
		memcpy(copy, data, size);
	return copy;
}

/* How far the next piece reaches: small steps that follow from the input, so runs repeat. */
static inline size_t fuzz_next(const uint8_t *data, size_t size, size_t at)
{
	size_t step = at % 3 == 0 ? 1 : 1 + data[at % size] % 64;

	return step < size - at ? at + step : size;
}

#endif

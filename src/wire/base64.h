/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 as Go's encoding/json reads and writes []byte: the standard alphabet, padded;
 * \r and \n inside are passed over, any other byte is wrong (contract.md, 4).
 */
#ifndef WIRE_BASE64_H
#define WIRE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/*
 * Makes text canonical in its place: without \r and \n, spare bits of the last digit 0.
 * False where it is not base64; the text is spoilt then.
 */
bool base64_normalize(char *text, size_t len, size_t *ret_len);

/* Writes BASE64_LEN(len) bytes, and no NUL. */
void base64_encode(const char *bytes, size_t len, char *ret_text);

#endif

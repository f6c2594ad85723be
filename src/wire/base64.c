/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/base64.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

bool base64_normalize(char *text, size_t len, size_t *ret_len)
{
	size_t n = 0, padding = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\r' || text[i] == '\n')
			continue;
		if (text[i] == '=')
			padding++;
		else if (padding > 0 || value_of(text[i]) == -1)
			return false;
		text[n++] = text[i];
	}
	if (n % 4 != 0 || padding > 2)
		return false;
	/* With one "=" the last digit has two bits to spare, with two it has four. */
	if (padding > 0) {
		char *last = &text[n - padding - 1];

		*last = digits[value_of(*last) & (padding == 1 ? ~3 : ~15)];
	}
	*ret_len = n;
	return true;
}

void base64_encode(const char *bytes, size_t len, char *ret_text)
{
	const unsigned char *b = (const unsigned char *)bytes;

	for (; len > 0; b += 3, ret_text += 4) {
		unsigned n = len < 3 ? (unsigned)len : 3;
		unsigned v = (unsigned)b[0] << 16 | (n > 1 ? (unsigned)b[1] << 8 : 0) | (n > 2 ? b[2] : 0);

		ret_text[0] = digits[v >> 18];
		ret_text[1] = digits[v >> 12 & 63];
		ret_text[2] = n > 1 ? digits[v >> 6 & 63] : '=';
		ret_text[3] = n > 2 ? digits[v & 63] : '=';
		len -= n;
	}
}

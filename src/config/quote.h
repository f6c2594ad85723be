/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A value as a word of the language: what --dump, --import and rule texts write.
 */
#ifndef CONFIG_QUOTE_H
#define CONFIG_QUOTE_H

#include <stdbool.h>

struct buffer;

/*
 * Bare where it can be and always is not asked for; else in single quotes, or in
 * double ones where it holds a quote or a newline.
 */
void quote_word(struct buffer *out, const char *value, bool always);

/* A word that means something where a name could stand, so as a name it is quoted. */
bool quote_is_reserved(const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "config/quote.h"

#include <string.h>

#include "base/buffer.h"

static bool is_bare(const char *s)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "_.-:/*@%+=[]";

	return *s && s[strspn(s, safe)] == '\0';
}

void quote_word(struct buffer *out, const char *value, bool always)
{
	if (!always && is_bare(value)) {
		buffer_add_string(out, value);
		return;
	}
	if (!value[strcspn(value, "'\n\r")]) {
		buffer_printf(out, "'%s'", value);
		return;
	}
	buffer_add_char(out, '"');
	for (; *value; value++) {
		if (*value == '\n') {
			buffer_add_string(out, "\\n");
			continue;
		}
		if (strchr("\"\\$", *value))
			buffer_add_char(out, '\\');
		buffer_add_char(out, *value);
	}
	buffer_add_char(out, '"');
}

bool quote_is_reserved(const char *name)
{
	static const char *const words[] = { "any",	"cid",	  "none",   "default", "backend", "direct",
					     "via",	"key",	  "reject", "drop",    "redirect", "text",
					     "file",	"cloudwatch", "pages" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i], name) == 0)
			return true;
	}
	return false;
}

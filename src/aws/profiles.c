/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/profiles.h"

#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct slice trim(struct slice s)
{
	while (s.len && is_blank(*s.ptr))
		s.ptr++, s.len--;
	while (s.len && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* Takes a line off the front; false at the end. */
static bool next_line(struct slice *text, struct slice *ret)
{
	const char *end;

	if (text->len == 0)
		return false;
	end = memchr(text->ptr, '\n', text->len);
	*ret = slice_of(text->ptr, end ? (size_t)(end - text->ptr) : text->len);
	text->ptr += ret->len + (end ? 1 : 0);
	text->len -= ret->len + (end ? 1 : 0);
	return true;
}

/* "[profile x]" is profile x of the config file, "[x]" of the credentials file; [default] of both. */
static bool is_section_of(struct slice line, struct slice profile, bool is_config)
{
	const char *close = memchr(line.ptr, ']', line.len);
	struct slice name;

	if (!close)
		return false;
	name = trim(slice_of(line.ptr + 1, (size_t)(close - line.ptr) - 1));
	if (is_config && name.len > 7 && slice_starts_with(name, SLICE_LITERAL("profile")) &&
	    is_blank(name.ptr[7]))
		name = trim(slice_of(name.ptr + 7, name.len - 7));
	else if (is_config && !slice_equal(name, SLICE_LITERAL("default")))
		return false;
	return slice_equal(name, profile);
}

static struct slice value_of(struct slice s)
{
	for (size_t i = 1; i < s.len; i++) {
		if ((s.ptr[i] == '#' || s.ptr[i] == ';') && is_blank(s.ptr[i - 1]))
			s.len = i;
	}
	return trim(s);
}

/*
 * Looks through one file: key NULL asks for the section alone.  A section or setting that is
 * there again adds up, the last value counts.
 */
static bool look(struct slice text, bool is_config, struct slice profile, const char *key,
		 struct slice *ret)
{
	bool here = false, found = false;
	struct slice line;

	while (next_line(&text, &line)) {
		const char *equals;

		if (line.len && *line.ptr == '[') {
			here = is_section_of(line, profile, is_config);
			found = found || (here && !key);
			continue;
		}
		if (!here || !key || line.len == 0 || is_blank(*line.ptr) || *line.ptr == '#' ||
		    *line.ptr == ';')
			continue;
		equals = memchr(line.ptr, '=', line.len);
		if (!equals ||
		    !slice_equal_nocase(trim(slice_of(line.ptr, (size_t)(equals - line.ptr))),
					slice_of_string(key)))
			continue;
		*ret = value_of(slice_of(equals + 1, line.len - (size_t)(equals + 1 - line.ptr)));
		found = ret->len > 0;
	}
	return found;
}

bool profiles_have(const struct profiles *p, struct slice profile)
{
	struct slice ignored;

	return look(p->credentials, false, profile, NULL, &ignored) ||
	       look(p->config, true, profile, NULL, &ignored);
}

bool profiles_get(const struct profiles *p, struct slice profile, const char *key, struct slice *ret)
{
	return look(p->credentials, false, profile, key, ret) || look(p->config, true, profile, key, ret);
}

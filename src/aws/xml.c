/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/xml.h"

#include <string.h>

struct reader {
	const char *at, *end;
	char path[XML_PATH_MAX];	/* "A/B/C" */
	size_t path_len;
	unsigned depth;
	struct xml_field *fields;
	size_t n;
	struct xml_field *open;		/* the field whose text is being read, or NULL */
	size_t open_len;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_name(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '.' || c == ':';
}

static void skip_blanks(struct reader *r)
{
	while (r->at < r->end && is_blank(*r->at))
		r->at++;
}

static bool take(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
		return false;
	r->at += n;
	return true;
}

static struct slice take_name(struct reader *r)
{
	const char *begin = r->at;

	while (r->at < r->end && is_name(*r->at))
		r->at++;
	return slice_of(begin, (size_t)(r->at - begin));
}

/* --- text --- */

static bool put(struct reader *r, char c)
{
	if (!r->open)
		return true;
	if (c == '\0' || r->open_len + 1 >= r->open->size || r->open_len >= XML_TEXT_MAX)
		return false;
	r->open->value[r->open_len++] = c;
	return true;
}

/* &#13; and &#x41;, below 128. */
static bool read_number(struct reader *r, char *ret)
{
	unsigned base = 10, value = 0, digits = 0;

	if (take(r, "x"))
		base = 16;
	for (; r->at < r->end && *r->at != ';'; r->at++, digits++) {
		char c = ascii_lower(*r->at);
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
							: 16;

		if (digit >= base)
			return false;
		value = value * base + digit;
		if (value > 127)
			return false;
	}
	*ret = (char)value;
	return digits > 0 && take(r, ";");
}

static bool read_entity(struct reader *r)
{
	static const struct {
		const char *name;
		char value;
	} named[] = { { "amp;", '&' }, { "lt;", '<' }, { "gt;", '>' },
		      { "quot;", '"' }, { "apos;", '\'' } };
	char c;

	if (take(r, "#"))
		return read_number(r, &c) && put(r, c);
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		if (take(r, named[i].name))
			return put(r, named[i].value);
	}
	return false;
}

static bool read_text(struct reader *r)
{
	while (r->at < r->end && *r->at != '<') {
		char c = *r->at++;

		/* Outside of the root there may be blanks only. */
		if (r->depth == 0 && !is_blank(c))
			return false;
		if (!(c == '&' ? read_entity(r) : put(r, c)))
			return false;
	}
	return true;
}

/* --- elements --- */

/* Behind the name: name="value" as often as there are, then > or />. */
static bool read_attributes(struct reader *r, bool *ret_empty)
{
	for (;;) {
		bool blank = r->at < r->end && is_blank(*r->at);
		const char *close;
		char quote;

		skip_blanks(r);
		*ret_empty = take(r, "/>");
		if (*ret_empty || take(r, ">"))
			return true;
		if (!blank || take_name(r).len == 0)
			return false;
		skip_blanks(r);
		if (!take(r, "="))
			return false;
		skip_blanks(r);
		if (r->at == r->end || (*r->at != '"' && *r->at != '\''))
			return false;
		quote = *r->at++;
		close = memchr(r->at, quote, (size_t)(r->end - r->at));
		if (!close || memchr(r->at, '<', (size_t)(close - r->at)))
			return false;
		r->at = close + 1;
	}
}

static struct xml_field *field_at(struct reader *r)
{
	for (size_t i = 0; i < r->n; i++) {
		if (strlen(r->fields[i].path) == r->path_len &&
		    memcmp(r->fields[i].path, r->path, r->path_len) == 0)
			return &r->fields[i];
	}
	return NULL;
}

static bool enter(struct reader *r, struct slice name)
{
	struct xml_field *field;

	if (name.len == 0 || r->depth == XML_DEPTH_MAX ||
	    r->path_len + 1 + name.len > sizeof(r->path) || r->open)
		return false;
	if (r->depth++)
		r->path[r->path_len++] = '/';
	memcpy(r->path + r->path_len, name.ptr, name.len);
	r->path_len += name.len;
	field = field_at(r);
	if (!field)
		return true;
	if (field->found)
		return false;
	r->open = field;
	r->open_len = 0;
	return true;
}

static void leave(struct reader *r)
{
	while (r->path_len > 0 && r->path[r->path_len - 1] != '/')
		r->path_len--;
	if (r->path_len > 0)
		r->path_len--;
	r->depth--;
	if (r->open) {
		r->open->value[r->open_len] = '\0';
		r->open->found = true;
		r->open = NULL;
	}
}

static bool read_end_tag(struct reader *r)
{
	struct slice name = take_name(r), path = slice_of(r->path, r->path_len);

	skip_blanks(r);
	if (name.len == 0 || r->depth == 0 || !take(r, ">") || !slice_ends_with(path, name) ||
	    (path.len > name.len && path.ptr[path.len - name.len - 1] != '/'))
		return false;
	leave(r);
	return true;
}

static bool read_start_tag(struct reader *r)
{
	struct slice name = take_name(r);
	bool empty;

	if (!read_attributes(r, &empty) || !enter(r, name))
		return false;
	if (empty)
		leave(r);
	return true;
}

static bool skip_declaration(struct reader *r)
{
	skip_blanks(r);
	if (!take(r, "<?xml"))
		return true;
	while (r->at < r->end && *r->at != '>')
		r->at++;
	return r->at < r->end && r->at[-1] == '?' && take(r, ">");
}

bool xml_read(struct slice text, struct xml_field *fields, size_t n)
{
	struct reader r = { .at = text.ptr, .end = text.ptr + text.len, .fields = fields, .n = n };
	bool rooted = false;

	for (size_t i = 0; i < n; i++)
		fields[i].found = false;
	if (!skip_declaration(&r))
		return false;
	for (;;) {
		if (!read_text(&r))
			return false;
		if (r.at == r.end)
			return rooted && r.depth == 0;
		r.at++; /* the < at which the text ended */
		if (take(&r, "/")) {
			if (!read_end_tag(&r))
				return false;
			continue;
		}
		/* One root, and nothing behind it. */
		if ((r.depth == 0 && rooted) || !read_start_tag(&r))
			return false;
		rooted = true;
	}
}

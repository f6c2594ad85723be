/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two passes over one buffer: escapes are decoded first, and then segments are
 * moved down over what dots and slashes leave out.  A path that needs neither, as most, is
 * left where it is.
 */
#include <config.h>

#include "route/path.h"

#include <string.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Returns the decoded length, 0 for a bad escape. */
static size_t decode(struct slice target, char *buf)
{
	size_t len = 0;

	for (size_t i = 0; i < target.len && target.ptr[i] != '?'; i++) {
		char c = target.ptr[i];

		if (c == '%') {
			int high = i + 2 < target.len ? hex_value(target.ptr[i + 1]) : -1;
			int low = i + 2 < target.len ? hex_value(target.ptr[i + 2]) : -1;

			if (high < 0 || low < 0 || high + low == 0)
				return 0;
			c = (char)(high << 4 | low);
			i += 2;
		}
		buf[len++] = c;
	}
	return len;
}

/* The length without its last segment, the slash before that kept. */
static size_t parent(const char *buf, size_t len)
{
	if (len > 1)
		len--;
	while (len > 1 && buf[len - 1] != '/')
		len--;
	return len;
}

/* What stands at i, behind a slash, is "." or ".." and no longer name. */
static bool is_dots(struct slice target, size_t i)
{
	for (int dots = 0; dots < 2 && i < target.len && target.ptr[i] == '.'; dots++)
		i++;
	return i == target.len || target.ptr[i] == '/' || target.ptr[i] == '?';
}

/*
 * The length up to the query where nothing is to be done: no escapes, no slash before
 * another, no segment of dots.  0: look closer.
 */
static size_t already_normal(struct slice target)
{
	size_t i;

	for (i = 0; i < target.len && target.ptr[i] != '?'; i++) {
		const char c = target.ptr[i];

		if (c == '%' || (c == '/' && i + 1 < target.len &&
				 (target.ptr[i + 1] == '/' || (target.ptr[i + 1] == '.' && is_dots(target, i + 1)))))
			return 0;
	}
	return i;
}

bool route_path_normalize(struct slice target, char *buf, struct slice *ret_path)
{
	size_t len, out = 1;

	if (target.len == 0 || target.ptr[0] != '/')
		return false;
	len = already_normal(target);
	if (len > 0) {
		*ret_path = slice_of(target.ptr, len);
		return true;
	}
	len = decode(target, buf);
	if (len == 0)
		return false;
	/* Invariant: buf[0..out) is normal and ends in a slash. */
	for (size_t i = 1; i < len;) {
		const char *slash = memchr(buf + i, '/', len - i);
		size_t end = slash ? (size_t)(slash - buf) : len, n = end - i;
		struct slice segment = slice_of(buf + i, n);

		i = end + 1;
		if (n == 0 || slice_equal(segment, SLICE_LITERAL(".")))
			continue;
		if (slice_equal(segment, SLICE_LITERAL(".."))) {
			out = parent(buf, out);
			continue;
		}
		memmove(buf + out, segment.ptr, n);
		out += n;
		if (!slash)
			break;
		buf[out++] = '/';
	}
	*ret_path = slice_of(buf, out);
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/host_name.h"

struct hosts_line {
	struct slice name;
	struct ip_addr address;
	size_t order;
};

/* Sorted by name, so that the addresses of one name lie side by side. */
struct hosts {
	char *text;
	size_t n;
	struct slice *names;
	struct ip_addr *addresses;
};

/* What is being read. */
struct lines {
	struct hosts_line *at;
	size_t n, size;
};

static int read_file(const char *path, char **ret_text, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r = 0;
	struct stat st;
	char *text = NULL;
	size_t len = 0, size;

	*ret_text = NULL;
	*ret_len = 0;
	if (fd == -1)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) == -1)
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = -EINVAL;
	else if (st.st_size > HOSTS_FILE_MAX)
		r = -EFBIG;
	size = r == 0 ? (size_t)st.st_size : 0;
	if (size && !(text = malloc(size)))
		r = -ENOMEM;
	while (r == 0 && len < size) {
		ssize_t n = read(fd, text + len, size - len);

		if (n == 0)
			break;
		if (n > 0)
			len += (size_t)n;
		else if (errno != EINTR)
			r = -errno;
	}
	close(fd);
	if (r < 0) {
		free(text);
		return r;
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
}

static struct slice next_word(char **at, const char *end)
{
	char *start = *at, *p;

	while (start < end && (*start == ' ' || *start == '\t' || *start == '\r'))
		start++;
	p = start;
	while (p < end && *p != ' ' && *p != '\t' && *p != '\r')
		p++;
	*at = p;
	return slice_of(start, (size_t)(p - start));
}

static bool lines_add(struct lines *l, struct slice name, const struct ip_addr *address)
{
	if (l->n == l->size) {
		size_t size = l->size ? l->size * 2 : 64;
		struct hosts_line *at = reallocarray(l->at, size, sizeof(*at));

		if (!at)
			return false;
		l->at = at;
		l->size = size;
	}
	l->at[l->n] = (struct hosts_line){ name, *address, l->n };
	l->n++;
	return true;
}

/* Names are folded where they stand, which never makes them longer. */
static bool read_line(struct lines *l, char *at, const char *end)
{
	struct slice word = next_word(&at, end);
	char folded[HOST_NAME_SIZE];
	struct ip_addr address;

	if (!ip_parse(word, &address))
		return true;
	while ((word = next_word(&at, end)).len > 0) {
		char *name = at - word.len;
		size_t len = host_name_fold(word, folded);

		if (len == 0)
			continue;
		memcpy(name, folded, len);
		if (!lines_add(l, slice_of(name, len), &address))
			return false;
	}
	return true;
}

static int compare_names(struct slice a, struct slice b)
{
	int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_lines(const void *a, const void *b)
{
	const struct hosts_line *x = a, *y = b;
	int order = compare_names(x->name, y->name);

	return order ? order : (x->order > y->order) - (x->order < y->order);
}

static bool take_lines(struct hosts *h, struct lines *l)
{
	if (l->n == 0)
		return true;
	h->names = malloc(l->n * sizeof(*h->names));
	h->addresses = malloc(l->n * sizeof(*h->addresses));
	if (!h->names || !h->addresses)
		return false;
	qsort(l->at, l->n, sizeof(*l->at), compare_lines);
	h->n = l->n;
	for (size_t i = 0; i < h->n; i++) {
		h->names[i] = l->at[i].name;
		h->addresses[i] = l->at[i].address;
	}
	return true;
}

int hosts_read(const char *path, struct hosts **ret)
{
	struct hosts *h = calloc(1, sizeof(*h));
	struct lines l = { 0 };
	size_t len = 0;
	int r = h ? read_file(path, &h->text, &len) : -ENOMEM;

	for (char *at = h ? h->text : NULL, *end = at ? at + len : NULL; r == 0 && at < end;) {
		char *newline = memchr(at, '\n', (size_t)(end - at));
		char *line_end = newline ? newline : end;
		char *comment = memchr(at, '#', (size_t)(line_end - at));

		if (!read_line(&l, at, comment ? comment : line_end))
			r = -ENOMEM;
		at = newline ? newline + 1 : end;
	}
	if (r == 0 && !take_lines(h, &l))
		r = -ENOMEM;
	free(l.at);
	if (r < 0) {
		hosts_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void hosts_free(struct hosts *h)
{
	if (!h)
		return;
	free(h->text);
	free(h->names);
	free(h->addresses);
	free(h);
}

size_t hosts_find(const struct hosts *h, struct slice name, const struct ip_addr **ret_addresses)
{
	size_t low = 0, high = h->n, n = 0;

	/* The first that is not before it. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_names(h->names[middle], name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + n < h->n && slice_equal(h->names[low + n], name))
		n++;
	if (n)
		*ret_addresses = &h->addresses[low];
	return n;
}

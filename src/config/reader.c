/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of the real machine: the one file of this room that knows a disk.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "config/load.h"

static int read_all(int fd, char **ret, size_t *ret_len)
{
	size_t size = 65536, len = 0;
	char *text = xmalloc(size);

	for (;;) {
		ssize_t n = read(fd, text + len, size - len - 1);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 || len + (size_t)n > CONFIG_FILE_MAX) {
			int error = n == -1 ? errno : EFBIG;

			free(text);
			return -error;
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (size - len < 2)
			text = xreallocarray(text, size *= 2, 1);
	}
	text[len] = '\0';
	*ret = text;
	*ret_len = len;
	return 0;
}

static int system_read_file(void *data, const char *path, char **ret, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	(void)data;
	if (fd == -1)
		return -errno;
	r = read_all(fd, ret, ret_len);
	close(fd);
	return r;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int system_glob(void *data, const char *pattern, char ***ret, size_t *ret_n)
{
	glob_t g;
	int r = glob(pattern, GLOB_NOSORT, NULL, &g);

	(void)data;
	*ret = NULL;
	*ret_n = 0;
	if (r == GLOB_NOMATCH)
		return 0;
	if (r != 0)
		return r == GLOB_NOSPACE ? -ENOMEM : -EIO;
	*ret = xcalloc(g.gl_pathc, sizeof(**ret));
	for (size_t i = 0; i < g.gl_pathc; i++)
		(*ret)[i] = xstrdup(g.gl_pathv[i]);
	*ret_n = g.gl_pathc;
	qsort(*ret, *ret_n, sizeof(**ret), by_bytes);
	globfree(&g);
	return 0;
}

static const char *system_getenv(void *data, const char *name)
{
	(void)data;
	return getenv(name);
}

const struct config_reader config_reader_system = { NULL, system_read_file, system_glob, system_getenv };

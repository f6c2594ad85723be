/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "aws/secret.h"

static const char *machine_getenv(void *data, const char *name)
{
	(void)data;
	return getenv(name);
}

static int read_all(int fd, size_t max, struct secret_buffer *b)
{
	struct stat st;
	int error = 0;

	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))
		return EINVAL;
	for (;;) {
		char piece[4096];
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			error = errno;
		else if ((size_t)n > max - b->len)
			error = EFBIG;
		else if (!secret_add(b, piece, (size_t)n))
			error = ENOMEM;
		explicit_bzero(piece, sizeof(piece));
		if (error || n == 0)
			return error;
	}
}

static int machine_read_file(void *data, const char *path, size_t max, char **ret, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), error;
	struct secret_buffer b = { 0 };

	(void)data;
	if (fd == -1)
		return -errno;
	error = read_all(fd, max, &b);
	close(fd);
	if (error) {
		secret_fini(&b);
		return -error;
	}
	*ret = b.ptr;
	*ret_len = b.len;
	return 0;
}

const struct plan_reader machine_reader = { NULL, machine_getenv, machine_read_file };

int64_t machine_now_s(void)
{
	return (int64_t)time(NULL);
}

uint32_t machine_random(void)
{
	uint32_t value;

	/* Early in a boot there may be none: a fixed wait is no worse than that. */
	return getrandom(&value, sizeof(value), GRND_NONBLOCK) == sizeof(value) ? value : UINT32_MAX / 2;
}

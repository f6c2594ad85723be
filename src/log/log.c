/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = { "error", "warning", "notice", "info", "debug" };

static struct {
	int fd;			/* -1: nowhere */
	const char *path;	/* of a file, for reopening; borrowed */
	enum config_log_format format;
	_Atomic int level;
	_Atomic uint64_t dropped;
} log_state = { .fd = STDERR_FILENO, .level = LEVEL_INFO };

static int open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

	return fd == -1 ? -errno : fd;
}

int log_open(const struct config_log *config)
{
	int fd = STDERR_FILENO;

	switch (config->sink) {
	case LOG_TO_STDERR:
		break;
	case LOG_TO_NONE:
		fd = -1;
		break;
	case LOG_TO_FILE:
		fd = open_file(config->path);
		if (fd < 0)
			return fd;
		break;
	case LOG_TO_SYSLOG:
	case LOG_TO_JOURNAL:
		return -ENOTSUP;
	}
	if (log_state.fd > STDERR_FILENO)
		close(log_state.fd);
	log_state.fd = fd;
	log_state.path = config->sink == LOG_TO_FILE ? config->path : NULL;
	log_state.format = config->format;
	log_state.level = config->level;
	return 0;
}

int log_descriptor(void)
{
	return log_state.fd;
}

int log_replace(int fd)
{
	/* What is under way on other threads ends up in the one or the other. */
	if (log_state.fd == -1)
		return -EBADF;
	return dup3(fd, log_state.fd, O_CLOEXEC) == -1 ? -errno : 0;
}

int log_reopen(void)
{
	int fd, r;

	if (!log_state.path)
		return 0;
	fd = open_file(log_state.path);
	if (fd < 0)
		return fd;
	r = log_replace(fd);
	close(fd);
	return r;
}

void log_set_level(enum config_log_level level)
{
	log_state.level = level;
}

bool log_wants(enum config_log_level level)
{
	return log_state.fd != -1 && (int)level <= log_state.level;
}

bool log_parse_level(const char *word, enum config_log_level *ret)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(level_names[i], word) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

/* Room is kept for the end of the line: "..." and what closes it. */
static void put(struct log_line *l, const char *bytes, size_t len)
{
	size_t room = LOG_LINE_MAX - 8 - l->len;

	if (len > room)
		len = room;
	memcpy(l->text + l->len, bytes, len);
	l->len += len;
}

static void put_string(struct log_line *l, const char *s)
{
	put(l, s, strlen(s));
}

static void put_escaped(struct log_line *l, struct slice value)
{
	char hex[8];

	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.ptr[i];

		if (c == '"' || c == '\\') {
			put(l, "\\", 1);
			put(l, value.ptr + i, 1);
		} else if (c < ' ' || c >= 0x7f) {
			snprintf(hex, sizeof(hex), "\\u%04x", c);
			put(l, hex, 6);
		} else {
			put(l, value.ptr + i, 1);
		}
	}
}

/* logfmt quotes what has blanks, quotes, "=" or bytes that are not printable. */
static bool needs_quotes(struct slice value)
{
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.ptr[i];

		if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
			return true;
	}
	return value.len == 0;
}

void log_field(struct log_line *l, const char *key, struct slice value)
{
	bool json = log_state.format == FORMAT_JSON, quotes = json || needs_quotes(value);

	put_string(l, json ? ",\"" : " ");
	put_string(l, key);
	put_string(l, json ? "\":" : "=");
	if (quotes)
		put(l, "\"", 1);
	put_escaped(l, value);
	if (quotes)
		put(l, "\"", 1);
}

void log_field_string(struct log_line *l, const char *key, const char *value)
{
	log_field(l, key, slice_of_string(value));
}

void log_field_number(struct log_line *l, const char *key, uint64_t value)
{
	char text[64];

	snprintf(text, sizeof(text), log_state.format == FORMAT_JSON ? ",\"%s\":%" PRIu64 : " %s=%" PRIu64, key,
		 value);
	put_string(l, text);
}

void log_begin(struct log_line *l, enum config_log_level level, const char *message)
{
	struct timespec now;
	struct tm tm;
	char stamp[64], text[96];
	struct slice m = slice_of_string(message);

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03ldZ", stamp, now.tv_nsec / 1000000);
	l->len = 0;
	switch (log_state.format) {
	case FORMAT_LOGFMT:
		put_string(l, "time=");
		put_string(l, text);
		log_field_string(l, "level", level_names[level]);
		log_field(l, "msg", m);
		break;
	case FORMAT_JSON:
		put_string(l, "{\"time\":\"");
		put_string(l, text);
		put_string(l, "\"");
		log_field_string(l, "level", level_names[level]);
		log_field(l, "msg", m);
		break;
	case FORMAT_TEXT:
		put_string(l, text);
		put_string(l, " ");
		put_string(l, level_names[level]);
		put_string(l, ": ");
		put_escaped(l, m);
		break;
	}
}

static void finish(struct log_line *l)
{
	/* put() leaves room for this. */
	if (log_state.format == FORMAT_JSON)
		l->text[l->len++] = '}';
	l->text[l->len++] = '\n';
}

/* One write for whole lines; what a full pipe or disk does not take is dropped and counted. */
static void write_out(const char *bytes, size_t len)
{
	ssize_t n;

	if (log_state.fd == -1)
		return;
	do
		n = write(log_state.fd, bytes, len);
	while (n == -1 && errno == EINTR);
	if (n != (ssize_t)len)
		log_state.dropped++;
}

void log_end(struct log_line *l)
{
	uint64_t dropped = atomic_exchange(&log_state.dropped, 0);

	finish(l);
	write_out(l->text, l->len);
	if (dropped) {
		log_begin(l, LEVEL_WARNING, "log lines were dropped: the sink did not take them");
		log_field_number(l, "writes", dropped);
		finish(l);
		write_out(l->text, l->len);
	}
}

void log_end_batched(struct log_line *l, struct log_batch *b)
{
	finish(l);
	if (b->len + l->len > sizeof(b->text))
		log_flush(b);
	memcpy(b->text + b->len, l->text, l->len);
	b->len += l->len;
}

void log_flush(struct log_batch *b)
{
	if (b->len)
		write_out(b->text, b->len);
	b->len = 0;
}

void log_message(enum config_log_level level, const char *format, ...)
{
	struct log_line l;
	char text[1024];
	va_list ap;

	if (!log_wants(level))
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	log_begin(&l, level, text);
	log_end(&l);
}

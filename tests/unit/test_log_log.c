/* SPDX-License-Identifier: Apache-2.0 */
/* Lines are whole, and no value can end one or begin another. */
#include <config.h>

#include "log/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static void open_to_file(enum config_log_format format)
{
	struct config_log c = { .sink = LOG_TO_FILE, .path = path, .level = LEVEL_INFO, .format = format };

	unlink(path);
	assert_int_equal(log_open(&c), 0);
}

/* All that the file has; static. */
static const char *contents(void)
{
	static char text[1 << 20];
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static const char evil[] = "a\" level=error\n\r\x1b[31m\\ msg=\xff";

static void a_name_cannot_inject_a_field_or_a_line_into_logfmt(void **state)
{
	struct log_line l;

	(void)state;
	open_to_file(FORMAT_LOGFMT);
	log_begin(&l, LEVEL_INFO, "connection");
	log_field(&l, "name", slice_of(evil, sizeof(evil))); /* with its NUL */
	log_field_number(&l, "bytes", UINT64_MAX);
	log_end(&l);
	assert_non_null(strstr(contents(), " level=info msg=connection name=\"a\\\" level=error\\u000a\\u000d\\u001b[31m"
					   "\\\\ msg=\\u00ff\\u0000\" bytes=18446744073709551615\n"));
	assert_ptr_equal(strchr(contents(), '\n'), contents() + strlen(contents()) - 1);
}

static void a_name_cannot_inject_into_json(void **state)
{
	struct log_line l;

	(void)state;
	open_to_file(FORMAT_JSON);
	log_begin(&l, LEVEL_WARNING, "connection");
	log_field(&l, "name", slice_of(evil, sizeof(evil) - 1));
	log_end(&l);
	assert_non_null(strstr(contents(), "\"name\":\"a\\\" level=error\\u000a\\u000d\\u001b[31m\\\\ msg=\\u00ff\"}\n"));
	assert_int_equal(contents()[0], '{');
}

static void a_line_too_long_is_cut_and_still_ends(void **state)
{
	static char big[3 * LOG_LINE_MAX];
	struct log_line l;

	(void)state;
	memset(big, 'x', sizeof(big));
	open_to_file(FORMAT_LOGFMT);
	log_begin(&l, LEVEL_INFO, "m");
	log_field(&l, "name", slice_of(big, sizeof(big)));
	log_end(&l);
	assert_true(strlen(contents()) <= LOG_LINE_MAX);
	assert_int_equal(contents()[strlen(contents()) - 1], '\n');
}

static void a_level_below_the_one_that_is_set_is_silent(void **state)
{
	(void)state;
	open_to_file(FORMAT_TEXT);
	log_debug("unseen");
	assert_string_equal(contents(), "");
	log_set_level(LEVEL_DEBUG);
	log_debug("seen");
	assert_non_null(strstr(contents(), " debug: seen\n"));
}

static void lines_that_a_full_sink_does_not_take_are_counted(void **state)
{
	int ends[2], full = 0;
	char buf[65536];
	ssize_t n;

	(void)state;
	open_to_file(FORMAT_LOGFMT);
	assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	memset(buf, '.', sizeof(buf));
	while (write(ends[1], buf, sizeof(buf)) > 0)
		full++;
	assert_true(full > 0);
	assert_int_equal(log_replace(ends[1]), 0);
	log_info("lost");
	while (read(ends[0], buf, sizeof(buf)) > 0)
		;
	log_info("after");
	n = read(ends[0], buf, sizeof(buf) - 1);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_null(strstr(buf, "lost"));
	assert_non_null(strstr(buf, "msg=after\n"));
	assert_non_null(strstr(buf, "dropped"));
	assert_non_null(strstr(buf, " writes=1\n"));
	close(ends[0]);
	close(ends[1]);
}

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *arg)
{
	struct log_batch *b = calloc(1, sizeof(*b));
	struct log_line l;

	for (unsigned i = 0; i < LINES && b; i++) {
		log_begin(&l, LEVEL_INFO, "line");
		log_field_string(&l, "thread", arg);
		log_end_batched(&l, b);
		if (i % 7 == 0)
			log_flush(b);
		if (i % 100 == 0)
			log_info("single");
	}
	if (b)
		log_flush(b);
	free(b);
	return NULL;
}

static void threads_write_whole_lines_while_the_file_is_reopened(void **state)
{
	static char name[] = "t";
	pthread_t threads[THREADS];
	const char *p;
	unsigned n = 0;

	(void)state;
	open_to_file(FORMAT_LOGFMT);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, name), 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(log_reopen(), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (p = contents(); *p; p = strchr(p, '\n') + 1) {
		const char *end = strchr(p, '\n');

		assert_non_null(end);
		assert_memory_equal(p, "time=", 5);
		assert_null(memmem(p + 5, (size_t)(end - p - 5), "time=", 5));
		n++;
	}
	assert_int_equal(n, THREADS * (LINES + LINES / 100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_cannot_inject_a_field_or_a_line_into_logfmt),
		cmocka_unit_test(a_name_cannot_inject_into_json),
		cmocka_unit_test(a_line_too_long_is_cut_and_still_ends),
		cmocka_unit_test(a_level_below_the_one_that_is_set_is_silent),
		cmocka_unit_test(lines_that_a_full_sink_does_not_take_are_counted),
		cmocka_unit_test(threads_write_whole_lines_while_the_file_is_reopened),
	};
	int r;

	snprintf(path, sizeof(path), "/tmp/teeproxy-test-log-%d", (int)getpid());
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "route/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_path(const char *target, const char *want)
{
	/* Of the exact size, so that a sanitizer sees one byte too many. */
	size_t len = strlen(target);
	char *copy = malloc(len + 1), *buf = malloc(len + 1);
	struct slice path = { NULL, 0 };
	bool ok;

	assert_non_null(copy);
	assert_non_null(buf);
	memcpy(copy, target, len);
	ok = route_path_normalize(slice_of(copy, len), buf, &path);
	assert_int_equal(ok, want != NULL);
	if (want) {
		assert_int_equal(path.len, strlen(want));
		assert_memory_equal(path.ptr, want, path.len);
	}
	free(copy);
	free(buf);
}

static void a_plain_path_stays(void **state)
{
	(void)state;
	assert_path("/", "/");
	assert_path("/a", "/a");
	assert_path("/a/", "/a/");
	assert_path("/.well-known/acme-challenge/x", "/.well-known/acme-challenge/x");
	assert_path("/a...b/..c", "/a...b/..c");
	assert_path("/.../..a/.b", "/.../..a/.b");
}

static void a_query_is_no_part_of_it(void **state)
{
	(void)state;
	assert_path("/a?b=/../c", "/a");
	assert_path("/?%zz", "/");
	assert_path("/a%3fb?c", "/a?b");
}

static void escapes_are_decoded_once(void **state)
{
	(void)state;
	assert_path("/%61dmin", "/admin");
	assert_path("/%41%2D", "/A-");
	assert_path("/a%2fb", "/a/b");
	assert_path("/%2561", "/%61");
	assert_path("/%c3%a9", "/\xc3\xa9");
}

static void dot_segments_are_removed(void **state)
{
	(void)state;
	assert_path("/a/b/c/./../../g", "/a/g");
	assert_path("/..", "/");
	assert_path("/../a", "/a");
	assert_path("/a/..", "/");
	assert_path("/a/../", "/");
	assert_path("/a/.", "/a/");
	assert_path("/a/b/..", "/a/");
	assert_path("/x/%2e%2e/admin", "/admin");
	assert_path("/x%2f..%2Fadmin", "/admin");
}

static void runs_of_slashes_are_one(void **state)
{
	(void)state;
	assert_path("//a", "/a");
	assert_path("/a//b///", "/a/b/");
	assert_path("/a//../b", "/b");
	assert_path("///", "/");
}

static void bad_escapes_and_other_forms_are_refused(void **state)
{
	(void)state;
	assert_path("/%", NULL);
	assert_path("/%4", NULL);
	assert_path("/%4g", NULL);
	assert_path("/%g4", NULL);
	assert_path("/%00", NULL);
	assert_path("/a%?41", NULL);
	assert_path("", NULL);
	assert_path("*", NULL);
	assert_path("a/b", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_path_stays),
		cmocka_unit_test(a_query_is_no_part_of_it),
		cmocka_unit_test(escapes_are_decoded_once),
		cmocka_unit_test(dot_segments_are_removed),
		cmocka_unit_test(runs_of_slashes_are_one),
		cmocka_unit_test(bad_escapes_and_other_forms_are_refused),
	};

	return cmocka_run_group_tests_name("route/path", tests, NULL, NULL);
}

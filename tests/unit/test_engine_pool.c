/* SPDX-License-Identifier: Apache-2.0 */
/* Slabs: objects do not overlap, and the memory of a peak goes back. */
#include <config.h>

#include "engine/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 500, MANY = 5000 };

static void objects_keep_what_is_written_into_them(void **state)
{
	static unsigned char *objects[MANY];
	struct pool p;

	(void)state;
	pool_init(&p, SIZE);
	for (unsigned i = 0; i < MANY; i++) {
		objects[i] = pool_get(&p);
		assert_non_null(objects[i]);
		assert_int_equal((uintptr_t)objects[i] % 64, 0);
		memset(objects[i], (int)(i % 251), SIZE);
	}
	for (unsigned i = 0; i < MANY; i++) {
		for (unsigned k = 0; k < SIZE; k++)
			assert_int_equal(objects[i][k], i % 251);
	}
	for (unsigned i = 0; i < MANY; i++)
		pool_put(&p, objects[i]);
	pool_fini(&p);
}

static size_t slabs(const struct pool *p)
{
	size_t n = 0;

	for (const struct list *l = p->partial.next; l != &p->partial; l = l->next)
		n++;
	for (const struct list *l = p->full.next; l != &p->full; l = l->next)
		n++;
	return n;
}

static void one_empty_slab_is_all_that_stays_of_a_peak(void **state)
{
	static void *objects[MANY];
	struct pool p;

	(void)state;
	pool_init(&p, SIZE);
	for (unsigned i = 0; i < MANY; i++)
		objects[i] = pool_get(&p);
	assert_true(slabs(&p) > 10);
	/* Every second one first, so that each slab is partial for a while. */
	for (unsigned i = 0; i < MANY; i += 2)
		pool_put(&p, objects[i]);
	for (unsigned i = 1; i < MANY; i += 2)
		pool_put(&p, objects[i]);
	assert_int_equal(slabs(&p), 1);
	assert_int_equal(p.n_empty, 1);
	pool_fini(&p);
}

static void getting_and_putting_in_random_order_loses_nothing(void **state)
{
	static unsigned *objects[512];
	struct pool p;
	uint32_t random = 1;

	(void)state;
	pool_init(&p, 200);
	for (unsigned i = 0; i < 200000; i++) {
		random = random * 1664525 + 1013904223;
		unsigned at = (random >> 8) % 512;

		if (objects[at]) {
			assert_int_equal(objects[at][0], at);
			assert_int_equal(objects[at][49], ~at);
			pool_put(&p, objects[at]);
			objects[at] = NULL;
		} else {
			objects[at] = pool_get(&p);
			objects[at][0] = at;
			objects[at][49] = ~at;
		}
	}
	for (unsigned at = 0; at < 512; at++) {
		if (objects[at])
			pool_put(&p, objects[at]);
		objects[at] = NULL;
	}
	assert_int_equal(slabs(&p), 1);
	pool_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_keep_what_is_written_into_them),
		cmocka_unit_test(one_empty_slab_is_all_that_stays_of_a_peak),
		cmocka_unit_test(getting_and_putting_in_random_order_loses_nothing),
	};

	return cmocka_run_group_tests_name("engine/pool", tests, NULL, NULL);
}

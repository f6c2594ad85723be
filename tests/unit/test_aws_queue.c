/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "aws/queue.h"

static struct queue_item items[QUEUE_ITEMS_MAX + 8];

static struct queue_item *put(struct queue *q, unsigned n, unsigned enclave, uint32_t max)
{
	items[n] = (struct queue_item){ .enclave = enclave, .enclave_max = max, .bytes = 100 };
	assert_true(queue_put(q, &items[n]));
	return &items[n];
}

static void enclaves_take_turns(void **state)
{
	struct queue *q = queue_new(3, 100);

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		put(q, i, 0, 0);
	put(q, 5, 1, 0);
	put(q, 6, 1, 0);
	put(q, 7, 2, 0);
	/* The flood of the first was there before the others came. */
	static const unsigned order[] = { 0, 5, 7, 1, 6, 2, 3, 4 };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		assert_ptr_equal(queue_take(q), &items[order[i]]);
	assert_null(queue_take(q));
	queue_free(q);
}

static void no_more_are_under_way_than_may_be_in_all(void **state)
{
	struct queue *q = queue_new(2, 2);
	struct queue_item *first;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		put(q, i, i % 2, 0);
	first = queue_take(q);
	assert_non_null(queue_take(q));
	assert_null(queue_take(q));
	queue_remove(q, first);
	assert_non_null(queue_take(q));
	assert_null(queue_take(q));
	queue_free(q);
}

static void an_enclave_at_its_limit_keeps_its_turn_and_delays_nobody(void **state)
{
	struct queue *q = queue_new(2, 100);
	struct queue_item *a;

	(void)state;
	a = put(q, 0, 0, 1);
	put(q, 1, 0, 1);
	put(q, 2, 1, 0);
	put(q, 3, 1, 0);
	assert_ptr_equal(queue_take(q), a);
	assert_ptr_equal(queue_take(q), &items[2]);
	assert_ptr_equal(queue_take(q), &items[3]);
	assert_null(queue_take(q));
	queue_remove(q, a);
	assert_ptr_equal(queue_take(q), &items[1]);
	queue_free(q);
}

static void a_queue_is_bounded_in_calls_and_in_bytes_for_each_enclave(void **state)
{
	struct queue *q = queue_new(2, 1);
	struct queue_item more = { .enclave = 0, .bytes = 1 };

	(void)state;
	for (unsigned i = 0; i < QUEUE_ITEMS_MAX; i++)
		put(q, i, 0, 0);
	assert_false(queue_put(q, &more));
	queue_remove(q, &items[7]);
	assert_true(queue_put(q, &more));
	more = (struct queue_item){ .enclave = 1, .bytes = QUEUE_BYTES_MAX };
	assert_true(queue_put(q, &more));
	items[0] = (struct queue_item){ .enclave = 1, .bytes = 1 };
	assert_false(queue_put(q, &items[0]));
	queue_free(q);
}

static void what_stops_waiting_is_never_taken(void **state)
{
	struct queue *q = queue_new(1, 10);

	(void)state;
	put(q, 0, 0, 0);
	put(q, 1, 0, 0);
	queue_remove(q, &items[0]);
	assert_ptr_equal(queue_take(q), &items[1]);
	assert_null(queue_take(q));
	queue_remove(q, &items[1]);
	put(q, 0, 0, 0);
	assert_ptr_equal(queue_take(q), &items[0]);
	queue_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(enclaves_take_turns),
		cmocka_unit_test(no_more_are_under_way_than_may_be_in_all),
		cmocka_unit_test(an_enclave_at_its_limit_keeps_its_turn_and_delays_nobody),
		cmocka_unit_test(a_queue_is_bounded_in_calls_and_in_bytes_for_each_enclave),
		cmocka_unit_test(what_stops_waiting_is_never_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines on clocks that the test turns: libev's two are ours, and the timer is fired by hand. */
#include <config.h>

#include "engine/timers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <ev.h>

static ev_tstamp now = 1000, time_of_day = 1000000;

/* These stand before libev's own for the whole program. */
ev_tstamp ev_timer_remaining(struct ev_loop *loop, ev_timer *timer) EV_NOEXCEPT
{
	(void)loop;
	(void)timer;
	return TIMERS_FAR_S - now;
}

ev_tstamp ev_now(struct ev_loop *loop) EV_NOEXCEPT
{
	(void)loop;
	return time_of_day;
}

struct entry {
	struct deadline deadline;
	struct timers *timers;
	struct entry *clears;	/* when it expires */
	uint32_t again_ms;
	unsigned order, times;
};

static unsigned expired_so_far;

static void expired(struct deadline *d)
{
	struct entry *e = container_of(d, struct entry, deadline);

	e->order = ++expired_so_far;
	e->times++;
	if (e->clears)
		deadline_clear(&e->clears->deadline);
	if (e->again_ms)
		deadline_set(e->timers, d, e->again_ms);
}

static void entry_init(struct entry *e, struct timers *t)
{
	*e = (struct entry){ .timers = t };
	deadline_init(&e->deadline, expired);
}

/* Moves the clock and fires if the timer stands in the past. */
static void pass(struct timers *t, double seconds)
{
	now += seconds;
	time_of_day += seconds;
	if (ev_is_active(&t->timer) && t->armed <= now)
		ev_invoke(t->loop, &t->timer, EV_TIMER);
}

static int setup(void **state)
{
	struct timers *t = calloc(1, sizeof(*t));

	if (!t)
		return -1;
	expired_so_far = 0;
	timers_init(t, ev_loop_new(EVBACKEND_SELECT));
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct timers *t = *state;

	timers_fini(t);
	ev_loop_destroy(t->loop);
	free(t);
	return 0;
}

static void a_deadline_expires_once_and_not_early(void **state)
{
	struct entry e;

	entry_init(&e, *state);
	deadline_set(*state, &e.deadline, 500);
	pass(*state, 0.499);
	assert_int_equal(e.times, 0);
	pass(*state, 0.002);
	assert_int_equal(e.times, 1);
	pass(*state, 10);
	assert_int_equal(e.times, 1);
}

static void deadlines_of_different_lengths_expire_in_order_of_time(void **state)
{
	struct entry late, early;

	entry_init(&late, *state);
	entry_init(&early, *state);
	deadline_set(*state, &late.deadline, 3000);
	deadline_set(*state, &early.deadline, 1000);
	pass(*state, 1.5);
	assert_int_equal(early.order, 1);
	assert_int_equal(late.order, 0);
	pass(*state, 1.6);
	assert_int_equal(late.order, 2);
}

static void activity_moves_a_deadline_behind_the_others(void **state)
{
	struct entry a, b;

	entry_init(&a, *state);
	entry_init(&b, *state);
	deadline_set(*state, &a.deadline, 1000);
	deadline_set(*state, &b.deadline, 1000);
	pass(*state, 0.5);
	deadline_set(*state, &a.deadline, 1000);
	pass(*state, 0.6);
	assert_int_equal(b.times, 1);
	assert_int_equal(a.times, 0);
	pass(*state, 0.6);
	assert_int_equal(a.times, 1);
}

static void a_cleared_deadline_never_expires(void **state)
{
	struct entry e;

	entry_init(&e, *state);
	deadline_set(*state, &e.deadline, 100);
	deadline_clear(&e.deadline);
	deadline_clear(&e.deadline);
	pass(*state, 1);
	assert_int_equal(e.times, 0);
}

static void a_length_of_zero_is_no_deadline(void **state)
{
	struct entry e;

	entry_init(&e, *state);
	deadline_set(*state, &e.deadline, 100);
	deadline_set(*state, &e.deadline, 0);
	pass(*state, 1000);
	assert_int_equal(e.times, 0);
}

static void what_expires_may_clear_the_next(void **state)
{
	struct entry a, b;

	entry_init(&a, *state);
	entry_init(&b, *state);
	a.clears = &b;
	deadline_set(*state, &a.deadline, 100);
	deadline_set(*state, &b.deadline, 100);
	pass(*state, 1);
	assert_int_equal(a.times, 1);
	assert_int_equal(b.times, 0);
}

static void what_expires_may_set_itself_again(void **state)
{
	struct entry e;

	entry_init(&e, *state);
	e.again_ms = 1000;
	deadline_set(*state, &e.deadline, 1000);
	for (unsigned i = 1; i <= 5; i++) {
		pass(*state, 1.001);
		assert_int_equal(e.times, i);
	}
	deadline_clear(&e.deadline);
}

static void a_shorter_length_set_while_expiring_is_not_forgotten(void **state)
{
	struct entry e;

	entry_init(&e, *state);
	e.again_ms = 10;
	deadline_set(*state, &e.deadline, 1000);
	pass(*state, 1.001);
	assert_true(ev_is_active(&((struct timers *)*state)->timer));
	pass(*state, 0.011);
	assert_int_equal(e.times, 2);
	deadline_clear(&e.deadline);
}

static void lengths_beyond_the_number_of_lists_share_one(void **state)
{
	enum { N = TIMERS_LENGTHS + 10 };
	static struct entry e[N];

	for (unsigned i = 0; i < N; i++) {
		entry_init(&e[i], *state);
		deadline_set(*state, &e[i].deadline, 100 * (i + 1));
	}
	pass(*state, 0.101);
	assert_int_equal(e[0].times, 1);
	assert_int_equal(e[1].times, 0);
	assert_int_equal(e[N - 1].times, 0);
	pass(*state, 1000);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(e[i].times, 1);
}

static void a_step_of_the_time_of_day_moves_no_deadline(void **state)
{
	struct timers *t = *state;
	struct entry before, after;

	for (int step = -3600; step <= 3600; step += 7200) {
		entry_init(&before, t);
		entry_init(&after, t);
		deadline_set(t, &before.deadline, 1000);
		time_of_day += step;
		deadline_set(t, &after.deadline, 1000);
		ev_invoke(t->loop, &t->timer, EV_TIMER);
		assert_int_equal(before.times + after.times, 0);
		pass(t, 1.001);
		assert_int_equal(before.times, 1);
		assert_int_equal(after.times, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_deadline_expires_once_and_not_early, setup, teardown),
		cmocka_unit_test_setup_teardown(deadlines_of_different_lengths_expire_in_order_of_time,
						setup, teardown),
		cmocka_unit_test_setup_teardown(activity_moves_a_deadline_behind_the_others, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cleared_deadline_never_expires, setup, teardown),
		cmocka_unit_test_setup_teardown(a_length_of_zero_is_no_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(what_expires_may_clear_the_next, setup, teardown),
		cmocka_unit_test_setup_teardown(what_expires_may_set_itself_again, setup, teardown),
		cmocka_unit_test_setup_teardown(a_shorter_length_set_while_expiring_is_not_forgotten, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_step_of_the_time_of_day_moves_no_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(lengths_beyond_the_number_of_lists_share_one,
						setup, teardown),
	};

	return cmocka_run_group_tests_name("engine/timers", tests, NULL, NULL);
}

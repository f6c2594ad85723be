/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "engine/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

static const uint64_t second = 1000000000;

static struct limits_enclave l;

static void a_rate_lets_its_burst_through_and_then_its_rate(void **state)
{
	const struct config_enclave e = { .rate = { .rate = 10, .period_ms = 1000, .burst = 3 } };
	uint64_t now = 5 * second;
	enum limit_kind kind;
	unsigned n = 0;

	(void)state;
	memset(&l, 0, sizeof(l));
	for (int i = 0; i < 3; i++)
		assert_true(limits_connect(&l, &e, now, &kind));
	assert_false(limits_connect(&l, &e, now, &kind));
	assert_int_equal(kind, LIMIT_RATE);
	assert_false(limits_connect(&l, &e, now + second / 10 - 1, &kind));
	assert_true(limits_connect(&l, &e, now + second / 10, &kind));
	assert_false(limits_connect(&l, &e, now + second / 10, &kind));
	assert_int_equal(l.refused[LIMIT_RATE], 3);
	/* Ten seconds of asking all the time give a hundred. */
	for (now += 10 * second; now < 25 * second; now += second / 1000)
		n += limits_connect(&l, &e, now, &kind);
	assert_in_range(n, 102, 103);
}

static void connections_and_lookups_are_counted_in_and_out(void **state)
{
	const struct config_enclave e = { .max_connections = 2, .max_lookups = 1 }, unlimited = { 0 };
	enum limit_kind kind;

	(void)state;
	memset(&l, 0, sizeof(l));
	assert_true(limits_connect(&l, &e, 1, &kind));
	assert_true(limits_connect(&l, &e, 1, &kind));
	assert_false(limits_connect(&l, &e, 1, &kind));
	assert_int_equal(kind, LIMIT_CONNECTIONS);
	limits_disconnect(&l);
	assert_true(limits_connect(&l, &e, 1, &kind));
	assert_true(limits_connect(&l, &unlimited, 1, &kind));
	assert_int_equal(l.refused[LIMIT_CONNECTIONS], 1);
	assert_true(limits_look_up(&l, &e));
	assert_false(limits_look_up(&l, &e));
	limits_looked_up(&l);
	assert_true(limits_look_up(&l, &e));
	assert_int_equal(l.refused[LIMIT_LOOKUPS], 1);
}

static void bandwidth_has_a_burst_of_one_second(void **state)
{
	const struct config_enclave e = { .bandwidth = 1000 }, wide = { .bandwidth = 1ull << 40 }, none = { 0 };
	uint64_t now = 7 * second;

	(void)state;
	memset(&l, 0, sizeof(l));
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, false, now), 1000);
	limits_bytes_used(&l, &e, LIMIT_UP, now, 600);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, false, now), 400);
	limits_bytes_used(&l, &e, LIMIT_UP, now, 500); /* overdrawn by another worker */
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, false, now), 0);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_DOWN, false, now), 1000);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, false, now + second / 10), 0);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, false, now + second / 2), 400);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, false, now + 100 * second), 1000);
	assert_int_equal(limits_bytes(&l, &none, LIMIT_UP, false, now), UINT64_MAX);
	assert_int_equal(limits_bytes(&l, &wide, LIMIT_DOWN, false, now), 1ull << 40);
	limits_bytes_used(&l, &wide, LIMIT_DOWN, now, 1ull << 39);
	assert_int_equal(limits_bytes(&l, &wide, LIMIT_DOWN, false, now), 1ull << 39);
}

static void bandwidth_is_shared_with_those_that_wait(void **state)
{
	const struct config_enclave e = { .bandwidth = 1200 }, none = { 0 };
	uint64_t now = 7 * second;

	(void)state;
	memset(&l, 0, sizeof(l));
	limits_wait(&l, LIMIT_UP);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, true, now), 1200);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, false, now), 600);
	limits_wait(&l, LIMIT_UP);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, true, now), 600);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, false, now), 400);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_DOWN, false, now), 1200);
	assert_int_equal(limits_bytes(&l, &none, LIMIT_UP, false, now), UINT64_MAX);
	limits_bytes_used(&l, &e, LIMIT_UP, now, 1100);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, true, now), 64); /* worth a packet */
	limits_bytes_used(&l, &e, LIMIT_UP, now, 60);
	assert_int_equal(limits_bytes(&l, &e, LIMIT_UP, true, now), 40);
	limits_waited(&l, LIMIT_UP);
	limits_waited(&l, LIMIT_UP);
	assert_int_equal(l.waiting[LIMIT_UP], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rate_lets_its_burst_through_and_then_its_rate),
		cmocka_unit_test(connections_and_lookups_are_counted_in_and_out),
		cmocka_unit_test(bandwidth_has_a_burst_of_one_second),
		cmocka_unit_test(bandwidth_is_shared_with_those_that_wait),
	};

	return cmocka_run_group_tests_name("engine/limits", tests, NULL, NULL);
}

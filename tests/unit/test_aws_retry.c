/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "aws/retry.h"

static void answers_are_told_apart_by_status_and_code(void **state)
{
	(void)state;
	assert_int_equal(retry_classify(200, ""), RETRY_NEVER);
	assert_int_equal(retry_classify(400, "ValidationException"), RETRY_NEVER);
	assert_int_equal(retry_classify(400, "AccessDeniedException"), RETRY_NEVER);
	assert_int_equal(retry_classify(403, "SignatureDoesNotMatch"), RETRY_NEVER);
	assert_int_equal(retry_classify(307, ""), RETRY_NEVER);
	assert_int_equal(retry_classify(400, "ThrottlingException"), RETRY_THROTTLED);
	assert_int_equal(retry_classify(429, ""), RETRY_THROTTLED);
	assert_int_equal(retry_classify(503, "SlowDown"), RETRY_THROTTLED);
	assert_int_equal(retry_classify(500, "KMSInternalException"), RETRY_TRANSIENT);
	assert_int_equal(retry_classify(503, ""), RETRY_TRANSIENT);
	assert_int_equal(retry_classify(400, "RequestTimeout"), RETRY_TRANSIENT);
	assert_int_equal(retry_classify(400, "ExpiredTokenException"), RETRY_EXPIRED);
	assert_int_equal(retry_classify(403, "ExpiredToken"), RETRY_EXPIRED);
	assert_int_equal(retry_classify(400, "UnrecognizedClientException"), RETRY_EXPIRED);
}

static void waits_double_up_to_their_bound_with_full_jitter(void **state)
{
	(void)state;
	for (unsigned n = 2; n < 40; n++)
		assert_int_equal(retry_wait_ms(n, 0), 0);
	assert_int_equal(retry_wait_ms(2, UINT32_MAX), 1000);
	assert_int_equal(retry_wait_ms(3, UINT32_MAX), 2000);
	assert_int_equal(retry_wait_ms(4, UINT32_MAX), 4000);
	assert_int_equal(retry_wait_ms(7, UINT32_MAX), 20000);
	assert_int_equal(retry_wait_ms(1000, UINT32_MAX), 20000);
	assert_in_range(retry_wait_ms(3, UINT32_MAX / 2), 990, 1010);
}

static void an_outage_empties_the_quota_and_success_fills_it(void **state)
{
	struct retry_quota q;
	unsigned cost = 0, n = 0;

	(void)state;
	retry_quota_init(&q);
	while (retry_quota_take(&q, RETRY_TRANSIENT, &cost))
		n++;
	assert_int_equal(n, RETRY_QUOTA / RETRY_COST);
	assert_int_equal(cost, RETRY_COST);
	/* Five calls that succeed the first time pay for one that is tried again. */
	for (int i = 0; i < RETRY_COST; i++) {
		assert_false(retry_quota_take(&q, RETRY_TRANSIENT, &cost));
		retry_quota_give(&q, 0);
	}
	assert_true(retry_quota_take(&q, RETRY_THROTTLED, &cost));
	retry_quota_give(&q, cost);
	assert_int_equal(q.left, RETRY_COST);
}

static void a_timeout_costs_more_and_the_quota_has_a_brim(void **state)
{
	struct retry_quota q;
	unsigned cost;

	(void)state;
	retry_quota_init(&q);
	assert_true(retry_quota_take(&q, RETRY_TIMEOUT, &cost));
	assert_int_equal(cost, RETRY_COST_TIMEOUT);
	assert_int_equal(q.left, RETRY_QUOTA - RETRY_COST_TIMEOUT);
	for (int i = 0; i < 100; i++)
		retry_quota_give(&q, cost);
	assert_int_equal(q.left, RETRY_QUOTA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_told_apart_by_status_and_code),
		cmocka_unit_test(waits_double_up_to_their_bound_with_full_jitter),
		cmocka_unit_test(an_outage_empties_the_quota_and_success_fills_it),
		cmocka_unit_test(a_timeout_costs_more_and_the_quota_has_a_brim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

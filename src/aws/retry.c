/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/retry.h"

#include <stddef.h>
#include <string.h>

static bool is_one_of(const char *code, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(code, list[i]) == 0)
			return true;
	}
	return false;
}

#define IS_ONE_OF(code, list) is_one_of(code, list, sizeof(list) / sizeof(list[0]))

enum retry_kind retry_classify(unsigned status, const char *code)
{
	static const char *const expired[] = { "ExpiredToken", "ExpiredTokenException",
					       "InvalidClientTokenId",
					       "UnrecognizedClientException" };
	static const char *const throttled[] = {
		"BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException",
		"PriorRequestNotComplete", "ProvisionedThroughputExceededException",
		"RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "SlowDown",
		"ThrottledException", "Throttling", "ThrottlingException",
		"TooManyRequestsException", "TransactionInProgressException",
	};
	static const char *const transient[] = { "InternalError", "InternalFailure", "RequestTimeout",
						 "RequestTimeoutException", "ServiceUnavailable" };

	if (status >= 200 && status < 300)
		return RETRY_NEVER;
	if (IS_ONE_OF(code, expired))
		return RETRY_EXPIRED;
	if (status == 429 || IS_ONE_OF(code, throttled))
		return RETRY_THROTTLED;
	if (status >= 500 || IS_ONE_OF(code, transient))
		return RETRY_TRANSIENT;
	return RETRY_NEVER;
}

void retry_quota_init(struct retry_quota *q)
{
	q->left = RETRY_QUOTA;
}

bool retry_quota_take(struct retry_quota *q, enum retry_kind kind, unsigned *ret_cost)
{
	unsigned cost = kind == RETRY_TIMEOUT ? RETRY_COST_TIMEOUT : RETRY_COST;

	if (q->left < cost)
		return false;
	q->left -= cost;
	*ret_cost = cost;
	return true;
}

void retry_quota_give(struct retry_quota *q, unsigned cost)
{
	q->left += cost ? cost : 1;
	if (q->left > RETRY_QUOTA)
		q->left = RETRY_QUOTA;
}

uint32_t retry_wait_ms(unsigned n, uint32_t random)
{
	uint64_t bound = RETRY_BASE_MS;

	for (unsigned i = 2; i < n && bound < RETRY_WAIT_MAX_MS; i++)
		bound *= 2;
	if (bound > RETRY_WAIT_MAX_MS)
		bound = RETRY_WAIT_MAX_MS;
	return (uint32_t)(((bound + 1) * random) >> 32);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether and when a request that failed is tried again: AWS's "standard" retry mode.
 *
 * At most three attempts, waits that double with full jitter, and a quota that all calls of
 * an enclave share: each try again takes from it, what succeeds gives back.  While AWS is down the quota
 * is soon empty, and each call is then tried once only, so that an outage is not made worse.
 *
 * Pure: time and randomness are handed in.
 */
#ifndef AWS_RETRY_H
#define AWS_RETRY_H

#include <stdbool.h>
#include <stdint.h>

enum {
	RETRY_ATTEMPTS_MAX = 3,
	RETRY_QUOTA = 500,		/* when full */
	RETRY_COST = 5,
	RETRY_COST_TIMEOUT = 10,	/* after an attempt that had no answer in time */
	RETRY_BASE_MS = 1000,
	RETRY_WAIT_MAX_MS = 20000,
};

enum retry_kind {
	RETRY_NEVER,		/* an answer that another attempt would get again */
	RETRY_EXPIRED,		/* once, with other credentials */
	RETRY_THROTTLED,
	RETRY_TRANSIENT,	/* 5xx, or no connection */
	RETRY_TIMEOUT,
};

/* What an answer means; code: AWS's name of the error, or "". */
enum retry_kind retry_classify(unsigned status, const char *code);

struct retry_quota {
	unsigned left;
};

void retry_quota_init(struct retry_quota *q);
/* Takes what another attempt costs: false where it is not there.  *ret_cost is given back on success. */
bool retry_quota_take(struct retry_quota *q, enum retry_kind kind, unsigned *ret_cost);
/* A call succeeded; cost: of the last time it was tried again, 0: it was not. */
void retry_quota_give(struct retry_quota *q, unsigned cost);

/* Before attempt number n (2: the first again): from 0 to the bound, as random says. */
uint32_t retry_wait_ms(unsigned n, uint32_t random);

#endif

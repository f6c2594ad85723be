/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this room asks of the machine it runs on: files, environment, time, randomness.
 */
#ifndef AWS_MACHINE_H
#define AWS_MACHINE_H

#include <stdint.h>

#include "aws/plan.h"

/* The environment and files; never waits: what is no regular file is -EINVAL. */
extern const struct plan_reader machine_reader;

/* Seconds since the epoch. */
int64_t machine_now_s(void);
/* For jitter. */
uint32_t machine_random(void);

#endif

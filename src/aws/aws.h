/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread on which all work for AWS is done.
 *
 * Workers post calls and get them back, answered, on their own loop: struct mail both
 * ways.  On the thread there are credentials, connections, retries, and the queue that shares the
 * calls under way out between enclaves, in turns; nothing of it is shared with workers.
 *
 *	worker:  aws_call_new() -> fill in -> aws_call_start() ... done() -> aws_call_free()
 *
 * A call belongs to the thread from start to done().  Who loses interest meanwhile says
 * aws_call_forget(): then it leaves the queue, or ends with the attempt under way, is freed when
 * it comes back, and done() is not called.
 */
#ifndef AWS_AWS_H
#define AWS_AWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/worker.h"

struct aws;
struct engine_service;

extern const struct engine_service aws_service;

enum aws_api { AWS_KMS, AWS_LOGS };

enum aws_result {
	AWS_ANSWERED,		/* status, error_code, error_message, body say what */
	AWS_NO_CREDENTIALS,
	AWS_TIMED_OUT,		/* deadline_ms is over: in the queue or under way */
	AWS_UNREACHABLE,	/* no answer to any of the attempts */
	AWS_QUEUE_FULL,
	AWS_FAILED,		/* ours: out of memory, or the process ends */
};

struct aws_call {
	struct mail mail;		/* the thread's */
	struct worker *worker;		/* where done() runs */
	void (*done)(struct aws_call *call);	/* NULL: forgotten; owns call from here on */
	void *data;			/* the caller's */
	/* The question.  Strings are the configuration's, and outlive all calls. */
	enum aws_api api;
	const char *target;		/* "TrentService.Decrypt" */
	const char *region;		/* or NULL: the configuration's, environment's or instance's */
	const char *role;		/* ARN to assume first, or NULL */
	unsigned enclave;		/* for fairness: number of the enclave, n_enclaves for others */
	uint32_t enclave_max;		/* calls of that enclave under way at one time */
	uint32_t timeout_ms;		/* of all: queue, attempts and waits between them */
	char *body;			/* JSON; owned; wiped when the call is freed */
	size_t body_len;
	/* The answer. */
	enum aws_result result;
	uint16_t status;		/* HTTP's, 0: none */
	char *answer;			/* owned, NUL behind it; wiped when freed; may be NULL */
	size_t answer_len;
	char request_id[64];		/* x-amzn-requestid, or "" */
	char error_code[64];		/* "InvalidCiphertextException", or "" where status is 200 */
	char error_message[512];	/* AWS's, or why there is no answer */
	uint8_t attempts;
	uint32_t queued_ms, total_ms;
};

/* Zeroed; NULL: out of memory. */
struct aws_call *aws_call_new(struct worker *w);
void aws_call_start(struct aws *aws, struct aws_call *call);
/* On the worker that started it. */
void aws_call_forget(struct aws_call *call);
void aws_call_free(struct aws_call *call); /* takes NULL */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan carried out: from where credentials are to the credentials themselves.
 *
 * One request after the other (the instance's metadata takes three), each tried again where it
 * had no answer or 5xx; then the plan's roles are assumed, each with what the one before gave.
 */
#ifndef AWS_FETCH_H
#define AWS_FETCH_H

#include <ev.h>

#include "aws/call.h"
#include "aws/plan.h"

struct config_aws;

enum {
	FETCH_METADATA_MS = 2000,	/* an attempt at IMDS or a container's endpoint */
	FETCH_STS_MS = 10000,
	FETCH_IMDS_TOKEN_SECONDS = 300,
	FETCH_URL_SIZE = 512,
};

/* What all fetches share; borrowed. */
struct fetch_setup {
	struct ev_loop *loop;
	struct calls *calls;
	const struct config_aws *config;
	const struct plan_reader *reader;
	bool want_region;	/* of the instance, where nothing nearer says it */
};

enum fetch_step {
	FETCH_IMDS_TOKEN,
	FETCH_IMDS_ROLE,
	FETCH_IMDS_KEYS,
	FETCH_CONTAINER,
	FETCH_WEB_IDENTITY,
	FETCH_ROLE,
	FETCH_IMDS_REGION,
	FETCH_DONE,
};

struct fetch {
	const struct fetch_setup *setup;
	struct plan plan;	/* owned */
	void (*done)(struct fetch *f);	/* from the loop, never before fetch_start() has returned */
	/* The outcome: keys, or why there are none. */
	bool good;
	bool expired;		/* STS says that the keys it was asked with are over */
	struct aws_keys keys;
	char why[ANSWER_WHY_SIZE * 2];
	/* fetch.c's own. */
	enum fetch_step step;
	unsigned attempts;
	size_t next_role;
	struct call call;
	ev_timer wait;
	struct secret_buffer url, body, header, imds_token;
	char role[128];
};

/* Takes what *plan has.  f is zeroed memory, or was cancelled. */
void fetch_start(struct fetch *f, const struct fetch_setup *setup, struct plan *plan,
		 void (*done)(struct fetch *f));
/* Ends it without done(), and frees what it has; may be called at any time. */
void fetch_cancel(struct fetch *f);

#endif

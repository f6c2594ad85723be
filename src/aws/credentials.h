/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials that are there when a call needs them.
 *
 * One identity is the process's own; each role that a key names is another, assumed with
 * the first.  Each is fetched by one fetch at a time, whoever asks, and again in the background
 * five minutes before it ends; when that fails, the old ones serve until they end.  Before the
 * first have come, calls wait for the fetch under way; after it failed, they are told so at
 * once, while it is tried again with waits that double.
 */
#ifndef AWS_CREDENTIALS_H
#define AWS_CREDENTIALS_H

#include <ev.h>

#include "aws/fetch.h"
#include "base/list.h"

struct credentials;

enum {
	CREDENTIALS_EARLY_S = 300,	/* before their end a new fetch; or at half of what is left */
	CREDENTIALS_AGAIN_MIN_MS = 1000,
	CREDENTIALS_AGAIN_MAX_MS = 60000,
	CREDENTIALS_REFUSED_MS = 1000,	/* from one fetch to one that AWS's refusal forces */
	CREDENTIALS_WHY_SIZE = ANSWER_WHY_SIZE * 2,
};

enum credentials_state {
	CREDENTIALS_READY,
	CREDENTIALS_WAIT,	/* done() is called when it is time to ask again */
	CREDENTIALS_NONE,	/* and why */
};

/* Who waits; embedded.  list_del(&w->node) ends it at any time. */
struct credentials_wait {
	struct list node;
	void (*done)(struct credentials_wait *w);
};

/* Borrowed until the caller returns to the loop. */
struct credentials_grant {
	const struct aws_keys *keys;
	const char *region;	/* what environment, profile or instance say, or NULL */
	uint64_t generation;	/* another number for other keys */
};

/* Begins to fetch the process's own.  setup is borrowed; NULL: out of memory. */
struct credentials *credentials_new(const struct fetch_setup *setup);
/* Nobody waits.  Takes NULL. */
void credentials_free(struct credentials *c);

/* Whose are wanted; its strings outlive c. */
struct credentials_who {
	const char *role;	/* its ARN, or NULL for the process's own */
	const char *region;	/* in which it is assumed where nothing else says one; or NULL */
};

enum credentials_state credentials_get(struct credentials *c, struct credentials_who who,
				       struct credentials_wait *w, struct credentials_grant *ret,
				       char why[CREDENTIALS_WHY_SIZE]);
/*
 * AWS says that those of that generation are over or unknown: fetches others, unless that was
 * just done.  NONE: there are no others; READY and WAIT as above.
 */
enum credentials_state credentials_refused(struct credentials *c, struct credentials_who who,
					   uint64_t generation, struct credentials_wait *w,
					   struct credentials_grant *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines as lists in order of expiry, one list for each length.
 *
 * Setting a deadline puts it at the tail of its length's list, so that setting,
 * moving and clearing cost O(1) whatever the number of connections.  One ev_timer
 * stands on the earliest head.  Time is the loop's, read once a turn, and no
 * clock that somebody can set; a deadline never fires early, and late by no more than
 * the loop is.
 */
#ifndef ENGINE_TIMERS_H
#define ENGINE_TIMERS_H

#include <stdint.h>

#include <ev.h>

#include "base/list.h"

struct deadline {
	struct list node;	/* on no list: not set */
	double at;		/* of its expiry, since timers_init() */
	void (*expired)(struct deadline *d);	/* may set it again */
};

enum {
	TIMERS_LENGTHS = 64,
	TIMERS_FAR_S = 1000000000,	/* 31 years */
};

struct timers {
	struct ev_loop *loop;
	ev_timer timer;
	ev_timer far;		/* never comes: what remains of it tells the time */
	double armed;		/* when the timer stands, 0: it does not */
	size_t n;
	struct {
		uint32_t ms;
		struct list list;
	} lengths[TIMERS_LENGTHS];
};

void timers_init(struct timers *t, struct ev_loop *loop);
void timers_fini(struct timers *t);
void deadline_init(struct deadline *d, void (*expired)(struct deadline *d));
/* ms 0: none.  A configuration has far fewer than TIMERS_LENGTHS lengths; past that the longest serves. */
void deadline_set(struct timers *t, struct deadline *d, uint32_t ms);
void deadline_clear(struct deadline *d);

#endif

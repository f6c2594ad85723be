/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an enclave may use at one time, over all workers.
 *
 * Relaxed atomics by enclave number and nothing else: workers meet here only for an
 * enclave that has a limit.  Rates are kept as the time at which what was used so far
 * will have been earned (the virtual scheduling of ITU-T I.371), one word each, so that
 * nothing has to be filled up by a timer.
 */
#ifndef ENGINE_LIMITS_H
#define ENGINE_LIMITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct config_enclave;

enum limit_direction { LIMIT_UP, LIMIT_DOWN };

enum { LIMITS_OVER_MAX = 16 };	/* of an enclave's, over a limit: that are told so at one time */

enum limit_kind { LIMIT_CONNECTIONS, LIMIT_RATE, LIMIT_LOOKUPS, LIMIT_KINDS };

struct limits_enclave {
	_Atomic uint32_t connections, lookups, over;	/* at this moment */
	_Atomic uint64_t rate_ns;		/* when the connections so far are earned */
	_Atomic uint64_t bytes_ns[2];		/* the same for bytes, by direction */
	_Atomic uint32_t waiting[2];		/* connections that wait for bytes, by direction */
	_Atomic uint64_t refused[LIMIT_KINDS];	/* since the engine started */
};

/* One for each enclave of the configuration, and a last one for peers that are none; zeroed. */
struct limits_enclave *limits_new(const struct config *c);
void limits_free(struct limits_enclave *l); /* takes NULL */

/* What rates are measured by: CLOCK_MONOTONIC, a few milliseconds coarse. */
uint64_t limits_now_ns(void);

/* Moves the time at which all is earned by cost, unless that would be further than ahead of now. */
bool limits_earn(_Atomic uint64_t *word, uint64_t now_ns, uint64_t cost, uint64_t ahead);

/* Takes a connection in: false where max-connections (*ret_kind says) or rate refuses it. */
bool limits_connect(struct limits_enclave *l, const struct config_enclave *e, uint64_t now_ns,
		    enum limit_kind *ret_kind);
void limits_disconnect(struct limits_enclave *l);

/* Who was not taken in may stay to be told so: false where LIMITS_OVER_MAX do. */
bool limits_over(struct limits_enclave *l);
void limits_over_ended(struct limits_enclave *l);

/* The same for a look-up under way. */
bool limits_look_up(struct limits_enclave *l, const struct config_enclave *e);
void limits_looked_up(struct limits_enclave *l);

/*
 * How many bytes a connection may read now, UINT64_MAX where there is no limit; and those
 * that it did.  What there is is shared with those that wait for some, of which it may be
 * one, since else the first to ask would take all each time.  Workers that ask at once may
 * overdraw, which the next to ask waits for.
 */
uint64_t limits_bytes(const struct limits_enclave *l, const struct config_enclave *e,
		      enum limit_direction d, bool waits, uint64_t now_ns);
void limits_wait(struct limits_enclave *l, enum limit_direction d);
void limits_waited(struct limits_enclave *l, enum limit_direction d);
void limits_bytes_used(struct limits_enclave *l, const struct config_enclave *e,
		       enum limit_direction d, uint64_t now_ns, uint64_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose call is next.
 *
 * Each enclave has a queue of its own, and enclaves take turns: the flood of one waits
 * behind itself and not before the others.  Bounded are the calls under way, in all and of each
 * enclave, and what waits for an enclave, in calls and in bytes.
 *
 * The queue owns nothing: an item is embedded in what waits.
 */
#ifndef AWS_QUEUE_H
#define AWS_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

enum {
	QUEUE_ITEMS_MAX = 1024,			/* that wait, of one enclave */
	QUEUE_BYTES_MAX = 16 * 1024 * 1024,	/* of their requests */
};

struct queue;

struct queue_item {
	struct list node;
	unsigned enclave;
	uint32_t enclave_max;	/* items of that enclave under way at one time; 0: no limit */
	size_t bytes;
	bool under_way;
};

/* NULL: out of memory. */
struct queue *queue_new(unsigned n_enclaves, uint32_t under_way_max);
void queue_free(struct queue *q); /* takes NULL; nothing waits any more */

/* False: that enclave's queue is full. */
bool queue_put(struct queue *q, struct queue_item *item);
/* The next that may go, which is under way from here on; NULL: none. */
struct queue_item *queue_take(struct queue *q);
/* It is done, or waits no longer. */
void queue_remove(struct queue *q, struct queue_item *item);

#endif

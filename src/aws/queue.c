/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/queue.h"

#include <assert.h>
#include <stdlib.h>

struct lane {
	struct list turn;	/* in queue.turns while something waits */
	struct list waiting;	/* of struct queue_item */
	size_t n, bytes;	/* that wait */
	uint32_t under_way;
};

struct queue {
	struct list turns;	/* of struct lane, the next one first */
	uint32_t under_way, under_way_max;
	unsigned n_lanes;
	struct lane lanes[];
};

struct queue *queue_new(unsigned n_enclaves, uint32_t under_way_max)
{
	struct queue *q = calloc(1, sizeof(*q) + n_enclaves * sizeof(q->lanes[0]));

	if (!q)
		return NULL;
	list_init(&q->turns);
	q->under_way_max = under_way_max;
	q->n_lanes = n_enclaves;
	for (unsigned i = 0; i < n_enclaves; i++) {
		list_init(&q->lanes[i].turn);
		list_init(&q->lanes[i].waiting);
	}
	return q;
}

void queue_free(struct queue *q)
{
	free(q);
}

bool queue_put(struct queue *q, struct queue_item *item)
{
	struct lane *lane = &q->lanes[item->enclave];

	assert(item->enclave < q->n_lanes);
	item->under_way = false;
	if (lane->n >= QUEUE_ITEMS_MAX || lane->bytes + item->bytes > QUEUE_BYTES_MAX)
		return false;
	if (lane->n++ == 0)
		list_append(&q->turns, &lane->turn);
	lane->bytes += item->bytes;
	list_append(&lane->waiting, &item->node);
	return true;
}

static void stop_waiting(struct lane *lane, struct queue_item *item)
{
	list_del(&item->node);
	lane->bytes -= item->bytes;
	if (--lane->n == 0)
		list_del(&lane->turn);
}

struct queue_item *queue_take(struct queue *q)
{
	struct list *node;

	if (q->under_way >= q->under_way_max)
		return NULL;
	list_for_each(node, &q->turns) {
		struct lane *lane = container_of(node, struct lane, turn);
		struct queue_item *item = container_of(lane->waiting.next, struct queue_item, node);

		/* At its own limit, an enclave keeps its turn for when one of its calls ends. */
		if (item->enclave_max && lane->under_way >= item->enclave_max)
			continue;
		list_del(&lane->turn);
		list_append(&q->turns, &lane->turn);
		stop_waiting(lane, item);
		item->under_way = true;
		lane->under_way++;
		q->under_way++;
		return item;
	}
	return NULL;
}

void queue_remove(struct queue *q, struct queue_item *item)
{
	struct lane *lane = &q->lanes[item->enclave];

	if (!item->under_way) {
		stop_waiting(lane, item);
		return;
	}
	item->under_way = false;
	assert(lane->under_way > 0 && q->under_way > 0);
	lane->under_way--;
	q->under_way--;
}

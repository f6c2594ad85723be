/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "engine/timers.h"

/*
 * ev_now() is the time of day: a step of it would end every connection at once, or
 * let none be over.  libev's own clock shows only in what is left of a timer.
 */
static double timers_now(struct timers *t)
{
	return TIMERS_FAR_S - ev_timer_remaining(t->loop, &t->far);
}

/* Puts the ev_timer on the earliest head. */
static void timers_arm(struct timers *t)
{
	double first = 0, now;

	for (size_t i = 0; i < t->n; i++) {
		const struct list *l = &t->lengths[i].list;

		if (!list_is_empty(l)) {
			double at = container_of(l->next, struct deadline, node)->at;

			if (first == 0 || at < first)
				first = at;
		}
	}
	t->armed = first;
	ev_timer_stop(t->loop, &t->timer);
	if (first == 0)
		return;
	now = timers_now(t);
	ev_timer_set(&t->timer, first > now ? first - now : 0., 0.);
	ev_timer_start(t->loop, &t->timer);
}

static void timers_fire(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct timers *t = container_of(timer, struct timers, timer);
	double now = timers_now(t);

	(void)loop;
	(void)events;
	t->armed = now; /* what is set meanwhile does not arm: the end does */
	for (size_t i = 0; i < t->n; i++) {
		struct list *l = &t->lengths[i].list;

		while (!list_is_empty(l)) {
			struct deadline *d = container_of(l->next, struct deadline, node);

			if (d->at > now)
				break;
			list_del(&d->node);
			d->expired(d);
		}
	}
	timers_arm(t);
}

static void never(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)timer;
	(void)events;
}

void timers_init(struct timers *t, struct ev_loop *loop)
{
	t->loop = loop;
	t->n = 0;
	t->armed = 0;
	ev_timer_init(&t->timer, timers_fire, 0., 0.);
	ev_timer_init(&t->far, never, TIMERS_FAR_S, 0.);
	ev_timer_start(loop, &t->far);
	ev_unref(loop); /* alone it keeps no loop running */
}

void timers_fini(struct timers *t)
{
	ev_timer_stop(t->loop, &t->timer);
	ev_ref(t->loop);
	ev_timer_stop(t->loop, &t->far);
}

void deadline_init(struct deadline *d, void (*expired)(struct deadline *d))
{
	list_init(&d->node);
	d->expired = expired;
}

static struct list *timers_list(struct timers *t, uint32_t ms, uint32_t *ret_ms)
{
	size_t longest = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (t->lengths[i].ms == ms) {
			*ret_ms = ms;
			return &t->lengths[i].list;
		}
		if (t->lengths[i].ms > t->lengths[longest].ms)
			longest = i;
	}
	if (t->n == TIMERS_LENGTHS) {
		*ret_ms = t->lengths[longest].ms;
		return &t->lengths[longest].list;
	}
	t->lengths[t->n].ms = *ret_ms = ms;
	list_init(&t->lengths[t->n].list);
	return &t->lengths[t->n++].list;
}

void deadline_set(struct timers *t, struct deadline *d, uint32_t ms)
{
	struct list *l;

	list_del(&d->node);
	if (ms == 0)
		return;
	l = timers_list(t, ms, &ms);
	d->at = timers_now(t) + ms / 1000.;
	list_append(l, &d->node);
	if (t->armed == 0 || d->at < t->armed)
		timers_arm(t);
}

void deadline_clear(struct deadline *d)
{
	list_del(&d->node);
}

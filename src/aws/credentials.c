/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/credentials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws/machine.h"
#include "log/log.h"

struct identity {
	struct list node;
	struct credentials *all;
	const char *role;		/* NULL: the process's own */
	const char *near;		/* region to assume it in where nothing else says one, or NULL */
	struct aws_keys keys;		/* access_key_id NULL: none yet */
	uint64_t generation;
	char *region;
	struct list waiting;		/* of struct credentials_wait */
	bool fetching;			/* or waiting for the base to be fetched */
	bool base_refused;		/* since the fetch began: once is enough */
	uint64_t base_generation;
	struct credentials_wait base;
	struct fetch fetch;
	ev_timer again;			/* the next fetch */
	ev_tstamp ended;		/* of the last fetch */
	unsigned failures;		/* since the last success */
	char why[CREDENTIALS_WHY_SIZE];
};

static const struct credentials_who own = { NULL, NULL };

struct credentials {
	const struct fetch_setup *setup;
	struct identity own;
	struct list roles;		/* of struct identity */
};

static void begin(struct identity *i);

static bool is_valid(const struct identity *i)
{
	return i->keys.access_key_id && (!i->keys.expires_s || i->keys.expires_s > machine_now_s());
}

static const char *name_of(const struct identity *i)
{
	return i->role ? i->role : "this process";
}

/* --- the end of a fetch --- */

static void wake(struct identity *i)
{
	struct list woken;

	/* Who asks again may have to wait again. */
	list_move_all(&woken, &i->waiting);
	while (!list_is_empty(&woken)) {
		struct credentials_wait *w = container_of(woken.next, struct credentials_wait, node);

		list_del(&w->node);
		w->done(w);
	}
}

static void again_in(struct identity *i, double seconds)
{
	struct ev_loop *loop = i->all->setup->loop;

	ev_timer_stop(loop, &i->again);
	ev_timer_set(&i->again, seconds, 0.);
	ev_timer_start(loop, &i->again);
}

static void format_end(const struct aws_keys *k, char *ret, size_t size)
{
	time_t end = (time_t)k->expires_s;
	struct tm tm;

	if (!k->expires_s || !gmtime_r(&end, &tm) || !strftime(ret, size, "until %Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(ret, size, "without end");
}

static void failed(struct identity *i)
{
	uint32_t wait_ms = CREDENTIALS_AGAIN_MIN_MS;
	char end[64];

	for (unsigned n = 0; n < i->failures && wait_ms < CREDENTIALS_AGAIN_MAX_MS; n++)
		wait_ms *= 2;
	if (wait_ms > CREDENTIALS_AGAIN_MAX_MS)
		wait_ms = CREDENTIALS_AGAIN_MAX_MS;
	wait_ms = wait_ms / 2 + (uint32_t)(((uint64_t)wait_ms / 2 * machine_random()) >> 32);
	i->failures++;
	if (is_valid(i)) {
		format_end(&i->keys, end, sizeof(end));
		log_warning("aws: no new credentials for %s: %s; the old ones serve %s, trying "
			    "again in %u ms",
			    name_of(i), i->why, end, wait_ms);
	} else {
		log_warning("aws: no credentials for %s: %s; trying again in %u ms", name_of(i),
			    i->why, wait_ms);
	}
	again_in(i, wait_ms / 1000.);
}

/* Takes them over from the fetch. */
static void succeeded(struct identity *i)
{
	struct fetch *f = &i->fetch;
	char end[64];
	int64_t left;

	if (!aws_keys_equal(&i->keys, &f->keys))
		i->generation++;
	aws_keys_fini(&i->keys);
	i->keys = f->keys;
	f->keys = (struct aws_keys){ 0 };
	free(i->region);
	i->region = f->plan.region;
	f->plan.region = NULL;
	i->failures = 0;
	i->why[0] = '\0';
	format_end(&i->keys, end, sizeof(end));
	log_notice("aws: credentials for %s from %s, good %s", name_of(i),
		   i->role ? "STS" : f->plan.told_by, end);
	if (!i->keys.expires_s)
		return;
	left = i->keys.expires_s - machine_now_s();
	again_in(i, left > 2 * CREDENTIALS_EARLY_S ? (double)(left - CREDENTIALS_EARLY_S)
		    : left > 2                     ? (double)left / 2
						   : 1.);
}

static void ended(struct identity *i, bool good)
{
	if (good && i->fetch.keys.expires_s && i->fetch.keys.expires_s <= machine_now_s()) {
		snprintf(i->why, sizeof(i->why), "those that %s gave are over already: is the clock right?",
			 i->role ? "STS" : i->fetch.plan.told_by);
		good = false;
	}
	i->ended = ev_now(i->all->setup->loop);
	if (good)
		succeeded(i);
	else
		failed(i);
	fetch_cancel(&i->fetch);
	i->fetching = false;
	wake(i);
}

/* What is over for STS is over for KMS too: the base's are fetched again, and then the role's. */
static bool base_comes_anew(struct identity *i)
{
	struct credentials_grant ignored;

	if (!i->role || !i->fetch.expired || i->base_refused)
		return false;
	i->base_refused = true;
	switch (credentials_refused(i->all, own, i->base_generation, &i->base, &ignored)) {
	case CREDENTIALS_READY:
		begin(i);
		return true;
	case CREDENTIALS_WAIT:
		return true;
	case CREDENTIALS_NONE:
		break;
	}
	return false;
}

static void fetched(struct fetch *f)
{
	struct identity *i = container_of(f, struct identity, fetch);

	if (!f->good && base_comes_anew(i))
		return;
	if (!f->good)
		snprintf(i->why, sizeof(i->why), "%s", f->why);
	ended(i, f->good);
}

/* --- the begin of one --- */

static void begin_own(struct identity *i)
{
	const struct fetch_setup *setup = i->all->setup;
	struct plan plan;

	if (plan_make(setup->config, setup->reader, &plan, i->why)) {
		fetch_start(&i->fetch, setup, &plan, fetched);
		return;
	}
	plan_fini(&plan);
	ended(i, false);
}

static void begin_role(struct identity *i)
{
	struct credentials_grant base;
	struct plan plan = { .source = PLAN_KEYS, .told_by = "STS", .n_roles = 1 };
	char why[CREDENTIALS_WHY_SIZE];

	switch (credentials_get(i->all, own, &i->base, &base, why)) {
	case CREDENTIALS_WAIT:
		return;
	case CREDENTIALS_NONE:
		snprintf(i->why, sizeof(i->why), "there are none to assume it with");
		ended(i, false);
		return;
	case CREDENTIALS_READY:
		break;
	}
	i->base_generation = base.generation;
	if (base.region || i->near)
		plan.region = secret_copy(slice_of_string(base.region ? base.region : i->near));
	if (plan_role_set(&plan.roles[0], slice_of_string(i->role), slice_of("", 0), slice_of("", 0)) &&
	    aws_keys_copy(&plan.keys, base.keys)) {
		fetch_start(&i->fetch, i->all->setup, &plan, fetched);
		return;
	}
	plan_fini(&plan);
	snprintf(i->why, sizeof(i->why), "out of memory");
	ended(i, false);
}

static void begin(struct identity *i)
{
	ev_timer_stop(i->all->setup->loop, &i->again);
	i->fetching = true;
	fetch_cancel(&i->fetch);
	if (i->role)
		begin_role(i);
	else
		begin_own(i);
}

static void base_known(struct credentials_wait *w)
{
	begin(container_of(w, struct identity, base));
}

static void begin_anew(struct identity *i)
{
	i->base_refused = false;
	begin(i);
}

static void time_is_come(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct identity *i = container_of(timer, struct identity, again);

	(void)loop;
	(void)events;
	if (!i->fetching)
		begin_anew(i);
}

/* --- identities --- */

static void identity_init(struct identity *i, struct credentials *c, struct credentials_who who)
{
	list_init(&i->node);
	list_init(&i->waiting);
	list_init(&i->base.node);
	i->base.done = base_known;
	i->all = c;
	i->role = who.role;
	i->near = who.region;
	ev_timer_init(&i->again, time_is_come, 0., 0.);
}

static void identity_fini(struct identity *i)
{
	ev_timer_stop(i->all->setup->loop, &i->again);
	list_del(&i->base.node);
	fetch_cancel(&i->fetch);
	aws_keys_fini(&i->keys);
	free(i->region);
}

/* Roles are the configuration's: there are no more than it names. */
static struct identity *find(struct credentials *c, struct credentials_who who)
{
	struct identity *i;
	struct list *node;

	if (!who.role)
		return &c->own;
	list_for_each(node, &c->roles) {
		i = container_of(node, struct identity, node);
		if (strcmp(i->role, who.role) == 0)
			return i;
	}
	i = calloc(1, sizeof(*i));
	if (!i)
		return NULL;
	identity_init(i, c, who);
	list_append(&c->roles, &i->node);
	return i;
}

struct credentials *credentials_new(const struct fetch_setup *setup)
{
	struct credentials *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->setup = setup;
	list_init(&c->roles);
	identity_init(&c->own, c, own);
	begin_anew(&c->own);
	return c;
}

void credentials_free(struct credentials *c)
{
	if (!c)
		return;
	while (!list_is_empty(&c->roles)) {
		struct identity *i = container_of(c->roles.next, struct identity, node);

		list_del(&i->node);
		identity_fini(i);
		free(i);
	}
	identity_fini(&c->own);
	free(c);
}

static enum credentials_state wait_for(struct identity *i, struct credentials_wait *w)
{
	list_append(&i->waiting, &w->node);
	return CREDENTIALS_WAIT;
}

static enum credentials_state grant(const struct identity *i, struct credentials_grant *ret)
{
	*ret = (struct credentials_grant){ &i->keys, i->region, i->generation };
	return CREDENTIALS_READY;
}

enum credentials_state credentials_get(struct credentials *c, struct credentials_who who,
				       struct credentials_wait *w, struct credentials_grant *ret,
				       char why[CREDENTIALS_WHY_SIZE])
{
	struct identity *i = find(c, who);

	if (!i) {
		snprintf(why, CREDENTIALS_WHY_SIZE, "out of memory");
		return CREDENTIALS_NONE;
	}
	if (is_valid(i))
		return grant(i, ret);
	/* The first time, or after their end; not while a failure is waited out. */
	if (!i->fetching && i->failures == 0)
		begin_anew(i);
	if (i->fetching)
		return wait_for(i, w);
	snprintf(why, CREDENTIALS_WHY_SIZE, "%s", i->why);
	return CREDENTIALS_NONE;
}

enum credentials_state credentials_refused(struct credentials *c, struct credentials_who who,
					   uint64_t generation, struct credentials_wait *w,
					   struct credentials_grant *ret)
{
	struct identity *i = find(c, who);

	if (!i)
		return CREDENTIALS_NONE;
	if (i->generation != generation && is_valid(i))
		return grant(i, ret);
	if (!i->fetching) {
		if (ev_now(c->setup->loop) - i->ended < CREDENTIALS_REFUSED_MS / 1000.)
			return CREDENTIALS_NONE;
		log_notice("aws: AWS says that the credentials for %s are over or unknown, "
			   "fetching others",
			   name_of(i));
		begin_anew(i);
	}
	return i->fetching ? wait_for(i, w) : CREDENTIALS_NONE;
}

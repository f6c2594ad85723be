/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An entry is what is known of a name, a lookup is what goes on to know more: one query
 * for each family.  Nothing is told to anybody from inside dns.c: what a lookup found
 * waits on the list `ready` until c-ares has returned.
 *
 * The timer of a lookup has two meanings.  Early: answer with what there is (the A
 * records, where only the AAAA are missing; or what has expired), and go on for the
 * cache.  Else: the servers are silent.
 */
#include <config.h>

#include "net/resolve.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include <ev.h>

#include "base/hash.h"
#include "config/config.h"
#include "log/log.h"
#include "net/dns.h"
#include "net/hosts.h"

#define HOSTS "/etc/hosts"

enum {
	NAME_MAX_LEN = 253, LABEL_MAX_LEN = 63,	/* RFC 1035, 2.3.4, as text */
	TTL_MIN_S = 1, TTL_MAX_S = 3600,
	FILES_CHECK_MS = 1000,
	BUCKETS_MIN = 64,
};

struct entry {
	struct list lru;	/* of resolver.lru, the one unused for longest first */
	struct list ready;	/* of resolver.ready, or none */
	struct list waiters;
	struct entry *next;	/* in its bucket */
	struct lookup *lookup;	/* what will tell more, or NULL */
	struct ip_addr *addresses;
	size_t n;
	uint64_t expires_ms;	/* of the addresses */
	uint64_t failed_ms;	/* until when the last failure is remembered; 0: none */
	enum resolve_status failure;
	uint64_t hash;
	size_t name_len;
	char name[];		/* with a NUL */
};

enum family_state { FAMILY_ASKED, FAMILY_FOUND, FAMILY_EMPTY, FAMILY_NO_NAME, FAMILY_FAILED };

struct family {
	struct dns_query query;
	struct lookup *lookup;
	enum family_state state;
	enum resolve_status failure;	/* FAMILY_FAILED */
	struct ip_addr *addresses;
	size_t n;
	uint64_t expires_ms;
};

struct lookup {
	struct list node;	/* of resolver.lookups */
	struct resolver *resolver;
	struct entry *entry;	/* NULL: nobody wants to know any more */
	unsigned under_way;	/* queries without an answer */
	bool early;		/* what the timer means: see above */
	bool told;		/* answered early already */
	bool starting;		/* c-ares has not returned yet */
	ev_timer timer;
	struct family v6, v4;
};

/* A file, and by what one tells that it is another: of no file all is 0. */
struct watched_file {
	const char *path;
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified;
	bool failed;	/* could not be read: tried again, and told once */
};

struct resolver {
	struct ev_loop *loop;
	const struct config_resolver *config;
	struct hash_key key;
	struct entry **buckets;
	size_t n_buckets, n;
	struct list lru, ready, lookups;
	struct dns *dns;
	ev_timer soon;		/* tells what is ready, as soon as the loop is reached */
	struct hosts *hosts, *old_hosts;	/* old: somebody may still read an answer */
	struct watched_file hosts_file, servers_file;
	uint64_t files_ms;	/* when they were looked at last */
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- files that change --- */

/* Is it another than last time? */
static bool file_changed(struct watched_file *f)
{
	struct stat st = { .st_ino = 0 };
	bool changed;

	if (stat(f->path, &st) == -1)
		memset(&st, 0, sizeof(st));
	changed = f->failed || f->device != st.st_dev || f->inode != st.st_ino || f->size != st.st_size ||
		  f->modified.tv_sec != st.st_mtim.tv_sec || f->modified.tv_nsec != st.st_mtim.tv_nsec;
	f->device = st.st_dev;
	f->inode = st.st_ino;
	f->size = st.st_size;
	f->modified = st.st_mtim;
	return changed;
}

static void file_was_read(struct watched_file *f, const char *error)
{
	if (error && !f->failed)
		log_warning("cannot read %s: %s; going on with what it said", f->path, error);
	f->failed = error != NULL;
}

static void hosts_renew(struct resolver *r)
{
	struct hosts *hosts;
	int error = hosts_read(r->hosts_file.path, &hosts);

	file_was_read(&r->hosts_file, error ? strerror(-error) : NULL);
	if (error)
		return;
	hosts_free(r->old_hosts);
	r->old_hosts = r->hosts;
	r->hosts = hosts;
	ev_feed_event(r->loop, &r->soon, EV_TIMER);
}

static void servers_renew(struct resolver *r)
{
	const char *error = NULL;

	dns_renew(r->dns, &error);
	file_was_read(&r->servers_file, error);
}

static void files_check(struct resolver *r, uint64_t now)
{
	if (now - r->files_ms < FILES_CHECK_MS)
		return;
	r->files_ms = now;
	if (file_changed(&r->hosts_file))
		hosts_renew(r);
	if (r->config->n_servers == 0 && file_changed(&r->servers_file))
		servers_renew(r);
}

/* --- the cache --- */

static struct entry **entry_place(const struct resolver *r, uint64_t hash, struct slice name)
{
	struct entry **place = &r->buckets[hash & (r->n_buckets - 1)];

	while (*place && ((*place)->hash != hash ||
			  !slice_equal(slice_of((*place)->name, (*place)->name_len), name)))
		place = &(*place)->next;
	return place;
}

static void entry_free(struct resolver *r, struct entry *e)
{
	*entry_place(r, e->hash, slice_of(e->name, e->name_len)) = e->next;
	r->n--;
	list_del(&e->lru);
	list_del(&e->ready);
	free(e->addresses);
	free(e);
}

static bool entry_is_busy(const struct entry *e)
{
	return e->lookup || !list_is_empty(&e->waiters) || !list_is_empty(&e->ready);
}

/* Makes room for one more; false where every entry is being looked up. */
static bool cache_evict(struct resolver *r)
{
	struct list *node;

	if (r->n < RESOLVE_CACHE_MAX)
		return true;
	list_for_each(node, &r->lru) {
		struct entry *e = container_of(node, struct entry, lru);

		if (!entry_is_busy(e)) {
			entry_free(r, e);
			return true;
		}
	}
	return false;
}

/* A table that could not grow serves on, with longer chains. */
static void cache_grow(struct resolver *r)
{
	size_t n = r->n_buckets * 2;
	struct entry **buckets = r->n >= r->n_buckets ? calloc(n, sizeof(struct entry *)) : NULL;
	struct list *node;

	if (!buckets)
		return;
	list_for_each(node, &r->lru) {
		struct entry *e = container_of(node, struct entry, lru);

		e->next = buckets[e->hash & (n - 1)];
		buckets[e->hash & (n - 1)] = e;
	}
	free(r->buckets);
	r->buckets = buckets;
	r->n_buckets = n;
}

static void entry_use(struct resolver *r, struct entry *e)
{
	list_del(&e->lru);
	list_append(&r->lru, &e->lru);
}

/* What is known of the name, used last from now on; a new one where nothing is. */
static struct entry *entry_get(struct resolver *r, struct slice name)
{
	uint64_t hash = hash_bytes(&r->key, name.ptr, name.len);
	struct entry *e = *entry_place(r, hash, name), **place;

	if (e) {
		entry_use(r, e);
		return e;
	}
	e = cache_evict(r) ? calloc(1, sizeof(*e) + name.len + 1) : NULL;
	if (!e)
		return NULL;
	cache_grow(r);
	memcpy(e->name, name.ptr, name.len);
	e->name_len = name.len;
	e->hash = hash;
	list_init(&e->ready);
	list_init(&e->waiters);
	place = &r->buckets[hash & (r->n_buckets - 1)];
	e->next = *place;
	*place = e;
	list_append(&r->lru, &e->lru);
	r->n++;
	return e;
}

static bool entry_is_known(const struct entry *e, uint64_t now)
{
	return (e->n > 0 && now < e->expires_ms) || now < e->failed_ms;
}

/* Who begins to wait now will be told. */
static bool entry_will_tell(const struct entry *e)
{
	return (e->lookup && !e->lookup->told) || !list_is_empty(&e->ready);
}

static bool entry_may_serve_stale(const struct resolver *r, const struct entry *e, uint64_t now)
{
	return e->n > 0 && now < e->expires_ms + r->config->stale_ms;
}

static void entry_answer(const struct resolver *r, const struct entry *e, uint64_t now,
			 struct resolve_answer *ret)
{
	bool fresh = e->n > 0 && now < e->expires_ms;

	*ret = (struct resolve_answer){ .status = e->failure };
	/* What was found a moment ago is told even if it has just expired. */
	if (!fresh && !entry_may_serve_stale(r, e, now) && !(e->n > 0 && e->failed_ms == 0))
		return;
	ret->status = RESOLVE_OK;
	ret->addresses = e->addresses;
	ret->n = e->n;
	ret->stale = !fresh && e->failed_ms != 0;
	ret->ttl_s = fresh ? (uint32_t)((e->expires_ms - now + 999) / 1000) : ret->stale ? 0 : 1;
}

/* Those who wait hear of it as soon as c-ares has returned. */
static void entry_tell(struct resolver *r, struct entry *e)
{
	if (list_is_empty(&e->waiters))
		return;
	list_del(&e->ready);
	list_append(&r->ready, &e->ready);
	ev_feed_event(r->loop, &r->soon, EV_TIMER);
}

static void deliver(void *data)
{
	struct resolver *r = data;

	hosts_free(r->old_hosts);
	r->old_hosts = NULL;
	while (!list_is_empty(&r->ready)) {
		struct entry *e = container_of(r->ready.next, struct entry, ready);
		struct resolve_answer answer;

		entry_answer(r, e, now_ms(), &answer);
		/* Who asks again from done() is answered at once, or waits behind those there are. */
		while (!list_is_empty(&e->waiters)) {
			struct resolve_query *q = container_of(e->waiters.next, struct resolve_query, node);

			list_del(&q->node);
			q->done(q, &answer);
		}
		list_del(&e->ready);
	}
}

static void soon_reached(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	deliver(container_of(timer, struct resolver, soon));
}

/* --- a lookup --- */

static void lookup_timer(struct lookup *l, bool early, int ms)
{
	l->early = early;
	ev_timer_stop(l->resolver->loop, &l->timer);
	ev_timer_set(&l->timer, ms / 1000., 0.);
	ev_timer_start(l->resolver->loop, &l->timer);
}

static void lookup_free_if_over(struct lookup *l)
{
	if (l->under_way > 0 || l->entry)
		return;
	list_del(&l->node);
	free(l->v6.addresses);
	free(l->v4.addresses);
	free(l);
}

/* Nobody wants to know any more: c-ares' word is not waited for. */
static void lookup_let_go(struct lookup *l)
{
	ev_timer_stop(l->resolver->loop, &l->timer);
	l->entry->lookup = NULL;
	l->entry = NULL;
	lookup_free_if_over(l);
}

static size_t merge(const struct family *v6, const struct family *v4, struct ip_addr *to)
{
	size_t n = 0;

	for (size_t i = 0; i < v6->n || i < v4->n; i++) {
		if (i < v6->n && n < RESOLVE_ADDRESSES_MAX)
			to[n++] = v6->addresses[i];
		if (i < v4->n && n < RESOLVE_ADDRESSES_MAX)
			to[n++] = v4->addresses[i];
	}
	return n;
}

static void entry_fail(struct resolver *r, struct entry *e, enum resolve_status failure, uint64_t now)
{
	e->failure = failure;
	e->failed_ms = now + RESOLVE_FAILURE_MS;
	if (failure == RESOLVE_NO_NAME || !entry_may_serve_stale(r, e, now)) {
		free(e->addresses);
		e->addresses = NULL;
		e->n = 0;
	}
}

/* Puts what the families found into the entry. */
static void lookup_found(struct lookup *l, uint64_t now)
{
	struct entry *e = l->entry;
	size_t n = l->v6.n + l->v4.n;
	struct ip_addr *addresses;

	if (n > RESOLVE_ADDRESSES_MAX)
		n = RESOLVE_ADDRESSES_MAX;
	addresses = malloc(n * sizeof(*addresses));
	if (!addresses) {
		entry_fail(l->resolver, e, RESOLVE_NO_MEMORY, now);
		return;
	}
	free(e->addresses);
	e->addresses = addresses;
	e->n = merge(&l->v6, &l->v4, addresses);
	e->expires_ms = l->v6.n ? l->v6.expires_ms : l->v4.expires_ms;
	if (l->v4.n && l->v4.expires_ms < e->expires_ms)
		e->expires_ms = l->v4.expires_ms;
	e->failed_ms = 0;
}

static bool either(const struct lookup *l, enum family_state s)
{
	return l->v6.state == s || l->v4.state == s;
}

/* What both families together mean. */
static void lookup_conclude(struct lookup *l)
{
	struct resolver *r = l->resolver;
	struct entry *e = l->entry;
	const struct family *failed = l->v4.state == FAMILY_FAILED ? &l->v4 : &l->v6;
	uint64_t now = now_ms();

	if (either(l, FAMILY_FOUND))
		lookup_found(l, now);
	else if (either(l, FAMILY_NO_NAME) || !either(l, FAMILY_FAILED))
		entry_fail(r, e, RESOLVE_NO_NAME, now);
	else
		entry_fail(r, e, failed->failure, now);
	lookup_let_go(l);
	entry_tell(r, e);
}

static void lookup_early(struct lookup *l)
{
	struct resolver *r = l->resolver;
	uint64_t now = now_ms();

	if (either(l, FAMILY_FOUND)) {
		lookup_found(l, now);
	} else if (entry_may_serve_stale(r, l->entry, now)) {
		entry_fail(r, l->entry, RESOLVE_TIMEOUT, now);
	} else { /* no more */
		lookup_timer(l, false, DNS_TIMEOUT_MS - RESOLVE_STALE_WAIT_MS);
		return;
	}
	l->told = true;
	entry_tell(r, l->entry);
	lookup_timer(l, false, DNS_TIMEOUT_MS);
}

static void family_silent(struct family *f)
{
	if (f->state == FAMILY_ASKED) {
		f->state = FAMILY_FAILED;
		f->failure = RESOLVE_TIMEOUT;
	}
}

static void lookup_expired(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct lookup *l = timer->data;

	(void)loop;
	(void)events;
	if (l->early) {
		lookup_early(l);
		return;
	}
	family_silent(&l->v6);
	family_silent(&l->v4);
	lookup_conclude(l);
}

static void family_found(struct family *f, const struct dns_answer *a)
{
	uint32_t ttl = a->ttl_s < TTL_MIN_S ? TTL_MIN_S : a->ttl_s > TTL_MAX_S ? TTL_MAX_S : a->ttl_s;

	f->addresses = malloc(a->n * sizeof(*f->addresses));
	if (!f->addresses) {
		f->state = FAMILY_FAILED;
		f->failure = RESOLVE_NO_MEMORY;
		return;
	}
	memcpy(f->addresses, a->addresses, a->n * sizeof(*f->addresses));
	f->n = a->n;
	f->expires_ms = now_ms() + 1000 * (uint64_t)ttl;
	f->state = FAMILY_FOUND;
}

static void family_take(struct family *f, const struct dns_answer *a)
{
	switch (a->status) {
	case DNS_FOUND:
		family_found(f, a);
		return;
	case DNS_EMPTY:
		f->state = FAMILY_EMPTY;
		return;
	case DNS_NO_NAME:
		f->state = FAMILY_NO_NAME;
		return;
	case DNS_FAILED:
		f->failure = RESOLVE_SERVER_FAILED;
		break;
	case DNS_SILENT:
		f->failure = RESOLVE_TIMEOUT;
		break;
	case DNS_NO_MEMORY:
		f->failure = RESOLVE_NO_MEMORY;
		break;
	}
	f->state = FAMILY_FAILED;
}

static void family_answered(struct dns_query *q, const struct dns_answer *a)
{
	struct family *f = container_of(q, struct family, query);
	struct lookup *l = f->lookup;

	l->under_way--;
	if (!l->entry) {
		lookup_free_if_over(l);
		return;
	}
	family_take(f, a);
	if (l->under_way == 0 && l->starting)
		lookup_timer(l, false, 0); /* not under the feet of who asks */
	else if (l->under_way == 0)
		lookup_conclude(l);
	else if (f == &l->v4 && f->state == FAMILY_FOUND)
		lookup_timer(l, true, RESOLVE_DELAY_MS);
}

static void family_ask(struct family *f, struct lookup *l, bool v6)
{
	f->lookup = l;
	f->query.v6 = v6;
	f->query.answered = family_answered;
	dns_ask(l->resolver->dns, &f->query, l->entry->name);
}

static bool lookup_start(struct resolver *r, struct entry *e, uint64_t now)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return false;
	if (e->lookup)
		lookup_let_go(e->lookup); /* of an answer that has expired meanwhile */
	l->resolver = r;
	l->entry = e;
	e->lookup = l;
	list_append(&r->lookups, &l->node);
	ev_timer_init(&l->timer, lookup_expired, 0., 0.);
	l->timer.data = l;
	if (entry_may_serve_stale(r, e, now))
		lookup_timer(l, true, RESOLVE_STALE_WAIT_MS);
	else
		lookup_timer(l, false, DNS_TIMEOUT_MS);
	l->under_way = 2; /* counted before: a failure may be told at once */
	l->starting = true;
	family_ask(&l->v6, l, true);
	family_ask(&l->v4, l, false);
	l->starting = false;
	return true;
}

/* --- the resolver --- */

static bool resolver_open(struct resolver *r)
{
	const char *text;
	int error;

	r->buckets = calloc(BUCKETS_MIN, sizeof(struct entry *));
	if (!r->buckets || getrandom(&r->key, sizeof(r->key), 0) != (ssize_t)sizeof(r->key)) {
		log_error("no memory or no random bytes for a resolver");
		return false;
	}
	r->n_buckets = BUCKETS_MIN;
	r->hosts_file.path = r->config->hosts ? r->config->hosts : HOSTS;
	r->servers_file.path = DNS_SERVERS_FILE;
	file_changed(&r->hosts_file);
	file_changed(&r->servers_file);
	r->files_ms = now_ms();
	error = hosts_read(r->hosts_file.path, &r->hosts);
	if (error < 0) {
		log_error("cannot read %s: %s", r->hosts_file.path, strerror(-error));
		return false;
	}
	r->dns = dns_new(r->loop, r->config, deliver, r, &text);
	if (!r->dns) {
		log_error("cannot make a resolver%s: %s", r->config->n_servers ? "" : " of " DNS_SERVERS_FILE, text);
		return false;
	}
	return true;
}

struct resolver *resolver_new(struct ev_loop *loop, const struct config_resolver *c)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (!r) {
		log_error("no memory for a resolver");
		return NULL;
	}
	r->loop = loop;
	r->config = c;
	list_init(&r->lru);
	list_init(&r->ready);
	list_init(&r->lookups);
	ev_timer_init(&r->soon, soon_reached, 0., 0.);
	if (!resolver_open(r)) {
		resolver_free(r);
		return NULL;
	}
	return r;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	while (!list_is_empty(&r->lookups)) {
		struct lookup *l = container_of(r->lookups.next, struct lookup, node);

		/* Those that are not answered yet are freed by dns_free(). */
		list_del(&l->node);
		if (l->entry)
			lookup_let_go(l);
	}
	dns_free(r->dns);
	while (!list_is_empty(&r->lru)) {
		struct entry *e = container_of(r->lru.next, struct entry, lru);

		while (!list_is_empty(&e->waiters))
			list_del(e->waiters.next);
		entry_free(r, e);
	}
	ev_timer_stop(r->loop, &r->soon);
	hosts_free(r->hosts);
	hosts_free(r->old_hosts);
	free(r->buckets);
	free(r);
}

void resolve_query_init(struct resolve_query *q,
			void (*done)(struct resolve_query *q, const struct resolve_answer *a))
{
	list_init(&q->node);
	q->done = done;
}

static bool name_is_possible(struct slice name)
{
	size_t label = 0;

	if (name.len == 0 || name.len > NAME_MAX_LEN)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '.' && label == 0)
			return false;
		label = name.ptr[i] == '.' ? 0 : label + 1;
		if (label > LABEL_MAX_LEN)
			return false;
	}
	return label > 0;
}

static void answer_given(const struct ip_addr *addresses, size_t n, struct resolve_answer *ret)
{
	*ret = (struct resolve_answer){
		.status = n ? RESOLVE_OK : RESOLVE_NO_NAME,
		.addresses = addresses,
		.n = n > RESOLVE_ADDRESSES_MAX ? RESOLVE_ADDRESSES_MAX : n,
		.ttl_s = n ? TTL_MIN_S : 0,
	};
}

static const struct ip_addr local_addresses[] = { { { [15] = 1 } },
						  { { [10] = 255, [11] = 255, [12] = 127, [15] = 1 } } };

/* RFC 6761, 6.3: never asked of a server, whatever the hosts file lacks. */
static bool is_localhost(struct slice name)
{
	return slice_equal(name, SLICE_LITERAL("localhost")) || slice_ends_with(name, SLICE_LITERAL(".localhost"));
}

/* Of the cache alone: a name that is not there makes no entry. */
static bool cache_find(struct resolver *r, struct slice name, uint64_t now, struct resolve_answer *ret)
{
	struct entry *e = *entry_place(r, hash_bytes(&r->key, name.ptr, name.len), name);

	if (!e || !entry_is_known(e, now))
		return false;
	entry_use(r, e);
	entry_answer(r, e, now, ret);
	return true;
}

bool resolve_known(struct resolver *r, struct slice name, struct resolve_answer *ret)
{
	const struct ip_addr *addresses;
	uint64_t now = now_ms();
	size_t n;

	files_check(r, now);
	if (!name_is_possible(name)) {
		answer_given(NULL, 0, ret);
		return true;
	}
	if ((n = hosts_find(r->hosts, name, &addresses)) > 0) {
		answer_given(addresses, n, ret);
		return true;
	}
	if (is_localhost(name)) {
		answer_given(local_addresses, 2, ret);
		return true;
	}
	return cache_find(r, name, now, ret);
}

bool resolve_start(struct resolver *r, struct resolve_query *q, struct slice name,
		   struct resolve_answer *ret)
{
	struct entry *e;

	if (resolve_known(r, name, ret))
		return true;
	e = entry_get(r, name);
	if (!e || (!entry_will_tell(e) && !lookup_start(r, e, now_ms()))) {
		*ret = (struct resolve_answer){ .status = RESOLVE_NO_MEMORY };
		return true;
	}
	list_append(&e->waiters, &q->node);
	return false;
}

void resolve_cancel(struct resolve_query *q)
{
	list_del(&q->node);
}

const char *resolve_status_text(enum resolve_status status)
{
	switch (status) {
	case RESOLVE_OK:
		return "found";
	case RESOLVE_NO_NAME:
		return "no such name, or a name without addresses";
	case RESOLVE_SERVER_FAILED:
		return "the name servers failed, or refused to answer";
	case RESOLVE_TIMEOUT:
		return "the name servers are silent";
	case RESOLVE_NO_MEMORY:
		return "out of memory for look-ups";
	}
	return "";
}

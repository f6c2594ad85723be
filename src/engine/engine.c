/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts the workers, hands them their listeners, and waits for the master's word.
 *
 * Accepting lives here: in batches, and with a pause when descriptors run out.
 * A TCP listener has a socket for each worker.  A vsock or Unix one has a single
 * socket (vsock knows no SO_REUSEPORT), whose owner deals descriptors out.
 */
#include <config.h>

#include "engine/engine.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "config/config.h"
#include "engine/limits.h"
#include "engine/sources.h"
#include "engine/worker.h"
#include "net/resolve.h"
#include "route/rules.h"

enum {
	ACCEPT_BATCH = 64,		/* clients of a listener, before others have their turn */
	ACCEPT_ROW = 16,		/* of these, taken before the first is served */
	DESCRIPTOR_RESERVE = 200,	/* listeners, loops, log, and a margin */
	PAUSE_MS = 100,			/* without descriptors, when nothing is released meanwhile */
	WARN_S = 10,			/* between two warnings of it */
};

struct accepting {
	ev_io io;
	struct crew *crew;
	const struct engine_listener *listener;
	bool shared;	/* deals descriptors out to all workers */
	unsigned next;
};

/* An accepted descriptor on its way to another worker. */
struct letter {
	struct mail mail;
	const struct engine_listener *listener;
	struct net_sockaddr peer;
	int fd;
};

/* A worker and what this file keeps for it. */
struct crew {
	struct worker worker;
	pthread_t thread;
	struct accepting *accepting;
	size_t n_accepting;
	bool paused, done_accepting;
	ev_tstamp warned;	/* last, that descriptors ran out */
	ev_timer resume;
	ev_prepare turn;
	ev_async wake;
	pthread_mutex_t lock;	/* of the mailbox */
	struct list mailbox;
	struct engine *engine;
};

struct engine {
	struct engine_shared shared;
	struct crew *crews;
	unsigned n;
	_Atomic unsigned n_accepting;	/* crews that may still deal descriptors out */
	int done_fd;	/* each worker that ends adds one */
};

static void wake_all(struct engine *e)
{
	for (unsigned i = 0; i < e->n; i++)
		ev_async_send(e->crews[i].worker.loop, &e->crews[i].wake);
}

/* --- accepting --- */

static void accept_watch(struct crew *crew, bool on)
{
	for (size_t i = 0; i < crew->n_accepting; i++) {
		if (on)
			ev_io_start(crew->worker.loop, &crew->accepting[i].io);
		else
			ev_io_stop(crew->worker.loop, &crew->accepting[i].io);
	}
}

/*
 * For good: an address that only this engine still had open would take clients
 * into a backlog that nobody reads.  Each socket has exactly one crew.
 */
static void accept_end(struct crew *crew)
{
	if (crew->done_accepting)
		return;
	crew->done_accepting = true;
	accept_watch(crew, false);
	for (size_t i = 0; i < crew->n_accepting; i++)
		close(crew->accepting[i].listener->fd);
	/*
	 * libev leaves it to close() to take a descriptor out of its epoll set.  This close() does
	 * not, since other processes have the socket as well: each new client would wake us on
	 * a number that is another's by now.  A fresh set has only what is watched.
	 */
	if (crew->n_accepting > 0)
		ev_loop_fork(crew->worker.loop);
	crew->n_accepting = 0;
	/* The last one tells those that waited for letters from it. */
	if (--crew->engine->n_accepting == 0)
		wake_all(crew->engine);
}

static void accept_pause(struct crew *crew, int error)
{
	if (crew->paused)
		return;
	crew->paused = true;
	accept_watch(crew, false);
	ev_timer_set(&crew->resume, PAUSE_MS / 1000., 0.);
	ev_timer_start(crew->worker.loop, &crew->resume);
	if (crew->warned != 0 && ev_now(crew->worker.loop) - crew->warned < WARN_S)
		return;
	crew->warned = ev_now(crew->worker.loop);
	log_warning("cannot accept: %s; waiting for a connection to end", strerror(error));
}

static void accept_resume(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct crew *crew = container_of(timer, struct crew, resume);

	(void)events;
	ev_timer_stop(loop, timer);
	crew->paused = false;
	if (!crew->engine->shared.draining)
		accept_watch(crew, true);
}

void worker_released(struct worker *w)
{
	struct crew *crew = container_of(w, struct crew, worker);

	if (crew->paused)
		ev_feed_event(w->loop, &crew->resume, EV_TIMER);
}

void worker_post(struct worker *w, struct mail *m)
{
	struct crew *crew = container_of(w, struct crew, worker);

	pthread_mutex_lock(&crew->lock);
	list_append(&crew->mailbox, &m->node);
	pthread_mutex_unlock(&crew->lock);
	ev_async_send(w->loop, &crew->wake);
}

static void letter_deliver(struct worker *w, struct mail *m)
{
	struct letter *letter = container_of(m, struct letter, mail);

	w->shared->setup->conns->accepted(w, letter->listener, letter->fd, &letter->peer);
	free(letter);
}

static void deal_out(struct accepting *a, int fd, const struct net_sockaddr *peer)
{
	struct engine *e = a->crew->engine;
	struct crew *to = &e->crews[a->next++ % e->n];
	struct letter *letter;

	if (to == a->crew) {
		e->shared.setup->conns->accepted(&to->worker, a->listener, fd, peer);
		return;
	}
	letter = malloc(sizeof(*letter));
	if (!letter) {
		log_error("out of memory for a connection, closing it");
		close(fd);
		return;
	}
	letter->mail.deliver = letter_deliver;
	letter->listener = a->listener;
	letter->peer = *peer;
	letter->fd = fd;
	worker_post(&to->worker, &letter->mail);
}

/* -1: nobody is left, or nobody can be taken. */
static int accept_next(struct accepting *a, struct net_sockaddr *ret_peer)
{
	for (int i = 0; i < ACCEPT_ROW; i++) {
		int fd;

		ret_peer->storage.ss_family = AF_UNSPEC; /* an unnamed Unix peer writes no more than its family */
		ret_peer->len = sizeof(ret_peer->storage);
		fd = accept4(a->io.fd, (struct sockaddr *)&ret_peer->storage, &ret_peer->len,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd != -1)
			return fd;
		/* ECONNABORTED and the like concern one connection that is gone. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			accept_pause(a->crew, errno);
		else if (errno != EAGAIN)
			continue;
		break;
	}
	return -1;
}

/*
 * Clients that came together have descriptors in a row where none is served before all are
 * taken.  Near the limit of connections that would take descriptors that nobody reckoned with.
 */
static int row_size(const struct engine *e)
{
	uint64_t n = atomic_load_explicit(&e->shared.connections, memory_order_relaxed);

	return n + (uint64_t)ACCEPT_ROW * e->n <= e->shared.max_connections ? ACCEPT_ROW : 1;
}

/* Takes and serves at most size; fewer where nobody is left. */
static int accept_row(struct accepting *a, int size)
{
	const struct engine_conns *conns = a->crew->engine->shared.setup->conns;
	struct net_sockaddr peers[ACCEPT_ROW];
	int fds[ACCEPT_ROW], n = 0;

	while (n < size && (fds[n] = accept_next(a, &peers[n])) != -1)
		n++;
	for (int i = 0; i < n; i++) {
		if (a->shared)
			deal_out(a, fds[i], &peers[i]);
		else
			conns->accepted(&a->crew->worker, a->listener, fds[i], &peers[i]);
	}
	return n;
}

static void accept_ready(struct ev_loop *loop, ev_io *io, int events)
{
	struct accepting *a = container_of(io, struct accepting, io);
	int size, n;

	(void)loop;
	(void)events;
	for (int taken = 0; taken < ACCEPT_BATCH; taken += n) {
		size = row_size(a->crew->engine);
		n = accept_row(a, size);
		if (n < size)
			return;
	}
}

/* --- a worker's loop --- */

static void read_mail(struct crew *crew)
{
	struct list mail, *node, *next;

	pthread_mutex_lock(&crew->lock);
	list_move_all(&mail, &crew->mailbox);
	pthread_mutex_unlock(&crew->lock);
	list_for_each_safe(node, next, &mail) {
		struct mail *m = container_of(node, struct mail, node);

		m->deliver(&crew->worker, m);
	}
}

static void woken(struct ev_loop *loop, ev_async *async, int events)
{
	struct crew *crew = container_of(async, struct crew, wake);
	struct engine_shared *s = &crew->engine->shared;

	(void)events;
	read_mail(crew);
	if (s->draining) {
		accept_end(crew);
		s->setup->conns->drain_all(&crew->worker);
	}
	if (s->stopping) {
		s->setup->conns->end_all(&crew->worker);
		ev_break(loop, EVBREAK_ALL);
	}
}

/* The end of a turn: the dead are freed, the log is written. */
static void turn_over(struct ev_loop *loop, ev_prepare *prepare, int events)
{
	struct crew *crew = container_of(prepare, struct crew, turn);
	struct worker *w = &crew->worker;

	(void)events;
	w->shared->setup->conns->free_dead(w);
	log_flush(&w->log);
	if (!w->shared->draining || crew->engine->n_accepting > 0)
		return;
	/* Nobody deals out any more: what lies in the mailbox now is the last of it. */
	read_mail(crew);
	if (w->n_live == 0)
		ev_break(loop, EVBREAK_ALL);
}

static void *worker_main(void *arg)
{
	struct crew *crew = arg;
	uint64_t one = 1;

	accept_watch(crew, true);
	ev_run(crew->worker.loop, 0);
	turn_over(crew->worker.loop, &crew->turn, 0);
	if (write(crew->engine->done_fd, &one, sizeof(one)) != sizeof(one))
		log_error("cannot tell the engine that a worker has ended");
	return NULL;
}

/* Of "config" clients only listen, of "tcp" nobody knows, and "logs" may be silent for hours. */
static bool client_speaks_first(enum config_mode mode)
{
	switch (mode) {
	case MODE_HTTP:
	case MODE_HTTPS:
	case MODE_KMS:
	case MODE_EGRESS:
	case MODE_STATUS:
		return true;
	case MODE_TCP:
	case MODE_CONFIG:
	case MODE_LOGS:
	case MODE_COUNT:
		break;
	}
	return false;
}

/* Which listeners this worker accepts from. */
static void crew_listen(struct crew *crew, const struct engine_setup *setup)
{
	crew->accepting = xcalloc(setup->n_listeners, sizeof(*crew->accepting));
	for (size_t i = 0; i < setup->n_listeners; i++) {
		const struct engine_listener *l = &setup->listeners[i];
		enum address_kind kind = l->listen->address.kind;
		bool shared = kind != ADDRESS_TCP_ANY && kind != ADDRESS_TCP_IP;
		struct accepting *a;

		if ((shared ? i : l->slot) % setup->n_workers != crew->worker.number)
			continue;
		a = &crew->accepting[crew->n_accepting++];
		a->crew = crew;
		a->listener = l;
		a->shared = shared && setup->n_workers > 1;
		if (!shared)
			net_listen_for_words(l->fd, client_speaks_first(l->frontend->mode));
		ev_io_init(&a->io, accept_ready, l->fd, EV_READ);
	}
}

/* Is there anything that a connection could have to look up? */
static bool config_has_names(const struct config *c)
{
	for (size_t i = 0; i < c->n_frontends; i++) {
		const struct config_frontend *f = &c->frontends[i];

		if (f->mode == MODE_EGRESS)
			return true;
		for (size_t k = 0; k < f->n_rules; k++) {
			const struct config_target *t = &f->rules[k].target;

			if (t->kind == TARGET_ADDRESS && t->address.kind == ADDRESS_TCP_NAME)
				return true;
		}
	}
	for (size_t i = 0; i < c->n_backends; i++) {
		for (size_t k = 0; k < c->backends[i].n_servers; k++) {
			if (c->backends[i].servers[k].address.kind == ADDRESS_TCP_NAME)
				return true;
		}
	}
	return false;
}

static bool crew_init(struct crew *crew, struct engine *e, unsigned number)
{
	const struct engine_setup *setup = e->shared.setup;
	struct worker *w = &crew->worker;

	w->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOSIGMASK);
	if (!w->loop)
		return false;
	if (!ready_init(&w->ready, w->loop, setup->conns->event)) {
		ev_loop_destroy(w->loop);
		w->loop = NULL;
		return false;
	}
	w->shared = &e->shared;
	w->number = number;
	timers_init(&w->timers, w->loop);
	pool_init(&w->conns, setup->conns->size);
	w->kit = setup->conns->kit_new(setup);
	list_init(&w->live);
	list_init(&w->dead);
	w->scratch = route_scratch_new();
	w->servers = xcalloc(setup->config->n_servers, sizeof(*w->servers));
	crew->engine = e;
	list_init(&crew->mailbox);
	pthread_mutex_init(&crew->lock, NULL);
	ev_timer_init(&crew->resume, accept_resume, 0., 0.);
	ev_prepare_init(&crew->turn, turn_over);
	ev_prepare_start(w->loop, &crew->turn);
	ev_async_init(&crew->wake, woken);
	ev_async_start(w->loop, &crew->wake);
	crew_listen(crew, setup);
	if (config_has_names(setup->config))
		w->resolver = resolver_new(w->loop, &setup->config->resolver);
	return w->resolver || !config_has_names(setup->config);
}

static void crew_fini(struct crew *crew)
{
	struct worker *w = &crew->worker;

	if (!w->loop)
		return;
	/* What was dealt out and not yet taken. */
	read_mail(crew);
	w->shared->setup->conns->end_all(w);
	turn_over(w->loop, &crew->turn, 0);
	resolver_free(w->resolver);
	timers_fini(&w->timers);
	pool_fini(&w->conns);
	w->shared->setup->conns->kit_free(w->kit);
	ready_fini(&w->ready);
	route_scratch_free(w->scratch);
	free(w->servers);
	free(crew->accepting);
	pthread_mutex_destroy(&crew->lock);
	ev_loop_destroy(w->loop);
}

/* --- the engine's own thread: the master's word --- */

static void begin_drain(struct engine *e, int *ret_grace_ms)
{
	if (e->shared.draining)
		return;
	e->shared.draining = true;
	*ret_grace_ms = (int)e->shared.setup->config->global.grace_ms;
	wake_all(e);
}

static void begin_stop(struct engine *e)
{
	e->shared.draining = e->shared.stopping = true;
	wake_all(e);
}

/* One message, and the descriptor that came with it, or -1. */
static ssize_t receive(int fd, char *ret_message, int *ret_fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { ret_message, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	*ret_fd = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
	return n;
}

static void hear_master(struct engine *e, int fd, int *ret_grace_ms)
{
	char message;
	int log_fd;
	ssize_t n = receive(fd, &message, &log_fd);

	if (n == -1 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0 || message == ENGINE_STOP) { /* a master that died takes us along */
		begin_stop(e);
	} else if (message == ENGINE_DRAIN) {
		begin_drain(e, ret_grace_ms);
	} else if (message == ENGINE_REOPEN && log_fd != -1) {
		int r = log_replace(log_fd);

		if (r < 0)
			log_error("cannot take the new log file: %s", strerror(-r));
	}
	if (log_fd != -1)
		close(log_fd);
}

static double monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void supervise(struct engine *e)
{
	struct pollfd fds[2] = { { .fd = e->shared.setup->control_fd, .events = POLLIN },
				 { .fd = e->done_fd, .events = POLLIN } };
	double deadline = 0;
	unsigned done = 0;

	while (done < e->n) {
		double left = deadline - monotonic();
		int grace_ms = 0, n = poll(fds, 2, deadline == 0 ? -1 : left > 0 ? (int)(left * 1000) + 1 : 0);
		uint64_t count;

		if (n == 0) {
			log_notice("the grace time is over, ending what is left");
			begin_stop(e);
			deadline = 0;
			continue;
		}
		if (n < 0)
			continue;
		if (fds[1].revents && read(e->done_fd, &count, sizeof(count)) == sizeof(count))
			done += (unsigned)count;
		if (fds[0].revents) {
			hear_master(e, fds[0].fd, &grace_ms);
			if (e->shared.stopping) {
				fds[0].fd = -1;
				deadline = 0;
			} else if (grace_ms) {
				deadline = monotonic() + grace_ms / 1000.;
			}
		}
	}
}

/* A call to AWS has a connection of its own, on a thread that no worker counts. */
static uint64_t descriptor_reserve(const struct config *config)
{
	for (size_t i = 0; i < config->n_frontends; i++) {
		if (config->frontends[i].mode == MODE_KMS || config->frontends[i].mode == MODE_LOGS)
			return DESCRIPTOR_RESERVE + (uint64_t)config->aws.max_requests;
	}
	return DESCRIPTOR_RESERVE;
}

static uint32_t connection_limit(const struct config *config)
{
	uint64_t reserve = descriptor_reserve(config), most;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur <= reserve + 2)
		most = 1;
	else
		most = (limit.rlim_cur - reserve) / 2;
	if (config->global.max_connections && config->global.max_connections < most)
		most = config->global.max_connections;
	return most > UINT32_MAX ? UINT32_MAX : (uint32_t)most;
}

static void block_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

int engine_run(const struct engine_setup *setup)
{
	struct engine e = { .n = setup->n_workers };
	char ready = ENGINE_READY;
	unsigned started = 0;
	int status = 0;

	signal(SIGPIPE, SIG_IGN); /* splice(2) has no MSG_NOSIGNAL */
	block_signals();
	e.shared.setup = setup;
	e.shared.max_connections = connection_limit(setup->config);
	e.shared.per_frontend = xcalloc(setup->config->n_frontends, sizeof(*e.shared.per_frontend));
	e.shared.sources = sources_new(setup->config);
	e.shared.per_server = xcalloc(setup->config->n_servers, sizeof(*e.shared.per_server));
	e.shared.limits = limits_new(setup->config);
	e.n_accepting = e.n;
	e.done_fd = eventfd(0, EFD_CLOEXEC);
	e.crews = xcalloc(e.n, sizeof(*e.crews));
	for (unsigned i = 0; i < e.n; i++) {
		if (!crew_init(&e.crews[i], &e, i)) {
			log_error("cannot make worker %u", i);
			status = 1;
			goto out;
		}
	}
	if (setup->aws) {
		int r = setup->aws->start(setup->config, &e.shared.aws);

		if (r < 0) {
			log_error("cannot start the thread for AWS: %s", strerror(-r));
			status = 1;
			goto out;
		}
	}
	for (; started < e.n; started++) {
		if (pthread_create(&e.crews[started].thread, NULL, worker_main, &e.crews[started]) != 0) {
			log_error("cannot start worker %u", started);
			status = 1;
			e.n = started;
			begin_stop(&e);
			goto join;
		}
	}
	log_notice("engine %d serves: %u workers, at most %u connections", (int)getpid(), e.n, e.shared.max_connections);
	if (send(setup->control_fd, &ready, 1, MSG_NOSIGNAL) != 1)
		begin_stop(&e);
	supervise(&e);
join:
	for (unsigned i = 0; i < started; i++)
		pthread_join(e.crews[i].thread, NULL);
	if (e.shared.aws)
		setup->aws->stop(e.shared.aws);
out:
	for (unsigned i = 0; i < setup->n_workers; i++)
		crew_fini(&e.crews[i]);
	if (e.shared.aws)
		setup->aws->free(e.shared.aws);
	free(e.crews);
	free((void *)e.shared.per_frontend);
	free((void *)e.shared.per_server);
	sources_free(e.shared.sources);
	limits_free(e.shared.limits);
	close(e.done_fd);
	return status;
}

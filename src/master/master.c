/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/xalloc.h"
#include "config/diagnostics.h"
#include "config/load.h"
#include "engine/engine.h"
#include "log/log.h"
#include "master/machine.h"
#include "master/privileges.h"
#include "master/runnable.h"
#include "master/sandbox.h"
#include "master/sockets.h"

enum {
	ENGINES_MAX = 8,		/* one that serves and those that drain; past it the oldest is told to stop */
	READY_MS = 10000,		/* a new engine says that it serves by then */
	RESTART_FIRST_MS = 100,
	RESTART_MAX_MS = 10000,
	STOP_MS = 10000,		/* an engine that was told to end at once is gone by then, or killed */
	RESTART_CALM_MS = 60000,	/* an engine that lived this long begins the back-off anew */
};

struct engine_process {
	pid_t pid;	/* 0: free */
	int control;
	bool ready, draining;
	uint64_t started_ms, stop_ms;	/* stop_ms: when it is told to stop, 0: never */
};

struct master {
	const struct master_options *options;
	struct sockets sockets;
	struct config *config;		/* the one in use */
	struct engine_listener *listeners;
	size_t n_listeners;
	struct engine_process engines[ENGINES_MAX];
	unsigned stopping;		/* signals so far */
	int signals;
	uint64_t restart_at_ms;		/* 0: no engine is missing */
	uint32_t restart_delay_ms;
	int status;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* sd_notify(3)'s protocol: a datagram to $NOTIFY_SOCKET. */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (len < 2 || len >= sizeof(un.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(un.sun_path, path, len);
	if (path[0] == '@')
		un.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&un,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == -1)
		log_warning("cannot tell the service manager: %s, ignoring", strerror(errno));
	close(fd);
}

static unsigned worker_count(const struct config *c)
{
	cpu_set_t cpus;

	if (c->global.workers)
		return c->global.workers;
	return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
}

/* --- engines --- */

/* What a sanitizer, or a build that is trained ("make pgo"), does at exit(3). */
extern void __lsan_do_leak_check(void) __attribute__((weak));
extern void __gcov_dump(void) __attribute__((weak));

static _Noreturn void engine_child(struct master *m, const struct privileges *p, int control)
{
	struct engine_setup setup = { .config = m->config, .listeners = m->listeners,
				      .n_listeners = m->n_listeners, .n_workers = worker_count(m->config),
				      .control_fd = control, .modes = m->options->modes,
				      .conns = m->options->conns, .aws = m->options->aws };
	int r;

	close(m->signals);
	for (unsigned i = 0; i < ENGINES_MAX; i++) {
		if (m->engines[i].pid)
			close(m->engines[i].control);
	}
	/* An address that this configuration no longer has would stay open in us. */
	sockets_forget(&m->sockets, m->listeners, m->n_listeners);
	prctl(PR_SET_NAME, "teeproxy-engine", 0, 0, 0);
	r = privileges_drop(p);
	if (r < 0) {
		log_error("cannot drop privileges: %s", strerror(-r));
		_exit(1);
	}
	sandbox_enter(m->config);
	r = m->options->engine(&setup);
	if (__lsan_do_leak_check)
		__lsan_do_leak_check();
	if (__gcov_dump)
		__gcov_dump();
	_exit(r);
}

static struct engine_process *free_engine(struct master *m)
{
	struct engine_process *oldest = NULL;

	for (unsigned i = 0; i < ENGINES_MAX; i++) {
		struct engine_process *e = &m->engines[i];

		if (e->pid == 0)
			return e;
		if (!oldest || e->started_ms < oldest->started_ms)
			oldest = e;
	}
	log_warning("%u engines are still draining, ending the oldest", ENGINES_MAX - 1);
	kill(oldest->pid, SIGKILL);
	waitpid(oldest->pid, NULL, 0);
	close(oldest->control);
	oldest->pid = 0;
	return oldest;
}

static struct engine_process *start_engine(struct master *m, const struct privileges *p)
{
	struct engine_process *e = free_engine(m);
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1) {
		log_error("cannot make a control socket: %s", strerror(errno));
		return NULL;
	}
	pid = fork();
	if (pid == -1) {
		log_error("cannot start an engine: %s", strerror(errno));
		close(pair[0]);
		close(pair[1]);
		return NULL;
	}
	if (pid == 0) {
		close(pair[0]);
		engine_child(m, p, pair[1]);
	}
	close(pair[1]);
	*e = (struct engine_process){ .pid = pid, .control = pair[0], .started_ms = now_ms() };
	return e;
}

static void tell(struct engine_process *e, char message)
{
	if (e->pid && send(e->control, &message, 1, MSG_NOSIGNAL) == -1 && errno != EPIPE && errno != ECONNRESET)
		log_warning("cannot tell engine %d: %s, ignoring", (int)e->pid, strerror(errno));
}

/* It may not open the file itself: it is another user, in a sandbox. */
static void tell_log(struct engine_process *e)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .room = { 0 } };
	char message = ENGINE_REOPEN;
	struct iovec iov = { &message, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int fd = log_descriptor();

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(e->control, &m, MSG_NOSIGNAL) == -1)
		log_warning("cannot give engine %d the new log: %s, ignoring", (int)e->pid, strerror(errno));
}

/* The engine keeps its own grace time; some time past it, it is killed. */
static void drain(struct master *m, struct engine_process *e)
{
	if (e->draining)
		return;
	e->draining = true;
	e->stop_ms = now_ms() + m->config->global.grace_ms + STOP_MS;
	tell(e, ENGINE_DRAIN);
}

/* Waits for the engine's word; false where it dies or says nothing. */
static bool wait_ready(struct engine_process *e)
{
	struct pollfd fd = { .fd = e->control, .events = POLLIN };
	char message = 0;

	if (poll(&fd, 1, READY_MS) == 1 && recv(e->control, &message, 1, 0) == 1 && message == ENGINE_READY) {
		e->ready = true;
		return true;
	}
	return false;
}

static void abandon(struct engine_process *e)
{
	kill(e->pid, SIGKILL);
	waitpid(e->pid, NULL, 0);
	close(e->control);
	e->pid = 0;
}

/* --- configuration --- */

static void log_diagnostics(const struct diagnostics *d)
{
	for (const struct diagnostic *p = d->first; p; p = p->next)
		log_message(p->severity == SEVERITY_ERROR ? LEVEL_ERROR : LEVEL_WARNING, "%s:%u:%u: %s",
			    p->span.source ? p->span.source->name : "teeproxy", p->span.line, p->span.column,
			    p->message);
}

static struct config *load(const struct master *m, bool at_start)
{
	struct arena *tree = arena_new();
	struct diagnostics diags;
	struct config *c;
	struct buffer out = BUFFER_INIT;
	const char *lacks;

	diagnostics_init(&diags, tree);
	c = config_load(&config_reader_system, m->options->file, tree, &diags);
	if (at_start) { /* a person reads it: with the lines and carets */
		diagnostics_print(&diags, &out);
		fwrite(buffer_slice(&out).ptr, 1, out.len, stderr);
	} else {
		log_diagnostics(&diags);
	}
	buffer_fini(&out);
	arena_free(tree);
	if (c && !config_is_runnable(c, m->options->modes)) {
		config_free(c);
		c = NULL;
	}
	lacks = c ? config_machine_lacks(c) : NULL;
	if (lacks)
		log_warning("%s", lacks);
	return c;
}

static int open_log(const struct master *m, const struct config *c)
{
	int r = log_open(&c->global.log);

	if (r == -ENOTSUP)
		log_error("log to syslog or journal has no engine yet: use stderr or file");
	else if (r < 0)
		log_error("cannot open the log file \"%s\": %s", c->global.log.path, strerror(-r));
	if (m->options->log_level)
		log_set_level(*m->options->log_level);
	return r;
}

/* Makes c the configuration in use, with an engine of its own; c is taken on success. */
static bool serve(struct master *m, struct config *c)
{
	struct config *old = m->config;
	struct engine_listener *listeners, *old_listeners = m->listeners;
	struct engine_process *e;
	struct privileges p;
	size_t n, old_n = m->n_listeners;

	if (!privileges_resolve(&c->global, &p) ||
	    sockets_open(&m->sockets, c, worker_count(c), &listeners, &n) < 0)
		return false;
	if (open_log(m, c) < 0) {
		free(listeners);
		return false;
	}
	m->config = c;
	m->listeners = listeners;
	m->n_listeners = n;
	e = start_engine(m, &p);
	if (!e || !wait_ready(e)) {
		log_error("the new engine does not serve; nothing has changed");
		if (e)
			abandon(e);
		free(listeners);
		m->config = old;
		m->listeners = old_listeners;
		m->n_listeners = old_n;
		if (old) {
			(void)open_log(m, old);
			sockets_keep(&m->sockets, old_listeners, old_n);
		}
		return false;
	}
	for (unsigned i = 0; i < ENGINES_MAX; i++) {
		if (m->engines[i].pid && &m->engines[i] != e)
			drain(m, &m->engines[i]);
	}
	sockets_keep(&m->sockets, listeners, n);
	free(old_listeners);
	config_free(old);
	m->restart_at_ms = 0;
	return true;
}

static void reload(struct master *m)
{
	struct config *c;
	char state[64];

	/* Type=notify-reload tells its own reloads by the time. */
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)now_ms() * 1000);
	notify(state);
	c = load(m, false);
	if (!c)
		log_error("the configuration has errors; the running one stays");
	else if (!serve(m, c))
		config_free(c);
	else
		log_notice("reloaded %s", m->options->file);
	notify("READY=1");
}

/* --- the loop --- */

static void stop(struct master *m)
{
	notify("STOPPING=1");
	if (m->stopping++ == 0)
		log_notice("stopping: waiting up to %u s for connections to end", m->config->global.grace_ms / 1000);
	else
		log_notice("stopping at once");
	for (unsigned i = 0; i < ENGINES_MAX; i++) {
		if (!m->engines[i].pid)
			continue;
		if (m->stopping == 1) {
			drain(m, &m->engines[i]);
		} else {
			tell(&m->engines[i], ENGINE_STOP);
			m->engines[i].stop_ms = now_ms() + STOP_MS;
		}
	}
	/* Who comes now is refused, rather than left in a backlog that nobody reads. */
	sockets_fini(&m->sockets);
}

static void engine_died(struct master *m, struct engine_process *e, int status)
{
	bool wanted = e->draining || m->stopping;

	close(e->control);
	if (WIFSIGNALED(status))
		log_error("engine %d was killed by signal %d (%s)", (int)e->pid, WTERMSIG(status),
			  strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0 || !wanted)
		log_error("engine %d ended with status %d", (int)e->pid, WEXITSTATUS(status));
	else
		log_info("engine %d has ended", (int)e->pid);
	if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0)
		m->status = m->stopping ? 1 : 0;
	if (!wanted) {
		uint64_t now = now_ms();

		if (now - e->started_ms > RESTART_CALM_MS || m->restart_delay_ms == 0)
			m->restart_delay_ms = RESTART_FIRST_MS;
		else if (m->restart_delay_ms < RESTART_MAX_MS)
			m->restart_delay_ms *= 2;
		m->restart_at_ms = now + m->restart_delay_ms;
		log_notice("starting an engine in %u ms", m->restart_delay_ms);
	}
	e->pid = 0;
}

static void reap(struct master *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned i = 0; i < ENGINES_MAX; i++) {
			if (m->engines[i].pid == pid)
				engine_died(m, &m->engines[i], status);
		}
	}
}

static void restart(struct master *m)
{
	struct engine_process *e;
	struct privileges p;

	m->restart_at_ms = 0;
	if (!privileges_resolve(&m->config->global, &p))
		return;
	e = start_engine(m, &p);
	if (e && wait_ready(e)) {
		log_notice("engine %d serves", (int)e->pid);
		return;
	}
	if (e)
		abandon(e);
	m->restart_delay_ms = m->restart_delay_ms < RESTART_MAX_MS ? m->restart_delay_ms * 2 : RESTART_MAX_MS;
	m->restart_at_ms = now_ms() + m->restart_delay_ms;
}

static void reopen_log(struct master *m)
{
	int r = log_reopen();

	if (r < 0)
		log_error("cannot open the log file again: %s, going on with the old one", strerror(-r));
	else if (m->config->global.log.sink == LOG_TO_FILE)
		log_notice("the log file was opened again");
	for (unsigned i = 0; i < ENGINES_MAX && r == 0 && m->config->global.log.sink == LOG_TO_FILE; i++) {
		if (m->engines[i].pid)
			tell_log(&m->engines[i]);
	}
}

static void handle_signal(struct master *m, uint32_t number)
{
	switch (number) {
	case SIGHUP:
		if (!m->stopping)
			reload(m);
		break;
	case SIGTERM:
	case SIGINT:
		stop(m);
		break;
	case SIGUSR1:
		reopen_log(m);
		break;
	case SIGCHLD:
		reap(m);
		break;
	default:
		break;
	}
}

static bool has_engine(const struct master *m)
{
	for (unsigned i = 0; i < ENGINES_MAX; i++) {
		if (m->engines[i].pid)
			return true;
	}
	return false;
}

/* When something is due: a restart, or an engine that drains for too long. */
static int next_timeout(struct master *m)
{
	uint64_t now = now_ms(), first = m->restart_at_ms;

	for (unsigned i = 0; i < ENGINES_MAX; i++) {
		struct engine_process *e = &m->engines[i];

		if (!e->pid || !e->stop_ms)
			continue;
		if (now >= e->stop_ms) {
			log_warning("engine %d does not end, killing it", (int)e->pid);
			kill(e->pid, SIGKILL);
			e->stop_ms = 0;
		} else if (!first || e->stop_ms < first) {
			first = e->stop_ms;
		}
	}
	return first == 0 ? -1 : first > now ? (int)(first - now) : 0;
}

static void loop(struct master *m)
{
	struct pollfd fd = { .fd = m->signals, .events = POLLIN };
	struct signalfd_siginfo info;

	while (has_engine(m) || (!m->stopping && m->restart_at_ms)) {
		if (poll(&fd, 1, next_timeout(m)) == 1 && read(m->signals, &info, sizeof(info)) == sizeof(info))
			handle_signal(m, info.ssi_signo);
		if (m->restart_at_ms && !m->stopping && now_ms() >= m->restart_at_ms)
			restart(m);
	}
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
		log_warning("cannot raise the descriptor limit: %s, ignoring", strerror(errno));
	log_notice("%llu descriptors make %llu connections", (unsigned long long)limit.rlim_cur,
		   limit.rlim_cur > 200 ? (unsigned long long)(limit.rlim_cur - 200) / 2 : 1);
}

static bool write_pid_file(const char *path)
{
	FILE *f = path ? fopen(path, "we") : NULL;

	if (!path)
		return true;
	if (!f || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f) != 0) {
		log_error("cannot write the pid file \"%s\": %s", path, strerror(errno));
		return false;
	}
	return true;
}

int master_run(const struct master_options *options)
{
	struct master m = { .options = options };
	struct config *c;
	char *pid_file = NULL;

	/* The environment may hold AWS keys: no core dump, and nobody but root looks into /proc. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
		log_warning("core dumps stay possible: %s", strerror(errno));
	sockets_init(&m.sockets);
	c = load(&m, true);
	if (!c)
		return 1;
	m.signals = open_signals();
	if (open_log(&m, c) < 0) {
		config_free(c);
		close(m.signals);
		return 1;
	}
	raise_descriptor_limit();
	if (!write_pid_file(c->global.pid_file) || !serve(&m, c)) {
		config_free(c);
		m.status = 1;
	} else {
		pid_file = c->global.pid_file ? xstrdup(c->global.pid_file) : NULL;
		notify("READY=1");
		loop(&m);
		log_notice("stopped");
		config_free(m.config);
	}
	free(m.listeners);
	sockets_fini(&m.sockets);
	if (pid_file)
		unlink(pid_file);
	free(pid_file);
	close(m.signals);
	return m.status;
}

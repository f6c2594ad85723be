/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock says which files the engine may open, seccomp which calls it may make.
 *
 * Calls that no library of ours has a reason for (exec, ptrace, mounts, modules,
 * keys, bpf) end the process: that is an attack, and the master starts another
 * engine.  Any other call that is not on the list fails with EPERM, because a
 * newer C library may try one and fall back, and an outage of every enclave would
 * be worse than one optimisation refused.
 */
#include <config.h>

#include "master/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config/config.h"
#include "log/log.h"
#include "net/dns.h"

enum {
	LANDLOCK_READ = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
	LANDLOCK_WRITE = LANDLOCK_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
			 LANDLOCK_ACCESS_FS_REMOVE_FILE,
	/* All that the first version of Landlock knows. */
	LANDLOCK_HANDLED = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
};

/* A path that is not there cannot be opened later either: no fault. */
static void landlock_allow(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access };
	struct stat st;

	if (!path || !*path)
		return;
	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd == -1)
		return;
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == -1)
		log_warning("sandbox: cannot allow %s: %s, ignoring", path, strerror(errno));
	close(rule.parent_fd);
}

/* The directory of a file, so that the file may be another after rotation. */
static void landlock_allow_beside(int ruleset, const char *path, uint64_t access)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	char directory[4096];

	if (!path || (slash && (size_t)(slash - path) >= sizeof(directory) - 1))
		return;
	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - path) + 1 : 1,
		 slash ? path : ".");
	landlock_allow(ruleset, directory, access);
}

/* A file that is read again when another has taken its place, and what it is a link to. */
static void landlock_allow_changing(int ruleset, const char *path)
{
	char *real = path ? realpath(path, NULL) : NULL;
	const char *const files[] = { path, real };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		/* All of the root directory would be too much for it. */
		if (files[i] && strrchr(files[i], '/') != files[i])
			landlock_allow_beside(ruleset, files[i], LANDLOCK_READ);
		else
			landlock_allow(ruleset, files[i], LANDLOCK_READ);
	}
	free(real);
}

/* Files that hold credentials are read again when those end; who rotates them renames. */
static void landlock_allow_credentials(int ruleset)
{
	static const char *const rotated[] = {
		"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	};
	static const char *const roots[] = { "AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR" };
	const char *home = getenv("HOME");
	char path[4096];

	for (size_t i = 0; i < sizeof(rotated) / sizeof(rotated[0]); i++)
		landlock_allow_beside(ruleset, getenv(rotated[i]), LANDLOCK_READ);
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
		landlock_allow(ruleset, getenv(roots[i]), LANDLOCK_READ);
	if (home && snprintf(path, sizeof(path), "%s/.aws", home) < (int)sizeof(path))
		landlock_allow(ruleset, path, LANDLOCK_READ);
	/* Tokens that are rotated by renaming a link beside them. */
	landlock_allow(ruleset, "/var/run/secrets", LANDLOCK_READ);
}

static void landlock_allow_configured(int ruleset, const struct config *c)
{
	if (c->global.log.sink == LOG_TO_FILE)
		landlock_allow_beside(ruleset, c->global.log.path, LANDLOCK_WRITE);
	landlock_allow(ruleset, c->aws.ca_file, LANDLOCK_READ);
	landlock_allow_changing(ruleset, c->resolver.hosts);
	if (c->resolver.n_servers == 0)
		landlock_allow_changing(ruleset, DNS_SERVERS_FILE);
	for (size_t i = 0; i < c->n_frontends; i++) {
		const struct config_frontend *f = &c->frontends[i];

		if (f->store == STORE_DIR)
			landlock_allow(ruleset, f->store_where, LANDLOCK_WRITE);
		for (size_t r = 0; r < f->n_rules; r++)
			if (f->rules[r].target.kind == TARGET_FILE)
				landlock_allow_beside(ruleset, f->rules[r].target.text, LANDLOCK_WRITE);
	}
}

static void enter_landlock(const struct config *c)
{
	/* Resolver, certificates, libraries that are loaded late, and what the C library asks of the machine. */
	static const char *const readable[] = { "/etc", "/usr/lib", "/usr/lib64", "/lib", "/lib64",
						"/usr/share", "/usr/local/share", "/run/systemd/resolve",
						"/proc/self", "/proc/sys", "/proc/net",
						"/sys/devices/system/cpu", "/dev/urandom", "/dev/random" };
	struct landlock_ruleset_attr attr = { .handled_access_fs = LANDLOCK_HANDLED };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	int ruleset;

	if (abi < 1) {
		log_warning("sandbox: this kernel has no Landlock (%s): files are guarded by their modes only",
			    strerror(errno));
		return;
	}
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset == -1) {
		log_warning("sandbox: no Landlock: %s, going on without", strerror(errno));
		return;
	}
	for (size_t i = 0; i < sizeof(readable) / sizeof(readable[0]); i++)
		landlock_allow(ruleset, readable[i], LANDLOCK_READ);
	landlock_allow(ruleset, "/dev/null", LANDLOCK_READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
	landlock_allow_credentials(ruleset);
	landlock_allow_configured(ruleset, c);
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) == -1)
		log_warning("sandbox: no Landlock: %s, going on without", strerror(errno));
	close(ruleset);
}

/* Names, since not every machine has every call; those it does not know are passed over. */
static const char *const allowed_calls[] = {
	/* descriptors and files */
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2",
	"open", "openat", "close", "close_range", "dup", "dup2", "dup3", "fcntl", "ioctl", "lseek", "stat",
	"fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2",
	"readlink", "readlinkat", "getdents64", "getcwd", "unlink", "unlinkat", "rename", "renameat",
	"renameat2", "fsync", "fdatasync", "ftruncate", "fallocate", "flock", "mkdir", "mkdirat", "umask",
	"fchmod", "fadvise64", "sync_file_range",
	/* sockets and waiting */
	"socket", "socketpair", "connect", "accept", "accept4", "bind", "listen", "getsockname",
	"getpeername", "getsockopt", "setsockopt", "send", "recv", "sendto", "recvfrom", "sendmsg", "recvmsg",
	"sendmmsg", "recvmmsg", "shutdown", "poll", "ppoll", "select", "pselect6", "epoll_create",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2",
	"timerfd_create", "timerfd_settime", "timerfd_gettime", "pipe", "pipe2", "splice", "tee", "vmsplice",
	"sendfile", "copy_file_range", "signalfd4", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
	/* memory and threads */
	"brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "mlock", "munlock", "mlock2", "membarrier",
	"memfd_create", "futex", "futex_waitv", "set_robust_list", "get_robust_list", "rseq", "set_tid_address",
	"arch_prctl", "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam",
	"sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getcpu", "get_mempolicy",
	/* clocks, signals, and who one is */
	"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "rt_sigpending", "sigaltstack",
	"tgkill", "restart_syscall", "exit", "exit_group", "getpid", "getppid", "gettid", "getuid", "geteuid",
	"getgid", "getegid", "getgroups", "getpgrp", "uname", "sysinfo", "getrusage", "getrlimit",
	"getrandom", "wait4", "capget",
};

static const char *const deadly_calls[] = {
	"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "kexec_load",
	"kexec_file_load", "init_module", "finit_module", "delete_module", "mount", "umount2", "pivot_root",
	"chroot", "setns", "unshare", "bpf", "perf_event_open", "userfaultfd", "add_key", "request_key",
	"keyctl", "io_uring_setup", "reboot", "swapon", "swapoff", "open_by_handle_at", "acct",
};

static int add_calls(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int call = seccomp_syscall_resolve_name(names[i]), r;

		if (call == __NR_SCMP_ERROR)
			continue;
		r = seccomp_rule_add(ctx, action, call, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_special_calls(scmp_filter_ctx ctx)
{
	/* Threads yes, processes no.  clone3 hides its flags in memory: ENOSYS makes the C library use clone. */
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* Names of threads, and nothing that gives powers: there are none to give. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 0);
	/* Reading limits: no new ones. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0, 0));
	return r;
}

static void enter_seccomp(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = ctx ? 0 : -ENOMEM;

	if (r == 0)
		r = add_calls(ctx, SCMP_ACT_ALLOW, allowed_calls,
			      sizeof(allowed_calls) / sizeof(allowed_calls[0]));
	if (r == 0)
		r = add_calls(ctx, SCMP_ACT_KILL_PROCESS, deadly_calls,
			      sizeof(deadly_calls) / sizeof(deadly_calls[0]));
	if (r == 0)
		r = add_special_calls(ctx);
	if (r == 0)
		r = seccomp_load(ctx);
	if (r < 0)
		log_warning("sandbox: no system call filter: %s, going on without", strerror(-r));
	seccomp_release(ctx);
}

/* A sanitizer's own threads and files are none of ours to list. */
static bool has_sanitizer(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#elif defined(__has_feature)
	return __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
	return false;
#endif
}

void sandbox_enter(const struct config *c)
{
	if (!c->global.sandbox || has_sanitizer())
		return;
	enter_landlock(c);
	enter_seccomp();
}

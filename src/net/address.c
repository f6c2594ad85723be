/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

enum {
	BACKLOG = 4096,
	VSOCK_UNBOUND_MS = 24 * 3600 * 1000,	/* for "timeout connect off" */
	KEEP_IDLE_S = 60, KEEP_INTERVAL_S = 10, KEEP_PROBES = 6,
};

_Static_assert(ADDRESS_CID_ANY == VMADDR_CID_ANY, "vsock:* is VMADDR_CID_ANY");

static void from_ip(const struct address *a, struct net_sockaddr *ret)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&ret->storage;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ret->storage;

	if (a->kind == ADDRESS_TCP_IP && ip_is_v4(&a->ip)) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)a->port);
		memcpy(&in->sin_addr, a->ip.b + 12, 4);
		ret->len = sizeof(*in);
		return;
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((uint16_t)a->port);
	if (a->kind == ADDRESS_TCP_IP)
		memcpy(&in6->sin6_addr, a->ip.b, 16);
	ret->len = sizeof(*in6);
}

static int from_path(const char *name, bool abstract, struct net_sockaddr *ret)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&ret->storage;
	size_t len = strlen(name);

	if (len + 1 > sizeof(un->sun_path))
		return -ENAMETOOLONG;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path + abstract, name, len);
	ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return 0;
}

int net_sockaddr_from(const struct address *a, struct net_sockaddr *ret)
{
	struct sockaddr_vm *vm = (struct sockaddr_vm *)&ret->storage;

	memset(ret, 0, sizeof(*ret));
	switch (a->kind) {
	case ADDRESS_TCP_ANY:
	case ADDRESS_TCP_IP:
		from_ip(a, ret);
		return 0;
	case ADDRESS_VSOCK:
		vm->svm_family = AF_VSOCK;
		vm->svm_cid = a->cid;
		vm->svm_port = a->port;
		ret->len = sizeof(*vm);
		return 0;
	case ADDRESS_UNIX:
	case ADDRESS_UDS_VSOCK:
		return from_path(a->name, false, ret);
	case ADDRESS_UNIX_ABSTRACT:
		return from_path(a->name, true, ret);
	case ADDRESS_TCP_NAME:
		break;
	}
	return -EADDRNOTAVAIL;
}

void net_peer_from(const struct net_sockaddr *sa, struct net_peer *ret)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&sa->storage;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&sa->storage;
	const struct sockaddr_vm *vm = (const struct sockaddr_vm *)&sa->storage;

	memset(ret, 0, sizeof(*ret));
	switch (sa->storage.ss_family) {
	case AF_INET:
		ret->ip = ip_from_v4(&in->sin_addr);
		ret->port = ntohs(in->sin_port);
		ret->has_ip = true;
		break;
	case AF_INET6:
		ret->ip = ip_from_v6(&in6->sin6_addr);
		ret->port = ntohs(in6->sin6_port);
		ret->has_ip = true;
		break;
	case AF_VSOCK:
		ret->cid = vm->svm_cid;
		ret->has_cid = true;
		break;
	default:
		break;
	}
}

char *net_peer_format(const struct net_peer *p, char buf[NET_PEER_TEXT_SIZE])
{
	char text[IP_TEXT_SIZE];

	if (p->has_ip)
		snprintf(buf, NET_PEER_TEXT_SIZE, ip_is_v4(&p->ip) ? "%s:%u" : "[%s]:%u",
			 ip_format(&p->ip, text), p->port);
	else if (p->has_cid)
		snprintf(buf, NET_PEER_TEXT_SIZE, "cid:%u", p->cid);
	else
		snprintf(buf, NET_PEER_TEXT_SIZE, "unix");
	return buf;
}

/* Does somebody answer on this socket file? */
static bool is_alive(const struct net_sockaddr *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive;

	if (fd == -1)
		return true;
	alive = connect(fd, (const struct sockaddr *)&sa->storage, sa->len) == 0 || errno != ECONNREFUSED;
	close(fd);
	return alive;
}

static int bind_and_listen(int fd, const struct address *a, const struct net_sockaddr *sa, unsigned mode)
{
	const struct sockaddr *addr = (const struct sockaddr *)&sa->storage;
	struct stat st;

	if (bind(fd, addr, sa->len) == -1) {
		if (errno != EADDRINUSE || a->kind != ADDRESS_UNIX || stat(a->name, &st) == -1 ||
		    !S_ISSOCK(st.st_mode) || is_alive(sa)) {
			errno = EADDRINUSE == errno || a->kind != ADDRESS_UNIX ? errno : EADDRINUSE;
			return -errno;
		}
		/* Left behind by a program that died. */
		if (unlink(a->name) == -1 || bind(fd, addr, sa->len) == -1)
			return -errno;
	}
	if (a->kind == ADDRESS_UNIX && chmod(a->name, mode) == -1)
		return -errno;
	return listen(fd, BACKLOG) == -1 ? -errno : 0;
}

int net_listen(const struct address *a, unsigned socket_mode, bool reuseport)
{
	struct net_sockaddr sa;
	int one = 1, zero = 0, fd, r = net_sockaddr_from(a, &sa);
	bool tcp = a->kind == ADDRESS_TCP_ANY || a->kind == ADDRESS_TCP_IP;

	if (r < 0)
		return r;
	fd = socket(sa.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1 && errno == EAFNOSUPPORT && a->kind == ADDRESS_TCP_ANY) {
		/* A machine without IPv6: "*" is all of IPv4 then. */
		struct address v4 = *a;

		v4.kind = ADDRESS_TCP_IP;
		v4.ip = ip_from_v4("\0\0\0\0");
		return net_listen(&v4, socket_mode, reuseport);
	}
	if (fd == -1)
		return -errno;
	if (tcp && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == -1 ||
		    /* Accepted sockets have it from their listener: tcp(7). */
		    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1 ||
		    (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == -1) ||
		    (sa.storage.ss_family == AF_INET6 &&
		     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, a->kind == ADDRESS_TCP_ANY ? &zero : &one,
				sizeof(one)) == -1)))
		r = -errno;
	if (r == 0)
		r = bind_and_listen(fd, a, &sa, socket_mode);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

void net_listen_for_words(int fd, bool client_speaks_first)
{
	int seconds = client_speaks_first;

	/* Where it cannot be had, clients are accepted a moment earlier. */
	setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
}

static void dial_options(int fd, int family, bool speaks, uint32_t timeout_ms)
{
	const uint32_t ms = timeout_ms ? timeout_ms : VSOCK_UNBOUND_MS;
	const struct timeval tv = { ms / 1000, (ms % 1000) * 1000 };
	const int one = 1;

	/* Without it the kernel gives up after 2 s whatever our own limit is. */
	if (family == AF_VSOCK)
		setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &tv, sizeof(tv));
	/*
	 * Of a socket that connects this option says that words follow at once: the first bytes
	 * carry the third ACK of the handshake (tcp_rcv_synsent_state_process).  So does TCP_QUICKACK
	 * off, but not past a net_dial_again().
	 */
	else if (speaks)
		setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof(one));
	else if (family == AF_INET || family == AF_INET6)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static int dial_once(const struct net_sockaddr *sa, bool speaks, uint32_t timeout_ms, int *ret_fd)
{
	int fd = socket(sa->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r = 0;

	if (fd == -1)
		return -errno;
	dial_options(fd, sa->storage.ss_family, speaks, timeout_ms);
	if (connect(fd, (const struct sockaddr *)&sa->storage, sa->len) == -1) {
		/* A Unix listener whose queue is full says EAGAIN; nothing is under way then. */
		r = -errno;
		if (r != -EINPROGRESS) {
			close(fd);
			return r;
		}
	}
	*ret_fd = fd;
	return r;
}

int net_dial_to_speak(const struct address *a, int *ret_fd)
{
	struct net_sockaddr sa;
	int r = net_sockaddr_from(a, &sa);

	return r < 0 ? r : dial_once(&sa, true, 0, ret_fd);
}

int net_dial_again(int fd, const struct address *a)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	struct net_sockaddr sa, peer = { .len = sizeof(peer.storage) };
	int r = net_sockaddr_from(a, &sa);

	if (r < 0)
		return r;
	/* Who still waits for an acknowledgement has a peer. */
	if (getpeername(fd, (struct sockaddr *)&peer.storage, &peer.len) == 0 || errno != ENOTCONN)
		return -ESTALE;
	if (connect(fd, &nobody, sizeof(nobody)) == -1 ||
	    connect(fd, (const struct sockaddr *)&sa.storage, sa.len) == -1)
		return -errno;
	return 0;
}

int net_dial(const struct address *a, uint32_t timeout_ms, int *ret_fd)
{
	struct net_sockaddr sa;
	struct sockaddr_vm *vm = (struct sockaddr_vm *)&sa.storage;
	int r = net_sockaddr_from(a, &sa);

	if (r < 0)
		return r;
	r = dial_once(&sa, false, timeout_ms, ret_fd);
	/*
	 * A parent that has vhost_vsock loaded, for containers say, looks for enclaves among its
	 * own guests and finds no such device, though they are its siblings: the flag has the
	 * hypervisor asked (18).  Where it is the host, nothing is above it, and ENODEV stays.
	 */
	if (r == -ENODEV && a->kind == ADDRESS_VSOCK && a->cid > VMADDR_CID_HOST) {
		vm->svm_flags |= VMADDR_FLAG_TO_HOST;
		r = dial_once(&sa, false, timeout_ms, ret_fd);
	}
	return r;
}

#define LOAD "load vhost_vsock or nitro_enclaves where enclaves run, vsock_loopback for tests"

void net_keep_alive(int fd)
{
	static const int on = 1, idle = KEEP_IDLE_S, every = KEEP_INTERVAL_S, probes = KEEP_PROBES;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

const char *net_dial_error(const struct address *a, int error)
{
	bool vsock = a->kind == ADDRESS_VSOCK;

	switch (error) {
	case ENODEV:
		return vsock ? "no enclave with this CID, or no vsock transport: " LOAD : "no such device";
	case ECONNRESET:
		return vsock ? "nobody listens on this port of the enclave, or its queue is full" : "connection reset";
	case ETIMEDOUT:
		return vsock ? "no answer: there is no enclave with this CID, or it hangs" : "no answer in time";
	case ECONNREFUSED:
		return a->kind == ADDRESS_UDS_VSOCK ? "nobody listens on this port of the guest, or no VMM on the socket" :
						      "nobody listens there";
	case EPROTO:
		return a->kind == ADDRESS_UDS_VSOCK ? "the VMM's answer to CONNECT is none" : strerror(error);
	case EAFNOSUPPORT:
		return vsock ? "this kernel has no vsock: " LOAD : "address family not supported";
	case EAGAIN:
		return "the queue of the listener is full";
	default:
		return strerror(error);
	}
}

const char *net_listen_error(const struct address *a, int error)
{
	if (a->kind != ADDRESS_VSOCK)
		return strerror(error);
	switch (error) {
	case EAFNOSUPPORT:
		return "this kernel has no vsock: " LOAD;
	case EADDRNOTAVAIL:
		return "this machine has another CID; vsock:*:PORT listens on whichever it has";
	case EACCES:
		return "ports below 1024 need root or CAP_NET_BIND_SERVICE";
	default:
		return strerror(error);
	}
}

/*
 * send() and recv() of the C library let other threads cancel this one meanwhile, for two
 * locked instructions each; here nobody does.
 */
#if defined(SYS_recvfrom) && defined(SYS_sendto)
static ssize_t net_recv(int fd, void *buf, size_t size)
{
	return syscall(SYS_recvfrom, fd, buf, size, 0, NULL, NULL);
}

ssize_t net_send(int fd, const void *buf, size_t len, int flags)
{
	return syscall(SYS_sendto, fd, buf, len, flags | MSG_NOSIGNAL, NULL, 0);
}
#else
static ssize_t net_recv(int fd, void *buf, size_t size)
{
	return recv(fd, buf, size, 0);
}

ssize_t net_send(int fd, const void *buf, size_t len, int flags)
{
	return send(fd, buf, len, flags | MSG_NOSIGNAL);
}
#endif

ssize_t net_receive(int fd, void *buf, size_t size)
{
	ssize_t n = net_recv(fd, buf, size);

	/* Both ends of a vsock have ended, and the other's end came second. */
	return n == -1 && errno == ENOTCONN ? 0 : n;
}

bool net_has_vsock(void)
{
	FILE *f = fopen("/proc/net/protocols", "re");
	char line[256];
	bool found = !f; /* no /proc: unknown, and so not claimed */

	while (f && !found && fgets(line, sizeof(line), f))
		found = strncmp(line, "AF_VSOCK ", 9) == 0;
	if (f)
		fclose(f);
	return found;
}

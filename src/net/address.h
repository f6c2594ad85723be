/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses as the kernel takes them, and who a peer is.
 *
 * What AF_VSOCK does unlike TCP, seen on real kernels (numbers are of tests/vm/FACTS.md):
 * - Ports and CIDs are unsigned 32 bit (1).  The peer's CID from accept is set by the
 *   transport and is the only identity that an enclave has (7).
 * - There is no SO_REUSEPORT, and no TIME_WAIT that would want SO_REUSEADDR (3, 4): the
 *   workers share one listener.  It binds to VMADDR_CID_ANY or to the machine's own CID (5).
 * - TCP's options are ENOPROTOOPT (57), SO_KEEPALIVE does nothing (35): what ends a
 *   connection to an enclave that hangs is a timeout of ours.
 * - A connect ends after 2 s on its own, unless told otherwise (13, 14), and what went wrong
 *   is said in errnos of other meaning: net_dial_error().
 * - The end of a connection may read as ENOTCONN (37): net_receive().  There is no abort;
 *   a peer that crashed looks like one that ended (33).
 * - A sender gets 256 KiB ahead of a reader, the smaller of what both ends set (50, 51):
 *   setting more here would do nothing, less would slow bulk, so it is left alone.
 * - splice(2) works, but only O_NONBLOCK on the socket keeps it from blocking (55, 56): every
 *   socket made here or accepted has that.
 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/ip.h"
#include "config/address.h"

struct net_sockaddr {
	struct sockaddr_storage storage;
	socklen_t len;
};

/* Who is on the other side of an accepted connection. */
struct net_peer {
	struct ip_addr ip;
	uint32_t cid;
	uint16_t port;
	bool has_ip, has_cid;
};

/* Not for TCP_NAME, which has no one address: -EADDRNOTAVAIL. */
int net_sockaddr_from(const struct address *a, struct net_sockaddr *ret);
void net_peer_from(const struct net_sockaddr *sa, struct net_peer *ret);
enum { NET_PEER_TEXT_SIZE = 64 };
/* "192.0.2.1:4711", "[2001:db8::1]:4711", "cid:16" or "unix". */
char *net_peer_format(const struct net_peer *p, char buf[NET_PEER_TEXT_SIZE]);

/*
 * A listening socket, non-blocking and close-on-exec, or -errno.  A socket file
 * that nobody answers on is replaced; one that is in use is -EADDRINUSE.
 */
int net_listen(const struct address *a, unsigned socket_mode, bool reuseport);
/*
 * Whether clients of a TCP listener speak first: accept(2) waits for their bytes then, or
 * for a second, after which a silent client is let in all the same.
 */
void net_listen_for_words(int fd, bool client_speaks_first);

/* What a failed net_listen() means to a person, by family. */
const char *net_listen_error(const struct address *a, int error);

/*
 * Begins to connect: *ret_fd is set for 0 (connected) and -EINPROGRESS; any other
 * -errno is final.  timeout_ms is handed to vsock, whose own limit is 2 s; 0: none.
 */
int net_dial(const struct address *a, uint32_t timeout_ms, int *ret_fd);
/*
 * The same for TCP where the caller will be the first to speak, at once: nothing is
 * acknowledged that those bytes could not acknowledge as well.  Without TCP_NODELAY.
 */
int net_dial_to_speak(const struct address *a, int *ret_fd);
/*
 * The same with the socket of an earlier one, of the same family, that has ended both ways.
 * -ESTALE, and fd as it was, while the earlier peer has not acknowledged all, that end too;
 * after any other error but -EINPROGRESS there is nothing to do with fd but to close it.
 */
int net_dial_again(int fd, const struct address *a);

/*
 * A TCP peer that went away without a word is told by the kernel: 60 s after its last byte,
 * then 6 probes 10 s apart.  Where that fails the connection works without.
 */
void net_keep_alive(int fd);

/* What a failed connect means to a person, by family: "nobody listens there", ... */
const char *net_dial_error(const struct address *a, int error);

/* recv() on what was connected; 0 is the end, however the family says it. */
ssize_t net_receive(int fd, void *buf, size_t size);
/* send(2) with MSG_NOSIGNAL. */
ssize_t net_send(int fd, const void *buf, size_t len, int flags);

/* False where the kernel has no AF_VSOCK loaded.  Looks only; opens no such socket. */
bool net_has_vsock(void);

#endif

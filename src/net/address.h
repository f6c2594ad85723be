/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses as the kernel takes them, and who a peer is.
 *
 * AF_VSOCK: ports and CIDs are unsigned 32 bit; the peer's CID from accept is set
 * by the transport and is the only identity that an enclave has (vsock(7)).
 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

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
 * Begins to connect: *ret_fd is set for 0 (connected) and -EINPROGRESS; any other
 * -errno is final.  timeout_ms is handed to vsock, whose own limit is 2 s.
 */
int net_dial(const struct address *a, uint32_t timeout_ms, int *ret_fd);

/* What a failed connect means to a person, by family: "nobody listens there", ... */
const char *net_dial_error(const struct address *a, int error);

#endif

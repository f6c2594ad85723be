/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/local.h"

#include <errno.h>
#include <unistd.h>

#include "net/address.h"

bool net_is_local(const struct ip_addr *a)
{
	const struct address port_0 = { .kind = ADDRESS_TCP_IP, .ip = *a };
	struct net_sockaddr sa;
	bool local = true;
	int fd;

	if (net_sockaddr_from(&port_0, &sa) < 0)
		return true;
	/* UDP has no TIME_WAIT and no listener that this could disturb. */
	fd = socket(sa.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return errno != EAFNOSUPPORT;
	/* EINVAL is what link-local IPv6 without its interface gets, here as in connect(2). */
	if (bind(fd, (const struct sockaddr *)&sa.storage, sa.len) == -1)
		local = errno != EADDRNOTAVAIL && errno != EINVAL;
	close(fd);
	return local;
}

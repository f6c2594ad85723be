/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "conn/send_proxy.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "conn/conn.h"
#include "net/address.h"
#include "wire/proxy_header.h"

unsigned send_proxy_version(const struct config_rule *rule)
{
	if (!rule)
		return 0;
	return rule->target.backend ? rule->target.backend->send_proxy : rule->target.send_proxy;
}

/* Where the client thinks it is; a vsock or Unix one has no such address. */
static bool addresses(const struct conn *c, struct proxy_header_info *info)
{
	struct net_sockaddr here = { .len = sizeof(here.storage) };
	struct net_peer local;

	if (!c->peer.has_ip || getsockname(c->client.fd, (struct sockaddr *)&here.storage, &here.len) == -1)
		return false;
	net_peer_from(&here, &local);
	info->src = c->peer.ip;
	info->src_port = c->peer.port;
	info->dst = local.ip;
	info->dst_port = local.port;
	return local.has_ip;
}

int send_proxy(const struct conn *c)
{
	unsigned version = send_proxy_version(c->rule);
	struct proxy_header_info info = { .has_addresses = false };
	char header[PROXY_HEADER_BUILD_SIZE];
	size_t len;
	ssize_t n;

	if (version == 0)
		return 0;
	info.has_addresses = addresses(c, &info);
	/* Of a connection that carries requests for many names, none is its name. */
	if (c->name && !c->exchange)
		info.authority = slice_of_string(c->name);
	len = version == 1 ? proxy_header_build_v1(&info, header) : proxy_header_build_v2(&info, header);
	n = send(c->server.fd, header, len, MSG_NOSIGNAL);
	if (n == -1)
		return -errno;
	/* So few bytes fit the buffer of a socket that has sent none. */
	return (size_t)n == len ? 0 : -ENOBUFS;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header is looked at in the socket (MSG_PEEK) until it is whole and taken from it
 * then, so that what stands behind it is a connection's first bytes, as without one.
 */
#include <config.h>

#include "conn/accept_proxy.h"

#include <errno.h>
#include <sys/socket.h>

#include "engine/engine.h"
#include "wire/proxy_header.h"

bool accept_proxy_asks(const struct conn *c)
{
	const struct config_listen *l = c->listener->listen;

	for (size_t i = 0; c->peer.has_ip && i < l->n_accept_proxy_from; i++) {
		if (ip_cidr_contains(&l->accept_proxy_from[i], &c->peer.ip))
			return true;
	}
	return false;
}

/* Only what a parser has seen whole is taken; a peer that cuts it to pieces is read so often. */
static enum proxy_header_result look(const struct conn *c, struct proxy_header *header, ssize_t *ret_n)
{
	char bytes[PROXY_HEADER_MAX];
	enum proxy_header_result r = PROXY_HEADER_MORE;

	do
		*ret_n = recv(c->client.fd, bytes, sizeof(bytes), MSG_PEEK);
	while (*ret_n == -1 && errno == EINTR);
	proxy_header_init(header);
	if (*ret_n > 0)
		r = proxy_header_parse(header, bytes, (size_t)*ret_n);
	if (r == PROXY_HEADER_FOUND && recv(c->client.fd, bytes, header->len, 0) != (ssize_t)header->len)
		r = PROXY_HEADER_BAD; /* it was all there just now */
	return r == PROXY_HEADER_MORE && *ret_n == (ssize_t)sizeof(bytes) ? PROXY_HEADER_BAD : r;
}

bool accept_proxy_read(struct conn *c, enum conn_end *ret_why)
{
	struct proxy_header header;
	ssize_t n;

	*ret_why = END_COUNT;
	switch (look(c, &header, &n)) {
	case PROXY_HEADER_FOUND:
		if (header.has_addresses) {
			c->peer.ip = header.src;
			c->peer.port = header.src_port;
		}
		return true;
	case PROXY_HEADER_BAD:
		*ret_why = END_PROXY_MALFORMED;
		return true;
	case PROXY_HEADER_MORE:
		break;
	}
	if (n > 0 && c->client.ended)
		n = 0; /* what is there is all that comes */
	if (n > 0 || (n == -1 && errno == EAGAIN))
		return false;
	if (n == -1)
		c->error = errno;
	*ret_why = n == 0 ? END_NO_HELLO : END_CLIENT_ERROR;
	return true;
}

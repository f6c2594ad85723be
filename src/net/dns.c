/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "net/dns.h"

#include <arpa/nameser.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <ares.h>
#include <ev.h>

#include "base/list.h"
#include "config/config.h"

enum {
	TICK_MS = 100,			/* how exact the timeouts of c-ares are */
	TRIES = 2,			/* of each server, the second twice as long as the first */
	TRY_MAX_MS = DNS_TIMEOUT_MS / 3, TRY_MIN_MS = 300,
	UDP_SIZE = 1232,		/* no fragments: DNS flag day 2020 */
};

/* c-ares and the servers that it was told of. */
struct channel {
	struct list node;	/* of dns.channels, the one in use first */
	struct dns *dns;
	ares_channel ares;
	struct list sockets;
	unsigned under_way;
};

struct watched_socket {
	ev_io io;
	struct list node;
	struct channel *channel;
};

struct dns {
	struct ev_loop *loop;
	const struct config_resolver *config;
	struct list channels;
	ev_timer tick;		/* while queries are under way */
	void (*settled)(void *data);
	void *data;
};

/* --- c-ares on the loop --- */

static void socket_free(struct watched_socket *s)
{
	ev_io_stop(s->channel->dns->loop, &s->io);
	list_del(&s->node);
	free(s);
}

static void channel_free(struct channel *ch)
{
	struct list *node, *next;

	list_del(&ch->node);
	ares_destroy(ch->ares); /* closes its sockets, and says so */
	list_for_each_safe(node, next, &ch->sockets)
		socket_free(container_of(node, struct watched_socket, node));
	free(ch);
}

/* After c-ares was at work: says so, and frees what was replaced. */
static void dns_settle(struct dns *d)
{
	unsigned under_way = 0;
	struct list *node, *next;

	d->settled(d->data);
	list_for_each_safe(node, next, &d->channels) {
		struct channel *ch = container_of(node, struct channel, node);

		under_way += ch->under_way;
		if (ch->under_way == 0 && node != d->channels.next)
			channel_free(ch);
	}
	if (under_way == 0)
		ev_timer_stop(d->loop, &d->tick);
}

static void socket_ready(struct ev_loop *loop, ev_io *io, int events)
{
	struct channel *ch = ((struct watched_socket *)io->data)->channel;
	struct dns *d = ch->dns;

	(void)loop;
	ares_process_fd(ch->ares, events & EV_READ ? io->fd : ARES_SOCKET_BAD,
			events & EV_WRITE ? io->fd : ARES_SOCKET_BAD);
	dns_settle(d);
}

static void ticked(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct dns *d = container_of(timer, struct dns, tick);
	struct list *node;

	(void)loop;
	(void)events;
	list_for_each(node, &d->channels) {
		struct channel *ch = container_of(node, struct channel, node);

		ares_process_fd(ch->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	}
	dns_settle(d);
}

static void socket_changed(void *data, ares_socket_t fd, int readable, int writable)
{
	struct channel *ch = data;
	struct watched_socket *s = NULL;
	struct list *node;

	list_for_each(node, &ch->sockets) {
		s = container_of(node, struct watched_socket, node);
		if (s->io.fd == fd)
			break;
		s = NULL;
	}
	if (!readable && !writable) {
		if (s)
			socket_free(s);
		return;
	}
	if (!s) {
		s = malloc(sizeof(*s));
		if (!s)
			return; /* its queries run into their timeout */
		s->channel = ch;
		list_append(&ch->sockets, &s->node);
		ev_io_init(&s->io, socket_ready, fd, 0);
		s->io.data = s;
	}
	ev_io_stop(ch->dns->loop, &s->io);
	ev_io_set(&s->io, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	ev_io_start(ch->dns->loop, &s->io);
}

static unsigned count_servers(ares_channel ares)
{
	struct ares_addr_port_node *servers = NULL;
	unsigned n = 0;

	if (ares_get_servers_ports(ares, &servers) == ARES_SUCCESS) {
		for (const struct ares_addr_port_node *s = servers; s; s = s->next)
			n++;
		ares_free_data(servers);
	}
	return n ? n : 1;
}

static int set_servers(ares_channel ares, const struct config_resolver *c)
{
	struct ares_addr_port_node *nodes = calloc(c->n_servers, sizeof(*nodes));
	int r;

	if (!nodes)
		return ARES_ENOMEM;
	for (size_t i = 0; i < c->n_servers; i++) {
		const struct address *a = &c->servers[i];

		nodes[i].next = i + 1 < c->n_servers ? &nodes[i + 1] : NULL;
		nodes[i].udp_port = nodes[i].tcp_port = (int)a->port;
		nodes[i].family = ip_is_v4(&a->ip) ? AF_INET : AF_INET6;
		if (ip_is_v4(&a->ip))
			memcpy(&nodes[i].addr.addr4, a->ip.b + 12, 4);
		else
			memcpy(&nodes[i].addr.addr6, a->ip.b, 16);
	}
	r = ares_set_servers_ports(ares, nodes);
	free(nodes);
	return r;
}

/* How long the first try of one of n servers may take, so that all tries end in time. */
static int try_ms(unsigned n)
{
	int ms = DNS_TIMEOUT_MS / (3 * (int)n);

	return ms > TRY_MAX_MS ? TRY_MAX_MS : ms < TRY_MIN_MS ? TRY_MIN_MS : ms;
}

static int channel_init(struct channel *ch, unsigned n_servers)
{
	const struct config_resolver *c = ch->dns->config;
	char nothing[] = "/dev/null";
	struct ares_options o = {
		.flags = ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
		.timeout = try_ms(n_servers),
		.tries = TRIES,
		.ednspsz = UDP_SIZE,
		.sock_state_cb = socket_changed,
		.sock_state_cb_data = ch,
		.resolvconf_path = nothing,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
		   ARES_OPT_SOCK_STATE_CB | (c->n_servers ? ARES_OPT_RESOLVCONF | ARES_OPT_NOROTATE : 0);
	int r = ares_init_options(&ch->ares, &o, mask);

	if (r != ARES_SUCCESS || c->n_servers == 0)
		return r;
	r = set_servers(ch->ares, c);
	if (r != ARES_SUCCESS)
		ares_destroy(ch->ares);
	return r;
}

/* The channel in use is another from here on; what the old one asked goes on. */
static int channel_new(struct dns *d)
{
	struct channel *ch = calloc(1, sizeof(*ch));
	unsigned n;
	int r;

	if (!ch)
		return ARES_ENOMEM;
	ch->dns = d;
	list_init(&ch->sockets);
	r = channel_init(ch, d->config->n_servers ? (unsigned)d->config->n_servers : 1);
	if (r == ARES_SUCCESS && d->config->n_servers == 0 && (n = count_servers(ch->ares)) > 1) {
		/* How many there are is known only now. */
		ares_destroy(ch->ares);
		r = channel_init(ch, n);
	}
	if (r != ARES_SUCCESS) {
		free(ch);
		return r;
	}
	list_prepend(&d->channels, &ch->node);
	return ARES_SUCCESS;
}

/* --- answers --- */

static enum dns_status status_of(int ares_status)
{
	switch (ares_status) {
	case ARES_SUCCESS:
		return DNS_FOUND;
	case ARES_ENODATA:
		return DNS_EMPTY;
	case ARES_ENOTFOUND:
	case ARES_EBADNAME:
	case ARES_EBADQUERY:
		return DNS_NO_NAME;
	case ARES_ETIMEOUT:
		return DNS_SILENT;
	case ARES_ENOMEM:
		return DNS_NO_MEMORY;
	default:
		return DNS_FAILED;
	}
}

/* c-ares gives each record the smallest TTL of its own and of the CNAMEs that lead to it. */
static int parse(bool v6, const unsigned char *bytes, int len, struct ip_addr *addresses,
		 struct dns_answer *ret)
{
	struct ares_addrttl a[DNS_ADDRESSES_MAX];
	struct ares_addr6ttl aaaa[DNS_ADDRESSES_MAX];
	int n = DNS_ADDRESSES_MAX, status;

	status = v6 ? ares_parse_aaaa_reply(bytes, len, NULL, aaaa, &n) :
		      ares_parse_a_reply(bytes, len, NULL, a, &n);
	if (status != ARES_SUCCESS || n == 0)
		return status == ARES_SUCCESS ? ARES_ENODATA : status;
	ret->ttl_s = UINT32_MAX;
	for (int i = 0; i < n; i++) {
		int ttl = v6 ? aaaa[i].ttl : a[i].ttl;

		addresses[i] = v6 ? ip_from_v6(&aaaa[i].ip6addr) : ip_from_v4(&a[i].ipaddr);
		if (ttl < 0) /* one past 2^31 is read as 0: RFC 2181, 8 */
			ttl = 0;
		if ((uint32_t)ttl < ret->ttl_s)
			ret->ttl_s = (uint32_t)ttl;
	}
	ret->addresses = addresses;
	ret->n = (size_t)n;
	return ARES_SUCCESS;
}

static void answered(void *data, int status, int timeouts, unsigned char *bytes, int len)
{
	struct dns_query *q = data;
	struct ip_addr addresses[DNS_ADDRESSES_MAX];
	struct dns_answer a = { 0 };

	(void)timeouts;
	q->channel->under_way--;
	if (status == ARES_SUCCESS)
		status = parse(q->v6, bytes, len, addresses, &a);
	a.status = status_of(status);
	q->answered(q, &a);
}

/* --- asking --- */

static void library_init(void)
{
	ares_library_init(ARES_LIB_INIT_ALL);
}

struct dns *dns_new(struct ev_loop *loop, const struct config_resolver *c,
		    void (*settled)(void *data), void *data, const char **ret_error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct dns *d = calloc(1, sizeof(*d));
	int r = ARES_ENOMEM;

	pthread_once(&once, library_init);
	if (d) {
		d->loop = loop;
		d->config = c;
		d->settled = settled;
		d->data = data;
		list_init(&d->channels);
		ev_timer_init(&d->tick, ticked, TICK_MS / 1000., TICK_MS / 1000.);
		r = channel_new(d);
	}
	if (r == ARES_SUCCESS)
		return d;
	*ret_error = ares_strerror(r);
	free(d);
	return NULL;
}

void dns_free(struct dns *d)
{
	if (!d)
		return;
	while (!list_is_empty(&d->channels))
		channel_free(container_of(d->channels.next, struct channel, node));
	ev_timer_stop(d->loop, &d->tick);
	free(d);
}

void dns_ask(struct dns *d, struct dns_query *q, const char *name)
{
	struct channel *ch = container_of(d->channels.next, struct channel, node);

	q->channel = ch;
	ch->under_way++;
	if (!ev_is_active(&d->tick))
		ev_timer_again(d->loop, &d->tick);
	ares_query(ch->ares, name, ns_c_in, q->v6 ? ns_t_aaaa : ns_t_a, answered, q);
}

bool dns_renew(struct dns *d, const char **ret_error)
{
	int r = channel_new(d);

	if (r != ARES_SUCCESS) {
		*ret_error = ares_strerror(r);
		return false;
	}
	/* The tick frees what is not in use any more. */
	if (!ev_is_active(&d->tick))
		ev_timer_again(d->loop, &d->tick);
	return true;
}

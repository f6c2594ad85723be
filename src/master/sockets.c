/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "master/sockets.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "config/config.h"
#include "engine/engine.h"
#include "log/log.h"
#include "net/address.h"

struct open_socket {
	struct list node;
	char *text;	/* of the address: what makes it the same over reloads */
	char *path;	/* of a Unix socket file, or NULL: there is none to remove */
	dev_t dev;	/* which file that is */
	ino_t ino;
	unsigned slot;
	int fd;
	bool fresh;	/* opened by the call that is under way */
};

void sockets_init(struct sockets *s)
{
	list_init(&s->list);
}

static void socket_close(struct open_socket *o)
{
	struct stat st;

	list_del(&o->node);
	close(o->fd);
	/* Another program may have put its own there meanwhile. */
	if (o->path && lstat(o->path, &st) == 0 && st.st_dev == o->dev && st.st_ino == o->ino)
		unlink(o->path);
	free(o->path);
	free(o->text);
	free(o);
}

void sockets_fini(struct sockets *s)
{
	while (!list_is_empty(&s->list))
		socket_close(container_of(s->list.next, struct open_socket, node));
}

static struct open_socket *socket_find(struct sockets *s, const char *text, unsigned slot)
{
	struct list *node;

	list_for_each(node, &s->list) {
		struct open_socket *o = container_of(node, struct open_socket, node);

		if (o->slot == slot && strcmp(o->text, text) == 0)
			return o;
	}
	return NULL;
}

static int socket_open(struct sockets *s, const struct config_listen *l, unsigned slot, bool reuseport,
		       struct open_socket **ret)
{
	struct open_socket *o = socket_find(s, l->address.text, slot);
	struct stat st;
	int fd;

	if (!o) {
		fd = net_listen(&l->address, l->socket_mode, reuseport);
		if (fd < 0) {
			log_error("cannot listen on %s (%s:%u): %s", l->address.text, l->place.file, l->place.line,
				  net_listen_error(&l->address, -fd));
			return fd;
		}
		o = xcalloc(1, sizeof(*o));
		o->text = xstrdup(l->address.text);
		if (l->address.kind == ADDRESS_UNIX && lstat(l->address.name, &st) == 0) {
			o->path = xstrdup(l->address.name);
			o->dev = st.st_dev;
			o->ino = st.st_ino;
		}
		o->slot = slot;
		o->fd = fd;
		o->fresh = true;
		list_append(&s->list, &o->node);
	}
	*ret = o;
	return 0;
}

/* The slots that are open already, so that a backlog outlives a smaller number of workers. */
static unsigned slots_open(struct sockets *s, const char *text, unsigned slots)
{
	while (socket_find(s, text, slots))
		slots++;
	return slots;
}

static void forget_fresh(struct sockets *s, bool close_them)
{
	struct list *node, *next;

	list_for_each_safe(node, next, &s->list) {
		struct open_socket *o = container_of(node, struct open_socket, node);

		if (o->fresh && close_them)
			socket_close(o);
		else
			o->fresh = false;
	}
}

int sockets_open(struct sockets *s, const struct config *c, unsigned slots,
		 struct engine_listener **ret, size_t *ret_n)
{
	struct engine_listener *list = NULL;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < c->n_frontends && r == 0; i++) {
		const struct config_frontend *f = &c->frontends[i];

		for (size_t k = 0; k < f->n_listens && r == 0; k++) {
			const struct config_listen *l = &f->listens[k];
			bool tcp = l->address.kind == ADDRESS_TCP_ANY || l->address.kind == ADDRESS_TCP_IP;
			unsigned want = tcp ? slots_open(s, l->address.text, slots) : 1;

			for (unsigned slot = 0; slot < want && r == 0; slot++) {
				struct open_socket *o;

				r = socket_open(s, l, slot, tcp, &o);
				if (r < 0)
					break;
				list = xreallocarray(list, n + 1, sizeof(*list));
				list[n++] = (struct engine_listener){ f, l, o->fd, slot };
			}
		}
	}
	forget_fresh(s, r < 0);
	if (r < 0) {
		free(list);
		return r;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

static void close_others(struct sockets *s, const struct engine_listener *listeners, size_t n,
			 bool remove_files)
{
	struct list *node, *next;

	list_for_each_safe(node, next, &s->list) {
		struct open_socket *o = container_of(node, struct open_socket, node);
		bool used = false;

		for (size_t i = 0; i < n && !used; i++)
			used = listeners[i].fd == o->fd;
		if (used)
			continue;
		if (!remove_files) {
			free(o->path);
			o->path = NULL;
		}
		socket_close(o);
	}
}

void sockets_keep(struct sockets *s, const struct engine_listener *listeners, size_t n)
{
	close_others(s, listeners, n, true);
}

void sockets_forget(struct sockets *s, const struct engine_listener *listeners, size_t n)
{
	close_others(s, listeners, n, false);
}

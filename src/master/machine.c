/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "master/machine.h"

#include <stdbool.h>

#include "config/config.h"
#include "net/address.h"

static bool is_vsock(const struct address *a)
{
	return a->kind == ADDRESS_VSOCK;
}

static bool wants_vsock(const struct config *c)
{
	for (size_t i = 0; i < c->n_frontends; i++) {
		const struct config_frontend *f = &c->frontends[i];

		for (size_t k = 0; k < f->n_listens; k++)
			if (is_vsock(&f->listens[k].address))
				return true;
		for (size_t k = 0; k < f->n_rules; k++)
			if (f->rules[k].target.kind == TARGET_ADDRESS && is_vsock(&f->rules[k].target.address))
				return true;
	}
	for (size_t i = 0; i < c->n_backends; i++)
		for (size_t k = 0; k < c->backends[i].n_servers; k++)
			if (is_vsock(&c->backends[i].servers[k].address))
				return true;
	return false;
}

const char *config_machine_lacks(const struct config *c)
{
	if (!wants_vsock(c) || net_has_vsock())
		return NULL;
	return "this machine has no vsock, which the configuration uses: load vhost_vsock or nitro_enclaves "
	       "where enclaves run, vsock_loopback for tests";
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "master/runnable.h"

#include <stdio.h>

#include "config/config.h"
#include "log/log.h"

static bool missing(const struct config_place *p, const char *what)
{
	log_error("%s:%u: %s has no engine yet: it checks, and cannot run", p->file, p->line, what);
	return false;
}

static bool frontend_is_runnable(const struct config_frontend *f, const struct mode_ops *const *modes)
{
	bool ok = true;
	char text[64];

	if (!modes[f->mode]) {
		snprintf(text, sizeof(text), "mode %s", config_mode_name(f->mode));
		return missing(&f->place, text);
	}
	if (f->n_listens == 0) {
		log_error("%s:%u: frontend \"%s\" listens nowhere: expected \"listen ADDRESS\"", f->place.file,
			  f->place.line, f->name);
		ok = false;
	}
	if (f->store != STORE_NONE)
		ok = missing(&f->place, "store");
	return ok;
}

bool config_is_runnable(const struct config *c, const struct mode_ops *const *modes)
{
	bool ok = true;

	for (size_t i = 0; i < c->n_frontends; i++)
		ok &= frontend_is_runnable(&c->frontends[i], modes);
	for (size_t i = 0; i < c->n_backends; i++) {
		const struct config_backend *b = &c->backends[i];

		if (b->check != CHECK_NONE)
			ok = missing(&b->place, "check");
	}
	if (c->global.has_admin)
		ok = missing(&c->global.admin.place, "admin");
	if (c->n_frontends == 0) {
		log_error("the configuration has no frontend");
		ok = false;
	}
	return ok;
}

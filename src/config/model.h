/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration while it is checked: what the user said and where, merged over
 * sections of one name.  Between the tree and struct config; no other room sees it.
 * It borrows texts and places of the tree, and none of its nodes.
 */
#ifndef CONFIG_MODEL_H
#define CONFIG_MODEL_H

#include "base/map.h"
#include "config/ast.h"
#include "config/config.h"
#include "config/diagnostics.h"

struct keyword;

/* A setting that was given, and where. */
struct model_setting {
	const struct keyword *keyword;
	const char *key;	/* of those that repeat: "kms" of "endpoint kms" */
	struct span span;
	struct model_setting *next;
};

/* What every section has: settings given so far. */
struct model_section {
	const char *name;
	struct span span;	/* of its name where first written */
	struct model_setting *settings;
};

struct model_defaults {
	struct model_section section;
	struct config_timeouts timeouts;
	uint32_t buffer_size;
};

struct model_enclave {
	struct model_section section;
	struct config_enclave out;
	bool used;
	struct model_enclave *next;
};

struct model_server {
	struct config_server out;
	struct span span;
	struct model_server *next;
};

struct model_backend {
	struct model_section section;
	struct config_backend out;
	struct model_server *servers, **last_server;
	size_t n_servers;
	bool used;
	struct model_backend *next;
};

struct model_listen {
	struct config_listen out;
	struct span span;
	struct model_listen *next;
};

struct model_rule {
	struct route_rule match;
	struct config_target target;
	struct span span;		/* of the statement */
	struct span target_span;
	const char *text;		/* config_rule.text */
	bool is_default;
	struct model_rule *next;
};

struct model_frontend {
	struct model_section section;
	struct config_frontend out;
	bool mode_known;
	struct span mode_span;
	struct model_listen *listens, **last_listen;
	size_t n_listens;
	bool faulty_listen;		/* told; so no other is taken in its place */
	struct model_rule *rules, **last_rule;
	struct model_rule *default_rule;
	size_t n_rules;			/* default_rule not counted */
	struct model_frontend *next;
};

struct model {
	struct arena *arena;		/* of the model, and of the texts of the tree */
	struct arena *out;		/* of the configuration */
	struct diagnostics *diags;
	struct config_global global;
	struct model_section global_section, aws_section, resolver_section;
	struct config_aws aws;
	struct config_resolver resolver;
	struct address *resolver_servers;
	size_t n_resolver_servers;
	struct model_defaults defaults_all, defaults[MODE_COUNT];
	struct model_enclave *enclaves, **last_enclave;
	struct model_backend *backends, **last_backend;
	struct model_frontend *frontends, **last_frontend;
	size_t n_enclaves, n_backends, n_frontends;
	const struct source *placed;	/* whose name config_lower() copied last */
	const char *placed_name;
	struct map enclave_names, backend_names, frontend_names;
};

/* The setting, if the section has it. */
const struct model_setting *model_find_setting(const struct model_section *s, const char *name);

/*
 * check_settings.c: one statement that is a setting.  object is what the keyword's
 * offset counts from; section is the first member of what it belongs to.
 */
void check_setting(struct model *m, struct model_section *section, const struct keyword *k,
		   unsigned name_words, const struct ast_statement *st, void *object);
/* Where the seed system listens, for a frontend that is named after its mode and says no other place. */
void check_preset_listens(struct model *m);
/* check_rules.c: one statement that is a rule. */
void check_rule(struct model *m, struct model_frontend *f, const struct ast_statement *st);
/* Adds a diagnostic for a word where the statement should have ended. */
void check_nothing_more(struct model *m, const struct ast_item *item, const char *what);

#endif

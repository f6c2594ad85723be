/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where credentials come from: the environment and the files, read into a plan.
 *
 * The order is that of AWS's own SDKs: environment, web identity, shared files, container,
 * instance.  The first source that is there is the one: what it then fails at is an
 * error, and the next one is not asked.  A plan has the keys already, or says where to fetch
 * them, and which roles are to be assumed with them, one after the other.
 *
 * It is made anew for each fetch, since files and tokens change beneath us.
 *
 * Pure: environment and files come through a reader.
 */
#ifndef AWS_PLAN_H
#define AWS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/answers.h"

struct config_aws;

enum {
	PLAN_ROLES_MAX = 5,		/* of a chain of source_profile */
	PLAN_FILE_MAX = 1024 * 1024,	/* bytes of a shared file */
	PLAN_TOKEN_MAX = 16384,		/* bytes of a token's file */
	PLAN_ROLE_SECONDS = 3600,	/* that credentials of a role are asked for */
};

struct plan_reader {
	void *data;
	/* NULL where unset. */
	const char *(*getenv)(void *data, const char *name);
	/* All of a file, at most max bytes, NUL behind it, for secret_free_bytes(); or -errno. */
	int (*read_file)(void *data, const char *path, size_t max, char **ret, size_t *ret_len);
};

enum plan_source { PLAN_KEYS, PLAN_WEB_IDENTITY, PLAN_CONTAINER, PLAN_IMDS };

struct plan_role {
	char *arn, *session_name, *external_id;	/* external_id: or NULL */
	uint32_t seconds;
};

struct plan {
	enum plan_source source;
	const char *told_by;		/* "the environment", for the log */
	struct aws_keys keys;		/* PLAN_KEYS */
	struct plan_role web_role;	/* PLAN_WEB_IDENTITY */
	char *url;			/* PLAN_CONTAINER */
	char *token;			/* PLAN_WEB_IDENTITY; PLAN_CONTAINER: Authorization, or NULL */
	struct plan_role roles[PLAN_ROLES_MAX];
	size_t n_roles;
	char *region;			/* the environment's or the profile's, or NULL */
};

/* False with why; *ret is to be freed either way. */
bool plan_make(const struct config_aws *c, const struct plan_reader *r, struct plan *ret,
	       char why[ANSWER_WHY_SIZE]);
void plan_fini(struct plan *p);

/* Copies; session_name and external_id may be empty. */
bool plan_role_set(struct plan_role *r, struct slice arn, struct slice session_name,
		   struct slice external_id);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that AWS's tools share, up to a NUL the credentials and behind it the config.
 *
 * The oracle: a plan has all that its source needs and no more roles than it may, or there is a
 * reason; and what comes before a plan's keys in the files cannot be seen in it.
 */
#include <config.h>

#include <errno.h>

#include "aws/plan.h"
#include "aws/secret.h"
#include "config/config.h"
#include "tests/fuzz/fuzz.h"

struct files {
	struct slice credentials, config;
};

static const char *get(void *data, const char *name)
{
	(void)data;
	if (strcmp(name, "HOME") == 0)
		return "/";
	if (strcmp(name, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") == 0)
		return "/x";
	return NULL;
}

static int read_file(void *data, const char *path, size_t max, char **ret, size_t *ret_len)
{
	const struct files *f = data;
	struct slice text = strcmp(path, "//.aws/credentials") == 0 ? f->credentials :
			    strcmp(path, "//.aws/config") == 0 ? f->config : SLICE_LITERAL("token\n");

	if (text.len > max)
		return -EFBIG;
	*ret = secret_copy(text);
	*ret_len = text.len;
	FUZZ_CHECK(*ret);
	return 0;
}

static void check_role(const struct plan_role *r)
{
	FUZZ_CHECK(r->arn && *r->arn && r->session_name && *r->session_name);
	FUZZ_CHECK(r->seconds >= 900 && r->seconds <= 43200);
}

static void check_plan(const struct plan *p)
{
	FUZZ_CHECK(p->told_by && p->n_roles <= PLAN_ROLES_MAX);
	switch (p->source) {
	case PLAN_KEYS:
		FUZZ_CHECK(p->keys.access_key_id && p->keys.secret);
		FUZZ_CHECK(!strpbrk(p->keys.secret, " \t\r\n"));
		break;
	case PLAN_WEB_IDENTITY:
		check_role(&p->web_role);
		FUZZ_CHECK(strcmp(p->token, "token") == 0);
		break;
	case PLAN_CONTAINER:
		FUZZ_CHECK(strcmp(p->url, "http://169.254.170.2/x") == 0);
		break;
	case PLAN_IMDS:
		break;
	}
	for (size_t i = 0; i < p->n_roles; i++)
		check_role(&p->roles[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct config_aws c = { .credentials = CREDENTIALS_AUTO };
	char *exact = fuzz_copy(data, size), why[ANSWER_WHY_SIZE] = "";
	const char *nul = size ? memchr(exact, '\0', size) : NULL;
	size_t first = nul ? (size_t)(nul - exact) : size;
	struct files f = { slice_of(exact, first), slice_of(exact + first + (nul ? 1 : 0), size - first - (nul ? 1 : 0)) };
	const struct plan_reader r = { &f, get, read_file };
	struct plan p;

	if (plan_make(&c, &r, &p, why))
		check_plan(&p);
	else
		FUZZ_CHECK(*why);
	plan_fini(&p);
	free(exact);
	return 0;
}

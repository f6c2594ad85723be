/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/profiles.h"
#include "aws/secret.h"
#include "config/config.h"
#include "wire/host_name.h"

/* NONE: this source is not there, the next one is asked. */
enum found { NONE, FOUND, BROKEN };

struct maker {
	const struct config_aws *config;
	const struct plan_reader *reader;
	struct profiles profiles;
	char *config_text, *credentials_text;
	size_t config_len, credentials_len;
	struct plan *plan;
	char *why;
};

__attribute__((format(printf, 2, 3))) static enum found broken(struct maker *m, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(m->why, ANSWER_WHY_SIZE, format, ap);
	va_end(ap);
	return BROKEN;
}

/* What is set to nothing is not set. */
static const char *env(const struct maker *m, const char *name)
{
	const char *value = m->reader->getenv(m->reader->data, name);

	return value && *value ? value : NULL;
}

static struct slice or_empty(const char *s)
{
	return slice_of_string(s ? s : "");
}

bool plan_role_set(struct plan_role *r, struct slice arn, struct slice session_name,
		   struct slice external_id)
{
	r->arn = secret_copy(arn);
	r->session_name = secret_copy(session_name.len ? session_name : SLICE_LITERAL("teeproxy"));
	r->external_id = external_id.len ? secret_copy(external_id) : NULL;
	r->seconds = PLAN_ROLE_SECONDS;
	return r->arn && r->session_name && (r->external_id || !external_id.len);
}

/* Printable ASCII without blanks. */
static bool is_word(struct slice s, size_t min, size_t max)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] <= 0x20 || s.ptr[i] > 0x7e)
			return false;
	}
	return s.len >= min && s.len <= max;
}

/* Held to the lengths that STS has for them. */
static enum found set_role(struct maker *m, struct plan_role *r, struct slice arn,
			   struct slice session_name, struct slice external_id)
{
	if (!is_word(arn, 1, 2048))
		return broken(m, "the role's ARN has bytes that it cannot have, or is too long");
	if (session_name.len && !is_word(session_name, 2, 64))
		return broken(
		    m,
		    "the name of the role's session must have 2 to 64 characters without blanks");
	if (external_id.len > 1224 || memchr(external_id.ptr, '\0', external_id.len))
		return broken(m, "external_id has bytes that it cannot have, or is too long");
	return plan_role_set(r, arn, session_name, external_id) ? FOUND : broken(m, "out of memory");
}

static void role_fini(struct plan_role *r)
{
	free(r->arn);
	free(r->session_name);
	free(r->external_id);
}

/* --- environment --- */

static enum found from_environment(struct maker *m)
{
	const char *id = env(m, "AWS_ACCESS_KEY_ID"), *secret = env(m, "AWS_SECRET_ACCESS_KEY");
	char why[ANSWER_WHY_SIZE];

	if (!id && !secret)
		return NONE;
	if (!id || !secret)
		return broken(m, "the environment has %s but not %s",
			      id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
			      id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
	m->plan->source = PLAN_KEYS;
	m->plan->told_by = "the environment";
	if (!aws_keys_set(&m->plan->keys, slice_of_string(id), slice_of_string(secret),
			  or_empty(env(m, "AWS_SESSION_TOKEN")), why))
		return broken(m, "the environment: %s", why);
	return FOUND;
}

/* A file that holds one token, without the blanks at its end. */
static enum found read_token(struct maker *m, const char *path)
{
	char *text;
	size_t len;
	int r = m->reader->read_file(m->reader->data, path, PLAN_TOKEN_MAX, &text, &len);

	if (r < 0)
		return broken(m, "cannot read the token's file \"%s\": %s", path, strerror(-r));
	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
	m->plan->token = text;
	if (len == 0 || strlen(text) != len || strpbrk(text, " \t\r\n"))
		return broken(m, "the token's file \"%s\" is empty or has more than a token in it", path);
	return FOUND;
}

static enum found web_identity(struct maker *m, const char *told_by, const char *path, struct slice arn,
			       struct slice session_name)
{
	enum found found = set_role(m, &m->plan->web_role, arn, session_name, or_empty(NULL));

	m->plan->source = PLAN_WEB_IDENTITY;
	m->plan->told_by = told_by;
	return found == FOUND ? read_token(m, path) : found;
}

static enum found from_web_identity(struct maker *m)
{
	const char *path = env(m, "AWS_WEB_IDENTITY_TOKEN_FILE"), *arn = env(m, "AWS_ROLE_ARN");

	if (!path)
		return NONE;
	if (!arn)
		return broken(m, "the environment has AWS_WEB_IDENTITY_TOKEN_FILE but not AWS_ROLE_ARN");
	return web_identity(m, "a web identity", path, slice_of_string(arn),
			    or_empty(env(m, "AWS_ROLE_SESSION_NAME")));
}

/* --- container endpoints --- */

/* Plain HTTP is for this machine and AWS's agents at their addresses, as in its SDKs. */
static bool may_be_plain(struct slice rest)
{
	static const char *const agents[] = { "169.254.170.2", "169.254.170.23", "fd00:ec2::23" };
	static const unsigned char v6_loopback[16] = { [15] = 1 };
	const char *end = memchr(rest.ptr, '/', rest.len);
	struct host_port h;
	struct ip_addr ip;

	if (end)
		rest.len = (size_t)(end - rest.ptr);
	if (!host_port_parse(rest, &h))
		return false;
	if (h.kind == HOST_IS_NAME)
		return slice_equal(host_port_name(&h), SLICE_LITERAL("localhost"));
	if (ip_is_v4(&h.addr) ? h.addr.b[12] == 127 : memcmp(h.addr.b, v6_loopback, 16) == 0)
		return true;
	for (size_t i = 0; i < sizeof(agents) / sizeof(agents[0]); i++) {
		if (ip_parse(slice_of_string(agents[i]), &ip) && ip_equal(&ip, &h.addr))
			return true;
	}
	return false;
}

static enum found container_url(struct maker *m, const char *relative, const char *full)
{
	struct secret_buffer url = { 0 };

	if (relative && *relative != '/')
		return broken(
		    m, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI must begin with /, got \"%.100s\"",
		    relative);
	if (!relative && strncmp(full, "https://", 8) != 0 &&
	    (strncmp(full, "http://", 7) != 0 || !may_be_plain(slice_of_string(full + 7))))
		return broken(m, "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https://, or http:// "
				 "and of this machine, "
				 "169.254.170.2, 169.254.170.23 or [fd00:ec2::23]");
	if (!(relative ? secret_add_string(&url, "http://169.254.170.2") &&
			     secret_add_string(&url, relative)
		       : secret_add_string(&url, full)))
		return broken(m, "out of memory");
	m->plan->url = url.ptr;
	return FOUND;
}

static enum found from_container(struct maker *m)
{
	const char *relative = env(m, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = env(m, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char *path = env(m, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = env(m, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
	enum found found;

	if (!relative && !full)
		return NONE;
	m->plan->source = PLAN_CONTAINER;
	m->plan->told_by = "the container's endpoint";
	found = container_url(m, relative, full);
	if (found != FOUND)
		return found;
	if (path)
		return read_token(m, path);
	if (!token)
		return FOUND;
	if (strlen(token) > PLAN_TOKEN_MAX || strpbrk(token, "\r\n"))
		return broken(
		    m, "AWS_CONTAINER_AUTHORIZATION_TOKEN is too long, or has more than one line");
	m->plan->token = secret_copy(slice_of_string(token));
	return m->plan->token ? FOUND : broken(m, "out of memory");
}

static enum found from_imds(struct maker *m)
{
	const char *disabled = env(m, "AWS_EC2_METADATA_DISABLED");

	if (disabled && slice_equal_nocase(slice_of_string(disabled), SLICE_LITERAL("true")))
		return NONE;
	m->plan->source = PLAN_IMDS;
	m->plan->told_by = "the instance";
	return FOUND;
}

/* --- profiles --- */

/* Where the file is; a default that is not there or not ours to read is no fault. */
static enum found read_shared(struct maker *m, const char *variable, const char *name, char **ret,
			      size_t *ret_len)
{
	const char *given = env(m, variable), *home = env(m, "HOME");
	char path[4096];
	int r;

	if (!given && !home)
		return FOUND;
	if (snprintf(path, sizeof(path), "%s%s%s", given ? given : home, given ? "" : "/.aws/",
		     given ? "" : name) >= (int)sizeof(path))
		return broken(m, "the path in %s is too long", given ? variable : "HOME");
	r = m->reader->read_file(m->reader->data, path, PLAN_FILE_MAX, ret, ret_len);
	if (r == -ENOENT || r == -ENOTDIR || (!given && (r == -EACCES || r == -EPERM)))
		return FOUND;
	return r < 0 ? broken(m, "cannot read \"%s\": %s", path, strerror(-r)) : FOUND;
}

static enum found read_profiles(struct maker *m)
{
	enum found found = read_shared(m, "AWS_SHARED_CREDENTIALS_FILE", "credentials",
				       &m->credentials_text, &m->credentials_len);

	if (found == FOUND)
		found = read_shared(m, "AWS_CONFIG_FILE", "config", &m->config_text, &m->config_len);
	m->profiles.credentials =
	    slice_of(m->credentials_text ? m->credentials_text : "", m->credentials_len);
	m->profiles.config = slice_of(m->config_text ? m->config_text : "", m->config_len);
	return found;
}

static struct slice profile_name(const struct maker *m)
{
	if (m->config->profile)
		return slice_of_string(m->config->profile);
	if (env(m, "AWS_PROFILE"))
		return slice_of_string(env(m, "AWS_PROFILE"));
	return slice_of_string(env(m, "AWS_DEFAULT_PROFILE") ? env(m, "AWS_DEFAULT_PROFILE") : "default");
}

static bool get(const struct maker *m, struct slice profile, const char *key, struct slice *ret)
{
	return profiles_get(&m->profiles, profile, key, ret);
}

#define PROFILE(s) (int)((s).len < 64 ? (s).len : 64), (s).ptr

static enum found profile_keys(struct maker *m, struct slice profile)
{
	struct slice id = { "", 0 }, secret = { "", 0 }, token = { "", 0 };
	bool has_id = get(m, profile, "aws_access_key_id", &id),
	     has_secret = get(m, profile, "aws_secret_access_key", &secret);
	char why[ANSWER_WHY_SIZE];

	if (!has_id && !has_secret)
		return NONE;
	if (!has_id || !has_secret)
		return broken(m, "profile \"%.*s\" has %s but not %s", PROFILE(profile),
			      has_id ? "aws_access_key_id" : "aws_secret_access_key",
			      has_id ? "aws_secret_access_key" : "aws_access_key_id");
	if (!get(m, profile, "aws_session_token", &token))
		token = slice_of("", 0);
	m->plan->source = PLAN_KEYS;
	m->plan->told_by = "the shared files";
	if (!aws_keys_set(&m->plan->keys, id, secret, token, why))
		return broken(m, "profile \"%.*s\": %.180s", PROFILE(profile), why);
	return FOUND;
}

static enum found credential_source(struct maker *m, struct slice profile, struct slice name)
{
	enum found found;

	if (slice_equal_nocase(name, SLICE_LITERAL("Environment")))
		found = from_environment(m);
	else if (slice_equal_nocase(name, SLICE_LITERAL("Ec2InstanceMetadata")))
		found = from_imds(m);
	else if (slice_equal_nocase(name, SLICE_LITERAL("EcsContainer")))
		found = from_container(m);
	else
		return broken(m,
			      "profile \"%.*s\": credential_source is Environment, "
			      "Ec2InstanceMetadata or EcsContainer, got \"%.*s\"",
			      PROFILE(profile), PROFILE(name));
	return found == NONE ? broken(m, "profile \"%.*s\": credential_source %.*s is not there",
				      PROFILE(profile), PROFILE(name))
			     : found;
}

/* What a profile may say that takes another program or a person. */
static enum found refuse_unsupported(struct maker *m, struct slice profile)
{
	static const struct {
		const char *key, *why;
	} unsupported[] = {
		{ "credential_process", "the sandbox lets no other program run" },
		{ "sso_session", "IAM Identity Center asks a person" },
		{ "sso_start_url", "IAM Identity Center asks a person" },
		{ "mfa_serial", "a code would have to be asked for" },
	};
	struct slice value;

	for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++) {
		if (get(m, profile, unsupported[i].key, &value))
			return broken(m,
				      "profile \"%.*s\": %s is not supported: %s; use keys, "
				      "role_arn or the instance's role",
				      PROFILE(profile), unsupported[i].key, unsupported[i].why);
	}
	return NONE;
}

/* role_arn: the role is put before those that are to be assumed after it. */
static enum found push_role(struct maker *m, struct slice profile, struct slice arn)
{
	struct plan *p = m->plan;
	struct plan_role role = { 0 };
	struct slice session = { "", 0 }, external = { "", 0 }, seconds;
	unsigned long long n;
	enum found found;

	if (p->n_roles == PLAN_ROLES_MAX)
		return broken(m,
			      "profile \"%.*s\": more than %d profiles in a chain of "
			      "source_profile, or a loop",
			      PROFILE(profile), PLAN_ROLES_MAX);
	if (!get(m, profile, "role_session_name", &session))
		session = slice_of("", 0);
	if (!get(m, profile, "external_id", &external))
		external = slice_of("", 0);
	found = set_role(m, &role, arn, session, external);
	if (found != FOUND) {
		role_fini(&role);
		return found;
	}
	memmove(p->roles + 1, p->roles, p->n_roles * sizeof(p->roles[0]));
	p->roles[0] = role;
	p->n_roles++;
	if (!get(m, profile, "duration_seconds", &seconds))
		return FOUND;
	if (!slice_parse_u64(seconds, 43200, &n) || n < 900)
		return broken(m,
			      "profile \"%.*s\": duration_seconds must be between 900 and 43200, "
			      "got \"%.*s\"",
			      PROFILE(profile), PROFILE(seconds));
	p->roles[0].seconds = (uint32_t)n;
	return FOUND;
}

/* Follows source_profile to where the keys are. */
static enum found from_profile(struct maker *m, struct slice profile)
{
	struct slice before = { "", 0 };

	for (;;) {
		struct slice arn, source, token_file, session = { "", 0 };
		/* A profile may be its own source: the keys in it assume the role in it. */
		bool has_role = get(m, profile, "role_arn", &arn) && !slice_equal(profile, before),
		     has_source;
		enum found found;

		if (!profiles_have(&m->profiles, profile))
			return m->plan->n_roles ? broken(m,
							 "there is no profile \"%.*s\", which is "
							 "the source_profile of \"%.*s\"",
							 PROFILE(profile), PROFILE(before))
						: NONE;
		found = refuse_unsupported(m, profile);
		if (found == BROKEN)
			return found;
		if (!has_role) {
			found = profile_keys(m, profile);
			return found == NONE && m->plan->n_roles
				   ? broken(m, "profile \"%.*s\" has no keys", PROFILE(profile))
				   : found;
		}
		if (get(m, profile, "web_identity_token_file", &token_file)) {
			char path[4096];

			snprintf(path, sizeof(path), "%.*s", (int)token_file.len, token_file.ptr);
			if (!get(m, profile, "role_session_name", &session))
				session = slice_of("", 0);
			return web_identity(m, "the shared files", path, arn, session);
		}
		found = push_role(m, profile, arn);
		if (found != FOUND)
			return found;
		has_source = get(m, profile, "source_profile", &source);
		if (get(m, profile, "credential_source", &token_file))
			return has_source ? broken(m,
						   "profile \"%.*s\" has both source_profile and "
						   "credential_source",
						   PROFILE(profile))
					  : credential_source(m, profile, token_file);
		if (!has_source)
			return broken(m,
				      "profile \"%.*s\" has role_arn but neither source_profile "
				      "nor credential_source",
				      PROFILE(profile));
		before = profile;
		profile = source;
	}
}

static enum found from_profiles(struct maker *m)
{
	return from_profile(m, profile_name(m));
}

/* --- the whole --- */

static enum found find_region(struct maker *m)
{
	const char *name = env(m, "AWS_REGION") ? env(m, "AWS_REGION") : env(m, "AWS_DEFAULT_REGION");
	struct slice region = or_empty(name);

	if (!region.len && !get(m, profile_name(m), "region", &region))
		return FOUND;
	m->plan->region = secret_copy(region);
	return m->plan->region ? FOUND : broken(m, "out of memory");
}

static enum found find_source(struct maker *m)
{
	static const struct {
		enum config_credentials setting;
		enum found (*from)(struct maker *m);
		const char *missing;
	} sources[] = {
		{ CREDENTIALS_ENV, from_environment, "the environment has no AWS_ACCESS_KEY_ID" },
		{ CREDENTIALS_WEB_IDENTITY, from_web_identity,
		  "the environment has no AWS_WEB_IDENTITY_TOKEN_FILE" },
		{ CREDENTIALS_PROFILE, from_profiles,
		  "the shared files have no credentials for that profile" },
		{ CREDENTIALS_CONTAINER, from_container,
		  "the environment has neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor "
		  "AWS_CONTAINER_CREDENTIALS_FULL_URI" },
		{ CREDENTIALS_IMDS, from_imds, "AWS_EC2_METADATA_DISABLED is true" },
	};

	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		bool asked = m->config->credentials == sources[i].setting;
		enum found found =
		    asked || m->config->credentials == CREDENTIALS_AUTO ? sources[i].from(m) : NONE;

		if (found != NONE)
			return found;
		if (asked)
			return broken(m, "%s", sources[i].missing);
	}
	return broken(m, "no source has credentials: neither environment, web identity, shared "
			 "files nor container, "
			 "and AWS_EC2_METADATA_DISABLED is true");
}

bool plan_make(const struct config_aws *c, const struct plan_reader *r, struct plan *ret,
	       char why[ANSWER_WHY_SIZE])
{
	struct maker m = { .config = c, .reader = r, .plan = ret, .why = why };
	enum found found;

	*ret = (struct plan){ 0 };
	found = read_profiles(&m);
	if (found == FOUND)
		found = find_region(&m);
	if (found == FOUND)
		found = find_source(&m);
	secret_free_bytes(m.config_text, m.config_len);
	secret_free_bytes(m.credentials_text, m.credentials_len);
	return found == FOUND;
}

void plan_fini(struct plan *p)
{
	aws_keys_fini(&p->keys);
	role_fini(&p->web_role);
	free(p->url);
	secret_free(p->token);
	for (size_t i = 0; i < p->n_roles; i++)
		role_fini(&p->roles[i]);
	free(p->region);
	*p = (struct plan){ 0 };
}

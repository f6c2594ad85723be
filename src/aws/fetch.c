/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "aws/fetch.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "aws/endpoints.h"
#include "aws/machine.h"
#include "aws/retry.h"
#include "config/config.h"

/* A step asks, and takes the answer; both say false where it cannot go on, with why. */
struct step {
	const char *what;	/* as a subject: "the instance's metadata" */
	bool (*ask)(struct fetch *f);
	bool (*take)(struct fetch *f);
};

static void enter(struct fetch *f, enum fetch_step step);

__attribute__((format(printf, 2, 3))) static bool fail(struct fetch *f, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(f->why, sizeof(f->why), format, ap);
	va_end(ap);
	return false;
}

static struct slice answer_of(const struct fetch *f)
{
	return slice_of(f->call.answer.ptr ? f->call.answer.ptr : "", f->call.answer.len);
}

/* url is left in the fetch's own memory. */
static void set_call(struct fetch *f, const char *method, uint32_t timeout_ms)
{
	f->call.method = method;
	f->call.url = f->url.ptr;
	memset((void *)f->call.headers, 0, sizeof(f->call.headers));
	f->call.body = f->body.ptr;
	f->call.body_len = f->body.len;
	f->call.service = f->call.region = f->call.access_key_id = f->call.secret = NULL;
	f->call.timeout_ms = timeout_ms;
	f->call.answer_max = ANSWER_CREDENTIALS_MAX;
}

/* --- the instance's metadata service, version 2 --- */

static const char *imds_base(const struct fetch *f)
{
	const struct plan_reader *r = f->setup->reader;
	const char *url = r->getenv(r->data, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *mode = r->getenv(r->data, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");

	if (f->setup->config->endpoint_imds)
		return f->setup->config->endpoint_imds;
	if (url && *url)
		return url;
	return mode && slice_equal_nocase(slice_of_string(mode), SLICE_LITERAL("IPv6"))
		   ? "http://[fd00:ec2::254]"
		   : "http://169.254.169.254";
}

static bool imds_ask(struct fetch *f, const char *method, const char *path, const char *name)
{
	const char *base = imds_base(f);
	size_t n = strlen(base);

	while (n > 0 && base[n - 1] == '/')
		n--;
	if (!secret_add(&f->url, base, n) || !secret_add_string(&f->url, path) ||
	    !secret_add_percent(&f->url, name))
		return fail(f, "out of memory");
	set_call(f, method, FETCH_METADATA_MS);
	return true;
}

static bool imds_get(struct fetch *f, const char *path, const char *name)
{
	if (!secret_add_string(&f->header, "X-aws-ec2-metadata-token: ") ||
	    !secret_add_string(&f->header, f->imds_token.ptr))
		return fail(f, "out of memory");
	if (!imds_ask(f, "GET", path, name))
		return false;
	f->call.headers[0] = f->header.ptr;
	return true;
}

static bool ask_imds_token(struct fetch *f)
{
	char seconds[64];

	snprintf(seconds, sizeof(seconds), "X-aws-ec2-metadata-token-ttl-seconds: %d",
		 FETCH_IMDS_TOKEN_SECONDS);
	if (!secret_add_string(&f->header, seconds))
		return fail(f, "out of memory");
	if (!imds_ask(f, "PUT", "/latest/api/token", ""))
		return false;
	f->call.headers[0] = f->header.ptr;
	f->call.headers[1] = "Content-Type:"; /* libcurl would claim a form; nothing is signed here */
	return true;
}

/* One word of printable ASCII, to go into a header or a path. */
static bool is_word(struct slice s, size_t max)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] <= 0x20 || s.ptr[i] > 0x7e)
			return false;
	}
	return s.len > 0 && s.len <= max;
}

static bool take_imds_token(struct fetch *f)
{
	struct slice token = answer_of(f);

	if (!is_word(token, 1024))
		return fail(f, "the instance's metadata: the answer to PUT /latest/api/token is no token");
	if (!secret_add(&f->imds_token, token.ptr, token.len))
		return fail(f, "out of memory");
	enter(f, f->keys.access_key_id ? FETCH_IMDS_REGION : FETCH_IMDS_ROLE);
	return true;
}

static bool ask_imds_role(struct fetch *f)
{
	return imds_get(f, "/latest/meta-data/iam/security-credentials/", "");
}

static bool take_imds_role(struct fetch *f)
{
	struct slice names = answer_of(f);
	const char *end = names.len ? memchr(names.ptr, '\n', names.len) : NULL;

	if (end)
		names.len = (size_t)(end - names.ptr);
	while (names.len && names.ptr[names.len - 1] == '\r')
		names.len--;
	if (!is_word(names, sizeof(f->role) - 1))
		return fail(f, "the instance's metadata names no role");
	memcpy(f->role, names.ptr, names.len);
	f->role[names.len] = '\0';
	enter(f, FETCH_IMDS_KEYS);
	return true;
}

static bool ask_imds_keys(struct fetch *f)
{
	return imds_get(f, "/latest/meta-data/iam/security-credentials/", f->role);
}

/* The base is known; roles, the region and the end follow. */
static void go_on(struct fetch *f)
{
	if (f->next_role < f->plan.n_roles)
		enter(f, FETCH_ROLE);
	else if (f->setup->want_region && !f->plan.region && !f->setup->config->region)
		enter(f, f->imds_token.ptr ? FETCH_IMDS_REGION : FETCH_IMDS_TOKEN);
	else
		enter(f, FETCH_DONE);
}

static bool take_json_keys(struct fetch *f)
{
	char why[ANSWER_WHY_SIZE];

	if (!answer_read_json_keys(answer_of(f), &f->keys, why))
		return fail(f, "%s: %s", f->plan.told_by, why);
	go_on(f);
	return true;
}

static bool ask_imds_region(struct fetch *f)
{
	return imds_get(f, "/latest/meta-data/placement/region", "");
}

static bool take_imds_region(struct fetch *f)
{
	struct slice region = answer_of(f);
	char *copy = secret_copy(region);

	if (!copy)
		return fail(f, "out of memory");
	if (strlen(copy) == region.len && endpoint_region_is_valid(copy))
		f->plan.region = copy;
	else
		secret_free(copy);
	enter(f, FETCH_DONE);
	return true;
}

/* --- containers --- */

static bool ask_container(struct fetch *f)
{
	if (!secret_add_string(&f->url, f->plan.url))
		return fail(f, "out of memory");
	set_call(f, "GET", FETCH_METADATA_MS);
	if (!f->plan.token)
		return true;
	if (!secret_add_string(&f->header, "Authorization: ") ||
	    !secret_add_string(&f->header, f->plan.token))
		return fail(f, "out of memory");
	f->call.headers[0] = f->header.ptr;
	return true;
}

/* --- STS --- */

static const char *sts_region(const struct fetch *f)
{
	return f->setup->config->region ? f->setup->config->region
	       : f->plan.region         ? f->plan.region
					: "us-east-1";
}

static bool ask_sts(struct fetch *f, const char *action, const struct plan_role *role)
{
	const struct config_aws *c = f->setup->config;
	char url[ENDPOINT_URL_SIZE], tail[64];
	const char *why;
	bool good;

	if (!c->endpoint_sts &&
	    !endpoint_url(ENDPOINT_STS, sts_region(f), c->use_fips, c->use_dualstack, url, &why))
		return fail(f, "STS in region \"%.64s\": %s", sts_region(f), why);
	snprintf(tail, sizeof(tail), "&Version=2011-06-15&DurationSeconds=%u", (unsigned)role->seconds);
	good = secret_add_string(&f->url, c->endpoint_sts ? c->endpoint_sts : url) &&
	       secret_add_string(&f->body, "Action=") && secret_add_string(&f->body, action) &&
	       secret_add_string(&f->body, tail) && secret_add_string(&f->body, "&RoleArn=") &&
	       secret_add_percent(&f->body, role->arn) &&
	       secret_add_string(&f->body, "&RoleSessionName=") &&
	       secret_add_percent(&f->body, role->session_name);
	if (good && role->external_id)
		good = secret_add_string(&f->body, "&ExternalId=") &&
		       secret_add_percent(&f->body, role->external_id);
	return good || fail(f, "out of memory");
}

static bool ask_web_identity(struct fetch *f)
{
	if (!ask_sts(f, "AssumeRoleWithWebIdentity", &f->plan.web_role))
		return false;
	if (!secret_add_string(&f->body, "&WebIdentityToken=") ||
	    !secret_add_percent(&f->body, f->plan.token))
		return fail(f, "out of memory");
	set_call(f, "POST", FETCH_STS_MS);
	f->call.headers[0] = "Content-Type: application/x-www-form-urlencoded; charset=utf-8";
	return true;
}

static bool ask_role(struct fetch *f)
{
	if (!ask_sts(f, "AssumeRole", &f->plan.roles[f->next_role]))
		return false;
	set_call(f, "POST", FETCH_STS_MS);
	f->call.headers[0] = "Content-Type: application/x-www-form-urlencoded; charset=utf-8";
	if (f->keys.token) {
		if (!secret_add_string(&f->header, "X-Amz-Security-Token: ") ||
		    !secret_add_string(&f->header, f->keys.token))
			return fail(f, "out of memory");
		f->call.headers[1] = f->header.ptr;
	}
	f->call.service = endpoint_service_name(ENDPOINT_STS);
	f->call.region = sts_region(f);
	f->call.access_key_id = f->keys.access_key_id;
	f->call.secret = f->keys.secret;
	return true;
}

static bool take_sts(struct fetch *f, const char *action, const char *arn)
{
	struct aws_keys keys;
	char why[ANSWER_WHY_SIZE];

	if (!answer_read_sts_keys(answer_of(f), action, &keys, why))
		return fail(f, "%s of %.150s: %s", action, arn, why);
	aws_keys_fini(&f->keys);
	f->keys = keys;
	go_on(f);
	return true;
}

static bool take_web_identity(struct fetch *f)
{
	return take_sts(f, "AssumeRoleWithWebIdentity", f->plan.web_role.arn);
}

static bool take_role(struct fetch *f)
{
	return take_sts(f, "AssumeRole", f->plan.roles[f->next_role++].arn);
}

/* --- steps --- */

static const struct step steps[] = {
	[FETCH_IMDS_TOKEN] = { "the instance's metadata", ask_imds_token, take_imds_token },
	[FETCH_IMDS_ROLE] = { "the instance's metadata", ask_imds_role, take_imds_role },
	[FETCH_IMDS_KEYS] = { "the instance's metadata", ask_imds_keys, take_json_keys },
	[FETCH_CONTAINER] = { "the container's endpoint", ask_container, take_json_keys },
	[FETCH_WEB_IDENTITY] = { "STS, for the web identity", ask_web_identity, take_web_identity },
	[FETCH_ROLE] = { "STS, for the role", ask_role, take_role },
	[FETCH_IMDS_REGION] = { "the instance's metadata", ask_imds_region, take_imds_region },
	[FETCH_DONE] = { "", NULL, NULL },
};

static void end(struct fetch *f, bool good)
{
	call_fini(&f->call);
	f->good = good;
	f->step = FETCH_DONE;
	f->done(f);
}

static void ask(struct fetch *f)
{
	secret_fini(&f->url);
	secret_fini(&f->body);
	secret_fini(&f->header);
	f->attempts++;
	if (steps[f->step].ask(f))
		call_start(f->setup->calls, &f->call);
	else
		end(f, false);
}

static void enter(struct fetch *f, enum fetch_step step)
{
	f->step = step;
	f->attempts = 0;
	if (step == FETCH_DONE)
		end(f, true);
	else
		ask(f);
}

static void explain_status(struct fetch *f)
{
	struct answer_error e;

	if (f->step == FETCH_IMDS_ROLE && f->call.status == 404) {
		fail(f, "the instance has no role: attach an instance profile, or name another "
			"source in `aws credentials`");
		return;
	}
	if (f->step == FETCH_IMDS_TOKEN && f->call.status == 403) {
		fail(f, "the instance's metadata service is switched off (HTTP status 403)");
		return;
	}
	if (f->step == FETCH_WEB_IDENTITY || f->step == FETCH_ROLE)
		answer_read_sts_error(answer_of(f), &e);
	else
		answer_read_json_error(answer_of(f), "", &e);
	f->expired = f->step == FETCH_ROLE && retry_classify(f->call.status, e.code) == RETRY_EXPIRED;
	fail(f, "%s%s%.100s answered %u%s%s%s%.200s", steps[f->step].what,
	     f->step == FETCH_ROLE ? " " : "",
	     f->step == FETCH_ROLE ? f->plan.roles[f->next_role].arn : "", f->call.status,
	     e.code[0] ? " " : "", e.code, e.message[0] ? ": " : "", e.message);
}

static void explain_silence(struct fetch *f)
{
	/* The answer to the PUT comes with an IP TTL of 1 unless the instance says otherwise. */
	if (f->step == FETCH_IMDS_TOKEN && f->call.result == CALL_TIMED_OUT)
		fail(f,
		     "the instance's metadata does not answer the PUT for a token: either this is "
		     "no EC2 instance, or a "
		     "container or bridge lies between; then its hop limit must be 2 "
		     "(aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2)");
	else
		fail(f, "%s: %s", steps[f->step].what, f->call.why);
}

static enum retry_kind kind_of(const struct call *c)
{
	switch (c->result) {
	case CALL_ANSWERED:
		return c->status == 429 || c->status >= 500 ? RETRY_TRANSIENT : RETRY_NEVER;
	case CALL_NO_NAME:
	case CALL_UNREACHABLE:
	case CALL_TIMED_OUT:
		return RETRY_TRANSIENT;
	case CALL_UNTRUSTED:
	case CALL_BAD_ANSWER:
	case CALL_FAILED:
		break;
	}
	return RETRY_NEVER;
}

static void called(struct call *c)
{
	struct fetch *f = container_of(c, struct fetch, call);

	if (c->result == CALL_ANSWERED && c->status == 200) {
		if (!steps[f->step].take(f))
			end(f, false);
		return;
	}
	if (kind_of(c) != RETRY_NEVER && f->attempts < RETRY_ATTEMPTS_MAX) {
		ev_timer_set(&f->wait, retry_wait_ms(f->attempts + 1, machine_random()) / 1000., 0.);
		ev_timer_start(f->setup->loop, &f->wait);
		return;
	}
	/* The region is a nicety: keys without it are keys. */
	if (f->keys.access_key_id && (f->step == FETCH_IMDS_REGION || f->step == FETCH_IMDS_TOKEN)) {
		enter(f, FETCH_DONE);
		return;
	}
	if (c->result == CALL_ANSWERED)
		explain_status(f);
	else
		explain_silence(f);
	end(f, false);
}

static void begin(struct fetch *f)
{
	switch (f->plan.source) {
	case PLAN_KEYS:
		f->keys = f->plan.keys;
		f->plan.keys = (struct aws_keys){ 0 };
		go_on(f);
		break;
	case PLAN_WEB_IDENTITY:
		enter(f, FETCH_WEB_IDENTITY);
		break;
	case PLAN_CONTAINER:
		enter(f, FETCH_CONTAINER);
		break;
	case PLAN_IMDS:
		enter(f, FETCH_IMDS_TOKEN);
		break;
	}
}

/* The start, and each time that is tried again. */
static void wait_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct fetch *f = container_of(timer, struct fetch, wait);

	(void)loop;
	(void)events;
	if (f->attempts == 0)
		begin(f);
	else
		ask(f);
}

void fetch_start(struct fetch *f, const struct fetch_setup *setup, struct plan *plan,
		 void (*done)(struct fetch *f))
{
	f->setup = setup;
	f->plan = *plan;
	*plan = (struct plan){ 0 };
	f->done = done;
	f->good = f->expired = false;
	f->why[0] = '\0';
	f->attempts = 0;
	f->next_role = 0;
	f->call.done = called;
	ev_timer_init(&f->wait, wait_over, 0., 0.);
	ev_timer_start(setup->loop, &f->wait);
}

void fetch_cancel(struct fetch *f)
{
	if (!f->setup)
		return;
	ev_timer_stop(f->setup->loop, &f->wait);
	call_fini(&f->call);
	plan_fini(&f->plan);
	aws_keys_fini(&f->keys);
	secret_fini(&f->url);
	secret_fini(&f->body);
	secret_fini(&f->header);
	secret_fini(&f->imds_token);
}

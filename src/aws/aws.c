/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The AWS thread: its mailbox, and the life of a call on it.
 *
 *	queue -> credentials -> attempt -> (wait -> attempt)... -> back to its worker
 *
 * A call is a job here.  It is in one state at a time, under one deadline from its arrival to
 * its end, and whatever happens it is posted back once.  The outcome of an attempt is
 * noted in the call at once, so that a call that cannot be tried again has something to say.
 */
#include <config.h>

#include "aws/aws.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include <ev.h>

#include "aws/answers.h"
#include "aws/call.h"
#include "aws/credentials.h"
#include "aws/endpoints.h"
#include "aws/machine.h"
#include "aws/queue.h"
#include "aws/retry.h"
#include "config/config.h"
#include "engine/engine.h"
#include "log/log.h"
#include "net/resolve.h"

enum {
	ATTEMPT_MS = 10000,		/* one attempt, so that a silent server leaves time for another */
	NO_DEADLINE_MS = 300 * 1000,	/* where the caller has none */
	JSON_ANSWER_MAX = 1024 * 1024,	/* bytes */
};

struct aws {
	const struct config *config;
	struct ev_loop *loop;
	pthread_t thread;
	ev_async wake;
	ev_prepare turn;
	pthread_mutex_t lock;		/* of the mailbox */
	struct list mailbox;		/* of struct mail */
	struct list forgotten;		/* of struct job; under the lock too */
	_Atomic bool stopping;
	struct list jobs;
	struct resolver *resolver;
	struct calls *calls;
	struct fetch_setup fetch_setup;
	struct credentials *credentials;
	struct queue *queue;
	struct retry_quota *quotas;	/* by enclave, as the queue's: one's flood is not another's outage */
	ev_tstamp last_full;		/* when a full queue was last told of */
};

/* What aws_call_new() hands out a part of; all but call is the thread's. */
struct job {
	struct aws_call call;
	struct list forget;		/* in aws.forgotten; this and the next one under its lock */
	bool returned;			/* on its way back */
	struct aws *aws;
	struct list node;		/* in aws.jobs */
	struct queue_item item;
	struct credentials_wait credentials;
	struct call attempt;
	ev_timer deadline, again;
	ev_tstamp arrived;
	unsigned cost;			/* taken from the quota for the last attempt */
	bool queued;			/* waits for its turn, or has it */
	bool noted;			/* an attempt has ended, and call says how */
	bool refused;			/* once: its credentials were */
	bool forgotten;			/* it ends with the attempt that is under way */
	uint64_t generation;		/* of the credentials of the last attempt */
	struct secret_buffer token;	/* a header */
	char target[160];		/* another */
};

/* --- a worker's side --- */

struct aws_call *aws_call_new(struct worker *w)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->call.worker = w;
	list_init(&job->forget);
	return &job->call;
}

void aws_call_start(struct aws *aws, struct aws_call *call)
{
	container_of(call, struct job, call)->aws = aws;
	pthread_mutex_lock(&aws->lock);
	list_append(&aws->mailbox, &call->mail.node);
	pthread_mutex_unlock(&aws->lock);
	ev_async_send(aws->loop, &aws->wake);
}

void aws_call_forget(struct aws_call *call)
{
	struct job *job = container_of(call, struct job, call);
	struct aws *aws = job->aws;
	bool tell;

	call->done = NULL;
	pthread_mutex_lock(&aws->lock);
	tell = !job->returned;
	if (tell)
		list_append(&aws->forgotten, &job->forget);
	pthread_mutex_unlock(&aws->lock);
	if (tell)
		ev_async_send(aws->loop, &aws->wake);
}

void aws_call_free(struct aws_call *call)
{
	struct job *job;

	if (!call)
		return;
	job = container_of(call, struct job, call);
	secret_free_bytes(call->body, call->body_len);
	secret_free_bytes(call->answer, call->answer_len);
	free(job);
}

static void deliver(struct worker *w, struct mail *m)
{
	struct aws_call *call = container_of(m, struct aws_call, mail);

	(void)w;
	if (call->done)
		call->done(call);
	else
		aws_call_free(call);
}

/* --- the end of a job --- */

static uint32_t since_ms(const struct aws *aws, ev_tstamp then)
{
	ev_tstamp ms = (ev_now(aws->loop) - then) * 1000.;

	return ms <= 0. ? 0 : ms >= UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static void finish(struct job *job, enum aws_result result)
{
	struct aws *aws = job->aws;
	struct aws_call *call = &job->call;

	ev_timer_stop(aws->loop, &job->deadline);
	ev_timer_stop(aws->loop, &job->again);
	list_del(&job->credentials.node);
	call_fini(&job->attempt);
	secret_fini(&job->token);
	if (job->queued)
		queue_remove(aws->queue, &job->item);
	list_del(&job->node);
	call->result = result;
	call->total_ms = since_ms(aws, job->arrived);
	call->mail.deliver = deliver;
	pthread_mutex_lock(&aws->lock);
	job->returned = true;
	list_del(&job->forget);
	pthread_mutex_unlock(&aws->lock);
	worker_post(call->worker, &call->mail);
}

__attribute__((format(printf, 3, 4))) static void finish_saying(struct job *job, enum aws_result result,
								const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(job->call.error_message, sizeof(job->call.error_message), format, ap);
	va_end(ap);
	finish(job, result);
}

/* As the last attempt left it. */
static void finish_noted(struct job *job)
{
	finish(job, job->call.result);
}

static void deadline_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct job *job = container_of(timer, struct job, deadline);
	struct aws_call *call = &job->call;
	char before[256];

	(void)loop;
	(void)events;
	if (job->noted && !job->attempt.active) {
		finish_noted(job);
		return;
	}
	/* What the attempt before got is no answer, but may say why. */
	if (!job->noted)
		*before = '\0';
	else if (call->status)
		snprintf(before, sizeof(before), "; the attempt before: %u %s", call->status,
			 call->error_code);
	else
		snprintf(before, sizeof(before), "; the attempt before: %.200s", call->error_message);
	secret_free_bytes(call->answer, call->answer_len);
	call->answer = NULL;
	call->answer_len = 0;
	call->status = 0;
	call->error_code[0] = '\0';
	finish_saying(job, AWS_TIMED_OUT, "%s%s",
		      job->item.under_way ? "no answer in time" : "its turn did not come in time",
		      before);
}

/* --- attempts --- */

static enum endpoint_service service_of(const struct aws_call *call)
{
	return call->api == AWS_KMS ? ENDPOINT_KMS : ENDPOINT_LOGS;
}

/* The URL in url, or false with the reason in *ret_why. */
static bool find_url(const struct job *job, const char *region, char url[ENDPOINT_URL_SIZE],
		     const char **ret, const char **ret_why)
{
	const struct config_aws *c = &job->aws->config->aws;
	const char *own = job->call.api == AWS_KMS ? c->endpoint_kms : c->endpoint_logs;

	*ret = own ? own : url;
	return own ? endpoint_region_is_valid(region)
		   : endpoint_url(service_of(&job->call), region, c->use_fips, c->use_dualstack,
				  url, ret_why);
}

/* Milliseconds that the job has left. */
static uint32_t left_ms(const struct job *job)
{
	ev_tstamp left = ev_timer_remaining(job->aws->loop, (ev_timer *)&job->deadline) * 1000.;

	return left < 1. ? 1 : (uint32_t)left;
}

static void attempt_ended(struct call *c);

static bool set_attempt(struct job *job, const struct credentials_grant *g, const char *region,
			const char *url)
{
	struct call *c = &job->attempt;

	snprintf(job->target, sizeof(job->target), "X-Amz-Target: %s", job->call.target);
	secret_fini(&job->token);
	if (g->keys->token && (!secret_add_string(&job->token, "X-Amz-Security-Token: ") ||
			       !secret_add_string(&job->token, g->keys->token)))
		return false;
	c->method = "POST";
	c->url = url;
	c->headers[0] = "Content-Type: application/x-amz-json-1.1";
	c->headers[1] = job->target;
	c->headers[2] = job->token.ptr;
	c->body = job->call.body;
	c->body_len = job->call.body_len;
	c->service = endpoint_service_name(service_of(&job->call));
	c->region = region;
	c->access_key_id = g->keys->access_key_id;
	c->secret = g->keys->secret;
	c->timeout_ms = ATTEMPT_MS; /* the job's own deadline may come first */
	c->answer_max = JSON_ANSWER_MAX;
	c->done = attempt_ended;
	return true;
}

static void attempt(struct job *job, const struct credentials_grant *g)
{
	const char *region = job->call.region ? job->call.region : job->aws->config->aws.region;
	char made[ENDPOINT_URL_SIZE];
	const char *url, *why = "a region is written as \"eu-west-1\"";

	if (!region)
		region = g->region;
	if (!region) {
		finish_saying(job, AWS_FAILED,
			      "no region is known: say `aws region`, or name the key by its ARN");
		return;
	}
	if (!find_url(job, region, made, &url, &why)) {
		finish_saying(job, AWS_FAILED, "region \"%.64s\": %s", region, why);
		return;
	}
	job->generation = g->generation;
	if (!set_attempt(job, g, region, url)) {
		finish_saying(job, AWS_FAILED, "out of memory");
		return;
	}
	job->call.attempts++;
	/* It copies the URL too. */
	call_start(job->aws->calls, &job->attempt);
}

static struct credentials_who who_calls(const struct job *job)
{
	return (struct credentials_who){ job->call.role, job->call.region };
}

static void with_credentials(struct job *job)
{
	struct credentials_grant g;
	char why[CREDENTIALS_WHY_SIZE];

	switch (credentials_get(job->aws->credentials, who_calls(job), &job->credentials, &g, why)) {
	case CREDENTIALS_READY:
		/* Refused, and nothing better has come: AWS's answer is the answer. */
		if (job->refused && g.generation == job->generation)
			finish_noted(job);
		else
			attempt(job, &g);
		break;
	case CREDENTIALS_WAIT:
		break;
	case CREDENTIALS_NONE:
		if (job->noted)
			finish_noted(job);
		else
			finish_saying(job, AWS_NO_CREDENTIALS, "%s", why);
		break;
	}
}

static void credentials_came(struct credentials_wait *w)
{
	with_credentials(container_of(w, struct job, credentials));
}

static void again_now(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	with_credentials(container_of(timer, struct job, again));
}

/* --- what an attempt's end means --- */

/* Into the call: it may be all that is ever said. */
static enum retry_kind note(struct job *job)
{
	struct call *c = &job->attempt;
	struct aws_call *call = &job->call;
	struct answer_error e = { "", "" };
	bool answered = c->result == CALL_ANSWERED;

	if (!answered)
		secret_fini(&c->answer); /* a part of one is none */
	secret_free_bytes(call->answer, call->answer_len);
	call->answer = c->answer.ptr;
	call->answer_len = c->answer.len;
	c->answer = (struct secret_buffer){ 0 };
	call->status = answered ? c->status : 0;
	memcpy(call->request_id, c->request_id, sizeof(call->request_id));
	if (answered && c->status != 200)
		answer_read_json_error(slice_of(call->answer ? call->answer : "", call->answer_len),
				       c->error_type, &e);
	if (answered && c->status != 200 && !e.code[0])
		snprintf(e.code, sizeof(e.code), "UnknownError");
	memcpy(call->error_code, e.code, sizeof(call->error_code));
	snprintf(call->error_message, sizeof(call->error_message), "%s", answered ? e.message : c->why);
	job->noted = true;
	call->result = answered ? AWS_ANSWERED : c->result == CALL_FAILED ? AWS_FAILED : AWS_UNREACHABLE;
	switch (c->result) {
	case CALL_ANSWERED:
		return retry_classify(c->status, e.code);
	case CALL_NO_NAME:
	case CALL_UNREACHABLE:
		return RETRY_TRANSIENT;
	case CALL_TIMED_OUT:
		return RETRY_TIMEOUT;
	case CALL_UNTRUSTED:
	case CALL_BAD_ANSWER:
	case CALL_FAILED:
		break;
	}
	return RETRY_NEVER;
}

/* For who debugs: never what was sent or got. */
static void tell_attempt(const struct job *job, enum retry_kind kind)
{
	static const char *const kinds[] = { "", "credentials", "throttled", "trouble", "silence" };
	const struct aws_call *call = &job->call;
	struct log_line l;

	if (!log_wants(LEVEL_DEBUG))
		return;
	log_begin(&l, LEVEL_DEBUG, "aws: an attempt has ended");
	log_field_string(&l, "target", call->target);
	log_field_number(&l, "attempt", call->attempts);
	log_field_number(&l, "status", call->status);
	if (call->error_code[0])
		log_field_string(&l, "code", call->error_code);
	if (!call->status)
		log_field_string(&l, "why", call->error_message);
	if (kind != RETRY_NEVER)
		log_field_string(&l, "kind", kinds[kind]);
	log_end(&l);
}

/* Once a call; does not count among the attempts that failed. */
static void ask_for_other_credentials(struct job *job)
{
	struct credentials_grant g;

	if (job->refused) {
		finish_noted(job);
		return;
	}
	job->refused = true;
	switch (credentials_refused(job->aws->credentials, who_calls(job), job->generation,
				    &job->credentials, &g)) {
	case CREDENTIALS_READY:
		attempt(job, &g);
		break;
	case CREDENTIALS_WAIT:
		break;
	case CREDENTIALS_NONE:
		finish_noted(job);
		break;
	}
}

static void attempt_ended(struct call *c)
{
	struct job *job = container_of(c, struct job, attempt);
	struct aws *aws = job->aws;
	struct retry_quota *quota = &aws->quotas[job->item.enclave];
	enum retry_kind kind = note(job);
	uint32_t wait_ms;

	tell_attempt(job, kind);
	/* Any word of AWS's own that is not about its load: it is up. */
	if (kind == RETRY_NEVER && c->result == CALL_ANSWERED)
		retry_quota_give(quota, job->cost);
	if (kind == RETRY_NEVER || job->forgotten) {
		finish_noted(job);
		return;
	}
	if (kind == RETRY_EXPIRED) {
		ask_for_other_credentials(job);
		return;
	}
	wait_ms = retry_wait_ms(job->call.attempts + 1, machine_random());
	if (job->call.attempts >= RETRY_ATTEMPTS_MAX + (job->refused ? 1 : 0) || wait_ms >= left_ms(job) ||
	    !retry_quota_take(quota, kind, &job->cost)) {
		finish_noted(job);
		return;
	}
	ev_timer_set(&job->again, wait_ms / 1000., 0.);
	ev_timer_start(aws->loop, &job->again);
}

/* --- the queue --- */

/* The end of a turn of the loop: whoever may go, goes. */
static void dispatch(struct ev_loop *loop, ev_prepare *turn, int events)
{
	struct aws *aws = container_of(turn, struct aws, turn);
	struct queue_item *item;

	(void)loop;
	(void)events;
	while ((item = queue_take(aws->queue))) {
		struct job *job = container_of(item, struct job, item);

		job->call.queued_ms = since_ms(aws, job->arrived);
		with_credentials(job);
	}
}

static void tell_full(struct aws *aws, const struct aws_call *call)
{
	ev_tstamp now = ev_now(aws->loop);

	/* A flood is told of once a second. */
	if (now - aws->last_full < 1.)
		return;
	aws->last_full = now;
	log_warning("aws: %s has %d calls or %d MiB waiting, refusing more",
		    call->enclave < aws->config->n_enclaves
			? aws->config->enclaves[call->enclave].name
			: "a peer",
		    QUEUE_ITEMS_MAX, QUEUE_BYTES_MAX >> 20);
}

static void arrive(struct aws *aws, struct mail *m)
{
	struct aws_call *call = container_of(m, struct aws_call, mail);
	struct job *job = container_of(call, struct job, call);

	list_append(&aws->jobs, &job->node);
	list_init(&job->credentials.node);
	job->credentials.done = credentials_came;
	job->arrived = ev_now(aws->loop);
	ev_timer_init(&job->deadline, deadline_over,
		      (call->timeout_ms ? call->timeout_ms : NO_DEADLINE_MS) / 1000., 0.);
	ev_timer_init(&job->again, again_now, 0., 0.);
	ev_timer_start(aws->loop, &job->deadline);
	job->item.enclave = call->enclave <= aws->config->n_enclaves
				? call->enclave
				: (unsigned)aws->config->n_enclaves;
	job->item.enclave_max = call->enclave_max;
	job->item.bytes = call->body_len;
	job->queued = queue_put(aws->queue, &job->item);
	if (job->queued)
		return;
	tell_full(aws, call);
	finish_saying(job, AWS_QUEUE_FULL, "too many calls of this enclave are waiting");
}

/*
 * Nobody waits for it: its place in the queue is another's.  An attempt is not cut off, since
 * then who comes and goes would have us open connections as fast as it likes.
 */
static void give_up(struct job *job)
{
	job->forgotten = true;
	if (!job->attempt.active)
		finish_saying(job, AWS_FAILED, "nobody waits for it");
}

static void read_mail(struct aws *aws)
{
	struct list mail, forgotten;

	pthread_mutex_lock(&aws->lock);
	list_move_all(&mail, &aws->mailbox);
	list_move_all(&forgotten, &aws->forgotten);
	pthread_mutex_unlock(&aws->lock);
	while (!list_is_empty(&mail)) {
		struct list *node = mail.next;

		list_del(node);
		arrive(aws, container_of(node, struct mail, node));
	}
	/* What was forgotten has arrived before, or just now, and may have ended with that. */
	while (!list_is_empty(&forgotten)) {
		struct list *node = forgotten.next;

		list_del(node);
		give_up(container_of(node, struct job, forget));
	}
}

static void woken(struct ev_loop *loop, ev_async *async, int events)
{
	struct aws *aws = container_of(async, struct aws, wake);

	(void)events;
	read_mail(aws);
	if (aws->stopping)
		ev_break(loop, EVBREAK_ALL);
}

/* --- the service --- */

static void *thread_main(void *arg)
{
	struct aws *aws = arg;

	prctl(PR_SET_NAME, "teeproxy-aws", 0, 0, 0);
	ev_run(aws->loop, 0);
	read_mail(aws);
	while (!list_is_empty(&aws->jobs))
		finish_saying(container_of(aws->jobs.next, struct job, node), AWS_FAILED, "teeproxy ends");
	return NULL;
}

/* Whether a key or a log group needs a region that its name does not say. */
static bool wants_region(const struct config *c)
{
	for (size_t i = 0; i < c->n_frontends; i++) {
		const struct config_frontend *f = &c->frontends[i];

		for (size_t r = 0; r < f->n_rules; r++) {
			const struct config_target *t = &f->rules[r].target;

			if (t->kind == TARGET_CLOUDWATCH || (t->kind == TARGET_KEY && t->kms->any_key))
				return true;
			for (size_t k = 0; t->kind == TARGET_KEY && k < t->kms->n_keys; k++) {
				if (!t->kms->keys[k].region)
					return true;
			}
		}
	}
	return false;
}

static bool is_needed(const struct config *c)
{
	for (size_t i = 0; i < c->n_frontends; i++) {
		const struct config_frontend *f = &c->frontends[i];

		if (f->mode == MODE_KMS)
			return true;
		for (size_t r = 0; r < f->n_rules; r++) {
			if (f->rules[r].target.kind == TARGET_CLOUDWATCH)
				return true;
		}
	}
	return false;
}

/* AWS's own tools take roots from the environment too. */
static const char *ca_file(const struct config *c)
{
	const char *bundle = getenv("AWS_CA_BUNDLE");

	return c->aws.ca_file ? c->aws.ca_file : bundle && *bundle ? bundle : NULL;
}

static bool make_parts(struct aws *aws)
{
	const struct config *c = aws->config;

	aws->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOSIGMASK);
	if (!aws->loop)
		return false;
	ev_async_init(&aws->wake, woken);
	ev_async_start(aws->loop, &aws->wake);
	ev_prepare_init(&aws->turn, dispatch);
	ev_prepare_start(aws->loop, &aws->turn);
	aws->resolver = resolver_new(aws->loop, &c->resolver);
	aws->calls = aws->resolver ? calls_new(aws->loop, aws->resolver, ca_file(c)) : NULL;
	aws->queue = queue_new((unsigned)c->n_enclaves + 1, c->aws.max_requests);
	aws->quotas = calloc(c->n_enclaves + 1, sizeof(*aws->quotas));
	if (!aws->calls || !aws->queue || !aws->quotas)
		return false;
	for (size_t i = 0; i <= c->n_enclaves; i++)
		retry_quota_init(&aws->quotas[i]);
	aws->fetch_setup = (struct fetch_setup){ aws->loop, aws->calls, &c->aws, &machine_reader,
						 wants_region(c) };
	aws->credentials = credentials_new(&aws->fetch_setup);
	return aws->credentials;
}

static void aws_free(void *service)
{
	struct aws *aws = service;

	credentials_free(aws->credentials);
	free(aws->quotas);
	queue_free(aws->queue);
	calls_free(aws->calls);
	resolver_free(aws->resolver);
	if (aws->loop)
		ev_loop_destroy(aws->loop);
	pthread_mutex_destroy(&aws->lock);
	free(aws);
	calls_global_fini();
}

static int aws_start(const struct config *c, void **ret)
{
	struct aws *aws;
	int r;

	if (!is_needed(c))
		return 0;
	r = calls_global_init();
	if (r < 0)
		return r;
	aws = calloc(1, sizeof(*aws));
	if (!aws) {
		calls_global_fini();
		return -ENOMEM;
	}
	aws->config = c;
	pthread_mutex_init(&aws->lock, NULL);
	list_init(&aws->mailbox);
	list_init(&aws->forgotten);
	list_init(&aws->jobs);
	r = make_parts(aws) ? 0 : -ENOMEM;
	if (r == 0)
		r = -pthread_create(&aws->thread, NULL, thread_main, aws);
	if (r < 0) {
		aws_free(aws);
		return r;
	}
	*ret = aws;
	return 0;
}

static void aws_stop(void *service)
{
	struct aws *aws = service;

	aws->stopping = true;
	ev_async_send(aws->loop, &aws->wake);
	pthread_join(aws->thread, NULL);
}

const struct engine_service aws_service = { aws_start, aws_stop, aws_free };

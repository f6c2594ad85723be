/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl's multi interface on a libev loop.
 *
 * An attempt has three steps: the host's addresses, unless the URL has them; the easy
 * handle, fresh each time, since libcurl's signer looks at what an earlier request left; and
 * the end, told by curl_multi_info_read() outside of libcurl's callbacks, so that the
 * caller may do in done() what it likes.
 */
#include <config.h>

#include "aws/call.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>
#include <openssl/ssl.h>

#include "base/slice.h"
#include "wire/host_name.h"

struct calls {
	struct ev_loop *loop;
	struct resolver *resolver;
	const char *ca_file;
	CURLM *multi;
	ev_timer timer;
};

struct watcher {
	ev_io io;
	struct calls *calls;
};

/* --- memory: libcurl copies credentials, and frees them as they are --- */

static void wiping_free(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static void *wiping_realloc(void *p, size_t size)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *moved;

	if (old >= size && size > 0)
		return p;
	moved = malloc(size);
	if (!moved)
		return NULL;
	if (old)
		memcpy(moved, p, old < size ? old : size);
	wiping_free(p);
	return moved;
}

int calls_global_init(void)
{
	CURLcode code = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free,
					     wiping_realloc, strdup, calloc);

	return code == CURLE_OK ? 0 : -ENOMEM;
}

void calls_global_fini(void)
{
	curl_global_cleanup();
}

/* --- the end of a call --- */

static void forget(struct call *c)
{
	ev_timer_stop(c->calls->loop, &c->deadline);
	resolve_cancel(&c->query);
	if (c->easy) {
		curl_multi_remove_handle(c->calls->multi, c->easy);
		curl_easy_cleanup(c->easy);
		c->easy = NULL;
	}
	curl_slist_free_all(c->headers_list);
	curl_slist_free_all(c->resolve_list);
	c->headers_list = c->resolve_list = NULL;
	free(c->resolved);
	c->resolved = NULL;
	c->active = false;
}

static void end(struct call *c, enum call_result result)
{
	forget(c);
	c->result = result;
	if (result == CALL_FAILED && !c->why[0])
		snprintf(c->why, sizeof(c->why), "out of memory");
	c->done(c);
}

/* Not before call_start() has returned: from the timer, at once. */
static void end_soon(struct call *c, enum call_result result)
{
	c->result = result;
	ev_timer_stop(c->calls->loop, &c->deadline);
	ev_timer_set(&c->deadline, 0., 0.);
	ev_timer_start(c->calls->loop, &c->deadline);
}

/* result is TIMED_OUT unless end_soon() has set another. */
static void deadline_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct call *c = container_of(timer, struct call, deadline);

	(void)loop;
	(void)events;
	if (c->result == CALL_TIMED_OUT)
		snprintf(c->why, sizeof(c->why), "no answer from %s within %u ms", c->host, c->timeout_ms);
	end(c, c->result);
}

static enum call_result result_of(struct call *c, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return CALL_ANSWERED;
	case CURLE_OPERATION_TIMEDOUT:
		snprintf(c->why, sizeof(c->why), "no connection to %s within %u ms", c->host,
			 CALL_CONNECT_MS);
		return CALL_TIMED_OUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return CALL_UNTRUSTED;
	case CURLE_OUT_OF_MEMORY:
		return CALL_FAILED;
	case CURLE_WRITE_ERROR:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_HTTP2:
		return CALL_BAD_ANSWER;
	default:
		return CALL_UNREACHABLE;
	}
}

static void finished(struct call *c, CURLcode code)
{
	long status = 0;
	enum call_result result;

	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	result = result_of(c, code);
	if (result == CALL_ANSWERED) {
		c->status = (uint16_t)status;
		c->why[0] = '\0';
	} else if (c->too_large) {
		snprintf(c->why, sizeof(c->why),
			 "the answer of %s is larger than %zu bytes, or its head than %d", c->host,
			 c->answer_max, CALL_ANSWER_HEAD_MAX);
	} else if (!c->why[0]) {
		snprintf(c->why, sizeof(c->why), "%s", curl_easy_strerror(code));
	}
	end(c, result);
}

/* One at a time: done() may cancel another that has ended as well. */
static void read_ends(struct calls *p)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(p->multi, &left))) {
		struct call *c;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
		finished(c, m->data.result);
	}
}

/* --- libcurl's callbacks --- */

static size_t on_answer(char *bytes, size_t one, size_t len, void *data)
{
	struct call *c = data;

	(void)one;
	if (len > c->answer_max - c->answer.len) {
		c->too_large = true;
		return 0;
	}
	return secret_add(&c->answer, bytes, len) ? len : 0;
}

/* Keeps the value of a header where the line is that one's and the value is plain and short enough. */
static void keep_header(struct slice line, const char *name, char *ret, size_t size)
{
	struct slice n = slice_of_string(name);

	if (line.len <= n.len || strncasecmp(line.ptr, name, n.len) != 0)
		return;
	line.ptr += n.len;
	line.len -= n.len;
	while (line.len && (*line.ptr == ' ' || *line.ptr == '\t'))
		line.ptr++, line.len--;
	while (line.len && strchr(" \t\r\n", line.ptr[line.len - 1]))
		line.len--;
	if (line.len >= size)
		return;
	for (size_t i = 0; i < line.len; i++) {
		if (line.ptr[i] < 0x20 || line.ptr[i] > 0x7e)
			return;
	}
	memcpy(ret, line.ptr, line.len);
	ret[line.len] = '\0';
}

static size_t on_header(char *bytes, size_t one, size_t len, void *data)
{
	struct call *c = data;
	struct slice line = slice_of(bytes, len);

	(void)one;
	c->head_len += len;
	if (c->head_len > CALL_ANSWER_HEAD_MAX) {
		c->too_large = true;
		return 0;
	}
	keep_header(line, "x-amzn-requestid:", c->request_id, sizeof(c->request_id));
	keep_header(line, "x-amzn-errortype:", c->error_type, sizeof(c->error_type));
	return len;
}

static void socket_ready(struct ev_loop *loop, ev_io *io, int events)
{
	struct watcher *w = container_of(io, struct watcher, io);
	struct calls *p = w->calls;
	int in = events & EV_READ ? CURL_CSELECT_IN : 0;
	int out = events & EV_WRITE ? CURL_CSELECT_OUT : 0, running;

	(void)loop;
	curl_multi_socket_action(p->multi, io->fd, in | out, &running); /* w may be gone after this */
	read_ends(p);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
	struct calls *p = data;
	struct watcher *w = socket_data;
	int events = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			ev_io_stop(p->loop, &w->io);
		free(w);
		curl_multi_assign(p->multi, fd, NULL);
		return 0;
	}
	if (!w) {
		w = malloc(sizeof(*w));
		if (!w)
			return -1;
		w->calls = p;
		ev_io_init(&w->io, socket_ready, fd, 0);
		curl_multi_assign(p->multi, fd, w);
	}
	ev_io_stop(p->loop, &w->io);
	ev_io_set(&w->io, fd, events);
	ev_io_start(p->loop, &w->io);
	return 0;
}

static void timer_ready(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct calls *p = container_of(timer, struct calls, timer);
	int running;

	(void)loop;
	(void)events;
	curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	read_ends(p);
}

static int on_timer(CURLM *multi, long timeout_ms, void *data)
{
	struct calls *p = data;

	(void)multi;
	ev_timer_stop(p->loop, &p->timer);
	if (timeout_ms >= 0) {
		ev_timer_set(&p->timer, (double)timeout_ms / 1000., 0.);
		ev_timer_start(p->loop, &p->timer);
	}
	return 0;
}

/* --- the start of a call --- */

#define SET(easy, option, value) (curl_easy_setopt(easy, option, value) == CURLE_OK)

static bool set_limits(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	bool good = SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	bool good = SET(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	return good && SET(easy, CURLOPT_PROXY, "") && SET(easy, CURLOPT_NOPROXY, "*") &&
	       SET(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) &&
	       SET(easy, CURLOPT_FOLLOWLOCATION, 0L) && SET(easy, CURLOPT_NOSIGNAL, 1L) &&
	       SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
	       SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CALL_CONNECT_MS) &&
	       SET(easy, CURLOPT_USERAGENT, PACKAGE_NAME "/" PACKAGE_VERSION);
}

static bool set_headers(CURL *easy, struct call *c)
{
	for (size_t i = 0; i < CALL_HEADERS_MAX && c->headers[i]; i++) {
		struct curl_slist *longer = curl_slist_append(c->headers_list, c->headers[i]);

		if (!longer)
			return false;
		c->headers_list = longer;
	}
	return SET(easy, CURLOPT_HTTPHEADER, c->headers_list);
}

static bool set_body(CURL *easy, const struct call *c)
{
	if (strcmp(c->method, "GET") == 0)
		return SET(easy, CURLOPT_HTTPGET, 1L);
	return SET(easy, CURLOPT_POST, 1L) &&
	       SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body_len) &&
	       SET(easy, CURLOPT_POSTFIELDS, c->body ? c->body : "") &&
	       (strcmp(c->method, "POST") == 0 || SET(easy, CURLOPT_CUSTOMREQUEST, c->method));
}

/* The region and service are always said: libcurl's guess from the host is wrong for most endpoints. */
static bool set_signature(CURL *easy, const struct call *c)
{
	char scope[128];

	if (!c->service)
		return true;
	snprintf(scope, sizeof(scope), "aws:amz:%s:%s", c->region, c->service);
	/* Without a user name libcurl would send the request unsigned. */
	return c->access_key_id && *c->access_key_id && SET(easy, CURLOPT_AWS_SIGV4, scope) &&
	       SET(easy, CURLOPT_USERNAME, c->access_key_id) && SET(easy, CURLOPT_PASSWORD, c->secret);
}

static bool set_answer(CURL *easy, struct call *c)
{
	return SET(easy, CURLOPT_WRITEFUNCTION, on_answer) && SET(easy, CURLOPT_WRITEDATA, c) &&
	       SET(easy, CURLOPT_HEADERFUNCTION, on_header) && SET(easy, CURLOPT_HEADERDATA, c) &&
	       SET(easy, CURLOPT_ERRORBUFFER, c->why) && SET(easy, CURLOPT_PRIVATE, c);
}

/*
 * A file of our own replaces the system's roots.  Debian's libcurl finds those in a file and
 * in a directory, and with a directory it would read the file again for each connection.
 */
static bool set_roots(CURL *easy, const char *ca_file)
{
	const curl_version_info_data *built = curl_version_info(CURLVERSION_NOW);

	if (ca_file && !SET(easy, CURLOPT_CAINFO, ca_file))
		return false;
	return (!ca_file && !built->cainfo) || SET(easy, CURLOPT_CAPATH, NULL);
}

/* What was deciphered is not to stay in OpenSSL's buffers. */
static CURLcode on_ssl_context(CURL *easy, void *context, void *data)
{
	(void)easy;
	(void)data;
	SSL_CTX_set_options(context, SSL_OP_CLEANSE_PLAINTEXT);
	return CURLE_OK;
}

static bool set_tls(CURL *easy, const char *ca_file)
{
	return SET(easy, CURLOPT_SSL_VERIFYPEER, 1L) && SET(easy, CURLOPT_SSL_VERIFYHOST, 2L) &&
	       SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
	       SET(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_context) && set_roots(easy, ca_file);
}

/* All that holds a secret is copied here: what c borrowed for it is the caller's again. */
static bool make_easy(struct call *c)
{
	CURL *easy = c->easy = curl_easy_init();

	return easy && SET(easy, CURLOPT_URL, c->url) && set_limits(easy) && set_headers(easy, c) &&
	       set_body(easy, c) && set_signature(easy, c) && set_answer(easy, c) &&
	       set_tls(easy, c->calls->ca_file);
}

static bool begin_transfer(struct call *c)
{
	CURL *easy = c->easy;

	if (c->resolved) {
		c->resolve_list = curl_slist_append(NULL, c->resolved);
		if (!c->resolve_list || !SET(easy, CURLOPT_RESOLVE, c->resolve_list))
			return false;
	}
	return curl_multi_add_handle(c->calls->multi, easy) == CURLM_OK;
}

/* "host:port:addr,addr": what libcurl takes for the answer of a resolver. */
static bool take_addresses(struct call *c, const struct resolve_answer *a)
{
	struct secret_buffer b = { 0 };
	char text[IP_TEXT_SIZE + 2], head[sizeof(c->host) + 16];
	bool good;

	snprintf(head, sizeof(head), "%s:%u:", c->host, c->port);
	good = secret_add_string(&b, head);
	for (size_t i = 0; i < a->n && good; i++) {
		bool v4 = ip_is_v4(&a->addresses[i]);
		char ip[IP_TEXT_SIZE];

		ip_format(&a->addresses[i], ip);
		snprintf(text, sizeof(text), v4 ? "%s" : "[%s]", ip);
		good = (i == 0 || secret_add_string(&b, ",")) && secret_add_string(&b, text);
	}
	c->resolved = b.ptr;
	return good;
}

/* CALL_ANSWERED: it goes on. */
static enum call_result with_addresses(struct call *c, const struct resolve_answer *a)
{
	if (a->status == RESOLVE_NO_MEMORY)
		return CALL_FAILED;
	if (a->status != RESOLVE_OK) {
		snprintf(c->why, sizeof(c->why), "%s: %s", c->host, resolve_status_text(a->status));
		return CALL_NO_NAME;
	}
	return take_addresses(c, a) && begin_transfer(c) ? CALL_ANSWERED : CALL_FAILED;
}

static void resolved(struct resolve_query *q, const struct resolve_answer *a)
{
	struct call *c = container_of(q, struct call, query);
	enum call_result result = with_addresses(c, a);

	if (result != CALL_ANSWERED)
		end(c, result);
}

/* Host and port of the URL: *ret_literal where no look-up is needed. */
static bool read_url(struct call *c, bool *ret_literal)
{
	CURLU *u = curl_url();
	char *host = NULL, *port = NULL;
	unsigned long long number;
	struct host_port h;
	bool good = u && curl_url_set(u, CURLUPART_URL, c->url, 0) == CURLUE_OK &&
		    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
		    slice_parse_u64(slice_of_string(port), UINT16_MAX, &number) &&
		    host_port_parse(slice_of_string(host), &h) && h.name_len < sizeof(c->host);

	if (good) {
		c->port = (uint16_t)number;
		memcpy(c->host, h.name, h.name_len + 1u);
		*ret_literal = h.kind != HOST_IS_NAME;
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return good;
}

void call_start(struct calls *p, struct call *c)
{
	struct resolve_answer a;
	enum call_result result;
	bool literal;

	call_fini(c);
	c->calls = p;
	c->active = true;
	c->status = 0;
	c->head_len = 0;
	c->too_large = false;
	c->request_id[0] = c->error_type[0] = c->why[0] = c->host[0] = '\0';
	c->result = CALL_TIMED_OUT;
	resolve_query_init(&c->query, resolved);
	ev_timer_init(&c->deadline, deadline_over, c->timeout_ms / 1000., 0.);
	ev_now_update(p->loop);
	ev_timer_start(p->loop, &c->deadline);
	if (!read_url(c, &literal)) {
		snprintf(c->why, sizeof(c->why), "\"%.200s\" is no URL of a host", c->url);
		end_soon(c, CALL_NO_NAME);
		return;
	}
	if (!make_easy(c)) {
		end_soon(c, CALL_FAILED);
		return;
	}
	if (literal)
		result = begin_transfer(c) ? CALL_ANSWERED : CALL_FAILED;
	else if (resolve_start(p->resolver, &c->query, slice_of_string(c->host), &a))
		result = with_addresses(c, &a);
	else
		return;
	if (result != CALL_ANSWERED)
		end_soon(c, result);
}

void call_cancel(struct call *c)
{
	if (c->active)
		forget(c);
}

void call_fini(struct call *c)
{
	call_cancel(c);
	secret_fini(&c->answer);
}

/* --- all of them --- */

struct calls *calls_new(struct ev_loop *loop, struct resolver *resolver, const char *ca_file)
{
	struct calls *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = loop;
	p->resolver = resolver;
	p->ca_file = ca_file;
	p->multi = curl_multi_init();
	if (!p->multi) {
		free(p);
		return NULL;
	}
	ev_timer_init(&p->timer, timer_ready, 0., 0.);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)CALL_IDLE_CONNECTIONS_MAX);
	return p;
}

void calls_free(struct calls *p)
{
	if (!p)
		return;
	curl_multi_cleanup(p->multi);
	ev_timer_stop(p->loop, &p->timer);
	free(p);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/http_forward.h"

#include <assert.h>

/* What is added to a head at most, beside what is copied from it. */
enum { ADDED_MAX = 512 };

struct writer {
	char *out;
	size_t len;
};

static inline void put(struct writer *w, struct slice s)
{
	if (s.len > 0)
		memcpy(w->out + w->len, s.ptr, s.len);
	w->len += s.len;
}

#define PUT(w, text) put(w, SLICE_LITERAL(text))

/*
 * Copies the lines from field `first` up to field `end` as they stand; between two
 * fields there is nothing but the CRLF of the first.
 */
static void put_lines(struct writer *w, const struct http_head *h, const char *buf, unsigned first,
		      unsigned end)
{
	uint32_t from, to;

	if (first == end)
		return;
	from = h->fields[first].name_at;
	to = end < h->n_fields ? h->fields[end].name_at : h->len - 2;
	put(w, slice_of(buf + from, to - from));
}

/* Host is written anew where the target names another, Expect is unknown to 1.0. */
static bool is_dropped_of_request(const struct http_head *h, const struct http_field *f,
				  bool forwarded)
{
	switch (f->id) {
	case HTTP_FIELD_HOST:
		return h->form == HTTP_TARGET_ABSOLUTE;
	case HTTP_FIELD_EXPECT:
		return h->minor == 0;
	case HTTP_FIELD_X_FORWARDED_FOR:
	case HTTP_FIELD_X_FORWARDED_HOST:
	case HTTP_FIELD_X_FORWARDED_PROTO:
		return forwarded;
	default:
		return false;
	}
}

/* Runs of fields that stay are copied at once: mostly there is one run. */
static void put_fields(struct writer *w, const struct http_head *h, const char *buf,
		       bool is_request, bool forwarded)
{
	unsigned first = 0;

	for (unsigned i = 0; i < h->n_fields; i++) {
		const struct http_field *f = &h->fields[i];

		if (!f->hop_by_hop &&
		    !(is_request && is_dropped_of_request(h, f, forwarded)))
			continue;
		put_lines(w, h, buf, first, i);
		first = i + 1;
	}
	put_lines(w, h, buf, first, h->n_fields);
}

/* The values of all fields with this id, as one list (RFC 9110, 5.3). */
static void put_joined(struct writer *w, const struct http_head *h, const char *buf,
		       enum http_field_id id)
{
	bool first = true;

	for (int i = http_head_find(h, id, 0); i >= 0; i = http_head_find(h, id, i + 1)) {
		struct slice value = http_field_value(buf, &h->fields[i]);

		if (value.len == 0)
			continue;
		if (!first)
			PUT(w, ", ");
		put(w, value);
		first = false;
	}
}

static bool has_value(const struct http_head *h, enum http_field_id id)
{
	for (int i = http_head_find(h, id, 0); i >= 0; i = http_head_find(h, id, i + 1))
		if (h->fields[i].value_len > 0)
			return true;
	return false;
}

static void put_upgrade(struct writer *w, const struct http_head *h, const char *buf)
{
	PUT(w, "Connection: upgrade\r\nUpgrade: ");
	put_joined(w, h, buf, HTTP_FIELD_UPGRADE);
	PUT(w, "\r\n");
}

static void put_host(struct writer *w, const struct http_head *h)
{
	if (h->host.kind == HOST_IS_IPV6)
		PUT(w, "[");
	put(w, host_port_name(&h->host));
	if (h->host.kind == HOST_IS_IPV6)
		PUT(w, "]");
}

/* The authority as the target or Host has it, its case folded. */
static void put_authority(struct writer *w, const struct http_head *h)
{
	char digits[8];
	size_t n = sizeof(digits);

	put_host(w, h);
	if (!h->host.has_port)
		return;
	for (unsigned port = h->host.port; port > 0; port /= 10)
		digits[--n] = (char)('0' + port % 10);
	digits[--n] = ':';
	put(w, slice_of(digits + n, sizeof(digits) - n));
}

static void put_path(struct writer *w, const struct http_head *h, const char *buf)
{
	struct slice path = http_span_slice(buf, h->path);

	if (path.len == 0 || path.ptr[0] == '?')
		PUT(w, "/");
	put(w, path);
}

static void put_request_line(struct writer *w, const struct http_head *h, const char *buf, bool to_proxy)
{
	put(w, http_span_slice(buf, h->method_text));
	PUT(w, " ");
	if (to_proxy && h->form == HTTP_TARGET_ABSOLUTE) {
		PUT(w, "http://");
		put_authority(w, h);
	}
	/* RFC 9112, 3.2.4: OPTIONS for an absolute-form without path asks for the server. */
	if (to_proxy && h->form == HTTP_TARGET_ABSOLUTE)
		put(w, http_span_slice(buf, h->path));
	else if (h->form == HTTP_TARGET_ASTERISK ||
	    (h->form == HTTP_TARGET_ABSOLUTE && h->method == HTTP_METHOD_OPTIONS && h->path.len == 0))
		PUT(w, "*");
	else
		put_path(w, h, buf);
	if (h->minor == 0)
		PUT(w, " HTTP/1.0\r\n");
	else
		PUT(w, " HTTP/1.1\r\n");
}

static void put_forwarded(struct writer *w, const struct http_head *h, const char *buf,
			  struct slice client)
{
	bool chain = has_value(h, HTTP_FIELD_X_FORWARDED_FOR);

	if (chain || client.len > 0) {
		PUT(w, "X-Forwarded-For: ");
		put_joined(w, h, buf, HTTP_FIELD_X_FORWARDED_FOR);
		if (chain && client.len > 0)
			PUT(w, ", ");
		put(w, client);
		PUT(w, "\r\n");
	}
	PUT(w, "X-Forwarded-Proto: http\r\n");
	if (h->has_host) {
		PUT(w, "X-Forwarded-Host: ");
		put_authority(w, h);
		PUT(w, "\r\n");
	}
}

size_t http_forward_request_max(const struct http_head *h, const struct http_forward_request *f)
{
	/* Host may be there three times over: as sent, in the target, anew or forwarded. */
	return h->len + 3 * (size_t)h->host.name_len + f->client.len +
	       2 * (size_t)h->n_fields + ADDED_MAX;
}

size_t http_forward_request(const struct http_head *h, const char *buf,
			    const struct http_forward_request *f, char *out)
{
	struct writer w = { out, 0 };

	put_request_line(&w, h, buf, f->to_proxy);
	if (h->form == HTTP_TARGET_ABSOLUTE) {
		PUT(&w, "Host: ");
		put_authority(&w, h);
		PUT(&w, "\r\n");
	}
	put_fields(&w, h, buf, true, f->forwarded);
	if (f->forwarded)
		put_forwarded(&w, h, buf, f->client);
	if (h->wants_upgrade)
		put_upgrade(&w, h, buf);
	else if (!f->keep_alive || h->minor == 0)
		PUT(&w, "Connection: close\r\n");
	PUT(&w, "\r\n");
	assert(w.len <= http_forward_request_max(h, f));
	return w.len;
}

size_t http_forward_response_max(const struct http_head *h)
{
	return h->len + 2 * (size_t)h->n_fields + ADDED_MAX;
}

size_t http_forward_response(const struct http_head *h, const char *buf, bool keep_alive, char *out)
{
	struct writer w = { out, 0 };
	const char code[3] = { (char)('0' + h->code / 100), (char)('0' + h->code / 10 % 10),
			       (char)('0' + h->code % 10) };

	PUT(&w, "HTTP/1.1 ");
	put(&w, slice_of(code, sizeof(code)));
	PUT(&w, " ");
	put(&w, http_span_slice(buf, h->reason));
	PUT(&w, "\r\n");
	put_fields(&w, h, buf, false, false);
	/* 426 has Upgrade without switching; it is dropped there with its hop. */
	if (h->code == 101)
		put_upgrade(&w, h, buf);
	else if (!keep_alive && h->code >= 200)
		PUT(&w, "Connection: close\r\n");
	PUT(&w, "\r\n");
	assert(w.len <= http_forward_response_max(h));
	return w.len;
}

size_t http_redirect_max(const struct http_head *h)
{
	return h->path.len + h->host.name_len + (size_t)ADDED_MAX;
}

size_t http_redirect(const struct http_head *h, const char *buf, char *out)
{
	struct writer w = { out, 0 };
	PUT(&w, "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://");
	/* Without the port, which is that of plain HTTP. */
	put_host(&w, h);
	if (h->form == HTTP_TARGET_ASTERISK)
		PUT(&w, "/");
	else
		put_path(&w, h, buf);
	PUT(&w, "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	assert(w.len <= http_redirect_max(h));
	return w.len;
}

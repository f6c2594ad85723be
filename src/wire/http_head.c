/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/http_head.h"

#include <string.h>

/*
 * RFC 9112, 2.1, 3 and 4; RFC 9110, 5.5 and 5.6:
 *
 *   request line   token SP target SP HTTP/1.d CRLF
 *   status line    HTTP/1.d SP ddd SP [reason] CRLF
 *   field line     token ":" OWS value OWS CRLF
 *   end            CRLF
 */
enum stage {
	STAGE_FIRST_LINE,
	STAGE_FIELDS,
	STAGE_DONE,
};

/* Tokens: a byte each, which costs one load where a set of bits costs four steps. */
static const bool tchars[256] = {
	['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true,
	['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true, ['^'] = true, ['_'] = true,
	['`'] = true, ['|'] = true, ['~'] = true,
	['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

bool http_is_tchar(unsigned char c)
{
	return tchars[c];
}

/* Where the token that begins at p is over. */
static const char *token_end(const char *p, const char *end)
{
	while (p < end && tchars[(unsigned char)*p])
		p++;
	return p;
}

static enum http_head_result bad(struct http_head *h, uint16_t status, const char *why)
{
	h->status = h->is_response ? 502 : status;
	h->why = why;
	return HTTP_HEAD_BAD;
}

/* One of eight bytes may be a control character: below a blank, or DEL. */
static bool may_be_control(const char *p)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t v, del;

	memcpy(&v, p, 8);
	del = v ^ (ones * 0x7f);
	return ((((v - ones * 0x20) & ~v) | ((del - ones) & ~del)) & (ones * 0x80)) != 0;
}

/* The text of a fault; NULL where there is none, so that checks chain. */
static const char *text_fault(const char *p, size_t len)
{
	size_t i = 0;

	/* Eight bytes at a time, the last of them for a second time.  A hit is looked at again. */
	while (i + 8 <= len && !may_be_control(p + i))
		i += 8;
	if (i + 8 > len && len >= 8 && !may_be_control(p + len - 8))
		return NULL;
	for (; i < len; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c == '\r')
			return "a bare CR in the head";
		if (c == '\0')
			return "a NUL in the head";
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return "a control character in the head";
	}
	return NULL;
}

static struct http_span span(const char *buf, const char *from, const char *to)
{
	return (struct http_span){ (uint32_t)(from - buf), (uint32_t)(to - from) };
}

static enum http_method method_of(struct slice s)
{
	static const struct {
		struct slice name;
		enum http_method method;
	} methods[] = {
		{ { "GET", 3 }, HTTP_METHOD_GET },
		{ { "POST", 4 }, HTTP_METHOD_POST },
		{ { "HEAD", 4 }, HTTP_METHOD_HEAD },
		{ { "PUT", 3 }, HTTP_METHOD_PUT },
		{ { "DELETE", 6 }, HTTP_METHOD_DELETE },
		{ { "CONNECT", 7 }, HTTP_METHOD_CONNECT },
		{ { "OPTIONS", 7 }, HTTP_METHOD_OPTIONS },
		{ { "TRACE", 5 }, HTTP_METHOD_TRACE },
		{ { "PATCH", 5 }, HTTP_METHOD_PATCH },
	};

	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		if (slice_equal(s, methods[i].name))
			return methods[i].method;
	}
	return HTTP_METHOD_OTHER;
}

/* "HTTP/d.d" at p, of which 8 bytes are there. */
static enum http_head_result read_version(struct http_head *h, const char *p)
{
	if (memcmp(p, "HTTP/", 5) != 0 || p[5] < '0' || p[5] > '9' || p[6] != '.' ||
	    p[7] < '0' || p[7] > '9')
		return bad(h, 400, "malformed HTTP version");
	if (p[5] != '1')
		return bad(h, 505, "this is not HTTP/1");
	h->minor = p[7] == '0' ? 0 : 1;
	return HTTP_HEAD_MORE;
}

static enum http_head_result read_absolute(struct http_head *h, const char *buf, struct slice t)
{
	const char *end = t.ptr + t.len;
	const char *authority, *p;

	if (t.len > 7 && slice_equal_nocase(slice_of(t.ptr, 7), SLICE_LITERAL("http://"))) {
		authority = t.ptr + 7;
	} else if (t.len > 8 && slice_equal_nocase(slice_of(t.ptr, 8), SLICE_LITERAL("https://"))) {
		authority = t.ptr + 8;
		h->is_https_uri = true;
	} else {
		return bad(h, 400, "malformed request target");
	}
	for (p = authority; p < end && *p != '/' && *p != '?'; p++)
		;
	if (!host_port_parse(slice_of(authority, (size_t)(p - authority)), &h->host))
		return bad(h, 400, "malformed host in the request target");
	h->form = HTTP_TARGET_ABSOLUTE;
	h->has_host = true;
	h->path = span(buf, p, end);
	return HTTP_HEAD_MORE;
}

static enum http_head_result read_target(struct http_head *h, const char *buf, struct slice t)
{
	h->target = span(buf, t.ptr, t.ptr + t.len);
	if (memchr(t.ptr, '#', t.len))
		return bad(h, 400, "a fragment in the request target");
	if (h->method == HTTP_METHOD_CONNECT) {
		h->form = HTTP_TARGET_AUTHORITY;
		h->has_host = true;
		if (!host_port_parse(t, &h->host) || !h->host.has_port)
			return bad(h, 400, "CONNECT needs host:port");
		return HTTP_HEAD_MORE;
	}
	if (t.ptr[0] == '/') {
		h->form = HTTP_TARGET_ORIGIN;
		h->path = h->target;
		return HTTP_HEAD_MORE;
	}
	if (t.len == 1 && t.ptr[0] == '*') {
		h->form = HTTP_TARGET_ASTERISK;
		return h->method == HTTP_METHOD_OPTIONS ? HTTP_HEAD_MORE
							: bad(h, 400, "malformed request target");
	}
	return read_absolute(h, buf, t);
}

static enum http_head_result read_request_line(struct http_head *h, const char *buf,
					       struct slice line)
{
	const char *p = line.ptr, *end = line.ptr + line.len, *target;
	enum http_head_result result;

	if (slice_equal(line, SLICE_LITERAL("PRI * HTTP/2.0")))
		return bad(h, 505, "HTTP/2 is not spoken here");
	p = token_end(p, end);
	if (p == line.ptr || p == end || *p != ' ')
		return bad(h, 400, "malformed request line");
	h->method_text = span(buf, line.ptr, p);
	h->method = (uint8_t)method_of(slice_of(line.ptr, (size_t)(p - line.ptr)));
	target = ++p;
	while (p < end && (unsigned char)*p > ' ')
		p++;
	if (p == target || end - p != 9 || *p != ' ')
		return bad(h, 400, "malformed request line");
	result = read_version(h, p + 1);
	if (result != HTTP_HEAD_MORE)
		return result;
	return read_target(h, buf, slice_of(target, (size_t)(p - target)));
}

static enum http_head_result read_status_line(struct http_head *h, const char *buf,
					      struct slice line)
{
	const char *p = line.ptr;
	enum http_head_result result;

	/* The blank behind the code is asked for (RFC 9112, 4), but many leave it out. */
	if (line.len < 12 || p[8] != ' ' || (line.len > 12 && p[12] != ' '))
		return bad(h, 502, "malformed status line");
	result = read_version(h, p);
	if (result != HTTP_HEAD_MORE)
		return result;
	for (size_t i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return bad(h, 502, "malformed status line");
		h->code = (uint16_t)(h->code * 10 + (p[i] - '0'));
	}
	if (h->code < 100)
		return bad(h, 502, "malformed status line");
	if (line.len > 12)
		h->reason = span(buf, p + 13, p + line.len);
	return HTTP_HEAD_MORE;
}

#define FIELD(text, id_) { { text, sizeof(text) - 1 }, id_ }

static enum http_field_id field_id(struct slice name)
{
	static const struct {
		struct slice name;
		enum http_field_id id;
	} known[] = {
		FIELD("te", HTTP_FIELD_TE),
		FIELD("host", HTTP_FIELD_HOST),
		FIELD("expect", HTTP_FIELD_EXPECT),
		FIELD("upgrade", HTTP_FIELD_UPGRADE),
		FIELD("connection", HTTP_FIELD_CONNECTION),
		FIELD("keep-alive", HTTP_FIELD_KEEP_ALIVE),
		FIELD("content-length", HTTP_FIELD_CONTENT_LENGTH),
		FIELD("x-forwarded-for", HTTP_FIELD_X_FORWARDED_FOR),
		FIELD("x-forwarded-host", HTTP_FIELD_X_FORWARDED_HOST),
		FIELD("proxy-connection", HTTP_FIELD_PROXY_CONNECTION),
		FIELD("x-forwarded-proto", HTTP_FIELD_X_FORWARDED_PROTO),
		FIELD("transfer-encoding", HTTP_FIELD_TRANSFER_ENCODING),
		FIELD("proxy-authenticate", HTTP_FIELD_PROXY_AUTHENTICATE),
		FIELD("proxy-authorization", HTTP_FIELD_PROXY_AUTHORIZATION),
	};
	/* By length, then the first letter: most names are none of these and cost two tests. */
	static const uint32_t lengths = 1u << 2 | 1u << 4 | 1u << 6 | 1u << 7 | 1u << 10 | 1u << 14 |
					1u << 15 | 1u << 16 | 1u << 17 | 1u << 18 | 1u << 19;

	if (name.len >= 32 || !(lengths >> name.len & 1))
		return HTTP_FIELD_OTHER;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (known[i].name.len == name.len &&
		    ascii_lower(name.ptr[0]) == known[i].name.ptr[0] &&
		    slice_equal_nocase(known[i].name, name))
			return known[i].id;
	}
	return HTTP_FIELD_OTHER;
}

static bool is_hop_by_hop(enum http_field_id id)
{
	switch (id) {
	case HTTP_FIELD_CONNECTION:
	case HTTP_FIELD_KEEP_ALIVE:
	case HTTP_FIELD_PROXY_AUTHENTICATE:
	case HTTP_FIELD_PROXY_AUTHORIZATION:
	case HTTP_FIELD_PROXY_CONNECTION:
	case HTTP_FIELD_TE:
	case HTTP_FIELD_UPGRADE:
		return true;
	case HTTP_FIELD_OTHER:
	case HTTP_FIELD_CONTENT_LENGTH:
	case HTTP_FIELD_EXPECT:
	case HTTP_FIELD_HOST:
	case HTTP_FIELD_TRANSFER_ENCODING:
	case HTTP_FIELD_X_FORWARDED_FOR:
	case HTTP_FIELD_X_FORWARDED_HOST:
	case HTTP_FIELD_X_FORWARDED_PROTO:
		break;
	}
	return false;
}

/* Takes the next member of a comma separated list, without blanks; false at the end. */
static bool next_member(struct slice *list, struct slice *ret)
{
	const char *comma;

	while (list->len > 0 && (list->ptr[0] == ',' || list->ptr[0] == ' ' || list->ptr[0] == '\t')) {
		list->ptr++;
		list->len--;
	}
	if (list->len == 0)
		return false;
	comma = memchr(list->ptr, ',', list->len);
	*ret = slice_of(list->ptr, comma ? (size_t)(comma - list->ptr) : list->len);
	list->ptr += ret->len;
	list->len -= ret->len;
	while (ret->len > 0 && (ret->ptr[ret->len - 1] == ' ' || ret->ptr[ret->len - 1] == '\t'))
		ret->len--;
	return true;
}

static enum http_head_result read_content_length(struct http_head *h, struct slice value)
{
	unsigned long long n;

	if (h->n_length++ > 0)
		return bad(h, 400, "more than one Content-Length");
	if (!slice_parse_u64(value, INT64_MAX, &n))
		return bad(h, 400, "malformed Content-Length");
	h->content_length = n;
	return HTTP_HEAD_MORE;
}

static enum http_head_result read_transfer_encoding(struct http_head *h, struct slice value)
{
	struct slice coding;

	if (h->minor == 0)
		return bad(h, 400, "Transfer-Encoding in HTTP/1.0");
	while (next_member(&value, &coding)) {
		if (h->chunked)
			return bad(h, 400, "chunked is not the last transfer coding, or comes twice");
		if (slice_equal_nocase(coding, SLICE_LITERAL("chunked")))
			h->chunked = true;
		else if (h->n_coding < UINT8_MAX)
			h->n_coding++;
	}
	if (!h->chunked && h->n_coding == 0)
		return bad(h, 400, "an empty Transfer-Encoding");
	return HTTP_HEAD_MORE;
}

static enum http_head_result read_host(struct http_head *h, struct slice value)
{
	struct host_port ignored;

	if (h->is_response)
		return HTTP_HEAD_MORE;
	if (h->n_host++ > 0)
		return bad(h, 400, "more than one Host");
	/* The target's authority wins, but a malformed Host is malformed still. */
	if (!host_port_parse(value, h->has_host ? &ignored : &h->host))
		return bad(h, 400, "malformed Host");
	h->has_host = true;
	return HTTP_HEAD_MORE;
}

static enum http_head_result take_field(struct http_head *h, enum http_field_id id,
					struct slice value)
{
	switch (id) {
	case HTTP_FIELD_HOST:
		return read_host(h, value);
	case HTTP_FIELD_CONTENT_LENGTH:
		return read_content_length(h, value);
	case HTTP_FIELD_TRANSFER_ENCODING:
		return read_transfer_encoding(h, value);
	case HTTP_FIELD_EXPECT:
		if (slice_equal_nocase(value, SLICE_LITERAL("100-continue")))
			h->expects_continue = h->minor > 0 && !h->is_response;
		break;
	case HTTP_FIELD_OTHER:
	case HTTP_FIELD_CONNECTION:
	case HTTP_FIELD_KEEP_ALIVE:
	case HTTP_FIELD_PROXY_AUTHENTICATE:
	case HTTP_FIELD_PROXY_AUTHORIZATION:
	case HTTP_FIELD_PROXY_CONNECTION:
	case HTTP_FIELD_TE:
	case HTTP_FIELD_UPGRADE:
	case HTTP_FIELD_X_FORWARDED_FOR:
	case HTTP_FIELD_X_FORWARDED_HOST:
	case HTTP_FIELD_X_FORWARDED_PROTO:
		break;
	}
	return HTTP_HEAD_MORE;
}

static enum http_head_result read_field(struct http_head *h, const char *buf, struct slice line)
{
	const char *p = line.ptr, *end = line.ptr + line.len, *value;
	struct http_field *f;
	const char *fault;

	if (*p == ' ' || *p == '\t')
		return bad(h, 400, "a folded header line");
	p = token_end(p, end);
	if (p == end || *p != ':' || p == line.ptr) {
		bool blank = p < end && p > line.ptr && (*p == ' ' || *p == '\t');

		return bad(h, 400, blank ? "white space before the colon of a header"
					 : "malformed header name");
	}
	if (h->n_fields == HTTP_FIELDS_MAX)
		return bad(h, 431, "too many header fields");
	for (value = p + 1; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	fault = text_fault(value, (size_t)(end - value));
	if (fault)
		return bad(h, 400, fault);
	f = &h->fields[h->n_fields++];
	f->name_at = (uint32_t)(line.ptr - buf);
	f->name_len = (uint16_t)(p - line.ptr);
	f->value_at = (uint32_t)(value - buf);
	f->value_len = (uint16_t)(end - value);
	f->id = (uint8_t)field_id(slice_of(line.ptr, f->name_len));
	f->hop_by_hop = is_hop_by_hop(f->id);
	return take_field(h, f->id, slice_of(value, f->value_len));
}

/* What Connection lists is for this hop alone, unless it frames or routes the message. */
static bool drop_listed(struct http_head *h, const char *buf, struct slice option)
{
	for (unsigned i = 0; i < h->n_fields; i++) {
		struct http_field *f = &h->fields[i];

		if (f->name_len != option.len || !slice_equal_nocase(http_field_name(buf, f), option))
			continue;
		if (f->id == HTTP_FIELD_HOST || f->id == HTTP_FIELD_CONTENT_LENGTH ||
		    f->id == HTTP_FIELD_TRANSFER_ENCODING)
			return false;
		f->hop_by_hop = true;
	}
	return true;
}

static enum http_head_result read_connection(struct http_head *h, const char *buf)
{
	bool close = false, keep = false, upgrade = false;
	unsigned n = 0;

	for (int i = 0; (i = http_head_find(h, HTTP_FIELD_CONNECTION, i)) >= 0; i++) {
		struct slice list = http_field_value(buf, &h->fields[i]), option;

		while (next_member(&list, &option)) {
			if (n++ == HTTP_CONNECTION_OPTIONS_MAX)
				return bad(h, 431, "too many options in Connection");
			if (slice_equal_nocase(option, SLICE_LITERAL("close")))
				close = true;
			else if (slice_equal_nocase(option, SLICE_LITERAL("keep-alive")))
				keep = true;
			else if (slice_equal_nocase(option, SLICE_LITERAL("upgrade")))
				upgrade = true;
			else if (!drop_listed(h, buf, option))
				return bad(h, 400, "Connection lists a field that frames the message");
		}
	}
	h->keep_alive = !close && (h->minor > 0 || keep);
	h->wants_upgrade = upgrade && h->minor > 0 && http_head_find(h, HTTP_FIELD_UPGRADE, 0) >= 0;
	return HTTP_HEAD_FOUND;
}

/* RFC 9112, 6.3, in its order. */
static enum http_head_result frame_request(struct http_head *h)
{
	if (h->chunked || h->n_coding > 0) {
		if (h->n_length > 0)
			return bad(h, 400, "both Content-Length and Transfer-Encoding");
		if (h->n_coding > 0)
			return bad(h, 501, "unknown transfer coding");
		h->framing = HTTP_FRAMING_CHUNKED;
	} else {
		h->framing = h->n_length > 0 ? HTTP_FRAMING_LENGTH : HTTP_FRAMING_NONE;
	}
	if (h->method == HTTP_METHOD_CONNECT && h->framing != HTTP_FRAMING_NONE &&
	    !(h->framing == HTTP_FRAMING_LENGTH && h->content_length == 0))
		return bad(h, 400, "CONNECT with a body");
	/* CONNECT names the host in its target; clients that leave Host out are many. */
	if (h->n_host == 0 && h->minor > 0 && h->method != HTTP_METHOD_CONNECT)
		return bad(h, 400, "no Host");
	return HTTP_HEAD_FOUND;
}

static enum http_head_result frame_response(struct http_head *h)
{
	bool coded = h->chunked || h->n_coding > 0;

	if (coded && h->n_length > 0)
		return bad(h, 502, "both Content-Length and Transfer-Encoding");
	if (h->n_coding > 0)
		return bad(h, 502, "unknown transfer coding");
	if (h->code < 200 || h->code == 204) {
		if (coded || h->content_length > 0)
			return bad(h, 502, "an answer that has no body announces one");
		h->framing = HTTP_FRAMING_NONE;
	} else if (h->code == 304 || h->request_method == HTTP_METHOD_HEAD ||
		   (h->request_method == HTTP_METHOD_CONNECT && h->code < 300)) {
		h->framing = HTTP_FRAMING_NONE;
	} else if (coded) {
		h->framing = HTTP_FRAMING_CHUNKED;
	} else {
		h->framing = h->n_length > 0 ? HTTP_FRAMING_LENGTH : HTTP_FRAMING_CLOSE;
	}
	return HTTP_HEAD_FOUND;
}

static enum http_head_result finish(struct http_head *h, const char *buf)
{
	enum http_head_result result = h->is_response ? frame_response(h) : frame_request(h);

	h->len = h->line_at;
	h->stage = STAGE_DONE;
	return result == HTTP_HEAD_FOUND ? read_connection(h, buf) : result;
}

/* A line without its CRLF. */
static enum http_head_result take_line(struct http_head *h, const char *buf, struct slice line)
{
	const char *fault;

	if (h->stage == STAGE_FIELDS)
		return line.len == 0 ? finish(h, buf) : read_field(h, buf, line);
	if (line.len == 0 && !h->is_response)
		return HTTP_HEAD_MORE;
	fault = text_fault(line.ptr, line.len);
	if (fault)
		return bad(h, 400, fault);
	h->first_line = span(buf, line.ptr, line.ptr + line.len);
	h->stage = STAGE_FIELDS;
	return h->is_response ? read_status_line(h, buf, line) : read_request_line(h, buf, line);
}

enum http_head_result http_head_parse(struct http_head *h, const char *buf, size_t len)
{
	size_t end = len < h->limit ? len : h->limit;

	while (h->scan_at < end) {
		const char *lf = memchr(buf + h->scan_at, '\n', end - h->scan_at);
		struct slice line;
		enum http_head_result result;

		if (!lf) {
			h->scan_at = (uint32_t)end;
			break;
		}
		line = slice_of(buf + h->line_at, (size_t)(lf - buf) - h->line_at);
		h->line_at = h->scan_at = (uint32_t)(lf - buf) + 1;
		if (line.len == 0 || line.ptr[line.len - 1] != '\r')
			return bad(h, 400, "a line that ends in LF without CR");
		line.len--;
		result = take_line(h, buf, line);
		if (result != HTTP_HEAD_MORE)
			return result;
	}
	/* What cannot become a request line is not waited for: TLS on the wrong port. */
	if (h->stage == STAGE_FIRST_LINE && h->line_at < end && buf[h->line_at] != '\r' &&
	    !http_is_tchar((unsigned char)buf[h->line_at]))
		return bad(h, 400, "this is not HTTP");
	if (len >= h->limit)
		return bad(h, 431, "the head is too large");
	return HTTP_HEAD_MORE;
}

static void init(struct http_head *h, size_t limit)
{
	/* The tables at the end are written before they are read. */
	memset(h, 0, offsetof(struct http_head, fields));
	h->limit = (uint32_t)(limit < HTTP_HEAD_MAX ? limit : HTTP_HEAD_MAX);
}

void http_head_init_request(struct http_head *h, size_t limit)
{
	init(h, limit);
}

void http_head_init_response(struct http_head *h, size_t limit, enum http_method request_method)
{
	init(h, limit);
	h->is_response = true;
	h->request_method = (uint8_t)request_method;
}

int http_head_find(const struct http_head *h, enum http_field_id id, int from)
{
	for (int i = from; i < h->n_fields; i++) {
		if (h->fields[i].id == id)
			return i;
	}
	return -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/egress_request.h"

#include <string.h>

/*
 * RFC 1928, 3, 4 and 6:
 *
 *   greeting   5 | n(1) methods            choice    5 | method
 *   request    5 | command | 0 | type | address | port(2)
 *   reply      5 | code | 0 | type | address | port(2)
 *   address    type 1: 4 bytes, 3: n(1) name, 4: 16 bytes
 */
enum {
	SOCKS_VERSION = 5,
	SOCKS_NO_AUTHENTICATION = 0,
	SOCKS_NO_METHOD = 0xff,
	SOCKS_CONNECT = 1,
	SOCKS_IPV4 = 1,
	SOCKS_NAME = 3,
	SOCKS_IPV6 = 4,
	SOCKS_REQUEST_HEAD = 5, /* with the first byte of the address */
};

enum stage {
	STAGE_START,
	STAGE_SOCKS_GREETING,
	STAGE_SOCKS_REQUEST,
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static enum egress_result bad(struct egress_request *r, const char *why)
{
	r->why = why;
	return EGRESS_BAD;
}

static enum egress_result found(struct egress_request *r, size_t len)
{
	r->len = len;
	r->is_odd_ipv4 = egress_is_odd_ipv4(&r->target);
	return EGRESS_FOUND;
}

static enum egress_result parse_line(struct egress_request *r, const char *buf, size_t len)
{
	size_t end = len < EGRESS_LINE_MAX ? len : EGRESS_LINE_MAX;
	const char *lf = r->scan_at < end ? memchr(buf + r->scan_at, '\n', end - r->scan_at) : NULL;
	struct slice line;

	if (!lf) {
		r->scan_at = end;
		return end < EGRESS_LINE_MAX ? EGRESS_MORE : bad(r, "the target line is too long");
	}
	line = slice_of(buf, (size_t)(lf - buf));
	while (line.len > 0 && is_blank(line.ptr[0])) {
		line.ptr++;
		line.len--;
	}
	while (line.len > 0 && is_blank(line.ptr[line.len - 1]))
		line.len--;
	if (!host_port_parse(line, &r->target) || !r->target.has_port)
		return bad(r, "the target line is not host:port");
	return found(r, (size_t)(lf - buf) + 1);
}

bool egress_is_odd_ipv4(const struct host_port *target)
{
	struct ip_addr ignored;

	/* "10.0.0.1." is a name by its dot, and an address to who drops that. */
	return target->kind == HOST_IS_NAME && (host_name_is_odd_ipv4(host_port_name(target)) ||
						ip_parse(host_port_name(target), &ignored));
}

const char *egress_http_target(const struct http_head *h, struct host_port *ret)
{
	if (h->form != HTTP_TARGET_AUTHORITY && h->form != HTTP_TARGET_ABSOLUTE)
		return "a proxy wants CONNECT or an absolute http: URL";
	if (h->is_https_uri)
		return "https: through a proxy wants CONNECT";
	*ret = h->host;
	if (!ret->has_port) {
		ret->has_port = true;
		ret->port = 80;
	}
	return NULL;
}

static enum egress_result parse_http(struct egress_request *r, const char *buf, size_t len)
{
	const char *why;

	switch (http_head_parse(&r->http, buf, len)) {
	case HTTP_HEAD_MORE:
		return EGRESS_MORE;
	case HTTP_HEAD_BAD:
		r->status = r->http.status;
		return bad(r, r->http.why);
	case HTTP_HEAD_FOUND:
		break;
	}
	why = egress_http_target(&r->http, &r->target);
	if (why) {
		r->status = 400;
		return bad(r, why);
	}
	return found(r, r->http.len);
}

static enum egress_result choose_method(struct egress_request *r, const unsigned char *b, size_t len)
{
	bool offered;

	if (len > 0 && b[0] != SOCKS_VERSION)
		return bad(r, "this is not SOCKS5");
	if (len < 2 || len < 2u + b[1])
		return EGRESS_MORE;
	offered = b[1] > 0 && memchr(b + 2, SOCKS_NO_AUTHENTICATION, b[1]) != NULL;
	r->reply[0] = SOCKS_VERSION;
	r->reply[1] = offered ? SOCKS_NO_AUTHENTICATION : SOCKS_NO_METHOD;
	r->reply_len = 2;
	if (!offered)
		return bad(r, "SOCKS5 without authentication was not offered");
	r->at = 2u + b[1];
	r->stage = STAGE_SOCKS_REQUEST;
	return EGRESS_REPLY;
}

static enum egress_result refuse(struct egress_request *r, enum socks5_reply code, const char *why)
{
	unsigned char reply[SOCKS5_REPLY_SIZE];

	r->reply_len = (uint8_t)socks5_reply_build(code, NULL, 0, reply);
	memcpy(r->reply, reply, r->reply_len);
	return bad(r, why);
}

static bool set_address(struct host_port *t, struct ip_addr addr)
{
	t->kind = ip_is_v4(&addr) ? HOST_IS_IPV4 : HOST_IS_IPV6;
	t->addr = addr;
	ip_format(&addr, t->name);
	t->name_len = (uint16_t)strlen(t->name);
	return true;
}

/* A name may be an address in text: some clients send all they have as names. */
static bool set_name(struct host_port *t, struct slice name)
{
	struct ip_addr addr;

	if (ip_parse(name, &addr))
		return set_address(t, addr);
	t->kind = HOST_IS_NAME;
	t->name_len = (uint16_t)host_name_fold(name, t->name);
	return t->name_len > 0;
}

static enum egress_result read_request(struct egress_request *r, const unsigned char *b, size_t len)
{
	size_t n, from = 4;
	bool sound = true;

	if (len > 0 && b[0] != SOCKS_VERSION)
		return refuse(r, SOCKS5_GENERAL_FAILURE, "malformed SOCKS5 request");
	if (len < SOCKS_REQUEST_HEAD)
		return EGRESS_MORE;
	switch (b[3]) {
	case SOCKS_IPV4:
		n = 4;
		break;
	case SOCKS_IPV6:
		n = 16;
		break;
	case SOCKS_NAME:
		n = b[4];
		from = 5;
		break;
	default:
		return refuse(r, SOCKS5_ADDRESS_NOT_SUPPORTED, "an unknown SOCKS5 address type");
	}
	if (len < from + n + 2)
		return EGRESS_MORE;
	if (b[1] != SOCKS_CONNECT)
		return refuse(r, SOCKS5_COMMAND_NOT_SUPPORTED, "SOCKS5 with a command that is not CONNECT");
	if (b[3] == SOCKS_NAME)
		sound = set_name(&r->target, slice_of(b + from, n));
	else
		set_address(&r->target, n == 4 ? ip_from_v4(b + from) : ip_from_v6(b + from));
	r->target.has_port = true;
	r->target.port = (uint16_t)((unsigned)b[from + n] << 8 | b[from + n + 1]);
	if (!sound || r->target.port == 0)
		return refuse(r, SOCKS5_GENERAL_FAILURE, "a malformed target in the SOCKS5 request");
	return found(r, r->at + from + n + 2);
}

/*
 * EGRESS_AUTO until it can be told.  scan_at is where the first word's end is looked
 * for; the line parser starts over from 0, once.
 */
static enum egress_protocol tell_protocol(struct egress_request *r, const char *buf, size_t len)
{
	size_t i = r->scan_at;

	if (len > 0 && buf[0] == SOCKS_VERSION)
		return EGRESS_SOCKS5;
	while (i < len && http_is_tchar((unsigned char)buf[i]))
		i++;
	r->scan_at = i;
	if (i == len)
		return len < EGRESS_LINE_MAX ? EGRESS_AUTO : EGRESS_LINE;
	if (i == 0 || buf[i] != ' ')
		return EGRESS_LINE;
	/* A word and a blank: HTTP if another word follows, else a line that is no target. */
	if (i + 1 == len)
		return EGRESS_AUTO;
	return is_blank(buf[i + 1]) || buf[i + 1] == '\n' ? EGRESS_LINE : EGRESS_HTTP;
}

void egress_request_init(struct egress_request *r, enum egress_protocol protocol, size_t head_limit)
{
	memset(r, 0, offsetof(struct egress_request, reply));
	r->protocol = protocol;
	http_head_init_request(&r->http, head_limit);
}

enum egress_result egress_request_parse(struct egress_request *r, const void *buf, size_t len)
{
	if (r->protocol == EGRESS_AUTO) {
		r->protocol = tell_protocol(r, buf, len);
		if (r->protocol != EGRESS_AUTO)
			r->scan_at = 0;
	}
	switch (r->protocol) {
	case EGRESS_AUTO:
		break;
	case EGRESS_LINE:
		return parse_line(r, buf, len);
	case EGRESS_HTTP:
		return parse_http(r, buf, len);
	case EGRESS_SOCKS5:
		if (r->stage != STAGE_SOCKS_REQUEST)
			return choose_method(r, buf, len);
		r->reply_len = 0;
		return read_request(r, (const unsigned char *)buf + r->at, len - r->at);
	}
	return EGRESS_MORE;
}

size_t socks5_reply_build(enum socks5_reply code, const struct ip_addr *bound, uint16_t port,
			  unsigned char ret[SOCKS5_REPLY_SIZE])
{
	bool v6 = bound && !ip_is_v4(bound);
	size_t n = v6 ? 16 : 4;

	ret[0] = SOCKS_VERSION;
	ret[1] = (unsigned char)code;
	ret[2] = 0;
	ret[3] = v6 ? SOCKS_IPV6 : SOCKS_IPV4;
	memset(ret + 4, 0, n);
	if (bound)
		memcpy(ret + 4, bound->b + 16 - n, n);
	ret[4 + n] = (unsigned char)(port >> 8);
	ret[5 + n] = (unsigned char)port;
	return 6 + n;
}

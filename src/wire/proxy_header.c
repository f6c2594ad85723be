/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/proxy_header.h"

#include <stdio.h>
#include <string.h>

/*
 * proxy-protocol.txt, 2.1 and 2.2:
 *
 *   v1   "PROXY " ("TCP4" | "TCP6") SP src SP dst SP sport SP dport CRLF
 *        "PROXY UNKNOWN" anything CRLF
 *   v2   signature(12) | 2 in the high half, command | family, transport | length(2)
 *        | src | dst | sport(2) | dport(2) | { type(1) | length(2) | value }
 */
enum {
	V2_HEAD = 16,
	V2_LOCAL = 0,
	V2_PROXY = 1,
	V2_TCP4 = 0x11,
	V2_TCP6 = 0x21,
	V2_TLV_ALPN = 1,
	V2_TLV_AUTHORITY = 2,
};

static const unsigned char v2_signature[12] = {
	'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n',
};
static const char v1_signature[6] = { 'P', 'R', 'O', 'X', 'Y', ' ' };

static enum proxy_header_result bad(struct proxy_header *p, const char *why)
{
	p->why = why;
	p->has_addresses = false;
	return PROXY_HEADER_BAD;
}

static struct slice next_word(struct slice *line)
{
	const char *blank = line->len > 0 ? memchr(line->ptr, ' ', line->len) : NULL;
	struct slice word = *line;

	if (!blank) {
		line->len = 0;
		return word;
	}
	word.len = (size_t)(blank - line->ptr);
	*line = slice_of(blank + 1, line->len - word.len - 1);
	return word;
}

static bool read_port(struct slice word, uint16_t *ret)
{
	unsigned long long value;

	if (word.len > 5 || (word.len > 1 && word.ptr[0] == '0') ||
	    !slice_parse_u64(word, 65535, &value))
		return false;
	*ret = (uint16_t)value;
	return true;
}

/* line: what stands between "PROXY " and CRLF. */
static enum proxy_header_result read_v1(struct proxy_header *p, struct slice line)
{
	struct slice family = next_word(&line), src, dst, sport, dport;
	bool v4 = slice_equal(family, SLICE_LITERAL("TCP4"));

	if (slice_equal(family, SLICE_LITERAL("UNKNOWN")))
		return PROXY_HEADER_FOUND;
	if (!v4 && !slice_equal(family, SLICE_LITERAL("TCP6")))
		return bad(p, "an unknown family in the PROXY header");
	src = next_word(&line);
	dst = next_word(&line);
	sport = next_word(&line);
	dport = line; /* to the end: a fifth word makes it no port */
	if (!ip_parse(src, &p->src) || !ip_parse(dst, &p->dst) ||
	    v4 == (memchr(src.ptr, ':', src.len) != NULL) ||
	    v4 == (memchr(dst.ptr, ':', dst.len) != NULL))
		return bad(p, "a malformed address in the PROXY header");
	if (!read_port(sport, &p->src_port) || !read_port(dport, &p->dst_port))
		return bad(p, "a malformed port in the PROXY header");
	p->has_addresses = true;
	return PROXY_HEADER_FOUND;
}

static enum proxy_header_result parse_v1(struct proxy_header *p, const char *buf, size_t len)
{
	size_t end = len < PROXY_HEADER_V1_MAX ? len : PROXY_HEADER_V1_MAX;
	const char *lf = memchr(buf + p->scan_at, '\n', end - p->scan_at);

	if (!lf) {
		p->scan_at = end;
		return len < PROXY_HEADER_V1_MAX ? PROXY_HEADER_MORE
						 : bad(p, "the PROXY line is too long");
	}
	if (lf[-1] != '\r')
		return bad(p, "the PROXY line does not end in CRLF");
	p->version = 1;
	p->len = (size_t)(lf - buf) + 1;
	return read_v1(p, slice_of(buf + sizeof(v1_signature), p->len - 2 - sizeof(v1_signature)));
}

static unsigned u16(const unsigned char *b)
{
	return (unsigned)b[0] << 8 | b[1];
}

static enum proxy_header_result read_tlvs(struct proxy_header *p, const unsigned char *b, size_t len)
{
	while (len > 0) {
		size_t n;

		if (len < 3 || (n = u16(b + 1)) > len - 3)
			return bad(p, "a TLV reaches past the PROXY header");
		if (b[0] == V2_TLV_AUTHORITY)
			p->authority = slice_of(b + 3, n);
		else if (b[0] == V2_TLV_ALPN)
			p->alpn = slice_of(b + 3, n);
		b += 3 + n;
		len -= 3 + n;
	}
	return PROXY_HEADER_FOUND;
}

static enum proxy_header_result parse_v2(struct proxy_header *p, const unsigned char *b, size_t len)
{
	size_t n, ip;

	if (len < V2_HEAD)
		return PROXY_HEADER_MORE;
	if (b[12] >> 4 != 2 || (b[12] & 15) > V2_PROXY)
		return bad(p, "an unknown version or command in the PROXY header");
	n = u16(b + 14);
	if (V2_HEAD + n > PROXY_HEADER_MAX)
		return bad(p, "the PROXY header is too long");
	if (len < V2_HEAD + n)
		return PROXY_HEADER_MORE;
	p->version = 2;
	p->len = V2_HEAD + n;
	/* Other families and datagrams are legal and say nothing to us. */
	if ((b[12] & 15) == V2_LOCAL || (b[13] != V2_TCP4 && b[13] != V2_TCP6))
		return PROXY_HEADER_FOUND;
	ip = b[13] == V2_TCP4 ? 4 : 16;
	b += V2_HEAD;
	if (n < 2 * ip + 4)
		return bad(p, "the PROXY header is too short for its addresses");
	p->src = ip == 4 ? ip_from_v4(b) : ip_from_v6(b);
	p->dst = ip == 4 ? ip_from_v4(b + ip) : ip_from_v6(b + ip);
	p->src_port = (uint16_t)u16(b + 2 * ip);
	p->dst_port = (uint16_t)u16(b + 2 * ip + 2);
	p->has_addresses = true;
	return read_tlvs(p, b + 2 * ip + 4, n - 2 * ip - 4);
}

void proxy_header_init(struct proxy_header *p)
{
	memset(p, 0, sizeof(*p));
}

enum proxy_header_result proxy_header_parse(struct proxy_header *p, const void *buf, size_t len)
{
	size_t v1 = len < sizeof(v1_signature) ? len : sizeof(v1_signature);
	size_t v2 = len < sizeof(v2_signature) ? len : sizeof(v2_signature);

	if (len == 0)
		return PROXY_HEADER_MORE;
	if (memcmp(buf, v1_signature, v1) == 0)
		return v1 == sizeof(v1_signature) ? parse_v1(p, buf, len) : PROXY_HEADER_MORE;
	if (memcmp(buf, v2_signature, v2) == 0)
		return parse_v2(p, buf, len);
	return bad(p, "this is not a PROXY header");
}

static bool all_v4(const struct proxy_header_info *info)
{
	return ip_is_v4(&info->src) && ip_is_v4(&info->dst);
}

/* ip_format() writes a mapped address as a dotted quad, which TCP6 must not hold. */
static const char *format_v6(const struct ip_addr *a, char buf[IP_TEXT_SIZE + 8])
{
	if (!ip_is_v4(a))
		return ip_format(a, buf);
	memcpy(buf, "::ffff:", 7);
	ip_format(a, buf + 7);
	return buf;
}

size_t proxy_header_build_v1(const struct proxy_header_info *info, char ret[PROXY_HEADER_BUILD_SIZE])
{
	char src[IP_TEXT_SIZE + 8], dst[IP_TEXT_SIZE + 8];
	bool v4;
	int n;

	if (!info->has_addresses)
		return (size_t)snprintf(ret, PROXY_HEADER_BUILD_SIZE, "PROXY UNKNOWN\r\n");
	v4 = all_v4(info);
	n = snprintf(ret, PROXY_HEADER_BUILD_SIZE, "PROXY TCP%c %s %s %u %u\r\n", v4 ? '4' : '6',
		     v4 ? ip_format(&info->src, src) : format_v6(&info->src, src),
		     v4 ? ip_format(&info->dst, dst) : format_v6(&info->dst, dst),
		     (unsigned)info->src_port, (unsigned)info->dst_port);
	return (size_t)n;
}

static unsigned char *put(unsigned char *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	return to + n;
}

static unsigned char *put_u16(unsigned char *to, unsigned value)
{
	to[0] = (unsigned char)(value >> 8);
	to[1] = (unsigned char)value;
	return to + 2;
}

static unsigned char *put_tlv(unsigned char *to, unsigned char type, struct slice value)
{
	if (value.len == 0 || value.len > 255)
		return to;
	*to++ = type;
	to = put_u16(to, (unsigned)value.len);
	return put(to, value.ptr, value.len);
}

size_t proxy_header_build_v2(const struct proxy_header_info *info, char ret[PROXY_HEADER_BUILD_SIZE])
{
	unsigned char *start = (unsigned char *)ret, *p = put(start, v2_signature, sizeof(v2_signature));
	size_t ip = info->has_addresses && all_v4(info) ? 4 : 16;

	*p++ = (unsigned char)(2 << 4 | (info->has_addresses ? V2_PROXY : V2_LOCAL));
	*p++ = !info->has_addresses ? 0 : ip == 4 ? V2_TCP4 : V2_TCP6;
	p += 2;
	if (info->has_addresses) {
		p = put(p, info->src.b + 16 - ip, ip);
		p = put(p, info->dst.b + 16 - ip, ip);
		p = put_u16(p, info->src_port);
		p = put_u16(p, info->dst_port);
		p = put_tlv(p, V2_TLV_ALPN, info->alpn);
		p = put_tlv(p, V2_TLV_AUTHORITY, info->authority);
	}
	put_u16(start + 14, (unsigned)(p - start) - V2_HEAD);
	return (size_t)(p - start);
}

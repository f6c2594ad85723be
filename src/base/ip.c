/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "base/ip.h"

#include <arpa/inet.h>
#include <stdio.h>

static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool ip_is_v4(const struct ip_addr *a)
{
	return memcmp(a->b, mapped, sizeof(mapped)) == 0;
}

bool ip_is_loopback(const struct ip_addr *a)
{
	static const struct ip_addr six = { { [15] = 1 } };

	return ip_is_v4(a) ? a->b[sizeof(mapped)] == 127 : ip_equal(a, &six);
}

bool ip_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

struct ip_addr ip_from_v4(const void *four_bytes)
{
	struct ip_addr a;

	memcpy(a.b, mapped, sizeof(mapped));
	memcpy(a.b + sizeof(mapped), four_bytes, 4);
	return a;
}

struct ip_addr ip_from_v6(const void *sixteen_bytes)
{
	struct ip_addr a;

	memcpy(a.b, sixteen_bytes, sizeof(a.b));
	return a;
}

bool ip_parse(struct slice text, struct ip_addr *ret)
{
	char buf[IP_TEXT_SIZE];
	unsigned char bytes[16];

	if (text.len == 0 || text.len >= sizeof(buf) || memchr(text.ptr, '\0', text.len))
		return false;
	memcpy(buf, text.ptr, text.len);
	buf[text.len] = '\0';
	/* inet_pton takes no leading zeros, hex or short forms, and no zone. */
	if (inet_pton(AF_INET, buf, bytes) == 1) {
		*ret = ip_from_v4(bytes);
		return true;
	}
	if (inet_pton(AF_INET6, buf, bytes) == 1) {
		*ret = ip_from_v6(bytes);
		return true;
	}
	return false;
}

static char *put_octet(char *p, unsigned char octet)
{
	if (octet >= 100)
		*p++ = (char)('0' + octet / 100);
	if (octet >= 10)
		*p++ = (char)('0' + octet / 10 % 10);
	*p++ = (char)('0' + octet % 10);
	return p;
}

/* IPv4 by hand: inet_ntop() goes through sprintf(), which each HTTP request would pay. */
char *ip_format(const struct ip_addr *a, char buf[IP_TEXT_SIZE])
{
	char *p = buf;

	if (!ip_is_v4(a)) {
		inet_ntop(AF_INET6, a->b, buf, IP_TEXT_SIZE);
		return buf;
	}
	for (size_t i = sizeof(mapped); i < sizeof(a->b); i++) {
		p = put_octet(p, a->b[i]);
		*p++ = '.';
	}
	p[-1] = '\0';
	return buf;
}

/* Clears the bits behind the prefix; true where one was set. */
static bool mask(struct ip_addr *a, unsigned prefix)
{
	bool had = false;

	for (unsigned i = 0; i < 16; i++) {
		unsigned bits = prefix >= 8 * (i + 1) ? 8 : prefix <= 8 * i ? 0 : prefix - 8 * i;
		unsigned char keep = (unsigned char)(0xff00u >> bits);

		had |= (a->b[i] & ~keep) != 0;
		a->b[i] &= keep;
	}
	return had;
}

enum ip_cidr_result ip_cidr_parse(struct slice text, struct ip_cidr *ret)
{
	const char *slash = text.len ? memchr(text.ptr, '/', text.len) : NULL;
	struct slice addr = text;
	unsigned long long prefix;
	struct ip_cidr c;
	bool host_bits;

	if (slash)
		addr.len = (size_t)(slash - text.ptr);
	if (!ip_parse(addr, &c.net))
		return IP_CIDR_NOT_ONE;
	c.v4 = ip_is_v4(&c.net) && !memchr(addr.ptr, ':', addr.len);
	prefix = c.v4 ? 32 : 128;
	if (slash) {
		struct slice number = slice_of(slash + 1, text.len - addr.len - 1);

		if (number.len > 1 && number.ptr[0] == '0')
			return IP_CIDR_NOT_ONE;
		if (!slice_parse_u64(number, 999, &prefix))
			return IP_CIDR_NOT_ONE;
		if (prefix > (c.v4 ? 32 : 128))
			return IP_CIDR_LENGTH;
	}
	c.prefix = (uint8_t)(c.v4 ? prefix + 96 : prefix);
	/* A prefix written as ::ffff:10.0.0.0/104 is the IPv4 one. */
	if (!c.v4 && ip_is_v4(&c.net) && c.prefix >= 96)
		c.v4 = true;
	host_bits = mask(&c.net, c.prefix);
	*ret = c;
	return host_bits ? IP_CIDR_HOST_BITS : IP_CIDR_OK;
}

char *ip_cidr_format(const struct ip_cidr *c, char buf[IP_TEXT_SIZE + 4])
{
	char text[IP_TEXT_SIZE];

	snprintf(buf, IP_TEXT_SIZE + 4, "%s/%d", ip_format(&c->net, text),
		 c->v4 ? c->prefix - 96 : c->prefix);
	return buf;
}

static bool same_prefix(const struct ip_addr *net, const struct ip_addr *a, unsigned prefix)
{
	unsigned whole = prefix / 8, rest = prefix % 8;

	if (memcmp(net->b, a->b, whole) != 0)
		return false;
	return rest == 0 || ((net->b[whole] ^ a->b[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

bool ip_cidr_contains(const struct ip_cidr *c, const struct ip_addr *a)
{
	return c->v4 == ip_is_v4(a) && same_prefix(&c->net, a, c->prefix);
}

bool ip_cidr_covers(const struct ip_cidr *outer, const struct ip_cidr *inner)
{
	return outer->v4 == inner->v4 && outer->prefix <= inner->prefix &&
	       same_prefix(&outer->net, &inner->net, outer->prefix);
}

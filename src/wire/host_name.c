/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/host_name.h"

/*
 * What a byte becomes in a folded name: itself, its lower case, or 0 where it may not
 * stand in one.  The dot is here too; empty labels are told by position.
 */
static const char folded[256] = {
	['-'] = '-', ['.'] = '.', ['_'] = '_',
	['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4',
	['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9',
#define LETTER(upper, lower) [upper] = lower, [lower] = lower
	LETTER('A', 'a'), LETTER('B', 'b'), LETTER('C', 'c'), LETTER('D', 'd'), LETTER('E', 'e'),
	LETTER('F', 'f'), LETTER('G', 'g'), LETTER('H', 'h'), LETTER('I', 'i'), LETTER('J', 'j'),
	LETTER('K', 'k'), LETTER('L', 'l'), LETTER('M', 'm'), LETTER('N', 'n'), LETTER('O', 'o'),
	LETTER('P', 'p'), LETTER('Q', 'q'), LETTER('R', 'r'), LETTER('S', 's'), LETTER('T', 't'),
	LETTER('U', 'u'), LETTER('V', 'v'), LETTER('W', 'w'), LETTER('X', 'x'), LETTER('Y', 'y'),
	LETTER('Z', 'z'),
#undef LETTER
};

size_t host_name_fold(struct slice text, char buf[HOST_NAME_SIZE])
{
	char before = '.';
	size_t len = text.len;

	if (len == 0 || len > HOST_NAME_MAX_LEN)
		return 0;
	for (size_t i = 0; i < len; i++) {
		char c = folded[(unsigned char)text.ptr[i]];

		if (c == '\0' || (c == '.' && before == '.'))
			return 0;
		buf[i] = c;
		before = c;
	}
	if (before == '.')
		len--;
	buf[len] = '\0';
	return len;
}

bool host_name_is_odd_ipv4(struct slice name)
{
	struct ip_addr addr;
	size_t end = name.len;
	size_t at;

	if (end > 0 && name.ptr[end - 1] == '.')
		end--;
	for (at = end; at > 0 && name.ptr[at - 1] != '.'; at--)
		;
	if (at == end || ip_parse(slice_of(name.ptr, end), &addr))
		return false;
	if (end - at >= 2 && name.ptr[at] == '0' && ascii_lower(name.ptr[at + 1]) == 'x') {
		for (at += 2; at < end; at++) {
			char c = ascii_lower(name.ptr[at]);

			if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
				return false;
		}
		return true;
	}
	for (; at < end; at++) {
		if (name.ptr[at] < '0' || name.ptr[at] > '9')
			return false;
	}
	return true;
}

static bool set_address(struct host_port *h, struct slice text, bool v6)
{
	if (!ip_parse(text, &h->addr))
		return false;
	ip_format(&h->addr, h->name);
	h->name_len = (uint16_t)strlen(h->name);
	/* [::ffff:1.2.3.4] is the IPv4 address, in the one form that addresses have here. */
	h->kind = v6 && !ip_is_v4(&h->addr) ? HOST_IS_IPV6 : HOST_IS_IPV4;
	return true;
}

bool host_port_parse(struct slice text, struct host_port *ret)
{
	struct slice host = text, port = { NULL, 0 };
	const char *sep;

	ret->has_port = false;
	ret->port = 0;
	if (text.len > 0 && text.ptr[0] == '[') {
		sep = memchr(text.ptr, ']', text.len);
		if (!sep)
			return false;
		host = slice_of(text.ptr + 1, (size_t)(sep - text.ptr) - 1);
		/* Without a colon it would be an IPv4 address in brackets. */
		if (host.len == 0 || !memchr(host.ptr, ':', host.len) || !set_address(ret, host, true))
			return false;
		sep++;
		port = slice_of(sep, (size_t)(text.ptr + text.len - sep));
		if (port.len > 0 && port.ptr[0] != ':')
			return false;
	} else {
		sep = text.len > 0 ? memchr(text.ptr, ':', text.len) : NULL;
		if (sep) {
			host.len = (size_t)(sep - text.ptr);
			port = slice_of(sep, text.len - host.len);
		}
		if (host.len == 0)
			return false;
		/* Few names start with a digit, so few are tried as an address. */
		if (host.ptr[0] < '0' || host.ptr[0] > '9' || !set_address(ret, host, false)) {
			ret->kind = HOST_IS_NAME;
			ret->name_len = (uint16_t)host_name_fold(host, ret->name);
			if (ret->name_len == 0)
				return false;
		}
	}
	if (port.len > 1) {
		unsigned long long value;

		if (!slice_parse_u64(slice_of(port.ptr + 1, port.len - 1), 65535, &value) || value == 0)
			return false;
		ret->has_port = true;
		ret->port = (uint16_t)value;
	}
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "wire/tls_hello.h"

#include <string.h>

/*
 * RFC 8446, 5.1, 4, 4.1.2 and 4.2; RFC 6066, 3; RFC 7301, 3.1:
 *
 *   record     22 | 3 | minor | length(2) | fragment ...
 *   message    1 | length(3) | body                 in the fragments of one record or more
 *   body       version(2) | random(32) | n(1) session id | n(2) cipher suites
 *              | n(1) compression methods | n(2) extensions, or nothing
 *   extension  type(2) | n(2) data
 *   server_name   n(2) { 0 | n(2) name }
 *   ALPN          n(2) { n(1) name } ...
 */
enum {
	RECORD_HANDSHAKE = 22,
	RECORD_MAJOR = 3,
	MESSAGE_CLIENT_HELLO = 1,
	MESSAGE_HEAD = 4,
	BODY_MIN = 2 + 32 + 1 + 2 + 2 + 1 + 1, /* empty session id, one suite, one method */
	EXT_SERVER_NAME = 0,
	EXT_ALPN = 16,
	EXT_PRE_SHARED_KEY = 41,
	EXT_LISTED = 24,
};

/*
 * Reads the message through the records that it is cut into.  The error is sticky: after
 * it every read gives zeros, and `left` is 0, so that loops end.
 */
struct cursor {
	const unsigned char *p;
	size_t fragment; /* bytes until the next record's head */
	size_t left;     /* bytes until the message's end */
	const char *why;
};

/* Which extension types were seen: the common ones in bits, some in a list, a flood in a map. */
struct seen {
	uint64_t low;
	unsigned n_listed;
	uint16_t listed[EXT_LISTED];
	unsigned char *map; /* of 8 KiB, cleared only when it is needed */
};

static void fail(struct cursor *c, const char *why)
{
	if (!c->why)
		c->why = why;
	c->left = 0;
}

/* All records are known to be sound and to hold the message by now. */
static void next_record(struct cursor *c)
{
	c->fragment = (size_t)c->p[3] << 8 | c->p[4];
	c->p += TLS_RECORD_HEAD;
}

static bool cursor_has(struct cursor *c, size_t n)
{
	if (n <= c->left)
		return true;
	fail(c, "a length in the ClientHello reaches past its end");
	return false;
}

static void skip(struct cursor *c, size_t n)
{
	if (!cursor_has(c, n))
		return;
	c->left -= n;
	while (n > c->fragment) {
		n -= c->fragment;
		c->p += c->fragment;
		next_record(c);
	}
	c->p += n;
	c->fragment -= n;
}

static void copy(struct cursor *c, unsigned char *to, size_t n)
{
	if (!cursor_has(c, n)) {
		memset(to, 0, n);
		return;
	}
	c->left -= n;
	while (n > c->fragment) {
		memcpy(to, c->p, c->fragment);
		to += c->fragment;
		n -= c->fragment;
		c->p += c->fragment;
		next_record(c);
	}
	memcpy(to, c->p, n);
	c->p += n;
	c->fragment -= n;
}

static unsigned read_u8(struct cursor *c)
{
	unsigned char b;

	copy(c, &b, 1);
	return b;
}

static unsigned read_u16(struct cursor *c)
{
	unsigned char b[2];

	if (c->fragment >= 2 && c->left >= 2) {
		unsigned value = (unsigned)c->p[0] << 8 | c->p[1];

		c->p += 2;
		c->fragment -= 2;
		c->left -= 2;
		return value;
	}
	copy(c, b, 2);
	return (unsigned)b[0] << 8 | b[1];
}

static bool seen_before(struct seen *s, unsigned type, unsigned char map[8192])
{
	if (type < 64) {
		bool before = s->low >> type & 1;

		s->low |= (uint64_t)1 << type;
		return before;
	}
	if (!s->map) {
		for (unsigned i = 0; i < s->n_listed; i++) {
			if (s->listed[i] == type)
				return true;
		}
		if (s->n_listed < EXT_LISTED) {
			s->listed[s->n_listed++] = (uint16_t)type;
			return false;
		}
		s->map = memset(map, 0, 8192);
		for (unsigned i = 0; i < s->n_listed; i++)
			map[s->listed[i] / 8] |= (unsigned char)(1u << s->listed[i] % 8);
	}
	if (map[type / 8] >> type % 8 & 1)
		return true;
	map[type / 8] |= (unsigned char)(1u << type % 8);
	return false;
}

static void read_server_name(struct cursor *c, struct tls_hello *h, unsigned len)
{
	unsigned list, type, name;
	unsigned char raw[HOST_NAME_MAX_LEN];

	if (len < 5) {
		fail(c, "server_name is too short");
		return;
	}
	list = read_u16(c);
	type = read_u8(c);
	name = read_u16(c);
	if (list != len - 2 || type != 0 || name != len - 5) {
		fail(c, "server_name does not hold exactly one host_name");
		return;
	}
	if (name > sizeof(raw)) {
		fail(c, "the server name is longer than 255 bytes");
		return;
	}
	copy(c, raw, name);
	h->name_len = (uint16_t)host_name_fold(slice_of(raw, name), h->name);
	if (h->name_len == 0)
		fail(c, "the server name is not a host name");
}

static void read_alpn(struct cursor *c, struct tls_hello *h, unsigned len)
{
	bool keep = true;

	if (len < 2 || read_u16(c) != len - 2 || len < 4) {
		fail(c, "the ALPN list has a wrong length");
		return;
	}
	h->has_alpn = true;
	for (unsigned left = len - 2; left > 0;) {
		unsigned name = read_u8(c);

		if (name == 0 || name > left - 1) {
			fail(c, "an ALPN name is empty or reaches past the list");
			return;
		}
		left -= 1 + name;
		keep = keep && h->alpn_len + 1 + name <= sizeof(h->alpn);
		if (keep) {
			h->alpn[h->alpn_len] = (unsigned char)name;
			copy(c, h->alpn + h->alpn_len + 1, name);
			h->alpn_len = (uint16_t)(h->alpn_len + 1 + name);
		} else {
			skip(c, name);
		}
	}
}

static void read_extensions(struct cursor *c, struct tls_hello *h)
{
	unsigned char map[8192];
	struct seen seen = { .map = NULL };

	if (c->left == 0)
		return; /* TLS 1.2 and before may have no extensions at all */
	if (read_u16(c) != c->left)
		fail(c, "the extensions do not end where the ClientHello does");
	while (c->left > 0) {
		unsigned type = read_u16(c);
		unsigned len = read_u16(c);

		if (!cursor_has(c, len))
			return;
		if (seen_before(&seen, type, map))
			fail(c, "an extension comes twice");
		else if (type == EXT_SERVER_NAME)
			read_server_name(c, h, len);
		else if (type == EXT_ALPN)
			read_alpn(c, h, len);
		else if (type == EXT_PRE_SHARED_KEY && len != c->left)
			fail(c, "pre_shared_key is not the last extension");
		else
			skip(c, len);
	}
}

static enum tls_hello_result bad(struct tls_hello *h, enum tls_alert alert, const char *why)
{
	h->alert = (uint8_t)alert;
	h->why = why;
	return TLS_HELLO_BAD;
}

/* The whole message is in buf. */
static enum tls_hello_result read_message(struct tls_hello *h, const unsigned char *buf)
{
	struct cursor c = { .p = buf, .left = h->need };
	unsigned n;

	h->examined += h->record_at;
	next_record(&c);
	skip(&c, MESSAGE_HEAD);
	h->version = (uint16_t)read_u16(&c);
	if (h->version >> 8 != RECORD_MAJOR || h->version == 0x0300)
		fail(&c, "the ClientHello's version is not TLS 1");
	skip(&c, 32);
	n = read_u8(&c);
	if (n > 32)
		fail(&c, "the session id is longer than 32 bytes");
	skip(&c, n);
	n = read_u16(&c);
	if (n < 2 || n % 2 != 0)
		fail(&c, "the cipher suites have a wrong length");
	skip(&c, n);
	n = read_u8(&c);
	if (n < 1)
		fail(&c, "there is no compression method");
	skip(&c, n);
	if (!c.why)
		read_extensions(&c, h);
	if (c.why)
		return bad(h, TLS_ALERT_DECODE_ERROR, c.why);
	return h->name_len > 0 ? TLS_HELLO_FOUND : TLS_HELLO_NONE;
}

void tls_hello_init(struct tls_hello *h)
{
	/* The arrays are written before they are read. */
	h->record_at = h->have = h->need = h->examined = 0;
	h->alert = 0;
	h->why = NULL;
	h->version = h->name_len = h->alpn_len = 0;
	h->has_alpn = false;
	h->name[0] = '\0';
}

/* A record's head, of which `len` bytes are there; 0 or the reason that it is not one. */
static const char *record_fault(const unsigned char *p, size_t len)
{
	if (p[0] != RECORD_HANDSHAKE)
		return "not a TLS handshake record";
	if (len > 1 && p[1] != RECORD_MAJOR)
		return "not a version of TLS";
	if (len >= TLS_RECORD_HEAD) {
		size_t n = (size_t)p[3] << 8 | p[4];

		if (n == 0)
			return "an empty TLS record";
		if (n > TLS_RECORD_MAX)
			return "a TLS record longer than 16640 bytes";
	}
	return NULL;
}

/* Takes what a record adds to the message's head; false where it is not a ClientHello's. */
static bool take_message_head(struct tls_hello *h, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n && h->have + i < MESSAGE_HEAD; i++)
		h->head[h->have + i] = p[i];
	if (h->have + n == 0)
		return true;
	if (h->head[0] != MESSAGE_CLIENT_HELLO)
		return false;
	if (h->have + n >= MESSAGE_HEAD)
		h->need = ((size_t)h->head[1] << 16 | (size_t)h->head[2] << 8 | h->head[3]) +
			  MESSAGE_HEAD;
	return true;
}

enum tls_hello_result tls_hello_parse(struct tls_hello *h, const void *data, size_t len)
{
	const unsigned char *buf = data;

	while (h->record_at < len) {
		const unsigned char *p = buf + h->record_at;
		size_t there = len - h->record_at, n;
		const char *fault = record_fault(p, there);

		h->examined += TLS_RECORD_HEAD;
		if (fault) {
			bool is_first_head = h->record_at == 0 &&
					     (p[0] != RECORD_HANDSHAKE || p[1] != RECORD_MAJOR);

			h->why = fault;
			return is_first_head ? TLS_HELLO_OTHER
					     : bad(h, TLS_ALERT_DECODE_ERROR, fault);
		}
		if (there < TLS_RECORD_HEAD)
			return TLS_HELLO_MORE;
		n = (size_t)p[3] << 8 | p[4];
		there -= TLS_RECORD_HEAD;
		if (h->need == 0 &&
		    !take_message_head(h, p + TLS_RECORD_HEAD, there < n ? there : n))
			return bad(h, TLS_ALERT_UNEXPECTED_MESSAGE, "the first message is not a ClientHello");
		if (h->need != 0 && h->need < MESSAGE_HEAD + BODY_MIN)
			return bad(h, TLS_ALERT_DECODE_ERROR, "the ClientHello is too short");
		if (h->need > TLS_HELLO_MAX)
			return bad(h, TLS_ALERT_DECODE_ERROR, "the ClientHello is longer than 64 KiB");
		if (h->need != 0 && h->have + n > h->need)
			return bad(h, TLS_ALERT_UNEXPECTED_MESSAGE, "bytes follow the ClientHello in its record");
		if (there < n)
			return TLS_HELLO_MORE;
		h->have += n;
		h->record_at += TLS_RECORD_HEAD + n;
		if (h->need != 0 && h->have == h->need)
			return read_message(h, buf);
	}
	return TLS_HELLO_MORE;
}

bool tls_hello_next_alpn(const struct tls_hello *h, size_t *pos, struct slice *ret)
{
	if (*pos >= h->alpn_len)
		return false;
	*ret = slice_of(h->alpn + *pos + 1, h->alpn[*pos]);
	*pos += 1 + ret->len;
	return true;
}

bool tls_hello_offers(const struct tls_hello *h, struct slice protocol)
{
	struct slice name;

	for (size_t pos = 0; tls_hello_next_alpn(h, &pos, &name);) {
		if (slice_equal(name, protocol))
			return true;
	}
	return false;
}

/* A method is upper case in all that is in use; a blank ends it. */
bool tls_hello_looks_like_http(const void *data, size_t len)
{
	const char *p = data;
	size_t n = 0;

	while (n < len && n < 20 && ((p[n] >= 'A' && p[n] <= 'Z') || p[n] == '-' || p[n] == '_'))
		n++;
	return n >= 3 && n < 20 && (n == len || p[n] == ' ');
}

void tls_alert_build(enum tls_alert alert, unsigned char ret[TLS_ALERT_SIZE])
{
	const unsigned char record[TLS_ALERT_SIZE] = { 21, 3, 3, 0, 2, 2, (unsigned char)alert };

	memcpy(ret, record, sizeof(record));
}

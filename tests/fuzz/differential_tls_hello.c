/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ClientHello parser against OpenSSL's, over hellos that are mutated and cut into
 * records at random.  Argument: how many (default 50,000); then a seed.
 *
 * OpenSSL calls back (SSL_CTX_set_client_hello_cb) when it has read a hello that it
 * takes for well formed; what server_name and ALPN held is compared byte for byte.
 * The two may differ only where a rule below says why:
 *
 *  D1  We refuse what RFC 8446, 4.2 forbids and OpenSSL passes over: an unknown
 *      extension that comes twice.
 *  D2  We refuse a server_name that does not hold exactly one well-formed host_name, and
 *      a malformed ALPN list; OpenSSL looks into extensions only after the callback.
 *  D3  We refuse odd or empty cipher suites, no compression methods, and a hello of SSL 3.0
 *      or another major version; OpenSSL does so after the callback.
 *  D4  We refuse bytes behind the hello in its record; OpenSSL does so after the callback.
 *  D5  OpenSSL reads a first record of SSLv2 form; to us that is OTHER.
 *  D6  We refuse pre_shared_key that is not last wherever it stands.
 *  D7  OpenSSL refuses extensions that its table knows for other messages or for DTLS alone
 *      (use_srtp, 14): "bad extension".  To a router they are extensions like others.
 */
#include <config.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/tls_hello.h"

enum { ROOM = 8192 };

struct seen {
	bool called;
	int reason; /* OpenSSL's, of its refusal */
	bool has_name, has_alpn;
	unsigned char name[ROOM], alpn[ROOM];
	size_t name_len, alpn_len;
};

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32) % n;
}

static int on_hello(SSL *ssl, int *alert, void *arg)
{
	struct seen *s = SSL_get_app_data(ssl);
	const unsigned char *p;

	(void)arg;
	s->called = true;
	s->has_name = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &s->name_len);
	if (s->has_name)
		memcpy(s->name, p, s->name_len);
	s->has_alpn = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation,
						&p, &s->alpn_len);
	if (s->has_alpn)
		memcpy(s->alpn, p, s->alpn_len);
	*alert = SSL_AD_INTERNAL_ERROR;
	return SSL_CLIENT_HELLO_ERROR;
}

static void ask_openssl(SSL_CTX *ctx, const unsigned char *buf, size_t len, struct seen *s)
{
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	s->called = false;
	BIO_write(in, buf, (int)len);
	SSL_set_bio(ssl, in, out);
	SSL_set_app_data(ssl, s);
	SSL_accept(ssl);
	s->reason = ERR_GET_REASON(ERR_peek_error());
	ERR_clear_error();
	SSL_free(ssl);
}

static size_t make_hello(const char *name, int version, unsigned char *buf)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;
	BIO *out = BIO_new(BIO_s_mem());
	int n;

	SSL_CTX_set_max_proto_version(ctx, version);
	ssl = SSL_new(ctx);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
	if (name) {
		SSL_set_tlsext_host_name(ssl, name);
		SSL_set_alpn_protos(ssl, (const unsigned char *)"\2h2\x08http/1.1", 12);
	}
	SSL_connect(ssl);
	n = BIO_read(out, buf, ROOM / 4);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return n > 5 ? (size_t)n : 0;
}

/* Where lengths and types lie most densely: the extensions, and the first bytes. */
static void mutate(unsigned char *buf, size_t *len)
{
	for (unsigned n = random_below(4); n > 0; n--) {
		size_t at = random_below(3) == 0 ? random_below(60) % *len : random_below((uint32_t)*len);

		switch (random_below(6)) {
		case 0:
			buf[at] ^= (unsigned char)(1u << random_below(8));
			break;
		case 1:
			buf[at] = (unsigned char)random_below(256);
			break;
		case 2:
			buf[at]++;
			break;
		case 3:
			buf[at]--;
			break;
		case 4:
			buf[at] = 0;
			break;
		default: {
			/* Copy a few bytes over others: repeated extensions come of it. */
			size_t from = random_below((uint32_t)*len), k = 1 + random_below(12);

			if (from + k <= *len && at + k <= *len)
				memmove(buf + at, buf + from, k);
		}
		}
	}
	if (random_below(20) == 0)
		*len -= random_below((uint32_t)*len / 4);
}

/* Cuts the first record's fragment anew; what is malformed already stays as it is. */
static size_t reframe(const unsigned char *from, size_t len, unsigned char *to)
{
	size_t at = 5, n = 0;

	if (len <= 5 || random_below(2) == 0) {
		memcpy(to, from, len);
		return len;
	}
	while (at < len) {
		size_t k = 1 + random_below(random_below(2) ? 20 : 400);

		k = k < len - at ? k : len - at;
		if (n + 5 + k > ROOM - 5)
			k = len - at;
		to[n] = from[0];
		to[n + 1] = from[1];
		to[n + 2] = from[2];
		to[n + 3] = (unsigned char)(k >> 8);
		to[n + 4] = (unsigned char)k;
		memcpy(to + n + 5, from + at, k);
		n += 5 + k;
		at += k;
	}
	return n;
}

/* Both took it: is what OpenSSL saw what we say?  NULL if so. */
static const char *compare(const struct tls_hello *h, enum tls_hello_result r, const struct seen *s)
{
	char name[HOST_NAME_SIZE];

	if (s->has_name != (r == TLS_HELLO_FOUND))
		return "only one sees a server name";
	if (s->has_name) {
		size_t n = s->name_len > 5 ? host_name_fold(slice_of(s->name + 5, s->name_len - 5), name) : 0;

		if (n != h->name_len || memcmp(name, h->name, n) != 0)
			return "the names differ";
	}
	if (s->has_alpn != h->has_alpn)
		return "only one sees ALPN";
	if (s->has_alpn && s->alpn_len - 2 <= TLS_HELLO_ALPN_SIZE &&
	    (h->alpn_len != s->alpn_len - 2 || memcmp(h->alpn, s->alpn + 2, h->alpn_len) != 0))
		return "the ALPN lists differ";
	return NULL;
}

/* We refuse what OpenSSL took: only the reasons of D1 to D6. */
static bool is_known_refusal(const char *why)
{
	static const char *const known[] = {
		"an extension comes twice",                           /* D1 */
		"server_name is too short",                           /* D2 */
		"server_name does not hold exactly one host_name",
		"the server name is longer than 255 bytes",
		"the server name is not a host name",
		"the ALPN list has a wrong length",
		"an ALPN name is empty or reaches past the list",
		"the cipher suites have a wrong length",              /* D3 */
		"there is no compression method",
		"the ClientHello's version is not TLS 1",
		"bytes follow the ClientHello in its record",         /* D4 */
		"pre_shared_key is not the last extension",           /* D6 */
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (why && strcmp(why, known[i]) == 0)
			return true;
	}
	return false;
}

static unsigned long counts[5], taken_by_us_alone, refused_by_us_alone, agreed;

static const char *check(SSL_CTX *ctx, const unsigned char *buf, size_t len)
{
	static struct tls_hello h;
	static struct seen s;
	enum tls_hello_result r;
	bool ours;

	tls_hello_init(&h);
	r = tls_hello_parse(&h, buf, len);
	counts[r]++;
	ask_openssl(ctx, buf, len, &s);
	ours = r == TLS_HELLO_FOUND || r == TLS_HELLO_NONE;
	if (ours && s.called) {
		agreed++;
		return compare(&h, r, &s);
	}
	if (!ours && !s.called) {
		agreed++;
		return NULL;
	}
	if (s.called) {
		refused_by_us_alone++;
		if (r == TLS_HELLO_OTHER && (buf[0] & 0x80))
			return NULL; /* D5 */
		if (r == TLS_HELLO_MORE)
			return "OpenSSL has a whole hello where we wait for more";
		return is_known_refusal(h.why) ? NULL : h.why;
	}
	taken_by_us_alone++;
	if (s.reason == SSL_R_BAD_EXTENSION)
		return NULL; /* D7 */
	return "OpenSSL refuses what we take";
}

int main(int argc, char **argv)
{
	static const char *const names[] = { NULL, "a.b", "Tee-K.Example.org", "x_1.example" };
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	static unsigned char golden[8][ROOM / 4], work[ROOM / 4], wire[ROOM];
	unsigned long total = argc > 1 ? strtoul(argv[1], NULL, 10) : 50000;
	size_t lens[8];
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	random_state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 0x9e3779b97f4a7c15u;
	SSL_CTX_set_client_hello_cb(ctx, on_hello, NULL);
	for (unsigned i = 0; i < 8; i++)
		lens[i] = make_hello(names[i / 2], versions[i % 2], golden[i]);
	printf("1..1\n");
	for (unsigned long i = 0; i < total; i++) {
		unsigned pick = random_below(8);
		size_t len = lens[pick];
		const char *fault;

		memcpy(work, golden[pick], len);
		mutate(work, &len);
		len = reframe(work, len, wire);
		fault = check(ctx, wire, len);
		if (fault) {
			printf("# hello %lu: %s\n# ", i, fault);
			for (size_t k = 0; k < len; k++)
				printf("%02x", wire[k]);
			printf("\nnot ok 1 - the parser and OpenSSL differ without a rule\n");
			return 1;
		}
	}
	printf("# %lu hellos: %lu agreed, %lu refused by us alone, %lu taken by us alone\n", total, agreed,
	       refused_by_us_alone, taken_by_us_alone);
	printf("# more %lu, found %lu, none %lu, other %lu, bad %lu\n", counts[TLS_HELLO_MORE],
	       counts[TLS_HELLO_FOUND], counts[TLS_HELLO_NONE], counts[TLS_HELLO_OTHER], counts[TLS_HELLO_BAD]);
	printf("ok 1 - the parser and OpenSSL differ only by rule over %lu hellos\n", total);
	SSL_CTX_free(ctx);
	return 0;
}

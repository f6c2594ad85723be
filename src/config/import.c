/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed system's proxy-config.json as text of this language.
 *
 * Two forms: {domains{NAME:{cid}}, aws, ports, enclave_config}, and an older one
 * with "kms_key" in each domain.  Where the JSON gives no keys and the environment
 * none either, what comes out allows what the Go program allowed, and says so.
 * The one file that meets json-c.
 */
#include <config.h>

#include <inttypes.h>
#include <json.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "config/diagnostics.h"
#include "config/load.h"
#include "config/model.h"
#include "config/quote.h"
#include "config/values.h"

enum { DOMAINS_MAX = 1000, STRING_MAX = 2048 };

struct domain {
	const char *name;	/* the host name */
	const char *enclave;	/* what the enclave is called here */
	const char *key;	/* an ARN or ${VARIABLE}, or NULL */
	uint32_t cid;
	bool repeats;		/* another domain of the same enclave came before */
};

struct importer {
	const struct config_reader *reader;
	struct arena *arena;
	struct diagnostics *diags;
	const struct source *source;
	struct domain *domains;
	size_t n_domains;
	const char *region, *bucket, *tee_k_domain, *tee_t_domain, *tee_t_address;
	uint32_t http, https, kms, internet, cloudwatch;
};

/* --- faults: json-c keeps no places, so the key is looked for along its path --------------- */

static struct span span_at(const struct source *src, size_t first, size_t len)
{
	struct span s = { .source = src, .first = (unsigned)first, .end = (unsigned)(first + len), .line = 1, .column = 1 };

	for (size_t i = 0; i < first; i++) {
		s.column = src->text[i] == '\n' ? 1 : s.column + 1;
		s.line += src->text[i] == '\n';
	}
	return s;
}

/* The last key of a path such as domains."a.example".cid, or the start of the text. */
static struct span find_path(const struct importer *im, const char *const *path, size_t n)
{
	const char *at = im->source->text, *hit;
	struct span s = span_at(im->source, 0, 1);

	for (size_t i = 0; i < n; i++) {
		hit = strstr(at, arena_printf(im->arena, "\"%s\"", path[i]));
		if (!hit)
			return s;
		s = span_at(im->source, (size_t)(hit - im->source->text), strlen(path[i]) + 2);
		at = hit + strlen(path[i]) + 2;
	}
	return s;
}

static const char *path_text(const struct importer *im, const char *const *path, size_t n)
{
	const char *text = "";

	for (size_t i = 0; i < n; i++)
		text = arena_printf(im->arena, strchr(path[i], '.') ? "%s[\"%s\"]" : i ? "%s.%s" : "%s%s", text, path[i]);
	return text;
}

static void fault(struct importer *im, const char *const *path, size_t n, const char *code, const char *what)
{
	diag_error(im->diags, code, find_path(im, path, n), "%s: %s", path_text(im, path, n), what);
}

/* Every key of object must be known; false where it is no object. */
static bool check_keys(struct importer *im, struct json_object *object, const char **path, size_t n,
		       const char *const *known, size_t n_known)
{
	if (!json_object_is_type(object, json_type_object)) {
		fault(im, path, n, "json-type", "expected an object");
		return false;
	}
	json_object_object_foreach(object, key, value) {
		struct suggestion near;
		size_t i;

		(void)value;
		for (i = 0; i < n_known && strcmp(known[i], key) != 0; i++)
			;
		if (i < n_known)
			continue;
		suggest_init(&near, key);
		for (i = 0; i < n_known; i++)
			suggest_consider(&near, known[i]);
		path[n] = key;
		fault(im, path, n + 1, "json-unknown-key",
		      suggest_result(&near) ?
			      arena_printf(im->arena, "unknown key; did you mean \"%s\"?", suggest_result(&near)) :
			      "unknown key");
	}
	return true;
}

static const char *get_string(struct importer *im, struct json_object *object, const char **path, size_t n,
			      const char *key)
{
	struct json_object *value;
	const char *s;

	if (!json_object_object_get_ex(object, key, &value))
		return NULL;
	path[n] = key;
	if (!json_object_is_type(value, json_type_string)) {
		fault(im, path, n + 1, "json-type", "expected a string");
		return NULL;
	}
	s = json_object_get_string(value);
	if (strlen(s) != (size_t)json_object_get_string_len(value) || strchr(s, '\r')) {
		fault(im, path, n + 1, "json-type", "a string with a NUL byte or a carriage return in it");
		return NULL;
	}
	if (strlen(s) > STRING_MAX) {
		fault(im, path, n + 1, "json-range", "a string longer than 2048 bytes");
		return NULL;
	}
	return *s ? arena_strdup(im->arena, s) : NULL;
}

static uint32_t get_number(struct importer *im, struct json_object *object, const char **path, size_t n,
			   const char *key, int64_t min, int64_t max)
{
	struct json_object *value;
	int64_t v;

	if (!json_object_object_get_ex(object, key, &value))
		return 0;
	path[n] = key;
	v = json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : -1;
	if (v < min || v > max) {
		fault(im, path, n + 1, "json-range",
		      arena_printf(im->arena, "expected a number between %" PRId64 " and %" PRId64, min, max));
		return 0;
	}
	return (uint32_t)v;
}

/* A string of the JSON as a word of the language, for what judges words; faults show path. */
static struct ast_word word_of(struct importer *im, const char *const *path, size_t n, const char *value)
{
	return (struct ast_word){ .span = find_path(im, path, n), .quote = QUOTE_SINGLE, .text = value,
				  .value = value, .value_len = strlen(value) };
}

/* The model that such functions want: no more than where texts and faults go. */
static struct model model_of(struct importer *im)
{
	return (struct model){ .arena = im->arena, .out = im->arena, .diags = im->diags };
}

/* The Go program compared names byte by byte: a pattern is none. */
static bool check_domain(struct importer *im, const char *const *path, size_t n, const char *name)
{
	struct ast_word w = word_of(im, path, n, name);
	struct model m = model_of(im);
	struct route_pattern pattern;

	if (strchr(name, '*') || *name == '.') {
		fault(im, path, n, "bad-name", "expected a host name");
		return false;
	}
	return value_pattern(&m, &w, false, &pattern);
}

static bool check_key(struct importer *im, const char *const *path, size_t n, const char *key)
{
	struct ast_word w = word_of(im, path, n, key);
	struct model m = model_of(im);
	struct config_kms_key k;

	return value_kms_key(&m, &w, &k);
}

/* --- reading ------------------------------------------------------------------------------- */

static bool is_tee_t(const char *name)
{
	for (; *name; name++)
		if (strncasecmp(name, "tee-t", 5) == 0)
			return true;
	return false;
}

/* The first label of its name, where that is free and a name; one enclave for each CID. */
static void name_enclave(struct importer *im, struct domain *d)
{
	size_t len = strcspn(d->name, ".");
	const char *name = arena_copy_slice(im->arena, slice_of(d->name, len));
	bool good = len > 0 && (ascii_lower(*name) >= 'a' && ascii_lower(*name) <= 'z') && !quote_is_reserved(name) &&
		    strncmp(name, "enclave-", 8) != 0; /* what those without a good name are called */

	for (const struct domain *o = im->domains; o < d; o++) {
		if (o->cid == d->cid) {
			d->enclave = o->enclave;
			d->repeats = true;
			return;
		}
		good &= strcmp(o->enclave, name) != 0;
	}
	for (size_t i = 0; i < len; i++)
		good &= strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", ascii_lower(name[i])) != NULL;
	d->enclave = good ? name : arena_printf(im->arena, "enclave-%" PRIu32, d->cid);
}

static void read_domains(struct importer *im, struct json_object *domains)
{
	static const char *const known[] = { "cid", "kms_key" };
	const char *path[4] = { "domains" };

	if (!json_object_is_type(domains, json_type_object)) {
		fault(im, path, 1, "json-type", "expected an object");
		return;
	}
	im->domains = arena_calloc(im->arena, (size_t)json_object_object_length(domains) + 1, sizeof(*im->domains));
	json_object_object_foreach(domains, name, value) {
		struct domain *d = &im->domains[im->n_domains];
		const char *variable = is_tee_t(name) ? "TEE_T_KMS_KEY" : "TEE_K_KMS_KEY", *set;

		path[1] = name;
		if (im->n_domains == DOMAINS_MAX) {
			fault(im, path, 2, "json-range", "more than 1000 domains");
			return;
		}
		if (!check_domain(im, path, 2, name) || !check_keys(im, value, path, 2, known, 2))
			continue;
		d->name = arena_strdup(im->arena, name);
		if (!json_object_object_get_ex(value, "cid", NULL)) {
			fault(im, path, 2, "json-missing-key", "the key \"cid\" is missing");
			continue;
		}
		d->cid = get_number(im, value, path, 2, "cid", 3, 4294967294);
		d->key = get_string(im, value, path, 2, "kms_key");
		if (d->key && !check_key(im, path, 3, d->key))
			continue;
		set = im->reader->getenv(im->reader->data, variable);
		if (!d->key && set && *set)
			d->key = arena_printf(im->arena, "${%s}", variable);
		name_enclave(im, d);
		im->n_domains++;
	}
}

/* The host of "wss://DOMAIN": a path cut off, and :443 put behind it where it has no port. */
static const char *tee_t_address(struct importer *im, const char *domain)
{
	size_t len = strcspn(domain, "/");
	const char *host = arena_copy_slice(im->arena, slice_of(domain, len));
	const char *colon = strrchr(host, ':');
	bool port = colon && !strchr(colon, ']');
	struct slice bare = slice_of(host, port ? (size_t)(colon - host) : len);
	struct ip_addr ip;

	return arena_printf(im->arena, "%s%s%s", *host == '[' || ip_parse(bare, &ip) ? "" : "tcp:", host,
			    port ? "" : ":443");
}

static void check_tee_t_address(struct importer *im, const char *const *path, size_t n)
{
	struct ast_word w = word_of(im, path, n, im->tee_t_address);
	struct model m = model_of(im);
	struct address a;

	value_address(&m, &w, ADDRESS_TO_DIAL, &a);
}

/* Two listeners on one port, given or the Go program's own. */
static void check_ports(struct importer *im)
{
	const struct {
		const char *name;
		uint32_t port;
		bool tcp;
	} all[] = {
		{ "http", im->http ? im->http : 80, true },
		{ "https", im->https ? im->https : 443, true },
		{ "kms", im->kms ? im->kms : 5000, false },
		{ "internet", im->internet ? im->internet : 8444, false },
		{ "cloudwatch", im->cloudwatch ? im->cloudwatch : 5001, false },
		{ "enclave_config", im->tee_t_domain ? 5555 : 0, false },
	};
	const char *path[] = { "ports", NULL };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		for (size_t k = i + 1; k < sizeof(all) / sizeof(all[0]); k++) {
			if (all[i].port != all[k].port || all[i].tcp != all[k].tcp)
				continue;
			path[1] = all[i].name;
			fault(im, path, 2, "duplicate-listen",
			      arena_printf(im->arena, "port %" PRIu32 " is that of %s too", all[i].port, all[k].name));
		}
	}
}

static void read_rest(struct importer *im, struct json_object *root)
{
	static const char *const aws_keys[] = { "region", "s3_cache_bucket" };
	static const char *const port_keys[] = { "http", "https", "kms", "internet", "cloudwatch" };
	static const char *const enclave_keys[] = { "tee_k_domain", "tee_t_domain" };
	uint32_t *const ports[] = { &im->http, &im->https, &im->kms, &im->internet, &im->cloudwatch };
	struct json_object *o;
	const char *path[3];

	path[0] = "aws";
	if (json_object_object_get_ex(root, "aws", &o) && check_keys(im, o, path, 1, aws_keys, 2)) {
		im->region = get_string(im, o, path, 1, "region");
		im->bucket = get_string(im, o, path, 1, "s3_cache_bucket");
	}
	path[0] = "ports";
	if (json_object_object_get_ex(root, "ports", &o) && check_keys(im, o, path, 1, port_keys, 5))
		for (size_t i = 0; i < 5; i++)
			*ports[i] = get_number(im, o, path, 1, port_keys[i], 1, i < 2 ? 65535 : UINT32_MAX - 1);
	path[0] = "enclave_config";
	if (json_object_object_get_ex(root, "enclave_config", &o) && check_keys(im, o, path, 1, enclave_keys, 2)) {
		im->tee_k_domain = get_string(im, o, path, 1, "tee_k_domain");
		im->tee_t_domain = get_string(im, o, path, 1, "tee_t_domain");
		if (im->tee_t_domain) {
			im->tee_t_address = tee_t_address(im, im->tee_t_domain);
			check_tee_t_address(im, path, 2);
		}
	}
	check_ports(im);
}

/* --- writing ------------------------------------------------------------------------------- */

static void write_head(const struct importer *im, struct buffer *out)
{
	buffer_add_string(out, "# Written by teeproxy --import.\n\n");
	for (size_t i = 0; i < im->n_domains; i++)
		if (!im->domains[i].repeats)
			buffer_printf(out, "enclave %s cid %" PRIu32 "\n", im->domains[i].enclave, im->domains[i].cid);
	if (im->region) {
		buffer_add_string(out, "\naws region ");
		quote_word(out, im->region, false);
		buffer_add_char(out, '\n');
	}
}

static void write_names(const struct importer *im, const char *mode, const char *match, uint32_t port,
			unsigned to, struct buffer *out)
{
	buffer_printf(out, "\nfrontend %s {\n", mode);
	if (port)
		buffer_printf(out, "\tlisten *:%" PRIu32 "\n", port);
	for (size_t i = 0; i < im->n_domains; i++) {
		buffer_printf(out, "\t%s ", match);
		quote_word(out, im->domains[i].name, false);
		buffer_printf(out, " -> vsock:%s:%u\n", im->domains[i].enclave, to);
	}
	buffer_add_string(out, "}\n");
}

static void write_kms(const struct importer *im, struct buffer *out)
{
	bool told = false;

	buffer_add_string(out, "\nfrontend kms {\n");
	if (im->kms)
		buffer_printf(out, "\tlisten vsock:*:%" PRIu32 "\n", im->kms);
	if (im->bucket) {
		buffer_add_string(out, "\tstore s3 ");
		quote_word(out, im->bucket, false);
		buffer_add_char(out, '\n');
	}
	for (size_t i = 0; i < im->n_domains; i++) {
		const struct domain *d = &im->domains[i];

		if (d->repeats)
			continue;
		if (!d->key && !told) {
			buffer_add_string(out, "\t# No key was given: like the Go program, this allows every one.\n");
			told = true;
		}
		buffer_printf(out, "\tfrom %s -> key ", d->enclave);
		if (!d->key)
			buffer_add_string(out, "any service any\n");
		else if (d->key[0] == '$')
			buffer_printf(out, "%s service %s\n", d->key, is_tee_t(d->name) ? "tee_t" : "tee_k");
		else {
			quote_word(out, d->key, false);
			buffer_printf(out, " service %s\n", is_tee_t(d->name) ? "tee_t" : "tee_k");
		}
	}
	buffer_add_string(out, "}\n");
}

static void write_egress(const struct importer *im, struct buffer *out)
{
	bool keys = false;

	buffer_add_string(out, "\nfrontend egress {\n");
	if (im->internet)
		buffer_printf(out, "\tlisten vsock:*:%" PRIu32 "\n", im->internet);
	for (size_t i = 0; i < im->n_domains; i++)
		keys |= im->domains[i].key != NULL;
	if (!keys)
		buffer_add_string(out, "\taddress-policy off\n");
	for (size_t i = 0; i < im->n_domains; i++) {
		const struct domain *d = &im->domains[i];

		if (is_tee_t(d->name) && !im->tee_t_domain)
			continue;
		if (is_tee_t(d->name)) {
			buffer_printf(out, "\tfrom any to '%s:*' -> ", d->name);
			quote_word(out, im->tee_t_address, false);
			buffer_add_char(out, '\n');
			continue;
		}
		buffer_printf(out, "\tfrom any to '%s:443' -> vsock:%s:8443\n", d->name, d->enclave);
		buffer_printf(out, "\tfrom any to '%s:80' -> vsock:%s:8080\n", d->name, d->enclave);
		buffer_printf(out, "\tfrom any to '%s:*' -> reject\n", d->name);
	}
	buffer_add_string(out, "\tfrom any to *:* -> direct\n}\n");
}

static void write_rest(const struct importer *im, struct buffer *out)
{
	struct buffer json = BUFFER_INIT;

	if (im->tee_t_domain) {
		buffer_add_string(&json, "{\"tee_k_domain\":");
		json_put_string(&json, im->tee_k_domain ? im->tee_k_domain : "");
		buffer_add_string(&json, ",\"tee_t_domain\":");
		json_put_string(&json, im->tee_t_domain);
		buffer_add_char(&json, '}');
		buffer_add_string(out, "\nfrontend config default -> text ");
		quote_word(out, json.ptr, true);
		buffer_add_char(out, '\n');
		buffer_fini(&json);
	}
	buffer_add_string(out, "\nfrontend logs {\n");
	if (im->cloudwatch)
		buffer_printf(out, "\tlisten vsock:*:%" PRIu32 "\n", im->cloudwatch);
	buffer_add_string(out, "\tdefault -> cloudwatch ${CLOUDWATCH_LOG_GROUP:-/aws/nitro-enclaves/tee-k}\n}\n");
}

bool config_import(const struct config_reader *reader, const char *name, struct slice json,
		   struct arena *tree, struct diagnostics *diags, struct buffer *out)
{
	static const char *const known[] = { "domains", "aws", "ports", "enclave_config" };
	struct source *source = arena_alloc(tree, sizeof(*source));
	struct importer im = { .reader = reader, .arena = tree, .diags = diags, .source = source };
	struct json_tokener *tokener = json_tokener_new_ex(16);
	unsigned before = diags->n_errors;
	struct json_object *root = NULL, *domains;
	const char *path[4];

	source->name = arena_strdup(tree, name);
	source->text = arena_copy_slice(tree, json);
	source->len = json.len;
	if (tokener && json.len < INT_MAX) {
		json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
		root = json_tokener_parse_ex(tokener, source->text, (int)json.len + 1);
	}
	if (!root || !json_object_is_type(root, json_type_object)) {
		size_t at = tokener ? json_tokener_get_parse_end(tokener) : 0;

		diag_error(diags, "json-syntax", span_at(source, at < json.len ? at : json.len, 1), "%s",
			   tokener && json_tokener_get_error(tokener) != json_tokener_success ?
				   json_tokener_error_desc(json_tokener_get_error(tokener)) :
				   "expected an object");
	} else if (check_keys(&im, root, path, 0, known, 4)) {
		if (json_object_object_get_ex(root, "domains", &domains))
			read_domains(&im, domains);
		else
			diag_error(diags, "json-missing-key", span_at(source, 0, 1), "the key \"domains\" is missing");
		read_rest(&im, root);
	}
	if (tokener)
		json_tokener_free(tokener);
	if (diags->n_errors == before) {
		write_head(&im, out);
		write_names(&im, "http", "host", im.http, 8080, out);
		write_names(&im, "https", "sni", im.https, 8443, out);
		write_kms(&im, out);
		write_egress(&im, out);
		write_rest(&im, out);
	}
	json_object_put(root);
	return diags->n_errors == before;
}

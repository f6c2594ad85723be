/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "config/keywords.h"

#include <string.h>

#include "config/config.h"
#include "config/model.h"

#define DAY_MS (24u * 3600u * 1000u)
#define HOUR_MS (3600u * 1000u)
#define BIT(mode) (1u << MODE_##mode)
#define GLOBAL(field) offsetof(struct config_global, field)
#define AWS(field) offsetof(struct config_aws, field)
#define RESOLVER(field) offsetof(struct config_resolver, field)
#define ENCLAVE(field) offsetof(struct config_enclave, field)
#define BACKEND(field) offsetof(struct config_backend, field)
#define FRONTEND(field) offsetof(struct config_frontend, field)
#define DEFAULTS(field) offsetof(struct model_defaults, field)

/* The seven timeouts, as frontends and defaults have them. */
#define TIMEOUTS(section_, base)                                                                   \
	{ section_, "timeout hello", TYPE_DURATION, 0, 1, HOUR_MS, true, false, NULL, "by mode",   \
	  base(timeouts.hello_ms), "the whole first message of a client, not each byte of it" },  \
	{ section_, "timeout connect", TYPE_DURATION, 0, 1, HOUR_MS, true, false, NULL, "by mode", \
	  base(timeouts.connect_ms), "reaching the other side, every address tried included" },   \
	{ section_, "timeout idle", TYPE_DURATION, 0, 1, 30u * DAY_MS, true, false, NULL, "by mode", \
	  base(timeouts.idle_ms), "no byte in either direction" },                                 \
	{ section_, "timeout stalled", TYPE_DURATION, 0, 1, 30u * DAY_MS, true, false, NULL,       \
	  "by mode", base(timeouts.stalled_ms), "a peer that takes none of the bytes we have for it" }, \
	{ section_, "timeout half-closed", TYPE_DURATION, 0, 1, 30u * DAY_MS, true, false, NULL,   \
	  "by mode", base(timeouts.half_closed_ms), "one side has ended and the other says nothing" }, \
	{ section_, "timeout lifetime", TYPE_DURATION, 0, 1, 30u * DAY_MS, true, false, NULL,      \
	  "by mode", base(timeouts.lifetime_ms), "the whole connection" },                         \
	{ section_, "timeout request", TYPE_DURATION, 0, 1, HOUR_MS, false, false, NULL, "by mode", \
	  base(timeouts.request_ms), "one call to AWS, retries included" },                        \
	{ section_, "buffer", TYPE_SIZE, 0, 4096, 1u << 20, false, false, NULL, "16k",             \
	  base(buffer_size), "the most bytes held for each direction of a connection" }

const struct keyword keywords[] = {
	{ SECTION_GLOBAL, "workers", TYPE_WORKERS, 0, 1, 256, false, false, NULL, "auto",
	  GLOBAL(workers), "threads that carry traffic; auto is one for each CPU" },
	{ SECTION_GLOBAL, "user", TYPE_STRING, 0, 0, 0, false, false, NULL, NULL, GLOBAL(user),
	  "whom the engine becomes when started as root" },
	{ SECTION_GLOBAL, "group", TYPE_STRING, 0, 0, 0, false, false, NULL, "the user's",
	  GLOBAL(group), "the engine's group" },
	{ SECTION_GLOBAL, "max-connections", TYPE_NUMBER, 0, 1, 10000000, false, false, NULL,
	  "half of the descriptors less 100", GLOBAL(max_connections),
	  "connections at one time, all frontends together" },
	{ SECTION_GLOBAL, "pid-file", TYPE_STRING, 0, 0, 0, false, false, NULL, NULL,
	  GLOBAL(pid_file), "where the master writes its process id" },
	{ SECTION_GLOBAL, "grace", TYPE_DURATION, 0, 1, DAY_MS, false, false, NULL, "30s",
	  GLOBAL(grace_ms), "how long a stop or a reload waits for connections to end" },
	{ SECTION_GLOBAL, "sandbox", TYPE_ON_OFF, 0, 0, 0, false, false, NULL, "on",
	  GLOBAL(sandbox), "Landlock and seccomp around the engine" },
	{ SECTION_GLOBAL, "log", TYPE_OTHER, 0, 0, 0, false, false, NULL, "stderr level info format logfmt",
	  0, "stderr|none|file PATH|syslog ADDRESS|journal [level L] [format logfmt|json|text]" },
	{ SECTION_GLOBAL, "admin", TYPE_OTHER, 0, 0, 0, false, false, NULL, NULL, 0,
	  "unix:PATH [mode 0660]: where teeproxyctl connects" },

	TIMEOUTS(SECTION_DEFAULTS, DEFAULTS),

	{ SECTION_AWS, "region", TYPE_STRING, 0, 0, 0, false, false, NULL,
	  "the environment's, the profile's or the instance's", AWS(region),
	  "for keys that are not named by ARN" },
	{ SECTION_AWS, "credentials", TYPE_OTHER, 0, 0, 0, false, false, NULL, "auto", 0,
	  "auto|env|profile NAME|imds|container|web-identity" },
	{ SECTION_AWS, "endpoint", TYPE_OTHER, 0, 0, 0, false, true, NULL, NULL, 0,
	  "kms|s3|sts|logs|imds URL: another endpoint for a service" },
	{ SECTION_AWS, "ca-file", TYPE_STRING, 0, 0, 0, false, false, NULL, "the system's",
	  AWS(ca_file), "certificates that AWS endpoints are verified against" },
	{ SECTION_AWS, "use-fips", TYPE_ON_OFF, 0, 0, 0, false, false, NULL, "off", AWS(use_fips),
	  "FIPS endpoints" },
	{ SECTION_AWS, "use-dualstack", TYPE_ON_OFF, 0, 0, 0, false, false, NULL, "off",
	  AWS(use_dualstack), "endpoints that IPv6 reaches too" },
	{ SECTION_AWS, "max-requests", TYPE_NUMBER, 0, 1, 100000, false, false, NULL, "256",
	  AWS(max_requests), "calls to AWS under way, all enclaves together" },

	{ SECTION_RESOLVER, "server", TYPE_OTHER, 0, 0, 0, false, true, NULL,
	  "those of /etc/resolv.conf", 0, "ADDRESS...: name servers; port 53 unless said" },
	{ SECTION_RESOLVER, "hosts", TYPE_STRING, 0, 0, 0, false, false, NULL, "/etc/hosts",
	  RESOLVER(hosts), "names that are answered from a file" },
	{ SECTION_RESOLVER, "stale", TYPE_DURATION, 0, 1, DAY_MS, true, false, NULL, "1m",
	  RESOLVER(stale_ms), "how long an expired answer serves while the servers are silent" },

	{ SECTION_ENCLAVE, "cid", TYPE_NUMBER, 0, 0, UINT32_MAX, false, false, NULL, NULL,
	  ENCLAVE(cid), "its context identifier, by which the kernel vouches for it" },
	{ SECTION_ENCLAVE, "max-connections", TYPE_NUMBER, 0, 1, 10000000, false, false, NULL,
	  "no limit", ENCLAVE(max_connections), "connections from it at one time" },
	{ SECTION_ENCLAVE, "rate", TYPE_RATE, 0, 1, 1000000, false, false, NULL, "no limit",
	  ENCLAVE(rate), "R burst N: new connections from it" },
	{ SECTION_ENCLAVE, "bandwidth", TYPE_BANDWIDTH, 0, 1024, 1ull << 40, false, false, NULL,
	  "no limit", ENCLAVE(bandwidth), "bytes a second in each direction of its egress" },
	{ SECTION_ENCLAVE, "max-lookups", TYPE_NUMBER, 0, 1, 100000, false, false, NULL, "256",
	  ENCLAVE(max_lookups), "names being looked up for it" },

	{ SECTION_BACKEND, "server", TYPE_OTHER, 0, 0, 0, false, true, NULL, NULL, 0,
	  "ADDRESS [weight N] [backup] [max-connections N]" },
	{ SECTION_BACKEND, "balance", TYPE_CHOICE, 0, 0, 0, false, false,
	  "round-robin least-connections source", "round-robin", BACKEND(balance),
	  "how a server is chosen" },
	{ SECTION_BACKEND, "check", TYPE_OTHER, 0, 0, 0, false, false, NULL, "none", 0,
	  "tcp|tls|http PATH [every D] [rise N] [fall N]" },
	{ SECTION_BACKEND, "send-proxy", TYPE_CHOICE, 0, 0, 0, false, false, "none v1 v2", "none",
	  BACKEND(send_proxy), "the PROXY header sent ahead of a connection" },
	{ SECTION_BACKEND, "connect-retries", TYPE_NUMBER, 0, 0, 100, false, false, NULL, "1",
	  BACKEND(connect_retries), "further tries, each at the next server" },
	{ SECTION_BACKEND, "timeout connect", TYPE_DURATION, 0, 1, HOUR_MS, true, false, NULL,
	  "the frontend's", BACKEND(connect_ms), "reaching a server" },
	{ SECTION_BACKEND, "timeout idle", TYPE_DURATION, 0, 1, 30u * DAY_MS, true, false, NULL,
	  "the frontend's", BACKEND(idle_ms), "no byte in either direction" },

	{ SECTION_FRONTEND, "listen", TYPE_OTHER, 0, 0, 0, false, true, NULL, "by mode", 0,
	  "ADDRESS [accept-proxy from CIDR...] [as ENCLAVE] [mode 0660]" },
	{ SECTION_FRONTEND, "max-connections", TYPE_NUMBER, 0, 1, 10000000, false, false, NULL,
	  "no limit", FRONTEND(max_connections), "connections of this frontend at one time" },
	{ SECTION_FRONTEND, "rate per-source", TYPE_RATE, 0, 1, 1000000, false, false, NULL,
	  "no limit", FRONTEND(rate_per_source), "R burst N: new connections from one address" },
	{ SECTION_FRONTEND, "allow-from", TYPE_CIDRS, 0, 0, 0, false, false, NULL, "everybody",
	  FRONTEND(allow_from), "CIDR...: who may connect" },
	{ SECTION_FRONTEND, "deny-from", TYPE_CIDRS, 0, 0, 0, false, false, NULL, "nobody",
	  FRONTEND(deny_from), "CIDR...: who may not; wins over allow-from" },
	{ SECTION_FRONTEND, "log", TYPE_ON_OFF, 0, 0, 0, false, false, NULL, "on", FRONTEND(log),
	  "one line for each connection or request" },
	TIMEOUTS(SECTION_FRONTEND, FRONTEND),
	{ SECTION_FRONTEND, "forwarded", TYPE_ON_OFF, BIT(HTTP), 0, 0, false, false, NULL, "on",
	  FRONTEND(forwarded), "sets X-Forwarded-For, -Proto and -Host" },
	{ SECTION_FRONTEND, "protocol", TYPE_CHOICE, BIT(EGRESS), 0, 0, false, false,
	  "auto line connect socks5", "auto", FRONTEND(protocol), "how enclaves ask" },
	{ SECTION_FRONTEND, "address-policy", TYPE_ON_OFF, BIT(EGRESS), 0, 0, false, false, NULL,
	  "on", FRONTEND(address_policy), "refuses addresses that are not of the public internet" },
	{ SECTION_FRONTEND, "require", TYPE_OTHER, BIT(KMS), 0, 0, false, false, NULL, NULL, 0,
	  "recipient: refuses requests without an attestation document" },
	{ SECTION_FRONTEND, "request-size", TYPE_SIZE, BIT(KMS), 1024, 16u << 20, false, false,
	  NULL, "1m", FRONTEND(request_size), "the largest request" },
	{ SECTION_FRONTEND, "max-requests", TYPE_NUMBER, BIT(KMS), 1, 100000, false, false, NULL,
	  "64", FRONTEND(max_requests), "calls under way for one enclave" },
	{ SECTION_FRONTEND, "store", TYPE_OTHER, BIT(KMS), 0, 0, false, false, NULL, NULL, 0,
	  "dir PATH|s3 BUCKET: where items are kept" },
	{ SECTION_FRONTEND, "host", TYPE_RULE, BIT(HTTP), 0, 0, false, true, NULL, NULL, 0,
	  "PATTERN: the request's host" },
	{ SECTION_FRONTEND, "path", TYPE_RULE, BIT(HTTP) | BIT(STATUS), 0, 0, false, true, NULL,
	  NULL, 0, "PREFIX: the request's path, by whole segments" },
	{ SECTION_FRONTEND, "sni", TYPE_RULE, BIT(HTTPS), 0, 0, false, true, NULL, NULL, 0,
	  "PATTERN|none: the name in the ClientHello" },
	{ SECTION_FRONTEND, "alpn", TYPE_RULE, BIT(HTTPS), 0, 0, false, true, NULL, NULL, 0,
	  "PROTOCOL: the client offers it" },
	{ SECTION_FRONTEND, "from", TYPE_RULE,
	  BIT(HTTP) | BIT(HTTPS) | BIT(TCP) | BIT(KMS) | BIT(EGRESS) | BIT(CONFIG) | BIT(LOGS), 0, 0,
	  false, true, NULL, NULL, 0, "CIDR|ENCLAVE|cid:N|any: who connects" },
	{ SECTION_FRONTEND, "to", TYPE_RULE, BIT(EGRESS), 0, 0, false, true, NULL, NULL, 0,
	  "PATTERN:PORTS|CIDR:PORTS|~'REGEX' port PORTS: where the enclave asks to go" },
	{ SECTION_FRONTEND, "default", TYPE_RULE, 0, 0, 0, false, false, NULL, "reject", 0,
	  "-> TARGET: the last rule, wherever it stands" },
};

const size_t n_keywords = sizeof(keywords) / sizeof(keywords[0]);
_Static_assert(sizeof(keywords) / sizeof(keywords[0]) <= KEYWORDS_MAX, "one bit of memory for each row");

static const struct {
	const char *name;
	enum keyword_section section;
} sections[] = {
	{ "global", SECTION_GLOBAL },	{ "defaults", SECTION_DEFAULTS }, { "aws", SECTION_AWS },
	{ "resolver", SECTION_RESOLVER }, { "enclave", SECTION_ENCLAVE },   { "backend", SECTION_BACKEND },
	{ "frontend", SECTION_FRONTEND }, { "define", SECTION_DEFINE },	    { "include", SECTION_INCLUDE },
};

const char *keyword_section_name(size_t i)
{
	return i < sizeof(sections) / sizeof(sections[0]) ? sections[i].name : NULL;
}

enum keyword_section keyword_find_section(const char *word)
{
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		if (strcmp(sections[i].name, word) == 0)
			return sections[i].section;
	}
	return SECTION_NONE;
}

const struct keyword *keyword_find(enum keyword_section section, const char *first,
				   const char *second, unsigned *ret_words)
{
	size_t len = strlen(first);

	for (size_t i = 0; i < n_keywords; i++) {
		const struct keyword *k = &keywords[i];

		if (k->section != section || strncmp(k->name, first, len) != 0)
			continue;
		if (k->name[len] == '\0') {
			*ret_words = 1;
			return k;
		}
		if (k->name[len] == ' ' && second && strcmp(k->name + len + 1, second) == 0) {
			*ret_words = 2;
			return k;
		}
	}
	return NULL;
}

const char *keyword_modes(void)
{
	return "http, https, tcp, kms, egress, config, logs or status";
}

const char *keyword_alias(const char *word)
{
	static const struct {
		const char *theirs, *ours;
	} aliases[] = {
		{ "bind", "use \"listen\"" },
		{ "maxconn", "use \"max-connections\"" },
		{ "worker_processes", "use \"workers\" in \"global\"" },
		{ "nbthread", "use \"workers\" in \"global\"" },
		{ "proxy_pass", "write a rule: MATCH -> ADDRESS" },
		{ "server_name", "write a rule: sni NAME -> ADDRESS or host NAME -> ADDRESS" },
		{ "use_backend", "write a rule: MATCH -> backend NAME" },
		{ "default_backend", "write a rule: default -> backend NAME" },
		{ "upstream", "use \"backend\"" },
		{ "acl", "write the conditions in the rule itself: sni NAME from CIDR -> TARGET" },
		{ "listener", "use \"frontend\" with \"listen\"" },
		{ "server", "servers stand in a \"backend\"" },
		{ "http", "use \"frontend http { ... }\"" },
		{ "stream", "use \"frontend\"" },
		{ "option", "teeproxy has no options word; each setting has a name of its own" },
		{ "ssl_preread", "the https mode reads the SNI by itself" },
		{ "tcp-request", "use \"allow-from\", \"deny-from\" or \"rate per-source\"" },
		{ "access_log", "use \"log\" in \"global\"" },
		{ "error_log", "use \"log\" in \"global\"" },
		{ "set", "use \"define NAME = VALUE\"" },
	};

	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (strcmp(aliases[i].theirs, word) == 0)
			return aliases[i].ours;
	}
	return NULL;
}

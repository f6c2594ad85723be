/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as the engine runs it: checked, complete, const.
 *
 * config_lower() makes it from a checked tree; it can no longer be wrong.  All of
 * it lives in one arena and is freed whole.  Times are milliseconds, 0 is "off";
 * sizes are bytes; counts of 0 are "no limit" unless said.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/slice.h"
#include "config/address.h"
#include "route/rules.h"

struct arena;
struct route_policy; /* route/policy.h: the egress rules as tables */

enum config_mode {
	MODE_HTTP,
	MODE_HTTPS,
	MODE_TCP,
	MODE_KMS,
	MODE_EGRESS,
	MODE_CONFIG,
	MODE_LOGS,
	MODE_STATUS,
	MODE_COUNT
};

/* Where a thing was written; file is shown as the user named it. */
struct config_place {
	const char *file;
	unsigned line, column;
};

struct config_timeouts {
	uint32_t hello_ms, connect_ms, idle_ms, stalled_ms, half_closed_ms, lifetime_ms, request_ms;
};

/* R per period_ms, burst at once.  rate 0: none. */
struct config_rate {
	uint32_t rate, period_ms, burst;
};

struct config_enclave {
	const char *name;
	uint32_t cid;
	uint32_t max_connections;
	struct config_rate rate;
	uint64_t bandwidth;	/* bytes a second, each direction */
	uint32_t max_lookups;
	struct config_place place;
	unsigned number;	/* its index in config.enclaves */
};

enum config_balance { BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONNECTIONS, BALANCE_SOURCE };
enum config_check_kind { CHECK_NONE, CHECK_TCP, CHECK_TLS, CHECK_HTTP };

struct config_server {
	struct address address;
	uint32_t weight;	/* 1-256, default 1 */
	bool backup;
	uint32_t max_connections;
	struct config_place place;
	unsigned number;	/* process-wide: indexes shared counters */
};

struct config_backend {
	const char *name;
	const struct config_server *servers;
	size_t n_servers;
	enum config_balance balance;
	enum config_check_kind check;
	const char *check_path;
	uint32_t check_every_ms;
	unsigned check_rise, check_fall;
	unsigned send_proxy;	/* 0, 1 or 2 */
	unsigned connect_retries;
	uint32_t connect_ms;	/* overrides the frontend's; UINT32_MAX: not said here */
	uint32_t idle_ms;	/* the same */
	struct config_place place;
	unsigned number;
};

enum config_target_kind {
	TARGET_ADDRESS,
	TARGET_BACKEND,
	TARGET_DIRECT,		/* egress: connect where the enclave asked */
	TARGET_VIA,		/* egress: through the HTTP proxy at address */
	TARGET_KEY,		/* kms */
	TARGET_REDIRECT_HTTPS,	/* http: 308 */
	TARGET_REJECT,
	TARGET_DROP,
	TARGET_TEXT,		/* config */
	TARGET_CLOUDWATCH,	/* logs */
	TARGET_FILE,		/* logs */
	TARGET_PAGES,		/* status */
};

/* KMS operations, as bits. */
enum {
	KMS_GENERATE_DATA_KEY = 1 << 0,
	KMS_DECRYPT = 1 << 1,
	KMS_ENCRYPT = 1 << 2,
	KMS_GENERATE_DATA_KEY_PAIR = 1 << 3,
	KMS_GENERATE_RANDOM = 1 << 4,
	KMS_DERIVE_SHARED_SECRET = 1 << 5,
	KMS_DESCRIBE_KEY = 1 << 6,
	KMS_STORE_ITEM = 1 << 7,
	KMS_GET_ITEM = 1 << 8,
	KMS_DELETE_ITEM = 1 << 9,
	KMS_ALL = (1 << 10) - 1,
};

struct config_kms_key {
	const char *id;		/* ARN, alias or key id, as written */
	const char *region;	/* from the ARN; NULL: aws region */
	const char *role;	/* role ARN to assume, or NULL */
};

struct config_pair {
	const char *name, *value;
};

/* What an enclave may do at KMS. */
struct config_kms_grant {
	bool any_key;			/* no list, what the Go proxy did */
	const struct config_kms_key *keys;
	size_t n_keys;
	uint32_t allow;			/* KMS_* bits */
	const struct config_pair *context;
	size_t n_context;
	bool any_service;
	const char *service;
};

/* There may be 100,000: what few have is behind a pointer. */
struct config_target {
	enum config_target_kind kind;
	unsigned send_proxy;		/* ADDRESS: 0, 1 or 2 */
	struct address address;		/* ADDRESS, VIA */
	const struct config_backend *backend;
	const struct config_kms_grant *kms; /* KEY */
	const char *text;		/* TEXT, CLOUDWATCH (group), FILE (path) */
};

struct config_rule {
	struct config_target target;
	struct config_place place;
	const char *text;	/* the rule as written, on one line, for --explain and logs */
	const char *place_text;	/* "teeproxy.conf:12", ready for the log */
};

struct config_listen {
	struct address address;
	const struct ip_cidr *accept_proxy_from; /* peers that must speak PROXY first */
	size_t n_accept_proxy_from;
	const struct config_enclave *as;	/* who a peer of this unix: listener is, or NULL */
	unsigned socket_mode;			/* of a Unix socket; default 0660 */
	struct config_place place;
};

enum config_protocol { PROTOCOL_AUTO, PROTOCOL_LINE, PROTOCOL_CONNECT, PROTOCOL_SOCKS5 };
enum config_store { STORE_NONE, STORE_DIR, STORE_S3 };

struct config_frontend {
	const char *name;
	enum config_mode mode;
	unsigned number;	/* its index in config.frontends */
	const struct config_listen *listens;
	size_t n_listens;
	struct config_timeouts timeouts;	/* frontend, mode and "all" defaults resolved */
	uint32_t buffer_size;
	uint32_t max_connections;
	struct config_rate rate_per_source;
	const struct ip_cidr *allow_from;	/* n 0: everybody */
	size_t n_allow_from;
	const struct ip_cidr *deny_from;
	size_t n_deny_from;
	bool log;
	/* a mode's own */
	bool forwarded;			/* http: X-Forwarded-*; default true */
	enum config_protocol protocol;	/* egress */
	bool address_policy;		/* egress; default true */
	bool require_recipient;		/* kms */
	uint32_t request_size;		/* kms */
	uint32_t max_requests;		/* kms: calls under way per enclave */
	enum config_store store;	/* kms */
	const char *store_where;	/* directory or bucket */
	/* Rules, the default last.  rules[i] says what route_rules[i] leads to. */
	const struct config_rule *rules;
	const struct route_rule *route_rules;
	size_t n_rules;
	const struct route_table *table;
	const struct route_policy *policy;	/* egress only */
	struct config_place place;
};

enum config_log_sink { LOG_TO_STDERR, LOG_TO_NONE, LOG_TO_FILE, LOG_TO_SYSLOG, LOG_TO_JOURNAL };
enum config_log_level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_NOTICE, LEVEL_INFO, LEVEL_DEBUG };
enum config_log_format { FORMAT_LOGFMT, FORMAT_JSON, FORMAT_TEXT };

struct config_log {
	enum config_log_sink sink;
	const char *path;	/* FILE */
	struct address syslog;	/* SYSLOG: a datagram address, unix: or UDP */
	enum config_log_level level;
	enum config_log_format format;
};

struct config_global {
	unsigned workers;		/* 0: as many as CPUs this process may use */
	const char *user, *group;	/* or NULL */
	uint32_t max_connections;	/* 0: half of the descriptors less a reserve */
	const char *pid_file;
	uint32_t grace_ms;		/* default 30 s */
	bool sandbox;			/* default on */
	struct config_log log;
	bool has_admin;
	struct config_listen admin;
};

enum config_credentials {
	CREDENTIALS_AUTO,
	CREDENTIALS_ENV,
	CREDENTIALS_PROFILE,
	CREDENTIALS_IMDS,
	CREDENTIALS_CONTAINER,
	CREDENTIALS_WEB_IDENTITY,
};

struct config_aws {
	const char *region;	/* or NULL: the environment's, the profile's, IMDS's */
	enum config_credentials credentials;
	const char *profile;
	const char *endpoint_kms, *endpoint_s3, *endpoint_sts, *endpoint_logs, *endpoint_imds;
	const char *ca_file;
	bool use_fips, use_dualstack;
	uint32_t max_requests;	/* calls under way in all */
};

struct config_resolver {
	const struct address *servers;
	size_t n_servers;
	const char *hosts;	/* path, or NULL for /etc/hosts */
	uint32_t stale_ms;
};

struct config {
	struct arena *arena;
	struct config_global global;
	struct config_aws aws;
	struct config_resolver resolver;
	const struct config_enclave *enclaves;
	size_t n_enclaves;
	const struct config_backend *backends;
	size_t n_backends;
	const struct config_frontend *frontends;
	size_t n_frontends;
	unsigned n_servers;	/* of all backends */
};

void config_free(struct config *c);	/* takes NULL; frees the route tables and the arena */
const char *config_mode_name(enum config_mode mode);
/* The enclave with this CID, or NULL. */
const struct config_enclave *config_find_enclave(const struct config *c, uint32_t cid);

#endif

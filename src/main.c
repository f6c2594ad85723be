/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options and what they start: the one file that knows every room.
 */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/aws.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/xalloc.h"
#include "config/diagnostics.h"
#include "config/explain.h"
#include "config/keywords.h"
#include "config/load.h"
#include "conn/conn.h"
#include "engine/engine.h"
#include "log/log.h"
#include "master/machine.h"
#include "master/master.h"
#include "mode/mode.h"

enum action { ACTION_RUN, ACTION_CHECK, ACTION_DUMP, ACTION_EXPLAIN, ACTION_FORMAT, ACTION_IMPORT, ACTION_KEYWORDS };

static struct {
	enum action action;
	bool strict, json;
	const char *file;
	const char *log_level;
	const char *frontend;	/* EXPLAIN: this one, and what comes to it */
	char *const *words;
	size_t n_words;
} options;

static void usage(FILE *out)
{
	fputs("usage: teeproxy [-f FILE]                     run in the foreground\n"
	      "       teeproxy --check[=strict,json] [-f FILE] [--env-file FILE]\n"
	      "       teeproxy --dump [-f FILE]              the configuration as understood\n"
	      "       teeproxy --explain FRONTEND [sni=NAME] [host=NAME] [path=PATH] [alpn=P] [from=WHO] [-f FILE]\n"
	      "       teeproxy --explain FRONTEND to=HOST:PORT [address=IP] [from=WHO] [-f FILE]\n"
	      "       teeproxy --format [-f FILE]            the file laid out canonically\n"
	      "       teeproxy --import JSON                 the seed system's proxy-config.json as teeproxy.conf\n"
	      "       teeproxy --keywords | --version | --help\n"
	      "FILE is $PROXY_CONFIG, else " SYSCONFDIR "/teeproxy/teeproxy.conf; see teeproxy(8)\n",
	      out);
}

static _Noreturn void usage_error(const char *what, const char *value)
{
	fprintf(stderr, "teeproxy: %s \"%s\"\n", what, value);
	usage(stderr);
	exit(1);
}

/* NAME=VALUE lines as systemd's EnvironmentFile= has them: blank lines and # comments, quotes around a value. */
static void read_env_file(const char *path)
{
	char *text, *line, *save;
	size_t len;
	int r = config_reader_system.read_file(NULL, path, &text, &len);

	if (r < 0) {
		fprintf(stderr, "teeproxy: cannot read \"%s\": %s\n", path, strerror(-r));
		exit(1);
	}
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *equals, *value;
		size_t n;

		line += strspn(line, " \t");
		n = strlen(line);
		while (n > 0 && strchr(" \t\r", line[n - 1]))
			line[--n] = '\0';
		if (*line == '\0' || *line == '#' || *line == ';')
			continue;
		equals = strchr(line, '=');
		if (!equals || equals == line)
			usage_error("expected NAME=VALUE in the environment file, got", line);
		*equals = '\0';
		value = equals + 1;
		n = strlen(value);
		if (n >= 2 && (*value == '"' || *value == '\'') && value[n - 1] == *value) {
			value[n - 1] = '\0';
			value++;
		}
		setenv(line, value, 1);
	}
	free(text);
}

static void parse_check(const char *modes)
{
	char *copy = xstrdup(modes ? modes : ""), *save;

	options.action = ACTION_CHECK;
	for (char *m = strtok_r(copy, ",", &save); m; m = strtok_r(NULL, ",", &save)) {
		if (strcmp(m, "strict") == 0)
			options.strict = true;
		else if (strcmp(m, "json") == 0)
			options.json = true;
		else
			usage_error("--check takes strict and json, got", m);
	}
	free(copy);
}

static void parse_options(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "check", optional_argument, NULL, 'c' }, { "dump", no_argument, NULL, 'D' },
		{ "explain", required_argument, NULL, 'X' },
		{ "format", no_argument, NULL, 'F' }, { "import", required_argument, NULL, 'I' },
		 { "file", required_argument, NULL, 'f' },
		{ "env-file", required_argument, NULL, 'e' }, { "keywords", no_argument, NULL, 'k' },
		{ "log-level", required_argument, NULL, 'l' }, { "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "f:cthV", longs, NULL)) != -1) {
		switch (c) {
		case 'f':
			options.file = optarg;
			break;
		case 'c':
		case 't':
			parse_check(optarg);
			break;
		case 'D':
			options.action = ACTION_DUMP;
			break;
		case 'X':
			options.action = ACTION_EXPLAIN;
			options.frontend = optarg;
			break;
		case 'F':
			options.action = ACTION_FORMAT;
			break;
		case 'I':
			options.action = ACTION_IMPORT;
			options.file = optarg;
			break;
		case 'e':
			read_env_file(optarg);
			break;
		case 'k':
			options.action = ACTION_KEYWORDS;
			break;
		case 'l':
			options.log_level = optarg;
			break;
		case 'V':
			puts(PACKAGE_STRING);
			exit(0);
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(1);
		}
	}
	options.words = argv + optind;
	options.n_words = (size_t)(argc - optind);
	if (optind < argc && options.action != ACTION_EXPLAIN)
		usage_error("unexpected argument", argv[optind]);
	if (!options.file)
		options.file = getenv("PROXY_CONFIG");
	if (!options.file || !*options.file)
		options.file = SYSCONFDIR "/teeproxy/teeproxy.conf";
}

static int check(void)
{
	struct arena *tree = arena_new();
	struct buffer out = BUFFER_INIT;
	struct diagnostics diags;
	struct config *config;
	const char *lacks;
	int status;

	diagnostics_init(&diags, tree);
	config = config_load(&config_reader_system, options.file, tree, &diags);
	if (options.json)
		diagnostics_print_json(&diags, &out);
	else
		diagnostics_print(&diags, &out);
	fwrite(out.ptr ? out.ptr : "", 1, out.len, options.json ? stdout : stderr);
	/* Of the machine and not of the file, so it is no diagnostic and strict passes over it. */
	lacks = config ? config_machine_lacks(config) : NULL;
	if (lacks)
		fprintf(stderr, "teeproxy: warning: %s\n", lacks);
	status = !config ? 1 : diags.n_warnings && options.strict ? 2 : 0;
	buffer_fini(&out);
	config_free(config);
	arena_free(tree);
	return status;
}

/* --dump and --explain: what a file that loads says. */
static int show(void)
{
	struct arena *tree = arena_new();
	struct buffer out = BUFFER_INIT, told = BUFFER_INIT;
	struct diagnostics diags;
	struct config *config;
	bool good = true;

	diagnostics_init(&diags, tree);
	config = config_load(&config_reader_system, options.file, tree, &diags);
	if (!config || options.action == ACTION_DUMP)
		diagnostics_print(&diags, &told);
	fwrite(told.ptr ? told.ptr : "", 1, told.len, stderr);
	if (config && options.action == ACTION_DUMP)
		config_dump(config, &out);
	else if (config)
		good = config_explain(config, options.frontend, options.words, options.n_words, &out);
	fwrite(out.ptr ? out.ptr : "", 1, out.len, good ? stdout : stderr);
	buffer_fini(&told);
	buffer_fini(&out);
	config_free(config);
	arena_free(tree);
	return config && good ? 0 : 1;
}

/* --format and --import: text to text, without a configuration. */
static int rewrite(void)
{
	struct arena *tree = arena_new();
	struct buffer out = BUFFER_INIT, told = BUFFER_INIT;
	struct diagnostics diags;
	char *text;
	size_t len;
	bool good;
	int r = config_reader_system.read_file(NULL, options.file, &text, &len);

	if (r < 0) {
		fprintf(stderr, "teeproxy: cannot read \"%s\": %s\n", options.file, strerror(-r));
		arena_free(tree);
		return 1;
	}
	diagnostics_init(&diags, tree);
	if (options.action == ACTION_FORMAT)
		good = config_format(options.file, slice_of(text, len), tree, &diags, &out);
	else
		good = config_import(&config_reader_system, options.file, slice_of(text, len), tree, &diags, &out);
	diagnostics_print(&diags, &told);
	fwrite(told.ptr ? told.ptr : "", 1, told.len, stderr);
	if (good)
		fwrite(out.ptr ? out.ptr : "", 1, out.len, stdout);
	buffer_fini(&told);
	buffer_fini(&out);
	free(text);
	arena_free(tree);
	return good ? 0 : 1;
}

/* section, name and default of every row: what the tests compare the manual with. */
static int print_keywords(void)
{
	for (size_t i = 0; i < n_keywords; i++) {
		const struct keyword *k = &keywords[i];

		printf("%s\t%s\t%s\t%s\n", keyword_section_name(k->section - 1), k->name,
		       k->preset ? k->preset : "", k->help);
	}
	return 0;
}

/* What this build can run; a mode that is not here checks cleanly and does not start. */
static const struct mode_ops *const modes[MODE_COUNT] = {
	[MODE_HTTP] = &mode_http,
	[MODE_HTTPS] = &mode_https,
	[MODE_KMS] = &mode_kms,
	[MODE_TCP] = &mode_tcp,
	[MODE_EGRESS] = &mode_egress,
};

static int run(void)
{
	const char *word = options.log_level ? options.log_level : getenv("PROXY_LOG_LEVEL");
	enum config_log_level level;
	struct master_options master = { .file = options.file, .engine = engine_run, .modes = modes,
					 .conns = &conn_ops, .aws = &aws_service };

	if (word && *word) {
		if (!log_parse_level(word, &level))
			usage_error("the log level is error, warning, notice, info or debug, got", word);
		master.log_level = &level;
	}
	return master_run(&master);
}

int main(int argc, char **argv)
{
	parse_options(argc, argv);
	switch (options.action) {
	case ACTION_CHECK:
		return check();
	case ACTION_DUMP:
	case ACTION_EXPLAIN:
		return show();
	case ACTION_FORMAT:
	case ACTION_IMPORT:
		return rewrite();
	case ACTION_KEYWORDS:
		return print_keywords();
	case ACTION_RUN:
		break;
	}
	return run();
}

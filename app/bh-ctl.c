/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-ctl: calls of the control plane from a shell.
 *
 * What it knows is how to put words into a call and an answer onto the terminal; which methods and
 * keys there are is the target's to say.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <bellhop/parse.h>

#include "common.h"
#include "rpc_client.h"

static const char help[] =
	"usage: bh-ctl [-t SECONDS] SOCKET METHOD [KEY=VALUE...]\n"
	"       bh-ctl [-t SECONDS] SOCKET --file FILE\n"
	"\n"
	"Changes and watches a bh-tgt that runs with --rpc SOCKET. Prints the result as JSON.\n"
	"A key that is given more than once is a list.\n"
	"\n"
	"  -t SECONDS   give up when there is no answer in time; default: 60\n"
	"  --file FILE  the calls of FILE ('-': standard input), as config.save printed them\n"
	"  --help       this text\n"
	"  --version    the version\n"
	"\n"
	"methods\n"
	"  controller.create type=nvme|net socket=PATH [name=NAME] [ns=STORE|@NAME...] [KEY=VALUE "
	"of a "
	"SPEC...]\n"
	"  controller.delete name=NAME            controller.list\n"
	"  store.create name=NAME store=STORE     store.list\n"
	"  store.delete name=NAME                 store.resize name=NAME size=SIZE\n"
	"  subsystem.create name=NAME [nqn=NQN] [serial=TEXT] [model=TEXT] [pool=STORE|@NAME] "
	"[cap=SIZE]\n"
	"  subsystem.delete name=NAME             subsystem.list\n"
	"  namespace.create subsys=NAME store=NAME|STORE|size=SIZE [bs=512|4096] [ms=8|16|64] "
	"[pi=1|2|3]\n"
	"                   [nsid=N] [private=true]\n"
	"  namespace.delete subsys=NAME nsid=N    namespace.list subsys=NAME\n"
	"  namespace.attach controller=NAME [store=NAME|STORE] [nsid=N]\n"
	"  namespace.detach controller=NAME nsid=N\n"
	"  stats [controller=NAME]   config.save   stop   log.list   log.set [component=NAME] "
	"level=error|warning|info|debug\n"
	"\n"
	"examples:\n"
	"  bh-ctl /run/bh.rpc store.create name=a store=ram:1G\n"
	"  bh-ctl /run/bh.rpc namespace.attach controller=/tmp/nvme0.sock store=a\n"
	"  bh-ctl /run/bh.rpc config.save >saved.json; bh-ctl /run/bh.rpc --file saved.json\n"
	"\n"
	"Exit status: 0; 1 when the call failed, with the reason on stderr; 2 on wrong usage.\n";

static const struct option options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "file", required_argument, NULL, 'f' },
	{ NULL, 0, NULL, 0 },
};

struct ctl {
	struct app app;
	struct rpc_client client;
	const char *file;
	unsigned int seconds;
};

static int call(struct ctl *ctl, const char *method, json_t *params, json_t **result)
{
	if (rpc_client_call(&ctl->client, method, params, result))
		return 0;
	return app_fail(&ctl->app, 1, "%s", ctl->client.why);
}

static int connect_to(struct ctl *ctl)
{
	return rpc_client_connect(&ctl->client) ? 0 : app_fail(&ctl->app, 1, "%s", ctl->client.why);
}

/* ---- words ---- */

/* One more value of a key: the second makes it a list. */
static int put(const struct ctl *ctl, json_t *params, const char *key, const char *text)
{
	json_t *value = json_string(text), *old = json_object_get(params, key);

	if (!value)
		return app_usage(&ctl->app, "%s: not UTF-8", key);
	if (json_is_array(old))
		json_array_append_new(old, value);
	else if (old)
		json_object_set_new(params, key, json_pack("[O,o]", old, value));
	else
		json_object_set_new(params, key, value);
	return 0;
}

static int put_word(const struct ctl *ctl, json_t *params, char *word)
{
	char *value = strchr(word, '=');

	if (!value || value == word)
		return app_usage(&ctl->app, "'%s': expected KEY=VALUE", word);
	*value = '\0';
	return put(ctl, params, word, value + 1);
}

static int call_words(struct ctl *ctl, const char *method, char **words)
{
	json_t *params = json_object(), *result = NULL;
	int code = 0;

	while (code == 0 && *words)
		code = put_word(ctl, params, *words++);
	if (code == 0)
		code = connect_to(ctl);
	if (code == 0)
		code = call(ctl, method, params, &result);
	if (code == 0 && !json_is_true(result)) {
		json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
		putchar('\n');
	}
	json_decref(result);
	json_decref(params);
	return code;
}

/* ---- a file of calls ---- */

/* Each is tried; the first that fails ends it. */
static int call_all(struct ctl *ctl, const json_t *calls)
{
	const json_t *one;
	size_t i;

	json_array_foreach(calls, i, one)
	{
		const char *method = json_string_value(json_object_get(one, "method"));
		json_t *params = json_object_get(one, "params"), *result = NULL;

		if (!method || (params && !json_is_object(params)))
			return app_fail(&ctl->app, 1, "%s: entry %zu is no call", ctl->file, i + 1);
		params = params ? json_incref(params) : json_object();
		int code = call(ctl, method, params, &result);
		json_decref(params);
		json_decref(result);
		if (code != 0)
			return code;
	}
	return 0;
}

static int call_file(struct ctl *ctl)
{
	json_error_t error;
	json_t *calls = strcmp(ctl->file, "-") == 0 ? json_loadf(stdin, 0, &error)
						    : json_load_file(ctl->file, 0, &error);
	int code;

	if (!json_is_array(calls)) {
		json_decref(calls);
		return app_fail(&ctl->app, 1, "%s: %s", ctl->file,
				calls ? "expected an array of calls" : error.text);
	}
	code = connect_to(ctl);
	if (code == 0)
		code = call_all(ctl, calls);
	json_decref(calls);
	return code;
}

/* -1: go on; else the exit code. */
static int take_option(struct ctl *ctl, int c, char **argv)
{
	uint64_t seconds;

	switch (c) {
	case 't':
		if (bh_parse_u64(optarg, 1, 86400, &seconds) != 0)
			return app_usage(&ctl->app, "-t %s: expected seconds, 1 to 86400", optarg);
		ctl->seconds = (unsigned int)seconds;
		return -1;
	case 'f':
		ctl->file = optarg;
		return -1;
	case 'v':
		app_verbose(&ctl->app);
		return -1;
	case 'h':
		fputs(help, stdout);
		return 0;
	case 'V':
		app_version(&ctl->app);
		return 0;
	default:
		return app_bad_option(&ctl->app, c, argv);
	}
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .seconds = 60 };
	int c, code;

	app_init(&ctl.app, "bh-ctl");
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":t:v", options, NULL)) != -1) {
		code = take_option(&ctl, c, argv);
		if (code >= 0)
			return code;
	}
	if (argc - optind < (ctl.file ? 1 : 2))
		return app_usage(&ctl.app, "expected a SOCKET and a METHOD, or --file FILE");
	if (ctl.file && argc - optind > 1)
		return app_usage(&ctl.app, "'%s': --file takes no METHOD", argv[optind + 1]);
	rpc_client_init(&ctl.client, argv[optind], ctl.seconds);
	code = ctl.file ? call_file(&ctl) : call_words(&ctl, argv[optind + 1], argv + optind + 2);
	rpc_client_close(&ctl.client);
	return code;
}

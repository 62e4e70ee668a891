/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-identify: what an NVMe controller is and has, as text or as one JSON object.
 *
 * It opens the controller as any application does, so it shows what a driver gets: not only what
 * the controller claims, but how many queues it granted and by which way its doorbells are reached
 * here. It touches no data, and creates an I/O queue only to count a namespace's zones.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <bellhop/fault.h>

#include "identify.h"

#define POOL_BYTES (4u << 20) /* admin queue and identify data */

static const char help[] =
	"usage: bh-identify [--json] [--telemetry FILE] [-v] ADDRESS\n"
	"\n"
	"Shows an NVMe controller's registers, identity and capabilities, and each active "
	"namespace.\n"
	"\n"
	"  --json       one object instead of text (schema: doc/json/bh-identify.json)\n"
	"  --telemetry FILE   have the controller capture its inner state, and write that there\n"
	"  -v           say more of what the libraries do (twice: everything)\n"
	"  --help       this text\n"
	"  --version    the version\n"
	"\n"
	"ADDRESS is a vfio-user socket's path (or vfio-user:PATH), or a PCI address "
	"(pci:0000:01:00.0); ?ns=N behind it\n"
	"shows that namespace only.\n"
	"\n"
	"examples:\n"
	"  bh-identify /tmp/nvme0.sock\n"
	"  bh-identify --json '/tmp/nvme0.sock?ns=2'\n"
	"\n"
	"Exit status: 0 shown; 1 failed (nobody there, no such namespace); 2 wrong usage.\n";

enum {
	OPT_HELP = 256,
	OPT_VERSION,
	OPT_JSON,
	OPT_TELEMETRY,
};

static const struct option options[] = {
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "telemetry", required_argument, NULL, OPT_TELEMETRY },
	{ NULL, 0, NULL, 0 },
};

/* -1: go on; else the exit code. */
static int parse_options(struct app *app, int argc, char **argv, bool *json, const char **telemetry)
{
	struct bh_address address;
	const char *why = NULL;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":v", options, NULL)) != -1) {
		switch (c) {
		case 'v':
			app_verbose(app);
			break;
		case OPT_JSON:
			*json = true;
			break;
		case OPT_TELEMETRY:
			*telemetry = optarg;
			break;
		case OPT_HELP:
			fputs(help, stdout);
			return 0;
		case OPT_VERSION:
			app_version(app);
			return 0;
		default:
			return app_bad_option(app, c, argv);
		}
	}
	if (argc - optind != 1)
		return app_usage(app, "%s: expected a socket's path or a PCI address",
				 optind == argc ? "no ADDRESS" : "more than one ADDRESS");
	if (bh_address_parse(argv[optind], &address, &why) != 0)
		return app_usage(app, "address '%s': %s", argv[optind], why);
	return -1;
}

static int show(const struct app *app, const struct app_nvme *n, bool json)
{
	if (n->address.nsid != 0 && !identify_ns_first(n))
		return app_fail(app, 1, "%s: no active namespace %u", n->text, n->address.nsid);
	if (!json)
		identify_print_text(n);
	else if (!identify_print_json(n))
		return app_fail(app, 1,
				"cannot write the object: out of memory, or the output is closed");
	if (fflush(stdout) != 0 || ferror(stdout))
		return app_fail(app, 1, "cannot write to the output");
	return 0;
}

int main(int argc, char **argv)
{
	struct app_nvme n;
	struct app app;
	const char *telemetry = NULL;
	bool json = false;

	app_init(&app, "bh-identify");
	int code = parse_options(&app, argc, argv, &json, &telemetry);
	if (code >= 0)
		return code;
	signal(SIGPIPE, SIG_IGN);
	bh_fault_install();
	if (app_nvme_open(&app, argv[optind], POOL_BYTES, NULL, &n) != 0)
		return 1;
	code = show(&app, &n, json);
	if (code == 0 && telemetry)
		code = identify_telemetry(&app, &n, telemetry);
	app_nvme_close(&n);
	return code;
}

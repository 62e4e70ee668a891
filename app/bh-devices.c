/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-devices: the PCI devices Bellhop has drivers for, who drives them now, and whether they can be
 * used or what stands in the way. With -v it opens those that can, to show what a driver would get.
 *
 * BH_DEVICES_ROOT in the environment puts /sys, /proc and /dev below another directory, whose
 * devices are never opened; tests use it.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/fault.h>
#include <bellhop/parse.h>

#include "devices.h"

#define ROOT_BYTES 256

static const char help[] =
	"usage: bh-devices [--json] [-v] [--memattr auto|N] [BDF...]\n"
	"\n"
	"Lists NVMe controllers, virtio-net and igb cards on the PCI bus (or the devices named): "
	"driver, IOMMU\n"
	"group, NUMA node, and whether they are ready for Bellhop, or what stands in the way.\n"
	"\n"
	"  --json       one object instead of text (schema: doc/json/bh-devices.json)\n"
	"  -v           also groups, BARs and capabilities; opens the devices that are ready and "
	"shows what\n"
	"               they offer, how BARs can be mapped and why, and usable addresses for DMA. "
	"Twice, and\n"
	"               three times: say more of what the libraries do\n"
	"  --memattr F  the number of the proposed VFIO feature for a BAR's memory attribute, or "
	"auto\n"
	"  --help       this text\n"
	"  --version    the version\n"
	"\n"
	"examples:\n"
	"  bh-devices\n"
	"  bh-devices -v 0000:01:00.0\n"
	"\n"
	"Exit status: 0 shown; 1 failed (no PCI bus, no such device, one that cannot be opened); 2 "
	"wrong usage.\n";

enum {
	OPT_HELP = 256,
	OPT_VERSION,
	OPT_JSON,
	OPT_MEMATTR,
};

static const struct option options[] = {
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "memattr", required_argument, NULL, OPT_MEMATTR },
	{ NULL, 0, NULL, 0 },
};

static int parse_memattr(struct app *app, const char *text, int *feature)
{
	uint64_t number;

	if (strcmp(text, "auto") == 0) {
		*feature = BH_MEMATTR_AUTO;
		return -1;
	}
	if (bh_parse_u64(text, 1, UINT16_MAX, &number) != 0)
		return app_usage(app, "--memattr takes auto or a number from 1 to 65535, not '%s'",
				 text);
	*feature = (int)number;
	return -1;
}

static int parse_addresses(struct app *app, int count, char **words, struct devices_opts *opts)
{
	opts->named = calloc(count > 0 ? (size_t)count : 1, sizeof(*opts->named));
	if (!opts->named)
		return app_fail(app, 1, "out of memory");
	for (int i = 0; i < count; i++) {
		const char *text = words[i];

		if (strncmp(text, "pci:", 4) == 0)
			text += 4;
		if (bh_pci_addr_parse(text, &opts->named[i]) != 0)
			return app_usage(app, "'%s' is no PCI address; they look like 0000:01:00.0",
					 words[i]);
	}
	opts->num_named = (size_t)count;
	return -1;
}

/* -1: go on; else the exit code. */
static int parse_options(struct app *app, int argc, char **argv, struct devices_opts *opts,
			 bool *json)
{
	int c, code;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":v", options, NULL)) != -1) {
		switch (c) {
		case 'v':
			if (opts->verbose)
				app_verbose(app);
			opts->verbose = true;
			break;
		case OPT_JSON:
			*json = true;
			break;
		case OPT_MEMATTR:
			code = parse_memattr(app, optarg, &opts->memattr);
			if (code >= 0)
				return code;
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
	return parse_addresses(app, argc - optind, argv + optind, opts);
}

static int show(struct app *app, const struct devices_opts *opts, bool json, bool look_inside)
{
	struct devices_entry *list;
	size_t count;
	int code = 0;

	if (devices_find(app, opts, &list, &count) != 0)
		return 1;
	for (size_t i = 0; i < count; i++) {
		if (!look_inside || !list[i].usable)
			continue;
		devices_look_inside(app, opts, &list[i]);
		if (!list[i].open || list[i].open->error != 0)
			code = app_fail_unsaid(app, 1, "%s: cannot be opened", list[i].pci.name);
	}
	if (!json)
		devices_print_text(list, count);
	else if (!devices_print_json(list, count))
		code = app_fail(app, 1,
				"cannot write the object: out of memory, or the output is "
				"closed");
	devices_free(list, count);
	if (fflush(stdout) != 0 || ferror(stdout))
		code = app_fail(app, 1, "cannot write to the output");
	return code;
}

int main(int argc, char **argv)
{
	char sys[ROOT_BYTES], proc[ROOT_BYTES], dev[ROOT_BYTES];
	const char *root = getenv("BH_DEVICES_ROOT");
	struct bh_pci_opts pci;
	struct devices_opts opts = { .pci = &pci, .memattr = BH_MEMATTR_NEVER };
	struct app app;
	bool json = false;

	app_init(&app, "bh-devices");
	bh_pci_opts_init(&pci);
	pci.log = &app.log;
	if (root) {
		snprintf(sys, sizeof(sys), "%s/sys", root);
		snprintf(proc, sizeof(proc), "%s/proc", root);
		snprintf(dev, sizeof(dev), "%s/dev", root);
		pci.sysfs_root = sys;
		pci.proc_root = proc;
		pci.dev_root = dev;
	}
	int code = parse_options(&app, argc, argv, &opts, &json);
	if (code < 0) {
		signal(SIGPIPE, SIG_IGN);
		bh_fault_install();
		code = show(&app, &opts, json, opts.verbose && !root);
	}
	free(opts.named);
	return code;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "perf.h"

static const char help[] =
	"usage: bh-perf [-q DEPTH] [-o BYTES] [-w WORKLOAD] [-M READ%] [-t SECONDS] [-c CPUS] [-P "
	"QUEUES] ADDRESS...\n"
	"\n"
	"Measures an NVMe controller with Bellhop's driver.\n"
	"\n"
	"  -q DEPTH      commands in flight per queue (default 128)\n"
	"  -o BYTES      bytes per request, K and M allowed (default 4096)\n"
	"  -w WORKLOAD   read write randread randwrite rw randrw (default randread)\n"
	"  -M READ%      share of reads of rw and randrw (default 50)\n"
	"  -t SECONDS    how long (default 5; 0.5 is allowed)\n"
	"  -a SECONDS    warm up so long before that\n"
	"  --rate N      N requests per second and queue, latencies from when each was due; "
	"default: "
	"as fast as it goes\n"
	"  -c CPUS       one worker per CPU: a list (0,2-3) or a mask (0x..); default: the highest "
	"allowed one\n"
	"  -P QUEUES     queue pairs per worker and namespace (default 1)\n"
	"  --cmb MODE    submission queues in the controller memory buffer: auto (default; where "
	"it is "
	"known to be\n"
	"                mapped write-combining), on, off, require\n"
	"  --cmb-lists   PRP lists and SGLs of such queues there too\n"
	"  --pi WHO      makes and verifies protection information: controller (default), driver, "
	"off\n"
	"  --histogram   latencies as a picture in text\n"
	"  --json        one object instead of text\n"
	"  --write-data  yes, overwrite what is on a pci: device\n"
	"  -v            say more (twice: everything)\n"
	"  --help, --version\n"
	"\n"
	"ADDRESS is a vfio-user socket's path (or vfio-user:PATH), or a PCI address "
	"(pci:0000:01:00.0); ?ns=N behind it\n"
	"picks one namespace, otherwise all active ones are used. Zoned ones are written with -w "
	"write "
	"and -w rw, by\n"
	"zone append; zones are reset as they come.\n"
	"\n"
	"examples:\n"
	"  bh-perf -q 128 -o 4096 -w randread -t 3 /tmp/nvme0.sock\n"
	"  bh-perf -w randrw -M 70 -q 32 -c 2-3 -P 2 --json /tmp/nvme0.sock "
	"'/tmp/nvme1.sock?ns=1'\n";

enum {
	OPT_HELP = 256,
	OPT_VERSION,
	OPT_JSON,
	OPT_HISTOGRAM,
	OPT_WRITE_DATA,
	OPT_CMB,
	OPT_CMB_LISTS,
	OPT_PI,
	OPT_RATE,
};

static const struct option options[] = {
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "histogram", no_argument, NULL, OPT_HISTOGRAM },
	{ "write-data", no_argument, NULL, OPT_WRITE_DATA },
	{ "cmb", required_argument, NULL, OPT_CMB },
	{ "pi", required_argument, NULL, OPT_PI },
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "cmb-lists", no_argument, NULL, OPT_CMB_LISTS },
	{ NULL, 0, NULL, 0 },
};

static const struct {
	const char *name;
	bool random;
	int read_percent; /* -1: -M decides */
} workloads[] = {
	{ "read", false, 100 },	   { "write", false, 0 },    { "rw", false, -1 },
	{ "randread", true, 100 }, { "randwrite", true, 0 }, { "randrw", true, -1 },
};

/* What the words alone do not decide. */
struct pending {
	int workload;
	int mix; /* -1: not given */
};

static int parse_number(struct app *app, int option, const char *text, uint64_t min, uint64_t max,
			unsigned int *out)
{
	uint64_t value = 0;

	if (bh_parse_u64(text, min, max, &value) != 0)
		return app_usage(app, "-%c %s: expected a number from %llu to %llu", option, text,
				 (unsigned long long)min, (unsigned long long)max);
	*out = (unsigned int)value;
	return -1;
}

static int parse_seconds(struct app *app, int option, const char *text, uint64_t *ns)
{
	const uint64_t least = 1000000, most = 86400ull * 7 * 1000000000;
	uint64_t value = 0;

	if (bh_parse_seconds(text, &value) != 0 || value < least || value > most)
		return app_usage(app, "-%c %s: expected seconds from 0.001 to %llu", option, text,
				 (unsigned long long)(most / 1000000000));
	*ns = value;
	return -1;
}

static int parse_workload(struct app *app, const char *text, struct pending *pending)
{
	for (int i = 0; i < (int)(sizeof(workloads) / sizeof(*workloads)); i++) {
		if (strcmp(workloads[i].name, text) == 0) {
			pending->workload = i;
			return -1;
		}
	}
	return app_usage(app, "-w %s: expected read, write, randread, randwrite, rw or randrw",
			 text);
}

static int parse_bytes(struct app *app, const char *text, struct perf_options *opts)
{
	uint64_t bytes = 0;

	if (bh_parse_size(text, &bytes) != 0 || bytes < 512 || bytes > (64u << 20) ||
	    bytes % 512 != 0)
		return app_usage(app, "-o %s: expected a multiple of 512 up to 64M", text);
	opts->bytes = (uint32_t)bytes;
	return -1;
}

static int parse_cmb(struct app *app, const char *text, struct perf_options *opts)
{
	static const struct {
		const char *name;
		enum bh_nvme_cmb mode;
	} modes[] = {
		{ "auto", BH_NVME_CMB_AUTO },
		{ "on", BH_NVME_CMB_ON },
		{ "off", BH_NVME_CMB_OFF },
		{ "require", BH_NVME_CMB_REQUIRE },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (strcmp(modes[i].name, text) == 0) {
			opts->cmb = modes[i].mode;
			return -1;
		}
	}
	return app_usage(app, "--cmb %s: expected auto, on, off or require", text);
}

static int parse_pi(struct app *app, const char *text, struct perf_options *opts)
{
	if (strcmp(text, "controller") == 0)
		opts->pi = BH_NVME_PI_CONTROLLER;
	else if (strcmp(text, "driver") == 0)
		opts->pi = BH_NVME_PI_DRIVER;
	else if (strcmp(text, "off") == 0)
		opts->pi = BH_NVME_PI_FLAGS;
	else
		return app_usage(app, "--pi %s: expected controller, driver or off", text);
	return -1;
}

static int parse_long(struct app *app, int c, struct perf_options *opts)
{
	switch (c) {
	case OPT_HELP:
		fputs(help, stdout);
		return 0;
	case OPT_VERSION:
		app_version(app);
		return 0;
	case OPT_JSON:
		opts->json = true;
		break;
	case OPT_HISTOGRAM:
		opts->histogram = true;
		break;
	case OPT_CMB:
		return parse_cmb(app, optarg, opts);
	case OPT_PI:
		return parse_pi(app, optarg, opts);
	case OPT_RATE:
		if (bh_parse_u64(optarg, 1, 1000000000, &opts->rate) != 0)
			return app_usage(app, "--rate %s: expected a number from 1 to 1000000000",
					 optarg);
		break;
	case OPT_CMB_LISTS:
		opts->cmb_lists = true;
		break;
	default:
		opts->write_data = true;
		break;
	}
	return -1;
}

static int parse_one(struct app *app, int c, char **argv, struct perf_options *opts,
		     struct pending *pending)
{
	unsigned int mix = 0;
	int code;

	switch (c) {
	case 'q':
		return parse_number(app, c, optarg, 1, 65535, &opts->depth);
	case 'o':
		return parse_bytes(app, optarg, opts);
	case 'w':
		return parse_workload(app, optarg, pending);
	case 'M':
		code = parse_number(app, c, optarg, 0, 100, &mix);
		pending->mix = (int)mix;
		return code;
	case 't':
		return parse_seconds(app, c, optarg, &opts->run_ns);
	case 'a':
		return parse_seconds(app, c, optarg, &opts->warm_ns);
	case 'P':
		return parse_number(app, c, optarg, 1, 1024, &opts->queues);
	case 'c':
		if (bh_parse_cpus(optarg, ',', &opts->cpus) != 0)
			return app_usage(app, "-c %s: expected CPUs such as 0,2-3 or 0x5", optarg);
		return -1;
	case 'v':
		app_verbose(app);
		return -1;
	case ':':
	case '?':
		return app_bad_option(app, c, argv);
	default:
		return parse_long(app, c, opts);
	}
}

static int check_addresses(struct app *app, const struct perf_options *opts)
{
	if (opts->num_addresses == 0)
		return app_usage(app, "no ADDRESS: expected a socket's path or a PCI address");
	if (opts->num_addresses > PERF_MAX_DEVICES)
		return app_usage(app, "%u addresses: at most %d", opts->num_addresses,
				 PERF_MAX_DEVICES);
	for (unsigned int i = 0; i < opts->num_addresses; i++) {
		struct bh_address address;
		const char *why = NULL;

		if (bh_address_parse(opts->addresses[i], &address, &why) != 0)
			return app_usage(app, "address '%s': %s", opts->addresses[i], why);
		if (address.kind == BH_ADDRESS_PCI && opts->read_percent < 100 && !opts->write_data)
			return app_usage(app,
					 "%s: this would overwrite a real device; --write-data if "
					 "that is meant",
					 opts->addresses[i]);
	}
	return -1;
}

int perf_options_parse(struct app *app, int argc, char **argv, struct perf_options *opts)
{
	struct pending pending = { .workload = 3, .mix = -1 };
	int c, code;

	*opts = (struct perf_options){
		.depth = 128, .bytes = 4096, .run_ns = 5000000000u, .queues = 1
	};
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":q:o:w:M:t:a:c:P:v", options, NULL)) != -1) {
		code = parse_one(app, c, argv, opts, &pending);
		if (code >= 0)
			return code;
	}
	opts->random = workloads[pending.workload].random;
	if (workloads[pending.workload].read_percent >= 0) {
		if (pending.mix >= 0)
			return app_usage(app, "-M goes with -w rw and -w randrw only");
		opts->read_percent = (unsigned int)workloads[pending.workload].read_percent;
	} else {
		opts->read_percent = pending.mix < 0 ? 50 : (unsigned int)pending.mix;
	}
	opts->addresses = argv + optind;
	opts->num_addresses = (unsigned int)(argc - optind);
	code = check_addresses(app, opts);
	return code >= 0 ? code : app_check_cpus(app, &opts->cpus);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf_options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "perf.h"

static const char help[] =
	"usage: bh-perf [-q DEPTH] [-o SIZES] [-w WORKLOADS] [-M READ%] [-t SECONDS] [-c CPUS] [-P "
	"QUEUES] ADDRESS...\n"
	"\n"
	"Measures NVMe controllers with Bellhop's driver.\n"
	"\n"
	"load:\n"
	"  -q DEPTH        commands in flight per queue (default 128)\n"
	"  -o SIZES        bytes per request, K and M allowed (default 4096); several with their "
	"shares: 4k:70,64k:30\n"
	"  -w WORKLOADS    read write randread randwrite rw randrw (default randread); several: "
	"queues take them in turn\n"
	"  -M READ%        share of reads of rw and randrw (default 50)\n"
	"  --zipf THETA    random places by Zipf's law, such as 0.99 or 1.2: a few are asked for "
	"most of the time\n"
	"  --rate N        N requests per second and queue, latencies from when each was due; "
	"default: as fast as\n"
	"                  it goes\n"
	"  --verify        write data that say where they belong, read each write back and "
	"compare; "
	"with reads only:\n"
	"                  compare with what an earlier run wrote\n"
	"  -t SECONDS      how long (default 5; 0.5 is allowed)\n"
	"  -a SECONDS      warm up so long before that\n"
	"\n"
	"queues:\n"
	"  -c CPUS         one worker per CPU: a list (0,2-3) or a mask (0x..); default: the "
	"highest allowed one\n"
	"  -P QUEUES       queue pairs per worker and namespace (default 1)\n"
	"  --cmb MODE      submission queues in the controller memory buffer: auto (default; where "
	"it is known to be\n"
	"                  mapped write-combining), on, off, require\n"
	"  --cmb-lists     PRP lists and SGLs of such queues there too\n"
	"  --pi WHO        makes and verifies protection information: controller (default), "
	"driver, "
	"off\n"
	"\n"
	"report:\n"
	"  --latency MODE  exact (default: to 1.6 %), cheap (four steps per power of two), off (no "
	"time stamps at all)\n"
	"  --histogram     latencies as a picture in text\n"
	"  --json          one object instead of text\n"
	"  --write-data    yes, overwrite what is on a pci: device\n"
	"  -v              say more (twice: everything)\n"
	"  --help, --version\n"
	"\n"
	"ADDRESS is a vfio-user socket's path (or vfio-user:PATH), or a PCI address "
	"(pci:0000:01:00.0); ?ns=N behind it\n"
	"picks one namespace, otherwise all active ones are used; several addresses are measured "
	"at "
	"once. Zoned ones are\n"
	"written with -w write and -w rw, by zone append; zones are reset as they come.\n"
	"\n"
	"examples:\n"
	"  bh-perf -q 128 -o 4096 -w randread -t 3 /tmp/nvme0.sock\n"
	"  bh-perf -w randrw -M 70 -q 32 -c 2-3 -P 2 --json /tmp/nvme0.sock "
	"'/tmp/nvme1.sock?ns=1'\n"
	"  bh-perf -o 4k:70,64k:30 -w randrw --zipf 0.99 -a 2 -t 10 /tmp/nvme0.sock\n"
	"  bh-perf -P 4 -w randread,randread,randread,write /tmp/nvme0.sock  # one queue of four "
	"writes\n"
	"  bh-perf --rate 5000 --histogram /tmp/nvme0.sock  # how long users wait at this load\n"
	"  bh-perf -w randwrite --verify -P 4 -t 60 /tmp/nvme0.sock  # does it keep what it is "
	"given?\n";

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
	OPT_ZIPF,
	OPT_LATENCY,
	OPT_VERIFY,
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
	{ "zipf", required_argument, NULL, OPT_ZIPF },
	{ "latency", required_argument, NULL, OPT_LATENCY },
	{ "verify", no_argument, NULL, OPT_VERIFY },
	{ "cmb-lists", no_argument, NULL, OPT_CMB_LISTS },
	{ NULL, 0, NULL, 0 },
};

#define WORKLOADS 6

static const char *const workload_names[WORKLOADS] = {
	"read", "write", "randread", "randwrite", "rw", "randrw",
};

static const struct {
	bool random;
	int read_percent; /* -1: -M decides */
} workloads[WORKLOADS] = {
	{ false, 100 }, { false, 0 }, { true, 100 }, { true, 0 }, { false, -1 }, { true, -1 },
};

static const char *const latencies[] = {
	[PERF_LATENCY_OFF] = "off",
	[PERF_LATENCY_CHEAP] = "cheap",
	[PERF_LATENCY_EXACT] = "exact",
};

const char *perf_latency_str(enum perf_latency latency)
{
	return latencies[latency];
}

/* What the words alone do not decide. */
struct pending {
	unsigned int workload[PERF_MAX_LOADS];
	int mix; /* -1: not given */
};

/* The items of a list, in place: the next one, or NULL behind the last. */
static char *next_item(char **rest)
{
	char *item = *rest;

	if (!item)
		return NULL;
	*rest = strchr(item, ',');
	if (*rest)
		*(*rest)++ = '\0';
	return item;
}

static int parse_workloads(struct app *app, const char *text, struct perf_options *opts,
			   struct pending *pending)
{
	char list[256], *rest = list, *item;

	if (strlen(text) >= sizeof(list))
		return app_usage(app, "-w: at most %d workloads", PERF_MAX_LOADS);
	memcpy(list, text, strlen(text) + 1);
	opts->num_loads = 0;
	while ((item = next_item(&rest))) {
		if (opts->num_loads == PERF_MAX_LOADS)
			return app_usage(app, "-w: at most %d workloads", PERF_MAX_LOADS);
		int code = app_parse_word(app, "-w", item, workload_names, WORKLOADS,
					  &pending->workload[opts->num_loads++]);
		if (code >= 0)
			return code;
	}
	return -1;
}

/* SIZE or SIZE:SHARE. */
static int parse_size(struct app *app, char *item, bool one, struct perf_size *size)
{
	char *colon = strchr(item, ':');
	uint64_t bytes = 0, share = 1;

	if (colon)
		*colon = '\0';
	if (bh_parse_size(item, &bytes) != 0 || bytes < PERF_MIN_BYTES || bytes > PERF_MAX_BYTES ||
	    bytes % PERF_MIN_BYTES != 0)
		return app_usage(app, "-o %s: expected a multiple of 512 up to 64M", item);
	if (!colon && !one)
		return app_usage(app,
				 "-o %s: of several sizes each needs its share, such as "
				 "4k:70,64k:30",
				 item);
	if (colon && bh_parse_u64(colon + 1, 1, 1000000, &share) != 0)
		return app_usage(app, "-o %s:%s: expected a share from 1 to 1000000", item,
				 colon + 1);
	*size = (struct perf_size){ (uint32_t)bytes, (uint32_t)share };
	return -1;
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
	return b ? common_divisor(b, a % b) : a;
}

static int parse_sizes(struct app *app, const char *text, struct perf_options *opts)
{
	char list[512], *rest = list, *item;
	bool one = strchr(text, ',') == NULL;

	if (strlen(text) >= sizeof(list))
		return app_usage(app, "-o: at most %d sizes", PERF_MAX_SIZES);
	memcpy(list, text, strlen(text) + 1);
	opts->num_sizes = 0;
	opts->bytes = opts->grain = 0;
	while ((item = next_item(&rest))) {
		if (opts->num_sizes == PERF_MAX_SIZES)
			return app_usage(app, "-o: at most %d sizes", PERF_MAX_SIZES);
		struct perf_size *size = &opts->size[opts->num_sizes++];
		int code = parse_size(app, item, one, size);
		if (code >= 0)
			return code;
		opts->grain = common_divisor(size->bytes, opts->grain);
		if (size->bytes > opts->bytes)
			opts->bytes = size->bytes;
	}
	return -1;
}

static int parse_cmb(struct app *app, const char *text, struct perf_options *opts)
{
	static const char *const names[] = { "auto", "on", "off", "require" };
	static const enum bh_nvme_cmb modes[] = { BH_NVME_CMB_AUTO, BH_NVME_CMB_ON, BH_NVME_CMB_OFF,
						  BH_NVME_CMB_REQUIRE };
	unsigned int which = 0;
	int code = app_parse_word(app, "--cmb", text, names, 4, &which);

	opts->cmb = modes[which];
	return code;
}

static int parse_pi(struct app *app, const char *text, struct perf_options *opts)
{
	static const char *const names[] = { "controller", "driver", "off" };
	static const enum bh_nvme_pi who[] = { BH_NVME_PI_CONTROLLER, BH_NVME_PI_DRIVER,
					       BH_NVME_PI_FLAGS };
	unsigned int which = 0;
	int code = app_parse_word(app, "--pi", text, names, 3, &which);

	opts->pi = who[which];
	return code;
}

static int parse_latency(struct app *app, const char *text, struct perf_options *opts)
{
	unsigned int which = 0;
	int code = app_parse_word(app, "--latency", text, latencies, 3, &which);

	opts->latency = (enum perf_latency)which;
	return code;
}

/* Options without a value, but for those that end it. */
static void set_flag(int c, struct perf_options *opts)
{
	switch (c) {
	case OPT_JSON:
		opts->json = true;
		break;
	case OPT_HISTOGRAM:
		opts->histogram = true;
		break;
	case OPT_CMB_LISTS:
		opts->cmb_lists = true;
		break;
	case OPT_VERIFY:
		opts->verify = true;
		break;
	default:
		opts->write_data = true;
		break;
	}
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
	case OPT_CMB:
		return parse_cmb(app, optarg, opts);
	case OPT_PI:
		return parse_pi(app, optarg, opts);
	case OPT_RATE:
		return app_parse_number(app, "--rate", optarg, 1, 1000000000, &opts->rate);
	case OPT_ZIPF:
		return app_parse_real(app, "--zipf", optarg, "a theta (0.99 is usual)", 0.01, 10,
				      &opts->zipf);
	case OPT_LATENCY:
		return parse_latency(app, optarg, opts);
	default:
		set_flag(c, opts);
		return -1;
	}
}

static int parse_one(struct app *app, int c, char **argv, struct perf_options *opts,
		     struct pending *pending)
{
	unsigned int mix = 0;
	int code;

	switch (c) {
	case 'q':
		return app_parse_uint(app, "-q", optarg, 1, 65535, &opts->depth);
	case 'o':
		return parse_sizes(app, optarg, opts);
	case 'w':
		return parse_workloads(app, optarg, opts, pending);
	case 'M':
		code = app_parse_uint(app, "-M", optarg, 0, 100, &mix);
		pending->mix = (int)mix;
		return code;
	case 't':
		return app_parse_seconds(app, "-t", optarg, &opts->run_ns);
	case 'a':
		return app_parse_seconds(app, "-a", optarg, &opts->warm_ns);
	case 'P':
		return app_parse_uint(app, "-P", optarg, 1, 1024, &opts->queues);
	case 'c':
		return app_parse_cpus(app, "-c", optarg, &opts->cpus);
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
	int code = app_check_addresses(app, opts->addresses, opts->num_addresses, PERF_MAX_DEVICES);

	for (unsigned int i = 0; code < 0 && i < opts->num_addresses; i++) {
		struct bh_address address;

		if (bh_address_parse(opts->addresses[i], &address, NULL) == 0 &&
		    address.kind == BH_ADDRESS_PCI && perf_writes(opts) && !opts->write_data)
			code = app_usage(app,
					 "%s: this would overwrite a real device; --write-data if "
					 "that is meant",
					 opts->addresses[i]);
	}
	return code;
}

/* The loads as named, with -M. */
static int set_loads(struct app *app, struct perf_options *opts, const struct pending *pending)
{
	unsigned int mix = pending->mix < 0 ? 50 : (unsigned int)pending->mix;
	bool mixed = false, random = false;

	for (unsigned int i = 0; i < opts->num_loads; i++) {
		unsigned int w = pending->workload[i];
		int percent = workloads[w].read_percent;

		opts->load[i] = (struct perf_load){ workload_names[w], workloads[w].random,
						    percent < 0 ? mix : (unsigned int)percent };
		mixed |= percent < 0;
		random |= workloads[w].random;
	}
	if (pending->mix >= 0 && !mixed)
		return app_usage(app, "-M goes with -w rw and -w randrw only");
	if (opts->zipf > 0 && !random)
		return app_usage(app, "--zipf goes with -w randread, randwrite and randrw only");
	return -1;
}

/* What goes with what. */
static int check(struct app *app, struct perf_options *opts)
{
	int code = app_check_cpus(app, &opts->cpus);

	if (code >= 0)
		return code;
	unsigned int cpus = bh_cpuset_count(&opts->cpus);
	if (opts->num_loads > cpus * opts->queues)
		return app_usage(app,
				 "-w: %u workloads for %u queues of a namespace: give each of them "
				 "a queue with -P %u",
				 opts->num_loads, cpus * opts->queues,
				 (opts->num_loads + cpus - 1) / cpus);
	if (opts->histogram && opts->latency == PERF_LATENCY_OFF)
		return app_usage(app, "--histogram: there is nothing to draw with --latency off");
	if (opts->histogram && opts->json)
		return app_usage(app,
				 "--histogram is a picture in text: it does not go with --json");
	return -1;
}

int perf_options_parse(struct app *app, int argc, char **argv, struct perf_options *opts)
{
	struct pending pending = { .workload = { 2 }, .mix = -1 };
	int c, code;

	*opts = (struct perf_options){
		.depth = 128,
		.size = { { 4096, 1 } },
		.num_sizes = 1,
		.bytes = 4096,
		.grain = 4096,
		.num_loads = 1,
		.latency = PERF_LATENCY_EXACT,
		.run_ns = 5000000000u,
		.queues = 1,
	};
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":q:o:w:M:t:a:c:P:v", options, NULL)) != -1) {
		code = parse_one(app, c, argv, opts, &pending);
		if (code >= 0)
			return code;
	}
	opts->addresses = argv + optind;
	opts->num_addresses = (unsigned int)(argc - optind);
	code = set_loads(app, opts, &pending);
	if (code < 0)
		code = check_addresses(app, opts);
	return code >= 0 ? code : check(app, opts);
}

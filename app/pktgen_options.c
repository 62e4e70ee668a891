/* SPDX-License-Identifier: BSD-3-Clause */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "pktgen.h"

static const char help[] =
	"usage: bh-pktgen [-m MODE] [-s BYTES|imix] [-r MPPS] [-t SECONDS] [-c CPUS] [-q QUEUES] "
	"ADDRESS...\n"
	"\n"
	"Sends and receives UDP packets with Bellhop's network drivers, and checks and measures "
	"what comes.\n"
	"\n"
	"  -m MODE         tx       send\n"
	"                  rx       receive\n"
	"                  echo     send back what is received\n"
	"                  loop     send, expect all of it back, keep -d in flight (default)\n"
	"                  latency  the same one packet at a time, or at the rate of -r\n"
	"  -s BYTES|imix   of a frame without its check sequence, 60 to 9600 (default 64); imix: "
	"64, "
	"594 and 1518\n"
	"                  as 7:4:1\n"
	"  -d IN_FLIGHT    packets of each queue under way (default 512; with -m latency 1)\n"
	"  -b BURST        packets handed over at a time, 1 to 512 (default 64)\n"
	"  -r MPPS         million packets per second of all queues together, such as 0.5 "
	"(default: "
	"as many as it goes)\n"
	"  -q QUEUES       queue pairs of each device (default: one for each CPU of -c)\n"
	"  -c CPUS         one worker per CPU: a list (0,2-3) or a mask (0x..); default: the "
	"highest "
	"allowed one\n"
	"  -t SECONDS      how long (default 5; 0.5 is allowed)\n"
	"  -n PACKETS      end after so many were sent (rx, echo: received)\n"
	"  --dst MAC       where to (default: the device's own address)\n"
	"  --verify        compare every byte of every packet; without it all headers, numbers and "
	"checksum fields, and\n"
	"                  the whole of one packet in each burst\n"
	"  --count         count what comes and look at none of it, whoever sent it (rx, echo)\n"
	"  --pcap-in F     send the packets of a capture, over and over, instead of made ones\n"
	"  --pcap-out F    write what is received (tx: sent) to a capture\n"
	"  --descriptors N of a ring (default 1024, or what the device has)\n"
	"  --split         no packed virtqueues\n"
	"  --json          one object instead of text\n"
	"  -v              say more (twice: everything)\n"
	"  --help, --version\n"
	"\n"
	"ADDRESS is a vfio-user socket's path (or vfio-user:PATH), or a PCI address "
	"(pci:0000:01:00.0). Packets of one\n"
	"device may come back on another: all of them are counted.\n"
	"\n"
	"examples:\n"
	"  bh-tgt -c 0 net:/tmp/net0.sock,port=loopback &\n"
	"  bh-pktgen -m loop -s 64 -t 3 /tmp/net0.sock\n"
	"  bh-pktgen -m latency -r 0.1 /tmp/net0.sock\n"
	"  bh-pktgen -m echo pci:0000:01:00.0\n";

enum {
	OPT_HELP = 256,
	OPT_VERSION,
	OPT_JSON,
	OPT_DST,
	OPT_VERIFY,
	OPT_COUNT,
	OPT_PCAP_IN,
	OPT_PCAP_OUT,
	OPT_DESCRIPTORS,
	OPT_SPLIT,
};

static const struct option options[] = {
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "dst", required_argument, NULL, OPT_DST },
	{ "verify", no_argument, NULL, OPT_VERIFY },
	{ "count", no_argument, NULL, OPT_COUNT },
	{ "pcap-in", required_argument, NULL, OPT_PCAP_IN },
	{ "pcap-out", required_argument, NULL, OPT_PCAP_OUT },
	{ "descriptors", required_argument, NULL, OPT_DESCRIPTORS },
	{ "split", no_argument, NULL, OPT_SPLIT },
	{ NULL, 0, NULL, 0 },
};

static const char *const modes[] = {
	[PKTGEN_TX] = "tx",	[PKTGEN_RX] = "rx",	      [PKTGEN_ECHO] = "echo",
	[PKTGEN_LOOP] = "loop", [PKTGEN_LATENCY] = "latency",
};

const char *pktgen_mode_str(enum pktgen_mode mode)
{
	return modes[mode];
}

static int parse_mode(struct app *app, const char *text, struct pktgen_options *opts)
{
	unsigned int which = opts->mode;
	int code = app_parse_word(app, "-m", text, modes, sizeof(modes) / sizeof(*modes), &which);

	opts->mode = (enum pktgen_mode)which;
	return code;
}

static int parse_bytes(struct app *app, const char *text, struct pktgen_options *opts)
{
	uint64_t bytes = 0;

	if (strcmp(text, "imix") == 0) {
		opts->bytes = PACKET_IMIX;
		return -1;
	}
	if (bh_parse_u64(text, PACKET_MIN, PACKET_MAX, &bytes) != 0)
		return app_usage(app, "-s %s: expected imix, or bytes from %u to %u", text,
				 PACKET_MIN, PACKET_MAX);
	opts->bytes = (uint32_t)bytes;
	return -1;
}

static int parse_mac(struct app *app, const char *text, struct pktgen_options *opts)
{
	unsigned int b[6];
	int end = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &end) != 6 ||
	    text[end] != '\0' || strlen(text) != 17)
		return app_usage(app, "--dst %s: expected an address such as 52:54:00:12:34:56",
				 text);
	for (int i = 0; i < 6; i++)
		opts->dst[i] = (uint8_t)b[i];
	opts->has_dst = true;
	return -1;
}

static int parse_long(struct app *app, int c, struct pktgen_options *opts)
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
		return -1;
	case OPT_DST:
		return parse_mac(app, optarg, opts);
	case OPT_VERIFY:
		opts->verify = true;
		return -1;
	case OPT_COUNT:
		opts->count_only = true;
		return -1;
	case OPT_PCAP_IN:
		opts->pcap_in = optarg;
		return -1;
	case OPT_PCAP_OUT:
		opts->pcap_out = optarg;
		return -1;
	case OPT_DESCRIPTORS:
		return app_parse_uint(app, "--descriptors", optarg, 2, 32768, &opts->descriptors);
	default:
		opts->split = true;
		return -1;
	}
}

static int parse_one(struct app *app, int c, char **argv, struct pktgen_options *opts)
{
	switch (c) {
	case 'm':
		return parse_mode(app, optarg, opts);
	case 's':
		return parse_bytes(app, optarg, opts);
	case 'r':
		return app_parse_real(app, "-r", optarg, "million packets per second", 1e-6, 10000,
				      &opts->mpps);
	case 'b':
		return app_parse_uint(app, "-b", optarg, 1, PKTGEN_MAX_BURST, &opts->burst);
	case 'd':
		return app_parse_uint(app, "-d", optarg, 1, 65535, &opts->in_flight);
	case 'q':
		return app_parse_uint(app, "-q", optarg, 1, PKTGEN_MAX_QUEUES, &opts->queues);
	case 't':
		return app_parse_seconds(app, "-t", optarg, &opts->run_ns);
	case 'n':
		return app_parse_number(app, "-n", optarg, 1, UINT64_MAX - 1, &opts->packets);
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

/* CPUs, and queues for all of them. */
static int check_cpus(struct app *app, struct pktgen_options *opts)
{
	int code = app_check_cpus(app, &opts->cpus);

	if (code >= 0)
		return code;
	unsigned int cpus = bh_cpuset_count(&opts->cpus);
	if (opts->queues == 0)
		opts->queues = cpus;
	if (opts->queues * opts->num_addresses < cpus)
		return app_usage(app,
				 "-c: %u CPUs for %u queues: give each of them work with -q %u",
				 cpus, opts->queues * opts->num_addresses,
				 (cpus + opts->num_addresses - 1) / opts->num_addresses);
	return -1;
}

/* What goes with what. */
static int check_modes(struct app *app, struct pktgen_options *opts)
{
	bool sends = opts->mode != PKTGEN_RX && opts->mode != PKTGEN_ECHO;
	bool waits = opts->mode == PKTGEN_LOOP || opts->mode == PKTGEN_LATENCY;

	if (opts->pcap_in && !sends)
		return app_usage(app, "--pcap-in: -m %s makes no packets to send",
				 modes[opts->mode]);
	if (opts->pcap_in && opts->mode == PKTGEN_LATENCY)
		return app_usage(app, "--pcap-in: packets of a capture have no room for a time "
				      "stamp: use -m loop or -m tx");
	if (opts->mpps > 0 && !sends)
		return app_usage(app, "-r: -m %s sends no faster than it receives",
				 modes[opts->mode]);
	if (opts->in_flight > 0 && !waits)
		return app_usage(app, "-d: -m %s does not wait for packets to come back",
				 modes[opts->mode]);
	if (opts->in_flight == 0)
		opts->in_flight = opts->mode == PKTGEN_LATENCY && opts->mpps == 0 ? 1 : 512;
	if (opts->count_only && sends)
		return app_usage(app, "--count: -m %s has to know which packets are its own",
				 modes[opts->mode]);
	if (opts->count_only && opts->verify)
		return app_usage(app, "--count and --verify: one looks at nothing, the other at all");
	if (opts->has_dst && !sends)
		return app_usage(app, "--dst: -m %s makes no packets to send", modes[opts->mode]);
	return -1;
}

int pktgen_options_parse(struct app *app, int argc, char **argv, struct pktgen_options *opts)
{
	int c, code;

	*opts = (struct pktgen_options){ .mode = PKTGEN_LOOP,
					 .bytes = 64,
					 .burst = 64,
					 .run_ns = 5000000000ull,
					 .descriptors = 0 };
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":m:s:r:b:d:q:t:n:c:v", options, NULL)) != -1) {
		code = parse_one(app, c, argv, opts);
		if (code >= 0)
			return code;
	}
	opts->addresses = argv + optind;
	opts->num_addresses = (unsigned int)(argc - optind);
	code = app_check_addresses(app, opts->addresses, opts->num_addresses, PKTGEN_MAX_DEVICES);
	if (code < 0)
		code = check_modes(app, opts);
	return code >= 0 ? code : check_cpus(app, opts);
}

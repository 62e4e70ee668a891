/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-tgt: serves emulated NVMe and network controllers on vfio-user sockets.
 *
 * Everything is created from the SPECs of the command line before the reactors start; then this
 * thread only waits for a signal, and leaves the target to the RPC's thread. Nothing is left
 * behind: a failed start undoes what it did, SIGTERM and SIGINT end with status 0. Rights that only
 * the start needed can be given up then.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bellhop/fault.h>
#include <bellhop/rpc.h>
#include <bellhop/tgt.h>

#include "bh-tgt.h"
#include "common.h"
#include "confine.h"
#include "levels.h"
#include "plugin.h"

static const char help[] =
	"usage: bh-tgt [-c CPUS] [-v] [--user USER] [--sandbox] [--socket-mode MODE]\n"
	"              [--socket-users USER,...] [--rpc SOCKET] [--rpc-mode MODE]\n"
	"              [--rpc-users USER,...] [--metrics SOCKET] [--metrics-mode MODE]\n"
	"              [--plugin NAME]... [--state DIR] [SPEC...]\n"
	"\n"
	"Serves emulated NVMe and network controllers on vfio-user sockets, to virtual machines "
	"and to\n"
	"Bellhop's own drivers.\n"
	"\n"
	"  -c CPUS      poll on these CPUs: a list (0,2-3) or a mask (0x..); default: the lowest "
	"allowed one\n"
	"  -v           say more (twice: everything)\n"
	"  --user USER  once everything is set up, be this user (needs root)\n"
	"  --sandbox    once everything is set up, give up all system calls but those of serving\n"
	"  --socket-mode MODE          permissions of the sockets, octal; default: 0600\n"
	"  --socket-users USER,...     only processes of these users may connect\n"
	"  --rpc SOCKET                take calls of bh-ctl there; then no SPEC is needed\n"
	"  --rpc-mode MODE, --rpc-users USER,...   the same for that socket\n"
	"  --state DIR                 keep there what is to outlive the target: what calls "
	"changed,\n"
	"                              namespaces that hosts made, reservations through power "
	"loss\n"
	"  --metrics SOCKET            show Prometheus there what is counted (GET /metrics)\n"
	"  --metrics-mode MODE         permissions of that socket; default: 0600\n"
	"  --plugin NAME               types of stores out of a plug-in: nbd, rbd, or a path\n"
	"  --help       this text\n"
	"  --version    the version\n"
	"\n"
	"SPEC is one of\n"
	"  nvme:SOCKET,ns=STORE[,ns=STORE...][,KEY=VALUE...]   a controller\n"
	"      serial=TEXT model=TEXT queues=1..256 depth=2..4096 cores=0+2-3 dstrd=0..10\n"
	"      doorbells=mapped|trapped mdts=SIZE cmb=SIZE subsys=NAME\n"
	"  net:SOCKET,port=PORT[,KEY=VALUE...]                 a network controller (virtio)\n"
	"      mac=MAC queues=1..64 depth=16..32768 mtu=68..65535 cores=0+2-3\n"
	"      doorbells=mapped|trapped rings=packed|split\n"
	"  subsys:NAME[,KEY=VALUE...]                          controllers that share namespaces\n"
	"      nqn=NQN serial=TEXT model=TEXT pool=STORE|@NAME cap=SIZE\n"
	"  store:NAME=STORE                                    a store to be shared as "
	"ns=@NAME[:nsid=N]\n"
	"STORE is one of\n"
	"  null:SIZE or ram:SIZE\n"
	"  file:PATH[:SIZE]             a file, made with SIZE where there is none, or a block "
	"device\n"
	"  nvme:ADDRESS[?ns=N]          an SSD by our own driver: a PCI device bound to VFIO, or a "
	"socket;\n"
	"                               it has guests' memory without a copy, or with ?pass=off not\n"
	"  nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH   with --plugin nbd\n"
	"  rbd:POOL/IMAGE               with --plugin rbd\n"
	"then :bs=512|4096 :uuid=UUID :nsid=N, and of ram and file :ms=8|16|64 bytes of metadata,\n"
	":pi=1|2|3 protection information, :zoned=SIZE[/CAPACITY[/OPEN[/ACTIVE]]] zones. SIZE "
	"takes\n"
	"K, M, G, T.\n"
	"PORT is loopback, null, pair:NAME (two controllers wired to each other), tap:NAME or\n"
	"pcap:OUT[:IN[:TIMES]] (files of packets captured, and replayed).\n"
	"A backslash before \\ , : ? makes it literal.\n"
	"\n"
	"examples:\n"
	"  bh-tgt nvme:/tmp/nvme0.sock,ns=ram:1G\n"
	"  bh-tgt nvme:/tmp/nvme0.sock,ns=file:/var/tmp/disk.img:10G\n"
	"  bh-tgt -c 0-1 store:a=ram:4G:bs=4096 nvme:/tmp/n0.sock,ns=@a "
	"nvme:/tmp/n1.sock,ns=@a,doorbells=trapped\n"
	"  bh-tgt subsys:s store:a=ram:4G nvme:/tmp/n0.sock,subsys=s,ns=@a "
	"nvme:/tmp/n1.sock,subsys=s,ns=@a\n"
	"  bh-tgt --rpc /tmp/bh.rpc --state /var/lib/bh store:p=file:/srv/pool:100G "
	"subsys:s,pool=@p nvme:/tmp/n0.sock,subsys=s\n"
	"  bh-tgt net:/tmp/net0.sock,port=tap:tap0,mac=52:54:00:12:34:56\n"
	"  bh-tgt --user nobody --sandbox --socket-mode 0666 --socket-users qemu "
	"nvme:/run/bh/n0.sock,ns=ram:1G\n"
	"\n"
	"Prints 'bh-tgt: ready' when every socket listens. SIGTERM or SIGINT: ends, sockets "
	"removed.\n";

/* Options of the contract that come with later parts: refused by name. */
static const char *const later[] = { "mem" };

enum {
	OPT_HELP = 256,
	OPT_VERSION,
	OPT_USER,
	OPT_SANDBOX,
	OPT_SOCKET_MODE,
	OPT_SOCKET_USERS,
	OPT_RPC,
	OPT_RPC_MODE,
	OPT_RPC_USERS,
	OPT_STATE,
	OPT_METRICS,
	OPT_METRICS_MODE,
	OPT_PLUGIN,
	OPT_LATER,
};

enum { MAX_SOCKET_USERS = 64, MAX_PLUGINS = 16 };

struct options {
	struct bh_tgt_opts tgt;
	struct bh_rpc_opts rpc;
	const char *metrics;
	unsigned int metrics_mode;
	const char *user;
	bool sandbox;
	uid_t socket_uids[MAX_SOCKET_USERS];
	uid_t rpc_uids[MAX_SOCKET_USERS];
	const char *plugin[MAX_PLUGINS];
	unsigned int num_plugins;
	struct plugin_table types;
};

static const struct option options[] = {
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "user", required_argument, NULL, OPT_USER },
	{ "sandbox", no_argument, NULL, OPT_SANDBOX },
	{ "socket-mode", required_argument, NULL, OPT_SOCKET_MODE },
	{ "socket-users", required_argument, NULL, OPT_SOCKET_USERS },
	{ "rpc", required_argument, NULL, OPT_RPC },
	{ "rpc-mode", required_argument, NULL, OPT_RPC_MODE },
	{ "rpc-users", required_argument, NULL, OPT_RPC_USERS },
	{ "metrics", required_argument, NULL, OPT_METRICS },
	{ "metrics-mode", required_argument, NULL, OPT_METRICS_MODE },
	{ "plugin", required_argument, NULL, OPT_PLUGIN },
	{ "mem", required_argument, NULL, OPT_LATER },
	{ "state", required_argument, NULL, OPT_STATE },
	{ NULL, 0, NULL, 0 },
};

static int parse_mode(const struct app *app, const char *option, const char *text,
		      unsigned int *mode)
{
	char *end;
	unsigned long value = strtoul(text, &end, 8);

	if (text[0] < '0' || text[0] > '7' || *end != '\0' || value > 0777)
		return app_usage(app, "--%s %s: expected octal permissions such as 0660", option,
				 text);
	*mode = (unsigned int)value;
	return -1;
}

static int parse_users(const struct app *app, const char *option, char *text, uid_t *uids,
		       unsigned int *count)
{
	unsigned int n = 0;
	char *rest = NULL;
	gid_t gid;

	for (char *name = strtok_r(text, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		if (n == MAX_SOCKET_USERS)
			return app_usage(app, "--%s: more than %d users", option, MAX_SOCKET_USERS);
		int code = confine_find_user(app, name, &uids[n++], &gid);
		if (code != 0)
			return code;
	}
	if (n == 0)
		return app_usage(app, "--%s: expected users such as qemu,root", option);
	*count = n;
	return -1;
}

/* -1: go on; else the exit code. */
static int take_option(struct app *app, int c, char **argv, struct options *o)
{
	uid_t uid;
	gid_t gid;
	int code;

	switch (c) {
	case 'c':
		if (bh_parse_cpus(optarg, ',', &o->tgt.cpus) != 0)
			return app_usage(app, "-c %s: expected CPUs such as 0,2-3 or 0x5", optarg);
		return -1;
	case 'v':
		app_verbose(app);
		return -1;
	case OPT_HELP:
		fputs(help, stdout);
		return 0;
	case OPT_VERSION:
		app_version(app);
		return 0;
	case OPT_USER:
		o->user = optarg;
		code = confine_find_user(app, optarg, &uid, &gid);
		return code ? code : -1;
	case OPT_SANDBOX:
		o->sandbox = true;
		return -1;
	case OPT_SOCKET_MODE:
		return parse_mode(app, "socket-mode", optarg, &o->tgt.socket_mode);
	case OPT_SOCKET_USERS:
		o->tgt.socket_uids = o->socket_uids;
		return parse_users(app, "socket-users", optarg, o->socket_uids,
				   &o->tgt.num_socket_uids);
	case OPT_STATE:
		o->tgt.state_dir = optarg;
		return -1;
	case OPT_RPC:
		o->rpc.path = optarg;
		return -1;
	case OPT_RPC_MODE:
		return parse_mode(app, "rpc-mode", optarg, &o->rpc.mode);
	case OPT_RPC_USERS:
		o->rpc.allowed_uids = o->rpc_uids;
		return parse_users(app, "rpc-users", optarg, o->rpc_uids, &o->rpc.num_allowed_uids);
	case OPT_METRICS:
		o->metrics = optarg;
		return -1;
	case OPT_METRICS_MODE:
		return parse_mode(app, "metrics-mode", optarg, &o->metrics_mode);
	case OPT_PLUGIN:
		if (o->num_plugins == MAX_PLUGINS)
			return app_usage(app, "--plugin: more than %d", MAX_PLUGINS);
		o->plugin[o->num_plugins++] = optarg;
		return -1;
	case ':':
	case '?':
		return app_bad_option(app, c, argv);
	default:
		return app_usage(app, "--%s: not part of this build", later[c - OPT_LATER]);
	}
}

/* -1: go on; else the exit code. */
static int parse_options(struct app *app, int argc, char **argv, struct options *o)
{
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":c:v", options, NULL)) != -1) {
		int code = take_option(app, c, argv, o);
		if (code >= 0)
			return code;
	}
	if (optind == argc && !o->rpc.path && !o->tgt.state_dir)
		return app_usage(
			app,
			"nothing to serve: expected a SPEC such as nvme:/tmp/nvme0.sock,ns=ram:1G");
	return -1;
}

/* -1: go on; else the exit code. */
static int load_plugins(const struct app *app, struct options *o)
{
	int code = -1;

	for (unsigned int i = 0; i < o->num_plugins && code < 0; i++)
		code = plugin_load(app, o->plugin[i], &o->types);
	return code;
}

/*
 * Grammar first, all of it: nothing is created for a command line with a slip in its last word.
 * is_final: nobody will attach namespaces later.
 */
static int check_specs(struct app *app, char **words, bool is_final)
{
	for (; *words; words++) {
		struct bh_tgt_spec spec;
		char why[BH_TGT_WHY];
		int error = bh_tgt_spec_parse(*words, &spec, why);

		if (!error && is_final && spec.kind == BH_TGT_SPEC_NVME && spec.num_stores == 0 &&
		    !spec.subsys)
			error = snprintf(why, sizeof(why), "no namespace (give ns=STORE)") < 0
					? 0
					: -EINVAL;
		bh_tgt_spec_fini(&spec);
		if (error)
			return app_usage(app, "%s: %s", *words, why);
	}
	return 0;
}

static int apply_specs(struct app *app, struct bh_tgt *tgt, char **words)
{
	for (; *words; words++) {
		struct bh_tgt_spec spec;
		char why[BH_TGT_WHY];
		int error = bh_tgt_spec_parse(*words, &spec, why);

		if (!error)
			error = bh_tgt_apply(tgt, &spec, why);
		bh_tgt_spec_fini(&spec);
		if (error)
			return app_fail_unsaid(app, 1, "%s: %s", *words, why);
	}
	return 0;
}

static int cannot_keep(const struct app *app, const struct options *o, int error)
{
	return app_fail(app, 1, "--state %s: nothing can be kept there: %s", o->tgt.state_dir,
			strerror(-error));
}

/* Makes the directory if there is none, for the user we will be. */
static int open_state(const struct app *app, struct options *o)
{
	const char *dir = o->tgt.state_dir;
	uid_t uid;
	gid_t gid;
	int error = 0;

	if (!dir)
		return 0;
	if (mkdir(dir, 0700) == 0 && o->user && confine_find_user(app, o->user, &uid, &gid) == 0 &&
	    chown(dir, uid, gid) != 0)
		error = -errno;
	if (!error)
		error = bh_rpc_state_open(dir, &o->rpc.state);
	if (error)
		return app_fail(app, 1, "--state %s: %s", dir,
				error == -EBUSY ? "another process uses it" : strerror(-error));
	error = o->rpc.path ? bh_rpc_state_probe(o->rpc.state) : 0;
	return error ? cannot_keep(app, o, error) : 0;
}

static int restore(struct app *app, struct options *o, struct bh_tgt *tgt, char **words)
{
	char why[BH_TGT_WHY];

	if (*words)
		bh_log(o->rpc.log, BH_LOG_WARN, "rpc",
		       "%s/config.json has the configuration: the SPECs are not looked at",
		       o->tgt.state_dir);
	if (bh_rpc_state_restore(o->rpc.state, tgt, o->rpc.log, why) != 0)
		return app_fail_unsaid(app, 1, "%s", why);
	return 0;
}

/* What was kept, else the SPECs; and the target runs. */
static int build(struct app *app, struct options *o, struct bh_tgt *tgt, char **words)
{
	bool is_kept = o->rpc.state && !bh_rpc_state_is_new(o->rpc.state);
	int code = is_kept ? 0 : apply_specs(app, tgt, words), error;

	if (code == 0 && (error = bh_tgt_start(tgt)) != 0)
		return app_fail_unsaid(app, 1, "cannot start: %s", strerror(-error));
	if (code == 0 && is_kept)
		code = restore(app, o, tgt, words);
	if (code == 0)
		bh_tgt_restored(tgt);
	return code;
}

/* All that needs rights has been done. */
static int confine(const struct app *app, const struct options *o)
{
	int code = o->user ? confine_to_user(app, o->user) : 0;

	if (code == 0 && o->tgt.state_dir && access(o->tgt.state_dir, W_OK | X_OK) != 0)
		code = cannot_keep(app, o, -errno);
	if (code == 0 && o->sandbox)
		code = confine_system_calls(app);
	return code;
}

static int log_set(void *ctx, const char *component, enum bh_log_level level)
{
	return levels_set(ctx, component, level);
}

static int log_get(void *ctx, unsigned int i, const char **component)
{
	return levels_get(ctx, i, component);
}

/* As a signal from outside would end us. */
static void stop(void *ctx)
{
	(void)ctx;
	kill(getpid(), SIGTERM);
}

static int start_rpc(struct app *app, struct options *o, struct bh_tgt *tgt, struct bh_rpc **rpc)
{
	if (!o->rpc.path && !o->metrics)
		return 0;
	o->rpc.tgt = tgt;
	o->rpc.log_set = log_set;
	o->rpc.log_get = log_get;
	o->rpc.stop = stop;
	int error = bh_rpc_create(&o->rpc, rpc);
	if (error && o->rpc.path)
		return app_fail(app, 1, "--rpc %s: %s", o->rpc.path, strerror(-error));
	if (!error && o->metrics)
		error = bh_rpc_metrics(*rpc, o->metrics, o->metrics_mode);
	return error ? app_fail(app, 1, "--metrics %s: %s", o->metrics, strerror(-error)) : 0;
}

/* Serves until a signal of `until` comes. */
static int serve(struct app *app, struct options *o, char **words, const sigset_t *until)
{
	struct bh_tgt *tgt = NULL;
	struct bh_rpc *rpc = NULL;
	char why[BH_TGT_WHY];
	int number, code;

	int error = bh_tgt_create(&o->tgt, &tgt);
	if (error)
		return app_fail_unsaid(app, 1, "cannot start: %s", strerror(-error));
	code = open_state(app, o);
	if (code == 0)
		code = build(app, o, tgt, words);
	if (code == 0 && o->sandbox && bh_tgt_check_confinable(tgt, why) != 0)
		code = app_fail(app, 1, "%s", why);
	if (code == 0 && o->sandbox)
		bh_tgt_confined(tgt);
	if (code == 0)
		code = start_rpc(app, o, tgt, &rpc);
	if (code == 0)
		code = confine(app, o);
	if (code == 0) {
		puts("bh-tgt: ready");
		fflush(stdout);
		sigwait(until, &number);
	}
	bh_rpc_destroy(rpc);
	bh_rpc_state_close(o->rpc.state);
	bh_tgt_destroy(tgt);
	return code;
}

/*
 * Each client brings some descriptors for every queue it has. What the user may have the target may
 * use: the lower limit is for programs that call select().
 */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int bh_tgt_main(int argc, char **argv, const struct bh_blk_type *const *store_types)
{
	struct options o = { .metrics_mode = 0600 };
	struct levels levels;
	struct app app;
	sigset_t until;

	app_init(&app, "bh-tgt");
	bh_tgt_opts_init(&o.tgt);
	bh_rpc_opts_init(&o.rpc);
	plugin_table_init(&o.types, store_types);
	o.tgt.store_types = o.types.type;
	o.tgt.log = o.rpc.log = &levels.log;
	o.rpc.ctx = &levels;
	int code = parse_options(&app, argc, argv, &o);
	if (code >= 0)
		return code;
	code = check_specs(&app, argv + optind, !o.rpc.path);
	if (code != 0)
		return code;
	code = load_plugins(&app, &o);
	if (code >= 0)
		return code;
	levels_init(&levels, &app);

	/* Blocked before any thread starts, so that every thread inherits it and sigwait alone sees
	 * them. */
	sigemptyset(&until);
	sigaddset(&until, SIGTERM);
	sigaddset(&until, SIGINT);
	pthread_sigmask(SIG_BLOCK, &until, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a write's own error says it */
	raise_file_limit();
	int error = bh_fault_install();
	if (error)
		return app_fail(&app, 1, "cannot install the fault guard: %s", strerror(-error));
	return serve(&app, &o, argv + optind, &until);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Formats: namespaces are given every kind there is by Format NVM, on stores in memory and in files,
 * and the cases that virtual machines run against QEMU's controller (../vm/vm-pi.c) run against
 * ours. What else a format does, and to whom.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bellhop/nvme_zns.h>

#include "ft.h"

#define NUM_FORMATS 10u

/* As in ../vm/vmformats.py. */
static const struct {
	uint32_t data, md;
	bool interleaved;
	uint8_t pi;
	bool first;
} formats[NUM_FORMATS] = {
	{ 512, 0, false, 0, false },   { 512, 8, false, 1, false },  { 512, 8, true, 1, false },
	{ 512, 16, true, 2, false },   { 4096, 64, false, 3, true }, { 4096, 8, true, 3, false },
	{ 4096, 16, false, 0, false }, { 512, 64, true, 0, false },  { 4096, 64, true, 1, true },
	{ 4096, 64, false, 2, false },
};

/* cdw10 for the format, of those that the namespace has. */
static uint32_t cdw10_of(struct ft_host *host, uint32_t nsid, unsigned int k)
{
	struct bh_nvme_id_ns *id = ft_alloc(host, sizeof(*id));
	unsigned int i;

	FT_EQUAL(bh_nvme_identify(host->nvme, BH_NVME_CNS_NS, nsid, 0, 0, id), 0);
	for (i = 0; i <= id->nlbaf; i++)
		if (1u << id->lbaf[i].lbads == formats[k].data && id->lbaf[i].ms == formats[k].md)
			break;
	FT_CHECK(i <= id->nlbaf);
	bh_pool_free(host->pool, id);
	return i | (formats[k].interleaved ? BH_NVME_FORMAT_MSET : 0) |
	       (uint32_t)formats[k].pi << BH_NVME_FORMAT_PI_SHIFT |
	       (formats[k].first ? BH_NVME_FORMAT_PIL : 0);
}

static int format(struct ft_host *host, uint32_t nsid, uint32_t cdw10)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_FORMAT_NVM, .nsid = nsid, .cdw10 = cdw10 };
	int rc = bh_nvme_admin_sync(host->nvme, &cmd, NULL, 0, NULL);

	return rc < 0 ? rc : (int)(rc & BH_NVME_STATUS_SC_MASK);
}

static bool has_format(struct ft_host *host, uint32_t nsid, unsigned int k)
{
	struct bh_nvme_ns *ns = bh_nvme_ns_get(host->nvme, nsid);
	struct bh_nvme_format f;

	bh_nvme_poll(host->nvme);
	if (!ns)
		return false;
	bh_nvme_ns_format(ns, &f);
	return f.data_bytes == formats[k].data && f.md_bytes == formats[k].md &&
	       f.interleaved == formats[k].interleaved && f.pi_type == formats[k].pi &&
	       f.pi_first == formats[k].first;
}

/* Runs cases of a program for guests, which opens the socket itself. */
static void run_cases(const char *program, const char *socket, const char *const *names)
{
	const char *argv[16] = { program, socket };
	char path[512];
	int status, n = 2;
	pid_t pid;

	while (*names && n < 15)
		argv[n++] = *names++;
	pid = fork();
	FT_CHECK(pid >= 0);
	if (!pid) {
		snprintf(path, sizeof(path), "%s/test/functional/%s", getenv("BH_BUILD"), program);
		execv(path, (char *const *)argv);
		_exit(127);
	}
	FT_EQUAL(waitpid(pid, &status, 0), pid);
	FT_EQUAL(status, 0);
}

static const char *const pi_cases[] = { "unwritten_blocks_are_readable",
					"calls_without_options",
					"zeroes_are_readable",
					"what_we_make_it_accepts",
					"what_it_makes_we_accept",
					"metadata_comes_back",
					"what_is_wrong_is_refused",
					"copies",
					"every_block",
					NULL };

static void every_format(const char *store)
{
	struct ft_target target;
	struct ft_host host;
	char spec[4096];
	const char *const specs[] = { spec, NULL };
	unsigned int k;

	ft_target_init(&target);
	snprintf(spec, sizeof(spec), "nvme:%s,mdts=512K", target.socket[0]);
	for (k = 0; k < NUM_FORMATS; k++) {
		char path[160];
		size_t n = strlen(spec);

		snprintf(path, sizeof(path), "%s/pi%u:", getenv("BH_TMP"), k);
		snprintf(spec + n, sizeof(spec) - n, ",ns=%s%s2M", store,
			 strcmp(store, "file:") ? "" : path);
	}
	ft_target_start(&target, ft_cpus(1, '+'), specs);
	ft_host_open(&host, target.socket[0], NULL);
	for (k = 0; k < NUM_FORMATS; k++) {
		FT_EQUAL(format(&host, k + 1, cdw10_of(&host, k + 1, k)), 0);
		FT_UNTIL(5000, has_format(&host, k + 1, k), usleep(1000));
	}
	ft_host_close(&host);
	run_cases("ft-pi", target.socket[0], pi_cases);
	ft_target_stop(&target);
}

static void every_format_in_memory(void)
{
	every_format("ram:");
}

static void every_format_in_files(void)
{
	every_format("file:");
}

/* ---- what else ---- */

static void what_cannot_be(void)
{
	struct ft_target target;
	struct ft_host host;

	ft_target_serve(&target, "ns=null:16M,ns=ram:16M");
	ft_host_open(&host, target.socket[0], NULL);
	FT_EQUAL(format(&host, 1, 2), BH_NVME_SC_INVALID_FORMAT); /* it has two */
	FT_EQUAL(format(&host, 1, 1), 0);
	FT_EQUAL(format(&host, 2, 8), BH_NVME_SC_INVALID_FORMAT);
	/* Protection information where there is no metadata, or of no type. */
	FT_EQUAL(format(&host, 2, 1u << BH_NVME_FORMAT_PI_SHIFT), BH_NVME_SC_INVALID_FORMAT);
	FT_EQUAL(format(&host, 2, 1 | 4u << BH_NVME_FORMAT_PI_SHIFT), BH_NVME_SC_INVALID_FORMAT);
	FT_EQUAL(format(&host, 2, 2u << BH_NVME_FORMAT_SES_SHIFT), BH_NVME_SC_INVALID_FIELD);
	FT_EQUAL(format(&host, BH_NVME_NSID_ALL, 0), BH_NVME_SC_INVALID_FIELD);
	FT_EQUAL(format(&host, 0, 0), BH_NVME_SC_INVALID_NS);
	FT_EQUAL(format(&host, 3, 0), BH_NVME_SC_INVALID_FIELD);
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* Nothing is left of what was there, whichever way it is asked for. */
static void data_are_erased(void)
{
	struct ft_target target;
	struct ft_host host;
	char rest[256];
	uint32_t ses;

	snprintf(rest, sizeof(rest), "ns=ram:8M,ns=file:%s:8M", ft_path("erased"));
	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	uint8_t *buf = ft_alloc(&host, 8192);
	for (struct bh_nvme_ns *ns = host.ns; ns; ns = bh_nvme_ns_next(ns)) {
		for (ses = 0; ses < 2; ses++) {
			memset(buf, 0xa5, 4096);
			FT_EQUAL(ft_write(q, ns, buf, 0, 8), 0);
			FT_EQUAL(ft_write(q, ns, buf, 16376, 8), 0);
			FT_EQUAL(format(&host, bh_nvme_ns_id(ns), ses << BH_NVME_FORMAT_SES_SHIFT),
				 0);
			FT_EQUAL(ft_read(q, ns, buf, 0, 8), 0);
			FT_EQUAL(ft_read(q, ns, buf + 4096, 16376, 8), 0);
			for (int i = 0; i < 8192; i++)
				FT_EQUAL(buf[i], 0);
		}
	}
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* A store that two controllers have, and I/O by the other one all the while. */
static void others_stand_still(void)
{
	struct ft_target target;
	struct ft_host a, b;
	struct ft_load load = { 0 };
	const struct ft_traffic traffic = {
		.blocks = 1024, .max_blocks = 8, .depth = 16, .seed = 3
	};
	const char *specs[4] = { "store:s=ram:64M" };
	char one[160], two[160];
	int status = -1;

	ft_target_init(&target);
	snprintf(one, sizeof(one), "nvme:%s,ns=@s", target.socket[0]);
	snprintf(two, sizeof(two), "nvme:%s,ns=@s", target.socket[1]);
	specs[1] = one;
	specs[2] = two;
	ft_target_start(&target, ft_cpus(1, '+'), specs);
	ft_host_open(&a, target.socket[0], NULL);
	ft_host_open(&b, target.socket[1], &(struct ft_host_opts){ .quiet = true });
	struct bh_nvme_queue *q = ft_queue(&b, 0);
	ft_load_begin(&load, &b, q, b.ns, &traffic);
	load.no_check = true;
	for (int i = 0; i < 100; i++)
		ft_load_step(&load);
	FT_EQUAL(load.failed, 0);
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_FORMAT_NVM, .nsid = 1 };
	cmd.cdw10 = cdw10_of(&a, 1, 4); /* 4096 + 64: a command's blocks are other ones now */
	FT_EQUAL(bh_nvme_admin(a.nvme, &cmd, NULL, 0, ft_done, &status), 0);
	FT_UNTIL(5000, status >= 0, (ft_load_step(&load), bh_nvme_poll(a.nvme)));
	FT_EQUAL(status, 0);
	ft_load_drain(&load);
	ft_load_end(&load);
	FT_UNTIL(5000, has_format(&a, 1, 4) && has_format(&b, 1, 4), usleep(1000));
	bh_nvme_queue_destroy(q);
	ft_host_close(&b);
	ft_host_close(&a);
	ft_target_stop(&target);
}

/* The target is killed, and started with the same words. */
static void files_remember(void)
{
	struct bh_nvme_rw_opts o;
	struct ft_target target;
	struct ft_host host;
	char rest[256], md[200];
	int status = -1;

	snprintf(rest, sizeof(rest), "ns=file:%s:8M", ft_path("kept"));
	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], NULL);
	FT_EQUAL(format(&host, 1, cdw10_of(&host, 1, 9)), 0);
	FT_UNTIL(5000, has_format(&host, 1, 9), usleep(1000));
	for (int run = 0; run < 2; run++) {
		struct bh_nvme_queue *q = ft_queue(&host, 0);
		uint8_t *buf = ft_alloc(&host, 8192);
		struct iovec iov = { buf, 4096 };

		bh_nvme_rw_opts_init(&o);
		o.pi = BH_NVME_PI_DRIVER;
		o.app_tag = 0x1234;
		o.app_mask = 0xffff;
		o.md = buf + 4096;
		o.md_bytes = 64;
		memset(buf, run ? 0 : 0xa5, 4096 + 56);
		status = -1;
		FT_EQUAL(
			run ? bh_nvme_readv_opts(q, host.ns, &iov, 1, 77, 1, &o, ft_done, &status)
			    : bh_nvme_writev_opts(q, host.ns, &iov, 1, 77, 1, &o, ft_done, &status),
			0);
		FT_EQUAL(ft_wait(q, &status), 0);
		for (int i = 0; i < 4096 + 56; i++)
			FT_EQUAL(buf[i], 0xa5);
		bh_nvme_queue_destroy(q);
		ft_host_close(&host);
		if (run)
			break;
		ft_target_kill(&target);
		ft_target_serve(&target, rest);
		ft_host_open(&host, target.socket[0], NULL);
		FT_CHECK(has_format(&host, 1, 9));
	}
	ft_target_stop(&target);
	snprintf(md, sizeof(md), "%s.bhmd", ft_path("kept"));
	FT_EQUAL(access(md, F_OK), 0);
}

/* ---- zones ---- */

static void zones_as_elsewhere(void)
{
	static const char *const names[] = { "sequential_write", "append_by_queues",
					     "states_and_limits", NULL };
	struct ft_target target;
	char rest[400];

	/* As QEMU's in ../vm/vmzns.py. */
	snprintf(rest, sizeof(rest),
		 "mdts=64K,ns=ram:16M:bs=4096:zoned=1M/768K/3/5,ns=file:%s:16M:bs=4096:zoned=1M",
		 ft_path("zones"));
	ft_target_serve(&target, rest);
	run_cases("ft-zns", target.socket[0], names);
	ft_target_stop(&target);
}

static int zone_manage(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint8_t action, uint64_t at)
{
	int rc = bh_nvme_zone_manage_sync(q, ns, action, at, false);

	return rc < 0 ? rc : (int)(rc & BH_NVME_STATUS_SC_MASK);
}

/* Write pointers survive the target's death; what was open is closed then. */
static void zones_are_remembered(void)
{
	struct bh_nvme_zone zone[4];
	struct ft_target target;
	struct ft_host host;
	char rest[256];
	unsigned int n;

	snprintf(rest, sizeof(rest), "ns=file:%s:4M:zoned=1M", ft_path("zoned"));
	for (int run = 0; run < 2; run++) {
		ft_target_serve(&target, rest);
		ft_host_open(&host, target.socket[0], NULL);
		struct bh_nvme_queue *q = ft_queue(&host, 0);
		uint8_t *buf = ft_alloc(&host, 4096);
		FT_EQUAL(bh_nvme_ns_csi(host.ns), BH_NVME_CSI_ZNS);
		FT_EQUAL(bh_nvme_zones_sync(q, host.ns, 0, 0, zone, 4, &n), 0);
		FT_EQUAL(n, 4);
		FT_EQUAL(zone[0].wp, run ? 8 : 0);
		FT_EQUAL(zone[0].state, run ? BH_NVME_ZONE_STATE_CLOSED : BH_NVME_ZONE_STATE_EMPTY);
		FT_EQUAL(zone[1].state, BH_NVME_ZONE_STATE_EMPTY);
		FT_EQUAL(zone[2].state, run ? BH_NVME_ZONE_STATE_FULL : BH_NVME_ZONE_STATE_EMPTY);
		memset(buf, 0xa5, 4096);
		if (!run) {
			FT_EQUAL(ft_write(q, host.ns, buf, 0, 8), 0);
			FT_EQUAL(zone_manage(q, host.ns, BH_NVME_ZONE_ACTION_OPEN, 2048), 0);
			FT_EQUAL(zone_manage(q, host.ns, BH_NVME_ZONE_ACTION_FINISH, 4096), 0);
			FT_EQUAL(ft_write(q, host.ns, buf, 0, 8) & BH_NVME_STATUS_SC_MASK,
				 BH_NVME_SC_ZONE_INVALID_WRITE);
			FT_EQUAL(ft_write(q, host.ns, buf, 4096, 8) & BH_NVME_STATUS_SC_MASK,
				 BH_NVME_SC_ZONE_IS_FULL);
			ft_host_close(&host);
			ft_target_kill(&target);
			continue;
		}
		FT_EQUAL(ft_write(q, host.ns, buf, 8, 8), 0);
		FT_EQUAL(zone_manage(q, host.ns, BH_NVME_ZONE_ACTION_RESET, 0), 0);
		FT_EQUAL(ft_read(q, host.ns, buf, 0, 8), 0);
		for (int i = 0; i < 4096; i++)
			FT_EQUAL(buf[i], 0);
		bh_nvme_queue_destroy(q);
		ft_host_close(&host);
		ft_target_stop(&target);
	}
}

FT_MAIN({ "every_format_in_memory", every_format_in_memory, 0 },
	{ "every_format_in_files", every_format_in_files, 0 },
	{ "what_cannot_be", what_cannot_be, 0 }, { "data_are_erased", data_are_erased, 0 },
	{ "others_stand_still", others_stand_still, 0 }, { "files_remember", files_remember, 0 },
	{ "zones_as_elsewhere", zones_as_elsewhere, 0 },
	{ "zones_are_remembered", zones_are_remembered, 0 })

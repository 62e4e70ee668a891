/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sanitize, by two of our drivers on two controllers of a subsystem with stores in memory and in a
 * file: what becomes of data and of I/O, and of an operation that the process does not survive.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ft.h"

#define SC(rc) ((rc)&BH_NVME_STATUS_SC_MASK)
#define MIB (1u << 20)
#define ONE_PASS (1u << BH_NVME_SANITIZE_PASSES_SHIFT)
#define PATTERN 0xc0ffee11u

struct rig {
	struct ft_target target;
	struct ft_host host[2];
	struct bh_nvme_queue *q[2];
	struct bh_nvme_sanitize_log *log;
	uint8_t *buf;
};

static void start(struct rig *r, unsigned int file_mib)
{
	char word[2][400];
	const char *const specs[] = { "--state", ft_path("state"), "subsys:s,cap=8M",
				      word[0],	 word[1],	   NULL };
	unsigned int i;

	ft_target_init(&r->target);
	snprintf(word[0], sizeof(word[0]), "nvme:%s,subsys=s,ns=file:%s:%uM:nsid=8",
		 r->target.socket[0], ft_path("disk"), file_mib);
	snprintf(word[1], sizeof(word[1]),
		 "nvme:%s,subsys=s,doorbells=trapped,ns=ram:4M:ms=8:nsid=9", r->target.socket[1]);
	ft_target_start(&r->target, ft_cpus(1, ','), specs);
	for (i = 0; i < 2; i++) {
		ft_host_open(&r->host[i], r->target.socket[i],
			     &(struct ft_host_opts){ .quiet = true });
		r->q[i] = ft_queue(&r->host[i], 31);
	}
	r->log = ft_alloc(&r->host[0], sizeof(*r->log));
	r->buf = ft_alloc(&r->host[0], 4096);
}

static void disconnect(struct rig *r)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		bh_nvme_queue_destroy(r->q[i]);
		ft_host_close(&r->host[i]);
	}
}

static void clean_up(void)
{
	FT_EQUAL(unlink(ft_path("state/subsys-s")), 0);
	FT_EQUAL(rmdir(ft_path("state")), 0);
	FT_EQUAL(unlink(ft_path("disk")), 0);
}

static int sanitize(struct bh_nvme *nvme, uint32_t cdw10)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_SANITIZE,
				   .cdw10 = cdw10,
				   .cdw11 = PATTERN };
	int rc = bh_nvme_admin_sync(nvme, &cmd, NULL, 0, NULL);

	return rc < 0 ? rc : (int)SC(rc);
}

static uint16_t sstat(struct rig *r)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_GET_LOG_PAGE,
				   .nsid = BH_NVME_NSID_ALL,
				   .cdw10 = BH_NVME_LOG_SANITIZE |
					    (sizeof(*r->log) / 4 - 1) << BH_NVME_GLP_NUMDL_SHIFT };

	FT_EQUAL(bh_nvme_admin_sync(r->host[0].nvme, &cmd, r->log, sizeof(*r->log), NULL), 0);
	return r->log->sstat;
}

static bool is_over(struct rig *r)
{
	return (sstat(r) & BH_NVME_SSTAT_OUTCOME_MASK) != BH_NVME_SSTAT_IN_PROGRESS;
}

static struct bh_nvme_ns *ns_of(struct rig *r, unsigned int i)
{
	return bh_nvme_ns_get(r->host[i].nvme, 8 + i);
}

/* The whole file is the pattern, or zeros. */
static bool file_is(uint32_t pattern)
{
	FILE *file = fopen(ft_path("disk"), "re");
	uint32_t word;
	bool is = true;

	FT_CHECK(file);
	while (is && fread(&word, sizeof(word), 1, file) == 1)
		is = word == pattern;
	fclose(file);
	return is;
}

static void everything_is_erased(void)
{
	struct rig r;
	uint16_t sf, seen = 0;
	unsigned int i;

	FT_EQUAL(mkdir(ft_path("state"), 0700), 0);
	start(&r, 8);
	memset(r.buf, 0x5a, 4096);
	FT_EQUAL(ft_write(r.q[0], ns_of(&r, 0), r.buf, 80, 8), 0);
	FT_EQUAL(sanitize(r.host[0].nvme, BH_NVME_SANITIZE_CRYPTO_ERASE), BH_NVME_SC_INVALID_FIELD);
	/* 16 passes, which may be over all the same before this process is given a CPU to look. */
	for (i = 0; i < 10 && !seen; i++) {
		FT_EQUAL(sanitize(r.host[0].nvme, BH_NVME_SANITIZE_OVERWRITE |
							  BH_NVME_SANITIZE_INVERT |
							  BH_NVME_SANITIZE_NO_DEALLOC),
			 0);
		/* It has begun: nothing is read before it is over, and then the complement. */
		FT_UNTIL(20000, !(sf = ft_read(r.q[0], ns_of(&r, 0), r.buf, 80, 8)), seen = SC(sf));
		FT_UNTIL(5000, is_over(&r), usleep(1000));
	}
	FT_EQUAL(seen, BH_NVME_SC_SANITIZE_IN_PROGRESS);
	FT_EQUAL(*(uint32_t *)(void *)r.buf, ~PATTERN);
	FT_EQUAL(sstat(&r), BH_NVME_SSTAT_COMPLETED | 16u << BH_NVME_SSTAT_PASSES_SHIFT);
	FT_CHECK(file_is(~PATTERN));
	/* What completed may be followed by I/O at once, by whatever host. */
	FT_EQUAL(sanitize(r.host[1].nvme, BH_NVME_SANITIZE_BLOCK_ERASE), 0);
	FT_UNTIL(20000, is_over(&r), usleep(1000));
	FT_EQUAL(ft_read(r.q[0], ns_of(&r, 0), r.buf, 80, 8), 0);
	FT_CHECK(file_is(0));
	disconnect(&r);
	ft_target_stop(&r.target);
	clean_up();
}

/* The process ends in the middle of it, and another one begins. */
static void interrupt(struct rig *r, uint32_t flags, bool is_killed)
{
	FT_EQUAL(mkdir(ft_path("state"), 0700), 0);
	start(r, 64);
	FT_EQUAL(sanitize(r->host[1].nvme, BH_NVME_SANITIZE_OVERWRITE | flags), 0); /* 16 passes */
	FT_EQUAL(sstat(r) & BH_NVME_SSTAT_OUTCOME_MASK, BH_NVME_SSTAT_IN_PROGRESS);
	disconnect(r);
	if (is_killed)
		ft_target_kill(&r->target);
	else
		ft_target_stop(&r->target);
	FT_EQUAL(truncate(ft_path("disk"), 8 * MIB), 0);
	start(r, 8);
	FT_EQUAL(sstat(r), BH_NVME_SSTAT_FAILED);
	FT_EQUAL(SC(ft_read(r->q[0], ns_of(r, 0), r->buf, 80, 8)), BH_NVME_SC_SANITIZE_FAILED);
}

static void interrupted_has_failed(void)
{
	struct rig r;

	interrupt(&r, 0, true);
	FT_EQUAL(sanitize(r.host[1].nvme, BH_NVME_SANITIZE_EXIT_FAILURE),
		 BH_NVME_SC_SANITIZE_FAILED);
	FT_EQUAL(sanitize(r.host[1].nvme, BH_NVME_SANITIZE_OVERWRITE | ONE_PASS), 0);
	FT_UNTIL(20000, is_over(&r), usleep(1000));
	FT_EQUAL(sstat(&r), BH_NVME_SSTAT_COMPLETED | 1u << BH_NVME_SSTAT_PASSES_SHIFT);
	FT_EQUAL(ft_read(r.q[0], ns_of(&r, 0), r.buf, 80, 8), 0);
	disconnect(&r);
	ft_target_stop(&r.target);
	clean_up();
}

/* Nobody waits for it: a target that is to end does, and knows of it afterwards. */
static void targets_stop_all_the_same(void)
{
	struct rig r;

	interrupt(&r, BH_NVME_SANITIZE_AUSE, false);
	FT_EQUAL(sanitize(r.host[0].nvme, BH_NVME_SANITIZE_EXIT_FAILURE), 0);
	FT_EQUAL(ft_read(r.q[0], ns_of(&r, 0), r.buf, 80, 8), 0);
	disconnect(&r);
	ft_target_stop(&r.target);
	clean_up();
}

/* A file without a place to remember an interruption in. */
static void not_without_a_state(void)
{
	struct ft_target target;
	struct ft_host host;
	char rest[300];

	snprintf(rest, sizeof(rest), "ns=file:%s:8M", ft_path("disk"));
	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], NULL);
	FT_EQUAL(bh_nvme_ctrl_data(host.nvme)->sanicap, 0);
	FT_EQUAL(sanitize(host.nvme, BH_NVME_SANITIZE_BLOCK_ERASE), BH_NVME_SC_INVALID_OPCODE);
	ft_host_close(&host);
	ft_target_stop(&target);
}

FT_MAIN({ "everything_is_erased", everything_is_erased, 0 },
	{ "interrupted_has_failed", interrupted_has_failed, 0 },
	{ "targets_stop_all_the_same", targets_stop_all_the_same, 0 },
	{ "not_without_a_state", not_without_a_state, 0 })

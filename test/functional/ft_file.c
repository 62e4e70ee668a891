/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File stores, over the whole path: data on a disk's file and on tmpfs, what is durable when the
 * target is killed, the write cache, and disks that fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ft.h"

#define ROUNDS 50
#define REGION 64 /* blocks that a round writes and flushes */
#define BLOCK 4096

static const char *file_path(char *out, size_t size, const char *dir, const char *name)
{
	snprintf(out, size, "%s/%s", dir, name);
	return out;
}

/* ---- data ---- */

static void data_in(const char *dir, unsigned int bs, enum bh_dma_access access, bool trapped)
{
	struct ft_host_opts opts = { .access = access };
	struct ft_traffic traffic = { .max_blocks = 136 * 1024 / bs,
				      .depth = 32,
				      .count = access == BH_DMA_ACCESS_AUTO ? 1500 : 150,
				      .seed = bs };
	char path[256], rest[400];
	struct ft_target target;
	struct ft_host host;

	file_path(path, sizeof(path), dir, "bh-ft-data");
	unlink(path);
	snprintf(rest, sizeof(rest), "mdts=64K,doorbells=%s,ns=file:%s:16M:bs=%u",
		 trapped ? "trapped" : "mapped", path, bs);
	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], &opts);
	FT_CHECK(bh_nvme_ctrl_data(host.nvme)->vwc & BH_NVME_VWC_PRESENT);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	ft_verify_random(&host, q, host.ns, &traffic);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
	unlink(path);
}

/* All that a file store does, with no system call left but what serving needs. */
static void data_in_a_sandbox(void)
{
	struct ft_traffic traffic = { .max_blocks = 32, .depth = 32, .count = 1000, .seed = 3 };
	char path[256], spec[600];
	const char *const specs[] = { "--sandbox", spec, NULL };
	struct ft_target target;
	struct ft_host host;
	int status = -1;

	file_path(path, sizeof(path), getenv("BH_TMP"), "confined");
	ft_target_init(&target);
	snprintf(spec, sizeof(spec), "nvme:%s,ns=file:%s:4M:bs=%u", target.socket[0], path, BLOCK);
	ft_target_start(&target, ft_cpus(1, ','), specs);
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	ft_verify_random(&host, q, host.ns, &traffic);
	FT_EQUAL(bh_nvme_write_zeroes(q, host.ns, 0, 100, 0, ft_done, &status), 0);
	FT_EQUAL(ft_wait(q, &status), 0);
	FT_EQUAL(bh_nvme_reset(host.nvme), 0);
	FT_UNTIL(5000, bh_nvme_flush(q, host.ns, ft_done, &status) == 0, {
		bh_nvme_poll(host.nvme);
		bh_nvme_queue_poll(q, 0);
	});
	status = -1;
	FT_EQUAL(ft_wait(q, &status), 0);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	/* Sanitizers make their reports with calls that are gone. */
	if (ft_is_sanitized())
		ft_target_kill(&target);
	else
		ft_target_stop(&target);
}

static void data_on_disk(void)
{
	data_in(getenv("BH_TMP"), 512, BH_DMA_ACCESS_AUTO, false);
	data_in(getenv("BH_TMP"), 4096, BH_DMA_ACCESS_AUTO, true);
	data_in(getenv("BH_TMP"), 512, BH_DMA_ACCESS_MESSAGE, false);
}

static void data_on_tmpfs(void)
{
	char dir[] = "/dev/shm/bh-ft-XXXXXX";

	FT_CHECK(mkdtemp(dir) != NULL);
	data_in(dir, 512, BH_DMA_ACCESS_AUTO, false);
	data_in(dir, 4096, BH_DMA_ACCESS_FILE_IO, false);
	rmdir(dir);
}

/* ---- durability ---- */

/* Content of a block: which one it is, and of which round. */
static void stamp(uint32_t *block, uint32_t lba, uint32_t round)
{
	for (uint32_t i = 0; i < BLOCK / 4; i++)
		block[i] = (lba * 2654435761u) ^ (round * 40503u + i);
}

static uint16_t flush(struct bh_nvme_queue *q, struct bh_nvme_ns *ns)
{
	int status = -1;

	FT_EQUAL(bh_nvme_flush(q, ns, ft_done, &status), 0);
	return ft_wait(q, &status);
}

/* Writes a round's blocks, in a scattered order, several at a time. */
static void write_round(struct ft_host *host, struct bh_nvme_queue *q, uint8_t *buf, uint32_t round)
{
	int status[REGION];

	for (uint32_t i = 0; i < REGION; i++) {
		uint32_t lba = i * 7 % REGION;

		stamp((uint32_t *)(void *)(buf + lba * BLOCK), lba, round);
		status[i] = -1;
		FT_EQUAL(bh_nvme_write(q, host->ns, buf + lba * BLOCK, lba, 1, 0, ft_done,
				       &status[i]),
			 0);
	}
	for (uint32_t i = 0; i < REGION; i++)
		FT_EQUAL(ft_wait(q, &status[i]), 0);
}

static void check_file(const char *path, uint32_t round)
{
	static uint8_t have[BLOCK], want[BLOCK];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	FT_CHECK(fd >= 0);
	for (uint32_t lba = 0; lba < REGION; lba++) {
		FT_EQUAL(pread(fd, have, BLOCK, (off_t)lba * BLOCK), BLOCK);
		stamp((uint32_t *)(void *)want, lba, round);
		if (memcmp(have, want, BLOCK) != 0)
			ft_fail(__FILE__, __LINE__, "round %u: block %u is not what was flushed",
				round, lba);
	}
	close(fd);
}

/* The same through a target that came after. */
static void check_served(struct ft_host *host, struct bh_nvme_queue *q, uint8_t *buf,
			 uint32_t round)
{
	static uint8_t want[BLOCK];

	FT_EQUAL(ft_read(q, host->ns, buf, 0, REGION), 0);
	for (uint32_t lba = 0; lba < REGION; lba++) {
		stamp((uint32_t *)(void *)want, lba, round);
		FT_CHECK(memcmp(buf + lba * BLOCK, want, BLOCK) == 0);
	}
}

/*
 * What was acknowledged by a flush is there after kill -9, 50 times, with writes to other blocks
 * under way whenever the target is killed. Each round starts on what the one before left.
 */
static void flushed_data_survives_kill(void)
{
	struct ft_host_opts opts = { .pool_bytes = 4u << 20, .quiet = true };
	char path[256], rest[400];
	int ignored[16];

	file_path(path, sizeof(path), getenv("BH_TMP"), "durable");
	snprintf(rest, sizeof(rest), "ns=file:%s:4M:bs=%u", path, BLOCK);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct ft_target target;
		struct ft_host host;

		ft_target_serve(&target, rest);
		ft_host_open(&host, target.socket[0], &opts);
		struct bh_nvme_queue *q = ft_queue(&host, 0);
		uint8_t *buf = ft_alloc(&host, (REGION + 16) * BLOCK);
		if (round)
			check_served(&host, q, buf, round - 1);
		write_round(&host, q, buf, round);
		FT_EQUAL(flush(q, host.ns), 0);
		for (uint32_t i = 0; i < 16; i++)
			FT_EQUAL(bh_nvme_write(q, host.ns, buf + (REGION + i) * BLOCK, 512 + i, 1,
					       0, ft_done, &ignored[i]),
				 0);
		bh_nvme_queue_flush(q);
		ft_target_kill(&target);
		check_file(path, round);
		bh_nvme_queue_destroy(q);
		ft_host_close(&host);
	}
}

/* A target that is told to end makes durable what it has, and lets go of the file. */
static void written_data_survives_sigterm(void)
{
	char path[256], rest[400];

	file_path(path, sizeof(path), getenv("BH_TMP"), "sigterm");
	snprintf(rest, sizeof(rest), "ns=file:%s:4M:bs=%u", path, BLOCK);
	for (uint32_t round = 0; round < 3; round++) {
		struct ft_target target;
		struct ft_host host;

		ft_target_serve(&target, rest);
		ft_host_open(&host, target.socket[0], NULL);
		struct bh_nvme_queue *q = ft_queue(&host, 0);
		write_round(&host, q, ft_alloc(&host, REGION * BLOCK), round);
		bh_nvme_queue_destroy(q);
		ft_host_close(&host); /* with a shutdown */
		ft_target_stop(&target);
		check_file(path, round);
	}
}

/* ---- the write cache ---- */

static void write_cache_can_be_switched_off(void)
{
	char path[256], rest[400];
	struct ft_target target;
	struct ft_host host;
	uint32_t value = 0;

	file_path(path, sizeof(path), getenv("BH_TMP"), "cache");
	snprintf(rest, sizeof(rest), "ns=file:%s:4M:bs=%u", path, BLOCK);
	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	uint8_t *buf = ft_alloc(&host, REGION * BLOCK);
	FT_EQUAL(bh_nvme_get_feature(host.nvme, BH_NVME_FEAT_VOLATILE_WRITE_CACHE, 0, 0, NULL, 0,
				     &value),
		 0);
	FT_EQUAL(value, 1);
	write_round(&host, q, buf, 1);
	for (uint32_t on = 0; on < 2; on++) {
		FT_EQUAL(bh_nvme_set_feature(host.nvme, BH_NVME_FEAT_VOLATILE_WRITE_CACHE, 0, on,
					     NULL, 0, NULL),
			 0);
		FT_EQUAL(bh_nvme_get_feature(host.nvme, BH_NVME_FEAT_VOLATILE_WRITE_CACHE, 0, 0,
					     NULL, 0, &value),
			 0);
		FT_EQUAL(value, on);
		write_round(&host, q, buf, 2 + on);
		check_file(path, 2 + on);
	}
	int status = -1;
	stamp((uint32_t *)(void *)buf, 0, 3);
	FT_EQUAL(bh_nvme_write(q, host.ns, buf, 0, 1, BH_NVME_IO_FUA, ft_done, &status), 0);
	FT_EQUAL(ft_wait(q, &status), 0);
	check_file(path, 3);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void memory_has_no_write_cache(void)
{
	struct ft_target target;
	struct ft_host host;

	ft_target_serve(&target, "ns=ram:4M");
	ft_host_open(&host, target.socket[0], NULL);
	FT_EQUAL(bh_nvme_ctrl_data(host.nvme)->vwc & BH_NVME_VWC_PRESENT, 0);
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* ---- what fails ---- */

static void full_disk(void)
{
	char dir[256], path[300], rest[400];
	struct ft_target target;
	struct ft_host host;

	file_path(dir, sizeof(dir), getenv("BH_TMP"), "small");
	if (geteuid() || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		ft_skip("needs root and mount namespaces");
	FT_EQUAL(mkdir(dir, 0700), 0);
	FT_EQUAL(mount("tmpfs", dir, "tmpfs", 0, "size=1m"), 0);
	file_path(path, sizeof(path), dir, "disk");
	snprintf(rest, sizeof(rest), "ns=file:%s:16M:bs=%u", path, BLOCK);
	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	uint8_t *buf = ft_alloc(&host, 128 * BLOCK);
	FT_EQUAL(ft_write(q, host.ns, buf, 0, 128), 0);
	FT_EQUAL(ft_write(q, host.ns, buf, 128, 64), 0);
	FT_EQUAL(ft_write(q, host.ns, buf, 192, 128) & BH_NVME_STATUS_SC_MASK,
		 BH_NVME_SC_CAPACITY_EXCEEDED);
	FT_EQUAL(ft_read(q, host.ns, buf, 0, 128), 0);
	struct bh_nvme_dsm_range *range = ft_alloc(&host, BLOCK);
	int status = -1;
	range->blocks = 512;
	FT_EQUAL(bh_nvme_deallocate(q, host.ns, range, 1, ft_done, &status), 0);
	FT_EQUAL(ft_wait(q, &status), 0);
	FT_EQUAL(ft_write(q, host.ns, buf, 1024, 128), 0);
	/* Blocks that somebody cut off. */
	FT_EQUAL(truncate(path, 64 * BLOCK), 0);
	FT_EQUAL(ft_read(q, host.ns, buf, 0, 64), 0);
	FT_EQUAL(ft_read(q, host.ns, buf, 60, 8) & BH_NVME_STATUS_SC_MASK,
		 BH_NVME_SC_UNRECOVERED_READ_ERROR);
	FT_EQUAL(ft_write(q, host.ns, buf, 60, 8), 0);
	FT_EQUAL(ft_read(q, host.ns, buf, 60, 8), 0);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
	umount2(dir, MNT_DETACH);
}

static void read_only_file(void)
{
	char path[256], rest[400];
	struct ft_target target;
	struct ft_host host;

	file_path(path, sizeof(path), getenv("BH_TMP"), "fixed");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0444);
	FT_CHECK(fd >= 0);
	FT_EQUAL(ftruncate(fd, 1 << 20), 0);
	close(fd);
	snprintf(rest, sizeof(rest), "ns=file:%s", path);
	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	uint8_t *buf = ft_alloc(&host, BLOCK);
	FT_CHECK(bh_nvme_ns_data(host.ns)->nsattr & BH_NVME_NSATTR_WRITE_PROTECTED);
	FT_EQUAL(ft_read(q, host.ns, buf, 0, 8), 0);
	FT_EQUAL(ft_write(q, host.ns, buf, 0, 8) & BH_NVME_STATUS_SC_MASK,
		 BH_NVME_SC_WRITE_TO_READ_ONLY);
	FT_EQUAL(flush(q, host.ns), 0);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* ---- resets and sleep ---- */

static void resets_under_load(void)
{
	const struct ft_traffic traffic = {
		.blocks = 1024, .max_blocks = 40, .depth = 32, .seed = 1
	};
	char path[256], rest[400];
	struct ft_target target;
	struct ft_host host;
	struct ft_load load;

	file_path(path, sizeof(path), getenv("BH_TMP"), "reset");
	snprintf(rest, sizeof(rest), "ns=file:%s:4M", path);
	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 63);
	ft_pattern_write(&host, q, host.ns, 0, 1024);
	ft_load_begin(&load, &host, q, host.ns, &traffic);
	for (int round = 0; round < 11; round++) {
		uint64_t goal = load.completed - load.failed + 100;

		FT_EQUAL(round ? bh_nvme_reset(host.nvme) : 0, 0);
		FT_UNTIL(10000, load.completed - load.failed >= goal, {
			ft_load_step(&load);
			bh_nvme_poll(host.nvme);
		});
	}
	ft_load_drain(&load);
	FT_EQUAL(load.wrong, 0);
	ft_load_end(&load);
	ft_pattern_check(&host, q, host.ns, 0, 1024);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* An idle target sleeps, and a request in the kernel's hands wakes it. */
static void idle_target_sleeps(void)
{
	char path[256], rest[400];
	struct ft_target target;
	struct ft_host host;

	file_path(path, sizeof(path), getenv("BH_TMP"), "idle");
	snprintf(rest, sizeof(rest), "doorbells=trapped,ns=file:%s:4M:bs=%u", path, BLOCK);
	ft_target_serve(&target, rest);
	ft_host_open(&host, target.socket[0], NULL);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	uint8_t *buf = ft_alloc(&host, BLOCK);
	for (uint32_t i = 0; i < 20; i++) {
		usleep(5000);
		FT_EQUAL(ft_write(q, host.ns, buf, i, 1), 0);
		FT_EQUAL(flush(q, host.ns), 0);
	}
	usleep(200000);
	uint64_t before = ft_target_cpu_ms(&target);
	usleep(1000000);
	FT_CHECK(ft_target_cpu_ms(&target) - before <= 200);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

FT_MAIN({ "data_on_disk", data_on_disk, 0 }, { "data_on_tmpfs", data_on_tmpfs, 0 },
	{ "data_in_a_sandbox", data_in_a_sandbox, 0 },
	{ "flushed_data_survives_kill", flushed_data_survives_kill, 120 },
	{ "written_data_survives_sigterm", written_data_survives_sigterm, 0 },
	{ "write_cache_can_be_switched_off", write_cache_can_be_switched_off, 0 },
	{ "memory_has_no_write_cache", memory_has_no_write_cache, 0 },
	{ "full_disk", full_disk, 0 }, { "read_only_file", read_only_file, 0 },
	{ "resets_under_load", resets_under_load, 0 },
	{ "idle_target_sleeps", idle_target_sleeps, 0 })

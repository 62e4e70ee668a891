/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the programs that test the file store share: a store over a file of theirs, in a directory
 * on a disk or on tmpfs, its requests one by one, and what holds wherever its blocks are. For one
 * test program each: it defines functions.
 */
#ifndef TEST_BLK_FILE_RIG_H
#define TEST_BLK_FILE_RIG_H

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bellhop/blk.h>
#include <bellhop/clock.h>

#include "unit.h"

#define MIB (1u << 20)

static char dir[128];  /* on a disk, as a rule */
static char shm[64];   /* on tmpfs */
static char path[256]; /* of the file in use */
static char why[256];

static inline int setup(void)
{
	const char *tmp = getenv("BH_TMP");

	snprintf(dir, sizeof(dir), "%.100s/bh-file-XXXXXX", tmp ? tmp : "/var/tmp");
	strcpy(shm, "/dev/shm/bh-file-XXXXXX");
	signal(SIGXFSZ, SIG_IGN);
	return !mkdtemp(dir) || !mkdtemp(shm);
}

static inline int teardown(void)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s' '%s'", dir, shm);
	return system(command);
}

static inline const char *in(const char *where, const char *name)
{
	snprintf(path, sizeof(path), "%.200s/%.50s", where, name);
	return path;
}

static inline int try(const char *file, uint64_t bytes, uint32_t bs, struct bh_blk **blk)
{
	struct bh_blk_spec spec = { .arg = file, .bytes = bytes, .block_size = bs };

	why[0] = '\0';
	*blk = NULL;
	return bh_blk_file_type.create(&spec, "f", NULL, why, blk);
}

struct rig {
	struct bh_blk *blk;
	struct bh_blk_chan *chan;
};

static inline int rig_open(struct rig *rig, const char *file, uint64_t bytes, uint32_t bs)
{
	int rc = try(file, bytes, bs, &rig->blk);

	if (rc) {
		CU_FAIL(why);
		fprintf(stderr, "%s\n", why);
		return rc;
	}
	rc = bh_blk_chan_open(rig->blk, &rig->chan);
	CU_ASSERT_EQUAL(rc, 0);
	return rc;
}

static inline void rig_close(struct rig *rig)
{
	bh_blk_chan_close(rig->chan);
	bh_blk_put(rig->blk);
}

/* Waits, polling, for what is outstanding; the status of the last. */
static inline int wait_all(struct rig *rig)
{
	uint64_t end = bh_now_ns() + 10000000000ull;
	struct bh_blk_done done = { .status = -ETIMEDOUT };

	while (bh_blk_outstanding(rig->chan) && bh_now_ns() < end)
		bh_blk_reap(rig->chan, &done, 1);
	CU_ASSERT_EQUAL(bh_blk_outstanding(rig->chan), 0);
	return done.status;
}

static inline int run_flags(struct rig *rig, enum bh_blk_op op, uint64_t lba, uint32_t blocks,
			    void *buf, uint8_t flags)
{
	struct iovec iov = { buf, (size_t)blocks * bh_blk_info(rig->blk)->block_size };
	struct bh_blk_io io = { .op = (uint8_t)op,
				.flags = flags,
				.iovcnt = buf ? 1 : 0,
				.blocks = blocks,
				.lba = lba,
				.iov = &iov };
	int rc = bh_blk_submit(rig->chan, &io);

	return rc == BH_BLK_QUEUED ? wait_all(rig) : rc;
}

static inline int run(struct rig *rig, enum bh_blk_op op, uint64_t lba, uint32_t blocks, void *buf)
{
	return run_flags(rig, op, lba, blocks, buf, 0);
}

static inline void fill(uint8_t *buf, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = (uint8_t)(i * 7 + i / 512 + seed);
}

static inline uint8_t *pages(size_t len)
{
	uint8_t *buf = aligned_alloc(4096, len);

	memset(buf, 0xee, len);
	return buf;
}

/* ---- what holds wherever the blocks are ---- */

static inline void data_on(const char *file, uint64_t bytes, uint32_t bs)
{
	uint8_t *out = pages(64 * 1024), *back = pages(64 * 1024);
	uint32_t n = 64 * 1024 / bs;
	struct rig rig;
	uint64_t last;

	if (rig_open(&rig, file, bytes, bs))
		return;
	last = bh_blk_info(rig.blk)->blocks - n;
	fill(out, 64 * 1024, 1);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, last, n, out), 0);
	CU_ASSERT_EQUAL(run_flags(&rig, BH_BLK_WRITE, 1, 1, out + 4096, BH_BLK_FLAG_FUA), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_FLUSH, 0, 0, NULL), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, last, n, back), 0);
	CU_ASSERT_EQUAL(memcmp(out, back, 64 * 1024), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, 1, 1, back), 0);
	CU_ASSERT_EQUAL(memcmp(out + 4096, back, bs), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, last + 1, n, back), -EINVAL);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, UINT64_MAX, 1, back), -EINVAL);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_COMPARE, 0, 1, back), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, 0, 0, NULL), 0);
	rig_close(&rig);
	/* What was written is there without us. */
	memset(back, 0xee, 64 * 1024);
	if (!rig_open(&rig, file, bytes, bs)) {
		CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, last, n, back), 0);
		CU_ASSERT_EQUAL(memcmp(out, back, 64 * 1024), 0);
		rig_close(&rig);
	}
	free(out);
	free(back);
}

static inline void zeroes_on(const char *file, uint64_t bytes)
{
	uint8_t *buf = pages(MIB);
	size_t i, wrong = 0;
	struct rig rig;

	if (rig_open(&rig, file, bytes, 512))
		return;
	memset(buf, 0xff, MIB);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE, 0, MIB / 512, buf), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE_ZEROES, 9, 900, NULL), 0);
	CU_ASSERT_EQUAL(run_flags(&rig, BH_BLK_WRITE_ZEROES, 1000, 100, NULL,
				  BH_BLK_FLAG_DEALLOCATE | BH_BLK_FLAG_FUA),
			0);
	if (bh_blk_info(rig.blk)->caps & BH_BLK_CAP_DEALLOCATE)
		CU_ASSERT_EQUAL(run(&rig, BH_BLK_DEALLOCATE, 1200, 300, NULL), 0)
	else
		CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE_ZEROES, 1200, 300, NULL), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_READ, 0, MIB / 512, buf), 0);
	for (i = 0; i < MIB; i++) {
		size_t b = i / 512;
		bool zero =
			(b >= 9 && b < 909) || (b >= 1000 && b < 1100) || (b >= 1200 && b < 1500);

		wrong += buf[i] != (zero ? 0 : 0xff);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_WRITE_ZEROES, 0, 0, NULL), 0);
	CU_ASSERT_EQUAL(run(&rig, BH_BLK_DEALLOCATE, bytes / 512, 1, NULL), -EINVAL);
	rig_close(&rig);
	free(buf);
}

static inline void refuses(const char *file, uint64_t bytes, uint32_t bs, int error,
			   const char *reason)
{
	struct bh_blk *blk;
	int rc = try(file, bytes, bs, &blk);

	CU_ASSERT_EQUAL(rc, error);
	if (!strstr(why, reason))
		fprintf(stderr, "%s: expected '%s', got '%s'\n", file, reason, why);
	CU_ASSERT(strstr(why, reason) != NULL);
	if (!rc)
		bh_blk_put(blk);
}

static inline void make_file(const char *file, size_t bytes)
{
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CU_ASSERT(fd >= 0);
	CU_ASSERT_EQUAL(ftruncate(fd, (off_t)bytes), 0);
	close(fd);
}

/* A mount of our own, gone with the process at the latest. */
static inline bool mount_small(char *at, const char *options)
{
	return geteuid() == 0 && !unshare(CLONE_NEWNS) &&
	       !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) && !mkdir(in(dir, "mnt"), 0700) &&
	       !mount("tmpfs", path, "tmpfs", 0, options) && strcpy(at, path);
}

#endif

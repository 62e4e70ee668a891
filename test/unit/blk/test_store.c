/* SPDX-License-Identifier: BSD-3-Clause */
/* The stores null and ram: their specs, limits and data. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bellhop/blk.h>

#include "unit.h"

static struct bh_blk *make(const struct bh_blk_type *type, const char *arg, uint32_t bs)
{
	struct bh_blk_spec spec = { .arg = arg, .block_size = bs };
	struct bh_blk *blk = NULL;
	char why[256] = "";

	CU_ASSERT_EQUAL(type->create(&spec, arg, NULL, why, &blk), 0);
	return blk;
}

static int run(struct bh_blk_chan *chan, enum bh_blk_op op, uint64_t lba, uint32_t blocks,
	       void *buf, size_t len)
{
	/* In two uneven pieces: a store must follow the list. */
	struct iovec iov[2] = { { buf, len / 3 }, { (char *)buf + len / 3, len - len / 3 } };
	struct bh_blk_io io = {
		.op = (uint8_t)op, .iovcnt = 2, .blocks = blocks, .lba = lba, .iov = iov
	};

	return bh_blk_submit(chan, &io);
}

static void spec_is_checked(void)
{
	static const char *const bad[] = { "", "0", "x", "1G,", "1000", "18446744073709551615" };
	struct bh_blk_spec spec = { .block_size = 512 };
	struct bh_blk *blk;
	char why[256];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		spec.arg = bad[i];
		why[0] = 0;
		CU_ASSERT_EQUAL(bh_blk_null_type.create(&spec, "n", NULL, why, &blk), -EINVAL);
		CU_ASSERT_NOT_EQUAL(why[0], 0);
		CU_ASSERT_EQUAL(bh_blk_ram_type.create(&spec, "n", NULL, why, &blk), -EINVAL);
	}
	spec.block_size = 1024;
	spec.arg = "1M";
	CU_ASSERT_EQUAL(bh_blk_null_type.create(&spec, "n", NULL, why, &blk), -EINVAL);
}

static void null_leaves_buffers_alone(void)
{
	struct bh_blk *blk = make(&bh_blk_null_type, "1T", 4096);
	struct bh_blk_chan *chan;
	char buf[4096];

	memset(buf, 0x5a, sizeof(buf));
	CU_ASSERT_EQUAL(bh_blk_info(blk)->blocks, (1ull << 40) / 4096);
	CU_ASSERT_EQUAL(blk->inline_kind, BH_BLK_INLINE_NULL);
	CU_ASSERT_EQUAL(bh_blk_chan_open(blk, &chan), 0);
	CU_ASSERT_EQUAL(bh_blk_chan_fd(chan), -1);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_WRITE, 7, 1, buf, 4096), 0);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_READ, 7, 1, buf, 4096), 0);
	CU_ASSERT_EQUAL(buf[4095], 0x5a);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_READ, (1ull << 28), 1, buf, 4096), -EINVAL);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_READ, UINT64_MAX, 1, buf, 4096), -EINVAL);
	CU_ASSERT_EQUAL(bh_blk_chan_arm(chan), 0);
	bh_blk_put(blk);
	bh_blk_chan_close(chan); /* the last reference */
}

static void ram_keeps_data(void)
{
	struct bh_blk *blk = make(&bh_blk_ram_type, "1M", 512);
	struct bh_blk_chan *chan;
	char in[2048], out[2048];
	size_t i;

	for (i = 0; i < sizeof(in); i++)
		in[i] = (char)(i * 7);
	CU_ASSERT_EQUAL(bh_blk_chan_open(blk, &chan), 0);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_READ, 2044, 4, out, 2048), 0);
	CU_ASSERT_EQUAL(out[2047], 0);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_WRITE, 2044, 4, in, 2048), 0);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_READ, 2044, 4, out, 2048), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, 2048), 0);
	CU_ASSERT_EQUAL(memcmp(blk->inline_base + 2044 * 512, in, 2048), 0);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_COMPARE, 2044, 4, in, 2048), 0);
	in[2000]++;
	CU_ASSERT_EQUAL(run(chan, BH_BLK_COMPARE, 2044, 4, in, 2048), -EILSEQ);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_WRITE, 2045, 4, in, 2048), -EINVAL);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_FLUSH, 0, 0, NULL, 0), 0);
	bh_blk_chan_close(chan);
	bh_blk_put(blk);
}

/* What there is not is refused when the store is made, with a reason; what there is, is taken. */
static void ram_is_there_or_refused(void)
{
	struct bh_blk_spec spec = { .arg = "64T", .block_size = 512 };
	char why[256] = "";
	struct bh_blk *blk;
	struct stat st;
	long page = sysconf(_SC_PAGESIZE);
	char path[64];

	CU_ASSERT_EQUAL(bh_blk_ram_type.create(&spec, "r", NULL, why, &blk), -ENOMEM);
	CU_ASSERT(strstr(why, "67108864 MiB of memory are asked for") != NULL);
	blk = make(&bh_blk_ram_type, "3M", 512);
	memset(blk->inline_base, 1, (size_t)page);
	/* Its memfd holds all of its pages, before and after they are deallocated. */
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (long)blk->inline_base,
		 (long)blk->inline_base + (3l << 20));
	if (stat(path, &st) == 0)
		CU_ASSERT_EQUAL(st.st_blocks, 3 << 11);
	bh_blk_put(blk);
}

static void ram_zeroes_exactly(void)
{
	struct bh_blk *blk = make(&bh_blk_ram_type, "1M", 512);
	struct bh_blk_chan *chan;
	size_t i, wrong = 0;

	CU_ASSERT_EQUAL(bh_blk_chan_open(blk, &chan), 0);
	memset(blk->inline_base, 0xff, 1 << 20);
	/* From block 9 to 1008, across whole pages with ragged edges, and a small one. */
	CU_ASSERT_EQUAL(run(chan, BH_BLK_DEALLOCATE, 9, 1000, NULL, 0), 0);
	CU_ASSERT_EQUAL(run(chan, BH_BLK_WRITE_ZEROES, 2047, 1, NULL, 0), 0);
	for (i = 0; i < 1 << 20; i++) {
		size_t block = i / 512;
		bool zero = (block >= 9 && block < 1009) || block == 2047;

		wrong += blk->inline_base[i] != (zero ? 0 : 0xff);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	bh_blk_chan_close(chan);
	bh_blk_put(blk);
}

struct listener {
	struct bh_blk_listener base;
	uint64_t blocks;
	int calls;
};

static void resized(struct bh_blk_listener *base, uint64_t blocks)
{
	struct listener *l = (struct listener *)base;

	l->blocks = blocks;
	l->calls++;
}

static void listeners_hear_of_sizes(void)
{
	struct bh_blk *blk = make(&bh_blk_null_type, "1M", 512);
	struct listener a = { .base.resized = resized }, b = { .base.resized = resized };

	bh_blk_listen(blk, &a.base);
	bh_blk_listen(blk, &b.base);
	bh_blk_resized(blk, 100);
	bh_blk_unlisten(blk, &a.base);
	bh_blk_resized(blk, 50);
	CU_ASSERT_EQUAL(a.calls, 1);
	CU_ASSERT_EQUAL(b.calls, 2);
	CU_ASSERT_EQUAL(b.blocks, 50);
	CU_ASSERT_EQUAL(bh_blk_info(blk)->blocks, 50);
	bh_blk_unlisten(blk, &b.base);
	bh_blk_put(blk);
	bh_blk_put(NULL);
	bh_blk_chan_close(NULL);
}

static unsigned int yields, resumes, claims, releases;

static void on_yield(struct bh_blk_listener *base)
{
	(void)base;
	yields++;
}

static void on_resume(struct bh_blk_listener *base)
{
	(void)base;
	resumes++;
}

static void count(void *arg)
{
	++*(unsigned int *)arg;
}

static void claims_wait_for_all_who_stand_still(void)
{
	struct bh_blk *blk = make(&bh_blk_null_type, "1M", 512);
	struct listener a = { .base = { .yield = on_yield, .resume = on_resume } }, b = a;
	struct listener only = { .base.resized = resized };

	bh_blk_listen(blk, &a.base);
	bh_blk_listen(blk, &b.base);
	bh_blk_listen(blk, &only.base);
	yields = claims = 0;
	CU_ASSERT_EQUAL(bh_blk_claim(blk, count, &claims), 0);
	CU_ASSERT_EQUAL(yields, 2);
	CU_ASSERT_EQUAL(bh_blk_claim(blk, count, &claims), -EBUSY);
	bh_blk_yielded(blk);
	CU_ASSERT_EQUAL(claims, 0);
	bh_blk_unlisten(blk, &b.base); /* on its way out: what it was asked for, it answers */
	CU_ASSERT_EQUAL(claims, 0);
	bh_blk_yielded(blk);
	CU_ASSERT_EQUAL(claims, 1);
	bh_blk_release(blk, NULL, NULL);
	bh_blk_resumed(blk);
	bh_blk_unlisten(blk, &a.base);
	bh_blk_unlisten(blk, &only.base);
	bh_blk_put(blk);
}

static void releases_wait_for_all_who_go_on(void)
{
	struct bh_blk *blk = make(&bh_blk_null_type, "1M", 512);
	struct listener a = { .base = { .yield = on_yield, .resume = on_resume } }, b = a;

	claims = releases = resumes = 0;
	CU_ASSERT_EQUAL(bh_blk_claim(blk, count, &claims), 0);
	bh_blk_release(blk, count, &releases);
	CU_ASSERT_EQUAL(releases, 1); /* nobody was there */
	bh_blk_listen(blk, &a.base);
	bh_blk_listen(blk, &b.base);
	CU_ASSERT_EQUAL(bh_blk_claim(blk, count, &claims), 0);
	bh_blk_yielded(blk);
	bh_blk_yielded(blk);
	bh_blk_release(blk, count, &releases);
	CU_ASSERT_EQUAL(resumes, 2);
	bh_blk_resumed(blk);
	CU_ASSERT_EQUAL(releases, 1);
	/* Somebody else wants it already. */
	CU_ASSERT_EQUAL(bh_blk_claim(blk, count, &claims), 0);
	bh_blk_yielded(blk);
	CU_ASSERT_EQUAL(releases, 1);
	bh_blk_resumed(blk);
	CU_ASSERT_EQUAL(releases, 2);
	CU_ASSERT_EQUAL(claims, 2);
	bh_blk_yielded(blk);
	CU_ASSERT_EQUAL(claims, 3);
	bh_blk_unlisten(blk, &a.base);
	bh_blk_unlisten(blk, &b.base);
	bh_blk_put(blk);
}

BH_SUITE("store", { "spec_is_checked", spec_is_checked },
	 { "null_leaves_buffers_alone", null_leaves_buffers_alone },
	 { "ram_keeps_data", ram_keeps_data },
	 { "ram_is_there_or_refused", ram_is_there_or_refused },
	 { "ram_zeroes_exactly", ram_zeroes_exactly },
	 { "listeners_hear_of_sizes", listeners_hear_of_sizes },
	 { "claims_wait_for_all_who_stand_still", claims_wait_for_all_who_stand_still },
	 { "releases_wait_for_all_who_go_on", releases_wait_for_all_who_go_on }, )

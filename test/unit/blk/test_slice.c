/* SPDX-License-Identifier: BSD-3-Clause */
/* Slices of a store in memory, and of one that completes late and from another thread. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/clock.h>

#include "../../common/blk_late.h"
#include "unit.h"

#define MIB (1u << 20)

static struct bh_blk *make(const struct bh_blk_type *type, const char *arg, uint32_t block_size)
{
	struct bh_blk_spec spec = { .arg = arg, .block_size = block_size };
	struct bh_blk *blk = NULL;
	char why[256] = "";

	CU_ASSERT_EQUAL_FATAL(type->create(&spec, arg, NULL, why, &blk), 0);
	return blk;
}

/* The slice holds the store below. */
static struct bh_blk *cut(struct bh_blk *below, uint64_t first, uint64_t bytes, uint32_t block_size)
{
	struct bh_blk *slice = NULL;

	CU_ASSERT_EQUAL_FATAL(
		bh_blk_slice_create(below, first, bytes, block_size, "s", NULL, &slice), 0);
	bh_blk_put(below);
	return slice;
}

static int io(struct bh_blk_chan *chan, enum bh_blk_op op, uint64_t lba, uint32_t blocks, void *buf,
	      size_t len, void *cookie)
{
	static struct iovec iovs[64]; /* they stay until completion: no more than 64 are out */
	static unsigned int next;
	struct iovec *iov = &iovs[next++ % 64];
	const struct bh_blk_io one = { .op = (uint8_t)op,
				       .iovcnt = buf ? 1 : 0,
				       .blocks = blocks,
				       .lba = lba,
				       .iov = iov,
				       .cookie = cookie };

	*iov = (struct iovec){ buf, len };
	return bh_blk_submit(chan, &one);
}

static void what_can_be_cut(void)
{
	static const struct {
		uint64_t first, bytes;
		uint32_t block_size;
		int rc;
	} rows[] = {
		{ 0, MIB, 512, 0 },
		{ 512, MIB - 512, 512, 0 },
		{ 0, 4096, 4096, 0 },
		{ 512, MIB, 512, -EINVAL },
		{ MIB + 512, 512, 512, -EINVAL },
		{ 0, 0, 512, -EINVAL },
		{ 100, 512, 512, -EINVAL },
		{ 0, 1000, 512, -EINVAL },
		{ 0, 512, 4096, -EINVAL },
		{ UINT64_MAX - 511, 1024, 512, -EINVAL },
	};
	struct bh_blk *below = make(&bh_blk_ram_type, "1M", 512), *slice, *large;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CU_ASSERT_EQUAL(bh_blk_slice_create(below, rows[i].first, rows[i].bytes,
						    rows[i].block_size, "s", NULL, &slice),
				rows[i].rc);
		bh_blk_put(slice);
	}
	bh_blk_put(below);
	below = make(&bh_blk_ram_type, "1M", 512);
	below->info.format.md_bytes = 8;
	CU_ASSERT_EQUAL(bh_blk_slice_create(below, 0, 4096, 512, "s", NULL, &slice), -EINVAL);
	below->info.format.md_bytes = 0;
	below->info.zoned.bytes = 4096;
	CU_ASSERT_EQUAL(bh_blk_slice_create(below, 0, 4096, 512, "s", NULL, &slice), -EINVAL);
	below->info.zoned.bytes = 0;
	bh_blk_put(below);
	large = make(&bh_blk_null_type, "16T", 4096);
	CU_ASSERT_EQUAL(bh_blk_slice_create(large, 0, 4096, 512, "s", NULL, &slice), -EINVAL);
	CU_ASSERT_EQUAL(bh_blk_slice_create(large, 0, 16ull << 40, 4096, "s", NULL, &slice), 0);
	bh_blk_put(slice);
	bh_blk_put(large);
	large = make(&bh_blk_null_type, "16T", 512);
	CU_ASSERT_EQUAL(bh_blk_slice_create(large, 0, 16ull << 40, 4096, "s", NULL, &slice),
			-EFBIG);
	bh_blk_put(large);
}

/* Memory stays memory, from where the slice begins; larger blocks are where they should be. */
static void memory_is_inline(void)
{
	struct bh_blk *below = make(&bh_blk_ram_type, "1M", 512);
	uint8_t *base = below->inline_base, buf[8192];
	struct bh_blk *slice = cut(below, 65536, 65536, 4096);
	struct bh_blk_chan *chan;

	CU_ASSERT_EQUAL(slice->inline_kind, BH_BLK_INLINE_MEMORY);
	CU_ASSERT_PTR_EQUAL(slice->inline_base, base + 65536);
	CU_ASSERT_EQUAL(bh_blk_info(slice)->blocks, 16);
	CU_ASSERT_EQUAL_FATAL(bh_blk_chan_open(slice, &chan), 0);
	CU_ASSERT_EQUAL(bh_blk_chan_fd(chan), -1);
	memset(buf, 0x5a, sizeof(buf));
	CU_ASSERT_EQUAL(io(chan, BH_BLK_WRITE, 14, 2, buf, sizeof(buf), NULL), 0);
	CU_ASSERT_EQUAL(base[65536 + 14 * 4096 - 1], 0);
	CU_ASSERT_EQUAL(base[65536 + 14 * 4096], 0x5a);
	CU_ASSERT_EQUAL(base[65536 + 65535], 0x5a);
	CU_ASSERT_EQUAL(base[65536 + 65536], 0);
	CU_ASSERT_EQUAL(io(chan, BH_BLK_WRITE, 15, 2, buf, sizeof(buf), NULL), -EINVAL);
	CU_ASSERT_EQUAL(io(chan, BH_BLK_DEALLOCATE, 14, 1, NULL, 0, NULL), 0);
	CU_ASSERT_TRUE(!base[65536 + 14 * 4096] && base[65536 + 15 * 4096] == 0x5a);
	CU_ASSERT_EQUAL(io(chan, BH_BLK_FLUSH, 0, 0, NULL, 0, NULL), 0);
	bh_blk_chan_close(chan);
	bh_blk_put(slice);
}

/* Cookies are the slice's, and it wakes a sleeping owner. */
static void late_completions(void)
{
	struct bh_blk *slice =
		cut(make(&blk_late_type, "1M,hold=5,seed=3", 512), MIB / 2, MIB / 2, 512);
	uint8_t buf[32][512], back[512];
	struct bh_blk_done done[8];
	struct bh_blk_chan *chan;
	uint32_t seen = 0;
	unsigned int i, n;

	CU_ASSERT_EQUAL_FATAL(bh_blk_chan_open(slice, &chan), 0);
	for (i = 0; i < 32; i++) {
		memset(buf[i], (int)i + 1, 512);
		CU_ASSERT_EQUAL(io(chan, BH_BLK_WRITE, i, 1, buf[i], 512, &buf[i]), BH_BLK_QUEUED);
	}
	while (bh_blk_outstanding(chan)) {
		struct pollfd pfd = { .fd = bh_blk_chan_fd(chan), .events = POLLIN };

		if (!bh_blk_chan_arm(chan))
			CU_ASSERT_EQUAL_FATAL(poll(&pfd, 1, 5000), 1);
		n = bh_blk_reap(chan, done, 8);
		for (i = 0; i < n; i++) {
			CU_ASSERT_EQUAL(done[i].status, 0);
			seen |= 1u << ((uint8_t(*)[512])done[i].cookie - buf);
		}
	}
	CU_ASSERT_EQUAL(seen, UINT32_MAX);
	for (i = 0; i < 32; i++) {
		CU_ASSERT_EQUAL(io(chan, BH_BLK_READ, i, 1, back, 512, NULL), BH_BLK_QUEUED);
		while (!bh_blk_reap(chan, done, 8))
			;
		CU_ASSERT_EQUAL(back[0], i + 1);
	}
	bh_blk_chan_close(chan);
	bh_blk_put(slice);
}

static unsigned int num_left;

static void left(void *cookie)
{
	CU_ASSERT_EQUAL(*(uint8_t *)cookie, 7);
	__atomic_fetch_add(&num_left, 1, __ATOMIC_SEQ_CST);
}

/* The channel goes with requests in it: each cookie comes back once, and all is freed. */
static void leaving_with_requests(void)
{
	struct bh_blk *slice = cut(make(&blk_late_type, "1M,hold=30", 512), 4096, 65536, 4096);
	uint8_t buf[8][4096];
	struct bh_blk_chan *chan;
	uint64_t end = bh_now_ns() + 5000000000ull;
	unsigned int i;

	num_left = 0;
	CU_ASSERT_EQUAL_FATAL(bh_blk_chan_open(slice, &chan), 0);
	for (i = 0; i < 8; i++) {
		buf[i][0] = 7;
		CU_ASSERT_EQUAL(io(chan, BH_BLK_WRITE, i, 1, buf[i], 4096, buf[i]), BH_BLK_QUEUED);
	}
	bh_blk_chan_leave(chan, left);
	bh_blk_put(slice);
	while (__atomic_load_n(&num_left, __ATOMIC_SEQ_CST) < 8 && bh_now_ns() < end)
		;
	CU_ASSERT_EQUAL(num_left, 8);
}

static void cancelled(void)
{
	struct bh_blk *slice =
		cut(make(&blk_late_type, "1M,hold=60000,direct=1", 512), 0, 65536, 512);
	struct bh_blk_done done = { 0 };
	struct bh_blk_chan *chan;
	uint8_t buf[512] = { 1 };

	CU_ASSERT_TRUE(bh_blk_info(slice)->caps & BH_BLK_CAP_CANCEL_SYNC);
	CU_ASSERT_EQUAL_FATAL(bh_blk_chan_open(slice, &chan), 0);
	CU_ASSERT_EQUAL(io(chan, BH_BLK_WRITE, 0, 1, buf, 512, buf), BH_BLK_QUEUED);
	bh_blk_cancel(chan, chan); /* none has that cookie */
	bh_blk_cancel(chan, buf);
	while (!bh_blk_reap(chan, &done, 1))
		;
	CU_ASSERT_TRUE(done.cookie == buf && done.status == -ECANCELED);
	bh_blk_chan_close(chan);
	bh_blk_put(slice);
}

static void claimed(void *arg)
{
	*(bool *)arg = true;
}

/* Slices count in blocks as they were when they were cut. */
static void the_store_below_keeps_its_format(void)
{
	const struct bh_blk_format large = { .block_size = 4096 }, same = { .block_size = 512 };
	struct bh_blk *below = make(&bh_blk_ram_type, "1M", 512), *slice = NULL;
	bool is_mine = false;

	CU_ASSERT_EQUAL(bh_blk_format_check(below, &large), 0);
	CU_ASSERT_EQUAL_FATAL(bh_blk_slice_create(below, 0, 4096, 512, "s", NULL, &slice), 0);
	CU_ASSERT_EQUAL(bh_blk_format_check(below, &large), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_blk_format_check(below, &same), 0);
	bh_blk_put(slice);
	CU_ASSERT_EQUAL(bh_blk_format_check(below, &large), 0);
	CU_ASSERT_EQUAL(bh_blk_claim(below, claimed, &is_mine), 0);
	CU_ASSERT_TRUE(is_mine);
	CU_ASSERT_EQUAL(bh_blk_slice_create(below, 0, 4096, 512, "s", NULL, &slice), -EBUSY);
	CU_ASSERT_PTR_NULL(slice);
	bh_blk_release(below, NULL, NULL);
	bh_blk_put(below);
}

BH_SUITE("blk_slice", { "what_can_be_cut", what_can_be_cut },
	 { "memory_is_inline", memory_is_inline }, { "late_completions", late_completions },
	 { "leaving_with_requests", leaving_with_requests }, { "cancelled", cancelled },
	 { "the_store_below_keeps_its_format", the_store_below_keeps_its_format }, )

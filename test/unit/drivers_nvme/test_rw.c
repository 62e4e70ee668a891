/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads, writes and the other I/O commands against the fake controller. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nvme/queue.h"
#include "rig.h"

static void fill(uint8_t *p, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8) * 13);
}

/* Writes from one place, reads to another, compares. */
static void round_trip(struct rig *r, size_t offset, uint64_t lba, uint32_t blocks)
{
	size_t len = (size_t)blocks * bh_nvme_ns_block_size(r->ns);
	uint8_t *out = r->buf + offset, *in = r->buf + (4u << 20) + offset;
	struct tally t = { 0 };

	fill(out, len, (unsigned int)(lba + blocks));
	memset(in, 0, len);
	CU_ASSERT_EQUAL(bh_nvme_write(r->q, r->ns, out, lba, blocks, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(r, &t, 1));
	CU_ASSERT_EQUAL(bh_nvme_read(r->q, r->ns, in, lba, blocks, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(r, &t, 2));
	CU_ASSERT_EQUAL(t.errors, 0);
	CU_ASSERT_EQUAL(memcmp(out, in, len), 0);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r->q), 0);
}

static void sizes(struct rig *r)
{
	static const size_t offsets[] = { 0, 4, 512, 2048, 4092 };
	static const uint32_t blocks[] = { 1, 8, 9, 16, 17, 24, 64, 65, 200, 1000 };
	size_t i, j;

	for (i = 0; i < 5; i++)
		for (j = 0; j < 10; j++)
			round_trip(r, offsets[i], 3 * j + i, blocks[j]);
}

static void offsets_and_sizes_by_prp(void)
{
	struct rig r;

	rig_start(&r, NULL, 31);
	CU_ASSERT_FALSE(bh_nvme_has_sgl(r.nvme));
	CU_ASSERT_EQUAL(bh_nvme_max_transfer(r.nvme), 32768);
	sizes(&r);
	CU_ASSERT_EQUAL(fake_get(&r.fake->max_bytes), 32768);
	rig_close(&r);
}

static void offsets_and_sizes_by_sgl(void)
{
	struct fake_opts o;
	struct rig r;

	fake_opts_init(&o);
	o.sgl = true;
	rig_start(&r, &o, 31);
	CU_ASSERT_TRUE(bh_nvme_has_sgl(r.nvme));
	sizes(&r);
	CU_ASSERT(fake_get(&r.fake->sgls) > 0);
	rig_close(&r);
}

static void large_transfers_chain_list_pages(void)
{
	struct fake_opts o;
	struct rig r;

	fake_opts_init(&o);
	o.mdts = 10; /* 4 MiB: more than 512 list entries */
	o.block_shift = 12;
	rig_start(&r, &o, 7);
	CU_ASSERT_EQUAL(bh_nvme_max_transfer(r.nvme), 4u << 20);
	round_trip(&r, 0, 0, 1000);
	CU_ASSERT(fake_get(&r.fake->chained) > 0);
	rig_close(&r);
}

static void blocks_of_4096_bytes(void)
{
	struct fake_opts o;
	struct rig r;

	fake_opts_init(&o);
	o.block_shift = 12;
	rig_start(&r, &o, 31);
	round_trip(&r, 0, 5, 1);
	round_trip(&r, 8, 6, 3);
	round_trip(&r, 4092, 9, 50);
	rig_close(&r);
}

static void boundary_splits(void)
{
	struct fake_opts o;
	struct rig r;
	struct bh_nvme_queue_stats stats;

	fake_opts_init(&o);
	o.noiob = 24;
	rig_start(&r, &o, 31);
	round_trip(&r, 0, 20, 8);
	round_trip(&r, 16, 23, 100);
	bh_nvme_queue_stats(r.q, &stats);
	CU_ASSERT_EQUAL(stats.splits, 4);
	rig_close(&r);
}

static void more_commands_than_slots(void)
{
	struct rig r;

	rig_start(&r, NULL, 2);
	round_trip(&r, 4, 0, 2000); /* 32 commands through 2 slots */
	CU_ASSERT_EQUAL(bh_nvme_queue_depth(r.q), 2);
	rig_close(&r);
}

static void one_command_queue_wraps(void)
{
	struct rig r;
	unsigned int i;

	rig_start(&r, NULL, 1);
	for (i = 0; i < 50; i++)
		round_trip(&r, 0, i, 1);
	rig_close(&r);
}

/* Between polls: with as many commands in flight as the rings have room for, too. */
static void the_completion_queue_never_fills(void)
{
	struct fake_opts o;
	struct rig r;
	struct tally t = { 0 };
	unsigned int depth, i, round;

	fake_opts_init(&o);
	o.mqes = 15;
	for (depth = 1; depth <= 15; depth++) {
		rig_start(&r, &o, depth);
		t.done = 0;
		for (round = 1; round <= 40; round++) {
			/* Any number of consumed entries may not be given back yet. */
			unsigned int n = round % 3 ? depth : 1, ios = t.done;

			for (i = 0; i < n; i++)
				CU_ASSERT_EQUAL(
					bh_nvme_read(r.q, r.ns, r.buf, i, 1, 0, tally_done, &t), 0);
			bh_nvme_queue_flush(r.q);
			while (fake_get(&r.fake->ios) < ios + n && !fake_get(&r.fake->stalls))
				sched_yield();
			CU_ASSERT_TRUE(rig_wait(&r, &t, ios + n));
		}
		CU_ASSERT_EQUAL(fake_get(&r.fake->stalls), 0);
		rig_close(&r);
	}
}

static void full_queue_is_eagain(void)
{
	struct rig r;
	struct tally t = { 0 };
	unsigned int i;

	rig_start(&r, NULL, 8);
	fake_set(&r.fake->hold, 1);
	for (i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, i, 1, 0, tally_done, &t), 0);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), -EAGAIN);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 200, 0, tally_done, &t), -EAGAIN);
	CU_ASSERT_EQUAL(bh_nvme_flush(r.q, r.ns, tally_done, &t), -EAGAIN);
	bh_nvme_queue_flush(r.q);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.fake->ios, 8));
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 8);
	fake_release(r.fake);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 8));
	rig_close(&r);
}

static void wrong_requests_are_refused(void)
{
	struct rig r;
	struct tally t = { 0 };
	uint8_t outside[512];
	struct iovec iov[2];
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_READ, .nsid = 1 };

	rig_start(&r, NULL, 8);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 0, 0, tally_done, &t), -EINVAL);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, outside, 0, 1, 0, tally_done, &t), -EFAULT);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf + 2, 0, 1, 0, tally_done, &t), -EFAULT);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, UINT32_MAX, 0, tally_done, &t), -EFAULT);
	iov[0] = (struct iovec){ r.buf, 512 };
	iov[1] = (struct iovec){ r.buf + 4096, 512 };
	CU_ASSERT_EQUAL(bh_nvme_readv(r.q, r.ns, iov, 2, 0, 3, 0, tally_done, &t), -EINVAL);
	iov[1].iov_base = outside;
	CU_ASSERT_EQUAL(bh_nvme_readv(r.q, r.ns, iov, 2, 0, 2, 0, tally_done, &t), -EFAULT);
	/* Not one block goes into a PRP list. */
	iov[0] = (struct iovec){ r.buf, 256 };
	iov[1] = (struct iovec){ r.buf + 4096, 256 };
	CU_ASSERT_EQUAL(bh_nvme_readv(r.q, r.ns, iov, 2, 0, 1, 0, tally_done, &t), -EINVAL);
	iov[0] = (struct iovec){ r.buf, 65536 };
	CU_ASSERT_EQUAL(bh_nvme_io(r.q, &cmd, iov, 1, tally_done, &t), -EMSGSIZE);
	CU_ASSERT_EQUAL(bh_nvme_deallocate(r.q, r.ns, (void *)r.buf, 0, tally_done, &t), -EINVAL);
	CU_ASSERT_EQUAL(bh_nvme_deallocate(r.q, r.ns, (void *)r.buf, 257, tally_done, &t), -EINVAL);
	CU_ASSERT_EQUAL(t.done, 0);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 0);
	rig_close(&r);
}

static void scattered(struct rig *r)
{
	struct iovec iov[40];
	struct tally t = { 0 };
	uint8_t *at = r->buf, *flat = r->buf + (6u << 20);
	unsigned int i, n = 0;
	uint32_t blocks = 0;

	/* 512 to 3072 bytes each, with holes: as PRPs, nearly every one is a command of its own. */
	for (i = 0; i < 40; i++) {
		iov[i] = (struct iovec){ at, 512 * (1 + i % 6) };
		fill(at, iov[i].iov_len, i);
		memcpy(flat + blocks * 512, at, iov[i].iov_len);
		blocks += 1 + i % 6;
		at += 4096 + (i % 3) * 512;
		n++;
	}
	CU_ASSERT_EQUAL(bh_nvme_writev(r->q, r->ns, iov, n, 7, blocks, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(r, &t, 1));
	CU_ASSERT_EQUAL(bh_nvme_read(r->q, r->ns, flat + 65536 * 2, 7, blocks, 0, tally_done, &t),
			0);
	CU_ASSERT_TRUE(rig_wait(r, &t, 2));
	CU_ASSERT_EQUAL(memcmp(flat, flat + 65536 * 2, blocks * 512), 0);
	for (i = 0; i < n; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
	CU_ASSERT_EQUAL(bh_nvme_readv(r->q, r->ns, iov, n, 7, blocks, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(r, &t, 3));
	for (i = 0, at = flat; i < n; at += iov[i++].iov_len)
		CU_ASSERT_EQUAL(memcmp(iov[i].iov_base, at, iov[i].iov_len), 0);
	CU_ASSERT_EQUAL(t.errors, 0);
}

static void vectors_by_prp(void)
{
	struct rig r;

	rig_start(&r, NULL, 63);
	scattered(&r);
	rig_close(&r);
}

static void vectors_by_prp_with_few_slots(void)
{
	struct rig r;

	rig_start(&r, NULL, 3);
	scattered(&r);
	rig_close(&r);
}

static void vectors_by_sgl(void)
{
	struct fake_opts o;
	struct rig r;

	fake_opts_init(&o);
	o.sgl = true;
	rig_start(&r, &o, 63);
	scattered(&r);
	rig_close(&r);
}

static void other_commands(void)
{
	struct rig r;
	struct tally t = { 0 };
	struct bh_nvme_dsm_range *range;
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_READ, .nsid = 1, .cdw10 = 4 };
	struct iovec iov;

	rig_start(&r, NULL, 31);
	fill(r.buf, 65536, 9);
	bh_nvme_write(r.q, r.ns, r.buf, 0, 128, BH_NVME_FUA, tally_done, &t);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	CU_ASSERT_EQUAL(bh_nvme_compare(r.q, r.ns, r.buf, 0, 128, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 2));
	CU_ASSERT_EQUAL(t.errors, 0);
	CU_ASSERT_EQUAL(bh_nvme_compare(r.q, r.ns, r.buf + 512, 0, 8, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 3));
	CU_ASSERT_EQUAL(t.status, BH_NVME_SC_COMPARE_FAILURE);
	CU_ASSERT_EQUAL(bh_nvme_flush(r.q, r.ns, tally_done, &t), 0);
	CU_ASSERT_EQUAL(bh_nvme_write_zeroes(r.q, r.ns, 0, 2, 0, tally_done, &t), 0);
	range = (void *)(r.buf + (1u << 20));
	range[0] = (struct bh_nvme_dsm_range){ .blocks = 1, .lba = 2 };
	range[1] = (struct bh_nvme_dsm_range){ .blocks = 1, .lba = 3 };
	CU_ASSERT_EQUAL(bh_nvme_deallocate(r.q, r.ns, range, 2, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 6));
	CU_ASSERT_EQUAL(t.errors, 1);
	bh_nvme_read(r.q, r.ns, r.buf + 65536, 0, 4, 0, tally_done, &t);
	iov = (struct iovec){ r.buf + 65536 + 2048, 512 };
	CU_ASSERT_EQUAL(bh_nvme_io(r.q, &cmd, &iov, 1, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 8));
	CU_ASSERT_EQUAL(r.buf[65536] | r.buf[65536 + 2047], 0);
	CU_ASSERT_EQUAL(memcmp(r.buf + 65536 + 2048, r.buf + 2048, 512), 0);
	rig_close(&r);
}

static void a_failing_part_fails_the_request_once(void)
{
	struct rig r;
	struct tally t = { 0 };

	rig_start(&r, NULL, 31);
	fake_set(&r.fake->fail_next, BH_NVME_SC_UNRECOVERED_READ_ERROR);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1000, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	CU_ASSERT_EQUAL(t.status, BH_NVME_SC_UNRECOVERED_READ_ERROR);
	/* Past the end of the namespace: the controller says so. */
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, FAKE_BLOCKS - 3, 200, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 2));
	CU_ASSERT_EQUAL(t.status, BH_NVME_SC_LBA_OUT_OF_RANGE);
	rig_close(&r);
}

static void reap_returns_results_in_batches(void)
{
	struct rig r;
	struct bh_nvme_result out[4];
	struct tally t = { 0 };
	unsigned int i, got = 0, seen = 0;
	int n;

	rig_start(&r, NULL, 31);
	for (i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, i, i == 3 ? 300 : 1, 0, NULL,
					     (void *)(uintptr_t)(i + 1)),
				0);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), 0);
	for (i = 0; i < 100000000 && (got < 20 || !t.done); i++) {
		n = bh_nvme_queue_reap(r.q, out, 4);
		CU_ASSERT_FATAL(n >= 0 && n <= 4);
		for (; n > 0; n--, got++) {
			CU_ASSERT_EQUAL(out[n - 1].status, 0);
			seen ^= 1u << (uintptr_t)out[n - 1].arg;
		}
	}
	CU_ASSERT_EQUAL(got, 20);
	CU_ASSERT_EQUAL(seen, ((1u << 20) - 1) << 1);
	CU_ASSERT_EQUAL(t.done, 1);
	rig_close(&r);
}

/* Odd sizes and offsets, one too large, one that is split: all of it in order, nothing twice. */
static void a_burst_is_as_many_calls(void)
{
	enum { N = 12 };
	static const struct {
		uint32_t off, blocks;
	} shape[N] = { { 0, 8 },   { 512, 1 },	{ 3584, 2 },  { 4092, 8 },  { 0, 8 },	{ 4, 16 },
		       { 0, 300 }, { 512, 15 }, { 4096, 16 }, { 4608, 16 }, { 100, 1 }, { 0, 1 } };
	struct bh_nvme_result out[N];
	struct bh_nvme_rw rw[N];
	struct rig r;
	int n;

	rig_start(&r, NULL, 31);
	for (unsigned int round = 0; round < 40; round++) {
		uint32_t write = round % 2 ? 0 : BH_NVME_RW_WRITE, lba = 0;
		unsigned int got = 0, seen = 0;

		for (unsigned int i = 0; i < N; i++) {
			uint8_t *buf = r.buf + i * (256u << 10) + shape[i].off;

			rw[i] = (struct bh_nvme_rw){ buf, (void *)(uintptr_t)i, lba,
						     shape[i].blocks, write };
			memset(buf, write ? (int)(round + i) : 0, shape[i].blocks * 512);
			lba += shape[i].blocks;
		}
		CU_ASSERT_EQUAL_FATAL(bh_nvme_rw_burst(r.q, r.ns, rw, N, NULL), N);
		CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q) > 0, true);
		for (unsigned int i = 0; i < 100000000 && got < N; i++) {
			n = bh_nvme_queue_reap(r.q, out, N);
			CU_ASSERT_FATAL(n >= 0);
			for (got += (unsigned int)n; n > 0; n--) {
				CU_ASSERT_EQUAL(out[n - 1].status, 0);
				seen ^= 1u << (uintptr_t)out[n - 1].arg;
			}
		}
		CU_ASSERT_EQUAL(seen, (1u << N) - 1);
		for (unsigned int i = 0; !write && i < N; i++) {
			const uint8_t *buf = rw[i].buf;
			size_t end = rw[i].blocks * 512;

			CU_ASSERT_EQUAL(buf[0], (uint8_t)(round - 1 + i));
			CU_ASSERT_EQUAL(memcmp(buf, buf + 1, end - 1), 0);
		}
	}
	rig_close(&r);
}

static void a_burst_stops_where_a_call_would_fail(void)
{
	struct bh_nvme_rw rw[40];
	struct tally t = { 0 };
	struct rig r;
	int local;

	rig_start(&r, NULL, 31);
	for (unsigned int i = 0; i < 40; i++)
		rw[i] = (struct bh_nvme_rw){ r.buf, &t, 0, 1, 0 };
	CU_ASSERT_EQUAL(bh_nvme_rw_burst(r.q, r.ns, rw, 0, tally_done), 0);
	CU_ASSERT_EQUAL(bh_nvme_rw_burst(r.q, r.ns, rw, 40, tally_done), 31);
	CU_ASSERT_EQUAL(bh_nvme_rw_burst(r.q, r.ns, rw, 9, tally_done), -EAGAIN);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 31);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 31));
	rw[3].buf = r.buf + 2;
	CU_ASSERT_EQUAL(bh_nvme_rw_burst(r.q, r.ns, rw, 9, tally_done), 3);
	CU_ASSERT_EQUAL(bh_nvme_rw_burst(r.q, r.ns, rw + 3, 6, tally_done), -EFAULT);
	rw[3].buf = &local;
	CU_ASSERT_EQUAL(bh_nvme_rw_burst(r.q, r.ns, rw + 3, 6, tally_done), -EFAULT);
	/* Its end would be beyond the last address. */
	rw[3].buf = (void *)(UINTPTR_MAX - 3);
	CU_ASSERT_EQUAL(bh_nvme_rw_burst(r.q, r.ns, rw + 3, 6, tally_done), -EFAULT);
	rw[3].buf = r.buf;
	rw[4].blocks = 0;
	CU_ASSERT_EQUAL(bh_nvme_rw_burst(r.q, r.ns, rw + 3, 6, tally_done), 1);
	CU_ASSERT_EQUAL(bh_nvme_rw_burst(r.q, r.ns, rw + 4, 6, tally_done), -EINVAL);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 35));
	CU_ASSERT_EQUAL(t.errors, 0);
	rig_close(&r);
}

/* Past a pool's end nothing is reached, up to it everything is. */
static void a_burst_stays_in_its_pool(void)
{
	struct bh_nvme_rw rw[2];
	struct tally t = { 0 };
	struct rig r;
	uint8_t *end;

	rig_start(&r, NULL, 31);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), 0);
	end = (uint8_t *)(r.q->iova_cache.va + r.q->iova_cache.len);
	rw[0] = (struct bh_nvme_rw){ end - 4096, &t, 0, 8, 0 };
	rw[1] = (struct bh_nvme_rw){ end - 4096 + 512, &t, 0, 8, 0 };
	CU_ASSERT_EQUAL(bh_nvme_rw_burst(r.q, r.ns, rw, 2, tally_done), 1);
	CU_ASSERT_EQUAL(bh_nvme_rw_burst(r.q, r.ns, rw + 1, 1, tally_done), -EFAULT);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 2));
	rig_close(&r);
}

/* The part after the last address would be at 0. */
static void addresses_do_not_wrap(void)
{
	struct rig r;
	struct tally t = { 0 };
	uint32_t ios;

	rig_start(&r, NULL, 31);
	CU_ASSERT_EQUAL(bh_nvme_write(r.q, r.ns, r.buf, UINT64_MAX - 63, 128, 0, tally_done, &t),
			-EINVAL);
	CU_ASSERT_EQUAL(
		bh_nvme_write_zeroes(r.q, r.ns, UINT64_MAX - 65535, 65537, 0, tally_done, &t),
		-EINVAL);
	ios = fake_get(&r.fake->ios);
	CU_ASSERT_EQUAL(ios, 0);
	CU_ASSERT_EQUAL(bh_nvme_write(r.q, r.ns, r.buf, UINT64_MAX - 127, 128, 0, tally_done, &t),
			0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	CU_ASSERT_EQUAL(t.status & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_LBA_OUT_OF_RANGE);
	rig_close(&r);
}

struct chain {
	struct rig *r;
	unsigned int left, done;
};

static void chain_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct chain *c = arg;

	CU_ASSERT_EQUAL(bh_nvme_cpl_status(cpl), 0);
	c->done++;
	if (c->left) {
		c->left--;
		CU_ASSERT_EQUAL(bh_nvme_read(c->r->q, c->r->ns, c->r->buf, c->left % 64, 1, 0,
					     chain_done, c),
				0);
	}
}

static void callbacks_keep_the_queue_busy(void)
{
	struct rig r;
	struct chain c = { &r, 20000, 0 };
	uint64_t end;
	unsigned int i;
	struct bh_nvme_queue_stats stats;

	rig_start(&r, NULL, 63);
	for (i = 0; i < 63; i++)
		bh_nvme_read(r.q, r.ns, r.buf, i, 1, 0, chain_done, &c);
	end = bh_now_ns() + 20000000000ull;
	while (c.done < 20063 && bh_now_ns() < end)
		bh_nvme_queue_poll(r.q, 0);
	CU_ASSERT_EQUAL(c.done, 20063);
	bh_nvme_queue_stats(r.q, &stats);
	CU_ASSERT_EQUAL(stats.submissions, 20063);
	CU_ASSERT_EQUAL(stats.completions, 20063);
	CU_ASSERT(stats.cq_doorbells <= 20063 / 15 + 1);
	rig_close(&r);
}

static void destroy_completes_what_is_out(void)
{
	struct rig r;
	struct tally t = { 0 };
	unsigned int i;

	rig_start(&r, NULL, 31);
	fake_set(&r.fake->hold, 1);
	for (i = 0; i < 10; i++)
		bh_nvme_read(r.q, r.ns, r.buf, i, i == 4 ? 200 : 1, 0, tally_done, &t);
	bh_nvme_queue_flush(r.q);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.fake->ios, 13));
	bh_nvme_queue_destroy(r.q);
	r.q = NULL;
	CU_ASSERT_EQUAL(t.done, 10);
	CU_ASSERT_EQUAL(t.errors, 10);
	CU_ASSERT_EQUAL(t.status, BH_NVME_SC_ABORTED_SQ_DELETION);
	CU_ASSERT_EQUAL(fake_get(&r.fake->deleted_with_io), 13);
	rig_close(&r);
}

BH_SUITE("nvme_rw", { "offsets_and_sizes_by_prp", offsets_and_sizes_by_prp },
	 { "offsets_and_sizes_by_sgl", offsets_and_sizes_by_sgl },
	 { "large_transfers_chain_list_pages", large_transfers_chain_list_pages },
	 { "blocks_of_4096_bytes", blocks_of_4096_bytes }, { "boundary_splits", boundary_splits },
	 { "more_commands_than_slots", more_commands_than_slots },
	 { "one_command_queue_wraps", one_command_queue_wraps },
	 { "the_completion_queue_never_fills", the_completion_queue_never_fills },
	 { "full_queue_is_eagain", full_queue_is_eagain },
	 { "wrong_requests_are_refused", wrong_requests_are_refused },
	 { "vectors_by_prp", vectors_by_prp },
	 { "vectors_by_prp_with_few_slots", vectors_by_prp_with_few_slots },
	 { "vectors_by_sgl", vectors_by_sgl }, { "other_commands", other_commands },
	 { "a_failing_part_fails_the_request_once", a_failing_part_fails_the_request_once },
	 { "reap_returns_results_in_batches", reap_returns_results_in_batches },
	 { "a_burst_is_as_many_calls", a_burst_is_as_many_calls },
	 { "a_burst_stops_where_a_call_would_fail", a_burst_stops_where_a_call_would_fail },
	 { "a_burst_stays_in_its_pool", a_burst_stays_in_its_pool },
	 { "callbacks_keep_the_queue_busy", callbacks_keep_the_queue_busy },
	 { "addresses_do_not_wrap", addresses_do_not_wrap },
	 { "destroy_completes_what_is_out", destroy_completes_what_is_out }, )

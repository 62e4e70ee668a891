/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compare and Write: two entries side by side for one doorbell, which the fake controller insists on,
 * and one completion for both.
 */
#include <errno.h>
#include <string.h>

#include "nvme/queue.h"
#include "rig.h"

#define OLD(r) ((r)->buf)
#define NEW(r) ((r)->buf + 65536)

static void open_with(struct rig *r, struct fake_opts *o, unsigned int depth)
{
	o->fused = true;
	rig_start(r, o, depth);
}

static void set(uint8_t *at, uint32_t blocks, uint8_t value)
{
	memset(at, value, blocks * 512u);
}

/* The status of one, 0xffff: it did not end. */
static uint16_t run(struct rig *r, uint64_t lba, uint32_t blocks)
{
	struct tally t = { 0 };

	CU_ASSERT_EQUAL_FATAL(bh_nvme_compare_and_write(r->q, r->ns, OLD(r), NEW(r), lba, blocks, 0,
							tally_done, &t),
			      0);
	return rig_wait(r, &t, 1) ? t.status : 0xffff;
}

static void round_of(struct rig *r, uint32_t blocks)
{
	const uint8_t *disk = r->fake->disk + 40 * 512;

	set(r->fake->disk + 40 * 512, blocks, 1);
	set(OLD(r), blocks, 1);
	set(NEW(r), blocks, 2);
	CU_ASSERT_EQUAL(run(r, 40, blocks), 0);
	CU_ASSERT_EQUAL(memcmp(disk, NEW(r), blocks * 512u), 0);
	set(NEW(r), blocks, 3);
	CU_ASSERT_EQUAL(run(r, 40, blocks), BH_NVME_SC_COMPARE_FAILURE);
	CU_ASSERT_EQUAL(disk[0], 2);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r->q), 0);
}

static void pairs_go_side_by_side(void)
{
	unsigned int how, i;

	for (how = 0; how < 4; how++) {
		struct fake_opts o;
		struct rig r;

		fake_opts_init(&o);
		o.acwu = 63;
		o.sgl = how & 1;
		o.fused_backwards = how & 2;
		open_with(&r, &o, 4);
		CU_ASSERT_EQUAL(bh_nvme_compare_and_write_max(r.ns), 64);
		for (i = 0; i < 7; i++) { /* round the ring */
			round_of(&r, 1);
			round_of(&r, 64); /* of lists */
		}
		rig_close(&r);
	}
}

/* Commands before and behind, on a queue that is busy: the doorbell comes later, for all. */
static void pairs_among_others(void)
{
	struct tally others = { 0 }, pairs = { 0 };
	struct fake_opts o;
	struct rig r;
	unsigned int i;

	fake_opts_init(&o);
	open_with(&r, &o, 31);
	set(OLD(&r), 1, 0);
	set(NEW(&r), 1, 0);
	for (i = 0; i < 100; i++) {
		bh_nvme_read(r.q, r.ns, r.buf + (1u << 20), 0, 1, 0, tally_done, &others);
		while (bh_nvme_compare_and_write(r.q, r.ns, OLD(&r), NEW(&r), i, 1, 0, tally_done,
						 &pairs))
			bh_nvme_queue_poll(r.q, 0);
	}
	CU_ASSERT_TRUE(rig_wait(&r, &pairs, 100));
	CU_ASSERT_EQUAL(pairs.errors, 0);
	CU_ASSERT_EQUAL(others.errors, 0);
	CU_ASSERT_EQUAL(pairs.done, 100);
	rig_close(&r);
}

static void two_slots_or_none(void)
{
	struct tally t = { 0 };
	struct fake_opts o;
	struct rig r;

	fake_opts_init(&o);
	open_with(&r, &o, 3);
	fake_set(&r.fake->hold, 1);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), 0);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), 0);
	CU_ASSERT_EQUAL(
		bh_nvme_compare_and_write(r.q, r.ns, OLD(&r), NEW(&r), 0, 1, 0, tally_done, &t),
		-EAGAIN);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 2);
	fake_set(&r.fake->hold, 0);
	bh_nvme_queue_destroy(r.q);
	r.q = NULL;
	CU_ASSERT_EQUAL(rig_queue(&r, 1, false), 0);
	CU_ASSERT_EQUAL(
		bh_nvme_compare_and_write(r.q, r.ns, OLD(&r), NEW(&r), 0, 1, 0, tally_done, &t),
		-EINVAL);
	rig_close(&r);
}

static uint32_t max_of(struct fake_opts o)
{
	uint32_t max;
	struct rig r;

	rig_start(&r, &o, 31);
	max = bh_nvme_compare_and_write_max(r.ns);
	rig_close(&r);
	return max;
}

/* ACWU, or the namespace's own; never more than a command may be. */
static void limits(void)
{
	struct fake_opts o;

	fake_opts_init(&o);
	o.acwu = 7;
	CU_ASSERT_EQUAL(max_of(o), 0);
	o.fused = true;
	CU_ASSERT_EQUAL(max_of(o), 8);
	o.nacwu = 15; /* says nothing, without NSABP */
	CU_ASSERT_EQUAL(max_of(o), 8);
	o.nsfeat = BH_NVME_NSFEAT_NSABP;
	CU_ASSERT_EQUAL(max_of(o), 16);
	o.nacwu = 0;
	CU_ASSERT_EQUAL(max_of(o), 8);
	o.nabsn = 7; /* atomic boundaries */
	CU_ASSERT_EQUAL(max_of(o), 1);
	o.nsfeat = 0;
	o.acwu = 65535;
	CU_ASSERT_EQUAL(max_of(o), 64); /* MDTS */
	o.ms = 8;
	CU_ASSERT_EQUAL(max_of(o), 0);
}

static void wrong_ones_are_refused(void)
{
	struct tally t = { 0 };
	static uint8_t outside[512];
	struct fake_opts o;
	struct rig r;

#define TRY(old, new, lba, blocks) \
	bh_nvme_compare_and_write(r.q, r.ns, old, new, lba, blocks, 0, tally_done, &t)
	fake_opts_init(&o);
	o.acwu = 3;
	open_with(&r, &o, 8);
	CU_ASSERT_EQUAL(TRY(OLD(&r), NEW(&r), 0, 0), -EINVAL);
	CU_ASSERT_EQUAL(TRY(OLD(&r), NEW(&r), UINT64_MAX, 2), -EINVAL);
	CU_ASSERT_EQUAL(TRY(OLD(&r), NEW(&r), 0, 5), -EMSGSIZE);
	CU_ASSERT_EQUAL(TRY(outside, NEW(&r), 0, 1), -EFAULT);
	CU_ASSERT_EQUAL(TRY(OLD(&r), outside, 0, 1), -EFAULT);
	CU_ASSERT_EQUAL(TRY(OLD(&r), NEW(&r) + 1, 0, 1), -EFAULT);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 0);
	set(OLD(&r), 4, 0);
	CU_ASSERT_EQUAL(run(&r, FAKE_BLOCKS, 4), BH_NVME_SC_LBA_OUT_OF_RANGE);
	CU_ASSERT_EQUAL(run(&r, 0, 4), 0);
	rig_close(&r);
	fake_opts_init(&o);
	rig_start(&r, &o, 8);
	CU_ASSERT_EQUAL(TRY(OLD(&r), NEW(&r), 0, 1), -EOPNOTSUPP);
	rig_close(&r);
#undef TRY
}

/* With one of the two, or both, out: one completion, and nothing is left. */
static void resets_end_them_once(void)
{
	struct tally t = { 0 };
	struct fake_opts o;
	struct rig r;
	unsigned int i;

	fake_opts_init(&o);
	open_with(&r, &o, 31);
	fake_set(&r.fake->hold, 1);
	for (i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(bh_nvme_compare_and_write(r.q, r.ns, OLD(&r), NEW(&r), i, 1, 0,
							  tally_done, &t),
				0);
	bh_nvme_queue_flush(r.q);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.fake->ios, 10));
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 10);
	fake_set(&r.fake->hold, 0);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 5));
	CU_ASSERT_EQUAL(t.done, 5);
	CU_ASSERT_EQUAL(t.status, BH_NVME_SC_ABORTED_SQ_DELETION);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 0);
	set(OLD(&r), 1, 0);
	while (bh_nvme_compare_and_write(r.q, r.ns, OLD(&r), NEW(&r), 9, 1, 0, tally_done, &t))
		rig_poll_ms(&r, 1, true);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 6));
	CU_ASSERT_EQUAL(t.errors, 5);
	rig_close(&r);
}

BH_SUITE("nvme_fused", { "pairs_go_side_by_side", pairs_go_side_by_side },
	 { "pairs_among_others", pairs_among_others }, { "two_slots_or_none", two_slots_or_none },
	 { "limits", limits }, { "wrong_ones_are_refused", wrong_ones_are_refused },
	 { "resets_end_them_once", resets_end_them_once }, )

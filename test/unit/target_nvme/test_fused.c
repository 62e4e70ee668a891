/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fused Compare and Write: what both commands end with, wherever they are in the ring and whenever
 * they are announced, what becomes of halves, and whom the two keep waiting.
 */
#include "io_rig.h"
#include "target/nvme/resv.h"

#define BLOCK 512u
#define LBA 40u
#define OLD_AT RIG_DATA_AT /* what is compared with */
#define NEW_AT (RIG_DATA_AT + 0x10000u)
#define BACK_AT (RIG_DATA_AT + 0x20000u)
#define MISSING TN_SF(BH_NVME_SC_ABORTED_MISSING_FUSED)
#define FAILED TN_SF(BH_NVME_SC_ABORTED_FAILED_FUSED)
#define MISCOMPARE TN_SF(BH_NVME_SC_COMPARE_FAILURE)
#define NOTHING 0xffffu /* has not ended */

static const struct bh_blk_type *const types[] = { &bh_blk_ram_type, &blk_late_type,
						   &blk_late_type };
static const char *const args[] = { "4M", "4M,hold=1", "4M,hold=1,direct=1" };
#define TYPES 3u

static void open_with(unsigned int type, enum bh_cmem_mode mode, uint32_t entries)
{
	rig_open(mode, mode, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, types[type], args[type], BLOCK);
	rig_queue(1, entries, true);
}

static void set(uint64_t at, uint32_t blocks, uint8_t value)
{
	memset(rig_at(at), value, (size_t)blocks * BLOCK);
}

static void store(uint32_t blocks, uint8_t value)
{
	const struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_WRITE, LBA, blocks, BACK_AT);

	set(BACK_AT, blocks, value);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
}

/* The blocks are all of one value. */
static bool holds(uint32_t blocks, uint8_t value)
{
	const struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, LBA, blocks, BACK_AT);
	const uint8_t *p = rig_at(BACK_AT);
	uint32_t i;

	set(BACK_AT, blocks, (uint8_t)~value);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	for (i = 0; i < blocks * BLOCK; i++)
		if (p[i] != value)
			return false;
	return true;
}

struct pair {
	struct bh_nvme_cmd cmd[2];
	uint16_t status[2];
};

static struct pair pair_of(uint32_t blocks, uint8_t old, uint8_t new)
{
	struct pair p = { .status = { NOTHING, NOTHING } };

	set(OLD_AT, blocks, old);
	set(NEW_AT, blocks, new);
	p.cmd[0] = rig_cmd(BH_NVME_CMD_COMPARE, LBA, blocks, OLD_AT);
	p.cmd[0].flags = BH_NVME_FUSE_FIRST;
	p.cmd[0].cid = 1;
	p.cmd[1] = rig_cmd(BH_NVME_CMD_WRITE, LBA, blocks, NEW_AT);
	p.cmd[1].flags = BH_NVME_FUSE_SECOND;
	p.cmd[1].cid = 2;
	return p;
}

/* Completions by cid, while there is something to be waited for, or for some passes. */
static unsigned int take(struct rig_queue *q, struct pair *p, unsigned int wanted)
{
	uint64_t end = bh_now_ns() + (wanted ? 5000000000ull : 0);
	struct bh_nvme_cpl cpl;
	unsigned int i, n = 0;

	for (i = 0; i < 20 || (n < wanted && bh_now_ns() < end); i++) {
		rig_step();
		while (rig_get(q, &cpl)) {
			rig_head(q);
			if (cpl.cid == 1 || cpl.cid == 2)
				p->status[cpl.cid - 1] = bh_nvme_cpl_status(&cpl);
			n++;
		}
	}
	return n;
}

static void put_pair(struct rig_queue *q, const struct pair *p)
{
	rig_put(q, &p->cmd[0]);
	rig_put(q, &p->cmd[1]);
}

static void run_pair(struct pair *p)
{
	put_pair(&rig.q[1], p);
	rig_tail(&rig.q[1]);
	CU_ASSERT_EQUAL(take(&rig.q[1], p, 2), 2);
}

static bool ended(const struct pair *p, uint16_t first, uint16_t second)
{
	return p->status[0] == first && p->status[1] == second;
}

static void round_of(uint32_t blocks)
{
	struct pair p;

	store(blocks, 1);
	p = pair_of(blocks, 1, 2);
	run_pair(&p);
	CU_ASSERT_TRUE(ended(&p, 0, 0));
	CU_ASSERT_TRUE(holds(blocks, 2));
	p = pair_of(blocks, 1, 3);
	run_pair(&p);
	CU_ASSERT_TRUE(ended(&p, MISCOMPARE, FAILED));
	CU_ASSERT_TRUE(holds(blocks, 2));
}

static void compares_and_writes(void)
{
	static const enum bh_cmem_mode modes[] = { BH_CMEM_MAPPED, BH_CMEM_FILE, BH_CMEM_MESSAGE };
	unsigned int type, mode, i;

	for (type = 0; type < TYPES; type++) {
		for (mode = 0; mode < 3; mode++) {
			/* Of three entries: the two are at every place of the ring, its end included. */
			open_with(type, modes[mode], 3);
			for (i = 0; i < 3; i++) {
				round_of(1);
				round_of(16);
			}
			CU_ASSERT_PTR_NULL(rig.ns[1].blk->alone);
			CU_ASSERT_EQUAL(rig.fatals, 0);
			rig_close();
		}
	}
}

/* A host that rings for each of the two. */
static void half_waits(void)
{
	static const enum bh_cmem_mode modes[] = { BH_CMEM_MAPPED, BH_CMEM_FILE, BH_CMEM_MESSAGE };
	unsigned int mode, i;

	for (mode = 0; mode < 3; mode++) {
		open_with(0, modes[mode], 3);
		store(1, 1);
		for (i = 0; i < 3; i++) {
			struct rig_queue *q = &rig.q[1];
			struct pair p = pair_of(1, (uint8_t)(i + 1), (uint8_t)(i + 2));
			uint64_t empty;

			rig_put(q, &p.cmd[0]);
			rig_tail(q);
			CU_ASSERT_EQUAL(take(q, &p, 0), 0);
			empty = rig.ctrl.io->thread[0]->stats.empty_polls;
			rig_steps(5);
			/* Nobody is kept busy by it. */
			CU_ASSERT_EQUAL(rig.ctrl.io->thread[0]->stats.empty_polls, empty + 5);
			CU_ASSERT_NOT_EQUAL(tn_bells_arm(rig.ctrl.io->thread[0]), 1);
			rig_put(q, &p.cmd[1]);
			rig_tail(q);
			CU_ASSERT_EQUAL(take(q, &p, 2), 2);
			CU_ASSERT_TRUE(ended(&p, 0, 0));
			CU_ASSERT_TRUE(holds(1, (uint8_t)(i + 2)));
		}
		rig_close();
	}
}

static void halves_are_missing(void)
{
	struct rig_queue *q = &rig.q[1];
	struct pair p, other;

	open_with(0, BH_CMEM_MAPPED, 8);
	store(1, 1);
	p = pair_of(1, 1, 2);
	CU_ASSERT_EQUAL(rig_run(&p.cmd[1]), MISSING);
	/* The second before the first, which then waits for another. */
	other = p;
	rig_put(q, &p.cmd[1]);
	rig_put(q, &p.cmd[0]);
	rig_tail(q);
	CU_ASSERT_EQUAL(take(q, &p, 1), 1);
	CU_ASSERT_TRUE(ended(&p, NOTHING, MISSING));
	/* Neither is another first, nor any other command. */
	put_pair(q, &other);
	rig_tail(q);
	CU_ASSERT_EQUAL(take(q, &other, 3), 3);
	CU_ASSERT_TRUE(ended(&other, 0, 0));
	CU_ASSERT_TRUE(holds(1, 2));
	p = pair_of(1, 2, 3);
	p.cmd[1].flags = 0;
	run_pair(&p);
	CU_ASSERT_TRUE(ended(&p, MISSING, 0));
	CU_ASSERT_TRUE(holds(1, 3));
	p = pair_of(1, 3, 4);
	p.cmd[1].opc = BH_NVME_CMD_READ;
	run_pair(&p);
	CU_ASSERT_TRUE(ended(&p, MISSING, TN_SF(BH_NVME_SC_INVALID_FIELD)));
	p = pair_of(1, 3, 4);
	p.cmd[0].opc = BH_NVME_CMD_READ;
	run_pair(&p);
	CU_ASSERT_TRUE(ended(&p, TN_SF(BH_NVME_SC_INVALID_FIELD), MISSING));
	CU_ASSERT_TRUE(holds(1, 3));
	rig_close();
}

#define REFUSED(first, second, ...)                        \
	do {                                               \
		struct pair p = pair_of(2, 1, 2);          \
		struct bh_nvme_cmd *a = p.cmd, *b = a + 1; \
		(void)a, (void)b;                          \
		__VA_ARGS__;                               \
		run_pair(&p);                              \
		CU_ASSERT_EQUAL(p.status[0], first);       \
		CU_ASSERT_EQUAL(p.status[1], second);      \
	} while (0)

static void both_are_checked(void)
{
	const uint16_t invalid = TN_SF(BH_NVME_SC_INVALID_FIELD);
	const uint16_t range = TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE);
	unsigned int type;

	for (type = 0; type < TYPES; type++) {
		struct tn_line *line;

		open_with(type, BH_CMEM_MAPPED, 8);
		store(2, 1);
		line = &rig.ctrl.io->thread[0]->line[1];
		REFUSED(invalid, invalid, b->cdw10++);
		REFUSED(invalid, invalid, b->cdw12++);
		REFUSED(range, range, a->cdw11 = b->cdw11 = 1);
		REFUSED(range, FAILED, a->cdw10 = 8191);
		REFUSED(FAILED, range, b->cdw10 = 8191);
		REFUSED(TN_SF(BH_NVME_SC_INVALID_NS), FAILED, a->nsid = 0);
		REFUSED(FAILED, invalid, b->nsid = 2);
		REFUSED(BH_NVME_SC_DATA_TRANSFER_ERROR, FAILED, a->dptr.prp.prp1 = 0x1000);
		REFUSED(FAILED, BH_NVME_SC_DATA_TRANSFER_ERROR, b->dptr.prp.prp1 = 0x1000);
		line->deny = TN_DENY_WRITE;
		REFUSED(FAILED, TN_SF(BH_NVME_SC_RESERVATION_CONFLICT), (void)a);
		line->deny |= TN_DENY_READ;
		REFUSED(TN_SF(BH_NVME_SC_RESERVATION_CONFLICT),
			TN_SF(BH_NVME_SC_RESERVATION_CONFLICT), (void)a);
		line->deny = 0;
		line->caps &= ~BH_BLK_CAP_WRITE;
		REFUSED(FAILED, TN_SF(BH_NVME_SC_WRITE_TO_READ_ONLY), (void)a);
		line->caps |= BH_BLK_CAP_WRITE;
		CU_ASSERT_TRUE(holds(2, 1));
		CU_ASSERT_EQUAL(line->inflight, 0);
		rig_close();
	}
}

static void unreadable_blocks_fail(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_WRITE_UNCORRECTABLE, LBA + 1, 1, 0);
	unsigned int type;

	for (type = 0; type < TYPES; type++) {
		open_with(type, BH_CMEM_MAPPED, 8);
		store(2, 1);
		CU_ASSERT_EQUAL(rig_run(&cmd), 0);
		REFUSED(TN_SF(BH_NVME_SC_UNRECOVERED_READ_ERROR), FAILED, (void)a);
		store(2, 1);
		REFUSED(0, 0, (void)a);
		CU_ASSERT_TRUE(holds(2, 2));
		rig_close();
	}
}

static void open_spec(struct bh_blk_spec spec, enum bh_cmem_mode data)
{
	struct tn_ns *ns = &rig.ns[1];
	char why[256];

	rig_open(BH_CMEM_MAPPED, data, 1, BH_DOORBELLS_MAPPED);
	CU_ASSERT_EQUAL_FATAL(bh_blk_ram_type.create(&spec, "m", NULL, why, &ns->blk), 0);
	ns->nsid = 1;
	ns->block_shift = 9;
	ns->blocks = bh_blk_info(ns->blk)->blocks;
	tn_io_ns_add(&rig.ctrl, ns, rig_done_error, NULL);
	CU_ASSERT_EQUAL_FATAL(rig.status, 0);
	rig_queue(1, 8, false);
}

/* Which are compared, and written, with their blocks. */
static void metadata_go_along(void)
{
	static const enum bh_cmem_mode modes[] = { BH_CMEM_MAPPED, BH_CMEM_MESSAGE };
	const struct bh_blk_spec spec = { .arg = "1M", .block_size = BLOCK, .md_bytes = 16 };
	unsigned int i;
	uint8_t *old;

	for (i = 0; i < 2; i++) {
		struct pair p;

		open_spec(spec, modes[i]);
		old = rig_at(OLD_AT + 0x8000);
		memset(old, 0, 32);
		memset(rig_at(NEW_AT + 0x8000), 5, 32);
		p = pair_of(2, 0, 2);
		p.cmd[0].mptr = RIG_IOVA + OLD_AT + 0x8000;
		p.cmd[1].mptr = RIG_IOVA + NEW_AT + 0x8000;
		old[31] = 1;
		run_pair(&p);
		CU_ASSERT_TRUE(ended(&p, MISCOMPARE, FAILED));
		old[31] = 0;
		run_pair(&p);
		CU_ASSERT_TRUE(ended(&p, 0, 0));
		set(OLD_AT, 2, 2);
		memset(old, 5, 32);
		run_pair(&p); /* equal, data and metadata */
		CU_ASSERT_TRUE(ended(&p, 0, 0));
		CU_ASSERT_EQUAL(rig.ctrl.io->thread[0]->line[1].inflight, 0);
		rig_close();
	}
}

static void zones_have_none(void)
{
	const struct bh_blk_spec spec = { .arg = "4M",
					  .block_size = BLOCK,
					  .zoned = { .bytes = 1u << 20, .capacity = 1u << 20 } };

	open_spec(spec, BH_CMEM_MAPPED);
	REFUSED(TN_SF(BH_NVME_SC_INVALID_FIELD), TN_SF(BH_NVME_SC_INVALID_FIELD),
		a->cdw10 = b->cdw10 = 0);
	rig_close();
}

/* One completion has room, the other one has not. */
static void completions_wait_for_room(void)
{
	struct rig_queue *q = &rig.q[1];
	struct bh_nvme_cmd cmd;
	struct bh_nvme_cpl cpl;
	struct pair p;

	open_with(0, BH_CMEM_MAPPED, 3);
	store(1, 1);
	p = pair_of(1, 1, 2);
	cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, BACK_AT);
	rig_put(q, &cmd);
	rig_tail(q);
	rig_steps(3);
	put_pair(q, &p);
	rig_tail(q);
	rig_steps(5);
	CU_ASSERT_TRUE(rig_get(q, &cpl));
	CU_ASSERT_TRUE(rig_get(q, &cpl));
	CU_ASSERT_EQUAL(cpl.cid, 1);
	CU_ASSERT_EQUAL(cpl.status >> 1, 0);
	CU_ASSERT_FALSE(rig_get(q, &cpl));
	rig_head(q);
	CU_ASSERT_EQUAL(take(q, &p, 1), 1);
	CU_ASSERT_EQUAL(p.status[1], 0);
	CU_ASSERT_TRUE(holds(1, 2));
	rig_close();
}

/* Others' commands to the same blocks wait for the end, those to other blocks do not. */
static void others_wait(void)
{
	struct rig_queue *q = &rig.q[2];
	struct pair p, r = { .status = { NOTHING, NOTHING } };

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 2, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, "4M,hold=50", BLOCK);
	rig_queue(1, 8, false);
	rig_queue(2, 8, false);
	store(1, 1);
	p = pair_of(1, 1, 2);
	put_pair(&rig.q[1], &p);
	rig_tail(&rig.q[1]);
	CU_ASSERT_EQUAL(take(&rig.q[1], &p, 0), 0);
	CU_ASSERT_TRUE(bh_blk_is_watched(rig.ns[1].blk));
	r.cmd[0] = rig_cmd(BH_NVME_CMD_READ, LBA - 1, 1, BACK_AT + 4096);
	r.cmd[0].cid = 1;
	r.cmd[1] = rig_cmd(BH_NVME_CMD_READ, LBA, 1, BACK_AT);
	r.cmd[1].cid = 2;
	put_pair(q, &r);
	rig_tail(q);
	CU_ASSERT_EQUAL(take(q, &r, 1), 1);
	CU_ASSERT_TRUE(ended(&r, 0, NOTHING));
	CU_ASSERT_EQUAL(take(&rig.q[1], &p, 2), 2);
	CU_ASSERT_TRUE(ended(&p, 0, 0));
	CU_ASSERT_EQUAL(take(q, &r, 1), 1);
	CU_ASSERT_TRUE(ended(&r, 0, 0));
	CU_ASSERT_EQUAL(*(uint8_t *)rig_at(BACK_AT), 2);
	rig_close();
}

/* It waits for what was in the store before, whoever put it there. */
static void begun_ones_are_waited_for(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_WRITE, LBA, 1, BACK_AT);
	struct pair p, none = { .status = { NOTHING, NOTHING } };

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 2, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, "4M,hold=50", BLOCK);
	rig_queue(1, 8, false);
	rig_queue(2, 8, false);
	set(BACK_AT, 1, 7);
	rig_put(&rig.q[2], &cmd);
	rig_tail(&rig.q[2]);
	CU_ASSERT_EQUAL(take(&rig.q[2], &none, 0), 0);
	p = pair_of(1, 7, 8);
	run_pair(&p);
	CU_ASSERT_TRUE(ended(&p, 0, 0));
	CU_ASSERT_EQUAL(take(&rig.q[2], &none, 1), 1);
	CU_ASSERT_TRUE(holds(1, 8));
	rig_close();
}

/* So is what is left of a namespace on its way out. */
static void those_who_go_are_waited_for(void)
{
	const struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_WRITE, LBA, 1, BACK_AT);
	struct bh_blk_span mine = { .blk = NULL };
	struct bh_blk *blk;
	unsigned int i, dones;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 2, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, "4M,hold=50", BLOCK);
	blk = bh_blk_get(rig.ns[1].blk);
	rig_queue(1, 8, false);
	rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	rig_steps(3);
	dones = rig.dones;
	tn_io_ns_remove(&rig.ctrl, &rig.ns[1], rig_done_void, NULL);
	for (i = 0; i < 5; i++) {
		CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, LBA, 1), -EAGAIN);
		rig_step();
	}
	CU_ASSERT_EQUAL(rig.dones, dones);
	CU_ASSERT(rig_until(&rig.dones, dones + 1));
	rig_steps(3);
	CU_ASSERT_EQUAL(bh_blk_span_alone(blk, &mine, LBA, 1), 0);
	bh_blk_span_end(&mine);
	bh_blk_put(rig.ns[1].blk);
	rig.ns[1].blk = NULL;
	rig_close();
	bh_blk_put(blk);
}

/* Every thread leaves its fast path for it, and is back when nobody compares and writes any more. */
static void fast_path_comes_back(void)
{
	struct tn_thread **thread;
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, BACK_AT);
	struct pair p;
	unsigned int i;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 2, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", BLOCK);
	rig_queue(1, 8, false);
	rig_queue(2, 8, false);
	thread = rig.ctrl.io->thread;
	store(1, 1);
	CU_ASSERT_EQUAL(thread[0]->line[1].fast_blocks, 8192);
	p = pair_of(1, 1, 2);
	run_pair(&p);
	CU_ASSERT_TRUE(ended(&p, 0, 0));
	CU_ASSERT_EQUAL(thread[0]->line[1].fast_blocks, 0);
	CU_ASSERT_EQUAL(thread[1]->line[1].fast_blocks, 0);
	for (i = 0; i < 100000 && !thread[0]->line[1].fast_blocks; i++)
		CU_ASSERT_EQUAL_FATAL(rig_run(&cmd), 0);
	CU_ASSERT_EQUAL(thread[0]->line[1].fast_blocks, 8192);
	p = pair_of(1, 2, 3);
	run_pair(&p);
	CU_ASSERT_TRUE(ended(&p, 0, 0));
	CU_ASSERT_EQUAL(thread[0]->line[1].fast_blocks, 0);
	CU_ASSERT_TRUE(holds(1, 3));
	rig_close();
}

/* Resets and deletions, with the two at every stage of their way. */
static void nothing_is_left_of_them(void)
{
	struct rig_queue *q = &rig.q[1];
	unsigned int type, passes, how, dones;

	for (type = 0; type < TYPES; type++) {
		for (how = 0; how < 2; how++) {
			for (passes = 0; passes < 8; passes++) {
				struct pair p;

				open_with(type, passes & 1 ? BH_CMEM_MAPPED : BH_CMEM_MESSAGE, 8);
				p = pair_of(1, 0, 2);
				put_pair(q, &p);
				rig_put(q, &p.cmd[0]); /* and half of another */
				rig.hold_messages = passes > 6;
				rig_tail(q);
				rig_steps(passes / 2);
				dones = rig.dones;
				if (how)
					tn_io_sq_delete(&rig.ctrl, 1, rig_done, NULL);
				CU_ASSERT(!how || rig_until(&rig.dones, dones + 1));
				rig_close();
			}
		}
	}
}

BH_SUITE("fused", { "compares_and_writes", compares_and_writes }, { "half_waits", half_waits },
	 { "halves_are_missing", halves_are_missing }, { "both_are_checked", both_are_checked },
	 { "unreadable_blocks_fail", unreadable_blocks_fail },
	 { "metadata_go_along", metadata_go_along }, { "zones_have_none", zones_have_none },
	 { "completions_wait_for_room", completions_wait_for_room }, { "others_wait", others_wait },
	 { "begun_ones_are_waited_for", begun_ones_are_waited_for },
	 { "those_who_go_are_waited_for", those_who_go_are_waited_for },
	 { "fast_path_comes_back", fast_path_comes_back },
	 { "nothing_is_left_of_them", nothing_is_left_of_them }, )

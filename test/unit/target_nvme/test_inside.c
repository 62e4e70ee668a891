/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands whose data stays inside: Copy and Verify, and what Write Uncorrectable does to all the
 * others, on stores that answer at once and on one that is late.
 */
#include "io_rig.h"

#define BLOCK 512u

/* Data by one SGL block. */
static struct bh_nvme_cmd command(uint8_t opc, uint64_t lba, uint32_t blocks, uint64_t at,
				  uint32_t len)
{
	struct bh_nvme_cmd cmd = rig_cmd(opc, lba, blocks, at);

	cmd.flags = BH_NVME_PSDT_SGL_MPTR_CONTIG;
	cmd.dptr.sgl = (struct bh_nvme_sgl){ .addr = RIG_IOVA + at, .len = len };
	return cmd;
}

static void fill(uint64_t lba, uint32_t blocks, uint8_t seed)
{
	struct bh_nvme_cmd cmd =
		command(BH_NVME_CMD_WRITE, lba, blocks, RIG_DATA_AT, blocks * BLOCK);
	uint8_t *p = rig_at(RIG_DATA_AT);
	uint32_t i;

	for (i = 0; i < blocks * BLOCK; i++)
		p[i] = (uint8_t)(seed + i / BLOCK + i % BLOCK % 7);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
}

static bool holds(uint64_t lba, uint32_t blocks, uint8_t seed)
{
	struct bh_nvme_cmd cmd =
		command(BH_NVME_CMD_READ, lba, blocks, RIG_DATA_AT, blocks * BLOCK);
	const uint8_t *p = rig_at(RIG_DATA_AT);
	uint32_t i;

	memset(rig_at(RIG_DATA_AT), 0, blocks * BLOCK);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	for (i = 0; i < blocks * BLOCK; i++)
		if (p[i] != (uint8_t)(seed + i / BLOCK + i % BLOCK % 7))
			return false;
	return true;
}

static void put_range(unsigned int i, uint64_t lba, uint32_t blocks)
{
	struct bh_nvme_copy_range *range = rig_at(RIG_LISTS);

	range[i] = (struct bh_nvme_copy_range){ .slba = lba, .nlb = (uint16_t)(blocks - 1) };
}

static uint16_t copy(uint64_t to, unsigned int ranges)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_COPY, to, 1, RIG_LISTS);

	cmd.cdw12 = ranges - 1;
	return rig_run(&cmd);
}

static uint16_t verify(uint64_t lba, uint32_t blocks)
{
	const struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_VERIFY, lba, blocks, 0);

	return rig_run(&cmd);
}

static uint16_t uncorrectable(uint64_t lba, uint32_t blocks)
{
	const struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_WRITE_UNCORRECTABLE, lba, blocks, 0);

	return rig_run(&cmd);
}

static uint16_t run(uint8_t opc, uint64_t lba, uint32_t blocks)
{
	const struct bh_nvme_cmd cmd =
		command(opc, lba, blocks, RIG_DATA_AT, blocks << rig.ns[1].block_shift);

	return rig_run(&cmd);
}

static const struct bh_blk_type *const types[] = { &bh_blk_ram_type, &blk_late_type };
static const char *const args[] = { "4M", "4M,hold=1" };

static void open_with(unsigned int type, enum bh_cmem_mode data)
{
	rig_open(data, data, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, types[type], args[type], BLOCK);
	rig_queue(1, 8, false);
}

static void copies_gather(void)
{
	static const enum bh_cmem_mode modes[] = { BH_CMEM_MAPPED, BH_CMEM_FILE, BH_CMEM_MESSAGE };
	unsigned int type, mode;

	for (type = 0; type < 2; type++) {
		for (mode = 0; mode < 3; mode++) {
			open_with(type, modes[mode]);
			fill(100, 3, 1);
			fill(200, 5, 4);
			fill(300, 1, 9);
			put_range(0, 100, 3);
			put_range(1, 200, 5);
			put_range(2, 300, 1);
			CU_ASSERT_EQUAL(copy(1000, 3), 0);
			CU_ASSERT_TRUE(holds(1000, 9, 1)); /* one after the other */
			CU_ASSERT_TRUE(holds(100, 3, 1));
			rig_close();
		}
	}
}

/* What overlaps is copied as it was. */
static void copies_overlap(void)
{
	unsigned int type;

	for (type = 0; type < 2; type++) {
		open_with(type, BH_CMEM_MAPPED);
		fill(100, 64, 1);
		put_range(0, 100, 32);
		put_range(1, 132, 32);
		CU_ASSERT_EQUAL(copy(110, 2), 0);
		CU_ASSERT_TRUE(holds(110, 64, 1));
		rig_close();
	}
}

static void copies_have_limits(void)
{
	uint32_t most = tn_copy_limit((1u << 20) / BLOCK, 9), i;
	struct bh_nvme_cmd cmd;

	open_with(0, BH_CMEM_MAPPED);
	fill(8191, 1, 3);
	put_range(0, 0, most);
	CU_ASSERT_EQUAL(copy(4096, 1), 0);
	put_range(0, 0, most + 1);
	CU_ASSERT_EQUAL(copy(4096, 1), TN_SF(BH_NVME_SC_COMMAND_SIZE_LIMIT_EXCEEDED));
	put_range(0, 0, most);
	put_range(1, 0, 1);
	CU_ASSERT_EQUAL(copy(4096, 2), TN_SF(BH_NVME_SC_COMMAND_SIZE_LIMIT_EXCEEDED));
	for (i = 0; i < 256; i++)
		put_range(i, i, 1);
	CU_ASSERT_EQUAL(copy(4096, 256), 0);
	/* None is read, and nothing written, when one is wrong. */
	put_range(255, 8192, 1);
	CU_ASSERT_EQUAL(copy(8191, 256), TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE));
	put_range(0, UINT64_MAX, 2);
	CU_ASSERT_EQUAL(copy(0, 1), TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE));
	put_range(0, 0, 2);
	CU_ASSERT_EQUAL(copy(8191, 1), TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE));
	CU_ASSERT_EQUAL(copy(UINT64_MAX, 1), TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE));
	CU_ASSERT_TRUE(holds(8191, 1, 3));
	cmd = rig_cmd(BH_NVME_CMD_COPY, 0, 1, RIG_DATA_AT);
	cmd.cdw12 = 1u << BH_NVME_COPY_FORMAT_SHIFT;
	CU_ASSERT_EQUAL(rig_run(&cmd), TN_SF(BH_NVME_SC_INVALID_FIELD));
	cmd = rig_cmd(BH_NVME_CMD_COPY, 0, 1, RIG_DATA_AT);
	cmd.dptr.prp.prp1 = 0x1000; /* no memory */
	CU_ASSERT_EQUAL(rig_run(&cmd), BH_NVME_SC_DATA_TRANSFER_ERROR);
	CU_ASSERT_EQUAL(rig.ctrl.io->thread[0]->budget->used, 0);
	rig_close();
}

/* ---- a medium that fails ---- */

static const struct bh_blk_ops *real_ops;
static struct bh_blk_ops failing_ops;

static int submit_failing(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	return io->op == BH_BLK_READ ? -ENODATA : real_ops->submit(chan, io);
}

static void make_unreadable(void)
{
	real_ops = rig.ns[1].blk->ops;
	failing_ops = *real_ops;
	failing_ops.submit = submit_failing;
	rig.ns[1].blk->ops = &failing_ops;
}

/* From anywhere to a write pointer; one that fails leaves it where it was. */
static void copies_to_write_pointers(void)
{
	const struct bh_blk_spec spec = { .arg = "4M",
					  .block_size = BLOCK,
					  .zoned = { .bytes = 1 << 20, .capacity = 512 << 10 } };

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_spec(1, &bh_blk_ram_type, &spec);
	rig_queue(1, 8, false);
	fill(0, 12, 1);
	fill(2048, 4, 13);
	put_range(0, 0, 12);
	put_range(1, 2048, 4);
	CU_ASSERT_EQUAL(copy(4096, 2), 0);
	CU_ASSERT_TRUE(holds(4096, 16, 1));
	CU_ASSERT_EQUAL(copy(4096, 2), TN_SF(BH_NVME_SC_ZONE_INVALID_WRITE));
	put_range(0, 1020, 1024); /* over a border */
	CU_ASSERT_EQUAL(copy(4112, 1), TN_SF(BH_NVME_SC_ZONE_BOUNDARY_ERROR));
	put_range(0, 1020, 1008);
	CU_ASSERT_EQUAL(copy(4112, 1), 0);
	CU_ASSERT_EQUAL(copy(4112, 1), TN_SF(BH_NVME_SC_ZONE_IS_FULL));
	put_range(0, 0, 4);
	make_unreadable();
	CU_ASSERT_EQUAL(copy(12, 1), TN_SF(BH_NVME_SC_UNRECOVERED_READ_ERROR));
	rig.ns[1].blk->ops = real_ops;
	put_range(1, 8192, 1);
	CU_ASSERT_EQUAL(copy(12, 2), TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE));
	CU_ASSERT_EQUAL(copy(12, 1), 0);
	rig_close();
}

static void verify_reads(void)
{
	unsigned int type;

	for (type = 0; type < 2; type++) {
		open_with(type, BH_CMEM_MAPPED);
		CU_ASSERT_EQUAL(verify(0, 1), 0);
		CU_ASSERT_EQUAL(verify(8191, 1), 0);
		CU_ASSERT_EQUAL(verify(0, 2048), 0);
		CU_ASSERT_EQUAL(verify(0, 2049), TN_SF(BH_NVME_SC_INVALID_FIELD));
		CU_ASSERT_EQUAL(verify(8191, 2), TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE));
		make_unreadable();
		CU_ASSERT_EQUAL(verify(0, 1), TN_SF(BH_NVME_SC_UNRECOVERED_READ_ERROR));
		put_range(0, 0, 1);
		CU_ASSERT_EQUAL(copy(10, 1), TN_SF(BH_NVME_SC_UNRECOVERED_READ_ERROR));
		rig.ns[1].blk->ops = real_ops;
		CU_ASSERT_EQUAL(rig.ctrl.io->thread[0]->sq[1]->stats->counts.reads, 0);
		CU_ASSERT_EQUAL(rig.ctrl.io->thread[0]->budget->used, 0);
		rig_close();
	}
}

/* Reading fails, of whatever kind it is, until the block is written, in whatever way. */
static void unreadable_until_written(void)
{
	const uint16_t unreadable = TN_SF(BH_NVME_SC_UNRECOVERED_READ_ERROR);
	struct bh_nvme_dsm_range *range;
	struct bh_nvme_cmd cmd;
	unsigned int type;

	for (type = 0; type < 2; type++) {
		open_with(type, BH_CMEM_MAPPED);
		fill(10, 20, 1);
		CU_ASSERT_EQUAL(uncorrectable(14, 8), 0);
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_READ, 10, 20), unreadable);
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_READ, 14, 1), unreadable);
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_COMPARE, 21, 1), unreadable);
		CU_ASSERT_EQUAL(verify(0, 100), unreadable);
		put_range(0, 0, 1);
		put_range(1, 20, 4);
		CU_ASSERT_EQUAL(copy(1000, 2), unreadable);
		CU_ASSERT_TRUE(holds(10, 4, 1));
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_READ, 22, 8), 0);
		/* One by one they come back. */
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_WRITE, 14, 2), 0);
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_READ, 14, 2), 0);
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_WRITE_ZEROES, 16, 2), 0);
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_READ, 14, 4), 0);
		put_range(0, 0, 2);
		CU_ASSERT_EQUAL(copy(18, 1), 0);
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_READ, 14, 6), 0);
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_READ, 20, 1), unreadable);
		range = rig_at(RIG_DATA_AT);
		range[0] = (struct bh_nvme_dsm_range){ .blocks = 2, .lba = 20 };
		cmd = rig_cmd(BH_NVME_CMD_DSM, 0, 1, RIG_DATA_AT);
		cmd.cdw11 = BH_NVME_DSM_AD;
		CU_ASSERT_EQUAL(rig_run(&cmd), 0);
		CU_ASSERT_EQUAL(run(BH_NVME_CMD_READ, 10, 20), 0);
		CU_ASSERT_FALSE(bh_blk_has_bad(rig.ns[1].blk));
		rig_close();
	}
}

static void unreadable_has_limits(void)
{
	unsigned int i;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_null_type, "1G", 4096);
	rig_queue(1, 8, false);
	CU_ASSERT_EQUAL(uncorrectable(0, TN_UNCOR_BYTES / 4096 + 1),
			TN_SF(BH_NVME_SC_INVALID_FIELD));
	CU_ASSERT_EQUAL(uncorrectable(262143, 2), TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE));
	for (i = 0; i < BH_BLK_BAD_MAX / 8192; i++)
		CU_ASSERT_EQUAL(uncorrectable(i * 8192, 8192), 0);
	CU_ASSERT_EQUAL(uncorrectable(262143, 1), TN_SF(BH_NVME_SC_CAPACITY_EXCEEDED));
	CU_ASSERT_EQUAL(run(BH_NVME_CMD_READ, 262143, 1), 0);
	rig_close();
}

/* No queue of any thread reads on its fast path, from the command's completion on; then all do. */
static void every_thread_hears(void)
{
	struct rig_queue *q = &rig.q[2];
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 5, 1, RIG_DATA_AT);
	struct bh_nvme_cpl cpl = { 0 };
	unsigned int i;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 2, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", BLOCK);
	rig_queue(1, 8, false);
	rig_queue(2, 8, false);
	for (i = 0; i < 2; i++)
		CU_ASSERT_EQUAL(rig.ctrl.io->thread[i]->line[1].fast_blocks, 8192);
	CU_ASSERT_EQUAL(uncorrectable(5, 1), 0);
	for (i = 0; i < 2; i++)
		CU_ASSERT_EQUAL(rig.ctrl.io->thread[i]->line[1].fast_blocks, 0);
	rig_put(q, &cmd);
	rig_tail(q);
	rig_steps(2);
	CU_ASSERT_TRUE(rig_get(q, &cpl));
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), TN_SF(BH_NVME_SC_UNRECOVERED_READ_ERROR));
	CU_ASSERT_EQUAL(run(BH_NVME_CMD_WRITE, 5, 1), 0);
	rig_put(q, &cmd);
	rig_tail(q);
	rig_steps(2);
	CU_ASSERT_TRUE(rig_get(q, &cpl));
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), 0);
	CU_ASSERT_EQUAL(run(BH_NVME_CMD_READ, 5, 1), 0);
	for (i = 0; i < 2; i++)
		CU_ASSERT_EQUAL(rig.ctrl.io->thread[i]->line[1].fast_blocks, 8192);
	rig_close();
}

/* A store that leaves a reader's buffer alone: what was in it is somebody else's. */
static void nothing_shows_through(void)
{
	struct bh_nvme_cmd cmd;
	uint8_t *p;
	uint32_t i;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MESSAGE, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", BLOCK);
	rig_ns(2, &bh_blk_null_type, "4M", BLOCK);
	rig_queue(1, 8, false);
	fill(100, 8, 1);
	cmd = command(BH_NVME_CMD_READ, 0, 8, RIG_DATA_AT, 8 * BLOCK);
	cmd.nsid = 2;
	p = rig_at(RIG_DATA_AT);
	memset(p, 0xff, 8 * (size_t)BLOCK);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	for (i = 0; i < 8 * BLOCK && !p[i]; i++)
		continue;
	CU_ASSERT_EQUAL(i, 8 * BLOCK);
	rig_close();
}

/* A report of many zones is work, after which others have their turn. */
static void reports_are_work(void)
{
	struct bh_blk_spec spec = { .arg = "16M", .block_size = BLOCK, .zoned.bytes = 4096 };
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_ZONE_MGMT_RECV, 0, 1, RIG_DATA_AT);
	struct bh_nvme_cpl cpl;
	unsigned int i, n = 0;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	spec.zoned.capacity = 4096;
	rig_spec(1, &bh_blk_ram_type, &spec);
	rig_queue(1, 16, false);
	cmd.cdw12 = 1023; /* 4 KiB */
	for (i = 0; i < 14; i++)
		rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	rig_step();
	while (rig_get(&rig.q[1], &cpl)) {
		CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), 0);
		n++;
	}
	CU_ASSERT_TRUE(n > 0 && n <= 9);
	rig_close();
}

BH_SUITE("inside", { "copies_gather", copies_gather }, { "copies_overlap", copies_overlap },
	 { "copies_have_limits", copies_have_limits },
	 { "copies_to_write_pointers", copies_to_write_pointers }, { "verify_reads", verify_reads },
	 { "unreadable_until_written", unreadable_until_written },
	 { "unreadable_has_limits", unreadable_has_limits },
	 { "every_thread_hears", every_thread_hears },
	 { "nothing_shows_through", nothing_shows_through },
	 { "reports_are_work", reports_are_work }, )

/* SPDX-License-Identifier: BSD-3-Clause */
#include "target_nvme/control_rig.h"

#define RDY BH_NVME_CSTS_RDY
#define CFS BH_NVME_CSTS_CFS
#define SHST_DONE (BH_NVME_CSTS_SHST_COMPLETE << 2)
#define SHST_NOW (BH_NVME_CSTS_SHST_OCCURRING << BH_NVME_CSTS_SHST_SHIFT)

static uint32_t csts(void)
{
	return (uint32_t)rig_read(BH_NVME_REG_CSTS, 4);
}

static void capabilities(void)
{
	uint64_t cap = rig_read(BH_NVME_REG_CAP, 8);

	CU_ASSERT_EQUAL(BH_NVME_GET(cap, CAP_MQES), 1023);
	CU_ASSERT_EQUAL(BH_NVME_GET(cap, CAP_CQR), 1);
	CU_ASSERT_NOT_EQUAL(BH_NVME_GET(cap, CAP_TO), 0);
	CU_ASSERT_EQUAL(BH_NVME_GET(cap, CAP_CSS), BH_NVME_CAP_CSS_NVM | BH_NVME_CAP_CSS_IOCS);
	CU_ASSERT_EQUAL(BH_NVME_GET(cap, CAP_MPSMIN), 0);
	CU_ASSERT_EQUAL(BH_NVME_GET(cap, CAP_MPSMAX), 0);
	CU_ASSERT_EQUAL(BH_NVME_GET(cap, CAP_CRMS), BH_NVME_CAP_CRMS_CRWMS);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CAP + 4, 4), cap >> 32);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_VS, 4), BH_NVME_VERSION(2, 0, 0));
	CU_ASSERT_NOT_EQUAL(rig_read(BH_NVME_REG_CRTO, 4), 0);
}

static void access_sizes(void)
{
	static const struct {
		uint64_t offset;
		size_t count;
		bool write;
		int rc;
	} rows[] = {
		{ 0, 8, false, 0 },	      { 4, 4, false, 0 },
		{ 8, 1, false, 0 },	      { 10, 2, false, 0 },
		{ 11, 2, false, -EINVAL },    { 4, 8, false, -EINVAL },
		{ 2, 4, false, -EINVAL },     { 0, 64, false, 0 },
		{ 0x68, 64, false, 0 },	      { 0xff8, 8, false, 0 },
		{ 0x14, 2, true, -EINVAL },   { 0x14, 1, true, -EINVAL },
		{ 0x16, 4, true, -EINVAL },   { 0x2c, 8, true, -EINVAL },
		{ 0x0, 8, true, 0 },	      { 0x1c, 4, true, 0 },
		{ 0x800, 4, true, 0 },	      { 0x1001, 4, true, -EINVAL },
		{ 0x1000, 8, true, -EINVAL }, { 0x1000, 2, true, -EINVAL },
		{ 0x1ffc, 4, true, 0 },	      { 0x1000, 8, false, 0 },
		{ 0x1ffc, 4, false, 0 },
	};
	const struct bh_vfu_ops *ops = rig.server->opts.ops;
	uint8_t buf[64];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(buf, 0, sizeof(buf));
		CU_ASSERT_EQUAL(
			ops->access(rig.ctrl, 0, rows[i].offset, buf, rows[i].count, rows[i].write),
			rows[i].rc);
	}
	CU_ASSERT_EQUAL(ops->access(rig.ctrl, 2, 0, buf, 4, false), -EINVAL);
	CU_ASSERT_EQUAL(csts(), 0);
}

static void read_only_stays(void)
{
	static const uint32_t offsets[] = { 0x00, 0x04, 0x08, 0x1c, 0x20, 0x38,
					    0x3c, 0x40, 0x64, 0x68, 0xe00 };
	uint64_t before;
	size_t i;

	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		before = rig_read(offsets[i], 4);
		CU_ASSERT_EQUAL(rig_write(offsets[i], 0xffffffff, 4), 0);
		CU_ASSERT_EQUAL(rig_read(offsets[i], 4), before);
	}
	CU_ASSERT_EQUAL(rig_write(BH_NVME_REG_NSSR, BH_NVME_NSSR_MAGIC, 4), 0);
	CU_ASSERT_EQUAL(csts(), 0);
}

static void queue_registers_hold_while_enabled(void)
{
	rig_write(BH_NVME_REG_AQA, 0xffffffff, 4);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_AQA, 4), 0x0fff0fff);
	rig_write(BH_NVME_REG_ASQ, 0x11223344, 4);
	rig_write(BH_NVME_REG_ASQ + 4, 0x55667788, 4);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_ASQ, 8), 0x5566778811223344ull);
	rig_enable(8, 8);
	rig_write(BH_NVME_REG_AQA, 0, 4);
	rig_write(BH_NVME_REG_ACQ, 0, 8);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_AQA, 4), 0x00070007);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_ACQ, 8), RIG_IOVA + RIG_CQ);
	/* CC.MPS cannot change now */
	rig_write(BH_NVME_REG_CC, RIG_CC | 1u << 7, 4);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CC, 4), RIG_CC);
	rig_disable();
	CU_ASSERT_EQUAL(csts(), 0);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_ACQ, 8), RIG_IOVA + RIG_CQ);
}

static void enable_is_checked(void)
{
	static const struct {
		uint32_t cc, aqa;
		uint64_t asq, acq;
		uint32_t csts;
	} rows[] = {
		{ 0x00460001, 0x00010001, RIG_IOVA, RIG_IOVA, RDY },
		{ 0x00000001, 0x00010001, RIG_IOVA, RIG_IOVA, RDY }, /* entry sizes come later */
		{ 0x00460061, 0x00010001, RIG_IOVA, RIG_IOVA, RDY }, /* all I/O command sets */
		{ 0x00460001, 0x0fff0fff, RIG_IOVA, RIG_IOVA, RDY },
		{ 0x00460011, 0x00010001, RIG_IOVA, RIG_IOVA, CFS },		  /* CSS 1 */
		{ 0x00460071, 0x00010001, RIG_IOVA, RIG_IOVA, CFS },		  /* admin only */
		{ 0x00460081, 0x00010001, RIG_IOVA, RIG_IOVA, CFS },		  /* MPS 8 KiB */
		{ 0x00460801, 0x00010001, RIG_IOVA, RIG_IOVA, BH_NVME_CSTS_RDY }, /* AMS WRR */
		{ 0x00463801, 0x00010001, RIG_IOVA, RIG_IOVA, CFS },		  /* AMS vendor's */
		{ 0x00470001, 0x00010001, RIG_IOVA, RIG_IOVA, CFS },		  /* IOSQES 128 */
		{ 0x00560001, 0x00010001, RIG_IOVA, RIG_IOVA, CFS },		  /* IOCQES 32 */
		{ 0x00460001, 0x00010000, RIG_IOVA, RIG_IOVA, CFS },		  /* one entry */
		{ 0x00460001, 0x00000001, RIG_IOVA, RIG_IOVA, CFS },
		{ 0x00460001, 0x00010001, RIG_IOVA + 64, RIG_IOVA, CFS },
		{ 0x00460001, 0x00010001, RIG_IOVA, RIG_IOVA + 4, CFS },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rig_write(BH_NVME_REG_AQA, rows[i].aqa, 4);
		rig_write(BH_NVME_REG_ASQ, rows[i].asq, 8);
		rig_write(BH_NVME_REG_ACQ, rows[i].acq, 8);
		rig_write(BH_NVME_REG_CC, rows[i].cc, 4);
		CU_ASSERT_EQUAL(csts(), rows[i].csts);
		CU_ASSERT_EQUAL(rig.is_watching, rows[i].csts == RDY);
		rig_disable();
		CU_ASSERT_EQUAL(csts(), 0);
		CU_ASSERT_FALSE(rig.is_watching);
	}
}

static void shutdown_completes(void)
{
	static const uint32_t kinds[] = { BH_NVME_CC_SHN_NORMAL, BH_NVME_CC_SHN_ABRUPT };
	size_t i;

	for (i = 0; i < 2; i++) {
		rig_enable(8, 8);
		rig_write(BH_NVME_REG_CC, RIG_CC | kinds[i] << 14, 4);
		CU_ASSERT_EQUAL(csts(), RDY | SHST_DONE);
		/* taking the request back does not undo it */
		rig_write(BH_NVME_REG_CC, RIG_CC, 4);
		CU_ASSERT_EQUAL(csts(), RDY | SHST_DONE);
		rig_disable();
		CU_ASSERT_EQUAL(csts(), 0);
	}
	/* disabled and told of a shutdown at once */
	rig_enable(8, 8);
	rig_write(BH_NVME_REG_CC, BH_NVME_CC_SHN_NORMAL << 14, 4);
	CU_ASSERT_EQUAL(csts(), SHST_DONE);
}

static void shutdown_waits_for_the_flush(void)
{
	rig.hold_flush = true;
	rig_enable(8, 8);
	rig_write(BH_NVME_REG_CC, RIG_CC | BH_NVME_CC_SHN_NORMAL << 14, 4);
	CU_ASSERT_EQUAL(rig.flushes, 1);
	CU_ASSERT_EQUAL(csts(), RDY | SHST_NOW);
	rig_flush_answer(0);
	CU_ASSERT_EQUAL(csts(), RDY | SHST_DONE);
	rig_disable();
	/* A reset in the middle is not answered by the end of the flush; */
	rig_enable(8, 8);
	rig_write(BH_NVME_REG_CC, RIG_CC | BH_NVME_CC_SHN_NORMAL << 14, 4);
	rig_disable();
	CU_ASSERT_EQUAL(csts(), 0);
	rig_enable(8, 8);
	CU_ASSERT_EQUAL(csts(), RDY);
	/* and a shutdown after it waits for a flush of its own. */
	rig_write(BH_NVME_REG_CC, RIG_CC | BH_NVME_CC_SHN_ABRUPT << 14, 4);
	CU_ASSERT_EQUAL(rig.flushes, 2);
	rig_flush_answer(0);
	CU_ASSERT_EQUAL(rig.flushes, 3);
	CU_ASSERT_EQUAL(csts(), RDY | SHST_NOW);
	rig_flush_answer(BH_NVME_SC_WRITE_FAULT); /* the log says it */
	CU_ASSERT_EQUAL(csts(), RDY | SHST_DONE);
	rig_disable();
	/* Disabled at once. */
	rig_enable(8, 8);
	rig_write(BH_NVME_REG_CC, BH_NVME_CC_SHN_NORMAL << 14, 4);
	CU_ASSERT_EQUAL(csts(), SHST_NOW);
	rig_flush_answer(0);
	CU_ASSERT_EQUAL(csts(), SHST_DONE);
	rig.hold_flush = false;
}

/* A store that is stuck keeps a controller from going for a while, and no longer. */
static void destruction_gives_up_on_a_flush(void)
{
	rig.hold_flush = true;
	rig_enable(8, 8);
	rig_write(BH_NVME_REG_CC, RIG_CC | BH_NVME_CC_SHN_NORMAL << 14, 4);
	bh_target_nvme_free(rig.ctrl);
	rig.ctrl = NULL;
	CU_ASSERT_EQUAL(rig.flushes, 1);
	CU_ASSERT_EQUAL(rig.flushes_given_up, 1);
}

static void reset_waits_for_the_gate(void)
{
	rig_enable(8, 8);
	rig.hold_gate = true;
	rig_disable();
	CU_ASSERT_EQUAL(csts(), RDY);
	CU_ASSERT_EQUAL(rig.drops, 0);
	rig_disable(); /* the same reset */
	rig_gate_closes();
	CU_ASSERT_EQUAL(csts(), 0);
	CU_ASSERT_EQUAL(rig.drops, 1);
	CU_ASSERT_EQUAL(rig.gates, 1);
	CU_ASSERT_FALSE(rig.is_gated);
}

static void enable_during_reset_comes_after(void)
{
	rig_enable(8, 8);
	rig.hold_gate = true;
	rig_disable();
	rig_write(BH_NVME_REG_CC, RIG_CC, 4);
	CU_ASSERT_EQUAL(rig.drops, 0);
	rig_gate_closes();
	CU_ASSERT_EQUAL(rig.drops, 1);
	CU_ASSERT_EQUAL(csts(), RDY);
}

static void late_reset_is_fatal(void)
{
	uint64_t start = bh_now_ns();

	rig_enable(8, 8);
	rig.hold_gate = true;
	rig_disable();
	while (!(csts() & CFS) && bh_now_ns() - start < 4000000000ull) {
		usleep(10000);
		rig_pump();
	}
	CU_ASSERT_EQUAL(csts(), RDY | CFS);
	rig_gate_closes();
	CU_ASSERT_EQUAL(csts(), 0);
}

static void device_reset_forgets_all(void)
{
	const struct bh_vfu_ops *ops = rig.server->opts.ops;

	rig_enable(8, 8);
	rig_write(BH_NVME_REG_INTMS, 5, 4);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_INTMC, 4), 5);
	rig_write(BH_NVME_REG_INTMC, 4, 4);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_INTMS, 4), 1);
	ops->quiesce(rig.ctrl, BH_QUIESCE_RESET, 0, 0);
	CU_ASSERT_EQUAL(rig.server->quiesced, 1);
	CU_ASSERT_EQUAL(rig.gate_kind, TN_GATE_ALL);
	ops->reset(rig.ctrl, BH_RESET_DEVICE);
	ops->resume(rig.ctrl, BH_QUIESCE_RESET);
	CU_ASSERT_EQUAL(csts(), 0);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CC, 4), 0);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_AQA, 4), 0);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_ASQ, 8), 0);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_ACQ, 8), 0);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_INTMS, 4), 0);
	rig_enable(8, 8);
}

/* A server's gate and a controller reset at once: one after the other, none lost. */
static void gates_wait_in_line(void)
{
	const struct bh_vfu_ops *ops = rig.server->opts.ops;

	rig_enable(8, 8);
	rig.hold_gate = true;
	rig_disable();
	ops->quiesce(rig.ctrl, BH_QUIESCE_UNMAP, 0x1000, 0x1000);
	CU_ASSERT_EQUAL(rig.gates, 1);
	rig_gate_closes();
	CU_ASSERT_EQUAL(csts(), 0);
	CU_ASSERT_EQUAL(rig.gates, 2);
	CU_ASSERT_EQUAL(rig.gate_kind, TN_GATE_TABLE);
	CU_ASSERT_EQUAL(rig.server->quiesced, 0);
	rig_gate_closes();
	CU_ASSERT_EQUAL(rig.server->quiesced, 1);
	ops->resume(rig.ctrl, BH_QUIESCE_UNMAP);
	CU_ASSERT_FALSE(rig.is_gated);
	rig.hold_gate = false;
	rig_enable(8, 8);
}

static void fatal_until_reset(void)
{
	rig_enable(8, 8);
	rig.server->opts.ops->fatal(rig.ctrl);
	CU_ASSERT_EQUAL(csts(), RDY | CFS);
	rig_post_aer();
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_IDENTIFY, 0, 1, 0, NULL), 0xffff);
	rig_disable();
	CU_ASSERT_EQUAL(csts(), 0);
	rig_enable(8, 8);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_IDENTIFY, 0, 1, 0, NULL), 0);
}

static void bad_options(void)
{
	struct bh_target_nvme *out;
	struct bh_target_nvme_opts opts;
	unsigned int i;

	for (i = 0; i < 12; i++) {
		opts = rig_opts();
		opts.path = i == 0 ? NULL : opts.path;
		opts.num_threads = i == 1 ? 0 : opts.num_threads;
		opts.serial = i == 2 ? "123456789012345678901" : NULL;
		opts.model = i == 3 ? "" : NULL;
		opts.subnqn = i == 4 ? "iqn.x" : NULL;
		opts.queues = i == 5 ? 0 : i == 6 ? 257 : 64;
		opts.depth = i == 7 ? 1 : i == 8 ? 4097 : 64;
		opts.dstrd = i == 9 ? 11 : 0;
		opts.mdts = i == 10 ? 0 : i == 11 ? 12288 : 4096;
		CU_ASSERT_EQUAL(bh_target_nvme_create(&opts, &out), -EINVAL);
		CU_ASSERT_PTR_NULL(out);
	}
}

/*
 * The doorbell area has room for all queues at every stride, inside a BAR that is a power of two.
 */
static void doorbell_area(void)
{
	unsigned int dstrd;

	for (dstrd = 0; dstrd <= 10; dstrd += 5) {
		struct bh_target_nvme_opts opts = rig_opts();
		const struct bh_vfu_bar *bar;

		bh_target_nvme_free(rig.ctrl);
		opts.queues = 256;
		opts.dstrd = dstrd;
		CU_ASSERT_EQUAL_FATAL(rig_open(&opts, BH_CMEM_MAPPED), 0);
		bar = &rig.server->bar0;
		CU_ASSERT_EQUAL(bar->bytes & (bar->bytes - 1), 0);
		CU_ASSERT_TRUE(bar->bytes >= 0x1000 + rig.ctrl->doorbell_bytes);
		CU_ASSERT_TRUE(rig.ctrl->doorbell_bytes >= 2 * 257 * ((size_t)4 << dstrd));
		CU_ASSERT_EQUAL(bar->fd, -1);
		rig_write(bh_nvme_sq_doorbell(256, dstrd), 1, 4);
		CU_ASSERT_EQUAL(rig.doorbells, 1);
		rig_write(bh_nvme_cq_doorbell(256, dstrd) + (4u << dstrd), 1,
			  4); /* behind the last */
		CU_ASSERT_EQUAL(rig.doorbells, 1);
		rig.doorbells = 0;
	}
}

BH_SUITE_FIXTURE("target_nvme_regs", rig_setup, rig_teardown, { "capabilities", capabilities },
		 { "access_sizes", access_sizes }, { "read_only_stays", read_only_stays },
		 { "queue_registers_hold_while_enabled", queue_registers_hold_while_enabled },
		 { "enable_is_checked", enable_is_checked },
		 { "shutdown_completes", shutdown_completes },
		 { "shutdown_waits_for_the_flush", shutdown_waits_for_the_flush },
		 { "destruction_gives_up_on_a_flush", destruction_gives_up_on_a_flush },
		 { "reset_waits_for_the_gate", reset_waits_for_the_gate },
		 { "enable_during_reset_comes_after", enable_during_reset_comes_after },
		 { "late_reset_is_fatal", late_reset_is_fatal },
		 { "device_reset_forgets_all", device_reset_forgets_all },
		 { "gates_wait_in_line", gates_wait_in_line },
		 { "fatal_until_reset", fatal_until_reset }, { "bad_options", bad_options },
		 { "doorbell_area", doorbell_area }, )

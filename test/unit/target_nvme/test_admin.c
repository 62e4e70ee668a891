/* SPDX-License-Identifier: BSD-3-Clause */
#include "target_nvme/control_rig.h"

#define CREATE_SQ BH_NVME_ADMIN_CREATE_SQ
#define CREATE_CQ BH_NVME_ADMIN_CREATE_CQ
#define DELETE_SQ BH_NVME_ADMIN_DELETE_SQ
#define DELETE_CQ BH_NVME_ADMIN_DELETE_CQ

static uint16_t identify(void)
{
	return rig_admin(BH_NVME_ADMIN_IDENTIFY, 0, BH_NVME_CNS_CTRL, 0, NULL);
}

static void two_entries_wrap(void)
{
	unsigned int i;

	rig_enable(2, 2);
	for (i = 0; i < 9; i++)
		CU_ASSERT_EQUAL(identify(), 0);
	CU_ASSERT_EQUAL(rig.server->raised, 9);
}

/*
 * A small completion queue behind a large submission queue: what does not fit waits for the head.
 */
static void full_cq_waits(void)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_IDENTIFY, .cdw10 = BH_NVME_CNS_CTRL };
	struct bh_nvme_cpl cpl;
	unsigned int i;

	rig_enable(64, 3);
	cmd.dptr.prp.prp1 = RIG_IOVA + RIG_DATA;
	for (i = 0; i < 50; i++) {
		cmd.cid = (uint16_t)i;
		rig_submit_quietly(&cmd);
	}
	rig_ring();
	for (i = 0; i < 50; i++) {
		CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
		CU_ASSERT_EQUAL(cpl.cid, i);
		CU_ASSERT_EQUAL(cpl.status >> 1, 0);
	}
	CU_ASSERT_FALSE(rig_reap(&cpl));
	CU_ASSERT_EQUAL(cpl.sqid, 0);
}

/* Between a full queue's turns there is room for what others want of the control thread. */
static void full_sq_takes_turns(void)
{
	enum { COUNT = 1000, PER_TURN = 32 };
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_IDENTIFY, .cdw10 = BH_NVME_CNS_CTRL };
	unsigned int got, all = 0, turns = 0;
	struct bh_nvme_cpl cpl;

	rig_enable(COUNT + 1, COUNT + 1);
	cmd.dptr.prp.prp1 = RIG_IOVA + RIG_DATA;
	for (cmd.cid = 0; cmd.cid < COUNT; cmd.cid++)
		rig_submit_quietly(&cmd);
	rig_write(bh_nvme_sq_doorbell(0, rig.ctrl->dstrd), rig.sq_tail, 4);
	for (; all < COUNT && turns < COUNT; turns++) {
		for (got = 0; rig_reap_quietly(&cpl); got++) {
			CU_ASSERT_EQUAL(cpl.status >> 1, 0);
			CU_ASSERT_EQUAL(cpl.cid, all + got);
		}
		CU_ASSERT(got <= PER_TURN);
		all += got;
		bh_reactor_run_once(rig.control);
	}
	CU_ASSERT_EQUAL(all, COUNT);
	CU_ASSERT(turns >= COUNT / PER_TURN);
}

static void sqhd_advances(void)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_KEEP_ALIVE };
	struct bh_nvme_cpl cpl;

	rig_enable(4, 4);
	rig_admin_cpl(&cmd, &cpl);
	CU_ASSERT_EQUAL(cpl.sqhd, 1);
	rig_admin_cpl(&cmd, &cpl);
	rig_admin_cpl(&cmd, &cpl);
	rig_admin_cpl(&cmd, &cpl);
	CU_ASSERT_EQUAL(cpl.sqhd, 0);
}

static void what_is_not_supported(void)
{
	static const uint8_t opcodes[] = {
		BH_NVME_ADMIN_NS_MANAGEMENT,
		BH_NVME_ADMIN_FW_COMMIT,
		BH_NVME_ADMIN_NVME_MI_SEND,
		BH_NVME_ADMIN_DIRECTIVE_SEND,
		BH_NVME_ADMIN_FABRICS,
		BH_NVME_ADMIN_SECURITY_SEND,
		BH_NVME_ADMIN_VENDOR_FIRST,
		0xff,
	};
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_IDENTIFY, .cdw10 = BH_NVME_CNS_CTRL };
	struct bh_nvme_cpl cpl;
	size_t i;

	rig_enable(8, 8);
	for (i = 0; i < sizeof(opcodes); i++)
		CU_ASSERT_EQUAL(rig_admin(opcodes[i], 0, 0, 0, NULL), BH_NVME_SC_INVALID_OPCODE);
	CU_ASSERT_EQUAL(rig.ctrl->error_count, sizeof(opcodes));
	cmd.flags = BH_NVME_FUSE_FIRST;
	CU_ASSERT_EQUAL(rig_admin_cpl(&cmd, &cpl), BH_NVME_SC_INVALID_FIELD);
	cmd.flags = BH_NVME_PSDT_SGL_MPTR_CONTIG;
	CU_ASSERT_EQUAL(rig_admin_cpl(&cmd, &cpl), BH_NVME_SC_INVALID_FIELD);
}

struct queue_row {
	uint8_t opc;
	uint32_t cdw10, cdw11;
	uint64_t prp1;
	uint16_t want;
};

static void queue_rows(const struct queue_row *rows, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		struct bh_nvme_cmd cmd = { .opc = rows[i].opc,
					   .cdw10 = rows[i].cdw10,
					   .cdw11 = rows[i].cdw11 };
		struct bh_nvme_cpl cpl;
		uint16_t got;

		cmd.dptr.prp.prp1 = rows[i].prp1;
		got = rig_admin_cpl(&cmd, &cpl);
		CU_ASSERT_EQUAL(got, rows[i].want);
		if (got != rows[i].want)
			CU_FAIL(queue_row);
	}
}

static void queue_commands(void)
{
	static const struct queue_row rows[] = {
		{ CREATE_SQ, 0x000f0001, 0x00010001, 0x1000, BH_NVME_SC_COMPLETION_QUEUE_INVALID },
		{ CREATE_CQ, 0x000f0000, 0x00000001, 0x1000, BH_NVME_SC_INVALID_QUEUE_ID },
		{ CREATE_CQ, 0x000f0041, 0x00000001, 0x1000,
		  BH_NVME_SC_INVALID_QUEUE_ID }, /* 65 of 64 */
		{ CREATE_CQ, 0x00000001, 0x00000001, 0x1000, BH_NVME_SC_INVALID_QUEUE_SIZE },
		{ CREATE_CQ, 0x04000001, 0x00000001, 0x1000,
		  BH_NVME_SC_INVALID_QUEUE_SIZE }, /* 1025 of 1024 */
		{ CREATE_CQ, 0x000f0001, 0x00000000, 0x1000, BH_NVME_SC_INVALID_FIELD }, /* PC */
		{ CREATE_CQ, 0x000f0001, 0x00000001, 0x1004, BH_NVME_SC_PRP_OFFSET_INVALID },
		{ CREATE_CQ, 0x000f0001, 0x00410003, 0x1000, BH_NVME_SC_INVALID_INTERRUPT_VECTOR },
		{ CREATE_CQ, 0x000f0001, 0x00410001, 0x1000,
		  0 }, /* without IEN the vector does not matter */
		{ CREATE_CQ, 0x000f0001, 0x00000001, 0x1000,
		  BH_NVME_SC_INVALID_QUEUE_ID }, /* exists */
		{ CREATE_CQ, 0x03ff0040, 0x00400003, 0x1000, 0 },
		{ CREATE_SQ, 0x000f0001, 0x00000001, 0x1000,
		  BH_NVME_SC_INVALID_QUEUE_ID }, /* CQID 0 */
		{ CREATE_SQ, 0x000f0001, 0x00410001, 0x1000, BH_NVME_SC_INVALID_QUEUE_ID },
		{ CREATE_SQ, 0x000f0001, 0x00020001, 0x1000, BH_NVME_SC_COMPLETION_QUEUE_INVALID },
		{ CREATE_SQ, 0x000f0001, 0x00010000, 0x1000, BH_NVME_SC_INVALID_FIELD },
		{ CREATE_SQ, 0x000f0001, 0x00010001, 0x1008, BH_NVME_SC_PRP_OFFSET_INVALID },
		{ CREATE_SQ, 0x00000001, 0x00010001, 0x1000, BH_NVME_SC_INVALID_QUEUE_SIZE },
		{ CREATE_SQ, 0x00010001, 0x00010001, 0x1000, 0 },
		{ CREATE_SQ, 0x00010001, 0x00010001, 0x1000, BH_NVME_SC_INVALID_QUEUE_ID },
		{ CREATE_SQ, 0x00010002, 0x00010001, 0x1000, 0 }, /* two to one */
		{ DELETE_CQ, 0x00000001, 0, 0, BH_NVME_SC_INVALID_QUEUE_DELETION },
		{ DELETE_SQ, 0x00000000, 0, 0, BH_NVME_SC_INVALID_QUEUE_ID },
		{ DELETE_SQ, 0x00000003, 0, 0, BH_NVME_SC_INVALID_QUEUE_ID },
		{ DELETE_SQ, 0x0000ffff, 0, 0, BH_NVME_SC_INVALID_QUEUE_ID },
		{ DELETE_SQ, 0x00000001, 0, 0, 0 },
		{ DELETE_CQ, 0x00000001, 0, 0, BH_NVME_SC_INVALID_QUEUE_DELETION },
		{ DELETE_SQ, 0x00000002, 0, 0, 0 },
		{ DELETE_CQ, 0x00000000, 0, 0, BH_NVME_SC_INVALID_QUEUE_ID },
		{ DELETE_CQ, 0x00000001, 0, 0, 0 },
		{ DELETE_CQ, 0x00000001, 0, 0, BH_NVME_SC_INVALID_QUEUE_ID },
	};

	rig_enable(8, 8);
	queue_rows(rows, sizeof(rows) / sizeof(rows[0]));
	CU_ASSERT_EQUAL(rig.params.entries, 2);
	CU_ASSERT_EQUAL(rig.params.cqid, 1);
}

static void entry_sizes_before_queues(void)
{
	static const struct queue_row without = { CREATE_CQ, 0x000f0001, 1, 0x1000,
						  BH_NVME_SC_INVALID_QUEUE_SIZE };
	static const struct queue_row with = { CREATE_CQ, 0x000f0001, 1, 0x1000, 0 };

	rig_queues(8, 8);
	rig_write(BH_NVME_REG_CC, BH_NVME_CC_EN, 4);
	queue_rows(&without, 1);
	rig_write(BH_NVME_REG_CC, RIG_CC, 4);
	queue_rows(&with, 1);
}

static void granted_queues_are_the_limit(void)
{
	static const struct queue_row rows[] = {
		{ CREATE_CQ, 0x000f0003, 1, 0x1000, BH_NVME_SC_INVALID_QUEUE_ID },
		{ CREATE_CQ, 0x000f0002, 1, 0x1000, 0 },
		{ CREATE_SQ, 0x000f0005, 0x00020001, 0x1000, BH_NVME_SC_INVALID_QUEUE_ID },
		{ CREATE_SQ, 0x000f0004, 0x00020001, 0x1000, 0 },
	};
	uint32_t cdw0;

	rig_enable(8, 8);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_SET_FEATURES, 0, 7, 0x00010003, &cdw0), 0);
	CU_ASSERT_EQUAL(cdw0, 0x00010003);
	queue_rows(rows, 4);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_SET_FEATURES, 0, 7, 0x00010003, &cdw0),
			BH_NVME_SC_COMMAND_SEQUENCE_ERROR);
}

/* Two creations of the same queue at once: the second sees the first. */
static void queue_commands_take_turns(void)
{
	struct bh_nvme_cmd cmd = { .opc = CREATE_CQ, .cdw10 = 0x000f0001, .cdw11 = 1, .cid = 1 };
	struct bh_nvme_cpl cpl;

	rig_enable(8, 8);
	rig.hold_io = true;
	cmd.dptr.prp.prp1 = 0x1000;
	rig_submit_quietly(&cmd);
	cmd.cid = 2;
	rig_submit_quietly(&cmd);
	rig_ring();
	CU_ASSERT_FALSE(rig_reap(&cpl));
	rig_io_answer(0);
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(cpl.cid, 1);
	CU_ASSERT_EQUAL(cpl.status >> 1, 0);
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(cpl.cid, 2);
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), BH_NVME_SC_INVALID_QUEUE_ID | BH_NVME_STATUS_DNR);
}

/* A reset with a command in the I/O plane: its answer comes later and is nobody's. */
static void reset_drops_commands(void)
{
	struct bh_nvme_cmd cmd = { .opc = CREATE_CQ, .cdw10 = 0x000f0001, .cdw11 = 1 };
	struct bh_nvme_cpl cpl;
	unsigned int i;

	for (i = 0; i < 40; i++) {
		rig_enable(8, 8);
		rig.hold_io = true;
		cmd.dptr.prp.prp1 = 0x1000;
		rig_submit_quietly(&cmd);
		rig_submit_quietly(&cmd);
		rig_post_aer();
		rig_disable();
		rig.hold_io = false;
		rig_io_answer(0);
	}
	rig_enable(8, 8);
	CU_ASSERT_FALSE(rig_reap(&cpl));
	CU_ASSERT_EQUAL(identify(), 0);
}

static void aborts(void)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_ABORT };
	struct bh_nvme_cpl cpl;
	uint32_t cdw0, cid;
	unsigned int i;

	rig_enable(16, 16);
	rig.has_cq[1] = true;
	rig.sq_cq[1] = 1;
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_ABORT, 0, 7u << 16 | 1, 0, &cdw0), 0);
	CU_ASSERT_EQUAL(cdw0, 0);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_ABORT, 0, 8u << 16 | 1, 0, &cdw0), 0);
	CU_ASSERT_EQUAL(cdw0, BH_NVME_ABORT_NOT_ABORTED);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_ABORT, 0, 7u << 16 | 9, 0, &cdw0), 0);
	CU_ASSERT_EQUAL(cdw0, BH_NVME_ABORT_NOT_ABORTED);
	/* an AER: it completes, aborted */
	cid = rig_post_aer();
	cmd.cdw10 = cid << 16;
	cmd.cid = rig.next_cid++;
	rig_submit_quietly(&cmd);
	rig_ring();
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(cpl.cid, cid);
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), BH_NVME_SC_ABORTED_BY_REQUEST);
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(cpl.cdw0, 0);
	/* the limit */
	rig.hold_io = true;
	cmd.cdw10 = 7u << 16 | 1;
	for (i = 0; i < 5; i++)
		rig_submit_quietly(&cmd);
	rig_ring();
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl),
			BH_NVME_SC_ABORT_LIMIT_EXCEEDED | BH_NVME_STATUS_DNR);
	CU_ASSERT_FALSE(rig_reap(&cpl));
	rig.hold_io = false;
}

static void count_line(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	(void)level;
	(void)component;
	*(unsigned int *)ctx += strstr(line, "invalid value") != NULL;
}

/* A client that writes nonsense without end does not fill the log. */
static void invalid_doorbells_are_logged_once(void)
{
	unsigned int i, lines = 0;
	const struct bh_log log = { count_line, &lines, BH_LOG_INFO };
	struct bh_target_nvme_opts opts = rig_opts();

	bh_target_nvme_free(rig.ctrl);
	opts.log = &log;
	CU_ASSERT_EQUAL_FATAL(rig_open(&opts, BH_CMEM_MAPPED), 0);
	rig_enable(16, 16);
	for (i = 0; i < 100; i++)
		rig_write(bh_nvme_cq_doorbell(0, rig.ctrl->dstrd), 1000 + i, 4);
	rig_write(bh_nvme_sq_doorbell(0, rig.ctrl->dstrd), 1000, 4);
	CU_ASSERT_EQUAL(lines, 1);
	CU_ASSERT_EQUAL(rig.ctrl->error_count, 101);
}

static void doorbell_buffers(void)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_DOORBELL_BUFFER_CONFIG };
	struct bh_nvme_cpl cpl;

	rig_enable(8, 8);
	cmd.dptr.prp.prp1 = 0x1000;
	cmd.dptr.prp.prp2 = 0x2000;
	CU_ASSERT_EQUAL(rig_admin_cpl(&cmd, &cpl), 0);
	CU_ASSERT_EQUAL(rig.shadow, 0x1000);
	CU_ASSERT_EQUAL(rig.event_idx, 0x2000);
	cmd.dptr.prp.prp2 = 0x2004;
	CU_ASSERT_EQUAL(rig_admin_cpl(&cmd, &cpl), BH_NVME_SC_INVALID_FIELD);
	cmd.dptr.prp.prp2 = 0x1000;
	CU_ASSERT_EQUAL(rig_admin_cpl(&cmd, &cpl), BH_NVME_SC_INVALID_FIELD);
}

/* Not offered where the doorbells do not fit in a page. */
static void doorbell_buffers_need_a_page(void)
{
	struct bh_target_nvme_opts opts = rig_opts();
	const struct bh_nvme_id_ctrl *id = rig_data();

	rig_enable(8, 8);
	identify();
	CU_ASSERT_TRUE(id->oacs & BH_NVME_OACS_DOORBELL_BUFFER);
	bh_target_nvme_free(rig.ctrl);
	opts.dstrd = 3; /* 2 * 65 * 32 = 4160 */
	CU_ASSERT_EQUAL_FATAL(rig_open(&opts, BH_CMEM_MAPPED), 0);
	rig_enable(8, 8);
	identify();
	CU_ASSERT_FALSE(id->oacs & BH_NVME_OACS_DOORBELL_BUFFER);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_DOORBELL_BUFFER_CONFIG, 0, 0, 0, NULL),
			BH_NVME_SC_INVALID_OPCODE);
}

static void invalid_tail_stops_and_tells(void)
{
	struct bh_nvme_cpl cpl;
	uint16_t cid;

	rig_enable(8, 8);
	cid = rig_post_aer();
	rig_write(BH_NVME_REG_DOORBELLS, 8, 4);
	rig_pump();
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(cpl.cid, cid);
	CU_ASSERT_EQUAL(cpl.cdw0,
			BH_NVME_LOG_ERROR << 16 | BH_NVME_AER_ERROR_INVALID_DOORBELL_VALUE << 8);
	CU_ASSERT_EQUAL(rig.ctrl->error_count, 1);
	CU_ASSERT_EQUAL(identify(), 0xffff);
	rig_disable();
	rig_enable(8, 8);
	CU_ASSERT_EQUAL(identify(), 0);
}

static void invalid_head_is_ignored(void)
{
	rig_enable(8, 8);
	CU_ASSERT_EQUAL(identify(), 0);
	rig_write(BH_NVME_REG_DOORBELLS + 4, 5, 4); /* there was one completion */
	rig_write(BH_NVME_REG_DOORBELLS + 4, 0xffffffff, 4);
	rig_write(BH_NVME_REG_DOORBELLS + 4, 0xffffffff, 4);
	CU_ASSERT_EQUAL(rig.ctrl->error_count, 2);
	CU_ASSERT_EQUAL(identify(), 0);
	CU_ASSERT_EQUAL(identify(), 0);
}

static void queues_outside_memory_are_fatal(void)
{
	rig_enable(8, 8);
	rig_disable();
	rig_write(BH_NVME_REG_ASQ, 0xfffffffffffff000ull, 8);
	rig_write(BH_NVME_REG_CC, RIG_CC, 4);
	CU_ASSERT_EQUAL(identify(), 0xffff);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CSTS, 4), BH_NVME_CSTS_RDY | BH_NVME_CSTS_CFS);
	rig_disable();
	rig_enable(8, 8);
	rig_disable();
	rig_write(BH_NVME_REG_ACQ, 0x1000, 8);
	rig_write(BH_NVME_REG_CC, RIG_CC, 4);
	CU_ASSERT_EQUAL(identify(), 0xffff);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CSTS, 4), BH_NVME_CSTS_RDY | BH_NVME_CSTS_CFS);
}

static void data_outside_memory_fails(void)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_IDENTIFY, .cdw10 = BH_NVME_CNS_CTRL };
	struct bh_nvme_cpl cpl;

	rig_enable(8, 8);
	cmd.dptr.prp.prp1 = 0x5000;
	rig_submit_quietly(&cmd);
	rig_ring();
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), BH_NVME_SC_DATA_TRANSFER_ERROR);
	CU_ASSERT_EQUAL(rig.ctrl->error_count, 1);
	CU_ASSERT_EQUAL(identify(), 0);
}

/* INTx: a level while there are completions the host has not read, unless masked. */
static void line_interrupt(void)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_KEEP_ALIVE };
	struct bh_nvme_cpl cpl;

	rig_enable(8, 8);
	rig.server->msix = false;
	rig_submit_quietly(&cmd);
	rig_ring();
	CU_ASSERT_TRUE(rig.server->level);
	rig_write(BH_NVME_REG_INTMS, 1, 4);
	CU_ASSERT_FALSE(rig.server->level);
	rig_write(BH_NVME_REG_INTMC, 1, 4);
	CU_ASSERT_TRUE(rig.server->level);
	CU_ASSERT_TRUE(rig_reap(&cpl));
	CU_ASSERT_FALSE(rig.server->level);
	CU_ASSERT_EQUAL(rig.server->raised, 0);
	rig_submit_quietly(&cmd);
	rig_ring();
	rig_disable();
	CU_ASSERT_FALSE(rig.server->level);
}

/* No entry is fetched behind a gate; afterwards all goes on. */
static void gate_holds_the_queue(void)
{
	const struct bh_vfu_ops *ops = rig.server->opts.ops;
	struct bh_nvme_cpl cpl;

	rig_enable(8, 8);
	ops->quiesce(rig.ctrl, BH_QUIESCE_MAP, 0, 0x1000);
	CU_ASSERT_EQUAL(identify(), 0xffff);
	ops->resume(rig.ctrl, BH_QUIESCE_MAP);
	CU_ASSERT_TRUE_FATAL(rig_reap(&cpl));
	CU_ASSERT_EQUAL(identify(), 0);
}

static void gate_holds_interrupt_changes(void)
{
	const struct bh_vfu_ops *ops = rig.server->opts.ops;

	rig_enable(8, 8);
	ops->quiesce(rig.ctrl, BH_QUIESCE_RESET, 0, 0);
	rig.irqs_changed = 0;
	ops->irqs_changed(rig.ctrl);
	CU_ASSERT_EQUAL(rig.irqs_changed, 0);
	ops->reset(rig.ctrl, BH_RESET_DEVICE);
	CU_ASSERT_EQUAL(rig.irqs_changed, 0);
	ops->resume(rig.ctrl, BH_QUIESCE_RESET);
	CU_ASSERT_EQUAL(rig.irqs_changed, 1);
	ops->irqs_changed(rig.ctrl);
	CU_ASSERT_EQUAL(rig.irqs_changed, 2);
}

static int message_setup(void)
{
	struct bh_target_nvme_opts opts;

	bh_target_nvme_free(rig.ctrl);
	opts = rig_opts();
	return rig_open(&opts, BH_CMEM_MESSAGE);
}

/* Queues and data that are reached by messages: every step waits for the client. */
static void messages_carry_everything(void)
{
	unsigned int i;

	CU_ASSERT_EQUAL_FATAL(message_setup(), 0);
	rig_enable(2, 2);
	for (i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(identify(), 0);
	CU_ASSERT_EQUAL(((struct bh_nvme_id_ctrl *)rig_data())->cntlid, 1);
	CU_ASSERT_EQUAL(rig_admin(BH_NVME_ADMIN_LOCKDOWN, 0, 0, 0, NULL),
			BH_NVME_SC_INVALID_OPCODE);
}

/* A reset waits for the transfer under way, an unmap does not. */
static void reset_waits_for_transfers(void)
{
	const struct bh_vfu_ops *ops = rig.server->opts.ops;
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_IDENTIFY, .cdw10 = BH_NVME_CNS_CTRL };

	CU_ASSERT_EQUAL_FATAL(message_setup(), 0);
	rig_enable(8, 8);
	cmd.dptr.prp.prp1 = RIG_IOVA + RIG_DATA;
	rig_submit_quietly(&cmd);
	rig.hold_messages = true;
	rig_ring();
	CU_ASSERT_EQUAL(rig.num_messages, 1);
	ops->quiesce(rig.ctrl, BH_QUIESCE_UNMAP, 0x1000, 0x1000);
	CU_ASSERT_EQUAL(rig.server->quiesced, 1);
	rig_answer(); /* the entry has come, and is held */
	CU_ASSERT_EQUAL(rig.num_messages, 0);
	ops->resume(rig.ctrl, BH_QUIESCE_UNMAP);
	CU_ASSERT_EQUAL(rig.num_messages, 1); /* the data */
	rig_disable();
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CSTS, 4), BH_NVME_CSTS_RDY);
	rig_answer();
	CU_ASSERT_EQUAL(rig.num_messages, 0); /* no completion is written */
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CSTS, 4), 0);
	rig.hold_messages = false;
	rig_enable(8, 8);
	CU_ASSERT_EQUAL(identify(), 0);
}

BH_SUITE_FIXTURE("target_nvme_admin", rig_setup, rig_teardown,
		 { "two_entries_wrap", two_entries_wrap }, { "full_cq_waits", full_cq_waits },
		 { "full_sq_takes_turns", full_sq_takes_turns }, { "sqhd_advances", sqhd_advances },
		 { "what_is_not_supported", what_is_not_supported },
		 { "queue_commands", queue_commands },
		 { "entry_sizes_before_queues", entry_sizes_before_queues },
		 { "granted_queues_are_the_limit", granted_queues_are_the_limit },
		 { "queue_commands_take_turns", queue_commands_take_turns },
		 { "reset_drops_commands", reset_drops_commands }, { "aborts", aborts },
		 { "invalid_doorbells_are_logged_once", invalid_doorbells_are_logged_once },
		 { "doorbell_buffers", doorbell_buffers },
		 { "doorbell_buffers_need_a_page", doorbell_buffers_need_a_page },
		 { "invalid_tail_stops_and_tells", invalid_tail_stops_and_tells },
		 { "invalid_head_is_ignored", invalid_head_is_ignored },
		 { "queues_outside_memory_are_fatal", queues_outside_memory_are_fatal },
		 { "data_outside_memory_fails", data_outside_memory_fails },
		 { "line_interrupt", line_interrupt },
		 { "gate_holds_interrupt_changes", gate_holds_interrupt_changes },
		 { "gate_holds_the_queue", gate_holds_the_queue },
		 { "messages_carry_everything", messages_carry_everything },
		 { "reset_waits_for_transfers", reset_waits_for_transfers }, )

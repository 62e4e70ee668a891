/* SPDX-License-Identifier: BSD-3-Clause */
/* The I/O plane with synchronous stores: commands and their errors, rings, doorbells, interrupts,
 * gates. */
#include "io_rig.h"

static void fill(uint8_t *p, size_t len, uint32_t seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
}

/* Writes, reads back and compares through every kind of data pointer. */
static void data_round(uint32_t bs)
{
	static const uint32_t lens[] = { 4096, 8192, 12288, 131072, 1u << 20 };
	static const uint32_t offsets[] = { 0, 4, 0xe00 };
	uint64_t *list = rig_at(RIG_LISTS);
	unsigned int i, o, k;

	for (i = 0; i < 5; i++) {
		for (o = 0; o < 3; o++) {
			uint64_t at = RIG_DATA_AT + offsets[o],
				 back = RIG_DATA_AT + (2u << 20) + offsets[o];
			uint32_t len = lens[i], blocks = len / bs, pages;
			struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_WRITE, 3, blocks, at);

			pages = (offsets[o] + len + 4095) / 4096 - 1;
			for (k = 0; k < pages; k++)
				list[k] = RIG_IOVA + RIG_DATA_AT + (k + 1) * 4096ull;
			if (pages > 1)
				cmd.dptr.prp.prp2 = RIG_IOVA + RIG_LISTS;
			fill(rig_at(at), len, len + o);
			CU_ASSERT_EQUAL(rig_run(&cmd), 0);
			cmd.opc = BH_NVME_CMD_COMPARE;
			CU_ASSERT_EQUAL(rig_run(&cmd), 0);
			/* Back by one SGL, somewhere else. */
			cmd.opc = BH_NVME_CMD_READ;
			cmd.flags = BH_NVME_PSDT_SGL_MPTR_CONTIG;
			cmd.dptr.sgl = (struct bh_nvme_sgl){ .addr = RIG_IOVA + back, .len = len };
			memset(rig_at(back), 0xee, len + 8);
			CU_ASSERT_EQUAL(rig_run(&cmd), 0);
			CU_ASSERT_EQUAL(memcmp(rig_at(at), rig_at(back), len), 0);
			CU_ASSERT_EQUAL(*(uint8_t *)rig_at(back + len), 0xee);
			((uint8_t *)rig_at(back))[len - 1] ^= 1;
			cmd.opc = BH_NVME_CMD_COMPARE;
			CU_ASSERT_EQUAL(rig_run(&cmd), TN_SF(BH_NVME_SC_COMPARE_FAILURE));
		}
	}
}

static void data_by_pointer(void)
{
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	rig_queue(1, 8, true);
	data_round(512);
	rig_close();
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_TRAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", 4096);
	rig_queue(1, 2, false);
	data_round(4096);
	CU_ASSERT_EQUAL(rig.raises, 0);
	rig_close();
}

static void data_without_pointers(void)
{
	static const enum bh_cmem_mode modes[] = { BH_CMEM_MAPPED, BH_CMEM_FILE, BH_CMEM_MESSAGE };
	unsigned int a, b;

	for (a = 0; a < 3; a++) {
		for (b = 0; b < 3; b++) {
			if (!a && !b)
				continue;
			rig_open(modes[a], modes[b], 1, BH_DOORBELLS_MAPPED);
			rig_ns(1, &bh_blk_ram_type, "4M", 512);
			rig_queue(1, 5, true);
			data_round(512);
			CU_ASSERT(rig.raises > 0);
			CU_ASSERT_EQUAL(rig.fatals, 0);
			rig_close();
		}
	}
}

static void null_leaves_data_alone(void)
{
	struct bh_nvme_cmd cmd;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_null_type, "1T", 512);
	rig_queue(1, 8, false);
	memset(rig_at(RIG_DATA_AT), 0x5a, 8192);
	cmd = rig_cmd(BH_NVME_CMD_READ, 1ull << 30, 8, RIG_DATA_AT + 512);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT_EQUAL(*(uint8_t *)rig_at(RIG_DATA_AT + 512), 0x5a);
	/* What is not mapped is noticed even though nothing is written. */
	cmd.dptr.prp.prp1 = 0x1000;
	CU_ASSERT_EQUAL(rig_run(&cmd), BH_NVME_SC_DATA_TRANSFER_ERROR);
	cmd.dptr.prp.prp1 = 0xfffffffffffffe00ull;
	CU_ASSERT_EQUAL(rig_run(&cmd), BH_NVME_SC_DATA_TRANSFER_ERROR);
	rig_close();
}

struct check {
	struct bh_nvme_cmd cmd;
	uint16_t status;
};

static void commands_are_checked(void)
{
	const struct bh_nvme_cmd ok = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	struct check c[64];
	unsigned int i, n = 0, failed = 0;

#define CHECK(sf, ...)                               \
	do {                                         \
		struct bh_nvme_cmd *cmd = &c[n].cmd; \
		*cmd = ok;                           \
		__VA_ARGS__;                         \
		c[n++].status = (sf);                \
	} while (0)
#define BAD(sc, ...) CHECK(TN_SF(BH_NVME_SC_##sc), __VA_ARGS__)

	CHECK(0, (void)0);
	BAD(INVALID_OPCODE, cmd->opc = 0x7f);
	BAD(INVALID_OPCODE, cmd->opc = BH_NVME_CMD_ZONE_APPEND);
	BAD(INVALID_NS, cmd->opc = BH_NVME_CMD_WRITE_UNCORRECTABLE; cmd->nsid = BH_NVME_NSID_ALL);
	BAD(INVALID_FIELD, cmd->opc = BH_NVME_CMD_COPY; cmd->flags = 0xc0);
	BAD(INVALID_FIELD, cmd->flags = BH_NVME_FUSE_FIRST);
	BAD(INVALID_FIELD, cmd->flags = BH_NVME_FUSE_SECOND);
	BAD(INVALID_FIELD, cmd->flags = 0xc0);
	BAD(INVALID_NS, cmd->nsid = 0);
	BAD(INVALID_FIELD, cmd->nsid = 3); /* inactive */
	BAD(INVALID_NS, cmd->nsid = 257);
	BAD(INVALID_NS, cmd->nsid = BH_NVME_NSID_ALL);
	BAD(INVALID_NS, cmd->nsid = BH_NVME_NSID_ALL; cmd->opc = BH_NVME_CMD_WRITE_ZEROES);
	CHECK(0, cmd->nsid = BH_NVME_NSID_ALL; cmd->opc = BH_NVME_CMD_FLUSH);
	CHECK(0, cmd->opc = BH_NVME_CMD_FLUSH);
	BAD(LBA_OUT_OF_RANGE, cmd->cdw10 = 8192);
	CHECK(0, cmd->cdw10 = 8191);
	BAD(LBA_OUT_OF_RANGE, cmd->cdw10 = 8191; cmd->cdw12 = 1);
	BAD(LBA_OUT_OF_RANGE, cmd->cdw10 = cmd->cdw11 = 0xffffffff);
	BAD(LBA_OUT_OF_RANGE, cmd->cdw11 = 1);
	BAD(INVALID_FIELD, cmd->cdw12 = 2048); /* over MDTS */
	BAD(INVALID_FIELD, cmd->cdw12 = 2048; cmd->opc = BH_NVME_CMD_COMPARE);
	BAD(PRP_OFFSET_INVALID, cmd->dptr.prp.prp1 |= 2);
	BAD(PRP_OFFSET_INVALID, cmd->cdw12 = 15; cmd->dptr.prp.prp2 |= 4);
	BAD(PRP_OFFSET_INVALID, cmd->cdw12 = 31; cmd->dptr.prp.prp2 = RIG_IOVA + RIG_LISTS + 4);
	CHECK(0, cmd->cdw12 |= BH_NVME_IO_FUA | BH_NVME_IO_LR | BH_NVME_IO_PRACT);
	CHECK(0, cmd->cdw12 |= BH_NVME_IO_PRCHK_REF; cmd->mptr = 0xdead);
	BAD(SGL_DATA_LENGTH_INVALID, cmd->flags = 0x40; cmd->dptr.sgl.len = 513);
	CHECK(0, cmd->opc = BH_NVME_CMD_WRITE_ZEROES; cmd->cdw12 = 4095);
	CHECK(0, cmd->opc = BH_NVME_CMD_WRITE_ZEROES; cmd->cdw12 = 4095 | BH_NVME_IO_DEAC);
	BAD(LBA_OUT_OF_RANGE, cmd->opc = BH_NVME_CMD_WRITE_ZEROES; cmd->cdw12 = 0xffff);
	CHECK(0, cmd->opc = BH_NVME_CMD_DSM; cmd->cdw10 = 0; cmd->cdw11 = BH_NVME_DSM_IDR);
	CHECK(0, cmd->opc = BH_NVME_CMD_WRITE; cmd->nsid = 2);

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	rig_ns(2, &bh_blk_null_type, "4M", 512);
	rig_queue(1, 64, true);
	for (i = 0; i < n; i++) {
		unsigned int errors = rig.errors;
		uint16_t status;

		c[i].cmd.cid = (uint16_t)(0x8000 + i);
		status = rig_run(&c[i].cmd);
		if (status != c[i].status)
			fprintf(stderr, "check %u: %#x, not %#x\n", i, status, c[i].status);
		failed += status != c[i].status;
		CU_ASSERT_EQUAL(rig.errors - errors, c[i].status ? 1 : 0);
	}
	CU_ASSERT_EQUAL(failed, 0);
	rig_close();
}

static void dsm_deallocates(void)
{
	struct bh_nvme_dsm_range *range;
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_DSM, 0, 1, RIG_DATA_AT);
	uint8_t *store;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "1M", 512);
	rig_queue(1, 8, true);
	store = rig.ns[1].blk->inline_base;
	range = rig_at(RIG_DATA_AT);
	memset(store, 0xff, 1 << 20);
	cmd.cdw10 = 2;
	cmd.cdw11 = BH_NVME_DSM_AD;
	range[0] = (struct bh_nvme_dsm_range){ .blocks = 3, .lba = 10 };
	range[1] = (struct bh_nvme_dsm_range){ .blocks = 0, .lba = 0 };
	range[2] = (struct bh_nvme_dsm_range){ .blocks = 1024, .lba = 1025 };
	CU_ASSERT_EQUAL(rig_run(&cmd), TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE));
	CU_ASSERT_EQUAL(store[10 * 512], 0xff); /* none took effect */
	range[2].lba = 1024;
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT(store[10 * 512 - 1] == 0xff && store[10 * 512] == 0 && store[13 * 512 - 1] == 0);
	CU_ASSERT(store[13 * 512] == 0xff && store[1023 * 512] == 0xff && store[1024 * 512] == 0);
	rig_close();
}

/* More commands than entries, with a completion queue that fills up. */
static void rings_wrap_and_fill(void)
{
	struct rig_queue *q = &rig.q[1];
	uint32_t entries;

	for (entries = 2; entries < 40; entries += 7) {
		unsigned int sent = 0, got = 0, flying = 0, misses = 0;

		rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
		rig_ns(1, &bh_blk_ram_type, "4M", 512);
		rig_queue(1, entries, true);
		while (got < 500) {
			struct bh_nvme_cpl cpl;

			/* The SQ has room by SQHD; completions are not taken until nothing moves.
			 */
			while (sent < 500 && (q->tail + 1) % entries != q->sqhd) {
				struct bh_nvme_cmd cmd =
					rig_cmd(BH_NVME_CMD_READ, sent, 1, RIG_DATA_AT);

				cmd.cid = (uint16_t)sent++;
				rig_put(q, &cmd);
				flying++;
			}
			rig_tail(q);
			rig_steps(3);
			while (rig_get(q, &cpl)) {
				CU_ASSERT_EQUAL(cpl.cid, (uint16_t)got);
				misses += bh_nvme_cpl_status(&cpl) != 0;
				got++;
				flying--;
				if (got % 3 == 0)
					rig_head(q);
			}
			rig_head(q);
		}
		CU_ASSERT_EQUAL(misses, 0);
		CU_ASSERT_EQUAL(rig.events, 0);
		rig_close();
	}
}

/* Completions that the host does not take: nothing overflows, all come in the end. */
static void full_completion_queue_waits(void)
{
	struct rig_queue *q = &rig.q[1];
	struct tn_queue_params p = {
		.qid = 2, .cqid = 1, .entries = 16, .iova = RIG_IOVA + RIG_SQ(2)
	};
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	struct bh_nvme_cpl cpl, *ring;
	unsigned int i, got = 0;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	rig_queue(1, 8, true);
	tn_io_sq_create(&rig.ctrl, &p, rig_done, NULL);
	CU_ASSERT_EQUAL(tn_io_cq_users(&rig.ctrl, 1), 2);
	for (i = 0; i < 15; i++) {
		cmd.cid = (uint16_t)i;
		memcpy(rig_at(RIG_SQ(2) + i * 64), &cmd, 64);
	}
	rig_ring(4, 15);
	rig_steps(5);
	ring = rig_at(RIG_CQ(1));
	CU_ASSERT_EQUAL(ring[6].status & 1, 1);
	CU_ASSERT_EQUAL(ring[7].status & 1, 0); /* one stays free */
	while (got < 15) {
		const struct bh_nvme_cpl *at = &ring[q->head];

		if ((at->status & 1) != q->phase) {
			rig_head(q);
			rig_step();
			continue;
		}
		cpl = *at;
		CU_ASSERT(cpl.sqid == 2 && cpl.cid == got);
		got++;
		q->head = (q->head + 1) % 8;
		q->phase ^= !q->head;
	}
	rig_close();
}

static void bad_doorbells_are_events(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 2, BH_DOORBELLS_TRAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	rig_queue(1, 8, true);
	rig_queue(2, 8, true);
	tn_io_doorbell_write(&rig.ctrl, 4 * 6, 1); /* SQ 3: none */
	CU_ASSERT(rig.events == 1 && rig.event_info == BH_NVME_AER_ERROR_INVALID_DOORBELL_REG);
	tn_io_doorbell_write(&rig.ctrl, 4 * 7, 1);
	tn_io_doorbell_write(&rig.ctrl, 9, 1);
	tn_io_doorbell_write(&rig.ctrl, TN_PAGE_SIZE, 1);
	tn_io_doorbell_write(&rig.ctrl, UINT64_MAX - 3, 1);
	CU_ASSERT_EQUAL(rig.events, 5);
	tn_io_doorbell_write(&rig.ctrl, 4 * 4, 8); /* a value out of range */
	rig_steps(3);
	CU_ASSERT(rig.events == 6 && rig.event_info == BH_NVME_AER_ERROR_INVALID_DOORBELL_VALUE);
	tn_io_doorbell_write(&rig.ctrl, 4 * 4, 1); /* that queue has stopped */
	rig_steps(3);
	CU_ASSERT_EQUAL(*(uint32_t *)rig_at(RIG_CQ(2) + 12), 0);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0); /* the other has not */
	tn_io_sq_delete(&rig.ctrl, 2, rig_done, NULL);
	tn_io_cq_delete(&rig.ctrl, 2, rig_done, NULL);
	CU_ASSERT(!tn_io_has_sq(&rig.ctrl, 2) && !tn_io_has_cq(&rig.ctrl, 2));
	rig_queue(2, 8, true); /* until it is made anew */
	memcpy(rig_at(RIG_SQ(2)), &cmd, 64);
	tn_io_doorbell_write(&rig.ctrl, 4 * 4, 1);
	rig_steps(3);
	CU_ASSERT_EQUAL(*(uint16_t *)rig_at(RIG_CQ(2) + 14), 1);
	rig_close();
}

static void interrupts_once_per_pass(void)
{
	struct rig_queue *q = &rig.q[1];
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	struct bh_nvme_cpl cpl;
	unsigned int i;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	rig_queue(1, 64, true);
	for (i = 0; i < 20; i++)
		rig_put(q, &cmd);
	rig_tail(q);
	rig_step();
	CU_ASSERT_EQUAL(rig.raises, 1);
	/* INTx follows the queue being empty, and the mask. */
	rig.msix = false;
	tn_io_irqs_changed(&rig.ctrl);
	CU_ASSERT(rig.line[1]);
	rig.ctrl.regs.intms = 1u << 1;
	tn_io_irqs_changed(&rig.ctrl);
	CU_ASSERT(!rig.line[1]);
	rig.ctrl.regs.intms = 0;
	tn_io_irqs_changed(&rig.ctrl);
	CU_ASSERT(rig.line[1]);
	while (rig_get(q, &cpl))
		;
	rig_step();
	CU_ASSERT(rig.line[1]);
	rig_head(q);
	rig_step();
	CU_ASSERT(!rig.line[1]);
	rig_close();
}

static void shadows_trap_never_while_polled(void)
{
	struct rig_queue *q = &rig.q[1];
	unsigned int i, wraps = 0, got = 0;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_TRAPPED);
	rig_ns(1, &bh_blk_null_type, "1G", 512);
	tn_io_shadow_set(&rig.ctrl, RIG_IOVA + RIG_SHADOW, RIG_IOVA + RIG_EVENT, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.status, 0);
	rig_queue(1, 32, false);
	rig.is_shadow = true;
	for (i = 0; wraps < 2000; i++) {
		unsigned int burst = 1 + i * 7 % 31;
		struct bh_nvme_cpl cpl;

		while (burst-- && (q->tail + 1) % 32 != q->sqhd) {
			struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, i, 1, RIG_DATA_AT);

			rig_put(q, &cmd);
			wraps += q->tail == 0;
			if (burst % 3 == 0)
				rig_tail(q);
		}
		rig_tail(q);
		rig_step();
		while (rig_get(q, &cpl))
			got++;
		rig_head(q);
	}
	/* Once, before it is seen to have more than half a ring in flight. */
	CU_ASSERT(rig.doorbells <= 1);
	CU_ASSERT(got >= 2000 * 31);
	rig_steps(3);
	/* Asleep: the very next one rings. */
	CU_ASSERT_EQUAL(tn_bells_arm(rig.ctrl.io->thread[0]), 0);
	i = rig.doorbells;
	rig_put(q, &(struct bh_nvme_cmd){ .opc = BH_NVME_CMD_FLUSH, .nsid = 1 });
	rig_tail(q);
	CU_ASSERT_EQUAL(rig.doorbells, i + 1);
	CU_ASSERT_EQUAL(tn_bells_arm(rig.ctrl.io->thread[0]), 1);
	rig_step();
	/* Awake again without work: the arming is taken back. */
	CU_ASSERT_EQUAL(tn_bells_arm(rig.ctrl.io->thread[0]), 0);
	tn_bells_disarm(rig.ctrl.io->thread[0]);
	rig_put(q, &(struct bh_nvme_cmd){ .opc = BH_NVME_CMD_FLUSH, .nsid = 1 });
	rig_tail(q);
	CU_ASSERT_EQUAL(rig.doorbells, i + 1);
	rig_close();
}

/*
 * INTx: the client takes the line down when the guest accesses the device. With shadow doorbells the
 * guest does so only when it has to ring, so it has to for every head it stores while the line is up.
 */
static void a_line_that_is_up_is_rung_for(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	struct rig_queue *q = &rig.q[1];
	struct bh_nvme_cpl cpl;
	unsigned int i, j, n, rung;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_TRAPPED);
	rig_ns(1, &bh_blk_null_type, "1G", 512);
	rig.msix = false;
	tn_io_shadow_set(&rig.ctrl, RIG_IOVA + RIG_SHADOW, RIG_IOVA + RIG_EVENT, rig_done, NULL);
	rig_queue(1, 8, true);
	rig.is_shadow = true;
	for (i = 0; i < 200; i++) {
		n = 1 + i % 7;
		for (j = 0; j < n; j++)
			rig_put(q, &cmd);
		rig_tail(q);
		rig_steps(2);
		CU_ASSERT(rig.line[1]);
		/* taken one by one or all at once, with passes and acknowledgements in between */
		for (j = 0; j < n; j++) {
			CU_ASSERT(rig_get(q, &cpl));
			if (i % 3 && j + 1 < n)
				continue;
			rung = rig.doorbells;
			rig_head(q);
			CU_ASSERT_EQUAL(rig.doorbells, rung + 1);
			rig_steps(i % 2);
			tn_io_irqs_changed(&rig.ctrl);
			CU_ASSERT_EQUAL(rig.line[1], j + 1 < n);
		}
	}
	rig_close();
}

/* The client unmasks the line: what still holds is said again, once, and nothing else is. */
static void an_acknowledged_line_is_said_again(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	struct rig_queue *q = &rig.q[1];
	struct bh_nvme_cpl cpl;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_null_type, "1G", 512);
	rig.msix = false;
	rig_queue(1, 8, true);
	rig_put(q, &cmd);
	rig_tail(q);
	rig_steps(3);
	CU_ASSERT_EQUAL(rig.said, 1);
	tn_io_irqs_changed(&rig.ctrl);
	CU_ASSERT_EQUAL(rig.said, 2);
	rig_steps(3);
	CU_ASSERT_EQUAL(rig.said, 2);
	/* The head is looked at first. */
	CU_ASSERT(rig_get(q, &cpl));
	rig_head(q);
	tn_io_irqs_changed(&rig.ctrl);
	CU_ASSERT_EQUAL(rig.said, 2);
	CU_ASSERT(!rig.line[1]);
	rig_close();
}

static void shadows_are_checked(void)
{
	rig_open(BH_CMEM_MAPPED, BH_CMEM_FILE, 1, BH_DOORBELLS_MAPPED);
	tn_io_shadow_set(&rig.ctrl, RIG_IOVA + RIG_SHADOW + 8, RIG_IOVA + RIG_EVENT, rig_done,
			 NULL);
	CU_ASSERT_EQUAL(rig.status, TN_SF(BH_NVME_SC_INVALID_FIELD));
	tn_io_shadow_set(&rig.ctrl, RIG_IOVA + RIG_SHADOW, 0, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.status, TN_SF(BH_NVME_SC_INVALID_FIELD));
	tn_io_shadow_set(&rig.ctrl, RIG_IOVA + RIG_SHADOW, RIG_IOVA + RIG_DATA_AT, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.status, TN_SF(BH_NVME_SC_INVALID_FIELD));
	tn_io_shadow_set(&rig.ctrl, RIG_IOVA + RIG_SHADOW, RIG_IOVA + RIG_EVENT, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.status, 0);
	/* One that fails leaves them where they are. */
	tn_io_shadow_set(&rig.ctrl, RIG_IOVA + RIG_SHADOW, RIG_IOVA + RIG_DATA_AT, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.status, TN_SF(BH_NVME_SC_INVALID_FIELD));
	CU_ASSERT_PTR_NOT_NULL(rig.ctrl.io->thread[0]->shadow_db);
	CU_ASSERT_EQUAL(rig.ctrl.io->thread[0]->shadow_ei_iova, RIG_IOVA + RIG_EVENT);
	tn_io_shadow_set(&rig.ctrl, 0, 0, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.status, 0);
	rig_close();
}

/* Mapping under a closed gate; a ring that is gone makes the controller fatal, nothing crashes. */
static void gate_changes_memory(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	unsigned int dones;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 2, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	rig_queue(1, 8, true);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	dones = rig.dones;
	tn_io_gate(&rig.ctrl, TN_GATE_TABLE, RIG_IOVA + RIG_DATA_AT, RIG_DATA_BYTES, rig_done_void,
		   NULL);
	CU_ASSERT_EQUAL(rig.dones, dones + 1);
	rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	rig_steps(3);
	CU_ASSERT_EQUAL(*(uint16_t *)rig_at(RIG_CQ(1) + 16 + 14), 0); /* nothing is fetched */
	CU_ASSERT_EQUAL(bh_cmem_del(&rig.cmem, RIG_IOVA + RIG_DATA_AT, RIG_DATA_BYTES), 0);
	tn_io_ungate(&rig.ctrl);
	rig_steps(3);
	CU_ASSERT_EQUAL(*(uint16_t *)rig_at(RIG_CQ(1) + 16 + 14),
			BH_NVME_SC_DATA_TRANSFER_ERROR << 1 | 1);
	tn_io_gate(&rig.ctrl, TN_GATE_TABLE, RIG_IOVA, RIG_RINGS_BYTES, rig_done_void, NULL);
	CU_ASSERT_EQUAL(bh_cmem_del(&rig.cmem, RIG_IOVA, RIG_RINGS_BYTES), 0);
	rig_map(RIG_DATA_AT, RIG_DATA_BYTES, BH_CMEM_MAPPED);
	tn_io_ungate(&rig.ctrl);
	CU_ASSERT_EQUAL(rig.fatals, 0);
	__atomic_store_n(tn_doorbell(&rig.ctrl, 2), 3, __ATOMIC_RELEASE);
	rig_steps(3);
	CU_ASSERT_EQUAL(rig.fatals, 1);
	/* A reset later all is well. */
	tn_io_gate(&rig.ctrl, TN_GATE_ALL, 0, 0, rig_done_void, NULL);
	tn_io_drop_queues(&rig.ctrl);
	rig_map(0, RIG_RINGS_BYTES, BH_CMEM_MAPPED);
	tn_io_ungate(&rig.ctrl);
	rig_queue(1, 8, true);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	rig_close();
}

/* After a shutdown the host may take back what it gave, in any order. */
static void a_shut_down_controller_may_lose_its_memory(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	int turn;

	for (turn = 0; turn < 2; turn++) {
		rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
		rig_ns(1, &bh_blk_ram_type, "4M", 512);
		tn_io_shadow_set(&rig.ctrl, RIG_IOVA + RIG_SHADOW, RIG_IOVA + RIG_EVENT, rig_done,
				 NULL);
		rig_queue(1, 8, true);
		rig.is_shadow = true;
		CU_ASSERT_EQUAL(rig_run(&cmd), 0);
		rig.ctrl.regs.csts = BH_NVME_CSTS_RDY;
		if (turn)
			rig.ctrl.regs.csts |=
				(uint32_t)BH_NVME_SET(CSTS_SHST, BH_NVME_CSTS_SHST_COMPLETE);
		tn_io_gate(&rig.ctrl, TN_GATE_TABLE, RIG_IOVA, RIG_RINGS_BYTES, rig_done_void,
			   NULL);
		CU_ASSERT_EQUAL(bh_cmem_del(&rig.cmem, RIG_IOVA, RIG_RINGS_BYTES), 0);
		tn_io_ungate(&rig.ctrl);
		rig_steps(3);
		CU_ASSERT_EQUAL(rig.fatals, turn ? 0 : 1);
		rig_close();
	}
}

/* Memory cut under us, mapped and with the guard: the command fails, then the ring's is fatal. */
static void truncated_memory_is_an_error(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 8, RIG_DATA_AT);

	CU_ASSERT_EQUAL(bh_fault_install(), 0);
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	rig_queue(1, 8, true);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT_EQUAL(ftruncate(rig.fd, RIG_DATA_AT), 0);
	CU_ASSERT_EQUAL(rig_run(&cmd), BH_NVME_SC_DATA_TRANSFER_ERROR);
	cmd.opc = BH_NVME_CMD_WRITE;
	CU_ASSERT_EQUAL(rig_run(&cmd), BH_NVME_SC_DATA_TRANSFER_ERROR);
	CU_ASSERT_EQUAL(rig.fatals, 0);
	CU_ASSERT_EQUAL(ftruncate(rig.fd, 0), 0);
	__atomic_store_n(tn_doorbell(&rig.ctrl, 2), 4, __ATOMIC_RELEASE);
	rig_steps(4);
	CU_ASSERT_EQUAL(rig.fatals, 1);
	rig_close();
}

static void admin_doorbells_are_watched(void)
{
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 2, BH_DOORBELLS_MAPPED);
	rig_steps(2);
	__atomic_store_n(tn_doorbell(&rig.ctrl, 0), 1, __ATOMIC_RELEASE);
	rig_steps(2);
	CU_ASSERT_EQUAL(rig.kicks, 0);
	tn_io_watch_admin(&rig.ctrl, true);
	rig_steps(2);
	CU_ASSERT_EQUAL(rig.kicks, 1);
	__atomic_store_n(tn_doorbell(&rig.ctrl, 0), 2, __ATOMIC_RELEASE);
	__atomic_store_n(tn_doorbell(&rig.ctrl, 1), 2, __ATOMIC_RELEASE);
	rig_steps(3);
	CU_ASSERT_EQUAL(rig.kicks, 2);
	rig_steps(3);
	CU_ASSERT_EQUAL(rig.kicks, 2);
	CU_ASSERT(tn_bells_arm(rig.ctrl.io->thread[0]) < 0);
	CU_ASSERT_EQUAL(tn_bells_arm(rig.ctrl.io->thread[1]), 0);
	rig_close();
}

BH_SUITE("queue", { "data_by_pointer", data_by_pointer },
	 { "data_without_pointers", data_without_pointers },
	 { "null_leaves_data_alone", null_leaves_data_alone },
	 { "commands_are_checked", commands_are_checked }, { "dsm_deallocates", dsm_deallocates },
	 { "rings_wrap_and_fill", rings_wrap_and_fill },
	 { "full_completion_queue_waits", full_completion_queue_waits },
	 { "bad_doorbells_are_events", bad_doorbells_are_events },
	 { "interrupts_once_per_pass", interrupts_once_per_pass },
	 { "shadows_trap_never_while_polled", shadows_trap_never_while_polled },
	 { "a_line_that_is_up_is_rung_for", a_line_that_is_up_is_rung_for },
	 { "an_acknowledged_line_is_said_again", an_acknowledged_line_is_said_again },
	 { "a_shut_down_controller_may_lose_its_memory",
	   a_shut_down_controller_may_lose_its_memory },
	 { "shadows_are_checked", shadows_are_checked },
	 { "gate_changes_memory", gate_changes_memory },
	 { "truncated_memory_is_an_error", truncated_memory_is_an_error },
	 { "admin_doorbells_are_watched", admin_doorbells_are_watched }, )

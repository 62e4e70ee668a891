/* SPDX-License-Identifier: BSD-3-Clause */
/* What one client can take of a poll thread: time in a pass, memory, and namespaces held. */
#include "target_nvme/io_rig.h"

#define MIB (1u << 20)

static struct tn_thread *thread(void)
{
	return rig.ctrl.io->thread[0];
}

static unsigned int completions(struct rig_queue *q)
{
	struct bh_nvme_cpl cpl;
	unsigned int n = 0;

	for (; rig_get(q, &cpl); n++)
		CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), 0);
	if (n)
		rig_head(q);
	return n;
}

/* `bytes` from the beginning of the data, which begins a page, by a list. */
static struct bh_nvme_cmd large(uint8_t opc, uint32_t bytes)
{
	struct bh_nvme_cmd cmd = rig_cmd(opc, 0, bytes / 512, RIG_DATA_AT);
	uint64_t *list = rig_at(RIG_LISTS);
	uint32_t i;

	for (i = 1; i < bytes / 4096; i++)
		list[i - 1] = RIG_IOVA + RIG_DATA_AT + i * 4096ull;
	cmd.dptr.prp.prp2 = RIG_IOVA + RIG_LISTS;
	return cmd;
}

static void put_n(struct rig_queue *q, const struct bh_nvme_cmd *cmd, unsigned int n)
{
	while (n-- > 0)
		rig_put(q, cmd);
	rig_tail(q);
}

/* A pass zeroes a part; others are served between the parts. */
static void zeroing_takes_turns(struct bh_nvme_cmd *cmd)
{
	struct bh_nvme_cmd read = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	unsigned int steps = 0, reads = 0;
	uint8_t *base;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "32M", 512);
	rig_queue(1, 8, true);
	rig_queue(2, 8, true);
	base = rig.ns[1].blk->inline_base;
	memset(base, 0xff, 32 * MIB);
	put_n(&rig.q[1], cmd, 2);
	while (steps < 100 && !completions(&rig.q[1])) {
		put_n(&rig.q[2], &read, 1);
		rig_step();
		reads += completions(&rig.q[2]);
		steps++;
		CU_ASSERT(thread()->work <= TN_PASS_BYTES + 2 * TN_STEP_BYTES);
	}
	CU_ASSERT(steps >= 4 && steps < 100 && reads == steps);
	CU_ASSERT(base[0] == 0 && !memcmp(base, base + 1, 32 * MIB - 1));
	rig_steps(20);
	CU_ASSERT_EQUAL(completions(&rig.q[1]), 1);
	rig_close();
}

static void zeroes_take_turns(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_WRITE_ZEROES, 0, 65536, 0);

	zeroing_takes_turns(&cmd);
}

/* The ranges overlap, the second and last are the whole disk. */
static void discards_take_turns(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_WRITE, 0, 1, RIG_DATA_AT);
	struct bh_nvme_dsm_range *range;
	unsigned int i;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "32M", 512);
	rig_queue(1, 8, true);
	memset(rig.ns[1].blk->inline_base, 0xff, 32 * MIB);
	range = rig_at(RIG_DATA_AT);
	memset(range, 0, 4096);
	range[0] = (struct bh_nvme_dsm_range){ .blocks = 7, .lba = 3 };
	range[1] = (struct bh_nvme_dsm_range){ .blocks = 65536 };
	range[9] = (struct bh_nvme_dsm_range){ .blocks = 65535, .lba = 1 };
	cmd = rig_cmd(BH_NVME_CMD_DSM, 9, 1, RIG_DATA_AT);
	cmd.cdw11 = BH_NVME_DSM_AD;
	put_n(&rig.q[1], &cmd, 1);
	for (i = 0; i < 100 && !completions(&rig.q[1]); i++)
		rig_step();
	CU_ASSERT(i >= 7 && i < 100);
	for (i = 0; i < 32 * MIB; i += 512)
		CU_ASSERT_EQUAL(rig.ns[1].blk->inline_base[i], 0);
	rig_close();
}

/* Commands that are not the fast path's count for a visit as those do. */
static void large_commands_end_a_visit(void)
{
	struct bh_nvme_cmd cmd;
	unsigned int first;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	cmd = large(BH_NVME_CMD_READ, 128 << 10);
	rig_queue(1, 64, true);
	put_n(&rig.q[1], &cmd, 40);
	rig_step();
	first = completions(&rig.q[1]);
	CU_ASSERT(first >= 1 && first <= 4);
	rig_steps(40);
	CU_ASSERT_EQUAL(completions(&rig.q[1]), 40 - first);
	rig_close();
}

/* A pass that has had its share leaves queues out; they are the first of the next. */
static void a_pass_has_an_end(void)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_READ, .nsid = 1 };
	uint16_t qid;

	static_assert(2 * RIG_DATA_BYTES >= TN_PASS_BYTES, "two queues are a share");
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "4M", 512);
	thread()->line[1].max_blocks = RIG_DATA_BYTES / 512;
	cmd.flags = BH_NVME_PSDT_SGL_MPTR_CONTIG;
	cmd.dptr.sgl =
		(struct bh_nvme_sgl){ .addr = RIG_IOVA + RIG_DATA_AT, .len = RIG_DATA_BYTES };
	cmd.cdw12 = RIG_DATA_BYTES / 512 - 1;
	for (qid = 1; qid <= 3; qid++) {
		rig_queue(qid, 8, true);
		put_n(&rig.q[qid], &cmd, 3);
	}
	for (unsigned int i = 0; i < 3; i++) {
		rig_step();
		CU_ASSERT_EQUAL(completions(&rig.q[1]), 1);
		CU_ASSERT_EQUAL(completions(&rig.q[2]), 1);
		CU_ASSERT_EQUAL(completions(&rig.q[3]), 0);
		rig_step();
		CU_ASSERT_EQUAL(completions(&rig.q[1]), 0);
		CU_ASSERT_EQUAL(completions(&rig.q[2]), 0);
		CU_ASSERT_EQUAL(completions(&rig.q[3]), 1);
	}
	rig_close();
}

static uint64_t buffered(void)
{
	return __atomic_load_n(&thread()->budget->used, __ATOMIC_RELAXED);
}

/* Buffers are bounded, with what a reset left in a slow store; who waits gets on in the end. */
static void buffers_are_bounded(void)
{
	const unsigned int most = TN_BOUNCE_LIMIT / MIB;
	struct bh_nvme_cmd cmd;
	uint64_t end;
	unsigned int got = 0;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_TRAPPED);
	rig_ns(1, &blk_late_type, "4M,hold=300", 512);
	rig_queue(1, 256, true);
	cmd = large(BH_NVME_CMD_READ, MIB);
	put_n(&rig.q[1], &cmd, most + 20);
	rig_steps(10);
	CU_ASSERT_EQUAL(buffered(), TN_BOUNCE_LIMIT);
	/* There are entries, but no need to look at them all the time. */
	CU_ASSERT(tn_bells_arm(thread()) < 0);
	tn_bells_disarm(thread());
	tn_io_gate(&rig.ctrl, TN_GATE_ALL, 0, 0, rig_done_void, NULL);
	tn_io_drop_queues(&rig.ctrl);
	tn_io_ungate(&rig.ctrl);
	CU_ASSERT_EQUAL(buffered(), TN_BOUNCE_LIMIT);
	rig_queue(1, 256, true);
	put_n(&rig.q[1], &cmd, most + 20);
	rig_steps(10);
	CU_ASSERT_EQUAL(buffered(), TN_BOUNCE_LIMIT);
	for (end = bh_now_ns() + 40000000000ull; got < most + 20 && bh_now_ns() < end;) {
		rig_step();
		got += completions(&rig.q[1]);
		CU_ASSERT(buffered() <= TN_BOUNCE_LIMIT);
	}
	CU_ASSERT_EQUAL(got, most + 20);
	CU_ASSERT_EQUAL(buffered(), 0);
	rig_close();
}

/* A read of four blocks into pieces of four bytes: there is more list than data. */
static struct bh_nvme_cmd shredded(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 4, RIG_DATA_AT);
	struct bh_nvme_sgl *d = rig_at(RIG_LISTS);
	unsigned int i;

	for (i = 0; i < 512; i++)
		d[i] = (struct bh_nvme_sgl){ .addr = RIG_IOVA + RIG_DATA_AT + i * 8, .len = 4 };
	cmd.flags = BH_NVME_PSDT_SGL_MPTR_CONTIG;
	cmd.dptr.sgl = (struct bh_nvme_sgl){ .addr = RIG_IOVA + RIG_LISTS,
					     .len = 512 * sizeof(*d),
					     .type = BH_NVME_SGL_LAST_SEGMENT };
	return cmd;
}

static void counted_lists(const char *store, enum bh_cmem_mode data, uint64_t least)
{
	struct bh_nvme_cmd cmd;
	unsigned int got = 0;
	uint64_t end;

	rig_open(BH_CMEM_MAPPED, data, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, store, 512);
	rig_queue(1, 32, true);
	cmd = shredded();
	put_n(&rig.q[1], &cmd, 16);
	rig_steps(4);
	CU_ASSERT(buffered() >= 16 * least);
	for (end = bh_now_ns() + 10000000000ull; got < 16 && bh_now_ns() < end;) {
		rig_step();
		got += completions(&rig.q[1]);
	}
	CU_ASSERT_EQUAL(got, 16);
	CU_ASSERT_EQUAL(buffered(), 0);
	rig_close();
}

/* What an attacker gets out of short reads in many pieces is bounded like buffers. */
static void lists_of_pieces_are_counted(void)
{
	counted_lists("1M,hold=300", BH_CMEM_MAPPED, 4096 + 512 * sizeof(struct tn_piece));
	counted_lists("1M,hold=300,direct=1", BH_CMEM_MAPPED,
		      512 * (sizeof(struct tn_piece) + sizeof(struct iovec)));
	counted_lists("1M,hold=300", BH_CMEM_FILE, 4096 + 512 * sizeof(struct tn_piece));
}

/* Requests that the store had no room for have pointers, too. */
static void unmapped_while_waiting_for_the_store(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 8, RIG_DATA_AT);
	struct bh_nvme_cpl cpl;
	unsigned int right = 0;
	uint64_t end;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, "1M,hold=600,direct=1", 512);
	rig_queue(1, 8, true);
	thread()->line[1].chan->limit = 1;
	put_n(&rig.q[1], &cmd, 4);
	rig_step();
	tn_io_gate(&rig.ctrl, TN_GATE_TABLE, RIG_IOVA + RIG_DATA_AT, RIG_DATA_BYTES, rig_done_void,
		   NULL);
	CU_ASSERT_EQUAL(bh_cmem_del(&rig.cmem, RIG_IOVA + RIG_DATA_AT, RIG_DATA_BYTES), 0);
	tn_io_ungate(&rig.ctrl);
	for (end = bh_now_ns() + 5000000000ull; right < 4 && bh_now_ns() < end;) {
		rig_step();
		while (rig_get(&rig.q[1], &cpl))
			right += bh_nvme_cpl_status(&cpl) == BH_NVME_SC_DATA_TRANSFER_ERROR;
	}
	CU_ASSERT_EQUAL(right, 4);
	rig_close();
}

/* A client that made its controller fatal and stays does not keep a namespace from going. */
static void fatal_gives_namespaces_back(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 8, RIG_DATA_AT);
	unsigned int dones;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, "1M,hold=600", 512);
	rig_queue(1, 8, true);
	put_n(&rig.q[1], &cmd, 4);
	rig_step();
	tn_thread_fatal(thread(), "a test");
	dones = rig.dones;
	tn_io_ns_remove(&rig.ctrl, &rig.ns[1], rig_done_void, NULL);
	CU_ASSERT_EQUAL(rig.dones, dones);
	CU_ASSERT(rig_until(&rig.dones, dones + 1));
	bh_blk_put(rig.ns[1].blk);
	rig.ns[1].blk = NULL;
	rig_close();
}

BH_SUITE("bounds", { "zeroes_take_turns", zeroes_take_turns },
	 { "discards_take_turns", discards_take_turns },
	 { "large_commands_end_a_visit", large_commands_end_a_visit },
	 { "buffers_are_bounded", buffers_are_bounded },
	 { "lists_of_pieces_are_counted", lists_of_pieces_are_counted },
	 { "a_pass_has_an_end", a_pass_has_an_end },
	 { "unmapped_while_waiting_for_the_store", unmapped_while_waiting_for_the_store },
	 { "fatal_gives_namespaces_back", fatal_gives_namespaces_back }, )

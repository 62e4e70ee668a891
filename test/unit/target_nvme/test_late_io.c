/* SPDX-License-Identifier: BSD-3-Clause */
/* The I/O plane with stores that complete late, and with clients whose memory answers late. */
#include "io_rig.h"

static void send_reads(unsigned int n, uint32_t blocks)
{
	struct rig_queue *q = &rig.q[1];
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct bh_nvme_cmd cmd =
			rig_cmd(BH_NVME_CMD_READ, i, blocks, RIG_DATA_AT + i * 0x4000ull);

		cmd.cid = (uint16_t)(100 + i);
		rig_put(q, &cmd);
	}
	rig_tail(q);
	rig_steps(3);
}

/* Takes completions until n came or nothing did for 5 s; how many had this status. */
static unsigned int take(unsigned int n, uint16_t status, unsigned int *disorder)
{
	uint64_t end = bh_now_ns() + 5000000000ull;
	unsigned int got = 0, right = 0, last = 0;
	struct bh_nvme_cpl cpl;

	*disorder = 0;
	while (got < n && bh_now_ns() < end) {
		rig_step();
		while (rig_get(&rig.q[1], &cpl)) {
			got++;
			right += bh_nvme_cpl_status(&cpl) == status;
			*disorder += cpl.cid < last;
			last = cpl.cid;
		}
		rig_head(&rig.q[1]);
	}
	return right;
}

static void late_data(enum bh_cmem_mode rings, enum bh_cmem_mode data, const char *store)
{
	struct bh_nvme_cmd cmd;
	unsigned int i, k, disorder;

	rig_open(rings, data, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, store, 512);
	rig_queue(1, 64, true);
	for (i = 0; i < 20; i++) {
		uint32_t *words = rig_at(RIG_DATA_AT);

		for (k = 0; k < 512; k++)
			words[k] = i * 1000 + k;
		cmd = rig_cmd(BH_NVME_CMD_WRITE, i * 4, 4, RIG_DATA_AT);
		CU_ASSERT_EQUAL(rig_run(&cmd), 0);
		cmd.opc = BH_NVME_CMD_COMPARE;
		CU_ASSERT_EQUAL(rig_run(&cmd), 0);
		words[511]++;
		CU_ASSERT_EQUAL(rig_run(&cmd), TN_SF(BH_NVME_SC_COMPARE_FAILURE));
	}
	memset(rig_at(RIG_DATA_AT), 0xee, RIG_DATA_BYTES);
	for (i = 0; i < 20; i++) {
		cmd = rig_cmd(BH_NVME_CMD_READ, i * 4, 4, RIG_DATA_AT + i * 0x2000ull + 0xc00);
		cmd.cid = (uint16_t)i;
		rig_put(&rig.q[1], &cmd);
	}
	rig_tail(&rig.q[1]);
	CU_ASSERT_EQUAL(take(20, 0, &disorder), 20);
	CU_ASSERT(disorder > 0);
	for (i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(*(uint32_t *)rig_at(RIG_DATA_AT + i * 0x2000ull + 0xc00 + 511 * 4),
				i * 1000 + 511);
	cmd = (struct bh_nvme_cmd){ .opc = BH_NVME_CMD_FLUSH, .nsid = BH_NVME_NSID_ALL };
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	cmd = rig_cmd(BH_NVME_CMD_WRITE_ZEROES, 0, 80, RIG_DATA_AT);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	cmd = rig_cmd(BH_NVME_CMD_READ, 76, 4, RIG_DATA_AT);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT_EQUAL(*(uint32_t *)rig_at(RIG_DATA_AT + 511 * 4), 0);
	rig_close();
}

static void data_out_of_order(void)
{
	late_data(BH_CMEM_MAPPED, BH_CMEM_MAPPED, "1M,hold=8,seed=5");
	late_data(BH_CMEM_MAPPED, BH_CMEM_MESSAGE, "1M,hold=8,seed=6");
	late_data(BH_CMEM_FILE, BH_CMEM_FILE, "1M,hold=8,seed=7");
	late_data(BH_CMEM_MAPPED, BH_CMEM_MAPPED, "1M,hold=8,seed=8,direct=1");
}

static void ranges_one_after_another(void)
{
	struct bh_nvme_dsm_range *range;
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_WRITE, 0, 8, RIG_DATA_AT);
	unsigned int i;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_FILE, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, "1M,hold=1", 512);
	rig_queue(1, 8, true);
	memset(rig_at(RIG_DATA_AT), 0xff, 4096);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	range = rig_at(RIG_DATA_AT);
	for (i = 0; i < 4; i++)
		range[i] = (struct bh_nvme_dsm_range){ .blocks = 1, .lba = 2 * i };
	cmd = rig_cmd(BH_NVME_CMD_DSM, 3, 1, RIG_DATA_AT);
	cmd.cdw11 = BH_NVME_DSM_AD;
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	cmd = rig_cmd(BH_NVME_CMD_READ, 0, 8, RIG_DATA_AT);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	for (i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(*(uint8_t *)rig_at(RIG_DATA_AT + i * 512), i % 2 ? 0xff : 0);
	rig_close();
}

/* More requests than the completion queue holds; and none has a slot of its own before its turn. */
static void completions_wait_for_room(void)
{
	struct tn_queue_params p = {
		.qid = 2, .cqid = 1, .entries = 32, .iova = RIG_IOVA + RIG_SQ(2)
	};
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	struct rig_queue *q = &rig.q[1];
	struct bh_nvme_cpl *ring;
	unsigned int i, got = 0;
	uint64_t end;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, "1M,hold=3,seed=3", 512);
	rig_queue(1, 4, true);
	tn_io_sq_create(&rig.ctrl, &p, rig_done, NULL);
	for (i = 0; i < 31; i++) {
		cmd.cid = (uint16_t)i;
		memcpy(rig_at(RIG_SQ(2) + i * 64), &cmd, 64);
	}
	rig_ring(4, 31);
	end = bh_now_ns() + 50000000;
	while (bh_now_ns() < end)
		rig_step();
	ring = rig_at(RIG_CQ(1));
	CU_ASSERT_EQUAL(ring[3].status & 1, 0);
	end = bh_now_ns() + 5000000000ull;
	while (got < 31 && bh_now_ns() < end) {
		if ((ring[q->head].status & 1) == q->phase) {
			got++;
			q->head = (q->head + 1) % 4;
			q->phase ^= !q->head;
		} else {
			rig_head(q);
			rig_step();
		}
	}
	CU_ASSERT_EQUAL(got, 31);
	CU_ASSERT_EQUAL(rig.events, 0);
	rig_close();
}

/* The store holds everything for half a minute; nothing waits for it, nothing is written
 * afterwards. */
static void reset_leaves_requests_behind(const char *store)
{
	unsigned int dones;
	uint64_t begin;
	uint8_t *before = malloc(RIG_BYTES);

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, store, 512);
	rig_queue(1, 64, true);
	memset(rig_at(RIG_DATA_AT), 0x33, RIG_DATA_BYTES);
	send_reads(40, 8);
	begin = bh_now_ns();
	dones = rig.dones;
	tn_io_gate(&rig.ctrl, TN_GATE_ALL, 0, 0, rig_done_void, NULL);
	CU_ASSERT_EQUAL(rig.dones, dones + 1);
	/* On a slow machine some came before the gate: that is their right. */
	memcpy(before, rig.mem, RIG_BYTES);
	tn_io_drop_queues(&rig.ctrl);
	CU_ASSERT_EQUAL(bh_cmem_del(&rig.cmem, RIG_IOVA + RIG_DATA_AT, RIG_DATA_BYTES), 0);
	tn_io_ungate(&rig.ctrl);
	CU_ASSERT(bh_now_ns() - begin < 10000000000ull);
	while (bh_now_ns() - begin < 250000000)
		rig_step();
	CU_ASSERT(!memcmp(before, rig.mem, RIG_BYTES));
	free(before);
	rig_close();
}

static void reset_leaves_bounced_behind(void)
{
	reset_leaves_requests_behind("1M,hold=150");
	reset_leaves_requests_behind("1M,hold=30000");
}

static void reset_cancels_direct(void)
{
	reset_leaves_requests_behind("1M,hold=30000,direct=1");
}

/* Copied back to where the memory is now, or not at all. */
static void unmap_of_a_buffer_is_a_transfer_error(void)
{
	static const char *const stores[] = { "1M,hold=600", "1M,hold=30000,direct=1" };
	unsigned int i, disorder;

	for (i = 0; i < 2; i++) {
		rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
		rig_ns(1, &blk_late_type, stores[i], 512);
		rig_queue(1, 64, true);
		send_reads(10, 8);
		tn_io_gate(&rig.ctrl, TN_GATE_TABLE, RIG_IOVA + RIG_DATA_AT, RIG_DATA_BYTES,
			   rig_done_void, NULL);
		CU_ASSERT_EQUAL(bh_cmem_del(&rig.cmem, RIG_IOVA + RIG_DATA_AT, RIG_DATA_BYTES), 0);
		tn_io_ungate(&rig.ctrl);
		CU_ASSERT_EQUAL(take(10, BH_NVME_SC_DATA_TRANSFER_ERROR, &disorder), 10);
		rig_close();
	}
}

static void memory_that_moves_is_found_again(void)
{
	unsigned int disorder;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, "1M,hold=50", 512);
	rig_queue(1, 64, true);
	memset(rig_at(RIG_DATA_AT), 0x44, 4096);
	send_reads(1, 8);
	tn_io_gate(&rig.ctrl, TN_GATE_TABLE, RIG_IOVA + RIG_DATA_AT, RIG_DATA_BYTES, rig_done_void,
		   NULL);
	CU_ASSERT_EQUAL(bh_cmem_del(&rig.cmem, RIG_IOVA + RIG_DATA_AT, RIG_DATA_BYTES), 0);
	rig_map(RIG_DATA_AT, 0x10000, BH_CMEM_MAPPED);
	tn_io_ungate(&rig.ctrl);
	CU_ASSERT_EQUAL(take(1, 0, &disorder), 1);
	CU_ASSERT_EQUAL(*(uint8_t *)rig_at(RIG_DATA_AT), 0);
	rig_close();
}

static void queue_deletion_ends_commands(void)
{
	unsigned int disorder;
	uint64_t begin = bh_now_ns();

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, "1M,hold=30000", 512);
	rig_queue(1, 64, true);
	send_reads(10, 8);
	tn_io_sq_delete(&rig.ctrl, 1, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.status, 0);
	CU_ASSERT_EQUAL(take(10, BH_NVME_SC_ABORTED_SQ_DELETION, &disorder), 10);
	tn_io_cq_delete(&rig.ctrl, 1, rig_done, NULL);
	CU_ASSERT(bh_now_ns() - begin < 10000000000ull);
	rig_close();
}

static void abort_ends_a_read(void)
{
	struct bh_nvme_cmd write = rig_cmd(BH_NVME_CMD_WRITE, 0, 1, RIG_DATA_AT);
	unsigned int i, disorder;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, "1M,hold=600", 512);
	rig_queue(1, 8, true);
	send_reads(3, 8);
	tn_io_abort(&rig.ctrl, 1, 101, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.status, 0);
	CU_ASSERT_EQUAL(take(1, BH_NVME_SC_ABORTED_BY_REQUEST, &disorder), 1);
	tn_io_abort(&rig.ctrl, 1, 101, rig_done, NULL);
	CU_ASSERT_NOT_EQUAL(rig.status, 0);
	tn_io_abort(&rig.ctrl, 7, 101, rig_done, NULL);
	CU_ASSERT_NOT_EQUAL(rig.status, 0);
	CU_ASSERT_EQUAL(take(2, 0, &disorder), 2);
	/* A write may still come to pass: it is not said to be aborted. */
	write.cid = 200;
	rig_put(&rig.q[1], &write);
	rig_tail(&rig.q[1]);
	rig_steps(2);
	tn_io_abort(&rig.ctrl, 1, 200, rig_done, NULL);
	CU_ASSERT_NOT_EQUAL(rig.status, 0);
	CU_ASSERT_EQUAL(take(1, 0, &disorder), 1);
	/* The slots of aborted ones come back. */
	for (i = 0; i < 16; i++) {
		usleep(120000);
		rig_steps(2);
		send_reads(1, 1);
		tn_io_abort(&rig.ctrl, 1, 100, rig_done, NULL);
		CU_ASSERT_EQUAL(take(1, BH_NVME_SC_ABORTED_BY_REQUEST, &disorder), 1);
	}
	rig_close();
}

static void namespace_goes_with_its_requests(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	unsigned int disorder, dones;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 2, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, "1M,hold=60", 512);
	rig_ns(2, &bh_blk_null_type, "1M", 512);
	rig_queue(1, 16, true);
	send_reads(4, 1);
	dones = rig.dones;
	tn_io_ns_remove(&rig.ctrl, &rig.ns[1], rig_done_void, NULL);
	CU_ASSERT_EQUAL(rig.dones, dones);
	cmd.cid = 500;
	rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	CU_ASSERT_EQUAL(take(1, TN_SF(BH_NVME_SC_INVALID_FIELD), &disorder), 1);
	CU_ASSERT_EQUAL(take(4, 0, &disorder), 4);
	CU_ASSERT(rig_until(&rig.dones, dones + 1));
	bh_blk_put(rig.ns[1].blk);
	rig.ns[1].blk = NULL;
	rig_ns(1, &bh_blk_ram_type, "1M", 4096);
	cmd.nsid = 1;
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	rig_close();
}

/* A client that answers its messages when it likes, across gates, resets and the end. */
static void transfers_outlive_gates(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_WRITE, 0, 32, RIG_DATA_AT);
	unsigned int disorder, i;
	uint64_t *list;

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MESSAGE, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "1M", 512);
	rig_queue(1, 16, true);
	rig.hold_messages = true;
	list = rig_at(RIG_DATA_AT + 0x100000);
	for (i = 0; i < 4; i++)
		list[i] = RIG_IOVA + RIG_DATA_AT + 4096 * (2 * i + 2);
	cmd.dptr.prp.prp2 = RIG_IOVA + RIG_DATA_AT + 0x100000;
	rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	rig_steps(2);
	CU_ASSERT_EQUAL(rig.num_messages, 1); /* the list */
	/* A gate does not wait for it; its answer is not acted on behind the gate. */
	tn_io_gate(&rig.ctrl, TN_GATE_TABLE, 0x1000, 0x1000, rig_done_void, NULL);
	CU_ASSERT_EQUAL(rig_answer_all(0), 1);
	rig_steps(3);
	CU_ASSERT_EQUAL(rig.num_messages, 0);
	tn_io_ungate(&rig.ctrl);
	rig_steps(3);
	CU_ASSERT_EQUAL(rig.num_messages, 1);
	for (i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(rig_answer_all(0), 1);
		rig_steps(2);
	}
	CU_ASSERT_EQUAL(take(1, 0, &disorder), 1);
	/* A refused one is an error. */
	rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	rig_steps(2);
	CU_ASSERT_EQUAL(rig_answer_all(-EIO), 1);
	CU_ASSERT_EQUAL(take(1, BH_NVME_SC_DATA_TRANSFER_ERROR, &disorder), 1);
	/* Left behind by a reset, answered after it; and one that is answered after everything. */
	for (i = 0; i < 2; i++) {
		rig_put(&rig.q[1], &cmd);
		rig_tail(&rig.q[1]);
		rig_steps(2);
		tn_io_gate(&rig.ctrl, TN_GATE_ALL, 0, 0, rig_done_void, NULL);
		tn_io_drop_queues(&rig.ctrl);
		tn_io_ungate(&rig.ctrl);
		if (!i)
			CU_ASSERT_EQUAL(rig_answer_all(0), 1);
		rig_steps(2);
		CU_ASSERT_EQUAL(rig.num_messages, i);
		rig_queue(1, 16, true);
	}
	rig_close();
}

/* The same for rings. */
static void rings_outlive_gates(void)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	unsigned int disorder, i;

	rig_open(BH_CMEM_MESSAGE, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &bh_blk_ram_type, "1M", 512);
	rig_queue(1, 4, true);
	for (i = 0; i < 9; i++) {
		rig.hold_messages = true;
		rig_put(&rig.q[1], &cmd);
		rig_tail(&rig.q[1]);
		rig_steps(2);
		CU_ASSERT_EQUAL(rig.num_messages, 1);
		tn_io_gate(&rig.ctrl, TN_GATE_TABLE, 0x1000, 0x1000, rig_done_void, NULL);
		rig_answer_all(0);
		rig_steps(2);
		CU_ASSERT_EQUAL(rig.num_messages, 0);
		tn_io_ungate(&rig.ctrl);
		rig_steps(2);
		CU_ASSERT_EQUAL(rig.num_messages, 1); /* the first half of the completion */
		rig_answer_all(0);
		rig_steps(2);
		CU_ASSERT_EQUAL(rig.raises, i);
		tn_io_gate(&rig.ctrl, TN_GATE_TABLE, 0x1000, 0x1000, rig_done_void, NULL);
		tn_io_ungate(&rig.ctrl);
		rig.hold_messages = false;
		rig_answer_all(0);
		CU_ASSERT_EQUAL(take(1, 0, &disorder), 1);
		rig_steps(2);
		CU_ASSERT_EQUAL(rig.raises, i + 1);
	}
	rig.hold_messages = true;
	rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	rig_steps(2);
	tn_io_gate(&rig.ctrl, TN_GATE_ALL, 0, 0, rig_done_void, NULL);
	tn_io_drop_queues(&rig.ctrl);
	tn_io_ungate(&rig.ctrl);
	rig_steps(2);
	CU_ASSERT_EQUAL(rig_answer_all(-ENODEV), 1);
	rig_steps(2);
	CU_ASSERT_EQUAL(rig.fatals, 0);
	rig_close();
}

BH_SUITE("late_io", { "data_out_of_order", data_out_of_order },
	 { "ranges_one_after_another", ranges_one_after_another },
	 { "completions_wait_for_room", completions_wait_for_room },
	 { "reset_leaves_bounced_behind", reset_leaves_bounced_behind },
	 { "reset_cancels_direct", reset_cancels_direct },
	 { "unmap_of_a_buffer_is_a_transfer_error", unmap_of_a_buffer_is_a_transfer_error },
	 { "memory_that_moves_is_found_again", memory_that_moves_is_found_again },
	 { "queue_deletion_ends_commands", queue_deletion_ends_commands },
	 { "abort_ends_a_read", abort_ends_a_read },
	 { "namespace_goes_with_its_requests", namespace_goes_with_its_requests },
	 { "transfers_outlive_gates", transfers_outlive_gates },
	 { "rings_outlive_gates", rings_outlive_gates }, )

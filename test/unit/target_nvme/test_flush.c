/* SPDX-License-Identifier: BSD-3-Clause */
/* What is asked of a store that has a cache: FUA, and the controller's own flushes. */
#include "io_rig.h"

#define ASKED 64u

/* A store that notes what it is asked, and answers when the test says so. */
struct noted {
	struct bh_blk blk;
	unsigned int count;
	struct bh_blk_io io[ASKED];
	struct bh_blk_chan *chan[ASKED];
	unsigned int answered;
	unsigned int no_room; /* so many submissions fail with -EAGAIN */
	int status;
	uint8_t *mem; /* where buffers are said to be */
	size_t mem_len;
};

static struct noted *noted;

static void noted_destroy(struct bh_blk *blk)
{
	free(blk);
}

static void answer_all(void)
{
	for (; noted->answered < noted->count; noted->answered++)
		bh_blk_chan_complete(
			noted->chan[noted->answered], noted->io[noted->answered].cookie,
			noted->io[noted->answered].op == BH_BLK_FLUSH ? noted->status : 0);
}

static int noted_submit(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	if (noted->no_room) {
		noted->no_room--;
		return -EAGAIN;
	}
	noted->chan[noted->count] = chan;
	noted->io[noted->count++] = *io;
	return BH_BLK_QUEUED;
}

static int noted_mem_add(struct bh_blk_chan *chan, void *va, size_t len, int fd)
{
	CU_ASSERT(fd >= 0);
	(void)chan;
	noted->mem = va;
	noted->mem_len = len;
	return 0;
}

static const struct bh_blk_ops noted_ops = {
	.type = "noted",
	.destroy = noted_destroy,
	.chan_size = sizeof(struct bh_blk_chan),
	.submit = noted_submit,
	.mem_add = noted_mem_add,
};

static int noted_create(const struct bh_blk_spec *spec, const char *name, const struct bh_log *log,
			char why[256], struct bh_blk **out)
{
	(void)why;
	noted = calloc(1, sizeof(*noted));
	*out = &noted->blk;
	return bh_blk_init(&noted->blk, &noted_ops, name, spec->block_size, 2048,
			   BH_BLK_CAP_WRITE | BH_BLK_CAP_FLUSH | BH_BLK_CAP_WRITE_ZEROES |
				   BH_BLK_CAP_DEALLOCATE,
			   log);
}

static const struct bh_blk_type noted_type = { "noted", noted_create };

static void open_noted(unsigned int threads)
{
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, threads, BH_DOORBELLS_MAPPED);
	rig.ctrl.features.write_cache = BH_NVME_FEAT_VWC_WCE;
	rig_ns(1, &noted_type, "noted", 512);
	rig_queue(1, 16, true);
	if (threads > 1)
		rig_queue(2, 16, true);
}

static void close_noted(void)
{
	struct noted *last = noted;

	bh_blk_get(&last->blk);
	answer_all();
	rig_close();
	bh_blk_put(&last->blk);
}

/* Sends one command on queue q and lets the store answer; its flags, as the store saw them. */
static int flags_of(uint16_t q, const struct bh_nvme_cmd *cmd)
{
	struct bh_nvme_cpl cpl = { .status = 0 };
	unsigned int before = noted->count, steps;

	rig_put(&rig.q[q], cmd);
	rig_tail(&rig.q[q]);
	for (steps = 0; steps < 1000 && !rig_get(&rig.q[q], &cpl); steps++) {
		rig_step();
		answer_all();
	}
	rig_head(&rig.q[q]);
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), 0);
	return noted->count == before + 1 ? noted->io[before].flags : -1;
}

static void fua_reaches_the_store(void)
{
	struct bh_nvme_cmd write = rig_cmd(BH_NVME_CMD_WRITE, 0, 1, RIG_DATA_AT);
	struct bh_nvme_cmd zeroes = rig_cmd(BH_NVME_CMD_WRITE_ZEROES, 0, 8, RIG_DATA_AT);
	struct bh_nvme_cmd read = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);
	struct bh_nvme_cmd dsm = rig_cmd(BH_NVME_CMD_DSM, 0, 1, RIG_DATA_AT + 8192);
	struct bh_nvme_dsm_range *range = rig_at(RIG_DATA_AT + 8192);

	open_noted(1);
	range = rig_at(RIG_DATA_AT + 8192);
	*range = (struct bh_nvme_dsm_range){ .blocks = 8, .lba = 8 };
	dsm.cdw10 = 0;
	dsm.cdw11 = BH_NVME_DSM_AD;
	CU_ASSERT_EQUAL(flags_of(1, &write), 0);
	CU_ASSERT_EQUAL(flags_of(1, &zeroes), 0);
	CU_ASSERT_EQUAL(flags_of(1, &dsm), 0);
	write.cdw12 |= BH_NVME_IO_FUA;
	zeroes.cdw12 |= BH_NVME_IO_FUA;
	CU_ASSERT_EQUAL(flags_of(1, &write), BH_BLK_FLAG_FUA);
	CU_ASSERT_EQUAL(flags_of(1, &zeroes), BH_BLK_FLAG_FUA);
	write.cdw12 &= ~BH_NVME_IO_FUA;
	zeroes.cdw12 &= ~BH_NVME_IO_FUA;
	/* Switched off: everything that changes the medium. */
	rig.ctrl.features.write_cache = 0;
	CU_ASSERT_EQUAL(flags_of(1, &write), BH_BLK_FLAG_FUA);
	CU_ASSERT_EQUAL(flags_of(1, &zeroes), BH_BLK_FLAG_FUA);
	CU_ASSERT_EQUAL(flags_of(1, &dsm), BH_BLK_FLAG_FUA);
	CU_ASSERT_EQUAL(flags_of(1, &read), 0);
	rig.ctrl.features.write_cache = BH_NVME_FEAT_VWC_WCE;
	CU_ASSERT_EQUAL(flags_of(1, &write), 0);
	close_noted();
}

/* The controller's own flush: its status when the store has answered, 0xffff before. */
static uint16_t own_flush(unsigned int expected)
{
	unsigned int dones = rig.dones, before = noted->count, i;

	tn_io_flush(&rig.ctrl, rig_done, NULL);
	rig_steps(5);
	CU_ASSERT_EQUAL(noted->count, before + expected);
	for (i = before; i < noted->count; i++)
		CU_ASSERT_EQUAL(noted->io[i].op, BH_BLK_FLUSH);
	CU_ASSERT_EQUAL(rig.dones, dones + (expected == 0));
	answer_all();
	rig_steps(5);
	return rig.dones == dones + 1 ? rig.status : 0xffff;
}

static void what_was_written_is_flushed(void)
{
	struct bh_nvme_cmd write = rig_cmd(BH_NVME_CMD_WRITE, 0, 1, RIG_DATA_AT);
	struct bh_nvme_cmd read = rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT);

	open_noted(2);
	CU_ASSERT_EQUAL(own_flush(0), 0);
	flags_of(1, &read);
	write.cdw12 |= BH_NVME_IO_FUA;
	flags_of(1, &write);
	CU_ASSERT_EQUAL(own_flush(0), 0);
	write.cdw12 &= ~BH_NVME_IO_FUA;
	flags_of(1, &write);
	CU_ASSERT_EQUAL(own_flush(1), 0);
	CU_ASSERT_EQUAL(own_flush(0), 0);
	/* Each thread by its own channel. */
	flags_of(1, &write);
	flags_of(2, &write);
	CU_ASSERT_EQUAL(own_flush(2), 0);
	/* What failed is tried again. */
	flags_of(2, &write);
	noted->status = -EIO;
	CU_ASSERT_EQUAL(own_flush(1), BH_NVME_SC_WRITE_FAULT);
	noted->status = 0;
	CU_ASSERT_EQUAL(own_flush(1), 0);
	/* And what found no room. */
	flags_of(1, &write);
	noted->no_room = 3;
	CU_ASSERT_EQUAL(own_flush(1), 0);
	close_noted();
}

static void a_flush_can_be_given_up(void)
{
	struct bh_nvme_cmd write = rig_cmd(BH_NVME_CMD_WRITE, 0, 1, RIG_DATA_AT);
	unsigned int dones;

	open_noted(2);
	flags_of(1, &write);
	flags_of(2, &write);
	dones = rig.dones;
	tn_io_flush(&rig.ctrl, rig_done, NULL);
	rig_steps(5);
	CU_ASSERT_EQUAL(rig.dones, dones);
	tn_io_flush_give_up(&rig.ctrl);
	rig_steps(5);
	CU_ASSERT_EQUAL(rig.dones, dones + 1);
	CU_ASSERT_EQUAL(rig.status, BH_NVME_SC_WRITE_FAULT);
	/* Its answers are nobody's; one comes, the other when the namespace has gone. */
	noted->count--;
	answer_all();
	rig_steps(5);
	noted->count++;
	CU_ASSERT_EQUAL(rig.dones, dones + 1);
	bh_blk_get(&noted->blk);
	rig_close();
	answer_all();
	bh_blk_put(&noted->blk);
}

/* A namespace is not taken away under it. */
static void a_namespace_waits_for_its_flush(void)
{
	struct bh_nvme_cmd write = rig_cmd(BH_NVME_CMD_WRITE, 0, 1, RIG_DATA_AT);
	unsigned int dones;

	open_noted(1);
	flags_of(1, &write);
	dones = rig.dones;
	tn_io_flush(&rig.ctrl, rig_done, NULL);
	tn_io_ns_remove(&rig.ctrl, &rig.ns[1], rig_done_void, NULL);
	rig_steps(5);
	CU_ASSERT_EQUAL(rig.dones, dones);
	answer_all();
	rig_steps(5);
	CU_ASSERT_EQUAL(rig.dones, dones + 2);
	bh_blk_put(rig.ns[1].blk);
	rig.ns[1].blk = NULL;
	rig_close();
}

/*
 * A write that a reset left in the store may come to pass at any time: commands wait for it, so
 * that it does not overwrite theirs. What a reset left of reads keeps nobody waiting.
 */
static void commands_wait_for_orphans(uint8_t opc, bool waits)
{
	struct bh_nvme_cmd left = rig_cmd(opc, 0, 1, RIG_DATA_AT);
	struct bh_nvme_cmd write = rig_cmd(BH_NVME_CMD_WRITE, 0, 1, RIG_DATA_AT);
	unsigned int i;

	open_noted(2);
	for (i = 0; i < 3; i++)
		rig_put(&rig.q[1], &left);
	rig_tail(&rig.q[1]);
	rig_steps(3);
	CU_ASSERT_EQUAL(noted->count, 3);
	tn_io_gate(&rig.ctrl, TN_GATE_ALL, 0, 0, rig_done_void, NULL);
	rig_steps(3);
	tn_io_drop_queues(&rig.ctrl);
	tn_io_ungate(&rig.ctrl);
	rig_steps(3);
	rig_queue(1, 16, true);
	rig_queue(2, 16, true);
	rig_put(&rig.q[2], &write);
	rig_tail(&rig.q[2]);
	rig_steps(10);
	CU_ASSERT_EQUAL(noted->count, waits ? 3 : 4);
	noted->count -= waits ? 1 : 0;
	answer_all();
	noted->count += waits ? 1 : 0;
	rig_steps(10);
	CU_ASSERT_EQUAL(noted->count, waits ? 3 : 4);
	answer_all();
	rig_steps(1000);
	CU_ASSERT_EQUAL(noted->count, 4);
	close_noted();
}

/* Also those that were left behind many times over. */
static void buffers_are_where_the_store_was_told(void)
{
	struct bh_nvme_cmd write = rig_cmd(BH_NVME_CMD_WRITE, 0, 1, RIG_DATA_AT);
	unsigned int round, i, inside = 0;

	open_noted(1);
	CU_ASSERT_PTR_NOT_NULL(noted->mem);
	for (round = 0; round < 300; round++) {
		noted->count = noted->answered = 0;
		for (i = 0; i < 5; i++)
			rig_put(&rig.q[1], &write);
		rig_tail(&rig.q[1]);
		rig_step();
		for (i = 0; i < noted->count; i++)
			inside += (uintptr_t)noted->io[i].iov->iov_base - (uintptr_t)noted->mem <=
				  noted->mem_len - 512;
		tn_io_gate(&rig.ctrl, TN_GATE_ALL, 0, 0, rig_done_void, NULL);
		tn_io_drop_queues(&rig.ctrl);
		tn_io_ungate(&rig.ctrl);
		answer_all();
		rig_step();
		rig_queue(1, 16, true);
	}
	CU_ASSERT_EQUAL(inside, 300 * 5);
	close_noted();
}

static void nothing_overtakes_what_a_reset_left(void)
{
	commands_wait_for_orphans(BH_NVME_CMD_WRITE, true);
	commands_wait_for_orphans(BH_NVME_CMD_WRITE_ZEROES, true);
	commands_wait_for_orphans(BH_NVME_CMD_READ, false);
}

BH_SUITE("flush", { "fua_reaches_the_store", fua_reaches_the_store },
	 { "what_was_written_is_flushed", what_was_written_is_flushed },
	 { "a_flush_can_be_given_up", a_flush_can_be_given_up },
	 { "nothing_overtakes_what_a_reset_left", nothing_overtakes_what_a_reset_left },
	 { "buffers_are_where_the_store_was_told", buffers_are_where_the_store_was_told },
	 { "a_namespace_waits_for_its_flush", a_namespace_waits_for_its_flush }, )

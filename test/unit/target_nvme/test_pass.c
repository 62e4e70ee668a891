/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests that are passed: client memory is in the hands of a store that has to be waited for. */
#include "io_rig.h"

static void begin(const char *store)
{
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	rig_ns(1, &blk_late_type, store, 512);
	rig_queue(1, 64, true);
	memset(rig_at(RIG_DATA_AT), 0xee, RIG_DATA_BYTES);
}

static void send(uint8_t opc, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct bh_nvme_cmd cmd = rig_cmd(opc, 8 * i, 8, RIG_DATA_AT + i * 0x4000ull);

		cmd.cid = (uint16_t)(100 + i);
		rig_put(&rig.q[1], &cmd);
	}
	rig_tail(&rig.q[1]);
	rig_steps(3);
}

/* Completions with that status; none of any other. */
static unsigned int taken(uint16_t status)
{
	struct bh_nvme_cpl cpl;
	unsigned int n = 0;

	while (rig_get(&rig.q[1], &cpl)) {
		CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), status);
		n++;
	}
	rig_head(&rig.q[1]);
	return n;
}

static bool step_until(unsigned int dones, uint64_t ms)
{
	uint64_t end = bh_now_ns() + ms * 1000000;

	while (rig.dones < dones && bh_now_ns() < end)
		rig_step();
	return rig.dones == dones;
}

static void gate(enum tn_gate kind, uint64_t at, uint64_t len)
{
	tn_io_gate(&rig.ctrl, kind, RIG_IOVA + at, len, rig_done_void, NULL);
}

static struct bh_target_nvme_ns_stats stats(void)
{
	static struct bh_histogram latency;
	static const struct bh_clock clock = { .mult = 1ull << 32, .hz = 1000000000 };
	struct bh_target_nvme_ns_stats s;

	CU_ASSERT(bh_target_nvme_ns_stats(&rig.ctrl, 1, &clock, &latency, &s));
	return s;
}

static void reads_and_writes_are_passed_and_nothing_else(void)
{
	struct bh_nvme_cmd cmd;

	begin("1M,hold=1,share=1");
	cmd = rig_cmd(BH_NVME_CMD_WRITE, 0, 8, RIG_DATA_AT);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	cmd = rig_cmd(BH_NVME_CMD_READ, 0, 8, RIG_DATA_AT + 0x4000);
	memset(rig_at(RIG_DATA_AT + 0x4000), 0, 4096);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT_EQUAL(*(uint8_t *)rig_at(RIG_DATA_AT + 0x4fff), 0xee);
	CU_ASSERT_EQUAL(stats().passed, 2);
	cmd.opc = BH_NVME_CMD_COMPARE;
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT_EQUAL(stats().passed, 2);
	CU_ASSERT_EQUAL(stats().copied, 0);
	rig_close();
}

/* The change is made behind the gate: until then memory is the SSD's, and completions are told. */
static void memory_that_goes_is_waited_for(void)
{
	unsigned int dones;

	begin("1M,hold=150,share=1");
	send(BH_NVME_CMD_READ, 10);
	dones = rig.dones;
	gate(TN_GATE_SHARED, RIG_DATA_AT, RIG_DATA_BYTES);
	CU_ASSERT_EQUAL(rig.dones, dones);
	CU_ASSERT(step_until(dones + 1, 5000));
	CU_ASSERT_EQUAL(taken(0), 10);
	CU_ASSERT_EQUAL(*(uint8_t *)rig_at(RIG_DATA_AT + 9 * 0x4000), 0);
	tn_io_ungate(&rig.ctrl);
	rig_close();
}

static void other_memory_is_not(void)
{
	unsigned int dones;

	begin("1M,hold=150,share=1");
	send(BH_NVME_CMD_READ, 10);
	dones = rig.dones;
	gate(TN_GATE_TABLE, RIG_DATA_AT + 0x200000, 0x1000);
	CU_ASSERT_EQUAL(rig.dones, dones + 1);
	tn_io_ungate(&rig.ctrl);
	while (stats().passed < 10)
		rig_step();
	CU_ASSERT_EQUAL(taken(0), 10);
	rig_close();
}

/* After a second they are told to come back, and their commands have failed. */
static void what_does_not_come_is_cancelled(void)
{
	unsigned int dones;
	uint64_t begun;

	begin("1M,hold=60000,share=1");
	send(BH_NVME_CMD_READ, 3);
	begun = bh_now_ns();
	dones = rig.dones;
	gate(TN_GATE_SHARED, RIG_DATA_AT, RIG_DATA_BYTES);
	CU_ASSERT(step_until(dones + 1, 10000));
	CU_ASSERT(bh_now_ns() - begun >= 1000000000);
	CU_ASSERT_EQUAL(taken(BH_NVME_SC_DATA_TRANSFER_ERROR), 3);
	CU_ASSERT_EQUAL(*(uint8_t *)rig_at(RIG_DATA_AT), 0xee);
	tn_io_ungate(&rig.ctrl);
	rig_close();
}

/* Nobody is told, but nothing of them touches memory after the gate has closed. */
static void a_reset_waits_for_them(void)
{
	uint8_t *before = malloc(RIG_BYTES);
	unsigned int dones;

	begin("1M,hold=60000,share=1");
	send(BH_NVME_CMD_READ, 10);
	dones = rig.dones;
	gate(TN_GATE_ALL, 0, 0);
	CU_ASSERT(step_until(dones + 1, 5000));
	memcpy(before, rig.mem, RIG_BYTES);
	tn_io_drop_queues(&rig.ctrl);
	tn_io_ungate(&rig.ctrl);
	rig_steps(20);
	CU_ASSERT(!memcmp(before, rig.mem, RIG_BYTES));
	free(before);
	rig_close();
}

static void a_deleted_queue_waits_for_them(void)
{
	unsigned int dones;

	begin("1M,hold=150,share=1");
	send(BH_NVME_CMD_WRITE, 4);
	dones = rig.dones;
	tn_io_sq_delete(&rig.ctrl, 1, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.dones, dones);
	CU_ASSERT(step_until(dones + 1, 5000));
	CU_ASSERT_EQUAL(rig.status, 0);
	CU_ASSERT_EQUAL(taken(0), 4);
	rig_close();
}

/* A reset ends a deletion that waits. */
static void a_reset_of_a_deleted_queue(void)
{
	unsigned int dones;

	begin("1M,hold=60000,share=1");
	send(BH_NVME_CMD_WRITE, 4);
	dones = rig.dones;
	tn_io_sq_delete(&rig.ctrl, 1, rig_done, NULL);
	rig_steps(5);
	CU_ASSERT_EQUAL(rig.dones, dones);
	gate(TN_GATE_ALL, 0, 0);
	CU_ASSERT(step_until(dones + 2, 5000));
	tn_io_drop_queues(&rig.ctrl);
	tn_io_ungate(&rig.ctrl);
	rig_close();
}

/* Not even a read: it may reach memory that the host has put to another use. */
static void an_abort_only_hurries_them(void)
{
	begin("1M,hold=60000,share=1");
	send(BH_NVME_CMD_READ, 1);
	tn_io_abort(&rig.ctrl, 1, 100, rig_done, NULL);
	CU_ASSERT_NOT_EQUAL(rig.status, 0);
	while (!stats().counts.errors)
		rig_step();
	CU_ASSERT_EQUAL(taken(BH_NVME_SC_ABORTED_BY_REQUEST), 1);
	rig_close();
}

BH_SUITE("pass",
	 { "reads_and_writes_are_passed_and_nothing_else",
	   reads_and_writes_are_passed_and_nothing_else },
	 { "memory_that_goes_is_waited_for", memory_that_goes_is_waited_for },
	 { "other_memory_is_not", other_memory_is_not },
	 { "what_does_not_come_is_cancelled", what_does_not_come_is_cancelled },
	 { "a_reset_waits_for_them", a_reset_waits_for_them },
	 { "a_deleted_queue_waits_for_them", a_deleted_queue_waits_for_them },
	 { "a_reset_of_a_deleted_queue", a_reset_of_a_deleted_queue },
	 { "an_abort_only_hurries_them", an_abort_only_hurries_them }, )

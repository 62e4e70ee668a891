/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts that wait for company. */
#include "io_rig.h"

#define LONG (0xffu << 8) /* 25.5 ms: there is no longer time */

static void open_with(uint32_t coalescing)
{
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_TRAPPED);
	rig_ns(1, &bh_blk_null_type, "1G", 512);
	rig_queue(1, 64, true);
	rig.ctrl.features.coalescing = coalescing;
}

static void post(unsigned int n)
{
	const struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_FLUSH, .nsid = 1 };
	struct bh_nvme_cpl cpl;
	unsigned int i;

	for (i = 0; i < n; i++)
		rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	rig_steps(2);
	for (i = 0; i < n; i++)
		CU_ASSERT_TRUE(rig_get(&rig.q[1], &cpl)); /* they are posted at once */
	rig_head(&rig.q[1]);
}

/* Eight to an interrupt, across the ring's end; the ninth begins the next. */
static void so_many_share_one(void)
{
	unsigned int i;

	open_with(LONG | 7);
	for (i = 0; i < 20; i++) {
		post(7);
		CU_ASSERT_EQUAL(rig.raises, i);
		post(1);
		CU_ASSERT_EQUAL(rig.raises, i + 1);
	}
	post(40); /* of one pass they are one */
	CU_ASSERT_EQUAL(rig.raises, 21);
	rig_close();
}

/* One alone does not wait for ever, and the thread sleeps until then. */
static void time_is_up(void)
{
	uint64_t begin = bh_now_ns();
	struct tn_thread *t;
	int64_t wait;

	open_with(LONG | 0xff);
	t = rig.ctrl.io->thread[0];
	post(1);
	CU_ASSERT_EQUAL(rig.raises, 0);
	wait = tn_bells_arm(t);
	tn_bells_disarm(t);
	CU_ASSERT_TRUE(wait < 0 && wait >= -25500000);
	CU_ASSERT_TRUE(rig_until(&rig.raises, 1));
	CU_ASSERT_TRUE(bh_now_ns() - begin >= 25500000);
	CU_ASSERT_EQUAL(tn_bells_arm(t), 0);
	tn_bells_disarm(t);
	rig_close();
}

static void not_without_a_time_or_for_some_vectors(void)
{
	open_with(7); /* a time of 0: no delay */
	post(1);
	CU_ASSERT_EQUAL(rig.raises, 1);
	rig.ctrl.features.coalescing = LONG | 7;
	rig.ctrl.features.vector_config[1] = BH_NVME_FEAT_INTERRUPT_CD;
	post(1);
	CU_ASSERT_EQUAL(rig.raises, 2);
	rig.ctrl.features.vector_config[1] = 0;
	post(1);
	CU_ASSERT_EQUAL(rig.raises, 2);
	rig.ctrl.features.coalescing = 0; /* nothing is left waiting */
	rig_steps(1);
	CU_ASSERT_EQUAL(rig.raises, 3);
	rig_close();
}

/* A queue that goes takes its interrupt along. */
static void deleted_while_it_waits(void)
{
	open_with(LONG | 7);
	post(1);
	tn_io_sq_delete(&rig.ctrl, 1, rig_done, NULL);
	tn_io_cq_delete(&rig.ctrl, 1, rig_done, NULL);
	CU_ASSERT_PTR_NULL(rig.ctrl.io->thread[0]->due);
	rig_steps(2);
	CU_ASSERT_EQUAL(rig.raises, 0);
	rig_close();
}

BH_SUITE("coalesce", { "so_many_share_one", so_many_share_one }, { "time_is_up", time_is_up },
	 { "not_without_a_time_or_for_some_vectors", not_without_a_time_or_for_some_vectors },
	 { "deleted_while_it_waits", deleted_while_it_waits }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Weighted round robin: the order in which commands of several queues are carried out, as one
 * completion queue for all of them shows it.
 */
#include "io_rig.h"

#define CQ_ENTRIES 256u
#define COMMANDS 40u /* of each queue */
#define URGENT BH_NVME_QUEUE_QPRIO_URGENT
#define HIGH BH_NVME_QUEUE_QPRIO_HIGH
#define MEDIUM BH_NVME_QUEUE_QPRIO_MEDIUM
#define LOW BH_NVME_QUEUE_QPRIO_LOW
#define WEIGHTS(high, medium, low, ab) \
	(((high)-1u) << 24 | ((medium)-1u) << 16 | ((low)-1u) << 8 | (ab))

static void queue(uint16_t qid, uint8_t priority)
{
	const struct tn_queue_params p = { .qid = qid,
					   .cqid = 1,
					   .entries = 64,
					   .iova = RIG_IOVA + RIG_SQ(qid),
					   .priority = priority };
	const struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_FLUSH, .nsid = 1 };
	unsigned int i;

	tn_io_sq_create(&rig.ctrl, &p, rig_done, NULL);
	CU_ASSERT_EQUAL(rig.status, 0);
	for (i = 0; i < COMMANDS; i++)
		memcpy(rig_at(RIG_SQ(qid) + i * sizeof(cmd)), &cmd, sizeof(cmd));
	rig_ring(2u * qid, COMMANDS);
}

static void open_with(uint32_t arbitration, uint32_t ams)
{
	const struct tn_queue_params p = { .qid = 1,
					   .entries = CQ_ENTRIES,
					   .iova = RIG_IOVA + RIG_CQ(1) };

	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 1, BH_DOORBELLS_MAPPED);
	memset(rig_at(0), 0, RIG_RINGS_BYTES);
	rig.ctrl.regs.cc = (uint32_t)BH_NVME_SET(CC_AMS, ams);
	rig.ctrl.features.arbitration = arbitration;
	rig_ns(1, &bh_blk_null_type, "1G", 512);
	tn_io_cq_create(&rig.ctrl, &p, rig_done, NULL);
}

/* The queues of the first n completions, a digit each. */
static const char *order(unsigned int n)
{
	const struct bh_nvme_cpl *cpl = rig_at(RIG_CQ(1));
	static char text[CQ_ENTRIES + 1];
	unsigned int i;

	for (i = 0; i < n && cpl[i].status & BH_NVME_CPL_PHASE; i++)
		text[i] = (char)('0' + cpl[i].sqid);
	text[i] = '\0';
	return text;
}

static void classes_have_their_weights(void)
{
	open_with(WEIGHTS(4, 2, 1, 0), BH_NVME_CC_AMS_WRR);
	queue(1, LOW);
	queue(2, HIGH);
	queue(3, MEDIUM);
	rig_steps(2);
	CU_ASSERT_STRING_EQUAL(order(21), "222233122223312222331");
	CU_ASSERT_EQUAL(strlen(order(CQ_ENTRIES)), 3 * COMMANDS);
	/* The high ones are through when of the others 20 and 10 were done. */
	CU_ASSERT_EQUAL(strrchr(order(CQ_ENTRIES), '2') - order(CQ_ENTRIES), 40 + 18 + 9 - 1);
	rig_close();
}

static void urgent_ones_go_first(void)
{
	open_with(WEIGHTS(200, 200, 200, 7), BH_NVME_CC_AMS_WRR);
	queue(1, HIGH);
	queue(2, URGENT);
	queue(3, LOW);
	queue(4, URGENT);
	rig_steps(2);
	CU_ASSERT_EQUAL(strlen(order(CQ_ENTRIES)), 4 * COMMANDS);
	CU_ASSERT_EQUAL(strcspn(order(CQ_ENTRIES), "13"), 2 * COMMANDS);
	CU_ASSERT_EQUAL(strcspn(order(CQ_ENTRIES), "3"), 3 * COMMANDS);
	rig_close();
}

/* Two queues of a class: bursts of two in turn, within the weight. */
static void queues_of_a_class_take_turns(void)
{
	open_with(WEIGHTS(5, 1, 1, 1), BH_NVME_CC_AMS_WRR);
	queue(1, HIGH);
	queue(2, HIGH);
	queue(3, LOW);
	rig_steps(2);
	CU_ASSERT_STRING_EQUAL(order(18), "112213221123112213");
	CU_ASSERT_EQUAL(strlen(order(CQ_ENTRIES)), 3 * COMMANDS);
	rig_close();
}

/* Without it classes mean nothing. */
static void round_robin_does_not_weigh(void)
{
	open_with(WEIGHTS(1, 1, 1, 0), BH_NVME_CC_AMS_RR);
	queue(1, LOW);
	queue(2, URGENT);
	rig_steps(2);
	CU_ASSERT_EQUAL(strspn(order(CQ_ENTRIES), "1"), COMMANDS);
	rig_close();
}

/* What changes is heeded, queues come and go. */
static void weights_change(void)
{
	open_with(WEIGHTS(1, 1, 1, 0), BH_NVME_CC_AMS_WRR);
	queue(1, LOW);
	queue(2, HIGH);
	rig.ctrl.features.arbitration = WEIGHTS(2, 1, 1, 0);
	rig_steps(2);
	CU_ASSERT_STRING_EQUAL(order(9), "221221221");
	tn_io_sq_delete(&rig.ctrl, 2, rig_done, NULL);
	queue(3, HIGH);
	rig_steps(2);
	CU_ASSERT_EQUAL(strlen(order(CQ_ENTRIES)), 3 * COMMANDS);
	tn_io_gate(&rig.ctrl, TN_GATE_ALL, 0, 0, rig_done_void, NULL);
	tn_io_drop_queues(&rig.ctrl);
	tn_io_ungate(&rig.ctrl);
	CU_ASSERT_FALSE(rig.ctrl.io->thread[0]->is_weighted);
	rig_close();
}

BH_SUITE("wrr", { "classes_have_their_weights", classes_have_their_weights },
	 { "urgent_ones_go_first", urgent_ones_go_first },
	 { "queues_of_a_class_take_turns", queues_of_a_class_take_turns },
	 { "round_robin_does_not_weigh", round_robin_does_not_weigh },
	 { "weights_change", weights_change }, )

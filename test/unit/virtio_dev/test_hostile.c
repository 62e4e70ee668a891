/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings that make no sense. Each breaks its queue with a reason, nothing else happens, and nothing
 * is available any more.
 */
#include "vdq_rig.h"

#define NEXT BH_VIRTQ_DESC_F_NEXT
#define WRITE BH_VIRTQ_DESC_F_WRITE
#define INDIRECT BH_VIRTQ_DESC_F_INDIRECT

static void start(bool packed)
{
	rig_packed = packed;
	CU_ASSERT_EQUAL_FATAL(rig_start_with(RIG_SIZE, RIG_FEATURES), 0);
}

static void is_broken(const char *why)
{
	struct bh_vdq_chain c;

	CU_ASSERT_EQUAL(rig_pop(&c), -EPROTO);
	CU_ASSERT_PTR_NOT_NULL_FATAL(rig_q.broken);
	if (!strstr(rig_q.broken, why)) {
		CU_FAIL("another reason");
		fprintf(stderr, "%s, not %s\n", rig_q.broken, why);
	}
	CU_ASSERT_EQUAL(rig_pop(&c), 0);
	CU_ASSERT_EQUAL(bh_vdq_resolve(&rig_q), -EPROTO);
	bh_vdq_push_run(&rig_q, 0, 1, 0);
	bh_vdq_flush(&rig_q);
	CU_ASSERT_FALSE(bh_vdq_wants_call(&rig_q));
	bh_vdq_kicks(&rig_q, true);
	CU_ASSERT_EQUAL(rig_used()->idx, rig_packed ? BH_VIRTQ_EVENT_DISABLE : 0);
}

static void index_that_jumps(void)
{
	struct bh_vdq_chain c;

	start(false);
	rig_avail()->idx = RIG_SIZE + 1;
	CU_ASSERT_EQUAL(rig_pop(&c), 0);
	CU_ASSERT_PTR_NOT_NULL(rig_q.broken);
	start(false);
	rig_avail()->idx = 0xffff; /* backwards */
	CU_ASSERT_EQUAL(rig_pop(&c), 0);
	CU_ASSERT_PTR_NOT_NULL(rig_q.broken);
}

static void descriptor_that_is_not_there(void)
{
	start(false);
	rig_avail()->ring[0] = RIG_SIZE;
	rig_avail()->idx = 1;
	is_broken("not in the table");
	start(false);
	rig_put(0, RIG_IOVA + RIG_DATA, 16, NEXT, 0xffff);
	rig_offer(1);
	is_broken("not in the table");
}

static void loops(void)
{
	start(false);
	rig_put(0, RIG_IOVA + RIG_DATA, 16, NEXT, 0);
	rig_offer(1);
	is_broken("no end");
	start(false);
	rig_put(0, RIG_IOVA + RIG_DATA, 0, NEXT, 1);
	rig_put(1, RIG_IOVA + RIG_DATA, 0, NEXT, 0);
	rig_offer(1);
	is_broken("no end");
	start(true);
	for (unsigned int i = 0; i < RIG_SIZE; i++)
		rig_put(i, RIG_IOVA + RIG_DATA, 16, NEXT, 0);
	rig_offer(1);
	is_broken("no end");
}

static void loop_in_an_indirect_table(void)
{
	start(false);
	rig_put_table(0, RIG_IOVA + RIG_DATA, 16, NEXT, 1);
	rig_put_table(1, RIG_IOVA + RIG_DATA, 16, NEXT, 0);
	rig_put(0, RIG_IOVA + RIG_TABLE, 32, INDIRECT, 0);
	rig_offer(1);
	is_broken("no end");
	start(false);
	rig_put_table(0, RIG_IOVA + RIG_DATA, 16, NEXT, 2);
	rig_put(0, RIG_IOVA + RIG_TABLE, 32, INDIRECT, 0);
	rig_offer(1);
	is_broken("leaves its indirect table");
}

static void indirect_in_indirect(void)
{
	for (int packed = 0; packed < 2; packed++) {
		start(packed);
		rig_put_table(0, RIG_IOVA + RIG_TABLE, 16, INDIRECT, 0);
		rig_put(0, RIG_IOVA + RIG_TABLE, 16, INDIRECT, 0);
		rig_offer(1);
		is_broken("another one in it");
	}
}

static void odd_tables(void)
{
	static const uint32_t len[] = { 0, 8, 17, 0xffffffff, 16 * (BH_VDQ_MAX_SEGS + 1) };

	for (unsigned int i = 0; i < 2 * sizeof(len) / sizeof(len[0]); i++) {
		start(i & 1);
		rig_put(0, RIG_IOVA + RIG_TABLE, len[i / 2], INDIRECT, 0);
		rig_offer(1);
		is_broken("makes no sense");
	}
	for (int packed = 0; packed < 2; packed++) {
		start(packed);
		rig_put(0, RIG_IOVA + RIG_TABLE, 16, INDIRECT | NEXT, 1);
		rig_offer(1);
		is_broken("makes no sense");
		start(packed);
		rig_put(0, RIG_IOVA + RIG_BYTES, 16, INDIRECT, 1);
		rig_offer(1);
		is_broken("table is not in memory");
	}
}

static void table_nobody_agreed_on(void)
{
	for (int packed = 0; packed < 2; packed++) {
		rig_packed = packed;
		CU_ASSERT_EQUAL_FATAL(
			rig_start_with(RIG_SIZE, BH_VIRTIO_BIT(BH_VIRTIO_F_VERSION_1)), 0);
		rig_put_table(0, RIG_IOVA + RIG_DATA, 16, 0, 0);
		rig_put(0, RIG_IOVA + RIG_TABLE, 16, INDIRECT, 0);
		rig_offer(1);
		is_broken("makes no sense");
	}
}

static void read_behind_write(void)
{
	for (int packed = 0; packed < 2; packed++) {
		start(packed);
		rig_put(0, RIG_IOVA + RIG_DATA, 16, NEXT | WRITE, 1);
		rig_put(1, RIG_IOVA + RIG_DATA, 16, 0, 0);
		rig_offer(2);
		is_broken("behind what is to be written");
	}
}

static void addresses_outside(void)
{
	static const uint64_t at[] = {
		0,	    RIG_IOVA - 1,   RIG_IOVA + RIG_BYTES - 15, RIG_IOVA + RIG_BYTES,
		UINT64_MAX, UINT64_MAX - 15
	};

	for (unsigned int i = 0; i < 2 * sizeof(at) / sizeof(at[0]); i++) {
		start(i & 1);
		rig_put(0, at[i / 2], 16, i & 2 ? WRITE : 0, 0);
		rig_offer(1);
		is_broken("not in memory");
	}
}

static void lengths_beyond_all(void)
{
	for (int packed = 0; packed < 2; packed++) {
		start(packed);
		rig_put(0, RIG_IOVA + RIG_DATA, UINT32_MAX, 0, 0);
		rig_offer(1);
		is_broken("longer than any");
		/* Each is fine, the sum is not. */
		start(packed);
		for (unsigned int i = 0; i < 1024; i++)
			rig_put_table(i, RIG_IOVA, RIG_BYTES / 2, NEXT, (uint16_t)(i + 1));
		rig_put(0, RIG_IOVA + RIG_TABLE, 1024 * 16, INDIRECT, 0);
		rig_offer(1);
		is_broken("longer than any");
	}
}

static void memory_of_the_wrong_kind(void)
{
	for (int packed = 0; packed < 2; packed++) {
		CU_ASSERT_EQUAL_FATAL(bh_cmem_del(&rig_cmem, 0, 0), 0);
		rig_map(0, RIG_DATA, BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE);
		rig_map(RIG_DATA, RIG_BYTES - RIG_DATA, BH_CMEM_PROT_READ);
		start(packed);
		rig_put(0, RIG_IOVA + RIG_DATA, 16, WRITE, 0);
		rig_offer(1);
		is_broken("not in memory");
	}
	CU_ASSERT_EQUAL_FATAL(bh_cmem_del(&rig_cmem, 0, 0), 0);
	rig_map(0, RIG_BYTES, BH_CMEM_PROT_READ); /* the used ring is written */
	rig_packed = true;
	CU_ASSERT_EQUAL(rig_start_with(RIG_SIZE, RIG_FEATURES), -EFAULT);
	CU_ASSERT_PTR_NOT_NULL(rig_q.broken);
}

static void queues_that_cannot_be(void)
{
	rig_packed = false;
	CU_ASSERT_EQUAL(rig_start_with(0, RIG_FEATURES), -EINVAL);
	CU_ASSERT_EQUAL(rig_start_with(7, RIG_FEATURES), -EINVAL);
	CU_ASSERT_EQUAL(rig_start_with(32768 + 1, RIG_FEATURES), -EINVAL);
	rig_packed = true;
	CU_ASSERT_EQUAL(rig_start_with(7, RIG_FEATURES), 0);
	CU_ASSERT_EQUAL(rig_start_with(32768, RIG_FEATURES), -EFAULT); /* 512 KiB are not there */
	for (unsigned int i = 0; i < 3; i++) {
		struct bh_vdq_conf conf = { RIG_SIZE, RIG_IOVA, RIG_IOVA + RIG_DRIVER,
					    RIG_IOVA + RIG_DEVICE, RIG_FEATURES };

		*(i == 0 ? &conf.desc : i == 1 ? &conf.driver : &conf.device) += 1;
		CU_ASSERT_EQUAL(bh_vdq_start(&rig_q, &rig_cmem, &conf), -EINVAL);
	}
}

/* A driver that makes more available than there is place for, round and round. */
static void driver_that_never_waits(void)
{
	struct bh_vdq_chain c;

	start(true);
	for (unsigned int i = 0; i < 10 * RIG_SIZE; i++) {
		rig_add(RIG_DATA, 60, 0);
		CU_ASSERT_EQUAL_FATAL(rig_pop(&c), 1);
		bh_vdq_push(&rig_q, &c, 0);
	}
	bh_vdq_flush(&rig_q);
	CU_ASSERT_PTR_NULL(rig_q.broken);
	CU_ASSERT_TRUE(bh_vdq_wants_call(&rig_q));
}

BH_SUITE_FIXTURE("hostile", rig_setup, rig_teardown, { "index_that_jumps", index_that_jumps },
		 { "descriptor_that_is_not_there", descriptor_that_is_not_there },
		 { "loops", loops }, { "loop_in_an_indirect_table", loop_in_an_indirect_table },
		 { "indirect_in_indirect", indirect_in_indirect }, { "odd_tables", odd_tables },
		 { "table_nobody_agreed_on", table_nobody_agreed_on },
		 { "read_behind_write", read_behind_write },
		 { "addresses_outside", addresses_outside },
		 { "lengths_beyond_all", lengths_beyond_all },
		 { "memory_of_the_wrong_kind", memory_of_the_wrong_kind },
		 { "queues_that_cannot_be", queues_that_cannot_be },
		 { "driver_that_never_waits", driver_that_never_waits })

/* SPDX-License-Identifier: BSD-3-Clause */
/* Device-side virtqueues: what a well-behaved driver gets, in both formats. */
#include "vdq_rig.h"

#define BOTH(fn)                                                 \
	static void fn##_split(void)                             \
	{                                                        \
		rig_packed = false;                              \
		if (rig_start_with(RIG_SIZE, RIG_FEATURES) == 0) \
			fn();                                    \
		else                                             \
			CU_FAIL("no queue");                     \
	}                                                        \
	static void fn##_packed(void)                            \
	{                                                        \
		rig_packed = true;                               \
		if (rig_start_with(RIG_SIZE, RIG_FEATURES) == 0) \
			fn();                                    \
		else                                             \
			CU_FAIL("no queue");                     \
	}

static uint16_t id_of(unsigned int place)
{
	return (uint16_t)(rig_packed ? place + 100 : place);
}

static void buffers_go_round(void)
{
	struct bh_vdq_chain c;

	CU_ASSERT_EQUAL(rig_pop(&c), 0);
	for (unsigned int i = 0; i < 3 * RIG_SIZE; i++) {
		unsigned int place = i % RIG_SIZE;

		rig_add(RIG_DATA + 64 * place, 10 + i, i & 1 ? BH_VIRTQ_DESC_F_WRITE : 0);
		CU_ASSERT_EQUAL_FATAL(rig_pop(&c), 1);
		CU_ASSERT_EQUAL(c.id, id_of(place));
		CU_ASSERT_EQUAL(c.out, !(i & 1));
		CU_ASSERT_EQUAL(c.in, i & 1);
		CU_ASSERT_EQUAL(c.out_bytes + c.in_bytes, 10 + i);
		CU_ASSERT_EQUAL(memcmp(c.seg->va, rig_mem + RIG_DATA + 64 * place, 10), 0);
		CU_ASSERT_EQUAL(rig_pop(&c), 0);
		bh_vdq_push(&rig_q, &(struct bh_vdq_chain){ .id = id_of(place), .num_desc = 1 }, i);
		if (rig_packed)
			CU_ASSERT_FALSE(rig_is_used(place, i / RIG_SIZE % 2 == 0));
		bh_vdq_flush(&rig_q);
		if (rig_packed) {
			CU_ASSERT_TRUE(rig_is_used(place, i / RIG_SIZE % 2 == 0));
			CU_ASSERT_EQUAL(rig_packed_desc(place)->id, id_of(place));
			CU_ASSERT_EQUAL(rig_packed_desc(place)->len, i);
		} else {
			CU_ASSERT_EQUAL(rig_used()->idx, i + 1);
			CU_ASSERT_EQUAL(rig_used()->ring[place].id, place);
			CU_ASSERT_EQUAL(rig_used()->ring[place].len, i);
		}
	}
}
BOTH(buffers_go_round)

static void full_ring_is_fetched_and_given_back_at_once(void)
{
	struct bh_vdq_chain c[RIG_SIZE];

	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < RIG_SIZE; i++)
			rig_add(RIG_DATA, 60, 0);
		for (unsigned int i = 0; i < RIG_SIZE; i++)
			CU_ASSERT_EQUAL_FATAL(rig_pop(&c[i]), 1);
		CU_ASSERT_EQUAL(rig_pop(&c[0]), 0);
		for (unsigned int i = 0; i < RIG_SIZE; i++)
			bh_vdq_push_run(&rig_q, id_of(i), 1, 0);
		/* Nothing is seen before the first is. */
		if (rig_packed)
			CU_ASSERT_FALSE(rig_is_used(0, round % 2 == 0));
		bh_vdq_flush(&rig_q);
		for (unsigned int i = 0; rig_packed && i < RIG_SIZE; i++)
			CU_ASSERT_TRUE(rig_is_used(i, round % 2 == 0));
		if (!rig_packed)
			CU_ASSERT_EQUAL(rig_used()->idx, (round + 1) * RIG_SIZE);
	}
}
BOTH(full_ring_is_fetched_and_given_back_at_once)

static void offer_chain(void)
{
	unsigned int a = rig_next, b = (a + 1) % RIG_SIZE, c = (a + 2) % RIG_SIZE;
	bool wrap = rig_wrap;

	rig_put(a, RIG_IOVA + RIG_DATA, 12, BH_VIRTQ_DESC_F_NEXT, (uint16_t)b);
	rig_wrap = b < a ? !wrap : wrap;
	rig_put(b, RIG_IOVA + RIG_DATA + 0x100, 100, BH_VIRTQ_DESC_F_NEXT, (uint16_t)c);
	rig_wrap = c < a ? !wrap : wrap;
	rig_put(c, RIG_IOVA + RIG_DATA + 0x200, 50, BH_VIRTQ_DESC_F_WRITE, 0);
	rig_wrap = wrap;
	rig_offer(3);
}

static void chains_wrap_with_the_ring(void)
{
	struct bh_vdq_chain c;

	for (unsigned int i = 0; i < 20; i++) {
		unsigned int head = rig_next;

		offer_chain();
		CU_ASSERT_EQUAL_FATAL(rig_pop(&c), 1);
		CU_ASSERT_EQUAL(c.id, id_of(rig_packed ? (head + 2) % RIG_SIZE : head));
		CU_ASSERT_EQUAL(c.num_desc, rig_packed ? 3 : 1);
		CU_ASSERT_EQUAL(c.out, 2);
		CU_ASSERT_EQUAL(c.in, 1);
		CU_ASSERT_EQUAL(c.out_bytes, 112);
		CU_ASSERT_EQUAL(c.in_bytes, 50);
		CU_ASSERT_EQUAL(c.seg[1].iova, RIG_IOVA + RIG_DATA + 0x100);
		bh_vdq_push(&rig_q, &c, 50);
		bh_vdq_flush(&rig_q);
	}
	if (!rig_packed)
		CU_ASSERT_EQUAL(rig_used()->idx, 20);
}
BOTH(chains_wrap_with_the_ring)

static void indirect_tables_are_followed(void)
{
	struct bh_vdq_chain c;

	rig_put_table(0, RIG_IOVA + RIG_DATA, 12, BH_VIRTQ_DESC_F_NEXT, 1);
	rig_put_table(1, RIG_IOVA + RIG_DATA + 0x1000, 1500, BH_VIRTQ_DESC_F_NEXT, 2);
	rig_put_table(2, RIG_IOVA + RIG_DATA + 0x2000, 9000, 0, 0);
	rig_put(0, RIG_IOVA + RIG_TABLE, 48, BH_VIRTQ_DESC_F_INDIRECT, 0);
	rig_offer(1);
	CU_ASSERT_EQUAL_FATAL(rig_pop(&c), 1);
	CU_ASSERT_EQUAL(c.num_desc, 1);
	CU_ASSERT_EQUAL(c.out, 3);
	CU_ASSERT_EQUAL(c.out_bytes, 12 + 1500 + 9000);
	CU_ASSERT_EQUAL(c.id, id_of(0));
}
BOTH(indirect_tables_are_followed)

static void rewound_chains_come_again(void)
{
	struct bh_vdq_chain c;
	struct bh_vdq_pos pos;

	for (unsigned int i = 0; i < 6; i++) {
		offer_chain();
		pos = bh_vdq_tell(&rig_q);
		CU_ASSERT_EQUAL_FATAL(rig_pop(&c), 1);
		bh_vdq_rewind(&rig_q, pos);
		c.id = 0;
		CU_ASSERT_EQUAL_FATAL(rig_pop(&c), 1);
		CU_ASSERT_NOT_EQUAL(c.num_desc, 0);
		bh_vdq_push(&rig_q, &c, 0);
		bh_vdq_flush(&rig_q);
	}
}
BOTH(rewound_chains_come_again)

static void chain_too_long_for_the_room_stays(void)
{
	struct bh_vdq_chain c;

	offer_chain();
	CU_ASSERT_EQUAL(bh_vdq_pop(&rig_q, &c, rig_seg, 2), -ENOSPC);
	CU_ASSERT_PTR_NULL(rig_q.broken);
	CU_ASSERT_EQUAL(bh_vdq_pop(&rig_q, &c, rig_seg, 3), 1);
}
BOTH(chain_too_long_for_the_room_stays)

static void buffer_across_regions_is_in_pieces(void)
{
	struct bh_vdq_chain c;
	const uint32_t rw = BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE;

	CU_ASSERT_EQUAL_FATAL(bh_cmem_del(&rig_cmem, 0, 0), 0);
	rig_map(0, RIG_DATA + 0x1000, rw);
	rig_map(RIG_DATA + 0x1000, RIG_BYTES - RIG_DATA - 0x1000, rw);
	CU_ASSERT_EQUAL_FATAL(bh_vdq_resolve(&rig_q), 0);
	rig_add(RIG_DATA + 0xf00, 0x300, BH_VIRTQ_DESC_F_WRITE);
	CU_ASSERT_EQUAL_FATAL(rig_pop(&c), 1);
	CU_ASSERT_EQUAL(c.in, 2);
	CU_ASSERT_EQUAL(c.in_bytes, 0x300);
	CU_ASSERT_EQUAL(c.seg[0].len, 0x100);
	CU_ASSERT_EQUAL(c.seg[1].len, 0x200);
	CU_ASSERT_EQUAL(c.seg[1].iova, RIG_IOVA + RIG_DATA + 0x1000);
}
BOTH(buffer_across_regions_is_in_pieces)

static void ring_that_is_unmapped_comes_back(void)
{
	struct bh_vdq_chain c;

	rig_add(RIG_DATA, 60, 0);
	rig_add(RIG_DATA, 60, 0);
	CU_ASSERT_EQUAL(rig_pop(&c), 1);
	CU_ASSERT_EQUAL_FATAL(bh_cmem_del(&rig_cmem, 0, 0), 0);
	CU_ASSERT_EQUAL(bh_vdq_resolve(&rig_q), -EFAULT);
	CU_ASSERT_EQUAL(rig_pop(&c), 0);
	bh_vdq_push(&rig_q, &c, 0);
	bh_vdq_flush(&rig_q);
	rig_map(0, RIG_BYTES, BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE);
	CU_ASSERT_EQUAL_FATAL(bh_vdq_resolve(&rig_q), 0);
	CU_ASSERT_EQUAL(rig_pop(&c), 1);
	CU_ASSERT_EQUAL(c.id, id_of(1));
}
BOTH(ring_that_is_unmapped_comes_back)

/* ---- calls and kicks ---- */

static void use(unsigned int n)
{
	struct bh_vdq_chain c;

	while (n--) {
		rig_add(RIG_DATA, 60, 0);
		CU_ASSERT_EQUAL_FATAL(rig_pop(&c), 1);
		bh_vdq_push(&rig_q, &c, 0);
	}
	bh_vdq_flush(&rig_q);
}

static void driver_says_whether_it_wants_calls(void)
{
	CU_ASSERT_FALSE(bh_vdq_wants_call(&rig_q));
	use(1);
	CU_ASSERT_TRUE(bh_vdq_wants_call(&rig_q));
	CU_ASSERT_FALSE(bh_vdq_wants_call(&rig_q));
	if (rig_packed)
		rig_event(RIG_DRIVER)->flags = BH_VIRTQ_EVENT_DISABLE;
	else
		rig_avail()->flags = BH_VIRTQ_AVAIL_F_NO_INTERRUPT;
	use(2);
	CU_ASSERT_FALSE(bh_vdq_wants_call(&rig_q));
}
BOTH(driver_says_whether_it_wants_calls)

static void event_index_is_met_once(void)
{
	uint64_t features = RIG_FEATURES | BH_VIRTIO_BIT(BH_VIRTIO_F_EVENT_IDX);
	unsigned int calls = 0;

	CU_ASSERT_EQUAL_FATAL(rig_start_with(RIG_SIZE, features), 0);
	if (rig_packed)
		*rig_event(RIG_DRIVER) =
			(struct bh_virtq_packed_event){ bh_virtq_off_wrap(2, false),
							BH_VIRTQ_EVENT_DESC };
	else
		*bh_virtq_used_event(rig_avail(), RIG_SIZE) = RIG_SIZE + 2;
	for (unsigned int i = 0; i < 2 * RIG_SIZE; i++) {
		use(1);
		if (bh_vdq_wants_call(&rig_q)) {
			calls++;
			CU_ASSERT_EQUAL(i, RIG_SIZE + 2);
		}
	}
	CU_ASSERT_EQUAL(calls, 1);
}
BOTH(event_index_is_met_once)

static void polled_queue_asks_for_no_kicks(void)
{
	if (rig_packed) {
		CU_ASSERT_EQUAL(rig_event(RIG_DEVICE)->flags, BH_VIRTQ_EVENT_DISABLE);
		bh_vdq_kicks(&rig_q, true);
		CU_ASSERT_EQUAL(rig_event(RIG_DEVICE)->flags, BH_VIRTQ_EVENT_ENABLE);
		return;
	}
	CU_ASSERT_EQUAL(rig_used()->flags, BH_VIRTQ_USED_F_NO_NOTIFY);
	bh_vdq_kicks(&rig_q, true);
	CU_ASSERT_EQUAL(rig_used()->flags, 0);
}
BOTH(polled_queue_asks_for_no_kicks)

/* The driver of a split ring kicks if it passes avail_event (2.7.10). */
static void parked_event_index_is_never_met(void)
{
	uint64_t features = RIG_FEATURES | BH_VIRTIO_BIT(BH_VIRTIO_F_EVENT_IDX);
	uint16_t *event = bh_virtq_avail_event(rig_used(), RIG_SIZE);
	unsigned int kicks = 0;

	rig_packed = false;
	CU_ASSERT_EQUAL_FATAL(rig_start_with(RIG_SIZE, features), 0);
	for (unsigned int i = 0; i < 150000; i++) {
		uint16_t old = rig_avail()->idx;

		use(1);
		kicks += bh_virtq_need_event(*event, rig_avail()->idx, old);
	}
	CU_ASSERT_EQUAL(kicks, 0);
	bh_vdq_kicks(&rig_q, true);
	rig_add(RIG_DATA, 60, 0);
	CU_ASSERT_TRUE(
		bh_virtq_need_event(*event, rig_avail()->idx, (uint16_t)(rig_avail()->idx - 1)));
}

/* As a port does that moves packets by the run: looks, takes, gives back, round and round. */
static void runs_of_buffers_are_looked_at_and_taken(void)
{
	struct bh_vdq_one one[RIG_SIZE];

	rig_packed = true;
	CU_ASSERT_EQUAL_FATAL(rig_start_with(RIG_SIZE, RIG_FEATURES), 0);
	for (unsigned int round = 0; round < 20; round++) {
		uint16_t first = rig_next, flags = round & 1 ? BH_VIRTQ_DESC_F_WRITE : 0;

		CU_ASSERT_EQUAL(bh_vdq_peek(&rig_q, one, RIG_SIZE, round & 1), 0);
		for (unsigned int i = 0; i < 3; i++)
			rig_add(RIG_DATA + 64 * i, 60 + i, flags);
		CU_ASSERT_EQUAL(bh_vdq_peek(&rig_q, one, RIG_SIZE, !(round & 1)), 0);
		CU_ASSERT_EQUAL(bh_vdq_peek(&rig_q, one, 2, round & 1), 2);
		CU_ASSERT_EQUAL_FATAL(bh_vdq_peek(&rig_q, one, RIG_SIZE, round & 1), 3);
		for (unsigned int i = 0; i < 3; i++) {
			CU_ASSERT_EQUAL(one[i].id, (first + i) % RIG_SIZE + 100);
			CU_ASSERT_EQUAL(one[i].len, 60 + i);
			one[i].va[0] = (uint8_t)(round + i);
			CU_ASSERT_EQUAL(rig_mem[RIG_DATA + 64 * i], (uint8_t)(round + i));
		}
		bh_vdq_advance_avail(&rig_q, 3);
		bh_vdq_push_run(&rig_q, one[2].id, 3, 0);
		bh_vdq_flush(&rig_q);
	}
}

/* What is not the whole of its chain, or leads nowhere, ends the run before it. */
static void runs_end_before_what_is_not_simple(void)
{
	static const struct {
		uint64_t iova;
		uint32_t len;
		uint16_t flags;
	} odd[] = {
		{ RIG_IOVA + RIG_DATA, 60, BH_VIRTQ_DESC_F_NEXT },
		{ RIG_IOVA + RIG_DATA, 64, BH_VIRTQ_DESC_F_INDIRECT },
		{ RIG_IOVA + RIG_DATA, 60, BH_VIRTQ_DESC_F_WRITE },
		{ RIG_IOVA + RIG_DATA, 0, 0 },
		{ RIG_IOVA + RIG_DATA, BH_VDQ_MAX_BYTES + 1, 0 },
		{ RIG_IOVA + RIG_DATA, UINT32_MAX, 0 },
		{ RIG_IOVA - 1, 60, 0 },
		{ RIG_IOVA + RIG_BYTES - 59, 60, 0 },
		{ UINT64_MAX - 20, 60, 0 },
	};
	struct bh_vdq_one one[RIG_SIZE];

	rig_packed = true;
	for (unsigned int i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		CU_ASSERT_EQUAL_FATAL(rig_start_with(RIG_SIZE, RIG_FEATURES), 0);
		rig_add(RIG_DATA, 60, 0);
		rig_put(rig_next, odd[i].iova, odd[i].len, odd[i].flags, 0);
		rig_offer(1);
		rig_add(RIG_DATA, 60, 0);
		CU_ASSERT_EQUAL(bh_vdq_peek(&rig_q, one, RIG_SIZE, false), 1);
		CU_ASSERT_EQUAL(one[0].va[0], rig_mem[RIG_DATA]);
		CU_ASSERT_EQUAL(one[0].len, 60);
	}
}

#define PAIR(fn)                           \
	{ #fn "_split", fn##_split },      \
	{                                  \
#fn "_packed", fn##_packed \
	}

BH_SUITE_FIXTURE("vdq", rig_setup, rig_teardown, PAIR(buffers_go_round),
		 PAIR(full_ring_is_fetched_and_given_back_at_once), PAIR(chains_wrap_with_the_ring),
		 PAIR(indirect_tables_are_followed), PAIR(rewound_chains_come_again),
		 PAIR(chain_too_long_for_the_room_stays), PAIR(buffer_across_regions_is_in_pieces),
		 PAIR(ring_that_is_unmapped_comes_back), PAIR(driver_says_whether_it_wants_calls),
		 PAIR(event_index_is_met_once), PAIR(polled_queue_asks_for_no_kicks),
		 { "runs_of_buffers_are_looked_at_and_taken",
		   runs_of_buffers_are_looked_at_and_taken },
		 { "runs_end_before_what_is_not_simple", runs_end_before_what_is_not_simple },
		 { "parked_event_index_is_never_met", parked_event_index_is_never_met })

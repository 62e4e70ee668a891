/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ring arithmetic. Sizes and offsets are asserted in the headers; what is computed is compared here
 * with counting one by one.
 */
#include "unit.h"

#include <string.h>

#include "virtio/ring.h"
#include "virtio/virtio_net.h"

static void need_event_is_true_for_events_passed(void)
{
	static const uint16_t starts[] = { 0, 1, 100, 0x7fff, 0xfff0, 0xffff };

	for (unsigned int s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
		for (uint16_t count = 0; count < 40; count++) {
			for (int event = -45; event < 45; event++) {
				uint16_t from = starts[s], to = (uint16_t)(from + count);

				CU_ASSERT_EQUAL(
					bh_virtq_need_event((uint16_t)(from + event), to, from),
					event >= 0 && event < count);
			}
		}
	}
}

/* Walks a packed ring and says whether (off, wrap) was stepped on. */
static bool stepped_on(uint16_t size, uint16_t off, bool wrap, uint16_t count, uint16_t event,
		       bool event_wrap)
{
	while (count-- > 0) {
		if (off == event && wrap == event_wrap)
			return true;
		if (++off == size) {
			off = 0;
			wrap = !wrap;
		}
	}
	return false;
}

static void packed_need_event_is_true_for_descriptors_passed(void)
{
	static const uint16_t sizes[] = { 1, 2, 3, 7, 8 };

	for (unsigned int s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		uint16_t size = sizes[s];

		for (unsigned int step = 0; step < 2u * size; step++) {
			uint16_t off = (uint16_t)(step % size);
			bool wrap = step < size;

			for (uint16_t count = 0; count <= size; count++) {
				unsigned int end = step + count;
				uint16_t next = (uint16_t)(end % size);
				bool next_wrap = (end / size) % 2 == 0;

				for (unsigned int e = 0; e < 2u * size; e++) {
					uint16_t event = (uint16_t)(e % size);

					CU_ASSERT_EQUAL(bh_virtq_packed_need_event(
								BH_VIRTQ_EVENT_DESC,
								bh_virtq_off_wrap(event, e < size),
								next, next_wrap, count, size),
							stepped_on(size, off, wrap, count, event,
								   e < size));
				}
			}
		}
	}
}

static void packed_event_flags_rule(void)
{
	CU_ASSERT_TRUE(bh_virtq_packed_need_event(BH_VIRTQ_EVENT_ENABLE, 0, 5, true, 1, 8));
	CU_ASSERT_FALSE(bh_virtq_packed_need_event(BH_VIRTQ_EVENT_DISABLE, 0, 5, true, 1, 8));
	CU_ASSERT_FALSE(bh_virtq_packed_need_event(3, 0x8004, 5, true, 1, 8));
	/* Bits beyond the two are reserved. */
	CU_ASSERT_TRUE(bh_virtq_packed_need_event(0xfff0, 0, 5, true, 1, 8));
}

static void packed_flags_tell_available_from_used(void)
{
	for (int wrap = 0; wrap < 2; wrap++) {
		uint16_t avail = bh_virtq_packed_avail_flags(wrap);
		uint16_t used = bh_virtq_packed_used_flags(wrap);

		CU_ASSERT_EQUAL(!!(avail & BH_VIRTQ_DESC_F_AVAIL), wrap);
		CU_ASSERT_EQUAL(!!(avail & BH_VIRTQ_DESC_F_USED), !wrap);
		CU_ASSERT_EQUAL(!!(used & BH_VIRTQ_DESC_F_AVAIL), wrap);
		CU_ASSERT_EQUAL(!!(used & BH_VIRTQ_DESC_F_USED), wrap);
		for (int other = 0; other < 2; other++) {
			CU_ASSERT_EQUAL(bh_virtq_packed_is_avail(avail | 7, other), wrap == other);
			CU_ASSERT_EQUAL(bh_virtq_packed_is_used(used | 2, other), wrap == other);
			CU_ASSERT_FALSE(bh_virtq_packed_is_used(avail, other));
			CU_ASSERT_FALSE(bh_virtq_packed_is_avail(used, other));
		}
	}
	/* A zeroed ring holds nothing available to a device, nothing used to a driver. */
	CU_ASSERT_FALSE(bh_virtq_packed_is_avail(0, true));
	CU_ASSERT_FALSE(bh_virtq_packed_is_used(0, true));
}

static void split_parts_end_with_their_event_word(void)
{
	_Alignas(8) static uint8_t memory[4096];
	struct bh_virtq_avail *avail = (struct bh_virtq_avail *)(void *)memory;
	struct bh_virtq_used *used = (struct bh_virtq_used *)(void *)memory;

	for (unsigned int size = 1; size <= 256; size *= 2) {
		CU_ASSERT_EQUAL(bh_virtq_desc_bytes(size), 16 * size);
		CU_ASSERT_EQUAL(bh_virtq_avail_bytes(size), 6 + 2 * size);
		CU_ASSERT_EQUAL(bh_virtq_used_bytes(size), 6 + 8 * size);
		CU_ASSERT_PTR_EQUAL(bh_virtq_used_event(avail, size),
				    memory + bh_virtq_avail_bytes(size) - 2);
		CU_ASSERT_PTR_EQUAL(bh_virtq_avail_event(used, size),
				    memory + bh_virtq_used_bytes(size) - 2);
	}
}

static void notification_data_as_drawn(void)
{
	CU_ASSERT_EQUAL(bh_virtq_notify_split(3, 0xabcd), 0xabcd0003u);
	CU_ASSERT_EQUAL(bh_virtq_notify_packed(3, 0x1234, false), 0x12340003u);
	CU_ASSERT_EQUAL(bh_virtq_notify_packed(3, 0x1234, true), 0x92340003u);
}

static void features_have_their_names(void)
{
	unsigned int named = 0;

	for (unsigned int bit = 0; bit < 64; bit++)
		named += bh__virtio_net_feature_str(bit) != NULL;
	CU_ASSERT_EQUAL(named, 43);
	CU_ASSERT_STRING_EQUAL(bh__virtio_net_feature_str(0), "CSUM");
	CU_ASSERT_STRING_EQUAL(bh__virtio_net_feature_str(15), "MRG_RXBUF");
	CU_ASSERT_STRING_EQUAL(bh__virtio_net_feature_str(34), "RING_PACKED");
	CU_ASSERT_STRING_EQUAL(bh__virtio_net_feature_str(63), "SPEED_DUPLEX");
	CU_ASSERT_PTR_NULL(bh__virtio_net_feature_str(4));
	CU_ASSERT_PTR_NULL(bh__virtio_net_feature_str(64));
	CU_ASSERT_EQUAL(BH_VIRTIO_BIT(BH_VIRTIO_F_RING_PACKED), 0x400000000ull);
}

BH_SUITE("virtio_ring",
	 { "need_event_is_true_for_events_passed", need_event_is_true_for_events_passed },
	 { "packed_need_event_is_true_for_descriptors_passed",
	   packed_need_event_is_true_for_descriptors_passed },
	 { "packed_event_flags_rule", packed_event_flags_rule },
	 { "packed_flags_tell_available_from_used", packed_flags_tell_available_from_used },
	 { "split_parts_end_with_their_event_word", split_parts_end_with_their_event_word },
	 { "notification_data_as_drawn", notification_data_as_drawn },
	 { "features_have_their_names", features_have_their_names }, )

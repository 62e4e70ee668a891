/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtqueues in memory (virtio 1.2 2.7 split, 2.8 packed), and the arithmetic both sides need.
 *
 * Split: a table of descriptors, a ring of heads the driver makes available, a ring of heads the
 * device has used; free-running 16-bit indices, queue size a power of two up to 32768.
 *
 * Packed: one ring of descriptors, written by the driver and written over by the device. Each side
 * goes round with a wrap counter of one bit (1 at the start) that flips at the end of the ring. A
 * descriptor is available when its AVAIL bit is the driver's wrap counter and its USED bit is not;
 * it is used when both are the wrap counter. Any queue size up to 32768.
 */
#ifndef VIRTIO_RING_H
#define VIRTIO_RING_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BH_VIRTQ_MAX_SIZE 32768u

/* Flags of a descriptor. The last two are of packed rings. */
#define BH_VIRTQ_DESC_F_NEXT 1u
#define BH_VIRTQ_DESC_F_WRITE 2u /* the device writes */
#define BH_VIRTQ_DESC_F_INDIRECT 4u
#define BH_VIRTQ_DESC_F_AVAIL (1u << 7)
#define BH_VIRTQ_DESC_F_USED (1u << 15)

/* ---- split ---- */

struct bh_virtq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
static_assert(sizeof(struct bh_virtq_desc) == 16, "virtio 1.2 2.7.5");

#define BH_VIRTQ_AVAIL_F_NO_INTERRUPT 1u
struct bh_virtq_avail {
	uint16_t flags;
	uint16_t idx;
	uint16_t ring[]; /* queue size; behind it, with EVENT_IDX, used_event */
};
static_assert(offsetof(struct bh_virtq_avail, ring) == 4, "virtio 1.2 2.7.6");

struct bh_virtq_used_elem {
	uint32_t id;
	uint32_t len;
};
static_assert(sizeof(struct bh_virtq_used_elem) == 8, "virtio 1.2 2.7.8");

#define BH_VIRTQ_USED_F_NO_NOTIFY 1u
struct bh_virtq_used {
	uint16_t flags;
	uint16_t idx;
	struct bh_virtq_used_elem ring[]; /* queue size; behind it, with EVENT_IDX, avail_event */
};
static_assert(offsetof(struct bh_virtq_used, ring) == 4, "virtio 1.2 2.7.8");

#define BH_VIRTQ_DESC_ALIGN 16u
#define BH_VIRTQ_AVAIL_ALIGN 2u
#define BH_VIRTQ_USED_ALIGN 4u

/* Bytes of each part, the event words included. */
static inline size_t bh_virtq_desc_bytes(unsigned int size)
{
	return sizeof(struct bh_virtq_desc) * size;
}

static inline size_t bh_virtq_avail_bytes(unsigned int size)
{
	return sizeof(struct bh_virtq_avail) + sizeof(uint16_t) * size + sizeof(uint16_t);
}

static inline size_t bh_virtq_used_bytes(unsigned int size)
{
	return sizeof(struct bh_virtq_used) + sizeof(struct bh_virtq_used_elem) * size +
	       sizeof(uint16_t);
}

/* Where the event words lie: written by the driver, written by the device. */
static inline uint16_t *bh_virtq_used_event(struct bh_virtq_avail *avail, unsigned int size)
{
	return &avail->ring[size];
}

static inline uint16_t *bh_virtq_avail_event(struct bh_virtq_used *used, unsigned int size)
{
	return (uint16_t *)(void *)&used->ring[size];
}

/*
 * Has the index the other side asked to be woken at been passed, going from `from` to `to` (2.7.10)?
 * True for event in [from, to).
 */
static inline bool bh_virtq_need_event(uint16_t event, uint16_t to, uint16_t from)
{
	return (uint16_t)(to - event - 1) < (uint16_t)(to - from);
}

/* ---- packed ---- */

struct bh_virtq_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};
static_assert(sizeof(struct bh_virtq_packed_desc) == 16, "virtio 1.2 2.8.13");
static_assert(offsetof(struct bh_virtq_packed_desc, flags) == 14, "virtio 1.2 2.8.13");

/* Event suppression (2.8.14): the driver area and the device area of a packed queue. */
#define BH_VIRTQ_EVENT_ENABLE 0u
#define BH_VIRTQ_EVENT_DISABLE 1u
#define BH_VIRTQ_EVENT_DESC 2u /* with EVENT_IDX: at desc_event_off */
#define BH_VIRTQ_EVENT_FLAGS_MASK 3u
struct bh_virtq_packed_event {
	uint16_t off_wrap; /* bits 0-14 offset, bit 15 wrap counter */
	uint16_t flags;
};
static_assert(sizeof(struct bh_virtq_packed_event) == 4, "virtio 1.2 2.8.14");

#define BH_VIRTQ_PACKED_ALIGN 16u
#define BH_VIRTQ_EVENT_ALIGN 4u

/* The AVAIL and USED bits of an available and of a used descriptor; wrap is 0 or 1. */
static inline uint16_t bh_virtq_packed_avail_flags(bool wrap)
{
	return wrap ? BH_VIRTQ_DESC_F_AVAIL : BH_VIRTQ_DESC_F_USED;
}

static inline uint16_t bh_virtq_packed_used_flags(bool wrap)
{
	return wrap ? BH_VIRTQ_DESC_F_AVAIL | BH_VIRTQ_DESC_F_USED : 0;
}

static inline bool bh_virtq_packed_is_avail(uint16_t flags, bool wrap)
{
	return (flags & (BH_VIRTQ_DESC_F_AVAIL | BH_VIRTQ_DESC_F_USED)) ==
	       bh_virtq_packed_avail_flags(wrap);
}

static inline bool bh_virtq_packed_is_used(uint16_t flags, bool wrap)
{
	return (flags & (BH_VIRTQ_DESC_F_AVAIL | BH_VIRTQ_DESC_F_USED)) ==
	       bh_virtq_packed_used_flags(wrap);
}

#define BH_VIRTQ_WRAP_BIT 0x8000u

static inline uint16_t bh_virtq_off_wrap(uint16_t off, bool wrap)
{
	return (uint16_t)(off | (wrap ? BH_VIRTQ_WRAP_BIT : 0));
}

/*
 * Wanted by the other side, after going `count` descriptors (at most the queue size) up to `next`
 * with the wrap counter `wrap` there? flags and off_wrap are the other side's, read once. Any value
 * of them is accepted: nonsense decides for or against, nothing else.
 */
static inline bool bh_virtq_packed_need_event(uint16_t flags, uint16_t off_wrap, uint16_t next,
					      bool wrap, uint16_t count, uint16_t size)
{
	uint16_t event = off_wrap & (uint16_t)~BH_VIRTQ_WRAP_BIT;

	flags &= BH_VIRTQ_EVENT_FLAGS_MASK;
	if (flags != BH_VIRTQ_EVENT_DESC)
		return flags == BH_VIRTQ_EVENT_ENABLE;
	/* Of the round before: as far behind the start of the ring as it is before its end. */
	if (!!(off_wrap & BH_VIRTQ_WRAP_BIT) != wrap)
		event = (uint16_t)(event - size);
	return bh_virtq_need_event(event, next, (uint16_t)(next - count));
}

/* ---- notification data (2.9, 4.1.5.2): what is written to the notify address ---- */

static inline uint32_t bh_virtq_notify_split(uint16_t vqn, uint16_t avail_idx)
{
	return vqn | (uint32_t)avail_idx << 16;
}

static inline uint32_t bh_virtq_notify_packed(uint16_t vqn, uint16_t off, bool wrap)
{
	return vqn | (uint32_t)bh_virtq_off_wrap(off, wrap) << 16;
}

#endif /* VIRTIO_RING_H */

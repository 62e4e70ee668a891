/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device-side queue, the client's memory in a memfd, and the driver's side of the ring written by
 * hand, so that a case can write into it whatever it likes. Split or packed by rig_packed, which the
 * two suites set. For one test program each: it defines functions.
 */
#ifndef TEST_VIRTIO_DEV_VDQ_RIG_H
#define TEST_VIRTIO_DEV_VDQ_RIG_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtio_dev/vdq_io.h"

#include "unit.h"

#define RIG_IOVA 0x100000000ull
#define RIG_BYTES 0x40000u
#define RIG_DESC 0x0u
#define RIG_DRIVER 0x8000u
#define RIG_DEVICE 0x10000u
#define RIG_TABLE 0x18000u /* an indirect table */
#define RIG_DATA 0x20000u
#define RIG_SIZE 8u
#define RIG_FEATURES                                                                       \
	(BH_VIRTIO_BIT(BH_VIRTIO_F_VERSION_1) | BH_VIRTIO_BIT(BH_VIRTIO_F_INDIRECT_DESC) | \
	 BH_VIRTIO_BIT(BH_VIRTIO_F_IN_ORDER))

static struct bh_cmem rig_cmem;
static struct bh_vdq rig_q;
static struct bh_vdq_seg rig_seg[BH_VDQ_MAX_SEGS];
static uint8_t *rig_mem;
static int rig_fd = -1;
static bool rig_packed;
static uint16_t rig_next; /* driver: where the next descriptor goes */
static bool rig_wrap;

static inline void rig_map(uint64_t offset, uint64_t len, uint32_t prot)
{
	CU_ASSERT_EQUAL_FATAL(bh_cmem_add(&rig_cmem, RIG_IOVA + offset, len, prot, BH_CMEM_MAPPED,
					  dup(rig_fd), offset),
			      0);
}

static inline int rig_start_with(uint16_t size, uint64_t features)
{
	const struct bh_vdq_conf conf = {
		.size = size,
		.desc = RIG_IOVA + RIG_DESC,
		.driver = RIG_IOVA + RIG_DRIVER,
		.device = RIG_IOVA + RIG_DEVICE,
		.features = features | (rig_packed ? BH_VIRTIO_BIT(BH_VIRTIO_F_RING_PACKED) : 0),
	};

	rig_next = 0;
	rig_wrap = true;
	memset(rig_mem, 0, RIG_DATA);
	return bh_vdq_start(&rig_q, &rig_cmem, &conf);
}

static inline int rig_setup(void)
{
	rig_fd = memfd_create("client", MFD_CLOEXEC);
	if (rig_fd < 0 || ftruncate(rig_fd, RIG_BYTES) ||
	    bh_cmem_init(&rig_cmem, NULL, NULL, 16, NULL))
		return 1;
	rig_mem = mmap(NULL, RIG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rig_fd, 0);
	if (rig_mem == MAP_FAILED ||
	    bh_cmem_add(&rig_cmem, RIG_IOVA, RIG_BYTES, BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE,
			BH_CMEM_MAPPED, dup(rig_fd), 0))
		return 1;
	return rig_start_with(RIG_SIZE, RIG_FEATURES);
}

static inline int rig_teardown(void)
{
	bh_vdq_stop(&rig_q);
	bh_cmem_fini(&rig_cmem);
	munmap(rig_mem, RIG_BYTES);
	close(rig_fd);
	return 0;
}

static inline struct bh_virtq_desc *rig_split_desc(unsigned int i)
{
	return (struct bh_virtq_desc *)(void *)(rig_mem + RIG_DESC) + i;
}

static inline struct bh_virtq_packed_desc *rig_packed_desc(unsigned int i)
{
	return (struct bh_virtq_packed_desc *)(void *)(rig_mem + RIG_DESC) + i;
}

static inline struct bh_virtq_avail *rig_avail(void)
{
	return (struct bh_virtq_avail *)(void *)(rig_mem + RIG_DRIVER);
}

static inline struct bh_virtq_used *rig_used(void)
{
	return (struct bh_virtq_used *)(void *)(rig_mem + RIG_DEVICE);
}

static inline struct bh_virtq_packed_event *rig_event(unsigned int area)
{
	return (struct bh_virtq_packed_event *)(void *)(rig_mem + area);
}

/* A descriptor at a place, not yet made available; next only matters to a split ring. */
static inline void rig_put(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags,
			   uint16_t next)
{
	if (rig_packed)
		*rig_packed_desc(i) = (struct bh_virtq_packed_desc){
			addr, len, (uint16_t)(i + 100),
			(uint16_t)(flags | bh_virtq_packed_avail_flags(rig_wrap))
		};
	else
		*rig_split_desc(i) = (struct bh_virtq_desc){ addr, len, flags, next };
}

/* The same in the indirect table. */
static inline void rig_put_table(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags,
				 uint16_t next)
{
	struct bh_virtq_desc *d = (struct bh_virtq_desc *)(void *)(rig_mem + RIG_TABLE) + i;

	if (rig_packed) /* flags lie behind the id */
		*(struct bh_virtq_packed_desc *)(void *)d =
			(struct bh_virtq_packed_desc){ addr, len, 0, flags };
	else
		*d = (struct bh_virtq_desc){ addr, len, flags, next };
}

/* Makes the chain that begins at the next place, `places` descriptors long there, available. */
static inline void rig_offer(uint16_t places)
{
	uint16_t n = rig_avail()->idx;

	if (!rig_packed) {
		rig_avail()->ring[n % rig_q.size] = rig_next % rig_q.size;
		__atomic_store_n(&rig_avail()->idx, (uint16_t)(n + 1), __ATOMIC_RELEASE);
	}
	rig_next = (uint16_t)(rig_next + places);
	if (rig_next >= rig_q.size) {
		rig_next = (uint16_t)(rig_next - rig_q.size);
		rig_wrap = !rig_wrap;
	}
}

/* A buffer of one descriptor. */
static inline void rig_add(uint32_t offset, uint32_t len, uint16_t flags)
{
	rig_put(rig_next, RIG_IOVA + offset, len, flags, 0);
	rig_offer(1);
}

static inline int rig_pop(struct bh_vdq_chain *c)
{
	return bh_vdq_pop(&rig_q, c, rig_seg, BH_VDQ_MAX_SEGS);
}

/* How many places of the ring the device has given back since `from`. */
static inline unsigned int rig_used_count(uint16_t from)
{
	return (uint16_t)(rig_used()->idx - from);
}

static inline bool rig_is_used(unsigned int i, bool wrap)
{
	return bh_virtq_packed_is_used(rig_packed_desc(i)->flags, wrap);
}

#endif

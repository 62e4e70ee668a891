/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA_MAP and DMA_UNMAP. */
#include <fcntl.h>
#include <sys/mman.h>

#include <bellhop/fault.h>

#include "rig.h"

#define RW (VFU_DMA_FLAG_READ | VFU_DMA_FLAG_WRITE)

static int memory;

static int setup(void)
{
	if (rig_setup() != 0)
		return -1;
	memory = rig_memfd(0x10000);
	return 0;
}

static int teardown(void)
{
	close(memory);
	return rig_teardown();
}

static const struct bh_cmem_region *region(uint64_t iova)
{
	return bh_cmem_find(bh_vfu_server_cmem(rig.server), iova);
}

static void modes_follow_fd_and_flags(void)
{
	CU_ASSERT_EQUAL(rig_map(0x10000, 0x1000, RW, memory, 0), 0);
	CU_ASSERT_EQUAL(region(0x10000)->mode, BH_CMEM_MAPPED);
	CU_ASSERT_EQUAL(rig_map(0x20000, 0x1000, RW | VFU_DMA_FLAG_MMAP, memory, 0x1000), 0);
	CU_ASSERT_EQUAL(region(0x20000)->mode, BH_CMEM_MAPPED);
	CU_ASSERT_EQUAL(rig_map(0x30000, 0x1000, RW | VFU_DMA_FLAG_FILE_IO, memory, 0x2000), 0);
	CU_ASSERT_EQUAL(region(0x30000)->mode, BH_CMEM_FILE);
	CU_ASSERT_EQUAL(rig_map(0x40000, 0x1000, VFU_DMA_FLAG_READ, -1, 0), 0);
	CU_ASSERT_EQUAL(region(0x40000)->mode, BH_CMEM_MESSAGE);
	CU_ASSERT_EQUAL(region(0x40000)->prot, BH_CMEM_PROT_READ);
	CU_ASSERT_EQUAL(rig.count[RIG_QUIESCE], 4);
	CU_ASSERT_EQUAL(rig.count[RIG_RESUME], 4);
}

static void mapped_memory_is_the_clients(void)
{
	struct bh_cmem_cache cache = { 0 };
	uint32_t *map = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	uint32_t *ptr;

	map[0x1404 / 4] = 0x600df00d;
	CU_ASSERT_EQUAL(rig_map(0xfff000000ull, 0x1000, RW, memory, 0x1400), 0);
	ptr = bh_cmem_ptr(bh_vfu_server_cmem(rig.server), &cache, 0xfff000004ull, 4,
			  BH_CMEM_PROT_READ);
	CU_ASSERT_PTR_NOT_NULL_FATAL(ptr);
	CU_ASSERT_EQUAL(*ptr, 0x600df00d);
	munmap(map, 0x10000);
}

static void map_checks_every_field(void)
{
	struct vfu_dma_map map = { .argsz = 31, .flags = RW, .size = 0x1000 };
	int two[2] = { memory, memory };
	uint32_t bit;

	CU_ASSERT_EQUAL(rig_call(VFU_DMA_MAP, &map, sizeof(map), &memory, 1), -EINVAL);
	for (bit = 4; bit < 32; bit++)
		CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW | 1u << bit, memory, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW | 12, memory, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW | VFU_DMA_FLAG_MMAP, -1, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW | VFU_DMA_FLAG_FILE_IO, -1, 0), -EINVAL);
	map.argsz = sizeof(map);
	CU_ASSERT_EQUAL(rig_call(VFU_DMA_MAP, &map, sizeof(map), two, 2), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(0, 0, RW, memory, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(UINT64_MAX - 0xfff, 0x1001, RW, -1, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(UINT64_MAX, 2, RW, -1, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(0, (8ull << 40) + 1, RW, -1, 0), -ENOSPC);
	CU_ASSERT_EQUAL(rig.count[RIG_QUIESCE], 0); /* nothing of that bothered the device */
	CU_ASSERT_EQUAL(rig_map(0, 0x10001, RW, memory, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW, memory, 0xf001), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW, memory, UINT64_MAX - 0xfff), -EINVAL);
	CU_ASSERT_PTR_NULL(region(0));
	CU_ASSERT_EQUAL(rig_map(UINT64_MAX - 0xfff, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_PTR_NOT_NULL(region(UINT64_MAX));
}

static void odd_fds_are_refused_and_closed(void)
{
	int before = rig_count_fds(), odd = eventfd(0, EFD_CLOEXEC), pipes[2], ro;
	char path[64];

	CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW, odd, 0), -EINVAL);
	CU_ASSERT_EQUAL(pipe2(pipes, O_CLOEXEC), 0);
	CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW, pipes[0], 0), -EINVAL);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	CU_ASSERT_EQUAL(rig_map(0, 0x1000, RW, ro, 0), -EACCES);
	CU_ASSERT_EQUAL(rig_map(0, 0x1000, VFU_DMA_FLAG_READ, ro, 0), 0);
	CU_ASSERT_EQUAL(rig_unmap(0, 0x1000, 0), 0);
	close(ro);
	close(odd);
	close(pipes[0]);
	close(pipes[1]);
	CU_ASSERT_EQUAL(rig_count_fds(), before);
}

static void overlap_is_eexist(void)
{
	int before;

	CU_ASSERT_EQUAL(rig_map(0x2000, 0x2000, RW, memory, 0), 0);
	before = rig_count_fds();
	CU_ASSERT_EQUAL(rig_map(0x2000, 0x2000, RW, memory, 0), -EEXIST);
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1001, RW, memory, 0), -EEXIST);
	CU_ASSERT_EQUAL(rig_map(0x3fff, 1, RW, -1, 0), -EEXIST);
	CU_ASSERT_EQUAL(rig_count_fds(), before);
	CU_ASSERT_EQUAL(rig_map(0x4000, 0x1000, RW, -1, 0), 0);
}

static void too_many_regions_is_einval(void)
{
	rig_disconnect();
	rig_stop();
	rig.opts.max_dma_maps = 3;
	rig_start();
	rig_connect();
	rig_negotiate();
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(rig_map(0x3000, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(rig_map(0x5000, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(rig_map(0x7000, 0x1000, RW, memory, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_unmap(0x3000, 0x1000, 0), 0);
	CU_ASSERT_EQUAL(rig_map(0x7000, 0x1000, RW, memory, 0), 0);
}

static void unmap_checks_every_field(void)
{
	struct {
		struct vfu_dma_unmap unmap;
		uint64_t pgsize, bitmap;
	} u = { { .argsz = 23, .address = 0x1000, .size = 0x1000 }, 4096, 8 };
	uint32_t bit;

	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, memory, 0), 0);
	CU_ASSERT_EQUAL(rig_call(VFU_DMA_UNMAP, &u, 24, NULL, 0), -EINVAL);
	u.unmap.argsz = (1 << 20) + 1;
	CU_ASSERT_EQUAL(rig_call(VFU_DMA_UNMAP, &u, 24, NULL, 0), -EINVAL);
	for (bit = 0; bit < 32; bit++)
		CU_ASSERT_EQUAL(rig_unmap(0x1000, 0x1000, 1u << bit), -EINVAL);
	CU_ASSERT_EQUAL(rig_unmap(0x1000, 0x1000, 3), -EINVAL);
	CU_ASSERT_EQUAL(rig_unmap(0, 0x1000, VFU_UNMAP_FLAG_ALL), -EINVAL);
	CU_ASSERT_EQUAL(rig_unmap(0x1000, 0, VFU_UNMAP_FLAG_ALL), -EINVAL);
	CU_ASSERT_EQUAL(rig_unmap(0, 0, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_unmap(0x2000, UINT64_MAX, 0), -EINVAL);
	u.unmap.flags = VFU_UNMAP_FLAG_DIRTY;
	u.unmap.argsz = 48;
	CU_ASSERT_EQUAL(rig_call(VFU_DMA_UNMAP, &u, sizeof(u), NULL, 0), -EINVAL);
	u.bitmap = UINT64_MAX - 7;
	CU_ASSERT_EQUAL(rig_call(VFU_DMA_UNMAP, &u, sizeof(u), NULL, 0), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(region(0x1000));
	CU_ASSERT_EQUAL(rig.count[RIG_QUIESCE], 1);
}

static void unmap_frees_the_fd(void)
{
	int before = rig_count_fds();
	const struct vfu_dma_unmap unmap = { .argsz = 24, .address = 0x1000, .size = 0x1000 };

	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW | VFU_DMA_FLAG_FILE_IO, memory, 0), 0);
	CU_ASSERT_EQUAL(rig_count_fds(), before + 1);
	/* SPDK sends the region's fd along */
	CU_ASSERT_EQUAL(rig_call(VFU_DMA_UNMAP, &unmap, sizeof(unmap), &memory, 1), 0);
	CU_ASSERT_EQUAL(rig_count_fds(), before);
	CU_ASSERT_EQUAL(rig.reason, BH_QUIESCE_UNMAP);
	CU_ASSERT_EQUAL(rig.q_iova, 0x1000);
	CU_ASSERT_EQUAL(rig.q_len, 0x1000);
	CU_ASSERT_EQUAL(rig_unmap(0x1000, 0x1000, 0), -ENOENT);
	CU_ASSERT_EQUAL(rig.count[RIG_QUIESCE], 2);
}

/* A guest's virtual IOMMU makes thousands of mappings, and descriptors are what all clients share.
 */
static void a_mapping_needs_no_fd(void)
{
	int before = rig_count_fds();
	uint64_t i;

	for (i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(rig_map(i << 20, 0x1000, RW, memory, 0), 0);
	CU_ASSERT_EQUAL(rig_count_fds(), before);
	CU_ASSERT_EQUAL(rig_map(i << 20, 0x1000, RW | VFU_DMA_FLAG_FILE_IO, memory, 0), 0);
	CU_ASSERT_EQUAL(rig_count_fds(), before + 1);
}

/* So is the process's address space. */
static void mappings_are_limited_in_sum(void)
{
	const uint64_t tib = 1ull << 40;
	int huge = rig_memfd(0);
	uint64_t i;

#ifdef __SANITIZE_THREAD__
	close(huge);
	unit_skip("ThreadSanitizer leaves no room for it");
#endif
	if (ftruncate(huge, (off_t)(3 * tib)) != 0) {
		close(huge);
		unit_skip("no sparse file of 3 TiB here");
	}
	CU_ASSERT_EQUAL(rig_map(0, 3 * tib, RW, huge, 0), 0);
	CU_ASSERT_EQUAL(rig_map(3 * tib, 3 * tib, RW, huge, 0), 0);
	CU_ASSERT_EQUAL(rig_map(6 * tib, 3 * tib, RW, huge, 0), -ENOSPC);
	CU_ASSERT_EQUAL(rig_map(6 * tib, 2 * tib, RW, huge, 0), 0);
	CU_ASSERT_EQUAL(rig_map(8 * tib, 0x1000, RW, huge, 0), -ENOSPC);
	for (i = 9; i < 40; i += 8) /* these take no room */
		CU_ASSERT_EQUAL(rig_map(i * tib, 8 * tib, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(rig_unmap(0, 3 * tib, 0), 0);
	CU_ASSERT_EQUAL(rig_map(0, 3 * tib, RW, huge, 0), 0);
	close(huge);
}

/* One client leaves the others mappings, slots of the fault guard and descriptors. */
static void a_client_has_a_share_of_the_process(void)
{
	struct bh_fault_range other = { .len = 0x1000 };
	uint64_t i;
	int rc = 0;

	for (i = 0; i < 64; i++)
		CU_ASSERT_EQUAL(rig_map(i << 20, 0x1000, RW | VFU_DMA_FLAG_FILE_IO, memory, 0), 0);
	CU_ASSERT_EQUAL(rig_map(i << 20, 0x1000, RW | VFU_DMA_FLAG_FILE_IO, memory, 0), -EINVAL);
	for (i = 64; i < 64 + 4096 && rc == 0; i++)
		rc = rig_map(i << 20, 0x1000, RW, memory, 0);
	CU_ASSERT_EQUAL(rc, 0);
	CU_ASSERT_EQUAL(rig_map(i << 20, 0x1000, RW, memory, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_map(i << 20, 0x1000, RW, -1, 0), 0); /* by messages */
	other.base = mmap(NULL, other.len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CU_ASSERT_EQUAL(bh_fault_range_add(&other), 0);
	bh_fault_range_remove(&other);
	munmap(other.base, other.len);
	CU_ASSERT_EQUAL(rig_unmap(64 << 20, 0x1000, 0), 0);
	CU_ASSERT_EQUAL(rig_map(64 << 20, 0x1000, RW, memory, 0), 0);
}

static void unmap_takes_what_lies_inside(void)
{
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(rig_map(0x3000, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(rig_map(0x8000, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(rig_unmap(0x1800, 0x2800, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_unmap(0x1000, 0x2800, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_unmap(0x0, 0x5000, 0), 0);
	CU_ASSERT_PTR_NULL(region(0x1000));
	CU_ASSERT_PTR_NULL(region(0x3000));
	CU_ASSERT_PTR_NOT_NULL(region(0x8000));
	/* tiles of a virtual IOMMU, the last one ending at 2^64 */
	CU_ASSERT_EQUAL(rig_unmap(0, 0x80000000, 0), 0);
	CU_ASSERT_EQUAL(rig_unmap(0x80000000, 0x80000000, 0), -ENOENT);
	CU_ASSERT_EQUAL(rig_map(UINT64_MAX - 0xfff, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(rig_unmap(0xfef00000, 0xffffffff01100000, 0), 0);
	CU_ASSERT_PTR_NULL(region(UINT64_MAX));
}

static void unmap_all_empties_the_table(void)
{
	CU_ASSERT_EQUAL(rig_unmap(0, 0, VFU_UNMAP_FLAG_ALL), 0);
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, memory, 0), 0);
	CU_ASSERT_EQUAL(rig_map(UINT64_MAX - 0xfff, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(rig_unmap(0, 0, VFU_UNMAP_FLAG_ALL), 0);
	CU_ASSERT_EQUAL(bh_vfu_server_cmem(rig.server)->table->count, 0);
}

static void disconnect_empties_the_table(void)
{
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, memory, 0), 0);
	rig_disconnect();
	CU_ASSERT_EQUAL(bh_vfu_server_cmem(rig.server)->table->count, 0);
	CU_ASSERT_EQUAL(rig.reason, BH_QUIESCE_DISCONNECT);
	CU_ASSERT_EQUAL(rig.reset_reason, BH_RESET_LOST);
}

BH_SUITE_FIXTURE("vfu_server_dma", setup, teardown,
		 { "modes_follow_fd_and_flags", modes_follow_fd_and_flags },
		 { "mapped_memory_is_the_clients", mapped_memory_is_the_clients },
		 { "map_checks_every_field", map_checks_every_field },
		 { "odd_fds_are_refused_and_closed", odd_fds_are_refused_and_closed },
		 { "overlap_is_eexist", overlap_is_eexist },
		 { "too_many_regions_is_einval", too_many_regions_is_einval },
		 { "unmap_checks_every_field", unmap_checks_every_field },
		 { "unmap_frees_the_fd", unmap_frees_the_fd },
		 { "a_mapping_needs_no_fd", a_mapping_needs_no_fd },
		 { "mappings_are_limited_in_sum", mappings_are_limited_in_sum },
		 { "a_client_has_a_share_of_the_process", a_client_has_a_share_of_the_process },
		 { "unmap_takes_what_lies_inside", unmap_takes_what_lies_inside },
		 { "unmap_all_empties_the_table", unmap_all_empties_the_table },
		 { "disconnect_empties_the_table", disconnect_empties_the_table }, )

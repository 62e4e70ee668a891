/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One region's mapping. The client may change the file's size later; that is what the fault guard
 * is for.
 */
#include <errno.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cmem/cmem.h"

#define SIZE_2M ((size_t)2 << 20)

/* The unit in which this file can be mapped. */
static size_t map_unit(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		return (size_t)fs.f_bsize;
	return (size_t)sysconf(_SC_PAGESIZE);
}

static int map_error(int err)
{
	switch (err) {
	case ENOMEM:
	case EAGAIN:
		return -ENOMEM;
	case EACCES:
	case EPERM: /* sealed against writing */
		return -EACCES;
	default:
		return -EINVAL;
	}
}

/*
 * Maps at an address congruent to the file offset modulo `align`, so that the kernel can use the
 * large pages the file is made of.
 */
static int map_congruent(struct bh_cmem_region *r, uint64_t offset, size_t align, int prot)
{
	size_t room = r->map_len + align;
	uint8_t *base, *va;

	if (room < r->map_len)
		return -ENOMEM;
	base = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -ENOMEM;
	va = base + ((uintptr_t)(offset - (uintptr_t)base) & (align - 1));
	if (mmap(va, r->map_len, prot, MAP_SHARED | MAP_FIXED, r->fd, (off_t)offset) ==
	    MAP_FAILED) {
		int rc = map_error(errno);

		munmap(base, room);
		return rc;
	}
	if (va > base)
		munmap(base, (size_t)(va - base));
	if (va + r->map_len < base + room)
		munmap(va + r->map_len, (size_t)(base + room - (va + r->map_len)));
	r->map_base = va;
	return 0;
}

static int map(struct bh_cmem_region *r)
{
	size_t unit = map_unit(r->fd), slack = r->fd_offset & (unit - 1), align = unit;
	uint64_t padding = slack + (unit - 1);
	int prot = PROT_NONE;

	if (r->len > SIZE_MAX - padding)
		return -EINVAL;
	/* The slack is part of what is rounded up. */
	r->map_len = (size_t)(r->len + padding) & ~(unit - 1);
	if (r->map_len >= SIZE_2M && align < SIZE_2M)
		align = SIZE_2M;
	if (r->prot & BH_CMEM_PROT_READ)
		prot |= PROT_READ;
	if (r->prot & BH_CMEM_PROT_WRITE)
		prot |= PROT_WRITE;

	int rc = map_congruent(r, r->fd_offset - slack, align, prot);
	if (rc == 0)
		r->va = (uint8_t *)r->map_base + slack;
	return rc;
}

int bh__cmem_region_open(struct bh_cmem_region *r, uint32_t *faults)
{
	int rc;

	if (r->mode == BH_CMEM_MESSAGE)
		return 0;
	rc = bh__cmem_file_check(r);
	if (rc < 0 || r->mode == BH_CMEM_FILE)
		return rc;
	rc = map(r);
	if (rc < 0)
		return rc;
	r->guard = (struct bh_fault_range){
		.base = r->map_base, .len = r->map_len, .fill = BH_FAULT_ZEROS, .counter = faults
	};
	rc = bh_fault_range_add(&r->guard);
	if (rc < 0) {
		munmap(r->map_base, r->map_len);
		r->map_base = NULL;
		r->va = NULL;
	}
	return rc;
}

void bh__cmem_region_close(struct bh_cmem_region *r)
{
	if (r->map_base) {
		/* The guard first: a late handler must not map pages where nothing is ours. */
		bh_fault_range_remove(&r->guard);
		munmap(r->map_base, r->map_len);
	}
	if (r->fd >= 0)
		close(r->fd);
}

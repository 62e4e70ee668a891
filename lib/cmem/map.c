/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One region: is its fd what the client says it is, and its mapping.
 *
 * The fd comes from a peer that may be wrong or hostile. It may be anything; it may be open for
 * less than the region promises; it may change its size later. The first two are refused here by
 * name, because mmap's own errors do not tell them apart and pread's come too late; the last one is
 * what the fault guard is for.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bellhop/range.h>

#include "cmem/cmem.h"

#define SIZE_2M ((size_t)2 << 20)

/* Regular files have a size to check; devices are reached by pread and have the offset's range. */
static int check_file(const struct bh_cmem_region *r)
{
	struct stat st;
	uint64_t size = INT64_MAX;

	if (fstat(r->fd, &st) < 0)
		return -EINVAL;
	if (S_ISREG(st.st_mode))
		size = (uint64_t)st.st_size;
	else if (r->mode == BH_CMEM_MAPPED || !(S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode)))
		return -EINVAL;
	return bh_range_inside(r->fd_offset, r->len, size) ? 0 : -EINVAL;
}

static int check_access(const struct bh_cmem_region *r)
{
	bool write = r->prot & BH_CMEM_PROT_WRITE;
	int flags = fcntl(r->fd, F_GETFL), how = flags & O_ACCMODE;

	if (flags < 0 || flags & O_PATH)
		return -EINVAL;
	/* pwrite() to such a file ignores its offset. */
	if (r->mode == BH_CMEM_FILE && write && flags & O_APPEND)
		return -EINVAL;
	if (write && how == O_RDONLY)
		return -EACCES;
	/* A mapping needs an fd open for reading whatever is done with it. */
	if (how == O_WRONLY && (r->mode == BH_CMEM_MAPPED || r->prot & BH_CMEM_PROT_READ))
		return -EACCES;
	return 0;
}

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
	rc = check_file(r);
	if (rc == 0)
		rc = check_access(r);
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

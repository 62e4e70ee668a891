/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is an fd what the client says it is?
 *
 * It comes from a peer that may be wrong or hostile. It may be anything; it may be open for less
 * than the region promises. Both are refused here by name, because mmap's own errors do not tell
 * them apart and pread's come too late. And it may be a file whose every use is answered by a
 * program of the peer's (FUSE) or by another machine, which need not answer at all: then fstat, a
 * page fault or pread would stop a thread that serves other clients too. So only memory and the
 * file systems of this machine's disks are used, and which of them it is is found out without
 * asking the file system: sealing is known to files in memory only, and the kernel's own tables
 * name the type of a mount.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <bellhop/range.h>

#include "cmem/cmem.h"

#define MEMORY_DEVICES 1u /* major number */
#define DEVICE_MEM 1u
#define DEVICE_ZERO 5u

static int mount_of(int fd)
{
	char path[64], line[128];
	int id = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (id < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "mnt_id: %d", &id) != 1)
			id = -1;
	fclose(f);
	return id;
}

/* proc(5): ID, parent, device, root, mount point, options, optional fields, "-", type. */
static bool mount_type(int id, char *type)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	char *line = NULL;
	size_t size = 0;
	const char *end;
	int here;

	if (!f)
		return false;
	while (!found && getline(&line, &size, f) > 0) {
		if (sscanf(line, "%d", &here) != 1 || here != id)
			continue;
		end = strstr(line, " - "); /* blanks within names are escaped */
		found = end && sscanf(end, " - %31s", type) == 1;
	}
	free(line);
	fclose(f);
	return found;
}

/* A mount of another name space is in no table of ours: what it is nobody can say. */
static bool is_local(int fd)
{
	static const char *const local[] = {
		"bcachefs", "btrfs",   "devtmpfs", "ext2",   "ext3",  "ext4", "f2fs", "hugetlbfs",
		"jfs",	    "overlay", "ramfs",	   "rootfs", "tmpfs", "xfs",  "zfs",
	};
	char type[32];
	int id;

	if (fcntl(fd, F_GET_SEALS) >= 0) /* memfd, tmpfs, hugetlbfs */
		return true;
	id = mount_of(fd);
	if (id < 0 || !mount_type(id, type))
		return false;
	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
		if (strcmp(type, local[i]) == 0)
			return true;
	return false;
}

/* Of character devices only those that are memory never wait for anything. */
static bool is_readable_device(const struct stat *st)
{
	return S_ISBLK(st->st_mode) ||
	       (S_ISCHR(st->st_mode) && major(st->st_rdev) == MEMORY_DEVICES &&
		(minor(st->st_rdev) == DEVICE_MEM || minor(st->st_rdev) == DEVICE_ZERO));
}

/* Regular files have a size to check; devices are reached by pread and have the offset's range. */
static int check_size(const struct bh_cmem_region *r)
{
	struct stat st;
	uint64_t size = INT64_MAX;

	if (fstat(r->fd, &st) < 0)
		return -EINVAL;
	if (S_ISREG(st.st_mode))
		size = (uint64_t)st.st_size;
	else if (r->mode == BH_CMEM_MAPPED || !is_readable_device(&st))
		return -EINVAL;
	return bh_range_inside(r->fd_offset, r->len, size) ? 0 : -EINVAL;
}

static int check_access(const struct bh_cmem_region *r, int flags)
{
	bool write = r->prot & BH_CMEM_PROT_WRITE;
	int how = flags & O_ACCMODE;

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

int bh__cmem_file_check(const struct bh_cmem_region *r)
{
	int flags = fcntl(r->fd, F_GETFL), rc;

	if (flags < 0 || flags & O_PATH || !is_local(r->fd))
		return -EINVAL;
	rc = check_size(r);
	return rc < 0 ? rc : check_access(r, flags);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What /proc and /sys say about memory: how much there is, and what a mapping is a mapping of.
 *
 * All of it is advice that may be out of date when it is acted upon. It keeps a request that cannot
 * be met from being tried at all, because trying may call the OOM killer, and makes messages
 * useful.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dma/dma.h"

#define HUGE_DIR "hugepages/hugepages-%zukB/"

/* One number in a file, or -1. */
static long read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	long n = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

static long huge_number(size_t page_size, int node, const char *what, char *path, size_t path_len)
{
	if (node < 0)
		snprintf(path, path_len, "/sys/kernel/mm/" HUGE_DIR "%s", page_size >> 10, what);
	else
		snprintf(path, path_len, "/sys/devices/system/node/node%d/" HUGE_DIR "%s", node,
			 page_size >> 10, what);
	return read_number(path);
}

long bh__huge_free(size_t page_size, int node)
{
	char path[128];
	long avail = huge_number(page_size, -1, "free_hugepages", path, sizeof(path));
	long resv = huge_number(page_size, -1, "resv_hugepages", path, sizeof(path));

	if (avail < 0)
		return -1;
	if (resv > 0)
		avail = avail > resv ? avail - resv : 0;
	if (node >= 0) {
		long here = huge_number(page_size, node, "free_hugepages", path, sizeof(path));

		avail = here < avail ? here : avail;
	}
	return avail;
}

long bh__huge_reserved(size_t page_size, int node, char *path, size_t path_len)
{
	return huge_number(page_size, node, "nr_hugepages", path, path_len);
}

/* Adds up the named fields of a meminfo or memory.stat file; false: it cannot be read. */
static bool sum_fields(const char *path, const char *const names[], size_t count, uint64_t *sum)
{
	char line[160];
	FILE *f = fopen(path, "re");

	*sum = 0;
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		bool node = strncmp(line, "Node ", 5) == 0;
		char *at = node ? line + 5 + strcspn(line + 5, " ") : line;
		char name[64];
		unsigned long long n;

		if (sscanf(at, " %63[^: ]%*[: ]%llu", name, &n) != 2)
			continue;
		for (size_t i = 0; i < count; i++) {
			if (strcmp(name, names[i]) == 0)
				*sum += n;
		}
	}
	fclose(f);
	return true;
}

static uint64_t cgroup_dir_available(const char *dir)
{
	static const char *const cache[] = { "active_file", "inactive_file" };
	char path[4200];
	long max, current;
	uint64_t reclaimable;

	snprintf(path, sizeof(path), "%s/memory.max", dir);
	max = read_number(path);
	snprintf(path, sizeof(path), "%s/memory.current", dir);
	current = read_number(path);
	if (max < 0 || current < 0)
		return UINT64_MAX;
	snprintf(path, sizeof(path), "%s/memory.stat", dir);
	sum_fields(path, cache, 2, &reclaimable);
	if (current >= max)
		return reclaimable;
	return (uint64_t)(max - current) + reclaimable;
}

/* What control groups (version 2) leave us: the least of our group's and its ancestors'. */
static uint64_t cgroup_available(void)
{
	static const char root[] = "/sys/fs/cgroup";
	char line[2048], dir[4096] = "";
	uint64_t least = UINT64_MAX;
	FILE *f = fopen("/proc/self/cgroup", "re");

	if (!f)
		return UINT64_MAX;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) == 0)
			snprintf(dir, sizeof(dir), "%s%s", root, line + 3);
	}
	fclose(f);
	while (strlen(dir) >= sizeof(root) - 1) {
		uint64_t here = cgroup_dir_available(dir);
		char *slash = strrchr(dir, '/');

		least = here < least ? here : least;
		*slash = '\0';
	}
	return least;
}

uint64_t bh__memory_available(int node)
{
	static const char *const whole[] = { "MemAvailable" };
	static const char *const part[] = { "MemFree", "Active(file)", "Inactive(file)" };
	uint64_t bytes = UINT64_MAX, n, group = cgroup_available();
	char path[80];

	if (sum_fields("/proc/meminfo", whole, 1, &n) && n)
		bytes = n << 10;
	if (node >= 0) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
		if (sum_fields(path, part, 3, &n) && n << 10 < bytes)
			bytes = n << 10;
	}
	return group < bytes ? group : bytes;
}

struct vma {
	unsigned long long start, end, offset, inode;
	unsigned major, minor;
	char perms[5];
};

/* The line of /proc/self/maps that holds addr. 1, 0: not mapped, -errno. */
static int find_vma(uintptr_t addr, struct vma *vma)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char *line = NULL;
	size_t size = 0;
	int found = 0;

	if (!f)
		return -errno;
	while (!found && getline(&line, &size, f) > 0) {
		int n = sscanf(line, "%llx-%llx %4s %llx %x:%x %llu", &vma->start, &vma->end,
			       vma->perms, &vma->offset, &vma->major, &vma->minor, &vma->inode);

		found = n == 7 && addr >= vma->start && addr < vma->end;
	}
	free(line);
	fclose(f);
	return found;
}

/*
 * Some file systems show another device number in maps than fstat() gives, so what is compared are
 * two lines of maps: the caller's mapping's and that of a mapping of fd made here.
 */
static int probe_vma(int fd, uint64_t fd_offset, size_t page_size, struct vma *vma)
{
	void *probe =
		mmap(NULL, page_size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)fd_offset);
	int rc;

	if (probe == MAP_FAILED)
		return 0;
	rc = find_vma((uintptr_t)probe, vma);
	munmap(probe, page_size);
	return rc;
}

int bh__mapping_is(const void *va, size_t len, int fd, uint64_t fd_offset, size_t page_size)
{
	uintptr_t at = (uintptr_t)va, end = at + len;
	struct vma want, have;
	int rc = probe_vma(fd, fd_offset, page_size, &want);

	while (rc == 1 && at < end) {
		rc = find_vma(at, &have);
		if (rc != 1)
			break;
		if (have.perms[3] != 's' || have.inode != want.inode || have.major != want.major ||
		    have.minor != want.minor ||
		    have.offset + (at - have.start) != fd_offset + (at - (uintptr_t)va))
			return 0;
		at = have.end;
	}
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much memory is free: /proc/meminfo, and the limits of this process's control group (version
 * 2) and the groups it is in. Page cache counts as free, the kernel gives it up for the asking.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "blk/ram_room.h"

#define CGROUPS "/sys/fs/cgroup"

/* The number behind `key` at the beginning of a line of `path`. */
static bool read_value(const char *path, const char *key, uint64_t *value)
{
	size_t len = strlen(key);
	unsigned long long number;
	bool found = false;
	char line[256];
	FILE *file = fopen(path, "re");

	while (file && !found && fgets(line, sizeof(line), file)) {
		found = strncmp(line, key, len) == 0 && sscanf(line + len, "%llu", &number) == 1;
		if (found)
			*value = number;
	}
	if (file)
		fclose(file);
	return found;
}

/* What one group leaves; "max" in its limit is no number. */
static uint64_t group_room(const char *dir)
{
	uint64_t max, used, cache = 0;
	char path[512];

	snprintf(path, sizeof(path), "%.480s/memory.max", dir);
	if (!read_value(path, "", &max))
		return UINT64_MAX;
	snprintf(path, sizeof(path), "%.480s/memory.current", dir);
	if (!read_value(path, "", &used))
		return UINT64_MAX;
	snprintf(path, sizeof(path), "%.480s/memory.stat", dir);
	read_value(path, "inactive_file ", &cache);
	used -= cache < used ? cache : used;
	return max > used ? max - used : 0;
}

static uint64_t groups_room(void)
{
	uint64_t room = UINT64_MAX;
	char line[300], dir[400];
	FILE *file = fopen("/proc/self/cgroup", "re");

	dir[0] = '\0';
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) == 0)
			snprintf(dir, sizeof(dir), CGROUPS "%s", line + 3);
	}
	if (file)
		fclose(file);
	while (strlen(dir) > strlen(CGROUPS)) {
		uint64_t here = group_room(dir);

		room = here < room ? here : room;
		*strrchr(dir, '/') = '\0';
	}
	return room;
}

uint64_t ram_room(void)
{
	uint64_t room = groups_room(), kib;

	if (read_value("/proc/meminfo", "MemAvailable:", &kib) && kib < room >> 10)
		room = kib << 10;
	return room;
}

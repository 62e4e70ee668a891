/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks of a device and their partitions, and the character devices beside them: mounted, swapped
 * to, held by a driver on top, or open in a process.
 *
 * Several signs are looked for because none is complete: mount tables are those of this and the
 * first process's namespaces, holders are known of in-kernel users that register themselves, and a
 * process that has a disk open registers nowhere. Before a device is taken away its block devices
 * are opened exclusively, too: each of the kernel's own users (a mount in whatever namespace, a
 * storage pool) makes that fail. It is not done for a look only, since the moment it lasts could
 * make somebody else's mount fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "pci/sysfs.h"

#define LINE_BYTES 4096

struct nodes {
	struct pci_use *use;
	const char *class_name;
	size_t count, room;
	char **path; /* "/dev/nvme0n1" */
};

struct disk {
	struct pci_use *use;
	const char *name;
	char path[PCI_PATH];	  /* "/dev/NAME" */
	char number[BH_PCI_NAME]; /* "259:0" */
};

static int find_holder(void *ctx, const char *name)
{
	const struct disk *disk = ctx;
	char path[PCI_PATH], dm[BH_PCI_NAME];

	bh__pci_path(path, "%s/class/block/%s/dm/name", disk->use->env->sys, name);
	if (bh__pci_read(path, dm, sizeof(dm)) == 0)
		return bh__pci_used(disk->use, "%s is held by %s (%s)", disk->name, name, dm);
	return bh__pci_used(disk->use, "%s is held by %s", disk->name, name);
}

/*
 * One line of mountinfo: id parent major:minor root point options... - type source options. The
 * number is the filesystem's, which is not always the disk's (btrfs has its own), so the source
 * counts, too.
 */
static bool is_mount_of(const struct disk *disk, char *line, const char **point)
{
	char *save = NULL, *word = strtok_r(line, " \n", &save);
	bool number = false;

	for (int at = 0; word && strcmp(word, "-") != 0; at++) {
		if (at == 2)
			number = strcmp(word, disk->number) == 0;
		else if (at == 4)
			*point = word;
		word = strtok_r(NULL, " \n", &save);
	}
	word = word ? strtok_r(NULL, " \n", &save) : NULL;
	word = word ? strtok_r(NULL, " \n", &save) : NULL;
	return *point && (number || (word && strcmp(word, disk->path) == 0));
}

static int find_mount(struct disk *disk, const char *process)
{
	char path[PCI_PATH], line[LINE_BYTES];
	int rc = 0;

	bh__pci_path(path, "%s/%s/mountinfo", disk->use->env->proc, process);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	while (rc == 0 && fgets(line, sizeof(line), file)) {
		const char *point = NULL;

		if (is_mount_of(disk, line, &point))
			rc = bh__pci_used(disk->use, "%s is mounted on %s (umount %s)", disk->name,
					  point, point);
	}
	fclose(file);
	return rc;
}

static int find_swap(struct disk *disk)
{
	char path[PCI_PATH], line[LINE_BYTES];
	int rc = 0;

	bh__pci_path(path, "%s/swaps", disk->use->env->proc);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	while (rc == 0 && fgets(line, sizeof(line), file)) {
		line[strcspn(line, " \t\n")] = '\0';
		if (strcmp(line, disk->path) == 0)
			rc = bh__pci_used(disk->use, "%s is used for swap (swapoff %s)", disk->name,
					  disk->path);
	}
	fclose(file);
	return rc;
}

/* Loop devices open their file as anybody does, without a claim on it. */
static int find_loop(void *ctx, const char *name)
{
	const struct disk *disk = ctx;
	char path[PCI_PATH], file[PCI_PATH];

	if (strncmp(name, "loop", 4) != 0)
		return 0;
	bh__pci_path(path, "%s/class/block/%s/loop/backing_file", disk->use->env->sys, name);
	if (bh__pci_read(path, file, sizeof(file)) != 0 || strcmp(file, disk->path) != 0)
		return 0;
	return bh__pci_used(disk->use, "%s is behind %s (losetup -d /dev/%s)", disk->name, name,
			    name);
}

/* A btrfs of several devices is mounted by the name of one; it lists all of them. */
static int find_btrfs(void *ctx, const char *name)
{
	const struct disk *disk = ctx;
	char path[PCI_PATH];

	bh__pci_path(path, "%s/fs/btrfs/%s/devices/%s", disk->use->env->sys, name, disk->name);
	if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	return bh__pci_used(disk->use, "%s is part of a mounted btrfs", disk->name);
}

static int try_exclusive(struct disk *disk)
{
	char path[PCI_PATH], number[BH_PCI_NAME];
	struct stat st;

	bh__pci_path(path, "%s/%s", disk->use->env->dev, disk->name);
	if (stat(path, &st) != 0 || !S_ISBLK(st.st_mode))
		return 0;
	snprintf(number, sizeof(number), "%u:%u", major(st.st_rdev), minor(st.st_rdev));
	if (strcmp(number, disk->number) != 0)
		return 0;
	int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == EBUSY)
		return bh__pci_used(disk->use,
				    "%s is claimed exclusively, by a mount in another "
				    "namespace or a storage pool",
				    disk->name);
	bh__fd_close(&fd);
	return 0;
}

static int look_at_disk(struct pci_use *use, const char *name)
{
	struct disk disk = { .use = use, .name = name };
	char path[PCI_PATH];

	bh__pci_path(disk.path, "/dev/%s", name);
	bh__pci_path(path, "%s/class/block/%s/dev", use->env->sys, name);
	bh__pci_read(path, disk.number, sizeof(disk.number));

	int rc = find_mount(&disk, "self");
	if (rc == 0)
		rc = find_mount(&disk, "1");
	if (rc == 0)
		rc = find_swap(&disk);
	if (rc == 0) {
		bh__pci_path(path, "%s/class/block/%s/holders", use->env->sys, name);
		rc = bh__pci_each(path, find_holder, &disk);
	}
	if (rc == 0 || rc == -ENOENT) {
		bh__pci_path(path, "%s/class/block", use->env->sys);
		rc = bh__pci_each(path, find_loop, &disk);
	}
	if (rc == 0) {
		bh__pci_path(path, "%s/fs/btrfs", use->env->sys);
		rc = bh__pci_each(path, find_btrfs, &disk);
		if (rc == -ENOENT)
			rc = 0;
	}
	if (rc == 0 && use->exclusive)
		rc = try_exclusive(&disk);
	return rc;
}

static int collect(void *ctx, const char *name)
{
	struct nodes *nodes = ctx;
	char path[PCI_PATH];

	if (!bh__pci_use_owns(nodes->use, nodes->class_name, name))
		return 0;
	if (strcmp(nodes->class_name, "block") == 0) {
		int rc = look_at_disk(nodes->use, name);

		if (rc != 0)
			return rc;
	}
	if (nodes->count == nodes->room) {
		size_t room = nodes->room ? 2 * nodes->room : 8;
		char **list = realloc(nodes->path, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		nodes->path = list;
		nodes->room = room;
	}
	bh__pci_path(path, "/dev/%s", name);
	nodes->path[nodes->count] = strdup(path);
	return nodes->path[nodes->count++] ? 0 : -ENOMEM;
}

static int find_process(struct nodes *nodes)
{
	struct bh_pci_holder holder;
	int rc = bh__pci_node_holder(nodes->use->env, (const char *const *)nodes->path,
				     nodes->count, &holder);

	if (rc != 1)
		return rc;
	return bh__pci_used(nodes->use, "process %d (%s) has %s open", holder.pid, holder.command,
			    holder.node);
}

int bh__pci_block_use(struct pci_use *use)
{
	static const char *const classes[] = { "block", "nvme", "nvme-generic" };
	struct nodes nodes = { .use = use };
	char path[PCI_PATH];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(classes) / sizeof(classes[0]); i++) {
		nodes.class_name = classes[i];
		bh__pci_path(path, "%s/class/%s", use->env->sys, classes[i]);
		rc = bh__pci_each(path, collect, &nodes);
		if (rc == -ENOENT)
			rc = 0;
	}
	if (rc == 0)
		rc = find_process(&nodes);
	for (size_t i = 0; i < nodes.count; i++)
		free(nodes.path[i]);
	free(nodes.path);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IOMMU groups: devices the IOMMU cannot tell apart are handed to user space together or not at
 * all. The kernel refuses a group while any member's driver does DMA of its own, without saying
 * which; this finds out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pci/sysfs.h"

struct members {
	const char *dir;
	struct bh_pci_group *group;
	size_t room;
};

/* Drivers that leave DMA to whoever owns the group: VFIO's, a placeholder, and PCI bridges'. */
static bool is_viable(const char *dir, const struct bh_pci_member *member)
{
	char path[PCI_PATH], cdev[BH_PCI_NAME];

	if (member->driver[0] == '\0' || strcmp(member->driver, "pci-stub") == 0 ||
	    strcmp(member->driver, "pcieport") == 0 || bh__pci_is_vfio_driver(member->driver))
		return true;
	bh__pci_path(path, "%s/%s/vfio-dev", dir, member->name);
	return bh__pci_find(path, "vfio", cdev);
}

static int add_member(void *ctx, const char *name)
{
	struct members *members = ctx;
	struct bh_pci_group *group = members->group;
	char path[PCI_PATH];

	if (group->count == members->room) {
		size_t room = members->room ? 2 * members->room : 8;
		struct bh_pci_member *list = realloc(group->member, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		group->member = list;
		members->room = room;
	}
	struct bh_pci_member *member = &group->member[group->count++];
	bh__pci_copy(member->name, sizeof(member->name), name);
	bh__pci_path(path, "%s/%s/driver", members->dir, name);
	bh__pci_link_name(path, member->driver, sizeof(member->driver));
	member->viable = is_viable(members->dir, member);
	group->viable = group->viable && member->viable;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct bh_pci_member *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int read_group(const struct pci_env *env, struct bh_pci_group *group)
{
	char path[PCI_PATH], name[BH_PCI_NAME];
	struct members members = { .dir = path, .group = group };

	bh__pci_path(path, "%s/kernel/iommu_groups/%d/type", env->sys, group->id);
	bh__pci_read(path, group->type, sizeof(group->type));
	bh__pci_path(path, "%s/kernel/iommu_groups/%d/name", env->sys, group->id);
	bh__pci_read(path, name, sizeof(name));
	group->noiommu = strcmp(name, "vfio-noiommu") == 0;
	group->viable = true;
	bh__pci_path(path, "%s/kernel/iommu_groups/%d/devices", env->sys, group->id);
	int rc = bh__pci_each(path, add_member, &members);
	if (rc == 0 && group->count > 0)
		qsort(group->member, group->count, sizeof(*group->member), by_name);
	return rc;
}

int bh_pci_group_read(const struct bh_pci_opts *opts, int group, struct bh_pci_group **out)
{
	struct pci_env env;

	*out = NULL;
	int rc = bh__pci_env(opts, &env);
	if (rc != 0)
		return rc;
	struct bh_pci_group *made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	made->id = group;
	rc = read_group(&env, made);
	if (rc != 0) {
		bh_pci_group_free(made);
		return rc;
	}
	*out = made;
	return 0;
}

void bh_pci_group_free(struct bh_pci_group *group)
{
	if (!group)
		return;
	free(group->member);
	free(group);
}

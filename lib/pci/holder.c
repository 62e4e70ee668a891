/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which process has a device node open. /proc says what each descriptor points to; descriptors of
 * other users' processes are hidden from all but root, and passed over.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pci/sysfs.h"

struct search {
	const struct pci_env *env;
	const char *const *nodes;
	size_t count;
	const char *pid;
	struct bh_pci_holder *out;
};

static int look_at_fd(void *ctx, const char *name)
{
	struct search *search = ctx;
	char path[PCI_PATH], target[PCI_PATH];

	bh__pci_path(path, "%s/%s/fd/%s", search->env->proc, search->pid, name);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return 0;
	target[n] = '\0';
	for (size_t i = 0; i < search->count; i++) {
		if (strcmp(target, search->nodes[i]) == 0) {
			bh__pci_copy(search->out->node, sizeof(search->out->node), target);
			return 1;
		}
	}
	return 0;
}

static int look_at_process(void *ctx, const char *name)
{
	struct search *search = ctx;
	struct bh_pci_holder *out = search->out;
	char path[PCI_PATH], *end;
	long pid = strtol(name, &end, 10);

	if (end == name || *end != '\0' || pid <= 0)
		return 0;
	search->pid = name;
	bh__pci_path(path, "%s/%s/fd", search->env->proc, name);
	if (bh__pci_each(path, look_at_fd, search) != 1)
		return 0;
	out->pid = (int)pid;
	bh__pci_path(path, "%s/%s/comm", search->env->proc, name);
	if (bh__pci_read(path, out->command, sizeof(out->command)) != 0)
		bh__pci_copy(out->command, sizeof(out->command), "?");
	return 1;
}

int bh__pci_node_holder(const struct pci_env *env, const char *const *nodes, size_t count,
			struct bh_pci_holder *out)
{
	struct search search = { .env = env, .nodes = nodes, .count = count, .out = out };

	memset(out, 0, sizeof(*out));
	return count == 0 ? 0 : bh__pci_each(env->proc, look_at_process, &search);
}

int bh_pci_vfio_holder(const struct bh_pci_opts *opts, const struct bh_pci_device *dev,
		       struct bh_pci_holder *out)
{
	char group[PCI_PATH], noiommu[PCI_PATH], cdev[PCI_PATH];
	const char *nodes[3];
	struct pci_env env;
	size_t count = 0;

	memset(out, 0, sizeof(*out));
	int rc = bh__pci_env(opts, &env);
	if (rc != 0)
		return rc;
	if (dev->iommu_group >= 0) {
		bh__pci_path(group, "/dev/vfio/%d", dev->iommu_group);
		bh__pci_path(noiommu, "/dev/vfio/noiommu-%d", dev->iommu_group);
		nodes[count++] = group;
		nodes[count++] = noiommu;
	}
	if (dev->cdev[0] != '\0') {
		bh__pci_path(cdev, "/dev/vfio/devices/%s", dev->cdev);
		nodes[count++] = cdev;
	}
	return bh__pci_node_holder(&env, nodes, count, out);
}

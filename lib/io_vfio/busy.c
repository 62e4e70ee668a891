/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is in the way: another process, this one with another DMA space, or a driver of the kernel. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "io_vfio/dev.h"

/* Whoever has a neighbour's cdev open owns the group as well. */
static bool find_holder(const struct io_vfio *v, struct bh_pci_holder *holder)
{
	struct bh_pci_device neighbour;
	struct bh_pci_group *group;
	struct bh_pci_addr addr;
	bool found = bh_pci_vfio_holder(NULL, &v->pci, holder) == 1;

	if (found || bh_pci_group_read(NULL, v->pci.iommu_group, &group) != 0)
		return found;
	for (size_t i = 0; i < group->count && !found; i++)
		found = bh_pci_addr_parse(group->member[i].name, &addr) == 0 &&
			bh_pci_device_read(NULL, &addr, &neighbour) == 0 &&
			bh_pci_vfio_holder(NULL, &neighbour, holder) == 1;
	bh_pci_group_free(group);
	return found;
}

bool io_vfio_is_held(const struct io_vfio *v)
{
	struct bh_pci_holder holder;

	return find_holder(v, &holder);
}

int io_vfio_fail_busy(const struct io_vfio *v, const char *node)
{
	struct bh_pci_holder holder;

	if (!find_holder(v, &holder))
		return io_vfio_fail(
			v, -EBUSY,
			"somebody has %s open, and it cannot be seen who: as root, `fuser -v "
			"/dev/vfio/* /dev/vfio/devices/*` shows it",
			node);
	if (holder.pid == (int)getpid())
		return io_vfio_fail(
			v, -EBUSY,
			"this program (%s, process %d) has %s open already: a device is open "
			"once, and devices of one IOMMU group (%d) have one DMA space in common",
			holder.command, holder.pid, holder.node, v->pci.iommu_group);
	return io_vfio_fail(v, -EBUSY, "%s (process %d) has it open, as %s: end that process first",
			    holder.command, holder.pid, holder.node);
}

bool io_vfio_is_viable(const struct io_vfio *v)
{
	struct bh_pci_group *group;
	bool viable = true;

	if (bh_pci_group_read(NULL, v->pci.iommu_group, &group) == 0) {
		viable = group->viable;
		bh_pci_group_free(group);
	}
	return viable;
}

int io_vfio_fail_not_viable(const struct io_vfio *v)
{
	struct bh_pci_group *group;
	char text[200] = "";
	size_t used = 0;

	if (bh_pci_group_read(NULL, v->pci.iommu_group, &group) != 0)
		return io_vfio_fail(v, -EBUSY, "another device of IOMMU group %d is in use",
				    v->pci.iommu_group);
	for (size_t i = 0; i < group->count && used < sizeof(text); i++) {
		const struct bh_pci_member *m = &group->member[i];

		if (!m->viable)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s (%s)",
						 used ? ", " : "", m->name, m->driver);
	}
	bh_pci_group_free(group);
	return io_vfio_fail(
		v, -EBUSY,
		"IOMMU group %d cannot be used while kernel drivers have devices in it: "
		"%s; bind them to vfio-pci too, with scripts/setup.sh",
		v->pci.iommu_group, text);
}

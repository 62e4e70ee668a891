/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What sysfs says of a device before anything is opened: is it there, behind an IOMMU, in VFIO's
 * hands?
 *
 * A device without an IOMMU is not used, whatever VFIO offers. Its DMA could reach all of memory,
 * and that a device reaches the pools it was given and nothing else is what everything here is
 * built on; nor would pools have addresses for it.
 */
#include <errno.h>
#include <string.h>

#include "io_vfio/dev.h"

enum iommu { PROTECTED, NONE, UNSAFE };

static enum iommu iommu_of(const struct bh_pci_opts *opts, const struct bh_pci_device *pci)
{
	struct bh_pci_group *group;
	bool noiommu = false;

	if (pci->iommu_group < 0)
		return NONE;
	if (bh_pci_group_read(opts, pci->iommu_group, &group) == 0) {
		noiommu = group->noiommu;
		bh_pci_group_free(group);
	}
	return noiommu ? UNSAFE : PROTECTED;
}

#define ENABLE_IOMMU                                                                 \
	"enable the IOMMU in the BIOS and with intel_iommu=on (or amd_iommu=on) on " \
	"the kernel's command line"

/* First: without one, vfio-pci does not even take it. */
static int check_iommu(const struct io_vfio *v, const struct bh_pci_opts *opts)
{
	switch (iommu_of(opts, &v->pci)) {
	case NONE:
		return io_vfio_fail(v, -EOPNOTSUPP,
				    "no IOMMU protects memory from it, so it is not "
				    "used: " ENABLE_IOMMU);
	case UNSAFE:
		return io_vfio_fail(v, -EOPNOTSUPP,
				    "VFIO's unsafe no-IOMMU mode gives it away, in which its DMA "
				    "reaches all memory of the machine, not only the pools it was "
				    "given, so it is not used: " ENABLE_IOMMU);
	default:
		return 0;
	}
}

int io_vfio_look(struct io_vfio *v, const struct bh_pci_opts *opts, const char *bdf)
{
	struct bh_pci_addr addr;
	int rc;

	rc = bh_pci_addr_parse(bdf, &addr);
	if (rc != 0)
		return io_vfio_fail(v, rc, "not a PCI address");
	rc = bh_pci_device_read(opts, &addr, &v->pci);
	if (rc == -ENODEV)
		return io_vfio_fail(v, rc, "no such PCI device: `bh-devices` lists what is there");
	if (rc != 0)
		return io_vfio_fail(v, rc, "reading sysfs: %s", strerror(-rc));
	v->dev.info.node = v->pci.node;
	rc = check_iommu(v, opts);
	if (rc != 0)
		return rc;
	if (v->pci.driver[0] == '\0')
		return io_vfio_fail(
			v, -EBUSY,
			"no driver has it: `PCI_ALLOWED=%s scripts/setup.sh` binds it to "
			"vfio-pci",
			bdf);
	if (!bh_pci_is_vfio(&v->pci))
		return io_vfio_fail(
			v, -EBUSY,
			"the kernel's driver %s has it: `PCI_ALLOWED=%s scripts/setup.sh` "
			"binds it to vfio-pci, if nothing uses it",
			v->pci.driver, bdf);
	return 0;
}

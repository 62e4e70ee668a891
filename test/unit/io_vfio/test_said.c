/* SPDX-License-Identifier: BSD-3-Clause */
/* Refusals of the kernel name what is in the way, and nothing else. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io_vfio/dev.h"
#include "pci/tree.h"
#include "unit.h"

static struct io_vfio device;
static struct io_vfio_share share;

static int setup(void)
{
	memset(&device, 0, sizeof(device));
	memset(&share, 0, sizeof(share));
	device.share = &share;
	device.pci.addr = (struct bh_pci_addr){ 0, 1, 0, 0 };
	if (tree_make() != 0)
		return -1;
	device.dev.log = tree_opts.log;
	device.dev.address = (char *)"0000:01:00.0";
	return 0;
}

static bool says(const char *text)
{
	return strstr(tree_said, text) != NULL;
}

/* 01:00.0 in group 4, its neighbours .1 and .2 in 5 and 6. */
static struct vfio_pci_hot_reset_info *three_devices(void)
{
	struct vfio_pci_hot_reset_info *info =
		calloc(1, sizeof(*info) + 3 * sizeof(info->devices[0]));

	CU_ASSERT_PTR_NOT_NULL_FATAL(info);
	info->count = 3;
	for (uint8_t i = 0; i < 3; i++) {
		info->devices[i].group_id = 4u + i;
		info->devices[i].bus = 1;
		info->devices[i].devfn = i;
	}
	return info;
}

static void only_foreign_groups_are_named(void)
{
	struct vfio_pci_hot_reset_info *info = three_devices();
	struct io_vfio_group own = { .id = 4, .fd = -1 }, other = { .id = 6, .fd = -1 };

	own.next = &other;
	share.groups = &own;
	CU_ASSERT_EQUAL(io_vfio_fail_reset(&device, info), -EBUSY);
	CU_ASSERT_TRUE(says("0000:01:00.1"));
	CU_ASSERT_FALSE(says("0000:01:00.2"));
	free(info);
}

static void only_what_the_iommufd_does_not_own_is_named(void)
{
	struct vfio_pci_hot_reset_info *info = three_devices();

	info->flags = UAPI_HOT_RESET_DEV_ID;
	info->devices[2].group_id = UAPI_HOT_RESET_NOT_OWNED;
	CU_ASSERT_EQUAL(io_vfio_fail_reset(&device, info), -EBUSY);
	CU_ASSERT_TRUE(says("0000:01:00.2"));
	CU_ASSERT_FALSE(says("0000:01:00.1"));
	free(info);
}

/* One is the kernel's lack, the other is what was done to the BAR's device. */
static void a_bar_that_has_gone_is_told_from_a_kernel_without_peers(void)
{
	const struct bh_mem mem = { .kind = BH_MEM_DMABUF, .len = 4096 };

	CU_ASSERT_EQUAL(io_vfio_cdev_path.explain_map(&device, &mem, -ENODEV), -ENODEV);
	CU_ASSERT_TRUE(says("closed or reset"));
	CU_ASSERT_EQUAL(io_vfio_cdev_path.explain_map(&device, &mem, -EINVAL), -EOPNOTSUPP);
	CU_ASSERT_TRUE(says("this kernel's iommufd"));
}

BH_SUITE_FIXTURE("io_vfio said", setup, tree_remove,
		 { "only_foreign_groups_are_named", only_foreign_groups_are_named },
		 { "only_what_the_iommufd_does_not_own_is_named",
		   only_what_the_iommufd_does_not_own_is_named },
		 { "a_bar_that_has_gone_is_told_from_a_kernel_without_peers",
		   a_bar_that_has_gone_is_told_from_a_kernel_without_peers }, )

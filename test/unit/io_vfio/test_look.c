/* SPDX-License-Identifier: BSD-3-Clause */
/* What is refused before anything is opened, and what is said then: on a machine made of files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io_vfio/dev.h"
#include "pci/tree.h"
#include "unit.h"

#define BDF "0000:01:00.0"

/* A device of which nothing is there but what looking takes. */
static int look(const char *bdf)
{
	struct io_vfio *v = calloc(1, sizeof(*v));
	int rc;

	CU_ASSERT_PTR_NOT_NULL_FATAL(v);
	v->dev.address = strdup(bdf);
	v->dev.log = tree_opts.log;
	tree_said[0] = '\0';
	rc = io_vfio_look(v, &tree_opts, bdf);
	free(v->dev.address);
	free(v);
	return rc;
}

static bool says(const char *text)
{
	return strstr(tree_said, text) != NULL;
}

static void in_vfios_hands_is_fine(void)
{
	tree_driver("vfio-pci");
	tree_pci(BDF, "8086:0a54", "0x010802", "vfio-pci", 12);
	CU_ASSERT_EQUAL(look(BDF), 0);
	CU_ASSERT_STRING_EQUAL(tree_said, "");
}

static void what_is_not_there_is_said(void)
{
	CU_ASSERT_EQUAL(look(BDF), -ENODEV);
	CU_ASSERT_TRUE(says("no such PCI device"));
	CU_ASSERT_EQUAL(look("01:00"), -EINVAL);
	CU_ASSERT_TRUE(says("not a PCI address"));
}

static void drivers_are_named(void)
{
	tree_driver("nvme");
	tree_pci(BDF, "8086:0a54", "0x010802", "nvme", 12);
	tree_pci("0000:02:00.0", "8086:0a54", "0x010802", "", 13);
	CU_ASSERT_EQUAL(look(BDF), -EBUSY);
	CU_ASSERT_TRUE(says("driver nvme has it") && says("scripts/setup.sh"));
	CU_ASSERT_EQUAL(look("0000:02:00.0"), -EBUSY);
	CU_ASSERT_TRUE(says("no driver has it") && says("scripts/setup.sh"));
}

static void without_an_iommu_it_is_refused(void)
{
	tree_driver("vfio-pci");
	tree_pci(BDF, "8086:0a54", "0x010802", "vfio-pci", -1);
	CU_ASSERT_EQUAL(look(BDF), -EOPNOTSUPP);
	CU_ASSERT_TRUE(says("no IOMMU protects memory") && says("intel_iommu=on"));
}

/* VFIO gives it away, with a group that is none: the name says so. */
static void unsafe_mode_is_refused_for_what_it_is(void)
{
	tree_driver("vfio-pci");
	tree_pci(BDF, "8086:0a54", "0x010802", "vfio-pci", 0);
	tree_dir("sys/kernel/iommu_groups/0/devices");
	tree_file("vfio-noiommu\n", "sys/kernel/iommu_groups/0/name");
	CU_ASSERT_EQUAL(look(BDF), -EOPNOTSUPP);
	CU_ASSERT_TRUE(says("unsafe no-IOMMU mode") && says("reaches all memory"));
	CU_ASSERT_TRUE(says("intel_iommu=on"));
}

BH_SUITE_FIXTURE("io_vfio look", tree_make, tree_remove,
		 { "in_vfios_hands_is_fine", in_vfios_hands_is_fine },
		 { "what_is_not_there_is_said", what_is_not_there_is_said },
		 { "drivers_are_named", drivers_are_named },
		 { "without_an_iommu_it_is_refused", without_an_iommu_it_is_refused },
		 { "unsafe_mode_is_refused_for_what_it_is",
		   unsafe_mode_is_refused_for_what_it_is }, )

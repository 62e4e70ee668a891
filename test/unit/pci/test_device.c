/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tree.h"

static struct bh_pci_addr at(const char *bdf)
{
	struct bh_pci_addr addr = { 0 };

	CU_ASSERT_EQUAL_FATAL(bh_pci_addr_parse(bdf, &addr), 0);
	return addr;
}

static int read_at(const char *bdf, struct bh_pci_device *dev)
{
	struct bh_pci_addr addr = at(bdf);

	return bh_pci_device_read(&tree_opts, &addr, dev);
}

static void every_attribute_is_read(void)
{
	static const char dir[] = "sys/devices/pci0000:00/0000:01:00.0";
	struct bh_pci_device dev;

	tree_driver("vfio-pci");
	tree_pci("0000:01:00.0", "8086:0a54", "0x010802\n", "vfio-pci", 12);
	tree_file("0x1028\n", "%s/subsystem_vendor", dir);
	tree_file("0x2020\n", "%s/subsystem_device", dir);
	tree_file("0x03\n", "%s/revision", dir);
	tree_file("1\n", "%s/enable", dir);
	tree_file("1\n", "%s/numa_node", dir);
	tree_file("vfio-pci\n", "%s/driver_override", dir);
	tree_dir("%s/vfio-dev/vfio3", dir);
	tree_file("0x00000000fe000000 0x00000000fe003fff 0x0000000000140204\n"
		  "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		  "0x000000e000000000 0x000000e0000fffff 0x000000000014220c\n"
		  "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
		  "0x000000000000c000 0x000000000000c01f 0x0000000000040101\n"
		  "0x0000000000000000 0x0000000000000fff 0x0000000030040200\n"
		  "0x00000000fe100000 0x00000000fe13ffff 0x000000000004e200\n"
		  "0x0000000000000000 0x0000000000000000 0x0000000000000000\n",
		  "%s/resource", dir);

	CU_ASSERT_EQUAL_FATAL(read_at("0000:01:00.0", &dev), 0);
	CU_ASSERT_STRING_EQUAL(dev.name, "0000:01:00.0");
	CU_ASSERT_EQUAL(dev.vendor, 0x8086);
	CU_ASSERT_EQUAL(dev.device, 0x0a54);
	CU_ASSERT_EQUAL(dev.subsystem_vendor, 0x1028);
	CU_ASSERT_EQUAL(dev.subsystem, 0x2020);
	CU_ASSERT_EQUAL(dev.class_code, 0x010802);
	CU_ASSERT_EQUAL(dev.revision, 3);
	CU_ASSERT_EQUAL(dev.node, 1);
	CU_ASSERT_EQUAL(dev.iommu_group, 12);
	CU_ASSERT(dev.enabled);
	CU_ASSERT(!dev.virtual_function);
	CU_ASSERT_STRING_EQUAL(dev.driver, "vfio-pci");
	CU_ASSERT_STRING_EQUAL(dev.driver_override, "vfio-pci");
	CU_ASSERT_STRING_EQUAL(dev.cdev, "vfio3");
	CU_ASSERT_EQUAL(dev.res[0].start, 0xfe000000);
	CU_ASSERT_EQUAL(dev.res[0].len, 0x4000);
	CU_ASSERT_EQUAL(dev.res[0].flags, BH_PCI_RES_MEM | BH_PCI_RES_MEM64);
	CU_ASSERT_EQUAL(dev.res[1].len, 0);
	CU_ASSERT_EQUAL(dev.res[2].len, 1 << 20);
	CU_ASSERT_EQUAL(dev.res[2].flags, BH_PCI_RES_MEM | BH_PCI_RES_MEM64 | BH_PCI_RES_PREFETCH);
	CU_ASSERT_EQUAL(dev.res[4].flags, BH_PCI_RES_IO);
	CU_ASSERT_EQUAL(dev.res[5].flags, BH_PCI_RES_MEM | BH_PCI_RES_DISABLED);
	CU_ASSERT_EQUAL(dev.res[BH_PCI_RESOURCE_ROM].len, 256 << 10);
}

static void missing_attributes_are_unknown(void)
{
	struct bh_pci_device dev;

	tree_pci("0000:02:00.0", "1234:5678", "", "", -1);
	tree_file("gone", "sys/devices/pci0000:00/0000:02:00.0/resource");
	CU_ASSERT_EQUAL_FATAL(read_at("0000:02:00.0", &dev), 0);
	CU_ASSERT_EQUAL(dev.node, -1);
	CU_ASSERT_EQUAL(dev.iommu_group, -1);
	CU_ASSERT_EQUAL(dev.class_code, 0);
	CU_ASSERT_STRING_EQUAL(dev.driver, "");
	CU_ASSERT_STRING_EQUAL(dev.driver_override, "");
	CU_ASSERT_STRING_EQUAL(dev.cdev, "");
	CU_ASSERT_EQUAL(dev.res[0].len, 0);
	CU_ASSERT(!bh_pci_is_vfio(&dev));
}

static void missing_device_is_enodev(void)
{
	struct bh_pci_device dev;
	struct bh_pci_opts opts = tree_opts;
	struct bh_pci_addr addr = at("0000:09:00.0");

	CU_ASSERT_EQUAL(read_at("0000:09:00.0", &dev), -ENODEV);
	opts.size = 3;
	CU_ASSERT_EQUAL(bh_pci_device_read(&opts, &addr, &dev), -EINVAL);
}

static void variant_drivers_are_vfio(void)
{
	static const struct {
		const char *driver;
		bool vfio;
	} cases[] = {
		{ "vfio-pci", true }, { "mlx5_vfio_pci", true }, { "nvgrace-gpu-vfio-pci", true },
		{ "nvme", false },    { "pci-stub", false },	 { "uio_pci_generic", false },
		{ "", false },
	};
	struct bh_pci_device dev = { .cdev = "" };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(dev.driver, sizeof(dev.driver), "%s", cases[i].driver);
		CU_ASSERT_EQUAL(bh_pci_is_vfio(&dev), cases[i].vfio);
	}
	strcpy(dev.cdev, "vfio0");
	CU_ASSERT(bh_pci_is_vfio(&dev));
}

static bool is_nvme(void *ctx, const struct bh_pci_device *dev)
{
	++*(int *)ctx;
	return dev->class_code == 0x010802;
}

static void scan_sorts_and_filters(void)
{
	struct bh_pci_device *list;
	size_t count;
	int asked = 0;

	tree_pci("0000:81:00.0", "144d:a808", "0x010802", "", -1);
	tree_pci("0000:02:00.0", "8086:1533", "0x020000", "", -1);
	tree_pci("0000:01:00.1", "144d:a808", "0x010802", "", -1);
	tree_dir("sys/bus/pci/devices/nonsense");
	tree_link("sys/devices/nothing", "sys/bus/pci/devices/0000:55:00.0");
	CU_ASSERT_EQUAL_FATAL(bh_pci_scan(&tree_opts, is_nvme, &asked, &list, &count), 0);
	CU_ASSERT_EQUAL_FATAL(count, 2);
	CU_ASSERT_EQUAL(asked, 3);
	CU_ASSERT_STRING_EQUAL(list[0].name, "0000:01:00.1");
	CU_ASSERT_STRING_EQUAL(list[1].name, "0000:81:00.0");
	bh_pci_list_free(list);
}

static void scan_of_many_grows(void)
{
	struct bh_pci_device *list;
	char bdf[BH_PCI_ADDR_TEXT];
	size_t count;

	for (unsigned int i = 0; i < 40; i++) {
		snprintf(bdf, sizeof(bdf), "0000:%02x:00.0", i);
		tree_pci(bdf, "144d:a808", "0x010802", "", -1);
	}
	CU_ASSERT_EQUAL_FATAL(bh_pci_scan(&tree_opts, NULL, NULL, &list, &count), 0);
	CU_ASSERT_EQUAL(count, 40);
	CU_ASSERT_STRING_EQUAL(list[39].name, "0000:27:00.0");
	bh_pci_list_free(list);
}

static void scan_without_a_bus_is_enoent(void)
{
	struct bh_pci_opts opts = tree_opts;
	struct bh_pci_device *list;
	size_t count;

	opts.sysfs_root = "/nonexistent";
	CU_ASSERT_EQUAL(bh_pci_scan(&opts, NULL, NULL, &list, &count), -ENOENT);
	CU_ASSERT_PTR_NULL(list);
	CU_ASSERT_EQUAL(bh_pci_scan(&tree_opts, NULL, NULL, &list, &count), 0);
	CU_ASSERT_EQUAL(count, 0);
	bh_pci_list_free(list);
}

static void group_says_which_member_spoils_it(void)
{
	struct bh_pci_group *group;

	tree_pci("0000:02:00.0", "8086:1533", "0x020000", "igb", 5);
	tree_pci("0000:01:00.0", "144d:a808", "0x010802", "vfio-pci", 5);
	tree_pci("0000:00:01.0", "8086:0001", "0x060400", "pcieport", 5);
	tree_pci("0000:03:00.0", "8086:0002", "0x020000", "", 5);
	tree_file("DMA-FQ\n", "sys/kernel/iommu_groups/5/type");
	CU_ASSERT_EQUAL_FATAL(bh_pci_group_read(&tree_opts, 5, &group), 0);
	CU_ASSERT_EQUAL_FATAL(group->count, 4);
	CU_ASSERT_EQUAL(group->id, 5);
	CU_ASSERT(!group->viable);
	CU_ASSERT(!group->noiommu);
	CU_ASSERT_STRING_EQUAL(group->type, "DMA-FQ");
	CU_ASSERT_STRING_EQUAL(group->member[0].name, "0000:00:01.0");
	CU_ASSERT(group->member[0].viable && group->member[1].viable && group->member[3].viable);
	CU_ASSERT_STRING_EQUAL(group->member[2].driver, "igb");
	CU_ASSERT(!group->member[2].viable);
	bh_pci_group_free(group);
	bh_pci_group_free(NULL);

	/* A driver with a character device of VFIO's is a variant driver, whatever it is called. */
	tree_dir("sys/devices/pci0000:00/0000:02:00.0/vfio-dev/vfio7");
	CU_ASSERT_EQUAL_FATAL(bh_pci_group_read(&tree_opts, 5, &group), 0);
	CU_ASSERT(group->viable);
	bh_pci_group_free(group);
}

static void group_without_an_iommu_is_told(void)
{
	struct bh_pci_group *group;

	tree_pci("0000:01:00.0", "144d:a808", "0x010802", "vfio-pci", 0);
	tree_file("vfio-noiommu\n", "sys/kernel/iommu_groups/0/name");
	CU_ASSERT_EQUAL_FATAL(bh_pci_group_read(&tree_opts, 0, &group), 0);
	CU_ASSERT(group->noiommu);
	bh_pci_group_free(group);
	CU_ASSERT_EQUAL(bh_pci_group_read(&tree_opts, 77, &group), -ENOENT);
	CU_ASSERT_PTR_NULL(group);
}

BH_SUITE_FIXTURE("device", tree_make, tree_remove,
		 { "every_attribute_is_read", every_attribute_is_read },
		 { "missing_attributes_are_unknown", missing_attributes_are_unknown },
		 { "missing_device_is_enodev", missing_device_is_enodev },
		 { "variant_drivers_are_vfio", variant_drivers_are_vfio },
		 { "scan_sorts_and_filters", scan_sorts_and_filters },
		 { "scan_of_many_grows", scan_of_many_grows },
		 { "scan_without_a_bus_is_enoent", scan_without_a_bus_is_enoent },
		 { "group_says_which_member_spoils_it", group_says_which_member_spoils_it },
		 { "group_without_an_iommu_is_told", group_without_an_iommu_is_told })

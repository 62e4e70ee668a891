/* SPDX-License-Identifier: BSD-3-Clause */
/* An NVMe drive with two partitions at 0000:01:00.0, a network card at 0000:02:00.0. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tree.h"

#define NVME "sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0"
#define NIC "sys/devices/pci0000:00/0000:02:00.0"

static char why[BH_PCI_WHY];

static int use_of(const char *bdf)
{
	struct bh_pci_addr addr;

	CU_ASSERT_EQUAL_FATAL(bh_pci_addr_parse(bdf, &addr), 0);
	return bh_pci_in_use(&tree_opts, &addr, why);
}

#define nvme_use() use_of("0000:01:00.0")
#define nic_use() use_of("0000:02:00.0")

static void block(const char *dir, const char *name, const char *number)
{
	tree_file(number, "%s/dev", dir);
	tree_dir("%s/holders", dir);
	tree_link(dir, "sys/class/block/%s", name);
}

static int make(void)
{
	int rc = tree_make();

	tree_pci("0000:01:00.0", "144d:a808", "0x010802", "nvme", 1);
	tree_link(NVME, "sys/class/nvme/nvme0");
	block(NVME "/nvme0n1", "nvme0n1", "259:0\n");
	block(NVME "/nvme0n1/nvme0n1p1", "nvme0n1p1", "259:1\n");
	block(NVME "/nvme0n1/nvme0n1p2", "nvme0n1p2", "259:2\n");
	tree_pci("0000:02:00.0", "8086:1533", "0x020000", "igb", 2);
	tree_file("0x1002\n", NIC "/net/eth0/flags");
	tree_link(NIC "/net/eth0", "sys/class/net/eth0");
	/* Somebody else's: a disk on another controller, mounted; another interface, up. */
	tree_pci("0000:01:00.1", "144d:a808", "0x010802", "nvme", 1);
	block("sys/devices/pci0000:00/0000:01:00.1/nvme/nvme1/nvme1n1", "nvme1n1", "259:10\n");
	tree_file("0x1003\n", "sys/devices/virtual/net/lo/flags");
	tree_link("sys/devices/virtual/net/lo", "sys/class/net/lo");
	tree_file("20 1 259:10 / / rw shared:1 - ext4 /dev/nvme1n1 rw\n"
		  "21 20 0:5 / /dev rw - devtmpfs udev rw\n",
		  "proc/self/mountinfo");
	tree_file("Filename Type Size Used Priority\n/dev/nvme1n1p9 partition 1 0 -2\n",
		  "proc/swaps");
	tree_dir("proc/9/fd");
	tree_link("/dev/nvme1n1", "proc/9/fd/4");
	return rc;
}

static void idle_devices_are_free(void)
{
	CU_ASSERT_EQUAL(nvme_use(), 0);
	CU_ASSERT_STRING_EQUAL(why, "");
	CU_ASSERT_EQUAL(nic_use(), 0);
	CU_ASSERT_EQUAL(use_of("0000:01:00.1"), 1);
	CU_ASSERT_STRING_EQUAL(why, "nvme1n1 is mounted on / (umount /)");
	CU_ASSERT_EQUAL(use_of("0000:33:00.0"), -ENODEV);
}

static void mounted_partition_counts(void)
{
	tree_file("30 1 259:2 / /data rw,relatime shared:9 master:1 - xfs /dev/root rw\n",
		  "proc/1/mountinfo");
	CU_ASSERT_EQUAL(nvme_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "nvme0n1p2 is mounted on /data (umount /data)");
}

static void mount_with_a_number_of_its_own_counts(void)
{
	tree_file("30 1 0:44 /sub /srv rw - btrfs /dev/nvme0n1p1 rw\n", "proc/1/mountinfo");
	CU_ASSERT_EQUAL(nvme_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "nvme0n1p1 is mounted on /srv (umount /srv)");
}

static void odd_mount_tables_are_survived(void)
{
	tree_file("\n-\n1 2 3\n30 1 259:2 /\n30 1 259:2 / - x\n - ext4 /dev/nvme0n1\n",
		  "proc/1/mountinfo");
	CU_ASSERT_EQUAL(nvme_use(), 0);
}

static void swap_counts(void)
{
	tree_file("Filename\n/dev/nvme0n1p1 partition 1 0 -2\n", "proc/swaps");
	CU_ASSERT_EQUAL(nvme_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "nvme0n1p1 is used for swap (swapoff /dev/nvme0n1p1)");
}

static void holders_count(void)
{
	tree_dir(NVME "/nvme0n1/nvme0n1p2/holders/dm-3");
	CU_ASSERT_EQUAL(nvme_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "nvme0n1p2 is held by dm-3");
	tree_file("vg-home\n", "sys/class/block/dm-3/dm/name");
	CU_ASSERT_EQUAL(nvme_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "nvme0n1p2 is held by dm-3 (vg-home)");
}

static void members_of_a_btrfs_count(void)
{
	tree_file("", "sys/fs/btrfs/features/raid1");
	CU_ASSERT_EQUAL(nvme_use(), 0);
	tree_link("sys/class/block/nvme0n1p1", "sys/fs/btrfs/1234-abcd/devices/nvme0n1p1");
	CU_ASSERT_EQUAL(nvme_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "nvme0n1p1 is part of a mounted btrfs");
}

static void loop_devices_count(void)
{
	tree_file("/dev/nvme0n1p1\n", "sys/class/block/loop4/loop/backing_file");
	CU_ASSERT_EQUAL(nvme_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "nvme0n1p1 is behind loop4 (losetup -d /dev/loop4)");
}

static void open_nodes_count(void)
{
	tree_dir("proc/4711/fd");
	tree_file("qemu-system-x86\n", "proc/4711/comm");
	tree_link("/dev/null", "proc/4711/fd/0");
	tree_link("/dev/nvme0", "proc/4711/fd/12");
	CU_ASSERT_EQUAL(nvme_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "process 4711 (qemu-system-x86) has /dev/nvme0 open");
	tree_unlink("proc/4711/fd/12");
	tree_link("/dev/nvme0n1p1", "proc/4711/fd/12");
	CU_ASSERT_EQUAL(nvme_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "process 4711 (qemu-system-x86) has /dev/nvme0n1p1 open");
}

static void multipath_namespaces_count(void)
{
	static const char subsystem[] = "sys/devices/virtual/nvme-subsystem/nvme-subsys7";

	tree_link(subsystem, "sys/class/nvme-subsystem/nvme-subsys7");
	tree_link(NVME, "%s/nvme0", subsystem);
	block("sys/devices/virtual/nvme-subsystem/nvme-subsys7/nvme7n1", "nvme7n1", "259:20\n");
	CU_ASSERT_EQUAL(nvme_use(), 0);
	tree_file("30 1 259:20 / /mp rw - xfs /dev/nvme7n1 rw\n", "proc/1/mountinfo");
	CU_ASSERT_EQUAL(nvme_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "nvme7n1 is mounted on /mp (umount /mp)");
}

static void interface_that_is_up_counts(void)
{
	tree_file("0x1003\n", NIC "/net/eth0/flags");
	CU_ASSERT_EQUAL(nic_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "network interface eth0 is up (ip link set eth0 down)");
	tree_file("Iface\tDestination\nlo\t0\neth0\t00000000\n", "proc/net/route");
	CU_ASSERT_EQUAL(nic_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "network interface eth0 is routed");
	tree_unlink("proc/net/route");
	tree_file("fe800000 40 00 00     eth0\nff000000 08 00 eth0\n", "proc/net/ipv6_route");
	CU_ASSERT_EQUAL(nic_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "network interface eth0 is up (ip link set eth0 down)");
	tree_file("20010db8 40 00 00     eth0\n", "proc/net/ipv6_route");
	CU_ASSERT_EQUAL(nic_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "network interface eth0 is routed");
}

static void interface_of_a_bridge_counts(void)
{
	tree_link("sys/devices/virtual/net/br0", NIC "/net/eth0/master");
	CU_ASSERT_EQUAL(nic_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "network interface eth0 belongs to br0");
	tree_unlink(NIC "/net/eth0/master");
	tree_link("sys/devices/virtual/net/eth0.5", NIC "/net/eth0/upper_eth0.5");
	CU_ASSERT_EQUAL(nic_use(), 1);
	CU_ASSERT_STRING_EQUAL(why, "network interface eth0 carries eth0.5");
}

static void hidden_interface_counts(void)
{
	tree_pci("0000:03:00.0", "1af4:1041", "0x020000", "virtio-pci", -1);
	CU_ASSERT_EQUAL(use_of("0000:03:00.0"), 0);
	tree_dir("sys/devices/pci0000:00/0000:03:00.0/virtio2");
	CU_ASSERT_EQUAL(use_of("0000:03:00.0"), 0);
	tree_dir("sys/devices/pci0000:00/0000:03:00.0/virtio2/net");
	CU_ASSERT_EQUAL(use_of("0000:03:00.0"), 1);
	CU_ASSERT_STRING_EQUAL(why, "its network interface is in another network namespace");
}

static void vfio_user_is_named(void)
{
	struct bh_pci_holder holder;
	struct bh_pci_device dev;
	struct bh_pci_addr addr = { .bus = 4 };

	tree_pci("0000:04:00.0", "144d:a808", "0x010802", "vfio-pci", 31);
	tree_dir("sys/devices/pci0000:00/0000:04:00.0/vfio-dev/vfio2");
	tree_dir("proc/77/fd");
	tree_link("/dev/vfio/3", "proc/77/fd/3");
	CU_ASSERT_EQUAL(use_of("0000:04:00.0"), 0);
	tree_link("/dev/vfio/31", "proc/77/fd/4");
	CU_ASSERT_EQUAL(use_of("0000:04:00.0"), 1);
	CU_ASSERT_STRING_EQUAL(why, "process 77 (?) has /dev/vfio/31 open");
	tree_unlink("proc/77/fd/4");
	tree_link("/dev/vfio/devices/vfio2", "proc/77/fd/4");
	tree_file("bh-perf\n", "proc/77/comm");
	CU_ASSERT_EQUAL_FATAL(bh_pci_device_read(&tree_opts, &addr, &dev), 0);
	CU_ASSERT_EQUAL_FATAL(bh_pci_vfio_holder(&tree_opts, &dev, &holder), 1);
	CU_ASSERT_EQUAL(holder.pid, 77);
	CU_ASSERT_STRING_EQUAL(holder.command, "bh-perf");
	CU_ASSERT_STRING_EQUAL(holder.node, "/dev/vfio/devices/vfio2");
}

BH_SUITE_FIXTURE("use", make, tree_remove, { "idle_devices_are_free", idle_devices_are_free },
		 { "mounted_partition_counts", mounted_partition_counts },
		 { "mount_with_a_number_of_its_own_counts", mount_with_a_number_of_its_own_counts },
		 { "odd_mount_tables_are_survived", odd_mount_tables_are_survived },
		 { "swap_counts", swap_counts }, { "holders_count", holders_count },
		 { "members_of_a_btrfs_count", members_of_a_btrfs_count },
		 { "loop_devices_count", loop_devices_count },
		 { "open_nodes_count", open_nodes_count },
		 { "multipath_namespaces_count", multipath_namespaces_count },
		 { "interface_that_is_up_counts", interface_that_is_up_counts },
		 { "interface_of_a_bridge_counts", interface_of_a_bridge_counts },
		 { "hidden_interface_counts", hidden_interface_counts },
		 { "vfio_user_is_named", vfio_user_is_named })

/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tree.h"

#define DIR "sys/devices/pci0000:00/0000:01:00.0"

static const struct bh_pci_addr addr = { .bus = 1 };
static struct tree_kernel kernel;

static int make(void)
{
	int rc = tree_make();

	kernel = (struct tree_kernel){ 0 };
	tree_driver("nvme");
	tree_driver("vfio-pci");
	tree_pci("0000:01:00.0", "144d:a808", "0x010802", "nvme", 1);
	return rc;
}

static const char *driver(void)
{
	static struct bh_pci_device dev;

	CU_ASSERT_EQUAL_FATAL(bh_pci_device_read(&tree_opts, &addr, &dev), 0);
	return dev.driver;
}

static void bind_and_restore(void)
{
	tree_kernel_start(&kernel);
	CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &addr, "vfio-pci"), 0);
	CU_ASSERT_STRING_EQUAL(driver(), "vfio-pci");
	CU_ASSERT_STRING_EQUAL(tree_read(DIR "/driver_override"), "vfio-pci\n");
	CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &addr, "vfio-pci"), 0);
	CU_ASSERT_EQUAL(bh_pci_restore(&tree_opts, &addr, "nvme", NULL), 0);
	CU_ASSERT_STRING_EQUAL(driver(), "nvme");
	CU_ASSERT_STRING_EQUAL(tree_read(DIR "/driver_override"), "\n");
	CU_ASSERT_EQUAL(bh_pci_restore(&tree_opts, &addr, "nvme", "nvme"), 0);
	CU_ASSERT_STRING_EQUAL(tree_read(DIR "/driver_override"), "nvme\n");
	tree_kernel_stop(&kernel);
}

static void unbind_leaves_none(void)
{
	tree_kernel_start(&kernel);
	CU_ASSERT_EQUAL(bh_pci_unbind(&tree_opts, &addr), 0);
	CU_ASSERT_STRING_EQUAL(driver(), "");
	CU_ASSERT_EQUAL(bh_pci_unbind(&tree_opts, &addr), 0);
	CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &addr, "vfio-pci"), 0);
	CU_ASSERT_EQUAL(bh_pci_restore(&tree_opts, &addr, "", ""), 0);
	CU_ASSERT_STRING_EQUAL(driver(), "");
	tree_kernel_stop(&kernel);
}

static void probe_is_repeated(void)
{
	kernel.late_probes = 2;
	tree_kernel_start(&kernel);
	CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &addr, "vfio-pci"), 0);
	CU_ASSERT_STRING_EQUAL(driver(), "vfio-pci");
	tree_kernel_stop(&kernel);
}

static void refusal_puts_everything_back(void)
{
	kernel.refuses = "vfio-pci";
	tree_opts.bind_timeout_ns = 300 * 1000 * 1000;
	tree_kernel_start(&kernel);
	CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &addr, "vfio-pci"), -ETIMEDOUT);
	CU_ASSERT_STRING_EQUAL(driver(), "nvme");
	CU_ASSERT_STRING_EQUAL(tree_read(DIR "/driver_override"), "\n");
	CU_ASSERT_PTR_NOT_NULL(strstr(tree_said, "0000:01:00.0: vfio-pci did not take it"));
	tree_kernel_stop(&kernel);
}

static void driver_that_holds_on_is_etimedout(void)
{
	kernel.holds_on = true;
	tree_opts.bind_timeout_ns = 100 * 1000 * 1000;
	tree_kernel_start(&kernel);
	CU_ASSERT_EQUAL(bh_pci_unbind(&tree_opts, &addr), -ETIMEDOUT);
	CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &addr, "vfio-pci"), -ETIMEDOUT);
	CU_ASSERT_STRING_EQUAL(driver(), "nvme");
	CU_ASSERT_STRING_EQUAL(tree_read(DIR "/driver_override"), "\n");
	tree_kernel_stop(&kernel);
}

static void used_device_is_left_alone(void)
{
	tree_dir(DIR "/nvme/nvme0/nvme0n1/holders/md0");
	tree_link(DIR "/nvme/nvme0/nvme0n1", "sys/class/block/nvme0n1");
	tree_kernel_start(&kernel);
	CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &addr, "vfio-pci"), -EBUSY);
	CU_ASSERT_STRING_EQUAL(tree_said, "0 pci 0000:01:00.0: in use: nvme0n1 is held by md0");
	CU_ASSERT_EQUAL(bh_pci_unbind(&tree_opts, &addr), -EBUSY);
	CU_ASSERT_EQUAL(bh_pci_restore(&tree_opts, &addr, NULL, NULL), -EBUSY);
	CU_ASSERT_STRING_EQUAL(driver(), "nvme");
	CU_ASSERT_STRING_EQUAL(tree_read(DIR "/driver_override"), "(null)\n");
	tree_kernel_stop(&kernel);
}

static void bad_requests_change_nothing(void)
{
	static const char *const names[] = { "", ".", "..", "a/b", "a b", "a\nb", NULL };
	const struct bh_pci_addr nobody = { .bus = 2 };
	char longer[BH_PCI_NAME + 1];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &addr, names[i]), -EINVAL);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &addr, longer), -EINVAL);
	CU_ASSERT_EQUAL(bh_pci_restore(&tree_opts, &addr, "nvme", "a/b"), -EINVAL);
	CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &addr, "uio"), -ENOENT);
	CU_ASSERT_STRING_EQUAL(tree_said,
			       "0 pci 0000:01:00.0: no driver uio is loaded (modprobe uio)");
	CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &nobody, "vfio-pci"), -ENODEV);
	CU_ASSERT_EQUAL(bh_pci_unbind(&tree_opts, &nobody), -ENODEV);
	tree_unlink(DIR "/driver_override");
	CU_ASSERT_EQUAL(bh_pci_bind(&tree_opts, &addr, "vfio-pci"), -EOPNOTSUPP);
	CU_ASSERT_STRING_EQUAL(driver(), "nvme");
}

BH_SUITE_FIXTURE("bind", make, tree_remove, { "bind_and_restore", bind_and_restore },
		 { "unbind_leaves_none", unbind_leaves_none },
		 { "probe_is_repeated", probe_is_repeated },
		 { "refusal_puts_everything_back", refusal_puts_everything_back },
		 { "driver_that_holds_on_is_etimedout", driver_that_holds_on_is_etimedout },
		 { "used_device_is_left_alone", used_device_is_left_alone },
		 { "bad_requests_change_nothing", bad_requests_change_nothing })

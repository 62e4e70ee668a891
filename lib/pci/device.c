/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What sysfs says of a device.
 *
 * A device's directory may vanish between any two reads, so one attribute decides whether it is
 * there (`vendor`, read last), and every other is optional: kernels differ in what they show, and
 * the values in the struct say "unknown" by themselves.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pci/sysfs.h"

/* Resource flags as sysfs shows them: Linux's, stable because the file shows them. */
#define RES_IO 0x00000100u
#define RES_MEM 0x00000200u
#define RES_PREFETCH 0x00002000u
#define RES_MEM64 0x00100000u
#define RES_DISABLED 0x10000000u
#define RES_UNSET 0x20000000u

#define RESOURCE_BYTES 4096 /* at most 20 lines of 57 */

bool bh__pci_is_vfio_driver(const char *driver)
{
	size_t len = strlen(driver);

	if (strncmp(driver, "vfio-", 5) == 0)
		return true;
	/* Variant drivers are called after their device: mlx5_vfio_pci, nvgrace-gpu-vfio-pci. */
	return len > 8 && (strcmp(driver + len - 8, "vfio-pci") == 0 ||
			   strcmp(driver + len - 8, "vfio_pci") == 0);
}

bool bh_pci_is_vfio(const struct bh_pci_device *dev)
{
	return dev->cdev[0] != '\0' || bh__pci_is_vfio_driver(dev->driver);
}

static uint32_t resource_flags(unsigned long long raw)
{
	uint32_t flags = 0;

	if (raw & RES_IO)
		flags |= BH_PCI_RES_IO;
	if (raw & RES_MEM)
		flags |= BH_PCI_RES_MEM;
	if (raw & RES_PREFETCH)
		flags |= BH_PCI_RES_PREFETCH;
	if (raw & RES_MEM64)
		flags |= BH_PCI_RES_MEM64;
	if (raw & (RES_DISABLED | RES_UNSET))
		flags |= BH_PCI_RES_DISABLED;
	return flags;
}

static void read_resources(const char *dir, struct bh_pci_device *dev)
{
	char path[PCI_PATH], text[RESOURCE_BYTES];

	bh__pci_path(path, "%s/resource", dir);
	if (bh__pci_read(path, text, sizeof(text)) != 0)
		return;
	const char *line = text;
	for (unsigned int i = 0; i < BH_PCI_RESOURCES && line; i++) {
		unsigned long long start, end, raw;

		if (sscanf(line, "%llx %llx %llx", &start, &end, &raw) != 3)
			return;
		if (raw != 0 && end > start && end - start != UINT64_MAX)
			dev->res[i] = (struct bh_pci_resource){
				.start = start,
				.len = end - start + 1,
				.flags = resource_flags(raw),
			};
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
}

static int64_t attribute(const char *dir, const char *name, int64_t absent)
{
	char path[PCI_PATH];

	bh__pci_path(path, "%s/%s", dir, name);
	return bh__pci_read_number(path, absent);
}

static void read_driver(const char *dir, struct bh_pci_device *dev)
{
	char path[PCI_PATH], group[BH_PCI_NAME], *end;

	bh__pci_path(path, "%s/driver", dir);
	bh__pci_link_name(path, dev->driver, sizeof(dev->driver));
	bh__pci_path(path, "%s/driver_override", dir);
	bh__pci_read(path, dev->driver_override, sizeof(dev->driver_override));
	if (strcmp(dev->driver_override, "(null)") == 0)
		dev->driver_override[0] = '\0';
	bh__pci_path(path, "%s/vfio-dev", dir);
	bh__pci_find(path, "vfio", dev->cdev);

	bh__pci_path(path, "%s/iommu_group", dir);
	dev->iommu_group = -1;
	if (bh__pci_link_name(path, group, sizeof(group)) == 0) {
		long number = strtol(group, &end, 10);

		if (end != group && *end == '\0' && number >= 0 && number <= INT32_MAX)
			dev->iommu_group = (int)number;
	}
}

static int read_device(const struct pci_env *env, const struct bh_pci_addr *addr,
		       struct bh_pci_device *dev)
{
	char dir[PCI_PATH], path[PCI_PATH];

	memset(dev, 0, sizeof(*dev));
	dev->addr = *addr;
	bh_pci_addr_format(addr, dev->name);
	if (!bh__pci_path(dir, "%s/bus/pci/devices/%s", env->sys, dev->name))
		return -ENAMETOOLONG;
	dev->device = (uint16_t)attribute(dir, "device", 0xffff);
	dev->subsystem_vendor = (uint16_t)attribute(dir, "subsystem_vendor", 0);
	dev->subsystem = (uint16_t)attribute(dir, "subsystem_device", 0);
	dev->class_code = (uint32_t)attribute(dir, "class", 0) & 0xffffffu;
	dev->revision = (uint8_t)attribute(dir, "revision", 0);
	dev->enabled = attribute(dir, "enable", 0) != 0;
	dev->node = (int)attribute(dir, "numa_node", -1);
	bh__pci_path(path, "%s/physfn", dir);
	dev->virtual_function = access(path, F_OK) == 0;
	read_driver(dir, dev);
	read_resources(dir, dev);
	int64_t vendor = attribute(dir, "vendor", -1);
	if (vendor < 0)
		return -ENODEV;
	dev->vendor = (uint16_t)vendor;
	return 0;
}

int bh_pci_device_read(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr,
		       struct bh_pci_device *out)
{
	struct pci_env env;
	int rc = bh__pci_env(opts, &env);

	return rc != 0 ? rc : read_device(&env, addr, out);
}

struct scan {
	const struct pci_env *env;
	bh_pci_match_fn match;
	void *ctx;
	struct bh_pci_device *list;
	size_t count, room;
};

static int scan_entry(void *ctx, const char *name)
{
	struct scan *scan = ctx;
	struct bh_pci_device dev;
	struct bh_pci_addr addr;

	if (bh_pci_addr_parse(name, &addr) != 0 || read_device(scan->env, &addr, &dev) != 0)
		return 0;
	if (scan->match && !scan->match(scan->ctx, &dev))
		return 0;
	if (scan->count == scan->room) {
		size_t room = scan->room ? 2 * scan->room : 16;
		struct bh_pci_device *list = realloc(scan->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		scan->list = list;
		scan->room = room;
	}
	scan->list[scan->count++] = dev;
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const struct bh_pci_device *x = a, *y = b;

	return bh_pci_addr_compare(&x->addr, &y->addr);
}

int bh_pci_scan(const struct bh_pci_opts *opts, bh_pci_match_fn match, void *ctx,
		struct bh_pci_device **out, size_t *count)
{
	char path[PCI_PATH];
	struct pci_env env;
	struct scan scan = { .env = &env, .match = match, .ctx = ctx };

	*out = NULL;
	*count = 0;
	int rc = bh__pci_env(opts, &env);
	if (rc != 0)
		return rc;
	bh__pci_path(path, "%s/bus/pci/devices", env.sys);
	rc = bh__pci_each(path, scan_entry, &scan);
	if (rc != 0) {
		free(scan.list);
		return rc;
	}
	if (scan.count > 0)
		qsort(scan.list, scan.count, sizeof(*scan.list), by_address);
	*out = scan.list;
	*count = scan.count;
	return 0;
}

void bh_pci_list_free(struct bh_pci_device *list)
{
	free(list);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which devices there are for our drivers, and what keeps each from being used. The checks go from
 * what takes most to mend (no IOMMU) to what takes least (a permission), and the first that fails
 * is the reason given.
 */
#include "devices.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLASS_NVME 0x010802

/* As in scripts/setup.sh, which a test compares. */
static const struct {
	uint16_t vendor, device;
	const char *type;
} ids[] = {
	{ 0x1af4, 0x1000, "virtio-net" },
	{ 0x1af4, 0x1041, "virtio-net" },
	/* 82576 */
	{ 0x8086, 0x10c9, "igb" },
	{ 0x8086, 0x10e6, "igb" },
	{ 0x8086, 0x10e7, "igb" },
	{ 0x8086, 0x10e8, "igb" },
	{ 0x8086, 0x1526, "igb" },
	{ 0x8086, 0x150a, "igb" },
	{ 0x8086, 0x1518, "igb" },
	{ 0x8086, 0x150d, "igb" },
	/* 82580 */
	{ 0x8086, 0x150e, "igb" },
	{ 0x8086, 0x150f, "igb" },
	{ 0x8086, 0x1510, "igb" },
	{ 0x8086, 0x1511, "igb" },
	{ 0x8086, 0x1516, "igb" },
	{ 0x8086, 0x1527, "igb" },
	/* I350, I210, I211, I354 */
	{ 0x8086, 0x1521, "igb" },
	{ 0x8086, 0x1522, "igb" },
	{ 0x8086, 0x1523, "igb" },
	{ 0x8086, 0x1524, "igb" },
	{ 0x8086, 0x1533, "igb" },
	{ 0x8086, 0x1536, "igb" },
	{ 0x8086, 0x1537, "igb" },
	{ 0x8086, 0x1538, "igb" },
	{ 0x8086, 0x157b, "igb" },
	{ 0x8086, 0x157c, "igb" },
	{ 0x8086, 0x1539, "igb" },
	{ 0x8086, 0x1f40, "igb" },
	{ 0x8086, 0x1f41, "igb" },
	{ 0x8086, 0x1f45, "igb" },
};

const char *devices_type(const struct bh_pci_device *dev)
{
	if (dev->class_code == CLASS_NVME)
		return "nvme";
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		if (ids[i].vendor == dev->vendor && ids[i].device == dev->device)
			return ids[i].type;
	}
	return NULL;
}

static bool is_wanted(void *ctx, const struct bh_pci_device *dev)
{
	const struct devices_opts *opts = ctx;

	if (opts->num_named == 0)
		return devices_type(dev) != NULL;
	for (size_t i = 0; i < opts->num_named; i++) {
		if (bh_pci_addr_compare(&opts->named[i], &dev->addr) == 0)
			return true;
	}
	return false;
}

__attribute__((format(printf, 2, 3))) static void because(struct devices_entry *e, const char *fmt,
							  ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(e->why, sizeof(e->why), fmt, args);
	va_end(args);
}

/* May this user read and write /dev/...? 0 or -errno. */
__attribute__((format(printf, 2, 3))) static int try_node(const char *dev_root, const char *fmt,
							  ...)
{
	char path[BH_PCI_NAME], full[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	snprintf(full, sizeof(full), "%.400s/%s", dev_root, path);
	return access(full, R_OK | W_OK) == 0 ? 0 : -errno;
}

static void why_no_way_in(struct devices_entry *e, int group, int cdev)
{
	if (group == -EACCES)
		because(e, "no permission for /dev/vfio/%d (TARGET_USER=NAME scripts/setup.sh)",
			e->group->id);
	else if (cdev == -EACCES)
		because(e,
			"no permission for /dev/vfio/devices/%s or /dev/iommu "
			"(TARGET_USER=NAME scripts/setup.sh)",
			e->pci.cdev);
	else
		because(e, "VFIO's nodes are missing in /dev/vfio (modprobe vfio_iommu_type1)");
}

static void find_ways_in(const char *dev_root, struct devices_entry *e)
{
	int group = try_node(dev_root, "vfio/%d", e->group->id), cdev = -ENOENT;

	if (group == 0)
		group = try_node(dev_root, "vfio/vfio");
	if (e->pci.cdev[0] != '\0') {
		cdev = try_node(dev_root, "vfio/devices/%.40s", e->pci.cdev);
		if (cdev == 0)
			cdev = try_node(dev_root, "iommu");
	}
	e->by_group = group == 0;
	e->by_cdev = cdev == 0;
	e->usable = e->by_group || e->by_cdev;
	if (!e->usable)
		why_no_way_in(e, group, cdev);
}

static void name_spoilers(struct devices_entry *e)
{
	char others[DEVICES_WHY / 2] = "";
	size_t at = 0;

	for (size_t i = 0; i < e->group->count; i++) {
		const struct bh_pci_member *m = &e->group->member[i];

		if (m->viable || strcmp(m->name, e->pci.name) == 0 || at >= sizeof(others))
			continue;
		int n = snprintf(others + at, sizeof(others) - at, "%s%s (%s)", at ? ", " : "",
				 m->name, m->driver);
		at += n > 0 ? (size_t)n : 0;
	}
	because(e,
		"its IOMMU group also holds %s, which must go to vfio-pci too "
		"(PCI_ALLOWED=\"...\" scripts/setup.sh)",
		others);
}

static int judge(const struct devices_opts *opts, struct devices_entry *e)
{
	char used[BH_PCI_WHY];
	int in_use = bh_pci_in_use(opts->pci, &e->pci.addr, used);

	if (in_use < 0)
		return in_use;
	if (in_use)
		because(e, "in use: %s", used);
	else if (!e->group)
		because(e, "no IOMMU group (switch the IOMMU on: intel_iommu=on or amd_iommu=on)");
	else if (e->group->noiommu)
		because(e, "VFIO drives it without an IOMMU, which Bellhop does not use");
	else if (!bh_pci_is_vfio(&e->pci))
		because(e, "%s%s (scripts/setup.sh gives it to vfio-pci)",
			e->pci.driver[0] != '\0' ? "bound to " : "no driver", e->pci.driver);
	else if (!e->group->viable)
		name_spoilers(e);
	else
		find_ways_in(opts->pci->dev_root, e);
	return 0;
}

static void read_caps(const struct devices_opts *opts, struct devices_entry *e)
{
	struct bh_pci_config config;
	int rc = bh_pci_config_open(opts->pci, &e->pci.addr, false, &config);

	if (rc == 0)
		rc = bh_pci_caps_walk(bh_pci_config_read, &config, config.size, &e->caps);
	e->caps_why = rc != 0 ? "configuration space cannot be read" : e->caps.why;
	if (rc != 0)
		e->caps.count = 0;
	bh_pci_config_close(&config);
}

static int fill(struct app *app, const struct devices_opts *opts, struct devices_entry *e)
{
	const char *type = devices_type(&e->pci);

	e->type = type ? type : "other";
	if (e->pci.iommu_group >= 0) {
		int rc = bh_pci_group_read(opts->pci, e->pci.iommu_group, &e->group);

		if (rc != 0 && rc != -ENOENT)
			return app_fail(app, rc, "%s: its IOMMU group cannot be read: %s",
					e->pci.name, strerror(-rc));
	}
	int rc = judge(opts, e);
	if (rc == -ENODEV)
		because(e, "it has just gone");
	else if (rc != 0)
		return app_fail(app, rc, "%s: %s", e->pci.name, strerror(-rc));
	if (opts->verbose) {
		e->detailed = true;
		read_caps(opts, e);
	}
	return 0;
}

static int find_named(struct app *app, const struct devices_opts *opts,
		      const struct bh_pci_device *found, size_t count)
{
	char text[BH_PCI_ADDR_TEXT];

	for (size_t i = 0; i < opts->num_named; i++) {
		size_t j = 0;

		while (j < count && bh_pci_addr_compare(&opts->named[i], &found[j].addr) != 0)
			j++;
		if (j == count)
			return app_fail(app, -ENODEV, "%s: no such device",
					bh_pci_addr_format(&opts->named[i], text));
	}
	return 0;
}

int devices_find(struct app *app, const struct devices_opts *opts, struct devices_entry **out,
		 size_t *count)
{
	struct bh_pci_device *found;

	*out = NULL;
	*count = 0;
	int rc = bh_pci_scan(opts->pci, is_wanted, (void *)(uintptr_t)opts, &found, count);
	if (rc != 0)
		return app_fail(app, rc, "cannot look at the PCI bus in %s: %s",
				opts->pci->sysfs_root, strerror(-rc));
	struct devices_entry *list = calloc(*count ? *count : 1, sizeof(*list));
	rc = list ? find_named(app, opts, found, *count) : app_fail(app, -ENOMEM, "out of memory");
	for (size_t i = 0; rc == 0 && i < *count; i++) {
		list[i].pci = found[i];
		rc = fill(app, opts, &list[i]);
	}
	bh_pci_list_free(found);
	if (rc != 0) {
		devices_free(list, *count);
		return rc;
	}
	*out = list;
	return 0;
}

void devices_free(struct devices_entry *list, size_t count)
{
	for (size_t i = 0; list && i < count; i++) {
		bh_pci_group_free(list[i].group);
		free(list[i].open);
	}
	free(list);
}

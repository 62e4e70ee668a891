/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device seen from inside: opened as a driver would open it, with no memory to reach, and a page
 * of each mappable BAR mapped as a driver would want it: write-combining where reads have no side
 * effects, uncached elsewhere. Nothing in the device is written to.
 */
#include "devices.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void try_map(struct bh_device *dev, struct devices_open *open, unsigned int bar,
		    const struct bh_region_area *area, enum bh_attr want)
{
	struct devices_map *m = &open->map[open->num_maps++];
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct bh_map map = { 0 };

	m->bar = bar;
	m->wanted = want;
	m->offset = area->offset;
	m->len = area->len < page ? area->len : page;
	m->error = bh_device_map_bar(dev, bar, m->offset, m->len, want, 0, &map);
	m->mapped = m->error == 0;
	if (!m->mapped)
		return;
	m->requested = map.requested;
	m->attr = map.attr;
	m->why = map.why;
	bh_device_unmap_bar(dev, &map);
}

static void try_bars(struct bh_device *dev, const struct bh_pci_device *pci,
		     struct devices_open *open)
{
	for (unsigned int bar = 0; bar < BH_PCI_RESOURCE_ROM; bar++) {
		struct bh_region_info info;
		bool prefetch = (pci->res[bar].flags & BH_PCI_RES_PREFETCH) != 0;

		if (bh_device_region_info(dev, bar, &info) != 0 || !(info.flags & BH_REGION_MMAP))
			continue;
		for (unsigned int i = 0; i < info.num_areas && open->num_maps < DEVICES_MAPS; i++)
			try_map(dev, open, bar, &info.areas[i], prefetch ? BH_ATTR_WC : BH_ATTR_UC);
	}
}

static int open_device(struct app *app, const struct devices_opts *opts, const char *name,
		       struct bh_dma_space **space, struct bh_device **dev)
{
	struct bh_device_opts dev_opts;
	int rc = bh_dma_space_create(&app->log, space);

	if (rc != 0)
		return rc;
	bh_device_opts_init(&dev_opts);
	dev_opts.space = *space;
	dev_opts.log = &app->log;
	dev_opts.memattr_feature = opts->memattr;
	return bh_open(name, &dev_opts, dev);
}

void devices_look_inside(struct app *app, const struct devices_opts *opts,
			 struct devices_entry *entry)
{
	struct bh_dma_space *space = NULL;
	struct bh_device *dev = NULL;
	struct devices_open *open = calloc(1, sizeof(*open));

	if (!open)
		return;
	open->error = open_device(app, opts, entry->pci.name, &space, &dev);
	if (open->error == 0) {
		open->caps = bh_device_caps(dev);
		int n = bh_device_iova_windows(dev, open->window, DEVICES_WINDOWS);
		open->num_windows = n < 0 ? 0 : (unsigned int)n;
		if (open->num_windows > DEVICES_WINDOWS)
			open->num_windows = DEVICES_WINDOWS;
		if (open->caps & BH_CAP_REGION_MMAP)
			try_bars(dev, &entry->pci, open);
	}
	bh_device_close(dev);
	bh_dma_space_destroy(space);
	entry->open = open;
}

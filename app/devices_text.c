/* SPDX-License-Identifier: BSD-3-Clause */
/* What devices there are, for people: a line each, and with -v a paragraph. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <bellhop/parse.h>

#include "devices.h"

static const char *or_none(const char *text)
{
	return text[0] != '\0' ? text : "-";
}

static void print_line(const struct devices_entry *e)
{
	char node[16] = "-", group[16] = "-";

	if (e->pci.node >= 0)
		snprintf(node, sizeof(node), "%d", e->pci.node);
	if (e->pci.iommu_group >= 0)
		snprintf(group, sizeof(group), "%d", e->pci.iommu_group);
	printf("%-13s %-11s %04x:%04x  %-5s %-6s %-12s ", e->pci.name, e->type, e->pci.vendor,
	       e->pci.device, node, group, or_none(e->pci.driver));
	if (e->usable)
		printf("ready: %s%s%s\n", e->by_cdev ? "cdev" : "",
		       e->by_cdev && e->by_group ? ", " : "", e->by_group ? "group" : "");
	else
		printf("%s\n", e->why);
}

static void print_group(const struct bh_pci_group *group)
{
	printf("  IOMMU group %d%s%s%s:", group->id, group->type[0] ? " (" : "", group->type,
	       group->type[0] ? ")" : "");
	for (size_t i = 0; i < group->count; i++)
		printf("%s %s (%s)", i ? "," : "", group->member[i].name,
		       group->member[i].driver[0] ? group->member[i].driver : "no driver");
	printf("\n");
}

static void print_bar(unsigned int i, const struct bh_pci_resource *r)
{
	char size[32];

	if (r->len == 0)
		return;
	bh_format_size(r->len, size, sizeof(size));
	if (i == BH_PCI_RESOURCE_ROM)
		printf("  ROM    ");
	else
		printf("  BAR %u  ", i);
	printf("%-9s at 0x%" PRIx64 "%s%s%s%s\n", size, r->start,
	       r->flags & BH_PCI_RES_IO ? ", I/O ports" : "",
	       r->flags & BH_PCI_RES_MEM64 ? ", 64 bits" : "",
	       r->flags & BH_PCI_RES_PREFETCH ? ", prefetchable" : "",
	       r->flags & BH_PCI_RES_DISABLED ? ", disabled" : "");
}

static void print_caps(const struct devices_entry *e)
{
	for (unsigned int i = 0; i < e->caps.count; i++) {
		const struct bh_pci_cap *cap = &e->caps.cap[i];
		const char *name = bh_pci_cap_str(cap->id, cap->extended);

		printf("  cap    %03x %s", cap->offset, name ? name : "");
		if (!name)
			printf("%s0x%x", cap->extended ? "extended " : "", cap->id);
		printf("\n");
	}
	if (e->caps_why)
		printf("  cap    %s\n", e->caps_why);
}

static void print_map(const struct devices_map *m)
{
	printf("  map    BAR %u at 0x%" PRIx64 ": wanted %s, ", m->bar, m->offset,
	       app_attr_str(m->wanted));
	if (m->mapped)
		printf("granted %s, in force %s: %s\n", app_attr_str(m->requested),
		       app_attr_str(m->attr), m->why ? m->why : "");
	else
		printf("not mapped: %s\n", strerror(-m->error));
}

static void print_open(const struct devices_open *open)
{
	if (open->error != 0) {
		printf("  open   failed: %s\n", strerror(-open->error));
		return;
	}
	printf("  open  ");
	for (unsigned int bit = 0; bit < 64; bit++) {
		if ((open->caps >> bit & 1) != 0 && bh_cap_str(1ull << bit))
			printf(" %s", bh_cap_str(1ull << bit));
	}
	printf("\n");
	for (unsigned int i = 0; i < open->num_maps; i++)
		print_map(&open->map[i]);
	for (unsigned int i = 0; i < open->num_windows; i++)
		printf("  iova   0x%" PRIx64 " to 0x%" PRIx64 "\n", open->window[i].first,
		       open->window[i].last);
}

static void print_details(const struct devices_entry *e)
{
	printf("  class %06x, revision %02x, subsystem %04x:%04x%s%s%s\n", e->pci.class_code,
	       e->pci.revision, e->pci.subsystem_vendor, e->pci.subsystem,
	       e->pci.virtual_function ? ", a virtual function" : "",
	       e->pci.driver_override[0] ? ", driver_override " : "", e->pci.driver_override);
	if (e->group)
		print_group(e->group);
	for (unsigned int i = 0; i < BH_PCI_RESOURCES; i++)
		print_bar(i, &e->pci.res[i]);
	print_caps(e);
	if (e->open)
		print_open(e->open);
}

void devices_print_text(const struct devices_entry *list, size_t count)
{
	if (count == 0) {
		printf("no NVMe controller, virtio-net or igb card\n");
		return;
	}
	printf("%-13s %-11s %-9s  %-5s %-6s %-12s %s\n", "ADDRESS", "TYPE", "ID", "NODE", "GROUP",
	       "DRIVER", "USE");
	for (size_t i = 0; i < count; i++) {
		print_line(&list[i]);
		if (list[i].detailed)
			print_details(&list[i]);
	}
}

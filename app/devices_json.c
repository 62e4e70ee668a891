/* SPDX-License-Identifier: BSD-3-Clause */
/* What devices there are, for programs: one JSON object (doc/json/bh-devices.json). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_json.h"
#include "devices.h"

/* Addresses and sizes of 64 bits do not fit into a JSON integer. */
static json_t *hex(uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	return json_string(text);
}

static json_t *text_or_null(const char *text)
{
	return text && text[0] != '\0' ? app_json_text(text) : json_null();
}

static json_t *json_group(const struct bh_pci_group *group)
{
	json_t *object, *members;

	if (!group)
		return json_null();
	object = json_object();
	members = json_array();
	for (size_t i = 0; i < group->count; i++) {
		json_t *member = json_object();

		json_object_set_new(member, "name", app_json_text(group->member[i].name));
		json_object_set_new(member, "driver", text_or_null(group->member[i].driver));
		json_object_set_new(member, "viable", json_boolean(group->member[i].viable));
		json_array_append_new(members, member);
	}
	json_object_set_new(object, "id", json_integer(group->id));
	json_object_set_new(object, "type", text_or_null(group->type));
	json_object_set_new(object, "viable", json_boolean(group->viable));
	json_object_set_new(object, "noiommu", json_boolean(group->noiommu));
	json_object_set_new(object, "members", members);
	return object;
}

static json_t *json_bars(const struct bh_pci_device *pci)
{
	json_t *bars = json_array();

	for (unsigned int i = 0; i < BH_PCI_RESOURCE_ROM; i++) {
		const struct bh_pci_resource *r = &pci->res[i];
		json_t *bar;

		if (r->len == 0)
			continue;
		bar = json_object();
		json_object_set_new(bar, "bar", json_integer(i));
		json_object_set_new(bar, "start", hex(r->start));
		json_object_set_new(bar, "len", hex(r->len));
		json_object_set_new(bar, "io", json_boolean(r->flags & BH_PCI_RES_IO));
		json_object_set_new(bar, "prefetchable",
				    json_boolean(r->flags & BH_PCI_RES_PREFETCH));
		json_array_append_new(bars, bar);
	}
	return bars;
}

static json_t *json_caps(const struct bh_pci_caps *caps)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < caps->count; i++) {
		const struct bh_pci_cap *cap = &caps->cap[i];
		json_t *object = json_object();

		json_object_set_new(object, "id", json_integer(cap->id));
		json_object_set_new(object, "extended", json_boolean(cap->extended));
		json_object_set_new(object, "offset", json_integer(cap->offset));
		json_object_set_new(object, "name",
				    text_or_null(bh_pci_cap_str(cap->id, cap->extended)));
		json_array_append_new(list, object);
	}
	return list;
}

static json_t *json_map(const struct devices_map *m)
{
	json_t *map = json_object();

	json_object_set_new(map, "bar", json_integer(m->bar));
	json_object_set_new(map, "offset", hex(m->offset));
	json_object_set_new(map, "len", hex(m->len));
	json_object_set_new(map, "wanted", json_string(app_attr_str(m->wanted)));
	json_object_set_new(map, "requested",
			    m->mapped ? json_string(app_attr_str(m->requested)) : json_null());
	json_object_set_new(map, "attr",
			    m->mapped ? json_string(app_attr_str(m->attr)) : json_null());
	json_object_set_new(map, "why", text_or_null(m->mapped ? m->why : strerror(-m->error)));
	return map;
}

static json_t *json_open(const struct devices_open *open)
{
	json_t *object, *caps = json_array(), *maps = json_array(), *windows = json_array();

	for (unsigned int bit = 0; bit < 64; bit++) {
		if ((open->caps >> bit & 1) != 0 && bh_cap_str(1ull << bit))
			json_array_append_new(caps, json_string(bh_cap_str(1ull << bit)));
	}
	for (unsigned int i = 0; i < open->num_maps; i++)
		json_array_append_new(maps, json_map(&open->map[i]));
	for (unsigned int i = 0; i < open->num_windows; i++) {
		json_t *window = json_array();

		json_array_append_new(window, hex(open->window[i].first));
		json_array_append_new(window, hex(open->window[i].last));
		json_array_append_new(windows, window);
	}
	object = json_object();
	json_object_set_new(object, "error",
			    open->error ? json_string(strerror(-open->error)) : json_null());
	json_object_set_new(object, "caps", caps);
	json_object_set_new(object, "mappings", maps);
	json_object_set_new(object, "iova_windows", windows);
	return object;
}

static void add_ids(json_t *to, const struct bh_pci_device *pci)
{
	json_object_set_new(to, "vendor", json_integer(pci->vendor));
	json_object_set_new(to, "device", json_integer(pci->device));
	json_object_set_new(to, "subsystem_vendor", json_integer(pci->subsystem_vendor));
	json_object_set_new(to, "subsystem", json_integer(pci->subsystem));
	json_object_set_new(to, "class", json_integer(pci->class_code));
	json_object_set_new(to, "revision", json_integer(pci->revision));
}

static json_t *json_device(const struct devices_entry *e)
{
	json_t *device = json_object(), *backends = json_array();

	if (e->by_cdev)
		json_array_append_new(backends, json_string("cdev"));
	if (e->by_group)
		json_array_append_new(backends, json_string("group"));
	json_object_set_new(device, "address", json_string(e->pci.name));
	json_object_set_new(device, "type", json_string(e->type));
	add_ids(device, &e->pci);
	json_object_set_new(device, "driver", text_or_null(e->pci.driver));
	json_object_set_new(device, "driver_override", text_or_null(e->pci.driver_override));
	json_object_set_new(device, "numa_node",
			    e->pci.node >= 0 ? json_integer(e->pci.node) : json_null());
	json_object_set_new(device, "iommu_group", json_group(e->group));
	json_object_set_new(device, "backends", backends);
	json_object_set_new(device, "usable", json_boolean(e->usable));
	json_object_set_new(device, "why", text_or_null(e->why));
	if (!e->detailed)
		return device;
	json_object_set_new(device, "bars", json_bars(&e->pci));
	json_object_set_new(device, "capabilities", json_caps(&e->caps));
	json_object_set_new(device, "capabilities_why", text_or_null(e->caps_why));
	json_object_set_new(device, "open", e->open ? json_open(e->open) : json_null());
	return device;
}

bool devices_print_json(const struct devices_entry *list, size_t count)
{
	json_t *root = json_object(), *devices = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(devices, json_device(&list[i]));
	json_object_set_new(root, "schema", json_integer(1));
	json_object_set_new(root, "devices", devices);
	char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	bool done = text && puts(text) >= 0;
	free(text);
	return done;
}

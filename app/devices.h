/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-devices' parts: what is found is one list of entries, which one of two writers shows; with -v
 * the devices that can be opened are, so that what is shown of them is what a driver would get.
 */
#ifndef APP_DEVICES_H
#define APP_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

#include <bellhop/pci.h>

#include "common.h"

#define DEVICES_WHY 512
#define DEVICES_MAPS 16
#define DEVICES_WINDOWS 16

struct devices_map {
	unsigned int bar;
	uint64_t offset, len; /* bytes: the piece that was tried */
	bool mapped;	      /* else error says why not */
	enum bh_attr wanted, requested, attr;
	const char *why;
	int error;
};

/* What an open device says. */
struct devices_open {
	int error; /* it could not be opened after all; 0 */
	uint64_t caps;
	unsigned int num_maps, num_windows;
	struct devices_map map[DEVICES_MAPS];
	struct bh_iova_window window[DEVICES_WINDOWS];
};

struct devices_entry {
	struct bh_pci_device pci;
	const char
		*type; /* "nvme", "virtio-net", "igb"; "other" for one named on the command line */
	struct bh_pci_group *group; /* NULL: none */
	bool by_group, by_cdev;	    /* ways in which the backend can open it, for this user */
	bool usable;
	char why[DEVICES_WHY]; /* why it is not; "" */

	/* With -v. */
	bool detailed;
	struct bh_pci_caps caps;
	const char *caps_why;	   /* why caps is not all there is; NULL */
	struct devices_open *open; /* NULL: not opened */
};

struct devices_opts {
	bool verbose;
	int memattr; /* of bh_device_opts */
	const struct bh_pci_opts *pci;
	struct bh_pci_addr *named; /* only these */
	size_t num_named;
};

/* The kind of driver of ours a device is for, or NULL. */
const char *devices_type(const struct bh_pci_device *dev);

/* *out is freed with devices_free(). On failure says why and returns -errno. */
int devices_find(struct app *app, const struct devices_opts *opts, struct devices_entry **out,
		 size_t *count);
void devices_free(struct devices_entry *list, size_t count);

/* Opens a usable entry, looks at it and closes it again. */
void devices_look_inside(struct app *app, const struct devices_opts *opts,
			 struct devices_entry *entry);

void devices_print_text(const struct devices_entry *list, size_t count);
/* False: out of memory. */
bool devices_print_json(const struct devices_entry *list, size_t count);

#endif

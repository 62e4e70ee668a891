/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of sysfs and /proc: small, textual, and gone from one moment to the next. What the parts of
 * lib/pci share.
 */
#ifndef PCI_SYSFS_H
#define PCI_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/pci.h>

#define PCI_PATH 512 /* bytes; longer paths are -ENAMETOOLONG */

/* The options with every default filled in. */
struct pci_env {
	const char *sys, *proc, *dev;
	uint64_t bind_timeout_ns;
	const struct bh_log *log;
};

/* -EINVAL: a size that is none of ours. */
int bh__pci_env(const struct bh_pci_opts *opts, struct pci_env *env);

/* Formats a path; false: too long (then the path is "" and opening it fails). */
bool bh__pci_path(char path[PCI_PATH], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The text of a file without its last newline, cut at len - 1 bytes. 0 or -errno (text is ""). */
int bh__pci_read(const char *path, char *text, size_t len);
/* A number, decimal or with 0x; otherwise (missing, no number) `absent`. */
int64_t bh__pci_read_number(const char *path, int64_t absent);
/* In one write, as sysfs wants it. */
int bh__pci_write(const char *path, const char *text);
/* The last component of what a symbolic link points to. 0 or -errno (name is ""). */
int bh__pci_link_name(const char *path, char *name, size_t len);
/* Copies what fits. */
void bh__pci_copy(char *to, size_t len, const char *from);

/*
 * Calls fn for each entry of a directory but . and ..; stops at the first nonzero result and
 * returns it. -errno where the directory cannot be read.
 */
typedef int (*bh__pci_entry_fn)(void *ctx, const char *name);
int bh__pci_each(const char *path, bh__pci_entry_fn fn, void *ctx);
/* The first entry whose name begins so, into name[BH_PCI_NAME]; longer ones are passed over. */
bool bh__pci_find(const char *path, const char *begins, char *name);

/* ---- of devices and drivers ---- */

bool bh__pci_is_vfio_driver(const char *driver);

/* ---- who uses a device: parts of bh_pci_in_use(), all 1 with *why, 0 or -errno ---- */

struct pci_use {
	const struct pci_env *env;
	const struct bh_pci_device *dev;
	char *why;		/* BH_PCI_WHY bytes */
	char root[2][PCI_PATH]; /* canonical: the device, and the NVMe subsystem it is a path of */
	bool exclusive;		/* also try to open its block devices exclusively */
};

/* Sets why and returns 1. */
int bh__pci_used(struct pci_use *use, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Does /sys/class/CLASS/NAME belong to the device? */
bool bh__pci_use_owns(const struct pci_use *use, const char *class_name, const char *name);
/* in_use.c: with the tools to mend it. */
int bh__pci_in_use(const struct pci_env *env, const struct bh_pci_device *dev, bool exclusive,
		   char why[BH_PCI_WHY]);
int bh__pci_block_use(struct pci_use *use);
int bh__pci_net_use(struct pci_use *use);

/*
 * The first process that has one of `count` nodes ("/dev/vfio/12") open. 1, 0, or -errno of reading
 * /proc.
 */
int bh__pci_node_holder(const struct pci_env *env, const char *const *nodes, size_t count,
			struct bh_pci_holder *out);

#endif

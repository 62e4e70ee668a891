/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is a device in use? The kernel lets root unbind the driver of a mounted disk and of the interface
 * one is logged in through, so whoever unbinds has to ask first, and ask everybody.
 *
 * What a PCI device stands for is found by place: block devices, character devices and interfaces
 * whose sysfs directory lies below the device's. One exception: with NVMe multipath, namespaces lie
 * below their subsystem, which names the controllers that are paths to it.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pci/sysfs.h"

int bh__pci_used(struct pci_use *use, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(use->why, BH_PCI_WHY, fmt, args);
	va_end(args);
	return 1;
}

static bool canonical(const char *path, char out[PCI_PATH])
{
	char *real = realpath(path, NULL);
	bool fits = real && strlen(real) < PCI_PATH;

	out[0] = '\0';
	if (fits)
		strcpy(out, real);
	free(real);
	return fits;
}

static bool is_below(const char *path, const char *root)
{
	size_t len = strlen(root);

	return len > 0 && strncmp(path, root, len) == 0 && path[len] == '/';
}

bool bh__pci_use_owns(const struct pci_use *use, const char *class_name, const char *name)
{
	char path[PCI_PATH], real[PCI_PATH];

	bh__pci_path(path, "%s/class/%s/%s", use->env->sys, class_name, name);
	return canonical(path, real) &&
	       (is_below(real, use->root[0]) || is_below(real, use->root[1]));
}

struct subsystem {
	struct pci_use *use;
	const char *name;
};

static int look_at_path(void *ctx, const char *name)
{
	const struct subsystem *subsystem = ctx;
	char path[PCI_PATH], real[PCI_PATH];

	if (strncmp(name, "nvme", 4) != 0)
		return 0;
	bh__pci_path(path, "%s/class/nvme-subsystem/%s/%s", subsystem->use->env->sys,
		     subsystem->name, name);
	return canonical(path, real) && is_below(real, subsystem->use->root[0]) ? 1 : 0;
}

static int look_at_subsystem(void *ctx, const char *name)
{
	struct subsystem subsystem = { .use = ctx, .name = name };
	char path[PCI_PATH];

	bh__pci_path(path, "%s/class/nvme-subsystem/%s", subsystem.use->env->sys, name);
	if (bh__pci_each(path, look_at_path, &subsystem) != 1)
		return 0;
	canonical(path, subsystem.use->root[1]);
	return 1;
}

static int vfio_use(struct pci_use *use)
{
	struct bh_pci_opts opts;
	struct bh_pci_holder holder;

	if (!bh_pci_is_vfio(use->dev))
		return 0;
	bh_pci_opts_init(&opts);
	opts.sysfs_root = use->env->sys;
	opts.proc_root = use->env->proc;
	opts.dev_root = use->env->dev;
	int rc = bh_pci_vfio_holder(&opts, use->dev, &holder);
	if (rc != 1)
		return rc;
	return bh__pci_used(use, "process %d (%s) has %s open", holder.pid, holder.command,
			    holder.node);
}

int bh__pci_in_use(const struct pci_env *env, const struct bh_pci_device *dev, bool exclusive,
		   char why[BH_PCI_WHY])
{
	struct pci_use use = { .env = env, .dev = dev, .why = why, .exclusive = exclusive };
	char path[PCI_PATH];

	why[0] = '\0';
	bh__pci_path(path, "%s/bus/pci/devices/%s", env->sys, dev->name);
	if (!canonical(path, use.root[0]))
		return -ENODEV;
	bh__pci_path(path, "%s/class/nvme-subsystem", env->sys);
	bh__pci_each(path, look_at_subsystem, &use);

	int rc = bh__pci_net_use(&use);
	if (rc == 0)
		rc = bh__pci_block_use(&use);
	if (rc == 0)
		rc = vfio_use(&use);
	return rc;
}

int bh_pci_in_use(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr,
		  char why[BH_PCI_WHY])
{
	struct bh_pci_device dev;
	struct pci_env env;

	why[0] = '\0';
	int rc = bh__pci_env(opts, &env);
	if (rc == 0)
		rc = bh_pci_device_read(opts, addr, &dev);
	return rc != 0 ? rc : bh__pci_in_use(&env, &dev, false, why);
}

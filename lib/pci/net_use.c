/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network interfaces of a device. One that is up is in use, with or without routes: taking it down
 * is a decision of its owner's, who is told the command.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pci/sysfs.h"

#define FLAG_UP 1 /* IFF_UP */

/*
 * In a table of /proc/net the word at `column` (-1: the last) of a line names an interface. The
 * link-local and multicast routes that every IPv6 interface has do not count.
 */
static bool is_routed(const struct pci_env *env, const char *table, int column, const char *name)
{
	char path[PCI_PATH], line[512];
	bool found = false;

	bh__pci_path(path, "%s/net/%s", env->proc, table);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		char *save = NULL, *last = NULL;
		int at = 0;

		if (column < 0 && (strncmp(line, "fe80", 4) == 0 || strncmp(line, "ff", 2) == 0))
			continue;

		for (char *word = strtok_r(line, " \t\n", &save); word;
		     word = strtok_r(NULL, " \t\n", &save)) {
			last = word;
			if (at++ == column)
				break;
		}
		found = last && strcmp(last, name) == 0;
	}
	fclose(file);
	return found;
}

static int look_at_interface(void *ctx, const char *name)
{
	struct pci_use *use = ctx;
	char path[PCI_PATH], other[BH_PCI_NAME];

	if (!bh__pci_use_owns(use, "net", name))
		return 0;
	bh__pci_path(path, "%s/class/net/%s/master", use->env->sys, name);
	if (bh__pci_link_name(path, other, sizeof(other)) == 0)
		return bh__pci_used(use, "network interface %s belongs to %s", name, other);
	bh__pci_path(path, "%s/class/net/%s", use->env->sys, name);
	if (bh__pci_find(path, "upper_", other))
		return bh__pci_used(use, "network interface %s carries %s", name, other + 6);
	bh__pci_path(path, "%s/class/net/%s/flags", use->env->sys, name);
	bool up = (bh__pci_read_number(path, 0) & FLAG_UP) != 0;
	if (is_routed(use->env, "route", 0, name) ||
	    (up && is_routed(use->env, "ipv6_route", -1, name)))
		return bh__pci_used(use, "network interface %s is routed", name);
	if (up)
		return bh__pci_used(use, "network interface %s is up (ip link set %s down)", name,
				    name);
	return 0;
}

static int stop_at_first(void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
	return 1;
}

/*
 * An interface in another network namespace is hidden, the directory it lies in is not: a `net`
 * without entries, in the device's directory or in that of the virtio device on top of it.
 */
static bool is_hidden(const struct pci_use *use)
{
	char path[PCI_PATH], virtio[BH_PCI_NAME];

	bh__pci_path(path, "%s/net", use->root[0]);
	int rc = bh__pci_each(path, stop_at_first, NULL);
	if (rc == -ENOENT && bh__pci_find(use->root[0], "virtio", virtio)) {
		bh__pci_path(path, "%s/%s/net", use->root[0], virtio);
		rc = bh__pci_each(path, stop_at_first, NULL);
	}
	return rc == 0;
}

int bh__pci_net_use(struct pci_use *use)
{
	char path[PCI_PATH];

	bh__pci_path(path, "%s/class/net", use->env->sys);
	int rc = bh__pci_each(path, look_at_interface, use);
	if (rc == 1 || (rc < 0 && rc != -ENOENT))
		return rc;
	if (is_hidden(use))
		return bh__pci_used(use, "its network interface is in another network namespace");
	return 0;
}

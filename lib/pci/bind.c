/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handing a device from one driver to another.
 *
 * driver_override names the one driver that may have the device, so that no other takes it between
 * the steps: name it, take the old driver away, ask the bus to probe. Each step may be refused or
 * take a while (a driver flushes its device first, a probe is deferred), so the outcome is read
 * back from the device's `driver` link, the probe repeated, and all of it bounded by one deadline.
 * If it fails the device is put back as it was found.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bellhop/clock.h>

#include "pci/sysfs.h"

#define POLL_NS (10 * 1000 * 1000)
#define POLLS_PER_PROBE 25

#define pci_log(env, level, ...) bh_log((env)->log, level, "pci", __VA_ARGS__)

struct handover {
	struct pci_env env;
	struct bh_pci_device dev; /* as found */
	char dir[PCI_PATH];
	uint64_t deadline;
};

static int begin(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr, struct handover *h)
{
	int rc = bh__pci_env(opts, &h->env);

	if (rc == 0)
		rc = bh_pci_device_read(opts, addr, &h->dev);
	if (rc != 0)
		return rc;
	bh__pci_path(h->dir, "%s/bus/pci/devices/%s", h->env.sys, h->dev.name);
	h->deadline = bh_now_ns() + h->env.bind_timeout_ns;
	return 0;
}

static int refuse_in_use(const struct handover *h)
{
	char why[BH_PCI_WHY];
	int rc = bh__pci_in_use(&h->env, &h->dev, true, why);

	if (rc <= 0)
		return rc;
	pci_log(&h->env, BH_LOG_ERROR, "%s: in use: %s", h->dev.name, why);
	return -EBUSY;
}

static bool is_name(const char *driver)
{
	return driver && driver[0] != '\0' && driver[0] != '.' && strlen(driver) < BH_PCI_NAME &&
	       strpbrk(driver, "/ \t\n") == NULL;
}

static int find_driver(const struct handover *h, const char *driver)
{
	char path[PCI_PATH];

	bh__pci_path(path, "%s/bus/pci/drivers/%s", h->env.sys, driver);
	if (access(path, F_OK) == 0)
		return 0;
	pci_log(&h->env, BH_LOG_ERROR, "%s: no driver %s is loaded (modprobe %s)", h->dev.name,
		driver, driver);
	return -ENOENT;
}

static int set_override(const struct handover *h, const char *driver)
{
	char path[PCI_PATH], text[BH_PCI_NAME + 1];

	bh__pci_path(path, "%s/driver_override", h->dir);
	strcpy(text, driver);
	strcat(text, "\n"); /* an empty line takes it away */
	int rc = bh__pci_write(path, text);
	if (rc == -ENOENT)
		return access(h->dir, F_OK) == 0 ? -EOPNOTSUPP : -ENODEV;
	return rc;
}

static void current_driver(const struct handover *h, char driver[BH_PCI_NAME])
{
	char path[PCI_PATH];

	bh__pci_path(path, "%s/driver", h->dir);
	bh__pci_link_name(path, driver, BH_PCI_NAME);
}

/* Until it has that driver ("": none): true. */
static bool wait_for(const struct handover *h, const char *driver, unsigned int polls)
{
	const struct timespec pause = { 0, POLL_NS };
	char now[BH_PCI_NAME];

	for (unsigned int i = 0;; i++) {
		current_driver(h, now);
		if (strcmp(now, driver) == 0)
			return true;
		if (i == polls || bh_now_ns() >= h->deadline)
			return false;
		nanosleep(&pause, NULL);
	}
}

static int take_away(const struct handover *h)
{
	char path[PCI_PATH], driver[BH_PCI_NAME];

	current_driver(h, driver);
	if (driver[0] == '\0')
		return access(h->dir, F_OK) == 0 ? 0 : -ENODEV;
	bh__pci_path(path, "%s/bus/pci/drivers/%s/unbind", h->env.sys, driver);
	int rc = bh__pci_write(path, h->dev.name);
	if (rc != 0 && rc != -ENODEV) /* it let go by itself meanwhile */
		return rc;
	return wait_for(h, "", UINT32_MAX) ? 0 : -ETIMEDOUT;
}

/* Through the bus, which obeys driver_override, or through the driver itself. */
static int give(const struct handover *h, const char *driver, bool by_bus)
{
	char path[PCI_PATH];
	int rc;

	if (by_bus)
		bh__pci_path(path, "%s/bus/pci/drivers_probe", h->env.sys);
	else
		bh__pci_path(path, "%s/bus/pci/drivers/%s/bind", h->env.sys, driver);
	do {
		rc = bh__pci_write(path, h->dev.name);
		if (rc == -EACCES || rc == -EPERM || rc == -ENOENT)
			return rc;
		if (wait_for(h, driver, POLLS_PER_PROBE))
			return 0;
	} while (bh_now_ns() < h->deadline && access(h->dir, F_OK) == 0);
	if (access(h->dir, F_OK) != 0)
		return -ENODEV;
	return rc != 0 && rc != -EINVAL ? rc : -ETIMEDOUT;
}

static void put_back(struct handover *h)
{
	char now[BH_PCI_NAME];
	int rc = set_override(h, h->dev.driver_override);

	h->deadline = bh_now_ns() + h->env.bind_timeout_ns;
	current_driver(h, now);
	if (rc == 0 && h->dev.driver[0] != '\0' && strcmp(now, h->dev.driver) != 0)
		rc = give(h, h->dev.driver, false);
	if (rc != 0)
		pci_log(&h->env, BH_LOG_ERROR, "%s: could not be given back to %s: %s", h->dev.name,
			h->dev.driver[0] != '\0' ? h->dev.driver : "no driver", strerror(-rc));
}

int bh_pci_bind(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr, const char *driver)
{
	struct handover h;

	if (!is_name(driver))
		return -EINVAL;
	int rc = begin(opts, addr, &h);
	if (rc != 0)
		return rc;
	if (strcmp(h.dev.driver, driver) == 0)
		return 0;
	rc = find_driver(&h, driver);
	if (rc == 0)
		rc = refuse_in_use(&h);
	if (rc == 0)
		rc = set_override(&h, driver);
	if (rc != 0)
		return rc;
	rc = take_away(&h);
	if (rc == 0)
		rc = give(&h, driver, true);
	if (rc != 0) {
		pci_log(&h.env, BH_LOG_ERROR, "%s: %s did not take it: %s", h.dev.name, driver,
			strerror(-rc));
		put_back(&h);
	}
	return rc;
}

int bh_pci_unbind(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr)
{
	struct handover h;
	int rc = begin(opts, addr, &h);

	if (rc != 0 || h.dev.driver[0] == '\0')
		return rc;
	rc = refuse_in_use(&h);
	return rc != 0 ? rc : take_away(&h);
}

int bh_pci_restore(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr,
		   const char *driver, const char *driver_override)
{
	struct handover h;

	driver = driver ? driver : "";
	driver_override = driver_override ? driver_override : "";
	if ((driver[0] != '\0' && !is_name(driver)) ||
	    (driver_override[0] != '\0' && !is_name(driver_override)))
		return -EINVAL;
	int rc = begin(opts, addr, &h);
	if (rc == 0 && driver[0] != '\0')
		rc = find_driver(&h, driver);
	if (rc != 0)
		return rc;
	if (strcmp(h.dev.driver, driver) == 0)
		return set_override(&h, driver_override);
	rc = refuse_in_use(&h);
	if (rc == 0)
		rc = set_override(&h, driver_override);
	if (rc == 0)
		rc = take_away(&h);
	if (rc == 0 && driver[0] != '\0')
		rc = give(&h, driver, false);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network devices by address: the table of drivers. In a file of its own, so that programs without
 * packets are not linked with DPDK.
 */
#include <bellhop/bellhop.h>

#include <errno.h>

#include <bellhop/net_virtio.h>

#include "net/own.h"
#include "net_igb/net_igb.h"

static bool igb_match(const struct bh_device_info *info)
{
	return bh_net_igb_matches(info->vendor, info->device);
}

const struct bh_net_driver bh_net_drivers[] = {
	{ "virtio", bh_net_virtio_match, bh_net_virtio_open },
	{ "igb", igb_match, bh_net_igb_open },
	{ NULL, NULL, NULL },
};

static void device_close(void *ctx)
{
	bh_device_close((struct bh_device *)ctx);
}

int bh_net_open(const char *address, const struct bh_device_opts *device,
		const struct bh_net_opts *opts, struct bh_net **out)
{
	const struct bh_net_driver *driver = bh_net_drivers;
	const struct bh_device_info *info;
	struct bh_device *dev;
	int rc;

	*out = NULL;
	rc = bh_open(address, device, &dev);
	if (rc != 0)
		return rc;
	info = bh_device_info(dev);
	while (driver->open && !driver->match(info))
		driver++;
	if (driver->open) {
		rc = driver->open(dev, opts, out);
	} else {
		bh_log(bh_device_log(dev), BH_LOG_ERROR, "bellhop",
		       "%s: no network driver for %04x:%04x", address, info->vendor, info->device);
		rc = -EPROTONOSUPPORT;
	}
	if (rc != 0) {
		bh_device_close(dev);
		return rc;
	}
	bh__net_on_close(*out, device_close, dev);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver's entry, for the table of drivers. */
#ifndef NET_IGB_NET_IGB_H
#define NET_IGB_NET_IGB_H

#include <bellhop/device.h>

struct bh_net; /* <bellhop/net.h>, which whoever only opens by address does not need */
struct bh_net_opts;

/* Whether the driver knows a device of these ids. */
bool bh_net_igb_matches(uint16_t vendor, uint16_t device);

/*
 * Resets the device and makes it a packet device. The device stays the caller's, and outlives it;
 * opts as bh_net_open() takes them (NULL: defaults).
 *
 * -ENOTSUP: not one of our chips, or not a copper port; -EOPNOTSUPP: registers that cannot be
 * mapped; -EADDRNOTAVAIL: no MAC address in it; -EBUSY: its firmware keeps the PHY; -EINVAL: opts;
 * -ENODEV, -ETIMEDOUT, -EIO, -ENOMEM.
 */
int bh_net_igb_open(struct bh_device *dev, const struct bh_net_opts *opts, struct bh_net **out);

#endif

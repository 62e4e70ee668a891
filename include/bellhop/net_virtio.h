/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host driver of virtio network devices (virtio 1.2, modern PCI), over any backend.
 *
 * Component: drivers/net_virtio
 *
 * For those who opened the device themselves; bh_net_open() does both.
 */
#ifndef BELLHOP_NET_VIRTIO_H
#define BELLHOP_NET_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include <bellhop/device.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_net; /* <bellhop/net.h> */
struct bh_net_opts;

/* Is it one, by its PCI vendor and device? */
bool bh_net_virtio_match(const struct bh_device_info *info);

/*
 * Resets the device and reads what it offers. The device stays the caller's and outlives the
 * result; queue memory comes from the pools of its space. opts may be NULL. -ENODEV: gone, or not a
 * virtio network device; -EPROTO: capabilities, or what they lead to, make no sense (logged);
 * -EOPNOTSUPP: a legacy device only; -ETIMEDOUT: no reset; -EINVAL; -ENOMEM.
 */
int bh_net_virtio_open(struct bh_device *dev, const struct bh_net_opts *opts, struct bh_net **out);

/*
 * The features in use, as masks of 1 << number (virtio 1.2 section 6 and 5.1.3); 0 before
 * bh_net_start(). `net` was opened by this driver.
 */
uint64_t bh_net_virtio_features(const struct bh_net *net);
/* What the device offers. */
uint64_t bh_net_virtio_offered(const struct bh_net *net);

#ifdef __cplusplus
}
#endif
#endif

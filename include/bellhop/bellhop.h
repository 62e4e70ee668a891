/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front door: opens a device by address with whichever backend the address names.
 *
 * Component: lib/bellhop
 *
 * ADDRESS: `pci:BDF` or a bare BDF ([domain:]bus:device.function in hexadecimal), `vfio-user:PATH`,
 * or anything else as the path of a vfio-user socket; then an optional `?ns=N`, which picks a
 * namespace of an NVMe controller. Only a `?ns=` with nothing but digits behind it, at the very
 * end, is taken off: a path may contain a question mark.
 */
#ifndef BELLHOP_BELLHOP_H
#define BELLHOP_BELLHOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/device.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BH_ADDRESS_MAX 512

enum bh_address_kind {
	BH_ADDRESS_PCI,
	BH_ADDRESS_VFIO_USER,
};

struct bh_address {
	enum bh_address_kind kind;
	char target[BH_ADDRESS_MAX]; /* the full BDF "0000:01:00.0", or the path */
	uint32_t nsid;		     /* of ?ns=N; 0: all */
};

/*
 * -EINVAL: empty, too long, a bad BDF after "pci:", or an ?ns out of range (1 to 2^32 - 2); *why
 * (static text, may be NULL) says which. Any thread.
 */
int bh_address_parse(const char *text, struct bh_address *out, const char **why);

/* One row of the table of backends. */
struct bh_backend {
	enum bh_address_kind kind;
	const char *name;
	int (*open)(const char *target, const struct bh_device_opts *opts, struct bh_device **out);
};

/* The backends this library was built with, ended by a row whose open is NULL. */
extern const struct bh_backend bh_backends[];

/*
 * Opens a device; a namespace in the address is ignored here. `backends` replaces the table (NULL:
 * bh_backends). -EINVAL: bad address or opts; -EPROTONOSUPPORT: no backend for this kind of address
 * in the table (logged); else what the backend says. Any thread. Close with bh_device_close().
 */
int bh_open_with(const struct bh_backend *backends, const char *address,
		 const struct bh_device_opts *opts, struct bh_device **out);
int bh_open(const char *address, const struct bh_device_opts *opts, struct bh_device **out);

/* ---- network devices ---- */

struct bh_net; /* <bellhop/net.h> */
struct bh_net_opts;

/* One row of the table of network drivers. */
struct bh_net_driver {
	const char *name;
	bool (*match)(const struct bh_device_info *info);
	/* Leaves the device open when it fails. */
	int (*open)(struct bh_device *dev, const struct bh_net_opts *opts, struct bh_net **out);
};

/* The drivers this library was built with, ended by a row whose open is NULL. */
extern const struct bh_net_driver bh_net_drivers[];

/*
 * Opens a device and, with the driver that knows it, its network interface; bh_net_close() closes
 * both. opts may be NULL. Errors of bh_open(); -EPROTONOSUPPORT: no driver for this device (logged);
 * else what the driver says. Any thread.
 */
int bh_net_open(const char *address, const struct bh_device_opts *device,
		const struct bh_net_opts *opts, struct bh_net **out);

const char *bh_version(void); /* "0.1.0" */

#ifdef __cplusplus
}
#endif
#endif

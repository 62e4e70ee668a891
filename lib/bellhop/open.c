/* SPDX-License-Identifier: BSD-3-Clause */
#include <bellhop/bellhop.h>

#include <errno.h>

#include "io/io.h"
#include "io_vfio/io_vfio.h"
#include "io_vfu/io_vfu.h"

const struct bh_backend bh_backends[] = {
	{ BH_ADDRESS_PCI, "vfio", bh_io_vfio_open },
	{ BH_ADDRESS_VFIO_USER, "vfio-user", bh_io_vfu_open },
	{ BH_ADDRESS_VFIO_USER, NULL, NULL },
};

static int no_backend(const struct bh_device_opts *opts, const char *address,
		      enum bh_address_kind kind)
{
	bh_log(opts->log, BH_LOG_ERROR, "bellhop", "%s: %s is not part of this build", address,
	       kind == BH_ADDRESS_PCI ? "the kernel VFIO backend, for PCI addresses,"
				      : "the vfio-user backend");
	return -EPROTONOSUPPORT;
}

int bh_open_with(const struct bh_backend *backends, const char *address,
		 const struct bh_device_opts *opts, struct bh_device **out)
{
	const struct bh_backend *backend = backends ? backends : bh_backends;
	struct bh_device_opts full;
	struct bh_address parsed;
	const char *why;
	int rc;

	*out = NULL;
	rc = bh__device_opts_read(opts, &full);
	if (rc != 0)
		return rc;
	rc = bh_address_parse(address, &parsed, &why);
	if (rc != 0) {
		bh_log(full.log, BH_LOG_ERROR, "bellhop", "%s: %s", address ? address : "", why);
		return rc;
	}
	while (backend->open && backend->kind != parsed.kind)
		backend++;
	if (!backend->open)
		return no_backend(&full, parsed.target, parsed.kind);
	return backend->open(parsed.target, &full, out);
}

int bh_open(const char *address, const struct bh_device_opts *opts, struct bh_device **out)
{
	return bh_open_with(NULL, address, opts, out);
}

const char *bh_version(void)
{
	return BH_VERSION;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A memory attribute for a BAR's dma-buf: an interface proposed for Linux and in no released
 * kernel.
 *
 * Everything known of it is in this file. It has no number yet: candidates are tried only when the
 * caller asks for it, and one that answers is believed only if it answers as the proposal says and
 * as no other feature would. A header that defines it wins over all of this.
 *
 * The proposal: VFIO_DEVICE_FEATURE, SET only, with a dma-buf's fd and an attribute (0: not
 * cached, 1: write-combining), which later mmaps of that dma-buf get. ENOENT: no such attribute;
 * ENODEV: another device's dma-buf; EBADF, EINVAL: no dma-buf.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "io_vfio/dev.h"

#define MEMATTR_WC 1u
#define MEMATTR_IMPOSSIBLE 0xfffffff0u

struct memattr {
	int32_t dmabuf_fd;
	uint32_t memattr;
};
static_assert(sizeof(struct memattr) == 8, "as proposed");

static const unsigned int candidates[] = { 14, 15 };

int io_vfio_feature_probe(const struct io_vfio *v, uint32_t feature, uint32_t how)
{
	struct uapi_feature probe = {
		.argsz = sizeof(probe),
		.flags = feature | how | VFIO_DEVICE_FEATURE_PROBE,
	};

	return ioctl(v->fd, VFIO_DEVICE_FEATURE, &probe) < 0 ? -errno : 0;
}

/* SET with the argument `missing` bytes too short. */
static int set(const struct io_vfio *v, unsigned int number, int dmabuf, uint32_t attr,
	       uint32_t missing)
{
	struct {
		struct uapi_feature head;
		struct memattr body;
	} call = {
		.head = { .argsz = (uint32_t)sizeof(call) - missing,
			  .flags = number | VFIO_DEVICE_FEATURE_SET },
		.body = { dmabuf, attr },
	};

	return ioctl(v->fd, VFIO_DEVICE_FEATURE, &call) < 0 ? -errno : 0;
}

int io_vfio_memattr_set_wc(const struct io_vfio *v, int dmabuf)
{
	return set(v, v->memattr, dmabuf, MEMATTR_WC, 0);
}

/* A dma-buf of any page of a BAR, to ask about. -errno. */
static int throw_away(struct io_vfio *v)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	int fd = -1, rc = -ENOENT;

	for (unsigned int bar = 0; bar < 6 && rc != 0; bar++) {
		const struct io_vfio_region *r = &v->region[bar];

		for (unsigned int i = 0; i < r->num_areas && rc != 0; i++)
			if (r->areas[i].len >= page)
				rc = io_vfio_dmabuf_export(&v->dev, bar, r->areas[i].offset, page,
							   &fd);
	}
	return rc == 0 ? fd : rc;
}

static bool behaves(const struct io_vfio *v, unsigned int number, int dmabuf)
{
	return io_vfio_feature_probe(v, number, VFIO_DEVICE_FEATURE_SET) == 0 &&
	       io_vfio_feature_probe(v, number, VFIO_DEVICE_FEATURE_GET) != 0 &&
	       set(v, number, dmabuf, MEMATTR_WC, 1) == -EINVAL &&
	       set(v, number, dmabuf, MEMATTR_IMPOSSIBLE, 0) == -ENOENT;
}

void io_vfio_memattr_find(struct io_vfio *v)
{
	int dmabuf, wish = v->opts.memattr_feature;

	v->memattr = 0;
#ifdef VFIO_DEVICE_FEATURE_DMA_BUF_MEMATTR
	if (io_vfio_feature_probe(v, VFIO_DEVICE_FEATURE_DMA_BUF_MEMATTR,
				  VFIO_DEVICE_FEATURE_SET) == 0)
		v->memattr = VFIO_DEVICE_FEATURE_DMA_BUF_MEMATTR;
	return;
#endif
	if (wish == BH_MEMATTR_NEVER)
		return;
	dmabuf = throw_away(v);
	if (dmabuf < 0) {
		io_vfio_info(v, "no memory attributes: its BARs cannot be exported as dma-bufs");
		return;
	}
	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
		unsigned int number = wish > 0 ? (unsigned int)wish : candidates[i];

		if (v->memattr == 0 && number > UAPI_FEATURE_LAST_TAKEN &&
		    number <= VFIO_DEVICE_FEATURE_MASK && behaves(v, number, dmabuf))
			v->memattr = number;
	}
	bh__fd_close(&dmabuf);
	if (v->memattr)
		io_vfio_info(v, "VFIO feature %u gives BARs a memory attribute", v->memattr);
	else
		io_vfio_info(v, "no memory attributes: this kernel's VFIO has no such feature");
}

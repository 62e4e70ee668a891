/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two features of VFIO for the dma-bufs of BARs that are proposed for Linux and in no released
 * kernel: a memory attribute for those who map one, and revocation.
 *
 * Everything known of them is in this file. They have no numbers yet: candidates are tried only
 * when the caller asks for it, and one that answers is believed only if it answers as the proposal
 * says and as no other feature would. A header that defines them wins over all of this.
 *
 * The proposal: both are features that can be SET and nothing else. MEMATTR takes a dma-buf's fd
 * and an attribute (0: not cached, 1: write-combining), which later mmaps of that dma-buf get;
 * REVOKE takes an fd, and makes that dma-buf useless to everybody. ENOENT: no such attribute;
 * EBADFD: revoked before; ENODEV: another device's dma-buf; EBADF, EINVAL: no dma-buf.
 *
 * What is proved with is a dma-buf nobody uses, a new one for each number: the number under test
 * may be the other feature's.
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

struct revoke {
	int32_t dmabuf_fd;
};
static_assert(sizeof(struct revoke) == 4, "as proposed");

static const unsigned int candidates[] = { 14, 15 };
#define NUM_CANDIDATES (sizeof(candidates) / sizeof(candidates[0]))

int io_vfio_feature_probe(const struct io_vfio *v, uint32_t feature, uint32_t how)
{
	struct uapi_feature probe = {
		.argsz = sizeof(probe),
		.flags = feature | how | VFIO_DEVICE_FEATURE_PROBE,
	};

	return ioctl(v->fd, VFIO_DEVICE_FEATURE, &probe) < 0 ? -errno : 0;
}

/* SET with the first `len` bytes of an argument that begins as both do. */
static int set(const struct io_vfio *v, unsigned int number, int dmabuf, uint32_t attr, size_t len)
{
	struct {
		struct uapi_feature head;
		struct memattr body;
	} call = {
		.head = { .argsz = (uint32_t)(sizeof(call.head) + len),
			  .flags = number | VFIO_DEVICE_FEATURE_SET },
		.body = { dmabuf, attr },
	};

	return ioctl(v->fd, VFIO_DEVICE_FEATURE, &call) < 0 ? -errno : 0;
}

int io_vfio_memattr_set_wc(const struct io_vfio *v, int dmabuf)
{
	return set(v, v->memattr, dmabuf, MEMATTR_WC, sizeof(struct memattr));
}

int io_vfio_dmabuf_revoke(struct bh_device *dev, int dmabuf)
{
	struct io_vfio *v = to_io_vfio(dev);
	int rc = set(v, v->revoke, dmabuf, 0, sizeof(struct revoke));

	switch (rc) {
	case -EBADF:
		return -EINVAL;
	case -ENODEV:
		/* Of another device; or this one has gone, which is told from the other. */
		return io_vfio_check(dev) ? -EXDEV : -ENODEV;
	case -EBADFD:
		return -EALREADY;
	default:
		return rc;
	}
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

/* A number no released kernel gives to something else, of a feature that is set and never read. */
static bool may_be(const struct io_vfio *v, unsigned int number)
{
	return number > UAPI_FEATURE_LAST_TAKEN && number <= VFIO_DEVICE_FEATURE_MASK &&
	       io_vfio_feature_probe(v, number, VFIO_DEVICE_FEATURE_SET) == 0 &&
	       io_vfio_feature_probe(v, number, VFIO_DEVICE_FEATURE_GET) != 0;
}

static bool is_memattr(struct io_vfio *v, unsigned int number)
{
	int dmabuf;
	bool is;

	if (!may_be(v, number))
		return false;
	dmabuf = throw_away(v);
	is = dmabuf >= 0 &&
	     set(v, number, dmabuf, MEMATTR_WC, sizeof(struct memattr) - 1) == -EINVAL &&
	     set(v, number, dmabuf, MEMATTR_IMPOSSIBLE, sizeof(struct memattr)) == -ENOENT;
	bh__fd_close(&dmabuf);
	return is;
}

/* What can be done once, and not twice. */
static bool is_revoke(struct io_vfio *v, unsigned int number)
{
	const size_t len = sizeof(struct revoke);
	int dmabuf;
	bool is;

	if (number == v->memattr || !may_be(v, number))
		return false;
	dmabuf = throw_away(v);
	is = dmabuf >= 0 && set(v, number, dmabuf, 0, len - 1) == -EINVAL &&
	     set(v, number, -1, 0, len) == -EBADF && set(v, number, dmabuf, 0, len) == 0 &&
	     set(v, number, dmabuf, 0, len) == -EBADFD;
	bh__fd_close(&dmabuf);
	return is;
}

/* The proposal has it just before the attribute. */
static void find_revoke(struct io_vfio *v)
{
	if (v->memattr && is_revoke(v, v->memattr - 1))
		v->revoke = v->memattr - 1;
	for (size_t i = 0; i < NUM_CANDIDATES && !v->revoke; i++)
		if (is_revoke(v, candidates[i]))
			v->revoke = candidates[i];
}

static void find_numbers(struct io_vfio *v, int wish)
{
	if (wish > 0 && wish <= (int)UAPI_FEATURE_LAST_TAKEN) {
		io_vfio_info(v, "no memory attributes: VFIO feature %d is something else", wish);
		return;
	}
	if (wish > 0 && is_memattr(v, (unsigned int)wish))
		v->memattr = (unsigned int)wish;
	for (size_t i = 0; i < NUM_CANDIDATES && wish == BH_MEMATTR_AUTO && !v->memattr; i++)
		if (is_memattr(v, candidates[i]))
			v->memattr = candidates[i];
	find_revoke(v);
	if (v->memattr)
		io_vfio_info(v, "VFIO feature %u gives BARs a memory attribute", v->memattr);
	else
		io_vfio_info(v, "no memory attributes: this kernel's VFIO has no such feature");
	if (v->revoke)
		io_vfio_info(v, "VFIO feature %u revokes dma-bufs", v->revoke);
}

void io_vfio_memattr_find(struct io_vfio *v)
{
	int dmabuf, wish = v->opts.memattr_feature;

	v->memattr = v->revoke = 0;
#ifdef VFIO_DEVICE_FEATURE_DMA_BUF_REVOKE
	if (io_vfio_feature_probe(v, VFIO_DEVICE_FEATURE_DMA_BUF_REVOKE, VFIO_DEVICE_FEATURE_SET) ==
	    0)
		v->revoke = VFIO_DEVICE_FEATURE_DMA_BUF_REVOKE;
#endif
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
	bh__fd_close(&dmabuf);
	find_numbers(v, wish);
}

enum io_vfio_memattr_state io_vfio_memattr_state(const struct io_vfio *v)
{
	if (v->memattr)
		return IO_VFIO_MEMATTR_THERE;
#ifndef VFIO_DEVICE_FEATURE_DMA_BUF_MEMATTR
	if (v->opts.memattr_feature == BH_MEMATTR_NEVER)
		return IO_VFIO_MEMATTR_NOT_ASKED;
#endif
	return IO_VFIO_MEMATTR_ABSENT;
}

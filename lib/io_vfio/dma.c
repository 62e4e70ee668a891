/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory: pools mapped in the device's IOMMU address space, each as one range.
 *
 * `maps` holds what the IOMMU holds. A pool is entered into the translations once the device
 * reaches it and leaves them before it is taken away, so no translation ever names memory the
 * device cannot reach. A refused unmap leaves memory in the device's hands, which must not happen
 * quietly: the device is declared gone.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include <bellhop/parse.h>

#include "io_vfio/dev.h"

static struct io_vfio *from_listener(struct bh_dma_listener *listener)
{
	return (struct io_vfio *)((char *)listener - offsetof(struct io_vfio, listener));
}

int io_vfio_fail_memlock(const struct io_vfio *v, const struct bh_mem *mem)
{
	char size[32], limit[32];
	struct rlimit rl;

	bh_format_size(mem->len, size, sizeof(size));
	if (getrlimit(RLIMIT_MEMLOCK, &rl) != 0 || rl.rlim_cur == RLIM_INFINITY)
		return io_vfio_fail(v, -ENOMEM, "the kernel has not the memory to map a pool of %s",
				    size);
	bh_format_size(rl.rlim_cur, limit, sizeof(limit));
	return io_vfio_fail(v, -ENOMEM,
			    "mapping a pool of %s locks it in memory, and this user may lock %s: "
			    "raise it with `ulimit -l unlimited` as root, LimitMEMLOCK=infinity in "
			    "a systemd unit, or scripts/setup.sh with TARGET_USER",
			    size, limit);
}

static int fail_no_place(const struct io_vfio *v, const struct bh_mem *mem)
{
	const struct io_vfio_windows *w = &v->windows;
	char size[32];

	bh_format_size(mem->len, size, sizeof(size));
	return io_vfio_fail(
		v, -ENOSPC,
		"no room for a pool of %s in the %u window(s) of its IOMMU, which end at "
		"0x%llx",
		size, w->count, w->count ? (unsigned long long)w->window[w->count - 1].last : 0ull);
}

int io_vfio_dma_map(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct io_vfio *v = from_listener(listener);
	uint64_t iova, va = (uintptr_t)mem->va;
	int rc;

	rc = io_vfio_iova_choose(&v->windows, &v->maps, va, mem->len, mem->page_size, &iova);
	if (rc != 0)
		return fail_no_place(v, mem);
	rc = bh_range_map_insert(&v->maps, iova, mem->len, mem->va);
	if (rc != 0)
		return rc;
	rc = v->path->map(v, mem, iova);
	if (rc != 0) {
		(void)bh_range_map_remove(&v->maps, iova, mem->len, NULL);
		return v->path->explain_map(v, mem, rc);
	}
	rc = bh_iova_map_add(&v->dev.iova, mem->va, mem->len, iova);
	if (rc != 0) {
		(void)v->path->unmap(v, iova, mem->len);
		(void)bh_range_map_remove(&v->maps, iova, mem->len, NULL);
		return rc;
	}
	bh_log(v->dev.log, BH_LOG_DEBUG, "vfio", "%s: pool at va 0x%llx, %zu bytes, is iova 0x%llx",
	       v->dev.address, (unsigned long long)va, mem->len, (unsigned long long)iova);
	return 0;
}

void io_vfio_dma_unmap(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct io_vfio *v = from_listener(listener);
	const struct bh_range *r = NULL;
	uint64_t iova;
	int rc;

	for (size_t i = 0; i < v->maps.count && !r; i++)
		if (v->maps.ranges[i].value == mem->va)
			r = &v->maps.ranges[i];
	if (!r)
		return;
	iova = r->base;
	if (bh_iova_map_del(&v->dev.iova, mem->va, mem->len) != 0)
		io_vfio_lose(v, "its translations could not be changed");
	rc = v->path->unmap(v, iova, mem->len);
	if (rc != 0) {
		(void)io_vfio_fail(v, rc, "unmapping iova 0x%llx: %s", (unsigned long long)iova,
				   strerror(-rc));
		io_vfio_lose(v, "memory could not be taken back from it");
	}
	(void)bh_range_map_remove(&v->maps, iova, mem->len, NULL);
}

int io_vfio_iova_windows(struct bh_device *dev, struct bh_iova_window *out, unsigned int max)
{
	const struct io_vfio_windows *w = &to_io_vfio(dev)->windows;

	if (w->count > 0)
		memcpy(out, w->window, (max < w->count ? max : w->count) * sizeof(*out));
	return (int)w->count;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory: pools mapped in the domain (domain.c), each as one range.
 *
 * A domain's `maps` holds what the IOMMU holds, with how many of its devices want it: each device
 * hears of a pool by itself, the first has it mapped, the last to hear of its end has it unmapped.
 * A pool is entered into a device's translations once the device reaches it and leaves them before
 * it is taken away, so no translation ever names memory the device cannot reach. A refused unmap
 * leaves memory in the hands of devices, which must not happen quietly: they are declared gone, and
 * no device that comes later is put into that domain.
 */
#include <errno.h>
#include <stdlib.h>
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
	const struct io_vfio_windows *w = &v->domain->windows;
	char size[32];

	bh_format_size(mem->len, size, sizeof(size));
	return io_vfio_fail(
		v, -ENOSPC,
		"no room for a pool of %s in the %u window(s) of its IOMMU, which end at "
		"0x%llx",
		size, w->count, w->count ? (unsigned long long)w->window[w->count - 1].last : 0ull);
}

/* The range of the domain that holds the memory at va, or NULL. */
static const struct bh_range *find(const struct io_vfio_domain *d, const void *va)
{
	for (size_t i = 0; i < d->maps.count; i++) {
		const struct io_vfio_mapping *m = d->maps.ranges[i].value;

		if (m && m->va == va)
			return &d->maps.ranges[i];
	}
	return NULL;
}

/* Maps what no device of the domain has yet. */
static int enter(struct io_vfio *v, const struct bh_mem *mem, uint64_t *iova)
{
	struct io_vfio_domain *d = v->domain;
	struct io_vfio_mapping *m;
	int rc;

	rc = io_vfio_iova_choose(&d->windows, &d->maps, (uintptr_t)mem->va, mem->len,
				 mem->page_size, iova);
	if (rc != 0)
		return fail_no_place(v, mem);
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->va = mem->va;
	m->users = 1;
	rc = bh_range_map_insert(&d->maps, *iova, mem->len, m);
	if (rc == 0) {
		rc = v->path->map(v, mem, *iova);
		if (rc == 0)
			return 0;
		(void)bh_range_map_remove(&d->maps, *iova, mem->len, NULL);
		rc = v->path->explain_map(v, mem, rc);
	}
	free(m);
	return rc;
}

/* Memory that cannot be taken back is in the hands of all devices of the domain. */
static void lose_all(struct io_vfio_domain *d, uint64_t iova, int rc)
{
	for (struct io_vfio *v = d->devices; v; v = v->next_of_domain) {
		(void)io_vfio_fail(v, rc, "unmapping iova 0x%llx: %s", (unsigned long long)iova,
				   strerror(-rc));
		io_vfio_lose(v, "memory could not be taken back from it");
	}
}

/* One device less wants it; the last one takes it out of the domain. */
static void leave(struct io_vfio_domain *d, const void *va)
{
	const struct bh_range *r = find(d, va);
	struct io_vfio_mapping *m = r ? r->value : NULL;
	uint64_t iova = r ? r->base : 0, len = r ? r->len : 0;
	int rc;

	if (!m || --m->users > 0)
		return;
	rc = d->path->unmap(d, iova, len);
	if (rc != 0) {
		/* The range stays taken: nothing else can be mapped there. */
		m->va = NULL;
		d->spoilt = true;
		lose_all(d, iova, rc);
		return;
	}
	(void)bh_range_map_remove(&d->maps, iova, len, NULL);
	free(m);
}

int io_vfio_dma_map(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct io_vfio *v = from_listener(listener);
	const struct bh_range *r;
	uint64_t iova = 0;
	int rc = 0;

	pthread_mutex_lock(&v->share->lock);
	r = find(v->domain, mem->va);
	if (r) {
		iova = r->base;
		((struct io_vfio_mapping *)r->value)->users++;
	} else {
		rc = enter(v, mem, &iova);
	}
	if (rc == 0) {
		rc = bh_iova_map_add(&v->dev.iova, mem->va, mem->len, iova);
		if (rc != 0)
			leave(v->domain, mem->va);
	}
	pthread_mutex_unlock(&v->share->lock);
	if (rc == 0)
		bh_log(v->dev.log, BH_LOG_DEBUG, "vfio",
		       "%s: pool at va 0x%llx, %zu bytes, is iova 0x%llx%s", v->dev.address,
		       (unsigned long long)(uintptr_t)mem->va, mem->len, (unsigned long long)iova,
		       r ? ", as for others" : "");
	return rc;
}

void io_vfio_dma_unmap(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct io_vfio *v = from_listener(listener);

	if (bh_iova_map_del(&v->dev.iova, mem->va, mem->len) == -ENOMEM)
		io_vfio_lose(v, "its translations could not be changed");
	pthread_mutex_lock(&v->share->lock);
	leave(v->domain, mem->va);
	pthread_mutex_unlock(&v->share->lock);
}

int io_vfio_iova_windows(struct bh_device *dev, struct bh_iova_window *out, unsigned int max)
{
	struct io_vfio *v = to_io_vfio(dev);
	const struct io_vfio_windows *w = &v->domain->windows;
	int count;

	pthread_mutex_lock(&v->share->lock);
	count = (int)w->count;
	for (unsigned int i = 0; i < w->count && i < max; i++)
		out[i] = w->window[i];
	pthread_mutex_unlock(&v->share->lock);
	return count;
}

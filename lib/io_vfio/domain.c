/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the devices of one DMA space share.
 *
 * Such devices reach the same pools, by definition, so they share an address space of the IOMMU
 * (a domain) as far as it lets them: then a pool is pinned, counted against the memlock limit and
 * entered into page tables once, however many devices there are, and takes one of a container's
 * entries. A device the IOMMU refuses to put there (other page sizes, another reserved range where
 * a pool lies), or one with a BAR at an address that a pool has, gets a domain of its own; so does
 * one that comes when a domain holds memory that could not be taken back. Devices of one IOMMU group
 * cannot have different ones. Devices with different DMA spaces never share a domain: they must not
 * reach each other's pools, so a group can be used with one DMA space at a time.
 *
 * Everything hangs off the DMA space: this library keeps no state of its own, and what the last
 * device of a group, a domain or a space used is closed with it. The kernel detaches a device when
 * its fd is closed, a group when its fd is; the order here is device, group, domain, iommufd.
 *
 * One lock per DMA space serialises opening and closing its devices and all its maps and unmaps.
 * Lock order: the DMA space's, the share's, then leaves.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "io_vfio/dev.h"

static int make_share(struct bh_dma_shared **out)
{
	struct io_vfio_share *share = calloc(1, sizeof(*share));

	if (!share)
		return -ENOMEM;
	pthread_mutex_init(&share->lock, NULL);
	share->iommufd = -1;
	*out = &share->base;
	return 0;
}

static void free_share(struct io_vfio_share *share)
{
	bh__fd_close(&share->iommufd);
	pthread_mutex_destroy(&share->lock);
	free(share);
}

struct io_vfio_domain *io_vfio_domain_of_group(const struct io_vfio *v)
{
	for (struct io_vfio_domain *d = v->share->domains; d; d = d->next)
		for (const struct io_vfio *o = d->devices; o; o = o->next_of_domain)
			if (o->pci.iommu_group == v->pci.iommu_group)
				return d;
	return NULL;
}

struct io_vfio_group *io_vfio_group_find(const struct io_vfio_share *share, int id)
{
	struct io_vfio_group *g = share->groups;

	while (g && g->id != id)
		g = g->next;
	return g;
}

/* By the group a device could be opened twice. */
static bool is_open(const struct io_vfio *v)
{
	for (const struct io_vfio_domain *d = v->share->domains; d; d = d->next)
		for (const struct io_vfio *o = d->devices; o; o = o->next_of_domain)
			if (bh_pci_addr_compare(&o->pci.addr, &v->pci.addr) == 0)
				return true;
	return false;
}

int io_vfio_domain_new(struct io_vfio *v, int fd, uint32_t ioas_id)
{
	struct io_vfio_domain *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->path = v->path;
	d->fd = fd;
	d->ioas_id = ioas_id;
	d->windows.align = 1;
	d->dma_limit = UINT64_MAX;
	bh_range_map_init(&d->maps);
	d->next = v->share->domains;
	v->share->domains = d;
	io_vfio_domain_join(v, d);
	return 0;
}

void io_vfio_domain_join(struct io_vfio *v, struct io_vfio_domain *d)
{
	v->domain = d;
	v->next_of_domain = d->devices;
	d->devices = v;
}

/* Is there memory in [base, base + len)? */
static bool has_memory(const struct io_vfio_domain *d, uint64_t base, uint64_t len)
{
	for (size_t i = bh_range_map_lower(&d->maps, base); i < d->maps.count; i++) {
		const struct bh_range *r = &d->maps.ranges[i];

		if (!bh_range_overlaps(r->base, r->len, base, len))
			return false;
		if (r->value)
			return true;
	}
	return false;
}

static bool is_memory_bar(const struct bh_pci_resource *res)
{
	return (res->flags & BH_PCI_RES_MEM) && bh_range_valid(res->start, res->len);
}

bool io_vfio_domain_fits(const struct io_vfio *v, const struct io_vfio_domain *d)
{
	for (unsigned int i = 0; i < 6; i++) {
		const struct bh_pci_resource *res = &v->pci.res[i];

		if (is_memory_bar(res) && has_memory(d, res->start, res->len))
			return false;
	}
	return !d->spoilt;
}

/* -EEXIST: another BAR is there as well. -ENOMEM. */
static int enter_bar(struct io_vfio *v, unsigned int bar, uint64_t base, uint64_t len)
{
	int rc = bh_range_map_insert(&v->domain->maps, base, len, NULL);

	if (rc == 0)
		v->bar[bar] = (struct io_vfio_span){ base, len };
	return rc;
}

static void forget_bar(struct io_vfio *v, unsigned int bar)
{
	struct io_vfio_span *span = &v->bar[bar];

	if (span->len > 0)
		(void)bh_range_map_remove(&v->domain->maps, span->base, span->len, NULL);
	*span = (struct io_vfio_span){ 0, 0 };
}

/*
 * In the same breath as joining, since the next pool of a neighbour goes where nothing is: what
 * sysfs has. Configuration space, which is right where the two differ, cannot be read yet.
 */
static void expect_bars(struct io_vfio *v)
{
	for (unsigned int i = 0; i < 6; i++) {
		const struct bh_pci_resource *res = &v->pci.res[i];

		if (is_memory_bar(res) && !has_memory(v->domain, res->start, res->len))
			(void)enter_bar(v, i, res->start, res->len);
	}
}

/* What cannot be entered (no range, or another BAR is there as well) needs no keeping off. */
static int keep_off_bar(struct io_vfio *v, unsigned int bar)
{
	struct io_vfio_domain *d = v->domain;
	uint64_t base, len = v->region[bar].len;
	int rc;

	if (len == 0 || bh_device_bar_address(&v->dev, bar, &base) != 0 ||
	    !bh_range_valid(base, len))
		return 0;
	if (v->bar[bar].base == base && v->bar[bar].len == len)
		return 0;
	forget_bar(v, bar);
	if (has_memory(d, base, len))
		return io_vfio_fail(
			v, -ENOSPC,
			"its BAR %u, at 0x%llx, is where a pool is for the devices of its "
			"IOMMU group: open it first",
			bar, (unsigned long long)base);
	rc = enter_bar(v, bar, base, len);
	return rc == -ENOMEM ? rc : 0;
}

int io_vfio_domain_keep_off_bars(struct io_vfio *v)
{
	int rc = 0;

	pthread_mutex_lock(&v->share->lock);
	for (unsigned int bar = 0; bar < 6 && bar < v->num_regions && rc == 0; bar++)
		rc = keep_off_bar(v, bar);
	pthread_mutex_unlock(&v->share->lock);
	return rc;
}

static void free_domain(struct io_vfio_share *share, struct io_vfio_domain *d)
{
	struct io_vfio_domain **p = &share->domains;

	while (*p != d)
		p = &(*p)->next;
	*p = d->next;
	if (d->ioas_id) {
		uint32_t destroy[2] = { sizeof(destroy), d->ioas_id };

		(void)ioctl(d->fd, UAPI_IOMMU_DESTROY, destroy);
	} else {
		bh__fd_close(&d->fd);
	}
	/* What could not be taken back: gone with the address space. */
	for (size_t i = 0; i < d->maps.count; i++)
		free(d->maps.ranges[i].value);
	bh_range_map_fini(&d->maps);
	free(d->windows.window);
	free(d);
}

static void leave_domain(struct io_vfio *v)
{
	struct io_vfio_domain *d = v->domain;
	struct io_vfio **p;

	if (!d)
		return;
	for (unsigned int bar = 0; bar < 6; bar++)
		forget_bar(v, bar);
	for (p = &d->devices; *p && *p != v; p = &(*p)->next_of_domain)
		;
	if (*p)
		*p = v->next_of_domain;
	if (!d->devices)
		free_domain(v->share, d);
	v->domain = NULL;
}

static void leave_group(struct io_vfio *v)
{
	struct io_vfio_group *g = v->group, **p = &v->share->groups;

	v->group = NULL;
	if (!g || --g->users > 0)
		return;
	while (*p != g)
		p = &(*p)->next;
	*p = g->next;
	bh__fd_close(&g->fd);
	free(g);
}

static int join(struct io_vfio *v)
{
	const struct io_vfio_domain *of_group = io_vfio_domain_of_group(v);
	int rc;

	if (is_open(v))
		return io_vfio_fail_busy(v, "it");
	if (of_group && of_group->spoilt)
		return io_vfio_fail(v, -EBUSY,
				    "the devices of its IOMMU group (%d) hold memory that could "
				    "not be taken back from them: close them first",
				    v->pci.iommu_group);
	rc = v->path->open(v);
	if (rc != 0)
		return rc;
	expect_bars(v);
	return v->path->windows(v);
}

int io_vfio_share_join(struct io_vfio *v)
{
	/* The key is where this lies: ours and nobody else's. */
	static const char key = 0;
	struct bh_dma_shared *base;
	int rc = bh_dma_space_share(v->dev.space, &key, make_share, &base);

	if (rc != 0)
		return rc;
	v->share = (struct io_vfio_share *)base;
	pthread_mutex_lock(&v->share->lock);
	rc = join(v);
	pthread_mutex_unlock(&v->share->lock);
	return rc;
}

void io_vfio_share_leave(struct io_vfio *v)
{
	struct io_vfio_share *share = v->share;

	if (!share)
		return;
	pthread_mutex_lock(&share->lock);
	bh__fd_close(&v->fd);
	leave_group(v);
	leave_domain(v);
	pthread_mutex_unlock(&share->lock);
	v->share = NULL;
	if (bh_dma_space_unshare(v->dev.space, &share->base))
		free_share(share);
}

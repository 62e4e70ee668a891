/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BARs in our address space, and the memory attribute they get there.
 *
 * Write-combining is tried on three rungs: a dma-buf of the slice with the attribute set (if this
 * kernel can), sysfs's resourceN_wc (if the BAR is prefetchable), and the device's fd, which is
 * uncached. What was asked for and granted is one thing, what is in force another: on x86 the
 * kernel has one memory type per physical range, vfio-pci claims every BAR as uncached, and a
 * mapping that was granted as write-combining then is not. So `attr` says write-combining only if
 * the kernel's list of memory types does, or on a machine that keeps none. Uncached through the
 * device's fd is VFIO's own promise and needs no list, unless the list says otherwise.
 *
 * A page has one attribute here: mappings are remembered, and one that wants something else of the
 * same page is refused. Pages are guarded, so that a device that goes away does not raise SIGBUS in
 * a program that has the guard installed: it reads all-ones there, and the device is declared gone
 * by whoever looks next (io_vfio_check()).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "io_vfio/dev.h"

/* Architectures that register memory types: there only the list knows. */
#if defined(__x86_64__) || defined(__i386__)
#define TRACKS_MEMTYPES 1
#else
#define TRACKS_MEMTYPES 0
#endif

/* What was taken, why, and what is said instead where the kernel's list knows better or nothing. */
struct rung {
	enum bh_attr requested;
	const char *why, *why_not, *why_unknown;
};

#define GRANTED_BY(way)                                                                            \
	{                                                                                          \
		BH_ATTR_WC, way,                                                                   \
			way ": granted as write-combining, but the kernel's list of memory types " \
			    "says uncached",                                                       \
			way ": granted as write-combining, which cannot be confirmed: the "        \
			    "kernel's list of memory types cannot be read, or does not tell"       \
	}

static const struct rung by_dmabuf = GRANTED_BY("dma-buf with the write-combining attribute");
static const struct rung by_resource = GRANTED_BY("sysfs resource_wc");

bool io_vfio_in_one_area(const struct io_vfio_region *r, uint64_t offset, uint64_t len)
{
	for (unsigned int i = 0; i < r->num_areas; i++) {
		const struct bh_region_area *a = &r->areas[i];

		if (offset >= a->offset && bh_range_inside(offset - a->offset, len, a->len))
			return true;
	}
	return false;
}

int io_vfio_dmabuf_export(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
			  int *fd)
{
	struct io_vfio *v = to_io_vfio(dev);
	uint64_t mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
	struct {
		struct uapi_feature head;
		struct uapi_dma_buf body;
	} call = {
		.head = { .argsz = sizeof(call),
			  .flags = UAPI_FEATURE_DMA_BUF | VFIO_DEVICE_FEATURE_GET },
		.body = { .region_index = bar,
			  .open_flags = O_RDWR | O_CLOEXEC,
			  .nr_ranges = 1,
			  .range = { { offset, len } } },
	};

	*fd = -1;
	if ((offset | len) & mask)
		return -EINVAL;
	if (!io_vfio_in_one_area(&v->region[bar], offset, len))
		return -EOPNOTSUPP;
	*fd = ioctl(v->fd, VFIO_DEVICE_FEATURE, &call);
	return *fd < 0 ? -errno : 0;
}

static int do_mmap(const struct io_vfio_region *r, int fd, uint64_t at, uint64_t len, void **va)
{
	int prot = (r->flags & BH_REGION_READ ? PROT_READ : 0) |
		   (r->flags & BH_REGION_WRITE ? PROT_WRITE : 0);

	*va = mmap(NULL, len, prot, MAP_SHARED, fd, (off_t)at);
	return *va == MAP_FAILED ? -errno : 0;
}

/* Rung 1: the slice as a dma-buf with the attribute set. The mapping keeps the dma-buf. */
static int map_dmabuf(struct io_vfio *v, const struct io_vfio_map *m, uint64_t len, void **va,
		      struct rung *rung)
{
	const char *step = "exporting a dma-buf";
	int fd, rc;

	if (v->memattr == 0)
		return -EOPNOTSUPP;
	rc = io_vfio_dmabuf_export(&v->dev, m->bar, m->base, len, &fd);
	if (rc == 0) {
		step = "setting its attribute";
		rc = io_vfio_memattr_set_wc(v, fd);
	}
	if (rc == 0) {
		step = "mapping the dma-buf";
		rc = do_mmap(&v->region[m->bar], fd, 0, len, va);
	}
	bh__fd_close(&fd);
	if (rc != 0)
		io_vfio_info(v, "BAR %u at 0x%llx, %s: %s", m->bar, (unsigned long long)m->base,
			     step, strerror(-rc));
	*rung = by_dmabuf;
	return rc;
}

/* Rung 2: sysfs. */
static int map_resource_wc(struct io_vfio *v, const struct io_vfio_map *m, uint64_t len, void **va,
			   struct rung *rung)
{
	char path[96];
	int fd, rc;

	if (m->bar > 5 || !(v->pci.res[m->bar].flags & BH_PCI_RES_PREFETCH))
		return -EOPNOTSUPP;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%u_wc", v->pci.name, m->bar);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = do_mmap(&v->region[m->bar], fd, m->base, len, va);
	bh__fd_close(&fd);
	*rung = by_resource;
	return rc;
}

/* Why the third rung, when write-combining was wanted: of sysfs's rung first, then of VFIO's. */
#define UNCACHED(sysfs)                                                                          \
	{                                                                                        \
		[IO_VFIO_MEMATTR_ABSENT] =                                                       \
			"uncached: " sysfs ", and this kernel's VFIO sets no memory attributes", \
		[IO_VFIO_MEMATTR_NOT_ASKED] =                                                    \
			"uncached: " sysfs ", and memory attributes of VFIO were not asked for", \
		[IO_VFIO_MEMATTR_THERE] =                                                        \
			"uncached: " sysfs ", and VFIO refused the memory attribute",            \
	}

static const char *why_uncached(const struct io_vfio *v, unsigned int bar, int resource_rc)
{
	static const char *const unfit[] = UNCACHED("the BAR is not prefetchable");
	static const char *const denied[] = UNCACHED("this user may not open the BAR in sysfs");
	static const char *const claimed[] =
		UNCACHED("vfio-pci has claimed the BAR as uncached, so the kernel refuses another "
			 "attribute in sysfs");
	enum io_vfio_memattr_state state = io_vfio_memattr_state(v);

	if (bar > 5 || !(v->pci.res[bar].flags & BH_PCI_RES_PREFETCH))
		return unfit[state];
	return resource_rc == -EACCES || resource_rc == -EPERM ? denied[state] : claimed[state];
}

static int climb(struct io_vfio *v, const struct io_vfio_map *m, uint64_t len, void **va,
		 struct rung *rung)
{
	const struct io_vfio_region *r = &v->region[m->bar];
	int rc;

	if (m->want == BH_ATTR_WC) {
		if (map_dmabuf(v, m, len, va, rung) == 0)
			return 0;
		rc = map_resource_wc(v, m, len, va, rung);
		if (rc == 0)
			return 0;
		rung->why = why_uncached(v, m->bar, rc);
	} else {
		rung->why = "the device's fd, which maps uncached";
	}
	rung->requested = BH_ATTR_UC;
	return do_mmap(r, v->fd, r->offset + m->base, len, va);
}

/* What is known to be in force. */
static enum bh_attr attr_in_force(const struct io_vfio *v, const struct io_vfio_map *m,
				  struct rung *rung)
{
	enum bh_attr listed;

	if (!TRACKS_MEMTYPES || m->bar > 5)
		return rung->requested;
	listed = io_vfio_memtype(v->pci.res[m->bar].start + m->base, m->guard.len);
	if (listed == rung->requested)
		return listed;
	if (rung->requested == BH_ATTR_UC) {
		/* VFIO's own promise, if nothing is listed. */
		if (listed == BH_ATTR_UNKNOWN)
			return BH_ATTR_UC;
		rung->why = "the device's fd, but the kernel's list of memory types says "
			    "write-combining";
	} else {
		rung->why = listed == BH_ATTR_UC ? rung->why_not : rung->why_unknown;
	}
	return listed;
}

/* Is any page of it mapped with another wish? */
static bool conflicts(const struct io_vfio *v, const struct io_vfio_map *m, uint64_t len)
{
	for (const struct io_vfio_map *o = v->bar_maps; o; o = o->next)
		if (o->bar == m->bar && o->want != m->want &&
		    bh_range_overlaps(o->base, o->guard.len, m->base, len))
			return true;
	return false;
}

bool io_vfio_maps_lost(struct io_vfio *v)
{
	bool lost = false;

	pthread_mutex_lock(&v->maps_lock);
	for (const struct io_vfio_map *m = v->bar_maps; m && !lost; m = m->next)
		lost = __atomic_load_n(&m->guard.failed, __ATOMIC_ACQUIRE);
	pthread_mutex_unlock(&v->maps_lock);
	return lost;
}

/* Maps whole pages and enters them into the list. Under maps_lock. */
static int map_pages(struct io_vfio *v, struct io_vfio_map *m, uint64_t len, unsigned int flags,
		     struct bh_map *map)
{
	struct rung rung = { .requested = BH_ATTR_UNKNOWN };
	void *va;
	int rc;

	if (conflicts(v, m, len))
		return -EBUSY;
	rc = climb(v, m, len, &va, &rung);
	if (rc != 0)
		return rc;
	m->guard.base = va;
	m->guard.len = len;
	m->guard.fill = BH_FAULT_ONES;
	map->attr = attr_in_force(v, m, &rung);
	map->requested = rung.requested;
	map->why = rung.why;
	rc = (flags & BH_MAP_STRICT) && map->attr != m->want ? -EOPNOTSUPP : 0;
	if (rc == 0)
		rc = bh_fault_range_add(&m->guard);
	if (rc != 0) {
		munmap(va, len);
		return rc;
	}
	m->next = v->bar_maps;
	v->bar_maps = m;
	return 0;
}

int io_vfio_map_bar(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
		    enum bh_attr want, unsigned int flags, struct bh_map *map)
{
	struct io_vfio *v = to_io_vfio(dev);
	uint64_t mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
	uint64_t base = offset & ~mask;
	struct io_vfio_map *m;
	int rc;

	if (!io_vfio_in_one_area(&v->region[bar], offset, len))
		return -EOPNOTSUPP;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->bar = bar;
	m->base = base;
	m->want = want;
	pthread_mutex_lock(&v->maps_lock);
	rc = map_pages(v, m, ((offset + len + mask) & ~mask) - base, flags, map);
	pthread_mutex_unlock(&v->maps_lock);
	if (rc != 0) {
		free(m);
		memset(map, 0, sizeof(*map));
		map->fd = -1;
		return rc;
	}
	map->va = (uint8_t *)m->guard.base + (offset - base);
	map->offset = offset;
	map->len = len;
	map->bar = bar;
	map->priv = m;
	if (want == BH_ATTR_WC)
		io_vfio_info(v, "BAR %u at 0x%llx: %s", bar, (unsigned long long)offset, map->why);
	return 0;
}

void io_vfio_unmap_bar(struct bh_device *dev, struct bh_map *map)
{
	struct io_vfio *v = to_io_vfio(dev);
	struct io_vfio_map *m = map->priv, **p;

	pthread_mutex_lock(&v->maps_lock);
	for (p = &v->bar_maps; *p && *p != m; p = &(*p)->next)
		;
	if (*p)
		*p = m->next;
	pthread_mutex_unlock(&v->maps_lock);
	bh_fault_range_remove(&m->guard);
	munmap(m->guard.base, m->guard.len);
	free(m);
}

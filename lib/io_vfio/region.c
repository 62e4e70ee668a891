/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions: what the kernel says of them, and access through the device's fd.
 *
 * Which parts can be mapped comes from the info flags and the sparse-mmap capability: a BAR without
 * one is mappable as a whole, one with it only in the areas listed (the MSI-X table is left out
 * where the kernel does not let it be mapped). Offsets into the fd are the kernel's to choose.
 *
 * The kernel splits an access by alignment into pieces of up to 8 bytes, or 4 if it is older than
 * Linux 6.12.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io_vfio/dev.h"

static int add_area(struct io_vfio_region *r, uint64_t offset, uint64_t len)
{
	uint64_t mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;

	if (len == 0)
		return 0;
	if ((offset & mask) != 0 || !bh_range_inside(offset, len, r->len))
		return -EPROTO;
	r->areas[r->num_areas++] = (struct bh_region_area){ offset, len };
	return 0;
}

static int learn_areas(struct io_vfio_region *r, const struct vfio_region_info *info)
{
	const struct vfio_region_info_cap_sparse_mmap *sparse = NULL;
	uint32_t count = 1;
	size_t room = 0;
	int rc = 0;

	if (info->flags & VFIO_REGION_INFO_FLAG_CAPS)
		sparse = io_vfio_cap_find(info, info->argsz, info->cap_offset,
					  VFIO_REGION_INFO_CAP_SPARSE_MMAP, sizeof(*sparse), &room);
	if (sparse)
		count = sparse->nr_areas;
	if (sparse && count > (room - sizeof(*sparse)) / sizeof(sparse->areas[0]))
		return -EPROTO;
	r->areas = calloc(count ? count : 1, sizeof(*r->areas));
	if (!r->areas)
		return -ENOMEM;
	for (uint32_t i = 0; i < count && rc == 0; i++)
		rc = sparse ? add_area(r, sparse->areas[i].offset, sparse->areas[i].size)
			    : add_area(r, 0, r->len);
	return rc;
}

static int learn_region(struct io_vfio *v, unsigned int index)
{
	const struct vfio_region_info ask = { .index = index };
	struct io_vfio_region *r = &v->region[index];
	struct vfio_region_info *info;
	int rc;

	rc = io_vfio_info_get(v->fd, VFIO_DEVICE_GET_REGION_INFO, &ask, sizeof(ask),
			      (void **)&info);
	/* VGA and the like: an index without a region. */
	if (rc == -EINVAL)
		return 0;
	if (rc != 0)
		return rc;
	r->len = info->size;
	r->offset = info->offset;
	if (info->flags & VFIO_REGION_INFO_FLAG_READ)
		r->flags |= BH_REGION_READ;
	if (info->flags & VFIO_REGION_INFO_FLAG_WRITE)
		r->flags |= BH_REGION_WRITE;
	if ((info->flags & VFIO_REGION_INFO_FLAG_MMAP) && r->len > 0)
		rc = learn_areas(r, info);
	if (r->num_areas > 0)
		r->flags |= BH_REGION_MMAP;
	free(info);
	return rc;
}

int io_vfio_regions_learn(struct io_vfio *v)
{
	int rc = 0;

	v->region = calloc(v->num_regions, sizeof(*v->region));
	if (!v->region)
		return -ENOMEM;
	for (unsigned int i = 0; i < v->num_regions && rc == 0; i++)
		rc = learn_region(v, i);
	return rc == 0 ? 0 : io_vfio_fail(v, rc, "asking for its regions: %s", strerror(-rc));
}

void io_vfio_regions_forget(struct io_vfio *v)
{
	for (unsigned int i = 0; v->region && i < v->num_regions; i++)
		free(v->region[i].areas);
	free(v->region);
	v->region = NULL;
}

int io_vfio_region_info(struct bh_device *dev, unsigned int region, struct bh_region_info *info)
{
	struct io_vfio *v = to_io_vfio(dev);
	const struct io_vfio_region *r;

	memset(info, 0, sizeof(*info));
	if (region >= v->num_regions)
		return -EINVAL;
	r = &v->region[region];
	info->len = r->len;
	info->flags = r->flags;
	info->num_areas = r->num_areas;
	info->areas = r->areas;
	return 0;
}

/* What the kernel said to an access: a device that is not there answers in several ways. */
static int access_failed(struct io_vfio *v, ssize_t n)
{
	int rc = n < 0 ? -errno : -EIO;

	return io_vfio_check(&v->dev) ? rc : -ENODEV;
}

int io_vfio_region_read(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
			size_t count)
{
	struct io_vfio *v = to_io_vfio(dev);
	ssize_t n;

	for (size_t done = 0; done < count; done += (size_t)n) {
		n = pread(v->fd, (uint8_t *)buf + done, count - done,
			  (off_t)(v->region[region].offset + offset + done));
		if (n <= 0)
			return access_failed(v, n);
	}
	return 0;
}

int io_vfio_region_write(struct bh_device *dev, unsigned int region, uint64_t offset,
			 const void *buf, size_t count)
{
	struct io_vfio *v = to_io_vfio(dev);
	ssize_t n;

	for (size_t done = 0; done < count; done += (size_t)n) {
		n = pwrite(v->fd, (const uint8_t *)buf + done, count - done,
			   (off_t)(v->region[region].offset + offset + done));
		if (n <= 0)
			return access_failed(v, n);
	}
	return 0;
}

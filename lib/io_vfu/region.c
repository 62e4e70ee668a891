/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Access to regions: by message, split to what the server takes at a time, and by mapping the file
 * behind an area.
 *
 * A mapping is guarded: a server that truncates the file leaves all-ones there, as a device that
 * was pulled out does, instead of a signal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io_vfu/dev.h"

struct bar_map {
	struct bh_fault_range guard;
};

static size_t piece(const struct io_vfu *v, size_t count)
{
	uint64_t max = v->peer.max_data_xfer < VFU_MAX_DATA ? v->peer.max_data_xfer : VFU_MAX_DATA;

	return count < max ? count : (size_t)max;
}

/* Is the reply about what was asked, with `data` bytes behind it? */
static bool is_answer(const struct vfu_msg *reply, const struct vfu_region_access *asked,
		      size_t data)
{
	struct vfu_region_access done;

	if (reply->body_len < sizeof(done))
		return false;
	memcpy(&done, reply->body, sizeof(done));
	return reply->body_len - sizeof(done) >= data && done.offset == asked->offset &&
	       done.region == asked->region && done.count == asked->count;
}

static int bad_answer(struct io_vfu *v, const char *what, const struct vfu_region_access *asked)
{
	bh_log(v->dev.log, BH_LOG_ERROR, "vfio-user",
	       "%s: the answer to a %s of region %u at 0x%llx does not match it", v->dev.address,
	       what, asked->region, (unsigned long long)asked->offset);
	return -EPROTO;
}

static int read_piece(struct io_vfu *v, const struct vfu_region_access *access, void *buf)
{
	const struct io_vfu_call call = { .command = VFU_REGION_READ,
					  .body = access,
					  .body_len = sizeof(*access) };
	struct vfu_msg reply;
	int rc = io_vfu_status(io_vfu_request(v, &call, &reply));

	if (rc == 0 && !is_answer(&reply, access, access->count))
		rc = bad_answer(v, "read", access);
	if (rc == 0)
		memcpy(buf, reply.body + sizeof(*access), access->count);
	vfu_msg_fini(&reply);
	return rc;
}

int io_vfu_region_read(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
		       size_t count)
{
	struct io_vfu *v = to_io_vfu(dev);
	int rc = 0;

	for (size_t done = 0, n; done < count && rc == 0; done += n) {
		struct vfu_region_access access = { .offset = offset + done, .region = region };

		n = piece(v, count - done);
		access.count = (uint32_t)n;
		rc = read_piece(v, &access, (uint8_t *)buf + done);
	}
	return rc;
}

static int write_piece(struct io_vfu *v, const struct vfu_region_access *access, const void *buf,
		       bool post)
{
	const struct io_vfu_call call = { .command = VFU_REGION_WRITE,
					  .body = access,
					  .body_len = sizeof(*access),
					  .data = buf,
					  .data_len = access->count };
	struct vfu_msg reply;
	int rc;

	if (post)
		return io_vfu_post(v, &call);
	rc = io_vfu_status(io_vfu_request(v, &call, &reply));
	if (rc == 0 && !is_answer(&reply, access, 0))
		rc = bad_answer(v, "write", access);
	vfu_msg_fini(&reply);
	return rc;
}

static int write_all(struct bh_device *dev, unsigned int region, uint64_t offset, const void *buf,
		     size_t count, bool post)
{
	struct io_vfu *v = to_io_vfu(dev);
	int rc = 0;

	for (size_t done = 0, n; done < count && rc == 0; done += n) {
		struct vfu_region_access access = { .offset = offset + done, .region = region };

		n = piece(v, count - done);
		access.count = (uint32_t)n;
		rc = write_piece(v, &access, (const uint8_t *)buf + done, post);
	}
	return rc;
}

int io_vfu_region_write(struct bh_device *dev, unsigned int region, uint64_t offset,
			const void *buf, size_t count)
{
	return write_all(dev, region, offset, buf, count, false);
}

int io_vfu_region_post(struct bh_device *dev, unsigned int region, uint64_t offset, const void *buf,
		       size_t count)
{
	return write_all(dev, region, offset, buf, count, true);
}

/* ---- mapping ---- */

static bool in_one_area(const struct io_vfu_region *r, uint64_t offset, uint64_t len)
{
	for (unsigned int i = 0; i < r->num_areas; i++) {
		const struct bh_region_area *a = &r->areas[i];

		if (offset >= a->offset && bh_range_inside(offset - a->offset, len, a->len))
			return true;
	}
	return false;
}

/* Maps whole pages: [base, base + bytes) of the region, which lie in one area. */
static int map_pages(struct io_vfu *v, unsigned int bar, uint64_t base, uint64_t bytes,
		     struct bh_fault_range *guard)
{
	const struct io_vfu_region *r = &v->region[bar];
	int prot = (r->flags & BH_REGION_READ ? PROT_READ : 0) |
		   (r->flags & BH_REGION_WRITE ? PROT_WRITE : 0);
	struct stat st;
	void *va;
	int rc;

	/* It may have shrunk since it was offered; if it does so later, there is the guard. */
	if (fstat(r->fd, &st) != 0)
		return -errno;
	if (st.st_size < 0 || !bh_range_inside(r->fd_offset + base, bytes, (uint64_t)st.st_size))
		return -ENXIO;
	va = mmap(NULL, bytes, prot, MAP_SHARED, r->fd, (off_t)(r->fd_offset + base));
	if (va == MAP_FAILED)
		return -errno;
	guard->base = va;
	guard->len = bytes;
	guard->fill = BH_FAULT_ONES;
	rc = bh_fault_range_add(guard);
	if (rc != 0)
		munmap(va, bytes);
	return rc;
}

int io_vfu_map_bar(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
		   enum bh_attr want, unsigned int flags, struct bh_map *map)
{
	struct io_vfu *v = to_io_vfu(dev);
	uint64_t mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
	uint64_t base = offset & ~mask;
	struct bar_map *m;
	int rc;

	/* It is memory, whatever is wanted: known not to be what a strict caller asks for. */
	if (!in_one_area(&v->region[bar], offset, len) || (flags & BH_MAP_STRICT))
		return -EOPNOTSUPP;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	rc = map_pages(v, bar, base, ((offset + len + mask) & ~mask) - base, &m->guard);
	if (rc != 0) {
		free(m);
		return rc;
	}
	map->va = (uint8_t *)m->guard.base + (offset - base);
	map->offset = offset;
	map->len = len;
	map->requested = want;
	map->attr = BH_ATTR_MEMORY;
	map->why = "memory shared with the vfio-user server";
	map->fd = v->region[bar].fd;
	map->fd_offset = v->region[bar].fd_offset + offset;
	map->bar = bar;
	map->priv = m;
	return 0;
}

void io_vfu_unmap_bar(struct bh_device *dev, struct bh_map *map)
{
	struct bar_map *m = map->priv;

	(void)dev;
	bh_fault_range_remove(&m->guard);
	munmap(m->guard.base, m->guard.len);
	free(m);
}

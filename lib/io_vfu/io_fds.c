/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Region I/O fds (vfio-user 3.5): eventfds that stand for writes to a part of a region, some with a
 * piece of shared memory for the value.
 *
 * The specification's entry has 40 bytes, that of the reference server 48, with what is at 32 for
 * shadow memory in the same place: the reply's own length tells which. Entries we cannot use
 * (another type, a value to be matched, no fd) are left out; the others are checked against the
 * region and the shadow file before anything is mapped. Files and mappings are kept until the
 * device is closed or reopened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "io_vfu/dev.h"

#define MAX_ENTRIES 4096u
#define LONG_ENTRY 48u
#define SHADOW_BYTES 8u /* the widest value stored */
#define BARS 6u
#define PCI_BAR0 0x10u

/* Asks with room for `room` entries. The caller finishes the reply. */
static int ask(struct io_vfu *v, unsigned int region, uint32_t room, struct vfu_region_io_fds *info,
	       struct vfu_msg *reply)
{
	struct vfu_region_io_fds body = {
		.argsz = (uint32_t)sizeof(body) + room * LONG_ENTRY,
		.index = region,
	};
	const struct io_vfu_call call = { .command = VFU_DEVICE_GET_REGION_IO_FDS,
					  .body = &body,
					  .body_len = sizeof(body) };
	int rc = io_vfu_request(v, &call, reply);

	if (rc != 0)
		return rc;
	if (reply->body_len < sizeof(*info))
		return -EPROTO;
	memcpy(info, reply->body, sizeof(*info));
	return info->index == region && info->count <= MAX_ENTRIES ? 0 : -EPROTO;
}

static bool is_memory_bar(struct io_vfu *v, unsigned int bar)
{
	uint32_t value;

	if (v->region[bar].len == 0 || !(v->region[bar].flags & BH_REGION_WRITE))
		return false;
	return io_vfu_region_read(&v->dev, BH__PCI_CONFIG_REGION, PCI_BAR0 + 4 * bar, &value,
				  sizeof(value)) == 0 &&
	       (value & 1) == 0;
}

int io_vfu_io_fds_probe(struct io_vfu *v)
{
	struct vfu_region_io_fds info;
	struct vfu_msg reply;

	v->has_io_fds = false;
	for (unsigned int i = 0; i < BARS && !v->has_io_fds; i++) {
		int rc;

		if (!is_memory_bar(v, i))
			continue;
		rc = ask(v, i, 0, &info, &reply);
		vfu_msg_fini(&reply);
		if (rc == -ENODEV || rc == -ETIMEDOUT)
			return rc;
		v->has_io_fds = rc == 0 && info.count > 0;
	}
	return 0;
}

/* ---- shadow memory ---- */

/* Widens the shadow's range, still of file offsets, by one value. */
static void widen(struct io_vfu_shadow *s, uint64_t offset)
{
	uint64_t mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
	uint64_t first = offset & ~mask, end = (offset + SHADOW_BYTES + mask) & ~mask;

	if (s->range.len == 0) {
		s->first = first;
		s->range.len = (size_t)(end - first);
		return;
	}
	if (end > s->first + s->range.len)
		s->range.len = (size_t)(end - s->first);
	if (first < s->first) {
		s->range.len += (size_t)(s->first - first);
		s->first = first;
	}
}

static int map_shadow(struct io_vfu_shadow *s, int fd)
{
	void *va =
		mmap(NULL, s->range.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)s->first);
	int rc;

	if (va == MAP_FAILED) {
		s->range.len = 0;
		return -errno;
	}
	s->range.base = va;
	s->range.fill = BH_FAULT_ZEROS;
	rc = bh_fault_range_add(&s->range);
	if (rc != 0) {
		munmap(va, s->range.len);
		memset(s, 0, sizeof(*s));
	}
	return rc;
}

static bool shadow_fits(int fd, uint64_t offset)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 0 &&
	       offset % sizeof(uint32_t) == 0 &&
	       bh_range_inside(offset, SHADOW_BYTES, (uint64_t)st.st_size);
}

/* ---- entries ---- */

static bool is_usable(const struct vfu_io_fd *e, const struct io_vfu_region *r,
		      const struct vfu_msg *reply)
{
	if (e->type != VFU_IO_FD_EVENTFD && e->type != VFU_IO_FD_EVENTFD_SHADOW)
		return false;
	/* Flags: only for one value, of an I/O port, and the like. */
	if (e->flags != 0 || e->fd_index >= reply->nfds || reply->fds[e->fd_index] < 0)
		return false;
	if (e->size > SHADOW_BYTES || !bh_range_inside(e->offset, e->size ? e->size : 1, r->len))
		return false;
	return e->type == VFU_IO_FD_EVENTFD ||
	       (e->shadow_fd_index < reply->nfds && e->shadow_fd_index != e->fd_index &&
		shadow_fits(reply->fds[e->shadow_fd_index], e->value));
}

struct pass {
	const struct vfu_msg *reply;
	const struct io_vfu_region *region;
	struct io_vfu_io_fds *io;
	size_t stride;
	uint32_t count;
};

static bool next_usable(const struct pass *p, uint32_t *i, struct vfu_io_fd *e)
{
	for (; *i < p->count; ++*i) {
		memcpy(e, p->reply->body + sizeof(struct vfu_region_io_fds) + *i * p->stride,
		       sizeof(*e));
		if (is_usable(e, p->region, p->reply)) {
			++*i;
			return true;
		}
	}
	return false;
}

static int map_shadows(const struct pass *p)
{
	struct vfu_io_fd e;
	uint32_t i = 0;
	int rc = 0;

	while (next_usable(p, &i, &e))
		if (e.type == VFU_IO_FD_EVENTFD_SHADOW)
			widen(&p->io->shadow[e.shadow_fd_index], e.value);
	for (i = 0; i < p->reply->nfds && rc == 0; i++)
		if (p->io->shadow[i].range.len > 0)
			rc = map_shadow(&p->io->shadow[i], p->reply->fds[i]);
	return rc;
}

static void fill_entries(const struct pass *p)
{
	struct io_vfu_io_fds *io = p->io;
	struct vfu_io_fd e;
	uint32_t i = 0;

	while (next_usable(p, &i, &e)) {
		struct bh_region_io_fd *out = &io->entry[io->count];
		const struct io_vfu_shadow *s = &io->shadow[e.shadow_fd_index % VFU_MAX_FDS];

		/* The file may have grown since the first pass, which left this one out then. */
		if (e.type == VFU_IO_FD_EVENTFD_SHADOW &&
		    (!s->range.base || e.value < s->first ||
		     !bh_range_inside(e.value - s->first, SHADOW_BYTES, s->range.len)))
			continue;
		io->count++;
		out->offset = e.offset;
		out->len = e.size;
		out->eventfd = p->reply->fds[e.fd_index];
		if (e.type == VFU_IO_FD_EVENTFD_SHADOW)
			out->shadow = (uint8_t *)s->range.base + (e.value - s->first);
	}
}

/* The reply's fds become the region's. A counter at its maximum must not block a driver's kick. */
static void keep_fds(struct io_vfu_io_fds *io, struct vfu_msg *reply)
{
	for (unsigned int i = 0; i < reply->nfds; i++) {
		int flags = fcntl(reply->fds[i], F_GETFL);

		if (flags >= 0)
			(void)fcntl(reply->fds[i], F_SETFL, flags | O_NONBLOCK);
		io->fds[i] = reply->fds[i];
		reply->fds[i] = -1;
	}
}

static int read_entries(struct io_vfu_region *r, const struct vfu_region_io_fds *info,
			struct vfu_msg *reply)
{
	struct pass p = { .reply = reply, .region = r, .io = r->io_fds, .count = info->count };
	int rc;

	if (info->count == 0)
		return 0;
	if (info->argsz < sizeof(*info) || (info->argsz - sizeof(*info)) % info->count != 0)
		return -EPROTO;
	p.stride = (info->argsz - sizeof(*info)) / info->count;
	if ((p.stride != sizeof(struct vfu_io_fd) && p.stride != LONG_ENTRY) ||
	    !bh_range_inside(sizeof(*info), p.stride * info->count, reply->body_len))
		return -EPROTO;
	r->io_fds->entry = calloc(info->count, sizeof(r->io_fds->entry[0]));
	if (!r->io_fds->entry)
		return -ENOMEM;
	rc = map_shadows(&p);
	if (rc == 0) {
		fill_entries(&p);
		keep_fds(r->io_fds, reply);
	}
	return rc;
}

static int fetch(struct io_vfu *v, unsigned int region)
{
	struct io_vfu_region *r = &v->region[region];
	struct vfu_region_io_fds info;
	struct vfu_msg reply;
	int rc;

	r->io_fds = calloc(1, sizeof(*r->io_fds));
	if (!r->io_fds)
		return -ENOMEM;
	memset(r->io_fds->fds, 0xff, sizeof(r->io_fds->fds));
	rc = ask(v, region, 0, &info, &reply);
	if (rc == 0 && info.count > 0) {
		vfu_msg_fini(&reply);
		rc = ask(v, region, info.count, &info, &reply);
	}
	if (rc == 0)
		rc = read_entries(r, &info, &reply);
	vfu_msg_fini(&reply);
	if (rc > 0) /* a refusal: no such fds here */
		rc = 0;
	r->io_fds->known = rc == 0;
	return rc;
}

int io_vfu_region_io_fds(struct bh_device *dev, unsigned int region, struct bh_region_io_fd *out,
			 unsigned int max)
{
	struct io_vfu *v = to_io_vfu(dev);
	struct io_vfu_region *r = &v->region[region];
	int rc = 0;

	pthread_mutex_lock(&v->io_fds_lock);
	if (!r->io_fds || !r->io_fds->known) {
		io_vfu_io_fds_forget(r);
		rc = fetch(v, region);
	}
	if (rc == 0) {
		rc = (int)r->io_fds->count;
		if (max > r->io_fds->count)
			max = r->io_fds->count;
		if (max > 0)
			memcpy(out, r->io_fds->entry, max * sizeof(*out));
	}
	pthread_mutex_unlock(&v->io_fds_lock);
	if (rc == -EPROTO)
		bh_log(v->dev.log, BH_LOG_ERROR, "vfio-user",
		       "%s: region %u: the answer about I/O fds makes no sense", v->dev.address,
		       region);
	return rc;
}

void io_vfu_io_fds_forget(struct io_vfu_region *region)
{
	struct io_vfu_io_fds *io = region->io_fds;

	region->io_fds = NULL;
	if (!io)
		return;
	for (unsigned int i = 0; i < VFU_MAX_FDS; i++) {
		if (io->shadow[i].range.base) {
			bh_fault_range_remove(&io->shadow[i].range);
			munmap(io->shadow[i].range.base, io->shadow[i].range.len);
		}
		bh__fd_close(&io->fds[i]);
	}
	free(io->entry);
	free(io);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory: pools mapped in the server, and the server's own reads and writes of them.
 *
 * A pool is recorded in `maps` before the server hears of it and until the server has let go of it,
 * so whatever the server may ask for is there, and nothing else is. Serving copies under maps_lock
 * and removing takes it: when an unmap returns, no copy is under way and none will begin. Ranges
 * the server maps by fd are served by message as well (vfio-user 3.10).
 *
 * iova = va. An unmap that is not acknowledged leaves memory in the hands of a server that may
 * still write to it, so the device is declared gone; so is one that does not answer a map, since it
 * may have the memory or not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/barrier.h>

#include "io_vfu/dev.h"

static struct io_vfu *from_listener(struct bh_dma_listener *listener)
{
	return (struct io_vfu *)((char *)listener - offsetof(struct io_vfu, listener));
}

/* ---- map and unmap ---- */

static int record(struct io_vfu *v, const struct bh_mem *mem)
{
	int rc;

	pthread_mutex_lock(&v->maps_lock);
	rc = v->maps.count >= v->peer.max_dma_maps
		     ? -ENOSPC
		     : bh_range_map_insert(&v->maps, (uintptr_t)mem->va, mem->len, mem->va);
	pthread_mutex_unlock(&v->maps_lock);
	return rc;
}

/* Takes the lock: waits for a copy that is under way. */
static void forget(struct io_vfu *v, const struct bh_mem *mem)
{
	pthread_mutex_lock(&v->maps_lock);
	(void)bh_range_map_remove(&v->maps, (uintptr_t)mem->va, mem->len, NULL);
	pthread_mutex_unlock(&v->maps_lock);
}

static bool is_recorded(struct io_vfu *v, const struct bh_mem *mem)
{
	const struct bh_range *r;
	bool found;

	pthread_mutex_lock(&v->maps_lock);
	r = bh_range_map_find(&v->maps, (uintptr_t)mem->va, mem->len);
	found = r && r->base == (uintptr_t)mem->va && r->len == mem->len;
	pthread_mutex_unlock(&v->maps_lock);
	return found;
}

/* Memory without a file is reached by messages, whatever was asked for. */
static enum bh_dma_access mode_of(const struct io_vfu *v, const struct bh_mem *mem)
{
	return mem->kind == BH_MEM_FILE ? v->opts.dma_access : BH_DMA_ACCESS_MESSAGE;
}

static int send_map(struct io_vfu *v, const struct bh_mem *mem)
{
	enum bh_dma_access mode = mode_of(v, mem);
	struct vfu_dma_map body = {
		.argsz = sizeof(body),
		.flags = VFU_DMA_FLAG_READ | VFU_DMA_FLAG_WRITE,
		.address = (uintptr_t)mem->va,
		.size = mem->len,
	};
	struct io_vfu_call call = { .command = VFU_DMA_MAP,
				    .body = &body,
				    .body_len = sizeof(body) };

	/* Older servers know no mode bits: without one, an fd means mmap (3.1). */
	if (mode == BH_DMA_ACCESS_MMAP)
		body.flags |= VFU_DMA_FLAG_MMAP;
	if (mode == BH_DMA_ACCESS_FILE_IO)
		body.flags |= VFU_DMA_FLAG_FILE_IO;
	if (mode != BH_DMA_ACCESS_MESSAGE) {
		body.offset = mem->fd_offset;
		call.fds = &mem->fd;
		call.nfds = 1;
	}
	return io_vfu_request(v, &call, NULL);
}

static int send_unmap(struct io_vfu *v, const struct bh_mem *mem)
{
	struct vfu_dma_unmap body = {
		.argsz = sizeof(body),
		.address = (uintptr_t)mem->va,
		.size = mem->len,
	};
	const struct io_vfu_call call = { .command = VFU_DMA_UNMAP,
					  .body = &body,
					  .body_len = sizeof(body) };

	return io_vfu_request(v, &call, NULL);
}

/* The server's smallest page size; address, length and file offset must be made of such pages. */
static int check_memory(struct io_vfu *v, const struct bh_mem *mem)
{
	uint64_t mask = (v->peer.pgsizes & -v->peer.pgsizes) - 1;

	if (mem->kind == BH_MEM_DMABUF)
		return io_vfu_fail(v, -EOPNOTSUPP,
				   "a BAR of another device (at %p) cannot be offered to a server",
				   mem->va);
	if ((((uintptr_t)mem->va | mem->len | mem->fd_offset) & mask) == 0)
		return 0;
	return io_vfu_fail(v, -EINVAL,
			   "the server maps pages of %llu bytes, the pool at %p has smaller ones",
			   (unsigned long long)mask + 1, mem->va);
}

static const char *const access_name[] = { "auto", "mmap", "file I/O", "message" };

static int refused(struct io_vfu *v, const struct bh_mem *mem, int rc)
{
	/* 3.1: servers differ in which one means an overlap. */
	if (rc == EEXIST)
		rc = EINVAL;
	return io_vfu_fail(v, io_vfu_status(rc),
			   "the server refuses to map memory (%zu bytes at %p, DMA access %s): %s",
			   mem->len, mem->va, access_name[mode_of(v, mem)], strerror(rc));
}

static int map_recorded(struct io_vfu *v, const struct bh_mem *mem)
{
	int rc = send_map(v, mem);

	if (rc == -ETIMEDOUT || rc == -ENODEV) {
		if (rc == -ETIMEDOUT)
			io_vfu_link_break(v, "the server did not answer a request to map memory");
		return rc;
	}
	if (rc > 0)
		return refused(v, mem, rc);
	if (rc < 0)
		return io_vfu_fail(v, rc, "memory cannot be offered: %s", strerror(-rc));
	rc = bh_iova_map_add(&v->dev.iova, mem->va, mem->len, (uintptr_t)mem->va);
	if (rc == 0)
		return 0;
	if (send_unmap(v, mem) != 0)
		io_vfu_link_break(v, "the server keeps memory that could not be used");
	return io_vfu_fail(v, rc, "no translation for memory: %s", strerror(-rc));
}

int io_vfu_dma_map(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct io_vfu *v = from_listener(listener);
	int rc;

	/* A pool for a device that is gone is mapped when it is opened again. */
	if (!io_vfu_link_is_up(v))
		return io_vfu_is_opening(v) ? -ENODEV : 0;
	rc = check_memory(v, mem);
	if (rc != 0)
		return rc;
	rc = record(v, mem);
	if (rc != 0)
		return io_vfu_fail(v, rc, "no room for another DMA mapping (the server takes %u)",
				   v->peer.max_dma_maps);
	rc = map_recorded(v, mem);
	if (rc != 0)
		forget(v, mem);
	return rc == -ENODEV && !io_vfu_is_opening(v) ? 0 : rc;
}

void io_vfu_dma_unmap(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct io_vfu *v = from_listener(listener);
	int rc;

	if (!is_recorded(v, mem))
		return;
	if (bh_iova_map_del(&v->dev.iova, mem->va, mem->len) == -ENOMEM)
		io_vfu_link_break(v, "out of memory while memory was being unmapped");
	rc = send_unmap(v, mem);
	if (rc == ENOENT)
		bh_log(v->dev.log, BH_LOG_WARN, "vfio-user",
		       "%s: the server did not know the memory it was to unmap (%p)",
		       v->dev.address, mem->va);
	else if (rc != 0)
		io_vfu_link_break(v, rc == -ETIMEDOUT
					     ? "the server did not answer a request to unmap memory"
					     : "the server does not unmap memory");
	forget(v, mem);
}

/* ---- serving ---- */

/*
 * Whole words in ascending order, the later never visible before the earlier: the driver polls for
 * the last word of a completion entry and then reads the others.
 */
static void store_ordered(uint8_t *dst, const uint8_t *src, size_t len)
{
	uint64_t word;

	for (; len > 0 && ((uintptr_t)dst % 8 != 0 || len < 8); len--)
		__atomic_store_n(dst++, *src++, __ATOMIC_RELEASE);
	for (; len >= 8; dst += 8, src += 8, len -= 8) {
		memcpy(&word, src, sizeof(word));
		bh_store_release_u64(dst, word);
	}
	for (; len > 0; len--)
		__atomic_store_n(dst++, *src++, __ATOMIC_RELEASE);
}

/* [iova, iova + len) is in one or more adjacent mappings; maps_lock held. */
static bool is_mapped(const struct bh_range_map *maps, uint64_t iova, uint64_t len)
{
	size_t i = bh_range_map_lower(maps, iova);

	for (; len > 0; i++) {
		const struct bh_range *r = &maps->ranges[i];
		uint64_t left;

		if (i == maps->count || iova < r->base)
			return false;
		left = r->len - (iova - r->base);
		if (left >= len)
			return true;
		iova += left;
		len -= left;
	}
	return true;
}

static void copy(const struct bh_range_map *maps, uint64_t iova, uint8_t *buf, uint64_t len,
		 bool write)
{
	for (size_t i = bh_range_map_lower(maps, iova); len > 0; i++) {
		const struct bh_range *r = &maps->ranges[i];
		uint64_t off = iova - r->base;
		uint64_t n = r->len - off < len ? r->len - off : len;

		if (write)
			store_ordered((uint8_t *)r->value + off, buf, n);
		else
			memcpy(buf, (uint8_t *)r->value + off, n);
		iova += n;
		buf += n;
		len -= n;
	}
}

static int access_memory(struct io_vfu *v, const struct vfu_dma_access *access, uint8_t *buf,
			 bool write)
{
	int error = 0;

	if (access->count == 0)
		return 0;
	pthread_mutex_lock(&v->maps_lock);
	if (bh_range_valid(access->address, access->count) &&
	    is_mapped(&v->maps, access->address, access->count))
		copy(&v->maps, access->address, buf, access->count, write);
	else
		error = ENODEV;
	pthread_mutex_unlock(&v->maps_lock);
	return error;
}

/* 0 or the errno of the reply (3.10). A read's data are in v->bounce. */
static int execute(struct io_vfu *v, const struct vfu_msg *msg, struct vfu_dma_access *access)
{
	bool write = msg->header.command == VFU_DMA_WRITE;

	if (!write && msg->header.command != VFU_DMA_READ)
		return ENOSYS;
	if (msg->body_len < sizeof(*access))
		return EINVAL;
	memcpy(access, msg->body, sizeof(*access));
	if (access->count > VFU_MAX_DATA)
		return E2BIG;
	if (msg->body_len - sizeof(*access) != (write ? access->count : 0))
		return EINVAL;
	if (!write && !v->bounce)
		v->bounce = malloc(VFU_MAX_DATA);
	if (!write && !v->bounce)
		return ENOMEM;
	return access_memory(v, access, write ? msg->body + sizeof(*access) : v->bounce, write);
}

int io_vfu_dma_serve(struct io_vfu *v, struct vfu_conn *conn, const struct vfu_msg *msg)
{
	struct vfu_dma_access access;
	int error = execute(v, msg, &access);
	bool read = msg->header.command == VFU_DMA_READ;
	int rc;

	if (error != 0)
		bh_log(v->dev.log, BH_LOG_DEBUG, "vfio-user", "%s: %s from the server refused: %s",
		       v->dev.address, vfu_command_str(msg->header.command), strerror(error));
	pthread_mutex_lock(&v->link.lock);
	rc = vfu_conn_reply(conn, &msg->header, error, &access, sizeof(access),
			    error == 0 && read ? v->bounce : NULL,
			    error == 0 && read ? access.count : 0, NULL, 0);
	pthread_mutex_unlock(&v->link.lock);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions: REGION_INFO with its sparse-mmap capability, and reads and writes by message.
 *
 * Every region can be read and written by message, whether it is mappable or not. Configuration
 * space and the MSI-X BAR are the server's own, everything else goes to the device. A write to
 * configuration space may ask for a reset; then the command is answered when that is done, and a
 * REGION_WRITE_MULTI goes on with its next entry after it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/range.h>

#include "vfu_server/server.h"

#define MSIX_ENTRY 16u
#define MSIX_VECTOR_CONTROL 12u
#define SMALL 64 /* register accesses need no allocation */

uint64_t vfus_region_size(const struct bh_vfu_server *s, uint32_t region)
{
	if (region <= BH_PCI_BAR5)
		return s->bar[region].bytes;
	return region == BH_PCI_CONFIG ? VFUS_CONFIG_SIZE : 0;
}

/* ---- information ---- */

static bool is_mappable(const struct bh_vfu_server *s, uint32_t region)
{
	return region <= BH_PCI_BAR5 && s->bar[region].fd >= 0 && s->bar[region].num_areas > 0 &&
	       s->peer.max_msg_fds > 0;
}

/* The capability chain: one sparse-mmap capability, even if its one area is the whole BAR. */
static struct vfu_cap_sparse *make_sparse(const struct vfus_bar *bar, size_t *len)
{
	struct vfu_cap_sparse *cap;
	unsigned int i;

	*len = sizeof(*cap) + bar->num_areas * sizeof(cap->area[0]);
	cap = calloc(1, *len);
	if (!cap)
		return NULL;
	cap->header.id = VFU_CAP_SPARSE_MMAP;
	cap->header.version = 1;
	cap->nr_areas = bar->num_areas;
	for (i = 0; i < bar->num_areas; i++) {
		cap->area[i].offset = bar->areas[i].offset;
		cap->area[i].size = bar->areas[i].len;
	}
	return cap;
}

static int reply_with_areas(struct bh_vfu_server *s, struct vfu_region_info *info, uint32_t argsz)
{
	const struct vfus_bar *bar = &s->bar[info->index];
	struct vfu_cap_sparse *cap;
	size_t len;

	info->flags |= VFU_REGION_FLAG_MMAP;
	len = sizeof(*cap) + bar->num_areas * sizeof(cap->area[0]);
	info->argsz = (uint32_t)(sizeof(*info) + len);
	if (argsz < info->argsz) {
		vfus_reply(s, info, sizeof(*info), NULL, 0, NULL, 0);
		return 0;
	}
	cap = make_sparse(bar, &len);
	if (!cap)
		return -ENOMEM;
	info->flags |= VFU_REGION_FLAG_CAPS;
	info->cap_offset = sizeof(*info);
	vfus_reply(s, info, sizeof(*info), cap, len, &bar->fd, 1);
	free(cap);
	return 0;
}

int vfus_handle_region_info(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	struct vfu_region_info request, info = { .argsz = sizeof(info) };

	if (msg->body_len < sizeof(request))
		return -EINVAL;
	memcpy(&request, msg->body, sizeof(request));
	if (request.argsz < sizeof(request) || request.index >= BH_PCI_REGIONS)
		return -EINVAL;
	info.index = request.index;
	info.size = vfus_region_size(s, request.index);
	if (info.size > 0)
		info.flags = VFU_REGION_FLAG_READ | VFU_REGION_FLAG_WRITE;
	if (is_mappable(s, request.index))
		return reply_with_areas(s, &info, request.argsz);
	vfus_reply(s, &info, sizeof(info), NULL, 0, NULL, 0);
	return 0;
}

/* ---- the MSI-X BAR ---- */

static uint8_t pba_byte(const struct bh_vfu_server *s, uint64_t at)
{
	unsigned int i, vector;
	uint8_t byte = 0;

	for (i = 0; i < 8; i++) {
		vector = (unsigned int)at * 8 + i;
		if (vector < s->irqs.num_msix && vfus_vector_pending(&s->irqs.msix[vector]))
			byte |= (uint8_t)(1u << i);
	}
	return byte;
}

static void msix_read(struct bh_vfu_server *s, uint64_t offset, uint8_t *buf, size_t count)
{
	const uint64_t pba_len = (s->irqs.num_msix + 7) / 8;
	size_t i;

	for (i = 0; i < count; i++) {
		const uint64_t at = offset + i;

		if (at < s->msix_table_len)
			buf[i] = s->msix_table[at];
		else if (at >= s->pba_offset && at - s->pba_offset < pba_len)
			buf[i] = pba_byte(s, at - s->pba_offset);
		else
			buf[i] = 0;
	}
}

/* PCI 3.0 6.8.2: only the mask bit of the vector control word means anything to us. */
static void msix_write(struct bh_vfu_server *s, uint64_t offset, const uint8_t *buf, size_t count)
{
	bool changed = false;
	size_t i;

	for (i = 0; i < count && offset + i < s->msix_table_len; i++) {
		const uint64_t at = offset + i;

		s->msix_table[at] = buf[i];
		if (at % MSIX_ENTRY == MSIX_VECTOR_CONTROL)
			changed |= vfus_irqs_table_mask(s, (unsigned int)(at / MSIX_ENTRY),
							buf[i] & 1);
	}
	if (changed)
		vfus_irqs_changed(s);
}

/* ---- access ---- */

static int check_access(const struct bh_vfu_server *s, const struct vfu_region_access *access)
{
	if (access->region >= BH_PCI_REGIONS || access->count > VFU_MAX_DATA ||
	    !bh_range_inside(access->offset, access->count, vfus_region_size(s, access->region)))
		return -EINVAL;
	return 0;
}

static int read_region(struct bh_vfu_server *s, const struct vfu_region_access *access,
		       uint8_t *buf)
{
	if (access->count == 0)
		return 0;
	if (access->region == BH_PCI_CONFIG) {
		vfus_config_read(s, (uint32_t)access->offset, buf, access->count);
		return 0;
	}
	if (s->msix_table && access->region == s->msix_bar) {
		msix_read(s, access->offset, buf, access->count);
		return 0;
	}
	memset(buf, 0, access->count); /* nothing of ours leaks through a device that fills less */
	return s->ops->access(s->ops_ctx, access->region, access->offset, buf, access->count,
			      false);
}

static int write_region(struct bh_vfu_server *s, const struct vfu_region_access *access,
			uint8_t *buf, enum vfus_reset_wish *wish)
{
	*wish = VFUS_WISH_NONE;
	if (access->count == 0)
		return 0;
	if (access->region == BH_PCI_CONFIG) {
		*wish = vfus_config_write(s, (uint32_t)access->offset, buf, access->count);
		return 0;
	}
	if (s->msix_table && access->region == s->msix_bar) {
		msix_write(s, access->offset, buf, access->count);
		return 0;
	}
	return s->ops->access(s->ops_ctx, access->region, access->offset, buf, access->count, true);
}

int vfus_handle_region_read(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	struct vfu_region_access access;
	uint8_t small[SMALL] __attribute__((aligned(8))), *buf = small;
	int rc;

	if (msg->body_len < sizeof(access))
		return -EINVAL;
	memcpy(&access, msg->body, sizeof(access));
	rc = check_access(s, &access);
	if (rc != 0)
		return rc;
	if (access.count > sizeof(small)) {
		buf = malloc(access.count);
		if (!buf)
			return -ENOMEM;
	}
	rc = read_region(s, &access, buf);
	if (rc == 0)
		vfus_reply(s, &access, sizeof(access), buf, access.count, NULL, 0);
	if (buf != small)
		free(buf);
	return rc;
}

static int begin_reset(struct bh_vfu_server *s, enum vfus_reset_wish wish,
		       void (*finish)(struct bh_vfu_server *s, int rc))
{
	s->reset_reason = wish == VFUS_WISH_FLR ? BH_RESET_FLR : BH_RESET_D3;
	return vfus_gate_command(s, BH_QUIESCE_RESET, 0, UINT64_MAX, vfus_do_reset, finish);
}

static void reply_write(struct bh_vfu_server *s, const struct vfu_msg *msg)
{
	vfus_reply(s, msg->body, sizeof(struct vfu_region_access), NULL, 0, NULL, 0);
}

static void finish_write(struct bh_vfu_server *s, int rc)
{
	if (rc == 0)
		reply_write(s, &s->cur);
	vfus_finish(s, rc);
}

int vfus_handle_region_write(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	struct vfu_region_access access;
	enum vfus_reset_wish wish;
	int rc;

	if (msg->body_len < sizeof(access))
		return -EINVAL;
	memcpy(&access, msg->body, sizeof(access));
	rc = check_access(s, &access);
	if (rc != 0)
		return rc;
	if (msg->body_len != sizeof(access) + access.count)
		return -EINVAL;
	rc = write_region(s, &access, msg->body + sizeof(access), &wish);
	if (rc != 0)
		return rc;
	if (wish != VFUS_WISH_NONE)
		return begin_reset(s, wish, finish_write);
	reply_write(s, msg);
	return 0;
}

/* ---- many small writes in one message ---- */

static int write_entries(struct bh_vfu_server *s, const struct vfu_msg *msg);

/* When the reset was done at once the loop is still running and goes on by itself. */
static void finish_multi(struct bh_vfu_server *s, int rc)
{
	if (s->multi_running) {
		s->multi_rc = rc;
		return;
	}
	if (rc == 0)
		rc = write_entries(s, &s->cur);
	if (rc != VFUS_PENDING)
		vfus_finish(s, rc);
}

/* One entry; VFUS_PENDING when a reset has to be finished first. */
static int write_entry(struct bh_vfu_server *s, struct vfu_write_multi_entry *entry)
{
	const struct vfu_region_access access = {
		.offset = entry->offset,
		.region = entry->region,
		.count = entry->count,
	};
	enum vfus_reset_wish wish;
	int rc;

	if (entry->count < 1 || entry->count > sizeof(entry->data))
		return -EINVAL;
	rc = check_access(s, &access);
	if (rc == 0)
		rc = write_region(s, &access, entry->data, &wish);
	if (rc != 0 || wish == VFUS_WISH_NONE)
		return rc;
	s->multi_running = true;
	s->multi_rc = VFUS_PENDING;
	begin_reset(s, wish, finish_multi);
	s->multi_running = false;
	return s->multi_rc;
}

static int write_entries(struct bh_vfu_server *s, const struct vfu_msg *msg)
{
	struct vfu_write_multi_entry entry;
	unsigned int n = 0;
	uint64_t wr_cnt;
	int rc;

	memcpy(&wr_cnt, msg->body, sizeof(wr_cnt));
	while (s->multi_next < wr_cnt) {
		if (n++ == VFUS_WRITES_PER_PASS) {
			s->multi_later = true;
			bh_timer_set(s->kick, 0);
			return VFUS_PENDING;
		}
		memcpy(&entry, msg->body + sizeof(wr_cnt) + s->multi_next * sizeof(entry),
		       sizeof(entry));
		s->multi_next++;
		rc = write_entry(s, &entry);
		if (rc != 0)
			return rc;
	}
	vfus_reply(s, &wr_cnt, sizeof(wr_cnt), NULL, 0, NULL, 0);
	return 0;
}

void vfus_write_more(struct bh_vfu_server *s)
{
	int rc = -ENODEV;

	s->multi_later = false;
	if (vfus_has_client(s))
		rc = write_entries(s, &s->cur);
	if (rc != VFUS_PENDING)
		vfus_finish(s, rc);
}

int vfus_handle_write_multi(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	uint64_t wr_cnt;

	if (!s->write_multiple || msg->body_len < sizeof(wr_cnt))
		return -EINVAL;
	memcpy(&wr_cnt, msg->body, sizeof(wr_cnt));
	if (wr_cnt != (msg->body_len - sizeof(wr_cnt)) / sizeof(struct vfu_write_multi_entry) ||
	    (msg->body_len - sizeof(wr_cnt)) % sizeof(struct vfu_write_multi_entry) != 0)
		return -EINVAL;
	s->multi_next = 0;
	return write_entries(s, msg);
}

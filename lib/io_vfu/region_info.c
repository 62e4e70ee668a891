/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the server says of its regions (vfio-user 3.4). Nothing of it is trusted: capabilities are
 * followed within the answer and for a bounded number of steps, areas must be pages inside the
 * region and inside the file, and the file must be a regular one. An answer that contradicts itself
 * ends the opening; an area that cannot be mapped is left out, since everything can be reached by
 * messages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "io_vfu/dev.h"

/* Room for all capabilities there are; a server that needs more says so, once. */
#define FIRST_ARGSZ 4096u
#define MAX_ARGSZ 65536u
#define MAX_AREAS 64u

struct answer {
	struct vfu_msg msg;
	struct vfu_region_info info;
};

static int ask_once(struct io_vfu *v, unsigned int region, uint32_t argsz, struct answer *answer)
{
	struct vfu_region_info body = { .argsz = argsz, .index = region };
	const struct io_vfu_call call = { .command = VFU_DEVICE_GET_REGION_INFO,
					  .body = &body,
					  .body_len = sizeof(body) };
	int rc = io_vfu_request(v, &call, &answer->msg);

	if (rc != 0)
		return rc;
	if (answer->msg.body_len < sizeof(answer->info))
		return io_vfu_fail(v, -EPROTO, "a short answer about region %u", region);
	memcpy(&answer->info, answer->msg.body, sizeof(answer->info));
	if (answer->info.index != region)
		return io_vfu_fail(v, -EPROTO, "an answer about another region than %u", region);
	return 0;
}

/* Asks again with the room the server wants. The caller finishes answer->msg. */
static int ask(struct io_vfu *v, unsigned int region, struct answer *answer)
{
	uint32_t argsz = FIRST_ARGSZ;
	int rc = ask_once(v, region, argsz, answer);

	if (rc != 0 || answer->info.argsz <= argsz)
		return rc;
	argsz = answer->info.argsz;
	vfu_msg_fini(&answer->msg);
	if (argsz <= MAX_ARGSZ) {
		rc = ask_once(v, region, argsz, answer);
		if (rc != 0 || answer->info.argsz <= argsz)
			return rc;
	}
	return io_vfu_fail(v, -EPROTO, "an endless answer about region %u", region);
}

/* The part of file and region that an area means, or false. */
static bool area_is_sane(const struct io_vfu_region *r, const struct bh_region_area *area,
			 uint64_t file_len)
{
	uint64_t mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;

	return area->len > 0 && ((area->offset | area->len | r->fd_offset) & mask) == 0 &&
	       bh_range_inside(area->offset, area->len, r->len) && r->fd_offset <= file_len &&
	       bh_range_inside(area->offset, area->len, file_len - r->fd_offset);
}

static int add_areas(struct io_vfu *v, unsigned int region, const struct bh_region_area *areas,
		     unsigned int count, uint64_t file_len)
{
	struct io_vfu_region *r = &v->region[region];

	r->areas = calloc(count ? count : 1, sizeof(r->areas[0]));
	if (!r->areas)
		return -ENOMEM;
	for (unsigned int i = 0; i < count; i++) {
		if (area_is_sane(r, &areas[i], file_len))
			r->areas[r->num_areas++] = areas[i];
		else
			bh_log(v->dev.log, BH_LOG_WARN, "vfio-user",
			       "%s: region %u: a mappable area that is not within region and file "
			       "is ignored",
			       v->dev.address, region);
	}
	return 0;
}

/* Reads a sparse capability at `at`, whose header is known to be there. Areas or -EPROTO. */
static int read_sparse(const struct vfu_msg *msg, uint32_t at, struct bh_region_area *areas)
{
	struct vfu_cap_sparse cap;
	struct vfu_sparse_area wire;

	if (!bh_range_inside(at, sizeof(cap), msg->body_len))
		return -EPROTO;
	memcpy(&cap, msg->body + at, sizeof(cap));
	if (cap.nr_areas > MAX_AREAS ||
	    !bh_range_inside(at + sizeof(cap), cap.nr_areas * sizeof(wire), msg->body_len))
		return -EPROTO;
	for (uint32_t i = 0; i < cap.nr_areas; i++) {
		memcpy(&wire, msg->body + at + sizeof(cap) + i * sizeof(wire), sizeof(wire));
		areas[i].offset = wire.offset;
		areas[i].len = wire.size;
	}
	return (int)cap.nr_areas;
}

/*
 * Walks the chain. The number of areas of the sparse capability, -ENOENT when there is none,
 * -EPROTO when the chain leaves the answer or goes round in it.
 */
static int find_sparse(const struct answer *answer, struct bh_region_area *areas)
{
	const struct vfu_msg *msg = &answer->msg;
	uint32_t at = answer->info.cap_offset;
	size_t steps = msg->body_len / sizeof(struct vfu_cap_header);
	struct vfu_cap_header h;
	int found = -ENOENT;

	if (!(answer->info.flags & VFU_REGION_FLAG_CAPS))
		return -ENOENT;
	for (; at != 0; at = h.next) {
		if (steps-- == 0 || at < sizeof(struct vfu_region_info) || at % 8 != 0 ||
		    !bh_range_inside(at, sizeof(h), msg->body_len))
			return -EPROTO;
		memcpy(&h, msg->body + at, sizeof(h));
		if (h.id == VFU_CAP_SPARSE_MMAP && found == -ENOENT)
			found = read_sparse(msg, at, areas);
		if (found == -EPROTO)
			return -EPROTO;
	}
	return found;
}

/* Takes the fd if it is a regular file. */
static bool take_file(struct io_vfu *v, unsigned int region, struct answer *answer,
		      uint64_t *file_len)
{
	struct io_vfu_region *r = &v->region[region];
	struct stat st;

	if (answer->msg.nfds == 0 || answer->msg.fds[0] < 0 || region == BH__PCI_CONFIG_REGION)
		return false;
	if (fstat(answer->msg.fds[0], &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 0) {
		bh_log(v->dev.log, BH_LOG_WARN, "vfio-user",
		       "%s: region %u: what is offered for mapping is not a regular file",
		       v->dev.address, region);
		return false;
	}
	r->fd = answer->msg.fds[0];
	answer->msg.fds[0] = -1;
	*file_len = (uint64_t)st.st_size;
	return true;
}

static int learn_areas(struct io_vfu *v, unsigned int region, struct answer *answer)
{
	struct io_vfu_region *r = &v->region[region];
	struct bh_region_area areas[MAX_AREAS];
	uint64_t file_len;
	int n = find_sparse(answer, areas);
	int rc;

	if (n == -EPROTO)
		return io_vfu_fail(v, n, "region %u: a broken chain of capabilities", region);
	if (!(r->flags & BH_REGION_MMAP) || !take_file(v, region, answer, &file_len)) {
		r->flags &= ~BH_REGION_MMAP;
		return 0;
	}
	r->fd_offset = answer->info.offset;
	if (n == -ENOENT) { /* all of it */
		areas[0].offset = 0;
		areas[0].len = r->len;
		n = 1;
	}
	rc = add_areas(v, region, areas, (unsigned int)n, file_len);
	if (r->num_areas == 0)
		r->flags &= ~BH_REGION_MMAP;
	return rc;
}

static int learn_one(struct io_vfu *v, unsigned int region)
{
	struct io_vfu_region *r = &v->region[region];
	struct answer answer;
	int rc;

	memset(&answer, 0, sizeof(answer));
	rc = ask(v, region, &answer);
	if (rc == 0 && answer.info.size > 0) {
		r->len = answer.info.size;
		r->flags = answer.info.flags & (BH_REGION_READ | BH_REGION_WRITE | BH_REGION_MMAP);
		rc = learn_areas(v, region, &answer);
	}
	vfu_msg_fini(&answer.msg);
	/* A refusal: a region that is not there. */
	return rc > 0 ? 0 : rc;
}

int io_vfu_regions_learn(struct io_vfu *v)
{
	int rc = 0;

	for (unsigned int i = 0; i < v->num_regions && rc == 0; i++)
		rc = learn_one(v, i);
	return rc;
}

void io_vfu_regions_forget(struct io_vfu *v)
{
	for (unsigned int i = 0; i < IO_VFU_MAX_REGIONS; i++) {
		struct io_vfu_region *r = &v->region[i];

		io_vfu_io_fds_forget(r);
		bh__fd_close(&r->fd);
		free(r->areas);
		memset(r, 0, sizeof(*r));
		r->fd = -1;
	}
	v->num_regions = 0;
}

int io_vfu_region_info(struct bh_device *dev, unsigned int region, struct bh_region_info *info)
{
	struct io_vfu *v = to_io_vfu(dev);
	const struct io_vfu_region *r;

	if (region >= v->num_regions)
		return -EINVAL;
	r = &v->region[region];
	info->len = r->len;
	info->flags = r->flags;
	info->num_areas = r->num_areas;
	info->areas = r->areas;
	return 0;
}

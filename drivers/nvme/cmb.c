/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The controller memory buffer (NVM Express 2.0, 3.1.3.11 to 3.1.3.15 and 8.5): memory of the
 * device in one of its BARs, where submission queues and lists may lie.
 *
 * An entry in host memory costs the controller a read across the bus before it can begin; one in
 * its own memory arrives with the host's store. That pays if the 64 bytes of an entry travel as one
 * burst, which takes a write-combining mapping. Uncached, each of the eight stores is a transaction
 * of its own that the CPU waits behind, far above what a command may cost here; so by default the
 * buffer is used only where the mapping is known to be write-combining. Completion queues stay in
 * host memory in any case: polling them across the bus would be a read per look.
 *
 * The entry is stored the same way wherever the queue is, so the fast path does not know; what
 * differs is the barrier before the doorbell, and a queue that needs it has its doorbell rung out
 * of line (doorbell.c), once per burst.
 *
 * A queue always has room in host memory as well: where there is none in the buffer, or a reset
 * brings the controller back without it, the queue is created there. Pieces are whole pages of the
 * controller, handed out by first fit; one whose deletion was not confirmed stays taken until the
 * controller is off. The restrictions of CMBLOC (queues and lists physically contiguous, in the
 * buffer entirely or not at all, lists only of commands that are there themselves) are kept for
 * every controller, so that its bits that lift them need not be asked.
 *
 * What the controller calls an address in the buffer: from 1.4 on we choose (CMBMSC.CBA), before it
 * is the address on the bus. It must be one that no pool ever has, or data would end up here. The
 * bus address is such a one where the backend knows which addresses memory may have: it keeps
 * memory off the device's own BARs. Else one above everything a process can map.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/range.h>

#include "nvme/nvme.h"

#define SZU_MOST 6u	      /* 64 GiB; the rest is reserved */
#define MAP_MOST (16u << 20)  /* as much as queues may ever want */
#define FAR_BASE (1ull << 60) /* above all addresses of processes, on every machine */
/* Before the first there is no buffer; from the second on CAP.CMBS says whether there is. */
#define FIRST_VERSION BH_NVME_VERSION(1, 2, 0)
#define CAP_CMBS_VERSION BH_NVME_VERSION(1, 4, 0)

/* How a page is used. */
enum { PAGE_FREE, PAGE_USED, PAGE_BURIED };

/* A part of the registers that does not answer is a buffer that is not there. */
static uint32_t reg(struct bh_nvme *nvme, uint64_t offset)
{
	uint32_t value = 0;

	return bh_device_region_read(nvme->dev, 0, offset, &value, sizeof(value)) ? 0 : value;
}

/*
 * The upper half first, and each half by itself: the lower one has the bits that make the
 * controller look at both, and an access of 8 bytes may reach it in two.
 */
static int write_msc(struct bh_nvme *nvme, uint64_t value)
{
	uint32_t low = (uint32_t)value, high = (uint32_t)(value >> 32);
	int rc;

	rc = bh_device_region_write(nvme->dev, 0, BH_NVME_REG_CMBMSC + 4, &high, sizeof(high));
	if (rc)
		return rc;
	return bh_device_region_write(nvme->dev, 0, BH_NVME_REG_CMBMSC, &low, sizeof(low));
}

/* The first byte behind the registers and doorbells in BAR 0. */
static uint64_t registers_end(const struct bh_nvme *nvme)
{
	unsigned int queues = nvme->opts.queues ? nvme->opts.queues : 64;

	return bh_nvme_cq_doorbell((uint16_t)queues, nvme->dstrd) + 4u;
}

/* NULL, or what makes no sense. *info: the parts that do not depend on the mapping. */
static const char *decode(struct bh_nvme *nvme, uint32_t loc, uint32_t size,
			  struct bh_nvme_cmb_info *info)
{
	unsigned int unit = (unsigned int)BH_NVME_GET(size, CMBSZ_SZU), shift = 12 + 4 * unit;
	struct bh_region_info bar;

	memset(info, 0, sizeof(*info));
	info->bar = (unsigned int)BH_NVME_GET(loc, CMBLOC_BIR);
	info->sqs = BH_NVME_GET(size, CMBSZ_SQS);
	info->cqs = BH_NVME_GET(size, CMBSZ_CQS);
	info->lists = BH_NVME_GET(size, CMBSZ_LISTS);
	info->reads = BH_NVME_GET(size, CMBSZ_RDS);
	info->writes = BH_NVME_GET(size, CMBSZ_WDS);
	if (unit > SZU_MOST)
		return "its unit of size is a reserved one";
	/* Both fields have 20 bits, and the shift is 36 at most. */
	info->offset = BH_NVME_GET(loc, CMBLOC_OFST) << shift;
	info->bytes = BH_NVME_GET(size, CMBSZ_SZ) << shift;
	if (info->bar == 1 || info->bar > 5 || bh_device_region_info(nvme->dev, info->bar, &bar) ||
	    !bar.len)
		return "the BAR it is said to be in does not exist";
	if (info->offset >= bar.len)
		return "it begins behind the end of its BAR";
	if (info->bar == 0 && info->offset < registers_end(nvme))
		return "it overlaps registers";
	/* What sticks out is cut off by the specification (CMBSZ.SZ). */
	if (info->bytes > bar.len - info->offset)
		info->bytes = bar.len - info->offset;
	return NULL;
}

/* -ENODEV; else 0, and *info of a buffer that makes sense, or one of 0 bytes. */
static int discover(struct bh_nvme *nvme, struct bh_nvme_cmb_info *info)
{
	uint32_t loc, size;
	const char *wrong;

	memset(info, 0, sizeof(*info));
	nvme->cmb.has_msc = BH_NVME_GET(nvme->cap, CAP_CMBS);
	if (!nvme->cmb.has_msc && (nvme->vs < FIRST_VERSION || nvme->vs >= CAP_CMBS_VERSION))
		return 0;
	/* From 1.4 on the registers show nothing before they are switched on. */
	if (nvme->cmb.has_msc && write_msc(nvme, BH_NVME_SET(CMBMSC_CRE, 1)))
		return bh_device_gone(nvme->dev) ? -ENODEV : 0;
	size = reg(nvme, BH_NVME_REG_CMBSZ);
	loc = reg(nvme, BH_NVME_REG_CMBLOC);
	if (bh_device_gone(nvme->dev))
		return -ENODEV;
	if (!BH_NVME_GET(size, CMBSZ_SZ))
		return 0;
	wrong = decode(nvme, loc, size, info);
	if (wrong) {
		bh__log(nvme, BH_LOG_WARN,
			"its controller memory buffer makes no sense (CMBLOC %08x, CMBSZ %08x): %s",
			loc, size, wrong);
		memset(info, 0, sizeof(*info));
	}
	return 0;
}

/* Bytes from the beginning that one mapping can hold. */
static uint64_t mappable(struct bh_nvme *nvme, const struct bh_nvme_cmb_info *info)
{
	uint64_t most = info->bytes < MAP_MOST ? info->bytes : MAP_MOST, left;
	struct bh_region_info bar;
	unsigned int i;

	if (!(bh_device_caps(nvme->dev) & BH_CAP_REGION_MMAP) ||
	    bh_device_region_info(nvme->dev, info->bar, &bar) || !(bar.flags & BH_REGION_MMAP))
		return 0;
	for (i = 0; i < bar.num_areas; i++) {
		const struct bh_region_area *a = &bar.areas[i];

		if (info->offset < a->offset || info->offset - a->offset >= a->len)
			continue;
		left = a->len - (info->offset - a->offset);
		return left < most ? left : most;
	}
	return 0;
}

/* The buffer's address on the bus, if no memory of ours can have it. */
static bool bus_address(struct bh_nvme *nvme, uint64_t *base)
{
	const struct bh_nvme_cmb_info *info = &nvme->cmb.info;
	struct bh_iova_window window;
	uint64_t bar;

	if (bh_device_iova_windows(nvme->dev, &window, 1) < 1 ||
	    bh_device_bar_address(nvme->dev, info->bar, &bar) ||
	    !bh_range_valid(bar, info->offset + info->bytes))
		return false;
	*base = bar + info->offset;
	return !(*base & 4095);
}

/* Has the controller take addresses from `base` on as the buffer's. False: it does not. */
static bool try_base(struct bh_nvme *nvme, uint64_t base)
{
	if (write_msc(nvme, base | BH_NVME_SET(CMBMSC_CRE, 1) | BH_NVME_SET(CMBMSC_CMSE, 1)))
		return false;
	return !BH_NVME_GET(reg(nvme, BH_NVME_REG_CMBSTS), CMBSTS_CBAI);
}

/* The same for good: pieces are where they are. */
static bool choose_base(struct bh_nvme *nvme)
{
	struct bh__cmb *cmb = &nvme->cmb;
	bool bus = bus_address(nvme, &cmb->base);

	if (bus && (!cmb->has_msc || try_base(nvme, cmb->base)))
		return true;
	cmb->base = FAR_BASE;
	return cmb->has_msc && try_base(nvme, cmb->base);
}

/* Counts the controller's pages, which the buffer need not begin with. */
static int make_pages(struct bh_nvme *nvme)
{
	struct bh__cmb *cmb = &nvme->cmb;

	cmb->skip = -cmb->base & (nvme->page_size - 1);
	cmb->pages = cmb->map.len > cmb->skip ? (cmb->map.len - cmb->skip) / nvme->page_size : 0;
	cmb->page = calloc(cmb->pages + 1, 1);
	return cmb->page ? 0 : -ENOMEM;
}

static const char *attr_text(const struct bh_map *map)
{
	static const char *const text[] = { "of unknown attribute", "uncached", "write-combining",
					    "ordinary memory" };

	return text[map->attr];
}

static void say_what_for(struct bh_nvme *nvme)
{
	const struct bh__cmb *cmb = &nvme->cmb;

	bh__log(nvme, BH_LOG_INFO, "controller memory buffer of %llu KiB, mapped %s (%s): %s",
		(unsigned long long)(cmb->info.bytes >> 10), attr_text(&cmb->map), cmb->map.why,
		nvme->opts.cmb != BH_NVME_CMB_AUTO || cmb->map.attr == BH_ATTR_WC
			? "submission queues go there"
			: "submission queues stay in host memory, where they are faster");
}

/* 0: mapped, or why not is said; -ENODEV. */
static int map(struct bh_nvme *nvme)
{
	struct bh__cmb *cmb = &nvme->cmb;
	uint64_t len = mappable(nvme, &cmb->info) & ~4095ull;
	int rc;

	if (!cmb->info.sqs) {
		bh__log(nvme, BH_LOG_INFO,
			"its controller memory buffer takes no submission queues");
		return 0;
	}
	rc = len ? bh_device_map_bar(nvme->dev, cmb->info.bar, cmb->info.offset, len, BH_ATTR_WC, 0,
				     &cmb->map)
		 : -EOPNOTSUPP;
	if (rc == -ENODEV)
		return rc;
	if (rc) {
		bh__log(nvme, BH_LOG_INFO,
			"its controller memory buffer cannot be mapped (error %d): not used", -rc);
		return 0;
	}
	cmb->usable = choose_base(nvme);
	if (!cmb->usable) {
		bh__log(nvme, BH_LOG_INFO,
			"its controller memory buffer has no address that memory cannot have: not "
			"used");
		return 0;
	}
	say_what_for(nvme);
	return make_pages(nvme);
}

/* As it was when it was mapped? */
static bool same(const struct bh_nvme_cmb_info *a, const struct bh_nvme_cmb_info *b)
{
	return a->bytes == b->bytes && a->bar == b->bar && a->offset == b->offset &&
	       a->sqs == b->sqs && a->lists == b->lists;
}

int bh__cmb_enable(struct bh_nvme *nvme)
{
	struct bh__cmb *cmb = &nvme->cmb;
	struct bh_nvme_cmb_info now;
	int rc;

	cmb->usable = false;
	if (nvme->opts.cmb == BH_NVME_CMB_OFF)
		return 0;
	rc = discover(nvme, &now);
	if (rc)
		return rc;
	if (!cmb->map.va) {
		cmb->info = now;
		rc = now.bytes ? map(nvme) : 0;
		return bh_device_gone(nvme->dev) ? -ENODEV : rc;
	}
	/* Owners who have not seen the reset yet may be storing there: it stays mapped. */
	cmb->usable =
		cmb->page && same(&now, &cmb->info) && (!cmb->has_msc || try_base(nvme, cmb->base));
	if (!cmb->usable)
		bh__log(nvme, BH_LOG_WARN,
			"its controller memory buffer is not what it was before the reset: not "
			"used");
	return bh_device_gone(nvme->dev) ? -ENODEV : 0;
}

void bh__cmb_disable(struct bh_nvme *nvme)
{
	if (nvme->cmb.has_msc && nvme->opts.cmb != BH_NVME_CMB_OFF)
		(void)write_msc(nvme, 0);
}

void bh__cmb_release(struct bh_nvme *nvme)
{
	struct bh__cmb *cmb = &nvme->cmb;
	struct bh_nvme_queue *q;

	for (q = nvme->queues; q; q = q->next)
		q->cmb_pages = 0;
	bh_device_unmap_bar(nvme->dev, &cmb->map);
	free(cmb->page);
	*cmb = (struct bh__cmb){ 0 };
}

/* ---- pieces ---- */

/* First fit; the first page's index, or -1. */
static long take_pages(struct bh_nvme *nvme, size_t count)
{
	struct bh__cmb *cmb = &nvme->cmb;
	size_t at, run = 0;

	for (at = 0; at < cmb->pages; at++) {
		run = cmb->page[at] == PAGE_FREE ? run + 1 : 0;
		if (run < count)
			continue;
		at = at + 1 - count;
		memset(cmb->page + at, PAGE_USED, count);
		return (long)at;
	}
	return -1;
}

static void set_pages(struct bh_nvme *nvme, struct bh_nvme_queue *q, uint8_t state)
{
	/* Gone with the mapping, where there is none any more. */
	if (nvme->cmb.page)
		memset(nvme->cmb.page + q->cmb_page, state, q->cmb_pages);
	q->cmb_pages = 0;
}

void bh__cmb_put(struct bh_nvme *nvme, struct bh_nvme_queue *q, bool safe)
{
	set_pages(nvme, q, safe ? PAGE_FREE : PAGE_BURIED);
}

void bh__cmb_dig_up(struct bh_nvme *nvme)
{
	size_t i;

	for (i = 0; nvme->cmb.page && i < nvme->cmb.pages; i++)
		if (nvme->cmb.page[i] == PAGE_BURIED)
			nvme->cmb.page[i] = PAGE_FREE;
}

/* Does this queue belong there? NULL, or why it does not. */
static const char *unwanted(const struct bh_nvme *nvme, enum bh_nvme_cmb policy)
{
	const struct bh__cmb *cmb = &nvme->cmb;

	if (policy == BH_NVME_CMB_OFF || nvme->opts.cmb == BH_NVME_CMB_OFF)
		return "it is switched off";
	if (!cmb->info.bytes)
		return "the controller has none";
	if (!cmb->usable)
		return "it cannot be used";
	if (policy == BH_NVME_CMB_AUTO && cmb->map.attr != BH_ATTR_WC)
		return "it is not known to be write-combining";
	return NULL;
}

/* Points the queue at its piece. What lay there before is not to be taken for a command. */
static void move_in(struct bh_nvme *nvme, struct bh_nvme_queue *q, size_t ring, bool lists)
{
	struct bh__cmb *cmb = &nvme->cmb;
	size_t i;
	uint64_t at = cmb->skip + (uint64_t)q->cmb_page * nvme->page_size;
	const struct bh_map *m = &cmb->map;

	q->sq = m->va + at;
	q->sq_iova = cmb->base + at;
	q->sq_wc =
		m->attr == BH_ATTR_WC || (m->attr == BH_ATTR_UNKNOWN && m->requested == BH_ATTR_WC);
	for (i = 0; i < ring; i += 8)
		bh_store_u64(q->sq + i, 0);
	if (!lists)
		return;
	q->list = q->sq + ring;
	q->list_iova = q->sq_iova + ring;
}

/* Finds it a piece, with its lists if they are to be there and fit. False: no room. */
static bool take_piece(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	size_t page = nvme->page_size, ring = (q->entries * 64u + page - 1) / page;
	size_t lists = (q->depth * (size_t)q->list_bytes + page - 1) / page;
	long at = -1;

	if (nvme->opts.cmb_lists && nvme->cmb.info.lists)
		at = take_pages(nvme, ring + lists);
	if (at < 0) {
		lists = 0;
		at = take_pages(nvme, ring);
	}
	if (at < 0)
		return false;
	q->cmb_page = (uint32_t)at;
	q->cmb_pages = (uint32_t)(ring + lists);
	move_in(nvme, q, ring * page, lists > 0);
	return true;
}

static int stay_outside(struct bh_nvme *nvme, const struct bh_nvme_queue *q, const char *why)
{
	if (q->cmb == BH_NVME_CMB_REQUIRE) {
		bh__log(nvme, BH_LOG_ERROR,
			"queue %u: not in the controller memory buffer, which was required: %s",
			q->qid, why);
		return -EOPNOTSUPP;
	}
	/* Where nobody asked for it, what was said when it was found will do. */
	if (q->cmb == BH_NVME_CMB_OFF || nvme->cmb.told ||
	    (q->cmb == BH_NVME_CMB_AUTO && !(nvme->cmb.usable && nvme->cmb.map.attr == BH_ATTR_WC)))
		return 0;
	nvme->cmb.told = true;
	bh__log(nvme, BH_LOG_INFO, "queue %u is in host memory, not in the controller's: %s",
		q->qid, why);
	return 0;
}

int bh__cmb_place(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	const char *why = unwanted(nvme, (enum bh_nvme_cmb)q->cmb);

	/* The piece of before a reset. */
	if (q->cmb_pages)
		set_pages(nvme, q, PAGE_FREE);
	q->sq_wc = false;
	if (!why && !take_piece(nvme, q))
		why = "there is no room left";
	return why ? stay_outside(nvme, q, why) : 0;
}

/* ---- for listings ---- */

int bh_nvme_cmb_info(const struct bh_nvme *nvme, struct bh_nvme_cmb_info *info)
{
	const struct bh__cmb *cmb = &nvme->cmb;
	size_t i;

	*info = cmb->info;
	if (!info->bytes)
		return -EOPNOTSUPP;
	info->usable = cmb->usable;
	info->requested = cmb->map.requested;
	info->attr = cmb->map.attr;
	info->why = cmb->map.why;
	info->mapped = cmb->pages * nvme->page_size;
	for (i = 0; i < cmb->pages; i++)
		info->used += cmb->page[i] == PAGE_FREE ? 0 : nvme->page_size;
	return 0;
}

bool bh_nvme_queue_in_cmb(const struct bh_nvme_queue *q)
{
	return q->cmb_pages;
}

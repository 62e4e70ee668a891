/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake controller's backend operations, registers, rings and thread. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/barrier.h>

#include "fake_ctrl.h"

static struct fake *to_fake(struct bh_device *dev)
{
	return (struct fake *)dev;
}

void fake_opts_init(struct fake_opts *o)
{
	*o = (struct fake_opts){ .mdts = 3, .mqes = 255, .block_shift = 9, .namespaces = 1 };
}

uint8_t *fake_bell(struct fake *f, uint16_t qid, bool cq)
{
	return f->bells + (2u * qid + cq) * (4u << f->o.dstrd);
}

/* ---- completions ---- */

static void signal_vector(struct fake *f, uint32_t vector)
{
	uint64_t one = 1;

	if (vector > FAKE_QUEUES || f->efd[vector] < 0)
		return;
	f->pending[vector] = true;
	if (f->masked[vector])
		return;
	f->pending[vector] = false;
	if (write(f->efd[vector], &one, 8) != 8)
		fake_fault(f);
}

void fake_complete(struct fake *f, uint16_t qid, struct bh_nvme_cpl *cpl)
{
	struct fake_queue *q = &f->q[qid];
	uint32_t bad = __atomic_exchange_n(&f->bad_cid, 0, __ATOMIC_ACQ_REL);
	uint8_t *at = q->cq + (size_t)q->tail * 16;
	uint64_t w[2];

	cpl->sqid = qid;
	cpl->sqhd = (uint16_t)q->head;
	cpl->status = (uint16_t)((cpl->status & ~1u) | q->phase);
	if (bad)
		cpl->cid = (uint16_t)(bad - 1);
	memcpy(w, cpl, sizeof(w));
	bh_store_u64(at, w[0]);
	bh_store_u32(at + 8, (uint32_t)w[1]);
	bh_store_release_u32(at + 12, (uint32_t)(w[1] >> 32));
	if (++q->tail == q->cq_entries) {
		q->tail = 0;
		q->phase ^= 1;
	}
	if (q->ien)
		signal_vector(f, q->vector);
}

static uint32_t bell_value(struct fake *f, uint16_t qid, bool cq)
{
	size_t at = (2u * qid + cq) * (size_t)(4u << f->o.dstrd);
	uint32_t v;

	if (!f->shadow || !qid)
		return bh_load_acquire_u32(fake_bell(f, qid, cq));
	v = bh_load_acquire_u32(f->shadow + at);
	if (fake_get(&f->asleep)) {
		/* Asleep: wake me for anything after v. */
		bh_store_u32(f->event + at, v);
		bh_mb();
		v = bh_load_acquire_u32(f->shadow + at);
	}
	return v;
}

/* Awake: the event index of a doorbell that was read as v stays `behind` it. */
static void bell_trail(struct fake *f, uint16_t qid, bool cq, uint32_t v, uint32_t behind,
		       uint32_t entries)
{
	size_t at = (2u * qid + cq) * (size_t)(4u << f->o.dstrd);

	if (f->shadow && qid && !fake_get(&f->asleep))
		bh_store_u32(f->event + at, (v + entries - behind) % entries);
}

/*
 * Half of what is free is kept between the event index and the head, the other half may be filled:
 * lib/target/nvme/doorbell.c says why.
 */
static bool cq_full(struct fake *f, uint16_t qid)
{
	struct fake_queue *q = &f->q[qid];
	uint32_t head = bell_value(f, qid, true), n = q->cq_entries;
	uint32_t to_head = n - (q->tail + n - head) % n;

	if (head >= n)
		fake_fault(f);
	if (to_head == 1)
		return true;
	bell_trail(f, qid, true, head, (to_head + 1) / 2, n);
	return false;
}

/* In the order that was asked for, of a fused operation. */
static void complete(struct fake *f, uint16_t qid, const struct bh_nvme_cmd *cmd,
		     struct bh_nvme_cpl *cpl)
{
	bool is_first = cmd->flags & BH_NVME_FUSE_FIRST, was_open = f->half.is_open;
	struct bh_nvme_cpl first = f->half.cpl;

	f->half = (struct fake_half){ is_first, qid, *cpl };
	if (!is_first || !f->o.fused_backwards)
		fake_complete(f, qid, cpl);
	if (was_open && f->o.fused_backwards)
		fake_complete(f, qid, &first);
}

static bool step_queue(struct fake *f, uint16_t qid)
{
	struct fake_queue *q = &f->q[qid];
	struct bh_nvme_cpl cpl;
	struct bh_nvme_cmd cmd;
	uint64_t w[8];
	uint32_t tail;
	unsigned int i;
	uint16_t status = 0;

	if (!q->sq_on || !q->cq_on)
		return false;
	tail = bell_value(f, qid, false);
	if (tail >= q->sq_entries) {
		fake_fault(f);
		return false;
	}
	bell_trail(f, qid, false, tail, (q->sq_entries + 1) / 2, q->sq_entries);
	if (q->head == tail)
		return false;
	if (cq_full(f, qid)) {
		__atomic_fetch_add(&f->stalls, 1, __ATOMIC_RELAXED);
		return false;
	}
	for (i = 0; i < 8; i++)
		w[i] = bh_load_u64(q->sq + (size_t)q->head * 64 + 8 * i);
	memcpy(&cmd, w, sizeof(cmd));
	q->head = (q->head + 1) % q->sq_entries;
	memset(&cpl, 0, sizeof(cpl));
	cpl.cid = cmd.cid;
	f->result[0] = f->result[1] = 0;
	/* The two are next to each other in one queue, and both are there. */
	if ((f->half.is_open && (f->half.qid != qid || !(cmd.flags & BH_NVME_FUSE_SECOND))) ||
	    (cmd.flags & BH_NVME_FUSE_FIRST && q->head == tail))
		fake_fault(f);
	if (qid ? fake_io(f, qid, &cmd, &status) : fake_admin(f, &cmd, &cpl)) {
		if (qid) {
			cpl.status = (uint16_t)(status << 1);
			cpl.cdw0 = f->result[0];
			cpl.cdw1 = f->result[1];
		}
		complete(f, qid, &cmd, &cpl);
	}
	return true;
}

void fake_release(struct fake *f)
{
	struct bh_nvme_cpl cpl;
	unsigned int i;

	pthread_mutex_lock(&f->lock);
	fake_set(&f->hold, 0);
	for (i = 0; i < FAKE_HELD; i++) {
		if (!f->held[i].used)
			continue;
		f->held[i].used = false;
		memset(&cpl, 0, sizeof(cpl));
		cpl.cid = f->held[i].cid;
		if (f->q[f->held[i].qid].cq_on)
			fake_complete(f, f->held[i].qid, &cpl);
	}
	pthread_mutex_unlock(&f->lock);
}

bool fake_raise(struct fake *f, uint32_t value)
{
	struct bh_nvme_cpl cpl = { .cdw0 = value };
	bool ok;

	pthread_mutex_lock(&f->lock);
	ok = f->aer_count > 0;
	if (ok) {
		cpl.cid = f->aers[--f->aer_count];
		fake_complete(f, 0, &cpl);
	}
	pthread_mutex_unlock(&f->lock);
	return ok;
}

static void *run(void *arg)
{
	struct fake *f = arg;
	unsigned int burst;
	uint16_t qid;
	bool any;

	while (!fake_get(&f->stop)) {
		any = false;
		pthread_mutex_lock(&f->lock);
		if (f->csts & BH_NVME_CSTS_RDY) {
			bool awake = !fake_get(&f->asleep) ||
				     __atomic_exchange_n(&f->kicked, 0, __ATOMIC_ACQ_REL);

			any = step_queue(f, 0);
			for (qid = 1; awake && qid <= FAKE_QUEUES; qid++)
				for (burst = 0; burst < 64 && step_queue(f, qid); burst++)
					any = true;
		}
		pthread_mutex_unlock(&f->lock);
		/* The backend's thread announces what bh_device_check() found. */
		if (bh_device_gone(&f->dev) && fake_get(&f->absent))
			bh__device_set_gone(&f->dev);
		if (!any)
			sched_yield();
	}
	return NULL;
}

/* ---- registers ---- */

static void forget(struct fake *f)
{
	size_t i;

	memset(f->q, 0, sizeof(f->q));
	memset(f->held, 0, sizeof(f->held));
	for (i = 0; i < f->bell_bytes; i += 4)
		bh_store_u32(f->bells + i, 0);
	f->aer_count = 0;
	f->shadow = f->event = NULL;
	f->msc = 0;
}

static void enable(struct fake *f)
{
	uint32_t entries = (f->aqa & 0xfff) + 1, cq = (f->aqa >> 16 & 0xfff) + 1;
	struct fake_queue *q = &f->q[0];

	q->sq = fake_ptr(f, f->asq, entries * 64ull);
	q->cq = fake_ptr(f, f->acq, cq * 16ull);
	q->sq_entries = entries;
	q->cq_entries = cq;
	q->phase = 1;
	q->sq_on = q->cq_on = q->sq && q->cq;
	__atomic_fetch_add(&f->enables, 1, __ATOMIC_RELAXED);
	f->csts |= BH_NVME_CSTS_RDY;
}

static void write_cc(struct fake *f, uint32_t cc)
{
	uint32_t changed = f->cc ^ cc;

	f->cc = cc;
	if (BH_NVME_GET(cc, CC_SHN) && BH_NVME_GET(changed, CC_SHN)) {
		f->csts |= (uint32_t)BH_NVME_SET(CSTS_SHST, BH_NVME_CSTS_SHST_COMPLETE);
		__atomic_fetch_add(&f->shutdowns, 1, __ATOMIC_RELAXED);
	}
	if (!(changed & 1) || fake_get(&f->never_ready))
		return;
	if (cc & 1) {
		enable(f);
	} else {
		f->csts = 0;
		forget(f);
	}
}

static int region_read(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
		       size_t count)
{
	struct fake *f = to_fake(dev);
	uint8_t regs[0x80] = { 0 };
	uint64_t cap = f->o.mqes | 1u << 16 | 2u << 24 | (uint64_t)f->o.dstrd << 32 | 1ull << 37;
	uint32_t vs = f->o.cmb.legacy ? BH_NVME_VERSION(1, 3, 0) : BH_NVME_VERSION(2, 0, 0);

	if (f->o.iocs)
		cap |= BH_NVME_SET(CAP_CSS, BH_NVME_CAP_CSS_NVM | BH_NVME_CAP_CSS_IOCS);
	if (f->o.cmb.bar_bytes && !f->o.cmb.legacy)
		cap |= BH_NVME_SET(CAP_CMBS, 1);
	if (f->o.any_cap)
		cap = f->o.cap;
	pthread_mutex_lock(&f->lock);
	memcpy(regs, &cap, 8);
	memcpy(regs + BH_NVME_REG_VS, &vs, 4);
	memcpy(regs + BH_NVME_REG_CC, &f->cc, 4);
	memcpy(regs + BH_NVME_REG_CSTS, &f->csts, 4);
	fake_cmb_regs(f, regs);
	if (region == 7)
		memcpy(buf, f->config + offset, count);
	else if (offset + count <= sizeof(regs))
		memcpy(buf, regs + offset, count);
	else
		memset(buf, 0, count);
	pthread_mutex_unlock(&f->lock);
	if (region == 0 && fake_get(&f->nonsense) &&
	    __atomic_fetch_add(&f->reads, 1, __ATOMIC_RELAXED) >= fake_get(&f->nonsense_at))
		memset(buf, fake_get(&f->nonsense) == 1 ? 0xff : 0, count);
	return 0;
}

static void doorbell(struct fake *f, uint64_t offset, uint32_t value)
{
	bh_store_release_u32(f->bells + (offset - 0x1000), value);
	fake_set(&f->kicked, 1);
	__atomic_fetch_add(&f->messages, 1, __ATOMIC_RELAXED);
}

static int region_write(struct bh_device *dev, unsigned int region, uint64_t offset,
			const void *buf, size_t count)
{
	struct fake *f = to_fake(dev);
	uint32_t v32 = 0;

	if (region == 7) {
		memcpy(f->config + offset, buf, count);
		return 0;
	}
	if (count == 4)
		memcpy(&v32, buf, 4);
	if (offset >= 0x1000) {
		doorbell(f, offset, v32);
		return 0;
	}
	pthread_mutex_lock(&f->lock);
	if (offset == BH_NVME_REG_CC)
		write_cc(f, v32);
	else if (offset == BH_NVME_REG_AQA)
		f->aqa = v32;
	else if (offset == BH_NVME_REG_ASQ)
		memcpy(&f->asq, buf, 8);
	else if (offset == BH_NVME_REG_ACQ)
		memcpy(&f->acq, buf, 8);
	else if (offset == BH_NVME_REG_CMBMSC || offset == BH_NVME_REG_CMBMSC + 4)
		fake_cmb_write(f, offset, v32);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

static int region_info(struct bh_device *dev, unsigned int region, struct bh_region_info *info)
{
	struct fake *f = to_fake(dev);

	memset(info, 0, sizeof(*info));
	if (region > 8)
		return -EINVAL;
	if (region == 7)
		info->len = sizeof(f->config);
	else if (region == 2)
		fake_cmb_info(f, info);
	else if (region == 0)
		info->len = f->o.bar_bytes ? f->o.bar_bytes : 0x1000 + f->bell_bytes;
	info->flags |= info->len ? BH_REGION_READ | BH_REGION_WRITE : 0;
	if (region == 0 && f->o.bells <= FAKE_MAPPED_UC) {
		f->area = (struct bh_region_area){ 0x1000, info->len - 0x1000 };
		info->flags |= BH_REGION_MMAP;
		info->num_areas = 1;
		info->areas = &f->area;
	}
	return 0;
}

static int map_bar(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
		   enum bh_attr want, unsigned int flags, struct bh_map *map)
{
	struct fake *f = to_fake(dev);

	(void)flags;
	if (bar == 2)
		return fake_cmb_map(f, offset, len, map);
	*map = (struct bh_map){ .va = f->bells + (offset - 0x1000),
				.offset = offset,
				.len = len,
				.requested = want,
				.fd = f->bell_fd,
				.fd_offset = offset - 0x1000,
				.bar = bar,
				.why = "fake" };
	map->attr = f->o.bells == FAKE_MAPPED ? BH_ATTR_MEMORY : BH_ATTR_UC;
	return 0;
}

static void unmap_bar(struct bh_device *dev, struct bh_map *map)
{
	(void)dev;
	(void)map;
}

static int irq_info(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info)
{
	(void)dev;
	info->count = irq == 2 ? FAKE_QUEUES + 1 : 0;
	info->flags = BH_IRQ_EVENTFD | BH_IRQ_MASKABLE;
	return 0;
}

static int irq_bind(struct bh_device *dev, unsigned int irq, unsigned int start, unsigned int count,
		    const int *eventfds)
{
	struct fake *f = to_fake(dev);
	unsigned int i;

	(void)irq;
	pthread_mutex_lock(&f->lock);
	for (i = 0; i < count; i++)
		f->efd[start + i] = eventfds[i];
	pthread_mutex_unlock(&f->lock);
	return 0;
}

static int irq_disable(struct bh_device *dev, unsigned int irq)
{
	(void)dev;
	(void)irq;
	return 0;
}

static int irq_trigger(struct bh_device *dev, unsigned int irq, unsigned int vector)
{
	(void)irq;
	signal_vector(to_fake(dev), vector);
	return 0;
}

static int irq_mask(struct bh_device *dev, unsigned int irq, unsigned int vector, bool masked,
		    bool wait)
{
	struct fake *f = to_fake(dev);

	(void)irq;
	(void)wait;
	pthread_mutex_lock(&f->lock);
	f->masked[vector] = masked;
	if (!masked && f->pending[vector])
		signal_vector(f, vector);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

static int reset(struct bh_device *dev)
{
	struct fake *f = to_fake(dev);

	pthread_mutex_lock(&f->lock);
	f->cc = f->csts = 0;
	forget(f);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

static int reopen(struct bh_device *dev)
{
	reset(dev);
	bh__device_clear_gone(dev);
	return 0;
}

static void stop_thread(struct fake *f)
{
	fake_set(&f->stop, true);
	pthread_join(f->thread, NULL);
}

static void close_dev(struct bh_device *dev)
{
	struct fake *f = to_fake(dev);

	stop_thread(f);
	bh_dma_space_unlisten(dev->space, &f->listener);
	munmap(f->bells, f->bell_bytes);
	fake_cmb_close(f);
	close(f->bell_fd);
	free(f->disk);
	pthread_mutex_destroy(&f->lock);
	bh__device_fini(dev);
	free(f);
}

static bool check(struct bh_device *dev)
{
	struct fake *f = to_fake(dev);

	__atomic_fetch_add(&f->checks, 1, __ATOMIC_RELAXED);
	if (fake_get(&f->absent_at) && fake_get(&f->reads) >= fake_get(&f->absent_at))
		fake_set(&f->absent, 1);
	if (!fake_get(&f->absent))
		return true;
	bh__device_mark_gone(dev);
	return false;
}

static int iova_windows(struct bh_device *dev, struct bh_iova_window *out, unsigned int max)
{
	if (!to_fake(dev)->o.cmb.windows)
		return 0;
	if (max)
		out[0] = (struct bh_iova_window){ 0, (1ull << 48) - 1 };
	return 1;
}

void fake_lose(struct fake *f)
{
	pthread_mutex_lock(&f->lock);
	f->csts = f->cc = 0;
	f->q[0].sq_on = false;
	memset(f->held, 0, sizeof(f->held));
	pthread_mutex_unlock(&f->lock);
	bh__device_set_gone(&f->dev);
}

void fake_pull(struct fake *f, uint32_t kind)
{
	pthread_mutex_lock(&f->lock);
	f->csts = f->cc = 0;
	memset(f->held, 0, sizeof(f->held));
	fake_set(&f->nonsense_at, 0);
	fake_set(&f->nonsense, kind);
	fake_set(&f->absent, 1);
	pthread_mutex_unlock(&f->lock);
}

static int dma_map(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct fake *f = (struct fake *)((uint8_t *)listener - offsetof(struct fake, listener));

	f->mem[f->mems++] = *mem;
	return bh_iova_map_add(&f->dev.iova, mem->va, mem->len,
			       (uint64_t)(uintptr_t)mem->va + FAKE_DELTA);
}

static void dma_unmap(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct fake *f = (struct fake *)((uint8_t *)listener - offsetof(struct fake, listener));

	bh_iova_map_del(&f->dev.iova, mem->va, mem->len);
}

static const struct bh_io_ops ops = {
	.name = "fake",
	.caps = BH_CAP_REGION_MMAP | BH_CAP_IRQ_EVENTFD | BH_CAP_IRQ_MASK | BH_CAP_RESET |
		BH_CAP_POSTED_WRITE | BH_CAP_REOPEN,
	.close = close_dev,
	.reopen = reopen,
	.region_info = region_info,
	.region_read = region_read,
	.region_write = region_write,
	.region_post = region_write,
	.map_bar = map_bar,
	.unmap_bar = unmap_bar,
	.irq_info = irq_info,
	.irq_bind = irq_bind,
	.irq_disable = irq_disable,
	.irq_mask = irq_mask,
	.irq_trigger = irq_trigger,
	.reset = reset,
	.check = check,
	.iova_windows = iova_windows,
};

int fake_open(const struct fake_opts *o, struct bh_dma_space *space, const struct bh_log *log,
	      struct fake **out)
{
	struct bh_device_opts dopts;
	struct fake *f = calloc(1, sizeof(*f));
	uint64_t caps = ops.caps;
	unsigned int i;

	bh_device_opts_init(&dopts);
	dopts.space = space;
	dopts.log = log;
	f->o = *o;
	bh__device_init(&f->dev, &ops, "fake:nvme", &dopts);
	if (o->bells > FAKE_MAPPED_UC)
		caps &= ~BH_CAP_REGION_MMAP;
	if (o->bells == FAKE_WRITTEN)
		caps &= ~BH_CAP_POSTED_WRITE;
	if (!o->msix)
		caps &= ~(BH_CAP_IRQ_EVENTFD | BH_CAP_IRQ_MASK);
	bh__device_set_caps(&f->dev, caps);
	pthread_mutex_init(&f->lock, NULL);
	f->bell_bytes = 4096;
	while (f->bell_bytes < 2ull * (FAKE_QUEUES + 1) * (4u << o->dstrd))
		f->bell_bytes *= 2;
	f->bell_fd = memfd_create("fake-bells", MFD_CLOEXEC);
	if (ftruncate(f->bell_fd, (off_t)f->bell_bytes))
		return -errno;
	f->bells = mmap(NULL, f->bell_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->bell_fd, 0);
	if (!fake_cmb_open(f))
		return -ENOMEM;
	f->disk = calloc(o->namespaces, FAKE_BLOCKS * ((1ul << o->block_shift) + o->ms));
	f->ns_present = (1u << o->namespaces) - 1;
	fake_zns_init(f);
	for (i = 0; i <= FAKE_QUEUES; i++)
		f->efd[i] = -1;
	f->listener.map = dma_map;
	f->listener.unmap = dma_unmap;
	bh_dma_space_listen(space, &f->listener);
	pthread_create(&f->thread, NULL, run, f);
	*out = f;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fast path of an I/O queue: read and write a contiguous buffer, poll, reap.
 *
 * A command is one slot (32 bytes of ordinary memory, index = cid) and one 64-byte entry built in
 * registers and stored once. Checks form a ladder, each failure leaving to a function in another
 * file; what is rare about a queue (halted, gone, broken, armed) is one word.
 *
 * Invariants:
 *  - a cid is on the free stack exactly if its slot's flags are 0;
 *  - commands in flight <= entries - 1, and the controller fetches in order, so the submission
 *    ring cannot overrun an entry that was not fetched: sqhd is not needed;
 *  - after a poll, fewer than cq_batch consumed completion entries are not given back. Rings have a
 *    quarter more entries than commands can be in flight, where the controller allows it, and
 *    cq_batch is at most that surplus, or 1: what is not given back and what is in flight go into
 *    the ring together, so the controller never finds its completion queue full. (Within a poll it
 *    may, if callbacks ring what they submit: it waits, and the end of the poll gives back.)
 *  - a poll consumes at most as many entries as the ring has, whatever is posted meanwhile;
 *  - nothing a completion entry says is used before it was checked: the cid must name a busy slot.
 *
 * The tail doorbell is rung at the end of a poll, and at once when nothing was in flight; the head
 * doorbell when cq_batch entries have been consumed. A time stamp is taken once per poll that
 * finds something and every 16th empty one.
 */
#include <errno.h>
#include <string.h>

#include "nvme/meta.h"
#include "nvme/nvme.h"
#include "nvme/queue_io.h"

static_assert(sizeof(struct bh_nvme_cmd) == 64, "submission queue entry");
static_assert(sizeof(struct bh_nvme_cpl) == 16, "completion queue entry");

/*
 * What is not one command of at most two pages, or whose pool is not the last one used, and what is
 * refused. No tail call, for it has an argument more than read and write: so the straight path need
 * not take `done` and `arg` off the stack before it uses them.
 */
static __attribute__((noinline)) int rw_rare(struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
					     const void *buf, uint64_t lba, uint32_t blocks,
					     uint32_t flags, bh_nvme_done done, void *arg,
					     uint8_t opc)
{
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	struct iovec iov = { (void *)(uintptr_t)buf, (size_t)blocks * bh__geom_unit(geom) };
	struct bh__cursor at = { &iov, 1, 0 };

	if (bh__queue_slow(q) & BH__Q_STOP)
		return bh__queue_refuse(q);
	if (geom & BH__GEOM_META)
		return bh__meta_plain(q, opc, ns->nsid, geom, &at, lba, blocks, flags, done, arg);
	return bh__queue_split(q, opc, ns->nsid, geom, &at, true, lba, blocks, flags & 0xffff0000u,
			       done, arg);
}

/* One command of more than two pages: a data block descriptor, or a list of PRPs. */
static __attribute__((noinline)) int rw_large(struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
					      uint64_t iova, uint64_t lba, uint32_t blocks,
					      uint32_t flags, bh_nvme_done done, void *arg,
					      uint8_t opc)
{
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	uint64_t len = (uint64_t)blocks << bh__geom_shift(geom), prp2 = len;
	uint16_t cid = q->free[q->nfree - 1];
	size_t at = (size_t)cid * q->list_bytes;
	struct bh__list list = { (uint64_t *)(q->list + at), q->list_iova + at, q->list_bytes };
	uint64_t w0 = opc | (uint64_t)ns->nsid << 32;

	if (q->sgl)
		w0 |= BH__PSDT_SGL << 8;
	else
		prp2 = bh__prp_contig(&list, iova, len, q->page_size);
	bh__submit(q, w0, iova, prp2, lba, (blocks - 1) | (flags & 0xffff0000u), done, arg);
	return 0;
}

static inline __attribute__((always_inline)) int rw(struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
						    const void *buf, uint64_t lba, uint32_t blocks,
						    uint32_t flags, bh_nvme_done done, void *arg,
						    uint8_t opc)
{
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	uint64_t len = (uint64_t)blocks << bh__geom_shift(geom), off, iova, end;

	/* blocks 0 wraps and leaves here too. */
	if (bh__unlikely(bh__queue_slow(q) & BH__Q_STOP) ||
	    bh__unlikely(blocks - 1 >= bh__geom_max(geom)))
		goto rare;
	if (bh__unlikely(geom >> 32) &&
	    lba % bh__geom_boundary(geom) + blocks > bh__geom_boundary(geom))
		goto rare;
	if (bh__unlikely(!q->nfree))
		return -EAGAIN;
	/* bh_iova_translate() but for the lookup, which the rare path does. */
	off = (uintptr_t)buf - q->iova_cache.va;
	if (bh__unlikely(__atomic_load_n(&q->iova_map->table, __ATOMIC_ACQUIRE) !=
			 q->iova_cache.table) ||
	    bh__unlikely(len > q->iova_cache.len || off > q->iova_cache.len - len))
		goto rare;
	iova = (uint64_t)(uintptr_t)buf + q->iova_cache.delta;
	if (bh__unlikely(iova & 3))
		return -EFAULT;
	off = iova & (q->page_size - 1);
	end = off + len;
	if (bh__unlikely(end > 2ull * q->page_size))
		return rw_large(q, ns, iova, lba, blocks, flags, done, arg, opc);
	bh__submit(q, opc | (uint64_t)ns->nsid << 32, iova,
		   end > q->page_size ? iova - off + q->page_size : 0, lba,
		   (blocks - 1) | (flags & 0xffff0000u), done, arg);
	return 0;
rare:
	return rw_rare(q, ns, buf, lba, blocks, flags, done, arg, opc);
}

int bh_nvme_read(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, void *buf, uint64_t lba,
		 uint32_t blocks, uint32_t flags, bh_nvme_done done, void *arg)
{
	return rw(q, ns, buf, lba, blocks, flags, done, arg, BH_NVME_CMD_READ);
}

int bh_nvme_write(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const void *buf, uint64_t lba,
		  uint32_t blocks, uint32_t flags, bh_nvme_done done, void *arg)
{
	return rw(q, ns, buf, lba, blocks, flags, done, arg, BH_NVME_CMD_WRITE);
}

/*
 * The beginning of a burst, as far as it goes straight: one or two pages each, in the pool last
 * used. As rw() and bh__submit() do it, but that the rings are walked by pointer, and the queue is
 * brought up to date once. How many of the n, which are no more than free slots.
 */
static __attribute__((noinline)) unsigned int burst_straight(struct bh_nvme_queue *q, uint64_t geom,
							     uint64_t w0,
							     const struct bh_nvme_rw *io,
							     unsigned int n, bh_nvme_done done)
{
	const struct bh_nvme_rw *first = io, *end = io + n;
	uint8_t *sqe = q->sq + (size_t)q->sq_tail * 64;
	uint8_t *const last = q->sq + (size_t)q->last * 64;
	const uint16_t *free = q->free + q->nfree;
	uint32_t max = bh__geom_max(geom);
	uint64_t page = q->page_size;

	for (; io != end; io++) {
		uint64_t *w = (uint64_t *)__builtin_assume_aligned(sqe, 64);
		uint32_t blocks = io->blocks, flags = io->flags;
		uint64_t len = (uint64_t)blocks << bh__geom_shift(geom);
		uint64_t iova = (uintptr_t)io->buf + q->iova_cache.delta, prp2 = 0, off;
		uint64_t cid;

		if (bh__unlikely(blocks - 1 >= max) ||
		    bh__unlikely(__builtin_add_overflow((uintptr_t)io->buf - q->iova_cache.va, len,
							&off)) ||
		    bh__unlikely(off > q->iova_cache.len) || bh__unlikely(iova & 3))
			break;
		/* Do its ends differ above the page offset? len is not 0. */
		if (bh__unlikely(((iova + len - 1) ^ iova) >= page)) {
			off = iova & (page - 1);
			prp2 = iova - off + page;
			if (off + len > 2ull * page)
				break;
		}
		cid = *--free;
		bh__slot_fill(&q->slots[cid], done, io->arg, BH__SLOT_BUSY, 0);
		static_assert(BH_NVME_CMD_READ - BH_NVME_RW_WRITE == BH_NVME_CMD_WRITE, "flag");
		bh_store_u64(w + 0, w0 - (flags & BH_NVME_RW_WRITE) + (cid << 16));
		bh__zero_16(w + 1);
		bh_store_u64(w + 3, iova);
		bh_store_u64(w + 4, prp2);
		bh_store_u64(w + 5, io->lba);
		bh_store_u64(w + 6, (blocks - 1) | (flags & 0xffff0000u));
		bh_store_u64(w + 7, 0);
		BH_PROBE3(nvme_submit, q, q->qid, w);
		sqe = bh__unlikely(sqe == last) ? q->sq : sqe + 64;
	}
	q->sq_tail = (uint32_t)((size_t)(sqe - q->sq) / 64);
	q->nfree = (uint32_t)(free - q->free);
	return (unsigned int)(io - first);
}

static inline int rw_one(struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
			 const struct bh_nvme_rw *io, bh_nvme_done done)
{
	if (io->flags & BH_NVME_RW_WRITE)
		return bh_nvme_write(q, ns, io->buf, io->lba, io->blocks, io->flags, done, io->arg);
	return bh_nvme_read(q, ns, io->buf, io->lba, io->blocks, io->flags, done, io->arg);
}

/* May burst_straight() be tried? Boundaries are looked at one by one. */
static inline bool is_straight(const struct bh_nvme_queue *q, uint64_t geom)
{
	return bh__likely(!(geom >> 32) && !(bh__queue_slow(q) & BH__Q_STOP) &&
			  __atomic_load_n(&q->iova_map->table, __ATOMIC_ACQUIRE) ==
				  q->iova_cache.table);
}

static __attribute__((noinline)) int rw_many(struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
					     const struct bh_nvme_rw *io, unsigned int n,
					     bh_nvme_done done)
{
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	bool was_idle = q->nfree == q->depth;
	unsigned int i = 0, some = 1;
	int rc = 0;

	while (i < n) {
		/* Not behind one that it was of no use for: those are alike. */
		if (some && is_straight(q, geom)) {
			some = burst_straight(q, geom, (uint64_t)ns->nsid << 32 | BH_NVME_CMD_READ,
					      io + i, n - i < q->nfree ? n - i : q->nfree, done);
			i += some;
			if (bh__likely(i == n))
				break;
		}
		rc = rw_one(q, ns, &io[i], done);
		if (rc)
			break;
		i++;
	}
	/* As in bh__sq_advance(). */
	if (was_idle && q->sq_tail != q->sq_rung && !(bh__queue_slow(q) & BH__Q_STOP))
		bh__ring_sq(q);
	return i ? (int)i : rc;
}

int bh_nvme_rw_burst(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct bh_nvme_rw *io,
		     unsigned int n, bh_nvme_done done)
{
	int rc;

	if (n != 1)
		return rw_many(q, ns, io, n, done);
	rc = rw_one(q, ns, io, done);
	return rc ? rc : 1;
}

uint16_t bh__queue_put(struct bh_nvme_queue *q, const struct bh_nvme_cmd *cmd, bh_nvme_done done,
		       void *arg, uint16_t flags, uint16_t parent)
{
	uint16_t cid = q->free[--q->nfree];
	uint64_t w[8];
	uint64_t *sqe = (uint64_t *)(q->sq + (size_t)q->sq_tail * 64);
	int i;

	memcpy(w, cmd, sizeof(w));
	w[0] = (w[0] & ~0xffff0000ull) | (uint64_t)cid << 16;
	bh__slot_fill(&q->slots[cid], done, arg, flags | BH__SLOT_BUSY, parent);
	for (i = 0; i < 8; i++)
		bh_store_u64(sqe + i, w[i]);
	BH_PROBE3(nvme_submit, q, q->qid, sqe);
	q->sq_tail = q->sq_tail == q->last ? 0 : q->sq_tail + 1;
	return cid;
}

uint16_t bh__queue_push(struct bh_nvme_queue *q, const struct bh_nvme_cmd *cmd, bh_nvme_done done,
			void *arg, uint16_t flags, uint16_t parent)
{
	uint32_t nfree = q->nfree;
	uint16_t cid = bh__queue_put(q, cmd, done, arg, flags, parent);

	bh__sq_announce(q, nfree);
	return cid;
}

/* The whole of an entry; dw3 was loaded before. */
static inline void entry(const uint8_t *cqe, uint32_t dw3, struct bh_nvme_cpl *cpl)
{
	const uint64_t w[2] = { bh_load_u64(cqe), bh_load_u32(cqe + 8) | (uint64_t)dw3 << 32 };

	memcpy(cpl, w, sizeof(w));
}

/*
 * Up to `stop`, as far as it goes straight: completions of whole requests that are reaped. Those
 * that are not, and where the phase changes, are left to take(). The end of what was taken; results
 * of as many.
 */
static inline __attribute__((always_inline)) const uint8_t *
take_straight(struct bh_nvme_queue *q, const uint8_t *cqe, const uint8_t *stop, uint32_t phase,
	      struct bh_nvme_result *to)
{
	uint16_t *free = q->free + q->nfree;

	for (; cqe != stop; cqe += 16, to++) {
		/* The rest of the entry is read after the phase that says that it is there. */
		uint32_t dw3 = bh_load_acquire_u32(cqe + 12), cid = dw3 & 0xffff;
		struct bh__slot *slot = &q->slots[cid];

		if (bh__unlikely((dw3 & 1u << 16) != phase) || bh__unlikely(cid >= q->depth) ||
		    bh__unlikely(slot->flags != BH__SLOT_BUSY) || bh__unlikely(slot->done != NULL))
			break;
		slot->flags = 0;
		slot->parent = 0; /* one store with flags */
		*free++ = (uint16_t)cid;
		to->arg = slot->arg;
		to->status = (uint16_t)(dw3 >> 17);
		to->cid = (uint16_t)cid;
		to->cdw0 = bh_load_u32(cqe);
		BH_PROBE4(nvme_complete, q, q->qid, cid, dw3);
	}
	q->nfree = (uint32_t)(free - q->free);
	return cqe;
}

/*
 * Takes at most max entries of the completion queue: a controller that posts as fast as callbacks
 * submit does not keep us here. The number delivered of the kind asked for: callbacks, or entries
 * of out (`batch`, a constant). *found: entries consumed, parts of split requests included.
 */
static inline __attribute__((always_inline)) uint32_t take(struct bh_nvme_queue *q,
							   struct bh_nvme_result *out, uint32_t max,
							   const bool batch, uint32_t *found)
{
	const uint8_t *cqe = q->cq + (size_t)q->cq_head * 16, *last = q->cq + (size_t)q->last * 16;
	uint32_t phase = q->phase << 16, consumed = 0, rare = 0, n = 0;
	struct bh_nvme_result *to = out;

	*found = 0;
	if ((bh_load_acquire_u32(cqe + 12) & 1u << 16) != phase)
		return 0;
	q->ticks = bh_ticks();
	while (consumed < max) {
		const uint8_t *at = cqe;
		struct bh__slot *slot;
		uint32_t dw3, left;
		struct bh_nvme_cpl cpl;
		uint16_t cid;

		if (batch) {
			/* All but the ring's last entry, behind which the phase changes. */
			left = (uint32_t)(last - cqe) / 16;
			left = left < max - consumed ? left : max - consumed;
			at = take_straight(q, cqe, cqe + (size_t)left * 16, phase, to);
			left = (uint32_t)(at - cqe) / 16;
			consumed += left;
			to += left;
			cqe = at;
			if (consumed == max)
				break;
		}
		/* As above. */
		dw3 = bh_load_acquire_u32(at + 12);
		if ((dw3 & 1u << 16) != phase)
			break;
		consumed++;
		cqe = at + 16;
		if (bh__unlikely(at == last)) {
			cqe = q->cq;
			phase ^= 1u << 16;
		}
		cid = (uint16_t)dw3;
		slot = &q->slots[cid];
		if (bh__unlikely(cid >= q->depth) || bh__unlikely(slot->flags != BH__SLOT_BUSY)) {
			int rc;

			entry(at, dw3, &cpl);
			rc = bh__queue_complete_rare(q, &cpl, batch ? to : NULL);
			rare++;
			if (rc < 0)
				break;
			if (batch)
				to += rc;
			n += (uint32_t)rc;
			continue;
		}
		slot->flags = 0;
		q->free[q->nfree++] = cid;
		BH_PROBE4(nvme_complete, q, q->qid, cid, dw3);
		if (batch && bh__likely(slot->done == NULL)) {
			to->arg = slot->arg;
			to->status = (uint16_t)(dw3 >> 17);
			to->cid = cid;
			to->cdw0 = bh_load_u32(at);
			to++;
		} else if (bh__likely(slot->done != NULL)) {
			entry(at, dw3, &cpl);
			slot->done(slot->arg, &cpl);
		}
	}
	q->cq_head = (uint32_t)(cqe - q->cq) / 16;
	q->phase = phase >> 16;
	q->cq_unrung += consumed;
	q->completions += consumed - rare;
	*found = consumed;
	return batch ? (uint32_t)(to - out) : n + consumed - rare;
}

unsigned int bh__queue_take(struct bh_nvme_queue *q, struct bh_nvme_result *out, unsigned int max,
			    bool *more)
{
	uint32_t found, n;

	n = out ? take(q, out, max, true, &found) : take(q, NULL, max, false, &found);
	*more = found == max;
	return n;
}

static __attribute__((noinline)) void poll_empty(struct bh_nvme_queue *q)
{
	q->empty_polls++;
	if (!(q->empty_polls & 15))
		q->ticks = bh_ticks();
	/* Nothing came of what was told: is the controller asleep? */
	if (q->is_open)
		bh__queue_settle(q);
}

static inline __attribute__((always_inline)) int
look(struct bh_nvme_queue *q, struct bh_nvme_result *out, uint32_t max, const bool batch)
{
	uint32_t n, found;
	int rc;

	q->polls++;
	if (bh__unlikely(bh__queue_slow(q) & BH__Q_FLAGS) && bh__queue_poll_slow(q, out, max, &rc))
		return rc;
	n = take(q, out, max, batch, &found);
	if (!found)
		poll_empty(q);
	/* A callback may have met the beginning of a reset: then the device is left alone. */
	if (bh__unlikely(bh__queue_slow(q) & BH__Q_STOP))
		return (int)n;
	if (q->cq_unrung >= q->cq_batch)
		bh__ring_cq(q);
	if (q->sq_tail != q->sq_rung)
		bh__ring_sq(q);
	if (bh__unlikely(q->ticks - q->scan_at >= q->scan_ticks))
		bh__queue_scan(q);
	return (int)n;
}

int bh_nvme_queue_poll(struct bh_nvme_queue *q, unsigned int max)
{
	return look(q, NULL, max ? max : q->entries, false);
}

int bh_nvme_queue_reap(struct bh_nvme_queue *q, struct bh_nvme_result *out, unsigned int n)
{
	return look(q, out, n, true);
}

void bh_nvme_queue_flush(struct bh_nvme_queue *q)
{
	if (q->sq_tail != q->sq_rung && !(bh__queue_slow(q) & BH__Q_STOP))
		bh__ring_sq(q);
}

uint64_t bh_nvme_queue_ticks(const struct bh_nvme_queue *q)
{
	return q->ticks;
}

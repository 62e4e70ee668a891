/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fast path.
 *
 * A pass compares each doorbell with the value it was left at, up to where so much data has moved
 * that the thread's other controllers must have their turn. A queue with work is visited:
 * entries are copied once, and a read or write of at most two pages on an inline store is checked,
 * translated and done right here, on two cache lines of state (thread and namespace) beside the
 * queue's own. Whatever is odd about a command makes it leave to tn_cmd_start, which decodes it
 * from the beginning; so the checks here need only be complete, not specific.
 *
 * An entry is consumed only when its completion has room or it became a request of its own;
 * completions of one visit are in order. The interrupt is noted, to be raised once per pass.
 */
#include "target/nvme/queue_io.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define PAGE_MASK (TN_PAGE_SIZE - 1u)
#define AHEAD 2u /* entries whose data is prefetched */

/* Commands done by the fast path in this visit, the last of them to the namespace of that line. */
struct batch {
	uint32_t count, writes;
	uint64_t bytes, write_bytes;
	const struct tn_line *line;
};

/*
 * What the loop needs of its queues, in registers: every store to client memory might alias them.
 */
struct ring {
	const struct bh_nvme_cmd *cmd;
	uint32_t head, entries;
	uint32_t stop; /* as far as there is room for completions */
	uint32_t end;  /* of this visit */
	uint8_t *cpl;
	uint32_t tail, cq_entries;
	uint32_t phase, sqid; /* in the upper half */
};

static inline uint32_t distance(uint32_t from, uint32_t to, uint32_t entries)
{
	return to >= from ? to - from : to + entries - from;
}

static inline uint32_t advance(uint32_t from, uint32_t n, uint32_t entries)
{
	return from + n < entries ? from + n : from + n - entries;
}

static inline void ring_load(struct ring *r, const struct tn_sq *sq, const struct tn_cq *cq)
{
	uint32_t left = distance(sq->head, r->end, sq->entries);

	r->cmd = sq->ring;
	r->head = sq->head;
	r->entries = sq->entries;
	r->sqid = (uint32_t)sq->qid << 16;
	r->cpl = (uint8_t *)cq->ring;
	r->tail = cq->tail;
	r->cq_entries = cq->entries;
	r->stop = left <= cq->space ? r->end : advance(sq->head, cq->space, sq->entries);
	r->phase = (uint32_t)cq->phase << 16;
}

static inline void ring_store(const struct ring *r, struct tn_sq *sq, struct tn_cq *cq)
{
	sq->head = r->head;
	cq->space -= distance(cq->tail, r->tail, cq->entries);
	cq->tail = r->tail;
	cq->phase = (uint16_t)(r->phase >> 16);
}

/* tn_cq_put for success. */
static inline void ring_put(struct ring *r, uint16_t cid)
{
	uint8_t *cpl = r->cpl + (size_t)r->tail * sizeof(struct bh_nvme_cpl);

	bh_store_u64(cpl, 0);
	bh_store_u32(cpl + 8, r->head | r->sqid);
	/* Orders data and the rest of the entry before the phase, as tn_cq_put does. */
	bh_store_release_u32(cpl + 12, cid | r->phase);
	if (++r->tail == r->cq_entries) {
		r->tail = 0;
		r->phase ^= 1u << 16;
	}
}

/*
 * What a memory store will copy for the entry after next: the block's first bytes, from where the
 * hardware's own prefetch goes on. The entry is read a second time later: nothing here is used but
 * as a hint, and it stays inside the store.
 */
static inline void look_ahead(const struct tn_thread *t, const struct ring *r)
{
	const struct bh_nvme_cmd *cmd = &r->cmd[advance(r->head, AHEAD - 1, r->entries)];
	uint32_t nsid = bh_load_u32(&cmd->nsid);
	const struct tn_line *line;
	uint64_t lba;
	unsigned int i;

	if (nsid > BH_TARGET_NVME_MAX_NS)
		return;
	line = &t->line[nsid];
	if (line->kind != TN_NS_MEMORY)
		return;
	lba = bh_load_u32(&cmd->cdw10) | (uint64_t)bh_load_u32(&cmd->cdw11) << 32;
	if (lba >= bh_load_u64(&line->fast_blocks))
		return;
	for (i = 0; i < 256; i += 64)
		bh_prefetch(line->base + (lba << line->shift) + i);
}

static inline void copy(struct tn_thread *t, bool to_client, uint64_t iova, uint8_t *client,
			uint8_t *store, uint32_t len)
{
	if (to_client)
		bh_cmem_store(t->cmem, iova, client, store, len);
	else
		__builtin_memcpy(store, client, len);
}

static_assert((int)BH_NVME_CMD_READ == (int)BH_CMEM_PROT_WRITE &&
		      (int)BH_NVME_CMD_WRITE == (int)BH_CMEM_PROT_READ,
	      "what a command does with the client's memory is its opcode");

/* The data of two pages; as data_run(). */
static __attribute__((noinline)) bool data_two(struct tn_thread *t, struct tn_sq *sq,
					       const struct ring *r, const struct bh_nvme_cmd *cmd,
					       const struct tn_line *line, uint64_t lba,
					       uint32_t bytes)
{
	uint64_t prp1 = cmd->dptr.prp.prp1, prp2 = cmd->dptr.prp.prp2;
	uint32_t first = TN_PAGE_SIZE - (uint32_t)(prp1 & PAGE_MASK), second = bytes - first;
	bool to_client = cmd->opc == BH_NVME_CMD_READ;
	uint8_t *a, *b, *store;

	if (second > TN_PAGE_SIZE || prp2 & PAGE_MASK)
		return false;
	a = bh_cmem_ptr(t->cmem, &sq->data, prp1, first, cmd->opc);
	b = a ? bh_cmem_ptr(t->cmem, &sq->data, prp2, second, cmd->opc) : NULL;
	if (unlikely(!b))
		return false;
	if (line->kind != TN_NS_MEMORY)
		return true;
	store = line->base + (lba << line->shift);
	look_ahead(t, r);
	copy(t, to_client, prp1, a, store, first);
	copy(t, to_client, prp2, b, store + first, second);
	return true;
}

/* The data of one or two pages. False: it takes the general way. */
static inline bool data_run(struct tn_thread *t, struct tn_sq *sq, const struct ring *r,
			    const struct bh_nvme_cmd *cmd, const struct tn_line *line, uint64_t lba,
			    uint32_t bytes)
{
	uint64_t prp1 = cmd->dptr.prp.prp1;
	uint8_t *client;

	if (unlikely(prp1 & 3))
		return false;
	if (unlikely((prp1 & PAGE_MASK) + bytes > TN_PAGE_SIZE))
		return data_two(t, sq, r, cmd, line, lba, bytes);
	client = bh_cmem_ptr(t->cmem, &sq->data, prp1, bytes, cmd->opc);
	if (unlikely(!client))
		return false;
	if (line->kind == TN_NS_MEMORY) {
		look_ahead(t, r);
		copy(t, cmd->opc == BH_NVME_CMD_READ, prp1, client,
		     line->base + (lba << line->shift), bytes);
	}
	return true;
}

static inline void sum_count(struct bh_target_nvme_counts *to, uint32_t count, uint32_t writes,
			     uint64_t bytes, uint64_t write_bytes)
{
	if (count != writes) {
		tn_count(&to->reads, count - writes);
		tn_count(&to->read_bytes, bytes - write_bytes);
	}
	if (writes) {
		tn_count(&to->writes, writes);
		tn_count(&to->write_bytes, write_bytes);
	}
}

/* The batch so far was the last line's namespace's; what follows is another's. */
static __attribute__((noinline)) void batch_turn(struct tn_thread *t, const struct tn_line *last,
						 uint32_t count, uint32_t writes, uint64_t bytes,
						 uint64_t write_bytes)
{
	struct tn_ns_stats *ns = t->nstats[last - t->line];
	struct tn_told *told = &t->told;

	if (ns)
		sum_count(&ns->counts, count - told->count, writes - told->writes,
			  bytes - told->bytes, write_bytes - told->write_bytes);
	*told = (struct tn_told){ count, writes, bytes, write_bytes };
}

static inline void batch_end(struct tn_thread *t, struct tn_sq *sq, const struct batch *b)
{
	struct tn_ns_stats *ns = t->nstats[b->line - t->line];

	t->work += b->bytes;
	sq->line = b->line;
	sq->stats->untimed += b->count;
	sum_count(&sq->stats->counts, b->count, b->writes, b->bytes, b->write_bytes);
	if (unlikely(t->told.count)) {
		batch_turn(t, b->line, b->count, b->writes, b->bytes, b->write_bytes);
		t->told = (struct tn_told){ 0 };
	} else if (likely(ns != NULL)) {
		sum_count(&ns->counts, b->count, b->writes, b->bytes, b->write_bytes);
	}
}

static __attribute__((noinline)) void visit_timed(struct tn_thread *t, const struct tn_sq *sq,
						  uint64_t begun)
{
	struct tn_queue_stats *s = sq->stats;

	if (s->untimed)
		tn_stats_took(t, sq, sq->line, bh_ticks() - begun, s->untimed);
	s->untimed = 0;
}

/* True: it is done with success. False: it takes the general way, from the beginning. */
static inline bool cmd_run(struct tn_thread *t, struct tn_sq *sq, const struct ring *r,
			   const struct bh_nvme_cmd *cmd, struct batch *batch)
{
	const struct tn_line *line;
	uint64_t lba, limit;
	uint32_t blocks, bytes;

	static_assert(BH_NVME_CMD_WRITE == 1 && BH_NVME_CMD_READ == 2, "one compare for both");
	if (unlikely((cmd->opc | (uint32_t)cmd->flags << 8) - 1 > 1 ||
		     cmd->nsid > BH_TARGET_NVME_MAX_NS))
		return false;
	line = &t->line[cmd->nsid];
	lba = cmd->cdw10 | (uint64_t)cmd->cdw11 << 32;
	blocks = (cmd->cdw12 & BH_NVME_IO_NLB_MASK) + 1;
	limit = bh_load_u64(&line->fast_blocks);
	if (unlikely(blocks > line->inline_blocks || lba > limit || blocks > limit - lba))
		return false;
	bytes = blocks << line->shift;
	if (unlikely(!data_run(t, sq, r, cmd, line, lba, bytes)))
		return false;
	if (unlikely(line != batch->line)) {
		if (batch->count)
			batch_turn(t, batch->line, batch->count, batch->writes, batch->bytes,
				   batch->write_bytes);
		batch->line = line;
	}
	batch->count++;
	batch->bytes += bytes;
	if (cmd->opc == BH_NVME_CMD_WRITE) {
		batch->writes++;
		batch->write_bytes += bytes;
	}
	return true;
}

static inline bool trails_late(const struct tn_sq *sq)
{
	return sq->bell.event_idx && sq->bell.is_late && !sq->mirror;
}

/*
 * A command the fast path did not do, or did (is_done) while memory was lost, or while the event
 * index waits for it. The entry was at `head`. True: the loop may go on.
 */
static __attribute__((noinline)) bool cmd_slow(struct tn_thread *t, struct tn_sq *sq,
					       const struct bh_nvme_cmd *cmd, uint32_t head,
					       uint32_t limit, bool is_done)
{
	struct tn_cq *cq = sq->cq;
	uint32_t from = cq->tail;
	uint16_t status = 0;

	if (!is_done) {
		status = tn_cmd_start(t, sq, cmd);
	} else if (bh_cmem_faults(t->cmem) != t->faults) {
		/* Before the completion that depends on the data is posted. */
		status = tn_cmd_recheck(t, sq, cmd, 0);
		if (status)
			tn_cmd_failed(t, sq, cmd, status, 0xffff);
	}
	if (trails_late(sq)) /* not sooner: see doorbell.c */
		tn_bell_trail_late(t, sq, limit);
	if (unlikely(status > TN_PENDING)) {
		t->is_starved |= status == TN_RETRY;
		if (status != TN_PAIR) /* which may have ended beyond what this visit is to do */
			sq->head = head;
		return false;
	}
	if (status == TN_PENDING)
		return !cq->wait_first;
	if (!is_done) {
		sq->stats->untimed++;
		if (cmd->nsid <= BH_TARGET_NVME_MAX_NS)
			sq->line = &t->line[cmd->nsid];
	}
	if (sq->is_stopped)
		return false; /* its memory was lost: nothing is posted any more */
	tn_cq_put(cq, sq, cmd->cid, status);
	tn_cq_posted(t, cq, from);
	return true;
}

/* At r->stop: is there more to do, and room for it? */
static bool ring_more(struct tn_thread *t, struct tn_sq *sq, struct ring *r)
{
	ring_store(r, sq, sq->cq);
	if (r->head == r->end || (!sq->cq->space && !tn_cq_room(t, sq->cq)))
		return false;
	ring_load(r, sq, sq->cq);
	return true;
}

unsigned int tn_queue_run(struct tn_thread *t, struct tn_sq *sq, uint32_t limit)
{
	uint32_t left, start = sq->head, from = sq->cq->tail;
	/* The first command goes out of line when the event index waits for it. */
	uint32_t faults = trails_late(sq) ? ~t->faults : t->faults;
	struct tn_cq *cq = sq->cq;
	struct batch batch = { .line = sq->line };
	uint64_t work_end = t->work + TN_BATCH_BYTES, begun = 0;
	struct bh_nvme_cmd cmd;
	struct ring r;

	if (unlikely(cq->wait_first))
		return 0; /* what is complete already goes first */
	if (unlikely(!(sq->stats->visits++ % TN_STATS_TIMED)))
		begun = bh_ticks();
	left = distance(start, limit, sq->entries);
	r.end = advance(start, left < TN_BATCH ? left : TN_BATCH, sq->entries);
	ring_load(&r, sq, cq);
	while (batch.bytes < TN_BATCH_BYTES && (likely(r.head != r.stop) || ring_more(t, sq, &r))) {
		uint32_t head = r.head;
		bool is_done, may_go_on;

		bh_fetch_64(&cmd, &r.cmd[head]);
		bh_prefetch(&r.cmd[head] + 2 * AHEAD);
		BH_PROBE3(target_fetch, sq, sq->qid, &cmd);
		r.head = head + 1 == r.entries ? 0 : head + 1;
		is_done = cmd_run(t, sq, &r, &cmd, &batch);
		if (likely(is_done && bh_cmem_faults(t->cmem) == faults)) {
			ring_put(&r, cmd.cid);
			BH_PROBE4(target_complete, sq, sq->qid, cmd.cid, 0);
			continue;
		}
		ring_store(&r, sq, cq);
		may_go_on = cmd_slow(t, sq, &cmd, head, limit, is_done);
		ring_load(&r, sq, cq);
		faults = t->faults;
		if (!may_go_on || t->work >= work_end)
			break;
	}
	ring_store(&r, sq, cq);
	left = distance(start, r.head, r.entries);
	if (likely(left))
		tn_count(&sq->stats->batches[31 - __builtin_clz(left)], 1);
	if (batch.count) {
		batch_end(t, sq, &batch);
		tn_cq_posted(t, cq, from);
	}
	if (unlikely(begun))
		visit_timed(t, sq, begun);
	return left;
}

/* Half of a fused operation is nothing to come back for. */
static inline bool is_half(const struct tn_sq *sq, uint32_t v)
{
	return unlikely(sq->is_half) && sq->half_tail == v;
}

static inline unsigned int visit(struct tn_thread *t, struct tn_scan *scan, uint32_t most)
{
	struct tn_sq *sq = scan->sq;
	unsigned int n;
	uint32_t v;

	/* Acquire: orders the doorbell's load before those of the entries it announces. */
	v = bh_load_acquire_u32(scan->db);
	if (unlikely(sq->is_stopped || v >= sq->entries)) {
		tn_sq_bad_doorbell(t, sq);
		scan->seen = v;
		return 0;
	}
	if (sq->bell.event_idx)
		tn_bell_read(t, sq, v);
	if (unlikely(sq->mirror))
		return tn_slow_sq(t, scan, v);
	if (most < TN_BATCH && distance(sq->head, v, sq->entries) > most)
		n = tn_queue_run(t, sq, advance(sq->head, most, sq->entries));
	else
		n = tn_queue_run(t, sq, v);
	scan->seen = sq->head == v || (!n && is_half(sq, v)) ? v : TN_SEEN_NONE;
	return n;
}

unsigned int tn_visit(struct tn_thread *t, struct tn_scan *scan, uint32_t most)
{
	return visit(t, scan, most);
}

/* A pass that has had its share ends early, and the next one begins behind it. */
unsigned int tn_scan_run(struct tn_thread *t)
{
	struct tn_scan *scan = t->scan + t->scan_from, *end = t->scan + t->num_scan;
	unsigned int n = 0;

	t->scan_from = 0;
	for (; scan < end; scan++) {
		uint32_t v = bh_load_u32(scan->db);

		if (v == scan->seen)
			continue;
		n += visit(t, scan, TN_BATCH);
		if (unlikely(t->work >= TN_PASS_BYTES) && scan + 1 < end) {
			t->scan_from = (uint32_t)(scan + 1 - t->scan);
			break;
		}
	}
	return n;
}

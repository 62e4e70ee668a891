/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fast path.
 *
 * A pass compares each doorbell with the value it was left at. A queue with work is visited: entries
 * are copied once, and a read or write of at most two pages on an inline store is checked,
 * translated and done right here, on two cache lines of state (thread and namespace) beside the
 * queue's own. Whatever is odd about a command makes it leave to tn_cmd_start, which decodes it from
 * the beginning; so the checks here need only be complete, not specific.
 *
 * An entry is consumed only when its completion has room or it became a request of its own;
 * completions of one visit are in order. The interrupt is noted, to be raised once per pass.
 */
#include "target/nvme/queue_io.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define PAGE_MASK (TN_PAGE_SIZE - 1u)
#define AHEAD 2u /* entries whose data is prefetched */

struct batch {
	uint32_t reads, writes;
	uint64_t read_bytes, write_bytes;
};

static inline void copy(struct tn_thread *t, bool to_client, uint64_t iova, uint8_t *client,
			uint8_t *store, uint32_t len)
{
	if (to_client)
		bh_cmem_store(t->cmem, iova, client, store, len);
	else
		__builtin_memcpy(store, client, len);
}

/* The data of one or two pages. False: it takes the general way. */
static inline bool data_run(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
			    const struct tn_line *line, uint64_t lba, uint32_t bytes)
{
	bool to_client = cmd->opc == BH_NVME_CMD_READ;
	uint32_t prot = to_client ? BH_CMEM_PROT_WRITE : BH_CMEM_PROT_READ;
	uint64_t prp1 = cmd->dptr.prp.prp1, prp2 = cmd->dptr.prp.prp2;
	uint32_t first = TN_PAGE_SIZE - (uint32_t)(prp1 & PAGE_MASK), second = 0;
	uint8_t *a, *b = NULL;

	if (unlikely(prp1 & 3))
		return false;
	if (bytes <= first) {
		first = bytes;
	} else {
		second = bytes - first;
		if (unlikely(second > TN_PAGE_SIZE || prp2 & PAGE_MASK))
			return false;
		b = bh_cmem_ptr(t->cmem, &sq->data, prp2, second, prot);
		if (unlikely(!b))
			return false;
	}
	a = bh_cmem_ptr(t->cmem, &sq->data, prp1, first, prot);
	if (unlikely(!a))
		return false;
	if (line->kind == TN_NS_MEMORY) {
		uint8_t *store = line->base + (lba << line->shift);

		copy(t, to_client, prp1, a, store, first);
		if (second)
			copy(t, to_client, prp2, b, store + first, second);
	}
	return true;
}

/* 0 when the command is done; anything else from the general way. */
static inline uint16_t cmd_run(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
			       struct batch *batch)
{
	const struct tn_line *line;
	uint64_t lba, limit;
	uint32_t blocks, bytes;

	static_assert(BH_NVME_CMD_WRITE == 1 && BH_NVME_CMD_READ == 2, "one compare for both");
	if (unlikely(cmd->opc - 1u > 1 || cmd->flags || cmd->nsid > BH_TARGET_NVME_MAX_NS))
		return tn_cmd_start(t, sq, cmd);
	line = &t->line[cmd->nsid];
	lba = cmd->cdw10 | (uint64_t)cmd->cdw11 << 32;
	blocks = (cmd->cdw12 & BH_NVME_IO_NLB_MASK) + 1;
	limit = bh_load_u64(&line->blocks);
	if (unlikely(line->kind > TN_NS_MEMORY || blocks > line->max_blocks || lba > limit ||
		     blocks > limit - lba))
		return tn_cmd_start(t, sq, cmd);
	bytes = blocks << line->shift;
	if (unlikely(!data_run(t, sq, cmd, line, lba, bytes)))
		return tn_cmd_start(t, sq, cmd);
	if (cmd->opc == BH_NVME_CMD_READ) {
		batch->reads++;
		batch->read_bytes += bytes;
	} else {
		batch->writes++;
		batch->write_bytes += bytes;
	}
	/* A fault is noticed before the completion that depends on the data is posted. */
	if (unlikely(bh_cmem_faults(t->cmem) != t->faults)) {
		uint16_t status = tn_cmd_recheck(t, sq, cmd, 0);

		if (status)
			tn_cmd_failed(t, sq, cmd, status, 0xffff);
		return status;
	}
	return 0;
}

/*
 * The entry after next, and what a memory store will copy for it: the line's first bytes, from where
 * the hardware's own prefetch goes on. Read from the ring a second time later: nothing here is used
 * but as a hint, and it stays inside the store.
 */
static inline void look_ahead(const struct tn_thread *t, const struct tn_sq *sq, uint32_t head)
{
	const struct bh_nvme_cmd *cmd;
	const struct tn_line *line;
	uint32_t next = head + AHEAD;
	uint64_t lba;
	unsigned int i;

	if (next >= sq->entries)
		next -= sq->entries;
	cmd = &sq->ring[next];
	bh_prefetch(cmd + AHEAD);
	if (bh_load_u32(&cmd->nsid) > BH_TARGET_NVME_MAX_NS)
		return;
	line = &t->line[bh_load_u32(&cmd->nsid) % (BH_TARGET_NVME_MAX_NS + 1)];
	if (line->kind != TN_NS_MEMORY)
		return;
	lba = bh_load_u32(&cmd->cdw10) | (uint64_t)bh_load_u32(&cmd->cdw11) << 32;
	if (lba >= bh_load_u64(&line->blocks))
		return;
	for (i = 0; i < 256; i += 64)
		bh_prefetch(line->base + (lba << line->shift) + i);
}

static void batch_end(struct tn_thread *t, const struct batch *batch)
{
	struct tn_stats *s = &t->stats;

	if (batch->reads) {
		tn_count(&s->reads, batch->reads);
		tn_count(&s->read_bytes, batch->read_bytes);
	}
	if (batch->writes) {
		tn_count(&s->writes, batch->writes);
		tn_count(&s->write_bytes, batch->write_bytes);
	}
}

unsigned int tn_queue_run(struct tn_thread *t, struct tn_sq *sq, uint32_t limit)
{
	struct tn_cq *cq = sq->cq;
	struct batch batch = { 0 };
	uint32_t from = cq->tail;
	unsigned int n = 0;
	bool posted = false;

	if (unlikely(cq->wait_first))
		return 0; /* what is complete already goes first */
	while (sq->head != limit && n < TN_BATCH &&
	       batch.read_bytes + batch.write_bytes < TN_BATCH_BYTES) {
		uint32_t head = sq->head;
		struct bh_nvme_cmd cmd;
		uint16_t status;

		if (unlikely(!cq->space) && !tn_cq_room(t, cq))
			break;
		__builtin_memcpy(&cmd, &sq->ring[head], sizeof(cmd));
		look_ahead(t, sq, head);
		sq->head = head + 1 == sq->entries ? 0 : head + 1;
		status = cmd_run(t, sq, &cmd, &batch);
		if (unlikely(status >= TN_PENDING)) {
			if (status == TN_RETRY) {
				sq->head = head;
				break;
			}
			n++;
			if (unlikely(cq->wait_first))
				break;
			continue;
		}
		if (unlikely(sq->is_stopped))
			break; /* its memory was lost: nothing is posted any more */
		tn_cq_put(cq, sq, cmd.cid, status);
		posted = true;
		n++;
	}
	batch_end(t, &batch);
	if (posted)
		tn_cq_posted(t, cq, from);
	return n;
}

static unsigned int visit(struct tn_thread *t, struct tn_scan *scan)
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
		tn_bell_trail(t, &sq->bell, v);
	if (unlikely(sq->mirror))
		return tn_slow_sq(t, scan, v);
	n = tn_queue_run(t, sq, v);
	scan->seen = sq->head == v ? v : TN_SEEN_NONE;
	return n;
}

unsigned int tn_scan_run(struct tn_thread *t)
{
	struct tn_scan *scan = t->scan, *end = scan + t->num_scan;
	unsigned int n = 0;

	for (; scan < end; scan++) {
		uint32_t v = bh_load_u32(scan->db);

		if (v != scan->seen)
			n += visit(t, scan);
	}
	return n;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks that a host has made unreadable: Write Uncorrectable (NVM command set 1.0 3.2.7).
 *
 * Which they are the store's library keeps (lib/blk/bad.c), for all controllers that have the store.
 * Here is what commands have to do with it: those that read ask, those that have changed the medium
 * clear. The fast path does neither. While a store has bad blocks its namespaces are not on it: the
 * one who sets one stores zero in fast_blocks of every line there is of the store, before his command
 * completes, and a line's own thread puts it back when there are no more:
 *
 *	setter			thread
 *	store num_bad		store fast_blocks
 *	fence			fence
 *	store 0 in all lines	load num_bad; if there are any, store 0
 *
 * A store that is watched (turn.c) is off the fast path, too.
 */
#include <errno.h>

#include "target/nvme/plane.h"

uint16_t tn_uncor_check(const struct tn_line *line, uint64_t lba, uint64_t blocks)
{
	return bh_blk_is_bad(line->chan->blk, lba, blocks)
		       ? TN_SF(BH_NVME_SC_UNRECOVERED_READ_ERROR)
		       : 0;
}

uint16_t tn_uncor_set(const struct tn_job *job)
{
	switch (bh_blk_bad_set(job->line->chan->blk, job->lba, job->blocks)) {
	case 0:
		return 0;
	case -ENOSPC:
		return TN_SF(BH_NVME_SC_CAPACITY_EXCEEDED);
	default:
		return BH_NVME_SC_INTERNAL_ERROR;
	}
}

static void clear_ranges(struct bh_blk *blk, const struct bh_nvme_dsm_range *range, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		bh_blk_bad_clear(blk, range[i].lba, range[i].blocks);
}

/* ranges: of Dataset Management. */
void tn_uncor_written(const struct tn_job *job, const void *ranges)
{
	struct bh_blk *blk = job->line->chan->blk;

	if (job->is_nop || job->inside == TN_UNCOR)
		return;
	switch (job->op) {
	case BH_BLK_WRITE:
	case BH_BLK_WRITE_ZEROES:
		bh_blk_bad_clear(blk, job->lba, job->blocks);
		return;
	case BH_BLK_DEALLOCATE:
		clear_ranges(blk, ranges, job->bytes / sizeof(struct bh_nvme_dsm_range));
		return;
	default:
		return;
	}
}

/* ---- the fast path ---- */

void tn_line_fast(struct tn_line *line)
{
	__atomic_store_n(&line->fast_blocks, bh_load_u64(&line->blocks), __ATOMIC_SEQ_CST);
	if (bh_blk_has_bad(line->chan->blk) || bh_blk_is_watched(line->chan->blk))
		__atomic_store_n(&line->fast_blocks, 0, __ATOMIC_SEQ_CST);
}

uint16_t tn_uncor_look(struct tn_job *job)
{
	struct tn_line *line = job->line;

	if (!line->chan) /* of all namespaces */
		return 0;
	job->has_bad = bh_blk_has_bad(line->chan->blk);
	if (!job->has_bad)
		tn_line_fast(line);
	else if (job->op == BH_BLK_READ || job->op == BH_BLK_COMPARE)
		return tn_uncor_check(line, job->lba, job->blocks);
	return 0;
}

/* The setter's thread, under the store's lock: the lines are there until tn_uncor_leave(). */
static void has_bad(struct bh_blk_listener *listener)
{
	struct tn_ns *ns = (struct tn_ns *)((char *)listener - offsetof(struct tn_ns, bad));
	struct tn_io *io = ns->io;
	unsigned int i;

	for (i = 0; i < io->num_threads; i++)
		__atomic_store_n(&io->thread[i]->line[ns->nsid].fast_blocks, 0, __ATOMIC_SEQ_CST);
}

void tn_uncor_join(struct tn_io *io, struct tn_ns *ns)
{
	ns->io = io;
	ns->bad.has_bad = has_bad;
	ns->bad.watch = tn_turn_watch;
	bh_blk_listen(ns->blk, &ns->bad);
}

void tn_uncor_leave(struct tn_ns *ns)
{
	bh_blk_unlisten(ns->blk, &ns->bad);
}

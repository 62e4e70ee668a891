/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks that are to be unreadable until they are written.
 *
 * The store itself knows nothing of them: whoever reads for a client asks here first, and whoever
 * has written says so. They are ranges, sorted, apart from each other, in one array that is made
 * when the first is set and large enough for the worst: at most BH_BLK_BAD_MAX blocks are bad at a
 * time, and ranges have a good block between them. So clearing some never needs memory.
 *
 * A store without any pays one load per request that is not on a controller's fast path. Listeners
 * hear when the first is set, before bh_blk_bad_set() returns, so that they can leave theirs.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/blk.h>

#define MAX_RANGES (BH_BLK_BAD_MAX + 1) /* while one is cut in two */

struct range {
	uint64_t at, end;
};

struct bh_blk_bad {
	uint32_t count;
	struct range v[MAX_RANGES];
};

/* The first range that ends behind lba. */
static uint32_t find(const struct bh_blk_bad *bad, uint64_t lba)
{
	uint32_t low = 0, high = bad->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (bad->v[mid].end > lba)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static void remove_ranges(struct bh_blk_bad *bad, uint32_t from, uint32_t to)
{
	memmove(&bad->v[from], &bad->v[to], (bad->count - to) * sizeof(bad->v[0]));
	bad->count -= to - from;
}

static void insert_range(struct bh_blk_bad *bad, uint32_t at, uint64_t lba, uint64_t end)
{
	memmove(&bad->v[at + 1], &bad->v[at], (bad->count - at) * sizeof(bad->v[0]));
	bad->v[at] = (struct range){ lba, end };
	bad->count++;
}

/* Blocks of [lba, end) that are bad already. */
static uint64_t covered(const struct bh_blk_bad *bad, uint64_t lba, uint64_t end)
{
	uint64_t n = 0;
	uint32_t i;

	for (i = find(bad, lba); i < bad->count && bad->v[i].at < end; i++) {
		const struct range *r = &bad->v[i];

		n += (r->end < end ? r->end : end) - (r->at > lba ? r->at : lba);
	}
	return n;
}

/* Ranges that overlap or touch become one. */
static void add(struct bh_blk_bad *bad, uint64_t lba, uint64_t end)
{
	uint32_t from = find(bad, lba ? lba - 1 : 0), to = from;

	for (; to < bad->count && bad->v[to].at <= end; to++) {
		if (bad->v[to].at < lba)
			lba = bad->v[to].at;
		if (bad->v[to].end > end)
			end = bad->v[to].end;
	}
	remove_ranges(bad, from, to);
	insert_range(bad, from, lba, end);
}

static void tell(struct bh_blk *blk)
{
	struct bh_blk_listener *listener;

	for (listener = blk->listeners; listener; listener = listener->next)
		if (listener->has_bad)
			listener->has_bad(listener);
}

int bh_blk_bad_set(struct bh_blk *blk, uint64_t lba, uint64_t blocks)
{
	uint64_t more;
	int rc = 0;

	if (!blocks)
		return 0;
	pthread_mutex_lock(blk->lock);
	if (!blk->bad)
		blk->bad = calloc(1, sizeof(*blk->bad));
	more = blk->bad ? blocks - covered(blk->bad, lba, lba + blocks) : 0;
	if (!blk->bad)
		rc = -ENOMEM;
	else if (more > BH_BLK_BAD_MAX - blk->num_bad)
		rc = -ENOSPC;
	if (!rc) {
		add(blk->bad, lba, lba + blocks);
		__atomic_store_n(&blk->num_bad, blk->num_bad + (uint32_t)more, __ATOMIC_SEQ_CST);
		tell(blk);
	}
	pthread_mutex_unlock(blk->lock);
	return rc;
}

static void clear(struct bh_blk_bad *bad, uint64_t lba, uint64_t end)
{
	uint32_t from = find(bad, lba), to;

	if (from < bad->count && bad->v[from].at < lba) {
		struct range *r = &bad->v[from];

		if (r->end > end) { /* out of the middle */
			insert_range(bad, from + 1, end, r->end);
			r->end = lba;
			return;
		}
		r->end = lba;
		from++;
	}
	for (to = from; to < bad->count && bad->v[to].end <= end; to++)
		continue;
	if (to < bad->count && bad->v[to].at < end)
		bad->v[to].at = end;
	remove_ranges(bad, from, to);
}

void bh_blk_bad_clear(struct bh_blk *blk, uint64_t lba, uint64_t blocks)
{
	uint64_t less;

	if (!bh_blk_has_bad(blk) || !blocks)
		return;
	pthread_mutex_lock(blk->lock);
	if (blk->bad) {
		less = covered(blk->bad, lba, lba + blocks);
		if (less)
			clear(blk->bad, lba, lba + blocks);
		__atomic_store_n(&blk->num_bad, blk->num_bad - (uint32_t)less, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(blk->lock);
}

bool bh_blk_is_bad(struct bh_blk *blk, uint64_t lba, uint64_t blocks)
{
	uint32_t i;
	bool is_bad;

	if (!bh_blk_has_bad(blk))
		return false;
	pthread_mutex_lock(blk->lock);
	i = find(blk->bad, lba);
	is_bad = i < blk->bad->count && blk->bad->v[i].at < lba + blocks;
	pthread_mutex_unlock(blk->lock);
	return is_bad;
}

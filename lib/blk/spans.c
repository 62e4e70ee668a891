/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Spans: blocks that somebody has to himself for several requests to a store, say a comparison and
 * the write that depends on it (NVMe's Compare and Write).
 *
 * That is rare, and everybody else should not pay for it: a store is not watched to begin with, and
 * nobody says what he does to it. Who wants blocks alone has the store watched first. Listeners are
 * told, and see to it that each of their threads takes spans from then on, for what it is about to
 * do and for what it has begun; threads say so one by one, and when all have, the list of spans is
 * all there is to be looked at. After WATCHED_FOR spans without anybody who wants to be alone the
 * store is not watched any more.
 *
 * Spans taken alone are in line in the order they were asked for: one waits for those before it that
 * meet it, and for those shared that were there; shared ones that come later are refused, so that it
 * cannot wait for ever. Who holds a shared span never waits for another, or it would.
 */
#include <pthread.h>

#include <bellhop/blk.h>

#define WATCHED_FOR 16384u

static bool meet(const struct bh_blk_span *a, const struct bh_blk_span *b)
{
	return a->lba < b->lba + b->blocks && b->lba < a->lba + a->blocks;
}

/* Both under lock, as everything here. */
static void link_last(struct bh_blk_span **at, struct bh_blk_span *span)
{
	while (*at)
		at = &(*at)->next;
	span->next = NULL;
	*at = span;
}

static void link_first(struct bh_blk_span **at, struct bh_blk_span *span)
{
	span->next = *at;
	span->at = at;
	if (span->next)
		span->next->at = &span->next;
	*at = span;
}

static void set(struct bh_blk *blk, struct bh_blk_span *span, uint64_t lba, uint64_t blocks)
{
	/* No store has blocks beyond: the end of what is asked for can be reckoned. */
	const uint64_t most = UINT64_MAX - lba;

	span->blk = bh_blk_get(blk);
	span->lba = lba;
	span->blocks = blocks < most ? blocks : most;
}

static bool is_refused(const struct bh_blk *blk, uint64_t lba, uint64_t blocks)
{
	const struct bh_blk_span wanted = { .lba = lba, .blocks = blocks };
	const struct bh_blk_span *span;

	for (span = blk->alone; span; span = span->next)
		if (meet(span, &wanted))
			return true;
	return false;
}

/* Somebody has taken a shared span: is it worth the while any longer? */
static void count(struct bh_blk *blk)
{
	if (blk->alone || blk->watch_left || ++blk->watch_quiet < WATCHED_FOR)
		return;
	blk->is_told = false;
	__atomic_store_n(&blk->is_watched, 0, __ATOMIC_SEQ_CST);
}

bool bh_blk_span_share(struct bh_blk *blk, struct bh_blk_span *span, uint64_t lba, uint64_t blocks)
{
	bool is_mine;

	if (!blocks)
		return true;
	if (blocks > UINT64_MAX - lba)
		blocks = UINT64_MAX - lba;
	pthread_mutex_lock(blk->lock);
	is_mine = !is_refused(blk, lba, blocks);
	if (is_mine) {
		set(blk, span, lba, blocks);
		link_first(&blk->shared, span);
		count(blk);
	}
	pthread_mutex_unlock(blk->lock);
	return is_mine;
}

void bh_blk_span_begun(struct bh_blk *blk, struct bh_blk_span *span, uint64_t lba, uint64_t blocks)
{
	if (!blocks)
		return;
	pthread_mutex_lock(blk->lock);
	set(blk, span, lba, blocks);
	link_first(&blk->shared, span);
	pthread_mutex_unlock(blk->lock);
}

/* 0: everybody has been told, and watch_left of them have not answered yet. */
static int tell(struct bh_blk *blk)
{
	struct bh_blk_listener *listener;
	int rc = 0;

	if (blk->is_told || blk->watch_left)
		return 0;
	__atomic_store_n(&blk->is_watched, 1, __ATOMIC_SEQ_CST);
	for (listener = blk->listeners; !rc && listener; listener = listener->next)
		if (listener->watch)
			rc = listener->watch(listener, &blk->watch_left);
	blk->is_told = !rc;
	return rc;
}

static bool is_first(const struct bh_blk *blk, const struct bh_blk_span *mine)
{
	const struct bh_blk_span *span;

	for (span = blk->alone; span != mine; span = span->next)
		if (meet(span, mine))
			return false;
	for (span = blk->shared; span; span = span->next)
		if (meet(span, mine))
			return false;
	return true;
}

int bh_blk_span_alone(struct bh_blk *blk, struct bh_blk_span *span, uint64_t lba, uint64_t blocks)
{
	int rc;

	pthread_mutex_lock(blk->lock);
	if (!span->blk) {
		set(blk, span, lba, blocks);
		span->is_alone = true;
		link_last(&blk->alone, span);
	}
	blk->watch_quiet = 0;
	rc = tell(blk);
	if (!rc && (!blk->is_told || blk->watch_left || !is_first(blk, span)))
		rc = -EAGAIN;
	pthread_mutex_unlock(blk->lock);
	return rc;
}

void bh_blk_span_end(struct bh_blk_span *span)
{
	struct bh_blk *blk = span->blk;
	struct bh_blk_span **at;

	if (!blk)
		return;
	pthread_mutex_lock(blk->lock);
	if (span->is_alone) {
		for (at = &blk->alone; *at != span; at = &(*at)->next)
			continue;
		*at = span->next;
	} else {
		*span->at = span->next;
		if (span->next)
			span->next->at = span->at;
	}
	pthread_mutex_unlock(blk->lock);
	*span = (struct bh_blk_span){ .blk = NULL };
	bh_blk_put(blk);
}

void bh_blk_watched(struct bh_blk *blk)
{
	pthread_mutex_lock(blk->lock);
	blk->watch_left--;
	pthread_mutex_unlock(blk->lock);
}

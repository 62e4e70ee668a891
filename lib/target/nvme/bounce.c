/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bounce buffers of a poll thread: kept by size for the next request, and bounded.
 *
 * What a client can have us allocate is its queues times their depth times MDTS (or the pieces of
 * an SGL, which may be many and of a byte each), and it can leave all of that behind by a reset
 * while a store is stuck, and begin anew. So the bytes in use are counted in a budget that lives
 * as long as any buffer taken from it. Who gets none leaves its entry in the ring.
 *
 * A store may want to know beforehand where its buffers will be, so as to have the kernel pin that
 * memory once. For such stores a thread cuts the smaller buffers from an arena as long as there is
 * any of it left. What is cut is never freed, only kept; buffers left behind come back to the
 * thread by a list of their own.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "target/nvme/plane.h"

static unsigned int bounce_class(size_t len)
{
	unsigned int order = 0;

	while (order < TN_BOUNCE_CLASSES && ((size_t)1 << (order + TN_BOUNCE_MIN_SHIFT)) < len)
		order++;
	return order;
}

size_t tn_bounce_bytes(size_t len)
{
	unsigned int order = bounce_class(len);

	if (!len)
		return 0;
	return order == TN_BOUNCE_CLASSES ? len : (size_t)1 << (order + TN_BOUNCE_MIN_SHIFT);
}

static void arena_unmap(void *arena, int fd)
{
	munmap(arena, TN_ARENA_BYTES);
	close(fd);
}

void tn_budget_put(struct tn_budget *budget)
{
	if (!budget || __atomic_sub_fetch(&budget->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (budget->arena)
		arena_unmap(budget->arena, budget->arena_fd);
	free(budget);
}

static bool is_in_arena(const struct tn_budget *budget, const void *buf)
{
	/* Set once, before the first buffer is cut off it. */
	const uint8_t *arena = __atomic_load_n(&budget->arena, __ATOMIC_RELAXED);

	return arena && (uintptr_t)buf - (uintptr_t)arena < TN_ARENA_BYTES;
}

/* One request is always granted, however large. */
bool tn_budget_take(struct tn_budget *budget, size_t bytes)
{
	uint64_t used = __atomic_load_n(&budget->used, __ATOMIC_RELAXED);

	if (used && bytes > TN_BOUNCE_LIMIT - (used < TN_BOUNCE_LIMIT ? used : TN_BOUNCE_LIMIT))
		return false;
	__atomic_fetch_add(&budget->used, bytes, __ATOMIC_RELAXED);
	return true;
}

void tn_budget_give(struct tn_budget *budget, size_t bytes)
{
	__atomic_fetch_sub(&budget->used, bytes, __ATOMIC_RELAXED);
}

static void keep(struct tn_thread *t, struct tn_bounce *b, unsigned int order)
{
	b->next = t->bounce[order];
	t->bounce[order] = b;
	t->bounced[order] += !is_in_arena(t->budget, b);
}

/* Buffers of the arena that were left behind and have come back. */
static void take_returned(struct tn_thread *t)
{
	/* Acquire: what was written into them is over. */
	struct tn_bounce *b = __atomic_exchange_n(&t->budget->returned, NULL, __ATOMIC_ACQUIRE);
	struct tn_bounce *next;

	for (; b; b = next) {
		next = b->next;
		keep(t, b, b->order);
	}
}

static uint8_t *bounce_new(struct tn_thread *t, unsigned int order)
{
	uint32_t bytes = 1u << (order + TN_BOUNCE_MIN_SHIFT);

	if (t->budget->arena && order < TN_ARENA_ORDERS &&
	    bytes <= TN_ARENA_BYTES - t->arena_used) {
		t->arena_used += bytes;
		return t->budget->arena + t->arena_used - bytes;
	}
	return aligned_alloc(TN_PAGE_SIZE, bytes);
}

uint8_t *tn_bounce_get(struct tn_thread *t, size_t len)
{
	unsigned int order = bounce_class(len);
	struct tn_bounce *b;

	if (order == TN_BOUNCE_CLASSES)
		return aligned_alloc(TN_PAGE_SIZE,
				     (len + TN_PAGE_SIZE - 1) & ~(TN_PAGE_SIZE - 1ul));
	if (__atomic_load_n(&t->budget->returned, __ATOMIC_RELAXED))
		take_returned(t);
	b = t->bounce[order];
	if (!b)
		return bounce_new(t, order);
	t->bounce[order] = b->next;
	t->bounced[order] -= !is_in_arena(t->budget, b);
	return (uint8_t *)b;
}

void tn_bounce_put(struct tn_thread *t, void *buf, size_t len)
{
	unsigned int order = bounce_class(len);

	if (!buf)
		return;
	if (!is_in_arena(t->budget, buf) &&
	    (order == TN_BOUNCE_CLASSES ||
	     t->bounced[order] >= TN_BOUNCE_KEEP >> (order + TN_BOUNCE_MIN_SHIFT)))
		free(buf);
	else
		keep(t, buf, order);
}

void tn_bounce_return(struct tn_budget *budget, void *buf, size_t len)
{
	struct tn_bounce *b = buf;

	if (!is_in_arena(budget, buf)) {
		free(buf);
		return;
	}
	b->order = bounce_class(len);
	b->next = __atomic_load_n(&budget->returned, __ATOMIC_RELAXED);
	/* Release: the buffer's last use comes before its next. */
	while (!__atomic_compare_exchange_n(&budget->returned, &b->next, b, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		continue;
}

/* A file, which a store can have other processes map. */
static void *arena_map(int *fd)
{
	void *arena = MAP_FAILED;

	*fd = memfd_create("bellhop-bounce", MFD_CLOEXEC);
	if (*fd < 0)
		return NULL;
	if (ftruncate(*fd, TN_ARENA_BYTES) == 0)
		arena = mmap(NULL, TN_ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (arena != MAP_FAILED)
		return arena;
	close(*fd);
	return NULL;
}

void tn_bounce_offer(struct tn_thread *t, struct bh_blk_chan *chan)
{
	const struct bh_blk *blk = chan->blk;
	void *arena;

	if (!blk->ops->mem_add || blk->info.caps & BH_BLK_CAP_CANCEL_SYNC)
		return;
	if (!t->budget->arena) {
		arena = arena_map(&t->budget->arena_fd);
		if (!arena)
			return;
		__atomic_store_n(&t->budget->arena, arena, __ATOMIC_RELAXED);
	}
	if (bh_blk_mem_add(chan, t->budget->arena, TN_ARENA_BYTES, t->budget->arena_fd))
		bh_log(t->ctrl->log, BH_LOG_INFO, "nvme-target",
		       "%s: buffers for %s are not registered (ulimit -l?)", t->ctrl->path,
		       blk->info.name);
}

int tn_bounce_init(struct tn_thread *t)
{
	t->budget = calloc(1, sizeof(*t->budget));
	if (!t->budget)
		return -ENOMEM;
	t->budget->refs = 1;
	return 0;
}

void tn_bounce_fini(struct tn_thread *t)
{
	unsigned int i;

	for (i = 0; t->budget && i < TN_BOUNCE_CLASSES; i++) {
		struct tn_bounce *b = t->bounce[i], *next;

		for (; b; b = next) {
			next = b->next;
			if (!is_in_arena(t->budget, b))
				free(b);
		}
		t->bounce[i] = NULL;
	}
	tn_budget_put(t->budget);
	t->budget = NULL;
}

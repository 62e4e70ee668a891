/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bounce buffers of a poll thread: kept by size for the next request, and bounded.
 *
 * What a client can have us allocate is its queues times their depth times MDTS, and it can leave
 * all of that behind by a reset while a store is stuck, and begin anew. So the bytes in use are
 * counted in a budget that lives as long as any buffer taken from it. Who gets none leaves its
 * entry in the ring.
 */
#include <errno.h>
#include <stdlib.h>

#include "target/nvme/plane.h"

static unsigned int bounce_class(size_t len)
{
	unsigned int order = 0;

	while (order < TN_BOUNCE_CLASSES && ((size_t)1 << (order + TN_BOUNCE_MIN_SHIFT)) < len)
		order++;
	return order;
}

static size_t bounce_bytes(size_t len)
{
	unsigned int order = bounce_class(len);

	return order == TN_BOUNCE_CLASSES ? len : (size_t)1 << (order + TN_BOUNCE_MIN_SHIFT);
}

void tn_budget_put(struct tn_budget *budget)
{
	if (budget && !__atomic_sub_fetch(&budget->refs, 1, __ATOMIC_ACQ_REL))
		free(budget);
}

/* One buffer is always granted, however large. */
bool tn_budget_take(struct tn_budget *budget, size_t len)
{
	uint64_t bytes = bounce_bytes(len);
	uint64_t used = __atomic_load_n(&budget->used, __ATOMIC_RELAXED);

	if (used && bytes > TN_BOUNCE_LIMIT - (used < TN_BOUNCE_LIMIT ? used : TN_BOUNCE_LIMIT))
		return false;
	__atomic_fetch_add(&budget->used, bytes, __ATOMIC_RELAXED);
	return true;
}

void tn_budget_give(struct tn_budget *budget, size_t len)
{
	__atomic_fetch_sub(&budget->used, bounce_bytes(len), __ATOMIC_RELAXED);
}

uint8_t *tn_bounce_get(struct tn_thread *t, size_t len)
{
	unsigned int order = bounce_class(len);
	struct tn_bounce *b;

	if (order == TN_BOUNCE_CLASSES)
		return aligned_alloc(TN_PAGE_SIZE,
				     (len + TN_PAGE_SIZE - 1) & ~(TN_PAGE_SIZE - 1ul));
	b = t->bounce[order];
	if (!b)
		return aligned_alloc(TN_PAGE_SIZE, (size_t)1 << (order + TN_BOUNCE_MIN_SHIFT));
	t->bounce[order] = b->next;
	t->bounced[order]--;
	return (uint8_t *)b;
}

void tn_bounce_put(struct tn_thread *t, void *buf, size_t len)
{
	unsigned int order = bounce_class(len);
	struct tn_bounce *b = buf;

	if (!buf)
		return;
	if (order == TN_BOUNCE_CLASSES ||
	    t->bounced[order] >= TN_BOUNCE_KEEP >> (order + TN_BOUNCE_MIN_SHIFT)) {
		free(buf);
		return;
	}
	b->next = t->bounce[order];
	t->bounce[order] = b;
	t->bounced[order]++;
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

	tn_budget_put(t->budget);
	t->budget = NULL;

	for (i = 0; i < TN_BOUNCE_CLASSES; i++) {
		struct tn_bounce *b = t->bounce[i], *next;

		for (; b; b = next) {
			next = b->next;
			free(b);
		}
		t->bounce[i] = NULL;
	}
}

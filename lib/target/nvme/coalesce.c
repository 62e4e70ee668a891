/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupt Coalescing (NVMe 2.0 5.27.1.6): MSI-X interrupts of I/O queues that wait for company.
 *
 * The host says how many completions an interrupt is to be for, and how long the first of them may
 * wait for the others; a vector can be left out (Interrupt Vector Configuration). Either being
 * reached, the interrupt is raised, for all of them. Completions are counted per queue, from where
 * its ring was at the last interrupt, so that nothing is counted per command; queues that share a
 * vector share the interrupt that comes first, and count on.
 *
 * A queue that waits stays on the thread's list of those that are due, which is looked at in each
 * pass; a thread that goes to sleep does so until the first of them is.
 */
#include <bellhop/clock.h>

#include "target/nvme/plane.h"

#define UNIT_NS 100000ull

bool tn_irq_waits(const struct bh_target_nvme *ctrl, struct tn_cq *cq)
{
	uint32_t how = __atomic_load_n(&ctrl->features.coalescing, __ATOMIC_RELAXED);
	uint64_t wait_ns = (how >> 8 & 0xff) * UNIT_NS, now;
	uint32_t most = how & 0xff; /* 0's based */
	uint32_t posted = cq->tail >= cq->raised ? cq->tail - cq->raised
						 : cq->tail + cq->entries - cq->raised;

	if (!wait_ns || posted > most || cq->vector > BH_TARGET_NVME_MAX_QUEUES ||
	    __atomic_load_n(&ctrl->features.vector_config[cq->vector], __ATOMIC_RELAXED))
		return false;
	now = bh_now_ns();
	if (!cq->due_ns)
		cq->due_ns = now + wait_ns;
	return now < cq->due_ns;
}

/* From now to the first that is due: 0, it is. */
int64_t tn_irq_wait_ns(const struct tn_thread *t)
{
	uint64_t now = bh_now_ns(), first = UINT64_MAX;
	const struct tn_cq *cq;

	for (cq = t->due; cq; cq = cq->due_next)
		if (cq->due_ns < first)
			first = cq->due_ns;
	return first > now ? (int64_t)(first - now) : 0;
}

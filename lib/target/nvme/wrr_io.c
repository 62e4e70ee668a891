/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Weighted round robin with urgent priority class (NVMe 2.0 3.4.4), where the host has asked for it.
 *
 * Submission queues are of four classes. As long as an urgent one has entries no other is served.
 * Then come rounds: from the high class up to so many commands as its weight says, from the medium,
 * from the low; within a class queues take turns, each with a burst at a time (feature Arbitration:
 * AB and the weights). A class that has fewer commands than its weight gives the rest up.
 *
 * A thread weighs the queues that it owns, if they are of more than one class; queues of other threads have other cores. A queue whose
 * ring is not memory (slow.c) brings what was fetched of it, whatever its share. A pass ends where
 * every pass does, but only behind a whole round, or the last class would never have a turn.
 */
#include "target/nvme/queue_io.h"

#define PASS_COMMANDS 1024u

struct shares {
	uint32_t burst;
	uint32_t weight[TN_CLASSES];
};

static struct shares shares_of(const struct bh_target_nvme *ctrl)
{
	uint32_t how = __atomic_load_n(&ctrl->features.arbitration, __ATOMIC_RELAXED);
	struct shares s = { .burst = (how & 7) < 7 ? 1u << (how & 7) : TN_BATCH };

	if (s.burst > TN_BATCH)
		s.burst = TN_BATCH;
	s.weight[BH_NVME_QUEUE_QPRIO_HIGH] = (how >> 24) + 1;
	s.weight[BH_NVME_QUEUE_QPRIO_MEDIUM] = (how >> 16 & 0xff) + 1;
	s.weight[BH_NVME_QUEUE_QPRIO_LOW] = (how >> 8 & 0xff) + 1;
	return s;
}

/* One turn of each queue of the class at most, from where the last ended; commands done. */
static uint32_t class_turn(struct tn_thread *t, unsigned int class, uint32_t burst, uint32_t credit)
{
	uint32_t i, n = 0, at = t->turn[class];

	for (i = 0; i < t->num_scan && n < credit; i++, at++) {
		struct tn_scan *scan;

		if (at >= t->num_scan)
			at = 0;
		scan = &t->scan[at];
		if (scan->sq->class != class || bh_load_u32(scan->db) == scan->seen)
			continue;
		n += tn_visit(t, scan, burst < credit - n ? burst : credit - n);
	}
	t->turn[class] = at;
	return n;
}

static uint32_t class_run(struct tn_thread *t, unsigned int class, uint32_t burst, uint32_t credit)
{
	uint32_t n = 0, more;

	do {
		more = class_turn(t, class, burst, credit - n);
		n += more;
	} while (more && n < credit);
	return n;
}

static bool may_go_on(const struct tn_thread *t, uint32_t n)
{
	return n < PASS_COMMANDS && t->work < TN_PASS_BYTES;
}

unsigned int tn_wrr_run(struct tn_thread *t)
{
	const struct shares s = shares_of(t->ctrl);
	uint32_t n = 0, before, more;
	unsigned int class;

	do {
		before = n;
		do {
			more = class_turn(t, BH_NVME_QUEUE_QPRIO_URGENT, s.burst, UINT32_MAX);
			n += more;
		} while (more && may_go_on(t, n));
		for (class = BH_NVME_QUEUE_QPRIO_HIGH; !more && class < TN_CLASSES; class ++)
			n += class_run(t, class, s.burst, s.weight[class]);
	} while (n != before && may_go_on(t, n));
	return n;
}

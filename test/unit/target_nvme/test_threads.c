/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O plane on real threads: a control thread and two poll threads run, the host is this one.
 * For ThreadSanitizer, which sees the target's threads among themselves here: the host has another
 * mapping, so each queue keeps to its own buffers.
 */
#include <sched.h>
#include <semaphore.h>

#include "io_rig.h"

/* Called by the control thread here: what the test does there by itself is in `calls`. */
static sem_t answered;

static void answer(void *arg, uint16_t status)
{
	(void)arg;
	rig.status = status;
	sem_post(&answered);
}

static void answer_void(void *arg)
{
	answer(arg, 0);
}

static void answer_error(void *arg, int error)
{
	answer(arg, (uint16_t)-error);
}

struct call {
	void (*fn)(struct call *call);
	struct tn_queue_params p;
	struct tn_ns *ns;
};

static void call_run(void *ctx)
{
	struct call *call = ctx;

	call->fn(call);
}

static void on_control(void (*fn)(struct call *), struct call *call)
{
	call->fn = fn;
	bh_reactor_call(rig.control, call_run, call);
	while (sem_wait(&answered))
		;
}

static void make_cq(struct call *c)
{
	tn_io_cq_create(&rig.ctrl, &c->p, answer, NULL);
}

static void make_sq(struct call *c)
{
	tn_io_sq_create(&rig.ctrl, &c->p, answer, NULL);
}

static void add_ns(struct call *c)
{
	tn_io_ns_add(&rig.ctrl, c->ns, answer_error, NULL);
}

static void remove_ns(struct call *c)
{
	tn_io_ns_remove(&rig.ctrl, c->ns, answer_void, NULL);
}

static void gate_table(struct call *c)
{
	(void)c;
	tn_io_gate(&rig.ctrl, TN_GATE_TABLE, 0x1000, 0x1000, answer_void, NULL);
}

static void change_and_open(struct call *c)
{
	/* A table that changes: a region elsewhere comes and goes. */
	(void)c;
	if (bh_cmem_del(&rig.cmem, 0x1000, 0x1000))
		bh_cmem_add(&rig.cmem, 0x1000, 0x1000, BH_CMEM_PROT_READ, BH_CMEM_MESSAGE, -1, 0);
	tn_io_ungate(&rig.ctrl);
	sem_post(&answered);
}

static void gate_all(struct call *c)
{
	(void)c;
	tn_io_gate(&rig.ctrl, TN_GATE_ALL, 0, 0, answer_void, NULL);
}

static void drop_and_open(struct call *c)
{
	(void)c;
	tn_io_drop_queues(&rig.ctrl);
	tn_io_ungate(&rig.ctrl);
	sem_post(&answered);
}

static void destroy(struct call *c)
{
	(void)c;
	tn_io_destroy(&rig.ctrl, answer_void, NULL);
}

static void irqs(struct call *c)
{
	(void)c;
	tn_io_irqs_changed(&rig.ctrl);
	sem_post(&answered);
}

static uint64_t submitted; /* commands, since start() */

static void start(const struct bh_blk_type *type, const char *arg)
{
	struct bh_blk_spec spec = { .arg = arg, .block_size = 512 };
	struct call c = { .ns = &rig.ns[1] };
	char why[256];
	uint16_t qid;

	submitted = 0;
	rig_open(BH_CMEM_MAPPED, BH_CMEM_MAPPED, 2, BH_DOORBELLS_MAPPED);
	sem_init(&answered, 0, 0);
	CU_ASSERT_EQUAL(bh_reactor_start(rig.control), 0);
	CU_ASSERT_EQUAL(bh_reactor_start(rig.threads[0]), 0);
	CU_ASSERT_EQUAL(bh_reactor_start(rig.threads[1]), 0);
	CU_ASSERT_EQUAL(type->create(&spec, arg, NULL, why, &rig.ns[1].blk), 0);
	c.ns->nsid = 1;
	c.ns->block_shift = 9;
	c.ns->blocks = bh_blk_info(c.ns->blk)->blocks;
	on_control(add_ns, &c);
	CU_ASSERT_EQUAL(rig.status, 0);
	for (qid = 1; qid <= 3; qid++) {
		c.p = (struct tn_queue_params){ .qid = qid,
						.cqid = qid,
						.entries = 32,
						.iova = RIG_IOVA + RIG_CQ(qid),
						.interrupt = true };
		rig.q[qid] = (struct rig_queue){ .qid = qid, .entries = 32, .phase = 1 };
		on_control(make_cq, &c);
		c.p.iova = RIG_IOVA + RIG_SQ(qid);
		on_control(make_sq, &c);
		CU_ASSERT_EQUAL(rig.status, 0);
	}
}

static void stop(void)
{
	struct call c = { .ns = &rig.ns[1] };

	on_control(gate_all, &c);
	on_control(drop_and_open, &c);
	on_control(remove_ns, &c);
	on_control(destroy, &c);
	bh_blk_put(rig.ns[1].blk);
	bh_reactor_destroy(rig.threads[0]);
	bh_reactor_destroy(rig.threads[1]);
	bh_reactor_destroy(rig.control);
	bh_cmem_fini(&rig.cmem);
	free(rig.ctrl.doorbell_page);
	munmap(rig.mem, RIG_BYTES);
	close(rig.fd);
	sem_destroy(&answered);
}

/* Somebody looks on. */

static void add_up(void *ctx, const struct bh_target_nvme_queue_stats *stats)
{
	*(uint64_t *)ctx += stats->counts.reads + stats->counts.writes;
}

static uint64_t counted(void)
{
	static const struct bh_clock clock = { .mult = 1ull << 32, .hz = 1000000000 };
	struct bh_target_nvme_ns_stats ns;
	struct bh_histogram latency;
	uint64_t sum = 0;

	bh_target_nvme_queues(&rig.ctrl, &clock, add_up, &sum);
	CU_ASSERT(bh_target_nvme_ns_stats(&rig.ctrl, 1, &clock, &latency, &ns));
	return sum;
}

/* Keeps all queues full until each had `commands`; commands that failed, or ~0 when it takes too
 * long. */
static unsigned int in_flight = 31; /* of each queue of 32 */

static unsigned int traffic(unsigned int commands, bool gates)
{
	unsigned int sent[4] = { 0 }, got[4] = { 0 }, failed = 0, passes = 0, qid;
	uint64_t end = bh_now_ns() + 20000000000ull;
	struct call c = { 0 };

	while (got[1] < commands || got[2] < commands || got[3] < commands) {
		unsigned int before = got[1] + got[2] + got[3];

		if (bh_now_ns() > end)
			return ~0u;
		for (qid = 1; qid <= 3; qid++) {
			struct rig_queue *q = &rig.q[qid];
			struct bh_nvme_cpl cpl;
			uint32_t tail = q->tail;

			while (sent[qid] < commands && sent[qid] - got[qid] < in_flight) {
				uint64_t at =
					RIG_DATA_AT + qid * 0x100000u + sent[qid] % 31 * 0x1000u;
				uint64_t lba =
					qid * 512 + sent[qid] % 32 * 8; /* of no other queue */
				struct bh_nvme_cmd cmd = rig_cmd(1 + (sent[qid] & 1), lba, 8, at);

				cmd.cid = (uint16_t)sent[qid]++;
				submitted++;
				rig_put(q, &cmd);
			}
			if (q->tail != tail)
				rig_tail(q);
			for (tail = q->head; rig_get(q, &cpl);) {
				got[qid]++;
				failed += bh_nvme_cpl_status(&cpl) != 0;
			}
			if (tail != q->head)
				rig_head(q);
		}
		if (got[1] + got[2] + got[3] == before) {
			sched_yield(); /* to who may be waiting for this CPU */
			continue;
		}
		if (gates && ++passes % 8 == 0) {
			on_control(gate_table, &c);
			on_control(change_and_open, &c);
			on_control(irqs, &c);
			CU_ASSERT(counted() <= submitted);
		}
	}
	return failed;
}

static void queues_over_two_threads(void)
{
	start(&bh_blk_ram_type, "1M");
	CU_ASSERT_EQUAL(traffic(3000, false), 0);
	stop();
}

static void gates_under_load(void)
{
	struct call c = { 0 };

	start(&bh_blk_ram_type, "1M");
	CU_ASSERT_EQUAL(traffic(3000, true), 0);
	on_control(gate_table, &c); /* no thread is in the middle of a visit */
	CU_ASSERT_EQUAL(counted(), 9000);
	on_control(change_and_open, &c);
	stop();
}

static void late_store_under_load(void)
{
	start(&blk_late_type, "1M,hold=3,seed=11");
	CU_ASSERT_EQUAL(traffic(600, true), 0);
	stop();
}

/* Compare and Write of a block that is all `from`, to one more. */
static void put_count(struct rig_queue *q, uint64_t from)
{
	const uint64_t at = RIG_DATA_AT + q->qid * 0x100000u;
	struct bh_nvme_cmd cmd[2] = { rig_cmd(BH_NVME_CMD_COMPARE, 7, 1, at),
				      rig_cmd(BH_NVME_CMD_WRITE, 7, 1, at + 4096) };
	unsigned int i;

	for (i = 0; i < 64; i++) {
		((uint64_t *)rig_at(at))[i] = from;
		((uint64_t *)rig_at(at + 4096))[i] = from + 1;
	}
	for (i = 0; i < 2; i++) {
		cmd[i].flags = i ? BH_NVME_FUSE_SECOND : BH_NVME_FUSE_FIRST;
		cmd[i].cid = (uint16_t)i;
		rig_put(q, &cmd[i]);
		submitted++;
	}
}

/* How many of three queues, which are two threads', were first to count up; ~0: one did not end. */
static unsigned int race_once(uint64_t from)
{
	uint64_t end = bh_now_ns() + 20000000000ull;
	unsigned int first = 0, n = 0, qid;
	struct bh_nvme_cpl cpl;

	for (qid = 1; qid <= 3; qid++)
		put_count(&rig.q[qid], from);
	for (qid = 1; qid <= 3; qid++)
		rig_tail(&rig.q[qid]);
	for (qid = 1; n < 6 && bh_now_ns() < end; qid = qid % 3 + 1) {
		if (!rig_get(&rig.q[qid], &cpl)) {
			sched_yield();
			continue;
		}
		rig_head(&rig.q[qid]);
		first += cpl.cid == 0 && bh_nvme_cpl_status(&cpl) == 0;
		n++;
	}
	return n == 6 ? first : ~0u;
}

/* While the threads come off the fast path, serve off it, and go back to it. */
static void one_is_first_to_count(void)
{
	uint64_t value;

	start(&bh_blk_ram_type, "1M");
	for (value = 0; value < 60; value++) {
		CU_ASSERT_EQUAL_FATAL(race_once(value), 1);
		if (value % 20 == 0) /* so many that it is the last for a while */
			CU_ASSERT_EQUAL(traffic(value % 40 ? 100 : 6000, value % 40 != 0), 0);
	}
	CU_ASSERT_EQUAL(race_once(0), 0);
	stop();
}

static void end_with_requests_in_the_store(void)
{
	unsigned int qid, i;

	start(&blk_late_type, "1M,hold=60,seed=2");
	for (qid = 1; qid <= 3; qid++) {
		struct bh_nvme_cmd cmd =
			rig_cmd(BH_NVME_CMD_READ, 0, 8, RIG_DATA_AT + qid * 0x10000);

		for (i = 0; i < 20; i++)
			rig_put(&rig.q[qid], &cmd);
		rig_tail(&rig.q[qid]);
	}
	usleep(10000);
	stop();
	usleep(100000); /* the store gives them back and goes */
}

static void set_shadows(struct call *c)
{
	(void)c;
	tn_io_shadow_set(&rig.ctrl, RIG_IOVA + RIG_SHADOW, RIG_IOVA + RIG_EVENT, answer, NULL);
}

#if defined(__SANITIZE_THREAD__)
#define SHADOW_COMMANDS 2000
#else
#define SHADOW_COMMANDS 6000
#endif

/*
 * Threads that do not sleep are never rung by a host that has no more than half a ring in flight,
 * whoever is stopped where. (An index that stood still would be met once per wrap.)
 */
static void shadows_do_not_ring_while_polled(void)
{
	struct call c = { 0 };

	in_flight = 15;
	rig_idle_ns = UINT64_MAX;
	start(&bh_blk_ram_type, "1M");
	rig_idle_ns = 0;
	on_control(set_shadows, &c);
	rig.is_shadow = true;
	CU_ASSERT_EQUAL(traffic(SHADOW_COMMANDS, false), 0);
	CU_ASSERT_EQUAL(rig.doorbells, 0);
	in_flight = 31;
	stop();
}

/* Asleep, a trapped doorbell wakes the right thread at once. */
static void trapped(struct call *c)
{
	tn_io_doorbell_write(&rig.ctrl, 8ull * c->p.qid, rig.q[c->p.qid].tail);
	sem_post(&answered);
}

static void doorbells_wake(void)
{
	struct bh_nvme_cpl cpl;
	unsigned int i, missed = 0;

	start(&bh_blk_ram_type, "1M");
	for (i = 0; i < 40; i++) {
		struct call c = { .p.qid = (uint16_t)(1 + i % 3) };
		struct bh_nvme_cmd cmd =
			rig_cmd(BH_NVME_CMD_READ, 0, 1, RIG_DATA_AT + c.p.qid * 0x1000);
		struct rig_queue *q = &rig.q[c.p.qid];
		uint64_t end = bh_now_ns() + 2000000000ull;
		bool got;

		usleep(i % 4 * 300);
		rig_put(q, &cmd);
		on_control(trapped, &c);
		do
			got = rig_get(q, &cpl);
		while (!got && bh_now_ns() < end);
		missed += !got;
	}
	CU_ASSERT_EQUAL(missed, 0);
	stop();
}

BH_SUITE("threads", { "queues_over_two_threads", queues_over_two_threads },
	 { "gates_under_load", gates_under_load },
	 { "late_store_under_load", late_store_under_load },
	 { "one_is_first_to_count", one_is_first_to_count },
	 { "end_with_requests_in_the_store", end_with_requests_in_the_store },
	 { "shadows_do_not_ring_while_polled", shadows_do_not_ring_while_polled },
	 { "doorbells_wake", doorbells_wake }, )

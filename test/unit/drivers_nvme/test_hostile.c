/* SPDX-License-Identifier: BSD-3-Clause */
/* Controllers that are broken or mean: what they say is checked before it is used. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "nvme/queue.h"
#include "rig.h"

/* MQES 255, CQR, TO 1, NVM command set. */
#define GOOD_CAP (255 | 1u << 16 | 1u << 24 | 1ull << 37)

/* Attach with registers that turn to nonsense at any read; then the same in a reset. */
static void nonsense_from_any_read_on(uint32_t kind, uint32_t upto)
{
	struct fake_opts o;
	struct rig r;
	uint32_t at;
	int rc;

	fake_opts_init(&o);
	o.any_cap = true;
	o.cap = GOOD_CAP;
	for (at = 0; at < upto; at++) {
		rig_open(&r, &o);
		fake_set(&r.fake->nonsense_at, at);
		fake_set(&r.fake->nonsense, kind);
		rc = rig_attach(&r, NULL);
		CU_ASSERT(rc == 0 || rc == (kind == 1 ? -ENODEV : -ENOTSUP) ||
			  (kind == 2 && rc == -ETIMEDOUT));
		CU_ASSERT(rc == 0 || r.last_error[0]);
		rig_close(&r);
		rig_start(&r, &o, 7);
		fake_set(&r.fake->nonsense_at, at);
		fake_set(&r.fake->nonsense, kind);
		rc = bh_nvme_reset(r.nvme);
		CU_ASSERT(rc == 0 || rc == (kind == 1 ? -ENODEV : -ETIMEDOUT));
		CU_ASSERT_EQUAL(bh_nvme_poll(r.nvme) < 0, rc != 0);
		if (kind == 2 && at < 2) {
			/* It said that it was off already. */
			pthread_mutex_lock(&r.fake->lock);
			CU_ASSERT_EQUAL(fake_get(&r.fake->enables), 2);
			pthread_mutex_unlock(&r.fake->lock);
		}
		/* A shutdown would wait 5 s for zeros. */
		if (kind == 2)
			fake_set(&r.fake->nonsense, 0);
		rig_close(&r);
	}
}

static void registers_turn_to_ones(void)
{
	nonsense_from_any_read_on(1, 8);
}

static void registers_turn_to_zeros(void)
{
	nonsense_from_any_read_on(2, 5);
}

static void capabilities_are_checked(void)
{
	const uint64_t good = GOOD_CAP;
	const struct {
		uint64_t cap;
		int rc;
	} c[] = {
		{ good, 0 },
		{ good & ~(0xffull << 24), 0 },	    /* TO 0 */
		{ good & ~0xffffull, -ENOTSUP },    /* MQES 0 */
		{ (good & ~0xffffull) | 1, 0 },	    /* MQES 1 */
		{ good & ~(1ull << 37), -ENOTSUP }, /* no command set */
		{ good | 1ull << 48, -ENOMEM },	    /* pages larger than the pool's */
		{ good | 5ull << 48, -ENOTSUP },    /* 128 KiB */
		{ good | 15ull << 48, -ENOTSUP },
		{ good | 15ull << 32, -ENOTSUP }, /* DSTRD */
		{ 0, -ENOTSUP },
		{ UINT64_MAX, -ENODEV },
	};
	struct fake_opts o;
	struct rig r;
	unsigned int i;

	fake_opts_init(&o);
	o.any_cap = true;
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		o.cap = c[i].cap;
		rig_open(&r, &o);
		CU_ASSERT_EQUAL(rig_attach(&r, NULL), c[i].rc);
		if (!c[i].rc)
			CU_ASSERT_EQUAL(rig_queue(&r, 1, false), 0)
		else
			CU_ASSERT_NOT_EQUAL(r.last_error[0], 0)
		rig_close(&r);
	}
}

static unsigned int active(const struct rig *r)
{
	struct bh_nvme_ns *ns = bh_nvme_ns_first(r->nvme);
	unsigned int n = 0;

	for (; ns; ns = bh_nvme_ns_next(ns))
		n++;
	return n;
}

static void endless_namespaces_are_bounded(void)
{
	struct fake_opts o;
	struct rig r;

	fake_opts_init(&o);
	o.lists = FAKE_ENDLESS;
	rig_open(&r, &o);
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
	CU_ASSERT_EQUAL(active(&r), 1024);
	CU_ASSERT_EQUAL(rig_queue(&r, 7, false), 0);
	rig_close(&r);
}

static void looping_and_broadcast_lists_end(void)
{
	struct fake_opts o;
	struct rig r;

	fake_opts_init(&o);
	o.namespaces = 2;
	o.lists = FAKE_LOOPING;
	rig_open(&r, &o);
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
	CU_ASSERT_EQUAL(active(&r), 2);
	rig_close(&r);
	o.lists = FAKE_EVERYONE;
	rig_open(&r, &o);
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
	CU_ASSERT_EQUAL(active(&r), 2);
	CU_ASSERT_PTR_NULL(bh_nvme_ns_get(r.nvme, BH_NVME_NSID_ALL));
	rig_close(&r);
}

/* A caller divides by the block size. */
static void impossible_block_sizes_are_not_active(void)
{
	static const uint8_t lbads[] = { 0, 1, 8, 21, 31, 32, 63, 64, 73, 255 };
	struct fake_opts o;
	struct rig r;
	unsigned int i;

	fake_opts_init(&o);
	o.any_lbads = true;
	for (i = 0; i < sizeof(lbads); i++) {
		o.lbads = lbads[i];
		rig_open(&r, &o);
		CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
		CU_ASSERT_EQUAL(active(&r), 0);
		CU_ASSERT_PTR_NULL(bh_nvme_ns_get(r.nvme, 1));
		rig_close(&r);
	}
	/* One block is more than a command may carry. */
	o.lbads = 16;
	rig_open(&r, &o);
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, NULL), 0);
	CU_ASSERT_EQUAL(active(&r), 0);
	rig_close(&r);
}

/* What was a namespace can become nonsense under its owner. */
static void a_block_size_may_turn_bad(void)
{
	struct fake_opts o;
	struct rig r;
	struct tally t = { 0 };

	fake_opts_init(&o);
	rig_start(&r, &o, 7);
	pthread_mutex_lock(&r.fake->lock);
	r.fake->o.any_lbads = true;
	pthread_mutex_unlock(&r.fake->lock);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	bh_nvme_queue_poll(r.q, 0);
	CU_ASSERT(bh_nvme_poll(r.nvme) >= 0);
	CU_ASSERT_EQUAL(active(&r), 0);
	CU_ASSERT_EQUAL(bh_nvme_ns_blocks(r.ns), 0);
	CU_ASSERT_EQUAL(bh_nvme_ns_block_size(r.ns), 512);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), -EINVAL);
	rig_close(&r);
}

static void doorbells_lie_in_the_bar(void)
{
	struct fake_opts o;
	struct rig r;
	struct tally t = { 0 };
	struct bh_nvme_queue *more;

	fake_opts_init(&o);
	for (o.bells = FAKE_MAPPED; o.bells <= FAKE_WRITTEN; o.bells++) {
		/* Room for two queues of eight. */
		o.dstrd = 10;
		o.bar_bytes = 0x1000 + 6 * 4096;
		rig_start(&r, &o, 7);
		CU_ASSERT_EQUAL(bh_nvme_max_queues(r.nvme), 2);
		CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, NULL, &more), 0);
		CU_ASSERT_EQUAL(bh_nvme_queue_create(r.nvme, NULL, &more), -ENOSPC);
		CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 64, 0, tally_done, &t), 0);
		CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
		rig_close(&r);
		t.done = 0;
		/* Not even for the admin queue. */
		o.dstrd = 15;
		rig_open(&r, &o);
		CU_ASSERT_EQUAL(rig_attach(&r, NULL), -ENOTSUP);
		CU_ASSERT_PTR_NOT_NULL(strstr(r.last_error, "doorbells"));
		rig_close(&r);
	}
}

struct scribbler {
	struct rig *r;
	uint8_t *cq;
	size_t bytes;
	bool stop;
};

/* A controller gone mad: phases, command ids, statuses, heads. */
static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	unsigned int seed = 1;

	while (!fake_get(&s->stop)) {
		uint32_t word = (uint32_t)rand_r(&seed);

		/* Half of the command ids are of this queue. */
		if (seed & 1)
			word = (word & 0xffff0000u) | word % 20;
		bh_store_u32(s->cq + (uint32_t)rand_r(&seed) % (s->bytes / 4) * 4, word);
		if (!(word & 0x30000))
			sched_yield();
	}
	return NULL;
}

static void accepted_once_completed_once(void *arg, const struct bh_nvme_cpl *cpl)
{
	(void)cpl;
	++*(uint8_t *)arg;
}

static void a_mad_controller_completes_all_once(void)
{
	static uint8_t done[100000]; /* by accepted request */
	struct rig r;
	struct scribbler s = { 0 };
	pthread_t thread;
	uint64_t end;
	unsigned int n = 0, i;

#ifdef __SANITIZE_THREAD__
	unit_skip("what is scribbled over is a data race by intent");
#endif
	memset(done, 0, sizeof(done));
	rig_start(&r, NULL, 15);
	s = (struct scribbler){ &r, (uint8_t *)r.q->cq, r.q->entries * 16u, false };
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, scribble, &s), 0);
	end = bh_now_ns() + 400000000;
	/* On until there has been a reset; it will not do without one for long. */
	for (i = 0; n < sizeof(done) && (bh_now_ns() < end || fake_get(&r.fake->enables) < 2) &&
		    bh_now_ns() < end + 20000000000ull;
	     i++) {
		n += !bh_nvme_read(r.q, r.ns, r.buf, 0, i % 5 ? 1 : 300, 0,
				   accepted_once_completed_once, &done[n]);
		bh_nvme_queue_poll(r.q, i % 3);
		bh_nvme_poll(r.nvme);
		sched_yield();
	}
	CU_ASSERT(fake_get(&r.fake->enables) > 1);
	/* The memory is the pool's again after this. */
	fake_set(&s.stop, true);
	pthread_join(thread, NULL);
	bh_nvme_queue_destroy(r.q);
	r.q = NULL;
	for (i = 0; i < n && done[i] == 1; i++)
		;
	CU_ASSERT_EQUAL(i, n);
	CU_ASSERT_EQUAL(rig_queue(&r, 15, false), 0);
	rig_close(&r);
}

struct forger {
	struct rig *r;
	unsigned int at, done;
};

/* Plays a controller that completes what was not rung yet, as fast as it is submitted. */
static void forge_next(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct forger *f = arg;
	struct bh_nvme_queue *q = f->r->q;
	uint8_t *cqe = (uint8_t *)q->cq + f->at % q->entries * 16;
	uint32_t phase = !(f->at / q->entries % 2);
	uint16_t cid = q->free[q->nfree - 1];

	(void)cpl;
	f->at++;
	if (++f->done >= 1000)
		return;
	CU_ASSERT_EQUAL(bh_nvme_read(q, f->r->ns, f->r->buf, 0, 1, 0, forge_next, f), 0);
	bh_store_u64(cqe, 0);
	bh_store_release_u32(cqe + 12, cid | phase << 16);
}

static void a_poll_ends_whatever_is_posted(void)
{
	struct rig r;
	struct forger f = { &r, 0, 0 };
	struct bh_nvme_result out[4];
	unsigned int polls = 0, bound;
	int n;

	rig_start(&r, NULL, 15);
	bound = r.q->entries;
	fake_set(&r.fake->hold, 1);
	forge_next(&f, NULL);
	while (f.done < 1000) {
		unsigned int before = f.done;

		n = polls++ % 2 ? bh_nvme_queue_reap(r.q, out, 4) : bh_nvme_queue_poll(r.q, 0);
		CU_ASSERT(n >= 0 && n <= (int)bound);
		CU_ASSERT_FATAL(f.done - before <= bound);
		CU_ASSERT_FATAL(f.done > before);
	}
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 0);
	rig_close(&r);
}

struct watch {
	struct rig *r;
	unsigned int done;
	bool off; /* the controller had forgotten the command when it completed here */
};

static void watch_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct watch *w = arg;
	unsigned int i;

	CU_ASSERT_EQUAL(bh_nvme_cpl_status(cpl), BH_NVME_SC_ABORTED_SQ_DELETION);
	pthread_mutex_lock(&w->r->fake->lock);
	w->off = true;
	for (i = 0; i < FAKE_HELD; i++)
		w->off = w->off && !w->r->fake->held[i].used;
	pthread_mutex_unlock(&w->r->fake->lock);
	w->done++;
}

/* The caller's buffer is his again when his command completes. */
static void a_refused_deletion_lets_go_of_buffers_first(void)
{
	struct rig r;
	struct watch w = { &r, 0, false };
	struct bh_nvme_queue *other;

	rig_start(&r, NULL, 31);
	other = r.q;
	CU_ASSERT_EQUAL_FATAL(rig_queue(&r, 31, false), 0);
	fake_set(&r.fake->hold, 1);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, watch_done, &w), 0);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.fake->ios, 1));
	fake_set(&r.fake->fail_admin, BH_NVME_ADMIN_DELETE_SQ + 1);
	bh_nvme_queue_destroy(r.q);
	CU_ASSERT_EQUAL(w.done, 1);
	CU_ASSERT_TRUE(w.off);
	CU_ASSERT_EQUAL(fake_get(&r.fake->enables), 2);
	fake_set(&r.fake->fail_admin, 0);
	fake_set(&r.fake->hold, 0);
	/* The other queue comes back. */
	r.q = other;
	rig_poll_ms(&r, 5, true);
	CU_ASSERT_EQUAL(r.events[BH_NVME_EVENT_RESET_DONE], 1);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 0);
	rig_close(&r);
}

/* A controller that stopped answering is not asked for every queue. */
static void destroying_many_queues_waits_once(void)
{
	struct rig r;
	struct bh_nvme_opts o;
	struct bh_nvme_queue *q[6];
	uint64_t start;
	unsigned int i;

	rig_open(&r, NULL);
	bh_nvme_opts_init(&o);
	o.admin_timeout_ns = 1000000000;
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, &o), 0);
	for (i = 0; i < 6; i++)
		CU_ASSERT_EQUAL_FATAL(bh_nvme_queue_create(r.nvme, NULL, &q[i]), 0);
	fake_set(&r.fake->ignore_admin, BH_NVME_ADMIN_DELETE_SQ + 1);
	start = bh_now_ns();
	for (i = 0; i < 6; i++)
		bh_nvme_queue_destroy(q[i]);
	CU_ASSERT(bh_now_ns() - start < 4000000000ull);
	fake_set(&r.fake->ignore_admin, 0);
	rig_poll_ms(&r, 1, false);
	CU_ASSERT_EQUAL(fake_get(&r.fake->enables), 2);
	CU_ASSERT_EQUAL(rig_queue(&r, 31, false), 0);
	rig_close(&r);
}

/* It may have the queue, or still make it. */
static void an_unanswered_creation_keeps_the_memory(void)
{
	static const uint8_t opc[] = { BH_NVME_ADMIN_CREATE_CQ, BH_NVME_ADMIN_CREATE_SQ };
	struct rig r;
	struct bh_nvme_opts o;
	unsigned int i;
	size_t before;

	for (i = 0; i < 2; i++) {
		rig_open(&r, NULL);
		bh_nvme_opts_init(&o);
		o.admin_timeout_ns = 1000000000;
		CU_ASSERT_EQUAL_FATAL(rig_attach(&r, &o), 0);
		before = bh_pool_free_bytes(r.pool);
		fake_set(&r.fake->ignore_admin, opc[i] + 1u);
		CU_ASSERT_EQUAL(rig_queue(&r, 31, false), -EIO);
		CU_ASSERT(bh_pool_free_bytes(r.pool) < before);
		fake_set(&r.fake->ignore_admin, 0);
		rig_poll_ms(&r, 1, false);
		CU_ASSERT_EQUAL(bh_pool_free_bytes(r.pool), before);
		CU_ASSERT_EQUAL(rig_queue(&r, 31, false), 0);
		rig_close(&r);
	}
}

BH_SUITE("nvme_hostile", { "capabilities_are_checked", capabilities_are_checked },
	 { "registers_turn_to_ones", registers_turn_to_ones },
	 { "registers_turn_to_zeros", registers_turn_to_zeros },
	 { "endless_namespaces_are_bounded", endless_namespaces_are_bounded },
	 { "looping_and_broadcast_lists_end", looping_and_broadcast_lists_end },
	 { "impossible_block_sizes_are_not_active", impossible_block_sizes_are_not_active },
	 { "a_block_size_may_turn_bad", a_block_size_may_turn_bad },
	 { "doorbells_lie_in_the_bar", doorbells_lie_in_the_bar },
	 { "a_poll_ends_whatever_is_posted", a_poll_ends_whatever_is_posted },
	 { "a_mad_controller_completes_all_once", a_mad_controller_completes_all_once },
	 { "a_refused_deletion_lets_go_of_buffers_first",
	   a_refused_deletion_lets_go_of_buffers_first },
	 { "destroying_many_queues_waits_once", destroying_many_queues_waits_once },
	 { "an_unanswered_creation_keeps_the_memory", an_unanswered_creation_keeps_the_memory }, )

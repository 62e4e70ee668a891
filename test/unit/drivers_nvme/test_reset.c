/* SPDX-License-Identifier: BSD-3-Clause */
/* Resets, timeouts, loss and reopening: every command completes exactly once. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "nvme/queue.h"
#include "rig.h"

static void submit_n(struct rig *r, unsigned int n, struct tally *t)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		CU_ASSERT_EQUAL(bh_nvme_read(r->q, r->ns, r->buf, i, 1, 0, tally_done, t), 0);
	bh_nvme_queue_flush(r->q);
}

static void works(struct rig *r)
{
	struct tally t = { 0 };
	unsigned int i;

	/* A reset may have to create the queue again first. */
	for (i = 0; i < 1000 && (bh__queue_slow(r->q) & BH__Q_STOP); i++) {
		bh_nvme_queue_poll(r->q, 0);
		bh_nvme_poll(r->nvme);
	}
	submit_n(r, 4, &t);
	CU_ASSERT_TRUE(rig_wait(r, &t, 4));
	CU_ASSERT_EQUAL(t.errors, 0);
}

static void reset_on_one_thread(void)
{
	struct rig r;
	struct tally t = { 0 };

	rig_start(&r, NULL, 31);
	fake_set(&r.fake->hold, 1);
	submit_n(&r, 10, &t);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.fake->ios, 10));
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	/* Not before the owner polls. */
	CU_ASSERT_EQUAL(t.done, 0);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), -EAGAIN);
	CU_ASSERT_EQUAL(bh_nvme_queue_poll(r.q, 4), 4);
	CU_ASSERT_EQUAL(bh_nvme_queue_poll(r.q, 0), 6);
	CU_ASSERT_EQUAL(t.errors, 10);
	CU_ASSERT_EQUAL(t.status, BH_NVME_SC_ABORTED_SQ_DELETION);
	CU_ASSERT_EQUAL(r.events[BH_NVME_EVENT_RESET_DONE], 0);
	fake_set(&r.fake->hold, 0);
	CU_ASSERT(bh_nvme_poll(r.nvme) >= 1);
	CU_ASSERT_EQUAL(r.events[BH_NVME_EVENT_RESET_BEGIN], 1);
	CU_ASSERT_EQUAL(r.events[BH_NVME_EVENT_RESET_DONE], 1);
	works(&r);
	CU_ASSERT_EQUAL(fake_get(&r.fake->enables), 2);
	rig_close(&r);
}

static void reset_delivers_true_status_first(void)
{
	struct rig r;
	struct bh_nvme_result out[3];
	unsigned int i, good = 0, bad = 0, rounds;

	rig_start(&r, NULL, 31);
	fake_set(&r.fake->hold, 1);
	for (i = 0; i < 10; i++)
		bh_nvme_read(r.q, r.ns, r.buf, i, 1, 0, NULL, (void *)(uintptr_t)i);
	bh_nvme_queue_flush(r.q);
	while (fake_get(&r.fake->ios) < 10)
		sched_yield();
	fake_release(r.fake);
	fake_set(&r.fake->hold, 1);
	/* Ten lie in the ring; five more never complete. */
	for (i = 0; i < 5; i++)
		bh_nvme_read(r.q, r.ns, r.buf, i, 1, 0, NULL, NULL);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	for (rounds = 0; rounds < 10 && good + bad < 15; rounds++) {
		int n = bh_nvme_queue_reap(r.q, out, 3);

		CU_ASSERT_FATAL(n >= 0 && n <= 3);
		while (n-- > 0)
			*(out[n].status ? &bad : &good) += 1;
	}
	CU_ASSERT_EQUAL(good, 10);
	CU_ASSERT_EQUAL(bad, 5);
	fake_set(&r.fake->hold, 0);
	works(&r);
	rig_close(&r);
}

static void reset_ends_split_requests_once(void)
{
	struct rig r;
	struct tally t = { 0 };

	rig_start(&r, NULL, 4);
	fake_set(&r.fake->hold, 1);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 2000, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.fake->ios, 4));
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	fake_set(&r.fake->hold, 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	CU_ASSERT_EQUAL(t.errors, 1);
	works(&r);
	rig_close(&r);
}

static void many_resets_in_a_row(void)
{
	struct rig r;
	struct tally t = { 0 };
	unsigned int i;

	rig_start(&r, NULL, 31);
	for (i = 0; i < 20; i++) {
		if (!bh_nvme_read(r.q, r.ns, r.buf, i, 1, 0, tally_done, &t))
			t.status = 0;
		CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
		if (i % 3 == 0)
			bh_nvme_queue_poll(r.q, 0);
		if (i % 4 == 0)
			bh_nvme_poll(r.nvme);
	}
	rig_poll_ms(&r, 20, true);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 0);
	works(&r);
	rig_close(&r);
}

static void halting_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct rig *r = arg;

	(void)cpl;
	bh__queue_halt(r->q, BH__Q_HALT | BH__Q_DISABLED);
	CU_ASSERT_EQUAL(bh_nvme_read(r->q, r->ns, r->buf, 0, 1, 0, NULL, NULL), -EAGAIN);
	/* The poll that calls us has ring state in its hands. */
	CU_ASSERT_FALSE(bh__queue_acked(r->q));
}

static void a_callback_does_not_acknowledge_a_reset(void)
{
	struct rig r;

	rig_start(&r, NULL, 31);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, halting_done, &r), 0);
	while (!bh_nvme_queue_poll(r.q, 0))
		sched_yield();
	CU_ASSERT_FALSE(bh__queue_acked(r.q));
	CU_ASSERT_EQUAL(bh_nvme_queue_poll(r.q, 0), 0);
	CU_ASSERT_TRUE(bh__queue_acked(r.q));
	CU_ASSERT_EQUAL(r.q->cq_head, 0);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	works(&r);
	rig_close(&r);
}

static void destroy_while_a_reset_waits(void)
{
	struct rig r;
	struct tally t = { 0 };

	rig_start(&r, NULL, 31);
	fake_set(&r.fake->hold, 1);
	submit_n(&r, 3, &t);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	bh_nvme_queue_destroy(r.q);
	r.q = NULL;
	CU_ASSERT_EQUAL(t.done, 3);
	CU_ASSERT_EQUAL(t.errors, 3);
	bh_nvme_poll(r.nvme);
	CU_ASSERT_EQUAL(r.events[BH_NVME_EVENT_RESET_DONE], 1);
	rig_close(&r);
}

/* ---- an owner on another thread ---- */

struct owner {
	struct rig *r;
	bool stop, busy;
	uint64_t submitted, done, errors, refused;
};

static void owner_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct owner *o = arg;

	o->done++;
	o->errors += bh_nvme_cpl_status(cpl) != 0;
}

static void *owner_run(void *arg)
{
	struct owner *o = arg;
	unsigned int i = 0;
	uint64_t end;

	while (!fake_get(&o->stop)) {
		for (i = 0; i < 8; i++) {
			int rc = bh_nvme_read(o->r->q, o->r->ns, o->r->buf, i, i == 3 ? 200 : 1, 0,
					      owner_done, o);

			if (!rc)
				o->submitted++;
			else
				o->refused++;
		}
		fake_set(&o->busy, o->submitted > 0);
		if (bh_nvme_queue_poll(o->r->q, 0) == 0)
			sched_yield();
	}
	end = bh_now_ns() + 10000000000ull;
	while (bh_nvme_queue_outstanding(o->r->q) && bh_now_ns() < end) {
		bh_nvme_queue_poll(o->r->q, 0);
		sched_yield();
	}
	return NULL;
}

static void reset_under_load_of_another_thread(void)
{
	struct rig r;
	struct owner o = { .r = &r };
	pthread_t thread;
	unsigned int i;

	rig_start(&r, NULL, 63);
	pthread_create(&thread, NULL, owner_run, &o);
	while (!fake_get(&o.busy))
		sched_yield();
	for (i = 0; i < 20; i++) {
		uint64_t end = bh_now_ns() + 3000000;

		while (bh_now_ns() < end)
			bh_nvme_poll(r.nvme);
		CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	}
	for (i = 0; i < 5000000 && r.events[BH_NVME_EVENT_RESET_DONE] == 0; i++)
		bh_nvme_poll(r.nvme);
	fake_set(&o.stop, true);
	pthread_join(thread, NULL);
	CU_ASSERT(o.submitted > 0);
	CU_ASSERT_EQUAL(o.submitted, o.done);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r.q), 0);
	rig_poll_ms(&r, 5, true);
	works(&r);
	rig_close(&r);
}

static void loss_under_load_of_another_thread(void)
{
	struct rig r;
	struct owner o = { .r = &r };
	pthread_t thread;

	rig_start(&r, NULL, 63);
	pthread_create(&thread, NULL, owner_run, &o);
	rig_poll_ms(&r, 5, false);
	fake_lose(r.fake);
	rig_poll_ms(&r, 5, false);
	fake_set(&o.stop, true);
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(o.submitted, o.done);
	CU_ASSERT_EQUAL(bh_nvme_poll(r.nvme), -ENODEV);
	CU_ASSERT_EQUAL(r.events[BH_NVME_EVENT_FAILED], 1);
	rig_close(&r);
}

/* ---- timeouts ---- */

static void start_with_timeout(struct rig *r, uint64_t ms)
{
	struct bh_nvme_opts nopts;

	rig_open(r, NULL);
	bh_nvme_opts_init(&nopts);
	nopts.io_timeout_ns = ms * 1000000;
	CU_ASSERT_EQUAL_FATAL(rig_attach(r, &nopts), 0);
	CU_ASSERT_EQUAL_FATAL(rig_queue(r, 15, false), 0);
}

static void timeout_aborts(void)
{
	struct rig r;
	struct tally t = { 0 };
	struct bh_nvme_queue_stats stats;
	unsigned int i;

	start_with_timeout(&r, 300);
	fake_set(&r.fake->hold, 1);
	submit_n(&r, 5, &t); /* more than the controller takes aborts at once */
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.fake->ios, 5));
	fake_set(&r.fake->hold, 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 5));
	CU_ASSERT_EQUAL(t.status, BH_NVME_SC_ABORTED_BY_REQUEST);
	CU_ASSERT_EQUAL(fake_get(&r.fake->aborts), 5);
	bh_nvme_queue_stats(r.q, &stats);
	CU_ASSERT_EQUAL(stats.aborts, 5);
	CU_ASSERT_EQUAL(fake_get(&r.fake->enables), 1);
	/* Their cids come back: the queue takes its whole depth again. */
	for (i = 0; i < 1000 && r.q->nfree < 15; i++)
		rig_poll_ms(&r, 5, true);
	t.done = t.errors = 0;
	submit_n(&r, 15, &t);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 15));
	CU_ASSERT_EQUAL(t.errors, 0);
	rig_close(&r);
}

static void timeout_then_reset(void)
{
	struct rig r;
	struct tally t = { 0 };

	start_with_timeout(&r, 300);
	fake_set(&r.fake->hold, 1);
	fake_set(&r.fake->ignore_abort, 1);
	submit_n(&r, 3, &t);
	CU_ASSERT_TRUE(rig_wait_flag(&r, &r.fake->ios, 3));
	fake_set(&r.fake->hold, 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 3));
	CU_ASSERT_EQUAL(t.status, BH_NVME_SC_ABORTED_SQ_DELETION);
	CU_ASSERT_EQUAL(fake_get(&r.fake->enables), 2);
	CU_ASSERT_EQUAL(r.events[BH_NVME_EVENT_RESET_BEGIN], 1);
	works(&r);
	rig_close(&r);
}

static void an_old_idle_queue_does_not_time_out(void)
{
	struct rig r;
	struct tally t = { 0 };

	start_with_timeout(&r, 300);
	works(&r);
	rig_poll_ms(&r, 700, false); /* its owner sleeps */
	submit_n(&r, 1, &t);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	CU_ASSERT_EQUAL(t.errors, 0);
	CU_ASSERT_EQUAL(fake_get(&r.fake->aborts), 0);
	rig_close(&r);
}

static void nonsense_resets(void)
{
	static const uint32_t cids[] = { 3, 15, 16, 0xffff }; /* not out, or no cid at all */
	struct rig r;
	unsigned int i;

	rig_start(&r, NULL, 16);
	for (i = 0; i < 4; i++) {
		struct tally t = { 0 };

		fake_set(&r.fake->hold, 1);
		submit_n(&r, 2, &t);
		CU_ASSERT_TRUE(rig_wait_flag(&r, &r.fake->ios, 2));
		fake_set(&r.fake->bad_cid, cids[i] + 1);
		fake_release(r.fake);
		CU_ASSERT_TRUE(rig_wait(&r, &t, 2));
		/* The bad entry came first: the good one behind it is not believed. */
		CU_ASSERT_EQUAL(t.errors, 2);
		CU_ASSERT_PTR_NOT_NULL(strstr(r.last_error, "which is not out"));
		CU_ASSERT_EQUAL(fake_get(&r.fake->enables), 2 + i);
		works(&r);
		fake_set(&r.fake->ios, 0);
	}
	rig_close(&r);
}

static void reset_that_fails_is_final(void)
{
	struct rig r;
	struct tally t = { 0 };

	rig_start(&r, NULL, 16);
	fake_set(&r.fake->hold, 1);
	submit_n(&r, 2, &t);
	fake_set(&r.fake->never_ready, 1);
	/* Disabling fails, a function reset helps, enabling fails. */
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), -ETIMEDOUT);
	CU_ASSERT_EQUAL(r.events[BH_NVME_EVENT_FAILED], 1);
	CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), -ENODEV);
	CU_ASSERT_EQUAL(bh_nvme_queue_poll(r.q, 0), 2);
	CU_ASSERT_EQUAL(t.status, BH_NVME_SC_INTERNAL_PATH_ERROR);
	CU_ASSERT_EQUAL(bh_nvme_queue_poll(r.q, 0), -ENODEV);
	CU_ASSERT_EQUAL(bh_nvme_poll(r.nvme), -ENODEV);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), -ENODEV);
	rig_close(&r);
}

static void loss_and_reopen(void)
{
	struct rig r;
	struct tally t = { 0 };
	unsigned int i;

	rig_start(&r, NULL, 16);
	for (i = 1; i <= 3; i++) {
		fake_set(&r.fake->hold, 1);
		t = (struct tally){ 0 };
		submit_n(&r, 4, &t);
		CU_ASSERT_EQUAL(bh_nvme_reopen(r.nvme), -EBUSY);
		fake_lose(r.fake);
		CU_ASSERT_EQUAL(bh_nvme_read(r.q, r.ns, r.buf, 0, 1, 0, tally_done, &t), -ENODEV);
		CU_ASSERT_EQUAL(bh_nvme_reopen(r.nvme), -EAGAIN);
		CU_ASSERT_EQUAL(bh_nvme_queue_poll(r.q, 0), 4);
		CU_ASSERT_EQUAL(t.status, BH_NVME_SC_INTERNAL_PATH_ERROR);
		CU_ASSERT_EQUAL(bh_nvme_queue_poll(r.q, 0), -ENODEV);
		CU_ASSERT_EQUAL(r.events[BH_NVME_EVENT_FAILED], i);
		fake_set(&r.fake->hold, 0);
		CU_ASSERT_EQUAL(bh_nvme_reopen(r.nvme), 0);
		CU_ASSERT_EQUAL(r.events[BH_NVME_EVENT_RESET_DONE], i);
		works(&r);
	}
	rig_close(&r);
}

static void admin_timeout_resets(void)
{
	struct rig r;
	struct bh_nvme_opts nopts;
	uint8_t buf[4096];

	rig_open(&r, NULL);
	bh_nvme_opts_init(&nopts);
	nopts.admin_timeout_ns = 1000000000;
	CU_ASSERT_EQUAL_FATAL(rig_attach(&r, &nopts), 0);
	CU_ASSERT_EQUAL_FATAL(rig_queue(&r, 16, false), 0);
	fake_set(&r.fake->ignore_admin, BH_NVME_ADMIN_IDENTIFY + 1);
	CU_ASSERT_EQUAL(bh_nvme_identify(r.nvme, BH_NVME_CNS_CTRL, 0, 0, 0, buf), -ETIMEDOUT);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.last_error, "Identify"));
	fake_set(&r.fake->ignore_admin, 0);
	rig_poll_ms(&r, 20, true);
	CU_ASSERT_EQUAL(fake_get(&r.fake->enables), 2);
	CU_ASSERT_EQUAL(bh_nvme_identify(r.nvme, BH_NVME_CNS_CTRL, 0, 0, 0, buf), 0);
	works(&r);
	rig_close(&r);
}

BH_SUITE("nvme_reset", { "reset_on_one_thread", reset_on_one_thread },
	 { "reset_delivers_true_status_first", reset_delivers_true_status_first },
	 { "reset_ends_split_requests_once", reset_ends_split_requests_once },
	 { "many_resets_in_a_row", many_resets_in_a_row },
	 { "a_callback_does_not_acknowledge_a_reset", a_callback_does_not_acknowledge_a_reset },
	 { "destroy_while_a_reset_waits", destroy_while_a_reset_waits },
	 { "reset_under_load_of_another_thread", reset_under_load_of_another_thread },
	 { "loss_under_load_of_another_thread", loss_under_load_of_another_thread },
	 { "timeout_aborts", timeout_aborts }, { "timeout_then_reset", timeout_then_reset },
	 { "an_old_idle_queue_does_not_time_out", an_old_idle_queue_does_not_time_out },
	 { "nonsense_resets", nonsense_resets },
	 { "reset_that_fails_is_final", reset_that_fails_is_final },
	 { "loss_and_reopen", loss_and_reopen }, { "admin_timeout_resets", admin_timeout_resets }, )

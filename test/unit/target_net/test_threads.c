/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The controller on threads of its own, while its driver sends, its client's memory changes and it
 * is reset: what the gate is for.
 */
#include <sched.h>

#include <bellhop/clock.h>

#include "net_rig.h"
#include "poll/reactor.h"

#define PATIENCE_NS 20000000000ull

static struct rig r, s;

static void run_reactors(void)
{
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(rig_control), 0);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(rig_threads[0]), 0);
	CU_ASSERT_EQUAL_FATAL(bh_reactor_start(rig_threads[1]), 0);
}

static void stop_reactors(void)
{
	bh_reactor_stop(rig_threads[0]);
	bh_reactor_stop(rig_threads[1]);
	bh_reactor_stop(rig_control);
}

static void start_on_control(void *ctx)
{
	struct rig *rig = ctx;

	RIG_CHECK(rig_negotiate(rig, RIG_RING_FEATURES & ~ALL(IN_ORDER)));
	for (unsigned int i = 0; i < rig->net->num_vqs; i++)
		rig_enable(rig, i);
	RIG_SET(rig, device_status, 15);
}

static void remap_on_control(void *ctx)
{
	struct rig *rig = ctx;
	const struct bh_vfu_ops *ops = rig->server->opts.ops;

	ops->quiesce(rig->net, BH_QUIESCE_UNMAP, RIG_IOVA, RIG_BYTES);
	RIG_CHECK(bh_cmem_del(&rig->server->cmem, 0, 0) == 0);
	RIG_CHECK(bh_cmem_add(&rig->server->cmem, RIG_IOVA, RIG_BYTES,
			      BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE, BH_CMEM_MAPPED, dup(rig->fd),
			      0) == 0);
	ops->resume(rig->net, BH_QUIESCE_UNMAP);
}

/* The next packet of a pair, waited for. */
static bool await(struct rig *rig, unsigned int pair, uint32_t len, unsigned int seed)
{
	uint64_t end = bh_now_ns() + PATIENCE_NS;
	uint32_t got = 0;
	uint8_t *frame;

	while (!(frame = rig_receive(rig, pair, &got))) {
		if (bh_now_ns() > end)
			return false;
		sched_yield();
	}
	return got == len && rig_check(frame, len, seed);
}

static bool await_sent(struct rig *rig, unsigned int pair)
{
	uint64_t end = bh_now_ns() + PATIENCE_NS;

	while (rig_used(rig, &rig->vq[BH_VIRTIO_NET_TXQ(pair)], NULL) < 0) {
		if (bh_now_ns() > end)
			return false;
		sched_yield();
	}
	return true;
}

static void traffic_outlives_gates_and_resets(void)
{
	rig_open(&r, rig_port("loopback", "", 2), 2);
	run_reactors();
	bh_reactor_call(rig_control, start_on_control, &r);
	for (unsigned int round = 0; round < 200; round++) {
		unsigned int pair = round & 1;

		rig_offer(&r, pair, 8, 256);
		for (unsigned int i = 0; i < 8; i++)
			rig_send(&r, pair, 60 + i, round + i, NULL);
		if (round % 3 == 0)
			bh_reactor_call(rig_control, remap_on_control, &r);
		for (unsigned int i = 0; i < 8; i++) {
			CU_ASSERT_TRUE_FATAL(await(&r, pair, 60 + i, round + i));
			CU_ASSERT_TRUE_FATAL(await_sent(&r, pair));
		}
		if (round % 40 == 39)
			bh_reactor_call(rig_control, start_on_control, &r);
	}
	stop_reactors();
	rig_close(&r);
}

/* The receiver's only active queue is another thread's than the sender's. */
static void wire_crosses_threads(void)
{
	struct bh_net_port_opts opts;
	struct bh_net_port *end[2];

	bh_net_port_opts_init(&opts);
	opts.queues = 2;
	CU_ASSERT_EQUAL_FATAL(bh_net_port_pair(&opts, end), 0);
	rig_open(&r, end[0], 2);
	rig_open(&s, end[1], 2);
	run_reactors();
	bh_reactor_call(rig_control, start_on_control, &r);
	bh_reactor_call(rig_control, start_on_control, &s);
	for (unsigned int round = 0; round < 200; round++) {
		rig_offer(&s, 0, 8, 1024);
		for (unsigned int i = 0; i < 8; i++)
			rig_send(&r, 1, 600 + i, round + i, NULL);
		if (round % 5 == 0)
			bh_reactor_call(rig_control, remap_on_control, round & 1 ? &r : &s);
		for (unsigned int i = 0; i < 8; i++) {
			CU_ASSERT_TRUE_FATAL(await(&s, 0, 600 + i, round + i));
			CU_ASSERT_TRUE_FATAL(await_sent(&r, 1));
		}
		if (round % 50 == 49) /* they sleep by then */
			usleep(2000);
	}
	stop_reactors();
	rig_close(&r);
	rig_close(&s);
}

static uint16_t kicks_wanted(const struct rig *rig)
{
	return bh_load_u16(&rig->net->pair[0]->tx.device_event->flags);
}

/* Who wakes behind the gate may not touch the queues, and must not forget what it asked for. */
static void wish_for_kicks_ends_with_the_sleep(void)
{
	const struct bh_vfu_ops *ops;

	rig_notify = BH_NET_NOTIFY_TRAPPED;
	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_notify = BH_NET_NOTIFY_MAPPED;
	ops = r.server->opts.ops;
	rig_start(&r, 0);
	CU_ASSERT_EQUAL(kicks_wanted(&r), BH_VIRTQ_EVENT_DISABLE);
	bh__pollers_arm(rig_threads[0]);
	CU_ASSERT_EQUAL(kicks_wanted(&r), BH_VIRTQ_EVENT_ENABLE);
	bh__pollers_disarm(rig_threads[0]);
	CU_ASSERT_EQUAL(kicks_wanted(&r), BH_VIRTQ_EVENT_DISABLE);
	bh__pollers_arm(rig_threads[0]);
	ops->quiesce(r.net, BH_QUIESCE_MAP, 0, 0);
	bh__pollers_disarm(rig_threads[0]);
	CU_ASSERT_EQUAL(kicks_wanted(&r), BH_VIRTQ_EVENT_ENABLE);
	ops->resume(r.net, BH_QUIESCE_MAP);
	rig_turn();
	CU_ASSERT_EQUAL(kicks_wanted(&r), BH_VIRTQ_EVENT_DISABLE);
	rig_close(&r);
}

BH_SUITE_FIXTURE("threads", rig_setup, rig_teardown,
		 { "traffic_outlives_gates_and_resets", traffic_outlives_gates_and_resets },
		 { "wire_crosses_threads", wire_crosses_threads },
		 { "wish_for_kicks_ends_with_the_sleep", wish_for_kicks_ends_with_the_sleep })

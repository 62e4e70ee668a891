/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker of bh-pktgen between queues made of an array: what is sent comes back by the receive
 * queue of the same or another lane, as it was, or lost, overtaken, doubled, damaged, turned around.
 */
#include "unit.h"

#include <stdlib.h>

#include "pktgen.h"

#define ROOM 1024
#define COUNT 4096

/* A wire: what is sent by txq can be received by rxq. */
struct wire {
	struct bh_net_rxq rxq;
	struct bh_net_txq txq;
	struct wire *to; /* whose rxq */
	struct rte_mbuf *ring[ROOM];
	unsigned int head, tail;
	uint64_t passed;
	/* every so many: */
	unsigned int lose, overtake, twice, damage, refuse;
	bool turn_around, hold; /* hold: nothing arrives */
	unsigned int taken_at_once;
};

static struct bh_env *env;
static struct rte_mempool *pool;
static struct pktgen gen;
static struct pktgen_options opts;
static struct pktgen_worker worker;
static struct wire wires[2];
static struct app app;

static uint16_t wire_rx(struct bh_net_rxq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct wire *w = (struct wire *)q;
	uint16_t got = 0;

	while (got < n && w->head != w->tail && !w->hold)
		pkts[got++] = w->ring[w->head++ % ROOM];
	for (uint16_t i = 0; i < got; i++)
		q->counters.bytes += pkts[i]->pkt_len;
	return got;
}

static void put(struct wire *w, struct rte_mbuf *m)
{
	CU_ASSERT_TRUE_FATAL(w->tail - w->head < ROOM);
	w->ring[w->tail++ % ROOM] = m;
}

static bool turn(const struct wire *w, unsigned int every)
{
	return every && w->passed % every == 0;
}

static void pass_one(struct wire *w, struct rte_mbuf *m)
{
	struct wire *to = w->to;

	w->passed++;
	if (turn(w, w->damage))
		rte_pktmbuf_mtod(m, uint8_t *)[PACKET_FILL_AT + 2] ^= 1;
	if (w->turn_around)
		packet_turn_around(rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
	if (turn(w, w->twice))
		put(to, rte_pktmbuf_copy(m, pool, 0, UINT32_MAX));
	if (turn(w, w->lose)) {
		rte_pktmbuf_free(m);
		return;
	}
	put(to, m);
	if (turn(w, w->overtake) && to->tail - to->head > 1) {
		struct rte_mbuf **last = &to->ring[(to->tail - 1) % ROOM];
		struct rte_mbuf **before = &to->ring[(to->tail - 2) % ROOM];

		m = *last;
		*last = *before;
		*before = m;
	}
}

static uint16_t wire_tx(struct bh_net_txq *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct wire *w = (struct wire *)((char *)q - offsetof(struct wire, txq));
	uint16_t i;

	for (i = 0; i < n && i < w->taken_at_once && w->to->tail - w->to->head < ROOM - 2; i++) {
		if (w->refuse && (w->passed + 1) % w->refuse == 0) {
			w->passed++;
			q->counters.errors++;
			break;
		}
		q->counters.bytes += pkts[i]->pkt_len;
		pass_one(w, pkts[i]);
	}
	return i;
}

static unsigned int wire_reap(struct bh_net_txq *q)
{
	(void)q;
	return 0;
}

static void make_lane(unsigned int index)
{
	struct pktgen_lane *lane = aligned_alloc(128, (sizeof(*lane) + 127) & ~(size_t)127);
	struct pktgen_stream *own = calloc(1, sizeof(*own));
	struct packet_flow flow = { .dst = { 2 }, .src = { 2, 1 }, .src_ip = 1, .dst_ip = 2 };

	CU_ASSERT_TRUE_FATAL(lane && own);
	memset(lane, 0, sizeof(*lane));
	flow.run = own->run = gen.run;
	flow.stream = own->stream = (uint16_t)index;
	packet_mix_init(&lane->mix, &flow, opts.bytes);
	own->mix = lane->mix;
	own->as_sent = true;
	own->of = lane;
	packet_order_start(&own->order, 0);
	lane->streams[0] = lane->hot = own;
	lane->num_streams = 1;
	lane->gen = &gen;
	lane->worker = &worker;
	lane->index = lane->device = index;
	lane->rxq = &wires[index].rxq;
	lane->txq = &wires[index].txq;
	lane->pool = pool;
	lane->quota = opts.packets;
	bh_histogram_init(&lane->latency);
	gen.lanes[index] = lane;
	lane->next_of_worker = worker.lanes;
	worker.lanes = lane;
}

static int setup(void)
{
	struct bh_env_opts env_opts;
	struct bh_cpuset cpus;

	opts = (struct pktgen_options){
		.mode = PKTGEN_LOOP, .bytes = 64, .burst = 32, .in_flight = 256, .packets = 20000
	};
	memset(&gen, 0, sizeof(gen));
	memset(&worker, 0, sizeof(worker));
	memset(wires, 0, sizeof(wires));
	for (unsigned int i = 0; i < 2; i++) {
		wires[i].rxq.burst = wire_rx;
		wires[i].txq.burst = wire_tx;
		wires[i].txq.reap = wire_reap;
		wires[i].to = &wires[i];
		wires[i].taken_at_once = UINT32_MAX;
	}
	app_init(&app, "test");
	bh_env_opts_init(&env_opts);
	if (bh_cpuset_allowed(&cpus) != 0 || bh_env_open(&env_opts, &env) != 0)
		return 1;
	pool = rte_pktmbuf_pool_create("test", COUNT, 0, 0, 2048 + RTE_PKTMBUF_HEADROOM, 0);
	worker.base.cpu = (unsigned int)bh_cpuset_last(&cpus);
	worker.base.crew = &gen.crew;
	worker.gen = &gen;
	gen.app = &app;
	gen.opts = &opts;
	gen.env = env;
	gen.patience_ns = 400u * 1000 * 1000;
	gen.run = 77;
	gen.running = 1;
	gen.num_workers = 1;
	gen.workers = &worker;
	gen.lanes = calloc(2, sizeof(*gen.lanes));
	bh_clock_init(&gen.clock);
	return !pool || !gen.lanes;
}

static int teardown(void)
{
	int leaked;

	for (unsigned int i = 0; i < gen.num_lanes; i++) {
		for (unsigned int j = 0; j < gen.lanes[i]->num_streams; j++)
			free(gen.lanes[i]->streams[j]);
		free(gen.lanes[i]);
	}
	for (unsigned int i = 0; i < 2; i++)
		for (; wires[i].head != wires[i].tail; wires[i].head++)
			rte_pktmbuf_free(wires[i].ring[wires[i].head % ROOM]);
	leaked = rte_mempool_avail_count(pool) != COUNT; /* each mbuf came home once */
	rte_mempool_free(pool);
	free(gen.lanes);
	bh_env_close(env);
	return leaked;
}

/* One worker with so many lanes, to its end. */
static struct pktgen_lane *run(unsigned int lanes)
{
	gen.num_lanes = lanes;
	for (unsigned int i = 0; i < lanes; i++)
		make_lane(i);
	pktgen_worker_run(&worker.base);
	CU_ASSERT_EQUAL(worker.error, 0);
	CU_ASSERT_EQUAL(gen.running, 0);
	pktgen_settle(&gen);
	return gen.lanes[0];
}

static void all_come_back(void)
{
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.tx, 20000);
	CU_ASSERT_EQUAL(l->counts.rx, 20000);
	CU_ASSERT_EQUAL(l->counts.tx_bytes, 20000 * 64);
	CU_ASSERT_EQUAL(l->counts.rx_bytes, 20000 * 64);
	CU_ASSERT_EQUAL(l->drops + l->late + l->doubled, 0);
	CU_ASSERT_EQUAL(l->counts.damaged + l->counts.other + l->counts.refused, 0);
	CU_ASSERT_EQUAL(l->latency.count, 20000);
	CU_ASSERT_EQUAL(l->num_streams, 1);
}

static void mixed_sizes_come_back(void)
{
	opts.bytes = PACKET_IMIX;
	opts.verify = true;
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.rx, 20000);
	CU_ASSERT_EQUAL(l->counts.rx_bytes, l->counts.tx_bytes);
	CU_ASSERT_TRUE(l->counts.tx_bytes > 20000ull * l->mix.average - 40000 &&
		       l->counts.tx_bytes < 20000ull * l->mix.average + 40000);
	CU_ASSERT_EQUAL(l->drops + l->counts.damaged + l->counts.other, 0);
}

static void no_more_than_asked_for_is_in_flight(void)
{
	wires[0].hold = true;
	opts.in_flight = 100;
	opts.packets = 100;
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.tx, 100);
	CU_ASSERT_EQUAL(wires[0].tail - wires[0].head, 100);
	CU_ASSERT_EQUAL(l->drops, 100);
}

/* The queue takes 5 at a time: numbers are given once, nothing is overtaken. */
static void what_is_not_taken_goes_first(void)
{
	wires[0].taken_at_once = 5;
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.tx, 20000);
	CU_ASSERT_EQUAL(l->counts.rx, 20000);
	CU_ASSERT_EQUAL(l->drops + l->late + l->doubled, 0);
}

/* More are lost than may be in flight: lost ones are not waited for. */
static void losses_are_counted_and_do_not_stop_it(void)
{
	wires[0].lose = 50;
	uint64_t begin = bh_now_ns();
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.tx, 20000);
	CU_ASSERT_EQUAL(l->drops, 400);
	CU_ASSERT_EQUAL(l->counts.rx, 19600);
	CU_ASSERT_EQUAL(l->late + l->doubled, 0);
	/* Silence is waited for at the end only. */
	CU_ASSERT_TRUE(bh_now_ns() - begin < 30ull * 1000 * 1000 * 1000);
}

static void total_silence_is_survived(void)
{
	wires[0].lose = 1;
	opts.packets = 300; /* more than in flight */
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.tx, 300);
	CU_ASSERT_EQUAL(l->drops, 300);
}

static void overtaken_ones_are_late_not_lost(void)
{
	wires[0].overtake = 7;
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->drops, 0);
	CU_ASSERT_EQUAL(l->counts.rx, 20000);
	CU_ASSERT_TRUE(l->late > 2000);
	CU_ASSERT_EQUAL(l->doubled, 0);
}

static void doubled_ones_do_not_hide_lost_ones(void)
{
	wires[0].lose = 100;
	wires[0].twice = 99;
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.tx, 20000);
	CU_ASSERT_EQUAL(l->doubled, 202 - 2); /* of two, both times 9900, only the copy came */
	CU_ASSERT_EQUAL(l->drops, 200 - 2);
}

static void damage_is_found(void)
{
	wires[0].damage = 1000;
	opts.verify = true;
	opts.bytes = 1518;
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.damaged, 20);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l->damage);
	CU_ASSERT_PTR_NOT_NULL(strstr(l->damage, "UDP checksum"));
	CU_ASSERT_EQUAL(l->counts.rx, 20000);
	CU_ASSERT_EQUAL(l->drops, 20);
}

static void refused_ones_are_dropped_and_said(void)
{
	wires[0].refuse = 1000;
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.refused, 20);
	CU_ASSERT_EQUAL(l->counts.tx + l->counts.refused, 20000);
	CU_ASSERT_EQUAL(l->drops, 0);
	CU_ASSERT_EQUAL(l->counts.rx, l->counts.tx);
}

/* An echo at the other end: checked as before, and not sent again with the wrong addresses. */
static void turned_around_packets_are_ours(void)
{
	wires[0].turn_around = true;
	opts.verify = true;
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.rx, 20000);
	CU_ASSERT_EQUAL(l->drops + l->counts.damaged + l->counts.other, 0);
	CU_ASSERT_FALSE(l->streams[0]->as_sent);
}

/* Two devices wired to each other. */
static void packets_come_back_by_another_lane(void)
{
	wires[0].to = &wires[1];
	wires[1].to = &wires[0];
	run(2);
	for (unsigned int i = 0; i < 2; i++) {
		const struct pktgen_lane *l = gen.lanes[i];

		CU_ASSERT_EQUAL(l->counts.tx, 20000);
		CU_ASSERT_EQUAL(l->counts.rx, 20000);
		CU_ASSERT_EQUAL(l->back, 0);
		CU_ASSERT_EQUAL(l->back_elsewhere, 20000);
		CU_ASSERT_EQUAL(l->drops + l->late + l->doubled, 0);
		CU_ASSERT_EQUAL(l->latency.count, 20000);
	}
}

/* In one process, a packet of another run is somebody else's. */
static void strangers_do_not_count_as_ours(void)
{
	struct packet_mix *mix = calloc(1, sizeof(*mix));
	const struct packet_flow flow = { .run = 78 };
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	CU_ASSERT_TRUE_FATAL(mix && m);
	packet_mix_init(mix, &flow, 64);
	packet_write(&mix->t[0], (uint8_t *)rte_pktmbuf_append(m, 64), 5, 6);
	put(&wires[0], m);
	m = rte_pktmbuf_alloc(pool);
	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	memset(rte_pktmbuf_append(m, 20), 0xff, 20); /* too short for anything */
	put(&wires[0], m);
	free(mix);
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.other, 2);
	CU_ASSERT_EQUAL(l->counts.rx, 20002);
	CU_ASSERT_EQUAL(l->drops, 0);
}

/* Receiving only: gaps in a stranger's numbers are its lost packets. */
static void receiver_counts_what_is_missing(void)
{
	struct packet_mix *mix = calloc(1, sizeof(*mix));
	const struct packet_flow flow = { .run = 78 };

	CU_ASSERT_PTR_NOT_NULL_FATAL(mix);
	packet_mix_init(mix, &flow, 100);
	for (uint32_t i = 1000; i < 1100; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

		CU_ASSERT_PTR_NOT_NULL_FATAL(m);
		packet_write(&mix->t[0], (uint8_t *)rte_pktmbuf_append(m, 100), i + i / 1050 * 10,
			     0);
		put(&wires[0], m);
	}
	free(mix);
	opts.mode = PKTGEN_RX;
	opts.packets = 100;
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.rx, 100);
	CU_ASSERT_EQUAL(l->counts.tx, 0);
	CU_ASSERT_EQUAL(l->drops, 10);
	CU_ASSERT_EQUAL(l->counts.other, 0);
	CU_ASSERT_EQUAL(l->latency.count, 0); /* its clock is not ours */
}

static void rate_is_kept(void)
{
	opts.mpps = 0.02;
	opts.packets = 4000; /* 200 ms */
	run(1);
	double seconds = (double)worker.elapsed_ns / 1e9;

	CU_ASSERT_TRUE(seconds > 0.199); /* never faster */
	CU_ASSERT_EQUAL(gen.lanes[0]->drops, 0);
}

static void one_at_a_time(void)
{
	opts.mode = PKTGEN_LATENCY;
	opts.in_flight = 1;
	opts.packets = 1000;
	const struct pktgen_lane *l = run(1);

	CU_ASSERT_EQUAL(l->counts.rx, 1000);
	CU_ASSERT_EQUAL(l->latency.count, 1000);
	CU_ASSERT_TRUE(l->latency.max > 0);
}

BH_SUITE_FIXTURE("pktgen", setup, teardown, { "all_come_back", all_come_back },
		 { "mixed_sizes_come_back", mixed_sizes_come_back },
		 { "no_more_than_asked_for_is_in_flight", no_more_than_asked_for_is_in_flight },
		 { "what_is_not_taken_goes_first", what_is_not_taken_goes_first },
		 { "losses_are_counted_and_do_not_stop_it", losses_are_counted_and_do_not_stop_it },
		 { "total_silence_is_survived", total_silence_is_survived },
		 { "overtaken_ones_are_late_not_lost", overtaken_ones_are_late_not_lost },
		 { "doubled_ones_do_not_hide_lost_ones", doubled_ones_do_not_hide_lost_ones },
		 { "damage_is_found", damage_is_found },
		 { "refused_ones_are_dropped_and_said", refused_ones_are_dropped_and_said },
		 { "turned_around_packets_are_ours", turned_around_packets_are_ours },
		 { "packets_come_back_by_another_lane", packets_come_back_by_another_lane },
		 { "strangers_do_not_count_as_ours", strangers_do_not_count_as_ours },
		 { "receiver_counts_what_is_missing", receiver_counts_what_is_missing },
		 { "rate_is_kept", rate_is_kept }, { "one_at_a_time", one_at_a_time }, )

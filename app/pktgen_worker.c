/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loop of a worker: receive a burst, check it, make as many packets as may be sent, send them.
 *
 * A received packet of ours becomes the next one to send: it was just compared with the template it
 * was made of, so only its number, stamp and checksum need to change, in lines this core has at
 * hand; the pool is asked for the rest. One look at the clock serves a whole pass: it ends the
 * latencies of what was received and begins those of what is sent, unless a rate was given, when
 * the timetable begins them (pace.h).
 *
 * Packets that a queue does not take wait in their lane and go first: their numbers are given out,
 * so they are neither dropped nor overtaken.
 */
#include <string.h>

#include "pktgen.h"

#define CLOCK_EVERY 64 /* passes between looks at the stop flag */

/* ---- receiving ---- */

__attribute__((noinline)) void pktgen_next_latency(struct pktgen_lane *lane, uint64_t ticks)
{
	if (lane->latency_times)
		bh_histogram_add(&lane->latency, bh_clock_ns(&lane->gen->clock, lane->latency_of),
				 lane->latency_times);
	lane->latency_of = ticks;
	lane->latency_times = 0;
}

/* Whether it is a packet of the stream expected, hence as it was sent. */
static inline bool check(struct pktgen_lane *lane, struct rte_mbuf *m, bool whole)
{
	struct pktgen_stream *s = lane->hot;
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct packet_template *t = packet_mix_find(&s->mix, m->pkt_len);

	if (__builtin_expect(!t || m->nb_segs != 1 || !packet_is(t, p) ||
				     (whole && !packet_fill_is(t, p)),
			     0)) {
		pktgen_odd_packet(lane, m);
		return false;
	}
	packet_order_add(&s->order, packet_number(p));
	if (s->of) {
		pktgen_count_latency(lane, packet_stamp(p));
		pktgen_came_back(lane, s->of);
	}
	return s->as_sent && s->of == lane;
}

/*
 * Looks at what was received; packets that can be sent again as they are come first in pkts, as
 * many as returned.
 */
static inline unsigned int check_burst(struct pktgen_lane *lane, struct rte_mbuf **pkts,
				       unsigned int n)
{
	bool verify = lane->gen->opts->verify;
	unsigned int good = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		if (i + 4 < n)
			rte_prefetch0(rte_pktmbuf_mtod(pkts[i + 4], void *));
		if (check(lane, m, verify || i == 0)) {
			if (__builtin_expect(good != i, 0)) {
				pkts[i] = pkts[good];
				pkts[good] = m;
			}
			good++;
		}
	}
	return good;
}

static unsigned int receive(struct pktgen_lane *lane, struct rte_mbuf **pkts)
{
	uint64_t before = lane->rxq->counters.bytes;
	unsigned int n = bh_net_rx_burst(lane->rxq, pkts, (uint16_t)lane->gen->opts->burst);

	lane->now = bh_ticks();
	if (n > 0) {
		lane->quiet_since = lane->now;
		pktgen_count(&lane->counts.rx, n);
		pktgen_count(&lane->counts.rx_bytes, lane->rxq->counters.bytes - before);
		if (__builtin_expect(lane->gen->capture != NULL, 0))
			for (unsigned int i = 0; i < n; i++)
				pktgen_capture(lane, pkts[i]);
	}
	return n;
}

/* ---- sending ---- */

/* Gives what waits to the queue. A packet that the device will never take is dropped. */
static void send(struct pktgen_lane *lane)
{
	struct rte_mbuf **pkts = lane->waiting + lane->first_waiting;
	unsigned int n = lane->num_waiting;
	uint64_t before = lane->txq->counters.bytes;
	unsigned int taken = bh_net_tx_burst(lane->txq, pkts, (uint16_t)n);

	lane->num_waiting -= taken;
	lane->first_waiting = lane->num_waiting ? lane->first_waiting + taken : 0;
	pktgen_count(&lane->counts.tx, taken);
	pktgen_count(&lane->counts.tx_bytes, lane->txq->counters.bytes - before);
	if (__builtin_expect(taken < n && lane->txq->counters.errors != lane->queue_errors, 0)) {
		lane->queue_errors = lane->txq->counters.errors;
		rte_pktmbuf_free(lane->waiting[lane->first_waiting++]);
		if (--lane->num_waiting == 0)
			lane->first_waiting = 0;
		pktgen_count(&lane->counts.refused, 1);
		lane->given_up++; /* it has a number */
	}
}

/* The next packet, into an mbuf. */
static inline void make(struct pktgen_lane *lane, struct rte_mbuf *m, bool paced)
{
	const struct packet_template *t = packet_mix_next(&lane->mix, lane->number);
	uint64_t stamp = paced ? pace_take(&lane->pace) : lane->now;

	m->data_len = (uint16_t)t->bytes;
	m->pkt_len = t->bytes;
	packet_write(t, rte_pktmbuf_mtod(m, uint8_t *), lane->number++, stamp);
}

/* What a device may have said of a packet is not to be said to one; whose memory it is stays. */
static inline void forget_flags(struct rte_mbuf *m)
{
	m->ol_flags &= RTE_MBUF_F_EXTERNAL;
}

/* Next packets of packets that came back. */
static inline void make_again(struct pktgen_lane *lane, struct rte_mbuf **at_hand, unsigned int n,
			      bool paced)
{
	const struct packet_template *t = lane->mix.count == 1 ? &lane->mix.t[0] : NULL;
	uint64_t stamp = lane->now;
	uint32_t number = lane->number;

	for (unsigned int i = 0; i < n; i++) {
		struct rte_mbuf *m = at_hand[i];

		lane->waiting[i] = m;
		forget_flags(m);
		if (__builtin_expect(!t, 0)) {
			make(lane, m, paced);
			continue;
		}
		if (paced)
			stamp = pace_take(&lane->pace);
		packet_restamp(t, rte_pktmbuf_mtod(m, uint8_t *), number++, stamp);
	}
	if (t)
		lane->number = number;
}

static __attribute__((noinline)) void replay(struct pktgen_lane *lane, struct rte_mbuf *m)
{
	const struct capture_in *in = &lane->gen->replay;
	size_t i = lane->replay_next;

	m->pkt_len = capture_bytes(in, i);
	m->data_len = (uint16_t)m->pkt_len;
	memcpy(rte_pktmbuf_mtod(m, void *), in->data + in->at[i], m->pkt_len);
	lane->replay_next = i + 1 < in->count ? i + 1 : 0;
	if (lane->gen->opts->mpps > 0)
		pace_take(&lane->pace);
	lane->number++;
}

/*
 * Makes `want` packets, of `good` ones at hand first, and sends them. How many of those at hand
 * were used. An empty pool is no error: packets are on their way back.
 */
static unsigned int make_burst(struct pktgen_lane *lane, struct rte_mbuf **at_hand,
			       unsigned int good, unsigned int want)
{
	bool paced = lane->gen->opts->mpps > 0, replays = lane->gen->replay.count != 0;
	unsigned int used = replays ? 0 : good < want ? good : want;
	unsigned int fresh = want - used;

	make_again(lane, at_hand, used, paced);
	if (fresh > 0 && rte_pktmbuf_alloc_bulk(lane->pool, lane->waiting + used, fresh) != 0)
		fresh = 0;
	for (unsigned int i = used; i < used + fresh; i++) {
		if (replays)
			replay(lane, lane->waiting[i]);
		else
			make(lane, lane->waiting[i], paced);
	}
	lane->num_waiting = used + fresh;
	if (lane->num_waiting) {
		if (lane->gen->capture && lane->gen->opts->mode == PKTGEN_TX)
			for (unsigned int i = 0; i < lane->num_waiting; i++)
				pktgen_capture(lane, lane->waiting[i]);
		send(lane);
	}
	return used;
}

/*
 * Packets of this lane on their way, those that wait for the queue included. One that others have
 * overtaken is lost until it comes: see struct packet_order. Below 0: some came that were given up.
 */
static int32_t in_flight(const struct pktgen_lane *lane)
{
	uint64_t back = lane->back + __atomic_load_n(&lane->back_elsewhere, __ATOMIC_RELAXED) +
			lane->streams[0]->order.lost + lane->given_up;

	return (int32_t)(lane->number - (uint32_t)back);
}

/* How many packets may be made now. */
static unsigned int room(struct pktgen_lane *lane, bool waits)
{
	const struct pktgen_options *opts = lane->gen->opts;
	uint64_t n = opts->burst;

	if (lane->num_waiting)
		return 0;
	if (waits) {
		int32_t out = in_flight(lane);

		if (out < 0) {
			lane->given_up -= (uint64_t) - (int64_t)out;
			out = 0;
		}
		uint32_t left =
			opts->in_flight > (uint32_t)out ? opts->in_flight - (uint32_t)out : 0;
		n = left < n ? left : n;
	}
	uint64_t sent = lane->counts.tx + lane->counts.refused;
	if (lane->quota - sent < n)
		n = lane->quota - sent;
	if (opts->mpps > 0)
		n = pace_due(&lane->pace, lane->now, (uint32_t)n);
	return (unsigned int)n;
}

/* ---- modes: one pass each ---- */

static void pass_tx(struct pktgen_lane *lane)
{
	lane->now = bh_ticks();
	if (lane->num_waiting)
		send(lane);
	unsigned int want = room(lane, false);
	if (want)
		make_burst(lane, NULL, 0, want);
	else
		bh_net_tx_reap(lane->txq);
}

static void pass_rx(struct pktgen_lane *lane)
{
	struct rte_mbuf *pkts[PKTGEN_MAX_BURST];
	unsigned int n = receive(lane, pkts);

	if (n == 0)
		return;
	if (!lane->gen->opts->count_only)
		check_burst(lane, pkts, n);
	rte_pktmbuf_free_bulk(pkts, n);
}

static void pass_echo(struct pktgen_lane *lane)
{
	if (lane->num_waiting) {
		send(lane);
		return;
	}
	unsigned int n = receive(lane, lane->waiting);
	if (n == 0) {
		bh_net_tx_reap(lane->txq);
		return;
	}
	if (!lane->gen->opts->count_only)
		check_burst(lane, lane->waiting, n);
	for (unsigned int i = 0; i < n; i++) {
		struct rte_mbuf *m = lane->waiting[i];

		packet_turn_around(rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
		forget_flags(m);
	}
	lane->num_waiting = n;
	send(lane);
}

static void pass_loop(struct pktgen_lane *lane, bool go)
{
	struct rte_mbuf *pkts[PKTGEN_MAX_BURST];
	unsigned int n = receive(lane, pkts), good = 0, used = 0;

	if (lane->gen->replay.count)
		lane->back += n; /* cannot be checked: any packet is one that came back */
	else if (n > 0)
		good = check_burst(lane, pkts, n);
	if (lane->num_waiting)
		send(lane);
	unsigned int want = go ? room(lane, true) : 0;
	if (want)
		used = make_burst(lane, pkts, good, want);
	else if (n == 0)
		bh_net_tx_reap(lane->txq);
	if (n > used)
		rte_pktmbuf_free_bulk(pkts + used, n - used);
}

/* Once in many passes: what did not come back for so long must not stop the rest. */
static void look_for_losses(struct pktgen_lane *lane)
{
	if (bh_clock_ns(&lane->gen->clock, lane->now - lane->quiet_since) <
	    __atomic_load_n(&lane->gen->patience_ns, __ATOMIC_RELAXED) / 4)
		return;
	int32_t out = in_flight(lane) - (int32_t)lane->num_waiting;
	if (out > 0)
		lane->given_up += (uint64_t)out;
	lane->quiet_since = lane->now;
}

static void pass(struct pktgen_lane *lane, bool go)
{
	switch (lane->gen->opts->mode) {
	case PKTGEN_TX:
		if (go)
			pass_tx(lane);
		break;
	case PKTGEN_RX:
		pass_rx(lane);
		break;
	case PKTGEN_ECHO:
		pass_echo(lane);
		break;
	default:
		pass_loop(lane, go);
		break;
	}
}

/* ---- the worker ---- */

/* Whether a lane has done its part of -n. */
static bool has_quota(const struct pktgen_lane *lane)
{
	bool receives = lane->gen->opts->mode == PKTGEN_RX || lane->gen->opts->mode == PKTGEN_ECHO;

	return (receives ? lane->counts.rx : lane->counts.tx + lane->counts.refused) < lane->quota;
}

static bool any_left(const struct pktgen_worker *worker)
{
	for (const struct pktgen_lane *l = worker->lanes; l; l = l->next_of_worker)
		if (has_quota(l))
			return true;
	return false;
}

static bool waits_for_packets(const struct pktgen *gen)
{
	return gen->opts->mode == PKTGEN_LOOP || gen->opts->mode == PKTGEN_LATENCY;
}

static void run(struct pktgen_worker *worker)
{
	struct pktgen *gen = worker->gen;
	bool waits = waits_for_packets(gen);

	while (!app_crew_stops(&gen->crew) && any_left(worker)) {
		for (unsigned int i = 0; i < CLOCK_EVERY; i++)
			for (struct pktgen_lane *l = worker->lanes; l; l = l->next_of_worker)
				pass(l, true);
		for (struct pktgen_lane *l = worker->lanes; waits && l; l = l->next_of_worker)
			look_for_losses(l);
	}
	for (struct pktgen_lane *l = worker->lanes; l; l = l->next_of_worker)
		l->counted = l->counts;
}

static bool any_out(const struct pktgen *gen)
{
	int64_t out = 0;

	for (unsigned int i = 0; i < gen->num_lanes; i++) {
		const struct pktgen_lane *l = gen->lanes[i];

		out += (int64_t)__atomic_load_n(&l->counts.tx, __ATOMIC_RELAXED) -
		       (int64_t)__atomic_load_n(&l->counts.rx, __ATOMIC_RELAXED);
	}
	return out > 0;
}

/*
 * What is on its way when time is up counts as received, not in rates. Packets of one worker may
 * arrive at another, so all wait until none is missing, or for some seconds of silence of their own.
 */
static void drain(struct pktgen_worker *worker)
{
	struct pktgen *gen = worker->gen;
	uint64_t patience = __atomic_load_n(&gen->patience_ns, __ATOMIC_RELAXED);
	bool quiet = false;

	if (!waits_for_packets(gen))
		return;
	for (struct pktgen_lane *l = worker->lanes; l; l = l->next_of_worker)
		l->quiet_since = bh_ticks();
	while (any_out(gen) && !quiet) {
		quiet = true;
		for (struct pktgen_lane *l = worker->lanes; l; l = l->next_of_worker) {
			pass(l, false);
			quiet &= bh_clock_ns(&gen->clock, l->now - l->quiet_since) >= patience;
		}
	}
}

/* What a device has taken is sent before it is stopped, which would lose it. */
static void send_off(struct pktgen_lane *lane)
{
	const struct pktgen *gen = lane->gen;
	uint64_t begin = bh_ticks();

	while (bh_net_tx_reap(lane->txq) > 0 &&
	       bh_clock_ns(&gen->clock, bh_ticks() - begin) <
		       __atomic_load_n(&gen->patience_ns, __ATOMIC_RELAXED))
		sched_yield();
}

static void end_lane(struct pktgen_lane *lane)
{
	send_off(lane);
	pktgen_next_latency(lane, 0);
	if (lane->num_waiting)
		rte_pktmbuf_free_bulk(lane->waiting + lane->first_waiting, lane->num_waiting);
	lane->num_waiting = 0;
}

static void begin(struct pktgen_worker *worker)
{
	const struct pktgen *gen = worker->gen;
	double rate = gen->opts->mpps * 1e6 / gen->num_lanes;

	for (struct pktgen_lane *l = worker->lanes; l; l = l->next_of_worker) {
		l->now = l->quiet_since = bh_ticks();
		if (rate > 0)
			pace_init(&l->pace, gen->clock.hz, rate, l->now);
	}
}

void pktgen_worker_run(struct app_worker *base)
{
	struct pktgen_worker *worker = (struct pktgen_worker *)base;
	struct pktgen *gen = worker->gen;

	worker->error = bh_env_thread_register(gen->env);
	if (!worker->error) {
		uint64_t started = bh_now_ns();

		begin(worker);
		run(worker);
		worker->elapsed_ns = bh_now_ns() - started;
		__atomic_sub_fetch(&gen->running, 1, __ATOMIC_RELAXED);
		drain(worker);
		for (struct pktgen_lane *l = worker->lanes; l; l = l->next_of_worker)
			end_lane(l);
		bh_env_thread_unregister(gen->env);
	} else {
		__atomic_sub_fetch(&gen->running, 1, __ATOMIC_RELAXED);
	}
}

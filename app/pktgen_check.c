/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets that are not simply of the stream the last one was of: another stream's, headers that
 * somebody changed on the way (an echo, a router), chains, damage, other people's. Each is looked at
 * as a stranger would; if it is right, it becomes the template its stream's next packets are
 * compared with, and they take the short way again.
 */
#include <stdlib.h>
#include <time.h>

#include "pktgen.h"

static struct pktgen_stream *find(struct pktgen_lane *lane, const struct packet_info *info)
{
	for (unsigned int i = 0; i < lane->num_streams; i++)
		if (lane->streams[i]->run == info->run && lane->streams[i]->stream == info->stream)
			return lane->streams[i];
	return NULL;
}

/* NULL: no room. */
static struct pktgen_stream *make_stream(struct pktgen_lane *lane, const struct packet_info *info)
{
	const struct pktgen *gen = lane->gen;

	if (lane->num_streams == PKTGEN_STREAMS)
		return NULL;
	struct pktgen_stream *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->run = info->run;
	s->stream = info->stream;
	if (info->run == gen->run && info->stream < gen->num_lanes) {
		s->of = gen->lanes[info->stream];
		packet_order_start(&s->order, 0);
	}
	lane->streams[lane->num_streams++] = s;
	return s;
}

/* Whether packets of strangers are looked for at all. */
static bool is_meant(const struct pktgen_lane *lane, const struct packet_info *info)
{
	enum pktgen_mode mode = lane->gen->opts->mode;

	return info->run == lane->gen->run || mode == PKTGEN_RX || mode == PKTGEN_ECHO;
}

static void accept(struct pktgen_lane *lane, struct pktgen_stream *s, const uint8_t *p,
		   uint32_t bytes, const struct packet_info *info)
{
	const struct packet_template *t = packet_mix_find(&s->mix, bytes);

	if (!t || !packet_is(t, p)) {
		packet_mix_adopt(&s->mix, p, bytes);
		s->as_sent = false;
	}
	lane->hot = s;
	packet_order_add(&s->order, info->number);
	if (s->of) {
		pktgen_count_latency(lane, info->stamp);
		pktgen_came_back(lane, s->of);
	}
}

void pktgen_odd_packet(struct pktgen_lane *lane, struct rte_mbuf *m)
{
	static const char none[] = "";
	struct packet_info info = { 0 };
	struct pktgen_stream *s = NULL;
	uint8_t copy[PACKET_MAX];
	const uint8_t *p = NULL;

	if (m->pkt_len <= sizeof(copy))
		p = rte_pktmbuf_read(m, 0, m->pkt_len, copy);
	const char *why = p ? packet_look(p, m->pkt_len, &info) : PACKET_FOREIGN;
	if (!why && is_meant(lane, &info)) {
		s = find(lane, &info);
		s = s ? s : make_stream(lane, &info);
		why = none;
	}
	if (s) {
		accept(lane, s, p, m->pkt_len, &info);
	} else if (why && why != PACKET_FOREIGN && why != none) {
		if (!lane->damage)
			lane->damage = why;
		pktgen_count(&lane->counts.damaged, 1);
	} else {
		pktgen_count(&lane->counts.other, 1);
	}
}

void pktgen_capture(const struct pktgen_lane *lane, const struct rte_mbuf *m)
{
	struct pktgen *gen = (struct pktgen *)lane->gen;
	uint8_t copy[UINT16_MAX];
	struct timespec now;

	if (m->pkt_len > sizeof(copy))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	const void *p = rte_pktmbuf_read(m, 0, m->pkt_len, copy);
	pthread_mutex_lock(&gen->capture_lock);
	capture_out_write(gen->capture, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
			  p, m->pkt_len);
	pthread_mutex_unlock(&gen->capture_lock);
}

/*
 * What a lane sent and did not get back is lost, whoever should have got it; of strangers' streams,
 * the numbers that are missing.
 */
void pktgen_settle(struct pktgen *gen)
{
	bool waits = gen->opts->mode == PKTGEN_LOOP || gen->opts->mode == PKTGEN_LATENCY;

	for (unsigned int i = 0; i < gen->num_lanes; i++) {
		struct pktgen_lane *lane = gen->lanes[i];

		for (unsigned int j = 0; j < lane->num_streams; j++) {
			const struct pktgen_stream *s = lane->streams[j];
			struct pktgen_lane *owner = s->of ? s->of : lane;

			owner->late += s->order.late;
			owner->doubled += s->order.doubled;
			owner->drops += s->of ? 0 : s->order.lost;
		}
	}
	for (unsigned int i = 0; waits && i < gen->num_lanes; i++) {
		struct pktgen_lane *lane = gen->lanes[i];
		uint64_t back = lane->back + lane->back_elsewhere - lane->doubled;

		lane->drops = lane->counts.tx > back ? lane->counts.tx - back : 0;
	}
}

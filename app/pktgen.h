/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-pktgen's parts. Options say what was asked; set-up opens devices and deals their queues out to
 * workers; each worker sends and receives on its queues on its own core and counts; the report adds
 * up.
 *
 * A lane is a receive and a transmit queue of one device on one core: it has a single owner from
 * start to end, so nothing is locked or shared while the clock runs but the counters that the
 * progress line peeks at, and the count of packets that came back on another lane than they left by
 * (two devices wired to each other, or hashed to another queue).
 */
#ifndef APP_PKTGEN_H
#define APP_PKTGEN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <bellhop/bellhop.h>
#include <bellhop/clock.h>
#include <bellhop/env.h>
#include <bellhop/histogram.h>
#include <bellhop/net.h>
#include <bellhop/parse.h>

#include "capture.h"
#include "common.h"
#include "crew.h"
#include "pace.h"
#include "packet.h"

#define PKTGEN_MAX_DEVICES 16
#define PKTGEN_MAX_QUEUES 64
#define PKTGEN_MAX_BURST 512
#define PKTGEN_STREAMS 64 /* that a lane can tell apart */

enum pktgen_mode {
	PKTGEN_TX,
	PKTGEN_RX,
	PKTGEN_ECHO,
	PKTGEN_LOOP,
	PKTGEN_LATENCY,
};

struct pktgen_options {
	enum pktgen_mode mode;
	struct bh_cpuset cpus;
	uint32_t bytes; /* PACKET_IMIX */
	unsigned int burst;
	unsigned int in_flight; /* per queue */
	unsigned int queues;	/* per device */
	unsigned int descriptors;
	uint64_t run_ns;
	uint64_t packets; /* 0: until time is up */
	double mpps;	  /* 0: as fast as it goes */
	bool verify;
	bool count_only;
	bool split;
	bool json;
	bool has_dst;
	uint8_t dst[6];
	const char *pcap_in, *pcap_out;
	char **addresses;
	unsigned int num_addresses;
};

/* -1: go on; else the exit code. */
int pktgen_options_parse(struct app *app, int argc, char **argv, struct pktgen_options *opts);
const char *pktgen_mode_str(enum pktgen_mode mode);

/* Counted by their lane; __atomic, since the progress line reads them. */
struct pktgen_counts {
	uint64_t tx, tx_bytes;
	uint64_t rx, rx_bytes;
	uint64_t damaged; /* received packets of ours that were not as they were sent */
	uint64_t other;	  /* received packets of somebody else */
	uint64_t refused; /* that the device does not send */
};

/* Packets of one sender as they arrive: templates are what they are compared with. */
struct pktgen_stream {
	uint16_t run, stream;
	bool as_sent;		/* the very headers that its lane sends */
	struct pktgen_lane *of; /* the lane that sends it; NULL: another process */
	struct packet_mix mix;
	struct packet_order order;
};

struct pktgen_lane {
	/* hot */
	struct bh_net_rxq *rxq;
	struct bh_net_txq *txq;
	struct rte_mempool *pool;
	struct pktgen_stream *streams[PKTGEN_STREAMS]; /* the first is the lane's own */
	unsigned int num_streams;
	struct pktgen_stream *hot; /* the one the last packet was of */
	uint32_t number;	   /* of the next packet */
	uint64_t now;		   /* of this pass, ticks */
	struct pace pace;
	uint64_t back;	   /* packets of this lane that came back */
	uint64_t given_up; /* packets no longer waited for */
	uint64_t quiet_since;
	uint64_t quota;				    /* packets to send, or to receive; UINT64_MAX */
	struct rte_mbuf *waiting[PKTGEN_MAX_BURST]; /* made, not yet taken by the queue */
	unsigned int num_waiting, first_waiting;
	uint64_t latency_of, latency_times; /* a run of equal latencies, not yet in the histogram */
	struct pktgen_counts counts;
	struct packet_mix mix; /* what is sent */
	/* shared: added to by other lanes */
	uint64_t back_elsewhere __attribute__((aligned(128)));
	/* cold */
	struct pktgen_counts counted __attribute__((aligned(128))); /* when time was up */
	struct bh_histogram latency;				    /* ns */
	uint64_t drops, late, doubled;				    /* set at the end */
	uint64_t queue_errors;
	const char *damage; /* of the first damaged one */
	size_t replay_next;
	unsigned int index, device, queue;
	const struct pktgen *gen;
	const struct pktgen_worker *worker;
	struct pktgen_lane *next_of_worker;
};

struct pktgen_worker {
	struct app_worker base; /* first */
	struct pktgen *gen;
	struct pktgen_lane *lanes;
	uint64_t elapsed_ns;
	int error; /* of registering the thread */
};

struct pktgen_device {
	const char *text;
	struct bh_dma_space *space;
	struct bh_pool *control; /* rings */
	struct bh_net *net;
	struct bh_net_pool *pool;
	uint8_t mac[6];
};

struct pktgen {
	struct app *app;
	const struct pktgen_options *opts;
	struct bh_clock clock;
	/*
	 * Of silence, after which what is on its way is given up for lost; a quarter of it, and the
	 * run goes on without. __atomic.
	 */
	uint64_t patience_ns;
	struct bh_env *env;
	uint16_t run; /* tells packets of this process from others */
	struct capture_in replay;
	struct capture_out *capture;
	pthread_mutex_t capture_lock;
	struct pktgen_device device[PKTGEN_MAX_DEVICES];
	unsigned int num_devices;
	struct pktgen_lane **lanes;
	unsigned int num_lanes;
	struct pktgen_worker *workers;
	unsigned int num_workers;
	struct app_crew crew;
	uint32_t running;	   /* __atomic: workers that have not reached their quota */
	struct pktgen_counts last; /* of the progress line */
};

/* Opens everything. 0 or an exit code, said on stderr. pktgen_close() in every case. */
int pktgen_open(struct pktgen *gen, struct app *app, const struct pktgen_options *opts);
/* 0, or an exit code: the capture is not complete, which was said. */
int pktgen_close(struct pktgen *gen);

void pktgen_worker_run(struct app_worker *worker);

/* ---- what workers share ---- */

/* No one but the counter's lane writes it. */
static inline void pktgen_count(uint64_t *counter, uint64_t more)
{
	__atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

/* The run of equal latencies so far goes to the histogram, another begins. */
void pktgen_next_latency(struct pktgen_lane *lane, uint64_t ticks);

/* Packets of one burst left together and mostly arrive together: the same latency again. */
static inline void pktgen_count_latency(struct pktgen_lane *lane, uint64_t stamp)
{
	uint64_t ticks = lane->now > stamp ? lane->now - stamp : 0;

	if (ticks != lane->latency_of)
		pktgen_next_latency(lane, ticks);
	lane->latency_times++;
}

static inline void pktgen_came_back(struct pktgen_lane *lane, struct pktgen_lane *owner)
{
	if (owner == lane)
		lane->back++;
	else
		__atomic_add_fetch(&owner->back_elsewhere, 1, __ATOMIC_RELAXED);
}

/* pktgen_check.c: a received packet that is none of the stream expected. */
void pktgen_odd_packet(struct pktgen_lane *lane, struct rte_mbuf *m);
/* The packet goes to the capture. */
void pktgen_capture(const struct pktgen_lane *lane, const struct rte_mbuf *m);
/* Of each lane, after all workers ended: what was lost, late and doubled. */
void pktgen_settle(struct pktgen *gen);

/* Once a second on a terminal. */
void pktgen_progress(struct pktgen *gen, unsigned int second);
void pktgen_report(const struct pktgen *gen);

#endif

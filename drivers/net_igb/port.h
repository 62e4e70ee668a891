/* SPDX-License-Identifier: BSD-3-Clause */
/* A port with its queues. Private to the driver. */
#ifndef NET_IGB_PORT_H
#define NET_IGB_PORT_H

#include <pthread.h>

#include "net/net.h"
#include "net_igb/desc.h"
#include "net_igb/igb.h"
#include "net_igb/queue_io.h"

#define IGB_MAP_BYTES 0x10000u /* of BAR 0: all tails, and the interrupt masks */

struct bh_igb_port {
	struct bh_net net; /* first */
	struct bh_igb_hw hw;
	struct bh_map map;
	struct bh_igb_rxq *rxq[IGB_QUEUES];
	struct bh_igb_txq *txq[IGB_QUEUES];
	struct bh_net_link link; /* as last reported */
	bool gone_told;
	bool stopped_dirty; /* a queue did not end: the device was reset, the link must be set up */
	uint32_t ptypes[128];
	int fd[IGB_QUEUES]; /* eventfds of receive queues; -1: none */
	/* Statistics are asked for on any thread: registers of their own error, under a lock. */
	pthread_mutex_t stats_lock;
	struct bh_igb_hw stats_hw;
	uint64_t missed; /* dropped for want of descriptors, by queue */
};

static inline struct bh_igb_port *bh__igb_port(struct bh_net *net)
{
	return (struct bh_igb_port *)net;
}

/* ---- queue.c ---- */

/* Queues by net->conf. -ENOMEM; -EMSGSIZE: mbufs below 1 KiB, or too small for the MTU. */
int bh__igb_queues_create(struct bh_igb_port *port);
void bh__igb_queues_destroy(struct bh_igb_port *port);
/*
 * Programs the rings, posts buffers, and lets queues go (4.5.9, 4.5.10). -ENOBUFS: no buffer at
 * all; -ETIMEDOUT: a queue does not start; errors of registers.
 */
int bh__igb_queues_start(struct bh_igb_port *port);
int bh__igb_rss_program(struct bh_igb_port *port);
/* False: one does not end. */
bool bh__igb_queues_end(struct bh_igb_port *port);
/* Frees what the queues hold; the device must have let go. */
void bh__igb_queues_empty(struct bh_igb_port *port);

/* ---- irq.c ---- */

/* Vectors that receive queues can have. */
unsigned int bh__igb_vectors(struct bh_igb_port *port);
int bh__igb_irq_create(struct bh_igb_port *port);
void bh__igb_irq_destroy(struct bh_igb_port *port);
void bh__igb_irq_start(struct bh_igb_port *port);
int bh__igb_rxq_fd(struct bh_net *net, unsigned int index);
int bh__igb_rxq_arm(struct bh_net *net, unsigned int index);

#endif

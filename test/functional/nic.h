/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network devices of ours in functional tests: a bh_net on a controller of bh-tgt, packets whose
 * every byte is known, and cases that run in each ring format.
 */
#ifndef TEST_FUNCTIONAL_NIC_H
#define TEST_FUNCTIONAL_NIC_H

#include <bellhop/net.h>
#include <bellhop/net_virtio.h>

#include "ft.h"

#define NIC_PACKED (1ull << 34)
#define NIC_IN_ORDER (1ull << 35)
#define NIC_INDIRECT (1ull << 28)
#define NIC_EVENT_IDX (1ull << 29)
#define NIC_SCATTER (BH_NET_RX_SCATTER | BH_NET_TX_MULTI_SEGS)

enum { NIC_MBUFS = 6000, NIC_SEGMENT = 2048 };

/* What packets lie in; devices of one process share it. */
struct nic_memory {
	struct bh_env *env;
	struct bh_dma_space *space;
	struct bh_pool *rings;
	struct bh_net_pool *pool;
};

struct nic {
	struct nic_memory *memory;
	struct bh_net *net;
	unsigned int gone;
};

/* Ring formats are chosen by leaving features out on the driver's side: the controller offers all. */
struct nic_format {
	const char *name;
	uint64_t without;
};
enum { NIC_FORMATS = 4 };
extern const struct nic_format nic_formats[NIC_FORMATS];

void nic_memory_open(struct nic_memory *memory);
/* Every mbuf must be back, and every ring. */
void nic_memory_close(struct nic_memory *memory);

void nic_open(struct nic *n, struct nic_memory *memory, const char *socket, uint64_t without);
void nic_start(struct nic *n, uint64_t offloads, unsigned int queues, unsigned int depth,
	       unsigned int mtu);
/* mbufs that are not in the pool. */
unsigned int nic_missing(const struct nic_memory *memory);
void nic_close(struct nic *n);

/* bh-tgt with net:SOCKET[0],`first` and, where it is not NULL, net:SOCKET[1],`second`. */
void nic_serve(struct ft_target *target, const char *first, const char *second);
/* Runs a case in every ring format, each on the device opened anew. */
void nic_over_formats(void (*one)(struct nic *n), const char *spec, uint64_t offloads,
		      unsigned int queues, unsigned int depth, unsigned int mtu);

struct rte_mbuf *nic_alloc(struct nic *n);
/* A packet of `len` bytes in mbufs of at most `seg`; what is in it is the seed's. */
struct rte_mbuf *nic_packet(struct nic *n, uint32_t seed, uint32_t len, uint32_t seg);
void nic_check_and_free(struct rte_mbuf *m, uint32_t seed, uint32_t len);
/* All of them, or the case fails. */
void nic_send(struct nic *n, unsigned int queue, struct rte_mbuf **m, uint16_t count);
void nic_receive(struct nic *n, unsigned int queue, struct rte_mbuf **m, uint16_t count);
/* `count` packets (at most 256) there and back. */
void nic_echo(struct nic *n, unsigned int queue, uint16_t count, uint32_t len, uint32_t seg);
/* `count` small packets, as fast as it goes: nothing is lost, doubled or out of order. */
void nic_in_sequence(struct nic *n, uint64_t count);

#endif

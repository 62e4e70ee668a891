/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network card of ours in a guest, and the kernel's interface on the same hub as its peer: what
 * one sends the other is to receive, byte by byte.
 */
#ifndef TEST_VM_VMNET_H
#define TEST_VM_VMNET_H

#include <bellhop/clock.h>
#include <bellhop/net.h>

#include "vmtest.h"

#define NET_TYPE 0x88b5u /* EtherType of local experiments */
#define NET_HEADER 14u
/*
 * All of a pool in one huge page: QEMU's igb does not send a segment that lies in two pieces of the
 * guest's memory.
 */
#define NET_MBUFS 900u
#define BURST 32u
#define NET_FRAME_MOST 9018u
#define NET_WAIT_NS 20000000000ull

struct net {
	struct vm *vm;
	struct bh_env *env;
	struct bh_net_pool *pool;
	struct rte_mempool *mbufs;
	struct bh_net *dev;
	uint8_t mac[6];
	unsigned int link_events, other_events;
	/* The peer. */
	int sock;
	int ifindex;
	const char *ifname;
	uint8_t peer_mac[6];
	uint16_t vlan; /* tag of the frame peer_receive() returned last; 0: none */
};

/*
 * All of these say why when they return false; net_close() follows in any case. data_bytes: of each
 * mbuf; 0: 2048.
 */
bool net_open(struct net *n, struct vm *vm, unsigned int mbufs, unsigned int data_bytes);
/* False: skipped. */
bool net_has(struct net *n, uint64_t caps);
bool net_offers(struct net *n, uint64_t offloads);
/* Configures, starts, and waits for the link. */
bool net_start(struct net *n, const struct bh_net_conf *conf);
/* Stops; all mbufs must be back; closes. */
void net_close(struct net *n);
bool net_link_becomes(struct net *n, bool up);
/* Every mbuf of the pool is in it. */
bool net_all_back(struct net *n);

void net_conf(struct net *n, struct bh_net_conf *conf);

/*
 * A frame of `bytes` bytes that no other with another number is like, to and from these addresses.
 */
void net_fill(uint8_t *frame, unsigned int bytes, const uint8_t to[6], const uint8_t from[6],
	      uint32_t number);
/* Says at which byte it differs. */
bool net_is(const uint8_t *frame, unsigned int got, const uint8_t *want, unsigned int bytes,
	    uint32_t number);

/* One mbuf chain with the frame, `piece` bytes in each segment. NULL: said why. */
struct rte_mbuf *net_chain(struct net *n, const uint8_t *frame, unsigned int bytes,
			   unsigned int piece);
/* Sends one packet, within a second. */
bool net_send(struct net *n, unsigned int queue, struct rte_mbuf *m);
/* The next packet of ours (NET_TYPE, or any with `any`) on a queue within ms; NULL: none. */
struct rte_mbuf *net_receive(struct net *n, unsigned int queue, unsigned int ms, bool any);
/* Copies a chain. */
unsigned int net_copy(const struct rte_mbuf *m, uint8_t *out, unsigned int most);

bool peer_send(struct net *n, const uint8_t *frame, unsigned int bytes);
/*
 * The next frame from our card within ms: its length, 0: none. A tag that the kernel's card took out
 * is in n->vlan.
 */
unsigned int peer_receive(struct net *n, uint8_t *frame, unsigned int most, unsigned int ms);

/* Prints what the peer and our card have counted. */
void net_show(struct net *n);

/* ---- cases of vm-net-offload.c ---- */

void net_several_queues(struct vm *vm);
void net_checksums_received(struct vm *vm);
void net_checksums_sent(struct vm *vm);
void net_segmentation(struct vm *vm);
void net_segmentation_ipv6(struct vm *vm);
void net_vlans(struct vm *vm);
void net_vlan_filter(struct vm *vm);

/* The harness pulls the plug of the card with this id, or puts it back. */
void qmp_set_link(const char *id, bool up);

#endif

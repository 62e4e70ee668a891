/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Advanced descriptors (82576 datasheet 7.1.5 and 7.2.2). The device reads them in one form and
 * writes them back, over the same 16 bytes, in another; the names say which. Fields are plain
 * little-endian numbers.
 */
#ifndef NET_IGB_DESC_H
#define NET_IGB_DESC_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* ---- receive, as read ---- */
struct bh_igb_rx_read {
	uint64_t packet;
	uint64_t header; /* bit 0 is where `done` will appear: written 0 */
};

/* ---- receive, as written back ---- */
struct bh_igb_rx_done {
	uint32_t info; /* type of hash 3:0, of packet 16:4, header length 30:21 */
	uint32_t hash;
	uint32_t status; /* status 19:0, errors 31:20 */
	uint16_t length; /* bytes in this buffer */
	uint16_t vlan;	 /* with VP */
};

#define IGB_RX_DD (1u << 0)
#define IGB_RX_EOP (1u << 1)
#define IGB_RX_VP (1u << 3)
#define IGB_RX_UDPCS (1u << 4)
#define IGB_RX_L4CS (1u << 5)
#define IGB_RX_IPCS (1u << 6)
#define IGB_RX_L4E (1u << 29)
#define IGB_RX_IPE (1u << 30)
#define IGB_RX_RXE (1u << 31)

#define IGB_RX_HASH_TYPE(info) ((info)&0xfu)
#define IGB_RX_TYPE_SHIFT 4
#define IGB_RX_TYPE_IPV4 (1u << 0)
#define IGB_RX_TYPE_IPV4_EXT (1u << 1)
#define IGB_RX_TYPE_IPV6 (1u << 2)
#define IGB_RX_TYPE_IPV6_EXT (1u << 3)
#define IGB_RX_TYPE_TCP (1u << 4)
#define IGB_RX_TYPE_UDP (1u << 5)
#define IGB_RX_TYPE_SCTP (1u << 6)
#define IGB_RX_TYPE_L2 (1u << 11) /* the rest is the number of an EtherType filter */

/* ---- transmit ---- */
struct bh_igb_tx_data {
	uint64_t address;
	uint32_t command; /* length 15:0, type 23:20, command 31:24 */
	uint32_t
		options; /* written back: DD in bit 0. Context 6:4, checksums 13:8, payload 31:14 */
};

struct bh_igb_tx_context {
	uint32_t lengths; /* IP header 8:0, MAC header 15:9, VLAN tag 31:16 */
	uint32_t launch;
	uint32_t command; /* packet kind 19:9, type 23:20, DEXT */
	uint32_t mss;	  /* context 6:4, L4 header 15:8, MSS 31:16 */
};

#define IGB_TX_TYPE_CONTEXT (2u << 20)
#define IGB_TX_TYPE_DATA (3u << 20)
#define IGB_TX_EOP (1u << 24)
#define IGB_TX_IFCS (1u << 25)
#define IGB_TX_RS (1u << 27)
#define IGB_TX_DEXT (1u << 29)
#define IGB_TX_VLE (1u << 30)
#define IGB_TX_TSE (1u << 31)
#define IGB_TX_DD (1u << 0)
#define IGB_TX_IXSM (1u << 8)
#define IGB_TX_TXSM (1u << 9)
#define IGB_TX_PAYLOAD_SHIFT 14
#define IGB_TX_PAYLOAD_MOST 0x3ffffu

#define IGB_CTX_MAC_SHIFT 9
#define IGB_CTX_VLAN_SHIFT 16
#define IGB_CTX_IPV4 (1u << 10)
#define IGB_CTX_UDP (0u << 11)
#define IGB_CTX_TCP (1u << 11)
#define IGB_CTX_SCTP (2u << 11)
#define IGB_CTX_L4_SHIFT 8
#define IGB_CTX_MSS_SHIFT 16

union bh_igb_rx_desc {
	struct bh_igb_rx_read read;
	struct bh_igb_rx_done done;
};

union bh_igb_tx_desc {
	struct bh_igb_tx_data data;
	struct bh_igb_tx_context context;
};

static_assert(sizeof(union bh_igb_rx_desc) == 16, "7.1.5: a descriptor is 16 bytes");
static_assert(offsetof(struct bh_igb_rx_done, status) == 8, "7.1.5.2: write-back");
static_assert(offsetof(struct bh_igb_rx_done, length) == 12, "7.1.5.2: write-back");
static_assert(offsetof(struct bh_igb_rx_done, vlan) == 14, "7.1.5.2: write-back");
static_assert(offsetof(struct bh_igb_rx_read, header) == 8, "7.1.5.1: read");
static_assert(sizeof(union bh_igb_tx_desc) == 16, "7.2.2: a descriptor is 16 bytes");
static_assert(offsetof(struct bh_igb_tx_data, command) == 8, "7.2.2.3: data");
static_assert(offsetof(struct bh_igb_tx_data, options) == 12, "7.2.2.3: data");
static_assert(offsetof(struct bh_igb_tx_context, command) == 8, "7.2.2.2: context");
static_assert(offsetof(struct bh_igb_tx_context, mss) == 12, "7.2.2.2: context");

/* Rings begin at and are of whole multiples of 128 bytes (RDBAL, RDLEN, TDBAL, TDLEN). */
#define IGB_RING_ALIGN 128u
#define IGB_RING_MOST 4096u

#endif

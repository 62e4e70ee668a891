/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio network device (virtio 1.2 5.1): features, configuration, packet header, control
 * queue.
 */
#ifndef VIRTIO_VIRTIO_NET_H
#define VIRTIO_VIRTIO_NET_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/virtio.h"

#define BH_VIRTIO_NET_F_CSUM 0u
#define BH_VIRTIO_NET_F_GUEST_CSUM 1u
#define BH_VIRTIO_NET_F_CTRL_GUEST_OFFLOADS 2u
#define BH_VIRTIO_NET_F_MTU 3u
#define BH_VIRTIO_NET_F_MAC 5u
#define BH_VIRTIO_NET_F_GUEST_TSO4 7u
#define BH_VIRTIO_NET_F_GUEST_TSO6 8u
#define BH_VIRTIO_NET_F_GUEST_ECN 9u
#define BH_VIRTIO_NET_F_GUEST_UFO 10u
#define BH_VIRTIO_NET_F_HOST_TSO4 11u
#define BH_VIRTIO_NET_F_HOST_TSO6 12u
#define BH_VIRTIO_NET_F_HOST_ECN 13u
#define BH_VIRTIO_NET_F_HOST_UFO 14u
#define BH_VIRTIO_NET_F_MRG_RXBUF 15u
#define BH_VIRTIO_NET_F_STATUS 16u
#define BH_VIRTIO_NET_F_CTRL_VQ 17u
#define BH_VIRTIO_NET_F_CTRL_RX 18u
#define BH_VIRTIO_NET_F_CTRL_VLAN 19u
#define BH_VIRTIO_NET_F_CTRL_RX_EXTRA 20u
#define BH_VIRTIO_NET_F_GUEST_ANNOUNCE 21u
#define BH_VIRTIO_NET_F_MQ 22u
#define BH_VIRTIO_NET_F_CTRL_MAC_ADDR 23u
#define BH_VIRTIO_NET_F_NOTF_COAL 53u
#define BH_VIRTIO_NET_F_GUEST_USO4 54u
#define BH_VIRTIO_NET_F_GUEST_USO6 55u
#define BH_VIRTIO_NET_F_HOST_USO 56u
#define BH_VIRTIO_NET_F_HASH_REPORT 57u
#define BH_VIRTIO_NET_F_GUEST_HDRLEN 59u
#define BH_VIRTIO_NET_F_RSS 60u
#define BH_VIRTIO_NET_F_RSC_EXT 61u
#define BH_VIRTIO_NET_F_STANDBY 62u
#define BH_VIRTIO_NET_F_SPEED_DUPLEX 63u

/* 5.1.2: queue 2 * pair receives, 2 * pair + 1 transmits, the control queue comes last. */
#define BH_VIRTIO_NET_RXQ(pair) (2u * (pair))
#define BH_VIRTIO_NET_TXQ(pair) (2u * (pair) + 1u)
#define BH_VIRTIO_NET_PAIRS_MIN 1u
#define BH_VIRTIO_NET_PAIRS_MAX 0x8000u

#define BH_VIRTIO_NET_S_LINK_UP 1u
#define BH_VIRTIO_NET_S_ANNOUNCE 2u

/* 5.1.4 */
struct bh_virtio_net_config {
	uint8_t mac[6];
	uint16_t status;
	uint16_t max_virtqueue_pairs;
	uint16_t mtu;
	uint32_t speed; /* Mbit/s; 0xffffffff: unknown */
	uint8_t duplex; /* 0 half, 1 full, 0xff unknown */
	uint8_t rss_max_key_size;
	uint16_t rss_max_indirection_table_length;
	uint32_t supported_hash_types;
};
#define BH_VIRTIO_NET_CONFIG(field) offsetof(struct bh_virtio_net_config, field)
static_assert(sizeof(struct bh_virtio_net_config) == 24, "virtio 1.2 5.1.4");
static_assert(BH_VIRTIO_NET_CONFIG(status) == 6, "virtio 1.2 5.1.4");
static_assert(BH_VIRTIO_NET_CONFIG(mtu) == 10, "virtio 1.2 5.1.4");
static_assert(BH_VIRTIO_NET_CONFIG(rss_max_indirection_table_length) == 18, "virtio 1.2 5.1.4");
static_assert(BH_VIRTIO_NET_CONFIG(supported_hash_types) == 20, "virtio 1.2 5.1.4");

#define BH_VIRTIO_NET_SPEED_UNKNOWN 0xffffffffu
#define BH_VIRTIO_NET_DUPLEX_FULL 1u
#define BH_VIRTIO_NET_DUPLEX_UNKNOWN 0xffu
#define BH_VIRTIO_NET_MTU_MIN 68u

/* 5.1.6 */
#define BH_VIRTIO_NET_HDR_F_NEEDS_CSUM 1u
#define BH_VIRTIO_NET_HDR_F_DATA_VALID 2u
#define BH_VIRTIO_NET_HDR_F_RSC_INFO 4u

#define BH_VIRTIO_NET_HDR_GSO_NONE 0u
#define BH_VIRTIO_NET_HDR_GSO_TCPV4 1u
#define BH_VIRTIO_NET_HDR_GSO_UDP 3u
#define BH_VIRTIO_NET_HDR_GSO_TCPV6 4u
#define BH_VIRTIO_NET_HDR_GSO_UDP_L4 5u
#define BH_VIRTIO_NET_HDR_GSO_ECN 0x80u

/* Before each packet, in both directions; with VERSION_1 num_buffers is always there. */
struct bh_virtio_net_hdr {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};
static_assert(sizeof(struct bh_virtio_net_hdr) == 12, "virtio 1.2 5.1.6");

/* With HASH_REPORT. */
struct bh_virtio_net_hdr_hash {
	struct bh_virtio_net_hdr hdr;
	uint32_t hash_value;
	uint16_t hash_report;
	uint16_t padding;
};
static_assert(sizeof(struct bh_virtio_net_hdr_hash) == 20, "virtio 1.2 5.1.6");

/* The control queue (5.1.6.5): class and command, then command-specific data, then the ack. */
struct bh_virtio_net_ctrl {
	uint8_t class_;
	uint8_t command;
};
static_assert(sizeof(struct bh_virtio_net_ctrl) == 2, "virtio 1.2 5.1.6.5");

#define BH_VIRTIO_NET_OK 0u
#define BH_VIRTIO_NET_ERR 1u

#define BH_VIRTIO_NET_CTRL_RX 0u /* data: one byte, 0 or 1 */
#define BH_VIRTIO_NET_CTRL_RX_PROMISC 0u
#define BH_VIRTIO_NET_CTRL_RX_ALLMULTI 1u
#define BH_VIRTIO_NET_CTRL_RX_ALLUNI 2u
#define BH_VIRTIO_NET_CTRL_RX_NOMULTI 3u
#define BH_VIRTIO_NET_CTRL_RX_NOUNI 4u
#define BH_VIRTIO_NET_CTRL_RX_NOBCAST 5u

#define BH_VIRTIO_NET_CTRL_MAC 1u
#define BH_VIRTIO_NET_CTRL_MAC_TABLE_SET 0u /* two tables: unicast, multicast */
#define BH_VIRTIO_NET_CTRL_MAC_ADDR_SET 1u  /* six bytes */

/* A table of MAC_TABLE_SET: the count, then as many addresses of six bytes. */
struct bh_virtio_net_ctrl_mac {
	uint32_t entries;
	uint8_t macs[][6];
};
static_assert(sizeof(struct bh_virtio_net_ctrl_mac) == 4, "virtio 1.2 5.1.6.5.2");

#define BH_VIRTIO_NET_CTRL_VLAN 2u /* data: a 16-bit VLAN id */
#define BH_VIRTIO_NET_CTRL_VLAN_ADD 0u
#define BH_VIRTIO_NET_CTRL_VLAN_DEL 1u

#define BH_VIRTIO_NET_CTRL_ANNOUNCE 3u
#define BH_VIRTIO_NET_CTRL_ANNOUNCE_ACK 0u

#define BH_VIRTIO_NET_CTRL_MQ 4u
#define BH_VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET 0u /* data: 16 bits */
#define BH_VIRTIO_NET_CTRL_MQ_RSS_CONFIG 1u
#define BH_VIRTIO_NET_CTRL_MQ_HASH_CONFIG 2u

#define BH_VIRTIO_NET_CTRL_GUEST_OFFLOADS 5u
#define BH_VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET 0u /* data: 64 bits, masks of GUEST_ features */

#define BH_VIRTIO_NET_CTRL_NOTF_COAL 6u
#define BH_VIRTIO_NET_CTRL_NOTF_COAL_TX_SET 0u
#define BH_VIRTIO_NET_CTRL_NOTF_COAL_RX_SET 1u

/*
 * RSS_CONFIG (5.1.6.5.7.1): this head, the indirection table of 16-bit queue numbers (mask + 1 of
 * them), max_tx_vq (16 bits), the key's length (8 bits), the key.
 */
struct bh_virtio_net_rss_head {
	uint32_t hash_types;
	uint16_t indirection_table_mask;
	uint16_t unclassified_queue;
};
static_assert(sizeof(struct bh_virtio_net_rss_head) == 8, "virtio 1.2 5.1.6.5.7.1");

/* Masks. */
#define BH_VIRTIO_NET_HASH_IPV4 (1u << 0)
#define BH_VIRTIO_NET_HASH_TCPV4 (1u << 1)
#define BH_VIRTIO_NET_HASH_UDPV4 (1u << 2)
#define BH_VIRTIO_NET_HASH_IPV6 (1u << 3)
#define BH_VIRTIO_NET_HASH_TCPV6 (1u << 4)
#define BH_VIRTIO_NET_HASH_UDPV6 (1u << 5)
#define BH_VIRTIO_NET_HASH_IP_EX (1u << 6)
#define BH_VIRTIO_NET_HASH_TCP_EX (1u << 7)
#define BH_VIRTIO_NET_HASH_UDP_EX (1u << 8)

#endif /* VIRTIO_VIRTIO_NET_H */

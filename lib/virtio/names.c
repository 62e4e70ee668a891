/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of feature bits, for logs and listings.
 *
 * One row per bit in a table indexed by it, which is what makes the lookup trivial and a wrong row
 * visible: the unit test walks all 64 bits.
 */
#include "virtio/virtio.h"

#include "virtio/virtio_net.h"

#define ALL(name) [BH_VIRTIO_F_##name] = #name
#define NET(name) [BH_VIRTIO_NET_F_##name] = #name

static const char *const names[64] = {
	NET(CSUM),
	NET(GUEST_CSUM),
	NET(CTRL_GUEST_OFFLOADS),
	NET(MTU),
	NET(MAC),
	NET(GUEST_TSO4),
	NET(GUEST_TSO6),
	NET(GUEST_ECN),
	NET(GUEST_UFO),
	NET(HOST_TSO4),
	NET(HOST_TSO6),
	NET(HOST_ECN),
	NET(HOST_UFO),
	NET(MRG_RXBUF),
	NET(STATUS),
	NET(CTRL_VQ),
	NET(CTRL_RX),
	NET(CTRL_VLAN),
	NET(CTRL_RX_EXTRA),
	NET(GUEST_ANNOUNCE),
	NET(MQ),
	NET(CTRL_MAC_ADDR),
	ALL(INDIRECT_DESC),
	ALL(EVENT_IDX),
	ALL(VERSION_1),
	ALL(ACCESS_PLATFORM),
	ALL(RING_PACKED),
	ALL(IN_ORDER),
	ALL(ORDER_PLATFORM),
	ALL(SR_IOV),
	ALL(NOTIFICATION_DATA),
	ALL(NOTIF_CONFIG_DATA),
	ALL(RING_RESET),
	NET(NOTF_COAL),
	NET(GUEST_USO4),
	NET(GUEST_USO6),
	NET(HOST_USO),
	NET(HASH_REPORT),
	NET(GUEST_HDRLEN),
	NET(RSS),
	NET(RSC_EXT),
	NET(STANDBY),
	NET(SPEED_DUPLEX),
};

const char *bh__virtio_net_feature_str(unsigned int bit)
{
	return bit < sizeof(names) / sizeof(names[0]) ? names[bit] : NULL;
}

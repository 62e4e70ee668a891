/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Features (virtio 1.2 2.2, 5.1.3) and the configuration structure (5.1.4).
 *
 * What is offered are the ring formats, which every port can do, and what the port can stand up to.
 * A feature is in force only if the driver has accepted it; a set of features that contradicts
 * itself is answered by not setting FEATURES_OK.
 */
#include <string.h>

#include "target/net/net.h"

#define ALL(name) BH_VIRTIO_BIT(BH_VIRTIO_F_##name)
#define NET(name) BH_VIRTIO_BIT(BH_VIRTIO_NET_F_##name)

uint64_t tnet_features_offered(const struct bh_target_net *net)
{
	uint64_t features = ALL(INDIRECT_DESC) | ALL(EVENT_IDX) | ALL(VERSION_1) |
			    ALL(ACCESS_PLATFORM) | ALL(RING_PACKED) | ALL(IN_ORDER) |
			    ALL(NOTIFICATION_DATA) | ALL(RING_RESET);

	if (net->split_rings)
		features &= ~ALL(RING_PACKED);
	features |= NET(MAC) | NET(STATUS) | NET(MRG_RXBUF) | NET(CTRL_VQ) | NET(CTRL_MAC_ADDR);
	features |= net->port->ops->features;
	if (net->port->ops->features & NET(GUEST_CSUM))
		features |= NET(CTRL_GUEST_OFFLOADS);
	if (net->port->ops->is_filtered)
		features |= NET(CTRL_RX) | NET(CTRL_RX_EXTRA) | NET(CTRL_VLAN);
	if (net->num_pairs > 1)
		features |= NET(MQ);
	if (net->mtu)
		features |= NET(MTU);
	return features;
}

/* One feature, and those of which at least one has to come with it. */
static const struct {
	uint64_t feature, needs;
} rules[] = {
	{ NET(GUEST_TSO4), NET(GUEST_CSUM) },
	{ NET(GUEST_TSO6), NET(GUEST_CSUM) },
	{ NET(GUEST_ECN), NET(GUEST_TSO4) | NET(GUEST_TSO6) },
	{ NET(HOST_TSO4), NET(CSUM) },
	{ NET(HOST_TSO6), NET(CSUM) },
	{ NET(HOST_ECN), NET(HOST_TSO4) | NET(HOST_TSO6) },
	{ NET(CTRL_RX), NET(CTRL_VQ) },
	{ NET(CTRL_VLAN), NET(CTRL_VQ) },
	{ NET(MQ), NET(CTRL_VQ) },
	{ NET(CTRL_MAC_ADDR), NET(CTRL_VQ) },
};

bool tnet_features_ok(const struct bh_target_net *net, uint64_t features)
{
	size_t i;

	if ((features & ~net->offered) || !tnet_has(features, BH_VIRTIO_F_VERSION_1))
		return false;
	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if ((features & rules[i].feature) && !(features & rules[i].needs))
			return false;
	return true;
}

void tnet_config_image(const struct bh_target_net *net, struct bh_virtio_net_config *config)
{
	memset(config, 0, sizeof(*config));
	memcpy(config->mac, net->mac, sizeof(config->mac));
	config->status = BH_VIRTIO_NET_S_LINK_UP;
	config->max_virtqueue_pairs = (uint16_t)net->num_pairs;
	config->mtu = net->mtu;
	config->speed = BH_VIRTIO_NET_SPEED_UNKNOWN;
	config->duplex = BH_VIRTIO_NET_DUPLEX_UNKNOWN;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The link, addresses and receive filters.
 *
 * The wish is kept in struct bh_net and the driver is told to carry it out; if the device refuses,
 * the wish is what it was. While the device is stopped the driver is not asked: start() carries out
 * everything, and that is how filters outlive a reset.
 */
#include <errno.h>
#include <string.h>

#include "net/net.h"

static bool is_multicast(const uint8_t *mac)
{
	return mac[0] & 1;
}

static bool is_zero(const uint8_t *mac)
{
	static const uint8_t zero[BH_NET_MAC_BYTES];

	return memcmp(mac, zero, sizeof(zero)) == 0;
}

static int carry_out(struct bh_net *net, int (*op)(struct bh_net *net))
{
	return net->state == BH__NET_STARTED ? op(net) : 0;
}

int bh_net_link(struct bh_net *net, struct bh_net_link *link)
{
	if (net->info.caps & BH_NET_CAP_LINK)
		return net->ops->link(net, link);
	link->up = true;
	link->full_duplex = true;
	link->mbps = BH_NET_SPEED_UNKNOWN;
	return 0;
}

void bh_net_mac(const struct bh_net *net, uint8_t mac[BH_NET_MAC_BYTES])
{
	memcpy(mac, net->mac, BH_NET_MAC_BYTES);
}

int bh_net_mac_set(struct bh_net *net, const uint8_t mac[BH_NET_MAC_BYTES])
{
	uint8_t before[BH_NET_MAC_BYTES];
	int rc;

	if (!(net->info.caps & BH_NET_CAP_MAC_SET))
		return -EOPNOTSUPP;
	if (is_multicast(mac) || is_zero(mac))
		return -EINVAL;
	memcpy(before, net->mac, sizeof(before));
	memcpy(net->mac, mac, sizeof(before));
	rc = carry_out(net, net->ops->mac_set);
	if (rc != 0)
		memcpy(net->mac, before, sizeof(before));
	return rc;
}

static int set_flag(struct bh_net *net, uint64_t cap, bool *flag, bool on,
		    int (*op)(struct bh_net *net))
{
	bool before = *flag;
	int rc;

	if (!(net->info.caps & cap))
		return -EOPNOTSUPP;
	*flag = on;
	rc = carry_out(net, op);
	if (rc != 0)
		*flag = before;
	return rc;
}

int bh_net_promisc(struct bh_net *net, bool on)
{
	return set_flag(net, BH_NET_CAP_PROMISC, &net->promisc, on, net->ops->promisc);
}

int bh_net_allmulti(struct bh_net *net, bool on)
{
	return set_flag(net, BH_NET_CAP_ALLMULTI, &net->allmulti, on, net->ops->allmulti);
}

int bh_net_multicast(struct bh_net *net, const uint8_t (*macs)[BH_NET_MAC_BYTES],
		     unsigned int count)
{
	uint8_t before[BH_NET_MAX_MACS][BH_NET_MAC_BYTES];
	unsigned int num_before = net->num_macs;
	int rc;

	if (!(net->info.caps & BH_NET_CAP_MULTICAST))
		return -EOPNOTSUPP;
	if (count > BH_NET_MAX_MACS)
		return -ENOSPC;
	for (unsigned int i = 0; i < count; i++)
		if (!is_multicast(macs[i]))
			return -EINVAL;
	memcpy(before, net->macs, sizeof(before));
	if (count > 0)
		memcpy(net->macs, macs, (size_t)count * BH_NET_MAC_BYTES);
	net->num_macs = count;
	rc = carry_out(net, net->ops->multicast);
	if (rc != 0) {
		memcpy(net->macs, before, sizeof(before));
		net->num_macs = num_before;
	}
	return rc;
}

int bh_net_vlan(struct bh_net *net, uint16_t vlan, bool on)
{
	uint64_t bit, before;
	bool used_before = net->vlans_used;
	int rc = 0;

	if (!(net->info.caps & BH_NET_CAP_VLAN_FILTER))
		return -EOPNOTSUPP;
	if (vlan >= 4096)
		return -EINVAL;
	bit = 1ull << vlan % 64;
	before = net->vlans[vlan / 64];
	net->vlans[vlan / 64] = on ? before | bit : before & ~bit;
	net->vlans_used = true;
	if (net->state == BH__NET_STARTED)
		rc = net->ops->vlan(net, vlan, on);
	if (rc != 0) {
		net->vlans[vlan / 64] = before;
		net->vlans_used = used_before;
	}
	return rc;
}

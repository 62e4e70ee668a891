/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which packets a driver wants to see (virtio 1.2 5.1.6.5.1 to 5.1.6.5.3): its own address and
 * those of its tables, broadcasts, and of VLANs the ones it has asked for. A driver that did not
 * negotiate the commands gets everything.
 */
#include <string.h>

#include "target/net/net.h"

#define ETHERTYPE_VLAN 0x8100u

void tnet_filter_reset(struct bh_target_net *net)
{
	struct tnet_filter *f = &net->filter;

	memset(f, 0, sizeof(*f));
	memcpy(f->mac, net->mac, sizeof(f->mac));
	f->is_off = !tnet_has(net->regs.features, BH_VIRTIO_NET_F_CTRL_RX);
	f->has_vlans = tnet_has(net->regs.features, BH_VIRTIO_NET_F_CTRL_VLAN);
}

static bool in_table(const uint8_t (*macs)[6], unsigned int count, const uint8_t *mac)
{
	unsigned int i;

	if (count > TNET_MACS)
		return true;
	for (i = 0; i < count; i++)
		if (memcmp(macs[i], mac, 6) == 0)
			return true;
	return false;
}

static bool pass_mac(const struct tnet_filter *f, const uint8_t *mac)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (memcmp(mac, broadcast, 6) == 0)
		return !f->no_bcast;
	if (mac[0] & 1)
		return !f->no_multi && (f->all_multi || in_table(f->multi, f->num_multi, mac));
	if (f->no_uni)
		return false;
	return f->all_uni || memcmp(mac, f->mac, 6) == 0 || in_table(f->uni, f->num_uni, mac);
}

bool tnet_filter_pass(const struct tnet_filter *f, const uint8_t *frame, uint32_t len)
{
	uint32_t id;

	if (len < TNET_MIN_FRAME)
		return false;
	if (f->promisc)
		return true;
	if (f->has_vlans && len >= TNET_MIN_FRAME + 4 &&
	    ((uint32_t)frame[12] << 8 | frame[13]) == ETHERTYPE_VLAN) {
		id = ((uint32_t)frame[14] << 8 | frame[15]) & 0xfff;
		if (id && !(f->vlan[id / 64] >> id % 64 & 1))
			return false;
	}
	return f->is_off || pass_mac(f, frame);
}

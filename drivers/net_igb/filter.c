/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which frames are let in: addresses, multicast hash, VLANs, length (82576 datasheet 7.1.2, 7.4).
 */
#include <errno.h>
#include <string.h>

#include "net_igb/igb.h"

#define ETHERNET_OVERHEAD 4u /* the frame's checksum, which RLPML counts */

static void write_address(struct bh_igb_hw *hw, unsigned int n, const uint8_t mac[6])
{
	uint32_t low = (uint32_t)mac[0] | (uint32_t)mac[1] << 8 | (uint32_t)mac[2] << 16 |
		       (uint32_t)mac[3] << 24;

	/* Invalid while it is half written. */
	bh__igb_write(hw, IGB_RAH(n), 0);
	bh__igb_write(hw, IGB_RAL(n), low);
	bh__igb_write(hw, IGB_RAH(n), (uint32_t)mac[4] | (uint32_t)mac[5] << 8 | IGB_RAH_AV);
}

int bh__igb_mac_set(struct bh_igb_hw *hw, const uint8_t mac[6])
{
	static const uint8_t zero[6];

	if ((mac[0] & 1) || memcmp(mac, zero, 6) == 0)
		return -EINVAL;
	write_address(hw, 0, mac);
	return bh__igb_error(hw);
}

int bh__igb_multicast_set(struct bh_igb_hw *hw, const uint8_t (*list)[6], unsigned int count)
{
	uint32_t hash[IGB_MTA_COUNT] = { 0 };
	unsigned int exact = count < IGB_RA_COUNT - 1 ? count : IGB_RA_COUNT - 1;

	for (unsigned int i = 0; i < count; i++) {
		if (!(list[i][0] & 1))
			return -EINVAL;
	}
	for (unsigned int i = 0; i < exact; i++)
		write_address(hw, 1 + i, list[i]);
	for (unsigned int i = exact; i < IGB_RA_COUNT - 1; i++)
		bh__igb_write(hw, IGB_RAH(1 + i), 0);
	/* RCTL.MO is 0: the hash is bits 47:36 of the address (7.1.2.1.2). */
	for (unsigned int i = exact; i < count; i++) {
		uint32_t bit = ((uint32_t)list[i][4] >> 4 | (uint32_t)list[i][5] << 4) & 0xfff;

		hash[bit / 32] |= 1u << bit % 32;
	}
	for (unsigned int i = 0; i < IGB_MTA_COUNT; i++)
		bh__igb_write(hw, IGB_MTA(i), hash[i]);
	return bh__igb_error(hw);
}

int bh__igb_promiscuous_set(struct bh_igb_hw *hw, bool unicast, bool multicast)
{
	uint32_t set = (unicast ? IGB_RCTL_UPE : 0) | (unicast || multicast ? IGB_RCTL_MPE : 0);

	bh__igb_modify(hw, IGB_RCTL, IGB_RCTL_UPE | IGB_RCTL_MPE, set);
	return bh__igb_error(hw);
}

int bh__igb_vlan_set(struct bh_igb_hw *hw, unsigned int id, bool on)
{
	if (id > 4095)
		return -EINVAL;
	bh__igb_modify(hw, IGB_VFTA(id / 32), 1u << id % 32, on ? 1u << id % 32 : 0);
	return bh__igb_error(hw);
}

int bh__igb_vlan_clear(struct bh_igb_hw *hw)
{
	for (unsigned int i = 0; i < IGB_VFTA_COUNT; i++)
		bh__igb_write(hw, IGB_VFTA(i), 0);
	return bh__igb_error(hw);
}

int bh__igb_vlan_filter(struct bh_igb_hw *hw, bool on)
{
	bh__igb_modify(hw, IGB_RCTL, IGB_RCTL_VFE, on ? IGB_RCTL_VFE : 0);
	return bh__igb_error(hw);
}

int bh__igb_frame_most_set(struct bh_igb_hw *hw, uint32_t bytes)
{
	uint32_t most = bytes + ETHERNET_OVERHEAD;

	if (bytes > IGB_FRAME_MOST - ETHERNET_OVERHEAD)
		return -EINVAL;
	/* With LPE the limit is RLPML, tags included (8.10); without, 1518 or 1522 bytes. */
	bh__igb_write(hw, IGB_RLPML, most + 8 < IGB_FRAME_MOST ? most + 8 : IGB_FRAME_MOST);
	bh__igb_modify(hw, IGB_RCTL, 0, IGB_RCTL_LPE);
	return bh__igb_error(hw);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Statistics registers (82576 datasheet 4.5.8 and the statistics of chapter 8): they clear when they
 * are read and stop at their greatest value, so they are added up here. Of a pair that makes 64
 * bits the low half is read first.
 */
#include <errno.h>
#include <string.h>

#include "net_igb/igb.h"

static const struct {
	const char *name;
	uint16_t reg;
	bool wide;
} regs[] = {
	{ "rx_crc_errors", 0x4000, false },
	{ "rx_alignment_errors", 0x4004, false },
	{ "rx_symbol_errors", 0x4008, false },
	{ "rx_errors", 0x400c, false },
	{ "rx_missed", 0x4010, false },
	{ "tx_single_collisions", 0x4014, false },
	{ "tx_excessive_collisions", 0x4018, false },
	{ "tx_multiple_collisions", 0x401c, false },
	{ "tx_late_collisions", 0x4020, false },
	{ "tx_collisions", 0x4028, false },
	{ "tx_deferred", 0x4030, false },
	{ "tx_no_carrier", 0x4034, false },
	{ "rx_length_errors", 0x4040, false },
	{ "rx_xon", 0x4048, false },
	{ "tx_xon", 0x404c, false },
	{ "rx_xoff", 0x4050, false },
	{ "tx_xoff", 0x4054, false },
	{ "rx_flow_control_unsupported", 0x4058, false },
	{ "rx_64", 0x405c, false },
	{ "rx_65_127", 0x4060, false },
	{ "rx_128_255", 0x4064, false },
	{ "rx_256_511", 0x4068, false },
	{ "rx_512_1023", 0x406c, false },
	{ "rx_1024_up", 0x4070, false },
	{ "rx_good_packets", 0x4074, false },
	{ "rx_broadcast_packets", 0x4078, false },
	{ "rx_multicast_packets", 0x407c, false },
	{ "tx_good_packets", 0x4080, false },
	{ "rx_good_bytes", 0x4088, true },
	{ "tx_good_bytes", 0x4090, true },
	{ "rx_no_buffers", 0x40a0, false },
	{ "rx_undersize", 0x40a4, false },
	{ "rx_fragments", 0x40a8, false },
	{ "rx_oversize", 0x40ac, false },
	{ "rx_jabber", 0x40b0, false },
	{ "rx_management_packets", 0x40b4, false },
	{ "rx_management_dropped", 0x40b8, false },
	{ "tx_management_packets", 0x40bc, false },
	{ "rx_total_bytes", 0x40c0, true },
	{ "tx_total_bytes", 0x40c8, true },
	{ "rx_total_packets", 0x40d0, false },
	{ "tx_total_packets", 0x40d4, false },
	{ "tx_64", 0x40d8, false },
	{ "tx_65_127", 0x40dc, false },
	{ "tx_128_255", 0x40e0, false },
	{ "tx_256_511", 0x40e4, false },
	{ "tx_512_1023", 0x40e8, false },
	{ "tx_1024_up", 0x40ec, false },
	{ "tx_multicast_packets", 0x40f0, false },
	{ "tx_broadcast_packets", 0x40f4, false },
	{ "tx_segmented", 0x40f8, false },
	{ "interrupts", 0x4100, false },
};

#define COUNT (sizeof(regs) / sizeof(regs[0]))
static_assert(COUNT <= IGB_STATS_MOST, "a sum for each");

unsigned int bh__igb_stats_count(void)
{
	return COUNT;
}

const char *bh__igb_stats_name(unsigned int i)
{
	return i < COUNT ? regs[i].name : NULL;
}

int bh__igb_stats_update(struct bh_igb_hw *hw)
{
	for (size_t i = 0; i < COUNT; i++) {
		uint64_t value = bh__igb_read(hw, regs[i].reg);

		if (regs[i].wide)
			value |= (uint64_t)bh__igb_read(hw, regs[i].reg + 4u) << 32;
		/* What a device that is going away says is not added. */
		if (hw->error)
			break;
		hw->stats[i] += value;
	}
	return bh__igb_error(hw);
}

void bh__igb_stats_clear(struct bh_igb_hw *hw)
{
	(void)bh__igb_stats_update(hw);
	memset(hw->stats, 0, sizeof(hw->stats));
}

uint64_t bh__igb_stat(const struct bh_igb_hw *hw, const char *name)
{
	for (size_t i = 0; i < COUNT; i++) {
		if (strcmp(regs[i].name, name) == 0)
			return hw->stats[i];
	}
	return 0;
}

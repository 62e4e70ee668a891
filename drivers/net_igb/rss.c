/* SPDX-License-Identifier: BSD-3-Clause */
/* Receive-side scaling (82576 datasheet 7.1.1.7). */
#include <errno.h>
#include <string.h>

#include "net_igb/igb.h"

/* The key of the published verification vectors, which 7.1.1.7.3 gives as well. */
const uint8_t bh__igb_rss_default_key[IGB_RSS_KEY_BYTES] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static uint32_t four(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

int bh__igb_rss_set(struct bh_igb_hw *hw, uint32_t fields, const uint8_t key[IGB_RSS_KEY_BYTES],
		    const uint8_t table[IGB_RETA_ENTRIES], unsigned int queues)
{
	for (unsigned int i = 0; i < IGB_RETA_ENTRIES; i++) {
		if (table[i] >= queues)
			return -EINVAL;
	}
	/* Key and table are not written while they are in use (7.1.1.7). */
	bh__igb_write(hw, IGB_MRQC, 0);
	for (unsigned int i = 0; i < IGB_RSS_KEY_BYTES / 4; i++)
		bh__igb_write(hw, IGB_RSSRK(i), four(key + 4 * i));
	for (unsigned int i = 0; i < IGB_RETA_ENTRIES / 4; i++)
		bh__igb_write(hw, IGB_RETA(i), four(table + 4 * i));
	if (fields)
		bh__igb_write(hw, IGB_MRQC, IGB_MRQC_RSS | fields);
	return bh__igb_error(hw);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of capability and offload bits, for listings.
 */
#include <stddef.h>

#include "net/net.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static const char *const caps[] = {
	"MAC_SET", "PROMISC", "ALLMULTI", "MULTICAST", "VLAN_FILTER", "LINK", "RSS", "QUEUE_FD",
};

static const char *const rx_offloads[] = {
	"RX_IP_CSUM", "RX_L4_CSUM", "RX_LRO", "RX_SCATTER", "RX_VLAN_STRIP", "RX_RSS_HASH",
};

static const char *const tx_offloads[] = {
	"TX_IP_CSUM",	  "TX_L4_CSUM",	   "TX_TSO",	   "TX_USO",
	"TX_VLAN_INSERT", "TX_MULTI_SEGS", "TX_FAST_FREE",
};

#define TX_FIRST 16u

static const char *name_of(const char *const *names, size_t count, uint64_t bit)
{
	for (size_t i = 0; i < count; i++)
		if (bit == 1ull << i)
			return names[i];
	return NULL;
}

const char *bh_net_cap_str(uint64_t bit)
{
	return name_of(caps, LEN(caps), bit);
}

const char *bh_net_offload_str(uint64_t bit)
{
	if (bit < 1ull << TX_FIRST)
		return name_of(rx_offloads, LEN(rx_offloads), bit);
	if (bit & ((1ull << TX_FIRST) - 1))
		return NULL;
	return name_of(tx_offloads, LEN(tx_offloads), bit >> TX_FIRST);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive side scaling: the hash, and what is set unless somebody says otherwise.
 *
 * The Toeplitz hash slides a window of 32 bits over the key, one bit per bit of input, and adds
 * (exclusive or) the window wherever the input has a one. Devices compute it; here it is for those
 * who want to know which queue a flow will meet, and for tests. The default key is the one of the
 * published verification suite, so that a hash can be compared with anybody's.
 */
#include <errno.h>
#include <string.h>

#include "net/net.h"

static const uint8_t default_key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

uint32_t bh_net_rss_hash(const uint8_t *key, const void *data, size_t len)
{
	const uint8_t *in = (const uint8_t *)data;
	uint32_t window =
		(uint32_t)key[0] << 24 | (uint32_t)key[1] << 16 | (uint32_t)key[2] << 8 | key[3];
	uint32_t hash = 0;

	for (size_t i = 0; i < len; i++) {
		for (int bit = 7; bit >= 0; bit--) {
			if (in[i] >> bit & 1)
				hash ^= window;
			window = window << 1 | (key[i + 4] >> bit & 1);
		}
	}
	return hash;
}

void bh__net_rss_default(const struct bh_net_info *info, unsigned int n_rxq, struct bh_net_rss *rss)
{
	memset(rss, 0, sizeof(*rss));
	rss->types = info->rss_types;
	rss->key_bytes = info->rss_key_bytes;
	for (unsigned int i = 0; i < rss->key_bytes; i++)
		rss->key[i] = default_key[i % sizeof(default_key)];
	rss->table_size = info->rss_table_size;
	for (unsigned int i = 0; i < rss->table_size; i++)
		rss->table[i] = (uint16_t)(i % n_rxq);
}

int bh__net_rss_check(const struct bh_net_info *info, unsigned int n_rxq,
		      const struct bh_net_rss *rss)
{
	if (rss->types & ~info->rss_types || rss->key_bytes != info->rss_key_bytes ||
	    rss->table_size != info->rss_table_size)
		return -EINVAL;
	for (unsigned int i = 0; i < rss->table_size; i++)
		if (rss->table[i] >= n_rxq)
			return -EINVAL;
	return 0;
}

int bh_net_rss_get(struct bh_net *net, struct bh_net_rss *rss)
{
	if (!(net->info.caps & BH_NET_CAP_RSS))
		return -EOPNOTSUPP;
	*rss = net->rss;
	return 0;
}

int bh_net_rss_set(struct bh_net *net, const struct bh_net_rss *rss)
{
	struct bh_net_rss before = net->rss;
	int rc;

	if (!(net->info.caps & BH_NET_CAP_RSS))
		return -EOPNOTSUPP;
	if (net->state == BH__NET_OPEN)
		return -EINVAL;
	rc = bh__net_rss_check(&net->info, net->conf.n_rxq, rss);
	if (rc != 0)
		return rc;
	net->rss = *rss;
	if (net->state == BH__NET_STARTED)
		rc = net->ops->rss_set(net);
	if (rc != 0)
		net->rss = before;
	return rc;
}

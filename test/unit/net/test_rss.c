/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The RSS hash against the published verification suite (source address, destination address,
 * source port, destination port, in network order).
 */
#include "unit.h"

#include <arpa/inet.h>
#include <string.h>

#include "net/net.h"

static const struct {
	const char *dst;
	uint16_t dst_port;
	const char *src;
	uint16_t src_port;
	uint32_t ip_only, with_ports;
} v4[] = {
	{ "161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178 },
	{ "65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea },
	{ "12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a },
	{ "209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f },
	{ "202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2 },
}, v6[] = {
	{ "3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d },
	{ "ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf },
	{ "fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251,
	  0x4b61e985, 0x02d1feef },
};

static void key_of(struct bh_net_rss *rss)
{
	struct bh_net_info info = { .rss_key_bytes = 40, .rss_table_size = 1 };

	bh__net_rss_default(&info, 1, rss);
}

static void check(int family, const char *src, const char *dst, uint16_t src_port,
		  uint16_t dst_port, uint32_t ip_only, uint32_t with_ports)
{
	size_t bytes = family == AF_INET ? 4 : 16;
	struct bh_net_rss rss;
	uint16_t ports[2] = { htons(src_port), htons(dst_port) };
	uint8_t in[36];

	key_of(&rss);
	CU_ASSERT_EQUAL_FATAL(inet_pton(family, src, in), 1);
	CU_ASSERT_EQUAL_FATAL(inet_pton(family, dst, in + bytes), 1);
	memcpy(in + 2 * bytes, ports, 4);
	CU_ASSERT_EQUAL(bh_net_rss_hash(rss.key, in, 2 * bytes), ip_only);
	CU_ASSERT_EQUAL(bh_net_rss_hash(rss.key, in, 2 * bytes + 4), with_ports);
}

static void ipv4_as_published(void)
{
	for (size_t i = 0; i < sizeof(v4) / sizeof(v4[0]); i++)
		check(AF_INET, v4[i].src, v4[i].dst, v4[i].src_port, v4[i].dst_port, v4[i].ip_only,
		      v4[i].with_ports);
}

static void ipv6_as_published(void)
{
	for (size_t i = 0; i < sizeof(v6) / sizeof(v6[0]); i++)
		check(AF_INET6, v6[i].src, v6[i].dst, v6[i].src_port, v6[i].dst_port, v6[i].ip_only,
		      v6[i].with_ports);
}

static void nothing_hashes_to_zero(void)
{
	struct bh_net_rss rss;

	key_of(&rss);
	CU_ASSERT_EQUAL(bh_net_rss_hash(rss.key, "", 0), 0);
}

BH_SUITE("rss", { "ipv4_as_published", ipv4_as_published },
	 { "ipv6_as_published", ipv6_as_published },
	 { "nothing_hashes_to_zero", nothing_hashes_to_zero }, )

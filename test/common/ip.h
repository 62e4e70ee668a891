/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checksums of IP, TCP and UDP as tests work them out by themselves, byte by byte, and where headers
 * lie in a frame without a tag.
 */
#ifndef TEST_COMMON_IP_H
#define TEST_COMMON_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
	IP_AT = 14, /* behind the Ethernet header */
	IP_L4 = IP_AT + 20,
	IP_L4_V6 = IP_AT + 40,
	IP_TCP = 6,
	IP_UDP = 17,
};

static inline void ip_put16(uint8_t *at, unsigned int value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void ip_put32(uint8_t *at, uint32_t value)
{
	ip_put16(at, value >> 16);
	ip_put16(at + 2, value & 0xffff);
}

static inline uint32_t ip_get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* RFC 1071, of `bytes` bytes and what was summed before. */
static inline uint16_t ip_sum(const uint8_t *data, unsigned int bytes, uint32_t sum)
{
	for (unsigned int i = 0; i + 1 < bytes; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	if (bytes & 1)
		sum += (uint32_t)data[bytes - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Of the addresses, the protocol and, but for segmentation (0), the length. */
static inline uint32_t ip_pseudo(const uint8_t *frame, unsigned int l4_bytes)
{
	return (uint32_t)ip_sum(frame + IP_AT + 12, 8, 0) + frame[IP_AT + 9] + l4_bytes;
}

/* The same of IPv6 and TCP. */
static inline uint32_t ip_pseudo_v6(const uint8_t *frame, unsigned int l4_bytes)
{
	return (uint32_t)ip_sum(frame + IP_AT + 8, 32, 0) + IP_TCP + l4_bytes;
}

/* Of an IPv4 packet that is all of the frame. */
static inline bool ip_sums_are_right(const uint8_t *frame, unsigned int bytes)
{
	unsigned int l4 = bytes - IP_L4;

	return ip_sum(frame + IP_AT, 20, 0) == 0xffff &&
	       ip_sum(frame + IP_L4, l4, ip_pseudo(frame, l4)) == 0xffff;
}

/*
 * Makes IPv4 and TCP or UDP of a frame, behind its addresses and before its data: from 192.0.2.1 to
 * 198.51.100.2, ports 1000 + flow and 7, sequence number 100000. Checksums right, or (`partial`) as a
 * card that computes them wants them.
 */
static inline void ip_headers(uint8_t *f, unsigned int bytes, unsigned int protocol,
			      unsigned int flow, bool partial)
{
	static const uint8_t addresses[8] = { 192, 0, 2, 1, 198, 51, 100, 2 };
	uint8_t *ip = f + IP_AT, *l4 = f + IP_L4, *sum = l4 + (protocol == IP_TCP ? 16 : 6);

	ip_put16(f + 12, 0x0800);
	memset(ip, 0, protocol == IP_TCP ? 40 : 28);
	ip[0] = 0x45;
	ip_put16(ip + 2, bytes - IP_AT);
	ip[8] = 64;
	ip[9] = (uint8_t)protocol;
	memcpy(ip + 12, addresses, 8);
	ip_put16(l4, 1000 + flow);
	ip_put16(l4 + 2, 7);
	if (protocol == IP_TCP) {
		ip_put32(l4 + 4, 100000);
		l4[12] = 5 << 4;
		l4[13] = 0x10;
	} else {
		ip_put16(l4 + 4, bytes - IP_L4);
	}
	if (partial) {
		ip_put16(sum, ip_sum(NULL, 0, ip_pseudo(f, bytes - IP_L4)));
		return;
	}
	ip_put16(ip + 10, 0xffffu & ~ip_sum(ip, 20, 0));
	ip_put16(sum, 0xffffu & ~ip_sum(l4, bytes - IP_L4, ip_pseudo(f, bytes - IP_L4)));
}

/* TCP over IPv6 the same way, as a card that cuts it into segments wants it. */
static inline void ip_headers_v6(uint8_t *f)
{
	uint8_t *ip = f + IP_AT, *l4 = f + IP_L4_V6;

	ip_put16(f + 12, 0x86dd);
	memset(ip, 0, 8);
	ip[0] = 0x60;
	ip[6] = IP_TCP;
	ip[7] = 64;
	ip_put16(ip + 8, 0x2001);
	ip_put16(ip + 24, 0x2001);
	memset(l4, 0, 20);
	ip_put16(l4, 1000);
	ip_put16(l4 + 2, 7);
	ip_put32(l4 + 4, 100000);
	l4[12] = 5 << 4;
	l4[13] = 0x10;
	ip_put16(l4 + 16, ip_sum(NULL, 0, ip_pseudo_v6(f, 0)));
}

#endif

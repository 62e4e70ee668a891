/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CRC-16/T10-DIF: ISA-L's where the build has it (carry-less multiplication), otherwise tables.
 *
 * The tables take eight bytes at a time: table k holds the CRC of each byte followed by k zero
 * bytes, and by linearity the CRC of eight bytes is the sum of their eight entries. For the same
 * reason an entry is the sum of those of its single bits, so a table is written down by the eight
 * it is made of.
 */
#include <string.h>

#include <bellhop/pi.h>

#include "pi/crc.h"

#if BH_HAVE_ISAL
#include <isa-l/crc.h>
#endif

#define BIT(x, i, c) ((x) >> (i)&1 ? (c) : 0)
#define ENTRY(x, c0, c1, c2, c3, c4, c5, c6, c7)                                                   \
	(uint16_t)(BIT(x, 0, c0) ^ BIT(x, 1, c1) ^ BIT(x, 2, c2) ^ BIT(x, 3, c3) ^ BIT(x, 4, c4) ^ \
		   BIT(x, 5, c5) ^ BIT(x, 6, c6) ^ BIT(x, 7, c7))
#define ENTRIES4(x, ...)                                                                 \
	ENTRY(x, __VA_ARGS__), ENTRY((x) + 1, __VA_ARGS__), ENTRY((x) + 2, __VA_ARGS__), \
		ENTRY((x) + 3, __VA_ARGS__)
#define ENTRIES16(x, ...)                                                                         \
	ENTRIES4(x, __VA_ARGS__), ENTRIES4((x) + 4, __VA_ARGS__), ENTRIES4((x) + 8, __VA_ARGS__), \
		ENTRIES4((x) + 12, __VA_ARGS__)
#define ENTRIES64(x, ...)                                            \
	ENTRIES16(x, __VA_ARGS__), ENTRIES16((x) + 16, __VA_ARGS__), \
		ENTRIES16((x) + 32, __VA_ARGS__), ENTRIES16((x) + 48, __VA_ARGS__)
#define TABLE(...)                                                                          \
	ENTRIES64(0, __VA_ARGS__), ENTRIES64(64, __VA_ARGS__), ENTRIES64(128, __VA_ARGS__), \
		ENTRIES64(192, __VA_ARGS__)

static const uint16_t table[8][256] = {
	{ TABLE(0x8bb7, 0x9cd9, 0xb205, 0xefbd, 0x54cd, 0xa99a, 0xd883, 0x3ab1) },
	{ TABLE(0x7562, 0xeac4, 0x5e3f, 0xbc7e, 0xf34b, 0x6d21, 0xda42, 0x3f33) },
	{ TABLE(0x7e66, 0xfccc, 0x722f, 0xe45e, 0x430b, 0x8616, 0x879b, 0x8481) },
	{ TABLE(0x82b5, 0x8edd, 0x960d, 0xa7ad, 0xc4ed, 0x026d, 0x04da, 0x09b4) },
	{ TABLE(0x1368, 0x26d0, 0x4da0, 0x9b40, 0xbd37, 0xf1d9, 0x6805, 0xd00a) },
	{ TABLE(0x2ba3, 0x5746, 0xae8c, 0xd6af, 0x26e9, 0x4dd2, 0x9ba4, 0xbcff) },
	{ TABLE(0xf249, 0x6f25, 0xde4a, 0x3723, 0x6e46, 0xdc8c, 0x32af, 0x655e) },
	{ TABLE(0xcabc, 0x1ecf, 0x3d9e, 0x7b3c, 0xf678, 0x6747, 0xce8e, 0x16ab) },
};

uint16_t bh__crc16_table(uint16_t crc, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	for (; len >= 8; p += 8, len -= 8) {
		crc = table[7][p[0] ^ crc >> 8] ^ table[6][p[1] ^ (crc & 0xff)] ^ table[5][p[2]] ^
		      table[4][p[3]] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^
		      table[0][p[7]];
	}
	for (; len; p++, len--)
		crc = (uint16_t)(crc << 8) ^ table[0][*p ^ crc >> 8];
	return crc;
}

#if BH_HAVE_ISAL
uint16_t bh_pi_crc16(uint16_t crc, const void *buf, size_t len)
{
	return crc16_t10dif(crc, buf, len);
}

uint16_t bh_pi_crc16_copy(uint16_t crc, void *dst, const void *src, size_t len)
{
	return crc16_t10dif_copy(crc, dst, (uint8_t *)(uintptr_t)src, len);
}
#else
uint16_t bh_pi_crc16(uint16_t crc, const void *buf, size_t len)
{
	return bh__crc16_table(crc, buf, len);
}

uint16_t bh_pi_crc16_copy(uint16_t crc, void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
	return bh__crc16_table(crc, dst, len);
}
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC-16/T10-DIF: known values, and every variant against the definition. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/pi.h>

#include "pi/crc.h"
#include "unit.h"

#define LONG 9000

static uint8_t bytes[LONG];

static int setup(void)
{
	uint32_t seed = 12345;
	size_t i;

	for (i = 0; i < LONG; i++) {
		seed = seed * 1664525u + 1013904223u;
		bytes[i] = (uint8_t)(seed >> 24);
	}
	return 0;
}

/* Bit by bit, as the polynomial says. */
static uint16_t by_definition(uint16_t crc, const uint8_t *p, size_t len)
{
	for (; len; len--) {
		crc ^= (uint16_t)(*p++ << 8);
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc << 1) ^ (crc & 0x8000 ? 0x8bb7 : 0);
	}
	return crc;
}

/* SBC-3's table of test cases for the guard, and the usual check value. */
static void known_values(void)
{
	static const uint16_t want[] = { 0x0000, 0xa293, 0x0224, 0x21b8, 0xa0b7 };
	uint8_t in[5][32] = { { 0 } };
	size_t i;

	memset(in[1], 0xff, 32);
	in[3][0] = in[3][1] = 0xff;
	for (i = 0; i < 32; i++) {
		in[2][i] = (uint8_t)i;
		in[4][i] = (uint8_t)(0xff - i);
	}
	for (i = 0; i < 5; i++) {
		CU_ASSERT_EQUAL(bh_pi_crc16(0, in[i], 32), want[i]);
		CU_ASSERT_EQUAL(bh__crc16_table(0, in[i], 32), want[i]);
	}
	CU_ASSERT_EQUAL(bh_pi_crc16(0, "123456789", 9), 0xd0db);
	CU_ASSERT_EQUAL(bh__crc16_table(0, "123456789", 9), 0xd0db);
	CU_ASSERT_EQUAL(bh_pi_crc16(0, "", 0), 0);
}

static void every_length_and_offset(void)
{
	size_t len, off;
	unsigned int wrong = 0;

	for (len = 0; len < 600; len++) {
		for (off = 0; off < 17; off++) {
			uint16_t want = by_definition((uint16_t)(len * off), bytes + off, len);

			wrong += bh_pi_crc16((uint16_t)(len * off), bytes + off, len) != want;
			wrong += bh__crc16_table((uint16_t)(len * off), bytes + off, len) != want;
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(bh_pi_crc16(0, bytes, LONG), by_definition(0, bytes, LONG));
	CU_ASSERT_EQUAL(bh__crc16_table(0, bytes, LONG), by_definition(0, bytes, LONG));
}

static void every_single_byte(void)
{
	unsigned int i, k, wrong = 0;
	uint8_t p[8];

	/* Each entry of each table. */
	for (k = 0; k < 8; k++) {
		for (i = 0; i < 256; i++) {
			memset(p, 0, sizeof(p));
			p[7 - k] = (uint8_t)i;
			wrong += bh__crc16_table(0, p, 8) != by_definition(0, p, 8);
			wrong += bh_pi_crc16(0, p, 8) != by_definition(0, p, 8);
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void goes_on_where_it_stopped(void)
{
	uint16_t want = by_definition(0, bytes, 520);
	unsigned int wrong = 0;
	size_t cut;

	for (cut = 0; cut <= 520; cut++) {
		wrong += bh_pi_crc16(bh_pi_crc16(0, bytes, cut), bytes + cut, 520 - cut) != want;
		wrong += bh__crc16_table(bh__crc16_table(0, bytes, cut), bytes + cut, 520 - cut) !=
			 want;
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void copies_what_it_sums(void)
{
	unsigned int wrong = 0;
	size_t len, off;
	uint8_t to[700];

	for (len = 0; len < 600; len++) {
		off = len % 13;
		memset(to, 0xa5, sizeof(to));
		wrong += bh_pi_crc16_copy(7, to + 8 + off, bytes + off, len) !=
			 by_definition(7, bytes + off, len);
		wrong += memcmp(to + 8 + off, bytes + off, len) != 0;
		/* Nothing around it. */
		wrong += to[7 + off] != 0xa5 || to[8 + off + len] != 0xa5;
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

/* A page that cannot be read lies right behind. */
static void touches_nothing_behind_the_buffers(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len;
	uint8_t *end[2];
	unsigned int wrong = 0;

	for (int i = 0; i < 2; i++) {
		end[i] = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0);
		CU_ASSERT_FATAL(end[i] != MAP_FAILED);
		end[i] += page;
		CU_ASSERT_EQUAL_FATAL(mprotect(end[i], page, PROT_NONE), 0);
	}
	for (len = 1; len < 600; len++) {
		uint16_t want = by_definition(0, bytes, len);

		memcpy(end[0] - len, bytes, len);
		wrong += bh__crc16_table(0, end[0] - len, len) != want;
		wrong += bh_pi_crc16(0, end[0] - len, len) != want;
		wrong += bh_pi_crc16_copy(0, end[1] - len, end[0] - len, len) != want;
		wrong += memcmp(end[1] - len, bytes, len) != 0;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	munmap(end[0] - page, 2 * page);
	munmap(end[1] - page, 2 * page);
}

BH_SUITE_FIXTURE("crc", setup, NULL, { "known_values", known_values },
		 { "every_length_and_offset", every_length_and_offset },
		 { "every_single_byte", every_single_byte },
		 { "goes_on_where_it_stopped", goes_on_where_it_stopped },
		 { "copies_what_it_sums", copies_what_it_sums },
		 { "touches_nothing_behind_the_buffers", touches_nothing_behind_the_buffers })

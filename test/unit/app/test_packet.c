/* SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "packet.h"

static const struct packet_flow flow = {
	.dst = { 2, 0, 0, 0, 0, 1 },
	.src = { 2, 0, 0, 0, 0, 2 },
	.dst_ip = 0xc6120101, /* 198.18.1.1 */
	.src_ip = 0xc6120001,
	.dst_port = 9,
	.src_port = 49152,
	.run = 0x1234,
	.stream = 5,
};

static struct packet_template template;
static uint8_t packet[PACKET_MAX];

/* In the order of the bytes. */
static unsigned int stored(uint16_t checksum)
{
	uint8_t bytes[2];

	memcpy(bytes, &checksum, 2);
	return bytes[0] << 8 | bytes[1];
}

/* The example of RFC 1071, section 3: the sum is ddf2. */
static void sum_is_that_of_rfc_1071(void)
{
	static const uint8_t bytes[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };

	CU_ASSERT_EQUAL(stored(packet_checksum(packet_sum(bytes, 8, 0))), 0xffffu - 0xddf2);
	CU_ASSERT_EQUAL(stored(packet_checksum(packet_sum(bytes + 4, 4, packet_sum(bytes, 4, 0)))),
			0xffffu - 0xddf2);
}

/* A header printed in many a textbook: its checksum is b861. */
static void sum_of_an_ipv4_header(void)
{
	static const uint8_t header[20] = { 0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40,
					    0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8,
					    0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7 };

	CU_ASSERT_EQUAL(stored(packet_checksum(packet_sum(header, 20, 0))), 0xb861);
}

static void sum_of_odd_lengths_is_padded_with_zero(void)
{
	static const uint8_t bytes[8] = { 1, 2, 3, 4, 5, 6, 7, 0 };

	CU_ASSERT_EQUAL(packet_checksum(packet_sum(bytes, 7, 0)),
			packet_checksum(packet_sum(bytes, 8, 0)));
	CU_ASSERT_EQUAL(stored(packet_checksum(packet_sum(bytes, 1, 0))), 0xfeff);
	CU_ASSERT_EQUAL(packet_checksum(packet_sum(bytes, 0, 0)), 0xffff);
}

/* Every 16-bit carry there can be. */
static void sum_folds_all_carries(void)
{
	uint8_t ones[64];

	memset(ones, 0xff, sizeof(ones));
	CU_ASSERT_EQUAL(packet_checksum(packet_sum(ones, sizeof(ones), 0)), 0);
	CU_ASSERT_EQUAL(packet_checksum(UINT64_MAX), 0);
	CU_ASSERT_EQUAL(packet_checksum(0x1fffful), (uint16_t)~1);
}

/* A packet of the smallest size, byte by byte, its checksums worked out apart. */
static void smallest_packet_is_as_specified(void)
{
	static const char expected[] = "020000000001"
				       "020000000002"
				       "0800"
				       "4500002e"
				       "00004000"
				       "4011ad98"
				       "c6120001"
				       "c6120101"
				       "c0000009"
				       "001ad223"
				       "be11"
				       "1234"
				       "0005" /* magic, run, stream */
				       "00000007"
				       "0102030405060708";
	char text[2 * 60 + 1];

	packet_template_init(&template, &flow, 60);
	packet_write(&template, packet, 7, 0x0102030405060708ull);
	for (unsigned int i = 0; i < 60; i++)
		snprintf(text + 2 * i, 3, "%02x", packet[i]);
	CU_ASSERT_STRING_EQUAL(text, expected);
}

static void every_size_is_whole_and_right(void)
{
	for (uint32_t bytes = PACKET_MIN; bytes <= PACKET_MAX; bytes += bytes < 300 ? 1 : 97) {
		struct packet_info info = { 0 };

		packet_template_init(&template, &flow, bytes);
		memset(packet, 0xa5, sizeof(packet));
		packet_write(&template, packet, bytes * 77777, bytes * 0x123456789abull);
		const char *why = packet_look(packet, bytes, &info);
		CU_ASSERT_PTR_NULL(why);
		CU_ASSERT_EQUAL(info.run, flow.run);
		CU_ASSERT_EQUAL(info.stream, flow.stream);
		CU_ASSERT_EQUAL(info.number, bytes * 77777);
		CU_ASSERT_EQUAL(info.stamp, bytes * 0x123456789abull);
		CU_ASSERT_TRUE(packet_is(&template, packet));
		CU_ASSERT_TRUE(packet_fill_is(&template, packet));
		CU_ASSERT_TRUE(bytes == PACKET_MAX || packet[bytes] == 0xa5);
	}
}

/* Any damaged byte is seen by both ways of looking; number and stamp by their checksum. */
static void any_wrong_byte_is_seen(void)
{
	struct packet_info info;

	packet_template_init(&template, &flow, 200);
	for (unsigned int at = 0; at < 200; at++) {
		packet_write(&template, packet, 99, 12345);
		packet[at] ^= 0x10;
		CU_ASSERT_EQUAL(packet_is(&template, packet), at >= PACKET_FILL_AT);
		CU_ASSERT_EQUAL(packet_fill_is(&template, packet), at < PACKET_FILL_AT);
		if (at >= PACKET_IP) /* a stranger does not know the addresses */
			CU_ASSERT_PTR_NOT_NULL(packet_look(packet, 200, &info));
	}
}

/* Two words exchanged have the same checksum. */
static void content_is_compared_beside_the_checksum(void)
{
	struct packet_info info;
	uint8_t keep[2];

	packet_template_init(&template, &flow, 200);
	packet_write(&template, packet, 99, 12345);
	memcpy(keep, packet + 100, 2);
	memcpy(packet + 100, packet + 120, 2);
	memcpy(packet + 120, keep, 2);
	const char *why = packet_look(packet, 200, &info);
	CU_ASSERT_PTR_NOT_NULL_FATAL(why);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "though the checksum is right"));
}

static void strangers_are_told_from_damaged_ones(void)
{
	struct packet_info info;

	packet_template_init(&template, &flow, 64);
	packet_write(&template, packet, 1, 2);
	CU_ASSERT_PTR_EQUAL(packet_look(packet, 59, &info), PACKET_FOREIGN);
	CU_ASSERT_PTR_NOT_EQUAL(packet_look(packet, 63, &info), PACKET_FOREIGN);
	packet[12] = 0x86; /* not IPv4 */
	CU_ASSERT_PTR_EQUAL(packet_look(packet, 64, &info), PACKET_FOREIGN);
	packet_write(&template, packet, 1, 2);
	packet[PACKET_IP + 9] = 6; /* TCP */
	CU_ASSERT_PTR_EQUAL(packet_look(packet, 64, &info), PACKET_FOREIGN);
	packet_write(&template, packet, 1, 2);
	packet[PACKET_MAGIC_AT] = 0;
	CU_ASSERT_PTR_EQUAL(packet_look(packet, 64, &info), PACKET_FOREIGN);
}

static void restamp_is_a_new_packet(void)
{
	struct packet_info info;

	packet_template_init(&template, &flow, 128);
	packet_write(&template, packet, 1, 2);
	for (uint32_t n = 0; n < 70000; n += 7) {
		packet_restamp(&template, packet, n * 60013, (uint64_t)n << 40 | n);
		CU_ASSERT_TRUE_FATAL(packet_is(&template, packet));
		CU_ASSERT_PTR_NULL_FATAL(packet_look(packet, 128, &info));
	}
}

/* RFC 768: a checksum that comes out as 0 is sent as ffff. */
static void udp_checksum_is_never_zero(void)
{
	struct packet_info info;
	unsigned int seen = 0;

	packet_template_init(&template, &flow, 60);
	for (uint32_t n = 0; n < 70000; n++) {
		uint16_t sum;

		packet_write(&template, packet, n, 0);
		memcpy(&sum, packet + PACKET_UDP + 6, 2);
		CU_ASSERT_NOT_EQUAL_FATAL(sum, 0);
		seen += sum == 0xffff;
		if (sum == 0xffff)
			CU_ASSERT_PTR_NULL(packet_look(packet, 60, &info));
	}
	CU_ASSERT_TRUE(seen > 0);
}

static void turned_around_is_right_and_goes_back(void)
{
	struct packet_info info;
	uint8_t before[100];

	packet_template_init(&template, &flow, 100);
	packet_write(&template, packet, 3, 4);
	memcpy(before, packet, 100);
	packet_turn_around(packet, 100);
	CU_ASSERT_EQUAL(memcmp(packet, flow.src, 6), 0);
	CU_ASSERT_EQUAL(memcmp(packet + 6, flow.dst, 6), 0);
	CU_ASSERT_EQUAL(memcmp(packet + PACKET_IP + 12, before + PACKET_IP + 16, 4), 0);
	CU_ASSERT_EQUAL(memcmp(packet + PACKET_UDP, before + PACKET_UDP + 2, 2), 0);
	CU_ASSERT_PTR_NULL(packet_look(packet, 100, &info));
	packet_turn_around(packet, 100);
	CU_ASSERT_EQUAL(memcmp(packet, before, 100), 0);
	packet_turn_around(packet, 13); /* too short for a header: left alone */
	CU_ASSERT_EQUAL(memcmp(packet, before, 100), 0);
}

static void imix_is_seven_four_one(void)
{
	struct packet_mix *mix = malloc(sizeof(*mix));
	unsigned int small = 0, middle = 0, large = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mix);
	packet_mix_init(mix, &flow, PACKET_IMIX);
	for (uint32_t n = 0; n < PACKET_MIX_LEN; n++) {
		small += packet_mix_next(mix, n)->bytes == 64;
		middle += packet_mix_next(mix, n)->bytes == 594;
		large += packet_mix_next(mix, n)->bytes == 1518;
	}
	CU_ASSERT_EQUAL(small, 7);
	CU_ASSERT_EQUAL(middle, 4);
	CU_ASSERT_EQUAL(large, 1);
	CU_ASSERT_EQUAL(mix->average, (7 * 64 + 4 * 594 + 1518 + 6) / 12);
	CU_ASSERT_EQUAL(mix->largest, 1518);
	CU_ASSERT_PTR_EQUAL(packet_mix_find(mix, 594), &mix->t[1]);
	CU_ASSERT_PTR_NULL(packet_mix_find(mix, 595));
	packet_mix_init(mix, &flow, 100);
	CU_ASSERT_EQUAL(packet_mix_next(mix, 7)->bytes, 100);
	CU_ASSERT_EQUAL(mix->average, 100);
	free(mix);
}

/* Of a sender whose addresses are not known, by packets of four sizes. */
static void strangers_packets_become_templates(void)
{
	struct packet_mix *mix = calloc(1, sizeof(*mix));

	CU_ASSERT_PTR_NOT_NULL_FATAL(mix);
	for (uint32_t bytes = 60; bytes < 64; bytes++) {
		packet_template_init(&template, &flow, bytes);
		packet_write(&template, packet, bytes, 77);
		CU_ASSERT_PTR_NULL(packet_mix_find(mix, bytes));
		packet_mix_adopt(mix, packet, bytes);
		const struct packet_template *t = packet_mix_find(mix, bytes);
		CU_ASSERT_PTR_NOT_NULL_FATAL(t);
		packet_write(&template, packet, 123456, 789);
		CU_ASSERT_TRUE(packet_is(t, packet));
		packet[0] ^= 2; /* another receiver: adopted in its place */
		CU_ASSERT_FALSE(packet_is(t, packet));
		packet_mix_adopt(mix, packet, bytes);
		CU_ASSERT_TRUE(packet_is(packet_mix_find(mix, bytes), packet));
	}
	CU_ASSERT_EQUAL(mix->count, 3);
	free(mix);
}

static struct packet_order order;

static void add_all(uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		packet_order_add(&order, first + i);
}

static void in_order_nothing_is_counted(void)
{
	packet_order_start(&order, 0xfffffff0u); /* wraps around */
	add_all(0xfffffff0u, 100);
	CU_ASSERT_EQUAL(order.lost + order.late + order.doubled, 0);
	CU_ASSERT_EQUAL(order.next, 84);
}

static void gaps_are_lost_until_they_arrive(void)
{
	packet_order_start(&order, 0);
	packet_order_add(&order, 3);
	packet_order_add(&order, 4);
	CU_ASSERT_EQUAL(order.lost, 3);
	packet_order_add(&order, 1); /* in the middle */
	CU_ASSERT_EQUAL(order.lost, 2);
	CU_ASSERT_EQUAL(order.late, 1);
	packet_order_add(&order, 1);
	CU_ASSERT_EQUAL(order.doubled, 1);
	packet_order_add(&order, 2);
	packet_order_add(&order, 0);
	CU_ASSERT_EQUAL(order.lost, 0);
	CU_ASSERT_EQUAL(order.late, 3);
	CU_ASSERT_EQUAL(order.gaps, 0);
	packet_order_add(&order, 4);
	CU_ASSERT_EQUAL(order.doubled, 2);
	packet_order_add(&order, 5);
	CU_ASSERT_EQUAL(order.lost, 0);
}

static void first_of_a_stranger_is_its_start(void)
{
	memset(&order, 0, sizeof(order));
	packet_order_add(&order, 1000);
	packet_order_add(&order, 1001);
	CU_ASSERT_EQUAL(order.lost + order.late + order.doubled, 0);
	memset(&order, 0, sizeof(order));
	packet_order_add(&order, 0);
	packet_order_add(&order, 2);
	CU_ASSERT_EQUAL(order.lost, 1);
}

static void more_gaps_than_there_is_room_for(void)
{
	packet_order_start(&order, 0);
	for (uint32_t i = 0; i < 2 * PACKET_GAPS; i++)
		packet_order_add(&order, 2 * i + 1);
	CU_ASSERT_EQUAL(order.lost, 2 * PACKET_GAPS);
	CU_ASSERT_EQUAL(order.gaps, PACKET_GAPS);
	packet_order_add(&order, 4 * PACKET_GAPS - 2); /* the newest gap */
	CU_ASSERT_EQUAL(order.late, 1);
	packet_order_add(&order, 0); /* of a forgotten one */
	CU_ASSERT_EQUAL(order.doubled, 1);
	CU_ASSERT_EQUAL(order.lost, 2 * PACKET_GAPS - 1);
	/* Splitting one while the table is full. */
	packet_order_add(&order, 4 * PACKET_GAPS + 100);
	packet_order_add(&order, 4 * PACKET_GAPS + 50);
	CU_ASSERT_EQUAL(order.late, 2);
	CU_ASSERT_TRUE(order.gaps <= PACKET_GAPS);
}

/* Whatever the order, what came once is neither lost nor doubled in the end. */
static void shuffled_neighbours_all_arrive(void)
{
	uint32_t number[32], seed = 1;

	packet_order_start(&order, 0);
	for (uint32_t block = 0; block < 100; block++) {
		for (uint32_t i = 0; i < 32; i++)
			number[i] = block * 32 + i;
		for (uint32_t i = 31; i > 0; i--) {
			seed = seed * 1103515245u + 12345;
			uint32_t j = (seed >> 16) % (i + 1), keep = number[i];
			number[i] = number[j];
			number[j] = keep;
		}
		for (uint32_t i = 0; i < 32; i++)
			packet_order_add(&order, number[i]);
	}
	CU_ASSERT_EQUAL(order.lost, 0);
	CU_ASSERT_EQUAL(order.doubled, 0);
	CU_ASSERT_TRUE(order.late > 1000);
	CU_ASSERT_EQUAL(order.next, 3200);
}

BH_SUITE("packet", { "sum_is_that_of_rfc_1071", sum_is_that_of_rfc_1071 },
	 { "sum_of_an_ipv4_header", sum_of_an_ipv4_header },
	 { "sum_of_odd_lengths_is_padded_with_zero", sum_of_odd_lengths_is_padded_with_zero },
	 { "sum_folds_all_carries", sum_folds_all_carries },
	 { "smallest_packet_is_as_specified", smallest_packet_is_as_specified },
	 { "every_size_is_whole_and_right", every_size_is_whole_and_right },
	 { "any_wrong_byte_is_seen", any_wrong_byte_is_seen },
	 { "content_is_compared_beside_the_checksum", content_is_compared_beside_the_checksum },
	 { "strangers_are_told_from_damaged_ones", strangers_are_told_from_damaged_ones },
	 { "restamp_is_a_new_packet", restamp_is_a_new_packet },
	 { "udp_checksum_is_never_zero", udp_checksum_is_never_zero },
	 { "turned_around_is_right_and_goes_back", turned_around_is_right_and_goes_back },
	 { "imix_is_seven_four_one", imix_is_seven_four_one },
	 { "strangers_packets_become_templates", strangers_packets_become_templates },
	 { "in_order_nothing_is_counted", in_order_nothing_is_counted },
	 { "gaps_are_lost_until_they_arrive", gaps_are_lost_until_they_arrive },
	 { "first_of_a_stranger_is_its_start", first_of_a_stranger_is_its_start },
	 { "more_gaps_than_there_is_room_for", more_gaps_than_there_is_room_for },
	 { "shuffled_neighbours_all_arrive", shuffled_neighbours_all_arrive }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets that say who sent them and when: Ethernet, IPv4, UDP, and a payload that a receiver can
 * check to the last byte.
 *
 *	 0  Ethernet: destination, source, 0x0800
 *	14  IPv4: 20 bytes, its checksum made
 *	34  UDP: 8 bytes, its checksum made
 *	42  magic, run (of this process), stream (of one sender): 16 bits each
 *	48  number of the packet in its stream, 32 bits, wrapping around
 *	52  stamp, 64 bits, of the sender's clock
 *	60  bytes that follow from their place
 *
 * A template holds everything but number and stamp, and the sum of it, so making a packet is a copy
 * and one small addition, and checking one a comparison. Numbers are big-endian. Sizes are those of
 * the frame in memory: the four bytes of check sequence that a wire adds are not counted.
 */
#ifndef APP_PACKET_H
#define APP_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PACKET_MIN 60u /* the smallest Ethernet frame, and the smallest that holds all fields */
#define PACKET_MAX 9600u

#define PACKET_IP 14
#define PACKET_UDP 34
#define PACKET_MAGIC_AT 42
#define PACKET_NUMBER_AT 48
#define PACKET_STAMP_AT 52
#define PACKET_FILL_AT 60
#define PACKET_MAGIC 0xbe11

struct packet_flow {
	uint8_t dst[6], src[6];
	uint32_t dst_ip, src_ip; /* the first byte highest */
	uint16_t dst_port, src_port;
	uint16_t run, stream;
};

struct packet_template {
	uint32_t bytes;
	uint32_t sum; /* of pseudo-header, UDP and payload with number and stamp 0 */
	uint8_t data[PACKET_MAX] __attribute__((aligned(64)));
};

/* bytes: PACKET_MIN to PACKET_MAX. */
void packet_template_init(struct packet_template *t, const struct packet_flow *flow,
			  uint32_t bytes);

/* The ones' complement sum of RFC 1071 over bytes, added to `sum`; not folded. */
uint64_t packet_sum(const void *data, size_t bytes, uint64_t sum);
/* The checksum a sum makes: folded to 16 bits and complemented, as to be stored. */
static inline uint16_t packet_checksum(uint64_t sum)
{
	/* Adding the sum to itself turned around folds it: the carry out goes in again. */
	sum += sum >> 32 | sum << 32;
	uint32_t half = (uint32_t)(sum >> 32);
	half += half >> 16 | half << 16;
	return (uint16_t) ~(half >> 16);
}

typedef uint64_t packet_vec __attribute__((vector_size(16)));

static inline uint64_t packet_load64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static inline uint32_t packet_load32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

/* UDP has no checksum 0: it means that there is none (RFC 768). */
static inline uint16_t packet_udp_checksum(const struct packet_template *t, uint32_t number_be,
					   uint64_t stamp_be)
{
	uint16_t sum = packet_checksum((uint64_t)t->sum + number_be + (uint32_t)stamp_be +
				       (stamp_be >> 32));

	return sum ? sum : 0xffff;
}

/* Number, stamp and checksum anew in a packet of this template. */
static inline void packet_restamp(const struct packet_template *t, uint8_t *to, uint32_t number,
				  uint64_t stamp)
{
	uint32_t number_be = __builtin_bswap32(number);
	uint64_t stamp_be = __builtin_bswap64(stamp);
	uint16_t sum = packet_udp_checksum(t, number_be, stamp_be);

	memcpy(to + PACKET_UDP + 6, &sum, sizeof(sum));
	memcpy(to + PACKET_NUMBER_AT, &number_be, sizeof(number_be));
	memcpy(to + PACKET_STAMP_AT, &stamp_be, sizeof(stamp_be));
}

static inline void packet_write(const struct packet_template *t, uint8_t *to, uint32_t number,
				uint64_t stamp)
{
	/* A constant size is a few vectors, no call. */
	if (t->bytes <= 64)
		memcpy(to, t->data, t->bytes == 64 ? 64 : PACKET_MIN);
	if (t->bytes > PACKET_MIN && t->bytes != 64)
		memcpy(to, t->data, t->bytes);
	packet_restamp(t, to, number, stamp);
}

static inline uint32_t packet_number(const uint8_t *from)
{
	return __builtin_bswap32(packet_load32(from + PACKET_NUMBER_AT));
}

static inline uint64_t packet_stamp(const uint8_t *from)
{
	return __builtin_bswap64(packet_load64(from + PACKET_STAMP_AT));
}

/*
 * Whether the first 60 bytes, at least those being there, are a packet of this template: every
 * byte, the UDP checksum included, which here stands for the rest as it left the sender.
 */
static inline bool packet_is(const struct packet_template *t, const uint8_t *from)
{
	uint16_t sum = packet_udp_checksum(t, packet_load32(from + PACKET_NUMBER_AT),
					   packet_load64(from + PACKET_STAMP_AT));
	uint64_t last = packet_load64(t->data + 40);
	packet_vec a, b, c, d;

	memcpy(&a, from, 16);
	memcpy(&b, from + 16, 16);
	memcpy(&c, t->data, 16);
	memcpy(&d, t->data + 16, 16);
	a = (a ^ c) | (b ^ d);
	memcpy(&last, &sum, sizeof(sum));
	return (a[0] | a[1] | (packet_load64(from + 32) ^ packet_load64(t->data + 32)) |
		(packet_load64(from + 40) ^ last)) == 0;
}

/* The rest of it. */
static inline bool packet_fill_is(const struct packet_template *t, const uint8_t *from)
{
	return memcmp(from + PACKET_FILL_AT, t->data + PACKET_FILL_AT, t->bytes - PACKET_FILL_AT) ==
	       0;
}

/* What a packet of anybody's says. */
struct packet_info {
	uint16_t run, stream;
	uint32_t number;
	uint64_t stamp;
};

/*
 * Looks at a packet as a stranger does. NULL: one of ours, whole and right. Else what is wrong:
 * PACKET_FOREIGN is none of ours (no IPv4, no UDP, no magic), any other text a damaged one. Reads no
 * further than `bytes`.
 */
extern const char PACKET_FOREIGN[];
const char *packet_look(const uint8_t *from, uint32_t bytes, struct packet_info *info);

/* Destination and source of all layers change places: no checksum changes. */
void packet_turn_around(uint8_t *packet, uint32_t bytes);

/* ---- sizes ---- */

#define PACKET_IMIX 0 /* as a size: 7 of 64, 4 of 594, 1 of 1518 bytes, mixed */
#define PACKET_MIX_LEN 12

struct packet_mix {
	unsigned int count;   /* of templates */
	unsigned int average; /* bytes, rounded */
	uint32_t largest;
	uint8_t order[PACKET_MIX_LEN];
	struct packet_template t[3];
};

void packet_mix_init(struct packet_mix *mix, const struct packet_flow *flow, uint32_t bytes);

static inline const struct packet_template *packet_mix_next(const struct packet_mix *mix,
							    uint32_t number)
{
	if (__builtin_expect(mix->count == 1, 1))
		return &mix->t[0];
	return &mix->t[mix->order[number % PACKET_MIX_LEN]];
}

/* The template of that size, or NULL. */
static inline const struct packet_template *packet_mix_find(const struct packet_mix *mix,
							    uint32_t bytes)
{
	if (__builtin_expect(mix->t[0].bytes == bytes, 1))
		return &mix->t[0];
	for (unsigned int i = 1; i < mix->count; i++)
		if (mix->t[i].bytes == bytes)
			return &mix->t[i];
	return NULL;
}

/*
 * Makes a packet that packet_look() found right a template of the mix, in place of the one of its
 * size; if there are three of other sizes, in place of one of them.
 */
void packet_mix_adopt(struct packet_mix *mix, const uint8_t *packet, uint32_t bytes);

/* ---- order ---- */

#define PACKET_GAPS 64

/*
 * What arrived of a stream. A number ahead of the expected one opens a gap, whose numbers are lost
 * until they come; one that comes late closes its place in a gap; one that is in no gap came twice.
 * Of more than PACKET_GAPS gaps the oldest is forgotten: what comes of it late counts as doubled.
 */
struct packet_order {
	uint32_t next;
	bool started;
	unsigned int gaps;
	uint64_t lost, late, doubled;
	struct {
		uint32_t first, count;
	} gap[PACKET_GAPS];
};

/* As from the start of a stream; without this (zeroed) the first number seen is the start. */
void packet_order_start(struct packet_order *o, uint32_t first);
void packet_order_odd(struct packet_order *o, uint32_t number);

static inline void packet_order_add(struct packet_order *o, uint32_t number)
{
	if (__builtin_expect(number == o->next && o->started, 1))
		o->next++;
	else
		packet_order_odd(o, number);
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "packet.h"

#include <stddef.h>

const char PACKET_FOREIGN[] = "not one of ours";

#define ETHERTYPE_IPV4 0x0800
#define IP_BYTES 20
#define UDP_BYTES 8
#define PROTOCOL_UDP 17

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void put32(uint8_t *at, uint32_t v)
{
	put16(at, (uint16_t)(v >> 16));
	put16(at + 2, (uint16_t)v);
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

uint64_t packet_sum(const void *data, size_t bytes, uint64_t sum)
{
	const uint8_t *at = data;
	uint16_t last = 0;

	/* Words of 32 bits: 2^16 is 1 in this arithmetic, so folding once at the end is enough. */
	for (; bytes >= 4; at += 4, bytes -= 4)
		sum += packet_load32(at);
	if (bytes >= 2) {
		memcpy(&last, at, 2);
		sum += last;
		at += 2;
		bytes -= 2;
	}
	if (bytes) {
		last = 0;
		memcpy(&last, at, 1);
		sum += last;
	}
	return sum;
}

/* Of addresses, protocol and UDP length (RFC 768), which the header has but for the padding. */
static uint64_t sum_of_pseudo_header(const uint8_t *ip)
{
	uint8_t rest[4] = { 0, ip[9] };

	memcpy(rest + 2, ip + IP_BYTES + 4, 2);
	return packet_sum(rest, sizeof(rest), packet_sum(ip + 12, 8, 0));
}

static uint8_t fill_byte(uint32_t at)
{
	return (uint8_t)(at * 29 + (at >> 8) * 113);
}

static void write_ip(uint8_t *ip, const struct packet_flow *flow, uint32_t bytes)
{
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)(bytes - PACKET_IP));
	put16(ip + 6, 0x4000); /* do not fragment */
	ip[8] = 64;
	ip[9] = PROTOCOL_UDP;
	put32(ip + 12, flow->src_ip);
	put32(ip + 16, flow->dst_ip);
	uint16_t sum = packet_checksum(packet_sum(ip, IP_BYTES, 0));
	memcpy(ip + 10, &sum, sizeof(sum));
}

/* The sum of a template that has everything but number, stamp and UDP checksum. */
static void add_up(struct packet_template *t)
{
	uint64_t sum = packet_sum(t->data + PACKET_UDP, t->bytes - PACKET_UDP,
				  sum_of_pseudo_header(t->data + PACKET_IP));

	sum = (sum >> 32) + (uint32_t)sum;
	t->sum = (uint32_t)((sum >> 16) + (sum & 0xffff));
	packet_restamp(t, t->data, 0, 0);
}

void packet_template_init(struct packet_template *t, const struct packet_flow *flow, uint32_t bytes)
{
	uint8_t *p = t->data;

	memset(t, 0, sizeof(*t));
	t->bytes = bytes;
	memcpy(p, flow->dst, 6);
	memcpy(p + 6, flow->src, 6);
	put16(p + 12, ETHERTYPE_IPV4);
	write_ip(p + PACKET_IP, flow, bytes);
	put16(p + PACKET_UDP, flow->src_port);
	put16(p + PACKET_UDP + 2, flow->dst_port);
	put16(p + PACKET_UDP + 4, (uint16_t)(bytes - PACKET_UDP));
	put16(p + PACKET_MAGIC_AT, PACKET_MAGIC);
	put16(p + PACKET_MAGIC_AT + 2, flow->run);
	put16(p + PACKET_MAGIC_AT + 4, flow->stream);
	for (uint32_t i = PACKET_FILL_AT; i < bytes; i++)
		p[i] = fill_byte(i);
	uint64_t sum =
		packet_sum(p + PACKET_UDP, bytes - PACKET_UDP, sum_of_pseudo_header(p + PACKET_IP));
	sum = (sum >> 32) + (uint32_t)sum;
	t->sum = (uint32_t)((sum >> 16) + (sum & 0xffff));
	packet_restamp(t, p, 0, 0);
}

static bool is_ours(const uint8_t *p, uint32_t bytes)
{
	return bytes >= PACKET_MIN && get16(p + 12) == ETHERTYPE_IPV4 && p[PACKET_IP] == 0x45 &&
	       p[PACKET_IP + 9] == PROTOCOL_UDP && get16(p + PACKET_MAGIC_AT) == PACKET_MAGIC;
}

const char *packet_look(const uint8_t *from, uint32_t bytes, struct packet_info *info)
{
	const uint8_t *ip = from + PACKET_IP;

	if (!is_ours(from, bytes))
		return PACKET_FOREIGN;
	if (packet_checksum(packet_sum(ip, IP_BYTES, 0)) != 0)
		return "the checksum of its IPv4 header is wrong";
	if (get16(ip + 2) != bytes - PACKET_IP)
		return "its IPv4 length is not that of the frame";
	if (get16(from + PACKET_UDP + 4) != bytes - PACKET_UDP)
		return "its UDP length is not that of the frame";
	if (packet_checksum(packet_sum(from + PACKET_UDP, bytes - PACKET_UDP,
				       sum_of_pseudo_header(ip))) != 0)
		return "its UDP checksum is wrong";
	for (uint32_t i = PACKET_FILL_AT; i < bytes; i++)
		if (from[i] != fill_byte(i))
			return "its content is not what was sent, though the checksum is right";
	info->run = get16(from + PACKET_MAGIC_AT + 2);
	info->stream = get16(from + PACKET_MAGIC_AT + 4);
	info->number = packet_number(from);
	info->stamp = packet_stamp(from);
	return NULL;
}

static void swap(uint8_t *a, uint8_t *b, size_t bytes)
{
	uint8_t keep[8];

	memcpy(keep, a, bytes);
	memcpy(a, b, bytes);
	memcpy(b, keep, bytes);
}

void packet_turn_around(uint8_t *packet, uint32_t bytes)
{
	if (bytes < PACKET_IP)
		return;
	swap(packet, packet + 6, 6);
	if (bytes < PACKET_MAGIC_AT || get16(packet + 12) != ETHERTYPE_IPV4 ||
	    packet[PACKET_IP] != 0x45)
		return;
	swap(packet + PACKET_IP + 12, packet + PACKET_IP + 16, 4);
	if (packet[PACKET_IP + 9] == PROTOCOL_UDP)
		swap(packet + PACKET_UDP, packet + PACKET_UDP + 2, 2);
}

/* ---- sizes ---- */

void packet_mix_init(struct packet_mix *mix, const struct packet_flow *flow, uint32_t bytes)
{
	static const uint8_t order[PACKET_MIX_LEN] = { 0, 1, 0, 0, 1, 0, 2, 0, 1, 0, 1, 0 };
	static const uint32_t sizes[] = { 64, 594, 1518 };
	uint32_t total = 0;

	memset(mix, 0, sizeof(*mix));
	if (bytes != PACKET_IMIX) {
		mix->count = 1;
		mix->average = mix->largest = bytes;
		packet_template_init(&mix->t[0], flow, bytes);
		return;
	}
	mix->count = sizeof(sizes) / sizeof(*sizes);
	mix->largest = sizes[mix->count - 1];
	memcpy(mix->order, order, sizeof(order));
	for (unsigned int i = 0; i < mix->count; i++)
		packet_template_init(&mix->t[i], flow, sizes[i]);
	for (unsigned int i = 0; i < PACKET_MIX_LEN; i++)
		total += sizes[order[i]];
	mix->average = (total + PACKET_MIX_LEN / 2) / PACKET_MIX_LEN;
}

void packet_mix_adopt(struct packet_mix *mix, const uint8_t *packet, uint32_t bytes)
{
	const unsigned int room = sizeof(mix->t) / sizeof(*mix->t);
	unsigned int i = 0;

	while (i < mix->count && mix->t[i].bytes != bytes)
		i++;
	if (i == room)
		i = bytes % room;
	else if (i == mix->count)
		mix->count++;
	struct packet_template *t = &mix->t[i];
	memcpy(t->data, packet, bytes);
	t->bytes = bytes;
	memset(t->data + PACKET_UDP + 6, 0, 2);
	memset(t->data + PACKET_NUMBER_AT, 0, PACKET_FILL_AT - PACKET_NUMBER_AT);
	add_up(t);
}

/* ---- order ---- */

void packet_order_start(struct packet_order *o, uint32_t first)
{
	memset(o, 0, offsetof(struct packet_order, gap));
	o->started = true;
	o->next = first;
}

static void remove_gap(struct packet_order *o, unsigned int at)
{
	o->gaps--;
	memmove(&o->gap[at], &o->gap[at + 1], (o->gaps - at) * sizeof(o->gap[0]));
}

static void add_gap(struct packet_order *o, unsigned int at, uint32_t first, uint32_t count)
{
	if (count == 0)
		return;
	if (o->gaps == PACKET_GAPS) {
		if (at == 0)
			return;
		remove_gap(o, 0);
		at--;
	}
	memmove(&o->gap[at + 1], &o->gap[at], (o->gaps - at) * sizeof(o->gap[0]));
	o->gap[at].first = first;
	o->gap[at].count = count;
	o->gaps++;
}

/* One that was missed: what is left of its gap lies before and behind it. */
static void close_place(struct packet_order *o, unsigned int at, uint32_t number)
{
	uint32_t first = o->gap[at].first, before = number - first;
	uint32_t behind = o->gap[at].count - before - 1;

	o->lost--;
	o->late++;
	remove_gap(o, at);
	add_gap(o, at, number + 1, behind);
	add_gap(o, at, first, before);
}

void packet_order_odd(struct packet_order *o, uint32_t number)
{
	if (!o->started)
		packet_order_start(o, number);
	uint32_t ahead = number - o->next;
	if (ahead < 1u << 31) { /* serial numbers: half the circle is ahead */
		o->lost += ahead;
		add_gap(o, o->gaps, o->next, ahead);
		o->next = number + 1;
		return;
	}
	for (unsigned int i = o->gaps; i-- > 0;) {
		if (number - o->gap[i].first < o->gap[i].count) {
			close_place(o, i, number);
			return;
		}
	}
	o->doubled++;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Mutations that keep to steps. */
#include <stdlib.h>
#include <string.h>

#include "device.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
				 uint8_t *out, size_t max_out, unsigned int seed);

static size_t steps_of(size_t size)
{
	size_t n = size ? (size - 1) / sizeof(struct step) : 0;

	return n < MAX_STEPS ? n : MAX_STEPS;
}

/* A step of its own making: a kind, and numbers in it. */
static void invent(uint8_t *at, unsigned int *seed)
{
	for (size_t i = 0; i < sizeof(struct step); i++)
		at[i] = (uint8_t)(rand_r(seed) >> 8);
	if (rand_r(seed) & 0x100) /* the first kinds have the more to say */
		at[0] = (uint8_t)((at[0] & 0xe0) | rand_r(seed) % KINDS);
	if (rand_r(seed) & 0x100) /* data in mapped memory, that takes none it may not have */
		at[8] &= 8;
	if (rand_r(seed) & 0x100)
		at[3] &= 0x7f;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	size_t n = steps_of(size), most = steps_of(max_size), i, k;
	const size_t one = sizeof(struct step);
	uint8_t *step = data + 1, saved[sizeof(struct step)];

	if (size == 0)
		data[0] = 0x10;
	i = n ? (size_t)rand_r(&seed) % n : 0;
	k = n ? (size_t)rand_r(&seed) % n : 0;
	switch (rand_r(&seed) % 8) {
	case 0: /* a new one */
	case 1:
		if (n < most) {
			memmove(step + (i + 1) * one, step + i * one, (n - i) * one);
			invent(step + i * one, &seed);
			n++;
		}
		break;
	case 2: /* one again */
		if (n && n < most) {
			memcpy(saved, step + k * one, one);
			memmove(step + (i + 1) * one, step + i * one, (n - i) * one);
			memcpy(step + i * one, saved, one);
			n++;
		}
		break;
	case 3: /* one less */
		if (n > 1) {
			memmove(step + i * one, step + (i + 1) * one, (n - i - 1) * one);
			n--;
		}
		break;
	case 4: /* in another order */
		if (n) {
			memcpy(saved, step + k * one, one);
			memcpy(step + k * one, step + i * one, one);
			memcpy(step + i * one, saved, one);
		}
		break;
	case 5:
		data[0] ^= (uint8_t)(1u << rand_r(&seed) % 8);
		break;
	default: /* changed inside, with what the comparisons it meets suggest */
		if (n)
			LLVMFuzzerMutate(step + i * one, one, one);
		break;
	}
	return 1 + n * one;
}

/* The beginning of one, the end of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
				 uint8_t *out, size_t max_out, unsigned int seed)
{
	const size_t one = sizeof(struct step);
	size_t na = steps_of(a_size), nb = steps_of(b_size), most = steps_of(max_out);
	size_t head, tail;

	if (max_out == 0)
		return 0;
	out[0] = a_size ? a[0] : 0x10;
	head = na ? (size_t)rand_r(&seed) % (na + 1) : 0;
	head = head < most ? head : most;
	tail = nb ? (size_t)rand_r(&seed) % (nb + 1) : 0;
	tail = tail < most - head ? tail : most - head;
	if (head)
		memcpy(out + 1, a + 1, head * one);
	if (tail)
		memcpy(out + 1 + head * one, b + 1 + (nb - tail) * one, tail * one);
	return 1 + (head + tail) * one;
}

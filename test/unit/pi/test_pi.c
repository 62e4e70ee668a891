/* SPDX-License-Identifier: BSD-3-Clause */
/* Tuples: generated, verified, refused; every format, mask, escape, and every place to be cut. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/pi.h>

#include "unit.h"

#define BLOCKS 3u
#define MOST (BLOCKS * (4096 + 128))

/* A format, and three blocks of it in one buffer (interleaved) or two. */
struct kit {
	struct bh_pi pi;
	uint8_t data[MOST], md[BLOCKS * 128];
	size_t data_len, md_len;
	struct iovec d, m;
};

static void fill(uint8_t *p, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525u + 1013904223u;
		p[i] = (uint8_t)(seed >> 24);
	}
}

static void kit_init(struct kit *k, uint32_t data, uint16_t md, uint8_t type, bool inter,
		     bool first)
{
	memset(k, 0, sizeof(*k));
	k->pi = (struct bh_pi){ .data_bytes = data,
				.md_bytes = md,
				.type = type,
				.interleaved = inter,
				.first = first,
				.check = BH_PI_CHECK_ALL,
				.app_tag = 0x1234,
				.app_mask = 0xffff,
				.ref_tag = 0xfffffffe };
	k->data_len = (size_t)BLOCKS * (data + (inter ? md : 0u));
	k->md_len = inter ? 0 : (size_t)BLOCKS * md;
	fill(k->data, k->data_len, data + md);
	fill(k->md, k->md_len, type);
	k->d = (struct iovec){ k->data, k->data_len };
	k->m = (struct iovec){ k->md, k->md_len };
}

static int generate(struct kit *k)
{
	return bh_pi_generate(&k->pi, &k->d, 1, k->md_len ? &k->m : NULL, k->md_len != 0, BLOCKS);
}

static int verify(struct kit *k, struct bh_pi_error *error)
{
	return bh_pi_verify(&k->pi, &k->d, 1, k->md_len ? &k->m : NULL, k->md_len != 0, BLOCKS,
			    error);
}

static uint8_t *block_data(struct kit *k, uint32_t block)
{
	return k->data + block * (k->pi.data_bytes + (k->pi.interleaved ? k->pi.md_bytes : 0u));
}

static uint8_t *block_md(struct kit *k, uint32_t block)
{
	return k->pi.interleaved ? block_data(k, block) + k->pi.data_bytes
				 : k->md + block * k->pi.md_bytes;
}

static struct bh_pi_tuple *tuple(struct kit *k, uint32_t block)
{
	return (struct bh_pi_tuple *)(block_md(k, block) +
				      (k->pi.first ? 0 : k->pi.md_bytes - BH_PI_TUPLE));
}

/* The guard by the words of the specification, from a copy of what it covers. */
static uint16_t guard_of(struct kit *k, uint32_t block)
{
	uint8_t covered[4096 + 128];
	size_t md = k->pi.first ? 0 : k->pi.md_bytes - BH_PI_TUPLE;
	uint16_t crc = 0;

	memcpy(covered, block_data(k, block), k->pi.data_bytes);
	memcpy(covered + k->pi.data_bytes, block_md(k, block), md);
	for (size_t i = 0; i < k->pi.data_bytes + md; i++) {
		crc ^= (uint16_t)(covered[i] << 8);
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc << 1) ^ (crc & 0x8000 ? 0x8bb7 : 0);
	}
	return crc;
}

/* Calls fn with every format: sizes, types, places of the tuple, ways of metadata. */
static void every_format(void (*fn)(struct kit *k))
{
	static const struct {
		uint32_t data;
		uint16_t md;
	} sizes[] = { { 512, 8 }, { 512, 16 }, { 4096, 8 }, { 4096, 64 }, { 520, 128 } };
	struct kit *k = malloc(sizeof(*k));

	for (int i = 0; i < 5; i++)
		for (uint8_t type = 1; type <= 3; type++)
			for (int bits = 0; bits < 4; bits++) {
				kit_init(k, sizes[i].data, sizes[i].md, type, bits & 1, bits & 2);
				fn(k);
			}
	free(k);
}

static void tuples_are_right(struct kit *k)
{
	struct kit *was = malloc(sizeof(*was));

	*was = *k;
	CU_ASSERT_EQUAL(generate(k), 0);
	for (uint32_t i = 0; i < BLOCKS; i++) {
		struct bh_pi_tuple *t = tuple(k, i);

		CU_ASSERT_EQUAL(bh_pi_guard(t), guard_of(k, i));
		CU_ASSERT_EQUAL(t->guard[0], guard_of(k, i) >> 8);
		CU_ASSERT_EQUAL(bh_pi_app_tag(t), 0x1234);
		/* Types 1 and 2 count up, over the end of 32 bits too. */
		CU_ASSERT_EQUAL(bh_pi_ref_tag(t), 0xfffffffe + (k->pi.type == 3 ? 0 : i));
		/* Nothing else was written to. */
		memcpy(was->data + ((uint8_t *)t - k->data), t, k->pi.interleaved ? sizeof(*t) : 0);
		memcpy(was->md + (k->pi.interleaved ? 0 : (uint8_t *)t - k->md), t,
		       k->pi.interleaved ? 0 : sizeof(*t));
	}
	CU_ASSERT_EQUAL(memcmp(was->data, k->data, MOST), 0);
	CU_ASSERT_EQUAL(memcmp(was->md, k->md, sizeof(k->md)), 0);
	CU_ASSERT_EQUAL(verify(k, NULL), 0);
	free(was);
}

static void generates_in_every_format(void)
{
	every_format(tuples_are_right);
}

/* Nothing is to be seen of a checked-for difference if its check is off. */
static void differs_in(struct kit *k, uint8_t check, uint32_t block, uint32_t expected,
		       uint32_t got)
{
	struct bh_pi_error e;

	k->pi.check = BH_PI_CHECK_ALL;
	CU_ASSERT_EQUAL(verify(k, &e), -EILSEQ);
	CU_ASSERT_EQUAL(e.check, check);
	CU_ASSERT_EQUAL(e.block, block);
	CU_ASSERT_EQUAL(e.expected, expected);
	CU_ASSERT_EQUAL(e.got, got);
	CU_ASSERT_EQUAL(verify(k, NULL), -EILSEQ);
	k->pi.check = check;
	CU_ASSERT_EQUAL(verify(k, &e), -EILSEQ);
	k->pi.check = BH_PI_CHECK_ALL & ~check;
	CU_ASSERT_EQUAL(verify(k, &e), 0);
	CU_ASSERT_EQUAL(e.check, 0);
	k->pi.check = BH_PI_CHECK_ALL;
}

static void each_field_is_verified(struct kit *k)
{
	struct bh_pi_tuple *t = tuple(k, 1);
	uint16_t guard;

	CU_ASSERT_EQUAL(generate(k), 0);
	guard = bh_pi_guard(t);
	t->guard[1] ^= 1;
	differs_in(k, BH_PI_CHECK_GUARD, 1, guard, guard ^ 1u);
	t->guard[1] ^= 1;
	t->app_tag[0] ^= 0x80;
	differs_in(k, BH_PI_CHECK_APP, 1, 0x1234, 0x9234);
	t->app_tag[0] ^= 0x80;
	t->ref_tag[3] ^= 4;
	if (k->pi.type == 3)
		CU_ASSERT_EQUAL(verify(k, NULL), 0)
	else
		differs_in(k, BH_PI_CHECK_REF, 1, 0xffffffff, 0xfffffffb);
	t->ref_tag[3] ^= 4;
	block_data(k, 2)[77] ^= 1;
	differs_in(k, BH_PI_CHECK_GUARD, 2, guard_of(k, 2), bh_pi_guard(tuple(k, 2)));
	block_data(k, 2)[77] ^= 1;
	CU_ASSERT_EQUAL(verify(k, NULL), 0);
}

static void verifies_each_field_in_every_format(void)
{
	every_format(each_field_is_verified);
}

static void coverage_of_metadata(struct kit *k)
{
	uint8_t *other;

	if (k->pi.md_bytes == BH_PI_TUPLE)
		return;
	CU_ASSERT_EQUAL(generate(k), 0);
	other = block_md(k, 0) + (k->pi.first ? BH_PI_TUPLE : 0);
	*other ^= 0x10;
	CU_ASSERT_EQUAL(verify(k, NULL), k->pi.first ? 0 : -EILSEQ);
}

static void guard_covers_metadata_before_the_tuple_only(void)
{
	every_format(coverage_of_metadata);
}

static void every_bit_of_the_application_tags_mask(void)
{
	struct kit *k = malloc(sizeof(*k));
	struct bh_pi_error e;

	kit_init(k, 512, 8, 1, true, false);
	k->pi.app_tag = 0;
	CU_ASSERT_EQUAL(generate(k), 0);
	for (unsigned int bit = 0; bit < 16; bit++) {
		bh_pi_set(tuple(k, 0), bh_pi_guard(tuple(k, 0)), (uint16_t)(1u << bit),
			  k->pi.ref_tag);
		for (unsigned int masked = 0; masked < 16; masked++) {
			k->pi.app_mask = (uint16_t)(1u << masked);
			CU_ASSERT_EQUAL(verify(k, &e), masked == bit ? -EILSEQ : 0);
			CU_ASSERT_EQUAL(e.got, masked == bit ? 1u << bit : 0);
		}
		k->pi.app_mask = (uint16_t) ~(1u << bit);
		CU_ASSERT_EQUAL(verify(k, NULL), 0);
	}
	k->pi.app_mask = 0;
	CU_ASSERT_EQUAL(verify(k, NULL), 0);
	free(k);
}

static void escapes(struct kit *k)
{
	struct bh_pi_tuple *t = tuple(k, 1);

	CU_ASSERT_EQUAL(generate(k), 0);
	block_data(k, 1)[0] ^= 1;
	bh_pi_set(t, 0, 0xffff, 1);
	CU_ASSERT_EQUAL(verify(k, NULL), k->pi.type == 3 ? -EILSEQ : 0);
	bh_pi_set(t, 0, 0xffff, 0xffffffff);
	CU_ASSERT_EQUAL(verify(k, NULL), 0);
	/* A reference tag alone is none. */
	bh_pi_set(t, 0, 0xfffe, 0xffffffff);
	CU_ASSERT_EQUAL(verify(k, NULL), -EILSEQ);
}

static void escaped_blocks_are_not_verified(void)
{
	every_format(escapes);
}

/* Moves the kit's buffers into pieces cut at `cut` and a byte, and four, later. */
static unsigned int scatter(const struct iovec *whole, size_t cut, struct iovec out[4])
{
	size_t at[5] = { 0, cut, cut + 1, cut + 5, whole->iov_len }, last = 0;
	unsigned int n = 0;

	for (int i = 1; i < 5; i++) {
		size_t to = at[i] < whole->iov_len ? at[i] : whole->iov_len;

		/* Empty pieces stay: they are legal. */
		out[n++] = (struct iovec){ (uint8_t *)whole->iov_base + last, to - last };
		last = to;
	}
	return n;
}

static void cut_everywhere(struct kit *k)
{
	struct kit *one = malloc(sizeof(*one));
	struct iovec d[4], m[4];
	unsigned int dn, mn = 0, wrong = 0;
	size_t cut, len = k->data_len, step = len > 2000 ? 7 : 1;

	*one = *k;
	CU_ASSERT_EQUAL(generate(k), 0);
	for (cut = 0; cut <= len; cut += step) {
		struct bh_pi_error e;

		/* The same content before, at the copy's own addresses. */
		fill(one->data, one->data_len, one->pi.data_bytes + one->pi.md_bytes);
		fill(one->md, one->md_len, one->pi.type);
		one->d.iov_base = one->data;
		one->m.iov_base = one->md;
		dn = scatter(&one->d, cut, d);
		if (one->md_len)
			mn = scatter(&one->m, cut % one->md_len, m);
		wrong += bh_pi_generate(&one->pi, d, dn, mn ? m : NULL, mn, BLOCKS) != 0;
		wrong += memcmp(one->data, k->data, len) != 0;
		wrong += memcmp(one->md, k->md, sizeof(k->md)) != 0;
		wrong += bh_pi_verify(&one->pi, d, dn, mn ? m : NULL, mn, BLOCKS, &e) != 0;
		tuple(one, 2)->guard[0] ^= 1;
		wrong += bh_pi_verify(&one->pi, d, dn, mn ? m : NULL, mn, BLOCKS, &e) != -EILSEQ;
		wrong += e.block != 2;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	free(one);
}

static void vectors_cut_at_every_byte(void)
{
	every_format(cut_everywhere);
}

static void insert_and_strip(struct kit *k)
{
	size_t data = (size_t)BLOCKS * k->pi.data_bytes;
	uint8_t *plain = malloc(data), *back = malloc(data);
	struct iovec src = { plain, data }, dst = { back, data }, sd[4], dd[4];
	struct iovec *m = k->md_len ? &k->m : NULL;
	struct bh_pi_error e;
	unsigned int n = scatter(&src, 700, sd), dn = scatter(&k->d, 519, dd);

	fill(plain, data, 5);
	memset(k->data, 0xee, sizeof(k->data));
	memset(k->md, 0xee, sizeof(k->md));
	CU_ASSERT_EQUAL(bh_pi_insert(&k->pi, sd, n, dd, dn, m, m != NULL, BLOCKS), 0);
	CU_ASSERT_EQUAL(verify(k, &e), 0);
	for (uint32_t i = 0; i < BLOCKS; i++) {
		CU_ASSERT_EQUAL(
			memcmp(block_data(k, i), plain + i * k->pi.data_bytes, k->pi.data_bytes),
			0);
		if (k->pi.md_bytes > BH_PI_TUPLE)
			CU_ASSERT_EQUAL(block_md(k, i)[k->pi.first ? BH_PI_TUPLE : 0], 0);
	}
	CU_ASSERT_EQUAL(k->data[k->data_len], 0xee);
	CU_ASSERT_EQUAL(bh_pi_strip(&k->pi, dd, dn, m, m != NULL, &dst, 1, BLOCKS, &e), 0);
	CU_ASSERT_EQUAL(memcmp(plain, back, data), 0);
	block_data(k, 1)[3] ^= 1;
	CU_ASSERT_EQUAL(bh_pi_strip(&k->pi, dd, dn, m, m != NULL, &dst, 1, BLOCKS, &e), -EILSEQ);
	CU_ASSERT_EQUAL(e.block, 1);
	CU_ASSERT_EQUAL(e.check, BH_PI_CHECK_GUARD);
	dst.iov_len--;
	CU_ASSERT_EQUAL(bh_pi_strip(&k->pi, dd, dn, m, m != NULL, &dst, 1, BLOCKS, &e), -EINVAL);
	CU_ASSERT_EQUAL(bh_pi_insert(&k->pi, &dst, 1, dd, dn, m, m != NULL, BLOCKS), -EINVAL);
	free(plain);
	free(back);
}

static void inserts_and_strips_while_copying(void)
{
	every_format(insert_and_strip);
}

static void sizes_that_do_not_match_are_refused(void)
{
	struct kit *k = malloc(sizeof(*k));
	struct iovec huge[2] = { { NULL, SIZE_MAX }, { NULL, SIZE_MAX } };

	for (int inter = 0; inter < 2; inter++) {
		kit_init(k, 512, 8, 1, inter, false);
		for (int by = -1; by <= 1; by += 2) {
			k->d.iov_len = k->data_len + (size_t)by;
			CU_ASSERT_EQUAL(generate(k), -EINVAL);
			CU_ASSERT_EQUAL(verify(k, NULL), -EINVAL);
		}
		k->d.iov_len = k->data_len;
		CU_ASSERT_EQUAL(bh_pi_generate(&k->pi, huge, 2, NULL, 0, BLOCKS), -EINVAL);
		/* Metadata where there is none, none where there is some. */
		CU_ASSERT_EQUAL(bh_pi_generate(&k->pi, &k->d, 1, inter ? &k->d : NULL, inter, 3),
				-EINVAL);
	}
	k->pi.type = 0;
	CU_ASSERT_EQUAL(generate(k), -EINVAL);
	k->pi.type = 4;
	CU_ASSERT_EQUAL(generate(k), -EINVAL);
	k->pi.type = 1;
	k->pi.md_bytes = 7;
	k->d.iov_len = BLOCKS * 519;
	CU_ASSERT_EQUAL(generate(k), -EINVAL);
	CU_ASSERT_EQUAL(bh_pi_generate(&k->pi, NULL, 0, NULL, 0, 0), -EINVAL);
	k->pi.md_bytes = 8;
	CU_ASSERT_EQUAL(bh_pi_generate(&k->pi, NULL, 0, NULL, 0, 0), 0);
	free(k);
}

static void errors_are_put_into_words(void)
{
	struct bh_pi_error e = { 3, BH_PI_CHECK_GUARD, 0xabcd, 0x12 };
	char text[BH_PI_ERROR_TEXT];

	CU_ASSERT_STRING_EQUAL(bh_pi_error_fmt(&e, text, sizeof(text)),
			       "block 3: guard 0012, expected abcd");
	e.check = BH_PI_CHECK_APP;
	CU_ASSERT_STRING_EQUAL(bh_pi_error_fmt(&e, text, sizeof(text)),
			       "block 3: application tag 0012, expected abcd");
	e.check = BH_PI_CHECK_REF;
	e.block = UINT32_MAX;
	CU_ASSERT_STRING_EQUAL(bh_pi_error_fmt(&e, text, sizeof(text)),
			       "block 4294967295: reference tag 00000012, expected 0000abcd");
	e.check = 0;
	CU_ASSERT_STRING_EQUAL(bh_pi_error_fmt(&e, text, sizeof(text)), "no error");
}

BH_SUITE("pi", { "generates_in_every_format", generates_in_every_format },
	 { "verifies_each_field_in_every_format", verifies_each_field_in_every_format },
	 { "guard_covers_metadata_before_the_tuple_only",
	   guard_covers_metadata_before_the_tuple_only },
	 { "every_bit_of_the_application_tags_mask", every_bit_of_the_application_tags_mask },
	 { "escaped_blocks_are_not_verified", escaped_blocks_are_not_verified },
	 { "vectors_cut_at_every_byte", vectors_cut_at_every_byte },
	 { "inserts_and_strips_while_copying", inserts_and_strips_while_copying },
	 { "sizes_that_do_not_match_are_refused", sizes_that_do_not_match_are_refused },
	 { "errors_are_put_into_words", errors_are_put_into_words })

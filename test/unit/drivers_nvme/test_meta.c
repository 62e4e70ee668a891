/* SPDX-License-Identifier: BSD-3-Clause */
/* Metadata and protection information against the fake controller. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define HALF (4u << 20)
#define MD (7u << 20) /* where in the rig's buffer separate metadata lies */

static void fill(uint8_t *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8) * 13);
}

/* A rig of one format. */
static void start(struct rig *r, uint8_t shift, uint16_t ms, bool extended, uint8_t dps, bool sgl)
{
	struct fake_opts o;

	fake_opts_init(&o);
	o.block_shift = shift;
	o.ms = ms;
	o.extended = extended;
	o.dps = dps;
	o.sgl = sgl;
	rig_start(r, &o, 31);
}

struct format {
	uint8_t shift;
	uint16_t ms;
	bool extended;
	uint8_t dps;
	bool sgl;
};

/*
 * Calls fn with a rig of every type, with nothing but the tuple and with more, interleaved and
 * not. What is left (place of the tuple, block size, SGLs) alternates: over all of them each comes
 * with each.
 */
static void every_format(void (*fn)(struct rig *r, const struct format *f))
{
	struct rig r;

	for (unsigned int i = 0; i < 16; i++) {
		uint8_t type = i & 3;
		bool odd = __builtin_popcount(i) & 1;
		struct format f = { .shift = odd ? 12 : 9,
				    .ms = !(i & 4) ? 8
					  : odd	   ? 64
						   : 16,
				    .extended = i & 8,
				    .sgl = (i >> 1 ^ i >> 3) & 1,
				    .dps = type };

		f.dps |= type && ((i >> 2 ^ i) & 1) ? BH_NVME_DPS_FIRST : 0;
		start(&r, f.shift, f.ms, f.extended, f.dps, f.sgl);
		fn(&r, &f);
		rig_close(&r);
	}
}

static bool pi_only(const struct format *f)
{
	return f->ms == 8 && (f->dps & BH_NVME_DPS_TYPE_MASK);
}

static int wait_rc(struct rig *r, struct tally *t, int rc)
{
	if (rc)
		return rc;
	CU_ASSERT_TRUE(rig_wait(r, t, t->done + 1));
	return t->status;
}

/* Without options: 0, a status, or -errno. */
static int plain(struct rig *r, uint8_t opc, uint8_t *buf, uint64_t lba, uint32_t blocks)
{
	struct tally t = { 0 };
	int rc = opc == BH_NVME_CMD_WRITE
			 ? bh_nvme_write(r->q, r->ns, buf, lba, blocks, 0, tally_done, &t)
		 : opc == BH_NVME_CMD_READ
			 ? bh_nvme_read(r->q, r->ns, buf, lba, blocks, 0, tally_done, &t)
			 : bh_nvme_compare(r->q, r->ns, buf, lba, blocks, 0, tally_done, &t);

	return wait_rc(r, &t, rc);
}

static int opts_rw(struct rig *r, bool write, struct iovec iov, uint64_t lba, uint32_t blocks,
		   const struct bh_nvme_rw_opts *o)
{
	struct tally t = { 0 };
	int rc = write ? bh_nvme_writev_opts(r->q, r->ns, &iov, 1, lba, blocks, o, tally_done, &t)
		       : bh_nvme_readv_opts(r->q, r->ns, &iov, 1, lba, blocks, o, tally_done, &t);

	return wait_rc(r, &t, rc);
}

static void format_is_told(struct rig *r, const struct format *f)
{
	struct bh_nvme_format out;
	uint32_t data = 1u << f->shift;

	bh_nvme_ns_format(r->ns, &out);
	CU_ASSERT_EQUAL(out.data_bytes, data);
	CU_ASSERT_EQUAL(out.md_bytes, f->ms);
	CU_ASSERT_EQUAL(out.interleaved, f->extended);
	CU_ASSERT_EQUAL(out.pi_type, f->dps & 7);
	CU_ASSERT_EQUAL(out.pi_first, (f->dps & BH_NVME_DPS_FIRST) != 0);
	CU_ASSERT_EQUAL(out.guard_bits, f->dps ? 16 : 0);
	CU_ASSERT_TRUE(out.served);
	CU_ASSERT_EQUAL(bh_nvme_ns_block_size(r->ns),
			data + (f->extended && !pi_only(f) ? f->ms : 0));
	CU_ASSERT_EQUAL(bh_nvme_ns_blocks(r->ns), FAKE_BLOCKS);
}

static void formats_are_told(void)
{
	every_format(format_is_told);
}

/* Plain calls: split at MDTS, at every kind of offset; what is behind the buffers stays. */
static void plain_round_trip(struct rig *r, const struct format *f)
{
	static const uint32_t blocks[] = { 1, 9, 200 };
	size_t len;

	for (int i = 0; i < 3; i++) {
		uint8_t *out = r->buf + 508 * i, *in = r->buf + HALF + 4 * i;

		len = blocks[i] * bh_nvme_ns_block_size(r->ns);
		fill(out, len, blocks[i]);
		memset(in, 0xee, len + 4096);
		if (!f->extended && !pi_only(f)) {
			CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_WRITE, out, 7, blocks[i]), -EINVAL);
			CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_READ, in, 7, blocks[i]), -EINVAL);
			continue;
		}
		CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_WRITE, out, 7, blocks[i]), 0);
		CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_READ, in, 7, blocks[i]), 0);
		for (uint32_t b = 0; b < blocks[i]; b++) {
			uint32_t unit = bh_nvme_ns_block_size(r->ns), data = 1u << f->shift;

			CU_ASSERT_EQUAL(memcmp(out + b * unit, in + b * unit, data), 0);
			CU_ASSERT_EQUAL(memcmp(fake_block(r->fake, 1, 7 + b), in + b * unit, unit),
					0);
		}
		CU_ASSERT_EQUAL(in[len], 0xee);
		CU_ASSERT_EQUAL(in[len + 4095], 0xee);
	}
	CU_ASSERT_EQUAL(fake_get(&r->fake->practs) != 0,
			(f->dps & 7) && (f->extended || pi_only(f)));
	CU_ASSERT(fake_get(&r->fake->max_bytes) <= 32768);
}

static void calls_without_options(void)
{
	every_format(plain_round_trip);
}

static void corrupt(struct rig *r, const struct format *f)
{
	uint8_t *in = r->buf + HALF, *b, *t;

	if (!(f->dps & 7) || (!f->extended && !pi_only(f)))
		return;
	fill(r->buf, 70 * (4096 + 64), 1);
	CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_WRITE, r->buf, 0, 70), 0);
	b = fake_block(r->fake, 1, 69);
	t = b + (1u << f->shift) + (f->dps & BH_NVME_DPS_FIRST ? 0 : f->ms - 8);
	b[3] ^= 1;
	CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_READ, in, 0, 70), BH_NVME_SC_GUARD_CHECK_ERROR);
	CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_READ, in, 0, 69), 0);
	b[3] ^= 1;
	t[7] ^= 1;
	CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_READ, in, 0, 70),
			(f->dps & 7) == 3 ? 0 : BH_NVME_SC_REFTAG_CHECK_ERROR);
	t[7] ^= 1;
	t[2] ^= 1; /* nobody looks at the application tag */
	CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_READ, in, 0, 70), 0);
}

static void calls_without_options_verify(void)
{
	every_format(corrupt);
}

/* Write Zeroes makes protection information, of every part with its own reference tag. */
static void zeroes_can_be_read(struct rig *r, const struct format *f)
{
	struct tally t = { 0 };

	if (!f->extended && !pi_only(f))
		return;
	memset(r->buf, 0x77, 40 * (4096 + 64));
	CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_WRITE, r->buf, 0, 40), 0);
	CU_ASSERT_EQUAL(bh_nvme_write_zeroes(r->q, r->ns, 3, 20, 0, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(r, &t, 1));
	CU_ASSERT_EQUAL(t.errors, 0);
	CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_READ, r->buf, 2, 22), 0);
	CU_ASSERT_EQUAL(r->buf[0], 0x77);
	CU_ASSERT_EQUAL(r->buf[bh_nvme_ns_block_size(r->ns)], 0);
	CU_ASSERT_EQUAL(r->buf[21 * bh_nvme_ns_block_size(r->ns)], 0x77);
}

static void zeroes_are_protected(void)
{
	every_format(zeroes_can_be_read);
}

static void compare(struct rig *r, const struct format *f)
{
	uint32_t unit = bh_nvme_ns_block_size(r->ns);

	fill(r->buf, 9 * (4096 + 64), 3);
	if (!f->extended || pi_only(f)) {
		CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_COMPARE, r->buf, 1, 9), -EINVAL);
		return;
	}
	CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_WRITE, r->buf, 1, 9), 0);
	CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_READ, r->buf, 1, 9), 0);
	CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_COMPARE, r->buf, 1, 9), 0);
	r->buf[9 * unit - 1] ^= 1;
	CU_ASSERT_EQUAL(plain(r, BH_NVME_CMD_COMPARE, r->buf, 1, 9), BH_NVME_SC_COMPARE_FAILURE);
}

static void compare_takes_metadata_where_it_is_in_the_buffer(void)
{
	every_format(compare);
}

/* The options of a request with all of its metadata, and the size of its data buffer. */
static size_t with_md(struct rig *r, const struct format *f, uint32_t blocks, enum bh_nvme_pi pi,
		      struct bh_nvme_rw_opts *o)
{
	bool strips = pi == BH_NVME_PI_CONTROLLER && pi_only(f);

	bh_nvme_rw_opts_init(o);
	o->pi = pi;
	if (!f->extended && !strips) {
		o->md = r->buf + MD;
		o->md_bytes = (size_t)blocks * f->ms;
	}
	return blocks * ((1ul << f->shift) + (f->extended && !strips ? f->ms : 0));
}

/* The driver makes and verifies; the controller verifies what the driver made, tags included. */
static void by_driver(struct rig *r, const struct format *f)
{
	struct bh_nvme_rw_opts o;
	struct bh_pi_error error = { 9, 9, 9, 9 };
	uint8_t *t, *in = r->buf + HALF;
	size_t len = with_md(r, f, 100, BH_NVME_PI_DRIVER, &o);
	int type = f->dps & 7;

	fill(r->buf, len, 11);
	fill(r->buf + MD, 100 * f->ms, 12);
	o.app_tag = 0xbe11;
	o.app_mask = 0xffff;
	o.set_ref_tag = type > 1;
	o.ref_tag = 0xfffffff0;
	o.error = &error;
	if (!type) {
		CU_ASSERT_EQUAL(opts_rw(r, true, (struct iovec){ r->buf, len }, 5, 100, &o),
				-EINVAL);
		return;
	}
	CU_ASSERT_EQUAL(opts_rw(r, true, (struct iovec){ r->buf, len }, 5, 100, &o), 0);
	CU_ASSERT_EQUAL(fake_get(&r->fake->prchks), BH_NVME_IO_PRCHK_GUARD | BH_NVME_IO_PRCHK_APP |
							    (type == 3 ? 0 : BH_NVME_IO_PRCHK_REF));
	CU_ASSERT_EQUAL(fake_get(&r->fake->practs), 0);
	memset(r->buf + MD, 0, 100 * f->ms);
	CU_ASSERT_EQUAL(opts_rw(r, false, (struct iovec){ in, len }, 5, 100, &o), 0);
	CU_ASSERT_EQUAL(memcmp(r->buf, in, len), 0);
	CU_ASSERT_EQUAL(error.check, 0);
	/* One byte of the last block goes bad, a tag, and what was expected differs. */
	t = fake_block(r->fake, 1, 104);
	t[17] ^= 8;
	CU_ASSERT_EQUAL(opts_rw(r, false, (struct iovec){ in, len }, 5, 100, &o),
			BH_NVME_SC_GUARD_CHECK_ERROR);
	CU_ASSERT_EQUAL(error.block, 99);
	CU_ASSERT_EQUAL(error.check, BH_PI_CHECK_GUARD);
	t[17] ^= 8;
	o.app_tag = 0xbe10;
	CU_ASSERT_EQUAL(opts_rw(r, false, (struct iovec){ in, len }, 5, 100, &o),
			BH_NVME_SC_APPTAG_CHECK_ERROR);
	CU_ASSERT_EQUAL(error.expected, 0xbe10);
	CU_ASSERT_EQUAL(error.got, 0xbe11);
	o.app_mask = 0xfff0;
	t += (1u << f->shift) + (f->dps & BH_NVME_DPS_FIRST ? 0 : f->ms - 8);
	t[4] ^= 0x80;
	CU_ASSERT_EQUAL(opts_rw(r, false, (struct iovec){ in, len }, 5, 100, &o),
			type == 3 ? 0 : BH_NVME_SC_REFTAG_CHECK_ERROR);
	CU_ASSERT_EQUAL(error.expected, type == 1 ? 104 : type == 2 ? 0xfffffff0 + 99 : 0);
}

static void the_driver_makes_and_verifies(void)
{
	every_format(by_driver);
}

/* Flags as given: a caller's own protection information, right and wrong. */
static void by_flags(struct rig *r, const struct format *f)
{
	struct bh_nvme_rw_opts o;
	size_t len = with_md(r, f, 12, BH_NVME_PI_FLAGS, &o);
	uint8_t *md = f->extended ? r->buf + (1u << f->shift) : r->buf + MD, *in = r->buf + HALF;
	uint8_t *t = md + (f->dps & BH_NVME_DPS_FIRST ? 0 : f->ms - 8);
	struct bh_pi pi = { .data_bytes = 1u << f->shift,
			    .md_bytes = f->ms,
			    .type = f->dps & 7,
			    .interleaved = f->extended,
			    .first = f->dps & BH_NVME_DPS_FIRST,
			    .app_tag = 0x10,
			    .ref_tag = 8 };
	struct iovec d = { r->buf, len }, m = { r->buf + MD, o.md_bytes }, back = { in, len };

	fill(r->buf, len, 2);
	fill(r->buf + MD, 12 * f->ms, 2);
	/* Not looked at: stored and read as it is. */
	CU_ASSERT_EQUAL(opts_rw(r, true, d, 8, 12, &o), 0);
	CU_ASSERT_EQUAL(opts_rw(r, false, back, 8, 12, &o), 0);
	CU_ASSERT_EQUAL(memcmp(r->buf, in, len), 0);
	CU_ASSERT_EQUAL(fake_get(&r->fake->prchks), 0);
	if (!pi.type)
		return;
	o.flags = BH_NVME_IO_PRCHK_GUARD | BH_NVME_IO_PRCHK_APP;
	o.flags |= pi.type == 3 ? 0 : BH_NVME_IO_PRCHK_REF;
	o.app_tag = 0x1f;
	o.app_mask = 0xfff0;
	CU_ASSERT_EQUAL(opts_rw(r, true, d, 8, 12, &o), BH_NVME_SC_GUARD_CHECK_ERROR);
	CU_ASSERT_EQUAL(bh_pi_generate(&pi, &d, 1, f->extended ? NULL : &m, !f->extended, 12), 0);
	CU_ASSERT_EQUAL(opts_rw(r, true, d, 8, 12, &o), 0);
	CU_ASSERT_EQUAL(opts_rw(r, false, back, 8, 12, &o), 0);
	o.app_tag = 0x0f;
	CU_ASSERT_EQUAL(opts_rw(r, false, back, 8, 12, &o), BH_NVME_SC_APPTAG_CHECK_ERROR);
	o.app_tag = 0x10;
	/* Escaped: whatever it says. */
	bh_pi_set((struct bh_pi_tuple *)t, 1, 0xffff, 0xffffffff);
	CU_ASSERT_EQUAL(opts_rw(r, true, d, 8, 12, &o), 0);
	CU_ASSERT_EQUAL(opts_rw(r, false, back, 8, 12, &o), 0);
}

static void flags_are_the_callers(void)
{
	every_format(by_flags);
}

/* Controller mode with a buffer for other metadata: it comes back, with valid tuples in it. */
static void by_controller(struct rig *r, const struct format *f)
{
	struct bh_nvme_rw_opts o;
	size_t len = with_md(r, f, 70, BH_NVME_PI_CONTROLLER, &o), other;
	uint8_t *in = r->buf + HALF, *md = r->buf + MD;

	fill(r->buf, len, 21);
	fill(md, 70 * f->ms, 22);
	o.app_tag = 0x77;
	o.app_mask = 0xff;
	CU_ASSERT_EQUAL(opts_rw(r, true, (struct iovec){ r->buf, len }, 30, 70, &o), 0);
	memset(md, 0, 70 * f->ms);
	CU_ASSERT_EQUAL(opts_rw(r, false, (struct iovec){ in, len }, 30, 70, &o), 0);
	CU_ASSERT_EQUAL(memcmp(in, r->buf, 1u << f->shift), 0);
	if (o.md) {
		other = f->dps & BH_NVME_DPS_FIRST ? 8 : 0;
		fill(in, 70 * f->ms, 22);
		if (f->ms > 8)
			CU_ASSERT_EQUAL(memcmp(in + other, md + other, f->ms - 8), 0);
		CU_ASSERT_EQUAL(memcmp(fake_block(r->fake, 1, 99) + (1u << f->shift),
				       md + 69 * f->ms, f->ms),
				0);
	}
	if (!(f->dps & 7))
		return;
	o.app_tag = 0x78;
	CU_ASSERT_EQUAL(opts_rw(r, false, (struct iovec){ in, len }, 30, 70, &o),
			BH_NVME_SC_APPTAG_CHECK_ERROR);
}

static void the_controller_makes_and_verifies(void)
{
	every_format(by_controller);
}

/* Sizes that do not match, by a byte, a block, or altogether, never become a command. */
static void wrong_sizes(struct rig *r, const struct format *f)
{
	struct bh_nvme_rw_opts o, bad;
	size_t len = with_md(r, f, 8, BH_NVME_PI_FLAGS, &o);
	uint32_t ios = fake_get(&r->fake->ios);
	struct iovec d = { r->buf, len };

	for (int by = -4; by <= 4; by += 8) {
		d.iov_len = len + (size_t)by;
		CU_ASSERT_EQUAL(opts_rw(r, false, d, 0, 8, &o), -EINVAL);
		bad = o;
		bad.md = r->buf + MD;
		bad.md_bytes = 8ul * f->ms + (size_t)by;
		d.iov_len = len;
		CU_ASSERT_EQUAL(opts_rw(r, false, d, 0, 8, &bad), -EINVAL);
	}
	bad = o;
	bad.md = f->extended ? r->buf + MD : NULL;
	CU_ASSERT_EQUAL(opts_rw(r, false, d, 0, 8, &bad), -EINVAL);
	bad.md = NULL;
	bad.md_bytes = 8;
	CU_ASSERT_EQUAL(opts_rw(r, false, d, 0, 8, &bad), -EINVAL);
	CU_ASSERT_EQUAL(opts_rw(r, false, d, 0, 0, &o), -EINVAL);
	CU_ASSERT_EQUAL(opts_rw(r, false, d, UINT64_MAX - 6, 8, &o), -EINVAL);
	CU_ASSERT_EQUAL(opts_rw(r, false, d, 0, UINT32_MAX, &o), -EINVAL);
	if (!f->extended) {
		bad = o;
		bad.md = (uint8_t *)o.md + 2;
		CU_ASSERT_EQUAL(opts_rw(r, false, d, 0, 8, &bad), -EFAULT);
		bad.md = &bad;
		CU_ASSERT_EQUAL(opts_rw(r, false, d, 0, 8, &bad), -EFAULT);
	}
	bad = o;
	bad.size = 8;
	CU_ASSERT_EQUAL(opts_rw(r, false, d, 0, 8, &bad), -EINVAL);
	bad = o;
	bad.pi = (enum bh_nvme_pi)7;
	CU_ASSERT_EQUAL(opts_rw(r, false, d, 0, 8, &bad), -EINVAL);
	if ((f->dps & 7) == 1) {
		bad = o;
		bad.set_ref_tag = true;
		bad.ref_tag = 1;
		CU_ASSERT_EQUAL(opts_rw(r, false, d, 0, 8, &bad), -EINVAL);
	}
	CU_ASSERT_EQUAL(fake_get(&r->fake->ios), ios);
	CU_ASSERT_EQUAL(bh_nvme_queue_outstanding(r->q), 0);
}

static void sizes_that_do_not_match_are_refused(void)
{
	every_format(wrong_sizes);
}

/* Scattered data with blocks across its borders, cut by PRP rules, MDTS and a boundary at once. */
static void scattered(void)
{
	struct fake_opts fo;
	struct bh_nvme_rw_opts o;
	struct bh_nvme_queue_stats stats;
	struct tally t = { 0 };
	struct iovec iov[11], back[11];
	struct rig r;
	size_t at = 0, len = 256 * 520;

	fake_opts_init(&fo);
	fo.ms = 8;
	fo.extended = true;
	fo.dps = 2;
	fo.noiob = 100;
	rig_start(&r, &fo, 2); /* more commands than slots, too */
	for (int i = 0; i < 11; i++) {
		size_t n = i < 10 ? 12288 : len - at;

		/* Pages with holes between them. */
		iov[i] = (struct iovec){ r.buf + at + (size_t)i * 4096, n };
		back[i] = (struct iovec){ r.buf + HALF + at + (size_t)i * 4096, n };
		fill(iov[i].iov_base, n, (unsigned int)i);
		at += n;
	}
	bh_nvme_rw_opts_init(&o);
	o.pi = BH_NVME_PI_DRIVER;
	o.set_ref_tag = true;
	o.ref_tag = 0xffffff80;
	CU_ASSERT_EQUAL(bh_nvme_writev_opts(r.q, r.ns, iov, 10, 60, 256, &o, tally_done, &t),
			-EINVAL);
	CU_ASSERT_EQUAL(bh_nvme_writev_opts(r.q, r.ns, iov, 11, 60, 256, &o, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 1));
	CU_ASSERT_EQUAL(bh_nvme_readv_opts(r.q, r.ns, back, 11, 60, 256, &o, tally_done, &t), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 2));
	CU_ASSERT_EQUAL(t.errors, 0);
	for (int i = 0; i < 11; i++)
		CU_ASSERT_EQUAL(memcmp(iov[i].iov_base, back[i].iov_base, iov[i].iov_len), 0);
	bh_nvme_queue_stats(r.q, &stats);
	CU_ASSERT_EQUAL(stats.splits, 2);
	rig_close(&r);
}

/* MPTR goes beside SGLs only where the controller takes it. */
static void mptr_beside_sgls(void)
{
	struct fake_opts fo;
	struct bh_nvme_rw_opts o;
	struct rig r;

	for (int can = 0; can < 2; can++) {
		fake_opts_init(&fo);
		fo.ms = 16;
		fo.sgl = true;
		fo.sgl_mptr = can;
		rig_start(&r, &fo, 7);
		bh_nvme_rw_opts_init(&o);
		o.md = r.buf + MD;
		o.md_bytes = 50 * 16;
		CU_ASSERT_EQUAL(opts_rw(&r, true, (struct iovec){ r.buf, 50 * 512 }, 0, 50, &o), 0);
		CU_ASSERT_EQUAL(fake_get(&r.fake->sgls) > 0, can);
		CU_ASSERT(fake_get(&r.fake->mptrs) > 0);
		rig_close(&r);
	}
}

/* Formats we cannot handle are listed, said so, and refused. */
static void foreign_formats_are_refused(void)
{
	static const struct {
		uint16_t ms;
		uint8_t dps;
		uint32_t elbaf;
		const char *says;
	} bad[] = { { 16, 1, 1u << 7, "guards of 32 or 64 bits" },
		    { 16, 1, 2u << 7, "guards of 32 or 64 bits" },
		    { 8, 1, 16, "storage tags" },
		    { 10, 0, 0, "multiple of 4" },
		    { 4096, 0, 0, "below 4096" },
		    { 4, 1, 0, "too little" },
		    { 8, 4, 0, "reserved type" } };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bh_nvme_rw_opts o;
		struct bh_nvme_format out;
		struct fake_opts fo;
		struct rig r;

		fake_opts_init(&fo);
		fo.ms = bad[i].ms;
		fo.dps = bad[i].dps;
		fo.elbas = true;
		fo.elbaf = bad[i].elbaf;
		rig_start(&r, &fo, 3);
		CU_ASSERT_PTR_NOT_NULL_FATAL(r.ns);
		CU_ASSERT_PTR_NOT_NULL(strstr(r.last_warning, bad[i].says));
		bh_nvme_ns_format(r.ns, &out);
		CU_ASSERT_FALSE(out.served);
		CU_ASSERT_EQUAL(out.md_bytes, bad[i].ms);
		CU_ASSERT_EQUAL(plain(&r, BH_NVME_CMD_READ, r.buf, 0, 1), -EINVAL);
		bh_nvme_rw_opts_init(&o);
		CU_ASSERT_EQUAL(opts_rw(&r, false, (struct iovec){ r.buf, 512 }, 0, 1, &o),
				-EINVAL);
		o.pi = BH_NVME_PI_FLAGS;
		o.md = r.buf + MD;
		o.md_bytes = bad[i].ms;
		CU_ASSERT_EQUAL(opts_rw(&r, false, (struct iovec){ r.buf, 512 }, 0, 1, &o),
				-EINVAL);
		rig_close(&r);
	}
}

static void sixteen_bit_guards_are_recognised(void)
{
	struct bh_nvme_format out;
	struct fake_opts fo;
	struct rig r;

	fake_opts_init(&fo);
	fo.ms = 8;
	fo.dps = 1;
	fo.elbas = true;
	rig_start(&r, &fo, 3);
	bh_nvme_ns_format(r.ns, &out);
	CU_ASSERT_TRUE(out.served);
	CU_ASSERT_EQUAL(out.guard_bits, 16);
	rig_close(&r);
}

static void options_without_metadata(void)
{
	struct bh_nvme_rw_opts o;
	struct rig r;

	rig_start(&r, NULL, 3);
	fill(r.buf, 100 * 512, 1);
	CU_ASSERT_EQUAL(opts_rw(&r, true, (struct iovec){ r.buf, 100 * 512 }, 0, 100, NULL), 0);
	bh_nvme_rw_opts_init(&o);
	CU_ASSERT_EQUAL(opts_rw(&r, false, (struct iovec){ r.buf + HALF, 100 * 512 }, 0, 100, &o),
			0);
	CU_ASSERT_EQUAL(memcmp(r.buf, r.buf + HALF, 100 * 512), 0);
	o.pi = BH_NVME_PI_DRIVER;
	CU_ASSERT_EQUAL(opts_rw(&r, false, (struct iovec){ r.buf, 512 }, 0, 1, &o), -EINVAL);
	o.pi = BH_NVME_PI_CONTROLLER;
	o.md = r.buf + MD;
	o.md_bytes = 8;
	CU_ASSERT_EQUAL(opts_rw(&r, false, (struct iovec){ r.buf, 512 }, 0, 1, &o), -EINVAL);
	rig_close(&r);
}

/* What was out when the controller is reset completes with an error, unverified, once. */
static void reset_with_requests_to_be_verified(void)
{
	struct bh_nvme_rw_opts o;
	struct bh_pi_error error;
	struct tally t = { 0 };
	struct fake_opts fo;
	struct iovec iov;
	struct rig r;

	fake_opts_init(&fo);
	fo.ms = 8;
	fo.dps = 1;
	fo.extended = true;
	rig_start(&r, &fo, 7);
	bh_nvme_rw_opts_init(&o);
	o.pi = BH_NVME_PI_DRIVER;
	o.error = &error;
	iov = (struct iovec){ r.buf, 520 * 100 };
	fake_set(&r.fake->hold, 1);
	CU_ASSERT_EQUAL(bh_nvme_readv_opts(r.q, r.ns, &iov, 1, 0, 100, &o, tally_done, &t), 0);
	iov.iov_len = 520;
	CU_ASSERT_EQUAL(bh_nvme_readv_opts(r.q, r.ns, &iov, 1, 0, 1, &o, tally_done, &t), 0);
	CU_ASSERT_EQUAL(bh_nvme_reset(r.nvme), 0);
	CU_ASSERT_TRUE(rig_wait(&r, &t, 2));
	CU_ASSERT_EQUAL(t.errors, 2);
	CU_ASSERT_EQUAL(t.status, BH_NVME_SC_ABORTED_SQ_DELETION);
	CU_ASSERT_EQUAL(error.check, 0);
	fake_set(&r.fake->hold, 0);
	rig_poll_ms(&r, 20, true);
	CU_ASSERT_EQUAL(opts_rw(&r, true, iov, 0, 1, &o), 0);
	CU_ASSERT_EQUAL(opts_rw(&r, false, iov, 0, 1, &o), 0);
	rig_close(&r);
}

BH_SUITE("meta", { "formats_are_told", formats_are_told },
	 { "calls_without_options", calls_without_options },
	 { "calls_without_options_verify", calls_without_options_verify },
	 { "zeroes_are_protected", zeroes_are_protected },
	 { "compare_takes_metadata_where_it_is_in_the_buffer",
	   compare_takes_metadata_where_it_is_in_the_buffer },
	 { "the_driver_makes_and_verifies", the_driver_makes_and_verifies },
	 { "the_controller_makes_and_verifies", the_controller_makes_and_verifies },
	 { "flags_are_the_callers", flags_are_the_callers },
	 { "sizes_that_do_not_match_are_refused", sizes_that_do_not_match_are_refused },
	 { "scattered", scattered }, { "mptr_beside_sgls", mptr_beside_sgls },
	 { "foreign_formats_are_refused", foreign_formats_are_refused },
	 { "sixteen_bit_guards_are_recognised", sixteen_bit_guards_are_recognised },
	 { "options_without_metadata", options_without_metadata },
	 { "reset_with_requests_to_be_verified", reset_with_requests_to_be_verified })

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Generating and verifying protection information.
 *
 * One walk serves all: per block the data, the metadata before the tuple, the tuple, the metadata
 * behind it, each through a cursor that knows only how many bytes come next. Interleaved and
 * separate differ in which cursor metadata is taken from. The vectors' sizes are compared with the
 * blocks before the walk, so that no cursor can run past its end.
 *
 * A tuple may lie across a border: it is put together in a private copy, which is also what makes
 * verifying read it once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <bellhop/pi.h>

struct cursor {
	const struct iovec *iov;
	unsigned int cnt;
	size_t off; /* into iov[0] */
};

/* The next piece, of at most *len bytes, which becomes its length; not 0, for there is more. */
static uint8_t *piece(struct cursor *c, size_t *len)
{
	uint8_t *p;

	while (c->off == c->iov->iov_len) {
		c->iov++;
		c->cnt--;
		c->off = 0;
	}
	p = (uint8_t *)c->iov->iov_base + c->off;
	if (*len > c->iov->iov_len - c->off)
		*len = c->iov->iov_len - c->off;
	c->off += *len;
	return p;
}

static uint16_t crc_over(struct cursor *c, size_t len, uint16_t crc)
{
	while (len) {
		size_t n = len;
		const uint8_t *p = piece(c, &n);

		crc = bh_pi_crc16(crc, p, n);
		len -= n;
	}
	return crc;
}

static uint16_t crc_copy(struct cursor *to, struct cursor *from, size_t len, uint16_t crc)
{
	while (len) {
		size_t n = len, m;
		const uint8_t *src = piece(from, &n);

		len -= n;
		while (n) {
			uint8_t *dst;

			m = n;
			dst = piece(to, &m);
			crc = bh_pi_crc16_copy(crc, dst, src, m);
			src += m;
			n -= m;
		}
	}
	return crc;
}

static void pass(struct cursor *c, size_t len)
{
	while (len) {
		size_t n = len;

		piece(c, &n);
		len -= n;
	}
}

static void zero(struct cursor *c, size_t len)
{
	while (len) {
		size_t n = len;

		memset(piece(c, &n), 0, n);
		len -= n;
	}
}

static void put(struct cursor *c, const struct bh_pi_tuple *tuple)
{
	const uint8_t *src = (const uint8_t *)tuple;
	size_t left = sizeof(*tuple);

	while (left) {
		size_t n = left;
		uint8_t *dst = piece(c, &n);

		memcpy(dst, src, n);
		src += n;
		left -= n;
	}
}

static void get(struct cursor *c, struct bh_pi_tuple *tuple)
{
	uint8_t *dst = (uint8_t *)tuple;
	size_t left = sizeof(*tuple);

	while (left) {
		size_t n = left;
		const uint8_t *src = piece(c, &n);

		memcpy(dst, src, n);
		dst += n;
		left -= n;
	}
}

static bool holds(const struct iovec *iov, unsigned int cnt, uint64_t bytes)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < cnt; i++)
		if (__builtin_add_overflow(sum, (uint64_t)iov[i].iov_len, &sum))
			return false;
	return sum == bytes;
}

static bool format_ok(const struct bh_pi *pi)
{
	return pi->data_bytes && pi->md_bytes >= BH_PI_TUPLE && pi->type >= 1 && pi->type <= 3;
}

static bool sizes_ok(const struct bh_pi *pi, const struct iovec *data, unsigned int data_cnt,
		     const struct iovec *md, unsigned int md_cnt, uint32_t blocks)
{
	uint64_t each = pi->data_bytes;

	if (pi->interleaved)
		return !md_cnt && holds(data, data_cnt, (each + pi->md_bytes) * blocks);
	return holds(data, data_cnt, each * blocks) &&
	       holds(md, md_cnt, (uint64_t)pi->md_bytes * blocks);
}

/* Bytes of metadata that the guard covers, which are those before the tuple. */
static uint32_t before(const struct bh_pi *pi)
{
	return pi->first ? 0 : pi->md_bytes - BH_PI_TUPLE;
}

static uint32_t behind(const struct bh_pi *pi)
{
	return pi->first ? pi->md_bytes - BH_PI_TUPLE : 0;
}

static uint32_t ref_of(const struct bh_pi *pi, uint32_t block)
{
	return pi->type == 3 ? pi->ref_tag : pi->ref_tag + block;
}

static bool escaped(const struct bh_pi *pi, const struct bh_pi_tuple *tuple)
{
	return bh_pi_app_tag(tuple) == BH_PI_APP_ESCAPE &&
	       (pi->type != 3 || bh_pi_ref_tag(tuple) == BH_PI_REF_ESCAPE);
}

static int differs(struct bh_pi_error *error, uint32_t block, uint8_t check, uint32_t expected,
		   uint32_t got)
{
	if (error)
		*error = (struct bh_pi_error){ block, check, expected, got };
	return -EILSEQ;
}

/* One block's tuple against what it should say. */
static int judge(const struct bh_pi *pi, const struct bh_pi_tuple *tuple, uint32_t block,
		 uint16_t guard, struct bh_pi_error *error)
{
	uint16_t app = bh_pi_app_tag(tuple) & pi->app_mask;

	if (escaped(pi, tuple))
		return 0;
	if ((pi->check & BH_PI_CHECK_GUARD) && bh_pi_guard(tuple) != guard)
		return differs(error, block, BH_PI_CHECK_GUARD, guard, bh_pi_guard(tuple));
	if ((pi->check & BH_PI_CHECK_APP) && app != (pi->app_tag & pi->app_mask))
		return differs(error, block, BH_PI_CHECK_APP, pi->app_tag & pi->app_mask, app);
	if ((pi->check & BH_PI_CHECK_REF) && pi->type != 3 &&
	    bh_pi_ref_tag(tuple) != ref_of(pi, block))
		return differs(error, block, BH_PI_CHECK_REF, ref_of(pi, block),
			       bh_pi_ref_tag(tuple));
	return 0;
}

int bh_pi_generate(const struct bh_pi *pi, const struct iovec *data, unsigned int data_cnt,
		   const struct iovec *md, unsigned int md_cnt, uint32_t blocks)
{
	struct cursor d = { data, data_cnt, 0 }, m = { md, md_cnt, 0 };
	struct cursor *at = pi->interleaved ? &d : &m;
	struct bh_pi_tuple tuple;
	uint32_t i;

	if (!format_ok(pi) || !sizes_ok(pi, data, data_cnt, md, md_cnt, blocks))
		return -EINVAL;
	for (i = 0; i < blocks; i++) {
		uint16_t crc = crc_over(&d, pi->data_bytes, 0);

		crc = crc_over(at, before(pi), crc);
		bh_pi_set(&tuple, crc, pi->app_tag, ref_of(pi, i));
		put(at, &tuple);
		pass(at, behind(pi));
	}
	return 0;
}

int bh_pi_verify(const struct bh_pi *pi, const struct iovec *data, unsigned int data_cnt,
		 const struct iovec *md, unsigned int md_cnt, uint32_t blocks,
		 struct bh_pi_error *error)
{
	struct cursor d = { data, data_cnt, 0 }, m = { md, md_cnt, 0 };
	struct cursor *at = pi->interleaved ? &d : &m;
	struct bh_pi_tuple tuple;
	uint32_t i;

	if (error)
		memset(error, 0, sizeof(*error));
	if (!format_ok(pi) || !sizes_ok(pi, data, data_cnt, md, md_cnt, blocks))
		return -EINVAL;
	for (i = 0; i < blocks; i++) {
		uint16_t crc = 0;
		int rc;

		if (pi->check & BH_PI_CHECK_GUARD) {
			crc = crc_over(&d, pi->data_bytes, 0);
			crc = crc_over(at, before(pi), crc);
		} else {
			pass(&d, pi->data_bytes);
			pass(at, before(pi));
		}
		get(at, &tuple);
		pass(at, behind(pi));
		rc = judge(pi, &tuple, i, crc, error);
		if (rc)
			return rc;
	}
	return 0;
}

int bh_pi_insert(const struct bh_pi *pi, const struct iovec *src, unsigned int src_cnt,
		 const struct iovec *dst, unsigned int dst_cnt, const struct iovec *md,
		 unsigned int md_cnt, uint32_t blocks)
{
	struct cursor from = { src, src_cnt, 0 }, d = { dst, dst_cnt, 0 }, m = { md, md_cnt, 0 };
	struct cursor *at = pi->interleaved ? &d : &m;
	static const uint8_t zeros[64];
	struct bh_pi_tuple tuple;
	uint32_t i, left;

	if (!format_ok(pi) || !holds(src, src_cnt, (uint64_t)pi->data_bytes * blocks) ||
	    !sizes_ok(pi, dst, dst_cnt, md, md_cnt, blocks))
		return -EINVAL;
	for (i = 0; i < blocks; i++) {
		uint16_t crc = crc_copy(&d, &from, pi->data_bytes, 0);

		zero(at, before(pi));
		for (left = before(pi); left; left -= left < 64 ? left : 64)
			crc = bh_pi_crc16(crc, zeros, left < 64 ? left : 64);
		bh_pi_set(&tuple, crc, pi->app_tag, ref_of(pi, i));
		put(at, &tuple);
		zero(at, behind(pi));
	}
	return 0;
}

int bh_pi_strip(const struct bh_pi *pi, const struct iovec *src, unsigned int src_cnt,
		const struct iovec *md, unsigned int md_cnt, const struct iovec *dst,
		unsigned int dst_cnt, uint32_t blocks, struct bh_pi_error *error)
{
	struct cursor d = { src, src_cnt, 0 }, m = { md, md_cnt, 0 }, to = { dst, dst_cnt, 0 };
	struct cursor *at = pi->interleaved ? &d : &m;
	struct bh_pi_tuple tuple;
	uint32_t i;

	if (error)
		memset(error, 0, sizeof(*error));
	if (!format_ok(pi) || !holds(dst, dst_cnt, (uint64_t)pi->data_bytes * blocks) ||
	    !sizes_ok(pi, src, src_cnt, md, md_cnt, blocks))
		return -EINVAL;
	for (i = 0; i < blocks; i++) {
		uint16_t crc = crc_copy(&to, &d, pi->data_bytes, 0);
		int rc;

		crc = crc_over(at, before(pi), crc);
		get(at, &tuple);
		pass(at, behind(pi));
		rc = judge(pi, &tuple, i, crc, error);
		if (rc)
			return rc;
	}
	return 0;
}

char *bh_pi_error_fmt(const struct bh_pi_error *error, char *buf, size_t len)
{
	const char *what = error->check == BH_PI_CHECK_GUARD ? "guard"
			   : error->check == BH_PI_CHECK_APP ? "application tag"
							     : "reference tag";

	if (!error->check)
		snprintf(buf, len, "no error");
	else
		snprintf(buf, len, "block %" PRIu32 ": %s %0*" PRIx32 ", expected %0*" PRIx32,
			 error->block, what, error->check == BH_PI_CHECK_REF ? 8 : 4, error->got,
			 error->check == BH_PI_CHECK_REF ? 8 : 4, error->expected);
	return buf;
}

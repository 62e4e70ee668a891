/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metadata and protection information on somebody else's controller: one with many namespaces, each
 * of another format. What we make it has to accept, what it makes we do, and what is wrong has to
 * be refused by both with the same status. Every case runs over every namespace.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/nvme.h>

#include "vmtest.h"

#define LARGE (600u << 10) /* bytes of a request that is more than one command (MDTS is 512 KiB) */
#define BUF_BYTES (2u << 20)
#define TAG 0x5aa5

struct host {
	struct vm *vm;
	struct bh_nvme *nvme;
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	struct bh_nvme_format f;
	uint8_t *out, *in; /* BUF_BYTES each, metadata in the last quarter */
	int status;
};

static bool host_open(struct host *h, struct vm *vm)
{
	int rc;

	memset(h, 0, sizeof(*h));
	h->vm = vm;
	rc = bh_nvme_attach(vm->dev, NULL, &h->nvme);
	if (!rc)
		rc = bh_nvme_queue_create(h->nvme, NULL, &h->q);
	h->out = bh_pool_alloc(vm->pool, BUF_BYTES, 4096);
	h->in = bh_pool_alloc(vm->pool, BUF_BYTES, 4096);
	if (rc || !h->out || !h->in)
		return vm_fail("attach, queue or buffers: error %d", -rc);
	return true;
}

static void host_close(struct host *h)
{
	bh_nvme_queue_destroy(h->q);
	bh_nvme_detach(h->nvme);
	bh_pool_free(h->vm->pool, h->out);
	bh_pool_free(h->vm->pool, h->in);
}

static void done(void *arg, const struct bh_nvme_cpl *cpl)
{
	*(int *)arg = bh_nvme_cpl_status(cpl) & BH_NVME_STATUS_SC_MASK;
}

/* -errno, or the status. */
static int finish(struct host *h, int rc)
{
	while (!rc && h->status < 0)
		if (bh_nvme_queue_poll(h->q, 0) < 0)
			rc = -ENODEV;
	return rc ? rc : h->status;
}

static int plain(struct host *h, bool write, uint64_t lba, uint32_t blocks)
{
	h->status = -1;
	return finish(h,
		      write ? bh_nvme_write(h->q, h->ns, h->out, lba, blocks, 0, done, &h->status)
			    : bh_nvme_read(h->q, h->ns, h->in, lba, blocks, 0, done, &h->status));
}

static bool pi_only(const struct host *h)
{
	return h->f.pi_type && h->f.md_bytes == 8;
}

static bool strips(const struct host *h, const struct bh_nvme_rw_opts *o)
{
	return pi_only(h) && (o->pi == BH_NVME_PI_CONTROLLER || (o->flags & BH_NVME_IO_PRACT));
}

static uint32_t unit(const struct host *h, const struct bh_nvme_rw_opts *o)
{
	return h->f.data_bytes + (h->f.interleaved && !strips(h, o) ? h->f.md_bytes : 0);
}

static uint8_t *md_of(uint8_t *buf)
{
	return buf + BUF_BYTES / 4 * 3;
}

static int with(struct host *h, bool write, uint64_t lba, uint32_t blocks,
		const struct bh_nvme_rw_opts *opts)
{
	struct bh_nvme_rw_opts o = *opts;
	uint8_t *buf = write ? h->out : h->in;
	struct iovec iov = { buf, (size_t)blocks * unit(h, &o) };

	if (!h->f.interleaved && h->f.md_bytes && !strips(h, &o)) {
		o.md = md_of(buf);
		o.md_bytes = (size_t)blocks * h->f.md_bytes;
	}
	h->status = -1;
	return finish(h, write ? bh_nvme_writev_opts(h->q, h->ns, &iov, 1, lba, blocks, &o, done,
						     &h->status)
			       : bh_nvme_readv_opts(h->q, h->ns, &iov, 1, lba, blocks, &o, done,
						    &h->status));
}

static void fill(struct host *h, uint64_t seed)
{
	uint64_t *word = (uint64_t *)h->out;

	for (size_t i = 0; i < BUF_BYTES / 8; i++)
		word[i] = (seed + 1) * 0x9e3779b97f4a7c15ull + i * 0x100000001b3ull;
	memset(h->in, 0xa5, BUF_BYTES);
}

static uint32_t large(const struct host *h)
{
	return LARGE / h->f.data_bytes;
}

/* Data of each block; whatever the format has beside it. */
static bool same_data(const struct host *h, uint32_t blocks, uint32_t each)
{
	for (uint32_t i = 0; i < blocks; i++)
		if (memcmp(h->out + i * each, h->in + i * each, h->f.data_bytes) != 0)
			return vm_fail("namespace %u: block %u differs", bh_nvme_ns_id(h->ns), i);
	return true;
}

static bool got(const struct host *h, const char *what, int rc, int want)
{
	if (rc == want)
		return true;
	return vm_fail("namespace %u (%u+%u %s, type %u, %s): %s: %d, %s", bh_nvme_ns_id(h->ns),
		       h->f.data_bytes, h->f.md_bytes,
		       h->f.interleaved ? "interleaved" : "separate", h->f.pi_type,
		       h->f.pi_first ? "first" : "last", what, rc,
		       rc < 0 ? strerror(-rc) : bh_nvme_status_str((uint16_t)rc));
}

/* Runs fn on every namespace that is served; how many there were with protection information. */
static unsigned int each(struct vm *vm, bool (*fn)(struct host *h))
{
	unsigned int n = 0;
	struct host h;
	bool go = host_open(&h, vm);

	for (h.ns = go ? bh_nvme_ns_first(h.nvme) : NULL; h.ns; h.ns = bh_nvme_ns_next(h.ns)) {
		bh_nvme_ns_format(h.ns, &h.f);
		if (!h.f.served)
			continue;
		fill(&h, bh_nvme_ns_id(h.ns));
		if (!fn(&h))
			break;
		n += h.f.pi_type != 0;
	}
	host_close(&h);
	return n;
}

static void each_protected(struct vm *vm, bool (*fn)(struct host *h))
{
	unsigned int n = each(vm, fn);

	if (n < 6)
		vm_fail("only %u namespaces with protection information", n);
}

/* ---- cases ---- */

/* What the machine was given (vmformats.py), and what we make of it. */
static void formats_are_told(struct vm *vm)
{
	static const struct bh_nvme_format want[] = {
		{ 512, 0, false, 0, false, 0, true, true },
		{ 512, 8, false, 1, false, 16, true, true },
		{ 512, 8, true, 1, false, 16, true, true },
		{ 512, 16, true, 2, false, 16, true, true },
		{ 4096, 64, false, 3, true, 16, false, true },
		{ 4096, 8, true, 3, false, 16, true, true },
		{ 4096, 16, false, 0, false, 0, false, true },
		{ 512, 64, true, 0, false, 0, true, true },
		{ 4096, 64, true, 1, true, 16, true, true },
		{ 4096, 64, false, 2, false, 16, false, true },
		{ 4096, 16, true, 1, false, 64, false, false },
	};
	struct bh_nvme_format f;
	struct host h;

	if (host_open(&h, vm)) {
		for (uint32_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
			h.ns = bh_nvme_ns_get(h.nvme, i + 1);
			if (!h.ns) {
				vm_fail("no namespace %u", i + 1);
				break;
			}
			bh_nvme_ns_format(h.ns, &f);
			if (f.data_bytes != want[i].data_bytes || f.md_bytes != want[i].md_bytes ||
			    f.interleaved != want[i].interleaved || f.pi_type != want[i].pi_type ||
			    f.pi_first != want[i].pi_first || f.guard_bits != want[i].guard_bits ||
			    f.plain != want[i].plain || f.served != want[i].served)
				vm_fail("namespace %u: %u+%u, interleaved %d, type %u, first %d, "
					"guard %u, served %d",
					i + 1, f.data_bytes, f.md_bytes, f.interleaved, f.pi_type,
					f.pi_first, f.guard_bits, f.served);
		}
		if (h.ns && bh_nvme_read(h.q, h.ns, h.in, 0, 1, 0, done, &h.status) != -EINVAL)
			vm_fail("guards of 64 bits are not refused");
		if (!strstr(vm->said, "guards of 32 or 64 bits"))
			vm_fail("nobody was told why");
	}
	host_close(&h);
}

static bool plain_one(struct host *h)
{
	bool needs_md = h->f.md_bytes && !h->f.interleaved && !pi_only(h);
	uint32_t blocks[] = { 1, 7, large(h) };

	for (int i = 0; i < 3; i++) {
		if (needs_md)
			return got(h, "write without metadata", plain(h, true, 3, blocks[i]),
				   -EINVAL) &&
			       got(h, "read without metadata", plain(h, false, 3, blocks[i]),
				   -EINVAL);
		if (!got(h, "write", plain(h, true, 3, blocks[i]), 0) ||
		    !got(h, "read", plain(h, false, 3, blocks[i]), 0) ||
		    !same_data(h, blocks[i], bh_nvme_ns_block_size(h->ns)))
			return false;
		if (h->in[(size_t)blocks[i] * bh_nvme_ns_block_size(h->ns)] != 0xa5)
			return vm_fail("namespace %u: more was read than asked for",
				       bh_nvme_ns_id(h->ns));
	}
	return true;
}

static void calls_without_options(struct vm *vm)
{
	each_protected(vm, plain_one);
}

/* Blocks that nobody has written can be read: their protection information is void. */
static bool unwritten_one(struct host *h)
{
	bool needs_md = h->f.md_bytes && !h->f.interleaved && !pi_only(h);
	uint64_t last = bh_nvme_ns_blocks(h->ns) - 8;

	return needs_md || got(h, "read of unwritten blocks", plain(h, false, last, 8), 0);
}

static void unwritten_blocks_are_readable(struct vm *vm)
{
	each_protected(vm, unwritten_one);
}

static bool zeroes_one(struct host *h)
{
	uint32_t each_bytes = bh_nvme_ns_block_size(h->ns);
	int rc;

	if (!h->f.pi_type || (!h->f.interleaved && !pi_only(h)))
		return true;
	if (!got(h, "write", plain(h, true, 16, 16), 0))
		return false;
	h->status = -1;
	rc = bh_nvme_write_zeroes(h->q, h->ns, 20, 8, 0, done, &h->status);
	if (!got(h, "write zeroes", finish(h, rc), 0) ||
	    !got(h, "read behind it", plain(h, false, 16, 16), 0))
		return false;
	for (uint32_t i = 0; i < h->f.data_bytes; i++)
		if (h->in[4 * each_bytes + i] || h->in[11 * each_bytes + i])
			return vm_fail("namespace %u: not zeroes", bh_nvme_ns_id(h->ns));
	return true;
}

static void zeroes_are_readable(struct vm *vm)
{
	each_protected(vm, zeroes_one);
}

static struct bh_nvme_rw_opts opts_of(const struct host *h, enum bh_nvme_pi pi)
{
	struct bh_nvme_rw_opts o;

	bh_nvme_rw_opts_init(&o);
	o.pi = pi;
	o.app_tag = TAG;
	o.app_mask = 0xffff;
	o.set_ref_tag = h->f.pi_type >= 2;
	/* Not over the end of 32 bits: QEMU 11 counts on to the 33rd within a command. */
	o.ref_tag = 0x7fffff00;
	return o;
}

/* Made by `maker`, verified by both. */
static bool crossed(struct host *h, enum bh_nvme_pi maker)
{
	struct bh_nvme_rw_opts make = opts_of(h, maker), other;
	uint32_t n = large(h);

	if (!h->f.pi_type)
		return true;
	if (!got(h, "write", with(h, true, 11, n, &make), 0))
		return false;
	for (int i = 0; i < 2; i++) {
		other = opts_of(h, i ? BH_NVME_PI_DRIVER : BH_NVME_PI_CONTROLLER);
		memset(h->in, 0xa5, BUF_BYTES);
		if (!got(h, i ? "read, verified by us" : "read, verified by it",
			 with(h, false, 11, n, &other), 0))
			return false;
		if (unit(h, &make) == unit(h, &other) && !same_data(h, n, unit(h, &make)))
			return false;
	}
	return true;
}

static bool made_by_us(struct host *h)
{
	return crossed(h, BH_NVME_PI_DRIVER);
}

static bool made_by_it(struct host *h)
{
	return crossed(h, BH_NVME_PI_CONTROLLER);
}

static void what_we_make_it_accepts(struct vm *vm)
{
	each_protected(vm, made_by_us);
}

static void what_it_makes_we_accept(struct vm *vm)
{
	each_protected(vm, made_by_it);
}

/* Metadata beside protection information comes back as written. */
static bool metadata_one(struct host *h)
{
	struct bh_nvme_rw_opts o = opts_of(h, h->f.pi_type ? BH_NVME_PI_DRIVER : BH_NVME_PI_FLAGS);
	size_t n = large(h), len = n * unit(h, &o);

	if (!h->f.md_bytes)
		return true;
	if (!got(h, "write", with(h, true, 2, (uint32_t)n, &o), 0) ||
	    !got(h, "read", with(h, false, 2, (uint32_t)n, &o), 0))
		return false;
	if (memcmp(h->out, h->in, len) != 0 ||
	    (!h->f.interleaved && memcmp(md_of(h->out), md_of(h->in), n * h->f.md_bytes) != 0))
		return vm_fail("namespace %u: data or metadata differ", bh_nvme_ns_id(h->ns));
	return true;
}

static void metadata_comes_back(struct vm *vm)
{
	each_protected(vm, metadata_one);
}

/* The tuple of a block that is to be written. */
static uint8_t *tuple(struct host *h, uint32_t block)
{
	uint8_t *md = h->f.interleaved
			      ? h->out + block * (h->f.data_bytes + h->f.md_bytes) + h->f.data_bytes
			      : md_of(h->out) + block * h->f.md_bytes;

	return md + (h->f.pi_first ? 0 : h->f.md_bytes - 8);
}

static const struct {
	unsigned int byte; /* of the tuple */
	int status;
	uint8_t check;
} wrong[] = {
	{ 1, BH_NVME_SC_GUARD_CHECK_ERROR, BH_PI_CHECK_GUARD },
	{ 3, BH_NVME_SC_APPTAG_CHECK_ERROR, BH_PI_CHECK_APP },
	{ 7, BH_NVME_SC_REFTAG_CHECK_ERROR, BH_PI_CHECK_REF },
};

/* One bit of one field of one block. */
static bool corrupt_one(struct host *h, uint32_t n, int i)
{
	struct bh_nvme_rw_opts made = opts_of(h, BH_NVME_PI_DRIVER), raw, it;
	struct bh_pi_error error;
	int want = i == 2 && h->f.pi_type == 3 ? 0 : wrong[i].status;

	/* Our own, valid, in the buffer; then not. */
	if (!got(h, "write", with(h, true, 40, n, &made), 0))
		return false;
	tuple(h, n - 1)[wrong[i].byte] ^= 1;
	raw = opts_of(h, BH_NVME_PI_FLAGS);
	raw.flags = BH_NVME_IO_PRCHK_GUARD | BH_NVME_IO_PRCHK_APP;
	raw.flags |= h->f.pi_type == 3 ? 0 : BH_NVME_IO_PRCHK_REF;
	if (!got(h, "write of what is wrong", with(h, true, 40, n, &raw), want))
		return false;
	raw.flags = 0;
	if (!got(h, "write unchecked", with(h, true, 40, n, &raw), 0))
		return false;
	it = opts_of(h, BH_NVME_PI_CONTROLLER);
	made.error = &error;
	if (!got(h, "read, verified by it", with(h, false, 40, n, &it), want) ||
	    !got(h, "read, verified by us", with(h, false, 40, n, &made), want))
		return false;
	if (want ? error.check != wrong[i].check || error.block != n - 1 : error.check != 0)
		return vm_fail("namespace %u: error says check %u, block %u", bh_nvme_ns_id(h->ns),
			       error.check, error.block);
	return true;
}

static bool corrupt_each(struct host *h)
{
	if (!h->f.pi_type)
		return true;
	for (int i = 0; i < 3; i++)
		if (!corrupt_one(h, 9, i))
			return false;
	/* In the second command of a request: reference tags of parts are right. */
	return corrupt_one(h, large(h), 2);
}

static void what_is_wrong_is_refused(struct vm *vm)
{
	each_protected(vm, corrupt_each);
}

static int copy(struct host *h, uint64_t to, const struct bh_nvme_copy_range *ranges)
{
	struct bh_nvme_copy_range *r = (struct bh_nvme_copy_range *)h->in;

	memcpy(r, ranges, 2 * sizeof(*r));
	h->status = -1;
	return finish(h, bh_nvme_copy(h->q, h->ns, r, 2, to, 0, done, &h->status));
}

/* Two halves, to where their tags would be wrong; then one whose guard is. */
static bool copy_one(struct host *h)
{
	static const struct bh_nvme_copy_range ranges[] = { { .slba = 40, .nlb = 3 },
							    { .slba = 44, .nlb = 3 } };
	struct bh_nvme_rw_opts o, raw = opts_of(h, BH_NVME_PI_FLAGS);

	bh_nvme_rw_opts_init(&o);
	if (!got(h, "write", with(h, true, 40, 8, &o), 0) ||
	    !got(h, "copy", copy(h, 100, ranges), 0))
		return false;
	memset(h->in, 0xa5, BUF_BYTES);
	if (!got(h, "read of the copy", with(h, false, 100, 8, &o), 0) ||
	    !same_data(h, 8, unit(h, &o)))
		return false;
	if (!h->f.pi_type)
		return true;
	memset(tuple(h, 7), 0x11, 8);
	return got(h, "write unchecked", with(h, true, 40, 8, &raw), 0) &&
	       got(h, "copy of what is wrong", copy(h, 200, ranges), BH_NVME_SC_GUARD_CHECK_ERROR);
}

static void copies(struct vm *vm)
{
	each_protected(vm, copy_one);
}

/*
 * The whole namespace, tags as calls without options have them, and read back. It leaves it so, for
 * programs to use: QEMU knows what was written by pages of its image, so unwritten blocks beside
 * written ones fail their checks.
 */
static bool every_block_one(struct host *h)
{
	uint64_t blocks = bh_nvme_ns_blocks(h->ns), lba;
	struct bh_nvme_rw_opts o;

	bh_nvme_rw_opts_init(&o);
	for (lba = 0; lba < blocks; lba += large(h)) {
		uint32_t n = blocks - lba < large(h) ? (uint32_t)(blocks - lba) : large(h);

		if (!got(h, "write", with(h, true, lba, n, &o), 0) ||
		    !got(h, "read", with(h, false, lba, n, &o), 0) || !same_data(h, n, unit(h, &o)))
			return false;
	}
	return got(h, "read past the end", with(h, false, blocks, 1, &o),
		   BH_NVME_SC_LBA_OUT_OF_RANGE);
}

static void every_block(struct vm *vm)
{
	each_protected(vm, every_block_one);
}

static const struct vm_case cases[] = {
	{ "formats_are_told", formats_are_told, false },
	{ "unwritten_blocks_are_readable", unwritten_blocks_are_readable, false },
	{ "calls_without_options", calls_without_options, false },
	{ "zeroes_are_readable", zeroes_are_readable, false },
	{ "what_we_make_it_accepts", what_we_make_it_accepts, false },
	{ "what_it_makes_we_accept", what_it_makes_we_accept, false },
	{ "metadata_comes_back", metadata_comes_back, false },
	{ "what_is_wrong_is_refused", what_is_wrong_is_refused, false },
	{ "copies", copies, false },
	{ "every_block", every_block, false },
};

int main(int argc, char **argv)
{
	return vm_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

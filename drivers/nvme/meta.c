/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metadata and protection information (NVM Command Set 1.0, 2.1 and 5.2).
 *
 * Interleaved metadata is part of what the data pointer names: a block simply has more bytes, a
 * number that is no power of two. Separate metadata lies in one contiguous buffer that MPTR names.
 * Either way a request is cut as split.c cuts others, in whole blocks, and each of its commands
 * carries the reference tag of its own first block.
 *
 * Who makes and verifies protection information is the request's choice: the controller (PRACT),
 * this driver, or nobody but the caller. With PRACT, metadata that is nothing but protection
 * information is not transferred at all. What is transferred decides how long buffers have to be,
 * and that is compared with what the caller gave before anything else is done: a command that
 * names less memory than the controller writes cannot come about here.
 *
 * Where the driver verifies, the request is a parent even if it is one command: the parent keeps
 * where the data are until all of them are there.
 */
#include <errno.h>
#include <string.h>

#include "nvme/meta.h"
#include "nvme/nvme.h"

#define PRINFO \
	(BH_NVME_IO_PRACT | BH_NVME_IO_PRCHK_GUARD | BH_NVME_IO_PRCHK_APP | BH_NVME_IO_PRCHK_REF)

/* ---- shapes ---- */

int bh__meta_read(struct bh_nvme *nvme, struct bh_nvme_ns *ns, uint8_t *buf)
{
	unsigned int index = bh_nvme_flbas_index(ns->data.flbas) & 63;
	const struct bh_nvme_id_ns_nvm *id = (const struct bh_nvme_id_ns_nvm *)buf;
	struct bh_nvme_cmd cmd = bh__identify_cmd(BH_NVME_CNS_CSI_NS, ns->nsid, BH_NVME_CSI_NVM, 0);
	int rc;

	ns->elbaf = 0;
	/* Without this bit every guard has 16 bits, and controllers need not know the command. */
	if (!(nvme->id.ctratt & BH_NVME_CTRATT_ELBAS) || !ns->data.lbaf[index].ms ||
	    !(ns->data.dps & BH_NVME_DPS_TYPE_MASK))
		return 0;
	rc = bh__admin_sync(nvme, &cmd, buf, 4096, NULL);
	if (rc < 0)
		return rc;
	ns->elbaf = rc ? BH__ELBAF_UNKNOWN : id->elbaf[index];
	return 0;
}

/* NULL, or why it cannot be served. */
static const char *unserved(const struct bh_nvme *nvme, const struct bh_nvme_ns *ns,
			    const struct bh_nvme_lbaf *f)
{
	uint8_t type = ns->data.dps & BH_NVME_DPS_TYPE_MASK;
	bool inter = ns->data.flbas & BH_NVME_FLBAS_EXTENDED;

	if (ns->csi != BH_NVME_CSI_NVM)
		return "which we have for the NVM command set only";
	if (f->ms & 3 || f->ms > BH__META_MOST)
		return "no multiple of 4 below 4096";
	if (type > 3 || (type && f->ms < BH_PI_TUPLE))
		return "too little for its protection information, or of a reserved type";
	if (inter && (1u << f->lbads) + f->ms > nvme->max_transfer)
		return "blocks exceed the transfer limit";
	if (ns->elbaf == BH__ELBAF_UNKNOWN)
		return "and the controller does not say which guard";
	if (ns->elbaf & BH__ELBAF_PIF_MASK)
		return "and guards of 32 or 64 bits, where 16 are supported";
	if (ns->elbaf & BH__ELBAF_STS_MASK)
		return "and storage tags, which are not supported";
	return NULL;
}

uint64_t bh__meta_shape(struct bh_nvme *nvme, const struct bh_nvme_ns *ns,
			const struct bh_nvme_lbaf *f)
{
	const char *why = unserved(nvme, ns, f);

	if (why) {
		bh__log(nvme, BH_LOG_WARN,
			"namespace %u is formatted with %u bytes of metadata, %s: not served",
			ns->nsid, f->ms, why);
		return bh__geom(f->lbads, 0, 0);
	}
	return bh__meta_geom(f->lbads, f->ms, ns->data.noiob, ns->data.dps & BH_NVME_DPS_TYPE_MASK,
			     ns->data.dps & BH_NVME_DPS_FIRST,
			     ns->data.flbas & BH_NVME_FLBAS_EXTENDED);
}

void bh_nvme_ns_format(const struct bh_nvme_ns *ns, struct bh_nvme_format *out)
{
	const struct bh_nvme_lbaf *f = &ns->data.lbaf[bh_nvme_flbas_index(ns->data.flbas) & 63];
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	static const uint8_t guards[4] = { 16, 32, 64, 0 };

	memset(out, 0, sizeof(*out));
	out->data_bytes = bh__meta_data(geom);
	out->served = (geom & BH__GEOM_META) || bh__geom_max(geom);
	out->plain = out->served;
	out->md_bytes = f->ms;
	if (!f->ms)
		return;
	out->interleaved = ns->data.flbas & BH_NVME_FLBAS_EXTENDED;
	out->pi_type = ns->data.dps & BH_NVME_DPS_TYPE_MASK;
	out->pi_first = out->pi_type && (ns->data.dps & BH_NVME_DPS_FIRST);
	if (!out->interleaved && !bh__meta_pi_only(geom))
		out->plain = false;
	if (out->pi_type && ns->elbaf != BH__ELBAF_UNKNOWN)
		out->guard_bits = guards[ns->elbaf >> 7 & 3];
}

/* ---- requests ---- */

void bh_nvme_rw_opts_init(struct bh_nvme_rw_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
}

/* Blocks of the next command by all limits but the data pointer's. */
static uint32_t part_blocks(const struct bh_nvme_queue *q, const struct bh__parent *r)
{
	uint32_t unit = r->meta.unit, boundary = bh__meta_boundary(r->geom);
	uint32_t max = unit ? q->max_transfer / unit : 65536, room;

	max = max > 65536 ? 65536 : max;
	max = r->left < max ? r->left : max;
	if (boundary && unit) {
		room = boundary - (uint32_t)(r->lba % boundary);
		max = max < room ? max : room;
	}
	return max;
}

/* The same by all of them: 0 or less if it is not one block. */
static int64_t part_fit(struct bh_nvme_queue *q, const struct bh__parent *r)
{
	uint32_t n = part_blocks(q, r);
	int64_t bytes;

	if (!r->meta.unit || !n)
		return n;
	bytes = bh__data_fit(q, &r->at, (uint64_t)n * r->meta.unit, r->meta.sgl);
	return bytes < 0 ? bytes : bytes / r->meta.unit;
}

static void advance(struct bh__parent *r, uint32_t n)
{
	r->lba += n;
	r->left -= n;
	if (r->meta.md_unit)
		r->meta.md += (size_t)n * r->meta.md_unit;
	r->meta.ref += r->meta.step ? n : 0;
}

/* The next command of a request, which has more. */
static int next_command(struct bh_nvme_queue *q, struct bh__parent *r, struct bh_nvme_cmd *cmd)
{
	int64_t n = part_fit(q, r);
	uint64_t iova = 0;
	int rc = 0;

	if (n <= 0)
		return n ? (int)n : -EINVAL;
	*cmd = (struct bh_nvme_cmd){ .opc = r->opc, .nsid = r->nsid };
	if (r->meta.unit)
		rc = bh__data_build(q, &r->at, (uint64_t)n * r->meta.unit, r->meta.sgl, cmd);
	if (rc)
		return rc;
	if (r->meta.md_unit && (!bh_iova_translate(q->iova_map, &q->md_cache, r->meta.md,
						   (uint64_t)n * r->meta.md_unit, &iova) ||
				(iova & 3)))
		return -EFAULT;
	cmd->mptr = iova;
	cmd->cdw10 = (uint32_t)r->lba;
	cmd->cdw11 = (uint32_t)(r->lba >> 32);
	cmd->cdw12 = r->cdw12 | (uint32_t)(n - 1);
	cmd->cdw14 = r->meta.ref;
	cmd->cdw15 = r->meta.tags;
	advance(r, (uint32_t)n);
	return 0;
}

int bh__meta_issue(struct bh_nvme_queue *q, struct bh__parent *p)
{
	struct bh_nvme_cmd cmd;
	int rc = next_command(q, p, &cmd);

	if (rc)
		return rc;
	p->pending++;
	bh__queue_push(q, &cmd, NULL, NULL, BH__SLOT_CHILD, (uint16_t)(p - q->parents));
	return 0;
}

/* The number of commands a request takes, or -EINVAL, -EFAULT. `r` is a copy. */
static int64_t count(struct bh_nvme_queue *q, struct bh__parent r)
{
	int64_t n = 0, fit;
	uint64_t iova;

	if (r.meta.md_unit && !bh_iova_translate(q->iova_map, &q->md_cache, r.meta.md,
						 (uint64_t)r.left * r.meta.md_unit, &iova))
		return -EFAULT;
	for (; r.left; n++) {
		fit = part_fit(q, &r);
		if (fit <= 0)
			return fit ? fit : -EINVAL;
		bh__cursor_skip(&r.at, (uint64_t)fit * r.meta.unit);
		advance(&r, (uint32_t)fit);
	}
	return n;
}

static struct bh_pi layout(const struct bh__parent *r)
{
	return (struct bh_pi){
		.data_bytes = bh__meta_data(r->geom),
		.md_bytes = (uint16_t)bh__meta_md(r->geom),
		.type = bh__meta_type(r->geom),
		.interleaved = bh__meta_inter(r->geom),
		.first = bh__meta_first(r->geom),
		.check = BH_PI_CHECK_GUARD | BH_PI_CHECK_REF | BH_PI_CHECK_APP,
		.app_tag = (uint16_t)r->meta.tags,
		.app_mask = (uint16_t)(r->meta.tags >> 16),
	};
}

/* Before anything was issued: the request's fields still say where it begins. */
static int generate(const struct bh__parent *r)
{
	struct iovec md = { r->meta.md, (size_t)r->left * r->meta.md_unit };
	struct bh_pi pi = layout(r);

	pi.ref_tag = r->meta.ref;
	return bh_pi_generate(&pi, r->at.iov, r->at.iovcnt, md.iov_len ? &md : NULL,
			      md.iov_len != 0, r->left);
}

uint16_t bh__meta_verify(const struct bh__parent *p)
{
	const struct bh__meta_check *c = &p->meta.check;
	size_t md_bytes = (size_t)c->blocks * p->meta.md_unit;
	struct iovec md = { md_bytes ? p->meta.md - md_bytes : NULL, md_bytes };
	struct bh_pi pi = layout(p);
	struct bh_pi_error error;
	int rc;

	pi.ref_tag = c->ref;
	rc = bh_pi_verify(&pi, c->iov, c->iovcnt, md_bytes ? &md : NULL, md_bytes != 0, c->blocks,
			  &error);
	if (c->error)
		*c->error = error;
	if (!rc)
		return 0;
	/* The vector has changed since it was taken: nothing is known of its data. */
	if (rc != -EILSEQ)
		return BH_NVME_SC_DATA_TRANSFER_ERROR;
	return error.check == BH_PI_CHECK_GUARD ? BH_NVME_SC_GUARD_CHECK_ERROR
	       : error.check == BH_PI_CHECK_APP ? BH_NVME_SC_APPTAG_CHECK_ERROR
						: BH_NVME_SC_REFTAG_CHECK_ERROR;
}

/* A request of several commands, or one that is to be verified. */
static int submit_parent(struct bh_nvme_queue *q, const struct bh__parent *r, bool split)
{
	struct bh__parent *p = &q->parents[q->parent_free[--q->nparent_free]];

	q->splits += split;
	*p = *r;
	if (p->at.iovcnt == 1) {
		p->one = *r->at.iov;
		p->at.iov = &p->one;
	}
	p->meta.check.iov = p->at.iov;
	p->meta.check.iovcnt = p->at.iovcnt;
	bh__parent_continue(q, p);
	if (p->pending)
		return 0;
	q->parent_free[q->nparent_free++] = (uint16_t)(p - q->parents);
	return -EFAULT;
}

/* r describes all of the request. */
static int submit(struct bh_nvme_queue *q, struct bh__parent *r, bool make)
{
	struct bh_nvme_cmd cmd;
	int64_t n;
	int rc = 0;

	if (bh__queue_slow(q) & BH__Q_STOP)
		return bh__queue_refuse(q);
	n = count(q, *r);
	if (n < 0)
		return (int)n;
	if (q->nfree < (n <= q->depth - q->zombies ? n : 1))
		return -EAGAIN;
	if (make)
		rc = generate(r);
	if (rc)
		return rc;
	if (n > 1 || r->meta.verify)
		return submit_parent(q, r, n > 1);
	rc = next_command(q, r, &cmd);
	if (!rc)
		bh__queue_push(q, &cmd, r->done, r->arg, 0, 0);
	return rc;
}

/* PRINFO of a request, by who makes and verifies protection information. */
static uint32_t prinfo(const struct bh__parent *r, const struct bh_nvme_rw_opts *o)
{
	bool read = r->opc == BH_NVME_CMD_READ;
	uint32_t checks = BH_NVME_IO_PRCHK_GUARD;

	if (o->pi == BH_NVME_PI_FLAGS)
		return o->flags & PRINFO;
	if (!bh__meta_type(r->geom))
		return 0;
	checks |= bh__meta_type(r->geom) != 3 ? BH_NVME_IO_PRCHK_REF : 0;
	checks |= o->app_mask ? BH_NVME_IO_PRCHK_APP : 0;
	/* What the driver verifies on reads, the controller verifies on writes, before it stores. */
	if (o->pi == BH_NVME_PI_DRIVER)
		return read ? 0 : checks;
	return BH_NVME_IO_PRACT | (read ? checks : 0);
}

/* What is transferred of each block, and by which pointer. */
static void units(struct bh__parent *r)
{
	bool strips = (r->cdw12 & BH_NVME_IO_PRACT) && bh__meta_pi_only(r->geom);
	uint32_t md = strips ? 0 : bh__meta_md(r->geom);
	bool inter = bh__meta_inter(r->geom);

	if (r->opc == BH_NVME_CMD_WRITE_ZEROES)
		return;
	r->meta.unit = bh__meta_data(r->geom) + (inter ? md : 0);
	r->meta.md_unit = inter ? 0 : md;
}

static int request(struct bh_nvme_queue *q, struct bh__parent *r, const struct bh_nvme_rw_opts *o)
{
	bool driver = o->pi == BH_NVME_PI_DRIVER, read = r->opc == BH_NVME_CMD_READ;
	uint8_t type = bh__meta_type(r->geom);

	if ((driver && !type) || (o->set_ref_tag && type == 1 && o->ref_tag != (uint32_t)r->lba))
		return -EINVAL;
	r->cdw12 = (o->flags & 0xffff0000u & ~PRINFO) | prinfo(r, o);
	units(r);
	r->meta.md = o->md;
	r->meta.ref = o->set_ref_tag ? o->ref_tag : (uint32_t)r->lba;
	r->meta.tags = (uint32_t)o->app_mask << 16 | o->app_tag;
	r->meta.step = type != 3;
	/* A controller that takes MPTR beside SGLs says so (SGLS bit 19). */
	r->meta.sgl = q->sgl && (!r->meta.md_unit || q->sgl_mptr);
	r->meta.verify = driver && read;
	r->meta.check =
		(struct bh__meta_check){ .blocks = r->left, .ref = r->meta.ref, .error = o->error };
	if (!r->left || r->left - 1 > UINT64_MAX - r->lba ||
	    bh__cursor_left(&r->at) != (uint64_t)r->left * r->meta.unit ||
	    o->md_bytes != (uint64_t)r->left * r->meta.md_unit || !o->md != !o->md_bytes)
		return -EINVAL;
	return submit(q, r, driver && !read);
}

int bh__meta_plain(struct bh_nvme_queue *q, uint8_t opc, uint32_t nsid, uint64_t geom,
		   const struct bh__cursor *at, uint64_t lba, uint32_t blocks, uint32_t flags,
		   bh_nvme_done done, void *arg)
{
	struct bh_nvme_rw_opts o = { .size = sizeof(o), .flags = flags & ~PRINFO };
	struct bh__parent r = { .done = done,
				.arg = arg,
				.at = *at,
				.geom = geom,
				.lba = lba,
				.left = blocks,
				.nsid = nsid,
				.opc = opc,
				.meta.on = true };

	/* Controllers do not make protection information to compare with. */
	if (opc == BH_NVME_CMD_COMPARE)
		o.pi = BH_NVME_PI_FLAGS;
	return request(q, &r, &o);
}

/* Options as they are here, of callers built with fewer. */
static int opts_read(const struct bh_nvme_rw_opts *opts, struct bh_nvme_rw_opts *o)
{
	bh_nvme_rw_opts_init(o);
	if (!opts)
		return 0;
	if (opts->size < offsetof(struct bh_nvme_rw_opts, error) || opts->size > sizeof(*o))
		return -EINVAL;
	memcpy(o, opts, opts->size);
	return (unsigned int)o->pi > BH_NVME_PI_FLAGS ? -EINVAL : 0;
}

static int rwv_opts(struct bh_nvme_queue *q, uint8_t opc, const struct bh_nvme_ns *ns,
		    const struct iovec *iov, unsigned int iovcnt, uint64_t lba, uint32_t blocks,
		    const struct bh_nvme_rw_opts *opts, bh_nvme_done done, void *arg)
{
	uint64_t geom = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED);
	struct bh__parent r = { .done = done,
				.arg = arg,
				.at = { iov, iovcnt, 0 },
				.geom = geom,
				.lba = lba,
				.left = blocks,
				.nsid = ns->nsid,
				.opc = opc,
				.meta.on = true };
	struct bh_nvme_rw_opts o;
	int rc = opts_read(opts, &o);

	if (rc)
		return rc;
	if (o.error)
		memset(o.error, 0, sizeof(*o.error));
	if (geom & BH__GEOM_META)
		return request(q, &r, &o);
	if (o.md || o.md_bytes || o.pi == BH_NVME_PI_DRIVER)
		return -EINVAL;
	return bh__queue_split(q, opc, ns->nsid, geom, &r.at, true, lba, blocks,
			       o.flags & 0xffff0000u & ~PRINFO, done, arg);
}

int bh_nvme_readv_opts(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct iovec *iov,
		       unsigned int iovcnt, uint64_t lba, uint32_t blocks,
		       const struct bh_nvme_rw_opts *opts, bh_nvme_done done, void *arg)
{
	return rwv_opts(q, BH_NVME_CMD_READ, ns, iov, iovcnt, lba, blocks, opts, done, arg);
}

int bh_nvme_writev_opts(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct iovec *iov,
			unsigned int iovcnt, uint64_t lba, uint32_t blocks,
			const struct bh_nvme_rw_opts *opts, bh_nvme_done done, void *arg)
{
	return rwv_opts(q, BH_NVME_CMD_WRITE, ns, iov, iovcnt, lba, blocks, opts, done, arg);
}

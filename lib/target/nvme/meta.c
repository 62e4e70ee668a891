/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metadata and protection information (NVM command set 1.0 5.2).
 *
 * The store has the data, memory beside it the metadata (struct bh_blk, md), so a request of a
 * namespace with metadata takes the way of bounced requests, through one buffer:
 *
 *	0	what travels by the data pointer: data, or data and metadata by turns
 *	data_at	data, where they are not at 0 already (by turns; Compare: those of the store)
 *	md_at	metadata, block by block; separate ones travel from and to here
 *	own_at	Compare: the metadata of the store
 *
 * Copy has its source ranges at 0, and the other two behind them.
 *
 * and in two more steps: what has come is taken apart, protection information made or verified,
 * before the store has the data; metadata reach their place when it has them. Reads go the other
 * way. What is verified is private memory, which nobody can change behind the check.
 *
 * Metadata that travel by themselves do so as an SGL of one descriptor: made from the metadata
 * pointer, or fetched from where that points to.
 */
#include <stdlib.h>
#include <string.h>

#include <bellhop/pi.h>

#include "target/nvme/meta.h"

struct tn_meta {
	struct tn_xfer xfer;
	uint32_t data_at, md_at, own_at;
	/* Of the line, which requests left behind outlive. */
	uint8_t *medium; /* of the first block */
	struct bh_blk_format format;
	/* On the way: the descriptor that the metadata pointer points to, and who is told. */
	struct bh_nvme_sgl desc;
	bool to_client;
	tn_done done;
};

static size_t round_up(size_t len)
{
	return (len + TN_PAGE_SIZE - 1) & ~(size_t)(TN_PAGE_SIZE - 1);
}

static uint32_t data_bytes(const struct tn_job *job)
{
	return job->blocks << job->line->shift;
}

static uint32_t md_bytes(const struct tn_job *job)
{
	return job->blocks * job->life->format.md_bytes;
}

/* ---- decoding ---- */

static uint8_t check_bits(uint32_t prinfo)
{
	return (uint8_t)((prinfo & BH_NVME_IO_PRCHK_GUARD ? BH_PI_CHECK_GUARD : 0) |
			 (prinfo & BH_NVME_IO_PRCHK_APP ? BH_PI_CHECK_APP : 0) |
			 (prinfo & BH_NVME_IO_PRCHK_REF ? BH_PI_CHECK_REF : 0));
}

/* What Copy says of its sources, where other commands, and Copy of what it writes, have PRINFO. */
static uint32_t prinfor(const struct bh_nvme_cmd *cmd)
{
	return (uint32_t)BH_NVME_GET(cmd->cdw12, COPY_PRINFOR) *
	       BH_NVME_IO_PRCHK_REF; /* the lowest bit of both */
}

/*
 * A reference tag of type 1 is the block's address, one of type 3 nobody's business (NVM command set
 * 1.0 5.2.2.5).
 */
static bool is_bad_tag(const struct tn_job *job, uint32_t prinfo, uint32_t tag, uint64_t lba)
{
	if (!job->life->format.pi || !(prinfo & BH_NVME_IO_PRCHK_REF))
		return false;
	return job->life->format.pi == 3 || (job->life->format.pi == 1 && tag != (uint32_t)lba);
}

static uint16_t refuse(struct tn_job *job, uint16_t sc, size_t param)
{
	job->param = (uint16_t)param;
	return TN_SF(sc);
}

uint16_t tn_meta_decode(const struct tn_thread *t, struct tn_job *job,
			const struct bh_nvme_cmd *cmd)
{
	const struct bh_blk_format *f = &job->life->format;
	bool acts = f->pi && cmd->cdw12 & BH_NVME_IO_PRACT;
	bool is_stripped = acts && f->md_bytes == BH_PI_TUPLE;

	if (is_bad_tag(job, cmd->cdw12, cmd->cdw14, job->lba))
		return refuse(job, BH_NVME_SC_INVALID_PROTECTION_INFO,
			      offsetof(struct bh_nvme_cmd, cdw14));
	if (acts && job->op == BH_BLK_COMPARE) /* there would be nothing to compare with */
		return refuse(job, BH_NVME_SC_INVALID_PROTECTION_INFO,
			      offsetof(struct bh_nvme_cmd, cdw12));
	if (job->op == BH_BLK_WRITE_ZEROES)
		return 0;
	job->has_md = true;
	job->is_emulated = false;     /* Compare is done here */
	if (job->inside == TN_VERIFY) /* nothing travels */
		return 0;
	job->is_md_apart = !is_stripped && !f->interleaved;
	job->is_by_turns = !is_stripped && f->interleaved;
	if (job->is_by_turns)
		job->bytes = job->blocks * (f->block_size + f->md_bytes);
	if (job->bytes > t->ctrl->mdts)
		return refuse(job, BH_NVME_SC_INVALID_FIELD, offsetof(struct bh_nvme_cmd, cdw12));
	if (job->is_md_apart && cmd->mptr & 3)
		return refuse(job, BH_NVME_SC_INVALID_FIELD, offsetof(struct bh_nvme_cmd, mptr));
	return 0;
}

/* What it makes of protection information it makes of all of it (NVM command set 1.0 3.2.2). */
uint16_t tn_meta_decode_copy(struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	job->has_md = true;
	if (job->life->format.pi && (cmd->cdw12 ^ prinfor(cmd)) & BH_NVME_IO_PRACT)
		return refuse(job, BH_NVME_SC_INVALID_FIELD, offsetof(struct bh_nvme_cmd, cdw12));
	if (is_bad_tag(job, cmd->cdw12, cmd->cdw14, job->lba))
		return refuse(job, BH_NVME_SC_INVALID_PROTECTION_INFO,
			      offsetof(struct bh_nvme_cmd, cdw14));
	return 0;
}

uint16_t tn_meta_check_range(const struct tn_req *req, const struct bh_nvme_copy_range *range)
{
	return is_bad_tag(&req->job, prinfor(&req->xfer.cmd), range->eilbrt, range->slba)
		       ? TN_SF(BH_NVME_SC_INVALID_PROTECTION_INFO)
		       : 0;
}

/* ---- memory ---- */

static uint8_t *medium(const struct tn_line_life *life, uint64_t lba)
{
	return life->md + lba * life->format.md_bytes;
}

static void lay_out(const struct tn_job *job, struct tn_meta *meta)
{
	bool is_apart = job->is_by_turns || job->op == BH_BLK_COMPARE;

	if (job->inside == TN_COPY) { /* as much as it may have: the ranges are not here yet */
		meta->data_at = TN_COPY_DATA;
		meta->md_at = (uint32_t)tn_copy_buffer(job);
		meta->own_at =
			meta->md_at + tn_copy_limit(job->line->max_blocks, job->line->shift) *
					      job->life->format.md_bytes;
		return;
	}
	meta->data_at = is_apart ? (uint32_t)round_up(job->bytes) : 0;
	meta->md_at = meta->data_at + data_bytes(job);
	meta->own_at = meta->md_at + md_bytes(job);
}

size_t tn_meta_bytes(const struct tn_job *job)
{
	struct tn_meta meta;

	lay_out(job, &meta);
	return meta.own_at + (job->op == BH_BLK_COMPARE ? md_bytes(job) : 0);
}

size_t tn_meta_charge(void)
{
	return sizeof(struct tn_meta);
}

size_t tn_meta_apart(const struct tn_job *job)
{
	return job->is_md_apart ? md_bytes(job) : 0;
}

struct tn_meta *tn_meta_new(const struct tn_job *job)
{
	struct tn_meta *meta = calloc(1, sizeof(*meta));

	if (!meta)
		return NULL;
	lay_out(job, meta);
	meta->medium = medium(job->life, job->lba);
	meta->format = job->life->format;
	return meta;
}

void tn_meta_cancel(struct tn_meta *meta)
{
	meta->xfer.is_cancelled = true;
}

void tn_meta_free(struct tn_meta *meta)
{
	free(meta);
}

/* Of the store's, the data. */
struct iovec tn_meta_data(const struct tn_req *req)
{
	return (struct iovec){ req->buf + req->meta->data_at, data_bytes(&req->job) };
}

/* ---- the medium ---- */

static size_t tuple_at(const struct bh_blk_format *f)
{
	return f->pi_first ? 0 : f->md_bytes - (size_t)BH_PI_TUPLE;
}

/* Tuples are inverted where they lie, see struct bh_blk. */
static void invert(const struct bh_blk_format *f, uint8_t *md, uint32_t blocks)
{
	uint64_t tuple;

	if (!f->pi)
		return;
	for (md += tuple_at(f); blocks > 0; blocks--, md += f->md_bytes) {
		memcpy(&tuple, md, sizeof(tuple));
		tuple = ~tuple;
		memcpy(md, &tuple, sizeof(tuple));
	}
}

static void medium_get(const struct tn_job *job, uint64_t lba, uint32_t blocks, uint8_t *to)
{
	memcpy(to, medium(job->life, lba), (size_t)blocks * job->life->format.md_bytes);
	invert(&job->life->format, to, blocks);
}

/* Inverts the buffer, which nobody wants any more. */
static void medium_put(const struct tn_req *req)
{
	const struct tn_meta *meta = req->meta;
	uint8_t *from = req->buf + meta->md_at;

	invert(&meta->format, from, req->job.blocks);
	memcpy(meta->medium, from, (size_t)req->job.blocks * meta->format.md_bytes);
}

/* A write that was left behind has reached the store: its metadata belong there too. */
void tn_meta_left(struct tn_req *req)
{
	if (req->io.op == BH_BLK_WRITE)
		medium_put(req);
}

/*
 * Protection information of Write Zeroes is zeros, or with PRACT that of zeroed blocks (NVM command set
 * 1.0 3.2.8).
 */
static void medium_zero(const struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	const struct bh_blk_format *f = &job->life->format;
	uint8_t *md = medium(job->life, job->lba);
	bool acts = cmd->cdw12 & BH_NVME_IO_PRACT;
	struct bh_pi_tuple tuple;
	uint32_t i;

	memset(md, 0, (size_t)job->blocks * f->md_bytes);
	if (!f->pi)
		return;
	for (i = 0; i < job->blocks; i++) {
		/* A CRC that begins with zero and goes over zeros is zero. */
		bh_pi_set(&tuple, 0, acts ? (uint16_t)cmd->cdw15 : 0,
			  acts ? cmd->cdw14 + (f->pi == 3 ? 0 : i) : 0);
		memcpy(md + i * (size_t)f->md_bytes + tuple_at(f), &tuple, sizeof(tuple));
	}
	invert(f, md, job->blocks);
}

/* Blocks of one step of a deallocation, which is bounded: ranges may be all of a disk, 256 times. */
void tn_meta_forget(const struct tn_req *req)
{
	const struct tn_line_life *life = req->job.life;

	memset(medium(life, req->io.lba), 0, (size_t)req->io.blocks * life->format.md_bytes);
}

/* ---- protection information ---- */

static struct bh_pi pi_of(const struct tn_req *req)
{
	const struct bh_blk_format *f = &req->job.life->format;
	const struct bh_nvme_cmd *cmd = &req->xfer.cmd;

	return (struct bh_pi){
		.data_bytes = f->block_size,
		.md_bytes = f->md_bytes,
		.type = f->pi,
		.first = f->pi_first,
		.check = check_bits(cmd->cdw12),
		.app_tag = (uint16_t)cmd->cdw15,
		.app_mask = (uint16_t)(cmd->cdw15 >> 16),
		.ref_tag = cmd->cdw14,
	};
}

static uint16_t status_of(const struct bh_pi_error *error)
{
	switch (error->check) {
	case BH_PI_CHECK_GUARD:
		return TN_SF(BH_NVME_SC_GUARD_CHECK_ERROR);
	case BH_PI_CHECK_APP:
		return TN_SF(BH_NVME_SC_APPTAG_CHECK_ERROR);
	default:
		return TN_SF(BH_NVME_SC_REFTAG_CHECK_ERROR);
	}
}

static uint16_t verify_as(struct tn_req *req, const struct bh_pi *pi, uint8_t *data, uint8_t *md,
			  uint32_t blocks)
{
	const struct iovec d = { data, (size_t)blocks * pi->data_bytes };
	const struct iovec m = { md, (size_t)blocks * pi->md_bytes };
	struct bh_pi_error error;

	if (!pi->type || !pi->check || !bh_pi_verify(pi, &d, 1, &m, 1, blocks, &error))
		return 0;
	req->bad_block = error.block;
	return status_of(&error);
}

static uint16_t verify(struct tn_req *req, uint8_t *data, uint8_t *md)
{
	const struct bh_pi pi = pi_of(req);

	return verify_as(req, &pi, data, md, req->job.blocks);
}

static void generate(struct tn_req *req, uint8_t *data, uint8_t *md)
{
	const struct iovec d = { data, data_bytes(&req->job) }, m = { md, md_bytes(&req->job) };
	const struct bh_pi pi = pi_of(req);

	bh_pi_generate(&pi, &d, 1, &m, 1, req->job.blocks);
}

static bool is_acting(const struct tn_req *req)
{
	return req->job.life->format.pi && req->xfer.cmd.cdw12 & BH_NVME_IO_PRACT;
}

/* Of what is to be stored: made, or verified. */
static uint16_t protect(struct tn_req *req, uint8_t *data, uint8_t *md)
{
	if (!is_acting(req))
		return verify(req, data, md);
	generate(req, data, md);
	return 0;
}

/* ---- from the host to the store ---- */

/* Blocks and their metadata by turns, apart; `data` NULL: metadata only. */
static void take_apart(const struct tn_job *job, const uint8_t *from, uint8_t *data, uint8_t *md)
{
	const struct bh_blk_format *f = &job->life->format;
	uint32_t i;

	for (i = 0; i < job->blocks; i++) {
		if (data)
			memcpy(data + (size_t)i * f->block_size, from, f->block_size);
		from += f->block_size;
		memcpy(md + (size_t)i * f->md_bytes, from, f->md_bytes);
		from += f->md_bytes;
	}
}

static void put_together(const struct tn_job *job, const uint8_t *data, const uint8_t *md,
			 uint8_t *to)
{
	const struct bh_blk_format *f = &job->life->format;
	uint32_t i;

	for (i = 0; i < job->blocks; i++) {
		memcpy(to, data + (size_t)i * f->block_size, f->block_size);
		to += f->block_size;
		memcpy(to, md + (size_t)i * f->md_bytes, f->md_bytes);
		to += f->md_bytes;
	}
}

uint16_t tn_meta_take(struct tn_req *req)
{
	const struct tn_job *job = &req->job;
	uint8_t *data, *md;

	/* What blocks lose first is what is verified of them: they become zeros in any order. */
	if (job->op == BH_BLK_WRITE_ZEROES)
		memset(medium(job->life, job->lba), 0, md_bytes(job));
	if ((job->op != BH_BLK_WRITE && job->op != BH_BLK_COMPARE) || job->inside == TN_COPY)
		return 0;
	data = req->buf + req->meta->data_at;
	md = req->buf + req->meta->md_at;
	if (job->is_by_turns)
		take_apart(job, req->buf, job->op == BH_BLK_WRITE ? data : NULL, md);
	return job->op == BH_BLK_WRITE ? protect(req, data, md) : 0;
}

/* ---- from the store to the host ---- */

static bool differs(const struct tn_req *req)
{
	const struct tn_job *job = &req->job;
	const struct bh_blk_format *f = &job->life->format;
	const uint8_t *data = req->buf + req->meta->data_at, *md = req->buf + req->meta->md_at;
	const uint8_t *own = req->buf + req->meta->own_at, *host = req->buf;
	size_t from = f->pi && f->pi_first ? BH_PI_TUPLE : 0;
	size_t len =
		f->md_bytes - (f->pi ? (size_t)BH_PI_TUPLE : 0); /* the tuple is not compared */
	uint32_t i, step = job->is_by_turns ? f->block_size + f->md_bytes : f->block_size;

	for (i = 0; i < job->blocks; i++) {
		if (memcmp(host, data, f->block_size) != 0 ||
		    memcmp(md + from, own + from, len) != 0)
			return true;
		host += step;
		data += f->block_size;
		md += f->md_bytes;
		own += f->md_bytes;
	}
	return false;
}

static uint16_t compare(struct tn_req *req)
{
	uint8_t *own = req->buf + req->meta->own_at;
	uint16_t status;

	medium_get(&req->job, req->job.lba, req->job.blocks, own);
	status = verify(req, req->buf + req->meta->data_at, own);
	if (!status && differs(req))
		status = TN_SF(BH_NVME_SC_COMPARE_FAILURE);
	return status;
}

static uint16_t give(struct tn_req *req)
{
	uint8_t *data = req->buf + req->meta->data_at, *md = req->buf + req->meta->md_at;
	uint16_t status;

	medium_get(&req->job, req->job.lba, req->job.blocks, md);
	status = verify(req, data, md);
	if (!status && req->job.is_by_turns)
		put_together(&req->job, data, md, req->buf);
	return status;
}

uint16_t tn_meta_stored(struct tn_req *req)
{
	switch (req->job.op) {
	case BH_BLK_READ:
		return give(req);
	case BH_BLK_COMPARE:
		return compare(req);
	case BH_BLK_WRITE:
		medium_put(req);
		return 0;
	case BH_BLK_WRITE_ZEROES:
		medium_zero(&req->job, &req->xfer.cmd);
		return 0;
	}
	return 0;
}

/* ---- from the store to the store ---- */

uint16_t tn_meta_copied(struct tn_req *req, const struct bh_nvme_copy_range *range, uint32_t at)
{
	uint8_t *data = req->buf + req->meta->data_at, *md = req->buf + req->meta->md_at;
	struct bh_pi pi = pi_of(req);
	uint16_t status;

	pi.check = check_bits(prinfor(&req->xfer.cmd));
	pi.app_tag = range->elbat;
	pi.app_mask = range->elbatm;
	pi.ref_tag = range->eilbrt;
	data += (size_t)at * pi.data_bytes;
	md += (size_t)at * pi.md_bytes;
	medium_get(&req->job, range->slba, range->nlb + 1u, md);
	status = verify_as(req, &pi, data, md, range->nlb + 1u);
	if (status) /* the error log names the block of the source */
		req->bad_block += range->slba - req->job.lba;
	return status;
}

uint16_t tn_meta_copy(struct tn_req *req)
{
	return protect(req, req->buf + req->meta->data_at, req->buf + req->meta->md_at);
}

/* ---- metadata on its way ---- */

static void run(struct tn_req *req, const struct bh_nvme_sgl *sgl, void *buf, size_t len,
		bool to_client, tn_done done)
{
	struct tn_xfer *xfer = &req->meta->xfer;
	struct tn_thread *t = req->thread;

	xfer->cmem = t->cmem;
	xfer->home = t->reactor;
	xfer->cmd = (struct bh_nvme_cmd){ .flags = BH_NVME_PSDT_SGL_MPTR_CONTIG };
	xfer->cmd.dptr.sgl = *sgl;
	xfer->buf = buf;
	xfer->len = len;
	xfer->to_client = to_client;
	xfer->done = done;
	xfer->arg = req;
	xfer->hold = &t->hold;
	t->work += len;
	tn_xfer_run(xfer);
}

static void run_data(struct tn_req *req, const struct bh_nvme_sgl *sgl)
{
	run(req, sgl, req->buf + req->meta->md_at, md_bytes(&req->job), req->meta->to_client,
	    req->meta->done);
}

static void described(void *arg, uint16_t status)
{
	struct tn_req *req = arg;
	const struct bh_nvme_sgl sgl = req->meta->desc;

	if (status || !req->sq)
		req->meta->done(req, status);
	else
		run_data(req, &sgl);
}

static void begin(struct tn_req *req, bool to_client, tn_done done)
{
	const struct bh_nvme_cmd *cmd = &req->xfer.cmd;
	bool is_sgl = (cmd->flags & BH_NVME_PSDT_MASK) == BH_NVME_PSDT_SGL_MPTR_SGL;
	struct tn_meta *meta = req->meta;
	struct bh_nvme_sgl sgl = { .addr = cmd->mptr, .type = BH_NVME_SGL_DATA_BLOCK };

	req->state = to_client ? TN_REQ_OUT : TN_REQ_IN;
	meta->to_client = to_client;
	meta->done = done;
	sgl.len = is_sgl ? (uint32_t)sizeof(meta->desc) : md_bytes(&req->job);
	if (is_sgl)
		run(req, &sgl, &meta->desc, sizeof(meta->desc), false, described);
	else
		run_data(req, &sgl);
}

bool tn_meta_fetch(struct tn_req *req, tn_done done)
{
	if (!req->job.is_md_apart || req->job.to_client)
		return false;
	begin(req, false, done);
	return true;
}

bool tn_meta_send(struct tn_req *req, tn_done done)
{
	if (!req->job.is_md_apart || !req->job.to_client)
		return false;
	begin(req, true, done);
	return true;
}

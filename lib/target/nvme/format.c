/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Format NVM (NVMe 2.0 5.14, NVM command set 1.0 4.1.3).
 *
 * A store has one format, whoever it is attached to. So a format is a job of its own: it claims the
 * store, whereupon every namespace made of it stands still (ns.c), on all controllers; makes what
 * the new format needs; erases the blocks (erase.c); and lets go, which has hosts told that the
 * namespace has changed. The command completes when all of them have gone on, on all of their
 * threads: what its host submits next is carried out. If its controller is reset meanwhile, the job
 * goes on, and nobody is told; if it is to go, the job is given up first, and the store keeps the
 * format it had.
 *
 * What erasing means depends on what was asked for. Without a secure erase blocks become zeros in
 * the cheapest way there is (holes in a file). User data erase overwrites each of them, which is as
 * much as somebody can do who does not know what lies below a file. Nothing here is encrypted, so
 * there are no keys to be thrown away: that kind is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"

#define SES_NONE 0u
#define SES_USER_DATA 1u

struct job {
	struct bh_target_nvme *ctrl;
	struct tn_admin_cmd *cmd;
	struct tn_space *space;
	struct bh_blk *blk;
	struct bh_blk_format format;
	struct blk_media *media; /* NULL: the format stays as it is */
	struct bh_msg msg;
	uint64_t at; /* bytes erased */
	uint16_t sf; /* what came of it */
	bool is_new; /* the format, or metadata that must go */
	bool is_secure;
};

/* ---- formats on offer ---- */

static const struct {
	uint16_t block_size, md_bytes;
} sizes[] = {
	{ 512, 0 },  { 512, 8 },  { 512, 16 },	{ 512, 64 },
	{ 4096, 0 }, { 4096, 8 }, { 4096, 16 }, { 4096, 64 },
};

bool tn_format_get(const struct bh_blk *blk, unsigned int i, struct bh_blk_format *out)
{
	const struct bh_blk_format *now = &bh_blk_info(blk)->format;
	unsigned int k;

	for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		*out = (struct bh_blk_format){ .block_size = sizes[k].block_size,
					       .md_bytes = sizes[k].md_bytes };
		if (bh_blk_format_check(blk, out) &&
		    (now->block_size != out->block_size || now->md_bytes != out->md_bytes))
			continue;
		if (!i--)
			return true;
	}
	return false;
}

void tn_format_identify(const struct bh_blk *blk, struct bh_nvme_id_ns *id)
{
	const struct bh_blk_format *now = &bh_blk_info(blk)->format;
	uint8_t left = __atomic_load_n(&blk->format_left, __ATOMIC_RELAXED);
	struct bh_blk_format f;
	bool has_md = false;
	uint8_t i;

	for (i = 0; tn_format_get(blk, i, &f); i++) {
		id->lbaf[i].ms = f.md_bytes;
		id->lbaf[i].lbads = f.block_size == 4096 ? 12 : 9;
		has_md |= f.md_bytes != 0;
		if (f.block_size == now->block_size && f.md_bytes == now->md_bytes)
			id->flbas = i;
	}
	id->nlbaf = (uint8_t)(i - 1);
	if (now->interleaved)
		id->flbas |= BH_NVME_FLBAS_EXTENDED;
	if (has_md) {
		id->mc = BH_NVME_MC_EXTENDED | BH_NVME_MC_SEPARATE;
		id->dpc = BH_NVME_DPC_TYPE1 | BH_NVME_DPC_TYPE2 | BH_NVME_DPC_TYPE3 |
			  BH_NVME_DPC_FIRST | BH_NVME_DPC_LAST;
	}
	id->dps = (uint8_t)(now->pi | (now->pi_first ? BH_NVME_DPS_FIRST : 0));
	id->fpi = BH_NVME_FPI_SUPPORTED | left;
}

void tn_zns_identify(const struct bh_blk *blk, struct bh_nvme_id_ns_zns *id)
{
	const struct bh_blk_zoned *zoned = &bh_blk_info(blk)->zoned;
	struct bh_blk_format f;
	unsigned int i;

	id->ozcs = BH_NVME_OZCS_READ_ACROSS;
	id->mar = zoned->max_active - 1; /* no limit: FFFFFFFFh */
	id->mor = zoned->max_open - 1;
	for (i = 0; tn_format_get(blk, i, &f); i++)
		id->lbafe[i].zsze = zoned->bytes / f.block_size;
}

/* ---- the job ---- */

static void complete(void *ctx)
{
	struct job *job = ctx;
	struct bh_target_nvme *ctrl = job->ctrl;

	bh_blk_put(job->blk);
	tn_space_release(job->space);
	tn_pel_format_end(job->cmd, job->sf);
	tn_admin_complete(job->cmd, job->sf);
	free(job);
	tn_ctl(ctrl)->pending_ns--;
	tn_ctrl_ns_gone(ctrl);
}

/* On whatever thread. */
static void released(void *arg)
{
	struct job *job = arg;

	job->msg.fn = complete;
	bh_reactor_send(job->ctrl->control, &job->msg);
}

static void finish(struct job *job, uint16_t sf)
{
	struct bh_blk *blk = job->blk;

	if (!sf)
		bh_blk_bad_clear(blk, 0, bh_blk_info(blk)->blocks);
	if (!sf && job->media && bh_blk_format_commit(blk, job->media))
		sf = BH_NVME_SC_INTERNAL_ERROR;
	else if (sf)
		bh_blk_format_drop(job->media);
	__atomic_store_n(&blk->format_left, 0, __ATOMIC_RELAXED);
	job->sf = sf;
	bh_blk_release(blk, released, job);
}

static uint16_t status_of(int error)
{
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return BH_NVME_SC_CAPACITY_EXCEEDED;
	case -EROFS:
		return BH_NVME_SC_NS_WRITE_PROTECTED | BH_NVME_STATUS_DNR;
	case -EIO:
		return BH_NVME_SC_WRITE_FAULT;
	default:
		return BH_NVME_SC_INTERNAL_ERROR;
	}
}

static bool progress(void *arg, uint64_t bytes)
{
	struct job *job = arg;

	job->at += bytes;
	__atomic_store_n(&job->blk->format_left,
			 (uint8_t)(100 - job->at / (job->blk->bytes / 100 + 1)), __ATOMIC_RELAXED);
	return !job->ctrl->is_destroying;
}

static void erased(void *arg, int error)
{
	finish(arg, error ? status_of(error) : 0);
}

static int begin(struct job *job)
{
	static const uint32_t zeros;
	const struct bh_blk_info *info = bh_blk_info(job->blk);
	const struct tn_erase_opts opts = { .control = job->ctrl->control,
					    .blk = job->blk,
					    .bytes = info->blocks * info->block_size,
					    .pattern = job->is_secure ? &zeros : NULL,
					    .progress = progress,
					    .done = erased,
					    .arg = job };
	struct tn_erase *erase;
	int rc = 0;

	if (job->is_new)
		rc = bh_blk_format_prepare(job->blk, &job->format, &job->media);
	return rc ? rc : tn_erase_start(&opts, &erase);
}

/* Everybody has yielded. */
static void run(void *ctx)
{
	struct job *job = ctx;
	int rc = begin(job);

	if (rc) {
		bh_log(job->ctrl->log, BH_LOG_WARN, TN_LOG, "%s: %s cannot be formatted: %s",
		       job->ctrl->path, bh_blk_info(job->blk)->name, strerror(-rc));
		finish(job, status_of(rc));
	}
}

static void claimed(void *arg)
{
	struct job *job = arg;

	bh_reactor_send(job->ctrl->control, &job->msg);
}

/* ---- the command ---- */

static bool is_same(const struct bh_blk_format *a, const struct bh_blk_format *b)
{
	return a->block_size == b->block_size && a->md_bytes == b->md_bytes && a->pi == b->pi &&
	       a->pi_first == b->pi_first && a->interleaved == b->interleaved;
}

/* What command dword 10 asks for: 0, or the status that it is refused with. */
static uint16_t decode(const struct bh_blk *blk, uint32_t cdw10, struct bh_blk_format *f)
{
	unsigned int i = (unsigned int)(BH_NVME_GET(cdw10, FORMAT_LBAFL) |
					BH_NVME_GET(cdw10, FORMAT_LBAFU) << 4);

	if (BH_NVME_GET(cdw10, FORMAT_SES) > SES_USER_DATA)
		return BH_NVME_SC_INVALID_FIELD;
	if (!tn_format_get(blk, i, f))
		return BH_NVME_SC_INVALID_FORMAT;
	f->pi = (uint8_t)BH_NVME_GET(cdw10, FORMAT_PI);
	f->pi_first = f->pi && cdw10 & BH_NVME_FORMAT_PIL;
	f->interleaved = f->md_bytes && cdw10 & BH_NVME_FORMAT_MSET;
	if (f->pi > 3 || (f->pi && !f->md_bytes) ||
	    (!is_same(f, &bh_blk_info(blk)->format) && bh_blk_format_check(blk, f)))
		return BH_NVME_SC_INVALID_FORMAT;
	return 0;
}

static void start(struct tn_admin_cmd *cmd, const struct tn_ns *ns,
		  const struct bh_blk_format *format)
{
	struct bh_blk *blk = ns->blk;
	struct job *job = calloc(1, sizeof(*job));

	if (!job) {
		tn_admin_complete(cmd, BH_NVME_SC_INTERNAL_ERROR);
		return;
	}
	job->ctrl = cmd->ctrl;
	job->cmd = cmd;
	job->format = *format;
	job->is_secure = BH_NVME_GET(cmd->sqe.cdw10, FORMAT_SES) == SES_USER_DATA;
	job->is_new = blk->md || blk->zones || !is_same(format, &bh_blk_info(blk)->format);
	job->blk = bh_blk_get(blk);
	job->space = ns->space;
	job->msg = (struct bh_msg){ .fn = run, .ctx = job };
	/* Nobody else gets its room before it has been erased. */
	tn_space_hold(job->space);
	tn_ctl(job->ctrl)->pending_ns++;
	if (!bh_blk_claim(blk, claimed, job)) {
		tn_pel_format_start(cmd);
		return;
	}
	tn_ctl(job->ctrl)->pending_ns--;
	tn_space_release(job->space);
	bh_blk_put(blk);
	free(job);
	tn_admin_complete(cmd, BH_NVME_SC_FORMAT_IN_PROGRESS);
}

void tn_cmd_format(struct tn_admin_cmd *cmd)
{
	const struct tn_ns *ns = tn_ns_get(cmd->ctrl, cmd->sqe.nsid);
	struct bh_blk_format format;
	uint16_t sf;

	if (cmd->sqe.nsid == BH_NVME_NSID_ALL) { /* FNA bit 3 */
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_NSID);
	} else if (!cmd->sqe.nsid || cmd->sqe.nsid > BH_TARGET_NVME_MAX_NS) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_NS, TN_AT_NSID);
	} else if (!ns) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_NSID);
	} else if (__atomic_load_n(&ns->deny, __ATOMIC_RELAXED)) {
		tn_admin_fail(cmd, BH_NVME_SC_RESERVATION_CONFLICT, TN_AT_NSID);
	} else if (!(bh_blk_info(ns->blk)->caps & BH_BLK_CAP_WRITE)) {
		tn_admin_fail(cmd, BH_NVME_SC_NS_WRITE_PROTECTED, TN_AT_NSID);
	} else {
		sf = decode(ns->blk, cmd->sqe.cdw10, &format);
		if (sf)
			tn_admin_fail(cmd, sf, TN_AT_CDW10);
		else
			start(cmd, ns, &format);
	}
}

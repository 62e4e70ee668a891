/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O commands (NVM command set 1.0 3.2): what they ask for, whether they may, and doing those at
 * once that can be.
 *
 * tn_cmd_decode is the one place that knows the commands; the fast path (queue_io.c) takes reads
 * and writes away before it when nothing about them is odd, and comes here for everything else,
 * errors included.
 */
#include <errno.h>

#include "target/nvme/meta.h"

#define PARAM(field) ((uint16_t)offsetof(struct bh_nvme_cmd, field))

static uint16_t invalid(struct tn_job *job, uint16_t sc, uint16_t param)
{
	job->param = param;
	return TN_SF(sc);
}

/* The LBA range of a command. */
static uint16_t check_range(struct tn_job *job)
{
	uint64_t blocks = bh_load_u64(&job->line->blocks);

	if (job->blocks > blocks || job->lba > blocks - job->blocks)
		return invalid(job, BH_NVME_SC_LBA_OUT_OF_RANGE, PARAM(cdw10));
	return 0;
}

/* What is left to be checked of a command with a range of blocks. */
static uint16_t check_rest(const struct tn_thread *t, struct tn_job *job,
			   const struct bh_nvme_cmd *cmd)
{
	uint16_t status = check_range(job);

	if (status || !job->line->has_beside || !job->life->md)
		return status;
	return tn_meta_decode(t, job, cmd);
}

static void take_range(struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	job->lba = cmd->cdw10 | (uint64_t)cmd->cdw11 << 32;
	job->blocks = (cmd->cdw12 & BH_NVME_IO_NLB_MASK) + 1;
	if (cmd->cdw12 & BH_NVME_IO_FUA)
		job->flags |= BH_BLK_FLAG_FUA;
}

/*
 * The write cache being off, everything that changes the medium does so durably (NVMe 2.0
 * 5.27.1.4).
 */
static void write_through(const struct tn_thread *t, struct tn_job *job)
{
	const uint32_t *cache = &t->ctrl->features.write_cache;

	/* Acquire: what was set is heeded by commands that are fetched after its completion. */
	if (job->line->caps & BH_BLK_CAP_FLUSH &&
	    !(__atomic_load_n(cache, __ATOMIC_ACQUIRE) & BH_NVME_FEAT_VWC_WCE))
		job->flags |= BH_BLK_FLAG_FUA;
}

/* Read, Write, Compare. What PRINFO and the metadata pointer mean, where anything: meta.c. */
static uint16_t decode_rw(struct tn_thread *t, struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	take_range(job, cmd);
	job->op = cmd->opc == BH_NVME_CMD_READ	  ? BH_BLK_READ
		  : cmd->opc == BH_NVME_CMD_WRITE ? BH_BLK_WRITE
						  : BH_BLK_COMPARE;
	job->to_client = job->op == BH_BLK_READ;
	if (job->blocks > job->line->max_blocks)
		return invalid(job, BH_NVME_SC_INVALID_FIELD, PARAM(cdw12));
	job->bytes = job->blocks << job->line->shift;
	if (job->op == BH_BLK_COMPARE && !(job->line->caps & BH_BLK_CAP_COMPARE))
		job->is_emulated = job->is_request = true;
	if (job->op == BH_BLK_WRITE && !(job->line->caps & BH_BLK_CAP_WRITE))
		return invalid(job, BH_NVME_SC_WRITE_TO_READ_ONLY, PARAM(nsid));
	return check_rest(t, job, cmd);
}

static uint16_t decode_zeroes(struct tn_thread *t, struct tn_job *job,
			      const struct bh_nvme_cmd *cmd)
{
	take_range(job, cmd);
	job->op = BH_BLK_WRITE_ZEROES;
	if (!(job->line->caps & BH_BLK_CAP_WRITE_ZEROES))
		return invalid(job, BH_NVME_SC_INVALID_OPCODE, PARAM(opc));
	if (!(job->line->caps & BH_BLK_CAP_WRITE))
		return invalid(job, BH_NVME_SC_WRITE_TO_READ_ONLY, PARAM(nsid));
	if (cmd->cdw12 & BH_NVME_IO_DEAC && job->line->caps & BH_BLK_CAP_DEALLOCATE)
		job->flags |= BH_BLK_FLAG_DEALLOCATE;
	/* More than one pass should zero. */
	if ((uint64_t)job->blocks << job->line->shift > TN_STEP_BYTES)
		job->is_request = true;
	return check_rest(t, job, cmd);
}

/* The ranges are fetched and checked in any case, used for AD only: IDR and IDW are hints. */
static uint16_t decode_dsm(struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	job->op = BH_BLK_DEALLOCATE;
	job->is_ranges = true;
	job->is_request = true;
	job->bytes = ((cmd->cdw10 & BH_NVME_DSM_NR_MASK) + 1) * sizeof(struct bh_nvme_dsm_range);
	job->is_nop = !(cmd->cdw11 & BH_NVME_DSM_AD) || !(job->line->caps & BH_BLK_CAP_DEALLOCATE);
	if (!job->is_nop && !(job->line->caps & BH_BLK_CAP_WRITE))
		return invalid(job, BH_NVME_SC_WRITE_TO_READ_ONLY, PARAM(nsid));
	return 0;
}

static uint16_t decode_uncor(struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	take_range(job, cmd);
	job->op = BH_BLK_WRITE;
	job->inside = TN_UNCOR;
	job->is_request = true;
	if (job->life->zones) /* it would be a write that moves no write pointer */
		return invalid(job, BH_NVME_SC_INVALID_OPCODE, PARAM(opc));
	if (!(job->line->caps & BH_BLK_CAP_WRITE))
		return invalid(job, BH_NVME_SC_WRITE_TO_READ_ONLY, PARAM(nsid));
	if ((uint64_t)job->blocks << job->line->shift > TN_UNCOR_BYTES)
		return invalid(job, BH_NVME_SC_INVALID_FIELD, PARAM(cdw12));
	return check_range(job);
}

static uint16_t decode_verify(const struct tn_thread *t, struct tn_job *job,
			      const struct bh_nvme_cmd *cmd)
{
	take_range(job, cmd);
	job->op = BH_BLK_READ;
	job->inside = TN_VERIFY;
	job->is_request = true;
	if (job->blocks > job->line->max_blocks)
		return invalid(job, BH_NVME_SC_INVALID_FIELD, PARAM(cdw12));
	return check_rest(t, job, cmd);
}

/* How many blocks it is about comes with its ranges: see copy.c. */
static uint16_t decode_copy(struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	take_range(job, cmd);
	job->op = BH_BLK_WRITE;
	job->inside = TN_COPY;
	job->is_request = true;
	job->blocks = 0;
	job->bytes = ((uint32_t)BH_NVME_GET(cmd->cdw12, COPY_NR) + 1) *
		     (uint32_t)sizeof(struct bh_nvme_copy_range);
	if (BH_NVME_GET(cmd->cdw12, COPY_FORMAT) != 0)
		return invalid(job, BH_NVME_SC_INVALID_FIELD, PARAM(cdw12) + 1);
	if (!(job->line->caps & BH_BLK_CAP_WRITE))
		return invalid(job, BH_NVME_SC_WRITE_TO_READ_ONLY, PARAM(nsid));
	return job->life->md ? tn_meta_decode_copy(job, cmd) : 0;
}

/* Reservation commands (base 7.2 to 7.5): data to or from the control thread. */
static uint16_t decode_resv(struct tn_thread *t, struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	uint64_t bytes = sizeof(struct bh_nvme_resv_register);

	job->op = BH_BLK_FLUSH; /* as far as the store is concerned: nothing of it changes */
	job->is_resv = true;
	job->is_request = true;
	job->to_client = cmd->opc == BH_NVME_CMD_RESV_REPORT;
	if (!job->line->has_resv)
		return invalid(job, BH_NVME_SC_INVALID_OPCODE, PARAM(opc));
	if (cmd->opc == BH_NVME_CMD_RESV_RELEASE)
		bytes = sizeof(struct bh_nvme_resv_release);
	else if (job->to_client)
		bytes = ((uint64_t)cmd->cdw10 + 1) * 4;
	if (bytes > t->ctrl->mdts)
		return invalid(job, BH_NVME_SC_INVALID_FIELD, PARAM(cdw10));
	job->bytes = (uint32_t)bytes;
	return 0;
}

/* Flush of every namespace: none of them may be denied. */
static bool is_flush_denied(const struct tn_thread *t)
{
	unsigned int i;

	for (i = 1; i <= BH_TARGET_NVME_MAX_NS; i++)
		if (t->line[i].kind != TN_NS_NONE && tn_line_denies(&t->line[i], BH_NVME_CMD_FLUSH))
			return true;
	return false;
}

static uint16_t decode_flush(struct tn_thread *t, struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	unsigned int i;

	job->op = BH_BLK_FLUSH;
	if (cmd->nsid != BH_NVME_NSID_ALL) {
		job->is_nop = !(job->line->caps & BH_BLK_CAP_FLUSH);
		return 0;
	}
	job->is_all = true;
	job->is_request = true;
	job->is_nop = true;
	if (is_flush_denied(t))
		return invalid(job, BH_NVME_SC_RESERVATION_CONFLICT, PARAM(nsid));
	for (i = 1; i <= BH_TARGET_NVME_MAX_NS; i++)
		if (t->line[i].kind < TN_NS_PAUSED && t->line[i].caps & BH_BLK_CAP_FLUSH)
			job->is_nop = false;
	return 0;
}

/* It may be tried again. */
static uint16_t refused(const struct tn_thread *t, uint32_t nsid, struct tn_job *job)
{
	uint16_t sf = tn_refusal(t->ctrl);

	job->param = PARAM(nsid);
	if (!sf && nsid <= BH_TARGET_NVME_MAX_NS)
		sf = t->life[nsid].paused_sf;
	return sf ? sf : BH_NVME_SC_FORMAT_IN_PROGRESS;
}

/* 0, or the status it fails with. job->is_nop with nothing to fetch: it is done. */
uint16_t tn_cmd_decode(struct tn_thread *t, const struct bh_nvme_cmd *cmd, struct tn_job *job)
{
	bool all = cmd->nsid == BH_NVME_NSID_ALL && cmd->opc == BH_NVME_CMD_FLUSH;

	*job = (struct tn_job){ .param = 0xffff, .line = &t->line[0], .life = &t->life[0] };
	switch (cmd->opc) {
	case BH_NVME_CMD_FLUSH:
	case BH_NVME_CMD_WRITE:
	case BH_NVME_CMD_READ:
	case BH_NVME_CMD_COMPARE:
	case BH_NVME_CMD_WRITE_ZEROES:
	case BH_NVME_CMD_DSM:
	case BH_NVME_CMD_WRITE_UNCORRECTABLE:
	case BH_NVME_CMD_VERIFY:
	case BH_NVME_CMD_COPY:
	case BH_NVME_CMD_RESV_REGISTER:
	case BH_NVME_CMD_RESV_REPORT:
	case BH_NVME_CMD_RESV_ACQUIRE:
	case BH_NVME_CMD_RESV_RELEASE:
	case BH_NVME_CMD_ZONE_APPEND:
	case BH_NVME_CMD_ZONE_MGMT_SEND:
	case BH_NVME_CMD_ZONE_MGMT_RECV:
		break;
	default:
		return invalid(job, BH_NVME_SC_INVALID_OPCODE, PARAM(opc));
	}
	if (cmd->flags & BH_NVME_FUSE_MASK || (cmd->flags & BH_NVME_PSDT_MASK) == BH_NVME_PSDT_MASK)
		return invalid(job, BH_NVME_SC_INVALID_FIELD, PARAM(flags));
	/* No id of a namespace, or of none that is attached (base 2.0 3.2.1). */
	if (!all && (!cmd->nsid || cmd->nsid > BH_TARGET_NVME_MAX_NS))
		return invalid(job, BH_NVME_SC_INVALID_NS, PARAM(nsid));
	if (!all && t->line[cmd->nsid].kind == TN_NS_NONE)
		return invalid(job, BH_NVME_SC_INVALID_FIELD, PARAM(nsid));
	if (all ? tn_refusal(t->ctrl) : t->line[cmd->nsid].kind >= TN_NS_PAUSED)
		return refused(t, cmd->nsid, job);
	if (!all)
		job->line = &t->line[cmd->nsid];
	if (job->line->has_beside) {
		job->life = &t->life[cmd->nsid];
		job->is_request = true;
	}
	if (job->line->deny && tn_line_denies(job->line, cmd->opc))
		return invalid(job, BH_NVME_SC_RESERVATION_CONFLICT, PARAM(nsid));
	switch (cmd->opc) {
	case BH_NVME_CMD_FLUSH:
		return decode_flush(t, job, cmd);
	case BH_NVME_CMD_WRITE_ZEROES:
		write_through(t, job);
		return decode_zeroes(t, job, cmd);
	case BH_NVME_CMD_DSM:
		write_through(t, job);
		return decode_dsm(job, cmd);
	case BH_NVME_CMD_WRITE_UNCORRECTABLE:
		return decode_uncor(job, cmd);
	case BH_NVME_CMD_VERIFY:
		return decode_verify(t, job, cmd);
	case BH_NVME_CMD_COPY:
		write_through(t, job);
		return decode_copy(job, cmd);
	case BH_NVME_CMD_RESV_REGISTER:
	case BH_NVME_CMD_RESV_REPORT:
	case BH_NVME_CMD_RESV_ACQUIRE:
	case BH_NVME_CMD_RESV_RELEASE:
		return decode_resv(t, job, cmd);
	case BH_NVME_CMD_ZONE_APPEND:
	case BH_NVME_CMD_ZONE_MGMT_SEND:
	case BH_NVME_CMD_ZONE_MGMT_RECV:
		write_through(t, job);
		return tn_zns_decode(t, job, cmd);
	case BH_NVME_CMD_WRITE:
		write_through(t, job);
		break;
	}
	return decode_rw(t, job, cmd);
}

uint16_t tn_cmd_errno(int error, uint8_t op)
{
	switch (error) {
	case 0:
		return 0;
	case -EILSEQ:
		return TN_SF(BH_NVME_SC_COMPARE_FAILURE);
	case -ENOSPC:
		return BH_NVME_SC_CAPACITY_EXCEEDED;
	case -ENODATA:
		return TN_SF(BH_NVME_SC_UNRECOVERED_READ_ERROR);
	case -EROFS:
		return TN_SF(BH_NVME_SC_WRITE_TO_READ_ONLY);
	case -ENOTCONN: /* it may come back, and so may the host with its command */
		return BH_NVME_SC_NS_NOT_READY;
	case -ECANCELED:
		return BH_NVME_SC_ABORTED_BY_REQUEST;
	case -EOPNOTSUPP:
		return TN_SF(BH_NVME_SC_INVALID_OPCODE);
	case -EINVAL: /* the store has become smaller since */
		return TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE);
	case -EIO:
		return op == BH_BLK_READ || op == BH_BLK_COMPARE ? BH_NVME_SC_UNRECOVERED_READ_ERROR
								 : BH_NVME_SC_WRITE_FAULT;
	}
	return BH_NVME_SC_INTERNAL_ERROR;
}

void tn_cmd_failed(struct tn_thread *t, const struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
		   uint16_t status, uint16_t param)
{
	tn_count(&sq->stats->counts.errors, 1);
	if (cmd->nsid <= BH_TARGET_NVME_MAX_NS && t->nstats[cmd->nsid])
		tn_count(&t->nstats[cmd->nsid]->counts.errors, 1);
	tn_error_add(t->ctrl, sq->qid, cmd->cid, status, param,
		     cmd->cdw10 | (uint64_t)cmd->cdw11 << 32, cmd->nsid);
}

static void count(struct bh_target_nvme_counts *counts, const struct tn_job *job)
{
	if (job->inside) {
		tn_count(&counts->others, 1);
	} else if (job->op == BH_BLK_READ) {
		tn_count(&counts->reads, 1);
		tn_count(&counts->read_bytes, job->bytes);
	} else if (job->op == BH_BLK_WRITE) {
		tn_count(&counts->writes, 1);
		tn_count(&counts->write_bytes, job->bytes);
	} else {
		tn_count(&counts->others, 1);
	}
}

void tn_cmd_count(struct tn_thread *t, const struct tn_sq *sq, const struct tn_job *job)
{
	struct tn_ns_stats *ns = t->nstats[job->line - t->line];

	if (job->op != BH_BLK_READ && job->op != BH_BLK_FLUSH && job->op != BH_BLK_COMPARE &&
	    !(job->flags & BH_BLK_FLAG_FUA) && job->line->caps & BH_BLK_CAP_FLUSH)
		job->line->is_written = true;
	count(&sq->stats->counts, job);
	if (ns)
		count(&ns->counts, job);
}

/* ---- data by pointer ---- */

static uint16_t walk_mapped(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
			    uint64_t len, bool to_client)
{
	uint16_t status = tn_walk_begin(&t->walk, cmd, len, to_client, &t->scratch);

	while (status == TN_PENDING) {
		const void *list = bh_cmem_ptr(t->cmem, &sq->list, t->walk.iova, t->walk.len,
					       BH_CMEM_PROT_READ);

		if (!list)
			return TN_UNMAPPED;
		bh_fetch(t->walk.chunk, list, t->walk.len);
		status = tn_walk_feed(&t->walk);
	}
	return status;
}

uint16_t tn_cmd_map(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
		    uint64_t len, bool to_client)
{
	uint16_t status = walk_mapped(t, sq, cmd, len, to_client);
	uint32_t i;

	if (status)
		return status;
	for (i = 0; i < t->scratch.n; i++) {
		const struct tn_piece *p = &t->scratch.v[i];

		if (p->is_bucket) /* a store has no notion of it: its data goes through a buffer */
			return TN_UNMAPPED;
		t->iov[i].iov_len = p->len;
		t->iov[i].iov_base =
			bh_cmem_ptr(t->cmem, &sq->data, p->iova, p->len,
				    to_client ? BH_CMEM_PROT_WRITE : BH_CMEM_PROT_READ);
		if (!t->iov[i].iov_base)
			return TN_UNMAPPED;
	}
	return 0;
}

uint16_t tn_cmd_recheck(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
			uint16_t status)
{
	struct tn_job job;
	uint32_t i;

	tn_queues_fault(t);
	if (status || tn_cmd_decode(t, cmd, &job) || !job.bytes)
		return status;
	/* Only to see what it touched: the caches are gone, what was lost is not found any more. */
	if (walk_mapped(t, sq, cmd, job.bytes, job.to_client))
		return BH_NVME_SC_DATA_TRANSFER_ERROR;
	for (i = 0; i < t->scratch.n; i++) {
		const struct tn_piece *p = &t->scratch.v[i];

		if (!p->is_bucket && bh_cmem_failed(t->cmem, p->iova, p->len))
			return BH_NVME_SC_DATA_TRANSFER_ERROR;
	}
	return 0;
}

static void report_dirty(struct tn_thread *t)
{
	uint32_t i;

	for (i = 0; i < t->scratch.n; i++)
		bh_cmem_dirty(t->cmem, t->scratch.v[i].iova, t->scratch.v[i].len);
}

/* A synchronous store, data by pointer or none. */
static inline __attribute__((always_inline)) uint16_t run_sync(struct tn_thread *t,
							       const struct tn_job *job)
{
	const struct bh_blk_io io = {
		.op = job->op,
		.flags = job->flags,
		.iovcnt = job->bytes ? (uint16_t)t->scratch.n : 0,
		.blocks = job->blocks,
		.lba = job->lba,
		.iov = t->iov,
	};
	int rc = bh_blk_submit(job->line->chan, &io);

	t->work += (uint64_t)job->blocks << job->line->shift;
	if (job->to_client)
		report_dirty(t);
	return tn_cmd_errno(rc, job->op);
}

/* What is in order. */
static inline __attribute__((always_inline)) uint16_t
run(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd, const struct tn_job *job)
{
	uint16_t status;

	if (__builtin_expect(job->line->kind >= TN_NS_ASYNC || job->is_request, 0)) {
		if (job->line->kind == TN_NS_ASYNC && tn_has_orphans(t, job->line))
			return TN_RETRY;
		if (job->inside == TN_ZONE_SEND && job->action != BH_NVME_ZONE_ACTION_RESET)
			return tn_zns_manage(t, job);
		return job->inside == TN_UNCOR ? tn_uncor_set(job) : tn_req_start(t, sq, cmd, job);
	}
	if (__builtin_expect(job->bytes, 1)) {
		status = tn_cmd_map(t, sq, cmd, job->bytes, job->to_client);
		if (status == TN_UNMAPPED || (!status && t->scratch.n > UINT16_MAX))
			return tn_req_start(t, sq, cmd, job);
		if (status)
			return status;
	}
	return run_sync(t, job);
}

/* As run, of a store that is watched; a request waits for its turn with its data. */
static __attribute__((noinline)) uint16_t run_in_turn(struct tn_thread *t, struct tn_sq *sq,
						      const struct bh_nvme_cmd *cmd,
						      const struct tn_job *job)
{
	struct bh_blk_span span = { .blk = NULL };
	uint16_t status;

	if ((job->line->kind < TN_NS_ASYNC && !job->is_request) || job->inside == TN_UNCOR)
		if (!tn_turn_share(job, &span))
			return TN_RETRY;
	status = run(t, sq, cmd, job);
	bh_blk_span_end(&span);
	return status;
}

/* Of a command that has failed, its status; or what comes of it as half of a fused operation. */
static __attribute__((noinline)) uint16_t failed(struct tn_thread *t, struct tn_sq *sq,
						 const struct bh_nvme_cmd *cmd, uint16_t status,
						 const struct tn_job *job)
{
	if (tn_is_fused(cmd)) /* which was all that tn_cmd_decode found */
		return tn_fused_start(t, sq, cmd);
	tn_cmd_failed(t, sq, cmd, status, job->param);
	return status;
}

static uint16_t start(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd,
		      struct tn_job *job)
{
	uint16_t status = tn_cmd_decode(t, cmd, job);

	if (status || (job->is_nop && !job->bytes))
		return status;
	if (!bh_load_u64(&job->line->fast_blocks)) {
		status = tn_uncor_look(job);
		if (status)
			return status;
		if (job->line->chan && bh_blk_is_watched(job->line->chan->blk))
			return run_in_turn(t, sq, cmd, job);
	}
	return run(t, sq, cmd, job);
}

uint16_t tn_cmd_start(struct tn_thread *t, struct tn_sq *sq, const struct bh_nvme_cmd *cmd)
{
	struct tn_job job;
	uint16_t status = start(t, sq, cmd, &job);

	if (status == TN_PENDING || status == TN_RETRY)
		return status;
	if (bh_cmem_faults(t->cmem) != t->faults)
		status = tn_cmd_recheck(t, sq, cmd, status);
	if (status)
		return failed(t, sq, cmd, status, &job);
	if (job.has_bad)
		tn_uncor_written(&job, NULL);
	tn_cmd_count(t, sq, &job);
	return 0;
}

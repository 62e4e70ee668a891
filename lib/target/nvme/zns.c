/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands of zoned namespaces (Zoned Namespace Command Set 1.1): append, and management of zones.
 *
 * What zones allow is the store's to say (<bellhop/zones.h>). A write asks there when nothing can
 * hold it up any more, in the order in which commands were fetched, and before its data arrive: so
 * writes of one queue that follow each other do so whatever their data take. One that fails
 * afterwards gives its place back.
 *
 * A reset erases the blocks that were written, in steps, and makes the zone empty then.
 */
#include <bellhop/zones.h>

#include "target/nvme/plane.h"

#define ZONE_WORK 16u /* bytes */

static uint16_t refuse(struct tn_job *job, uint16_t sc, size_t param)
{
	job->param = (uint16_t)param;
	return TN_SF(sc);
}

static uint16_t decode_append(struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	job->op = BH_BLK_WRITE;
	job->is_append = true;
	job->blocks = (cmd->cdw12 & BH_NVME_IO_NLB_MASK) + 1;
	if (cmd->cdw12 & BH_NVME_IO_FUA)
		job->flags |= BH_BLK_FLAG_FUA;
	if (job->blocks > job->line->max_blocks) /* ZASL is MDTS */
		return refuse(job, BH_NVME_SC_INVALID_FIELD, offsetof(struct bh_nvme_cmd, cdw12));
	job->bytes = job->blocks << job->line->shift;
	return 0;
}

static uint16_t decode_send(struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	uint8_t action = cmd->cdw13 & BH_NVME_ZONE_ACTION_MASK;

	job->op = BH_BLK_WRITE_ZEROES;
	job->inside = TN_ZONE_SEND;
	job->action = action;
	job->is_every_zone = cmd->cdw13 & BH_NVME_ZONE_SELECT_ALL;
	/* There are no descriptor extensions and no random write areas. */
	if (action < BH_NVME_ZONE_ACTION_CLOSE || action > BH_NVME_ZONE_ACTION_OFFLINE ||
	    cmd->cdw13 & BH_NVME_ZONE_OPEN_ZRWA)
		return refuse(job, BH_NVME_SC_INVALID_FIELD, offsetof(struct bh_nvme_cmd, cdw13));
	return 0;
}

static uint16_t decode_receive(const struct tn_thread *t, struct tn_job *job,
			       const struct bh_nvme_cmd *cmd)
{
	uint64_t bytes = ((uint64_t)cmd->cdw12 + 1) * 4;

	job->op = BH_BLK_READ;
	job->inside = TN_ZONE_REPORT;
	job->is_nop = true;
	job->to_client = true;
	if ((cmd->cdw13 & 0xff) != BH_NVME_ZONE_REPORT ||
	    BH_NVME_GET(cmd->cdw13, ZONE_REPORT_FILTER) > BH_NVME_ZONE_REPORT_FILTER_OFFLINE)
		return refuse(job, BH_NVME_SC_INVALID_FIELD, offsetof(struct bh_nvme_cmd, cdw13));
	if (bytes > t->ctrl->mdts || bytes < sizeof(struct bh_nvme_zone_report))
		return refuse(job, BH_NVME_SC_INVALID_FIELD, offsetof(struct bh_nvme_cmd, cdw12));
	job->bytes = (uint32_t)bytes;
	return 0;
}

uint16_t tn_zns_decode(const struct tn_thread *t, struct tn_job *job, const struct bh_nvme_cmd *cmd)
{
	uint64_t blocks = bh_load_u64(&job->line->blocks);

	if (!job->life->zones)
		return refuse(job, BH_NVME_SC_INVALID_OPCODE, offsetof(struct bh_nvme_cmd, opc));
	job->lba = cmd->cdw10 | (uint64_t)cmd->cdw11 << 32;
	if (cmd->opc != BH_NVME_CMD_ZONE_MGMT_RECV && !(job->line->caps & BH_BLK_CAP_WRITE))
		return refuse(job, BH_NVME_SC_WRITE_TO_READ_ONLY,
			      offsetof(struct bh_nvme_cmd, nsid));
	if (job->lba >= blocks &&
	    (cmd->opc != BH_NVME_CMD_ZONE_MGMT_SEND || !(cmd->cdw13 & BH_NVME_ZONE_SELECT_ALL)))
		return refuse(job, BH_NVME_SC_LBA_OUT_OF_RANGE,
			      offsetof(struct bh_nvme_cmd, cdw10));
	switch (cmd->opc) {
	case BH_NVME_CMD_ZONE_APPEND:
		return decode_append(job, cmd);
	case BH_NVME_CMD_ZONE_MGMT_SEND:
		return decode_send(job, cmd);
	default:
		return decode_receive(t, job, cmd);
	}
}

static uint16_t status_of(uint16_t sc)
{
	/* Others may close a zone meanwhile. */
	bool is_lasting =
		sc != BH_NVME_SC_ZONE_TOO_MANY_OPEN && sc != BH_NVME_SC_ZONE_TOO_MANY_ACTIVE;

	return sc && is_lasting ? TN_SF(sc) : sc;
}

/* A store may have a million zones: looking at all of them is work like moving so many bytes. */
static void count_work(struct tn_thread *t, const struct bh_zones *zones)
{
	struct bh_zone_geometry g;

	bh_zones_geometry(zones, &g);
	t->work += g.zones * ZONE_WORK;
}

uint16_t tn_zns_manage(struct tn_thread *t, const struct tn_job *job)
{
	if (job->is_every_zone)
		count_work(t, job->life->zones);
	return status_of(
		bh_zones_manage(job->life->zones, job->action, job->lba, job->is_every_zone));
}

uint16_t tn_zns_take(struct tn_req *req)
{
	const struct bh_nvme_cmd *cmd = &req->xfer.cmd;
	struct tn_job *job = &req->job;
	struct bh_zones *zones = job->life->zones;
	uint16_t sc = 0;

	if (job->inside == TN_ZONE_SEND) {
		if (!job->is_every_zone)
			sc = bh_zones_reset_begin(zones, job->lba, &job->blocks);
	} else if (job->inside == TN_ZONE_REPORT) {
		count_work(req->thread, zones);
		sc = bh_zones_report(
			zones, job->lba, (unsigned int)BH_NVME_GET(cmd->cdw13, ZONE_REPORT_FILTER),
			cmd->cdw13 & BH_NVME_ZONE_REPORT_PARTIAL, req->buf, job->bytes);
	} else if (job->op == BH_BLK_WRITE || job->op == BH_BLK_WRITE_ZEROES) {
		sc = bh_zones_take(zones, &job->lba, job->blocks, job->is_append);
		req->has_place = !sc;
		req->result = job->is_append ? job->lba : 0;
	}
	return status_of(sc);
}

void tn_zns_undo(struct tn_req *req)
{
	bh_zones_undo(req->job.life->zones, req->job.lba, req->job.blocks);
	req->result = 0;
}

/* A reset's next step: false, all is done. step: there is a zone under way, `at` blocks of it done. */
bool tn_zns_next(struct tn_req *req)
{
	struct tn_job *job = &req->job;
	uint32_t most = TN_STEP_BYTES >> job->line->shift, blocks;

	if (!req->step && job->is_every_zone) {
		job->lba = 0;
		if (!bh_zones_next_used(job->life->zones, &job->lba, &job->blocks))
			return false;
	}
	req->step = 1;
	while (req->at == job->blocks) {
		bh_zones_reset_end(job->life->zones, job->lba);
		req->at = 0;
		if (!job->is_every_zone) {
			job->blocks = 0;
			job->is_nop = true;
			return false;
		}
		if (!bh_zones_next_used(job->life->zones, &job->lba, &job->blocks))
			return false;
	}
	blocks = job->blocks - req->at < most ? job->blocks - req->at : most;
	req->io = (struct bh_blk_io){ .op = BH_BLK_WRITE_ZEROES,
				      .flags = BH_BLK_FLAG_DEALLOCATE,
				      .blocks = blocks,
				      .lba = job->lba + req->at,
				      .cookie = req };
	req->at += blocks;
	return true;
}

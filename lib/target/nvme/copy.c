/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copy (NVM command set 1.0 3.2.2).
 *
 * A request with a buffer that the client never sees: the source ranges in front, then room for all
 * the data a Copy may move, and for their metadata. Everything is read before anything is written,
 * so that ranges that overlap the destination are copied as they were. Nothing is read before all
 * ranges are found in order.
 *
 * Metadata are read with each range, verified as PRINFOR and the range say, and written with the
 * data, as PRINFOW says (meta.c). In a zoned namespace sources may lie anywhere, and the
 * destination is a write like any other: it takes its place in its zone when the ranges are known.
 */
#include "target/nvme/meta.h"

#define COPY_BYTES (1u << 20) /* at most, in one command */

static_assert(TN_COPY_DATA % TN_PAGE_SIZE == 0, "data begins on a page");

uint32_t tn_copy_limit(uint32_t max_blocks, uint8_t shift)
{
	uint32_t most = COPY_BYTES >> shift;

	return max_blocks < most ? max_blocks : most;
}

size_t tn_copy_buffer(const struct tn_job *job)
{
	size_t most = tn_copy_limit(job->line->max_blocks, job->line->shift);

	return TN_COPY_DATA + (most << job->line->shift);
}

static uint32_t num_ranges(const struct tn_req *req)
{
	return req->job.bytes / sizeof(struct bh_nvme_copy_range);
}

static uint16_t check_range(const struct tn_line *line, uint64_t lba, uint64_t blocks)
{
	uint64_t all = bh_load_u64(&line->blocks);

	return blocks > all || lba > all - blocks ? TN_SF(BH_NVME_SC_LBA_OUT_OF_RANGE) : 0;
}

static uint16_t check_source(const struct tn_req *req, const struct bh_nvme_copy_range *range)
{
	uint16_t status = check_range(req->job.line, range->slba, range->nlb + 1u);

	if (!status)
		status = tn_uncor_check(req->job.line, range->slba, range->nlb + 1u);
	if (!status && req->job.has_md)
		status = tn_meta_check_range(req, range);
	return status;
}

uint16_t tn_copy_check(struct tn_req *req)
{
	const struct bh_nvme_copy_range *range = (const void *)req->buf;
	const struct tn_line *line = req->job.line;
	uint32_t limit = tn_copy_limit(line->max_blocks, line->shift);
	uint32_t i, total = 0;
	uint16_t status = 0;

	for (i = 0; !status && i < num_ranges(req); i++) {
		total += range[i].nlb + 1u;
		if (total > limit)
			return TN_SF(BH_NVME_SC_COMMAND_SIZE_LIMIT_EXCEEDED);
		status = check_source(req, &range[i]);
	}
	req->job.blocks = total;
	if (!status)
		status = check_range(line, req->job.lba, total);
	return status || !req->job.life->zones ? status : tn_zns_take(req);
}

/* What has been read is judged, with the last of it the whole: false, it is not to be written. */
static bool take_metadata(struct tn_req *req, const struct bh_nvme_copy_range *range)
{
	uint32_t step = req->step, n = num_ranges(req);

	if (!req->job.has_md || !step || step > n)
		return true;
	req->status = tn_meta_copied(req, &range[step - 1], req->at - (range[step - 1].nlb + 1u));
	if (!req->status && step == n)
		req->status = tn_meta_copy(req);
	return !req->status;
}

/* The next source range, after the last the destination. False: all is done, or status is set. */
bool tn_copy_next(struct tn_req *req)
{
	const struct bh_nvme_copy_range *range = (const void *)req->buf;
	const struct tn_job *job = &req->job;
	uint32_t n = num_ranges(req), step = req->step, blocks;
	uint8_t *data = req->buf + TN_COPY_DATA;

	if (step > n || !take_metadata(req, range))
		return false;
	req->step++;
	blocks = step < n ? range[step].nlb + 1u : job->blocks;
	req->io = (struct bh_blk_io){ .op = BH_BLK_READ,
				      .blocks = blocks,
				      .lba = step < n ? range[step].slba : job->lba,
				      .cookie = req };
	if (step == n) {
		req->io.op = BH_BLK_WRITE;
		req->io.flags = job->has_md ? 0 : job->flags; /* metadata: see sync_beside */
	} else {
		data += (size_t)req->at << job->line->shift;
		req->at += blocks;
	}
	req->one.iov_base = data;
	req->one.iov_len = (size_t)blocks << job->line->shift;
	req->iov = &req->one;
	req->io.iov = req->iov;
	req->io.iovcnt = 1;
	return true;
}

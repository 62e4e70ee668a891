/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands whose data stays inside: Copy (NVM command set 1.0 3.2.2) and Verify (3.2.5).
 *
 * Both are requests with a buffer that the client never sees. Verify reads into it. Copy has the
 * source ranges in front, then room for all the data a Copy may move: everything is read before
 * anything is written, so that ranges that overlap the destination are copied as they were. Nothing
 * is read before all ranges are found in order.
 */
#include "target/nvme/plane.h"

#define COPY_BYTES (1u << 20) /* at most, in one command */

static_assert(TN_COPY_RANGES * sizeof(struct bh_nvme_copy_range) % TN_PAGE_SIZE == 0,
	      "data begins on a page");

uint32_t tn_copy_limit(uint32_t max_blocks, uint8_t shift)
{
	uint32_t most = COPY_BYTES >> shift;

	return max_blocks < most ? max_blocks : most;
}

size_t tn_copy_buffer(const struct tn_job *job)
{
	size_t most = tn_copy_limit(job->line->max_blocks, job->line->shift);

	return TN_COPY_RANGES * sizeof(struct bh_nvme_copy_range) + (most << job->line->shift);
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

uint16_t tn_copy_check(struct tn_req *req)
{
	const struct bh_nvme_copy_range *range = (const void *)req->buf;
	const struct tn_line *line = req->job.line;
	uint32_t limit = tn_copy_limit(line->max_blocks, line->shift);
	uint32_t i, total = 0;
	uint16_t status = 0;

	for (i = 0; !status && i < num_ranges(req); i++) {
		uint32_t blocks = range[i].nlb + 1u;

		total += blocks;
		if (total > limit)
			return TN_SF(BH_NVME_SC_COMMAND_SIZE_LIMIT_EXCEEDED);
		status = check_range(line, range[i].slba, blocks);
		if (!status)
			status = tn_uncor_check(line, range[i].slba, blocks);
	}
	req->job.blocks = total;
	return status ? status : check_range(line, req->job.lba, total);
}

/* The next source range, or after the last the destination. False: all is done. */
bool tn_copy_next(struct tn_req *req)
{
	const struct bh_nvme_copy_range *range = (const void *)req->buf;
	const struct tn_job *job = &req->job;
	uint32_t n = num_ranges(req), step = req->step++, blocks;
	uint8_t *data = req->buf + TN_COPY_RANGES * sizeof(*range);

	if (step > n)
		return false;
	blocks = step < n ? range[step].nlb + 1u : job->blocks;
	req->io = (struct bh_blk_io){ .op = BH_BLK_READ,
				      .blocks = blocks,
				      .lba = step < n ? range[step].slba : job->lba,
				      .cookie = req };
	if (step == n) {
		req->io.op = BH_BLK_WRITE;
		req->io.flags = job->flags;
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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data that say where and when they were written, and looking at them again.
 *
 * A block begins with a stamp: a mark, its LBA, the namespace with the number of the write
 * (generation), and the run of bh-perf that wrote it. The rest follows from the stamp, word by word.
 * So a block that went somewhere else, an older one that was not overwritten, and a damaged byte are
 * told apart, and a later run can check what an earlier one wrote.
 *
 * A lane keeps to a part of the namespace that is its own, and remembers the generation of each
 * grain (the greatest size that all requests are made of) that it wrote. A grain with a request out
 * is busy, so what is being read is not being written.
 */
#ifndef APP_PERF_VERIFY_H
#define APP_PERF_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bh_nvme_rw;
struct perf;
struct perf_lane;

struct perf_stamp {
	uint64_t lba;
	uint32_t generation;
	uint32_t nsid;
	uint64_t run;
};

struct perf_difference {
	uint64_t lba;
	uint32_t byte; /* of the block */
	uint8_t found, expected;
	char why[112]; /* as far as it can be told */
};

void perf_pattern_write(void *block, uint32_t bytes, const struct perf_stamp *stamp);
/*
 * Whether the block is as it was written. Of a stamp that is not known only lba and nsid count, the
 * rest may be whatever fits together. If it differs, where first.
 */
bool perf_pattern_check(const void *block, uint32_t bytes, const struct perf_stamp *stamp,
			bool known, struct perf_difference *first);

/* What a slot is doing. */
struct perf_request {
	uint64_t lba; /* of the lane's part */
	uint32_t blocks;
	bool write;
};

struct perf_verify {
	uint64_t grains;
	uint32_t grain_blocks;
	uint32_t generation; /* of the last write; 31 bits */
	uint32_t *state;     /* by grain: generation << 1 | busy; NULL: nothing is written */
	uint64_t verified;   /* blocks looked at */
	uint64_t differing;  /* blocks */
	struct perf_difference first;
	struct perf_request request[];
};

/*
 * Which part of the namespace is the lane's, `part` of `parts`: sets base and total. 0 or an exit
 * code, said. open: when the lane is ready otherwise.
 */
int perf_verify_divide(struct perf *perf, struct perf_lane *lane, unsigned int part,
		       unsigned int parts);
int perf_verify_open(struct perf *perf, struct perf_lane *lane);
void perf_verify_close(struct perf_lane *lane);

/*
 * Makes the request of a slot: at rw->lba, of the lane's part, or at one of the next places if that
 * is busy; fills the buffer. False: all those are busy.
 */
bool perf_verify_make(struct perf_lane *lane, const struct perf *perf, uint32_t slot,
		      struct bh_nvme_rw *rw);
/* Looks at what came. True: it goes on, with this request, which reads what was written. */
bool perf_verify_done(struct perf_lane *lane, const struct perf *perf, uint32_t slot,
		      uint16_t status, struct bh_nvme_rw *rw);

#endif

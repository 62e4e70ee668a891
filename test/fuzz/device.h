/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of fuzz_device share: the host's steps, its memory, its queues. */
#ifndef TEST_FUZZ_DEVICE_H
#define TEST_FUZZ_DEVICE_H

#include "fuzz.h"

struct step {
	uint8_t what, a, b, c;
	uint32_t d;
	uint64_t e;
};
static_assert(sizeof(struct step) == 16, "a step");

enum { QUEUES = 4, PAGE = 4096, SIDE_BYTES = 0x10000, MAX_STEPS = 96, KINDS = 21 };

/* One memory at several addresses, each reached in another way; and memory of other kinds. */
#define AT_FILE (FZ_IOVA + 0x10000000ull)
#define AT_MESSAGES (FZ_IOVA + 0x20000000ull)
#define AT_READ_ONLY (FZ_IOVA + 0x30000000ull) /* SIDE_BYTES */
#define AT_CUT (FZ_IOVA + 0x40000000ull)       /* SIDE_BYTES, of a file that gets shorter */
#define AT_CMB (FZ_IOVA + 0x50000000ull)
#define AT_NOTHING (FZ_IOVA + 0x60000000ull)

/* In the client's memory, beside what fuzz.h has there. */
#define RINGS 0x10000u /* a page per completion queue, then one per submission queue */
#define SHADOWS 0x1a000u
#define METADATA 0x1c000u
#define LISTS 0x20000u
#define LIST_BYTES 0x2000u
#define NUM_LISTS 8u

struct pair {
	uint64_t sq, cq;
	uint32_t entries, tail, head;
	bool phase;
};

struct device {
	struct pair pair[QUEUES + 1];
	bool is_shadowed;
	unsigned int next_list;
	uint16_t next_cid;
	int read_only_fd, cut_fd;
	uint8_t *read_only;
	uint8_t read_only_was[SIDE_BYTES];
};
extern struct device dv;

/* ---- device_memory.c ---- */

uint64_t dv_place(uint8_t where); /* where that memory begins */
uint64_t dv_address(uint8_t where, uint16_t offset);
/* Offset in the client's memory; false: it is somewhere else. */
bool dv_is_ours(uint64_t iova, uint64_t *offset);
/* Bytes into whatever is there, 64 at most. */
void dv_poke(uint64_t iova, const void *bytes, size_t len);
void dv_map_place(uint8_t where);
void dv_unmap_place(uint8_t where, bool all);

/* ---- device_io.c ---- */

void dv_doorbell(unsigned int k, uint32_t value, bool ring);
void dv_admin(struct bh_nvme_cmd *cmd);
void dv_create_pair(const struct step *s);
void dv_delete_queue(const struct step *s);
void dv_reap(unsigned int qid, bool ring);
/* The data pointer, to len bytes where the step says. */
void dv_point(struct bh_nvme_cmd *cmd, const struct step *s, uint32_t len);
void dv_submit(struct bh_nvme_cmd *cmd, const struct step *s); /* with an id of its own */
void dv_io(const struct step *s);

/* ---- device_late.c ---- */

uint32_t dv_bytes(uint32_t nsid, uint32_t blocks); /* that travel by the data pointer */
/* Protection information, and the metadata of so many blocks. */
void dv_metadata(struct bh_nvme_cmd *cmd, const struct step *s, uint32_t blocks);
void dv_late(const struct step *s);
void dv_manage(const struct step *s);
void dv_other(const struct step *s); /* of the second controller */

#endif

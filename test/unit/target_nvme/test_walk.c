/* SPDX-License-Identifier: BSD-3-Clause */
/* PRPs and SGLs, honest and hostile, without a controller: lists come out of a small pretended
 * memory. */
#include <stdlib.h>
#include <string.h>

#include "target/nvme/plane.h"
#include "unit.h"

#define BASE 0x10000ull
#define PAGES 64u
static uint64_t memory[PAGES * 512];
static unsigned int reads;

static uint16_t walk_all(const struct bh_nvme_cmd *cmd, uint64_t len, bool to_client,
			 struct tn_pieces *pieces)
{
	static struct tn_walk walk;
	uint16_t status = tn_walk_begin(&walk, cmd, len, to_client, pieces);

	reads = 0;
	while (status == TN_PENDING) {
		CU_ASSERT(walk.len && walk.len <= TN_PAGE_SIZE);
		if (walk.iova < BASE || walk.len > sizeof(memory) ||
		    walk.iova - BASE > sizeof(memory) - walk.len)
			return TN_UNMAPPED;
		memcpy(walk.chunk, (uint8_t *)memory + (walk.iova - BASE), walk.len);
		reads++;
		status = tn_walk_feed(&walk);
	}
	return status;
}

static uint64_t total(const struct tn_pieces *pieces)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < pieces->n; i++)
		sum += pieces->v[i].len;
	return sum;
}

static uint16_t prp(uint64_t prp1, uint64_t prp2, uint64_t len, uint64_t *sum, uint32_t *n)
{
	struct tn_pieces pieces = { 0 };
	struct bh_nvme_cmd cmd = { .opc = 2 };
	uint16_t status;

	cmd.dptr.prp.prp1 = prp1;
	cmd.dptr.prp.prp2 = prp2;
	status = walk_all(&cmd, len, true, &pieces);
	*sum = total(&pieces);
	*n = pieces.n;
	tn_pieces_free(&pieces);
	return status;
}

static uint64_t *page(unsigned int i)
{
	return &memory[i * 512];
}

static uint64_t page_iova(unsigned int i)
{
	return BASE + i * 4096ull;
}

#define OFFSET_INVALID TN_SF(BH_NVME_SC_PRP_OFFSET_INVALID)

static void prp_pairs(void)
{
	uint64_t sum;
	uint32_t n;

	CU_ASSERT_EQUAL(prp(0x5000, 0, 4096, &sum, &n), 0);
	CU_ASSERT(sum == 4096 && n == 1);
	CU_ASSERT_EQUAL(prp(0x5004, 0x9000, 4096, &sum, &n), 0);
	CU_ASSERT(sum == 4096 && n == 2);
	CU_ASSERT_EQUAL(prp(0x5ffc, 0x6000, 4096, &sum, &n), 0);
	CU_ASSERT(sum == 4096 && n == 1); /* adjacent */
	CU_ASSERT_EQUAL(prp(0x5002, 0, 512, &sum, &n), OFFSET_INVALID);
	CU_ASSERT_EQUAL(prp(0x5004, 0x9004, 4096, &sum, &n), OFFSET_INVALID);
	CU_ASSERT_EQUAL(prp(0xfffffffffffff000ull, 0, 8192, &sum, &n), 0);
	CU_ASSERT(sum == 8192 && n == 2); /* it does not wrap into one piece */
	CU_ASSERT_EQUAL(prp(0x5000, 0x9001, 3 * 4096, &sum, &n), OFFSET_INVALID);
}

static void prp_lists_chain(void)
{
	uint64_t sum;
	uint32_t n;
	unsigned int i;

	for (i = 0; i < 512; i++) {
		page(0)[i] = 0x100000ull + i * 0x2000ull;
		page(1)[i] = 0x800000ull + i * 0x2000ull;
	}
	CU_ASSERT_EQUAL(prp(0x5000, page_iova(0), 513 * 4096, &sum, &n), 0);
	CU_ASSERT(sum == 513 * 4096 && n == 513 && reads == 1);
	page(0)[511] = page_iova(1);
	CU_ASSERT_EQUAL(prp(0x5000, page_iova(0), 515 * 4096 - 8, &sum, &n), 0);
	CU_ASSERT(sum == 515 * 4096 - 8 && n == 515 && reads == 2);
	/* A list that begins at the last entry of its page is nothing but a pointer. */
	CU_ASSERT_EQUAL(prp(0x5000, page_iova(0) + 4088, 4 * 4096, &sum, &n), 0);
	CU_ASSERT(sum == 4 * 4096 && reads == 2);
	/* With the pointer's own page left to describe it would be an entry; two are left here. */
	page(0)[511] = 0x100000;
	CU_ASSERT_EQUAL(prp(0x5010, page_iova(0) + 4088, 2 * 4096, &sum, &n), TN_UNMAPPED);
}

static void prp_hostile_lists(void)
{
	uint64_t sum;
	uint32_t n;
	unsigned int i;

	for (i = 0; i < 512; i++)
		page(0)[i] = 0x100000ull;
	/* A chain to itself ends with the data. */
	page(0)[511] = page_iova(0);
	CU_ASSERT_EQUAL(prp(0x5000, page_iova(0), 1u << 28, &sum, &n), 0);
	CU_ASSERT_EQUAL(sum, 1u << 28);
	CU_ASSERT(reads <= 130);
	/* One that holds no data goes in circles. */
	page(0)[511] = page_iova(0) + 4088;
	CU_ASSERT_EQUAL(prp(0x5000, page_iova(0) + 4088, 1u << 20, &sum, &n), OFFSET_INVALID);
	CU_ASSERT(reads < 3);
	page(0)[3] = 0x100004;
	CU_ASSERT_EQUAL(prp(0x5000, page_iova(0), 1u << 20, &sum, &n), OFFSET_INVALID);
	page(0)[3] = 0x100000;
	page(0)[511] = page_iova(1) + 4;
	CU_ASSERT_EQUAL(prp(0x5000, page_iova(0), 3u << 20, &sum, &n), OFFSET_INVALID);
	page(0)[511] = 0xfffffffffffff000ull;
	CU_ASSERT_EQUAL(prp(0x5000, page_iova(0), 3u << 20, &sum, &n), TN_UNMAPPED);
}

static struct bh_nvme_sgl sgl(uint8_t type, uint64_t addr, uint32_t len)
{
	return (struct bh_nvme_sgl){ .addr = addr, .len = len, .type = type };
}

static uint16_t sgl_walk(struct bh_nvme_sgl first, uint64_t len, bool to_client, uint64_t *sum,
			 uint32_t *n)
{
	struct tn_pieces pieces = { 0 };
	struct bh_nvme_cmd cmd = { .opc = 2, .flags = BH_NVME_PSDT_SGL_MPTR_CONTIG };
	uint16_t status;

	cmd.dptr.sgl = first;
	status = walk_all(&cmd, len, to_client, &pieces);
	*sum = total(&pieces);
	*n = pieces.n;
	tn_pieces_free(&pieces);
	return status;
}

#define DATA BH_NVME_SGL_DATA_BLOCK
#define BUCKET BH_NVME_SGL_BIT_BUCKET
#define SEG BH_NVME_SGL_SEGMENT
#define LAST BH_NVME_SGL_LAST_SEGMENT
#define LENGTH_INVALID TN_SF(BH_NVME_SC_SGL_DATA_LENGTH_INVALID)
#define SEGMENT_INVALID TN_SF(BH_NVME_SC_INVALID_SGL_SEGMENT)

static void sgl_single_blocks(void)
{
	uint64_t sum;
	uint32_t n;

	CU_ASSERT_EQUAL(sgl_walk(sgl(DATA, 0x5003, 4096), 4096, true, &sum, &n), 0);
	CU_ASSERT(sum == 4096 && n == 1);
	CU_ASSERT_EQUAL(sgl_walk(sgl(DATA, 0x5000, 4095), 4096, true, &sum, &n), LENGTH_INVALID);
	CU_ASSERT_EQUAL(sgl_walk(sgl(DATA, 0x5000, 4097), 4096, true, &sum, &n), LENGTH_INVALID);
	CU_ASSERT_EQUAL(sgl_walk(sgl(BUCKET, 0, 4096), 4096, true, &sum, &n), 0);
	CU_ASSERT_EQUAL(sgl_walk(sgl(BUCKET, 0, 4096), 4096, false, &sum, &n), LENGTH_INVALID);
	CU_ASSERT_EQUAL(sgl_walk(sgl(0x40, 0x5000, 4096), 4096, true, &sum, &n),
			TN_SF(BH_NVME_SC_SGL_TYPE_INVALID));
	CU_ASSERT_EQUAL(sgl_walk(sgl(DATA | 1, 0x5000, 4096), 4096, true, &sum, &n),
			TN_SF(BH_NVME_SC_SGL_TYPE_INVALID));
}

static void sgl_segments_chain(void)
{
	struct bh_nvme_sgl *a = (void *)page(0), *b = (void *)page(4);
	uint64_t sum;
	uint32_t n;
	unsigned int i;

	for (i = 0; i < 300; i++)
		a[i] = sgl(DATA, 0x100000 + i * 0x2000, 512);
	CU_ASSERT_EQUAL(sgl_walk(sgl(LAST, page_iova(0), 300 * 16), 300 * 512, true, &sum, &n), 0);
	CU_ASSERT(sum == 300 * 512 && n == 300 && reads == 2);
	a[299] = sgl(LAST, page_iova(4), 3 * 16);
	b[0] = sgl(DATA, 0x5000, 100);
	b[1] = sgl(BUCKET, 0, 312);
	b[2] = sgl(DATA, 0x6000, 100);
	CU_ASSERT_EQUAL(sgl_walk(sgl(SEG, page_iova(0), 300 * 16), 300 * 512, true, &sum, &n), 0);
	CU_ASSERT(sum == 300 * 512 && n == 302 && reads == 3);
	b[1].len = 313;
	CU_ASSERT_EQUAL(sgl_walk(sgl(SEG, page_iova(0), 300 * 16), 300 * 512, true, &sum, &n),
			LENGTH_INVALID);
	/* A bucket of a write takes nothing. */
	b[0].len = 412;
	CU_ASSERT_EQUAL(sgl_walk(sgl(SEG, page_iova(0), 300 * 16), 300 * 512, false, &sum, &n), 0);
}

static void sgl_hostile_segments(void)
{
	struct bh_nvme_sgl *a = (void *)page(0);
	uint64_t sum;
	uint32_t n;

	CU_ASSERT_EQUAL(sgl_walk(sgl(LAST, page_iova(0), 0), 512, true, &sum, &n), SEGMENT_INVALID);
	CU_ASSERT_EQUAL(sgl_walk(sgl(LAST, page_iova(0), 17), 512, true, &sum, &n),
			SEGMENT_INVALID);
	CU_ASSERT_EQUAL(sgl_walk(sgl(LAST, page_iova(0) + 4, 16), 512, true, &sum, &n),
			SEGMENT_INVALID);
	/* A segment of nothing but a pointer to itself. */
	a[0] = sgl(SEG, page_iova(0), 16);
	CU_ASSERT_EQUAL(sgl_walk(sgl(SEG, page_iova(0), 16), 512, true, &sum, &n),
			TN_SF(BH_NVME_SC_INVALID_SGL_COUNT));
	/* A segment descriptor where none belongs. */
	CU_ASSERT_EQUAL(sgl_walk(sgl(LAST, page_iova(0), 16), 512, true, &sum, &n),
			SEGMENT_INVALID);
	a[1] = sgl(DATA, 0x5000, 512);
	CU_ASSERT_EQUAL(sgl_walk(sgl(SEG, page_iova(0), 32), 512, true, &sum, &n), SEGMENT_INVALID);
	/* One that does not lead on. */
	a[0] = sgl(DATA, 0x5000, 512);
	CU_ASSERT_EQUAL(sgl_walk(sgl(SEG, page_iova(0), 16), 512, true, &sum, &n), SEGMENT_INVALID);
	/* Endless empty blocks. */
	memset(memory, 0, sizeof(memory));
	CU_ASSERT_EQUAL(sgl_walk(sgl(LAST, page_iova(0), 0xfffffff0u), 512, true, &sum, &n),
			TN_SF(BH_NVME_SC_INVALID_SGL_COUNT));
	CU_ASSERT_EQUAL(sgl_walk(sgl(LAST, UINT64_MAX - 7, 32), 512, true, &sum, &n), TN_UNMAPPED);
	/* Lengths that would sum to the right one by wrapping. */
	a[0] = sgl(DATA, 0x5000, 0xffffffffu);
	a[1] = sgl(DATA, 0x5000, 513);
	CU_ASSERT_EQUAL(sgl_walk(sgl(LAST, page_iova(0), 32), 512, true, &sum, &n), LENGTH_INVALID);
}

static void fixed_pieces_end(void)
{
	struct tn_piece v[4];
	struct tn_pieces pieces = { .v = v, .cap = 4, .is_fixed = true };
	struct bh_nvme_cmd cmd = { .opc = 2 };
	unsigned int i;

	for (i = 0; i < 512; i++)
		page(0)[i] = 0x100000ull + i * 0x2000;
	cmd.dptr.prp.prp1 = 0x5000;
	cmd.dptr.prp.prp2 = page_iova(0);
	CU_ASSERT_EQUAL(walk_all(&cmd, 4 * 4096, true, &pieces), 0);
	CU_ASSERT_NOT_EQUAL(walk_all(&cmd, 5 * 4096, true, &pieces), 0);
}

BH_SUITE("walk", { "prp_pairs", prp_pairs }, { "prp_lists_chain", prp_lists_chain },
	 { "prp_hostile_lists", prp_hostile_lists }, { "sgl_single_blocks", sgl_single_blocks },
	 { "sgl_segments_chain", sgl_segments_chain },
	 { "sgl_hostile_segments", sgl_hostile_segments },
	 { "fixed_pieces_end", fixed_pieces_end }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metadata beside SGLs and in memory that takes messages, and what a command of a namespace with
 * protection information may not say. That data come back, and each error is found, in all formats:
 * ft_format.
 */
#include "target_nvme/io_rig.h"

#include <bellhop/pi.h>

#define DATA RIG_DATA_AT
#define MD (RIG_DATA_AT + 0x10000)
#define LIST (RIG_DATA_AT + 0x20000)

static void open_sized(const char *size, enum bh_cmem_mode data, uint16_t md_bytes, uint8_t pi)
{
	const struct bh_blk_spec spec = {
		.arg = size, .block_size = 512, .md_bytes = md_bytes, .pi = pi
	};

	rig_open(BH_CMEM_MAPPED, data, 1, BH_DOORBELLS_MAPPED);
	rig_spec(1, &bh_blk_ram_type, &spec);
	rig_queue(1, 16, true);
}

static void open_md(enum bh_cmem_mode data, uint16_t md_bytes, uint8_t pi)
{
	open_sized("1M", data, md_bytes, pi);
}

static struct bh_nvme_cmd cmd_of(uint8_t opc, uint64_t lba, uint32_t blocks)
{
	struct bh_nvme_cmd cmd = rig_cmd(opc, lba, blocks, DATA);

	cmd.mptr = RIG_IOVA + MD;
	return cmd;
}

static void fill(uint8_t seed)
{
	unsigned int i;

	for (i = 0; i < 4096; i++)
		((uint8_t *)rig_at(DATA))[i] = (uint8_t)(i * 7 + seed);
	for (i = 0; i < 128; i++)
		((uint8_t *)rig_at(MD))[i] = (uint8_t)(i + seed);
}

static bool is_filled(uint8_t seed)
{
	unsigned int i;

	for (i = 0; i < 4096; i++)
		if (((uint8_t *)rig_at(DATA))[i] != (uint8_t)(i * 7 + seed))
			return false;
	for (i = 0; i < 128; i++)
		if (((uint8_t *)rig_at(MD))[i] != (uint8_t)(i + seed))
			return false;
	return true;
}

static void back_and_forth(uint8_t psdt, uint64_t mptr)
{
	struct bh_nvme_cmd cmd = cmd_of(BH_NVME_CMD_WRITE, 3, 8);
	struct bh_nvme_cmd read = cmd_of(BH_NVME_CMD_READ, 3, 8);

	if (psdt)
		cmd.dptr.sgl = (struct bh_nvme_sgl){ .addr = RIG_IOVA + DATA,
						     .len = 4096,
						     .type = BH_NVME_SGL_DATA_BLOCK };
	if (psdt)
		read.dptr.sgl = cmd.dptr.sgl;
	cmd.flags = read.flags = psdt;
	cmd.mptr = read.mptr = mptr;
	fill(5);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	fill(9);
	CU_ASSERT_EQUAL(rig_run(&read), 0);
	CU_ASSERT_TRUE(is_filled(5));
}

static void metadata_travel_in_any_mode(void)
{
	static const enum bh_cmem_mode modes[] = { BH_CMEM_MAPPED, BH_CMEM_MESSAGE };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		open_md(modes[i], 16, 0);
		back_and_forth(BH_NVME_PSDT_PRP, RIG_IOVA + MD);
		rig_close();
	}
}

/* The descriptor is one of data, or leads to a segment of them. */
static void metadata_by_an_sgl(void)
{
	struct bh_nvme_sgl *sgl;

	open_md(BH_CMEM_MAPPED, 16, 0);
	back_and_forth(BH_NVME_PSDT_SGL_MPTR_CONTIG, RIG_IOVA + MD);
	sgl = rig_at(LIST);
	sgl[0] = (struct bh_nvme_sgl){ .addr = RIG_IOVA + MD,
				       .len = 128,
				       .type = BH_NVME_SGL_DATA_BLOCK };
	back_and_forth(BH_NVME_PSDT_SGL_MPTR_SGL, RIG_IOVA + LIST);
	sgl[0] = (struct bh_nvme_sgl){ .addr = RIG_IOVA + LIST + 64,
				       .len = 32,
				       .type = BH_NVME_SGL_LAST_SEGMENT };
	sgl[4] = (struct bh_nvme_sgl){ .addr = RIG_IOVA + MD,
				       .len = 100,
				       .type = BH_NVME_SGL_DATA_BLOCK };
	sgl[5] = (struct bh_nvme_sgl){ .addr = RIG_IOVA + MD + 100,
				       .len = 28,
				       .type = BH_NVME_SGL_DATA_BLOCK };
	back_and_forth(BH_NVME_PSDT_SGL_MPTR_SGL, RIG_IOVA + LIST);
	rig_close();
}

static void metadata_out_of_reach(void)
{
	struct bh_nvme_cmd cmd;

	open_md(BH_CMEM_MAPPED, 16, 0);
	cmd = cmd_of(BH_NVME_CMD_WRITE, 0, 1);
	cmd.mptr = 0x10;
	CU_ASSERT_EQUAL(rig_run(&cmd) & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_DATA_TRANSFER_ERROR);
	cmd.mptr = RIG_IOVA + MD + 2;
	CU_ASSERT_EQUAL(rig_run(&cmd) & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_INVALID_FIELD);
	/* Nothing of it reached the namespace. */
	cmd = cmd_of(BH_NVME_CMD_READ, 0, 1);
	fill(1);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT_EQUAL(*(uint64_t *)rig_at(DATA), 0);
	rig_close();
}

static uint16_t checked(uint8_t opc, uint32_t flags, uint32_t ref)
{
	struct bh_nvme_cmd cmd = cmd_of(opc, 5, 1);

	cmd.cdw12 |= flags;
	cmd.cdw14 = ref;
	return rig_run(&cmd) & BH_NVME_STATUS_SC_MASK;
}

static void tags_belong_to_types(void)
{
	open_md(BH_CMEM_MAPPED, 8, 1);
	CU_ASSERT_EQUAL(checked(BH_NVME_CMD_READ, BH_NVME_IO_PRCHK_REF, 5), 0);
	CU_ASSERT_EQUAL(checked(BH_NVME_CMD_READ, BH_NVME_IO_PRCHK_REF, 6),
			BH_NVME_SC_INVALID_PROTECTION_INFO);
	CU_ASSERT_EQUAL(checked(BH_NVME_CMD_COMPARE, BH_NVME_IO_PRACT, 5),
			BH_NVME_SC_INVALID_PROTECTION_INFO);
	rig_close();
	open_md(BH_CMEM_MAPPED, 8, 2);
	CU_ASSERT_EQUAL(checked(BH_NVME_CMD_READ, BH_NVME_IO_PRCHK_REF, 6), 0);
	rig_close();
	open_md(BH_CMEM_MAPPED, 8, 3);
	CU_ASSERT_EQUAL(checked(BH_NVME_CMD_READ, BH_NVME_IO_PRCHK_REF, 5),
			BH_NVME_SC_INVALID_PROTECTION_INFO);
	rig_close();
}

/* Write Zeroes leaves tuples of zeros, or with PRACT those of zeroed blocks; a discard leaves none. */
static void what_zeroes_leave(void)
{
	const struct bh_pi_tuple *tuple;
	struct bh_nvme_cmd cmd;
	struct bh_nvme_dsm_range *range;

	open_md(BH_CMEM_MAPPED, 8, 1);
	tuple = rig_at(MD);
	cmd = cmd_of(BH_NVME_CMD_WRITE_ZEROES, 9, 2);
	cmd.cdw12 |= BH_NVME_IO_PRACT;
	cmd.cdw14 = 9;
	cmd.cdw15 = 0xffff1234;
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	cmd = cmd_of(BH_NVME_CMD_READ, 9, 2);
	cmd.cdw12 |= BH_NVME_IO_PRCHK_GUARD | BH_NVME_IO_PRCHK_APP | BH_NVME_IO_PRCHK_REF;
	cmd.cdw14 = 9;
	cmd.cdw15 = 0xffff1234;
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT_EQUAL(bh_pi_ref_tag(&tuple[1]), 10);
	CU_ASSERT_EQUAL(bh_pi_app_tag(&tuple[1]), 0x1234);
	cmd.cdw15 = 0xffff1235;
	CU_ASSERT_EQUAL(rig_run(&cmd) & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_APPTAG_CHECK_ERROR);
	cmd = cmd_of(BH_NVME_CMD_WRITE_ZEROES, 9, 2);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	cmd = cmd_of(BH_NVME_CMD_READ, 9, 1);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT_EQUAL(*(const uint64_t *)tuple, 0);
	range = rig_at(DATA);
	*range = (struct bh_nvme_dsm_range){ .blocks = 2, .lba = 9 };
	cmd = cmd_of(BH_NVME_CMD_DSM, 0, 1);
	cmd.cdw10 = 0;
	cmd.cdw11 = BH_NVME_DSM_AD;
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	cmd = cmd_of(BH_NVME_CMD_READ, 9, 1);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT_EQUAL(*(const uint64_t *)tuple, UINT64_MAX);
	rig_close();
}

static void compare_looks_at_both(void)
{
	struct bh_nvme_cmd cmd;

	open_md(BH_CMEM_MAPPED, 16, 0);
	fill(5);
	cmd = cmd_of(BH_NVME_CMD_WRITE, 3, 8);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	cmd.opc = BH_NVME_CMD_COMPARE;
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	((uint8_t *)rig_at(MD))[127] ^= 1;
	CU_ASSERT_EQUAL(rig_run(&cmd) & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_COMPARE_FAILURE);
	((uint8_t *)rig_at(MD))[127] ^= 1;
	((uint8_t *)rig_at(DATA))[4095] ^= 1;
	CU_ASSERT_EQUAL(rig_run(&cmd) & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_COMPARE_FAILURE);
	rig_close();
}

/* ---- Copy ---- */

static void put_source(unsigned int i, uint64_t lba, uint32_t blocks, uint32_t ref, uint32_t app)
{
	struct bh_nvme_copy_range *range = rig_at(LIST);

	range[i] = (struct bh_nvme_copy_range){ .slba = lba,
						.nlb = (uint16_t)(blocks - 1),
						.eilbrt = ref,
						.elbat = (uint16_t)app,
						.elbatm = (uint16_t)(app >> 16) };
}

/* cdw12: PRINFOR and PRINFOW. */
static uint16_t copy(uint64_t to, unsigned int ranges, uint32_t cdw12, uint32_t ref, uint32_t app)
{
	struct bh_nvme_cmd cmd = rig_cmd(BH_NVME_CMD_COPY, to, 1, LIST);

	cmd.cdw12 = (ranges - 1) | cdw12;
	cmd.cdw14 = ref;
	cmd.cdw15 = app;
	return rig_run(&cmd) & BH_NVME_STATUS_SC_MASK;
}

/* Eight blocks at lba, made with PRACT: reference tags from ref, application tag 17. */
static void write_protected(uint64_t lba, uint32_t ref)
{
	struct bh_nvme_cmd cmd = cmd_of(BH_NVME_CMD_WRITE, lba, 8);

	fill(5);
	cmd.cdw12 |= BH_NVME_IO_PRACT;
	cmd.cdw14 = ref;
	cmd.cdw15 = 17;
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
}

static uint16_t read_checked(uint64_t lba, uint32_t ref, uint16_t app)
{
	struct bh_nvme_cmd cmd = cmd_of(BH_NVME_CMD_READ, lba, 8);

	memset(rig_at(DATA), 0, 4096);
	cmd.cdw12 |= BH_NVME_IO_PRCHK_GUARD | BH_NVME_IO_PRCHK_APP | BH_NVME_IO_PRCHK_REF;
	cmd.cdw14 = ref;
	cmd.cdw15 = 0xffff0000u | app;
	return rig_run(&cmd) & BH_NVME_STATUS_SC_MASK;
}

/* With their data, in the order of the ranges, overlaps as they were. */
static void copies_take_metadata_along(void)
{
	struct bh_nvme_cmd cmd;

	open_md(BH_CMEM_MAPPED, 16, 0);
	fill(5);
	cmd = cmd_of(BH_NVME_CMD_WRITE, 3, 8);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	put_source(0, 3, 6, 0, 0);
	put_source(1, 9, 2, 0, 0);
	CU_ASSERT_EQUAL(copy(5, 2, 0, 0, 0), 0);
	fill(9);
	cmd = cmd_of(BH_NVME_CMD_READ, 5, 8);
	CU_ASSERT_EQUAL(rig_run(&cmd), 0);
	CU_ASSERT_TRUE(is_filled(5));
	put_source(0, 2047, 1, 0, 0);
	put_source(1, 2047, 2, 0, 0);
	CU_ASSERT_EQUAL(copy(0, 2, 0, 0, 0), BH_NVME_SC_LBA_OUT_OF_RANGE);
	CU_ASSERT_EQUAL(rig.ctrl.io->thread[0]->budget->used, 0);
	rig_close();
}

#define READ_CHECKS \
	(BH_NVME_COPY_R_PRCHK_GUARD | BH_NVME_COPY_R_PRCHK_APP | BH_NVME_COPY_R_PRCHK_REF)
#define WRITE_CHECKS (BH_NVME_IO_PRCHK_GUARD | BH_NVME_IO_PRCHK_APP | BH_NVME_IO_PRCHK_REF)
#define ACT (BH_NVME_IO_PRACT | BH_NVME_COPY_R_PRACT)

/* As they are, if both ends would have them so; each end finds what is wrong by its own tags. */
static void copies_verify(void)
{
	const uint32_t all = READ_CHECKS | WRITE_CHECKS, app = 0xffff0011u;

	open_md(BH_CMEM_MAPPED, 8, 2);
	write_protected(8, 100);
	put_source(0, 8, 4, 100, app);
	put_source(1, 12, 4, 104, app);
	CU_ASSERT_EQUAL(copy(64, 2, all, 100, app), 0);
	CU_ASSERT_EQUAL(read_checked(64, 100, 17), 0);
	CU_ASSERT_EQUAL(copy(32, 2, all, 101, app), BH_NVME_SC_REFTAG_CHECK_ERROR);
	CU_ASSERT_EQUAL(copy(32, 2, all, 100, app + 1), BH_NVME_SC_APPTAG_CHECK_ERROR);
	put_source(1, 12, 4, 105, app);
	CU_ASSERT_EQUAL(copy(32, 2, all, 100, app), BH_NVME_SC_REFTAG_CHECK_ERROR);
	put_source(1, 12, 4, 104, app + 1);
	CU_ASSERT_EQUAL(copy(32, 2, all, 100, app), BH_NVME_SC_APPTAG_CHECK_ERROR);
	rig.ns[1].blk->inline_base[15 * 512] ^= 1;
	put_source(1, 12, 4, 104, app);
	CU_ASSERT_EQUAL(copy(32, 2, all, 100, app), BH_NVME_SC_GUARD_CHECK_ERROR);
	/* Nothing of all that was written, and what is not asked for is not found. */
	CU_ASSERT_EQUAL(read_checked(32, 0, 0), 0);
	CU_ASSERT_EQUAL(*(uint64_t *)rig_at(DATA), 0);
	CU_ASSERT_EQUAL(copy(32, 2, 0, 0, 0), 0);
	CU_ASSERT_EQUAL(read_checked(32, 100, 17), BH_NVME_SC_GUARD_CHECK_ERROR);
	rig_close();
}

/* With PRACT at both ends the copy has tags of its own, and other metadata stays. */
static void copies_make_protection(void)
{
	open_md(BH_CMEM_MAPPED, 16, 1);
	write_protected(8, 8);
	put_source(0, 8, 8, 8, 0xffff0011u);
	CU_ASSERT_EQUAL(copy(64, 1, ACT | READ_CHECKS, 64, 18), 0);
	CU_ASSERT_EQUAL(read_checked(64, 64, 18), 0);
	CU_ASSERT_EQUAL(memcmp((uint8_t *)rig_at(MD) + 16, "\x15\x16\x17\x18\x19\x1a\x1b\x1c", 8),
			0);
	rig.ns[1].blk->md[8 * 16] ^= 1; /* the guard covers it */
	CU_ASSERT_EQUAL(copy(64, 1, ACT | READ_CHECKS, 64, 18), BH_NVME_SC_GUARD_CHECK_ERROR);
	CU_ASSERT_EQUAL(copy(64, 1, ACT, 64, 18), 0);
	CU_ASSERT_EQUAL(read_checked(64, 64, 18), 0);
	/* At one end only; tags that the type does not allow, at either. */
	CU_ASSERT_EQUAL(copy(64, 1, BH_NVME_IO_PRACT, 64, 18), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(copy(64, 1, BH_NVME_COPY_R_PRACT, 64, 18), BH_NVME_SC_INVALID_FIELD);
	CU_ASSERT_EQUAL(copy(64, 1, WRITE_CHECKS, 65, 18), BH_NVME_SC_INVALID_PROTECTION_INFO);
	put_source(0, 8, 8, 9, 0);
	CU_ASSERT_EQUAL(copy(64, 1, READ_CHECKS, 64, 18), BH_NVME_SC_INVALID_PROTECTION_INFO);
	CU_ASSERT_EQUAL(rig.ctrl.io->thread[0]->budget->used, 0);
	rig_close();
}

/* ---- bounds ---- */

/* Metadata go with the blocks, a step at a time: a disk of them is much memory. */
static void metadata_are_forgotten_in_steps(void)
{
	struct bh_nvme_dsm_range *range;
	struct bh_nvme_cmd cmd;
	uint8_t *md;

	open_sized("32M", BH_CMEM_MAPPED, 8, 0);
	md = rig.ns[1].blk->md;
	memset(md, 0x11, 65536 * 8);
	range = rig_at(DATA);
	*range = (struct bh_nvme_dsm_range){ .blocks = 65536, .lba = 0 };
	cmd = cmd_of(BH_NVME_CMD_DSM, 0, 1);
	cmd.cdw10 = 0;
	cmd.cdw11 = BH_NVME_DSM_AD;
	rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	rig_step();
	CU_ASSERT_EQUAL(md[0], 0);
	CU_ASSERT_EQUAL(md[65536 * 8 - 1], 0x11);
	rig_steps(16);
	CU_ASSERT_EQUAL(md[65536 * 8 - 1], 0);
	rig_close();
}

/* Bytes that a write which waits for its data has counted. */
static uint64_t charged(uint8_t psdt)
{
	struct bh_nvme_cmd cmd = cmd_of(BH_NVME_CMD_WRITE, 0, 8);
	uint64_t used;

	open_md(BH_CMEM_MESSAGE, 64, 0);
	cmd.flags = psdt;
	cmd.dptr.sgl = (struct bh_nvme_sgl){ .addr = RIG_IOVA + DATA, .len = 4096 };
	rig.hold_messages = true;
	rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	rig_steps(2);
	used = rig.ctrl.io->thread[0]->budget->used;
	rig_close();
	return used;
}

/* The descriptor may lead to one for each byte. */
static void lists_of_metadata_are_counted(void)
{
	uint64_t plain = charged(BH_NVME_PSDT_SGL_MPTR_CONTIG);

	CU_ASSERT_TRUE(plain > 4096);
	CU_ASSERT_TRUE(charged(BH_NVME_PSDT_SGL_MPTR_SGL) >= plain + 512 * sizeof(struct tn_piece));
}

/* Blocks that are read by way of a buffer are work, after which others have their turn. */
static void reads_are_work(void)
{
	struct bh_nvme_cmd cmd;
	struct bh_nvme_cpl cpl;
	unsigned int i, n = 0;

	open_md(BH_CMEM_MAPPED, 8, 1);
	cmd = cmd_of(BH_NVME_CMD_READ, 0, 256);
	cmd.flags = BH_NVME_PSDT_SGL_MPTR_CONTIG;
	cmd.dptr.sgl = (struct bh_nvme_sgl){ .addr = RIG_IOVA + DATA, .len = 128 << 10 };
	cmd.mptr = RIG_IOVA + DATA + (1 << 20);
	for (i = 0; i < 12; i++)
		rig_put(&rig.q[1], &cmd);
	rig_tail(&rig.q[1]);
	rig_step();
	while (rig_get(&rig.q[1], &cpl))
		n++;
	CU_ASSERT_TRUE(n > 0 && n <= 5);
	rig_close();
}

BH_SUITE("meta", { "metadata_travel_in_any_mode", metadata_travel_in_any_mode },
	 { "metadata_by_an_sgl", metadata_by_an_sgl },
	 { "metadata_out_of_reach", metadata_out_of_reach },
	 { "tags_belong_to_types", tags_belong_to_types },
	 { "what_zeroes_leave", what_zeroes_leave },
	 { "compare_looks_at_both", compare_looks_at_both },
	 { "copies_take_metadata_along", copies_take_metadata_along },
	 { "copies_verify", copies_verify }, { "copies_make_protection", copies_make_protection },
	 { "metadata_are_forgotten_in_steps", metadata_are_forgotten_in_steps },
	 { "lists_of_metadata_are_counted", lists_of_metadata_are_counted },
	 { "reads_are_work", reads_are_work }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* The controller memory buffer: registers, the client's table, the gate. */
#include "target_nvme/control_rig.h"

#define BYTES (64u * 1024)
#define AT 0x7000000000ull
#define CRE 1u
#define CMSE 2u

static const struct bh_cmem_region *region_at(uint64_t iova)
{
	return bh_cmem_find(&rig.server->cmem, iova);
}

static void open_with(uint64_t bytes)
{
	struct bh_target_nvme_opts opts = rig_opts();

	bh_target_nvme_free(rig.ctrl);
	opts.cmb_bytes = bytes;
	CU_ASSERT_EQUAL_FATAL(rig_open(&opts, BH_CMEM_MAPPED), 0);
	rig.gates = 0;
}

/* As a driver does: the upper half, then the lower. */
static void enable_at(uint64_t cba)
{
	CU_ASSERT_EQUAL(rig_write(BH_NVME_REG_CMBMSC + 4, cba >> 32, 4), 0);
	CU_ASSERT_EQUAL(rig_write(BH_NVME_REG_CMBMSC, (uint32_t)cba | CRE | CMSE, 4), 0);
}

static void registers_show_when_told_to(void)
{
	uint64_t loc, size;

	open_with(BYTES);
	CU_ASSERT_EQUAL(BH_NVME_GET(rig_read(BH_NVME_REG_CAP, 8), CAP_CMBS), 1);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBLOC, 4), 0);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSZ, 4), 0);
	rig_write(BH_NVME_REG_CMBMSC, CRE, 8);
	loc = rig_read(BH_NVME_REG_CMBLOC, 4);
	size = rig_read(BH_NVME_REG_CMBSZ, 4);
	CU_ASSERT_EQUAL(BH_NVME_GET(loc, CMBLOC_BIR), 2);
	CU_ASSERT_EQUAL(BH_NVME_GET(loc, CMBLOC_OFST), 0);
	CU_ASSERT_EQUAL(BH_NVME_GET(size, CMBSZ_SZU), 0);
	CU_ASSERT_EQUAL(BH_NVME_GET(size, CMBSZ_SZ), BYTES / 4096);
	CU_ASSERT_EQUAL(size & 0x1f, 0x1f);
	/* Not before it is to be at some address. */
	CU_ASSERT_EQUAL(rig.gates, 0);
	rig_write(BH_NVME_REG_CMBLOC, 0xffffffff, 4);
	rig_write(BH_NVME_REG_CMBSZ, 0xffffffff, 4);
	rig_write(BH_NVME_REG_CMBSTS, 0xffffffff, 4);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBLOC, 4), loc);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSZ, 4), size);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSTS, 4), 0);
	/* Reserved bits stay clear. */
	rig_write(BH_NVME_REG_CMBMSC, 0xffd, 4);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBMSC, 8), CRE);
	rig_write(BH_NVME_REG_CMBMSC, 0, 4);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSZ, 4), 0);
}

static void without_one_there_is_nothing(void)
{
	uint32_t word = 0;

	CU_ASSERT_EQUAL(BH_NVME_GET(rig_read(BH_NVME_REG_CAP, 8), CAP_CMBS), 0);
	enable_at(AT);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBMSC, 8), 0);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSZ, 4), 0);
	CU_ASSERT_PTR_NULL(region_at(AT));
	CU_ASSERT_EQUAL(rig.server->opts.bar[2].bytes, 0);
	CU_ASSERT_EQUAL(rig.server->opts.ops->access(rig.ctrl, 2, 0, &word, 4, true), -EINVAL);
}

static void it_is_client_memory_while_enabled(void)
{
	struct bh_cmem_cache cache = { 0 };
	uint64_t word = 0x1122334455667788ull;

	open_with(BYTES);
	enable_at(AT);
	CU_ASSERT_EQUAL(rig.gates, 1);
	CU_ASSERT_EQUAL(rig.gate_kind, TN_GATE_TABLE);
	CU_ASSERT_FALSE(rig.is_gated);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSTS, 4), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(region_at(AT));
	CU_ASSERT_EQUAL(region_at(AT)->len, BYTES);
	/* What a client without a mapping writes is where the controller looks. */
	CU_ASSERT_EQUAL(rig.server->opts.ops->access(rig.ctrl, 2, 0x100, &word, 8, true), 0);
	CU_ASSERT_EQUAL(*(uint64_t *)bh_cmem_ptr(&rig.server->cmem, &cache, AT + 0x100, 8,
						 BH_CMEM_PROT_READ),
			word);
	word = 1;
	CU_ASSERT_EQUAL(rig.server->opts.ops->access(rig.ctrl, 2, BYTES - 4, &word, 8, false), 0);
	CU_ASSERT_EQUAL(word, 0);
	/* The same again is nothing new; elsewhere, and away. */
	enable_at(AT);
	CU_ASSERT_EQUAL(rig.gates, 1);
	enable_at(AT + BYTES / 2);
	CU_ASSERT_PTR_NULL(region_at(AT));
	CU_ASSERT_PTR_NOT_NULL(region_at(AT + BYTES));
	rig_write(BH_NVME_REG_CMBMSC, CRE, 4);
	CU_ASSERT_PTR_NULL(region_at(AT + BYTES));
	/* Eight bytes at once. */
	rig_write(BH_NVME_REG_CMBMSC, AT | CRE | CMSE, 8);
	CU_ASSERT_PTR_NOT_NULL(region_at(AT));
}

static void addresses_in_use_are_invalid(void)
{
	open_with(BYTES);
	enable_at(RIG_IOVA + RIG_BYTES - 4096);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSTS, 4), 1);
	CU_ASSERT_PTR_NULL(region_at(RIG_IOVA + RIG_BYTES));
	enable_at(RIG_IOVA - 4096);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSTS, 4), 1);
	enable_at(0ull - 4096);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSTS, 4), 1);
	enable_at(RIG_IOVA + RIG_BYTES);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSTS, 4), 0);
	CU_ASSERT_PTR_NOT_NULL(region_at(RIG_IOVA + RIG_BYTES));
	enable_at(0ull - BYTES);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSTS, 4), 0);
	CU_ASSERT_PTR_NOT_NULL(region_at(0ull - BYTES));
	/* An invalid address ends the one before. */
	enable_at(RIG_IOVA);
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBSTS, 4), 1);
	CU_ASSERT_PTR_NULL(region_at(0ull - BYTES));
}

static void the_last_word_counts(void)
{
	open_with(BYTES);
	rig.hold_gate = true;
	enable_at(AT);
	rig_write(BH_NVME_REG_CMBMSC, CRE, 4);
	enable_at(2 * AT);
	CU_ASSERT_EQUAL(rig.gates, 1);
	CU_ASSERT_PTR_NULL(region_at(AT));
	rig_gate_closes();
	CU_ASSERT_PTR_NULL(region_at(AT));
	CU_ASSERT_PTR_NOT_NULL(region_at(2 * AT));
	CU_ASSERT_FALSE(rig.is_gated);
	/* Taken back before anything was done. */
	enable_at(AT);
	enable_at(2 * AT);
	rig_gate_closes();
	CU_ASSERT_PTR_NOT_NULL(region_at(2 * AT));
	rig.hold_gate = false;
}

static void it_outlives_the_client_s_unmapping(void)
{
	const struct bh_vfu_ops *ops = rig.server->opts.ops;

	open_with(BYTES);
	ops = rig.server->opts.ops;
	enable_at(AT);
	ops->quiesce(rig.ctrl, BH_QUIESCE_UNMAP, 0, 0);
	CU_ASSERT_EQUAL(bh_cmem_del(&rig.server->cmem, 0, 0), 0);
	CU_ASSERT_PTR_NULL(region_at(AT));
	ops->resume(rig.ctrl, BH_QUIESCE_UNMAP);
	CU_ASSERT_PTR_NOT_NULL(region_at(AT));
	rig_write(BH_NVME_REG_CMBMSC, 0, 4);
	CU_ASSERT_PTR_NULL(region_at(AT));
}

static void only_full_resets_end_it(void)
{
	const struct bh_vfu_ops *ops;
	uint64_t word = 7;

	open_with(BYTES);
	ops = rig.server->opts.ops;
	enable_at(AT);
	ops->access(rig.ctrl, 2, 0, &word, 8, true);
	rig_enable(8, 8);
	rig_disable();
	CU_ASSERT_PTR_NOT_NULL(region_at(AT));
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBMSC, 8), AT | CRE | CMSE);
	ops->access(rig.ctrl, 2, 0, &word, 8, false);
	CU_ASSERT_EQUAL(word, 7);
	ops->quiesce(rig.ctrl, BH_QUIESCE_RESET, 0, 0);
	ops->reset(rig.ctrl, BH_RESET_DEVICE);
	ops->resume(rig.ctrl, BH_QUIESCE_RESET);
	CU_ASSERT_PTR_NULL(region_at(AT));
	CU_ASSERT_EQUAL(rig_read(BH_NVME_REG_CMBMSC, 8), 0);
	ops->access(rig.ctrl, 2, 0, &word, 8, false);
	CU_ASSERT_EQUAL(word, 0);
	enable_at(AT);
	CU_ASSERT_PTR_NOT_NULL(region_at(AT));
}

static uint8_t *map_as_client(int fd, uint64_t offset)
{
	uint8_t *va = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	CU_ASSERT_PTR_NOT_EQUAL_FATAL(va, MAP_FAILED);
	return va;
}

/* Doorbells and buffer of a client that has left are not those of the next. */
static void each_client_has_its_own(void)
{
	const struct bh_vfu_ops *ops;
	uint8_t *bells, *buffer;
	uint32_t word = 0;

	open_with(BYTES);
	ops = rig.server->opts.ops;
	bells = map_as_client(rig.ctrl->doorbell_fd, BH_NVME_REG_DOORBELLS);
	buffer = map_as_client(rig.server->opts.bar[2].fd, 0);
	buffer[0] = bells[8] = 5;
	CU_ASSERT_EQUAL(ops->access(rig.ctrl, 0, BH_NVME_REG_DOORBELLS + 8, &word, 4, false), 0);
	CU_ASSERT_EQUAL(word, 5);
	/* A reset of its own takes nothing from it. */
	ops->quiesce(rig.ctrl, BH_QUIESCE_RESET, 0, UINT64_MAX);
	ops->reset(rig.ctrl, BH_RESET_DEVICE);
	ops->resume(rig.ctrl, BH_QUIESCE_RESET);
	buffer[0] = bells[8] = 6;
	ops->access(rig.ctrl, 2, 0, &word, 4, false);
	CU_ASSERT_EQUAL(word, 6);
	ops->quiesce(rig.ctrl, BH_QUIESCE_DISCONNECT, 0, UINT64_MAX);
	ops->reset(rig.ctrl, BH_RESET_LOST);
	ops->resume(rig.ctrl, BH_QUIESCE_DISCONNECT);
	buffer[0] = bells[8] = 7;
	ops->access(rig.ctrl, 2, 0, &word, 4, false);
	CU_ASSERT_EQUAL(word, 0);
	ops->access(rig.ctrl, 0, BH_NVME_REG_DOORBELLS + 8, &word, 4, false);
	CU_ASSERT_EQUAL(word, 0);
	word = 0x01010101;
	ops->access(rig.ctrl, 2, 0, &word, 4, true);
	CU_ASSERT_EQUAL(buffer[0], 7);
	/* And it can be had at an address again. */
	enable_at(AT);
	CU_ASSERT_PTR_NOT_NULL(region_at(AT));
	munmap(bells, 4096);
	munmap(buffer, 4096);
}

static void sizes(void)
{
	static const uint64_t bad[] = { 1, 4095, 4097, (1ull << 30) + 4096 };
	struct bh_target_nvme_opts opts = rig_opts();
	struct bh_target_nvme *out;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		opts.cmb_bytes = bad[i];
		CU_ASSERT_EQUAL(bh_target_nvme_create(&opts, &out), -EINVAL);
	}
	open_with(12288);
	CU_ASSERT_EQUAL(rig.server->opts.bar[2].bytes, 16384);
	CU_ASSERT(rig.server->opts.bar[2].is_64 && rig.server->opts.bar[2].prefetchable);
	CU_ASSERT(rig.server->opts.bar[2].fd >= 0);
}

BH_SUITE_FIXTURE("target_nvme_cmb", rig_setup, rig_teardown,
		 { "registers_show_when_told_to", registers_show_when_told_to },
		 { "without_one_there_is_nothing", without_one_there_is_nothing },
		 { "it_is_client_memory_while_enabled", it_is_client_memory_while_enabled },
		 { "addresses_in_use_are_invalid", addresses_in_use_are_invalid },
		 { "the_last_word_counts", the_last_word_counts },
		 { "it_outlives_the_client_s_unmapping", it_outlives_the_client_s_unmapping },
		 { "only_full_resets_end_it", only_full_resets_end_it },
		 { "each_client_has_its_own", each_client_has_its_own }, { "sizes", sizes }, )

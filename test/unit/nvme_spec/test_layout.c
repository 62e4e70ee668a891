/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sizes and offsets are asserted in the header; here bytes and words as the specification draws
 * them are read through the structures and accessors.
 */
#include "unit.h"

#include <string.h>

#include <bellhop/nvme_spec.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* first and last are the bit numbers the specification gives. */
#define FIELD(name, first, last)                                                            \
	{                                                                                   \
#name, BH_NVME_##name##_SHIFT, (uint64_t)BH_NVME_##name##_MASK, first, last \
	}

static const struct {
	const char *name;
	unsigned int shift;
	uint64_t mask;
	unsigned int first, last;
} fields[] = {
	FIELD(CAP_MQES, 0, 15),	    FIELD(CAP_CQR, 16, 16),	 FIELD(CAP_AMS, 17, 18),
	FIELD(CAP_TO, 24, 31),	    FIELD(CAP_DSTRD, 32, 35),	 FIELD(CAP_NSSRS, 36, 36),
	FIELD(CAP_CSS, 37, 44),	    FIELD(CAP_BPS, 45, 45),	 FIELD(CAP_CPS, 46, 47),
	FIELD(CAP_MPSMIN, 48, 51),  FIELD(CAP_MPSMAX, 52, 55),	 FIELD(CAP_PMRS, 56, 56),
	FIELD(CAP_CMBS, 57, 57),    FIELD(CAP_NSSS, 58, 58),	 FIELD(CAP_CRMS, 59, 60),
	FIELD(VS_TER, 0, 7),	    FIELD(VS_MNR, 8, 15),	 FIELD(VS_MJR, 16, 31),
	FIELD(CC_EN, 0, 0),	    FIELD(CC_CSS, 4, 6),	 FIELD(CC_MPS, 7, 10),
	FIELD(CC_AMS, 11, 13),	    FIELD(CC_SHN, 14, 15),	 FIELD(CC_IOSQES, 16, 19),
	FIELD(CC_IOCQES, 20, 23),   FIELD(CC_CRIME, 24, 24),	 FIELD(CSTS_RDY, 0, 0),
	FIELD(CSTS_CFS, 1, 1),	    FIELD(CSTS_SHST, 2, 3),	 FIELD(CSTS_NSSRO, 4, 4),
	FIELD(CSTS_PP, 5, 5),	    FIELD(CSTS_ST, 6, 6),	 FIELD(AQA_ASQS, 0, 11),
	FIELD(AQA_ACQS, 16, 27),    FIELD(CRTO_CRWMT, 0, 15),	 FIELD(CRTO_CRIMT, 16, 31),
	FIELD(CMBLOC_BIR, 0, 2),    FIELD(CMBLOC_CQMMS, 3, 3),	 FIELD(CMBLOC_CQPDS, 4, 4),
	FIELD(CMBLOC_CDPMLS, 5, 5), FIELD(CMBLOC_CDPCILS, 6, 6), FIELD(CMBLOC_CDMMMS, 7, 7),
	FIELD(CMBLOC_CQDA, 8, 8),   FIELD(CMBLOC_OFST, 12, 31),	 FIELD(CMBSZ_SQS, 0, 0),
	FIELD(CMBSZ_CQS, 1, 1),	    FIELD(CMBSZ_LISTS, 2, 2),	 FIELD(CMBSZ_RDS, 3, 3),
	FIELD(CMBSZ_WDS, 4, 4),	    FIELD(CMBSZ_SZU, 8, 11),	 FIELD(CMBSZ_SZ, 12, 31),
	FIELD(CMBMSC_CRE, 0, 0),    FIELD(CMBMSC_CMSE, 1, 1),	 FIELD(CMBMSC_CBA, 12, 63),
	FIELD(QUEUE_QID, 0, 15),    FIELD(QUEUE_QSIZE, 16, 31),	 FIELD(QUEUE_QPRIO, 1, 2),
	FIELD(QUEUE_CQID, 16, 31),  FIELD(QUEUE_IV, 16, 31),	 FIELD(GLP_LSP, 8, 14),
	FIELD(GLP_NUMDL, 16, 31),   FIELD(IO_NLB, 0, 15),	 FIELD(IO_DTYPE, 20, 23),
	FIELD(AER_TYPE, 0, 2),	    FIELD(AER_INFO, 8, 15),	 FIELD(AER_LID, 16, 23),
	FIELD(EFFECT_CSE, 16, 18),  FIELD(EFFECT_CSP, 20, 31),	 FIELD(FORMAT_PI, 5, 7),
	FIELD(FORMAT_SES, 9, 11),   FIELD(FORMAT_LBAFU, 12, 13),
};

static void fields_are_where_the_specification_has_them(void)
{
	for (size_t i = 0; i < LEN(fields); i++) {
		unsigned int width = fields[i].last - fields[i].first + 1;

		CU_ASSERT_EQUAL(fields[i].shift, fields[i].first);
		CU_ASSERT_EQUAL(fields[i].mask, ((uint64_t)1 << width) - 1);
	}
}

static void get_takes_out_what_set_put_in(void)
{
	uint64_t cap = BH_NVME_SET(CAP_MQES, 1023) | BH_NVME_SET(CAP_CQR, 1) |
		       BH_NVME_SET(CAP_TO, 40) | BH_NVME_SET(CAP_DSTRD, 10) |
		       BH_NVME_SET(CAP_CSS, BH_NVME_CAP_CSS_NVM) | BH_NVME_SET(CAP_MPSMAX, 4);

	CU_ASSERT_EQUAL(cap, 0x0040002a280103ffull);
	CU_ASSERT_EQUAL(BH_NVME_GET(cap, CAP_MQES), 1023);
	CU_ASSERT_EQUAL(BH_NVME_GET(cap, CAP_DSTRD), 10);
	CU_ASSERT_EQUAL(BH_NVME_GET(cap, CAP_CSS), BH_NVME_CAP_CSS_NVM);
	CU_ASSERT_EQUAL(BH_NVME_GET(cap, CAP_MPSMAX), 4);
	CU_ASSERT_EQUAL(BH_NVME_GET(cap, CAP_MPSMIN), 0);
}

static void set_cuts_what_does_not_fit(void)
{
	CU_ASSERT_EQUAL(BH_NVME_SET(CC_SHN, 5), 1u << 14);
	CU_ASSERT_EQUAL(BH_NVME_SET(CAP_DSTRD, 0x1f), 0xfull << 32);
	CU_ASSERT_EQUAL(BH_NVME_SET(CMBMSC_CBA, UINT64_MAX), 0xfffffffffffff000ull);
}

static void enabling_value_of_cc_is_the_usual_one(void)
{
	uint64_t cc = BH_NVME_CC_EN | BH_NVME_SET(CC_IOSQES, BH_NVME_SQE_SHIFT) |
		      BH_NVME_SET(CC_IOCQES, BH_NVME_CQE_SHIFT);

	CU_ASSERT_EQUAL(cc, 0x460001);
	CU_ASSERT_EQUAL(BH_NVME_GET(cc, CC_EN), 1);
	CU_ASSERT_EQUAL(1u << BH_NVME_SQE_SHIFT, sizeof(struct bh_nvme_cmd));
	CU_ASSERT_EQUAL(1u << BH_NVME_CQE_SHIFT, sizeof(struct bh_nvme_cpl));
}

static void versions_are_major_minor_tertiary(void)
{
	uint32_t vs = BH_NVME_VERSION(1, 4, 3);

	CU_ASSERT_EQUAL(vs, 0x00010403);
	CU_ASSERT_EQUAL(BH_NVME_GET(vs, VS_MJR), 1);
	CU_ASSERT_EQUAL(BH_NVME_GET(vs, VS_MNR), 4);
	CU_ASSERT_EQUAL(BH_NVME_GET(vs, VS_TER), 3);
	CU_ASSERT_EQUAL(BH_NVME_VERSION(2, 0, 0), 0x00020000);
}

static void doorbells_follow_the_stride(void)
{
	CU_ASSERT_EQUAL(bh_nvme_sq_doorbell(0, 0), 0x1000);
	CU_ASSERT_EQUAL(bh_nvme_cq_doorbell(0, 0), 0x1004);
	CU_ASSERT_EQUAL(bh_nvme_sq_doorbell(1, 0), 0x1008);
	CU_ASSERT_EQUAL(bh_nvme_cq_doorbell(1, 0), 0x100c);
	CU_ASSERT_EQUAL(bh_nvme_sq_doorbell(3, 4), 0x1000 + 6 * 64);
	CU_ASSERT_EQUAL(bh_nvme_cq_doorbell(3, 4), 0x1000 + 7 * 64);
	CU_ASSERT_EQUAL(bh_nvme_cq_doorbell(7, 10), 0x1000 + 15 * 4096);
	CU_ASSERT_EQUAL(bh_nvme_cq_doorbell(65535, 15), 0x1000 + 131071ull * 131072);
}

static void command_bytes_land_in_their_fields(void)
{
	struct bh_nvme_cmd cmd;
	uint8_t raw[64];

	for (unsigned int i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)i;
	memcpy(&cmd, raw, sizeof(cmd));
	CU_ASSERT_EQUAL(cmd.opc, 0x00);
	CU_ASSERT_EQUAL(cmd.flags, 0x01);
	CU_ASSERT_EQUAL(cmd.cid, 0x0302);
	CU_ASSERT_EQUAL(cmd.nsid, 0x07060504);
	CU_ASSERT_EQUAL(cmd.cdw2, 0x0b0a0908);
	CU_ASSERT_EQUAL(cmd.mptr, 0x1716151413121110ull);
	CU_ASSERT_EQUAL(cmd.dptr.prp.prp1, 0x1f1e1d1c1b1a1918ull);
	CU_ASSERT_EQUAL(cmd.dptr.prp.prp2, 0x2726252423222120ull);
	CU_ASSERT_EQUAL(cmd.dptr.sgl.addr, cmd.dptr.prp.prp1);
	CU_ASSERT_EQUAL(cmd.dptr.sgl.len, 0x23222120);
	CU_ASSERT_EQUAL(cmd.dptr.sgl.type, 0x27);
	CU_ASSERT_EQUAL(cmd.cdw10, 0x2b2a2928);
	CU_ASSERT_EQUAL(cmd.cdw12, 0x33323130);
	CU_ASSERT_EQUAL(cmd.cdw15, 0x3f3e3d3c);
}

static void completion_status_leaves_the_phase_out(void)
{
	struct bh_nvme_cpl cpl = { .status = 0 };
	uint16_t sf = BH_NVME_SC_INVALID_QUEUE_SIZE | BH_NVME_STATUS_DNR;

	cpl.status = (uint16_t)(sf << 1);
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), sf);
	cpl.status |= BH_NVME_CPL_PHASE;
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), sf);
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl) & BH_NVME_STATUS_SC_MASK, 0x102);
	cpl.status = BH_NVME_CPL_PHASE;
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), BH_NVME_SC_SUCCESS);
	cpl.status = 0xffff;
	CU_ASSERT_EQUAL(bh_nvme_cpl_status(&cpl), 0x7fff);
}

static void format_index_is_in_two_parts(void)
{
	CU_ASSERT_EQUAL(bh_nvme_flbas_index(0x00), 0);
	CU_ASSERT_EQUAL(bh_nvme_flbas_index(0x0f), 15);
	CU_ASSERT_EQUAL(bh_nvme_flbas_index(0x1f), 15); /* bit 4 is about metadata */
	CU_ASSERT_EQUAL(bh_nvme_flbas_index(0x20), 16);
	CU_ASSERT_EQUAL(bh_nvme_flbas_index(0x61), 49);
	CU_ASSERT_EQUAL(bh_nvme_flbas_index(0xff), 63);
}

static void opcodes_tell_the_direction(void)
{
	CU_ASSERT_EQUAL(BH_NVME_CMD_READ & BH_NVME_OPC_XFER_MASK, BH_NVME_OPC_XFER_TO_HOST);
	CU_ASSERT_EQUAL(BH_NVME_CMD_WRITE & BH_NVME_OPC_XFER_MASK, BH_NVME_OPC_XFER_TO_CTRL);
	CU_ASSERT_EQUAL(BH_NVME_CMD_COMPARE & BH_NVME_OPC_XFER_MASK, BH_NVME_OPC_XFER_TO_CTRL);
	CU_ASSERT_EQUAL(BH_NVME_CMD_DSM & BH_NVME_OPC_XFER_MASK, BH_NVME_OPC_XFER_TO_CTRL);
	CU_ASSERT_EQUAL(BH_NVME_CMD_FLUSH & BH_NVME_OPC_XFER_MASK, BH_NVME_OPC_XFER_NONE);
	CU_ASSERT_EQUAL(BH_NVME_ADMIN_IDENTIFY & BH_NVME_OPC_XFER_MASK, BH_NVME_OPC_XFER_TO_HOST);
	CU_ASSERT_EQUAL(BH_NVME_ADMIN_CREATE_CQ & BH_NVME_OPC_XFER_MASK, BH_NVME_OPC_XFER_TO_CTRL);
}

BH_SUITE("nvme_layout",
	 { "fields_are_where_the_specification_has_them",
	   fields_are_where_the_specification_has_them },
	 { "get_takes_out_what_set_put_in", get_takes_out_what_set_put_in },
	 { "set_cuts_what_does_not_fit", set_cuts_what_does_not_fit },
	 { "enabling_value_of_cc_is_the_usual_one", enabling_value_of_cc_is_the_usual_one },
	 { "versions_are_major_minor_tertiary", versions_are_major_minor_tertiary },
	 { "doorbells_follow_the_stride", doorbells_follow_the_stride },
	 { "command_bytes_land_in_their_fields", command_bytes_land_in_their_fields },
	 { "completion_status_leaves_the_phase_out", completion_status_leaves_the_phase_out },
	 { "format_index_is_in_two_parts", format_index_is_in_two_parts },
	 { "opcodes_tell_the_direction", opcodes_tell_the_direction }, )

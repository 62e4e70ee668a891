/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe on the wire: registers, queue entries, identify data, log pages, numbers and their names.
 *
 * Component: lib/nvme_spec
 *
 * After NVM Express Base 2.0, NVM Command Set 1.0, Zoned Namespace Command Set 1.1 and NVMe over
 * PCIe Transport 1.0. Shared by the driver and the emulated controller, so it takes neither side.
 *
 * Conventions: everything is little-endian, as is the host. There are no bit-fields: a field F of a
 * register or dword has F_SHIFT and F_MASK, the mask applying after the shift right, to be used
 * with BH_NVME_GET and BH_NVME_SET; flags are single-bit constants in place. Where the
 * specification puts a 16-bit field at an odd offset, it is an array of two bytes. 128-bit counters
 * are uint64_t[2], low half first. Fields are named as in the specification, in lower case. "0's
 * based" counts are one less than what they count.
 */
#ifndef BELLHOP_NVME_SPEC_H
#define BELLHOP_NVME_SPEC_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Bellhop needs a little-endian host"
#endif

/* BH_NVME_GET(cap, CAP_MQES) takes a field out, BH_NVME_SET(CAP_MQES, 63) puts one in place. */
#define BH_NVME_GET(value, field) \
	(((uint64_t)(value) >> BH_NVME_##field##_SHIFT) & (uint64_t)BH_NVME_##field##_MASK)
#define BH_NVME_SET(field, x) \
	(((uint64_t)(x) & (uint64_t)BH_NVME_##field##_MASK) << BH_NVME_##field##_SHIFT)

/* Controller properties: offsets in BAR 0 (base 3.1.3). */
#define BH_NVME_REG_CAP 0x00u /* 64 bits */
#define BH_NVME_REG_VS 0x08u
#define BH_NVME_REG_INTMS 0x0cu
#define BH_NVME_REG_INTMC 0x10u
#define BH_NVME_REG_CC 0x14u
#define BH_NVME_REG_CSTS 0x1cu
#define BH_NVME_REG_NSSR 0x20u
#define BH_NVME_REG_AQA 0x24u
#define BH_NVME_REG_ASQ 0x28u /* 64 bits */
#define BH_NVME_REG_ACQ 0x30u /* 64 bits */
#define BH_NVME_REG_CMBLOC 0x38u
#define BH_NVME_REG_CMBSZ 0x3cu
#define BH_NVME_REG_BPINFO 0x40u
#define BH_NVME_REG_BPRSEL 0x44u
#define BH_NVME_REG_BPMBL 0x48u	 /* 64 bits */
#define BH_NVME_REG_CMBMSC 0x50u /* 64 bits */
#define BH_NVME_REG_CMBSTS 0x58u
#define BH_NVME_REG_CMBEBS 0x5cu
#define BH_NVME_REG_CMBSWTP 0x60u
#define BH_NVME_REG_NSSD 0x64u
#define BH_NVME_REG_CRTO 0x68u
#define BH_NVME_REG_PMRCAP 0xe00u
#define BH_NVME_REG_PMRCTL 0xe04u
#define BH_NVME_REG_PMRSTS 0xe08u
#define BH_NVME_REG_PMREBS 0xe0cu
#define BH_NVME_REG_PMRSWTP 0xe10u
#define BH_NVME_REG_PMRMSCL 0xe14u
#define BH_NVME_REG_PMRMSCU 0xe18u
#define BH_NVME_REG_DOORBELLS 0x1000u

#define BH_NVME_CAP_MQES_SHIFT 0 /* 0's based */
#define BH_NVME_CAP_MQES_MASK 0xffffu
#define BH_NVME_CAP_CQR_SHIFT 16
#define BH_NVME_CAP_CQR_MASK 0x1u
#define BH_NVME_CAP_AMS_SHIFT 17
#define BH_NVME_CAP_AMS_MASK 0x3u
#define BH_NVME_CAP_TO_SHIFT 24 /* units of 500 ms */
#define BH_NVME_CAP_TO_MASK 0xffu
#define BH_NVME_CAP_DSTRD_SHIFT 32
#define BH_NVME_CAP_DSTRD_MASK 0xfu
#define BH_NVME_CAP_NSSRS_SHIFT 36
#define BH_NVME_CAP_NSSRS_MASK 0x1u
#define BH_NVME_CAP_CSS_SHIFT 37
#define BH_NVME_CAP_CSS_MASK 0xffu
#define BH_NVME_CAP_BPS_SHIFT 45
#define BH_NVME_CAP_BPS_MASK 0x1u
#define BH_NVME_CAP_CPS_SHIFT 46
#define BH_NVME_CAP_CPS_MASK 0x3u
#define BH_NVME_CAP_MPSMIN_SHIFT 48 /* page size is 2 ^ (12 + MPSMIN) */
#define BH_NVME_CAP_MPSMIN_MASK 0xfu
#define BH_NVME_CAP_MPSMAX_SHIFT 52
#define BH_NVME_CAP_MPSMAX_MASK 0xfu
#define BH_NVME_CAP_PMRS_SHIFT 56
#define BH_NVME_CAP_PMRS_MASK 0x1u
#define BH_NVME_CAP_CMBS_SHIFT 57
#define BH_NVME_CAP_CMBS_MASK 0x1u
#define BH_NVME_CAP_NSSS_SHIFT 58
#define BH_NVME_CAP_NSSS_MASK 0x1u
#define BH_NVME_CAP_CRMS_SHIFT 59
#define BH_NVME_CAP_CRMS_MASK 0x3u

/* Bits of the values of CAP.CSS, CAP.AMS, CAP.CRMS. */
#define BH_NVME_CAP_CSS_NVM (1u << 0)
#define BH_NVME_CAP_CSS_IOCS (1u << 6)
#define BH_NVME_CAP_CSS_ADMIN (1u << 7)
#define BH_NVME_CAP_AMS_WRR (1u << 0)
#define BH_NVME_CAP_AMS_VENDOR (1u << 1)
#define BH_NVME_CAP_CRMS_CRWMS (1u << 0)
#define BH_NVME_CAP_CRMS_CRIMS (1u << 1)

#define BH_NVME_VS_TER_SHIFT 0
#define BH_NVME_VS_TER_MASK 0xffu
#define BH_NVME_VS_MNR_SHIFT 8
#define BH_NVME_VS_MNR_MASK 0xffu
#define BH_NVME_VS_MJR_SHIFT 16
#define BH_NVME_VS_MJR_MASK 0xffffu
/* A value of VS and of VER in identify controller: BH_NVME_VERSION(1, 4, 0). */
#define BH_NVME_VERSION(maj, min, ter) \
	(((uint32_t)(maj) << 16) | ((uint32_t)(min) << 8) | (uint32_t)(ter))

#define BH_NVME_CC_EN_SHIFT 0
#define BH_NVME_CC_EN_MASK 0x1u
#define BH_NVME_CC_CSS_SHIFT 4
#define BH_NVME_CC_CSS_MASK 0x7u
#define BH_NVME_CC_MPS_SHIFT 7
#define BH_NVME_CC_MPS_MASK 0xfu
#define BH_NVME_CC_AMS_SHIFT 11
#define BH_NVME_CC_AMS_MASK 0x7u
#define BH_NVME_CC_SHN_SHIFT 14
#define BH_NVME_CC_SHN_MASK 0x3u
#define BH_NVME_CC_IOSQES_SHIFT 16
#define BH_NVME_CC_IOSQES_MASK 0xfu
#define BH_NVME_CC_IOCQES_SHIFT 20
#define BH_NVME_CC_IOCQES_MASK 0xfu
#define BH_NVME_CC_CRIME_SHIFT 24
#define BH_NVME_CC_CRIME_MASK 0x1u

#define BH_NVME_CC_EN 1u /* in place */
/* Values of the fields, not in place: BH_NVME_SET(CC_SHN, BH_NVME_CC_SHN_NORMAL). */
#define BH_NVME_CC_CSS_NVM 0u
#define BH_NVME_CC_CSS_IOCS 6u
#define BH_NVME_CC_CSS_ADMIN 7u
#define BH_NVME_CC_AMS_RR 0u
#define BH_NVME_CC_AMS_WRR 1u
#define BH_NVME_CC_AMS_VENDOR 7u
#define BH_NVME_CC_SHN_NONE 0u
#define BH_NVME_CC_SHN_NORMAL 1u
#define BH_NVME_CC_SHN_ABRUPT 2u
/* Sizes of queue entries, log2: values of CC.IOSQES and IOCQES, halves of SQES and CQES. */
#define BH_NVME_SQE_SHIFT 6
#define BH_NVME_CQE_SHIFT 4

#define BH_NVME_CSTS_RDY_SHIFT 0
#define BH_NVME_CSTS_RDY_MASK 0x1u
#define BH_NVME_CSTS_CFS_SHIFT 1
#define BH_NVME_CSTS_CFS_MASK 0x1u
#define BH_NVME_CSTS_SHST_SHIFT 2
#define BH_NVME_CSTS_SHST_MASK 0x3u
#define BH_NVME_CSTS_NSSRO_SHIFT 4
#define BH_NVME_CSTS_NSSRO_MASK 0x1u
#define BH_NVME_CSTS_PP_SHIFT 5
#define BH_NVME_CSTS_PP_MASK 0x1u
#define BH_NVME_CSTS_ST_SHIFT 6
#define BH_NVME_CSTS_ST_MASK 0x1u

#define BH_NVME_CSTS_RDY (1u << 0) /* in place */
#define BH_NVME_CSTS_CFS (1u << 1)
#define BH_NVME_CSTS_NSSRO (1u << 4)
#define BH_NVME_CSTS_PP (1u << 5)
/* Values of CSTS.SHST, not in place. */
#define BH_NVME_CSTS_SHST_NORMAL 0u
#define BH_NVME_CSTS_SHST_OCCURRING 1u
#define BH_NVME_CSTS_SHST_COMPLETE 2u

#define BH_NVME_AQA_ASQS_SHIFT 0 /* 0's based */
#define BH_NVME_AQA_ASQS_MASK 0xfffu
#define BH_NVME_AQA_ACQS_SHIFT 16 /* 0's based */
#define BH_NVME_AQA_ACQS_MASK 0xfffu

#define BH_NVME_NSSR_MAGIC 0x4e564d65u /* "NVMe": the value that resets the subsystem */

#define BH_NVME_CRTO_CRWMT_SHIFT 0 /* units of 500 ms */
#define BH_NVME_CRTO_CRWMT_MASK 0xffffu
#define BH_NVME_CRTO_CRIMT_SHIFT 16
#define BH_NVME_CRTO_CRIMT_MASK 0xffffu

#define BH_NVME_CMBLOC_BIR_SHIFT 0
#define BH_NVME_CMBLOC_BIR_MASK 0x7u
#define BH_NVME_CMBLOC_CQMMS_SHIFT 3
#define BH_NVME_CMBLOC_CQMMS_MASK 0x1u
#define BH_NVME_CMBLOC_CQPDS_SHIFT 4
#define BH_NVME_CMBLOC_CQPDS_MASK 0x1u
#define BH_NVME_CMBLOC_CDPMLS_SHIFT 5
#define BH_NVME_CMBLOC_CDPMLS_MASK 0x1u
#define BH_NVME_CMBLOC_CDPCILS_SHIFT 6
#define BH_NVME_CMBLOC_CDPCILS_MASK 0x1u
#define BH_NVME_CMBLOC_CDMMMS_SHIFT 7
#define BH_NVME_CMBLOC_CDMMMS_MASK 0x1u
#define BH_NVME_CMBLOC_CQDA_SHIFT 8
#define BH_NVME_CMBLOC_CQDA_MASK 0x1u
#define BH_NVME_CMBLOC_OFST_SHIFT 12 /* in units of CMBSZ.SZU */
#define BH_NVME_CMBLOC_OFST_MASK 0xfffffu

#define BH_NVME_CMBSZ_SQS_SHIFT 0
#define BH_NVME_CMBSZ_SQS_MASK 0x1u
#define BH_NVME_CMBSZ_CQS_SHIFT 1
#define BH_NVME_CMBSZ_CQS_MASK 0x1u
#define BH_NVME_CMBSZ_LISTS_SHIFT 2
#define BH_NVME_CMBSZ_LISTS_MASK 0x1u
#define BH_NVME_CMBSZ_RDS_SHIFT 3
#define BH_NVME_CMBSZ_RDS_MASK 0x1u
#define BH_NVME_CMBSZ_WDS_SHIFT 4
#define BH_NVME_CMBSZ_WDS_MASK 0x1u
#define BH_NVME_CMBSZ_SZU_SHIFT 8 /* the unit is 2 ^ (12 + 4 * SZU) bytes */
#define BH_NVME_CMBSZ_SZU_MASK 0xfu
#define BH_NVME_CMBSZ_SZ_SHIFT 12
#define BH_NVME_CMBSZ_SZ_MASK 0xfffffu

#define BH_NVME_CMBMSC_CRE_SHIFT 0
#define BH_NVME_CMBMSC_CRE_MASK 0x1u
#define BH_NVME_CMBMSC_CMSE_SHIFT 1
#define BH_NVME_CMBMSC_CMSE_MASK 0x1u
#define BH_NVME_CMBMSC_CBA_SHIFT 12
#define BH_NVME_CMBMSC_CBA_MASK 0xfffffffffffffull

#define BH_NVME_CMBSTS_CBAI_SHIFT 0
#define BH_NVME_CMBSTS_CBAI_MASK 0x1u

/*
 * Doorbell offsets in BAR 0 (PCIe transport 3.1.2); dstrd is CAP.DSTRD, 0 to 15. 64 bits because
 * the device chooses the stride: the last doorbells of the widest do not fit in 32.
 */
static inline uint64_t bh_nvme_sq_doorbell(uint16_t qid, unsigned int dstrd)
{
	return BH_NVME_REG_DOORBELLS + 2 * (uint64_t)qid * ((uint64_t)4 << dstrd);
}

static inline uint64_t bh_nvme_cq_doorbell(uint16_t qid, unsigned int dstrd)
{
	return BH_NVME_REG_DOORBELLS + (2 * (uint64_t)qid + 1) * ((uint64_t)4 << dstrd);
}

/* Scatter gather list descriptor (base 4.1.2). */
struct bh_nvme_sgl {
	uint64_t addr;
	uint32_t len;
	uint8_t rsvd[3];
	uint8_t type; /* type in the high half, subtype in the low */
};
static_assert(sizeof(struct bh_nvme_sgl) == 16, "SGL descriptor");
static_assert(offsetof(struct bh_nvme_sgl, type) == 15, "SGL descriptor type");

#define BH_NVME_SGL_TYPE_MASK 0xf0u
#define BH_NVME_SGL_DATA_BLOCK 0x00u
#define BH_NVME_SGL_BIT_BUCKET 0x10u
#define BH_NVME_SGL_SEGMENT 0x20u
#define BH_NVME_SGL_LAST_SEGMENT 0x30u
#define BH_NVME_SGL_KEYED 0x40u
#define BH_NVME_SGL_TRANSPORT 0x50u
#define BH_NVME_SGL_VENDOR 0xf0u
#define BH_NVME_SGL_SUBTYPE_MASK 0x0fu
#define BH_NVME_SGL_SUBTYPE_ADDRESS 0x00u
#define BH_NVME_SGL_SUBTYPE_OFFSET 0x01u
#define BH_NVME_SGL_SUBTYPE_TRANSPORT 0x0au

union bh_nvme_dptr {
	struct {
		uint64_t prp1, prp2;
	} prp;
	struct bh_nvme_sgl sgl;
};

/* Submission queue entry (base 3.3.3.1). */
struct bh_nvme_cmd {
	uint8_t opc;
	uint8_t flags; /* BH_NVME_FUSE_*, BH_NVME_PSDT_* */
	uint16_t cid;
	uint32_t nsid;
	uint32_t cdw2, cdw3;
	uint64_t mptr;
	union bh_nvme_dptr dptr;
	uint32_t cdw10;
	uint32_t cdw11;
	uint32_t cdw12;
	uint32_t cdw13;
	uint32_t cdw14;
	uint32_t cdw15;
};
static_assert(sizeof(struct bh_nvme_cmd) == 64, "submission queue entry");
static_assert(offsetof(struct bh_nvme_cmd, mptr) == 16, "MPTR");
static_assert(offsetof(struct bh_nvme_cmd, dptr) == 24, "DPTR");
static_assert(offsetof(struct bh_nvme_cmd, cdw10) == 40, "CDW10");
static_assert(offsetof(struct bh_nvme_cmd, cdw15) == 60, "CDW15");

/* cmd.flags, in place. */
#define BH_NVME_FUSE_MASK 0x03u
#define BH_NVME_FUSE_NONE 0x00u
#define BH_NVME_FUSE_FIRST 0x01u
#define BH_NVME_FUSE_SECOND 0x02u
#define BH_NVME_PSDT_MASK 0xc0u
#define BH_NVME_PSDT_PRP 0x00u
#define BH_NVME_PSDT_SGL_MPTR_CONTIG 0x40u
#define BH_NVME_PSDT_SGL_MPTR_SGL 0x80u

#define BH_NVME_NSID_ALL 0xffffffffu

/* Completion queue entry (base 3.3.3.2). */
struct bh_nvme_cpl {
	uint32_t cdw0, cdw1;
	uint16_t sqhd;
	uint16_t sqid;
	uint16_t cid;
	uint16_t status; /* bit 0 is the phase tag, the rest the status field */
};
static_assert(sizeof(struct bh_nvme_cpl) == 16, "completion queue entry");
static_assert(offsetof(struct bh_nvme_cpl, sqhd) == 8, "SQHD");
static_assert(offsetof(struct bh_nvme_cpl, status) == 14, "status");

#define BH_NVME_CPL_PHASE 0x1u

/*
 * A status field "sf" is 15 bits, cpl.status without the phase: SC 7:0, SCT 10:8, CRD 12:11, More
 * 13, DNR 14. sf & BH_NVME_STATUS_SC_MASK is one of BH_NVME_SC_*, or a number without a name.
 */
#define BH_NVME_STATUS_SC_MASK 0x7ffu
#define BH_NVME_STATUS_SCT_SHIFT 8
#define BH_NVME_STATUS_SCT_MASK 0x7u
#define BH_NVME_STATUS_CRD_SHIFT 11 /* which of CRDT1 to CRDT3 to wait before a retry; 0: none */
#define BH_NVME_STATUS_CRD_MASK 0x3u
#define BH_NVME_STATUS_MORE 0x2000u
#define BH_NVME_STATUS_DNR 0x4000u

static inline uint16_t bh_nvme_cpl_status(const struct bh_nvme_cpl *cpl)
{
	return (uint16_t)(cpl->status >> 1);
}

/* Status code types. */
#define BH_NVME_SCT_GENERIC 0x0u
#define BH_NVME_SCT_COMMAND 0x1u
#define BH_NVME_SCT_MEDIA 0x2u
#define BH_NVME_SCT_PATH 0x3u
#define BH_NVME_SCT_VENDOR 0x7u

/*
 * Status codes, SCT << 8 | SC (base 3.3.3.2.1, NVM 3, ZNS 3). Those of fabrics commands are
 * left out: they share numbers with the I/O command sets and do not occur over PCIe.
 */
#define BH_NVME_SC_SUCCESS 0x000u
#define BH_NVME_SC_INVALID_OPCODE 0x001u
#define BH_NVME_SC_INVALID_FIELD 0x002u
#define BH_NVME_SC_CID_CONFLICT 0x003u
#define BH_NVME_SC_DATA_TRANSFER_ERROR 0x004u
#define BH_NVME_SC_POWER_LOSS 0x005u
#define BH_NVME_SC_INTERNAL_ERROR 0x006u
#define BH_NVME_SC_ABORTED_BY_REQUEST 0x007u
#define BH_NVME_SC_ABORTED_SQ_DELETION 0x008u
#define BH_NVME_SC_ABORTED_FAILED_FUSED 0x009u
#define BH_NVME_SC_ABORTED_MISSING_FUSED 0x00au
#define BH_NVME_SC_INVALID_NS 0x00bu
#define BH_NVME_SC_COMMAND_SEQUENCE_ERROR 0x00cu
#define BH_NVME_SC_INVALID_SGL_SEGMENT 0x00du
#define BH_NVME_SC_INVALID_SGL_COUNT 0x00eu
#define BH_NVME_SC_SGL_DATA_LENGTH_INVALID 0x00fu
#define BH_NVME_SC_METADATA_SGL_LENGTH_INVALID 0x010u
#define BH_NVME_SC_SGL_TYPE_INVALID 0x011u
#define BH_NVME_SC_CMB_INVALID_USE 0x012u
#define BH_NVME_SC_PRP_OFFSET_INVALID 0x013u
#define BH_NVME_SC_ATOMIC_WRITE_UNIT_EXCEEDED 0x014u
#define BH_NVME_SC_OPERATION_DENIED 0x015u
#define BH_NVME_SC_SGL_OFFSET_INVALID 0x016u
#define BH_NVME_SC_HOSTID_INCONSISTENT_FORMAT 0x018u
#define BH_NVME_SC_KEEP_ALIVE_EXPIRED 0x019u
#define BH_NVME_SC_KEEP_ALIVE_INVALID 0x01au
#define BH_NVME_SC_ABORTED_PREEMPT 0x01bu
#define BH_NVME_SC_SANITIZE_FAILED 0x01cu
#define BH_NVME_SC_SANITIZE_IN_PROGRESS 0x01du
#define BH_NVME_SC_SGL_GRANULARITY_INVALID 0x01eu
#define BH_NVME_SC_NOT_SUPPORTED_IN_CMB 0x01fu
#define BH_NVME_SC_NS_WRITE_PROTECTED 0x020u
#define BH_NVME_SC_COMMAND_INTERRUPTED 0x021u
#define BH_NVME_SC_TRANSIENT_TRANSPORT_ERROR 0x022u
#define BH_NVME_SC_PROHIBITED_BY_LOCKDOWN 0x023u
#define BH_NVME_SC_ADMIN_MEDIA_NOT_READY 0x024u
#define BH_NVME_SC_LBA_OUT_OF_RANGE 0x080u
#define BH_NVME_SC_CAPACITY_EXCEEDED 0x081u
#define BH_NVME_SC_NS_NOT_READY 0x082u
#define BH_NVME_SC_RESERVATION_CONFLICT 0x083u
#define BH_NVME_SC_FORMAT_IN_PROGRESS 0x084u
#define BH_NVME_SC_KV_INVALID_VALUE_SIZE 0x085u
#define BH_NVME_SC_KV_INVALID_KEY_SIZE 0x086u
#define BH_NVME_SC_KV_KEY_NOT_FOUND 0x087u
#define BH_NVME_SC_KV_UNRECOVERED_ERROR 0x088u
#define BH_NVME_SC_KV_KEY_EXISTS 0x089u

#define BH_NVME_SC_COMPLETION_QUEUE_INVALID 0x100u
#define BH_NVME_SC_INVALID_QUEUE_ID 0x101u
#define BH_NVME_SC_INVALID_QUEUE_SIZE 0x102u
#define BH_NVME_SC_ABORT_LIMIT_EXCEEDED 0x103u
#define BH_NVME_SC_ASYNC_EVENT_LIMIT_EXCEEDED 0x105u
#define BH_NVME_SC_INVALID_FIRMWARE_SLOT 0x106u
#define BH_NVME_SC_INVALID_FIRMWARE_IMAGE 0x107u
#define BH_NVME_SC_INVALID_INTERRUPT_VECTOR 0x108u
#define BH_NVME_SC_INVALID_LOG_PAGE 0x109u
#define BH_NVME_SC_INVALID_FORMAT 0x10au
#define BH_NVME_SC_FW_NEEDS_CONVENTIONAL_RESET 0x10bu
#define BH_NVME_SC_INVALID_QUEUE_DELETION 0x10cu
#define BH_NVME_SC_FEATURE_NOT_SAVEABLE 0x10du
#define BH_NVME_SC_FEATURE_NOT_CHANGEABLE 0x10eu
#define BH_NVME_SC_FEATURE_NOT_NS_SPECIFIC 0x10fu
#define BH_NVME_SC_FW_NEEDS_SUBSYSTEM_RESET 0x110u
#define BH_NVME_SC_FW_NEEDS_CONTROLLER_RESET 0x111u
#define BH_NVME_SC_FW_NEEDS_MAX_TIME_VIOLATION 0x112u
#define BH_NVME_SC_FW_ACTIVATION_PROHIBITED 0x113u
#define BH_NVME_SC_OVERLAPPING_RANGE 0x114u
#define BH_NVME_SC_NS_INSUFFICIENT_CAPACITY 0x115u
#define BH_NVME_SC_NSID_UNAVAILABLE 0x116u
#define BH_NVME_SC_NS_ALREADY_ATTACHED 0x118u
#define BH_NVME_SC_NS_PRIVATE 0x119u
#define BH_NVME_SC_NS_NOT_ATTACHED 0x11au
#define BH_NVME_SC_THIN_NOT_SUPPORTED 0x11bu
#define BH_NVME_SC_CTRL_LIST_INVALID 0x11cu
#define BH_NVME_SC_SELF_TEST_IN_PROGRESS 0x11du
#define BH_NVME_SC_BOOT_PARTITION_WRITE_PROHIBITED 0x11eu
#define BH_NVME_SC_INVALID_CTRL_ID 0x11fu
#define BH_NVME_SC_INVALID_SECONDARY_STATE 0x120u
#define BH_NVME_SC_INVALID_RESOURCE_COUNT 0x121u
#define BH_NVME_SC_INVALID_RESOURCE_ID 0x122u
#define BH_NVME_SC_SANITIZE_PROHIBITED_PMR 0x123u
#define BH_NVME_SC_ANA_GROUP_INVALID 0x124u
#define BH_NVME_SC_ANA_ATTACH_FAILED 0x125u
#define BH_NVME_SC_INSUFFICIENT_CAPACITY 0x126u
#define BH_NVME_SC_NS_ATTACH_LIMIT_EXCEEDED 0x127u
#define BH_NVME_SC_LOCKDOWN_NOT_SUPPORTED 0x128u
#define BH_NVME_SC_IOCS_NOT_SUPPORTED 0x129u
#define BH_NVME_SC_IOCS_NOT_ENABLED 0x12au
#define BH_NVME_SC_IOCS_COMBINATION_REJECTED 0x12bu
#define BH_NVME_SC_INVALID_IOCS 0x12cu
#define BH_NVME_SC_ID_UNAVAILABLE 0x12du
#define BH_NVME_SC_STREAM_ALLOCATION_FAILED 0x17fu
#define BH_NVME_SC_CONFLICTING_ATTRIBUTES 0x180u
#define BH_NVME_SC_INVALID_PROTECTION_INFO 0x181u
#define BH_NVME_SC_WRITE_TO_READ_ONLY 0x182u
#define BH_NVME_SC_COMMAND_SIZE_LIMIT_EXCEEDED 0x183u
#define BH_NVME_SC_ZONE_INVALID_OPERATION 0x1b6u
#define BH_NVME_SC_ZONE_ZRWA_UNAVAILABLE 0x1b7u
#define BH_NVME_SC_ZONE_BOUNDARY_ERROR 0x1b8u
#define BH_NVME_SC_ZONE_IS_FULL 0x1b9u
#define BH_NVME_SC_ZONE_IS_READ_ONLY 0x1bau
#define BH_NVME_SC_ZONE_IS_OFFLINE 0x1bbu
#define BH_NVME_SC_ZONE_INVALID_WRITE 0x1bcu
#define BH_NVME_SC_ZONE_TOO_MANY_ACTIVE 0x1bdu
#define BH_NVME_SC_ZONE_TOO_MANY_OPEN 0x1beu
#define BH_NVME_SC_ZONE_INVALID_TRANSITION 0x1bfu

#define BH_NVME_SC_WRITE_FAULT 0x280u
#define BH_NVME_SC_UNRECOVERED_READ_ERROR 0x281u
#define BH_NVME_SC_GUARD_CHECK_ERROR 0x282u
#define BH_NVME_SC_APPTAG_CHECK_ERROR 0x283u
#define BH_NVME_SC_REFTAG_CHECK_ERROR 0x284u
#define BH_NVME_SC_COMPARE_FAILURE 0x285u
#define BH_NVME_SC_ACCESS_DENIED 0x286u
#define BH_NVME_SC_DEALLOCATED_OR_UNWRITTEN 0x287u
#define BH_NVME_SC_STORAGE_TAG_CHECK_ERROR 0x288u

#define BH_NVME_SC_INTERNAL_PATH_ERROR 0x300u
#define BH_NVME_SC_ANA_PERSISTENT_LOSS 0x301u
#define BH_NVME_SC_ANA_INACCESSIBLE 0x302u
#define BH_NVME_SC_ANA_TRANSITION 0x303u
#define BH_NVME_SC_CONTROLLER_PATH_ERROR 0x360u
#define BH_NVME_SC_HOST_PATH_ERROR 0x370u
#define BH_NVME_SC_ABORTED_BY_HOST 0x371u

/* Admin commands (base 5). */
#define BH_NVME_ADMIN_DELETE_SQ 0x00u
#define BH_NVME_ADMIN_CREATE_SQ 0x01u
#define BH_NVME_ADMIN_GET_LOG_PAGE 0x02u
#define BH_NVME_ADMIN_DELETE_CQ 0x04u
#define BH_NVME_ADMIN_CREATE_CQ 0x05u
#define BH_NVME_ADMIN_IDENTIFY 0x06u
#define BH_NVME_ADMIN_ABORT 0x08u
#define BH_NVME_ADMIN_SET_FEATURES 0x09u
#define BH_NVME_ADMIN_GET_FEATURES 0x0au
#define BH_NVME_ADMIN_ASYNC_EVENT 0x0cu
#define BH_NVME_ADMIN_NS_MANAGEMENT 0x0du
#define BH_NVME_ADMIN_FW_COMMIT 0x10u
#define BH_NVME_ADMIN_FW_DOWNLOAD 0x11u
#define BH_NVME_ADMIN_DEVICE_SELF_TEST 0x14u
#define BH_NVME_ADMIN_NS_ATTACHMENT 0x15u
#define BH_NVME_ADMIN_KEEP_ALIVE 0x18u
#define BH_NVME_ADMIN_DIRECTIVE_SEND 0x19u
#define BH_NVME_ADMIN_DIRECTIVE_RECV 0x1au
#define BH_NVME_ADMIN_VIRT_MANAGEMENT 0x1cu
#define BH_NVME_ADMIN_NVME_MI_SEND 0x1du
#define BH_NVME_ADMIN_NVME_MI_RECV 0x1eu
#define BH_NVME_ADMIN_CAPACITY_MANAGEMENT 0x20u
#define BH_NVME_ADMIN_LOCKDOWN 0x24u
#define BH_NVME_ADMIN_DOORBELL_BUFFER_CONFIG 0x7cu
#define BH_NVME_ADMIN_FABRICS 0x7fu
#define BH_NVME_ADMIN_FORMAT_NVM 0x80u
#define BH_NVME_ADMIN_SECURITY_SEND 0x81u
#define BH_NVME_ADMIN_SECURITY_RECV 0x82u
#define BH_NVME_ADMIN_SANITIZE 0x84u
#define BH_NVME_ADMIN_GET_LBA_STATUS 0x86u
#define BH_NVME_ADMIN_VENDOR_FIRST 0xc0u

/* I/O commands (base 7, NVM 3, ZNS 3). */
#define BH_NVME_CMD_FLUSH 0x00u
#define BH_NVME_CMD_WRITE 0x01u
#define BH_NVME_CMD_READ 0x02u
#define BH_NVME_CMD_WRITE_UNCORRECTABLE 0x04u
#define BH_NVME_CMD_COMPARE 0x05u
#define BH_NVME_CMD_WRITE_ZEROES 0x08u
#define BH_NVME_CMD_DSM 0x09u
#define BH_NVME_CMD_VERIFY 0x0cu
#define BH_NVME_CMD_RESV_REGISTER 0x0du
#define BH_NVME_CMD_RESV_REPORT 0x0eu
#define BH_NVME_CMD_RESV_ACQUIRE 0x11u
#define BH_NVME_CMD_RESV_RELEASE 0x15u
#define BH_NVME_CMD_COPY 0x19u
#define BH_NVME_CMD_ZONE_MGMT_SEND 0x79u
#define BH_NVME_CMD_ZONE_MGMT_RECV 0x7au
#define BH_NVME_CMD_ZONE_APPEND 0x7du
#define BH_NVME_CMD_VENDOR_FIRST 0x80u

/* Bits 1:0 of an opcode say which way data goes. */
#define BH_NVME_OPC_XFER_MASK 0x3u
#define BH_NVME_OPC_XFER_NONE 0x0u
#define BH_NVME_OPC_XFER_TO_CTRL 0x1u
#define BH_NVME_OPC_XFER_TO_HOST 0x2u
#define BH_NVME_OPC_XFER_BOTH 0x3u

/* Create and delete queue: CDW10, CDW11 (base 5.4, 5.5). */
#define BH_NVME_QUEUE_QID_SHIFT 0
#define BH_NVME_QUEUE_QID_MASK 0xffffu
#define BH_NVME_QUEUE_QSIZE_SHIFT 16 /* 0's based */
#define BH_NVME_QUEUE_QSIZE_MASK 0xffffu
#define BH_NVME_QUEUE_PC (1u << 0)
#define BH_NVME_QUEUE_IEN (1u << 1)
#define BH_NVME_QUEUE_IV_SHIFT 16
#define BH_NVME_QUEUE_IV_MASK 0xffffu
#define BH_NVME_QUEUE_QPRIO_SHIFT 1
#define BH_NVME_QUEUE_QPRIO_MASK 0x3u
#define BH_NVME_QUEUE_QPRIO_URGENT 0u
#define BH_NVME_QUEUE_QPRIO_HIGH 1u
#define BH_NVME_QUEUE_QPRIO_MEDIUM 2u
#define BH_NVME_QUEUE_QPRIO_LOW 3u
#define BH_NVME_QUEUE_CQID_SHIFT 16
#define BH_NVME_QUEUE_CQID_MASK 0xffffu

/* Identify: CDW10, CDW11 (base 5.17). */
#define BH_NVME_IDENTIFY_CNS_SHIFT 0
#define BH_NVME_IDENTIFY_CNS_MASK 0xffu
#define BH_NVME_IDENTIFY_CNTID_SHIFT 16
#define BH_NVME_IDENTIFY_CNTID_MASK 0xffffu
#define BH_NVME_IDENTIFY_CNSSID_SHIFT 0
#define BH_NVME_IDENTIFY_CNSSID_MASK 0xffffu
#define BH_NVME_IDENTIFY_CSI_SHIFT 24
#define BH_NVME_IDENTIFY_CSI_MASK 0xffu

/* Get Log Page: CDW10, CDW11, CDW14 (base 5.16). */
#define BH_NVME_GLP_LID_SHIFT 0
#define BH_NVME_GLP_LID_MASK 0xffu
#define BH_NVME_GLP_LSP_SHIFT 8
#define BH_NVME_GLP_LSP_MASK 0x7fu
#define BH_NVME_GLP_RAE (1u << 15)
#define BH_NVME_GLP_NUMDL_SHIFT \
	16 /* NUMD, dwords, 0's based: low half here, high half in CDW11 \
				    */
#define BH_NVME_GLP_NUMDL_MASK 0xffffu
#define BH_NVME_GLP_NUMDU_SHIFT 0
#define BH_NVME_GLP_NUMDU_MASK 0xffffu
#define BH_NVME_GLP_LSI_SHIFT 16
#define BH_NVME_GLP_LSI_MASK 0xffffu
#define BH_NVME_GLP_OT (1u << 23)
#define BH_NVME_GLP_CSI_SHIFT 24
#define BH_NVME_GLP_CSI_MASK 0xffu

/* Get and Set Features: CDW10, and dword 0 of Get Features with SEL 3 (base 5.15, 5.27). */
#define BH_NVME_FEATURES_FID_SHIFT 0
#define BH_NVME_FEATURES_FID_MASK 0xffu
#define BH_NVME_FEATURES_SEL_SHIFT 8
#define BH_NVME_FEATURES_SEL_MASK 0x7u
#define BH_NVME_FEATURES_SEL_CURRENT 0u
#define BH_NVME_FEATURES_SEL_DEFAULT 1u
#define BH_NVME_FEATURES_SEL_SAVED 2u
#define BH_NVME_FEATURES_SEL_SUPPORTED 3u
#define BH_NVME_FEATURES_SV (1u << 31)
#define BH_NVME_FEATURES_CAP_SAVEABLE (1u << 0)
#define BH_NVME_FEATURES_CAP_NS_SPECIFIC (1u << 1)
#define BH_NVME_FEATURES_CAP_CHANGEABLE (1u << 2)

/* Abort: CDW10; dword 0 of the completion (base 5.1). */
#define BH_NVME_ABORT_SQID_SHIFT 0
#define BH_NVME_ABORT_SQID_MASK 0xffffu
#define BH_NVME_ABORT_CID_SHIFT 16
#define BH_NVME_ABORT_CID_MASK 0xffffu
#define BH_NVME_ABORT_NOT_ABORTED (1u << 0)

/* Namespace Management and Attachment: CDW10 SEL. */
#define BH_NVME_NS_MGMT_SEL_MASK 0xfu
#define BH_NVME_NS_MGMT_CREATE 0u
#define BH_NVME_NS_MGMT_DELETE 1u
#define BH_NVME_NS_ATTACH 0u
#define BH_NVME_NS_DETACH 1u

/* Format NVM: CDW10 (base 5.14). */
#define BH_NVME_FORMAT_LBAFL_SHIFT 0
#define BH_NVME_FORMAT_LBAFL_MASK 0xfu
#define BH_NVME_FORMAT_MSET (1u << 4)
#define BH_NVME_FORMAT_PI_SHIFT 5
#define BH_NVME_FORMAT_PI_MASK 0x7u
#define BH_NVME_FORMAT_PIL (1u << 8)
#define BH_NVME_FORMAT_SES_SHIFT 9
#define BH_NVME_FORMAT_SES_MASK 0x7u
#define BH_NVME_FORMAT_LBAFU_SHIFT 12
#define BH_NVME_FORMAT_LBAFU_MASK 0x3u

/* Sanitize: CDW10; the pattern is CDW11 (base 5.24). */
#define BH_NVME_SANITIZE_ACT_SHIFT 0
#define BH_NVME_SANITIZE_ACT_MASK 0x7u
#define BH_NVME_SANITIZE_EXIT_FAILURE 1u
#define BH_NVME_SANITIZE_BLOCK_ERASE 2u
#define BH_NVME_SANITIZE_OVERWRITE 3u
#define BH_NVME_SANITIZE_CRYPTO_ERASE 4u
#define BH_NVME_SANITIZE_AUSE (1u << 3)
#define BH_NVME_SANITIZE_PASSES_SHIFT 4 /* 0: 16 */
#define BH_NVME_SANITIZE_PASSES_MASK 0xfu
#define BH_NVME_SANITIZE_INVERT (1u << 8)
#define BH_NVME_SANITIZE_NO_DEALLOC (1u << 9)

/* Reads, writes and their kin: CDW12 (NVM 3.2). NLB is 0's based. */
#define BH_NVME_IO_NLB_SHIFT 0
#define BH_NVME_IO_NLB_MASK 0xffffu
#define BH_NVME_IO_DTYPE_SHIFT 20
#define BH_NVME_IO_DTYPE_MASK 0xfu
#define BH_NVME_IO_STC (1u << 24)
#define BH_NVME_IO_DEAC (1u << 25)    /* Write Zeroes */
#define BH_NVME_IO_PIREMAP (1u << 25) /* Zone Append */
#define BH_NVME_IO_PRCHK_REF (1u << 26)
#define BH_NVME_IO_PRCHK_APP (1u << 27)
#define BH_NVME_IO_PRCHK_GUARD (1u << 28)
#define BH_NVME_IO_PRACT (1u << 29)
#define BH_NVME_IO_FUA (1u << 30)
#define BH_NVME_IO_LR (1u << 31)

/* Copy: CDW12. */
#define BH_NVME_COPY_NR_SHIFT 0 /* 0's based */
#define BH_NVME_COPY_NR_MASK 0xffu
#define BH_NVME_COPY_FORMAT_SHIFT 8
#define BH_NVME_COPY_FORMAT_MASK 0xfu
#define BH_NVME_COPY_PRINFOR_SHIFT 12
#define BH_NVME_COPY_PRINFOR_MASK 0xfu
#define BH_NVME_COPY_R_PRCHK_REF (1u << 12)
#define BH_NVME_COPY_R_PRCHK_APP (1u << 13)
#define BH_NVME_COPY_R_PRCHK_GUARD (1u << 14)
#define BH_NVME_COPY_R_PRACT (1u << 15)

/* Dataset Management: CDW10, CDW11. */
#define BH_NVME_DSM_NR_SHIFT 0 /* 0's based */
#define BH_NVME_DSM_NR_MASK 0xffu
#define BH_NVME_DSM_IDR (1u << 0)
#define BH_NVME_DSM_IDW (1u << 1)
#define BH_NVME_DSM_AD (1u << 2)
#define BH_NVME_DSM_MAX_RANGES 256u

struct bh_nvme_dsm_range {
	uint32_t cattr;
	uint32_t blocks; /* not 0's based */
	uint64_t lba;
};
static_assert(sizeof(struct bh_nvme_dsm_range) == 16, "DSM range");

/* Source ranges of Copy, formats 0h and 1h. */
struct bh_nvme_copy_range {
	uint64_t rsvd0;
	uint64_t slba;
	uint16_t nlb; /* 0's based */
	uint8_t rsvd18[6];
	uint32_t eilbrt;
	uint16_t elbat;
	uint16_t elbatm;
};
static_assert(sizeof(struct bh_nvme_copy_range) == 32, "copy range, format 0");
static_assert(offsetof(struct bh_nvme_copy_range, eilbrt) == 24, "EILBRT");

struct bh_nvme_copy_range1 {
	uint64_t rsvd0;
	uint64_t slba;
	uint16_t nlb; /* 0's based */
	uint8_t rsvd18[8];
	uint8_t elbt[10]; /* big-endian, as in protection information */
	uint16_t elbat;
	uint16_t elbatm;
};
static_assert(sizeof(struct bh_nvme_copy_range1) == 40, "copy range, format 1");
static_assert(offsetof(struct bh_nvme_copy_range1, elbt) == 26, "ELBT");
static_assert(offsetof(struct bh_nvme_copy_range1, elbat) == 36, "ELBAT");

/* Identify: values of CNS (base 5.17.1), and command set identifiers. */
#define BH_NVME_CNS_NS 0x00u
#define BH_NVME_CNS_CTRL 0x01u
#define BH_NVME_CNS_ACTIVE_NS_LIST 0x02u
#define BH_NVME_CNS_NS_ID_DESC 0x03u
#define BH_NVME_CNS_NVM_SET_LIST 0x04u
#define BH_NVME_CNS_CSI_NS 0x05u
#define BH_NVME_CNS_CSI_CTRL 0x06u
#define BH_NVME_CNS_CSI_ACTIVE_NS_LIST 0x07u
#define BH_NVME_CNS_NS_INDEP 0x08u
#define BH_NVME_CNS_NS_FORMAT 0x09u
#define BH_NVME_CNS_CSI_NS_FORMAT 0x0au
#define BH_NVME_CNS_ALLOCATED_NS_LIST 0x10u
#define BH_NVME_CNS_ALLOCATED_NS 0x11u
#define BH_NVME_CNS_NS_CTRL_LIST 0x12u
#define BH_NVME_CNS_CTRL_LIST 0x13u
#define BH_NVME_CNS_PRIMARY_CTRL_CAPS 0x14u
#define BH_NVME_CNS_SECONDARY_CTRL_LIST 0x15u
#define BH_NVME_CNS_NS_GRANULARITY 0x16u
#define BH_NVME_CNS_UUID_LIST 0x17u
#define BH_NVME_CNS_DOMAIN_LIST 0x18u
#define BH_NVME_CNS_ENDURANCE_GROUP_LIST 0x19u
#define BH_NVME_CNS_CSI_ALLOCATED_NS_LIST 0x1au
#define BH_NVME_CNS_CSI_ALLOCATED_NS 0x1bu
#define BH_NVME_CNS_IOCS 0x1cu

#define BH_NVME_CSI_NVM 0x00u
#define BH_NVME_CSI_KV 0x01u
#define BH_NVME_CSI_ZNS 0x02u
#define BH_NVME_CSI_SLM 0x03u /* subsystem local memory */
#define BH_NVME_CSI_CP 0x04u  /* computational programs */
#define BH_NVME_CSI_VENDOR_FIRST 0x30u

/* Power state descriptor. */
struct bh_nvme_psd {
	uint16_t mp;
	uint8_t rsvd2;
	uint8_t flags;	/* BH_NVME_PSD_* */
	uint32_t enlat; /* us */
	uint32_t exlat; /* us */
	uint8_t rrt;
	uint8_t rrl;
	uint8_t rwt;
	uint8_t rwl;
	uint16_t idlp;
	uint8_t ips;
	uint8_t rsvd19;
	uint16_t actp;
	uint8_t apws;
	uint8_t rsvd23[9];
};
static_assert(sizeof(struct bh_nvme_psd) == 32, "power state descriptor");
static_assert(offsetof(struct bh_nvme_psd, actp) == 20, "ACTP");

#define BH_NVME_PSD_MXPS (1u << 0) /* MP is in units of 0.0001 W, not 0.01 W */
#define BH_NVME_PSD_NOPS (1u << 1)

/* Identify controller, CNS 01h (base 5.17.2.1). Strings end in spaces, subnqn in zeros. */
struct bh_nvme_id_ctrl {
	uint16_t vid;
	uint16_t ssvid;
	char sn[20];
	char mn[40];
	char fr[8];
	uint8_t rab;
	uint8_t ieee[3];
	uint8_t cmic;
	uint8_t mdts; /* 2 ^ mdts pages of CAP.MPSMIN; 0: no limit */
	uint16_t cntlid;
	uint32_t ver;
	uint32_t rtd3r; /* us */
	uint32_t rtd3e; /* us */
	uint32_t oaes;
	uint32_t ctratt;
	uint16_t rrls;
	uint8_t rsvd102[9];
	uint8_t cntrltype;
	uint8_t fguid[16];
	uint16_t crdt1; /* units of 100 ms */
	uint16_t crdt2;
	uint16_t crdt3;
	uint8_t rsvd134[106];
	uint8_t rsvd240[13];
	uint8_t nvmsr;
	uint8_t vwci;
	uint8_t mec;
	uint16_t oacs;
	uint8_t acl;  /* 0's based */
	uint8_t aerl; /* 0's based */
	uint8_t frmw;
	uint8_t lpa;
	uint8_t elpe; /* 0's based */
	uint8_t npss; /* 0's based */
	uint8_t avscc;
	uint8_t apsta;
	uint16_t wctemp; /* K */
	uint16_t cctemp; /* K */
	uint16_t mtfa;
	uint32_t hmpre;
	uint32_t hmmin;
	uint64_t tnvmcap[2]; /* bytes */
	uint64_t unvmcap[2]; /* bytes */
	uint32_t rpmbs;
	uint16_t edstt;
	uint8_t dsto;
	uint8_t fwug;
	uint16_t kas;
	uint16_t hctma;
	uint16_t mntmt;
	uint16_t mxtmt;
	uint32_t sanicap;
	uint32_t hmminds;
	uint16_t hmmaxd;
	uint16_t nsetidmax;
	uint16_t endgidmax;
	uint8_t anatt;
	uint8_t anacap;
	uint32_t anagrpmax;
	uint32_t nanagrpid;
	uint32_t pels;
	uint16_t domainid;
	uint8_t rsvd358[10];
	uint64_t megcap[2];
	uint8_t rsvd384[128];
	uint8_t sqes; /* log2 of entry sizes: required in the low half, maximum in the high */
	uint8_t cqes;
	uint16_t maxcmd;
	uint32_t nn;
	uint16_t oncs;
	uint16_t fuses;
	uint8_t fna;
	uint8_t vwc;
	uint16_t awun;	/* 0's based */
	uint16_t awupf; /* 0's based */
	uint8_t icsvscc;
	uint8_t nwpc;
	uint16_t acwu; /* 0's based */
	uint16_t cdfs;
	uint32_t sgls;
	uint32_t mnan;
	uint8_t maxdna[16];
	uint32_t maxcna;
	uint8_t rsvd564[204];
	char subnqn[256];
	uint8_t rsvd1024[768];
	uint32_t ioccsz;
	uint32_t iorcsz;
	uint16_t icdoff;
	uint8_t fcatt;
	uint8_t msdbd;
	uint16_t ofcs;
	uint8_t rsvd1806[242];
	struct bh_nvme_psd psd[32];
	uint8_t vs[1024];
};
static_assert(sizeof(struct bh_nvme_id_ctrl) == 4096, "identify controller");
static_assert(offsetof(struct bh_nvme_id_ctrl, cntlid) == 78, "CNTLID");
static_assert(offsetof(struct bh_nvme_id_ctrl, ver) == 80, "VER");
static_assert(offsetof(struct bh_nvme_id_ctrl, cntrltype) == 111, "CNTRLTYPE");
static_assert(offsetof(struct bh_nvme_id_ctrl, oacs) == 256, "OACS");
static_assert(offsetof(struct bh_nvme_id_ctrl, hmpre) == 272, "HMPRE");
static_assert(offsetof(struct bh_nvme_id_ctrl, tnvmcap) == 280, "TNVMCAP");
static_assert(offsetof(struct bh_nvme_id_ctrl, sanicap) == 328, "SANICAP");
static_assert(offsetof(struct bh_nvme_id_ctrl, anagrpmax) == 344, "ANAGRPMAX");
static_assert(offsetof(struct bh_nvme_id_ctrl, megcap) == 368, "MEGCAP");
static_assert(offsetof(struct bh_nvme_id_ctrl, sqes) == 512, "SQES");
static_assert(offsetof(struct bh_nvme_id_ctrl, nn) == 516, "NN");
static_assert(offsetof(struct bh_nvme_id_ctrl, vwc) == 525, "VWC");
static_assert(offsetof(struct bh_nvme_id_ctrl, sgls) == 536, "SGLS");
static_assert(offsetof(struct bh_nvme_id_ctrl, maxcna) == 560, "MAXCNA");
static_assert(offsetof(struct bh_nvme_id_ctrl, subnqn) == 768, "SUBNQN");
static_assert(offsetof(struct bh_nvme_id_ctrl, ioccsz) == 1792, "IOCCSZ");
static_assert(offsetof(struct bh_nvme_id_ctrl, psd) == 2048, "PSD0");
static_assert(offsetof(struct bh_nvme_id_ctrl, vs) == 3072, "VS");

#define BH_NVME_SANICAP_CRYPTO_ERASE (1u << 0)
#define BH_NVME_SANICAP_BLOCK_ERASE (1u << 1)
#define BH_NVME_SANICAP_OVERWRITE (1u << 2)
#define BH_NVME_SANICAP_NO_DEALLOC_INHIBITED (1u << 29)
#define BH_NVME_SANICAP_MODIFIES_SHIFT 30 /* after it without deallocation: 1 no, 2 yes */
#define BH_NVME_SANICAP_MODIFIES_MASK 0x3u

#define BH_NVME_CMIC_MULTI_PORT (1u << 0)
#define BH_NVME_CMIC_MULTI_CTRL (1u << 1)
#define BH_NVME_CMIC_SRIOV_VF (1u << 2)
#define BH_NVME_CMIC_ANA (1u << 3)

#define BH_NVME_CNTRLTYPE_IO 1u
#define BH_NVME_CNTRLTYPE_DISCOVERY 2u
#define BH_NVME_CNTRLTYPE_ADMIN 3u

#define BH_NVME_CTRATT_HOSTID_128 (1u << 0)
#define BH_NVME_CTRATT_NOPSPM (1u << 1)
#define BH_NVME_CTRATT_NVM_SETS (1u << 2)
#define BH_NVME_CTRATT_RRL (1u << 3)
#define BH_NVME_CTRATT_ENDURANCE_GROUPS (1u << 4)
#define BH_NVME_CTRATT_PLM (1u << 5)
#define BH_NVME_CTRATT_TBKAS (1u << 6)
#define BH_NVME_CTRATT_NS_GRANULARITY (1u << 7)
#define BH_NVME_CTRATT_SQ_ASSOCIATIONS (1u << 8)
#define BH_NVME_CTRATT_UUID_LIST (1u << 9)
#define BH_NVME_CTRATT_MDS (1u << 10)
#define BH_NVME_CTRATT_ELBAS (1u << 15)

#define BH_NVME_OACS_SECURITY (1u << 0)
#define BH_NVME_OACS_FORMAT (1u << 1)
#define BH_NVME_OACS_FIRMWARE (1u << 2)
#define BH_NVME_OACS_NS_MANAGEMENT (1u << 3)
#define BH_NVME_OACS_SELF_TEST (1u << 4)
#define BH_NVME_OACS_DIRECTIVES (1u << 5)
#define BH_NVME_OACS_NVME_MI (1u << 6)
#define BH_NVME_OACS_VIRT_MANAGEMENT (1u << 7)
#define BH_NVME_OACS_DOORBELL_BUFFER (1u << 8)
#define BH_NVME_OACS_GET_LBA_STATUS (1u << 9)
#define BH_NVME_OACS_LOCKDOWN (1u << 10)

#define BH_NVME_ONCS_COMPARE (1u << 0)
#define BH_NVME_ONCS_WRITE_UNCORRECTABLE (1u << 1)
#define BH_NVME_ONCS_DSM (1u << 2)
#define BH_NVME_ONCS_WRITE_ZEROES (1u << 3)
#define BH_NVME_ONCS_FEATURES_SAVE (1u << 4)
#define BH_NVME_ONCS_RESERVATIONS (1u << 5)
#define BH_NVME_ONCS_TIMESTAMP (1u << 6)
#define BH_NVME_ONCS_VERIFY (1u << 7)
#define BH_NVME_ONCS_COPY (1u << 8)

#define BH_NVME_LPA_SMART_PER_NS (1u << 0)
#define BH_NVME_LPA_EFFECTS (1u << 1)
#define BH_NVME_LPA_EXTENDED (1u << 2) /* NUMDU and the log page offset are looked at */
#define BH_NVME_LPA_TELEMETRY (1u << 3)
#define BH_NVME_LPA_PERSISTENT_EVENT (1u << 4)
#define BH_NVME_LPA_SUPPORTED_LOGS (1u << 5)
#define BH_NVME_LPA_TELEMETRY_AREA4 (1u << 6)

#define BH_NVME_FRMW_SLOT1_RO (1u << 0)
#define BH_NVME_FRMW_SLOTS_SHIFT 1
#define BH_NVME_FRMW_SLOTS_MASK 0x7u
#define BH_NVME_FRMW_NO_RESET (1u << 4)

#define BH_NVME_VWC_PRESENT (1u << 0)
#define BH_NVME_VWC_FLUSH_ALL_SHIFT \
	1 /* flush with NSID FFFFFFFFh: 2 not supported, 3 supported \
				       */
#define BH_NVME_VWC_FLUSH_ALL_MASK 0x3u
#define BH_NVME_VWC_FLUSH_ALL_NO (2u << 1)
#define BH_NVME_VWC_FLUSH_ALL_YES (3u << 1)

#define BH_NVME_FUSES_COMPARE_WRITE (1u << 0)

#define BH_NVME_FNA_FORMAT_ALL (1u << 0)
#define BH_NVME_FNA_ERASE_ALL (1u << 1)
#define BH_NVME_FNA_CRYPTO_ERASE (1u << 2)
#define BH_NVME_FNA_NO_BROADCAST (1u << 3)

#define BH_NVME_SGLS_SUPPORT_MASK 0x3u
#define BH_NVME_SGLS_BYTE_ALIGNED 0x1u
#define BH_NVME_SGLS_DWORD_ALIGNED 0x2u
#define BH_NVME_SGLS_KEYED (1u << 2)
#define BH_NVME_SGLS_BIT_BUCKET (1u << 16)
#define BH_NVME_SGLS_MPTR_CONTIG (1u << 17)
#define BH_NVME_SGLS_LARGER_LENGTH (1u << 18)
#define BH_NVME_SGLS_MPTR_SGL (1u << 19)
#define BH_NVME_SGLS_OFFSET (1u << 20)
#define BH_NVME_SGLS_TRANSPORT (1u << 21)

/* Bits of OAES in identify controller, and of Asynchronous Event Configuration (feature 0Bh). */
#define BH_NVME_OAES_NS_ATTR (1u << 8)
#define BH_NVME_OAES_FW_ACTIVATION (1u << 9)
#define BH_NVME_OAES_TELEMETRY (1u << 10) /* in the feature only */
#define BH_NVME_OAES_ANA (1u << 11)
#define BH_NVME_OAES_PREDICTABLE_LATENCY (1u << 12)
#define BH_NVME_OAES_LBA_STATUS (1u << 13)
#define BH_NVME_OAES_ENDURANCE_GROUP (1u << 14)
#define BH_NVME_OAES_NORMAL_SHUTDOWN (1u << 15)
#define BH_NVME_OAES_ZONE_DESC (1u << 27)
#define BH_NVME_OAES_DISCOVERY (1u << 31)

struct bh_nvme_lbaf {
	uint16_t ms;   /* bytes of metadata */
	uint8_t lbads; /* log2 of the data size in bytes; 0: this format is not available */
	uint8_t rp;
};
static_assert(sizeof(struct bh_nvme_lbaf) == 4, "LBA format");

/* Identify namespace of the NVM command set, CNS 00h (NVM 4.1.5.1). */
struct bh_nvme_id_ns {
	uint64_t nsze; /* blocks */
	uint64_t ncap;
	uint64_t nuse;
	uint8_t nsfeat;
	uint8_t nlbaf; /* 0's based */
	uint8_t flbas;
	uint8_t mc;
	uint8_t dpc;
	uint8_t dps;
	uint8_t nmic;
	uint8_t rescap;
	uint8_t fpi;
	uint8_t dlfeat;
	uint16_t nawun; /* 0's based, like those that follow down to nabspf */
	uint16_t nawupf;
	uint16_t nacwu;
	uint16_t nabsn;
	uint16_t nabo;
	uint16_t nabspf;
	uint16_t noiob;
	uint64_t nvmcap[2];
	uint16_t npwg; /* 0's based, like those that follow down to nows */
	uint16_t npwa;
	uint16_t npdg;
	uint16_t npda;
	uint16_t nows;
	uint16_t mssrl;
	uint32_t mcl;
	uint8_t msrc; /* 0's based */
	uint8_t rsvd81[11];
	uint32_t anagrpid;
	uint8_t rsvd96[3];
	uint8_t nsattr;
	uint16_t nvmsetid;
	uint16_t endgid;
	uint8_t nguid[16];
	uint8_t eui64[8];
	struct bh_nvme_lbaf lbaf[64];
	uint8_t vs[3712];
};
static_assert(sizeof(struct bh_nvme_id_ns) == 4096, "identify namespace");
static_assert(offsetof(struct bh_nvme_id_ns, nawun) == 34, "NAWUN");
static_assert(offsetof(struct bh_nvme_id_ns, nvmcap) == 48, "NVMCAP");
static_assert(offsetof(struct bh_nvme_id_ns, mssrl) == 74, "MSSRL");
static_assert(offsetof(struct bh_nvme_id_ns, anagrpid) == 92, "ANAGRPID");
static_assert(offsetof(struct bh_nvme_id_ns, nsattr) == 99, "NSATTR");
static_assert(offsetof(struct bh_nvme_id_ns, nguid) == 104, "NGUID");
static_assert(offsetof(struct bh_nvme_id_ns, lbaf) == 128, "LBAF0");
static_assert(offsetof(struct bh_nvme_id_ns, vs) == 384, "VS");

#define BH_NVME_NSFEAT_THIN (1u << 0)
#define BH_NVME_NSFEAT_NSABP (1u << 1)
#define BH_NVME_NSFEAT_DAE (1u << 2)
#define BH_NVME_NSFEAT_UIDREUSE (1u << 3)
#define BH_NVME_NSFEAT_OPTPERF (1u << 4)

#define BH_NVME_FPI_SUPPORTED (1u << 7)	 /* below it: percent left to be formatted */
#define BH_NVME_FLBAS_EXTENDED (1u << 4) /* metadata follows each block's data */
/* Index into lbaf[]: bits 3:0, and 6:5 above them. */
static inline unsigned int bh_nvme_flbas_index(uint8_t flbas)
{
	return (flbas & 0xfu) | ((unsigned int)(flbas & 0x60u) >> 1);
}

#define BH_NVME_MC_EXTENDED (1u << 0)
#define BH_NVME_MC_SEPARATE (1u << 1)
#define BH_NVME_DPC_TYPE1 (1u << 0)
#define BH_NVME_DPC_TYPE2 (1u << 1)
#define BH_NVME_DPC_TYPE3 (1u << 2)
#define BH_NVME_DPC_FIRST (1u << 3)
#define BH_NVME_DPC_LAST (1u << 4)
#define BH_NVME_DPS_TYPE_MASK 0x7u
#define BH_NVME_DPS_FIRST (1u << 3)
#define BH_NVME_NMIC_SHARED (1u << 0)
#define BH_NVME_DLFEAT_READ_MASK 0x7u
#define BH_NVME_DLFEAT_READ_ZEROES 0x1u
#define BH_NVME_DLFEAT_READ_ONES 0x2u
#define BH_NVME_DLFEAT_WRITE_ZEROES (1u << 3)
#define BH_NVME_DLFEAT_GUARD_CRC (1u << 4)
#define BH_NVME_NSATTR_WRITE_PROTECTED (1u << 0)

#define BH_NVME_RESCAP_PTPL (1u << 0)
#define BH_NVME_RESCAP_WRITE_EXCLUSIVE (1u << 1)
#define BH_NVME_RESCAP_EXCLUSIVE_ACCESS (1u << 2)
#define BH_NVME_RESCAP_WRITE_EXCLUSIVE_RO (1u << 3)
#define BH_NVME_RESCAP_EXCLUSIVE_ACCESS_RO (1u << 4)
#define BH_NVME_RESCAP_WRITE_EXCLUSIVE_AR (1u << 5)
#define BH_NVME_RESCAP_EXCLUSIVE_ACCESS_AR (1u << 6)
#define BH_NVME_RESCAP_IEKEY_13 (1u << 7)

/* Head of a namespace identification descriptor, CNS 03h; nidl bytes follow, 0 ends the list. */
struct bh_nvme_ns_id_desc {
	uint8_t nidt;
	uint8_t nidl;
	uint8_t rsvd[2];
};
static_assert(sizeof(struct bh_nvme_ns_id_desc) == 4, "namespace identification descriptor");

#define BH_NVME_NIDT_EUI64 0x01u /* 8 bytes */
#define BH_NVME_NIDT_NGUID 0x02u /* 16 bytes */
#define BH_NVME_NIDT_UUID 0x03u	 /* 16 bytes */
#define BH_NVME_NIDT_CSI 0x04u	 /* 1 byte */

/* Ascending, ended by 0 where it is not full. Also the changed namespace list, log page 04h. */
struct bh_nvme_ns_list {
	uint32_t nsid[1024];
};
static_assert(sizeof(struct bh_nvme_ns_list) == 4096, "namespace list");

struct bh_nvme_ctrl_list {
	uint16_t count;
	uint16_t cntlid[2047];
};
static_assert(sizeof(struct bh_nvme_ctrl_list) == 4096, "controller list");

/* CNS 06h, CSI 00h: 0 in a field means no limit; units of sizes as for MDTS. */
struct bh_nvme_id_ctrl_nvm {
	uint8_t vsl;
	uint8_t wzsl;
	uint8_t wusl;
	uint8_t dmrl;	/* ranges */
	uint32_t dmrsl; /* blocks in a range */
	uint64_t dmsl;	/* blocks in a command */
	uint8_t rsvd16[4080];
};
static_assert(sizeof(struct bh_nvme_id_ctrl_nvm) == 4096, "identify controller, NVM");
static_assert(offsetof(struct bh_nvme_id_ctrl_nvm, dmsl) == 8, "DMSL");

/* CNS 05h, CSI 00h. */
struct bh_nvme_id_ns_nvm {
	uint64_t lbstm;
	uint8_t pic;
	uint8_t rsvd9[3];
	uint32_t elbaf[64]; /* STS 6:0, PIF 8:7 */
	uint8_t rsvd268[3828];
};
static_assert(sizeof(struct bh_nvme_id_ns_nvm) == 4096, "identify namespace, NVM");
static_assert(offsetof(struct bh_nvme_id_ns_nvm, elbaf) == 12, "ELBAF0");

/* CNS 08h: the part of a namespace that no command set changes. */
struct bh_nvme_id_ns_indep {
	uint8_t nsfeat;
	uint8_t nmic;
	uint8_t rescap;
	uint8_t fpi;
	uint32_t anagrpid;
	uint8_t nsattr;
	uint8_t rsvd9;
	uint16_t nvmsetid;
	uint16_t endgid;
	uint8_t nstat;
	uint8_t rsvd15[4081];
};
static_assert(sizeof(struct bh_nvme_id_ns_indep) == 4096, "identify namespace, independent");
static_assert(offsetof(struct bh_nvme_id_ns_indep, nstat) == 14, "NSTAT");

#define BH_NVME_NSTAT_READY (1u << 0)

/* CNS 1Ch: per combination a vector of bits by CSI; an all-zero vector ends the list. */
struct bh_nvme_id_iocs {
	uint64_t vector[512];
};
static_assert(sizeof(struct bh_nvme_id_iocs) == 4096, "I/O command set data structure");

/* Zoned namespaces: identify (ZNS 4.1.5), 0's based where marked. */
struct bh_nvme_zns_lbafe {
	uint64_t zsze; /* blocks */
	uint8_t zdes;  /* units of 64 bytes */
	uint8_t rsvd[7];
};
static_assert(sizeof(struct bh_nvme_zns_lbafe) == 16, "LBA format extension");

struct bh_nvme_id_ns_zns {
	uint16_t zoc;
	uint16_t ozcs;
	uint32_t mar; /* 0's based; FFFFFFFFh: no limit */
	uint32_t mor; /* 0's based; FFFFFFFFh: no limit */
	uint32_t rrl;
	uint32_t frl;
	uint32_t rrl1;
	uint32_t rrl2;
	uint32_t rrl3;
	uint32_t frl1;
	uint32_t frl2;
	uint32_t frl3;
	uint32_t numzrwa;
	uint16_t zrwafg;
	uint16_t zrwasz;
	uint8_t zrwacap;
	uint8_t rsvd53[2763];
	struct bh_nvme_zns_lbafe lbafe[64];
	uint8_t vs[256];
};
static_assert(sizeof(struct bh_nvme_id_ns_zns) == 4096, "identify namespace, ZNS");
static_assert(offsetof(struct bh_nvme_id_ns_zns, zrwafg) == 48, "ZRWAFG");
static_assert(offsetof(struct bh_nvme_id_ns_zns, lbafe) == 2816, "LBAFE0");

#define BH_NVME_ZOC_VARIABLE_CAPACITY (1u << 0)
#define BH_NVME_ZOC_ACTIVE_EXCURSIONS (1u << 1)
#define BH_NVME_OZCS_READ_ACROSS (1u << 0)
#define BH_NVME_OZCS_ZRWA (1u << 1)

struct bh_nvme_id_ctrl_zns {
	uint8_t zasl; /* as MDTS, for Zone Append; 0: MDTS */
	uint8_t rsvd1[4095];
};
static_assert(sizeof(struct bh_nvme_id_ctrl_zns) == 4096, "identify controller, ZNS");

struct bh_nvme_zone_desc {
	uint8_t zt; /* bits 3:0 */
	uint8_t zs; /* bits 7:4 */
	uint8_t za;
	uint8_t zai;
	uint8_t rsvd4[4];
	uint64_t zcap;
	uint64_t zslba;
	uint64_t wp;
	uint8_t rsvd32[32];
};
static_assert(sizeof(struct bh_nvme_zone_desc) == 64, "zone descriptor");
static_assert(offsetof(struct bh_nvme_zone_desc, wp) == 24, "WP");

/* Followed by zone descriptors, each with its extension in an extended report. */
struct bh_nvme_zone_report {
	uint64_t nr_zones;
	uint8_t rsvd8[56];
};
static_assert(sizeof(struct bh_nvme_zone_report) == 64, "zone report header");

#define BH_NVME_ZONE_TYPE_SEQ_WRITE 0x2u
/* Values of zone states, not in place: they are bits 7:4 of zs. */
#define BH_NVME_ZONE_STATE_EMPTY 0x1u
#define BH_NVME_ZONE_STATE_IMPLICITLY_OPEN 0x2u
#define BH_NVME_ZONE_STATE_EXPLICITLY_OPEN 0x3u
#define BH_NVME_ZONE_STATE_CLOSED 0x4u
#define BH_NVME_ZONE_STATE_READ_ONLY 0xdu
#define BH_NVME_ZONE_STATE_FULL 0xeu
#define BH_NVME_ZONE_STATE_OFFLINE 0xfu
#define BH_NVME_ZONE_ATTR_FINISHED (1u << 0)
#define BH_NVME_ZONE_ATTR_FINISH_RECOMMENDED (1u << 1)
#define BH_NVME_ZONE_ATTR_RESET_RECOMMENDED (1u << 2)
#define BH_NVME_ZONE_ATTR_ZRWA_VALID (1u << 3)
#define BH_NVME_ZONE_ATTR_DESC_EXT_VALID (1u << 7)

/* Zone Management Send: CDW13. */
#define BH_NVME_ZONE_ACTION_MASK 0xffu
#define BH_NVME_ZONE_ACTION_CLOSE 0x01u
#define BH_NVME_ZONE_ACTION_FINISH 0x02u
#define BH_NVME_ZONE_ACTION_OPEN 0x03u
#define BH_NVME_ZONE_ACTION_RESET 0x04u
#define BH_NVME_ZONE_ACTION_OFFLINE 0x05u
#define BH_NVME_ZONE_ACTION_SET_DESC_EXT 0x10u
#define BH_NVME_ZONE_ACTION_FLUSH_ZRWA 0x11u
#define BH_NVME_ZONE_SELECT_ALL (1u << 8)
#define BH_NVME_ZONE_OPEN_ZRWA (1u << 9)
/* Zone Management Receive: CDW13. Filters are numbered otherwise than the states. */
#define BH_NVME_ZONE_REPORT 0x00u
#define BH_NVME_ZONE_REPORT_EXTENDED 0x01u
#define BH_NVME_ZONE_REPORT_FILTER_SHIFT 8
#define BH_NVME_ZONE_REPORT_FILTER_MASK 0xffu
#define BH_NVME_ZONE_REPORT_FILTER_ALL 0x0u
#define BH_NVME_ZONE_REPORT_FILTER_EMPTY 0x1u
#define BH_NVME_ZONE_REPORT_FILTER_IMPLICITLY_OPEN 0x2u
#define BH_NVME_ZONE_REPORT_FILTER_EXPLICITLY_OPEN 0x3u
#define BH_NVME_ZONE_REPORT_FILTER_CLOSED 0x4u
#define BH_NVME_ZONE_REPORT_FILTER_FULL 0x5u
#define BH_NVME_ZONE_REPORT_FILTER_READ_ONLY 0x6u
#define BH_NVME_ZONE_REPORT_FILTER_OFFLINE 0x7u
#define BH_NVME_ZONE_REPORT_PARTIAL (1u << 16)

/* Features (base 5.27.1). */
#define BH_NVME_FEAT_ARBITRATION 0x01u
#define BH_NVME_FEAT_POWER_MANAGEMENT 0x02u
#define BH_NVME_FEAT_LBA_RANGE_TYPE 0x03u
#define BH_NVME_FEAT_TEMPERATURE_THRESHOLD 0x04u
#define BH_NVME_FEAT_ERROR_RECOVERY 0x05u
#define BH_NVME_FEAT_VOLATILE_WRITE_CACHE 0x06u
#define BH_NVME_FEAT_NUMBER_OF_QUEUES 0x07u
#define BH_NVME_FEAT_INTERRUPT_COALESCING 0x08u
#define BH_NVME_FEAT_INTERRUPT_VECTOR_CONFIG 0x09u
#define BH_NVME_FEAT_WRITE_ATOMICITY 0x0au
#define BH_NVME_FEAT_ASYNC_EVENT_CONFIG 0x0bu
#define BH_NVME_FEAT_APST 0x0cu
#define BH_NVME_FEAT_HOST_MEMORY_BUFFER 0x0du
#define BH_NVME_FEAT_TIMESTAMP 0x0eu
#define BH_NVME_FEAT_KEEP_ALIVE_TIMER 0x0fu
#define BH_NVME_FEAT_HOST_THERMAL_MANAGEMENT 0x10u
#define BH_NVME_FEAT_NON_OPERATIONAL_POWER 0x11u
#define BH_NVME_FEAT_READ_RECOVERY_LEVEL 0x12u
#define BH_NVME_FEAT_PLM_CONFIG 0x13u
#define BH_NVME_FEAT_PLM_WINDOW 0x14u
#define BH_NVME_FEAT_LBA_STATUS_INTERVAL 0x15u
#define BH_NVME_FEAT_HOST_BEHAVIOR 0x16u
#define BH_NVME_FEAT_SANITIZE_CONFIG 0x17u
#define BH_NVME_FEAT_ENDURANCE_GROUP_EVENT 0x18u
#define BH_NVME_FEAT_IOCS_PROFILE 0x19u
#define BH_NVME_FEAT_SPINUP_CONTROL 0x1au
#define BH_NVME_FEAT_KV_CONFIG 0x20u
#define BH_NVME_FEAT_ENHANCED_CTRL_METADATA 0x7du
#define BH_NVME_FEAT_CTRL_METADATA 0x7eu
#define BH_NVME_FEAT_NS_METADATA 0x7fu
#define BH_NVME_FEAT_SOFTWARE_PROGRESS 0x80u
#define BH_NVME_FEAT_HOST_ID 0x81u
#define BH_NVME_FEAT_RESV_NOTIFICATION_MASK 0x82u
#define BH_NVME_FEAT_RESV_PERSISTENCE 0x83u
#define BH_NVME_FEAT_NS_WRITE_PROTECTION 0x84u
#define BH_NVME_FEAT_VENDOR_FIRST 0xc0u

/* Number of Queues: CDW11 and dword 0, both 0's based. */
#define BH_NVME_NUM_QUEUES_NSQ_SHIFT 0
#define BH_NVME_NUM_QUEUES_NSQ_MASK 0xffffu
#define BH_NVME_NUM_QUEUES_NCQ_SHIFT 16
#define BH_NVME_NUM_QUEUES_NCQ_MASK 0xffffu
#define BH_NVME_FEAT_VWC_WCE (1u << 0)
#define BH_NVME_FEAT_HOST_ID_EXHID (1u << 0) /* CDW11: 128 bits, not 64 */
#define BH_NVME_FEAT_INTERRUPT_CD (1u << 16) /* coalescing disabled for the vector in 15:0 */

struct bh_nvme_timestamp {
	uint8_t ms[6]; /* milliseconds since 1970 */
	uint8_t attr;  /* synch 0, origin 3:1 */
	uint8_t rsvd;
};
static_assert(sizeof(struct bh_nvme_timestamp) == 8, "timestamp");

struct bh_nvme_host_behavior {
	uint8_t acre;
	uint8_t etdas;
	uint8_t lbafee;
	uint8_t rsvd3[509];
};
static_assert(sizeof(struct bh_nvme_host_behavior) == 512, "host behavior support");

/* Asynchronous events: dword 0 of the completion (base 5.2). */
#define BH_NVME_AER_TYPE_SHIFT 0
#define BH_NVME_AER_TYPE_MASK 0x7u
#define BH_NVME_AER_INFO_SHIFT 8
#define BH_NVME_AER_INFO_MASK 0xffu
#define BH_NVME_AER_LID_SHIFT 16
#define BH_NVME_AER_LID_MASK 0xffu

#define BH_NVME_AER_TYPE_ERROR 0u
#define BH_NVME_AER_TYPE_SMART 1u
#define BH_NVME_AER_TYPE_NOTICE 2u
#define BH_NVME_AER_TYPE_IMMEDIATE 3u
#define BH_NVME_AER_TYPE_IO 6u
#define BH_NVME_AER_TYPE_VENDOR 7u

#define BH_NVME_AER_ERROR_INVALID_DOORBELL_REG 0x00u
#define BH_NVME_AER_ERROR_INVALID_DOORBELL_VALUE 0x01u
#define BH_NVME_AER_ERROR_DIAGNOSTIC_FAILURE 0x02u
#define BH_NVME_AER_ERROR_PERSISTENT_INTERNAL 0x03u
#define BH_NVME_AER_ERROR_TRANSIENT_INTERNAL 0x04u
#define BH_NVME_AER_ERROR_FW_IMAGE_LOAD 0x05u
#define BH_NVME_AER_SMART_RELIABILITY 0x00u
#define BH_NVME_AER_SMART_TEMPERATURE 0x01u
#define BH_NVME_AER_SMART_SPARE 0x02u
#define BH_NVME_AER_NOTICE_NS_ATTR_CHANGED 0x00u
#define BH_NVME_AER_NOTICE_FW_ACTIVATION 0x01u
#define BH_NVME_AER_NOTICE_TELEMETRY 0x02u
#define BH_NVME_AER_NOTICE_ANA 0x03u
#define BH_NVME_AER_NOTICE_PREDICTABLE_LATENCY 0x04u
#define BH_NVME_AER_NOTICE_LBA_STATUS 0x05u
#define BH_NVME_AER_NOTICE_ENDURANCE_GROUP 0x06u
#define BH_NVME_AER_NOTICE_ZONE_DESC_CHANGED 0xefu
#define BH_NVME_AER_NOTICE_DISCOVERY 0xf0u
#define BH_NVME_AER_IMMEDIATE_NORMAL_SHUTDOWN 0x00u
#define BH_NVME_AER_IO_RESERVATION_LOG 0x00u
#define BH_NVME_AER_IO_SANITIZE_COMPLETED 0x01u
#define BH_NVME_AER_IO_SANITIZE_UNEXPECTED_DEALLOC 0x02u

/* Log pages (base 5.16.1). */
#define BH_NVME_LOG_SUPPORTED 0x00u
#define BH_NVME_LOG_ERROR 0x01u
#define BH_NVME_LOG_SMART 0x02u
#define BH_NVME_LOG_FW_SLOT 0x03u
#define BH_NVME_LOG_CHANGED_NS 0x04u
#define BH_NVME_LOG_EFFECTS 0x05u
#define BH_NVME_LOG_SELF_TEST 0x06u
#define BH_NVME_LOG_TELEMETRY_HOST 0x07u
#define BH_NVME_LOG_TELEMETRY_CTRL 0x08u
#define BH_NVME_LOG_ENDURANCE_GROUP 0x09u
#define BH_NVME_LOG_PL_NVM_SET 0x0au
#define BH_NVME_LOG_PL_EVENT 0x0bu
#define BH_NVME_LOG_ANA 0x0cu
#define BH_NVME_LOG_PERSISTENT_EVENT 0x0du
#define BH_NVME_LOG_LBA_STATUS 0x0eu
#define BH_NVME_LOG_ENDURANCE_GROUP_EVENT 0x0fu
#define BH_NVME_LOG_MEDIA_UNIT 0x10u
#define BH_NVME_LOG_CAPACITY_CONFIG 0x11u
#define BH_NVME_LOG_FEATURE_EFFECTS 0x12u
#define BH_NVME_LOG_MI_EFFECTS 0x13u
#define BH_NVME_LOG_LOCKDOWN 0x14u
#define BH_NVME_LOG_BOOT_PARTITION 0x15u
#define BH_NVME_LOG_ROTATIONAL_MEDIA 0x16u
#define BH_NVME_LOG_DISCOVERY 0x70u
#define BH_NVME_LOG_RESERVATION 0x80u
#define BH_NVME_LOG_SANITIZE 0x81u
#define BH_NVME_LOG_CHANGED_ZONES 0xbfu
#define BH_NVME_LOG_VENDOR_FIRST 0xc0u

struct bh_nvme_error_log {
	uint64_t error_count; /* 0: no entry */
	uint16_t sqid;	      /* FFFFh: of no command */
	uint16_t cid;
	uint16_t status;   /* as in a completion, phase tag included */
	uint16_t location; /* byte 7:0, bit 10:8; FFFFh: of no parameter */
	uint64_t lba;
	uint32_t nsid;
	uint8_t vs_info;
	uint8_t trtype;
	uint8_t rsvd30[2];
	uint64_t cs;
	uint16_t trtype_info;
	uint8_t rsvd42[22];
};
static_assert(sizeof(struct bh_nvme_error_log) == 64, "error log entry");
static_assert(offsetof(struct bh_nvme_error_log, cs) == 32, "command specific information");

struct bh_nvme_smart_log {
	uint8_t critical_warning;
	uint8_t temperature[2]; /* K */
	uint8_t avail_spare;	/* % */
	uint8_t spare_thresh;
	uint8_t percentage_used;
	uint8_t endurance_group_warning;
	uint8_t rsvd7[25];
	uint64_t data_units_read[2]; /* thousands of 512 bytes, rounded up */
	uint64_t data_units_written[2];
	uint64_t host_reads[2];
	uint64_t host_writes[2];
	uint64_t busy_time[2]; /* minutes */
	uint64_t power_cycles[2];
	uint64_t power_on_hours[2];
	uint64_t unsafe_shutdowns[2];
	uint64_t media_errors[2];
	uint64_t error_log_entries[2];
	uint32_t warning_temp_time;  /* minutes */
	uint32_t critical_temp_time; /* minutes */
	uint16_t temp_sensor[8];     /* K */
	uint32_t thm_temp1_count;
	uint32_t thm_temp2_count;
	uint32_t thm_temp1_time; /* s */
	uint32_t thm_temp2_time; /* s */
	uint8_t rsvd232[280];
};
static_assert(sizeof(struct bh_nvme_smart_log) == 512, "SMART log");
static_assert(offsetof(struct bh_nvme_smart_log, data_units_read) == 32, "data units read");
static_assert(offsetof(struct bh_nvme_smart_log, warning_temp_time) == 192, "warning temperature");
static_assert(offsetof(struct bh_nvme_smart_log, thm_temp1_count) == 216, "transition count");

#define BH_NVME_SMART_SPARE (1u << 0)
#define BH_NVME_SMART_TEMPERATURE (1u << 1)
#define BH_NVME_SMART_RELIABILITY (1u << 2)
#define BH_NVME_SMART_READ_ONLY (1u << 3)
#define BH_NVME_SMART_BACKUP_FAILED (1u << 4)
#define BH_NVME_SMART_PMR (1u << 5)

struct bh_nvme_fw_slot_log {
	uint8_t afi; /* active slot 2:0, slot of the next reset 6:4 */
	uint8_t rsvd1[7];
	char frs[7][8];
	uint8_t rsvd64[448];
};
static_assert(sizeof(struct bh_nvme_fw_slot_log) == 512, "firmware slot log");

struct bh_nvme_effects_log {
	uint32_t acs[256];
	uint32_t iocs[256];
	uint8_t rsvd2048[2048];
};
static_assert(sizeof(struct bh_nvme_effects_log) == 4096, "commands supported and effects");

#define BH_NVME_EFFECT_CSUPP (1u << 0)
#define BH_NVME_EFFECT_LBCC (1u << 1)
#define BH_NVME_EFFECT_NCC (1u << 2)
#define BH_NVME_EFFECT_NIC (1u << 3)
#define BH_NVME_EFFECT_CCC (1u << 4)
#define BH_NVME_EFFECT_CSE_SHIFT 16
#define BH_NVME_EFFECT_CSE_MASK 0x7u
#define BH_NVME_EFFECT_CSE_ONE_PER_NS (1u << 16)
#define BH_NVME_EFFECT_CSE_ONE_PER_CTRL (2u << 16)
#define BH_NVME_EFFECT_UUID (1u << 19)
#define BH_NVME_EFFECT_CSP_SHIFT 20
#define BH_NVME_EFFECT_CSP_MASK 0xfffu

struct bh_nvme_supported_logs {
	uint32_t lid[256]; /* BH_NVME_LOG_LSUPP, BH_NVME_LOG_IOS, bits 31:16 specific to the log */
};
static_assert(sizeof(struct bh_nvme_supported_logs) == 1024, "supported log pages");

#define BH_NVME_LOG_LSUPP (1u << 0)
#define BH_NVME_LOG_IOS (1u << 1)

/* Device Self-test: CDW10, and the log page (base 5.9, 5.16.1.7). */
#define BH_NVME_SELF_TEST_STC_MASK 0xfu
#define BH_NVME_SELF_TEST_SHORT 0x1u
#define BH_NVME_SELF_TEST_EXTENDED 0x2u
#define BH_NVME_SELF_TEST_ABORT 0xfu

/* 64-bit fields are in halves, low first: results are not aligned in their log. */
struct bh_nvme_self_test_result {
	uint8_t status; /* result 3:0, code of the test 7:4 */
	uint8_t segment;
	uint8_t valid; /* BH_NVME_SELF_TEST_VALID_* */
	uint8_t rsvd3;
	uint32_t power_on_hours[2];
	uint32_t nsid;
	uint32_t flba[2];
	uint8_t sct;
	uint8_t sc;
	uint8_t vs[2];
};
static_assert(sizeof(struct bh_nvme_self_test_result) == 28, "self-test result");
static_assert(offsetof(struct bh_nvme_self_test_result, flba) == 16, "failing LBA");

#define BH_NVME_SELF_TEST_RESULTS 20u
struct bh_nvme_self_test_log {
	uint8_t current; /* code of the test, 0: none */
	uint8_t percent;
	uint8_t rsvd2[2];
	struct bh_nvme_self_test_result result[BH_NVME_SELF_TEST_RESULTS]; /* newest first */
};
static_assert(sizeof(struct bh_nvme_self_test_log) == 564, "device self-test log");

#define BH_NVME_SELF_TEST_PASSED 0x0u
#define BH_NVME_SELF_TEST_ABORTED 0x1u
#define BH_NVME_SELF_TEST_ABORTED_RESET 0x2u
#define BH_NVME_SELF_TEST_ABORTED_NS_REMOVED 0x3u
#define BH_NVME_SELF_TEST_ABORTED_FORMAT 0x4u
#define BH_NVME_SELF_TEST_FATAL 0x5u
#define BH_NVME_SELF_TEST_FAILED 0x7u
#define BH_NVME_SELF_TEST_ABORTED_UNKNOWN 0x8u
#define BH_NVME_SELF_TEST_ABORTED_SANITIZE 0x9u
#define BH_NVME_SELF_TEST_UNUSED 0xfu
#define BH_NVME_SELF_TEST_VALID_NSID (1u << 0)
#define BH_NVME_SELF_TEST_VALID_FLBA (1u << 1)
#define BH_NVME_SELF_TEST_VALID_SCT (1u << 2)
#define BH_NVME_SELF_TEST_VALID_SC (1u << 3)

struct bh_nvme_sanitize_log {
	uint16_t sprog; /* of 65536; FFFFh: none is in progress */
	uint16_t sstat;
	uint32_t scdw10; /* of the command */
	/* Seconds that each would take; FFFFFFFFh: not told. */
	uint32_t overwrite; /* of 16 passes */
	uint32_t block_erase;
	uint32_t crypto_erase;
	uint32_t overwrite_no_dealloc;
	uint32_t block_erase_no_dealloc;
	uint32_t crypto_erase_no_dealloc;
	uint8_t rsvd32[480];
};
static_assert(sizeof(struct bh_nvme_sanitize_log) == 512, "sanitize status log");

#define BH_NVME_SSTAT_OUTCOME_MASK 0x7u
#define BH_NVME_SSTAT_NEVER 0u
#define BH_NVME_SSTAT_COMPLETED 1u
#define BH_NVME_SSTAT_IN_PROGRESS 2u
#define BH_NVME_SSTAT_FAILED 3u
#define BH_NVME_SSTAT_UNEXPECTED_DEALLOC 4u
#define BH_NVME_SSTAT_PASSES_SHIFT 3 /* completed, of an overwrite */
#define BH_NVME_SSTAT_PASSES_MASK 0x1fu
#define BH_NVME_SSTAT_GLOBAL_DATA_ERASED (1u << 8)

struct bh_nvme_resv_log {
	uint64_t count; /* 0: empty */
	uint8_t type;	/* 1 registration preempted, 2 reservation released, 3 reservation preempted
			 */
	uint8_t available;
	uint8_t rsvd10[2];
	uint32_t nsid;
	uint8_t rsvd16[48];
};
static_assert(sizeof(struct bh_nvme_resv_log) == 64, "reservation notification log");
static_assert(offsetof(struct bh_nvme_resv_log, nsid) == 12, "NSID");

/*
 * Persistent Event log (base 5.16.1.14): actions in the LSP field, the header, and events behind it.
 * Fields that are not aligned are in smaller pieces, low first.
 */
#define BH_NVME_PEL_READ 0u
#define BH_NVME_PEL_ESTABLISH 1u
#define BH_NVME_PEL_RELEASE 2u

struct bh_nvme_pel {
	uint8_t lid;
	uint8_t rsvd1[3];
	uint32_t tnev; /* events */
	uint64_t tll;  /* bytes of the page */
	uint8_t rv;
	uint8_t rsvd17;
	uint16_t lhl;	/* bytes of the header behind this field */
	uint32_t ts[2]; /* as the Timestamp feature has it */
	uint32_t poh[4];
	uint32_t pcc[2];
	uint16_t vid;
	uint16_t ssvid;
	char sn[20];
	char mn[40];
	char subnqn[256];
	uint16_t gen;
	uint16_t rci[2];
	uint8_t rsvd378[102];
	uint8_t seb[32]; /* a bit per type of event */
};
static_assert(sizeof(struct bh_nvme_pel) == 512, "persistent event log header");
static_assert(offsetof(struct bh_nvme_pel, sn) == 56, "serial number");
static_assert(offsetof(struct bh_nvme_pel, rci) == 374, "reporting context information");
static_assert(offsetof(struct bh_nvme_pel, seb) == 480, "supported events bitmap");

struct bh_nvme_pel_event {
	uint8_t type; /* BH_NVME_PEL_* */
	uint8_t rev;
	uint8_t ehl; /* bytes of this header behind the field */
	uint8_t ehai;
	uint16_t cntlid;
	uint16_t ts[4];
	uint16_t pelpid;
	uint8_t rsvd16[4];
	uint16_t vsil;
	uint16_t el; /* bytes that follow the header */
};
static_assert(sizeof(struct bh_nvme_pel_event) == 24, "persistent event header");

#define BH_NVME_PEL_SMART 0x01u /* struct bh_nvme_smart_log */
#define BH_NVME_PEL_FW_COMMIT 0x02u
#define BH_NVME_PEL_TIMESTAMP 0x03u
#define BH_NVME_PEL_RESET 0x04u
#define BH_NVME_PEL_HARDWARE_ERROR 0x05u
#define BH_NVME_PEL_CHANGE_NS 0x06u
#define BH_NVME_PEL_FORMAT_START 0x07u
#define BH_NVME_PEL_FORMAT_END 0x08u
#define BH_NVME_PEL_SANITIZE_START 0x09u
#define BH_NVME_PEL_SANITIZE_END 0x0au
#define BH_NVME_PEL_SET_FEATURE 0x0bu
#define BH_NVME_PEL_TELEMETRY 0x0cu
#define BH_NVME_PEL_THERMAL 0x0du

struct bh_nvme_pel_timestamp {
	uint64_t previous; /* as the Timestamp feature had it */
	uint64_t since_reset_ms;
};
static_assert(sizeof(struct bh_nvme_pel_timestamp) == 16, "timestamp change event");

struct bh_nvme_pel_reset {
	char fr[8];
	struct {
		uint16_t cntlid;
		uint8_t fw_activation;
		uint8_t in_progress;
		uint8_t rsvd4[12];
		uint32_t power_cycle;
		uint32_t power_on_ms[2];
		uint32_t ts[2];
	} ctrl; /* of each there is */
};
static_assert(sizeof(struct bh_nvme_pel_reset) == 44, "power-on or reset event");

struct bh_nvme_pel_change_ns {
	uint32_t cdw10;
	uint8_t rsvd4[4];
	uint64_t nsze;
	uint8_t rsvd16[8];
	uint64_t ncap;
	uint8_t flbas;
	uint8_t dps;
	uint8_t nmic;
	uint8_t rsvd35;
	uint32_t anagrpid;
	uint16_t nvmsetid;
	uint8_t rsvd42[2];
	uint32_t nsid;
};
static_assert(sizeof(struct bh_nvme_pel_change_ns) == 48, "change namespace event");

struct bh_nvme_pel_format_start {
	uint32_t nsid;
	uint8_t fna;
	uint8_t rsvd5[3];
	uint32_t cdw10;
};
static_assert(sizeof(struct bh_nvme_pel_format_start) == 12, "Format NVM start event");

struct bh_nvme_pel_format_end {
	uint32_t nsid;
	uint8_t smallest_fpi;
	uint8_t format_status;
	uint16_t info;
	uint32_t status; /* status field */
};
static_assert(sizeof(struct bh_nvme_pel_format_end) == 12, "Format NVM completion event");

struct bh_nvme_pel_sanitize_start {
	uint32_t sanicap;
	uint32_t cdw10;
	uint32_t cdw11;
};
static_assert(sizeof(struct bh_nvme_pel_sanitize_start) == 12, "sanitize start event");

struct bh_nvme_pel_sanitize_end {
	uint16_t sprog;
	uint16_t sstat;
	uint16_t info;
	uint8_t rsvd6[2];
};
static_assert(sizeof(struct bh_nvme_pel_sanitize_end) == 8, "sanitize completion event");

struct bh_nvme_pel_set_feature {
	uint32_t layout; /* dwords 2:0, dword 0 of the completion 3, bytes of data 31:16 */
	uint32_t cdw[2]; /* from CDW10 on */
};
static_assert(sizeof(struct bh_nvme_pel_set_feature) == 12, "set feature event");

/* Telemetry (base 5.16.1.8, 5.16.1.9): a header, then blocks of 512 bytes, from 1 on. */
#define BH_NVME_TELEMETRY_CREATE (1u << 0) /* in the LSP field, host-initiated */

struct bh_nvme_telemetry {
	uint8_t lid;
	uint8_t rsvd1[4];
	uint8_t ieee[3];
	uint16_t dalb1; /* last block of data area 1, 0: it is empty; the others begin after it */
	uint16_t dalb2;
	uint16_t dalb3;
	uint8_t rsvd14[2];
	uint32_t dalb4;
	uint8_t rsvd20[361];
	uint8_t host_gen;	/* of the host-initiated log */
	uint8_t ctrl_available; /* the controller has captured something that was not read */
	uint8_t ctrl_gen;
	char reason[128];
};
static_assert(sizeof(struct bh_nvme_telemetry) == 512, "telemetry log header");
static_assert(offsetof(struct bh_nvme_telemetry, ctrl_gen) == 383, "generation number");

/* Reservations (base 7.2 to 7.5). */
#define BH_NVME_RESV_ACTION_MASK 0x7u /* CDW10 2:0 of register, acquire, release */
#define BH_NVME_RESV_IEKEY (1u << 3)
#define BH_NVME_RESV_RTYPE_SHIFT 8
#define BH_NVME_RESV_RTYPE_MASK 0xffu
#define BH_NVME_RESV_CPTPL_SHIFT 30
#define BH_NVME_RESV_CPTPL_MASK 0x3u
#define BH_NVME_RESV_CPTPL_NO_CHANGE 0u
#define BH_NVME_RESV_CPTPL_CLEAR 2u
#define BH_NVME_RESV_CPTPL_SET 3u
#define BH_NVME_RESV_REGISTER_KEY 0u
#define BH_NVME_RESV_UNREGISTER_KEY 1u
#define BH_NVME_RESV_REPLACE_KEY 2u
#define BH_NVME_RESV_ACQUIRE 0u
#define BH_NVME_RESV_PREEMPT 1u
#define BH_NVME_RESV_PREEMPT_ABORT 2u
#define BH_NVME_RESV_RELEASE 0u
#define BH_NVME_RESV_CLEAR 1u
#define BH_NVME_RESV_REPORT_EDS (1u << 0) /* CDW11 of report: extended data structure */

#define BH_NVME_RESV_WRITE_EXCLUSIVE 1u
#define BH_NVME_RESV_EXCLUSIVE_ACCESS 2u
#define BH_NVME_RESV_WRITE_EXCLUSIVE_RO 3u
#define BH_NVME_RESV_EXCLUSIVE_ACCESS_RO 4u
#define BH_NVME_RESV_WRITE_EXCLUSIVE_AR 5u
#define BH_NVME_RESV_EXCLUSIVE_ACCESS_AR 6u

struct bh_nvme_resv_register {
	uint64_t crkey, nrkey;
};
static_assert(sizeof(struct bh_nvme_resv_register) == 16, "reservation register");

struct bh_nvme_resv_acquire {
	uint64_t crkey, prkey;
};
static_assert(sizeof(struct bh_nvme_resv_acquire) == 16, "reservation acquire");

struct bh_nvme_resv_release {
	uint64_t crkey;
};
static_assert(sizeof(struct bh_nvme_resv_release) == 8, "reservation release");

/* Followed by regctl times bh_nvme_resv_ctrl, or with EDS (all of it) bh_nvme_resv_ctrl_ext. */
struct bh_nvme_resv_status {
	uint32_t gen;
	uint8_t rtype;
	uint8_t regctl[2];
	uint8_t rsvd7[2];
	uint8_t ptpls;
	uint8_t rsvd10[14];
};
static_assert(sizeof(struct bh_nvme_resv_status) == 24, "reservation status");
static_assert(offsetof(struct bh_nvme_resv_status, ptpls) == 9, "PTPLS");

struct bh_nvme_resv_status_ext {
	struct bh_nvme_resv_status head;
	uint8_t rsvd24[40];
};
static_assert(sizeof(struct bh_nvme_resv_status_ext) == 64, "extended reservation status");

struct bh_nvme_resv_ctrl {
	uint16_t cntlid;
	uint8_t rcsts; /* bit 0: holds the reservation */
	uint8_t rsvd3[5];
	uint64_t hostid;
	uint64_t rkey;
};
static_assert(sizeof(struct bh_nvme_resv_ctrl) == 24, "registered controller");

struct bh_nvme_resv_ctrl_ext {
	uint16_t cntlid;
	uint8_t rcsts;
	uint8_t rsvd3[5];
	uint64_t rkey;
	uint8_t hostid[16];
	uint8_t rsvd32[32];
};
static_assert(sizeof(struct bh_nvme_resv_ctrl_ext) == 64, "registered controller, extended");
static_assert(offsetof(struct bh_nvme_resv_ctrl_ext, hostid) == 16, "HOSTID");

/*
 * Names, all static text, never NULL: numbers without a name are "Vendor Specific ..." or
 * "Unknown ...". Any thread. Of a status field CRD, More and DNR are ignored.
 */
const char *bh_nvme_status_str(uint16_t sf);
const char *bh_nvme_admin_str(uint8_t opc);
const char *bh_nvme_cmd_str(uint8_t opc);
const char *bh_nvme_feat_str(uint8_t fid);
const char *bh_nvme_log_str(uint8_t lid);
const char *bh_nvme_csi_str(uint8_t csi);

/*
 * The errno that says about the same, negative; 0: success. -EILSEQ: protection information does
 * not fit (guard, application, reference, storage tag); -EBADE: Compare found a difference;
 * -ENODATA: unrecovered read error; -ENOSPC, -ERANGE (past the last block), -EROFS, -EACCES, -EBUSY
 * (reservation), -EOPNOTSUPP (opcode), -EINVAL (field), -ENODEV (no such
 * namespace), -ECANCELED (aborted), -ENOLINK (path); -EIO: any other. Any thread.
 */
int bh_nvme_status_errno(uint16_t sf);

#define BH_NVME_STATUS_FMT_MAX 128 /* bytes: enough for any status */

/*
 * "Invalid Field in Command (sct 0, sc 02h, DNR)": name, type and code, then CRD, More and DNR
 * where set. Writes at most `len` bytes, terminator included (len 0: nothing, buf may be NULL), and
 * cuts short what has no room. Returns buf. Any thread.
 */
char *bh_nvme_status_fmt(uint16_t sf, char *buf, size_t len);

#ifdef __cplusplus
}
#endif

#endif /* BELLHOP_NVME_SPEC_H */

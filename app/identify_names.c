/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "identify.h"

const struct identify_flag identify_oacs[] = {
	{ BH_NVME_OACS_SECURITY, "security" },
	{ BH_NVME_OACS_FORMAT, "format-nvm" },
	{ BH_NVME_OACS_FIRMWARE, "firmware" },
	{ BH_NVME_OACS_NS_MANAGEMENT, "namespace-management" },
	{ BH_NVME_OACS_SELF_TEST, "self-test" },
	{ BH_NVME_OACS_DIRECTIVES, "directives" },
	{ BH_NVME_OACS_NVME_MI, "nvme-mi" },
	{ BH_NVME_OACS_VIRT_MANAGEMENT, "virtualization-management" },
	{ BH_NVME_OACS_DOORBELL_BUFFER, "doorbell-buffer-config" },
	{ BH_NVME_OACS_GET_LBA_STATUS, "get-lba-status" },
	{ BH_NVME_OACS_LOCKDOWN, "lockdown" },
	{ 0, NULL },
};

const struct identify_flag identify_oncs[] = {
	{ BH_NVME_ONCS_COMPARE, "compare" },
	{ BH_NVME_ONCS_WRITE_UNCORRECTABLE, "write-uncorrectable" },
	{ BH_NVME_ONCS_DSM, "dataset-management" },
	{ BH_NVME_ONCS_WRITE_ZEROES, "write-zeroes" },
	{ BH_NVME_ONCS_FEATURES_SAVE, "save-features" },
	{ BH_NVME_ONCS_RESERVATIONS, "reservations" },
	{ BH_NVME_ONCS_TIMESTAMP, "timestamp" },
	{ BH_NVME_ONCS_VERIFY, "verify" },
	{ BH_NVME_ONCS_COPY, "copy" },
	{ 0, NULL },
};

/* The lowest two bits are one field: 1 byte aligned, 2 dword aligned. */
const struct identify_flag identify_sgls[] = {
	{ BH_NVME_SGLS_BYTE_ALIGNED, "byte-aligned" },
	{ BH_NVME_SGLS_DWORD_ALIGNED, "dword-aligned" },
	{ BH_NVME_SGLS_KEYED, "keyed" },
	{ BH_NVME_SGLS_BIT_BUCKET, "bit-bucket" },
	{ BH_NVME_SGLS_MPTR_CONTIG, "metadata-contiguous" },
	{ BH_NVME_SGLS_LARGER_LENGTH, "larger-length" },
	{ BH_NVME_SGLS_MPTR_SGL, "metadata-sgl" },
	{ BH_NVME_SGLS_OFFSET, "offset" },
	{ BH_NVME_SGLS_TRANSPORT, "transport" },
	{ 0, NULL },
};

const struct identify_flag identify_lpa[] = {
	{ BH_NVME_LPA_SMART_PER_NS, "smart-per-namespace" },
	{ BH_NVME_LPA_EFFECTS, "commands-effects" },
	{ BH_NVME_LPA_EXTENDED, "extended-data" },
	{ BH_NVME_LPA_TELEMETRY, "telemetry" },
	{ BH_NVME_LPA_PERSISTENT_EVENT, "persistent-event" },
	{ BH_NVME_LPA_SUPPORTED_LOGS, "supported-logs" },
	{ BH_NVME_LPA_TELEMETRY_AREA4, "telemetry-area-4" },
	{ 0, NULL },
};

const struct identify_flag identify_rescap[] = {
	{ BH_NVME_RESCAP_PTPL, "persist-through-power-loss" },
	{ BH_NVME_RESCAP_WRITE_EXCLUSIVE, "write-exclusive" },
	{ BH_NVME_RESCAP_EXCLUSIVE_ACCESS, "exclusive-access" },
	{ BH_NVME_RESCAP_WRITE_EXCLUSIVE_RO, "write-exclusive-registrants-only" },
	{ BH_NVME_RESCAP_EXCLUSIVE_ACCESS_RO, "exclusive-access-registrants-only" },
	{ BH_NVME_RESCAP_WRITE_EXCLUSIVE_AR, "write-exclusive-all-registrants" },
	{ BH_NVME_RESCAP_EXCLUSIVE_ACCESS_AR, "exclusive-access-all-registrants" },
	{ 0, NULL },
};

const struct identify_flag identify_oaes[] = {
	{ BH_NVME_OAES_NS_ATTR, "namespace-attribute" },
	{ BH_NVME_OAES_FW_ACTIVATION, "firmware-activation" },
	{ BH_NVME_OAES_ANA, "asymmetric-access" },
	{ BH_NVME_OAES_PREDICTABLE_LATENCY, "predictable-latency" },
	{ BH_NVME_OAES_LBA_STATUS, "lba-status" },
	{ BH_NVME_OAES_ENDURANCE_GROUP, "endurance-group" },
	{ BH_NVME_OAES_NORMAL_SHUTDOWN, "normal-shutdown" },
	{ BH_NVME_OAES_ZONE_DESC, "zone-descriptor" },
	{ BH_NVME_OAES_DISCOVERY, "discovery" },
	{ 0, NULL },
};

const struct identify_flag identify_nsfeat[] = {
	{ BH_NVME_NSFEAT_THIN, "thin-provisioning" },
	{ BH_NVME_NSFEAT_NSABP, "own-atomic-parameters" },
	{ BH_NVME_NSFEAT_DAE, "deallocated-error" },
	{ BH_NVME_NSFEAT_UIDREUSE, "no-id-reuse" },
	{ BH_NVME_NSFEAT_OPTPERF, "optimal-io" },
	{ 0, NULL },
};

const struct identify_flag identify_dpc_flags[] = {
	{ BH_NVME_DPC_TYPE1, "type-1" },    { BH_NVME_DPC_TYPE2, "type-2" },
	{ BH_NVME_DPC_TYPE3, "type-3" },    { BH_NVME_DPC_FIRST, "first-bytes" },
	{ BH_NVME_DPC_LAST, "last-bytes" }, { 0, NULL },
};

const char *identify_text(const char *field, size_t len, char out[IDENTIFY_TEXT])
{
	len = strnlen(field, len < IDENTIFY_TEXT ? len : IDENTIFY_TEXT - 1);
	while (len > 0 && field[len - 1] == ' ')
		len--;
	for (size_t i = 0; i < len; i++)
		out[i] = field[i] >= 0x20 && field[i] <= 0x7e ? field[i] : '?';
	out[len] = '\0';
	return out;
}

const char *identify_version(uint32_t vs, char out[IDENTIFY_TEXT])
{
	snprintf(out, IDENTIFY_TEXT, "%u.%u.%u", (unsigned int)BH_NVME_GET(vs, VS_MJR),
		 (unsigned int)BH_NVME_GET(vs, VS_MNR), (unsigned int)BH_NVME_GET(vs, VS_TER));
	return out;
}

static bool is_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] != 0)
			return false;
	}
	return true;
}

const char *identify_hex(const uint8_t *bytes, size_t n, char out[IDENTIFY_TEXT])
{
	for (size_t i = 0; i < n && i < (IDENTIFY_TEXT - 1) / 2; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return is_zero(bytes, n) ? NULL : out;
}

const char *identify_uuid(const uint8_t uuid[16], char out[IDENTIFY_UUID])
{
	char *to = out;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		to += snprintf(to, 3, "%02x", uuid[i]);
	}
	return is_zero(uuid, 16) ? NULL : out;
}

const char *identify_type(uint8_t cntrltype)
{
	switch (cntrltype) {
	case 0:
		return "not reported";
	case BH_NVME_CNTRLTYPE_IO:
		return "I/O";
	case BH_NVME_CNTRLTYPE_DISCOVERY:
		return "discovery";
	case BH_NVME_CNTRLTYPE_ADMIN:
		return "administrative";
	default:
		return "reserved";
	}
}

uint64_t identify_mdts_bytes(const struct bh_nvme *nvme)
{
	uint8_t mdts = bh_nvme_ctrl_data(nvme)->mdts;
	unsigned int shift =
		mdts + 12u + (unsigned int)BH_NVME_GET(bh_nvme_reg_cap(nvme), CAP_MPSMIN);

	return mdts == 0 || shift > 63 ? 0 : 1ull << shift;
}

uint64_t identify_ns_bytes(const struct bh_nvme_ns *ns)
{
	struct bh_nvme_format f;
	uint64_t bytes;

	bh_nvme_ns_format(ns, &f);
	return __builtin_mul_overflow(bh_nvme_ns_blocks(ns), f.data_bytes, &bytes) ? UINT64_MAX
										   : bytes;
}

struct bh_nvme_ns *identify_ns_first(const struct app_nvme *n)
{
	return n->address.nsid ? bh_nvme_ns_get(n->nvme, n->address.nsid)
			       : bh_nvme_ns_first(n->nvme);
}

struct bh_nvme_ns *identify_ns_next(const struct app_nvme *n, struct bh_nvme_ns *ns)
{
	return n->address.nsid ? NULL : bh_nvme_ns_next(ns);
}

const char *identify_metadata(const struct bh_nvme_ns *ns, char out[IDENTIFY_TEXT])
{
	struct bh_nvme_format f;
	char guard[32] = "guard not known";
	int n;

	bh_nvme_ns_format(ns, &f);
	if (!f.md_bytes) {
		snprintf(out, IDENTIFY_TEXT, "none");
		return out;
	}
	if (f.guard_bits)
		snprintf(guard, sizeof(guard), "%u-bit guard", f.guard_bits);
	n = snprintf(out, IDENTIFY_TEXT, "%u bytes, %s", f.md_bytes,
		     f.interleaved ? "interleaved" : "separate");
	if (f.pi_type)
		n += snprintf(out + n, IDENTIFY_TEXT - (size_t)n,
			      "; protection information type %u, %s, %s", f.pi_type,
			      f.pi_first ? "first" : "last", guard);
	if (!f.served)
		snprintf(out + n, IDENTIFY_TEXT - (size_t)n, "; not served");
	return out;
}

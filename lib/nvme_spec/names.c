/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of opcodes, features and log pages, as the specification writes them.
 *
 * Each kind of number has a sorted table that is searched by halves: names are for people and logs,
 * so the tables are small and constant rather than fast. The invariant, ascending numbers, is what
 * the unit test checks by finding every row.
 */
#include "nvme_spec/names.h"

#include <bellhop/nvme_spec.h>

const char *bh__nvme_name_find(const struct bh__nvme_name *table, size_t count, uint16_t number)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (table[mid].number == number)
			return table[mid].text;
		if (table[mid].number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static const struct bh__nvme_name admin_names[] = {
	{ BH_NVME_ADMIN_DELETE_SQ, "Delete I/O Submission Queue" },
	{ BH_NVME_ADMIN_CREATE_SQ, "Create I/O Submission Queue" },
	{ BH_NVME_ADMIN_GET_LOG_PAGE, "Get Log Page" },
	{ BH_NVME_ADMIN_DELETE_CQ, "Delete I/O Completion Queue" },
	{ BH_NVME_ADMIN_CREATE_CQ, "Create I/O Completion Queue" },
	{ BH_NVME_ADMIN_IDENTIFY, "Identify" },
	{ BH_NVME_ADMIN_ABORT, "Abort" },
	{ BH_NVME_ADMIN_SET_FEATURES, "Set Features" },
	{ BH_NVME_ADMIN_GET_FEATURES, "Get Features" },
	{ BH_NVME_ADMIN_ASYNC_EVENT, "Asynchronous Event Request" },
	{ BH_NVME_ADMIN_NS_MANAGEMENT, "Namespace Management" },
	{ BH_NVME_ADMIN_FW_COMMIT, "Firmware Commit" },
	{ BH_NVME_ADMIN_FW_DOWNLOAD, "Firmware Image Download" },
	{ BH_NVME_ADMIN_DEVICE_SELF_TEST, "Device Self-test" },
	{ BH_NVME_ADMIN_NS_ATTACHMENT, "Namespace Attachment" },
	{ BH_NVME_ADMIN_KEEP_ALIVE, "Keep Alive" },
	{ BH_NVME_ADMIN_DIRECTIVE_SEND, "Directive Send" },
	{ BH_NVME_ADMIN_DIRECTIVE_RECV, "Directive Receive" },
	{ BH_NVME_ADMIN_VIRT_MANAGEMENT, "Virtualization Management" },
	{ BH_NVME_ADMIN_NVME_MI_SEND, "NVMe-MI Send" },
	{ BH_NVME_ADMIN_NVME_MI_RECV, "NVMe-MI Receive" },
	{ BH_NVME_ADMIN_CAPACITY_MANAGEMENT, "Capacity Management" },
	{ BH_NVME_ADMIN_LOCKDOWN, "Lockdown" },
	{ BH_NVME_ADMIN_DOORBELL_BUFFER_CONFIG, "Doorbell Buffer Config" },
	{ BH_NVME_ADMIN_FABRICS, "Fabrics Command" },
	{ BH_NVME_ADMIN_FORMAT_NVM, "Format NVM" },
	{ BH_NVME_ADMIN_SECURITY_SEND, "Security Send" },
	{ BH_NVME_ADMIN_SECURITY_RECV, "Security Receive" },
	{ BH_NVME_ADMIN_SANITIZE, "Sanitize" },
	{ BH_NVME_ADMIN_GET_LBA_STATUS, "Get LBA Status" },
};

static const struct bh__nvme_name cmd_names[] = {
	{ BH_NVME_CMD_FLUSH, "Flush" },
	{ BH_NVME_CMD_WRITE, "Write" },
	{ BH_NVME_CMD_READ, "Read" },
	{ BH_NVME_CMD_WRITE_UNCORRECTABLE, "Write Uncorrectable" },
	{ BH_NVME_CMD_COMPARE, "Compare" },
	{ BH_NVME_CMD_WRITE_ZEROES, "Write Zeroes" },
	{ BH_NVME_CMD_DSM, "Dataset Management" },
	{ BH_NVME_CMD_VERIFY, "Verify" },
	{ BH_NVME_CMD_RESV_REGISTER, "Reservation Register" },
	{ BH_NVME_CMD_RESV_REPORT, "Reservation Report" },
	{ BH_NVME_CMD_RESV_ACQUIRE, "Reservation Acquire" },
	{ BH_NVME_CMD_RESV_RELEASE, "Reservation Release" },
	{ BH_NVME_CMD_COPY, "Copy" },
	{ BH_NVME_CMD_ZONE_MGMT_SEND, "Zone Management Send" },
	{ BH_NVME_CMD_ZONE_MGMT_RECV, "Zone Management Receive" },
	{ BH_NVME_CMD_ZONE_APPEND, "Zone Append" },
};

static const struct bh__nvme_name feat_names[] = {
	{ BH_NVME_FEAT_ARBITRATION, "Arbitration" },
	{ BH_NVME_FEAT_POWER_MANAGEMENT, "Power Management" },
	{ BH_NVME_FEAT_LBA_RANGE_TYPE, "LBA Range Type" },
	{ BH_NVME_FEAT_TEMPERATURE_THRESHOLD, "Temperature Threshold" },
	{ BH_NVME_FEAT_ERROR_RECOVERY, "Error Recovery" },
	{ BH_NVME_FEAT_VOLATILE_WRITE_CACHE, "Volatile Write Cache" },
	{ BH_NVME_FEAT_NUMBER_OF_QUEUES, "Number of Queues" },
	{ BH_NVME_FEAT_INTERRUPT_COALESCING, "Interrupt Coalescing" },
	{ BH_NVME_FEAT_INTERRUPT_VECTOR_CONFIG, "Interrupt Vector Configuration" },
	{ BH_NVME_FEAT_WRITE_ATOMICITY, "Write Atomicity Normal" },
	{ BH_NVME_FEAT_ASYNC_EVENT_CONFIG, "Asynchronous Event Configuration" },
	{ BH_NVME_FEAT_APST, "Autonomous Power State Transition" },
	{ BH_NVME_FEAT_HOST_MEMORY_BUFFER, "Host Memory Buffer" },
	{ BH_NVME_FEAT_TIMESTAMP, "Timestamp" },
	{ BH_NVME_FEAT_KEEP_ALIVE_TIMER, "Keep Alive Timer" },
	{ BH_NVME_FEAT_HOST_THERMAL_MANAGEMENT, "Host Controlled Thermal Management" },
	{ BH_NVME_FEAT_NON_OPERATIONAL_POWER, "Non-Operational Power State Config" },
	{ BH_NVME_FEAT_READ_RECOVERY_LEVEL, "Read Recovery Level Config" },
	{ BH_NVME_FEAT_PLM_CONFIG, "Predictable Latency Mode Config" },
	{ BH_NVME_FEAT_PLM_WINDOW, "Predictable Latency Mode Window" },
	{ BH_NVME_FEAT_LBA_STATUS_INTERVAL, "LBA Status Information Report Interval" },
	{ BH_NVME_FEAT_HOST_BEHAVIOR, "Host Behavior Support" },
	{ BH_NVME_FEAT_SANITIZE_CONFIG, "Sanitize Config" },
	{ BH_NVME_FEAT_ENDURANCE_GROUP_EVENT, "Endurance Group Event Configuration" },
	{ BH_NVME_FEAT_IOCS_PROFILE, "I/O Command Set Profile" },
	{ BH_NVME_FEAT_SPINUP_CONTROL, "Spinup Control" },
	{ BH_NVME_FEAT_KV_CONFIG, "Key Value Configuration" },
	{ BH_NVME_FEAT_ENHANCED_CTRL_METADATA, "Enhanced Controller Metadata" },
	{ BH_NVME_FEAT_CTRL_METADATA, "Controller Metadata" },
	{ BH_NVME_FEAT_NS_METADATA, "Namespace Metadata" },
	{ BH_NVME_FEAT_SOFTWARE_PROGRESS, "Software Progress Marker" },
	{ BH_NVME_FEAT_HOST_ID, "Host Identifier" },
	{ BH_NVME_FEAT_RESV_NOTIFICATION_MASK, "Reservation Notification Mask" },
	{ BH_NVME_FEAT_RESV_PERSISTENCE, "Reservation Persistence" },
	{ BH_NVME_FEAT_NS_WRITE_PROTECTION, "Namespace Write Protection Config" },
};

static const struct bh__nvme_name log_names[] = {
	{ BH_NVME_LOG_SUPPORTED, "Supported Log Pages" },
	{ BH_NVME_LOG_ERROR, "Error Information" },
	{ BH_NVME_LOG_SMART, "SMART / Health Information" },
	{ BH_NVME_LOG_FW_SLOT, "Firmware Slot Information" },
	{ BH_NVME_LOG_CHANGED_NS, "Changed Namespace List" },
	{ BH_NVME_LOG_EFFECTS, "Commands Supported and Effects" },
	{ BH_NVME_LOG_SELF_TEST, "Device Self-test" },
	{ BH_NVME_LOG_TELEMETRY_HOST, "Telemetry Host-Initiated" },
	{ BH_NVME_LOG_TELEMETRY_CTRL, "Telemetry Controller-Initiated" },
	{ BH_NVME_LOG_ENDURANCE_GROUP, "Endurance Group Information" },
	{ BH_NVME_LOG_PL_NVM_SET, "Predictable Latency Per NVM Set" },
	{ BH_NVME_LOG_PL_EVENT, "Predictable Latency Event Aggregate" },
	{ BH_NVME_LOG_ANA, "Asymmetric Namespace Access" },
	{ BH_NVME_LOG_PERSISTENT_EVENT, "Persistent Event Log" },
	{ BH_NVME_LOG_LBA_STATUS, "LBA Status Information" },
	{ BH_NVME_LOG_ENDURANCE_GROUP_EVENT, "Endurance Group Event Aggregate" },
	{ BH_NVME_LOG_MEDIA_UNIT, "Media Unit Status" },
	{ BH_NVME_LOG_CAPACITY_CONFIG, "Supported Capacity Configuration List" },
	{ BH_NVME_LOG_FEATURE_EFFECTS, "Feature Identifiers Supported and Effects" },
	{ BH_NVME_LOG_MI_EFFECTS, "NVMe-MI Commands Supported and Effects" },
	{ BH_NVME_LOG_LOCKDOWN, "Command and Feature Lockdown" },
	{ BH_NVME_LOG_BOOT_PARTITION, "Boot Partition" },
	{ BH_NVME_LOG_ROTATIONAL_MEDIA, "Rotational Media Information" },
	{ BH_NVME_LOG_DISCOVERY, "Discovery" },
	{ BH_NVME_LOG_RESERVATION, "Reservation Notification" },
	{ BH_NVME_LOG_SANITIZE, "Sanitize Status" },
	{ BH_NVME_LOG_CHANGED_ZONES, "Changed Zone List" },
};

static const struct bh__nvme_name csi_names[] = {
	{ BH_NVME_CSI_NVM, "NVM" },
	{ BH_NVME_CSI_KV, "Key Value" },
	{ BH_NVME_CSI_ZNS, "Zoned Namespace" },
	{ BH_NVME_CSI_SLM, "Subsystem Local Memory" },
	{ BH_NVME_CSI_CP, "Computational Programs" },
};

const char *bh_nvme_admin_str(uint8_t opc)
{
	const char *text = bh__nvme_name_of(admin_names, opc);

	if (text != NULL)
		return text;
	return opc >= BH_NVME_ADMIN_VENDOR_FIRST ? "Vendor Specific Command" : "Unknown Command";
}

const char *bh_nvme_cmd_str(uint8_t opc)
{
	const char *text = bh__nvme_name_of(cmd_names, opc);

	if (text != NULL)
		return text;
	return opc >= BH_NVME_CMD_VENDOR_FIRST ? "Vendor Specific Command" : "Unknown Command";
}

const char *bh_nvme_feat_str(uint8_t fid)
{
	const char *text = bh__nvme_name_of(feat_names, fid);

	if (text != NULL)
		return text;
	return fid >= BH_NVME_FEAT_VENDOR_FIRST ? "Vendor Specific Feature" : "Unknown Feature";
}

const char *bh_nvme_log_str(uint8_t lid)
{
	const char *text = bh__nvme_name_of(log_names, lid);

	if (text != NULL)
		return text;
	return lid >= BH_NVME_LOG_VENDOR_FIRST ? "Vendor Specific Log" : "Unknown Log";
}

const char *bh_nvme_csi_str(uint8_t csi)
{
	const char *text = bh__nvme_name_of(csi_names, csi);

	if (text != NULL)
		return text;
	return csi >= BH_NVME_CSI_VENDOR_FIRST ? "Vendor Specific" : "Unknown";
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of status codes (base 3.3.3.2.1), and a status field in words.
 *
 * The table is by SCT and SC together, sorted, so that one search serves all types. What the table
 * does not name is told apart by range only: type 7h, and codes C0h and above of types 0h to 3h,
 * are the vendor's; the rest, types 4h to 6h included, is reserved or of a later specification.
 */
#include "nvme_spec/names.h"

#include <errno.h>
#include <stdio.h>

#include <bellhop/nvme_spec.h>

#define SC_VENDOR_FIRST 0xc0u /* within a type */

static const struct bh__nvme_name status_names[] = {
	{ BH_NVME_SC_SUCCESS, "Successful Completion" },
	{ BH_NVME_SC_INVALID_OPCODE, "Invalid Command Opcode" },
	{ BH_NVME_SC_INVALID_FIELD, "Invalid Field in Command" },
	{ BH_NVME_SC_CID_CONFLICT, "Command ID Conflict" },
	{ BH_NVME_SC_DATA_TRANSFER_ERROR, "Data Transfer Error" },
	{ BH_NVME_SC_POWER_LOSS, "Commands Aborted due to Power Loss Notification" },
	{ BH_NVME_SC_INTERNAL_ERROR, "Internal Error" },
	{ BH_NVME_SC_ABORTED_BY_REQUEST, "Command Abort Requested" },
	{ BH_NVME_SC_ABORTED_SQ_DELETION, "Command Aborted due to SQ Deletion" },
	{ BH_NVME_SC_ABORTED_FAILED_FUSED, "Command Aborted due to Failed Fused Command" },
	{ BH_NVME_SC_ABORTED_MISSING_FUSED, "Command Aborted due to Missing Fused Command" },
	{ BH_NVME_SC_INVALID_NS, "Invalid Namespace or Format" },
	{ BH_NVME_SC_COMMAND_SEQUENCE_ERROR, "Command Sequence Error" },
	{ BH_NVME_SC_INVALID_SGL_SEGMENT, "Invalid SGL Segment Descriptor" },
	{ BH_NVME_SC_INVALID_SGL_COUNT, "Invalid Number of SGL Descriptors" },
	{ BH_NVME_SC_SGL_DATA_LENGTH_INVALID, "Data SGL Length Invalid" },
	{ BH_NVME_SC_METADATA_SGL_LENGTH_INVALID, "Metadata SGL Length Invalid" },
	{ BH_NVME_SC_SGL_TYPE_INVALID, "SGL Descriptor Type Invalid" },
	{ BH_NVME_SC_CMB_INVALID_USE, "Invalid Use of Controller Memory Buffer" },
	{ BH_NVME_SC_PRP_OFFSET_INVALID, "PRP Offset Invalid" },
	{ BH_NVME_SC_ATOMIC_WRITE_UNIT_EXCEEDED, "Atomic Write Unit Exceeded" },
	{ BH_NVME_SC_OPERATION_DENIED, "Operation Denied" },
	{ BH_NVME_SC_SGL_OFFSET_INVALID, "SGL Offset Invalid" },
	{ BH_NVME_SC_HOSTID_INCONSISTENT_FORMAT, "Host Identifier Inconsistent Format" },
	{ BH_NVME_SC_KEEP_ALIVE_EXPIRED, "Keep Alive Timer Expired" },
	{ BH_NVME_SC_KEEP_ALIVE_INVALID, "Keep Alive Timeout Invalid" },
	{ BH_NVME_SC_ABORTED_PREEMPT, "Command Aborted due to Preempt and Abort" },
	{ BH_NVME_SC_SANITIZE_FAILED, "Sanitize Failed" },
	{ BH_NVME_SC_SANITIZE_IN_PROGRESS, "Sanitize In Progress" },
	{ BH_NVME_SC_SGL_GRANULARITY_INVALID, "SGL Data Block Granularity Invalid" },
	{ BH_NVME_SC_NOT_SUPPORTED_IN_CMB, "Command Not Supported for Queue in CMB" },
	{ BH_NVME_SC_NS_WRITE_PROTECTED, "Namespace is Write Protected" },
	{ BH_NVME_SC_COMMAND_INTERRUPTED, "Command Interrupted" },
	{ BH_NVME_SC_TRANSIENT_TRANSPORT_ERROR, "Transient Transport Error" },
	{ BH_NVME_SC_PROHIBITED_BY_LOCKDOWN, "Command Prohibited by Command and Feature Lockdown" },
	{ BH_NVME_SC_ADMIN_MEDIA_NOT_READY, "Admin Command Media Not Ready" },
	{ BH_NVME_SC_LBA_OUT_OF_RANGE, "LBA Out of Range" },
	{ BH_NVME_SC_CAPACITY_EXCEEDED, "Capacity Exceeded" },
	{ BH_NVME_SC_NS_NOT_READY, "Namespace Not Ready" },
	{ BH_NVME_SC_RESERVATION_CONFLICT, "Reservation Conflict" },
	{ BH_NVME_SC_FORMAT_IN_PROGRESS, "Format In Progress" },
	{ BH_NVME_SC_KV_INVALID_VALUE_SIZE, "Invalid Value Size" },
	{ BH_NVME_SC_KV_INVALID_KEY_SIZE, "Invalid Key Size" },
	{ BH_NVME_SC_KV_KEY_NOT_FOUND, "KV Key Does Not Exist" },
	{ BH_NVME_SC_KV_UNRECOVERED_ERROR, "Unrecovered Error" },
	{ BH_NVME_SC_KV_KEY_EXISTS, "Key Exists" },

	{ BH_NVME_SC_COMPLETION_QUEUE_INVALID, "Completion Queue Invalid" },
	{ BH_NVME_SC_INVALID_QUEUE_ID, "Invalid Queue Identifier" },
	{ BH_NVME_SC_INVALID_QUEUE_SIZE, "Invalid Queue Size" },
	{ BH_NVME_SC_ABORT_LIMIT_EXCEEDED, "Abort Command Limit Exceeded" },
	{ BH_NVME_SC_ASYNC_EVENT_LIMIT_EXCEEDED, "Asynchronous Event Request Limit Exceeded" },
	{ BH_NVME_SC_INVALID_FIRMWARE_SLOT, "Invalid Firmware Slot" },
	{ BH_NVME_SC_INVALID_FIRMWARE_IMAGE, "Invalid Firmware Image" },
	{ BH_NVME_SC_INVALID_INTERRUPT_VECTOR, "Invalid Interrupt Vector" },
	{ BH_NVME_SC_INVALID_LOG_PAGE, "Invalid Log Page" },
	{ BH_NVME_SC_INVALID_FORMAT, "Invalid Format" },
	{ BH_NVME_SC_FW_NEEDS_CONVENTIONAL_RESET,
	  "Firmware Activation Requires Conventional Reset" },
	{ BH_NVME_SC_INVALID_QUEUE_DELETION, "Invalid Queue Deletion" },
	{ BH_NVME_SC_FEATURE_NOT_SAVEABLE, "Feature Identifier Not Saveable" },
	{ BH_NVME_SC_FEATURE_NOT_CHANGEABLE, "Feature Not Changeable" },
	{ BH_NVME_SC_FEATURE_NOT_NS_SPECIFIC, "Feature Not Namespace Specific" },
	{ BH_NVME_SC_FW_NEEDS_SUBSYSTEM_RESET, "Firmware Activation Requires NVM Subsystem Reset" },
	{ BH_NVME_SC_FW_NEEDS_CONTROLLER_RESET,
	  "Firmware Activation Requires Controller Level Reset" },
	{ BH_NVME_SC_FW_NEEDS_MAX_TIME_VIOLATION,
	  "Firmware Activation Requires Maximum Time Violation" },
	{ BH_NVME_SC_FW_ACTIVATION_PROHIBITED, "Firmware Activation Prohibited" },
	{ BH_NVME_SC_OVERLAPPING_RANGE, "Overlapping Range" },
	{ BH_NVME_SC_NS_INSUFFICIENT_CAPACITY, "Namespace Insufficient Capacity" },
	{ BH_NVME_SC_NSID_UNAVAILABLE, "Namespace Identifier Unavailable" },
	{ BH_NVME_SC_NS_ALREADY_ATTACHED, "Namespace Already Attached" },
	{ BH_NVME_SC_NS_PRIVATE, "Namespace Is Private" },
	{ BH_NVME_SC_NS_NOT_ATTACHED, "Namespace Not Attached" },
	{ BH_NVME_SC_THIN_NOT_SUPPORTED, "Thin Provisioning Not Supported" },
	{ BH_NVME_SC_CTRL_LIST_INVALID, "Controller List Invalid" },
	{ BH_NVME_SC_SELF_TEST_IN_PROGRESS, "Device Self-test In Progress" },
	{ BH_NVME_SC_BOOT_PARTITION_WRITE_PROHIBITED, "Boot Partition Write Prohibited" },
	{ BH_NVME_SC_INVALID_CTRL_ID, "Invalid Controller Identifier" },
	{ BH_NVME_SC_INVALID_SECONDARY_STATE, "Invalid Secondary Controller State" },
	{ BH_NVME_SC_INVALID_RESOURCE_COUNT, "Invalid Number of Controller Resources" },
	{ BH_NVME_SC_INVALID_RESOURCE_ID, "Invalid Resource Identifier" },
	{ BH_NVME_SC_SANITIZE_PROHIBITED_PMR,
	  "Sanitize Prohibited While Persistent Memory Region is Enabled" },
	{ BH_NVME_SC_ANA_GROUP_INVALID, "ANA Group Identifier Invalid" },
	{ BH_NVME_SC_ANA_ATTACH_FAILED, "ANA Attach Failed" },
	{ BH_NVME_SC_INSUFFICIENT_CAPACITY, "Insufficient Capacity" },
	{ BH_NVME_SC_NS_ATTACH_LIMIT_EXCEEDED, "Namespace Attachment Limit Exceeded" },
	{ BH_NVME_SC_LOCKDOWN_NOT_SUPPORTED, "Prohibition of Command Execution Not Supported" },
	{ BH_NVME_SC_IOCS_NOT_SUPPORTED, "I/O Command Set Not Supported" },
	{ BH_NVME_SC_IOCS_NOT_ENABLED, "I/O Command Set Not Enabled" },
	{ BH_NVME_SC_IOCS_COMBINATION_REJECTED, "I/O Command Set Combination Rejected" },
	{ BH_NVME_SC_INVALID_IOCS, "Invalid I/O Command Set" },
	{ BH_NVME_SC_ID_UNAVAILABLE, "Identifier Unavailable" },
	{ BH_NVME_SC_STREAM_ALLOCATION_FAILED, "Stream Resource Allocation Failed" },
	{ BH_NVME_SC_CONFLICTING_ATTRIBUTES, "Conflicting Attributes" },
	{ BH_NVME_SC_INVALID_PROTECTION_INFO, "Invalid Protection Information" },
	{ BH_NVME_SC_WRITE_TO_READ_ONLY, "Attempted Write to Read Only Range" },
	{ BH_NVME_SC_COMMAND_SIZE_LIMIT_EXCEEDED, "Command Size Limit Exceeded" },
	{ BH_NVME_SC_ZONE_INVALID_OPERATION, "Invalid Zone Operation Request" },
	{ BH_NVME_SC_ZONE_ZRWA_UNAVAILABLE, "ZRWA Resources Unavailable" },
	{ BH_NVME_SC_ZONE_BOUNDARY_ERROR, "Zone Boundary Error" },
	{ BH_NVME_SC_ZONE_IS_FULL, "Zone Is Full" },
	{ BH_NVME_SC_ZONE_IS_READ_ONLY, "Zone Is Read Only" },
	{ BH_NVME_SC_ZONE_IS_OFFLINE, "Zone Is Offline" },
	{ BH_NVME_SC_ZONE_INVALID_WRITE, "Zone Invalid Write" },
	{ BH_NVME_SC_ZONE_TOO_MANY_ACTIVE, "Too Many Active Zones" },
	{ BH_NVME_SC_ZONE_TOO_MANY_OPEN, "Too Many Open Zones" },
	{ BH_NVME_SC_ZONE_INVALID_TRANSITION, "Invalid Zone State Transition" },

	{ BH_NVME_SC_WRITE_FAULT, "Write Fault" },
	{ BH_NVME_SC_UNRECOVERED_READ_ERROR, "Unrecovered Read Error" },
	{ BH_NVME_SC_GUARD_CHECK_ERROR, "End-to-end Guard Check Error" },
	{ BH_NVME_SC_APPTAG_CHECK_ERROR, "End-to-end Application Tag Check Error" },
	{ BH_NVME_SC_REFTAG_CHECK_ERROR, "End-to-end Reference Tag Check Error" },
	{ BH_NVME_SC_COMPARE_FAILURE, "Compare Failure" },
	{ BH_NVME_SC_ACCESS_DENIED, "Access Denied" },
	{ BH_NVME_SC_DEALLOCATED_OR_UNWRITTEN, "Deallocated or Unwritten Logical Block" },
	{ BH_NVME_SC_STORAGE_TAG_CHECK_ERROR, "End-to-end Storage Tag Check Error" },

	{ BH_NVME_SC_INTERNAL_PATH_ERROR, "Internal Path Error" },
	{ BH_NVME_SC_ANA_PERSISTENT_LOSS, "Asymmetric Access Persistent Loss" },
	{ BH_NVME_SC_ANA_INACCESSIBLE, "Asymmetric Access Inaccessible" },
	{ BH_NVME_SC_ANA_TRANSITION, "Asymmetric Access Transition" },
	{ BH_NVME_SC_CONTROLLER_PATH_ERROR, "Controller Pathing Error" },
	{ BH_NVME_SC_HOST_PATH_ERROR, "Host Pathing Error" },
	{ BH_NVME_SC_ABORTED_BY_HOST, "Command Aborted By Host" },
};

static unsigned int type_of(uint16_t sf)
{
	return ((unsigned int)sf >> BH_NVME_STATUS_SCT_SHIFT) & BH_NVME_STATUS_SCT_MASK;
}

const char *bh_nvme_status_str(uint16_t sf)
{
	const char *text = bh__nvme_name_of(status_names, sf & BH_NVME_STATUS_SC_MASK);

	if (text != NULL)
		return text;
	if (type_of(sf) == BH_NVME_SCT_VENDOR)
		return "Vendor Specific Status";
	if (type_of(sf) <= BH_NVME_SCT_PATH && (sf & 0xffu) >= SC_VENDOR_FIRST)
		return "Vendor Specific Status";
	return "Unknown Status";
}

char *bh_nvme_status_fmt(uint16_t sf, char *buf, size_t len)
{
	unsigned int crd = ((unsigned int)sf >> BH_NVME_STATUS_CRD_SHIFT) & BH_NVME_STATUS_CRD_MASK;
	char delay[] = { ',', ' ', 'C', 'R', 'D', ' ', (char)('0' + crd), '\0' };

	if (len == 0)
		return buf;
	snprintf(buf, len, "%s (sct %u, sc %02xh%s%s%s)", bh_nvme_status_str(sf), type_of(sf),
		 sf & 0xffu, crd != 0 ? delay : "", (sf & BH_NVME_STATUS_MORE) ? ", More" : "",
		 (sf & BH_NVME_STATUS_DNR) ? ", DNR" : "");
	return buf;
}

int bh_nvme_status_errno(uint16_t sf)
{
	switch (sf & BH_NVME_STATUS_SC_MASK) {
	case BH_NVME_SC_SUCCESS:
		return 0;
	case BH_NVME_SC_GUARD_CHECK_ERROR:
	case BH_NVME_SC_APPTAG_CHECK_ERROR:
	case BH_NVME_SC_REFTAG_CHECK_ERROR:
	case BH_NVME_SC_STORAGE_TAG_CHECK_ERROR:
		return -EILSEQ;
	case BH_NVME_SC_COMPARE_FAILURE:
		return -EBADE;
	case BH_NVME_SC_UNRECOVERED_READ_ERROR:
	case BH_NVME_SC_DEALLOCATED_OR_UNWRITTEN:
		return -ENODATA;
	case BH_NVME_SC_CAPACITY_EXCEEDED:
		return -ENOSPC;
	case BH_NVME_SC_LBA_OUT_OF_RANGE:
		return -ERANGE;
	case BH_NVME_SC_NS_WRITE_PROTECTED:
	case BH_NVME_SC_WRITE_TO_READ_ONLY:
		return -EROFS;
	case BH_NVME_SC_ACCESS_DENIED:
		return -EACCES;
	case BH_NVME_SC_RESERVATION_CONFLICT:
		return -EBUSY;
	case BH_NVME_SC_INVALID_OPCODE:
		return -EOPNOTSUPP;
	case BH_NVME_SC_INVALID_FIELD:
	case BH_NVME_SC_INVALID_PROTECTION_INFO:
		return -EINVAL;
	case BH_NVME_SC_INVALID_NS:
		return -ENODEV;
	case BH_NVME_SC_ABORTED_BY_REQUEST:
	case BH_NVME_SC_ABORTED_SQ_DELETION:
	case BH_NVME_SC_ABORTED_BY_HOST:
		return -ECANCELED;
	case BH_NVME_SC_INTERNAL_PATH_ERROR:
	case BH_NVME_SC_CONTROLLER_PATH_ERROR:
	case BH_NVME_SC_HOST_PATH_ERROR:
		return -ENOLINK;
	default:
		return -EIO;
	}
}

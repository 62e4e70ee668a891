/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log pages (NVMe 2.0 5.16).
 *
 * A page is built whole in the command's buffer and the part that was asked for is sent; what the
 * host asked for beyond the page's end is left as it was in its memory. Reading without Retain
 * Asynchronous Event clears the event, and the list of changed namespaces; if the data then
 * cannot be delivered, the list is put back.
 */
#include <string.h>

#include <bellhop/clock.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"
#include "target/nvme/telemetry.h"

#define NS_PER_HOUR (3600ull * 1000000000ull)

struct page {
	size_t bytes;
	void (*build)(struct tn_admin_cmd *cmd);
};

static const struct page *page_of(const struct bh_target_nvme *ctrl, uint8_t lid);

static void supported_log(struct tn_admin_cmd *cmd)
{
	struct bh_nvme_supported_logs *log = (struct bh_nvme_supported_logs *)cmd->data;
	unsigned int lid;

	for (lid = 0; lid < 256; lid++) {
		if (page_of(cmd->ctrl, (uint8_t)lid))
			log->lid[lid] = BH_NVME_LOG_LSUPP;
	}
}

/* Newest first. */
static void error_log(struct tn_admin_cmd *cmd)
{
	struct bh_target_nvme *ctrl = cmd->ctrl;
	struct bh_nvme_error_log *log = (struct bh_nvme_error_log *)cmd->data;
	uint64_t i, count;

	pthread_mutex_lock(&ctrl->error_lock);
	count = ctrl->error_count;
	for (i = 0; i < TN_ERROR_LOG_ENTRIES && i < count; i++)
		log[i] = ctrl->errors[(count - 1 - i) % TN_ERROR_LOG_ENTRIES];
	pthread_mutex_unlock(&ctrl->error_lock);
}

uint8_t tn_critical_warning(const struct bh_target_nvme *ctrl)
{
	const struct tn_features *f = &ctrl->features;

	return TN_TEMPERATURE >= f->temp_over || TN_TEMPERATURE <= f->temp_under
		       ? BH_NVME_SMART_TEMPERATURE
		       : 0;
}

static uint64_t data_units(uint64_t bytes)
{
	return bytes / 512000 + (bytes % 512000 != 0);
}

uint64_t tn_power_on_hours(const struct bh_target_nvme *ctrl)
{
	return (bh_now_ns() - tn_ctl(ctrl)->created_ns) / NS_PER_HOUR;
}

void tn_smart_fill(struct bh_target_nvme *ctrl, struct bh_nvme_smart_log *log)
{
	struct bh_target_nvme_stats stats;

	memset(&stats, 0, sizeof(stats));
	tn_io_stats(ctrl, &stats);
	log->critical_warning = tn_critical_warning(ctrl);
	log->temperature[0] = TN_TEMPERATURE & 0xff;
	log->temperature[1] = TN_TEMPERATURE >> 8;
	log->avail_spare = 100;
	log->data_units_read[0] = data_units(stats.counts.read_bytes);
	log->data_units_written[0] = data_units(stats.counts.write_bytes);
	log->host_reads[0] = stats.counts.reads;
	log->host_writes[0] = stats.counts.writes;
	log->power_cycles[0] = 1 + tn_ctl(ctrl)->clients_left;
	log->power_on_hours[0] = tn_power_on_hours(ctrl);
	log->unsafe_shutdowns[0] = tn_ctl(ctrl)->unsafe_shutdowns;
	log->busy_time[0] = tn_ctl(ctrl)->busy_seconds / 60;
	pthread_mutex_lock(&ctrl->error_lock);
	log->media_errors[0] = tn_ctl(ctrl)->media_errors;
	log->error_log_entries[0] = ctrl->error_count;
	pthread_mutex_unlock(&ctrl->error_lock);
}

static void smart_log(struct tn_admin_cmd *cmd)
{
	tn_smart_fill(cmd->ctrl, (struct bh_nvme_smart_log *)cmd->data);
}

static void fw_slot_log(struct tn_admin_cmd *cmd)
{
	struct bh_nvme_fw_slot_log *log = (struct bh_nvme_fw_slot_log *)cmd->data;

	log->afi = 1;
	tn_put_text(log->frs[0], sizeof(log->frs[0]), BH_VERSION);
}

static void changed_ns_log(struct tn_admin_cmd *cmd)
{
	struct bh_nvme_ns_list *log = (struct bh_nvme_ns_list *)cmd->data;
	const uint64_t *changed = tn_ctl(cmd->ctrl)->changed_ns;
	unsigned int n = 0;
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		if (changed[nsid / 64] & 1ull << nsid % 64)
			log->nsid[n++] = nsid;
	}
}

static uint32_t admin_effects(uint8_t opc)
{
	if (opc == BH_NVME_ADMIN_FORMAT_NVM) /* nothing else to the namespace meanwhile */
		return BH_NVME_EFFECT_LBCC | BH_NVME_EFFECT_NCC | BH_NVME_EFFECT_CSE_ONE_PER_NS;
	if (opc == BH_NVME_ADMIN_SANITIZE)
		return BH_NVME_EFFECT_LBCC | BH_NVME_EFFECT_CSE_ONE_PER_CTRL;
	return opc == BH_NVME_ADMIN_NS_MANAGEMENT || opc == BH_NVME_ADMIN_NS_ATTACHMENT
		       ? BH_NVME_EFFECT_NIC
		       : 0;
}

static void effects_log(struct tn_admin_cmd *cmd)
{
	struct bh_nvme_effects_log *log = (struct bh_nvme_effects_log *)cmd->data;
	unsigned int opc;

	for (opc = 0; opc < 256; opc++) {
		if (tn_admin_supports(cmd->ctrl, (uint8_t)opc))
			log->acs[opc] = BH_NVME_EFFECT_CSUPP | admin_effects((uint8_t)opc);
		if (!tn_io_supports(cmd->ctrl, (uint8_t)opc))
			continue;
		log->iocs[opc] = BH_NVME_EFFECT_CSUPP;
		if (opc == BH_NVME_CMD_WRITE || opc == BH_NVME_CMD_WRITE_ZEROES ||
		    opc == BH_NVME_CMD_DSM || opc == BH_NVME_CMD_WRITE_UNCORRECTABLE ||
		    opc == BH_NVME_CMD_COPY)
			log->iocs[opc] |= BH_NVME_EFFECT_LBCC;
	}
	if (BH_NVME_GET(cmd->sqe.cdw14, GLP_CSI) != BH_NVME_CSI_ZNS)
		return;
	log->iocs[BH_NVME_CMD_ZONE_APPEND] = BH_NVME_EFFECT_CSUPP | BH_NVME_EFFECT_LBCC;
	log->iocs[BH_NVME_CMD_ZONE_MGMT_SEND] = BH_NVME_EFFECT_CSUPP | BH_NVME_EFFECT_LBCC;
	log->iocs[BH_NVME_CMD_ZONE_MGMT_RECV] = BH_NVME_EFFECT_CSUPP;
	log->iocs[BH_NVME_CMD_WRITE_UNCORRECTABLE] = 0;
}

static void selftest_log(struct tn_admin_cmd *cmd)
{
	tn_selftest_log(cmd->ctrl, (struct bh_nvme_self_test_log *)cmd->data);
}

/* The oldest that has not been read, or zeros (base 5.16.1.24). */
static void resv_log(struct tn_admin_cmd *cmd)
{
	const struct tn_resv_notes *notes = &tn_ctl(cmd->ctrl)->resv_notes;
	struct bh_nvme_resv_log *log = (struct bh_nvme_resv_log *)cmd->data;

	if (!notes->count)
		return;
	*log = notes->log[0];
	log->available = (uint8_t)(notes->count - 1);
}

/* It has been read. The next one is an event of its own. */
static void resv_log_read(struct bh_target_nvme *ctrl)
{
	struct tn_resv_notes *notes = &tn_ctl(ctrl)->resv_notes;

	if (!notes->count)
		return;
	notes->count--;
	memmove(&notes->log[0], &notes->log[1], notes->count * sizeof(notes->log[0]));
	if (notes->count)
		tn_event_raise(ctrl, BH_NVME_AER_TYPE_IO, BH_NVME_AER_IO_RESERVATION_LOG,
			       BH_NVME_LOG_RESERVATION);
}

static void sanitize_log(struct tn_admin_cmd *cmd)
{
	tn_sanitize_log(cmd->ctrl, (struct bh_nvme_sanitize_log *)cmd->data);
}

static const struct page pages[] = {
	[BH_NVME_LOG_SUPPORTED] = { sizeof(struct bh_nvme_supported_logs), supported_log },
	[BH_NVME_LOG_ERROR] = { TN_ERROR_LOG_ENTRIES * sizeof(struct bh_nvme_error_log),
				error_log },
	[BH_NVME_LOG_SMART] = { sizeof(struct bh_nvme_smart_log), smart_log },
	[BH_NVME_LOG_FW_SLOT] = { sizeof(struct bh_nvme_fw_slot_log), fw_slot_log },
	[BH_NVME_LOG_CHANGED_NS] = { sizeof(struct bh_nvme_ns_list), changed_ns_log },
	[BH_NVME_LOG_EFFECTS] = { sizeof(struct bh_nvme_effects_log), effects_log },
	[BH_NVME_LOG_SELF_TEST] = { sizeof(struct bh_nvme_self_test_log), selftest_log },
	/* These know themselves how long they are. */
	[BH_NVME_LOG_TELEMETRY_HOST] = { SIZE_MAX, NULL },
	[BH_NVME_LOG_TELEMETRY_CTRL] = { SIZE_MAX, NULL },
	[BH_NVME_LOG_PERSISTENT_EVENT] = { SIZE_MAX, NULL },
	[BH_NVME_LOG_RESERVATION] = { sizeof(struct bh_nvme_resv_log), resv_log },
	[BH_NVME_LOG_SANITIZE] = { sizeof(struct bh_nvme_sanitize_log), sanitize_log },
};

static const struct page *page_of(const struct bh_target_nvme *ctrl, uint8_t lid)
{
	if (lid == BH_NVME_LOG_RESERVATION && !tn_has_reservations(ctrl))
		return NULL;
	if (lid == BH_NVME_LOG_SANITIZE && !tn_sanicap(ctrl))
		return NULL;
	if (lid == BH_NVME_LOG_PERSISTENT_EVENT && !tn_has_pel(ctrl))
		return NULL;
	return lid < sizeof(pages) / sizeof(pages[0]) && pages[lid].bytes ? &pages[lid] : NULL;
}

/* Puts back what a read that failed had taken off the list of changed namespaces. */
static void undo_clear(struct tn_admin_cmd *cmd)
{
	const struct bh_nvme_ns_list *log = (const struct bh_nvme_ns_list *)cmd->data;
	unsigned int i;

	for (i = 0; i < BH_TARGET_NVME_MAX_NS && log->nsid[i]; i++)
		tn_ctl(cmd->ctrl)->changed_ns[log->nsid[i] / 64] |= 1ull << log->nsid[i] % 64;
}

static void sent(struct tn_admin_cmd *cmd)
{
	uint8_t lid = (uint8_t)BH_NVME_GET(cmd->sqe.cdw10, GLP_LID);
	bool is_retained = cmd->sqe.cdw10 & BH_NVME_GLP_RAE;
	bool is_failed = cmd->status & BH_NVME_STATUS_SC_MASK;
	struct bh_target_nvme *ctrl = cmd->ctrl;

	if (is_failed && !is_retained && lid == BH_NVME_LOG_CHANGED_NS)
		undo_clear(cmd);
	tn_admin_complete(cmd, cmd->status);
	if (is_failed || is_retained)
		return;
	tn_events_clear(ctrl, lid);
	if (lid == BH_NVME_LOG_RESERVATION)
		resv_log_read(ctrl);
}

static bool has_namespace_error(const struct bh_nvme_cmd *sqe, uint8_t lid)
{
	/* LPA bit 0 is clear: SMART is the controller's. Other pages know no namespaces. */
	return lid == BH_NVME_LOG_SMART && sqe->nsid && sqe->nsid != BH_NVME_NSID_ALL;
}

void tn_cmd_get_log_page(struct tn_admin_cmd *cmd)
{
	const struct bh_nvme_cmd *sqe = &cmd->sqe;
	uint8_t lid = (uint8_t)BH_NVME_GET(sqe->cdw10, GLP_LID);
	uint64_t numd = BH_NVME_GET(sqe->cdw10, GLP_NUMDL) | BH_NVME_GET(sqe->cdw11, GLP_NUMDU)
								     << 16;
	uint64_t len = (numd + 1) * 4;
	uint64_t offset = sqe->cdw12 | (uint64_t)sqe->cdw13 << 32;
	const struct page *page = page_of(cmd->ctrl, lid);

	if (!page) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_LOG_PAGE, TN_AT_CDW10);
	} else if (offset > page->bytes || offset % 4) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW12);
	} else if (len > cmd->ctrl->mdts) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW10 + 2);
	} else if (sqe->cdw14 & BH_NVME_GLP_OT) { /* the offset as an index: no page has one */
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW14 + 2);
	} else if (lid == BH_NVME_LOG_EFFECTS &&
		   BH_NVME_GET(sqe->cdw14, GLP_CSI) != BH_NVME_CSI_NVM &&
		   BH_NVME_GET(sqe->cdw14, GLP_CSI) != BH_NVME_CSI_ZNS) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_IOCS, TN_AT_CDW14 + 3);
	} else if (has_namespace_error(sqe, lid)) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_NSID);
	} else if (lid == BH_NVME_LOG_PERSISTENT_EVENT) {
		tn_pel_cmd(cmd, offset, len);
	} else if (lid == BH_NVME_LOG_TELEMETRY_HOST || lid == BH_NVME_LOG_TELEMETRY_CTRL) {
		tn_telemetry_cmd(cmd, offset, len);
	} else {
		memset(cmd->data, 0, sizeof(cmd->data));
		page->build(cmd);
		if (lid == BH_NVME_LOG_CHANGED_NS && !(sqe->cdw10 & BH_NVME_GLP_RAE))
			memset(tn_ctl(cmd->ctrl)->changed_ns, 0,
			       sizeof(tn_ctl(cmd->ctrl)->changed_ns));
		if (len > page->bytes - offset)
			len = page->bytes - offset;
		if (len)
			tn_admin_send(cmd, (size_t)offset, (size_t)len, sent);
		else
			sent(cmd);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Persistent events (NVMe 2.0 5.16.1.14.1): what is recorded, and when.
 *
 * Recorded is what changes what a host finds: the controller's being enabled, namespaces that hosts
 * create and delete, formats, sanitize operations, telemetry that was captured, features that were set
 * to something else, the clock; and once per client and per day a snapshot of SMART, for the numbers
 * that it counts. Nothing of a controller without a body fails or gets warm, so events of hardware,
 * firmware and temperature are not supported.
 */
#include <string.h>

#include <bellhop/clock.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"

#define NS_PER_MS 1000000ull
#define DAY_NS (24 * 3600 * 1000000000ull)
#define FORMAT_ERROR (1u << 0) /* Format NVM Status */

static const uint8_t supported[] = {
	BH_NVME_PEL_SMART,	    BH_NVME_PEL_TIMESTAMP,    BH_NVME_PEL_RESET,
	BH_NVME_PEL_CHANGE_NS,	    BH_NVME_PEL_FORMAT_START, BH_NVME_PEL_FORMAT_END,
	BH_NVME_PEL_SANITIZE_START, BH_NVME_PEL_SANITIZE_END, BH_NVME_PEL_SET_FEATURE,
	BH_NVME_PEL_TELEMETRY,
};

void tn_pel_supported(uint8_t seb[32])
{
	size_t i;

	for (i = 0; i < sizeof(supported); i++)
		seb[supported[i] / 8] |= (uint8_t)(1u << supported[i] % 8);
}

static void snapshot(struct bh_target_nvme *ctrl)
{
	struct bh_nvme_smart_log log = { 0 };

	tn_smart_fill(ctrl, &log);
	tn_ctl(ctrl)->pel_smart_at_ns = bh_now_ns() + DAY_NS;
	tn_pel_add(ctrl, BH_NVME_PEL_SMART, &log, sizeof(log));
}

void tn_pel_reset(struct bh_target_nvme *ctrl)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);
	struct bh_nvme_timestamp ts = tn_timestamp(ctrl);
	uint64_t ms = (bh_now_ns() - ctl->created_ns) / NS_PER_MS;
	struct bh_nvme_pel_reset event = { .ctrl.cntlid = ctrl->cntlid,
					   .ctrl.power_cycle = (uint32_t)(1 + ctl->clients_left) };

	ctl->reset_ns = bh_now_ns();
	if (!tn_has_pel(ctrl))
		return;
	tn_put_text(event.fr, sizeof(event.fr), BH_VERSION);
	memcpy(event.ctrl.power_on_ms, &ms, sizeof(ms));
	memcpy(event.ctrl.ts, &ts, sizeof(ts));
	tn_pel_add(ctrl, BH_NVME_PEL_RESET, &event, sizeof(event));
	if (!ctl->pel_smart_at_ns)
		snapshot(ctrl);
}

void tn_pel_power_off(struct bh_target_nvme *ctrl)
{
	tn_ctl(ctrl)->pel_smart_at_ns = 0;
}

void tn_pel_look(struct bh_target_nvme *ctrl)
{
	uint64_t at = tn_ctl(ctrl)->pel_smart_at_ns;

	if (at && bh_now_ns() >= at)
		snapshot(ctrl);
}

void tn_pel_timestamp(struct bh_target_nvme *ctrl, struct bh_nvme_timestamp before)
{
	struct bh_nvme_pel_timestamp event = {
		.since_reset_ms = (bh_now_ns() - tn_ctl(ctrl)->reset_ns) / NS_PER_MS
	};

	memcpy(&event.previous, &before, sizeof(before));
	tn_pel_add(ctrl, BH_NVME_PEL_TIMESTAMP, &event, sizeof(event));
}

/* The dwords that say what to set; data, which may be a host's own identifier, are not recorded. */
void tn_pel_set_feature(const struct tn_admin_cmd *cmd)
{
	const struct bh_nvme_pel_set_feature event = { .layout = sizeof(event.cdw) / 4,
						       .cdw = { cmd->sqe.cdw10, cmd->sqe.cdw11 } };

	tn_pel_add(cmd->ctrl, BH_NVME_PEL_SET_FEATURE, &event, sizeof(event));
}

void tn_pel_change_ns(const struct tn_admin_cmd *cmd, uint32_t nsid)
{
	const struct bh_nvme_id_ns *id = (const struct bh_nvme_id_ns *)cmd->data;
	struct bh_nvme_pel_change_ns event = { .cdw10 = cmd->sqe.cdw10, .nsid = nsid };

	if ((cmd->sqe.cdw10 & BH_NVME_NS_MGMT_SEL_MASK) == BH_NVME_NS_MGMT_CREATE) {
		event.nsze = id->nsze;
		event.ncap = id->ncap;
		event.flbas = id->flbas;
		event.dps = id->dps;
		event.nmic = id->nmic;
	}
	tn_pel_add(cmd->ctrl, BH_NVME_PEL_CHANGE_NS, &event, sizeof(event));
}

void tn_pel_format_start(const struct tn_admin_cmd *cmd)
{
	const struct bh_nvme_pel_format_start event = { .nsid = cmd->sqe.nsid,
							.fna = BH_NVME_FNA_NO_BROADCAST,
							.cdw10 = cmd->sqe.cdw10 };

	tn_pel_add(cmd->ctrl, BH_NVME_PEL_FORMAT_START, &event, sizeof(event));
}

void tn_pel_format_end(const struct tn_admin_cmd *cmd, uint16_t sf)
{
	const struct bh_nvme_pel_format_end event = { .nsid = cmd->sqe.nsid,
						      .format_status = sf ? FORMAT_ERROR : 0,
						      .status = sf };

	tn_pel_add(cmd->ctrl, BH_NVME_PEL_FORMAT_END, &event, sizeof(event));
}

void tn_pel_sanitize_start(const struct tn_admin_cmd *cmd)
{
	const struct bh_nvme_pel_sanitize_start event = { .sanicap = tn_sanicap(cmd->ctrl),
							  .cdw10 = cmd->sqe.cdw10,
							  .cdw11 = cmd->sqe.cdw11 };

	tn_pel_add(cmd->ctrl, BH_NVME_PEL_SANITIZE_START, &event, sizeof(event));
}

/* As its log says. */
void tn_pel_sanitize_end(struct bh_target_nvme *ctrl)
{
	struct bh_nvme_pel_sanitize_end event = { 0 };
	struct bh_nvme_sanitize_log log = { 0 };

	tn_sanitize_log(ctrl, &log);
	event.sprog = log.sprog;
	event.sstat = log.sstat;
	tn_pel_add(ctrl, BH_NVME_PEL_SANITIZE_END, &event, sizeof(event));
}

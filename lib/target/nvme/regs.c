/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controller registers and their state machine (NVMe 2.0 3.1, 3.5, 3.6).
 *
 * CC.EN 0 -> 1 is checked and answered at once: CSTS.RDY, or CSTS.CFS when the host's choices
 * cannot work. CC.EN 1 -> 0 is a controller reset: it goes through the gate, so RDY falls when
 * nothing of this controller can write to the client any more, and I/O pending in a store does
 * not hold it up. CC.EN may rise again before that; the controller is then enabled right after.
 *
 * CSTS is changed by atomic operations, since a poll thread may find a reason to make the
 * controller fatal; everything else belongs to the control thread. CFS stays until a reset.
 *
 * A controller reset leaves AQA, ASQ, ACQ and CMBMSC; all other ways to reset bring everything back to
 * power-on state (NVMe 2.0 3.7.2).
 */
#include <errno.h>
#include <string.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"
#include "target/nvme/telemetry.h"

#define CC_WRITABLE 0x00fffff1u /* CRIME is not: only one ready mode is supported */
#define CC_WHILE_ENABLED                                                 \
	((uint32_t)(BH_NVME_SET(CC_EN, ~0u) | BH_NVME_SET(CC_SHN, ~0u) | \
		    BH_NVME_SET(CC_IOSQES, ~0u) | BH_NVME_SET(CC_IOCQES, ~0u)))
#define AQA_WRITABLE 0x0fff0fffu
#define REGS_BYTES 0x70u /* what is not all zeros */

static uint32_t csts(const struct bh_target_nvme *ctrl)
{
	return __atomic_load_n(&ctrl->regs.csts, __ATOMIC_ACQUIRE);
}

bool tn_regs_is_ready(const struct bh_target_nvme *ctrl)
{
	return (csts(ctrl) & (BH_NVME_CSTS_RDY | BH_NVME_CSTS_CFS)) == BH_NVME_CSTS_RDY;
}

void tn_ctrl_fatal(struct bh_target_nvme *ctrl, const char *why)
{
	if (__atomic_fetch_or(&ctrl->regs.csts, BH_NVME_CSTS_CFS, __ATOMIC_ACQ_REL) &
	    BH_NVME_CSTS_CFS)
		return;
	__atomic_store_n(&tn_ctl(ctrl)->fatal_why, why, __ATOMIC_RELEASE);
	bh_log(ctrl->log, BH_LOG_ERROR, TN_LOG, "%s: controller fatal: %s", ctrl->path, why);
}

void tn_regs_init(struct bh_target_nvme *ctrl)
{
	const uint32_t css = BH_NVME_CAP_CSS_NVM | BH_NVME_CAP_CSS_IOCS;

	ctrl->regs.cap = BH_NVME_SET(CAP_MQES, ctrl->max_depth - 1) | BH_NVME_SET(CAP_CQR, 1) |
			 BH_NVME_SET(CAP_AMS, BH_NVME_CAP_AMS_WRR) |
			 BH_NVME_SET(CAP_TO, TN_TIMEOUT_500MS) |
			 BH_NVME_SET(CAP_DSTRD, ctrl->dstrd) | BH_NVME_SET(CAP_CSS, css) |
			 BH_NVME_SET(CAP_CRMS, BH_NVME_CAP_CRMS_CRWMS);
	ctrl->regs.vs = BH_NVME_VERSION(2, 0, 0);
}

/* ---- enable, reset, shutdown ---- */

/* NULL, or why the controller cannot be enabled with these registers. */
static const char *why_not_enable(const struct tn_regs *regs)
{
	uint64_t css = BH_NVME_GET(regs->cc, CC_CSS);
	uint64_t sqes = BH_NVME_GET(regs->cc, CC_IOSQES);
	uint64_t cqes = BH_NVME_GET(regs->cc, CC_IOCQES);

	if (BH_NVME_GET(regs->cc, CC_MPS) != 0)
		return "CC.MPS is not the only page size, 4 KiB";
	if (BH_NVME_GET(regs->cc, CC_AMS) > BH_NVME_CC_AMS_WRR)
		return "CC.AMS is not supported";
	if (css != BH_NVME_CC_CSS_NVM && css != BH_NVME_CC_CSS_IOCS)
		return "CC.CSS is not supported";
	/* 0 is legal until the first I/O queue is created. */
	if ((sqes && sqes != BH_NVME_SQE_SHIFT) || (cqes && cqes != BH_NVME_CQE_SHIFT))
		return "CC.IOSQES or CC.IOCQES is not supported";
	if (!BH_NVME_GET(regs->aqa, AQA_ASQS) || !BH_NVME_GET(regs->aqa, AQA_ACQS))
		return "AQA: an admin queue has less than two entries";
	if (regs->asq % TN_PAGE_SIZE || regs->acq % TN_PAGE_SIZE)
		return "ASQ or ACQ is not aligned";
	return NULL;
}

/* ---- shutdown (NVMe 2.0 3.6.1): complete when what was written is durable ---- */

static void shut_down(struct bh_target_nvme *ctrl);

static void shut_down_done(struct tn_flush_req *req, uint16_t status)
{
	const uint32_t occurring = (uint32_t)BH_NVME_SET(CSTS_SHST, BH_NVME_CSTS_SHST_OCCURRING);
	const uint32_t complete = (uint32_t)BH_NVME_SET(CSTS_SHST, BH_NVME_CSTS_SHST_COMPLETE);
	struct bh_target_nvme *ctrl = req->ctrl;

	(void)status; /* the host has no field for it: the log does */
	if (BH_NVME_GET(csts(ctrl), CSTS_SHST) != BH_NVME_CSTS_SHST_OCCURRING)
		return; /* a reset has come */
	if (tn_ctl(ctrl)->is_shut_down_again) {
		shut_down(ctrl);
		return;
	}
	__atomic_fetch_xor(&ctrl->regs.csts, occurring ^ complete, __ATOMIC_ACQ_REL);
}

static void shut_down(struct bh_target_nvme *ctrl)
{
	uint32_t want = (uint32_t)BH_NVME_SET(CSTS_SHST, BH_NVME_CSTS_SHST_OCCURRING);
	uint32_t all = (uint32_t)BH_NVME_SET(CSTS_SHST, ~0u);
	struct tn_ctl *ctl = tn_ctl(ctrl);

	__atomic_fetch_and(&ctrl->regs.csts, ~all, __ATOMIC_ACQ_REL);
	__atomic_fetch_or(&ctrl->regs.csts, want, __ATOMIC_ACQ_REL);
	ctl->is_shut_down_again = ctl->shutdown_flush.is_asked;
	if (ctl->is_shut_down_again)
		return;
	ctl->shutdown_flush.done = shut_down_done;
	tn_flush_ask(ctrl, &ctl->shutdown_flush);
}

static void enable(struct bh_target_nvme *ctrl)
{
	const char *why = why_not_enable(&ctrl->regs);

	if (why) {
		tn_ctrl_fatal(ctrl, why);
		return;
	}
	tn_admin_start(ctrl);
	__atomic_fetch_or(&ctrl->regs.csts, BH_NVME_CSTS_RDY, __ATOMIC_ACQ_REL);
	tn_io_watch_admin(ctrl, true);
	tn_health_watch(ctrl, true);
	tn_pel_reset(ctrl);
	tn_admin_kick(ctrl);
}

/* What every reset does. Inside a closed TN_GATE_ALL. */
static void drop_everything(struct bh_target_nvme *ctrl)
{
	tn_telemetry_fatal(ctrl);
	__atomic_store_n(&tn_ctl(ctrl)->fatal_why, NULL, __ATOMIC_RELAXED);
	tn_io_watch_admin(ctrl, false);
	tn_health_watch(ctrl, false);
	tn_io_drop_queues(ctrl);
	tn_admin_drop(ctrl);
	tn_events_reset(ctrl);
	tn_selftest_reset(ctrl);
	tn_resv_reset(ctrl);
	tn_features_reset(ctrl);
	tn_alive_restart(ctrl);
	tn_pel_release(ctrl);
	memset(tn_ctl(ctrl)->changed_ns, 0, sizeof(tn_ctl(ctrl)->changed_ns));
	ctrl->regs.intms = 0;
	tn_gate_irqs_changed(ctrl);
}

static void reset_closed(struct bh_target_nvme *ctrl)
{
	tn_ctl(ctrl)->is_resetting = false;
	bh_timer_cancel(tn_ctl(ctrl)->reset_timer);
	drop_everything(ctrl);
	__atomic_store_n(&ctrl->regs.csts, 0, __ATOMIC_RELEASE);
	/* A host that disabled and notified of a shutdown in one write looks for the latter's end. */
	if (BH_NVME_GET(ctrl->regs.cc, CC_SHN))
		shut_down(ctrl);
	tn_gate_open(ctrl);
	if ((ctrl->regs.cc & BH_NVME_CC_EN) && !tn_ctl(ctrl)->is_resetting)
		enable(ctrl);
}

static void reset_late(void *arg)
{
	struct bh_target_nvme *ctrl = arg;

	if (tn_ctl(ctrl)->is_resetting)
		tn_ctrl_fatal(ctrl, "I/O did not stop in time for a controller reset");
}

int tn_regs_timer_create(struct bh_target_nvme *ctrl)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);

	ctl->reset_gate.kind = TN_GATE_ALL;
	ctl->reset_gate.closed = reset_closed;
	return bh_timer_create(ctrl->control, reset_late, ctrl, &ctl->reset_timer);
}

static void disable(struct bh_target_nvme *ctrl)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);

	if (ctl->is_resetting)
		return;
	ctl->is_resetting = true;
	tn_admin_pause(ctrl);
	bh_timer_set(ctl->reset_timer, TN_RESET_DEADLINE_NS);
	tn_gate_ask(ctrl, &ctl->reset_gate);
}

void tn_regs_power_on(struct bh_target_nvme *ctrl)
{
	drop_everything(ctrl);
	tn_cmb_power_on(ctrl);
	ctrl->regs.cc = 0;
	ctrl->regs.aqa = 0;
	ctrl->regs.asq = 0;
	ctrl->regs.acq = 0;
	__atomic_store_n(&ctrl->regs.csts, 0, __ATOMIC_RELEASE);
}

static void write_cc(struct bh_target_nvme *ctrl, uint32_t value)
{
	uint32_t old = ctrl->regs.cc;
	uint32_t now = value & CC_WRITABLE;

	/* How the controller works is chosen while it is disabled. */
	if (old & now & BH_NVME_CC_EN)
		now = (old & ~CC_WHILE_ENABLED) | (now & CC_WHILE_ENABLED);
	ctrl->regs.cc = now;
	if ((old & BH_NVME_CC_EN) && !(now & BH_NVME_CC_EN)) {
		disable(ctrl);
		return;
	}
	if (!(old & BH_NVME_CC_EN) && (now & BH_NVME_CC_EN) && !tn_ctl(ctrl)->is_resetting)
		enable(ctrl);
	if (BH_NVME_GET(now, CC_SHN) && !BH_NVME_GET(old, CC_SHN) && !tn_ctl(ctrl)->is_resetting)
		shut_down(ctrl);
}

/* ---- access ---- */

static void write_mask(struct bh_target_nvme *ctrl, uint32_t intms)
{
	if (intms == ctrl->regs.intms)
		return;
	ctrl->regs.intms = intms;
	tn_gate_irqs_changed(ctrl);
}

static void write_half(uint64_t *reg, bool high, uint32_t value)
{
	*reg = high ? (*reg & 0xffffffffu) | (uint64_t)value << 32
		    : (*reg & ~0xffffffffull) | value;
}

static void write_4(struct bh_target_nvme *ctrl, uint64_t offset, uint32_t value)
{
	bool is_enabled = ctrl->regs.cc & BH_NVME_CC_EN;
	uint64_t msc = tn_cmb_msc(ctrl);

	switch (offset) {
	case BH_NVME_REG_INTMS:
		write_mask(ctrl, ctrl->regs.intms | value);
		return;
	case BH_NVME_REG_INTMC:
		write_mask(ctrl, ctrl->regs.intms & ~value);
		return;
	case BH_NVME_REG_CC:
		write_cc(ctrl, value);
		return;
	case BH_NVME_REG_CMBMSC:
	case BH_NVME_REG_CMBMSC + 4:
		write_half(&msc, offset != BH_NVME_REG_CMBMSC, value);
		tn_cmb_write(ctrl, msc);
		return;
	default:
		break;
	}
	/* The admin queues are where they were when the controller was enabled. */
	if (is_enabled)
		return;
	if (offset == BH_NVME_REG_AQA)
		ctrl->regs.aqa = value & AQA_WRITABLE;
	else if (offset == BH_NVME_REG_ASQ || offset == BH_NVME_REG_ASQ + 4)
		write_half(&ctrl->regs.asq, offset != BH_NVME_REG_ASQ, value);
	else if (offset == BH_NVME_REG_ACQ || offset == BH_NVME_REG_ACQ + 4)
		write_half(&ctrl->regs.acq, offset != BH_NVME_REG_ACQ, value);
}

int tn_regs_write(struct bh_target_nvme *ctrl, uint64_t offset, const void *buf, size_t count)
{
	uint32_t value[2];

	/* Registers are 32 or 64 bits wide, and nothing else is defined (PCIe transport 3.1.1). */
	if ((count != 4 && count != 8) || offset % count)
		return -EINVAL;
	memcpy(value, buf, count);
	/* The lower half says whether the whole is to be looked at. */
	if (offset == BH_NVME_REG_CMBMSC && count == 8) {
		tn_cmb_write(ctrl, (uint64_t)value[1] << 32 | value[0]);
		return 0;
	}
	write_4(ctrl, offset, value[0]);
	if (count == 8)
		write_4(ctrl, offset + 4, value[1]);
	return 0;
}

static void image(const struct bh_target_nvme *ctrl, uint8_t out[REGS_BYTES])
{
	const struct tn_regs *regs = &ctrl->regs;
	uint32_t status = csts(ctrl);
	uint32_t crto = (uint32_t)BH_NVME_SET(CRTO_CRWMT, TN_TIMEOUT_500MS);

	memset(out, 0, REGS_BYTES);
	memcpy(out + BH_NVME_REG_CAP, &regs->cap, 8);
	memcpy(out + BH_NVME_REG_VS, &regs->vs, 4);
	memcpy(out + BH_NVME_REG_INTMS, &regs->intms, 4);
	memcpy(out + BH_NVME_REG_INTMC, &regs->intms, 4);
	memcpy(out + BH_NVME_REG_CC, &regs->cc, 4);
	memcpy(out + BH_NVME_REG_CSTS, &status, 4);
	memcpy(out + BH_NVME_REG_AQA, &regs->aqa, 4);
	memcpy(out + BH_NVME_REG_ASQ, &regs->asq, 8);
	memcpy(out + BH_NVME_REG_ACQ, &regs->acq, 8);
	memcpy(out + BH_NVME_REG_CRTO, &crto, 4);
	tn_cmb_image(ctrl, out);
}

int tn_regs_read(struct bh_target_nvme *ctrl, uint64_t offset, void *buf, size_t count)
{
	uint8_t regs[REGS_BYTES];
	size_t unit = count >= 4 ? 4 : count;
	size_t here;

	if (!count || count == 3 || offset % unit || count % unit || (count == 8 && offset % 8))
		return -EINVAL;
	memset(buf, 0, count);
	if (offset >= REGS_BYTES)
		return 0;
	image(ctrl, regs);
	here = REGS_BYTES - (size_t)offset;
	memcpy(buf, regs + offset, here < count ? here : count);
	return 0;
}

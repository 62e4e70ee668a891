/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The controller memory buffer (NVMe 2.0 3.1.3.11 to 3.1.3.14, 8.5): a memfd behind BAR2, which the
 * client maps, and which the controller reaches by addresses of the client's choice (CMBMSC.CBA).
 *
 * To the rest of the controller it is client memory like any other: while it is enabled it is a
 * region of the client's table at CBA, so queues, lists and data there take the paths they always
 * take. Entering and taking it away changes that table and goes through the gate; what the host has
 * written last counts when the gate has closed. The registers answer at once, and admin commands
 * wait behind the gate.
 *
 * The table is the client's to change, too: where it unmaps everything, the buffer is put back
 * before the gate opens. An address range that overlaps what the client has mapped is invalid
 * (CMBSTS.CBAI); mapping over the buffer is refused like mapping over anything else.
 *
 * CMBMSC and the contents survive a controller reset, and no other (the contents are zeros then).
 * The next client has another buffer than the last one, which may still have it mapped (lib/base/shared.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <bellhop/range.h>

#include "target/nvme/control.h"

#define UNIT 4096u /* CMBSZ.SZU 0 */
#define PROT (BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE)

int tn_cmb_create(struct bh_target_nvme *ctrl, uint64_t bytes)
{
	struct tn_cmb *cmb = &tn_ctl(ctrl)->cmb;
	int rc;

	if (!bytes)
		return 0;
	rc = bh__shared_create(&cmb->mem, "bellhop-cmb", bytes);
	if (rc != 0)
		return rc;
	cmb->bytes = bytes;
	ctrl->regs.cap |= BH_NVME_SET(CAP_CMBS, 1);
	return 0;
}

void tn_cmb_destroy(struct bh_target_nvme *ctrl)
{
	bh__shared_destroy(&tn_ctl(ctrl)->cmb.mem);
}

uint64_t tn_cmb_bar_bytes(const struct bh_target_nvme *ctrl)
{
	uint64_t bar = UNIT;

	while (bar < tn_ctl(ctrl)->cmb.bytes)
		bar *= 2;
	return bar;
}

/* By a client that does not map it. */
void tn_cmb_access(struct bh_target_nvme *ctrl, uint64_t offset, void *buf, size_t count,
		   bool write)
{
	struct tn_cmb *cmb = &tn_ctl(ctrl)->cmb;

	if (!bh_range_inside(offset, count, cmb->bytes)) {
		if (!write)
			memset(buf, 0, count);
	} else if (write) {
		memcpy(cmb->mem.map + offset, buf, count);
	} else {
		memcpy(buf, cmb->mem.map + offset, count);
	}
}

void tn_cmb_image(const struct bh_target_nvme *ctrl, uint8_t *regs)
{
	const struct tn_cmb *cmb = &tn_ctl(ctrl)->cmb;
	/* All restrictions on what may be there together are lifted: it is memory like other. */
	uint32_t loc = (uint32_t)(BH_NVME_SET(CMBLOC_BIR, BH_PCI_BAR2) |
				  BH_NVME_SET(CMBLOC_CQMMS, 1) | BH_NVME_SET(CMBLOC_CDPMLS, 1) |
				  BH_NVME_SET(CMBLOC_CDPCILS, 1) | BH_NVME_SET(CMBLOC_CDMMMS, 1));
	uint32_t size =
		(uint32_t)(BH_NVME_SET(CMBSZ_SQS, 1) | BH_NVME_SET(CMBSZ_CQS, 1) |
			   BH_NVME_SET(CMBSZ_LISTS, 1) | BH_NVME_SET(CMBSZ_RDS, 1) |
			   BH_NVME_SET(CMBSZ_WDS, 1) | BH_NVME_SET(CMBSZ_SZ, cmb->bytes / UNIT));

	if (!cmb->bytes)
		return;
	memcpy(regs + BH_NVME_REG_CMBMSC, &cmb->msc, sizeof(cmb->msc));
	memcpy(regs + BH_NVME_REG_CMBSTS, &cmb->sts, sizeof(cmb->sts));
	if (!BH_NVME_GET(cmb->msc, CMBMSC_CRE))
		return;
	memcpy(regs + BH_NVME_REG_CMBLOC, &loc, sizeof(loc));
	memcpy(regs + BH_NVME_REG_CMBSZ, &size, sizeof(size));
}

/* Has the client something there? The buffer itself does not count. */
static bool is_taken(const struct bh_target_nvme *ctrl, uint64_t iova)
{
	const struct tn_cmb *cmb = &tn_ctl(ctrl)->cmb;
	const struct bh_cmem_table *table = ctrl->cmem->table;

	for (size_t i = 0; i < table->count; i++) {
		const struct bh_cmem_region *r = table->region[i];

		if (cmb->is_entered && r->iova == cmb->at)
			continue;
		if (bh_range_overlaps(r->iova, r->len, iova, cmb->bytes))
			return true;
	}
	return false;
}

/* Inside a closed gate, or before anybody looks. */
static void enter(struct bh_target_nvme *ctrl)
{
	struct tn_cmb *cmb = &tn_ctl(ctrl)->cmb;
	int fd = cmb->mem.is_private ? -1 : fcntl(cmb->mem.fd, F_DUPFD_CLOEXEC, 0);
	int rc = fd >= 0 ? 0 : cmb->mem.is_private ? -ENOMEM : -errno;

	if (rc == 0)
		rc = bh_cmem_add(ctrl->cmem, cmb->want_at, cmb->bytes, PROT, BH_CMEM_MAPPED, fd, 0);
	cmb->is_entered = rc == 0;
	cmb->at = cmb->want_at;
	if (rc == 0)
		return;
	cmb->is_wanted = false;
	cmb->sts = (uint32_t)BH_NVME_SET(CMBSTS_CBAI, 1);
	bh_log(ctrl->log, BH_LOG_WARN, TN_LOG,
	       "%s: the controller memory buffer cannot be at %llx: %s", ctrl->path,
	       (unsigned long long)cmb->want_at, strerror(-rc));
}

static void take_away(struct bh_target_nvme *ctrl)
{
	struct tn_cmb *cmb = &tn_ctl(ctrl)->cmb;

	/* The client may have unmapped it with everything else. */
	if (cmb->is_entered)
		(void)bh_cmem_del(ctrl->cmem, cmb->at, cmb->bytes);
	cmb->is_entered = false;
}

static bool is_settled(const struct tn_cmb *cmb)
{
	return cmb->is_wanted == cmb->is_entered && (!cmb->is_wanted || cmb->want_at == cmb->at);
}

static void gate_closed(struct bh_target_nvme *ctrl)
{
	struct tn_cmb *cmb = &tn_ctl(ctrl)->cmb;

	cmb->is_asked = false;
	if (!is_settled(cmb)) {
		take_away(ctrl);
		if (cmb->is_wanted)
			enter(ctrl);
	}
	tn_gate_open(ctrl);
}

void tn_cmb_write(struct bh_target_nvme *ctrl, uint64_t msc)
{
	const uint64_t both = BH_NVME_SET(CMBMSC_CRE, 1) | BH_NVME_SET(CMBMSC_CMSE, 1);
	const uint64_t cba = BH_NVME_SET(CMBMSC_CBA, ~0ull);
	struct tn_cmb *cmb = &tn_ctl(ctrl)->cmb;

	if (!cmb->bytes)
		return;
	cmb->msc = msc & (both | cba);
	cmb->want_at = msc & cba;
	cmb->is_wanted = (msc & both) == both;
	cmb->sts = 0;
	if (cmb->is_wanted &&
	    (!bh_range_valid(cmb->want_at, cmb->bytes) || is_taken(ctrl, cmb->want_at))) {
		cmb->is_wanted = false;
		cmb->sts = (uint32_t)BH_NVME_SET(CMBSTS_CBAI, 1);
	}
	if (is_settled(cmb) || cmb->is_asked)
		return;
	cmb->is_asked = true;
	cmb->gate.kind = TN_GATE_TABLE;
	cmb->gate.iova = cmb->is_entered ? cmb->at : cmb->want_at;
	cmb->gate.len = cmb->bytes;
	cmb->gate.closed = gate_closed;
	tn_gate_ask(ctrl, &cmb->gate);
}

uint64_t tn_cmb_msc(const struct bh_target_nvme *ctrl)
{
	return tn_ctl(ctrl)->cmb.msc;
}

void tn_cmb_restore(struct bh_target_nvme *ctrl)
{
	struct tn_cmb *cmb = &tn_ctl(ctrl)->cmb;
	const struct bh_cmem_region *r;

	if (!cmb->is_entered)
		return;
	r = bh_cmem_find(ctrl->cmem, cmb->at);
	if (!r || r->iova != cmb->at || r->len != cmb->bytes)
		enter(ctrl);
}

void tn_cmb_power_on(struct bh_target_nvme *ctrl)
{
	struct tn_cmb *cmb = &tn_ctl(ctrl)->cmb;

	if (!cmb->bytes)
		return;
	take_away(ctrl);
	cmb->is_wanted = false;
	cmb->msc = 0;
	cmb->sts = 0;
	memset(cmb->mem.map, 0, cmb->bytes);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Persistent Event log (NVMe 2.0 5.16.1.14): where it is kept, and how it is read. What is
 * recorded, and when, is in pel_event.c.
 *
 * It is a subsystem's that has a state file, and lies there behind what subsys_state.c keeps: a ring
 * of slots, each with a number, a length and a checksum that agree, or it counts for nothing. An
 * event is one write of one slot, in place of the oldest, so what a crash can tear is that slot. The
 * file is made durable a second after the first of some events: no command waits for a disk, and
 * the kernel has what was written even if the target dies.
 *
 * Events are read from memory. A host reads by way of a context of its controller's, which is a copy
 * of the whole page, the newest event first, as it was when the context was established; it lasts
 * until it is released or the controller is reset.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"

#define SLOTS 256u
#define MAGIC 0x314c6550686272ull
#define SYNC_NS 1000000000ull
#define REVISION 2u
#define HEAD_LEFT 492u /* bytes of a header behind the field that says so */
#define EVENT_LEFT 21u
#define RCE (1u << 18) /* a context exists */
#define RCPIT_PORT (1u << 16)

struct slot {
	uint64_t magic;
	uint64_t number; /* from 1; the slot's place is number % SLOTS */
	uint64_t len;	 /* of the event */
	uint64_t sum;
	uint8_t event[608];
};
static_assert(sizeof(struct slot) == 640, "a slot of the state file");
static_assert(sizeof(struct bh_nvme_pel_event) + TN_PEL_DATA <= 608, "an event fits in");
static_assert(sizeof(struct bh_nvme_pel) +
			      SLOTS * (sizeof(struct bh_nvme_pel_event) + TN_PEL_DATA) <=
		      TN_PEL_SIZE_64K << 16,
	      "a page is not longer than is said");

struct tn_pel {
	struct bh_target_subsys *subsys;
	uint64_t number; /* of the newest */
	bool is_dirty, is_failed;
	struct bh_timer *sync;
	struct slot slot[SLOTS];
};

/* A context: the page as it was. */
struct tn_pel_page {
	size_t len;
	uint8_t data[];
};

bool tn_has_pel(const struct bh_target_nvme *ctrl)
{
	return ctrl->subsys->pel != NULL;
}

/* ---- the file ---- */

static void sync_now(void *arg)
{
	struct tn_pel *pel = arg;

	pel->is_dirty = false;
	if (fdatasync(pel->subsys->state_fd) != 0 && !pel->is_failed) {
		pel->is_failed = true;
		bh_log(pel->subsys->log, BH_LOG_ERROR, TN_LOG,
		       "%s: persistent events may be lost: %s", pel->subsys->nqn, strerror(errno));
	}
}

static void write_slot(struct tn_pel *pel, const struct slot *slot)
{
	off_t at = (off_t)(TN_STATE_BYTES + (slot->number % SLOTS) * sizeof(*slot));
	ssize_t n = pwrite(pel->subsys->state_fd, slot, sizeof(*slot), at);

	if (n == (ssize_t)sizeof(*slot)) {
		if (!pel->is_dirty)
			bh_timer_set(pel->sync, SYNC_NS);
		pel->is_dirty = true;
	} else if (!pel->is_failed) { /* said once: there may be many */
		pel->is_failed = true;
		bh_log(pel->subsys->log, BH_LOG_ERROR, TN_LOG,
		       "%s: persistent events are not kept: %s", pel->subsys->nqn,
		       n < 0 ? strerror(errno) : "the file cannot grow");
	}
}

static bool is_sound(const struct slot *slot, unsigned int index)
{
	struct bh_nvme_pel_event event;

	if (slot->magic != MAGIC || slot->number % SLOTS != index || !slot->number ||
	    slot->len < sizeof(event) || slot->len > sizeof(event) + TN_PEL_DATA ||
	    slot->sum != tn_state_sum(slot->event, (size_t)slot->len, slot->number))
		return false;
	memcpy(&event, slot->event, sizeof(event));
	return event.ehl == EVENT_LEFT && sizeof(event) + event.el == slot->len;
}

static bool is_empty(const struct slot *slot)
{
	static const struct slot empty;

	return !memcmp(slot, &empty, sizeof(empty));
}

/* What does not agree is dropped, and said: the log is no reason not to serve. */
static void load(struct tn_pel *pel)
{
	ssize_t n = pread(pel->subsys->state_fd, pel->slot, sizeof(pel->slot), TN_STATE_BYTES);
	unsigned int i, bad = 0;

	for (i = 0; i < SLOTS; i++) {
		struct slot *slot = &pel->slot[i];

		if ((ssize_t)((i + 1) * sizeof(*slot)) > n || !is_sound(slot, i)) {
			bad += !is_empty(slot);
			memset(slot, 0, sizeof(*slot));
		} else if (slot->number > pel->number) {
			pel->number = slot->number;
		}
	}
	if (bad)
		bh_log(pel->subsys->log, BH_LOG_WARN, TN_LOG,
		       "%s: %u persistent events are damaged, and dropped", pel->subsys->nqn, bad);
}

int tn_pel_open(struct bh_target_subsys *subsys)
{
	struct tn_pel *pel = calloc(1, sizeof(*pel));
	int rc;

	if (!pel)
		return -ENOMEM;
	pel->subsys = subsys;
	rc = bh_timer_create(subsys->control, sync_now, pel, &pel->sync);
	if (rc) {
		free(pel);
		return rc;
	}
	load(pel);
	subsys->pel = pel;
	return 0;
}

void tn_pel_close(struct bh_target_subsys *subsys)
{
	struct tn_pel *pel = subsys->pel;

	if (!pel)
		return;
	if (pel->is_dirty)
		sync_now(pel);
	bh_timer_destroy(pel->sync);
	free(pel);
	subsys->pel = NULL;
}

void tn_pel_add(struct bh_target_nvme *ctrl, uint8_t type, const void *data, size_t len)
{
	struct bh_nvme_pel_event event = { .type = type,
					   .rev = 1,
					   .ehl = EVENT_LEFT,
					   .cntlid = ctrl->cntlid,
					   .el = (uint16_t)len };
	struct tn_pel *pel = ctrl->subsys->pel;
	struct bh_nvme_timestamp ts = tn_timestamp(ctrl);
	struct slot *slot;

	if (!pel || len > TN_PEL_DATA)
		return;
	memcpy(event.ts, &ts, sizeof(ts));
	slot = &pel->slot[++pel->number % SLOTS];
	memset(slot, 0, sizeof(*slot));
	slot->magic = MAGIC;
	slot->number = pel->number;
	slot->len = sizeof(event) + len;
	memcpy(slot->event, &event, sizeof(event));
	memcpy(slot->event + sizeof(event), data, len);
	slot->sum = tn_state_sum(slot->event, (size_t)slot->len, slot->number);
	write_slot(pel, slot);
}

/* ---- contexts ---- */

static void put_head(const struct bh_target_nvme *ctrl, struct bh_nvme_pel *head, uint32_t events,
		     uint64_t bytes)
{
	struct bh_nvme_timestamp ts = tn_timestamp(ctrl);
	uint64_t hours = tn_power_on_hours(ctrl), cycles = 1 + tn_ctl(ctrl)->clients_left;

	memset(head, 0, sizeof(*head));
	head->lid = BH_NVME_LOG_PERSISTENT_EVENT;
	head->tnev = events;
	head->tll = bytes;
	head->rv = REVISION;
	head->lhl = HEAD_LEFT;
	memcpy(head->ts, &ts, sizeof(ts));
	memcpy(head->poh, &hours, sizeof(hours));
	memcpy(head->pcc, &cycles, sizeof(cycles));
	head->vid = head->ssvid = BH_TARGET_NVME_PCI_VENDOR;
	tn_put_text(head->sn, sizeof(head->sn), ctrl->serial);
	tn_put_text(head->mn, sizeof(head->mn), ctrl->model);
	memcpy(head->subnqn, ctrl->subnqn, strlen(ctrl->subnqn));
	head->gen = (uint16_t)ctrl->subsys->pel->number;
	tn_pel_supported(head->seb);
}

static struct tn_pel_page *page_new(const struct bh_target_nvme *ctrl)
{
	const struct tn_pel *pel = ctrl->subsys->pel;
	struct tn_pel_page *page = malloc(sizeof(*page) + (TN_PEL_SIZE_64K << 16));
	struct bh_nvme_pel head;
	uint32_t events = 0;
	uint64_t i;

	if (!page)
		return NULL;
	page->len = sizeof(head);
	for (i = 0; i < SLOTS; i++) {
		const struct slot *slot = &pel->slot[(pel->number - i) % SLOTS];

		if (!slot->len)
			continue;
		memcpy(page->data + page->len, slot->event, (size_t)slot->len);
		page->len += (size_t)slot->len;
		events++;
	}
	put_head(ctrl, &head, events, page->len);
	memcpy(page->data, &head, sizeof(head));
	return page;
}

void tn_pel_release(struct bh_target_nvme *ctrl)
{
	free(tn_ctl(ctrl)->pel_page);
	tn_ctl(ctrl)->pel_page = NULL;
}

/* What later reads say: there is a context, by the port that the controller is. */
static void mark_established(const struct bh_target_nvme *ctrl, struct tn_pel_page *page)
{
	uint32_t rci = RCE | RCPIT_PORT | ctrl->cntlid;

	memcpy(page->data + offsetof(struct bh_nvme_pel, rci), &rci, sizeof(rci));
}

static void send(struct tn_admin_cmd *cmd, const struct tn_pel_page *page, uint64_t offset,
		 uint64_t len)
{
	if (offset > page->len) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW12);
		return;
	}
	if (len > page->len - offset)
		len = page->len - offset;
	tn_admin_send_copy(cmd, page->data + offset, (size_t)len);
}

void tn_pel_cmd(struct tn_admin_cmd *cmd, uint64_t offset, uint64_t len)
{
	struct tn_ctl *ctl = tn_ctl(cmd->ctrl);

	switch (BH_NVME_GET(cmd->sqe.cdw10, GLP_LSP)) {
	case BH_NVME_PEL_READ:
		if (ctl->pel_page)
			send(cmd, ctl->pel_page, offset, len);
		else
			tn_admin_fail(cmd, BH_NVME_SC_COMMAND_SEQUENCE_ERROR, TN_AT_CDW10 + 1);
		return;
	case BH_NVME_PEL_ESTABLISH:
		if (ctl->pel_page) {
			tn_admin_fail(cmd, BH_NVME_SC_COMMAND_SEQUENCE_ERROR, TN_AT_CDW10 + 1);
			return;
		}
		ctl->pel_page = page_new(cmd->ctrl);
		if (!ctl->pel_page) {
			tn_admin_complete(cmd, BH_NVME_SC_INTERNAL_ERROR);
			return;
		}
		send(cmd, ctl->pel_page, offset, len);
		mark_established(cmd->ctrl, ctl->pel_page);
		return;
	case BH_NVME_PEL_RELEASE: /* there need not be one */
		tn_pel_release(cmd->ctrl);
		tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
		return;
	default:
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW10 + 1);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reservations across the controllers of a subsystem: the control thread's part.
 *
 * Reservation commands come by I/O queues, their data with them, as messages (resv_plane.c), and go
 * back the same way when they have come about. Per subsystem one is carried out at a time: the
 * namespace's state is changed (resv.c), every controller that has the namespace works out what its
 * host may do now, and those for which that has changed tell their poll threads. Only when all have
 * answered does the command complete: what is fetched after that is judged by the new state. With
 * Preempt and Abort a thread answers when it has nothing of that host's under way.
 *
 * A host is who set the Host Identifier; one that has set none is its controller, until it resets
 * that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/nvme/control.h"
#include "target/nvme/subsys.h"

/* A change on its way to the poll threads of the controllers. */
struct change {
	struct bh_target_subsys *subsys;
	struct tn_resv_cmd *cmd; /* NULL: nobody waits but `done` */
	void (*done)(void *arg);
	void *arg;
	unsigned int left; /* controllers that have not answered; one more while they are asked */
	void *deny[BH_TARGET_SUBSYS_MAX_CTRLS + 1]; /* made beforehand: none may fail later */
};

struct tn_host tn_host_of(const struct bh_target_nvme *ctrl)
{
	static const uint8_t none[16];
	struct tn_host host = { .cntlid = 0 };

	memcpy(host.id, ctrl->features.host_id, sizeof(host.id));
	if (!memcmp(host.id, none, sizeof(none)))
		host.cntlid = ctrl->cntlid;
	return host;
}

struct tn_resv *tn_space_resv(struct tn_space *space)
{
	if (!space->resv)
		space->resv = calloc(1, sizeof(*space->resv));
	return space->resv;
}

uint8_t tn_resv_denied_to(const struct bh_target_nvme *ctrl, const struct tn_space *space)
{
	const struct tn_host host = tn_host_of(ctrl);

	return space->resv ? tn_resv_denied(space->resv, &host) : 0;
}

/* ---- notices (base 5.16.1.24) ---- */

static void note(struct bh_target_nvme *ctrl, uint32_t nsid, enum tn_resv_note type)
{
	struct tn_resv_notes *notes = &tn_ctl(ctrl)->resv_notes;
	struct bh_nvme_resv_log *log;

	if (ctrl->features.resv_mask[nsid] & 1u << type || !tn_regs_is_ready(ctrl))
		return;
	if (notes->count == TN_RESV_NOTES) { /* the oldest is lost, its number is missing */
		memmove(&notes->log[0], &notes->log[1], sizeof(notes->log) - sizeof(notes->log[0]));
		notes->count--;
	}
	if (!++notes->last)
		notes->last = 1;
	log = &notes->log[notes->count++];
	*log = (struct bh_nvme_resv_log){ .count = notes->last,
					  .type = (uint8_t)type,
					  .nsid = nsid };
	tn_event_raise(ctrl, BH_NVME_AER_TYPE_IO, BH_NVME_AER_IO_RESERVATION_LOG,
		       BH_NVME_LOG_RESERVATION);
}

static void tell(const struct tn_space *space, const struct tn_resv_outcome *out)
{
	struct bh_target_subsys *subsys = space->subsys;
	unsigned int id;
	uint32_t i;

	for (id = 1; id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++) {
		struct bh_target_nvme *ctrl = subsys->ctrl[id];

		if (!ctrl || !tn_ns_get(ctrl, space->nsid))
			continue;
		const struct tn_host host = tn_host_of(ctrl);
		for (i = 0; i < out->count; i++) {
			if (tn_host_is(&out->event[i].host, &host))
				note(ctrl, space->nsid, out->event[i].note);
		}
	}
}

/* ---- changes ---- */

static void change_free(struct change *change)
{
	unsigned int id;

	for (id = 1; change && id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++)
		tn_io_deny_free(change->deny[id]);
	free(change);
}

static struct change *change_new(struct bh_target_subsys *subsys, struct tn_resv_cmd *cmd)
{
	struct change *change = calloc(1, sizeof(*change));
	unsigned int id;

	if (!change)
		return NULL;
	change->subsys = subsys;
	change->cmd = cmd;
	change->left = 1;
	for (id = 1; id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++) {
		struct bh_target_nvme *ctrl = subsys->ctrl[id];

		if (!ctrl || !ctrl->io)
			continue;
		change->deny[id] = tn_io_deny_new(ctrl);
		if (!change->deny[id]) {
			change_free(change);
			return NULL;
		}
	}
	return change;
}

static void run_next(struct bh_target_subsys *subsys);

static void change_answer(void *arg)
{
	struct change *change = arg;
	struct bh_target_subsys *subsys = change->subsys;
	struct tn_resv_cmd *cmd = change->cmd;
	void (*done)(void *) = change->done;
	void *done_arg = change->arg;

	if (--change->left)
		return;
	change_free(change);
	if (cmd)
		tn_resv_cmd_return(cmd);
	if (done)
		done(done_arg);
	if (!cmd)
		return;
	subsys->is_resv_busy = false;
	run_next(subsys);
}

static bool was_told(const struct tn_resv_outcome *out, const struct tn_host *host)
{
	uint32_t i;

	for (i = 0; out && i < out->count; i++) {
		if (tn_host_is(&out->event[i].host, host))
			return true;
	}
	return false;
}

/* One controller's view of a namespace, as it is now. out: of a command, NULL: none. */
static void apply(struct change *change, struct bh_target_nvme *ctrl, const struct tn_space *space,
		  const struct tn_resv_outcome *out)
{
	struct tn_ns *ns = ctrl->ns[space->nsid];
	void *deny = change->deny[ctrl->cntlid];
	uint8_t now;

	if (!ns || ns->detaching || !deny)
		return;
	const struct tn_host host = tn_host_of(ctrl);
	bool is_aborting = out && out->is_aborting && was_told(out, &host);
	now = tn_resv_denied_to(ctrl, space);
	if (now == __atomic_load_n(&ns->deny, __ATOMIC_RELAXED) && !is_aborting)
		return;
	__atomic_store_n(&ns->deny, now, __ATOMIC_RELAXED);
	change->deny[ctrl->cntlid] = NULL;
	change->left++;
	tn_io_deny_send(deny, space->nsid, now, is_aborting, change_answer, change);
}

static void apply_to_all(struct change *change, const struct tn_space *space,
			 const struct tn_resv_outcome *out)
{
	unsigned int id;

	for (id = 1; id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++) {
		if (change->subsys->ctrl[id])
			apply(change, change->subsys->ctrl[id], space, out);
	}
}

/* ---- report (base 7.5) ---- */

static void put_bytes(struct tn_resv_cmd *cmd, size_t *at, const void *from, size_t len)
{
	if (*at < cmd->len)
		memcpy(cmd->data + *at, from, len < cmd->len - *at ? len : cmd->len - *at);
	*at += len;
}

static void put_registrant(struct tn_resv_cmd *cmd, size_t *at, const struct tn_resv *resv,
			   const struct tn_registrant *r, uint16_t cntlid)
{
	bool is_holder = tn_resv_is_holder(resv, &r->host);
	struct bh_nvme_resv_ctrl_ext ext = { .cntlid = cntlid, .rcsts = is_holder, .rkey = r->key };
	struct bh_nvme_resv_ctrl one = { .cntlid = cntlid, .rcsts = is_holder, .rkey = r->key };

	memcpy(ext.hostid, r->host.id, sizeof(ext.hostid));
	memcpy(&one.hostid, r->host.id, sizeof(one.hostid));
	if (cmd->cmd.cdw11 & BH_NVME_RESV_REPORT_EDS)
		put_bytes(cmd, at, &ext, sizeof(ext));
	else
		put_bytes(cmd, at, &one, sizeof(one));
}

/* A line per controller of a registered host, or one for a host that is not here. */
static uint16_t put_registrants(struct tn_resv_cmd *cmd, size_t *at, const struct tn_space *space)
{
	const struct tn_resv *resv = space->resv;
	uint16_t id, count = 0, here;
	uint32_t i;

	for (i = 0; resv && i < resv->count; i++) {
		for (id = 1, here = 0; id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++) {
			const struct bh_target_nvme *ctrl = space->subsys->ctrl[id];

			if (!ctrl)
				continue;
			const struct tn_host host = tn_host_of(ctrl);
			if (!tn_host_is(&host, &resv->reg[i].host))
				continue;
			put_registrant(cmd, at, resv, &resv->reg[i], id);
			here++;
		}
		if (!here)
			put_registrant(cmd, at, resv, &resv->reg[i], 0xffff);
		count = (uint16_t)(count + (here ? here : 1));
	}
	return count;
}

static uint16_t report(struct tn_resv_cmd *cmd, const struct tn_space *space)
{
	bool is_ext = cmd->cmd.cdw11 & BH_NVME_RESV_REPORT_EDS;
	const struct tn_resv *resv = space->resv;
	struct bh_nvme_resv_status_ext status = { 0 };
	size_t head = is_ext ? sizeof(status) : sizeof(status.head), at = head;
	const struct tn_host host = tn_host_of(cmd->ctrl);
	uint16_t count;

	/* Who has no id may have it either way. */
	if (!host.cntlid && is_ext != cmd->ctrl->features.is_host_id_ext)
		return BH_NVME_SC_HOSTID_INCONSISTENT_FORMAT;
	memset(cmd->data, 0, cmd->len);
	count = put_registrants(cmd, &at, space);
	status.head.gen = resv ? resv->gen : 0;
	status.head.rtype = resv ? resv->type : 0;
	status.head.ptpls = resv && resv->is_persistent;
	memcpy(status.head.regctl, &count, sizeof(count));
	at = 0;
	put_bytes(cmd, &at, &status, head);
	return 0;
}

/* ---- commands ---- */

static uint16_t carry_out(struct tn_resv_cmd *cmd, struct tn_space *space,
			  struct tn_resv_outcome *out)
{
	const struct tn_host host = tn_host_of(cmd->ctrl);

	if (!tn_space_resv(space))
		return BH_NVME_SC_INTERNAL_ERROR;
	switch (cmd->cmd.opc) {
	case BH_NVME_CMD_RESV_REGISTER:
		return tn_resv_register(space->resv, &host, &cmd->cmd, (const void *)cmd->data,
					tn_subsys_is_persistent(space->subsys), out);
	case BH_NVME_CMD_RESV_ACQUIRE:
		return tn_resv_acquire(space->resv, &host, &cmd->cmd, (const void *)cmd->data, out);
	default:
		return tn_resv_release(space->resv, &host, &cmd->cmd, (const void *)cmd->data, out);
	}
}

/* True: it will return later. False: it has its status. */
static bool run(struct tn_resv_cmd *cmd)
{
	struct bh_target_subsys *subsys = cmd->ctrl->subsys;
	struct tn_space *space = tn_space_get(subsys, cmd->cmd.nsid);
	struct tn_resv_outcome out = { 0 };
	struct change *change;

	if (!space || !tn_ns_get(cmd->ctrl, cmd->cmd.nsid)) {
		cmd->status = BH_NVME_SC_INVALID_NS | BH_NVME_STATUS_DNR;
		return false;
	}
	if (cmd->cmd.opc == BH_NVME_CMD_RESV_REPORT) {
		cmd->status = report(cmd, space);
		return false;
	}
	change = change_new(subsys, cmd);
	cmd->status = change ? carry_out(cmd, space, &out) : BH_NVME_SC_INTERNAL_ERROR;
	if (cmd->status) {
		change_free(change);
		return false;
	}
	subsys->is_resv_busy = true;
	tn_subsys_changed(subsys);
	tell(space, &out);
	apply_to_all(change, space, &out);
	change_answer(change);
	return true;
}

static void run_next(struct bh_target_subsys *subsys)
{
	struct tn_resv_cmd *cmd;

	while (!subsys->is_resv_busy && (cmd = subsys->resv_cmds) != NULL) {
		subsys->resv_cmds = cmd->next;
		if (!run(cmd))
			tn_resv_cmd_return(cmd);
	}
}

void tn_resv_cmd_come(struct tn_resv_cmd *cmd)
{
	struct bh_target_subsys *subsys = cmd->ctrl->subsys;
	struct tn_resv_cmd **at = &subsys->resv_cmds;

	while (*at)
		at = &(*at)->next;
	cmd->next = NULL;
	*at = cmd;
	run_next(subsys);
}

/* The controller goes: what it has asked for and not begun comes to nothing. */
static void drop_cmds(struct bh_target_nvme *ctrl)
{
	struct tn_resv_cmd **at = &ctrl->subsys->resv_cmds, *cmd;

	while ((cmd = *at) != NULL) {
		if (cmd->ctrl != ctrl) {
			at = &cmd->next;
			continue;
		}
		*at = cmd->next;
		cmd->status = BH_NVME_SC_ABORTED_BY_REQUEST;
		tn_resv_cmd_return(cmd);
	}
}

/* ---- hosts ---- */

static void forget_host(struct bh_target_subsys *subsys, const struct tn_host *host)
{
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		struct tn_space *space = subsys->space[nsid];
		struct tn_resv_outcome out = { 0 };
		struct change *change;

		if (!space || !space->resv || !tn_resv_forget(space->resv, host, &out))
			continue;
		tell(space, &out);
		change = change_new(subsys, NULL);
		if (!change)
			continue; /* others learn of it with the next command */
		apply_to_all(change, space, NULL);
		change_answer(change);
	}
}

struct looking {
	unsigned int left;
	void (*done)(void *arg);
	void *arg;
};

static void looked(void *arg)
{
	struct looking *looking = arg;
	void (*done)(void *) = looking->done;
	void *done_arg = looking->arg;

	if (--looking->left)
		return;
	free(looking);
	if (done)
		done(done_arg);
}

int tn_resv_host_changed(struct bh_target_nvme *ctrl, void (*done)(void *arg), void *arg)
{
	struct looking *looking = calloc(1, sizeof(*looking));
	uint32_t nsid;

	if (!looking)
		return -ENOMEM;
	*looking = (struct looking){ 1, done, arg };
	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		const struct tn_space *space = tn_space_get(ctrl->subsys, nsid);
		struct change *change;

		if (!space || !space->resv || !ctrl->ns[nsid])
			continue;
		change = change_new(ctrl->subsys, NULL);
		if (!change)
			continue;
		change->done = looked;
		change->arg = looking;
		looking->left++;
		apply(change, ctrl, space, NULL);
		change_answer(change);
	}
	looked(looking);
	return 0;
}

void tn_resv_reset(struct bh_target_nvme *ctrl)
{
	const struct tn_host host = tn_host_of(ctrl);

	tn_ctl(ctrl)->resv_notes.count = 0;
	if (!ctrl->subsys || ctrl->subsys->is_implied)
		return;
	memset(ctrl->features.host_id, 0, sizeof(ctrl->features.host_id));
	ctrl->features.is_host_id_ext = false;
	if (host.cntlid)
		forget_host(ctrl->subsys, &host);
	(void)tn_resv_host_changed(ctrl, NULL, NULL);
}

void tn_resv_leave(struct bh_target_nvme *ctrl)
{
	const struct tn_host host = tn_host_of(ctrl);

	drop_cmds(ctrl);
	if (host.cntlid)
		forget_host(ctrl->subsys, &host);
}

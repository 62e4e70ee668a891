/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The admin queue pair: entries in, completions out.
 *
 * Everything is asynchronous, because the queues may lie in memory that is reached by messages to
 * the client: at most one entry is being fetched and one completion being written at a time, each
 * from where it stops to where it goes on (fetch_done, write_done), in loops rather than by
 * recursion when the answers come at once, as they do for mapped memory.
 *
 * A command is one of a fixed number of slots from the moment its entry is fetched until its
 * completion is written. If none is free, or the completion queue is full, fetching or writing
 * waits until that changes. Outstanding Asynchronous Event Requests hold slots too; there is
 * always room for others beside them.
 *
 * `transfers` counts what is under way between us and client memory: entries, completions, data.
 * Paused (a gate is closing) no entry is fetched and no completion written, and when the count is
 * zero nothing is written any more. A reset (tn_admin_drop, inside the gate) forgets the queues;
 * commands that wait for the I/O plane are marked dropped, and freed when it answers.
 *
 * The doorbells are in shared memory and say what the client likes: the tail is checked each time
 * it is read. An impossible one raises the event for that and stops fetching until reset.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/nvme/control.h"

#define SLOTS 32u
#define PER_TURN 32u /* commands, then other controllers' messages come first */
static_assert(SLOTS > TN_AER_LIMIT + TN_ABORT_LIMIT, "room beside commands that wait for long");

struct list {
	struct tn_admin_cmd *head, **tail;
};

struct tn_admin {
	struct bh_target_nvme *ctrl;
	bool is_running;
	bool is_paused;
	bool is_stopped; /* an invalid tail */
	unsigned int transfers;
	unsigned int turn;     /* commands left of it */
	struct bh_timer *more; /* the next one */

	uint64_t sq_iova, cq_iova;
	uint32_t sq_entries, cq_entries;
	uint32_t sq_head, sq_tail;
	uint32_t cq_head, cq_tail;
	uint32_t bad_cq_head; /* the last invalid value told of; UINT32_MAX: none */
	bool is_logged;	      /* an invalid value was, since the queues are there */
	bool phase;
	bool is_interrupting; /* completions since the last interrupt */

	bool is_fetching, is_in_fetch;
	bool is_writing, is_in_write;
	struct tn_admin_cmd *fetching;
	struct tn_admin_cmd *writing;
	struct bh_nvme_cpl cpl; /* of `writing`, on its way */

	struct tn_admin_cmd *free;
	struct list held;      /* fetched while a gate was closing */
	struct list completed; /* not yet written */
	struct list aers;
	struct list queue_waiting;
	struct tn_admin_cmd *queue_cmd; /* the one command about queues being carried out */
	unsigned int num_aers;
	struct bh_cmem_cache cache;
	struct tn_admin_cmd slots[SLOTS];
};

static void advance(struct tn_admin *a);

static void list_init(struct list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

static void list_add(struct list *list, struct tn_admin_cmd *cmd)
{
	cmd->next = NULL;
	*list->tail = cmd;
	list->tail = &cmd->next;
}

static struct tn_admin_cmd *list_pop(struct list *list)
{
	struct tn_admin_cmd *cmd = list->head;

	if (!cmd)
		return NULL;
	list->head = cmd->next;
	if (!list->head)
		list->tail = &list->head;
	return cmd;
}

static void slot_free(struct tn_admin *a, struct tn_admin_cmd *cmd)
{
	cmd->is_busy = false;
	free(cmd->copy);
	cmd->copy = NULL;
	cmd->next = a->free;
	a->free = cmd;
}

static struct tn_admin_cmd *slot_get(struct tn_admin *a)
{
	struct tn_admin_cmd *cmd = a->free;

	if (!cmd)
		return NULL;
	a->free = cmd->next;
	cmd->next = NULL;
	cmd->cdw0 = 0;
	cmd->status = 0;
	cmd->then = NULL;
	cmd->is_busy = true;
	cmd->is_dropped = false;
	cmd->is_abort = false;
	return cmd;
}

static void transfer_done(struct tn_admin *a)
{
	if (--a->transfers == 0 && a->is_paused)
		tn_gate_admin_idle(a->ctrl);
}

/* ---- interrupts: vector 0, or the level of condition 0 on the INTx line ---- */

static bool has_unread(const struct tn_admin *a)
{
	return a->is_running && a->cq_head != a->cq_tail;
}

static void update_level(struct tn_admin *a)
{
	bool is_on = has_unread(a) && !(a->ctrl->regs.intms & 1u);

	bh_vfu_irq_level(a->ctrl->server, 0, is_on);
}

static void interrupt(struct tn_admin *a)
{
	if (!a->is_interrupting)
		return;
	a->is_interrupting = false;
	if (bh_vfu_irq_msix_enabled(a->ctrl->server))
		bh_vfu_irq_raise(a->ctrl->server, 0);
	else
		update_level(a);
}

/* ---- doorbells ---- */

static void invalid_doorbell(struct tn_admin *a, const char *which, uint32_t value)
{
	/* The host hears of each, the log of the first: values change faster than a disk fills. */
	if (!a->is_logged)
		bh_log(a->ctrl->log, BH_LOG_WARN, TN_LOG,
		       "%s: invalid value %u in the admin %s doorbell", a->ctrl->path, value,
		       which);
	a->is_logged = true;
	tn_error_add(a->ctrl, 0, 0xffff, BH_NVME_SC_INVALID_FIELD, TN_AT_NOWHERE, 0, 0);
	tn_event_raise(a->ctrl, BH_NVME_AER_TYPE_ERROR, BH_NVME_AER_ERROR_INVALID_DOORBELL_VALUE,
		       BH_NVME_LOG_ERROR);
}

static void read_tail(struct tn_admin *a)
{
	/* Acquire: the entries before this tail are read after it. */
	uint32_t tail = bh_load_acquire_u32(tn_doorbell(a->ctrl, 0));

	if (a->is_stopped)
		return;
	if (tail < a->sq_entries) {
		a->sq_tail = tail;
		return;
	}
	a->is_stopped = true;
	invalid_doorbell(a, "submission queue", tail);
}

static void read_cq_head(struct tn_admin *a)
{
	uint32_t head = bh_load_acquire_u32(tn_doorbell(a->ctrl, 1));
	uint32_t unread = (a->cq_tail + a->cq_entries - a->cq_head) % a->cq_entries;

	if (head == a->cq_head)
		return;
	if (head < a->cq_entries && (head + a->cq_entries - a->cq_head) % a->cq_entries <= unread) {
		a->cq_head = head;
		a->bad_cq_head = UINT32_MAX;
		if (!bh_vfu_irq_msix_enabled(a->ctrl->server))
			update_level(a);
	} else if (head != a->bad_cq_head) {
		a->bad_cq_head = head;
		invalid_doorbell(a, "completion queue", head);
	}
}

/* The level is stated anew, from what the host has written until now. */
void tn_admin_irqs_changed(struct bh_target_nvme *ctrl)
{
	struct tn_admin *a = ctrl->admin;

	if (bh_vfu_irq_msix_enabled(ctrl->server))
		return;
	if (a->is_running)
		read_cq_head(a);
	update_level(a);
}

/* ---- completions ---- */

static bool cq_is_full(const struct tn_admin *a)
{
	return (a->cq_tail + 1) % a->cq_entries == a->cq_head;
}

static void written(struct tn_admin *a, int status)
{
	struct tn_admin_cmd *cmd = a->writing;

	a->writing = NULL;
	a->is_writing = false;
	slot_free(a, cmd);
	if (status) {
		tn_ctrl_fatal(a->ctrl, "the admin completion queue cannot be written");
		return;
	}
	a->cq_tail++;
	if (a->cq_tail == a->cq_entries) {
		a->cq_tail = 0;
		a->phase = !a->phase;
	}
	a->is_interrupting = true;
}

static void write_done(void *arg, int status)
{
	struct tn_admin *a = arg;

	written(a, status);
	if (!a->is_in_write)
		advance(a);
	transfer_done(a);
}

/* The last dword, with the phase, after the rest: the client may be looking. */
static void write_phase(void *arg, int status)
{
	struct tn_admin *a = arg;
	uint64_t iova = a->cq_iova + (uint64_t)a->cq_tail * sizeof(a->cpl);

	if (status) {
		write_done(a, status);
		return;
	}
	bh_cmem_write(a->ctrl->cmem, iova + 12, (uint8_t *)&a->cpl + 12, 4, write_done, a);
}

static void write_cpl(struct tn_admin *a, struct tn_admin_cmd *cmd)
{
	uint64_t iova = a->cq_iova + (uint64_t)a->cq_tail * sizeof(a->cpl);
	struct bh_cmem *cmem = a->ctrl->cmem;
	uint8_t *entry;
	uint32_t last;

	a->writing = cmd;
	a->is_writing = true;
	a->cpl.cdw0 = cmd->cdw0;
	a->cpl.cdw1 = 0;
	a->cpl.sqhd = (uint16_t)a->sq_head;
	a->cpl.sqid = 0;
	a->cpl.cid = cmd->sqe.cid;
	a->cpl.status = (uint16_t)(cmd->status << 1 | (a->phase ? BH_NVME_CPL_PHASE : 0));
	a->transfers++;
	entry = bh_cmem_ptr(cmem, &a->cache, iova, sizeof(a->cpl), BH_CMEM_PROT_WRITE);
	if (!entry) {
		bh_cmem_write(cmem, iova, &a->cpl, 12, write_phase, a);
		return;
	}
	memcpy(&last, (uint8_t *)&a->cpl + 12, 4);
	bh_cmem_store(cmem, iova, entry, &a->cpl, 12);
	bh_store_release_u32(entry + 12, last);
	bh_cmem_dirty(cmem, iova + 12, 4);
	write_done(a, bh_cmem_failed(cmem, iova, sizeof(a->cpl)) ? -EFAULT : 0);
}

static bool may_work(const struct tn_admin *a)
{
	return a->is_running && !a->is_paused &&
	       !(__atomic_load_n(&a->ctrl->regs.csts, __ATOMIC_RELAXED) & BH_NVME_CSTS_CFS);
}

static void write_more(struct tn_admin *a)
{
	struct tn_admin_cmd *cmd;

	a->is_in_write = true;
	while (may_work(a) && !a->is_writing && !cq_is_full(a)) {
		cmd = list_pop(&a->completed);
		if (!cmd)
			break;
		write_cpl(a, cmd);
	}
	a->is_in_write = false;
	interrupt(a);
}

/* ---- fetching ---- */

static void fetched(struct tn_admin *a, int status)
{
	struct tn_admin_cmd *cmd = a->fetching;

	a->fetching = NULL;
	a->is_fetching = false;
	if (status) {
		slot_free(a, cmd);
		tn_ctrl_fatal(a->ctrl, "the admin submission queue cannot be read");
		return;
	}
	a->sq_head = (a->sq_head + 1) % a->sq_entries;
	if (a->is_paused)
		list_add(&a->held, cmd);
	else
		tn_admin_execute(cmd);
}

static void fetch_done(void *arg, int status)
{
	struct tn_admin *a = arg;

	fetched(a, status);
	if (!a->is_in_fetch)
		advance(a);
	transfer_done(a);
}

static void fetch_more(struct tn_admin *a)
{
	struct tn_admin_cmd *cmd;

	a->is_in_fetch = true;
	while (may_work(a) && !a->is_fetching && a->sq_head != a->sq_tail && a->turn > 0) {
		cmd = slot_get(a);
		if (!cmd)
			break;
		a->turn--;
		a->fetching = cmd;
		a->is_fetching = true;
		a->transfers++;
		bh_cmem_read(a->ctrl->cmem, a->sq_iova + (uint64_t)a->sq_head * sizeof(cmd->sqe),
			     &cmd->sqe, sizeof(cmd->sqe), fetch_done, a);
	}
	a->is_in_fetch = false;
}

/*
 * Whatever can be done now, in a turn. Not from inside one of the two loops, which see to the rest
 * themselves.
 */
static void advance(struct tn_admin *a)
{
	if (!a->is_running || a->is_in_fetch || a->is_in_write)
		return;
	a->turn = PER_TURN;
	do {
		fetch_more(a);
		write_more(a);
		/* Written completions have freed slots. */
	} while (may_work(a) && !a->is_fetching && a->sq_head != a->sq_tail && a->free && a->turn);
	if (!a->turn && a->sq_head != a->sq_tail)
		bh_timer_set(a->more, 0);
}

void tn_admin_kick(struct bh_target_nvme *ctrl)
{
	struct tn_admin *a = ctrl->admin;

	if (!a->is_running || a->is_paused)
		return;
	read_tail(a);
	read_cq_head(a);
	advance(a);
}

/* ---- what commands do ---- */

/* Not while a gate is closed: the I/O plane's queues stand still then. */
static void next_queue_cmd(struct tn_admin *a)
{
	struct tn_admin_cmd *cmd;

	if (a->queue_cmd || a->is_paused)
		return;
	cmd = list_pop(&a->queue_waiting);
	a->queue_cmd = cmd;
	if (cmd)
		cmd->then(cmd);
}

static void complete(struct tn_admin_cmd *cmd, uint16_t sf, uint16_t location)
{
	struct tn_admin *a = cmd->ctrl->admin;

	if (cmd->is_dropped) {
		slot_free(a, cmd);
		return;
	}
	if (sf & BH_NVME_STATUS_SC_MASK) {
		cmd->cdw0 = 0;
		tn_error_add(cmd->ctrl, 0, cmd->sqe.cid, sf, location, 0, cmd->sqe.nsid);
	}
	cmd->status = sf;
	list_add(&a->completed, cmd);
	if (cmd == a->queue_cmd) {
		a->queue_cmd = NULL;
		next_queue_cmd(a);
	}
	advance(a);
}

void tn_admin_complete(struct tn_admin_cmd *cmd, uint16_t sf)
{
	complete(cmd, sf, TN_AT_NOWHERE);
}

void tn_admin_fail(struct tn_admin_cmd *cmd, uint16_t sf, unsigned int byte)
{
	complete(cmd, sf | BH_NVME_STATUS_DNR, (uint16_t)byte);
}

static void transferred(void *arg, uint16_t status)
{
	struct tn_admin_cmd *cmd = arg;
	struct tn_admin *a = cmd->ctrl->admin;

	cmd->status = status;
	if (!cmd->then || cmd->is_dropped)
		complete(cmd, status, TN_AT_PRP1);
	else
		cmd->then(cmd);
	transfer_done(a);
}

static void transfer(struct tn_admin_cmd *cmd, uint8_t *buf, size_t len, bool to_client,
		     tn_admin_fn then)
{
	struct bh_target_nvme *ctrl = cmd->ctrl;

	cmd->then = then;
	cmd->xfer.cmem = ctrl->cmem;
	cmd->xfer.home = ctrl->control;
	cmd->xfer.cmd = cmd->sqe;
	cmd->xfer.buf = buf;
	cmd->xfer.len = len;
	cmd->xfer.to_client = to_client;
	cmd->xfer.done = transferred;
	cmd->xfer.arg = cmd;
	cmd->xfer.hold = NULL;
	cmd->xfer.is_cancelled = false;
	ctrl->admin->transfers++;
	tn_xfer_run(&cmd->xfer);
}

void tn_admin_send(struct tn_admin_cmd *cmd, size_t offset, size_t len, tn_admin_fn then)
{
	transfer(cmd, cmd->data + offset, len, true, then);
}

void tn_admin_send_copy(struct tn_admin_cmd *cmd, const void *data, size_t len)
{
	if (!len) {
		tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
		return;
	}
	cmd->copy = malloc(len);
	if (!cmd->copy) {
		tn_admin_complete(cmd, BH_NVME_SC_INTERNAL_ERROR);
		return;
	}
	memcpy(cmd->copy, data, len);
	transfer(cmd, cmd->copy, len, true, NULL);
}

void tn_admin_receive(struct tn_admin_cmd *cmd, size_t len, tn_admin_fn then)
{
	transfer(cmd, cmd->data, len, false, then);
}

void tn_admin_serialize(struct tn_admin_cmd *cmd, tn_admin_fn fn)
{
	struct tn_admin *a = cmd->ctrl->admin;

	cmd->then = fn;
	list_add(&a->queue_waiting, cmd);
	next_queue_cmd(a);
}

void tn_admin_io_done(void *arg, uint16_t status)
{
	tn_admin_complete(arg, status);
}

void tn_admin_aer_add(struct tn_admin_cmd *cmd)
{
	struct tn_admin *a = cmd->ctrl->admin;

	if (a->num_aers == TN_AER_LIMIT) {
		tn_admin_fail(cmd, BH_NVME_SC_ASYNC_EVENT_LIMIT_EXCEEDED, TN_AT_OPC);
		return;
	}
	a->num_aers++;
	list_add(&a->aers, cmd);
	tn_events_deliver(cmd->ctrl);
}

unsigned int tn_admin_aers(const struct bh_target_nvme *ctrl)
{
	return ctrl->admin->num_aers;
}

void tn_admin_aer_complete(struct bh_target_nvme *ctrl, uint32_t cdw0)
{
	struct tn_admin_cmd *cmd = list_pop(&ctrl->admin->aers);

	ctrl->admin->num_aers--;
	cmd->cdw0 = cdw0;
	tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
}

bool tn_admin_abort_own(struct bh_target_nvme *ctrl, uint16_t cid)
{
	struct tn_admin *a = ctrl->admin;
	struct tn_admin_cmd **at, *cmd;

	for (at = &a->aers.head; *at; at = &(*at)->next) {
		cmd = *at;
		if (cmd->sqe.cid != cid)
			continue;
		*at = cmd->next;
		if (!*at)
			a->aers.tail = at;
		a->num_aers--;
		/* What was asked for is no error: no log entry. */
		cmd->status = BH_NVME_SC_ABORTED_BY_REQUEST;
		list_add(&a->completed, cmd);
		return true;
	}
	return false;
}

unsigned int tn_admin_aborts(const struct bh_target_nvme *ctrl)
{
	unsigned int i, count = 0;

	for (i = 0; i < SLOTS; i++) {
		const struct tn_admin_cmd *cmd = &ctrl->admin->slots[i];

		count += cmd->is_busy && !cmd->is_dropped && cmd->is_abort;
	}
	return count;
}

/* ---- life ---- */

static void next_turn(void *ctx)
{
	tn_admin_kick(ctx);
}

int tn_admin_create(struct bh_target_nvme *ctrl)
{
	struct tn_admin *a = calloc(1, sizeof(*a));
	unsigned int i;
	int rc;

	if (!a)
		return -ENOMEM;
	rc = bh_timer_create(ctrl->control, next_turn, ctrl, &a->more);
	if (rc) {
		free(a);
		return rc;
	}
	a->ctrl = ctrl;
	list_init(&a->held);
	list_init(&a->completed);
	list_init(&a->aers);
	list_init(&a->queue_waiting);
	for (i = 0; i < SLOTS; i++) {
		a->slots[i].ctrl = ctrl;
		slot_free(a, &a->slots[i]);
	}
	ctrl->admin = a;
	return 0;
}

void tn_admin_free(struct bh_target_nvme *ctrl)
{
	if (ctrl->admin)
		bh_timer_destroy(ctrl->admin->more);
	free(ctrl->admin);
	ctrl->admin = NULL;
}

void tn_admin_start(struct bh_target_nvme *ctrl)
{
	struct tn_admin *a = ctrl->admin;
	const struct tn_regs *regs = &ctrl->regs;

	a->sq_iova = regs->asq;
	a->cq_iova = regs->acq;
	a->sq_entries = (uint32_t)BH_NVME_GET(regs->aqa, AQA_ASQS) + 1;
	a->cq_entries = (uint32_t)BH_NVME_GET(regs->aqa, AQA_ACQS) + 1;
	a->sq_head = a->sq_tail = 0;
	a->cq_head = a->cq_tail = 0;
	a->bad_cq_head = UINT32_MAX;
	a->is_logged = false;
	a->phase = true;
	a->is_stopped = false;
	a->is_interrupting = false;
	a->is_paused = tn_ctl(ctrl)->gate != NULL;
	a->is_running = true;
}

void tn_admin_drop(struct bh_target_nvme *ctrl)
{
	struct tn_admin *a = ctrl->admin;
	struct tn_admin_cmd *cmd;
	unsigned int i;

	a->is_running = false;
	for (i = 0; i < SLOTS; i++)
		a->slots[i].is_dropped = true;
	/* Nobody else holds those in our own lists. */
	while ((cmd = list_pop(&a->held)))
		slot_free(a, cmd);
	while ((cmd = list_pop(&a->completed)))
		slot_free(a, cmd);
	while ((cmd = list_pop(&a->aers)))
		slot_free(a, cmd);
	while ((cmd = list_pop(&a->queue_waiting)))
		slot_free(a, cmd);
	a->queue_cmd = NULL;
	a->num_aers = 0;
	bh_vfu_irq_level(ctrl->server, 0, false);
}

void tn_admin_pause(struct bh_target_nvme *ctrl)
{
	ctrl->admin->is_paused = true;
}

void tn_admin_resume(struct bh_target_nvme *ctrl)
{
	struct tn_admin *a = ctrl->admin;
	struct tn_admin_cmd *cmd;

	a->is_paused = false;
	/* Client memory may have changed. */
	memset(&a->cache, 0, sizeof(a->cache));
	while (!a->is_paused && (cmd = list_pop(&a->held)))
		tn_admin_execute(cmd);
	next_queue_cmd(a);
	tn_admin_kick(ctrl);
}

bool tn_admin_is_idle(const struct bh_target_nvme *ctrl)
{
	return ctrl->admin->transfers == 0;
}

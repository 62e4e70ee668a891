/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces of a controller: attachments of those of its subsystem (subsys.c).
 *
 * A namespace is attached (its id is taken, and it is held), then opening (each thread opens a channel), active,
 * closing, gone. The host sees it while it is active. A detach that comes while it is opening
 * waits for that.
 *
 * While somebody claims the store, for another format or to sanitize it, the namespace stands still:
 * the host sees it, and is told why if it wants more. It may go meanwhile. Who claims
 * waits in turn: until it yields, and afterwards until it has gone on, on all threads. What has been
 * asked for is answered even by a namespace on its way out, whose last message it waits for.
 *
 * Stores may be resized on any thread: the listener leaves the new size and sends one message to
 * the control thread. A message under way when the namespace goes frees it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/nvme/control.h"
#include "target/nvme/subsys.h"

enum state {
	OPENING,
	ACTIVE,
	PAUSING, /* its store is claimed, */
	PAUSED,	 /* and yielded; */
	GOING_ON,
	CLOSING,
};

/* A struct tn_ns as the I/O plane knows it, and what is ours. */
struct ns {
	struct tn_ns ns; /* first */
	enum state state;
	bool is_calling;       /* inside tn_io_ns_add() */
	int error;	       /* of an opening that failed inside the call */
	bool is_unwanted;      /* detached while opening, or standing still */
	bool is_asked;	       /* to yield the store, and did not */
	struct bh_timer *look; /* for what was left in the store */
	bool is_closed;	       /* and forgotten with the last of these messages */
	struct tn_taking taking;
	struct bh_msg yield_msg, resume_msg;
	void (*added)(void *arg, int error);
	void *added_arg;
	void (*gone)(void *arg);
	void *gone_arg;
	/* under lock */
	pthread_mutex_t lock;
	uint64_t new_blocks;
	bool is_sent;
	bool is_dead;
	struct bh_msg msg;
	unsigned int asked; /* messages to yield, and to resume, under way */
};

static struct ns *ns_of(const struct bh_target_nvme *ctrl, uint32_t nsid)
{
	return nsid >= 1 && nsid <= BH_TARGET_NVME_MAX_NS ? (struct ns *)ctrl->ns[nsid] : NULL;
}

struct tn_ns *tn_ns_get(const struct bh_target_nvme *ctrl, uint32_t nsid)
{
	struct ns *ns = ns_of(ctrl, nsid);

	return ns && ns->state != OPENING && ns->state != CLOSING ? &ns->ns : NULL;
}

void tn_ns_changed(struct bh_target_nvme *ctrl, uint32_t nsid)
{
	if (!(__atomic_load_n(&ctrl->regs.csts, __ATOMIC_RELAXED) & BH_NVME_CSTS_RDY))
		return; /* whoever enables it looks at all of them */
	tn_ctl(ctrl)->changed_ns[nsid / 64] |= 1ull << nsid % 64;
	tn_event_raise(ctrl, BH_NVME_AER_TYPE_NOTICE, BH_NVME_AER_NOTICE_NS_ATTR_CHANGED,
		       BH_NVME_LOG_CHANGED_NS);
}

/* ---- resize ---- */

static void ns_free(struct ns *ns)
{
	bh_timer_destroy(ns->look);
	pthread_mutex_destroy(&ns->lock);
	free(ns);
}

static void take_size(void *arg)
{
	struct ns *ns = arg;
	uint64_t blocks;
	bool is_dead;

	pthread_mutex_lock(&ns->lock);
	ns->is_sent = false;
	blocks = ns->new_blocks;
	is_dead = ns->is_dead;
	pthread_mutex_unlock(&ns->lock);
	if (is_dead) {
		ns_free(ns);
		return;
	}
	if (ns->state == CLOSING || blocks == ns->ns.blocks)
		return;
	__atomic_store_n(&ns->ns.blocks, blocks, __ATOMIC_RELEASE);
	if (ns->state != ACTIVE)
		return;
	tn_io_ns_resized(ns->ns.ctrl, &ns->ns);
	tn_ns_changed(ns->ns.ctrl, ns->ns.nsid);
}

/* The resizer's thread. */
static void resized(struct bh_blk_listener *listener, uint64_t blocks)
{
	struct ns *ns = (struct ns *)((char *)listener - offsetof(struct ns, ns.resize));

	pthread_mutex_lock(&ns->lock);
	ns->new_blocks = blocks;
	if (!ns->is_sent) {
		ns->is_sent = true;
		bh_reactor_send(ns->ns.ctrl->control, &ns->msg);
	}
	pthread_mutex_unlock(&ns->lock);
}

/* ---- standing still ---- */

#define LOOK_NS 1000000ull

static void begin_close(struct ns *ns);
static void forget(struct ns *ns);

/* One of the two messages has arrived. */
static void take_ask(struct ns *ns)
{
	pthread_mutex_lock(&ns->lock);
	ns->asked--;
	pthread_mutex_unlock(&ns->lock);
}

static void paused(void *arg)
{
	struct ns *ns = arg;

	if (tn_io_ns_has_left(&ns->ns)) {
		bh_timer_set(ns->look, LOOK_NS);
		return;
	}
	ns->state = PAUSED;
	bh_blk_yielded(ns->ns.blk);
	if (ns->is_unwanted)
		begin_close(ns);
}

static void begin_pause(struct ns *ns)
{
	ns->is_asked = false;
	ns->state = PAUSING;
	tn_ctl(ns->ns.ctrl)->pending_ns++;
	tn_io_ns_pause(ns->ns.ctrl, &ns->ns, paused, ns);
}

/* One that is on its way in or out does it when it has arrived. */
static void yield_now(void *arg)
{
	struct ns *ns = arg;

	take_ask(ns);
	ns->is_asked = true;
	if (ns->is_closed)
		forget(ns);
	else if (ns->state == ACTIVE)
		begin_pause(ns);
}

static void gone_on(void *arg)
{
	struct ns *ns = arg;

	ns->state = ACTIVE;
	tn_ctl(ns->ns.ctrl)->pending_ns--;
	if (!ns->is_unwanted) {
		tn_subsys_changed(ns->ns.ctrl->subsys); /* its format, perhaps */
		tn_ns_changed(ns->ns.ctrl, ns->ns.nsid);
	}
	bh_blk_resumed(ns->ns.blk);
	if (ns->is_unwanted)
		begin_close(ns);
	else if (ns->is_asked) /* claimed anew */
		begin_pause(ns);
}

static void take_store(struct tn_ns *ns)
{
	const struct bh_blk_info *info = bh_blk_info(ns->blk);

	ns->block_shift = info->block_size == 4096 ? 12 : 9;
	__atomic_store_n(&ns->blocks, __atomic_load_n(&info->blocks, __ATOMIC_RELAXED),
			 __ATOMIC_RELEASE);
}

static void resume_now(void *arg)
{
	struct ns *ns = arg;

	take_ask(ns);
	if (ns->state != PAUSED) { /* on its way out */
		bh_blk_resumed(ns->ns.blk);
		if (ns->is_closed)
			forget(ns);
		return;
	}
	ns->state = GOING_ON;
	take_store(&ns->ns);
	tn_io_ns_go_on(ns->ns.ctrl, &ns->ns, gone_on, ns);
}

/* The claimer's thread. */
static void ask(struct ns *ns, struct bh_msg *msg)
{
	pthread_mutex_lock(&ns->lock);
	ns->asked++;
	pthread_mutex_unlock(&ns->lock);
	bh_reactor_send(ns->ns.ctrl->control, msg);
}

static void yield(struct bh_blk_listener *listener)
{
	struct ns *ns = (struct ns *)((char *)listener - offsetof(struct ns, ns.resize));

	ask(ns, &ns->yield_msg);
}

static void resume(struct bh_blk_listener *listener)
{
	struct ns *ns = (struct ns *)((char *)listener - offsetof(struct ns, ns.resize));

	ask(ns, &ns->resume_msg);
}

/* ---- attach ---- */

static void forget(struct ns *ns)
{
	struct bh_target_nvme *ctrl = ns->ns.ctrl;
	void (*gone)(void *arg) = ns->gone;
	void *arg = ns->gone_arg;
	bool is_sent;

	bh_blk_unlisten(ns->ns.blk, &ns->ns.resize);
	pthread_mutex_lock(&ns->lock);
	ns->is_closed = ns->asked;
	pthread_mutex_unlock(&ns->lock);
	if (ns->is_closed)
		return; /* the message comes by here */
	ctrl->ns[ns->ns.nsid] = NULL;
	bh_timer_destroy(ns->look);
	ns->look = NULL;
	if (ns->is_asked)
		bh_blk_yielded(ns->ns.blk);
	bh_blk_put(ns->ns.blk);
	tn_space_release(ns->ns.space);
	pthread_mutex_lock(&ns->lock);
	is_sent = ns->is_sent;
	ns->is_dead = true;
	pthread_mutex_unlock(&ns->lock);
	if (!is_sent)
		ns_free(ns);
	if (gone)
		gone(arg);
	tn_ctl(ctrl)->pending_ns--;
	tn_ctrl_ns_gone(ctrl);
}

static void forget_it(void *arg)
{
	struct ns *ns = arg;

	tn_mem_ns_taken(ns->ns.ctrl);
	forget(ns);
}

static void closed(void *arg)
{
	struct ns *ns = arg;

	if (!tn_mem_take_ns(ns->ns.ctrl, &ns->ns, &ns->taking, forget_it, ns))
		forget(ns);
}

static void begin_close(struct ns *ns)
{
	struct bh_target_nvme *ctrl = ns->ns.ctrl;

	if (ns->state == PAUSED)
		tn_ctl(ctrl)->pending_ns--;
	ns->state = CLOSING;
	ns->ns.detaching = true;
	tn_ctl(ctrl)->pending_ns++;
	tn_ns_changed(ctrl, ns->ns.nsid);
	tn_io_ns_remove(ctrl, &ns->ns, closed, ns);
}

static void tell_added(struct ns *ns, int error)
{
	void (*added)(void *arg, int error) = ns->added;

	ns->added = NULL;
	if (added)
		added(ns->added_arg, error);
}

static void opened(void *arg, int error)
{
	struct ns *ns = arg;
	struct bh_target_nvme *ctrl = ns->ns.ctrl;

	if (error) {
		bh_log(ctrl->log, BH_LOG_ERROR, TN_LOG, "%s: namespace %u: %s: no channel: %s",
		       ctrl->path, ns->ns.nsid, bh_blk_info(ns->ns.blk)->name, strerror(-error));
		ns->error = error;
		if (!ns->is_calling) {
			tell_added(ns, error);
			forget(ns);
		}
		return;
	}
	tn_ctl(ctrl)->pending_ns--;
	ns->state = ACTIVE;
	ns->ns.space->is_passing = ctrl->subsys->is_implied;
	tn_mem_share(ctrl, &ns->ns);
	tell_added(ns, 0);
	if (ns->is_unwanted) {
		begin_close(ns);
		return;
	}
	tn_ns_changed(ctrl, ns->ns.nsid);
	if (ns->is_asked)
		begin_pause(ns);
}

/*
 * A host looks at VWC when it enables the controller. One that was told of no write cache will not
 * flush, so what it writes has to be durable by itself, as with a cache that is switched off.
 */
static void hide_write_cache(struct bh_target_nvme *ctrl, const struct bh_blk *blk)
{
	if (!(bh_blk_info(blk)->caps & BH_BLK_CAP_FLUSH) || !tn_regs_is_ready(ctrl) ||
	    tn_has_write_cache(ctrl))
		return;
	bh_log(ctrl->log, BH_LOG_INFO, TN_LOG,
	       "%s: %s is written through until the next reset: the host knows of no write cache",
	       ctrl->path, bh_blk_info(blk)->name);
	__atomic_store_n(&ctrl->features.write_cache, 0, __ATOMIC_RELEASE);
}

static int ns_alloc(struct bh_target_nvme *ctrl, struct tn_space *space, struct ns **out)
{
	struct ns *ns = calloc(1, sizeof(*ns));
	int rc;

	if (!ns)
		return -ENOMEM;
	pthread_mutex_init(&ns->lock, NULL);
	ns->msg.fn = take_size;
	ns->msg.ctx = ns;
	ns->state = OPENING;
	ns->ns.nsid = space->nsid;
	ns->ns.ctrl = ctrl;
	ns->ns.space = space;
	ns->ns.blk = bh_blk_get(space->blk);
	ns->ns.resize.resized = resized;
	ns->ns.has_resv = tn_has_reservations(ctrl);
	ns->ns.deny = tn_resv_denied_to(ctrl, space);
	ns->ns.resize.yield = yield;
	ns->ns.resize.resume = resume;
	ns->yield_msg = (struct bh_msg){ .fn = yield_now, .ctx = ns };
	ns->resume_msg = (struct bh_msg){ .fn = resume_now, .ctx = ns };
	rc = bh_timer_create(ctrl->control, paused, ns, &ns->look);
	if (!rc)
		rc = bh_blk_listen(space->blk, &ns->ns.resize);
	if (rc) {
		bh_blk_put(space->blk);
		ns_free(ns);
		return rc;
	}
	/* After listening: a size that changes now is told of. */
	take_store(&ns->ns);
	*out = ns;
	return 0;
}

int bh_target_nvme_ns_attach(struct bh_target_nvme *ctrl, struct bh_blk *blk, uint32_t nsid)
{
	return bh_target_nvme_ns_add(ctrl, blk, nsid, NULL, NULL);
}

/* Opens it on the threads. The space is held by the attachment, or let go of. */
static int ns_open(struct bh_target_nvme *ctrl, struct ns *ns)
{
	int rc;

	hide_write_cache(ctrl, ns->ns.blk);
	ctrl->ns[ns->ns.nsid] = &ns->ns;
	tn_ctl(ctrl)->pending_ns++;
	ns->is_calling = true;
	tn_io_ns_add(ctrl, &ns->ns, opened, ns);
	ns->is_calling = false;
	if (!ns->error)
		return (int)ns->ns.nsid;
	rc = ns->error;
	forget(ns);
	return rc;
}

static int add(struct bh_target_nvme *ctrl, struct tn_space *space,
	       void (*done)(void *arg, int error), void *arg)
{
	struct ns *ns;
	int rc;

	tn_space_hold(space);
	rc = tn_sanitize_is_running(ctrl->subsys) ? -EBUSY : ns_alloc(ctrl, space, &ns);
	if (rc) {
		tn_space_release(space);
		return rc;
	}
	ns->added = done;
	ns->added_arg = arg;
	return ns_open(ctrl, ns);
}

int tn_ns_add(struct bh_target_nvme *ctrl, uint32_t nsid, void (*done)(void *arg, int error),
	      void *arg)
{
	struct tn_space *space;
	int rc = ctrl->is_destroying ? -ENOSPC : tn_space_find(ctrl, NULL, nsid, &space);

	return rc ? rc : add(ctrl, space, done, arg);
}

int bh_target_nvme_ns_add(struct bh_target_nvme *ctrl, struct bh_blk *blk, uint32_t nsid,
			  void (*done)(void *arg, int error), void *arg)
{
	struct tn_space *space;
	int rc;

	if (ctrl->is_destroying)
		return -ENOSPC;
	rc = tn_space_find(ctrl, blk, nsid, &space);
	if (rc)
		return rc;
	if (tn_was_detached(space, ctrl)) {
		space->is_passing = false;
		if (done)
			done(arg, 0);
		return (int)space->nsid;
	}
	tn_changed_by_operator(space, ctrl);
	return add(ctrl, space, done, arg);
}

int bh_target_nvme_ns_info(const struct bh_target_nvme *ctrl, uint32_t nsid,
			   struct bh_target_nvme_ns_info *info)
{
	const struct ns *ns = ns_of(ctrl, nsid);

	if (!ns)
		return -ENOENT;
	info->block_size = 1u << ns->ns.block_shift;
	info->blocks = ns->ns.blocks;
	memcpy(info->uuid, ns->ns.space->uuid, sizeof(info->uuid));
	info->is_active = tn_ns_get(ctrl, nsid) != NULL;
	info->format = bh_blk_info(ns->ns.blk)->format;
	return 0;
}

/* ---- detach ---- */

int tn_ns_detach(struct bh_target_nvme *ctrl, uint32_t nsid, void (*done)(void *arg), void *arg)
{
	struct ns *ns = ns_of(ctrl, nsid);

	if (!ns || ns->state == CLOSING || ns->is_unwanted)
		return -ENOENT;
	ns->gone = done;
	ns->gone_arg = arg;
	if (ns->state == ACTIVE || ns->state == PAUSED)
		begin_close(ns);
	else
		ns->is_unwanted = true;
	return 0;
}

int bh_target_nvme_ns_detach(struct bh_target_nvme *ctrl, uint32_t nsid, void (*done)(void *arg),
			     void *arg)
{
	const struct ns *ns = ns_of(ctrl, nsid);

	if (ns)
		tn_changed_by_operator(ns->ns.space, ctrl);
	return tn_ns_detach(ctrl, nsid, done, arg);
}

void tn_ns_detach_all(struct bh_target_nvme *ctrl)
{
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++)
		tn_ns_detach(ctrl, nsid, NULL, NULL);
}

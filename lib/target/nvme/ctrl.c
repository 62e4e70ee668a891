/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller's life, and its face to the vfio-user server.
 *
 * BAR0 holds the registers (0 to FFFh, every access a message) and the doorbells behind them,
 * which lie in a sealed memfd; with mapped doorbells the client maps that. BAR2 is the controller
 * memory buffer, where there is one. The MSI-X table is the server's, in BAR4.
 *
 * Destruction takes the same way as a client that leaves, and then on: the server lets the client
 * go (through the gate, with a full reset), stores are flushed, namespaces go, the I/O plane takes its pollers back,
 * and the rest is freed from a message of its own, with nothing of ours further up the stack.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fcntl.h>

#include <bellhop/clock.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"
#include "target/nvme/telemetry.h"

#define DEFAULT_MODEL "Bellhop NVMe Controller"
#define DEFAULT_MDTS (1024u * 1024u)
#define CLASS_NVME 0x010802u
#define MSIX_BAR 4u
#define FREE_DEADLINE_NS 5000000000ull

/* ---- operations of the vfio-user server ---- */

static int doorbell_access(struct bh_target_nvme *ctrl, uint64_t offset, void *buf, size_t count,
			   bool write)
{
	uint64_t stride = 4u << ctrl->dstrd;
	uint32_t value;

	if (!write) { /* undefined by the specification: what was last written will do */
		memset(buf, 0, count);
		if (count == 4 && offset % 4 == 0 && offset + 4 <= ctrl->doorbell_bytes) {
			value = bh_load_u32(ctrl->doorbell_page + offset);
			memcpy(buf, &value, sizeof(value));
		}
		return 0;
	}
	if (count != 4 || offset % 4)
		return -EINVAL;
	if (offset % stride || offset / stride >= 2u * (ctrl->max_queues + 1))
		return 0; /* between doorbells, or behind the last: reserved */
	memcpy(&value, buf, sizeof(value));
	if (offset / stride < 2) {
		bh_store_release_u32(ctrl->doorbell_page + offset, value);
		tn_admin_kick(ctrl);
	} else {
		tn_io_doorbell_write(ctrl, offset, value);
	}
	return 0;
}

static int on_access(void *ctx, unsigned int region, uint64_t offset, void *buf, size_t count,
		     bool write)
{
	struct bh_target_nvme *ctrl = ctx;

	if (region == BH_PCI_BAR2 && tn_ctl(ctrl)->cmb.bytes) {
		tn_cmb_access(ctrl, offset, buf, count, write);
		return 0;
	}
	if (region != BH_PCI_BAR0)
		return -EINVAL;
	if (offset >= BH_NVME_REG_DOORBELLS)
		return doorbell_access(ctrl, offset - BH_NVME_REG_DOORBELLS, buf, count, write);
	return write ? tn_regs_write(ctrl, offset, buf, count)
		     : tn_regs_read(ctrl, offset, buf, count);
}

static void on_quiesce(void *ctx, enum bh_quiesce_reason reason, uint64_t iova, uint64_t len)
{
	struct bh_target_nvme *ctrl = ctx;
	struct tn_gate_req *req = &tn_ctl(ctrl)->server_gate;
	bool is_table = reason == BH_QUIESCE_MAP || reason == BH_QUIESCE_UNMAP;

	req->kind = is_table ? TN_GATE_TABLE : TN_GATE_ALL;
	req->iova = iova;
	req->len = len;
	if (reason == BH_QUIESCE_DISCONNECT) { /* all of it */
		req->iova = 0;
		req->len = UINT64_MAX;
	}
	req->is_going = reason == BH_QUIESCE_UNMAP || reason == BH_QUIESCE_DISCONNECT;
	tn_gate_ask(ctrl, req);
}

/* Again when memory has been taken back: by then more of it may have to go. */
static void try_quiesced(void *arg)
{
	struct bh_target_nvme *ctrl = arg;
	const struct tn_gate_req *req = &tn_ctl(ctrl)->server_gate;

	if (req->is_going &&
	    tn_mem_take(ctrl, req->iova, req->len, &tn_ctl(ctrl)->taking, try_quiesced, ctrl))
		return;
	bh_vfu_server_quiesced(ctrl->server);
}

static void server_gate_closed(struct bh_target_nvme *ctrl)
{
	try_quiesced(ctrl);
}

static void on_resume(void *ctx, enum bh_quiesce_reason reason)
{
	(void)reason;
	tn_cmb_restore(ctx);
	tn_gate_open(ctx);
}

static void renew(struct bh_target_nvme *ctrl, struct bh_shared *shared)
{
	int rc = bh__shared_renew(shared);

	if (rc != 0)
		bh_log(ctrl->log, BH_LOG_ERROR, TN_LOG,
		       "%s: the next client cannot map %s: no other file for it: %s", ctrl->path,
		       shared->name, strerror(-rc));
}

static void on_reset(void *ctx, enum bh_reset_reason reason)
{
	struct bh_target_nvme *ctrl = ctx;

	/* All are full resets; the client's memory and its eventfds are the server's business. */
	bool is_unsafe = tn_regs_is_ready(ctrl) && !tn_is_shut_down(ctrl);

	tn_regs_power_on(ctrl);
	if (reason != BH_RESET_LOST)
		return;
	tn_ctl(ctrl)->clients_left++;
	tn_pel_power_off(ctrl);
	tn_ctl(ctrl)->unsafe_shutdowns += is_unsafe;
	renew(ctrl, &tn_ctl(ctrl)->doorbells);
	renew(ctrl, &tn_ctl(ctrl)->cmb.mem);
}

/* From now on the server may unmap anything when the gate has closed. */
static void on_fatal(void *ctx)
{
	struct tn_gate_req *req = &tn_ctl(ctx)->server_gate;

	req->iova = 0;
	req->len = UINT64_MAX;
	req->is_going = true;
	tn_ctrl_fatal(ctx, "I/O did not stop in time");
}

static void on_mapped(void *ctx, uint64_t iova, uint64_t len, uint32_t prot, int fd,
		      uint64_t fd_offset)
{
	tn_mem_mapped(ctx, iova, len, prot, fd, fd_offset);
}

static void on_irqs_changed(void *ctx)
{
	tn_gate_irqs_changed(ctx);
}

static const struct bh_vfu_ops server_ops = {
	.access = on_access,
	.quiesce = on_quiesce,
	.resume = on_resume,
	.reset = on_reset,
	.fatal = on_fatal,
	.mapped = on_mapped,
	.irqs_changed = on_irqs_changed,
	.intx_acknowledged = on_irqs_changed, /* states all levels */
};

/* ---- create ---- */

void bh_target_nvme_opts_init(struct bh_target_nvme_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->mode = 0600;
	opts->model = DEFAULT_MODEL;
	opts->queues = 64;
	opts->depth = 1024;
	opts->doorbells = BH_DOORBELLS_MAPPED;
	opts->mdts = DEFAULT_MDTS;
	opts->idle_poll_ns = 1000000;
}

/* NULL, or what is wrong. */
static const char *check_opts(const struct bh_target_nvme_opts *o)
{
	if (!o->path || !o->path[0])
		return "no socket path";
	if (!o->control || !o->threads || !o->num_threads ||
	    o->num_threads > BH_TARGET_NVME_MAX_THREADS)
		return "no reactors, or too many";
	if (o->serial && (!o->serial[0] || strlen(o->serial) > 20))
		return "the serial number must have 1 to 20 characters";
	if (o->model && (!o->model[0] || strlen(o->model) > 40))
		return "the model must have 1 to 40 characters";
	if (o->subnqn && (strncmp(o->subnqn, "nqn.", 4) != 0 || strlen(o->subnqn) > 223))
		return "the subsystem NQN must begin with nqn. and have at most 223 characters";
	if (!o->queues || o->queues > BH_TARGET_NVME_MAX_QUEUES)
		return "queues must be 1 to 256";
	if (o->depth < 2 || o->depth > BH_TARGET_NVME_MAX_DEPTH)
		return "depth must be 2 to 4096";
	if (o->dstrd > 10)
		return "dstrd must be 0 to 10";
	if (o->doorbells != BH_DOORBELLS_MAPPED && o->doorbells != BH_DOORBELLS_TRAPPED)
		return "doorbells are mapped or trapped";
	if (o->mdts < TN_PAGE_SIZE || o->mdts > 1u << 30 || (o->mdts & (o->mdts - 1)))
		return "mdts must be a power of two from 4K to 1G";
	if (o->cmb_bytes % TN_PAGE_SIZE || o->cmb_bytes > 1u << 30)
		return "the controller memory buffer must be a multiple of 4K up to 1G";
	return NULL;
}

static int set_names(struct bh_target_nvme *ctrl, const struct bh_target_nvme_opts *o)
{
	ctrl->path = strdup(o->path);
	if (!ctrl->path)
		return -ENOMEM;
	if (o->serial)
		snprintf(ctrl->serial, sizeof(ctrl->serial), "%s", o->serial);
	else
		tn_serial_of(o->path, ctrl->serial);
	snprintf(ctrl->model, sizeof(ctrl->model), "%s", o->model ? o->model : DEFAULT_MODEL);
	if (o->subnqn)
		snprintf(ctrl->subnqn, sizeof(ctrl->subnqn), "%s", o->subnqn);
	else
		snprintf(ctrl->subnqn, sizeof(ctrl->subnqn), "nqn.2026-01.io.bellhop:%s",
			 ctrl->serial);
	return 0;
}

static void set_numbers(struct bh_target_nvme *ctrl, const struct bh_target_nvme_opts *o)
{
	ctrl->control = o->control;
	ctrl->log = o->log;
	ctrl->max_queues = o->queues;
	ctrl->max_depth = o->depth;
	ctrl->dstrd = o->dstrd;
	ctrl->mdts = (uint32_t)o->mdts;
	ctrl->doorbells = o->doorbells;
	ctrl->idle_poll_ns = o->idle_poll_ns;
	/*
	 * The doorbells begin at 4 KiB whatever the host's page size; a larger page would map
	 * registers with them.
	 */
	if (ctrl->doorbells == BH_DOORBELLS_MAPPED &&
	    sysconf(_SC_PAGESIZE) > (long)BH_NVME_REG_DOORBELLS) {
		bh_log(ctrl->log, BH_LOG_WARN, TN_LOG,
		       "%s: doorbells are trapped: pages here are larger than 4 KiB", ctrl->path);
		ctrl->doorbells = BH_DOORBELLS_TRAPPED;
	}
}

/*
 * The file has the shape of BAR0 up to the end of the doorbells; what lies before them is never
 * used.
 */
static int doorbells_create(struct bh_target_nvme *ctrl)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = 2u * (ctrl->max_queues + 1) * ((size_t)4 << ctrl->dstrd);
	struct bh_shared *shared = &tn_ctl(ctrl)->doorbells;
	size_t file = (BH_NVME_REG_DOORBELLS + bytes + page - 1) / page * page;
	int rc = bh__shared_create(shared, "bellhop-doorbells", file);

	ctrl->doorbell_fd = shared->fd;
	if (rc != 0)
		return rc;
	ctrl->doorbell_page = shared->map + BH_NVME_REG_DOORBELLS;
	ctrl->doorbell_bytes = file - BH_NVME_REG_DOORBELLS;
	return 0;
}

static void offer_cmb(const struct bh_target_nvme *ctrl, const struct bh_vfu_area *area,
		      struct bh_vfu_bar *bar)
{
	if (!area->len)
		return;
	bar->bytes = tn_cmb_bar_bytes(ctrl);
	bar->is_64 = true;
	bar->prefetchable = true;
	bar->fd = tn_ctl(ctrl)->cmb.mem.fd;
	bar->areas = area;
	bar->num_areas = 1;
}

static int server_create(struct bh_target_nvme *ctrl, const struct bh_target_nvme_opts *o)
{
	const struct bh_vfu_area cmb_area = { 0, tn_ctl(ctrl)->cmb.bytes };
	const struct bh_vfu_area area = { BH_NVME_REG_DOORBELLS, ctrl->doorbell_bytes };
	struct bh_vfu_server_opts so;
	uint64_t bar = 2 * BH_NVME_REG_DOORBELLS;
	int rc;

	while (bar < BH_NVME_REG_DOORBELLS + ctrl->doorbell_bytes)
		bar *= 2;
	bh_vfu_server_opts_init(&so);
	so.path = ctrl->path;
	so.mode = o->mode;
	so.allowed_uids = o->allowed_uids;
	so.num_allowed_uids = o->num_allowed_uids;
	so.control = ctrl->control;
	so.ops = &server_ops;
	so.ops_ctx = ctrl;
	so.log = ctrl->log;
	so.vendor = so.subsystem_vendor = BH_TARGET_NVME_PCI_VENDOR;
	so.device = so.subsystem = BH_TARGET_NVME_PCI_DEVICE;
	so.class_code = CLASS_NVME;
	so.interrupt_pin = 1;
	so.msix_vectors = ctrl->max_queues + 1;
	so.msix_bar = MSIX_BAR;
	so.bar[0].bytes = bar;
	so.bar[0].is_64 = true;
	so.bar[0].fd = -1;
	if (ctrl->doorbells == BH_DOORBELLS_MAPPED) {
		so.bar[0].fd = ctrl->doorbell_fd;
		so.bar[0].areas = &area;
		so.bar[0].num_areas = 1;
	}
	offer_cmb(ctrl, &cmb_area, &so.bar[2]);
	rc = bh_vfu_server_create(&so, &ctrl->server);
	if (rc == 0)
		ctrl->cmem = bh_vfu_server_cmem(ctrl->server);
	return rc;
}

/* Whatever there is; the I/O plane is gone or was never there. */
static void ctrl_free(struct bh_target_nvme *ctrl)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);

	/*
	 * First the server: transfers it still has under way fail now, and the admin queue hears
	 * of it.
	 */
	bh_vfu_server_destroy(ctrl->server);
	bh_timer_destroy(ctl->reset_timer);
	bh_timer_destroy(ctl->flush_timer);
	bh_timer_destroy(ctl->health_timer);
	bh_timer_destroy(ctl->alive_timer);
	tn_selftest_free(ctrl);
	tn_pel_release(ctrl);
	tn_telemetry_free(ctrl);
	if (ctl->events)
		tn_events_free(ctrl);
	tn_admin_free(ctrl);
	tn_subsys_leave(ctrl);
	bh__shared_destroy(&ctl->doorbells);
	tn_cmb_destroy(ctrl);
	pthread_mutex_destroy(&ctrl->error_lock);
	free(ctrl->path);
	free(ctl);
	free(ctrl);
}

static void destroy_last(void *arg)
{
	struct bh_target_nvme *ctrl = arg;
	void (*destroyed)(void *arg) = tn_ctl(ctrl)->destroyed;
	void *destroyed_arg = tn_ctl(ctrl)->destroyed_arg;

	ctrl_free(ctrl);
	if (destroyed)
		destroyed(destroyed_arg);
}

static void io_destroyed(void *arg)
{
	struct bh_target_nvme *ctrl = arg;
	struct tn_ctl *ctl = tn_ctl(ctrl);

	ctl->destroy_msg.fn = destroy_last;
	ctl->destroy_msg.ctx = ctrl;
	bh_reactor_send(ctrl->control, &ctl->destroy_msg);
}

static int ctrl_build(struct bh_target_nvme *ctrl, const struct bh_target_nvme_opts *o)
{
	int rc = set_names(ctrl, o);

	if (rc)
		return rc;
	set_numbers(ctrl, o);
	rc = tn_subsys_join(ctrl, o->subsys);
	if (rc)
		return rc;
	tn_regs_init(ctrl);
	tn_features_reset(ctrl);
	rc = doorbells_create(ctrl);
	if (rc == 0)
		rc = tn_cmb_create(ctrl, o->cmb_bytes);
	if (rc == 0)
		rc = tn_regs_timer_create(ctrl);
	if (rc == 0)
		rc = tn_flush_timer_create(ctrl);
	if (rc == 0)
		rc = tn_admin_create(ctrl);
	if (rc == 0)
		rc = tn_events_create(ctrl);
	if (rc == 0)
		rc = tn_selftest_create(ctrl);
	if (rc == 0)
		rc = tn_health_create(ctrl);
	if (rc == 0)
		rc = tn_alive_create(ctrl);
	if (rc == 0)
		rc = tn_telemetry_create(ctrl);
	if (rc == 0)
		rc = server_create(ctrl, o);
	if (rc == 0)
		rc = tn_io_create(ctrl, o->threads, o->num_threads);
	if (rc == 0)
		rc = tn_io_offer_fds(ctrl, BH_NVME_REG_DOORBELLS);
	return rc;
}

static struct bh_target_nvme *ctrl_alloc(void)
{
	struct bh_target_nvme *ctrl = calloc(1, sizeof(*ctrl));
	struct tn_ctl *ctl = calloc(1, sizeof(*ctl));

	if (!ctrl || !ctl) {
		free(ctrl);
		free(ctl);
		return NULL;
	}
	ctrl->ctl = ctl;
	ctrl->doorbell_fd = -1;
	ctl->doorbells.fd = -1;
	ctl->cmb.mem.fd = -1;
	pthread_mutex_init(&ctrl->error_lock, NULL);
	ctl->created_ns = bh_now_ns();
	ctl->server_gate.closed = server_gate_closed;
	return ctrl;
}

int bh_target_nvme_create(const struct bh_target_nvme_opts *opts, struct bh_target_nvme **out)
{
	struct bh_target_nvme_opts o;
	struct bh_target_nvme *ctrl;
	const char *why;
	int rc;

	*out = NULL;
	bh_target_nvme_opts_init(&o);
	memcpy(&o, opts, opts->size < sizeof(o) ? opts->size : sizeof(o));
	why = check_opts(&o);
	if (why) {
		bh_log(o.log, BH_LOG_ERROR, TN_LOG, "%s: %s", o.path ? o.path : "(no path)", why);
		return -EINVAL;
	}
	ctrl = ctrl_alloc();
	if (!ctrl)
		return -ENOMEM;
	rc = ctrl_build(ctrl, &o);
	if (rc) {
		ctrl->is_destroying = true;
		if (ctrl->io)
			tn_io_destroy(ctrl, io_destroyed, ctrl);
		else
			ctrl_free(ctrl);
		return rc;
	}
	*out = ctrl;
	return 0;
}

const char *bh_target_nvme_path(const struct bh_target_nvme *ctrl)
{
	return ctrl->path;
}

void bh_target_nvme_stats(struct bh_target_nvme *ctrl, struct bh_target_nvme_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	tn_io_stats(ctrl, stats);
}

/* ---- destroy ---- */

void tn_ctrl_ns_gone(struct bh_target_nvme *ctrl)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);

	if (!ctl->is_leaving || ctl->pending_ns)
		return;
	ctl->is_leaving = false;
	tn_io_destroy(ctrl, io_destroyed, ctrl);
}

static void leave_namespaces(struct tn_flush_req *req, uint16_t status)
{
	struct bh_target_nvme *ctrl = req->ctrl;
	struct tn_ctl *ctl = tn_ctl(ctrl);

	(void)status;
	bh_timer_cancel(ctl->flush_timer);

	/* One more than there are, so that nothing ends before all have been told. */
	ctl->pending_ns++;
	ctl->is_leaving = true;
	tn_ns_detach_all(ctrl);
	ctl->pending_ns--;
	tn_ctrl_ns_gone(ctrl);
}

static void server_left(void *arg)
{
	struct bh_target_nvme *ctrl = arg;

	tn_ctl(ctrl)->destroy_flush.done = leave_namespaces;
	tn_flush_ask_briefly(ctrl, &tn_ctl(ctrl)->destroy_flush);
}

void bh_target_nvme_destroy(struct bh_target_nvme *ctrl, void (*done)(void *arg), void *arg)
{
	if (!ctrl) {
		if (done)
			done(arg);
		return;
	}
	if (ctrl->is_destroying)
		return;
	ctrl->is_destroying = true;
	tn_ctl(ctrl)->destroyed = done;
	tn_ctl(ctrl)->destroyed_arg = arg;
	bh_vfu_server_shutdown(ctrl->server, server_left, ctrl);
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

/*
 * The same way with all reactors stopped: the I/O plane does at once what it is asked for, and
 * the control thread's part is done here. Only a transfer by messages can take any time: until
 * the server gives it up.
 */
void bh_target_nvme_free(struct bh_target_nvme *ctrl)
{
	struct bh_reactor *control = ctrl ? ctrl->control : NULL;
	uint64_t deadline = bh_now_ns() + FREE_DEADLINE_NS;
	bool is_done = false;

	if (!ctrl)
		return;
	if (!ctrl->is_destroying)
		bh_target_nvme_destroy(ctrl, NULL, NULL);
	tn_ctl(ctrl)->destroyed = set_flag;
	tn_ctl(ctrl)->destroyed_arg = &is_done;
	while (!is_done && bh_now_ns() < deadline) {
		tn_io_run_once(ctrl);
		bh_reactor_run_once(control); /* may free ctrl, and sets is_done then */
	}
	if (!is_done) /* whatever still comes finds nobody waiting */
		tn_ctl(ctrl)->destroyed = NULL;
}

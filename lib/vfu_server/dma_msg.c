/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA by messages: DMA_READ and DMA_WRITE to the client, for memory it did not pass a descriptor
 * of.
 *
 * A transfer (job) comes from any thread and is handed to the control thread, which cuts it into
 * messages no larger than the client accepts and keeps a fixed number of them on the wire. A
 * client may answer with fewer bytes than asked for; the rest is asked for again. A job whose
 * client does not answer in time fails, but its messages keep their slots until the late replies
 * come or the client leaves: a reply is recognised by id and command, which a new message could
 * otherwise share.
 *
 * Every reply is compared with the request before a byte of it is used. One that matches nothing,
 * while something is outstanding, means the peer has lost track: it is dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/clock.h>

#include "vfu_server/server.h"

#define LOOK_NS 250000000ull /* how often deadlines are looked at while something is outstanding */

static void job_end(struct vfus_dma_job *job)
{
	bh_cmem_done done = job->done;
	void *arg = job->arg;
	int status = job->status;

	free(job);
	done(arg, status);
}

static void unlink_job(struct vfus_dma *dma, struct vfus_dma_job *job)
{
	struct vfus_dma_job *prev = NULL, *at = dma->head;

	while (at != job) {
		prev = at;
		at = at->next;
	}
	if (prev)
		prev->next = job->next;
	else
		dma->head = job->next;
	if (dma->tail == job)
		dma->tail = prev;
}

/* Takes the job off everything and completes it; replies still on their way find no job. */
static void job_fail(struct bh_vfu_server *s, struct vfus_dma_job *job, int status)
{
	unsigned int i;

	for (i = 0; i < VFUS_DMA_SLOTS; i++)
		if (s->dma.xfer[i].job == job)
			s->dma.xfer[i].job = NULL;
	unlink_job(&s->dma, job);
	job->status = status;
	job_end(job);
}

void vfus_dma_fail_all(struct bh_vfu_server *s, int status)
{
	while (s->dma.head)
		job_fail(s, s->dma.head, status);
}

/* The connection is gone, and with it what was on the wire. */
void vfus_dma_forget_wire(struct bh_vfu_server *s)
{
	memset(s->dma.xfer, 0, sizeof(s->dma.xfer));
	bh_timer_cancel(s->dma.timer);
}

static struct vfu_conn *dma_conn(struct bh_vfu_server *s)
{
	return s->twin.fd >= 0 ? &s->twin : &s->conn;
}

static struct vfus_dma_xfer *free_slot(struct vfus_dma *dma)
{
	unsigned int i;

	for (i = 0; i < VFUS_DMA_SLOTS; i++)
		if (!dma->xfer[i].busy)
			return &dma->xfer[i];
	return NULL;
}

/* An id no message on the wire has. There are far more ids than slots. */
static uint16_t free_id(struct vfus_dma *dma)
{
	unsigned int i;

	do {
		dma->next_id++;
		for (i = 0; i < VFUS_DMA_SLOTS; i++)
			if (dma->xfer[i].busy && dma->xfer[i].id == dma->next_id)
				break;
	} while (i < VFUS_DMA_SLOTS);
	return dma->next_id;
}

static void send_xfer(struct bh_vfu_server *s, struct vfus_dma_xfer *xfer)
{
	const struct vfu_dma_access access = { .address = xfer->iova, .count = xfer->count };
	const bool write = xfer->command == VFU_DMA_WRITE;
	struct vfu_header header = {
		.id = xfer->id = free_id(&s->dma),
		.command = xfer->command,
		.flags = VFU_TYPE_COMMAND,
		.size = (uint32_t)(sizeof(header) + sizeof(access) + (write ? xfer->count : 0)),
	};

	xfer->busy = true;
	xfer->sent_ns = bh_now_ns();
	if (vfu_conn_send(dma_conn(s), &header, &access, sizeof(access), xfer->buf,
			  write ? xfer->count : 0, NULL, 0) != 0)
		s->broken = true;
}

static uint32_t largest(const struct bh_vfu_server *s)
{
	return s->peer.max_data_xfer < VFU_MAX_DATA ? (uint32_t)s->peer.max_data_xfer
						    : VFU_MAX_DATA;
}

/* Sends as much of a job as slots and output allow. False when something else must go first. */
static bool pump_job(struct bh_vfu_server *s, struct vfus_dma_job *job)
{
	struct vfus_dma_xfer *xfer;
	size_t n;

	while (job->asked < job->len) {
		xfer = free_slot(&s->dma);
		if (!xfer || s->broken || dma_conn(s)->out_bytes > VFUS_DMA_BACKLOG)
			return false;
		n = job->len - job->asked;
		if (n > largest(s))
			n = largest(s);
		xfer->job = job;
		xfer->command = job->write ? VFU_DMA_WRITE : VFU_DMA_READ;
		xfer->iova = job->iova + job->asked;
		xfer->buf = job->buf + job->asked;
		xfer->count = (uint32_t)n;
		job->asked += n;
		job->on_wire++;
		send_xfer(s, xfer);
	}
	return true;
}

void vfus_dma_pump(struct bh_vfu_server *s)
{
	struct vfus_dma_job *job;

	if (s->state != VFUS_NEGOTIATED)
		return;
	for (job = s->dma.head; job; job = job->next)
		if (!pump_job(s, job))
			return;
}

/* ---- replies ---- */

static int status_of(const struct vfu_header *header)
{
	switch (header->error) {
	case EPERM:
	case EACCES:
		return -EPERM;
	case EFAULT:
	case ENODEV: /* "not backed by memory" */
	case ENOENT:
	case EINVAL:
		return -EFAULT;
	default:
		return -EIO;
	}
}

/* Bytes done, at least 1, or -errno; -EPROTO: not a reply to what we asked. */
static int64_t check_reply(const struct vfus_dma_xfer *xfer, const struct vfu_msg *msg)
{
	struct vfu_dma_access access;
	size_t need = sizeof(access);

	if (msg->header.flags & VFU_FLAG_ERROR)
		return status_of(&msg->header);
	if (msg->body_len < sizeof(access))
		return -EPROTO;
	memcpy(&access, msg->body, sizeof(access));
	if (access.address != xfer->iova || access.count > xfer->count)
		return -EPROTO;
	if (xfer->command == VFU_DMA_READ)
		need += access.count;
	if (msg->body_len < need)
		return -EPROTO;
	return access.count > 0 ? (int64_t)access.count : -EFAULT;
}

static struct vfus_dma_xfer *find_xfer(struct vfus_dma *dma, const struct vfu_header *header,
				       bool *any)
{
	unsigned int i;

	*any = false;
	for (i = 0; i < VFUS_DMA_SLOTS; i++) {
		struct vfus_dma_xfer *xfer = &dma->xfer[i];

		*any |= xfer->busy;
		if (xfer->busy && xfer->id == header->id && xfer->command == header->command)
			return xfer;
	}
	return NULL;
}

static void progress(struct bh_vfu_server *s, struct vfus_dma_xfer *xfer, const struct vfu_msg *msg,
		     uint32_t n)
{
	struct vfus_dma_job *job = xfer->job;

	if (xfer->command == VFU_DMA_READ)
		memcpy(xfer->buf, msg->body + sizeof(struct vfu_dma_access), n);
	if (n < xfer->count) { /* a short one: the same slot asks for the rest */
		xfer->iova += n;
		xfer->buf += n;
		xfer->count -= n;
		send_xfer(s, xfer);
		return;
	}
	xfer->busy = false;
	xfer->job = NULL;
	job->on_wire--;
	if (job->on_wire == 0 && job->asked == job->len) {
		unlink_job(&s->dma, job);
		job->status = 0;
		job_end(job);
	}
}

void vfus_dma_reply(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	struct vfus_dma_xfer *xfer;
	int64_t n;
	bool any;

	xfer = find_xfer(&s->dma, &msg->header, &any);
	if (!xfer && any) {
		bh_log(s->log, BH_LOG_WARN, VFUS_LOG, "%s: a reply to nothing we asked", s->path);
		s->broken = true;
		return;
	}
	if (!xfer) {
		if (vfu_conn_reply(&s->conn, &msg->header, -EINVAL, NULL, 0, NULL, 0, NULL, 0) != 0)
			s->broken = true;
		return;
	}
	s->dma.progress_ns = bh_now_ns();
	n = check_reply(xfer, msg);
	if (n == -EPROTO) {
		bh_log(s->log, BH_LOG_WARN, VFUS_LOG, "%s: bad reply to %s", s->path,
		       vfu_command_str(msg->header.command));
		s->broken = true;
	}
	if (n > 0 && xfer->job) {
		progress(s, xfer, msg, (uint32_t)n);
		return;
	}
	xfer->busy = false;
	if (xfer->job)
		job_fail(s, xfer->job, n == -EPROTO ? -EIO : (int)n);
}

/* ---- deadlines ---- */

static bool is_late(const struct bh_vfu_server *s, const struct vfus_dma_job *job, uint64_t now)
{
	uint64_t since = job->queued_ns;
	unsigned int i;

	if (job->on_wire == 0) { /* waits for its turn: fine while the client answers others */
		if (s->dma.progress_ns > since)
			since = s->dma.progress_ns;
		return now - since > VFUS_DMA_TIMEOUT_NS;
	}
	for (i = 0; i < VFUS_DMA_SLOTS; i++)
		if (s->dma.xfer[i].job == job && now - s->dma.xfer[i].sent_ns > VFUS_DMA_TIMEOUT_NS)
			return true;
	return false;
}

static void on_timer(void *ctx)
{
	struct bh_vfu_server *s = ctx;
	struct vfus_dma_job *job;
	const uint64_t now = bh_now_ns();

	vfus_enter(s);
	/* What done() does to the list is unknown here, so the search begins anew after each. */
	do {
		for (job = s->dma.head; job && !is_late(s, job, now); job = job->next)
			;
		if (job)
			job_fail(s, job, -ETIMEDOUT);
	} while (job);
	if (s->dma.head)
		bh_timer_set(s->dma.timer, LOOK_NS);
	vfus_leave(s);
}

int vfus_dma_init(struct bh_vfu_server *s)
{
	return bh_timer_create(s->control, on_timer, s, &s->dma.timer);
}

/* ---- entry ---- */

/* On the control thread. */
static void job_start(void *ctx)
{
	struct vfus_dma_job *job = ctx;
	struct bh_vfu_server *s = job->server;
	struct vfus_dma *dma = &s->dma;

	vfus_enter(s);
	if (s->state != VFUS_NEGOTIATED || dma->refusing || job->len == 0) {
		job->status = s->state != VFUS_NEGOTIATED ? -ENODEV : dma->refusing ? -EIO : 0;
		job_end(job);
	} else {
		job->queued_ns = bh_now_ns();
		if (!dma->head)
			bh_timer_set(dma->timer, LOOK_NS);
		if (dma->tail)
			dma->tail->next = job;
		else
			dma->head = job;
		dma->tail = job;
	}
	vfus_leave(s);
}

void vfus_dma_message(void *ctx, bool write, uint64_t iova, void *buf, size_t len,
		      bh_cmem_done done, void *arg)
{
	struct bh_vfu_server *s = ctx;
	struct vfus_dma_job *job = calloc(1, sizeof(*job));

	if (!job) {
		done(arg, -EIO);
		return;
	}
	job->msg.fn = job_start;
	job->msg.ctx = job;
	job->server = s;
	job->write = write;
	job->iova = iova;
	job->buf = buf;
	job->len = len;
	job->done = done;
	job->arg = arg;
	bh_reactor_send(s->control, &job->msg);
}

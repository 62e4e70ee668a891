/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From message to handler.
 *
 * A client's commands are executed strictly in the order they came. The one being executed is
 * s->cur; when it has to wait for the device to quiesce, those that arrive meanwhile are held
 * back, while replies to our own DMA messages pass them by: the device may need those to become
 * quiet.
 *
 * A handler replies by itself when it succeeds and returns 0, or returns the -errno to be replied,
 * or VFUS_PENDING when vfus_finish() will be called for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_server/server.h"

static int unknown(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	(void)s;
	(void)msg;
	return -EINVAL;
}

typedef int (*handler)(struct bh_vfu_server *s, struct vfu_msg *msg);

static handler handler_of(uint16_t command)
{
	static const handler table[] = {
		[VFU_DMA_MAP] = vfus_handle_dma_map,
		[VFU_DMA_UNMAP] = vfus_handle_dma_unmap,
		[VFU_DEVICE_GET_INFO] = vfus_handle_device_info,
		[VFU_DEVICE_GET_REGION_INFO] = vfus_handle_region_info,
		[VFU_DEVICE_GET_REGION_IO_FDS] = vfus_handle_io_fds,
		[VFU_DEVICE_GET_IRQ_INFO] = vfus_handle_irq_info,
		[VFU_DEVICE_SET_IRQS] = vfus_handle_set_irqs,
		[VFU_REGION_READ] = vfus_handle_region_read,
		[VFU_REGION_WRITE] = vfus_handle_region_write,
		[VFU_DEVICE_RESET] = vfus_handle_reset,
		[VFU_REGION_WRITE_MULTI] = vfus_handle_write_multi,
		[VFU_DEVICE_FEATURE] = vfus_handle_feature,
	};

	/* VERSION comes once, migration data needs a migration, DMA commands are ours to send. */
	if (command >= sizeof(table) / sizeof(table[0]) || !table[command])
		return unknown;
	return table[command];
}

/* Sends to the current command's sender. What goes wrong is the end of the connection. */
static void send_reply(struct bh_vfu_server *s, const struct vfu_header *request, int error,
		       const void *body, size_t body_len, const void *data, size_t data_len,
		       const int *fds, unsigned int nfds)
{
	int rc;

	if (!vfus_has_client(s) || s->broken)
		return;
	rc = vfu_conn_reply(&s->conn, request, error, body, body_len, data, data_len, fds, nfds);
	if (rc != 0)
		s->broken = true;
}

void vfus_reply(struct bh_vfu_server *s, const void *body, size_t body_len, const void *data,
		size_t data_len, const int *fds, unsigned int nfds)
{
	send_reply(s, &s->cur.header, 0, body, body_len, data, data_len, fds, nfds);
}

void vfus_finish(struct bh_vfu_server *s, int rc)
{
	if (rc < 0) {
		bh_log(s->log, BH_LOG_DEBUG, VFUS_LOG, "%s: %s: %s", s->path,
		       vfu_command_str(s->cur.header.command), strerror(-rc));
		send_reply(s, &s->cur.header, rc, NULL, 0, NULL, 0, NULL, 0);
	}
	vfu_msg_fini(&s->cur);
	s->cur_active = false;
}

/* The first message must be a VERSION that we can agree to. */
static void execute_first(struct bh_vfu_server *s)
{
	int rc = -EINVAL;

	if (s->cur.header.command == VFU_VERSION)
		rc = vfus_handle_version(s, &s->cur);
	vfus_finish(s, rc);
	if (rc < 0)
		s->broken = true;
}

static void execute(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	int rc;

	s->cur = *msg;
	s->cur_active = true;
	if (s->state == VFUS_ATTACHED) {
		execute_first(s);
		return;
	}
	if (s->cur.body_len == 0 && s->cur.header.command != VFU_DEVICE_RESET)
		rc = -EINVAL;
	else
		rc = handler_of(s->cur.header.command)(s, &s->cur);
	if (rc != VFUS_PENDING)
		vfus_finish(s, rc);
}

static void defer(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	struct vfus_deferred *d = malloc(sizeof(*d));

	if (!d) { /* leaving one out would break the order */
		vfu_msg_fini(msg);
		s->broken = true;
		return;
	}
	d->next = NULL;
	d->msg = *msg;
	if (s->def_tail)
		s->def_tail->next = d;
	else
		s->def_head = d;
	s->def_tail = d;
	s->def_count++;
	s->def_bytes += msg->body_len;
	s->def_fds += msg->nfds;
}

static struct vfu_msg undefer(struct bh_vfu_server *s)
{
	struct vfus_deferred *d = s->def_head;
	const struct vfu_msg msg = d->msg;

	s->def_head = d->next;
	if (!s->def_head)
		s->def_tail = NULL;
	s->def_count--;
	s->def_bytes -= msg.body_len;
	s->def_fds -= msg.nfds;
	free(d);
	return msg;
}

void vfus_drop_deferred(struct bh_vfu_server *s)
{
	struct vfu_msg msg;

	while (s->def_head) {
		msg = undefer(s);
		vfu_msg_fini(&msg);
	}
}

/* Takes over the message. */
void vfus_take(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	const uint32_t type = msg->header.flags & VFU_FLAG_TYPE_MASK;

	if (type == VFU_TYPE_REPLY && s->state == VFUS_NEGOTIATED) {
		vfus_dma_reply(s, msg);
		vfu_msg_fini(msg);
	} else if (type != VFU_TYPE_COMMAND) {
		send_reply(s, &msg->header, -EINVAL, NULL, 0, NULL, 0, NULL, 0);
		if (s->state == VFUS_ATTACHED)
			s->broken = true;
		vfu_msg_fini(msg);
	} else if (s->cur_active || s->def_head) {
		defer(s, msg);
	} else {
		execute(s, msg);
	}
}

/* Executes what was held back, a pass's worth of it. Called in the outermost vfus_leave only. */
void vfus_run_deferred(struct bh_vfu_server *s)
{
	struct vfu_msg msg;
	unsigned int n = 0;

	/* With too much output it goes on when some of that is gone. */
	while (s->def_head && !s->cur_active && !s->broken && vfus_may_answer(s)) {
		if (n++ == VFUS_MESSAGES_PER_PASS) {
			bh_timer_set(s->kick, 0);
			return;
		}
		msg = undefer(s);
		execute(s, &msg);
	}
}

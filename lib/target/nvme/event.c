/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asynchronous events (NVMe 2.0 5.2) and the error information log.
 *
 * Events are raised on any thread, wait in `incoming` under a lock, and are carried to the
 * control thread by one message. There they become pending if the host has enabled them, and are
 * reported when an Asynchronous Event Request is outstanding and their type is not masked.
 * Reporting masks the type until the host reads the log page of the event; that read also drops
 * pending events of the same log, which have told their news thereby. An event equal to one that
 * is pending is the same event.
 *
 * The state has a life of its own: a message still under way when the controller is freed frees
 * it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/nvme/control.h"

#define MAX_PENDING 16u

struct event {
	uint8_t type, info, lid;
};

struct event_list {
	unsigned int count;
	struct event event[MAX_PENDING];
};

struct tn_events {
	struct bh_target_nvme *ctrl; /* NULL: freed, under lock */
	pthread_mutex_t lock;
	struct event_list incoming; /* under lock */
	bool is_sent;		    /* under lock: msg is under way */
	struct bh_msg msg;
	struct bh_reactor *control;
	/* control thread */
	struct event_list pending;
	uint8_t masked; /* bit per type */
	uint8_t masked_lid[8];
};

/* Full is no loss that matters: there are fewer kinds of events than room. */
static void list_add(struct event_list *list, struct event event)
{
	unsigned int i;

	for (i = 0; i < list->count; i++) {
		if (!memcmp(&list->event[i], &event, sizeof(event)))
			return;
	}
	if (list->count < MAX_PENDING)
		list->event[list->count++] = event;
}

static void list_remove(struct event_list *list, unsigned int i)
{
	list->count--;
	memmove(&list->event[i], &list->event[i + 1], (list->count - i) * sizeof(list->event[0]));
}

static bool is_enabled(const struct bh_target_nvme *ctrl, const struct event *event)
{
	uint32_t config = ctrl->features.async_events;

	switch (event->type) {
	case BH_NVME_AER_TYPE_ERROR: /* cannot be disabled */
		return true;
	case BH_NVME_AER_TYPE_SMART: /* enabled by warning: tn_events_smart() raises no other */
		return true;
	case BH_NVME_AER_TYPE_NOTICE:
		if (event->info == BH_NVME_AER_NOTICE_TELEMETRY)
			return config & BH_NVME_OAES_TELEMETRY;
		return event->info == BH_NVME_AER_NOTICE_NS_ATTR_CHANGED &&
		       (config & BH_NVME_OAES_NS_ATTR);
	case BH_NVME_AER_TYPE_IO: /* masked by namespace before it is raised */
		return true;
	default:
		return false;
	}
}

void tn_events_deliver(struct bh_target_nvme *ctrl)
{
	struct tn_events *ev = tn_ctl(ctrl)->events;
	unsigned int i = 0;

	while (i < ev->pending.count && tn_admin_aers(ctrl)) {
		const struct event event = ev->pending.event[i];

		if (ev->masked & (1u << event.type)) {
			i++;
			continue;
		}
		list_remove(&ev->pending, i);
		ev->masked |= (uint8_t)(1u << event.type);
		ev->masked_lid[event.type] = event.lid;
		tn_admin_aer_complete(ctrl, (uint32_t)(BH_NVME_SET(AER_TYPE, event.type) |
						       BH_NVME_SET(AER_INFO, event.info) |
						       BH_NVME_SET(AER_LID, event.lid)));
	}
}

void tn_events_clear(struct bh_target_nvme *ctrl, uint8_t lid)
{
	struct tn_events *ev = tn_ctl(ctrl)->events;
	unsigned int i = 0, type;

	while (i < ev->pending.count) {
		if (ev->pending.event[i].lid == lid)
			list_remove(&ev->pending, i);
		else
			i++;
	}
	for (type = 0; type < 8; type++) {
		if ((ev->masked & (1u << type)) && ev->masked_lid[type] == lid)
			ev->masked &= (uint8_t) ~(1u << type);
	}
	tn_events_deliver(ctrl);
}

void tn_events_smart(struct bh_target_nvme *ctrl)
{
	uint8_t wanted = tn_critical_warning(ctrl) & (uint8_t)ctrl->features.async_events;

	if (wanted & BH_NVME_SMART_TEMPERATURE)
		tn_event_raise(ctrl, BH_NVME_AER_TYPE_SMART, BH_NVME_AER_SMART_TEMPERATURE,
			       BH_NVME_LOG_SMART);
}

/* The message. Events raised while the controller is not enabled are nobody's. */
static void take_incoming(void *arg)
{
	struct tn_events *ev = arg;
	struct bh_target_nvme *ctrl;
	struct event_list incoming;
	unsigned int i;

	pthread_mutex_lock(&ev->lock);
	ctrl = ev->ctrl;
	incoming = ev->incoming;
	ev->incoming.count = 0;
	ev->is_sent = false;
	pthread_mutex_unlock(&ev->lock);
	if (!ctrl) {
		pthread_mutex_destroy(&ev->lock);
		free(ev);
		return;
	}
	if (!(__atomic_load_n(&ctrl->regs.csts, __ATOMIC_RELAXED) & BH_NVME_CSTS_RDY))
		return;
	for (i = 0; i < incoming.count; i++) {
		if (is_enabled(ctrl, &incoming.event[i]))
			list_add(&ev->pending, incoming.event[i]);
	}
	tn_events_deliver(ctrl);
}

void tn_event_raise(struct bh_target_nvme *ctrl, uint8_t type, uint8_t info, uint8_t lid)
{
	struct tn_events *ev = tn_ctl(ctrl)->events;
	const struct event event = { type & 7u, info, lid };

	pthread_mutex_lock(&ev->lock);
	list_add(&ev->incoming, event);
	if (!ev->is_sent) {
		ev->is_sent = true;
		bh_reactor_send(ev->control, &ev->msg);
	}
	pthread_mutex_unlock(&ev->lock);
}

void tn_events_reset(struct bh_target_nvme *ctrl)
{
	struct tn_events *ev = tn_ctl(ctrl)->events;

	pthread_mutex_lock(&ev->lock);
	ev->incoming.count = 0;
	pthread_mutex_unlock(&ev->lock);
	ev->pending.count = 0;
	ev->masked = 0;
}

int tn_events_create(struct bh_target_nvme *ctrl)
{
	struct tn_events *ev = calloc(1, sizeof(*ev));

	if (!ev)
		return -ENOMEM;
	pthread_mutex_init(&ev->lock, NULL);
	ev->ctrl = ctrl;
	ev->control = ctrl->control;
	ev->msg.fn = take_incoming;
	ev->msg.ctx = ev;
	tn_ctl(ctrl)->events = ev;
	return 0;
}

void tn_events_free(struct bh_target_nvme *ctrl)
{
	struct tn_events *ev = tn_ctl(ctrl)->events;
	bool is_sent;

	if (!ev)
		return;
	tn_ctl(ctrl)->events = NULL;
	pthread_mutex_lock(&ev->lock);
	ev->ctrl = NULL;
	is_sent = ev->is_sent;
	pthread_mutex_unlock(&ev->lock);
	if (is_sent)
		return; /* the message frees it */
	pthread_mutex_destroy(&ev->lock);
	free(ev);
}

/* ---- the error information log (NVMe 2.0 5.16.1.2) ---- */

static bool is_media_error(uint16_t sf)
{
	unsigned int sc = sf & BH_NVME_STATUS_SC_MASK;

	return sc == BH_NVME_SC_WRITE_FAULT || sc == BH_NVME_SC_UNRECOVERED_READ_ERROR ||
	       sc == BH_NVME_SC_GUARD_CHECK_ERROR || sc == BH_NVME_SC_APPTAG_CHECK_ERROR ||
	       sc == BH_NVME_SC_REFTAG_CHECK_ERROR;
}

/* A ring: entry n (from 1) is at (n - 1) % size. */
void tn_error_add(struct bh_target_nvme *ctrl, uint16_t sqid, uint16_t cid, uint16_t sf,
		  uint16_t param_location, uint64_t lba, uint32_t nsid)
{
	struct bh_nvme_error_log *entry;

	pthread_mutex_lock(&ctrl->error_lock);
	entry = &ctrl->errors[ctrl->error_count % TN_ERROR_LOG_ENTRIES];
	memset(entry, 0, sizeof(*entry));
	entry->error_count = ++ctrl->error_count;
	entry->sqid = sqid;
	entry->cid = cid;
	entry->status = (uint16_t)(sf << 1);
	entry->location = param_location;
	entry->lba = lba;
	entry->nsid = nsid;
	if (is_media_error(sf))
		tn_ctl(ctrl)->media_errors++;
	pthread_mutex_unlock(&ctrl->error_lock);
}

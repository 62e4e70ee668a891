/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asynchronous events (NVM Express 2.0, 5.2).
 *
 * A few Asynchronous Event Requests are kept outstanding. Their completions are only noted while
 * the admin queue is reaped; bh_nvme_poll() then reads the log page that an event names, which is
 * what lets the controller report that kind of event again, rescans namespaces if they are the
 * matter, tells the user, and puts the request back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"

void bh__event(struct bh_nvme *nvme, enum bh_nvme_event event, uint32_t value)
{
	if (nvme->opts.event)
		nvme->opts.event(nvme->opts.event_ctx, event, value);
}

static void aer_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct bh_nvme *nvme = arg;
	uint16_t status = bh_nvme_cpl_status(cpl) & BH_NVME_STATUS_SC_MASK;

	nvme->aers_out--;
	if (!status) {
		if (nvme->aer_count < BH__AER_MOST)
			nvme->aer_value[nvme->aer_count++] = cpl->cdw0;
	} else if (status != BH_NVME_SC_ABORTED_SQ_DELETION &&
		   status != BH_NVME_SC_INTERNAL_PATH_ERROR && nvme->aers_wanted) {
		/* One more than it takes, or none at all. */
		nvme->aers_wanted--;
	}
}

static void rearm(struct bh_nvme *nvme)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_ASYNC_EVENT };
	struct bh_nvme_queue *q = nvme->aq;

	/* One slot stays for everything else. */
	while (nvme->aers_out < nvme->aers_wanted && q->nfree > 1 &&
	       !(bh__queue_slow(q) & BH__Q_STOP)) {
		nvme->aers_out++;
		bh__queue_push(q, &cmd, aer_done, nvme, BH__SLOT_FOREVER, 0);
	}
	bh_nvme_queue_flush(q);
}

int bh__event_config(struct bh_nvme *nvme)
{
	/* SMART warnings, and the notices the controller has of those we know what to do with. */
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_SET_FEATURES,
				   .cdw10 = BH_NVME_FEAT_ASYNC_EVENT_CONFIG };
	unsigned int most = nvme->id.aerl + 1u;
	int rc;

	nvme->aer_count = 0;
	nvme->aers_wanted = nvme->opts.async_events < most ? nvme->opts.async_events : most;
	if (!nvme->aers_wanted)
		return 0;
	cmd.cdw11 = 0x1f | (nvme->id.oaes & (BH_NVME_OAES_NS_ATTR | BH_NVME_OAES_FW_ACTIVATION));
	rc = bh__admin_sync(nvme, &cmd, NULL, 0, NULL);
	if (rc < 0)
		return rc;
	if (rc)
		bh__log(nvme, BH_LOG_INFO, "event configuration refused: %s",
			bh_nvme_status_str((uint16_t)rc));
	rearm(nvme);
	return 0;
}

static int read_log(struct bh_nvme *nvme, uint8_t lid, void *buf, size_t len)
{
	return bh_nvme_get_log(nvme, lid, BH_NVME_NSID_ALL, 0, buf, len);
}

static void namespaces_changed(struct bh_nvme *nvme)
{
	struct bh_nvme_ns_list *list = calloc(1, sizeof(*list));
	unsigned int i;

	if (!list || read_log(nvme, BH_NVME_LOG_CHANGED_NS, list, sizeof(*list)))
		bh__log(nvme, BH_LOG_WARN, "the changed namespace list cannot be read");
	if (bh__ns_scan(nvme) == 0) {
		/* FFFFFFFFh: more than fit; 0: the log is of no use. */
		if (!list || !list->nsid[0] || list->nsid[0] == BH_NVME_NSID_ALL)
			bh__event(nvme, BH_NVME_EVENT_NS_CHANGED, 0);
		for (i = 0; list && i < 1024 && list->nsid[i] && list->nsid[i] != BH_NVME_NSID_ALL;
		     i++)
			bh__event(nvme, BH_NVME_EVENT_NS_CHANGED, list->nsid[i]);
	}
	free(list);
}

static void handle(struct bh_nvme *nvme, uint32_t value)
{
	unsigned int type = (unsigned int)BH_NVME_GET(value, AER_TYPE);
	unsigned int info = (unsigned int)BH_NVME_GET(value, AER_INFO);
	uint8_t lid = (uint8_t)BH_NVME_GET(value, AER_LID), log[512];

	if (type == BH_NVME_AER_TYPE_NOTICE && info == BH_NVME_AER_NOTICE_NS_ATTR_CHANGED) {
		namespaces_changed(nvme);
		return;
	}
	if (lid == BH_NVME_LOG_ERROR)
		read_log(nvme, lid, log, sizeof(struct bh_nvme_error_log));
	else if (lid)
		read_log(nvme, lid, log, sizeof(log));
	bh__log(nvme, BH_LOG_WARN, "asynchronous event: type %u, information %02xh, log page %02xh",
		type, info, lid);
	bh__event(nvme, BH_NVME_EVENT_AER, value);
}

unsigned int bh__event_work(struct bh_nvme *nvme)
{
	uint32_t value[BH__AER_MOST];
	unsigned int i, n = nvme->aer_count;

	/* Handlers wait for admin commands and so may bring more. */
	memcpy(value, nvme->aer_value, sizeof(value));
	nvme->aer_count = 0;
	for (i = 0; i < n && nvme->state == BH__STATE_RUNNING; i++)
		handle(nvme, value[i]);
	if (nvme->state == BH__STATE_RUNNING)
		rearm(nvme);
	return n;
}

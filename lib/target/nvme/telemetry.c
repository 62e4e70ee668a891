/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Telemetry logs (NVMe 2.0 5.16.1.8, 5.16.1.9): the controller's inner state, for whoever is to
 * find out why it did what it did.
 *
 * What is captured is text, lines of KEY: VALUE, in three areas of which each holds more: (1) the
 * controller as a whole, (2) its queues and namespaces, (3) latencies and the error log. It is
 * captured as it is at one moment and stays so: by a host, with each Create; by the controller, when
 * it is reset after it became fatal (a Keep Alive Timeout, memory of queues that went away, I/O that
 * did not stop in time), while its queues are still there. That raises an event for hosts that want
 * it, once they have come back and said so.
 *
 * It goes to a guest, so nothing of the host's is in it: no paths, no names of stores, no CPUs.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/clock.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"
#include "target/nvme/telemetry.h"

#define BLOCK 512u
#define AREAS 3u
#define MOST (8u << 20) /* bytes: no area comes near it */

/* A log as it was captured. */
struct page {
	size_t len;
	uint8_t *data; /* NULL: nothing was captured */
};

struct tn_telemetry {
	struct page host, own;
	uint8_t host_gen, own_gen;
	bool is_available; /* of what the controller captured: until a host has read it */
	bool is_told;
	uint64_t ticks, ns; /* at the beginning, to know how fast ticks go */
};

/* ---- area 1 ---- */

static void put_registers(FILE *out, const struct bh_target_nvme *ctrl)
{
	const struct tn_regs *r = &ctrl->regs;

	fprintf(out, "cap: 0x%016" PRIx64 "\nvs: 0x%08" PRIx32 "\ncc: 0x%08" PRIx32 "\n", r->cap,
		r->vs, r->cc);
	fprintf(out, "csts: 0x%08" PRIx32 "\nintms: 0x%08" PRIx32 "\n",
		__atomic_load_n(&r->csts, __ATOMIC_RELAXED), r->intms);
	fprintf(out, "aqa: 0x%08" PRIx32 "\nasq: 0x%016" PRIx64 "\nacq: 0x%016" PRIx64 "\n", r->aqa,
		r->asq, r->acq);
}

static void put_setup(FILE *out, const struct bh_target_nvme *ctrl)
{
	fprintf(out, "queues: %u\ndepth: %u\nmdts: %" PRIu32 "\ndstrd: %u\ndoorbells: %s\n",
		ctrl->max_queues, ctrl->max_depth, ctrl->mdts, ctrl->dstrd,
		ctrl->doorbells == BH_DOORBELLS_MAPPED ? "mapped" : "trapped");
	fprintf(out, "cmb_bytes: %" PRIu64 "\n", tn_ctl(ctrl)->cmb.bytes);
}

static void put_state(FILE *out, const struct bh_target_nvme *ctrl)
{
	const struct tn_ctl *ctl = tn_ctl(ctrl);
	const struct tn_features *f = &ctrl->features;

	fprintf(out, "up_ms: %" PRIu64 "\n", (bh_now_ns() - ctl->created_ns) / 1000000);
	fprintf(out, "power_cycles: %" PRIu64 "\nunsafe_shutdowns: %" PRIu64 "\n",
		1 + ctl->clients_left, ctl->unsafe_shutdowns);
	fprintf(out, "gate: %s\nadmin_commands: %" PRIu64 "\nevent_requests: %u\n",
		ctl->gate ? "closed" : "open", ctl->admin_commands, tn_admin_aers(ctrl));
	fprintf(out, "interrupts: %s\n",
		bh_vfu_irq_msix_enabled(ctrl->server) ? "MSI-X" : "pin or none");
	fprintf(out, "write_cache: %" PRIu32 "\ncoalescing: 0x%04" PRIx32 "\n", f->write_cache,
		f->coalescing);
	fprintf(out, "arbitration: 0x%08" PRIx32 "\nasync_events: 0x%08" PRIx32 "\n",
		f->arbitration, f->async_events);
	fprintf(out, "keep_alive_ms: %" PRIu32 "\n", f->keep_alive_ms);
}

static void put_counts(FILE *out, const struct bh_target_nvme_counts *c)
{
	fprintf(out, "reads %" PRIu64 " writes %" PRIu64 " others %" PRIu64 " errors %" PRIu64,
		c->reads, c->writes, c->others, c->errors);
	fprintf(out, " read_bytes %" PRIu64 " write_bytes %" PRIu64, c->read_bytes, c->write_bytes);
}

static void put_controller(FILE *out, struct bh_target_nvme *ctrl, const char *why)
{
	struct bh_nvme_timestamp ts = tn_timestamp(ctrl);
	struct bh_target_nvme_stats stats = { 0 };
	uint64_t ms = 0;

	memcpy(&ms, ts.ms, sizeof(ts.ms));
	fprintf(out, "bellhop_telemetry: 1\nversion: %s\nreason: %s\n", BH_VERSION, why);
	fprintf(out, "timestamp_ms: %" PRIu64 "\ntimestamp_attributes: 0x%02x\n", ms, ts.attr);
	fprintf(out, "serial: %s\nsubnqn: %s\ncntlid: %u\n", ctrl->serial, ctrl->subnqn,
		ctrl->cntlid);
	put_registers(out, ctrl);
	put_setup(out, ctrl);
	put_state(out, ctrl);
	tn_io_stats(ctrl, &stats);
	fputs("io: ", out);
	put_counts(out, &stats.counts);
	fprintf(out, "\npolls: %" PRIu64 "\nempty_polls: %" PRIu64 "\n", stats.polls,
		stats.empty_polls);
	fprintf(out, "interrupts_sent: %" PRIu64 "\ninterrupts_suppressed: %" PRIu64 "\n",
		stats.interrupts, stats.suppressed);
	fprintf(out, "doorbell_messages: %" PRIu64 "\n", stats.doorbell_messages);
}

/* ---- area 2 ---- */

struct queues {
	FILE *out;
	struct bh_target_nvme *ctrl;
	bool is_latency;
};

static void put_latency(FILE *out, const struct bh_histogram *h)
{
	fprintf(out, "commands %" PRIu64 " min_ns %" PRIu64 " p50_ns %" PRIu64, h->count,
		h->count ? h->min : 0, bh_histogram_percentile(h, 50000));
	fprintf(out, " p99_ns %" PRIu64 " p99_9_ns %" PRIu64 " max_ns %" PRIu64 "\n",
		bh_histogram_percentile(h, 99000), bh_histogram_percentile(h, 99900), h->max);
}

/* The doorbells are what the client last wrote, if it does not use shadows. */
static void put_queue(void *ctx, const struct bh_target_nvme_queue_stats *q)
{
	const struct queues *queues = ctx;
	FILE *out = queues->out;
	unsigned int i;

	if (queues->is_latency) {
		fprintf(out, "latency queue %u: ", q->qid);
		put_latency(out, q->latency);
		return;
	}
	fprintf(out, "queue %u: %s cqid %u tail_doorbell %" PRIu32 " head_doorbell %" PRIu32 " ",
		q->qid, q->is_here ? "here" : "gone", q->cqid,
		bh_load_u32(tn_doorbell(queues->ctrl, 2u * q->qid)),
		bh_load_u32(tn_doorbell(queues->ctrl, 2u * q->qid + 1)));
	put_counts(out, &q->counts);
	fprintf(out, " interrupts %" PRIu64 " suppressed %" PRIu64 " batches", q->interrupts,
		q->suppressed);
	for (i = 0; i < BH_TARGET_NVME_BATCHES; i++)
		fprintf(out, " %" PRIu64, q->batches[i]);
	fputc('\n', out);
}

static void put_namespaces(FILE *out, struct bh_target_nvme *ctrl, const struct bh_clock *clock)
{
	struct bh_target_nvme_ns_stats stats;
	struct bh_histogram latency;
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		const struct tn_ns *ns = tn_ns_get(ctrl, nsid);

		if (!ns || !bh_target_nvme_ns_stats(ctrl, nsid, clock, &latency, &stats))
			continue;
		fprintf(out, "namespace %" PRIu32 ": blocks %" PRIu64 " block_size %u deny %u ",
			nsid, ns->blocks, 1u << ns->block_shift,
			__atomic_load_n(&ns->deny, __ATOMIC_RELAXED));
		put_counts(out, &stats.counts);
		fputs(" ", out);
		put_latency(out, &latency);
	}
}

/* ---- area 3 ---- */

static void put_errors(FILE *out, struct bh_target_nvme *ctrl)
{
	uint64_t i;

	pthread_mutex_lock(&ctrl->error_lock);
	for (i = ctrl->error_count; i && i + TN_ERROR_LOG_ENTRIES > ctrl->error_count; i--) {
		const struct bh_nvme_error_log *e = &ctrl->errors[(i - 1) % TN_ERROR_LOG_ENTRIES];

		fprintf(out, "error %" PRIu64 ": sqid %u cid %u status 0x%04x location 0x%04x",
			e->error_count, e->sqid, e->cid, e->status >> 1, e->location);
		fprintf(out, " lba %" PRIu64 " nsid %" PRIu32 "\n", e->lba, e->nsid);
	}
	pthread_mutex_unlock(&ctrl->error_lock);
}

/* ---- capturing ---- */

/* As fast as ticks have gone since the controller is there. */
static struct bh_clock clock_of(const struct tn_telemetry *t)
{
	uint64_t ticks = bh_ticks() - t->ticks, ns = bh_now_ns() - t->ns;

	return (struct bh_clock){ .mult = ticks ? (uint64_t)(((unsigned __int128)ns << 32) / ticks)
						: 0 };
}

static void put_area(FILE *out, struct bh_target_nvme *ctrl, unsigned int area, const char *why)
{
	struct bh_clock clock = clock_of(tn_ctl(ctrl)->telemetry);
	struct queues queues = { out, ctrl, area == 3 };

	if (area == 1)
		put_controller(out, ctrl, why);
	else
		bh_target_nvme_queues(ctrl, &clock, put_queue, &queues);
	if (area == 2)
		put_namespaces(out, ctrl, &clock);
	if (area == 3)
		put_errors(out, ctrl);
}

/* Up to the end of a block, which zeros fill: what the last block's number is. */
static uint16_t end_area(FILE *out)
{
	long at = ftell(out);

	while (at > 0 && at % BLOCK) {
		fputc('\0', out);
		at++;
	}
	return at > 0 && at < MOST ? (uint16_t)(at / BLOCK - 1) : 0;
}

/* 0 or -ENOMEM, and then nothing has changed. */
static int capture(struct bh_target_nvme *ctrl, struct page *page, uint8_t lid, const char *why)
{
	struct bh_nvme_telemetry head = { .lid = lid };
	uint16_t last[AREAS];
	char *data = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&data, &len);
	unsigned int i;
	bool is_whole;

	if (!out)
		return -ENOMEM;
	fwrite(&head, sizeof(head), 1, out);
	for (i = 0; i < AREAS; i++) {
		put_area(out, ctrl, i + 1, why);
		last[i] = end_area(out);
	}
	is_whole = !ferror(out);
	if (fclose(out) != 0 || !is_whole) {
		free(data);
		return -ENOMEM;
	}
	head.dalb1 = last[0];
	head.dalb2 = last[1];
	head.dalb3 = last[2];
	snprintf(head.reason, sizeof(head.reason), "%s", why);
	memcpy(data, &head, sizeof(head));
	free(page->data);
	*page = (struct page){ len, (uint8_t *)data };
	return 0;
}

/* What both headers say of now. */
static void refresh(const struct tn_telemetry *t, struct bh_nvme_telemetry *head)
{
	head->host_gen = head->lid == BH_NVME_LOG_TELEMETRY_HOST ? t->host_gen : 0;
	head->ctrl_available = t->is_available;
	head->ctrl_gen = t->own_gen;
}

static void record(struct bh_target_nvme *ctrl, const struct page *page)
{
	const struct tn_telemetry *t = tn_ctl(ctrl)->telemetry;
	struct bh_nvme_telemetry head;

	memcpy(&head, page->data, sizeof(head));
	refresh(t, &head);
	tn_pel_add(ctrl, BH_NVME_PEL_TELEMETRY, &head, sizeof(head));
}

void tn_telemetry_fatal(struct bh_target_nvme *ctrl)
{
	const char *why = __atomic_load_n(&tn_ctl(ctrl)->fatal_why, __ATOMIC_ACQUIRE);
	struct tn_telemetry *t = tn_ctl(ctrl)->telemetry;

	t->is_told = false; /* events do not outlive a reset */
	if (!why || capture(ctrl, &t->own, BH_NVME_LOG_TELEMETRY_CTRL, why) != 0)
		return;
	t->own_gen++;
	t->is_available = true;
	record(ctrl, &t->own);
}

void tn_telemetry_tell(struct bh_target_nvme *ctrl)
{
	struct tn_telemetry *t = tn_ctl(ctrl)->telemetry;

	if (!t->is_available || t->is_told ||
	    !(ctrl->features.async_events & BH_NVME_OAES_TELEMETRY))
		return;
	t->is_told = true;
	tn_event_raise(ctrl, BH_NVME_AER_TYPE_NOTICE, BH_NVME_AER_NOTICE_TELEMETRY,
		       BH_NVME_LOG_TELEMETRY_CTRL);
}

/* ---- Get Log Page ---- */

static void send(struct tn_admin_cmd *cmd, const struct page *page, uint64_t offset, uint64_t len)
{
	const struct tn_telemetry *t = tn_ctl(cmd->ctrl)->telemetry;
	struct bh_nvme_telemetry head = { .lid = (uint8_t)BH_NVME_GET(cmd->sqe.cdw10, GLP_LID) };
	size_t all = page->data ? page->len : sizeof(head);

	if (offset > all) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW12);
		return;
	}
	if (len > all - offset)
		len = all - offset;
	if (page->data)
		memcpy(&head, page->data, sizeof(head));
	refresh(t, &head);
	if (page->data)
		memcpy(page->data, &head, sizeof(head));
	tn_admin_send_copy(cmd, page->data ? page->data + offset : (uint8_t *)&head + offset,
			   (size_t)len);
}

static void read_host(struct tn_admin_cmd *cmd, uint64_t offset, uint64_t len)
{
	struct tn_telemetry *t = tn_ctl(cmd->ctrl)->telemetry;

	if (BH_NVME_GET(cmd->sqe.cdw10, GLP_LSP) & BH_NVME_TELEMETRY_CREATE) {
		if (capture(cmd->ctrl, &t->host, BH_NVME_LOG_TELEMETRY_HOST, "host") != 0) {
			tn_admin_complete(cmd, BH_NVME_SC_INTERNAL_ERROR);
			return;
		}
		t->host_gen++;
		record(cmd->ctrl, &t->host);
	}
	send(cmd, &t->host, offset, len);
}

void tn_telemetry_cmd(struct tn_admin_cmd *cmd, uint64_t offset, uint64_t len)
{
	struct bh_target_nvme *ctrl = cmd->ctrl;
	struct tn_telemetry *t = tn_ctl(ctrl)->telemetry;
	bool is_retained = cmd->sqe.cdw10 & BH_NVME_GLP_RAE;

	if (offset % BLOCK) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW12);
	} else if (len % BLOCK) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW10 + 2);
	} else if (BH_NVME_GET(cmd->sqe.cdw10, GLP_LID) == BH_NVME_LOG_TELEMETRY_HOST) {
		read_host(cmd, offset, len);
	} else {
		send(cmd, &t->own, offset, len);
		if (is_retained)
			return;
		t->is_available = false;
		tn_events_clear(ctrl, BH_NVME_LOG_TELEMETRY_CTRL);
	}
}

/* ---- life ---- */

int tn_telemetry_create(struct bh_target_nvme *ctrl)
{
	struct tn_telemetry *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->ticks = bh_ticks();
	t->ns = bh_now_ns();
	tn_ctl(ctrl)->telemetry = t;
	return 0;
}

void tn_telemetry_free(struct bh_target_nvme *ctrl)
{
	struct tn_telemetry *t = tn_ctl(ctrl)->telemetry;

	if (!t)
		return;
	free(t->host.data);
	free(t->own.data);
	free(t);
	tn_ctl(ctrl)->telemetry = NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device Self-test (NVMe 2.0 5.9, 5.16.1.7).
 *
 * A test has segments: the first writes patterns to the buffer it uses and reads them back, the
 * second reads namespaces. The extended test reads every block there is, the short one sixteen
 * places of each namespace and its end. It runs on the control thread, beside the I/O, by a timer:
 * each time a little, so that commands are answered in between. It has a channel of its own to the
 * store that it reads, with one request at a time, whose buffer belongs to the channel when the test
 * ends before the store has answered.
 *
 * A controller reset ends the short test; the extended one goes on (5.9). Neither notices what a
 * host has made unreadable by Write Uncorrectable: that is no fault of the medium. Results last as
 * long as the controller.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/nvme/control.h"

#define BUFFER_BYTES (128u << 10)
#define TURN_NS 1000000ull
#define TURN_REQUESTS 8u /* of a store that answers at once */
#define PLACES 16u
#define SEGMENT_BUFFER 1u
#define SEGMENT_DATA 2u
#define NOMINAL_BYTES (100ull << 20) /* per second: for the time that is announced */

/* Of one request, with all that its store may still look at when the test has ended. */
struct buffer {
	uint8_t data[BUFFER_BYTES]; /* pages */
	struct iovec iov;
};

struct tn_selftest {
	struct bh_target_nvme *ctrl;
	struct bh_timer *timer;
	uint8_t code;  /* running; 0: none */
	uint32_t nsid; /* as asked for */
	uint32_t at_nsid;
	struct bh_blk_chan *chan; /* of at_nsid; NULL: it is to be opened */
	const struct bh_blk *blk;
	uint64_t lba;
	uint32_t blocks;    /* of the request under way */
	bool is_waiting;    /* for the store */
	uint64_t done, all; /* bytes */
	struct buffer *buf;
	unsigned int count;
	struct bh_nvme_self_test_result result[BH_NVME_SELF_TEST_RESULTS]; /* newest first */
};

/* ---- results ---- */

static void put_u64(uint32_t out[2], uint64_t value)
{
	out[0] = (uint32_t)value;
	out[1] = (uint32_t)(value >> 32);
}

/* The result of what is running goes in front. */
static struct bh_nvme_self_test_result *new_result(struct tn_selftest *s, uint8_t result)
{
	struct bh_nvme_self_test_result *r = s->result;

	memmove(r + 1, r, (BH_NVME_SELF_TEST_RESULTS - 1) * sizeof(*r));
	memset(r, 0, sizeof(*r));
	r->status = (uint8_t)(s->code << 4 | result);
	put_u64(r->power_on_hours, tn_power_on_hours(s->ctrl));
	if (s->count < BH_NVME_SELF_TEST_RESULTS)
		s->count++;
	return r;
}

void tn_selftest_log(const struct bh_target_nvme *ctrl, struct bh_nvme_self_test_log *log)
{
	const struct tn_selftest *s = tn_ctl(ctrl)->selftest;
	unsigned int i;

	log->current = s->code;
	if (s->code)
		log->percent = (uint8_t)(s->all ? s->done * 100 / s->all : 0);
	for (i = 0; i < BH_NVME_SELF_TEST_RESULTS; i++) {
		if (i < s->count)
			log->result[i] = s->result[i];
		else
			log->result[i].status = BH_NVME_SELF_TEST_UNUSED;
	}
}

/* ---- the store ---- */

static void left(void *cookie)
{
	free(cookie);
}

/* Who closes it with a request under way leaves the buffer to it. */
static void close_store(struct tn_selftest *s)
{
	if (!s->chan)
		return;
	bh_blk_chan_leave(s->chan, left);
	if (s->is_waiting)
		s->buf = NULL;
	s->is_waiting = false;
	s->chan = NULL;
}

static void end(struct tn_selftest *s)
{
	close_store(s);
	free(s->buf);
	s->buf = NULL;
	s->code = 0;
	bh_timer_cancel(s->timer);
}

static void ended(struct tn_selftest *s, uint8_t result)
{
	new_result(s, result);
	end(s);
}

static void failed(struct tn_selftest *s, unsigned int segment, uint16_t sf)
{
	struct bh_nvme_self_test_result *r = new_result(s, BH_NVME_SELF_TEST_FAILED);

	r->segment = (uint8_t)segment;
	if (segment == SEGMENT_DATA) {
		r->valid = BH_NVME_SELF_TEST_VALID_NSID | BH_NVME_SELF_TEST_VALID_FLBA |
			   BH_NVME_SELF_TEST_VALID_SCT | BH_NVME_SELF_TEST_VALID_SC;
		r->nsid = s->at_nsid;
		put_u64(r->flba, s->lba);
		r->sct = (uint8_t)(sf >> BH_NVME_STATUS_SCT_SHIFT & BH_NVME_STATUS_SCT_MASK);
		r->sc = (uint8_t)sf;
	}
	bh_log(s->ctrl->log, BH_LOG_WARN, TN_LOG, "%s: self-test failed: namespace %u, block %llu",
	       s->ctrl->path, s->at_nsid, (unsigned long long)s->lba);
	end(s);
}

/* ---- where to read ---- */

static uint64_t bytes_of(const struct tn_ns *ns)
{
	return ns->blocks << ns->block_shift;
}

/* Bytes that a test reads of a namespace. */
static uint64_t share_of(const struct tn_selftest *s, const struct tn_ns *ns)
{
	uint64_t few = (PLACES + 1ull) * BUFFER_BYTES, all = bytes_of(ns);

	return s->code == BH_NVME_SELF_TEST_EXTENDED || all < few ? all : few;
}

static bool is_meant(const struct tn_selftest *s, uint32_t nsid)
{
	return (s->nsid == BH_NVME_NSID_ALL || s->nsid == nsid) && tn_ns_get(s->ctrl, nsid);
}

/* The next place after this one; false: there is none in this namespace. */
static bool next_place(struct tn_selftest *s, const struct tn_ns *ns)
{
	uint32_t most = BUFFER_BYTES >> ns->block_shift;
	uint64_t stride = ns->blocks / PLACES;

	if (share_of(s, ns) < bytes_of(ns) && s->lba + most < ns->blocks)
		s->lba = s->lba + stride + most <= ns->blocks ? s->lba + stride : ns->blocks - most;
	else
		s->lba += s->blocks;
	return s->lba < ns->blocks;
}

/* The namespace that is next, opened. False: the test is over. */
static bool open_store(struct tn_selftest *s)
{
	const struct tn_ns *ns;

	while (++s->at_nsid <= BH_TARGET_NVME_MAX_NS && !is_meant(s, s->at_nsid))
		continue;
	if (s->at_nsid > BH_TARGET_NVME_MAX_NS) {
		ended(s, BH_NVME_SELF_TEST_PASSED);
		return false;
	}
	ns = tn_ns_get(s->ctrl, s->at_nsid);
	s->lba = 0;
	s->blk = ns->blk;
	if (!bh_blk_chan_open(ns->blk, &s->chan))
		return true;
	s->chan = NULL; /* which says nothing of the medium */
	ended(s, BH_NVME_SELF_TEST_ABORTED_UNKNOWN);
	return false;
}

/* ---- segments ---- */

static bool buffer_is_sound(uint8_t *buf)
{
	static const uint8_t patterns[] = { 0x00, 0xff, 0x55, 0xaa };
	unsigned int i;
	size_t k;

	for (i = 0; i < sizeof(patterns); i++) {
		memset(buf, patterns[i], BUFFER_BYTES);
		for (k = 0; k < BUFFER_BYTES && bh_load_u8(buf + k) == patterns[i]; k++)
			continue;
		if (k < BUFFER_BYTES)
			return false;
	}
	return true;
}

/* Another read. 0: done at once; BH_BLK_QUEUED, -EAGAIN or what it failed with. */
static int read_place(struct tn_selftest *s, const struct tn_ns *ns)
{
	uint64_t rest = ns->blocks - s->lba;
	uint32_t most = BUFFER_BYTES >> ns->block_shift;
	struct bh_blk_io io = { .op = BH_BLK_READ, .iovcnt = 1, .lba = s->lba, .cookie = s->buf };

	s->blocks = rest < most ? (uint32_t)rest : most;
	s->buf->iov = (struct iovec){ s->buf->data, (size_t)s->blocks << ns->block_shift };
	io.blocks = s->blocks;
	io.iov = &s->buf->iov;
	return bh_blk_submit(s->chan, &io);
}

/* One read came to its end; true: there may be another. */
static bool was_read(struct tn_selftest *s, const struct tn_ns *ns, int error)
{
	if (error) {
		failed(s, SEGMENT_DATA, BH_NVME_SC_UNRECOVERED_READ_ERROR);
		return false;
	}
	s->done += (uint64_t)s->blocks << ns->block_shift;
	if (!next_place(s, ns))
		close_store(s);
	return true;
}

/* A step: true when another may follow at once. */
static bool step(struct tn_selftest *s)
{
	const struct tn_ns *ns;
	struct bh_blk_done done;
	int rc;

	if (!s->chan)
		return open_store(s);
	ns = tn_ns_get(s->ctrl, s->at_nsid);
	if (!ns || ns->blk != s->blk) {
		ended(s, BH_NVME_SELF_TEST_ABORTED_NS_REMOVED);
		return false;
	}
	if (s->is_waiting) {
		if (!bh_blk_reap(s->chan, &done, 1))
			return false;
		s->is_waiting = false;
		return was_read(s, ns, done.status);
	}
	rc = read_place(s, ns);
	s->is_waiting = rc == BH_BLK_QUEUED;
	if (s->is_waiting || rc == -EAGAIN)
		return s->is_waiting;
	return was_read(s, ns, rc);
}

static void turn(void *arg)
{
	struct tn_selftest *s = arg;
	unsigned int i = 0;

	while (i < TURN_REQUESTS && step(s))
		i++;
	if (s->code)
		bh_timer_set(s->timer, TURN_NS);
}

/* ---- commands ---- */

static void start(struct tn_selftest *s, uint8_t code, uint32_t nsid)
{
	uint32_t i;

	s->code = code;
	s->nsid = nsid;
	s->at_nsid = 0;
	s->lba = s->done = s->all = 0;
	for (i = 1; i <= BH_TARGET_NVME_MAX_NS; i++)
		if (is_meant(s, i))
			s->all += share_of(s, tn_ns_get(s->ctrl, i));
	if (!buffer_is_sound(s->buf->data))
		failed(s, SEGMENT_BUFFER, 0);
	else
		bh_timer_set(s->timer, TURN_NS);
}

static void start_cmd(struct tn_admin_cmd *cmd, uint8_t code)
{
	struct tn_selftest *s = tn_ctl(cmd->ctrl)->selftest;
	uint32_t nsid = cmd->sqe.nsid;

	if (nsid && nsid != BH_NVME_NSID_ALL && nsid > BH_TARGET_NVME_MAX_NS) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_NS, TN_AT_NSID);
		return;
	}
	if (nsid && nsid != BH_NVME_NSID_ALL && !tn_ns_get(cmd->ctrl, nsid)) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_NSID);
		return;
	}
	if (s->code) {
		tn_admin_fail(cmd, BH_NVME_SC_SELF_TEST_IN_PROGRESS, TN_AT_CDW10);
		return;
	}
	static_assert(sizeof(*s->buf) <= BUFFER_BYTES + TN_PAGE_SIZE, "whole pages");
	s->buf = aligned_alloc(TN_PAGE_SIZE, BUFFER_BYTES + TN_PAGE_SIZE);
	if (!s->buf) {
		tn_admin_complete(cmd, BH_NVME_SC_INTERNAL_ERROR);
		return;
	}
	start(s, code, nsid);
	tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
}

void tn_selftest_cmd(struct tn_admin_cmd *cmd)
{
	uint8_t code = cmd->sqe.cdw10 & BH_NVME_SELF_TEST_STC_MASK;

	switch (code) {
	case BH_NVME_SELF_TEST_SHORT:
	case BH_NVME_SELF_TEST_EXTENDED:
		start_cmd(cmd, code);
		return;
	case BH_NVME_SELF_TEST_ABORT:
		tn_selftest_end(cmd->ctrl, BH_NVME_SELF_TEST_ABORTED);
		tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
		return;
	default:
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW10);
	}
}

void tn_selftest_end(struct bh_target_nvme *ctrl, uint8_t result)
{
	struct tn_selftest *s = tn_ctl(ctrl)->selftest;

	if (s && s->code)
		ended(s, result);
}

void tn_selftest_reset(struct bh_target_nvme *ctrl)
{
	const struct tn_selftest *s = tn_ctl(ctrl)->selftest;

	if (s && s->code == BH_NVME_SELF_TEST_SHORT)
		tn_selftest_end(ctrl, BH_NVME_SELF_TEST_ABORTED_RESET);
}

uint16_t tn_selftest_minutes(const struct bh_target_nvme *ctrl)
{
	uint64_t bytes = 0, minutes;
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		const struct tn_ns *ns = tn_ns_get(ctrl, nsid);

		bytes += ns ? bytes_of(ns) : 0;
	}
	minutes = 1 + bytes / NOMINAL_BYTES / 60;
	return (uint16_t)(minutes < UINT16_MAX ? minutes : UINT16_MAX);
}

/* ---- life ---- */

int tn_selftest_create(struct bh_target_nvme *ctrl)
{
	struct tn_selftest *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->ctrl = ctrl;
	rc = bh_timer_create(ctrl->control, turn, s, &s->timer);
	if (rc) {
		free(s);
		return rc;
	}
	tn_ctl(ctrl)->selftest = s;
	return 0;
}

void tn_selftest_free(struct bh_target_nvme *ctrl)
{
	struct tn_selftest *s = tn_ctl(ctrl)->selftest;

	if (!s)
		return;
	end(s);
	bh_timer_destroy(s->timer);
	free(s);
	tn_ctl(ctrl)->selftest = NULL;
}

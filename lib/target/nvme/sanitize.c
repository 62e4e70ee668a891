/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sanitize (NVMe 2.0 5.24, 8.20): everything that a subsystem keeps is erased, in the background.
 *
 * It is the subsystem's, not a controller's: it outlives resets, and hosts that leave. It claims the
 * stores of all namespaces, and the pool as a whole, so what of it is nobody's goes too. When all of
 * them stand still the command completes; from then on I/O commands, and most of the admin commands,
 * are refused (ctrl->refusal) until the last namespace has gone on. Block Erase writes zeros, Overwrite
 * its pattern, pass by pass over all stores; afterwards, unless the host objects, blocks are
 * deallocated where that means something. Metadata, zones and unreadable blocks become those of a
 * store that was never written to. There are no keys, so no Crypto Erase.
 *
 * What a store lies on is out of reach: a file system that copies on write, a disk that remaps.
 * In memory, the pages are overwritten and given back.
 *
 * If it fails, nobody gets at the data until another one succeeds, or, if that was agreed
 * upon (AUSE), the host waives it. Claims are let go of then, since a store may be others' too; the
 * lines of our namespaces are filled so that they refuse (line.c).
 *
 * A process that ends ends it. What must not be forgotten then is in the subsystem's state: it has
 * failed when the next process begins. So where stores outlive the process, and the subsystem has no
 * state, there is no such command.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/zones.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"

#define MAX_PASSES 16u
#define NOMINAL_BYTES (256ull << 20) /* per second: for the times that are announced */
#define NOT_TOLD 0xffffffffu

struct store {
	struct bh_blk *blk; /* a reference */
	uint64_t bytes;	    /* to erase; 0: they lie in the pool */
};

struct tn_sanitize {
	struct bh_target_subsys *subsys; /* NULL: it has gone, and so do we */
	struct bh_reactor *control;
	struct tn_admin_cmd *cmd;    /* until it has completed */
	struct bh_target_nvme *ctrl; /* that it came by; NULL: it has gone */
	uint32_t cdw10, pattern;
	unsigned int passes; /* that write */
	bool is_freeing;     /* one more pass, which does not */
	uint16_t sf;	     /* why it does not begin */
	uint32_t left; /* __atomic: stores that have not answered, and one while they are asked */
	struct bh_msg msg; /* they have */
	unsigned int count, claimed;
	unsigned int pass, at;
	uint64_t done, all; /* bytes */
	struct tn_erase *erase;
	struct store store[BH_TARGET_NVME_MAX_NS + 1];
};

/* ---- what is said of it ---- */

static bool is_forgetful(const struct bh_blk *blk)
{
	return blk->inline_kind != BH_BLK_INLINE_NONE;
}

/* Every store goes with the process, or it is known afterwards what became of them. */
static bool is_remembered(const struct bh_target_subsys *subsys)
{
	uint32_t nsid;

	if (tn_subsys_is_persistent(subsys))
		return true;
	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		if (subsys->space[nsid] && !is_forgetful(subsys->space[nsid]->blk))
			return false;
	}
	return !subsys->pool || is_forgetful(subsys->pool);
}

uint32_t tn_sanicap(const struct bh_target_nvme *ctrl)
{
	if (!is_remembered(ctrl->subsys))
		return 0;
	return BH_NVME_SANICAP_BLOCK_ERASE | BH_NVME_SANICAP_OVERWRITE |
	       1u << BH_NVME_SANICAP_MODIFIES_SHIFT;
}

static uint64_t bytes_of(const struct bh_blk *blk)
{
	const struct bh_blk_info *info = bh_blk_info(blk);

	return __atomic_load_n(&info->blocks, __ATOMIC_RELAXED) * info->block_size;
}

static uint64_t all_bytes(const struct bh_target_subsys *subsys)
{
	uint64_t bytes = subsys->capacity;
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		const struct tn_space *space = subsys->space[nsid];

		if (space && !space->pool_bytes)
			bytes += bytes_of(space->blk);
	}
	return bytes;
}

static uint32_t seconds_for(uint64_t bytes, unsigned int passes)
{
	uint64_t seconds = 1 + bytes / NOMINAL_BYTES * passes;

	return seconds < NOT_TOLD ? (uint32_t)seconds : NOT_TOLD - 1;
}

void tn_sanitize_log(const struct bh_target_nvme *ctrl, struct bh_nvme_sanitize_log *log)
{
	const struct tn_sanitized *last = &ctrl->subsys->sanitized;
	const struct tn_sanitize *s = ctrl->subsys->sanitize;
	uint64_t bytes = all_bytes(ctrl->subsys);

	log->sprog = 0xffff;
	if (last->outcome == BH_NVME_SSTAT_IN_PROGRESS)
		log->sprog = (uint16_t)(s->done / (s->all / 65535 + 1));
	/* Global Data Erased is never claimed: not only our hosts write to stores. */
	log->sstat = (uint16_t)(last->outcome | last->passes << BH_NVME_SSTAT_PASSES_SHIFT);
	log->scdw10 = last->cdw10;
	log->overwrite = seconds_for(bytes, MAX_PASSES + 1);
	log->block_erase = seconds_for(bytes, 2);
	log->overwrite_no_dealloc = seconds_for(bytes, MAX_PASSES);
	log->block_erase_no_dealloc = seconds_for(bytes, 1);
	log->crypto_erase = log->crypto_erase_no_dealloc = NOT_TOLD;
}

/* What goes on as if nothing was (5.24.1): nothing of it reads or changes what is kept. */
static bool is_allowed(uint8_t opc)
{
	switch (opc) {
	case BH_NVME_ADMIN_DELETE_SQ:
	case BH_NVME_ADMIN_CREATE_SQ:
	case BH_NVME_ADMIN_GET_LOG_PAGE:
	case BH_NVME_ADMIN_DELETE_CQ:
	case BH_NVME_ADMIN_CREATE_CQ:
	case BH_NVME_ADMIN_IDENTIFY:
	case BH_NVME_ADMIN_ABORT:
	case BH_NVME_ADMIN_SET_FEATURES:
	case BH_NVME_ADMIN_GET_FEATURES:
	case BH_NVME_ADMIN_ASYNC_EVENT:
	case BH_NVME_ADMIN_KEEP_ALIVE:
	case BH_NVME_ADMIN_DOORBELL_BUFFER_CONFIG:
	case BH_NVME_ADMIN_SANITIZE: /* which has its own say */
		return true;
	default:
		return false;
	}
}

uint16_t tn_sanitize_denies(const struct bh_target_nvme *ctrl, uint8_t opc)
{
	return is_allowed(opc) ? 0 : tn_refusal(ctrl);
}

static void set_refusal(struct bh_target_subsys *subsys, uint16_t sf)
{
	unsigned int id;

	subsys->refusal = sf;
	for (id = 1; id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++) {
		if (subsys->ctrl[id])
			__atomic_store_n(&subsys->ctrl[id]->refusal, sf, __ATOMIC_RELEASE);
	}
}

/* As the last operation left it. */
static void restore_refusal(struct bh_target_subsys *subsys)
{
	set_refusal(subsys, subsys->sanitized.is_failure_mode ? BH_NVME_SC_SANITIZE_FAILED : 0);
}

/* ---- all stores at once ---- */

/* Any thread. */
static void answered(void *arg)
{
	struct tn_sanitize *s = arg;

	/* What each of them did comes before the message. */
	if (!__atomic_sub_fetch(&s->left, 1, __ATOMIC_ACQ_REL))
		bh_reactor_send(s->control, &s->msg);
}

static void claim_all(struct tn_sanitize *s, void (*then)(void *ctx))
{
	s->msg = (struct bh_msg){ .fn = then, .ctx = s };
	s->left = 1;
	for (; s->claimed < s->count && !s->sf; s->claimed++) {
		__atomic_add_fetch(&s->left, 1, __ATOMIC_RELAXED);
		if (bh_blk_claim(s->store[s->claimed].blk, answered, s)) {
			s->sf = BH_NVME_SC_FORMAT_IN_PROGRESS;
			answered(s);
			break;
		}
	}
	answered(s);
}

static void release_all(struct tn_sanitize *s, void (*then)(void *ctx))
{
	s->msg = (struct bh_msg){ .fn = then, .ctx = s };
	s->left = 1;
	while (s->claimed) {
		__atomic_add_fetch(&s->left, 1, __ATOMIC_RELAXED);
		bh_blk_release(s->store[--s->claimed].blk, answered, s);
	}
	answered(s);
}

static void free_all(struct tn_sanitize *s)
{
	if (s->subsys)
		s->subsys->sanitize = NULL;
	while (s->count)
		bh_blk_put(s->store[--s->count].blk);
	free(s);
}

static void add_store(struct tn_sanitize *s, struct bh_blk *blk, uint64_t bytes)
{
	unsigned int i;

	for (i = 0; i < s->count && s->store[i].blk != blk; i++)
		continue;
	if (i == s->count)
		s->store[s->count++].blk = bh_blk_get(blk);
	if (bytes <= s->store[i].bytes)
		return;
	s->all += (bytes - s->store[i].bytes) * (s->passes + s->is_freeing);
	s->store[i].bytes = bytes;
}

/* Each once, though it may be several namespaces, or the pool and one. */
static void collect(struct tn_sanitize *s)
{
	uint32_t nsid;

	if (s->subsys->pool)
		add_store(s, s->subsys->pool, s->subsys->capacity);
	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		const struct tn_space *space = s->subsys->space[nsid];

		if (space) /* metadata are not the pool's */
			add_store(s, space->blk,
				  space->pool_bytes && !space->blk->md ? 0 : bytes_of(space->blk));
	}
}

/* ---- the operation ---- */

/* The command is over; its controller need not wait for it any more. */
static void complete(struct tn_sanitize *s, uint16_t sf)
{
	struct bh_target_nvme *ctrl = s->cmd->ctrl;
	struct tn_admin_cmd *cmd = s->cmd;

	s->cmd = NULL;
	tn_admin_complete(cmd, sf);
	tn_ctl(ctrl)->pending_ns--;
	tn_ctrl_ns_gone(ctrl);
}

/* There is nothing to do any more. The host may begin the next one inside. */
static void answer(void *ctx)
{
	struct tn_sanitize *s = ctx;

	s->subsys->sanitize = NULL;
	s->subsys = NULL;
	complete(s, s->sf);
	free_all(s);
}

/* The one that it came by, or another. */
static struct bh_target_nvme *any_ctrl(const struct tn_sanitize *s)
{
	struct bh_target_nvme *ctrl = s->ctrl;
	unsigned int id;

	for (id = 1; !ctrl && id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++)
		ctrl = s->subsys->ctrl[id];
	return ctrl;
}

/* All namespaces have gone on. */
static void over(void *ctx)
{
	struct tn_sanitize *s = ctx;
	struct bh_target_subsys *subsys = s->subsys;

	if (subsys) {
		subsys->sanitized.outcome = subsys->sanitized.is_failure_mode
						    ? BH_NVME_SSTAT_FAILED
						    : BH_NVME_SSTAT_COMPLETED;
		tn_subsys_changed(subsys);
		if (any_ctrl(s))
			tn_pel_sanitize_end(any_ctrl(s));
		if (s->ctrl)
			tn_event_raise(s->ctrl, BH_NVME_AER_TYPE_IO,
				       BH_NVME_AER_IO_SANITIZE_COMPLETED, BH_NVME_LOG_SANITIZE);
	}
	free_all(s);
}

/* The store is as one that was never written to, but for what lies in its blocks. */
static void make_new(struct bh_blk *blk)
{
	uint64_t lba = 0;
	uint32_t blocks;

	bh_blk_bad_clear(blk, 0, bh_blk_info(blk)->blocks);
	while (blk->zones && bh_zones_next_used(blk->zones, &lba, &blocks))
		bh_zones_reset_end(blk->zones, lba);
}

static void finish(struct tn_sanitize *s, int error)
{
	struct bh_target_subsys *subsys = s->subsys;
	unsigned int i;

	for (i = 0; i < s->count && !error; i++)
		make_new(s->store[i].blk);
	if (error)
		bh_log(subsys->log, BH_LOG_ERROR, TN_LOG, "%s: cannot be sanitized: %s",
		       subsys->nqn, strerror(-error));
	subsys->sanitized.is_failure_mode = error != 0;
	restore_refusal(subsys);
	release_all(s, over);
}

static bool progress(void *arg, uint64_t bytes)
{
	struct tn_sanitize *s = arg;

	s->done += bytes;
	return true;
}

static void next_store(struct tn_sanitize *s);

static void erased(void *arg, int error)
{
	struct tn_sanitize *s = arg;

	s->erase = NULL;
	s->at++;
	if (error)
		finish(s, error);
	else
		next_store(s);
}

/* Blocks of a store that cannot deallocate keep what was written. */
static bool is_passed_over(const struct tn_sanitize *s)
{
	const struct store *store = &s->store[s->at];

	return !store->bytes ||
	       (s->pass == s->passes && !(bh_blk_info(store->blk)->caps & BH_BLK_CAP_DEALLOCATE));
}

static void next_store(struct tn_sanitize *s)
{
	bool is_odd = s->pass % 2;
	uint32_t pattern = is_odd && s->cdw10 & BH_NVME_SANITIZE_INVERT ? ~s->pattern : s->pattern;
	struct tn_erase_opts opts = {
		.control = s->control, .progress = progress, .done = erased, .arg = s
	};
	int rc;

	for (; s->at < s->count && is_passed_over(s); s->at++)
		s->done += s->store[s->at].bytes;
	if (s->at == s->count) {
		s->at = 0;
		s->pass++;
		if (s->pass <= s->passes &&
		    BH_NVME_GET(s->cdw10, SANITIZE_ACT) == BH_NVME_SANITIZE_OVERWRITE)
			s->subsys->sanitized.passes = (uint8_t)s->pass;
		if (s->pass == s->passes + s->is_freeing)
			finish(s, 0);
		else
			next_store(s);
		return;
	}
	opts.blk = s->store[s->at].blk;
	opts.bytes = s->store[s->at].bytes;
	opts.pattern = s->pass < s->passes ? &pattern : NULL;
	rc = tn_erase_start(&opts, &s->erase);
	if (rc)
		finish(s, rc);
}

/* All namespaces stand still, or somebody has one of the stores. */
static void begin(void *ctx)
{
	struct tn_sanitize *s = ctx;
	struct tn_sanitized *last = &s->subsys->sanitized;

	if (s->sf) {
		restore_refusal(s->subsys);
		release_all(s, answer);
		return;
	}
	*last = (struct tn_sanitized){ .cdw10 = s->cdw10, .outcome = BH_NVME_SSTAT_IN_PROGRESS };
	tn_subsys_changed(s->subsys);
	tn_pel_sanitize_start(s->cmd);
	complete(s, BH_NVME_SC_SUCCESS);
	next_store(s);
}

/* ---- the way out of a failure ---- */

static void exit_failure(void *ctx)
{
	struct tn_sanitize *s = ctx;

	if (!s->sf) {
		s->subsys->sanitized.is_failure_mode = false;
		tn_subsys_changed(s->subsys);
	}
	restore_refusal(s->subsys);
	release_all(s, answer);
}

/* ---- the command ---- */

/* 0, or why there is nothing to be erased now. */
static uint16_t check(const struct bh_target_nvme *ctrl, uint32_t cdw10)
{
	const struct bh_target_subsys *subsys = ctrl->subsys;
	const struct tn_sanitized *last = &subsys->sanitized;
	uint32_t nsid;

	/* Restricted once, restricted until one succeeds. */
	if (last->is_failure_mode && !(last->cdw10 & BH_NVME_SANITIZE_AUSE) &&
	    cdw10 & BH_NVME_SANITIZE_AUSE)
		return BH_NVME_SC_SANITIZE_FAILED;
	if (subsys->pool && !(bh_blk_info(subsys->pool)->caps & BH_BLK_CAP_WRITE))
		return BH_NVME_SC_NS_WRITE_PROTECTED;
	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		const struct tn_space *space = subsys->space[nsid];

		if (space && !(bh_blk_info(space->blk)->caps & BH_BLK_CAP_WRITE))
			return BH_NVME_SC_NS_WRITE_PROTECTED;
		if (tn_resv_admin_denied(ctrl, nsid))
			return BH_NVME_SC_RESERVATION_CONFLICT;
	}
	return 0;
}

static struct tn_sanitize *sanitize_new(struct tn_admin_cmd *cmd)
{
	struct tn_sanitize *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->subsys = cmd->ctrl->subsys;
	s->control = s->subsys->control;
	s->cmd = cmd;
	s->ctrl = cmd->ctrl;
	s->cdw10 = cmd->sqe.cdw10;
	s->passes = 1;
	s->is_freeing = !(s->cdw10 & BH_NVME_SANITIZE_NO_DEALLOC);
	if (BH_NVME_GET(s->cdw10, SANITIZE_ACT) == BH_NVME_SANITIZE_OVERWRITE) {
		s->passes = (unsigned int)BH_NVME_GET(s->cdw10, SANITIZE_PASSES);
		s->passes = s->passes ? s->passes : MAX_PASSES;
		s->pattern = cmd->sqe.cdw11;
	}
	collect(s);
	s->subsys->sanitize = s;
	tn_ctl(cmd->ctrl)->pending_ns++;
	return s;
}

static void end_selftests(const struct bh_target_subsys *subsys)
{
	unsigned int id;

	for (id = 1; id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++) {
		if (subsys->ctrl[id])
			tn_selftest_end(subsys->ctrl[id], BH_NVME_SELF_TEST_ABORTED_SANITIZE);
	}
}

static void start(struct tn_admin_cmd *cmd)
{
	uint16_t sf = check(cmd->ctrl, cmd->sqe.cdw10);
	struct tn_sanitize *s;

	if (sf) {
		tn_admin_fail(cmd, sf, TN_AT_NOWHERE);
		return;
	}
	s = sanitize_new(cmd);
	if (!s) {
		tn_admin_complete(cmd, BH_NVME_SC_INTERNAL_ERROR);
		return;
	}
	end_selftests(s->subsys);
	set_refusal(s->subsys, BH_NVME_SC_SANITIZE_IN_PROGRESS);
	claim_all(s, begin);
}

/* All namespaces stand still for a moment: their lines are filled anew. */
static void exit_mode(struct tn_admin_cmd *cmd)
{
	const struct tn_sanitized *last = &cmd->ctrl->subsys->sanitized;
	struct tn_sanitize *s;

	if (!last->is_failure_mode) {
		tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
	} else if (!(last->cdw10 & BH_NVME_SANITIZE_AUSE)) {
		tn_admin_fail(cmd, BH_NVME_SC_SANITIZE_FAILED, TN_AT_CDW10);
	} else {
		s = sanitize_new(cmd);
		if (s)
			claim_all(s, exit_failure);
		else
			tn_admin_complete(cmd, BH_NVME_SC_INTERNAL_ERROR);
	}
}

void tn_cmd_sanitize(struct tn_admin_cmd *cmd)
{
	if (tn_sanitize_is_running(cmd->ctrl->subsys)) {
		tn_admin_complete(cmd, BH_NVME_SC_SANITIZE_IN_PROGRESS);
		return;
	}
	switch (BH_NVME_GET(cmd->sqe.cdw10, SANITIZE_ACT)) {
	case BH_NVME_SANITIZE_BLOCK_ERASE:
	case BH_NVME_SANITIZE_OVERWRITE:
		start(cmd);
		break;
	case BH_NVME_SANITIZE_EXIT_FAILURE:
		exit_mode(cmd);
		break;
	default:
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW10);
	}
}

/* ---- ends ---- */

void tn_sanitize_interrupted(struct bh_target_subsys *subsys)
{
	struct tn_sanitized *last = &subsys->sanitized;

	if (last->outcome == BH_NVME_SSTAT_IN_PROGRESS) {
		last->outcome = BH_NVME_SSTAT_FAILED;
		last->is_failure_mode = true;
		bh_log(subsys->log, BH_LOG_WARN, TN_LOG,
		       "%s: a sanitize operation was interrupted, and has failed", subsys->nqn);
	}
	restore_refusal(subsys);
}

void tn_sanitize_leave(struct bh_target_nvme *ctrl)
{
	if (ctrl->subsys->sanitize && ctrl->subsys->sanitize->ctrl == ctrl)
		ctrl->subsys->sanitize->ctrl = NULL;
}

/* There is no command: its controller would be there. */
void tn_sanitize_stop(struct bh_target_subsys *subsys)
{
	struct tn_sanitize *s = subsys->sanitize;

	if (!s)
		return;
	s->subsys = NULL;
	subsys->sanitize = NULL;
	if (!s->erase) /* being let go of: the last answer comes by over() */
		return;
	tn_erase_stop(s->erase);
	while (s->claimed)
		bh_blk_release(s->store[--s->claimed].blk, NULL, NULL);
	free_all(s);
}

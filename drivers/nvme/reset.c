/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bringing the controller up, controller resets, failure and loss.
 *
 * A reset never waits for a queue owner, who may be the very thread that resets. The controller
 * thread halts all queues, disables the controller, marks the queues DISABLED and brings the
 * controller up again. Each owner, in his own next poll, completes what was outstanding and
 * acknowledges; a queue that has been acknowledged is created anew, by the reset itself or by a
 * later bh_nvme_poll(). So every command completes exactly once, on its owner's thread, and not
 * before the controller was disabled; no doorbell of before is rung on a queue of after; and the
 * reset ends whether or not an owner polls. BH_NVME_EVENT_RESET_DONE comes when all are back.
 *
 * Loss is announced on a thread of the backend, which sets GONE in every queue and wakes sleepers.
 */
#include <errno.h>
#include <string.h>

#include "nvme/nvme.h"

void bh__nvme_halt_all(struct bh_nvme *nvme, uint32_t flags)
{
	struct bh_nvme_queue *q;

	pthread_mutex_lock(&nvme->lock);
	for (q = nvme->queues; q; q = q->next) {
		bh__queue_halt(q, flags);
		bh__queue_wake(q);
	}
	if (nvme->aq && (flags & BH__Q_GONE))
		bh__queue_halt(nvme->aq, flags);
	pthread_mutex_unlock(&nvme->lock);
}

static int identify_ctrl(struct bh_nvme *nvme)
{
	struct bh_nvme_cmd cmd = bh__identify_cmd(BH_NVME_CNS_CTRL, 0, 0, 0);
	uint32_t most = BH__TRANSFER_NO_MDTS, sgls;
	int rc;

	rc = bh__admin_must(nvme, &cmd, &nvme->id, sizeof(nvme->id), NULL, "Identify Controller");
	if (rc)
		return rc;
	if (nvme->id.mdts)
		most = nvme->id.mdts > 10 || (uint64_t)nvme->page_size << nvme->id.mdts >
						     BH__TRANSFER_MOST
			       ? BH__TRANSFER_MOST
			       : nvme->page_size << nvme->id.mdts;
	/* The lists of queues that exist are as long as the first answer demanded. */
	if (!nvme->max_transfer || most < nvme->max_transfer)
		nvme->max_transfer = most;
	if (!nvme->list_bytes) {
		/* SGLs want room for as many pieces as a usual iovec has. */
		nvme->list_bytes = (uint32_t)bh__prp_list_bytes(most, nvme->page_size);
		if (nvme->list_bytes < 512)
			nvme->list_bytes = 512;
	}
	sgls = nvme->id.sgls & BH_NVME_SGLS_SUPPORT_MASK;
	nvme->sgl = !nvme->opts.no_sgl &&
		    (sgls == BH_NVME_SGLS_BYTE_ALIGNED || sgls == BH_NVME_SGLS_DWORD_ALIGNED);
	return 0;
}

/* What the controller grants, as far as there are doorbells. */
static int number_of_queues(struct bh_nvme *nvme)
{
	unsigned int want = nvme->opts.queues ? nvme->opts.queues : 64, nsq, ncq;
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_SET_FEATURES,
				   .cdw10 = BH_NVME_FEAT_NUMBER_OF_QUEUES,
				   .cdw11 = (want - 1) | (want - 1) << 16 };
	struct bh_nvme_cpl cpl;
	unsigned int pairs = bh__bells_pairs(nvme);
	int rc = bh__admin_must(nvme, &cmd, NULL, 0, &cpl, "Set Features (Number of Queues)");

	if (!rc && !pairs)
		rc = -ENODEV;
	if (rc)
		return rc;
	nsq = (unsigned int)BH_NVME_GET(cpl.cdw0, NUM_QUEUES_NSQ) + 1;
	ncq = (unsigned int)BH_NVME_GET(cpl.cdw0, NUM_QUEUES_NCQ) + 1;
	nsq = nsq < ncq ? nsq : ncq;
	nvme->max_queues = nsq < want ? nsq : want;
	if (nvme->max_queues >= pairs) {
		bh__log(nvme, BH_LOG_WARN, "BAR 0 has doorbells of %u queues only", pairs - 1);
		nvme->max_queues = pairs - 1;
	}
	return 0;
}

int bh__nvme_bring_up(struct bh_nvme *nvme)
{
	int rc = bh__admin_start(nvme);

	rc = rc ? rc : bh__cmb_enable(nvme);
	rc = rc ? rc : bh__ctrl_enable(nvme, nvme->aq->sq_iova, nvme->aq->cq_iova);
	rc = rc ? rc : identify_ctrl(nvme);
	rc = rc ? rc : bh__cmdset_config(nvme);
	rc = rc ? rc : number_of_queues(nvme);
	rc = rc ? rc : bh__bells_shadow_config(nvme);
	rc = rc ? rc : bh__ns_scan(nvme);
	rc = rc ? rc : bh__event_config(nvme);
	rc = rc ? rc : bh__alive_config(nvme);
	return rc;
}

void bh__nvme_fail(struct bh_nvme *nvme)
{
	nvme->state = BH__STATE_FAILED;
	nvme->recreate = false;
	/* What cannot be disabled is at least cut off from memory. */
	if (!bh_device_gone(nvme->dev))
		bh_device_bus_master(nvme->dev, false);
	bh__nvme_halt_all(nvme, BH__Q_GONE);
	bh__admin_poll(nvme);
	if (nvme->told_failed)
		return;
	nvme->told_failed = true;
	bh__log(nvme, BH_LOG_ERROR,
		bh_device_gone(nvme->dev) ? "the device is gone"
					  : "the controller failed for good");
	bh__event(nvme, BH_NVME_EVENT_FAILED, 0);
}

/* Creates the queues whose owners are done with what was. */
static unsigned int recreate(struct bh_nvme *nvme)
{
	struct bh_nvme_queue *q;
	unsigned int n = 0;
	bool all = true;

	if (!nvme->recreate)
		return 0;
	for (q = nvme->queues; q; q = q->next) {
		if (q->live || (bh__queue_slow(q) & BH__Q_GONE))
			continue;
		if (!bh__queue_acked(q)) {
			all = false;
			continue;
		}
		if (bh__ioq_start(nvme, q)) {
			bh__log(nvme, BH_LOG_ERROR, "queue %u did not come back", q->qid);
			bh__queue_halt(q, BH__Q_GONE);
		}
		bh__queue_wake(q);
		n++;
	}
	if (all) {
		nvme->recreate = false;
		bh__event(nvme, BH_NVME_EVENT_RESET_DONE, 0);
	}
	return n;
}

/* Off, with everything outstanding forgotten by the controller. */
static int disable(struct bh_nvme *nvme)
{
	struct bh_nvme_queue *q;
	int rc = bh__ctrl_disable(nvme);

	if (rc && rc != -ENODEV && (bh_device_caps(nvme->dev) & BH_CAP_RESET)) {
		bh__log(nvme, BH_LOG_WARN, "it cannot be disabled: resetting the function");
		rc = bh_device_reset(nvme->dev);
		rc = rc ? rc : bh__ctrl_bus_on(nvme);
		rc = rc ? rc : bh__ctrl_disable(nvme);
	}
	if (rc)
		return rc;
	bh__queue_halt(nvme->aq, BH__Q_HALT | BH__Q_DISABLED);
	for (q = nvme->queues; q; q = q->next)
		q->live = q->cq_live = false;
	bh__nvme_halt_all(nvme, BH__Q_HALT | BH__Q_DISABLED);
	bh__admin_poll(nvme);
	bh__ioq_dig_up(nvme);
	return 0;
}

static void say_broken(struct bh_nvme *nvme)
{
	struct bh_nvme_queue *q;

	if (bh__queue_slow(nvme->aq) & BH__Q_BROKEN)
		bh__log(nvme, BH_LOG_ERROR,
			"admin queue: completion of command %u, which is not out",
			nvme->aq->bad_cid);
	for (q = nvme->queues; q; q = q->next)
		if (bh__queue_slow(q) & BH__Q_BROKEN)
			bh__log(nvme, BH_LOG_ERROR,
				"queue %u: completion of command %u, which is not out", q->qid,
				q->bad_cid);
}

static int reset(struct bh_nvme *nvme)
{
	int rc;

	say_broken(nvme);
	__atomic_store_n(&nvme->want_reset, 0, __ATOMIC_RELEASE);
	nvme->state = BH__STATE_RESETTING;
	nvme->starting = true;
	bh__nvme_halt_all(nvme, BH__Q_HALT);
	rc = bh_device_check(nvme->dev) ? disable(nvme) : -ENODEV;
	if (!rc) {
		bh__event(nvme, BH_NVME_EVENT_RESET_BEGIN, 0);
		rc = bh__nvme_bring_up(nvme);
	}
	nvme->starting = false;
	/* A reset asked for meanwhile was asked for by what is no more. */
	__atomic_store_n(&nvme->want_reset, 0, __ATOMIC_RELEASE);
	if (rc) {
		bh__nvme_fail(nvme);
		return rc == -ENODEV || rc == -ETIMEDOUT ? rc : -EIO;
	}
	nvme->state = BH__STATE_RUNNING;
	nvme->recreate = true;
	recreate(nvme);
	return 0;
}

int bh_nvme_reset(struct bh_nvme *nvme)
{
	if (nvme->reaping || nvme->starting)
		return -EBUSY;
	if (nvme->state == BH__STATE_FAILED)
		return -ENODEV;
	if (bh_device_gone(nvme->dev)) {
		bh__nvme_fail(nvme);
		return -ENODEV;
	}
	return reset(nvme);
}

unsigned int bh__reset_work(struct bh_nvme *nvme)
{
	if (__atomic_load_n(&nvme->want_reset, __ATOMIC_ACQUIRE)) {
		bh__log(nvme, BH_LOG_WARN, "resetting the controller");
		reset(nvme);
		return 1;
	}
	return recreate(nvme);
}

/* GONE becomes an ordinary halt: the queues wait to be created. */
static void revive(struct bh_nvme *nvme)
{
	struct bh_nvme_queue *q = nvme->queues;

	for (; q; q = q->next) {
		__atomic_fetch_or(&q->slow, BH__Q_HALT | BH__Q_DISABLED, __ATOMIC_ACQ_REL);
		__atomic_fetch_and(&q->slow, ~BH__Q_GONE, __ATOMIC_ACQ_REL);
		q->live = q->cq_live = false;
	}
	__atomic_fetch_or(&nvme->aq->slow, BH__Q_HALT | BH__Q_DISABLED, __ATOMIC_ACQ_REL);
	__atomic_fetch_and(&nvme->aq->slow, ~BH__Q_GONE, __ATOMIC_ACQ_REL);
}

int bh_nvme_reopen(struct bh_nvme *nvme)
{
	struct bh_nvme_queue *q;
	int rc;

	if (nvme->reaping || nvme->starting)
		return -EBUSY;
	if (!bh_device_gone(nvme->dev))
		return -EBUSY;
	bh__nvme_fail(nvme);
	/* Owners may be in the middle of ringing what is about to be unmapped. */
	for (q = nvme->queues; q; q = q->next)
		if (!bh__queue_acked(q))
			return -EAGAIN;
	bh__bells_release(nvme);
	bh__cmb_release(nvme);
	rc = bh_device_reopen(nvme->dev);
	if (rc)
		return rc;
	nvme->starting = true;
	revive(nvme);
	if (bh_device_gone(nvme->dev))
		bh__nvme_halt_all(nvme, BH__Q_GONE);
	nvme->told_failed = false;
	nvme->state = BH__STATE_RESETTING;
	rc = bh__ctrl_bus_on(nvme);
	rc = rc ? rc : bh__ctrl_read_caps(nvme);
	rc = rc ? rc : bh__bells_setup(nvme);
	nvme->starting = false;
	if (rc) {
		bh__nvme_fail(nvme);
		return rc;
	}
	return reset(nvme);
}

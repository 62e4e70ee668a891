/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a queue asks of the controller thread: to abort a command, to reset the controller.
 *
 * A queue owner who finds a command too old sets its bit in the queue's abort_map and raises
 * `attention`; the controller thread sends Abort, as many at once as the controller takes (ACL),
 * and clears the bit when Abort has completed, whatever it said: the command itself completes, or
 * grows old once more and asks for a reset. Before anything of that, configuration space is asked
 * whether the device is still there: one that was pulled out answers nothing.
 */
#include <errno.h>
#include <stdlib.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"

static void ask_abort(struct bh_nvme_queue *q, uint16_t cid)
{
	struct bh_nvme *nvme = q->owner;

	__atomic_fetch_or(&q->abort_map[cid / 64], 1ull << (cid % 64), __ATOMIC_ACQ_REL);
	__atomic_store_n(&nvme->attention, 1, __ATOMIC_RELEASE);
}

static void ask_reset(struct bh_nvme_queue *q)
{
	struct bh_nvme *nvme = q->owner;

	__atomic_store_n(&nvme->want_reset, 1, __ATOMIC_RELEASE);
}

const struct bh__queue_ops bh__owned_queue_ops = { ask_abort, ask_reset };

struct abort_ctx {
	struct bh_nvme *nvme;
	uint16_t qid, cid;
};

static struct bh_nvme_queue *queue_by_id(struct bh_nvme *nvme, uint16_t qid)
{
	struct bh_nvme_queue *q = nvme->queues;

	if (!qid)
		return nvme->aq;
	while (q && q->qid != qid)
		q = q->next;
	return q;
}

static void abort_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct abort_ctx *ctx = arg;
	struct bh_nvme *nvme = ctx->nvme;
	struct bh_nvme_queue *q = queue_by_id(nvme, ctx->qid);
	uint64_t bit = 1ull << (ctx->cid % 64);

	(void)cpl;
	nvme->aborts_out--;
	/* The queue may be another one by now: it has sent nothing with this bit then. */
	if (q && ctx->cid < q->entries && (q->abort_sent[ctx->cid / 64] & bit)) {
		q->abort_sent[ctx->cid / 64] &= ~bit;
		__atomic_fetch_and(&q->abort_map[ctx->cid / 64], ~bit, __ATOMIC_ACQ_REL);
	}
	/* Others may have waited for this one. */
	__atomic_store_n(&nvme->attention, 1, __ATOMIC_RELEASE);
	free(ctx);
}

/* False: no further Abort can be sent now. */
static bool send_abort(struct bh_nvme *nvme, struct bh_nvme_queue *q, uint16_t cid)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_ABORT };
	struct abort_ctx *ctx;

	if (nvme->aborts_out > nvme->id.acl)
		return false;
	ctx = malloc(sizeof(*ctx));
	if (!ctx)
		return false;
	*ctx = (struct abort_ctx){ nvme, q->qid, cid };
	cmd.cdw10 = q->qid | (uint32_t)cid << BH_NVME_ABORT_CID_SHIFT;
	if (bh_nvme_io(nvme->aq, &cmd, NULL, 0, abort_done, ctx)) {
		free(ctx);
		return false;
	}
	bh_nvme_queue_flush(nvme->aq);
	nvme->aborts_out++;
	bh__log(nvme, BH_LOG_WARN, "queue %u: command %u timed out, Abort sent", q->qid, cid);
	return true;
}

static bool queue_aborts(struct bh_nvme *nvme, struct bh_nvme_queue *q, unsigned int *sent)
{
	unsigned int w, words = (q->entries + 63u) / 64;

	if (bh__queue_slow(q) & BH__Q_STOP)
		return true;
	for (w = 0; w < words; w++) {
		uint64_t want =
			__atomic_load_n(&q->abort_map[w], __ATOMIC_ACQUIRE) & ~q->abort_sent[w];

		while (want) {
			unsigned int bit = (unsigned int)__builtin_ctzll(want);

			if (!send_abort(nvme, q, (uint16_t)(w * 64 + bit)))
				return false;
			q->abort_sent[w] |= 1ull << bit;
			want &= want - 1;
			++*sent;
		}
	}
	return true;
}

unsigned int bh__timeout_work(struct bh_nvme *nvme)
{
	struct bh_nvme_queue *q;
	unsigned int sent = 0;

	if (!__atomic_exchange_n(&nvme->attention, 0, __ATOMIC_ACQ_REL))
		return 0;
	if (!bh_device_check(nvme->dev)) {
		bh__nvme_fail(nvme);
		return 1;
	}
	if (!queue_aborts(nvme, nvme->aq, &sent))
		goto later;
	for (q = nvme->queues; q; q = q->next)
		if (!queue_aborts(nvme, q, &sent))
			goto later;
	return sent;
later:
	__atomic_store_n(&nvme->attention, 1, __ATOMIC_RELEASE);
	return sent;
}

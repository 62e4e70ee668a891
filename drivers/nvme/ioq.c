/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O queues at the controller: create, start again after a reset, destroy.
 *
 * One allocation holds the submission queue, the completion queue and the lists of all commands.
 * It goes back to its pool when the controller has confirmed both deletions, or does not have the
 * queue any more (disabled, gone). Otherwise it is buried: kept until the controller is disabled.
 * A creation that was not answered may have happened: the queue counts as the controller's.
 *
 * Buffers of commands that are out are not ours to keep, so where a deletion is not confirmed the
 * controller is reset before they are completed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"

#define DEFAULT_DEPTH 127u

void bh_nvme_queue_opts_init(struct bh_nvme_queue_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
}

void bh__ioq_bury(struct bh_nvme *nvme, struct bh_pool *pool, void *mem)
{
	struct bh__grave *grave = malloc(sizeof(*grave));

	/* Without a grave the memory is lost to the pool, which is the lesser evil. */
	if (!grave)
		return;
	grave->pool = pool;
	grave->mem = mem;
	grave->next = nvme->graves;
	nvme->graves = grave;
}

void bh__ioq_dig_up(struct bh_nvme *nvme)
{
	while (nvme->graves) {
		struct bh__grave *grave = nvme->graves;

		nvme->graves = grave->next;
		bh_pool_free(grave->pool, grave->mem);
		free(grave);
	}
	bh__cmb_dig_up(nvme);
}

static int create_cq(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_CREATE_CQ };

	cmd.dptr.prp.prp1 = q->cq_iova;
	cmd.cdw10 = q->qid | (q->entries - 1u) << BH_NVME_QUEUE_QSIZE_SHIFT;
	cmd.cdw11 = BH_NVME_QUEUE_PC;
	if (q->efd >= 0)
		cmd.cdw11 |= BH_NVME_QUEUE_IEN | q->vector << BH_NVME_QUEUE_IV_SHIFT;
	return bh__admin_must(nvme, &cmd, NULL, 0, NULL, "Create I/O Completion Queue");
}

static int create_sq(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_CREATE_SQ };

	cmd.dptr.prp.prp1 = q->sq_iova;
	cmd.cdw10 = q->qid | (q->entries - 1u) << BH_NVME_QUEUE_QSIZE_SHIFT;
	cmd.cdw11 = BH_NVME_QUEUE_PC | (uint32_t)q->priority << BH_NVME_QUEUE_QPRIO_SHIFT |
		    (uint32_t)q->qid << BH_NVME_QUEUE_CQID_SHIFT;
	return bh__admin_must(nvme, &cmd, NULL, 0, NULL, "Create I/O Submission Queue");
}

static int delete (struct bh_nvme *nvme, uint8_t opc, uint16_t qid, const char *what)
{
	struct bh_nvme_cmd cmd = { .opc = opc, .cdw10 = qid };

	return bh__admin_must(nvme, &cmd, NULL, 0, NULL, what);
}

/* It did not answer, or posted nonsense: nothing is known of what it was asked since. */
static bool owes_reset(const struct bh_nvme *nvme)
{
	return __atomic_load_n(&nvme->want_reset, __ATOMIC_ACQUIRE);
}

/* The owner does not touch the queue now: it is new, or halted and acknowledged. */
int bh__ioq_start(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	int rc;

	if (q->qid > nvme->max_queues) {
		bh__log(nvme, BH_LOG_ERROR, "queue %u: the controller now gives only %u", q->qid,
			nvme->max_queues);
		return -EIO;
	}
	rc = bh__dma_place(nvme, q);
	if (rc)
		return rc;
	rc = bh__cmb_place(nvme, q);
	if (rc)
		return rc;
	q->sgl = nvme->sgl;
	q->sgl_mptr = nvme->id.sgls & BH_NVME_SGLS_MPTR_CONTIG;
	memset(q->mem, 0, q->list_at);
	memset(q->abort_sent, 0, (q->entries + 63u) / 64 * sizeof(*q->abort_sent));
	bh__bells_assign(nvme, q);
	rc = bh__irq_bind(nvme, q);
	if (rc)
		return rc;
	rc = create_cq(nvme, q);
	q->cq_live = !rc || owes_reset(nvme);
	if (rc)
		return rc;
	rc = create_sq(nvme, q);
	q->live = !rc || owes_reset(nvme);
	if (rc)
		return rc;
	return bh__queue_resume(q) ? 0 : -ENODEV;
}

/* True: the controller has no use of the queue's memory any more. */
static bool stop(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	bool done = true;

	if (bh_device_gone(nvme->dev))
		return true;
	/* One that stopped answering is not asked again, to wait as long for each queue. */
	if (nvme->state == BH__STATE_FAILED || owes_reset(nvme))
		return !q->live && !q->cq_live;
	if (q->live &&
	    delete (nvme, BH_NVME_ADMIN_DELETE_SQ, q->qid, "Delete I/O Submission Queue"))
		done = false;
	/* A completion queue cannot go before its submission queue. */
	if (done && q->cq_live &&
	    delete (nvme, BH_NVME_ADMIN_DELETE_CQ, q->qid, "Delete I/O Completion Queue"))
		done = false;
	q->live = q->cq_live = false;
	return done || bh_device_gone(nvme->dev);
}

static int ioq_memory(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	size_t cq;

	q->page_size = nvme->page_size;
	q->list_bytes = nvme->list_bytes;
	q->max_transfer = nvme->max_transfer;
	q->mem_bytes = bh__queue_layout(q->entries, q->depth, q->page_size, q->list_bytes, &cq,
					&q->list_at);
	q->mem = bh__dma_zalloc(nvme, q->mem_bytes, q->page_size, &q->pool);
	if (!q->mem) {
		bh__log(nvme, BH_LOG_ERROR,
			"no room for a queue of %u entries (%zu bytes) in the pools", q->entries,
			q->mem_bytes);
		return -ENOMEM;
	}
	q->sq = q->mem;
	q->cq = (uint8_t *)q->mem + cq;
	q->list = (uint8_t *)q->mem + q->list_at;
	q->iova_map = bh_device_iova_map(nvme->dev);
	return 0;
}

static void link_queue(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	pthread_mutex_lock(&nvme->lock);
	q->next = nvme->queues;
	nvme->queues = q;
	pthread_mutex_unlock(&nvme->lock);
	/* A loss before this was announced to a list without us. */
	if (bh_device_gone(nvme->dev))
		bh__queue_halt(q, BH__Q_GONE);
}

static void unlink_queue(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	struct bh_nvme_queue **at;

	pthread_mutex_lock(&nvme->lock);
	for (at = &nvme->queues; *at; at = &(*at)->next) {
		if (*at == q) {
			*at = q->next;
			break;
		}
	}
	pthread_mutex_unlock(&nvme->lock);
}

static void dispose(struct bh_nvme *nvme, struct bh_nvme_queue *q, bool safe)
{
	bh__irq_close(nvme, q);
	bh__cmb_put(nvme, q, safe);
	if (safe)
		bh_pool_free(q->pool, q->mem);
	else
		bh__ioq_bury(nvme, q->pool, q->mem);
	nvme->qid_used[q->qid] = 0;
	bh__queue_free(q);
}

/*
 * A quarter more than can be in flight (queue_io.c says why), if the controller has them; with
 * shadow doorbells twice as many and some (doorbell.c), so that it is never rung for nothing.
 */
static unsigned int ring_entries(const struct bh_nvme *nvme, unsigned int depth)
{
	unsigned int want = depth + depth / 4, most = nvme->max_depth;

	want = nvme->shadow_on ? 2 * want + 3 : want + 1;
	most = most > UINT16_MAX ? UINT16_MAX : most;
	return want < most ? want : most;
}

static uint16_t free_qid(const struct bh_nvme *nvme)
{
	unsigned int qid;

	for (qid = 1; qid <= nvme->max_queues; qid++)
		if (!nvme->qid_used[qid])
			return (uint16_t)qid;
	return 0;
}

static int queue_opts_read(const struct bh_nvme *nvme, const struct bh_nvme_queue_opts *opts,
			   struct bh_nvme_queue_opts *o)
{
	bh_nvme_queue_opts_init(o);
	if (opts && (opts->size < offsetof(struct bh_nvme_queue_opts, interrupt) ||
		     opts->size > sizeof(*o)))
		return -EINVAL;
	if (opts)
		memcpy(o, opts, opts->size);
	if (!o->depth)
		o->depth = DEFAULT_DEPTH < nvme->max_depth ? DEFAULT_DEPTH : nvme->max_depth - 1;
	if (o->cmb == BH_NVME_CMB_DEFAULT)
		o->cmb = nvme->opts.cmb;
	if (o->depth > nvme->max_depth - 1 || o->depth > UINT16_MAX - 1 || o->priority > 3 ||
	    (unsigned int)o->cmb > BH_NVME_CMB_REQUIRE)
		return -EINVAL;
	return 0;
}

int bh_nvme_queue_create(struct bh_nvme *nvme, const struct bh_nvme_queue_opts *opts,
			 struct bh_nvme_queue **out)
{
	struct bh_nvme_queue_opts o;
	struct bh_nvme_queue *q;
	uint16_t qid;
	int rc;

	*out = NULL;
	rc = queue_opts_read(nvme, opts, &o);
	if (rc)
		return rc;
	if (nvme->state == BH__STATE_FAILED || bh_device_gone(nvme->dev))
		return -ENODEV;
	if (nvme->starting || nvme->reaping)
		return -EBUSY;
	qid = free_qid(nvme);
	if (!qid)
		return -ENOSPC;
	rc = bh__queue_new(ring_entries(nvme, o.depth), o.depth, &q);
	if (rc)
		return rc;
	q->qid = qid;
	q->priority = (uint8_t)o.priority;
	q->cmb = (uint8_t)o.cmb;
	q->dev = nvme->dev;
	q->ops = &bh__owned_queue_ops;
	q->owner = nvme;
	rc = ioq_memory(nvme, q);
	if (rc) {
		bh__queue_free(q);
		return rc;
	}
	nvme->qid_used[qid] = 1;
	bh__queue_set_timeout(q, &nvme->clock, nvme->opts.io_timeout_ns);
	rc = o.interrupt ? bh__irq_open(nvme, q) : 0;
	link_queue(nvme, q);
	rc = rc ? rc : bh__ioq_start(nvme, q);
	if (rc) {
		unlink_queue(nvme, q);
		dispose(nvme, q, stop(nvme, q));
		return rc == -ETIMEDOUT ? -EIO : rc;
	}
	*out = q;
	return 0;
}

void bh_nvme_queue_destroy(struct bh_nvme_queue *q)
{
	struct bh_nvme *nvme;
	uint32_t slow;
	bool safe, more;

	if (!q)
		return;
	nvme = q->owner;
	slow = bh__queue_slow(q);
	safe = stop(nvme, q);
	if (!safe && bh__queue_busy(q) && nvme->state == BH__STATE_RUNNING)
		safe = !bh_nvme_reset(nvme);
	unlink_queue(nvme, q);
	/* What was completed before the deletion, and by it; then what was not. */
	bh__queue_halt(q, BH__Q_GONE);
	if (!(slow & BH__Q_BROKEN))
		bh__queue_take(q, NULL, UINT32_MAX, &more);
	bh__queue_drain(q,
			slow & BH__Q_GONE ? BH_NVME_SC_INTERNAL_PATH_ERROR
					  : BH_NVME_SC_ABORTED_SQ_DELETION,
			NULL, UINT32_MAX);
	dispose(nvme, q, safe);
}

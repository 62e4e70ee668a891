/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues whose owner may sleep.
 *
 * A queue with an interrupt has an eventfd bound to the MSI-X vector of its qid. Where the device
 * can mask vectors, the vector stays masked while the owner polls, so that the device has nothing
 * to signal; arming unmasks it, waits until the device has done so, and then looks at the ring:
 * a completion posted before the unmask is seen there, one posted after it is signalled. Where it
 * cannot, arming drains the eventfd and then looks: an entry posted before the look is seen, one
 * posted after it signals again.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "nvme/nvme.h"
#include "nvme/queue_io.h"

int bh__irq_open(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	struct bh_irq_info info;

	if (!(bh_device_caps(nvme->dev) & BH_CAP_IRQ_EVENTFD) ||
	    bh_device_irq_info(nvme->dev, BH__IRQ_MSIX, &info) || q->qid >= info.count) {
		bh__log(nvme, BH_LOG_ERROR, "queue %u: the device has no interrupt vector for it",
			q->qid);
		return -EOPNOTSUPP;
	}
	q->vector = q->qid;
	q->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return q->efd < 0 ? -errno : 0;
}

int bh__irq_bind(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	struct bh_irq_info info;
	int rc;

	if (q->efd < 0)
		return 0;
	rc = bh_device_irq_bind(nvme->dev, BH__IRQ_MSIX, q->vector, 1, &q->efd);
	if (rc) {
		bh__log(nvme, BH_LOG_ERROR, "queue %u: binding vector %u failed: error %d", q->qid,
			q->vector, -rc);
		return rc;
	}
	q->maskable = (bh_device_caps(nvme->dev) & BH_CAP_IRQ_MASK) &&
		      !bh_device_irq_info(nvme->dev, BH__IRQ_MSIX, &info) &&
		      (info.flags & BH_IRQ_MASKABLE);
	if (q->maskable && bh_device_irq_mask(nvme->dev, BH__IRQ_MSIX, q->vector, true))
		q->maskable = false;
	return 0;
}

void bh__irq_close(struct bh_nvme *nvme, struct bh_nvme_queue *q)
{
	const int none = -1;

	if (q->efd < 0)
		return;
	if (!bh_device_gone(nvme->dev))
		bh_device_irq_bind(nvme->dev, BH__IRQ_MSIX, q->vector, 1, &none);
	close(q->efd);
	q->efd = -1;
}

static void drain_fd(struct bh_nvme_queue *q)
{
	uint64_t count;

	/* Nothing to read is as good as something read. */
	if (read(q->efd, &count, sizeof(count)) < 0)
		return;
}

void bh__queue_disarm(struct bh_nvme_queue *q)
{
	__atomic_fetch_and(&q->slow, ~BH__Q_ARMED, __ATOMIC_ACQ_REL);
	if (q->maskable)
		bh_device_irq_mask(q->dev, BH__IRQ_MSIX, q->vector, false);
	drain_fd(q);
}

static bool has_entry(const struct bh_nvme_queue *q)
{
	uint32_t dw3 = bh_load_acquire_u32(q->cq + (size_t)q->cq_head * 16 + 12);

	return ((dw3 >> 16) & 1) == q->phase;
}

int bh_nvme_queue_fd(const struct bh_nvme_queue *q)
{
	return q->efd < 0 ? -EOPNOTSUPP : q->efd;
}

int bh_nvme_queue_arm(struct bh_nvme_queue *q)
{
	uint32_t slow = bh__queue_slow(q);
	int rc;

	if (q->efd < 0)
		return -EOPNOTSUPP;
	if (slow & BH__Q_STOP) {
		/* Something to complete; once all is completed, resume or loss wakes by the fd. */
		if ((slow & BH__Q_BROKEN) && !(slow & (BH__Q_DISABLED | BH__Q_GONE)))
			return 0;
		if (q->ack != slow >> BH__Q_GEN_SHIFT)
			return -EAGAIN;
		if (slow & BH__Q_GONE)
			return -ENODEV;
		drain_fd(q);
		return bh__queue_slow(q) == slow ? 0 : -EAGAIN;
	}
	if (q->sq_tail != q->sq_rung)
		bh__ring_sq(q);
	/* Given back all: a controller signals by whether there are entries we have not taken. */
	if (q->cq_unrung)
		bh__ring_cq(q);
	/* The owner will not poll before the controller has done something. */
	if (q->is_open)
		bh__queue_settle(q);
	if (!(slow & BH__Q_ARMED)) {
		drain_fd(q);
		rc = q->maskable ? bh_device_irq_unmask(q->dev, BH__IRQ_MSIX, q->vector, true) : 0;
		if (rc)
			return rc;
		__atomic_fetch_or(&q->slow, BH__Q_ARMED, __ATOMIC_ACQ_REL);
	}
	/* The stop flag may have been set, and its wake-up drained, since we looked. */
	if (has_entry(q) || (bh__queue_slow(q) & BH__Q_STOP)) {
		bh__queue_disarm(q);
		return -EAGAIN;
	}
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts: eventfds behind the vectors of INTx, MSI and MSI-X.
 *
 * Kernels before 6.5 fix the number of MSI-X vectors when the first is enabled (NORESIZE). There a
 * vector beyond it means disabling the type and enabling it again with more, during which an
 * interrupt may get lost: every eventfd that was bound is signalled afterwards, since a needless
 * look costs nothing. So that this is rare, the first bind asks for all vectors of the type, and
 * for no more than it needs if the kernel cannot give that many.
 *
 * The removal request and the error interrupt are the backend's own (watch.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "io_vfio/dev.h"

static bool is_own(unsigned int irq)
{
	return irq == VFIO_PCI_ERR_IRQ_INDEX || irq == VFIO_PCI_REQ_IRQ_INDEX;
}

static int learn_irq(struct io_vfio *v, unsigned int index)
{
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };
	struct io_vfio_irq *irq = &v->irq[index];

	if (ioctl(v->fd, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0)
		return errno == EINVAL ? 0 : -errno;
	if (info.count > IO_VFIO_MAX_VECTORS)
		return -EPROTO;
	irq->info.count = info.count;
	irq->no_resize = info.flags & VFIO_IRQ_INFO_NORESIZE;
	if (info.flags & VFIO_IRQ_INFO_EVENTFD)
		irq->info.flags |= BH_IRQ_EVENTFD;
	if (info.flags & VFIO_IRQ_INFO_MASKABLE)
		irq->info.flags |= BH_IRQ_MASKABLE;
	if (info.flags & VFIO_IRQ_INFO_AUTOMASKED)
		irq->info.flags |= BH_IRQ_AUTOMASKED;
	irq->fds = malloc((info.count ? info.count : 1) * sizeof(*irq->fds));
	if (!irq->fds)
		return -ENOMEM;
	for (unsigned int i = 0; i < info.count; i++)
		irq->fds[i] = -1;
	return 0;
}

int io_vfio_irqs_learn(struct io_vfio *v)
{
	int rc = 0;

	for (unsigned int i = 0; i < v->num_irqs && rc == 0; i++)
		rc = learn_irq(v, i);
	return rc == 0 ? 0 : io_vfio_fail(v, rc, "asking for its interrupts: %s", strerror(-rc));
}

void io_vfio_irqs_forget(struct io_vfio *v)
{
	for (unsigned int i = 0; i < v->num_irqs; i++)
		free(v->irq[i].fds);
	memset(v->irq, 0, sizeof(v->irq));
	v->num_irqs = 0;
}

int io_vfio_irq_info(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info)
{
	struct io_vfio *v = to_io_vfio(dev);

	memset(info, 0, sizeof(*info));
	if (irq >= v->num_irqs)
		return -EINVAL;
	*info = v->irq[irq].info;
	if (is_own(irq))
		info->flags &= ~BH_IRQ_EVENTFD;
	return 0;
}

/* fds NULL: no data. > 0: the kernel has only that many vectors to give. */
static int set_irqs(struct io_vfio *v, unsigned int irq, uint32_t action, unsigned int start,
		    unsigned int count, const int *fds)
{
	size_t bytes = fds ? count * sizeof(*fds) : 0;
	struct vfio_irq_set *set = malloc(sizeof(*set) + bytes);
	int rc;

	if (!set)
		return -ENOMEM;
	set->argsz = (uint32_t)(sizeof(*set) + bytes);
	set->flags = action | (fds ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE);
	set->index = irq;
	set->start = start;
	set->count = count;
	if (fds)
		memcpy(set->data, fds, bytes);
	rc = ioctl(v->fd, VFIO_DEVICE_SET_IRQS, set);
	if (rc < 0)
		rc = -errno;
	free(set);
	return rc;
}

static int disable(struct io_vfio *v, unsigned int irq)
{
	int rc = 0;

	if (v->irq[irq].enabled > 0)
		rc = set_irqs(v, irq, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, NULL);
	if (rc == 0)
		v->irq[irq].enabled = 0;
	return rc;
}

/* Enables vectors [0, count) of a type that is off, with what is bound. */
static int enable(struct io_vfio *v, unsigned int irq, unsigned int count)
{
	int rc = set_irqs(v, irq, VFIO_IRQ_SET_ACTION_TRIGGER, 0, count, v->irq[irq].fds);

	if (rc > 0)
		return -ENOSPC;
	if (rc == 0)
		v->irq[irq].enabled = count;
	return rc;
}

/* A type that cannot grow is made anew with more vectors. */
static int grow(struct io_vfio *v, unsigned int irq, unsigned int need)
{
	struct io_vfio_irq *i = &v->irq[irq];
	unsigned int before = i->enabled;
	int rc = disable(v, irq);

	if (rc == 0) {
		rc = enable(v, irq, i->info.count);
		if (rc != 0 && need < i->info.count)
			rc = enable(v, irq, need);
		if (rc != 0 && before > 0)
			(void)enable(v, irq, before);
	}
	for (unsigned int n = 0; n < before; n++)
		if (i->fds[n] >= 0)
			(void)eventfd_write(i->fds[n], 1);
	return rc;
}

static bool any_bound(const struct io_vfio_irq *i)
{
	for (unsigned int n = 0; n < i->info.count; n++)
		if (i->fds[n] >= 0)
			return true;
	return false;
}

/* The kernel's part of a bind whose eventfds are in i->fds already. */
static int apply(struct io_vfio *v, unsigned int irq, unsigned int start, unsigned int count)
{
	struct io_vfio_irq *i = &v->irq[irq];
	int rc;

	/* The last one unbound: the type is off, so that another one can be used. */
	if (!any_bound(i))
		return disable(v, irq);
	if (i->no_resize && start + count > i->enabled)
		return grow(v, irq, start + count);
	rc = set_irqs(v, irq, VFIO_IRQ_SET_ACTION_TRIGGER, start, count, i->fds + start);
	if (rc > 0)
		return -ENOSPC;
	if (rc == 0 && start + count > i->enabled)
		i->enabled = start + count;
	return rc;
}

int io_vfio_irq_bind(struct bh_device *dev, unsigned int irq, unsigned int start,
		     unsigned int count, const int *eventfds)
{
	struct io_vfio *v = to_io_vfio(dev);
	struct io_vfio_irq *i = &v->irq[irq];
	int *before = malloc(count * sizeof(*before));
	int rc;

	if (!before)
		return -ENOMEM;
	pthread_mutex_lock(&v->irq_lock);
	memcpy(before, i->fds + start, count * sizeof(*before));
	memcpy(i->fds + start, eventfds, count * sizeof(*before));
	rc = apply(v, irq, start, count);
	if (rc != 0)
		memcpy(i->fds + start, before, count * sizeof(*before));
	pthread_mutex_unlock(&v->irq_lock);
	free(before);
	return rc;
}

int io_vfio_irq_bind_own(struct io_vfio *v, unsigned int irq, int eventfd)
{
	if (irq >= v->num_irqs || v->irq[irq].info.count == 0)
		return -EOPNOTSUPP;
	return set_irqs(v, irq, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 1, &eventfd);
}

int io_vfio_irq_disable(struct bh_device *dev, unsigned int irq)
{
	struct io_vfio *v = to_io_vfio(dev);
	int rc;

	pthread_mutex_lock(&v->irq_lock);
	for (unsigned int n = 0; n < v->irq[irq].info.count; n++)
		v->irq[irq].fds[n] = -1;
	rc = disable(v, irq);
	pthread_mutex_unlock(&v->irq_lock);
	return rc;
}

int io_vfio_irq_mask(struct bh_device *dev, unsigned int irq, unsigned int vector, bool masked,
		     bool wait)
{
	(void)wait; /* the call returns when it is done */
	return set_irqs(to_io_vfio(dev), irq,
			masked ? VFIO_IRQ_SET_ACTION_MASK : VFIO_IRQ_SET_ACTION_UNMASK, vector, 1,
			NULL);
}

int io_vfio_irq_trigger(struct bh_device *dev, unsigned int irq, unsigned int vector)
{
	return set_irqs(to_io_vfio(dev), irq, VFIO_IRQ_SET_ACTION_TRIGGER, vector, 1, NULL);
}

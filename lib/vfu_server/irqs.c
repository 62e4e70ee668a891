/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts, the control thread's half: IRQ_INFO, SET_IRQS and what decides whether a vector is
 * open.
 *
 * A vector is masked by any of three parties that do not know each other: SET_IRQS MASK (a polling
 * driver of ours), the function mask in the MSI-X capability, and the mask bit in the MSI-X table.
 * The last counts only once it was written by a message: QEMU keeps the table to itself, so our
 * copy would show the reset value (masked) for ever. MSI-X needs no enable bit to work either: a
 * bound eventfd is the client's word that it wants interrupts, as in VFIO.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vfu_server/server.h"

#define DATA_FLAGS (VFU_IRQ_DATA_NONE | VFU_IRQ_DATA_BOOL | VFU_IRQ_DATA_EVENTFD)
#define ACTION_FLAGS (VFU_IRQ_ACTION_MASK | VFU_IRQ_ACTION_UNMASK | VFU_IRQ_ACTION_TRIGGER)

static void vector_update(struct bh_vfu_server *s, unsigned int i)
{
	struct vfus_vector *v = &s->irqs.msix[i];

	vfus_vector_open(v,
			 v->fd >= 0 && !v->masked && !v->table_masked && !s->irqs.function_masked);
}

static void enable_update(struct bh_vfu_server *s)
{
	bool enabled = s->irqs.control_enable || s->irqs.num_bound > 0;

	__atomic_store_n(&s->irqs.msix_enabled, enabled, __ATOMIC_RELEASE);
	vfus_intx_block(&s->irqs.intx, enabled || (s->config.command & VFUS_COMMAND_INTX_OFF));
}

void vfus_irqs_changed(struct bh_vfu_server *s)
{
	enable_update(s);
	if (s->ops->irqs_changed)
		s->ops->irqs_changed(s->ops_ctx);
}

int vfus_irqs_init(struct bh_vfu_server *s, unsigned int msix_vectors)
{
	unsigned int i;

	vfus_signaller_init(&s->irqs.signaller);
	s->irqs.intx.signaller = &s->irqs.signaller;
	s->irqs.intx.is_restated = s->ops->intx_acknowledged != NULL;
	if (msix_vectors == 0)
		return 0;
	s->irqs.msix = aligned_alloc(64, msix_vectors * sizeof(*s->irqs.msix));
	if (!s->irqs.msix)
		return -ENOMEM;
	memset(s->irqs.msix, 0, msix_vectors * sizeof(*s->irqs.msix));
	for (i = 0; i < msix_vectors; i++) {
		s->irqs.msix[i].fd = -1;
		s->irqs.msix[i].signaller = &s->irqs.signaller;
	}
	s->irqs.num_msix = msix_vectors;
	return 0;
}

static void msix_bind(struct bh_vfu_server *s, unsigned int i, int fd)
{
	struct vfus_vector *v = &s->irqs.msix[i];

	s->irqs.num_bound -= v->fd >= 0;
	s->irqs.num_bound += fd >= 0;
	vfus_vector_bind(v, fd);
	vector_update(s, i);
}

/* ---- eventfds by which the client masks and unmasks ---- */

static void mask_fd_free(struct vfus_mask_fd *m)
{
	bh_fd_source_remove(m->source);
	close(m->fd);
	free(m);
}

/* Drops those of [start, start + count) of one type; unmask: -1 means both kinds. */
static void mask_fds_drop(struct bh_vfu_server *s, uint32_t irq, uint32_t start, uint32_t count,
			  int unmask)
{
	struct vfus_mask_fd **link = &s->irqs.mask_fds, *m;

	while ((m = *link) != NULL) {
		if (m->irq == irq && m->vector >= start && m->vector - start < count &&
		    (unmask < 0 || m->unmask == (unmask != 0))) {
			*link = m->next;
			mask_fd_free(m);
		} else {
			link = &m->next;
		}
	}
}

static void set_mask(struct bh_vfu_server *s, uint32_t irq, unsigned int vector, bool masked)
{
	if (irq == BH_PCI_INTX) {
		vfus_intx_mask(&s->irqs.intx, masked);
		if (!masked && s->ops->intx_acknowledged)
			s->ops->intx_acknowledged(s->ops_ctx);
		return;
	}
	s->irqs.msix[vector].masked = masked;
	vector_update(s, vector);
}

/*
 * The client signalled. The fd is watched for edges and never read: reading an fd the client shares
 * could block, and its counter means nothing to us.
 */
static void on_mask_fd(void *ctx, uint32_t events)
{
	struct vfus_mask_fd *m = ctx;
	struct bh_vfu_server *s = m->server;

	if (!(events & EPOLLIN))
		return;
	vfus_enter(s);
	set_mask(s, m->irq, m->vector, !m->unmask);
	vfus_irqs_changed(s);
	vfus_leave(s);
}

/* Takes the fd. One that is no eventfd is -EINVAL. */
static int mask_fd_add(struct bh_vfu_server *s, uint32_t irq, unsigned int vector, bool unmask,
		       int fd)
{
	struct vfus_mask_fd *m = NULL;
	int rc = -EINVAL;

	if (vfus_is_eventfd(&s->irqs.signaller, fd)) {
		m = calloc(1, sizeof(*m));
		rc = m ? 0 : -ENOMEM;
	}
	if (rc == 0) {
		m->server = s;
		m->irq = irq;
		m->vector = vector;
		m->unmask = unmask;
		m->fd = fd;
		rc = bh_fd_source_add(s->control, fd, EPOLLIN | EPOLLET, on_mask_fd, m, &m->source);
	}
	if (rc != 0) {
		free(m);
		vfus_close(s, fd);
		return rc == -EPERM ? -EINVAL : rc;
	}
	mask_fds_drop(s, irq, vector, 1, unmask);
	m->next = s->irqs.mask_fds;
	s->irqs.mask_fds = m;
	return 0;
}

/* ---- changes from elsewhere ---- */

static void close_slot(int *slot, int fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

/* Everything of one type off: as a client that never bound anything. */
static void disable(struct bh_vfu_server *s, uint32_t irq)
{
	unsigned int i;

	mask_fds_drop(s, irq, 0, UINT32_MAX, -1);
	if (irq == BH_PCI_INTX)
		vfus_intx_bind(&s->irqs.intx, -1);
	else if (irq == BH_PCI_ERR)
		close_slot(&s->irqs.err_fd, -1);
	else if (irq == BH_PCI_REQ)
		close_slot(&s->irqs.req_fd, -1);
	for (i = 0; irq == BH_PCI_MSIX && i < s->irqs.num_msix; i++) {
		s->irqs.msix[i].masked = false;
		msix_bind(s, i, -1);
		vfus_vector_forget(&s->irqs.msix[i]);
	}
}

void vfus_irqs_drop(struct bh_vfu_server *s)
{
	uint32_t irq;

	for (irq = 0; irq < BH_PCI_IRQS; irq++)
		disable(s, irq);
	vfus_irqs_changed(s);
}

void vfus_irqs_reset(struct bh_vfu_server *s)
{
	unsigned int i;

	vfus_intx_clear(&s->irqs.intx);
	for (i = 0; i < s->irqs.num_msix; i++) {
		vfus_vector_forget(&s->irqs.msix[i]);
		s->irqs.msix[i].table_masked = false;
		vector_update(s, i);
	}
	vfus_irqs_changed(s);
}

void vfus_irqs_msix_control(struct bh_vfu_server *s, bool enable, bool function_mask)
{
	bool differs = s->irqs.function_masked != function_mask;
	unsigned int i;

	s->irqs.control_enable = enable;
	s->irqs.function_masked = function_mask;
	for (i = 0; differs && i < s->irqs.num_msix; i++)
		vector_update(s, i);
	vfus_irqs_changed(s);
}

bool vfus_irqs_table_mask(struct bh_vfu_server *s, unsigned int vector, bool masked)
{
	if (s->irqs.msix[vector].table_masked == masked)
		return false;
	s->irqs.msix[vector].table_masked = masked;
	vector_update(s, vector);
	return true;
}

void vfus_irqs_fini(struct bh_vfu_server *s)
{
	uint32_t irq;

	for (irq = 0; irq < BH_PCI_IRQS; irq++)
		disable(s, irq);
	vfus_signaller_fini(&s->irqs.signaller);
	free(s->irqs.msix);
	s->irqs.msix = NULL;
	s->irqs.num_msix = 0;
}

/* ---- messages ---- */

unsigned int vfus_irq_count(const struct bh_vfu_server *s, uint32_t index)
{
	switch (index) {
	case BH_PCI_INTX:
		return s->config.bytes[0x3d] != 0;
	case BH_PCI_MSIX:
		return s->irqs.num_msix;
	case BH_PCI_ERR:
	case BH_PCI_REQ:
		return 1;
	default:
		return 0;
	}
}

int vfus_handle_irq_info(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	static const uint32_t flags[BH_PCI_IRQS] = {
		[BH_PCI_INTX] =
			VFU_IRQ_FLAG_EVENTFD | VFU_IRQ_FLAG_MASKABLE | VFU_IRQ_FLAG_AUTOMASKED,
		[BH_PCI_MSI] = VFU_IRQ_FLAG_EVENTFD | VFU_IRQ_FLAG_NORESIZE,
		[BH_PCI_MSIX] = VFU_IRQ_FLAG_EVENTFD | VFU_IRQ_FLAG_MASKABLE,
		[BH_PCI_ERR] = VFU_IRQ_FLAG_EVENTFD | VFU_IRQ_FLAG_NORESIZE,
		[BH_PCI_REQ] = VFU_IRQ_FLAG_EVENTFD | VFU_IRQ_FLAG_NORESIZE,
	};
	struct vfu_irq_info info;

	if (msg->body_len < sizeof(info))
		return -EINVAL;
	memcpy(&info, msg->body, sizeof(info));
	if (info.argsz < sizeof(info) || info.index >= BH_PCI_IRQS)
		return -EINVAL;
	info.argsz = sizeof(info);
	info.flags = flags[info.index];
	info.count = vfus_irq_count(s, info.index);
	vfus_reply(s, &info, sizeof(info), NULL, 0, NULL, 0);
	return 0;
}

/* Everything about a request but the meaning of its flags together with its type. */
static int check_set(const struct bh_vfu_server *s, const struct vfu_msg *msg,
		     const struct vfu_irq_set *set)
{
	const uint32_t data = set->flags & DATA_FLAGS, action = set->flags & ACTION_FLAGS;
	const uint32_t count = vfus_irq_count(s, set->index);

	if (set->argsz < sizeof(*set) || set->index >= BH_PCI_IRQS)
		return -EINVAL;
	if ((set->flags & ~(DATA_FLAGS | ACTION_FLAGS)) || __builtin_popcount(data) != 1 ||
	    __builtin_popcount(action) != 1)
		return -EINVAL;
	if (set->start >= count || set->count > count - set->start)
		return -EINVAL;
	if (set->count == 0 &&
	    (data != VFU_IRQ_DATA_NONE || action != VFU_IRQ_ACTION_TRIGGER || set->start != 0))
		return -EINVAL;
	if (msg->nfds != 0 && (data != VFU_IRQ_DATA_EVENTFD || msg->nfds != set->count))
		return -EINVAL;
	if (data == VFU_IRQ_DATA_BOOL && msg->body_len != sizeof(*set) + set->count)
		return -EINVAL;
	if (action != VFU_IRQ_ACTION_TRIGGER &&
	    (set->index == BH_PCI_ERR || set->index == BH_PCI_REQ))
		return -EINVAL;
	return 0;
}

static void trigger(struct bh_vfu_server *s, uint32_t irq, unsigned int vector)
{
	if (irq == BH_PCI_INTX)
		vfus_intx_trigger(&s->irqs.intx);
	else if (irq == BH_PCI_MSIX)
		vfus_vector_raise(&s->irqs.msix[vector]);
	else
		vfus_signal(&s->irqs.signaller,
			    irq == BH_PCI_ERR ? s->irqs.err_fd : s->irqs.req_fd);
}

/* NONE and BOOL: performs the action on those vectors that are meant. */
static void act(struct bh_vfu_server *s, const struct vfu_irq_set *set, const uint8_t *which)
{
	uint32_t i;

	for (i = 0; i < set->count; i++) {
		if (which && !which[i])
			continue;
		if (set->flags & VFU_IRQ_ACTION_TRIGGER)
			trigger(s, set->index, set->start + i);
		else
			set_mask(s, set->index, set->start + i,
				 (set->flags & VFU_IRQ_ACTION_MASK) != 0);
	}
}

static void bind_trigger(struct bh_vfu_server *s, uint32_t irq, unsigned int vector, int fd)
{
	if (irq == BH_PCI_INTX)
		vfus_intx_bind(&s->irqs.intx, fd);
	else if (irq == BH_PCI_MSIX)
		msix_bind(s, vector, fd);
	else
		close_slot(irq == BH_PCI_ERR ? &s->irqs.err_fd : &s->irqs.req_fd, fd);
}

/* EVENTFD: binds one fd per vector, or unbinds when there are none. */
static int bind_fds(struct bh_vfu_server *s, const struct vfu_irq_set *set, struct vfu_msg *msg)
{
	const bool unmask = set->flags & VFU_IRQ_ACTION_UNMASK;
	uint32_t i;
	int rc, fd;

	if (!(set->flags & VFU_IRQ_ACTION_TRIGGER) && msg->nfds == 0) {
		mask_fds_drop(s, set->index, set->start, set->count, unmask);
		return 0;
	}
	for (i = 0; i < set->count; i++) {
		fd = -1;
		if (msg->nfds > 0) {
			if (!vfus_is_eventfd(&s->irqs.signaller, msg->fds[i]))
				return -EINVAL;
			fd = msg->fds[i];
			msg->fds[i] = -1;
		}
		if (set->flags & VFU_IRQ_ACTION_TRIGGER) {
			bind_trigger(s, set->index, set->start + i, fd);
			continue;
		}
		rc = mask_fd_add(s, set->index, set->start + i, unmask, fd);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int vfus_handle_set_irqs(struct bh_vfu_server *s, struct vfu_msg *msg)
{
	struct vfu_irq_set set;
	int rc;

	if (msg->body_len < sizeof(set))
		return -EINVAL;
	memcpy(&set, msg->body, sizeof(set));
	rc = check_set(s, msg, &set);
	if (rc != 0)
		return rc;
	if (set.count == 0)
		disable(s, set.index);
	else if (set.flags & VFU_IRQ_DATA_EVENTFD)
		rc = bind_fds(s, &set, msg);
	else
		act(s, &set, set.flags & VFU_IRQ_DATA_BOOL ? msg->body + sizeof(set) : NULL);
	vfus_irqs_changed(s);
	if (rc == 0)
		vfus_reply(s, NULL, 0, NULL, 0, NULL, 0);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gate: changes to what DMA may touch are made only while the device stands still.
 *
 * One question to the device is open at a time, and every question is answered exactly once,
 * however late: an answer that came after its deadline must not be taken for the answer to a later
 * question, or memory would go while the device still uses it. So:
 *
 *	IDLE  --begin-->  ASKED  --quiesced-->  apply, resume, finish  -->  IDLE
 *			    `--deadline-->  fatal, finish(-ETIMEDOUT)  -->  LATE
 *	LATE  --begin-->  LATE, with a waiter of its own deadline
 *	LATE  --quiesced-->  unmap after all, resume  -->  IDLE, or ASKED for the waiter
 *
 * An unmap that fails by its deadline takes the memory away all the same, before the client is told:
 * clients (QEMU) go on as if it had not failed, and neither a thread that was stopped with a pointer
 * in its hand may write to what is somebody else's by now, nor may the device meet the old memory
 * when other is put at these addresses. So the region is zeros of ours from then on, which fails
 * whatever touches it, and leaves the table when the device does stand still.
 *
 * A disconnect has no one to fail to: past its deadline it goes on waiting, because memory that a
 * device may still touch cannot be unmapped.
 *
 * Some clients (QEMU) serve DMA messages only while they wait for no reply, so a device that must
 * finish such a transfer to quiesce could wait for a client that waits for us. After a short grace
 * outstanding DMA messages are given up; their late replies are ignored. A client that took a twin
 * socket serves it independently, and is waited for.
 */
#include <errno.h>

#include <bellhop/clock.h>

#include "vfu_server/server.h"

static void set_timer(struct bh_vfu_server *s)
{
	struct vfus_gate *gate = &s->gate;
	uint64_t now = bh_now_ns();
	uint64_t left = gate->deadline > now ? gate->deadline - now : 0;

	if (!gate->grace_over && left > VFUS_DMA_GRACE_NS)
		left = VFUS_DMA_GRACE_NS;
	bh_timer_set(gate->timer, left);
}

static void complete(struct bh_vfu_server *s)
{
	struct vfus_gate *gate = &s->gate;
	const struct vfus_wait asked = gate->asked;
	int rc = -ENODEV;

	bh_timer_cancel(gate->timer);
	/* A client that left in between does not get its change; leaving asks again for itself. */
	if (vfus_has_client(s) || asked.reason == BH_QUIESCE_DISCONNECT)
		rc = asked.apply(s);
	gate->state = VFUS_GATE_IDLE;
	s->dma.refusing = false;
	s->ops->resume(s->ops_ctx, asked.reason);
	asked.finish(s, rc);
}

static void ask(struct bh_vfu_server *s)
{
	struct vfus_gate *gate = &s->gate;

	gate->state = VFUS_GATE_ASKED;
	gate->asking = true;
	gate->answered = false;
	s->ops->quiesce(s->ops_ctx, gate->asked.reason, gate->asked.iova, gate->asked.len);
	gate->asking = false;
	if (gate->answered)
		complete(s);
}

void vfus_gate_begin(struct bh_vfu_server *s, const struct vfus_wait *wait)
{
	struct vfus_gate *gate = &s->gate;

	gate->deadline = bh_now_ns() + s->quiesce_ns;
	gate->grace_over = false;
	set_timer(s);
	if (gate->state == VFUS_GATE_LATE) {
		gate->wanted = *wait;
		gate->has_wanted = true;
		return;
	}
	gate->asked = *wait;
	ask(s);
}

int vfus_gate_command(struct bh_vfu_server *s, enum bh_quiesce_reason reason, uint64_t iova,
		      uint64_t len, int (*apply)(struct bh_vfu_server *s),
		      void (*finish)(struct bh_vfu_server *s, int rc))
{
	const struct vfus_wait wait = {
		.reason = reason,
		.iova = iova,
		.len = len,
		.apply = apply,
		.finish = finish,
	};

	vfus_gate_begin(s, &wait);
	return VFUS_PENDING;
}

/* bh_cmem's words for the range of an unmap. */
static bool is_of_all(const struct vfus_wait *unmap)
{
	return unmap->len == UINT64_MAX;
}

static void unmap_after_all(struct bh_vfu_server *s)
{
	struct vfus_gate *gate = &s->gate;
	bool is_all = gate->drops_all || is_of_all(&gate->asked);

	/* The client has been told already, and what it wants back may be gone. */
	if (gate->drops_all || gate->asked.reason == BH_QUIESCE_UNMAP)
		(void)bh_cmem_del(&s->cmem, is_all ? 0 : gate->asked.iova,
				  is_all ? 0 : gate->asked.len);
	gate->drops_all = false;
}

void bh_vfu_server_quiesced(struct bh_vfu_server *s)
{
	struct vfus_gate *gate = &s->gate;

	vfus_enter(s);
	if (gate->state == VFUS_GATE_ASKED && gate->asking) {
		gate->answered = true;
	} else if (gate->state == VFUS_GATE_ASKED) {
		complete(s);
	} else if (gate->state == VFUS_GATE_LATE) {
		gate->state = VFUS_GATE_IDLE;
		unmap_after_all(s);
		s->ops->resume(s->ops_ctx, gate->asked.reason);
		if (gate->has_wanted) {
			gate->has_wanted = false;
			gate->asked = gate->wanted;
			ask(s);
		}
	}
	vfus_leave(s);
}

/* The deadline passed: whoever waits is told, except a disconnect, which must go on waiting. */
static void expire(struct bh_vfu_server *s)
{
	struct vfus_gate *gate = &s->gate;
	const struct vfus_wait wait = gate->has_wanted ? gate->wanted : gate->asked;

	/* Much later than the deadline: it was the machine that stood still. */
	uint64_t waited = bh_now_ns() - (gate->deadline - s->quiesce_ns);

	bh_log(s->log, BH_LOG_ERROR, VFUS_LOG, "%s: the device did not quiesce within %u ms%s",
	       s->path, (unsigned int)(waited / 1000000),
	       wait.reason == BH_QUIESCE_DISCONNECT ? "; no other client until it does" : "");
	if (wait.reason == BH_QUIESCE_DISCONNECT) {
		s->ops->fatal(s->ops_ctx);
		return;
	}
	if (wait.reason == BH_QUIESCE_UNMAP)
		bh_cmem_revoke(&s->cmem, is_of_all(&wait) ? 0 : wait.iova,
			       is_of_all(&wait) ? 0 : wait.len);
	gate->drops_all |= gate->has_wanted && wait.reason == BH_QUIESCE_UNMAP;
	gate->has_wanted = false;
	gate->state = VFUS_GATE_LATE;
	s->dma.refusing = false;
	s->ops->fatal(s->ops_ctx); /* in which the device may become quiet: too late for this one */
	wait.finish(s, -ETIMEDOUT);
}

static void on_timer(void *ctx)
{
	struct bh_vfu_server *s = ctx;
	struct vfus_gate *gate = &s->gate;

	vfus_enter(s);
	if (gate->state == VFUS_GATE_ASKED || gate->has_wanted) {
		if (bh_now_ns() >= gate->deadline) {
			expire(s);
		} else if (!gate->grace_over) {
			gate->grace_over = true;
			set_timer(s);
			if (s->twin.fd < 0) {
				s->dma.refusing = true;
				vfus_dma_fail_all(s, -EIO); /* may end in bh_vfu_server_quiesced */
			}
		} else {
			set_timer(s);
		}
	}
	vfus_leave(s);
}

int vfus_gate_init(struct bh_vfu_server *s)
{
	return bh_timer_create(s->control, on_timer, s, &s->gate.timer);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A command's data between a private buffer and client memory in whatever mode.
 *
 * A loop of steps, each one bh_cmem_read or bh_cmem_write: first the lists, then the pieces. A step
 * is done before its call returns (mapped and file mode) or later on another thread (messages); of
 * the return and the completion the second goes on, so the stack does not grow and one thread at a
 * time has the transfer. Going on always happens on home's thread, and for poll threads within a
 * pass (`hold`), hence never while the table of client memory changes.
 */
#include <errno.h>
#include <stdlib.h>

#include "target/nvme/plane.h"

enum { TURN_SENT, TURN_RETURNED, TURN_DONE };

struct xfer_state {
	struct tn_pieces pieces;
	uint32_t piece; /* next to move */
	size_t moved;
	bool is_walking;
	uint32_t turn; /* __atomic */
	int error;
	struct tn_walk walk;
};

static void finish(struct tn_xfer *xfer, uint16_t status)
{
	struct xfer_state *state = xfer->state;

	if (state) {
		tn_pieces_free(&state->pieces);
		free(state);
		xfer->state = NULL;
	}
	xfer->done(xfer->arg, status);
}

static uint16_t status_of(int error)
{
	return error == -ENOMEM ? BH_NVME_SC_INTERNAL_ERROR : BH_NVME_SC_DATA_TRANSFER_ERROR;
}

/* The completion of a step: any thread. */
static void step_done(void *arg, int error)
{
	struct tn_xfer *xfer = arg;
	struct xfer_state *state = xfer->state;

	state->error = error;
	/* Release the error and what was read to whoever goes on. */
	if (__atomic_exchange_n(&state->turn, TURN_DONE, __ATOMIC_ACQ_REL) == TURN_RETURNED)
		bh_reactor_send(xfer->home, &xfer->msg);
}

static void step_send(struct tn_xfer *xfer, struct xfer_state *state)
{
	const struct tn_piece *piece;
	uint8_t *at = xfer->buf + state->moved;

	if (state->is_walking) {
		bh_cmem_read(xfer->cmem, state->walk.iova, state->walk.chunk, state->walk.len,
			     step_done, xfer);
		return;
	}
	piece = &state->pieces.v[state->piece];
	if (piece->is_bucket)
		step_done(xfer, 0);
	else if (xfer->to_client)
		bh_cmem_write(xfer->cmem, piece->iova, at, piece->len, step_done, xfer);
	else
		bh_cmem_read(xfer->cmem, piece->iova, at, piece->len, step_done, xfer);
}

/* After a step: 0 to go on, or TN_PENDING when all is moved, or a status field. */
static uint16_t step_take(struct xfer_state *state)
{
	uint16_t status;

	if (state->error)
		return status_of(state->error);
	if (!state->is_walking) {
		state->moved += state->pieces.v[state->piece++].len;
		return 0;
	}
	status = tn_walk_feed(&state->walk);
	if (status == TN_PENDING)
		return 0;
	state->is_walking = false;
	return status;
}

static void run(struct tn_xfer *xfer)
{
	struct xfer_state *state = xfer->state;
	uint16_t status;

	while (state->is_walking || state->piece < state->pieces.n) {
		__atomic_store_n(&state->turn, TURN_SENT, __ATOMIC_RELAXED);
		step_send(xfer, state);
		if (__atomic_exchange_n(&state->turn, TURN_RETURNED, __ATOMIC_ACQ_REL) != TURN_DONE)
			return;
		status = step_take(state);
		if (status) {
			finish(xfer, status);
			return;
		}
	}
	finish(xfer, 0);
}

static void resume(struct tn_xfer *xfer)
{
	uint16_t status =
		xfer->is_cancelled ? BH_NVME_SC_ABORTED_BY_REQUEST : step_take(xfer->state);

	if (status)
		finish(xfer, status);
	else
		run(xfer);
}

static void resume_msg(void *ctx)
{
	struct tn_xfer *xfer = ctx;

	if (!xfer->hold || xfer->is_cancelled) {
		resume(xfer);
		return;
	}
	xfer->next = NULL;
	*xfer->hold->last = xfer;
	xfer->hold->last = &xfer->next;
}

/* Takes the list first: what is resumed may come back on it. */
void tn_hold_run(struct tn_hold *hold)
{
	struct tn_xfer *xfer = hold->first, *next;

	hold->first = NULL;
	hold->last = &hold->first;
	for (; xfer; xfer = next) {
		next = xfer->next;
		resume(xfer);
	}
}

/* Those that are cancelled finish now; nothing of client memory is looked at. */
void tn_hold_cancel(struct tn_hold *hold)
{
	struct tn_xfer *xfer = hold->first, *next;

	hold->first = NULL;
	hold->last = &hold->first;
	for (; xfer; xfer = next) {
		next = xfer->next;
		if (xfer->is_cancelled)
			resume(xfer);
		else
			resume_msg(xfer);
	}
}

size_t tn_xfer_bytes(bool is_sgl, size_t len)
{
	/* SGL pieces may be of a byte, PRP entries are pages but for the ends. */
	size_t most = is_sgl ? TN_SGL_LIMIT : len / TN_PAGE_SIZE + 2;

	if (most > len)
		most = len;
	/* Its array grows by doubling: see walk.c. */
	return sizeof(struct xfer_state) + (2 * most + 8) * sizeof(struct tn_piece);
}

void tn_xfer_run(struct tn_xfer *xfer)
{
	struct xfer_state *state = calloc(1, sizeof(*state));
	uint16_t status;

	xfer->state = state;
	xfer->msg.fn = resume_msg;
	xfer->msg.ctx = xfer;
	if (!state) {
		finish(xfer, BH_NVME_SC_INTERNAL_ERROR);
		return;
	}
	status =
		tn_walk_begin(&state->walk, &xfer->cmd, xfer->len, xfer->to_client, &state->pieces);
	state->is_walking = status == TN_PENDING;
	if (status && status != TN_PENDING)
		finish(xfer, status);
	else
		run(xfer);
}

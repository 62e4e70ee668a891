/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations: what the control thread asks of poll threads.
 *
 * An operation travels to its thread as a message, runs there, and comes back as a message when
 * tn_op_reply is called, at once or later. Where no reactor runs yet, or none any more, the caller
 * is not on the control thread, and operations run and finish inside the call.
 */
#include <stdlib.h>

#include "target/nvme/plane.h"

static void op_run(void *ctx)
{
	struct tn_op *op = ctx;

	op->run(op);
}

static void op_finish(void *ctx)
{
	struct tn_op *op = ctx;

	op->finish(op);
}

struct tn_op *tn_op_new(struct tn_thread *thread, void (*run)(struct tn_op *),
			void (*finish)(struct tn_op *))
{
	struct tn_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->thread = thread;
	op->run = run;
	op->finish = finish;
	return op;
}

void tn_op_send(struct tn_op *op)
{
	struct tn_io *io = op->thread->io;

	if (!bh_reactor_is_self(io->ctrl->control)) {
		io->is_direct = true;
		op->run(op);
		io->is_direct = false;
		return;
	}
	op->msg.fn = op_run;
	op->msg.ctx = op;
	bh_reactor_send(op->thread->reactor, &op->msg);
}

void tn_op_reply(struct tn_op *op)
{
	struct tn_io *io = op->thread->io;

	if (io->is_direct || bh_reactor_is_self(io->ctrl->control)) {
		op->finish(op);
		return;
	}
	op->msg.fn = op_finish;
	op->msg.ctx = op;
	bh_reactor_send(io->ctrl->control, &op->msg);
}

static void fan_one(struct tn_op *op)
{
	struct tn_fan *fan = op->fan;

	if (op->status && !fan->status)
		fan->status = op->status;
	if (op->error && !fan->error)
		fan->error = op->error;
	if (--fan->left)
		return;
	fan->finish(fan);
}

struct tn_fan *tn_fan_new(struct tn_io *io, void (*run)(struct tn_op *),
			  void (*finish)(struct tn_fan *))
{
	struct tn_fan *fan = calloc(1, sizeof(*fan) + io->num_threads * sizeof(fan->op[0]));
	unsigned int i;

	if (!fan)
		return NULL;
	fan->io = io;
	fan->finish = finish;
	for (i = 0; i < io->num_threads; i++) {
		fan->op[i].thread = io->thread[i];
		fan->op[i].run = run;
		fan->op[i].finish = fan_one;
		fan->op[i].fan = fan;
	}
	return fan;
}

/* finish runs when all have replied; it may free the fan, and with it gone io. */
void tn_fan_send(struct tn_fan *fan)
{
	struct tn_io *io = fan->io;
	unsigned int i, n = io->num_threads;
	bool direct = !bh_reactor_is_self(io->ctrl->control);

	fan->left = n;
	fan->status = 0;
	fan->error = 0;
	for (i = 0; i < n; i++) {
		fan->op[i].status = 0;
		fan->op[i].error = 0;
	}
	if (!direct) {
		for (i = 0; i < n; i++)
			tn_op_send(&fan->op[i]);
		return;
	}
	/* One reply is held back, so that nothing ends inside an operation. */
	fan->left = n + 1;
	io->is_direct = true;
	for (i = 0; i < n; i++)
		fan->op[i].run(&fan->op[i]);
	io->is_direct = false;
	if (--fan->left == 0)
		fan->finish(fan);
}

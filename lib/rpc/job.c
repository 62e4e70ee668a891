/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Texts that are not answered at once: one of their calls waits for a store.
 *
 * A text, a request or a batch of them, is a job. Its requests are carried out in order; one that
 * goes on by itself (-EINPROGRESS, with a ticket) stops the job until the target says how it ended,
 * or until the deadline, when it is answered that it goes on. Meanwhile the thread serves other
 * connections, and reads nothing from this one, so that its answers are in the order of its texts.
 *
 * A job outlives its connection: what has been read of a caller is carried out, answered or not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/rpc.h"

/* A namespace goes when its store has finished; nobody waits longer to be told so. */
#define DEADLINE_NS 10000000000ull

static void job_free(struct rpc_job *job)
{
	if (job->ticket)
		TAILQ_REMOVE(&job->rpc->jobs, job, link);
	bh_timer_destroy(job->deadline);
	json_decref(job->replies);
	json_decref(job->root);
	free(job);
}

static json_t *current(const struct rpc_job *job)
{
	return json_is_array(job->root) ? json_array_get(job->root, job->next) : job->root;
}

/* Takes the reply, of which there may be none, to the current request. */
static void take(struct rpc_job *job, json_t *reply)
{
	if (reply)
		json_array_append_new(job->replies, reply);
	job->next++;
}

/* False: one of its requests goes on. */
static bool run(struct rpc_job *job)
{
	size_t count = json_is_array(job->root) ? json_array_size(job->root) : 1;

	while (job->next < count) {
		json_t *reply = rpc_request(job, current(job));

		if (job->ticket)
			return false;
		take(job, reply);
	}
	return true;
}

static char *line_of(const struct rpc_job *job)
{
	bool is_batch = json_is_array(job->root);

	if (json_array_size(job->replies) == 0)
		return NULL;
	return json_dumps(is_batch ? job->replies : json_array_get(job->replies, 0), JSON_COMPACT);
}

char *rpc_answer(struct bh_rpc *rpc, const char *text, size_t len, struct rpc_job **out)
{
	json_error_t error;
	struct rpc_job *job = calloc(1, sizeof(*job));
	char *line = NULL;

	*out = NULL;
	if (!job)
		return rpc_complaint(RPC_INTERNAL_ERROR, "out of memory");
	job->rpc = rpc;
	job->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	job->replies = json_array();
	if (!job->root) {
		line = rpc_complaint(RPC_PARSE_ERROR, error.text);
	} else if (json_is_array(job->root) && (json_array_size(job->root) == 0 ||
						json_array_size(job->root) > RPC_BATCH_MAX)) {
		line = rpc_complaint(RPC_INVALID_REQUEST, "a batch has 1 to 256 requests");
	} else if (run(job)) {
		line = line_of(job);
	} else {
		*out = job;
		return NULL;
	}
	job_free(job);
	return line;
}

/* ---- calls that go on ---- */

/* The call that went on is answered; the rest of its text is carried out. */
static void go_on(struct rpc_job *job, json_t *reply)
{
	TAILQ_REMOVE(&job->rpc->jobs, job, link);
	job->ticket = 0;
	bh_timer_cancel(job->deadline);
	take(job, reply);
	if (!run(job))
		return;
	if (job->conn)
		rpc_conn_answered(job->conn, line_of(job));
	job_free(job);
}

static void too_late(void *ctx)
{
	struct rpc_job *job = ctx;

	go_on(job, rpc_reply_late(job, current(job), ""));
}

bool rpc_job_wait(struct rpc_job *job, const struct rpc_call *call)
{
	if (!call->ticket || (!job->deadline && bh_timer_create(job->rpc->reactor, too_late, job,
								&job->deadline) != 0))
		return false;
	job->ticket = call->ticket;
	job->not_kept = call->not_kept;
	memcpy(job->message, call->message, sizeof(job->message));
	TAILQ_INSERT_TAIL(&job->rpc->jobs, job, link);
	if (!call->is_patient)
		bh_timer_set(job->deadline, DEADLINE_NS);
	return true;
}

static struct rpc_job *find(struct bh_rpc *rpc, uint64_t ticket)
{
	struct rpc_job *job;

	TAILQ_FOREACH(job, &rpc->jobs, link)
	{
		if (job->ticket == ticket)
			return job;
	}
	return NULL;
}

void rpc_jobs_look(struct bh_rpc *rpc)
{
	char why[BH_TGT_WHY];
	uint64_t ticket;
	int result;

	while (bh_tgt_finished(rpc->opts.tgt, &ticket, &result, why)) {
		struct rpc_job *job = find(rpc, ticket);

		if (job)
			go_on(job, rpc_reply_result(job, current(job), result, why));
	}
}

void rpc_jobs_end(struct bh_rpc *rpc)
{
	while (!TAILQ_EMPTY(&rpc->jobs)) {
		struct rpc_job *job = TAILQ_FIRST(&rpc->jobs);

		take(job, rpc_reply_late(job, current(job), "the target ends; "));
		if (job->conn)
			rpc_conn_answered(job->conn, line_of(job));
		job_free(job);
	}
}

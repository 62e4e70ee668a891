/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON-RPC 2.0: requests, batches, notifications, and what each mistake is answered with.
 *
 * Parameters are given by name. A method sees none that it does not know: those are refused before
 * it runs, so that a slip of the pen is not taken for a default. A method that fails has changed
 * nothing, but for two errors that say so: what it does goes on (EINPROGRESS), or is done and is not
 * in --state (RPC_NOT_KEPT). Undoing that instead would be a second change, which a host sees and
 * which may fail, too.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/rpc.h"

bool rpc_fail(struct rpc_call *call, int code, const char *key, int error, const char *fmt, ...)
{
	va_list args;

	call->code = code;
	call->key = key;
	call->error = error;
	va_start(args, fmt);
	vsnprintf(call->message, sizeof(call->message), fmt, args);
	va_end(args);
	return false;
}

/* What is wrong with a request is in its parameters; what is not, is in the state of things. */
bool rpc_fail_tgt(struct rpc_call *call, int error, const char *why)
{
	const char *key = bh_tgt_failed_key(call->tgt);
	int code = key ? RPC_INVALID_PARAMS : RPC_FAILED;

	if (error == -EINPROGRESS)
		call->ticket = bh_tgt_ticket(call->tgt);
	if (error == -EPERM && strstr(why, "--sandbox"))
		code = RPC_REFUSED;
	else if (error == -ENOMEM || error == -ENOSPC || error == -EBUSY)
		code = RPC_FAILED;
	return rpc_fail(call, code, key, error, "%s", why);
}

/* ---- replies ---- */

static json_t *reply_new(const json_t *id)
{
	json_t *reply = json_pack("{s:s}", "jsonrpc", "2.0");

	if (reply)
		json_object_set_new(reply, "id", id ? json_deep_copy(id) : json_null());
	return reply;
}

static json_t *error_new(const json_t *id, int code, const char *message, json_t *data)
{
	json_t *reply = reply_new(id), *error = json_pack("{s:i}", "code", code);
	json_t *text = json_string(message);

	/* A client's own words may come back in a message, cut anywhere. */
	json_object_set_new(error, "message", text ? text : json_string("a text that is no UTF-8"));
	if (data)
		json_object_set_new(error, "data", data);
	json_object_set_new(reply, "error", error);
	return reply;
}

static json_t *data_new(const struct rpc_call *call)
{
	json_t *data = json_object(), *key = call->key ? json_string(call->key) : NULL;

	if (key)
		json_object_set_new(data, "key", key);
	if (call->error)
		json_object_set_new(data, "errno", json_integer(-call->error));
	if (call->code == RPC_NOT_KEPT)
		json_object_set_new(data, "result",
				    call->result ? json_incref(call->result) : json_true());
	return data;
}

/* ---- requests ---- */

static bool is_id(const json_t *id)
{
	return !id || json_is_string(id) || json_is_number(id) || json_is_null(id);
}

/* The first key of params that the method does not know, or NULL. */
static const char *unknown_key(const struct rpc_method *method, json_t *params)
{
	const char *key;
	json_t *value;

	json_object_foreach(params, key, value)
	{
		char word[64];

		snprintf(word, sizeof(word), " %s ", key);
		if (strlen(key) > 32 || strchr(key, ' ') || key[0] == '\0' ||
		    !strstr(method->keys, word))
			return key;
	}
	return NULL;
}

static bool say_not_kept(struct rpc_call *call, int error)
{
	return rpc_fail(call, RPC_NOT_KEPT, NULL, error,
			"it is done, but config.json in --state still has what was before: %s",
			strerror(-error));
}

/* What it changes outlives the program, or it is not changed, unless writing it fails at last. */
static bool run_kept(const struct rpc_method *method, struct rpc_call *call)
{
	struct bh_rpc_state *state = call->rpc->opts.state;
	int fd = rpc_state_begin(state);

	if (fd < 0)
		return rpc_fail(call, fd == -EPERM ? RPC_REFUSED : RPC_FAILED, NULL, fd,
				"the configuration could not be kept in --state: %s%s",
				strerror(-fd), fd == -EPERM ? " (by --sandbox?)" : "");
	bool is_done = method->run(call);

	/* A namespace that is slow to go is gone from the configuration. */
	if (is_done || call->error == -EINPROGRESS)
		call->not_kept = rpc_state_commit(call->rpc, fd);
	else
		rpc_state_abort(state, fd);
	return is_done && (!call->not_kept || say_not_kept(call, call->not_kept));
}

static bool run(const struct rpc_method *method, struct rpc_call *call)
{
	const char *key = unknown_key(method, call->params);

	if (key)
		return rpc_fail(call, RPC_INVALID_PARAMS, key, 0, "%s knows no parameter '%.64s'",
				method->name, key);
	return method->is_change && call->rpc->opts.state ? run_kept(method, call)
							  : method->run(call);
}

/* Attaching what a host has deleted since. */
static bool is_of_the_past(const struct rpc_method *method, const struct rpc_call *call)
{
	return strcmp(method->name, "namespace.attach") == 0 && call->error == -ENOENT &&
	       call->key && strcmp(call->key, "nsid") == 0;
}

int rpc_repeat(struct bh_rpc *rpc, json_t *one, char why[BH_TGT_WHY])
{
	const char *name = json_string_value(json_object_get(one, "method"));
	const struct rpc_method *method = name ? rpc_method_find(name) : NULL;
	struct rpc_call call = { .rpc = rpc,
				 .tgt = rpc->opts.tgt,
				 .params = json_object_get(one, "params") };

	if (!method || !method->is_change || !json_is_object(call.params)) {
		snprintf(why, BH_TGT_WHY, "not one that changes the configuration");
		return -EINVAL;
	}
	bool is_done = run(method, &call) || is_of_the_past(method, &call);

	json_decref(call.result);
	if (is_done)
		return 0;
	snprintf(why, BH_TGT_WHY, "%s: %.200s", name, call.message);
	return call.error ? call.error : -EINVAL;
}

static json_t *reply_failure(const struct rpc_call *call, const json_t *id, const char *method)
{
	bh_log(call->rpc->opts.log, BH_LOG_INFO, RPC_LOG, "%s: %s", method, call->message);
	return error_new(id, call->code, call->message, data_new(call));
}

static json_t *reply_result(struct rpc_call *call, const json_t *id)
{
	json_t *reply = reply_new(id);

	json_object_set_new(reply, "result",
			    call->result ? json_incref(call->result) : json_true());
	return reply;
}

static json_t *run_method(struct rpc_job *job, const char *name, json_t *params, const json_t *id)
{
	const struct rpc_method *method = rpc_method_find(name);
	struct rpc_call call = { .rpc = job->rpc, .tgt = job->rpc->opts.tgt };
	json_t *reply = NULL;

	if (!method)
		return error_new(id, RPC_METHOD_NOT_FOUND, "there is no such method", NULL);
	if (params && !json_is_object(params))
		return error_new(id, RPC_INVALID_PARAMS, "parameters go by name, in an object",
				 json_pack("{s:s}", "key", "params"));
	call.params = params ? json_incref(params) : json_object();
	if (run(method, &call))
		reply = reply_result(&call, id);
	else if (!rpc_job_wait(job, &call))
		reply = reply_failure(&call, id, method->name);
	json_decref(call.result);
	json_decref(call.params);
	return reply;
}

/* Only what has an id is answered, whatever came of it. */
static json_t *if_asked(const json_t *text, json_t *reply)
{
	if (json_object_get(text, "id"))
		return reply;
	json_decref(reply);
	return NULL;
}

json_t *rpc_request(struct rpc_job *job, json_t *text)
{
	json_t *id = json_object_get(text, "id");
	const char *version = json_string_value(json_object_get(text, "jsonrpc"));
	const char *name = json_string_value(json_object_get(text, "method"));

	if (!json_is_object(text) || !is_id(id))
		return error_new(NULL, RPC_INVALID_REQUEST, "not a JSON-RPC request", NULL);
	if (!version || strcmp(version, "2.0") != 0 || !name)
		return error_new(id, RPC_INVALID_REQUEST,
				 "a request has \"jsonrpc\":\"2.0\" and a \"method\"", NULL);
	return if_asked(text, run_method(job, name, json_object_get(text, "params"), id));
}

/* ---- calls that went on ---- */

static struct rpc_call call_of(const struct rpc_job *job)
{
	return (struct rpc_call){ .rpc = job->rpc, .tgt = job->rpc->opts.tgt };
}

static json_t *reply_ended(struct rpc_call *call, const json_t *text, bool is_done)
{
	const char *method = json_string_value(json_object_get(text, "method"));
	const json_t *id = json_object_get(text, "id");
	json_t *reply = is_done ? reply_result(call, id) : reply_failure(call, id, method);

	json_decref(call->result);
	return if_asked(text, reply);
}

json_t *rpc_reply_result(const struct rpc_job *job, const json_t *text, int result, const char *why)
{
	struct rpc_call call = call_of(job);

	if (result < 0)
		rpc_fail_tgt(&call, result, why);
	else if (result > 0)
		call.result = json_pack("{s:i}", "nsid", result);
	if (result >= 0 && job->not_kept)
		say_not_kept(&call, job->not_kept);
	return reply_ended(&call, text, result >= 0 && !job->not_kept);
}

json_t *rpc_reply_late(const struct rpc_job *job, const json_t *text, const char *prefix)
{
	struct rpc_call call = call_of(job);

	rpc_fail(&call, RPC_FAILED, NULL, -EINPROGRESS, "%s%.300s", prefix, job->message);
	return reply_ended(&call, text, false);
}

/* ---- texts that are none ---- */

char *rpc_complaint(int code, const char *why)
{
	json_t *reply = error_new(NULL, code, why, NULL);
	char *text = json_dumps(reply, JSON_COMPACT);

	json_decref(reply);
	return text;
}

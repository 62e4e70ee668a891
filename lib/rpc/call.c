/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON-RPC 2.0: requests, batches, notifications, and what each mistake is answered with.
 *
 * Parameters are given by name. A method sees none that it does not know: those are refused before
 * it runs, so that a slip of the pen is not taken for a default. A method that fails has changed
 * nothing.
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

/* What it changes outlives the program, or it is not changed. */
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
		rpc_state_commit(call->rpc, fd);
	else
		rpc_state_abort(state, fd);
	return is_done;
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

static json_t *run_method(struct bh_rpc *rpc, const char *name, json_t *params, const json_t *id)
{
	const struct rpc_method *method = rpc_method_find(name);
	struct rpc_call call = { .rpc = rpc, .tgt = rpc->opts.tgt };
	json_t *reply;

	if (!method)
		return error_new(id, RPC_METHOD_NOT_FOUND, "there is no such method", NULL);
	if (params && !json_is_object(params))
		return error_new(id, RPC_INVALID_PARAMS, "parameters go by name, in an object",
				 json_pack("{s:s}", "key", "params"));
	call.params = params ? json_incref(params) : json_object();
	if (run(method, &call)) {
		reply = reply_new(id);
		json_object_set_new(reply, "result", call.result ? call.result : json_true());
	} else {
		json_decref(call.result);
		reply = error_new(id, call.code, call.message, data_new(&call));
		bh_log(rpc->opts.log, BH_LOG_INFO, RPC_LOG, "%s: %s", method->name, call.message);
	}
	json_decref(call.params);
	return reply;
}

/* The reply, or NULL: to a notification there is none, whatever came of it. */
static json_t *request(struct bh_rpc *rpc, json_t *text)
{
	json_t *id = json_object_get(text, "id"), *reply;
	const char *version = json_string_value(json_object_get(text, "jsonrpc"));
	const char *name = json_string_value(json_object_get(text, "method"));

	if (!json_is_object(text) || !is_id(id))
		return error_new(NULL, RPC_INVALID_REQUEST, "not a JSON-RPC request", NULL);
	if (!version || strcmp(version, "2.0") != 0 || !name)
		return error_new(id, RPC_INVALID_REQUEST,
				 "a request has \"jsonrpc\":\"2.0\" and a \"method\"", NULL);
	reply = run_method(rpc, name, json_object_get(text, "params"), id);
	if (id)
		return reply;
	json_decref(reply);
	return NULL;
}

static json_t *batch(struct bh_rpc *rpc, json_t *texts)
{
	json_t *replies, *text;
	size_t i;

	if (json_array_size(texts) == 0 || json_array_size(texts) > RPC_BATCH_MAX)
		return error_new(NULL, RPC_INVALID_REQUEST, "a batch has 1 to 256 requests", NULL);
	replies = json_array();
	json_array_foreach(texts, i, text)
	{
		json_t *reply = request(rpc, text);

		if (reply)
			json_array_append_new(replies, reply);
	}
	if (json_array_size(replies))
		return replies;
	json_decref(replies);
	return NULL;
}

static char *line(json_t *reply)
{
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;

	json_decref(reply);
	return text;
}

char *rpc_complaint(const char *why)
{
	return line(error_new(NULL, RPC_PARSE_ERROR, why, NULL));
}

char *rpc_answer(struct bh_rpc *rpc, const char *text, size_t len)
{
	json_error_t error;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error), *reply;

	if (!root)
		return rpc_complaint(error.text);
	reply = json_is_array(root) ? batch(rpc, root) : request(rpc, root);
	json_decref(root);
	return line(reply);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that create, change and delete. Keys and values are those of SPECs, and the SPEC's own
 * functions judge them, but for names, which SPECs have elsewhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/rpc.h"

/* ---- controllers ---- */

bool rpc_set_key(struct rpc_call *call, struct bh_tgt_spec *spec, const char *key,
		 const json_t *value)
{
	char word[RPC_TEXT_MAX + 1], why[BH_TGT_WHY];

	if (!rpc_word(call, key, value, word, sizeof(word)))
		return false;
	int error = bh_tgt_spec_set(spec, key, word, why);
	return error ? rpc_fail(call, RPC_INVALID_PARAMS, key, error, "%s", why) : true;
}

/* ns: a STORE or @NAME, or an array of them. */
static bool set_stores(struct rpc_call *call, struct bh_tgt_spec *spec, const json_t *value)
{
	const json_t *one;
	size_t i;

	if (json_is_string(value))
		return rpc_set_key(call, spec, "ns", value);
	if (!json_is_array(value))
		return rpc_fail(call, RPC_INVALID_PARAMS, "ns", 0,
				"ns: expected a STORE or @NAME, or an array of them");
	json_array_foreach(value, i, one)
	{
		if (!json_is_string(one))
			return rpc_fail(call, RPC_INVALID_PARAMS, "ns", 0, "ns: expected text");
		if (!rpc_set_key(call, spec, "ns", one))
			return false;
	}
	return true;
}

static bool fill_spec(struct rpc_call *call, struct bh_tgt_spec *spec)
{
	const char *type, *socket, *name, *key;
	json_t *value;

	if (!rpc_text(call, "type", true, &type) || !rpc_text(call, "socket", true, &socket) ||
	    !rpc_text(call, "name", false, &name))
		return false;
	if (strcmp(type, "nvme") != 0 && strcmp(type, "net") != 0)
		return rpc_fail(call, RPC_INVALID_PARAMS, "type", -EINVAL,
				"type: expected nvme or net");
	spec->kind = strcmp(type, "net") == 0 ? BH_TGT_SPEC_NET : BH_TGT_SPEC_NVME;
	spec->name = strdup(socket);
	spec->alias = name ? strdup(name) : NULL;
	if (!spec->name || (name && !spec->alias))
		return rpc_fail(call, RPC_FAILED, NULL, -ENOMEM, "out of memory");
	json_object_foreach(call->params, key, value)
	{
		if (strcmp(key, "type") == 0 || strcmp(key, "socket") == 0 ||
		    strcmp(key, "name") == 0)
			continue;
		if (strcmp(key, "ns") == 0 && spec->kind == BH_TGT_SPEC_NVME
			    ? !set_stores(call, spec, value)
			    : !rpc_set_key(call, spec, key, value))
			return false;
	}
	if (spec->kind == BH_TGT_SPEC_NET && !spec->port)
		return rpc_fail(call, RPC_INVALID_PARAMS, "port", 0, "port is missing");
	return true;
}

bool rpc_apply(struct rpc_call *call, rpc_fill_fn fill)
{
	struct bh_tgt_spec *spec = calloc(1, sizeof(*spec));
	char why[BH_TGT_WHY];
	bool is_done = false;

	if (!spec)
		return rpc_fail(call, RPC_FAILED, NULL, -ENOMEM, "out of memory");
	if (fill(call, spec)) {
		int error = bh_tgt_apply(call->tgt, spec, why);

		if (error)
			rpc_fail_tgt(call, error, why);
		else
			call->result =
				json_pack("{s:s}", "name", spec->alias ? spec->alias : spec->name);
		is_done = !error;
	}
	bh_tgt_spec_fini(spec);
	free(spec);
	return is_done;
}

bool rpc_controller_create(struct rpc_call *call)
{
	return rpc_apply(call, fill_spec);
}

bool rpc_controller_delete(struct rpc_call *call)
{
	const char *name;

	if (!rpc_text(call, "name", true, &name))
		return false;
	if (bh_tgt_controller_destroy(call->tgt, name) != 0)
		return rpc_fail(call, RPC_INVALID_PARAMS, "name", -ENOENT,
				"there is no controller '%.200s'", name);
	return true;
}

/* ---- stores ---- */

bool rpc_store_create(struct rpc_call *call)
{
	struct bh_tgt_store_spec spec;
	const char *name, *text;
	char why[BH_TGT_WHY];

	if (!rpc_text(call, "name", true, &name) || !rpc_text(call, "store", true, &text))
		return false;
	int error = bh_tgt_store_spec_parse(text, false, &spec, why);
	if (!error && spec.nsid) {
		rpc_fail(call, RPC_INVALID_PARAMS, "store", -EINVAL,
			 "nsid= belongs to namespace.attach");
		error = -EINVAL;
	} else if (error) {
		rpc_fail(call, RPC_INVALID_PARAMS, "store", error, "%s", why);
	} else if ((error = bh_tgt_store_create(call->tgt, name, &spec, why)) != 0) {
		rpc_fail_tgt(call, error, why);
	} else {
		call->result = json_pack("{s:s}", "name", name);
	}
	bh_tgt_store_spec_fini(&spec);
	return !error;
}

bool rpc_store_delete(struct rpc_call *call)
{
	const char *name;

	if (!rpc_text(call, "name", true, &name))
		return false;
	int error = bh_tgt_store_destroy(call->tgt, name);
	if (error == -EBUSY)
		return rpc_fail(call, RPC_FAILED, "name", error,
				"store '%.200s' is used by a controller", name);
	if (error)
		return rpc_fail(call, RPC_INVALID_PARAMS, "name", error,
				"there is no store '%.200s'", name);
	return true;
}

bool rpc_store_resize(struct rpc_call *call)
{
	char why[BH_TGT_WHY];
	const char *name;
	uint64_t bytes;

	if (!rpc_text(call, "name", true, &name) || !rpc_size(call, "size", &bytes))
		return false;
	int error = bh_tgt_store_resize(call->tgt, name, bytes, why);
	return error ? rpc_fail_tgt(call, error, why) : true;
}

/* ---- namespaces ---- */

static bool attach(struct rpc_call *call, const char *controller,
		   const struct bh_tgt_store_spec *spec)
{
	char why[BH_TGT_WHY];
	int nsid = bh_tgt_ns_attach(call->tgt, controller, spec, why);

	if (nsid < 0)
		return rpc_fail_tgt(call, nsid, why);
	call->result = json_pack("{s:i}", "nsid", nsid);
	return true;
}

bool rpc_store_word(struct rpc_call *call, const char *text, struct bh_tgt_store_spec *spec)
{
	char why[BH_TGT_WHY] = "out of memory";
	int error;

	memset(spec, 0, sizeof(*spec));
	if (text[0] != '@' && !strchr(text, ':')) {
		spec->arg = strdup(text);
		error = spec->arg ? 0 : -ENOMEM;
	} else {
		error = bh_tgt_store_spec_parse(text, true, spec, why);
	}
	return error ? rpc_fail(call, RPC_INVALID_PARAMS, "store", error, "%s", why) : true;
}

/*
 * store: a shared store's name, with or without @; or a STORE, which has a colon; or none, for a
 * namespace that the controller's subsystem has.
 */
bool rpc_namespace_attach(struct rpc_call *call)
{
	struct bh_tgt_store_spec spec = { 0 };
	const char *controller, *text;
	uint64_t nsid = 0;
	bool is_done = true;

	if (!rpc_text(call, "controller", true, &controller) ||
	    !rpc_text(call, "store", !json_object_get(call->params, "nsid"), &text) ||
	    (json_object_get(call->params, "nsid") &&
	     !rpc_number(call, "nsid", 1, BH_TARGET_NVME_MAX_NS, &nsid)))
		return false;
	if (text)
		is_done = rpc_store_word(call, text, &spec);
	if (nsid)
		spec.nsid = (uint32_t)nsid;
	is_done = is_done && attach(call, controller, &spec);
	bh_tgt_store_spec_fini(&spec);
	return is_done;
}

bool rpc_namespace_detach(struct rpc_call *call)
{
	const char *controller;
	char why[BH_TGT_WHY];
	uint64_t nsid;

	if (!rpc_text(call, "controller", true, &controller) ||
	    !rpc_number(call, "nsid", 1, BH_TARGET_NVME_MAX_NS, &nsid))
		return false;
	int error = bh_tgt_ns_detach(call->tgt, controller, (uint32_t)nsid, why);
	return error ? rpc_fail_tgt(call, error, why) : true;
}

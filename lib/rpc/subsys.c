/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls about subsystems and their namespaces. */
#include <errno.h>
#include <string.h>

#include <uuid/uuid.h>

#include "rpc/rpc.h"

/* ---- subsystems ---- */

static bool fill_spec(struct rpc_call *call, struct bh_tgt_spec *spec)
{
	const char *name, *key;
	json_t *value;

	if (!rpc_text(call, "name", true, &name))
		return false;
	spec->kind = BH_TGT_SPEC_SUBSYS;
	spec->name = strdup(name);
	if (!spec->name)
		return rpc_fail(call, RPC_FAILED, NULL, -ENOMEM, "out of memory");
	json_object_foreach(call->params, key, value)
	{
		if (strcmp(key, "name") != 0 && !rpc_set_key(call, spec, key, value))
			return false;
	}
	return true;
}

bool rpc_subsystem_create(struct rpc_call *call)
{
	return rpc_apply(call, fill_spec);
}

bool rpc_subsystem_delete(struct rpc_call *call)
{
	char why[BH_TGT_WHY];
	const char *name;

	if (!rpc_text(call, "name", true, &name))
		return false;
	int error = bh_tgt_subsys_destroy(call->tgt, name, why);
	return error ? rpc_fail_tgt(call, error, why) : true;
}

/* ---- namespaces ---- */

static bool get_bool(struct rpc_call *call, const char *key, bool *out)
{
	const json_t *value = json_object_get(call->params, key);
	const char *text = json_string_value(value);

	*out = json_is_true(value) || (text && strcmp(text, "true") == 0);
	if (!value || json_is_boolean(value) || *out || (text && strcmp(text, "false") == 0))
		return true;
	return rpc_fail(call, RPC_INVALID_PARAMS, key, 0, "%s: expected true or false", key);
}

/* The format of what is cut out of the pool. */
static bool get_format(struct rpc_call *call, struct bh_tgt_ns_spec *spec)
{
	uint64_t bs = 512, ms = 0, pi = 0;

	if ((json_object_get(call->params, "bs") && !rpc_size(call, "bs", &bs)) ||
	    (json_object_get(call->params, "ms") && !rpc_number(call, "ms", 0, 64, &ms)) ||
	    (json_object_get(call->params, "pi") && !rpc_number(call, "pi", 0, 3, &pi)) ||
	    !get_bool(call, "pi_first", &spec->pi_first) ||
	    !get_bool(call, "interleaved", &spec->interleaved))
		return false;
	if (bs != 512 && bs != 4096)
		return rpc_fail(call, RPC_INVALID_PARAMS, "bs", -EINVAL,
				"bs: a block has 512 or 4096 bytes");
	if (ms != 0 && ms != 8 && ms != 16 && ms != 64)
		return rpc_fail(call, RPC_INVALID_PARAMS, "ms", -EINVAL,
				"ms: a block has 0, 8, 16 or 64 bytes of metadata");
	if (!ms && (pi || spec->pi_first || spec->interleaved))
		return rpc_fail(call, RPC_INVALID_PARAMS, pi ? "pi" : "ms", -EINVAL,
				"it needs metadata: ms=8, 16 or 64");
	spec->block_size = (uint32_t)bs;
	spec->md_bytes = (uint16_t)ms;
	spec->pi = (uint8_t)pi;
	return true;
}

/* What is cut out of the pool. */
static bool get_pool_keys(struct rpc_call *call, struct bh_tgt_ns_spec *spec)
{
	const char *uuid;

	if (!rpc_size(call, "size", &spec->bytes) || !get_format(call, spec) ||
	    !rpc_text(call, "uuid", false, &uuid))
		return false;
	spec->has_uuid = uuid != NULL;
	if (uuid && uuid_parse(uuid, spec->uuid) != 0)
		return rpc_fail(call, RPC_INVALID_PARAMS, "uuid", -EINVAL, "uuid: not a UUID");
	spec->has_offset = json_object_get(call->params, "offset") != NULL;
	return !spec->has_offset || rpc_size(call, "offset", &spec->offset);
}

static bool get_store(struct rpc_call *call, const char *text, struct bh_tgt_ns_spec *spec,
		      struct bh_tgt_store_spec *store)
{
	static const char *const others[] = { "size",	  "bs",		 "ms",	 "pi",
					      "pi_first", "interleaved", "uuid", "offset" };

	if (!text)
		return get_pool_keys(call, spec);
	for (unsigned int i = 0; i < sizeof(others) / sizeof(*others); i++) {
		if (json_object_get(call->params, others[i]))
			return rpc_fail(call, RPC_INVALID_PARAMS, others[i], -EINVAL,
					"%s: the store has its own", others[i]);
	}
	spec->store = store;
	return rpc_store_word(call, text, store);
}

bool rpc_namespace_create(struct rpc_call *call)
{
	struct bh_tgt_store_spec store = { 0 };
	struct bh_tgt_ns_spec spec = { 0 };
	char why[BH_TGT_WHY];
	uint64_t nsid = 0;
	const char *text;
	int rc;

	if (!rpc_text(call, "subsys", true, &spec.subsys) ||
	    !rpc_text(call, "store", false, &text) ||
	    !get_bool(call, "private", &spec.is_private) ||
	    (json_object_get(call->params, "nsid") &&
	     !rpc_number(call, "nsid", 1, BH_TARGET_NVME_MAX_NS, &nsid)))
		return false;
	if (!get_store(call, text, &spec, &store)) {
		bh_tgt_store_spec_fini(&store);
		return false;
	}
	spec.nsid = nsid ? (uint32_t)nsid : store.nsid;
	rc = bh_tgt_ns_create(call->tgt, &spec, why);
	bh_tgt_store_spec_fini(&store);
	call->is_patient = true; /* It gets on, and its outcome has the id. */
	if (rc < 0)
		return rpc_fail_tgt(call, rc, why);
	call->result = json_pack("{s:i}", "nsid", rc);
	return true;
}

bool rpc_namespace_delete(struct rpc_call *call)
{
	char why[BH_TGT_WHY];
	const char *subsys;
	uint64_t nsid;

	if (!rpc_text(call, "subsys", true, &subsys) ||
	    !rpc_number(call, "nsid", 1, BH_TARGET_NVME_MAX_NS, &nsid))
		return false;
	int error = bh_tgt_ns_delete(call->tgt, subsys, (uint32_t)nsid, why);
	return error ? rpc_fail_tgt(call, error, why) : true;
}

/* ---- lists ---- */

static void store_text(const struct bh_tgt_subsys_ns_info *info, char *out, size_t size)
{
	const struct bh_blk_info now = { .blocks = info->now.blocks,
					 .block_size = info->now.block_size };

	bh_tgt_store_text(info->spec, &now, info->now.uuid, out, size);
}

/* As namespace.create takes it. */
static void put_format(json_t *out, const struct bh_target_subsys_ns_info *now)
{
	rpc_put_u64(out, "bs", now->block_size);
	if (now->md_bytes)
		rpc_put_u64(out, "ms", now->md_bytes);
	if (now->pi)
		rpc_put_u64(out, "pi", now->pi);
	if (now->pi_first)
		json_object_set_new(out, "pi_first", json_true());
	if (now->interleaved)
		json_object_set_new(out, "interleaved", json_true());
}

static json_t *namespace_new(const struct bh_tgt_subsys_ns_info *info)
{
	json_t *one = json_object(), *ctrls = json_array();
	char text[BH_TGT_STORE_TEXT];

	rpc_put_u64(one, "nsid", info->nsid);
	if (info->spec) {
		store_text(info, text, sizeof(text));
		rpc_put_text(one, "store", text);
	}
	if (info->now.is_pooled)
		rpc_put_u64(one, "offset", info->now.offset);
	rpc_put_u64(one, "size", info->now.blocks * info->now.block_size);
	put_format(one, &info->now);
	rpc_put_uuid(one, info->now.uuid);
	json_object_set_new(one, "private", json_boolean(info->now.is_private));
	for (unsigned int i = 0; i < BH_TARGET_SUBSYS_MAX_CTRLS; i++) {
		if (info->now.ctrls & 1ull << i)
			json_array_append_new(ctrls, json_integer((json_int_t)i + 1));
	}
	json_object_set_new(one, "cntlids", ctrls);
	return one;
}

static json_t *namespaces_new(const struct bh_tgt_subsys_info *info)
{
	json_t *all = json_array();

	for (unsigned int i = 0; i < info->num_ns; i++)
		json_array_append_new(all, namespace_new(&info->ns[i]));
	return all;
}

/* What it was created with. */
static json_t *subsystem_new(const struct bh_tgt_subsys_info *info)
{
	char text[BH_TGT_STORE_TEXT];
	json_t *one = json_object();

	rpc_put_text(one, "name", info->name);
	rpc_put_text(one, "nqn", info->nqn);
	if (info->spec->serial)
		rpc_put_text(one, "serial", info->spec->serial);
	if (info->spec->model)
		rpc_put_text(one, "model", info->spec->model);
	if (info->spec->cap)
		rpc_put_u64(one, "cap", info->spec->cap);
	if (info->pool) {
		bh_tgt_store_text(info->pool, info->pool_now, NULL, text, sizeof(text));
		rpc_put_text(one, "pool", text);
	}
	return one;
}

static void add_subsystem(void *ctx, const struct bh_tgt_subsys_info *info)
{
	json_t *one = subsystem_new(info);

	rpc_put_u64(one, "capacity", info->capacity);
	rpc_put_u64(one, "unallocated", info->unallocated);
	json_object_set_new(one, "namespaces", namespaces_new(info));
	json_array_append_new(ctx, one);
}

static bool list(struct rpc_call *call, bh_tgt_subsys_fn fn, void *ctx)
{
	if (bh_tgt_subsystems(call->tgt, fn, ctx) != 0)
		return rpc_fail(call, RPC_FAILED, NULL, -ENOMEM, "out of memory");
	return true;
}

bool rpc_subsystem_list(struct rpc_call *call)
{
	call->result = json_array();
	return list(call, add_subsystem, call->result);
}

struct one {
	const char *name;
	json_t *namespaces;
};

static void find_one(void *ctx, const struct bh_tgt_subsys_info *info)
{
	struct one *one = ctx;

	if (strcmp(one->name, info->name) == 0)
		one->namespaces = namespaces_new(info);
}

bool rpc_namespace_list(struct rpc_call *call)
{
	struct one one = { 0 };

	if (!rpc_text(call, "subsys", true, &one.name) || !list(call, find_one, &one))
		return false;
	if (!one.namespaces)
		return rpc_fail(call, RPC_INVALID_PARAMS, "subsys", -ENOENT,
				"there is no subsystem '%.200s'", one.name);
	call->result = one.namespaces;
	return true;
}

/* ---- the configuration ---- */

static void save_namespace(json_t *calls, const char *subsys,
			   const struct bh_tgt_subsys_ns_info *info)
{
	json_t *params = json_object();
	char text[BH_TGT_STORE_TEXT];

	rpc_put_text(params, "subsys", subsys);
	rpc_put_u64(params, "nsid", info->nsid);
	if (info->spec) {
		store_text(info, text, sizeof(text));
		rpc_put_text(params, "store", text);
	} else {
		rpc_put_u64(params, "size", info->now.blocks * info->now.block_size);
		put_format(params, &info->now);
		rpc_put_uuid(params, info->now.uuid);
		rpc_put_u64(params, "offset", info->now.offset);
	}
	if (info->now.is_private)
		json_object_set_new(params, "private", json_true());
	rpc_add_call(calls, "namespace.create", params);
}

static void save_subsystem(void *ctx, const struct bh_tgt_subsys_info *info)
{
	rpc_add_call(ctx, "subsystem.create", subsystem_new(info));
	for (unsigned int i = 0; i < info->num_ns; i++)
		save_namespace(ctx, info->name, &info->ns[i]);
}

bool rpc_save_subsystems(struct rpc_call *call)
{
	return list(call, save_subsystem, call->result);
}

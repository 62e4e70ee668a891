/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What there is: lists, and the configuration as the calls that would bring it about.
 *
 * A saved configuration names the UUIDs of stores that belong to one controller: they were derived
 * from the order in which such stores came, which another start would not repeat.
 */
#include <errno.h>
#include <string.h>

#include <uuid/uuid.h>

#include "rpc/rpc.h"

void rpc_put_text(json_t *object, const char *key, const char *text)
{
	json_t *value = json_string(text);

	json_object_set_new(object, key, value ? value : json_string("?"));
}

void rpc_put_u64(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

void rpc_put_uuid(json_t *object, const uint8_t uuid[16])
{
	char text[UUID_STR_LEN];

	if (uuid_is_null(uuid))
		return;
	uuid_unparse_lower(uuid, text);
	rpc_put_text(object, "uuid", text);
}

/* ---- stores ---- */

static void add_store(void *ctx, const struct bh_tgt_store_info *info)
{
	json_t *one = json_object();
	char text[BH_TGT_STORE_TEXT];

	bh_tgt_store_text(info->spec, info->blk, NULL, text, sizeof(text));
	rpc_put_text(one, "name", info->name);
	rpc_put_text(one, "store", text);
	rpc_put_u64(one, "size", info->blk->blocks * info->blk->block_size);
	rpc_put_u64(one, "bs", info->blk->block_size);
	json_object_set_new(one, "writable", json_boolean(info->blk->caps & BH_BLK_CAP_WRITE));
	rpc_put_u64(one, "namespaces", info->users);
	json_array_append_new(ctx, one);
}

bool rpc_store_list(struct rpc_call *call)
{
	call->result = json_array();
	bh_tgt_stores(call->tgt, add_store, call->result);
	return true;
}

/* ---- controllers ---- */

static bool list_controllers(struct rpc_call *call, bh_tgt_controller_fn fn)
{
	if (bh_tgt_controllers(call->tgt, fn, call->result) != 0)
		return rpc_fail(call, RPC_FAILED, NULL, -ENOMEM, "out of memory");
	return true;
}

static json_t *namespace_new(const struct bh_tgt_ns_info *info)
{
	const struct bh_blk_info size = { .blocks = info->now.blocks,
					  .block_size = info->now.block_size,
					  .format = info->now.format };
	char text[BH_TGT_STORE_TEXT];
	json_t *one = json_object();

	rpc_put_u64(one, "nsid", info->nsid);
	if (info->spec) {
		bh_tgt_store_text(info->spec, &size, NULL, text, sizeof(text));
		rpc_put_text(one, "store", text);
	}
	rpc_put_u64(one, "size", info->now.blocks * info->now.block_size);
	rpc_put_u64(one, "bs", info->now.block_size);
	rpc_put_uuid(one, info->now.uuid);
	json_object_set_new(one, "active", json_boolean(info->now.is_active));
	return one;
}

static void put_cores(json_t *one, const struct bh_cpuset *cpus)
{
	char cores[1024];

	if (bh_cpuset_count(cpus) == 0)
		return;
	bh_format_cpus(cpus, cores, sizeof(cores));
	for (char *c = cores; *c != '\0'; c++)
		*c = *c == ',' ? '+' : *c;
	rpc_put_text(one, "cores", cores);
}

static void put_number(json_t *one, const char *key, uint64_t value)
{
	if (value)
		rpc_put_u64(one, key, value);
}

/* What both kinds have; is_whole: defaults, too. */
static json_t *common_new(const char *name, const struct bh_tgt_spec *spec, bool is_whole)
{
	json_t *one = json_object();

	rpc_put_text(one, "type", spec->kind == BH_TGT_SPEC_NET ? "net" : "nvme");
	rpc_put_text(one, "name", name);
	rpc_put_text(one, "socket", spec->name);
	put_number(one, "queues", spec->queues);
	put_number(one, "depth", spec->depth);
	if (is_whole || spec->doorbells == BH_DOORBELLS_TRAPPED)
		rpc_put_text(one, "doorbells",
			     spec->doorbells == BH_DOORBELLS_TRAPPED ? "trapped" : "mapped");
	put_cores(one, &spec->cores);
	return one;
}

static json_t *controller_new(const struct bh_tgt_controller_info *info, bool is_whole)
{
	const struct bh_tgt_spec *spec = info->spec;
	json_t *one = common_new(info->name, spec, is_whole);

	if (spec->subsys)
		rpc_put_text(one, "subsys", spec->subsys);
	if (spec->serial)
		rpc_put_text(one, "serial", spec->serial);
	if (spec->model)
		rpc_put_text(one, "model", spec->model);
	put_number(one, "dstrd", spec->dstrd);
	put_number(one, "mdts", spec->mdts);
	put_number(one, "cmb", spec->cmb);
	return one;
}

static json_t *net_new(const struct bh_tgt_net_info *info, bool is_whole)
{
	const uint8_t *mac = info->spec->mac;
	json_t *one = common_new(info->name, info->spec, is_whole);
	char text[BH_TGT_STORE_TEXT];

	bh_tgt_port_text(info->spec, text, sizeof(text));
	rpc_put_text(one, "port", text);
	put_number(one, "mtu", info->spec->mtu);
	if (is_whole || info->spec->split_rings)
		rpc_put_text(one, "rings", info->spec->split_rings ? "split" : "packed");
	if (info->spec->has_mac)
		json_object_set_new(one, "mac",
				    json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
						 mac[2], mac[3], mac[4], mac[5]));
	return one;
}

static void add_net(void *ctx, const struct bh_tgt_net_info *info)
{
	json_array_append_new(ctx, net_new(info, true));
}

static void add_controller(void *ctx, const struct bh_tgt_controller_info *info)
{
	json_t *one = controller_new(info, true), *namespaces = json_array();

	for (unsigned int i = 0; i < info->num_ns; i++)
		json_array_append_new(namespaces, namespace_new(&info->ns[i]));
	json_object_set_new(one, "namespaces", namespaces);
	json_array_append_new(ctx, one);
}

bool rpc_controller_list(struct rpc_call *call)
{
	call->result = json_array();
	if (!list_controllers(call, add_controller))
		return false;
	bh_tgt_nets(call->tgt, add_net, call->result);
	return true;
}

/* ---- the configuration ---- */

void rpc_add_call(json_t *calls, const char *method, json_t *params)
{
	json_array_append_new(calls, json_pack("{s:s,s:o}", "method", method, "params", params));
}

static void save_store(void *ctx, const struct bh_tgt_store_info *info)
{
	json_t *params = json_object();
	char text[BH_TGT_STORE_TEXT];

	bh_tgt_store_text(info->spec, info->blk, NULL, text, sizeof(text));
	rpc_put_text(params, "name", info->name);
	rpc_put_text(params, "store", text);
	rpc_add_call(ctx, "store.create", params);
}

/* What a subsystem has is there already. */
static void save_attachments(json_t *calls, const struct bh_tgt_controller_info *info)
{
	for (unsigned int i = 0; i < info->num_ns; i++) {
		json_t *params = json_object();

		rpc_put_text(params, "controller", info->name);
		rpc_put_u64(params, "nsid", info->ns[i].nsid);
		if (info->ns[i].now.is_active)
			rpc_add_call(calls, "namespace.attach", params);
		else
			json_decref(params);
	}
}

static void save_controller(void *ctx, const struct bh_tgt_controller_info *info)
{
	json_t *params = controller_new(info, false), *stores;

	if (info->subsys) {
		rpc_add_call(ctx, "controller.create", params);
		save_attachments(ctx, info);
		return;
	}
	stores = json_array();
	for (unsigned int i = 0; i < info->num_ns; i++) {
		const struct bh_tgt_ns_info *ns = &info->ns[i];
		const struct bh_blk_info size = { .blocks = ns->now.blocks,
						  .block_size = ns->now.block_size,
						  .format = ns->now.format };
		char text[BH_TGT_STORE_TEXT];
		json_t *value;

		if (!ns->now.is_active)
			continue;
		bh_tgt_store_text(ns->spec, &size, ns->now.uuid, text, sizeof(text));
		value = json_sprintf("%s:nsid=%u", text, ns->nsid);
		json_array_append_new(stores, value ? value : json_string("?"));
	}
	json_object_set_new(params, "ns", stores);
	rpc_add_call(ctx, "controller.create", params);
}

static void save_net(void *ctx, const struct bh_tgt_net_info *info)
{
	rpc_add_call(ctx, "controller.create", net_new(info, false));
}

bool rpc_config_save(struct rpc_call *call)
{
	call->result = json_array();
	bh_tgt_stores(call->tgt, save_store, call->result);
	if (!rpc_save_subsystems(call))
		return false;
	bh_tgt_nets(call->tgt, save_net, call->result);
	return list_controllers(call, save_controller);
}

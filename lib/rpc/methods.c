/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods there are, and those that are about the program itself. */
#include <errno.h>
#include <string.h>

#include "rpc/rpc.h"

static const char *const levels[] = { "error", "warning", "info", "debug" };

static bool log_list(struct rpc_call *call)
{
	const struct bh_rpc_opts *opts = &call->rpc->opts;
	const char *component;

	call->result = json_object();
	for (unsigned int i = 0; opts->log_get; i++) {
		int level = opts->log_get(opts->ctx, i, &component);

		if (level < 0)
			break;
		rpc_put_text(call->result, component, levels[level & 3]);
	}
	return true;
}

static bool log_set(struct rpc_call *call)
{
	const struct bh_rpc_opts *opts = &call->rpc->opts;
	const char *component, *level;
	unsigned int i = 0;

	if (!rpc_text(call, "component", false, &component) ||
	    !rpc_text(call, "level", true, &level))
		return false;
	while (i < 4 && strcmp(level, levels[i]) != 0)
		i++;
	if (i == 4)
		return rpc_fail(call, RPC_INVALID_PARAMS, "level", 0,
				"level: expected error, warning, info or debug");
	if (!opts->log_set || opts->log_set(opts->ctx, component, (enum bh_log_level)i) != 0)
		return rpc_fail(
			call, RPC_INVALID_PARAMS, "component", -ENOENT,
			"component: nothing logs by that name (log.list has those that do)");
	return true;
}

static bool stop(struct rpc_call *call)
{
	const struct bh_rpc_opts *opts = &call->rpc->opts;

	if (opts->stop)
		opts->stop(opts->ctx);
	return true;
}

#define CONTROLLER_KEYS                                                                         \
	" type name socket ns serial model queues depth cores dstrd doorbells mdts cmb subsys " \
	"port mac mtu rings "

static const struct rpc_method methods[] = {
	{ "config.save", rpc_config_save, " ", false },
	{ "controller.create", rpc_controller_create, CONTROLLER_KEYS, true },
	{ "controller.delete", rpc_controller_delete, " name ", true },
	{ "controller.list", rpc_controller_list, " ", false },
	{ "log.list", log_list, " ", false },
	{ "log.set", log_set, " component level ", false },
	{ "namespace.attach", rpc_namespace_attach, " controller store nsid ", true },
	{ "namespace.create", rpc_namespace_create,
	  " subsys store size bs ms pi pi_first interleaved nsid private uuid offset ", true },
	{ "namespace.delete", rpc_namespace_delete, " subsys nsid ", true },
	{ "namespace.detach", rpc_namespace_detach, " controller nsid ", true },
	{ "namespace.list", rpc_namespace_list, " subsys ", false },
	{ "stats", rpc_stats, " controller ", false },
	{ "stop", stop, " ", false },
	{ "store.create", rpc_store_create, " name store ", true },
	{ "store.delete", rpc_store_delete, " name ", true },
	{ "store.list", rpc_store_list, " ", false },
	{ "store.resize", rpc_store_resize, " name size ", true },
	{ "subsystem.create", rpc_subsystem_create, " name nqn serial model cap pool ", true },
	{ "subsystem.delete", rpc_subsystem_delete, " name ", true },
	{ "subsystem.list", rpc_subsystem_list, " ", false },
};

const struct rpc_method *rpc_method_find(const char *name)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	}
	return NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Stores: types, and those that are shared by name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tgt/tgt.h"

/* What the contract names and some build may lack: told apart from a slip of the pen. */
static const char *const contract_types[] = { "null", "ram", "file", "nvme" };
static const char *const plugin_types[] = { "nbd", "rbd" };

struct store *tgt_store_find(struct bh_tgt *tgt, const char *name)
{
	for (struct store *s = tgt->stores; s; s = s->next) {
		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

static int find_type(struct bh_tgt *tgt, const char *name, const char *key,
		     const struct bh_blk_type **out, char *why)
{
	for (const struct bh_blk_type *const *t = tgt->types; *t; t++) {
		if (strcmp((*t)->name, name) == 0) {
			*out = *t;
			return 0;
		}
	}
	for (size_t i = 0; i < sizeof(contract_types) / sizeof(*contract_types); i++) {
		if (strcmp(contract_types[i], name) == 0)
			return tgt_fail(tgt, key, why, -ENOTSUP,
					"stores of type '%s' are not part of this build", name);
	}
	for (size_t i = 0; i < sizeof(plugin_types) / sizeof(*plugin_types); i++) {
		if (strcmp(plugin_types[i], name) == 0)
			return tgt_fail(
				tgt, key, why, -ENOTSUP,
				"stores of type '%s' are in a plug-in: start the target with "
				"--plugin %s",
				name, name);
	}
	return tgt_fail(tgt, key, why, -EINVAL,
			"unknown store type '%s' (try null:SIZE, ram:SIZE or file:PATH)", name);
}

/*
 * null opens nothing; ram does so once, to look up how much memory is free; others have a channel of
 * their own to whatever it is for each thread.
 */
int tgt_check_confined(struct bh_tgt *tgt, const char *type, bool is_there, const char *key,
		       char *why)
{
	if (!tgt->is_confined || strcmp(type, "null") == 0 ||
	    (is_there && strcmp(type, "ram") == 0))
		return 0;
	return tgt_fail(tgt, key, why, -EPERM,
			"a store of type '%s' needs files to be opened, which --sandbox forbids",
			type);
}

static bool is_confinable(const struct bh_tgt_store_spec *spec)
{
	static const char *const types[] = { "null", "ram", "file" };

	for (size_t i = 0; spec->type && i < sizeof(types) / sizeof(*types); i++) {
		if (strcmp(types[i], spec->type) == 0)
			return true;
	}
	return !spec->type; /* a reference: looked at where it refers to */
}

int bh_tgt_check_confinable(struct bh_tgt *tgt, char why[BH_TGT_WHY])
{
	const struct bh_tgt_store_spec *bad = NULL;

	why[0] = '\0';
	for (const struct store *s = tgt->stores; s; s = s->next)
		bad = is_confinable(&s->spec) ? bad : &s->spec;
	for (const struct controller *c = tgt->controllers; c; c = c->next) {
		for (const struct ns *ns = c->ns; ns; ns = ns->next)
			bad = is_confinable(&ns->spec) ? bad : &ns->spec;
	}
	if (!bad)
		return 0;
	return tgt_fail(tgt, NULL, why, -EPERM,
			"a store of type '%s' has to connect again when its connection is lost, "
			"which --sandbox forbids",
			bad->type);
}

/* Those that have a name here; NULL and none when there is no memory, and then nothing is shared. */
static struct bh_blk **peers_of(const struct bh_tgt *tgt, unsigned int *count)
{
	struct bh_blk **peers;
	unsigned int n = 0;

	*count = 0;
	for (const struct store *s = tgt->stores; s; s = s->next)
		n++;
	peers = calloc(n + 1, sizeof(*peers));
	for (const struct store *s = tgt->stores; peers && s; s = s->next)
		peers[(*count)++] = s->blk;
	return peers;
}

int tgt_blk_create(struct bh_tgt *tgt, const char *name, const struct bh_tgt_store_spec *spec,
		   const char *key, char *why, struct bh_blk **out)
{
	const struct bh_blk_type *type = NULL;
	struct bh_blk_spec blk_spec = {
		.arg = spec->arg,
		.bytes = spec->bytes,
		.block_size = spec->block_size,
		.md_bytes = spec->md_bytes,
		.pi = spec->pi,
		.zoned = spec->zoned,
		.has_uuid = spec->has_uuid,
	};

	int error = find_type(tgt, spec->type, key, &type, why);
	if (!error)
		error = tgt_check_confined(tgt, spec->type, false, key, why);
	if (error)
		return error;
	memcpy(blk_spec.uuid, spec->uuid, sizeof(blk_spec.uuid));
	blk_spec.peers = peers_of(tgt, &blk_spec.num_peers);
	error = type->create(&blk_spec, name, tgt->log, why, out);
	if (!error && spec->md_bytes && (*out)->beside < BH_BLK_BESIDE_MEMORY) {
		bh_blk_put(*out);
		return tgt_fail(tgt, key, why, -ENOTSUP, "ms=%u: stores of type '%s' have no metadata",
				spec->md_bytes, spec->type);
	}
	free((void *)blk_spec.peers);
	tgt->failed_key = key;
	if (error && why[0] == '\0')
		tgt_fail(tgt, key, why, error, "store %s:%s: %s", spec->type, spec->arg,
			 strerror(-error));
	return error;
}

static void store_free(struct store *store)
{
	if (!store)
		return;
	bh_blk_put(store->blk);
	bh_tgt_store_spec_fini(&store->spec);
	free(store->name);
	free(store);
}

int bh_tgt_store_create(struct bh_tgt *tgt, const char *name, const struct bh_tgt_store_spec *spec,
			char why[BH_TGT_WHY])
{
	struct store **link = &tgt->stores;
	int error = -ENOMEM;

	why[0] = '\0';
	if (tgt_store_find(tgt, name))
		return tgt_fail(tgt, "name", why, -EEXIST, "store '%s' exists already", name);
	struct store *store = calloc(1, sizeof(*store));
	if (store && (store->name = strdup(name)) && tgt_store_spec_copy(&store->spec, spec) == 0)
		error = tgt_blk_create(tgt, name, spec, "store", why, &store->blk);
	if (error) {
		store_free(store);
		return why[0] ? error
			      : tgt_fail(tgt, NULL, why, error, "store '%s': %s", name,
					 strerror(-error));
	}
	while (*link)
		link = &(*link)->next;
	*link = store;
	return 0;
}

int bh_tgt_store_destroy(struct bh_tgt *tgt, const char *name)
{
	tgt_reap(tgt);
	for (struct store **link = &tgt->stores; *link; link = &(*link)->next) {
		struct store *store = *link;

		if (strcmp(store->name, name) != 0)
			continue;
		if (store->users != 0)
			return -EBUSY;
		*link = store->next;
		store_free(store);
		return 0;
	}
	return -ENOENT;
}

int bh_tgt_store_resize(struct bh_tgt *tgt, const char *name, uint64_t bytes, char why[BH_TGT_WHY])
{
	struct store *store = tgt_store_find(tgt, name);

	why[0] = '\0';
	if (!store)
		return tgt_fail(tgt, "name", why, -ENOENT, "there is no store '%s'", name);
	const struct bh_blk_info *info = bh_blk_info(store->blk);
	if (bytes == 0 || bytes % info->block_size != 0)
		return tgt_fail(tgt, "size", why, -EINVAL,
				"the size must be a multiple of the block size (%u)",
				info->block_size);
	if (bytes / info->block_size < info->blocks)
		return tgt_fail(tgt, "size", why, -EINVAL,
				"stores grow only: this one has %llu bytes",
				(unsigned long long)(info->blocks * info->block_size));
	int error = bh_blk_resize(store->blk, bytes / info->block_size);
	if (error == -EOPNOTSUPP)
		return tgt_fail(tgt, "name", why, error, "a store of type '%s' keeps its size",
				store->spec.type);
	if (error)
		return tgt_fail(tgt, "size", why, error, "store '%s' cannot grow: %s", name,
				strerror(-error));
	return 0;
}

void bh_tgt_stores(struct bh_tgt *tgt, bh_tgt_store_fn fn, void *ctx)
{
	for (struct store *s = tgt->stores; s; s = s->next) {
		const struct bh_tgt_store_info info = {
			.name = s->name,
			.spec = &s->spec,
			.blk = bh_blk_info(s->blk),
			.users = s->users,
		};

		fn(ctx, &info);
	}
}

void tgt_stores_free(struct bh_tgt *tgt)
{
	while (tgt->stores) {
		struct store *store = tgt->stores;

		tgt->stores = store->next;
		store_free(store);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every object is a record in one of three tables: stores, subsystems, controllers of both kinds. A
 * namespace is a record of its owner, a subsystem or a controller that is in none.
 */
#include "fake_tgt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The same copies as in the true one. */
#include "tgt/tgt.h"

enum { STORES, SUBSYSTEMS, CONTROLLERS, KINDS, MOST = 6, MOST_NS = BH_TGT_SPEC_NS };

struct fake_ns {
	uint32_t nsid; /* 0: none */
	bool has_spec;
	struct bh_tgt_store_spec spec;
	struct bh_target_subsys_ns_info now;
};

struct object {
	char *name;
	struct bh_tgt_spec spec;
	struct bh_tgt_store_spec store; /* a subsystem's pool, too */
	struct bh_blk_info blk;
	struct object *subsys;
	unsigned int place; /* in its table: a controller's bit */
	struct fake_ns ns[MOST_NS];
};

struct fake {
	struct object *object[KINDS][MOST];
	const char *key;
};

static struct fake *fake_of(struct bh_tgt *tgt)
{
	return (struct fake *)tgt;
}

static int fail(struct bh_tgt *tgt, const char *key, int error, char *why)
{
	fake_of(tgt)->key = key;
	snprintf(why, BH_TGT_WHY, "%s: it is so", key ? key : "all of it");
	return error;
}

/* ---- objects ---- */

static struct object **find(struct bh_tgt *tgt, int kind, const char *name)
{
	for (int i = 0; i < MOST; i++) {
		struct object **at = &fake_of(tgt)->object[kind][i];

		if (*at && strcmp((*at)->name, name) == 0)
			return at;
	}
	return NULL;
}

static void object_free(struct object *object)
{
	for (int i = 0; i < MOST_NS; i++)
		bh_tgt_store_spec_fini(&object->ns[i].spec);
	bh_tgt_store_spec_fini(&object->store);
	bh_tgt_spec_fini(&object->spec);
	free(object->name);
	free(object);
}

struct bh_tgt *fake_tgt_new(void)
{
	return (struct bh_tgt *)calloc(1, sizeof(struct fake));
}

void fake_tgt_free(struct bh_tgt *tgt)
{
	for (int i = 0; i < KINDS * MOST; i++) {
		struct object *object = fake_of(tgt)->object[i / MOST][i % MOST];

		if (object)
			object_free(object);
	}
	free(tgt);
}

/* In the lowest place, which is behind what is there: nothing is moved up on a deletion. */
static struct object *object_new(struct bh_tgt *tgt, int kind, const char *name, int *error,
				 char *why)
{
	struct object **at = fake_of(tgt)->object[kind];
	unsigned int place = MOST;

	*error = 0;
	if (find(tgt, kind, name))
		*error = fail(tgt, "name", -EEXIST, why);
	else if (strchr(name, '7'))
		*error = fail(tgt, "name", -EBUSY, why);
	while (place > 0 && !at[place - 1])
		place--;
	if (!*error && place == MOST)
		*error = fail(tgt, NULL, -ENOSPC, why);
	if (*error)
		return NULL;
	at[place] = calloc(1, sizeof(**at));
	at[place]->name = strdup(name);
	at[place]->place = place;
	return at[place];
}

static struct bh_blk_info size_of(const struct bh_tgt_store_spec *spec)
{
	return (struct bh_blk_info){ .block_size = spec->block_size ? spec->block_size : 512,
				     .blocks = spec->bytes /
					       (spec->block_size ? spec->block_size : 512) };
}

/* The store of a reference, or the description itself. NULL: there is none. */
static bool resolve(struct bh_tgt *tgt, const struct bh_tgt_store_spec *spec,
		    struct bh_blk_info *size)
{
	struct object **store = spec->type || !spec->arg ? NULL : find(tgt, STORES, spec->arg);

	if (!spec->type && !store)
		return false;
	*size = store ? (*store)->blk : size_of(spec);
	return true;
}

/* ---- namespaces ---- */

static struct fake_ns *find_ns(struct object *owner, uint32_t nsid)
{
	for (int i = 0; i < MOST_NS; i++) {
		if (owner->ns[i].nsid == nsid)
			return &owner->ns[i];
	}
	return NULL;
}

static int add_ns(struct bh_tgt *tgt, struct object *owner, const struct bh_tgt_store_spec *spec,
		  uint32_t nsid, char *why, struct fake_ns **out)
{
	struct fake_ns *ns = find_ns(owner, 0);
	struct bh_blk_info size = { 0 };

	if (spec && !resolve(tgt, spec, &size))
		return fail(tgt, "store", -ENOENT, why);
	if (nsid && find_ns(owner, nsid))
		return fail(tgt, "nsid", -EEXIST, why);
	if (!ns)
		return fail(tgt, "nsid", -ENOSPC, why);
	while (!nsid || find_ns(owner, nsid))
		nsid++;
	memset(ns, 0, sizeof(*ns));
	if (spec && tgt_store_spec_copy(&ns->spec, spec) != 0)
		return fail(tgt, NULL, -ENOMEM, why);
	ns->nsid = nsid;
	ns->has_spec = spec != NULL;
	ns->now.block_size = size.block_size;
	ns->now.blocks = size.blocks;
	memset(ns->now.uuid, (int)nsid, 16);
	if (spec && spec->has_uuid)
		memcpy(ns->now.uuid, spec->uuid, 16);
	*out = ns;
	return (int)nsid;
}

int bh_tgt_ns_create(struct bh_tgt *tgt, const struct bh_tgt_ns_spec *spec, char why[BH_TGT_WHY])
{
	struct object **subsys = find(tgt, SUBSYSTEMS, spec->subsys);
	struct fake_ns *ns;

	if (!subsys)
		return fail(tgt, "subsys", -ENOENT, why);
	int nsid = add_ns(tgt, *subsys, spec->store, spec->nsid, why, &ns);
	if (nsid < 0)
		return nsid;
	ns->now.is_private = spec->is_private;
	if (!spec->store) {
		ns->now.is_pooled = true;
		ns->now.block_size = spec->block_size;
		ns->now.blocks = spec->bytes / spec->block_size;
		ns->now.offset = spec->has_offset ? spec->offset : 4096u * (unsigned int)nsid;
		if (spec->has_uuid)
			memcpy(ns->now.uuid, spec->uuid, 16);
	}
	return nsid;
}

static void remove_ns(struct fake_ns *ns)
{
	bh_tgt_store_spec_fini(&ns->spec);
	memset(ns, 0, sizeof(*ns));
}

int bh_tgt_ns_delete(struct bh_tgt *tgt, const char *name, uint32_t nsid, char why[BH_TGT_WHY])
{
	struct object **subsys = find(tgt, SUBSYSTEMS, name);
	struct fake_ns *ns = subsys ? find_ns(*subsys, nsid) : NULL;

	if (!ns)
		return fail(tgt, subsys ? "nsid" : "subsys", -ENOENT, why);
	remove_ns(ns);
	return 0;
}

int bh_tgt_ns_attach(struct bh_tgt *tgt, const char *name, const struct bh_tgt_store_spec *spec,
		     char why[BH_TGT_WHY])
{
	struct object **c = find(tgt, CONTROLLERS, name), *owner = c ? (*c)->subsys : NULL;
	struct fake_ns *ns = owner && spec->nsid ? find_ns(owner, spec->nsid) : NULL;
	int nsid;

	if (!c || (*c)->spec.kind == BH_TGT_SPEC_NET)
		return fail(tgt, "controller", -ENOENT, why);
	if (!spec->arg && !ns)
		return fail(tgt, "nsid", -ENOENT, why);
	if (ns && (spec->arg || ns->now.ctrls & 1ull << (*c)->place))
		return fail(tgt, "nsid", -EEXIST, why);
	nsid = ns ? (int)ns->nsid : add_ns(tgt, owner ? owner : *c, spec, spec->nsid, why, &ns);
	if (nsid > 0)
		ns->now.ctrls |= 1ull << (*c)->place;
	return nsid;
}

int bh_tgt_ns_detach(struct bh_tgt *tgt, const char *name, uint32_t nsid, char why[BH_TGT_WHY])
{
	struct object **c = find(tgt, CONTROLLERS, name);
	struct fake_ns *ns = c ? find_ns((*c)->subsys ? (*c)->subsys : *c, nsid) : NULL;

	if (!ns || !(ns->now.ctrls & 1ull << (*c)->place))
		return fail(tgt, c ? "nsid" : "controller", -ENOENT, why);
	if (nsid == 7) {
		ns->now.ctrls = 0;
		return fail(tgt, NULL, -EINPROGRESS, why);
	}
	ns->now.ctrls &= ~(1ull << (*c)->place);
	if (!(*c)->subsys)
		remove_ns(ns);
	return 0;
}

/* Nobody is told how it ended. */
void bh_tgt_dont_wait(struct bh_tgt *tgt, void (*wake)(void *ctx), void *ctx)
{
	(void)tgt;
	(void)wake;
	(void)ctx;
}

const struct bh_cpuset *bh_tgt_control_cpus(const struct bh_tgt *tgt)
{
	static const struct bh_cpuset any;

	(void)tgt;
	return &any;
}

uint64_t bh_tgt_ticket(const struct bh_tgt *tgt)
{
	(void)tgt;
	return 0;
}

bool bh_tgt_finished(struct bh_tgt *tgt, uint64_t *ticket, int *result, char why[BH_TGT_WHY])
{
	(void)tgt;
	(void)ticket;
	(void)result;
	(void)why;
	return false;
}

/* ---- create, delete ---- */

int bh_tgt_store_create(struct bh_tgt *tgt, const char *name, const struct bh_tgt_store_spec *spec,
			char why[BH_TGT_WHY])
{
	int error;
	struct object *store = object_new(tgt, STORES, name, &error, why);

	if (!store)
		return error;
	store->blk = size_of(spec);
	return tgt_store_spec_copy(&store->store, spec);
}

int bh_tgt_store_destroy(struct bh_tgt *tgt, const char *name)
{
	struct object **store = find(tgt, STORES, name);

	if (!store)
		return -ENOENT;
	for (int i = 0; i < 2 * MOST * MOST_NS; i++) {
		const struct object *o =
			fake_of(tgt)->object[SUBSYSTEMS + i / (MOST * MOST_NS)][i / MOST_NS % MOST];
		const struct fake_ns *ns = o ? &o->ns[i % MOST_NS] : NULL;

		if (ns && ns->has_spec && !ns->spec.type && strcmp(ns->spec.arg, name) == 0)
			return -EBUSY;
		if (o && o->store.arg && !o->store.type && strcmp(o->store.arg, name) == 0)
			return -EBUSY;
	}
	object_free(*store);
	*store = NULL;
	return 0;
}

int bh_tgt_store_resize(struct bh_tgt *tgt, const char *name, uint64_t bytes, char why[BH_TGT_WHY])
{
	struct object **store = find(tgt, STORES, name);

	if (!store)
		return fail(tgt, "name", -ENOENT, why);
	if (bytes % (*store)->blk.block_size || bytes < (*store)->blk.block_size)
		return fail(tgt, "size", -EINVAL, why);
	(*store)->blk.blocks = bytes / (*store)->blk.block_size;
	return 0;
}

static int apply(struct bh_tgt *tgt, struct object *object, const struct bh_tgt_spec *spec,
		 char *why)
{
	struct fake_ns *ns;
	int rc = tgt_spec_copy(&object->spec, spec);

	if (spec->subsys) {
		struct object **subsys = find(tgt, SUBSYSTEMS, spec->subsys);

		if (!subsys)
			return fail(tgt, "subsys", -ENOENT, why);
		object->subsys = *subsys;
	}
	if (spec->kind == BH_TGT_SPEC_SUBSYS && spec->num_stores) {
		if (!resolve(tgt, &spec->store[0], &object->blk))
			return fail(tgt, "pool", -ENOENT, why);
		return tgt_store_spec_copy(&object->store, &spec->store[0]);
	}
	for (unsigned int i = 0; rc >= 0 && i < spec->num_stores; i++) {
		rc = add_ns(tgt, object->subsys ? object->subsys : object, &spec->store[i],
			    spec->store[i].nsid, why, &ns);
		if (rc > 0)
			ns->now.ctrls = 1ull << object->place;
	}
	return rc < 0 ? rc : 0;
}

static void object_remove(struct bh_tgt *tgt, int kind, struct object *object)
{
	struct object *subsys = object->subsys;

	for (int i = 0; subsys && i < MOST_NS; i++)
		subsys->ns[i].now.ctrls &= ~(1ull << object->place);
	fake_of(tgt)->object[kind][object->place] = NULL;
	object_free(object);
}

int bh_tgt_apply(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char why[BH_TGT_WHY])
{
	int kind = spec->kind == BH_TGT_SPEC_SUBSYS ? SUBSYSTEMS : CONTROLLERS, error;
	struct object *object =
		object_new(tgt, kind, spec->alias ? spec->alias : spec->name, &error, why);

	if (!object)
		return error;
	error = apply(tgt, object, spec, why);
	if (error)
		object_remove(tgt, kind, object);
	return error;
}

int bh_tgt_controller_destroy(struct bh_tgt *tgt, const char *name)
{
	struct object **c = find(tgt, CONTROLLERS, name);

	if (!c)
		return -ENOENT;
	object_remove(tgt, CONTROLLERS, *c);
	return 0;
}

int bh_tgt_subsys_destroy(struct bh_tgt *tgt, const char *name, char why[BH_TGT_WHY])
{
	struct object **s = find(tgt, SUBSYSTEMS, name);

	if (!s)
		return fail(tgt, "name", -ENOENT, why);
	for (int i = 0; i < MOST; i++) {
		const struct object *c = fake_of(tgt)->object[CONTROLLERS][i];

		if (c && c->subsys == *s)
			return fail(tgt, "name", -EBUSY, why);
	}
	object_remove(tgt, SUBSYSTEMS, *s);
	return 0;
}

/* ---- lists ---- */

const char *bh_tgt_failed_key(const struct bh_tgt *tgt)
{
	return ((const struct fake *)tgt)->key;
}

void bh_tgt_stores(struct bh_tgt *tgt, bh_tgt_store_fn fn, void *ctx)
{
	for (int i = 0; i < MOST; i++) {
		const struct object *o = fake_of(tgt)->object[STORES][i];

		if (o)
			fn(ctx, &(struct bh_tgt_store_info){
					.name = o->name, .spec = &o->store, .blk = &o->blk });
	}
}

int bh_tgt_subsystems(struct bh_tgt *tgt, bh_tgt_subsys_fn fn, void *ctx)
{
	for (int i = 0; i < MOST; i++) {
		const struct object *o = fake_of(tgt)->object[SUBSYSTEMS][i];
		struct bh_tgt_subsys_ns_info ns[MOST_NS];
		struct bh_tgt_subsys_info info = { .ns = ns };

		for (int k = 0; o && k < MOST_NS; k++) {
			if (o->ns[k].nsid)
				ns[info.num_ns++] = (struct bh_tgt_subsys_ns_info){
					.nsid = o->ns[k].nsid,
					.spec = o->ns[k].has_spec ? &o->ns[k].spec : NULL,
					.now = o->ns[k].now
				};
		}
		if (!o)
			continue;
		info.name = o->name;
		info.spec = &o->spec;
		info.nqn = o->spec.nqn ? o->spec.nqn : "nqn.2026-01.io.bellhop:fuzz";
		info.pool = o->store.arg ? &o->store : NULL;
		info.pool_now = &o->blk;
		fn(ctx, &info);
	}
	return 0;
}

int bh_tgt_controllers(struct bh_tgt *tgt, bh_tgt_controller_fn fn, void *ctx)
{
	for (int i = 0; i < MOST; i++) {
		struct object *o = fake_of(tgt)->object[CONTROLLERS][i];
		struct object *owner = o && o->subsys ? o->subsys : o;
		struct bh_tgt_ns_info ns[MOST_NS];
		struct bh_tgt_controller_info info = { .ns = ns };

		for (int k = 0; o && k < MOST_NS; k++) {
			const struct fake_ns *one = &owner->ns[k];

			if (!one->nsid || (o->subsys && !(one->now.ctrls & 1ull << o->place)))
				continue;
			ns[info.num_ns] = (struct bh_tgt_ns_info){
				.nsid = one->nsid, .spec = one->has_spec ? &one->spec : NULL
			};
			ns[info.num_ns].now.blocks = one->now.blocks;
			ns[info.num_ns].now.block_size = one->now.block_size;
			ns[info.num_ns].now.is_active = one->now.ctrls != 0;
			memcpy(ns[info.num_ns++].now.uuid, one->now.uuid, 16);
		}
		if (!o || o->spec.kind == BH_TGT_SPEC_NET)
			continue;
		info.name = o->name;
		info.spec = &o->spec;
		info.subsys = o->subsys ? o->subsys->name : NULL;
		fn(ctx, &info);
	}
	return 0;
}

void bh_tgt_nets(struct bh_tgt *tgt, bh_tgt_net_fn fn, void *ctx)
{
	for (int i = 0; i < MOST; i++) {
		const struct object *o = fake_of(tgt)->object[CONTROLLERS][i];

		if (o && o->spec.kind == BH_TGT_SPEC_NET)
			fn(ctx, &(struct bh_tgt_net_info){ .name = o->name, .spec = &o->spec });
	}
}

/* ---- what was counted: nothing ---- */

void bh_tgt_threads(const struct bh_tgt *tgt, bh_tgt_thread_fn fn, void *ctx)
{
	(void)tgt;
	fn(ctx, &(struct bh_tgt_thread_info){ .cpu = 1 });
}

void bh_target_nvme_stats(struct bh_target_nvme *ctrl, struct bh_target_nvme_stats *stats)
{
	(void)ctrl;
	memset(stats, 0, sizeof(*stats));
}

void bh_target_nvme_queues(struct bh_target_nvme *ctrl, const struct bh_clock *clock,
			   bh_target_nvme_queue_fn fn, void *ctx)
{
	(void)ctrl, (void)clock, (void)fn, (void)ctx;
}

bool bh_target_nvme_ns_stats(struct bh_target_nvme *ctrl, uint32_t nsid,
			     const struct bh_clock *clock, struct bh_histogram *latency,
			     struct bh_target_nvme_ns_stats *stats)
{
	(void)ctrl, (void)clock;
	memset(stats, 0, sizeof(*stats));
	bh_histogram_init(latency);
	stats->nsid = nsid;
	stats->latency = latency;
	return nsid != 3;
}

void bh_target_net_stats(const struct bh_target_net *net, struct bh_target_net_stats *stats)
{
	(void)net;
	memset(stats, 0, sizeof(*stats));
}

void bh_target_net_queues(const struct bh_target_net *net, const struct bh_clock *clock,
			  bh_target_net_queue_fn fn, void *ctx)
{
	(void)net, (void)clock, (void)fn, (void)ctx;
}

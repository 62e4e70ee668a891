/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Subsystems by name, and their namespaces.
 *
 * What a namespace's store is and who else uses it is known here, in a record per namespace that was
 * given a store; whether it is still there, and where it is attached, is asked of the subsystem
 * itself, since hosts change that, too. A namespace that is slow to go leaves its record behind as
 * `leaving`, as in nvme.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tgt/tgt.h"

struct subsys *tgt_subsys_find(struct bh_tgt *tgt, const char *name)
{
	for (struct subsys *s = tgt->subsystems; s; s = s->next) {
		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

struct ns *tgt_subsys_ns(struct subsys *s, uint32_t nsid)
{
	struct ns *ns = s->ns;

	while (ns && (ns->nsid != nsid || ns->leaving))
		ns = ns->next;
	return ns;
}

/* ---- create, delete ---- */

struct make {
	struct subsys *subsys;
	struct bh_target_subsys_opts opts;
	int error;
};

static void make_on_control(void *arg)
{
	struct make *make = arg;

	make->error = bh_target_subsys_create(&make->opts, &make->subsys->handle);
}

static void unmake_on_control(void *arg)
{
	struct make *make = arg;

	make->error = bh_target_subsys_destroy(make->subsys->handle);
}

static void restored_on_control(void *arg)
{
	struct subsys *s = arg;

	bh_target_subsys_restored(s->handle);
}

void bh_tgt_restored(struct bh_tgt *tgt)
{
	for (struct subsys *s = tgt->subsystems; s && !tgt->is_restored; s = s->next)
		bh_reactor_call(tgt->control, restored_on_control, s);
	tgt->is_restored = true;
}

static int subsys_free(struct bh_tgt *tgt, struct subsys *s)
{
	struct make make = { .subsys = s };

	if (s->handle)
		bh_reactor_call(tgt->control, unmake_on_control, &make);
	if (make.error)
		return make.error;
	bh_blk_put(s->pool);
	tgt_ns_free(s->pool_store);
	tgt_reap_list(tgt, &s->ns);
	while (s->ns) {
		struct ns *ns = s->ns;

		s->ns = ns->next;
		tgt_ns_free(ns);
	}
	bh_tgt_spec_fini(&s->spec);
	free(s->name);
	free(s);
	return 0;
}

/* The store that namespaces are cut out of: pool=, or cap= bytes of memory. */
static int get_pool(struct bh_tgt *tgt, struct subsys *s, const struct bh_tgt_spec *spec, char *why)
{
	struct bh_tgt_store_spec ram = {
		.type = (char *)"ram", .arg = (char *)"cap", .bytes = spec->cap, .block_size = 512
	};
	char name[256];

	if (!spec->num_stores) {
		snprintf(name, sizeof(name), "%.200s's pool", s->name);
		return spec->cap ? tgt_blk_create(tgt, name, &ram, "cap", why, &s->pool) : 0;
	}
	s->pool_store = calloc(1, sizeof(*s->pool_store));
	if (!s->pool_store)
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	int error = tgt_ns_store(tgt, &s->num_made, &spec->store[0], "pool", why, s->pool_store,
				 &s->pool);
	if (error)
		return error;
	const struct bh_blk_info *info = bh_blk_info(s->pool);
	if (spec->cap > info->blocks * info->block_size)
		return tgt_fail(tgt, "cap", why, -EINVAL, "cap=: the pool has %llu bytes only",
				(unsigned long long)(info->blocks * info->block_size));
	return 0;
}

/* Its file in the state's directory; "" where there is none. */
static int state_path(struct bh_tgt *tgt, const struct subsys *s, char *path, size_t size,
		      char *why)
{
	int n = 0;

	path[0] = '\0';
	if (!tgt->state_dir)
		return 0;
	if (tgt->is_confined)
		return tgt_fail(tgt, "name", why, -EPERM,
				"a subsystem's state is a file to be opened, which --sandbox "
				"forbids");
	if (!strchr(s->name, '/'))
		n = snprintf(path, size, "%s/subsys-%s", tgt->state_dir, s->name);
	if (n <= 0 || (size_t)n >= size)
		return tgt_fail(tgt, "name", why, -EINVAL, "'%s': no name for a file in %s",
				s->name, tgt->state_dir);
	return 0;
}

static int build(struct bh_tgt *tgt, struct subsys *s, const struct bh_tgt_spec *spec, char *why)
{
	struct make make = { .subsys = s };
	char nqn[224], path[4096];

	bh_target_subsys_opts_init(&make.opts);
	snprintf(nqn, sizeof(nqn), "nqn.2026-01.io.bellhop:%s", s->name);
	make.opts.nqn = s->spec.nqn ? s->spec.nqn : nqn;
	make.opts.serial = s->spec.serial;
	make.opts.model = s->spec.model ? s->spec.model : make.opts.model;
	make.opts.control = tgt->control;
	make.opts.log = tgt->log;
	for (const struct subsys *other = tgt->subsystems; other; other = other->next) {
		if (strcmp(bh_target_subsys_nqn(other->handle), make.opts.nqn) == 0)
			return tgt_fail(tgt, "nqn", why, -EEXIST, "%s: the NQN of subsystem '%s'",
					make.opts.nqn, other->name);
	}
	int error = state_path(tgt, s, path, sizeof(path), why);
	if (!error)
		error = get_pool(tgt, s, spec, why);
	if (error)
		return error;
	make.opts.state = path[0] ? path : NULL;
	make.opts.pool = s->pool;
	make.opts.capacity = spec->cap;
	bh_reactor_call(tgt->control, make_on_control, &make);
	if (make.error && path[0])
		return tgt_fail(tgt, "name", why, make.error, "subsystem '%s': %s: %s", s->name,
				path, strerror(-make.error));
	return make.error ? tgt_fail(tgt, "nqn", why, make.error, "subsystem '%s': %s", s->name,
				     strerror(-make.error))
			  : 0;
}

int bh_tgt_subsys_create(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char why[BH_TGT_WHY])
{
	struct subsys **link = &tgt->subsystems;

	why[0] = '\0';
	if (tgt_subsys_find(tgt, spec->name))
		return tgt_fail(tgt, "name", why, -EEXIST, "subsystem '%s' exists already",
				spec->name);
	if (strlen(spec->name) > 190)
		return tgt_fail(tgt, "name", why, -EINVAL,
				"a subsystem's name has at most 190 characters");
	struct subsys *s = calloc(1, sizeof(*s));
	if (!s || !(s->name = strdup(spec->name)) || tgt_spec_copy(&s->spec, spec) != 0) {
		if (s)
			free(s->name);
		free(s);
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	}
	int error = build(tgt, s, spec, why);
	if (error) {
		subsys_free(tgt, s);
		return error;
	}
	if (tgt->is_restored)
		bh_reactor_call(tgt->control, restored_on_control, s);
	while (*link)
		link = &(*link)->next;
	*link = s;
	return 0;
}

int bh_tgt_subsys_destroy(struct bh_tgt *tgt, const char *name, char why[BH_TGT_WHY])
{
	why[0] = '\0';
	for (struct subsys **link = &tgt->subsystems; *link; link = &(*link)->next) {
		struct subsys *s = *link, *next = s->next;

		if (strcmp(s->name, name) != 0)
			continue;
		int error = subsys_free(tgt, s);
		if (error)
			return tgt_fail(tgt, "name", why, error,
					"subsystem '%s' has controllers, or a namespace that is "
					"leaving",
					name);
		*link = next;
		return 0;
	}
	return tgt_fail(tgt, "name", why, -ENOENT, "there is no subsystem '%s'", name);
}

void tgt_subsystems_free(struct bh_tgt *tgt)
{
	while (tgt->subsystems) {
		struct subsys *s = tgt->subsystems;

		tgt->subsystems = s->next;
		subsys_free(tgt, s);
	}
}

/* ---- namespaces ---- */

struct change {
	struct bh_target_subsys *handle;
	struct bh_target_subsys_ns_opts opts;
	struct ns_call *call;
	uint32_t nsid;
	int result;
};

static void create_on_control(void *arg)
{
	struct change *change = arg;

	change->result = bh_target_subsys_ns_create(change->handle, &change->opts);
}

static void delete_on_control(void *arg)
{
	struct change *change = arg;

	change->result = bh_target_subsys_ns_delete(change->handle, change->nsid, tgt_call_done,
						    change->call);
}

static int say_create(struct bh_tgt *tgt, int error, uint32_t nsid, char *why)
{
	if (error == -EEXIST)
		return tgt_fail(tgt, "nsid", why, error, "nsid=%u is taken", nsid);
	if (error == -ENOSPC)
		return tgt_fail(tgt, "nsid", why, error, "all namespace ids are taken");
	return tgt_fail(tgt, "store", why, error, "the namespace cannot be created: %s",
			strerror(-error));
}

struct ns *tgt_find_leaving(struct ns *first, uint32_t nsid)
{
	while (first && (first->nsid != nsid || !first->leaving))
		first = first->next;
	return first;
}

void tgt_subsys_keep(struct subsys *s, struct ns *ns)
{
	struct ns **link = &s->ns;

	while (*link)
		link = &(*link)->next;
	*link = ns;
}

static int create_of_store(struct bh_tgt *tgt, struct subsys *s, const struct bh_tgt_ns_spec *spec,
			   char *why)
{
	struct change change = { .handle = s->handle,
				 .opts = { .size = sizeof(change.opts),
					   .nsid = spec->nsid,
					   .is_private = spec->is_private } };
	struct ns *ns = calloc(1, sizeof(*ns));
	struct bh_blk *blk = NULL;

	if (!ns)
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	int error = tgt_ns_store(tgt, &s->num_made, spec->store, "store", why, ns, &blk);
	if (!error) {
		change.opts.blk = blk;
		bh_reactor_call(tgt->control, create_on_control, &change);
		error = change.result < 0 ? say_create(tgt, change.result, spec->nsid, why) : 0;
	}
	bh_blk_put(blk);
	if (error) {
		tgt_ns_free(ns);
		return error;
	}
	ns->nsid = (uint32_t)change.result;
	tgt_subsys_keep(s, ns);
	return change.result;
}

static void made(void *arg, int result)
{
	struct ns_call *call = arg;

	call->error = result;
	tgt_call_done(call);
}

static void make_ns_on_control(void *arg)
{
	struct change *change = arg;
	int rc = bh_target_subsys_ns_make(change->handle, &change->opts, made, change->call);

	if (rc)
		made(change->call, rc);
}

int tgt_say_make(struct bh_tgt *tgt, int error, uint32_t nsid, char *why)
{
	if (error == -ENOSPC)
		return tgt_fail(tgt, "size", why, error,
				"the subsystem has no room for it (in one piece)");
	if (error == -EINVAL)
		return tgt_fail(
			tgt, "size", why, error,
			"size and bs must be blocks of the pool's, offset a multiple of 4K");
	if (error == -ENOSYS)
		return tgt_fail(tgt, "ms", why, -ENOTSUP,
				"the pool has no place for metadata: it has to be in memory, or in "
				"a file, with --state");
	if (error == -EOPNOTSUPP)
		return tgt_fail(tgt, NULL, why, error, "the pool's store cannot be zeroed");
	return say_create(tgt, error, nsid, why);
}

static int create_of_pool(struct bh_tgt *tgt, struct subsys *s, const struct bh_tgt_ns_spec *spec,
			  char *why)
{
	struct change change = { .handle = s->handle,
				 .call = tgt_ns_call_new(tgt, NULL, NULL, spec->nsid),
				 .opts = { .size = sizeof(change.opts),
					   .nsid = spec->nsid,
					   .is_private = spec->is_private,
					   .has_uuid = spec->has_uuid,
					   .bytes = spec->bytes,
					   .block_size = spec->block_size,
					   .md_bytes = spec->md_bytes,
					   .pi = spec->pi,
					   .pi_first = spec->pi_first,
					   .interleaved = spec->interleaved,
					   .has_offset = spec->has_offset,
					   .offset = spec->offset } };

	if (!change.call)
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	memcpy(change.opts.uuid, spec->uuid, sizeof(change.opts.uuid));
	bh_reactor_call(tgt->control, make_ns_on_control, &change);
	if (tgt->wake && !tgt_ns_wait(tgt, change.call)) {
		change.call->next = tgt->making;
		tgt->making = change.call;
		return tgt_fail(tgt, NULL, why, -EINPROGRESS, "the namespace is being zeroed");
	}
	if (!tgt->wake)
		tgt_wait(&change.call->done);
	int result = change.call->error;
	tgt_ns_call_free(change.call);
	return result < 0 ? tgt_say_make(tgt, result, spec->nsid, why) : result;
}

int bh_tgt_ns_create(struct bh_tgt *tgt, const struct bh_tgt_ns_spec *spec, char why[BH_TGT_WHY])
{
	struct subsys *s = tgt_subsys_find(tgt, spec->subsys);

	why[0] = '\0';
	if (!s)
		return tgt_fail(tgt, "subsys", why, -ENOENT, "there is no subsystem '%s'",
				spec->subsys);
	tgt_reap(tgt);
	return spec->store ? create_of_store(tgt, s, spec, why) : create_of_pool(tgt, s, spec, why);
}

/* The record of a namespace that goes: its own, or one for the purpose. */
static struct ns *record_of(struct subsys *s, uint32_t nsid)
{
	struct ns *ns = tgt_subsys_ns(s, nsid);

	if (ns)
		return ns;
	ns = calloc(1, sizeof(*ns));
	if (!ns)
		return NULL;
	ns->nsid = nsid;
	tgt_subsys_keep(s, ns);
	return ns;
}

static void drop_record(struct subsys *s, struct ns *ns)
{
	struct ns **link = &s->ns;

	while (*link != ns)
		link = &(*link)->next;
	*link = ns->next;
	tgt_ns_free(ns);
}

int bh_tgt_ns_delete(struct bh_tgt *tgt, const char *subsys, uint32_t nsid, char why[BH_TGT_WHY])
{
	struct subsys *s = tgt_subsys_find(tgt, subsys);
	struct change change = { .nsid = nsid };

	why[0] = '\0';
	if (!s)
		return tgt_fail(tgt, "subsys", why, -ENOENT, "there is no subsystem '%s'", subsys);
	tgt_reap(tgt);
	if (tgt_find_leaving(s->ns, nsid) && !tgt_subsys_ns(s, nsid))
		return tgt_fail(
			tgt, "nsid", why, -EBUSY,
			"namespace %u is being deleted (by namespace.delete), and its store "
			"has not finished",
			nsid);
	struct ns *ns = record_of(s, nsid);
	change.handle = s->handle;
	change.call = ns ? tgt_ns_call_new(tgt, NULL, NULL, nsid) : NULL;
	if (!change.call)
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	bh_reactor_call(tgt->control, delete_on_control, &change);
	if (change.result) {
		tgt_ns_call_free(change.call);
		drop_record(s, ns);
		return tgt_fail(tgt, "nsid", why, change.result, "there is no namespace %u", nsid);
	}
	ns->leaving = change.call;
	if (!tgt_ns_wait(tgt, change.call))
		return tgt_fail(tgt, NULL, why, -EINPROGRESS,
				"namespace %u is hidden, and goes when its store has finished",
				nsid);
	drop_record(s, ns);
	return 0;
}

/* ---- lists ---- */

struct look {
	struct subsys *subsys;
	struct bh_tgt_subsys_ns_info *info;
	unsigned int count;
	struct bh_tgt_subsys_info *one;
};

static void look_on_control(void *arg)
{
	struct look *look = arg;

	bh_target_subsys_capacity(look->subsys->handle, &look->one->capacity,
				  &look->one->unallocated);
	for (uint32_t nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		struct bh_tgt_subsys_ns_info *info = &look->info[look->count];
		const struct ns *ns = tgt_subsys_ns(look->subsys, nsid);

		if (bh_target_subsys_ns_info(look->subsys->handle, nsid, &info->now) != 0)
			continue;
		info->nsid = nsid;
		info->spec = ns ? &ns->spec : NULL;
		look->count++;
	}
}

int bh_tgt_subsystems(struct bh_tgt *tgt, bh_tgt_subsys_fn fn, void *ctx)
{
	struct bh_tgt_subsys_ns_info *info = calloc(BH_TARGET_NVME_MAX_NS, sizeof(*info));

	if (!info)
		return -ENOMEM;
	tgt_reap(tgt);
	for (struct subsys *s = tgt->subsystems; s; s = s->next) {
		struct look look = { .subsys = s, .info = info };
		struct bh_tgt_subsys_info one = { .name = s->name,
						  .spec = &s->spec,
						  .nqn = bh_target_subsys_nqn(s->handle),
						  .pool = s->pool_store ? &s->pool_store->spec
									: NULL,
						  .pool_now = s->pool ? bh_blk_info(s->pool) : NULL,
						  .ns = info };

		look.one = &one;
		bh_reactor_call(tgt->control, look_on_control, &look);
		one.num_ns = look.count;
		fn(ctx, &one);
	}
	free(info);
	return 0;
}

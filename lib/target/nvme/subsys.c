/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Subsystems: controllers that share namespaces.
 *
 * A namespace here is a struct tn_space: an id, a store, an identity. It is allocated while it is in
 * the subsystem's table, and each controller it is attached to has a struct tn_ns of its own, with
 * channels to the store on that controller's threads (ns.c). So all that is shared is here, none of
 * it is looked at by a poll thread, and nothing is locked: all controllers of a subsystem have one
 * control thread.
 *
 * Who uses a namespace holds it: each attachment from before it opens until it is closed. One that
 * is deleted leaves the table with its last attachment. The namespaces of a controller without a
 * subsystem, whose subsystem is implied, go with their attachment; so does one whose first
 * attachment, for which it was made, comes to nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "target/nvme/control.h"
#include "target/nvme/subsys.h"

#define DEFAULT_MODEL "Bellhop NVMe Controller"

/* ---- life ---- */

void tn_serial_of(const char *text, char serial[21])
{
	uint64_t hash = 0xcbf29ce484222325ull; /* FNV-1a */

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3ull;
	snprintf(serial, 21, "BH%016llX", (unsigned long long)hash);
}

void bh_target_subsys_opts_init(struct bh_target_subsys_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->model = DEFAULT_MODEL;
}

static uint64_t pool_bytes(const struct bh_target_subsys_opts *o)
{
	const struct bh_blk_info *info = o->pool ? bh_blk_info(o->pool) : NULL;
	uint64_t all = info ? info->blocks * info->block_size : 0;

	return (o->capacity ? o->capacity : all) / TN_POOL_UNIT * TN_POOL_UNIT;
}

/* NULL, or what is wrong. */
static const char *check_opts(const struct bh_target_subsys_opts *o)
{
	if (!o->nqn || strncmp(o->nqn, "nqn.", 4) != 0 || strlen(o->nqn) > 223)
		return "the subsystem NQN must begin with nqn. and have at most 223 characters";
	if (o->serial && (!o->serial[0] || strlen(o->serial) > 20))
		return "the serial number must have 1 to 20 characters";
	if (o->model && (!o->model[0] || strlen(o->model) > 40))
		return "the model must have 1 to 40 characters";
	if (!o->control)
		return "no control reactor";
	if (o->capacity && (!o->pool || o->capacity > bh_blk_info(o->pool)->blocks *
							      bh_blk_info(o->pool)->block_size))
		return "the capacity must be that of the pool, or less";
	return NULL;
}

int bh_target_subsys_create(const struct bh_target_subsys_opts *opts, struct bh_target_subsys **out)
{
	struct bh_target_subsys_opts o;
	struct bh_target_subsys *subsys;
	const char *why;
	int rc;

	*out = NULL;
	bh_target_subsys_opts_init(&o);
	memcpy(&o, opts, opts->size < sizeof(o) ? opts->size : sizeof(o));
	why = check_opts(&o);
	if (why) {
		bh_log(o.log, BH_LOG_ERROR, TN_LOG, "%s: %s", o.nqn ? o.nqn : "(no NQN)", why);
		return -EINVAL;
	}
	subsys = calloc(1, sizeof(*subsys));
	if (!subsys)
		return -ENOMEM;
	subsys->log = o.log;
	subsys->control = o.control;
	subsys->pool = o.pool ? bh_blk_get(o.pool) : NULL;
	subsys->capacity = pool_bytes(&o);
	snprintf(subsys->nqn, sizeof(subsys->nqn), "%s", o.nqn);
	snprintf(subsys->model, sizeof(subsys->model), "%s", o.model ? o.model : DEFAULT_MODEL);
	if (o.serial)
		snprintf(subsys->serial, sizeof(subsys->serial), "%s", o.serial);
	else
		tn_serial_of(o.nqn, subsys->serial);
	subsys->state_fd = -1;
	rc = o.state ? tn_subsys_state_open(subsys, o.state) : 0;
	if (rc) {
		bh_log(o.log, BH_LOG_ERROR, TN_LOG, "%s: %s: %s", o.nqn, o.state, strerror(-rc));
		bh_target_subsys_destroy(subsys);
		return rc;
	}
	*out = subsys;
	return 0;
}

static void space_free(struct tn_space *space)
{
	void (*deleted)(void *arg) = space->deleted;
	void *arg = space->deleted_arg;

	space->subsys->space[space->nsid] = NULL;
	if (space->is_deleting) {
		tn_space_forget(space);
		tn_subsys_changed(space->subsys);
		if (space->pool_bytes)
			tn_pool_forget(space->blk);
	}
	bh_blk_put(space->blk);
	free(space->resv);
	free(space);
	if (deleted)
		deleted(arg);
}

int bh_target_subsys_destroy(struct bh_target_subsys *subsys)
{
	uint32_t nsid;

	if (!subsys)
		return 0;
	if (subsys->num_ctrls)
		return -EBUSY;
	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		if (subsys->space[nsid])
			tn_wipe_cancel(subsys->space[nsid]);
		if (subsys->space[nsid] && subsys->space[nsid]->users)
			return -EBUSY;
	}
	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		if (subsys->space[nsid])
			space_free(subsys->space[nsid]);
	}
	tn_sanitize_stop(subsys);
	tn_subsys_state_close(subsys);
	bh_blk_put(subsys->pool);
	free(subsys);
	return 0;
}

void bh_target_subsys_capacity(const struct bh_target_subsys *subsys, uint64_t *total,
			       uint64_t *free_bytes)
{
	*total = subsys->capacity;
	*free_bytes = subsys->capacity - tn_pool_used(subsys);
}

const char *bh_target_subsys_nqn(const struct bh_target_subsys *subsys)
{
	return subsys->nqn;
}

/* ---- controllers ---- */

static int imply(struct bh_target_nvme *ctrl, struct bh_target_subsys **out)
{
	const struct bh_target_subsys_opts opts = {
		.size = sizeof(opts),
		.nqn = ctrl->subnqn,
		.serial = ctrl->serial,
		.model = ctrl->model,
		.control = ctrl->control,
		.log = ctrl->log,
	};
	int rc = bh_target_subsys_create(&opts, out);

	if (rc == 0)
		(*out)->is_implied = true;
	return rc;
}

int tn_subsys_join(struct bh_target_nvme *ctrl, struct bh_target_subsys *subsys)
{
	uint16_t id = 1;
	int rc = subsys ? 0 : imply(ctrl, &subsys);

	if (rc)
		return rc;
	if (subsys->control != ctrl->control)
		return -EINVAL;
	while (id <= BH_TARGET_SUBSYS_MAX_CTRLS && subsys->ctrl[id])
		id++;
	if (id > BH_TARGET_SUBSYS_MAX_CTRLS)
		return -ENOSPC;
	subsys->ctrl[id] = ctrl;
	subsys->num_ctrls++;
	ctrl->subsys = subsys;
	ctrl->cntlid = id;
	ctrl->refusal = subsys->refusal;
	snprintf(ctrl->subnqn, sizeof(ctrl->subnqn), "%s", subsys->nqn);
	snprintf(ctrl->serial, sizeof(ctrl->serial), "%s", subsys->serial);
	snprintf(ctrl->model, sizeof(ctrl->model), "%s", subsys->model);
	tn_path_begins(ctrl);
	return 0;
}

void tn_subsys_leave(struct bh_target_nvme *ctrl)
{
	struct bh_target_subsys *subsys = ctrl->subsys;

	if (!subsys)
		return;
	tn_ns_ops_leave(ctrl);
	tn_resv_leave(ctrl);
	tn_sanitize_leave(ctrl);
	ctrl->subsys = NULL;
	subsys->ctrl[ctrl->cntlid] = NULL;
	subsys->num_ctrls--;
	if (subsys->is_implied)
		bh_target_subsys_destroy(subsys);
}

/* ---- identity ---- */

/* UUIDv5 of (subsystem NQN, store name): the same disk after a restart. */
static void derive_uuid(const struct bh_target_subsys *subsys, const char *name, uint8_t out[16])
{
	uuid_t space;

	uuid_generate_sha1(space, *uuid_get_template("url"), subsys->nqn, strlen(subsys->nqn));
	uuid_generate_sha1(out, space, name, strlen(name));
}

bool tn_uuid_is_taken(const struct bh_target_subsys *subsys, const uint8_t uuid[16])
{
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		if (subsys->space[nsid] && !memcmp(subsys->space[nsid]->uuid, uuid, 16))
			return true;
	}
	return false;
}

/*
 * Two namespaces of a subsystem never share an identity, hosts refuse that: the id then goes into
 * the name.
 */
static void choose_uuid(struct tn_space *space, const struct bh_target_subsys_ns_opts *o)
{
	const struct bh_blk_info *info = bh_blk_info(space->blk);
	char name[300];

	if (o->has_uuid)
		memcpy(space->uuid, o->uuid, sizeof(space->uuid));
	else if (uuid_is_null(info->uuid))
		derive_uuid(space->subsys, info->name, space->uuid);
	else
		memcpy(space->uuid, info->uuid, sizeof(space->uuid));
	if (tn_uuid_is_taken(space->subsys, space->uuid)) {
		snprintf(name, sizeof(name), "%s#%u", info->name, space->nsid);
		derive_uuid(space->subsys, name, space->uuid);
	}
}

/* ---- namespaces ---- */

struct tn_space *tn_space_get(const struct bh_target_subsys *subsys, uint32_t nsid)
{
	struct tn_space *space =
		nsid >= 1 && nsid <= BH_TARGET_NVME_MAX_NS ? subsys->space[nsid] : NULL;

	return space && !space->is_deleting && !space->is_making ? space : NULL;
}

static uint32_t lowest_free(const struct bh_target_subsys *subsys)
{
	uint32_t nsid = 1;

	while (nsid <= BH_TARGET_NVME_MAX_NS && subsys->space[nsid])
		nsid++;
	return nsid;
}

int tn_space_new(struct bh_target_subsys *subsys, const struct bh_target_subsys_ns_opts *o,
		 struct tn_space **out)
{
	uint32_t block_size = bh_blk_info(o->blk)->block_size;
	uint32_t nsid = o->nsid ? o->nsid : lowest_free(subsys);
	struct tn_space *space;

	if ((block_size != 512 && block_size != 4096) || o->nsid > BH_TARGET_NVME_MAX_NS)
		return -EINVAL;
	if (nsid > BH_TARGET_NVME_MAX_NS)
		return -ENOSPC;
	if (subsys->space[nsid])
		return -EEXIST;
	if (tn_sanitize_is_running(subsys))
		return -EBUSY;
	space = calloc(1, sizeof(*space));
	if (!space)
		return -ENOMEM;
	space->subsys = subsys;
	space->nsid = nsid;
	space->blk = bh_blk_get(o->blk);
	space->is_private = o->is_private;
	choose_uuid(space, o);
	subsys->space[nsid] = space;
	tn_space_restore(space);
	*out = space;
	return 0;
}

int bh_target_subsys_ns_create(struct bh_target_subsys *subsys,
			       const struct bh_target_subsys_ns_opts *opts)
{
	struct bh_target_subsys_ns_opts o = { 0 };
	struct tn_space *space;
	int rc;

	memcpy(&o, opts, opts->size < sizeof(o) ? opts->size : sizeof(o));
	rc = tn_space_new(subsys, &o, &space);
	return rc ? rc : (int)space->nsid;
}

/* The same disk by another path: a namespace of that store which the controller has not. */
static struct tn_space *same_store(const struct bh_target_nvme *ctrl, const struct bh_blk *blk)
{
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		struct tn_space *space = tn_space_get(ctrl->subsys, nsid);

		if (space && space->blk == blk && !ctrl->ns[nsid])
			return space;
	}
	return NULL;
}

int tn_space_find(struct bh_target_nvme *ctrl, struct bh_blk *blk, uint32_t nsid,
		  struct tn_space **out)
{
	const struct bh_target_subsys_ns_opts opts = { .blk = blk, .nsid = nsid };
	struct tn_space *space;
	int rc;

	if (nsid > BH_TARGET_NVME_MAX_NS)
		return -EINVAL;
	space = nsid ? tn_space_get(ctrl->subsys, nsid) : same_store(ctrl, blk);
	if (!space && !blk)
		return -ENOENT;
	if (space) {
		if ((blk && space->blk != blk) || ctrl->ns[space->nsid] ||
		    (space->is_private && space->users))
			return -EEXIST;
		*out = space;
		return 0;
	}
	rc = tn_space_new(ctrl->subsys, &opts, out);
	if (rc == 0)
		(*out)->is_passing = true;
	return rc;
}

void tn_space_hold(struct tn_space *space)
{
	space->users++;
}

void tn_space_release(struct tn_space *space)
{
	if (!--space->users && (space->is_passing || space->is_deleting))
		space_free(space);
}

int bh_target_subsys_ns_delete(struct bh_target_subsys *subsys, uint32_t nsid,
			       void (*done)(void *arg), void *arg)
{
	struct tn_space *space = tn_space_get(subsys, nsid);
	unsigned int id;

	if (!space)
		return -ENOENT;
	space->is_deleting = true;
	space->deleted = done;
	space->deleted_arg = arg;
	tn_space_hold(space); /* until all have been told */
	for (id = 1; id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++) {
		if (subsys->ctrl[id])
			tn_ns_detach(subsys->ctrl[id], nsid, NULL, NULL);
	}
	tn_space_release(space);
	return 0;
}

int bh_target_subsys_ns_info(const struct bh_target_subsys *subsys, uint32_t nsid,
			     struct bh_target_subsys_ns_info *info)
{
	const struct tn_space *space = tn_space_get(subsys, nsid);
	unsigned int id;

	if (!space)
		return -ENOENT;
	info->block_size = 1u << tn_space_shift(space);
	info->md_bytes = bh_blk_info(space->blk)->format.md_bytes;
	info->pi = bh_blk_info(space->blk)->format.pi;
	info->pi_first = bh_blk_info(space->blk)->format.pi_first;
	info->interleaved = bh_blk_info(space->blk)->format.interleaved;
	info->blocks = tn_space_blocks(space);
	memcpy(info->uuid, space->uuid, sizeof(info->uuid));
	info->is_private = space->is_private;
	info->is_pooled = space->pool_bytes != 0;
	info->offset = space->pool_first;
	info->ctrls = 0;
	for (id = 1; id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++) {
		if (subsys->ctrl[id] && tn_ns_get(subsys->ctrl[id], nsid))
			info->ctrls |= 1ull << (id - 1);
	}
	return 0;
}

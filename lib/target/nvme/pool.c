/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A subsystem's capacity: namespaces that are slices of one store, the pool.
 *
 * A namespace takes the first run of bytes that is long enough; runs begin and end at multiples of
 * TN_POOL_UNIT. There is no table of what is free: that is what lies between the namespaces. Since a
 * namespace is in one piece, less than UNVMCAP may be had for a single one.
 *
 * What a namespace is made of may have been another's. So it is zeroed before anybody sees it, in
 * steps between which the control thread does other things; until then its id and its room are
 * taken, and it is not there (is_making). One that is put back where it lay, at an offset that
 * somebody has kept, keeps its contents.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "target/nvme/control.h"
#include "target/nvme/subsys.h"

struct tn_wipe {
	struct tn_space *space;
	struct tn_erase *erase;
	void (*done)(void *arg, int result);
	void *arg;
};

/* It is made, or not. */
static void wipe_end(struct tn_wipe *wipe, int error)
{
	struct tn_space *space = wipe->space;
	void (*done)(void *arg, int result) = wipe->done;
	void *arg = wipe->arg;
	int nsid = (int)space->nsid;

	tn_erase_stop(wipe->erase);
	free(wipe);
	space->wipe = NULL;
	space->is_making = false;
	space->is_deleting = error != 0;
	if (!error)
		tn_subsys_changed(space->subsys);
	tn_space_release(space);
	done(arg, error ? error : nsid);
}

static bool wipe_goes_on(void *arg, uint64_t bytes)
{
	(void)arg;
	(void)bytes;
	return true;
}

static void wiped(void *arg, int error)
{
	struct tn_wipe *wipe = arg;

	wipe->erase = NULL;
	wipe_end(wipe, error);
}

static int wipe_begin(struct tn_space *space, void (*done)(void *arg, int result), void *arg)
{
	const struct bh_blk_info *info = bh_blk_info(space->blk);
	struct tn_wipe *wipe = calloc(1, sizeof(*wipe));
	const struct tn_erase_opts opts = { .control = space->subsys->control,
					    .blk = space->blk,
					    .bytes = info->blocks * info->block_size,
					    .progress = wipe_goes_on,
					    .done = wiped,
					    .arg = wipe };
	int rc;

	if (!wipe)
		return -ENOMEM;
	wipe->space = space;
	wipe->done = done;
	wipe->arg = arg;
	rc = tn_erase_start(&opts, &wipe->erase);
	if (rc) {
		free(wipe);
		return rc;
	}
	space->wipe = wipe;
	return 0;
}

void tn_wipe_cancel(struct tn_space *space)
{
	if (space->wipe)
		wipe_end(space->wipe, -ECANCELED);
}

/* ---- room ---- */

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + TN_POOL_UNIT - 1) / TN_POOL_UNIT * TN_POOL_UNIT;
}

uint64_t tn_pool_used(const struct bh_target_subsys *subsys)
{
	uint64_t used = 0;
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		if (subsys->space[nsid])
			used += subsys->space[nsid]->pool_bytes;
	}
	return used;
}

/* The namespace that [first, first + bytes) runs into, or NULL. */
static const struct tn_space *in_the_way(const struct bh_target_subsys *subsys, uint64_t first,
					 uint64_t bytes)
{
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		const struct tn_space *space = subsys->space[nsid];

		if (space && space->pool_bytes && space->pool_first < first + bytes &&
		    first < space->pool_first + space->pool_bytes)
			return space;
	}
	return NULL;
}

/* The lowest room for so many bytes; false: there is none in one piece. */
static bool find_room(const struct bh_target_subsys *subsys, uint64_t bytes, uint64_t *first)
{
	const struct tn_space *other;

	*first = 0;
	while (*first <= subsys->capacity && bytes <= subsys->capacity - *first) {
		other = in_the_way(subsys, *first, bytes);
		if (!other)
			return true;
		*first = other->pool_first + other->pool_bytes;
	}
	return false;
}

static int check_make(const struct bh_target_subsys *subsys,
		      const struct bh_target_subsys_ns_opts *o, uint64_t bytes)
{
	const struct bh_blk_format format = { .block_size = o->block_size,
					      .md_bytes = o->md_bytes,
					      .pi = o->pi };
	struct bh_blk like;

	if (!subsys->pool)
		return -ENOSPC;
	tn_pool_like(subsys, &like);
	switch (bh_blk_format_check(&like, &format)) {
	case 0:
		break;
	case -EOPNOTSUPP:
		return o->md_bytes && like.beside < BH_BLK_BESIDE_MEMORY ? -ENOSYS : -EINVAL;
	default:
		return -EINVAL;
	}
	if (!o->bytes || o->bytes % o->block_size || o->nsid > BH_TARGET_NVME_MAX_NS ||
	    (o->has_offset && o->offset % TN_POOL_UNIT))
		return -EINVAL;
	if (!o->has_offset &&
	    !(bh_blk_info(subsys->pool)->caps & (BH_BLK_CAP_WRITE_ZEROES | BH_BLK_CAP_DEALLOCATE)))
		return -EOPNOTSUPP;
	if (bytes < o->bytes || bytes > subsys->capacity ||
	    (o->has_offset &&
	     (o->offset > subsys->capacity - bytes || in_the_way(subsys, o->offset, bytes))))
		return -ENOSPC;
	return 0;
}

/* Its place in the pool, which is a store. */
static int cut(struct bh_target_subsys *subsys, const struct bh_target_subsys_ns_opts *o,
	       struct tn_space **out)
{
	struct bh_target_subsys_ns_opts made = *o;
	uint64_t first = o->offset, bytes = round_up(o->bytes);
	struct bh_blk *slice;
	int rc = check_make(subsys, o, bytes);

	if (rc)
		return rc;
	if (!o->has_offset && !find_room(subsys, bytes, &first))
		return -ENOSPC;
	/* Never one of a namespace that was, nor of one that is, whose metadata would be lost. */
	if (!o->has_uuid || tn_uuid_is_taken(subsys, o->uuid))
		uuid_generate_random(made.uuid);
	made.has_uuid = true;
	rc = tn_pool_slice(subsys, first, &made, &slice);
	if (rc)
		return rc;
	made.blk = slice;
	rc = tn_space_new(subsys, &made, out);
	if (rc && !o->has_offset)
		tn_pool_forget(slice);
	bh_blk_put(slice);
	if (rc)
		return rc;
	(*out)->pool_first = first;
	(*out)->pool_bytes = bytes;
	return 0;
}

static bool is_there(const struct bh_target_subsys *subsys,
		     const struct bh_target_subsys_ns_opts *o)
{
	const struct tn_space *space = tn_space_get(subsys, o->nsid);

	return space && o->has_offset && o->has_uuid && space->pool_bytes &&
	       space->pool_first == o->offset &&
	       tn_space_blocks(space) << tn_space_shift(space) == o->bytes &&
	       1u << tn_space_shift(space) == o->block_size &&
	       !memcmp(space->uuid, o->uuid, sizeof(o->uuid));
}

int bh_target_subsys_ns_make(struct bh_target_subsys *subsys,
			     const struct bh_target_subsys_ns_opts *opts,
			     void (*done)(void *arg, int result), void *arg)
{
	struct bh_target_subsys_ns_opts o = { 0 };
	struct tn_space *space;
	int rc;

	memcpy(&o, opts, opts->size < sizeof(o) ? opts->size : sizeof(o));
	if (is_there(subsys, &o)) { /* the state has brought it back */
		done(arg, (int)o.nsid);
		return 0;
	}
	rc = cut(subsys, &o, &space);
	if (rc)
		return rc;
	if (o.has_offset) {
		tn_subsys_changed(subsys);
		done(arg, (int)space->nsid);
		return 0;
	}
	space->is_making = true;
	tn_space_hold(space);
	rc = wipe_begin(space, done, arg);
	if (rc) {
		space->is_deleting = true;
		tn_space_release(space);
	}
	return rc;
}

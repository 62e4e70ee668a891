/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controllers, and what they are made of: a world is there from its first input on, for all that
 * follow.
 *
 * What an input has changed of a world beyond the life of its client is undone before the next one:
 * sizes, formats, zones, unreadable blocks, namespaces. Data stay: no input can know which.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/fault.h>
#include <bellhop/poll.h>
#include <bellhop/target_subsys.h>
#include <bellhop/zones.h>

#include "fuzz.h"
#include "target/nvme/subsys.h"

#define ZONE_BYTES 65536u
#define PATIENCE_MS 5000u

struct world {
	struct bh_target_nvme *ctrl[FZ_CLIENTS];
	struct bh_target_subsys *subsys; /* FZ_SHARED */
	struct bh_blk *pool;
	struct bh_blk *blk[FZ_NS + 1];
	struct bh_blk_format format[FZ_NS + 1]; /* as they were made */
};

struct bh_target_nvme *fz_target;
struct bh_blk *fz_blk[FZ_NS + 1];

static struct bh_reactor *control, *worker[2];
static struct world worlds[FZ_WORLDS];
static enum fz_world here;
static char directory[64];

bool fz_turn(void)
{
	bool moved = bh_reactor_run_once(control) > 0;

	moved |= bh_reactor_run_once(worker[0]) > 0;
	moved |= bh_reactor_run_once(worker[1]) > 0;
	return moved;
}

void fz_path(unsigned int which, char path[FZ_PATH])
{
	snprintf(path, FZ_PATH, "%.48s/%u.%u", directory, (unsigned int)here, which);
}

/* ---- stores ---- */

static struct bh_blk *new_store(const struct bh_blk_type *type, struct bh_blk_spec spec)
{
	char why[256] = "";
	struct bh_blk *blk;

	spec.arg = "1M";
	if (type->create(&spec, type->name, NULL, why, &blk) != 0)
		fz_failed(why);
	return blk;
}

static void set_format(struct bh_blk *blk, const struct bh_blk_format *format)
{
	struct blk_media *media;

	if (bh_blk_format_prepare(blk, format, &media) != 0 ||
	    bh_blk_format_commit(blk, media) != 0)
		fz_failed("no such format");
}

static void new_stores(struct bh_blk *blk[FZ_NS + 1])
{
	const struct bh_blk_zoned zones = { ZONE_BYTES, ZONE_BYTES * 3 / 4, 2, 3 };
	struct bh_blk_spec small = { .block_size = 512 }, large = { .block_size = 4096 };
	struct bh_blk_spec held = small;

	if (here == FZ_META) {
		small.md_bytes = held.md_bytes = 8;
		large.md_bytes = 64;
		small.pi = 1;
		large.pi = 2;
	} else if (here == FZ_ZONED) {
		small.zoned = large.zoned = held.zoned = zones;
	}
	blk[1] = new_store(&bh_blk_ram_type, small);
	blk[2] = here == FZ_META
			 ? new_store(&bh_blk_ram_type, large)
			 : new_store(&bh_blk_null_type, (struct bh_blk_spec){ .block_size = 4096 });
	blk[3] = fz_store_new(false, here == FZ_PLAIN ? NULL : &held);
	blk[4] = fz_store_new(true, here == FZ_PLAIN ? NULL : &held);
	blk[5] = new_store(&bh_blk_ram_type, large);
	if (here != FZ_META)
		return;
	set_format(blk[4], &(struct bh_blk_format){ 512, 16, 3, true, false });
	set_format(blk[5], &(struct bh_blk_format){ 4096, 16, 1, false, true });
}

/* ---- worlds ---- */

static void new_controller(struct world *w, unsigned int which)
{
	struct bh_target_nvme_opts opts;
	char path[FZ_PATH];

	fz_path(which, path);
	bh_target_nvme_opts_init(&opts);
	opts.path = path;
	opts.control = control;
	opts.threads = worker;
	opts.num_threads = 2;
	opts.queues = 4;
	opts.depth = 64;
	opts.doorbells = BH_DOORBELLS_TRAPPED;
	opts.mdts = 64 << 10;
	opts.cmb_bytes = FZ_CMB_BYTES;
	opts.subsys = w->subsys;
	if (bh_target_nvme_create(&opts, &w->ctrl[which]) != 0)
		fz_failed("no controller");
}

static void attach(struct world *w, uint32_t nsid)
{
	if (bh_target_nvme_ns_attach(w->ctrl[0], w->blk[nsid], nsid) != (int)nsid)
		fz_failed("a namespace does not come back");
}

/* Those of a subsystem are its own, and its second controller's too. */
static void populate(struct world *w)
{
	struct bh_target_subsys_ns_opts opts = { .size = sizeof(opts) };

	for (uint32_t nsid = 1; nsid <= FZ_NS; nsid++) {
		opts.blk = w->blk[nsid];
		opts.nsid = nsid;
		if (w->subsys && bh_target_subsys_ns_create(w->subsys, &opts) != (int)nsid)
			fz_failed("a namespace cannot be made again");
		attach(w, nsid);
		if (w->subsys && bh_target_nvme_ns_attach(w->ctrl[1], NULL, nsid) != (int)nsid)
			fz_failed("a namespace is not shared");
	}
}

/* Of the subsystem: what it keeps there it may do. */
static const char *state_path(void)
{
	static char path[FZ_PATH];

	snprintf(path, sizeof(path), "%.48s/state", directory);
	return path;
}

static void new_world(struct world *w)
{
	struct bh_target_subsys_opts opts;

	new_stores(w->blk);
	for (uint32_t nsid = 1; nsid <= FZ_NS; nsid++)
		w->format[nsid] = bh_blk_info(w->blk[nsid])->format;
	if (here == FZ_SHARED) {
		w->pool = new_store(&bh_blk_ram_type, (struct bh_blk_spec){ .block_size = 512 });
		bh_target_subsys_opts_init(&opts);
		opts.nqn = "nqn.2026-01.io.bellhop:fuzz";
		opts.control = control;
		opts.pool = w->pool;
		opts.state = state_path();
		if (bh_target_subsys_create(&opts, &w->subsys) != 0)
			fz_failed("no subsystem");
		new_controller(w, 1);
	}
	new_controller(w, 0);
	populate(w);
}

void fz_enter(enum fz_world world)
{
	struct world *w = &worlds[world];

	here = world;
	if (!w->ctrl[0])
		new_world(w);
	fz_target = w->ctrl[0];
	memcpy(fz_blk, w->blk, sizeof(fz_blk));
}

unsigned int fz_num_worlds(void)
{
	unsigned int n = 0;

	for (int i = 0; i < FZ_WORLDS; i++)
		n += worlds[i].ctrl[0] != NULL;
	return n;
}

enum fz_world fz_here(void)
{
	return here;
}

static void tidy_up(void)
{
	for (int i = 0; i < FZ_WORLDS; i++) {
		struct world *w = &worlds[i];

		for (unsigned int k = 0; k < FZ_CLIENTS; k++)
			bh_target_nvme_free(w->ctrl[k]);
		bh_target_subsys_destroy(w->subsys);
		bh_blk_put(w->pool);
		for (uint32_t nsid = 1; nsid <= FZ_NS; nsid++)
			bh_blk_put(w->blk[nsid]);
	}
	unlink(state_path());
	rmdir(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *tmp = getenv("BH_TMP");
	struct bh_reactor_opts ro;

	(void)argc, (void)argv;
	snprintf(directory, sizeof(directory), "%.30s/bh-fuzz-XXXXXX",
		 tmp && strlen(tmp) < 30 ? tmp : "/tmp");
	if (!mkdtemp(directory))
		fz_failed("no directory");
	bh_fault_install();
	bh_reactor_opts_init(&ro);
	if (bh_reactor_create(&ro, &control) != 0 || bh_reactor_create(&ro, &worker[0]) != 0 ||
	    bh_reactor_create(&ro, &worker[1]) != 0)
		fz_failed("no reactor");
	fz_enter(FZ_PLAIN);
	fz_client_open();
	atexit(tidy_up);
	return 0;
}

/* ---- as it was ---- */

/* Turns everything, stores included, until that is so. */
static void wait_for(bool (*is_so)(struct world *w, uint32_t nsid), struct world *w, uint32_t nsid)
{
	for (unsigned int ms = 0; !is_so(w, nsid); ms++) {
		if (ms == PATIENCE_MS)
			fz_failed("it is not done with what a client has left");
		if (ms)
			usleep(1000);
		do
			fz_pump();
		while (fz_store_complete(0, 0));
	}
}

/* In, or out; not on its way, and not being formatted. */
static bool is_settled(struct world *w, uint32_t nsid)
{
	struct bh_target_nvme_ns_info info;

	return (bh_target_nvme_ns_info(w->ctrl[0], nsid, &info) != 0 || info.is_active) &&
	       !w->blk[nsid]->is_claimed && !(w->subsys && w->subsys->sanitize);
}

static bool is_claimed_now;

static void claimed(void *arg)
{
	(void)arg;
	is_claimed_now = true;
}

static bool is_ours(struct world *w, uint32_t nsid)
{
	(void)w, (void)nsid;
	return is_claimed_now;
}

static void format_again(struct world *w, uint32_t nsid)
{
	is_claimed_now = false;
	if (bh_blk_claim(w->blk[nsid], claimed, NULL) != 0)
		fz_failed("somebody has the store for ever");
	wait_for(is_ours, w, nsid);
	set_format(w->blk[nsid], &w->format[nsid]);
	bh_blk_release(w->blk[nsid], NULL, NULL);
	fz_pump();
}

static void restore_store(struct world *w, uint32_t nsid)
{
	const struct bh_blk_info *info = bh_blk_info(w->blk[nsid]);
	const struct bh_blk_format *f = &w->format[nsid];
	uint64_t lba = 0;
	uint32_t blocks;

	if (info->blocks != FZ_STORE_BYTES / info->block_size)
		bh_blk_resized(w->blk[nsid], FZ_STORE_BYTES / info->block_size);
	bh_blk_bad_clear(w->blk[nsid], 0, info->blocks);
	if (info->block_size != f->block_size || info->format.md_bytes != f->md_bytes ||
	    info->format.pi != f->pi || info->format.pi_first != f->pi_first ||
	    info->format.interleaved != f->interleaved)
		format_again(w, nsid);
	while (w->blk[nsid]->zones && bh_zones_next_used(w->blk[nsid]->zones, &lba, &blocks))
		bh_zones_reset_end(w->blk[nsid]->zones, lba);
}

/* One that has failed would refuse what comes. */
static bool forget_sanitize(struct world *w)
{
	if (!w->subsys->sanitized.outcome)
		return false;
	memset(&w->subsys->sanitized, 0, sizeof(w->subsys->sanitized));
	w->subsys->refusal = 0;
	for (unsigned int k = 0; k < FZ_CLIENTS; k++)
		w->ctrl[k]->refusal = 0;
	return true;
}

/* The namespaces are those there were, and nobody has reserved any. */
static bool is_untouched(struct world *w)
{
	struct bh_target_subsys_ns_info info;
	uint64_t total, left;

	bh_target_subsys_capacity(w->subsys, &total, &left);
	for (uint32_t nsid = 1; nsid <= FZ_NS; nsid++) {
		const struct tn_space *space = tn_space_get(w->subsys, nsid);

		if (bh_target_subsys_ns_info(w->subsys, nsid, &info) != 0 || info.ctrls != 3 ||
		    !space || (space->resv && (space->resv->count || space->resv->type)))
			return false;
	}
	return left == total;
}

/* Those there are go, one after the other; so do those that are being made. */
static bool is_empty(struct world *w, uint32_t nsid)
{
	(void)nsid;
	for (uint32_t id = 1; id <= BH_TARGET_NVME_MAX_NS; id++)
		bh_target_subsys_ns_delete(w->subsys, id, NULL, NULL);
	for (uint32_t id = 1; id <= BH_TARGET_NVME_MAX_NS; id++)
		if (w->subsys->space[id])
			return false;
	return true;
}

void fz_restore(void)
{
	struct bh_target_nvme_ns_info info;
	struct world *w = &worlds[here];
	bool is_new = false;

	fz_store_habit(FZ_LATER); /* no error for ever */
	for (uint32_t nsid = 1; nsid <= FZ_NS; nsid++)
		wait_for(is_settled, w, nsid);
	if (w->subsys && (forget_sanitize(w) || !is_untouched(w))) {
		wait_for(is_empty, w, 0);
		is_new = true;
	}
	for (uint32_t nsid = 1; nsid <= FZ_NS; nsid++) {
		restore_store(w, nsid);
		if (!w->subsys && bh_target_nvme_ns_info(w->ctrl[0], nsid, &info) != 0)
			attach(w, nsid);
	}
	if (is_new)
		populate(w);
	fz_pump();
}

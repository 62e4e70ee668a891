/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe controllers and their namespaces, created, changed and destroyed while hosts use them.
 *
 * A namespace is on its controller's list from when the control thread has taken it until it is
 * gone. What the control thread works on is an ns_call of its own, which is not freed before it is
 * done: a namespace whose store does not give its requests back in time stays on the list as
 * `leaving`, and goes when somebody looks again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bellhop/clock.h>

#include "tgt/tgt.h"

/* How long a call waits for a store. */
#define PATIENCE_NS 10000000000ull

/* ---- calls carried out on the control thread ---- */

static void call_done(void *arg)
{
	sem_post(arg);
}

static void wait_for(sem_t *done)
{
	while (sem_wait(done) != 0)
		continue;
}

struct destroy {
	struct bh_target_nvme *nvme;
	sem_t done;
};

static void destroy_on_control(void *arg)
{
	struct destroy *destroy = arg;

	bh_target_nvme_destroy(destroy->nvme, call_done, &destroy->done);
}

static void destroy_nvme(struct bh_tgt *tgt, struct bh_target_nvme *nvme)
{
	struct destroy destroy = { .nvme = nvme };

	if (!nvme)
		return;
	if (!tgt->is_running) {
		bh_target_nvme_free(nvme);
		return;
	}
	sem_init(&destroy.done, 0, 0);
	bh_reactor_call(tgt->control, destroy_on_control, &destroy);
	wait_for(&destroy.done);
	sem_destroy(&destroy.done);
}

static struct ns_call *ns_call_new(struct bh_target_nvme *nvme, struct bh_blk *blk, uint32_t nsid)
{
	struct ns_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->nvme = nvme;
	call->blk = blk;
	call->nsid = nsid;
	sem_init(&call->done, 0, 0);
	return call;
}

static void ns_call_free(struct ns_call *call)
{
	if (!call)
		return;
	sem_destroy(&call->done);
	free(call);
}

static void added(void *arg, int error)
{
	struct ns_call *call = arg;

	call->error = error;
	sem_post(&call->done);
}

static void add_on_control(void *arg)
{
	struct ns_call *call = arg;
	int nsid = bh_target_nvme_ns_add(call->nvme, call->blk, call->nsid, added, call);

	if (nsid < 0)
		added(call, nsid);
	else
		call->nsid = (uint32_t)nsid;
}

static void removed(void *arg)
{
	struct ns_call *call = arg;

	sem_post(&call->done);
}

static void remove_on_control(void *arg)
{
	struct ns_call *call = arg;

	if (bh_target_nvme_ns_detach(call->nvme, call->nsid, removed, call) != 0)
		removed(call);
}

/* ---- namespaces ---- */

static void ns_free(struct ns *ns)
{
	if (!ns)
		return;
	if (ns->shared)
		ns->shared->users--;
	ns_call_free(ns->leaving);
	bh_tgt_store_spec_fini(&ns->spec);
	free(ns);
}

/* Takes those off the list that have left meanwhile. */
static void reap(struct controller *c)
{
	struct ns **link = &c->ns;

	while (*link) {
		struct ns *ns = *link;

		if (!ns->leaving || sem_trywait(&ns->leaving->done) != 0) {
			link = &ns->next;
			continue;
		}
		*link = ns->next;
		ns_free(ns);
	}
}

void tgt_reap(struct bh_tgt *tgt)
{
	for (struct controller *c = tgt->controllers; c; c = c->next)
		reap(c);
}

/* The store of one ns=: shared by name, or one of its own, named by place and words so that its
 * UUID survives a restart. */
static int get_store(struct bh_tgt *tgt, struct controller *c, const struct bh_tgt_store_spec *spec,
		     const char *key, char *why, struct ns *ns, struct bh_blk **out)
{
	char name[sizeof(((struct bh_blk *)NULL)->name)];

	if (tgt_store_spec_copy(&ns->spec, spec) != 0)
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	if (spec->type) {
		snprintf(name, sizeof(name), "%u:%s:%s", c->num_made++, spec->type, spec->arg);
		return tgt_blk_create(tgt, name, spec, key, why, out);
	}
	struct store *store = tgt_store_find(tgt, spec->arg);
	if (!store)
		return tgt_fail(tgt, key, why, -ENOENT,
				"ns=@%s: no such store (give store:%s=... before it)", spec->arg,
				spec->arg);
	int error = tgt_check_confined(tgt, store->spec.type, true, key, why);
	if (error)
		return error;
	store->users++;
	ns->shared = store;
	*out = bh_blk_get(store->blk);
	return 0;
}

static int say_attach(struct bh_tgt *tgt, const char *key, uint32_t nsid, int error, char *why)
{
	if (error == -EEXIST)
		return tgt_fail(tgt, "nsid", why, error, "nsid=%u is taken", nsid);
	if (error == -ENOSPC)
		return tgt_fail(tgt, "nsid", why, error, "all namespace ids are taken");
	return tgt_fail(tgt, key, why, error, "the namespace cannot be attached: %s",
			strerror(-error));
}

/* Attaches blk as ns; the id, or why not. */
static int ns_attach(struct bh_tgt *tgt, struct controller *c, struct ns *ns, struct bh_blk *blk,
		     const char *key, char *why)
{
	struct ns_call *call = ns_call_new(c->nvme, blk, ns->spec.nsid);
	int error = -ENOMEM;

	if (call) {
		bh_reactor_call(tgt->control, add_on_control, call);
		/* Before the start, the poll threads open their channels when they run. */
		if (tgt->is_running)
			wait_for(&call->done);
		error = call->error;
		ns->nsid = call->nsid;
		ns_call_free(call);
	}
	return error ? say_attach(tgt, key, ns->spec.nsid, error, why) : (int)ns->nsid;
}

static int controller_attach(struct bh_tgt *tgt, struct controller *c,
			     const struct bh_tgt_store_spec *spec, const char *key, char *why)
{
	struct ns *ns = calloc(1, sizeof(*ns)), **link = &c->ns;
	struct bh_blk *blk = NULL;
	int nsid;

	if (!ns)
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	nsid = get_store(tgt, c, spec, key, why, ns, &blk);
	if (nsid == 0)
		nsid = ns_attach(tgt, c, ns, blk, key, why);
	bh_blk_put(blk);
	if (nsid < 0) {
		ns_free(ns);
		return nsid;
	}
	while (*link)
		link = &(*link)->next;
	*link = ns;
	return nsid;
}

/* ---- controllers ---- */

int tgt_pick_threads(struct bh_tgt *tgt, const struct bh_cpuset *cores, struct bh_reactor **threads,
		     unsigned int *count, char *why)
{
	unsigned int wanted = bh_cpuset_count(cores);

	*count = 0;
	for (unsigned int i = 0; i < tgt->num_threads; i++) {
		int cpu = bh_reactor_cpu(tgt->threads[i]);

		if (wanted == 0 || bh_cpuset_has(cores, (unsigned int)cpu))
			threads[(*count)++] = tgt->threads[i];
	}
	if (wanted != 0 && *count != wanted)
		return tgt_fail(tgt, "cores", why, -EINVAL,
				"cores=: names a CPU that is not one of the target's (-c)");
	return 0;
}

struct create {
	struct controller *controller;
	struct bh_target_nvme_opts opts;
	int error;
};

static void create_on_control(void *arg)
{
	struct create *create = arg;

	create->error = bh_target_nvme_create(&create->opts, &create->controller->nvme);
}

static void fill_opts(const struct bh_tgt *tgt, const struct bh_tgt_spec *spec,
		      struct bh_reactor *const *threads, unsigned int count,
		      struct bh_target_nvme_opts *opts)
{
	bh_target_nvme_opts_init(opts);
	opts->path = spec->name;
	opts->control = tgt->control;
	opts->threads = threads;
	opts->num_threads = count;
	opts->serial = spec->serial;
	opts->model = spec->model ? spec->model : opts->model;
	opts->queues = spec->queues ? spec->queues : opts->queues;
	opts->depth = spec->depth ? spec->depth : opts->depth;
	opts->dstrd = spec->dstrd;
	opts->doorbells = spec->doorbells;
	opts->mdts = spec->mdts ? spec->mdts : opts->mdts;
	opts->cmb_bytes = spec->cmb;
	opts->mode = tgt->socket_mode;
	opts->allowed_uids = tgt->socket_uids;
	opts->num_allowed_uids = tgt->num_socket_uids;
	opts->log = tgt->log;
}

static void controller_free(struct bh_tgt *tgt, struct controller *c)
{
	destroy_nvme(tgt, c->nvme);
	while (c->ns) {
		struct ns *ns = c->ns;

		c->ns = ns->next;
		ns_free(ns);
	}
	bh_tgt_spec_fini(&c->spec);
	free(c->name);
	free(c);
}

static struct controller *find(struct bh_tgt *tgt, const char *name)
{
	for (struct controller *c = tgt->controllers; c; c = c->next) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

int tgt_check_names(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char *why)
{
	const char *name = spec->alias ? spec->alias : spec->name;

	if (tgt->is_confined)
		return tgt_fail(
			tgt, "socket", why, -EPERM,
			"a controller needs a socket to be opened, which --sandbox forbids");
	if (find(tgt, name) || tgt_net_find(tgt, name))
		return tgt_fail(tgt, spec->alias ? "name" : "socket", why, -EEXIST,
				"controller '%s' exists already", name);
	for (const struct controller *c = tgt->controllers; c; c = c->next) {
		if (strcmp(c->spec.name, spec->name) == 0)
			return tgt_fail(tgt, "socket", why, -EEXIST,
					"%s: the socket of controller '%s'", spec->name, c->name);
	}
	for (const struct net *n = tgt->nets; n; n = n->next) {
		if (strcmp(n->spec.name, spec->name) == 0)
			return tgt_fail(tgt, "socket", why, -EEXIST,
					"%s: the socket of controller '%s'", spec->name, n->name);
	}
	return 0;
}

/* The controller with its namespaces, on no list yet. */
static int build(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, struct controller *c,
		 char *why)
{
	struct bh_reactor *threads[BH_TARGET_NVME_MAX_THREADS];
	struct create create = { .controller = c };
	unsigned int count;

	int error = tgt_pick_threads(tgt, &spec->cores, threads, &count, why);
	if (error)
		return error;
	fill_opts(tgt, spec, threads, count, &create.opts);
	bh_reactor_call(tgt->control, create_on_control, &create);
	if (create.error) /* What stands in the way of a socket the server has logged. */
		return tgt_fail(tgt, "socket", why, create.error, "%s: %s", spec->name,
				strerror(-create.error));
	for (unsigned int i = 0; i < spec->num_stores; i++) {
		int nsid = controller_attach(tgt, c, &spec->store[i], "ns", why);

		if (nsid < 0)
			return nsid;
	}
	return 0;
}

int bh_tgt_nvme_create(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char why[BH_TGT_WHY])
{
	const char *name = spec->alias ? spec->alias : spec->name;
	struct controller **link = &tgt->controllers;

	why[0] = '\0';
	int error = tgt_check_names(tgt, spec, why);
	if (error)
		return error;
	struct controller *c = calloc(1, sizeof(*c));
	if (!c || !(c->name = strdup(name)) || tgt_spec_copy(&c->spec, spec) != 0) {
		if (c)
			free(c->name);
		free(c);
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	}
	error = build(tgt, spec, c, why);
	if (error) {
		controller_free(tgt, c);
		return error;
	}
	while (*link)
		link = &(*link)->next;
	*link = c;
	return 0;
}

int bh_tgt_controller_destroy(struct bh_tgt *tgt, const char *name)
{
	for (struct controller **link = &tgt->controllers; *link; link = &(*link)->next) {
		struct controller *c = *link;

		if (strcmp(c->name, name) == 0) {
			*link = c->next;
			controller_free(tgt, c);
			return 0;
		}
	}
	return tgt_net_destroy(tgt, name);
}

void tgt_controllers_free(struct bh_tgt *tgt)
{
	while (tgt->controllers) {
		struct controller *c = tgt->controllers;

		tgt->controllers = c->next;
		controller_free(tgt, c);
	}
}

/* ---- namespaces of a controller that is there ---- */

int bh_tgt_ns_attach(struct bh_tgt *tgt, const char *controller,
		     const struct bh_tgt_store_spec *spec, char why[BH_TGT_WHY])
{
	struct controller *c = find(tgt, controller);

	why[0] = '\0';
	if (!c)
		return tgt_fail(tgt, "controller", why, -ENOENT, "there is no controller '%s'",
				controller);
	reap(c);
	return controller_attach(tgt, c, spec, "store", why);
}

/* True: it is done. False: it goes on without us. */
static bool wait_a_while(struct bh_tgt *tgt, struct ns_call *call)
{
	uint64_t end = bh_now_ns() + PATIENCE_NS;
	struct timespec until = { .tv_sec = (time_t)(end / 1000000000),
				  .tv_nsec = (long)(end % 1000000000) };

	if (!tgt->is_running)
		return true;
	while (sem_clockwait(&call->done, CLOCK_MONOTONIC, &until) != 0) {
		if (errno == ETIMEDOUT)
			return false;
	}
	return true;
}

int bh_tgt_ns_detach(struct bh_tgt *tgt, const char *controller, uint32_t nsid,
		     char why[BH_TGT_WHY])
{
	struct controller *c = find(tgt, controller);
	struct ns **link;

	why[0] = '\0';
	if (!c)
		return tgt_fail(tgt, "controller", why, -ENOENT, "there is no controller '%s'",
				controller);
	reap(c);
	for (link = &c->ns; *link && (*link)->nsid != nsid; link = &(*link)->next)
		continue;
	struct ns *ns = *link;
	if (!ns || ns->leaving)
		return tgt_fail(tgt, "nsid", why, -ENOENT,
				ns ? "namespace %u is being detached already"
				   : "there is no namespace %u",
				nsid);
	struct ns_call *call = ns_call_new(c->nvme, NULL, nsid);
	if (!call)
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	bh_reactor_call(tgt->control, remove_on_control, call);
	if (!wait_a_while(tgt, call)) {
		ns->leaving = call;
		return tgt_fail(tgt, NULL, why, -EINPROGRESS,
				"namespace %u is hidden, and goes when its store has finished",
				nsid);
	}
	*link = ns->next;
	ns_call_free(call);
	ns_free(ns);
	return 0;
}

/* ---- lists ---- */

struct look {
	const struct controller *controller;
	struct bh_tgt_ns_info *info;
};

static void look_on_control(void *arg)
{
	const struct look *look = arg;
	unsigned int i = 0;

	for (const struct ns *ns = look->controller->ns; ns; ns = ns->next, i++) {
		struct bh_tgt_ns_info *info = &look->info[i];

		*info = (struct bh_tgt_ns_info){ .nsid = ns->nsid, .spec = &ns->spec };
		bh_target_nvme_ns_info(look->controller->nvme, ns->nsid, &info->now);
	}
}

int bh_tgt_controllers(struct bh_tgt *tgt, bh_tgt_controller_fn fn, void *ctx)
{
	for (struct controller *c = tgt->controllers; c; c = c->next) {
		struct bh_tgt_controller_info info = { .name = c->name,
						       .spec = &c->spec,
						       .nvme = c->nvme };
		struct look look = { .controller = c };

		reap(c);
		for (const struct ns *ns = c->ns; ns; ns = ns->next)
			info.num_ns++;
		look.info = calloc(info.num_ns + 1u, sizeof(*look.info));
		if (!look.info)
			return -ENOMEM;
		bh_reactor_call(tgt->control, look_on_control, &look);
		info.ns = look.info;
		fn(ctx, &info);
		free(look.info);
	}
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe controllers and their namespaces, created, changed and destroyed while hosts use them.
 *
 * A namespace is on its controller's list from when the control thread has taken it until it is
 * gone. One whose store does not give its requests back at once stays on the list as `leaving`, and
 * goes when somebody looks again: see later.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tgt/tgt.h"

/* ---- calls carried out on the control thread ---- */

static void call_done(void *arg)
{
	sem_post(arg);
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
	tgt_wait(&destroy.done);
	sem_destroy(&destroy.done);
}

static void added(void *arg, int error)
{
	struct ns_call *call = arg;

	call->error = error;
	tgt_call_done(call);
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

static void remove_on_control(void *arg)
{
	struct ns_call *call = arg;

	call->error = bh_target_nvme_ns_detach(call->nvme, call->nsid, tgt_call_done, call);
	if (call->error)
		tgt_call_done(call);
}

/* ---- namespaces ---- */

void tgt_ns_free(struct ns *ns)
{
	if (!ns)
		return;
	if (ns->shared)
		ns->shared->users--;
	tgt_ns_call_free(ns->leaving);
	bh_tgt_store_spec_fini(&ns->spec);
	free(ns);
}

int tgt_ns_store(struct bh_tgt *tgt, unsigned int *made, const struct bh_tgt_store_spec *spec,
		 const char *key, char *why, struct ns *ns, struct bh_blk **out)
{
	char name[sizeof(((struct bh_blk *)NULL)->name)];

	if (tgt_store_spec_copy(&ns->spec, spec) != 0)
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	if (spec->type) {
		snprintf(name, sizeof(name), "%u:%s:%s", (*made)++, spec->type, spec->arg);
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
	if (error == -ENOENT)
		return tgt_fail(tgt, "nsid", why, error, "the subsystem has no namespace %u", nsid);
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
	struct ns_call *call = tgt_ns_call_new(tgt, c->nvme, blk, ns->spec.nsid);
	int error = -ENOMEM;

	if (call) {
		bh_reactor_call(tgt->control, add_on_control, call);
		/* Before the start, the poll threads open their channels when they run. */
		if (tgt->is_running)
			tgt_wait(&call->done);
		error = call->error;
		ns->nsid = call->nsid;
		tgt_ns_call_free(call);
	}
	return error ? say_attach(tgt, key, ns->spec.nsid, error, why) : (int)ns->nsid;
}

static int controller_attach(struct bh_tgt *tgt, struct controller *c,
			     const struct bh_tgt_store_spec *spec, const char *key, char *why)
{
	unsigned int *made = c->subsys ? &c->subsys->num_made : &c->num_made;
	struct ns *ns = calloc(1, sizeof(*ns)), **link = c->subsys ? &c->subsys->ns : &c->ns;
	struct bh_blk *blk = NULL;
	int nsid = 0;

	if (!ns)
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	ns->spec.nsid = spec->nsid;
	if (spec->arg)
		nsid = tgt_ns_store(tgt, made, spec, key, why, ns, &blk);
	if (nsid == 0)
		nsid = ns_attach(tgt, c, ns, blk, key, why);
	bh_blk_put(blk);
	/* One that its subsystem had already has a record, where it needs one. */
	if (nsid < 0 || !spec->arg || (c->subsys && tgt_subsys_ns(c->subsys, (uint32_t)nsid))) {
		tgt_ns_free(ns);
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
		      const struct subsys *subsys, struct bh_reactor *const *threads,
		      unsigned int count, struct bh_target_nvme_opts *opts)
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
	opts->subsys = subsys ? subsys->handle : NULL;
	opts->mode = tgt->socket_mode;
	opts->allowed_uids = tgt->socket_uids;
	opts->num_allowed_uids = tgt->num_socket_uids;
	opts->log = tgt->log;
}

static void controller_free(struct bh_tgt *tgt, struct controller *c)
{
	destroy_nvme(tgt, c->nvme);
	tgt_reap_list(tgt, &c->ns); /* Who is waiting for one of them? */
	while (c->ns) {
		struct ns *ns = c->ns;

		c->ns = ns->next;
		tgt_ns_free(ns);
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

static int find_subsys(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, struct controller *c,
		       char *why)
{
	if (!spec->subsys)
		return 0;
	if (spec->serial || spec->model)
		return tgt_fail(tgt, spec->serial ? "serial" : "model", why, -EINVAL,
				"serial= and model= are the subsystem's (subsys:%s,serial=...)",
				spec->subsys);
	c->subsys = tgt_subsys_find(tgt, spec->subsys);
	if (!c->subsys)
		return tgt_fail(tgt, "subsys", why, -ENOENT,
				"there is no subsystem '%s' (give subsys:%s before it)",
				spec->subsys, spec->subsys);
	return 0;
}

/* The controller with its namespaces, on no list yet. */
static int build(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, struct controller *c,
		 char *why)
{
	struct bh_reactor *threads[BH_TARGET_NVME_MAX_THREADS];
	struct create create = { .controller = c };
	unsigned int count;

	int error = find_subsys(tgt, spec, c, why);
	if (!error)
		error = tgt_pick_threads(tgt, &spec->cores, threads, &count, why);
	if (error)
		return error;
	fill_opts(tgt, spec, c->subsys, threads, count, &create.opts);
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

#define SAY_LEAVING \
	"namespace %u is being detached (by namespace.detach), and its store has not finished"

int bh_tgt_ns_attach(struct bh_tgt *tgt, const char *controller,
		     const struct bh_tgt_store_spec *spec, char why[BH_TGT_WHY])
{
	struct controller *c = find(tgt, controller);

	why[0] = '\0';
	if (!c)
		return tgt_fail(tgt, "controller", why, -ENOENT, "there is no controller '%s'",
				controller);
	tgt_reap_list(tgt, &c->ns);
	if (spec->nsid && tgt_find_leaving(c->ns, spec->nsid))
		return tgt_fail(tgt, "nsid", why, -EBUSY, SAY_LEAVING, spec->nsid);
	if (!spec->arg && !c->subsys)
		return tgt_fail(tgt, "store", why, -EINVAL,
				"controller '%s' is in no subsystem: store is missing", controller);
	return controller_attach(tgt, c, spec, "store", why);
}

/* What a namespace that has not gone in time leaves behind in a subsystem's controller. */
static void keep_leaving(struct controller *c, struct ns *ns, struct ns_call *call, uint32_t nsid)
{
	struct ns **link = &c->ns;

	call->nsid = nsid;
	if (c->subsys) {
		ns->nsid = nsid;
		while (*link)
			link = &(*link)->next;
		*link = ns;
	}
	ns->leaving = call;
}

static struct ns **find_ns(struct controller *c, uint32_t nsid)
{
	struct ns **link = &c->ns;

	while (*link && (*link)->nsid != nsid)
		link = &(*link)->next;
	return link;
}

int bh_tgt_ns_detach(struct bh_tgt *tgt, const char *controller, uint32_t nsid,
		     char why[BH_TGT_WHY])
{
	struct controller *c = find(tgt, controller);

	why[0] = '\0';
	if (!c)
		return tgt_fail(tgt, "controller", why, -ENOENT, "there is no controller '%s'",
				controller);
	tgt_reap_list(tgt, &c->ns);
	struct ns **link = find_ns(c, nsid), *ns = *link;
	if (ns && ns->leaving)
		return tgt_fail(tgt, "nsid", why, -EBUSY, SAY_LEAVING, nsid);
	if (!ns && !c->subsys)
		return tgt_fail(tgt, "nsid", why, -ENOENT, "there is no namespace %u", nsid);
	struct ns_call *call = tgt_ns_call_new(tgt, c->nvme, NULL, nsid);
	if (c->subsys)
		ns = calloc(1, sizeof(*ns));
	if (!call || !ns) {
		tgt_ns_call_free(call);
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	}
	bh_reactor_call(tgt->control, remove_on_control, call);
	if (!tgt_ns_wait(tgt, call)) {
		keep_leaving(c, ns, call, nsid);
		return tgt_fail(tgt, NULL, why, -EINPROGRESS,
				"namespace %u is hidden, and goes when its store has finished",
				nsid);
	}
	int error = call->error;
	if (!c->subsys)
		*link = ns->next;
	tgt_ns_call_free(call);
	tgt_ns_free(ns);
	return error && c->subsys
		       ? tgt_fail(tgt, "nsid", why, error, "there is no namespace %u", nsid)
		       : 0;
}

/* ---- lists ---- */

struct look {
	const struct controller *controller;
	struct bh_tgt_ns_info *info;
	unsigned int count;
};

static void look_on_control(void *arg)
{
	struct look *look = arg;
	const struct controller *c = look->controller;

	for (const struct ns *ns = c->ns; ns && !c->subsys; ns = ns->next) {
		struct bh_tgt_ns_info *info = &look->info[look->count++];

		*info = (struct bh_tgt_ns_info){ .nsid = ns->nsid, .spec = &ns->spec };
		bh_target_nvme_ns_info(c->nvme, ns->nsid, &info->now);
	}
	for (uint32_t nsid = 1; c->subsys && nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		const struct ns *ns = tgt_subsys_ns(c->subsys, nsid);
		struct bh_tgt_ns_info *info = &look->info[look->count];

		*info = (struct bh_tgt_ns_info){ .nsid = nsid, .spec = ns ? &ns->spec : NULL };
		if (bh_target_nvme_ns_info(c->nvme, nsid, &info->now) == 0)
			look->count++;
	}
}

int bh_tgt_controllers(struct bh_tgt *tgt, bh_tgt_controller_fn fn, void *ctx)
{
	struct bh_tgt_ns_info *ns = calloc(BH_TARGET_NVME_MAX_NS + 1, sizeof(*ns));

	if (!ns)
		return -ENOMEM;
	tgt_reap(tgt);
	for (struct controller *c = tgt->controllers; c; c = c->next) {
		struct look look = { .controller = c, .info = ns };

		bh_reactor_call(tgt->control, look_on_control, &look);
		fn(ctx, &(struct bh_tgt_controller_info){
				.name = c->name,
				.spec = &c->spec,
				.subsys = c->subsys ? c->subsys->name : NULL,
				.nvme = c->nvme,
				.ns = ns,
				.num_ns = look.count,
			});
	}
	free(ns);
	return 0;
}

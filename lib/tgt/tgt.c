/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target: owns the reactors, the shared stores and the controllers, and knows them by name.
 *
 * Reactors live from create to destroy; controllers and stores come and go in between. Whatever
 * touches a controller runs on the control reactor, as a message the caller waits for: the lists
 * here are therefore the calling thread's alone, and nothing in this file is locked.
 *
 * A store is held by reference: by its name here if it is shared, and by every namespace that uses
 * it.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bellhop/tgt.h>

#define COMPONENT "tgt"

struct store {
	struct store *next;
	char *name;
	struct bh_blk *blk;
	unsigned int users; /* namespaces of our controllers */
};

struct controller {
	struct controller *next;
	char *name;
	struct bh_target_nvme *nvme;
	struct store *shared[BH_TGT_SPEC_NS];
	unsigned int num_shared;
};

struct bh_tgt {
	const struct bh_log *log;
	const struct bh_blk_type *const *types;
	unsigned int socket_mode;
	const uid_t *socket_uids;
	unsigned int num_socket_uids;
	struct bh_reactor *control;
	struct bh_reactor *threads[BH_TARGET_NVME_MAX_THREADS];
	unsigned int num_threads;
	bool is_running;
	struct store *stores;
	struct controller *controllers;
};

static const struct bh_blk_type *const default_types[] = { &bh_blk_null_type, &bh_blk_ram_type,
							   &bh_blk_file_type, NULL };

/* What the contract names and some build may lack: told apart from a slip of the pen. */
static const char *const contract_types[] = { "null", "ram", "file", "nvme", "rbd", "nbd" };

static int __attribute__((format(printf, 3, 4))) fail(char *why, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, BH_TGT_WHY, fmt, args);
	va_end(args);
	return error;
}

/* ---- life ---- */

void bh_tgt_opts_init(struct bh_tgt_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->idle_ns = 100 * 1000;
	opts->socket_mode = 0600;
}

/* The CPUs of the control thread: all we may use but the polling ones, if that leaves any. */
static void control_cpus(const struct bh_cpuset *allowed, const struct bh_cpuset *polling,
			 struct bh_cpuset *out)
{
	bh_cpuset_zero(out);
	for (int cpu = bh_cpuset_first(allowed); cpu >= 0; cpu = bh_cpuset_next(allowed, cpu)) {
		if (!bh_cpuset_has(polling, (unsigned int)cpu))
			bh_cpuset_add(out, (unsigned int)cpu);
	}
	if (bh_cpuset_count(out) == 0)
		*out = *allowed;
}

static int create_reactor(struct bh_tgt *tgt, const char *name, int cpu,
			  const struct bh_cpuset *cpus, uint64_t idle_ns, struct bh_reactor **out)
{
	struct bh_reactor_opts opts;

	bh_reactor_opts_init(&opts);
	opts.name = name;
	opts.cpu = cpu;
	if (cpus)
		opts.cpus = *cpus;
	opts.idle_ns = idle_ns;
	opts.log = tgt->log;
	return bh_reactor_create(&opts, out);
}

static int create_reactors(struct bh_tgt *tgt, const struct bh_tgt_opts *opts)
{
	struct bh_cpuset allowed, polling = opts->cpus, control;
	char name[32]; /* the kernel keeps 15 characters of it: enough for any CPU below BH_CPU_MAX
			*/

	int error = bh_cpuset_allowed(&allowed);
	if (error)
		return error;
	if (bh_cpuset_count(&polling) == 0)
		bh_cpuset_add(&polling, (unsigned int)bh_cpuset_first(&allowed));
	if (bh_cpuset_count(&polling) > BH_TARGET_NVME_MAX_THREADS) {
		bh_log(opts->log, BH_LOG_ERROR, COMPONENT, "%u CPUs: at most %u can poll",
		       bh_cpuset_count(&polling), BH_TARGET_NVME_MAX_THREADS);
		return -EINVAL;
	}
	control_cpus(&allowed, &polling, &control);
	error = create_reactor(tgt, "bh-control", -1, &control, opts->idle_ns, &tgt->control);
	for (int cpu = bh_cpuset_first(&polling); !error && cpu >= 0;
	     cpu = bh_cpuset_next(&polling, cpu)) {
		if (!bh_cpuset_has(&allowed, (unsigned int)cpu)) {
			char text[256];

			bh_format_cpus(&allowed, text, sizeof(text));
			bh_log(opts->log, BH_LOG_ERROR, COMPONENT,
			       "CPU %d is not one this process may use (allowed: %s)", cpu, text);
			return -EINVAL;
		}
		snprintf(name, sizeof(name), "bh-poll-%d", cpu);
		error = create_reactor(tgt, name, cpu, NULL, opts->idle_ns,
				       &tgt->threads[tgt->num_threads]);
		if (!error)
			tgt->num_threads++;
	}
	return error;
}

int bh_tgt_create(const struct bh_tgt_opts *opts, struct bh_tgt **out)
{
	struct bh_tgt *tgt = calloc(1, sizeof(*tgt));

	if (!tgt)
		return -ENOMEM;
	tgt->log = opts->log;
	tgt->socket_mode = opts->socket_mode;
	tgt->socket_uids = opts->socket_uids;
	tgt->num_socket_uids = opts->num_socket_uids;
	tgt->types = opts->store_types ? opts->store_types : default_types;
	int error = create_reactors(tgt, opts);
	if (error) {
		bh_tgt_destroy(tgt);
		return error;
	}
	*out = tgt;
	return 0;
}

int bh_tgt_start(struct bh_tgt *tgt)
{
	int error = bh_reactor_start(tgt->control);

	for (unsigned int i = 0; !error && i < tgt->num_threads; i++)
		error = bh_reactor_start(tgt->threads[i]);
	tgt->is_running = !error;
	if (error) {
		for (unsigned int i = 0; i < tgt->num_threads; i++)
			bh_reactor_stop(tgt->threads[i]);
		bh_reactor_stop(tgt->control);
	}
	return error;
}

/* ---- calls carried out on the control thread ---- */

struct call {
	struct bh_target_nvme *nvme;
	sem_t done;
};

static void call_done(void *arg)
{
	struct call *call = arg;

	sem_post(&call->done);
}

static void destroy_on_control(void *arg)
{
	struct call *call = arg;

	bh_target_nvme_destroy(call->nvme, call_done, call);
}

static void destroy_nvme(struct bh_tgt *tgt, struct bh_target_nvme *nvme)
{
	struct call call = { .nvme = nvme };

	if (!nvme)
		return;
	if (!tgt->is_running) {
		bh_target_nvme_free(nvme);
		return;
	}
	sem_init(&call.done, 0, 0);
	bh_reactor_call(tgt->control, destroy_on_control, &call);
	while (sem_wait(&call.done) != 0)
		continue;
	sem_destroy(&call.done);
}

/* ---- stores ---- */

static struct store *find_store(struct bh_tgt *tgt, const char *name)
{
	for (struct store *s = tgt->stores; s; s = s->next) {
		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

static int find_type(struct bh_tgt *tgt, const char *name, const struct bh_blk_type **out,
		     char *why)
{
	for (const struct bh_blk_type *const *t = tgt->types; *t; t++) {
		if (strcmp((*t)->name, name) == 0) {
			*out = *t;
			return 0;
		}
	}
	for (size_t i = 0; i < sizeof(contract_types) / sizeof(*contract_types); i++) {
		if (strcmp(contract_types[i], name) == 0)
			return fail(why, -ENOTSUP, "stores of type '%s' are not part of this build",
				    name);
	}
	return fail(why, -EINVAL, "unknown store type '%s' (try null:SIZE, ram:SIZE or file:PATH)",
		    name);
}

static int create_blk(struct bh_tgt *tgt, const char *name, const struct bh_tgt_store_spec *spec,
		      char *why, struct bh_blk **out)
{
	const struct bh_blk_type *type = NULL;
	struct bh_blk_spec blk_spec = {
		.arg = spec->arg,
		.bytes = spec->bytes,
		.block_size = spec->block_size,
		.has_uuid = spec->has_uuid,
	};

	int error = find_type(tgt, spec->type, &type, why);
	if (error)
		return error;
	memcpy(blk_spec.uuid, spec->uuid, sizeof(blk_spec.uuid));
	error = type->create(&blk_spec, name, tgt->log, why, out);
	if (error && why[0] == '\0')
		fail(why, error, "store %s:%s: %s", spec->type, spec->arg, strerror(-error));
	return error;
}

int bh_tgt_store_create(struct bh_tgt *tgt, const char *name, const struct bh_tgt_store_spec *spec,
			char why[BH_TGT_WHY])
{
	why[0] = '\0';
	if (find_store(tgt, name))
		return fail(why, -EEXIST, "store '%s' exists already", name);
	struct store *store = calloc(1, sizeof(*store));
	char *copy = strdup(name);
	int error = -ENOMEM;

	if (store && copy)
		error = create_blk(tgt, name, spec, why, &store->blk);
	if (error) {
		free(store);
		free(copy);
		return why[0] ? error : fail(why, error, "store '%s': %s", name, strerror(-error));
	}
	store->name = copy;
	store->next = tgt->stores;
	tgt->stores = store;
	return 0;
}

int bh_tgt_store_destroy(struct bh_tgt *tgt, const char *name)
{
	for (struct store **link = &tgt->stores; *link; link = &(*link)->next) {
		struct store *store = *link;

		if (strcmp(store->name, name) != 0)
			continue;
		if (store->users != 0)
			return -EBUSY;
		*link = store->next;
		bh_blk_put(store->blk);
		free(store->name);
		free(store);
		return 0;
	}
	return -ENOENT;
}

/* ---- controllers ---- */

static int pick_threads(struct bh_tgt *tgt, const struct bh_cpuset *cores,
			struct bh_reactor **threads, unsigned int *count, char *why)
{
	unsigned int wanted = bh_cpuset_count(cores);

	*count = 0;
	for (unsigned int i = 0; i < tgt->num_threads; i++) {
		int cpu = bh_reactor_cpu(tgt->threads[i]);

		if (wanted == 0 || bh_cpuset_has(cores, (unsigned int)cpu))
			threads[(*count)++] = tgt->threads[i];
	}
	if (wanted != 0 && *count != wanted)
		return fail(why, -EINVAL,
			    "cores=: names a CPU that is not one of the target's (-c)");
	return 0;
}

/* The store of one ns=: shared by name, or one of its own, named by place and words so that its
 * UUID survives a restart. */
static int get_store(struct bh_tgt *tgt, struct controller *c, const struct bh_tgt_store_spec *spec,
		     unsigned int place, char *why, struct bh_blk **out)
{
	char name[sizeof(((struct bh_blk *)NULL)->name)];

	if (spec->type) {
		snprintf(name, sizeof(name), "%u:%s:%s", place, spec->type, spec->arg);
		return create_blk(tgt, name, spec, why, out);
	}
	struct store *store = find_store(tgt, spec->arg);
	if (!store)
		return fail(why, -ENOENT, "ns=@%s: no such store (give store:%s=... before it)",
			    spec->arg, spec->arg);
	store->users++;
	c->shared[c->num_shared++] = store;
	*out = bh_blk_get(store->blk);
	return 0;
}

struct create {
	struct bh_tgt *tgt;
	const struct bh_tgt_spec *spec;
	struct controller *controller;
	struct bh_target_nvme_opts opts;
	char *why;
	int error;
};

static int attach_stores(struct create *create)
{
	const struct bh_tgt_spec *spec = create->spec;

	for (unsigned int i = 0; i < spec->num_stores; i++) {
		struct bh_blk *blk = NULL;
		int error = get_store(create->tgt, create->controller, &spec->store[i], i,
				      create->why, &blk);

		if (error)
			return error;
		int nsid = bh_target_nvme_ns_attach(create->controller->nvme, blk,
						    spec->store[i].nsid);
		bh_blk_put(blk);
		if (nsid == -EEXIST)
			return fail(create->why, nsid, "nsid=%u is given twice",
				    spec->store[i].nsid);
		if (nsid < 0)
			return fail(create->why, nsid, "namespace %u: %s", i + 1, strerror(-nsid));
	}
	return 0;
}

static void create_on_control(void *arg)
{
	struct create *create = arg;
	struct controller *controller = create->controller;

	create->error = bh_target_nvme_create(&create->opts, &controller->nvme);
	if (create->error) {
		/* What stands in the way of a socket the server has logged. */
		fail(create->why, create->error, "%s: %s", controller->name,
		     strerror(-create->error));
		return;
	}
	create->error = attach_stores(create);
}

static void release_controller(struct bh_tgt *tgt, struct controller *controller)
{
	destroy_nvme(tgt, controller->nvme);
	for (unsigned int i = 0; i < controller->num_shared; i++)
		controller->shared[i]->users--;
	free(controller->name);
	free(controller);
}

static void fill_opts(struct create *create, struct bh_reactor *const *threads, unsigned int count)
{
	const struct bh_tgt_spec *spec = create->spec;
	struct bh_target_nvme_opts *opts = &create->opts;

	bh_target_nvme_opts_init(opts);
	opts->path = spec->name;
	opts->control = create->tgt->control;
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
	opts->mode = create->tgt->socket_mode;
	opts->allowed_uids = create->tgt->socket_uids;
	opts->num_allowed_uids = create->tgt->num_socket_uids;
	opts->log = create->tgt->log;
}

int bh_tgt_nvme_create(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char why[BH_TGT_WHY])
{
	struct bh_reactor *threads[BH_TARGET_NVME_MAX_THREADS];
	struct create create = { .tgt = tgt, .spec = spec, .why = why };
	unsigned int count;

	why[0] = '\0';
	for (struct controller *c = tgt->controllers; c; c = c->next) {
		if (strcmp(c->name, spec->name) == 0)
			return fail(why, -EEXIST, "controller '%s' exists already", spec->name);
	}
	int error = pick_threads(tgt, &spec->cores, threads, &count, why);
	if (error)
		return error;
	create.controller = calloc(1, sizeof(*create.controller));
	if (!create.controller || !(create.controller->name = strdup(spec->name))) {
		free(create.controller);
		return fail(why, -ENOMEM, "out of memory");
	}
	fill_opts(&create, threads, count);
	bh_reactor_call(tgt->control, create_on_control, &create);
	if (create.error) {
		release_controller(tgt, create.controller);
		return create.error;
	}
	create.controller->next = tgt->controllers;
	tgt->controllers = create.controller;
	return 0;
}

int bh_tgt_controller_destroy(struct bh_tgt *tgt, const char *name)
{
	for (struct controller **link = &tgt->controllers; *link; link = &(*link)->next) {
		struct controller *controller = *link;

		if (strcmp(controller->name, name) == 0) {
			*link = controller->next;
			release_controller(tgt, controller);
			return 0;
		}
	}
	return -ENOENT;
}

void bh_tgt_controllers(struct bh_tgt *tgt, bh_tgt_controller_fn fn, void *ctx)
{
	for (struct controller *c = tgt->controllers; c; c = c->next)
		fn(ctx, c->name, c->nvme);
}

int bh_tgt_apply(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char why[BH_TGT_WHY])
{
	if (spec->kind == BH_TGT_SPEC_STORE)
		return bh_tgt_store_create(tgt, spec->name, &spec->store[0], why);
	return bh_tgt_nvme_create(tgt, spec, why);
}

void bh_tgt_destroy(struct bh_tgt *tgt)
{
	if (!tgt)
		return;
	while (tgt->controllers) {
		struct controller *controller = tgt->controllers;

		tgt->controllers = controller->next;
		release_controller(tgt, controller);
	}
	for (unsigned int i = 0; i < tgt->num_threads; i++)
		bh_reactor_stop(tgt->threads[i]);
	if (tgt->control)
		bh_reactor_stop(tgt->control);
	tgt->is_running = false;
	while (tgt->stores) {
		tgt->stores->users = 0;
		bh_tgt_store_destroy(tgt, tgt->stores->name);
	}
	for (unsigned int i = 0; i < tgt->num_threads; i++)
		bh_reactor_destroy(tgt->threads[i]);
	bh_reactor_destroy(tgt->control);
	free(tgt);
}

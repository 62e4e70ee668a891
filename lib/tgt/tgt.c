/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target: owns the reactors, the shared stores and the controllers, and knows them by name.
 *
 * Reactors live from create to destroy; controllers, namespaces and stores come and go in between.
 * Whatever touches a controller runs on the control reactor, as a message the caller waits for: the
 * lists here are therefore the calling thread's alone, and nothing in this directory is locked. What
 * a namespace on its way out, or in the making, waits for is up to its store: that goes on after the
 * call, see later.c.
 *
 * A store is held by reference: by its name here if it is shared, and by every namespace that uses
 * it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tgt/tgt.h"

static const struct bh_blk_type *const default_types[] = { &bh_blk_null_type, &bh_blk_ram_type,
							   &bh_blk_file_type, NULL };

int tgt_fail(struct bh_tgt *tgt, const char *key, char *why, int error, const char *fmt, ...)
{
	va_list args;

	tgt->failed_key = key;
	va_start(args, fmt);
	vsnprintf(why, BH_TGT_WHY, fmt, args);
	va_end(args);
	return error;
}

const char *bh_tgt_failed_key(const struct bh_tgt *tgt)
{
	return tgt->failed_key;
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
	struct bh_cpuset allowed, polling = opts->cpus;
	char name[32]; /* the kernel keeps 15 characters of it: enough for any CPU below BH_CPU_MAX
			*/

	int error = bh_cpuset_allowed(&allowed);
	if (error)
		return error;
	if (bh_cpuset_count(&polling) == 0)
		bh_cpuset_add(&polling, (unsigned int)bh_cpuset_first(&allowed));
	if (bh_cpuset_count(&polling) > BH_TARGET_NVME_MAX_THREADS) {
		bh_log(opts->log, BH_LOG_ERROR, TGT_LOG, "%u CPUs: at most %u can poll",
		       bh_cpuset_count(&polling), BH_TARGET_NVME_MAX_THREADS);
		return -EINVAL;
	}
	control_cpus(&allowed, &polling, &tgt->control_cpus);
	error = create_reactor(tgt, "bh-control", -1, &tgt->control_cpus, opts->idle_ns,
			       &tgt->control);
	for (int cpu = bh_cpuset_first(&polling); !error && cpu >= 0;
	     cpu = bh_cpuset_next(&polling, cpu)) {
		if (!bh_cpuset_has(&allowed, (unsigned int)cpu)) {
			char text[256];

			bh_format_cpus(&allowed, text, sizeof(text));
			bh_log(opts->log, BH_LOG_ERROR, TGT_LOG,
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
	pthread_mutex_init(&tgt->wake_lock, NULL);
	tgt->log = opts->log;
	tgt->socket_mode = opts->socket_mode;
	tgt->socket_uids = opts->socket_uids;
	tgt->num_socket_uids = opts->num_socket_uids;
	tgt->state_dir = opts->state_dir;
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

const struct bh_cpuset *bh_tgt_control_cpus(const struct bh_tgt *tgt)
{
	return &tgt->control_cpus;
}

void bh_tgt_threads(const struct bh_tgt *tgt, bh_tgt_thread_fn fn, void *ctx)
{
	for (unsigned int i = 0; i < tgt->num_threads; i++) {
		struct bh_tgt_thread_info info = { .cpu = bh_reactor_cpu(tgt->threads[i]) };

		bh_reactor_stats(tgt->threads[i], &info.stats);
		fn(ctx, &info);
	}
}

void bh_tgt_confined(struct bh_tgt *tgt)
{
	tgt->is_confined = true;
}

int bh_tgt_apply(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char why[BH_TGT_WHY])
{
	if (spec->kind == BH_TGT_SPEC_STORE)
		return bh_tgt_store_create(tgt, spec->name, &spec->store[0], why);
	if (spec->kind == BH_TGT_SPEC_NET)
		return bh_tgt_net_create(tgt, spec, why);
	if (spec->kind == BH_TGT_SPEC_SUBSYS)
		return bh_tgt_subsys_create(tgt, spec, why);
	return bh_tgt_nvme_create(tgt, spec, why);
}

void bh_tgt_destroy(struct bh_tgt *tgt)
{
	if (!tgt)
		return;
	tgt_controllers_free(tgt);
	tgt_nets_free(tgt);
	for (unsigned int i = 0; i < tgt->num_threads; i++)
		bh_reactor_stop(tgt->threads[i]);
	if (tgt->control)
		bh_reactor_stop(tgt->control);
	tgt->is_running = false;
	tgt_subsystems_free(tgt);
	tgt_stores_free(tgt);
	for (unsigned int i = 0; i < tgt->num_threads; i++)
		bh_reactor_destroy(tgt->threads[i]);
	bh_reactor_destroy(tgt->control);
	tgt_calls_free(tgt);
	pthread_mutex_destroy(&tgt->wake_lock);
	free(tgt);
}

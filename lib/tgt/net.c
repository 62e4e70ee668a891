/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network controllers, their ports, and the wires between two of them.
 *
 * A port is opened for its controller and closed after it. A wire has a name and two ends; it is
 * made when a controller first asks for it, either end may come, go and come again, and it goes when
 * both are free.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tgt/tgt.h"

static_assert(BH_TARGET_NET_WHY == BH_TGT_WHY, "reasons of ports are ours");
static_assert(BH_TARGET_NET_MAX_THREADS >= BH_TARGET_NVME_MAX_THREADS, "all threads will do");

/* ---- wires ---- */

static struct pair *pair_find(struct bh_tgt *tgt, const char *name)
{
	for (struct pair *p = tgt->pairs; p; p = p->next) {
		if (strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

static int pair_new(struct bh_tgt *tgt, const char *name, unsigned int queues, struct pair **out)
{
	struct pair *p = calloc(1, sizeof(*p));
	struct bh_net_port_opts opts;
	int error = -ENOMEM;

	bh_net_port_opts_init(&opts);
	opts.queues = queues;
	opts.log = tgt->log;
	if (p && (p->name = strdup(name)) != NULL)
		error = bh_net_port_pair(&opts, p->end);
	if (error) {
		if (p)
			free(p->name);
		free(p);
		return error;
	}
	p->queues = queues;
	p->next = tgt->pairs;
	tgt->pairs = p;
	*out = p;
	return 0;
}

/* Goes when nobody is at it. */
static void pair_put(struct bh_tgt *tgt, struct pair *p, const struct bh_net_port *end)
{
	struct pair **link = &tgt->pairs;

	p->is_taken[end == p->end[1]] = false;
	if (p->is_taken[0] || p->is_taken[1])
		return;
	while (*link != p)
		link = &(*link)->next;
	*link = p->next;
	bh_net_port_close(p->end[0]);
	bh_net_port_close(p->end[1]);
	free(p->name);
	free(p);
}

static int take_end(struct bh_tgt *tgt, struct net *n, char *why)
{
	const unsigned int queues = n->spec.queues ? n->spec.queues : 1;
	struct pair *p = pair_find(tgt, n->spec.port_arg);
	int error = p ? 0 : pair_new(tgt, n->spec.port_arg, queues, &p);

	if (error)
		return tgt_fail(tgt, "port", why, error, "pair:%s: %s", n->spec.port_arg,
				strerror(-error));
	if (p->is_taken[0] && p->is_taken[1])
		return tgt_fail(tgt, "port", why, -EBUSY, "pair:%s has two controllers already",
				p->name);
	if (queues > p->queues)
		return tgt_fail(tgt, "queues", why, -EINVAL,
				"pair:%s was made with queues=%u: no more at its other end",
				p->name, p->queues);
	n->pair = p;
	n->port = p->end[p->is_taken[0]];
	p->is_taken[p->is_taken[0]] = true;
	return 0;
}

/* ---- controllers ---- */

struct net *tgt_net_find(struct bh_tgt *tgt, const char *name)
{
	for (struct net *n = tgt->nets; n; n = n->next) {
		if (strcmp(n->name, name) == 0)
			return n;
	}
	return NULL;
}

static int open_port(struct bh_tgt *tgt, struct net *n, char *why)
{
	struct bh_net_port_opts opts;

	if (strcmp(n->spec.port, "pair") == 0)
		return take_end(tgt, n, why);
	bh_net_port_opts_init(&opts);
	opts.queues = n->spec.queues ? n->spec.queues : opts.queues;
	opts.log = tgt->log;
	int error = bh_net_port_open(n->spec.port, n->spec.port_arg, &opts, why, &n->port);
	if (error)
		tgt->failed_key = "port";
	return error;
}

struct create {
	struct bh_target_net_opts opts;
	struct bh_target_net *net;
	int error;
};

static void create_on_control(void *arg)
{
	struct create *create = arg;

	create->error = bh_target_net_create(&create->opts, &create->net);
}

static void fill_opts(const struct bh_tgt *tgt, const struct net *n,
		      struct bh_reactor *const *threads, unsigned int count,
		      struct bh_target_net_opts *opts)
{
	const struct bh_tgt_spec *spec = &n->spec;

	bh_target_net_opts_init(opts);
	opts->path = spec->name;
	opts->control = tgt->control;
	opts->threads = threads;
	opts->num_threads = count;
	opts->port = n->port;
	opts->mac = spec->has_mac ? spec->mac : NULL;
	opts->queues = spec->queues ? spec->queues : opts->queues;
	opts->depth = spec->depth ? spec->depth : opts->depth;
	opts->mtu = spec->mtu;
	opts->notify = spec->doorbells == BH_DOORBELLS_TRAPPED ? BH_NET_NOTIFY_TRAPPED
							       : BH_NET_NOTIFY_MAPPED;
	opts->split_rings = spec->split_rings;
	opts->mode = tgt->socket_mode;
	opts->allowed_uids = tgt->socket_uids;
	opts->num_allowed_uids = tgt->num_socket_uids;
	opts->log = tgt->log;
}

static int build(struct bh_tgt *tgt, struct net *n, char *why)
{
	struct bh_reactor *threads[BH_TARGET_NVME_MAX_THREADS];
	struct create create = { .error = 0 };
	unsigned int count;

	int error = tgt_pick_threads(tgt, &n->spec.cores, threads, &count, why);
	if (!error)
		error = open_port(tgt, n, why);
	if (error)
		return error;
	fill_opts(tgt, n, threads, count, &create.opts);
	bh_reactor_call(tgt->control, create_on_control, &create);
	n->net = create.net;
	if (create.error) /* What stands in the way of a socket the server has logged. */
		return tgt_fail(tgt, "socket", why, create.error, "%s: %s", n->spec.name,
				strerror(-create.error));
	return 0;
}

struct destroy {
	struct bh_target_net *net;
	sem_t done;
};

static void destroyed(void *arg)
{
	sem_post(arg);
}

static void destroy_on_control(void *arg)
{
	struct destroy *destroy = arg;

	bh_target_net_destroy(destroy->net, destroyed, &destroy->done);
}

static void destroy_net(struct bh_tgt *tgt, struct bh_target_net *net)
{
	struct destroy destroy = { .net = net };

	if (!net)
		return;
	if (!tgt->is_running) {
		bh_target_net_free(net);
		return;
	}
	sem_init(&destroy.done, 0, 0);
	bh_reactor_call(tgt->control, destroy_on_control, &destroy);
	while (sem_wait(&destroy.done) != 0)
		continue;
	sem_destroy(&destroy.done);
}

static void net_free(struct bh_tgt *tgt, struct net *n)
{
	destroy_net(tgt, n->net);
	if (n->pair)
		pair_put(tgt, n->pair, n->port);
	else
		bh_net_port_close(n->port);
	bh_tgt_spec_fini(&n->spec);
	free(n->name);
	free(n);
}

int bh_tgt_net_create(struct bh_tgt *tgt, const struct bh_tgt_spec *spec, char why[BH_TGT_WHY])
{
	const char *name = spec->alias ? spec->alias : spec->name;
	struct net **link = &tgt->nets;

	why[0] = '\0';
	int error = tgt_check_names(tgt, spec, why);
	if (error)
		return error;
	struct net *n = calloc(1, sizeof(*n));
	if (!n || !(n->name = strdup(name)) || tgt_spec_copy(&n->spec, spec) != 0) {
		if (n)
			free(n->name);
		free(n);
		return tgt_fail(tgt, NULL, why, -ENOMEM, "out of memory");
	}
	error = build(tgt, n, why);
	if (error) {
		net_free(tgt, n);
		return error;
	}
	while (*link)
		link = &(*link)->next;
	*link = n;
	return 0;
}

int tgt_net_destroy(struct bh_tgt *tgt, const char *name)
{
	for (struct net **link = &tgt->nets; *link; link = &(*link)->next) {
		struct net *n = *link;

		if (strcmp(n->name, name) == 0) {
			*link = n->next;
			net_free(tgt, n);
			return 0;
		}
	}
	return -ENOENT;
}

void tgt_nets_free(struct bh_tgt *tgt)
{
	while (tgt->nets) {
		struct net *n = tgt->nets;

		tgt->nets = n->next;
		net_free(tgt, n);
	}
}

void bh_tgt_nets(struct bh_tgt *tgt, bh_tgt_net_fn fn, void *ctx)
{
	for (const struct net *n = tgt->nets; n; n = n->next) {
		const struct bh_tgt_net_info info = { n->name, &n->spec, n->net };

		fn(ctx, &info);
	}
}

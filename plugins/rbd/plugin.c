/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rbd:POOL/IMAGE[?conf=PATH&id=USER]: an image of a Ceph cluster's, by librbd.
 *
 * The cluster is found by its configuration file, as every program of Ceph's does. librados
 * connects again by itself, and requests wait for that. librbd keeps a cache of its own where the
 * configuration has it so; a flush empties it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rbd.h"

/* How long to look for a cluster, in seconds, where its configuration does not say. */
#define CONNECT_TIMEOUT "10"

const struct bh_plugin_host *rbd_host;

/* ---- the spec ---- */

struct rbd_name {
	char text[512]; /* what the pointers point into */
	char *pool, *image, *conf, *id;
};

static int parse_query(struct rbd_name *name, char *query, char why[256])
{
	char *rest = NULL;

	for (char *key = strtok_r(query, "&", &rest); key; key = strtok_r(NULL, "&", &rest)) {
		if (!strncmp(key, "conf=", 5) && key[5]) {
			name->conf = key + 5;
		} else if (!strncmp(key, "id=", 3) && key[3]) {
			name->id = key + 3;
		} else {
			snprintf(why, 256, "'%.100s': expected conf=PATH or id=USER", key);
			return -EINVAL;
		}
	}
	return 0;
}

static int parse(struct rbd_name *name, const char *arg, char why[256])
{
	char *query, *slash;

	memset(name, 0, sizeof(*name));
	if (strlen(arg) >= sizeof(name->text)) {
		strcpy(why, "too long");
		return -EINVAL;
	}
	strcpy(name->text, arg);
	query = strchr(name->text, '?');
	if (query)
		*query++ = '\0';
	slash = strchr(name->text, '/');
	if (!slash || slash == name->text || !slash[1]) {
		strcpy(why, "expected POOL/IMAGE");
		return -EINVAL;
	}
	*slash = '\0';
	name->pool = name->text;
	name->image = slash + 1;
	return query ? parse_query(name, query, why) : 0;
}

/* ---- life ---- */

static void close_all(struct rbd_store *store)
{
	if (store->has_image)
		rbd_close(store->image); /* flushes */
	if (store->has_io)
		rados_ioctx_destroy(store->io);
	if (store->has_cluster)
		rados_shutdown(store->cluster);
	free(store);
}

static void *close_elsewhere(void *store)
{
	close_all(store);
	return NULL;
}

void rbd_destroy(struct bh_blk *blk)
{
	struct rbd_store *store = (struct rbd_store *)blk;
	pthread_t thread;

	if (!rbd_is_callback()) {
		close_all(store);
		return;
	}
	/* librbd would wait for the callback that this is called from. */
	if (pthread_create(&thread, NULL, close_elsewhere, store))
		rbd_host->log(store->blk.log, BH_LOG_ERROR, RBD_LOG,
			      "%s: stays open: no thread can be made", store->blk.name);
	else
		pthread_detach(thread);
}

static int said(char why[256], int rc, const char *what)
{
	snprintf(why, 256, "%.120s: %.120s", what, strerror(-rc));
	return rc;
}

static int connect_cluster(struct rbd_store *store, const struct rbd_name *name, char why[256])
{
	int rc = rados_create(&store->cluster, name->id);

	if (rc)
		return said(why, rc, "librados");
	store->has_cluster = true;
	rados_conf_set(store->cluster, "client_mount_timeout", CONNECT_TIMEOUT);
	rados_conf_set(store->cluster, "rados_mon_op_timeout", CONNECT_TIMEOUT);
	rc = rados_conf_read_file(store->cluster, name->conf);
	if (rc)
		return said(why, rc, name->conf ? name->conf : "Ceph's configuration file");
	rc = rados_connect(store->cluster);
	return rc ? said(why, rc, "the cluster cannot be reached") : 0;
}

static int open_image(struct rbd_store *store, const struct rbd_name *name, char why[256])
{
	int rc = rados_ioctx_create(store->cluster, name->pool, &store->io);

	if (rc)
		return said(why, rc, name->pool);
	store->has_io = true;
	rc = rbd_open(store->io, name->image, &store->image, NULL);
	if (rc == -EROFS || rc == -EPERM) {
		rc = rbd_open_read_only(store->io, name->image, &store->image, NULL);
		store->is_readonly = true;
	}
	if (rc)
		return said(why, rc, name->image);
	store->has_image = true;
	return 0;
}

static int init_blk(struct rbd_store *store, const struct bh_blk_spec *spec, const char *name,
		    const struct bh_log *log, char why[256])
{
	uint32_t caps = store->is_readonly
				? 0
				: BH_BLK_CAP_WRITE | BH_BLK_CAP_FLUSH | BH_BLK_CAP_WRITE_ZEROES |
					  BH_BLK_CAP_DEALLOCATE;
	uint64_t bytes;
	int rc = rbd_get_size(store->image, &bytes);

	if (rc)
		return said(why, rc, "its size");
	if (!bytes || bytes % spec->block_size || bytes > INT64_MAX) {
		snprintf(why, 256, "%llu bytes are not a number of blocks of %u",
			 (unsigned long long)bytes, spec->block_size);
		return -EINVAL;
	}
	rc = rbd_host->blk_init(&store->blk, &rbd_ops, name, spec->block_size,
				bytes / spec->block_size, caps, log);
	if (rc)
		return said(why, rc, "the store");
	if (spec->has_uuid)
		memcpy(store->blk.info.uuid, spec->uuid, sizeof(store->blk.info.uuid));
	rbd_host->log(log, BH_LOG_INFO, RBD_LOG, "%s: %llu bytes%s", name,
		      (unsigned long long)bytes, store->is_readonly ? ", read-only" : "");
	return 0;
}

static int create(const struct bh_blk_spec *spec, const char *name, const struct bh_log *log,
		  char why[256], struct bh_blk **out)
{
	struct rbd_store *store = calloc(1, sizeof(*store));
	char reason[256] = "";
	struct rbd_name parts;
	int rc;

	if (!store)
		return -ENOMEM;
	rc = parse(&parts, spec->arg, reason);
	if (!rc)
		rc = connect_cluster(store, &parts, reason);
	if (!rc)
		rc = open_image(store, &parts, reason);
	if (!rc)
		rc = init_blk(store, spec, name, log, reason);
	if (rc) {
		snprintf(why, 256, "rbd:%.100s: %.140s", spec->arg, reason);
		close_all(store);
		return rc;
	}
	*out = &store->blk;
	return 0;
}

/* It may have grown by somebody else's doing. */
int rbd_grow(struct bh_blk *blk, uint64_t blocks)
{
	struct rbd_store *store = (struct rbd_store *)blk;
	uint64_t bytes = blocks * blk->info.block_size, now = 0;
	int rc = rbd_get_size(store->image, &now);

	if (rc || now >= bytes)
		return rc;
	return store->is_readonly ? -EROFS : rbd_resize(store->image, bytes);
}

/* ---- the entry ---- */

static const struct bh_blk_type rbd_type = { "rbd", create };
static const struct bh_blk_type *const types[] = { &rbd_type, NULL };
static const struct bh_plugin plugin = {
	.abi = BH_PLUGIN_ABI,
	.sizes = BH_PLUGIN_SIZES,
	.name = "rbd",
	.about = "rbd:POOL/IMAGE[?conf=PATH&id=USER]",
	.types = types,
};

const struct bh_plugin *bh_plugin(const struct bh_plugin_host *host, uint32_t abi)
{
	if (abi != BH_PLUGIN_ABI)
		return NULL;
	rbd_host = host;
	return &plugin;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme:ADDRESS[?ns=N][&pass=on|off]: which namespace, what it can do, and whether we can serve it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blk_nvme/blk_nvme.h"

void bn_store_destroy(struct bh_blk *blk)
{
	struct bn_store *store = (struct bn_store *)blk;
	struct bn_device *device = store->device;

	free(store);
	bn_device_put(device);
}

/* A namespace has grown by itself or it has not; the driver keeps up with that. */
int bn_store_grow(struct bh_blk *blk, uint64_t blocks)
{
	const struct bn_store *store = (const struct bn_store *)blk;

	return blocks <= bh_nvme_ns_blocks(store->ns) >> store->shift ? 0 : -ENOSPC;
}

/* Another store's, if one has it open. */
static struct bn_device *find_peer(const struct bh_blk_spec *spec, const struct bh_address *address)
{
	for (unsigned int i = 0; i < spec->num_peers; i++) {
		struct bn_store *peer = (struct bn_store *)spec->peers[i];

		if (peer->blk.ops == &bn_ops && peer->device->address.kind == address->kind &&
		    !strcmp(peer->device->address.target, address->target))
			return bn_device_get(peer->device);
	}
	return NULL;
}

static struct bh_nvme_ns *pick_ns(struct bh_nvme *nvme, uint32_t nsid, char why[256])
{
	struct bh_nvme_ns *ns = nsid ? bh_nvme_ns_get(nvme, nsid) : bh_nvme_ns_first(nvme);

	if (!ns && nsid)
		snprintf(why, 256, "there is no active namespace %u", nsid);
	else if (!ns)
		strcpy(why, "it has no active namespace");
	if (nsid || !ns || !bh_nvme_ns_next(ns))
		return ns;
	strcpy(why, "it has several namespaces: pick one, as in ?ns=1");
	return NULL;
}

static int check_format(struct bn_store *store, uint32_t block_size, char why[256])
{
	uint32_t block = bh_nvme_ns_block_size(store->ns);
	struct bh_nvme_format format;

	bh_nvme_ns_format(store->ns, &format);
	if (!format.served || format.md_bytes || bh_nvme_ns_csi(store->ns) != BH_NVME_CSI_NVM) {
		strcpy(why, "namespaces with metadata or zones cannot be a store");
		return -EINVAL;
	}
	if (block_size % block) {
		snprintf(why, 256, "it has blocks of %u bytes%s", block,
			 block == 4096 ? ": give :bs=4096"
				       : ", which no namespace of ours can have");
		return -EINVAL;
	}
	while (block << store->shift < block_size)
		store->shift++;
	if (bh_nvme_ns_blocks(store->ns) >> store->shift)
		return 0;
	strcpy(why, "it has no blocks");
	return -EINVAL;
}

static uint32_t caps_of(const struct bn_store *store)
{
	const struct bh_nvme_id_ctrl *ctrl = bh_nvme_ctrl_data(store->device->nvme);
	const struct bh_nvme_id_ns *ns = bh_nvme_ns_data(store->ns);
	uint32_t caps = store->is_passing ? BH_BLK_CAP_SHARE : 0;

	if (ns->nsattr & 1) /* write protected */
		return caps;
	caps |= BH_BLK_CAP_WRITE;
	if (store->has_flush)
		caps |= BH_BLK_CAP_FLUSH;
	if (ctrl->oncs & BH_NVME_ONCS_WRITE_ZEROES)
		caps |= BH_BLK_CAP_WRITE_ZEROES;
	if (ctrl->oncs & BH_NVME_ONCS_DSM &&
	    (ns->dlfeat & BH_NVME_DLFEAT_READ_MASK) == BH_NVME_DLFEAT_READ_ZEROES)
		caps |= BH_BLK_CAP_DEALLOCATE;
	return caps;
}

/* Takes the last key off, which is none of an address. */
static int take_pass(char *arg, bool *is_passing, const char **why)
{
	char *first = strrchr(arg, '?'), *key = strrchr(arg, '&');

	if (!key || key < first) /* NULL is before all */
		key = first;
	*is_passing = true;
	if (!key || strncmp(key + 1, "pass=", 5) != 0)
		return 0;
	*is_passing = strcmp(key + 6, "on") == 0;
	if (!*is_passing && strcmp(key + 6, "off") != 0) {
		*why = "pass= is on or off";
		return -EINVAL;
	}
	*key = '\0';
	return 0;
}

static int open_store(struct bn_store *store, const struct bh_blk_spec *spec, const char *name,
		      const struct bh_log *log, char why[256])
{
	char *arg = strdup(spec->arg);
	struct bh_address address;
	const char *what = "";
	int rc = arg ? take_pass(arg, &store->is_passing, &what) : -ENOMEM;

	rc = rc ? rc : bh_address_parse(arg, &address, &what);
	free(arg);
	if (rc) {
		snprintf(why, 256, "%s", what);
		return rc;
	}
	store->device = find_peer(spec, &address);
	rc = store->device ? 0 : bn_device_open(&address, log, why, &store->device);
	if (rc)
		return rc;
	store->ns = pick_ns(store->device->nvme, address.nsid, why);
	if (!store->ns)
		return -ENODEV;
	rc = check_format(store, spec->block_size, why);
	if (rc)
		return rc;
	store->has_flush = bh_nvme_ctrl_data(store->device->nvme)->vwc & BH_NVME_VWC_PRESENT;
	rc = bh_blk_init(&store->blk, &bn_ops, name, spec->block_size,
			 bh_nvme_ns_blocks(store->ns) >> store->shift, caps_of(store), log);
	if (!rc)
		bh_log(log, BH_LOG_INFO, BN_LOG, "%s: namespace %u of %s, %llu blocks of %u", name,
		       bh_nvme_ns_id(store->ns), address.target,
		       (unsigned long long)store->blk.info.blocks, spec->block_size);
	return rc;
}

static int create(const struct bh_blk_spec *spec, const char *name, const struct bh_log *log,
		  char why[256], struct bh_blk **out)
{
	struct bn_store *store = calloc(1, sizeof(*store));
	char reason[256] = "";
	int rc;

	if (!store)
		return -ENOMEM;
	rc = open_store(store, spec, name, log, reason);
	if (rc) {
		snprintf(why, 256, "nvme:%.100s: %.140s", spec->arg,
			 reason[0] ? reason : strerror(-rc));
		bn_device_put(store->device);
		free(store);
		return rc;
	}
	if (spec->has_uuid)
		memcpy(store->blk.info.uuid, spec->uuid, sizeof(store->blk.info.uuid));
	*out = &store->blk;
	return 0;
}

const struct bh_blk_type bh_blk_nvme_type = { "nvme", create };

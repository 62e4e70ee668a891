/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces.
 *
 * A handle is made when a namespace is first seen and lives until detach; one that goes away
 * becomes inactive, with 0 blocks, and the same handle comes back with it. What the data path
 * needs (block size, transfer limit, boundary) is one 64-bit word, replaced at once, so a rescan
 * never shows a queue owner half of a change.
 *
 * A namespace of a command set we have no functions for is listed, without blocks. A zoned one is
 * served like an ordinary one, with a shape of its own (zns.c). So has one with metadata (meta.h).
 *
 * Blocks of a size that no format has, or larger than a command may be, are no namespace: nobody
 * could say how many bytes one has.
 *
 * The controller's lists are believed as long as they ascend, and up to a number of namespaces
 * that bounds what a scan costs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nvme/meta.h"
#include "nvme/nvme.h"
#include "nvme/queue_io.h"

#define NS_MOST 1024u

static int identify(struct bh_nvme *nvme, uint8_t cns, uint32_t nsid, void *buf)
{
	struct bh_nvme_cmd cmd = bh__identify_cmd(cns, nsid, BH_NVME_CSI_NVM, 0);

	return bh__admin_sync(nvme, &cmd, buf, 4096, NULL);
}

static struct bh_nvme_ns *ns_find(struct bh_nvme *nvme, uint32_t nsid, bool make)
{
	struct bh_nvme_ns **at = &nvme->namespaces, *ns;

	while (*at && (*at)->nsid < nsid)
		at = &(*at)->next;
	if (*at && (*at)->nsid == nsid)
		return *at;
	if (!make)
		return NULL;
	ns = calloc(1, sizeof(*ns));
	if (!ns)
		return NULL;
	ns->nsid = nsid;
	ns->next = *at;
	*at = ns;
	return ns;
}

static void ns_gone(struct bh_nvme_ns *ns)
{
	ns->active = false;
	__atomic_store_n(&ns->blocks, 0, __ATOMIC_RELAXED);
	bh__zns_none(ns);
}

/* Gone, and I/O to it is refused here: the block size stays what it was. */
static void ns_unserved(struct bh_nvme_ns *ns)
{
	uint32_t shift = __atomic_load_n(&ns->geom, __ATOMIC_RELAXED) & 0x1f;

	__atomic_store_n(&ns->geom, bh__geom(shift ? shift : 9, 0, 0), __ATOMIC_RELAXED);
	__atomic_store_n(&ns->fused_max, 0, __ATOMIC_RELAXED);
	ns_gone(ns);
}

static void set_shape(struct bh_nvme *nvme, struct bh_nvme_ns *ns)
{
	const struct bh_nvme_id_ns *id = &ns->data;
	const struct bh_nvme_lbaf *f = &id->lbaf[bh_nvme_flbas_index(id->flbas) & 63];
	uint64_t geom;
	uint32_t max;

	if (!id->nsze) {
		ns_gone(ns);
		return;
	}
	if (f->lbads < 9 || f->lbads > 20 || !(nvme->max_transfer >> f->lbads)) {
		bh__log(nvme, BH_LOG_WARN, "namespace %u has blocks of 2^%u bytes: left out",
			ns->nsid, f->lbads);
		ns_unserved(ns);
		return;
	}
	max = nvme->max_transfer >> f->lbads;
	max = max > 65536 ? 65536 : max;
	geom = f->ms ? bh__meta_shape(nvme, ns, f) : bh__geom(f->lbads, max, id->noiob);
	if (ns->csi == BH_NVME_CSI_ZNS)
		geom = bh__zns_shape(nvme, ns, geom);
	else
		bh__zns_none(ns);
	__atomic_store_n(&ns->geom, geom, __ATOMIC_RELAXED);
	__atomic_store_n(&ns->fused_max, bh__fused_max(nvme, ns, geom), __ATOMIC_RELAXED);
	__atomic_store_n(&ns->blocks, id->nsze, __ATOMIC_RELAXED);
	ns->active = true;
}

/* Listed, and no more: what its data mean only its command set says. */
static int ns_foreign(struct bh_nvme *nvme, uint32_t nsid, const struct bh__ns_ids *ids)
{
	struct bh_nvme_ns *ns = ns_find(nvme, nsid, true);

	if (!ns)
		return -ENOMEM;
	bh__log(nvme, BH_LOG_WARN, "namespace %u is of the %s command set (CSI %u): not served",
		nsid, bh_nvme_csi_str(ids->csi), ids->csi);
	memset(&ns->data, 0, sizeof(ns->data));
	ns_unserved(ns);
	ns->csi = ids->csi;
	memcpy(ns->uuid, ids->uuid, sizeof(ns->uuid));
	ns->active = ns->seen = true;
	return 0;
}

static int ns_read(struct bh_nvme *nvme, uint32_t nsid, uint8_t *buf)
{
	struct bh_nvme_ns *ns;
	struct bh__ns_ids ids;
	int rc;

	bh__cmdset_ids(nvme, nsid, buf, &ids);
	if (ids.csi != BH_NVME_CSI_NVM && ids.csi != BH_NVME_CSI_ZNS)
		return ns_foreign(nvme, nsid, &ids);
	rc = identify(nvme, BH_NVME_CNS_NS, nsid, buf);
	if (rc < 0)
		return rc;
	/* It may have gone between the list and here. */
	ns = ns_find(nvme, nsid, rc == 0);
	if (!ns)
		return rc ? 0 : -ENOMEM;
	if (rc) {
		ns_gone(ns);
		return 0;
	}
	ns->seen = true;
	ns->csi = ids.csi;
	memcpy(ns->uuid, ids.uuid, sizeof(ns->uuid));
	memcpy(&ns->data, buf, sizeof(ns->data));
	if (ns->csi == BH_NVME_CSI_ZNS)
		rc = bh__zns_read(nvme, ns, buf);
	else
		rc = bh__meta_read(nvme, ns, buf);
	if (!rc)
		set_shape(nvme, ns);
	return rc;
}

/* The next ids after `after` into list; controllers of before 1.1 have 1 to NN and no list. */
static int next_list(struct bh_nvme *nvme, uint32_t after, struct bh_nvme_ns_list *list)
{
	unsigned int i;

	if (nvme->vs >= BH_NVME_VERSION(1, 1, 0))
		return identify(nvme, BH_NVME_CNS_ACTIVE_NS_LIST, after, list);
	memset(list, 0, sizeof(*list));
	for (i = 0; i < 1024 && after < nvme->id.nn; i++)
		list->nsid[i] = ++after;
	return 0;
}

int bh__ns_scan(struct bh_nvme *nvme)
{
	struct bh_nvme_ns_list *list = malloc(sizeof(*list));
	uint8_t *buf = malloc(4096);
	struct bh_nvme_ns *ns;
	uint32_t last = 0;
	unsigned int i, n = 0;
	int rc = list && buf ? 0 : -ENOMEM;

	for (ns = nvme->namespaces; ns; ns = ns->next)
		ns->seen = false;
	do {
		rc = rc ? rc : next_list(nvme, last, list);
		/* Ascending, as it has to be, or the list has ended. */
		for (i = 0; !rc && i < 1024 && n < NS_MOST && list->nsid[i] > last &&
			    list->nsid[i] != BH_NVME_NSID_ALL;
		     i++, n++) {
			last = list->nsid[i];
			rc = ns_read(nvme, last, buf);
		}
	} while (!rc && i == 1024 && n < NS_MOST);
	if (!rc && n == NS_MOST)
		bh__log(nvme, BH_LOG_WARN, "namespaces after %u are left out: %u are our most",
			last, NS_MOST);
	for (ns = nvme->namespaces; !rc && ns; ns = ns->next)
		if (!ns->seen)
			ns_gone(ns);
	if (rc > 0) {
		bh__log(nvme, BH_LOG_ERROR, "the list of namespaces cannot be read: %s",
			bh_nvme_status_str((uint16_t)rc));
		rc = -EIO;
	}
	free(list);
	free(buf);
	return rc;
}

void bh__ns_free(struct bh_nvme *nvme)
{
	while (nvme->namespaces) {
		struct bh_nvme_ns *ns = nvme->namespaces;

		nvme->namespaces = ns->next;
		free(ns);
	}
}

static struct bh_nvme_ns *first_active(struct bh_nvme_ns *ns)
{
	while (ns && !ns->active)
		ns = ns->next;
	return ns;
}

struct bh_nvme_ns *bh_nvme_ns_first(struct bh_nvme *nvme)
{
	return first_active(nvme->namespaces);
}

struct bh_nvme_ns *bh_nvme_ns_next(struct bh_nvme_ns *ns)
{
	return first_active(ns->next);
}

struct bh_nvme_ns *bh_nvme_ns_get(struct bh_nvme *nvme, uint32_t nsid)
{
	struct bh_nvme_ns *ns = ns_find(nvme, nsid, false);

	return ns && ns->active ? ns : NULL;
}

uint32_t bh_nvme_ns_id(const struct bh_nvme_ns *ns)
{
	return ns->nsid;
}

uint8_t bh_nvme_ns_csi(const struct bh_nvme_ns *ns)
{
	return ns->csi;
}

uint32_t bh_nvme_ns_block_size(const struct bh_nvme_ns *ns)
{
	return bh__geom_unit(__atomic_load_n(&ns->geom, __ATOMIC_RELAXED));
}

uint64_t bh_nvme_ns_blocks(const struct bh_nvme_ns *ns)
{
	return __atomic_load_n(&ns->blocks, __ATOMIC_RELAXED);
}

const struct bh_nvme_id_ns *bh_nvme_ns_data(const struct bh_nvme_ns *ns)
{
	return &ns->data;
}

void bh_nvme_ns_uuid(const struct bh_nvme_ns *ns, uint8_t uuid[16])
{
	memcpy(uuid, ns->uuid, 16);
}

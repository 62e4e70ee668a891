/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of client memory.
 *
 * One control thread changes it, and only under quiesce: no other thread is then inside a lookup or
 * holds a pointer it got from one. So a change builds the next table beside the current one,
 * publishes it with one store, and takes apart at once what left it. The table that was current is
 * kept as the spare, the place where the one after the next is built; adding makes it large enough,
 * so that removing (which a disconnect must be able to do) never needs memory.
 *
 * Addresses are any 64-bit numbers: a region may end at 2^64 exactly, and iova + len is never
 * computed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bellhop/range.h>

#include "base/fd.h"
#include "base/probe.h"
#include "cmem/cmem.h"

static struct bh_cmem_table *table_of(const struct bh_cmem *cm)
{
	return __atomic_load_n(&cm->table, __ATOMIC_ACQUIRE);
}

/* A table for up to `capacity` regions, made of `old` (may be NULL); NULL: old is unchanged. */
static struct bh_cmem_table *table_sized(struct bh_cmem_table *old, size_t capacity)
{
	struct bh_cmem_table *t;

	if (old && old->capacity >= capacity)
		return old;
	capacity += capacity / 2 + 4;
	t = realloc(old, sizeof(*t) + capacity * sizeof(t->region[0]));
	if (!t)
		return NULL;
	t->count = 0;
	t->capacity = capacity;
	t->region = (struct bh_cmem_region **)(t + 1);
	return t;
}

/* Release pairs with table_of's acquire; the old one has no readers (see above). */
static void publish_spare(struct bh_cmem *cm)
{
	struct bh_cmem_table *old = cm->table;

	__atomic_store_n(&cm->table, cm->spare, __ATOMIC_RELEASE);
	cm->spare = old;
}

/* Index of the first region that ends after iova. */
static size_t lower(const struct bh_cmem_table *t, uint64_t iova)
{
	size_t lo = 0, hi = t->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct bh_cmem_region *r = t->region[mid];

		if (r->iova <= iova && iova - r->iova >= r->len)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int bh_cmem_init(struct bh_cmem *cm, const struct bh_cmem_ops *ops, void *ops_ctx,
		 size_t max_regions, const struct bh_log *log)
{
	struct bh_cmem_table *t = table_sized(NULL, 0);

	*cm = (struct bh_cmem){
		.ops = ops, .ops_ctx = ops_ctx, .max_regions = max_regions, .log = log
	};
	if (!t)
		return -ENOMEM;
	__atomic_store_n(&cm->table, t, __ATOMIC_RELEASE);
	return 0;
}

void bh_cmem_fini(struct bh_cmem *cm)
{
	if (!cm->table)
		return;
	bh_cmem_del(cm, 0, 0);
	free(cm->spare);
	free(cm->table);
	*cm = (struct bh_cmem){ 0 };
}

static int check_args(const struct bh_cmem *cm, const struct bh_cmem_region *r)
{
	const struct bh_cmem_table *t = table_of(cm);
	bool known =
		r->mode == BH_CMEM_MAPPED || r->mode == BH_CMEM_FILE || r->mode == BH_CMEM_MESSAGE;
	size_t at;

	if (!bh_range_valid(r->iova, r->len) || !known ||
	    r->prot & ~(BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE) ||
	    (r->mode == BH_CMEM_MESSAGE) != (r->fd < 0))
		return -EINVAL;
	at = lower(t, r->iova);
	if (at < t->count &&
	    bh_range_overlaps(t->region[at]->iova, t->region[at]->len, r->iova, r->len))
		return -EEXIST;
	return t->count < cm->max_regions ? 0 : -ENOSPC;
}

static void insert(struct bh_cmem *cm, struct bh_cmem_region *r)
{
	const struct bh_cmem_table *old = cm->table;
	struct bh_cmem_table *next = cm->spare;
	size_t at = lower(old, r->iova);

	memcpy(next->region, old->region, at * sizeof(r));
	next->region[at] = r;
	memcpy(&next->region[at + 1], &old->region[at], (old->count - at) * sizeof(r));
	next->count = old->count + 1;
	publish_spare(cm);
}

static int region_new(struct bh_cmem *cm, const struct bh_cmem_region *wanted,
		      struct bh_cmem_region **out)
{
	struct bh_cmem_table *spare = table_sized(cm->spare, cm->table->count + 1);
	struct bh_cmem_region *r;
	int rc;

	if (!spare)
		return -ENOMEM;
	cm->spare = spare;
	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = *wanted;
	rc = bh__cmem_region_open(r, &cm->faults);
	if (rc < 0) {
		free(r);
		return rc;
	}
	/* The mapping holds the file. A client may make thousands, and all share our fds. */
	if (r->mode == BH_CMEM_MAPPED)
		bh__fd_close(&r->fd);
	*out = r;
	return 0;
}

int bh_cmem_add(struct bh_cmem *cm, uint64_t iova, uint64_t len, uint32_t prot,
		enum bh_cmem_mode mode, int fd, uint64_t fd_offset)
{
	struct bh_cmem_region *r, wanted = { .iova = iova,
					     .len = len,
					     .prot = prot,
					     .mode = mode,
					     .fd = fd,
					     .fd_offset = fd_offset };
	int rc = check_args(cm, &wanted);

	if (rc == 0)
		rc = region_new(cm, &wanted, &r);
	if (rc < 0) {
		if (fd >= 0 && cm->ops && cm->ops->close)
			cm->ops->close(cm->ops_ctx, fd);
		else if (fd >= 0)
			close(fd);
		return rc;
	}
	insert(cm, r);
	BH_PROBE4(client_map, cm, iova, len, prot);
	bh_log(cm->log, BH_LOG_DEBUG, "cmem", "%#llx + %#llx, prot %u, by %s",
	       (unsigned long long)iova, (unsigned long long)len, prot,
	       mode == BH_CMEM_MAPPED ? "mapping"
	       : mode == BH_CMEM_FILE ? "file"
				      : "message");
	return 0;
}

/* Takes the regions [from, to) out of the table, then apart. */
static void cut(struct bh_cmem *cm, size_t from, size_t to)
{
	struct bh_cmem_table *old = cm->table, *next = cm->spare;

	if (from == to)
		return;
	memcpy(next->region, old->region, from * sizeof(old->region[0]));
	memcpy(&next->region[from], &old->region[to], (old->count - to) * sizeof(old->region[0]));
	next->count = old->count - (to - from);
	publish_spare(cm);
	for (size_t i = from; i < to; i++) {
		BH_PROBE3(client_unmap, cm, old->region[i]->iova, old->region[i]->len);
		bh__cmem_region_close(old->region[i]);
		free(old->region[i]);
	}
	old->count = 0;
}

/* The regions [*from, *to) of the table that lie inside [iova, iova + len). Errors of inside. */
static int find_inside(const struct bh_cmem_table *t, uint64_t iova, uint64_t len, size_t *from,
		       size_t *to)
{
	size_t at;

	if (!bh_range_valid(iova, len))
		return -EINVAL;
	*from = lower(t, iova);
	for (at = *from; at < t->count; at++) {
		const struct bh_cmem_region *r = t->region[at];

		if (!bh_range_overlaps(iova, len, r->iova, r->len))
			break;
		if (r->iova < iova || !bh_range_inside(r->iova - iova, r->len, len))
			return -EINVAL;
	}
	*to = at;
	return *from < *to ? 0 : -ENOENT;
}

int bh_cmem_inside(const struct bh_cmem *cm, uint64_t iova, uint64_t len)
{
	size_t from, to;

	return find_inside(table_of(cm), iova, len, &from, &to);
}

int bh_cmem_del(struct bh_cmem *cm, uint64_t iova, uint64_t len)
{
	const struct bh_cmem_table *t = table_of(cm);
	size_t from = 0, to = t->count;
	int rc = 0;

	if (iova != 0 || len != 0)
		rc = find_inside(t, iova, len, &from, &to);
	if (rc == 0)
		cut(cm, from, to);
	return rc;
}

void bh_cmem_revoke(struct bh_cmem *cm, uint64_t iova, uint64_t len)
{
	const struct bh_cmem_table *t = table_of(cm);
	size_t from = 0, to = t->count;

	if ((iova != 0 || len != 0) && find_inside(t, iova, len, &from, &to) != 0)
		return;
	for (size_t i = from; i < to; i++) {
		struct bh_cmem_region *r = t->region[i];
		int rc = r->map_base ? bh_fault_range_fail(&r->guard) : 0;

		if (rc != 0)
			bh_log(cm->log, BH_LOG_ERROR, "cmem",
			       "%#llx + %#llx cannot be taken back: %s",
			       (unsigned long long)r->iova, (unsigned long long)r->len,
			       strerror(-rc));
	}
}

const struct bh_cmem_region *bh_cmem_find(const struct bh_cmem *cm, uint64_t iova)
{
	const struct bh_cmem_table *t = table_of(cm);
	size_t at = lower(t, iova);

	return at < t->count && t->region[at]->iova <= iova ? t->region[at] : NULL;
}

static bool lost(const struct bh_cmem_region *r)
{
	return r->mode == BH_CMEM_MAPPED && __atomic_load_n(&r->guard.failed, __ATOMIC_ACQUIRE);
}

void *bh_cmem_lookup(const struct bh_cmem *cm, struct bh_cmem_cache *cache, uint64_t iova,
		     uint64_t len, uint32_t prot)
{
	const struct bh_cmem_region *r = bh_cmem_find(cm, iova);

	if (!r || r->mode != BH_CMEM_MAPPED || (r->prot & prot) != prot || lost(r) ||
	    !bh_range_inside(iova - r->iova, len, r->len))
		return NULL;
	cache->iova = r->iova;
	cache->len = r->len;
	cache->va = r->va;
	cache->denied = ~r->prot;
	return r->va + (iova - r->iova);
}

bool bh_cmem_failed(const struct bh_cmem *cm, uint64_t iova, uint64_t len)
{
	while (len > 0) {
		const struct bh_cmem_region *r = bh_cmem_find(cm, iova);
		uint64_t here;

		if (!r || lost(r))
			return true;
		here = r->len - (iova - r->iova);
		if (here >= len)
			return false;
		/* iova becomes 0 only behind a region that ends at 2^64: nothing follows it. */
		iova += here;
		len -= here;
		if (iova == 0)
			return true;
	}
	return false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Client memory that stores are told of, so that requests pass through them without a copy.
 *
 * What a client maps is kept here, whole pages that can be read and written, in pieces that do not
 * keep a store busy for long; each store that takes shared memory is told of each, when the memory
 * comes and when the namespace comes. Of more than a client needs the rest is not shared, and is
 * copied as it is for any store.
 *
 * Memory goes in this order: the I/O plane finishes the requests that are in it (io_gate.c), here it
 * is taken back from the stores, which answer when no device reaches it, then the server unmaps it.
 * A namespace that goes takes it back from its store likewise; what is to be unmapped meanwhile waits
 * for that, since it may be the same memory. Both wait, and nothing else does: the control thread
 * goes on.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <bellhop/range.h>

#include "target/nvme/control.h"

/* A guest with an IOMMU of its own maps a buffer for as long as one command: to share that is dear. */
#define MIN_BYTES (1ull << 20)
#define PIECE_BYTES (4ull << 30)
#define MAX_PIECES 64u /* a descriptor each, in stores too */

struct tn_mem {
	struct tn_mem *next;
	uint64_t iova;
	struct bh_blk_mem mem;
};

static void mem_free(struct tn_mem *m)
{
	close(m->mem.fd);
	free(m);
}

/* ---- coming ---- */

static void add_piece(struct bh_target_nvme *ctrl, uint64_t iova, const struct bh_blk_mem *mem)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);
	struct tn_mem *m = calloc(1, sizeof(*m));
	uint32_t nsid;

	if (!m)
		return;
	m->iova = iova;
	m->mem = *mem;
	m->mem.fd = fcntl(mem->fd, F_DUPFD_CLOEXEC, 0);
	if (m->mem.fd < 0) {
		free(m);
		return;
	}
	m->next = ctl->mem;
	ctl->mem = m;
	ctl->num_mem++;
	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++)
		if (ctrl->ns[nsid] && ctrl->ns[nsid]->is_shared_with)
			bh_blk_share(ctrl->ns[nsid]->blk, &m->mem);
}

void tn_mem_mapped(struct bh_target_nvme *ctrl, uint64_t iova, uint64_t len, uint32_t prot, int fd,
		   uint64_t fd_offset)
{
	const uint64_t mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
	struct bh_cmem_cache cache = { 0 };
	struct bh_blk_mem mem = { .fd = fd };
	uint8_t *va;

	if (len < MIN_BYTES || !(prot & BH_CMEM_PROT_WRITE) || !(prot & BH_CMEM_PROT_READ))
		return;
	va = bh_cmem_ptr(ctrl->cmem, &cache, iova, len, prot);
	if (!va || (((uintptr_t)va | fd_offset | len) & mask) != 0)
		return;
	while (len && tn_ctl(ctrl)->num_mem < MAX_PIECES) {
		mem.va = va;
		mem.len = len < PIECE_BYTES ? len : PIECE_BYTES;
		mem.fd_offset = fd_offset;
		add_piece(ctrl, iova, &mem);
		va += mem.len;
		iova += mem.len;
		fd_offset += mem.len;
		len -= mem.len;
	}
}

void tn_mem_share(struct bh_target_nvme *ctrl, struct tn_ns *ns)
{
	const struct tn_mem *m;

	ns->is_shared_with = true;
	for (m = tn_ctl(ctrl)->mem; m; m = m->next)
		bh_blk_share(ns->blk, &m->mem);
}

/* ---- going ---- */

bool tn_mem_is_shared(const struct bh_target_nvme *ctrl, uint64_t iova, uint64_t len)
{
	const struct tn_mem *m = tn_ctl(ctrl)->mem;

	while (m && !bh_range_overlaps(m->iova, m->mem.len, iova, len))
		m = m->next;
	return m != NULL;
}

static void taken(void *ctx)
{
	struct tn_taking *taking = ctx;

	taking->done(taking->arg);
}

/* One more store has let go of it: any thread. */
static void one_taken(void *arg)
{
	struct tn_taking *taking = arg;

	if (__atomic_sub_fetch(&taking->left, 1, __ATOMIC_ACQ_REL) == 0)
		bh_reactor_send(taking->control, &taking->msg);
}

static void taking_begin(struct bh_target_nvme *ctrl, struct tn_taking *taking,
			 void (*done)(void *arg), void *arg)
{
	taking->msg = (struct bh_msg){ .fn = taken, .ctx = taking };
	taking->control = ctrl->control;
	taking->left = 1;
	taking->done = done;
	taking->arg = arg;
}

static void take_from(struct tn_taking *taking, struct bh_blk *blk, const struct bh_blk_mem *mem)
{
	__atomic_fetch_add(&taking->left, 1, __ATOMIC_RELAXED);
	bh_blk_unshare(blk, mem, one_taken, taking);
}

/* All stores' of a piece that is in the list no more. */
static void take_piece(struct bh_target_nvme *ctrl, struct tn_taking *taking,
		       const struct tn_mem *m)
{
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++)
		if (ctrl->ns[nsid] && ctrl->ns[nsid]->is_shared_with)
			take_from(taking, ctrl->ns[nsid]->blk, &m->mem);
}

bool tn_mem_take(struct bh_target_nvme *ctrl, uint64_t iova, uint64_t len, struct tn_taking *taking,
		 void (*done)(void *arg), void *arg)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);
	struct tn_mem **at = &ctl->mem, *m;

	if (ctl->ns_takings) {
		ctl->taken_then = done;
		ctl->taken_arg = arg;
		return true;
	}
	if (!tn_mem_is_shared(ctrl, iova, len))
		return false;
	taking_begin(ctrl, taking, done, arg);
	while ((m = *at) != NULL) {
		if (!bh_range_overlaps(m->iova, m->mem.len, iova, len)) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		ctl->num_mem--;
		take_piece(ctrl, taking, m);
		mem_free(m);
	}
	one_taken(taking);
	return true;
}

bool tn_mem_take_ns(struct bh_target_nvme *ctrl, struct tn_ns *ns, struct tn_taking *taking,
		    void (*done)(void *arg), void *arg)
{
	const struct tn_mem *m = tn_ctl(ctrl)->mem;

	if (!ns->is_shared_with || !m)
		return false;
	ns->is_shared_with = false;
	tn_ctl(ctrl)->ns_takings++;
	taking_begin(ctrl, taking, done, arg);
	for (; m; m = m->next)
		take_from(taking, ns->blk, &m->mem);
	one_taken(taking);
	return true;
}

void tn_mem_ns_taken(struct bh_target_nvme *ctrl)
{
	struct tn_ctl *ctl = tn_ctl(ctrl);
	void (*then)(void *arg) = ctl->taken_then;

	if (--ctl->ns_takings || !then)
		return;
	ctl->taken_then = NULL;
	then(ctl->taken_arg);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Metadata of requests, see meta.c. Private to the I/O plane; the request's thread. */
#ifndef TARGET_NVME_META_H
#define TARGET_NVME_META_H

#include "target/nvme/plane.h"

struct tn_meta;

/*
 * What a decoded command of a namespace with metadata asks for beyond its data: 0, or the status it
 * fails with.
 */
uint16_t tn_meta_decode(const struct tn_thread *t, struct tn_job *job,
			const struct bh_nvme_cmd *cmd);

uint16_t tn_meta_decode_copy(struct tn_job *job, const struct bh_nvme_cmd *cmd);

/*
 * Copy, of requests that has_md is set for. Each a status field: whether a source may be asked for
 * like that; one has been read to block `at` of the buffer; all have, and are to be written.
 */
uint16_t tn_meta_check_range(const struct tn_req *req, const struct bh_nvme_copy_range *range);
uint16_t tn_meta_copied(struct tn_req *req, const struct bh_nvme_copy_range *range, uint32_t at);
uint16_t tn_meta_copy(struct tn_req *req);

/* Of requests that has_md is set for: bytes of the buffer, and of what is beside it. */
size_t tn_meta_bytes(const struct tn_job *job);
size_t tn_meta_charge(void);
size_t tn_meta_apart(const struct tn_job *job); /* of it, that travel by themselves */
struct tn_meta *tn_meta_new(const struct tn_job *job); /* NULL: no memory */
void tn_meta_free(struct tn_meta *meta);
void tn_meta_cancel(struct tn_meta *meta);	     /* its transfer is done with any status */
struct iovec tn_meta_data(const struct tn_req *req); /* what the store reads or writes */

/*
 * Metadata that travel by themselves: false, there is nothing to move; else done(req, status) on the
 * request's thread, possibly before this returns.
 */
bool tn_meta_fetch(struct tn_req *req, tn_done done);
bool tn_meta_send(struct tn_req *req, tn_done done);

/* Of a write that the store has been given back by, on any thread. */
void tn_meta_left(struct tn_req *req);

/* All that comes from the host is here, of any request to the namespace: a status field. */
uint16_t tn_meta_take(struct tn_req *req);
/* The blocks of req->io are about to be deallocated. */
void tn_meta_forget(const struct tn_req *req);
/* The store has done its part, of any request to the namespace. */
uint16_t tn_meta_stored(struct tn_req *req);

#endif

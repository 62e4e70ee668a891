/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces with metadata: their shape, and requests to them. Private to the driver.
 *
 * Such a shape has no blocks that a command of the straight path could carry (the bits for them are
 * 0), so that path leaves to the rare one, which looks at BH__GEOM_META. The rest of the word is
 * laid out anew:
 *
 *	4:0 log2 of data bytes   5 BH__GEOM_META   47:32 boundary (NOIOB)   59:48 metadata bytes
 *	61:60 protection type    62 tuple first    63 interleaved
 */
#ifndef NVME_META_H
#define NVME_META_H

#include <bellhop/pi.h>

#include "nvme/queue_io.h"

#define BH__META_MOST 4095u /* bytes of metadata in a block: what the word has room for */

static inline uint64_t bh__meta_geom(uint32_t shift, uint32_t md, uint32_t boundary, uint32_t type,
				     bool first, bool inter)
{
	return shift | BH__GEOM_META | (uint64_t)(uint16_t)boundary << 32 |
	       (uint64_t)(md & BH__META_MOST) << 48 | (uint64_t)(type & 3) << 60 |
	       (uint64_t)first << 62 | (uint64_t)inter << 63;
}

/* Bytes of data in a block, of any shape. */
static inline uint32_t bh__meta_data(uint64_t geom)
{
	return 1u << (geom & 0x1f);
}

static inline uint32_t bh__meta_md(uint64_t geom)
{
	return (uint32_t)(geom >> 48) & BH__META_MOST;
}

static inline uint32_t bh__meta_boundary(uint64_t geom)
{
	return (uint16_t)(geom >> 32);
}

static inline uint8_t bh__meta_type(uint64_t geom)
{
	return (uint8_t)(geom >> 60 & 3);
}

static inline bool bh__meta_first(uint64_t geom)
{
	return geom >> 62 & 1;
}

static inline bool bh__meta_inter(uint64_t geom)
{
	return geom >> 63;
}

/* Metadata is the tuple and nothing else: with PRACT it is not transferred (NVM 1.0, 5.2.2). */
static inline bool bh__meta_pi_only(uint64_t geom)
{
	return bh__meta_type(geom) && bh__meta_md(geom) == BH_PI_TUPLE;
}

/* Bytes of a block as read and write without options transfer them, of any shape. */
static inline uint32_t bh__geom_unit(uint64_t geom)
{
	uint32_t data = bh__meta_data(geom);

	if (!(geom & BH__GEOM_META) || !bh__meta_inter(geom) || bh__meta_pi_only(geom))
		return data;
	return data + bh__meta_md(geom);
}

/*
 * The shape of a namespace whose format has metadata, from its identify data; one that is not
 * served, with the reason logged, where we cannot.
 */
uint64_t bh__meta_shape(struct bh_nvme *nvme, const struct bh_nvme_ns *ns,
			const struct bh_nvme_lbaf *f);
/* Reads which guard the format in use has into ns->elbaf; buf: 4096 bytes. 0 or -errno. */
int bh__meta_read(struct bh_nvme *nvme, struct bh_nvme_ns *ns, uint8_t *buf);

/*
 * A request to a namespace with metadata. Without options: the controller makes and verifies
 * protection information. at: no data (Write Zeroes) or all of it. As bh_nvme_readv_opts() returns.
 */
int bh__meta_plain(struct bh_nvme_queue *q, uint8_t opc, uint32_t nsid, uint64_t geom,
		   const struct bh__cursor *at, uint64_t lba, uint32_t blocks, uint32_t flags,
		   bh_nvme_done done, void *arg);

/* Issues one command of a parent; there is a free slot. */
int bh__meta_issue(struct bh_nvme_queue *q, struct bh__parent *p);
/* All parts of a read are there: the status that its protection information deserves. */
uint16_t bh__meta_verify(const struct bh__parent *p);

#endif

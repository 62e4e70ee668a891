/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's side of a virtqueue in client memory (virtio 1.2 2.6 to 2.8), split or packed.
 *
 * A device fetches chains of buffers with bh_vdq_pop(), moves data, gives them back with
 * bh_vdq_push() and makes a run of them known with bh_vdq_flush(), after which bh_vdq_wants_call()
 * says whether the driver wants to hear of it. All of that is inline in vdq_io.h and costs no call
 * for a buffer of one descriptor; chains and indirect tables are walked in walk.c.
 *
 * The ring is the client's, and the client may be hostile. Each value is read once, checked and
 * used; what a queue trusts (positions, sizes, pointers) is its own. A ring that makes no sense
 * breaks its queue: bh_vdq_break() keeps the reason, and from then on nothing is available and
 * nothing is written. The owner of the queue tells the driver (DEVICE_NEEDS_RESET).
 *
 * A queue belongs to one thread. Pointers into client memory are good until the next quiesce,
 * after which the owner calls bh_vdq_resolve(); between the two nothing here is called.
 */
#ifndef VIRTIO_DEV_VDQ_H
#define VIRTIO_DEV_VDQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/cmem.h>

#include "virtio/ring.h"
#include "virtio/virtio.h"

/* Of all the buffers of a chain, each way: more is no request any device here understands. */
#define BH_VDQ_MAX_BYTES (1u << 20)
/* Of a chain, indirect tables included. */
#define BH_VDQ_MAX_SEGS 1024u

/* Where a split ring's event index is parked, in entries ahead: see vdq.c. */
#define BH_VDQ_PARKED 0x8000u

/* A piece of a buffer. */
struct bh_vdq_seg {
	uint8_t *va;
	uint64_t iova;
	uint32_t len;
};

/* What the driver made available at one place of the ring: first what we read, then what we write. */
struct bh_vdq_chain {
	struct bh_vdq_seg *seg; /* out, then in */
	uint16_t id;		/* to be given back */
	uint16_t num_desc;	/* places of the ring it takes */
	uint16_t out, in;	/* segments */
	uint32_t out_bytes, in_bytes;
};

/* A place to go back to. */
struct bh_vdq_pos {
	uint16_t next_avail;
	bool wrap;
};

struct bh_vdq_conf {
	uint16_t size;		       /* entries; a power of two in a split ring */
	uint64_t desc, driver, device; /* iova of the three areas */
	uint64_t features;	       /* masks of BH_VIRTIO_F_*, as negotiated */
};

struct bh_vdq {
	/* ---- read by every fetch ---- */
	struct bh_virtq_packed_desc *packed; /* or split: */
	const struct bh_virtq_desc *desc;
	struct bh_virtq_avail *avail;
	struct bh_virtq_used *used;
	const struct bh_cmem *cmem;
	struct bh_cmem_cache cache; /* buffers */
	uint16_t size;
	uint16_t next_avail; /* packed: an offset; split: free-running */
	uint16_t seen_avail; /* split: the index read last */
	uint16_t next_used;  /* likewise */
	bool avail_wrap, used_wrap;
	bool is_packed, is_in_order, has_event_idx;
	bool is_live;	/* resolved, and not broken */
	bool is_silent; /* the driver has been told not to kick */
	bool is_logged; /* somebody wants to know what we write */
	/* ---- staged since the last flush ---- */
	uint16_t staged;       /* places */
	uint16_t first_staged; /* packed: its flags are stored last */
	uint16_t first_flags;
	/* ---- calls and kicks ---- */
	uint16_t uncalled;   /* places published since the last look at the driver's wishes */
	uint16_t kick_event; /* split, with EVENT_IDX: the avail_event stored last */
	const struct bh_virtq_packed_event *driver_event;
	struct bh_virtq_packed_event *device_event;
	/* ---- rarely ---- */
	struct bh_vdq_conf conf;
	const char *broken; /* why, or NULL */
};

/*
 * Begins with an empty ring. Live when it returns 0. -EINVAL: size or alignment; -EFAULT: an area
 * is not mapped, or not for what is done with it. The queue is broken then.
 */
int bh_vdq_start(struct bh_vdq *q, const struct bh_cmem *cmem, const struct bh_vdq_conf *conf);
/*
 * Finds the areas again after client memory has changed. -EFAULT: one is gone, the queue is broken
 * (until it is resolved at another time: what was mapped again is as good as before).
 */
int bh_vdq_resolve(struct bh_vdq *q);
/* No client memory is touched from here on. A zeroed queue is accepted. */
void bh_vdq_stop(struct bh_vdq *q);
/* For good; the first reason counts. why is static text. Returns -EPROTO. */
int bh_vdq_break(struct bh_vdq *q, const char *why);
/* Has one of the areas been lost to a fault? */
bool bh_vdq_is_lost(const struct bh_vdq *q);

/*
 * Asks the driver to kick, or not to. After asking for kicks look at the ring again; there is a
 * full fence inside.
 */
void bh_vdq_kicks(struct bh_vdq *q, bool wanted);

/* The slow half of bh_vdq_pop(), which see. */
int bh__vdq_pop(struct bh_vdq *q, struct bh_vdq_chain *chain, struct bh_vdq_seg *seg,
		unsigned int max);
/* Reports what was written to [iova, iova + len), where anybody wants to know. */
void bh__vdq_dirty(const struct bh_vdq *q, uint64_t iova, uint64_t len);

#endif /* VIRTIO_DEV_VDQ_H */

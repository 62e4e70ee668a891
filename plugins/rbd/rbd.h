/* SPDX-License-Identifier: BSD-3-Clause */
/* The RBD store's inner shape: plugin.c opens images, chan.c does the I/O. */
#ifndef RBD_RBD_H
#define RBD_RBD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <rados/librados.h>
#include <rbd/librbd.h>

#include <bellhop/plugin.h>

#define RBD_LOG "rbd"
#define RBD_REQUESTS 1024u /* of a channel */

struct rbd_store {
	struct bh_blk blk;
	rados_t cluster;
	rados_ioctx_t io;
	rbd_image_t image;
	bool has_cluster, has_io, has_image;
	bool is_readonly;
};

extern const struct bh_plugin_host *rbd_host;
extern const struct bh_blk_ops rbd_ops;

/* ---- plugin.c ---- */

void rbd_destroy(struct bh_blk *blk); /* any thread, librbd's included */
int rbd_grow(struct bh_blk *blk, uint64_t blocks);

/* ---- chan.c ---- */

bool rbd_is_callback(void); /* is this a thread of librbd's, inside of one of our callbacks? */

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * null:SIZE. Reads leave the buffer alone, writes go nowhere: what is measured with it is
 * everything but the store. Nothing it was given ever reads back, so it compares equal with
 * anything.
 */
#include <stdlib.h>
#include <string.h>

#include <bellhop/blk.h>

static void null_destroy(struct bh_blk *blk)
{
	free(blk);
}

static int null_submit(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	if (io->op == BH_BLK_DEALLOCATE)
		return -EOPNOTSUPP;
	return bh_blk_check(chan->blk, io);
}

static int null_grow(struct bh_blk *blk, uint64_t blocks)
{
	(void)blk;
	(void)blocks;
	return 0;
}

static const struct bh_blk_ops null_ops = {
	.type = "null",
	.destroy = null_destroy,
	.chan_size = sizeof(struct bh_blk_chan),
	.submit = null_submit,
	.grow = null_grow,
};

static int null_create(const struct bh_blk_spec *spec, const char *name, const struct bh_log *log,
		       char why[256], struct bh_blk **out)
{
	const uint32_t caps = BH_BLK_CAP_WRITE | BH_BLK_CAP_WRITE_ZEROES | BH_BLK_CAP_COMPARE |
			      BH_BLK_CAP_CANCEL_SYNC | BH_BLK_CAP_SYNC;
	struct bh_blk *blk;
	uint64_t bytes;
	int rc = bh_blk_spec_bytes(spec, spec->arg, why, &bytes);

	if (rc)
		return rc;
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	rc = bh_blk_init(blk, &null_ops, name, spec->block_size, bytes / spec->block_size, caps,
			 log);
	if (rc) {
		free(blk);
		return rc;
	}
	if (spec->has_uuid)
		memcpy(blk->info.uuid, spec->uuid, sizeof(blk->info.uuid));
	blk->inline_kind = BH_BLK_INLINE_NULL;
	blk->beside = BH_BLK_BESIDE_SIZE;
	blk->min_block = 512;
	rc = bh_blk_media_open(blk, spec, why);
	if (rc)
		bh_blk_put(blk);
	else
		*out = blk;
	return rc;
}

const struct bh_blk_type bh_blk_null_type = { "null", null_create };

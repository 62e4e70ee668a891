/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PRP lists and SGLs without a controller around them: whatever the lists say, a walk ends, and one
 * that succeeds has described exactly the bytes the command moves.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "target/nvme/plane.h"

enum { MAX_FEEDS = 1 << 20 };

static void fill(struct fz_input *in, struct tn_walk *walk)
{
	struct bh_nvme_sgl *d = (struct bh_nvme_sgl *)(void *)walk->chunk;
	size_t n = walk->len / sizeof(*d), i;

	memset(walk->chunk, 0, walk->len);
	if (!walk->is_sgl) {
		for (i = 0; i < walk->len / 8 && in->left; i++)
			walk->chunk[i] = fz_address(in);
		return;
	}
	for (i = 0; i < n && in->left; i++) {
		d[i].addr = fz_address(in);
		d[i].len = fz_u16(in);
		d[i].type = fz_u8(in);
	}
}

static void check(const struct tn_pieces *pieces, uint64_t len)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < pieces->n; i++)
		sum += pieces->v[i].len;
	if (sum != len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tn_walk walk;
	struct fz_input in = { data, size };
	uint64_t len = fz_u32(&in) & 0xfffff;
	struct tn_pieces pieces = { 0 };
	struct bh_nvme_cmd cmd;
	unsigned int feeds = 0;
	uint16_t status;

	fz_command(&in, &cmd);
	status = tn_walk_begin(&walk, &cmd, len, cmd.opc & 1, &pieces);
	while (status == TN_PENDING) {
		if (!walk.len || walk.len > sizeof(walk.chunk) || ++feeds > MAX_FEEDS)
			abort();
		fill(&in, &walk);
		status = tn_walk_feed(&walk);
	}
	if (status == 0)
		check(&pieces, len);
	tn_pieces_free(&pieces);
	return 0;
}

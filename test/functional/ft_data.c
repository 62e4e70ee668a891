/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data through the whole path: the driver against the target over every way of reaching memory and
 * of ringing doorbells, with both block sizes; every I/O command; and what must be refused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ft.h"

#define BOTH_SIZES "ns=ram:16M,ns=ram:16M:bs=4096"

/* ---- the matrix ---- */

/* Data pointers are SGLs in the first half of each namespace, PRPs in the second. */
static void matrix_pass(const struct ft_target *target, struct ft_host_opts *opts, bool trapped)
{
	/* Paths of messages and system calls take their time; they get fewer requests. */
	unsigned int count = opts->access == BH_DMA_ACCESS_AUTO ? 1000 : 150;
	struct bh_nvme_queue_stats stats;
	struct ft_host host;

	ft_host_open(&host, target->socket[0], opts);
	/*
	 * Where doorbells are memory already, the driver has no use for shadows; and the target looks
	 * at them all the time, so they must be memory it can map.
	 */
	FT_EQUAL(bh_nvme_has_shadow_doorbells(host.nvme),
		 trapped && !opts->no_shadow && opts->access == BH_DMA_ACCESS_AUTO);
	FT_EQUAL(strcmp(bh_nvme_doorbell_path(host.nvme), "mapped") == 0, !trapped);
	FT_EQUAL(bh_nvme_has_sgl(host.nvme), !opts->no_sgl);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	for (struct bh_nvme_ns *ns = host.ns; ns; ns = bh_nvme_ns_next(ns)) {
		/* Up to a little over twice MDTS: whole, split in two, in three. */
		struct ft_traffic traffic = {
			.first = opts->no_sgl ? bh_nvme_ns_blocks(ns) / 2 : 0,
			.blocks = bh_nvme_ns_blocks(ns) / 2,
			.max_blocks = 136 * 1024 / bh_nvme_ns_block_size(ns),
			.depth = 16,
			.count = count,
			.seed = 1 + (uint64_t)opts->access,
		};

		FT_EQUAL(bh_nvme_ns_block_size(ns), bh_nvme_ns_id(ns) == 1 ? 512 : 4096);
		ft_verify_random(&host, q, ns, &traffic);
	}
	bh_nvme_queue_stats(q, &stats);
	FT_CHECK(stats.splits > 0);
	FT_EQUAL(stats.submissions, stats.completions);
	FT_EQUAL(stats.doorbell_messages > 0, trapped);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
}

static void matrix(enum bh_dma_access access, bool trapped, bool no_shadow)
{
	struct ft_host_opts opts = { .access = access, .no_shadow = no_shadow, .quiet = true };
	struct ft_target target;
	char rest[128];

	snprintf(rest, sizeof(rest), "mdts=64K,doorbells=%s,%s", trapped ? "trapped" : "mapped",
		 BOTH_SIZES);
	ft_target_serve(&target, rest);
	matrix_pass(&target, &opts, trapped);
	opts.no_sgl = true;
	matrix_pass(&target, &opts, trapped);
	ft_target_stop(&target);
}

#define MATRIX(name, access, trapped, no_shadow)                    \
	static void name(void)                                      \
	{                                                           \
		matrix(BH_DMA_ACCESS_##access, trapped, no_shadow); \
	}
MATRIX(mmap_mapped_shadow, AUTO, false, false)
MATRIX(mmap_mapped_registers, AUTO, false, true)
MATRIX(mmap_trapped_shadow, AUTO, true, false)
MATRIX(mmap_trapped_registers, AUTO, true, true)
MATRIX(file_mapped_shadow, FILE_IO, false, false)
MATRIX(file_mapped_registers, FILE_IO, false, true)
MATRIX(file_trapped_shadow, FILE_IO, true, false)
MATRIX(file_trapped_registers, FILE_IO, true, true)
MATRIX(message_mapped_shadow, MESSAGE, false, false)
MATRIX(message_mapped_registers, MESSAGE, false, true)
MATRIX(message_trapped_shadow, MESSAGE, true, false)
MATRIX(message_trapped_registers, MESSAGE, true, true)

static void message_without_twin_socket(void)
{
	struct ft_host_opts opts = { .access = BH_DMA_ACCESS_MESSAGE, .no_twin = true };
	struct ft_traffic traffic = { .max_blocks = 64, .depth = 4, .count = 100, .seed = 9 };
	struct ft_target target;
	struct ft_host host;

	ft_target_serve(&target, "ns=ram:16M");
	ft_host_open(&host, target.socket[0], &opts);
	struct bh_nvme_queue *q = ft_queue(&host, 0);
	ft_verify_random(&host, q, host.ns, &traffic);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* ---- rings ---- */

static void tiny_queues(void)
{
	struct ft_target target;
	struct ft_host host;

	ft_target_serve(&target, "ns=ram:16M,mdts=16K");
	ft_host_open(&host, target.socket[0], NULL);
	for (unsigned int depth = 1; depth <= 3; depth++) {
		/* Far more requests than entries, some of several commands. */
		struct ft_traffic traffic = {
			.first = depth * 8192,
			.blocks = 8192,
			.max_blocks = 80,
			.depth = 4,
			.count = 2000,
			.seed = depth,
		};
		struct bh_nvme_queue *q = ft_queue(&host, depth);

		FT_EQUAL(bh_nvme_queue_depth(q), depth);
		ft_verify_random(&host, q, host.ns, &traffic);
		bh_nvme_queue_destroy(q);
	}
	ft_host_close(&host);
	ft_target_stop(&target);
}

/* A controller whose queues have two entries at most, and the largest queues there are. */
static void smallest_and_largest_rings(void)
{
	static const unsigned int entries[] = { 2, 4096 };

	for (int i = 0; i < 2; i++) {
		struct ft_traffic traffic = { .max_blocks = 8, .count = 20000, .seed = 5 };
		struct ft_target target;
		struct ft_host host;
		char rest[64];

		traffic.depth = entries[i] == 2 ? 1 : 400;
		snprintf(rest, sizeof(rest), "ns=ram:16M,depth=%u", entries[i]);
		ft_target_serve(&target, rest);
		ft_host_open(&host, target.socket[0], NULL);
		FT_EQUAL(bh_nvme_max_depth(host.nvme), entries[i]);
		struct bh_nvme_queue *q = ft_queue(&host, entries[i] - 1);
		ft_verify_random(&host, q, host.ns, &traffic);
		bh_nvme_queue_destroy(q);
		ft_host_close(&host);
		ft_target_stop(&target);
	}
}

static void doorbell_strides(void)
{
	static const unsigned int strides[] = { 0, 4, 10 };

	for (int i = 0; i < 3; i++) {
		struct ft_traffic traffic = {
			.max_blocks = 16, .depth = 8, .count = 1000, .seed = 3
		};
		struct ft_target target;
		struct ft_host host;
		char rest[64];

		snprintf(rest, sizeof(rest), "ns=ram:16M,doorbells=trapped,dstrd=%u", strides[i]);
		ft_target_serve(&target, rest);
		ft_host_open(&host, target.socket[0], NULL);
		FT_EQUAL(bh_nvme_reg_cap(host.nvme) >> 32 & 15, strides[i]);
		/* 64 queues at these strides do not fit in one page of shadow doorbells. */
		FT_EQUAL(bh_nvme_has_shadow_doorbells(host.nvme), strides[i] == 0);
		struct bh_nvme_queue *q[2] = { ft_queue(&host, 0), ft_queue(&host, 7) };
		for (int k = 0; k < 2; k++) {
			traffic.first = (uint64_t)k * 16384;
			traffic.blocks = 16384;
			ft_verify_random(&host, q[k], host.ns, &traffic);
		}
		bh_nvme_queue_destroy(q[0]);
		bh_nvme_queue_destroy(q[1]);
		ft_host_close(&host);
		ft_target_stop(&target);
	}
}

/* ---- data pointers ---- */

/* How a buffer is cut: pieces of least to least + more - 1 units of so many bytes. */
struct cut {
	size_t unit, least, more;
};

/* Cuts [0, bytes) of buf, at most 64 pieces, and swaps neighbours. */
static unsigned int cut_up(uint8_t *buf, size_t bytes, const struct cut *c, struct iovec *iov,
			   uint64_t *seed)
{
	unsigned int n = 0;
	size_t at = 0;

	while (at < bytes) {
		size_t len = (c->least + ft_random(seed) % c->more) * c->unit;

		if (n == 63 || len > bytes - at)
			len = bytes - at;
		iov[n++] = (struct iovec){ buf + at, len };
		at += len;
	}
	for (unsigned int i = 0; i + 1 < n; i += 2) {
		struct iovec swap = iov[i];

		iov[i] = iov[i + 1];
		iov[i + 1] = swap;
	}
	return n;
}

static void copy_out(const struct iovec *iov, unsigned int n, uint8_t *flat)
{
	for (unsigned int i = 0; i < n; i++) {
		memcpy(flat, iov[i].iov_base, iov[i].iov_len);
		flat += iov[i].iov_len;
	}
}

/* Writes from one cut of the buffer, reads into another: the same bytes in the same order. */
static void vector_round(struct ft_host *host, struct bh_nvme_queue *q, uint8_t *buf,
			 const struct cut *c, uint64_t *seed)
{
	size_t granule = c->unit > 512 ? c->unit : 512;
	size_t bytes = (1 + ft_random(seed) % 64) * granule % 65536;
	uint64_t lba = ft_random(seed) % 30000;
	uint8_t *want = malloc(65536), *got = malloc(65536);
	struct iovec iov[64];
	int status = -1;

	bytes = bytes ? bytes : granule;
	FT_CHECK(want && got);
	for (size_t i = 0; i < bytes; i += 8)
		*(uint64_t *)(buf + i) = ft_random(seed);
	unsigned int n = cut_up(buf, bytes, c, iov, seed);
	copy_out(iov, n, want);
	FT_EQUAL(bh_nvme_writev(q, host->ns, iov, n, lba, (uint32_t)(bytes / 512), 0, ft_done,
				&status),
		 0);
	FT_EQUAL(ft_wait(q, &status), BH_NVME_SC_SUCCESS);
	memset(buf, 0, bytes);
	n = cut_up(buf, bytes, c, iov, seed);
	status = -1;
	FT_EQUAL(bh_nvme_readv(q, host->ns, iov, n, lba, (uint32_t)(bytes / 512), 0, ft_done,
			       &status),
		 0);
	FT_EQUAL(ft_wait(q, &status), BH_NVME_SC_SUCCESS);
	copy_out(iov, n, got);
	FT_CHECK(memcmp(want, got, bytes) == 0);
	free(want);
	free(got);
}

static void vectors(bool no_sgl, const struct cut *c)
{
	struct ft_host_opts opts = { .no_sgl = no_sgl };
	uint64_t seed = c->unit;
	struct ft_target target;
	struct ft_host host;

	ft_target_serve(&target, "ns=ram:16M,mdts=64K");
	ft_host_open(&host, target.socket[0], &opts);
	FT_EQUAL(bh_nvme_has_sgl(host.nvme), !no_sgl);
	/* Without SGLs, pieces below a page cost a command each. */
	struct bh_nvme_queue *q = ft_queue(&host, 255);
	uint8_t *buf = ft_alloc(&host, 65536);
	for (int round = 0; round < 300; round++)
		vector_round(&host, q, buf, c, &seed);
	bh_nvme_queue_destroy(q);
	ft_host_close(&host);
	ft_target_stop(&target);
}

static void vectors_by_sgl(void)
{
	/* Blocks of several pieces, pieces of several blocks. */
	vectors(false, &(const struct cut){ 4, 32, 512 });
}

static void vectors_of_blocks_by_prp(void)
{
	vectors(true, &(const struct cut){ 512, 1, 8 });
}

static void vectors_of_pages_by_prp(void)
{
	vectors(true, &(const struct cut){ 4096, 1, 4 });
}

/* Lists longer than a page, through PRP lists and through one SGL. */
static void large_transfers(void)
{
	for (int no_sgl = 0; no_sgl < 2; no_sgl++) {
		struct ft_host_opts opts = { .no_sgl = no_sgl };
		struct ft_traffic traffic = {
			.max_blocks = 4096, .depth = 4, .count = 60, .seed = 11
		};
		struct bh_nvme_queue_stats stats;
		struct ft_target target;
		struct ft_host host;

		ft_target_serve(&target, "ns=ram:64M,mdts=4M");
		ft_host_open(&host, target.socket[0], &opts);
		FT_EQUAL(bh_nvme_max_transfer(host.nvme), 4 << 20);
		struct bh_nvme_queue *q = ft_queue(&host, 7);
		ft_verify_random(&host, q, host.ns, &traffic);
		bh_nvme_queue_stats(q, &stats);
		FT_EQUAL(stats.splits, 0);
		bh_nvme_queue_destroy(q);
		ft_host_close(&host);
		ft_target_stop(&target);
	}
}

/* ---- commands ---- */

struct rig {
	struct ft_target target;
	struct ft_host host;
	struct bh_nvme_queue *q;
	uint8_t *a, *b; /* 64 KiB each */
};

static void rig_open(struct rig *rig, const char *rest)
{
	ft_target_serve(&rig->target, rest);
	ft_host_open(&rig->host, rig->target.socket[0], NULL);
	rig->q = ft_queue(&rig->host, 0);
	rig->a = ft_alloc(&rig->host, 64 << 10);
	rig->b = ft_alloc(&rig->host, 64 << 10);
}

static void rig_close(struct rig *rig)
{
	bh_nvme_queue_destroy(rig->q);
	ft_host_close(&rig->host);
	ft_target_stop(&rig->target);
}

/* One of the driver's commands on the rig's first namespace, waiting; its status field. */
#define COMMAND(rig, name, ...)                                                      \
	({                                                                           \
		int command_status = -1;                                             \
		if (bh_nvme_##name((rig)->q, (rig)->host.ns, ##__VA_ARGS__, ft_done, \
				   &command_status) != 0)                            \
			ft_fail(__FILE__, __LINE__, "%s was not accepted", #name);   \
		ft_wait((rig)->q, &command_status);                                  \
	})

static void commands_on(const char *rest)
{
	struct rig rig;

	rig_open(&rig, rest);
	uint32_t size = bh_nvme_ns_block_size(rig.host.ns), n = 16;
	memset(rig.a, 0x5a, n * size);
	FT_EQUAL(COMMAND(&rig, write, rig.a, 100, n, BH_NVME_FUA), BH_NVME_SC_SUCCESS);
	FT_EQUAL(COMMAND(&rig, flush), BH_NVME_SC_SUCCESS);
	FT_EQUAL(COMMAND(&rig, read, rig.b, 100, n, BH_NVME_FUA), BH_NVME_SC_SUCCESS);
	FT_CHECK(memcmp(rig.a, rig.b, n * size) == 0);

	FT_EQUAL(COMMAND(&rig, compare, rig.a, 100, n, 0), BH_NVME_SC_SUCCESS);
	rig.a[n * size - 1] ^= 1;
	FT_EQUAL(COMMAND(&rig, compare, rig.a, 100, n, 0) & BH_NVME_STATUS_SC_MASK,
		 BH_NVME_SC_COMPARE_FAILURE);
	FT_EQUAL(COMMAND(&rig, compare, rig.a, 100, n - 1, 0), BH_NVME_SC_SUCCESS);

	/* The middle goes, both ends stay. */
	FT_EQUAL(COMMAND(&rig, write_zeroes, 104, 4, 0), BH_NVME_SC_SUCCESS);
	FT_EQUAL(COMMAND(&rig, read, rig.b, 100, n, 0), BH_NVME_SC_SUCCESS);
	for (uint32_t i = 0; i < n * size; i++)
		FT_EQUAL(rig.b[i], i / size >= 4 && i / size < 8 ? 0 : 0x5a);
	FT_EQUAL(COMMAND(&rig, write_zeroes, 100, 1, 1u << 25), BH_NVME_SC_SUCCESS);

	struct bh_nvme_dsm_range *ranges = ft_alloc(&rig.host, 4096);
	ranges[0] = (struct bh_nvme_dsm_range){ .lba = 109, .blocks = 2 };
	ranges[1] = (struct bh_nvme_dsm_range){ .lba = 114, .blocks = 2 };
	FT_EQUAL(COMMAND(&rig, deallocate, ranges, 2), BH_NVME_SC_SUCCESS);
	FT_EQUAL(COMMAND(&rig, read, rig.b, 100, n, 0), BH_NVME_SC_SUCCESS);
	for (uint32_t i = 0; i < n * size; i++) {
		uint32_t block = i / size;
		bool zero = block == 0 || (block >= 4 && block < 8) || block == 9 || block == 10 ||
			    block >= 14;

		FT_EQUAL(rig.b[i], zero ? 0 : 0x5a);
	}
	rig_close(&rig);
}

static void commands_512(void)
{
	commands_on("ns=ram:16M");
}

static void commands_4096(void)
{
	commands_on("ns=ram:16M:bs=4096");
}

static void commands_late(void)
{
	commands_on("ns=late:16M\\,hold=1");
}

/* ---- raw commands, and refusals ---- */

static uint16_t raw(struct rig *rig, const struct bh_nvme_cmd *cmd, void *buf, size_t len)
{
	struct iovec iov = { buf, len };
	int status = -1;

	FT_EQUAL(bh_nvme_io(rig->q, cmd, &iov, len ? 1 : 0, ft_done, &status), 0);
	return ft_wait(rig->q, &status);
}

static void raw_commands(void)
{
	struct rig rig;
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_WRITE, .nsid = 1, .cdw10 = 7, .cdw12 = 15 };

	rig_open(&rig, "ns=ram:16M,mdts=16K");
	for (int i = 0; i < 8192; i++)
		rig.a[i] = (uint8_t)(i * 7);
	FT_EQUAL(raw(&rig, &cmd, rig.a, 8192), BH_NVME_SC_SUCCESS);
	cmd.opc = BH_NVME_CMD_READ;
	FT_EQUAL(raw(&rig, &cmd, rig.b, 8192), BH_NVME_SC_SUCCESS);
	FT_CHECK(memcmp(rig.a, rig.b, 8192) == 0);

	struct iovec iov = { rig.a, 20480 };
	int status = -1;
	cmd.cdw12 = 39;
	FT_EQUAL(bh_nvme_io(rig.q, &cmd, &iov, 1, ft_done, &status), -EMSGSIZE);

	cmd.cdw12 = 0;
	cmd.opc = BH_NVME_CMD_VENDOR_FIRST;
	FT_EQUAL(raw(&rig, &cmd, NULL, 0), BH_NVME_SC_INVALID_OPCODE | BH_NVME_STATUS_DNR);
	cmd.opc = BH_NVME_CMD_READ;
	cmd.nsid = 2; /* inactive */
	FT_EQUAL(raw(&rig, &cmd, rig.b, 512), BH_NVME_SC_INVALID_FIELD | BH_NVME_STATUS_DNR);
	cmd.nsid = 0;
	FT_EQUAL(raw(&rig, &cmd, rig.b, 512), BH_NVME_SC_INVALID_NS | BH_NVME_STATUS_DNR);
	cmd.nsid = 1;
	cmd.flags = BH_NVME_FUSE_FIRST;
	FT_EQUAL(raw(&rig, &cmd, rig.b, 512) & ~BH_NVME_STATUS_MORE,
		 BH_NVME_SC_INVALID_FIELD | BH_NVME_STATUS_DNR);
	rig_close(&rig);
}

/* Verify, Copy and Write Uncorrectable. */
static void inside_on(const char *rest)
{
	const uint16_t unreadable = BH_NVME_SC_UNRECOVERED_READ_ERROR | BH_NVME_STATUS_DNR;
	struct bh_nvme_copy_range *ranges;
	struct rig rig;

	rig_open(&rig, rest);
	uint32_t size = bh_nvme_ns_block_size(rig.host.ns);
	for (uint32_t i = 0; i < 8 * size; i++)
		rig.a[i] = (uint8_t)(i / size + i * 3);
	FT_EQUAL(COMMAND(&rig, write, rig.a, 10, 8, 0), BH_NVME_SC_SUCCESS);
	ranges = (void *)rig.b;
	ranges[0] = (struct bh_nvme_copy_range){ .slba = 14, .nlb = 3 };
	ranges[1] = (struct bh_nvme_copy_range){ .slba = 10, .nlb = 3 };
	FT_EQUAL(COMMAND(&rig, copy, ranges, 2, 500, 0), BH_NVME_SC_SUCCESS);
	FT_EQUAL(COMMAND(&rig, compare, rig.a, 504, 4, 0), BH_NVME_SC_SUCCESS);
	FT_EQUAL(COMMAND(&rig, compare, rig.a + 4 * size, 500, 4, 0), BH_NVME_SC_SUCCESS);
	ranges[1].nlb = 0xffff;
	FT_EQUAL(COMMAND(&rig, copy, ranges, 2, 500, 0),
		 BH_NVME_SC_COMMAND_SIZE_LIMIT_EXCEEDED | BH_NVME_STATUS_DNR);

	FT_EQUAL(COMMAND(&rig, verify, 500, 8, 0), BH_NVME_SC_SUCCESS);
	FT_EQUAL(COMMAND(&rig, write_uncorrectable, 500, 1), BH_NVME_SC_SUCCESS);
	FT_EQUAL(COMMAND(&rig, read, rig.b, 496, 8, 0), unreadable);
	FT_EQUAL(COMMAND(&rig, compare, rig.a, 500, 1, 0), unreadable);
	FT_EQUAL(COMMAND(&rig, read, rig.b, 501, 7, 0), BH_NVME_SC_SUCCESS);
	FT_EQUAL(COMMAND(&rig, verify, 500, 8, 0), unreadable);
	FT_EQUAL(COMMAND(&rig, write, rig.a, 500, 1, 0), BH_NVME_SC_SUCCESS);
	FT_EQUAL(COMMAND(&rig, read, rig.b, 500, 1, 0), BH_NVME_SC_SUCCESS);
	FT_CHECK(memcmp(rig.a, rig.b, size) == 0);
	FT_EQUAL(COMMAND(&rig, verify, 500, 8, 0), BH_NVME_SC_SUCCESS);
	FT_EQUAL(bh_nvme_verify(rig.q, rig.host.ns, 0, 0, 0, ft_done, NULL), -EINVAL);
	FT_EQUAL(bh_nvme_copy(rig.q, rig.host.ns, ranges, 257, 0, 0, ft_done, NULL), -EINVAL);
	rig_close(&rig);
}

static void commands_inside(void)
{
	inside_on("ns=ram:16M");
	inside_on("ns=ram:16M:bs=4096");
	inside_on("ns=late:16M\\,hold=1");
}

static void out_of_range(void)
{
	static const uint8_t opcodes[] = { BH_NVME_CMD_READ, BH_NVME_CMD_WRITE, BH_NVME_CMD_COMPARE,
					   BH_NVME_CMD_WRITE_ZEROES };
	struct rig rig;

	rig_open(&rig, "ns=ram:16M");
	uint64_t end = bh_nvme_ns_blocks(rig.host.ns);
	uint16_t refused = BH_NVME_SC_LBA_OUT_OF_RANGE | BH_NVME_STATUS_DNR;
	struct {
		uint64_t lba;
		uint32_t blocks;
		bool ok;
	} t[] = {
		{ end - 1, 1, true },	  { end - 8, 8, true },	    { end, 1, false },
		{ end - 1, 2, false },	  { UINT64_MAX, 1, false }, { UINT64_MAX - 3, 8, false },
		{ 1ull << 63, 1, false },
	};

	/* Raw, for the driver would not let all of it through. */
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		for (size_t k = 0; k < sizeof(opcodes); k++) {
			struct bh_nvme_cmd cmd = {
				.opc = opcodes[k],
				.nsid = 1,
				.cdw10 = (uint32_t)t[i].lba,
				.cdw11 = (uint32_t)(t[i].lba >> 32),
				.cdw12 = t[i].blocks - 1,
			};
			bool data = opcodes[k] != BH_NVME_CMD_WRITE_ZEROES;

			FT_EQUAL(raw(&rig, &cmd, rig.a, data ? t[i].blocks * 512 : 0) &
					 ~BH_NVME_STATUS_MORE,
				 t[i].ok ? BH_NVME_SC_SUCCESS : refused);
		}
	}
	FT_EQUAL(COMMAND(&rig, read, rig.a, end - 1, 2, 0) & ~BH_NVME_STATUS_MORE, refused);
	FT_EQUAL(COMMAND(&rig, write, rig.a, 1ull << 63, 1, 0) & ~BH_NVME_STATUS_MORE, refused);
	/* The last refusal is on record. */
	struct bh_nvme_error_log entry;
	FT_EQUAL(bh_nvme_get_log(rig.host.nvme, 1, BH_NVME_NSID_ALL, 0, &entry, sizeof(entry)), 0);
	FT_CHECK(entry.error_count >= 20);
	FT_EQUAL(entry.sqid, bh_nvme_queue_id(rig.q));
	FT_EQUAL(entry.status >> 1 & BH_NVME_STATUS_SC_MASK, BH_NVME_SC_LBA_OUT_OF_RANGE);
	FT_EQUAL(entry.lba, 1ull << 63);
	FT_EQUAL(entry.nsid, 1);
	/* And nothing of it has hurt. */
	FT_EQUAL(ft_read(rig.q, rig.host.ns, rig.a, 0, 8), BH_NVME_SC_SUCCESS);
	rig_close(&rig);
}

static void refused_by_the_driver(void)
{
	static uint8_t outside[8192];
	int status[16];
	struct rig rig;

	rig_open(&rig, "ns=late:16M\\,hold=50");
	FT_EQUAL(bh_nvme_read(rig.q, rig.host.ns, rig.a, 0, 0, 0, ft_done, status), -EINVAL);
	FT_EQUAL(bh_nvme_read(rig.q, rig.host.ns, outside, 0, 1, 0, ft_done, status), -EFAULT);
	FT_EQUAL(bh_nvme_write(rig.q, rig.host.ns, outside, 0, 16, 0, ft_done, status), -EFAULT);
	FT_EQUAL(bh_nvme_read(rig.q, rig.host.ns, rig.a + 2, 0, 1, 0, ft_done, status), -EFAULT);
	/* The end of the pool. */
	const struct bh_mem *mem = bh_pool_mem(rig.host.pool);
	uint8_t *last = (uint8_t *)mem->va + mem->len - 512;
	FT_EQUAL(bh_nvme_read(rig.q, rig.host.ns, last, 0, 2, 0, ft_done, status), -EFAULT);

	struct iovec iov[2] = { { rig.a, 512 }, { rig.b, 512 } };
	FT_EQUAL(bh_nvme_readv(rig.q, rig.host.ns, iov, 2, 0, 3, 0, ft_done, status), -EINVAL);
	FT_EQUAL(bh_nvme_readv(rig.q, rig.host.ns, iov, 2, 0, 1, 0, ft_done, status), -EINVAL);

	struct bh_nvme_queue *small = ft_queue(&rig.host, 4);
	for (int i = 0; i < 16; i++)
		status[i] = -1;
	for (int i = 0; i < 4; i++)
		FT_EQUAL(bh_nvme_read(small, rig.host.ns, rig.a, 0, 1, 0, ft_done, &status[i]), 0);
	FT_EQUAL(bh_nvme_read(small, rig.host.ns, rig.a, 0, 1, 0, ft_done, &status[4]), -EAGAIN);
	FT_EQUAL(bh_nvme_queue_outstanding(small), 4);
	bh_nvme_queue_flush(small);
	for (int i = 0; i < 4; i++)
		FT_EQUAL(ft_wait(small, &status[i]), BH_NVME_SC_SUCCESS);
	FT_EQUAL(status[4], -1);
	bh_nvme_queue_destroy(small);
	rig_close(&rig);
}

/* Commands without a callback come back as results. */
static void reaped(void)
{
	struct bh_nvme_result out[8];
	bool seen[64] = { false };
	unsigned int n = 0;
	struct rig rig;

	rig_open(&rig, "ns=ram:16M");
	for (uintptr_t i = 0; i < 64; i++)
		FT_EQUAL(bh_nvme_read(rig.q, rig.host.ns, rig.a, i, 1, 0, NULL, (void *)i), 0);
	uint64_t deadline = ft_deadline(10000);
	while (n < 64) {
		int rc = bh_nvme_queue_reap(rig.q, out, 8);

		FT_CHECK(rc >= 0 && rc <= 8);
		for (int i = 0; i < rc; i++) {
			FT_EQUAL(out[i].status, BH_NVME_SC_SUCCESS);
			FT_CHECK(!seen[(uintptr_t)out[i].arg]);
			seen[(uintptr_t)out[i].arg] = true;
			n++;
		}
		FT_CHECK(bh_now_ns() < deadline);
	}
	rig_close(&rig);
}

FT_MAIN({ "mmap_mapped_shadow", mmap_mapped_shadow, 0 },
	{ "mmap_mapped_registers", mmap_mapped_registers, 0 },
	{ "mmap_trapped_shadow", mmap_trapped_shadow, 0 },
	{ "mmap_trapped_registers", mmap_trapped_registers, 0 },
	{ "file_mapped_shadow", file_mapped_shadow, 0 },
	{ "file_mapped_registers", file_mapped_registers, 0 },
	{ "file_trapped_shadow", file_trapped_shadow, 0 },
	{ "file_trapped_registers", file_trapped_registers, 0 },
	{ "message_mapped_shadow", message_mapped_shadow, 0 },
	{ "message_mapped_registers", message_mapped_registers, 0 },
	{ "message_trapped_shadow", message_trapped_shadow, 0 },
	{ "message_trapped_registers", message_trapped_registers, 0 },
	{ "message_without_twin_socket", message_without_twin_socket, 0 },
	{ "tiny_queues", tiny_queues, 0 },
	{ "smallest_and_largest_rings", smallest_and_largest_rings, 0 },
	{ "doorbell_strides", doorbell_strides, 0 }, { "vectors_by_sgl", vectors_by_sgl, 0 },
	{ "vectors_of_blocks_by_prp", vectors_of_blocks_by_prp, 0 },
	{ "vectors_of_pages_by_prp", vectors_of_pages_by_prp, 0 },
	{ "large_transfers", large_transfers, 0 }, { "commands_inside", commands_inside, 0 },
	{ "commands_512", commands_512, 0 }, { "commands_4096", commands_4096, 0 },
	{ "commands_late", commands_late, 0 }, { "raw_commands", raw_commands, 0 },
	{ "out_of_range", out_of_range, 0 }, { "refused_by_the_driver", refused_by_the_driver, 0 },
	{ "reaped", reaped, 0 })

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces with metadata. -o counts data; what a request transfers beside them lies in the same
 * buffer, behind each block's data or behind all of them. Where calls without options do the same,
 * they are what is measured.
 */
#include <string.h>

#include "perf.h"

static bool pi_only(const struct bh_nvme_format *f)
{
	return f->pi_type && f->md_bytes == BH_PI_TUPLE;
}

int perf_check_format(const struct perf *perf, const struct app_nvme *n,
		      const struct bh_nvme_ns *ns)
{
	const struct perf_options *opts = perf->opts;
	struct bh_nvme_format f;

	if (bh_nvme_ns_csi(ns) != BH_NVME_CSI_NVM && bh_nvme_ns_csi(ns) != BH_NVME_CSI_ZNS)
		return app_fail(perf->app, EXIT_USAGE,
				"%s: namespace %u is of the %s command set and is not served",
				n->text, bh_nvme_ns_id(ns), bh_nvme_csi_str(bh_nvme_ns_csi(ns)));
	bh_nvme_ns_format(ns, &f);
	if (!f.served)
		return app_fail(perf->app, 1, "%s: namespace %u cannot be read or written", n->text,
				bh_nvme_ns_id(ns));
	if (opts->pi == BH_NVME_PI_DRIVER && !f.pi_type)
		return app_fail(perf->app, EXIT_USAGE,
				"--pi driver: %s namespace %u has no protection information",
				n->text, bh_nvme_ns_id(ns));
	for (unsigned int i = 0; i < opts->num_sizes; i++)
		if (opts->size[i].bytes % f.data_bytes != 0)
			return app_fail(perf->app, EXIT_USAGE,
					"-o %u: %s namespace %u has blocks of %u bytes",
					opts->size[i].bytes, n->text, bh_nvme_ns_id(ns),
					f.data_bytes);
	if (bh_nvme_ns_blocks(ns) < opts->bytes / f.data_bytes)
		return app_fail(perf->app, EXIT_USAGE,
				"-o %u: %s namespace %u is smaller than one request", opts->bytes,
				n->text, bh_nvme_ns_id(ns));
	return 0;
}

size_t perf_buffer_bytes(const struct perf_options *opts, const struct bh_nvme_ns *ns)
{
	struct bh_nvme_format f;

	bh_nvme_ns_format(ns, &f);
	return ((size_t)opts->bytes + (size_t)opts->bytes / f.data_bytes * f.md_bytes + 4095) &
	       ~(size_t)4095;
}

void perf_lane_format(struct perf_lane *lane, const struct perf_options *opts)
{
	struct bh_nvme_format f;
	bool strips;

	bh_nvme_ns_format(lane->ns, &f);
	lane->blocks = opts->bytes / f.data_bytes;
	lane->stride = perf_buffer_bytes(opts, lane->ns);
	bh_nvme_rw_opts_init(&lane->rw);
	lane->rw.pi = opts->pi;
	strips = pi_only(&f) && opts->pi == BH_NVME_PI_CONTROLLER;
	lane->data_bytes = f.data_bytes;
	lane->block_bytes = f.data_bytes + (f.interleaved && !strips ? f.md_bytes : 0);
	lane->separate_bytes = f.interleaved || strips ? 0 : f.md_bytes;
	lane->options = f.md_bytes && (!f.plain || opts->pi != BH_NVME_PI_CONTROLLER);
}

int perf_submit_options(struct perf_lane *lane, const struct bh_nvme_rw *rw)
{
	struct iovec iov = { rw->buf, (size_t)rw->blocks * lane->block_bytes };

	lane->rw.md_bytes = (size_t)rw->blocks * lane->separate_bytes;
	lane->rw.md = lane->rw.md_bytes ? (uint8_t *)rw->buf + iov.iov_len : NULL;
	if (rw->flags & BH_NVME_RW_WRITE)
		return bh_nvme_writev_opts(lane->q, lane->ns, &iov, 1, rw->lba, rw->blocks,
					   &lane->rw, NULL, rw->arg);
	return bh_nvme_readv_opts(lane->q, lane->ns, &iov, 1, rw->lba, rw->blocks, &lane->rw, NULL,
				  rw->arg);
}

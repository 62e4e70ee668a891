/* SPDX-License-Identifier: BSD-3-Clause */
/* A controller as the clients among the measuring programs open it. */
#ifndef TEST_BENCH_BENCH_CLIENT_H
#define TEST_BENCH_BENCH_CLIENT_H

#include <stddef.h>

#include <bellhop/device.h>
#include <bellhop/dma.h>
#include <bellhop/nvme.h>

struct bench_client {
	struct bh_pool *pool;
	struct bh_dma_space *space;
	struct bh_device *dev;
	struct bh_nvme *nvme;
	struct bh_nvme_ns *ns; /* the first */
};

/*
 * Opens what `address` means, with a pool of so many bytes. What goes wrong is logged to stderr. 0
 * or -errno; bench_client_close() in every case.
 */
int bench_client_open(struct bench_client *c, const char *address, size_t bytes);
void bench_client_close(struct bench_client *c);

#endif

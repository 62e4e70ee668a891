/* SPDX-License-Identifier: BSD-3-Clause */
/* Our NVMe driver at work in a guest: a controller, one queue, buffers, verified data. */
#ifndef TEST_VM_HOST_H
#define TEST_VM_HOST_H

#include <bellhop/nvme.h>

#include "vmtest.h"

#define HOST_DEPTH 32
#define HOST_PIECE 16384u /* bytes of one request */

/* A controller with one queue, and HOST_DEPTH buffers. */
struct host {
	struct vm *vm;
	struct bh_nvme *nvme;
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	uint8_t *buf[HOST_DEPTH];
	unsigned int done, errors;
};

uint64_t host_now_ms(void);

/* All of these say why when they return false; host_close() follows in any case. */
bool host_open(struct host *h, struct vm *vm, bool interrupt);
/* opts NULL: defaults. */
bool host_open_with(struct host *h, struct vm *vm, const struct bh_nvme_opts *opts, bool interrupt);
void host_close(struct host *h);

/* A completion: counts it. arg: the host. */
void host_count(void *arg, const struct bh_nvme_cpl *cpl);
/* Waits for `want` completions, sleeping on the interrupt if the queue has one. */
bool host_wait(struct host *h, unsigned int want, bool interrupt);
/* One request on piece `piece` of the namespace with buffer i. */
bool host_submit(struct host *h, bool write, int i, uint64_t piece);
/* Writes HOST_DEPTH pieces from `first` on, reads them back into wiped buffers, compares. */
bool host_round_trip(struct host *h, uint64_t first, bool interrupt);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* I/O commands that wait: see waiter.c. Private to drivers/nvme; queue owner. */
#ifndef NVME_WAITER_H
#define NVME_WAITER_H

#include "nvme/nvme.h"

struct bh__waiter {
	bool done, abandoned;
	uint16_t status;
	struct bh_pool *pool;
	uint8_t *buf;
};

/* With a buffer of so many bytes, zeroed. -EOPNOTSUPP: a borrowed queue; -EBUSY: not idle; -ENOMEM. */
int bh__waiter_new(struct bh_nvme_queue *q, size_t bytes, struct bh__waiter **out);
void bh__waiter_free(struct bh__waiter *w);
/* The callback; arg is the waiter. */
void bh__waiter_done(void *arg, const struct bh_nvme_cpl *cpl);
/* rc is what submitting said. Afterwards w is not to be used unless it is >= 0: freed by caller. */
int bh__waiter_wait(struct bh_nvme_queue *q, struct bh__waiter *w, int rc);
/* The same, and frees. */
int bh__waiter_end(struct bh_nvme_queue *q, struct bh__waiter *w, int rc);

#endif

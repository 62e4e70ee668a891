/* SPDX-License-Identifier: BSD-3-Clause */
/* A log that remembers, for tests of what is said. */
#ifndef DMA_CAPTURE_H
#define DMA_CAPTURE_H

#include <bellhop/log.h>

struct capture {
	struct bh_log log;
	int count[4]; /* lines by level */
	char text[4096];
};

void capture_init(struct capture *c);

#endif

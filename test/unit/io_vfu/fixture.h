/* SPDX-License-Identifier: BSD-3-Clause */
/* One fake server, one space with one pool, and a log; no fd may be left open at the end. */
#ifndef TEST_UNIT_IO_VFU_FIXTURE_H
#define TEST_UNIT_IO_VFU_FIXTURE_H

#include "fake.h"
#include "io_vfu/io_vfu.h"
#include "unit.h"

extern struct fake fake;
extern struct bh_dma_space *space;
extern struct bh_pool *pool;
extern struct bh_device_opts opts;

int fixture_setup(void);
int fixture_teardown(void);

/* Opens with opts and a hook that is in force from the start. */
int open_with(bool (*hook)(struct fake *, struct fake_msg *), struct bh_device **dev);
struct bh_device *open_ok(bool (*hook)(struct fake *, struct fake_msg *));
bool log_has(const char *text); /* a line of this case, of level error or warning */
unsigned int log_errors(void);
bool wait_gone(const struct bh_device *dev); /* up to 5 s */

#endif

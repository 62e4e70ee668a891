/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool, a space, a fake controller, the driver attached to it, and a queue. */
#ifndef RIG_H
#define RIG_H

#include "fake_ctrl.h"
#include "unit.h"

struct rig {
	struct bh_pool *pool;
	struct bh_dma_space *space;
	struct fake *fake;
	struct bh_log log;
	char last_error[512]; /* the last line at error level */
	char last_cmb[512];   /* the last line that names the controller memory buffer */
	unsigned int cmb_lines;
	char last_warning[512];
	struct bh_nvme *nvme;
	struct bh_nvme_queue *q;
	struct bh_nvme_ns *ns;
	uint8_t *buf; /* 8 MiB of pool memory, page aligned */
	unsigned int events[8];
	uint32_t event_value;
};

/* Pool, space, fake; no driver. */
void rig_open(struct rig *r, const struct fake_opts *o);
/* The driver; nopts NULL: defaults. 0 or what attach says. */
int rig_attach(struct rig *r, struct bh_nvme_opts *nopts);
int rig_queue(struct rig *r, unsigned int depth, bool interrupt);
/* All of the above with defaults. */
void rig_start(struct rig *r, const struct fake_opts *o, unsigned int depth);
/* Checks that the fake saw nothing wrong. */
void rig_close(struct rig *r);

/* Counts completions. */
struct tally {
	unsigned int done, errors;
	uint16_t status;
};
void tally_done(void *arg, const struct bh_nvme_cpl *cpl);
/* Polls the queue (and the controller) until the tally has n or 5 s are over: true if it has. */
bool rig_wait(struct rig *r, struct tally *t, unsigned int n);
/* Polls both until *flag >= n or 5 s are over. */
bool rig_wait_flag(struct rig *r, const uint32_t *flag, uint32_t n);
/* Polls the controller only for some milliseconds. */
void rig_poll_ms(struct rig *r, unsigned int ms, bool queue);

#endif

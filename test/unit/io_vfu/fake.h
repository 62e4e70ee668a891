/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vfio-user server that does what a test tells it to. It shares the structures with the code
 * under test but none of its functions: every byte is sent by plain sendmsg() from here.
 *
 * Left alone it is an honest NVMe-like device: 9 regions, of which BAR 0 is 16 KiB with one
 * mappable page at 0x1000 and configuration space is 256 bytes; 5 interrupt types, of which MSI-X
 * has 8 maskable vectors. A hook sees each message first, on the server's thread.
 */
#ifndef TEST_UNIT_IO_VFU_FAKE_H
#define TEST_UNIT_IO_VFU_FAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vfu/vfu.h"

#define FAKE_BAR_BYTES 0x4000u
#define FAKE_MAX_MAPS 16

struct fake_msg {
	struct vfu_header h;
	uint8_t *body;
	size_t len;
	int fds[VFU_MAX_FDS];
	unsigned int nfds;
};

struct fake_map {
	struct vfu_dma_map wire;
	int fd;
};

struct fake {
	char dir[64], path[96];
	int listen_fd, fd, twin;
	pthread_t thread;
	bool (*hook)(struct fake *fake, struct fake_msg *msg); /* true: it was dealt with */
	const char *json;				       /* of the VERSION reply */
	uint16_t minor;
	bool use_twin; /* when it is offered */

	pthread_mutex_t lock;
	unsigned int seen[32]; /* messages by command */
	unsigned int no_reply; /* of all */
	unsigned int clients;
	struct vfu_irq_set irq_set[16]; /* all of them */
	unsigned int irq_set_fds[16], num_irq_sets;
	struct fake_map map[FAKE_MAX_MAPS];
	unsigned int num_maps;
	char offered[512]; /* JSON of the VERSION command */

	uint8_t config[256];
	uint8_t bar[FAKE_BAR_BYTES]; /* by messages; the mapped page is bar_fd's */
	int bar_fd;
	void *arg;     /* the test's */
	int dma_error; /* of the last fake_dma */
};

int fake_start(struct fake *fake, bool (*hook)(struct fake *, struct fake_msg *));
void fake_stop(struct fake *fake);
void fake_wait_idle(struct fake *fake); /* until no client is connected: fields may be changed */
void fake_hang_up(struct fake *fake);	/* drops the client; any thread */

unsigned int fake_seen(struct fake *fake, unsigned int command);

/* For hooks. */
void fake_send(int fd, const void *buf, size_t len, const int *fds, unsigned int nfds);
void fake_reply(struct fake *fake, const struct fake_msg *msg, const void *body, size_t len,
		const int *fds, unsigned int nfds);
void fake_refuse(struct fake *fake, const struct fake_msg *msg, unsigned int error);
/*
 * A DMA command and its reply. data: sent with DMA_WRITE, filled by DMA_READ. 0, the errno of the
 * reply, or -1 when it is malformed.
 */
int fake_dma(struct fake *fake, uint16_t command, uint64_t address, uint64_t count, void *data);
/* Any command of the server's, of `len` body bytes; errno of the reply. */
int fake_command(struct fake *fake, uint16_t command, const void *body, size_t len);

#endif

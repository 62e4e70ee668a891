/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server with a scratch device and a client that speaks raw bytes, all in one thread: whoever
 * waits for something turns the server's reactor meanwhile. Each case begins with a client that is
 * connected and has negotiated, unless it asks for less, and ends with a count of open
 * descriptors.
 */
#ifndef TEST_VFU_SERVER_RIG_H
#define TEST_VFU_SERVER_RIG_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <bellhop/poll.h>
#include <bellhop/vfu_server.h>

#include "unit.h"
#include "vfu/vfu.h"

#define RIG_BAR0 0x4000u
#define RIG_VECTORS 10u
#define RIG_MSIX_BAR 4u

enum rig_event {
	RIG_QUIESCE,
	RIG_RESUME,
	RIG_RESET,
	RIG_FATAL,
	RIG_COMMAND,
	RIG_CONNECTED,
	RIG_DISCONNECTED,
	RIG_WRITE,
	RIG_IRQS,
	RIG_EVENTS,
};

struct rig {
	char dir[64];
	char path[96];
	struct bh_reactor *reactor;
	struct bh_vfu_server_opts opts;
	struct bh_vfu_server *server;
	int bar_fd;
	int fds_before;
	/* the device */
	bool hold_quiesce;   /* the case answers by itself */
	bool fatal_quiesces; /* being told that it is late, it gives up and answers */
	int access_error;
	enum bh_quiesce_reason reason;
	enum bh_reset_reason reset_reason;
	uint64_t q_iova, q_len;
	uint16_t command;
	unsigned int count[RIG_EVENTS];
	char order[256]; /* one letter per event: Q R X F C + - W */
	uint8_t bar[RIG_BAR0];
	/* the client */
	struct vfu_conn conn;
	struct vfu_msg reply; /* the last one */
};

extern struct rig rig;

int rig_setup(void);	  /* up to negotiated */
int rig_setup_bare(void); /* server only */
int rig_teardown(void);
void rig_start(void); /* (re)creates the server from rig.opts */
void rig_stop(void);
void rig_connect(void);
void rig_negotiate(void);
void rig_negotiate_json(const char *json);
void rig_disconnect(void);
void rig_turn(void); /* the reactor, until it has nothing to do */
bool rig_turn_until(bool (*met)(void), unsigned int ms);
int rig_count_fds(void);

void rig_raw(const void *buf, size_t len, const int *fds, unsigned int nfds);
void rig_send(uint16_t command, uint32_t flags, const void *body, size_t len, const int *fds,
	      unsigned int nfds);
/* Waits for the next message to the client, which goes to rig.reply. False: none in time. */
bool rig_recv(unsigned int ms);
bool rig_closed(void); /* does the server end the connection? */
bool rig_silent(void); /* nothing comes although everything was served */
/* Sends and waits for the reply: 0 or its -errno. */
int rig_call(uint16_t command, const void *body, size_t len, const int *fds, unsigned int nfds);

int rig_map(uint64_t iova, uint64_t size, uint32_t flags, int fd, uint64_t offset);
int rig_unmap(uint64_t iova, uint64_t size, uint32_t flags);
int rig_read(uint32_t region, uint64_t offset, void *buf, uint32_t count);
int rig_write(uint32_t region, uint64_t offset, const void *buf, uint32_t count);
uint32_t rig_config32(uint64_t offset);
void rig_config_write16(uint64_t offset, uint16_t value);
int rig_irqs(uint32_t flags, uint32_t index, uint32_t start, uint32_t count, const int *fds,
	     unsigned int nfds);
uint64_t rig_eventfd_value(int fd); /* and resets it */
int rig_memfd(size_t size);

#endif

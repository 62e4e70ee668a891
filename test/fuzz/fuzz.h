/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzz targets share: an emulated controller on a real socket, and a client of it, in one
 * thread that turns the reactors itself. It has two poll threads, a controller memory buffer, and
 * namespaces on every kind of store: 1 in memory, 2 that is none, 3 and 4 that answer when they
 * are told (store.c: one by buffers of the controller's, one with client memory), 5 of 4096-byte
 * blocks. That is the first of several worlds, of which an input chooses (world.c): in the others
 * namespaces have metadata, or zones, or are of a subsystem with a pool and a second controller.
 *
 * Each input gets a client of its own on the controller that all inputs share; when it is done the
 * client leaves. A controller that does not serve the next client, or that has kept a file
 * descriptor, has failed as much as one that crashed.
 */
#ifndef TEST_FUZZ_FUZZ_H
#define TEST_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/blk.h>
#include <bellhop/nvme_spec.h>
#include <bellhop/target_nvme.h>

#include "vfu/vfu.h"

#define FZ_IOVA 0x100000000ull
#define FZ_NS 5u
#define FZ_STORE_BYTES (1u << 20) /* of each namespace */
#define FZ_CMB_BYTES 0x10000u
#define FZ_BYTES 0x40000u /* of client memory */
#define FZ_ASQ 0x0u	  /* where the client keeps what it needs, in that memory */
#define FZ_ACQ 0x1000u
#define FZ_SQ 0x2000u
#define FZ_CQ 0x3000u
#define FZ_DATA 0x8000u
#define FZ_DEPTH 16u /* entries of each queue */

/* What is left of an input. Beyond its end everything reads as zeros. */
struct fz_input {
	const uint8_t *at;
	size_t left;
};

uint8_t fz_u8(struct fz_input *in);
uint16_t fz_u16(struct fz_input *in);
uint32_t fz_u32(struct fz_input *in);
uint64_t fz_u64(struct fz_input *in);
/* Up to len bytes, as many as there are. */
const uint8_t *fz_bytes(struct fz_input *in, size_t len, size_t *have);
/* An address: null, in the client's memory, at its end, or anything. */
uint64_t fz_address(struct fz_input *in);
/* A command in as few bytes as say something. */
void fz_command(struct fz_input *in, struct bh_nvme_cmd *cmd);

enum fz_memory {
	FZ_NO_MEMORY,
	FZ_MAPPED,
	FZ_FILE_IO,
	FZ_MESSAGES,
};

/* What the client does with the DMA messages it gets. */
enum fz_manners {
	FZ_ANSWERS,
	FZ_ANSWERS_SHORT,
	FZ_REFUSES,
	FZ_IS_DEAF, /* reads nothing */
	FZ_LIES,    /* answers what was not asked */
	FZ_MANNERS,
};

extern uint8_t *fz_mem; /* the client's memory */
extern int fz_mem_fd;

/* ---- world.c ---- */

enum fz_world {
	FZ_PLAIN,
	FZ_META,   /* 2 in memory, and all with metadata and protection information */
	FZ_ZONED,  /* all but 2: 16 zones, of which two can be open */
	FZ_SHARED, /* a subsystem, its second controller has the same namespaces */
	FZ_WORLDS,
};

#define FZ_PATH 80u
#define FZ_CLIENTS 2u

/* Of the world that was entered last. */
extern struct bh_target_nvme *fz_target;
extern struct bh_blk *fz_blk[FZ_NS + 1]; /* by nsid */

void fz_enter(enum fz_world world);
enum fz_world fz_here(void);
unsigned int fz_num_worlds(void); /* that were entered */
void fz_restore(void);		  /* the client has left: namespaces as they were */
bool fz_turn(void);		  /* all reactors once; true: something moved */
void fz_path(unsigned int which, char path[FZ_PATH]);

/* ---- fuzz.c ---- */

void fz_client_open(void); /* once */

__attribute__((noreturn)) void fz_failed(const char *what);

void fz_connect(void); /* up to the socket */
/*
 * Of the two controllers of FZ_SHARED: what follows is said to that one. Each has a client of its own,
 * in the same memory; the first is there from fz_connect() on, the second when it is connected.
 */
void fz_use(unsigned int which);
void fz_negotiate(void);
/* With capabilities of the client's choice. */
void fz_negotiate_as(const char *json);
void fz_behave(enum fz_manners manners);
/*
 * DMA messages for [iova, iova + FZ_BYTES) mean the client's memory. FZ_IOVA is known; the others
 * are forgotten with the connection.
 */
void fz_alias(uint64_t iova);
void fz_map(enum fz_memory memory);
/* Configuration space is set up, the controller enabled; with one pair of I/O queues. */
void fz_enable(void);
void fz_enable_as(uint32_t cc); /* with bits of CC beside EN and the entry sizes */
void fz_create_queues(void);
void fz_disconnect(void);

/* Turns everything until nothing moves; answers DMA messages, drops other replies. */
void fz_pump(void);
void fz_raw(const void *buf, size_t len, const int *fds, unsigned int nfds);
void fz_send(uint16_t command, uint32_t flags, const void *body, size_t len, const int *fds,
	     unsigned int nfds);
void fz_write(uint32_t region, uint64_t offset, uint64_t value, uint32_t count);
void fz_read(uint32_t region, uint64_t offset, uint32_t count);

/* Puts a command into the admin queue (qid 0) or the I/O queue (1); fz_ring() makes it known. */
void fz_submit(unsigned int qid, const struct bh_nvme_cmd *cmd);
void fz_ring(unsigned int qid);
/* Takes what completions there are. */
void fz_reap(unsigned int qid);

/* ---- store.c ---- */

enum fz_habit {
	FZ_LATER, /* holds what it gets until it is told */
	FZ_AT_ONCE,
	FZ_HAS_NO_ROOM,
	FZ_FAILS,
	FZ_IS_FULL,
	FZ_HAS_SHRUNK,
	FZ_HABITS,
};

/* spec: its metadata and zones; NULL: it has no place for any. */
struct bh_blk *fz_store_new(bool is_direct, const struct bh_blk_spec *spec);
void fz_store_habit(uint8_t habit);
/* Completes one of those held, whichever; false: none is. status: 0 or -errno. */
bool fz_store_complete(unsigned int which, int status);

#endif

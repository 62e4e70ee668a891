/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An emulated NVMe controller on a vfio-user socket.
 *
 * Component: lib/target/nvme
 *
 * The controller has one control thread (registers, admin queue, configuration; a reactor without
 * pollers, which may serve many controllers) and one or more poll threads (reactors). Each
 * completion queue, and every submission queue bound to it, is owned by one poll thread, chosen
 * round robin when it is created.
 */
#ifndef BELLHOP_TARGET_NVME_H
#define BELLHOP_TARGET_NVME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <bellhop/blk.h>
#include <bellhop/latency.h>
#include <bellhop/log.h>
#include <bellhop/poll.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BH_TARGET_NVME_MAX_QUEUES 256u /* I/O queue pairs */
#define BH_TARGET_NVME_MAX_DEPTH 4096u /* entries */
#define BH_TARGET_NVME_MAX_NS 256u     /* namespace ids 1..256 */
#define BH_TARGET_NVME_MAX_THREADS 64u

/* PCI identity: an id no vendor has been assigned; VID and SSVID of Identify Controller, too. */
#define BH_TARGET_NVME_PCI_VENDOR 0xbe11u
#define BH_TARGET_NVME_PCI_DEVICE 0x0001u

struct bh_target_nvme;
struct bh_target_subsys; /* target_subsys.h */

enum bh_target_doorbells {
	/* The client stores into a shared page: no exit, no system call; idle costs a 1 ms timer. */
	BH_DOORBELLS_MAPPED,
	/* Messages or ioeventfds, made rare by shadow doorbells; an idle target sleeps. */
	BH_DOORBELLS_TRAPPED,
};

struct bh_target_nvme_opts {
	size_t size;
	const char *path;  /* of the socket */
	unsigned int mode; /* its permissions, default 0600 */
	/* Users whose processes may connect; copied. NULL: whoever the permissions admit. */
	const uid_t *allowed_uids;
	unsigned int num_allowed_uids;
	struct bh_reactor *control;
	struct bh_reactor *const *threads; /* poll threads; at least one; copied */
	unsigned int num_threads;
	const char *serial;  /* at most 20 characters; NULL: derived from the path */
	const char *model;   /* at most 40; default "Bellhop NVMe Controller" */
	const char *subnqn;  /* NULL: nqn.2026-01.io.bellhop:SERIAL */
	unsigned int queues; /* I/O queue pairs, 1..256; default 64 */
	unsigned int depth;  /* entries, 2..4096: CAP.MQES + 1; default 1024 */
	unsigned int dstrd;  /* 0..10; default 0 */
	enum bh_target_doorbells doorbells;
	uint64_t mdts; /* bytes, a power of two times 4096; default 1 MiB; 0: no limit is refused */
	/* Mapped doorbells: timer of an idle thread, a fifth longer once it is; default 1 ms. */
	uint64_t idle_poll_ns;
	const struct bh_log *log;
	/* Of a controller memory buffer, a multiple of 4 KiB up to 1 GiB; default 0: none. */
	uint64_t cmb_bytes;
	/* Whose names and namespaces it has; serial, model and subnqn are not looked at then. */
	struct bh_target_subsys *subsys;
};

void bh_target_nvme_opts_init(struct bh_target_nvme_opts *opts);

/*
 * Listens at once. Reactors not yet running, or call on the control thread. Errors as
 * bh_vfu_server_create; -EINVAL logged; -ENOSPC: the subsystem has all controllers it can have.
 */
int bh_target_nvme_create(const struct bh_target_nvme_opts *opts, struct bh_target_nvme **out);

/*
 * Disconnects the client, removes the socket, frees; done(arg) runs on the control thread when
 * nothing is left. Control thread. With all reactors stopped: bh_target_nvme_free().
 */
void bh_target_nvme_destroy(struct bh_target_nvme *ctrl, void (*done)(void *arg), void *arg);
void bh_target_nvme_free(struct bh_target_nvme *ctrl); /* reactors stopped */

/*
 * Attaches a store (a reference is taken) as namespace nsid (0: the lowest free). The id >= 1.
 * Control thread, or before it runs. -EEXIST: nsid taken; -ENOSPC; -EINVAL: block size.
 *
 * In a subsystem: the namespace that is of this store already, with that id if one is given; else a
 * new one of the subsystem. blk NULL: the one with that id. -ENOENT: there is none.
 */
int bh_target_nvme_ns_attach(struct bh_target_nvme *ctrl, struct bh_blk *blk, uint32_t nsid);
/*
 * As attach, for a controller with a host: done(arg, 0) once every poll thread has opened its channel
 * to the store, when the host is told (namespace attribute notice, changed namespace list), or
 * done(arg, -errno of the store) and nothing is left. On the control thread, perhaps before this
 * returns. Not called if this fails.
 *
 * A store with a write cache that comes to a host which was told of none is written through until the
 * controller is reset.
 */
int bh_target_nvme_ns_add(struct bh_target_nvme *ctrl, struct bh_blk *blk, uint32_t nsid,
			  void (*done)(void *arg, int error), void *arg);
/*
 * Waits for requests of this namespace through the threads, then lets go of the store; done(arg) on
 * the control thread. Commands that come after fail; the host is told as of one that was added.
 * -ENOENT: there is none, or it is leaving already. Control thread.
 */
int bh_target_nvme_ns_detach(struct bh_target_nvme *ctrl, uint32_t nsid, void (*done)(void *arg),
			     void *arg);

struct bh_target_nvme_ns_info {
	uint32_t block_size; /* bytes */
	uint64_t blocks;
	uint8_t uuid[16];
	struct bh_blk_format format;
	bool is_active; /* the host sees it; else it is on its way in or out */
};
/* Control thread, or before it runs. -ENOENT: nothing has that id. */
int bh_target_nvme_ns_info(const struct bh_target_nvme *ctrl, uint32_t nsid,
			   struct bh_target_nvme_ns_info *info);

const char *bh_target_nvme_path(const struct bh_target_nvme *ctrl);

/* What was counted, from the controller's creation on; all of it read while it changes. */

struct bh_target_nvme_counts {
	uint64_t reads, writes, others, errors; /* I/O commands completed; failed ones are errors */
	uint64_t read_bytes, write_bytes;
};

struct bh_target_nvme_stats {
	struct bh_target_nvme_counts counts;
	uint64_t doorbell_messages;	 /* trapped I/O doorbell writes */
	uint64_t interrupts, suppressed; /* see struct bh_target_nvme_queue_stats */
	uint64_t polls, empty_polls;	 /* passes of its threads; those that found nothing */
	uint64_t sgls; /* looked through, in memory that is mapped: one per command, seldom more */
};
void bh_target_nvme_stats(struct bh_target_nvme *ctrl,
			  struct bh_target_nvme_stats *stats); /* any thread; approximate */

#define BH_TARGET_NVME_BATCHES 7u

/* A pair of I/O queues by its id: whatever submission and completion queue had it. */
struct bh_target_nvme_queue_stats {
	uint16_t qid;
	bool is_here;  /* one of the two, now */
	uint16_t cqid; /* of the submission queue; 0: there is no submission queue now */
	int cpu;       /* of the thread that owns it; -1: that is not pinned */
	struct bh_target_nvme_counts counts;
	/* Visits that found 2^i to 2^(i+1) - 1 commands; 64, the last, is the most. */
	uint64_t batches[BH_TARGET_NVME_BATCHES];
	/*
	 * Of the completion queue. Suppressed: there were completions, and no eventfd was written
	 * for them, because one was due already (in the same pass, or by coalescing), another queue
	 * of the vector had just had it written, or the host masks it.
	 */
	uint64_t interrupts, suppressed;
	/*
	 * Nanoseconds in the target, from its finding a command to its completion being ready.
	 * Commands that wait for a store are timed one by one. Those that are done where they are
	 * found are too fast for that: of every 16th visit to the queue the whole is timed, and taken
	 * for the latency of all commands completed so since the last that was timed.
	 */
	const struct bh_histogram *latency;
};
typedef void (*bh_target_nvme_queue_fn)(void *ctx, const struct bh_target_nvme_queue_stats *stats);
/* Of each pair of which one is there or was, by id. clock: measured. Any thread; approximate. */
void bh_target_nvme_queues(struct bh_target_nvme *ctrl, const struct bh_clock *clock,
			   bh_target_nvme_queue_fn fn, void *ctx);

/* Since it was attached. The latency is that of its commands, as above. */
struct bh_target_nvme_ns_stats {
	uint32_t nsid;
	struct bh_target_nvme_counts counts;
	/*
	 * Of its reads and writes, those that waited for the store: with the client's memory as their
	 * buffer, and by way of one of ours.
	 */
	uint64_t passed, copied;
	const struct bh_histogram *latency;
};
/* False: nothing has had that id. `latency` is filled and pointed to. Any thread; approximate. */
bool bh_target_nvme_ns_stats(struct bh_target_nvme *ctrl, uint32_t nsid,
			     const struct bh_clock *clock, struct bh_histogram *latency,
			     struct bh_target_nvme_ns_stats *stats);

#ifdef __cplusplus
}
#endif
#endif

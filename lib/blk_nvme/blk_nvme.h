/* SPDX-License-Identifier: BSD-3-Clause */
/* The NVMe store's inner shape: device.c has the controller, chan.c does the I/O, store.c opens. */
#ifndef BLK_NVME_BLK_NVME_H
#define BLK_NVME_BLK_NVME_H

#include <pthread.h>
#include <stdbool.h>

#include <bellhop/bellhop.h>
#include <bellhop/blk_nvme.h>
#include <bellhop/dma.h>
#include <bellhop/nvme.h>

#define BN_LOG "blk-nvme"
#define BN_REQUESTS 255u     /* of a channel: the depth of its queue */
#define BN_CHUNK (1u << 20)  /* bounced at a time */
#define BN_POOL (16u << 20)  /* of queues and bounce buffers; another one when it is used up */
#define BN_ARENAS 8u	     /* of a channel */
#define BN_ZEROES (1u << 16) /* blocks of one Write Zeroes */
#define BN_TIMEOUT_NS 25000000000ull
#define BN_PATIENCE_NS 2000000000ull /* with a cancelled request in memory that is to go */

struct bn_chan;

/* What is to be done on the controller's thread. */
struct bn_order {
	struct bn_order *next;
	void (*run)(struct bn_order *order);
	struct bn_chan *chan;
	int error;
	bool is_done;
	bool is_posted; /* nobody waits for it, and it may be freed as it runs */
};

struct bn_pool {
	struct bn_pool *next;
	struct bh_pool *pool;
};

/* Memory of a user's that the device reaches. */
struct bn_arena {
	struct bn_arena *next;
	uint8_t *va;
	size_t len;
	struct bh_pool *pool;
	unsigned int users; /* channels */
};

struct bn_device {
	uint32_t refs; /* __atomic: stores */
	struct bh_address address;
	const struct bh_log *log;
	struct bh_dma_space *space;
	struct bh_device *dev;
	struct bh_nvme *nvme;
	pthread_t thread;
	bool is_dead;		  /* the thread's: it is the one that let go last */
	bool is_lost;		  /* the thread's */
	bool told_copied;	  /* __atomic */
	uint64_t reset_ns;	  /* the thread's: when it was last reset for being stuck */
	unsigned int num_changes; /* the thread's: since tables of translations were freed */
	/* Changes of the space, which may take a while, one at a time. Before lock, after a channel's. */
	pthread_mutex_t space_lock;
	struct bn_arena *arenas; /* under space_lock */
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	/* ---- under lock ---- */
	struct bn_order *orders, **orders_last; /* in order */
	bool is_stopping;
	struct bn_shared *shared; /* freed by the thread */
	struct bn_pool *pools;
	struct bn_chan *chans; /* the thread's to change */
};

struct bn_store {
	struct bh_blk blk;
	struct bn_device *device;
	struct bh_nvme_ns *ns;
	unsigned int shift; /* log2 of the namespace's blocks in one of ours */
	bool has_flush;
	bool is_passing; /* clients' memory may be shared with it */
};

struct bn_req {
	struct bn_req *next;
	struct bh_blk_io io;
	uint64_t done, chunk; /* bytes */
	uint64_t began_ns;
	uint64_t cancelled_ns; /* 0: it is not */
	bool is_out;	       /* it has no result yet */
	void *bounce;
	struct bh_pool *pool; /* of the bounce buffer */
};

struct bn_chan {
	struct bh_blk_chan base;
	struct bn_chan *next; /* of the device's */
	struct bh_nvme_queue *q;
	/*
	 * The owner's, and the controller's thread's when the device was lost or the channel was
	 * left: nobody else ever waits for it.
	 */
	pthread_mutex_t lock;
	unsigned int outstanding; /* that have no result yet, */
	unsigned int cancelled;	  /* of which so many are */
	struct bh_iova_cache cache;
	struct bn_req *free;
	struct bn_req *parked, **parked_last; /* for when the queue takes them again */
	uint64_t look_ns;		      /* not before */
	bool is_left;			      /* under the device's lock */
	unsigned int num_arenas;
	struct {
		void *va;
		size_t len;
	} arena[BN_ARENAS];
	struct bn_req req[BN_REQUESTS];
};

/* ---- device.c ---- */

/* 0 or -errno, with why. */
int bn_device_open(const struct bh_address *address, const struct bh_log *log, char why[256],
		   struct bn_device **out);
struct bn_device *bn_device_get(struct bn_device *device);
void bn_device_put(struct bn_device *device); /* NULL is accepted */
/* The order's error, when it has been carried out on the controller's thread. Any thread. */
int bn_device_call(struct bn_device *device, struct bn_order *order);
/* It will be carried out there; under the device's lock. */
void bn_device_post(struct bn_device *device, struct bn_order *order);
/* Memory that the device reaches. Any thread. NULL: there is none left. */
void *bn_device_alloc(struct bn_device *device, size_t bytes, struct bh_pool **pool);
int bn_device_add_pool(struct bn_device *device); /* more of it */
void bn_device_add_chan(struct bn_device *device, struct bn_chan *chan);
void bn_device_remove_chan(struct bn_device *device, struct bn_chan *chan);
int bn_arena_add(struct bn_device *device, void *va, size_t len, int fd);
void bn_arena_del(struct bn_device *device, void *va, size_t len);

/* ---- chan.c ---- */

extern const struct bh_blk_ops bn_ops;
/*
 * On the controller's thread, for an owner that does not look: takes results, and completes what is
 * over. False: the channel is gone.
 */
bool bn_chan_serve(struct bn_chan *chan);
/* On that thread: a request in memory that is to go was cancelled, and does not come back. */
bool bn_chan_is_stuck(struct bn_chan *chan);

/* ---- share.c ---- */

void bn_share(struct bh_blk *blk, const struct bh_blk_mem *mem);
void bn_unshare(struct bh_blk *blk, const struct bh_blk_mem *mem, void (*done)(void *arg),
		void *arg);
/* On the controller's thread: the device is to be opened again, and was. */
void bn_shared_drop(struct bn_device *device);
void bn_shared_again(struct bn_device *device);

/* ---- store.c ---- */

void bn_store_destroy(struct bh_blk *blk);
int bn_store_grow(struct bh_blk *blk, uint64_t blocks);

#endif

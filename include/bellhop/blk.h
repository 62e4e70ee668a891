/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Block stores: what an emulated controller keeps its data in.
 *
 * Component: lib/blk
 *
 * A `bh_blk` is shared and thread-safe. A `bh_blk_chan` belongs to one thread, which submits to it
 * and reaps from it; a store that completes on a thread of its own enters completions through the
 * channel's queue (bh_blk_chan_complete) and its eventfd wakes a sleeping owner.
 *
 * A submission is DONE (0, or -errno) when it returns, or QUEUED (BH_BLK_QUEUED) and reaped later
 * with its cookie.
 *
 * Buffers: a store with BH_BLK_CAP_CANCEL_SYNC is given client memory itself and must be able to
 * let go of it: when cancel() returns the buffer of that request is not touched any more (it still
 * completes, with -ECANCELED or whatever it came to). A store without it never sees client memory:
 * the controller gives it memory of its own, which stays until the completion. One with
 * BH_BLK_CAP_SHARE may be given client memory that it was told of (bh_blk_share) and says that it
 * reaches: whoever takes that back has waited for the completion of every request with buffers
 * there, and cancelled those that did not come.
 */
#ifndef BELLHOP_BLK_H
#define BELLHOP_BLK_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <bellhop/log.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_blk;
struct bh_blk_chan;

enum bh_blk_op {
	BH_BLK_READ,
	BH_BLK_WRITE,
	BH_BLK_FLUSH,
	BH_BLK_WRITE_ZEROES,
	BH_BLK_DEALLOCATE,
	BH_BLK_COMPARE, /* -EILSEQ: differs */
};

#define BH_BLK_CAP_WRITE (1u << 0) /* not read-only */
#define BH_BLK_CAP_FLUSH (1u << 1) /* has a volatile cache: flush and FUA mean something */
#define BH_BLK_CAP_WRITE_ZEROES (1u << 2)
#define BH_BLK_CAP_DEALLOCATE (1u << 3) /* deallocated blocks read zeros */
#define BH_BLK_CAP_COMPARE (1u << 4)	/* the controller compares by reading otherwise */
#define BH_BLK_CAP_CANCEL_SYNC (1u << 5)
#define BH_BLK_CAP_SYNC (1u << 6)  /* every submission is DONE at once */
#define BH_BLK_CAP_SHARE (1u << 7) /* bh_blk_share() and bh_blk_reaches() are of use */

#define BH_BLK_FLAG_FUA (1u << 0)	 /* durable before it completes */
#define BH_BLK_FLAG_DEALLOCATE (1u << 1) /* with write zeroes: may deallocate */
/*
 * The buffers are shared memory: when the request is cancelled somebody waits for it to complete,
 * and it does so in seconds, whatever that takes.
 */
#define BH_BLK_FLAG_SHARED (1u << 2)

#define BH_BLK_QUEUED 1

/*
 * One request. iov stays the caller's until completion; lba and blocks are in blocks of
 * the store.
 */
struct bh_blk_io {
	uint8_t op;
	uint8_t flags;
	uint16_t iovcnt;
	uint32_t blocks;
	uint64_t lba;
	const struct iovec *iov;
	const struct bh_blk *part; /* FLUSH: a slice, whose metadata it is for, too; NULL: none */
	void *cookie;
};

struct bh_blk_done {
	void *cookie;
	/*
	 * 0; -EIO, -ENOSPC, -ENODATA (unreadable), -EROFS, -EILSEQ (compare), -ECANCELED,
	 * -EOPNOTSUPP, -ENOTCONN (where the data are cannot be reached, for now)
	 */
	int status;
};

/* How a store is divided up (NVM 1.0 5.1, 5.2). Requests are for data: see struct bh_blk for metadata. */
struct bh_blk_format {
	uint32_t block_size; /* bytes of data: 512 or 4096 */
	uint16_t md_bytes;   /* of metadata beside each block: 0, 8, 16 or 64 */
	uint8_t pi;	     /* the type of protection information in it: 1 to 3; 0: none */
	bool pi_first;	     /* it is the first eight bytes of the metadata, not the last */
	bool interleaved;    /* towards the host: behind each block's data, in one buffer */
};

/* Zones of a store: all of them alike. */
struct bh_blk_zoned {
	uint64_t bytes;		       /* from one to the next; 0: the store is not zoned */
	uint64_t capacity;	       /* bytes of it that can be written */
	uint32_t max_open, max_active; /* 0: no limit */
};

struct bh_blk_info {
	const char *name;    /* as created, e.g. "ram:1G" */
	uint32_t block_size; /* 512 or 4096: format.block_size */
	uint64_t blocks;
	uint32_t caps;
	uint8_t uuid[16]; /* all zeros: none given */
	struct bh_blk_format format;
	struct bh_blk_zoned zoned;
};

/*
 * The inline path: what a synchronous store without side effects may be reduced to, so that a
 * controller's hot loop needs no call at all. `base` is the store's memory; valid while the bh_blk
 * lives and its size does not change.
 */
enum bh_blk_inline {
	BH_BLK_INLINE_NONE,
	BH_BLK_INLINE_NULL,   /* reads leave the buffer alone, writes go nowhere */
	BH_BLK_INLINE_MEMORY, /* reads and writes are copies from and to base + lba * block_size */
};

/* Memory of a client's: whole pages of a shared mapping of fd, which stay mapped while it is shared. */
struct bh_blk_mem {
	void *va;
	size_t len;
	int fd;
	uint64_t fd_offset;
};

struct bh_blk_ops {
	const char *type;
	void (*destroy)(struct bh_blk *blk);
	/*
	 * A channel of `chan_size` bytes is allocated zeroed by the library; these set up and tear
	 * down. May be NULL.
	 */
	size_t chan_size;
	int (*chan_init)(struct bh_blk *blk, struct bh_blk_chan *chan);
	void (*chan_fini)(struct bh_blk_chan *chan);
	int (*submit)(struct bh_blk_chan *chan, const struct bh_blk_io *io);
	/*
	 * Polls the store itself (io_uring, say) for completions on the owner's thread. May be
	 * NULL.
	 */
	unsigned int (*reap)(struct bh_blk_chan *chan, struct bh_blk_done *out, unsigned int n);
	/*
	 * For stores with reap(): from now on what there is to reap makes bh_blk_chan_fd() readable;
	 * the next reap() or arm() undoes it. -EAGAIN: there is something already. May be NULL.
	 */
	int (*arm)(struct bh_blk_chan *chan);
	/*
	 * For stores with arm(): what becomes readable, where it is not the queue of completions from
	 * other threads. May be NULL.
	 */
	int (*fd)(const struct bh_blk_chan *chan);
	/*
	 * For stores with reap(): the channel was closed with requests in it. It is the store's until
	 * it has completed chan->outstanding of them by bh_blk_chan_complete(), on a thread of its
	 * own. Cannot fail. NULL: completions come that way anyhow.
	 */
	void (*leave)(struct bh_blk_chan *chan);
	/*
	 * Owner's thread. See above; for stores without CANCEL_SYNC it only hurries the request.
	 * May be NULL.
	 */
	void (*cancel)(struct bh_blk_chan *chan, void *cookie);
	/* Memory that buffers will lie in comes and goes, see bh_blk_mem_add(). May be NULL. */
	int (*mem_add)(struct bh_blk_chan *chan, void *va, size_t len, int fd);
	void (*mem_del)(struct bh_blk_chan *chan, void *va, size_t len);
	/* Of stores with CAP_SHARE, see bh_blk_share(), bh_blk_unshare(), bh_blk_reaches(). */
	void (*share)(struct bh_blk *blk, const struct bh_blk_mem *mem);
	void (*unshare)(struct bh_blk *blk, const struct bh_blk_mem *mem, void (*done)(void *arg),
			void *arg);
	bool (*reaches)(struct bh_blk_chan *chan, const struct iovec *iov, unsigned int iovcnt);
	/* Makes room for so many blocks, more than there are; any thread. NULL: it keeps its size. */
	int (*grow)(struct bh_blk *blk, uint64_t blocks);
};

/* Where a store keeps what is beside its data: metadata, its format. See lib/blk/media.c. */
enum bh_blk_beside {
	BH_BLK_BESIDE_NOTHING, /* the format stays as it is */
	BH_BLK_BESIDE_SIZE,    /* nowhere: the block size may change, nothing else */
	BH_BLK_BESIDE_MEMORY,
	BH_BLK_BESIDE_FILE, /* media_path */
};

/* What every store embeds as its first member. */
struct bh_blk {
	const struct bh_blk_ops *ops;
	struct bh_blk_info info;
	/*
	 * Metadata, md_bytes for each block, from block 0 on; NULL: none. Whoever reads and writes
	 * blocks does so with their metadata. A tuple of protection information lies here inverted:
	 * zeros are one that nobody verifies, so memory and holes in files are fit to begin with.
	 */
	uint8_t *md;
	struct bh_zones *zones; /* <bellhop/zones.h>; NULL: none. Who writes asks there first */
	uint64_t bytes;		/* of data there is room for, whole blocks or not */
	int media_fd;		/* what a flush of the store has to sync beside it; -1: nothing */
	enum bh_blk_beside beside;
	char *media_path;
	uint32_t min_block; /* the smallest block that will do */
	struct blk_media *media;
	uint8_t format_left; /* __atomic: percent of a change of format, for who asks */
	enum bh_blk_inline inline_kind;
	uint8_t *inline_base;
	const struct bh_log *log;
	uint32_t refs; /* __atomic: holders and channels */
	char name[256];
	struct bh_blk_listener *listeners;
	void *lock; /* of listeners, claims and bad blocks; the library's */
	struct bh_blk_bad *bad;
	uint32_t num_bad; /* __atomic: blocks */
	uint32_t slices;  /* __atomic: stores that are runs of this one's blocks, as they are */
	/* Spans, see lib/blk/spans.c. */
	struct bh_blk_span *alone, *shared;
	uint32_t is_watched;  /* __atomic */
	uint32_t watch_left;  /* answers that are to come */
	uint32_t watch_quiet; /* spans since one was wanted alone */
	bool is_told;
	bool is_claimed;
	uint32_t claim_left; /* listeners that have not yielded yet */
	void (*claimed)(void *arg);
	void *claimed_arg;
	uint32_t release_left; /* listeners that have not gone on yet */
	void (*released)(void *arg);
	void *released_arg;
};

/* What every channel embeds as its first member. The library's, all of it. */
struct bh_blk_chan {
	struct bh_blk *blk;
	/* queue of completions from other threads; NULL for stores that never queue */
	void *foreign;
	uint32_t outstanding; /* queued and not reaped; the owner's */
	uint32_t limit;	      /* at most so many: BH_BLK_CHAN_LIMIT */
};

/*
 * Requests one channel can have queued; its queue of foreign completions has room for all of them.
 */
#define BH_BLK_CHAN_LIMIT 8192u

/*
 * For stores. One that queues completes by bh_blk_chan_complete() or out of its own reap();
 * requests that outlive their channel (no CANCEL_SYNC) only by the former, see leave().
 *
 * init gives the caller the first reference. block_size 512 or 4096; name is copied (truncated at
 * 255). -EINVAL, -ENOMEM.
 */
int bh_blk_init(struct bh_blk *blk, const struct bh_blk_ops *ops, const char *name,
		uint32_t block_size, uint64_t blocks, uint32_t caps, const struct bh_log *log);
/* For destroy() of stores that did not get as far as being somebody's. */
void bh_blk_fini(struct bh_blk *blk);
/* Does the request lie inside the store? 0 or -EINVAL. */
int bh_blk_check(const struct bh_blk *blk, const struct bh_blk_io *io);
/*
 * A queued request is complete. Any thread. cookie as submitted. Needs no memory: see blk.c for
 * how. The store may be gone when this returns if it was the last request of a closed channel
 * (ops->destroy then runs inside, on this thread).
 */
void bh_blk_chan_complete(struct bh_blk_chan *chan, void *cookie, int status);
/* The size changed: tells the listeners. Any thread. */
void bh_blk_resized(struct bh_blk *blk, uint64_t blocks);

/* For users of stores. */

/*
 * Lets the store grow, and tells the listeners. Any thread, one at a time. -EINVAL: it is larger
 * already; -EOPNOTSUPP: it keeps its size; what the store says (-EROFS, -ENOSPC, -EFBIG).
 */
int bh_blk_resize(struct bh_blk *blk, uint64_t blocks);
struct bh_blk *bh_blk_get(struct bh_blk *blk);
void bh_blk_put(struct bh_blk *blk); /* destroys with the last reference. NULL is accepted */
static inline const struct bh_blk_info *bh_blk_info(const struct bh_blk *blk)
{
	return &blk->info;
}

struct bh_blk_listener {
	/* on the resizer's thread; may be NULL */
	void (*resized)(struct bh_blk_listener *listener, uint64_t blocks);
	/* some blocks are bad from now on; on the setter's thread; may be NULL */
	void (*has_bad)(struct bh_blk_listener *listener);
	/*
	 * Somebody claims the store, to change its format: submit nothing any more, and call
	 * bh_blk_yielded() when nothing of yours is outstanding, or can have an effect later. Then
	 * resume: the store may be another now; call bh_blk_resumed() when you submit again, or never
	 * will. Both on the claimer's thread, and neither calls anything of the store. NULL, both:
	 * who listens submits nothing.
	 */
	void (*yield)(struct bh_blk_listener *listener);
	void (*resume)(struct bh_blk_listener *listener);
	/*
	 * From now on whoever listens takes spans. *left is raised by the number of calls of
	 * bh_blk_watched() that will say so, each when one of his threads does, and has taken them for
	 * what it has begun. On a thread of somebody who wants blocks alone, under the store's lock.
	 * 0; -EAGAIN: not now; -ENOMEM. NULL: who listens submits nothing.
	 */
	int (*watch)(struct bh_blk_listener *listener, uint32_t *left);
	struct bh_blk_listener *next;
};
/* -EBUSY: the store is claimed, and the listener would have to yield it. */
int bh_blk_listen(struct bh_blk *blk, struct bh_blk_listener *listener);
/* Nobody is asked for anything after it; what has been asked for is still to be answered. */
void bh_blk_unlisten(struct bh_blk *blk, struct bh_blk_listener *listener);

/*
 * Bad blocks: somebody wants them to be unreadable until they are written (NVMe's Write
 * Uncorrectable). They are kept here, not in the store: who reads for others asks first, who has
 * written clears. They last as long as the store is open. Any thread.
 *
 * set: -ENOSPC: more than BH_BLK_BAD_MAX of the store's blocks would be; -ENOMEM. Listeners have
 * heard of it when it returns.
 */
#define BH_BLK_BAD_MAX 65536u /* blocks: as many as one command can name */
int bh_blk_bad_set(struct bh_blk *blk, uint64_t lba, uint64_t blocks);
void bh_blk_bad_clear(struct bh_blk *blk, uint64_t lba, uint64_t blocks);
bool bh_blk_is_bad(struct bh_blk *blk, uint64_t lba, uint64_t blocks); /* any of them */
static inline bool bh_blk_has_bad(const struct bh_blk *blk)
{
	return __atomic_load_n(&blk->num_bad, __ATOMIC_SEQ_CST);
}

/*
 * Spans: some blocks for oneself, for as long as several requests take, against all others whose
 * listeners have watch(). Any thread; a span is begun and ended by one at a time. It holds a
 * reference of its store. In the beginning all zeros; ended twice, or never begun, does no harm.
 *
 * alone: 0: they are; -EAGAIN: ask again with the same span, which is in line; -ENOMEM: likewise, or
 * end it.
 * share: for one request or more, where bh_blk_is_watched(). false: somebody wants them alone, try
 * later. No blocks: nothing to share. begun: as share, for what is under way already, which is never
 * refused.
 */
struct bh_blk_span {
	struct bh_blk *blk; /* NULL: not begun */
	uint64_t lba, blocks;
	struct bh_blk_span *next, **at;
	bool is_alone;
};
int bh_blk_span_alone(struct bh_blk *blk, struct bh_blk_span *span, uint64_t lba, uint64_t blocks);
bool bh_blk_span_share(struct bh_blk *blk, struct bh_blk_span *span, uint64_t lba, uint64_t blocks);
void bh_blk_span_begun(struct bh_blk *blk, struct bh_blk_span *span, uint64_t lba, uint64_t blocks);
void bh_blk_span_end(struct bh_blk_span *span);
void bh_blk_watched(struct bh_blk *blk); /* an answer to watch() */
static inline bool bh_blk_is_watched(const struct bh_blk *blk)
{
	return __atomic_load_n(&blk->is_watched, __ATOMIC_SEQ_CST);
}

/*
 * The store for oneself: claimed(arg) when every listener has yielded, on the thread of the last (or
 * inside, where there is none). -EBUSY: somebody has it.
 */
int bh_blk_claim(struct bh_blk *blk, void (*claimed)(void *arg), void *arg);
void bh_blk_yielded(struct bh_blk *blk); /* any thread */
/*
 * Everybody goes on: released(arg) when they have, on the thread of the last (or inside, where there
 * is none). Others may claim the store before that. released NULL: it does not matter when.
 */
void bh_blk_release(struct bh_blk *blk, void (*released)(void *arg), void *arg);
void bh_blk_resumed(struct bh_blk *blk); /* any thread */

/*
 * Could the store have this format? 0; -EINVAL: there is no such format; -EOPNOTSUPP: not this
 * store. Any thread.
 */
int bh_blk_format_check(const struct bh_blk *blk, const struct bh_blk_format *format);
/*
 * In two steps, with the store claimed: prepare makes what the format needs (-ENOMEM, -ENOSPC, what
 * the file system says; errors of format_check), and nothing has changed. Then the claimer zeroes
 * the blocks, and commit makes it the store's, its metadata and blocks being those of a store that
 * was never written to. -errno of the file system: it has the old format. Either ends it; drop does
 * so without a change.
 */
struct blk_media;
int bh_blk_format_prepare(struct bh_blk *blk, const struct bh_blk_format *format,
			  struct blk_media **out);
int bh_blk_format_commit(struct bh_blk *blk, struct blk_media *media);
void bh_blk_format_drop(struct blk_media *media);

/* on the thread that will own it, or before it runs */
int bh_blk_chan_open(struct bh_blk *blk, struct bh_blk_chan **out);
/*
 * Nothing may be outstanding but requests of stores without CANCEL_SYNC, which are waited for in
 * the background: the channel and its store live on until they have completed (their cookies are
 * not touched). NULL is accepted.
 */
void bh_blk_chan_close(struct bh_blk_chan *chan);
/*
 * As close; left(cookie) is called once for every request still outstanding when the store has let
 * go of its buffers, on whatever thread that happens (inside this call for those already complete).
 * left NULL: as close. Owner's thread.
 */
void bh_blk_chan_leave(struct bh_blk_chan *chan, void (*left)(void *cookie));

/*
 * DONE: 0 or -errno. BH_BLK_QUEUED: reaped later. -EINVAL: outside the store. -EAGAIN: no room, try
 * after a reap. -EOPNOTSUPP: capability missing. -EROFS. Owner's thread.
 */
static inline int bh_blk_submit(struct bh_blk_chan *chan, const struct bh_blk_io *io)
{
	int rc;

	if (chan->outstanding >= chan->limit)
		return -EAGAIN;
	rc = chan->blk->ops->submit(chan, io);
	if (rc == BH_BLK_QUEUED)
		chan->outstanding++;
	return rc;
}

unsigned int bh_blk_reap(struct bh_blk_chan *chan, struct bh_blk_done *out, unsigned int n);
void bh_blk_cancel(struct bh_blk_chan *chan, void *cookie);
/* Readable when something is to be reaped, once armed; -1 for stores that never queue. */
int bh_blk_chan_fd(const struct bh_blk_chan *chan);
/* 0: armed; -EAGAIN: something is there to reap. */
int bh_blk_chan_arm(struct bh_blk_chan *chan);
/*
 * Buffers of this channel's requests will lie in [va, va + len): the store may prepare the memory
 * (register it with the kernel, say). Only a hint: buffers elsewhere work as well. What is added is
 * deleted again before it is unmapped, whole, with none of its requests outstanding, or goes with
 * its channel. The memory is a client's for a store with CANCEL_SYNC (then inside quiesce), the
 * caller's own for any other. fd: the file that it is a shared mapping of, from its beginning, or -1;
 * it stays the caller's, and is needed during the call only.
 *
 * -EOPNOTSUPP: of no use to this store, or not on this kernel. -ENOSPC: too many. -ENOMEM: RLIMIT_
 * MEMLOCK, among others. Owner's thread.
 */
int bh_blk_mem_add(struct bh_blk_chan *chan, void *va, size_t len, int fd);
void bh_blk_mem_del(struct bh_blk_chan *chan, void *va, size_t len);
/*
 * A client's memory, for stores with CAP_SHARE (nothing happens for others): a store that hands
 * requests to a device makes it known to that, in its own time and as far as it can be; until then,
 * and where it cannot, the store does not reach it. Each is shared once per store. mem is copied; its
 * fd is needed during the call only. Any thread.
 */
void bh_blk_share(struct bh_blk *blk, const struct bh_blk_mem *mem);
/*
 * What was shared, whole. No request with buffers there is outstanding. done(arg), inside or later on
 * any thread: the memory is reached no more, and may be unmapped. Cannot fail.
 */
void bh_blk_unshare(struct bh_blk *blk, const struct bh_blk_mem *mem, void (*done)(void *arg),
		    void *arg);
/*
 * May a read or write have these buffers, being shared memory that the store can hand on? Owner's
 * thread, for stores with CAP_SHARE.
 */
static inline bool bh_blk_reaches(struct bh_blk_chan *chan, const struct iovec *iov,
				  unsigned int iovcnt)
{
	return chan->blk->ops->reaches(chan, iov, iovcnt);
}
static inline unsigned int bh_blk_outstanding(const struct bh_blk_chan *chan)
{
	return chan->outstanding;
}

/* ---- types of stores ---- */

/* STORE of the command line: TYPE ':' ARG, with the trailing :KEY=VALUE options parsed. */
struct bh_blk_spec {
	const char *arg;	   /* after "TYPE:", opaque to the grammar */
	uint64_t bytes;		   /* size given in ARG where the type takes one, else 0 */
	uint32_t block_size;	   /* bs=, default 512 */
	uint16_t md_bytes;	   /* ms=, default 0 */
	uint8_t pi;		   /* pi=, default 0 */
	struct bh_blk_zoned zoned; /* zoned=, default none */
	bool has_uuid;
	uint8_t uuid[16];
	/*
	 * Stores that are there already, of whatever type, and stay during the call: one may share
	 * with them what can be opened only once.
	 */
	struct bh_blk *const *peers;
	unsigned int num_peers;
};

struct bh_blk_type {
	const char *name; /* "ram" */
	/* *why (static or in buf of 256 bytes): what was wrong with the spec, for the user. */
	int (*create)(const struct bh_blk_spec *spec, const char *name, const struct bh_log *log,
		      char why[256], struct bh_blk **out);
};

/*
 * The size a spec gives (bytes, or all of arg), checked: 0, or -EINVAL with *why. For types whose
 * argument is a size.
 */
int bh_blk_spec_bytes(const struct bh_blk_spec *spec, const char *arg, char why[256],
		      uint64_t *bytes);

/*
 * For types, at the end of their create, beside being set: the format that a spec asks for, or that
 * the store's file beside it remembers. -EINVAL, -ENOTSUP and the like with why.
 */
int bh_blk_media_open(struct bh_blk *blk, const struct bh_blk_spec *spec, char why[256]);

/*
 * null:SIZE and ram:SIZE (its own memfd, hugepages when there are any). create: -EINVAL with *why,
 * -ENOMEM.
 */
extern const struct bh_blk_type bh_blk_null_type;
extern const struct bh_blk_type bh_blk_ram_type;

/*
 * file:PATH[:SIZE], a regular file or a block device by io_uring; see lib/blk/file.c. With SIZE a
 * file that is not there is made (0600, sparse), and one that is shorter is lengthened. A block
 * device that anybody has claimed, and a file that is locked, are refused.
 *
 * A write beyond RLIMIT_FSIZE raises SIGXFSZ in the thread that submits it: applications ignore it.
 *
 * create, always with *why: -EINVAL (size, block size, not a file or device), -EBUSY (in use),
 * -EROFS, -ENOSYS and -EPERM (no io_uring here), and what opening and lengthening return.
 */
extern const struct bh_blk_type bh_blk_file_type;

/*
 * The bytes [first, first + bytes) of the store below (a reference is taken) as a store of its own
 * that keeps its size, with blocks of block_size: as large as those below, or a multiple. It can what
 * the store below can. A flush is one of the whole store below.
 *
 * media_path: a file, there or not, for metadata if the store below is one (bh_blk_slice_beside()
 * tells what a slice has place for); the caller opens it, bh_blk_media_open(), or formats the slice.
 * NULL: none.
 *
 * While there is one the store below keeps its format. -EINVAL: not blocks of either, outside the
 * store, or the store below has metadata or zones; -EBUSY: it is being formatted; -EFBIG: larger
 * blocks, and more than 2^32 of those below; -ENOMEM.
 */
int bh_blk_slice_create(struct bh_blk *below, uint64_t first, uint64_t bytes, uint32_t block_size,
			const char *name, const char *media_path, struct bh_blk **out);
enum bh_blk_beside bh_blk_slice_beside(const struct bh_blk *below, bool has_path);

#ifdef __cplusplus
}
#endif
#endif

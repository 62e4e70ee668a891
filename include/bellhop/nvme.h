/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVMe host driver: one driver for real SSDs and emulated controllers, over any backend.
 *
 * Component: drivers/nvme
 *
 * Life: bh_open() a device, bh_nvme_attach() it, create I/O queues, submit and poll, destroy the
 * queues, bh_nvme_detach(), bh_device_close().
 *
 * Threads: a queue belongs to one thread at a time, whose only duty is to poll it; nothing about a
 * queue is locked. The controller (admin commands, reset, namespaces) belongs to one thread too,
 * which must call bh_nvme_poll() now and then (ten times a second is plenty): it reaps admin
 * completions, asynchronous events, timeouts, and carries out resets.
 *
 * Buffers must lie in pools of the device's space (-EFAULT otherwise), a contiguous buffer within
 * one pool.
 *
 * Submission never blocks and never allocates: -EAGAIN when the queue is full. The doorbell is rung
 * at once when the queue was empty, else at the end of the next poll or by bh_nvme_queue_flush().
 * With shadow doorbells a controller that has completed something just before is taken to be awake;
 * if it is not, the next poll that finds nothing, or bh_nvme_queue_arm(), wakes it.
 * Every command that was accepted completes exactly once: by the controller, or with
 * BH_NVME_SC_ABORTED_SQ_DELETION / BH_NVME_SC_INTERNAL_PATH_ERROR when the queue is destroyed, the
 * controller reset, or the device gone.
 */
#ifndef BELLHOP_NVME_H
#define BELLHOP_NVME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <bellhop/device.h>
#include <bellhop/nvme_spec.h>
#include <bellhop/pi.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_nvme;
struct bh_nvme_ns;
struct bh_nvme_queue;

enum bh_nvme_event {
	BH_NVME_EVENT_NS_CHANGED,  /* a namespace came, went or changed; handles were updated */
	BH_NVME_EVENT_RESET_BEGIN, /* the controller is off: owners complete what is out in poll */
	BH_NVME_EVENT_RESET_DONE,  /* queues work again, all of them */
	BH_NVME_EVENT_FAILED,	   /* it did not come back: submissions get -ENODEV */
	BH_NVME_EVENT_AER,	   /* another event: its completion dword 0 is the value */
};

/*
 * Whether submission queues lie in the controller memory buffer (CMB). There, an entry reaches the
 * controller with the host's store instead of by a read of the controller's. That is a gain if the
 * stores are combined to one burst of 64 bytes, and a loss if they go one by one, uncached.
 */
enum bh_nvme_cmb {
	BH_NVME_CMB_DEFAULT, /* of a queue: as the controller's; of a controller: AUTO */
	BH_NVME_CMB_AUTO,    /* where the CMB is known to be mapped write-combining */
	BH_NVME_CMB_OFF,     /* never; of a controller: its CMB is not even looked at */
	BH_NVME_CMB_ON,	     /* whatever the mapping; in host memory, said at info, if that fails */
	BH_NVME_CMB_REQUIRE, /* or the queue is not created */
};

struct bh_nvme_opts {
	size_t size;
	unsigned int queues;	    /* I/O queue pairs; 0: what there is, at most 64 */
	unsigned int admin_depth;   /* entries, 2..4096; default 32 */
	uint64_t admin_timeout_ns;  /* default 30 s */
	uint64_t io_timeout_ns;	    /* default 30 s; 0: none. Abort, as long again, reset */
	unsigned int async_events;  /* AERs kept outstanding, 0..8; default 4 */
	bool no_shadow_doorbells;   /* do not use Doorbell Buffer Config */
	bool no_sgl;		    /* use PRPs even where the controller takes SGLs */
	bool no_shutdown_notify;    /* detach without CC.SHN */
	enum bh_attr doorbell_attr; /* wanted for doorbells: UC (default) or WC */
	const struct bh_log *log;   /* NULL: the device's */
	/* On the thread of bh_nvme_poll (or attach, reset). May submit I/O; must not detach. */
	void (*event)(void *ctx, enum bh_nvme_event event, uint32_t value);
	void *event_ctx;
	enum bh_nvme_cmb cmb; /* for queues that do not say */
	/*
	 * PRP lists and SGLs of such queues there too, where the controller takes them and there is
	 * room: saves it another read, takes many times the space of the queue.
	 */
	bool cmb_lists;
	/*
	 * Keep Alive Timeout: the controller gives this host up (fatal status, until a reset) when it
	 * has had no command for so long; bh_nvme_poll() sends Keep Alive at half of it, and so must
	 * be called more often. 0, the default: none. Controllers without it do without, said at info.
	 */
	unsigned int keep_alive_ms;
};

void bh_nvme_opts_init(struct bh_nvme_opts *opts);

/*
 * Resets and enables the controller (waiting as long as CAP.TO says, no longer), identifies it and
 * its namespaces. -ENODEV: gone, or registers read all-ones; -ETIMEDOUT: never became ready (the
 * log says which step and limit); -EIO: fatal status, or an admin command failed (logged with its
 * status); -ENOTSUP: no NVM command set, a page size we lack, queues of one entry, doorbells
 * outside BAR 0; -ENOMEM: no room in the space's pools; -EINVAL.
 */
int bh_nvme_attach(struct bh_device *dev, const struct bh_nvme_opts *opts, struct bh_nvme **out);

/*
 * Destroys what queues are left, shuts the controller down normally, disables it. Does not close
 * the device. NULL is accepted.
 */
void bh_nvme_detach(struct bh_nvme *nvme);

/*
 * Admin completions, events, timeouts, resets under way; may wait for admin commands of its own.
 * The number of things done; -ENODEV: failed or gone; -EBUSY: called in an admin or reset callback.
 */
int bh_nvme_poll(struct bh_nvme *nvme);

struct bh_device *bh_nvme_device(const struct bh_nvme *nvme);
const struct bh_nvme_id_ctrl *bh_nvme_ctrl_data(const struct bh_nvme *nvme);
uint64_t bh_nvme_reg_cap(const struct bh_nvme *nvme);
uint32_t bh_nvme_reg_vs(const struct bh_nvme *nvme);
/* I/O queue pairs the controller granted. */
unsigned int bh_nvme_max_queues(const struct bh_nvme *nvme);
/* Entries per queue: CAP.MQES + 1. */
unsigned int bh_nvme_max_depth(const struct bh_nvme *nvme);
/* Bytes per command (MDTS, 4 MiB at most); larger requests are split. */
uint32_t bh_nvme_max_transfer(const struct bh_nvme *nvme);
bool bh_nvme_has_sgl(const struct bh_nvme *nvme);
/* In use: offered, wanted, and cheaper than the doorbells (which plain shared memory is not). */
bool bh_nvme_has_shadow_doorbells(const struct bh_nvme *nvme);
/* "mapped", "ioeventfd", "messages": for listings. */
const char *bh_nvme_doorbell_path(const struct bh_nvme *nvme);

/* The controller memory buffer. */
struct bh_nvme_cmb_info {
	unsigned int bar;
	uint64_t offset, bytes;	      /* in that BAR */
	bool sqs, cqs, lists;	      /* may lie there: queues, PRP lists and SGLs */
	bool reads, writes;	      /* data of such commands may lie there */
	bool usable;		      /* mapped, and the controller takes addresses in it */
	uint64_t mapped, used;	      /* bytes for queues, and what they take of it */
	enum bh_attr requested, attr; /* of the mapping, as struct bh_map has them */
	const char *why;	      /* static text; NULL: not mapped */
};
/* -EOPNOTSUPP: there is none, or it was not to be looked at. Controller thread. */
int bh_nvme_cmb_info(const struct bh_nvme *nvme, struct bh_nvme_cmb_info *info);

/* ---- namespaces ---- */

/*
 * Active namespaces in ascending order of id, the first 1024 of them. Handles stay valid until
 * detach; one that went away has 0 blocks. Left out are those with blocks of a size outside 512
 * bytes to 1 MiB or over the transfer limit; listed, but I/O to them -EINVAL, those whose metadata
 * or protection information we cannot handle (bh_nvme_format.served; the log says why), and, with 0
 * blocks, those of a command set other than NVM (bh_nvme_ns_csi() 0) and zoned (2; see
 * <bellhop/nvme_zns.h>).
 */
struct bh_nvme_ns *bh_nvme_ns_first(struct bh_nvme *nvme);
struct bh_nvme_ns *bh_nvme_ns_next(struct bh_nvme_ns *ns);
struct bh_nvme_ns *bh_nvme_ns_get(struct bh_nvme *nvme, uint32_t nsid); /* NULL: not active */
uint32_t bh_nvme_ns_id(const struct bh_nvme_ns *ns);
uint8_t bh_nvme_ns_csi(const struct bh_nvme_ns *ns); /* BH_NVME_CSI_*: its command set */
/*
 * Bytes of a block as read and write without options transfer them: with interleaved metadata, but
 * for metadata that is protection information and nothing else, which the controller strips.
 */
uint32_t bh_nvme_ns_block_size(const struct bh_nvme_ns *ns);
uint64_t bh_nvme_ns_blocks(const struct bh_nvme_ns *ns);
const struct bh_nvme_id_ns *bh_nvme_ns_data(const struct bh_nvme_ns *ns);

/* How a namespace is formatted. */
struct bh_nvme_format {
	uint32_t data_bytes; /* of a block, without metadata */
	uint16_t md_bytes;   /* of a block; 0: all below is 0 too, but for `served` */
	bool interleaved; /* metadata follows each block's data; otherwise it has its own buffer */
	uint8_t pi_type;  /* protection information: 0 (none) to 3 */
	bool pi_first;	  /* it is the first eight bytes of metadata, not the last */
	uint8_t guard_bits; /* 16; 32 or 64 are not served; 0: none, or not known */
	bool plain;	    /* calls without options work: no buffer for metadata is needed */
	bool served;	    /* false: I/O is refused */
};

/* As of now: a format by another host changes it (BH_NVME_EVENT_NS_CHANGED). Controller thread. */
void bh_nvme_ns_format(const struct bh_nvme_ns *ns, struct bh_nvme_format *out);

/* 16 bytes; all zeros when the namespace has none. */
void bh_nvme_ns_uuid(const struct bh_nvme_ns *ns, uint8_t uuid[16]);

/* ---- admin commands ---- */

/*
 * `cpl` is valid during the call only; its status field is bh_nvme_cpl_status(cpl). Runs inside
 * bh_nvme_poll or bh_nvme_queue_poll, on the thread that polls. May submit; may not poll or destroy
 * the queue, nor detach.
 */
typedef void (*bh_nvme_done)(void *arg, const struct bh_nvme_cpl *cpl);

/*
 * Any admin command. cid and data pointer of *cmd are filled in: buf (len bytes, NULL for none) by
 * PRPs. -EAGAIN: admin queue full, or in a reset; -EFAULT: buf not reachable; -EMSGSIZE: over the
 * transfer limit; -ENODEV. Controller thread.
 */
int bh_nvme_admin(struct bh_nvme *nvme, const struct bh_nvme_cmd *cmd, void *buf, size_t len,
		  bh_nvme_done done, void *arg);

/*
 * The same, waiting (it polls) until done or admin_timeout. buf is any memory: it is copied through
 * a bounce buffer. The status field (>= 0) is returned and *cpl filled unless NULL; or as above,
 * -ETIMEDOUT (a reset follows), -ENOMEM: no room in the pools, -EBUSY: in an admin callback.
 */
int bh_nvme_admin_sync(struct bh_nvme *nvme, const struct bh_nvme_cmd *cmd, void *buf, size_t len,
		       struct bh_nvme_cpl *cpl);

/* The usual ones, waiting: status field or -errno. */
int bh_nvme_identify(struct bh_nvme *nvme, uint8_t cns, uint32_t nsid, uint8_t csi, uint16_t cntid,
		     void *buf);
int bh_nvme_get_log(struct bh_nvme *nvme, uint8_t lid, uint32_t nsid, uint64_t offset, void *buf,
		    size_t len);
int bh_nvme_get_feature(struct bh_nvme *nvme, uint8_t fid, uint32_t nsid, uint32_t cdw11, void *buf,
			size_t len, uint32_t *result);
int bh_nvme_set_feature(struct bh_nvme *nvme, uint8_t fid, uint32_t nsid, uint32_t cdw11,
			const void *buf, size_t len, uint32_t *result);

/*
 * Controller reset: CC.EN 1 -> 0 -> 1. Everything outstanding completes with an error exactly once,
 * on the thread that owns its queue at its next poll; queues are created again and go on. Waits.
 * Controller thread; queue owners may be polling and submitting (they get -EAGAIN meanwhile).
 * A queue is back once its owner has polled and, if that was later than this call, bh_nvme_poll()
 * ran after it: BH_NVME_EVENT_RESET_DONE. -ETIMEDOUT, -ENODEV, -EIO: failed for good; -EBUSY: in a
 * callback.
 */
int bh_nvme_reset(struct bh_nvme *nvme);

/*
 * For who adds and removes pools of the device's space without end: frees what is kept of former
 * ones for queues that are translating, which is little, but grows with each change. Controller
 * thread, while no owner of a queue is in a call with it, and the space is not being changed.
 */
void bh_nvme_trim(struct bh_nvme *nvme);

/*
 * After the device was lost: bh_device_reopen() and reset. Queues and handles stay valid. -EAGAIN:
 * an owner has not polled his queue to -ENODEV yet (he may be using what is to be unmapped);
 * -EBUSY: not lost, or in a callback; else what reopening, attach or reset return. Controller
 * thread.
 */
int bh_nvme_reopen(struct bh_nvme *nvme);

/* ---- I/O queues ---- */

struct bh_nvme_queue_opts {
	size_t size;
	unsigned int depth;    /* commands in flight, 1..max_depth - 1; 0: 127, or what there is */
	bool interrupt;	       /* with an interrupt, for _fd and _arm; default off */
	unsigned int priority; /* 0 urgent .. 3 low; used with weighted round robin only */
	enum bh_nvme_cmb cmb;  /* whether its entries lie in the CMB */
};

void bh_nvme_queue_opts_init(struct bh_nvme_queue_opts *opts);

/*
 * Creates a completion and a submission queue. Controller thread; then hand the queue to its owner.
 * -ENOSPC: no queue id left; -EINVAL: depth, priority; -ENOMEM; -EIO: the controller refused, or
 * did not answer (logged); -EOPNOTSUPP: interrupt wanted, device has none, or CMB required, and it
 * has none that can be used, or no room in it (logged); -ENODEV: gone or failed;
 * -EBUSY: in an admin callback, or in the event of a reset that begins.
 */
int bh_nvme_queue_create(struct bh_nvme *nvme, const struct bh_nvme_queue_opts *opts,
			 struct bh_nvme_queue **out);

/*
 * Deletes both queues, completes what is outstanding (callbacks run here), and frees the memory
 * when the controller confirmed or was reset. A controller that does not confirm while commands are
 * out is reset here, other queues with it. Controller thread, when the owner no longer uses it; not
 * in a callback. NULL is accepted.
 */
void bh_nvme_queue_destroy(struct bh_nvme_queue *q);

uint16_t bh_nvme_queue_id(const struct bh_nvme_queue *q);
unsigned int bh_nvme_queue_depth(const struct bh_nvme_queue *q);
unsigned int bh_nvme_queue_outstanding(const struct bh_nvme_queue *q);
/* Do its entries lie in the CMB? May change with a reset. */
bool bh_nvme_queue_in_cmb(const struct bh_nvme_queue *q);

#define BH_NVME_FUA (1u << 30) /* as in CDW12 */
#define BH_NVME_LIMITED_RETRY (1u << 31)

/*
 * Reads or writes `blocks` (1..2^32 - 1, not 0's based) at lba. flags: CDW12 bits above. `done`
 * NULL: reaped with bh_nvme_queue_reap() (a poll drops the result). Requests over MDTS, a namespace
 * boundary or a PRP-illegal iovec are split and complete once. An iovec may go away after the call,
 * unless the request takes more commands than the queue's depth, or is a write to a zone that takes
 * more than one: then it stays until done.
 *
 * -EAGAIN: not enough free slots now, or a reset under way (poll first); -EINVAL: blocks 0 or past
 * address 2^64 - 1, buffer size mismatch, a namespace that is not served, or pieces of less than a
 * block that no PRP list can name; -EFAULT: buffer outside the device's pools or not dword aligned;
 * -ENODEV: gone or failed. Queue owner.
 */
int bh_nvme_read(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, void *buf, uint64_t lba,
		 uint32_t blocks, uint32_t flags, bh_nvme_done done, void *arg);
int bh_nvme_write(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const void *buf, uint64_t lba,
		  uint32_t blocks, uint32_t flags, bh_nvme_done done, void *arg);

#define BH_NVME_RW_WRITE 1u

/* One request of a burst. */
struct bh_nvme_rw {
	void *buf; /* as of bh_nvme_read() */
	void *arg;
	uint64_t lba;
	uint32_t blocks;
	uint32_t flags; /* CDW12 bits above; with BH_NVME_RW_WRITE a write, else a read */
};

/*
 * Reads and writes at once: as many calls of bh_nvme_read() and bh_nvme_write() in this order with
 * the same `done`, for about half the work, and with one doorbell. How many of the n were submitted;
 * it stops at the first that cannot be, and if that is the very first, its error is returned. io is
 * not needed after the call. Queue owner.
 */
int bh_nvme_rw_burst(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct bh_nvme_rw *io,
		     unsigned int n, bh_nvme_done done);

int bh_nvme_readv(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct iovec *iov,
		  unsigned int iovcnt, uint64_t lba, uint32_t blocks, uint32_t flags,
		  bh_nvme_done done, void *arg);
int bh_nvme_writev(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct iovec *iov,
		   unsigned int iovcnt, uint64_t lba, uint32_t blocks, uint32_t flags,
		   bh_nvme_done done, void *arg);
int bh_nvme_compare(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const void *buf, uint64_t lba,
		    uint32_t blocks, uint32_t flags, bh_nvme_done done, void *arg);
/*
 * Writes `desired` to blocks that hold what is in `old`, or else nothing, and nobody gets between (a
 * fused operation). flags: as for a write. done once: 0; Compare Failure, the blocks held something
 * else; or what is wrong with either command. Two buffers of as many blocks, which stay until done.
 *
 * Not split, and two commands of the queue's depth: -EAGAIN where two slots are not free. -EMSGSIZE:
 * more than bh_nvme_compare_and_write_max(), which is what the controller does at once (ACWU, NACWU;
 * one block if the namespace has atomic boundaries); that is 0, and this -EOPNOTSUPP, where the
 * controller has no such operation (FUSES) and for namespaces that are zoned or have metadata.
 * -EINVAL: blocks 0, past the last address, a queue of depth 1. Else as bh_nvme_write(). Queue owner.
 */
int bh_nvme_compare_and_write(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const void *old,
			      const void *desired, uint64_t lba, uint32_t blocks, uint32_t flags,
			      bh_nvme_done done, void *arg);
uint32_t bh_nvme_compare_and_write_max(const struct bh_nvme_ns *ns); /* blocks; any thread */
int bh_nvme_flush(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, bh_nvme_done done, void *arg);
#define BH_NVME_WZ_DEAC (1u << 25)
/* flags: BH_NVME_FUA, BH_NVME_WZ_DEAC. */
int bh_nvme_write_zeroes(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba,
			 uint32_t blocks, uint32_t flags, bh_nvme_done done, void *arg);
/* `ranges` (1..256) lie in a pool and stay until done. */
int bh_nvme_deallocate(struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		       const struct bh_nvme_dsm_range *ranges, unsigned int count,
		       bh_nvme_done done, void *arg);

/*
 * Commands whose data stays inside; the controller has each if its bit of ONCS is set, and refuses
 * one that is larger than it likes. blocks: 1..65536.
 *
 * verify: reads, and nothing is transferred. write_uncorrectable: reading fails with Unrecovered
 * Read Error until the block is written. copy: `ranges` (1..256, format 0; nlb is 0's based), which
 * lie in a pool and stay until done, one after the other to lba. flags: CDW12 from bit 16 (verify),
 * 12 (copy) up: BH_NVME_FUA, checks of protection information.
 *
 * copy, with protection information and no flags about it: the guards of what is read are verified,
 * and what is written gets new ones, with the block's address as reference tag, as writes have them
 * that ask for nothing. With flags it is as they say; the reference tag of the destination is its
 * address, that of a source the range's. Other metadata is copied.
 *
 * As bh_nvme_io(); -EINVAL: blocks or count.
 */
int bh_nvme_verify(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba, uint32_t blocks,
		   uint32_t flags, bh_nvme_done done, void *arg);
int bh_nvme_write_uncorrectable(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba,
				uint32_t blocks, bh_nvme_done done, void *arg);
int bh_nvme_copy(struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		 const struct bh_nvme_copy_range *ranges, unsigned int count, uint64_t lba,
		 uint32_t flags, bh_nvme_done done, void *arg);

/*
 * ---- metadata and protection information ----
 * Calls without options work on namespaces with metadata as follows. Protection information is the
 * controller's business: it makes it on writes (also on bh_nvme_write_zeroes()), with application
 * tag 0 and the low 32 bits of the LBA as reference tag, and verifies guard and, but for type 3,
 * reference tag on reads (PRACT; status BH_NVME_SC_GUARD_CHECK_ERROR, ..._REFTAG_...). A block in
 * the buffer has bh_nvme_ns_block_size() bytes. Metadata that is protection information and nothing
 * else never appears in memory; other interleaved metadata is in the buffer, behind each block's
 * data. Other separate metadata needs a buffer, so calls without options are -EINVAL there, as is
 * bh_nvme_compare() where metadata is not in the buffer.
 */

/* Who makes protection information on writes and verifies it on reads. */
enum bh_nvme_pi {
	BH_NVME_PI_CONTROLLER, /* PRACT, as calls without options */
	/*
	 * The driver: before a write is submitted, in the caller's buffers, the controller verifying
	 * it as well; on reads when all data are there, before `done`, which gets the status that
	 * the controller would have given. End to end: memory, bus and controller are covered.
	 */
	BH_NVME_PI_DRIVER,
	BH_NVME_PI_FLAGS, /* nobody: flags say what the controller does, buffers are as they are */
};

struct bh_nvme_rw_opts {
	size_t size;
	enum bh_nvme_pi pi;
	uint32_t flags;	   /* BH_NVME_FUA...; for PI_FLAGS also BH_NVME_IO_PRACT, _PRCHK_* */
	void *md;	   /* separate metadata, contiguous, in a pool, dword aligned, until done */
	size_t md_bytes;   /* blocks x metadata bytes of the format */
	uint16_t app_tag;  /* written; expected. ffffh would switch off verifying */
	uint16_t app_mask; /* bits of it that are verified; 0 (default): none */
	bool set_ref_tag;  /* types 2 and 3: ref_tag is the first block's; default: from the LBA */
	uint32_t ref_tag;
	/* PI_DRIVER reads: which block differs how, or all 0. Valid in `done`. NULL: not wanted. */
	struct bh_pi_error *error;
};

void bh_nvme_rw_opts_init(struct bh_nvme_rw_opts *opts);

/*
 * Read and write with options (NULL: defaults); on namespaces without metadata like readv and
 * writev. Parts of a split request carry the reference tags that belong to them. The iovec's size
 * is blocks times: data bytes, and metadata bytes too if interleaved. Where the controller inserts
 * and strips (PRACT, metadata that is protection information and nothing else) there is no
 * metadata: data bytes alone, and no md. An iovec of more than one element stays until done when
 * the driver verifies. Nothing of *opts but what it points at is needed after the call.
 *
 * -EINVAL beyond what bh_nvme_readv() says: md given where there is no separate metadata to
 * transfer, not given where there is, or of another size; PI_DRIVER without protection information;
 * a reference tag of type 1 that is not the LBA's. -EFAULT: md outside the pools or not dword
 * aligned. Queue owner.
 */
int bh_nvme_readv_opts(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct iovec *iov,
		       unsigned int iovcnt, uint64_t lba, uint32_t blocks,
		       const struct bh_nvme_rw_opts *opts, bh_nvme_done done, void *arg);
int bh_nvme_writev_opts(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, const struct iovec *iov,
			unsigned int iovcnt, uint64_t lba, uint32_t blocks,
			const struct bh_nvme_rw_opts *opts, bh_nvme_done done, void *arg);

/*
 * Any I/O command: cid and data pointer are filled in from iov (iovcnt 0: none). Not split:
 * -EMSGSIZE over MDTS, -EINVAL for pieces that go into no single PRP list; else as bh_nvme_read().
 */
int bh_nvme_io(struct bh_nvme_queue *q, const struct bh_nvme_cmd *cmd, const struct iovec *iov,
	       unsigned int iovcnt, bh_nvme_done done, void *arg);

/* Rings the doorbell for what was submitted since. Queue owner. */
void bh_nvme_queue_flush(struct bh_nvme_queue *q);

/*
 * Completes up to max commands (0: all that are there), calling their `done`; rings doorbells. Each
 * part of a split request counts against max. The number completed, or -ENODEV once the device is
 * gone and everything outstanding has been completed with an error. Queue owner.
 */
int bh_nvme_queue_poll(struct bh_nvme_queue *q, unsigned int max);

struct bh_nvme_result {
	void *arg;
	uint16_t status; /* status field without phase */
	uint16_t cid;
	uint32_t cdw0;
};

/*
 * As poll, for commands submitted with done NULL: their results go to out[0..n). (Commands with a
 * callback get it, and count against n.) The number of entries in out, or -ENODEV as above.
 */
int bh_nvme_queue_reap(struct bh_nvme_queue *q, struct bh_nvme_result *out, unsigned int n);

/*
 * bh_ticks() as of the last poll that found something, or 16 empty polls ago at most: one time
 * stamp for a whole batch.
 */
uint64_t bh_nvme_queue_ticks(const struct bh_nvme_queue *q);

/*
 * Sleeping: with opts.interrupt, poll the fd (level: readable when completions may be there) after
 * _arm returned 0; _arm returns -EAGAIN when completions are there already. -EOPNOTSUPP without
 * interrupt. While not armed, the device is asked not to signal. Queue owner.
 */
int bh_nvme_queue_fd(const struct bh_nvme_queue *q);
int bh_nvme_queue_arm(struct bh_nvme_queue *q);

struct bh_nvme_queue_stats {
	uint64_t polls, empty_polls, completions, submissions;
	uint64_t sq_doorbells, cq_doorbells; /* stores to the register or shadow */
	uint64_t doorbell_messages;	     /* traps: REGION_WRITE or eventfd kicks */
	uint64_t splits, aborts;
};
void bh_nvme_queue_stats(const struct bh_nvme_queue *q, struct bh_nvme_queue_stats *stats);

/*
 * ---- a queue from a plain description ----
 * All a queue's owner needs to submit and poll, in a form that fits in a message: a process that
 * owns the controller may lend a queue to another one that maps the same pools.
 */
#define BH_NVME_DESC_NS 32
#define BH_NVME_DESC_VERSION 2u

struct bh_nvme_queue_desc {
	uint32_t version; /* BH_NVME_DESC_VERSION */
	uint16_t qid;
	uint16_t entries;
	uint32_t mdts;	    /* bytes */
	uint32_t page_size; /* of the controller */
	uint8_t dstrd, sgl, interrupt;
	uint8_t doorbell; /* 0 mapped; 1 ioeventfd, 2 messages: cannot be lent */
	uint32_t depth;	  /* commands in flight at most: entries - 1 or less */
	uint32_t ns_count;
	/*
	 * Offsets in the files whose fds travel beside: [0] pool with SQ, CQ and lists, [1]
	 * doorbell page, [2] shadow doorbells. list_bytes is per command; doorbell and shadow are
	 * those of the tail, the head's are one stride on, event indices a page after shadows.
	 */
	uint64_t sq_offset, cq_offset, list_offset, list_bytes, doorbell_offset, shadow_offset;
	uint64_t sq_iova, cq_iova, list_iova;
	struct {
		uint32_t nsid;
		uint32_t block_shift;
		uint64_t blocks;
		uint32_t boundary;	/* blocks; 0: none */
		uint32_t zone_blocks;	/* 0: not zoned */
		uint32_t append_blocks; /* per zone append at most */
		uint32_t ext_bytes;	/* of a zone's descriptor extension */
		uint32_t fused_blocks;	/* of Compare and Write at most; 0: there is none */
	} ns[BH_NVME_DESC_NS];
};

/*
 * Fills desc and fds[3] (-1 where there is none; the caller closes them) of a queue that was not
 * used yet. -EOPNOTSUPP: doorbells are not in mapped shared memory, or entries are in the
 * CMB. Controller thread.
 */
int bh_nvme_queue_describe(const struct bh_nvme_queue *q, struct bh_nvme_queue_desc *desc,
			   int fds[3]);

/*
 * What a borrowed queue needs of its owner, beyond its own memory. Any may be NULL. Called on the
 * borrower's thread; each has been done when it returns. After 30 s timeout and abort, after as
 * long again, or when the controller posts nonsense, reset: then what is out is completed with an
 * error, and the queue stays at -ENODEV.
 */
struct bh_nvme_queue_ops {
	void (*abort)(void *ctx, uint16_t qid, uint16_t cid);
	void (*timeout)(void *ctx, uint16_t qid, uint16_t cid);
	void (*reset)(void *ctx, uint16_t qid);
};

/*
 * Opens a described queue: maps the fds (taken over), checks everything in desc. `iova` translates
 * the borrower's buffers. -EINVAL: description contradicts itself or the files. Its namespaces:
 * bh_nvme_queue_ns(). -ENOMEM. The fds are taken over in any case.
 */
int bh_nvme_queue_open(const struct bh_nvme_queue_desc *desc, const int fds[3],
		       const struct bh_iova_map *iova, const struct bh_nvme_queue_ops *ops,
		       void *ops_ctx, struct bh_nvme_queue **out);
void bh_nvme_queue_close(struct bh_nvme_queue *q);
struct bh_nvme_ns *bh_nvme_queue_ns(struct bh_nvme_queue *q, uint32_t nsid);

#ifdef __cplusplus
}
#endif
#endif

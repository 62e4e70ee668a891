/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scripted NVMe controller in this process, as a backend: registers, admin queue, I/O queues with
 * real rings in pool memory, PRPs and SGLs walked by its own code, data in a RAM disk. It runs on a
 * thread of its own. Tests set its flags (all atomic) before or while it runs.
 *
 * iova = va + FAKE_DELTA, so that a va handed out by mistake is noticed: every access outside the
 * pools, misaligned PRP or malformed list counts in `faults`.
 */
#ifndef FAKE_CTRL_H
#define FAKE_CTRL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <bellhop/clock.h>
#include <bellhop/nvme.h>

#include "io/io.h"

#define FAKE_DELTA 0x500000000000ull
#define FAKE_QUEUES 8
#define FAKE_BLOCKS 4096u
#define FAKE_HELD 4096
#define FAKE_ZONES 1024

enum fake_bells {
	FAKE_MAPPED,	/* ordinary shared memory */
	FAKE_MAPPED_UC, /* a BAR: stores are exits */
	FAKE_POSTED,
	FAKE_WRITTEN,
};

enum fake_lists {
	FAKE_HONEST,
	FAKE_ENDLESS,  /* always 1024 more, all of them active */
	FAKE_LOOPING,  /* the same ids over and over, out of order */
	FAKE_EVERYONE, /* the broadcast id among them */
};

/* What a zone report says that is not so. */
enum fake_lie {
	FAKE_LIE_NONE,
	FAKE_LIE_COUNT, /* 2^64 - 1 zones */
	FAKE_LIE_MORE,	/* all zones, whatever was put into the buffer */
	FAKE_LIE_BACKWARDS,
	FAKE_LIE_OUTSIDE,
	FAKE_LIE_OFF_BORDER,
	FAKE_LIE_CAPACITY,
	FAKE_LIE_WP_BELOW,
	FAKE_LIE_WP_ABOVE,
	FAKE_LIE_STATE,
	FAKE_LIE_TYPE,
	FAKE_LIES,
};

enum fake_descs {
	FAKE_DESCS_HONEST,
	FAKE_DESCS_NO_CSI,
	FAKE_DESCS_LONG_CSI, /* of 2 bytes */
	FAKE_DESCS_OVERRUN,  /* one that goes beyond the page */
};

/* A controller memory buffer in BAR 2, behind whatever the registers say of it. */
struct fake_cmb_opts {
	uint64_t bar_bytes; /* 0: no BAR 2 */
	uint32_t loc, size; /* CMBLOC, CMBSZ */
	bool legacy;	    /* as before 1.4: no CMBMSC, the registers always show */
	uint64_t address;   /* of BAR 2 on the bus */
	bool windows;	    /* the backend knows where memory may be */
	uint64_t least_bad; /* CBA from here on is invalid; 0: none is */
	bool unmappable;
	enum bh_attr requested, attr;
};

struct fake_opts {
	bool iocs;		 /* several command sets: CAP.CSS bit 6 */
	uint8_t csi[8];		 /* by nsid - 1 */
	enum fake_descs descs;	 /* of identification */
	uint64_t combination[2]; /* of command sets, by index */
	uint64_t zone, zone_cap; /* blocks; capacity 0: all of it */
	bool any_zone;		 /* ZSZE is `lying_zone`, whatever zones really are */
	uint64_t lying_zone;
	uint32_t mar, mor; /* 0's based */
	uint8_t zasl, zdes;
	bool read_across;
	struct fake_cmb_opts cmb;
	enum fake_bells bells;
	enum fake_lists lists;
	bool any_lbads; /* LBADS is `lbads`, whatever the blocks really are */
	uint8_t lbads;
	bool any_cap; /* CAP is `cap` */
	uint64_t cap;
	uint64_t bar_bytes; /* 0: with room for all doorbells */
	uint8_t mdts;	    /* as in identify */
	uint16_t mqes;	    /* 0's based */
	unsigned int dstrd;
	unsigned int block_shift;
	unsigned int noiob;
	bool sgl, shadow, msix;
	unsigned int namespaces;
	/* Metadata: bytes of a block, interleaved, protection information as in DPS. */
	uint16_t ms;
	bool extended;
	uint8_t dps;
	bool elbas; /* CTRATT says that there may be other guards, and `elbaf` which it is */
	uint32_t elbaf;
	bool sgl_mptr; /* SGLS bit 19 */
	/* Compare and Write, and what the namespaces say of it. */
	bool fused;
	bool fused_backwards; /* the second command completes first */
	uint8_t nsfeat;
	uint16_t acwu, nacwu, nabsn;
};

struct fake_queue {
	bool sq_on, cq_on;
	uint8_t *sq, *cq;
	uint32_t sq_entries, cq_entries;
	uint32_t head, tail; /* SQ head, CQ tail */
	uint32_t phase;
	bool ien;
	uint32_t vector;
};

struct fake_zone {
	uint8_t state;
	uint64_t wp;
};

/* Of a fused operation, whose first command has come. */
struct fake_half {
	bool is_open;
	uint16_t qid;
	struct bh_nvme_cpl cpl;
};

struct fake_held {
	bool used;
	uint16_t qid, cid;
};

struct fake {
	struct bh_device dev; /* first */
	struct bh_dma_listener listener;
	struct bh_mem mem[8];
	unsigned int mems;
	struct fake_opts o;
	pthread_t thread;
	pthread_mutex_t lock;
	struct fake_half half;
	bool stop;

	uint32_t cc, csts, aqa;
	uint64_t asq, acq;
	uint8_t config[256];
	int bell_fd;
	uint8_t *bells; /* a page per 1024 doorbells */
	size_t bell_bytes;
	struct bh_region_area area;
	uint8_t *shadow, *event;
	uint64_t msc;
	uint32_t cmbsts;
	uint8_t *bar2;
	struct bh_region_area area2;
	struct fake_queue q[FAKE_QUEUES + 1];
	uint8_t *disk; /* of all namespaces, one after the other */
	struct fake_held held[FAKE_HELD];
	uint16_t aers[16];
	unsigned int aer_count;
	int efd[FAKE_QUEUES + 1];
	bool masked[FAKE_QUEUES + 1], pending[FAKE_QUEUES + 1];
	uint32_t ns_present; /* __atomic: a bit per nsid - 1 */
	struct fake_zone zones[FAKE_ZONES];
	uint8_t ext[255 * 64]; /* the last one set, of ext_zone */
	uint64_t ext_zone;
	uint32_t result[2]; /* of the I/O command being carried out */

	/* ---- scripts, __atomic ---- */
	uint32_t hold;	       /* keep I/O commands, do not complete them */
	uint32_t never_ready;  /* CSTS.RDY stays as it is */
	uint32_t ignore_abort; /* Abort says "not aborted" */
	uint32_t ignore_admin; /* no answer to this opcode + 1 */
	uint32_t bad_cid;      /* the next completion names this cid + 1 */
	uint32_t fail_next;    /* status of the next I/O command */
	uint32_t fail_admin;   /* opcode + 1 of an admin command to be refused as invalid field */
	uint32_t asleep;       /* looks at queues only when kicked, arms event indices */
	uint32_t kicked;
	uint32_t nonsense;    /* registers read as all ones (1) or zeros (2) */
	uint32_t nonsense_at; /* from this read on */
	uint32_t lie;	      /* enum fake_lie */
	uint32_t append_lie;  /* added to the address an append returns */
	uint32_t absent;      /* configuration space does not answer */
	uint32_t absent_at;   /* the same from this register read on, if not 0 */
	uint32_t other_cmb;   /* CMBSZ is this */
	uint32_t irq_slow;    /* SET_IRQS unmask posts a completion meanwhile */
	/* ---- what it saw, __atomic ---- */
	uint32_t faults, ios, aborts, enables, messages, chained, sgls, max_bytes, shutdowns;
	uint32_t deleted_with_io;
	uint32_t reports;	     /* of zones */
	uint32_t combination_set;    /* index, by Set Features */
	uint32_t cmb_sqs, cmb_lists; /* queues created, lists read, in the CMB */
	uint32_t checks;
	uint32_t reads;		 /* of registers */
	uint32_t stalls;	 /* commands there, but no room in the completion queue */
	uint32_t mptrs;		 /* commands with separate metadata */
	uint32_t practs, prchks; /* commands with PRACT; PRCHK bits of the last one */
};

void fake_opts_init(struct fake_opts *o);
int fake_open(const struct fake_opts *o, struct bh_dma_space *space, const struct bh_log *log,
	      struct fake **out);
/* The link breaks: the device is gone. */
void fake_lose(struct fake *f);
/*
 * It is pulled out: registers read as all ones (1) or zeros (2), nothing is answered any more, and
 * nobody says so before configuration space is asked.
 */
void fake_pull(struct fake *f, uint32_t kind);
/* Completes what was held. */
void fake_release(struct fake *f);
/* Answers one asynchronous event request; false: none is out. */
bool fake_raise(struct fake *f, uint32_t value);

#define fake_get(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define fake_set(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* fake_io.c */
uint8_t *fake_ptr(struct fake *f, uint64_t iova, uint64_t len);
void fake_fault(struct fake *f);
/* Copies between the command's buffer and data; false: a fault. */
bool fake_copy(struct fake *f, const struct bh_nvme_cmd *cmd, uint8_t *data, uint64_t len,
	       bool to_host);
/* True: completed with *status; false: held. */
bool fake_io(struct fake *f, uint16_t qid, const struct bh_nvme_cmd *cmd, uint16_t *status);
/* fake_cmb.c */
bool fake_cmb_open(struct fake *f);
void fake_cmb_close(struct fake *f);
void fake_cmb_regs(struct fake *f, uint8_t *regs);
void fake_cmb_write(struct fake *f, uint64_t offset, uint32_t value);
void fake_cmb_info(struct fake *f, struct bh_region_info *info);
int fake_cmb_map(struct fake *f, uint64_t offset, uint64_t len, struct bh_map *map);
/* NULL: not an address in the CMB. */
uint8_t *fake_cmb_ptr(struct fake *f, uint64_t iova, uint64_t len);
/* Moves bytes between an iova and data; false: outside the pools. */
bool fake_move(struct fake *f, uint64_t iova, uint8_t *data, uint64_t len, bool to_host);
/* fake_meta.c */
uint16_t fake_meta_rw(struct fake *f, const struct bh_nvme_cmd *cmd, uint64_t lba, uint64_t blocks);
/* Data and metadata of a block as stored. */
uint8_t *fake_block(struct fake *f, uint32_t nsid, uint64_t lba);
/* fake_admin.c */
bool fake_admin(struct fake *f, const struct bh_nvme_cmd *cmd, struct bh_nvme_cpl *cpl);
/* fake_zns.c */
void fake_zns_init(struct fake *f);
bool fake_is_zoned(const struct fake *f, uint32_t nsid);
void fake_zns_id_ns(struct fake *f, struct bh_nvme_id_ns_zns *id);
/* A read's, write's or append's status; *lba becomes where it happens. */
uint16_t fake_zns_check(struct fake *f, const struct bh_nvme_cmd *cmd, uint64_t *lba,
			uint64_t blocks);
uint16_t fake_zns_send(struct fake *f, const struct bh_nvme_cmd *cmd);
uint16_t fake_zns_receive(struct fake *f, const struct bh_nvme_cmd *cmd);
/* fake_ctrl.c, with the lock held */
void fake_complete(struct fake *f, uint16_t qid, struct bh_nvme_cpl *cpl);
uint8_t *fake_bell(struct fake *f, uint16_t qid, bool cq);

#endif

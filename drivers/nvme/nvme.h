/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The controller. Private to the driver.
 *
 * Everything here is the controller thread's, but: `queues` is walked by the gone listener, under
 * `lock`; want_reset and attention are set by queue owners; a namespace's geom and blocks, and
 * what is atomic of its zones, are read by queue owners (each is one atomic word).
 */
#ifndef NVME_NVME_H
#define NVME_NVME_H

#include <pthread.h>

#include <bellhop/clock.h>
#include <bellhop/log.h>
#include <bellhop/nvme_zns.h>

#include "nvme/queue.h"

#define BH__TRANSFER_MOST (4u << 20) /* bytes, whatever MDTS says */
#define BH__TRANSFER_NO_MDTS (1u << 20)
#define BH__AER_MOST 8
#define BH__IRQ_MSIX 2u /* index of the MSI-X vectors among a device's interrupts */

struct bh_nvme_ns {
	uint64_t geom; /* __atomic; queue_io.h */
	uint32_t nsid;
	uint32_t append_max; /* __atomic: blocks per zone append, 0: none */
	uint32_t fused_max;  /* __atomic: of Compare and Write, the same */
	bool active, seen;
	uint8_t csi;
	uint64_t blocks;      /* __atomic */
	uint64_t zone_blocks; /* __atomic: 0: not zoned, or not served */
	uint32_t ext_bytes;   /* __atomic: of a zone's descriptor extension */
	struct bh_nvme_zns zns;
	struct bh_nvme_ns *next;
	uint8_t uuid[16];
	uint32_t elbaf; /* of the format in use, if it has protection information */
	struct bh_nvme_id_ns data;
};

/* The guard's format in ELBAF (NVM 1.0, figure 100); UNKNOWN: the controller did not say. */
#define BH__ELBAF_STS_MASK 0x7fu
#define BH__ELBAF_PIF_MASK 0x180u
#define BH__ELBAF_UNKNOWN UINT32_MAX

enum bh__state {
	BH__STATE_RUNNING,
	BH__STATE_RESETTING,
	BH__STATE_FAILED,
};

/* Queue memory the controller did not confirm to have forgotten: kept until it is disabled. */
struct bh__grave {
	struct bh__grave *next;
	struct bh_pool *pool;
	void *mem;
};

/* The controller memory buffer. cmb.c */
struct bh__cmb {
	struct bh_nvme_cmb_info info; /* as the registers have it; 0 bytes: none */
	struct bh_map map;	      /* of its beginning; va NULL: not mapped */
	bool has_msc;		      /* CMBMSC: the controller takes the address we choose */
	bool usable;		      /* it takes queues there now */
	bool told;		      /* that there is no room */
	uint64_t base;		      /* what the controller calls the first byte */
	uint64_t skip;		      /* bytes from there to its first page */
	size_t pages;
	uint8_t *page; /* how each is used */
};

struct bh_nvme {
	struct bh_device *dev;
	const struct bh_log *log;
	struct bh_nvme_opts opts;
	struct bh_clock clock;
	enum bh__state state;
	bool starting;	  /* inside attach or a reset: the admin queue is not for others */
	bool reaping;	  /* inside admin callbacks */
	bool told_failed; /* the event */
	bool recreate;	  /* after a reset some queue is not back yet */

	uint64_t cap;
	uint32_t vs;
	uint32_t cc;
	uint32_t page_size;
	unsigned int dstrd;
	unsigned int max_queues, max_depth;
	uint32_t max_transfer, list_bytes;
	bool sgl;
	struct bh_nvme_id_ctrl id;

	/* Doorbells: mapped, or io fds, or messages. */
	bool db_mapped;
	struct bh_map db_map;
	struct bh_region_io_fd *io_fds;
	unsigned int num_io_fds;
	bool shadow_on;
	uint8_t *shadow; /* two pages: values, event indices */
	struct bh_pool *shadow_pool;
	struct bh__cmb cmb;

	struct bh_nvme_queue *aq;
	pthread_mutex_t lock;
	struct bh_nvme_queue *queues;
	uint8_t *qid_used; /* by qid, up to max_queues */
	struct bh_gone_listener gone;
	uint32_t want_reset; /* __atomic */
	uint32_t attention;  /* __atomic: some abort_map has a bit */
	unsigned int aborts_out;

	struct bh_nvme_ns *namespaces;
	unsigned int aers_wanted, aers_out;
	uint32_t aer_value[BH__AER_MOST];
	unsigned int aer_count;
	struct bh__grave *graves;
	uint64_t alive_every_ns; /* 0: no Keep Alive is sent */
	uint64_t alive_at_ns;	 /* the next */
	bool alive_out;
};

#define bh__log(nvme, level, ...) bh__log_line((nvme), (level), __VA_ARGS__)
void bh__log_line(const struct bh_nvme *nvme, enum bh_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Device-visible memory from the space, zeroed, with its iova. NULL: no room. */
void *bh__dma_zalloc(struct bh_nvme *nvme, size_t bytes, size_t align, struct bh_pool **pool);
int bh__dma_iova(const struct bh_nvme *nvme, const void *va, size_t len, uint64_t *iova);
/* The iovas of a queue's memory, as the pool is mapped now. */
int bh__dma_place(struct bh_nvme *nvme, struct bh_nvme_queue *q);

/* ctrl.c */
int bh__ctrl_read_caps(struct bh_nvme *nvme);
/* Bus mastering on, the interrupt pin off: admin completions would assert it without MSI-X. */
int bh__ctrl_bus_on(struct bh_nvme *nvme);
int bh__ctrl_disable(struct bh_nvme *nvme);
int bh__ctrl_enable(struct bh_nvme *nvme, uint64_t asq, uint64_t acq);
void bh__ctrl_shutdown(struct bh_nvme *nvme);

/* admin.c */
int bh__admin_create(struct bh_nvme *nvme);
void bh__admin_destroy(struct bh_nvme *nvme);
int bh__admin_start(struct bh_nvme *nvme); /* an empty ring, ready for enable */
/* Reaps; -ENODEV when gone. */
int bh__admin_poll(struct bh_nvme *nvme);
/* bh_nvme_admin_sync without asking whether a reset is under way. */
int bh__admin_sync(struct bh_nvme *nvme, const struct bh_nvme_cmd *cmd, void *buf, size_t len,
		   struct bh_nvme_cpl *cpl);
/* The same, a status other than success being logged as `what` failing and returned as -EIO. */
int bh__admin_must(struct bh_nvme *nvme, const struct bh_nvme_cmd *cmd, void *buf, size_t len,
		   struct bh_nvme_cpl *cpl, const char *what);

struct bh_nvme_cmd bh__identify_cmd(uint8_t cns, uint32_t nsid, uint8_t csi, uint16_t cntid);

/* bells.c: which doorbell is where */
int bh__bells_setup(struct bh_nvme *nvme);
/* Queue pairs, admin included, whose doorbells lie in BAR 0. */
unsigned int bh__bells_pairs(const struct bh_nvme *nvme);
void bh__bells_release(struct bh_nvme *nvme);
int bh__bells_shadow_config(struct bh_nvme *nvme);
void bh__bells_assign(struct bh_nvme *nvme, struct bh_nvme_queue *q);

/* cmdset.c */
bool bh__cmdset_several(const struct bh_nvme *nvme); /* command sets other than NVM are on */
int bh__cmdset_config(struct bh_nvme *nvme);
struct bh__ns_ids {
	uint8_t csi;
	uint8_t uuid[16];
};
/* From the namespace's identification descriptors; buf: 4096 bytes to work in. */
void bh__cmdset_ids(struct bh_nvme *nvme, uint32_t nsid, uint8_t *buf, struct bh__ns_ids *ids);

/* zns.c */
/* Reads the geometry of a zoned namespace whose data has been read; buf: 4096 bytes. */
int bh__zns_read(struct bh_nvme *nvme, struct bh_nvme_ns *ns, uint8_t *buf);
/* Publishes it, and the shape as zones make it; one of no blocks where they cannot be. */
uint64_t bh__zns_shape(struct bh_nvme *nvme, struct bh_nvme_ns *ns, uint64_t geom);
void bh__zns_none(struct bh_nvme_ns *ns); /* not zoned, or gone */
/* fused.c */
/* Blocks of Compare and Write, 0: there is none. */
uint32_t bh__fused_max(const struct bh_nvme *nvme, const struct bh_nvme_ns *ns, uint64_t geom);
/* cmb.c */
/* Finds and maps it, once; has the controller take addresses in it. The controller is off. */
int bh__cmb_enable(struct bh_nvme *nvme);
void bh__cmb_disable(struct bh_nvme *nvme);
/* Unmaps it. No queue is in use; those that are left do not have their pieces any more. */
void bh__cmb_release(struct bh_nvme *nvme);
/*
 * Moves the rings of a queue that is about to be created, and that its owner does not touch, from
 * host memory to the buffer, if they are to be there and there is room. -EOPNOTSUPP: required, but
 * no (said).
 */
int bh__cmb_place(struct bh_nvme *nvme, struct bh_nvme_queue *q);
/* The queue is gone; not `safe`: perhaps not from the controller's mind. */
void bh__cmb_put(struct bh_nvme *nvme, struct bh_nvme_queue *q, bool safe);
void bh__cmb_dig_up(struct bh_nvme *nvme); /* the controller is off: frees those pieces too */

/* ns.c */
int bh__ns_scan(struct bh_nvme *nvme);
void bh__ns_free(struct bh_nvme *nvme);

/* event.c */
void bh__event(struct bh_nvme *nvme, enum bh_nvme_event event, uint32_t value);
int bh__event_config(struct bh_nvme *nvme);
unsigned int bh__event_work(struct bh_nvme *nvme);

/* alive.c */
int bh__alive_config(struct bh_nvme *nvme);
unsigned int bh__alive_work(struct bh_nvme *nvme);

/* ioq.c */
int bh__ioq_start(struct bh_nvme *nvme, struct bh_nvme_queue *q);
void bh__ioq_bury(struct bh_nvme *nvme, struct bh_pool *pool, void *mem);
void bh__ioq_dig_up(struct bh_nvme *nvme); /* the controller is off: frees the graves */

/* irq.c */
int bh__irq_open(struct bh_nvme *nvme, struct bh_nvme_queue *q);
int bh__irq_bind(struct bh_nvme *nvme, struct bh_nvme_queue *q);
void bh__irq_close(struct bh_nvme *nvme, struct bh_nvme_queue *q);

/* timeout.c */
extern const struct bh__queue_ops bh__owned_queue_ops;
unsigned int bh__timeout_work(struct bh_nvme *nvme);

/* reset.c */
int bh__nvme_bring_up(struct bh_nvme *nvme); /* from disabled to ready, without I/O queues */
void bh__nvme_fail(struct bh_nvme *nvme);
unsigned int bh__reset_work(struct bh_nvme *nvme);
void bh__nvme_halt_all(struct bh_nvme *nvme, uint32_t flags);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the vfio-user backend.
 */
#ifndef IO_VFU_DEV_H
#define IO_VFU_DEV_H

#include <pthread.h>

#include <bellhop/fault.h>
#include <bellhop/range.h>

#include "io/io.h"
#include "io_vfu/io_vfu.h"
#include "vfu/vfu.h"

/* More than these no client takes (QEMU's bounds). */
#define IO_VFU_MAX_REGIONS 100u
#define IO_VFU_MAX_IRQS 50u

struct io_vfu_wait;

/* The connection and the thread that receives from it (link.c). */
struct io_vfu_link {
	pthread_mutex_t lock; /* all below, but for the receiving half of the connections */
	struct vfu_conn main, twin;
	bool has_twin;
	bool up;	 /* requests may be sent */
	const char *why; /* it is not up any more; static text */
	bool stop;	 /* the thread is asked to end */
	struct io_vfu_wait *waits;
	uint16_t next_id;
	int wake_fd;
	pthread_t thread;
};

/* A file a server gave us, mapped: kick values are stored here. */
struct io_vfu_shadow {
	struct bh_fault_range range;
	uint64_t first; /* file offset of range.base */
};

struct io_vfu_io_fds {
	bool known;
	unsigned int count;
	struct bh_region_io_fd *entry;
	int fds[VFU_MAX_FDS];
	struct io_vfu_shadow shadow[VFU_MAX_FDS]; /* by fd index; range.base NULL: none */
};

struct io_vfu_region {
	uint64_t len;
	uint32_t flags;
	int fd; /* -1: none */
	uint64_t fd_offset;
	struct bh_region_area *areas;
	unsigned int num_areas;
	struct io_vfu_io_fds *io_fds;
};

struct io_vfu {
	struct bh_device dev; /* first */
	struct bh_device_opts opts;
	char *path;
	bool opening;	/* __atomic; open or reopen is under way: a loss is its error */
	bool said;	/* __atomic; why it fails has been logged */
	uint16_t minor; /* of the protocol, agreed upon */
	struct vfu_caps peer;
	struct io_vfu_link link;

	unsigned int num_regions, num_irqs;
	bool has_reset;
	bool has_io_fds;
	struct io_vfu_region region[IO_VFU_MAX_REGIONS];
	struct bh_irq_info irq[IO_VFU_MAX_IRQS];
	pthread_mutex_t io_fds_lock;

	struct bh_dma_listener listener;
	bool listening;
	pthread_mutex_t maps_lock;
	struct bh_range_map maps; /* what the server may reach: iova to va */
	uint8_t *bounce;	  /* VFU_MAX_DATA bytes, the thread's */
};

static inline struct io_vfu *to_io_vfu(struct bh_device *dev)
{
	return (struct io_vfu *)dev;
}

static inline bool io_vfu_is_opening(const struct io_vfu *v)
{
	return __atomic_load_n(&v->opening, __ATOMIC_ACQUIRE);
}

/* Logs why opening fails, if nobody has yet. Returns rc. */
int io_vfu_fail(struct io_vfu *v, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- link.c ---- */

struct io_vfu_call {
	uint16_t command;
	const void *body, *data; /* sent one after the other */
	size_t body_len, data_len;
	const int *fds;
	unsigned int nfds;
};

void io_vfu_link_init(struct io_vfu_link *link);
void io_vfu_link_fini(struct io_vfu_link *link);

/* Takes link.main (and link.twin with has_twin) into service. */
int io_vfu_link_start(struct io_vfu *v);
/* Ends the thread and closes the connections. Also after a start that failed. */
void io_vfu_link_stop(struct io_vfu *v);
/* Declares the device gone; its thread announces that. Any thread. */
void io_vfu_link_break(struct io_vfu *v, const char *why);
bool io_vfu_link_is_up(struct io_vfu *v);
const char *io_vfu_link_why(struct io_vfu *v); /* it was lost; NULL: it was not */

/*
 * Sends a command and waits for the reply, which the caller finishes (reply NULL: nobody looks at
 * it). 0; a positive errno: the server's refusal; -ENODEV: lost; -ETIMEDOUT; other -errno: not
 * sent.
 */
int io_vfu_request(struct io_vfu *v, const struct io_vfu_call *call, struct vfu_msg *reply);
/* Sends it with No_reply. -EAGAIN: much is queued already; -ENODEV; other -errno: not sent. */
int io_vfu_post(struct io_vfu *v, const struct io_vfu_call *call);

/* What bh_device_* functions return for the outcome of a request. */
static inline int io_vfu_status(int rc)
{
	if (rc <= 0)
		return rc;
	/* These mean something of ours in those functions. */
	if (rc == ENODEV || rc == ETIMEDOUT || rc == EOPNOTSUPP || rc == EPROTO || rc == EAGAIN)
		return -EIO;
	return -rc;
}

/* ---- negotiate.c ---- */

/* VERSION on link.main, before the link is started: fills peer, minor and the twin. Logs. */
int io_vfu_negotiate(struct io_vfu *v);
/* The deadline of a peer's first answer, ns. */
uint64_t io_vfu_first_timeout(const struct io_vfu *v);

/* ---- dma.c ---- */

int io_vfu_dma_map(struct bh_dma_listener *listener, const struct bh_mem *mem);
void io_vfu_dma_unmap(struct bh_dma_listener *listener, const struct bh_mem *mem);
/* Serves a DMA_READ or DMA_WRITE, or refuses what it is not. Sends through conn, link locked. */
int io_vfu_dma_serve(struct io_vfu *v, struct vfu_conn *conn, const struct vfu_msg *msg);

/* ---- region_info.c, region.c ---- */

/* Asks for all regions; -EPROTO: an answer that makes no sense (logged). */
int io_vfu_regions_learn(struct io_vfu *v);
void io_vfu_regions_forget(struct io_vfu *v);

int io_vfu_region_info(struct bh_device *dev, unsigned int region, struct bh_region_info *info);
int io_vfu_region_read(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
		       size_t count);
int io_vfu_region_write(struct bh_device *dev, unsigned int region, uint64_t offset,
			const void *buf, size_t count);
int io_vfu_region_post(struct bh_device *dev, unsigned int region, uint64_t offset, const void *buf,
		       size_t count);
int io_vfu_map_bar(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
		   enum bh_attr want, unsigned int flags, struct bh_map *map);
void io_vfu_unmap_bar(struct bh_device *dev, struct bh_map *map);

/* ---- io_fds.c ---- */

/* Does any memory BAR have region I/O fds? A refusal means no. */
int io_vfu_io_fds_probe(struct io_vfu *v);
int io_vfu_region_io_fds(struct bh_device *dev, unsigned int region, struct bh_region_io_fd *out,
			 unsigned int max);
void io_vfu_io_fds_forget(struct io_vfu_region *region);

/* ---- irq.c ---- */

int io_vfu_irqs_learn(struct io_vfu *v);
int io_vfu_irq_info(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info);
int io_vfu_irq_bind(struct bh_device *dev, unsigned int irq, unsigned int start, unsigned int count,
		    const int *eventfds);
int io_vfu_irq_disable(struct bh_device *dev, unsigned int irq);
int io_vfu_irq_mask(struct bh_device *dev, unsigned int irq, unsigned int vector, bool masked,
		    bool wait);
int io_vfu_irq_trigger(struct bh_device *dev, unsigned int irq, unsigned int vector);

#endif

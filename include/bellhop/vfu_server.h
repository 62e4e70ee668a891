/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vfio-user server: makes something a PCI device that clients (QEMU, our own drivers) reach
 * through a UNIX socket.
 *
 * Component: lib/vfu_server
 *
 * The server owns protocol, PCI configuration space, BAR bookkeeping, interrupts and client
 * memory; the device behind it gives an operations table. Everything here runs on one reactor
 * thread, the server's control thread, except where "any thread" is said. One client at a time;
 * the next may connect when it has left. Who connects and says no VERSION within 5 s is dropped.
 *
 * Quiesce: before DMA_UNMAP, DMA_MAP, reset and disconnect the server asks the device to stop
 * touching client memory (ops->quiesce), and goes on when the device calls
 * bh_vfu_server_quiesced(): from inside quiesce, or later from the control thread. If that takes
 * longer than the deadline (4 s), ops->fatal is called and the command fails with -ETIMEDOUT; a
 * disconnect then goes on all the same, keeping the memory mapped until the device does quiesce,
 * so nothing dangles. While it waits the server takes no other command of this client but goes on
 * noticing that it left.
 */
#ifndef BELLHOP_VFU_SERVER_H
#define BELLHOP_VFU_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <bellhop/cmem.h>
#include <bellhop/log.h>
#include <bellhop/poll.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_vfu_server;

/* VFIO PCI region and interrupt indices. */
enum bh_pci_region {
	BH_PCI_BAR0,
	BH_PCI_BAR1,
	BH_PCI_BAR2,
	BH_PCI_BAR3,
	BH_PCI_BAR4,
	BH_PCI_BAR5,
	BH_PCI_ROM,
	BH_PCI_CONFIG,
	BH_PCI_VGA,
	BH_PCI_REGIONS,
};
enum bh_pci_irq {
	BH_PCI_INTX,
	BH_PCI_MSI,
	BH_PCI_MSIX,
	BH_PCI_ERR,
	BH_PCI_REQ,
	BH_PCI_IRQS,
};

enum bh_quiesce_reason {
	BH_QUIESCE_MAP, /* a region is about to be added */
	/* [iova, iova + len) is about to go: requests with buffers there must be finished */
	BH_QUIESCE_UNMAP,
	BH_QUIESCE_RESET,      /* all requests */
	BH_QUIESCE_DISCONNECT, /* all requests; nothing is to be answered to this client any more */
};

enum bh_reset_reason {
	/* DEVICE_RESET: everything to power-on defaults; DMA mappings and eventfds stay */
	BH_RESET_DEVICE,
	BH_RESET_FLR,  /* PCIe function-level reset through configuration space: the same */
	BH_RESET_LOST, /* the client left: the same, and its memory goes */
	BH_RESET_D3,   /* D3hot -> D0 with No_Soft_Reset clear */
};

struct bh_vfu_ops {
	/*
	 * Reads or writes `count` bytes at `offset` of a BAR (never configuration space, MSI-X
	 * table or PBA: the server's own). Range and direction are checked already. 0 or -errno,
	 * which goes to the client. Answers at once: never waits.
	 */
	int (*access)(void *ctx, unsigned int region, uint64_t offset, void *buf, size_t count,
		      bool write);
	/*
	 * Stops fetching and finishes what the reason asks for, then calls
	 * bh_vfu_server_quiesced(), exactly once for each call of this, however late; there is no
	 * second call before that.
	 */
	void (*quiesce)(void *ctx, enum bh_quiesce_reason reason, uint64_t iova, uint64_t len);
	/*
	 * The change is made (client memory caches must be dropped): go on. Called once for every
	 * quiesce, failed or not, after the device has called bh_vfu_server_quiesced(), and from
	 * inside that when the answer came later than ops->quiesce. The reply to the client
	 * follows.
	 */
	void (*resume)(void *ctx, enum bh_quiesce_reason reason);
	/* Everything back to power-on state. Quiesced; configuration space has been reset. */
	void (*reset)(void *ctx, enum bh_reset_reason reason);
	/*
	 * The device did not quiesce in time: it shows a fatal condition (NVMe: CSTS.CFS) from now
	 * until reset. It still has to call bh_vfu_server_quiesced() when it can.
	 */
	void (*fatal)(void *ctx);
	/*
	 * The command register in force changed: by a write, by reset, or because power state D3
	 * turns decoding and bus mastering off. May be NULL.
	 */
	void (*command)(void *ctx, uint16_t command);
	/*
	 * Masks, bindings or enables of interrupts changed (what was pending and can be delivered
	 * has been: see bh_vfu_irq_*). May be NULL.
	 */
	void (*irqs_changed)(void *ctx);
	/*
	 * The client has acknowledged INTx (unmasked it). A condition that still holds raises the
	 * line again when the device says so once more by bh_vfu_irq_level(), having looked at what
	 * the client wrote before it acknowledged. NULL: what was said last holds.
	 */
	void (*intx_acknowledged)(void *ctx);
	/*
	 * Bytes [offset, offset + len) of capability `cap` (of opts->caps) are about to be read, and
	 * may be changed in `bytes`, where the capability begins; or they have been written. NULL:
	 * the server's copy is all there is.
	 */
	void (*capability)(void *ctx, unsigned int cap, uint8_t *bytes, unsigned int offset,
			   size_t len, bool write);
	/*
	 * Memory of the client's has been mapped, of which fd (the server's, for the call) is the
	 * file; quiesced. It goes after a quiesce for UNMAP or DISCONNECT that names it, or for
	 * anything once ops->fatal was called. prot as of <bellhop/cmem.h>. May be NULL.
	 */
	void (*mapped)(void *ctx, uint64_t iova, uint64_t len, uint32_t prot, int fd,
		       uint64_t fd_offset);
	/* A client has connected and negotiated; it has left. May be NULL. */
	void (*connected)(void *ctx);
	void (*disconnected)(void *ctx);
};

struct bh_vfu_area {
	uint64_t offset;
	uint64_t len;
};

/* One BAR. Memory BARs only. */
struct bh_vfu_bar {
	uint64_t bytes; /* power of two >= 16; 0: absent */
	bool is_64;	/* takes the next BAR's slot as well */
	bool prefetchable;
	/* Memory behind the mappable areas, at the same offsets; stays the device's; -1: none. */
	int fd;
	/* Page aligned, inside the BAR; one area suits every client. Copied. */
	const struct bh_vfu_area *areas;
	unsigned int num_areas;
};

/* A capability of the device's own in configuration space, behind those of the server. Copied. */
struct bh_vfu_pci_cap {
	const void *bytes;    /* the id first; the second, the link, is the server's */
	const void *writable; /* as many: the bits a client may change; NULL: none */
	unsigned int len;     /* 2 to 64 */
};

/*
 * An eventfd (or eventfd with shadow memory) answering writes at [offset, offset + len) of a BAR. A
 * client that accepts fewer fds than there are is given the first entries that fit.
 */
struct bh_vfu_io_fd {
	unsigned int region;
	uint64_t offset;
	uint32_t len;
	int eventfd; /* stays the device's */
	/* -1: none; else the client stores the value at shadow_offset of this file first. */
	int shadow_fd;
	uint64_t shadow_offset;
};

struct bh_vfu_server_opts {
	size_t size;
	const char *path; /* the socket */
	mode_t mode;	  /* its permissions; default 0600 */
	struct bh_reactor *control;
	const struct bh_vfu_ops *ops;
	void *ops_ctx;
	const struct bh_log *log;
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code;	   /* 24 bits: base, sub, prog-if */
	uint8_t interrupt_pin;	   /* 0: no INTx at all; 1: INTA */
	unsigned int msix_vectors; /* 0: no MSI-X; up to 2048 */
	/* Table at 0, PBA behind it, of this BAR, which the device leaves 0 (the server's own). */
	unsigned int msix_bar;
	struct bh_vfu_bar bar[6];
	const struct bh_vfu_pci_cap *caps; /* as many as fit: 96 bytes */
	unsigned int num_caps;
	uint64_t quiesce_ns;	   /* deadline, default 4 s */
	unsigned int max_dma_maps; /* default 65535 */
	const uid_t *allowed_uids; /* NULL: whoever the file permissions admit */
	unsigned int num_allowed_uids;
};

void bh_vfu_server_opts_init(struct bh_vfu_server_opts *opts);

/*
 * Listens. Called before the reactor runs or on its thread. -EADDRINUSE: a live server owns the
 * path; -EEXIST: the path is something else; -EACCES, -ENOENT: the directory; -ENAMETOOLONG;
 * -EINVAL: the options contradict each other (logged).
 */
int bh_vfu_server_create(const struct bh_vfu_server_opts *opts, struct bh_vfu_server **out);

/*
 * Drops the client and removes the socket. The device must be quiescent and its threads must not
 * use client memory. Control thread, or reactor stopped. NULL is accepted.
 */
void bh_vfu_server_destroy(struct bh_vfu_server *server);

/*
 * Stops listening and disconnects the client through the normal quiesce; calls done(arg) on the
 * control thread after, never from inside this. done may destroy the server. Control thread.
 */
void bh_vfu_server_shutdown(struct bh_vfu_server *server, void (*done)(void *arg), void *arg);

/* The answer to ops->quiesce. Control thread; ignored when nothing was asked. */
void bh_vfu_server_quiesced(struct bh_vfu_server *server);

/* The client's memory, for the device's poll threads. The same object for all the server's life. */
struct bh_cmem *bh_vfu_server_cmem(struct bh_vfu_server *server);
/* Is a client there that has negotiated? Control thread. */
bool bh_vfu_server_is_connected(const struct bh_vfu_server *server);
/* The PCI command register in force (in D3 without its decode and bus master bits). Any thread. */
uint16_t bh_vfu_server_command(const struct bh_vfu_server *server);

/*
 * Adds an entry to what GET_REGION_IO_FDS answers for its region. Before the reactor runs or on
 * the control thread. -EINVAL: outside the BAR, or no eventfd; -ENOSPC: more than fit into a
 * reply; -ENOMEM.
 */
int bh_vfu_server_io_fd_add(struct bh_vfu_server *server, const struct bh_vfu_io_fd *io_fd);

/*
 * ---- interrupts: any thread ---- Vectors are numbered as MSI-X vectors; when only INTx is
 * enabled every vector drives the one line, which is level-triggered by count: bh_vfu_irq_level().
 *
 * bh_vfu_irq_raise() signals the vector's eventfd once (never blocks; a full eventfd counts as
 * signalled). If the vector is masked, or has no eventfd yet, it is remembered as pending and
 * delivered on unmask or binding. Returns true when it was delivered. The mask is read before the
 * eventfd is written.
 */
bool bh_vfu_irq_raise(struct bh_vfu_server *server, unsigned int vector);

/*
 * Sets or clears the condition of `vector` (0 to 2047) on the INTx line; an edge to 1 signals, and
 * so does a 1 said again after ops->intx_acknowledged. Used only while MSI-X is off. One thread at a
 * time for any one vector.
 */
void bh_vfu_irq_level(struct bh_vfu_server *server, unsigned int vector, bool asserted);

/* Would a raise be delivered now? A cheap look (one load) for those who can coalesce. */
bool bh_vfu_irq_is_open(const struct bh_vfu_server *server, unsigned int vector);
bool bh_vfu_irq_msix_enabled(const struct bh_vfu_server *server);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device: a set of regions, interrupts and a DMA space, reached through an I/O backend.
 *
 * Component: lib/io
 *
 * The backend declares what it can do and each open device says what it offers now
 * (bh_device_caps): callers look before they leap. A function whose capability bit is clear returns
 * -EOPNOTSUPP without asking anybody.
 *
 * Thread rule: functions of one device may be called from any thread (the backend serialises)
 * unless said otherwise; they are control path and may make system calls and wait, all but
 * bh_device_gone(), bh_iova_translate() and accesses to mapped BARs. Every wait has a deadline.
 *
 * Gone: when the device is lost (server died, device unplugged) the gone callbacks run once, on a
 * thread of the backend; from then on every function that talks to it returns -ENODEV.
 * bh_device_reopen() may bring it back.
 *
 * Errors of functions that talk to the device, besides those named there: -ENODEV (gone),
 * -ETIMEDOUT (no answer within timeout_ns; whether it was done is unknown), -EPROTO (an answer that
 * makes no sense), -ENOMEM, or the device's own refusal (an errno other than the ones named here;
 * -EIO where it would be mistaken for one of them).
 */
#ifndef BELLHOP_DEVICE_H
#define BELLHOP_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/dma.h>
#include <bellhop/log.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bh_device;

#define BH_CAP_REGION_MMAP (1ull << 0)	  /* some region has mappable areas */
#define BH_CAP_DMABUF_EXPORT (1ull << 1)  /* a BAR slice can be exported as a dma-buf */
#define BH_CAP_DMABUF_MEMATTR (1ull << 2) /* and given a memory attribute */
#define BH_CAP_DMABUF_REVOKE (1ull << 3)  /* and taken away from whoever has it */
#define BH_CAP_DMA_MAP_VA (1ull << 4)	  /* maps memory by address */
#define BH_CAP_DMA_MAP_FD (1ull << 5)	  /* maps memory by fd */
#define BH_CAP_DMA_MESSAGE (1ull << 6)	  /* the peer reaches memory by messages to us */
#define BH_CAP_DMA_FILE_IO (1ull << 7)	  /* the peer reaches memory by pread/pwrite on the fd */
#define BH_CAP_IRQ_EVENTFD (1ull << 8)
#define BH_CAP_IRQ_MASK (1ull << 9) /* MSI-X vectors can be masked by request */
#define BH_CAP_RESET (1ull << 10)
#define BH_CAP_HOT_RESET (1ull << 11)
#define BH_CAP_REMOVE_EVENT (1ull << 12)
#define BH_CAP_POSTED_WRITE (1ull << 13) /* region writes without waiting */
#define BH_CAP_IOEVENTFD (1ull << 14)	 /* region I/O fds */
#define BH_CAP_MIGRATION (1ull << 15)
#define BH_CAP_REOPEN (1ull << 16)
#define BH_CAP_DMA_PEER (1ull << 17) /* reaches BARs of other devices: maps their dma-bufs */

/* The name of one capability bit ("REGION_MMAP"), for listings; NULL if it has none. */
const char *bh_cap_str(uint64_t bit);

struct bh_device_info {
	const char *address; /* as opened */
	const char *backend; /* "vfio-user", "vfio" */
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* 24 bits */
	uint8_t revision;
	unsigned int num_regions, num_irqs;
	int node; /* NUMA node, -1 unknown */
};

struct bh_region_area {
	uint64_t offset;
	uint64_t len;
};

#define BH_REGION_READ 1u
#define BH_REGION_WRITE 2u
#define BH_REGION_MMAP 4u

struct bh_region_info {
	uint64_t len; /* 0: absent */
	uint32_t flags;
	unsigned int num_areas;		    /* mappable areas, with BH_REGION_MMAP */
	const struct bh_region_area *areas; /* the device's, until it is closed or reopened */
};

#define BH_IRQ_EVENTFD 1u
#define BH_IRQ_MASKABLE 2u
#define BH_IRQ_AUTOMASKED 4u

struct bh_irq_info {
	unsigned int count;
	uint32_t flags;
};

enum bh_attr {
	BH_ATTR_UNKNOWN,
	BH_ATTR_UC,
	BH_ATTR_WC,
	BH_ATTR_MEMORY, /* shared memory of an emulated device: ordinary, cached */
};

#define BH_MAP_STRICT 1u /* known to be what was wanted, or -EOPNOTSUPP */

struct bh_map {
	uint8_t *va; /* of the offset asked for */
	uint64_t offset, len;
	enum bh_attr requested; /* what was asked of the kernel and granted */
	enum bh_attr attr;	/* what is known to be in force */
	const char *why;	/* static text: which rung was taken and why */
	/* The memory file behind the mapping and where `va` lies in it; the backend's, -1: none. */
	int fd;
	uint64_t fd_offset;
	/* ---- the backend's ---- */
	unsigned int bar;
	void *priv;
};

/* fds of sub-regions: a write at [offset, offset + len) is a kick of the eventfd. */
struct bh_region_io_fd {
	uint64_t offset;
	uint64_t len;	 /* 0: a write of any width at offset */
	int eventfd;	 /* the device's, until it is closed or reopened */
	uint8_t *shadow; /* mapped: the value is stored here before the kick; NULL: plain */
};

/*
 * Unmaps all memory in the device and lets go of it. Its driver must have been detached, BAR
 * mappings unmapped. NULL is accepted.
 */
void bh_device_close(struct bh_device *dev);

const struct bh_device_info *bh_device_info(const struct bh_device *dev);
const char *bh_device_name(const struct bh_device *dev); /* for logs: the address */
const struct bh_log *bh_device_log(const struct bh_device *dev);
uint64_t bh_device_caps(const struct bh_device *dev);
struct bh_dma_space *bh_device_space(const struct bh_device *dev);
/* For bh_iova_translate(). */
const struct bh_iova_map *bh_device_iova_map(const struct bh_device *dev);
/*
 * Frees what changes of its space have left for those who were translating. Any thread, as
 * bh_iova_map_trim() allows; no change of the space is under way.
 */
void bh_device_iova_trim(struct bh_device *dev);

/* Has it been lost? One load. */
bool bh_device_gone(const struct bh_device *dev);

struct bh_gone_listener {
	/*
	 * On a backend thread: set flags, wake others. Closes, listens and unlistens nothing here.
	 */
	void (*gone)(struct bh_gone_listener *listener);
	struct bh_gone_listener *next;
};
/*
 * The listener stays the caller's. Calls gone at once (on this thread) if the device is lost
 * already.
 */
void bh_device_gone_listen(struct bh_device *dev, struct bh_gone_listener *listener);
/* Waits for a call under way. A listener that is not there is accepted. */
void bh_device_gone_unlisten(struct bh_device *dev, struct bh_gone_listener *listener);

/*
 * Asks the device itself, by its configuration space, whether it is still there, for a driver whose
 * registers read all-ones or zeros. False: it is lost; the gone callbacks have run or will at once.
 * True also where the backend learns of losses by itself.
 */
bool bh_device_check(struct bh_device *dev);

/* What a device that is still there may announce, with REMOVE_EVENT. */
enum bh_device_event {
	BH_DEVICE_REMOVE_REQUEST, /* somebody wants it back: close it soon. Comes again until then */
	/*
	 * The bus reported an uncorrectable error: it needs a reset, or worse. Reported by devices
	 * with Advanced Error Reporting, where the kernel handles it.
	 */
	BH_DEVICE_ERROR,
};
struct bh_event_listener {
	/* As gone: on a backend thread; sets flags, wakes others; closes and unlistens nothing. */
	void (*event)(struct bh_event_listener *listener, enum bh_device_event event);
	struct bh_event_listener *next;
};
/*
 * The listener stays the caller's. Accepted for every device; events from before are not repeated,
 * but for a request to remove it that is still open.
 */
void bh_device_event_listen(struct bh_device *dev, struct bh_event_listener *listener);
/* Waits for a call under way. A listener that is not there is accepted. */
void bh_device_event_unlisten(struct bh_device *dev, struct bh_event_listener *listener);

/*
 * Connects to the same address again, negotiates, maps all pools of the space, and makes the handle
 * valid again. BAR mappings (still to be unmapped) and interrupts of before are void: the driver
 * sets up anew. No other function of this device may run meanwhile but bh_device_gone(), unmap_bar
 * and translations. -EOPNOTSUPP, -ENODEV (nobody there), -EBUSY (not gone), or any error of
 * opening; the device is gone still, then, and the call may be repeated.
 */
int bh_device_reopen(struct bh_device *dev);

/* ---- regions ---- */

/* What is known of a region; asks nobody. -EINVAL: no such index. -ENODEV. */
int bh_device_region_info(struct bh_device *dev, unsigned int region, struct bh_region_info *info);

/*
 * Copies `count` bytes (0 is accepted) at byte `offset` of a region. Accesses of 1, 2, 4 and 8
 * bytes reach the device as one. -EINVAL: outside the region; -EPERM: direction not allowed.
 */
int bh_device_region_read(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
			  size_t count);
int bh_device_region_write(struct bh_device *dev, unsigned int region, uint64_t offset,
			   const void *buf, size_t count);
/*
 * A write without waiting for, or learning, the outcome; in order with other accesses. Does not
 * block; for trapped doorbells. Needs POSTED_WRITE. Errors of region_write; -EAGAIN: the device has
 * not taken much of what was posted before.
 */
int bh_device_region_post(struct bh_device *dev, unsigned int region, uint64_t offset,
			  const void *buf, size_t count);

/*
 * PCI configuration space. -EOPNOTSUPP: the device has none; else as region_read and region_write.
 */
int bh_device_config_read(struct bh_device *dev, uint64_t offset, void *buf, size_t count);
int bh_device_config_write(struct bh_device *dev, uint64_t offset, const void *buf, size_t count);
/*
 * On: sets Bus Master and Memory Space in the command register. Off: clears Bus Master; Memory
 * Space stays, so that the registers can still be reached. Errors of config_write.
 */
int bh_device_bus_master(struct bh_device *dev, bool on);
/*
 * Sets Interrupt Disable in the command register, until the next reset: for who polls or uses
 * MSI-X, since a device otherwise asserts its pin, which may be others' too, or a peer says that
 * nobody takes its interrupts. Errors of config_write.
 */
int bh_device_pin_off(struct bh_device *dev);

/*
 * The bus address of a memory BAR (0..5), as configuration space has it. -ENXIO: no such BAR, or
 * none assigned; else as config_read.
 */
int bh_device_bar_address(struct bh_device *dev, unsigned int bar, uint64_t *address);

/*
 * Maps [offset, offset + len) bytes of a BAR, inside one mappable area; `want` is BH_ATTR_UC or
 * BH_ATTR_WC. A page has one attribute: -EBUSY for a second, different want. Needs REGION_MMAP.
 * -EOPNOTSUPP: this part is not mappable, or BH_MAP_STRICT and `want` not known to be in force.
 * -EINVAL: outside the region, empty, another want, or unknown flags. Other: of mmap.
 */
int bh_device_map_bar(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
		      enum bh_attr want, unsigned int flags, struct bh_map *map);
/* Also for a device that is gone. A zeroed or unmapped map is accepted. */
void bh_device_unmap_bar(struct bh_device *dev, struct bh_map *map);

/*
 * Up to max region I/O fds of a region into out[]; how many there are (which may be more than max),
 * or
 * -errno. Needs IOEVENTFD. -EINVAL: no such region.
 */
int bh_device_region_io_fds(struct bh_device *dev, unsigned int region, struct bh_region_io_fd *out,
			    unsigned int max);

/* ---- interrupts ---- */

/*
 * What is known of an interrupt type (VFIO PCI index); asks nobody. -EINVAL: no such index.
 * -ENODEV.
 */
int bh_device_irq_info(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info);
/*
 * Binds eventfds (kept by the caller; -1 unbinds) to vectors [start, start + count). Splits as the
 * peer needs it; after an error some of them may be bound. Needs IRQ_EVENTFD, of the type too
 * (-EOPNOTSUPP).
 * -EINVAL: outside the type's vectors, or none.
 */
int bh_device_irq_bind(struct bh_device *dev, unsigned int irq, unsigned int start,
		       unsigned int count, const int *eventfds);
/* The whole type: unbinds all its vectors. Errors of irq_bind. */
int bh_device_irq_disable(struct bh_device *dev, unsigned int irq);
/*
 * Needs IRQ_MASK, of the type too. `wait`: returns when the device has done it (else posted where
 * it can be, and then the device's refusal is not learnt). -EINVAL: no such vector.
 */
int bh_device_irq_mask(struct bh_device *dev, unsigned int irq, unsigned int vector, bool wait);
int bh_device_irq_unmask(struct bh_device *dev, unsigned int irq, unsigned int vector, bool wait);
/* Signals the vector's eventfd from the device side: loopback test. Errors of irq_bind. */
int bh_device_irq_trigger(struct bh_device *dev, unsigned int irq, unsigned int vector);

/*
 * Function-level reset. Needs RESET. Mappings of BARs stay valid where the backend can; DMA
 * mappings stay.
 */
int bh_device_reset(struct bh_device *dev);
/*
 * Resets the bus or slot the device is in. Needs HOT_RESET. Other devices on it are reset too: their
 * drivers must be idle and set up anew. -EBUSY: one of them is not open with the same space (logged,
 * with its name).
 */
int bh_device_hot_reset(struct bh_device *dev);

/* ---- DMA ---- */

/*
 * Exports [offset, offset + len) of a BAR, whole pages, as a dma-buf; *fd is the caller's to close.
 * Needs DMABUF_EXPORT. -EOPNOTSUPP: this part is not mappable; -EINVAL: outside, empty, unaligned.
 */
int bh_device_dmabuf_export(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
			    int *fd);
/*
 * Takes a dma-buf that bh_device_dmabuf_export() gave away from everybody who has it, for good:
 * accesses through mappings of it raise SIGBUS (see <bellhop/fault.h>), it cannot be mapped again,
 * and importers are cut off. The fd stays the caller's to close; mappings of bh_device_map_bar()
 * are not concerned. Needs DMABUF_REVOKE. -EINVAL: no dma-buf; -EXDEV: not of this device;
 * -EALREADY: revoked before.
 */
int bh_device_dmabuf_revoke(struct bh_device *dev, int fd);

/*
 * Peer-to-peer: makes a mapping of a BAR, whole pages, a pool without an allocator. Devices with
 * DMA_PEER whose space it is added to reach the BAR by DMA, and addresses in the mapping translate
 * for them as those of any buffer do. What they must not reach is not in the mapping.
 *
 * Order: the mapping must outlive the pool, and the pool is out of every space and destroyed before
 * the device is closed or reset, or its memory decoding is switched off: at that moment the kernel
 * takes the BAR away from its peers, for good, and what they do with it then fails. Added again
 * from a new pool it works again.
 *
 * Needs DMABUF_EXPORT. Errors of bh_device_dmabuf_export() and bh_pool_import_dmabuf(). A device
 * of the space without DMA_PEER refuses the pool with -EOPNOTSUPP, one with it with -ENODEV once the
 * BAR was taken away.
 */
int bh_device_bar_pool(struct bh_device *dev, const struct bh_map *map, const char *name,
		       struct bh_pool **out);

struct bh_iova_window {
	uint64_t first, last; /* inclusive */
};
/*
 * The device addresses memory can be mapped at: up to max of them into out[]; how many there are
 * (which may be more than max). 0: nothing is known to be excluded. A backend that knows some keeps
 * memory off the bus addresses of the device's own BARs as well.
 */
int bh_device_iova_windows(struct bh_device *dev, struct bh_iova_window *out, unsigned int max);

/* How a pool is offered to a vfio-user peer; for tests and for fds that cannot be mapped. */
enum bh_dma_access {
	BH_DMA_ACCESS_AUTO,    /* by fd */
	BH_DMA_ACCESS_MMAP,    /* by fd, saying so */
	BH_DMA_ACCESS_FILE_IO, /* by fd, to be read and written with pread/pwrite */
	BH_DMA_ACCESS_MESSAGE, /* without an fd */
};

/* How the kernel's VFIO is reached. */
enum bh_vfio_mode {
	BH_VFIO_AUTO,  /* as the environment variable BH_VFIO says ("group", "cdev"), else cdev and
			  iommufd where the system has both, else group and container */
	BH_VFIO_GROUP, /* /dev/vfio/N and a type 1 container, or fail */
	BH_VFIO_CDEV,  /* /dev/vfio/devices/vfioN and iommufd, or fail */
};

#define BH_MEMATTR_NEVER 0
#define BH_MEMATTR_AUTO (-1) /* tries the numbers it may have, and proves which */

/* Options of opening a device, common to all backends. */
struct bh_device_opts {
	size_t size;
	struct bh_dma_space *space; /* required: what the device may reach; outlives it */
	const struct bh_log *log;
	uint64_t timeout_ns;	       /* for one answer; default 10 s */
	enum bh_dma_access dma_access; /* vfio-user only: -EOPNOTSUPP for all but AUTO elsewhere */
	bool twin_socket;	       /* vfio-user only: offer it (default on) */
	enum bh_vfio_mode vfio;	       /* kernel VFIO only */
	/*
	 * Kernel VFIO only: the number of the proposed feature that gives a BAR's dma-buf a memory
	 * attribute, which no released kernel has; BH_MEMATTR_AUTO or BH_MEMATTR_NEVER (default).
	 */
	int memattr_feature;
};

/* size, and the defaults named above; no space. */
void bh_device_opts_init(struct bh_device_opts *opts);

#ifdef __cplusplus
}
#endif
#endif

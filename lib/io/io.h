/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a backend implements, and the part of a device all backends share. Private to Bellhop.
 *
 * A backend embeds `struct bh_device` as its first member, fills it with bh__device_init(), and is
 * reached only through its operations. The public wrappers (device.c, region.c, irq.c) check the
 * capability bit, `gone`, and ranges; a NULL operation is legal exactly when the bits that lead to
 * it are clear in ops->caps (bh__device_init refuses anything else).
 */
#ifndef IO_IO_H
#define IO_IO_H

#include <pthread.h>

#include <bellhop/device.h>

/* VFIO's index of PCI configuration space among the regions. */
#define BH__PCI_CONFIG_REGION 7u

struct bh_io_ops {
	const char *name;
	uint64_t caps; /* what the backend can ever do */

	/*
	 * Always there. region_info and irq_info answer from what is known, without asking the
	 * device.
	 */
	void (*close)(struct bh_device *dev);
	int (*region_info)(struct bh_device *dev, unsigned int region, struct bh_region_info *info);
	int (*region_read)(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
			   size_t count);
	int (*region_write)(struct bh_device *dev, unsigned int region, uint64_t offset,
			    const void *buf, size_t count);
	int (*irq_info)(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info);

	int (*reopen)(struct bh_device *dev); /* REOPEN */
	int (*region_post)(struct bh_device *dev, unsigned int region, uint64_t offset,
			   const void *buf, size_t count); /* POSTED_WRITE */
	int (*region_io_fds)(struct bh_device *dev, unsigned int region,
			     struct bh_region_io_fd *out, unsigned int max); /* IOEVENTFD */
	int (*map_bar)(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
		       enum bh_attr want, unsigned int flags, struct bh_map *map); /* REGION_MMAP */
	void (*unmap_bar)(struct bh_device *dev, struct bh_map *map);		   /* REGION_MMAP */
	int (*irq_bind)(struct bh_device *dev, unsigned int irq, unsigned int start,
			unsigned int count, const int *eventfds);    /* IRQ_EVENTFD */
	int (*irq_disable)(struct bh_device *dev, unsigned int irq); /* IRQ_EVENTFD */
	int (*irq_trigger)(struct bh_device *dev, unsigned int irq,
			   unsigned int vector); /* IRQ_EVENTFD */
	int (*irq_mask)(struct bh_device *dev, unsigned int irq, unsigned int vector, bool masked,
			bool wait);		 /* IRQ_MASK */
	int (*reset)(struct bh_device *dev);	 /* RESET */
	int (*hot_reset)(struct bh_device *dev); /* HOT_RESET */
	int (*dmabuf_export)(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
			     int *fd);			     /* DMABUF_EXPORT */
	int (*dmabuf_revoke)(struct bh_device *dev, int fd); /* DMABUF_REVOKE */

	/* May be NULL: the backend learns of a loss by itself; nothing is excluded. */
	bool (*check)(struct bh_device *dev);
	int (*iova_windows)(struct bh_device *dev, struct bh_iova_window *out, unsigned int max);
};

struct bh_device {
	const struct bh_io_ops *ops;
	uint64_t caps; /* what this device offers now: a subset of ops->caps; __atomic */
	uint32_t gone; /* __atomic; 0, or an enum of device.c */
	struct bh_device_info info;
	char *address; /* owned copy */
	struct bh_dma_space *space;
	struct bh_iova_map iova;
	const struct bh_log *log;
	pthread_mutex_t config_lock; /* read-modify-write of the command register */
	pthread_mutex_t gone_lock;
	struct bh_gone_listener *gone_listeners;
	bool remove_requested;			   /* gone_lock: and not taken back */
	struct bh_event_listener *event_listeners; /* gone_lock */
};

/*
 * The caller's options, of its size of the structure, over the defaults. -EINVAL: size impossible,
 * no space, or an unknown access mode.
 */
int bh__device_opts_read(const struct bh_device_opts *opts, struct bh_device_opts *out);

/*
 * Copies the address; opts as bh__device_opts_read() gives them. -EINVAL: an operation is missing
 * for a capability, or there without one. -ENOMEM.
 */
int bh__device_init(struct bh_device *dev, const struct bh_io_ops *ops, const char *address,
		    const struct bh_device_opts *opts);
void bh__device_fini(struct bh_device *dev);

/* Keeps those the backend declares. */
void bh__device_set_caps(struct bh_device *dev, uint64_t caps);

/* The backend noticed the loss: runs the gone listeners once. On a thread of the backend. */
void bh__device_set_gone(struct bh_device *dev);
/* From any other thread: functions fail at once, the listeners wait for bh__device_set_gone(). */
void bh__device_mark_gone(struct bh_device *dev);
void bh__device_clear_gone(struct bh_device *dev); /* reopen succeeded */

/* The backend was told something: runs the event listeners. On a thread of the backend. */
void bh__device_event(struct bh_device *dev, enum bh_device_event event);

/*
 * Fills the identity in info from configuration space, through the operations: for a device that is
 * being opened or reopened. -ENODEV: all ones, nothing there; -EPROTO: no configuration space;
 * errors of region_read.
 */
int bh__device_read_ids(struct bh_device *dev);

#endif

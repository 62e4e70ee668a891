/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the kernel VFIO backend.
 */
#ifndef IO_VFIO_DEV_H
#define IO_VFIO_DEV_H

#include <pthread.h>

#include <bellhop/fault.h>
#include <bellhop/pci.h>
#include <bellhop/range.h>

#include "io/io.h"
#include "io_vfio/io_vfio.h"
#include "io_vfio/uapi.h"

/* More than these are no answer of a PCI device. */
#define IO_VFIO_MAX_REGIONS 64u
#define IO_VFIO_MAX_IRQS 16u
#define IO_VFIO_MAX_VECTORS 2048u

struct io_vfio_region {
	uint64_t len;
	uint64_t offset; /* of the device's fd */
	uint32_t flags;
	struct bh_region_area *areas;
	unsigned int num_areas;
};

struct io_vfio_irq {
	struct bh_irq_info info;
	bool no_resize;	      /* all vectors are enabled at once, or none */
	unsigned int enabled; /* vectors [0, enabled) exist */
	int *fds;	      /* what is bound: info.count of them, -1 none */
};

/* One mapping of BAR pages, for the rule that a page has one attribute. */
struct io_vfio_map {
	struct bh_fault_range guard; /* the pages */
	unsigned int bar;
	uint64_t base; /* of the pages in the BAR */
	enum bh_attr want;
	struct io_vfio_map *next;
};

struct io_vfio;
struct io_vfio_domain;

/*
 * How a device is reached and how its address space is filled: group or cdev. All of it with the
 * share locked.
 */
struct io_vfio_path {
	const char *name;
	int (*open)(struct io_vfio *v);	   /* fills v->fd and joins a domain */
	int (*windows)(struct io_vfio *v); /* what its domain can map now */
	int (*map)(struct io_vfio *v, const struct bh_mem *mem, uint64_t iova);
	int (*unmap)(struct io_vfio_domain *d, uint64_t iova, uint64_t len);
	int (*explain_map)(struct io_vfio *v, const struct bh_mem *mem, int rc);
};

extern const struct io_vfio_path io_vfio_group_path, io_vfio_cdev_path;

/* Device addresses that may be used. */
struct io_vfio_windows {
	struct bh_iova_window *window;
	unsigned int count;
	uint64_t align; /* of an iova and a length; a power of two */
};

/* One pool in a domain, while any of its devices wants it there, or what is left of it. */
struct io_vfio_mapping {
	const void *va; /* NULL: could not be taken back */
	unsigned int users;
};

/* An address space of the IOMMU: a container, or an IOAS of the share's iommufd. */
struct io_vfio_domain {
	const struct io_vfio_path *path;
	int fd;		  /* the container; of an IOAS: the share's, which closes it */
	uint32_t ioas_id; /* 0: a container */
	struct io_vfio_windows windows;
	uint64_t dma_limit;	  /* mappings a container takes; UINT64_MAX: it did not say */
	struct bh_range_map maps; /* iova to struct io_vfio_mapping; NULL: a BAR of its devices */
	bool spoilt;		  /* holds memory that could not be taken back: no more devices */
	struct io_vfio *devices;
	struct io_vfio_domain *next;
};

/* An open IOMMU group, while any of its devices is open. */
struct io_vfio_group {
	int id, fd;
	unsigned int users;
	struct io_vfio_domain *domain;
	struct io_vfio_group *next;
};

/* What the devices of one DMA space share. */
struct io_vfio_share {
	struct bh_dma_shared base; /* first */
	pthread_mutex_t lock;	   /* everything here and in its domains */
	int iommufd;
	bool no_map_file; /* this iommufd maps by address only */
	struct io_vfio_domain *domains;
	struct io_vfio_group *groups;
};

struct io_vfio_span {
	uint64_t base, len;
};

struct io_vfio {
	struct bh_device dev; /* first */
	struct bh_device_opts opts;
	struct bh_pci_device pci;
	const struct io_vfio_path *path;
	int fd; /* the device */
	struct io_vfio_share *share;
	struct io_vfio_group *group; /* with the group path */
	struct io_vfio_domain *domain;
	struct io_vfio *next_of_domain;
	struct io_vfio_span bar[6]; /* what it keeps memory off in the domain; len 0: nothing */

	struct io_vfio_region *region;
	struct io_vfio_irq irq[IO_VFIO_MAX_IRQS];
	unsigned int num_regions, num_irqs;
	bool has_reset;
	pthread_mutex_t irq_lock;

	struct bh_dma_listener listener;
	bool listening;

	pthread_mutex_t maps_lock;
	struct io_vfio_map *bar_maps;
	unsigned int memattr, revoke; /* the features' numbers, 0: there is none */

	int req_fd, err_fd, wake_fd;
	bool watching, stop;
	pthread_t thread;
};

static inline struct io_vfio *to_io_vfio(struct bh_device *dev)
{
	return (struct io_vfio *)dev;
}

/* Logs one line that names the device. Returns rc. */
int io_vfio_fail(const struct io_vfio *v, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void io_vfio_info(const struct io_vfio *v, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Opens a device node, or says why it cannot be. -errno. */
int io_vfio_open_node(struct io_vfio *v, const char *node, int *fd);

/* ---- look.c ---- */

/* Fills v->pci; 0 if VFIO has the device, behind an IOMMU. opts: where to look; NULL: here. */
int io_vfio_look(struct io_vfio *v, const struct bh_pci_opts *opts, const char *bdf);

/* ---- busy.c ---- */

/* -EBUSY, after having said who has the device, or another one of its group, open. */
int io_vfio_fail_busy(const struct io_vfio *v, const char *node);
/* -EBUSY, after having said which neighbours in its group are the kernel's. */
int io_vfio_fail_not_viable(const struct io_vfio *v);
/* Has somebody (this process as well) that device, or another one of its group, open? */
bool io_vfio_is_held(const struct io_vfio *v);
/* Is every device of its group VFIO's or nobody's? */
bool io_vfio_is_viable(const struct io_vfio *v);

/* ---- domain.c ---- */

/* Holds what the devices of its space share; then the device is opened by its path. */
int io_vfio_share_join(struct io_vfio *v);
/* Closes the device and lets go of what it shared. Accepted at any stage of opening. */
void io_vfio_share_leave(struct io_vfio *v);
/* A new, empty domain, which becomes the device's. -ENOMEM. */
int io_vfio_domain_new(struct io_vfio *v, int fd, uint32_t ioas_id);
/*
 * A device may take an address inside one of its own BARs for its own, whatever the IOMMU would
 * make of it: no memory goes there. Could this one, by what sysfs says, join the others in d?
 */
bool io_vfio_domain_fits(const struct io_vfio *v, const struct io_vfio_domain *d);
/* Enters its BARs, as configuration space has them. -ENOSPC: memory is there (logged). */
int io_vfio_domain_keep_off_bars(struct io_vfio *v);
/* The device is attached to that one. */
void io_vfio_domain_join(struct io_vfio *v, struct io_vfio_domain *d);
/* A domain that an open device of the same group is in, or NULL. */
struct io_vfio_domain *io_vfio_domain_of_group(const struct io_vfio *v);
struct io_vfio_group *io_vfio_group_find(const struct io_vfio_share *share, int id);

/* ---- caps.c ---- */

/*
 * The first capability `id` in a chain of VFIO's that begins `first` bytes into the `len` bytes at
 * info, if at least `min` bytes of it are there; *room says how many are. NULL: none, or a chain
 * that makes no sense.
 */
const void *io_vfio_cap_find(const void *info, size_t len, uint32_t first, uint16_t id, size_t min,
			     size_t *room);
/*
 * An info ioctl whose answer may be followed by capabilities: asks again with the room it needs.
 * The struct begins with argsz, and is `fixed` bytes without them. *out is the caller's to free.
 */
int io_vfio_info_get(int fd, unsigned long request, const void *ask, size_t fixed, void **out);

/* ---- region.c, irq.c ---- */

int io_vfio_regions_learn(struct io_vfio *v);
void io_vfio_regions_forget(struct io_vfio *v);
int io_vfio_region_info(struct bh_device *dev, unsigned int region, struct bh_region_info *info);
int io_vfio_region_read(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
			size_t count);
int io_vfio_region_write(struct bh_device *dev, unsigned int region, uint64_t offset,
			 const void *buf, size_t count);

int io_vfio_irqs_learn(struct io_vfio *v);
void io_vfio_irqs_forget(struct io_vfio *v);
int io_vfio_irq_info(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info);
int io_vfio_irq_bind(struct bh_device *dev, unsigned int irq, unsigned int start,
		     unsigned int count, const int *eventfds);
int io_vfio_irq_disable(struct bh_device *dev, unsigned int irq);
int io_vfio_irq_mask(struct bh_device *dev, unsigned int irq, unsigned int vector, bool masked,
		     bool wait);
int io_vfio_irq_trigger(struct bh_device *dev, unsigned int irq, unsigned int vector);
/* Binds an eventfd of the backend's own to a type with one vector. */
int io_vfio_irq_bind_own(struct io_vfio *v, unsigned int irq, int eventfd);

/* ---- iova.c, dma.c ---- */

/*
 * Where [va, va + len) goes: to iova = va where that is aligned, a window holds it and nothing is
 * there, else to the lowest place that is aligned and free. -ENOSPC: there is none.
 */
int io_vfio_iova_choose(const struct io_vfio_windows *windows, const struct bh_range_map *used,
			uint64_t va, uint64_t len, uint64_t align, uint64_t *iova);

int io_vfio_dma_map(struct bh_dma_listener *listener, const struct bh_mem *mem);
void io_vfio_dma_unmap(struct bh_dma_listener *listener, const struct bh_mem *mem);
int io_vfio_iova_windows(struct bh_device *dev, struct bh_iova_window *out, unsigned int max);
/* -ENOMEM, after having said what is short: locked memory, or memory. */
int io_vfio_fail_memlock(const struct io_vfio *v, const struct bh_mem *mem);

/* ---- map.c, memtype.c, memattr.c ---- */

int io_vfio_map_bar(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
		    enum bh_attr want, unsigned int flags, struct bh_map *map);
void io_vfio_unmap_bar(struct bh_device *dev, struct bh_map *map);
int io_vfio_dmabuf_export(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
			  int *fd);
/* Has a page of one that is mapped been lost to SIGBUS? */
bool io_vfio_maps_lost(struct io_vfio *v);
bool io_vfio_in_one_area(const struct io_vfio_region *r, uint64_t offset, uint64_t len);

/*
 * What the kernel's list says of all of [start, start + len) of physical memory: UNKNOWN if
 * nothing, or more than one thing. The text form is for tests.
 */
enum bh_attr io_vfio_memtype(uint64_t start, uint64_t len);
enum bh_attr io_vfio_memtype_parse(const char *list, uint64_t start, uint64_t len);

/* VFIO_DEVICE_FEATURE without data. 0 or -errno. */
int io_vfio_feature_probe(const struct io_vfio *v, uint32_t feature, uint32_t how);
/* Finds the proposed features, if that is asked for; says what it found. */
void io_vfio_memattr_find(struct io_vfio *v);

enum io_vfio_memattr_state {
	IO_VFIO_MEMATTR_ABSENT, /* this kernel has none that is known */
	IO_VFIO_MEMATTR_NOT_ASKED,
	IO_VFIO_MEMATTR_THERE,
};
enum io_vfio_memattr_state io_vfio_memattr_state(const struct io_vfio *v);

/* Asks that later mappings of the dma-buf be write-combining. */
int io_vfio_memattr_set_wc(const struct io_vfio *v, int dmabuf);
int io_vfio_dmabuf_revoke(struct bh_device *dev, int dmabuf);

/* ---- watch.c, reset.c ---- */

/* What the thread is woken by; then the thread, once the device is open. */
int io_vfio_watch_init(struct io_vfio *v);
int io_vfio_watch_start(struct io_vfio *v);
void io_vfio_watch_stop(struct io_vfio *v);
void io_vfio_watch_fini(struct io_vfio *v);
/* Declares the device gone; its thread announces that. Any thread. */
void io_vfio_lose(struct io_vfio *v, const char *why);
bool io_vfio_check(struct bh_device *dev);

/* reset.c */
bool io_vfio_hot_reset_known(const struct io_vfio *v);
int io_vfio_reset(struct bh_device *dev);
int io_vfio_hot_reset(struct bh_device *dev);
/* -EBUSY, after having named what such a reset would hit and is not ours. The share is locked. */
int io_vfio_fail_reset(const struct io_vfio *v, const struct vfio_pci_hot_reset_info *info);

#endif

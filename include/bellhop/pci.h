/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI devices as the kernel shows them in sysfs: what is there, who drives it, who uses it, and
 * handing it from one kernel driver to another.
 *
 * Component: lib/pci
 *
 * Everything here is a snapshot: a device may be unplugged or bound to another driver while, or
 * right after, it is looked at. Nothing is cached and nothing is kept between calls.
 *
 * Thread rule: any function from any thread; control path (files are read and written). Two that
 * change the driver of one device at the same time are the kernel's to order: the later one wins.
 *
 * Configuration space is reached by a function of the caller's, so that capabilities are walked the
 * same way over sysfs, VFIO or vfio-user. What it returns is taken with a grain of salt: lists that
 * loop, point out of bounds or never end are cut and said to be so.
 */
#ifndef BELLHOP_PCI_H
#define BELLHOP_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/log.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- options ---- */

/* Where to look, for all functions that look; NULL for opts means the defaults. */
struct bh_pci_opts {
	size_t size;
	const char *sysfs_root;	  /* default "/sys" */
	const char *proc_root;	  /* default "/proc" */
	const char *dev_root;	  /* default "/dev" */
	uint64_t bind_timeout_ns; /* for a driver to let go of, or take, a device; default 5 s */
	const struct bh_log *log;
};

/* size and the defaults named above. */
void bh_pci_opts_init(struct bh_pci_opts *opts);

/* ---- addresses ---- */

#define BH_PCI_ADDR_TEXT 17 /* bytes: "ffffffff:ff:1f.7" and its terminator */

struct bh_pci_addr {
	uint32_t domain;
	uint8_t bus;
	uint8_t device;	  /* 0 to 31 */
	uint8_t function; /* 0 to 7 */
};

/*
 * "[domain:]bus:device.function" in hexadecimal, either case: domain 4 to 8 digits (default 0), bus
 * and device two, function one. The whole string. -EINVAL: not that; *addr is untouched then.
 */
int bh_pci_addr_parse(const char *text, struct bh_pci_addr *addr);
/* As the kernel writes it: "0000:01:00.0". Returns text. */
char *bh_pci_addr_format(const struct bh_pci_addr *addr, char text[BH_PCI_ADDR_TEXT]);
/* < 0, 0, > 0: in the order of domain, bus, device, function. */
int bh_pci_addr_compare(const struct bh_pci_addr *a, const struct bh_pci_addr *b);

/* ---- devices ---- */

#define BH_PCI_NAME 64	   /* bytes for the name of a driver, a node in /dev, a group's type */
#define BH_PCI_RESOURCES 7 /* BARs 0 to 5, the expansion ROM */
#define BH_PCI_RESOURCE_ROM 6

#define BH_PCI_RES_IO 0x1u	  /* I/O ports */
#define BH_PCI_RES_MEM 0x2u	  /* memory */
#define BH_PCI_RES_PREFETCH 0x4u  /* reads have no side effects: may be write-combining */
#define BH_PCI_RES_MEM64 0x8u	  /* takes the next BAR's place too */
#define BH_PCI_RES_DISABLED 0x10u /* known, but no address is assigned */

struct bh_pci_resource {
	uint64_t start; /* bus address as the CPU sees it */
	uint64_t len;	/* bytes; 0: absent */
	uint32_t flags;
};

struct bh_pci_device {
	struct bh_pci_addr addr;
	char name[BH_PCI_ADDR_TEXT]; /* the address as text */
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* 24 bits: class, subclass, programming interface */
	uint8_t revision;
	bool enabled;		  /* decodes its resources (the kernel's `enable` is not 0) */
	bool virtual_function;	  /* of SR-IOV */
	int node;		  /* NUMA node, -1 unknown */
	int iommu_group;	  /* -1: none */
	char driver[BH_PCI_NAME]; /* bound to it; "": none */
	char driver_override[BH_PCI_NAME]; /* "": none */
	char cdev[BH_PCI_NAME];		   /* "vfio0" of /dev/vfio/devices/vfio0; "": none */
	struct bh_pci_resource res[BH_PCI_RESOURCES];
};

/*
 * What sysfs says of one device. Attributes that are missing have the values above that say so.
 * -ENODEV: no such device (any more). -ENOMEM. -EINVAL: opts->size.
 */
int bh_pci_device_read(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr,
		       struct bh_pci_device *out);

/* Is it to be listed? Called on the caller's thread, with a device that lives until it returns. */
typedef bool (*bh_pci_match_fn)(void *ctx, const struct bh_pci_device *dev);

/*
 * All devices that match (NULL: all), in the order of their addresses. *out is an array of *count,
 * to be freed with bh_pci_list_free(); NULL with 0. A device that goes away meanwhile is left out.
 * -ENOENT: there is no PCI bus in this sysfs; -ENOMEM; -EINVAL; else what reading the directory
 * said.
 */
int bh_pci_scan(const struct bh_pci_opts *opts, bh_pci_match_fn match, void *ctx,
		struct bh_pci_device **out, size_t *count);
/* NULL is accepted. */
void bh_pci_list_free(struct bh_pci_device *list);

/* Is it driven by VFIO: by vfio-pci or a variant driver, so that a backend of ours can open it? */
bool bh_pci_is_vfio(const struct bh_pci_device *dev);

/* ---- IOMMU groups ---- */

struct bh_pci_member {
	char name[BH_PCI_NAME];	  /* its address, or whatever a device of another bus is called */
	char driver[BH_PCI_NAME]; /* "": none */
	bool viable; /* lets the group be used: without a driver, or one that stays off DMA */
};

struct bh_pci_group {
	int id;
	bool noiommu;		/* a number without an IOMMU behind it */
	bool viable;		/* all members are */
	char type[BH_PCI_NAME]; /* "DMA", "DMA-FQ", "identity"...; "" if the kernel does not say */
	size_t count;
	struct bh_pci_member *member; /* by name */
};

/*
 * Who shares a group. *out is freed with bh_pci_group_free(). -ENOENT: no such group; -ENOMEM;
 * -EINVAL; else what reading the directory said.
 */
int bh_pci_group_read(const struct bh_pci_opts *opts, int group, struct bh_pci_group **out);
/* NULL is accepted. */
void bh_pci_group_free(struct bh_pci_group *group);

/* ---- configuration space ---- */

/*
 * Reads len bytes at offset into buf; offset and len stay inside the size the caller named. 0 or
 * -errno. Called on the thread of the function it was given to.
 */
typedef int (*bh_pci_read_fn)(void *ctx, unsigned int offset, void *buf, size_t len);

#define BH_PCI_CONFIG_SIZE 256u	     /* bytes a conventional device has */
#define BH_PCI_CONFIG_SIZE_EXT 4096u /* a PCI Express device */

/*
 * Configuration space through sysfs, for a device that is not open. Users without CAP_SYS_ADMIN
 * are shown the first 64 bytes only.
 */
struct bh_pci_config {
	int fd;
	unsigned int size; /* bytes it has: 64, 256 or 4096 */
};

/*
 * Opens it; `write` asks for write access too. Close with bh_pci_config_close(). -ENODEV: no such
 * device; -EACCES: not allowed; else what open says. On failure *config is closed.
 */
int bh_pci_config_open(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr, bool write,
		       struct bh_pci_config *config);
/* A closed one is accepted; an fd of -1 is closed. */
void bh_pci_config_close(struct bh_pci_config *config);
/*
 * A bh_pci_read_fn whose ctx is the struct bh_pci_config. -EACCES: those bytes exist but are not
 * shown to this user; -EINVAL: there are none; -ENODEV, -EIO.
 */
int bh_pci_config_read(void *config, unsigned int offset, void *buf, size_t len);
/* -EINVAL: outside; -ENODEV, -EIO, -EBADF (not opened for writing). */
int bh_pci_config_write(struct bh_pci_config *config, unsigned int offset, const void *buf,
			size_t len);

/* ---- capabilities (PCI Express Base 5.0 7.5 to 7.9) ---- */

#define BH_PCI_CAP_PM 0x01
#define BH_PCI_CAP_MSI 0x05
#define BH_PCI_CAP_VENDOR 0x09
#define BH_PCI_CAP_EXP 0x10
#define BH_PCI_CAP_MSIX 0x11

#define BH_PCI_EXT_AER 0x0001
#define BH_PCI_EXT_SERIAL 0x0003
#define BH_PCI_EXT_ATS 0x000f
#define BH_PCI_EXT_SRIOV 0x0010
#define BH_PCI_EXT_PRI 0x0013
#define BH_PCI_EXT_RESIZABLE_BAR 0x0015
#define BH_PCI_EXT_PASID 0x001b

#define BH_PCI_CAPS_MAX 128

struct bh_pci_cap {
	uint16_t id;
	uint16_t offset; /* of its header, bytes */
	uint16_t room;	 /* bytes from there to the next capability, or to the end of the space */
	uint8_t version; /* of an extended one */
	bool extended;
};

struct bh_pci_caps {
	unsigned int count;
	/*
	 * NULL: both lists ended as they should. Else static text that says why less was listed:
	 * a loop, a pointer out of bounds, bytes this user is not shown.
	 */
	const char *why;
	struct bh_pci_cap cap[BH_PCI_CAPS_MAX]; /* in list order, conventional ones first */
};

/*
 * Walks both lists of a configuration space of `size` bytes (64 to 4096; extended ones need more
 * than 256). What cannot be followed ends that list and sets why: never an error by itself.
 * -ENODEV: configuration space reads all-ones, there is no device; -EINVAL: size; else what `read`
 * said about the first 64 bytes.
 */
int bh_pci_caps_walk(bh_pci_read_fn read, void *ctx, unsigned int size, struct bh_pci_caps *out);
/* The first with that id, or NULL. */
const struct bh_pci_cap *bh_pci_caps_find(const struct bh_pci_caps *caps, uint16_t id,
					  bool extended);
/* "MSI-X", "Single Root I/O Virtualization"...; NULL for one without a name here. */
const char *bh_pci_cap_str(uint16_t id, bool extended);

struct bh_pci_msix {
	unsigned int vectors; /* 1 to 2048 */
	unsigned int table_bar, pba_bar;
	uint32_t table_offset, pba_offset; /* bytes into their BAR */
};

/*
 * What the MSI-X capability says. -ENOENT: there is none; -EPROTO: it does not fit, or names a BAR
 * that cannot be; else what `read` says.
 */
int bh_pci_msix_read(bh_pci_read_fn read, void *ctx, const struct bh_pci_caps *caps,
		     struct bh_pci_msix *out);

/* ---- who uses it ---- */

#define BH_PCI_WHY 256

/*
 * Would taking its driver away hurt somebody? 1: yes, and `why` says who and, where one thing would
 * mend it, what: a mounted filesystem, swap, a holder (device mapper, md, loop, an exclusive
 * opener), a process that has its block or character device or its VFIO device open, a network
 * interface that is up, routed, enslaved or in a namespace that cannot be seen. Partitions and
 * paths of NVMe subsystems count as the device. 0: nobody was found (why is ""); processes of other
 * users are seen by root only. It only looks; binding also opens block devices exclusively for a
 * moment, which finds mounts of other namespaces and storage pools. -ENODEV, -ENOMEM, -EINVAL.
 */
int bh_pci_in_use(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr,
		  char why[BH_PCI_WHY]);

struct bh_pci_holder {
	int pid;
	char command[BH_PCI_NAME];
	char node[BH_PCI_NAME]; /* what it has open: "/dev/vfio/12" */
};

/*
 * The first process that has the device's VFIO group or character device open. 1: *out says which;
 * 0: none was found (only root sees processes of others); -errno: of reading /proc.
 */
int bh_pci_vfio_holder(const struct bh_pci_opts *opts, const struct bh_pci_device *dev,
		       struct bh_pci_holder *out);

/* ---- drivers ---- */

/*
 * Hands the device to `driver` and to no other (driver_override), taking it from the one it has.
 * A device that is in use is left alone. If the driver does not take it, everything is put back.
 * 0 at once if that driver has it already.
 * -ENODEV: no such device; -ENOENT: no such driver is loaded; -EBUSY: in use (logged with the
 * reason); -EACCES: not allowed; -EOPNOTSUPP: this bus has no driver_override; -ETIMEDOUT: the old
 * driver did not let go, or the new one did not take it; -EINVAL: not a driver's name, or opts;
 * else what the kernel said.
 */
int bh_pci_bind(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr, const char *driver);
/*
 * Takes its driver away; 0 if it has none. driver_override stays. Errors of bh_pci_bind().
 */
int bh_pci_unbind(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr);
/*
 * Undoes bh_pci_bind(): its driver_override is set as given ("" or NULL: none), and `driver` gets
 * the device back ("" or NULL: it stays without one). Errors of bh_pci_bind().
 */
int bh_pci_restore(const struct bh_pci_opts *opts, const struct bh_pci_addr *addr,
		   const char *driver, const char *driver_override);

#ifdef __cplusplus
}
#endif
#endif

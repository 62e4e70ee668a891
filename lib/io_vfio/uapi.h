/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's interfaces: <linux/vfio.h>, and what Debian 12's lacks.
 *
 * What is younger than that header is defined here under names of our own, with the sizes the first
 * kernel that had it understood: every such call says how large its argument is, so older and newer
 * kernels both take it. Numbers that the header knows are taken from it.
 */
#ifndef IO_VFIO_UAPI_H
#define IO_VFIO_UAPI_H

#include <assert.h>
#include <stdint.h>

#include <linux/vfio.h>
#include <sys/ioctl.h>

/* ---- the device by its own character device (Linux 6.6) ---- */

#ifndef VFIO_DEVICE_BIND_IOMMUFD
#define VFIO_DEVICE_BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)
#endif
#ifndef VFIO_DEVICE_ATTACH_IOMMUFD_PT
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 19)
#endif

struct uapi_bind_iommufd {
	uint32_t argsz;
	uint32_t flags;
	int32_t iommufd;
	uint32_t out_devid;
};

struct uapi_attach_iommufd {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pt_id; /* in: an IOAS; out: the page table behind it */
};

/* Flags of struct vfio_pci_hot_reset_info, and a dependent device's id there (Linux 6.6). */
#define UAPI_HOT_RESET_DEV_ID 1u
#define UAPI_HOT_RESET_DEV_ID_OWNED 2u
#define UAPI_HOT_RESET_NOT_OWNED UINT32_MAX

/* ---- features ---- */

#ifdef VFIO_DEVICE_FEATURE_DMA_BUF
#define UAPI_FEATURE_DMA_BUF VFIO_DEVICE_FEATURE_DMA_BUF
#else
#define UAPI_FEATURE_DMA_BUF 11 /* Linux 6.19 */
#endif

/* The head of VFIO_DEVICE_FEATURE's argument, without the array behind it. */
struct uapi_feature {
	uint32_t argsz;
	uint32_t flags;
};
static_assert(sizeof(struct uapi_feature) == sizeof(struct vfio_device_feature), "its head");

struct uapi_dma_range {
	uint64_t offset;
	uint64_t length;
};

/* VFIO_DEVICE_FEATURE_GET of it returns a dma-buf's fd. */
struct uapi_dma_buf {
	uint32_t region_index;
	uint32_t open_flags;
	uint32_t flags;
	uint32_t nr_ranges;
	struct uapi_dma_range range[1];
};
static_assert(sizeof(struct uapi_dma_buf) == 32, "struct vfio_device_feature_dma_buf");

/* The highest feature number Linux 7.3 gives to something else (ZPCI_ERROR). */
#define UAPI_FEATURE_LAST_TAKEN 13u

/* ---- iommufd (Linux 6.2; MAP_FILE 6.13) ---- */

#define UAPI_IOMMU_DESTROY _IO(';', 0x80)
#define UAPI_IOAS_ALLOC _IO(';', 0x81)
#define UAPI_IOAS_IOVA_RANGES _IO(';', 0x84)
#define UAPI_IOAS_MAP _IO(';', 0x85)
#define UAPI_IOAS_UNMAP _IO(';', 0x86)
#define UAPI_IOAS_MAP_FILE _IO(';', 0x8f)

#define UAPI_IOAS_FIXED_IOVA 1u
#define UAPI_IOAS_WRITEABLE 2u
#define UAPI_IOAS_READABLE 4u

struct uapi_ioas_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t out_ioas_id;
};

struct uapi_iova_range {
	uint64_t start;
	uint64_t last;
};

struct uapi_ioas_iova_ranges {
	uint32_t size;
	uint32_t ioas_id;
	uint32_t num_iovas;
	uint32_t reserved;
	uint64_t allowed_iovas; /* the address of an array */
	uint64_t out_iova_alignment;
};
static_assert(sizeof(struct uapi_ioas_iova_ranges) == 32, "struct iommu_ioas_iova_ranges");

struct uapi_ioas_map {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	uint32_t reserved;
	uint64_t user_va;
	uint64_t length;
	uint64_t iova;
};
static_assert(sizeof(struct uapi_ioas_map) == 40, "struct iommu_ioas_map");

struct uapi_ioas_map_file {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	int32_t fd;
	uint64_t start;
	uint64_t length;
	uint64_t iova;
};
static_assert(sizeof(struct uapi_ioas_map_file) == 40, "struct iommu_ioas_map_file");

struct uapi_ioas_unmap {
	uint32_t size;
	uint32_t ioas_id;
	uint64_t iova;
	uint64_t length;
};
static_assert(sizeof(struct uapi_ioas_unmap) == 24, "struct iommu_ioas_unmap");

#endif

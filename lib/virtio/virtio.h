/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtio 1.2 as a PCI device: identity, capabilities, common configuration, status and features.
 * Private to Bellhop, shared by the host drivers and the emulated controllers, so it takes neither
 * side.
 *
 * Conventions, here and in ring.h and virtio_net.h: everything is little-endian, as is the host;
 * fields are plain and named as in the specification; features are named by their bit numbers,
 * BH_VIRTIO_BIT() makes masks of them.
 */
#ifndef VIRTIO_VIRTIO_H
#define VIRTIO_VIRTIO_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define BH_VIRTIO_BIT(number) (1ull << (number))

/* 4.1.2: modern devices are 0x1040 + type, of revision 1 or more. */
#define BH_VIRTIO_PCI_VENDOR 0x1af4u
#define BH_VIRTIO_PCI_MODERN 0x1040u
#define BH_VIRTIO_PCI_REVISION 1u
#define BH_VIRTIO_TYPE_NET 1u
/* The transitional network device, which has the modern capabilities too. */
#define BH_VIRTIO_PCI_NET_TRANSITIONAL 0x1000u

/* 4.1.4: vendor-specific PCI capabilities say where the structures lie. */
#define BH_VIRTIO_PCI_CAP_ID 0x09u
#define BH_VIRTIO_PCI_CAP_COMMON 1u
#define BH_VIRTIO_PCI_CAP_NOTIFY 2u
#define BH_VIRTIO_PCI_CAP_ISR 3u
#define BH_VIRTIO_PCI_CAP_DEVICE 4u
#define BH_VIRTIO_PCI_CAP_PCI 5u
#define BH_VIRTIO_PCI_CAP_SHARED_MEMORY 8u
#define BH_VIRTIO_PCI_CAP_VENDOR 9u

struct bh_virtio_pci_cap {
	uint8_t cap_vndr;
	uint8_t cap_next;
	uint8_t cap_len;
	uint8_t cfg_type;
	uint8_t bar;
	uint8_t id;
	uint8_t padding[2];
	uint32_t offset;
	uint32_t length;
};
static_assert(sizeof(struct bh_virtio_pci_cap) == 16, "virtio 1.2 4.1.4");
static_assert(offsetof(struct bh_virtio_pci_cap, offset) == 8, "virtio 1.2 4.1.4");

/* 4.1.4.4: queue N is kicked at offset + queue_notify_off(N) * notify_off_multiplier. */
struct bh_virtio_pci_notify_cap {
	struct bh_virtio_pci_cap cap;
	uint32_t notify_off_multiplier;
};
static_assert(sizeof(struct bh_virtio_pci_notify_cap) == 20, "virtio 1.2 4.1.4.4");

/* 4.1.4.9: a window into the BARs through configuration space. */
struct bh_virtio_pci_cfg_cap {
	struct bh_virtio_pci_cap cap;
	uint8_t pci_cfg_data[4];
};
static_assert(sizeof(struct bh_virtio_pci_cfg_cap) == 20, "virtio 1.2 4.1.4.9");

/* 4.1.4.3 */
struct bh_virtio_common_cfg {
	uint32_t device_feature_select;
	uint32_t device_feature;
	uint32_t driver_feature_select;
	uint32_t driver_feature;
	uint16_t config_msix_vector;
	uint16_t num_queues;
	uint8_t device_status;
	uint8_t config_generation;
	uint16_t queue_select;
	uint16_t queue_size;
	uint16_t queue_msix_vector;
	uint16_t queue_enable;
	uint16_t queue_notify_off;
	uint64_t queue_desc;
	uint64_t queue_driver;
	uint64_t queue_device;
	uint16_t queue_notify_data; /* with NOTIF_CONFIG_DATA */
	uint16_t queue_reset;	    /* with RING_RESET */
};
#define BH_VIRTIO_COMMON(field) offsetof(struct bh_virtio_common_cfg, field)
/* Devices without the last two fields offer 56 bytes, which is what drivers may rely on. */
#define BH_VIRTIO_COMMON_MIN 56u
static_assert(BH_VIRTIO_COMMON(num_queues) == 0x12, "virtio 1.2 4.1.4.3");
static_assert(BH_VIRTIO_COMMON(device_status) == 0x14, "virtio 1.2 4.1.4.3");
static_assert(BH_VIRTIO_COMMON(queue_select) == 0x16, "virtio 1.2 4.1.4.3");
static_assert(BH_VIRTIO_COMMON(queue_notify_off) == 0x1e, "virtio 1.2 4.1.4.3");
static_assert(BH_VIRTIO_COMMON(queue_desc) == 0x20, "virtio 1.2 4.1.4.3");
static_assert(BH_VIRTIO_COMMON(queue_device) == 0x30, "virtio 1.2 4.1.4.3");
static_assert(BH_VIRTIO_COMMON(queue_reset) == 0x3a, "virtio 1.2 4.1.4.3");

#define BH_VIRTIO_NO_VECTOR 0xffffu

/* ISR status (4.1.4.5), cleared by reading it. */
#define BH_VIRTIO_ISR_QUEUE 1u
#define BH_VIRTIO_ISR_CONFIG 2u

/* Device status (2.1) */
#define BH_VIRTIO_STATUS_ACKNOWLEDGE 1u
#define BH_VIRTIO_STATUS_DRIVER 2u
#define BH_VIRTIO_STATUS_DRIVER_OK 4u
#define BH_VIRTIO_STATUS_FEATURES_OK 8u
#define BH_VIRTIO_STATUS_NEEDS_RESET 64u
#define BH_VIRTIO_STATUS_FAILED 128u

/* Features of every device (6) */
#define BH_VIRTIO_F_INDIRECT_DESC 28u
#define BH_VIRTIO_F_EVENT_IDX 29u
#define BH_VIRTIO_F_VERSION_1 32u
#define BH_VIRTIO_F_ACCESS_PLATFORM 33u
#define BH_VIRTIO_F_RING_PACKED 34u
#define BH_VIRTIO_F_IN_ORDER 35u
#define BH_VIRTIO_F_ORDER_PLATFORM 36u
#define BH_VIRTIO_F_SR_IOV 37u
#define BH_VIRTIO_F_NOTIFICATION_DATA 38u
#define BH_VIRTIO_F_NOTIF_CONFIG_DATA 39u
#define BH_VIRTIO_F_RING_RESET 40u

/*
 * The name of a feature bit as the specification has it, of a network device ("MRG_RXBUF") or of
 * every device ("RING_PACKED"); NULL: none. Any thread.
 */
const char *bh__virtio_net_feature_str(unsigned int bit);

#endif /* VIRTIO_VIRTIO_H */

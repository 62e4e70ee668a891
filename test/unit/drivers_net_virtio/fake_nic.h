/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio network device in memory, on the thread of the test: what is sent comes back on the
 * receive queue of the same pair. It works whenever it is notified, and asks to be; a test may make
 * it sleep, and make it say what makes no sense.
 */
#ifndef TEST_FAKE_NIC_H
#define TEST_FAKE_NIC_H

#include "unit.h"

#include "io/io.h"
#include "virtio/ring.h"
#include "virtio/virtio.h"
#include "virtio/virtio_net.h"

#define NIC_PAIRS 2u
#define NIC_QUEUES (2 * NIC_PAIRS + 1)
#define NIC_DELTA 0x100000000000ull /* iova - va */
#define NIC_FRAME 70000u
#define NIC_FRAMES 1024u

struct nic_queue {
	uint16_t size, enabled, vector;
	uint64_t desc, driver, device;
	uint16_t avail, used; /* packed: positions; split: indices */
	bool avail_wrap, used_wrap;
};

struct nic_frame {
	uint32_t len; /* header included */
	unsigned int pair;
	uint8_t *data;
};

/* What it says wrong, once. */
enum nic_lie {
	NIC_HONEST,
	NIC_RX_ID,    /* a used id out of range */
	NIC_RX_TWICE, /* the id before, again */
	NIC_RX_LONG,  /* a length beyond the buffer */
	NIC_RX_SHORT, /* a length less than a header */
	NIC_TX_ID,
	NIC_TX_TWICE,
	NIC_MRG_NONE, /* num_buffers 0 */
	NIC_MRG_MANY, /* num_buffers more than there are */
	NIC_IDX_FAR,  /* split: a used index beyond what was made available */
};

struct nic {
	struct bh_device dev;
	struct bh_dma_listener listener;
	uint8_t space[256]; /* configuration space */
	uint64_t offered, accepted;
	uint32_t device_select, driver_select;
	uint8_t status;
	uint16_t select;
	struct nic_queue q[NIC_QUEUES];
	struct bh_virtio_net_config config;

	bool asleep;	     /* processes nothing but commands */
	bool no_features_ok; /* does not take any */
	bool no_reset;
	bool reverse; /* out of order indeed */
	bool silent;  /* wants no notifications */
	enum nic_lie lie;
	uint16_t last_id[NIC_QUEUES];
	uint8_t ack;

	struct nic_frame fifo[NIC_FRAMES];
	unsigned int head, tail;
	uint64_t sent, kicks, dropped, indirect;
	uint32_t last_kick;
	struct bh_virtio_net_hdr last_hdr; /* of the packet sent last */
	unsigned int last_pieces;	   /* descriptors it came in */
	struct bh_virtio_net_hdr next_hdr; /* for the next frame received, where not zero */
	bool have_next_hdr;
	uint8_t command[4096]; /* the last one: class, command, data */
	uint32_t command_len;
	unsigned int commands;
	int efd[NIC_QUEUES];
	unsigned int faults; /* what the driver did wrong */
};

#define NIC_FEATURES                                                                               \
	(BH_VIRTIO_BIT(BH_VIRTIO_F_VERSION_1) | BH_VIRTIO_BIT(BH_VIRTIO_F_ACCESS_PLATFORM) |       \
	 BH_VIRTIO_BIT(BH_VIRTIO_F_RING_PACKED) | BH_VIRTIO_BIT(BH_VIRTIO_F_IN_ORDER) |            \
	 BH_VIRTIO_BIT(BH_VIRTIO_F_INDIRECT_DESC) | BH_VIRTIO_BIT(BH_VIRTIO_F_EVENT_IDX) |         \
	 BH_VIRTIO_BIT(BH_VIRTIO_NET_F_MAC) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_STATUS) |              \
	 BH_VIRTIO_BIT(BH_VIRTIO_NET_F_MTU) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_MRG_RXBUF) |           \
	 BH_VIRTIO_BIT(BH_VIRTIO_NET_F_CSUM) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_GUEST_CSUM) |         \
	 BH_VIRTIO_BIT(BH_VIRTIO_NET_F_HOST_TSO4) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_HOST_TSO6) |     \
	 BH_VIRTIO_BIT(BH_VIRTIO_NET_F_GUEST_TSO4) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_GUEST_TSO6) |   \
	 BH_VIRTIO_BIT(BH_VIRTIO_NET_F_CTRL_VQ) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_CTRL_RX) |         \
	 BH_VIRTIO_BIT(BH_VIRTIO_NET_F_CTRL_VLAN) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_CTRL_MAC_ADDR) | \
	 BH_VIRTIO_BIT(BH_VIRTIO_NET_F_MQ) | BH_VIRTIO_BIT(BH_VIRTIO_NET_F_RSS) |                  \
	 BH_VIRTIO_BIT(BH_VIRTIO_NET_F_SPEED_DUPLEX))

static inline bool nic_has(const struct nic *n, unsigned int bit)
{
	return n->accepted >> bit & 1;
}

struct nic *nic_open(struct bh_dma_space *space, const struct bh_log *log);
void nic_close(struct nic *n);
void nic_reset(struct nic *n);

/* fake_rings.c: everything there is to do. */
void nic_work(struct nic *n);
void nic_command_work(struct nic *n);
/* Is anything available to the device in this queue? */
bool nic_has_avail(struct nic *n, unsigned int queue);
/* A frame to be received on a pair, as if it had been sent there. */
void nic_inject(struct nic *n, unsigned int pair, const void *data, uint32_t len);
void *nic_ptr(struct nic *n, uint64_t iova, size_t len);

#endif /* TEST_FAKE_NIC_H */

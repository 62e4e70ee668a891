/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake device's registers and what a backend has. */
#include "fake_nic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	BAR = 4,
	COMMON = 0x0000,
	ISR = 0x1000,
	CONFIG = 0x2000,
	NOTIFY = 0x3000,
	MULTIPLIER = 4,
	BAR_BYTES = 0x4000,
	QUEUE_SIZE = 256,
};

static struct nic *of(struct bh_device *dev)
{
	return (struct nic *)dev;
}

void nic_reset(struct nic *n)
{
	memset(n->q, 0, sizeof(n->q));
	for (unsigned int i = 0; i < NIC_QUEUES; i++) {
		n->q[i].size = i == NIC_QUEUES - 1 ? 64 : QUEUE_SIZE;
		n->q[i].vector = 0xffff;
		n->q[i].avail_wrap = n->q[i].used_wrap = true;
	}
	for (; n->head != n->tail; n->head++)
		free(n->fifo[n->head % NIC_FRAMES].data);
	n->status = 0;
	n->accepted = 0;
}

static void fake_close(struct bh_device *dev)
{
	struct nic *n = of(dev);

	bh_dma_space_unlisten(dev->space, &n->listener);
	nic_reset(n);
	bh__device_fini(dev);
	free(n);
}

static int region_info(struct bh_device *dev, unsigned int region, struct bh_region_info *info)
{
	(void)dev;
	memset(info, 0, sizeof(*info));
	if (region > 8)
		return -EINVAL;
	info->flags = BH_REGION_READ | BH_REGION_WRITE;
	info->len = region == BAR ? BAR_BYTES : region == BH__PCI_CONFIG_REGION ? 256 : 0;
	return 0;
}

static uint16_t *queue_field(struct nic *n, uint64_t offset)
{
	struct nic_queue *q = &n->q[n->select];
	static uint16_t nothing;

	nothing = 0;
	if (n->select >= NIC_QUEUES)
		return &nothing;
	if (offset == BH_VIRTIO_COMMON(queue_size))
		return &q->size;
	if (offset == BH_VIRTIO_COMMON(queue_msix_vector))
		return &q->vector;
	if (offset == BH_VIRTIO_COMMON(queue_enable))
		return &q->enabled;
	if (offset == BH_VIRTIO_COMMON(queue_notify_off)) {
		nothing = n->select;
		return &nothing;
	}
	n->faults++;
	return &nothing;
}

static void common_read(struct nic *n, uint64_t offset, void *buf, size_t count)
{
	uint32_t value = 0;

	if (offset == BH_VIRTIO_COMMON(device_feature))
		value = n->device_select < 2 ? (uint32_t)(n->offered >> 32 * n->device_select) : 0;
	else if (offset == BH_VIRTIO_COMMON(num_queues))
		value = NIC_QUEUES;
	else if (offset == BH_VIRTIO_COMMON(device_status))
		value = n->status;
	else if (offset == BH_VIRTIO_COMMON(config_generation))
		value = 3;
	else
		value = *queue_field(n, offset);
	memcpy(buf, &value, count);
}

static int region_read(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
		       size_t count)
{
	struct nic *n = of(dev);

	if (region == BH__PCI_CONFIG_REGION)
		memcpy(buf, n->space + offset, count);
	else if (offset >= CONFIG && offset + count <= CONFIG + sizeof(n->config))
		memcpy(buf, (uint8_t *)&n->config + (offset - CONFIG), count);
	else
		common_read(n, offset, buf, count);
	return 0;
}

static void status_write(struct nic *n, uint8_t status)
{
	if (status == 0) {
		if (!n->no_reset)
			nic_reset(n);
		return;
	}
	if (n->no_features_ok)
		status &= (uint8_t)~BH_VIRTIO_STATUS_FEATURES_OK;
	if (status & BH_VIRTIO_STATUS_FEATURES_OK && n->accepted & ~n->offered)
		n->faults++;
	n->status = status;
}

static void address_write(struct nic *n, uint64_t offset, uint32_t value)
{
	struct nic_queue *q = &n->q[n->select];
	uint64_t *field[] = { &q->desc, &q->driver, &q->device };
	uint64_t at = offset - BH_VIRTIO_COMMON(queue_desc);
	unsigned int shift = at % 8 ? 32 : 0;

	if (at / 8 > 2 || q->enabled)
		n->faults++;
	else
		*field[at / 8] = (*field[at / 8] & ~(0xffffffffull << shift)) | (uint64_t)value
											<< shift;
}

static void common_write(struct nic *n, uint64_t offset, uint32_t value)
{
	if (offset == BH_VIRTIO_COMMON(device_feature_select))
		n->device_select = value;
	else if (offset == BH_VIRTIO_COMMON(driver_feature_select))
		n->driver_select = value;
	else if (offset == BH_VIRTIO_COMMON(driver_feature))
		n->accepted = (n->accepted & ~(0xffffffffull << 32 * n->driver_select)) |
			      (uint64_t)value << 32 * n->driver_select;
	else if (offset == BH_VIRTIO_COMMON(device_status))
		status_write(n, (uint8_t)value);
	else if (offset == BH_VIRTIO_COMMON(queue_select))
		n->select = (uint16_t)value;
	else if (offset >= BH_VIRTIO_COMMON(queue_desc))
		address_write(n, offset, value);
	else
		*queue_field(n, offset) = (uint16_t)value;
}

static int region_write(struct bh_device *dev, unsigned int region, uint64_t offset,
			const void *buf, size_t count)
{
	struct nic *n = of(dev);
	uint32_t value = 0;

	if (region == BH__PCI_CONFIG_REGION) {
		memcpy(n->space + offset, buf, count);
		return 0;
	}
	memcpy(&value, buf, count);
	if (offset < NOTIFY) {
		common_write(n, offset, value);
		return 0;
	}
	if (!(n->status & BH_VIRTIO_STATUS_DRIVER_OK) ||
	    (value & 0xffff) != (offset - NOTIFY) / MULTIPLIER)
		n->faults++;
	n->kicks++;
	n->last_kick = value;
	nic_command_work(n);
	if (!n->asleep)
		nic_work(n);
	return 0;
}

static int irq_info(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info)
{
	(void)dev;
	info->count = irq == 2 ? NIC_QUEUES : 0;
	info->flags = BH_IRQ_EVENTFD;
	return 0;
}

static int irq_bind(struct bh_device *dev, unsigned int irq, unsigned int start, unsigned int count,
		    const int *eventfds)
{
	(void)irq;
	for (unsigned int i = 0; i < count; i++)
		of(dev)->efd[start + i] = eventfds[i];
	return 0;
}

static int irq_disable(struct bh_device *dev, unsigned int irq)
{
	(void)dev, (void)irq;
	return 0;
}

static int irq_trigger(struct bh_device *dev, unsigned int irq, unsigned int vector)
{
	(void)dev, (void)irq, (void)vector;
	return 0;
}

static const struct bh_io_ops ops = {
	.name = "fake",
	.caps = BH_CAP_IRQ_EVENTFD,
	.close = fake_close,
	.region_info = region_info,
	.region_read = region_read,
	.region_write = region_write,
	.irq_info = irq_info,
	.irq_bind = irq_bind,
	.irq_disable = irq_disable,
	.irq_trigger = irq_trigger,
};

static int dma_map(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct nic *n = (struct nic *)((uint8_t *)listener - offsetof(struct nic, listener));

	return bh_iova_map_add(&n->dev.iova, mem->va, mem->len,
			       (uint64_t)(uintptr_t)mem->va + NIC_DELTA);
}

static void dma_unmap(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct nic *n = (struct nic *)((uint8_t *)listener - offsetof(struct nic, listener));

	bh_iova_map_del(&n->dev.iova, mem->va, mem->len);
}

static void cap_put(struct nic *n, unsigned int at, unsigned int next, uint8_t type,
		    uint32_t offset, uint32_t len)
{
	struct bh_virtio_pci_notify_cap cap = {
		.cap = { .cap_vndr = BH_VIRTIO_PCI_CAP_ID,
			 .cap_next = (uint8_t)next,
			 .cap_len = sizeof(cap),
			 .cfg_type = type,
			 .bar = BAR,
			 .offset = offset,
			 .length = len },
		.notify_off_multiplier = MULTIPLIER,
	};

	memcpy(n->space + at, &cap, sizeof(cap));
}

static void space_fill(struct nic *n)
{
	n->space[0] = 0xf4;
	n->space[1] = 0x1a;
	n->space[2] = 0x41;
	n->space[3] = 0x10;
	n->space[6] = 0x10; /* a list of capabilities */
	n->space[8] = 1;
	n->space[0x34] = 0x40;
	cap_put(n, 0x40, 0x54, BH_VIRTIO_PCI_CAP_COMMON, COMMON, 0x1000);
	cap_put(n, 0x54, 0x68, BH_VIRTIO_PCI_CAP_ISR, ISR, 0x1000);
	cap_put(n, 0x68, 0x7c, BH_VIRTIO_PCI_CAP_DEVICE, CONFIG, 0x1000);
	cap_put(n, 0x7c, 0, BH_VIRTIO_PCI_CAP_NOTIFY, NOTIFY, 0x1000);
}

struct nic *nic_open(struct bh_dma_space *space, const struct bh_log *log)
{
	struct nic *n = calloc(1, sizeof(*n));
	struct bh_device_opts opts;

	bh_device_opts_init(&opts);
	opts.space = space;
	opts.log = log;
	if (!n || bh__device_init(&n->dev, &ops, "fake:nic", &opts) != 0)
		return NULL;
	bh__device_set_caps(&n->dev, BH_CAP_IRQ_EVENTFD);
	space_fill(n);
	n->offered = NIC_FEATURES;
	n->config = (struct bh_virtio_net_config){
		.mac = { 2, 0xbe, 0x11, 0, 0, 1 },
		.status = BH_VIRTIO_NET_S_LINK_UP,
		.max_virtqueue_pairs = NIC_PAIRS,
		.mtu = 9000,
		.speed = 25000,
		.duplex = 1,
		.rss_max_key_size = 40,
		.rss_max_indirection_table_length = 128,
		.supported_hash_types = 0x3f,
	};
	nic_reset(n);
	for (unsigned int i = 0; i < NIC_QUEUES; i++)
		n->efd[i] = -1;
	if (bh__device_read_ids(&n->dev) != 0)
		return NULL;
	n->dev.info.num_regions = 9;
	n->dev.info.num_irqs = 5;
	n->listener.map = dma_map;
	n->listener.unmap = dma_unmap;
	return bh_dma_space_listen(space, &n->listener) == 0 ? n : NULL;
}

void nic_close(struct nic *n)
{
	bh_device_close(&n->dev);
}

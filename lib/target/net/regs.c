/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers: the structures that the virtio capabilities point to, all in BAR0 (virtio 1.2 4.1.4).
 *
 *	common configuration	features, status, queues (4.1.4.3)
 *	ISR status		for INTx; reading clears it and lowers the line (4.1.4.5)
 *	device configuration	MAC address, link, number of queues (5.1.4); read-only
 *	notifications		one word per queue; mapped pages, or trapped
 *
 * All of it happens on the control thread, and whatever a write means has been done when it
 * returns: the driver's reset, too, so status reads 0 at once (4.1.4.3.1 would let us take time).
 *
 * A register is written in its own width, 64-bit ones also by halves; writes of another shape are
 * ignored. Reads are of any shape.
 */
#include <errno.h>
#include <string.h>

#include "target/net/net.h"

static uint8_t status(const struct bh_target_net *net)
{
	return __atomic_load_n(&net->regs.status, __ATOMIC_ACQUIRE);
}

static struct tnet_vq vq_power_on(const struct bh_target_net *net)
{
	return (struct tnet_vq){ .size = (uint16_t)net->max_depth, .vector = BH_VIRTIO_NO_VECTOR };
}

void tnet_regs_power_on(struct bh_target_net *net)
{
	struct tnet_regs *r = &net->regs;
	unsigned int i;

	r->device_feature_select = r->driver_feature_select = 0;
	r->features = 0;
	r->config_vector = BH_VIRTIO_NO_VECTOR;
	r->queue_select = 0;
	memset(net->window, 0, sizeof(net->window));
	__atomic_store_n(&r->status, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&r->isr, 0, __ATOMIC_RELEASE);
	for (i = 0; i < net->num_vqs; i++)
		r->vq[i] = vq_power_on(net);
	if (net->server)
		tnet_isr_show(net);
}

/* ---- ISR ---- */

void tnet_isr_show(struct bh_target_net *net)
{
	bool is_up = __atomic_load_n(&net->regs.isr, __ATOMIC_ACQUIRE);

	bh_vfu_irq_level(net->server, 0, is_up);
}

/* The line is the control thread's to move, so that a read that clears it comes before or after. */
void tnet_isr_raise(struct bh_target_net *net, uint8_t bits)
{
	__atomic_fetch_or(&net->regs.isr, bits, __ATOMIC_ACQ_REL);
	if (!__atomic_exchange_n(&net->isr_sent, 1, __ATOMIC_SEQ_CST))
		bh_reactor_send(net->control, &net->isr_msg);
}

void tnet_config_changed(struct bh_target_net *net)
{
	net->regs.generation++;
	if (!(status(net) & BH_VIRTIO_STATUS_DRIVER_OK))
		return;
	if (bh_vfu_irq_msix_enabled(net->server)) {
		if (net->regs.config_vector != BH_VIRTIO_NO_VECTOR)
			bh_vfu_irq_raise(net->server, net->regs.config_vector);
		return;
	}
	tnet_isr_raise(net, BH_VIRTIO_ISR_CONFIG);
}

static void read_isr(struct bh_target_net *net, uint8_t *out)
{
	*out = __atomic_exchange_n(&net->regs.isr, 0, __ATOMIC_ACQ_REL);
	tnet_isr_show(net);
}

/* ---- status (2.1, 3.1) ---- */

static void write_status(struct bh_target_net *net, uint8_t value)
{
	uint8_t old = status(net), added = value & (uint8_t)~old;

	if (value == 0) {
		tnet_stop(net);
		tnet_regs_power_on(net);
		return;
	}
	if ((added & BH_VIRTIO_STATUS_FEATURES_OK) && !tnet_features_ok(net, net->regs.features)) {
		bh_log(net->log, BH_LOG_INFO, TNET_LOG,
		       "%s: a driver's features contradict themselves: %#llx", net->path,
		       (unsigned long long)net->regs.features);
		added &= (uint8_t)~BH_VIRTIO_STATUS_FEATURES_OK;
	}
	added &= (uint8_t)~BH_VIRTIO_STATUS_NEEDS_RESET; /* ours to say */
	if (!((old | added) & BH_VIRTIO_STATUS_FEATURES_OK))
		added &= (uint8_t)~BH_VIRTIO_STATUS_DRIVER_OK;
	__atomic_fetch_or(&net->regs.status, added, __ATOMIC_ACQ_REL);
	if (added & BH_VIRTIO_STATUS_DRIVER_OK)
		tnet_start(net);
}

/* ---- common configuration ---- */

static struct tnet_vq *selected(struct bh_target_net *net)
{
	return net->regs.queue_select < net->num_vqs ? &net->regs.vq[net->regs.queue_select] : NULL;
}

static void common_image(struct bh_target_net *net, struct bh_virtio_common_cfg *c)
{
	const struct tnet_regs *r = &net->regs;
	const struct tnet_vq *vq = selected(net);

	memset(c, 0, sizeof(*c));
	c->device_feature_select = r->device_feature_select;
	if (r->device_feature_select < 2)
		c->device_feature = (uint32_t)(net->offered >> 32 * r->device_feature_select);
	c->driver_feature_select = r->driver_feature_select;
	if (r->driver_feature_select < 2)
		c->driver_feature = (uint32_t)(r->features >> 32 * r->driver_feature_select);
	c->config_msix_vector = r->config_vector;
	c->num_queues = (uint16_t)net->num_vqs;
	c->device_status = status(net);
	c->config_generation = r->generation;
	c->queue_select = r->queue_select;
	c->queue_msix_vector = BH_VIRTIO_NO_VECTOR;
	if (!vq)
		return; /* of size 0: there is none */
	c->queue_size = vq->size;
	c->queue_msix_vector = vq->vector;
	c->queue_enable = vq->is_enabled;
	c->queue_notify_off = r->queue_select;
	c->queue_desc = vq->desc;
	c->queue_driver = vq->driver;
	c->queue_device = vq->device;
}

static uint16_t vector_of(const struct bh_target_net *net, uint32_t value)
{
	return value < net->num_vqs + 1 ? (uint16_t)value : BH_VIRTIO_NO_VECTOR;
}

static void write_features(struct bh_target_net *net, uint32_t value)
{
	struct tnet_regs *r = &net->regs;
	unsigned int shift = 32 * r->driver_feature_select;

	/* 2.2.2: final once FEATURES_OK is set. */
	if (r->driver_feature_select > 1 || (status(net) & BH_VIRTIO_STATUS_FEATURES_OK))
		return;
	r->features = (r->features & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

static void write_enable(struct bh_target_net *net, struct tnet_vq *vq, uint32_t value)
{
	if (value != 1 || vq->is_enabled || !(status(net) & BH_VIRTIO_STATUS_FEATURES_OK))
		return;
	vq->is_enabled = true;
	if (status(net) & BH_VIRTIO_STATUS_DRIVER_OK)
		tnet_start(net);
}

/* 2.6.1: done when this returns, so queue_reset and queue_enable read 0 (4.1.4.3.1). */
static void write_reset(struct bh_target_net *net, struct tnet_vq *vq, uint32_t value)
{
	if (value != 1 || !vq->is_enabled || !tnet_has(net->regs.features, BH_VIRTIO_F_RING_RESET))
		return;
	tnet_stop_vq(net, (unsigned int)(vq - net->regs.vq));
	*vq = vq_power_on(net);
}

static void write_vq_2(struct bh_target_net *net, struct tnet_vq *vq, uint64_t offset,
		       uint32_t value)
{
	switch (offset) {
	case BH_VIRTIO_COMMON(queue_size):
		if (!vq->is_enabled && value && value <= net->max_depth)
			vq->size = (uint16_t)value;
		return;
	case BH_VIRTIO_COMMON(queue_msix_vector):
		vq->vector = vector_of(net, value);
		tnet_start(net); /* takes vectors over */
		return;
	case BH_VIRTIO_COMMON(queue_enable):
		write_enable(net, vq, value);
		return;
	case BH_VIRTIO_COMMON(queue_reset):
		write_reset(net, vq, value);
		return;
	default:
		return;
	}
}

static void write_2(struct bh_target_net *net, uint64_t offset, uint32_t value)
{
	if (offset == BH_VIRTIO_COMMON(config_msix_vector))
		net->regs.config_vector = vector_of(net, value);
	else if (offset == BH_VIRTIO_COMMON(queue_select))
		net->regs.queue_select = (uint16_t)value;
	else if (selected(net))
		write_vq_2(net, selected(net), offset, value);
}

static void write_4(struct bh_target_net *net, uint64_t offset, uint32_t value)
{
	const uint64_t areas = BH_VIRTIO_COMMON(queue_desc);
	struct tnet_vq *vq = selected(net);
	uint64_t *area;
	bool high = offset % 8;

	if (offset == BH_VIRTIO_COMMON(device_feature_select))
		net->regs.device_feature_select = value;
	else if (offset == BH_VIRTIO_COMMON(driver_feature_select))
		net->regs.driver_feature_select = value;
	else if (offset == BH_VIRTIO_COMMON(driver_feature))
		write_features(net, value);
	if (offset < areas || offset >= areas + 24 || !vq || vq->is_enabled)
		return;
	area = offset < areas + 8 ? &vq->desc : offset < areas + 16 ? &vq->driver : &vq->device;
	*area = high ? (*area & 0xffffffffu) | (uint64_t)value << 32
		     : (*area & ~0xffffffffull) | value;
}

static void common_write(struct bh_target_net *net, uint64_t offset, const void *buf, size_t count)
{
	uint32_t value[2] = { 0 };

	if (offset % count || (count == 8 && offset < BH_VIRTIO_COMMON(queue_desc)))
		return;
	memcpy(value, buf, count);
	if (count == 1 && offset == BH_VIRTIO_COMMON(device_status))
		write_status(net, (uint8_t)value[0]);
	else if (count == 2)
		write_2(net, offset, value[0]);
	else if (count >= 4)
		write_4(net, offset, value[0]);
	if (count == 8)
		write_4(net, offset + 4, value[1]);
}

/* ---- notifications ---- */

/* The value says which queue, too (4.1.5.2); who is woken looks at all it has. */
static void notify(struct bh_target_net *net, uint64_t offset)
{
	unsigned int vq = (unsigned int)(offset / TNET_NOTIFY_STEP);

	__atomic_fetch_add(&net->notify_messages, 1, __ATOMIC_RELAXED);
	if (vq == net->num_vqs - 1)
		tnet_cvq_run(net);
	else if (vq < net->num_vqs)
		tnet_thread_wake(net->pair[vq / 2]->thread);
}

/* ---- access ---- */

static void region_read(struct bh_target_net *net, uint64_t offset, uint8_t *buf, size_t count)
{
	struct bh_virtio_net_config config;
	struct bh_virtio_common_cfg common;
	const uint8_t *image = NULL;
	size_t here, len = 0;

	if (offset < sizeof(common)) {
		common_image(net, &common);
		image = (const uint8_t *)&common + offset;
		len = sizeof(common) - (size_t)offset;
	} else if (offset >= TNET_DEVICE && offset < TNET_DEVICE + sizeof(config)) {
		tnet_config_image(net, &config);
		image = (const uint8_t *)&config + (offset - TNET_DEVICE);
		len = sizeof(config) - (size_t)(offset - TNET_DEVICE);
	} else if (offset == TNET_ISR) {
		read_isr(net, buf);
	}
	here = len < count ? len : count;
	if (here)
		memcpy(buf, image, here);
}

int tnet_regs_access(struct bh_target_net *net, uint64_t offset, void *buf, size_t count,
		     bool write)
{
	if (!write) {
		memset(buf, 0, count);
		region_read(net, offset, buf, count);
		return 0;
	}
	if (count != 1 && count != 2 && count != 4 && count != 8)
		return -EINVAL;
	if (offset < sizeof(struct bh_virtio_common_cfg))
		common_write(net, offset, buf, count);
	else if (offset >= TNET_NOTIFY)
		notify(net, offset - TNET_NOTIFY);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's registers: where they lie, and how they are read and written.
 *
 * A modern device says by PCI capabilities in which BAR, and where there, its structures are
 * (virtio 1.2 4.1.4). That is the device's word: an area is taken only if it lies in a region that
 * is there, and is long enough for what we read in it. Everything here goes through region reads and
 * writes, one field at a time in its own width, as 4.1.3.1 demands; it is all control path.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <bellhop/clock.h>
#include <bellhop/pci.h>

#include "net_virtio/net_virtio.h"

#define CONFIG_BYTES 256u
#define CONFIG_TRIES 100
#define POLL_NS 100000

static int config_read_fn(void *ctx, unsigned int offset, void *buf, size_t count)
{
	return bh_device_config_read((struct bh_device *)ctx, offset, buf, count);
}

static int area_of(struct bh__vnet *v, const struct bh_virtio_pci_cap *cap, uint32_t min,
		   struct bh__vnet_area *out)
{
	struct bh_region_info info;

	/* The first of a type counts (4.1.4.1), others of it are alternatives. */
	if (out->len != 0)
		return 0;
	if (cap->bar > 5)
		return 0; /* reserved: to be ignored */
	if (bh_device_region_info(v->dev, cap->bar, &info) != 0 || info.len == 0)
		return -EPROTO;
	if (cap->length < min || cap->offset > info.len || cap->length > info.len - cap->offset)
		return -EPROTO;
	out->bar = cap->bar;
	out->offset = cap->offset;
	out->len = cap->length;
	return 0;
}

static int cap_take(struct bh__vnet *v, unsigned int offset)
{
	struct bh_virtio_pci_notify_cap cap;
	int rc = bh_device_config_read(v->dev, offset, &cap.cap, sizeof(cap.cap));

	if (rc != 0)
		return rc;
	if (cap.cap.cap_len < sizeof(cap.cap))
		return -EPROTO;
	switch (cap.cap.cfg_type) {
	case BH_VIRTIO_PCI_CAP_COMMON:
		return area_of(v, &cap.cap, BH_VIRTIO_COMMON_MIN, &v->common);
	case BH_VIRTIO_PCI_CAP_ISR:
		return area_of(v, &cap.cap, 1, &v->isr);
	case BH_VIRTIO_PCI_CAP_DEVICE:
		return area_of(v, &cap.cap, sizeof(v->net.mac), &v->config);
	case BH_VIRTIO_PCI_CAP_NOTIFY:
		if (v->notify.len != 0)
			return 0;
		if (cap.cap.cap_len < sizeof(cap))
			return -EPROTO;
		rc = bh_device_config_read(v->dev, offset + sizeof(cap.cap),
					   &cap.notify_off_multiplier,
					   sizeof(cap.notify_off_multiplier));
		v->notify_multiplier = cap.notify_off_multiplier;
		return rc != 0 ? rc : area_of(v, &cap.cap, 2, &v->notify);
	default:
		return 0;
	}
}

int bh__vnet_areas_find(struct bh__vnet *v)
{
	struct bh_pci_caps caps;
	int rc;

	rc = bh_pci_caps_walk(config_read_fn, v->dev, CONFIG_BYTES, &caps);
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < caps.count; i++) {
		if (caps.cap[i].extended || caps.cap[i].id != BH_VIRTIO_PCI_CAP_ID)
			continue;
		rc = cap_take(v, caps.cap[i].offset);
		if (rc != 0) {
			bh__vnet_log(v, BH_LOG_ERROR, "%s: the capability at 0x%x makes no sense",
				     bh_device_name(v->dev), caps.cap[i].offset);
			return rc;
		}
	}
	if (v->common.len && v->notify.len && v->config.len)
		return 0;
	bh__vnet_log(v, BH_LOG_ERROR, "%s: no virtio 1.0 capabilities: a legacy device",
		     bh_device_name(v->dev));
	return -EOPNOTSUPP;
}

int bh__vnet_read(struct bh__vnet *v, const struct bh__vnet_area *area, size_t offset, void *buf,
		  size_t count)
{
	if (offset + count > area->len)
		return -EPROTO;
	return bh_device_region_read(v->dev, area->bar, area->offset + offset, buf, count);
}

int bh__vnet_write(struct bh__vnet *v, const struct bh__vnet_area *area, size_t offset,
		   const void *buf, size_t count)
{
	if (offset + count > area->len)
		return -EPROTO;
	return bh_device_region_write(v->dev, area->bar, area->offset + offset, buf, count);
}

int bh__vnet_read16(struct bh__vnet *v, size_t offset, uint16_t *value)
{
	return bh__vnet_read(v, &v->common, offset, value, sizeof(*value));
}

int bh__vnet_write16(struct bh__vnet *v, size_t offset, uint16_t value)
{
	return bh__vnet_write(v, &v->common, offset, &value, sizeof(value));
}

static int write32(struct bh__vnet *v, size_t offset, uint32_t value)
{
	return bh__vnet_write(v, &v->common, offset, &value, sizeof(value));
}

/* 64-bit fields are two of 32 bits (4.1.3.1). */
int bh__vnet_write64(struct bh__vnet *v, size_t offset, uint64_t value)
{
	int rc = write32(v, offset, (uint32_t)value);

	return rc != 0 ? rc : write32(v, offset + 4, (uint32_t)(value >> 32));
}

int bh__vnet_status(struct bh__vnet *v, uint8_t *status)
{
	return bh__vnet_read(v, &v->common, BH_VIRTIO_COMMON(device_status), status, 1);
}

int bh__vnet_status_add(struct bh__vnet *v, uint8_t bits)
{
	uint8_t status;
	int rc = bh__vnet_status(v, &status);

	if (rc != 0)
		return rc;
	status |= bits;
	return bh__vnet_write(v, &v->common, BH_VIRTIO_COMMON(device_status), &status, 1);
}

int bh__vnet_reset(struct bh__vnet *v)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	uint64_t deadline = bh_now_ns() + v->net.timeout_ns;
	uint8_t status = 0;
	int rc;

	rc = bh__vnet_write(v, &v->common, BH_VIRTIO_COMMON(device_status), &status, 1);
	while (rc == 0) {
		rc = bh__vnet_status(v, &status);
		if (rc != 0 || status == 0)
			break;
		if (bh_now_ns() > deadline) {
			bh__vnet_log(v, BH_LOG_ERROR, "%s: no reset within %llu ms, status 0x%02x",
				     bh_device_name(v->dev),
				     (unsigned long long)(v->net.timeout_ns / 1000000), status);
			return -ETIMEDOUT;
		}
		nanosleep(&pause, NULL);
	}
	return rc;
}

int bh__vnet_features_read(struct bh__vnet *v)
{
	uint32_t half[2] = { 0, 0 };
	int rc = 0;

	for (uint32_t i = 0; i < 2 && rc == 0; i++) {
		rc = write32(v, BH_VIRTIO_COMMON(device_feature_select), i);
		if (rc == 0)
			rc = bh__vnet_read(v, &v->common, BH_VIRTIO_COMMON(device_feature),
					   &half[i], sizeof(half[i]));
	}
	v->offered = half[0] | (uint64_t)half[1] << 32;
	return rc;
}

int bh__vnet_features_write(struct bh__vnet *v, uint64_t features)
{
	int rc = 0;

	for (uint32_t i = 0; i < 2 && rc == 0; i++) {
		rc = write32(v, BH_VIRTIO_COMMON(driver_feature_select), i);
		if (rc == 0)
			rc = write32(v, BH_VIRTIO_COMMON(driver_feature),
				     (uint32_t)(features >> 32 * i));
	}
	return rc;
}

static int generation(struct bh__vnet *v, uint8_t *value)
{
	return bh__vnet_read(v, &v->common, BH_VIRTIO_COMMON(config_generation), value, 1);
}

/* One field of the configuration, where the device has it; else it stays zero. */
static int field_read(struct bh__vnet *v, size_t offset, void *field, size_t width)
{
	return offset + width <= v->config.len ? bh__vnet_read(v, &v->config, offset, field, width)
					       : 0;
}

#define FIELD(c, field) BH_VIRTIO_NET_CONFIG(field), &(c)->field, sizeof((c)->field)

static int config_read_once(struct bh__vnet *v, struct bh_virtio_net_config *c)
{
	int rc = 0;

	memset(c, 0, sizeof(*c));
	for (unsigned int i = 0; i < sizeof(c->mac) && rc == 0; i++)
		rc = bh__vnet_read(v, &v->config, i, &c->mac[i], 1);
	if (rc == 0)
		rc = field_read(v, FIELD(c, status));
	if (rc == 0)
		rc = field_read(v, FIELD(c, max_virtqueue_pairs));
	if (rc == 0)
		rc = field_read(v, FIELD(c, mtu));
	if (rc == 0)
		rc = field_read(v, FIELD(c, speed));
	if (rc == 0)
		rc = field_read(v, FIELD(c, duplex));
	if (rc == 0)
		rc = field_read(v, FIELD(c, rss_max_key_size));
	if (rc == 0)
		rc = field_read(v, FIELD(c, rss_max_indirection_table_length));
	return rc != 0 ? rc : field_read(v, FIELD(c, supported_hash_types));
}

int bh__vnet_config_read(struct bh__vnet *v, struct bh_virtio_net_config *config)
{
	uint8_t before, after;
	int rc;

	for (int i = 0; i < CONFIG_TRIES; i++) {
		rc = generation(v, &before);
		if (rc == 0)
			rc = config_read_once(v, config);
		if (rc == 0)
			rc = generation(v, &after);
		if (rc != 0 || before == after)
			return rc;
	}
	return -EPROTO;
}

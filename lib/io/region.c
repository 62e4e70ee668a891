/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <bellhop/range.h>

#include "base/fd.h"
#include "io/io.h"

/* PCI Local Bus 3.0, 6.1: the header every function has. */
#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY 0x2u
#define PCI_COMMAND_MASTER 0x4u
#define PCI_COMMAND_INTX_OFF 0x400u
#define PCI_HEADER_BYTES 64
#define PCI_BAR 0x10
#define PCI_BAR_IO 0x1u
#define PCI_BAR_TYPE 0x6u
#define PCI_BAR_64 0x4u
#define PCI_BAR_FLAGS 0xfu
#define PCI_BARS 6u

static uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

int bh_device_region_info(struct bh_device *dev, unsigned int region, struct bh_region_info *info)
{
	if (bh_device_gone(dev))
		return -ENODEV;
	return dev->ops->region_info(dev, region, info);
}

static int check_access(struct bh_device *dev, unsigned int region, uint64_t offset, size_t count,
			uint32_t direction)
{
	struct bh_region_info info;
	int rc = bh_device_region_info(dev, region, &info);

	if (rc != 0)
		return rc;
	if (!bh_range_inside(offset, count, info.len))
		return -EINVAL;
	return info.flags & direction ? 0 : -EPERM;
}

int bh_device_region_read(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
			  size_t count)
{
	int rc = check_access(dev, region, offset, count, BH_REGION_READ);

	if (rc != 0 || count == 0)
		return rc;
	return dev->ops->region_read(dev, region, offset, buf, count);
}

int bh_device_region_write(struct bh_device *dev, unsigned int region, uint64_t offset,
			   const void *buf, size_t count)
{
	int rc = check_access(dev, region, offset, count, BH_REGION_WRITE);

	if (rc != 0 || count == 0)
		return rc;
	return dev->ops->region_write(dev, region, offset, buf, count);
}

int bh_device_region_post(struct bh_device *dev, unsigned int region, uint64_t offset,
			  const void *buf, size_t count)
{
	int rc;

	if (!(bh_device_caps(dev) & BH_CAP_POSTED_WRITE))
		return -EOPNOTSUPP;
	rc = check_access(dev, region, offset, count, BH_REGION_WRITE);
	if (rc != 0 || count == 0)
		return rc;
	return dev->ops->region_post(dev, region, offset, buf, count);
}

static bool has_config(struct bh_device *dev)
{
	struct bh_region_info info;

	return dev->ops->region_info(dev, BH__PCI_CONFIG_REGION, &info) == 0 && info.len > 0;
}

int bh_device_config_read(struct bh_device *dev, uint64_t offset, void *buf, size_t count)
{
	if (!bh_device_gone(dev) && !has_config(dev))
		return -EOPNOTSUPP;
	return bh_device_region_read(dev, BH__PCI_CONFIG_REGION, offset, buf, count);
}

int bh_device_config_write(struct bh_device *dev, uint64_t offset, const void *buf, size_t count)
{
	if (!bh_device_gone(dev) && !has_config(dev))
		return -EOPNOTSUPP;
	return bh_device_region_write(dev, BH__PCI_CONFIG_REGION, offset, buf, count);
}

static int command_change(struct bh_device *dev, uint16_t set, uint16_t clear)
{
	uint8_t raw[2];
	uint16_t command;
	int rc;

	pthread_mutex_lock(&dev->config_lock);
	rc = bh_device_config_read(dev, PCI_COMMAND, raw, sizeof(raw));
	if (rc == 0) {
		command = (uint16_t)((le16(raw) & ~clear) | set);
		raw[0] = (uint8_t)command;
		raw[1] = (uint8_t)(command >> 8);
		rc = bh_device_config_write(dev, PCI_COMMAND, raw, sizeof(raw));
	}
	pthread_mutex_unlock(&dev->config_lock);
	return rc;
}

int bh_device_bus_master(struct bh_device *dev, bool on)
{
	return on ? command_change(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0)
		  : command_change(dev, 0, PCI_COMMAND_MASTER);
}

int bh_device_pin_off(struct bh_device *dev)
{
	return command_change(dev, PCI_COMMAND_INTX_OFF, 0);
}

static bool is_64_bit(uint32_t low)
{
	return !(low & PCI_BAR_IO) && (low & PCI_BAR_TYPE) == PCI_BAR_64;
}

int bh_device_bar_address(struct bh_device *dev, unsigned int bar, uint64_t *address)
{
	uint32_t low = 0, high = 0;
	unsigned int at = 0;
	int rc;

	*address = 0;
	if (bar >= PCI_BARS)
		return -ENXIO;
	/* From the first: a register does not say whether it is another one's upper half. */
	for (;;) {
		rc = bh_device_config_read(dev, PCI_BAR + 4 * at, &low, sizeof(low));
		if (rc != 0)
			return rc;
		if (at == bar)
			break;
		at += is_64_bit(low) ? 2 : 1;
		if (at > bar)
			return -ENXIO;
	}
	if (low & PCI_BAR_IO)
		return -ENXIO;
	if (is_64_bit(low)) {
		if (bar + 1 == PCI_BARS)
			return -ENXIO;
		rc = bh_device_config_read(dev, PCI_BAR + 4 * (bar + 1), &high, sizeof(high));
		if (rc != 0)
			return rc;
	}
	*address = (uint64_t)high << 32 | (low & ~PCI_BAR_FLAGS);
	return *address ? 0 : -ENXIO;
}

int bh__device_read_ids(struct bh_device *dev)
{
	struct bh_device_info *info = &dev->info;
	struct bh_region_info region;
	uint8_t h[PCI_HEADER_BYTES];
	int rc;

	rc = dev->ops->region_info(dev, BH__PCI_CONFIG_REGION, &region);
	if (rc != 0 || region.len < sizeof(h) || !(region.flags & BH_REGION_READ))
		return -EPROTO;
	rc = dev->ops->region_read(dev, BH__PCI_CONFIG_REGION, 0, h, sizeof(h));
	if (rc != 0)
		return rc;
	if (le16(h) == 0xffff)
		return -ENODEV;
	info->vendor = le16(h);
	info->device = le16(h + 0x02);
	info->revision = h[0x08];
	info->class_code = (uint32_t)h[0x0b] << 16 | (uint32_t)h[0x0a] << 8 | h[0x09];
	info->subsystem_vendor = le16(h + 0x2c);
	info->subsystem = le16(h + 0x2e);
	return 0;
}

int bh_device_map_bar(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
		      enum bh_attr want, unsigned int flags, struct bh_map *map)
{
	struct bh_region_info info;
	int rc;

	memset(map, 0, sizeof(*map));
	map->fd = -1;
	if (!(bh_device_caps(dev) & BH_CAP_REGION_MMAP))
		return -EOPNOTSUPP;
	if (len == 0 || (flags & ~BH_MAP_STRICT) || (want != BH_ATTR_UC && want != BH_ATTR_WC))
		return -EINVAL;
	rc = bh_device_region_info(dev, bar, &info);
	if (rc != 0)
		return rc;
	if (!bh_range_inside(offset, len, info.len))
		return -EINVAL;
	return dev->ops->map_bar(dev, bar, offset, len, want, flags, map);
}

void bh_device_unmap_bar(struct bh_device *dev, struct bh_map *map)
{
	if (!map || !map->va)
		return;
	dev->ops->unmap_bar(dev, map);
	memset(map, 0, sizeof(*map));
	map->fd = -1;
}

int bh_device_region_io_fds(struct bh_device *dev, unsigned int region, struct bh_region_io_fd *out,
			    unsigned int max)
{
	struct bh_region_info info;
	int rc;

	if (!(bh_device_caps(dev) & BH_CAP_IOEVENTFD))
		return -EOPNOTSUPP;
	rc = bh_device_region_info(dev, region, &info);
	if (rc != 0)
		return rc;
	return dev->ops->region_io_fds(dev, region, out, max);
}

int bh_device_dmabuf_export(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
			    int *fd)
{
	struct bh_region_info info;
	int rc;

	*fd = -1;
	if (!(bh_device_caps(dev) & BH_CAP_DMABUF_EXPORT))
		return -EOPNOTSUPP;
	rc = bh_device_region_info(dev, bar, &info);
	if (rc != 0)
		return rc;
	if (len == 0 || !bh_range_inside(offset, len, info.len))
		return -EINVAL;
	return dev->ops->dmabuf_export(dev, bar, offset, len, fd);
}

int bh_device_dmabuf_revoke(struct bh_device *dev, int fd)
{
	if (!(bh_device_caps(dev) & BH_CAP_DMABUF_REVOKE))
		return -EOPNOTSUPP;
	return bh_device_gone(dev) ? -ENODEV : dev->ops->dmabuf_revoke(dev, fd);
}

int bh_device_bar_pool(struct bh_device *dev, const struct bh_map *map, const char *name,
		       struct bh_pool **out)
{
	int fd;
	int rc = bh_device_dmabuf_export(dev, map->bar, map->offset, map->len, &fd);

	if (rc != 0)
		return rc;
	rc = bh_pool_import_dmabuf(map->va, map->len, fd, name, out);
	bh__fd_close(&fd);
	return rc;
}

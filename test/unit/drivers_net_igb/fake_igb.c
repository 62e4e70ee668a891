/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_igb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct fake *to_fake(struct bh_device *dev)
{
	return (struct fake *)dev;
}

uint32_t fake_get(struct fake *f, uint32_t reg)
{
	uint32_t value;

	memcpy(&value, f->bar + reg, sizeof(value));
	return value;
}

void fake_put(struct fake *f, uint32_t reg, uint32_t value)
{
	memcpy(f->bar + reg, &value, sizeof(value));
}

void fake_nvm_sum(struct fake *f, unsigned int base)
{
	uint16_t sum = 0;

	for (unsigned int i = 0; i < IGB_NVM_SUM_WORDS - 1; i++)
		sum = (uint16_t)(sum + f->nvm[base + i]);
	f->nvm[base + IGB_NVM_SUM_WORDS - 1] = (uint16_t)(IGB_NVM_SUM - sum);
}

bool fake_receive(struct fake *f, unsigned int queue, const void *data, size_t bytes,
		  struct bh_igb_rx_done done)
{
	uint32_t at = IGB_RXQ(queue), head = fake_get(f, at + IGB_RDH);
	uint32_t count = fake_get(f, at + IGB_RDLEN) / (uint32_t)sizeof(union bh_igb_rx_desc);
	uint64_t base = fake_get(f, at + IGB_RDBAL) | (uint64_t)fake_get(f, at + IGB_RDBAH) << 32;
	union bh_igb_rx_desc *ring = (union bh_igb_rx_desc *)(uintptr_t)(base - FAKE_DELTA);

	if (!count || head == fake_get(f, at + IGB_RDT) ||
	    !(fake_get(f, at + IGB_RXDCTL) & IGB_XDCTL_ENABLE))
		return false;
	memcpy((void *)(uintptr_t)(ring[head].read.packet - FAKE_DELTA), data, bytes);
	ring[head].done = done;
	fake_put(f, at + IGB_RDH, (head + 1) % count);
	return true;
}

static void transmit_one(struct fake *f, union bh_igb_tx_desc *d, uint8_t *out, size_t most)
{
	size_t bytes = d->data.command & 0xffff;

	if (d->data.command & IGB_TX_RS) {
		f->tx.reports++;
		if (!f->never_done)
			d->data.options |= IGB_TX_DD;
	}
	if ((d->data.command & (0xfu << 20)) == IGB_TX_TYPE_CONTEXT) {
		f->tx.contexts++;
		f->tx.context = d->context;
		return;
	}
	if (f->tx.bytes + bytes <= most)
		memcpy(out + f->tx.bytes, (void *)(uintptr_t)(d->data.address - FAKE_DELTA), bytes);
	f->tx.bytes += bytes;
	f->tx.options = d->data.options;
	f->tx.frames += (d->data.command & IGB_TX_EOP) != 0;
}

void fake_transmit(struct fake *f, unsigned int queue, uint8_t *out, size_t most)
{
	uint32_t at = IGB_TXQ(queue), head = fake_get(f, at + IGB_TDH);
	uint32_t count = fake_get(f, at + IGB_TDLEN) / (uint32_t)sizeof(union bh_igb_tx_desc);
	uint64_t base = fake_get(f, at + IGB_TDBAL) | (uint64_t)fake_get(f, at + IGB_TDBAH) << 32;
	union bh_igb_tx_desc *ring = (union bh_igb_tx_desc *)(uintptr_t)(base - FAKE_DELTA);
	bool begins = true;

	for (; count && head != fake_get(f, at + IGB_TDT); head = (head + 1) % count) {
		bool context = (ring[head].data.command & (0xfu << 20)) == IGB_TX_TYPE_CONTEXT;

		if (begins)
			f->tx.bytes = 0;
		transmit_one(f, &ring[head], out, most);
		begins = context || (ring[head].data.command & IGB_TX_EOP);
	}
	fake_put(f, at + IGB_TDH, head);
}

static void power_up(struct fake *f)
{
	memset(f->bar, 0, FAKE_BAR);
	fake_put(f, IGB_STATUS, f->lan_id << 2 | (2u << 6) | IGB_STATUS_FD | IGB_STATUS_LU);
	fake_put(f, IGB_EECD, IGB_EECD_PRES | IGB_EECD_AUTO_RD);
	fake_put(f, IGB_EEMNGCTL, IGB_EEMNGCTL_CFG_DONE(f->lan_id));
	fake_put(f, IGB_CTRL_EXT, f->link_mode << 22);
	if (f->smbi_taken)
		fake_put(f, IGB_SWSM, IGB_SWSM_SMBI);
	if (f->firmware_has_phy)
		fake_put(f, IGB_SW_FW_SYNC, IGB_SYNC_PHY(f->lan_id) << IGB_SYNC_FW_SHIFT);
	if (f->no_autoload)
		return;
	fake_put(f, IGB_RAL(0), f->nvm[0] | (uint32_t)f->nvm[1] << 16);
	fake_put(f, IGB_RAH(0), f->nvm[2] | IGB_RAH_AV);
}

static void write_ctrl(struct fake *f, uint32_t value)
{
	uint32_t status = fake_get(f, IGB_STATUS) | IGB_STATUS_MASTER_ENABLED;

	if ((value & IGB_CTRL_MASTER_DISABLE) && !f->master_sticks)
		status &= ~IGB_STATUS_MASTER_ENABLED;
	fake_put(f, IGB_STATUS, status);
	fake_put(f, IGB_CTRL, value);
	if (!(value & IGB_CTRL_RST))
		return;
	f->resets++;
	f->resets_with_master += (status & IGB_STATUS_MASTER_ENABLED) != 0;
	power_up(f);
	if (f->reset_sticks)
		fake_put(f, IGB_CTRL, IGB_CTRL_RST);
}

static void write_mdic(struct fake *f, uint32_t value)
{
	unsigned int reg = value >> IGB_MDIC_REG_SHIFT & 31;

	if (!(fake_get(f, IGB_SW_FW_SYNC) & IGB_SYNC_PHY(f->lan_id)))
		f->phy_without_semaphore++;
	if (f->phy_silent) {
		fake_put(f, IGB_MDIC, value);
		return;
	}
	if (value & IGB_MDIC_WRITE)
		f->phy[reg] = (uint16_t)value;
	value = (value & ~0xffffu) | f->phy[reg] | IGB_MDIC_READY;
	fake_put(f, IGB_MDIC, value | (f->phy_error ? IGB_MDIC_ERROR : 0));
}

static void write_eerd(struct fake *f, uint32_t value)
{
	uint32_t word = value >> IGB_EERD_ADDR_SHIFT & 0x3fff;
	uint32_t data = word < 0x200 ? f->nvm[word] : 0xffff;

	if (!(fake_get(f, IGB_SW_FW_SYNC) & IGB_SYNC_EEPROM))
		f->nvm_without_semaphore++;
	fake_put(f, IGB_EERD, data << IGB_EERD_DATA_SHIFT | IGB_EERD_DONE);
}

static int region_write(struct bh_device *dev, unsigned int region, uint64_t offset,
			const void *buf, size_t count)
{
	struct fake *f = to_fake(dev);
	uint32_t reg = (uint32_t)offset, value;

	if (region != 0) {
		/* The command register's Bus Master bit. */
		f->bus_masters_off += offset == 4 && !(((const uint8_t *)buf)[0] & 4);
		return 0;
	}
	if (count != 4 || offset % 4 || offset >= FAKE_BAR)
		return -EINVAL;
	memcpy(&value, buf, 4);
	if (f->gone)
		return 0;
	if (reg == IGB_CTRL)
		write_ctrl(f, value);
	else if (reg == IGB_MDIC)
		write_mdic(f, value);
	else if (reg == IGB_EERD)
		write_eerd(f, value);
	else if (f->queue_sticks && reg >= IGB_RXQ(0) && ((reg & 0x3f) == IGB_RXDCTL))
		fake_put(f, reg, value | IGB_XDCTL_ENABLE);
	else
		fake_put(f, reg, value);
	return 0;
}

static int region_read(struct bh_device *dev, unsigned int region, uint64_t offset, void *buf,
		       size_t count)
{
	struct fake *f = to_fake(dev);
	uint32_t reg = (uint32_t)offset;

	memset(buf, 0, count);
	if (f->gone)
		memset(buf, 0xff, count);
	if (f->gone || region != 0)
		return 0;
	if (count != 4 || offset % 4 || offset >= FAKE_BAR)
		return -EINVAL;
	memcpy(buf, f->bar + reg, 4);
	if (reg == IGB_SWSM)
		fake_put(f, reg, fake_get(f, reg) | IGB_SWSM_SMBI);
	if (reg >= 0x4000 && reg < 0x4200)
		fake_put(f, reg, 0);
	return 0;
}

static int region_info(struct bh_device *dev, unsigned int region, struct bh_region_info *info)
{
	*info = (struct bh_region_info){ 0 };
	if (region == 0)
		*info = (struct bh_region_info){ FAKE_BAR,
						 BH_REGION_READ | BH_REGION_WRITE | BH_REGION_MMAP,
						 1, &to_fake(dev)->area };
	if (region == BH__PCI_CONFIG_REGION)
		*info = (struct bh_region_info){ 256, BH_REGION_READ | BH_REGION_WRITE, 0, NULL };
	return 0;
}

static int irq_info(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info)
{
	(void)dev;
	*info = (struct bh_irq_info){ irq == IGB_MSIX ? 10 : 0, BH_IRQ_EVENTFD };
	return 0;
}

static int map_bar(struct bh_device *dev, unsigned int bar, uint64_t offset, uint64_t len,
		   enum bh_attr want, unsigned int flags, struct bh_map *map)
{
	(void)flags;
	*map = (struct bh_map){ .va = to_fake(dev)->bar + offset,
				.offset = offset,
				.len = len,
				.requested = want,
				.attr = BH_ATTR_UC,
				.why = "fake",
				.fd = -1,
				.bar = bar };
	return 0;
}

static void unmap_bar(struct bh_device *dev, struct bh_map *map)
{
	(void)dev;
	map->va = NULL;
}

static bool check(struct bh_device *dev)
{
	if (to_fake(dev)->gone)
		bh__device_set_gone(dev);
	return !to_fake(dev)->gone;
}

static int reset(struct bh_device *dev)
{
	to_fake(dev)->function_resets++;
	power_up(to_fake(dev));
	return 0;
}

static int dma_map(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct fake *f = (struct fake *)((char *)listener - offsetof(struct fake, listener));

	return bh_iova_map_add(&f->dev.iova, mem->va, mem->len,
			       (uint64_t)(uintptr_t)mem->va + FAKE_DELTA);
}

static void dma_unmap(struct bh_dma_listener *listener, const struct bh_mem *mem)
{
	struct fake *f = (struct fake *)((char *)listener - offsetof(struct fake, listener));

	(void)bh_iova_map_del(&f->dev.iova, mem->va, mem->len);
}

static void close_dev(struct bh_device *dev)
{
	struct fake *f = to_fake(dev);

	bh_dma_space_unlisten(dev->space, &f->listener);
	bh__device_fini(dev);
	free(f->bar);
	free(f);
}

static const struct bh_io_ops ops = {
	.name = "fake",
	.caps = BH_CAP_REGION_MMAP | BH_CAP_RESET,
	.close = close_dev,
	.region_info = region_info,
	.region_read = region_read,
	.region_write = region_write,
	.map_bar = map_bar,
	.unmap_bar = unmap_bar,
	.irq_info = irq_info,
	.reset = reset,
	.check = check,
};

int fake_open(uint16_t device, struct bh_dma_space *space, const struct bh_log *log,
	      struct fake **out)
{
	static const uint16_t mac[3] = { 0x1002, 0x5530, 0x2143 };
	struct bh_device_opts dopts;
	struct fake *f = calloc(1, sizeof(*f));
	int rc;

	bh_device_opts_init(&dopts);
	dopts.space = space;
	dopts.log = log;
	rc = bh__device_init(&f->dev, &ops, "fake:igb", &dopts);
	if (rc)
		return rc;
	bh__device_set_caps(&f->dev, ops.caps);
	f->dev.info.vendor = 0x8086;
	f->dev.info.device = device;
	f->bar = aligned_alloc(4096, FAKE_BAR);
	f->area = (struct bh_region_area){ 0, FAKE_BAR };
	memcpy(f->nvm, mac, sizeof(mac));
	fake_nvm_sum(f, 0);
	power_up(f);
	f->listener.map = dma_map;
	f->listener.unmap = dma_unmap;
	bh_dma_space_listen(space, &f->listener);
	*out = f;
	return 0;
}

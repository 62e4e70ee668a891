/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI configuration space: a table of bytes with a mask of the bits a write may change.
 *
 * All that a write can do follows from comparing the bytes before and after it, whatever its width
 * and alignment: BAR sizing needs no code at all (address bits below the size are not writable),
 * and the registers with consequences (command, power state, MSI-X control, function-level reset)
 * are looked at once after each write. Consequences that need the device to stand still are
 * returned as a wish.
 */
#include <string.h>

#include "vfu_server/server.h"

#define COMMAND 0x04
#define COMMAND_DECODE 0x0007u /* I/O, memory, bus master */
#define COMMAND_WRITABLE 0x0547u
#define STATUS 0x06
#define STATUS_INTERRUPT 0x08u
#define STATUS_CAPABILITIES 0x10u
#define CAPABILITIES 0x34
#define INTERRUPT_LINE 0x3c
#define INTERRUPT_PIN 0x3d

#define CAP_PM 0x40
#define PM_CONTROL 4
#define PM_STATE 0x3u
#define PM_D0 0u
#define PM_D3 3u
#define CAP_PCIE 0x50
#define PCIE_DEVICE_CONTROL 8
#define PCIE_FLR 0x8000u
#define CAP_MSIX 0x90
#define MSIX_CONTROL 2
#define MSIX_ENABLE 0x8000u
#define MSIX_FUNCTION_MASK 0x4000u
#define CAP_DEVICE 0xa0 /* the device's own, up to the end of PCI's 256 bytes */
#define CONFIG_PCI 0x100u

static void put16(uint8_t *bytes, unsigned int at, uint32_t value)
{
	bytes[at] = (uint8_t)value;
	bytes[at + 1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *bytes, unsigned int at, uint32_t value)
{
	put16(bytes, at, value);
	put16(bytes, at + 2, value >> 16);
}

static uint32_t get16(const uint8_t *bytes, unsigned int at)
{
	return bytes[at] | (uint32_t)bytes[at + 1] << 8;
}

/* PCI 3.0 6.2.5.1: the size is what cannot be written. */
static void init_bars(struct bh_vfu_server *s)
{
	struct vfus_config *c = &s->config;
	unsigned int i;

	for (i = 0; i < 6; i++) {
		const struct vfus_bar *bar = &s->bar[i];
		const unsigned int at = 0x10 + 4 * i;

		if (bar->bytes == 0)
			continue;
		put32(c->bytes, at, (bar->is_64 ? 4u : 0) | (bar->prefetchable ? 8u : 0));
		put32(c->writable, at, (uint32_t) ~(bar->bytes - 1) & ~0xfu);
		if (bar->is_64)
			put32(c->writable, at + 4, (uint32_t)(~(bar->bytes - 1) >> 32));
	}
}

/* PCI PM 1.2 3.2: D0 and D3hot, no PME; No_Soft_Reset clear, so D3 -> D0 resets. */
static void init_pm(struct vfus_config *c, unsigned int next)
{
	c->pm = CAP_PM;
	put16(c->bytes, c->pm, 0x01 | next << 8);
	put16(c->bytes, c->pm + 2, 0x0003);
	put16(c->writable, c->pm + PM_CONTROL, PM_STATE);
}

/* PCIe 4.0 7.5.3: an endpoint with function-level reset on an 8 GT/s x4 link. */
static void init_pcie(struct vfus_config *c, unsigned int next)
{
	c->pcie = CAP_PCIE;
	put16(c->bytes, c->pcie, 0x10 | next << 8);
	put16(c->bytes, c->pcie + 2, 0x0002);		   /* version 2, endpoint */
	put32(c->bytes, c->pcie + 4, 1u << 28 | 1u << 15); /* FLR, role-based error reporting */
	put16(c->bytes, c->pcie + PCIE_DEVICE_CONTROL, 0x2810);
	put16(c->writable, c->pcie + PCIE_DEVICE_CONTROL, 0x7fff);
	put32(c->bytes, c->pcie + 12, 0x43); /* link: 8 GT/s, x4 */
	put16(c->writable, c->pcie + 16, 0x01cb);
	put16(c->bytes, c->pcie + 18, 0x43);
	put32(c->bytes, c->pcie + 36, 0x10); /* completion timeout may be disabled */
	put16(c->writable, c->pcie + 40, 0x001f);
	put32(c->bytes, c->pcie + 44, 0x0e); /* 2.5, 5 and 8 GT/s */
	put16(c->bytes, c->pcie + 48, 0x0003);
	put16(c->writable, c->pcie + 48, 0x000f);
}

static void init_msix(struct vfus_config *c, const struct bh_vfu_server *s, unsigned int next)
{
	c->msix = CAP_MSIX;
	put16(c->bytes, c->msix, 0x11 | next << 8);
	put16(c->bytes, c->msix + MSIX_CONTROL, s->irqs.num_msix - 1);
	put16(c->writable, c->msix + MSIX_CONTROL, MSIX_ENABLE | MSIX_FUNCTION_MASK);
	put32(c->bytes, c->msix + 4, s->msix_bar);
	put32(c->bytes, c->msix + 8, (uint32_t)s->pba_offset | s->msix_bar);
}

const char *vfus_config_check_caps(const struct bh_vfu_server_opts *opts)
{
	unsigned int at = CAP_DEVICE, i;

	if (opts->num_caps > VFUS_MAX_CAPS || (opts->num_caps && !opts->caps))
		return "too many capabilities";
	for (i = 0; i < opts->num_caps; i++) {
		if (opts->caps[i].len < 2 || opts->caps[i].len > 64 || !opts->caps[i].bytes)
			return "a capability has no bytes, or too many";
		at += (opts->caps[i].len + 3) & ~3u;
	}
	return at > CONFIG_PCI ? "the capabilities do not fit" : NULL;
}

/* Where the first one lies; 0: there is none. */
static unsigned int init_caps(struct vfus_config *c, const struct bh_vfu_server_opts *opts)
{
	unsigned int at = CAP_DEVICE, i;

	for (i = 0; i < opts->num_caps; i++) {
		const struct bh_vfu_pci_cap *cap = &opts->caps[i];

		c->cap[i].at = at;
		c->cap[i].len = cap->len;
		memcpy(c->bytes + at, cap->bytes, cap->len);
		if (cap->writable)
			memcpy(c->writable + at, cap->writable, cap->len);
		at += (cap->len + 3) & ~3u;
		put16(c->writable, c->cap[i].at, 0);
		c->bytes[c->cap[i].at + 1] = (uint8_t)(i + 1 < opts->num_caps ? at : 0);
	}
	c->num_caps = opts->num_caps;
	return opts->num_caps ? CAP_DEVICE : 0;
}

/* Tells the device about the parts of its capabilities in [offset, offset + len). */
static void tell_caps(struct bh_vfu_server *s, uint32_t offset, size_t len, bool write)
{
	const struct vfus_config *c = &s->config;
	unsigned int i;

	for (i = 0; i < c->num_caps && s->ops->capability; i++) {
		const uint32_t begin = c->cap[i].at, end = begin + c->cap[i].len;
		const uint32_t from = offset > begin ? offset : begin;
		const uint64_t last = offset + (uint64_t)len;
		const uint32_t to = last < end ? (uint32_t)last : end;

		if (from < to)
			s->ops->capability(s->ops_ctx, i, s->config.bytes + begin, from - begin,
					   to - from, write);
	}
}

void vfus_config_init(struct bh_vfu_server *s, const struct bh_vfu_server_opts *opts)
{
	unsigned int caps = init_caps(&s->config, opts);
	struct vfus_config *c = &s->config;

	put16(c->bytes, 0x00, opts->vendor);
	put16(c->bytes, 0x02, opts->device);
	put16(c->writable, COMMAND, COMMAND_WRITABLE);
	put16(c->bytes, STATUS, STATUS_CAPABILITIES);
	put32(c->bytes, 0x08, opts->class_code << 8 | opts->revision);
	c->writable[0x0c] = 0xff; /* cache line size: no effect in PCIe, but writable */
	init_bars(s);
	put16(c->bytes, 0x2c, opts->subsystem_vendor);
	put16(c->bytes, 0x2e, opts->subsystem);
	c->bytes[CAPABILITIES] = CAP_PM;
	c->writable[INTERRUPT_LINE] = 0xff;
	c->bytes[INTERRUPT_PIN] = opts->interrupt_pin;
	init_pm(c, CAP_PCIE);
	init_pcie(c, s->irqs.num_msix > 0 ? CAP_MSIX : caps);
	if (s->irqs.num_msix > 0)
		init_msix(c, s, caps);
	memcpy(c->defaults, c->bytes, sizeof(c->defaults));
}

static bool in_d3(const struct vfus_config *c)
{
	return (c->bytes[c->pm + PM_CONTROL] & PM_STATE) == PM_D3;
}

/* The command register in force has changed, if it has. */
static void update_command(struct bh_vfu_server *s)
{
	struct vfus_config *c = &s->config;
	uint32_t command = get16(c->bytes, COMMAND);

	if (in_d3(c)) /* no decoding, no DMA */
		command &= ~COMMAND_DECODE;
	if (command == c->command)
		return;
	__atomic_store_n(&c->command, command, __ATOMIC_RELEASE);
	if (s->ops->command)
		s->ops->command(s->ops_ctx, (uint16_t)command);
}

static void update_msix(struct bh_vfu_server *s)
{
	const struct vfus_config *c = &s->config;
	const uint32_t control = c->msix ? get16(c->bytes, c->msix + MSIX_CONTROL) : 0;

	/* Always: INTx depends on MSI-X and on the command register. */
	vfus_irqs_msix_control(s, control & MSIX_ENABLE, control & MSIX_FUNCTION_MASK);
}

void vfus_config_reset(struct bh_vfu_server *s)
{
	memcpy(s->config.bytes, s->config.defaults, sizeof(s->config.bytes));
	update_command(s);
	update_msix(s);
}

void vfus_config_read(struct bh_vfu_server *s, uint32_t offset, void *buf, size_t len)
{
	uint8_t *status = &s->config.bytes[STATUS];

	if (__atomic_load_n(&s->irqs.intx.asserted, __ATOMIC_RELAXED) != 0)
		*status |= STATUS_INTERRUPT;
	else
		*status &= (uint8_t)~STATUS_INTERRUPT;
	tell_caps(s, offset, len, false);
	memcpy(buf, s->config.bytes + offset, len);
}

enum vfus_reset_wish vfus_config_write(struct bh_vfu_server *s, uint32_t offset, const void *buf,
				       size_t len)
{
	struct vfus_config *c = &s->config;
	const unsigned int power_at = c->pm + PM_CONTROL;
	const unsigned int flr_at = c->pcie + PCIE_DEVICE_CONTROL + 1;
	const uint8_t *in = buf, old_power = c->bytes[power_at];
	const uint32_t old_command = get16(c->bytes, COMMAND);
	const uint32_t old_control = c->msix ? get16(c->bytes, c->msix + MSIX_CONTROL) : 0;
	uint8_t state;
	size_t i;

	for (i = 0; i < len; i++) {
		const uint8_t mask = c->writable[offset + i];

		c->bytes[offset + i] = (uint8_t)((c->bytes[offset + i] & ~mask) | (in[i] & mask));
	}
	state = c->bytes[power_at] & PM_STATE;
	if (state != PM_D0 && state != PM_D3) /* states we do not have: the write is ignored */
		c->bytes[power_at] = old_power;
	/* With a reset to follow nothing is told now: the command in force goes to 0 once. */
	if (offset <= flr_at && flr_at - offset < len && (in[flr_at - offset] & (PCIE_FLR >> 8)))
		return VFUS_WISH_FLR;
	if ((old_power & PM_STATE) == PM_D3 && !in_d3(c))
		return VFUS_WISH_D3;
	update_command(s);
	if (((old_command ^ get16(c->bytes, COMMAND)) & VFUS_COMMAND_INTX_OFF) ||
	    (c->msix && old_control != get16(c->bytes, c->msix + MSIX_CONTROL)))
		update_msix(s);
	tell_caps(s, offset, len, true);
	return VFUS_WISH_NONE;
}

uint16_t bh_vfu_server_command(const struct bh_vfu_server *s)
{
	return (uint16_t)__atomic_load_n(&s->config.command, __ATOMIC_ACQUIRE);
}

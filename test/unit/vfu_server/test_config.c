/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration space: identity, sizing, power, reset, the MSI-X BAR. */
#include "rig.h"

#define PM_CONTROL 0x44
#define DEVICE_CONTROL 0x58
#define MSIX_CONTROL 0x92

static uint32_t sized(uint64_t bar)
{
	const uint32_t ones = UINT32_MAX, zero = 0;
	uint32_t value;

	CU_ASSERT_EQUAL(rig_write(BH_PCI_CONFIG, bar, &ones, 4), 0);
	value = rig_config32(bar);
	CU_ASSERT_EQUAL(rig_write(BH_PCI_CONFIG, bar, &zero, 4), 0);
	return value;
}

static void header_names_the_device(void)
{
	uint8_t all[4096];

	CU_ASSERT_EQUAL(rig_read(BH_PCI_CONFIG, 0, all, sizeof(all)), 0);
	CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36);
	CU_ASSERT_EQUAL(rig_config32(4), 0x00100000);
	CU_ASSERT_EQUAL(rig_config32(8), 0x01080202);
	CU_ASSERT_EQUAL(rig_config32(0x2c), 0x11001af4);
	CU_ASSERT_EQUAL(all[0x0e], 0);
	CU_ASSERT_EQUAL(all[0x3d], 1);
	CU_ASSERT_EQUAL(all[0x34], 0x40);
	CU_ASSERT_EQUAL(rig_config32(0x100), 0);
}

static void capabilities_form_a_chain(void)
{
	uint8_t all[256], seen[3] = { 0 };
	unsigned int at, n = 0;

	CU_ASSERT_EQUAL(rig_read(BH_PCI_CONFIG, 0, all, sizeof(all)), 0);
	for (at = all[0x34]; at != 0 && n < 3; at = all[at + 1])
		seen[n++] = all[at];
	CU_ASSERT_EQUAL(at, 0);
	CU_ASSERT_EQUAL(seen[0], 0x01);
	CU_ASSERT_EQUAL(seen[1], 0x10);
	CU_ASSERT_EQUAL(seen[2], 0x11);
	CU_ASSERT_EQUAL(rig_config32(0x90) >> 16, RIG_VECTORS - 1);
	CU_ASSERT_EQUAL(rig_config32(0x94), RIG_MSIX_BAR);
	CU_ASSERT_EQUAL(rig_config32(0x98), 0x1000 | RIG_MSIX_BAR);
	CU_ASSERT(rig_config32(0x54) & 1u << 28);
}

static void bars_size_themselves(void)
{
	const uint64_t address = 0x123456789abcdef0;

	CU_ASSERT_EQUAL(rig_config32(0x10), 4);
	CU_ASSERT_EQUAL(sized(0x10), (uint32_t) ~(RIG_BAR0 - 1) | 4);
	CU_ASSERT_EQUAL(sized(0x14), UINT32_MAX);
	CU_ASSERT_EQUAL(sized(0x18), 0);
	CU_ASSERT_EQUAL(sized(0x1c), 0);
	CU_ASSERT_EQUAL(sized(0x20), 0xffffe000);
	CU_ASSERT_EQUAL(sized(0x24), 0);
	CU_ASSERT_EQUAL(sized(0x30), 0);
	CU_ASSERT_EQUAL(rig_write(BH_PCI_CONFIG, 0x10, &address, 8), 0);
	CU_ASSERT_EQUAL(rig_config32(0x10), (0x9abcdef0 & ~(RIG_BAR0 - 1)) | 4);
	CU_ASSERT_EQUAL(rig_config32(0x14), 0x12345678);
}

static void only_writable_bits_change(void)
{
	uint8_t before[256], ones[256], after[256];

	CU_ASSERT_EQUAL(rig_read(BH_PCI_CONFIG, 0, before, sizeof(before)), 0);
	memset(ones, 0xff, sizeof(ones));
	ones[DEVICE_CONTROL + 1] = 0x7f; /* not FLR */
	CU_ASSERT_EQUAL(rig_write(BH_PCI_CONFIG, 0, ones, sizeof(ones)), 0);
	CU_ASSERT_EQUAL(rig_read(BH_PCI_CONFIG, 0, after, sizeof(after)), 0);
	CU_ASSERT_EQUAL(memcmp(before, after, 4), 0);
	CU_ASSERT_EQUAL(after[4] | after[5] << 8, 0x0547);
	CU_ASSERT_EQUAL(memcmp(before + 6, after + 6, 6), 0);
	CU_ASSERT_EQUAL(memcmp(before + 0x28, after + 0x28, 0x14), 0);
	CU_ASSERT_EQUAL(after[0x3c], 0xff);
	CU_ASSERT_EQUAL(after[0x3d], 1);
	CU_ASSERT_EQUAL(after[MSIX_CONTROL] | after[MSIX_CONTROL + 1] << 8,
			0xc000 | (RIG_VECTORS - 1));
	CU_ASSERT_EQUAL(memcmp(before + 0x94, after + 0x94, 8), 0);
}

static void command_is_reported(void)
{
	rig_config_write16(4, 0x406); /* SPDK's */
	CU_ASSERT_EQUAL(rig.command, 0x406);
	CU_ASSERT_EQUAL(bh_vfu_server_command(rig.server), 0x406);
	rig_config_write16(4, 0x406);
	CU_ASSERT_EQUAL(rig.count[RIG_COMMAND], 1);
	rig_config_write16(4, 0);
	CU_ASSERT_EQUAL(rig.count[RIG_COMMAND], 2);
	CU_ASSERT_EQUAL(rig.command, 0);
}

static void leaving_d3_resets(void)
{
	rig_config_write16(4, 0x6);
	rig_config_write16(PM_CONTROL, 1); /* D1 is not there */
	CU_ASSERT_EQUAL(rig_config32(PM_CONTROL), 0);
	rig_config_write16(PM_CONTROL, 3);
	CU_ASSERT_EQUAL(rig_config32(PM_CONTROL), 3);
	CU_ASSERT_EQUAL(rig.command, 0); /* decodes nothing */
	CU_ASSERT_EQUAL(rig_config32(4) & 0xffff, 6);
	CU_ASSERT_EQUAL(rig.count[RIG_RESET], 0);
	rig_config_write16(PM_CONTROL, 0);
	CU_ASSERT_EQUAL(rig.count[RIG_RESET], 1);
	CU_ASSERT_EQUAL(rig.reset_reason, BH_RESET_D3);
	CU_ASSERT_EQUAL(rig_config32(4) & 0xffff, 0);
	CU_ASSERT_EQUAL(rig_config32(PM_CONTROL), 0);
	CU_ASSERT_STRING_EQUAL(rig.order, "+CCQXR");
}

static void flr_resets_after_quiesce(void)
{
	rig_config_write16(4, 0x6);
	rig_config_write16(DEVICE_CONTROL, 0x8000);
	CU_ASSERT_EQUAL(rig.reset_reason, BH_RESET_FLR);
	CU_ASSERT_EQUAL(rig_config32(4) & 0xffff, 0);
	CU_ASSERT_EQUAL(rig_config32(DEVICE_CONTROL) & 0xffff, 0x2810);
	CU_ASSERT_STRING_EQUAL(rig.order, "+CQCXR");
	CU_ASSERT_EQUAL(rig_write(BH_PCI_CONFIG, DEVICE_CONTROL + 1, "\x80", 1), 0);
	CU_ASSERT_EQUAL(rig.count[RIG_RESET], 2);
}

/* Hundreds of resets in one message must not nest. */
static void flr_in_write_multi(void)
{
	enum { COUNT = 20000 };
	const size_t len = 8 + COUNT * sizeof(struct vfu_write_multi_entry);
	struct vfu_write_multi_entry entry = {
		.offset = DEVICE_CONTROL + 1,
		.region = BH_PCI_CONFIG,
		.count = 1,
		.data = { 0x80 },
	};
	uint8_t *body = malloc(len);
	const uint64_t wr_cnt = COUNT;
	size_t i;

	memcpy(body, &wr_cnt, 8);
	for (i = 0; i < COUNT; i++)
		memcpy(body + 8 + i * sizeof(entry), &entry, sizeof(entry));
	CU_ASSERT_EQUAL(rig_call(VFU_REGION_WRITE_MULTI, body, len, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig.count[RIG_RESET], COUNT);
	free(body);
}

static void device_reset_restores_defaults(void)
{
	uint8_t before[4096], after[4096], junk[4096];

	CU_ASSERT_EQUAL(rig_read(BH_PCI_CONFIG, 0, before, sizeof(before)), 0);
	memset(junk, 0xff, sizeof(junk));
	junk[DEVICE_CONTROL + 1] = 0;
	CU_ASSERT_EQUAL(rig_write(BH_PCI_CONFIG, 0, junk, sizeof(junk)), 0);
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_RESET, NULL, 0, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig.reset_reason, BH_RESET_DEVICE);
	CU_ASSERT_EQUAL(rig_read(BH_PCI_CONFIG, 0, after, sizeof(after)), 0);
	CU_ASSERT_EQUAL(memcmp(before, after, sizeof(after)), 0);
}

static void next_client_finds_defaults(void)
{
	rig_config_write16(4, 0x406);
	rig_connect();
	rig_negotiate();
	CU_ASSERT_EQUAL(rig_config32(4) & 0xffff, 0);
	CU_ASSERT_EQUAL(bh_vfu_server_command(rig.server), 0);
}

static void msix_bar_is_the_servers(void)
{
	uint8_t table[RIG_VECTORS * 16], more[8192];

	CU_ASSERT_EQUAL(rig_read(RIG_MSIX_BAR, 0, table, sizeof(table)), 0);
	CU_ASSERT_EQUAL(table[12], 1); /* masked */
	CU_ASSERT_EQUAL(table[16 * (RIG_VECTORS - 1) + 12], 1);
	memset(table, 0x77, sizeof(table));
	CU_ASSERT_EQUAL(rig_write(RIG_MSIX_BAR, 16, table, 12), 0);
	CU_ASSERT_EQUAL(rig_read(RIG_MSIX_BAR, 0, more, sizeof(more)), 0);
	CU_ASSERT_EQUAL(more[15], 0);
	CU_ASSERT_EQUAL(more[16], 0x77);
	CU_ASSERT_EQUAL(more[27], 0x77);
	CU_ASSERT_EQUAL(more[28], 1);
	CU_ASSERT_EQUAL(rig_write(RIG_MSIX_BAR, 0x1000, table, 8), 0); /* PBA: ignored */
	CU_ASSERT_EQUAL(rig_read(RIG_MSIX_BAR, 0x1000, more, 8), 0);
	CU_ASSERT_EQUAL(more[0], 0);
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_RESET, NULL, 0, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig_read(RIG_MSIX_BAR, 16, more, 16), 0);
	CU_ASSERT_EQUAL(more[0], 0);
	CU_ASSERT_EQUAL(more[12], 1);
}

/* ---- capabilities of the device's own ---- */

static struct {
	unsigned int reads, writes, cap, offset;
	size_t len;
} told;

static void on_capability(void *ctx, unsigned int cap, uint8_t *bytes, unsigned int offset,
			  size_t len, bool write)
{
	(void)ctx;
	told.cap = cap;
	told.offset = offset;
	told.len = len;
	if (write)
		told.writes++;
	else
		told.reads++;
	if (cap == 1)
		bytes[5]++;
}

static void device_adds_capabilities(void)
{
	static const uint8_t first[6] = { 9, 0xff, 6, 1, 2, 3 }, second[8] = { 9, 0, 8 };
	static const uint8_t mask[8] = { 0xff, 0xff, 0, 0, 0xf0, 0, 0, 0 };
	struct bh_vfu_pci_cap caps[2] = { { first, NULL, 6 }, { second, mask, 8 } };
	static struct bh_vfu_ops ops; /* until teardown */
	struct bh_vfu_server *none;
	uint8_t all[256], byte = 0x5a;

	ops = *rig.opts.ops;
	ops.capability = on_capability;
	rig_disconnect();
	rig_stop();
	rig.opts.ops = &ops;
	rig.opts.caps = caps;
	rig.opts.num_caps = 2;
	rig_start();
	rig_connect();
	rig_negotiate();
	CU_ASSERT_EQUAL(rig_read(BH_PCI_CONFIG, 0, all, sizeof(all)), 0);
	CU_ASSERT_EQUAL(all[0x91], 0xa0);
	CU_ASSERT_EQUAL(memcmp(all + 0xa2, first + 2, 4), 0);
	CU_ASSERT_EQUAL(all[0xa1], 0xa8);
	CU_ASSERT_EQUAL(all[0xa8], 9);
	CU_ASSERT_EQUAL(all[0xa9], 0);
	CU_ASSERT_EQUAL(all[0xad], 1); /* told before it is read */
	CU_ASSERT_EQUAL(told.reads, 2);
	CU_ASSERT_EQUAL(told.len, 8);
	CU_ASSERT_EQUAL(rig_write(BH_PCI_CONFIG, 0xac, &byte, 1), 0);
	CU_ASSERT_EQUAL(told.writes, 1);
	CU_ASSERT_EQUAL(told.offset, 4);
	CU_ASSERT_EQUAL(told.len, 1);
	CU_ASSERT_EQUAL(rig_read(BH_PCI_CONFIG, 0xac, &byte, 1), 0);
	CU_ASSERT_EQUAL(byte, 0x50);
	CU_ASSERT_EQUAL(rig_write(BH_PCI_CONFIG, 0xa8, mask, 8), 0);
	CU_ASSERT_EQUAL(rig_read(BH_PCI_CONFIG, 0, all, sizeof(all)), 0);
	CU_ASSERT_EQUAL(all[0xa8] | all[0xa9] << 8, 9); /* id and link are nobody's to write */
	CU_ASSERT_EQUAL(rig_write(BH_PCI_CONFIG, 0xb0, &byte, 1), 0);
	CU_ASSERT_EQUAL(told.writes, 2);
	caps[0].len = 65;
	CU_ASSERT_EQUAL(bh_vfu_server_create(&rig.opts, &none), -EINVAL);
	caps[0].len = caps[1].len = 52; /* 104 of 96 bytes */
	CU_ASSERT_EQUAL(bh_vfu_server_create(&rig.opts, &none), -EINVAL);
}

BH_SUITE_FIXTURE("vfu_server_config", rig_setup, rig_teardown,
		 { "header_names_the_device", header_names_the_device },
		 { "capabilities_form_a_chain", capabilities_form_a_chain },
		 { "bars_size_themselves", bars_size_themselves },
		 { "only_writable_bits_change", only_writable_bits_change },
		 { "command_is_reported", command_is_reported },
		 { "leaving_d3_resets", leaving_d3_resets },
		 { "flr_resets_after_quiesce", flr_resets_after_quiesce },
		 { "flr_in_write_multi", flr_in_write_multi },
		 { "device_reset_restores_defaults", device_reset_restores_defaults },
		 { "next_client_finds_defaults", next_client_finds_defaults },
		 { "msix_bar_is_the_servers", msix_bar_is_the_servers },
		 { "device_adds_capabilities", device_adds_capabilities }, )

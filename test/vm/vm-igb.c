/* SPDX-License-Identifier: BSD-3-Clause */
/* The control path of the igb driver on QEMU's 82576, behind the kernel's VFIO. */
#include <stdio.h>
#include <string.h>

#include <bellhop/clock.h>

#include "net_igb/igb.h"
#include "vmtest.h"

#define QEMU_NAME "igb0"

static void set_link(bool up)
{
	FILE *console = fopen("/dev/console", "w");

	if (!console)
		return;
	fprintf(console,
		"@@ QMP {\"execute\":\"set_link\",\"arguments\":{\"name\":\"" QEMU_NAME
		"\",\"up\":%s}}\n",
		up ? "true" : "false");
	fclose(console);
}

static bool link_becomes(struct bh_igb_hw *hw, bool up)
{
	uint64_t end = bh_now_ns() + 20000000000ull;
	struct bh_igb_link link;

	do {
		bh__igb_link(hw, &link);
		if (link.up == up)
			return true;
		bh__igb_pause_us(10000);
	} while (bh_now_ns() < end);
	return vm_fail("the link does not come %s within 20 s", up ? "up" : "down");
}

static bool start(struct vm *vm, struct bh_igb_hw *hw)
{
	const struct bh_device_info *info = bh_device_info(vm->dev);
	int rc;

	*hw = (struct bh_igb_hw){ .dev = vm->dev,
				  .model = bh__igb_model_of(info->vendor, info->device) };
	if (!hw->model)
		return vm_fail("%04x:%04x is not a chip of ours", info->vendor, info->device);
	rc = bh__igb_hw_reset(hw);
	return rc == 0 || vm_fail("reset: error %d", -rc);
}

/* Twice: the second one finds what the first has left. */
static void comes_up(struct vm *vm)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0, 0, 1 };
	struct bh_igb_hw hw;
	uint16_t id1, id2;

	for (int round = 0; round < 2; round++) {
		if (!start(vm, &hw))
			return;
		VM_CHECK(memcmp(hw.mac, mac, 6) == 0);
		VM_CHECK(bh__igb_phy_read(&hw, IGB_PHY_ID1, &id1) == 0);
		VM_CHECK(bh__igb_phy_read(&hw, IGB_PHY_ID2, &id2) == 0);
		VM_CHECK(id1 != 0 && id1 != 0xffff && id2 != 0 && id2 != 0xffff);
		VM_CHECK(bh__igb_link_start(&hw) == 0);
		if (!link_becomes(&hw, true))
			return;
	}
}

static void link_follows_the_cable(struct vm *vm)
{
	struct bh_igb_link link;
	struct bh_igb_hw hw;

	if (!start(vm, &hw))
		return;
	VM_CHECK(bh__igb_link_start(&hw) == 0);
	if (!link_becomes(&hw, true))
		return;
	bh__igb_link(&hw, &link);
	VM_CHECK(link.mbps == 1000 && link.full_duplex);
	set_link(false);
	(void)link_becomes(&hw, false);
	set_link(true);
	(void)link_becomes(&hw, true);
}

static void settings_end_with_a_reset(struct vm *vm)
{
	struct bh_igb_hw hw;

	if (!start(vm, &hw))
		return;
	VM_CHECK(bh__igb_promiscuous_set(&hw, true, true) == 0);
	VM_CHECK(bh__igb_vlan_set(&hw, 77, true) == 0);
	VM_CHECK(bh__igb_read(&hw, IGB_VFTA(2)) == 1u << 13);
	VM_CHECK(bh__igb_hw_reset(&hw) == 0);
	VM_CHECK((bh__igb_read(&hw, IGB_RCTL) & (IGB_RCTL_UPE | IGB_RCTL_MPE)) == 0);
	VM_CHECK(bh__igb_error(&hw) == 0);
}

static const struct vm_case cases[] = {
	{ "comes_up", comes_up, false },
	{ "link_follows_the_cable", link_follows_the_cable, false },
	{ "settings_end_with_a_reset", settings_end_with_a_reset, false },
};

int main(int argc, char **argv)
{
	return vm_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}

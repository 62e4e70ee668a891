/* SPDX-License-Identifier: BSD-3-Clause */
/* The control path of the igb driver on a device that is honest, and on several that are not. */
#include <errno.h>
#include <string.h>

#include "fake_igb.h"
#include "unit.h"

static struct bh_dma_space *space;
static struct fake *f;
static struct bh_igb_hw hw;

static int open_device(uint16_t device)
{
	memset(&hw, 0, sizeof(hw));
	if (bh_dma_space_create(NULL, &space) || fake_open(device, space, NULL, &f))
		return -1;
	hw.dev = &f->dev;
	hw.model = bh__igb_model_of(0x8086, device);
	return hw.model == NULL;
}

static int setup(void)
{
	return open_device(0x10c9);
}

static int teardown(void)
{
	bh_device_close(hw.dev);
	bh_dma_space_destroy(space);
	return 0;
}

static void models_are_known(void)
{
	CU_ASSERT_STRING_EQUAL(bh__igb_model_of(0x8086, 0x10c9)->name, "82576");
	CU_ASSERT_STRING_EQUAL(bh__igb_model_of(0x8086, 0x1521)->name, "I350");
	CU_ASSERT_EQUAL(bh__igb_model_of(0x8086, 0x1533)->queues, 4);
	CU_ASSERT_EQUAL(bh__igb_model_of(0x8086, 0x1539)->queues, 2);
	CU_ASSERT_PTR_NULL(bh__igb_model_of(0x8086, 0x10d3));
	CU_ASSERT_PTR_NULL(bh__igb_model_of(0x1af4, 0x10c9));
}

static void reset_waits_for_the_bus(void)
{
	fake_put(f, IGB_RCTL, IGB_RCTL_RXEN);
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), 0);
	CU_ASSERT_EQUAL(f->resets, 1);
	CU_ASSERT_EQUAL(f->resets_with_master, 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_RCTL), 0);
}

static void reset_goes_on_where_the_bus_hangs(void)
{
	f->master_sticks = true;
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), 0);
	CU_ASSERT_EQUAL(f->resets_with_master, 1);
}

static void reset_that_does_not_end_is_etimedout(void)
{
	f->reset_sticks = true;
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), -ETIMEDOUT);
}

static void gone_is_enodev(void)
{
	f->gone = true;
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), -ENODEV);
	CU_ASSERT_EQUAL(bh__igb_link_start(&hw), -ENODEV);
	CU_ASSERT_EQUAL(bh__igb_stats_update(&hw), -ENODEV);
	CU_ASSERT_EQUAL(bh__igb_stat(&hw, "rx_good_packets"), 0);
}

static void serdes_is_enotsup(void)
{
	f->link_mode = 3;
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), -ENOTSUP);
}

static void mac_is_what_the_device_loaded(void)
{
	static const uint8_t want[6] = { 0x02, 0x10, 0x30, 0x55, 0x43, 0x21 };

	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), 0);
	CU_ASSERT_EQUAL(memcmp(hw.mac, want, 6), 0);
}

static void mac_is_read_where_the_device_did_not(void)
{
	static const uint8_t want[6] = { 0x02, 0x10, 0x30, 0x55, 0x43, 0x20 };

	f->no_autoload = true;
	f->lan_id = 1;
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), 0);
	CU_ASSERT_EQUAL(memcmp(hw.mac, want, 6), 0);
	CU_ASSERT_EQUAL(f->nvm_without_semaphore, 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_SW_FW_SYNC), 0);
}

static void mac_of_an_i350_port_is_its_own(void)
{
	static const uint8_t want[6] = { 0x02, 0x66, 1, 2, 3, 4 };

	teardown();
	CU_ASSERT_EQUAL_FATAL(open_device(0x1521), 0);
	f->no_autoload = true;
	f->lan_id = 2;
	memcpy(&f->nvm[0xc0], want, 6);
	fake_nvm_sum(f, 0xc0);
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), 0);
	CU_ASSERT_EQUAL(memcmp(hw.mac, want, 6), 0);
}

static void damaged_eeprom_is_eaddrnotavail(void)
{
	f->no_autoload = true;
	f->nvm[20] ^= 1;
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), -EADDRNOTAVAIL);
}

static void multicast_mac_is_not_believed(void)
{
	f->nvm[0] |= 1;
	fake_nvm_sum(f, 0);
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), -EADDRNOTAVAIL);
}

static void link_is_negotiated(void)
{
	struct bh_igb_link link;

	f->phy[IGB_PHY_CONTROL] = IGB_PHY_CONTROL_POWER_DOWN;
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), 0);
	CU_ASSERT_EQUAL(bh__igb_link_start(&hw), 0);
	CU_ASSERT_EQUAL(f->phy[IGB_PHY_CONTROL], IGB_PHY_CONTROL_AUTONEG | IGB_PHY_CONTROL_RESTART);
	CU_ASSERT(f->phy[IGB_PHY_1000T] & IGB_PHY_1000T_FD);
	CU_ASSERT(fake_get(f, IGB_CTRL) & IGB_CTRL_SLU);
	CU_ASSERT_EQUAL(f->phy_without_semaphore, 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_SWSM), 0);
	bh__igb_link(&hw, &link);
	CU_ASSERT(link.up && link.full_duplex);
	CU_ASSERT_EQUAL(link.mbps, 1000);
	fake_put(f, IGB_STATUS, fake_get(f, IGB_STATUS) & ~IGB_STATUS_LU);
	bh__igb_link(&hw, &link);
	CU_ASSERT(!link.up);
}

static void phy_that_errs_is_eio(void)
{
	uint16_t value;

	f->phy_error = true;
	CU_ASSERT_EQUAL(bh__igb_phy_read(&hw, IGB_PHY_ID1, &value), -EIO);
	CU_ASSERT_EQUAL(value, 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_SW_FW_SYNC), 0);
}

static void phy_that_is_silent_is_etimedout(void)
{
	uint16_t value;

	f->phy_silent = true;
	CU_ASSERT_EQUAL(bh__igb_phy_read(&hw, IGB_PHY_ID1, &value), -ETIMEDOUT);
	CU_ASSERT_EQUAL(fake_get(f, IGB_SW_FW_SYNC), 0);
}

static void phy_of_the_firmware_is_ebusy(void)
{
	uint16_t value;

	f->firmware_has_phy = true;
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), 0);
	CU_ASSERT_EQUAL(bh__igb_phy_read(&hw, IGB_PHY_ID1, &value), -EBUSY);
	CU_ASSERT_EQUAL(f->phy_without_semaphore, 0);
}

static void semaphore_of_the_dead_is_taken_over(void)
{
	uint16_t value;

	f->smbi_taken = true;
	f->phy[IGB_PHY_ID1] = 0x141;
	CU_ASSERT_EQUAL(bh__igb_hw_reset(&hw), 0);
	CU_ASSERT_EQUAL(bh__igb_phy_read(&hw, IGB_PHY_ID1, &value), 0);
	CU_ASSERT_EQUAL(value, 0x141);
}

static void multicast_beyond_the_exact_ones_is_hashed(void)
{
	uint8_t list[17][6] = { { 0 } };
	unsigned int bits = 0;

	for (unsigned int i = 0; i < 17; i++) {
		list[i][0] = 1;
		list[i][4] = (uint8_t)(i << 4);
		list[i][5] = (uint8_t)i;
	}
	CU_ASSERT_EQUAL(bh__igb_multicast_set(&hw, (const uint8_t(*)[6])list, 17), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_RAH(15)), 0x0ee0u | IGB_RAH_AV);
	for (unsigned int i = 0; i < IGB_MTA_COUNT; i++)
		bits += (unsigned int)__builtin_popcount(fake_get(f, IGB_MTA(i)));
	CU_ASSERT_EQUAL(bits, 2);
	/* 47:36 of the address: 0x10 in byte 5, 0 in byte 4's upper half */
	CU_ASSERT(fake_get(f, IGB_MTA(0x100 / 32)) & 1);
	CU_ASSERT_EQUAL(bh__igb_multicast_set(&hw, NULL, 0), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_RAH(15)), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_MTA(0x100 / 32)), 0);
	list[3][0] = 2;
	CU_ASSERT_EQUAL(bh__igb_multicast_set(&hw, (const uint8_t(*)[6])list, 4), -EINVAL);
}

static void addresses_are_checked(void)
{
	static const uint8_t good[6] = { 2, 0, 0, 0, 0, 9 }, group[6] = { 1, 0, 0, 0, 0, 9 },
			     zero[6] = { 0 };

	CU_ASSERT_EQUAL(bh__igb_mac_set(&hw, good), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_RAL(0)), 2);
	CU_ASSERT_EQUAL(fake_get(f, IGB_RAH(0)), 0x0900u | IGB_RAH_AV);
	CU_ASSERT_EQUAL(bh__igb_mac_set(&hw, group), -EINVAL);
	CU_ASSERT_EQUAL(bh__igb_mac_set(&hw, zero), -EINVAL);
}

static void vlans_come_and_go(void)
{
	CU_ASSERT_EQUAL(bh__igb_vlan_set(&hw, 4095, true), 0);
	CU_ASSERT_EQUAL(bh__igb_vlan_set(&hw, 33, true), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_VFTA(127)), 1u << 31);
	CU_ASSERT_EQUAL(fake_get(f, IGB_VFTA(1)), 2);
	CU_ASSERT_EQUAL(bh__igb_vlan_set(&hw, 33, false), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_VFTA(1)), 0);
	CU_ASSERT_EQUAL(bh__igb_vlan_set(&hw, 4096, true), -EINVAL);
	CU_ASSERT_EQUAL(bh__igb_vlan_filter(&hw, true), 0);
	CU_ASSERT(fake_get(f, IGB_RCTL) & IGB_RCTL_VFE);
	CU_ASSERT_EQUAL(bh__igb_vlan_clear(&hw), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_VFTA(127)), 0);
}

static void receive_modes(void)
{
	CU_ASSERT_EQUAL(bh__igb_promiscuous_set(&hw, true, false), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_RCTL), IGB_RCTL_UPE | IGB_RCTL_MPE);
	CU_ASSERT_EQUAL(bh__igb_promiscuous_set(&hw, false, true), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_RCTL), IGB_RCTL_MPE);
	CU_ASSERT_EQUAL(bh__igb_promiscuous_set(&hw, false, false), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_RCTL), 0);
	CU_ASSERT_EQUAL(bh__igb_frame_most_set(&hw, 9014), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_RLPML), 9014 + 4 + 8);
	CU_ASSERT_EQUAL(bh__igb_frame_most_set(&hw, 9725), -EINVAL);
}

static void table_and_key_are_written(void)
{
	uint8_t table[IGB_RETA_ENTRIES];

	for (unsigned int i = 0; i < sizeof(table); i++)
		table[i] = (uint8_t)(i % 4);
	CU_ASSERT_EQUAL(bh__igb_rss_set(&hw, IGB_MRQC_IPV4, bh__igb_rss_default_key, table, 4), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_RETA(31)), 0x03020100);
	CU_ASSERT_EQUAL(fake_get(f, IGB_RSSRK(0)), 0xda565a6d);
	CU_ASSERT_EQUAL(fake_get(f, IGB_MRQC), IGB_MRQC_RSS | IGB_MRQC_IPV4);
	CU_ASSERT_EQUAL(bh__igb_rss_set(&hw, IGB_MRQC_IPV4, bh__igb_rss_default_key, table, 3),
			-EINVAL);
	CU_ASSERT_EQUAL(bh__igb_rss_set(&hw, 0, bh__igb_rss_default_key, table, 4), 0);
	CU_ASSERT_EQUAL(fake_get(f, IGB_MRQC), 0);
}

static void statistics_add_up(void)
{
	fake_put(f, 0x4074, 5);
	fake_put(f, 0x4088, 0xfffffff0);
	fake_put(f, 0x408c, 1);
	CU_ASSERT_EQUAL(bh__igb_stats_update(&hw), 0);
	fake_put(f, 0x4074, 7);
	CU_ASSERT_EQUAL(bh__igb_stats_update(&hw), 0);
	CU_ASSERT_EQUAL(bh__igb_stat(&hw, "rx_good_packets"), 12);
	CU_ASSERT_EQUAL(bh__igb_stat(&hw, "rx_good_bytes"), 0x1fffffff0ull);
	fake_put(f, 0x4074, 7);
	bh__igb_stats_clear(&hw);
	CU_ASSERT_EQUAL(bh__igb_stat(&hw, "rx_good_packets"), 0);
	CU_ASSERT_PTR_NULL(bh__igb_stats_name(bh__igb_stats_count()));
}

BH_SUITE_FIXTURE("igb_hw", setup, teardown, { "models_are_known", models_are_known },
		 { "reset_waits_for_the_bus", reset_waits_for_the_bus },
		 { "reset_goes_on_where_the_bus_hangs", reset_goes_on_where_the_bus_hangs },
		 { "reset_that_does_not_end_is_etimedout", reset_that_does_not_end_is_etimedout },
		 { "gone_is_enodev", gone_is_enodev }, { "serdes_is_enotsup", serdes_is_enotsup },
		 { "mac_is_what_the_device_loaded", mac_is_what_the_device_loaded },
		 { "mac_is_read_where_the_device_did_not", mac_is_read_where_the_device_did_not },
		 { "mac_of_an_i350_port_is_its_own", mac_of_an_i350_port_is_its_own },
		 { "damaged_eeprom_is_eaddrnotavail", damaged_eeprom_is_eaddrnotavail },
		 { "multicast_mac_is_not_believed", multicast_mac_is_not_believed },
		 { "link_is_negotiated", link_is_negotiated },
		 { "phy_that_errs_is_eio", phy_that_errs_is_eio },
		 { "phy_that_is_silent_is_etimedout", phy_that_is_silent_is_etimedout },
		 { "phy_of_the_firmware_is_ebusy", phy_of_the_firmware_is_ebusy },
		 { "semaphore_of_the_dead_is_taken_over", semaphore_of_the_dead_is_taken_over },
		 { "multicast_beyond_the_exact_ones_is_hashed",
		   multicast_beyond_the_exact_ones_is_hashed },
		 { "addresses_are_checked", addresses_are_checked },
		 { "vlans_come_and_go", vlans_come_and_go }, { "receive_modes", receive_modes },
		 { "table_and_key_are_written", table_and_key_are_written },
		 { "statistics_add_up", statistics_add_up }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which chip it is, resets, the semaphores shared with the firmware, and the MAC address
 * (82576 datasheet 4.2, 4.5, 4.6).
 *
 * A reset is done by the book: interrupts are masked, receiving and transmitting end, the device is
 * told to start no more requests on the bus and those under way are waited for (5.2.3.3: a reset in
 * the midst of one may hang the bus), and only then is it reset. Afterwards it has no ring address,
 * so rings and buffers may be freed.
 */
#include <errno.h>
#include <string.h>

#include "net_igb/igb.h"

#define MASTER_MS 100
#define RESET_MS 100
#define NVM_MS 100
#define CFG_MS 200
#define SEMAPHORE_MS 1000

static const struct bh_igb_model m82576 = { "82576", 8, false, true, false };
static const struct bh_igb_model m82580 = { "82580", 8, true, false, true };
static const struct bh_igb_model i350 = { "I350", 8, true, false, true };
static const struct bh_igb_model i354 = { "I354", 8, true, false, true };
static const struct bh_igb_model i210 = { "I210", 4, false, false, true };
static const struct bh_igb_model i211 = { "I211", 2, false, false, true };

static const struct {
	uint16_t device;
	const struct bh_igb_model *model;
} ids[] = {
	{ 0x10c9, &m82576 }, { 0x10e6, &m82576 }, { 0x10e7, &m82576 }, { 0x10e8, &m82576 },
	{ 0x1526, &m82576 }, { 0x150a, &m82576 }, { 0x1518, &m82576 }, { 0x150d, &m82576 },
	{ 0x150e, &m82580 }, { 0x150f, &m82580 }, { 0x1510, &m82580 }, { 0x1511, &m82580 },
	{ 0x1516, &m82580 }, { 0x1527, &m82580 }, { 0x1521, &i350 },   { 0x1522, &i350 },
	{ 0x1523, &i350 },   { 0x1524, &i350 },	  { 0x1533, &i210 },   { 0x1536, &i210 },
	{ 0x1537, &i210 },   { 0x1538, &i210 },	  { 0x157b, &i210 },   { 0x157c, &i210 },
	{ 0x1539, &i211 },   { 0x1f40, &i354 },	  { 0x1f41, &i354 },   { 0x1f45, &i354 },
};

const struct bh_igb_model *bh__igb_model_of(uint16_t vendor, uint16_t device)
{
	for (size_t i = 0; vendor == 0x8086 && i < sizeof(ids) / sizeof(ids[0]); i++) {
		if (ids[i].device == device)
			return ids[i].model;
	}
	return NULL;
}

/* SWSM.SMBI keeps the drivers of other ports out, SWESMBI the firmware (4.6.1). */
static bool take_semaphore(struct bh_igb_hw *hw)
{
	if (!bh__igb_wait(hw, IGB_SWSM, IGB_SWSM_SMBI, 0, SEMAPHORE_MS)) {
		/* Nobody keeps it this long: its last owner died. */
		bh__igb_log(hw, BH_LOG_WARN,
			    "the semaphore of a driver that is gone is taken over");
		bh__igb_modify(hw, IGB_SWSM, IGB_SWSM_SMBI | IGB_SWSM_SWESMBI, 0);
	}
	for (unsigned int i = 0; i < SEMAPHORE_MS && !hw->error; i++) {
		bh__igb_modify(hw, IGB_SWSM, 0, IGB_SWSM_SWESMBI);
		if (bh__igb_read(hw, IGB_SWSM) & IGB_SWSM_SWESMBI)
			return !hw->error;
		bh__igb_pause_us(1000);
	}
	bh__igb_modify(hw, IGB_SWSM, IGB_SWSM_SMBI | IGB_SWSM_SWESMBI, 0);
	return false;
}

static void give_semaphore(struct bh_igb_hw *hw)
{
	bh__igb_modify(hw, IGB_SWSM, IGB_SWSM_SMBI | IGB_SWSM_SWESMBI, 0);
}

int bh__igb_acquire(struct bh_igb_hw *hw, uint32_t what)
{
	for (unsigned int i = 0; i < SEMAPHORE_MS / 5; i++) {
		uint32_t sync;
		bool free;

		if (!take_semaphore(hw))
			break;
		sync = bh__igb_read(hw, IGB_SW_FW_SYNC);
		free = !(sync & (what | what << IGB_SYNC_FW_SHIFT));
		if (free)
			bh__igb_write(hw, IGB_SW_FW_SYNC, sync | what);
		give_semaphore(hw);
		if (hw->error)
			return bh__igb_error(hw);
		if (free)
			return 0;
		bh__igb_pause_us(5000);
	}
	if (hw->error)
		return bh__igb_error(hw);
	bh__igb_log(hw, BH_LOG_ERROR, "the firmware keeps the %s to itself",
		    what == IGB_SYNC_EEPROM ? "EEPROM" : "PHY");
	return -EBUSY;
}

void bh__igb_release(struct bh_igb_hw *hw, uint32_t what)
{
	if (take_semaphore(hw))
		bh__igb_modify(hw, IGB_SW_FW_SYNC, what, 0);
	give_semaphore(hw);
}

/* One word of the EEPROM (EERD), which the caller has acquired. */
static bool read_word(struct bh_igb_hw *hw, unsigned int word, uint16_t *value)
{
	bh__igb_write(hw, IGB_EERD, word << IGB_EERD_ADDR_SHIFT | IGB_EERD_START);
	if (!bh__igb_wait(hw, IGB_EERD, IGB_EERD_DONE, IGB_EERD_DONE, NVM_MS))
		return false;
	*value = (uint16_t)(bh__igb_read(hw, IGB_EERD) >> IGB_EERD_DATA_SHIFT);
	return !hw->error;
}

static bool valid(const uint8_t mac[6])
{
	static const uint8_t zero[6];

	return !(mac[0] & 1) && memcmp(mac, zero, 6) != 0;
}

/* The address the device loaded into its first filter by itself (4.5.9: RAL0, RAH0). */
static bool loaded_mac(struct bh_igb_hw *hw, uint8_t mac[6])
{
	uint32_t low = bh__igb_read(hw, IGB_RAL(0)), high = bh__igb_read(hw, IGB_RAH(0));

	for (unsigned int i = 0; i < 6; i++)
		mac[i] = (uint8_t)(i < 4 ? low >> 8 * i : high >> 8 * (i - 4));
	return !hw->error && (high & IGB_RAH_AV) && valid(mac);
}

/*
 * The same from the EEPROM, for a device that did not. The words of a 82576 are the first port's;
 * the second's differs in the last bit.
 */
static bool eeprom_mac(struct bh_igb_hw *hw, uint8_t mac[6])
{
	unsigned int base = hw->model->port_words ? IGB_NVM_PORT(hw->function) : 0;
	uint16_t sum = 0, word = 0;
	bool good = true;

	if (!(bh__igb_read(hw, IGB_EECD) & IGB_EECD_PRES) || bh__igb_acquire(hw, IGB_SYNC_EEPROM))
		return false;
	for (unsigned int i = 0; i < IGB_NVM_SUM_WORDS && good; i++) {
		good = read_word(hw, base + i, &word);
		sum = (uint16_t)(sum + word);
		if (i < 3) {
			mac[2 * i] = (uint8_t)word;
			mac[2 * i + 1] = (uint8_t)(word >> 8);
		}
	}
	bh__igb_release(hw, IGB_SYNC_EEPROM);
	if (good && sum != IGB_NVM_SUM)
		bh__igb_log(hw, BH_LOG_ERROR, "the EEPROM's checksum is wrong (%04x)", sum);
	if (!hw->model->port_words && hw->function)
		mac[5] ^= 1;
	return good && sum == IGB_NVM_SUM && valid(mac);
}

static int find_mac(struct bh_igb_hw *hw)
{
	int rc;

	if (loaded_mac(hw, hw->mac) || eeprom_mac(hw, hw->mac))
		return bh__igb_error(hw);
	rc = bh__igb_error(hw);
	if (rc)
		return rc;
	bh__igb_log(hw, BH_LOG_ERROR, "no MAC address in it: the EEPROM is empty or damaged");
	return -EADDRNOTAVAIL;
}

static void silence(struct bh_igb_hw *hw)
{
	bh__igb_write(hw, IGB_IMC, UINT32_MAX);
	bh__igb_write(hw, IGB_EIMC, UINT32_MAX);
	(void)bh__igb_read(hw, IGB_ICR);
}

/* 4.2.1.6.1 and 5.2.3.3 */
static void stop_master(struct bh_igb_hw *hw)
{
	bh__igb_write(hw, IGB_RCTL, 0);
	bh__igb_write(hw, IGB_TCTL, IGB_TCTL_PSP);
	bh__igb_modify(hw, IGB_CTRL, 0, IGB_CTRL_MASTER_DISABLE);
	if (!bh__igb_wait(hw, IGB_STATUS, IGB_STATUS_MASTER_ENABLED, 0, MASTER_MS) && !hw->error)
		bh__igb_log(hw, BH_LOG_WARN, "requests of the device are outstanding at its reset");
}

int bh__igb_hw_halt(struct bh_igb_hw *hw)
{
	int rc;

	(void)bh__igb_error(hw);
	silence(hw);
	stop_master(hw);
	bh__igb_modify(hw, IGB_CTRL, 0, IGB_CTRL_RST);
	/* No access within 1 ms of the reset (4.2.1). */
	bh__igb_pause_us(2000);
	if (!hw->error && !bh__igb_wait(hw, IGB_CTRL, IGB_CTRL_RST, 0, RESET_MS)) {
		rc = bh__igb_error(hw);
		bh__igb_log(hw, BH_LOG_ERROR, "its reset does not end");
		return rc ? rc : -ETIMEDOUT;
	}
	/* Interrupts are masked after a reset, but a cause may have been set meanwhile (4.5.4). */
	silence(hw);
	return bh__igb_error(hw);
}

/* The device has read its EEPROM, and the firmware has set up the PHY. */
static void wait_ready(struct bh_igb_hw *hw)
{
	if (!bh__igb_wait(hw, IGB_EECD, IGB_EECD_AUTO_RD, IGB_EECD_AUTO_RD, RESET_MS) && !hw->error)
		bh__igb_log(hw, BH_LOG_DEBUG, "the EEPROM was not read after the reset");
	hw->function = IGB_STATUS_LAN_ID(bh__igb_read(hw, IGB_STATUS));
	if (!bh__igb_wait(hw, IGB_EEMNGCTL, IGB_EEMNGCTL_CFG_DONE(hw->function),
			  IGB_EEMNGCTL_CFG_DONE(hw->function), CFG_MS) &&
	    !hw->error)
		bh__igb_log(hw, BH_LOG_DEBUG, "no word from the firmware that the PHY is set up");
}

int bh__igb_hw_reset(struct bh_igb_hw *hw)
{
	int rc = bh__igb_hw_halt(hw);
	uint32_t mode;

	if (rc)
		return rc;
	wait_ready(hw);
	mode = IGB_CTRL_EXT_LINK_MODE(bh__igb_read(hw, IGB_CTRL_EXT));
	rc = bh__igb_error(hw);
	if (!rc && mode != IGB_LINK_MODE_COPPER) {
		bh__igb_log(hw, BH_LOG_ERROR,
			    "a port with link mode %u (SerDes or SGMII): only copper is driven",
			    mode);
		rc = -ENOTSUP;
	}
	return rc ? rc : find_mac(hw);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The copper PHY behind MDIC, and the link (82576 datasheet 3.5, 4.5.7).
 *
 * The MAC takes speed and duplex from the PHY by itself (CTRL.FRCSPD and FRCDPX clear); software
 * starts negotiation and reads the outcome from STATUS. The PHY keeps its settings over resets of
 * the MAC, so what a previous driver left (powered down, forced) is put right here.
 */
#include <errno.h>

#include "net_igb/igb.h"

#define PHY_ADDRESS 1u
#define MDIC_MS 10

static int transfer(struct bh_igb_hw *hw, uint32_t command, unsigned int reg, uint32_t *result)
{
	uint32_t phy = hw->model->phy_by_mdic ? PHY_ADDRESS << IGB_MDIC_PHY_SHIFT : 0;
	bool ready;
	int rc;

	rc = bh__igb_acquire(hw, IGB_SYNC_PHY(hw->function));
	if (rc)
		return rc;
	bh__igb_write(hw, IGB_MDIC, command | phy | reg << IGB_MDIC_REG_SHIFT);
	ready = bh__igb_wait(hw, IGB_MDIC, IGB_MDIC_READY, IGB_MDIC_READY, MDIC_MS);
	*result = bh__igb_read(hw, IGB_MDIC);
	rc = bh__igb_error(hw);
	bh__igb_release(hw, IGB_SYNC_PHY(hw->function));
	if (!rc)
		rc = bh__igb_error(hw);
	if (!rc && !ready)
		rc = -ETIMEDOUT;
	if (!rc && (*result & IGB_MDIC_ERROR))
		rc = -EIO;
	if (rc)
		bh__igb_log(hw, BH_LOG_ERROR, "the PHY does not answer (register %u, error %d)",
			    reg, -rc);
	return rc;
}

int bh__igb_phy_read(struct bh_igb_hw *hw, unsigned int reg, uint16_t *value)
{
	uint32_t result;
	int rc = transfer(hw, IGB_MDIC_READ, reg, &result);

	*value = rc ? 0 : (uint16_t)result;
	return rc;
}

int bh__igb_phy_write(struct bh_igb_hw *hw, unsigned int reg, uint16_t value)
{
	uint32_t result;

	return transfer(hw, IGB_MDIC_WRITE | value, reg, &result);
}

static int advertise(struct bh_igb_hw *hw)
{
	uint16_t have;
	int rc = bh__igb_phy_read(hw, IGB_PHY_ADVERTISE, &have);

	/* No pause frames: what does not fit is dropped and counted, senders are not held up. */
	if (!rc)
		rc = bh__igb_phy_write(
			hw, IGB_PHY_ADVERTISE,
			(uint16_t)((have & ~IGB_PHY_ADVERTISE_PAUSE) | IGB_PHY_ADVERTISE_ALL));
	if (!rc)
		rc = bh__igb_phy_read(hw, IGB_PHY_1000T, &have);
	if (!rc)
		rc = bh__igb_phy_write(hw, IGB_PHY_1000T, have | IGB_PHY_1000T_FD);
	return rc;
}

int bh__igb_link_start(struct bh_igb_hw *hw)
{
	uint16_t control;
	int rc;

	bh__igb_modify(hw, IGB_CTRL,
		       IGB_CTRL_FRCSPD | IGB_CTRL_FRCDPX | IGB_CTRL_RFCE | IGB_CTRL_TFCE,
		       IGB_CTRL_SLU);
	rc = bh__igb_error(hw);
	if (!rc)
		rc = advertise(hw);
	if (!rc)
		rc = bh__igb_phy_read(hw, IGB_PHY_CONTROL, &control);
	if (!rc)
		rc = bh__igb_phy_write(hw, IGB_PHY_CONTROL,
				       (uint16_t)((control & ~IGB_PHY_CONTROL_POWER_DOWN) |
						  IGB_PHY_CONTROL_AUTONEG |
						  IGB_PHY_CONTROL_RESTART));
	return rc;
}

void bh__igb_link(struct bh_igb_hw *hw, struct bh_igb_link *link)
{
	static const uint32_t mbps[4] = { 10, 100, 1000, 1000 };
	uint32_t status = bh__igb_read(hw, IGB_STATUS);

	*link = (struct bh_igb_link){ 0 };
	if (bh__igb_error(hw) || !(status & IGB_STATUS_LU))
		return;
	link->up = true;
	link->full_duplex = status & IGB_STATUS_FD;
	link->mbps = mbps[IGB_STATUS_SPEED(status)];
}

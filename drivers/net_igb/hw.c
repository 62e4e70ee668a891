/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Register access on the control path.
 *
 * A failure sticks until somebody asks (bh_igb_error), so that a sequence of dozens of writes reads
 * as the datasheet's list of them and is checked at its end. No register read here is all ones on a
 * device that works; when one is, the device is asked for by its configuration space.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <bellhop/clock.h>

#include "net_igb/igb.h"

void bh__igb_log(struct bh_igb_hw *hw, enum bh_log_level level, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bh_log(bh_device_log(hw->dev), level, "net_igb", "%s: %s", bh_device_name(hw->dev), text);
}

static void failed(struct bh_igb_hw *hw, uint32_t reg, int rc)
{
	if (hw->error)
		return;
	hw->error = rc == -ENODEV || rc == -ETIMEDOUT ? rc : -EIO;
	bh__igb_log(hw, BH_LOG_ERROR, "register %04x: %s", reg,
		    rc == -ENODEV ? "the device is gone" : "the device refuses");
}

uint32_t bh__igb_read(struct bh_igb_hw *hw, uint32_t reg)
{
	uint32_t value;
	int rc = bh_device_region_read(hw->dev, 0, reg, &value, sizeof(value));

	if (!rc && value == UINT32_MAX && !bh_device_check(hw->dev))
		rc = -ENODEV;
	if (!rc)
		return value;
	failed(hw, reg, rc);
	return UINT32_MAX;
}

void bh__igb_write(struct bh_igb_hw *hw, uint32_t reg, uint32_t value)
{
	int rc = bh_device_region_write(hw->dev, 0, reg, &value, sizeof(value));

	if (rc)
		failed(hw, reg, rc);
}

void bh__igb_modify(struct bh_igb_hw *hw, uint32_t reg, uint32_t clear, uint32_t set)
{
	bh__igb_write(hw, reg, (bh__igb_read(hw, reg) & ~clear) | set);
}

void bh__igb_pause_us(unsigned int us)
{
	struct timespec t = { us / 1000000, (long)(us % 1000000) * 1000 };

	nanosleep(&t, NULL);
}

bool bh__igb_wait(struct bh_igb_hw *hw, uint32_t reg, uint32_t mask, uint32_t value,
		  unsigned int limit_ms)
{
	uint64_t end = bh_now_ns() + limit_ms * 1000000ull;
	unsigned int pause = 10;
	bool late = false;

	for (;;) {
		if ((bh__igb_read(hw, reg) & mask) == value && !hw->error)
			return true;
		if (hw->error || late)
			return false;
		bh__igb_pause_us(pause);
		if (pause < 1000)
			pause *= 2;
		late = bh_now_ns() > end;
	}
}

int bh__igb_error(struct bh_igb_hw *hw)
{
	int rc = hw->error;

	hw->error = 0;
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controller registers: enabling, disabling, shutting down (NVM Express 2.0, 3.5 and 3.6).
 *
 * Every wait has the limit the controller states: CAP.TO, or CRTO where it has one; RTD3E for a
 * shutdown.
 *
 * A device that was pulled out reads as all ones, or, behind some bridges and under QEMU, as zeros.
 * All ones are in no register that is read here. Zero is a status like others, so where it is not
 * what is waited for, or ends a wait too easily, configuration space is asked.
 */
#include <errno.h>
#include <time.h>

#include "nvme/nvme.h"

#define TO_UNIT_NS 500000000ull
#define SHUTDOWN_NS 5000000000ull /* where RTD3E is 0 */

static int read32(struct bh_nvme *nvme, uint64_t offset, uint32_t *value)
{
	int rc = bh_device_region_read(nvme->dev, 0, offset, value, sizeof(*value));

	if (!rc && *value == UINT32_MAX) {
		(void)bh_device_check(nvme->dev);
		rc = -ENODEV;
	}
	if (rc)
		bh__log(nvme, BH_LOG_ERROR, "reading register %02llx: %s",
			(unsigned long long)offset,
			rc == -ENODEV ? "the device is gone" : "the device refuses");
	return rc == -ENODEV || rc == -ETIMEDOUT || !rc ? rc : -EIO;
}

static int write_reg(struct bh_nvme *nvme, uint64_t offset, const void *value, size_t len)
{
	int rc = bh_device_region_write(nvme->dev, 0, offset, value, len);

	if (rc)
		bh__log(nvme, BH_LOG_ERROR, "writing register %02llx failed: error %d",
			(unsigned long long)offset, -rc);
	return rc == -ENODEV || rc == -ETIMEDOUT || !rc ? rc : -EIO;
}

static int write_cc(struct bh_nvme *nvme, uint32_t cc)
{
	nvme->cc = cc;
	return write_reg(nvme, BH_NVME_REG_CC, &cc, sizeof(cc));
}

int bh__ctrl_bus_on(struct bh_nvme *nvme)
{
	int rc = bh_device_bus_master(nvme->dev, true);

	return rc ? rc : bh_device_pin_off(nvme->dev);
}

int bh__ctrl_read_caps(struct bh_nvme *nvme)
{
	uint32_t css, mpsmin;
	int rc;

	rc = bh_device_region_read(nvme->dev, 0, BH_NVME_REG_CAP, &nvme->cap, sizeof(nvme->cap));
	if (!rc && (!nvme->cap || nvme->cap == UINT64_MAX) &&
	    (!bh_device_check(nvme->dev) || nvme->cap == UINT64_MAX))
		rc = -ENODEV;
	if (rc) {
		bh__log(nvme, BH_LOG_ERROR, "the controller's registers cannot be read (error %d)",
			-rc);
		return rc == -ENODEV || rc == -ETIMEDOUT ? rc : -EIO;
	}
	rc = read32(nvme, BH_NVME_REG_VS, &nvme->vs);
	if (rc)
		return rc;
	css = (uint32_t)BH_NVME_GET(nvme->cap, CAP_CSS);
	mpsmin = (uint32_t)BH_NVME_GET(nvme->cap, CAP_MPSMIN);
	if (!(css & (BH_NVME_CAP_CSS_NVM | BH_NVME_CAP_CSS_IOCS))) {
		bh__log(nvme, BH_LOG_ERROR, "no NVM command set (CAP.CSS %02x)", css);
		return -ENOTSUP;
	}
	if (nvme->page_size && nvme->page_size != 4096u << mpsmin) {
		bh__log(nvme, BH_LOG_ERROR, "the smallest page became %u bytes, was %u",
			4096u << mpsmin, nvme->page_size);
		return -ENOTSUP;
	}
	if (mpsmin > 4) {
		bh__log(nvme, BH_LOG_ERROR, "the smallest page is 2^%u bytes, 64 KiB is our most",
			12 + mpsmin);
		return -ENOTSUP;
	}
	nvme->page_size = 4096u << mpsmin;
	nvme->dstrd = (unsigned int)BH_NVME_GET(nvme->cap, CAP_DSTRD);
	nvme->max_depth = (unsigned int)BH_NVME_GET(nvme->cap, CAP_MQES) + 1;
	if (nvme->max_depth < 2) {
		bh__log(nvme, BH_LOG_ERROR, "CAP.MQES is 0: no queue has one entry");
		return -ENOTSUP;
	}
	return 0;
}

/* Ready timeout: CAP.TO, or CRTO.CRWMT where the controller has it (3.1.4.1, 3.1.4.24). */
static uint64_t ready_ns(struct bh_nvme *nvme)
{
	uint64_t units = BH_NVME_GET(nvme->cap, CAP_TO), crwmt;
	uint32_t crto;

	if (BH_NVME_GET(nvme->cap, CAP_CRMS) & BH_NVME_CAP_CRMS_CRWMS) {
		if (!read32(nvme, BH_NVME_REG_CRTO, &crto)) {
			crwmt = BH_NVME_GET(crto, CRTO_CRWMT);
			units = units > crwmt ? units : crwmt;
		}
	}
	return (units ? units : 1) * TO_UNIT_NS;
}

/* CSTS is 0: is that the controller's? */
static int check_zero(struct bh_nvme *nvme, const char *step)
{
	if (bh_device_check(nvme->dev))
		return 0;
	bh__log(nvme, BH_LOG_ERROR, "%s: the device is gone", step);
	return -ENODEV;
}

/* Waits until CSTS & mask is value. */
static int wait_csts(struct bh_nvme *nvme, uint32_t mask, uint32_t value, uint64_t limit_ns,
		     const char *step)
{
	uint64_t start = bh_now_ns();
	struct timespec pause = { 0, 10000 };
	bool late = false;
	uint32_t csts;
	int rc;

	for (;;) {
		rc = read32(nvme, BH_NVME_REG_CSTS, &csts);
		if (rc)
			return rc;
		/* An honest zero is looked at once more only if it lasts. */
		if (!csts && (!value || pause.tv_nsec >= 1000000) && check_zero(nvme, step))
			return -ENODEV;
		if ((csts & mask) == value)
			return 0;
		if ((csts & BH_NVME_CSTS_CFS) && (nvme->cc & BH_NVME_CC_EN) &&
		    mask == BH_NVME_CSTS_RDY && value) {
			bh__log(nvme, BH_LOG_ERROR, "%s: fatal status (CSTS %08x)", step, csts);
			return -EIO;
		}
		if (late) {
			bh__log(nvme, BH_LOG_ERROR, "%s: not within %llu ms (CSTS %08x)", step,
				(unsigned long long)(limit_ns / 1000000), csts);
			return -ETIMEDOUT;
		}
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 1000000)
			pause.tv_nsec *= 2;
		late = bh_now_ns() - start > limit_ns;
	}
}

int bh__ctrl_disable(struct bh_nvme *nvme)
{
	uint64_t limit = ready_ns(nvme);
	uint32_t cc, csts;
	int rc;

	rc = read32(nvme, BH_NVME_REG_CC, &cc);
	rc = rc ? rc : read32(nvme, BH_NVME_REG_CSTS, &csts);
	if (rc)
		return rc;
	/* EN must not go to 0 while an enable is under way (3.5.3), which may never end. */
	if ((cc & BH_NVME_CC_EN) && !(csts & (BH_NVME_CSTS_RDY | BH_NVME_CSTS_CFS))) {
		nvme->cc = cc;
		rc = wait_csts(nvme, BH_NVME_CSTS_RDY, BH_NVME_CSTS_RDY, limit,
			       "waiting for an earlier enable");
		if (rc == -ENODEV)
			return rc;
	}
	/* Told, too, if it only says that it is off: we know that we switched it on. */
	if ((cc | nvme->cc) & BH_NVME_CC_EN) {
		cc &= ~(BH_NVME_CC_EN | (uint32_t)BH_NVME_SET(CC_SHN, BH_NVME_CC_SHN_MASK));
		rc = write_cc(nvme, cc);
		if (rc)
			return rc;
	}
	nvme->cc = cc & ~BH_NVME_CC_EN;
	return wait_csts(nvme, BH_NVME_CSTS_RDY, 0, limit, "disabling");
}

int bh__ctrl_enable(struct bh_nvme *nvme, uint64_t asq, uint64_t acq)
{
	uint32_t last = nvme->aq->entries - 1u, css = BH_NVME_CC_CSS_NVM, ams = BH_NVME_CC_AMS_RR;
	uint32_t aqa = last | last << BH_NVME_AQA_ACQS_SHIFT, cc;
	int rc;

	/* All command sets, where there are several; namespaces say which is theirs. */
	if (BH_NVME_GET(nvme->cap, CAP_CSS) & BH_NVME_CAP_CSS_IOCS)
		css = BH_NVME_CC_CSS_IOCS;
	if (BH_NVME_GET(nvme->cap, CAP_AMS) & BH_NVME_CAP_AMS_WRR)
		ams = BH_NVME_CC_AMS_WRR;
	cc = (uint32_t)(BH_NVME_SET(CC_CSS, css) | BH_NVME_SET(CC_AMS, ams) |
			BH_NVME_SET(CC_MPS, BH_NVME_GET(nvme->cap, CAP_MPSMIN)) |
			BH_NVME_SET(CC_IOSQES, BH_NVME_SQE_SHIFT) |
			BH_NVME_SET(CC_IOCQES, BH_NVME_CQE_SHIFT));
	rc = write_reg(nvme, BH_NVME_REG_AQA, &aqa, sizeof(aqa));
	rc = rc ? rc : write_reg(nvme, BH_NVME_REG_ASQ, &asq, sizeof(asq));
	rc = rc ? rc : write_reg(nvme, BH_NVME_REG_ACQ, &acq, sizeof(acq));
	rc = rc ? rc : write_cc(nvme, cc | BH_NVME_CC_EN);
	if (rc)
		return rc;
	return wait_csts(nvme, BH_NVME_CSTS_RDY, BH_NVME_CSTS_RDY, ready_ns(nvme), "enabling");
}

void bh__ctrl_shutdown(struct bh_nvme *nvme)
{
	uint64_t limit = nvme->id.rtd3e ? nvme->id.rtd3e * 1000ull : SHUTDOWN_NS;
	uint32_t shn = (uint32_t)BH_NVME_SET(CC_SHN, BH_NVME_CC_SHN_NORMAL);
	uint32_t mask = (uint32_t)BH_NVME_SET(CSTS_SHST, BH_NVME_CSTS_SHST_MASK);
	uint32_t done = (uint32_t)BH_NVME_SET(CSTS_SHST, BH_NVME_CSTS_SHST_COMPLETE);

	if (nvme->opts.no_shutdown_notify || !(nvme->cc & BH_NVME_CC_EN))
		return;
	if (limit < SHUTDOWN_NS)
		limit = SHUTDOWN_NS;
	if (!write_cc(nvme, nvme->cc | shn))
		wait_csts(nvme, mask, done, limit, "shutting down");
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keep Alive (NVM Express 2.0, 3.9): bh_nvme_poll() sends it at half of the timeout that the
 * controller was given, so that a host whose controller thread hangs is noticed by the controller.
 * One is out at a time. Each reset of the controller switches it off, and bringing it up on again.
 */
#include "nvme/nvme.h"

#define NS_PER_MS 1000000ull

int bh__alive_config(struct bh_nvme *nvme)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_SET_FEATURES,
				   .cdw10 = BH_NVME_FEAT_KEEP_ALIVE_TIMER,
				   .cdw11 = nvme->opts.keep_alive_ms };
	int rc;

	nvme->alive_every_ns = 0;
	if (!nvme->opts.keep_alive_ms)
		return 0;
	if (!nvme->id.kas) {
		bh__log(nvme, BH_LOG_INFO, "it has no Keep Alive");
		return 0;
	}
	rc = bh__admin_sync(nvme, &cmd, NULL, 0, NULL);
	if (rc > 0)
		bh__log(nvme, BH_LOG_INFO, "a Keep Alive Timeout of %u ms was refused: %s",
			nvme->opts.keep_alive_ms, bh_nvme_status_str((uint16_t)rc));
	if (rc)
		return rc < 0 ? rc : 0;
	nvme->alive_every_ns = nvme->opts.keep_alive_ms * NS_PER_MS / 2;
	nvme->alive_at_ns = bh_now_ns() + nvme->alive_every_ns;
	return 0;
}

static void alive_done(void *arg, const struct bh_nvme_cpl *cpl)
{
	struct bh_nvme *nvme = arg;

	(void)cpl;
	nvme->alive_out = false;
}

unsigned int bh__alive_work(struct bh_nvme *nvme)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_KEEP_ALIVE };
	uint64_t now;

	if (!nvme->alive_every_ns || nvme->alive_out || nvme->state != BH__STATE_RUNNING)
		return 0;
	now = bh_now_ns();
	/* A full queue has room at the next poll. */
	if (now < nvme->alive_at_ns || bh_nvme_io(nvme->aq, &cmd, NULL, 0, alive_done, nvme))
		return 0;
	bh_nvme_queue_flush(nvme->aq);
	nvme->alive_out = true;
	nvme->alive_at_ns = now + nvme->alive_every_ns;
	return 1;
}

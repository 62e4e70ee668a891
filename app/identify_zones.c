/* SPDX-License-Identifier: BSD-3-Clause */
/* The zones of a namespace, and how many are in which state: which takes an I/O queue to ask. */
#include "identify.h"

const struct identify_zone_state identify_zone_states[IDENTIFY_ZONE_STATES] = {
	{ BH_NVME_ZONE_REPORT_FILTER_EMPTY, BH_NVME_ZONE_STATE_EMPTY, "empty" },
	{ BH_NVME_ZONE_REPORT_FILTER_IMPLICITLY_OPEN, BH_NVME_ZONE_STATE_IMPLICITLY_OPEN,
	  "implicitly_open" },
	{ BH_NVME_ZONE_REPORT_FILTER_EXPLICITLY_OPEN, BH_NVME_ZONE_STATE_EXPLICITLY_OPEN,
	  "explicitly_open" },
	{ BH_NVME_ZONE_REPORT_FILTER_CLOSED, BH_NVME_ZONE_STATE_CLOSED, "closed" },
	{ BH_NVME_ZONE_REPORT_FILTER_FULL, BH_NVME_ZONE_STATE_FULL, "full" },
	{ BH_NVME_ZONE_REPORT_FILTER_READ_ONLY, BH_NVME_ZONE_STATE_READ_ONLY, "read_only" },
	{ BH_NVME_ZONE_REPORT_FILTER_OFFLINE, BH_NVME_ZONE_STATE_OFFLINE, "offline" },
};

bool identify_zones(const struct app_nvme *n, struct bh_nvme_ns *ns, struct identify_zones *out)
{
	struct bh_nvme_queue_opts opts;
	struct bh_nvme_queue *q = NULL;

	*out = (struct identify_zones){ 0 };
	if (bh_nvme_ns_zns(ns, &out->geometry) != 0)
		return false;
	bh_nvme_queue_opts_init(&opts);
	opts.depth = 1;
	out->counted = bh_nvme_queue_create(n->nvme, &opts, &q) == 0;
	for (unsigned int i = 0; i < IDENTIFY_ZONE_STATES && out->counted; i++)
		out->counted = bh_nvme_zone_count_sync(q, ns, identify_zone_states[i].filter,
						       &out->in_state[i]) == 0;
	bh_nvme_queue_destroy(q);
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What a controller says of Sanitize: its kinds, and its log (NVMe 2.0 5.16.1.25). */
#include "identify.h"

const struct identify_flag identify_sanicap[] = {
	{ BH_NVME_SANICAP_CRYPTO_ERASE, "crypto-erase" },
	{ BH_NVME_SANICAP_BLOCK_ERASE, "block-erase" },
	{ BH_NVME_SANICAP_OVERWRITE, "overwrite" },
	{ BH_NVME_SANICAP_NO_DEALLOC_INHIBITED, "no-deallocate-inhibited" },
	{ 0, NULL },
};

bool identify_sanitize(const struct app_nvme *n, struct bh_nvme_sanitize_log *out)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_GET_LOG_PAGE,
				   .nsid = BH_NVME_NSID_ALL,
				   .cdw10 = BH_NVME_LOG_SANITIZE | BH_NVME_GLP_RAE |
					    (sizeof(*out) / 4 - 1) << BH_NVME_GLP_NUMDL_SHIFT };

	if (!(bh_nvme_ctrl_data(n->nvme)->sanicap &
	      (BH_NVME_SANICAP_CRYPTO_ERASE | BH_NVME_SANICAP_BLOCK_ERASE |
	       BH_NVME_SANICAP_OVERWRITE)))
		return false;
	return bh_nvme_admin_sync(n->nvme, &cmd, out, sizeof(*out), NULL) == 0;
}

const char *identify_sanitize_outcome(const struct bh_nvme_sanitize_log *log)
{
	switch (log->sstat & BH_NVME_SSTAT_OUTCOME_MASK) {
	case BH_NVME_SSTAT_NEVER:
		return "never";
	case BH_NVME_SSTAT_COMPLETED:
		return "completed";
	case BH_NVME_SSTAT_IN_PROGRESS:
		return "in-progress";
	case BH_NVME_SSTAT_FAILED:
		return "failed";
	case BH_NVME_SSTAT_UNEXPECTED_DEALLOC:
		return "completed-deallocated";
	}
	return "unknown";
}

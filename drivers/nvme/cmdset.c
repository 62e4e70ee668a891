/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O command sets (NVM Express 2.0, 8.11 and 5.17.2.22): which the controller has switched on, and
 * of which a namespace is.
 *
 * A controller that can have several (CAP.CSS bit 6) is enabled with all of them. It may offer them
 * in combinations only, one of which is in force: the one with most of what we serve is chosen,
 * where the controller lets us. Each namespace then says of which it is, in its identification
 * descriptors; one that does not say is of the NVM command set, as all are on older controllers.
 */
#include <string.h>

#include "nvme/nvme.h"

#define KNOWN (1ull << BH_NVME_CSI_NVM | 1ull << BH_NVME_CSI_ZNS)

bool bh__cmdset_several(const struct bh_nvme *nvme)
{
	return BH_NVME_GET(nvme->cc, CC_CSS) == BH_NVME_CC_CSS_IOCS;
}

/* The first combination with most of what we serve; the present one where it is as good. */
static uint32_t choose(const struct bh_nvme_id_iocs *iocs, uint32_t present)
{
	uint32_t i, best = present < 512 ? present : 0;

	for (i = 0; i < 512 && iocs->vector[i]; i++)
		if (__builtin_popcountll(iocs->vector[i] & KNOWN) >
		    __builtin_popcountll(iocs->vector[best] & KNOWN))
			best = i;
	return best;
}

int bh__cmdset_config(struct bh_nvme *nvme)
{
	struct bh_nvme_cmd id = bh__identify_cmd(BH_NVME_CNS_IOCS, 0, 0, 0xffff);
	struct bh_nvme_cmd feature = { .opc = BH_NVME_ADMIN_GET_FEATURES,
				       .cdw10 = BH_NVME_FEAT_IOCS_PROFILE };
	struct bh_nvme_id_iocs iocs;
	struct bh_nvme_cpl cpl;
	uint32_t present, best;
	int rc;

	if (!bh__cmdset_several(nvme))
		return 0;
	rc = bh__admin_sync(nvme, &id, &iocs, sizeof(iocs), NULL);
	if (!rc)
		rc = bh__admin_sync(nvme, &feature, NULL, 0, &cpl);
	/* What it has without being asked will have to do. */
	if (rc)
		return rc < 0 ? rc : 0;
	present = cpl.cdw0 & 0x1ff;
	best = choose(&iocs, present);
	if (best == present)
		return 0;
	feature.opc = BH_NVME_ADMIN_SET_FEATURES;
	feature.cdw11 = best;
	rc = bh__admin_sync(nvme, &feature, NULL, 0, NULL);
	if (rc > 0)
		bh__log(nvme, BH_LOG_WARN, "I/O command set combination %u is refused: %s", best,
			bh_nvme_status_str((uint16_t)rc));
	return rc < 0 ? rc : 0;
}

void bh__cmdset_ids(struct bh_nvme *nvme, uint32_t nsid, uint8_t *buf, struct bh__ns_ids *ids)
{
	struct bh_nvme_cmd cmd = bh__identify_cmd(BH_NVME_CNS_NS_ID_DESC, nsid, BH_NVME_CSI_NVM, 0);
	size_t at = 0, len;

	*ids = (struct bh__ns_ids){ .csi = BH_NVME_CSI_NVM };
	if (nvme->vs < BH_NVME_VERSION(1, 3, 0) || bh__admin_sync(nvme, &cmd, buf, 4096, NULL))
		return;
	for (; at + 4 <= 4096 && buf[at + 1]; at += 4 + len) {
		len = buf[at + 1];
		if (len > 4096 - 4 - at)
			return;
		if (buf[at] == BH_NVME_NIDT_UUID && len == sizeof(ids->uuid))
			memcpy(ids->uuid, buf + at + 4, sizeof(ids->uuid));
		else if (buf[at] == BH_NVME_NIDT_CSI && len == 1 && bh__cmdset_several(nvme))
			ids->csi = buf[at + 4];
	}
}

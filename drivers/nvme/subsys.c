/* SPDX-License-Identifier: BSD-3-Clause */
/* Namespace management and reservations, each command by a function that waits. */
#include <errno.h>
#include <string.h>

#include <bellhop/nvme_subsys.h>

#include "nvme/nvme.h"
#include "nvme/waiter.h"

/* ---- namespaces ---- */

int bh_nvme_ns_create(struct bh_nvme *nvme, uint64_t blocks, uint8_t format, bool shared,
		      uint32_t *nsid)
{
	const struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_NS_MANAGEMENT,
					 .cdw10 = BH_NVME_NS_MGMT_CREATE };
	struct bh_nvme_id_ns id = { .nsze = blocks,
				    .ncap = blocks,
				    .flbas = (uint8_t)((format & 0xf) | (format & 0x30) << 1),
				    .nmic = shared ? BH_NVME_NMIC_SHARED : 0 };
	struct bh_nvme_cpl cpl = { 0 };
	int rc = bh_nvme_admin_sync(nvme, &cmd, &id, sizeof(id), &cpl);

	if (rc == 0)
		*nsid = cpl.cdw0;
	return rc;
}

int bh_nvme_ns_delete(struct bh_nvme *nvme, uint32_t nsid)
{
	const struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_NS_MANAGEMENT,
					 .nsid = nsid,
					 .cdw10 = BH_NVME_NS_MGMT_DELETE };

	return bh_nvme_admin_sync(nvme, &cmd, NULL, 0, NULL);
}

static int change(struct bh_nvme *nvme, uint32_t nsid, uint32_t sel, const uint16_t *cntlids,
		  unsigned int count)
{
	const struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_NS_ATTACHMENT,
					 .nsid = nsid,
					 .cdw10 = sel };
	struct bh_nvme_ctrl_list list = { .count = (uint16_t)count };

	if (count > sizeof(list.cntlid) / sizeof(list.cntlid[0]))
		return -EINVAL;
	memcpy(list.cntlid, cntlids, count * sizeof(*cntlids));
	return bh_nvme_admin_sync(nvme, &cmd, &list, sizeof(list), NULL);
}

int bh_nvme_ns_attach_to(struct bh_nvme *nvme, uint32_t nsid, const uint16_t *cntlids,
			 unsigned int count)
{
	return change(nvme, nsid, BH_NVME_NS_ATTACH, cntlids, count);
}

int bh_nvme_ns_detach_from(struct bh_nvme *nvme, uint32_t nsid, const uint16_t *cntlids,
			   unsigned int count)
{
	return change(nvme, nsid, BH_NVME_NS_DETACH, cntlids, count);
}

int bh_nvme_set_host_id(struct bh_nvme *nvme, const void *id, size_t bytes)
{
	if (bytes != 8 && bytes != 16)
		return -EINVAL;
	return bh_nvme_set_feature(nvme, BH_NVME_FEAT_HOST_ID, 0,
				   bytes == 16 ? BH_NVME_FEAT_HOST_ID_EXHID : 0, id, bytes, NULL);
}

/* ---- reservations ---- */

/* to: NULL, or where the data goes afterwards. */
static int run(struct bh_nvme_queue *q, const struct bh_nvme_cmd *cmd, const void *from, void *to,
	       size_t bytes)
{
	struct bh__waiter *w;
	struct iovec iov;
	int rc = bh__waiter_new(q, bytes, &w);

	if (rc)
		return rc;
	iov = (struct iovec){ w->buf, bytes };
	if (from)
		memcpy(w->buf, from, bytes);
	rc = bh__waiter_wait(q, w, bh_nvme_io(q, cmd, &iov, 1, bh__waiter_done, w));
	if (rc < 0)
		return rc;
	if (rc == 0 && to)
		memcpy(to, w->buf, bytes);
	bh__waiter_free(w);
	return rc;
}

int bh_nvme_resv_register_sync(struct bh_nvme_queue *q, uint32_t nsid, uint32_t action,
			       uint64_t current, uint64_t key)
{
	const struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_RESV_REGISTER,
					 .nsid = nsid,
					 .cdw10 = action };
	const struct bh_nvme_resv_register data = { current, key };

	return run(q, &cmd, &data, NULL, sizeof(data));
}

int bh_nvme_resv_acquire_sync(struct bh_nvme_queue *q, uint32_t nsid, uint32_t action, uint8_t type,
			      uint64_t current, uint64_t preempted)
{
	const struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_RESV_ACQUIRE,
					 .nsid = nsid,
					 .cdw10 = action | (uint32_t)type
								   << BH_NVME_RESV_RTYPE_SHIFT };
	const struct bh_nvme_resv_acquire data = { current, preempted };

	return run(q, &cmd, &data, NULL, sizeof(data));
}

int bh_nvme_resv_release_sync(struct bh_nvme_queue *q, uint32_t nsid, uint32_t action, uint8_t type,
			      uint64_t current)
{
	const struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_RESV_RELEASE,
					 .nsid = nsid,
					 .cdw10 = action | (uint32_t)type
								   << BH_NVME_RESV_RTYPE_SHIFT };
	const struct bh_nvme_resv_release data = { current };

	return run(q, &cmd, &data, NULL, sizeof(data));
}

int bh_nvme_resv_report_sync(struct bh_nvme_queue *q, uint32_t nsid, bool ext, void *buf,
			     size_t bytes)
{
	const struct bh_nvme_cmd cmd = { .opc = BH_NVME_CMD_RESV_REPORT,
					 .nsid = nsid,
					 .cdw10 = (uint32_t)(bytes / 4) - 1,
					 .cdw11 = ext ? BH_NVME_RESV_REPORT_EDS : 0 };

	if (!bytes || bytes % 4)
		return -EINVAL;
	return run(q, &cmd, NULL, buf, bytes);
}

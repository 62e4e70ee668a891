/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What hosts do to namespaces that they share: create, attach and delete them, and reserve them.
 *
 * Component: drivers/nvme
 *
 * Everything here waits, for tools and for setting up, and returns the status field (0: success,
 * BH_NVME_SC_RESERVATION_CONFLICT with DNR or not, and so on) or -errno.
 */
#ifndef BELLHOP_NVME_SUBSYS_H
#define BELLHOP_NVME_SUBSYS_H

#include <bellhop/nvme.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- namespaces (base 5.22, 5.23); controller thread; errors as bh_nvme_admin_sync() ---- */

/*
 * A namespace of `blocks` blocks in the LBA format of that index, shared between controllers or not:
 * its id in *nsid. It is attached nowhere.
 */
int bh_nvme_ns_create(struct bh_nvme *nvme, uint64_t blocks, uint8_t format, bool shared,
		      uint32_t *nsid);
int bh_nvme_ns_delete(struct bh_nvme *nvme, uint32_t nsid);
/* To or from the controllers with those ids, ascending, at most 2047: else -EINVAL. */
int bh_nvme_ns_attach_to(struct bh_nvme *nvme, uint32_t nsid, const uint16_t *cntlids,
			 unsigned int count);
int bh_nvme_ns_detach_from(struct bh_nvme *nvme, uint32_t nsid, const uint16_t *cntlids,
			   unsigned int count);

/*
 * Who this host is: 8 or 16 bytes, the same on each of its controllers. Once per reset, before
 * reservations. -EINVAL: another length.
 */
int bh_nvme_set_host_id(struct bh_nvme *nvme, const void *id, size_t bytes);

/*
 * ---- reservations (base 7.2 to 7.5) ----
 *
 * On an idle queue: -EBUSY otherwise, -EOPNOTSUPP on one that was borrowed; further errors as
 * bh_nvme_io(), -ENOMEM: no room in the pools, -ETIMEDOUT: not answered in time, see admin_timeout.
 * Queue owner.
 */

/* action: BH_NVME_RESV_REGISTER_KEY and so on, | BH_NVME_RESV_IEKEY, | CPTPL in bits 31:30. */
int bh_nvme_resv_register_sync(struct bh_nvme_queue *q, uint32_t nsid, uint32_t action,
			       uint64_t current, uint64_t key);
/* action: BH_NVME_RESV_ACQUIRE and so on; type: BH_NVME_RESV_WRITE_EXCLUSIVE and so on. */
int bh_nvme_resv_acquire_sync(struct bh_nvme_queue *q, uint32_t nsid, uint32_t action, uint8_t type,
			      uint64_t current, uint64_t preempted);
int bh_nvme_resv_release_sync(struct bh_nvme_queue *q, uint32_t nsid, uint32_t action, uint8_t type,
			      uint64_t current);
/*
 * A struct bh_nvme_resv_status, or with ext (for a host with an id of 16 bytes) _status_ext, and as
 * many lines as fit into `bytes`, a multiple of 4: else -EINVAL.
 */
int bh_nvme_resv_report_sync(struct bh_nvme_queue *q, uint32_t nsid, bool ext, void *buf,
			     size_t bytes);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The admin queue. Private to lib/target/nvme; control thread.
 *
 * Commands are few and data goes through private buffers, so everything here takes the general way:
 * entries are fetched and completions written with bh_cmem_read/write (whatever mode the queue's
 * memory is in), data with tn_xfer.
 */
#ifndef TARGET_NVME_ADMIN_H
#define TARGET_NVME_ADMIN_H

#include "target/nvme/ctrl.h"

/*
 * The admin submission queue's tail doorbell (or completion head) may have moved. Control thread;
 * cheap when it has not.
 */
void tn_admin_kick(struct bh_target_nvme *ctrl);

#endif

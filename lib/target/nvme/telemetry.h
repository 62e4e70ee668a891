/* SPDX-License-Identifier: BSD-3-Clause */
/* The Telemetry logs. Private to lib/target/nvme; control thread. */
#ifndef TARGET_NVME_TELEMETRY_H
#define TARGET_NVME_TELEMETRY_H

#include "target/nvme/ctrl.h"

struct tn_admin_cmd;

int tn_telemetry_create(struct bh_target_nvme *ctrl); /* 0 or -ENOMEM */
void tn_telemetry_free(struct bh_target_nvme *ctrl);
/* It was fatal and is about to be reset, but has its queues still: that is captured. */
void tn_telemetry_fatal(struct bh_target_nvme *ctrl);
/* The host has said which events it wants. */
void tn_telemetry_tell(struct bh_target_nvme *ctrl);
/* Get Log Page of either, as tn_pel_cmd(). */
void tn_telemetry_cmd(struct tn_admin_cmd *cmd, uint64_t offset, uint64_t len);

#endif

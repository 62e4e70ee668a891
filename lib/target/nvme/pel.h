/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Persistent Event log. Private to lib/target/nvme; control thread. All of it does nothing where
 * the controller's subsystem has no place to keep a log.
 */
#ifndef TARGET_NVME_PEL_H
#define TARGET_NVME_PEL_H

#include "target/nvme/ctrl.h"

#define TN_PEL_DATA 512u   /* bytes of an event, at most */
#define TN_PEL_SIZE_64K 3u /* of the page, at most, in units of 64 KiB (PELS) */

struct tn_admin_cmd;

bool tn_has_pel(const struct bh_target_nvme *ctrl);
int tn_pel_open(struct bh_target_subsys *subsys); /* that has a state file; 0 or -ENOMEM */
void tn_pel_close(struct bh_target_subsys *subsys);
void tn_pel_add(struct bh_target_nvme *ctrl, uint8_t type, const void *data, size_t len);
/* Get Log Page of it, whose length and offset were checked to be what any page has. */
void tn_pel_cmd(struct tn_admin_cmd *cmd, uint64_t offset, uint64_t len);
void tn_pel_release(struct bh_target_nvme *ctrl); /* its context, if there is one */

/* ---- pel_event.c: what is recorded ---- */

void tn_pel_supported(uint8_t seb[32]);
/* It has been enabled. */
void tn_pel_reset(struct bh_target_nvme *ctrl);
void tn_pel_power_off(struct bh_target_nvme *ctrl);
/* A second has passed: there may be a snapshot of SMART to be taken. */
void tn_pel_look(struct bh_target_nvme *ctrl);
void tn_pel_timestamp(struct bh_target_nvme *ctrl, struct bh_nvme_timestamp before);
void tn_pel_set_feature(const struct tn_admin_cmd *cmd);
/* A Namespace Management command has come to a good end. */
void tn_pel_change_ns(const struct tn_admin_cmd *cmd, uint32_t nsid);
void tn_pel_format_start(const struct tn_admin_cmd *cmd);
void tn_pel_format_end(const struct tn_admin_cmd *cmd, uint16_t sf);
void tn_pel_sanitize_start(const struct tn_admin_cmd *cmd);
/* ctrl: any of the subsystem. */
void tn_pel_sanitize_end(struct bh_target_nvme *ctrl);

#endif

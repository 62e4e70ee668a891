# SPDX-License-Identifier: BSD-3-Clause
unit_drivers_nvme_NEEDS := drivers_nvme pi io dma nvme_spec base
unit_drivers_nvme_SRCS := fake_ctrl.c fake_admin.c fake_cmb.c fake_io.c fake_meta.c fake_zns.c rig.c
unit_drivers_nvme_TSAN := test_reset test_rw

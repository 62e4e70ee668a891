# SPDX-License-Identifier: BSD-3-Clause

unit_nvme_spec_NEEDS := nvme_spec

# SPDX-License-Identifier: BSD-3-Clause
unit_virtio_NEEDS := virtio

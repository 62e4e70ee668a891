# SPDX-License-Identifier: BSD-3-Clause
unit_virtio_dev_NEEDS := virtio_dev virtio cmem base

# SPDX-License-Identifier: BSD-3-Clause
"""Network cards for guests: an Intel 82576 and two virtio cards for our drivers, and a card that the
kernel drives, all on one hub, so that what each sends the others hear."""

NETDEVS = ["hubport,id=h%d,hubid=0" % port for port in range(4)]
DEVICES = ["igb,id=igb0,netdev=h0,mac=52:54:00:00:00:01,addr=4",
           "virtio-net-pci,id=virtio0,netdev=h1,mac=52:54:00:00:00:02,addr=5,iommu_platform=on,"
           "disable-legacy=on",
           "virtio-net-pci,id=packed0,netdev=h3,mac=52:54:00:00:00:04,addr=7,iommu_platform=on,"
           "disable-legacy=on,packed=on",
           "e1000e,id=peer0,netdev=h2,mac=52:54:00:00:00:03,addr=6"]

NAMES = r"""
IGB=0000:00:04.0 VIRTIO=0000:00:05.0 PEER=0000:00:06.0 PACKED=0000:00:07.0
"""

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers of the Intel 82576 and its descendants (82580, I350, I354, I210, I211), as offsets into
 * BAR 0, and their bits. Sections are those of the 82576 datasheet; registers are described in its
 * chapter 8 under the names used here.
 */
#ifndef NET_IGB_REGS_H
#define NET_IGB_REGS_H

#include <stdint.h>

#define IGB_BIT(n) (1u << (n))

/* ---- general ---- */

#define IGB_CTRL 0x0000u
#define IGB_CTRL_FD IGB_BIT(0)
#define IGB_CTRL_MASTER_DISABLE IGB_BIT(2) /* 5.2.3.3: no new requests on the bus */
#define IGB_CTRL_SLU IGB_BIT(6)		   /* set link up */
#define IGB_CTRL_FRCSPD IGB_BIT(11)
#define IGB_CTRL_FRCDPX IGB_BIT(12)
#define IGB_CTRL_RST IGB_BIT(26) /* 4.2.1: clears itself */
#define IGB_CTRL_RFCE IGB_BIT(27)
#define IGB_CTRL_TFCE IGB_BIT(28)
#define IGB_CTRL_VME IGB_BIT(30) /* tags are stripped (7.4) */

#define IGB_STATUS 0x0008u
#define IGB_STATUS_FD IGB_BIT(0)
#define IGB_STATUS_LU IGB_BIT(1)
#define IGB_STATUS_LAN_ID(status) ((status) >> 2 & 3u)
#define IGB_STATUS_SPEED(status) ((status) >> 6 & 3u) /* 10, 100, 1000, 1000 Mbit/s */
#define IGB_STATUS_MASTER_ENABLED IGB_BIT(19)	      /* requests are outstanding, or may be */

#define IGB_EECD 0x0010u
#define IGB_EECD_PRES IGB_BIT(8)
#define IGB_EECD_AUTO_RD IGB_BIT(9) /* the automatic read after a reset is done */
#define IGB_EERD 0x0014u
#define IGB_EERD_START IGB_BIT(0)
#define IGB_EERD_DONE IGB_BIT(1)
#define IGB_EERD_ADDR_SHIFT 2
#define IGB_EERD_DATA_SHIFT 16
#define IGB_CTRL_EXT 0x0018u
#define IGB_CTRL_EXT_LINK_MODE(ext) ((ext) >> 22 & 3u)
#define IGB_LINK_MODE_COPPER 0u		  /* the internal PHY */
#define IGB_CTRL_EXT_DRV_LOAD IGB_BIT(28) /* tells the firmware that there is a driver */

#define IGB_MDIC 0x0020u
#define IGB_MDIC_REG_SHIFT 16
#define IGB_MDIC_PHY_SHIFT 21 /* later chips take the address from their EEPROM */
#define IGB_MDIC_WRITE (1u << 26)
#define IGB_MDIC_READ (2u << 26)
#define IGB_MDIC_READY IGB_BIT(28)
#define IGB_MDIC_ERROR IGB_BIT(30)

#define IGB_VET 0x0038u
#define IGB_EEMNGCTL 0x1010u
#define IGB_EEMNGCTL_CFG_DONE(function) IGB_BIT(18u + (function)) /* firmware has set up the PHY */

/* 4.6: who has the PHY and the EEPROM, among software, firmware and other ports */
#define IGB_SWSM 0x5b50u
#define IGB_SWSM_SMBI IGB_BIT(0)    /* set by reading it */
#define IGB_SWSM_SWESMBI IGB_BIT(1) /* stays set if the firmware does not have it */
#define IGB_SW_FW_SYNC 0x5b5cu
#define IGB_SYNC_EEPROM IGB_BIT(0)
#define IGB_SYNC_PHY(function) IGB_BIT((function) < 2 ? 1u + (function) : 3u + (function))
#define IGB_SYNC_FW_SHIFT 16

/* ---- interrupts (7.3) ---- */

#define IGB_ICR 0x1500u
#define IGB_IMS 0x1508u
#define IGB_IMC 0x150cu
#define IGB_INT_FER IGB_BIT(22)	  /* an error on the bus that cannot be mended */
#define IGB_INT_DRSTA IGB_BIT(30) /* the device was reset */
#define IGB_GPIE 0x1514u
#define IGB_GPIE_NSICR IGB_BIT(0)
#define IGB_GPIE_MULTIPLE_MSIX IGB_BIT(4)
#define IGB_GPIE_EIAME IGB_BIT(30)
#define IGB_GPIE_PBA IGB_BIT(31)
#define IGB_EIMS 0x1524u
#define IGB_EIMC 0x1528u
#define IGB_EIAC 0x152cu
#define IGB_EIAM 0x1530u
#define IGB_EICR 0x1580u
#define IGB_EITR(vector) (0x1680u + 4u * (vector))
#define IGB_IVAR(n) (0x1700u + 4u * (n))
#define IGB_IVAR_MISC 0x1740u
#define IGB_IVAR_VALID 0x80u

/* ---- receive ---- */

#define IGB_RCTL 0x0100u
#define IGB_RCTL_RXEN IGB_BIT(1)
#define IGB_RCTL_UPE IGB_BIT(3)
#define IGB_RCTL_MPE IGB_BIT(4)
#define IGB_RCTL_LPE IGB_BIT(5)
#define IGB_RCTL_BAM IGB_BIT(15)
#define IGB_RCTL_VFE IGB_BIT(18)
#define IGB_RCTL_SECRC IGB_BIT(26)

#define IGB_RXCSUM 0x5000u
#define IGB_RXCSUM_IPOFLD IGB_BIT(8)
#define IGB_RXCSUM_TUOFLD IGB_BIT(9)
#define IGB_RXCSUM_PCSD IGB_BIT(13) /* the hash takes the place of the fragment checksum */
#define IGB_RLPML 0x5004u
#define IGB_RFCTL 0x5008u
#define IGB_MTA(n) (0x5200u + 4u * (n))
#define IGB_MTA_COUNT 128u
#define IGB_RAL(n) (0x5400u + 8u * (n))
#define IGB_RAH(n) (0x5404u + 8u * (n))
#define IGB_RAH_AV IGB_BIT(31)
#define IGB_RA_COUNT 16u /* the first bank, which all these chips have */
#define IGB_VFTA(n) (0x5600u + 4u * (n))
#define IGB_VFTA_COUNT 128u
#define IGB_MRQC 0x5818u
#define IGB_MRQC_RSS 2u
#define IGB_MRQC_TCP_IPV4 IGB_BIT(16)
#define IGB_MRQC_IPV4 IGB_BIT(17)
#define IGB_MRQC_TCP_IPV6_EX IGB_BIT(18)
#define IGB_MRQC_IPV6_EX IGB_BIT(19)
#define IGB_MRQC_IPV6 IGB_BIT(20)
#define IGB_MRQC_TCP_IPV6 IGB_BIT(21)
#define IGB_MRQC_UDP_IPV4 IGB_BIT(22)
#define IGB_MRQC_UDP_IPV6 IGB_BIT(23)
#define IGB_RETA(n) (0x5c00u + 4u * (n)) /* four entries of a byte each */
#define IGB_RETA_ENTRIES 128u
#define IGB_RSSRK(n) (0x5c80u + 4u * (n))
#define IGB_RSS_KEY_BYTES 40u

#define IGB_RXQ(n) (0xc000u + 0x40u * (n))
#define IGB_RDBAL 0x00u
#define IGB_RDBAH 0x04u
#define IGB_RDLEN 0x08u
#define IGB_SRRCTL 0x0cu
#define IGB_SRRCTL_BSIZEPKT_UNIT 1024u
#define IGB_SRRCTL_ADV_ONE_BUFFER (1u << 25)
#define IGB_SRRCTL_DROP_EN IGB_BIT(31)
#define IGB_RDH 0x10u
#define IGB_RDT 0x18u
#define IGB_RXDCTL 0x28u
#define IGB_RQDPC \
	0x30u /* packets dropped for want of descriptors; counts 12 bits, clears on read */

/* ---- transmit ---- */

#define IGB_TCTL 0x0400u
#define IGB_TCTL_EN IGB_BIT(1)
#define IGB_TCTL_PSP IGB_BIT(3)
#define IGB_TCTL_CT_SHIFT 4
#define IGB_TCTL_BST_SHIFT 12
#define IGB_TCTL_RTLC IGB_BIT(24)
#define IGB_DTXCTL 0x3590u

#define IGB_TXQ(n) (0xe000u + 0x40u * (n))
#define IGB_TDBAL 0x00u
#define IGB_TDBAH 0x04u
#define IGB_TDLEN 0x08u
#define IGB_TDH 0x10u
#define IGB_TDT 0x18u
#define IGB_TXDCTL 0x28u
#define IGB_TDWBAL 0x38u

/* RXDCTL and TXDCTL */
#define IGB_XDCTL_PTHRESH(n) ((uint32_t)(n))
#define IGB_XDCTL_HTHRESH(n) ((uint32_t)(n) << 8)
#define IGB_XDCTL_WTHRESH(n) ((uint32_t)(n) << 16)
#define IGB_XDCTL_ENABLE IGB_BIT(25)
#define IGB_XDCTL_SWFLUSH IGB_BIT(26)

/* ---- the PHY's own registers, over MDIC (IEEE 802.3 clause 22) ---- */

#define IGB_PHY_CONTROL 0u
#define IGB_PHY_CONTROL_RESTART 0x0200u
#define IGB_PHY_CONTROL_POWER_DOWN 0x0800u
#define IGB_PHY_CONTROL_AUTONEG 0x1000u
#define IGB_PHY_STATUS 1u
#define IGB_PHY_STATUS_LINK 0x0004u
#define IGB_PHY_STATUS_AN_DONE 0x0020u
#define IGB_PHY_ID1 2u
#define IGB_PHY_ID2 3u
#define IGB_PHY_ADVERTISE 4u
#define IGB_PHY_ADVERTISE_ALL 0x01e1u /* 10 and 100 Mbit/s, half and full duplex, 802.3 */
#define IGB_PHY_ADVERTISE_PAUSE 0x0c00u
#define IGB_PHY_1000T 9u
#define IGB_PHY_1000T_FD 0x0200u

/* ---- EEPROM words (6.2) ---- */

#define IGB_NVM_MAC 0u /* three words, of the first port */
#define IGB_NVM_SUM_WORDS 0x40u
#define IGB_NVM_SUM 0xbabau
#define IGB_NVM_PORT(function) ((function) ? 0x40u + 0x40u * (function) : 0u) /* 82580 and later */

#endif

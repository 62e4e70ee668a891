/* SPDX-License-Identifier: BSD-3-Clause */
/* The port. Private to the driver; everything here is the control thread's. */
#ifndef NET_IGB_IGB_H
#define NET_IGB_IGB_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/device.h>
#include <bellhop/log.h>

#include "net_igb/regs.h"

#define IGB_QUEUES 8u
#define IGB_FRAME_MOST 9728u /* RLPML: the longest frame, header and checksum included */
#define IGB_MSIX 2u	     /* VFIO's index of MSI-X vectors among interrupts */

/* What the chips differ in, of what we use. */
struct bh_igb_model {
	const char *name;
	uint8_t queues;
	bool port_words;  /* each port has EEPROM words of its own */
	bool phy_by_mdic; /* the PHY's address is a field of MDIC, and it is 1 */
	bool ivar_by_pairs;
};

struct bh_igb_link {
	bool up, full_duplex;
	uint32_t mbps;
};

enum {
	IGB_STATS_MOST = 72,
};

/* The registers of a device, and what went wrong with them. */
struct bh_igb_hw {
	struct bh_device *dev;
	const struct bh_igb_model *model;
	unsigned int function; /* of the card's ports (STATUS.LAN_ID) */
	int error;	       /* the first failure since bh__igb_error() */
	uint8_t mac[6];	       /* as the EEPROM has it */
	uint64_t stats[IGB_STATS_MOST];
};

/* ---- hw.c: register access ---- */

/*
 * All-ones when it fails, or the device is gone, which bh__igb_error() tells. Registers are reached
 * one by one through the backend: this is the control path.
 */
uint32_t bh__igb_read(struct bh_igb_hw *hw, uint32_t reg);
void bh__igb_write(struct bh_igb_hw *hw, uint32_t reg, uint32_t value);
void bh__igb_modify(struct bh_igb_hw *hw, uint32_t reg, uint32_t clear, uint32_t set);
/* Waits until the masked bits are `value`. False: not within limit_ms, or an error. */
bool bh__igb_wait(struct bh_igb_hw *hw, uint32_t reg, uint32_t mask, uint32_t value,
		  unsigned int limit_ms);
/*
 * What failed first since the last call, as -errno, and forgets it. -ENODEV: the device is gone;
 * -EIO: it refuses.
 */
int bh__igb_error(struct bh_igb_hw *hw);
void bh__igb_pause_us(unsigned int us);
void bh__igb_log(struct bh_igb_hw *hw, enum bh_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- reset.c ---- */

/* Which of our chips this is; NULL: none. */
const struct bh_igb_model *bh__igb_model_of(uint16_t vendor, uint16_t device);
/*
 * Quiets the device and resets it: afterwards it neither touches memory nor raises interrupts, and
 * all settings are those of power-up. -ETIMEDOUT, -ENODEV, -EIO.
 */
int bh__igb_hw_halt(struct bh_igb_hw *hw);
/*
 * The same, waits until it has come up again, and learns its address. -ENOTSUP: no copper port;
 * -EADDRNOTAVAIL: no valid MAC address anywhere.
 */
int bh__igb_hw_reset(struct bh_igb_hw *hw);
/* Takes the PHY or the EEPROM (IGB_SYNC_...) from firmware and other ports. -EBUSY: not within 1 s. */
int bh__igb_acquire(struct bh_igb_hw *hw, uint32_t what);
void bh__igb_release(struct bh_igb_hw *hw, uint32_t what);

/* ---- phy.c ---- */

/* -EIO, -ENODEV, -EBUSY, -ETIMEDOUT. */
int bh__igb_phy_read(struct bh_igb_hw *hw, unsigned int reg, uint16_t *value);
int bh__igb_phy_write(struct bh_igb_hw *hw, unsigned int reg, uint16_t value);
/* Wakes the PHY and has it negotiate what it can; the link comes up seconds later. */
int bh__igb_link_start(struct bh_igb_hw *hw);
void bh__igb_link(struct bh_igb_hw *hw, struct bh_igb_link *link);

/* ---- filter.c ---- */

/* Address 0 is the port's own. -EINVAL: a multicast or zero address. */
int bh__igb_mac_set(struct bh_igb_hw *hw, const uint8_t mac[6]);
/*
 * Multicast groups: exact matches while there is room, then bits of a hash of 4096, which lets
 * others through as well.
 */
int bh__igb_multicast_set(struct bh_igb_hw *hw, const uint8_t (*list)[6], unsigned int count);
int bh__igb_promiscuous_set(struct bh_igb_hw *hw, bool unicast, bool multicast);
/* Lets frames of a VLAN in, once filtering is on. -EINVAL: beyond 4095. */
int bh__igb_vlan_set(struct bh_igb_hw *hw, unsigned int id, bool on);
int bh__igb_vlan_clear(struct bh_igb_hw *hw);
int bh__igb_vlan_filter(struct bh_igb_hw *hw, bool on);
/* The longest frame, in bytes without checksum and tags. -EINVAL: beyond 9728. */
int bh__igb_frame_most_set(struct bh_igb_hw *hw, uint32_t bytes);

/* ---- rss.c ---- */

extern const uint8_t bh__igb_rss_default_key[IGB_RSS_KEY_BYTES];

/*
 * Spreads what arrives over queues by the hash (MRQC bits IGB_MRQC_TCP_IPV4 and so on; 0: all to
 * queue 0). -EINVAL: an entry names a queue there is not.
 */
int bh__igb_rss_set(struct bh_igb_hw *hw, uint32_t fields, const uint8_t key[IGB_RSS_KEY_BYTES],
		    const uint8_t table[IGB_RETA_ENTRIES], unsigned int queues);

/* ---- stats.c ---- */

/* Adds what the registers, which clear when read, have counted since the last call. */
int bh__igb_stats_update(struct bh_igb_hw *hw);
void bh__igb_stats_clear(struct bh_igb_hw *hw);
unsigned int bh__igb_stats_count(void);
const char *bh__igb_stats_name(unsigned int i);
/* By the register's name; 0 for one there is not. */
uint64_t bh__igb_stat(const struct bh_igb_hw *hw, const char *name);

#endif

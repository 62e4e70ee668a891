/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scripted 82576 in this process, as a backend: registers with the side effects that the control
 * path relies on, a PHY, an EEPROM and its semaphores. Nothing happens by itself: a test has it
 * receive and transmit. iova = va + FAKE_DELTA, so that a va handed out by mistake is noticed.
 */
#ifndef FAKE_IGB_H
#define FAKE_IGB_H

#include <stdbool.h>
#include <stdint.h>

#include "io/io.h"
#include "net_igb/desc.h"
#include "net_igb/igb.h"

#define FAKE_DELTA 0x500000000000ull
#define FAKE_BAR 0x20000u

struct fake {
	struct bh_device dev; /* first */
	struct bh_dma_listener listener;
	uint8_t *bar; /* what is mapped; side effects happen to writes through the backend */
	struct bh_region_area area;
	uint16_t phy[32], nvm[0x200];
	/* ---- scripts ---- */
	bool gone;	    /* registers and configuration space read all-ones */
	bool reset_sticks;  /* CTRL.RST stays set */
	bool master_sticks; /* requests stay outstanding */
	bool no_autoload;   /* RAL0 and RAH0 are empty after a reset */
	bool phy_error, phy_silent;
	bool firmware_has_phy;
	bool smbi_taken;   /* by a driver that died */
	bool queue_sticks; /* RXDCTL.ENABLE and TXDCTL.ENABLE stay set */
	bool never_done;   /* transmits, and does not say so */
	unsigned int lan_id, link_mode;
	/* ---- what it saw ---- */
	unsigned int resets, resets_with_master, bus_masters_off, function_resets;
	unsigned int phy_without_semaphore, nvm_without_semaphore;
	struct {
		unsigned int frames, contexts, reports;
		size_t bytes; /* of the last frame */
		uint32_t options;
		struct bh_igb_tx_context context;
	} tx;
};

int fake_open(uint16_t device, struct bh_dma_space *space, const struct bh_log *log,
	      struct fake **out);
uint32_t fake_get(struct fake *f, uint32_t reg);
void fake_put(struct fake *f, uint32_t reg, uint32_t value);
/*
 * The device's side of a ring, as the registers have it. Receives: the data goes into the next
 * buffer, and `done` (with DD) over its descriptor, whatever it says. False: no buffer.
 */
bool fake_receive(struct fake *f, unsigned int queue, const void *data, size_t bytes,
		  struct bh_igb_rx_done done);
/*
 * Transmits up to the tail; the last frame's bytes go to out, of `most`, and what was seen to f->tx.
 */
void fake_transmit(struct fake *f, unsigned int queue, uint8_t *out, size_t most);
/* Makes the EEPROM's checksum right. */
void fake_nvm_sum(struct fake *f, unsigned int base);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The table variant by its own name, so that both are tested against each other. Private. */
#ifndef PI_CRC_H
#define PI_CRC_H

#include <stddef.h>
#include <stdint.h>

uint16_t bh__crc16_table(uint16_t crc, const void *buf, size_t len);

#endif

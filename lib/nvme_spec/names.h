/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NVME_SPEC_NAMES_H
#define NVME_SPEC_NAMES_H

#include <stddef.h>
#include <stdint.h>

/* A row of a table of names, tables being sorted by number without duplicates. */
struct bh__nvme_name {
	uint16_t number;
	const char *text;
};

/* The text of a number, or NULL. Any thread. */
const char *bh__nvme_name_find(const struct bh__nvme_name *table, size_t count, uint16_t number);

#define bh__nvme_name_of(table, number) \
	bh__nvme_name_find(table, sizeof(table) / sizeof((table)[0]), number)

#endif /* NVME_SPEC_NAMES_H */

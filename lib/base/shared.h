/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of ours that a client maps, a file of its own for each client: see shared.c. One thread at a
 * time.
 */
#ifndef BASE_SHARED_H
#define BASE_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bh_shared {
	const char *name;
	uint8_t *map;
	size_t bytes;
	int fd;
	bool is_private; /* what is behind fd is not what is mapped */
};

/* 0 or -errno; destroyed in either case. fd is -1 before. name is static text. */
int bh__shared_create(struct bh_shared *shared, const char *name, size_t bytes);
void bh__shared_destroy(struct bh_shared *shared);
/*
 * The client has left: other memory, zeroed, is at the same address and behind the same descriptor.
 * -errno: is_private; tried again by the next call. Nobody may be writing there meanwhile.
 */
int bh__shared_renew(struct bh_shared *shared);

#endif

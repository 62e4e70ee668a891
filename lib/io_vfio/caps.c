/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capability chains of VFIO's info calls: a header with an id and the offset, from the beginning of
 * the info, of the next one. Offsets only go forward in what kernels write, but nothing says so:
 * the walk takes as many steps as headers fit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io_vfio/dev.h"

/* More than any info needs: 2048 sparse areas. */
#define INFO_MAX (64u * 1024u)

const void *io_vfio_cap_find(const void *info, size_t len, uint32_t first, uint16_t id, size_t min,
			     size_t *room)
{
	struct vfio_info_cap_header header;
	size_t steps = len / sizeof(header);

	for (size_t at = first; at != 0 && steps > 0; at = header.next, steps--) {
		if (!bh_range_inside(at, sizeof(header), len))
			return NULL;
		memcpy(&header, (const uint8_t *)info + at, sizeof(header));
		if (header.id != id)
			continue;
		*room = len - at;
		return *room >= min ? (const uint8_t *)info + at : NULL;
	}
	return NULL;
}

int io_vfio_info_get(int fd, unsigned long request, const void *ask, size_t fixed, void **out)
{
	uint32_t want = (uint32_t)fixed, argsz;

	*out = NULL;
	for (int tries = 0; tries < 4; tries++) {
		void *info = calloc(1, want);

		if (!info)
			return -ENOMEM;
		memcpy(info, ask, fixed);
		memcpy(info, &want, sizeof(want));
		if (ioctl(fd, request, info) < 0) {
			int rc = -errno;

			free(info);
			return rc;
		}
		memcpy(&argsz, info, sizeof(argsz));
		if (argsz <= want) {
			*out = info;
			/* Now it says how large the buffer is: for walking it. */
			memcpy(info, &want, sizeof(want));
			return 0;
		}
		free(info);
		if (argsz > INFO_MAX)
			return -EPROTO;
		want = argsz;
	}
	return -EPROTO;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying a frame, of which most are short: then a call costs more than the copy.
 */
#ifndef TARGET_NET_COPY_IO_H
#define TARGET_NET_COPY_IO_H

#include <stdint.h>

#define TNET_COPY_MIN 16u /* bytes, at least */
#define TNET_COPY_INLINE 256u

/*
 * A length that is no multiple of 16 ends with two pieces that overlap. So may the client's buffers,
 * whose content is then anything, but the copy has to be one that allows it.
 */
static inline void tnet_copy(uint8_t *to, const uint8_t *from, uint32_t n)
{
	uint32_t i;

	if (__builtin_expect(n > TNET_COPY_INLINE, 0)) {
		__builtin_memmove(to, from, n);
		return;
	}
	for (i = 0; i + 16 <= n; i += 16)
		__builtin_memmove(to + i, from + i, 16);
	__builtin_memmove(to + n - 16, from + n - 16, 16);
}

#endif

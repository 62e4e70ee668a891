/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages: whole ones with any content, and bytes that are none. */
#include "fuzz.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MAX_FDS = 20, MAX_BODY = 1024 };

/* The low bits say how many come with the message, each of a kind. */
static unsigned int open_fds(uint8_t wish, int fds[MAX_FDS])
{
	unsigned int n = wish & 7;

	if (n == 7)
		n = MAX_FDS; /* more than a message may carry */
	for (unsigned int i = 0; i < n; i++)
		fds[i] = wish & 8 ? dup(fz_mem_fd) : eventfd(0, EFD_CLOEXEC);
	return n;
}

static void raw(struct fz_input *in)
{
	size_t have;
	const uint8_t *at = fz_bytes(in, fz_u8(in), &have);

	fz_raw(at, have, NULL, 0);
}

static void message(struct fz_input *in, uint8_t kind)
{
	uint8_t buf[sizeof(struct vfu_header) + MAX_BODY];
	struct vfu_header header = { .command = fz_u8(in), .flags = fz_u8(in) };
	uint8_t wish = fz_u8(in);
	size_t len = fz_u16(in) % MAX_BODY, have;
	const uint8_t *body = fz_bytes(in, len, &have);
	int fds[MAX_FDS];
	unsigned int nfds = open_fds(wish, fds);

	header.size = (uint32_t)(sizeof(header) + have);
	if (kind & 0x40) /* it says another size than it has */
		header.size += (uint32_t)(int8_t)wish;
	memcpy(buf, &header, sizeof(header));
	memcpy(buf + sizeof(header), body, have);
	fz_raw(buf, sizeof(header) + have, fds, nfds);
	while (nfds > 0)
		close(fds[--nfds]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fz_input in = { data, size };
	uint8_t start = fz_u8(&in);

	fz_connect();
	if (start & 1) {
		fz_negotiate();
		fz_map((enum fz_memory)(start >> 1 & 3));
	}
	while (in.left) {
		uint8_t kind = fz_u8(&in);

		if ((kind & 7) == 0)
			raw(&in);
		else
			message(&in, kind);
		if (kind & 0x80)
			fz_pump();
	}
	fz_pump();
	fz_disconnect();
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Captures of packets (libpcap's files): one read whole into memory, or one written. */
#ifndef APP_CAPTURE_H
#define APP_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include "common.h"

struct capture_in {
	size_t count;
	uint32_t largest;
	size_t *at; /* of each packet in data; one more, the end */
	uint8_t *data;
	size_t bytes, room; /* of data */
	size_t places;	    /* of at */
};

struct capture_out;

/*
 * Every packet of an Ethernet capture, each of at most max_bytes. 0, or an exit code: what is wrong
 * was said. capture_in_close() in every case.
 */
int capture_in_open(const struct app *app, const char *path, uint32_t max_bytes,
		    struct capture_in *in);
void capture_in_close(struct capture_in *in);

static inline uint32_t capture_bytes(const struct capture_in *in, size_t i)
{
	return (uint32_t)(in->at[i + 1] - in->at[i]);
}

/* Ethernet, time stamps in nanoseconds. Packets are written in large blocks. */
int capture_out_open(const struct app *app, const char *path, struct capture_out **out);
/* ns since 1970. One thread at a time. */
void capture_out_write(struct capture_out *out, uint64_t ns, const void *packet, uint32_t bytes);
/* 0, or an exit code: not everything could be written, which was said. NULL is accepted. */
int capture_out_close(const struct app *app, struct capture_out *out);

#endif

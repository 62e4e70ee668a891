/* SPDX-License-Identifier: BSD-3-Clause */
#include "capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pcap/pcap.h>

#define SNAPLEN 65535

/* ---- reading ---- */

/* Room for one more packet. */
static int grow(struct capture_in *in, uint32_t bytes)
{
	if (in->count + 2 > in->places) {
		size_t places = in->places ? 2 * in->places : 1024;
		size_t *at = realloc(in->at, places * sizeof(*at));

		if (!at)
			return -ENOMEM;
		in->at = at;
		in->places = places;
	}
	if (in->bytes + bytes > in->room) {
		size_t room = 2 * in->room + bytes + (1 << 16);
		uint8_t *data = realloc(in->data, room);

		if (!data)
			return -ENOMEM;
		in->data = data;
		in->room = room;
	}
	return 0;
}

static int add(const struct app *app, const char *path, uint32_t max_bytes,
	       const struct pcap_pkthdr *header, const u_char *packet, struct capture_in *in)
{
	size_t number = in->count + 1;

	if (header->caplen < header->len)
		return app_fail(
			app, 1,
			"%s: packet %zu was captured in part (%u of %u bytes): capture with "
			"tcpdump -s 0",
			path, number, header->caplen, header->len);
	if (header->caplen < 14 || header->caplen > max_bytes)
		return app_fail(app, 1,
				"%s: packet %zu has %u bytes: expected 14 to %u, what the device "
				"can send",
				path, number, header->caplen, max_bytes);
	if (grow(in, header->caplen) != 0)
		return app_fail(app, 1, "%s: out of memory at packet %zu", path, number);
	in->at[in->count++] = in->bytes;
	memcpy(in->data + in->bytes, packet, header->caplen);
	in->bytes += header->caplen;
	in->at[in->count] = in->bytes;
	if (header->caplen > in->largest)
		in->largest = header->caplen;
	return 0;
}

static int read_all(const struct app *app, const char *path, uint32_t max_bytes, pcap_t *file,
		    struct capture_in *in)
{
	struct pcap_pkthdr *header;
	const u_char *packet;
	int code = 0, got = 0;

	if (pcap_datalink(file) != DLT_EN10MB) {
		const char *name = pcap_datalink_val_to_name(pcap_datalink(file));

		return app_fail(app, 1, "%s: a capture of %s packets: expected Ethernet", path,
				name ? name : "unknown");
	}
	while (!code && (got = pcap_next_ex(file, &header, &packet)) == 1)
		code = add(app, path, max_bytes, header, packet, in);
	if (!code && got == PCAP_ERROR)
		code = app_fail(app, 1, "%s: %s", path, pcap_geterr(file));
	if (!code && in->count == 0)
		code = app_fail(app, 1, "%s: there is no packet in it", path);
	return code;
}

int capture_in_open(const struct app *app, const char *path, uint32_t max_bytes,
		    struct capture_in *in)
{
	char why[PCAP_ERRBUF_SIZE] = "";

	memset(in, 0, sizeof(*in));
	pcap_t *file = pcap_open_offline(path, why);
	if (!file) /* libpcap names the path only where the file cannot be opened */
		return strstr(why, path) ? app_fail(app, 1, "%s", why)
					 : app_fail(app, 1, "%s: %s", path, why);
	int code = read_all(app, path, max_bytes, file, in);
	pcap_close(file);
	return code;
}

void capture_in_close(struct capture_in *in)
{
	free(in->at);
	free(in->data);
	memset(in, 0, sizeof(*in));
}

/* ---- writing ---- */

struct capture_out {
	pcap_t *format;
	pcap_dumper_t *file;
	char *path;
};

int capture_out_open(const struct app *app, const char *path, struct capture_out **out)
{
	struct capture_out *c = calloc(1, sizeof(*c));

	*out = c;
	if (c)
		c->path = strdup(path);
	if (!c || !c->path)
		return app_fail(app, 1, "out of memory");
	c->format = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, SNAPLEN,
							 PCAP_TSTAMP_PRECISION_NANO);
	if (!c->format)
		return app_fail(app, 1, "out of memory");
	c->file = pcap_dump_open(c->format, path);
	if (!c->file)
		return app_fail(app, 1, "%s", pcap_geterr(c->format));
	return 0;
}

void capture_out_write(struct capture_out *out, uint64_t ns, const void *packet, uint32_t bytes)
{
	struct pcap_pkthdr header = { .caplen = bytes, .len = bytes };

	header.ts.tv_sec = (time_t)(ns / 1000000000u);
	header.ts.tv_usec = (suseconds_t)(ns % 1000000000u); /* ns: see the precision above */
	pcap_dump((u_char *)out->file, &header, packet);
}

int capture_out_close(const struct app *app, struct capture_out *out)
{
	int code = 0;

	if (!out)
		return 0;
	if (out->file) {
		if (pcap_dump_flush(out->file) != 0 || ferror(pcap_dump_file(out->file)))
			code = app_fail(app, 1, "%s: the capture is not complete: %s", out->path,
					strerror(errno));
		pcap_dump_close(out->file);
	}
	if (out->format)
		pcap_close(out->format);
	free(out->path);
	free(out);
	return code;
}

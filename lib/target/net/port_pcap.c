/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port `pcap`: what the client sends is captured into one file, the packets of another are
 * replayed to it, both in libpcap's format.
 *
 * The file to be replayed is read when the port is opened, all of it, so that nothing has to be
 * opened or read later; it comes on queue 0, once or as often as wanted, each time a driver starts.
 * Captures of all queues go to one file, under a lock, and are flushed when a thread is about to
 * sleep and at the end.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pcap/pcap.h>

#include <bellhop/barrier.h>
#include <bellhop/parse.h>

#include "target/net/port.h"

#define SNAPLEN 262144
#define MAX_REPLAY (1ull << 30)
#define SHOWN 64u

struct replay {
	uint8_t *bytes; /* frames, one behind the other */
	size_t used, room;
	uint32_t *len; /* of each frame */
	size_t count, len_room;
	uint64_t times; /* it is replayed */
};

struct capture {
	struct bh_net_port port;
	pthread_mutex_t lock; /* of the next three */
	pcap_dumper_t *dumper;
	bool is_dirty;
	uint8_t frame[TNET_MAX_FRAME];
	pcap_t *dead;
	struct replay replay;
	/* queue 0's thread */
	bool is_replaying;
	size_t next, at;
	uint64_t turn; /* of replay.times */
	struct iovec iov[SHOWN];
};

static struct capture *capture_of(struct bh_net_port *port)
{
	return (struct capture *)(void *)port; /* its first member */
}

/* ---- packets ---- */

static void dump(struct capture *c, const struct tnet_pkt *pkt)
{
	struct pcap_pkthdr head = { .caplen = pkt->len, .len = pkt->len };
	struct timespec now;
	uint32_t i, at = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	head.ts.tv_sec = now.tv_sec;
	head.ts.tv_usec = now.tv_nsec / 1000;
	for (i = 0; i < pkt->num_iov; i++) {
		bh_fetch(c->frame + at, pkt->iov[i].iov_base, pkt->iov[i].iov_len);
		at += (uint32_t)pkt->iov[i].iov_len;
	}
	pcap_dump((u_char *)c->dumper, &head, c->frame);
}

static unsigned int capture_tx(struct bh_net_port *port, unsigned int queue, struct tnet_pkt *pkt,
			       unsigned int count)
{
	struct capture *c = capture_of(port);
	unsigned int n;

	(void)queue;
	if (!c->dumper)
		return count;
	pthread_mutex_lock(&c->lock);
	for (n = 0; n < count; n++)
		dump(c, &pkt[n]);
	c->is_dirty = true;
	pthread_mutex_unlock(&c->lock);
	return count;
}

/* Up to the end of the file; its beginning is shown next time. */
static unsigned int capture_rx(struct bh_net_port *port, unsigned int queue, struct tnet_pkt *pkt,
			       unsigned int count)
{
	struct capture *c = capture_of(port);
	size_t at = c->at;
	unsigned int n;

	if (queue || !c->is_replaying)
		return 0;
	for (n = 0; n < count && n < SHOWN && c->next + n < c->replay.count; n++) {
		uint32_t len = c->replay.len[c->next + n];

		c->iov[n] = (struct iovec){ c->replay.bytes + at, len };
		pkt[n] = (struct tnet_pkt){ .len = len, .num_iov = 1, .iov = &c->iov[n] };
		at += len;
	}
	return n;
}

static void capture_rx_done(struct bh_net_port *port, unsigned int queue, unsigned int count)
{
	struct capture *c = capture_of(port);

	(void)queue;
	while (count--)
		c->at += c->replay.len[c->next++];
	if (c->next == c->replay.count && c->turn < c->replay.times) {
		c->next = c->at = 0;
		c->turn++;
	}
}

static bool capture_arm(struct bh_net_port *port, unsigned int queue)
{
	struct capture *c = capture_of(port);

	pthread_mutex_lock(&c->lock);
	if (c->is_dirty)
		pcap_dump_flush(c->dumper);
	c->is_dirty = false;
	pthread_mutex_unlock(&c->lock);
	return queue == 0 && c->is_replaying && c->next < c->replay.count;
}

/* ---- control ---- */

static void capture_start(struct bh_net_port *port, uint64_t features)
{
	struct capture *c = capture_of(port);

	(void)features;
	c->next = c->at = 0;
	c->turn = 1;
	c->is_replaying = true;
}

static void capture_stop(struct bh_net_port *port)
{
	capture_of(port)->is_replaying = false;
}

static void capture_close(struct bh_net_port *port)
{
	struct capture *c = capture_of(port);

	if (c->dumper)
		pcap_dump_close(c->dumper);
	if (c->dead)
		pcap_close(c->dead);
	free(c->replay.bytes);
	free(c->replay.len);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* Checksums are not completed in a file, so none are left to the device. */
static const struct bh_net_port_ops capture_ops = {
	.name = "pcap",
	.start = capture_start,
	.stop = capture_stop,
	.tx = capture_tx,
	.rx = capture_rx,
	.rx_done = capture_rx_done,
	.arm = capture_arm,
	.close = capture_close,
};

/* ---- opening ---- */

static bool grow(void **p, size_t *room, size_t wanted, size_t unit)
{
	size_t next = *room ? *room * 2 : 4096;
	void *q;

	if (wanted <= *room)
		return true;
	while (next < wanted)
		next *= 2;
	q = realloc(*p, next * unit);
	if (!q)
		return false;
	*p = q;
	*room = next;
	return true;
}

static int add_frame(struct replay *r, const struct pcap_pkthdr *head, const u_char *bytes)
{
	if (head->caplen < 14 || head->caplen > TNET_MAX_FRAME)
		return 0; /* no frame we could send */
	if (r->used + head->caplen > MAX_REPLAY)
		return -EFBIG;
	if (!grow((void **)&r->bytes, &r->room, r->used + head->caplen, 1) ||
	    !grow((void **)&r->len, &r->len_room, r->count + 1, sizeof(*r->len)))
		return -ENOMEM;
	memcpy(r->bytes + r->used, bytes, head->caplen);
	r->used += head->caplen;
	r->len[r->count++] = head->caplen;
	return 0;
}

static int load(struct replay *r, const char *path, char *why)
{
	char error[PCAP_ERRBUF_SIZE];
	pcap_t *in = pcap_open_offline(path, error);
	struct pcap_pkthdr *head;
	const u_char *bytes;
	int got, rc = 0;

	if (!in)
		return tnet_port_fail(why, -EINVAL, "pcap: %s", error);
	if (pcap_datalink(in) != DLT_EN10MB)
		rc = tnet_port_fail(why, -EINVAL, "pcap: %s: holds no Ethernet frames", path);
	while (!rc && (got = pcap_next_ex(in, &head, &bytes)) != PCAP_ERROR_BREAK) {
		if (got != 1)
			rc = tnet_port_fail(why, -EINVAL, "pcap: %s: %s", path, pcap_geterr(in));
		else if ((rc = add_frame(r, head, bytes)) != 0)
			tnet_port_fail(why, rc, "pcap: %s: %s", path, strerror(-rc));
	}
	pcap_close(in);
	return rc;
}

static int open_dumper(struct capture *c, const char *path, char *why)
{
	c->dead = pcap_open_dead(DLT_EN10MB, SNAPLEN);
	if (!c->dead)
		return tnet_port_fail(why, -ENOMEM, "out of memory");
	c->dumper = pcap_dump_open(c->dead, path);
	return c->dumper ? 0 : tnet_port_fail(why, -EACCES, "pcap: %s", pcap_geterr(c->dead));
}

/* IN or IN:TIMES, whose end is cut off; how often. -EINVAL: not at all. */
static int take_times(char *in, uint64_t *times)
{
	char *last = strrchr(in, ':');

	*times = 1;
	if (!last || last[1 + strspn(last + 1, "0123456789")] != '\0')
		return 0; /* part of the name */
	*last = '\0';
	return bh_parse_u64(last + 1, 1, UINT32_MAX, times);
}

int tnet_port_pcap_open(const char *arg, const struct bh_net_port_opts *opts,
			char why[BH_TARGET_NET_WHY], struct bh_net_port **out)
{
	char *files = strdup(arg ? arg : ""), *in;
	struct capture *c = calloc(1, sizeof(*c));
	int rc = 0;

	if (!c || !files) {
		free(c);
		free(files);
		return tnet_port_fail(why, -ENOMEM, "out of memory");
	}
	pthread_mutex_init(&c->lock, NULL);
	c->port = (struct bh_net_port){ &capture_ops, opts->log, opts->queues, false };
	in = strchr(files, ':');
	if (in)
		*in++ = '\0';
	if (in && take_times(in, &c->replay.times))
		rc = tnet_port_fail(why, -EINVAL, "pcap: TIMES: expected 1 to 4294967295 in %s",
				    arg);
	else if (!files[0] && (!in || !in[0]))
		rc = tnet_port_fail(why, -EINVAL, "pcap: expected OUT, OUT:IN, :IN or :IN:TIMES");
	if (!rc && in && in[0])
		rc = load(&c->replay, in, why);
	if (!rc && files[0])
		rc = open_dumper(c, files, why);
	free(files);
	if (rc) {
		capture_close(&c->port);
		return rc;
	}
	*out = &c->port;
	return 0;
}

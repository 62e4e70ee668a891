/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vfio-user server: life cycle.
 *
 *	LISTENING --accept--> ATTACHED --VERSION--> NEGOTIATED --lost--> LEAVING --> LISTENING
 *
 * One client at a time. The parts: client.c serves the socket, dispatch.c orders commands,
 * regions.c, dma.c, irqs.c, config.c and io_fds.c answer them, quiesce.c makes the device stand
 * still for those that change what DMA may touch, dma_msg.c sends commands of our own. Everything
 * a client says is checked where it is used first; an error is answered and the connection stays,
 * unless framing or the client's identity is in doubt.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bellhop/range.h>

#include "vfu_server/server.h"

#define MSIX_PAGE 4096u /* the grain of the MSI-X BAR's layout, whatever pages are here */

void vfus_enter(struct bh_vfu_server *s)
{
	s->depth++;
}

/* Outermost: does what could not be done further in. */
void vfus_leave(struct bh_vfu_server *s)
{
	if (s->depth > 1) {
		s->depth--;
		return;
	}
	if (vfus_has_client(s))
		vfus_run_deferred(s);
	if (vfus_has_client(s))
		vfus_dma_pump(s);
	if (vfus_has_client(s) && !s->broken)
		vfus_update_events(s);
	if (s->state == VFUS_LEAVING || (vfus_has_client(s) && s->broken))
		vfus_lose(s);
	s->depth--;
}

static void on_kick(void *ctx)
{
	struct bh_vfu_server *s = ctx;
	void (*stopped)(void *arg) = s->stopped;

	if (s->state == VFUS_STOPPED && stopped) {
		s->stopped = NULL;
		stopped(s->stopped_arg); /* may destroy the server */
		return;
	}
	vfus_enter(s);
	if (s->accept_later)
		vfus_listen_again(s);
	if (s->multi_later)
		vfus_write_more(s);
	vfus_leave(s);
}

static void close_path(struct bh_vfu_server *s)
{
	struct stat st;

	bh_fd_source_remove(s->listen_source);
	s->listen_source = NULL;
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	s->listen_fd = -1;
	/* Somebody may have put another socket there. */
	if (s->has_path && lstat(s->path, &st) == 0 && st.st_dev == s->path_dev &&
	    st.st_ino == s->path_ino)
		unlink(s->path);
	s->has_path = false;
}

/* No client any more: take the next one, or end. */
void vfus_listen_again(struct bh_vfu_server *s)
{
	s->accept_later = false;
	if (s->stopping) {
		s->state = VFUS_STOPPED;
		bh_timer_set(s->kick, 0);
		return;
	}
	s->state = VFUS_LISTENING;
	if (bh_fd_source_add(s->control, s->listen_fd, EPOLLIN, vfus_accept, s,
			     &s->listen_source) != 0) {
		s->accept_later = true;
		bh_timer_set(s->kick, 100000000);
	}
}

/* ---- options ---- */

void bh_vfu_server_opts_init(struct bh_vfu_server_opts *opts)
{
	unsigned int i;

	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->mode = 0600;
	/* QEMU gives up after 5 s; a device's thread may have to wait 2 s for its CPU. */
	opts->quiesce_ns = 4000000000ull;
	opts->max_dma_maps = VFU_MAX_DMA_MAPS;
	for (i = 0; i < 6; i++)
		opts->bar[i].fd = -1;
}

/* What is wrong with a BAR, or NULL. */
static const char *check_bar(const struct bh_vfu_server_opts *opts, unsigned int i)
{
	const struct bh_vfu_bar *bar = &opts->bar[i];
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	unsigned int a;

	if (bar->bytes == 0)
		return NULL;
	if (bar->bytes < 16 || (bar->bytes & (bar->bytes - 1)))
		return "its size is not a power of two from 16";
	if (!bar->is_64 && bar->bytes > 1ull << 31)
		return "it is too large for 32 bits";
	if (bar->bytes > 1ull << 62)
		return "it is too large";
	if (bar->is_64 && (i == 5 || opts->bar[i + 1].bytes != 0))
		return "its upper half is taken";
	if (bar->num_areas > 0 && (bar->fd < 0 || !bar->areas || bar->num_areas > 1024))
		return "its areas have no memory, or are too many";
	for (a = 0; a < bar->num_areas; a++)
		if (bar->areas[a].len == 0 || bar->areas[a].offset % page != 0 ||
		    bar->areas[a].len % page != 0 ||
		    !bh_range_inside(bar->areas[a].offset, bar->areas[a].len, bar->bytes))
			return "an area is unaligned or outside";
	return NULL;
}

static const char *check_opts(const struct bh_vfu_server_opts *opts)
{
	const unsigned int m = opts->msix_bar;
	const char *why = NULL;
	unsigned int i;

	if (opts->size != sizeof(*opts))
		return "options of another version";
	if (!opts->path || !opts->control || !opts->ops)
		return "no path, no reactor or no operations";
	if (!opts->ops->access || !opts->ops->quiesce || !opts->ops->resume || !opts->ops->reset ||
	    !opts->ops->fatal)
		return "an operation is missing";
	if (opts->class_code > 0xffffff || opts->interrupt_pin > 4 || opts->max_dma_maps == 0 ||
	    opts->max_dma_maps > VFU_MAX_DMA_MAPS || opts->quiesce_ns == 0 ||
	    (opts->num_allowed_uids > 0 && !opts->allowed_uids))
		return "a number is out of range";
	for (i = 0; i < 6 && !why; i++)
		why = check_bar(opts, i);
	if (!why)
		why = vfus_config_check_caps(opts);
	if (why || opts->msix_vectors == 0)
		return why;
	if (opts->msix_vectors > VFUS_MAX_VECTORS || m > 5)
		return "too many MSI-X vectors, or no such BAR for them";
	if (opts->bar[m].bytes != 0 || (m > 0 && opts->bar[m - 1].bytes && opts->bar[m - 1].is_64))
		return "the MSI-X BAR is taken";
	return NULL;
}

/* ---- building and taking apart ---- */

static int copy_bars(struct bh_vfu_server *s, const struct bh_vfu_server_opts *opts)
{
	unsigned int i;

	for (i = 0; i < 6; i++) {
		const struct bh_vfu_bar *from = &opts->bar[i];
		struct vfus_bar *bar = &s->bar[i];

		if (from->bytes == 0)
			continue;
		bar->bytes = from->bytes;
		bar->is_64 = from->is_64;
		bar->prefetchable = from->prefetchable;
		bar->fd = from->fd;
		if (from->num_areas == 0)
			continue;
		bar->areas = calloc(from->num_areas, sizeof(*bar->areas));
		if (!bar->areas)
			return -ENOMEM;
		memcpy(bar->areas, from->areas, from->num_areas * sizeof(*bar->areas));
		bar->num_areas = from->num_areas;
	}
	return 0;
}

/* Table at 0, pending bits behind it on a page of their own. */
static int make_msix_bar(struct bh_vfu_server *s, const struct bh_vfu_server_opts *opts)
{
	uint64_t bytes = 2 * MSIX_PAGE;
	unsigned int i;

	if (opts->msix_vectors == 0)
		return 0;
	s->msix_bar = opts->msix_bar;
	s->msix_table_len = 16 * (size_t)opts->msix_vectors;
	s->pba_offset = (s->msix_table_len + MSIX_PAGE - 1) & ~(uint64_t)(MSIX_PAGE - 1);
	while (bytes < s->pba_offset + (opts->msix_vectors + 7) / 8)
		bytes *= 2;
	s->bar[s->msix_bar].bytes = bytes;
	s->msix_table = calloc(1, s->msix_table_len);
	if (!s->msix_table)
		return -ENOMEM;
	for (i = 0; i < opts->msix_vectors; i++)
		s->msix_table[16 * i + 12] = 1;
	return 0;
}

static int copy_opts(struct bh_vfu_server *s, const struct bh_vfu_server_opts *opts)
{
	s->log = opts->log;
	s->control = opts->control;
	s->ops = opts->ops;
	s->ops_ctx = opts->ops_ctx;
	s->quiesce_ns = opts->quiesce_ns;
	s->max_dma_maps = opts->max_dma_maps;
	s->path = strdup(opts->path);
	if (!s->path)
		return -ENOMEM;
	if (opts->num_allowed_uids > 0) {
		s->uids = calloc(opts->num_allowed_uids, sizeof(*s->uids));
		if (!s->uids)
			return -ENOMEM;
		memcpy(s->uids, opts->allowed_uids, opts->num_allowed_uids * sizeof(*s->uids));
		s->num_uids = opts->num_allowed_uids;
	}
	return copy_bars(s, opts);
}

/* The line that users see, hence what to do about it. */
static const char *why_not_listen(int error)
{
	switch (error) {
	case -EADDRINUSE:
		return "another process serves it: stop that, or choose another path";
	case -EEXIST:
		return "the path exists and is no socket: remove it, or choose another path";
	case -ENOENT:
		return "its directory does not exist";
	}
	return strerror(-error);
}

static int start_listening(struct bh_vfu_server *s, mode_t mode)
{
	struct stat st;
	int rc;

	rc = vfu_listen(s->path, mode, &s->listen_fd);
	if (rc != 0) {
		bh_log(s->log, BH_LOG_ERROR, VFUS_LOG, "%s: cannot listen: %s", s->path,
		       why_not_listen(rc));
		return rc;
	}
	if (lstat(s->path, &st) == 0) {
		s->path_dev = st.st_dev;
		s->path_ino = st.st_ino;
		s->has_path = true;
	}
	return bh_fd_source_add(s->control, s->listen_fd, EPOLLIN, vfus_accept, s,
				&s->listen_source);
}

static int build(struct bh_vfu_server *s, const struct bh_vfu_server_opts *opts)
{
	static const struct bh_cmem_ops cmem_ops = { .message = vfus_dma_message,
						     .close = vfus_close };
	int rc;

	s->closing = (struct vfu_closing){ vfus_close, s };
	rc = copy_opts(s, opts);
	if (rc == 0)
		rc = vfus_closer_create(&s->closer);
	if (rc == 0)
		rc = vfus_irqs_init(s, opts->msix_vectors);
	if (rc == 0)
		rc = make_msix_bar(s, opts);
	if (rc == 0)
		rc = bh_cmem_init(&s->cmem, &cmem_ops, s, s->max_dma_maps, s->log);
	if (rc == 0)
		rc = bh_timer_create(s->control, on_kick, s, &s->kick);
	if (rc == 0)
		rc = bh_timer_create(s->control, vfus_handshake_over, s, &s->handshake);
	if (rc == 0)
		rc = vfus_gate_init(s);
	if (rc == 0)
		rc = vfus_dma_init(s);
	if (rc != 0)
		return rc;
	vfus_config_init(s, opts);
	return start_listening(s, opts->mode);
}

int bh_vfu_server_create(const struct bh_vfu_server_opts *opts, struct bh_vfu_server **out)
{
	const char *why = check_opts(opts);
	struct bh_vfu_server *s;
	unsigned int i;
	int rc;

	*out = NULL;
	if (why) {
		bh_log(opts->log, BH_LOG_ERROR, VFUS_LOG, "%s: bad options: %s",
		       opts->path ? opts->path : "(no path)", why);
		return -EINVAL;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->listen_fd = s->conn.fd = s->twin.fd = -1;
	s->irqs.intx.fd = s->irqs.err_fd = s->irqs.req_fd = s->irqs.signaller.file = -1;
	for (i = 0; i < 6; i++)
		s->bar[i].fd = -1;
	rc = build(s, opts);
	if (rc != 0) {
		bh_vfu_server_destroy(s);
		return rc;
	}
	*out = s;
	return 0;
}

void bh_vfu_server_destroy(struct bh_vfu_server *s)
{
	unsigned int i;

	if (!s)
		return;
	s->depth++; /* nothing is put off to vfus_leave any more */
	close_path(s);
	if (vfus_has_client(s)) {
		s->state = VFUS_STOPPED;
		vfus_close_client(s);
	}
	vfu_msg_fini(&s->cur);
	bh_timer_destroy(s->kick);
	bh_timer_destroy(s->handshake);
	bh_timer_destroy(s->gate.timer);
	bh_timer_destroy(s->dma.timer);
	vfus_irqs_fini(s);
	bh_cmem_fini(&s->cmem);
	vfus_closer_destroy(s->closer);
	for (i = 0; i < 6; i++)
		free(s->bar[i].areas);
	free(s->msix_table);
	free(s->io_fds);
	free(s->uids);
	free(s->path);
	free(s);
}

void bh_vfu_server_shutdown(struct bh_vfu_server *s, void (*done)(void *arg), void *arg)
{
	vfus_enter(s);
	s->stopping = true;
	s->stopped = done;
	s->stopped_arg = arg;
	close_path(s);
	if (vfus_has_client(s))
		s->broken = true;
	else if (s->state == VFUS_LISTENING)
		vfus_listen_again(s);
	vfus_leave(s);
}

struct bh_cmem *bh_vfu_server_cmem(struct bh_vfu_server *s)
{
	return &s->cmem;
}

bool bh_vfu_server_is_connected(const struct bh_vfu_server *s)
{
	return s->state == VFUS_NEGOTIATED;
}

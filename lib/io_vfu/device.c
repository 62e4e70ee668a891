/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening, reopening and closing a device behind a vfio-user socket.
 *
 * Opening goes from the least to the most trusting: connect, agree on a version, learn what the
 * device is, and only then let it have memory. Whatever fails, one line in the log says why.
 *
 * Reopening is closing and opening with the handle kept: nothing of the old connection survives
 * (vfio-user 4), so regions, interrupts and mappings are learnt and made anew. The DMA listener is
 * taken off and put on again, which maps every pool there is by then.
 *
 * Lock order: the DMA space's or io_fds_lock, then maps_lock or link.lock (never both). Replies are
 * waited for with link.lock given up and may be waited for with the first two held; the receiving
 * thread takes neither of those, so it never stands still for its own callers.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io_vfu/dev.h"

#define PCI_MSIX 2u /* VFIO's index among the interrupts */

int io_vfu_fail(struct io_vfu *v, int rc, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (io_vfu_is_opening(v) && __atomic_exchange_n(&v->said, true, __ATOMIC_ACQ_REL))
		return rc;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bh_log(v->dev.log, BH_LOG_ERROR, "vfio-user", "%s: %s", v->dev.address, text);
	return rc;
}

/* The last word on a failed step, unless it has spoken for itself. */
static int step_failed(struct io_vfu *v, const char *step, int rc)
{
	const char *why = io_vfu_link_why(v);

	if (rc == -ENODEV && why)
		return io_vfu_fail(v, rc, "%s: %s", step, why);
	if (rc == -ETIMEDOUT)
		return io_vfu_fail(v, rc, "%s: the server does not answer", step);
	return io_vfu_fail(v, rc, "%s: %s", step, strerror(-rc));
}

static int connect_socket(struct io_vfu *v)
{
	int rc, fd;

	rc = vfu_connect(v->path, (unsigned int)(io_vfu_first_timeout(v) / 1000000), &fd);
	switch (rc) {
	case 0:
		vfu_conn_init(&v->link.main, fd, v->dev.log);
		return 0;
	case -ENOENT:
		return io_vfu_fail(v, rc, "no such socket: is the server running?");
	case -ECONNREFUSED:
		return io_vfu_fail(v, rc, "nobody listens on this socket: its server has ended");
	case -ENOTSOCK:
		return io_vfu_fail(v, rc, "not a socket");
	case -EACCES:
		return io_vfu_fail(v, rc, "no permission to connect to this socket");
	case -ETIMEDOUT:
		return io_vfu_fail(v, -EBUSY,
				   "does not accept the connection: it may be serving "
				   "another client");
	default:
		return io_vfu_fail(v, rc, "cannot connect: %s", strerror(-rc));
	}
}

static int learn_device(struct io_vfu *v)
{
	struct vfu_device_info body = { .argsz = sizeof(body) }, info;
	const struct io_vfu_call call = { .command = VFU_DEVICE_GET_INFO,
					  .body = &body,
					  .body_len = sizeof(body) };
	struct vfu_msg reply;
	int rc = io_vfu_status(io_vfu_request(v, &call, &reply));

	if (rc == 0 && reply.body_len < sizeof(info))
		rc = io_vfu_fail(v, -EPROTO, "a short answer about the device");
	if (rc == 0) {
		memcpy(&info, reply.body, sizeof(info));
		if (!(info.flags & VFU_DEVICE_FLAG_PCI))
			rc = io_vfu_fail(v, -EPROTO, "not a PCI device");
		else if (info.num_regions <= BH__PCI_CONFIG_REGION ||
			 info.num_regions > IO_VFU_MAX_REGIONS || info.num_irqs > IO_VFU_MAX_IRQS)
			rc = io_vfu_fail(v, -EPROTO, "%u regions and %u interrupt types",
					 info.num_regions, info.num_irqs);
	}
	vfu_msg_fini(&reply);
	if (rc != 0)
		return rc;
	v->num_regions = v->dev.info.num_regions = info.num_regions;
	v->num_irqs = v->dev.info.num_irqs = info.num_irqs;
	v->has_reset = info.flags & VFU_DEVICE_FLAG_RESET;
	return 0;
}

static uint64_t offered_caps(const struct io_vfu *v)
{
	uint64_t caps = BH_CAP_DMA_MESSAGE | BH_CAP_POSTED_WRITE | BH_CAP_REOPEN;

	for (unsigned int i = 0; i < v->num_regions; i++)
		if (v->region[i].num_areas > 0)
			caps |= BH_CAP_REGION_MMAP;
	if (v->peer.max_msg_fds > 0) {
		caps |= BH_CAP_DMA_MAP_FD | BH_CAP_DMA_FILE_IO;
		for (unsigned int i = 0; i < v->num_irqs; i++)
			if (v->irq[i].count > 0 && (v->irq[i].flags & BH_IRQ_EVENTFD))
				caps |= BH_CAP_IRQ_EVENTFD;
	}
	if (v->num_irqs > PCI_MSIX && v->irq[PCI_MSIX].count > 0 &&
	    (v->irq[PCI_MSIX].flags & BH_IRQ_MASKABLE))
		caps |= BH_CAP_IRQ_MASK;
	if (v->has_reset)
		caps |= BH_CAP_RESET;
	if (v->has_io_fds)
		caps |= BH_CAP_IOEVENTFD;
	return caps;
}

static int give_memory(struct io_vfu *v)
{
	int rc;

	if (v->opts.dma_access != BH_DMA_ACCESS_MESSAGE && v->peer.max_msg_fds == 0)
		return io_vfu_fail(v, -EOPNOTSUPP,
				   "the server takes no file descriptors: only DMA "
				   "access by messages is possible");
	rc = bh_dma_space_listen(v->dev.space, &v->listener);
	v->listening = rc == 0;
	return rc;
}

/* Everything from the socket to the last pool. */
static int connect_steps(struct io_vfu *v)
{
	const struct {
		int (*fn)(struct io_vfu *v);
		const char *name;
	} step[] = {
		{ connect_socket, "connecting" },
		{ io_vfu_negotiate, "negotiating" },
		{ io_vfu_link_start, "starting a thread" },
		{ learn_device, "asking for the device" },
		{ io_vfu_regions_learn, "asking for regions" },
		{ io_vfu_irqs_learn, "asking for interrupts" },
	};
	int rc;

	__atomic_store_n(&v->said, false, __ATOMIC_RELEASE);
	for (size_t i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		rc = step[i].fn(v);
		if (rc != 0)
			return step_failed(v, step[i].name, rc);
	}
	rc = bh__device_read_ids(&v->dev);
	if (rc != 0)
		return step_failed(v, "reading configuration space", rc);
	rc = io_vfu_io_fds_probe(v);
	if (rc != 0)
		return step_failed(v, "asking for I/O fds", rc);
	bh__device_set_caps(&v->dev, offered_caps(v));
	rc = give_memory(v);
	return rc != 0 ? step_failed(v, "mapping memory", rc) : 0;
}

/* What it leaves behind when it fails, disconnect() takes away. */
static int connect_device(struct io_vfu *v)
{
	int rc;

	__atomic_store_n(&v->opening, true, __ATOMIC_RELEASE);
	rc = connect_steps(v);
	__atomic_store_n(&v->opening, false, __ATOMIC_RELEASE);
	return rc;
}

static void disconnect(struct io_vfu *v)
{
	if (v->listening)
		bh_dma_space_unlisten(v->dev.space, &v->listener);
	v->listening = false;
	io_vfu_link_stop(v);
	io_vfu_regions_forget(v);
	v->num_irqs = 0;
}

static void io_vfu_close(struct bh_device *dev)
{
	struct io_vfu *v = to_io_vfu(dev);

	disconnect(v);
	io_vfu_link_fini(&v->link);
	bh_range_map_fini(&v->maps);
	pthread_mutex_destroy(&v->maps_lock);
	pthread_mutex_destroy(&v->io_fds_lock);
	bh__device_fini(dev);
	free(v->bounce);
	free(v->path);
	free(v);
}

static int io_vfu_reopen(struct bh_device *dev)
{
	struct io_vfu *v = to_io_vfu(dev);
	int rc;

	disconnect(v);
	rc = connect_device(v);
	if (rc != 0) {
		disconnect(v);
		return rc == -ENOENT || rc == -ECONNREFUSED ? -ENODEV : rc;
	}
	bh__device_clear_gone(dev);
	/* Lost again meanwhile: the thread announced it while the device was gone still. */
	if (!io_vfu_link_is_up(v)) {
		bh__device_set_gone(dev);
		return -ENODEV;
	}
	bh_log(dev->log, BH_LOG_INFO, "vfio-user", "%s: open again", dev->address);
	return 0;
}

static int io_vfu_reset(struct bh_device *dev)
{
	const struct io_vfu_call call = { .command = VFU_DEVICE_RESET };

	return io_vfu_status(io_vfu_request(to_io_vfu(dev), &call, NULL));
}

static const struct bh_io_ops io_vfu_ops = {
	.name = "vfio-user",
	.caps = BH_CAP_REGION_MMAP | BH_CAP_DMA_MAP_FD | BH_CAP_DMA_MESSAGE | BH_CAP_DMA_FILE_IO |
		BH_CAP_IRQ_EVENTFD | BH_CAP_IRQ_MASK | BH_CAP_RESET | BH_CAP_POSTED_WRITE |
		BH_CAP_IOEVENTFD | BH_CAP_REOPEN,
	.close = io_vfu_close,
	.reopen = io_vfu_reopen,
	.region_info = io_vfu_region_info,
	.region_read = io_vfu_region_read,
	.region_write = io_vfu_region_write,
	.region_post = io_vfu_region_post,
	.region_io_fds = io_vfu_region_io_fds,
	.map_bar = io_vfu_map_bar,
	.unmap_bar = io_vfu_unmap_bar,
	.irq_info = io_vfu_irq_info,
	.irq_bind = io_vfu_irq_bind,
	.irq_disable = io_vfu_irq_disable,
	.irq_mask = io_vfu_irq_mask,
	.irq_trigger = io_vfu_irq_trigger,
	.reset = io_vfu_reset,
};

static int create(const char *path, const struct bh_device_opts *opts, struct io_vfu **out)
{
	struct io_vfu *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return -ENOMEM;
	v->opts = *opts;
	v->path = strdup(path);
	rc = v->path ? bh__device_init(&v->dev, &io_vfu_ops, path, opts) : -ENOMEM;
	if (rc != 0) {
		free(v->path);
		free(v);
		return rc;
	}
	io_vfu_link_init(&v->link);
	pthread_mutex_init(&v->io_fds_lock, NULL);
	pthread_mutex_init(&v->maps_lock, NULL);
	bh_range_map_init(&v->maps);
	v->listener.map = io_vfu_dma_map;
	v->listener.unmap = io_vfu_dma_unmap;
	for (unsigned int i = 0; i < IO_VFU_MAX_REGIONS; i++)
		v->region[i].fd = -1;
	*out = v;
	return 0;
}

int bh_io_vfu_open(const char *path, const struct bh_device_opts *opts, struct bh_device **out)
{
	struct bh_device_opts full;
	struct io_vfu *v;
	int rc;

	*out = NULL;
	rc = bh__device_opts_read(opts, &full);
	if (rc != 0)
		return rc;
	rc = create(path, &full, &v);
	if (rc != 0)
		return rc;
	rc = connect_device(v);
	if (rc != 0) {
		io_vfu_close(&v->dev);
		return rc;
	}
	bh_log(v->dev.log, BH_LOG_INFO, "vfio-user",
	       "%s: open, vfio-user %d.%u, device %04x:%04x%s", path, VFU_MAJOR, v->minor,
	       v->dev.info.vendor, v->dev.info.device, v->link.has_twin ? ", twin socket" : "");
	*out = &v->dev;
	return 0;
}

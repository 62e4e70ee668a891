/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listening to the device: requests to remove it, errors of the bus, and its disappearance.
 *
 * One thread per device sleeps on the eventfds of VFIO's request and error interrupts. Surprise
 * removal raises neither, so the thread also looks at configuration space twice a second; whoever
 * reads registers that make no sense can ask at once (bh_device_check). What is looked at is the
 * class code: the kernel answers for ids and BARs from its own copy. A BAR mapping whose pages were
 * taken away (the fault guard found that out) is as good as no device: what is read there is made
 * up, and will be for as long as it is mapped.
 *
 * A neighbour of the domain may declare a device gone while it is being opened or closed, so what
 * that takes (wake_fd) exists before the device joins the domain and until it has left it.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "io_vfio/dev.h"

#define LOOK_EVERY_MS 500
#define PCI_REVISION_AND_CLASS 0x08

static bool is_present(struct io_vfio *v)
{
	const struct io_vfio_region *config = &v->region[BH__PCI_CONFIG_REGION];
	uint32_t value;
	ssize_t n;

	n = pread(v->fd, &value, sizeof(value), (off_t)(config->offset + PCI_REVISION_AND_CLASS));
	return n == (ssize_t)sizeof(value) && value != UINT32_MAX;
}

void io_vfio_lose(struct io_vfio *v, const char *why)
{
	if (!bh_device_gone(&v->dev))
		bh_log(v->dev.log, BH_LOG_WARN, "vfio", "%s: gone: %s", v->dev.address, why);
	bh__device_mark_gone(&v->dev);
	(void)eventfd_write(v->wake_fd, 1);
}

bool io_vfio_check(struct bh_device *dev)
{
	struct io_vfio *v = to_io_vfio(dev);

	if (!is_present(v))
		io_vfio_lose(v, "its configuration space does not answer");
	else if (io_vfio_maps_lost(v))
		io_vfio_lose(v, "a mapping of its BARs was taken away");
	else
		return true;
	return false;
}

static void drain(int fd)
{
	eventfd_t count;

	(void)eventfd_read(fd, &count);
}

static void *watch(void *arg)
{
	struct io_vfio *v = arg;
	struct pollfd p[] = {
		{ .fd = v->wake_fd, .events = POLLIN },
		{ .fd = v->req_fd, .events = POLLIN },
		{ .fd = v->err_fd, .events = POLLIN },
	};

	for (;;) {
		bool lost = bh_device_gone(&v->dev);

		/* Nothing to look at any more; only the end is waited for. */
		(void)poll(p, lost ? 1 : 3, lost ? -1 : LOOK_EVERY_MS);
		drain(v->wake_fd);
		if (__atomic_load_n(&v->stop, __ATOMIC_ACQUIRE))
			return NULL;
		if (bh_device_gone(&v->dev) || !io_vfio_check(&v->dev)) {
			bh__device_set_gone(&v->dev);
			continue;
		}
		if (p[1].revents & POLLIN) {
			drain(v->req_fd);
			io_vfio_info(v, "somebody asks for its removal");
			bh__device_event(&v->dev, BH_DEVICE_REMOVE_REQUEST);
		}
		if (p[2].revents & POLLIN) {
			drain(v->err_fd);
			io_vfio_info(v, "the bus reports an uncorrectable error");
			bh__device_event(&v->dev, BH_DEVICE_ERROR);
		}
	}
}

/* An eventfd behind one of the backend's own interrupts; -1 where the device has none. */
static int own_irq(struct io_vfio *v, unsigned int irq)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd >= 0 && io_vfio_irq_bind_own(v, irq, fd) != 0)
		bh__fd_close(&fd);
	return fd;
}

int io_vfio_watch_init(struct io_vfio *v)
{
	v->req_fd = v->err_fd = -1;
	v->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return v->wake_fd < 0 ? -errno : 0;
}

int io_vfio_watch_start(struct io_vfio *v)
{
	int rc;

	v->req_fd = own_irq(v, VFIO_PCI_REQ_IRQ_INDEX);
	v->err_fd = own_irq(v, VFIO_PCI_ERR_IRQ_INDEX);
	rc = pthread_create(&v->thread, NULL, watch, v);
	v->watching = rc == 0;
	return -rc;
}

void io_vfio_watch_stop(struct io_vfio *v)
{
	if (v->watching) {
		__atomic_store_n(&v->stop, true, __ATOMIC_RELEASE);
		(void)eventfd_write(v->wake_fd, 1);
		pthread_join(v->thread, NULL);
		v->watching = false;
	}
}

void io_vfio_watch_fini(struct io_vfio *v)
{
	bh__fd_close(&v->req_fd);
	bh__fd_close(&v->err_fd);
	bh__fd_close(&v->wake_fd);
}

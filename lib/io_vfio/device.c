/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening and closing a device the kernel's VFIO gives away.
 *
 * Opening goes from looking to touching: sysfs says whether the device is there, in whose hands it
 * is and which ways lead to it; one is taken; what the device has is learnt; and last it gets
 * memory. Whatever stops it is said in one line, with what would mend it.
 *
 * cdev and iommufd are taken where the system offers both nodes to this user, group and container
 * otherwise. Closing the fds undoes everything on the kernel's side, in whatever state opening or
 * the device is.
 *
 * Lock order: the DMA space's, the share's (domain.c), then irq_lock and maps_lock, which are
 * leaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "io_vfio/dev.h"

static void say(const struct io_vfio *v, enum bh_log_level level, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void say(const struct io_vfio *v, enum bh_log_level level, const char *fmt, va_list ap)
{
	char text[448];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	bh_log(v->dev.log, level, "vfio", "%s: %s", v->dev.address, text);
}

int io_vfio_fail(const struct io_vfio *v, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(v, BH_LOG_ERROR, fmt, ap);
	va_end(ap);
	return rc;
}

void io_vfio_info(const struct io_vfio *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(v, BH_LOG_INFO, fmt, ap);
	va_end(ap);
}

int io_vfio_open_node(struct io_vfio *v, const char *node, int *fd)
{
	int rc;

	*fd = open(node, O_RDWR | O_CLOEXEC);
	if (*fd >= 0)
		return 0;
	rc = -errno;
	if (rc == -EBUSY)
		return io_vfio_fail_busy(v, node);
	if (rc == -ENOENT)
		return io_vfio_fail(v, -EOPNOTSUPP,
				    "%s does not exist: is VFIO loaded (`modprobe vfio-pci`)?",
				    node);
	if (rc == -EACCES || rc == -EPERM)
		return io_vfio_fail(
			v, -EACCES,
			"no permission to open %s: `TARGET_USER=NAME scripts/setup.sh` as "
			"root gives it to a user",
			node);
	return io_vfio_fail(v, rc, "%s: %s", node, strerror(-rc));
}

/* ---- looking ---- */

static bool may_open(const char *node)
{
	return access(node, R_OK | W_OK) == 0;
}

static bool cdev_offered(const struct io_vfio *v)
{
	char node[sizeof("/dev/vfio/devices/") + sizeof(v->pci.cdev)];

	snprintf(node, sizeof(node), "/dev/vfio/devices/%s", v->pci.cdev);
	return v->pci.cdev[0] != '\0' && may_open(node) && may_open("/dev/iommu");
}

static int choose_path(struct io_vfio *v)
{
	const char *wish = getenv("BH_VFIO");
	enum bh_vfio_mode mode = v->opts.vfio;

	if (mode == BH_VFIO_AUTO && wish && strcmp(wish, "group") == 0)
		mode = BH_VFIO_GROUP;
	else if (mode == BH_VFIO_AUTO && wish && strcmp(wish, "cdev") == 0)
		mode = BH_VFIO_CDEV;
	else if (mode == BH_VFIO_AUTO && wish && wish[0] != '\0')
		return io_vfio_fail(v, -EINVAL, "BH_VFIO is \"%s\", not group or cdev", wish);
	if (mode == BH_VFIO_CDEV && (v->pci.cdev[0] == '\0' || access("/dev/iommu", F_OK) != 0))
		return io_vfio_fail(v, -EOPNOTSUPP,
				    "this kernel has no VFIO cdevs, or no iommufd: use the group");
	if (mode == BH_VFIO_AUTO)
		mode = cdev_offered(v) ? BH_VFIO_CDEV : BH_VFIO_GROUP;
	v->path = mode == BH_VFIO_CDEV ? &io_vfio_cdev_path : &io_vfio_group_path;
	return 0;
}

/* ---- learning ---- */

static int learn_device(struct io_vfio *v)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	if (ioctl(v->fd, VFIO_DEVICE_GET_INFO, &info) < 0)
		return io_vfio_fail(v, -errno, "asking VFIO about it: %s", strerror(errno));
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI))
		return io_vfio_fail(v, -EPROTO, "VFIO says it is no PCI device");
	if (info.num_regions <= BH__PCI_CONFIG_REGION || info.num_regions > IO_VFIO_MAX_REGIONS)
		return io_vfio_fail(v, -EPROTO, "%u regions", info.num_regions);
	v->num_regions = v->dev.info.num_regions = info.num_regions;
	/* Types beyond those known are of no use here. */
	v->num_irqs = info.num_irqs < IO_VFIO_MAX_IRQS ? info.num_irqs : IO_VFIO_MAX_IRQS;
	v->dev.info.num_irqs = v->num_irqs;
	v->has_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
	return 0;
}

static uint64_t offered_caps(const struct io_vfio *v)
{
	uint64_t caps = BH_CAP_DMA_MAP_VA;

	for (unsigned int i = 0; i < v->num_regions; i++)
		if (v->region[i].num_areas > 0)
			caps |= BH_CAP_REGION_MMAP;
	for (unsigned int i = 0; i < VFIO_PCI_ERR_IRQ_INDEX && i < v->num_irqs; i++) {
		if (v->irq[i].info.count == 0)
			continue;
		if (v->irq[i].info.flags & BH_IRQ_EVENTFD)
			caps |= BH_CAP_IRQ_EVENTFD;
		if (v->irq[i].info.flags & BH_IRQ_MASKABLE)
			caps |= BH_CAP_IRQ_MASK;
	}
	if (v->path == &io_vfio_cdev_path && !v->share->no_map_file)
		caps |= BH_CAP_DMA_MAP_FD;
	if (v->has_reset)
		caps |= BH_CAP_RESET;
	if (io_vfio_hot_reset_known(v))
		caps |= BH_CAP_HOT_RESET;
	if (v->req_fd >= 0)
		caps |= BH_CAP_REMOVE_EVENT;
	if (io_vfio_feature_probe(v, UAPI_FEATURE_DMA_BUF, VFIO_DEVICE_FEATURE_GET) == 0) {
		caps |= BH_CAP_DMABUF_EXPORT;
		/* Kernels learnt to give BARs away and to take them by MAP_FILE together. */
		if (caps & BH_CAP_DMA_MAP_FD)
			caps |= BH_CAP_DMA_PEER;
	}
	if (io_vfio_feature_probe(v, VFIO_DEVICE_FEATURE_MIGRATION, VFIO_DEVICE_FEATURE_GET) == 0)
		caps |= BH_CAP_MIGRATION;
	if (v->memattr)
		caps |= BH_CAP_DMABUF_MEMATTR;
	if (v->revoke)
		caps |= BH_CAP_DMABUF_REVOKE;
	return caps;
}

static int read_ids(struct io_vfio *v)
{
	int rc = bh__device_read_ids(&v->dev);

	return rc == 0 ? 0
		       : io_vfio_fail(v, rc, "reading its configuration space: %s", strerror(-rc));
}

static int start_watch(struct io_vfio *v)
{
	int rc = io_vfio_watch_start(v);

	return rc == 0 ? 0 : io_vfio_fail(v, rc, "starting a thread: %s", strerror(-rc));
}

static void say_open(const struct io_vfio *v)
{
	const struct io_vfio_windows *w;
	unsigned int count, others = 0;
	uint64_t last;

	pthread_mutex_lock(&v->share->lock);
	w = &v->domain->windows;
	count = w->count;
	last = count ? w->window[count - 1].last : UINT64_MAX;
	for (const struct io_vfio *o = v->domain->devices; o; o = o->next_of_domain)
		others += o != v;
	pthread_mutex_unlock(&v->share->lock);
	io_vfio_info(v,
		     "open by %s, %u window(s) of addresses up to 0x%llx, shared with %u device(s)",
		     v->path->name, count, (unsigned long long)last, others);
}

static int open_steps(struct io_vfio *v)
{
	int (*const step[])(struct io_vfio *) = {
		io_vfio_share_join, learn_device, io_vfio_regions_learn,
		io_vfio_irqs_learn, read_ids,	  io_vfio_domain_keep_off_bars,
		start_watch,
	};
	int rc = 0;

	for (size_t i = 0; i < sizeof(step) / sizeof(step[0]) && rc == 0; i++)
		rc = step[i](v);
	if (rc != 0)
		return rc;
	io_vfio_memattr_find(v);
	rc = bh_dma_space_listen(v->dev.space, &v->listener);
	if (rc != 0)
		return rc;
	v->listening = true;
	bh__device_set_caps(&v->dev, offered_caps(v));
	say_open(v);
	return 0;
}

static void io_vfio_close(struct bh_device *dev)
{
	struct io_vfio *v = to_io_vfio(dev);

	if (v->listening)
		bh_dma_space_unlisten(dev->space, &v->listener);
	io_vfio_watch_stop(v);
	io_vfio_share_leave(v);
	io_vfio_watch_fini(v);
	io_vfio_irqs_forget(v);
	io_vfio_regions_forget(v);
	pthread_mutex_destroy(&v->maps_lock);
	pthread_mutex_destroy(&v->irq_lock);
	bh__device_fini(dev);
	free(v);
}

static const struct bh_io_ops io_vfio_ops = {
	.name = "vfio",
	.caps = BH_CAP_REGION_MMAP | BH_CAP_DMABUF_EXPORT | BH_CAP_DMABUF_MEMATTR |
		BH_CAP_DMABUF_REVOKE | BH_CAP_DMA_MAP_VA | BH_CAP_DMA_MAP_FD | BH_CAP_IRQ_EVENTFD |
		BH_CAP_IRQ_MASK | BH_CAP_RESET | BH_CAP_HOT_RESET | BH_CAP_REMOVE_EVENT |
		BH_CAP_MIGRATION | BH_CAP_DMA_PEER,
	.close = io_vfio_close,
	.region_info = io_vfio_region_info,
	.region_read = io_vfio_region_read,
	.region_write = io_vfio_region_write,
	.map_bar = io_vfio_map_bar,
	.unmap_bar = io_vfio_unmap_bar,
	.irq_info = io_vfio_irq_info,
	.irq_bind = io_vfio_irq_bind,
	.irq_disable = io_vfio_irq_disable,
	.irq_mask = io_vfio_irq_mask,
	.irq_trigger = io_vfio_irq_trigger,
	.reset = io_vfio_reset,
	.hot_reset = io_vfio_hot_reset,
	.dmabuf_export = io_vfio_dmabuf_export,
	.dmabuf_revoke = io_vfio_dmabuf_revoke,
	.check = io_vfio_check,
	.iova_windows = io_vfio_iova_windows,
};

static int create(const char *bdf, const struct bh_device_opts *opts, struct io_vfio **out)
{
	struct io_vfio *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return -ENOMEM;
	rc = bh__device_init(&v->dev, &io_vfio_ops, bdf, opts);
	if (rc != 0) {
		free(v);
		return rc;
	}
	rc = io_vfio_watch_init(v);
	if (rc != 0) {
		bh__device_fini(&v->dev);
		free(v);
		return rc;
	}
	v->opts = *opts;
	v->fd = -1;
	v->listener.map = io_vfio_dma_map;
	v->listener.unmap = io_vfio_dma_unmap;
	pthread_mutex_init(&v->irq_lock, NULL);
	pthread_mutex_init(&v->maps_lock, NULL);
	*out = v;
	return 0;
}

int bh_io_vfio_open(const char *bdf, const struct bh_device_opts *opts, struct bh_device **out)
{
	struct bh_device_opts full;
	struct io_vfio *v;
	int rc;

	*out = NULL;
	rc = bh__device_opts_read(opts, &full);
	if (rc != 0)
		return rc;
	rc = create(bdf, &full, &v);
	if (rc != 0)
		return rc;
	if (full.dma_access != BH_DMA_ACCESS_AUTO)
		rc = io_vfio_fail(v, -EOPNOTSUPP, "dma_access is for vfio-user devices");
	if (rc == 0)
		rc = io_vfio_look(v, NULL, bdf);
	if (rc == 0)
		rc = choose_path(v);
	if (rc == 0)
		rc = open_steps(v);
	if (rc != 0) {
		io_vfio_close(&v->dev);
		return rc;
	}
	*out = &v->dev;
	return 0;
}

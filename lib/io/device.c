/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device: what is the same for all backends.
 *
 * A device is alive, lost or announced. The backend's own thread announces a loss: it sets the
 * state and runs the gone listeners, once, with gone_lock held, so that unlisten can wait for a
 * call under way by taking that lock. Another thread that finds the device lost (an unmap nobody
 * acknowledged) only marks it: from then on every function fails, and the announcement follows from
 * the backend's thread. Listeners stay over a reopen and hear of the next loss too. Event listeners
 * are kept and called in the same way.
 *
 * Capability bits are of two kinds. Those with an operation behind them are checked here, once for
 * all backends; bh__device_init() refuses a table in which a declared bit has no operation, or an
 * operation has no bit, so a wrapper that has seen the bit calls without looking.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"

enum { ALIVE, LOST, ANNOUNCED };

#define DEFAULT_TIMEOUT_NS 10000000000ull

const char *bh_cap_str(uint64_t bit)
{
	static const char *const names[] = {
		"REGION_MMAP", "DMABUF_EXPORT", "DMABUF_MEMATTR", "DMABUF_REVOKE", "DMA_MAP_VA",
		"DMA_MAP_FD",  "DMA_MESSAGE",	"DMA_FILE_IO",	  "IRQ_EVENTFD",   "IRQ_MASK",
		"RESET",       "HOT_RESET",	"REMOVE_EVENT",	  "POSTED_WRITE",  "IOEVENTFD",
		"MIGRATION",   "REOPEN",	"DMA_PEER",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (bit == 1ull << i)
			return names[i];
	return NULL;
}

void bh_device_opts_init(struct bh_device_opts *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->size = sizeof(*opts);
	opts->timeout_ns = DEFAULT_TIMEOUT_NS;
	opts->dma_access = BH_DMA_ACCESS_AUTO;
	opts->twin_socket = true;
}

int bh__device_opts_read(const struct bh_device_opts *opts, struct bh_device_opts *out)
{
	bh_device_opts_init(out);
	if (!opts || opts->size < offsetof(struct bh_device_opts, log) ||
	    opts->size > sizeof(*opts))
		return -EINVAL;
	memcpy(out, opts, opts->size);
	out->size = sizeof(*out);
	if (!out->space || (unsigned int)out->dma_access > BH_DMA_ACCESS_MESSAGE ||
	    (unsigned int)out->vfio > BH_VFIO_CDEV || out->memattr_feature < BH_MEMATTR_AUTO)
		return -EINVAL;
	if (out->timeout_ns == 0)
		out->timeout_ns = DEFAULT_TIMEOUT_NS;
	return 0;
}

/* Each operation beside the capability bit it stands behind; always: declared by every backend. */
static bool ops_consistent(const struct bh_io_ops *ops)
{
	const uint64_t always = UINT64_MAX;
	const struct {
		uint64_t bit;
		bool there;
	} rule[] = {
		{ always, ops->close && ops->region_info && ops->region_read },
		{ always, ops->region_write && ops->irq_info && ops->name },
		{ BH_CAP_REOPEN, ops->reopen != NULL },
		{ BH_CAP_POSTED_WRITE, ops->region_post != NULL },
		{ BH_CAP_IOEVENTFD, ops->region_io_fds != NULL },
		{ BH_CAP_REGION_MMAP, ops->map_bar != NULL },
		{ BH_CAP_REGION_MMAP, ops->unmap_bar != NULL },
		{ BH_CAP_IRQ_EVENTFD, ops->irq_bind != NULL },
		{ BH_CAP_IRQ_EVENTFD, ops->irq_disable != NULL },
		{ BH_CAP_IRQ_EVENTFD, ops->irq_trigger != NULL },
		{ BH_CAP_IRQ_MASK, ops->irq_mask != NULL },
		{ BH_CAP_RESET, ops->reset != NULL },
		{ BH_CAP_HOT_RESET, ops->hot_reset != NULL },
		{ BH_CAP_DMABUF_EXPORT, ops->dmabuf_export != NULL },
		{ BH_CAP_DMABUF_REVOKE, ops->dmabuf_revoke != NULL },
	};

	for (size_t i = 0; i < sizeof(rule) / sizeof(rule[0]); i++) {
		bool declared = rule[i].bit == always || (ops->caps & rule[i].bit) != 0;

		if (declared != rule[i].there)
			return false;
	}
	return true;
}

int bh__device_init(struct bh_device *dev, const struct bh_io_ops *ops, const char *address,
		    const struct bh_device_opts *opts)
{
	int rc;

	memset(dev, 0, sizeof(*dev));
	if (!ops_consistent(ops))
		return -EINVAL;
	dev->address = strdup(address);
	if (!dev->address)
		return -ENOMEM;
	rc = bh_iova_map_init(&dev->iova);
	if (rc != 0) {
		free(dev->address);
		return rc;
	}
	dev->ops = ops;
	dev->space = opts->space;
	dev->log = opts->log;
	dev->info.address = dev->address;
	dev->info.backend = ops->name;
	dev->info.node = -1;
	pthread_mutex_init(&dev->config_lock, NULL);
	pthread_mutex_init(&dev->gone_lock, NULL);
	return 0;
}

void bh__device_fini(struct bh_device *dev)
{
	pthread_mutex_destroy(&dev->gone_lock);
	pthread_mutex_destroy(&dev->config_lock);
	bh_iova_map_fini(&dev->iova);
	free(dev->address);
	dev->address = NULL;
}

void bh_device_close(struct bh_device *dev)
{
	if (dev)
		dev->ops->close(dev);
}

int bh_device_reopen(struct bh_device *dev)
{
	if (!(dev->ops->caps & BH_CAP_REOPEN))
		return -EOPNOTSUPP;
	if (!bh_device_gone(dev))
		return -EBUSY;
	return dev->ops->reopen(dev);
}

const struct bh_device_info *bh_device_info(const struct bh_device *dev)
{
	return &dev->info;
}

const char *bh_device_name(const struct bh_device *dev)
{
	return dev->address;
}

const struct bh_log *bh_device_log(const struct bh_device *dev)
{
	return dev->log;
}

uint64_t bh_device_caps(const struct bh_device *dev)
{
	return __atomic_load_n(&dev->caps, __ATOMIC_ACQUIRE);
}

void bh__device_set_caps(struct bh_device *dev, uint64_t caps)
{
	__atomic_store_n(&dev->caps, caps & dev->ops->caps, __ATOMIC_RELEASE);
}

struct bh_dma_space *bh_device_space(const struct bh_device *dev)
{
	return dev->space;
}

const struct bh_iova_map *bh_device_iova_map(const struct bh_device *dev)
{
	return &dev->iova;
}

void bh_device_iova_trim(struct bh_device *dev)
{
	bh_iova_map_trim(&dev->iova);
}

bool bh_device_gone(const struct bh_device *dev)
{
	return __atomic_load_n(&dev->gone, __ATOMIC_ACQUIRE) != ALIVE;
}

void bh__device_mark_gone(struct bh_device *dev)
{
	uint32_t alive = ALIVE;

	__atomic_compare_exchange_n(&dev->gone, &alive, LOST, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_ACQUIRE);
}

void bh__device_set_gone(struct bh_device *dev)
{
	pthread_mutex_lock(&dev->gone_lock);
	if (__atomic_exchange_n(&dev->gone, ANNOUNCED, __ATOMIC_ACQ_REL) != ANNOUNCED) {
		for (struct bh_gone_listener *l = dev->gone_listeners; l; l = l->next)
			l->gone(l);
	}
	pthread_mutex_unlock(&dev->gone_lock);
}

void bh__device_clear_gone(struct bh_device *dev)
{
	pthread_mutex_lock(&dev->gone_lock);
	__atomic_store_n(&dev->gone, ALIVE, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&dev->gone_lock);
}

void bh_device_gone_listen(struct bh_device *dev, struct bh_gone_listener *listener)
{
	pthread_mutex_lock(&dev->gone_lock);
	listener->next = dev->gone_listeners;
	dev->gone_listeners = listener;
	/*
	 * Lost but not announced: the announcement waits for this lock and will find the listener.
	 */
	if (__atomic_load_n(&dev->gone, __ATOMIC_ACQUIRE) == ANNOUNCED)
		listener->gone(listener);
	pthread_mutex_unlock(&dev->gone_lock);
}

void bh_device_gone_unlisten(struct bh_device *dev, struct bh_gone_listener *listener)
{
	struct bh_gone_listener **p;

	pthread_mutex_lock(&dev->gone_lock);
	for (p = &dev->gone_listeners; *p && *p != listener; p = &(*p)->next)
		;
	if (*p)
		*p = listener->next;
	pthread_mutex_unlock(&dev->gone_lock);
}

bool bh_device_check(struct bh_device *dev)
{
	if (bh_device_gone(dev))
		return false;
	return dev->ops->check ? dev->ops->check(dev) : true;
}

void bh__device_event(struct bh_device *dev, enum bh_device_event event)
{
	pthread_mutex_lock(&dev->gone_lock);
	if (event == BH_DEVICE_REMOVE_REQUEST)
		dev->remove_requested = true;
	for (struct bh_event_listener *l = dev->event_listeners; l; l = l->next)
		l->event(l, event);
	pthread_mutex_unlock(&dev->gone_lock);
}

void bh_device_event_listen(struct bh_device *dev, struct bh_event_listener *listener)
{
	pthread_mutex_lock(&dev->gone_lock);
	listener->next = dev->event_listeners;
	dev->event_listeners = listener;
	if (dev->remove_requested)
		listener->event(listener, BH_DEVICE_REMOVE_REQUEST);
	pthread_mutex_unlock(&dev->gone_lock);
}

void bh_device_event_unlisten(struct bh_device *dev, struct bh_event_listener *listener)
{
	struct bh_event_listener **p;

	pthread_mutex_lock(&dev->gone_lock);
	for (p = &dev->event_listeners; *p && *p != listener; p = &(*p)->next)
		;
	if (*p)
		*p = listener->next;
	pthread_mutex_unlock(&dev->gone_lock);
}

int bh_device_iova_windows(struct bh_device *dev, struct bh_iova_window *out, unsigned int max)
{
	return dev->ops->iova_windows ? dev->ops->iova_windows(dev, out, max) : 0;
}

int bh_device_hot_reset(struct bh_device *dev)
{
	if (!(bh_device_caps(dev) & BH_CAP_HOT_RESET))
		return -EOPNOTSUPP;
	if (bh_device_gone(dev))
		return -ENODEV;
	return dev->ops->hot_reset(dev);
}

int bh_device_reset(struct bh_device *dev)
{
	if (!(bh_device_caps(dev) & BH_CAP_RESET))
		return -EOPNOTSUPP;
	if (bh_device_gone(dev))
		return -ENODEV;
	return dev->ops->reset(dev);
}

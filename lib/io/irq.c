/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <bellhop/range.h>

#include "io/io.h"

int bh_device_irq_info(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info)
{
	if (bh_device_gone(dev))
		return -ENODEV;
	return dev->ops->irq_info(dev, irq, info);
}

/* The device's capability, the type's flag, and [start, start + count) of its vectors. */
static int check_vectors(struct bh_device *dev, uint64_t cap, uint32_t flag, unsigned int irq,
			 unsigned int start, unsigned int count)
{
	struct bh_irq_info info;
	int rc;

	if (!(bh_device_caps(dev) & cap))
		return -EOPNOTSUPP;
	rc = bh_device_irq_info(dev, irq, &info);
	if (rc != 0)
		return rc;
	if (count == 0 || !bh_range_inside(start, count, info.count))
		return -EINVAL;
	return info.flags & flag ? 0 : -EOPNOTSUPP;
}

int bh_device_irq_bind(struct bh_device *dev, unsigned int irq, unsigned int start,
		       unsigned int count, const int *eventfds)
{
	int rc = check_vectors(dev, BH_CAP_IRQ_EVENTFD, BH_IRQ_EVENTFD, irq, start, count);

	return rc != 0 ? rc : dev->ops->irq_bind(dev, irq, start, count, eventfds);
}

int bh_device_irq_disable(struct bh_device *dev, unsigned int irq)
{
	int rc = check_vectors(dev, BH_CAP_IRQ_EVENTFD, BH_IRQ_EVENTFD, irq, 0, 1);

	return rc != 0 ? rc : dev->ops->irq_disable(dev, irq);
}

int bh_device_irq_trigger(struct bh_device *dev, unsigned int irq, unsigned int vector)
{
	int rc = check_vectors(dev, BH_CAP_IRQ_EVENTFD, BH_IRQ_EVENTFD, irq, vector, 1);

	return rc != 0 ? rc : dev->ops->irq_trigger(dev, irq, vector);
}

static int set_mask(struct bh_device *dev, unsigned int irq, unsigned int vector, bool masked,
		    bool wait)
{
	int rc = check_vectors(dev, BH_CAP_IRQ_MASK, BH_IRQ_MASKABLE, irq, vector, 1);

	return rc != 0 ? rc : dev->ops->irq_mask(dev, irq, vector, masked, wait);
}

int bh_device_irq_mask(struct bh_device *dev, unsigned int irq, unsigned int vector, bool wait)
{
	return set_mask(dev, irq, vector, true, wait);
}

int bh_device_irq_unmask(struct bh_device *dev, unsigned int irq, unsigned int vector, bool wait)
{
	return set_mask(dev, irq, vector, false, wait);
}

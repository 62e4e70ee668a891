/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "io_vfu/dev.h"

static int learn_one(struct io_vfu *v, unsigned int irq)
{
	struct vfu_irq_info body = { .argsz = sizeof(body), .index = irq };
	const struct io_vfu_call call = { .command = VFU_DEVICE_GET_IRQ_INFO,
					  .body = &body,
					  .body_len = sizeof(body) };
	struct vfu_irq_info info;
	struct vfu_msg reply;
	int rc = io_vfu_request(v, &call, &reply);

	memset(&v->irq[irq], 0, sizeof(v->irq[irq]));
	if (rc == 0 && reply.body_len < sizeof(info))
		rc = io_vfu_fail(v, -EPROTO, "a short answer about interrupt type %u", irq);
	if (rc == 0) {
		memcpy(&info, reply.body, sizeof(info));
		v->irq[irq].count = info.count;
		v->irq[irq].flags =
			info.flags & (BH_IRQ_EVENTFD | BH_IRQ_MASKABLE | BH_IRQ_AUTOMASKED);
		if (info.index != irq)
			rc = io_vfu_fail(v, -EPROTO, "an answer about another interrupt type");
	}
	vfu_msg_fini(&reply);
	/* A refusal: a type that is not there. */
	return rc > 0 ? 0 : rc;
}

int io_vfu_irqs_learn(struct io_vfu *v)
{
	int rc = 0;

	for (unsigned int i = 0; i < v->num_irqs && rc == 0; i++)
		rc = learn_one(v, i);
	return rc;
}

int io_vfu_irq_info(struct bh_device *dev, unsigned int irq, struct bh_irq_info *info)
{
	struct io_vfu *v = to_io_vfu(dev);

	if (irq >= v->num_irqs)
		return -EINVAL;
	*info = v->irq[irq];
	return 0;
}

static void fill(struct io_vfu_call *call, struct vfu_irq_set *body, uint32_t flags,
		 unsigned int irq, unsigned int start, unsigned int count)
{
	*body = (struct vfu_irq_set){
		.argsz = sizeof(*body), .flags = flags, .index = irq, .start = start, .count = count
	};
	*call = (struct io_vfu_call){ .command = VFU_DEVICE_SET_IRQS,
				      .body = body,
				      .body_len = sizeof(*body) };
}

/* How many of the first n eventfds can go into one message: all fds, up to max, or all none. */
static unsigned int run_length(const int *eventfds, unsigned int n, unsigned int max)
{
	bool bound = eventfds[0] >= 0;
	unsigned int i = 1;

	while (i < n && (eventfds[i] >= 0) == bound && (!bound || i < max))
		i++;
	return i;
}

int io_vfu_irq_bind(struct bh_device *dev, unsigned int irq, unsigned int start, unsigned int count,
		    const int *eventfds)
{
	struct io_vfu *v = to_io_vfu(dev);
	unsigned int max = v->peer.max_msg_fds < VFU_MAX_FDS ? v->peer.max_msg_fds : VFU_MAX_FDS;
	struct io_vfu_call call;
	struct vfu_irq_set body;
	int rc = 0;

	for (unsigned int done = 0, n; done < count && rc == 0; done += n) {
		n = run_length(eventfds + done, count - done, max);
		fill(&call, &body, VFU_IRQ_DATA_EVENTFD | VFU_IRQ_ACTION_TRIGGER, irq, start + done,
		     n);
		if (eventfds[done] >= 0) {
			call.fds = eventfds + done;
			call.nfds = n;
		}
		rc = io_vfu_status(io_vfu_request(v, &call, NULL));
	}
	return rc;
}

int io_vfu_irq_disable(struct bh_device *dev, unsigned int irq)
{
	struct io_vfu_call call;
	struct vfu_irq_set body;

	fill(&call, &body, VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_TRIGGER, irq, 0, 0);
	return io_vfu_status(io_vfu_request(to_io_vfu(dev), &call, NULL));
}

int io_vfu_irq_mask(struct bh_device *dev, unsigned int irq, unsigned int vector, bool masked,
		    bool wait)
{
	struct io_vfu *v = to_io_vfu(dev);
	struct io_vfu_call call;
	struct vfu_irq_set body;

	fill(&call, &body,
	     VFU_IRQ_DATA_NONE | (masked ? VFU_IRQ_ACTION_MASK : VFU_IRQ_ACTION_UNMASK), irq,
	     vector, 1);
	return wait ? io_vfu_status(io_vfu_request(v, &call, NULL)) : io_vfu_post(v, &call);
}

int io_vfu_irq_trigger(struct bh_device *dev, unsigned int irq, unsigned int vector)
{
	struct io_vfu_call call;
	struct vfu_irq_set body;

	fill(&call, &body, VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_TRIGGER, irq, vector, 1);
	return io_vfu_status(io_vfu_request(to_io_vfu(dev), &call, NULL));
}

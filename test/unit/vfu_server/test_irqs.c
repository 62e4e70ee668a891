/* SPDX-License-Identifier: BSD-3-Clause */
/* IRQ_INFO and SET_IRQS in every combination, masks of three kinds, the INTx line. */
#include <fcntl.h>

#include "rig.h"

#define NONE VFU_IRQ_DATA_NONE
#define BOOL VFU_IRQ_DATA_BOOL
#define EVENTFD VFU_IRQ_DATA_EVENTFD
#define MASK VFU_IRQ_ACTION_MASK
#define UNMASK VFU_IRQ_ACTION_UNMASK
#define TRIGGER VFU_IRQ_ACTION_TRIGGER
#define MSIX BH_PCI_MSIX
#define INTX BH_PCI_INTX

static int e[RIG_VECTORS];

static int setup(void)
{
	unsigned int i;

	if (rig_setup() != 0)
		return -1;
	for (i = 0; i < RIG_VECTORS; i++)
		e[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return 0;
}

static int teardown(void)
{
	unsigned int i;

	for (i = 0; i < RIG_VECTORS; i++)
		close(e[i]);
	return rig_teardown();
}

static int set_bools(uint32_t action, uint32_t index, uint32_t start, uint32_t count,
		     const uint8_t *bools, size_t len)
{
	uint8_t body[64];
	const struct vfu_irq_set set = {
		.argsz = 20 + (uint32_t)len,
		.flags = BOOL | action,
		.index = index,
		.start = start,
		.count = count,
	};

	memcpy(body, &set, sizeof(set));
	memcpy(body + sizeof(set), bools, len);
	return rig_call(VFU_DEVICE_SET_IRQS, body, sizeof(set) + len, NULL, 0);
}

static void info_of_every_type(void)
{
	static const uint32_t flags[] = { 7, 9, 3, 9, 9 }, counts[] = { 1, 0, RIG_VECTORS, 1, 1 };
	struct vfu_irq_info info = { .argsz = 16 };
	uint32_t i;

	for (i = 0; i < 5; i++) {
		info.index = i;
		info.argsz = 64;
		CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_GET_IRQ_INFO, &info, sizeof(info), NULL, 0), 0);
		memcpy(&info, rig.reply.body, sizeof(info));
		CU_ASSERT_EQUAL(info.argsz, 16);
		CU_ASSERT_EQUAL(info.index, i);
		CU_ASSERT_EQUAL(info.flags, flags[i]);
		CU_ASSERT_EQUAL(info.count, counts[i]);
	}
	info.index = 5;
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_GET_IRQ_INFO, &info, sizeof(info), NULL, 0), -EINVAL);
	info.index = 0;
	info.argsz = 15;
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_GET_IRQ_INFO, &info, sizeof(info), NULL, 0), -EINVAL);
}

static void set_checks_every_field(void)
{
	struct vfu_irq_set set = { .argsz = 19, .flags = NONE | TRIGGER, .index = MSIX };
	const uint8_t bools[4] = { 1, 1, 1, 1 };
	uint32_t bit;

	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_SET_IRQS, &set, sizeof(set), NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, 5, 0, 1, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, UINT32_MAX, 0, 1, NULL, 0), -EINVAL);
	/* flags */
	CU_ASSERT_EQUAL(rig_irqs(0, MSIX, 0, 1, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE, MSIX, 0, 1, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(TRIGGER, MSIX, 0, 1, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | BOOL | TRIGGER, MSIX, 0, 1, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | EVENTFD | TRIGGER, MSIX, 0, 1, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | MASK | TRIGGER, MSIX, 0, 1, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | MASK | UNMASK, MSIX, 0, 1, NULL, 0), -EINVAL);
	for (bit = 6; bit < 32; bit++)
		CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER | 1u << bit, MSIX, 0, 1, NULL, 0), -EINVAL);
	/* start and count */
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, MSIX, RIG_VECTORS, 1, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, MSIX, 0, RIG_VECTORS + 1, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, MSIX, 1, UINT32_MAX, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, MSIX, UINT32_MAX, 2, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, BH_PCI_MSI, 0, 0, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, MSIX, 1, 0, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | MASK, MSIX, 0, 0, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 0, 0, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(set_bools(TRIGGER, MSIX, 0, 0, bools, 0), -EINVAL);
	/* fds */
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 0, 2, e, 1), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, e, 2), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, MSIX, 0, 1, e, 1), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, MSIX, 0, 0, e, 1), -EINVAL);
	/* bools */
	CU_ASSERT_EQUAL(set_bools(TRIGGER, MSIX, 0, 4, bools, 3), -EINVAL);
	CU_ASSERT_EQUAL(set_bools(TRIGGER, MSIX, 0, 3, bools, 4), -EINVAL);
	/* ERR and REQ */
	CU_ASSERT_EQUAL(rig_irqs(NONE | MASK, BH_PCI_ERR, 0, 1, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | UNMASK, BH_PCI_REQ, 0, 1, e, 1), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, BH_PCI_ERR, 0, 2, e, 2), -EINVAL);
	CU_ASSERT_FALSE(bh_vfu_irq_msix_enabled(rig.server));
}

static void bound_vectors_signal(void)
{
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 3, 2, e, 2), 0);
	CU_ASSERT_TRUE(bh_vfu_irq_msix_enabled(rig.server));
	CU_ASSERT_TRUE(bh_vfu_irq_is_open(rig.server, 3));
	CU_ASSERT_FALSE(bh_vfu_irq_is_open(rig.server, 2));
	CU_ASSERT_TRUE(bh_vfu_irq_raise(rig.server, 3));
	CU_ASSERT_TRUE(bh_vfu_irq_raise(rig.server, 4));
	CU_ASSERT_TRUE(bh_vfu_irq_raise(rig.server, 4));
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 5));
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, RIG_VECTORS));
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[1]), 2);
	/* rebinding closes the old one; unbinding of a range that does not begin at 0 */
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 4, 1, &e[2], 1), 0);
	CU_ASSERT_TRUE(bh_vfu_irq_raise(rig.server, 4));
	CU_ASSERT_EQUAL(rig_eventfd_value(e[1]), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[2]), 1);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 3, 2, NULL, 0), 0);
	CU_ASSERT_FALSE(bh_vfu_irq_is_open(rig.server, 3));
	CU_ASSERT_FALSE(bh_vfu_irq_msix_enabled(rig.server));
}

static void what_was_raised_before_binding_is_delivered(void)
{
	uint8_t pba[8];

	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 9));
	CU_ASSERT_EQUAL(rig_read(RIG_MSIX_BAR, 0x1000, pba, 2), 0);
	CU_ASSERT_EQUAL(pba[0], 0);
	CU_ASSERT_EQUAL(pba[1], 2);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 9, 1, e, 1), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	CU_ASSERT_EQUAL(rig_read(RIG_MSIX_BAR, 0x1001, pba, 1), 0);
	CU_ASSERT_EQUAL(pba[0], 0);
}

/* QEMU enables with no vector, then binds one by one. */
static void enable_without_vectors(void)
{
	rig_config_write16(0x92, 0x8000);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, NULL, 0), 0);
	CU_ASSERT_TRUE(bh_vfu_irq_msix_enabled(rig.server));
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 1, 1, e, 1), 0);
	CU_ASSERT_TRUE(bh_vfu_irq_raise(rig.server, 1));
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, MSIX, 0, 0, NULL, 0), 0);
	rig_config_write16(0x92, 0);
	CU_ASSERT_FALSE(bh_vfu_irq_msix_enabled(rig.server));
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 1));
}

static void mask_holds_back_and_unmask_delivers(void)
{
	const uint8_t second[3] = { 0, 1, 0 };

	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 0, 3, e, 3), 0);
	CU_ASSERT_EQUAL(rig_irqs(NONE | MASK, MSIX, 0, 2, NULL, 0), 0);
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 0));
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 1));
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 1));
	CU_ASSERT_TRUE(bh_vfu_irq_raise(rig.server, 2));
	CU_ASSERT_EQUAL(set_bools(UNMASK, MSIX, 0, 3, second, 3), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[1]), 1);
	CU_ASSERT_EQUAL(rig_irqs(NONE | UNMASK, MSIX, 0, 3, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[1]), 0);
	CU_ASSERT_EQUAL(set_bools(MASK, MSIX, 0, 3, second, 3), 0);
	CU_ASSERT_TRUE(bh_vfu_irq_is_open(rig.server, 0));
	CU_ASSERT_FALSE(bh_vfu_irq_is_open(rig.server, 1));
}

static void loopback_triggers(void)
{
	const uint8_t some[4] = { 1, 0, 0, 1 };

	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 0, 4, e, 4), 0);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, MSIX, 1, 2, NULL, 0), 0);
	CU_ASSERT_EQUAL(set_bools(TRIGGER, MSIX, 0, 4, some, 4), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[1]), 1);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[2]), 1);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[3]), 1);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, BH_PCI_ERR, 0, 1, &e[5], 1), 0);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, BH_PCI_ERR, 0, 1, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[5]), 1);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, BH_PCI_ERR, 0, 1, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, BH_PCI_ERR, 0, 1, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[5]), 0);
}

static void function_mask_and_table_mask_count_too(void)
{
	const uint32_t one = 1, zero = 0;

	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 0, 2, e, 2), 0);
	rig_config_write16(0x92, 0xc000);
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 0));
	rig_config_write16(0x92, 0x8000);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	CU_ASSERT_EQUAL(rig_write(RIG_MSIX_BAR, 16 + 12, &one, 4), 0);
	CU_ASSERT_TRUE(bh_vfu_irq_raise(rig.server, 0));
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 1));
	CU_ASSERT_EQUAL(rig_write(RIG_MSIX_BAR, 16 + 12, &zero, 4), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[1]), 1);
}

static void mask_fds_act_when_signalled(void)
{
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, e, 1), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | MASK, MSIX, 0, 1, &e[1], 1), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | UNMASK, MSIX, 0, 1, &e[2], 1), 0);
	eventfd_write(e[1], 1);
	rig_turn();
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 0));
	eventfd_write(e[2], 1);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	eventfd_write(e[1], 1); /* never read by the server, yet it acts each time */
	rig_turn();
	CU_ASSERT_FALSE(bh_vfu_irq_is_open(rig.server, 0));
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | UNMASK, MSIX, 0, 1, NULL, 0), 0);
	eventfd_write(e[2], 1);
	rig_turn();
	CU_ASSERT_FALSE(bh_vfu_irq_is_open(rig.server, 0));
}

static void intx_masks_itself_until_unmasked(void)
{
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, INTX, 0, 1, e, 1), 0);
	CU_ASSERT_EQUAL(rig_irqs(NONE | MASK, INTX, 0, 1, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | UNMASK, INTX, 0, 1, &e[1], 1), 0); /* resample */
	CU_ASSERT_EQUAL(rig_irqs(NONE | UNMASK, INTX, 0, 1, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig_config32(4) & 0x80000, 0);
	bh_vfu_irq_level(rig.server, 0, true);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	CU_ASSERT_EQUAL(rig_config32(4) & 0x80000, 0x80000);
	bh_vfu_irq_level(rig.server, 1, true);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 0);
	bh_vfu_irq_level(rig.server, 0, false);
	eventfd_write(e[1], 1); /* the guest's end of interrupt: vector 1 still holds the line */
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	bh_vfu_irq_level(rig.server, 1, false);
	eventfd_write(e[1], 1);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 0);
	CU_ASSERT_EQUAL(rig_config32(4) & 0x80000, 0);
	bh_vfu_irq_level(rig.server, 1, true);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
}

static unsigned int acks;

static void on_ack(void *ctx)
{
	(void)ctx;
	acks++;
}

/* A device that looks after an acknowledgement is not spoken for by what it said before. */
static void intx_waits_for_what_is_said_after_an_acknowledgement(void)
{
	struct bh_vfu_ops ops = *rig.opts.ops;

	ops.intx_acknowledged = on_ack;
	rig_disconnect();
	rig_stop();
	rig.opts.ops = &ops;
	rig_start();
	rig_connect();
	rig_negotiate();
	acks = 0;
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, INTX, 0, 1, e, 1), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | UNMASK, INTX, 0, 1, &e[1], 1), 0);
	bh_vfu_irq_level(rig.server, 0, true);
	bh_vfu_irq_level(rig.server, 1, true);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	CU_ASSERT_EQUAL(rig_irqs(NONE | UNMASK, INTX, 0, 1, NULL, 0), 0);
	CU_ASSERT_EQUAL(acks, 1);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 0);
	CU_ASSERT_EQUAL(rig_config32(4) & 0x80000, 0x80000); /* the condition as such is there */
	bh_vfu_irq_level(rig.server, 0, false);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 0);
	bh_vfu_irq_level(rig.server, 1, true);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	bh_vfu_irq_level(rig.server, 1, true);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 0);
	eventfd_write(e[1], 1); /* the other way to acknowledge */
	rig_turn();
	CU_ASSERT_EQUAL(acks, 2);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 0);
	bh_vfu_irq_level(rig.server, 1, true);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	CU_ASSERT_EQUAL(rig_irqs(NONE | UNMASK, INTX, 0, 1, NULL, 0), 0);
	bh_vfu_irq_level(rig.server, 1, false);
	CU_ASSERT_EQUAL(rig_config32(4) & 0x80000, 0);
	/* an edge needs no acknowledgement to have been */
	bh_vfu_irq_level(rig.server, 2, true);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	rig_disconnect();
	rig_stop(); /* ops is of this function */
}

static void intx_respects_its_disable_bit_and_msix(void)
{
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, INTX, 0, 1, e, 1), 0);
	rig_config_write16(4, 0x400);
	bh_vfu_irq_level(rig.server, 0, true);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 0);
	rig_config_write16(4, 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	rig_config_write16(0x92, 0x8000);
	CU_ASSERT_EQUAL(rig_irqs(NONE | UNMASK, INTX, 0, 1, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 0);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, INTX, 0, 0, NULL, 0), 0);
	rig_config_write16(0x92, 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 0);
	/* binding while the line is up */
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, INTX, 0, 1, &e[1], 1), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[1]), 1);
}

static void a_whole_table_is_one_change(void)
{
	uint8_t table[16 * RIG_VECTORS] = { 0 };
	unsigned int before;

	CU_ASSERT_EQUAL(rig_write(RIG_MSIX_BAR, 0, table, sizeof(table)), 0);
	before = rig.count[RIG_IRQS];
	memset(table, 0xff, sizeof(table));
	CU_ASSERT_EQUAL(rig_write(RIG_MSIX_BAR, 0, table, sizeof(table)), 0);
	CU_ASSERT_EQUAL(rig.count[RIG_IRQS], before + 1);
	CU_ASSERT_EQUAL(rig_write(RIG_MSIX_BAR, 0, table, sizeof(table)), 0);
	CU_ASSERT_EQUAL(rig.count[RIG_IRQS], before + 1);
}

static void intx_is_absent_without_a_pin(void)
{
	rig_disconnect();
	rig_stop();
	rig.opts.interrupt_pin = 0;
	rig_start();
	rig_connect();
	rig_negotiate();
	CU_ASSERT_EQUAL(rig_config32(0x3c), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, INTX, 0, 1, e, 1), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(NONE | TRIGGER, INTX, 0, 0, NULL, 0), -EINVAL);
}

static void reset_keeps_bindings_and_forgets_pending(void)
{
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, e, 1), 0);
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 1));
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_RESET, NULL, 0, NULL, 0), 0);
	CU_ASSERT_TRUE(bh_vfu_irq_raise(rig.server, 0));
	CU_ASSERT_EQUAL(rig_eventfd_value(e[0]), 1);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 1, 1, &e[1], 1), 0);
	CU_ASSERT_EQUAL(rig_eventfd_value(e[1]), 0);
}

static void disconnect_drops_everything(void)
{
	int before = rig_count_fds();

	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 0, 4, e, 4), 0);
	CU_ASSERT_EQUAL(rig_irqs(NONE | MASK, MSIX, 1, 1, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | MASK, MSIX, 0, 2, e, 2), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | UNMASK, INTX, 0, 1, e, 1), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, INTX, 0, 1, e, 1), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, BH_PCI_ERR, 0, 1, e, 1), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, BH_PCI_REQ, 0, 1, e, 1), 0);
	CU_ASSERT_EQUAL(rig_count_fds(), before + 10);
	rig_connect();
	rig_negotiate();
	CU_ASSERT_EQUAL(rig_count_fds(), before);
	CU_ASSERT_FALSE(bh_vfu_irq_raise(rig.server, 0));
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 1, 1, &e[1], 1), 0);
	CU_ASSERT_TRUE(bh_vfu_irq_raise(rig.server, 1));
}

static void full_and_odd_fds_block_nobody(void)
{
	int full = eventfd(0, EFD_CLOEXEC), pipes[2], file = rig_memfd(4096), i; /* blocking ones */

	eventfd_write(full, UINT64_MAX - 1);
	CU_ASSERT_EQUAL(pipe2(pipes, O_CLOEXEC), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 0, 1, &full, 1), 0);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 1, 1, &pipes[1], 1), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | TRIGGER, MSIX, 2, 1, &file, 1), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | MASK, MSIX, 2, 1, &file, 1), -EINVAL);
	/* watching one that is not an eventfd may ask a program of the client's (FUSE) */
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | MASK, MSIX, 2, 1, &pipes[0], 1), -EINVAL);
	CU_ASSERT_EQUAL(rig_irqs(EVENTFD | UNMASK, INTX, 0, 1, &rig.conn.fd, 1), -EINVAL);
	for (i = 0; i < 70000; i++) {
		bh_vfu_irq_raise(rig.server, 0);
		bh_vfu_irq_raise(rig.server, 1);
		bh_vfu_irq_raise(rig.server, 2);
	}
	CU_ASSERT(rig_eventfd_value(full) >= UINT64_MAX - 1);
	CU_ASSERT_TRUE(bh_vfu_irq_raise(rig.server, 0));
	CU_ASSERT_EQUAL(rig_eventfd_value(full), 1);
	close(full);
	close(pipes[0]);
	close(pipes[1]);
	close(file);
}

BH_SUITE_FIXTURE(
	"vfu_server_irqs", setup, teardown, { "info_of_every_type", info_of_every_type },
	{ "set_checks_every_field", set_checks_every_field },
	{ "bound_vectors_signal", bound_vectors_signal },
	{ "what_was_raised_before_binding_is_delivered",
	  what_was_raised_before_binding_is_delivered },
	{ "enable_without_vectors", enable_without_vectors },
	{ "mask_holds_back_and_unmask_delivers", mask_holds_back_and_unmask_delivers },
	{ "loopback_triggers", loopback_triggers },
	{ "function_mask_and_table_mask_count_too", function_mask_and_table_mask_count_too },
	{ "mask_fds_act_when_signalled", mask_fds_act_when_signalled },
	{ "intx_masks_itself_until_unmasked", intx_masks_itself_until_unmasked },
	{ "intx_waits_for_what_is_said_after_an_acknowledgement",
	  intx_waits_for_what_is_said_after_an_acknowledgement },
	{ "intx_respects_its_disable_bit_and_msix", intx_respects_its_disable_bit_and_msix },
	{ "a_whole_table_is_one_change", a_whole_table_is_one_change },
	{ "intx_is_absent_without_a_pin", intx_is_absent_without_a_pin },
	{ "reset_keeps_bindings_and_forgets_pending", reset_keeps_bindings_and_forgets_pending },
	{ "disconnect_drops_everything", disconnect_drops_everything },
	{ "full_and_odd_fds_block_nobody", full_and_odd_fds_block_nobody }, )

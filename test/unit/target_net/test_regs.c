/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers, features, status, the control queue. */
#include <sys/stat.h>

#include "net_rig.h"

static struct rig r;

static void offers_what_the_port_can_do(void)
{
	rig_open(&r, rig_port("loopback", "", 1), 1);
	CU_ASSERT_TRUE((rig_offered(&r) & NET(GUEST_TSO4)) != 0);
	CU_ASSERT_TRUE((rig_offered(&r) & ALL(RING_PACKED)) != 0);
	CU_ASSERT_FALSE((rig_offered(&r) & NET(MQ)) != 0);
	CU_ASSERT_FALSE((rig_offered(&r) & NET(CTRL_RX)) != 0);
	CU_ASSERT_FALSE((rig_offered(&r) & NET(MTU)) != 0);
	CU_ASSERT_EQUAL(RIG_GET(&r, num_queues), 3);
	RIG_SET(&r, device_feature_select, 2);
	CU_ASSERT_EQUAL(RIG_GET(&r, device_feature), 0);
	rig_close(&r);
	rig_open(&r, rig_port("null", "", 4), 4);
	CU_ASSERT_TRUE((rig_offered(&r) & NET(MQ)) != 0);
	CU_ASSERT_TRUE((rig_offered(&r) & NET(CSUM)) != 0);
	CU_ASSERT_FALSE((rig_offered(&r) & NET(GUEST_CSUM)) != 0);
	CU_ASSERT_EQUAL(RIG_GET(&r, num_queues), 9);
	CU_ASSERT_EQUAL(rig_read(&r, TNET_DEVICE + 8, 2), 4);
	CU_ASSERT_EQUAL(rig_read(&r, TNET_DEVICE, 6), 0x010000005452);
	CU_ASSERT_EQUAL(rig_read(&r, TNET_DEVICE + 6, 2), BH_VIRTIO_NET_S_LINK_UP);
	rig_close(&r);
}

static void features_that_contradict_are_refused(void)
{
	static const uint64_t bad[] = {
		0,
		ALL(RING_PACKED),
		ALL(VERSION_1) | 1ull << 50,
		ALL(VERSION_1) | NET(GUEST_TSO4),
		ALL(VERSION_1) | NET(HOST_TSO6),
		ALL(VERSION_1) | NET(CSUM) | NET(HOST_ECN),
		ALL(VERSION_1) | NET(CTRL_MAC_ADDR),
		ALL(VERSION_1) | NET(CTRL_VQ) | NET(CTRL_RX),
	};

	rig_open(&r, rig_port("loopback", "", 1), 1);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CU_ASSERT_FALSE(rig_negotiate(&r, bad[i]));
		RIG_SET(&r, device_status, 15); /* not without FEATURES_OK */
		CU_ASSERT_EQUAL(RIG_GET(&r, device_status), 3);
	}
	CU_ASSERT_TRUE(rig_negotiate(&r, rig_offered(&r)));
	RIG_SET(&r, driver_feature, 0); /* final by now */
	CU_ASSERT_EQUAL(RIG_GET(&r, driver_feature), rig_offered(&r) >> 32);
	rig_close(&r);
}

static void queues_are_as_they_were_set(void)
{
	rig_open(&r, rig_port("null", "", 1), 1);
	CU_ASSERT_TRUE(rig_negotiate(&r, RIG_RING_FEATURES));
	RIG_SET(&r, queue_select, 1);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_size), 1024);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_notify_off), 1);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_msix_vector), BH_VIRTIO_NO_VECTOR);
	RIG_SET(&r, queue_size, 2048);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_size), 1024);
	RIG_SET(&r, queue_msix_vector, 4);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_msix_vector), BH_VIRTIO_NO_VECTOR);
	rig_write(&r, BH_VIRTIO_COMMON(queue_desc), 0x11110000, 4);
	rig_write(&r, BH_VIRTIO_COMMON(queue_desc) + 4, 0x2222, 4);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_desc), 0x222211110000);
	rig_enable(&r, 1);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_enable), 1);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_size), RIG_DEPTH);
	RIG_SET(&r, queue_device, 0); /* not while it is enabled */
	CU_ASSERT_NOT_EQUAL(RIG_GET(&r, queue_device), 0);
	RIG_SET(&r, queue_select, 3);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_size), 0);
	RIG_SET(&r, queue_enable, 1);
	RIG_SET(&r, queue_select, 0xffff);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_size), 0);
	RIG_SET(&r, device_status, 0);
	RIG_SET(&r, queue_select, 1);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_enable), 0);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_desc), 0);
	rig_close(&r);
}

/* 2.6.1: one queue begins anew, with another size and elsewhere, while the others go on. */
static void queue_is_reset_alone(void)
{
	struct rig_vq *rx;
	uint8_t *frame;
	uint32_t len;

	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, ALL(RING_RESET));
	rx = &r.vq[0];
	for (unsigned int round = 0; round < 3; round++) {
		rig_offer(&r, 0, 3 + round, 2048);
		rig_send(&r, 0, 100, round, NULL);
		rig_turn();
		frame = rig_receive(&r, 0, &len);
		CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
		CU_ASSERT_TRUE(rig_check(frame, 100, round));
		RIG_SET(&r, queue_select, 0);
		RIG_SET(&r, queue_reset, 1);
		CU_ASSERT_EQUAL(RIG_GET(&r, queue_reset), 0);
		CU_ASSERT_EQUAL(RIG_GET(&r, queue_enable), 0);
		CU_ASSERT_EQUAL(RIG_GET(&r, queue_size), 1024);
		CU_ASSERT_EQUAL(RIG_GET(&r, queue_desc), 0);
		CU_ASSERT_EQUAL(RIG_GET(&r, queue_msix_vector), BH_VIRTIO_NO_VECTOR);
		CU_ASSERT_EQUAL(RIG_GET(&r, device_status), 15);
		/* Buffers of before are the driver's: nothing is written there any more. */
		memset(rig_desc(&r, rx, 0), 0, RIG_DEPTH * sizeof(struct bh_virtq_packed_desc));
		rig_turn();
		rig_enable(&r, 0);
	}
	/* The transmit queue has kept its place: three packets on. */
	CU_ASSERT_EQUAL(r.net->pair[0]->tx.next_avail, 3);
	rig_close(&r);
}

static void broken_queue_is_mended_by_its_own_reset(void)
{
	const uint32_t len = 2048;
	uint32_t got;

	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, ALL(RING_RESET));
	rig_add(&r, &r.vq[0], &len, 1, 0); /* to be read: no place for a packet */
	rig_send(&r, 0, 100, 1, NULL);
	rig_turn();
	CU_ASSERT_TRUE((RIG_GET(&r, device_status) & BH_VIRTIO_STATUS_NEEDS_RESET) != 0);
	RIG_SET(&r, queue_select, 0);
	RIG_SET(&r, queue_reset, 1);
	rig_enable(&r, 0);
	rig_offer(&r, 0, 2, 2048);
	rig_send(&r, 0, 100, 2, NULL);
	rig_turn();
	CU_ASSERT_PTR_NOT_NULL(rig_receive(&r, 0, &got));
	rig_close(&r);
}

static void queue_reset_without_leave_does_nothing(void)
{
	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, 0);
	for (unsigned int i = 0; i < 3; i++) {
		RIG_SET(&r, queue_select, i);
		RIG_SET(&r, queue_reset, 1);
		CU_ASSERT_EQUAL(RIG_GET(&r, queue_enable), 1);
		CU_ASSERT_EQUAL(RIG_GET(&r, queue_size), RIG_DEPTH);
	}
	rig_start(&r, ALL(RING_RESET) | NET(CTRL_VQ));
	RIG_SET(&r, queue_select, 2); /* the control queue can be reset as well */
	RIG_SET(&r, queue_reset, 2);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_enable), 1);
	RIG_SET(&r, queue_reset, 1);
	CU_ASSERT_EQUAL(RIG_GET(&r, queue_enable), 0);
	rig_enable(&r, 2);
	CU_ASSERT_TRUE(r.net->cvq.is_live);
	rig_close(&r);
}

static void each_client_has_notifications_of_its_own(void)
{
	struct stat before, after;

	rig_open(&r, rig_port("null", "", 1), 1);
	CU_ASSERT_EQUAL(fstat(r.server->opts.bar[0].fd, &before), 0);
	r.server->opts.ops->reset(r.net, BH_RESET_DEVICE);
	CU_ASSERT_EQUAL(fstat(r.server->opts.bar[0].fd, &after), 0);
	CU_ASSERT_EQUAL(before.st_ino, after.st_ino);
	r.server->opts.ops->reset(r.net, BH_RESET_LOST);
	CU_ASSERT_EQUAL(fstat(r.server->opts.bar[0].fd, &after), 0);
	CU_ASSERT_NOT_EQUAL(before.st_ino, after.st_ino);
	CU_ASSERT_EQUAL(before.st_size, after.st_size);
	rig_close(&r);
}

static void registers_of_any_shape_are_survived(void)
{
	uint8_t buf[64] = { 0xff };

	rig_open(&r, rig_port("null", "", 1), 1);
	for (uint64_t at = 0; at < TNET_BAR_BYTES - 64; at += at < 0x100 ? 1 : 0x3ff)
		for (size_t n = 1; n <= 64; n++) {
			const struct bh_vfu_ops *ops = r.server->opts.ops;

			CU_ASSERT_EQUAL(ops->access(r.net, BH_PCI_BAR0, at, buf, n, false), 0);
			if (at != BH_VIRTIO_COMMON(device_status))
				ops->access(r.net, BH_PCI_BAR0, at, buf, n, true);
		}
	CU_ASSERT_EQUAL(RIG_GET(&r, device_status), 0);
	CU_ASSERT_EQUAL(rig_read(&r, TNET_DEVICE, 6), 0x010000005452); /* read-only */
	rig_close(&r);
}

static void capabilities_lead_to_the_registers(void)
{
	struct bh_virtio_pci_cfg_cap window;
	uint8_t *bytes = (uint8_t *)&window;
	const struct bh_vfu_ops *ops;

	rig_open(&r, rig_port("null", "", 1), 1);
	ops = r.server->opts.ops;
	CU_ASSERT_EQUAL(r.server->opts.num_caps, 5);
	memcpy(&window, r.server->opts.caps[4].bytes, sizeof(window));
	window.cap.offset = BH_VIRTIO_COMMON(num_queues);
	window.cap.length = 2;
	ops->capability(r.net, 4, bytes, 16, 4, false);
	CU_ASSERT_EQUAL(window.pci_cfg_data[0], 3);
	window.cap.offset = BH_VIRTIO_COMMON(device_status);
	window.cap.length = 1;
	window.pci_cfg_data[0] = 1;
	ops->capability(r.net, 4, bytes, 16, 1, true);
	CU_ASSERT_EQUAL(RIG_GET(&r, device_status), 1);
	window.cap.bar = 4; /* not ours to look into */
	window.pci_cfg_data[0] = 0;
	ops->capability(r.net, 4, bytes, 16, 1, true);
	window.cap.bar = 0;
	window.cap.offset = UINT32_MAX;
	ops->capability(r.net, 4, bytes, 16, 1, true);
	window.cap.offset = BH_VIRTIO_COMMON(device_status);
	ops->capability(r.net, 4, bytes, 4, 12, true); /* no data in it */
	CU_ASSERT_EQUAL(RIG_GET(&r, device_status), 1);
	rig_close(&r);
}

static void line_goes_up_and_reading_lowers_it(void)
{
	rig_open(&r, rig_port("loopback", "", 1), 1);
	r.server->msix = false;
	rig_start(&r, 0);
	rig_offer(&r, 0, 1, 2048);
	rig_send(&r, 0, 60, 1, NULL);
	rig_turn();
	CU_ASSERT_TRUE(r.server->level);
	CU_ASSERT_EQUAL(rig_read(&r, TNET_ISR, 1), BH_VIRTIO_ISR_QUEUE);
	CU_ASSERT_FALSE(r.server->level);
	CU_ASSERT_EQUAL(rig_read(&r, TNET_ISR, 1), 0);
	rig_close(&r);
}

static void commands_are_answered(void)
{
	const uint16_t pairs[] = { 0, 1, 2, 3 };
	const uint16_t vlan = 4095, too_high = 4096;
	const uint8_t mac[6] = { 2, 2, 2, 2, 2, 2 }, on = 1;
	const uint64_t some = NET(GUEST_CSUM), more = NET(GUEST_TSO6);
	const uint32_t tables[2] = { 0, 0 }, lies[2] = { 0, 1000000 };
	struct bh_net_port_opts opts;
	struct bh_net_port *end[2];
	uint8_t big[4200] = { 0 };

	bh_net_port_opts_init(&opts);
	opts.queues = 2;
	CU_ASSERT_EQUAL_FATAL(bh_net_port_pair(&opts, end), 0);
	rig_open(&r, end[0], 2);
	rig_start(&r, rig_offered(&r) & ~NET(GUEST_TSO6));
	for (unsigned int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_MQ, 0, &pairs[i], 2),
				i == 1 || i == 2 ? BH_VIRTIO_NET_OK : BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(r.net->active_pairs, 2);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_MQ, 0, pairs, 1), BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_RX, 0, &on, 1), BH_VIRTIO_NET_OK);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_RX, 6, &on, 1), BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_MAC, 1, mac, 6), BH_VIRTIO_NET_OK);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_MAC, 1, mac, 5), BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_MAC, 0, tables, 8), BH_VIRTIO_NET_OK);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_MAC, 0, lies, 8), BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_MAC, 0, tables, 6), BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_VLAN, 0, &vlan, 2), BH_VIRTIO_NET_OK);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_VLAN, 0, &too_high, 2),
			BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_VLAN, 2, &vlan, 2), BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &some, 8),
			BH_VIRTIO_NET_OK);
	CU_ASSERT_EQUAL(r.net->guest_offloads, some);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &more, 8),
			BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_ANNOUNCE, 0, &on, 1), BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(rig_command(&r, 200, 0, &on, 1), BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(rig_command(&r, BH_VIRTIO_NET_CTRL_RX, 0, big, sizeof(big)),
			BH_VIRTIO_NET_ERR);
	CU_ASSERT_EQUAL(RIG_GET(&r, device_status), 15);
	rig_close(&r);
	bh_net_port_close(end[1]);
}

static void command_without_a_place_for_its_answer(void)
{
	const uint32_t len = 8;

	rig_open(&r, rig_port("loopback", "", 1), 1);
	rig_start(&r, NET(CTRL_VQ));
	rig_add(&r, &r.vq[2], &len, 1, 0);
	rig_write(&r, TNET_NOTIFY + 8, 2, 2);
	rig_turn();
	CU_ASSERT_EQUAL(RIG_GET(&r, device_status), 15 | BH_VIRTIO_STATUS_NEEDS_RESET);
	CU_ASSERT_EQUAL(r.server->raised[0], 1);
	rig_start(&r, NET(CTRL_VQ));
	rig_close(&r);
}

BH_SUITE_FIXTURE(
	"regs", rig_setup, rig_teardown,
	{ "offers_what_the_port_can_do", offers_what_the_port_can_do },
	{ "features_that_contradict_are_refused", features_that_contradict_are_refused },
	{ "queues_are_as_they_were_set", queues_are_as_they_were_set },
	{ "queue_is_reset_alone", queue_is_reset_alone },
	{ "broken_queue_is_mended_by_its_own_reset", broken_queue_is_mended_by_its_own_reset },
	{ "queue_reset_without_leave_does_nothing", queue_reset_without_leave_does_nothing },
	{ "each_client_has_notifications_of_its_own", each_client_has_notifications_of_its_own },
	{ "registers_of_any_shape_are_survived", registers_of_any_shape_are_survived },
	{ "capabilities_lead_to_the_registers", capabilities_lead_to_the_registers },
	{ "line_goes_up_and_reading_lowers_it", line_goes_up_and_reading_lowers_it },
	{ "commands_are_answered", commands_are_answered },
	{ "command_without_a_place_for_its_answer", command_without_a_place_for_its_answer })

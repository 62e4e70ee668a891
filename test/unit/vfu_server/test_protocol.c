/* SPDX-License-Identifier: BSD-3-Clause */
/* Framing, VERSION, unknown commands, pipelining: what is the same for all messages. */
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "rig.h"

#define INFO_BODY           \
	{                   \
		.argsz = 16 \
	}

static void version_reply_is_short_and_complete(void)
{
	struct vfu_caps caps;
	uint16_t major, minor;
	const char *why;

	CU_ASSERT(rig.reply.header.size <= 214);
	CU_ASSERT_EQUAL(rig.reply.nfds, 0);
	CU_ASSERT_EQUAL(
		vfu_version_decode(rig.reply.body, rig.reply.body_len, &major, &minor, &caps, &why),
		0);
	CU_ASSERT_EQUAL(major, 0);
	CU_ASSERT_EQUAL(minor, 0);
	CU_ASSERT_EQUAL(caps.max_msg_fds, 16);
	CU_ASSERT_EQUAL(caps.max_data_xfer, 1048576);
	CU_ASSERT_EQUAL(caps.max_dma_maps, 65535);
	CU_ASSERT_EQUAL(caps.pgsizes, 4096);
	CU_ASSERT_TRUE(caps.write_multiple);
	CU_ASSERT_FALSE(caps.twin_socket);
	CU_ASSERT_EQUAL(rig.count[RIG_CONNECTED], 1);
}

static void version_without_json_is_defaults(void)
{
	const uint16_t spdk[2] = { 0, 1 }, newer[2] = { 0, 9 };

	rig_connect();
	CU_ASSERT_EQUAL(rig_call(VFU_VERSION, spdk, 4, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig.reply.body[2], 1);
	CU_ASSERT(rig.reply.body_len > 4);
	rig_connect();
	CU_ASSERT_EQUAL(rig_call(VFU_VERSION, newer, 4, NULL, 0), 0);
	CU_ASSERT_EQUAL(rig.reply.body[2], 2);
}

static void bad_version_is_answered_and_closed(void)
{
#define BARE(text)                     \
	{                              \
		text, sizeof(text) - 1 \
	}
#define TERMINATED(text)           \
	{                          \
		text, sizeof(text) \
	}
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		BARE("\0\0"),
		BARE("\1\0\0\0"),
		BARE("\0\0\0\0{}"),
		TERMINATED("\0\0\0\0{"),
		TERMINATED("\0\0\0\0{\"capabilities\":{\"max_msg_fds\":-1}}"),
		TERMINATED("\0\0\0\0{\"capabilities\":[]}"),
		TERMINATED("\0\0\0\0{\"capabilities\":{\"twin_socket\":{\"supported\":3}}}"),
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rig_connect();
		CU_ASSERT_EQUAL(rig_call(VFU_VERSION, bad[i].bytes, bad[i].len, NULL, 0), -EINVAL);
		CU_ASSERT_TRUE(rig_closed());
	}
	CU_ASSERT_EQUAL(rig.count[RIG_CONNECTED], 1); /* the fixture's */
}

static void version_with_fds_is_refused(void)
{
	const uint16_t version[2] = { 0, 0 };
	int fd = eventfd(0, EFD_CLOEXEC);

	rig_connect();
	CU_ASSERT_EQUAL(rig_call(VFU_VERSION, version, 4, &fd, 1), -EINVAL);
	CU_ASSERT_TRUE(rig_closed());
	close(fd);
}

static void first_message_must_be_version(void)
{
	const struct vfu_device_info info = INFO_BODY;

	rig_connect();
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_GET_INFO, &info, sizeof(info), NULL, 0), -EINVAL);
	CU_ASSERT_TRUE(rig_closed());
	rig_connect();
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_RESET, NULL, 0, NULL, 0), -EINVAL);
	CU_ASSERT_TRUE(rig_closed());
}

static void second_version_is_einval(void)
{
	const uint16_t version[2] = { 0, 0 };

	CU_ASSERT_EQUAL(rig_call(VFU_VERSION, version, 4, NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36);
}

static void unknown_commands_are_einval(void)
{
	static const uint16_t unknown[] = { 0, 11, 12, 14, 17, 18, 19, 255, 65535 };
	const uint8_t body[16] = { 0 };
	size_t i;

	for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		CU_ASSERT_EQUAL(rig_call(unknown[i], body, sizeof(body), NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36);
}

static void empty_bodies_are_einval_but_for_reset(void)
{
	uint16_t command;

	for (command = 1; command <= 18; command++)
		CU_ASSERT_EQUAL(rig_call(command, NULL, 0, NULL, 0),
				command == VFU_DEVICE_RESET ? 0 : -EINVAL);
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_RESET, "x", 1, NULL, 0), -EINVAL);
}

static void short_bodies_are_einval(void)
{
	static const uint8_t fixed[] = {
		[VFU_DMA_MAP] = 32,
		[VFU_DMA_UNMAP] = 24,
		[VFU_DEVICE_GET_INFO] = 16,
		[VFU_DEVICE_GET_REGION_INFO] = 32,
		[VFU_DEVICE_GET_REGION_IO_FDS] = 16,
		[VFU_DEVICE_GET_IRQ_INFO] = 16,
		[VFU_DEVICE_SET_IRQS] = 20,
		[VFU_REGION_READ] = 16,
		[VFU_REGION_WRITE] = 16,
		[VFU_REGION_WRITE_MULTI] = 8,
		[VFU_DEVICE_FEATURE] = 8,
	};
	uint8_t body[64];
	uint16_t command;

	memset(body, 0, sizeof(body));
	body[0] = 64;
	for (command = 0; command < sizeof(fixed); command++)
		if (fixed[command])
			CU_ASSERT_EQUAL(rig_call(command, body, fixed[command] - 1u, NULL, 0),
					-EINVAL);
}

static void odd_types_are_einval(void)
{
	uint32_t type;
	const uint8_t body[16] = { 16 };

	for (type = 1; type < 16; type++) {
		rig_send(VFU_DEVICE_GET_INFO, type, body, sizeof(body), NULL, 0);
		CU_ASSERT_TRUE(rig_recv(1000));
		CU_ASSERT_EQUAL(rig.reply.header.error, EINVAL);
		CU_ASSERT(rig.reply.header.flags & VFU_FLAG_ERROR);
	}
	CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36);
}

static void unusable_sizes_are_answered_and_closed(void)
{
	static const uint32_t sizes[] = { 0, 1, 15, (1u << 20) + 33, UINT32_MAX };
	struct vfu_header header = { .id = 77, .command = VFU_REGION_READ };
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		rig_connect();
		rig_negotiate();
		header.size = sizes[i];
		rig_raw(&header, sizeof(header), NULL, 0);
		CU_ASSERT_TRUE(rig_recv(1000));
		CU_ASSERT_EQUAL(rig.reply.header.id, 77);
		CU_ASSERT_EQUAL(rig.reply.header.error, EINVAL);
		CU_ASSERT_TRUE(rig_closed());
	}
}

static void too_many_fds_close(void)
{
	const struct vfu_header header = { .command = VFU_DEVICE_RESET, .size = 16 };
	int fds[17], i;

	for (i = 0; i < 17; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	rig_raw(&header, sizeof(header), fds, 17);
	CU_ASSERT_TRUE(rig_closed());
	for (i = 0; i < 17; i++)
		close(fds[i]);
}

static void stray_fds_are_closed(void)
{
	const struct vfu_device_info info = INFO_BODY;
	const uint8_t zeros[32] = { 0 };
	int fds[3], before, i;

	for (i = 0; i < 3; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	rig_turn();
	before = rig_count_fds();
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_GET_INFO, &info, sizeof(info), fds, 3), 0);
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_RESET, NULL, 0, fds, 3), 0);
	CU_ASSERT_EQUAL(rig_call(0, zeros, sizeof(zeros), fds, 3), -EINVAL);
	rig_send(VFU_DEVICE_SET_IRQS, VFU_FLAG_NO_REPLY, zeros, 20, fds, 3);
	CU_ASSERT_TRUE(rig_silent());
	CU_ASSERT_EQUAL(rig_count_fds(), before);
	for (i = 0; i < 3; i++)
		close(fds[i]);
}

static void messages_come_in_single_bytes(void)
{
	struct {
		struct vfu_header header;
		struct vfu_device_info info;
	} msg = { { .id = 5, .command = VFU_DEVICE_GET_INFO, .size = 32 }, INFO_BODY };
	size_t i;

	for (i = 0; i < sizeof(msg); i++) {
		CU_ASSERT_TRUE(rig_silent());
		rig_raw((uint8_t *)&msg + i, 1, NULL, 0);
	}
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.reply.header.id, 5);
	memcpy(&msg.info, rig.reply.body, sizeof(msg.info));
	CU_ASSERT_EQUAL(msg.info.argsz, 16);
	CU_ASSERT_EQUAL(msg.info.flags, VFU_DEVICE_FLAG_RESET | VFU_DEVICE_FLAG_PCI);
	CU_ASSERT_EQUAL(msg.info.num_regions, 9);
	CU_ASSERT_EQUAL(msg.info.num_irqs, 5);
}

static void device_info_checks_argsz(void)
{
	const struct vfu_device_info small = { .argsz = 15 }, large = { .argsz = 4096 };

	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_GET_INFO, &small, sizeof(small), NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_GET_INFO, &large, sizeof(large), NULL, 0), 0);
}

static void pipelined_commands_are_answered_in_order(void)
{
	struct vfu_region_access access = { .region = BH_PCI_CONFIG, .count = 4 };
	unsigned int i;

	for (i = 0; i < 300; i++) {
		access.offset = i % 64 * 4;
		rig_send(VFU_REGION_READ, 0, &access, sizeof(access), NULL, 0);
	}
	for (i = 0; i < 300; i++) {
		CU_ASSERT_TRUE_FATAL(rig_recv(1000));
		memcpy(&access, rig.reply.body, sizeof(access));
		CU_ASSERT_EQUAL(access.offset, i % 64 * 4);
	}
	CU_ASSERT_TRUE(rig_silent());
}

static void no_reply_means_none_not_even_an_error(void)
{
	struct {
		struct vfu_region_access access;
		uint32_t value;
	} write = { { .offset = 0x20, .region = 0, .count = 4 }, 0xabcd1234 };
	uint32_t got;

	rig_send(VFU_REGION_WRITE, VFU_FLAG_NO_REPLY, &write, 20, NULL, 0);
	write.access.region = 77;
	rig_send(VFU_REGION_WRITE, VFU_FLAG_NO_REPLY, &write, 20, NULL, 0);
	rig_send(VFU_DEVICE_RESET, VFU_FLAG_NO_REPLY, NULL, 0, NULL, 0);
	CU_ASSERT_TRUE(rig_silent());
	CU_ASSERT_EQUAL(rig.count[RIG_RESET], 1);
	CU_ASSERT_EQUAL(rig_read(0, 0x20, &got, 4), 0);
	CU_ASSERT_EQUAL(got, 0xabcd1234);
}

static void features_are_einval(void)
{
	static const uint32_t flags[] = {
		0,	 0x40000, 0x40001, 0x10001, 0x20001, 0x50001,	 0x60002, 0x30001, 0x70001,
		0x10002, 0x20006, 0x20007, 0x10008, 0x80000, 0xffffffff, 0x1ffff, 0x4000b,
	};
	struct vfu_device_feature body[8] = { { .argsz = sizeof(body) } };
	size_t i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		body[0].flags = flags[i];
		CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_FEATURE, body, sizeof(body), NULL, 0), -EINVAL);
		CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_FEATURE, body, 8, NULL, 0), -EINVAL);
	}
}

/* A client that does not read delays itself only, and gets everything when it does. */
/* However much has come, a pass of the control thread, which is others' too, takes a part of it. */
static void a_pass_takes_a_bounded_number(void)
{
	const struct vfu_region_access access = { .region = BH_PCI_CONFIG, .count = 4 };
	const struct vfu_header header = { .command = VFU_REGION_READ, .size = 32 };
	enum { COUNT = 1000, REPLY = 36 };
	static uint8_t msgs[COUNT][32], replies[COUNT * REPLY];
	unsigned int i, all = 0;
	ssize_t got;

	for (i = 0; i < COUNT; i++) {
		memcpy(msgs[i], &header, sizeof(header));
		memcpy(msgs[i] + sizeof(header), &access, sizeof(access));
	}
	CU_ASSERT_EQUAL(send(rig.conn.fd, msgs, sizeof(msgs), MSG_DONTWAIT), sizeof(msgs));
	for (i = 0; all < COUNT && i < COUNT; i++) {
		bh_reactor_run_once(rig.reactor);
		got = recv(rig.conn.fd, replies, sizeof(replies), MSG_DONTWAIT);
		CU_ASSERT(got <= 64 * REPLY);
		all += got > 0 ? (unsigned int)got / REPLY : 0;
	}
	CU_ASSERT_EQUAL(all, COUNT);
	CU_ASSERT(i >= COUNT / 64);
}

static void unread_replies_stop_reading(void)
{
	const struct vfu_region_access access = { .region = BH_PCI_CONFIG, .count = 4096 };
	enum { COUNT = 4000 };
	uint8_t msg[32];
	struct vfu_header header = { .command = VFU_REGION_READ, .size = 32 };
	unsigned int sent = 0, got = 0, at = 0, stuck = 0;
	ssize_t n;

	memcpy(msg + 16, &access, 16);
	while (sent < COUNT && stuck < 100) {
		header.id = (uint16_t)sent;
		memcpy(msg, &header, 16);
		n = send(rig.conn.fd, msg + at, 32 - at, MSG_DONTWAIT);
		bh_reactor_run_once(rig.reactor);
		stuck = n < 0 ? stuck + 1 : 0;
		at += n > 0 ? (unsigned int)n : 0;
		if (at == 32) {
			at = 0;
			sent++;
		}
	}
	CU_ASSERT(sent > 1000); /* 4 MiB were taken */
	CU_ASSERT(sent < COUNT);
	while (got < sent && rig_recv(1000)) {
		CU_ASSERT_EQUAL(rig.reply.header.id, got);
		got++;
	}
	CU_ASSERT_EQUAL(got, sent);
}

/* Sends as many of a message as the server takes, up to `most`, and reads nothing. */
static unsigned int send_unread(const void *msg, size_t len, const int *fds, unsigned int nfds,
				unsigned int most)
{
	struct pollfd pfd = { .fd = rig.conn.fd, .events = POLLOUT };
	unsigned int sent = 0, stuck = 0;

	while (sent < most && stuck < 100) {
		bh_reactor_run_once(rig.reactor);
		if (poll(&pfd, 1, 0) != 1) {
			stuck++;
			continue;
		}
		stuck = 0;
		rig_raw(msg, len, fds, nfds); /* there is room for all of so small a message */
		sent++;
	}
	return sent;
}

static void unread_replies_hold_few_fds(void)
{
	const struct {
		struct vfu_header header;
		struct vfu_region_info info;
	} msg = { { .command = VFU_DEVICE_GET_REGION_INFO, .size = 48 }, { .argsz = 64 } };
	const int before = rig_count_fds();

	CU_ASSERT(send_unread(&msg, sizeof(msg), NULL, 0, 3000) < 3000);
	CU_ASSERT(rig_count_fds() < before + 150);
}

static void waiting_commands_hold_few_fds(void)
{
	const struct vfu_header get_info = { .command = VFU_DEVICE_GET_INFO, .size = 16 };
	const struct vfu_dma_map map = { .argsz = 32, .address = 0x1000, .size = 0x1000 };
	const int before = rig_count_fds();
	int fds[VFU_MAX_FDS];
	unsigned int i;

	for (i = 0; i < VFU_MAX_FDS; i++)
		fds[i] = rig.bar_fd;
	rig.hold_quiesce = true;
	rig_send(VFU_DMA_MAP, 0, &map, sizeof(map), NULL, 0);
	CU_ASSERT(send_unread(&get_info, sizeof(get_info), fds, VFU_MAX_FDS, 200) <= 200);
	CU_ASSERT(rig_count_fds() < before + 150);
	rig.hold_quiesce = false;
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_TRUE(rig_recv(1000)); /* and all the others are served */
	CU_ASSERT_EQUAL(rig.reply.header.command, VFU_DEVICE_GET_INFO);
}

static void unread_errors_of_the_twin_stop_reading(void)
{
	const struct vfu_header reset = { .command = VFU_DEVICE_RESET, .size = 16 };
	struct vfu_conn conn;

	rig_connect();
	rig_negotiate_json("{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}");
	CU_ASSERT_EQUAL_FATAL(rig.reply.nfds, 1);
	conn = rig.conn;
	vfu_conn_init(&rig.conn, rig.reply.fds[0], NULL);
	rig.reply.fds[0] = -1;
	CU_ASSERT(send_unread(&reset, sizeof(reset), NULL, 0, 100000) < 100000);
	vfu_conn_fini(&conn);
	rig_turn();
}

static uint32_t seed;

static uint32_t roll(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* Numbers that matter somewhere: sizes, indices, flags, edges. */
static uint32_t interesting(void)
{
	static const uint32_t values[] = {
		0,	    0,		0,	    1,		1,	2,	3,	4,
		5,	    7,		8,	    9,		10,	16,	20,	24,
		32,	    33,		36,	    40,		64,	0x44,	0x58,	0x59,
		0x80,	    0x92,	0x1000,	    0x2000,	0x3ffc, 0x4000, 0x8000, 0x100000,
		0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff,
	};

	return values[roll(sizeof(values) / sizeof(values[0]))];
}

/* A request that may well be right; its length. nfds: what should go with it. */
static uint32_t plausible(uint16_t command, uint32_t *body, unsigned int *nfds)
{
	const struct vfu_irq_set set = {
		.argsz = 64,
		.flags = 1u << roll(3) | 8u << roll(3),
		.index = roll(5),
		.start = roll(4),
		.count = roll(4),
	};
	const struct vfu_dma_map map = {
		.argsz = 32,
		.flags = roll(16),
		.address = roll(8) * 0x1000ull,
		.size = 0x1000,
	};
	const struct vfu_dma_unmap unmap = {
		.argsz = 24,
		.address = roll(8) * 0x1000ull,
		.size = 0x1000 << roll(3),
	};
	const struct vfu_region_access access = {
		.offset = interesting(),
		.region = roll(4) ? BH_PCI_CONFIG : roll(5),
		.count = 1 + roll(8),
	};

	body[0] = 64;
	body[1] = body[3] = 0;
	body[2] = roll(6);
	switch (command) {
	case VFU_DMA_MAP:
		memcpy(body, &map, sizeof(map));
		*nfds = roll(2);
		return sizeof(map);
	case VFU_DMA_UNMAP:
		memcpy(body, &unmap, sizeof(unmap));
		return sizeof(unmap);
	case VFU_DEVICE_SET_IRQS:
		memcpy(body, &set, sizeof(set));
		*nfds = set.flags & VFU_IRQ_DATA_EVENTFD && roll(4) ? set.count : 0;
		return sizeof(set) + (set.flags & VFU_IRQ_DATA_BOOL ? set.count : 0);
	case VFU_REGION_READ:
	case VFU_REGION_WRITE:
		memcpy(body, &access, sizeof(access));
		return sizeof(access) + (command == VFU_REGION_WRITE ? access.count : 0);
	case VFU_REGION_WRITE_MULTI:
		body[0] = 1;
		memcpy(body + 2, &access, sizeof(access));
		return 32;
	case VFU_DEVICE_RESET:
		return 0;
	case VFU_DEVICE_GET_REGION_INFO:
		return 32;
	default:
		return 16;
	}
}

static void send_anything(const int *fds)
{
	static const uint32_t flags[] = { 0, 0, 0, 0, 0, 0, 0x10, 0x10, 1, 0x21, 2 };
	const uint16_t command = (uint16_t)(2 + roll(18));
	uint32_t body[25], i, len = roll(97);
	unsigned int nfds = roll(4) ? 0 : roll(4);

	for (i = 0; i < 25; i++)
		body[i] = interesting();
	if (roll(4))
		len = plausible(command, body, &nfds);
	rig_send(command, flags[roll(sizeof(flags) / sizeof(flags[0]))], body, len, fds, nfds);
}

/* Whatever comes, the next client is served, and (teardown) no descriptor stays behind. */
static void anything_may_come(void)
{
	int fds[3] = { eventfd(0, EFD_CLOEXEC), rig.bar_fd, eventfd(0, EFD_CLOEXEC) };
	unsigned int i;
	int rc;

	seed = 42;
	for (i = 0; i < 30000; i++) {
		rig.hold_quiesce = roll(50) == 0;
		send_anything(fds);
		rig_turn();
		if (!rig.hold_quiesce || roll(2))
			bh_vfu_server_quiesced(rig.server);
		do {
			vfu_msg_fini(&rig.reply);
			rc = vfu_conn_recv(&rig.conn, &rig.reply);
		} while (rc > 0);
		if (rc < 0 || roll(100) == 0) {
			rig.hold_quiesce = false;
			bh_vfu_server_quiesced(rig.server);
			rig_connect();
			bh_vfu_server_quiesced(rig.server);
			rig_negotiate();
		}
	}
	rig.hold_quiesce = false;
	bh_vfu_server_quiesced(rig.server);
	rig_connect();
	rig_negotiate();
	CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36);
	close(fds[0]);
	close(fds[2]);
}

BH_SUITE_FIXTURE(
	"vfu_server_protocol", rig_setup, rig_teardown,
	{ "version_reply_is_short_and_complete", version_reply_is_short_and_complete },
	{ "version_without_json_is_defaults", version_without_json_is_defaults },
	{ "bad_version_is_answered_and_closed", bad_version_is_answered_and_closed },
	{ "version_with_fds_is_refused", version_with_fds_is_refused },
	{ "first_message_must_be_version", first_message_must_be_version },
	{ "second_version_is_einval", second_version_is_einval },
	{ "unknown_commands_are_einval", unknown_commands_are_einval },
	{ "empty_bodies_are_einval_but_for_reset", empty_bodies_are_einval_but_for_reset },
	{ "short_bodies_are_einval", short_bodies_are_einval },
	{ "odd_types_are_einval", odd_types_are_einval },
	{ "unusable_sizes_are_answered_and_closed", unusable_sizes_are_answered_and_closed },
	{ "too_many_fds_close", too_many_fds_close },
	{ "stray_fds_are_closed", stray_fds_are_closed },
	{ "messages_come_in_single_bytes", messages_come_in_single_bytes },
	{ "device_info_checks_argsz", device_info_checks_argsz },
	{ "pipelined_commands_are_answered_in_order", pipelined_commands_are_answered_in_order },
	{ "no_reply_means_none_not_even_an_error", no_reply_means_none_not_even_an_error },
	{ "features_are_einval", features_are_einval },
	{ "a_pass_takes_a_bounded_number", a_pass_takes_a_bounded_number },
	{ "unread_replies_stop_reading", unread_replies_stop_reading },
	{ "unread_replies_hold_few_fds", unread_replies_hold_few_fds },
	{ "waiting_commands_hold_few_fds", waiting_commands_hold_few_fds },
	{ "unread_errors_of_the_twin_stop_reading", unread_errors_of_the_twin_stop_reading },
	{ "anything_may_come", anything_may_come }, )

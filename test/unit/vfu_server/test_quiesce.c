/* SPDX-License-Identifier: BSD-3-Clause */
/* The gate: answers that come later, too late, or after the client has gone. */
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig.h"

#define RW (VFU_DMA_FLAG_READ | VFU_DMA_FLAG_WRITE)

static void send_map(uint64_t iova)
{
	const struct vfu_dma_map map = {
		.argsz = sizeof(map),
		.flags = RW,
		.address = iova,
		.size = 0x1000,
	};

	rig_send(VFU_DMA_MAP, 0, &map, sizeof(map), NULL, 0);
}

static size_t regions(void)
{
	return bh_vfu_server_cmem(rig.server)->table->count;
}

static bool was_fatal(void)
{
	return rig.count[RIG_FATAL] > 0;
}

static bool has_left(void)
{
	return rig.count[RIG_DISCONNECTED] > 0;
}

/* A server whose patience is a number of milliseconds. */
static void restart(unsigned int ms)
{
	rig_disconnect();
	rig_stop();
	rig.opts.quiesce_ns = ms * 1000000ull;
	rig_start();
	rig_connect();
	rig_negotiate();
	memset(rig.count, 0, sizeof(rig.count));
	memset(rig.order, 0, sizeof(rig.order));
}

static void commands_wait_in_order(void)
{
	const struct vfu_region_access access = { .region = BH_PCI_CONFIG, .count = 4 };

	rig.hold_quiesce = true;
	send_map(0x1000);
	rig_send(VFU_REGION_READ, 0, &access, sizeof(access), NULL, 0);
	send_map(0x2000);
	rig_send(VFU_DEVICE_RESET, 0, NULL, 0, NULL, 0);
	CU_ASSERT_TRUE(rig_silent());
	CU_ASSERT_EQUAL(regions(), 0);
	CU_ASSERT_EQUAL(rig.reason, BH_QUIESCE_MAP);
	CU_ASSERT_EQUAL(rig.q_iova, 0x1000);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(regions(), 1);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.reply.header.command, VFU_DMA_MAP);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.reply.header.command, VFU_REGION_READ);
	CU_ASSERT_TRUE(rig_silent());
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_TRUE(rig_silent());
	CU_ASSERT_EQUAL(rig.reason, BH_QUIESCE_RESET);
	CU_ASSERT_EQUAL(rig.count[RIG_RESET], 0);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(rig.count[RIG_RESET], 1);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.reply.header.command, VFU_DEVICE_RESET);
	CU_ASSERT_STRING_EQUAL(rig.order, "+QRQRQXR");
	rig.hold_quiesce = false;
}

static void unasked_answers_are_ignored(void)
{
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_STRING_EQUAL(rig.order, "+");
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, -1, 0), 0);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_STRING_EQUAL(rig.order, "+QR");
}

static void deadline_fails_the_command_only(void)
{
	restart(30);
	rig.hold_quiesce = true;
	send_map(0x1000);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.reply.header.error, ETIMEDOUT);
	CU_ASSERT_EQUAL(regions(), 0);
	CU_ASSERT_STRING_EQUAL(rig.order, "QF");
	CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36);
	/* The late answer is not that to the next question. */
	send_map(0x2000);
	CU_ASSERT_TRUE(rig_silent());
	CU_ASSERT_EQUAL(rig.count[RIG_QUIESCE], 1);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(rig.count[RIG_QUIESCE], 2);
	CU_ASSERT_EQUAL(regions(), 0);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(regions(), 1);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_FALSE(rig.reply.header.flags & VFU_FLAG_ERROR);
	CU_ASSERT_STRING_EQUAL(rig.order, "QFRQR");
	rig.hold_quiesce = false;
}

/* The client was told that it has not gone, and puts other memory there. */
static void memory_goes_however_late(void)
{
	restart(30);
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(rig_map(0x2000, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(rig_map(0x3000, 0x1000, RW, -1, 0), 0);
	rig.hold_quiesce = true;
	CU_ASSERT_EQUAL(rig_unmap(0x1000, 0x1000, 0), -ETIMEDOUT);
	CU_ASSERT_EQUAL(regions(), 3);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(regions(), 2);
	/* Of two that were late nobody remembers the second: all goes. */
	CU_ASSERT_EQUAL(rig_unmap(0x2000, 0x1000, 0), -ETIMEDOUT);
	CU_ASSERT_EQUAL(rig_unmap(0x3000, 0x1000, 0), -ETIMEDOUT);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(regions(), 0);
	rig.hold_quiesce = false;
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, -1, 0), 0);
	CU_ASSERT_EQUAL(regions(), 1);
}

/* A thread that was stopped with a pointer in its hand goes on: the client's memory is not there. */
static void late_threads_meet_no_memory_of_the_client(void)
{
	struct bh_cmem_cache cache = { 0 };
	volatile uint8_t *client, *held, *kept;
	const struct bh_cmem *cm;
	int fd = rig_memfd(0x2000);

	client = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_TRUE_FATAL(client != MAP_FAILED);
	client[0] = client[0x1000] = 0x11;
	restart(30);
	cm = bh_vfu_server_cmem(rig.server);
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW | VFU_DMA_FLAG_MMAP, fd, 0), 0);
	CU_ASSERT_EQUAL(rig_map(0x2000, 0x1000, RW | VFU_DMA_FLAG_MMAP, fd, 0x1000), 0);
	held = bh_cmem_lookup(cm, &cache, 0x1000, 0x1000, BH_CMEM_PROT_WRITE);
	kept = bh_cmem_lookup(cm, &cache, 0x2000, 0x1000, BH_CMEM_PROT_WRITE);
	CU_ASSERT_TRUE_FATAL(held && kept);
	rig.hold_quiesce = true;
	CU_ASSERT_EQUAL(rig_unmap(0x1000, 0x1000, 0), -ETIMEDOUT);
	held[0] = 0x22;
	kept[0] = 0x33;
	CU_ASSERT_TRUE(client[0] == 0x11 && client[0x1000] == 0x33);
	CU_ASSERT_TRUE(bh_cmem_failed(cm, 0x1000, 0x1000) && !bh_cmem_failed(cm, 0x2000, 0x1000));
	/* The second one that is late, too. */
	CU_ASSERT_EQUAL(rig_unmap(0x2000, 0x1000, 0), -ETIMEDOUT);
	kept[0] = 0x44;
	CU_ASSERT_EQUAL(client[0x1000], 0x33);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(regions(), 0);
	rig.hold_quiesce = false;
	munmap((void *)client, 0x2000);
	close(fd);
}

static void waiting_for_a_late_answer_has_a_deadline_too(void)
{
	restart(30);
	rig.hold_quiesce = true;
	send_map(0x1000);
	send_map(0x2000);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.reply.header.error, ETIMEDOUT);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.reply.header.error, ETIMEDOUT);
	CU_ASSERT_EQUAL(rig.count[RIG_QUIESCE], 1);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_STRING_EQUAL(rig.order, "QFFR");
	rig.hold_quiesce = false;
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, -1, 0), 0);
}

static void client_leaves_while_a_command_waits(void)
{
	rig.hold_quiesce = true;
	send_map(0x1000);
	send_map(0x2000);
	CU_ASSERT_TRUE(rig_silent());
	rig_disconnect();
	CU_ASSERT_EQUAL(rig.count[RIG_QUIESCE], 1);
	bh_vfu_server_quiesced(rig.server); /* no mapping any more, and the disconnect's turn */
	CU_ASSERT_EQUAL(regions(), 0);
	CU_ASSERT_EQUAL(rig.reason, BH_QUIESCE_DISCONNECT);
	CU_ASSERT_EQUAL(rig.count[RIG_DISCONNECTED], 0);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_STRING_EQUAL(rig.order, "+QRQXR-");
	rig.hold_quiesce = false;
	rig_connect();
	rig_negotiate();
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, -1, 0), 0);
}

static void a_device_may_answer_when_it_is_told_that_it_is_late(void)
{
	restart(30);
	rig.hold_quiesce = rig.fatal_quiesces = true;
	send_map(0x1000);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.reply.header.error, ETIMEDOUT);
	CU_ASSERT_TRUE(rig_silent());
	CU_ASSERT_EQUAL(regions(), 0);
	CU_ASSERT_STRING_EQUAL(rig.order, "QFR");
	rig.hold_quiesce = false;
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, -1, 0), 0);
	rig.hold_quiesce = true;
	rig_disconnect();
	CU_ASSERT_TRUE(rig_turn_until(has_left, 1000));
	CU_ASSERT_EQUAL(regions(), 0);
	rig.hold_quiesce = rig.fatal_quiesces = false;
}

/* With so much held back that nothing more is read, the end of the stream is behind the unread. */
static void half_a_hang_up_is_noticed_while_nothing_is_read(void)
{
	const struct vfu_region_access access = { .region = BH_PCI_CONFIG, .count = 4 };
	unsigned int i;

	rig.hold_quiesce = true;
	send_map(0x1000);
	for (i = 0; i < 400; i++)
		rig_send(VFU_REGION_READ, 0, &access, sizeof(access), NULL, 0);
	CU_ASSERT_TRUE(rig_silent());
	CU_ASSERT_EQUAL(shutdown(rig.conn.fd, SHUT_WR), 0);
	CU_ASSERT_TRUE(rig_closed());
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(regions(), 0);
	CU_ASSERT_EQUAL(rig.reason, BH_QUIESCE_DISCONNECT);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(rig.count[RIG_DISCONNECTED], 1);
	rig.hold_quiesce = false;
}

static void client_leaves_after_the_deadline(void)
{
	restart(30);
	rig.hold_quiesce = true;
	send_map(0x1000);
	CU_ASSERT_TRUE(rig_recv(1000));
	rig_disconnect();
	CU_ASSERT_EQUAL(rig.count[RIG_QUIESCE], 1);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(rig.count[RIG_QUIESCE], 2);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_STRING_EQUAL(rig.order, "QFRQXR-");
	rig.hold_quiesce = false;
}

/* Memory that the device may still touch stays until it says that it does not. */
static void disconnect_waits_past_the_deadline(void)
{
	int memory = rig_memfd(0x1000), fd;

	restart(30);
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, RW, memory, 0), 0);
	rig.hold_quiesce = true;
	rig_disconnect();
	CU_ASSERT_TRUE(rig_turn_until(was_fatal, 1000));
	CU_ASSERT_EQUAL(regions(), 1);
	CU_ASSERT_EQUAL(vfu_connect(rig.path, 100, &fd), 0);
	vfu_conn_init(&rig.conn, fd, NULL);
	rig_send(VFU_VERSION, 0, "\0\0\0\0", 4, NULL, 0);
	CU_ASSERT_TRUE(rig_silent());
	rig.hold_quiesce = false;
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(regions(), 0);
	CU_ASSERT_STRING_EQUAL(rig.order, "QRQFXR-");
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.reply.header.command, VFU_VERSION);
	close(memory);
}

static void flr_waits_inside_write_multi(void)
{
	const struct {
		uint64_t wr_cnt;
		struct vfu_write_multi_entry e[2];
	} multi = { 2,
		    { { .offset = 0x59, .region = BH_PCI_CONFIG, .count = 1, .data = { 0x80 } },
		      { .offset = 0, .region = 0, .count = 4, .data = { 0x42 } } } };

	rig.hold_quiesce = true;
	rig_send(VFU_REGION_WRITE_MULTI, 0, &multi, sizeof(multi), NULL, 0);
	CU_ASSERT_TRUE(rig_silent());
	CU_ASSERT_EQUAL(rig.count[RIG_WRITE], 0);
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.reply.header.command, VFU_REGION_WRITE_MULTI);
	CU_ASSERT_STRING_EQUAL(rig.order, "+QXRW");
	rig.hold_quiesce = false;
}

static void too_many_waiting_commands_stop_reading(void)
{
	const struct vfu_region_access access = { .region = BH_PCI_CONFIG, .count = 4 };
	unsigned int i;

	rig.hold_quiesce = true;
	send_map(0x1000);
	for (i = 0; i < 400; i++)
		rig_send(VFU_REGION_READ, 0, &access, sizeof(access), NULL, 0);
	CU_ASSERT_TRUE(rig_silent());
	rig.hold_quiesce = false;
	bh_vfu_server_quiesced(rig.server);
	for (i = 0; i < 401; i++)
		CU_ASSERT_TRUE(rig_recv(1000));
}

static void hang_up_is_noticed_while_not_reading(void)
{
	const struct vfu_region_access access = { .region = BH_PCI_CONFIG, .count = 4 };
	unsigned int i;

	rig.hold_quiesce = true;
	send_map(0x1000);
	for (i = 0; i < 400; i++)
		rig_send(VFU_REGION_READ, 0, &access, sizeof(access), NULL, 0);
	CU_ASSERT_TRUE(rig_silent());
	rig_disconnect();
	CU_ASSERT_FALSE(bh_vfu_server_is_connected(rig.server));
	rig.hold_quiesce = false;
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_EQUAL(rig.count[RIG_DISCONNECTED], 1);
}

BH_SUITE_FIXTURE("vfu_server_quiesce", rig_setup, rig_teardown,
		 { "commands_wait_in_order", commands_wait_in_order },
		 { "unasked_answers_are_ignored", unasked_answers_are_ignored },
		 { "deadline_fails_the_command_only", deadline_fails_the_command_only },
		 { "memory_goes_however_late", memory_goes_however_late },
		 { "late_threads_meet_no_memory_of_the_client",
		   late_threads_meet_no_memory_of_the_client },
		 { "waiting_for_a_late_answer_has_a_deadline_too",
		   waiting_for_a_late_answer_has_a_deadline_too },
		 { "client_leaves_while_a_command_waits", client_leaves_while_a_command_waits },
		 { "a_device_may_answer_when_it_is_told_that_it_is_late",
		   a_device_may_answer_when_it_is_told_that_it_is_late },
		 { "half_a_hang_up_is_noticed_while_nothing_is_read",
		   half_a_hang_up_is_noticed_while_nothing_is_read },
		 { "client_leaves_after_the_deadline", client_leaves_after_the_deadline },
		 { "disconnect_waits_past_the_deadline", disconnect_waits_past_the_deadline },
		 { "flr_waits_inside_write_multi", flr_waits_inside_write_multi },
		 { "too_many_waiting_commands_stop_reading",
		   too_many_waiting_commands_stop_reading },
		 { "hang_up_is_noticed_while_not_reading", hang_up_is_noticed_while_not_reading }, )

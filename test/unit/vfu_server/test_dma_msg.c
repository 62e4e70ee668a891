/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA by messages: splitting, matching, short and wrong replies, twin socket, deadlines. */
#include <bellhop/clock.h>

#include "rig.h"

#define RW (VFU_DMA_FLAG_READ | VFU_DMA_FLAG_WRITE)
#define IOVA 0x100000u
#define SIZE 0x400000u
#define MIB (1u << 20)

static uint8_t guest[SIZE]; /* what the client has at IOVA */
static uint8_t buf[SIZE];
static int status;
static unsigned int done_count;

static void done(void *arg, int rc)
{
	(void)arg;
	status = rc;
	done_count++;
}

static int setup(void)
{
	size_t i;

	if (rig_setup() != 0)
		return -1;
	for (i = 0; i < SIZE; i++)
		guest[i] = (uint8_t)(i * 7 + i / 4096);
	memset(buf, 0, sizeof(buf));
	status = 1;
	done_count = 0;
	return rig_map(IOVA, SIZE, RW, -1, 0);
}

static bool is_done(void)
{
	return done_count > 0;
}

static void start_read(uint64_t iova, size_t len)
{
	bh_cmem_read(bh_vfu_server_cmem(rig.server), iova, buf, len, done, NULL);
}

static void start_write(uint64_t iova, size_t len)
{
	bh_cmem_write(bh_vfu_server_cmem(rig.server), iova, buf, len, done, NULL);
}

/* The next message is a DMA command; its request. */
static struct vfu_dma_access expect(uint16_t command)
{
	struct vfu_dma_access access = { 0 };

	if (!rig_recv(1000)) {
		CU_FAIL("no DMA message");
		return access;
	}
	CU_ASSERT_EQUAL(rig.reply.header.command, command);
	CU_ASSERT_EQUAL(rig.reply.header.flags, VFU_TYPE_COMMAND);
	CU_ASSERT_EQUAL(rig.reply.nfds, 0);
	memcpy(&access, rig.reply.body, sizeof(access));
	CU_ASSERT_EQUAL(rig.reply.body_len, 16 + (command == VFU_DMA_WRITE ? access.count : 0));
	return access;
}

/* A reply to rig.reply with these contents. */
static void answer(uint32_t error, const void *access, const void *data, size_t len)
{
	struct vfu_header header = {
		.id = rig.reply.header.id,
		.command = rig.reply.header.command,
		.size = (uint32_t)(16 + (access ? 16 + len : 0)),
		.flags = VFU_TYPE_REPLY | (error ? VFU_FLAG_ERROR : 0),
		.error = error,
	};
	uint8_t *msg = malloc(header.size);

	memcpy(msg, &header, 16);
	if (access)
		memcpy(msg + 16, access, 16);
	if (len > 0)
		memcpy(msg + 32, data, len);
	rig_raw(msg, header.size, NULL, 0);
	free(msg);
}

static void answer_read(const struct vfu_dma_access *access)
{
	answer(0, access, guest + (access->address - IOVA), access->count);
}

static void read_is_one_message(void)
{
	struct vfu_dma_access access;

	start_read(IOVA + 100, 1000);
	access = expect(VFU_DMA_READ);
	CU_ASSERT_EQUAL(access.address, IOVA + 100);
	CU_ASSERT_EQUAL(access.count, 1000);
	CU_ASSERT_EQUAL(done_count, 0);
	answer_read(&access);
	CU_ASSERT_TRUE(rig_turn_until(is_done, 1000));
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(memcmp(buf, guest + 100, 1000), 0);
	CU_ASSERT_EQUAL(buf[1000], 0);
}

static void write_carries_its_data(void)
{
	struct vfu_dma_access access;

	memset(buf, 0x6b, 300);
	start_write(IOVA, 300);
	access = expect(VFU_DMA_WRITE);
	CU_ASSERT_EQUAL(access.count, 300);
	CU_ASSERT_EQUAL(memcmp(rig.reply.body + 16, buf, 300), 0);
	answer(0, &access, NULL, 0);
	CU_ASSERT_TRUE(rig_turn_until(is_done, 1000));
	CU_ASSERT_EQUAL(status, 0);
}

static void large_ones_are_split(void)
{
	struct vfu_dma_access access[3];
	uint16_t id[3];
	int i;

	start_read(IOVA, 2 * MIB + 5);
	for (i = 0; i < 3; i++) {
		access[i] = expect(VFU_DMA_READ);
		id[i] = rig.reply.header.id;
		CU_ASSERT_EQUAL(access[i].address, IOVA + (uint64_t)i * MIB);
		CU_ASSERT_EQUAL(access[i].count, i < 2 ? MIB : 5);
	}
	for (i = 2; i >= 0; i--) { /* in any order */
		rig.reply.header.id = id[i];
		CU_ASSERT_EQUAL(done_count, 0);
		answer_read(&access[i]);
		rig_turn();
	}
	CU_ASSERT_TRUE(rig_turn_until(is_done, 1000));
	CU_ASSERT_EQUAL(memcmp(buf, guest, 2 * MIB + 5), 0);
}

static void the_clients_limit_is_kept(void)
{
	struct vfu_dma_access access;
	unsigned int n;

	rig_connect();
	rig_negotiate_json("{\"capabilities\":{\"max_data_xfer_size\":100}}");
	CU_ASSERT_EQUAL(rig_map(IOVA, SIZE, RW, -1, 0), 0);
	start_read(IOVA, 5000); /* more messages than go on the wire at once */
	for (n = 0; n < 50; n++) {
		access = expect(VFU_DMA_READ);
		CU_ASSERT_EQUAL(access.count, 100);
		answer_read(&access);
	}
	CU_ASSERT_TRUE(rig_turn_until(is_done, 1000));
	CU_ASSERT_EQUAL(memcmp(buf, guest, 5000), 0);
	CU_ASSERT_TRUE(rig_silent());
}

static void short_replies_are_continued(void)
{
	struct vfu_dma_access access;

	start_read(IOVA, 100);
	access = expect(VFU_DMA_READ);
	access.count = 30;
	answer_read(&access);
	access = expect(VFU_DMA_READ);
	CU_ASSERT_EQUAL(access.address, IOVA + 30);
	CU_ASSERT_EQUAL(access.count, 70);
	answer_read(&access);
	CU_ASSERT_TRUE(rig_turn_until(is_done, 1000));
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(memcmp(buf, guest, 100), 0);
	start_write(IOVA, 100);
	access = expect(VFU_DMA_WRITE);
	access.count = 0; /* nothing at all is an error */
	done_count = 0;
	answer(0, &access, NULL, 0);
	CU_ASSERT_TRUE(rig_turn_until(is_done, 1000));
	CU_ASSERT_EQUAL(status, -EFAULT);
}

static void errors_are_translated(void)
{
	static const struct {
		uint32_t error;
		int status;
	} table[] = {
		{ ENODEV, -EFAULT }, { EFAULT, -EFAULT }, { EPERM, -EPERM }, { EINVAL, -EFAULT },
		{ ENOSYS, -EIO },    { E2BIG, -EIO },	  { 0xfffff, -EIO },
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		done_count = 0;
		start_read(IOVA, 100);
		expect(VFU_DMA_READ);
		answer(table[i].error, NULL, NULL, 0);
		CU_ASSERT_TRUE(rig_turn_until(is_done, 1000));
		CU_ASSERT_EQUAL(status, table[i].status);
	}
	CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36);
}

/* Each of these ends the transfer and the connection. */
static void wrong_replies_close(void)
{
	struct vfu_dma_access access;
	int i;

	for (i = 0; i < 6; i++) {
		done_count = 0;
		rig_connect();
		rig_negotiate();
		CU_ASSERT_EQUAL(rig_map(IOVA, SIZE, RW, -1, 0), 0);
		start_read(IOVA, 100);
		access = expect(VFU_DMA_READ);
		switch (i) {
		case 0:
			rig.reply.header.id++;
			break;
		case 1:
			rig.reply.header.command = VFU_DMA_WRITE;
			break;
		case 2:
			access.address++;
			break;
		case 3:
			access.count++;
			break;
		case 4:
			access.count = UINT64_MAX;
			break;
		}
		if (i == 5)
			answer(0, &access, guest, 99); /* says 100 */
		else
			answer(0, &access, guest, 100);
		CU_ASSERT_TRUE(rig_closed());
		CU_ASSERT_EQUAL(done_count, 1);
		CU_ASSERT(status == -EIO || status == -ENODEV);
	}
}

static void permissions_are_looked_at_first(void)
{
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, VFU_DMA_FLAG_READ, -1, 0), 0);
	start_write(0x1000, 10);
	CU_ASSERT_EQUAL(done_count, 1);
	CU_ASSERT_EQUAL(status, -EPERM);
	start_read(0x1ff0, 32);
	CU_ASSERT_EQUAL(status, -EFAULT);
	CU_ASSERT_TRUE(rig_silent());
}

static void commands_pass_between_replies(void)
{
	struct vfu_dma_access access;
	const struct vfu_region_access read = { .region = BH_PCI_CONFIG, .count = 4 };
	struct vfu_header request;

	start_read(IOVA, 100);
	access = expect(VFU_DMA_READ);
	request = rig.reply.header;
	CU_ASSERT_EQUAL(rig_call(VFU_REGION_READ, &read, sizeof(read), NULL, 0), 0);
	rig.reply.header = request;
	answer_read(&access);
	CU_ASSERT_TRUE(rig_turn_until(is_done, 1000));
	CU_ASSERT_EQUAL(status, 0);
}

static void replies_are_taken_while_a_command_waits(void)
{
	struct vfu_dma_access access;

	start_read(IOVA, 100);
	access = expect(VFU_DMA_READ);
	rig.hold_quiesce = true;
	rig_send(VFU_DEVICE_RESET, 0, NULL, 0, NULL, 0);
	rig_turn();
	CU_ASSERT_EQUAL(rig.reason, BH_QUIESCE_RESET);
	answer_read(&access);
	CU_ASSERT_TRUE(rig_turn_until(is_done, 1000));
	CU_ASSERT_EQUAL(status, 0);
	rig.hold_quiesce = false;
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_TRUE(rig_recv(1000));
}

/* A client that serves no DMA while it waits for us gets its reply nevertheless. */
static void transfers_are_given_up_for_a_waiting_client(void)
{
	struct vfu_dma_access access;
	struct vfu_header request;

	start_read(IOVA, 100);
	access = expect(VFU_DMA_READ);
	request = rig.reply.header;
	rig.hold_quiesce = true;
	rig_send(VFU_DEVICE_RESET, 0, NULL, 0, NULL, 0);
	CU_ASSERT_TRUE(rig_turn_until(is_done, 1500)); /* after half a second */
	CU_ASSERT_EQUAL(status, -EIO);
	done_count = 0;
	start_read(IOVA, 100);
	CU_ASSERT_TRUE(rig_turn_until(is_done, 100));
	CU_ASSERT_EQUAL(status, -EIO);
	rig.hold_quiesce = false;
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.reply.header.command, VFU_DEVICE_RESET);
	CU_ASSERT_EQUAL(rig.reply.header.error, 0);
	buf[0] = 0x55;
	rig.reply.header = request;
	answer_read(&access); /* late: nobody's buffer is touched, nobody is dropped */
	rig_turn();
	CU_ASSERT_EQUAL(buf[0], 0x55);
	CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36);
}

static void disconnect_ends_transfers_at_once(void)
{
	rig.hold_quiesce = true;
	start_read(IOVA, SIZE);
	rig_turn();
	rig_disconnect();
	CU_ASSERT_EQUAL(done_count, 1);
	CU_ASSERT_EQUAL(status, -ENODEV);
	start_read(IOVA, 100); /* still in the table, but nobody is there */
	rig_turn();
	CU_ASSERT_EQUAL(done_count, 2);
	CU_ASSERT_EQUAL(status, -ENODEV);
	rig.hold_quiesce = false;
	bh_vfu_server_quiesced(rig.server);
}

static void silence_is_etimedout(void)
{
	const uint64_t begin = bh_now_ns();

	start_read(IOVA, 100);
	expect(VFU_DMA_READ);
	CU_ASSERT_TRUE(rig_turn_until(is_done, 8000));
	CU_ASSERT_EQUAL(status, -ETIMEDOUT);
	CU_ASSERT(bh_now_ns() - begin > 4500000000ull);
	answer_read(&(struct vfu_dma_access){ IOVA, 100 });
	CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36);
}

static void twin_socket_carries_dma(void)
{
	struct vfu_caps caps;
	uint16_t major, minor;
	const char *why;
	struct vfu_conn conn;
	struct vfu_dma_access access;

	rig_connect();
	rig_negotiate_json("{\"capabilities\":{\"max_msg_fds\":1,\"write_multiple\":true,"
			   "\"twin_socket\":{\"supported\":true}}}");
	CU_ASSERT(rig.reply.header.size <= 214);
	CU_ASSERT_EQUAL(
		vfu_version_decode(rig.reply.body, rig.reply.body_len, &major, &minor, &caps, &why),
		0);
	CU_ASSERT_TRUE(caps.twin_socket);
	CU_ASSERT_EQUAL(caps.twin_fd_index, 0);
	CU_ASSERT_EQUAL_FATAL(rig.reply.nfds, 1);
	conn = rig.conn; /* from here on rig.conn is the twin */
	vfu_conn_init(&rig.conn, rig.reply.fds[0], NULL);
	rig.reply.fds[0] = -1;
	{
		struct vfu_conn twin = rig.conn;

		rig.conn = conn;
		CU_ASSERT_EQUAL(rig_map(IOVA, SIZE, RW, -1, 0), 0);
		CU_ASSERT_EQUAL(rig_config32(0), 0x00101b36);
		conn = rig.conn;
		rig.conn = twin;
	}
	start_read(IOVA, 100);
	access = expect(VFU_DMA_READ);
	answer_read(&access);
	CU_ASSERT_TRUE(rig_turn_until(is_done, 1000));
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(rig_call(VFU_DEVICE_RESET, NULL, 0, NULL, 0), -EINVAL); /* not here */
	vfu_conn_fini(&rig.conn); /* the twin's end is the client's end */
	rig.conn = conn;
	CU_ASSERT_TRUE(rig_closed());
}

static void twin_socket_needs_room_for_an_fd(void)
{
	rig_connect();
	rig_negotiate_json("{\"capabilities\":{\"max_msg_fds\":0,"
			   "\"twin_socket\":{\"supported\":true}}}");
	CU_ASSERT_EQUAL(rig.reply.nfds, 0);
	rig_connect();
	rig_negotiate_json("{\"capabilities\":{\"twin_socket\":{\"supported\":false}}}");
	CU_ASSERT_EQUAL(rig.reply.nfds, 0);
}

BH_SUITE_FIXTURE("vfu_server_dma_msg", setup, rig_teardown,
		 { "read_is_one_message", read_is_one_message },
		 { "write_carries_its_data", write_carries_its_data },
		 { "large_ones_are_split", large_ones_are_split },
		 { "the_clients_limit_is_kept", the_clients_limit_is_kept },
		 { "short_replies_are_continued", short_replies_are_continued },
		 { "errors_are_translated", errors_are_translated },
		 { "wrong_replies_close", wrong_replies_close },
		 { "permissions_are_looked_at_first", permissions_are_looked_at_first },
		 { "commands_pass_between_replies", commands_pass_between_replies },
		 { "replies_are_taken_while_a_command_waits",
		   replies_are_taken_while_a_command_waits },
		 { "transfers_are_given_up_for_a_waiting_client",
		   transfers_are_given_up_for_a_waiting_client },
		 { "disconnect_ends_transfers_at_once", disconnect_ends_transfers_at_once },
		 { "silence_is_etimedout", silence_is_etimedout },
		 { "twin_socket_carries_dma", twin_socket_carries_dma },
		 { "twin_socket_needs_room_for_an_fd", twin_socket_needs_room_for_an_fd }, )

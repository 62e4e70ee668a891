/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection against a socketpair whose other end speaks raw bytes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../common/send_fds.h"
#include "unit.h"
#include "vfu/vfu.h"

static struct vfu_conn conn;
static int peer;
static int fds_before;

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int setup(void)
{
	int sv[2];

	fds_before = count_fds();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) != 0)
		return -1;
	vfu_conn_init(&conn, sv[0], NULL);
	peer = sv[1];
	return 0;
}

static int teardown(void)
{
	vfu_conn_fini(&conn);
	if (peer >= 0)
		close(peer);
	return count_fds() == fds_before ? 0 : -1;
}

static void peer_send(const void *buf, size_t len, const int *fds, unsigned int nfds)
{
	CU_ASSERT_EQUAL(send_with_fds(peer, buf, len, fds, nfds, 0), (ssize_t)len);
}

static size_t make(uint8_t *buf, uint16_t command, const void *body, size_t len)
{
	const struct vfu_header header = {
		.id = 7,
		.command = command,
		.size = (uint32_t)(16 + len),
	};

	memcpy(buf, &header, 16);
	if (len > 0)
		memcpy(buf + 16, body, len);
	return 16 + len;
}

static void message_in_single_bytes(void)
{
	struct vfu_msg msg;
	uint8_t buf[64];
	size_t i, n = make(buf, VFU_REGION_READ, "0123456789abcdef", 16);

	for (i = 0; i < n; i++) {
		CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), 0);
		peer_send(buf + i, 1, NULL, 0);
	}
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), 1);
	CU_ASSERT_EQUAL(msg.header.command, VFU_REGION_READ);
	CU_ASSERT_EQUAL(msg.body_len, 16);
	CU_ASSERT_EQUAL(memcmp(msg.body, "0123456789abcdef", 16), 0);
	vfu_msg_fini(&msg);
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), 0);
}

static void fds_stay_with_their_message(void)
{
	struct vfu_msg msg;
	uint8_t buf[64];
	size_t n = make(buf, VFU_DEVICE_RESET, NULL, 0);
	int e[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };

	peer_send(buf, n, NULL, 0);
	peer_send(buf, n, e, 2);
	peer_send(buf, n, NULL, 0);
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), 1);
	CU_ASSERT_EQUAL(msg.nfds, 0);
	vfu_msg_fini(&msg);
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), 1);
	CU_ASSERT_EQUAL(msg.nfds, 2);
	CU_ASSERT(fcntl(msg.fds[0], F_GETFD) & FD_CLOEXEC);
	vfu_msg_fini(&msg);
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), 1);
	CU_ASSERT_EQUAL(msg.nfds, 0);
	vfu_msg_fini(&msg);
	close(e[0]);
	close(e[1]);
}

static void fds_may_come_with_the_body(void)
{
	struct vfu_msg msg;
	uint8_t buf[64];
	size_t n = make(buf, VFU_DMA_MAP, "01234567", 8);
	int e = eventfd(0, EFD_CLOEXEC);

	peer_send(buf, 18, &e, 1);
	peer_send(buf + 18, n - 18, &e, 1);
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), 1);
	CU_ASSERT_EQUAL(msg.nfds, 2);
	vfu_msg_fini(&msg);
	close(e);
}

static void too_many_fds_is_emfile(void)
{
	struct vfu_msg msg;
	uint8_t buf[64];
	size_t n = make(buf, VFU_DEVICE_RESET, NULL, 0);
	int e[VFU_MAX_FDS + 4], i;

	for (i = 0; i < VFU_MAX_FDS + 4; i++)
		e[i] = eventfd(0, EFD_CLOEXEC);
	peer_send(buf, n, e, VFU_MAX_FDS);
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), 1);
	CU_ASSERT_EQUAL(msg.nfds, VFU_MAX_FDS);
	vfu_msg_fini(&msg);
	peer_send(buf, n, e, VFU_MAX_FDS + 4);
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), -EMFILE);
	for (i = 0; i < VFU_MAX_FDS + 4; i++)
		close(e[i]);
}

static void unusable_size_is_eproto_with_header(void)
{
	struct vfu_msg msg;
	struct vfu_header header = { .id = 3, .command = VFU_REGION_READ, .size = 15 };

	peer_send(&header, sizeof(header), NULL, 0);
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), -EPROTO);
	CU_ASSERT_EQUAL(msg.header.id, 3);
	CU_ASSERT_PTR_NULL(msg.body);
	vfu_msg_fini(&msg);
	header.size = VFU_MAX_BODY + 17;
	peer_send(&header, sizeof(header), NULL, 0);
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), -EPROTO);
	vfu_msg_fini(&msg);
	header.size = VFU_MAX_BODY + 16;
	peer_send(&header, sizeof(header), NULL, 0);
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), 0);
}

static void ends_between_and_inside_messages_differ(void)
{
	struct vfu_msg msg;
	uint8_t buf[64];
	size_t n = make(buf, VFU_DEVICE_RESET, NULL, 0);
	int e = eventfd(0, EFD_CLOEXEC);

	peer_send(buf, n, NULL, 0);
	peer_send(buf, 5, &e, 1);
	close(e);
	close(peer);
	peer = -1;
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), 1);
	vfu_msg_fini(&msg);
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), -ECONNRESET);
}

static void end_is_epipe(void)
{
	struct vfu_msg msg;

	close(peer);
	peer = -1;
	CU_ASSERT_EQUAL(vfu_conn_recv(&conn, &msg), -EPIPE);
	CU_ASSERT_EQUAL(vfu_conn_reply(&conn, &msg.header, 0, NULL, 0, NULL, 0, NULL, 0), -EPIPE);
}

static void replies_have_the_error_or_the_body(void)
{
	struct vfu_header request = { .id = 9, .command = VFU_DMA_UNMAP, .size = 40 }, got;
	uint8_t body[8];

	CU_ASSERT_EQUAL(vfu_conn_reply(&conn, &request, -ENOENT, "x", 1, NULL, 0, NULL, 0), 0);
	CU_ASSERT_EQUAL(read(peer, &got, sizeof(got)), 16);
	CU_ASSERT_EQUAL(got.id, 9);
	CU_ASSERT_EQUAL(got.size, 16);
	CU_ASSERT_EQUAL(got.flags, VFU_TYPE_REPLY | VFU_FLAG_ERROR);
	CU_ASSERT_EQUAL(got.error, ENOENT);
	CU_ASSERT_EQUAL(vfu_conn_reply(&conn, &request, 0, "abc", 3, "de", 2, NULL, 0), 0);
	CU_ASSERT_EQUAL(read(peer, &got, sizeof(got)), 16);
	CU_ASSERT_EQUAL(got.size, 21);
	CU_ASSERT_EQUAL(got.flags, VFU_TYPE_REPLY);
	CU_ASSERT_EQUAL(read(peer, body, sizeof(body)), 5);
	CU_ASSERT_EQUAL(memcmp(body, "abcde", 5), 0);
	request.flags = VFU_FLAG_NO_REPLY;
	CU_ASSERT_EQUAL(vfu_conn_reply(&conn, &request, -ENOENT, NULL, 0, NULL, 0, NULL, 0), 0);
	CU_ASSERT_EQUAL(recv(peer, body, 1, MSG_DONTWAIT), -1);
}

/* A peer that does not read gets everything in order, fds included, once it does. */
static void slow_reader_gets_everything(void)
{
	enum { MESSAGES = 40, BODY = 100000 };
	struct vfu_header header = { .command = VFU_REGION_READ, .size = 16 + BODY };
	uint8_t *data = calloc(1, BODY);
	int e = eventfd(0, EFD_CLOEXEC), i, got = 0, rc = 0;
	struct vfu_conn other;
	struct vfu_msg msg;

	for (i = 0; i < MESSAGES; i++) {
		header.id = (uint16_t)i;
		memset(data, i, BODY);
		CU_ASSERT_EQUAL(vfu_conn_send(&conn, &header, data, BODY, NULL, 0, &e, i % 2), 0);
	}
	close(e);
	CU_ASSERT_TRUE(vfu_conn_wants_out(&conn));
	CU_ASSERT(conn.out_bytes > 1000000);
	vfu_conn_init(&other, peer, NULL);
	peer = -1;
	while (got < MESSAGES) {
		rc = vfu_conn_recv(&other, &msg);
		if (rc < 0)
			break;
		if (rc == 0) {
			CU_ASSERT(vfu_conn_flush(&conn) >= 0);
			continue;
		}
		CU_ASSERT_EQUAL(msg.header.id, got);
		CU_ASSERT_EQUAL(msg.nfds, (unsigned int)got % 2);
		CU_ASSERT_EQUAL(msg.body[0], got);
		CU_ASSERT_EQUAL(msg.body[BODY - 1], got);
		vfu_msg_fini(&msg);
		got++;
	}
	CU_ASSERT_EQUAL(got, MESSAGES);
	CU_ASSERT_EQUAL(conn.out_bytes, 0);
	vfu_conn_fini(&other);
	free(data);
}

static void queued_fds_are_closed_with_the_connection(void)
{
	struct vfu_header header = { .command = VFU_REGION_READ, .size = 16 + 300000 };
	uint8_t *data = calloc(1, 300000);
	int e = eventfd(0, EFD_CLOEXEC), i;

	for (i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(vfu_conn_send(&conn, &header, data, 300000, NULL, 0, &e, 1), 0);
	CU_ASSERT_TRUE(vfu_conn_wants_out(&conn));
	close(e);
	free(data);
	/* teardown counts */
}

BH_SUITE_FIXTURE("vfu_conn", setup, teardown,
		 { "message_in_single_bytes", message_in_single_bytes },
		 { "fds_stay_with_their_message", fds_stay_with_their_message },
		 { "fds_may_come_with_the_body", fds_may_come_with_the_body },
		 { "too_many_fds_is_emfile", too_many_fds_is_emfile },
		 { "unusable_size_is_eproto_with_header", unusable_size_is_eproto_with_header },
		 { "ends_between_and_inside_messages_differ",
		   ends_between_and_inside_messages_differ },
		 { "end_is_epipe", end_is_epipe },
		 { "replies_have_the_error_or_the_body", replies_have_the_error_or_the_body },
		 { "slow_reader_gets_everything", slow_reader_gets_everything },
		 { "queued_fds_are_closed_with_the_connection",
		   queued_fds_are_closed_with_the_connection }, )

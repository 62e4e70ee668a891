/* SPDX-License-Identifier: BSD-3-Clause */
/* Creation, clients one after another, shutdown. */
#include <fcntl.h>
#include <sys/stat.h>

#include "rig.h"

static bool stopped;

static void on_stopped(void *arg)
{
	(void)arg;
	stopped = true;
	rig_stop(); /* destroying here is allowed */
}

static bool is_stopped(void)
{
	return stopped;
}

static int create(const struct bh_vfu_server_opts *opts)
{
	struct bh_vfu_server *server = NULL;
	const int before = rig_count_fds(), rc = bh_vfu_server_create(opts, &server);

	if (rc == 0)
		bh_vfu_server_destroy(server);
	CU_ASSERT(rc == 0 || server == NULL);
	CU_ASSERT_EQUAL(rig_count_fds(), before);
	return rc;
}

static void contradictions_are_einval(void)
{
	static const struct bh_vfu_area outside = { .offset = 0x4000, .len = 0x1000 };
	static const struct bh_vfu_area odd = { .offset = 0x800, .len = 0x1000 };
	struct bh_vfu_server_opts opts;

	rig_stop();
#define REFUSED(change)                                  \
	do {                                             \
		opts = rig.opts;                         \
		change;                                  \
		CU_ASSERT_EQUAL(create(&opts), -EINVAL); \
	} while (0)
	REFUSED(opts.size = 8);
	REFUSED(opts.path = NULL);
	REFUSED(opts.control = NULL);
	REFUSED(opts.ops = NULL);
	REFUSED(opts.class_code = 0x1000000);
	REFUSED(opts.interrupt_pin = 5);
	REFUSED(opts.bar[0].bytes = 0x3000);
	REFUSED(opts.bar[0].bytes = 8);
	REFUSED(opts.bar[1].bytes = 4096); /* the upper half of BAR 0 */
	REFUSED(opts.bar[5].bytes = 4096; opts.bar[5].is_64 = true);
	REFUSED(opts.bar[2].bytes = 1ull << 32);
	REFUSED(opts.bar[0].areas = &outside);
	REFUSED(opts.bar[0].areas = &odd);
	REFUSED(opts.bar[0].fd = -1);
	REFUSED(opts.msix_vectors = 2049);
	REFUSED(opts.msix_bar = 6);
	REFUSED(opts.msix_bar = 0);
	REFUSED(opts.msix_bar = 1);
	REFUSED(opts.max_dma_maps = 0);
	REFUSED(opts.num_allowed_uids = 1);
#undef REFUSED
	CU_ASSERT_EQUAL(create(&rig.opts), 0);
	CU_ASSERT_EQUAL(access(rig.path, F_OK), -1);
	opts = rig.opts;
	opts.msix_vectors = 2048;
	CU_ASSERT_EQUAL(create(&opts), 0);
	opts.msix_vectors = 0;
	CU_ASSERT_EQUAL(create(&opts), 0);
	bh_vfu_server_destroy(NULL);
}

static void paths_have_their_errnos(void)
{
	struct bh_vfu_server_opts opts = rig.opts;
	int fd;

	CU_ASSERT_EQUAL(create(&opts), -EADDRINUSE);
	CU_ASSERT_EQUAL(access(rig.path, F_OK), 0); /* the live one's file stays */
	opts.path = "/nonexistent/s";
	CU_ASSERT_EQUAL(create(&opts), -ENOENT);
	rig_stop();
	fd = open(rig.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	CU_ASSERT_EQUAL(create(&rig.opts), -EEXIST);
	unlink(rig.path);
}

static void mode_is_what_was_asked(void)
{
	struct stat st;

	CU_ASSERT_EQUAL(stat(rig.path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
}

static void somebody_elses_socket_is_not_removed(void)
{
	int fd;

	unlink(rig.path);
	CU_ASSERT_EQUAL(vfu_listen(rig.path, 0600, &fd), 0);
	rig_stop();
	CU_ASSERT_EQUAL(access(rig.path, F_OK), 0);
	close(fd);
	unlink(rig.path);
}

static void clients_come_one_after_another(void)
{
	struct vfu_conn first;
	int fd;

	rig_connect();
	rig_negotiate();
	first = rig.conn;
	CU_ASSERT_EQUAL(vfu_connect(rig.path, 100, &fd), 0);
	vfu_conn_init(&rig.conn, fd, NULL);
	rig_send(VFU_VERSION, 0, "\0\0\0\0", 4, NULL, 0);
	CU_ASSERT_TRUE(rig_silent()); /* waits in the backlog */
	vfu_conn_fini(&first);
	CU_ASSERT_TRUE(rig_recv(1000));
	CU_ASSERT_EQUAL(rig.count[RIG_CONNECTED], 2);
	CU_ASSERT_EQUAL(rig.count[RIG_DISCONNECTED], 1);
	CU_ASSERT_TRUE(bh_vfu_server_is_connected(rig.server));
}

static void a_client_that_never_spoke_changes_nothing(void)
{
	rig_connect();
	rig_connect();
	CU_ASSERT_FALSE(bh_vfu_server_is_connected(rig.server));
	rig_disconnect();
	CU_ASSERT_STRING_EQUAL(rig.order, "");
}

static bool is_negotiated(void)
{
	return bh_vfu_server_is_connected(rig.server);
}

static void half_a_version_is_not_waited_for(void)
{
	static const struct vfu_header version = { .command = VFU_VERSION, .size = 20 };
	struct vfu_conn first;
	int fd;

	rig_connect();
	rig_raw(&version, sizeof(version), NULL, 0); /* and never the rest */
	rig_turn();
	first = rig.conn;
	CU_ASSERT_EQUAL(vfu_connect(rig.path, 100, &fd), 0);
	vfu_conn_init(&rig.conn, fd, NULL);
	rig_send(VFU_VERSION, 0, "\0\0\0\0", 4, NULL, 0);
	CU_ASSERT_TRUE(rig_silent());
	CU_ASSERT_TRUE(rig_turn_until(is_negotiated, 8000));
	CU_ASSERT_EQUAL(vfu_conn_recv(&first, &rig.reply), -EPIPE);
	vfu_conn_fini(&first);
	CU_ASSERT_EQUAL(rig.count[RIG_DISCONNECTED], 0);
}

static void a_hundred_clients_leak_nothing(void)
{
	int i, before = rig_count_fds(), e = eventfd(0, EFD_CLOEXEC), memory = rig_memfd(0x1000);
	const uint32_t half[3] = { 0x00020001, 100, 0 };

	for (i = 0; i < 100; i++) {
		rig_connect();
		rig_negotiate();
		CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, 3, memory, 0), 0);
		CU_ASSERT_EQUAL(rig_irqs(VFU_IRQ_DATA_EVENTFD | VFU_IRQ_ACTION_TRIGGER, BH_PCI_MSIX,
					 0, 1, &e, 1),
				0);
		rig_raw(half, sizeof(half), &e, 1); /* leaves in the middle of a message */
		rig_turn();
	}
	rig_disconnect();
	close(e);
	close(memory);
	CU_ASSERT_EQUAL(rig_count_fds(), before);
	CU_ASSERT_EQUAL(rig.count[RIG_RESET], 100);
}

static void users_may_be_named(void)
{
	uid_t uids[2] = { getuid() + 1, getuid() + 2 };

	rig_stop();
	rig.opts.allowed_uids = uids;
	rig.opts.num_allowed_uids = 2;
	rig_start();
	rig_connect();
	CU_ASSERT_TRUE(rig_closed());
	rig_stop();
	uids[1] = getuid();
	rig_start();
	rig_connect();
	rig_negotiate();
	CU_ASSERT_TRUE(bh_vfu_server_is_connected(rig.server));
}

static void shutdown_without_a_client(void)
{
	stopped = false;
	bh_vfu_server_shutdown(rig.server, on_stopped, NULL);
	CU_ASSERT_FALSE(stopped);
	CU_ASSERT_EQUAL(access(rig.path, F_OK), -1);
	CU_ASSERT_TRUE(rig_turn_until(is_stopped, 1000));
	CU_ASSERT_STRING_EQUAL(rig.order, "");
}

static void shutdown_disconnects_first(void)
{
	stopped = false;
	rig_connect();
	rig_negotiate();
	rig.hold_quiesce = true;
	bh_vfu_server_shutdown(rig.server, on_stopped, NULL);
	CU_ASSERT_TRUE(rig_closed());
	CU_ASSERT_FALSE(stopped);
	rig.hold_quiesce = false;
	bh_vfu_server_quiesced(rig.server);
	CU_ASSERT_FALSE(stopped);
	CU_ASSERT_TRUE(rig_turn_until(is_stopped, 1000));
	CU_ASSERT_STRING_EQUAL(rig.order, "+QXR-");
}

static void destroy_with_a_client(void)
{
	rig_connect();
	rig_negotiate();
	CU_ASSERT_EQUAL(rig_map(0x1000, 0x1000, 3, rig.bar_fd, 0), 0);
	rig_stop();
	vfu_msg_fini(&rig.reply);
	CU_ASSERT_EQUAL(vfu_conn_recv(&rig.conn, &rig.reply), -EPIPE);
}

BH_SUITE_FIXTURE("vfu_server_life", rig_setup_bare, rig_teardown,
		 { "contradictions_are_einval", contradictions_are_einval },
		 { "paths_have_their_errnos", paths_have_their_errnos },
		 { "mode_is_what_was_asked", mode_is_what_was_asked },
		 { "somebody_elses_socket_is_not_removed", somebody_elses_socket_is_not_removed },
		 { "clients_come_one_after_another", clients_come_one_after_another },
		 { "a_client_that_never_spoke_changes_nothing",
		   a_client_that_never_spoke_changes_nothing },
		 { "half_a_version_is_not_waited_for", half_a_version_is_not_waited_for },
		 { "a_hundred_clients_leak_nothing", a_hundred_clients_leak_nothing },
		 { "users_may_be_named", users_may_be_named },
		 { "shutdown_without_a_client", shutdown_without_a_client },
		 { "shutdown_disconnects_first", shutdown_disconnects_first },
		 { "destroy_with_a_client", destroy_with_a_client }, )

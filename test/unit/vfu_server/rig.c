/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include <bellhop/clock.h>

#include "../../common/send_fds.h"
#include "rig.h"

struct rig rig;

/* CUnit's assertions work inside cases only; what the rig finds fails the case in its teardown. */
static unsigned int complaints;

static void check(bool ok, const char *what, int line)
{
	if (ok)
		return;
	printf("rig.c:%d: %s\n", line, what);
	complaints++;
}

#define CHECK(condition) check(condition, #condition, __LINE__)

/* ---- the device ---- */

static void note(enum rig_event event)
{
	const size_t n = strlen(rig.order);

	rig.count[event]++;
	if (event != RIG_IRQS && n + 1 < sizeof(rig.order))
		rig.order[n] = "QRXFC+-W"[event];
}

static int dev_access(void *ctx, unsigned int region, uint64_t offset, void *buf, size_t count,
		      bool write)
{
	struct rig *r = ctx;

	CHECK(region == 0);
	CHECK(offset + count <= RIG_BAR0);
	if (r->access_error)
		return r->access_error;
	if (write) {
		note(RIG_WRITE);
		memcpy(r->bar + offset, buf, count);
	} else {
		memcpy(buf, r->bar + offset, count);
	}
	return 0;
}

static void dev_quiesce(void *ctx, enum bh_quiesce_reason reason, uint64_t iova, uint64_t len)
{
	struct rig *r = ctx;

	note(RIG_QUIESCE);
	r->reason = reason;
	r->q_iova = iova;
	r->q_len = len;
	if (!r->hold_quiesce)
		bh_vfu_server_quiesced(r->server);
}

static void dev_resume(void *ctx, enum bh_quiesce_reason reason)
{
	struct rig *r = ctx;

	CHECK(r->reason == reason);
	note(RIG_RESUME);
}

static void dev_reset(void *ctx, enum bh_reset_reason reason)
{
	struct rig *r = ctx;

	r->reset_reason = reason;
	note(RIG_RESET);
}

static void dev_fatal(void *ctx)
{
	struct rig *r = ctx;

	note(RIG_FATAL);
	if (r->fatal_quiesces)
		bh_vfu_server_quiesced(r->server);
}

static void dev_command(void *ctx, uint16_t command)
{
	struct rig *r = ctx;

	r->command = command;
	note(RIG_COMMAND);
}

static void dev_connected(void *ctx)
{
	(void)ctx;
	note(RIG_CONNECTED);
}

static void dev_disconnected(void *ctx)
{
	(void)ctx;
	note(RIG_DISCONNECTED);
}

static void dev_irqs_changed(void *ctx)
{
	(void)ctx;
	note(RIG_IRQS);
}

static const struct bh_vfu_ops dev_ops = {
	.access = dev_access,
	.quiesce = dev_quiesce,
	.resume = dev_resume,
	.reset = dev_reset,
	.fatal = dev_fatal,
	.command = dev_command,
	.irqs_changed = dev_irqs_changed,
	.connected = dev_connected,
	.disconnected = dev_disconnected,
};

/* ---- life ---- */

int rig_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int rig_memfd(size_t size)
{
	int fd = memfd_create("rig", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(ftruncate(fd, (off_t)size) == 0);
	return fd;
}

int rig_setup_bare(void)
{
	static const struct bh_vfu_area doorbells = { .offset = 0x1000, .len = 0x1000 };
	struct bh_reactor_opts ropts;

	complaints = 0;
	memset(&rig, 0, sizeof(rig));
	rig.conn.fd = -1;
	rig.fds_before = rig_count_fds();
	strcpy(rig.dir, "/tmp/bh-vfus-XXXXXX");
	if (!mkdtemp(rig.dir))
		return -1;
	snprintf(rig.path, sizeof(rig.path), "%s/s", rig.dir);
	bh_reactor_opts_init(&ropts);
	if (bh_reactor_create(&ropts, &rig.reactor) != 0)
		return -1;
	rig.bar_fd = rig_memfd(RIG_BAR0);
	bh_vfu_server_opts_init(&rig.opts);
	rig.opts.path = rig.path;
	rig.opts.control = rig.reactor;
	rig.opts.ops = &dev_ops;
	rig.opts.ops_ctx = &rig;
	rig.opts.vendor = 0x1b36;
	rig.opts.device = 0x0010;
	rig.opts.subsystem_vendor = 0x1af4;
	rig.opts.subsystem = 0x1100;
	rig.opts.revision = 2;
	rig.opts.class_code = 0x010802;
	rig.opts.interrupt_pin = 1;
	rig.opts.msix_vectors = RIG_VECTORS;
	rig.opts.msix_bar = RIG_MSIX_BAR;
	rig.opts.bar[0].bytes = RIG_BAR0;
	rig.opts.bar[0].is_64 = true;
	rig.opts.bar[0].fd = rig.bar_fd;
	rig.opts.bar[0].areas = &doorbells;
	rig.opts.bar[0].num_areas = 1;
	rig_start();
	return rig.server ? 0 : -1;
}

void rig_start(void)
{
	CHECK(bh_vfu_server_create(&rig.opts, &rig.server) == 0);
}

void rig_stop(void)
{
	bh_vfu_server_destroy(rig.server);
	rig.server = NULL;
}

int rig_setup(void)
{
	if (rig_setup_bare() != 0)
		return -1;
	rig_connect();
	rig_negotiate();
	return bh_vfu_server_is_connected(rig.server) ? 0 : -1;
}

int rig_teardown(void)
{
	rig_disconnect();
	rig_stop();
	bh_reactor_destroy(rig.reactor);
	close(rig.bar_fd);
	CHECK(rmdir(rig.dir) == 0); /* the socket is gone */
	CHECK(rig_count_fds() == rig.fds_before);
	return complaints == 0 ? 0 : -1;
}

void rig_connect(void)
{
	int fd;

	rig_disconnect();
	CHECK(vfu_connect(rig.path, 100, &fd) == 0);
	vfu_conn_init(&rig.conn, fd, NULL);
	rig_turn();
}

void rig_disconnect(void)
{
	vfu_msg_fini(&rig.reply);
	vfu_conn_fini(&rig.conn);
	if (rig.server)
		rig_turn();
}

void rig_negotiate_json(const char *json)
{
	uint8_t body[512] = { 0 };

	strcpy((char *)body + 4, json);
	CHECK(rig_call(VFU_VERSION, body, 4 + strlen(json) + 1, NULL, 0) == 0);
}

/* As QEMU does. */
void rig_negotiate(void)
{
	rig_negotiate_json("{\"capabilities\":{\"migration\":{\"pgsize\":4096,"
			   "\"max_bitmap_size\":268435456},\"max_msg_fds\":16,"
			   "\"max_data_xfer_size\":1048576,\"pgsizes\":4096,"
			   "\"max_dma_maps\":65535,\"write_multiple\":true}}");
}

void rig_turn(void)
{
	unsigned int idle = 0;

	while (idle < 3)
		idle = bh_reactor_run_once(rig.reactor) > 0 ? 0 : idle + 1;
}

bool rig_turn_until(bool (*met)(void), unsigned int ms)
{
	const uint64_t end = bh_now_ns() + ms * 1000000ull;
	const struct timespec pause = { .tv_nsec = 200000 };

	do {
		rig_turn();
		if (met())
			return true;
		nanosleep(&pause, NULL);
	} while (bh_now_ns() < end);
	return false;
}

/* ---- the client ---- */

void rig_raw(const void *buf, size_t len, const int *fds, unsigned int nfds)
{
	const uint8_t *at = buf;

	while (len > 0) {
		ssize_t n = send_with_fds(rig.conn.fd, at, len, fds, nfds, 0);

		if (n < 0 && errno != EAGAIN)
			return; /* the server has closed: the case will see */
		if (n > 0) {
			at += n;
			len -= (size_t)n;
			nfds = 0;
		}
		if (len > 0)
			bh_reactor_run_once(rig.reactor);
	}
}

void rig_send(uint16_t command, uint32_t flags, const void *body, size_t len, const int *fds,
	      unsigned int nfds)
{
	static uint16_t id;
	const struct vfu_header header = {
		.id = ++id,
		.command = command,
		.size = (uint32_t)(16 + len),
		.flags = flags,
	};
	uint8_t *buf = malloc(16 + len);

	memcpy(buf, &header, 16);
	if (len > 0)
		memcpy(buf + 16, body, len);
	rig_raw(buf, 16 + len, fds, nfds);
	free(buf);
}

static int recv_rc;

static bool got_message(void)
{
	recv_rc = vfu_conn_recv(&rig.conn, &rig.reply);
	return recv_rc != 0;
}

bool rig_recv(unsigned int ms)
{
	vfu_msg_fini(&rig.reply);
	return rig_turn_until(got_message, ms) && recv_rc == 1;
}

bool rig_closed(void)
{
	vfu_msg_fini(&rig.reply);
	return rig_turn_until(got_message, 1000) && recv_rc < 0;
}

bool rig_silent(void)
{
	rig_turn();
	vfu_msg_fini(&rig.reply);
	return vfu_conn_recv(&rig.conn, &rig.reply) == 0;
}

int rig_call(uint16_t command, const void *body, size_t len, const int *fds, unsigned int nfds)
{
	rig_send(command, 0, body, len, fds, nfds);
	if (!rig_recv(3000))
		return -ESHUTDOWN;
	CHECK(rig.reply.header.command == command);
	CHECK((rig.reply.header.flags & VFU_FLAG_TYPE_MASK) == VFU_TYPE_REPLY);
	if (!(rig.reply.header.flags & VFU_FLAG_ERROR))
		return 0;
	CHECK(rig.reply.header.size == 16);
	CHECK(rig.reply.nfds == 0);
	return -(int)rig.reply.header.error;
}

int rig_map(uint64_t iova, uint64_t size, uint32_t flags, int fd, uint64_t offset)
{
	const struct vfu_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.offset = offset,
		.address = iova,
		.size = size,
	};

	return rig_call(VFU_DMA_MAP, &map, sizeof(map), &fd, fd >= 0);
}

int rig_unmap(uint64_t iova, uint64_t size, uint32_t flags)
{
	const struct vfu_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.flags = flags,
		.address = iova,
		.size = size,
	};
	int rc = rig_call(VFU_DMA_UNMAP, &unmap, sizeof(unmap), NULL, 0);

	if (rc == 0) {
		CHECK(rig.reply.body_len == sizeof(unmap));
		CHECK(memcmp(rig.reply.body, &unmap, sizeof(unmap)) == 0);
	}
	return rc;
}

int rig_read(uint32_t region, uint64_t offset, void *buf, uint32_t count)
{
	const struct vfu_region_access access = {
		.offset = offset,
		.region = region,
		.count = count,
	};
	int rc = rig_call(VFU_REGION_READ, &access, sizeof(access), NULL, 0);

	if (rc != 0)
		return rc;
	CHECK(rig.reply.body_len == sizeof(access) + count);
	if (rig.reply.body_len != sizeof(access) + count)
		return -EPROTO;
	CHECK(memcmp(rig.reply.body, &access, sizeof(access)) == 0);
	if (count > 0)
		memcpy(buf, rig.reply.body + sizeof(access), count);
	return 0;
}

int rig_write(uint32_t region, uint64_t offset, const void *buf, uint32_t count)
{
	const struct vfu_region_access access = {
		.offset = offset,
		.region = region,
		.count = count,
	};
	uint8_t *body = malloc(sizeof(access) + count);
	int rc;

	memcpy(body, &access, sizeof(access));
	if (count > 0)
		memcpy(body + sizeof(access), buf, count);
	rc = rig_call(VFU_REGION_WRITE, body, sizeof(access) + count, NULL, 0);
	if (rc == 0) {
		CHECK(rig.reply.body_len == sizeof(access));
		CHECK(memcmp(rig.reply.body, &access, sizeof(access)) == 0);
	}
	free(body);
	return rc;
}

uint32_t rig_config32(uint64_t offset)
{
	uint32_t value = 0;

	CHECK(rig_read(BH_PCI_CONFIG, offset, &value, 4) == 0);
	return value;
}

void rig_config_write16(uint64_t offset, uint16_t value)
{
	CHECK(rig_write(BH_PCI_CONFIG, offset, &value, 2) == 0);
}

int rig_irqs(uint32_t flags, uint32_t index, uint32_t start, uint32_t count, const int *fds,
	     unsigned int nfds)
{
	const struct vfu_irq_set set = {
		.argsz = sizeof(set),
		.flags = flags,
		.index = index,
		.start = start,
		.count = count,
	};

	return rig_call(VFU_DEVICE_SET_IRQS, &set, sizeof(set), fds, nfds);
}

uint64_t rig_eventfd_value(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	uint64_t value = 0;

	rig_turn();
	if (poll(&pfd, 1, 0) == 1 && read(fd, &value, sizeof(value)) != sizeof(value))
		value = 0;
	return value;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* An open device: regions, mappings, interrupts, answers that are late, wrong or missing. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bellhop/fault.h>

#include "fixture.h"

static void region_accesses_reach_the_device(void)
{
	struct bh_device *dev = open_ok(NULL);
	uint32_t value = 0x12345678, back = 0;
	uint8_t config[256];

	CU_ASSERT_EQUAL(bh_device_region_write(dev, 0, 0x14, &value, 4), 0);
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 0, 0x14, &back, 4), 0);
	CU_ASSERT_EQUAL(back, value);
	CU_ASSERT_EQUAL(bh_device_config_read(dev, 0, config, 256), 0);
	CU_ASSERT_EQUAL(memcmp(config, fake.config, 256), 0);
	CU_ASSERT_EQUAL(bh_device_bus_master(dev, true), 0);
	CU_ASSERT_EQUAL(fake.config[4], 6);
	CU_ASSERT_EQUAL(bh_device_reset(dev), 0);
	CU_ASSERT_EQUAL(fake_seen(&fake, VFU_DEVICE_RESET), 1);
	bh_device_close(dev);
}

static void posted_writes_want_no_reply(void)
{
	struct bh_device *dev = open_ok(NULL);
	uint32_t value = 7, back = 0;

	CU_ASSERT_EQUAL(bh_device_region_post(dev, 0, 0x20, &value, 4), 0);
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 0, 0x20, &back, 4), 0);
	CU_ASSERT_EQUAL(back, 7);
	CU_ASSERT_EQUAL(fake.no_reply, 1);
	bh_device_close(dev);
}

static void transfers_are_split_at_the_servers_limit(void)
{
	uint8_t out[300], in[300];
	struct bh_device *dev;
	unsigned int reads;

	fake.json = "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":64}}";
	dev = open_ok(NULL);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	CU_ASSERT_EQUAL(bh_device_region_write(dev, 0, 3, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(fake_seen(&fake, VFU_REGION_WRITE), 5);
	reads = fake_seen(&fake, VFU_REGION_READ);
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 0, 3, in, sizeof(in)), 0);
	CU_ASSERT_EQUAL(fake_seen(&fake, VFU_REGION_READ), reads + 5);
	CU_ASSERT_EQUAL(memcmp(in, out, sizeof(in)), 0);
	bh_device_close(dev);
}

/* ---- answers ---- */

enum how {
	HONEST,
	SHORT,
	OTHER_OFFSET,
	OTHER_COUNT,
	REFUSE,
	REFUSE_ODD,
	BODY_BEHIND_ERROR,
	SILENT,
	LATE,
	OTHER_ID,
	OTHER_COMMAND,
	BAD_TYPE,
	HUGE,
	HANG_UP,
	HALF
};

static uint32_t how, refusal; /* __atomic */
static struct vfu_header late;

static void reply_header(struct fake *f, const struct fake_msg *m, uint16_t id, uint16_t command,
			 uint32_t size, uint32_t flags)
{
	struct vfu_header h = { id, command, size, flags, EPERM };
	uint8_t bytes[sizeof(h) + 64];

	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, &h, sizeof(h));
	memcpy(bytes + sizeof(h), m->body, 16);
	fake_send(f->fd, bytes, size < sizeof(bytes) ? size : sizeof(bytes), NULL, 0);
}

static bool misbehave(struct fake *f, struct fake_msg *m)
{
	struct vfu_region_access a;
	uint8_t body[64];
	uint32_t kind = __atomic_load_n(&how, __ATOMIC_ACQUIRE);

	if (m->h.command != VFU_REGION_READ || kind == HONEST)
		return false;
	memset(body, 0, sizeof(body));
	memcpy(&a, m->body, sizeof(a));
	a.offset += kind == OTHER_OFFSET;
	a.count -= kind == OTHER_COUNT;
	memcpy(body, &a, sizeof(a));
	switch (kind) {
	case SHORT:
		fake_reply(f, m, body, sizeof(a) + a.count - 1, NULL, 0);
		break;
	case OTHER_OFFSET:
	case OTHER_COUNT:
		fake_reply(f, m, body, sizeof(a) + 4, NULL, 0);
		break;
	case REFUSE:
	case REFUSE_ODD:
		fake_refuse(f, m, __atomic_load_n(&refusal, __ATOMIC_ACQUIRE));
		break;
	case BODY_BEHIND_ERROR:
		reply_header(f, m, m->h.id, m->h.command, 16 + 20, 0x21);
		break;
	case LATE:
		late = m->h;
		break;
	case OTHER_ID:
		reply_header(f, m, (uint16_t)(m->h.id + 100), m->h.command, 16 + 20, 1);
		break;
	case OTHER_COMMAND:
		reply_header(f, m, m->h.id, VFU_REGION_WRITE, 16 + 20, 1);
		break;
	case BAD_TYPE:
		reply_header(f, m, m->h.id, m->h.command, 16 + 20, 2);
		break;
	case HUGE:
		reply_header(f, m, m->h.id, m->h.command, 0xfffffff0, 1);
		break;
	case HALF:
		reply_header(f, m, m->h.id, m->h.command, 400, 1); /* sends less */
		shutdown(f->fd, SHUT_RDWR);
		break;
	case HANG_UP:
		shutdown(f->fd, SHUT_RDWR);
		break;
	}
	return true;
}

static int read_how(struct bh_device *dev, uint32_t kind)
{
	uint32_t value;
	int rc;

	__atomic_store_n(&how, kind, __ATOMIC_RELEASE);
	rc = bh_device_region_read(dev, 0, 0, &value, 4);
	__atomic_store_n(&how, HONEST, __ATOMIC_RELEASE);
	return rc;
}

static int read_refused(struct bh_device *dev, uint32_t error)
{
	__atomic_store_n(&refusal, error, __ATOMIC_RELEASE);
	return read_how(dev, REFUSE);
}

static struct bh_device *open_odd(void)
{
	__atomic_store_n(&how, HONEST, __ATOMIC_RELEASE);
	return open_ok(misbehave);
}

static void answers_that_do_not_match_are_eproto(void)
{
	struct bh_device *dev = open_odd();

	CU_ASSERT_EQUAL(read_how(dev, SHORT), -EPROTO);
	CU_ASSERT_EQUAL(read_how(dev, OTHER_OFFSET), -EPROTO);
	CU_ASSERT_EQUAL(read_how(dev, OTHER_COUNT), -EPROTO);
	CU_ASSERT_EQUAL(read_how(dev, HONEST), 0);
	CU_ASSERT_FALSE(bh_device_gone(dev));
	bh_device_close(dev);
}

static void refusals_are_passed_on(void)
{
	struct bh_device *dev = open_odd();

	CU_ASSERT_EQUAL(read_refused(dev, EINVAL), -EINVAL);
	CU_ASSERT_EQUAL(read_refused(dev, EFAULT), -EFAULT);
	/* Not to be taken for ours. */
	CU_ASSERT_EQUAL(read_refused(dev, ENODEV), -EIO);
	CU_ASSERT_EQUAL(read_refused(dev, ETIMEDOUT), -EIO);
	/* No errno at all. */
	CU_ASSERT_EQUAL(read_refused(dev, 0), -EINVAL);
	CU_ASSERT_EQUAL(read_refused(dev, 4096), -EINVAL);
	CU_ASSERT_EQUAL(read_refused(dev, 0xffffffff), -EINVAL);
	CU_ASSERT_EQUAL(read_how(dev, BODY_BEHIND_ERROR), -EPERM);
	CU_ASSERT_EQUAL(read_how(dev, HONEST), 0);
	bh_device_close(dev);
}

static bool send_late(struct fake *f, struct fake_msg *m)
{
	static const uint8_t body[20];
	struct fake_msg old = { .h = late };

	if (m->h.command == VFU_DEVICE_RESET)
		fake_reply(f, &old, body, sizeof(body), NULL, 0);
	return misbehave(f, m);
}

static void late_replies_are_dropped(void)
{
	struct bh_device *dev;

	opts.timeout_ns = 60000000;
	dev = open_ok(send_late);
	CU_ASSERT_EQUAL(read_how(dev, LATE), -ETIMEDOUT);
	CU_ASSERT_EQUAL(bh_device_reset(dev), 0);
	CU_ASSERT_EQUAL(read_how(dev, HONEST), 0);
	CU_ASSERT_EQUAL(read_how(dev, OTHER_ID), -ETIMEDOUT);
	CU_ASSERT_EQUAL(read_how(dev, HONEST), 0);
	CU_ASSERT_FALSE(bh_device_gone(dev));
	bh_device_close(dev);
}

struct counter {
	struct bh_gone_listener listener;
	uint32_t calls;
};

static void count_gone(struct bh_gone_listener *listener)
{
	__atomic_add_fetch(&((struct counter *)listener)->calls, 1, __ATOMIC_RELEASE);
}

static void violations_end_the_device(void)
{
	static const uint32_t kinds[] = { OTHER_COMMAND, BAD_TYPE, HUGE, HANG_UP, HALF };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct counter c = { .listener.gone = count_gone };
		struct bh_device *dev = open_odd();
		uint32_t value;

		bh_device_gone_listen(dev, &c.listener);
		CU_ASSERT_EQUAL(read_how(dev, kinds[i]), -ENODEV);
		CU_ASSERT_TRUE(bh_device_gone(dev));
		CU_ASSERT_EQUAL(bh_device_region_read(dev, 0, 0, &value, 4), -ENODEV);
		CU_ASSERT_EQUAL(bh_device_region_post(dev, 0, 0, &value, 4), -ENODEV);
		CU_ASSERT_EQUAL(bh_device_reset(dev), -ENODEV);
		while (__atomic_load_n(&c.calls, __ATOMIC_ACQUIRE) == 0)
			usleep(1000);
		bh_device_gone_unlisten(dev, &c.listener);
		bh_device_close(dev);
		CU_ASSERT_EQUAL(c.calls, 1);
	}
}

static void an_idle_device_notices_the_end(void)
{
	struct bh_device *dev = open_ok(NULL);

	fake_hang_up(&fake);
	CU_ASSERT_TRUE(wait_gone(dev));
	bh_device_close(dev);
	CU_ASSERT_TRUE(log_has("lost: the server closed the connection"));
}

static void reopen_makes_the_handle_valid(void)
{
	struct counter c = { .listener.gone = count_gone };
	struct bh_device *dev = open_ok(NULL);
	struct bh_iova_cache cache;
	uint64_t iova;
	uint32_t value;
	void *p = bh_pool_alloc(pool, 64, 0);

	memset(&cache, 0, sizeof(cache));
	bh_device_gone_listen(dev, &c.listener);
	CU_ASSERT_EQUAL(bh_device_reopen(dev), -EBUSY);
	fake_hang_up(&fake);
	CU_ASSERT_TRUE_FATAL(wait_gone(dev));
	CU_ASSERT_EQUAL(bh_device_reopen(dev), 0);
	CU_ASSERT_FALSE(bh_device_gone(dev));
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 0, 0, &value, 4), 0);
	CU_ASSERT_TRUE(bh_iova_translate(bh_device_iova_map(dev), &cache, p, 64, &iova));
	CU_ASSERT_EQUAL(iova, (uintptr_t)p);
	CU_ASSERT_EQUAL(fake.clients, 2);
	CU_ASSERT_EQUAL(fake.num_maps, 1);
	fake_hang_up(&fake);
	CU_ASSERT_TRUE(wait_gone(dev));
	shutdown(fake.listen_fd, SHUT_RDWR);
	CU_ASSERT_EQUAL(bh_device_reopen(dev), -ENODEV);
	CU_ASSERT_TRUE(bh_device_gone(dev));
	bh_device_gone_unlisten(dev, &c.listener);
	CU_ASSERT_EQUAL(c.calls, 2);
	bh_pool_free(pool, p);
	bh_device_close(dev);
}

/* ---- a server that does not read ---- */

static uint32_t stalled; /* __atomic */

static bool stall(struct fake *f, struct fake_msg *m)
{
	(void)f;
	if (m->h.command == VFU_REGION_WRITE)
		while (__atomic_load_n(&stalled, __ATOMIC_ACQUIRE))
			usleep(500);
	return false;
}

static void posting_never_blocks(void)
{
	struct bh_device *dev = open_ok(stall);
	static uint8_t block[4096], back[4096];
	unsigned int posted = 0;
	int rc;

	__atomic_store_n(&stalled, 1, __ATOMIC_RELEASE);
	memset(block, 1, sizeof(block));
	do {
		block[0] = (uint8_t)posted;
		rc = bh_device_region_post(dev, 0, 0, block, sizeof(block));
		posted += rc == 0;
	} while (rc == 0 && posted < 100000);
	CU_ASSERT_EQUAL(rc, -EAGAIN);
	CU_ASSERT_TRUE(posted > 1000);
	__atomic_store_n(&stalled, 0, __ATOMIC_RELEASE);
	CU_ASSERT_EQUAL(bh_device_region_read(dev, 0, 0, back, sizeof(back)), 0);
	CU_ASSERT_EQUAL(back[0], (uint8_t)(posted - 1));
	CU_ASSERT_EQUAL(fake_seen(&fake, VFU_REGION_WRITE), posted);
	bh_device_close(dev);
}

/* So much is not read that nothing more is taken: the end of the stream is behind all of that. */
static void half_a_hang_up_is_noticed_behind_unread_replies(void)
{
	const struct bh_mem *mem = bh_pool_mem(pool);
	struct bh_device *dev = open_ok(stall);
	const uint64_t count = mem->len < VFU_MAX_DATA ? mem->len : VFU_MAX_DATA;
	const struct {
		struct vfu_header header;
		struct vfu_dma_access access;
	} read = { { .command = VFU_DMA_READ, .size = 32 },
		   { .address = (uintptr_t)mem->va, .count = count } };

	__atomic_store_n(&stalled, 1, __ATOMIC_RELEASE);
	CU_ASSERT_EQUAL(bh_device_region_post(dev, 0, 0, "stop", 4), 0);
	for (unsigned int stuck = 0; stuck < 100;) {
		ssize_t n = send(fake.fd, &read, sizeof(read), MSG_DONTWAIT | MSG_NOSIGNAL);

		stuck = n < 0 ? stuck + 1 : 0;
		usleep(n < 0 ? 1000 : 0);
	}
	CU_ASSERT_FALSE(bh_device_gone(dev));
	CU_ASSERT_EQUAL(shutdown(fake.fd, SHUT_WR), 0);
	CU_ASSERT_TRUE(wait_gone(dev));
	__atomic_store_n(&stalled, 0, __ATOMIC_RELEASE);
	bh_device_close(dev);
}

/* ---- mappings ---- */

static void mapped_bar_is_the_servers_memory(void)
{
	struct bh_device *dev = open_ok(NULL);
	uint32_t value = 0xabcd, back = 0;
	struct bh_map map, other;

	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 0x1008, 0x20, BH_ATTR_WC, 0, &map), 0);
	CU_ASSERT_EQUAL(map.attr, BH_ATTR_MEMORY);
	CU_ASSERT_EQUAL(map.requested, BH_ATTR_WC);
	CU_ASSERT_PTR_NOT_NULL(map.why);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 0x1000, 0x1000, BH_ATTR_UC, 0, &other), 0);
	memcpy(map.va, &value, 4);
	CU_ASSERT_EQUAL(pread(fake.bar_fd, &back, 4, 0x1008), 4);
	CU_ASSERT_EQUAL(back, value);
	CU_ASSERT_EQUAL(memcmp(other.va + 8, &value, 4), 0);
	CU_ASSERT_EQUAL(pread(map.fd, &back, 4, (off_t)map.fd_offset), 4);
	CU_ASSERT_EQUAL(back, value);
	bh_device_unmap_bar(dev, &other);
	CU_ASSERT_EQUAL(other.fd, -1);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 0, 0x1000, BH_ATTR_UC, 0, &other), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 0x1fff, 2, BH_ATTR_UC, 0, &other), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 7, 0, 16, BH_ATTR_UC, 0, &other), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 0x1000, 16, BH_ATTR_WC, BH_MAP_STRICT, &other),
			-EOPNOTSUPP);
	fake_hang_up(&fake);
	CU_ASSERT_TRUE(wait_gone(dev));
	memcpy(map.va, &back, 4); /* the driver may be about to */
	bh_device_unmap_bar(dev, &map);
	bh_device_close(dev);
}

static void truncated_bar_reads_ones(void)
{
	struct bh_device *dev = open_ok(NULL);
	struct bh_map map, other;

	CU_ASSERT_EQUAL_FATAL(bh_fault_install(), 0);
	CU_ASSERT_EQUAL_FATAL(bh_device_map_bar(dev, 0, 0x1000, 0x1000, BH_ATTR_UC, 0, &map), 0);
	CU_ASSERT_EQUAL(*(volatile uint32_t *)map.va, 0);
	CU_ASSERT_EQUAL(ftruncate(fake.bar_fd, 0), 0);
	CU_ASSERT_EQUAL(*(volatile uint32_t *)map.va, 0xffffffff);
	*(volatile uint32_t *)(map.va + 8) = 1;
	CU_ASSERT_EQUAL(bh_device_map_bar(dev, 0, 0x1000, 0x1000, BH_ATTR_UC, 0, &other), -ENXIO);
	bh_device_unmap_bar(dev, &map);
	bh_device_close(dev);
}

/* ---- interrupts ---- */

static void vectors_are_bound_in_runs(void)
{
	struct bh_device *dev;
	int e = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const int fds[8] = { e, e, e, -1, -1, -1, e, -1 };
	/* start, count, fds */
	static const unsigned int expect[][3] = {
		{ 0, 2, 2 }, { 2, 1, 1 }, { 3, 3, 0 }, { 6, 1, 1 }, { 7, 1, 0 }
	};

	fake.json = "{\"capabilities\":{\"max_msg_fds\":2}}";
	dev = open_ok(NULL);
	CU_ASSERT_EQUAL(bh_device_irq_bind(dev, 2, 0, 8, fds), 0);
	CU_ASSERT_EQUAL_FATAL(fake.num_irq_sets, 5);
	for (unsigned int i = 0; i < 5; i++) {
		const struct vfu_irq_set *s = &fake.irq_set[i];

		CU_ASSERT_EQUAL(s->flags, VFU_IRQ_DATA_EVENTFD | VFU_IRQ_ACTION_TRIGGER);
		CU_ASSERT_EQUAL(s->argsz, 20);
		CU_ASSERT_EQUAL(s->index, 2);
		CU_ASSERT_EQUAL(s->start, expect[i][0]);
		CU_ASSERT_EQUAL(s->count, expect[i][1]);
		CU_ASSERT_EQUAL(fake.irq_set_fds[i], expect[i][2]);
	}
	/* A bad descriptor is the caller's business and not the device's. */
	CU_ASSERT_EQUAL(bh_device_irq_bind(dev, 2, 0, 1, &(int){ 1000000 }), -EBADF);
	CU_ASSERT_EQUAL(bh_device_reset(dev), 0);
	bh_device_close(dev);
	close(e);
}

static void masks_and_triggers(void)
{
	struct bh_device *dev = open_ok(NULL);
	static const uint32_t flags[] = {
		VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_MASK,
		VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_UNMASK,
		VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_TRIGGER,
		VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_TRIGGER,
	};

	CU_ASSERT_EQUAL(bh_device_irq_mask(dev, 2, 5, false), 0);
	CU_ASSERT_EQUAL(bh_device_irq_unmask(dev, 2, 5, true), 0);
	CU_ASSERT_EQUAL(bh_device_irq_trigger(dev, 2, 5), 0);
	CU_ASSERT_EQUAL(bh_device_irq_disable(dev, 2), 0);
	CU_ASSERT_EQUAL(fake.no_reply, 1);
	CU_ASSERT_EQUAL_FATAL(fake.num_irq_sets, 4);
	for (unsigned int i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(fake.irq_set[i].flags, flags[i]);
		CU_ASSERT_EQUAL(fake.irq_set[i].start, i < 3 ? 5 : 0);
		CU_ASSERT_EQUAL(fake.irq_set[i].count, i < 3);
	}
	CU_ASSERT_EQUAL(bh_device_irq_mask(dev, 1, 0, true), -EOPNOTSUPP);
	bh_device_close(dev);
}

/* ---- region I/O fds ---- */

static struct {
	size_t stride;
	uint32_t count, argsz_off;
	struct vfu_io_fd entry[4];
	int fds[3];
	unsigned int nfds;
} io;

static bool give_io_fds(struct fake *f, struct fake_msg *m)
{
	struct vfu_region_io_fds r;
	uint8_t body[sizeof(r) + 4 * 48];
	size_t len;

	if (m->h.command != VFU_DEVICE_GET_REGION_IO_FDS)
		return false;
	memcpy(&r, m->body, sizeof(r));
	len = sizeof(r) + io.count * io.stride;
	memset(body, 0, sizeof(body));
	for (unsigned int i = 0; i < io.count && i < 4; i++)
		memcpy(body + sizeof(r) + i * io.stride, &io.entry[i], sizeof(io.entry[i]));
	if (r.argsz < len) {
		r.argsz = (uint32_t)len + io.argsz_off;
		r.count = io.count;
		fake_reply(f, m, &r, sizeof(r), NULL, 0);
		return true;
	}
	r.argsz = (uint32_t)len + io.argsz_off;
	r.count = io.count;
	memcpy(body, &r, sizeof(r));
	fake_reply(f, m, body, len, io.fds, io.nfds);
	return true;
}

static void io_fds_are(size_t stride, int e, int shadow)
{
	fake_wait_idle(&fake);
	memset(&io, 0, sizeof(io));
	io.stride = stride;
	io.fds[0] = e;
	io.fds[1] = shadow;
	io.nfds = 2;
	io.count = 4;
	io.entry[0] = (struct vfu_io_fd){ .offset = 0x1000, .size = 4 };
	io.entry[1] = (struct vfu_io_fd){ 0x1008, 4, 0, VFU_IO_FD_EVENTFD_SHADOW, 0, 1, 0x1010 };
	io.entry[2] = (struct vfu_io_fd){ 0x1010, 4, 0, VFU_IO_FD_EVENTFD_SHADOW, 0, 1, 0x18 };
	io.entry[3] = (struct vfu_io_fd){ .offset = 0x1018, .fd_index = VFU_IO_FD_NONE };
}

static void io_fds_of_both_strides(void)
{
	int e = eventfd(0, EFD_CLOEXEC), shadow = memfd_create("shadow", MFD_CLOEXEC);
	struct bh_region_io_fd got[4];
	uint32_t value = 77, back;
	uint64_t n;

	CU_ASSERT_EQUAL(ftruncate(shadow, 8192), 0);
	for (size_t stride = 40; stride <= 48; stride += 8) {
		struct bh_device *dev;

		io_fds_are(stride, e, shadow);
		dev = open_ok(give_io_fds);
		CU_ASSERT_TRUE(bh_device_caps(dev) & BH_CAP_IOEVENTFD);
		CU_ASSERT_EQUAL(bh_device_region_io_fds(dev, 0, got, 1), 3);
		CU_ASSERT_EQUAL_FATAL(bh_device_region_io_fds(dev, 0, got, 4), 3);
		CU_ASSERT_EQUAL(got[0].offset, 0x1000);
		CU_ASSERT_PTR_NULL(got[0].shadow);
		CU_ASSERT_EQUAL(got[1].offset, 0x1008);
		CU_ASSERT_EQUAL(got[1].len, 4);
		CU_ASSERT_EQUAL(got[2].eventfd, got[0].eventfd);
		memcpy(got[1].shadow, &value, 4);
		CU_ASSERT_EQUAL(pread(shadow, &back, 4, 0x1010), 4);
		CU_ASSERT_EQUAL(back, 77);
		memcpy(got[2].shadow, &value, 4);
		CU_ASSERT_EQUAL(pread(shadow, &back, 4, 0x18), 4);
		CU_ASSERT_EQUAL(back, 77);
		CU_ASSERT_EQUAL(eventfd_write(got[0].eventfd, 3), 0);
		CU_ASSERT_EQUAL(eventfd_read(e, &n), 0);
		CU_ASSERT_EQUAL(n, 3);
		CU_ASSERT_TRUE(fcntl(e, F_GETFL) & O_NONBLOCK);
		CU_ASSERT_EQUAL(bh_device_region_io_fds(dev, 9, got, 4), -EINVAL);
		bh_device_close(dev);
	}
	close(e);
	close(shadow);
}

static void odd_io_fds_are_left_out(void)
{
	int e = eventfd(0, EFD_CLOEXEC), shadow = memfd_create("shadow", MFD_CLOEXEC);
	struct bh_region_io_fd got[4];

	CU_ASSERT_EQUAL(ftruncate(shadow, 4096), 0);
	for (int i = 0; i < 9; i++) {
		struct bh_device *dev;

		io_fds_are(48, e, shadow);
		io.count = 2;
		switch (i) {
		case 0:
			io.entry[1].value = 4092;
			break;
		case 1:
			io.entry[1].value = UINT64_MAX - 3;
			break;
		case 2:
			io.entry[1].shadow_fd_index = 2;
			break;
		case 3:
			io.entry[1].shadow_fd_index = 0;
			break;
		case 4:
			io.entry[1].type = 1;
			break;
		case 5:
			io.entry[1].flags = 1;
			break;
		case 6:
			io.entry[1].offset = FAKE_BAR_BYTES - 2;
			break;
		case 7:
			io.entry[1].offset = UINT64_MAX;
			break;
		case 8:
			io.entry[1].fd_index = 7;
			break;
		}
		dev = open_ok(give_io_fds);
		CU_ASSERT_EQUAL(bh_device_region_io_fds(dev, 0, got, 4), 1);
		bh_device_close(dev);
	}
	close(e);
	close(shadow);
}

static void nonsense_about_io_fds_is_eproto(void)
{
	struct bh_region_io_fd got[4];
	int e = eventfd(0, EFD_CLOEXEC);

	for (int i = 0; i < 4; i++) {
		struct bh_device *dev;

		io_fds_are(48, e, e);
		switch (i) {
		case 0:
			io.stride = 32;
			break;
		case 1:
			io.argsz_off = 4;
			break;
		case 2:
			io.argsz_off = (uint32_t)-64;
			break;
		case 3:
			io.argsz_off = 48 * 4;
			break;
		}
		dev = open_ok(give_io_fds);
		CU_ASSERT_EQUAL(bh_device_region_io_fds(dev, 0, got, 4), -EPROTO);
		CU_ASSERT_EQUAL(bh_device_reset(dev), 0);
		bh_device_close(dev);
	}
	close(e);
}

BH_SUITE_FIXTURE("io_vfu device", fixture_setup, fixture_teardown,
		 { "region_accesses_reach_the_device", region_accesses_reach_the_device },
		 { "posted_writes_want_no_reply", posted_writes_want_no_reply },
		 { "transfers_are_split_at_the_servers_limit",
		   transfers_are_split_at_the_servers_limit },
		 { "answers_that_do_not_match_are_eproto", answers_that_do_not_match_are_eproto },
		 { "refusals_are_passed_on", refusals_are_passed_on },
		 { "late_replies_are_dropped", late_replies_are_dropped },
		 { "violations_end_the_device", violations_end_the_device },
		 { "an_idle_device_notices_the_end", an_idle_device_notices_the_end },
		 { "reopen_makes_the_handle_valid", reopen_makes_the_handle_valid },
		 { "posting_never_blocks", posting_never_blocks },
		 { "half_a_hang_up_is_noticed_behind_unread_replies",
		   half_a_hang_up_is_noticed_behind_unread_replies },
		 { "mapped_bar_is_the_servers_memory", mapped_bar_is_the_servers_memory },
		 { "truncated_bar_reads_ones", truncated_bar_reads_ones },
		 { "vectors_are_bound_in_runs", vectors_are_bound_in_runs },
		 { "masks_and_triggers", masks_and_triggers },
		 { "io_fds_of_both_strides", io_fds_of_both_strides },
		 { "odd_io_fds_are_left_out", odd_io_fds_are_left_out },
		 { "nonsense_about_io_fds_is_eproto", nonsense_about_io_fds_is_eproto }, )

/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory: how pools are offered and taken back, and the server's own reads and writes of them. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fixture.h"

static struct bh_pool *new_pool(void)
{
	struct bh_pool_opts po;
	struct bh_pool *p = NULL;

	bh_pool_opts_init(&po);
	po.bytes = 16 * 1024;
	po.page_size = 4096;
	CU_ASSERT_EQUAL_FATAL(bh_pool_create(&po, &p), 0);
	return p;
}

static void pools_are_offered_as_the_access_mode_says(void)
{
	static const uint32_t flags[] = { 3, 3 | VFU_DMA_FLAG_MMAP, 3 | VFU_DMA_FLAG_FILE_IO, 3 };
	const struct bh_mem *mem = bh_pool_mem(pool);

	for (int mode = BH_DMA_ACCESS_AUTO; mode <= BH_DMA_ACCESS_MESSAGE; mode++) {
		const struct vfu_dma_map *wire = &fake.map[0].wire;
		struct bh_device *dev;

		opts.dma_access = (enum bh_dma_access)mode;
		dev = open_ok(NULL);
		CU_ASSERT_EQUAL_FATAL(fake.num_maps, 1);
		CU_ASSERT_EQUAL(wire->argsz, 32);
		CU_ASSERT_EQUAL(wire->flags, flags[mode]);
		CU_ASSERT_EQUAL(wire->address, (uintptr_t)mem->va);
		CU_ASSERT_EQUAL(wire->size, mem->len);
		CU_ASSERT_EQUAL(wire->offset, mode == BH_DMA_ACCESS_MESSAGE ? 0 : mem->fd_offset);
		CU_ASSERT_EQUAL(fake.map[0].fd >= 0, mode != BH_DMA_ACCESS_MESSAGE);
		bh_device_close(dev);
		fake_wait_idle(&fake);
		CU_ASSERT_EQUAL(fake_seen(&fake, VFU_DMA_UNMAP), (unsigned int)mode + 1);
	}
}

static void memory_without_a_file_is_offered_without_fd(void)
{
	struct bh_device *dev = open_ok(NULL);
	const struct vfu_dma_map *wire = &fake.map[1].wire;
	void *va = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct bh_pool *heap = NULL;

	CU_ASSERT_EQUAL_FATAL(bh_pool_import(va, 8192, -1, 0, "heap", &heap), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, heap), 0);
	CU_ASSERT_EQUAL_FATAL(fake.num_maps, 2);
	CU_ASSERT_EQUAL(wire->flags, 3);
	CU_ASSERT_EQUAL(wire->address, (uintptr_t)va);
	CU_ASSERT_EQUAL(wire->size, 8192);
	CU_ASSERT_TRUE(fake.map[1].fd < 0);
	CU_ASSERT_EQUAL(bh_dma_space_remove(space, heap), 0);
	bh_device_close(dev);
	bh_pool_destroy(heap);
	munmap(va, 8192);
}

static void a_bar_is_not_offered_to_a_server(void)
{
	struct bh_device *dev = open_ok(NULL);
	const struct bh_mem *mem = bh_pool_mem(pool);
	void *va = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, mem->fd, 0);
	struct bh_pool *bar = NULL;

	CU_ASSERT_EQUAL_FATAL(bh_pool_import_dmabuf(va, 4096, mem->fd, "bar", &bar), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, bar), -EOPNOTSUPP);
	CU_ASSERT_TRUE(log_has("a BAR of another device"));
	CU_ASSERT_EQUAL(fake.num_maps, 1);
	CU_ASSERT_FALSE(bh_device_caps(dev) & BH_CAP_DMA_PEER);
	bh_device_close(dev);
	bh_pool_destroy(bar);
	munmap(va, 4096);
}

static void pools_come_and_go(void)
{
	struct bh_device *dev = open_ok(NULL);
	const struct bh_iova_map *map = bh_device_iova_map(dev);
	struct bh_pool *p = new_pool();
	struct bh_iova_cache cache;
	void *va = bh_pool_mem(p)->va;
	uint64_t iova;

	memset(&cache, 0, sizeof(cache));
	CU_ASSERT_FALSE(bh_iova_translate(map, &cache, va, 8, &iova));
	CU_ASSERT_EQUAL(bh_dma_space_add(space, p), 0);
	CU_ASSERT_EQUAL(fake.num_maps, 2);
	CU_ASSERT_TRUE(bh_iova_translate(map, &cache, va, 8, &iova));
	CU_ASSERT_EQUAL(iova, (uintptr_t)va);
	CU_ASSERT_EQUAL(bh_dma_space_remove(space, p), 0);
	CU_ASSERT_EQUAL(fake.num_maps, 1);
	CU_ASSERT_FALSE(bh_iova_translate(map, &cache, va, 8, &iova));
	bh_pool_destroy(p);
	bh_device_close(dev);
}

static unsigned int refuse_command, refuse_with; /* set while nobody is connected */
static unsigned int spare;			 /* so many are let through */

static bool refuse(struct fake *f, struct fake_msg *m)
{
	if (m->h.command != refuse_command || (spare > 0 && spare-- > 0))
		return false;
	if (refuse_with != 0)
		fake_refuse(f, m, refuse_with);
	return true;
}

static void refusing(unsigned int command, unsigned int error, unsigned int first)
{
	fake_wait_idle(&fake);
	refuse_command = command;
	refuse_with = error;
	spare = first;
}

static void a_refused_map_fails_the_open(void)
{
	struct bh_device *dev;

	refusing(VFU_DMA_MAP, EEXIST, 0);
	CU_ASSERT_EQUAL(open_with(refuse, &dev), -EINVAL);
	refusing(VFU_DMA_MAP, EINVAL, 0);
	CU_ASSERT_EQUAL(open_with(refuse, &dev), -EINVAL);
	refusing(VFU_DMA_MAP, ENOSPC, 0);
	CU_ASSERT_EQUAL(open_with(refuse, &dev), -ENOSPC);
	CU_ASSERT_EQUAL(log_errors(), 3);
	CU_ASSERT_TRUE(log_has("refuses to map memory"));
}

static void a_refused_map_fails_the_addition(void)
{
	struct bh_pool *p = new_pool();
	struct bh_device *dev;

	refusing(VFU_DMA_MAP, ENOMEM, 1);
	dev = open_ok(refuse);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, p), -ENOMEM);
	CU_ASSERT_FALSE(bh_device_gone(dev));
	CU_ASSERT_EQUAL(fake_seen(&fake, VFU_DMA_UNMAP), 0);
	bh_device_close(dev);
	bh_pool_destroy(p);
}

static void limits_of_the_server_are_respected(void)
{
	struct bh_pool *p = new_pool();
	struct bh_device *dev;

	fake.json = "{\"capabilities\":{\"max_msg_fds\":8,\"max_dma_maps\":1}}";
	dev = open_ok(NULL);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, p), -ENOSPC);
	CU_ASSERT_EQUAL(fake_seen(&fake, VFU_DMA_MAP), 1);
	bh_device_close(dev);
	bh_pool_destroy(p);
	fake_wait_idle(&fake);
	fake.json = "{\"capabilities\":{\"max_msg_fds\":8,\"pgsizes\":1073741824}}";
	CU_ASSERT_EQUAL(open_with(NULL, &dev), -EINVAL);
	CU_ASSERT_TRUE(log_has("maps pages of 1073741824 bytes"));
	fake_wait_idle(&fake);
	fake.json = "{\"capabilities\":{\"max_msg_fds\":0}}";
	CU_ASSERT_EQUAL(open_with(NULL, &dev), -EOPNOTSUPP);
	opts.dma_access = BH_DMA_ACCESS_MESSAGE;
	dev = open_ok(NULL);
	CU_ASSERT_FALSE(bh_device_caps(dev) & (BH_CAP_IRQ_EVENTFD | BH_CAP_DMA_MAP_FD));
	bh_device_close(dev);
}

static void an_unmap_without_answer_ends_the_device(void)
{
	static const unsigned int errors[] = { 0, EBUSY };

	for (int i = 0; i < 2; i++) {
		struct bh_pool *p = new_pool();
		struct bh_device *dev;
		uint32_t value;

		refusing(VFU_DMA_UNMAP, errors[i], 0);
		opts.timeout_ns = 200000000;
		dev = open_ok(refuse);
		CU_ASSERT_EQUAL(bh_dma_space_add(space, p), 0);
		CU_ASSERT_EQUAL(bh_dma_space_remove(space, p), 0);
		CU_ASSERT_TRUE(bh_device_gone(dev));
		CU_ASSERT_EQUAL(bh_device_region_read(dev, 0, 0, &value, 4), -ENODEV);
		/* A device that is gone stands in nobody's way. */
		CU_ASSERT_EQUAL(bh_dma_space_add(space, p), 0);
		CU_ASSERT_EQUAL(bh_dma_space_remove(space, p), 0);
		bh_device_close(dev);
		bh_pool_destroy(p);
	}
	CU_ASSERT_TRUE(log_has("did not answer a request to unmap memory"));
}

static void an_unmap_of_unknown_memory_is_fine(void)
{
	struct bh_device *dev;

	refusing(VFU_DMA_UNMAP, ENOENT, 0);
	dev = open_ok(refuse);
	CU_ASSERT_EQUAL(bh_dma_space_remove(space, pool), 0);
	CU_ASSERT_FALSE(bh_device_gone(dev));
	bh_device_close(dev);
}

/* ---- commands of the server: run from a hook, in answer to a reset ---- */

static void (*script)(struct fake *f);

static bool on_reset(struct fake *f, struct fake_msg *m)
{
	if (m->h.command == VFU_DEVICE_RESET)
		script(f);
	return false;
}

/* Runs the script while a request of ours is waiting; then the device is still well. */
static void run_script(void (*fn)(struct fake *f))
{
	struct bh_device *dev;

	fake_wait_idle(&fake);
	script = fn;
	dev = open_ok(on_reset);
	CU_ASSERT_EQUAL(bh_device_reset(dev), 0);
	bh_device_close(dev);
}

static void script_copy(struct fake *f)
{
	uint64_t base = f->map[0].wire.address;
	uint8_t out[1000], in[1000];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 13 + 1);
	for (uint64_t off = 0; off < 9; off++) {
		for (uint64_t len = 0; len <= sizeof(out); len += len < 20 ? 1 : 490) {
			CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_WRITE, base + off, len, out), 0);
			memset(in, 0, sizeof(in));
			CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, base + off, len, in), 0);
			CU_ASSERT_EQUAL(memcmp(in, out, len), 0);
		}
	}
}

static void server_reads_and_writes_pools(void)
{
	uint8_t *p = bh_pool_mem(pool)->va;

	opts.dma_access = BH_DMA_ACCESS_MESSAGE;
	run_script(script_copy);
	CU_ASSERT_EQUAL(p[8], 1);
	CU_ASSERT_EQUAL(p[9], 14);
	/* Also what is mapped by fd. */
	opts.dma_access = BH_DMA_ACCESS_AUTO;
	run_script(script_copy);
}

static void server_uses_its_twin_socket(void)
{
	fake.use_twin = true;
	fake.json = "{\"capabilities\":{\"max_msg_fds\":8,\"twin_socket\":{\"supported\":true,"
		    "\"fd_index\":0}}}";
	run_script(script_copy);
}

static void script_outside(struct fake *f)
{
	uint64_t base = f->map[0].wire.address, len = f->map[0].wire.size;
	static uint8_t buf[VFU_MAX_DATA + 1];
	const uint64_t huge[2] = { base, UINT64_MAX };

	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, base - 1, 2, buf), ENODEV);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, base + len, 1, buf), ENODEV);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, base + len - 1, 2, buf), ENODEV);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_WRITE, base + len - 1, 2, buf), ENODEV);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, base + len - 1, 1, buf), 0);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, UINT64_MAX, 2, buf), ENODEV);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, UINT64_MAX, 1, buf), ENODEV);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, 0, 1, buf), ENODEV);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, base, VFU_MAX_DATA + 1, buf), E2BIG);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, base, VFU_MAX_DATA, buf), ENODEV);
	CU_ASSERT_EQUAL(fake_command(f, VFU_DMA_READ, huge, 16), E2BIG);
	CU_ASSERT_EQUAL(fake_command(f, VFU_DMA_WRITE, huge, 16), E2BIG);
}

static void server_reaches_nothing_else(void)
{
	run_script(script_outside);
}

static void script_malformed(struct fake *f)
{
	uint64_t body[4] = { f->map[0].wire.address, 16, 0, 0 };

	CU_ASSERT_EQUAL(fake_command(f, VFU_DMA_READ, NULL, 0), EINVAL);
	CU_ASSERT_EQUAL(fake_command(f, VFU_DMA_READ, body, 15), EINVAL);
	CU_ASSERT_EQUAL(fake_command(f, VFU_DMA_READ, body, 17), EINVAL);
	CU_ASSERT_EQUAL(fake_command(f, VFU_DMA_WRITE, body, 16), EINVAL);
	CU_ASSERT_EQUAL(fake_command(f, VFU_DMA_WRITE, body, 31), EINVAL);
	CU_ASSERT_EQUAL(fake_command(f, VFU_DMA_WRITE, body, 32), 0);
	CU_ASSERT_EQUAL(fake_command(f, VFU_DMA_MAP, body, 32), ENOSYS);
	CU_ASSERT_EQUAL(fake_command(f, VFU_VERSION, body, 4), ENOSYS);
	CU_ASSERT_EQUAL(fake_command(f, 0xffff, body, 4), ENOSYS);
}

static void malformed_commands_are_refused(void)
{
	run_script(script_malformed);
}

static void script_with_fds(struct fake *f)
{
	const uint64_t body[2] = { f->map[0].wire.address, 8 };
	struct vfu_header h = { 9, VFU_DMA_READ, 32, VFU_FLAG_NO_REPLY, 0 };
	uint8_t bytes[32];
	int fds[3] = { 0, 1, 2 };

	memcpy(bytes, &h, 16);
	memcpy(bytes + 16, body, 16);
	fake_send(f->fd, bytes, 32, fds, 3);
	CU_ASSERT_EQUAL(fake_command(f, VFU_DMA_READ, body, 16), 0);
}

static void fds_nobody_asked_for_are_closed(void)
{
	run_script(script_with_fds); /* and the fixture counts */
}

/* Two imported pools side by side in one file. */
static void script_spanning(struct fake *f)
{
	uint64_t *base = f->arg;
	uint8_t out[8192], in[8192];

	memset(out, 0x77, sizeof(out));
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_WRITE, *base + 3, 8000, out), 0);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, *base + 3, 8000, in), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, 8000), 0);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, *base, 8192, in), 0);
	CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, *base + 1, 8192, in), ENODEV);
}

static void access_may_span_adjacent_pools(void)
{
	int fd = memfd_create("two", MFD_CLOEXEC);
	struct bh_pool *a, *b;
	uint64_t base;
	uint8_t *va;

	/* A hole behind them, so that nothing else can be adjacent. */
	va = mmap(NULL, 12288, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CU_ASSERT_EQUAL(ftruncate(fd, 8192), 0);
	CU_ASSERT_PTR_EQUAL(mmap(va, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0),
			    va);
	CU_ASSERT_EQUAL_FATAL(bh_pool_import(va, 4096, fd, 0, "a", &a), 0);
	CU_ASSERT_EQUAL_FATAL(bh_pool_import(va + 4096, 4096, fd, 4096, "b", &b), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, a), 0);
	CU_ASSERT_EQUAL(bh_dma_space_add(space, b), 0);
	base = (uintptr_t)va;
	fake.arg = &base;
	run_script(script_spanning);
	CU_ASSERT_EQUAL(bh_dma_space_remove(space, a), 0);
	CU_ASSERT_EQUAL(bh_dma_space_remove(space, b), 0);
	bh_pool_destroy(a);
	bh_pool_destroy(b);
	munmap(va, 12288);
	close(fd);
}

/* Memory is served while it is being unmapped: a server has to finish what it began. */
static bool copy_in_unmap(struct fake *f, struct fake_msg *m)
{
	uint8_t buf[64];

	if (m->h.command == VFU_DMA_UNMAP)
		CU_ASSERT_EQUAL(fake_dma(f, VFU_DMA_READ, f->map[0].wire.address, 64, buf), 0);
	return false;
}

static void memory_is_served_until_the_unmap_is_answered(void)
{
	struct bh_device *dev = open_ok(copy_in_unmap);

	CU_ASSERT_EQUAL(bh_dma_space_remove(space, pool), 0);
	CU_ASSERT_EQUAL(bh_device_reset(dev), 0);
	bh_device_close(dev);
}

BH_SUITE_FIXTURE("io_vfu dma", fixture_setup, fixture_teardown,
		 { "pools_are_offered_as_the_access_mode_says",
		   pools_are_offered_as_the_access_mode_says },
		 { "memory_without_a_file_is_offered_without_fd",
		   memory_without_a_file_is_offered_without_fd },
		 { "a_bar_is_not_offered_to_a_server", a_bar_is_not_offered_to_a_server },
		 { "pools_come_and_go", pools_come_and_go },
		 { "a_refused_map_fails_the_open", a_refused_map_fails_the_open },
		 { "a_refused_map_fails_the_addition", a_refused_map_fails_the_addition },
		 { "limits_of_the_server_are_respected", limits_of_the_server_are_respected },
		 { "an_unmap_without_answer_ends_the_device",
		   an_unmap_without_answer_ends_the_device },
		 { "an_unmap_of_unknown_memory_is_fine", an_unmap_of_unknown_memory_is_fine },
		 { "server_reads_and_writes_pools", server_reads_and_writes_pools },
		 { "server_uses_its_twin_socket", server_uses_its_twin_socket },
		 { "server_reaches_nothing_else", server_reaches_nothing_else },
		 { "malformed_commands_are_refused", malformed_commands_are_refused },
		 { "fds_nobody_asked_for_are_closed", fds_nobody_asked_for_are_closed },
		 { "access_may_span_adjacent_pools", access_may_span_adjacent_pools },
		 { "memory_is_served_until_the_unmap_is_answered",
		   memory_is_served_until_the_unmap_is_answered }, )

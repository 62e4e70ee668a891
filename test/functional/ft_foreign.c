/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Other people's userspace clients, played by one of ours that shares no code with our driver:
 * they find a socket named `cntrl` in the directory they were given, and nothing about the
 * target is set for them. foreign.h has how strictly they read.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bellhop/barrier.h>
#include <bellhop/vfu_server.h>

#include "foreign.h"
#include "ft.h"

#define MIB (1024ul * 1024)
#define MEMORIES 16 /* as many as some have room for */
#define PADDED 4064 /* of a REGION_INFO */
#define BLOCK 512u
#define WAIT_MS 10000

struct rig {
	struct ft_target target;
	struct foreign c;
	struct foreign_memory memory[MEMORIES];
	unsigned int memories;
	struct foreign_queue admin, io;
	uint8_t *data; /* behind the queues, in the first memory */
};

static void serve(struct rig *r, const char *rest)
{
	char spec[256];

	memset(r, 0, sizeof(*r));
	ft_target_init(&r->target);
	FT_CHECK(mkdir(ft_path("peer"), 0755) == 0);
	snprintf(r->target.socket[0], sizeof(r->target.socket[0]), "%s", ft_path("peer/cntrl"));
	snprintf(spec, sizeof(spec), "nvme:%s,%s", r->target.socket[0], rest);
	ft_target_start(&r->target, ft_cpus(1, ','), (const char *const[]){ spec, NULL });
}

/* One memory of 4 MiB for the queues and some data. */
static void one_memory(struct rig *r)
{
	foreign_memory_new(&r->memory[0], 4 * MIB, 2 * MIB, 0);
	r->memories = 1;
}

static void map_memories(struct rig *r)
{
	for (unsigned int i = 0; i < r->memories; i++)
		FT_EQUAL(foreign_dma_map(&r->c, &r->memory[i]), 0);
}

/* ---- the controller, once the client is attached ---- */

static void identify(struct rig *r)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_IDENTIFY, .cdw10 = BH_NVME_CNS_CTRL };
	const struct bh_nvme_id_ctrl *id = (const void *)r->data;
	const struct bh_nvme_id_ns *ns = (const void *)r->data;

	foreign_prp(&cmd, r->data, 4096);
	FT_EQUAL(foreign_run(&r->c, &r->admin, &cmd), 0);
	FT_EQUAL(id->sqes & 0xf, 6);
	FT_EQUAL(id->cqes & 0xf, 4);
	FT_CHECK(id->nn >= 1);
	FT_CHECK((id->sgls & 3) != 0);		  /* or they would not send SGLs */
	FT_CHECK(id->mdts == 0 || id->mdts >= 5); /* 128 KiB, all some ever ask for */
	cmd.cdw10 = BH_NVME_CNS_NS;
	cmd.nsid = 1;
	FT_EQUAL(foreign_run(&r->c, &r->admin, &cmd), 0);
	FT_CHECK(ns->nsze * BLOCK == 64 * MIB && ns->lbaf[ns->flbas & 0xf].lbads == 9);
}

/* Asks for more queues than it uses, and for events. */
static void set_features(struct rig *r)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_SET_FEATURES,
				   .cdw10 = BH_NVME_FEAT_NUMBER_OF_QUEUES,
				   .cdw11 = 0x7f007f };
	FT_EQUAL(foreign_run(&r->c, &r->admin, &cmd), 0);
	cmd = (struct bh_nvme_cmd){ .opc = BH_NVME_ADMIN_ASYNC_EVENT };
	foreign_submit(&r->c, &r->admin, &cmd);
}

static void bring_up(struct rig *r, int vector)
{
	uint8_t *va = r->memory[0].va;

	foreign_queue_init(&r->admin, 0, 32, va);
	foreign_queue_init(&r->io, 1, 32, va + FOREIGN_QUEUE_BYTES);
	r->data = va + 2ul * FOREIGN_QUEUE_BYTES;
	foreign_enable(&r->c, &r->admin);
	identify(r);
	set_features(r);
	foreign_queue_create(&r->c, &r->admin, &r->io, vector);
}

static void fill(uint8_t *buf, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(ft_random(&seed) >> 7);
}

/* Writes what is at `buf`, clears it, reads it back. */
static void write_and_read(struct rig *r, uint8_t *buf, size_t len, bool sgl)
{
	static uint8_t kept[128 * 1024];
	static uint64_t seed;
	uint64_t lba = ++seed * 257 % (64 * MIB / BLOCK - sizeof(kept) / BLOCK);
	void (*point)(struct bh_nvme_cmd * cmd, const void *buf, size_t len) =
		sgl ? foreign_sgl : foreign_prp;
	struct bh_nvme_cmd cmd = foreign_rw(BH_NVME_CMD_WRITE, lba, (uint32_t)(len / BLOCK));

	FT_CHECK(len <= sizeof(kept));
	fill(buf, len, seed);
	memcpy(kept, buf, len);
	point(&cmd, buf, len);
	FT_EQUAL(foreign_run(&r->c, &r->io, &cmd), 0);
	memset(buf, 0xee, len);
	cmd = foreign_rw(BH_NVME_CMD_READ, lba, (uint32_t)(len / BLOCK));
	point(&cmd, buf, len);
	FT_EQUAL(foreign_run(&r->c, &r->io, &cmd), 0);
	FT_CHECK(memcmp(buf, kept, len) == 0);
}

/* All ways of pointing at data, at the beginning and at the very end of a memory. */
static void use_memory(struct rig *r, uint8_t *va, size_t bytes)
{
	static const size_t lens[] = { BLOCK, 4096, 8192, 128 * 1024 };

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		if (lens[i] > bytes)
			continue;
		write_and_read(r, va, lens[i], true);
		write_and_read(r, va + bytes - lens[i], lens[i], true);
		if (lens[i] + 4 <= bytes)
			write_and_read(r, va + 4, lens[i], true);
		if (lens[i] > 8192)
			continue;
		write_and_read(r, va, lens[i], false);
		write_and_read(r, va + bytes - lens[i], lens[i], false);
		if (lens[i] <= 4096 && lens[i] + 516 <= bytes)
			write_and_read(r, va + 516, lens[i], false);
	}
}

static void shut_down(struct rig *r)
{
	uint64_t cc = foreign_get(&r->c, BH_PCI_BAR0, BH_NVME_REG_CC, 4);

	foreign_queue_delete(&r->c, &r->admin, &r->io);
	foreign_set(&r->c, BH_PCI_BAR0, BH_NVME_REG_CC,
		    cc | BH_NVME_SET(CC_SHN, BH_NVME_CC_SHN_NORMAL), 4);
	FT_UNTIL(WAIT_MS,
		 BH_NVME_GET(foreign_get(&r->c, BH_PCI_BAR0, BH_NVME_REG_CSTS, 4), CSTS_SHST) ==
			 BH_NVME_CSTS_SHST_COMPLETE,
		 usleep(100));
}

/* ---- one blocking call at a time, version 0.1, no capabilities, all ids 0 ---- */

/* Every region is asked for with room for any answer; what can be mapped is. */
static void attach_blocking(struct rig *r)
{
	struct foreign *c = &r->c;

	foreign_connect(c, r->target.socket[0]);
	foreign_version(c, 1, NULL);
	uint32_t regions = foreign_info(c);
	for (uint32_t i = 0; i < regions; i++) {
		struct vfu_region_info info = foreign_region(c, i, PADDED, PADDED);

		FT_EQUAL(c->nfds, (info.flags & VFU_REGION_FLAG_MMAP) != 0);
		FT_EQUAL(!info.size, !info.flags);
		if (i == BH_PCI_BAR0)
			foreign_map_doorbells(c, &info);
		if (i == BH_PCI_CONFIG)
			FT_CHECK(info.size >= 256 && !(info.flags & VFU_REGION_FLAG_MMAP));
	}
	map_memories(r);
}

/* What pages of 2 MiB look like, and what ordinary files look like that were cut up. */
static void make_memories(struct rig *r)
{
	static const struct {
		size_t bytes, align;
		uint64_t offset;
	} kinds[] = {
		{ 4 * MIB, 2 * MIB, 0 },
		{ 2 * MIB, 2 * MIB, 6 * MIB },
		{ 4096, 4096, 0 },
		{ 8192, 8192, 0x3000 },
		{ 3 * MIB, 4096, 0x1000 },
		{ 0x5000, 4096, 0x7fff000 },
		{ 32 * MIB, 2 * MIB, 2 * MIB },
		{ 4 * MIB, 4 * MIB, 1ul << 40 },
	};

	for (unsigned int i = 0; i < MEMORIES; i++) {
		size_t k = i % (sizeof(kinds) / sizeof(kinds[0]));

		foreign_memory_new(&r->memory[i], kinds[k].bytes, kinds[k].align, kinds[k].offset);
	}
	r->memories = MEMORIES;
}

static void blocking_client(const char *rest)
{
	unsigned int files;
	struct rig r;

	serve(&r, rest);
	files = ft_target_files(&r.target);
	make_memories(&r);
	for (unsigned int times = 0; times < 2; times++) {
		attach_blocking(&r);
		bring_up(&r, -1);
		use_memory(&r, r.data, 4 * MIB - 2ul * FOREIGN_QUEUE_BYTES);
		for (unsigned int i = 1; i < MEMORIES; i++)
			use_memory(&r, r.memory[i].va, r.memory[i].bytes);
		shut_down(&r);
		for (unsigned int i = 0; i < MEMORIES; i++) /* each with its descriptor */
			FT_EQUAL(foreign_dma_unmap(&r.c, &r.memory[i], true), 0);
		foreign_close(&r.c);
	}
	FT_UNTIL(WAIT_MS, ft_target_files(&r.target) == files, usleep(1000));
	ft_target_stop(&r.target);
}

static void a_blocking_client_with_sixteen_memories(void)
{
	blocking_client("ns=ram:64M");
}

static void a_blocking_client_on_other_doorbells(void)
{
	blocking_client("ns=ram:64M,dstrd=5,cmb=1M,queues=4");
}

/* Enabled, with commands in flight and memory mapped: nothing of it is left for the next. */
static void it_leaves_without_a_word(void)
{
	struct bh_nvme_cmd cmd = foreign_rw(BH_NVME_CMD_WRITE, 0, 256);
	unsigned int files;
	struct rig r;

	serve(&r, "ns=ram:64M");
	files = ft_target_files(&r.target);
	one_memory(&r);
	for (unsigned int times = 0; times < 20; times++) {
		attach_blocking(&r);
		FT_EQUAL(foreign_get(&r.c, BH_PCI_CONFIG, 4, 2), 0);
		FT_EQUAL(foreign_get(&r.c, BH_PCI_BAR0, BH_NVME_REG_ASQ, 8), 0);
		bring_up(&r, -1);
		use_memory(&r, r.data, MIB);
		for (unsigned int i = 0; i < 20; i++) {
			foreign_sgl(&cmd, r.data + i * 4096, 256 * BLOCK);
			foreign_submit(&r.c, &r.io, &cmd);
		}
		foreign_close(&r.c);
	}
	FT_UNTIL(WAIT_MS, ft_target_files(&r.target) == files, usleep(1000));
	ft_target_stop(&r.target);
}

/* Pages of 2 MiB are announced one by one, and buffers do not care where they end. */
static void a_data_block_over_two_memories(void)
{
	struct rig r;

	serve(&r, "ns=ram:64M");
	foreign_memory_new(&r.memory[0], 4 * MIB, 2 * MIB, 0);
	foreign_memory_new(&r.memory[1], 2 * MIB, 2 * MIB, 0);
	foreign_memory_behind(&r.memory[2], &r.memory[1]);
	r.memories = 3;
	attach_blocking(&r);
	bring_up(&r, -1);
	uint8_t *seam = r.memory[2].va;
	write_and_read(&r, seam - 64 * 1024, 128 * 1024, true);
	write_and_read(&r, seam - 4096, 8192, true);
	write_and_read(&r, seam - 4096, 8192, false);
	write_and_read(&r, seam - 4, 4096, true);
	write_and_read(&r, seam - 508, BLOCK, true);
	foreign_close(&r.c);
	ft_target_stop(&r.target);
}

/* ---- ids that count, regions asked for twice, interrupts in blocks of sixteen ---- */

static const char *const counting_json =
	"{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1048576,"
	"\"migration\":{\"pgsize\":4096}}}";

static void set_irqs(struct foreign *c, uint32_t flags, uint32_t index, uint32_t start,
		     uint32_t count, const int *fds, unsigned int nfds)
{
	const struct vfu_irq_set set = {
		.argsz = sizeof(set), .flags = flags, .index = index, .start = start, .count = count
	};

	FT_EQUAL(foreign_call(c, VFU_DEVICE_SET_IRQS, &set, sizeof(set), fds, nfds), 0);
	FT_EQUAL(c->len, 0);
}

static struct vfu_irq_info irq_info(struct foreign *c, uint32_t index)
{
	struct vfu_irq_info info = { .argsz = sizeof(info), .index = index };

	FT_EQUAL(foreign_call(c, VFU_DEVICE_GET_IRQ_INFO, &info, sizeof(info), NULL, 0), 0);
	FT_EQUAL(c->len, sizeof(info));
	memcpy(&info, c->body, sizeof(info));
	FT_EQUAL(info.index, index);
	return info;
}

/* First with room for the fixed part only, then, in no longer a body, for what it takes. */
static void ask_twice(struct foreign *c, uint32_t index, bool longer)
{
	struct vfu_region_info info = foreign_region(c, index, sizeof(info), sizeof(info));
	uint32_t argsz = info.argsz;

	FT_EQUAL(c->nfds, 0);
	FT_EQUAL(info.flags & VFU_REGION_FLAG_CAPS, 0);
	if (argsz == sizeof(info))
		return;
	info = foreign_region(c, index, argsz, longer ? argsz : sizeof(info));
	FT_EQUAL(info.argsz, argsz);
	FT_EQUAL(c->len, argsz);
	FT_EQUAL(c->nfds, 1);
	if (index == BH_PCI_BAR0)
		foreign_map_doorbells(c, &info);
}

/* Does it come? */
static void await_irq(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t value;

	FT_EQUAL(poll(&p, 1, WAIT_MS), 1);
	FT_EQUAL(read(fd, &value, sizeof(value)), sizeof(value));
}

static void bind_msix(struct foreign *c, int *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		FT_CHECK(fds[i] >= 0);
	}
	for (uint32_t i = 0; i < count; i += 16) {
		uint32_t n = count - i < 16 ? count - i : 16;

		set_irqs(c, VFU_IRQ_DATA_EVENTFD | VFU_IRQ_ACTION_TRIGGER, BH_PCI_MSIX, i, n,
			 fds + i, n);
	}
}

static void a_counting_client_with_interrupts(void)
{
	int fds[256];
	struct rig r;

	serve(&r, "ns=ram:64M,queues=40");
	one_memory(&r);
	for (unsigned int times = 0; times < 3; times++) {
		struct vfu_device_info info = { .argsz = 32 }; /* counts its header in */

		foreign_connect(&r.c, r.target.socket[0]);
		r.c.counts_ids = true;
		foreign_version(&r.c, 1, counting_json);
		FT_EQUAL(foreign_call(&r.c, VFU_DEVICE_GET_INFO, &info, 16, NULL, 0), 0);
		for (uint32_t i = 0; i < FOREIGN_REGIONS; i++)
			ask_twice(&r.c, i, false);
		FT_EQUAL(foreign_call(&r.c, VFU_DEVICE_RESET, NULL, 0, NULL, 0), 0);
		uint32_t vectors = irq_info(&r.c, BH_PCI_MSIX).count;
		FT_CHECK(vectors > 32 && vectors <= 256);
		bind_msix(&r.c, fds, vectors);
		set_irqs(&r.c, VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_UNMASK, BH_PCI_MSIX, 0, vectors,
			 NULL, 0);
		map_memories(&r);
		bring_up(&r, (int)vectors - 1);
		for (unsigned int i = 0; i < 40; i++) {
			write_and_read(&r, r.data, 4096, i & 1);
			await_irq(fds[vectors - 1]);
		}
		set_irqs(&r.c, VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_TRIGGER, BH_PCI_MSIX, 0, 0, NULL,
			 0);
		FT_EQUAL(foreign_dma_unmap(&r.c, &r.memory[0], false), 0);
		FT_CHECK(shutdown(r.c.sock, SHUT_RDWR) == 0);
		foreign_close(&r.c);
		for (uint32_t i = 0; i < vectors; i++)
			close(fds[i]);
	}
	ft_target_stop(&r.target);
}

/* ---- version 0.2, ids of its own making, a bounded number of descriptors, INTx ---- */

static void a_sample_client_with_a_line(void)
{
	struct rig r;

	serve(&r, "ns=ram:64M");
	one_memory(&r);
	foreign_connect(&r.c, r.target.socket[0]);
	r.c.id = 0xda55;
	foreign_version(&r.c, 2,
			"{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576}}");
	r.c.id = 0xb10c;
	foreign_info(&r.c);
	r.c.id = 0xabcd;
	for (uint32_t i = 0; i < FOREIGN_REGIONS; i++)
		ask_twice(&r.c, i, true);
	r.c.id = 0x1bad;
	for (uint32_t i = 0; i < 5; i++)
		irq_info(&r.c, i);
	FT_EQUAL(irq_info(&r.c, BH_PCI_INTX).count, 1);
	int line = eventfd(0, EFD_CLOEXEC);
	set_irqs(&r.c, VFU_IRQ_DATA_EVENTFD | VFU_IRQ_ACTION_TRIGGER, BH_PCI_INTX, 0, 1, &line, 1);
	map_memories(&r);
	bring_up(&r, 0);
	/* It has the line off when it polls, on from here; completions that lie there count. */
	uint64_t command = foreign_get(&r.c, BH_PCI_CONFIG, 4, 2);
	foreign_set(&r.c, BH_PCI_CONFIG, 4, command & ~0x400u, 2);
	struct bh_nvme_cmd cmd = foreign_rw(BH_NVME_CMD_READ, 0, 8);
	foreign_sgl(&cmd, r.data, 4096);
	foreign_submit(&r.c, &r.io, &cmd);
	await_irq(line);
	foreign_close(&r.c);
	close(line);
	ft_target_stop(&r.target);
}

/* ---- other ways to BAR 0 ---- */

/* Neither doorbells nor registers: every access is a message. */
static void nothing_is_mapped(void)
{
	struct rig r;

	serve(&r, "ns=ram:64M");
	one_memory(&r);
	foreign_connect(&r.c, r.target.socket[0]);
	foreign_version(&r.c, 0, "{\"capabilities\":{\"max_msg_fds\":0}}");
	foreign_info(&r.c);
	struct vfu_region_info info = foreign_region(&r.c, BH_PCI_BAR0, PADDED, PADDED);
	FT_EQUAL(r.c.nfds, 0); /* it could not take one */
	FT_EQUAL(info.flags & VFU_REGION_FLAG_MMAP, 0);
	map_memories(&r);
	bring_up(&r, -1);
	use_memory(&r, r.data, MIB);
	foreign_close(&r.c);
	/* And one that could have. */
	attach_blocking(&r);
	r.c.doorbells = NULL;
	bring_up(&r, -1);
	use_memory(&r, r.data, MIB);
	shut_down(&r);
	foreign_close(&r.c);
	ft_target_stop(&r.target);
}

/* A client that looks at no capability maps all of the BAR; doorbells are where they belong. */
static void all_of_the_bar_is_mapped(void)
{
	struct rig r;

	serve(&r, "ns=ram:64M");
	one_memory(&r);
	foreign_connect(&r.c, r.target.socket[0]);
	foreign_version(&r.c, 1, NULL);
	foreign_info(&r.c);
	struct vfu_region_info info = foreign_region(&r.c, BH_PCI_BAR0, PADDED, PADDED);
	FT_EQUAL(r.c.nfds, 1);
	uint8_t *bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, r.c.fds[0],
			    (off_t)info.offset);
	FT_CHECK(bar != MAP_FAILED);
	r.c.doorbells = bar + BH_NVME_REG_DOORBELLS;
	map_memories(&r);
	bring_up(&r, -1);
	use_memory(&r, r.data, MIB);
	/* It may scribble over what it takes for registers: nobody looks there. */
	memset(bar, 0xff, BH_NVME_REG_DOORBELLS);
	FT_EQUAL(foreign_get(&r.c, BH_PCI_BAR0, BH_NVME_REG_CSTS, 4), BH_NVME_CSTS_RDY);
	use_memory(&r, r.data, MIB);
	munmap(bar, info.size);
	foreign_close(&r.c);
	ft_target_stop(&r.target);
}

/* ---- what goes wrong with them ---- */

/* An error is told in a bare header, the descriptor is not kept, and the client goes on. */
static void a_memory_announced_twice(void)
{
	struct foreign_memory other;
	unsigned int files;
	struct rig r;

	serve(&r, "ns=ram:64M");
	one_memory(&r);
	attach_blocking(&r);
	bring_up(&r, -1);
	foreign_info(&r.c); /* what came before it is over, descriptors included */
	files = ft_target_files(&r.target);
	FT_EQUAL(foreign_dma_map(&r.c, &r.memory[0]), -EEXIST);
	other = r.memory[0];
	other.va += MIB;
	FT_EQUAL(foreign_dma_map(&r.c, &other), -EEXIST);
	FT_EQUAL(foreign_dma_unmap(&r.c, &other, true), -EINVAL);
	foreign_memory_new(&other, MIB, MIB, 0);
	FT_EQUAL(foreign_dma_unmap(&r.c, &other, true), -ENOENT);
	/* Pages that are a file each, announced by the first one's. */
	other.bytes *= 2;
	FT_EQUAL(foreign_dma_map(&r.c, &other), -EINVAL);
	other.bytes /= 2;
	foreign_info(&r.c);
	FT_EQUAL(ft_target_files(&r.target), files);
	use_memory(&r, r.data, MIB);
	/* Taken away and announced again, in between. */
	FT_EQUAL(foreign_dma_map(&r.c, &other), 0);
	use_memory(&r, other.va, other.bytes);
	FT_EQUAL(foreign_dma_unmap(&r.c, &other, true), 0);
	struct bh_nvme_cmd cmd = foreign_rw(BH_NVME_CMD_READ, 0, 8);
	foreign_sgl(&cmd, other.va, 4096);
	FT_CHECK(foreign_run(&r.c, &r.io, &cmd) != 0);
	FT_EQUAL(foreign_dma_map(&r.c, &other), 0);
	use_memory(&r, other.va, other.bytes);
	shut_down(&r);
	foreign_close(&r.c);
	ft_target_stop(&r.target);
}

/* Whatever they say first, as long as it makes sense. */
static void versions_and_capabilities(void)
{
	static const struct {
		uint16_t minor;
		const char *json;
	} said[] = {
		{ 0, NULL },
		{ 0, "{}" },
		{ 1, "{\"capabilities\":{}}" },
		{ 1, counting_json },
		{ 2, "{\"capabilities\":{\"max_msg_fds\":253,\"twin_socket\":{\"supported\":false}}"
		     "}" },
		{ 2, " { \"capabilities\" : { \"max_data_xfer_size\" : 4096 } } " },
		{ 3, "{\"capabilities\":{\"pgsizes\":4096,\"unheard\":{\"of\":[1,2,3]}}}" },
		{ 0, "{\"capabilities\":{\"migration\":{\"pgsize\":4096,"
		     "\"max_bitmap_size\":268435456},\"max_msg_fds\":16,"
		     "\"max_data_xfer_size\":1048576,\"pgsizes\":4096,\"max_dma_maps\":65535,"
		     "\"write_multiple\":true}}" },
		{ 999, "{\"vendor\":\"x\"}" },
	};
	struct rig r;

	serve(&r, "ns=ram:64M");
	one_memory(&r);
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		foreign_connect(&r.c, r.target.socket[0]);
		foreign_version(&r.c, said[i].minor, said[i].json);
		foreign_info(&r.c);
		struct vfu_region_info info = foreign_region(&r.c, 0, PADDED, PADDED);
		foreign_map_doorbells(&r.c, &info);
		map_memories(&r);
		bring_up(&r, -1);
		write_and_read(&r, r.data, 4096, i & 1);
		foreign_close(&r.c);
	}
	ft_target_stop(&r.target);
}

/* Nobody promised that a message is one write. */
static void messages_in_pieces(void)
{
	struct vfu_header header = { .command = VFU_VERSION, .size = 20 };
	const struct vfu_version version = { 0, 1 };
	struct vfu_region_access access = { BH_NVME_REG_VS, BH_PCI_BAR0, 4 };
	uint8_t bytes[20];
	struct rig r;

	serve(&r, "ns=ram:64M");
	foreign_connect(&r.c, r.target.socket[0]);
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), &version, sizeof(version));
	for (size_t i = 0; i < sizeof(bytes); i++) {
		FT_EQUAL(write(r.c.sock, bytes + i, 1), 1);
		usleep(500);
	}
	FT_EQUAL(foreign_recv(&r.c, VFU_VERSION), 0);
	header = (struct vfu_header){ .command = VFU_REGION_READ,
				      .size = sizeof(header) + sizeof(access) };
	FT_EQUAL(write(r.c.sock, &header, sizeof(header)), sizeof(header));
	usleep(2000);
	FT_EQUAL(write(r.c.sock, &access, sizeof(access)), sizeof(access));
	FT_EQUAL(foreign_recv(&r.c, VFU_REGION_READ), 0);
	FT_EQUAL(r.c.len, sizeof(access) + 4);
	foreign_close(&r.c);
	ft_target_stop(&r.target);
}

FT_MAIN({ "a_blocking_client_with_sixteen_memories", a_blocking_client_with_sixteen_memories, 0 },
	{ "a_blocking_client_on_other_doorbells", a_blocking_client_on_other_doorbells, 0 },
	{ "it_leaves_without_a_word", it_leaves_without_a_word, 0 },
	{ "a_data_block_over_two_memories", a_data_block_over_two_memories, 0 },
	{ "a_counting_client_with_interrupts", a_counting_client_with_interrupts, 0 },
	{ "a_sample_client_with_a_line", a_sample_client_with_a_line, 0 },
	{ "nothing_is_mapped", nothing_is_mapped, 0 },
	{ "all_of_the_bar_is_mapped", all_of_the_bar_is_mapped, 0 },
	{ "a_memory_announced_twice", a_memory_announced_twice, 0 },
	{ "versions_and_capabilities", versions_and_capabilities, 0 },
	{ "messages_in_pieces", messages_in_pieces, 0 })

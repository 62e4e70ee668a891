/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host that knows what it does, up to a point: queues anywhere in memory of every kind, commands
 * whose data pointers mean something, shadow doorbells, events, interrupts, a memory buffer of the
 * controller's; and memory, namespaces, queues and the controller's state that change under all of
 * it, while stores answer late.
 *
 * The world is one of four (fuzz.h), and what is peculiar to them in device_late.c.
 *
 * An input is a byte of circumstances and a list of steps of 16 bytes each. Mutations keep to
 * steps: they are changed inside, doubled, moved, dropped and exchanged between inputs.
 *
 * What must hold whatever happens: nothing is written to memory that was mapped for reading only,
 * and nothing to any memory once the client has left, however late the stores answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"

static int event_fd[2];

struct device dv = { .read_only_fd = -1, .cut_fd = -1 };

/* ---- steps ---- */

static void shadows(bool on, uint8_t where)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_DOORBELL_BUFFER_CONFIG };
	uint64_t base = where & 8 ? dv_place(where) : FZ_IOVA;

	cmd.dptr.prp.prp1 = on ? base + SHADOWS % (base == FZ_IOVA ? FZ_BYTES : SIDE_BYTES) : 0;
	cmd.dptr.prp.prp2 = on ? cmd.dptr.prp.prp1 + PAGE : 0;
	memset(fz_mem + SHADOWS, 0, 2 * PAGE);
	for (unsigned int qid = 1; qid <= QUEUES; qid++) {
		memcpy(fz_mem + SHADOWS + 8 * (size_t)qid, &dv.pair[qid].tail, 4);
		memcpy(fz_mem + SHADOWS + 8 * (size_t)qid + 4, &dv.pair[qid].head, 4);
	}
	dv.is_shadowed = on;
	dv_admin(&cmd);
}

static void irqs(const struct step *s)
{
	static const uint32_t data[] = { VFU_IRQ_DATA_EVENTFD, VFU_IRQ_DATA_NONE, VFU_IRQ_DATA_BOOL,
					 VFU_IRQ_DATA_EVENTFD };
	static const uint32_t action[] = { VFU_IRQ_ACTION_TRIGGER, VFU_IRQ_ACTION_MASK,
					   VFU_IRQ_ACTION_UNMASK, VFU_IRQ_ACTION_TRIGGER };
	struct {
		struct vfu_irq_set set;
		uint8_t which[8];
	} body = { .set = {
			   .argsz = sizeof(body.set),
			   .flags = data[s->b & 3] | action[s->b >> 2 & 3],
			   .index = s->a & 3 ? 2 : s->a >> 2 & 7, /* MSI-X, or another */
			   .start = s->c & 3,
			   .count = s->c >> 2 & 3,
		   } };
	int fds[] = { event_fd[0], event_fd[1], s->d & 1 ? dv.cut_fd : event_fd[1] };
	bool has_fds = body.set.flags & VFU_IRQ_DATA_EVENTFD && !(s->b & 0x80);

	memcpy(body.which, &s->e, sizeof(body.which));
	fz_send(VFU_DEVICE_SET_IRQS, 0, &body,
		sizeof(body.set) + (body.set.flags & VFU_IRQ_DATA_BOOL ? body.set.count : 0), fds,
		has_fds ? body.set.count : 0);
	if (s->b & 0x40) { /* rung by the client, to mask and unmask */
		eventfd_write(event_fd[0], 1);
		eventfd_write(event_fd[1], 1);
	}
}

static void write_multi(const struct step *s)
{
	struct {
		uint64_t count;
		struct vfu_write_multi_entry entry[4];
	} body = { .count = 1 + (s->a & 3) };

	for (unsigned int i = 0; i < 4; i++) {
		unsigned int qid = 1 + (s->b + i) % QUEUES;

		body.entry[i] = (struct vfu_write_multi_entry){
			.offset = s->c & 1 ? BH_NVME_REG_DOORBELLS + 8ull * qid
					   : (s->d >> 8 * i & 0xff) * 4ull,
			.region = s->c & 2 ? 7 : 0,
			.count = 4,
		};
		memcpy(&body.entry[i].data, s->c & 1 ? (const void *)&dv.pair[qid].tail : &s->e, 4);
	}
	fz_send(VFU_REGION_WRITE_MULTI, 0, &body,
		sizeof(body.count) + body.count * sizeof(body.entry[0]), NULL, 0);
}

static void detached(void *arg)
{
	(void)arg;
}

static void namespaces(const struct step *s)
{
	uint32_t nsid = 1 + s->a % FZ_NS;
	const struct bh_blk_info *info = bh_blk_info(fz_blk[nsid]);

	if (s->b & 1) {
		/* What lies beside a store has its size. */
		if (fz_here() == FZ_PLAIN && nsid != 1 && nsid != 5)
			bh_blk_resized(fz_blk[nsid],
				       s->d % 2 ? 64 : FZ_STORE_BYTES / info->block_size);
	} else if (bh_target_nvme_ns_detach(fz_target, nsid, detached, NULL) != 0) {
		bh_target_nvme_ns_attach(fz_target, fz_blk[nsid], nsid);
	}
}

/* CC: disabled, enabled, shut down; and what was there is there no more. */
static void control(const struct step *s)
{
	const uint32_t sizes = 6u << 16 | 4u << 20;

	if (s->a & 1)
		fz_write(0, BH_NVME_REG_CC, sizes | (uint32_t)(s->b & 0xc0) << 8 | BH_NVME_CC_EN,
			 4);
	if (s->a & 2) {
		fz_write(0, BH_NVME_REG_CC, sizes | (uint32_t)(s->b & 0xc0) << 8, 4);
		memset(dv.pair, 0, sizeof(dv.pair));
		dv.is_shadowed = false;
	}
	if (s->a & 4) {
		fz_send(VFU_DEVICE_RESET, 0, NULL, 0, NULL, 0);
		memset(dv.pair, 0, sizeof(dv.pair));
		dv.is_shadowed = false;
	}
	fz_pump();
	if (s->a & 8)
		fz_enable_as(BH_NVME_SET(CC_AMS, s->b & BH_NVME_CC_AMS_MASK));
}

static void features(const struct step *s)
{
	struct bh_nvme_cmd cmd = {
		.opc = s->a & 1 ? BH_NVME_ADMIN_SET_FEATURES : BH_NVME_ADMIN_GET_FEATURES,
		.nsid = s->a & 2 ? 1 + (s->a >> 2) % 6 : 0,
		.cdw10 = s->b,
		.cdw11 = s->d,
		.dptr.prp.prp1 = dv_address((uint8_t)s->e, (uint16_t)(s->e >> 8)),
	};

	dv_admin(&cmd);
}

static void other_admin(const struct step *s)
{
	static const uint8_t opcodes[] = { BH_NVME_ADMIN_ASYNC_EVENT, BH_NVME_ADMIN_ABORT,
					   BH_NVME_ADMIN_GET_LOG_PAGE, BH_NVME_ADMIN_IDENTIFY };
	uint64_t data = dv_address((uint8_t)s->e, (uint16_t)(s->e >> 8));
	struct bh_nvme_cmd cmd = { .opc = opcodes[s->a & 3], .nsid = s->b };

	cmd.dptr.prp.prp1 = data;
	cmd.dptr.prp.prp2 = (data & ~(uint64_t)(PAGE - 1)) + PAGE;
	if (cmd.opc == BH_NVME_ADMIN_ABORT) /* one of the last */
		cmd.cdw10 = (uint32_t)(uint16_t)(dv.next_cid - 1 - s->b % 16) << 16 | s->c % 6;
	else if (cmd.opc == BH_NVME_ADMIN_GET_LOG_PAGE)
		cmd.cdw10 = s->b | (uint32_t)s->c << 16 | (s->d & 1) << 15;
	else
		cmd.cdw10 = s->c;
	dv_admin(&cmd);
}

static void cut(const struct step *s)
{
	if (s->a & 1)
		(void)!ftruncate(dv.cut_fd, (off_t)(s->b % 16) * PAGE);
	else
		(void)!fallocate(dv.cut_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				 SIDE_BYTES);
}

static void cmb(const struct step *s)
{
	uint64_t at = s->a & 1 ? AT_CMB : dv_address(s->b, (uint16_t)s->d);

	fz_write(0, BH_NVME_REG_CMBMSC, at | (s->c & 3), s->c & 4 ? 4 : 8);
}

static const int errors[] = { 0, 0, 0, -EIO, -ENOSPC, -EROFS, -ENODATA, -EILSEQ };

static void store(const struct step *s)
{
	unsigned int n = 1 + s->c % 8;

	if (s->a & 1)
		fz_store_habit(s->b);
	while (s->a & 2 && n-- && fz_store_complete(s->b, errors[s->d & 7]))
		continue;
}

static void perform(const struct step *s)
{
	unsigned int qid = 1 + s->a % QUEUES;

	switch (s->what & 0x1f) {
	default: /* many of all steps */
		dv_io(s);
		return;
	case 0:
		fz_pump();
		return;
	case 1:
		dv_reap(qid, s->b & 1);
		return;
	case 2:
		dv_create_pair(s);
		return;
	case 3:
		dv_delete_queue(s);
		return;
	case 4:
		dv_doorbell(2 + s->a % (2 * QUEUES), s->d & 0xff, s->b & 1);
		return;
	case 5:
		shadows(s->a & 1, s->b);
		return;
	case 6:
		irqs(s);
		return;
	case 7:
		write_multi(s);
		return;
	case 8:
		namespaces(s);
		return;
	case 9:
		control(s);
		return;
	case 10:
		features(s);
		return;
	case 11:
		other_admin(s);
		return;
	case 12:
		cut(s);
		return;
	case 13:
		cmb(s);
		return;
	case 14:
		store(s);
		return;
	case 15:
		dv_map_place(s->a);
		return;
	case 16:
		dv_unmap_place(s->a, s->b & 1);
		return;
	case 17:
		fz_behave((enum fz_manners)(s->a % FZ_MANNERS));
		return;
	case 18:
		dv_late(s);
		return;
	case 19:
		dv_manage(s);
		return;
	case 20:
		dv_other(s);
		return;
	}
}

/* ---- an input ---- */

static int memory(uint8_t **at)
{
	int fd = memfd_create("side", MFD_CLOEXEC);
	void *va;

	if (fd < 0 || ftruncate(fd, SIDE_BYTES) != 0)
		fz_failed("no memory");
	va = mmap(NULL, SIDE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (va == MAP_FAILED)
		fz_failed("no memory");
	*at = va;
	return fd;
}

static void begin(uint8_t how)
{
	static const char twin_and_little[] =
		"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":24,"
		"\"twin_socket\":{\"supported\":true}}}";
	static const char *const offers[] = {
		"{\"capabilities\":{\"max_msg_fds\":16,\"write_multiple\":true}}",
		"{\"capabilities\":{\"max_msg_fds\":16,\"twin_socket\":{\"supported\":true}}}",
		"{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":4096}}",
		twin_and_little,
	};
	uint8_t *unused;

	if (dv.read_only_fd < 0) {
		dv.read_only_fd = memory(&dv.read_only);
		dv.cut_fd = memory(&unused);
		munmap(unused, SIDE_BYTES);
		event_fd[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		event_fd[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	memset(dv.pair, 0, sizeof(dv.pair));
	memset(dv.read_only, 0x5a, SIDE_BYTES);
	memset(dv.read_only_was, 0x5a, SIDE_BYTES);
	dv.is_shadowed = false;
	dv.next_list = 0;
	dv.next_cid = 1;
	fz_store_habit(FZ_LATER);
	fz_enter((enum fz_world)(how >> 6));
	fz_connect();
	fz_negotiate_as(offers[how & 3]);
	fz_alias(AT_MESSAGES);
	fz_map(how & 4 ? FZ_MESSAGES : how & 8 ? FZ_FILE_IO : FZ_MAPPED);
	for (uint8_t where = 2; where < 7; where++)
		dv_map_place(where);
	fz_enable();
	for (unsigned int qid = 1; how & 0x10 && qid <= QUEUES; qid++) {
		const struct step s = { .a = (uint8_t)(qid - 1), .b = 14, .c = 8, .d = 1 << 16 };

		dv_create_pair(&s);
	}
}

static void end(bool leaves_first)
{
	static uint8_t was[FZ_BYTES];

	while (!leaves_first && fz_store_complete(0, 0))
		fz_pump();
	fz_disconnect();
	memcpy(was, fz_mem, FZ_BYTES);
	while (fz_store_complete(0, 0))
		fz_pump();
	fz_pump();
	if (memcmp(was, fz_mem, FZ_BYTES) != 0)
		fz_failed("it wrote to the memory of a client that had left");
	if (memcmp(dv.read_only, dv.read_only_was, SIDE_BYTES) != 0)
		fz_failed("it wrote to memory that is only to be read");
	fz_pump();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step s;

	if (size == 0)
		return 0;
	begin(data[0]);
	for (size_t i = 0; i < MAX_STEPS && 1 + (i + 1) * sizeof(s) <= size; i++) {
		memcpy(&s, data + 1 + i * sizeof(s), sizeof(s));
		perform(&s);
		if (!(s.what & 0x20))
			fz_pump();
	}
	fz_pump();
	end(data[0] & 0x20);
	return 0;
}

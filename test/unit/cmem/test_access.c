/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies in every mode and across modes; messages answered at once, late, elsewhere, not well. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/cmem.h>

#include "unit.h"

#define RW (BH_CMEM_PROT_READ | BH_CMEM_PROT_WRITE)

/* ---- a client that answers messages ---- */

enum how { AT_ONCE, LATER, OTHER_THREAD };

struct client {
	enum how how;
	uint8_t *memory; /* of iova 0 */
	int fail_with;	 /* of the message number fail_at, counted from 0 */
	int fail_at;
	int messages;
	uint64_t dirty_bytes;
	/* LATER: the one that waits */
	bh_cmem_done done;
	void *arg;
	int status;
	pthread_t thread[64];
	unsigned threads;
	size_t depth, deepest;
};

static void *answer(void *arg)
{
	struct client *c = arg;
	bh_cmem_done done = c->done;

	c->done = NULL;
	done(c->arg, c->status);
	return NULL;
}

static void client_message(void *ctx, bool write, uint64_t iova, void *buf, size_t len,
			   bh_cmem_done done, void *arg)
{
	struct client *c = ctx;
	int status = c->messages++ == c->fail_at ? c->fail_with : 0;

	if (write && status == 0)
		memcpy(c->memory + iova, buf, len);
	else if (status == 0)
		memcpy(buf, c->memory + iova, len);
	c->done = done;
	c->arg = arg;
	c->status = status;
	if (c->how == AT_ONCE) {
		if (++c->depth > c->deepest)
			c->deepest = c->depth;
		answer(c);
		c->depth--;
	} else if (c->how == OTHER_THREAD) {
		pthread_create(&c->thread[c->threads++], NULL, answer, c);
	}
}

static void client_dirty(void *ctx, uint64_t iova, uint64_t len)
{
	struct client *c = ctx;

	(void)iova;
	c->dirty_bytes += len;
}

static const struct bh_cmem_ops ops = { .message = client_message, .dirty = client_dirty };

/* ---- who waits for a copy ---- */

struct waiter {
	int calls; /* __atomic */
	int status;
};

static void note(void *arg, int status)
{
	struct waiter *w = arg;

	w->status = status;
	__atomic_add_fetch(&w->calls, 1, __ATOMIC_RELEASE);
}

static struct bh_cmem cm;
static struct client client;

static int setup(void)
{
	memset(&client, 0, sizeof(client));
	client.fail_at = -1;
	client.memory = calloc(1, 0x100000);
	if (!client.memory || bh_fault_install() < 0)
		return -1;
	return bh_cmem_init(&cm, &ops, &client, 5000, NULL);
}

static int teardown(void)
{
	bh_cmem_fini(&cm);
	free(client.memory);
	return 0;
}

static int file(size_t len)
{
	int fd = memfd_create("client", MFD_CLOEXEC);

	CU_ASSERT_EQUAL_FATAL(ftruncate(fd, (off_t)len), 0);
	return fd;
}

/* Adds a region and returns another descriptor of its file. */
static int add(uint64_t iova, uint64_t len, uint32_t prot, enum bh_cmem_mode mode)
{
	int fd = mode == BH_CMEM_MESSAGE ? -1 : file((size_t)len + 100);
	int mine = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);

	CU_ASSERT_EQUAL_FATAL(bh_cmem_add(&cm, iova, len, prot, mode, fd, fd < 0 ? 0 : 100), 0);
	return mine;
}

static int get(uint64_t iova, void *buf, size_t len)
{
	struct waiter w = { 0, 1 };

	bh_cmem_read(&cm, iova, buf, len, note, &w);
	CU_ASSERT_EQUAL(w.calls, 1);
	return w.status;
}

static int put(uint64_t iova, const void *buf, size_t len)
{
	struct waiter w = { 0, 1 };

	bh_cmem_write(&cm, iova, buf, len, note, &w);
	CU_ASSERT_EQUAL(w.calls, 1);
	return w.status;
}

static void pattern(uint8_t *buf, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(seed + i * 7 + (i >> 8) * 13);
}

static uint8_t out[0x40000], in[0x40000];

static void each_mode_reads_what_was_written(void)
{
	for (int mode = BH_CMEM_MAPPED; mode <= BH_CMEM_MESSAGE; mode++) {
		int fd = add(0x1000, 0x8000, RW, mode);

		client.dirty_bytes = 0;
		pattern(out, 0x8000, (unsigned)mode);
		CU_ASSERT_EQUAL(put(0x1000, out, 0x8000), 0);
		CU_ASSERT_EQUAL(client.dirty_bytes, 0x8000);
		CU_ASSERT_EQUAL(get(0x1000, in, 0x8000), 0);
		CU_ASSERT_EQUAL(memcmp(in, out, 0x8000), 0);
		CU_ASSERT_EQUAL(get(0x8fff, in, 1), 0);
		CU_ASSERT_EQUAL(in[0], out[0x7fff]);
		CU_ASSERT_EQUAL(client.dirty_bytes, 0x8000);
		if (fd >= 0) { /* at the right place of the file */
			CU_ASSERT_EQUAL(pread(fd, in, 0x8000, 100), 0x8000);
			CU_ASSERT_EQUAL(memcmp(in, out, 0x8000), 0);
			close(fd);
		} else {
			CU_ASSERT_EQUAL(memcmp(client.memory + 0x1000, out, 0x8000), 0);
		}
		bh_cmem_del(&cm, 0, 0);
	}
}

static void bad_ranges_have_no_effect(void)
{
	close(add(0x1000, 0x1000, RW, BH_CMEM_MAPPED));
	close(add(0x2000, 0x1000, BH_CMEM_PROT_READ, BH_CMEM_FILE));
	add(0x3000, 0x1000, BH_CMEM_PROT_WRITE, BH_CMEM_MESSAGE);
	close(add(UINT64_MAX - 0xfff, 0x1000, RW, BH_CMEM_MAPPED));
	close(add(0, 0x800, RW, BH_CMEM_MAPPED));
	pattern(out, 0x4000, 1);
	CU_ASSERT_EQUAL(put(0x1000, out, 0), 0);
	CU_ASSERT_EQUAL(put(0x7777777, out, 0), 0);
	CU_ASSERT_EQUAL(get(0x800, in, 1), -EFAULT);
	CU_ASSERT_EQUAL(get(0x3000, in, 1), -EPERM);
	CU_ASSERT_EQUAL(get(0x1000, in, 0x3000), -EPERM);
	CU_ASSERT_EQUAL(put(0x1000, out, 0x2000), -EPERM);
	CU_ASSERT_EQUAL(put(0x3000, out, 0x1001), -EFAULT);
	CU_ASSERT_EQUAL(put(UINT64_MAX - 0xfff, out, 0x1001), -EFAULT); /* does not go on at 0 */
	CU_ASSERT_EQUAL(put(UINT64_MAX, out, 2), -EFAULT);
	CU_ASSERT_EQUAL(client.messages, 0);
	CU_ASSERT_EQUAL(client.dirty_bytes, 0);
	CU_ASSERT_EQUAL(get(0x1000, in, 0x1000), 0);
	CU_ASSERT_EQUAL(in[1], 0);
	CU_ASSERT_EQUAL(put(UINT64_MAX - 0xfff, out, 0x1000), 0);
	CU_ASSERT_EQUAL(get(UINT64_MAX, in, 1), 0);
	CU_ASSERT_EQUAL(in[0], out[0xfff]);
}

/* mapped, message, file, message, message, mapped: 0x1000 each from 0x1000 */
static void add_mixed(void)
{
	static const enum bh_cmem_mode modes[] = {
		BH_CMEM_MAPPED,	 BH_CMEM_MESSAGE, BH_CMEM_FILE,
		BH_CMEM_MESSAGE, BH_CMEM_MESSAGE, BH_CMEM_MAPPED
	};

	for (uint64_t i = 0; i < 6; i++) {
		int fd = add(0x1000 + i * 0x1000, 0x1000, RW, modes[i]);

		if (fd >= 0)
			close(fd);
	}
}

static void copies_cross_adjacent_regions(void)
{
	add_mixed();
	pattern(out, 0x6000, 3);
	CU_ASSERT_EQUAL(put(0x1000, out, 0x6000), 0);
	CU_ASSERT_EQUAL(client.messages, 3);
	CU_ASSERT_EQUAL(client.dirty_bytes, 0x6000);
	CU_ASSERT_EQUAL(get(0x1000, in, 0x6000), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, 0x6000), 0);
	CU_ASSERT_EQUAL(get(0x1ffe, in, 0x2004), 0);
	CU_ASSERT_EQUAL(memcmp(in, out + 0xffe, 0x2004), 0);
}

static void late_answers_go_on_where_they_stopped(void)
{
	struct waiter w = { 0, 1 };

	add_mixed();
	client.how = LATER;
	pattern(out, 0x6000, 4);
	bh_cmem_write(&cm, 0x1000, out, 0x6000, note, &w);
	for (int i = 1; i <= 3; i++) {
		CU_ASSERT_EQUAL(w.calls, 0);
		CU_ASSERT_EQUAL(client.messages, i);
		answer(&client);
	}
	CU_ASSERT_EQUAL(w.calls, 1);
	CU_ASSERT_EQUAL(w.status, 0);
	client.how = AT_ONCE;
	CU_ASSERT_EQUAL(get(0x1000, in, 0x6000), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, 0x6000), 0);
}

static void answers_of_another_thread(void)
{
	struct waiter w = { 0, 1 };

	add_mixed();
	client.how = OTHER_THREAD;
	pattern(out, 0x6000, 5);
	bh_cmem_write(&cm, 0x1000, out, 0x6000, note, &w);
	while (!__atomic_load_n(&w.calls, __ATOMIC_ACQUIRE))
		usleep(100);
	CU_ASSERT_EQUAL(w.status, 0);
	CU_ASSERT_EQUAL(client.threads, 3);
	for (unsigned i = 0; i < client.threads; i++)
		pthread_join(client.thread[i], NULL);
	client.how = AT_ONCE;
	CU_ASSERT_EQUAL(get(0x1000, in, 0x6000), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, 0x6000), 0);
}

static void a_failed_message_ends_the_copy(void)
{
	add_mixed();
	client.fail_at = 1;
	client.fail_with = -EIO;
	CU_ASSERT_EQUAL(get(0x1000, in, 0x6000), -EIO);
	CU_ASSERT_EQUAL(client.messages, 2);
	client.fail_at = 2;
	client.fail_with = -ENODEV;
	CU_ASSERT_EQUAL(put(0x2000, out, 0x1000), -ENODEV);
}

static void a_region_that_goes_while_a_message_is_out_is_efault(void)
{
	struct waiter w = { 0, 1 };

	add_mixed();
	client.how = LATER;
	bh_cmem_read(&cm, 0x2000, in, 0x2000, note, &w);
	CU_ASSERT_EQUAL(w.calls, 0);
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0, 0), 0);
	answer(&client);
	CU_ASSERT_EQUAL(w.calls, 1);
	CU_ASSERT_EQUAL(w.status, -EFAULT);
}

static void without_messages_it_is_enodev(void)
{
	static const struct bh_cmem_ops mute = { .dirty = client_dirty };
	static const struct bh_cmem_ops *const tables[] = { NULL, &mute };

	for (int i = 0; i < 2; i++) {
		bh_cmem_fini(&cm);
		CU_ASSERT_EQUAL_FATAL(bh_cmem_init(&cm, tables[i], &client, 16, NULL), 0);
		add_mixed();
		pattern(out, 0x2000, 1);
		CU_ASSERT_EQUAL(get(0x2000, in, 1), -ENODEV);
		CU_ASSERT_EQUAL(put(0x1000, out, 0x2000), -ENODEV);
		CU_ASSERT_EQUAL(get(0x1000, in, 0x1000), 0);
		CU_ASSERT_EQUAL(in[1], 0); /* nothing was written */
		CU_ASSERT_EQUAL(put(0x1000, out, 0x1000), 0);
	}
}

static void many_segments_do_not_deepen_the_stack(void)
{
	for (uint64_t i = 0; i < 4096; i++)
		CU_ASSERT_EQUAL(bh_cmem_add(&cm, i * 16, 16, RW, BH_CMEM_MESSAGE, -1, 0), 0);
	pattern(out, 65536, 9);
	CU_ASSERT_EQUAL(put(0, out, 65536), 0);
	CU_ASSERT_EQUAL(client.messages, 4096);
	CU_ASSERT_EQUAL(client.deepest, 1);
	CU_ASSERT_EQUAL(memcmp(client.memory, out, 65536), 0);
}

static void store_reports_what_it_wrote(void)
{
	struct bh_cmem_cache cache = { 0 };

	close(add(0x1000, 0x1000, RW, BH_CMEM_MAPPED));
	uint8_t *p = bh_cmem_ptr(&cm, &cache, 0x1100, 16, BH_CMEM_PROT_WRITE);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	bh_cmem_store(&cm, 0x1100, p, "0123456789abcdef", 16);
	CU_ASSERT_EQUAL(client.dirty_bytes, 16);
	bh_cmem_dirty(&cm, 0x1100, 100);
	CU_ASSERT_EQUAL(client.dirty_bytes, 116);
	CU_ASSERT_EQUAL(get(0x1100, in, 16), 0);
	CU_ASSERT_EQUAL(memcmp(in, "0123456789abcdef", 16), 0);
}

/* ---- what a client can do to its own memory ---- */

static void a_cut_mapping_reads_zeros_and_is_failed(void)
{
	struct bh_cmem_cache cache = { 0 };
	int fd = add(0x100000, 0x10000, RW, BH_CMEM_MAPPED),
	    other = add(0x1000, 0x1000, RW, BH_CMEM_MAPPED);
	uint8_t *p = bh_cmem_ptr(&cm, &cache, 0x100000, 0x10000, RW);

	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	memset(p, 0x5a, 0x10000);
	CU_ASSERT_EQUAL(bh_cmem_faults(&cm), 0);
	CU_ASSERT_EQUAL(ftruncate(fd, 0), 0);
	CU_ASSERT_EQUAL(p[0x8000], 0); /* would be SIGBUS */
	p[0x8000] = 1;
	CU_ASSERT_EQUAL(bh_cmem_faults(&cm), 1);
	CU_ASSERT_TRUE(bh_cmem_failed(&cm, 0x100000, 1));
	CU_ASSERT_FALSE(bh_cmem_failed(&cm, 0x1000, 0x1000));
	CU_ASSERT_TRUE(bh_cmem_failed(&cm, 0x1000, 0x1001));
	CU_ASSERT_EQUAL(get(0x100000, in, 16), -EFAULT);
	CU_ASSERT_EQUAL(put(0x100000, in, 16), -EFAULT);
	CU_ASSERT_EQUAL(get(0x1000, in, 16), 0);
	memset(&cache, 0, sizeof(cache));
	CU_ASSERT_PTR_NULL(bh_cmem_ptr(&cm, &cache, 0x100000, 16, RW));
	CU_ASSERT_EQUAL(bh_cmem_del(&cm, 0x100000, 0x10000), 0);
	close(fd);
	close(other);
}

static void a_cut_in_the_middle_of_a_copy_is_efault(void)
{
	int fd = add(0x100000, 0x20000, RW, BH_CMEM_MAPPED);

	CU_ASSERT_EQUAL(ftruncate(fd, 0x10000), 0);
	pattern(out, 0x20000, 1);
	CU_ASSERT_EQUAL(get(0x100000, in, 0x8000), 0); /* what is left is still good */
	CU_ASSERT_EQUAL(bh_cmem_faults(&cm), 0);
	CU_ASSERT_EQUAL(put(0x100000, out, 0x20000), -EFAULT);
	CU_ASSERT_EQUAL(bh_cmem_faults(&cm), 1);
	close(fd);
}

static void punched_pages_read_zeros_without_a_fault(void)
{
	struct bh_cmem_cache cache = { 0 };
	int fd = add(0x100000, 0x20000, RW, BH_CMEM_MAPPED);
	uint8_t *p = bh_cmem_ptr(&cm, &cache, 0x100000, 0x20000, RW);

	memset(p, 0x5a, 0x20000);
	CU_ASSERT_EQUAL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 0x10000), 0);
	CU_ASSERT_EQUAL(p[0x4000], 0);
	CU_ASSERT_EQUAL(p[0x18000], 0x5a);
	p[0x4000] = 1;
	CU_ASSERT_EQUAL(bh_cmem_faults(&cm), 0);
	CU_ASSERT_FALSE(bh_cmem_failed(&cm, 0x100000, 0x20000));
	close(fd);
}

static void a_cut_file_is_efault_and_not_lengthened(void)
{
	int fd = add(0x100000, 0x4000, RW, BH_CMEM_FILE);

	CU_ASSERT_EQUAL(ftruncate(fd, 0x2000), 0);
	CU_ASSERT_EQUAL(get(0x100000, in, 0x4000), -EFAULT);
	CU_ASSERT_EQUAL(get(0x102000, in, 0x1000), -EFAULT);
	CU_ASSERT_EQUAL(put(0x100000, out, 0x4000), -EFAULT);
	CU_ASSERT_EQUAL(get(0x100000, in, 0x1000), 0);
	CU_ASSERT_EQUAL(put(0x100000, out, 0x1000), 0);
	CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_END), 0x2000);
	CU_ASSERT_EQUAL(bh_cmem_faults(&cm), 0);
	close(fd);
}

BH_SUITE_FIXTURE(
	"access", setup, teardown,
	{ "each_mode_reads_what_was_written", each_mode_reads_what_was_written },
	{ "bad_ranges_have_no_effect", bad_ranges_have_no_effect },
	{ "copies_cross_adjacent_regions", copies_cross_adjacent_regions },
	{ "late_answers_go_on_where_they_stopped", late_answers_go_on_where_they_stopped },
	{ "answers_of_another_thread", answers_of_another_thread },
	{ "a_failed_message_ends_the_copy", a_failed_message_ends_the_copy },
	{ "a_region_that_goes_while_a_message_is_out_is_efault",
	  a_region_that_goes_while_a_message_is_out_is_efault },
	{ "without_messages_it_is_enodev", without_messages_it_is_enodev },
	{ "many_segments_do_not_deepen_the_stack", many_segments_do_not_deepen_the_stack },
	{ "store_reports_what_it_wrote", store_reports_what_it_wrote },
	{ "a_cut_mapping_reads_zeros_and_is_failed", a_cut_mapping_reads_zeros_and_is_failed },
	{ "a_cut_in_the_middle_of_a_copy_is_efault", a_cut_in_the_middle_of_a_copy_is_efault },
	{ "punched_pages_read_zeros_without_a_fault", punched_pages_read_zeros_without_a_fault },
	{ "a_cut_file_is_efault_and_not_lengthened", a_cut_file_is_efault_and_not_lengthened }, )

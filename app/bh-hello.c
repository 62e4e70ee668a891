/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first example to read: saves the last block of a namespace, writes to it, reads it back,
 * compares, restores. Memory, device, controller, queue, commands: all of an application, once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bellhop/bellhop.h>
#include <bellhop/nvme.h>

static int said; /* a library has told the user what went wrong */
static void say(void *ctx, enum bh_log_level level, const char *component, const char *line)
{
	*(int *)ctx |= level == BH_LOG_ERROR;
	fprintf(stderr, "bh-hello: %s: %s\n", component, line);
}
static struct bh_log log_to_stderr = { .write = say, .ctx = &said, .level = BH_LOG_WARN };

/* A completion callback, run by bh_nvme_queue_poll(). Stores the status where the waiter looks. */
static void done(void *arg, const struct bh_nvme_cpl *cpl)
{
	*(int *)arg = bh_nvme_cpl_status(cpl);
}

/* One block: submits, polls until the callback has run. Nonzero: failed, and said why. */
static int transfer(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, int write, void *buf,
		    uint64_t lba)
{
	int status = -1;
	int error = write ? bh_nvme_write(q, ns, buf, lba, 1, BH_NVME_FUA, done, &status)
			  : bh_nvme_read(q, ns, buf, lba, 1, 0, done, &status);

	while (!error && status < 0)
		error = bh_nvme_queue_poll(q, 0) < 0 && status < 0 ? -ENODEV : 0;
	if (error || status != BH_NVME_SC_SUCCESS)
		fprintf(stderr, "bh-hello: %s of block %llu: %s\n", write ? "write" : "read",
			(unsigned long long)lba,
			error ? strerror(-error) : bh_nvme_status_str((uint16_t)status));
	return error || status != BH_NVME_SC_SUCCESS;
}

static int hello(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, struct bh_pool *pool)
{
	struct bh_nvme_format format;
	size_t size = bh_nvme_ns_block_size(ns); /* with metadata, if that is interleaved */
	uint64_t lba = bh_nvme_ns_blocks(ns) - 1;
	char *saved = bh_pool_zalloc(pool, 3 * size, 4096); /* where the controller reaches it */
	char *pattern = saved + size, *back = pattern + size;

	bh_nvme_ns_format(ns, &format);
	if (!format.plain)
		return fprintf(stderr, "bh-hello: metadata apart from its data: see bh-perf\n");
	if (!saved || transfer(q, ns, 0, saved, lba))
		return 1;
	for (size_t i = 0; i < size; i++)
		pattern[i] = "Hello from Bellhop! "[i % 20];
	int failed = transfer(q, ns, 1, pattern, lba) || transfer(q, ns, 0, back, lba);
	if (!failed && memcmp(pattern, back, format.data_bytes) != 0)
		failed = fprintf(stderr, "bh-hello: the block differs from what was written\n");
	if (transfer(q, ns, 1, saved, lba) || failed)
		return 1;
	return printf("namespace %u: wrote, read back and compared block %llu (%zu bytes)\n",
		      bh_nvme_ns_id(ns), (unsigned long long)lba, size) < 0;
}

int main(int argc, char **argv)
{
	struct bh_pool_opts pool_opts; /* options have an init function: set what differs */
	struct bh_device_opts dev_opts;
	struct bh_address address;
	struct bh_pool *pool = NULL;
	struct bh_dma_space *space = NULL;
	struct bh_device *dev = NULL;
	struct bh_nvme *nvme = NULL;
	struct bh_nvme_queue *q = NULL;
	struct bh_nvme_ns *ns = NULL;
	const char *text = argv[argc - 1], *why = NULL;

	if (argc == 2 && strcmp(text, "--version") == 0)
		return printf("bh-hello %s\n", bh_version()) < 0;
	if (argc == 2 && strcmp(text, "--help") == 0)
		return puts("usage: bh-hello [-v] ADDRESS\nexample: bh-hello /tmp/nvme0.sock") < 0;
	if (argc == 3 && strcmp(argv[1], "-v") == 0)
		log_to_stderr.level = BH_LOG_INFO;
	if (argc - (log_to_stderr.level == BH_LOG_INFO) != 2 || text[0] == '-') {
		fprintf(stderr, "bh-hello: expected one ADDRESS (see bh-hello --help)\n");
		return 2;
	}
	bh_pool_opts_init(&pool_opts); /* what the device may reach: queues and buffers live here */
	pool_opts.bytes = 8 << 20;
	bh_device_opts_init(&dev_opts);
	dev_opts.log = &log_to_stderr;

	int error = bh_address_parse(text, &address, &why);
	error = error ? error : bh_pool_create(&pool_opts, &pool);
	error = error ? error : bh_dma_space_create(&log_to_stderr, &space);
	error = error ? error : bh_dma_space_add(space, pool);
	dev_opts.space = space;
	error = error ? error : bh_open(text, &dev_opts, &dev);
	error = error ? error : bh_nvme_attach(dev, NULL, &nvme);
	error = error ? error : bh_nvme_queue_create(nvme, NULL, &q);
	if (!error)
		ns = address.nsid ? bh_nvme_ns_get(nvme, address.nsid) : bh_nvme_ns_first(nvme);
	if (ns && bh_nvme_ns_csi(ns) != BH_NVME_CSI_NVM)
		ns = NULL, why = "not of plain blocks (zoned: no block is written in place)";
	why = why ? why : error ? strerror(-error) : "no such namespace";
	if ((error || !ns) && !said)
		fprintf(stderr, "bh-hello: '%s': %s\n", text, why);
	int failed = error || !ns || hello(q, ns, pool);

	bh_nvme_queue_destroy(q); /* in the reverse order; each accepts NULL */
	bh_nvme_detach(nvme);
	bh_device_close(dev);
	bh_dma_space_destroy(space);
	bh_pool_destroy(pool);
	return failed;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-copy: the ceiling of a RAM disk. One pinned thread copies blocks between random places of a
 * large shared memory and a ring of buffers, as many as a queue has requests, and does nothing else.
 *
 * The memory is what a store's is: a memfd, populated. It asks for transparent hugepages, which a
 * store in hugepages has anyway. Reads copy out of it, writes into it.
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bellhop/bellhop.h>
#include <bellhop/clock.h>
#include <bellhop/parse.h>

#define MAX_SIZES 8
#define CHECK_EVERY 64 /* copies between looks at the clock, at 4 KiB */

struct options {
	uint64_t size[MAX_SIZES];
	unsigned int num_sizes;
	uint64_t disk, run_ns;
	unsigned int depth;
	int cpu; /* -1: wherever */
	bool write, json;
};

static const char help[] =
	"usage: bench-copy [-o BYTES,...] [-m DISK] [-q DEPTH] [-t SECONDS] [-c CPU] [--write] "
	"[--json]\n"
	"\n"
	"Copies blocks between random places of a RAM disk and a ring of buffers: the ceiling of "
	"RAM "
	"stores.\n"
	"\n"
	"  -o BYTES,...  of a block (default 512,4K,128K)\n"
	"  -m DISK       bytes of the disk (default 256M)\n"
	"  -q DEPTH      buffers (default 128)\n"
	"  -t SECONDS    per size (default 1; 0.2 is allowed)\n"
	"  -c CPU        run there\n"
	"  --write       into the disk instead of out of it\n"
	"  --json        one object instead of text\n"
	"  --help, --version\n"
	"\n"
	"example: bench-copy -o 4K -c 0\n";

enum {
	OPT_HELP = 256,
	OPT_VERSION,
	OPT_WRITE,
	OPT_JSON,
};

static const struct option long_options[] = {
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "write", no_argument, NULL, OPT_WRITE },
	{ "json", no_argument, NULL, OPT_JSON },
	{ NULL, 0, NULL, 0 },
};

static int usage(const char *what, const char *value)
{
	fprintf(stderr, "bench-copy: %s%s (see bench-copy --help)\n", what, value);
	return 2;
}

static int parse_sizes(char *text, struct options *opts)
{
	char *rest = NULL;

	opts->num_sizes = 0;
	for (char *item = strtok_r(text, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
		if (opts->num_sizes == MAX_SIZES ||
		    bh_parse_size(item, &opts->size[opts->num_sizes]) != 0 ||
		    opts->size[opts->num_sizes] < 64 || opts->size[opts->num_sizes] > 16u << 20)
			return -EINVAL;
		opts->num_sizes++;
	}
	return opts->num_sizes ? 0 : -EINVAL;
}

static int take_option(int c, char **argv, struct options *opts)
{
	uint64_t value = 0;

	switch (c) {
	case 'o':
		if (parse_sizes(optarg, opts) != 0)
			return usage("-o: expected up to 8 sizes from 64 to 16M", "");
		return -1;
	case 'm':
		if (bh_parse_size(optarg, &opts->disk) != 0 || opts->disk < 32u << 20)
			return usage("-m: expected a size of 32M or more, not ", optarg);
		return -1;
	case 'q':
		if (bh_parse_u64(optarg, 1, 4096, &value) != 0)
			return usage("-q: expected a number from 1 to 4096, not ", optarg);
		opts->depth = (unsigned int)value;
		return -1;
	case 't':
		if (bh_parse_seconds(optarg, &opts->run_ns) != 0 || opts->run_ns < 1000000)
			return usage("-t: expected seconds from 0.001, not ", optarg);
		return -1;
	case 'c':
		if (bh_parse_u64(optarg, 0, BH_CPU_MAX - 1, &value) != 0)
			return usage("-c: expected a CPU, not ", optarg);
		opts->cpu = (int)value;
		return -1;
	case OPT_WRITE:
		opts->write = true;
		return -1;
	case OPT_JSON:
		opts->json = true;
		return -1;
	case OPT_HELP:
		return fputs(help, stdout) < 0;
	case OPT_VERSION:
		return printf("bench-copy %s\n", bh_version()) < 0;
	case ':':
		return usage("the value is missing of ", argv[optind - 1]);
	default:
		return usage("unknown option ", argv[optind - 1]);
	}
}

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? errno : 0;
}

static uint8_t *memory(size_t bytes)
{
	int fd = memfd_create("bench-copy", MFD_CLOEXEC);
	uint8_t *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0)
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED)
		return NULL;
	madvise(p, bytes, MADV_HUGEPAGE); /* where there are none it stays as it is */
	memset(p, 1, bytes);
	return p;
}

/* Copies per second. */
static double measure(const struct options *opts, uint8_t *disk, uint8_t *buffers, size_t size)
{
	uint64_t blocks = opts->disk / size, random = 1, count = 0;
	uint64_t begin = bh_now_ns(), end = begin + opts->run_ns, now = begin;
	unsigned int buffer = 0, every = (unsigned int)(CHECK_EVERY * 4096 / size) + 1;

	while (now < end) {
		for (unsigned int i = 0; i < every; i++) {
			uint8_t *buf = buffers + buffer * size, *at;

			random = random * 6364136223846793005ull + 1;
			at = disk + (uint64_t)(((unsigned __int128)random * blocks) >> 64) * size;
			if (opts->write)
				memcpy(at, buf, size);
			else
				memcpy(buf, at, size);
			__asm__ volatile("" : : "r"(at), "r"(buf) : "memory");
			buffer = buffer + 1 == opts->depth ? 0 : buffer + 1;
		}
		count += every;
		now = bh_now_ns();
	}
	return (double)count * 1e9 / (double)(now - begin);
}

static int run(const struct options *opts)
{
	size_t largest = 0;

	for (unsigned int i = 0; i < opts->num_sizes; i++)
		largest = opts->size[i] > largest ? opts->size[i] : largest;
	uint8_t *disk = memory(opts->disk), *buffers = memory(largest * opts->depth);
	if (!disk || !buffers) {
		fputs("bench-copy: out of memory\n", stderr);
		return 1;
	}
	printf(opts->json ? "{\"schema\":1,\"write\":%s,\"runs\":[" : "write: %s\n",
	       opts->write ? "true" : "false");
	for (unsigned int i = 0; i < opts->num_sizes; i++) {
		double rate = measure(opts, disk, buffers, opts->size[i]);

		if (opts->json)
			printf("%s{\"bytes\":%llu,\"copies_per_s\":%.0f}", i ? "," : "",
			       (unsigned long long)opts->size[i], rate);
		else
			printf("%8llu bytes %12.0f copies/s %10.1f MiB/s\n",
			       (unsigned long long)opts->size[i], rate,
			       rate * (double)opts->size[i] / (1 << 20));
	}
	if (opts->json)
		puts("]}");
	return fflush(stdout) != 0;
}

int main(int argc, char **argv)
{
	struct options opts = { .size = { 512, 4096, 131072 },
				.num_sizes = 3,
				.disk = 256u << 20,
				.run_ns = 1000000000,
				.depth = 128,
				.cpu = -1 };
	int c, code;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:m:q:t:c:", long_options, NULL)) != -1) {
		code = take_option(c, argv, &opts);
		if (code >= 0)
			return code;
	}
	if (optind != argc)
		return usage("unexpected word ", argv[optind]);
	code = opts.cpu >= 0 ? pin(opts.cpu) : 0;
	if (code) {
		fprintf(stderr, "bench-copy: -c %d: %s\n", opts.cpu, strerror(code));
		return 1;
	}
	return run(&opts);
}

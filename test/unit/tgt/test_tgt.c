/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores and controllers by name, before and after the reactors run: who may have which name, who
 * holds whom, and that a refusal leaves nothing behind.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <bellhop/tgt.h>

#include "unit.h"

static char dir[64];
static char why[BH_TGT_WHY];

static int make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/bh-tgt-XXXXXX");
	return mkdtemp(dir) ? 0 : 1;
}

/* Every case removes what it made: what is left is a failure. */
static int remove_dir(void)
{
	return rmdir(dir);
}

static struct bh_tgt *create(bool start)
{
	struct bh_tgt_opts opts;
	struct bh_tgt *tgt = NULL;

	bh_tgt_opts_init(&opts);
	CU_ASSERT_EQUAL_FATAL(bh_tgt_create(&opts, &tgt), 0);
	if (start)
		CU_ASSERT_EQUAL_FATAL(bh_tgt_start(tgt), 0);
	return tgt;
}

/* Carries out a SPEC in which a %s, if there is one, is the directory. */
static int __attribute__((format(printf, 2, 0))) apply(struct bh_tgt *tgt, const char *fmt)
{
	struct bh_tgt_spec spec;
	char word[512];

	snprintf(word, sizeof(word), fmt, dir);
	int error = bh_tgt_spec_parse(word, &spec, why);
	CU_ASSERT_EQUAL_FATAL(error, 0);
	error = bh_tgt_apply(tgt, &spec, why);
	bh_tgt_spec_fini(&spec);
	return error;
}

static const char *in_dir(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static bool is_socket(const char *name)
{
	struct stat st;

	return lstat(in_dir(name), &st) == 0 && S_ISSOCK(st.st_mode);
}

static void stores_have_names_of_their_own(void)
{
	struct bh_tgt *tgt = create(false);

	CU_ASSERT_EQUAL(apply(tgt, "store:a=null:1M"), 0);
	CU_ASSERT_EQUAL(apply(tgt, "store:a=null:2M"), -EEXIST);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "'a'"));
	CU_ASSERT_EQUAL(apply(tgt, "store:b=ram:1M"), 0);
	CU_ASSERT_EQUAL(bh_tgt_store_destroy(tgt, "a"), 0);
	CU_ASSERT_EQUAL(bh_tgt_store_destroy(tgt, "a"), -ENOENT);
	CU_ASSERT_EQUAL(apply(tgt, "store:a=null:2M"), 0);
	bh_tgt_destroy(tgt);
}

static void types_are_told_apart(void)
{
	struct bh_tgt *tgt = create(false);

	CU_ASSERT_EQUAL(apply(tgt, "store:a=disk:1M"), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "unknown store type 'disk'"));
	CU_ASSERT_EQUAL(apply(tgt, "store:a=file:/nowhere"), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "/nowhere: no such file"));
	CU_ASSERT_EQUAL(apply(tgt, "store:a=nvme:01:00.0"), -ENOTSUP);
	CU_ASSERT_EQUAL(apply(tgt, "store:a=rbd:p/i"), -ENOTSUP);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "'rbd'"));
	CU_ASSERT_EQUAL(apply(tgt, "store:a=nbd://h/e"), -ENOTSUP);
	CU_ASSERT_EQUAL(apply(tgt, "store:a=null:1000"), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "multiple"));
	/* None of them took the name. */
	CU_ASSERT_EQUAL(apply(tgt, "store:a=null:1M"), 0);
	bh_tgt_destroy(tgt);
}

static void types_can_be_left_out(void)
{
	static const struct bh_blk_type *const only_null[] = { &bh_blk_null_type, NULL };
	struct bh_tgt_opts opts;
	struct bh_tgt *tgt = NULL;

	bh_tgt_opts_init(&opts);
	opts.store_types = only_null;
	CU_ASSERT_EQUAL_FATAL(bh_tgt_create(&opts, &tgt), 0);
	CU_ASSERT_EQUAL(apply(tgt, "store:a=ram:1M"), -ENOTSUP);
	CU_ASSERT_EQUAL(apply(tgt, "store:a=null:1M"), 0);
	bh_tgt_destroy(tgt);
}

/* A controller holds the store it uses, until it goes. */
static void used_store_is_ebusy(bool start)
{
	struct bh_tgt *tgt = create(start);

	CU_ASSERT_EQUAL(apply(tgt, "store:a=ram:1M"), 0);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n0,ns=@a"), 0);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n1,ns=@a:nsid=5"), 0);
	CU_ASSERT(is_socket("n0"));
	CU_ASSERT_EQUAL(bh_tgt_store_destroy(tgt, "a"), -EBUSY);
	CU_ASSERT_EQUAL(bh_tgt_controller_destroy(tgt, in_dir("n0")), 0);
	CU_ASSERT(!is_socket("n0") && is_socket("n1"));
	CU_ASSERT_EQUAL(bh_tgt_store_destroy(tgt, "a"), -EBUSY);
	CU_ASSERT_EQUAL(bh_tgt_controller_destroy(tgt, in_dir("n1")), 0);
	CU_ASSERT_EQUAL(bh_tgt_controller_destroy(tgt, in_dir("n1")), -ENOENT);
	CU_ASSERT_EQUAL(bh_tgt_store_destroy(tgt, "a"), 0);
	bh_tgt_destroy(tgt);
}

static void used_store_is_ebusy_before_start(void)
{
	used_store_is_ebusy(false);
}

static void used_store_is_ebusy_after_start(void)
{
	used_store_is_ebusy(true);
}

/* Each refusal names its reason, leaves no socket, and lets go of the shared store. */
static void refused_controllers_leave_nothing(bool start)
{
	struct bh_tgt *tgt = create(start);

	CU_ASSERT_EQUAL(apply(tgt, "store:a=ram:1M"), 0);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n0,ns=@a,ns=@b"), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "@b"));
	CU_ASSERT(!is_socket("n0"));
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n0,ns=@a:nsid=3,ns=null:1M:nsid=3"), -EEXIST);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "nsid=3"));
	CU_ASSERT(!is_socket("n0"));
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n0,ns=@a,ns=disk:1M"), -EINVAL);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/none/n0,ns=@a"), -ENOENT);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n0,ns=@a,cores=1023"), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "cores="));
	CU_ASSERT(!is_socket("n0"));
	CU_ASSERT_EQUAL(bh_tgt_store_destroy(tgt, "a"), 0);
	bh_tgt_destroy(tgt);
}

static void refused_controllers_leave_nothing_before_start(void)
{
	refused_controllers_leave_nothing(false);
}

static void refused_controllers_leave_nothing_after_start(void)
{
	refused_controllers_leave_nothing(true);
}

static void sockets_are_not_taken_away(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct bh_tgt *tgt = create(true);
	FILE *file;

	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n0,ns=null:1M"), 0);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n0,ns=null:1M"), -EEXIST);
	CU_ASSERT(is_socket("n0"));

	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/live", dir);
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	CU_ASSERT_EQUAL_FATAL(listen(fd, 1), 0);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/live,ns=null:1M"), -EADDRINUSE);
	CU_ASSERT(is_socket("live"));
	close(fd);
	/* Nobody listens any more: a leftover, which is replaced. */
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/live,ns=null:1M"), 0);

	file = fopen(in_dir("file"), "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fclose(file);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/file,ns=null:1M"), -EEXIST);
	CU_ASSERT_EQUAL(unlink(in_dir("file")), 0);
	bh_tgt_destroy(tgt);
	CU_ASSERT(!is_socket("n0") && !is_socket("live"));
}

static void count_one(void *ctx, const struct bh_tgt_controller_info *info)
{
	CU_ASSERT_STRING_EQUAL(info->name, bh_target_nvme_path(info->nvme));
	CU_ASSERT_STRING_EQUAL(info->spec->name, info->name);
	CU_ASSERT_EQUAL(info->num_ns, 1);
	CU_ASSERT(info->ns[0].now.is_active);
	CU_ASSERT_EQUAL(info->ns[0].now.blocks, 2048);
	++*(unsigned int *)ctx;
}

static void controllers_are_listed(void)
{
	struct bh_tgt *tgt = create(true);
	unsigned int count = 0;

	CU_ASSERT_EQUAL(bh_tgt_controllers(tgt, count_one, &count), 0);
	CU_ASSERT_EQUAL(count, 0);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n0,ns=null:1M"), 0);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n1,ns=null:1M,queues=256,depth=4096"), 0);
	CU_ASSERT_EQUAL(bh_tgt_controllers(tgt, count_one, &count), 0);
	CU_ASSERT_EQUAL(count, 2);
	bh_tgt_destroy(tgt);
	CU_ASSERT(!is_socket("n0") && !is_socket("n1"));
}

static int attach(struct bh_tgt *tgt, const char *name, const char *text)
{
	struct bh_tgt_store_spec spec;

	CU_ASSERT_EQUAL_FATAL(bh_tgt_store_spec_parse(text, true, &spec, why), 0);
	int nsid = bh_tgt_ns_attach(tgt, in_dir(name), &spec, why);
	bh_tgt_store_spec_fini(&spec);
	return nsid;
}

static void take_sizes(void *ctx, const struct bh_tgt_controller_info *info)
{
	uint64_t *blocks = ctx;

	for (unsigned int i = 0; i < info->num_ns; i++)
		blocks[info->ns[i].nsid] = info->ns[i].now.blocks;
}

/* Ids are taken and given back, shared stores held and let go, and what fails says about which key. */
static void namespaces_come_and_go(bool start)
{
	struct bh_tgt *tgt = create(start);
	uint64_t blocks[8] = { 0 };

	CU_ASSERT_EQUAL(apply(tgt, "store:a=null:1M"), 0);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n0,ns=ram:1M"), 0);
	CU_ASSERT_EQUAL(attach(tgt, "n0", "@a"), 2);
	CU_ASSERT_EQUAL(attach(tgt, "n0", "@a:nsid=7"), 7);
	CU_ASSERT_EQUAL(attach(tgt, "n0", "@a:nsid=7"), -EEXIST);
	CU_ASSERT_STRING_EQUAL(bh_tgt_failed_key(tgt), "nsid");
	CU_ASSERT_EQUAL(attach(tgt, "n0", "@b"), -ENOENT);
	CU_ASSERT_STRING_EQUAL(bh_tgt_failed_key(tgt), "store");
	CU_ASSERT_EQUAL(attach(tgt, "n1", "@a"), -ENOENT);
	CU_ASSERT_STRING_EQUAL(bh_tgt_failed_key(tgt), "controller");
	CU_ASSERT_EQUAL(bh_tgt_store_resize(tgt, "a", 2 << 20, why), 0);
	CU_ASSERT_EQUAL(bh_tgt_store_resize(tgt, "a", 1 << 20, why), -EINVAL);
	CU_ASSERT_EQUAL(bh_tgt_store_resize(tgt, "a", (2 << 20) + 1, why), -EINVAL);
	CU_ASSERT_EQUAL(bh_tgt_store_resize(tgt, "b", 2 << 20, why), -ENOENT);
	CU_ASSERT_EQUAL(bh_tgt_ns_detach(tgt, in_dir("n0"), 2, why), 0);
	CU_ASSERT_EQUAL(bh_tgt_ns_detach(tgt, in_dir("n0"), 2, why), -ENOENT);
	CU_ASSERT_STRING_EQUAL(bh_tgt_failed_key(tgt), "nsid");
	CU_ASSERT_EQUAL(bh_tgt_controllers(tgt, take_sizes, blocks), 0);
	CU_ASSERT(blocks[1] == 2048 && blocks[2] == 0);
	if (start)
		CU_ASSERT_EQUAL(blocks[7], 4096);
	CU_ASSERT_EQUAL(bh_tgt_store_destroy(tgt, "a"), -EBUSY);
	CU_ASSERT_EQUAL(bh_tgt_ns_detach(tgt, in_dir("n0"), 7, why), 0);
	CU_ASSERT_EQUAL(bh_tgt_store_destroy(tgt, "a"), 0);
	CU_ASSERT_EQUAL(attach(tgt, "n0", "ram:1M:bs=4096"), 2);
	bh_tgt_destroy(tgt);
}

static void namespaces_come_and_go_before_start(void)
{
	namespaces_come_and_go(false);
}

static void namespaces_come_and_go_after_start(void)
{
	namespaces_come_and_go(true);
}

static void what_would_open_files_is_refused_when_confined(void)
{
	struct bh_tgt *tgt = create(true);

	CU_ASSERT_EQUAL(apply(tgt, "store:a=ram:1M"), 0);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n0,ns=@a"), 0);
	bh_tgt_confined(tgt);
	CU_ASSERT_EQUAL(apply(tgt, "nvme:%s/n1,ns=@a"), -EPERM);
	CU_ASSERT_STRING_EQUAL(bh_tgt_failed_key(tgt), "socket");
	CU_ASSERT_EQUAL(apply(tgt, "store:b=ram:1M"), -EPERM);
	CU_ASSERT_EQUAL(apply(tgt, "store:b=file:/tmp/x:1M"), -EPERM);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "--sandbox"));
	CU_ASSERT_EQUAL(attach(tgt, "n0", "file:/tmp/x:1M"), -EPERM);
	CU_ASSERT_EQUAL(apply(tgt, "store:b=null:1M"), 0);
	CU_ASSERT_EQUAL(attach(tgt, "n0", "@a"), 2);
	CU_ASSERT_EQUAL(attach(tgt, "n0", "@b"), 3);
	bh_tgt_destroy(tgt);
}

static void cpus_are_checked(void)
{
	struct bh_tgt_opts opts;
	struct bh_tgt *tgt = NULL;

	bh_tgt_opts_init(&opts);
	bh_cpuset_add(&opts.cpus, BH_CPU_MAX - 1);
	CU_ASSERT_EQUAL(bh_tgt_create(&opts, &tgt), -EINVAL);
	CU_ASSERT_PTR_NULL(tgt);
	for (unsigned int cpu = 0; cpu <= BH_TARGET_NVME_MAX_THREADS; cpu++)
		bh_cpuset_add(&opts.cpus, cpu);
	CU_ASSERT_EQUAL(bh_tgt_create(&opts, &tgt), -EINVAL);
	bh_tgt_destroy(NULL);
}

BH_SUITE_FIXTURE("tgt", make_dir, remove_dir,
		 { "stores_have_names_of_their_own", stores_have_names_of_their_own },
		 { "types_are_told_apart", types_are_told_apart },
		 { "types_can_be_left_out", types_can_be_left_out },
		 { "used_store_is_ebusy_before_start", used_store_is_ebusy_before_start },
		 { "used_store_is_ebusy_after_start", used_store_is_ebusy_after_start },
		 { "refused_controllers_leave_nothing_before_start",
		   refused_controllers_leave_nothing_before_start },
		 { "refused_controllers_leave_nothing_after_start",
		   refused_controllers_leave_nothing_after_start },
		 { "sockets_are_not_taken_away", sockets_are_not_taken_away },
		 { "controllers_are_listed", controllers_are_listed },
		 { "namespaces_come_and_go_before_start", namespaces_come_and_go_before_start },
		 { "namespaces_come_and_go_after_start", namespaces_come_and_go_after_start },
		 { "what_would_open_files_is_refused_when_confined",
		   what_would_open_files_is_refused_when_confined },
		 { "cpus_are_checked", cpus_are_checked })

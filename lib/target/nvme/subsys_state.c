/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of a subsystem outlives the process: namespaces that were cut out of its pool, and
 * reservations that are to persist through power loss.
 *
 * A file with two slots. Each change writes the slot that is not the newest, whole, then syncs:
 * whatever happens meanwhile, one slot has a number, a length and a checksum that agree. The file is
 * opened once, since a target may have given up opening files.
 *
 * Namespaces of stores come back when the operator brings them, so what was known of them waits
 * (subsys->saved) under their UUID.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/nvme/control.h"
#include "target/nvme/subsys.h"

#define SLOT (1u << 20)
#define MAGIC 0x31737973626862ull

struct head {
	uint64_t magic;
	uint64_t number;
	uint64_t len; /* of what follows */
	uint64_t sum;
};

/* A namespace; count registrants follow. */
struct record {
	uint8_t uuid[16];
	uint64_t pool_first, bytes;
	uint32_t nsid, block_size;
	uint32_t gen;
	uint16_t count;
	uint8_t type, is_pooled, is_private, is_persistent;
	uint8_t pi, pi_first, interleaved, rsvd;
	uint16_t md_bytes;
	uint8_t holder[16];
};
static_assert(sizeof(struct record) == 72, "a record of the state file");

struct entry {
	uint8_t host[16];
	uint64_t key;
};
static_assert(BH_TARGET_NVME_MAX_NS *
			      (sizeof(struct record) + TN_RESV_REGISTRANTS * sizeof(struct entry)) <
		      SLOT - sizeof(struct head),
	      "as much as there can be fits into a slot");

struct tn_saved {
	struct tn_saved *next;
	struct record record;
	struct entry entry[TN_RESV_REGISTRANTS];
};

static uint64_t sum_of(const uint8_t *data, size_t len, uint64_t number)
{
	uint64_t sum = 0xcbf29ce484222325ull ^ number;

	while (len--)
		sum = (sum ^ *data++) * 0x100000001b3ull;
	return sum;
}

/* ---- writing ---- */

/* Hosts without an id are nobody after the power was lost. */
static void put_resv(struct tn_saved *out, const struct tn_resv *resv)
{
	uint32_t i;

	if (!resv || !resv->is_persistent)
		return;
	out->record.is_persistent = 1;
	out->record.gen = resv->gen;
	for (i = 0; i < resv->count; i++) {
		struct entry *e = &out->entry[out->record.count];

		if (resv->reg[i].host.cntlid)
			continue;
		memcpy(e->host, resv->reg[i].host.id, sizeof(e->host));
		e->key = resv->reg[i].key;
		out->record.count++;
	}
	if (!resv->holder.cntlid && out->record.count)
		out->record.type = resv->type;
	memcpy(out->record.holder, resv->holder.id, sizeof(out->record.holder));
}

/* False: there is nothing to keep of it. */
static bool put_space(struct tn_saved *out, const struct tn_space *space)
{
	const struct bh_blk_info *info = bh_blk_info(space->blk);

	memset(out, 0, sizeof(*out));
	memcpy(out->record.uuid, space->uuid, sizeof(out->record.uuid));
	out->record.nsid = space->nsid;
	out->record.is_pooled = space->pool_bytes != 0;
	out->record.pool_first = space->pool_first;
	out->record.bytes = info->blocks * info->block_size;
	out->record.block_size = info->block_size;
	out->record.md_bytes = info->format.md_bytes;
	out->record.pi = info->format.pi;
	out->record.pi_first = info->format.pi_first;
	out->record.interleaved = info->format.interleaved;
	out->record.is_private = space->is_private;
	put_resv(out, space->resv);
	return out->record.is_pooled || out->record.is_persistent;
}

static size_t put_record(uint8_t *at, const struct tn_saved *saved)
{
	size_t entries = saved->record.count * sizeof(struct entry);

	memcpy(at, &saved->record, sizeof(saved->record));
	memcpy(at + sizeof(saved->record), saved->entry, entries);
	return sizeof(saved->record) + entries;
}

static struct tn_space *with_uuid(const struct bh_target_subsys *subsys, const uint8_t uuid[16])
{
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		if (subsys->space[nsid] && !memcmp(subsys->space[nsid]->uuid, uuid, 16))
			return subsys->space[nsid];
	}
	return NULL;
}

static size_t put_all(const struct bh_target_subsys *subsys, uint8_t *data, struct tn_saved *one)
{
	const struct tn_saved *saved;
	unsigned int count = 0;
	uint32_t nsid;
	size_t len = 0;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		const struct tn_space *space = subsys->space[nsid];

		if (!space || space->is_deleting || space->is_making || !put_space(one, space))
			continue;
		len += put_record(data + len, one);
		count++;
	}
	for (saved = subsys->saved; saved && count < BH_TARGET_NVME_MAX_NS; saved = saved->next) {
		if (with_uuid(subsys, saved->record.uuid))
			continue;
		len += put_record(data + len, saved);
		count++;
	}
	return len;
}

static int write_slot(struct bh_target_subsys *subsys, uint8_t *slot, size_t len)
{
	struct head head = { .magic = MAGIC, .number = subsys->state_number + 1, .len = len };
	off_t at = head.number % 2 ? SLOT : 0;

	head.sum = sum_of(slot + sizeof(head), len, head.number);
	memcpy(slot, &head, sizeof(head));
	if (pwrite(subsys->state_fd, slot, sizeof(head) + len, at) != (ssize_t)(sizeof(head) + len))
		return errno ? -errno : -EIO;
	if (fdatasync(subsys->state_fd) != 0)
		return -errno;
	subsys->state_number++;
	return 0;
}

void tn_subsys_changed(struct bh_target_subsys *subsys)
{
	struct tn_saved *one;
	uint8_t *slot;
	int rc = -ENOMEM;

	if (!tn_subsys_is_persistent(subsys) || subsys->is_loading)
		return;
	errno = 0;
	one = calloc(1, sizeof(*one));
	slot = calloc(1, SLOT);
	if (one && slot)
		rc = write_slot(subsys, slot, put_all(subsys, slot + sizeof(struct head), one));
	free(one);
	free(slot);
	if (rc)
		bh_log(subsys->log, BH_LOG_ERROR, TN_LOG, "%s: the state cannot be kept: %s",
		       subsys->nqn, strerror(-rc));
}

/* ---- reading ---- */

/* The slot's number, 0: it has nothing that agrees. */
static uint64_t read_slot(int fd, off_t at, uint8_t *slot)
{
	ssize_t n = pread(fd, slot, SLOT, at);
	struct head head;

	if (n < (ssize_t)sizeof(head))
		return 0;
	memcpy(&head, slot, sizeof(head));
	if (head.magic != MAGIC || head.len > (uint64_t)n - sizeof(head) ||
	    head.sum != sum_of(slot + sizeof(head), head.len, head.number))
		return 0;
	return head.number;
}

/* The next record; 0: there is none that makes sense. */
static size_t take_record(const uint8_t *at, size_t left, struct tn_saved *out)
{
	size_t entries;

	if (left < sizeof(out->record))
		return 0;
	memcpy(&out->record, at, sizeof(out->record));
	entries = out->record.count * sizeof(struct entry);
	if (out->record.count > TN_RESV_REGISTRANTS || left - sizeof(out->record) < entries ||
	    out->record.type > BH_NVME_RESV_EXCLUSIVE_ACCESS_AR)
		return 0;
	memcpy(out->entry, at + sizeof(out->record), entries);
	return sizeof(out->record) + entries;
}

static int take_all(struct bh_target_subsys *subsys, const uint8_t *data, size_t len)
{
	size_t at = 0, n = 1;

	while (at < len && n) {
		struct tn_saved *saved = calloc(1, sizeof(*saved));

		if (!saved)
			return -ENOMEM;
		n = take_record(data + at, len - at, saved);
		at += n;
		saved->next = subsys->saved;
		if (n)
			subsys->saved = saved;
		else
			free(saved);
	}
	return n || !len ? 0 : -EINVAL;
}

static void remade(void *arg, int result)
{
	*(int *)arg = result;
}

/* Namespaces of the pool, where they lay. */
static void remake(struct bh_target_subsys *subsys)
{
	const struct tn_saved *saved;

	for (saved = subsys->saved; saved; saved = saved->next) {
		struct bh_target_subsys_ns_opts o = { .size = sizeof(o),
						      .nsid = saved->record.nsid,
						      .is_private = saved->record.is_private,
						      .has_uuid = true,
						      .bytes = saved->record.bytes,
						      .block_size = saved->record.block_size,
						      .has_offset = true,
						      .offset = saved->record.pool_first,
						      .md_bytes = saved->record.md_bytes,
						      .pi = saved->record.pi,
						      .pi_first = saved->record.pi_first != 0,
						      .interleaved =
							      saved->record.interleaved != 0 };
		int rc, result = 0;

		if (!saved->record.is_pooled)
			continue;
		memcpy(o.uuid, saved->record.uuid, sizeof(o.uuid));
		rc = bh_target_subsys_ns_make(subsys, &o, remade, &result);
		if (rc || result < 0)
			bh_log(subsys->log, BH_LOG_ERROR, TN_LOG,
			       "%s: namespace %u is not in the pool any more: %s", subsys->nqn,
			       saved->record.nsid, strerror(rc ? -rc : -result));
	}
}

static int load(struct bh_target_subsys *subsys)
{
	uint8_t *slot[2] = { malloc(SLOT), malloc(SLOT) }, *newest;
	uint64_t number[2] = { 0 };
	struct head head;
	int rc = -ENOMEM;

	if (slot[0] && slot[1]) {
		number[0] = read_slot(subsys->state_fd, 0, slot[0]);
		number[1] = read_slot(subsys->state_fd, SLOT, slot[1]);
		newest = number[1] > number[0] ? slot[1] : slot[0];
		subsys->state_number = number[1] > number[0] ? number[1] : number[0];
		memcpy(&head, newest, sizeof(head));
		rc = subsys->state_number
			     ? take_all(subsys, newest + sizeof(head), (size_t)head.len)
			     : 0;
	}
	free(slot[0]);
	free(slot[1]);
	return rc;
}

static struct tn_saved **find_saved(struct bh_target_subsys *subsys, const uint8_t uuid[16])
{
	struct tn_saved **at = &subsys->saved;

	while (*at && memcmp((*at)->record.uuid, uuid, 16) != 0)
		at = &(*at)->next;
	return at;
}

static bool is_kept(struct bh_target_subsys *subsys, const uint8_t uuid[16])
{
	return *find_saved(subsys, uuid) != NULL;
}

int tn_subsys_state_open(struct bh_target_subsys *subsys, const char *path)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int rc;

	subsys->state_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (subsys->state_fd < 0)
		return -errno;
	if (fcntl(subsys->state_fd, F_OFD_SETLK, &lock) != 0)
		return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
	subsys->state_path = strdup(path);
	rc = subsys->state_path ? load(subsys) : -ENOMEM;
	subsys->is_loading = true;
	if (rc == 0) {
		tn_pool_sweep(subsys, is_kept);
		remake(subsys);
	}
	subsys->is_loading = false;
	return rc;
}

void tn_subsys_state_close(struct bh_target_subsys *subsys)
{
	while (subsys->saved) {
		struct tn_saved *saved = subsys->saved;

		subsys->saved = saved->next;
		free(saved);
	}
	if (subsys->state_fd >= 0)
		close(subsys->state_fd);
	subsys->state_fd = -1;
	free(subsys->state_path);
	subsys->state_path = NULL;
}

/* ---- namespaces that come back ---- */

void tn_space_restore(struct tn_space *space)
{
	const struct tn_saved *saved = *find_saved(space->subsys, space->uuid);
	struct tn_resv *resv;
	uint32_t i;

	if (!saved || !saved->record.is_persistent || !(resv = tn_space_resv(space)))
		return;
	resv->is_persistent = true;
	resv->gen = saved->record.gen;
	resv->type = saved->record.type;
	memcpy(resv->holder.id, saved->record.holder, sizeof(resv->holder.id));
	for (i = 0; i < saved->record.count; i++) {
		memcpy(resv->reg[i].host.id, saved->entry[i].host, sizeof(resv->reg[i].host.id));
		resv->reg[i].key = saved->entry[i].key;
	}
	resv->count = saved->record.count;
}

void tn_space_forget(struct tn_space *space)
{
	struct tn_saved **at = find_saved(space->subsys, space->uuid), *saved = *at;

	if (saved)
		*at = saved->next;
	free(saved);
}

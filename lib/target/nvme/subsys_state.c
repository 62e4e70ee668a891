/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of a subsystem outlives the process: namespaces that were cut out of its pool, attachments
 * that hosts have changed, reservations that are to persist through power loss, and what became of
 * the last sanitize operation.
 *
 * A file with two slots. Each change writes the slot that is not the newest, whole, then syncs:
 * whatever happens meanwhile, one slot has a number, a length and a checksum that agree. The file is
 * opened once, since a target may have given up opening files.
 *
 * Namespaces of stores come back when the operator brings them, so what was known of them waits
 * (subsys->saved) under their UUID.
 *
 * Attachments come back with the operator's configuration, too. What hosts have changed since counts
 * on top of that: for each namespace a bit per controller that a host has attached it to or detached
 * it from, until the operator says otherwise about the two. Ids of controllers are given out anew by
 * each process, so controllers are known by the paths of their sockets, and a bit is a path's place
 * in a table. While the configuration comes back the operator's words are those of before: they take
 * back nothing, and what a host had detached is not attached.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"

#define SLOT (1u << 20)
#define MAGIC 0x32737973626862ull
#define MAGIC_1 0x31737973626862ull /* without paths, and records without attachments */

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
	struct tn_by_hosts by_hosts;
};
#define RECORD_1 72u /* bytes of a record then */
static_assert(sizeof(struct record) == RECORD_1 + 16, "a record of the state file");

/* In place of one, nsid 0: the last sanitize operation, once there was one. */
struct sanitize_record {
	uint8_t uuid[16]; /* zeros */
	uint64_t rsvd16[2];
	uint32_t nsid, cdw10;
	uint32_t rsvd40;
	uint16_t count; /* 0 */
	uint8_t rsvd46[10];
	uint8_t outcome, passes, is_failure_mode;
	uint8_t rsvd59[29];
};
static_assert(sizeof(struct sanitize_record) == sizeof(struct record) &&
		      offsetof(struct sanitize_record, nsid) == offsetof(struct record, nsid) &&
		      offsetof(struct sanitize_record, count) == offsetof(struct record, count),
	      "told apart, and read as one of nothing by who does not know it");

struct entry {
	uint8_t host[16];
	uint64_t key;
};
static_assert(TN_PATHS * TN_PATH_MAX +
			      BH_TARGET_NVME_MAX_NS * (sizeof(struct record) +
						       TN_RESV_REGISTRANTS * sizeof(struct entry)) <
		      SLOT - sizeof(struct head) - sizeof(struct sanitize_record),
	      "as much as there can be fits into a slot");

struct tn_saved {
	struct tn_saved *next;
	struct record record;
	struct entry entry[TN_RESV_REGISTRANTS];
};

static_assert(2 * SLOT == TN_STATE_BYTES, "two slots, and what others keep behind them");

uint64_t tn_state_sum(const uint8_t *data, size_t len, uint64_t number)
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
	out->record.by_hosts = space->by_hosts;
	put_resv(out, space->resv);
	return out->record.is_pooled || out->record.is_persistent || space->by_hosts.attached ||
	       space->by_hosts.detached;
}

static size_t put_record(uint8_t *at, const struct tn_saved *saved)
{
	size_t entries = saved->record.count * sizeof(struct entry);

	memcpy(at, &saved->record, sizeof(saved->record));
	memcpy(at + sizeof(saved->record), saved->entry, entries);
	return sizeof(saved->record) + entries;
}

static size_t put_sanitized(uint8_t *at, const struct tn_sanitized *last)
{
	const struct sanitize_record record = { .cdw10 = last->cdw10,
						.outcome = last->outcome,
						.passes = last->passes,
						.is_failure_mode = last->is_failure_mode };

	if (last->outcome == BH_NVME_SSTAT_NEVER)
		return 0;
	memcpy(at, &record, sizeof(record));
	return sizeof(record);
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
	size_t len = sizeof(subsys->path);
	unsigned int count = 0;
	uint32_t nsid;

	memcpy(data, subsys->path, len);
	len += put_sanitized(data + len, &subsys->sanitized);
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

	head.sum = tn_state_sum(slot + sizeof(head), len, head.number);
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
	if ((head.magic != MAGIC && head.magic != MAGIC_1) ||
	    head.len > (uint64_t)n - sizeof(head) ||
	    head.sum != tn_state_sum(slot + sizeof(head), head.len, head.number))
		return 0;
	return head.number;
}

/* The next record, of so many bytes; 0: there is none that makes sense. */
static size_t take_record(const uint8_t *at, size_t left, size_t size, struct tn_saved *out)
{
	size_t entries;

	if (left < size)
		return 0;
	memcpy(&out->record, at, size);
	entries = out->record.count * sizeof(struct entry);
	if (out->record.count > TN_RESV_REGISTRANTS || left - size < entries ||
	    out->record.type > BH_NVME_RESV_EXCLUSIVE_ACCESS_AR)
		return 0;
	memcpy(out->entry, at + size, entries);
	return size + entries;
}

/* False: it is a namespace's. */
static bool take_sanitized(const struct record *record, struct tn_sanitized *out)
{
	struct sanitize_record s;

	if (record->nsid)
		return false;
	memcpy(&s, record, sizeof(s));
	*out = (struct tn_sanitized){ .cdw10 = s.cdw10,
				      .outcome = s.outcome & BH_NVME_SSTAT_OUTCOME_MASK,
				      .passes = s.passes & BH_NVME_SSTAT_PASSES_MASK,
				      .is_failure_mode = s.is_failure_mode };
	return true;
}

static int take_all(struct bh_target_subsys *subsys, const uint8_t *data, size_t len, bool is_old)
{
	size_t at = is_old ? 0 : sizeof(subsys->path), n = 1;
	size_t size = is_old ? RECORD_1 : sizeof(struct record);
	unsigned int i;

	if (len < at)
		return -EINVAL;
	memcpy(subsys->path, data, at);
	for (i = 0; i < TN_PATHS; i++)
		subsys->path[i][TN_PATH_MAX - 1] = '\0';
	while (at < len && n) {
		struct tn_saved *saved = calloc(1, sizeof(*saved));

		if (!saved)
			return -ENOMEM;
		n = take_record(data + at, len - at, size, saved);
		at += n;
		saved->next = subsys->saved;
		if (n && !take_sanitized(&saved->record, &subsys->sanitized))
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
		rc = subsys->state_number ? take_all(subsys, newest + sizeof(head),
						     (size_t)head.len, head.magic == MAGIC_1)
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
	subsys->is_coming_back = true;
	subsys->is_loading = true;
	if (rc == 0) {
		tn_pool_sweep(subsys, is_kept);
		remake(subsys);
	}
	subsys->is_loading = false;
	tn_sanitize_interrupted(subsys);
	return rc ? rc : tn_pel_open(subsys);
}

void tn_subsys_state_close(struct bh_target_subsys *subsys)
{
	while (subsys->saved) {
		struct tn_saved *saved = subsys->saved;

		subsys->saved = saved->next;
		free(saved);
	}
	tn_pel_close(subsys);
	if (subsys->state_fd >= 0)
		close(subsys->state_fd);
	subsys->state_fd = -1;
	free(subsys->state_path);
	subsys->state_path = NULL;
}

/* ---- namespaces that come back ---- */

void tn_space_restore(struct tn_space *space)
{
	struct tn_saved *saved = *find_saved(space->subsys, space->uuid);
	struct tn_resv *resv;
	uint32_t i;

	if (saved) {
		space->by_hosts = saved->record.by_hosts;
		memset(&saved->record.by_hosts, 0, sizeof(saved->record.by_hosts));
	}
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

/* ---- attachments that hosts have changed ---- */

static uint64_t bits_of(const struct tn_by_hosts *by_hosts)
{
	return by_hosts->attached | by_hosts->detached;
}

/* Takes bits back, of all namespaces; returns those that were there. */
static uint64_t take_back(struct bh_target_subsys *subsys, uint64_t bits)
{
	struct tn_saved *saved;
	uint64_t were = 0;
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		struct tn_space *space = subsys->space[nsid];

		if (!space)
			continue;
		were |= bits_of(&space->by_hosts);
		space->by_hosts.attached &= ~bits;
		space->by_hosts.detached &= ~bits;
	}
	for (saved = subsys->saved; saved; saved = saved->next) {
		were |= bits_of(&saved->record.by_hosts);
		saved->record.by_hosts.attached &= ~bits;
		saved->record.by_hosts.detached &= ~bits;
	}
	return were;
}

/* 0: it has no place. */
static uint64_t bit_of(const struct bh_target_subsys *subsys, const char *path)
{
	unsigned int i;

	for (i = 0; i < TN_PATHS; i++) {
		if (!strcmp(subsys->path[i], path))
			return 1ull << i;
	}
	return 0;
}

/* Bits of namespaces' attachments; if they are all, those of controllers that are no more are not. */
static uint64_t used_bits(struct bh_target_subsys *subsys)
{
	uint64_t used = take_back(subsys, 0), there = 0;
	unsigned int id;

	for (id = 1; id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++) {
		if (subsys->ctrl[id])
			there |= bit_of(subsys, subsys->ctrl[id]->path);
	}
	if (used != UINT64_MAX || subsys->is_coming_back)
		return used;
	return take_back(subsys, ~there) & there;
}

/* 0: there is no place for one more. */
static uint64_t new_bit(struct bh_target_subsys *subsys, const char *path)
{
	uint64_t used = used_bits(subsys);
	unsigned int i;

	for (i = 0; i < TN_PATHS && used & 1ull << i; i++)
		continue;
	if (i == TN_PATHS || strlen(path) >= TN_PATH_MAX)
		return 0;
	memset(subsys->path[i], 0, TN_PATH_MAX);
	memcpy(subsys->path[i], path, strlen(path));
	return 1ull << i;
}

void tn_changed_by_host(struct tn_space *space, const struct bh_target_nvme *ctrl, bool is_attached)
{
	struct bh_target_subsys *subsys = space->subsys;
	uint64_t bit;

	if (!tn_subsys_is_persistent(subsys))
		return;
	bit = bit_of(subsys, ctrl->path);
	if (!bit)
		bit = new_bit(subsys, ctrl->path);
	space->by_hosts.attached &= ~bit;
	space->by_hosts.detached &= ~bit;
	*(is_attached ? &space->by_hosts.attached : &space->by_hosts.detached) |= bit;
}

void tn_changed_by_operator(struct tn_space *space, const struct bh_target_nvme *ctrl)
{
	uint64_t bit = bit_of(space->subsys, ctrl->path);

	if (space->subsys->is_coming_back || !(bits_of(&space->by_hosts) & bit))
		return;
	space->by_hosts.attached &= ~bit;
	space->by_hosts.detached &= ~bit;
	tn_subsys_changed(space->subsys);
}

bool tn_was_detached(const struct tn_space *space, const struct bh_target_nvme *ctrl)
{
	return space->subsys->is_coming_back &&
	       space->by_hosts.detached & bit_of(space->subsys, ctrl->path);
}

void tn_path_begins(struct bh_target_nvme *ctrl)
{
	struct bh_target_subsys *subsys = ctrl->subsys;
	uint64_t bit = bit_of(subsys, ctrl->path);

	if (!subsys->is_coming_back && take_back(subsys, bit) & bit)
		tn_subsys_changed(subsys);
}

static void attach_again(struct tn_space *space, struct bh_target_nvme *ctrl)
{
	int rc;

	if (!ctrl || ctrl->is_destroying || ctrl->ns[space->nsid] ||
	    !(space->by_hosts.attached & bit_of(space->subsys, ctrl->path)))
		return;
	rc = tn_ns_add(ctrl, space->nsid, NULL, NULL);
	bh_log(space->subsys->log, rc < 0 ? BH_LOG_WARN : BH_LOG_INFO, TN_LOG,
	       "%s: namespace %u, which a host had attached: %s", ctrl->path, space->nsid,
	       rc < 0 ? strerror(-rc) : "attached again");
}

void bh_target_subsys_restored(struct bh_target_subsys *subsys)
{
	unsigned int id;
	uint32_t nsid;

	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		struct tn_space *space = tn_space_get(subsys, nsid);

		for (id = 1; space && id <= BH_TARGET_SUBSYS_MAX_CTRLS; id++)
			attach_again(space, subsys->ctrl[id]);
	}
	subsys->is_coming_back = false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues, and commands whose data pointers mean something. */
#include <string.h>

#include "device.h"

/* ---- queues ---- */

void dv_doorbell(unsigned int k, uint32_t value, bool ring)
{
	if (dv.is_shadowed) {
		memcpy(fz_mem + SHADOWS + 4 * (size_t)k, &value, sizeof(value));
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	if (!dv.is_shadowed || ring)
		fz_write(0, BH_NVME_REG_DOORBELLS + 4 * (uint64_t)k, value, 4);
}

void dv_admin(struct bh_nvme_cmd *cmd)
{
	cmd->cid = dv.next_cid++;
	fz_submit(0, cmd);
	fz_ring(0);
	fz_reap(0);
}

static void create_cq(unsigned int qid, uint32_t entries, uint64_t iova, uint8_t how)
{
	struct bh_nvme_cmd cmd = {
		.opc = BH_NVME_ADMIN_CREATE_CQ,
		.dptr.prp.prp1 = iova,
		.cdw10 = (entries - 1) << 16 | qid,
		.cdw11 = (uint32_t)(how & 7) << 16 | (how & 8 ? BH_NVME_QUEUE_IEN : 0) |
			 BH_NVME_QUEUE_PC,
	};

	dv.pair[qid].cq = iova;
	dv.pair[qid].entries = entries;
	dv.pair[qid].head = 0;
	dv.pair[qid].phase = true;
	dv_admin(&cmd);
}

static void create_sq(unsigned int qid, uint32_t entries, uint64_t iova, unsigned int cqid,
		      uint8_t class)
{
	struct bh_nvme_cmd cmd = {
		.opc = BH_NVME_ADMIN_CREATE_SQ,
		.dptr.prp.prp1 = iova,
		.cdw10 = (entries - 1) << 16 | qid,
		.cdw11 = cqid << 16 | (class & 3u) << 1 | BH_NVME_QUEUE_PC,
	};

	dv.pair[qid].sq = iova;
	dv.pair[qid].entries = entries;
	dv.pair[qid].tail = 0;
	dv_admin(&cmd);
}

void dv_create_pair(const struct step *s)
{
	unsigned int qid = 1 + s->a % QUEUES;
	uint32_t entries = 2 + s->b % 63;
	uint8_t cq_at = (uint8_t)s->d & 7, sq_at = (uint8_t)(s->d >> 8) & 7;
	uint32_t ring = RINGS + (qid - 1) * PAGE;
	bool plain = s->d & 1u << 16;

	/* Side memories are small: a page of each for every queue. */
	create_cq(qid, entries,
		  plain ? FZ_IOVA + ring : dv_address(cq_at, (uint16_t)(ring / PAGE % 16)), s->c);
	create_sq(qid, entries,
		  plain ? FZ_IOVA + ring + QUEUES * PAGE
			: dv_address(sq_at, (uint16_t)(ring / PAGE % 16 + QUEUES)),
		  s->d & 1u << 17 ? 1 + (s->d >> 18) % QUEUES : qid, s->c >> 4);
}

void dv_delete_queue(const struct step *s)
{
	struct bh_nvme_cmd cmd = {
		.opc = s->b & 1 ? BH_NVME_ADMIN_DELETE_CQ : BH_NVME_ADMIN_DELETE_SQ,
		.cdw10 = 1 + s->a % QUEUES,
	};

	dv_admin(&cmd);
	if (s->b & 2) {
		cmd.opc = BH_NVME_ADMIN_DELETE_CQ;
		dv_admin(&cmd);
	}
}

void dv_reap(unsigned int qid, bool ring)
{
	struct pair *p = &dv.pair[qid];
	struct bh_nvme_cpl cpl;
	uint64_t offset;

	if (!p->entries)
		return;
	if (!dv_is_ours(p->cq, &offset)) /* all of it, in good faith */
		p->head = p->tail % p->entries;
	for (unsigned int n = 0; dv_is_ours(p->cq, &offset) && n < p->entries; n++) {
		memcpy(&cpl, fz_mem + offset + p->head * sizeof(cpl), sizeof(cpl));
		if ((cpl.status & BH_NVME_CPL_PHASE) != p->phase)
			break;
		p->head = (p->head + 1) % p->entries;
		p->phase ^= p->head == 0;
	}
	dv_doorbell(2 * qid + 1, p->head, ring);
}

/* ---- commands ---- */

/* Entries of a PRP list at `list`; with is_chained the first page of it ends after a few. */
static uint64_t prp_list(uint64_t base, uint64_t data, uint32_t pages, bool is_chained)
{
	uint32_t at = LISTS + dv.next_list++ % NUM_LISTS * LIST_BYTES, first = at;
	uint64_t entry;

	if (is_chained)
		first = at + PAGE - 24;
	for (uint32_t i = 0, p = first; i < pages; i++, p += 8) {
		if (is_chained && p == at + PAGE - 8 && i + 1 < pages) {
			entry = base + at + PAGE;
			memcpy(fz_mem + p, &entry, sizeof(entry));
			p += 8;
		}
		entry = data + (uint64_t)i * PAGE;
		memcpy(fz_mem + p, &entry, sizeof(entry));
	}
	return base + first;
}

static void point_prp(struct bh_nvme_cmd *cmd, const struct step *s, uint64_t data, uint32_t len)
{
	uint32_t first = PAGE - (uint32_t)(data % PAGE);
	uint64_t next = (data & ~(uint64_t)(PAGE - 1)) + PAGE;
	uint32_t pages = len > first ? (len - first + PAGE - 1) / PAGE : 0;

	cmd->dptr.prp.prp1 = data;
	if (pages == 1)
		cmd->dptr.prp.prp2 = next;
	else if (pages > 1)
		cmd->dptr.prp.prp2 =
			prp_list(dv_place((uint8_t)(s->e >> 24) & 3), next, pages, s->c & 0x40);
}

/* Descriptors for len bytes from data on, in a segment of their own or two. */
static void point_sgl(struct bh_nvme_cmd *cmd, const struct step *s, uint64_t data, uint32_t len)
{
	uint32_t n = 1 + (uint32_t)(s->e >> 32) % 12, each = len / n & ~3u;
	uint32_t at = LISTS + dv.next_list++ % NUM_LISTS * LIST_BYTES;
	uint64_t base = dv_place((uint8_t)(s->e >> 24) & 3);
	bool has_buckets = s->c & 0x10, is_chained = s->c & 0x40;
	struct bh_nvme_sgl d[16] = { 0 };
	uint32_t k = 0, first;

	for (uint32_t i = 0; i < n; i++) {
		d[k].addr = data;
		d[k].len = i + 1 == n ? len - each * i : each;
		d[k].type =
			has_buckets && i % 3 == 1 ? BH_NVME_SGL_BIT_BUCKET : BH_NVME_SGL_DATA_BLOCK;
		data += d[k++].len;
		if (is_chained && i == n / 2 && i + 1 < n) {
			d[k].addr = base + at + PAGE;
			d[k].len = (n - i - 1) * (uint32_t)sizeof(d[0]);
			d[k++].type = BH_NVME_SGL_LAST_SEGMENT;
		}
	}
	first = k > n ? n / 2 + 2 : k;
	memcpy(fz_mem + at, d, first * sizeof(d[0]));
	memcpy(fz_mem + at + PAGE, d + first, (k - first) * sizeof(d[0]));
	cmd->dptr.sgl.addr = base + at;
	cmd->dptr.sgl.len = first * (uint32_t)sizeof(d[0]);
	cmd->dptr.sgl.type = k > n ? BH_NVME_SGL_SEGMENT : BH_NVME_SGL_LAST_SEGMENT;
}

void dv_point(struct bh_nvme_cmd *cmd, const struct step *s, uint32_t len)
{
	uint64_t data = dv_address((uint8_t)s->e, (uint16_t)(s->e >> 8));

	if (s->c & 0x80)
		len += 4;
	switch (s->c & 3) {
	case 0:
	case 1:
		point_prp(cmd, s, data, len);
		break;
	case 2:
		cmd->flags |= BH_NVME_PSDT_SGL_MPTR_CONTIG;
		point_sgl(cmd, s, data, len);
		break;
	default:
		cmd->flags |= BH_NVME_PSDT_SGL_MPTR_CONTIG;
		cmd->dptr.sgl.addr = data;
		cmd->dptr.sgl.len = len;
		cmd->dptr.sgl.type = s->c & 0x20 ? (uint8_t)(s->e >> 40) : BH_NVME_SGL_DATA_BLOCK;
		break;
	}
}

/* DSM: its ranges lie in the data area, where writes and reads may meet them. */
static void ranges(const struct step *s, uint32_t n)
{
	uint32_t at = (uint32_t)(s->e >> 8 & 0xffff) * PAGE % (FZ_BYTES - PAGE);

	for (uint32_t i = 0; i < n; i++) {
		const struct bh_nvme_dsm_range range = {
			.blocks = (s->d >> 8 & 0xff) * (i & 1),
			.lba = (s->d & 0xff) + i,
		};

		memcpy(fz_mem + at + i * sizeof(range), &range, sizeof(range));
	}
}

void dv_submit(struct bh_nvme_cmd *cmd, const struct step *s)
{
	unsigned int qid = 1 + s->a % QUEUES;
	struct pair *p = &dv.pair[qid];

	cmd->cid = dv.next_cid++;
	if (!p->entries)
		return;
	dv_poke(p->sq + (uint64_t)p->tail * sizeof(*cmd), cmd, sizeof(*cmd));
	p->tail = (p->tail + 1) % p->entries;
	if (s->what & 0x80)
		dv_doorbell(2 * qid, p->tail, s->what & 0x40);
}

void dv_io(const struct step *s)
{
	static const uint8_t opcodes[] = { BH_NVME_CMD_READ,	BH_NVME_CMD_WRITE,
					   BH_NVME_CMD_READ,	BH_NVME_CMD_WRITE,
					   BH_NVME_CMD_COMPARE, BH_NVME_CMD_WRITE_ZEROES,
					   BH_NVME_CMD_DSM,	BH_NVME_CMD_FLUSH };
	struct bh_nvme_cmd cmd = { .opc = opcodes[s->b & 7], .nsid = 1 + (s->a >> 2) % FZ_NS };
	uint32_t nlb = s->d & 1u << 28 ? s->d >> 16 & 0xff : s->d >> 16 & 7;

	if (s->b & 0x80) /* an opcode there may not be */
		cmd.opc = (uint8_t)(s->e >> 48);
	if (s->b & 0x40)
		cmd.nsid = s->b & 0x20 ? BH_NVME_NSID_ALL : (uint32_t)(s->e >> 56);
	cmd.cdw10 = s->d & 0x3ff;
	cmd.cdw12 = nlb | (s->b & 0x10 ? BH_NVME_IO_FUA : 0) | (s->b & 8 ? BH_NVME_IO_DEAC : 0);
	if (cmd.opc == BH_NVME_CMD_DSM) {
		cmd.cdw10 = nlb & 31;
		cmd.cdw11 = s->b & 0x10 ? 0 : BH_NVME_DSM_AD;
		ranges(s, (nlb & 31) + 1);
		dv_point(&cmd, s, ((nlb & 31) + 1) * (uint32_t)sizeof(struct bh_nvme_dsm_range));
	} else {
		dv_point(&cmd, s, dv_bytes(cmd.nsid, nlb + 1));
		dv_metadata(&cmd, s, nlb + 1);
	}
	dv_submit(&cmd, s);
}

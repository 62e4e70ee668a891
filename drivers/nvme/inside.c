/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands whose data stays in the controller: Verify, Copy, Write Uncorrectable (NVM 1.0 3.2).
 *
 * Each is one command, as the caller gave it: what the controller allows of it differs from that for
 * reads and writes (VSL, WUSL; MSSRL, MCL, MSRC), and a part of a Copy would be another copy. One
 * that is too large is the controller's to refuse.
 */
#include <errno.h>

#include <bellhop/nvme.h>

static struct bh_nvme_cmd about(uint8_t opc, const struct bh_nvme_ns *ns, uint64_t lba,
				uint32_t cdw12)
{
	return (struct bh_nvme_cmd){
		.opc = opc,
		.nsid = bh_nvme_ns_id(ns),
		.cdw10 = (uint32_t)lba,
		.cdw11 = (uint32_t)(lba >> 32),
		.cdw12 = cdw12,
	};
}

int bh_nvme_verify(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba, uint32_t blocks,
		   uint32_t flags, bh_nvme_done done, void *arg)
{
	struct bh_nvme_cmd cmd;

	if (!blocks || blocks > BH_NVME_IO_NLB_MASK + 1)
		return -EINVAL;
	cmd = about(BH_NVME_CMD_VERIFY, ns, lba, (blocks - 1) | (flags & 0xffff0000u));
	return bh_nvme_io(q, &cmd, NULL, 0, done, arg);
}

int bh_nvme_write_uncorrectable(struct bh_nvme_queue *q, struct bh_nvme_ns *ns, uint64_t lba,
				uint32_t blocks, bh_nvme_done done, void *arg)
{
	struct bh_nvme_cmd cmd;

	if (!blocks || blocks > BH_NVME_IO_NLB_MASK + 1)
		return -EINVAL;
	cmd = about(BH_NVME_CMD_WRITE_UNCORRECTABLE, ns, lba, blocks - 1);
	return bh_nvme_io(q, &cmd, NULL, 0, done, arg);
}

/* As bh_nvme_write() has it: the controller verifies what it reads, and makes what it writes. */
static uint32_t protected_by_it(const struct bh_nvme_ns *ns, uint32_t flags)
{
	const uint32_t prinfo = BH_NVME_IO_PRACT | BH_NVME_IO_PRCHK_GUARD | BH_NVME_IO_PRCHK_APP |
				BH_NVME_IO_PRCHK_REF |
				BH_NVME_COPY_PRINFOR_MASK << BH_NVME_COPY_PRINFOR_SHIFT;
	struct bh_nvme_format f;

	bh_nvme_ns_format(ns, &f);
	if (!f.pi_type || flags & prinfo)
		return flags;
	return flags | BH_NVME_IO_PRACT | BH_NVME_COPY_R_PRACT | BH_NVME_COPY_R_PRCHK_GUARD;
}

int bh_nvme_copy(struct bh_nvme_queue *q, struct bh_nvme_ns *ns,
		 const struct bh_nvme_copy_range *ranges, unsigned int count, uint64_t lba,
		 uint32_t flags, bh_nvme_done done, void *arg)
{
	struct iovec iov = { (void *)(uintptr_t)ranges, count * sizeof(*ranges) };
	struct bh_nvme_cmd cmd;

	if (!count || count > BH_NVME_COPY_NR_MASK + 1)
		return -EINVAL;
	flags = protected_by_it(ns, flags & 0xfffff000u);
	cmd = about(BH_NVME_CMD_COPY, ns, lba, (count - 1) | flags);
	cmd.cdw14 = (uint32_t)lba;
	return bh_nvme_io(q, &cmd, &iov, 1, done, arg);
}

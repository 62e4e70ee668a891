/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that is not ours: it shares no code with our driver and our backend but the structures
 * on the wire, and does things as other people's userspace clients do.
 *
 * Every request is one blocking call. A reply is read as the strictest of them reads it: one
 * recvmsg of exactly a header, then one read of exactly the body, which must be there as a whole.
 * Anything that is not as such a client needs it fails the case.
 */
#ifndef TEST_FUNCTIONAL_FOREIGN_H
#define TEST_FUNCTIONAL_FOREIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/nvme_spec.h>

#include "vfu/vfu.h"

#define FOREIGN_REGIONS 9
#define FOREIGN_BODY 8192

struct foreign {
	int sock;
	uint16_t id;	 /* of the next message */
	bool counts_ids; /* or all are the same, as some do */
	/* the last reply */
	struct vfu_header header;
	uint8_t body[FOREIGN_BODY];
	size_t len;
	int fds[VFU_MAX_FDS];
	unsigned int nfds;
	/* doorbells: mapped, or messages where NULL */
	uint8_t *doorbells;
	uint32_t stride;
};

void foreign_connect(struct foreign *c, const char *path);
void foreign_close(struct foreign *c); /* the socket, and nothing is said before */
/* Sends without waiting for anything. */
void foreign_send(struct foreign *c, uint16_t command, const void *body, size_t len, const int *fds,
		  unsigned int nfds);
/* The next message, which must be the reply to `command`. 0 or its -errno. */
int foreign_recv(struct foreign *c, uint16_t command);
/* Both. */
int foreign_call(struct foreign *c, uint16_t command, const void *body, size_t len, const int *fds,
		 unsigned int nfds);

/* VERSION 0.minor; json NULL: none at all. Checks what comes back. */
void foreign_version(struct foreign *c, uint16_t minor, const char *json);
uint32_t foreign_info(struct foreign *c); /* number of regions; must be a PCI device */
/* REGION_INFO in a body of len bytes. */
struct vfu_region_info foreign_region(struct foreign *c, uint32_t index, uint32_t argsz,
				      size_t len);
/* The first sparse area of the last REGION_INFO reply; false: there is none. */
bool foreign_area(const struct foreign *c, struct vfu_sparse_area *area);
/* Maps the doorbells, with the area and the fd of the last reply. */
void foreign_map_doorbells(struct foreign *c, const struct vfu_region_info *info);
uint64_t foreign_get(struct foreign *c, uint32_t region, uint64_t offset, uint32_t bytes);
void foreign_set(struct foreign *c, uint32_t region, uint64_t offset, uint64_t value,
		 uint32_t bytes);

/* ---- memory ---- */

struct foreign_memory {
	uint8_t *va; /* also its IOVA */
	size_t bytes;
	int fd;
	uint64_t offset; /* in the file */
};

/*
 * A part of a file of its own, from `offset` in the file on, mapped at a multiple of `align`, with
 * as much room behind it; and another one in that room.
 */
void foreign_memory_new(struct foreign_memory *m, size_t bytes, size_t align, uint64_t offset);
void foreign_memory_behind(struct foreign_memory *m, const struct foreign_memory *first);
int foreign_dma_map(struct foreign *c, const struct foreign_memory *m);
int foreign_dma_unmap(struct foreign *c, const struct foreign_memory *m, bool with_fd);

/* ---- the controller ---- */

struct foreign_queue {
	uint16_t qid;
	uint16_t entries;
	struct bh_nvme_cmd *sq;
	struct bh_nvme_cpl *cq;
	uint16_t tail, head, phase, cid;
};

#define FOREIGN_QUEUE_BYTES 8192 /* SQ and CQ of up to 64 entries, a page each */

/* Rings in FOREIGN_QUEUE_BYTES at `at`. */
void foreign_queue_init(struct foreign_queue *q, uint16_t qid, uint16_t entries, void *at);
/* Bus master on, INTx off, registers, CC.EN, CSTS.RDY. The admin queue. */
void foreign_enable(struct foreign *c, struct foreign_queue *admin);
/* Both queues of the pair; vector -1: without interrupts. */
void foreign_queue_create(struct foreign *c, struct foreign_queue *admin, struct foreign_queue *q,
			  int vector);
void foreign_queue_delete(struct foreign *c, struct foreign_queue *admin, struct foreign_queue *q);
/* Entry and doorbell. */
void foreign_submit(struct foreign *c, struct foreign_queue *q, const struct bh_nvme_cmd *cmd);
/* The next completion, if it has come. */
bool foreign_reap(struct foreign *c, struct foreign_queue *q, struct bh_nvme_cpl *cpl);
/* Both, waiting: its status field. */
uint16_t foreign_run(struct foreign *c, struct foreign_queue *q, const struct bh_nvme_cmd *cmd);
/* Data of up to two pages by PRPs, or any by one SGL data block. */
void foreign_prp(struct bh_nvme_cmd *cmd, const void *buf, size_t len);
void foreign_sgl(struct bh_nvme_cmd *cmd, const void *buf, size_t len);
/* A read or write of blocks (512 bytes) of namespace 1, without data pointer. */
struct bh_nvme_cmd foreign_rw(uint8_t opc, uint64_t lba, uint32_t blocks);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vfio-user protocol on the wire: structures, version negotiation, and a connection that moves
 * whole messages.
 *
 * Private to Bellhop, used by the server (lib/vfu_server) and the client backend (lib/io_vfu).
 *
 * A connection is a non-blocking stream socket with one receive state (a peer may send a message
 * in any pieces) and one queue of outgoing messages (a peer may not read). It allocates a body
 * only after its size was checked against the limit, takes ownership of every fd that arrives, and
 * closes those nobody takes. It knows no threads: the owner serialises.
 */
#ifndef VFU_VFU_H
#define VFU_VFU_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bellhop/log.h>

/* ---- header ---- */

enum vfu_command {
	VFU_VERSION = 1,
	VFU_DMA_MAP = 2,
	VFU_DMA_UNMAP = 3,
	VFU_DEVICE_GET_INFO = 4,
	VFU_DEVICE_GET_REGION_INFO = 5,
	VFU_DEVICE_GET_REGION_IO_FDS = 6,
	VFU_DEVICE_GET_IRQ_INFO = 7,
	VFU_DEVICE_SET_IRQS = 8,
	VFU_REGION_READ = 9,
	VFU_REGION_WRITE = 10,
	VFU_DMA_READ = 11,
	VFU_DMA_WRITE = 12,
	VFU_DEVICE_RESET = 13,
	VFU_REGION_WRITE_MULTI = 15,
	VFU_DEVICE_FEATURE = 16,
	VFU_MIG_DATA_READ = 17,
	VFU_MIG_DATA_WRITE = 18,
};

#define VFU_FLAG_TYPE_MASK 0xfu
#define VFU_TYPE_COMMAND 0u
#define VFU_TYPE_REPLY 1u
#define VFU_FLAG_NO_REPLY 0x10u
#define VFU_FLAG_ERROR 0x20u

struct vfu_header {
	uint16_t id;
	uint16_t command;
	uint32_t size; /* header + body */
	uint32_t flags;
	uint32_t error;
};
static_assert(sizeof(struct vfu_header) == 16, "vfio-user header");

/* ---- bodies ---- */

struct vfu_version {
	uint16_t major;
	uint16_t minor;
	/* then an optional NUL-terminated JSON object */
};
static_assert(sizeof(struct vfu_version) == 4, "VERSION");

#define VFU_DMA_FLAG_READ 0x1u
#define VFU_DMA_FLAG_WRITE 0x2u
#define VFU_DMA_FLAG_MMAP 0x4u
#define VFU_DMA_FLAG_FILE_IO 0x8u

struct vfu_dma_map {
	uint32_t argsz;
	uint32_t flags;
	uint64_t offset;
	uint64_t address;
	uint64_t size;
};
static_assert(sizeof(struct vfu_dma_map) == 32, "DMA_MAP");

#define VFU_UNMAP_FLAG_DIRTY 0x1u
#define VFU_UNMAP_FLAG_ALL 0x2u

struct vfu_dma_unmap {
	uint32_t argsz;
	uint32_t flags;
	uint64_t address;
	uint64_t size;
};
static_assert(sizeof(struct vfu_dma_unmap) == 24, "DMA_UNMAP");

#define VFU_DEVICE_FLAG_RESET 0x1u
#define VFU_DEVICE_FLAG_PCI 0x2u

struct vfu_device_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t num_regions;
	uint32_t num_irqs;
};
static_assert(sizeof(struct vfu_device_info) == 16, "GET_INFO");

#define VFU_REGION_FLAG_READ 0x1u
#define VFU_REGION_FLAG_WRITE 0x2u
#define VFU_REGION_FLAG_MMAP 0x4u
#define VFU_REGION_FLAG_CAPS 0x8u

struct vfu_region_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t cap_offset;
	uint64_t size;
	uint64_t offset;
};
static_assert(sizeof(struct vfu_region_info) == 32, "GET_REGION_INFO");

#define VFU_CAP_SPARSE_MMAP 1u
#define VFU_CAP_TYPE 2u
#define VFU_CAP_MSIX_MAPPABLE 3u

struct vfu_cap_header {
	uint16_t id;
	uint16_t version;
	uint32_t next;
};
struct vfu_sparse_area {
	uint64_t offset;
	uint64_t size;
};
struct vfu_cap_sparse {
	struct vfu_cap_header header;
	uint32_t nr_areas;
	uint32_t reserved;
	struct vfu_sparse_area area[];
};
static_assert(sizeof(struct vfu_cap_sparse) == 16, "sparse capability");

struct vfu_region_io_fds {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
};
static_assert(sizeof(struct vfu_region_io_fds) == 16, "GET_REGION_IO_FDS");

#define VFU_IO_FD_EVENTFD 0u
#define VFU_IO_FD_REGIONFD 1u
#define VFU_IO_FD_EVENTFD_SHADOW 2u
#define VFU_IO_FD_NONE UINT32_MAX

/*
 * 40 bytes in the specification; peers may use 48: the stride of a reply is (argsz - 16) / count.
 * (In 48-byte entries shadow_offset is at 32 and datamatch at 40.)
 */
struct vfu_io_fd {
	uint64_t offset;
	uint64_t size;
	uint32_t fd_index;
	uint32_t type;
	uint32_t flags;
	uint32_t shadow_fd_index; /* type 2; padding otherwise */
	uint64_t value;		  /* datamatch, user_data; shadow_offset for type 2 */
};
static_assert(sizeof(struct vfu_io_fd) == 40, "IO fd entry");

#define VFU_IRQ_FLAG_EVENTFD 0x1u
#define VFU_IRQ_FLAG_MASKABLE 0x2u
#define VFU_IRQ_FLAG_AUTOMASKED 0x4u
#define VFU_IRQ_FLAG_NORESIZE 0x8u

struct vfu_irq_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
};
static_assert(sizeof(struct vfu_irq_info) == 16, "GET_IRQ_INFO");

#define VFU_IRQ_DATA_NONE 0x1u
#define VFU_IRQ_DATA_BOOL 0x2u
#define VFU_IRQ_DATA_EVENTFD 0x4u
#define VFU_IRQ_ACTION_MASK 0x8u
#define VFU_IRQ_ACTION_UNMASK 0x10u
#define VFU_IRQ_ACTION_TRIGGER 0x20u

struct vfu_irq_set {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t start;
	uint32_t count;
	/* then count bytes for DATA_BOOL */
};
static_assert(sizeof(struct vfu_irq_set) == 20, "SET_IRQS");

struct vfu_region_access {
	uint64_t offset;
	uint32_t region;
	uint32_t count;
};
static_assert(sizeof(struct vfu_region_access) == 16, "REGION_READ/WRITE");

struct vfu_dma_access {
	uint64_t address;
	uint64_t count;
};
static_assert(sizeof(struct vfu_dma_access) == 16, "DMA_READ/WRITE");

struct vfu_write_multi_entry {
	uint64_t offset;
	uint32_t region;
	uint32_t count; /* 1..8 */
	uint8_t data[8];
};
static_assert(sizeof(struct vfu_write_multi_entry) == 24, "WRITE_MULTI entry");

struct vfu_write_multi {
	uint64_t wr_cnt;
	struct vfu_write_multi_entry entry[];
};

#define VFU_FEATURE_MASK 0xffffu
#define VFU_FEATURE_GET 0x10000u
#define VFU_FEATURE_SET 0x20000u
#define VFU_FEATURE_PROBE 0x40000u

struct vfu_device_feature {
	uint32_t argsz;
	uint32_t flags;
};
static_assert(sizeof(struct vfu_device_feature) == 8, "DEVICE_FEATURE");

#define VFU_MAJOR 0
#define VFU_MINOR 2
#define VFU_MAX_FDS 16			  /* ours: what we accept in one message */
#define VFU_MAX_DATA (1024u * 1024u)	  /* ours: max_data_xfer_size */
#define VFU_MAX_BODY (VFU_MAX_DATA + 16u) /* the largest transfer and its fixed part */
#define VFU_MAX_DMA_MAPS 65535u

/* ---- version negotiation (version.c) ---- */

struct vfu_caps {
	uint32_t max_msg_fds;	/* default 1 */
	uint64_t max_data_xfer; /* default 1 MiB */
	uint32_t max_dma_maps;	/* default 65535 */
	uint64_t pgsizes;	/* default 4096 */
	bool twin_socket;
	int32_t twin_fd_index; /* server's reply; -1: none */
	bool write_multiple;
	bool has_migration;
	uint64_t migration_pgsize;
	uint64_t max_bitmap_size;
};

void vfu_caps_default(struct vfu_caps *caps);

/*
 * Encodes a VERSION body (4 bytes + JSON + NUL) into buf, as short as can be (a reply must fit the
 * 214 bytes QEMU reads into, header included). Returns its length or -ENOSPC.
 */
int vfu_version_encode(uint16_t major, uint16_t minor, const struct vfu_caps *caps, bool is_reply,
		       void *buf, size_t len);

/*
 * Parses a VERSION body defensively: no NUL, bad JSON, wrong types, numbers out of range are
 * -EINVAL with a reason in *why (static text). Unknown keys are ignored. Missing ones keep the
 * defaults.
 */
int vfu_version_decode(const void *body, size_t len, uint16_t *major, uint16_t *minor,
		       struct vfu_caps *caps, const char **why);

/* "DMA_MAP", or "unknown" (names.c). */
const char *vfu_command_str(uint16_t command);

/* ---- connection (conn.c) ---- */

/* How descriptors that a peer sent are closed, where that is not simply by close(2). */
struct vfu_closing {
	void (*fn)(void *ctx, int fd);
	void *ctx;
};

struct vfu_msg {
	const struct vfu_closing *closing; /* NULL: close(2) */
	struct vfu_header header;
	uint8_t *body; /* header.size - 16 bytes, 8-byte aligned */
	size_t body_len;
	int fds[VFU_MAX_FDS]; /* taken by the handler by setting to -1 */
	unsigned int nfds;
};

/* Frees the body and closes fds not taken. Zeroes the message. */
void vfu_msg_fini(struct vfu_msg *msg);

struct vfu_conn {
	int fd;
	const struct bh_log *log;
	const struct vfu_closing *closing; /* set by those who need it; stays theirs */
	/* receive state */
	struct vfu_msg in;
	size_t in_have; /* bytes of header, then of header + body */
	/* transmit queue */
	struct vfu_out *out_head, *out_tail;
	/* Queued, for back-pressure: memory, with what it takes to queue it, and descriptors. */
	size_t out_bytes;
	unsigned int out_fds;
};

/* Takes the fd and makes it non-blocking. */
void vfu_conn_init(struct vfu_conn *conn, int fd, const struct bh_log *log);
/* Closes it and everything queued. To be called once, or with fd -1. */
void vfu_conn_fini(struct vfu_conn *conn);

/*
 * Receives as much of the next message as there is. 1: a whole message is in *msg (the caller
 * finishes it); 0: not yet (or enough for one call: look at the socket again); -EPIPE: orderly end
 * between messages; -ECONNRESET: ended inside one;
 * -EPROTO: unusable header (size < 16 or too large; *msg then has the header only, so that an
 * error can be answered before closing); -EMFILE: control data truncated or too many fds (those
 * that came are closed); -ENOMEM; other -errno of recvmsg. After any of these the connection is of
 * no more use for receiving.
 */
int vfu_conn_recv(struct vfu_conn *conn, struct vfu_msg *msg);

/*
 * Sends a message made of a header, up to two pieces of body, and fds (which stay the caller's;
 * they are duplicated if the message must be queued; at most VFU_MAX_FDS, else -EINVAL).
 * header->size must be the sum. One sendmsg when the socket takes it; what it does not take is
 * queued. 0, -ENOMEM, -EMFILE, or the socket's error (-EPIPE: peer gone).
 */
int vfu_conn_send(struct vfu_conn *conn, const struct vfu_header *header, const void *body,
		  size_t body_len, const void *data, size_t data_len, const int *fds,
		  unsigned int nfds);

/* Goes on with queued output. 1: queue is empty; 0: still some (wait for POLLOUT); -errno. */
int vfu_conn_flush(struct vfu_conn *conn);

static inline bool vfu_conn_wants_out(const struct vfu_conn *conn)
{
	return conn->out_head != NULL;
}

/*
 * Replies to `request`: error 0 sends body/data/fds, else (an errno of either sign) the bare header
 * with the Error bit. Honours No_reply. Returns as vfu_conn_send.
 */
int vfu_conn_reply(struct vfu_conn *conn, const struct vfu_header *request, int error,
		   const void *body, size_t body_len, const void *data, size_t data_len,
		   const int *fds, unsigned int nfds);

/* ---- sockets (sock.c) ---- */

/*
 * Listens on a UNIX socket path. A stale socket (nobody accepts) is replaced, a live one is
 * -EADDRINUSE; a path that is no socket is -EEXIST; too long is -ENAMETOOLONG; the directory gives
 * -ENOENT, -ENOTDIR, -EACCES. mode: the socket file's permissions. The listening fd, non-blocking.
 */
int vfu_listen(const char *path, unsigned int mode, int *fd);

/*
 * Connects: waits up to timeout_ms for room in the server's backlog; the fd is non-blocking
 * afterwards. -ENOENT, -ENAMETOOLONG, -ECONNREFUSED (nobody listens), -EACCES, -ENOTSOCK (the path
 * is no socket), -ETIMEDOUT.
 */
int vfu_connect(const char *path, unsigned int timeout_ms, int *fd);

#endif

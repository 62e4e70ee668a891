/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the vfio-user server.
 *
 * Private to lib/vfu_server. All of it is touched by the control thread only, but for the interrupt
 * vectors (irq_raise.c) and the entry of dma_msg.c, which any thread may use.
 *
 * Every way into the server from outside (an fd, a timer, a call of the device) is bracketed by
 * vfus_enter() and vfus_leave(). What could pull the ground from under a caller further up
 * (dropping the client, running deferred commands) happens in the outermost vfus_leave() only;
 * until then a broken connection is just a flag.
 */
#ifndef VFU_SERVER_SERVER_H
#define VFU_SERVER_SERVER_H

#include <sys/types.h>

#include <bellhop/vfu_server.h>

#include "vfu/vfu.h"

#define VFUS_LOG "vfu"
#define VFUS_CONFIG_SIZE 4096u
#define VFUS_MAX_VECTORS 2048u
#define VFUS_MESSAGES_PER_PASS 64	    /* so that clients share a control thread fairly */
#define VFUS_WRITES_PER_PASS 256	    /* of one REGION_WRITE_MULTI, likewise */
#define VFUS_MAX_BACKLOG (4u * 1024 * 1024) /* output a client has not read: stop reading it */
#define VFUS_MAX_WAITING_FDS 64		    /* in output, or in commands held back */
#define VFUS_MAX_DEFERRED 256		    /* commands held back while one waits for quiesce */
#define VFUS_MAX_DEFERRED_BYTES (4u * 1024 * 1024)
#define VFUS_MAX_DMA_SIZE (8ull << 40) /* of one mapping, and of all that take address space */
/*
 * Of a client's mappings: what all clients share is the process's (mappings, the fault guard's table,
 * descriptors), and none may have all of it. Memory by messages takes none.
 */
#define VFUS_MAX_MAPPED 4096u
#define VFUS_MAX_FILES 64u
#define VFUS_DMA_SLOTS 16		  /* DMA messages on the wire at once */
#define VFUS_DMA_BACKLOG (1024u * 1024)	  /* no further DMA message beyond this output */
#define VFUS_DMA_TIMEOUT_NS 5000000000ull /* a client that does not answer a DMA message */
#define VFUS_DMA_GRACE_NS 500000000ull	  /* the same while it waits for us, see quiesce.c */
#define VFUS_HANDSHAKE_NS 5000000000ull	  /* from connecting to VERSION */
#define VFUS_PENDING 1 /* a handler's return: the reply comes with vfus_finish() */

/* ---- interrupts ---- */

#define VFUS_VECTOR_OPEN 1u    /* bound and nowhere masked: a raise may signal */
#define VFUS_VECTOR_PENDING 2u /* raised while it was not open */

/* What it takes to signal an eventfd, see irq_signal.c. */
struct vfus_signaller {
	unsigned long ctx; /* 0: no asynchronous I/O here */
	int file;
};

/*
 * state is the word raise looks at. fd may be used and changed only under lock, so it cannot be
 * closed (and its number reused) between a look and a write.
 */
struct vfus_vector {
	uint32_t state;
	uint32_t lock;
	int fd;
	const struct vfus_signaller *signaller;
	bool masked;	   /* by SET_IRQS; control thread */
	bool table_masked; /* by a write to the MSI-X table; control thread */
} __attribute__((aligned(64)));

/* An eventfd with which the client masks or unmasks. */
struct vfus_mask_fd {
	struct vfus_mask_fd *next;
	struct bh_vfu_server *server;
	struct bh_fd_source *source;
	unsigned int irq;
	unsigned int vector;
	bool unmask;
	int fd;
};

struct vfus_intx {
	uint32_t lock;
	int fd;
	const struct vfus_signaller *signaller;
	bool masked;	   /* by the client, or by having signalled (AUTOMASKED) */
	bool blocked;	   /* INTx disabled by the command register, or MSI-X is in use */
	bool forced;	   /* triggered by SET_IRQS */
	bool is_restated;  /* the device says anew what holds after an acknowledgement */
	uint32_t asserted; /* bits set in level[] */
	uint32_t said;	   /* bits set in since_ack[] */
	uint64_t level[VFUS_MAX_VECTORS / 64];
	uint64_t since_ack[VFUS_MAX_VECTORS / 64]; /* of these, what was said since */
};

struct vfus_irqs {
	struct vfus_signaller signaller;
	struct vfus_vector *msix;
	unsigned int num_msix;
	unsigned int num_bound; /* MSI-X vectors with an eventfd */
	bool function_masked;
	bool control_enable;   /* MSI-X enable in configuration space */
	uint32_t msix_enabled; /* either of the two above: any thread */
	struct vfus_intx intx;
	int err_fd;
	int req_fd;
	struct vfus_mask_fd *mask_fds;
};

/* ---- configuration space ---- */

#define VFUS_COMMAND_INTX_OFF 0x400u
#define VFUS_MAX_CAPS 16u

enum vfus_reset_wish {
	VFUS_WISH_NONE,
	VFUS_WISH_FLR,
	VFUS_WISH_D3,
};

struct vfus_config {
	uint8_t bytes[VFUS_CONFIG_SIZE];
	uint8_t defaults[VFUS_CONFIG_SIZE];
	uint8_t writable[VFUS_CONFIG_SIZE]; /* bits a write changes */
	unsigned int pm, pcie, msix;	    /* offsets of capabilities; 0: absent */
	uint32_t command;		    /* in force, any thread: no decoding in D3 */
	struct {
		unsigned int at, len;
	} cap[VFUS_MAX_CAPS]; /* the device's own */
	unsigned int num_caps;
};

/* ---- quiesce ---- */

enum vfus_gate_state {
	VFUS_GATE_IDLE,
	VFUS_GATE_ASKED, /* the device was asked, somebody waits */
	VFUS_GATE_LATE,	 /* the device was asked, the deadline passed, it still owes the answer */
};

struct vfus_wait {
	enum bh_quiesce_reason reason;
	uint64_t iova;
	uint64_t len;
	int (*apply)(struct bh_vfu_server *s);		 /* quiesced: make the change */
	void (*finish)(struct bh_vfu_server *s, int rc); /* running again, or given up */
};

struct vfus_gate {
	enum vfus_gate_state state;
	struct vfus_wait asked;
	struct vfus_wait wanted; /* waits until a late answer to `asked` has come */
	bool has_wanted;
	bool asking; /* inside ops->quiesce */
	bool answered;
	bool grace_over;
	bool drops_all; /* when the late answer has come: an unmap that waited for it has failed */
	uint64_t deadline;
	struct bh_timer *timer;
};

/* ---- DMA by messages ---- */

struct vfus_dma_job {
	struct bh_msg msg;
	struct vfus_dma_job *next;
	struct bh_vfu_server *server;
	bool write;
	uint64_t iova;
	uint8_t *buf;
	size_t len;
	size_t asked; /* bytes sent off in messages */
	unsigned int on_wire;
	uint64_t queued_ns;
	int status;
	bh_cmem_done done;
	void *arg;
};

/* One DMA_READ or DMA_WRITE on the wire. job NULL: given up, its reply is to be ignored. */
struct vfus_dma_xfer {
	bool busy;
	uint16_t id;
	uint16_t command;
	struct vfus_dma_job *job;
	uint64_t iova;
	uint8_t *buf;
	uint32_t count;
	uint64_t sent_ns;
};

struct vfus_dma {
	struct vfus_dma_xfer xfer[VFUS_DMA_SLOTS];
	struct vfus_dma_job *head, *tail;
	uint64_t progress_ns; /* the last reply */
	uint16_t next_id;
	bool refusing; /* the client waits for us and cannot serve: see quiesce.c */
	struct bh_timer *timer;
};

/* ---- the server ---- */

enum vfus_state {
	VFUS_LISTENING,
	VFUS_ATTACHED, /* connected, VERSION not seen */
	VFUS_NEGOTIATED,
	VFUS_LEAVING, /* the client is gone, the device is being quiesced and reset */
	VFUS_STOPPED,
};

struct vfus_closer;

struct vfus_closer;

struct vfus_deferred {
	struct vfus_deferred *next;
	struct vfu_msg msg;
};

struct vfus_bar {
	uint64_t bytes;
	bool is_64, prefetchable;
	bool is_upper; /* the upper half of the one before */
	int fd;
	struct bh_vfu_area *areas;
	unsigned int num_areas;
};

struct bh_vfu_server {
	char *path;
	dev_t path_dev;
	ino_t path_ino;
	bool has_path;
	const struct bh_log *log;
	struct bh_reactor *control;
	const struct bh_vfu_ops *ops;
	void *ops_ctx;
	uint64_t quiesce_ns;
	unsigned int max_dma_maps;
	uid_t *uids;
	unsigned int num_uids;

	enum vfus_state state;
	int listen_fd;
	struct bh_fd_source *listen_source;
	struct bh_timer *kick; /* goes on with something later */
	bool accept_later;
	struct bh_timer *handshake; /* runs while ATTACHED */
	unsigned int depth;	    /* of vfus_enter */
	bool broken;	  /* the connection is to be dropped in the outermost vfus_leave */
	bool leave_asked; /* the disconnect has its turn at the gate */
	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;

	struct vfus_closer *closer;
	struct vfu_closing closing; /* of descriptors that came with messages */
	struct vfu_conn conn, twin;
	struct bh_fd_source *conn_source, *twin_source;
	uint32_t conn_events, twin_events;
	struct vfu_caps peer;
	bool write_multiple;
	bool told_refusal; /* of its memory: once a client */

	struct vfu_msg cur; /* the command being executed */
	bool cur_active;
	size_t multi_next; /* next entry of a REGION_WRITE_MULTI */
	bool multi_later;  /* it has its next turn in on_kick */
	bool multi_running;
	int multi_rc;
	enum bh_reset_reason reset_reason;
	struct vfus_deferred *def_head, *def_tail;
	unsigned int def_count;
	size_t def_bytes;
	unsigned int def_fds;

	struct vfus_bar bar[6];
	struct bh_vfu_io_fd *io_fds;
	unsigned int num_io_fds;
	unsigned int msix_bar;
	uint8_t *msix_table;
	size_t msix_table_len; /* 16 bytes a vector */
	uint64_t pba_offset;
	struct vfus_config config;
	struct vfus_irqs irqs;
	struct vfus_gate gate;
	struct vfus_dma dma;
	struct bh_cmem cmem;
};

/* server.c */
void vfus_enter(struct bh_vfu_server *s);
void vfus_leave(struct bh_vfu_server *s);
void vfus_listen_again(struct bh_vfu_server *s);

/* client.c */
void vfus_accept(void *ctx, uint32_t events);
void vfus_handshake_over(void *ctx);
void vfus_lose(struct bh_vfu_server *s);
void vfus_close_client(struct bh_vfu_server *s);
void vfus_update_events(struct bh_vfu_server *s);
int vfus_twin_start(struct bh_vfu_server *s, int *peer_fd);
/* Does the client read what it is sent? Otherwise nothing is done that needs an answer. */
static inline bool vfus_may_answer(const struct bh_vfu_server *s)
{
	return s->conn.out_bytes <= VFUS_MAX_BACKLOG && s->conn.out_fds <= VFUS_MAX_WAITING_FDS;
}
static inline bool vfus_has_client(const struct bh_vfu_server *s)
{
	return s->state == VFUS_ATTACHED || s->state == VFUS_NEGOTIATED;
}

/* closer.c */
int vfus_closer_create(struct vfus_closer **out);
/* What is still waiting is closed all the same. NULL is accepted. */
void vfus_closer_destroy(struct vfus_closer *closer);
/* Closes a client's descriptor, soon at the latest; never waits. ctx: the server. */
void vfus_close(void *ctx, int fd);
/* Descriptors wait that do not get closed: no more are taken. */
bool vfus_closer_is_full(const struct bh_vfu_server *s);

/* dispatch.c */
void vfus_take(struct bh_vfu_server *s, struct vfu_msg *msg);
void vfus_run_deferred(struct bh_vfu_server *s);
void vfus_drop_deferred(struct bh_vfu_server *s);
void vfus_reply(struct bh_vfu_server *s, const void *body, size_t body_len, const void *data,
		size_t data_len, const int *fds, unsigned int nfds);
void vfus_finish(struct bh_vfu_server *s, int rc); /* ends a command that was VFUS_PENDING */

/* negotiate.c */
int vfus_handle_version(struct bh_vfu_server *s, struct vfu_msg *msg);
int vfus_handle_device_info(struct bh_vfu_server *s, struct vfu_msg *msg);
int vfus_handle_feature(struct bh_vfu_server *s, struct vfu_msg *msg);
int vfus_handle_reset(struct bh_vfu_server *s, struct vfu_msg *msg);
int vfus_do_reset(struct bh_vfu_server *s);

/* regions.c */
uint64_t vfus_region_size(const struct bh_vfu_server *s, uint32_t region);
int vfus_handle_region_info(struct bh_vfu_server *s, struct vfu_msg *msg);
int vfus_handle_region_read(struct bh_vfu_server *s, struct vfu_msg *msg);
int vfus_handle_region_write(struct bh_vfu_server *s, struct vfu_msg *msg);
void vfus_write_more(struct bh_vfu_server *s);
int vfus_handle_write_multi(struct bh_vfu_server *s, struct vfu_msg *msg);

/* io_fds.c */
int vfus_handle_io_fds(struct bh_vfu_server *s, struct vfu_msg *msg);

/* dma.c */
int vfus_handle_dma_map(struct bh_vfu_server *s, struct vfu_msg *msg);
int vfus_handle_dma_unmap(struct bh_vfu_server *s, struct vfu_msg *msg);

/* dma_msg.c */
int vfus_dma_init(struct bh_vfu_server *s);
void vfus_dma_message(void *ctx, bool write, uint64_t iova, void *buf, size_t len,
		      bh_cmem_done done, void *arg);
void vfus_dma_reply(struct bh_vfu_server *s, struct vfu_msg *msg);
void vfus_dma_pump(struct bh_vfu_server *s);
void vfus_dma_fail_all(struct bh_vfu_server *s, int status);
void vfus_dma_forget_wire(struct bh_vfu_server *s);

/* irqs.c */
int vfus_irqs_init(struct bh_vfu_server *s, unsigned int msix_vectors);
void vfus_irqs_fini(struct bh_vfu_server *s);
void vfus_irqs_drop(struct bh_vfu_server *s);  /* the client left: every fd of its goes */
void vfus_irqs_reset(struct bh_vfu_server *s); /* the device was reset: bindings stay */
void vfus_irqs_msix_control(struct bh_vfu_server *s, bool enable, bool function_mask);
/* True: that is a change, to be followed by vfus_irqs_changed(). */
bool vfus_irqs_table_mask(struct bh_vfu_server *s, unsigned int vector, bool masked);
void vfus_irqs_changed(struct bh_vfu_server *s);
unsigned int vfus_irq_count(const struct bh_vfu_server *s, uint32_t index);
int vfus_handle_irq_info(struct bh_vfu_server *s, struct vfu_msg *msg);
int vfus_handle_set_irqs(struct bh_vfu_server *s, struct vfu_msg *msg);

/* irq_raise.c */
void vfus_vector_bind(struct vfus_vector *vector, int fd);
void vfus_vector_open(struct vfus_vector *vector, bool open);
bool vfus_vector_pending(const struct vfus_vector *vector);
void vfus_vector_forget(struct vfus_vector *vector);
bool vfus_vector_raise(struct vfus_vector *vector);
void vfus_intx_bind(struct vfus_intx *intx, int fd);
void vfus_intx_mask(struct vfus_intx *intx, bool masked);
void vfus_intx_block(struct vfus_intx *intx, bool blocked);
void vfus_intx_trigger(struct vfus_intx *intx);
void vfus_intx_clear(struct vfus_intx *intx);
void vfus_intx_level(struct vfus_intx *intx, unsigned int vector, bool asserted);

/* irq_signal.c */
void vfus_signaller_init(struct vfus_signaller *signaller);
void vfus_signaller_fini(struct vfus_signaller *signaller);
bool vfus_is_eventfd(const struct vfus_signaller *signaller, int fd);
void vfus_signal(const struct vfus_signaller *signaller, int fd); /* any thread */

/* config.c */
/* What is wrong with the device's capabilities, or NULL. */
const char *vfus_config_check_caps(const struct bh_vfu_server_opts *opts);
void vfus_config_init(struct bh_vfu_server *s, const struct bh_vfu_server_opts *opts);
void vfus_config_reset(struct bh_vfu_server *s);
void vfus_config_read(struct bh_vfu_server *s, uint32_t offset, void *buf, size_t len);
enum vfus_reset_wish vfus_config_write(struct bh_vfu_server *s, uint32_t offset, const void *buf,
				       size_t len);

/* quiesce.c */
int vfus_gate_init(struct bh_vfu_server *s);
void vfus_gate_begin(struct bh_vfu_server *s, const struct vfus_wait *wait);
/* Quiesces for the current command, which answers with what apply returns. VFUS_PENDING or 0. */
int vfus_gate_command(struct bh_vfu_server *s, enum bh_quiesce_reason reason, uint64_t iova,
		      uint64_t len, int (*apply)(struct bh_vfu_server *s),
		      void (*finish)(struct bh_vfu_server *s, int rc));

#endif

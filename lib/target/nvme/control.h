/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the control plane know of each other. Private to lib/target/nvme; control
 * thread, except as said.
 */
#ifndef TARGET_NVME_CONTROL_H
#define TARGET_NVME_CONTROL_H

#include "base/shared.h"
#include "target/nvme/admin.h"
#include "target/nvme/ctrl.h"
#include "target/nvme/io.h"

#define TN_LOG "nvme-target"

#define TN_ABORT_LIMIT 4u /* Abort commands at once (ACL + 1) */
/* As walk.c reads them: data anywhere, bit buckets, no more data than the command moves. */
#define TN_SGLS                                                                           \
	(BH_NVME_SGLS_BYTE_ALIGNED | BH_NVME_SGLS_BIT_BUCKET | BH_NVME_SGLS_MPTR_CONTIG | \
	 BH_NVME_SGLS_MPTR_SGL)
#define TN_KEEP_ALIVE_UNIT_MS 100u /* what the Keep Alive Timeout is rounded up to: KAS is 1 */
#define TN_TIMEOUT_500MS 10u	   /* CAP.TO and CRTO: 5 s */
#define TN_RESET_DEADLINE_NS 2000000000ull

/* An emulated controller has no sensor: a nominal temperature and thresholds, in Kelvin. */
#define TN_TEMPERATURE 300u
#define TN_TEMP_WARNING 343u
#define TN_TEMP_CRITICAL 353u

/* ---- gate.c: one gate of the I/O plane at a time, for whoever wants it closed ---- */

struct tn_gate_req {
	struct tn_gate_req *next;
	enum tn_gate kind;
	uint64_t iova, len;
	bool is_going; /* memory in that range: it is taken back from stores, too */
	/* Nothing touches client memory now; ends, at once or later, with tn_gate_open(). */
	void (*closed)(struct bh_target_nvme *ctrl);
};

void tn_gate_ask(struct bh_target_nvme *ctrl, struct tn_gate_req *req);
void tn_gate_open(struct bh_target_nvme *ctrl);
/*
 * Interrupt masks or enables have changed: every line and vector is looked at, once the gate is
 * open.
 */
void tn_gate_irqs_changed(struct bh_target_nvme *ctrl);
/* The admin queue has no transfer under way any more. */
void tn_gate_admin_idle(struct bh_target_nvme *ctrl);

/* ---- mem.c: client memory that stores are told of ---- */

struct tn_mem;

/* Memory on its way back from stores. */
struct tn_taking {
	struct bh_msg msg;
	struct bh_reactor *control;
	uint32_t left; /* __atomic: answers still to come */
	void (*done)(void *arg);
	void *arg;
};

/* The server's: see struct bh_vfu_ops. */
void tn_mem_mapped(struct bh_target_nvme *ctrl, uint64_t iova, uint64_t len, uint32_t prot, int fd,
		   uint64_t fd_offset);
/* The namespace's store hears of all there is, and of what comes. */
void tn_mem_share(struct bh_target_nvme *ctrl, struct tn_ns *ns);
bool tn_mem_is_shared(const struct bh_target_nvme *ctrl, uint64_t iova, uint64_t len);
/*
 * Takes what overlaps the range back from all stores, or all from a namespace's: true: done(arg) when
 * no device reaches it, in a message of its own. False: there is none. No request is in it.
 *
 * A range's done asks again: it may be that only what was on its way back before has come. A
 * namespace's calls tn_mem_ns_taken().
 */
bool tn_mem_take(struct bh_target_nvme *ctrl, uint64_t iova, uint64_t len, struct tn_taking *taking,
		 void (*done)(void *arg), void *arg);
bool tn_mem_take_ns(struct bh_target_nvme *ctrl, struct tn_ns *ns, struct tn_taking *taking,
		    void (*done)(void *arg), void *arg);
void tn_mem_ns_taken(struct bh_target_nvme *ctrl);

/* ---- flush.c: stores made durable, one flush of the I/O plane at a time ---- */

struct tn_flush_req {
	struct tn_flush_req *next;
	struct bh_target_nvme *ctrl;
	bool is_asked;
	/* status: a status field. May ask again. */
	void (*done)(struct tn_flush_req *req, uint16_t status);
};

void tn_flush_ask(struct bh_target_nvme *ctrl, struct tn_flush_req *req);
/* As tn_flush_ask, but all of them are given up when it takes too long. */
void tn_flush_ask_briefly(struct bh_target_nvme *ctrl, struct tn_flush_req *req);
int tn_flush_timer_create(struct bh_target_nvme *ctrl);

/* ---- cmb.c ---- */

struct tn_cmb {
	uint64_t bytes; /* 0: there is none */
	struct bh_shared mem;
	uint64_t msc;
	uint32_t sts;
	bool is_wanted; /* by the registers, at want_at */
	uint64_t want_at;
	bool is_entered; /* in the client's table, at `at` */
	uint64_t at;
	bool is_asked; /* the gate is */
	struct tn_gate_req gate;
};

int tn_cmb_create(struct bh_target_nvme *ctrl, uint64_t bytes);
void tn_cmb_destroy(struct bh_target_nvme *ctrl);
uint64_t tn_cmb_bar_bytes(const struct bh_target_nvme *ctrl);
void tn_cmb_access(struct bh_target_nvme *ctrl, uint64_t offset, void *buf, size_t count,
		   bool write);
/* Its registers in an image of all of them. */
void tn_cmb_image(const struct bh_target_nvme *ctrl, uint8_t *regs);
uint64_t tn_cmb_msc(const struct bh_target_nvme *ctrl);
void tn_cmb_write(struct bh_target_nvme *ctrl, uint64_t msc);
/* The client has changed its table. Inside a closed gate. */
void tn_cmb_restore(struct bh_target_nvme *ctrl);
void tn_cmb_power_on(struct bh_target_nvme *ctrl); /* inside a closed gate */

/* ---- event.c, selftest.c ---- */

struct tn_events;
struct tn_selftest;

#define TN_RESV_NOTES 64u

/* Reservation notifications that the host has not read, the oldest first. */
struct tn_resv_notes {
	uint64_t last; /* number of the newest */
	unsigned int count;
	struct bh_nvme_resv_log log[TN_RESV_NOTES];
};

/* The control plane's state beyond what the I/O plane sees. ctrl->ctl. */
struct tn_ctl {
	struct tn_gate_req *gate;	  /* closing or closed; NULL: open */
	struct tn_gate_req *gate_waiting; /* in order */
	bool gate_io_closed;
	bool gate_told;
	bool irqs_changed; /* behind the gate */

	struct tn_gate_req server_gate; /* for the vfio-user server */
	struct tn_taking taking;	/* what goes behind it */
	struct tn_mem *mem;
	unsigned int num_mem;
	unsigned int ns_takings; /* from namespaces that go; then those of a range have their turn */
	void (*taken_then)(void *arg);
	void *taken_arg;
	struct tn_gate_req reset_gate; /* for CC.EN 1 -> 0 */
	struct tn_flush_req shutdown_flush;
	struct tn_flush_req destroy_flush;
	struct tn_flush_req *flushing; /* in order, the first is under way */
	struct bh_timer *flush_timer;
	bool is_giving_up;	 /* whoever waits for a flush waits no longer */
	bool is_shut_down_again; /* asked for while one was under way */
	bool is_resetting;	 /* between CC.EN = 0 and CSTS.RDY = 0 */
	struct bh_timer *reset_timer;

	struct tn_events *events;
	struct tn_selftest *selftest;
	struct tn_telemetry *telemetry;
	const char *fatal_why; /* __atomic: static text, since the last reset */
	/* A bit per nsid, until the log is read. */
	uint64_t changed_ns[BH_TARGET_NVME_MAX_NS / 64 + 1];
	struct tn_resv_notes resv_notes;
	uint64_t created_ns;
	uint64_t media_errors; /* under error_lock */
	/* Of the power, which for an emulated controller is its client. */
	uint64_t clients_left, unsafe_shutdowns;
	uint64_t busy_seconds, commands_seen; /* health.c */
	struct bh_timer *health_timer;
	uint64_t admin_commands;      /* that have come */
	struct bh_timer *alive_timer; /* alive.c */
	uint64_t alive_traffic;	      /* when it was set */
	struct tn_pel_page *pel_page; /* pel.c: what is being read; NULL: nothing */
	uint64_t pel_smart_at_ns;     /* the next snapshot; 0: with the next enabling */
	uint64_t reset_ns;
	bool is_alive_late; /* it has been given its last extension */

	unsigned int pending_ns; /* namespaces on their way in or out, formats of them */
	bool is_leaving;	 /* the server has let its client go */
	void (*destroyed)(void *arg);
	void *destroyed_arg;
	struct bh_msg destroy_msg;
	struct bh_shared doorbells; /* ctrl->doorbell_fd, ctrl->doorbell_page */
	struct tn_cmb cmb;
};

static inline struct tn_ctl *tn_ctl(const struct bh_target_nvme *ctrl)
{
	return (struct tn_ctl *)ctrl->ctl;
}

int tn_events_create(struct bh_target_nvme *ctrl);
void tn_events_free(struct bh_target_nvme *ctrl);
void tn_events_reset(struct bh_target_nvme *ctrl);
/*
 * An Asynchronous Event Request has come, or what masked events has changed: report what can be
 * reported.
 */
void tn_events_deliver(struct bh_target_nvme *ctrl);
/* The host has read log page `lid` without Retain Asynchronous Event. */
void tn_events_clear(struct bh_target_nvme *ctrl, uint8_t lid);
/* What SMART warns of, or what of that the host wants to be told, has changed. */
void tn_events_smart(struct bh_target_nvme *ctrl);

/* ---- regs.c ---- */

void tn_regs_init(struct bh_target_nvme *ctrl);
int tn_regs_read(struct bh_target_nvme *ctrl, uint64_t offset, void *buf, size_t count);
int tn_regs_write(struct bh_target_nvme *ctrl, uint64_t offset, const void *buf, size_t count);
/* Everything to power-on state, the administrative registers included. Inside a closed gate. */
void tn_regs_power_on(struct bh_target_nvme *ctrl);
bool tn_regs_is_ready(const struct bh_target_nvme *ctrl);
int tn_regs_timer_create(struct bh_target_nvme *ctrl);

/* ---- admin.c ---- */

#define TN_ADMIN_DATA 4096u /* the most that any admin command moves */

struct tn_admin_cmd;
typedef void (*tn_admin_fn)(struct tn_admin_cmd *cmd);

struct tn_admin_cmd {
	struct tn_admin_cmd *next;
	struct bh_target_nvme *ctrl;
	struct bh_nvme_cmd sqe; /* a private copy */
	struct tn_xfer xfer;
	tn_admin_fn then; /* after data, or when it is its turn among queue commands */
	uint32_t cdw0;
	uint16_t status; /* status field */
	bool is_busy;	 /* not in the free list */
	bool is_dropped; /* a reset came: whoever still holds it lets go without a completion */
	struct tn_flush_req flush;
	bool is_abort; /* counts against the Abort Command Limit */
	uint8_t *copy; /* what does not fit into data; freed with the command */
	uint8_t data[TN_ADMIN_DATA] __attribute__((aligned(16)));
};

int tn_admin_create(struct bh_target_nvme *ctrl);
void tn_admin_free(struct bh_target_nvme *ctrl);
void tn_admin_start(struct bh_target_nvme *ctrl); /* queues as AQA, ASQ, ACQ say */
/* Inside a closed gate: forgets queues and commands. */
void tn_admin_drop(struct bh_target_nvme *ctrl);
void tn_admin_pause(struct bh_target_nvme *ctrl);
void tn_admin_resume(struct bh_target_nvme *ctrl);
/* No transfer from or to client memory is under way. */
bool tn_admin_is_idle(const struct bh_target_nvme *ctrl);
void tn_admin_irqs_changed(struct bh_target_nvme *ctrl);

/* Completes with the status field as it is; a failure goes to the error log. */
void tn_admin_complete(struct tn_admin_cmd *cmd, uint16_t sf);
/* Completes with DNR, naming the byte of the command that is wrong. */
void tn_admin_fail(struct tn_admin_cmd *cmd, uint16_t sf, unsigned int byte);
/*
 * Moves data[offset, offset + len) to the client, then `then` with the outcome in cmd->status
 * (NULL: completes with it).
 */
void tn_admin_send(struct tn_admin_cmd *cmd, size_t offset, size_t len, tn_admin_fn then);
/* Sends a copy of any data, and completes. */
void tn_admin_send_copy(struct tn_admin_cmd *cmd, const void *data, size_t len);
/* Fetches len bytes into data, then `then` likewise. */
void tn_admin_receive(struct tn_admin_cmd *cmd, size_t len, tn_admin_fn then);
/*
 * Commands about queues go one after another: runs fn(cmd) when it is its turn. Done by
 * completing it.
 */
void tn_admin_serialize(struct tn_admin_cmd *cmd, tn_admin_fn fn);
/* The done callback for calls into the I/O plane; arg is the command. */
void tn_admin_io_done(void *arg, uint16_t status);

/* Keeps an Asynchronous Event Request until there is something to tell. */
void tn_admin_aer_add(struct tn_admin_cmd *cmd);
unsigned int tn_admin_aers(const struct bh_target_nvme *ctrl); /* outstanding */
/* Completes the oldest. */
void tn_admin_aer_complete(struct bh_target_nvme *ctrl, uint32_t cdw0);
/* Aborts a command of the admin queue itself: only those that wait for events can be. */
bool tn_admin_abort_own(struct bh_target_nvme *ctrl, uint16_t cid);
/* Abort commands being carried out. */
unsigned int tn_admin_aborts(const struct bh_target_nvme *ctrl);

/* Bytes of a command that error log entries point to. */
#define TN_AT_OPC 0u
#define TN_AT_FLAGS 1u
#define TN_AT_NSID 4u
#define TN_AT_PRP1 24u
#define TN_AT_PRP2 32u
#define TN_AT_CDW10 40u
#define TN_AT_CDW11 44u
#define TN_AT_CDW12 48u
#define TN_AT_CDW14 56u
#define TN_AT_NOWHERE 0xffffu

/* ---- admin_cmd.c, identify.c, feature.c, log.c: commands; each completes in time ---- */

bool tn_admin_supports(const struct bh_target_nvme *ctrl, uint8_t opc);
void tn_admin_execute(struct tn_admin_cmd *cmd);
bool tn_has_doorbell_buffers(const struct bh_target_nvme *ctrl);

void tn_cmd_identify(struct tn_admin_cmd *cmd);
void tn_cmd_get_features(struct tn_admin_cmd *cmd);
void tn_cmd_set_features(struct tn_admin_cmd *cmd);
void tn_cmd_get_log_page(struct tn_admin_cmd *cmd);
void tn_cmd_ns_management(struct tn_admin_cmd *cmd); /* ns_mgmt.c */
void tn_cmd_ns_attachment(struct tn_admin_cmd *cmd);

/* Rows of feature.c, in resv_feat.c. */
size_t tn_feat_host_id_bytes(const struct tn_admin_cmd *cmd);
size_t tn_feat_get_host_id(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf);
uint16_t tn_feat_set_host_id(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11);
size_t tn_feat_get_resv_mask(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf);
uint16_t tn_feat_set_resv_mask(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11);
size_t tn_feat_get_resv_ptpl(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf);
uint16_t tn_feat_set_resv_ptpl(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11);

/* ---- erase.c ---- */

struct tn_erase;

struct tn_erase_opts {
	struct bh_reactor *control;
	struct bh_blk *blk; /* nobody else uses it, and it stays */
	uint64_t bytes;	    /* of it, from the first on */
	const uint32_t *pattern; /* to write everywhere; NULL: blocks are freed */
	/* So many bytes more have been done (0: they are durable); false: enough. */
	bool (*progress)(void *arg, uint64_t bytes);
	void (*done)(void *arg, int error); /* not inside tn_erase_start(); it is gone */
	void *arg;
};

int tn_erase_start(const struct tn_erase_opts *opts, struct tn_erase **out);
void tn_erase_stop(struct tn_erase *erase); /* one that is not done; NULL is accepted */

/* ---- sanitize.c ---- */

void tn_cmd_sanitize(struct tn_admin_cmd *cmd);
uint32_t tn_sanicap(const struct bh_target_nvme *ctrl); /* 0: there is no such command */
void tn_sanitize_log(const struct bh_target_nvme *ctrl, struct bh_nvme_sanitize_log *log);
/* 0, or what the admin command is refused with while a sanitize operation is under way or failed. */
uint16_t tn_sanitize_denies(const struct bh_target_nvme *ctrl, uint8_t opc);

/* format.c */
void tn_cmd_format(struct tn_admin_cmd *cmd);
/* The fields of Identify Namespace about formats. */
void tn_format_identify(const struct bh_blk *blk, struct bh_nvme_id_ns *id);

/* The i-th of the formats that the store can have; false: there are fewer. */
bool tn_format_get(const struct bh_blk *blk, unsigned int i, struct bh_blk_format *out);
void tn_zns_identify(const struct bh_blk *blk, struct bh_nvme_id_ns_zns *id);

/* A text field of Identify and the like: padded with spaces, not terminated. */
void tn_put_text(char *field, size_t size, const char *text);
void tn_features_reset(struct bh_target_nvme *ctrl);
struct bh_nvme_timestamp tn_timestamp(const struct bh_target_nvme *ctrl);
void tn_smart_fill(struct bh_target_nvme *ctrl, struct bh_nvme_smart_log *log); /* zeroed */
/* The critical warning byte of the SMART log as things are. */
uint8_t tn_critical_warning(const struct bh_target_nvme *ctrl);
bool tn_has_write_cache(const struct bh_target_nvme *ctrl);

/*
 * Does the other plane carry out this I/O command, in every namespace there is? For ONCS and the
 * effects log.
 */
bool tn_io_supports(const struct bh_target_nvme *ctrl, uint8_t opc);

/* ---- alive.c ---- */

int tn_alive_create(struct bh_target_nvme *ctrl);
/* The timeout was set, or the controller was reset: the timer begins anew, or ends. */
void tn_alive_restart(struct bh_target_nvme *ctrl);
void tn_alive_cmd(struct tn_admin_cmd *cmd);
uint32_t tn_alive_round(uint32_t ms); /* to what the timer can do; 0 stays 0 */

/* ---- selftest.c, health.c ---- */

/* Counts the seconds in which there was something to do */
int tn_health_create(struct bh_target_nvme *ctrl);
void tn_health_watch(struct bh_target_nvme *ctrl, bool on);

int tn_selftest_create(struct bh_target_nvme *ctrl);
void tn_selftest_free(struct bh_target_nvme *ctrl);
void tn_selftest_reset(struct bh_target_nvme *ctrl); /* a controller reset ends the short one */
void tn_selftest_cmd(struct tn_admin_cmd *cmd);
void tn_selftest_log(const struct bh_target_nvme *ctrl, struct bh_nvme_self_test_log *log);
uint16_t tn_selftest_minutes(const struct bh_target_nvme *ctrl); /* of the extended one: EDSTT */
/* What reads and writes of namespaces that are under way would undo or be undone by ends it. */
void tn_selftest_end(struct bh_target_nvme *ctrl, uint8_t result);
uint64_t tn_power_on_hours(const struct bh_target_nvme *ctrl); /* log.c */

/* ---- ns.c ---- */

/* The namespace if it is active (attached, its channels open), else NULL. Any nsid. */
struct tn_ns *tn_ns_get(const struct bh_target_nvme *ctrl, uint32_t nsid);
/* As bh_target_nvme_ns_add() of a namespace there is, and bh_target_nvme_ns_detach(), for a host. */
int tn_ns_add(struct bh_target_nvme *ctrl, uint32_t nsid, void (*done)(void *arg, int error),
	      void *arg);
int tn_ns_detach(struct bh_target_nvme *ctrl, uint32_t nsid, void (*done)(void *arg), void *arg);
void tn_ns_changed(struct bh_target_nvme *ctrl, uint32_t nsid);
/* Begins to detach whatever is attached; tn_ctrl_ns_gone() follows for each. */
void tn_ns_detach_all(struct bh_target_nvme *ctrl);
void tn_ctrl_ns_gone(struct bh_target_nvme *ctrl); /* ctrl.c */

#endif

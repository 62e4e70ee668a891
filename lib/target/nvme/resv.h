/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reservations of a namespace (NVMe 2.0 8.19). Private to lib/target/nvme; control thread, but for
 * the bits of TN_DENY_*.
 */
#ifndef TARGET_NVME_RESV_H
#define TARGET_NVME_RESV_H

#include <stdbool.h>
#include <stdint.h>

#include <bellhop/nvme_spec.h>

#define TN_RESV_REGISTRANTS 128u

/* What a controller must not do: commands that read, commands that change. */
#define TN_DENY_READ 1u
#define TN_DENY_WRITE 2u

enum tn_resv_note { /* types of the reservation notification log */
		    TN_RESV_REGISTRATION_PREEMPTED = 1,
		    TN_RESV_RELEASED = 2,
		    TN_RESV_PREEMPTED = 3,
};

/*
 * A host: an id of its own, the same on each of its controllers; or none (zeros), and then one
 * controller is all there is of it.
 */
struct tn_host {
	uint8_t id[16];
	uint16_t cntlid; /* 0 where there is an id */
};

struct tn_registrant {
	struct tn_host host;
	uint64_t key;
};

struct tn_resv {
	uint32_t gen;
	uint8_t type;	       /* 0: not reserved */
	bool is_persistent;    /* through power loss */
	struct tn_host holder; /* of a type other than All Registrants */
	uint32_t count;
	struct tn_registrant reg[TN_RESV_REGISTRANTS];
};

struct tn_resv_event {
	struct tn_host host;
	enum tn_resv_note note;
};

/* What a command brings about beside the new state. */
struct tn_resv_outcome {
	uint32_t count;
	struct tn_resv_event event[TN_RESV_REGISTRANTS];
	bool is_aborting; /* what the hosts of registrations that went have under way */
};

/* The commands; cmd: cdw10 is looked at. A status code, 0: it has come about. */
uint16_t tn_resv_register(struct tn_resv *resv, const struct tn_host *host,
			  const struct bh_nvme_cmd *cmd, const struct bh_nvme_resv_register *data,
			  bool may_persist, struct tn_resv_outcome *out);
uint16_t tn_resv_acquire(struct tn_resv *resv, const struct tn_host *host,
			 const struct bh_nvme_cmd *cmd, const struct bh_nvme_resv_acquire *data,
			 struct tn_resv_outcome *out);
uint16_t tn_resv_release(struct tn_resv *resv, const struct tn_host *host,
			 const struct bh_nvme_cmd *cmd, const struct bh_nvme_resv_release *data,
			 struct tn_resv_outcome *out);
/* A host without an id has been reset: it is another one from now on. True: something changed. */
bool tn_resv_forget(struct tn_resv *resv, const struct tn_host *host, struct tn_resv_outcome *out);

bool tn_host_is(const struct tn_host *a, const struct tn_host *b);
/* NULL: it is none. */
const struct tn_registrant *tn_resv_find(const struct tn_resv *resv, const struct tn_host *host);
bool tn_resv_is_holder(const struct tn_resv *resv, const struct tn_host *host);
/* TN_DENY_* of a host. */
uint8_t tn_resv_denied(const struct tn_resv *resv, const struct tn_host *host);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Get and Set Features (NVMe 2.0 5.15, 5.27).
 *
 * A row per feature: how a value is read out of a struct tn_features, and how it is set. Defaults
 * are a struct tn_features too, so a Get of the default and of the current value are the same
 * function. Nothing is saveable: the saved value is the default (5.27.1), and a Set with SV
 * fails. A reset brings back the defaults.
 *
 * Features are set on the control thread. Those that the I/O plane heeds are words that it reads
 * whole.
 */
#include <string.h>

#include <bellhop/clock.h>

#include "target/nvme/control.h"
#include "target/nvme/pel.h"
#include "target/nvme/subsys.h"
#include "target/nvme/telemetry.h"

#define ARBITRATION_BITS 0xffffff07u
#define ARBITRATION_NO_LIMIT 7u
#define ASYNC_EVENT_BITS \
	0x0000051fu /* the five SMART warnings there can be; namespace attributes; telemetry */
#define TMPSEL_ALL 0xfu
#define TIMESTAMP_BYTES sizeof(struct bh_nvme_timestamp)
#define TIMESTAMP_SET 1u /* origin: Set Features */

struct feature {
	/*
	 * The value into cdw0, or data to be sent: its size is returned. SEL has chosen f. *sf:
	 * why not.
	 */
	size_t (*get)(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf);
	/* 0 or why not. With data: after it has come. */
	uint16_t (*set)(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11);
	size_t set_bytes; /* of data that Set takes */
	bool is_ns_specific;
	bool is_about_queues; /* Set waits its turn among queue commands */
};

static void defaults(const struct bh_target_nvme *ctrl, struct tn_features *f)
{
	uint32_t most = ctrl->max_queues - 1;

	memset(f, 0, sizeof(*f));
	f->arbitration = ARBITRATION_NO_LIMIT;
	f->temp_over = TN_TEMP_WARNING;
	f->write_cache = BH_NVME_FEAT_VWC_WCE;
	f->queues =
		(uint32_t)(BH_NVME_SET(NUM_QUEUES_NCQ, most) | BH_NVME_SET(NUM_QUEUES_NSQ, most));
}

void tn_features_reset(struct bh_target_nvme *ctrl)
{
	struct tn_features f;

	defaults(ctrl, &f);
	f.timestamp_at_ns = bh_now_ns();
	ctrl->features = f;
}

/* 0, or what an id fails with where a namespace is meant (base 2.0 3.2.1). */
static uint16_t check_active(const struct bh_target_nvme *ctrl, uint32_t nsid)
{
	if (!nsid || nsid > BH_TARGET_NVME_MAX_NS)
		return BH_NVME_SC_INVALID_NS;
	return tn_ns_get(ctrl, nsid) ? 0 : BH_NVME_SC_INVALID_FIELD;
}

/* ---- plain words ---- */

static size_t get_arbitration(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	(void)sf;
	cmd->cdw0 = f->arbitration;
	return 0;
}

static uint16_t set_arbitration(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	(void)cmd;
	__atomic_store_n(&f->arbitration, cdw11 & ARBITRATION_BITS, __ATOMIC_RELAXED);
	return 0;
}

static size_t get_power(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	(void)sf;
	cmd->cdw0 = f->power_management;
	return 0;
}

static uint16_t set_power(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	(void)cmd;
	if (cdw11 & 0x1f) /* power state 0 is the only one */
		return BH_NVME_SC_INVALID_FIELD;
	f->power_management = cdw11 & 0xe0; /* workload hint */
	return 0;
}

static size_t get_coalescing(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	(void)sf;
	cmd->cdw0 = f->coalescing;
	return 0;
}

static uint16_t set_coalescing(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	(void)cmd;
	__atomic_store_n(&f->coalescing, cdw11 & 0xffff, __ATOMIC_RELAXED);
	return 0;
}

static size_t get_atomicity(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	(void)sf;
	cmd->cdw0 = f->atomicity;
	return 0;
}

static uint16_t set_atomicity(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	(void)cmd;
	f->atomicity = cdw11 & 1u;
	return 0;
}

static size_t get_async_events(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	(void)sf;
	cmd->cdw0 = f->async_events;
	return 0;
}

static uint16_t set_async_events(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	f->async_events = cdw11 & ASYNC_EVENT_BITS;
	tn_events_smart(cmd->ctrl);
	tn_telemetry_tell(cmd->ctrl);
	return 0;
}

/* There is one combination of I/O command sets, the first. */
static size_t get_iocs_profile(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	(void)f;
	(void)sf;
	cmd->cdw0 = 0;
	return 0;
}

static uint16_t set_iocs_profile(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	(void)cmd;
	(void)f;
	return cdw11 & 0x1ff ? BH_NVME_SC_IOCS_COMBINATION_REJECTED : 0;
}

/* ---- write cache: a feature if a store has one ---- */

static size_t get_write_cache(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	(void)sf;
	cmd->cdw0 = f->write_cache;
	return 0;
}

static uint16_t set_write_cache(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	(void)cmd;
	__atomic_store_n(&f->write_cache, cdw11 & BH_NVME_FEAT_VWC_WCE, __ATOMIC_RELEASE);
	return 0;
}

/* ---- temperature threshold: the composite sensor is the only one ---- */

static size_t get_temperature(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	uint32_t select = cmd->sqe.cdw11 >> 16 & 0xf;
	uint32_t type = cmd->sqe.cdw11 >> 20 & 0x3;

	if (select || type > 1)
		*sf = BH_NVME_SC_INVALID_FIELD;
	cmd->cdw0 = type ? f->temp_under : f->temp_over;
	return 0;
}

static uint16_t set_temperature(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	uint32_t select = cdw11 >> 16 & 0xf;
	uint32_t type = cdw11 >> 20 & 0x3;

	if ((select && select != TMPSEL_ALL) || type > 1)
		return BH_NVME_SC_INVALID_FIELD;
	if (type)
		f->temp_under = (uint16_t)cdw11;
	else
		f->temp_over = (uint16_t)cdw11;
	tn_events_smart(cmd->ctrl);
	return 0;
}

/* ---- error recovery: a namespace's; DULBE is not supported (NSFEAT bit 2) ---- */

static size_t get_error_recovery(struct tn_admin_cmd *cmd, const struct tn_features *f,
				 uint16_t *sf)
{
	*sf = check_active(cmd->ctrl, cmd->sqe.nsid);
	if (!*sf)
		cmd->cdw0 = f->error_recovery[cmd->sqe.nsid];
	return 0;
}

static uint16_t set_error_recovery(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	uint32_t nsid;

	if (cdw11 & 1u << 16)
		return BH_NVME_SC_INVALID_FIELD;
	for (nsid = 1; nsid <= BH_TARGET_NVME_MAX_NS; nsid++) {
		if (cmd->sqe.nsid == nsid || cmd->sqe.nsid == BH_NVME_NSID_ALL)
			f->error_recovery[nsid] = (uint16_t)cdw11;
	}
	return 0;
}

/* ---- number of queues: asked before there are any ---- */

static size_t get_queues(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	(void)sf;
	cmd->cdw0 = f->queues;
	return 0;
}

static bool has_queues(const struct bh_target_nvme *ctrl)
{
	unsigned int qid;

	for (qid = 1; qid <= ctrl->max_queues; qid++) {
		if (tn_io_has_cq(ctrl, (uint16_t)qid) || tn_io_has_sq(ctrl, (uint16_t)qid))
			return true;
	}
	return false;
}

static uint16_t set_queues(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	uint32_t most = cmd->ctrl->max_queues - 1;
	uint32_t nsq = (uint32_t)BH_NVME_GET(cdw11, NUM_QUEUES_NSQ);
	uint32_t ncq = (uint32_t)BH_NVME_GET(cdw11, NUM_QUEUES_NCQ);

	if (nsq == 0xffff || ncq == 0xffff)
		return BH_NVME_SC_INVALID_FIELD;
	if (has_queues(cmd->ctrl))
		return BH_NVME_SC_COMMAND_SEQUENCE_ERROR;
	nsq = nsq < most ? nsq : most;
	ncq = ncq < most ? ncq : most;
	f->queues = (uint32_t)(BH_NVME_SET(NUM_QUEUES_NCQ, ncq) | BH_NVME_SET(NUM_QUEUES_NSQ, nsq));
	f->queues_set = true;
	cmd->cdw0 = f->queues;
	return 0;
}

/* ---- interrupt vector configuration: vector in 15:0, coalescing disable in 16 ---- */

static size_t get_vector(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	uint32_t vector = cmd->sqe.cdw11 & 0xffff;

	if (vector > cmd->ctrl->max_queues)
		*sf = BH_NVME_SC_INVALID_FIELD;
	else
		cmd->cdw0 = vector | f->vector_config[vector];
	return 0;
}

static uint16_t set_vector(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	uint32_t vector = cdw11 & 0xffff;

	if (vector > cmd->ctrl->max_queues)
		return BH_NVME_SC_INVALID_FIELD;
	__atomic_store_n(&f->vector_config[vector], cdw11 & BH_NVME_FEAT_INTERRUPT_CD,
			 __ATOMIC_RELAXED);
	return 0;
}

/* ---- timestamp ---- */

static struct bh_nvme_timestamp timestamp_of(const struct tn_features *f)
{
	struct bh_nvme_timestamp ts = { .attr = (uint8_t)(f->timestamp_origin << 1) };
	uint64_t ms = f->timestamp_ms;

	if (f->timestamp_at_ns)
		ms += (bh_now_ns() - f->timestamp_at_ns) / 1000000;
	memcpy(ts.ms, &ms, sizeof(ts.ms));
	return ts;
}

struct bh_nvme_timestamp tn_timestamp(const struct bh_target_nvme *ctrl)
{
	return timestamp_of(&ctrl->features);
}

static size_t get_timestamp(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	struct bh_nvme_timestamp ts = timestamp_of(f);

	(void)sf;
	memcpy(cmd->data, &ts, sizeof(ts));
	return sizeof(ts);
}

static uint16_t set_timestamp(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	struct bh_nvme_timestamp before = timestamp_of(f);

	(void)cdw11;
	f->timestamp_ms = 0;
	memcpy(&f->timestamp_ms, cmd->data, sizeof(((struct bh_nvme_timestamp *)0)->ms));
	f->timestamp_at_ns = bh_now_ns();
	f->timestamp_origin = TIMESTAMP_SET;
	tn_pel_timestamp(cmd->ctrl, before);
	return 0;
}

/* ---- keep alive: milliseconds, as the timer has them ---- */

static size_t get_keep_alive(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	(void)sf;
	cmd->cdw0 = f->keep_alive_ms;
	return 0;
}

static uint16_t set_keep_alive(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	f->keep_alive_ms = tn_alive_round(cdw11);
	tn_alive_restart(cmd->ctrl);
	return 0;
}

/* ---- host behavior support ---- */

static size_t get_behavior(struct tn_admin_cmd *cmd, const struct tn_features *f, uint16_t *sf)
{
	(void)sf;
	memcpy(cmd->data, &f->host_behavior, sizeof(f->host_behavior));
	return sizeof(f->host_behavior);
}

static uint16_t set_behavior(struct tn_admin_cmd *cmd, struct tn_features *f, uint32_t cdw11)
{
	const struct bh_nvme_host_behavior *b = (const struct bh_nvme_host_behavior *)cmd->data;

	(void)cdw11;
	if (b->acre > 1 || b->etdas > 1 || b->lbafee > 1)
		return BH_NVME_SC_INVALID_FIELD;
	memset(&f->host_behavior, 0, sizeof(f->host_behavior));
	f->host_behavior.acre = b->acre;
	f->host_behavior.etdas = b->etdas;
	f->host_behavior.lbafee = b->lbafee;
	return 0;
}

/* ---- the table ---- */

static const struct feature features[] = {
	[BH_NVME_FEAT_ARBITRATION] = { get_arbitration, set_arbitration, 0, false, false },
	[BH_NVME_FEAT_POWER_MANAGEMENT] = { get_power, set_power, 0, false, false },
	[BH_NVME_FEAT_TEMPERATURE_THRESHOLD] = { get_temperature, set_temperature, 0, false,
						 false },
	[BH_NVME_FEAT_ERROR_RECOVERY] = { get_error_recovery, set_error_recovery, 0, true, false },
	[BH_NVME_FEAT_VOLATILE_WRITE_CACHE] = { get_write_cache, set_write_cache, 0, false, false },
	[BH_NVME_FEAT_NUMBER_OF_QUEUES] = { get_queues, set_queues, 0, false, true },
	[BH_NVME_FEAT_INTERRUPT_COALESCING] = { get_coalescing, set_coalescing, 0, false, false },
	[BH_NVME_FEAT_INTERRUPT_VECTOR_CONFIG] = { get_vector, set_vector, 0, false, false },
	[BH_NVME_FEAT_WRITE_ATOMICITY] = { get_atomicity, set_atomicity, 0, false, false },
	[BH_NVME_FEAT_ASYNC_EVENT_CONFIG] = { get_async_events, set_async_events, 0, false, false },
	[BH_NVME_FEAT_TIMESTAMP] = { get_timestamp, set_timestamp, TIMESTAMP_BYTES, false, false },
	[BH_NVME_FEAT_KEEP_ALIVE_TIMER] = { get_keep_alive, set_keep_alive, 0, false, false },
	[BH_NVME_FEAT_HOST_BEHAVIOR] = { get_behavior, set_behavior,
					 sizeof(struct bh_nvme_host_behavior), false, false },
	[BH_NVME_FEAT_IOCS_PROFILE] = { get_iocs_profile, set_iocs_profile, 0, false, false },
	[BH_NVME_FEAT_HOST_ID] = { tn_feat_get_host_id, tn_feat_set_host_id, 16, false, false },
	[BH_NVME_FEAT_RESV_NOTIFICATION_MASK] = { tn_feat_get_resv_mask, tn_feat_set_resv_mask, 0,
						  true, false },
	[BH_NVME_FEAT_RESV_PERSISTENCE] = { tn_feat_get_resv_ptpl, tn_feat_set_resv_ptpl, 0, true,
					    false },
};

static const struct feature *feature_of(const struct tn_admin_cmd *cmd)
{
	uint8_t fid = (uint8_t)BH_NVME_GET(cmd->sqe.cdw10, FEATURES_FID);

	if (fid >= sizeof(features) / sizeof(features[0]) || !features[fid].get)
		return NULL;
	if (fid == BH_NVME_FEAT_VOLATILE_WRITE_CACHE && !tn_has_write_cache(cmd->ctrl))
		return NULL;
	if (fid >= BH_NVME_FEAT_HOST_ID && !tn_has_reservations(cmd->ctrl))
		return NULL;
	return &features[fid];
}

static uint32_t capabilities(const struct feature *feature)
{
	return BH_NVME_FEATURES_CAP_CHANGEABLE |
	       (feature->is_ns_specific ? BH_NVME_FEATURES_CAP_NS_SPECIFIC : 0);
}

void tn_cmd_get_features(struct tn_admin_cmd *cmd)
{
	const struct feature *feature = feature_of(cmd);
	uint32_t sel = (uint32_t)BH_NVME_GET(cmd->sqe.cdw10, FEATURES_SEL);
	const struct tn_features *from = &cmd->ctrl->features;
	struct tn_features def;
	uint16_t sf = 0;
	size_t bytes;

	if (!feature || sel > BH_NVME_FEATURES_SEL_SUPPORTED) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD,
			      feature ? TN_AT_CDW10 + 1 : TN_AT_CDW10);
		return;
	}
	if (sel == BH_NVME_FEATURES_SEL_DEFAULT || sel == BH_NVME_FEATURES_SEL_SAVED) {
		defaults(cmd->ctrl, &def);
		from = &def;
	}
	if (sel == BH_NVME_FEATURES_SEL_SUPPORTED) {
		cmd->cdw0 = capabilities(feature);
		tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
		return;
	}
	bytes = feature->get(cmd, from, &sf);
	if (sf)
		tn_admin_fail(cmd, sf, feature->is_ns_specific ? TN_AT_NSID : TN_AT_CDW11);
	else if (bytes)
		tn_admin_send(cmd, 0, bytes, NULL);
	else
		tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
}

static void cache_flushed(struct tn_flush_req *req, uint16_t status)
{
	struct tn_admin_cmd *cmd =
		(struct tn_admin_cmd *)((char *)req - offsetof(struct tn_admin_cmd, flush));

	if (status)
		tn_admin_fail(cmd, status, TN_AT_NOWHERE);
	else
		tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
}

/* What is in the cache when it is switched off is written out first; what follows is FUA. */
static bool cache_goes_off(struct tn_admin_cmd *cmd)
{
	uint8_t fid = (uint8_t)BH_NVME_GET(cmd->sqe.cdw10, FEATURES_FID);

	cmd->flush.done = cache_flushed;
	return fid == BH_NVME_FEAT_VOLATILE_WRITE_CACHE && !(cmd->sqe.cdw11 & BH_NVME_FEAT_VWC_WCE);
}

static bool is_host_id(const struct tn_admin_cmd *cmd)
{
	return BH_NVME_GET(cmd->sqe.cdw10, FEATURES_FID) == BH_NVME_FEAT_HOST_ID;
}

/* I/O is judged by it from now on. */
static void host_is_known(void *cmd)
{
	tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
}

/* 0 or why not. What it has changed is an event, but for the clock, which has one of its own. */
static uint16_t set_feature(struct tn_admin_cmd *cmd)
{
	uint8_t fid = (uint8_t)BH_NVME_GET(cmd->sqe.cdw10, FEATURES_FID);
	struct tn_features *f = &cmd->ctrl->features, before;
	uint16_t sf;

	memcpy(&before, f, sizeof(before));
	sf = feature_of(cmd)->set(cmd, f, cmd->sqe.cdw11);
	if (!sf && fid != BH_NVME_FEAT_TIMESTAMP &&
	    (fid == BH_NVME_FEAT_RESV_PERSISTENCE || memcmp(&before, f, sizeof(before)) != 0))
		tn_pel_set_feature(cmd);
	return sf;
}

static void set_now(struct tn_admin_cmd *cmd)
{
	uint16_t sf = cmd->status;

	if (sf & BH_NVME_STATUS_SC_MASK) { /* the data did not come */
		tn_admin_complete(cmd, sf);
		return;
	}
	sf = set_feature(cmd);
	if (sf)
		tn_admin_fail(cmd, sf, feature_of(cmd)->set_bytes ? TN_AT_PRP1 : TN_AT_CDW11);
	else if (is_host_id(cmd) && !tn_resv_host_changed(cmd->ctrl, host_is_known, cmd))
		return;
	else if (cache_goes_off(cmd))
		tn_flush_ask(cmd->ctrl, &cmd->flush);
	else
		tn_admin_complete(cmd, BH_NVME_SC_SUCCESS);
}

/*
 * A namespace id where the feature is the controller's, or none where it is a namespace's (5.27).
 */
static uint16_t check_nsid(const struct tn_admin_cmd *cmd, const struct feature *feature)
{
	uint32_t nsid = cmd->sqe.nsid;

	if (feature->is_ns_specific)
		return nsid == BH_NVME_NSID_ALL ? 0 : check_active(cmd->ctrl, nsid);
	if (!nsid || nsid == BH_NVME_NSID_ALL)
		return 0;
	return nsid <= BH_TARGET_NVME_MAX_NS ? BH_NVME_SC_FEATURE_NOT_NS_SPECIFIC
					     : BH_NVME_SC_INVALID_NS;
}

void tn_cmd_set_features(struct tn_admin_cmd *cmd)
{
	const struct feature *feature = feature_of(cmd);
	uint16_t sf;

	if (!feature) {
		tn_admin_fail(cmd, BH_NVME_SC_INVALID_FIELD, TN_AT_CDW10);
		return;
	}
	if (cmd->sqe.cdw10 & BH_NVME_FEATURES_SV) {
		tn_admin_fail(cmd, BH_NVME_SC_FEATURE_NOT_SAVEABLE, TN_AT_CDW10 + 3);
		return;
	}
	sf = check_nsid(cmd, feature);
	if (sf)
		tn_admin_fail(cmd, sf, TN_AT_NSID);
	else if (feature->set_bytes)
		tn_admin_receive(cmd,
				 is_host_id(cmd) ? tn_feat_host_id_bytes(cmd) : feature->set_bytes,
				 set_now);
	else if (feature->is_about_queues)
		tn_admin_serialize(cmd, set_now);
	else
		set_now(cmd);
}

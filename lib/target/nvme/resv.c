/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reservations of a namespace: who is registered, who holds what, and what follows from it.
 *
 * Nothing here but the rules of NVMe 2.0 8.19: a state, commands that change it, and whom to tell. A
 * command that fails has changed nothing. With the types for All Registrants every registrant holds
 * the reservation, and it goes with the last of them; any other has one holder, who is registered.
 */
#include <string.h>

#include "target/nvme/resv.h"

bool tn_host_is(const struct tn_host *a, const struct tn_host *b)
{
	return !memcmp(a->id, b->id, sizeof(a->id)) && a->cntlid == b->cntlid;
}

static struct tn_registrant *find(struct tn_resv *resv, const struct tn_host *host)
{
	uint32_t i;

	for (i = 0; i < resv->count; i++) {
		if (tn_host_is(&resv->reg[i].host, host))
			return &resv->reg[i];
	}
	return NULL;
}

const struct tn_registrant *tn_resv_find(const struct tn_resv *resv, const struct tn_host *host)
{
	return find((struct tn_resv *)resv, host);
}

static bool is_for_all(uint8_t type)
{
	return type == BH_NVME_RESV_WRITE_EXCLUSIVE_AR || type == BH_NVME_RESV_EXCLUSIVE_ACCESS_AR;
}

static bool is_for_one(uint8_t type)
{
	return type == BH_NVME_RESV_WRITE_EXCLUSIVE || type == BH_NVME_RESV_EXCLUSIVE_ACCESS;
}

bool tn_resv_is_holder(const struct tn_resv *resv, const struct tn_host *host)
{
	if (is_for_all(resv->type))
		return tn_resv_find(resv, host) != NULL;
	return resv->type && tn_host_is(&resv->holder, host);
}

uint8_t tn_resv_denied(const struct tn_resv *resv, const struct tn_host *host)
{
	if (!resv->type || tn_resv_is_holder(resv, host) ||
	    (!is_for_one(resv->type) && tn_resv_find(resv, host)))
		return 0;
	switch (resv->type) {
	case BH_NVME_RESV_EXCLUSIVE_ACCESS:
	case BH_NVME_RESV_EXCLUSIVE_ACCESS_RO:
	case BH_NVME_RESV_EXCLUSIVE_ACCESS_AR:
		return TN_DENY_READ | TN_DENY_WRITE;
	}
	return TN_DENY_WRITE;
}

static void tell(struct tn_resv_outcome *out, const struct tn_host *host, enum tn_resv_note note)
{
	if (out->count < TN_RESV_REGISTRANTS)
		out->event[out->count++] = (struct tn_resv_event){ *host, note };
}

static void tell_others(struct tn_resv_outcome *out, const struct tn_resv *resv,
			const struct tn_host *but, enum tn_resv_note note)
{
	uint32_t i;

	for (i = 0; i < resv->count; i++) {
		if (!tn_host_is(&resv->reg[i].host, but))
			tell(out, &resv->reg[i].host, note);
	}
}

/* The reservation ends by its holder's doing. Registrants who had a part in it are told. */
static void end(struct tn_resv *resv, const struct tn_host *by, struct tn_resv_outcome *out)
{
	if (!is_for_one(resv->type))
		tell_others(out, resv, by, TN_RESV_RELEASED);
	resv->type = 0;
}

static void remove_at(struct tn_resv *resv, uint32_t i)
{
	resv->reg[i] = resv->reg[--resv->count];
}

/* ---- register (base 7.3) ---- */

static uint16_t add(struct tn_resv *resv, const struct tn_host *host, uint64_t key)
{
	const struct tn_registrant *r = find(resv, host);

	if (r)
		return r->key == key ? 0 : BH_NVME_SC_RESERVATION_CONFLICT;
	if (resv->count == TN_RESV_REGISTRANTS)
		return BH_NVME_SC_INTERNAL_ERROR;
	resv->reg[resv->count++] = (struct tn_registrant){ *host, key };
	return 0;
}

static void unregister(struct tn_resv *resv, struct tn_registrant *r, struct tn_resv_outcome *out)
{
	struct tn_host host = r->host;
	bool is_end = is_for_all(resv->type) ? resv->count == 1 : tn_resv_is_holder(resv, &host);

	remove_at(resv, (uint32_t)(r - resv->reg));
	if (is_end)
		end(resv, &host, out);
}

uint16_t tn_resv_register(struct tn_resv *resv, const struct tn_host *host,
			  const struct bh_nvme_cmd *cmd, const struct bh_nvme_resv_register *data,
			  bool may_persist, struct tn_resv_outcome *out)
{
	uint32_t action = cmd->cdw10 & BH_NVME_RESV_ACTION_MASK;
	uint32_t cptpl = (uint32_t)BH_NVME_GET(cmd->cdw10, RESV_CPTPL);
	struct tn_registrant *r = find(resv, host);
	uint16_t sc = 0;

	if (action > BH_NVME_RESV_REPLACE_KEY || cptpl == 1 ||
	    (cptpl == BH_NVME_RESV_CPTPL_SET && !may_persist))
		return BH_NVME_SC_INVALID_FIELD;
	if (action != BH_NVME_RESV_REGISTER_KEY &&
	    (!r || (!(cmd->cdw10 & BH_NVME_RESV_IEKEY) && r->key != data->crkey)))
		return BH_NVME_SC_RESERVATION_CONFLICT;
	if (action == BH_NVME_RESV_REGISTER_KEY)
		sc = add(resv, host, data->nrkey);
	else if (action == BH_NVME_RESV_REPLACE_KEY)
		r->key = data->nrkey;
	else
		unregister(resv, r, out);
	if (sc)
		return sc;
	if (cptpl != BH_NVME_RESV_CPTPL_NO_CHANGE)
		resv->is_persistent = cptpl == BH_NVME_RESV_CPTPL_SET;
	resv->gen++;
	return 0;
}

/* ---- acquire (base 7.2) ---- */

static void take(struct tn_resv *resv, const struct tn_host *host, uint8_t type)
{
	resv->type = type;
	resv->holder = *host;
}

/* Registrants with that key go (any key: is_all), but for whoever asks. How many had it. */
static uint32_t drop(struct tn_resv *resv, const struct tn_host *by, uint64_t key, bool is_all,
		     struct tn_resv_outcome *out)
{
	const struct tn_host holder = resv->holder;
	bool has_one = resv->type && !is_for_all(resv->type);
	uint32_t i = 0, found = 0;

	while (i < resv->count) {
		struct tn_host host = resv->reg[i].host;

		if (!is_all && resv->reg[i].key != key) {
			i++;
			continue;
		}
		found++;
		if (tn_host_is(&host, by)) {
			i++;
			continue;
		}
		remove_at(resv, i);
		tell(out, &host,
		     has_one && tn_host_is(&host, &holder) ? TN_RESV_PREEMPTED
							   : TN_RESV_REGISTRATION_PREEMPTED);
	}
	return found;
}

static uint16_t preempt(struct tn_resv *resv, const struct tn_host *host, uint8_t type,
			uint64_t key, struct tn_resv_outcome *out)
{
	const struct tn_registrant *holder =
		resv->type && !is_for_all(resv->type) ? find(resv, &resv->holder) : NULL;
	bool is_all = is_for_all(resv->type) && !key;
	/* Of all, by key 0; or of the one, by its key. */
	bool is_taken = is_all || (holder && holder->key == key);
	uint8_t before = resv->type;

	if (!key && !is_all && !is_taken)
		return BH_NVME_SC_INVALID_FIELD;
	if (!drop(resv, host, key, is_all, out))
		return BH_NVME_SC_RESERVATION_CONFLICT;
	if (is_taken) {
		take(resv, host, type);
		/* Registrants that had access may have none now, or other (8.19.7). */
		if (before != type && !is_for_one(before))
			tell_others(out, resv, host, TN_RESV_RELEASED);
	}
	resv->gen++;
	return 0;
}

uint16_t tn_resv_acquire(struct tn_resv *resv, const struct tn_host *host,
			 const struct bh_nvme_cmd *cmd, const struct bh_nvme_resv_acquire *data,
			 struct tn_resv_outcome *out)
{
	uint32_t action = cmd->cdw10 & BH_NVME_RESV_ACTION_MASK;
	uint8_t type = (uint8_t)BH_NVME_GET(cmd->cdw10, RESV_RTYPE);
	const struct tn_registrant *r = find(resv, host);

	if (action > BH_NVME_RESV_PREEMPT_ABORT || cmd->cdw10 & BH_NVME_RESV_IEKEY || !type ||
	    type > BH_NVME_RESV_EXCLUSIVE_ACCESS_AR)
		return BH_NVME_SC_INVALID_FIELD;
	if (!r || r->key != data->crkey)
		return BH_NVME_SC_RESERVATION_CONFLICT;
	out->is_aborting = action == BH_NVME_RESV_PREEMPT_ABORT;
	if (action != BH_NVME_RESV_ACQUIRE)
		return preempt(resv, host, type, data->prkey, out);
	if (resv->type && (!tn_resv_is_holder(resv, host) || resv->type != type))
		return BH_NVME_SC_RESERVATION_CONFLICT;
	if (!resv->type)
		take(resv, host, type);
	return 0;
}

/* ---- release (base 7.4) ---- */

static void clear(struct tn_resv *resv, const struct tn_host *host, struct tn_resv_outcome *out)
{
	tell_others(out, resv, host, TN_RESV_PREEMPTED);
	resv->type = 0;
	resv->count = 0;
	resv->gen++;
}

uint16_t tn_resv_release(struct tn_resv *resv, const struct tn_host *host,
			 const struct bh_nvme_cmd *cmd, const struct bh_nvme_resv_release *data,
			 struct tn_resv_outcome *out)
{
	uint32_t action = cmd->cdw10 & BH_NVME_RESV_ACTION_MASK;
	uint8_t type = (uint8_t)BH_NVME_GET(cmd->cdw10, RESV_RTYPE);
	const struct tn_registrant *r = find(resv, host);

	if (action > BH_NVME_RESV_CLEAR || cmd->cdw10 & BH_NVME_RESV_IEKEY)
		return BH_NVME_SC_INVALID_FIELD;
	if (!r || r->key != data->crkey)
		return BH_NVME_SC_RESERVATION_CONFLICT;
	if (action == BH_NVME_RESV_CLEAR) {
		clear(resv, host, out);
		return 0;
	}
	if (!tn_resv_is_holder(resv, host)) /* there is nothing to do */
		return 0;
	if (type != resv->type)
		return BH_NVME_SC_INVALID_FIELD;
	end(resv, host, out);
	return 0;
}

bool tn_resv_forget(struct tn_resv *resv, const struct tn_host *host, struct tn_resv_outcome *out)
{
	struct tn_registrant *r = find(resv, host);

	if (!r)
		return false;
	unregister(resv, r, out);
	resv->gen++;
	return true;
}

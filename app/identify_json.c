/* SPDX-License-Identifier: BSD-3-Clause */
/* What a controller is, for programs: one JSON object (doc/json/bh-identify.json). */
#include <inttypes.h>
#include <stdio.h>

#include <jansson.h>

#include "app_json.h"
#include "identify.h"

static json_t *hex_number(uint64_t value, int digits)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%0*" PRIx64, digits, value);
	return json_string(text);
}

static json_t *flags(uint32_t value, const struct identify_flag *flag)
{
	json_t *names = json_array(), *object = json_object();

	for (; flag->bit != 0; flag++) {
		if (value & flag->bit)
			json_array_append_new(names, json_string(flag->name));
	}
	json_object_set_new(object, "value", json_integer(value));
	json_object_set_new(object, "names", names);
	return object;
}

/* JSON integers are signed here: what a controller claims beyond that is cut to fit. */
static json_t *big(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static void set_text(json_t *to, const char *key, const char *field, size_t len)
{
	char text[IDENTIFY_TEXT];

	json_object_set_new(to, key, json_string(identify_text(field, len, text)));
}

static json_t *json_pci(const struct bh_device_info *info)
{
	json_t *pci = json_object();

	json_object_set_new(pci, "vendor", json_integer(info->vendor));
	json_object_set_new(pci, "device", json_integer(info->device));
	json_object_set_new(pci, "subsystem_vendor", json_integer(info->subsystem_vendor));
	json_object_set_new(pci, "subsystem", json_integer(info->subsystem));
	json_object_set_new(pci, "class", json_integer(info->class_code));
	json_object_set_new(pci, "revision", json_integer(info->revision));
	return pci;
}

static json_t *json_registers(const struct bh_nvme *nvme)
{
	uint64_t cap = bh_nvme_reg_cap(nvme);
	json_t *regs = json_object();

	json_object_set_new(regs, "cap", hex_number(cap, 16));
	json_object_set_new(regs, "vs", hex_number(bh_nvme_reg_vs(nvme), 8));
	json_object_set_new(regs, "max_queue_entries",
			    json_integer((json_int_t)BH_NVME_GET(cap, CAP_MQES) + 1));
	json_object_set_new(regs, "contiguous_queues", json_boolean(BH_NVME_GET(cap, CAP_CQR)));
	json_object_set_new(regs, "timeout_ms",
			    json_integer((json_int_t)BH_NVME_GET(cap, CAP_TO) * 500));
	json_object_set_new(regs, "doorbell_stride",
			    json_integer(4ll << BH_NVME_GET(cap, CAP_DSTRD)));
	json_object_set_new(regs, "page_size_min",
			    json_integer(4096ll << BH_NVME_GET(cap, CAP_MPSMIN)));
	json_object_set_new(regs, "page_size_max",
			    json_integer(4096ll << BH_NVME_GET(cap, CAP_MPSMAX)));
	json_object_set_new(regs, "command_sets",
			    json_integer((json_int_t)BH_NVME_GET(cap, CAP_CSS)));
	json_object_set_new(regs, "weighted_round_robin",
			    json_boolean(BH_NVME_GET(cap, CAP_AMS) & BH_NVME_CAP_AMS_WRR));
	json_object_set_new(regs, "subsystem_reset", json_boolean(BH_NVME_GET(cap, CAP_NSSRS)));
	return regs;
}

static json_t *json_cmb(const struct bh_nvme *nvme)
{
	struct bh_nvme_cmb_info cmb;
	json_t *object;

	if (bh_nvme_cmb_info(nvme, &cmb) != 0)
		return json_null();
	object = json_object();
	json_object_set_new(object, "bytes", json_integer((json_int_t)cmb.bytes));
	json_object_set_new(object, "bar", json_integer(cmb.bar));
	json_object_set_new(object, "offset", json_integer((json_int_t)cmb.offset));
	json_object_set_new(object, "submission_queues", json_boolean(cmb.sqs));
	json_object_set_new(object, "completion_queues", json_boolean(cmb.cqs));
	json_object_set_new(object, "lists", json_boolean(cmb.lists));
	json_object_set_new(object, "read_data", json_boolean(cmb.reads));
	json_object_set_new(object, "write_data", json_boolean(cmb.writes));
	json_object_set_new(object, "usable", json_boolean(cmb.usable));
	json_object_set_new(object, "attribute", json_string(app_attr_str(cmb.attr)));
	json_object_set_new(object, "why", text_or_null(cmb.why));
	return object;
}

/* What the driver made of it, on this backend. */
static json_t *json_use(const struct app_nvme *n)
{
	uint64_t bits = bh_device_caps(n->dev);
	json_t *use = json_object(), *caps = json_array();

	for (unsigned int bit = 0; bit < 64; bit++) {
		if ((bits >> bit & 1) != 0 && bh_cap_str(1ull << bit) != NULL)
			json_array_append_new(caps, json_string(bh_cap_str(1ull << bit)));
	}
	json_object_set_new(use, "io_queues", json_integer(bh_nvme_max_queues(n->nvme)));
	json_object_set_new(use, "queue_entries", json_integer(bh_nvme_max_depth(n->nvme)));
	json_object_set_new(use, "max_transfer", json_integer(bh_nvme_max_transfer(n->nvme)));
	json_object_set_new(use, "sgl", json_boolean(bh_nvme_has_sgl(n->nvme)));
	json_object_set_new(use, "doorbells", json_string(bh_nvme_doorbell_path(n->nvme)));
	json_object_set_new(use, "shadow_doorbells",
			    json_boolean(bh_nvme_has_shadow_doorbells(n->nvme)));
	json_object_set_new(use, "cmb", json_cmb(n->nvme));
	json_object_set_new(use, "backend_caps", caps);
	return use;
}

/* What the text says under "subsystem", "controller" and "capacity". */
static json_t *json_subsystem(const struct bh_nvme_id_ctrl *id)
{
	json_t *o = json_object();

	json_object_set_new(o, "several_controllers",
			    json_boolean(id->cmic & BH_NVME_CMIC_MULTI_CTRL));
	json_object_set_new(o, "capacity", big(id->tnvmcap[0]));
	json_object_set_new(o, "unallocated", big(id->unvmcap[0]));
	return o;
}

static void add_capabilities(json_t *c, const struct bh_nvme *nvme)
{
	const struct bh_nvme_id_ctrl *id = bh_nvme_ctrl_data(nvme);

	json_object_set_new(c, "mdts", json_integer((json_int_t)identify_mdts_bytes(nvme)));
	json_object_set_new(c, "oacs", flags(id->oacs, identify_oacs));
	json_object_set_new(c, "oncs", flags(id->oncs, identify_oncs));
	json_object_set_new(c, "sgls", flags(id->sgls, identify_sgls));
	json_object_set_new(c, "lpa", flags(id->lpa, identify_lpa));
	json_object_set_new(c, "oaes", flags(id->oaes, identify_oaes));
	json_object_set_new(c, "async_events", json_integer(id->aerl + 1));
	json_object_set_new(c, "aborts", json_integer(id->acl + 1));
	json_object_set_new(c, "keep_alive_ms", json_integer(id->kas * 100));
	json_object_set_new(c, "keep_alive_by_any_command",
			    json_boolean(id->ctratt & BH_NVME_CTRATT_TBKAS));
	json_object_set_new(c, "persistent_event_bytes", json_integer((json_int_t)id->pels << 16));
	json_object_set_new(c, "volatile_write_cache", json_boolean(id->vwc & BH_NVME_VWC_PRESENT));
	json_object_set_new(c, "fused_compare_write",
			    json_boolean(id->fuses & BH_NVME_FUSES_COMPARE_WRITE));
	json_object_set_new(c, "max_namespaces", json_integer(id->nn));
}

static json_t *json_sanitize(const struct app_nvme *n)
{
	struct bh_nvme_sanitize_log log;
	json_t *object;

	if (!identify_sanitize(n, &log))
		return json_null();
	object = json_object();
	json_object_set_new(object, "kinds",
			    flags(bh_nvme_ctrl_data(n->nvme)->sanicap, identify_sanicap));
	json_object_set_new(object, "last", json_string(identify_sanitize_outcome(&log)));
	json_object_set_new(object, "progress",
			    log.sprog == 0xffff ? json_null() : json_real(log.sprog / 65536.0));
	json_object_set_new(object, "passes", json_integer(BH_NVME_GET(log.sstat, SSTAT_PASSES)));
	json_object_set_new(object, "global_data_erased",
			    json_boolean(log.sstat & BH_NVME_SSTAT_GLOBAL_DATA_ERASED));
	return object;
}

static json_t *json_controller(const struct app_nvme *n)
{
	const struct bh_nvme_id_ctrl *id = bh_nvme_ctrl_data(n->nvme);
	const struct bh_device_info *info = bh_device_info(n->dev);
	json_t *c = json_object();
	char text[IDENTIFY_TEXT];

	json_object_set_new(c, "backend", json_string(info->backend));
	set_text(c, "model", id->mn, sizeof(id->mn));
	set_text(c, "serial", id->sn, sizeof(id->sn));
	set_text(c, "firmware", id->fr, sizeof(id->fr));
	set_text(c, "subnqn", id->subnqn, sizeof(id->subnqn));
	json_object_set_new(c, "pci", json_pci(info));
	json_object_set_new(c, "controller_id", json_integer(id->cntlid));
	json_object_set_new(c, "type", json_string(identify_type(id->cntrltype)));
	json_object_set_new(c, "version",
			    json_string(identify_version(bh_nvme_reg_vs(n->nvme), text)));
	json_object_set_new(c, "registers", json_registers(n->nvme));
	json_object_set_new(c, "subsystem", json_subsystem(id));
	add_capabilities(c, n->nvme);
	json_object_set_new(c, "sanitize", json_sanitize(n));
	json_object_set_new(c, "in_use", json_use(n));
	return c;
}

static json_t *json_formats(const struct bh_nvme_id_ns *id)
{
	json_t *formats = json_array();

	for (unsigned int i = 0; i <= id->nlbaf && i < sizeof(id->lbaf) / sizeof(id->lbaf[0]);
	     i++) {
		const struct bh_nvme_lbaf *f = &id->lbaf[i];
		json_t *format;

		if (f->lbads < 9 || f->lbads > 31)
			continue;
		format = json_object();
		json_object_set_new(format, "index", json_integer(i));
		json_object_set_new(format, "data", json_integer(1ll << f->lbads));
		json_object_set_new(format, "metadata", json_integer(f->ms));
		json_object_set_new(format, "in_use",
				    json_boolean(i == bh_nvme_flbas_index(id->flbas)));
		json_array_append_new(formats, format);
	}
	return formats;
}

static uint32_t data_bytes(const struct bh_nvme_ns *ns)
{
	struct bh_nvme_format f;

	bh_nvme_ns_format(ns, &f);
	return f.data_bytes;
}

/* Null without metadata. */
static json_t *json_metadata(const struct bh_nvme_ns *ns)
{
	struct bh_nvme_format f;
	json_t *o;

	bh_nvme_ns_format(ns, &f);
	if (!f.md_bytes)
		return json_null();
	o = json_object();
	json_object_set_new(o, "bytes", json_integer(f.md_bytes));
	json_object_set_new(o, "interleaved", json_boolean(f.interleaved));
	json_object_set_new(o, "protection_type", json_integer(f.pi_type));
	json_object_set_new(o, "protection_first", json_boolean(f.pi_first));
	json_object_set_new(o, "guard_bits", json_integer(f.guard_bits));
	json_object_set_new(o, "served", json_boolean(f.served));
	return o;
}

/* Null unless zoned. */
static json_t *json_zones(const struct app_nvme *n, struct bh_nvme_ns *ns)
{
	struct identify_zones z;
	json_t *o, *states;

	if (!identify_zones(n, ns, &z))
		return json_null();
	o = json_object();
	json_object_set_new(o, "zones", big(z.geometry.zones));
	json_object_set_new(o, "zone_blocks", big(z.geometry.zone_blocks));
	json_object_set_new(o, "max_active", json_integer(z.geometry.max_active));
	json_object_set_new(o, "max_open", json_integer(z.geometry.max_open));
	json_object_set_new(o, "append_blocks", json_integer(z.geometry.append_blocks));
	json_object_set_new(o, "extension_bytes", json_integer(z.geometry.ext_bytes));
	json_object_set_new(o, "read_across", json_boolean(z.geometry.read_across));
	json_object_set_new(o, "variable_capacity", json_boolean(z.geometry.variable_capacity));
	json_object_set_new(o, "excursions", json_boolean(z.geometry.excursions));
	states = z.counted ? json_object() : json_null();
	for (unsigned int i = 0; i < IDENTIFY_ZONE_STATES && z.counted; i++)
		json_object_set_new(states, identify_zone_states[i].key, big(z.in_state[i]));
	json_object_set_new(o, "states", states);
	return o;
}

static json_t *json_namespace(const struct app_nvme *n, struct bh_nvme_ns *ns)
{
	const struct bh_nvme_id_ns *id = bh_nvme_ns_data(ns);
	char text[IDENTIFY_TEXT], uuid_text[IDENTIFY_UUID];
	json_t *o = json_object();
	uint8_t uuid[16];

	bh_nvme_ns_uuid(ns, uuid);
	json_object_set_new(o, "nsid", json_integer(bh_nvme_ns_id(ns)));
	json_object_set_new(o, "bytes", big(identify_ns_bytes(ns)));
	json_object_set_new(o, "blocks", big(bh_nvme_ns_blocks(ns)));
	json_object_set_new(o, "block_size", json_integer(bh_nvme_ns_block_size(ns)));
	json_object_set_new(o, "command_set", json_string(bh_nvme_csi_str(bh_nvme_ns_csi(ns))));
	json_object_set_new(o, "zoned", json_zones(n, ns));
	json_object_set_new(o, "capacity", big(id->ncap));
	json_object_set_new(o, "utilization", big(id->nuse));
	json_object_set_new(o, "features", flags(id->nsfeat, identify_nsfeat));
	json_object_set_new(o, "compare_write_blocks",
			    json_integer(bh_nvme_compare_and_write_max(ns)));
	json_object_set_new(o, "shared", json_boolean(id->nmic & BH_NVME_NMIC_SHARED));
	json_object_set_new(o, "reservations", flags(id->rescap, identify_rescap));
	json_object_set_new(o, "deallocated_zeroes",
			    json_boolean((id->dlfeat & BH_NVME_DLFEAT_READ_MASK) ==
					 BH_NVME_DLFEAT_READ_ZEROES));
	json_object_set_new(o, "uuid", text_or_null(identify_uuid(uuid, uuid_text)));
	json_object_set_new(o, "nguid",
			    text_or_null(identify_hex(id->nguid, sizeof(id->nguid), text)));
	json_object_set_new(o, "eui64",
			    text_or_null(identify_hex(id->eui64, sizeof(id->eui64), text)));
	json_object_set_new(o, "data_bytes", json_integer(data_bytes(ns)));
	json_object_set_new(o, "metadata", json_metadata(ns));
	json_object_set_new(o, "protection_offered", flags(id->dpc, identify_dpc_flags));
	json_object_set_new(o, "formats", json_formats(id));
	return o;
}

bool identify_print_json(const struct app_nvme *n)
{
	json_t *root = json_object(), *namespaces = json_array();

	for (struct bh_nvme_ns *ns = identify_ns_first(n); ns; ns = identify_ns_next(n, ns))
		json_array_append_new(namespaces, json_namespace(n, ns));
	json_object_set_new(root, "schema", json_integer(1));
	json_object_set_new(root, "address", app_json_text(n->text));
	json_object_set_new(root, "controller", json_controller(n));
	json_object_set_new(root, "namespaces", namespaces);
	bool done = root && json_dumpf(root, stdout, JSON_COMPACT) == 0;
	if (done)
		putchar('\n');
	json_decref(root);
	return done;
}

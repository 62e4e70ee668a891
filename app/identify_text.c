/* SPDX-License-Identifier: BSD-3-Clause */
/* What a controller is, for people: one fact per line, the name first. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include <bellhop/parse.h>

#include "identify.h"

static void __attribute__((format(printf, 2, 3))) line(const char *name, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("  %-22s ", name);
	vprintf(fmt, args);
	putchar('\n');
	va_end(args);
}

static void flags_line(const char *name, uint32_t value, const struct identify_flag *flag)
{
	const char *between = "";

	printf("  %-22s 0x%x (", name, value);
	for (; flag->bit != 0; flag++) {
		if (value & flag->bit) {
			printf("%s%s", between, flag->name);
			between = ", ";
		}
	}
	printf("%s)\n", *between ? "" : "none");
}

static void print_keep_alive(const struct bh_nvme_id_ctrl *id)
{
	if (id->kas != 0)
		line("keep alive", "in steps of %u ms%s", id->kas * 100u,
		     id->ctratt & BH_NVME_CTRATT_TBKAS ? ", by any command" : "");
	else
		line("keep alive", "no");
}

/* What namespaces can be made of; nothing where they cannot be (the upper halves are 16 EiB). */
static void print_capacity(const struct bh_nvme_id_ctrl *id)
{
	char total[32], unallocated[32];

	if (!id->tnvmcap[0])
		return;
	bh_format_size(id->tnvmcap[0], total, sizeof(total));
	bh_format_size(id->unvmcap[0], unallocated, sizeof(unallocated));
	line("capacity", "%s, %s of it unallocated", total, unallocated);
}

static void print_identity(const struct app_nvme *n)
{
	const struct bh_nvme_id_ctrl *id = bh_nvme_ctrl_data(n->nvme);
	const struct bh_device_info *info = bh_device_info(n->dev);
	uint32_t vs = bh_nvme_reg_vs(n->nvme);
	char text[IDENTIFY_TEXT];

	printf("Controller %s (%s)\n", n->text, info->backend);
	line("model", "%s", identify_text(id->mn, sizeof(id->mn), text));
	line("serial", "%s", identify_text(id->sn, sizeof(id->sn), text));
	line("firmware", "%s", identify_text(id->fr, sizeof(id->fr), text));
	line("subsystem NQN", "%s", identify_text(id->subnqn, sizeof(id->subnqn), text));
	line("PCI", "vendor %04x, device %04x, subsystem %04x:%04x, class %06x, revision %02x",
	     info->vendor, info->device, info->subsystem_vendor, info->subsystem, info->class_code,
	     info->revision);
	line("controller", "id %u, type %s", id->cntlid, identify_type(id->cntrltype));
	line("version", "NVMe %s (VS 0x%08x)", identify_version(vs, text), vs);
	if (id->cmic & BH_NVME_CMIC_MULTI_CTRL)
		line("subsystem", "may have several controllers");
	print_capacity(id);
}

static void print_registers(const struct app_nvme *n)
{
	uint64_t cap = bh_nvme_reg_cap(n->nvme);
	char least[32], most[32];

	bh_format_size(1ull << (12 + BH_NVME_GET(cap, CAP_MPSMIN)), least, sizeof(least));
	bh_format_size(1ull << (12 + BH_NVME_GET(cap, CAP_MPSMAX)), most, sizeof(most));
	line("CAP", "0x%016" PRIx64, cap);
	line("  queue entries", "%u at most%s", (unsigned int)BH_NVME_GET(cap, CAP_MQES) + 1,
	     BH_NVME_GET(cap, CAP_CQR) ? ", contiguous" : "");
	line("  ready within", "%u ms", (unsigned int)BH_NVME_GET(cap, CAP_TO) * 500);
	line("  doorbell stride", "%u bytes", 4u << BH_NVME_GET(cap, CAP_DSTRD));
	line("  pages", "%s to %s", least, most);
	line("  command sets", "0x%02x", (unsigned int)BH_NVME_GET(cap, CAP_CSS));
	line("  arbitration", "%s",
	     BH_NVME_GET(cap, CAP_AMS) & BH_NVME_CAP_AMS_WRR ? "round robin, weighted round robin"
							     : "round robin");
	line("  subsystem reset", "%s", BH_NVME_GET(cap, CAP_NSSRS) ? "yes" : "no");
}

static void print_capabilities(const struct app_nvme *n)
{
	const struct bh_nvme_id_ctrl *id = bh_nvme_ctrl_data(n->nvme);
	uint64_t mdts = identify_mdts_bytes(n->nvme);
	char size[32];

	bh_format_size(mdts, size, sizeof(size));
	line("largest transfer", "%s (MDTS %u)", mdts ? size : "no limit", id->mdts);
	flags_line("admin commands", id->oacs, identify_oacs);
	flags_line("I/O commands", id->oncs, identify_oncs);
	flags_line("SGLs", id->sgls, identify_sgls);
	flags_line("log pages", id->lpa, identify_lpa);
	flags_line("asynchronous events", id->oaes, identify_oaes);
	line("events outstanding", "%u", id->aerl + 1u);
	line("aborts at a time", "%u", id->acl + 1u);
	print_keep_alive(id);
	bh_format_size((uint64_t)id->pels << 16, size, sizeof(size));
	line("persistent events", "%s%s", id->pels ? size : "no", id->pels ? " at most" : "");
	line("write cache", "%s", id->vwc & BH_NVME_VWC_PRESENT ? "volatile" : "none");
	if (id->fuses & BH_NVME_FUSES_COMPARE_WRITE)
		line("fused compare+write", "yes (ACWU %u)", id->acwu);
	else
		line("fused compare+write", "no");
	line("namespaces", "%" PRIu32 " at most", id->nn);
}

static void print_sanitize(const struct app_nvme *n)
{
	struct bh_nvme_sanitize_log log;

	flags_line("sanitize", bh_nvme_ctrl_data(n->nvme)->sanicap, identify_sanicap);
	if (!identify_sanitize(n, &log))
		return;
	if (log.sprog != 0xffff)
		line("  last", "%s, %u%%", identify_sanitize_outcome(&log),
		     log.sprog * 100u / 65536);
	else
		line("  last", "%s%s", identify_sanitize_outcome(&log),
		     log.sstat & BH_NVME_SSTAT_GLOBAL_DATA_ERASED ? ", nothing written since" : "");
}

static void print_cmb(const struct app_nvme *n)
{
	struct bh_nvme_cmb_info cmb;
	char size[32];

	if (bh_nvme_cmb_info(n->nvme, &cmb) != 0) {
		line("memory buffer", "none");
		return;
	}
	bh_format_size(cmb.bytes, size, sizeof(size));
	line("memory buffer", "%s in BAR %u at 0x%" PRIx64, size, cmb.bar, cmb.offset);
	line("  takes", "%s%s%s%s%s", cmb.sqs ? "submission queues" : "no submission queues",
	     cmb.cqs ? ", completion queues" : "", cmb.lists ? ", lists" : "",
	     cmb.reads ? ", data of reads" : "", cmb.writes ? ", data of writes" : "");
	line("  mapping", "%s%s%s%s", app_attr_str(cmb.attr), cmb.why ? " (" : "",
	     cmb.why ? cmb.why : "", cmb.why ? ")" : "");
}

/* What this driver made of it, on this backend. */
static void print_use(const struct app_nvme *n)
{
	uint64_t caps = bh_device_caps(n->dev);

	line("I/O queues", "%u granted, up to %u entries each", bh_nvme_max_queues(n->nvme),
	     bh_nvme_max_depth(n->nvme));
	line("doorbells", "%s%s", bh_nvme_doorbell_path(n->nvme),
	     bh_nvme_has_shadow_doorbells(n->nvme) ? ", shadow doorbells in use" : "");
	print_cmb(n);
	line("data pointers", "%s", bh_nvme_has_sgl(n->nvme) ? "PRPs and SGLs" : "PRPs");
	printf("  %-22s", "backend offers");
	for (unsigned int bit = 0; bit < 64; bit++) {
		if ((caps >> bit & 1) != 0 && bh_cap_str(1ull << bit) != NULL)
			printf(" %s", bh_cap_str(1ull << bit));
	}
	putchar('\n');
}

static void print_formats(const struct bh_nvme_id_ns *id)
{
	for (unsigned int i = 0; i <= id->nlbaf && i < sizeof(id->lbaf) / sizeof(id->lbaf[0]);
	     i++) {
		const struct bh_nvme_lbaf *f = &id->lbaf[i];

		if (f->lbads < 9 || f->lbads > 31)
			continue;
		printf("  format %-15u %u bytes", i, 1u << f->lbads);
		if (f->ms != 0)
			printf(" and %u bytes of metadata", f->ms);
		puts(i == bh_nvme_flbas_index(id->flbas) ? ", in use" : "");
	}
}

static void print_limit(const char *name, uint32_t value)
{
	if (value != 0)
		line(name, "%" PRIu32 " at a time", value);
	else
		line(name, "no limit");
}

static void print_zones(const struct app_nvme *n, struct bh_nvme_ns *ns)
{
	struct identify_zones z;
	char size[32];

	if (!identify_zones(n, ns, &z))
		return;
	bh_format_size(z.geometry.zone_blocks * bh_nvme_ns_block_size(ns), size, sizeof(size));
	line("zones", "%" PRIu64 " of %s (%" PRIu64 " blocks)", z.geometry.zones, size,
	     z.geometry.zone_blocks);
	if (z.counted) {
		const char *before = "";

		printf("  %-22s ", "  by state");
		for (unsigned int i = 0; i < IDENTIFY_ZONE_STATES; i++) {
			if (z.in_state[i] == 0)
				continue;
			printf("%s%" PRIu64 " %s", before, z.in_state[i],
			       bh_nvme_zone_state_str(identify_zone_states[i].state));
			before = ", ";
		}
		putchar('\n');
	}
	print_limit("  active", z.geometry.max_active);
	print_limit("  open", z.geometry.max_open);
	bh_format_size((uint64_t)z.geometry.append_blocks * bh_nvme_ns_block_size(ns), size,
		       sizeof(size));
	line("  largest append", "%s", size);
	line("  reads across borders", "%s",
	     z.geometry.read_across ? "yes" : "split by the driver");
	line("  extensions", "%" PRIu32 " bytes per zone", z.geometry.ext_bytes);
}

/* ACWU or NACWU, as far as a command goes. */
static void print_fused(const struct bh_nvme_ns *ns)
{
	uint32_t blocks = bh_nvme_compare_and_write_max(ns);

	if (blocks)
		line("fused compare+write", "up to %" PRIu32 " blocks", blocks);
	else
		line("fused compare+write", "no");
}

static void print_namespace(const struct app_nvme *n, struct bh_nvme_ns *ns)
{
	const struct bh_nvme_id_ns *id = bh_nvme_ns_data(ns);
	char size[32], text[IDENTIFY_TEXT], uuid_text[IDENTIFY_UUID];
	struct bh_nvme_format format;
	uint8_t uuid[16];

	bh_format_size(identify_ns_bytes(ns), size, sizeof(size));
	printf("\nNamespace %" PRIu32 "\n", bh_nvme_ns_id(ns));
	bh_nvme_ns_format(ns, &format);
	line("size", "%s (%" PRIu64 " blocks of %" PRIu32 " bytes)", size, bh_nvme_ns_blocks(ns),
	     format.data_bytes);
	line("metadata", "%s", identify_metadata(ns, text));
	flags_line("protection offered", id->dpc, identify_dpc_flags);
	line("capacity, in use", "%" PRIu64 ", %" PRIu64 " blocks", id->ncap, id->nuse);
	line("command set", "%s", bh_nvme_csi_str(bh_nvme_ns_csi(ns)));
	print_zones(n, ns);
	flags_line("features", id->nsfeat, identify_nsfeat);
	print_fused(ns);
	line("shared", "%s", id->nmic & BH_NVME_NMIC_SHARED ? "may be" : "no");
	if (id->rescap & ~BH_NVME_RESCAP_IEKEY_13)
		line("reservations", "%s",
		     id->rescap & BH_NVME_RESCAP_PTPL ? "yes, may persist through power loss"
						      : "yes, until power is lost");
	line("deallocated blocks", "%s",
	     (id->dlfeat & BH_NVME_DLFEAT_READ_MASK) == BH_NVME_DLFEAT_READ_ZEROES
		     ? "read as zeroes"
		     : "read as not reported");
	bh_nvme_ns_uuid(ns, uuid);
	if (identify_uuid(uuid, uuid_text))
		line("UUID", "%s", uuid_text);
	if (identify_hex(id->nguid, sizeof(id->nguid), text))
		line("NGUID", "%s", text);
	if (identify_hex(id->eui64, sizeof(id->eui64), text))
		line("EUI-64", "%s", text);
	print_formats(id);
}

void identify_print_text(const struct app_nvme *n)
{
	print_identity(n);
	print_registers(n);
	print_capabilities(n);
	print_sanitize(n);
	print_use(n);
	for (struct bh_nvme_ns *ns = identify_ns_first(n); ns; ns = identify_ns_next(n, ns))
		print_namespace(n, ns);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bh-identify's parts: the program opens the controller, and one of two writers says what it is.
 * What both need, the names of capability bits and the arithmetic on what a controller claims, is
 * here, so that text and JSON cannot disagree.
 *
 * Everything that comes from the controller is taken with a grain of salt: shifts are bounded,
 * products saturate, and text is printed only where it is printable.
 */
#ifndef APP_IDENTIFY_H
#define APP_IDENTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include <bellhop/nvme_zns.h>

#include "common.h"

struct identify_flag {
	uint32_t bit;
	const char *name; /* as in JSON: lower case, words joined by - */
};

/* Tables end with a row of bit 0. */
extern const struct identify_flag identify_oacs[];
extern const struct identify_flag identify_oncs[];
extern const struct identify_flag identify_sgls[];
extern const struct identify_flag identify_lpa[];
extern const struct identify_flag identify_oaes[];
extern const struct identify_flag identify_sanicap[];
extern const struct identify_flag identify_nsfeat[];
extern const struct identify_flag identify_dpc_flags[];
extern const struct identify_flag identify_rescap[];

#define IDENTIFY_TEXT 257 /* bytes: the longest field of text, SUBNQN, and its terminator */
#define IDENTIFY_UUID 37

/* A padded field of len bytes (at most 256): trailing blanks cut, what is not printable ASCII shown
 * as '?'. Returns out. */
const char *identify_text(const char *field, size_t len, char out[IDENTIFY_TEXT]);

/* "2.0.0" of a VS register. Returns out. */
const char *identify_version(uint32_t vs, char out[IDENTIFY_TEXT]);

/* Lower case, with dashes. Returns out, or NULL when all bytes are zero. */
const char *identify_uuid(const uint8_t uuid[16], char out[IDENTIFY_UUID]);

/* n bytes in hexadecimal. Returns out, or NULL when all are zero. */
const char *identify_hex(const uint8_t *bytes, size_t n, char out[IDENTIFY_TEXT]);

const char *identify_type(uint8_t cntrltype);

uint64_t identify_mdts_bytes(const struct bh_nvme *nvme); /* 0: no limit */
uint64_t identify_ns_bytes(const struct bh_nvme_ns *ns);

/* The metadata and protection information of a namespace in words. Returns out. */
const char *identify_metadata(const struct bh_nvme_ns *ns, char out[IDENTIFY_TEXT]);

/* The namespaces the address means: all active ones, or the one of ?ns=. NULL ends them. */
struct bh_nvme_ns *identify_ns_first(const struct app_nvme *n);
struct bh_nvme_ns *identify_ns_next(const struct app_nvme *n, struct bh_nvme_ns *ns);

/* The Sanitize Status log. False: the controller has no Sanitize, or did not tell. */
bool identify_sanitize(const struct app_nvme *n, struct bh_nvme_sanitize_log *out);
/* What became of the last one: "never", "completed" and so on, as in JSON. */
const char *identify_sanitize_outcome(const struct bh_nvme_sanitize_log *log);

/* Captures the Telemetry log and writes it to a file: 0, or the exit code, said why. */
int identify_telemetry(const struct app *app, const struct app_nvme *n, const char *path);

#define IDENTIFY_ZONE_STATES 7

struct identify_zone_state {
	unsigned int filter; /* BH_NVME_ZONE_REPORT_FILTER_* */
	uint8_t state;	     /* BH_NVME_ZONE_STATE_* */
	const char *key;     /* in JSON */
};
extern const struct identify_zone_state identify_zone_states[IDENTIFY_ZONE_STATES];

struct identify_zones {
	struct bh_nvme_zns geometry;
	bool counted; /* false: no queue to be had, or no report */
	uint64_t in_state[IDENTIFY_ZONE_STATES];
};
/* False: not zoned. */
bool identify_zones(const struct app_nvme *n, struct bh_nvme_ns *ns, struct identify_zones *out);

void identify_print_text(const struct app_nvme *n);
/* False: out of memory. */
bool identify_print_json(const struct app_nvme *n);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SPECs: what users type to describe stores and controllers.
 *
 * A word is split at `,` into fields; a field is KEY=VALUE. A store value loses its longest
 * trailing run of `:KEY=VALUE` options first, so what is left, TYPE:ARG, may contain colons of its
 * own (PCI addresses, URIs). A backslash makes one of
 * `\ , : ?` literal; quotes are looked at while splitting and removed last, field by field.
 * doc/specs.md has examples, test/unit/tgt/test_spec.c runs them.
 *
 * SPECs of network controllers and subsystems are in files of their own.
 *
 * The contract knows more keys and types than a build may have. Those are refused by name
 * (-ENOTSUP), never ignored.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tgt/spec.h"

int tgt_spec_fail(char *why, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, BH_TGT_WHY, fmt, args);
	va_end(args);
	return error;
}

static bool is_quotable(char c)
{
	return c == '\\' || c == ',' || c == ':' || c == '?';
}

/* Index of the next unquoted `c` at or after `from`, or of the terminating NUL. */
size_t tgt_spec_find(const char *text, size_t from, char c)
{
	size_t i = from;

	while (text[i] != '\0' && text[i] != c)
		i += text[i] == '\\' && is_quotable(text[i + 1]) ? 2 : 1;
	return i;
}

/* Removes the backslashes that quote something, in place. */
void tgt_spec_unquote(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++) {
		if (*from == '\\' && is_quotable(from[1]))
			from++;
		*to++ = *from;
	}
	*to = '\0';
}

/* Cuts the next field off *rest; NULL when there is none. */
char *tgt_spec_next_field(char **rest)
{
	char *field = *rest;

	if (!field)
		return NULL;
	size_t end = tgt_spec_find(field, 0, ',');
	*rest = field[end] == ',' ? field + end + 1 : NULL;
	field[end] = '\0';
	return field;
}

static const char *const store_keys[] = { "bs", "ms", "pi", "zoned", "uuid", "nsid" };

/* The index of the store option that text begins with, "KEY=...", or -1. */
static int store_option(const char *text)
{
	for (size_t i = 0; i < sizeof(store_keys) / sizeof(*store_keys); i++) {
		size_t len = strlen(store_keys[i]);

		if (strncmp(text, store_keys[i], len) == 0 && text[len] == '=')
			return (int)i;
	}
	return -1;
}

/* Where the longest trailing run of unquoted ":KEY=VALUE" begins (at a ':'), or the end of the
 * text. */
static size_t options_begin(const char *text)
{
	size_t begin = strlen(text);

	for (size_t i = tgt_spec_find(text, 0, ':'); text[i] != '\0';
	     i = tgt_spec_find(text, i + 1, ':')) {
		if (store_option(text + i + 1) < 0)
			begin = strlen(text);
		else if (text[begin] == '\0')
			begin = i;
	}
	return begin;
}

static int parse_uuid(const char *text, uint8_t uuid[16])
{
	unsigned int digits = 0;

	for (const char *c = text; *c != '\0'; c++) {
		const char *hex = "0123456789abcdef";
		const char *at = strchr(hex, *c >= 'A' && *c <= 'F' ? *c + 32 : *c);
		bool dash_here = digits == 8 || digits == 12 || digits == 16 || digits == 20;

		if (*c == '-' && dash_here && c[-1] != '-')
			continue;
		if (!at || digits == 32)
			return -EINVAL;
		uint8_t nibble = (uint8_t)(at - hex);
		uuid[digits / 2] =
			digits % 2 ? (uint8_t)(uuid[digits / 2] | nibble) : (uint8_t)(nibble << 4);
		digits++;
	}
	return digits == 32 ? 0 : -EINVAL;
}

/* SIZE[/CAPACITY[/OPEN[/ACTIVE]]]: of a zone, and how many may be open and active. */
static int parse_zoned(const char *value, struct bh_blk_zoned *zoned, char *why)
{
	uint64_t part[4] = { 0 };
	const char *at = value;
	bool is_fine = true;
	int n = 0;

	while (is_fine && n < 4) {
		size_t len = strcspn(at, "/");
		char word[64];

		snprintf(word, sizeof(word), "%.*s", len < 63 ? (int)len : 63, at);
		is_fine = bh_parse_size(word, &part[n]) == 0 && (n < 2 || part[n] <= UINT32_MAX);
		n++;
		at += len;
		if (*at == '\0')
			break;
		at++;
	}
	*zoned = (struct bh_blk_zoned){ .bytes = part[0],
					.capacity = n > 1 ? part[1] : part[0],
					.max_open = (uint32_t)part[2],
					.max_active = (uint32_t)part[3] };
	if (is_fine && *at == '\0' && part[0] && zoned->capacity && zoned->capacity <= part[0])
		return 0;
	return tgt_spec_fail(why, -EINVAL,
			     "zoned=%s: expected SIZE[/CAPACITY[/OPEN[/ACTIVE]]] of zones", value);
}

static int parse_store_option(const char *key, char *value, struct bh_tgt_store_spec *store,
			      char *why)
{
	uint64_t number = 0;

	tgt_spec_unquote(value);
	if (strcmp(key, "bs") == 0) {
		if (bh_parse_size(value, &number) != 0 || (number != 512 && number != 4096))
			return tgt_spec_fail(why, -EINVAL, "bs=%s: a block has 512 or 4096 bytes",
					     value);
		store->block_size = (uint32_t)number;
	} else if (strcmp(key, "ms") == 0) {
		if (bh_parse_size(value, &number) != 0 ||
		    (number != 0 && number != 8 && number != 16 && number != 64))
			return tgt_spec_fail(why, -EINVAL,
					     "ms=%s: a block has 0, 8, 16 or 64 bytes of metadata",
					     value);
		store->md_bytes = (uint16_t)number;
	} else if (strcmp(key, "pi") == 0) {
		if (bh_parse_u64(value, 0, 3, &number) != 0)
			return tgt_spec_fail(
				why, -EINVAL,
				"pi=%s: protection information is of type 1, 2 or 3, or 0 for none",
				value);
		store->pi = (uint8_t)number;
	} else if (strcmp(key, "nsid") == 0) {
		if (bh_parse_u64(value, 1, BH_TARGET_NVME_MAX_NS, &number) != 0)
			return tgt_spec_fail(why, -EINVAL, "nsid=%s: a namespace id is 1 to %u",
					     value, BH_TARGET_NVME_MAX_NS);
		store->nsid = (uint32_t)number;
	} else if (strcmp(key, "uuid") == 0) {
		if (parse_uuid(value, store->uuid) != 0)
			return tgt_spec_fail(why, -EINVAL,
					     "uuid=%s: not a UUID (32 hexadecimal digits)", value);
		store->has_uuid = true;
	} else {
		return parse_zoned(value, &store->zoned, why);
	}
	return 0;
}

/* ":KEY=VALUE:KEY=VALUE..." as options_begin() found it. */
static int parse_store_options(char *options, bool reference, struct bh_tgt_store_spec *store,
			       char *why)
{
	unsigned int seen = 0;

	while (*options == ':') {
		char *text = options + 1;
		int option = store_option(text);
		const char *key = store_keys[option];

		options = text + tgt_spec_find(text, 0, ':');
		bool more = *options == ':';
		*options = '\0';
		if (reference && strcmp(key, "nsid") != 0)
			return tgt_spec_fail(why, -EINVAL,
					     "%s: only nsid= goes with a shared store", text);
		if (seen & 1u << option)
			return tgt_spec_fail(why, -EINVAL, "%s= is given twice", key);
		seen |= 1u << option;
		int error = parse_store_option(key, text + strlen(key) + 1, store, why);
		if (error)
			return error;
		if (more)
			*options = ':';
	}
	return 0;
}

/* For `file`: cuts a last unquoted ":SIZE" (digits and one of KMGT) off ARG. */
static int cut_file_size(char *arg, uint64_t *bytes, char *why)
{
	char *last = NULL;

	for (size_t i = tgt_spec_find(arg, 0, ':'); arg[i] != '\0';
	     i = tgt_spec_find(arg, i + 1, ':'))
		last = arg + i;
	if (!last)
		return 0;
	size_t digits = strspn(last + 1, "0123456789");
	const char *unit = last + 1 + digits;
	if (digits == 0 || (*unit != '\0' && (!strchr("KMGT", *unit) || unit[1] != '\0')))
		return 0;
	if (bh_parse_size(last + 1, bytes) != 0 || *bytes == 0)
		return tgt_spec_fail(why, -EINVAL, "'%s' is no size a file can have", last + 1);
	*last = '\0';
	return 0;
}

static bool is_nbd_uri(const char *text)
{
	return strncmp(text, "nbd://", 6) == 0 || strncmp(text, "nbds://", 7) == 0 ||
	       strncmp(text, "nbd+unix://", 11) == 0;
}

/* TYPE:ARG, the options gone. */
static int parse_store_type(char *text, struct bh_tgt_store_spec *store, char *why)
{
	if (is_nbd_uri(text)) {
		tgt_spec_unquote(text);
		store->type = strdup("nbd");
		store->arg = strdup(text);
		return store->type && store->arg ? 0 : tgt_spec_fail(why, -ENOMEM, "out of memory");
	}
	size_t colon = tgt_spec_find(text, 0, ':');
	if (text[colon] == '\0' || colon == 0)
		return tgt_spec_fail(why, -EINVAL,
				     "store '%s': expected TYPE:ARGUMENT, such as ram:1G", text);
	text[colon] = '\0';
	char *arg = text + colon + 1;
	int error = strcmp(text, "file") == 0 ? cut_file_size(arg, &store->bytes, why) : 0;
	if (error)
		return error;
	tgt_spec_unquote(arg);
	if (arg[0] == '\0')
		return tgt_spec_fail(why, -EINVAL, "store '%s:': the argument is missing", text);
	if (strcmp(text, "null") == 0 || strcmp(text, "ram") == 0) {
		if (bh_parse_size(arg, &store->bytes) != 0 || store->bytes == 0)
			return tgt_spec_fail(
				why, -EINVAL,
				"store '%s:%s': '%s' is not a size (such as 512M or 1T)", text, arg,
				arg);
	}
	store->type = strdup(text);
	store->arg = strdup(arg);
	return store->type && store->arg ? 0 : tgt_spec_fail(why, -ENOMEM, "out of memory");
}

static int parse_store(char *text, bool reference_allowed, struct bh_tgt_store_spec *store,
		       char *why)
{
	size_t begin = options_begin(text);

	store->block_size = 512;
	if (text[begin] != '\0') {
		char *options = strdup(text + begin);
		if (!options)
			return tgt_spec_fail(why, -ENOMEM, "out of memory");
		int error = parse_store_options(options, text[0] == '@', store, why);
		free(options);
		if (error)
			return error;
		text[begin] = '\0';
	}
	if (store->pi && !store->md_bytes)
		return tgt_spec_fail(why, -EINVAL, "pi=%u: needs metadata to lie in (such as ms=8)",
				     store->pi);
	if (text[0] != '@')
		return parse_store_type(text, store, why);
	if (!reference_allowed)
		return tgt_spec_fail(why, -EINVAL,
				     "%s: a shared store cannot be another one's name", text);
	tgt_spec_unquote(text);
	if (text[1] == '\0')
		return tgt_spec_fail(why, -EINVAL, "@: the shared store's name is missing");
	store->arg = strdup(text + 1);
	return store->arg ? 0 : tgt_spec_fail(why, -ENOMEM, "out of memory");
}

int tgt_spec_number(const char *key, const char *value, uint64_t min, uint64_t max,
		    unsigned int *out, char *why)
{
	uint64_t number = 0;

	if (bh_parse_u64(value, min, max, &number) != 0)
		return tgt_spec_fail(why, -EINVAL, "%s=%s: expected a number from %llu to %llu",
				     key, value, (unsigned long long)min, (unsigned long long)max);
	*out = (unsigned int)number;
	return 0;
}

int tgt_spec_text(const char *key, const char *value, size_t max, char **out, char *why)
{
	if (value[0] == '\0' || strlen(value) > max)
		return tgt_spec_fail(why, -EINVAL, "%s=%s: expected 1 to %zu characters", key,
				     value, max);
	for (const char *c = value; *c != '\0'; c++) {
		if (*c < 0x20 || *c > 0x7e)
			return tgt_spec_fail(why, -EINVAL, "%s: ASCII characters only", key);
	}
	free(*out);
	*out = strdup(value);
	return *out ? 0 : tgt_spec_fail(why, -ENOMEM, "out of memory");
}

static int parse_mdts(const char *value, struct bh_tgt_spec *spec, char *why)
{
	uint64_t bytes = 0;

	if (bh_parse_size(value, &bytes) != 0 || bytes < 4096 || bytes > (64u << 20) ||
	    (bytes & (bytes - 1)) != 0)
		return tgt_spec_fail(why, -EINVAL,
				     "mdts=%s: expected a power of two from 4K to 64M", value);
	spec->mdts = bytes;
	return 0;
}

static int parse_cmb(const char *value, struct bh_tgt_spec *spec, char *why)
{
	uint64_t bytes = 0;

	if (bh_parse_size(value, &bytes) != 0 || bytes == 0 || bytes > 1u << 30 ||
	    bytes % 4096 != 0)
		return tgt_spec_fail(why, -EINVAL, "cmb=%s: expected a multiple of 4K up to 1G",
				     value);
	spec->cmb = bytes;
	return 0;
}

int tgt_spec_doorbells(const char *value, struct bh_tgt_spec *spec, char *why)
{
	if (strcmp(value, "mapped") == 0)
		spec->doorbells = BH_DOORBELLS_MAPPED;
	else if (strcmp(value, "trapped") == 0)
		spec->doorbells = BH_DOORBELLS_TRAPPED;
	else
		return tgt_spec_fail(why, -EINVAL, "doorbells=%s: expected mapped or trapped",
				     value);
	return 0;
}

/* value is not quoted. */
static int set_controller_key(const char *key, const char *value, struct bh_tgt_spec *spec,
			      char *why)
{
	if (strcmp(key, "serial") == 0)
		return tgt_spec_text(key, value, 20, &spec->serial, why);
	if (strcmp(key, "model") == 0)
		return tgt_spec_text(key, value, 40, &spec->model, why);
	if (strcmp(key, "queues") == 0)
		return tgt_spec_number(key, value, 1, BH_TARGET_NVME_MAX_QUEUES, &spec->queues,
				       why);
	if (strcmp(key, "depth") == 0)
		return tgt_spec_number(key, value, 2, BH_TARGET_NVME_MAX_DEPTH, &spec->depth, why);
	if (strcmp(key, "dstrd") == 0)
		return tgt_spec_number(key, value, 0, 10, &spec->dstrd, why);
	if (strcmp(key, "mdts") == 0)
		return parse_mdts(value, spec, why);
	if (strcmp(key, "cmb") == 0)
		return parse_cmb(value, spec, why);
	if (strcmp(key, "doorbells") == 0)
		return tgt_spec_doorbells(value, spec, why);
	if (strcmp(key, "cores") == 0) {
		if (bh_parse_cpus(value, '+', &spec->cores) != 0)
			return tgt_spec_fail(why, -EINVAL, "cores=%s: expected CPUs such as 0+2-3",
					     value);
		return 0;
	}
	if (strcmp(key, "subsys") == 0)
		return tgt_spec_text(key, value, 190, &spec->subsys, why);
	return tgt_spec_fail(
		why, -EINVAL,
		"unknown key '%s' (expected ns, serial, model, queues, depth, cores, dstrd, "
		"doorbells, mdts, cmb or subsys)",
		key);
}

int tgt_spec_once(const char *const *keys, const char *key, unsigned int *seen, char *why)
{
	for (unsigned int i = 0; keys[i]; i++) {
		if (strcmp(key, keys[i]) != 0)
			continue;
		if (*seen & 1u << i)
			return tgt_spec_fail(why, -EINVAL, "%s= is given twice", key);
		*seen |= 1u << i;
	}
	return 0;
}

int tgt_spec_parse_keys(char *rest, const char *what, const char *const *keys, tgt_spec_set_fn set,
			struct bh_tgt_spec *spec, char *why)
{
	char *field = tgt_spec_next_field(&rest);
	unsigned int seen = 0;

	tgt_spec_unquote(field);
	if (field[0] == '\0')
		return tgt_spec_fail(why, -EINVAL, "%s is missing", what);
	spec->name = strdup(field);
	if (!spec->name)
		return tgt_spec_fail(why, -ENOMEM, "out of memory");
	while ((field = tgt_spec_next_field(&rest)) != NULL) {
		char *value = strchr(field, '=');

		if (!value)
			return tgt_spec_fail(why, -EINVAL, "'%s': expected KEY=VALUE", field);
		*value++ = '\0';
		int error = tgt_spec_once(keys, field, &seen, why);
		if (!error)
			error = set(field, value, spec, why);
		if (error)
			return error;
	}
	return 0;
}

int tgt_spec_add_store(char *text, struct bh_tgt_spec *spec, char *why)
{
	if (spec->num_stores == BH_TGT_SPEC_NS)
		return tgt_spec_fail(why, -EINVAL, "more than %u namespaces", BH_TGT_SPEC_NS);
	return parse_store(text, true, &spec->store[spec->num_stores++], why);
}

/* value is quoted, and may be changed. */
static int set_quoted_key(const char *key, char *value, struct bh_tgt_spec *spec, char *why)
{
	if (strcmp(key, "ns") == 0)
		return tgt_spec_add_store(value, spec, why);
	tgt_spec_unquote(value);
	return set_controller_key(key, value, spec, why);
}

static int parse_controller(char *rest, struct bh_tgt_spec *spec, char *why)
{
	static const char *const keys[] = { "serial", "model",	"queues",    "depth",
					    "dstrd",  "mdts",	"doorbells", "cores",
					    "cmb",    "subsys", NULL };

	return tgt_spec_parse_keys(rest, "nvme: the socket's path", keys, set_quoted_key, spec,
				   why);
}

static int parse_shared_store(char *rest, struct bh_tgt_spec *spec, char *why)
{
	char *field = tgt_spec_next_field(&rest);
	char *value = strchr(field, '=');

	if (rest)
		return tgt_spec_fail(why, -EINVAL,
				     "store: one NAME=STORE only (quote a comma as \\,)");
	if (!value || value == field)
		return tgt_spec_fail(why, -EINVAL, "store:%s: expected NAME=STORE", field);
	*value++ = '\0';
	tgt_spec_unquote(field);
	spec->name = strdup(field);
	if (!spec->name)
		return tgt_spec_fail(why, -ENOMEM, "out of memory");
	spec->num_stores = 1;
	int error = parse_store(value, false, &spec->store[0], why);
	if (!error && spec->store[0].nsid != 0)
		return tgt_spec_fail(why, -EINVAL,
				     "nsid=%u: belongs to the attachment (ns=@%s:nsid=%u)",
				     spec->store[0].nsid, spec->name, spec->store[0].nsid);
	return error;
}

int bh_tgt_spec_parse(const char *text, struct bh_tgt_spec *spec, char why[BH_TGT_WHY])
{
	int error;

	memset(spec, 0, sizeof(*spec));
	why[0] = '\0';
	char *copy = strdup(text);
	if (!copy)
		return tgt_spec_fail(why, -ENOMEM, "out of memory");
	if (strncmp(copy, "nvme:", 5) == 0) {
		spec->kind = BH_TGT_SPEC_NVME;
		error = parse_controller(copy + 5, spec, why);
	} else if (strncmp(copy, "store:", 6) == 0) {
		spec->kind = BH_TGT_SPEC_STORE;
		error = parse_shared_store(copy + 6, spec, why);
	} else if (strncmp(copy, "net:", 4) == 0) {
		spec->kind = BH_TGT_SPEC_NET;
		error = tgt_spec_parse_net(copy + 4, spec, why);
	} else if (strncmp(copy, "subsys:", 7) == 0) {
		spec->kind = BH_TGT_SPEC_SUBSYS;
		error = tgt_spec_parse_subsys(copy + 7, spec, why);
	} else {
		error = tgt_spec_fail(why, -EINVAL,
				      "'%s': expected nvme:SOCKET,ns=STORE, net:SOCKET,port=PORT, "
				      "store:NAME=STORE or subsys:NAME",
				      text);
	}
	free(copy);
	return error;
}

int bh_tgt_spec_set(struct bh_tgt_spec *spec, const char *key, const char *value,
		    char why[BH_TGT_WHY])
{
	why[0] = '\0';
	if (spec->kind == BH_TGT_SPEC_NVME && strcmp(key, "ns") != 0)
		return set_controller_key(key, value, spec, why);
	char *copy = strdup(value);
	int error = !copy			     ? tgt_spec_fail(why, -ENOMEM, "out of memory")
		    : spec->kind == BH_TGT_SPEC_NVME ? tgt_spec_add_store(copy, spec, why)
		    : spec->kind == BH_TGT_SPEC_SUBSYS ? tgt_spec_set_subsys(key, copy, spec, why)
						       : tgt_spec_set_net(key, copy, spec, why);
	free(copy);
	return error;
}

int bh_tgt_store_spec_parse(const char *text, bool may_refer, struct bh_tgt_store_spec *store,
			    char why[BH_TGT_WHY])
{
	memset(store, 0, sizeof(*store));
	why[0] = '\0';
	char *copy = strdup(text);
	int error = copy ? parse_store(copy, may_refer, store, why)
			 : tgt_spec_fail(why, -ENOMEM, "out of memory");
	free(copy);
	return error;
}

void bh_tgt_store_spec_fini(struct bh_tgt_store_spec *spec)
{
	free(spec->type);
	free(spec->arg);
	spec->type = spec->arg = NULL;
}

void bh_tgt_spec_fini(struct bh_tgt_spec *spec)
{
	if (!spec)
		return;
	for (unsigned int i = 0; i < spec->num_stores; i++)
		bh_tgt_store_spec_fini(&spec->store[i]);
	free(spec->name);
	free(spec->alias);
	free(spec->serial);
	free(spec->model);
	free(spec->subsys);
	free(spec->nqn);
	free(spec->port);
	free(spec->port_arg);
	memset(spec, 0, sizeof(*spec));
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What parsing SPECs of all kinds shares: fields, quotes, numbers. */
#ifndef TGT_SPEC_H
#define TGT_SPEC_H

#include <bellhop/tgt.h>

/* Fills why; returns error. */
int tgt_spec_fail(char *why, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Index of the next unquoted `c` at or after `from`, or of the terminating NUL. */
size_t tgt_spec_find(const char *text, size_t from, char c);
/* Removes the backslashes that quote something, in place. */
void tgt_spec_unquote(char *text);
/* Cuts the next field off *rest; NULL when there is none. */
char *tgt_spec_next_field(char **rest);
int tgt_spec_number(const char *key, const char *value, uint64_t min, uint64_t max,
		    unsigned int *out, char *why);
/* 1 to max printable characters, copied. */
int tgt_spec_text(const char *key, const char *value, size_t max, char **out, char *why);
int tgt_spec_doorbells(const char *value, struct bh_tgt_spec *spec, char *why);

/* One key of a network controller; value may be changed. */
int tgt_spec_set_net(const char *key, char *value, struct bh_tgt_spec *spec, char *why);
/* What follows "net:". */
int tgt_spec_parse_net(char *rest, struct bh_tgt_spec *spec, char *why);

/* One more STORE or @NAME of the SPEC; text may be changed. */
int tgt_spec_add_store(char *text, struct bh_tgt_spec *spec, char *why);

/* The same of a subsystem, and what follows "subsys:". */
int tgt_spec_set_subsys(const char *key, char *value, struct bh_tgt_spec *spec, char *why);
int tgt_spec_parse_subsys(char *rest, struct bh_tgt_spec *spec, char *why);

typedef int (*tgt_spec_set_fn)(const char *key, char *value, struct bh_tgt_spec *spec, char *why);
/* A name, and keys that may be given once each. keys: ended by NULL. what: the name's, for why. */
int tgt_spec_parse_keys(char *rest, const char *what, const char *const *keys, tgt_spec_set_fn set,
			struct bh_tgt_spec *spec, char *why);
/* A key said twice is a slip, and taking the last would hide it. Refuses no unknown key. */
int tgt_spec_once(const char *const *keys, const char *key, unsigned int *seen, char *why);

#endif

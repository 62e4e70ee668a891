/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values of options, as the programs that measure take them. Each function gives -1 to go on;
 * otherwise it has said what is wrong with `option` and what would do, and gives the exit code.
 */
#ifndef APP_OPTIONS_H
#define APP_OPTIONS_H

#include <stdint.h>

#include "common.h"

int app_parse_number(struct app *app, const char *option, const char *text, uint64_t min,
		     uint64_t max, uint64_t *out);
int app_parse_uint(struct app *app, const char *option, const char *text, unsigned int min,
		   unsigned int max, unsigned int *out);
/* From 0.001 s to a week, as nanoseconds. */
int app_parse_seconds(struct app *app, const char *option, const char *text, uint64_t *ns);
/* what: of what, for people ("million packets per second"); may be "a number". */
int app_parse_real(struct app *app, const char *option, const char *text, const char *what,
		   double min, double max, double *out);
/* One of n words; which one. */
int app_parse_word(struct app *app, const char *option, const char *text, const char *const *words,
		   unsigned int n, unsigned int *which);
int app_parse_cpus(struct app *app, const char *option, const char *text, struct bh_cpuset *cpus);

/* Of devices: at least one, at most `most`, well-formed, none twice. */
int app_check_addresses(struct app *app, char *const *addresses, unsigned int n, unsigned int most);

#endif

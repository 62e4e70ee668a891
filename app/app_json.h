/* SPDX-License-Identifier: BSD-3-Clause */
/* What the programs with --json share. */
#ifndef APP_APP_JSON_H
#define APP_APP_JSON_H

#include <jansson.h>

/* A string of any bytes: JSON is UTF-8, a path need not be; if it is not, its bytes beyond ASCII
 * become '?'. */
json_t *app_json_text(const char *text);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "app_json.h"

json_t *app_json_text(const char *text)
{
	json_t *json = json_string(text);

	if (json)
		return json;
	char *ascii = strdup(text);
	if (!ascii)
		return NULL;
	for (char *c = ascii; *c != '\0'; c++) {
		if ((unsigned char)*c > 0x7e)
			*c = '?';
	}
	json = json_string(ascii);
	free(ascii);
	return json;
}

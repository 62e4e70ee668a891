/* SPDX-License-Identifier: BSD-3-Clause */
/* SPECs of subsystems: subsys:NAME[,KEY=VALUE...]. */
#include <errno.h>
#include <string.h>

#include "tgt/spec.h"

static int set_nqn(const char *value, struct bh_tgt_spec *spec, char *why)
{
	if (strncmp(value, "nqn.", 4) != 0)
		return tgt_spec_fail(why, -EINVAL, "nqn=%s: an NQN begins with nqn.", value);
	return tgt_spec_text("nqn", value, 223, &spec->nqn, why);
}

/* The value is quoted, and may be changed. */
int tgt_spec_set_subsys(const char *key, char *value, struct bh_tgt_spec *spec, char *why)
{
	tgt_spec_unquote(value);
	if (strcmp(key, "nqn") == 0)
		return set_nqn(value, spec, why);
	if (strcmp(key, "serial") == 0)
		return tgt_spec_text(key, value, 20, &spec->serial, why);
	if (strcmp(key, "model") == 0)
		return tgt_spec_text(key, value, 40, &spec->model, why);
	return tgt_spec_fail(why, -EINVAL, "unknown key '%s' (expected nqn, serial or model)", key);
}

int tgt_spec_parse_subsys(char *rest, struct bh_tgt_spec *spec, char *why)
{
	static const char *const keys[] = { "nqn", "serial", "model", NULL };

	return tgt_spec_parse_keys(rest, "subsys: the subsystem's name", keys, tgt_spec_set_subsys,
				   spec, why);
}

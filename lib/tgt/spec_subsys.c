/* SPDX-License-Identifier: BSD-3-Clause */
/* SPECs of subsystems: subsys:NAME[,KEY=VALUE...]. */
#include <errno.h>
#include <string.h>

#include <bellhop/parse.h>

#include "tgt/spec.h"

static int set_nqn(const char *value, struct bh_tgt_spec *spec, char *why)
{
	if (strncmp(value, "nqn.", 4) != 0)
		return tgt_spec_fail(why, -EINVAL, "nqn=%s: an NQN begins with nqn.", value);
	return tgt_spec_text("nqn", value, 223, &spec->nqn, why);
}

static int set_cap(const char *value, struct bh_tgt_spec *spec, char *why)
{
	if (bh_parse_size(value, &spec->cap) != 0 || spec->cap == 0 || spec->cap % 4096 != 0)
		return tgt_spec_fail(why, -EINVAL, "cap=%s: expected a multiple of 4K", value);
	return 0;
}

static int set_pool(char *value, struct bh_tgt_spec *spec, char *why)
{
	int error = spec->num_stores ? tgt_spec_fail(why, -EINVAL, "pool= is given twice")
				     : tgt_spec_add_store(value, spec, why);

	if (!error && spec->store[0].nsid)
		error = tgt_spec_fail(why, -EINVAL, "nsid=: a pool has no id");
	return error;
}

/* The value is quoted, and may be changed. */
int tgt_spec_set_subsys(const char *key, char *value, struct bh_tgt_spec *spec, char *why)
{
	if (strcmp(key, "pool") == 0)
		return set_pool(value, spec, why);
	tgt_spec_unquote(value);
	if (strcmp(key, "cap") == 0)
		return set_cap(value, spec, why);
	if (strcmp(key, "nqn") == 0)
		return set_nqn(value, spec, why);
	if (strcmp(key, "serial") == 0)
		return tgt_spec_text(key, value, 20, &spec->serial, why);
	if (strcmp(key, "model") == 0)
		return tgt_spec_text(key, value, 40, &spec->model, why);
	return tgt_spec_fail(why, -EINVAL,
			     "unknown key '%s' (expected nqn, serial, model, cap or pool)", key);
}

int tgt_spec_parse_subsys(char *rest, struct bh_tgt_spec *spec, char *why)
{
	static const char *const keys[] = { "nqn", "serial", "model", "cap", "pool", NULL };

	return tgt_spec_parse_keys(rest, "subsys: the subsystem's name", keys, tgt_spec_set_subsys,
				   spec, why);
}

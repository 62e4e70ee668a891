/* SPDX-License-Identifier: BSD-3-Clause */
#include "env/env.h"

#include <errno.h>

#include <rte_errno.h>
#include <rte_lcore.h>

/*
 * Did this thread get its lcore id here? One that has an id from elsewhere (EAL's own threads, the
 * one that started EAL) keeps it: registering again would leak the first id, unregistering take it
 * away.
 */
static _Thread_local bool registered;

int bh_env_thread_register(struct bh_env *env)
{
	if (rte_lcore_id() != LCORE_ID_ANY)
		return 0;
	if (rte_thread_register() < 0) {
		bh_log(env->log, BH_LOG_ERROR, "env", "no lcore id for a thread: %s",
		       rte_strerror(rte_errno));
		return -rte_errno;
	}
	registered = true;
	return 0;
}

void bh_env_thread_unregister(struct bh_env *env)
{
	(void)env;
	if (registered)
		rte_thread_unregister();
	registered = false;
}

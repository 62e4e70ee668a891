/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a server gives up once it serves: who it is, and what it may ask of the kernel.
 *
 * Both hold for every thread of the process and cannot be taken back.
 */
#ifndef APP_CONFINE_H
#define APP_CONFINE_H

#include <sys/types.h>

#include "common.h"

/* The id of a user given by name or number. 0, or EXIT_USAGE, said. */
int confine_find_user(const struct app *app, const char *text, uid_t *uid, gid_t *gid);

/*
 * Becomes that user, with its groups and without a capability; needs root unless it is that user
 * already. 0, or 1, said.
 */
int confine_to_user(const struct app *app, const char *text);

/*
 * Only system calls that serving needs from here on; others fail with EPERM, and files, sockets and
 * programs cannot be opened any more. 0, or 1, said.
 */
int confine_system_calls(const struct app *app);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Probes for tracers (USDT): each is one instruction that does nothing, and a note in the binary
 * that says where it is and where its arguments are then. Arguments are values that are at hand:
 * nothing is computed for a probe. doc/watching.md lists them.
 *
 * Without the header of systemtap-sdt-dev at build time there are none.
 */
#ifndef BASE_PROBE_H
#define BASE_PROBE_H

#if defined(__has_include)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define BH_PROBE3(name, a, b, c) DTRACE_PROBE3(bellhop, name, a, b, c)
#define BH_PROBE4(name, a, b, c, d) DTRACE_PROBE4(bellhop, name, a, b, c, d)
#endif
#endif

#ifndef BH_PROBE3
#define BH_PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#define BH_PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#endif

#endif

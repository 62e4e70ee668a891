# SPDX-License-Identifier: BSD-3-Clause
unit_poll_NEEDS := poll base
unit_poll_TSAN := test_msg test_reactor test_source

# SPDX-License-Identifier: BSD-3-Clause
#
# The checks that are not tests of behaviour, and `make check`, which runs everything.

# $(call run_tests,STAGE) SPEC...
run_tests = $(Q)BH_BUILD=$(abspath $(B)) BH_SAN=$(SAN) scripts/run-tests --stage $(or $(STAGE),$1)

# SPDX-License-Identifier: BSD-3-Clause
#
# Bellhop's build: one make, no recursion. Every component directory has a build.mk that lists its
# sources; mk/*.mk turn the lists into rules. `make help` shows the targets.

VERSION := 0.1.0

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-builtin-variables

include mk/config.mk
include mk/components.mk
include mk/plugins.mk
include mk/programs.mk
include mk/unit.mk
include mk/functional.mk
include mk/budget.mk
include mk/checks.mk
include mk/vm.mk
include mk/fuzz.mk
include mk/install.mk

.PHONY: all lib help clean FORCE

lib: $(LIBBELLHOP)

all: $(LIBBELLHOP) $(PROGRAM_BINS) plugins

clean:
	rm -rf $(O)

help:
	@cat mk/help.txt

-include $(wildcard $(ALL_OBJS:.o=.d))

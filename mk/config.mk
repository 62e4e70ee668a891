# SPDX-License-Identifier: BSD-3-Clause
#
# Compiler, flags and directories. Variables a user may set on the command line:
#   O=DIR        where everything built goes (default: build)
#   CC=clang     the compiler; changing it, or any flag, rebuilds
#   SAN=LIST     sanitizers (address,undefined or thread), built beside the plain build
#   ARCH=native  tune for this machine; the default runs on any x86-64-v2
#   LTO=1        link-time optimisation     WERROR=0  warnings stay warnings     V=1  show commands
#   JOBS=N       parallel jobs when make was started without -j (default: every allowed CPU)

O ?= build
SAN ?=
LTO ?= 0
V ?= 0
WERROR ?= 1
ARCH ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 1)

# --no-builtin-variables leaves CC undefined, or inherited from the environment.
ifeq ($(filter-out undefined default,$(origin CC)),)
CC := gcc
endif
ifeq ($(filter-out undefined default,$(origin CXX)),)
CXX := g++
endif
ifeq ($(filter-out undefined default,$(origin AR)),)
AR := gcc-ar
endif
CROSS_COMPILE ?= aarch64-linux-gnu-
PKG_CONFIG ?= pkg-config
PYTHON ?= python3

comma := ,
empty :=
space := $(empty) $(empty)

# A parallel build unless the caller chose; sub-makes share the caller's job server.
ifeq ($(MAKELEVEL),0)
ifeq ($(filter -j% --jobs%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(JOBS)
endif
endif

# B is this configuration's build directory: bin/, lib/, obj/, test/.
ifeq ($(SAN),)
B := $(O)
else
B := $(O)/san-$(subst $(comma),-,$(SAN))
endif

# $(call objects,DIRECTORY,SOURCES). One of another directory (../) is called the same by all that name it,
# or it would be compiled twice at once into one file, and make would not see what it depends on.
objects = $(foreach o,$(patsubst %.c,$(B)/obj/$1/%.o,$2),$(if $(findstring /../,$o),$(call no_dots,$o),$o))
no_dots = $(if $(filter /%,$(B)),$(abspath $1),$(patsubst $(CURDIR)/%,%,$(abspath $1)))

MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)

ifneq ($(ARCH),)
ARCH_FLAGS := -march=$(ARCH)
else ifneq ($(filter x86_64%,$(MACHINE)),)
ARCH_FLAGS := -march=x86-64-v2
else
ARCH_FLAGS :=
endif

WARN_FLAGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wvla -Wundef
ifneq ($(WERROR),0)
WARN_FLAGS += -Werror
endif

OPT_FLAGS := -O2 -g
LINK_OPT :=
ifneq ($(SAN),)
OPT_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
LINK_OPT := -fsanitize=$(SAN)
endif
ifeq ($(FUZZ),1)
OPT_FLAGS += -fsanitize=fuzzer-no-link
endif
ifeq ($(COVERAGE),1)
OPT_FLAGS += -fprofile-instr-generate -fcoverage-mapping
LINK_OPT += -fprofile-instr-generate
endif
ifneq ($(LTO),0)
ifneq ($(findstring clang,$(shell $(CC) --version 2>/dev/null)),)
$(error LTO=1 works with gcc only: archives of clang's objects need another ar)
endif
OPT_FLAGS += -flto -ffat-lto-objects
LINK_OPT += -flto=auto
endif

BASE_CPPFLAGS := -Iinclude -Ilib -Idrivers -D_GNU_SOURCE -DBH_VERSION='"$(VERSION)"'
BASE_CFLAGS := -std=gnu11 $(OPT_FLAGS) $(ARCH_FLAGS) $(WARN_FLAGS) -pthread

# DPDK's flags carry its own -march and a forced include; only code that needs EAL sees them, never
# the -march. -isystem keeps our warnings out of its headers.
DPDK_CFLAGS = $(patsubst -I%,-isystem %,$(filter-out -m%,\
	$(shell $(PKG_CONFIG) --cflags libdpdk 2>/dev/null)))
DPDK_LIBS := $(shell $(PKG_CONFIG) --libs-only-L libdpdk 2>/dev/null) \
	-lrte_eal -lrte_mempool -lrte_mbuf -lrte_ring
NUMA_LIBS := $(or $(shell $(PKG_CONFIG) --libs numa 2>/dev/null),-lnuma)
JANSSON_LIBS := $(or $(shell $(PKG_CONFIG) --libs jansson 2>/dev/null),-ljansson)
UUID_LIBS := $(or $(shell $(PKG_CONFIG) --libs uuid 2>/dev/null),-luuid)
# Without ISA-L checksums are made with tables.
ISAL_LIBS := $(shell $(PKG_CONFIG) --libs libisal 2>/dev/null)
URING_LIBS := $(or $(shell $(PKG_CONFIG) --libs liburing 2>/dev/null),-luring)
PCAP_LIBS := $(or $(shell $(PKG_CONFIG) --libs libpcap 2>/dev/null),-lpcap)
SECCOMP_LIBS := $(or $(shell $(PKG_CONFIG) --libs libseccomp 2>/dev/null),-lseccomp)
CUNIT_LIBS := $(or $(shell $(PKG_CONFIG) --libs cunit 2>/dev/null),-lcunit)

ifneq ($(filter-out clean help check demo,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell $(PKG_CONFIG) --exists libdpdk numa jansson uuid liburing libpcap libseccomp cunit 2>/dev/null && echo yes),yes)
$(warning DPDK, libnuma, jansson, libuuid, liburing, libpcap, libseccomp or CUnit is not installed: scripts/pkgdep.sh installs what is missing)
endif
endif

# Libraries come after the archive; --as-needed drops the ones a program does not use.
LIBS := -Wl,--as-needed $(strip $(DPDK_LIBS)) $(strip $(NUMA_LIBS)) $(strip $(JANSSON_LIBS)) \
	$(strip $(UUID_LIBS)) $(strip $(URING_LIBS)) $(strip $(ISAL_LIBS)) $(strip $(PCAP_LIBS))
LINK_FLAGS := -pthread $(LINK_OPT)

# What objects and links depend on: rewritten only when it differs.
FLAGS_ID := $(shell $(CC) --version 2>/dev/null | head -n 1) | $(CC) | $(BASE_CPPFLAGS) \
	$(BASE_CFLAGS) $(CPPFLAGS) $(CFLAGS) | $(LINK_FLAGS) $(LDFLAGS) $(LIBS)
FLAGS_STAMP := $(B)/.flags

# $(call stamp,FILE,TEXT): make FILE hold TEXT, touching it only if that is a change. Done while the
# makefile is read, so that no shell ever sees the text.
stamp = $(if $(call differ,x$(strip $2),x$(strip $(if $(wildcard $1),$(file <$1)))),\
	$(shell mkdir -p $(dir $1))$(file >$1,$(strip $2)))
differ = $(filter-out $(subst $(space),|,$2),$(subst $(space),|,$1))

ifneq ($(filter-out clean help,$(or $(MAKECMDGOALS),all)),)
$(call stamp,$(FLAGS_STAMP),$(FLAGS_ID))
endif

ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' '$1' '$2'
else
Q :=
say = @:
endif

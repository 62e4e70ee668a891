# SPDX-License-Identifier: BSD-3-Clause
pi_SRCS := crc.c pi.c
# The cross build has ISA-L's headers but not its library: it takes the tables.
pi_CFLAGS = -DBH_HAVE_ISAL=$(if $(and $(ISAL_LIBS),$(if $(filter $(X)/%,$@),,1)),1,0)

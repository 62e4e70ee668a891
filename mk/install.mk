# SPDX-License-Identifier: BSD-3-Clause
#
# make install DESTDIR= PREFIX=/usr/local: programs, plug-ins, the library, its headers, bellhop.pc, and the
# manual pages of doc/man/*.scd where scdoc is installed.

PREFIX ?= /usr/local
DESTDIR ?=
SCDOC ?= $(shell command -v scdoc)

MAN_PAGES := $(wildcard doc/man/*.scd)
MAN_BUILT := $(if $(SCDOC),$(MAN_PAGES:doc/man/%.scd=$(B)/man/%))

$(B)/man/%: doc/man/%.scd
	@mkdir -p $(@D)
	$(Q)$(SCDOC) <$< >$@

# The library is static: whoever links it links what it uses.
$(B)/bellhop.pc: bellhop.pc.in $(FLAGS_STAMP) FORCE
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(strip $(LIBS))|' $< >$@

.PHONY: install man
man: $(MAN_BUILT)
install: all man $(B)/bellhop.pc
	@mkdir -p $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig \
		$(DESTDIR)$(PREFIX)/include/bellhop
	$(if $(APP_BINS),install -m 755 $(APP_BINS) $(DESTDIR)$(PREFIX)/bin/)
	install -m 644 $(LIBBELLHOP) $(DESTDIR)$(PREFIX)/lib/
	install -m 644 $(B)/bellhop.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/
	install -m 644 $(PUBLIC_HEADERS) $(DESTDIR)$(PREFIX)/include/bellhop/
	$(if $(PLUGIN_BINS),@mkdir -p $(DESTDIR)$(PREFIX)/lib/bellhop)
	$(if $(PLUGIN_BINS),install -m 755 $(PLUGIN_BINS) $(DESTDIR)$(PREFIX)/lib/bellhop/)
	$(if $(MAN_BUILT),$(foreach m,$(MAN_BUILT),install -D -m 644 $m \
		$(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $m))/$(notdir $m) &&) true)

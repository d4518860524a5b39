# SPDX-License-Identifier: Apache-2.0
# make            the programs, in build/
# make check      unit tests, golden and should-fail files, crash simulation,
#                 CLI scripts; needs only what tests/setup installs
# make check-all  installs what is missing, then runs every test there is
# make demo       installs what is missing, builds, does the main job for real
# make bench      beside the peers; make fuzz [FUZZ_SECONDS=60]
# make lab        stock Debian in a machine of ours, on an emulated host
# make install    PREFIX=/usr/local, DESTDIR=
#
# CC=clang, BUILD=dir, SANITIZE=address,undefined or thread; V=1 shows commands.

BUILD ?= build
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
PREFIX ?= /usr/local
PKG_CONFIG ?= pkg-config
FUZZ_SECONDS ?= 60

FORMAT_PKGS := libzstd libcrypto liburing libxxhash
ENGINE_PKGS := jansson
FUSE_PKGS := fuse3
NBD_PKGS := nbdkit
AGENT_PKGS := blkid ext2fs com_err libseccomp
TEST_PKGS := cmocka

pkg_cflags = $(shell $(PKG_CONFIG) --cflags $(1) 2>/dev/null)
pkg_libs = $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null)

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla -Wformat=2 -Wno-format-nonliteral -Werror
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -iquote . $(WARNINGS) -fPIC \
	-fno-strict-aliasing -fstack-protector-strong -pthread -MMD -MP $(CFLAGS)
ALL_LDFLAGS := -pthread -Wl,-z,relro,-z,now $(LDFLAGS)
ifneq ($(SANITIZE),)
ALL_CFLAGS += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer \
	-fno-sanitize-recover=all -DSANITIZED=1
# gcc's guesses about values go astray in instrumented code.
ALL_CFLAGS += $(if $(findstring clang,$(CC)),,-Wno-format-truncation \
	-Wno-maybe-uninitialized)
# It says that it can't follow fences: those are between us and a guest.
ALL_CFLAGS += $(if $(findstring clang,$(CC)),,\
	$(if $(findstring thread,$(SANITIZE)),-Wno-tsan))
ALL_LDFLAGS += -fsanitize=$(SANITIZE)
endif
ifneq ($(FUZZ),)
ALL_CFLAGS += -fsanitize=fuzzer-no-link
endif

FORMAT_SRC := $(wildcard format/base/*.c format/store/*.c format/image/*.c)
VMSNAP_SRC := $(filter-out vmsnap/keeper/main.c,$(wildcard vmsnap/*.c vmsnap/*/*.c))
CLI_SRC := $(wildcard cli/*.c)
FUSE_SRC := $(wildcard fuse/*.c)
NBD_SRC := $(wildcard nbd/*.c)
AGENT_SRC := $(wildcard kvm-agent/*.c kvm-agent/*/*.c)
RIG_SRC := $(wildcard tests/sim/*.c tests/rig/*.c)
UNIT_SRC := $(wildcard tests/unit/test_*.c)
CRASH_SRC := $(wildcard tests/crash/crash_*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRC := $(wildcard tests/bench/*.c)
GUEST_SRC := $(wildcard tests/kvm/*.c)
HOST_SRC := $(filter-out %/rig.c,$(wildcard tests/kvm/host/*.c))
LAB_SRC := tests/lab/tool.c
GUEST_LIB_SRC := $(wildcard tests/kvm/guest/*.c tests/kvm/guest/*.S)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
bin = $(patsubst tests/%.c,$(BUILD)/tests/%,$(1))

LIB_FORMAT := $(BUILD)/libvmsnap-format.a
LIB_VMSNAP := $(BUILD)/libvmsnap.a
LIB_AGENT := $(BUILD)/libkvm-agent.a
LIB_RIG := $(BUILD)/librig.a
DSDT := $(BUILD)/obj/kvm-agent/acpi/dsdt.o
LIBS := $(LIB_VMSNAP) $(LIB_FORMAT)
NEEDED := $(call pkg_libs,$(FORMAT_PKGS) $(ENGINE_PKGS))
AGENT_NEEDED := $(NEEDED) $(call pkg_libs,$(AGENT_PKGS))

PLUGIN := $(BUILD)/nbdkit-vmsnap-plugin.so
PROGRAMS := $(if $(CLI_SRC),$(BUILD)/vmsnap $(BUILD)/vmsnap.1) \
	$(BUILD)/vmsnap-mount $(PLUGIN) $(BUILD)/vmsnap-keeper $(BUILD)/kvm-agent
UNIT_BIN := $(call bin,$(UNIT_SRC))
CRASH_BIN := $(call bin,$(CRASH_SRC))
FUZZ_BIN := $(call bin,$(FUZZ_SRC))
BENCH_BIN := $(call bin,$(BENCH_SRC))
HOST_BIN := $(call bin,$(HOST_SRC))
LAB_BIN := $(call bin,$(LAB_SRC))
GUEST_BIN := $(patsubst %.c,$(BUILD)/%.elf,$(GUEST_SRC))

ifeq ($(V),)
Q := @
say = @echo "  $(1)  $(2)"
endif

# One hint in place of a screen of errors, for the goals that compile.
missing := $(strip \
	$(if $(shell command -v $(firstword $(CC)) 2>/dev/null),,$(firstword $(CC))) \
	$(if $(shell command -v scdoc 2>/dev/null),,scdoc) \
	$(if $(shell command -v iasl 2>/dev/null),,iasl) \
	$(if $(shell command -v $(PKG_CONFIG) 2>/dev/null),$(foreach pkg,\
		$(FORMAT_PKGS) $(CLI_PKGS) $(FUSE_PKGS) $(NBD_PKGS) \
		$(AGENT_PKGS),$(shell \
		$(PKG_CONFIG) --exists $(pkg) 2>/dev/null || echo $(pkg))),\
		$(PKG_CONFIG)))
helpers := check-asan check-tsan check-all demo bench lab fuzz lint clean
ifneq ($(missing),)
ifneq ($(filter-out $(helpers),$(or $(MAKECMDGOALS),all)),)
$(error missing: $(missing). As root, or with sudo: tests/setup build)
endif
endif

all: $(PROGRAMS) $(LIBS)

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) $(call pkg_cflags,$(FORMAT_PKGS) $(ENGINE_PKGS)) -c -o $@ $<

# Headers of others are not held to our warnings.
$(call obj,$(FUSE_SRC)): ALL_CFLAGS += \
	$(patsubst -I%,-isystem %,$(call pkg_cflags,$(FUSE_PKGS)))
$(call obj,$(NBD_SRC)): ALL_CFLAGS += \
	$(patsubst -I%,-isystem %,$(call pkg_cflags,$(NBD_PKGS)))
$(call obj,$(AGENT_SRC)): ALL_CFLAGS += \
	$(patsubst -I%,-isystem %,$(call pkg_cflags,$(AGENT_PKGS)))

$(LIB_FORMAT): $(call obj,$(FORMAT_SRC))
$(LIB_VMSNAP): $(call obj,$(VMSNAP_SRC))
$(LIB_AGENT): $(call obj,$(filter-out kvm-agent/main.c,$(AGENT_SRC))) $(DSDT)
$(LIB_RIG): $(call obj,$(RIG_SRC))
$(LIB_FORMAT) $(LIB_VMSNAP) $(LIB_AGENT) $(LIB_RIG):
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcs $@ $(filter %.o,$^)

# ACPI's source, through the C preprocessor and iasl, as an array of C.
$(BUILD)/acpi/dsdt.c: kvm-agent/acpi/dsdt.asl kvm-agent/vm/layout.h Makefile
	@mkdir -p $(@D)
	$(call say,IASL,$<)
	$(Q)$(CC) -E -P -x c -iquote . -o $(@D)/dsdt.asl $<
	$(Q)cd $(@D) && { iasl -we -tc -p dsdt dsdt.asl >dsdt.log 2>&1 || \
		{ cat dsdt.log; exit 1; }; }
	$(Q){ echo '#include "kvm-agent/acpi/tables.h"'; \
		sed 's/^unsigned char dsdt_aml_code/const unsigned char acpi_dsdt/' \
			$(@D)/dsdt.hex; \
		echo 'const unsigned acpi_dsdt_size = sizeof(acpi_dsdt);'; } >$@

$(DSDT): $(BUILD)/acpi/dsdt.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/vmsnap: $(call obj,$(CLI_SRC)) $(LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(NEEDED)

$(BUILD)/vmsnap-mount: $(call obj,$(FUSE_SRC)) $(LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(NEEDED) $(call pkg_libs,$(FUSE_PKGS))

$(BUILD)/vmsnap-keeper: $(BUILD)/obj/vmsnap/keeper/main.o $(LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(NEEDED)

$(BUILD)/kvm-agent: $(BUILD)/obj/kvm-agent/main.o $(LIB_AGENT) $(LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(AGENT_NEEDED)

# Our names stay ours inside of nbdkit.
$(PLUGIN): $(call obj,$(NBD_SRC)) $(LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -shared -Wl,-Bsymbolic -Wl,--exclude-libs,ALL \
		-o $@ $^ $(NEEDED)

$(BUILD)/vmsnap.1: cli/vmsnap.1.scd
	@mkdir -p $(@D)
	$(Q)scdoc <$< >$@.new && mv $@.new $@

$(UNIT_BIN) $(CRASH_BIN): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(LIB_RIG) $(LIB_AGENT) $(LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(AGENT_NEEDED) $(call pkg_libs,$(TEST_PKGS))

$(BENCH_BIN): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(NEEDED) -lm

# With FUZZ=1 (clang) a libFuzzer program; without, one that replays files.
$(FUZZ_BIN): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(LIB_RIG) $(LIB_AGENT) $(LIBS) \
	$(if $(FUZZ),,$(BUILD)/obj/tests/fuzz/replay_main.o)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(if $(FUZZ),-fsanitize=fuzzer) -o $@ $^ $(AGENT_NEEDED)

# The tiny guests: no library, no sanitizer, no SSE where ring 0 is.
GUEST_CFLAGS := -std=gnu11 -iquote . $(WARNINGS) -O2 -g0 -m64 -ffreestanding \
	-fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables \
	-fno-strict-aliasing -mno-red-zone -mgeneral-regs-only -MMD -MP
guest_obj = $(patsubst %,$(BUILD)/obj/guest/%.o,$(basename $(1)))

$(BUILD)/obj/guest/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(GUEST_CFLAGS) -c -o $@ $<

$(BUILD)/obj/guest/%.o: %.S Makefile
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$(Q)$(CC) -m64 -g0 -iquote . -MMD -MP -c -o $@ $<

$(GUEST_BIN): $(BUILD)/%.elf: $(BUILD)/obj/guest/%.o \
	$(call guest_obj,$(GUEST_LIB_SRC)) tests/kvm/guest/guest.ld
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -m64 -nostdlib -static -no-pie -Wl,--build-id=none \
		-Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments \
		-T tests/kvm/guest/guest.ld -o $@ $(filter %.o,$^)

programs: $(PROGRAMS)
guests: $(GUEST_BIN) $(HOST_BIN)

$(HOST_BIN): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o \
	$(BUILD)/obj/tests/kvm/host/rig.o $(LIB_AGENT) $(LIBS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(AGENT_NEEDED)

# Goes into a guest as it is.
$(LAB_BIN): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -static -pthread -o $@ $^

unit: $(UNIT_BIN)
crash: $(CRASH_BIN)
fuzzers: $(FUZZ_BIN)
benches: $(BENCH_BIN)
tests: unit crash fuzzers guests

check: all tests
	tests/run --build $(BUILD) check

check-unit: unit
	tests/run --build $(BUILD) unit

check-kvm: all guests
	tests/run --build $(BUILD) kvm

check-root: all
	tests/run --build $(BUILD) root

check-asan:
	$(MAKE) BUILD=$(BUILD)/asan SANITIZE=address,undefined check

check-tsan:
	$(MAKE) BUILD=$(BUILD)/tsan SANITIZE=thread all unit
	tests/run --build $(BUILD)/tsan tsan

check-all:
	tests/setup check
	tests/all

demo:
	tests/setup demo
	$(MAKE) all guests
	tests/demo $(BUILD)

bench:
	tests/setup bench
	$(MAKE) all benches guests
	tests/bench/run.py --build $(BUILD)
	tests/bench/image.py --build $(BUILD)
	tests/bench/machine.py --build $(BUILD)

# Stock Debian on our agent, on a host that is emulated; minutes.
lab:
	tests/setup lab
	$(MAKE) all $(LAB_BIN)
	BUILD=$(BUILD) tests/lab/all

fuzz:
	$(MAKE) CC=clang FUZZ=1 BUILD=$(BUILD)/fuzz SANITIZE=address,undefined fuzzers
	tests/fuzz/run --build $(BUILD)/fuzz --seconds $(FUZZ_SECONDS)

lint:
	tests/lint/all

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(BUILD)/vmsnap $(DESTDIR)$(PREFIX)/bin/vmsnap
	install -d $(DESTDIR)$(PREFIX)/libexec/vmsnap
	install -m 755 $(BUILD)/vmsnap-mount $(PLUGIN) $(BUILD)/vmsnap-keeper \
		$(BUILD)/kvm-agent \
		$(DESTDIR)$(PREFIX)/libexec/vmsnap/
	install -m 644 $(BUILD)/vmsnap.1 $(DESTDIR)$(PREFIX)/share/man/man1/vmsnap.1
	$(BUILD)/vmsnap completion bash \
		>$(DESTDIR)$(PREFIX)/share/bash-completion/completions/vmsnap

clean:
	rm -rf $(BUILD)

.PHONY: all programs unit crash fuzzers benches guests tests check check-unit \
	check-kvm check-root check-asan check-tsan check-all demo bench lab fuzz lint install \
	clean
.SECONDARY:
.DELETE_ON_ERROR:

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

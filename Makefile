# make            build/gcc-release/ingot        make check    every test
# make help       every target                   make SAN=address,undefined check
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
MODE    ?= release
SAN     ?=
comma   := ,
BUILD   := build/$(notdir $(CC))-$(MODE)$(if $(SAN),-$(subst $(comma),-,$(SAN)))
BIN     := $(BUILD)/ingot
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
PKGS    := zlib libarchive libcjson libcrypto
VERSION := $(shell sed -n 's/^.define INGOT_VERSION "\(.*\)"/\1/p' format/base.h)
ABI     := 0

# The code is everything in the folders but cmd*.c; the program adds cli/ and the cmd*.c, libingot the face in library/.
FOLDERS := format quantize convert verify runtime report library
ALL_SRC := $(sort $(wildcard $(FOLDERS:%=%/*.c)))
CMD_SRC := $(sort $(foreach d,$(FOLDERS),$(wildcard $(d)/cmd*.c)) $(wildcard cli/*.c))
LIB_SRC := $(filter-out $(CMD_SRC),$(ALL_SRC))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
CMD_OBJ := $(CMD_SRC:%.c=$(BUILD)/%.o)
FACE    := $(filter-out $(BUILD)/report/%,$(LIB_OBJ))
TESTS   := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/test_*.c))
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS := $(FUZZERS:$(BUILD)/tests/fuzz/fuzz_%=$(BUILD)/tests/fuzz/replay_%)
TOOLS   := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/tool_*.c samples/*.c))

# No -march=native (a build must run on its neighbour) and no -ffast-math (NaN checks must
# work). -ffp-contract=off keeps every kernel and both compilers bit-equal.
CFLAGS  ?= $(if $(filter debug,$(MODE)),-O0 -g,-O2 -g)
known = $(shell tests/flags.sh "$(CC)" $(foreach f,$(1),'$f'))
WARN    := -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Walloca \
	-Wformat=2 -Wimplicit-fallthrough -Wnull-dereference -Werror=format-security -Werror=implicit \
	-Werror=incompatible-pointer-types -Werror=int-conversion $(call known,-Wduplicated-cond -Wlogical-op \
	-Wcast-align=strict -Wstringop-overflow=4 -Wuse-after-free=3 -Wtrampolines -Wbidi-chars=any)
# What SECURITY.md lists; tests/cli/binary.sh looks for it in the program. Sanitizers and debuggers see more without.
CLANG_OPT_IN := -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang
HARDEN  := $(if $(SAN)$(filter debug coverage,$(MODE)),,$(call known,-fstack-clash-protection -fcf-protection=full \
	-mbranch-protection=standard -fno-delete-null-pointer-checks -fno-strict-overflow \
	-ftrivial-auto-var-init=zero|-ftrivial-auto-var-init=zero+$(CLANG_OPT_IN) \
	-fzero-call-used-regs=used-gpr -fstrict-flex-arrays=3 -fzero-init-padding-bits=all))
override CFLAGS += $(if $(WERROR),-Werror) -std=c17 -ffp-contract=off -fno-strict-aliasing -fPIC -fvisibility=hidden $(SAME) $(WARN) $(HARDEN) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -DSMALL_CODE -DSANITIZED,-fstack-protector-strong)
# The same bytes wherever and whenever it is built: no paths, no dates (tests/reproducible.sh).
export PWD := $(CURDIR)
SAME    := $(if $(filter debug coverage,$(MODE)),,-ffile-prefix-map=$(CURDIR)=.)
override CPPFLAGS += -I. -D_GNU_SOURCE $(if $(SAN)$(filter debug coverage,$(MODE)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3) \
	$(shell pkg-config --cflags $(PKGS))
override LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code,--as-needed
LDLIBS  += $(shell pkg-config --libs $(PKGS)) -lm -pthread

# Inner loops parse nothing: their sizes come checked. With these flags the AVX2 products take a third longer and more.
HEAVY   := $(filter-out -fcf-protection=% -mbranch-protection=%,$(HARDEN))
HOT     := $(wildcard runtime/kernels*.c quantize/encode_*.c)
$(HOT:%.c=$(BUILD)/%.o): override CFLAGS := $(filter-out $(HEAVY),$(CFLAGS))

# Undefined behaviour in a parser stops it there.
TRAP    := $(if $(HARDEN),$(call known,\
	-fsanitize=undefined+-fsanitize-trap=undefined|-fsanitize=undefined+-fsanitize-undefined-trap-on-error))
$(patsubst %.c,$(BUILD)/%.o,$(wildcard format/*.c)): override CFLAGS += $(TRAP)

# One instruction set a file; quantize/cpu.c tests for exactly these before it uses one.
ifneq ($(filter x86_64%,$(shell $(CC) -dumpmachine)),)
$(BUILD)/runtime/kernels_avx2.o $(BUILD)/quantize/encode_avx2.o: override CFLAGS += -mavx2 -mfma -mf16c
$(BUILD)/runtime/kernels_avx512.o $(BUILD)/quantize/encode_avx512.o: override CFLAGS += -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c
endif

.PHONY: all valgrind valgrind-run check analyze messages coverage coverage-run crash filesystems lazyfs figures fuzz fuzzers fuzzers-fast fuzz-targets bench lint clean help tools install install-program install-library install-dev uninstall deb reproducible memory memory-run
all: $(BIN) $(BUILD)/libingot.a $(BUILD)/libingot.so    ## build the program and the library

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# For the program and the tests: every name of every folder.
$(BUILD)/internal.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcsD $@ $^

# For others, without the pages of report/: one object, whose only names are those of library/ingot.h.
$(BUILD)/libingot.a: $(FACE)
	@rm -f $@
	$(CC) -r -nostdlib $^ -o $(BUILD)/libingot.o
	$$($(CC) -print-prog-name=objcopy) --localize-hidden $(BUILD)/libingot.o
	$(AR) rcsD $@ $(BUILD)/libingot.o

$(BUILD)/libingot.so: $(FACE) library/ingot.map
	$(CC) $(CFLAGS) $(filter-out -pie,$(LDFLAGS)) -shared -Wl,-soname,libingot.so.$(ABI),--version-script=library/ingot.map \
		$(if $(SAN),,-Wl$(comma)-z$(comma)defs) $(FACE) $(LDLIBS) -o $@

$(BIN): $(CMD_OBJ) $(BUILD)/internal.a
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(TESTS) $(TOOLS): %: %.o $(BUILD)/internal.a
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

tools: $(TOOLS)             ## generators of samples and fixtures

check: lint all $(TESTS) $(TOOLS) $(REPLAYS) $(BUILD)/tests/fault.so   ## unit and command-line tests
	@BIN=$(BIN) BUILD=$(BUILD) tests/run.sh $(TESTS)

$(BUILD)/tests/fault.so: tests/fault.c tests/fault_cut.h
	@mkdir -p $(@D)
	$(CC) -shared -fPIC -O1 $(WARN) -D_GNU_SOURCE -I. $< -o $@ -ldl

crash: $(BIN) $(TOOLS) $(BUILD)/tests/fault.so   ## runs that are killed or whose calls fail; SCALE=25 for long
	@BIN=$(BIN) BUILD=$(BUILD) tests/crash.sh

filesystems: $(BIN) $(TOOLS) $(BUILD)/tests/fault.so   ## the same on ext4, xfs and btrfs, made in memory (root)
	@BIN=$(BIN) BUILD=$(BUILD) tests/filesystems.sh

lazyfs: $(BIN) $(TOOLS)     ## power cuts under LazyFS (root): LAZYFS=the folder of its program; CUTS=500 for a release
	@BIN=$(BIN) BUILD=$(BUILD) LAZYFS='$(LAZYFS)' tests/lazyfs.sh

coverage:                   ## which lines of the parsers their tests run, in a build of its own
	$(MAKE) MODE=coverage CFLAGS='-O0 -g --coverage -DHOSTILE_COSTS=0' coverage-run
PARSER_TESTS := $(patsubst %,$(BUILD)/tests/test_%,archive base claim digest gguf hostile hostile_archive hostile_gguf hostile_members imatrix \
	json safetensors seal tokenizer vocab)
coverage-run: $(BIN) $(TOOLS) $(REPLAYS) $(PARSER_TESTS)
	@BIN=$(BIN) BUILD=$(BUILD) tests/coverage.sh $(PARSER_TESTS)

figures: $(BIN) $(TOOLS) $(BUILD)/tests/fault.so   ## damage, full disks, meddlers, counted; SCALE=50 for a release
	@BIN=$(BIN) BUILD=$(BUILD) tests/figures.sh

memory:                     ## no byte is read before it is written: clang's memory sanitizer over parsers without libraries
	$(MAKE) CC=clang SAN=memory FOLDERS=format memory-run
MEMORY_TESTS := $(patsubst %,$(BUILD)/tests/test_%,base dtype imatrix json vocab) \
	$(patsubst %,$(BUILD)/tests/fuzz/replay_%,digests gguf imatrix index json safetensors tokenizer)
memory-run: $(MEMORY_TESTS)
	@tests/memory.sh $^

messages: $(BIN) $(TOOLS) $(TESTS) $(REPLAYS) $(BUILD)/tests/fault.so   ## every message of an error is brought about by a test (minutes)
	@BIN=$(BIN) BUILD=$(BUILD) tests/messages.sh $(TESTS)

valgrind:                    ## every command once under valgrind, in a build that clears no variables (minutes)
	$(MAKE) MODE=debug valgrind-run
valgrind-run: $(BIN) $(TOOLS)
	@BIN=$(BIN) BUILD=$(BUILD) tests/valgrind.sh

lint:                       ## include layering, banned calls
	@tests/lint.sh

analyze:                    ## static analysis: gcc, clang-tidy, cppcheck (minutes); ONLY=clang-tidy
	@tests/analyze.sh $(ONLY)

$(BUILD)/tests/fuzz/fuzz_statement $(BUILD)/tests/fuzz/replay_statement: override LDFLAGS += \
	-Wl,--wrap=key_sign,--wrap=key_vouches
$(FUZZERS): %: %.o $(BUILD)/internal.a
	$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer $^ $(LDLIBS) -o $@

# the same targets under an ordinary compiler: seeds and fixed changes of them, a part of `make check`
$(REPLAYS): $(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/internal.a
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

fuzzers:                    ## the fuzz targets, with clang and its sanitizers
	$(MAKE) CC=clang MODE=fuzz SAN=fuzzer-no-link,address,undefined fuzz-targets
fuzzers-fast:               ## the same for many executions: no address sanitizer, comparisons are not traced
	$(MAKE) CC=clang MODE=fast SAN=fuzzer-no-link,undefined fuzz-targets \
		CFLAGS='-O2 -g -fno-sanitize-coverage=trace-cmp -fsanitize-trap=undefined'
fuzz-targets: $(FUZZERS)
fuzz: fuzzers $(if $(FUZZ_RUNS),fuzzers-fast)   ## T=60 seconds a target, or FUZZ_RUNS=50000000 inputs; ONLY=json
	@$(if $(FUZZ_RUNS),tests/fuzz/campaign.sh $(FUZZ_RUNS),tests/fuzz/run.sh $${T:-60}) $(ONLY)

bench: $(BIN) tools         ## speed beside this machine's ceilings (40 GB of scratch, minutes)
	@BIN=$(BIN) BUILD=$(BUILD) tests/bench.sh
	@BUILD=$(BUILD) tests/bench_context.sh
	@$(BUILD)/tests/tool_kernels 1; $(BUILD)/tests/tool_kernels $${THREADS:-2}
	@$(BUILD)/tests/tool_codecs 1; $(BUILD)/tests/tool_codecs $${THREADS:-2}
	@BIN=$(BIN) BUILD=$(BUILD) tests/bench_peer.sh
	@BIN=$(BIN) BUILD=$(BUILD) tests/bench_verify.sh
	@BIN=$(BIN) BUILD=$(BUILD) tests/bench_stream.sh
	@BIN=$(BIN) BUILD=$(BUILD) tests/bench_quant.sh
	@BIN=$(BIN) BUILD=$(BUILD) tests/bench_llama_quantize.sh

SHARE   := $(DESTDIR)$(PREFIX)/share
COMMANDS = $(shell $(BIN) help --names)
install: install-program install-library install-dev   ## DESTDIR, PREFIX and LIBDIR honoured: program, manual, completions, library
install-program: $(BIN)
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man1 $(SHARE)/bash-completion/completions \
		$(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	install -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/
	umask 022; $(BIN) help --man >$(SHARE)/man/man1/ingot.1
	umask 022; for c in $(COMMANDS); do $(BIN) help --man $$c >$(SHARE)/man/man1/ingot-$$c.1 || exit 1; done
	umask 022; $(BIN) help --bash >$(SHARE)/bash-completion/completions/ingot
	umask 022; $(BIN) help --zsh >$(SHARE)/zsh/site-functions/_ingot
	umask 022; $(BIN) help --fish >$(SHARE)/fish/vendor_completions.d/ingot.fish
install-library: $(BUILD)/libingot.so
	install -d $(DESTDIR)$(LIBDIR)
	install -m 644 $(BUILD)/libingot.so $(DESTDIR)$(LIBDIR)/libingot.so.$(VERSION)
	ln -sf libingot.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libingot.so.$(ABI)
install-dev: $(BUILD)/libingot.a
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 644 $(BUILD)/libingot.a $(DESTDIR)$(LIBDIR)/
	ln -sf libingot.so.$(ABI) $(DESTDIR)$(LIBDIR)/libingot.so
	install -m 644 library/ingot.h $(DESTDIR)$(PREFIX)/include/
	umask 022; sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|; s|@LIBS@|$(LDLIBS)|' \
		library/ingot.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/ingot.pc

deb: all                    ## Debian packages of program and library, in $(BUILD)/deb
	@MAKE='$(MAKE)' CC='$(CC)' BUILD='$(BUILD)' VERSION='$(VERSION)' ABI='$(ABI)' packaging/deb.sh

reproducible: deb           ## builds it all again elsewhere and compares the bytes; QUICK=1: not the inner loops
	@MAKE='$(MAKE)' CC='$(CC)' BUILD='$(BUILD)' QUICK='$(QUICK)' tests/reproducible.sh

uninstall:                  ## remove what install put
	rm -f $(DESTDIR)$(PREFIX)/bin/ingot $(SHARE)/man/man1/ingot.1 $(SHARE)/man/man1/ingot-*.1 \
		$(SHARE)/bash-completion/completions/ingot $(SHARE)/zsh/site-functions/_ingot \
		$(SHARE)/fish/vendor_completions.d/ingot.fish $(DESTDIR)$(LIBDIR)/libingot.so.$(VERSION) \
		$(DESTDIR)$(LIBDIR)/libingot.so.$(ABI) $(DESTDIR)$(LIBDIR)/libingot.so $(DESTDIR)$(LIBDIR)/libingot.a \
		$(DESTDIR)$(LIBDIR)/pkgconfig/ingot.pc $(DESTDIR)$(PREFIX)/include/ingot.h

clean:                      ## remove build/
	rm -rf build

help:                       ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST)

-include $(LIB_OBJ:.o=.d) $(CMD_OBJ:.o=.d) $(TESTS:=.d) $(TOOLS:=.d) $(FUZZERS:=.d) $(BUILD)/tests/fuzz/replay.d

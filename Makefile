# make            build/gcc-release/ingot        make check    every test
# make help       every target                   make SAN=address,undefined check
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
MODE    ?= release
SAN     ?=
comma   := ,
BUILD   := build/$(notdir $(CC))-$(MODE)$(if $(SAN),-$(subst $(comma),-,$(SAN)))
BIN     := $(BUILD)/ingot
PREFIX  ?= /usr/local
PKGS    := zlib libarchive libcjson libcrypto

# The library is everything in the folders but cmd*.c; the program adds cli/ and the cmd*.c.
FOLDERS := format quantize convert verify runtime report
ALL_SRC := $(wildcard $(FOLDERS:%=%/*.c))
CMD_SRC := $(foreach d,$(FOLDERS),$(wildcard $(d)/cmd*.c)) $(wildcard cli/*.c)
LIB_SRC := $(filter-out $(CMD_SRC),$(ALL_SRC))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
CMD_OBJ := $(CMD_SRC:%.c=$(BUILD)/%.o)
TESTS   := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/test_*.c))
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS := $(FUZZERS:$(BUILD)/tests/fuzz/fuzz_%=$(BUILD)/tests/fuzz/replay_%)
TOOLS   := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/tool_*.c samples/*.c))

# No -march=native (a build must run on its neighbour) and no -ffast-math (NaN checks must
# work). -ffp-contract=off keeps every kernel and both compilers bit-equal.
CFLAGS  ?= $(if $(filter debug,$(MODE)),-O0 -g,-O2 -g)
# The first that this compiler takes of each argument's alternatives ("a|b"); "+" stands for a space.
known = $(shell for all in $(foreach f,$(1),'$f'); do for f in $$(echo "$$all" | tr '|' ' '); do f=$$(echo "$$f" | tr + ' '); \
	$(CC) -Werror -O1 $$f -x c -fsyntax-only /dev/null 2>/dev/null && { echo "$$f"; break; }; done; done)
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
override CFLAGS += $(if $(WERROR),-Werror) -std=c17 -ffp-contract=off -fno-strict-aliasing -fPIE $(WARN) $(HARDEN) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -DSMALL_CODE -DSANITIZED,-fstack-protector-strong)
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

.PHONY: all check analyze coverage coverage-run crash figures fuzz fuzzers fuzz-targets bench lint clean help tools install uninstall
all: $(BIN)                 ## build the program

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libingot.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BIN): $(CMD_OBJ) $(BUILD)/libingot.a
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(TESTS) $(TOOLS): %: %.o $(BUILD)/libingot.a
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

tools: $(TOOLS)             ## generators of samples and fixtures

check: lint $(BIN) $(TESTS) $(TOOLS) $(REPLAYS)   ## unit and command-line tests
	@BIN=$(BIN) BUILD=$(BUILD) tests/run.sh $(TESTS)

$(BUILD)/tests/fault.so: tests/fault.c tests/fault_cut.h
	@mkdir -p $(@D)
	$(CC) -shared -fPIC -O1 $(WARN) -D_GNU_SOURCE -I. $< -o $@ -ldl

crash: $(BIN) $(TOOLS) $(BUILD)/tests/fault.so   ## runs that are killed or whose calls fail; SCALE=25 for long
	@BIN=$(BIN) BUILD=$(BUILD) tests/crash.sh

coverage:                   ## which lines of the parsers their tests run, in a build of its own
	$(MAKE) MODE=coverage CFLAGS='-O0 -g --coverage -DHOSTILE_COSTS=0' coverage-run
PARSER_TESTS := $(patsubst %,$(BUILD)/tests/test_%,archive base claim digest gguf hostile hostile_archive hostile_gguf imatrix \
	json safetensors seal tokenizer vocab)
coverage-run: $(BIN) $(TOOLS) $(REPLAYS) $(PARSER_TESTS)
	@BIN=$(BIN) BUILD=$(BUILD) tests/coverage.sh $(PARSER_TESTS)

figures: $(BIN) $(TOOLS) $(BUILD)/tests/fault.so   ## damage, full disks, meddlers, counted; SCALE=50 for a release
	@BIN=$(BIN) BUILD=$(BUILD) tests/figures.sh

lint:                       ## include layering, banned calls
	@tests/lint.sh

analyze:                    ## static analysis: gcc, clang-tidy, cppcheck (minutes)
	@tests/analyze.sh

$(FUZZERS): %: %.o $(BUILD)/libingot.a
	$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer $^ $(LDLIBS) -o $@

# the same targets under an ordinary compiler: seeds and fixed changes of them, a part of `make check`
$(REPLAYS): $(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/libingot.a
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

fuzzers:                    ## the fuzz targets, with clang and its sanitizers
	$(MAKE) CC=clang MODE=fuzz SAN=fuzzer-no-link,address,undefined fuzz-targets
fuzz-targets: $(FUZZERS)
fuzz: fuzzers               ## T=60 seconds for each target, or for ONLY=json; prints how many inputs there were
	@tests/fuzz/run.sh $${T:-60} $(ONLY)

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
install: $(BIN)             ## DESTDIR and PREFIX honoured: program, manual pages, completions
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man1 $(SHARE)/bash-completion/completions \
		$(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	install -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/
	$(BIN) help --man >$(SHARE)/man/man1/ingot.1
	for c in $(COMMANDS); do $(BIN) help --man $$c >$(SHARE)/man/man1/ingot-$$c.1 || exit 1; done
	$(BIN) help --bash >$(SHARE)/bash-completion/completions/ingot
	$(BIN) help --zsh >$(SHARE)/zsh/site-functions/_ingot
	$(BIN) help --fish >$(SHARE)/fish/vendor_completions.d/ingot.fish

uninstall:                  ## remove what install put
	rm -f $(DESTDIR)$(PREFIX)/bin/ingot $(SHARE)/man/man1/ingot.1 $(SHARE)/man/man1/ingot-*.1 \
		$(SHARE)/bash-completion/completions/ingot $(SHARE)/zsh/site-functions/_ingot \
		$(SHARE)/fish/vendor_completions.d/ingot.fish

clean:                      ## remove build/
	rm -rf build

help:                       ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST)

-include $(LIB_OBJ:.o=.d) $(CMD_OBJ:.o=.d) $(TESTS:=.d) $(TOOLS:=.d) $(FUZZERS:=.d) $(BUILD)/tests/fuzz/replay.d

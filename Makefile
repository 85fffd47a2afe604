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
FOLDERS := format quantize convert verify runtime
ALL_SRC := $(wildcard $(FOLDERS:%=%/*.c))
CMD_SRC := $(foreach d,$(FOLDERS),$(wildcard $(d)/cmd*.c)) $(wildcard cli/*.c)
LIB_SRC := $(filter-out $(CMD_SRC),$(ALL_SRC))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
CMD_OBJ := $(CMD_SRC:%.c=$(BUILD)/%.o)
TESTS   := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/test_*.c))
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/*.c))
TOOLS   := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/tool_*.c samples/*.c))

# No -march=native (a build must run on its neighbour) and no -ffast-math (NaN checks must
# work). -ffp-contract=off keeps every kernel and both compilers bit-equal.
CFLAGS  ?= $(if $(filter debug,$(MODE)),-O0 -g,-O2 -g)
WARN    := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
override CFLAGS += $(if $(WERROR),-Werror) -std=c17 -ffp-contract=off -fno-strict-aliasing -fPIE $(WARN) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -DSMALL_CODE,-fstack-protector-strong)
override CPPFLAGS += -I. -D_GNU_SOURCE $(if $(SAN)$(filter debug,$(MODE)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2) \
	$(shell pkg-config --cflags $(PKGS))
override LDFLAGS += -pie -Wl,-z,relro,-z,now
LDLIBS  += $(shell pkg-config --libs $(PKGS)) -lm -pthread

# One instruction set a file; quantize/cpu.c tests for exactly these before it uses one.
ifneq ($(filter x86_64%,$(shell $(CC) -dumpmachine)),)
$(BUILD)/runtime/kernels_avx2.o $(BUILD)/quantize/encode_avx2.o: override CFLAGS += -mavx2 -mfma -mf16c
$(BUILD)/runtime/kernels_avx512.o $(BUILD)/quantize/encode_avx512.o: override CFLAGS += -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c
endif

.PHONY: all check crash figures fuzz fuzzers fuzz-targets bench lint clean help tools install uninstall
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

check: lint $(BIN) $(TESTS) $(TOOLS)   ## unit and command-line tests
	@BIN=$(BIN) BUILD=$(BUILD) tests/run.sh $(TESTS)

$(BUILD)/tests/fault.so: tests/fault.c tests/fault_cut.h
	@mkdir -p $(@D)
	$(CC) -shared -fPIC -O1 $(WARN) -D_GNU_SOURCE -I. $< -o $@ -ldl

crash: $(BIN) $(TOOLS) $(BUILD)/tests/fault.so   ## runs that are killed or whose calls fail; SCALE=25 for long
	@BIN=$(BIN) BUILD=$(BUILD) tests/crash.sh

figures: $(BIN) $(TOOLS) $(BUILD)/tests/fault.so   ## damage, full disks, meddlers, counted; SCALE=50 for a release
	@BIN=$(BIN) BUILD=$(BUILD) tests/figures.sh

lint:                       ## include layering, banned calls
	@tests/lint.sh

$(FUZZERS): %: %.o $(BUILD)/libingot.a
	$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer $^ $(LDLIBS) -o $@

fuzzers:                    ## the fuzz targets, with clang and its sanitizers
	$(MAKE) CC=clang MODE=fuzz SAN=fuzzer-no-link,address,undefined fuzz-targets
fuzz-targets: $(FUZZERS)
fuzz: fuzzers               ## T=60 seconds for each target
	@for f in build/clang-fuzz-*/tests/fuzz/fuzz_*[a-z]; do case $$f in *.*) ;; \
	  *) echo "$$f"; mkdir -p build/corpus/$$(basename $$f); \
	     $$f -max_total_time=$${T:-60} -timeout=10 build/corpus/$$(basename $$f) tests/fuzz/seeds || exit 1;; esac; done

bench: $(BIN) tools         ## speed beside this machine's ceilings (40 GB of scratch, minutes)
	@BIN=$(BIN) BUILD=$(BUILD) tests/bench.sh
	@BUILD=$(BUILD) tests/bench_context.sh
	@$(BUILD)/tests/tool_kernels 1; $(BUILD)/tests/tool_kernels $${THREADS:-2}
	@$(BUILD)/tests/tool_codecs 1; $(BUILD)/tests/tool_codecs $${THREADS:-2}
	@BIN=$(BIN) BUILD=$(BUILD) tests/bench_peer.sh
	@BIN=$(BIN) BUILD=$(BUILD) tests/bench_verify.sh
	@BIN=$(BIN) BUILD=$(BUILD) tests/bench_stream.sh
	@BIN=$(BIN) BUILD=$(BUILD) tests/bench_quant.sh

install: $(BIN)             ## DESTDIR and PREFIX honoured
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/

uninstall:                  ## remove what install put
	rm -f $(DESTDIR)$(PREFIX)/bin/ingot

clean:                      ## remove build/
	rm -rf build

help:                       ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST)

-include $(LIB_OBJ:.o=.d) $(CMD_OBJ:.o=.d) $(TESTS:=.d) $(TOOLS:=.d) $(FUZZERS:=.d)

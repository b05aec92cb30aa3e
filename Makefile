# spdlua: `make help` lists what can be made. Every mode builds in a directory of its own, build/MODE.
PREFIX ?= /usr/local
DESTDIR ?=
CC ?= cc
MODE ?= release
PEER_PYTHON ?= build/peer/bin/python

PACKAGES := lua5.4 openblas yaml-0.1 jansson libpcre2-8 libutf8proc sqlite3
DEBIAN_PACKAGES := gcc libc6-dev make pkg-config git lua5.4 liblua5.4-dev libopenblas-dev libyaml-dev libjansson-dev libpcre2-dev \
  libutf8proc-dev libsqlite3-dev libreadline-dev lua-cjson lua-busted lua-filesystem gnuplot-nox
DEBIAN_BROWSER := chromium
DEBIAN_CLUSTER := slurmctld slurmd slurm-client munge
DEBIAN_TOOLS := clang-format cppcheck lua-check
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-psabi
FLAGS_release := -O3 -g
FLAGS_double := -O2 -g -DSPD_DOUBLE
FLAGS_check := -O2 -Werror
FLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DSPDL_GCSTRESS
LINK_asan := -fsanitize=address,undefined
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -pthread -fPIC -fvisibility=hidden $(FLAGS_$(MODE)) -fno-math-errno \
  -fno-trapping-math -ffp-contract=fast $(WARNINGS) -MMD -MP $(PACKAGE_CFLAGS) $(CFLAGS)
PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
LIBRARIES := $(shell pkg-config --libs $(filter-out lua5.4, $(PACKAGES)) 2>/dev/null) -lm -pthread
HOST_LIBRARIES := $(shell pkg-config --libs lua5.4 readline 2>/dev/null)

# Kernels are compiled once per instruction set, and one is chosen when a program starts. The double
# build, which checks gradients, needs one only.
ISAS := baseline
ifneq ($(MODE), double)
ifneq ($(findstring x86_64, $(shell $(CC) -dumpmachine)),)
ISAS := baseline avx2 avx512
ALL_CFLAGS += -DSPD_ISA_X86=1
FLAGS_baseline := -march=x86-64
endif
endif
FLAGS_avx2 := -mavx2 -mfma -mf16c
FLAGS_avx512 := -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512

BUILD := build/$(MODE)
KERNELS := $(filter-out core/kernels/select.c, $(wildcard core/kernels/*.c))
HOST_SOURCES := $(wildcard bindings/spdlua.c bindings/blas.c bindings/readline.c bindings/repl.c)
CORE_SOURCES := $(wildcard core/*.c) core/kernels/select.c
MODULE_SOURCES := $(filter-out $(HOST_SOURCES), $(wildcard bindings/*.c))
CORE_OBJECTS := $(CORE_SOURCES:%.c=$(BUILD)/%.o) $(foreach isa, $(ISAS), $(KERNELS:%.c=$(BUILD)/%.$(isa).o))
MODULE_OBJECTS := $(MODULE_SOURCES:%.c=$(BUILD)/%.o)
HOST_OBJECTS := $(HOST_SOURCES:%.c=$(BUILD)/%.o)
OBJECTS := $(CORE_OBJECTS) $(MODULE_OBJECTS) $(HOST_OBJECTS)
MODULE := $(BUILD)/spd/core$(if $(filter double, $(MODE)),_double).so

# A job per core unless the command line says otherwise; one line per file unless V=1.
ifeq ($(MAKELEVEL)$(findstring j, $(firstword -$(MAKEFLAGS))), 0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif
MAKEFLAGS += --no-print-directory
Q := $(if $(V),,@)
SAY = @$(if $(V),:,echo "  $(1) $(2)")

all: spdlua $(MODULE) ## build ./spdlua and build/release/spd/core.so (the default)

spdlua: build/release/spdlua
	@cp $< $@.new && mv -f $@.new $@ # a program that runs cannot be overwritten

$(BUILD)/spdlua: $(HOST_OBJECTS) $(MODULE_OBJECTS) $(CORE_OBJECTS)
	$(call SAY,link,$@)
	$(Q)$(CC) $(LINK_$(MODE)) $(LDFLAGS) -Wl,-E -o $@ $^ $(LIBRARIES) $(HOST_LIBRARIES)

$(MODULE): $(MODULE_OBJECTS) $(CORE_OBJECTS)
	@mkdir -p $(@D)
	$(call SAY,link,$@)
	$(Q)$(CC) -shared $(LINK_$(MODE)) $(LDFLAGS) -o $@ $^ $(LIBRARIES)

$(BUILD)/libspd.a: $(CORE_OBJECTS)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/%.o: %.c Makefile | packages
	@mkdir -p $(@D)
	$(call SAY,cc,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

define kernel_rule
$(BUILD)/core/kernels/%.$(1).o: core/kernels/%.c Makefile | packages
	@mkdir -p $$(@D)
	$$(call SAY,cc,$$@)
	$(Q)$(CC) $(ALL_CFLAGS) -DSPD_ISA=$(1) $(FLAGS_$(1)) -c -o $$@ $$<
endef
$(foreach isa, $(ISAS), $(eval $(call kernel_rule,$(isa))))

packages:
	@pkg-config --exists $(PACKAGES) readline || { echo "make: a library is missing (try: make setup)" >&2; exit 1; }

setup: ## install the Debian packages that are missing (asks for sudo where needed)
	@sh spec/support/setup.sh $(DEBIAN_PACKAGES)

setup-tools: setup ## install what `make check` and `make format` need as well
	@sh spec/support/setup.sh $(DEBIAN_TOOLS)

double: ## build the double-precision module that checks gradients
	@$(MAKE) MODE=double build/double/spd/core_double.so

run: setup ## the main job: train, decompose and draw a toy model of superposition
	@$(MAKE) all
	./spdlua experiments/tms_decomposition.lua configs/tms.yaml

run-lm: setup ## a language model: train one on generated stories, decompose its embedding, write a page to explore
	@$(MAKE) all
	@if [ -d out/stories ]; then ./spdlua experiments/lm_decomposition.lua --resume out/stories; \
	else ./spdlua experiments/lm_decomposition.lua configs/lm_stories.yaml --out out/stories; fi
	./spdlua experiments/lm_explore.lua out/stories "One day Lily went to the market. She found some apples."

JOBS ?= $(shell nproc 2>/dev/null || echo 2) # spec files at the same time

# Specs that start the interpreter again take its path from SPDLUA.
test: setup ## build and run the quick specs
	@$(MAKE) all double
	@SPDLUA=./spdlua ./spdlua spec/run.lua --jobs $(JOBS)

test-all: setup ## run the slow specs as well, some of which need a browser or Slurm
	@sh spec/support/setup.sh $(DEBIAN_BROWSER)
	@sh spec/support/setup.sh $(DEBIAN_CLUSTER) || echo "test-all: without Slurm its specs are left out" >&2
	@$(MAKE) all double
	@SPDLUA=./spdlua ./spdlua spec/run.lua --jobs $(JOBS) --run-slow

# The specs of the C code; the others run the same C from Lua: make test-asan ASAN_SPECS=spec
ASAN_SPECS ?= spec/bindings spec/core
test-asan: setup ## run the specs of the C code under address and undefined-behaviour sanitizers
	@$(MAKE) all double
	@$(MAKE) MODE=asan build/asan/spdlua
	@ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 \
	  LSAN_OPTIONS=suppressions=$(CURDIR)/spec/support/lsan.supp:print_suppressions=0 \
	  SPDLUA=build/asan/spdlua build/asan/spdlua spec/run.lua --jobs $(JOBS) --exclude-tags=slow,long $(ASAN_SPECS)

C_FILES = $(wildcard core/*.[ch] core/kernels/*.[ch] bindings/*.[ch])

format: setup-tools ## lay out the C sources
	clang-format -i $(C_FILES)

check: setup-tools ## layout, lint, static analysis, warnings as errors
	@clang-format --dry-run -Werror $(C_FILES)
	@luacheck --quiet lua experiments spec
	@cppcheck --quiet --std=c11 --language=c --enable=warning,performance,portability --inline-suppr \
	  --library=spec/support/cppcheck.cfg --suppressions-list=spec/support/cppcheck.txt --error-exitcode=1 \
	  -DSPD_ISA=baseline core bindings
	@sh spec/support/tracked_files.sh
	@$(MAKE) MODE=check objects
	@echo "check: passed"

objects: $(OBJECTS)

bench: all ## milliseconds per step and peak memory of the paper's toy cases and a language model
	@./spdlua experiments/benchmark.lua

bench-peer: all ## the same beside PyTorch, which is installed under build/peer (a large download)
	@$(PEER_PYTHON) -c 'import torch, transformers' 2>/dev/null || { sh spec/support/setup.sh python3 python3-venv && \
	  python3 -m venv build/peer && build/peer/bin/pip install --quiet torch numpy transformers; }
	@$(PEER_PYTHON) spec/peer/compare.py

fixtures-peer: all ## make the fixtures of language models again, with transformers under build/peer (a large download)
	@test -x build/peer/bin/python || python3 -m venv build/peer
	@build/peer/bin/pip install --quiet torch numpy transformers safetensors
	@build/peer/bin/python spec/peer/make_language_models.py

tracker-readers: ## install tensorboard and wandb under build/trackers: test-all then reads with them what spdlua writes
	@sh spec/support/setup.sh python3 python3-venv
	@test -x build/trackers/bin/python || python3 -m venv build/trackers
	@build/trackers/bin/pip install --quiet 'tensorboard>=2.21,<3' 'wandb>=0.31,<1'

VERSION = $(shell sed -n 's/^.define SPD_VERSION "\(.*\)"/\1/p' core/spd.h)

install: all build/$(MODE)/libspd.a ## install under PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/lua/5.4/spd $(DESTDIR)$(PREFIX)/lib/pkgconfig \
	  $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/spdlua
	install -m 755 spdlua $(DESTDIR)$(PREFIX)/bin/spdlua
	install -m 755 $(MODULE) $(DESTDIR)$(PREFIX)/lib/lua/5.4/spd/core.so
	install -m 644 $(BUILD)/libspd.a $(DESTDIR)$(PREFIX)/lib/libspd.a
	install -m 644 core/spd.h $(DESTDIR)$(PREFIX)/include/spd.h
	cp -R lua experiments configs $(DESTDIR)$(PREFIX)/share/spdlua/
	printf '%s\n' 'Name: spd' 'Description: Stochastic Parameter Decomposition' "Version: $(VERSION)" \
	  'Requires.private: openblas jansson' 'Cflags: -I$(PREFIX)/include' \
	  'Libs: -L$(PREFIX)/lib -lspd -lopenblas -ljansson -lm -pthread' > $(DESTDIR)$(PREFIX)/lib/pkgconfig/spd.pc

uninstall: ## remove what install put under PREFIX
	rm -rf $(DESTDIR)$(PREFIX)/bin/spdlua $(DESTDIR)$(PREFIX)/share/spdlua $(DESTDIR)$(PREFIX)/lib/lua/5.4/spd \
	  $(DESTDIR)$(PREFIX)/lib/libspd.a $(DESTDIR)$(PREFIX)/lib/pkgconfig/spd.pc $(DESTDIR)$(PREFIX)/include/spd.h

clean: ## remove everything that make built
	rm -rf build spdlua

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14

-include $(OBJECTS:.o=.d)
.PHONY: all packages setup setup-tools double run test test-all test-asan format check objects bench bench-peer \
  fixtures-peer tracker-readers install uninstall clean help

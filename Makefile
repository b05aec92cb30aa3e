# spdlua: `make help` lists what can be made.
PREFIX ?= /usr/local
CC ?= cc
MODE ?= release

PACKAGES := lua5.4 openblas yaml-0.1 jansson
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-psabi
OPTIMIZE_release := -O3 -g
OPTIMIZE_double := -O2 -g -DSPD_DOUBLE
OPTIMIZE_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DSPDL_GCSTRESS
LINK_asan := -fsanitize=address,undefined
BUILD := build/$(MODE)

ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -pthread -fPIC -fvisibility=hidden $(OPTIMIZE_$(MODE)) \
  -fno-math-errno -fno-trapping-math -ffp-contract=fast $(WARNINGS) -MMD -MP \
  $(shell pkg-config --cflags $(PACKAGES)) $(CFLAGS)
LIBRARIES := $(shell pkg-config --libs $(PACKAGES)) -lm -pthread
HOST_LIBRARIES := $(shell pkg-config --libs readline)

# Kernels are compiled once per instruction set; the double build uses the C library and needs one.
KERNELS := $(filter-out core/kernels/select.c, $(wildcard core/kernels/*.c))
ISAS := baseline
ifneq ($(MODE), double)
ifneq ($(findstring x86_64, $(shell $(CC) -dumpmachine)),)
ISAS := baseline avx2 avx512
ALL_CFLAGS += -DSPD_ISA_X86=1
endif
endif
FLAGS_avx2 := -mavx2 -mfma
FLAGS_avx512 := -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512

HOST_SOURCES := $(wildcard bindings/spdlua.c bindings/readline.c bindings/repl.c)
CORE_SOURCES := $(wildcard core/*.c) core/kernels/select.c
MODULE_SOURCES := $(filter-out $(HOST_SOURCES), $(wildcard bindings/*.c))
CORE_OBJECTS := $(CORE_SOURCES:%.c=$(BUILD)/%.o) $(foreach isa, $(ISAS), $(KERNELS:%.c=$(BUILD)/%.$(isa).o))
MODULE_OBJECTS := $(MODULE_SOURCES:%.c=$(BUILD)/%.o)
HOST_OBJECTS := $(HOST_SOURCES:%.c=$(BUILD)/%.o)
MODULE_release := $(BUILD)/spd/core.so
MODULE_asan := $(BUILD)/spd/core.so
MODULE_double := $(BUILD)/spd/core_double.so
MODULE := $(MODULE_$(MODE))

all: spdlua $(MODULE)

spdlua: $(BUILD)/spdlua
	cp $< $@

$(BUILD)/spdlua: $(HOST_OBJECTS) $(MODULE_OBJECTS) $(CORE_OBJECTS)
	$(CC) $(LINK_$(MODE)) $(LDFLAGS) -Wl,-E -o $@ $^ $(LIBRARIES) $(HOST_LIBRARIES)

$(MODULE): $(MODULE_OBJECTS) $(CORE_OBJECTS)
	@mkdir -p $(@D)
	$(CC) -shared $(LINK_$(MODE)) $(LDFLAGS) -o $@ $^ $(LIBRARIES)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

define kernel_rule
$(BUILD)/core/kernels/%.$(1).o: core/kernels/%.c
	@mkdir -p $$(@D)
	$(CC) $(ALL_CFLAGS) -DSPD_ISA=$(1) $(FLAGS_$(1)) -c -o $$@ $$<
endef
$(foreach isa, $(ISAS), $(eval $(call kernel_rule,$(isa))))

double:
	$(MAKE) MODE=double build/double/spd/core_double.so

-include $(shell find build -name '*.d' 2>/dev/null)
.PHONY: all double

# SPDX-License-Identifier: MIT
#
# The front door. `make help` lists the commands.
SHELL := /bin/bash
BUILD ?= build
# A LibTorch of your own: make LIBTORCH=/prefix (the folder with include/ and lib/). Otherwise set-up's.
PREFIX = $(or $(LIBTORCH),$(shell .ci/setup --path libtorch)/torch)
ORACLE = $(shell .ci/setup --path oracle)/bin/python
ORACLE_SERVER = $(shell .ci/setup --path oracle-server)
# Taken literally: no $ or # of a file name is expanded.
export DEMO_IN := $(value IN)
export DEMO_MODEL := $(value MODEL)

.PHONY: all configure build product help demo serve test parity bench bench-server train quality shell clean
.SILENT:

all: build

help:
	echo 'make                       set-up and build: build/gst/libgstmoshi.so, build/lib/libmoshi-core.so'
	echo 'make demo [IN=file] [MODEL=directory-or-hub-id]'
	echo '                           encode speech to codes, decode it again, talk with the model; results in demo/'
	echo 'make serve [MODEL=directory-or-hub-id] [ARGS="options of moshi-server"]'
	echo '                           talk with the model: a server, and a page to open in a browser'
	echo 'make test                  all tests that need no reference implementation'
	echo 'make parity                compare with the reference implementation, live, on fresh seeds'
	echo 'make bench                 measure, and rewrite the tables of docs/benchmarks.md'
	echo 'make bench-server          measure moshi-server and its page; the last quarter of an hour of make bench'
	echo 'make train                 make the embedded models anew (an hour or two); goes on where it was stopped'
	echo 'make quality               measure the embedded codec, and rewrite the tables and pictures of docs/quality.md'
	echo 'make shell                 a shell in which gst-launch-1.0 finds the elements'
	echo 'make clean                 remove build/ and demo/'
	echo 'JOBS=n limits how many files are compiled at a time, LIBTORCH=prefix takes another LibTorch.'

# ninja, without its lines that say nothing.
define compile
ninja -C $(BUILD) $(JOBS:%=-j%) $(1) | { grep -v -e '^ninja: Entering' -e '^ninja: no work' || true; }; exit $${PIPESTATUS[0]}
endef

# A prefix that is not the configured one (new pins, LIBTORCH=) is configured again.
configure:
	.ci/setup build
	if [ ! -f $(BUILD)/build.ninja ]; then \
	  meson setup $(BUILD) -Dcore=enabled -Dtests=enabled -Dexamples=enabled -Dlibtorch='$(PREFIX)' && \
	  echo '$(PREFIX)' >$(BUILD)/.libtorch; \
	elif [ "$$(cat $(BUILD)/.libtorch 2>/dev/null)" != '$(PREFIX)' ]; then \
	  meson setup --reconfigure $(BUILD) -Dlibtorch='$(PREFIX)' && echo '$(PREFIX)' >$(BUILD)/.libtorch; \
	fi

build: configure
	$(call compile)

# What is used, without the tests: half of the time.
product: configure
	$(call compile,gst/libgstmoshi.so lib/libmoshi-core.so lib/moshi-random-mimi lib/moshi-random-lm examples/moshi-demo examples/moshi-quality examples/moshi-conversation examples/moshi-inference examples/server/moshi-server examples/client/moshi-client embedded-models)

demo: product
	.ci/setup demo
	.ci/demo $(BUILD)

serve: product
	exec $(BUILD)/examples/server/moshi-server $${DEMO_MODEL:+--model "$$DEMO_MODEL"} $(ARGS)

# The suite "live" needs the oracle. Old result files of test programs must not be counted again.
test: build
	.ci/setup test
	rm -f $(BUILD)/*.xml $(BUILD)/meson-logs/testlog.*
	meson test -C $(BUILD) --no-rebuild --no-suite live --print-errorlogs; .ci/count $(BUILD) $$?

parity: build
	.ci/setup test oracle
	PYTHONPATH="$(ORACLE_SERVER)" tests/parity/run.sh $(BUILD) $(ORACLE)

bench: build
	.ci/setup demo oracle
	$(ORACLE) tests/bench/run.py --build $(BUILD) $(BENCH_ARGS)
	$(ORACLE) tests/bench/lm_run.py --build $(BUILD) $(LM_BENCH_ARGS)
	$(MAKE) bench-server

# With Debian's Python, for its websockets.
bench-server: build
	.ci/setup test
	/usr/bin/python3 tests/bench/talk_soak.py $(BUILD)
	/usr/bin/python3 tests/bench/talk_connects.py $(BUILD)
	/usr/bin/python3 tests/page/mouth_to_ear.py $(BUILD)

train:
	.ci/setup training
	models/training/run.sh $(ORACLE) train

quality:
	.ci/setup training
	models/training/run.sh $(ORACLE) quality

shell: product
	echo 'gst-launch-1.0 and gst-inspect-1.0 know the elements now; leave with exit.'
	GST_PLUGIN_PATH="$(abspath $(BUILD))/gst$${GST_PLUGIN_PATH:+:$$GST_PLUGIN_PATH}" "$${SHELL:-/bin/bash}" || true

clean:
	rm -rf $(BUILD) demo

# The front door. Everything is CMake and Ninja underneath; `make help` lists what is here.
PRESET ?= release
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
BUILD := build/$(PRESET)
SHOAL := $(BUILD)/bin/shoal

.DEFAULT_GOAL := help
.PHONY: help run build test bench bench-engine bench-gateway bench-routing fuzz lint format install clean deps deps-dev

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

deps: ## install the Debian packages that a build needs
	@tools/install_deps

deps-dev: ## install the Debian packages that tests, lint and fuzzing need
	@tools/install_deps --dev

build: deps ## compile build/release/bin/shoal and shoal-worker
	@[ -f $(BUILD)/build.ninja ] || cmake --preset $(PRESET) $(if $(filter release,$(PRESET)),-DSHOAL_TESTS=OFF) >/dev/null
	@ninja -C $(BUILD) -j$(JOBS) shoal shoal-worker

run: build ## build, fetch the default models, serve on localhost:8080
	@$(SHOAL) pull --default
	@tools/offer_provider $(SHOAL)
	@exec $(SHOAL) serve

test: deps-dev ## build everything and run every test (TEST_ARGS="-R NAME" for some)
	@tools/run_tests $(TEST_ARGS)

bench: deps-dev ## measure, on the release build
	@bench/run

bench-engine: build deps-dev ## measure the engine beside llama-server (BENCH_ARGS="stall --quick" for some)
	@ninja -C $(BUILD) -j$(JOBS) load_client frame_clock signals_bench
	@python3 bench/engine $(BENCH_ARGS)

bench-gateway: build ## measure Shoal as a proxy, beside nginx (BENCH_ARGS="requests --quick" for some)
	@tools/install_deps --bench
	@ninja -C $(BUILD) -j$(JOBS) mock_upstream proxy_load
	@bench/gateway/run $(BENCH_ARGS)

bench-routing: build deps-dev ## measure routers, gates and classes by the bars set for them (BENCH_ARGS="mmlu gadget --quick" for some)
	@ninja -C $(BUILD) -j$(JOBS) promises_bench gadget_bench curve_bench decision_bench signals_bench answer_signals_bench
	@bench/routing/run $(BENCH_ARGS)

fuzz: deps-dev ## run every fuzz target, and check that each finds a planted bug
	@tools/fuzz_check

lint: deps-dev ## format, layers, style (tools/lint --tidy for clang-tidy)
	@tools/lint

format: deps-dev ## reformat the sources in place
	@git ls-files 'src/**.h' 'src/**.cpp' 'tests/**.h' 'tests/**.cpp' 'fuzz/**.cpp' 'bench/**.cpp' | xargs clang-format-19 -i

install: build ## install under PREFIX (default /usr/local)
	@cmake --install $(BUILD) --prefix $(PREFIX)

clean: ## remove the build trees; the llama.cpp cache stays
	rm -rf build

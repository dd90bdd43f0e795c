# SPDX-License-Identifier: Apache-2.0

include scripts/versions.env

COLLECTOR := dist/otelcol-ebpf-tcp
CONFIG    ?= examples/collector.yaml
# Variables that the examples read. sudo would drop them.
EXAMPLE_ENV := OTEL_EXPORTER_OTLP_ENDPOINT,OTEL_EXPORTER_OTLP_INSECURE,EBPF_TCP_VIEW_PORT,EBPF_TCP_METRICS_PORT,EBPF_TCP_TELEMETRY_PORT,EBPF_TCP_HEALTH_PORT,GOMEMLIMIT
# At this version health_check needs a feature gate to answer with the component status.
RUN_FLAGS   := --feature-gates=+extension.healthcheck.useComponentStatus
FUZZTIME  ?= 30s
DURATION  ?= 2m
# Hooks that some builds of a kernel refuse and others of the same version do not.
HOOKS     ?= iter/bpf_map_elem,raw_tp/tcp_send_reset
# Everything that goes into the binary. BPF objects are committed, so no C.
SOURCES := builder-config.yaml go.mod go.sum $(shell find . -path ./dist -prune -o -path ./scripts -prune -o -path ./bench -prune -o -path ./.cache -prune -o -path ./test -prune -o \
	-path ./.git -prune -o \( -name '*.go' -o -name '*.o' -o -name '*.json' \) \
	! -name '*_test.go' -print)

# Packages whose benchmarks count, and how programs are loaded.
BENCHMARKED := ./connector/threats ./internal/exchange ./internal/guard ./internal/probe ./internal/probe/packets ./internal/probe/inspect ./internal/probe/sources ./receiver
AS_ROOT     := $(if $(filter-out 0,$(shell id -u)),sudo)

.DEFAULT_GOAL := help
.PHONY: help run doctor build deps test test-unprivileged test-privileged test-refused test-kernels test-backends test-model test-systemd soak fuzz generate check-generated \
	lint fmt bench bench-full bench-build clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 20

# The calling user builds; only the binary runs as root.
run: $(COLLECTOR) ## watch this host's inbound connections (CONFIG=examples/collector.yaml)
	@if [ "$$(id -u)" = 0 ]; then exec $(COLLECTOR) $(RUN_FLAGS) --config $(CONFIG); \
	else echo "root is needed to load eBPF programs: sudo $(COLLECTOR)" >&2; \
	exec sudo --preserve-env=$(EXAMPLE_ENV) $(COLLECTOR) $(RUN_FLAGS) --config $(CONFIG); fi

doctor: ## what this host supports, and why not more (DOCTOR="--json --config FILE")
	@CGO_ENABLED=0 go build -o dist/ebpf-tcp-doctor ./cmd/ebpf-tcp-doctor
	@if [ "$$(id -u)" = 0 ]; then exec dist/ebpf-tcp-doctor $(DOCTOR); \
	else echo "root is needed to load eBPF programs: sudo dist/ebpf-tcp-doctor" >&2; \
	exec sudo dist/ebpf-tcp-doctor $(DOCTOR); fi

# The tool needs no collector, so it is there much sooner.
TOOL := dist/ebpf-tcp
.PHONY: $(TOOL)
$(TOOL):
	@echo "building $@; the first time takes a minute or two"
	@CGO_ENABLED=0 go build -o $@ ./cmd/ebpf-tcp

watch: $(TOOL) ## a line for each inbound connection, request and finding (sudo; WATCH="-http 80 -failed")
	@exec $(AS_ROOT) $(TOOL) watch $(WATCH)

top: $(TOOL) ## services, clients, failures and queues of this host as tables (sudo; TOP="-http 80")
	@exec $(AS_ROOT) $(TOOL) top $(TOP)

build: $(COLLECTOR) ## build the sample distribution, dist/otelcol-ebpf-tcp

$(COLLECTOR): $(SOURCES)
	@echo "building $@; the first time takes some minutes"
	@CGO_ENABLED=0 go run go.opentelemetry.io/collector/cmd/builder@$(OCB_VERSION) \
		--config builder-config.yaml

deps: ## print, then install, the Debian packages that tests need (SKIP_DEPS=1: only fail)
	@scripts/deps.sh test

test: deps ## all tests that this kernel allows, privileged ones included
	@$(MAKE) --no-print-directory test-unprivileged
	@$(MAKE) --no-print-directory test-privileged

test-unprivileged: ## tests that need no root, with the race detector (gcc)
	@scripts/test.sh unprivileged

test-privileged: $(COLLECTOR) ## tests that load programs and create network namespaces (sudo)
	@EBPF_TCP_COLLECTOR=$(CURDIR)/$(COLLECTOR) scripts/test.sh privileged

test-refused: $(COLLECTOR) ## tests of the socket hooks, as if the kernel refused some (sudo; HOOKS=iter/bpf_map_elem,fentry/*)
	@EBPF_TCP_COLLECTOR=$(CURDIR)/$(COLLECTOR) EBPF_TCP_TEST_EXCLUDE_HOOKS='$(HOOKS)' scripts/test.sh refused

test-kernels: ## the privileged tests on other kernels, in QEMU (KERNELS="6.1 here", TESTS='^TestSock')
	@scripts/deps.sh test kernels
	@TESTS='$(value TESTS)' scripts/kernels/run.sh $(KERNELS)

test-backends: $(COLLECTOR) ## what real backends make of the data, with tools that are fetched and built once (sudo)
	@scripts/deps.sh test
	@EBPF_TCP_COLLECTOR=$(CURDIR)/$(COLLECTOR) scripts/backends/test.sh

test-model: ## your own model against ONNX Runtime (needs npm, fetches 291 MB once)
	@scripts/test-model.sh

test-systemd: $(COLLECTOR) ## the unit of deploy/systemd on other kernels, in QEMU (KERNELS="5.10 6.1"; a minute each)
	@scripts/deps.sh kernels systemd
	@scripts/kernels/systemd.sh $(COLLECTOR) $(KERNELS)

soak: $(COLLECTOR) ## the collector under all loads at once, must stay flat (sudo; DURATION=2m, hours are fine)
	@scripts/deps.sh test
	@EBPF_TCP_COLLECTOR=$(CURDIR)/$(COLLECTOR) EBPF_TCP_SOAK=$(DURATION) scripts/test.sh soak

fuzz: ## fuzz what reads bytes from outside, FUZZTIME each (FUZZTIME=10m FUZZ='^FuzzConnection')
	@scripts/fuzz.sh $(FUZZTIME) '$(value FUZZ)'

generate: ## BPF objects and metadata code again, with the pinned compiler only
	@scripts/check-compiler.sh
	@go generate ./...
	@go generate -C internal/tools/dashboards ./...

check-generated: ## fail if generated files differ from their sources
	@scripts/check-generated.sh

lint: ## go vet, staticcheck, formatting, the English of documents; other platforms compile
	@scripts/lint.sh

fmt: ## format Go and C
	@go run mvdan.cc/gofumpt@$(GOFUMPT_VERSION) -w $$(git ls-files -co --exclude-standard '*.go' ':!*_bpfel.go')
	@clang-format-19 -i bpf/*/*.c bpf/*/*.h

bench: bench-build ## the figures of docs/performance.md that take less than five minutes (sudo)
	@$(AS_ROOT) dist/bench/bench

# Another collector, to compare with. It is not part of the distribution, and slow to build.
LOG_READER := .cache/filelog/otelcol-filelog

$(LOG_READER): bench/filelog/builder-config.yaml
	@echo "building $@; the first time takes some minutes"
	@mkdir -p $(@D)
	@CGO_ENABLED=0 go run go.opentelemetry.io/collector/cmd/builder@$(LOG_READER_OCB_VERSION) --config $<

bench-full: $(COLLECTOR) $(LOG_READER) bench-build ## all of them, with nginx, wrk and peers; writes docs/performance.md (ONLY=regexp)
	@$(AS_ROOT) dist/bench/bench -full -only "$(ONLY)"; status=$$?; \
	dist/bench/bench -document docs/performance.md && exit $$status

# The calling user builds, because root may have no Go.
bench-build:
	@scripts/deps.sh bench
	@CGO_ENABLED=0 go build -o dist/bench/bench ./bench
	@CGO_ENABLED=0 go test -c -tags privileged -o dist/bench/ $(BENCHMARKED)

clean: ## remove what was built
	@rm -rf dist

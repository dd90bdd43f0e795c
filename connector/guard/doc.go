// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml
//go:generate rm -rf internal/metadata/generated_metrics.go internal/metadata/generated_metrics_test.go internal/metadata/generated_config.go internal/metadata/generated_config_test.go internal/metadata/testdata
//go:generate rm -f internal/metadata/generated_logs.go internal/metadata/generated_logs_test.go
//go:generate go tool -modfile=../../internal/tools/go.mod gofumpt -w generated_component_test.go generated_package_test.go
//go:generate go run -C ../../internal/tools ./configdoc ../../connector/guard/config.schema.yaml ../../docs/guard.md ebpf_tcp_guard

// Package guard is the ebpf_tcp_guard connector of the OpenTelemetry Collector. Records that come
// in may become blocks of their sources in the kernel, for a while. What it does comes out as
// records and metrics. Out of the box it blocks nothing.
package guard

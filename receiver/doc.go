// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../internal/tools/go.mod mdatagen metadata.yaml
//go:generate rm -f internal/metadata/generated_metrics.go internal/metadata/generated_metrics_test.go
//go:generate rm -f internal/metadata/generated_logs.go internal/metadata/generated_logs_test.go
//go:generate go tool -modfile=../internal/tools/go.mod gofumpt -w generated_package_test.go
//go:generate go run -C ../internal/tools ./declare ../../receiver
//go:generate go run -C ../internal/tools ./configdoc ../../receiver/config.schema.yaml ../../docs/configuration.md ebpf_tcp

// Package receiver is the ebpf_tcp receiver of the OpenTelemetry Collector. It reports the
// inbound TCP connections of a Linux host as logs and metrics.
package receiver
